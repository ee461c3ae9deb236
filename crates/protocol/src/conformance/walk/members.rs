//! Members of the walk: they come, change their part and go. Who went does not come back: an id is a name for life.

use super::Walk;
use crate::conformance::node::{Broken, broken};
use crate::{Decision, Input, Replica, Role};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};

impl<R: Replica> Walk<'_, R> {
    /// A wish for other members: one or two get another part. Now and then it is based on what is no longer so.
    pub(super) fn draw_change(&mut self, id: NodeId) -> Option<Input<R>> {
        let status = self.nodes[&id].replica.as_ref()?.status();
        // Whoever was wished away by anybody is never wished for again, so whoever does not lead seldom wishes anybody away: it is refused,
        // and soon nobody would be left to remove.
        let removes = status.role == Role::Leader || self.dice.one_in(20);
        let present = status.membership;
        let based_on = if self.dice.one_in(10) { self.subject.members.clone() } else { present.clone() };
        let mut members = present.clone();
        for _ in 0..=self.dice.below(2) {
            let one = self.random_node();
            if self.left.contains(&one) {
                continue;
            }
            let role = match self.dice.below(5) {
                0 if removes => None,
                0 | 1 => Some(MemberRole::Learner),
                2 | 3 => Some(MemberRole::Joining),
                _ => Some(MemberRole::Voter),
            };
            let others = members.members().iter().filter(|member| member.id != one).cloned();
            members = Membership::new(others.chain(role.map(|role| Member { role, ..Member::voter(one) })));
        }
        // What is based on other members than the present ones is refused.
        let gone = present.members().iter().map(|member| member.id).filter(|id| !members.contains(*id));
        self.left.extend(gone);
        self.tally.note("change wished");
        let request = self.fresh_request();
        Some(Input::Reconfigure { request, based_on, members })
    }

    /// The members decided last, anywhere.
    pub(super) fn decided_members(&self) -> Membership {
        let decided = self.chosen.values().rev().find_map(|decision| match decision {
            Decision::Members(members) => Some(members.clone()),
            Decision::Commands(_) | Decision::Nothing => None,
        });
        decided.unwrap_or_else(|| self.subject.members.clone())
    }

    pub(super) fn check_members(&mut self, id: NodeId, slot: Slot, members: &Membership) -> Result<(), Broken> {
        self.tally.note("members decided");
        match members.members().iter().find(|member| !self.nodes.contains_key(&member.id)) {
            Some(member) => broken("MembersAreKnown", format!("{id} decides at {slot} that {} is a member", member.id)),
            None => Ok(()),
        }
    }

    /// A replica asks to be stopped for good.
    pub(super) fn stop_for_good(&mut self, id: NodeId) -> Result<(), Broken> {
        if self.decided_members().contains(id) {
            return broken("RetiredIsNoMember", format!("{id} retires and is a member"));
        }
        self.tally.note("retired");
        let node = self.nodes.get_mut(&id).expect("ids come from the map");
        node.stop();
        node.retired = true;
        Ok(())
    }
}
