//! Wishes judged, learners promoted, whom to reach.

use crate::heir::Heir;
use crate::replica::Succession;
use crate::rules;
use quorate_protocol::{Event, LEARNER_NOT_IN_SYNC, MembersChange, Outbox, Refusal, Refused, RequestId, Role};
use quorate_types::{Member, MemberRole, Membership, NodeId};

/// [`Refusal::NotReady`] of a wish whose voters mostly lack the log: nothing could be decided until they had it.
const TOO_FEW_IN_SYNC: &str = "a quorum of the members wished for must be in sync with the leader first";

impl<P: Heir> Succession<P> {
    pub(crate) fn reconfigure(
        &mut self,
        request: RequestId,
        based_on: &Membership,
        members: Membership,
        out: &mut Outbox<Self>,
    ) {
        let judged = self.judge_wish(based_on, &members).and_then(|()| self.stop(members, out));
        if let Err(refusal) = judged {
            let why = words(&refusal);
            out.trace(|| Event::refused(&rules::RECONFIGURE).with("why", why));
            out.refuse(Refused::Request(request), refusal);
        }
    }

    fn stop(&mut self, next: Membership, out: &mut Outbox<Self>) -> Result<(), Refusal> {
        let configuration = self.configuration();
        let proposed = self.with_inside(out, |inside, within| inside.stop(next, within));
        proposed.unwrap_or(Err(Refusal::NotLeader { hint: None }))?;
        out.trace(|| Event::allowed(&rules::RECONFIGURE).with("configuration", configuration));
        Ok(())
    }

    fn judge_wish(&self, based_on: &Membership, wish: &Membership) -> Result<(), Refusal> {
        let Some(inside) = &self.inside else { return Err(Refusal::NotLeader { hint: None }) };
        let status = inside.status();
        if status.role != Role::Leader {
            return Err(Refusal::NotLeader { hint: status.leader });
        }
        let present = self.members();
        if *based_on != present {
            return Err(Refusal::MembershipChanged);
        }
        judge_members::<P>(&self.config, wish).map_err(Refusal::Invalid)?;
        for member in wish.members() {
            let Some(before) = present.get(member.id) else { continue };
            judge_member(before, member).map_err(Refusal::Invalid)?;
            let promoted = member.role == MemberRole::Voter && before.role != MemberRole::Voter;
            if promoted && !inside.keeps_up(member.id) {
                return Err(Refusal::NotReady(LEARNER_NOT_IN_SYNC));
            }
        }
        let has_the_log = |id: &NodeId| *id == self.me() || (present.contains(*id) && inside.keeps_up(*id));
        if wish.voters().filter(has_the_log).count() < P::largest_quorum(&self.config, wish) {
            return Err(Refusal::NotReady(TOO_FEW_IN_SYNC));
        }
        Ok(())
    }

    /// At a leader: those who joined and keep up become voters, all in one change.
    pub(crate) fn promote(&mut self, out: &mut Outbox<Self>) {
        let Some(inside) = self.inside.as_ref().filter(|inside| inside.status().role == Role::Leader) else { return };
        let present = self.members();
        let is_ready = |member: &&Member| member.role == MemberRole::Joining && inside.keeps_up(member.id);
        let ready: Vec<NodeId> = present.members().iter().filter(is_ready).map(|member| member.id).collect();
        if ready.is_empty() {
            return;
        }
        let wish = Membership::new(present.members().iter().cloned().map(|member| match ready.contains(&member.id) {
            true => Member { role: MemberRole::Voter, ..member },
            false => member,
        }));
        match self.judge_wish(&present, &wish).and_then(|()| self.stop(wish, out)) {
            Ok(()) => out.trace(|| Event::allowed(&rules::PROMOTE).with("peers", ready)),
            Err(refusal) => {
                let why = words(&refusal);
                out.trace(|| Event::waiting(&rules::PROMOTE).with("peers", ready).with("why", why));
            }
        }
    }

    /// Says whom this node may have to speak to: the members, and who left and is told or answered.
    pub(crate) fn tell_members(&self, change: MembersChange, out: &mut Outbox<Self>) {
        let present = self.members();
        let reached = self.leavers.values().filter(|leaver| leaver.tellings_left > 0);
        let left = reached.map(|leaver| leaver.member.clone());
        out.members(Membership::new(present.members().iter().cloned().chain(left)), change);
    }
}

/// Whether there could be a configuration of these.
pub(crate) fn judge_members<P: Heir>(config: &P::Config, wish: &Membership) -> Result<(), &'static str> {
    if !wish.members().iter().any(|member| member.role == MemberRole::Voter) {
        Err("no voter would be left")
    } else if wish.members().iter().any(|member| member.role == MemberRole::Witness) {
        Err("witnesses cannot be members yet")
    } else {
        P::judge(config, wish)
    }
}

/// Whether a member may become this.
fn judge_member(before: &Member, after: &Member) -> Result<(), &'static str> {
    if before.disk.is_some() && before.disk != after.disk {
        Err("a member keeps its disk: one with another disk must be added under a new id")
    } else if before.stores_data() != after.stores_data() {
        Err("a member that stores data does not become a witness, nor the other way round, under the same id")
    } else if before.role == MemberRole::Voter && after.role == MemberRole::Joining {
        Err("a voter is not on its way to becoming one")
    } else {
        Ok(())
    }
}

fn words(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotReady(why) | Refusal::Invalid(why) | Refusal::Unsupported(why) => why,
        Refusal::MembershipChanged => "the members are not those the wish is based on",
        Refusal::NotLeader { .. } => "it does not lead",
        Refusal::LeaderChanged | Refusal::Overloaded | Refusal::AlreadyDecided => "it cannot now",
    }
}
