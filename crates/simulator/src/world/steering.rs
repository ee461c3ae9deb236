//! Who leads and who belongs: what clients ask about the cluster itself, and what is known of its members over all nodes.

use super::World;
use super::host::Waiting;
use crate::act::Wish;
use crate::marks::Mark;
use quorate_machine::StateMachine;
use quorate_narrator::{Ending, What};
use quorate_node::{AskError, ClientTag, MemberChange, NodeInput, RequestError, Roster};
use quorate_protocol::{Event, Replica, TRANSFER_IN_VAIN, Value, Verdict};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};
use std::collections::{BTreeMap, BTreeSet};

/// So many plain learners may be members at once.
const LEARNERS_MAX: u64 = 2;

/// What a client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Lead(NodeId),
    Members(Wish),
}

/// An ask that was not answered yet.
#[derive(Clone, Copy, Debug)]
struct Asked {
    node: NodeId,
    wanted: Wanted,
    /// Success would tell that something changed: that was not so already when it was asked.
    is_news: bool,
    /// Whom it wants among the members had been removed before.
    names_removed: bool,
    /// The latest era that somebody led when it was asked.
    era: u64,
}

/// What is known of all asks and of the members.
#[derive(Debug, Default)]
pub(super) struct Steering {
    asks: BTreeMap<u64, Asked>,
    /// As decided by whoever knows most.
    roster: Roster,
    /// Everybody whose removal was ever asked for.
    leavers: Vec<NodeId>,
    /// Everybody who was ever to join without data.
    witnesses: BTreeSet<NodeId>,
    retired: Vec<NodeId>,
    /// The last of them, until [`World::take_retired`].
    retired_last: Option<NodeId>,
    /// The members that each removal left.
    left_behind: BTreeMap<NodeId, Membership>,
    /// To whom a leader hands over because it should rather lead.
    preferred: Option<NodeId>,
}

impl<R: Replica, S: StateMachine> World<R, S> {
    /// The members as of the newest change that any node knows decided; the founders before the first.
    #[must_use]
    pub fn members(&self) -> &Membership {
        let decided = self.steering.roster.members();
        if decided.members().is_empty() { &self.config.members } else { decided }
    }

    /// The slot of that change; 0 if there was none.
    #[must_use]
    pub fn members_decided_at(&self) -> Slot {
        self.steering.roster.decided_at()
    }

    /// Whether this node was there from the beginning.
    #[must_use]
    pub fn is_founder(&self, id: NodeId) -> bool {
        self.config.members.contains(id)
    }

    /// Whether this id was a member and never can be again.
    #[must_use]
    pub fn is_removed(&self, id: NodeId) -> bool {
        self.steering.roster.is_removed(id)
    }

    /// Whether this node votes and stores no data, or is to, whether it knows or not: for life.
    #[must_use]
    pub fn is_witness(&self, id: NodeId) -> bool {
        let founder = self.config.members.get(id).is_some_and(|member| !member.stores_data());
        founder || self.steering.witnesses.contains(&id)
    }

    /// Everybody that is a member no more, ascending.
    pub fn removed(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.steering.roster.removed()
    }

    /// How many asks about the cluster itself have not ended.
    #[must_use]
    pub fn asks_waiting(&self) -> usize {
        self.steering.asks.len()
    }

    /// Whether members are asked to come and go in this world.
    pub(crate) fn members_change(&self) -> bool {
        self.config.members_change
    }

    /// A client asks a node that another one lead. Does nothing if the node is down.
    pub fn ask_for_leader(&mut self, node: NodeId, to: NodeId) {
        let is_news = self.leader().is_some_and(|leader| leader != to);
        let asked = Asked { node, wanted: Wanted::Lead(to), is_news, names_removed: false, era: self.latest_era_led() };
        let words = format!("make {to} the leader");
        self.ask(asked, words, |tag| NodeInput::MoveLeader { tag, to });
    }

    /// A client asks a node for other members. Does nothing if the node is down.
    pub fn ask_for_members(&mut self, node: NodeId, wish: Wish) {
        let is_news = match wish {
            Wish::Add { id, .. } => !self.is_removed(id) && !self.members().contains(id),
            Wish::Remove { id } => !self.is_removed(id),
            Wish::Promote { id, .. } => !self.members().is_voter(id),
        };
        if let Wish::Add { id, role: MemberRole::Witness } = wish {
            self.steering.witnesses.insert(id);
        }
        let (change, words) = in_full(wish);
        if self.is_running(node) {
            self.steering.leavers.extend(wish.leaver());
        }
        let names_removed = match wish {
            Wish::Add { id, .. } | Wish::Promote { id, .. } => self.is_removed(id),
            Wish::Remove { .. } => false,
        };
        let era = self.latest_era_led();
        let asked = Asked { node, wanted: Wanted::Members(wish), is_news, names_removed, era };
        self.ask(asked, words, |tag| NodeInput::ChangeMembers { tag, change });
    }

    fn ask(&mut self, asked: Asked, request: String, input: impl FnOnce(ClientTag) -> NodeInput<R, S>) {
        if !self.is_running(asked.node) {
            return;
        }
        let operation = self.clients.next_number();
        self.note(Some(asked.node), What::ClientCall { operation, request });
        self.steering.asks.insert(operation, asked);
        self.enqueue(asked.node, Waiting::Input(input(ClientTag(operation))));
    }

    /// A node answers an ask.
    pub(super) fn answer_ask(&mut self, id: NodeId, tag: ClientTag, result: &Result<(), AskError>) {
        let ClientTag(operation) = tag;
        let Some(asked) = self.steering.asks.remove(&operation).filter(|asked| asked.node == id) else {
            let detail = format!("{id} answers ask {operation}, which it was not asked or has answered already");
            return self.report_broken("AnsweredOnce", Some(id), detail);
        };
        let ending = match result {
            Ok(()) => Ending::Answered,
            Err(AskError::Request(RequestError::Unknown) | AskError::TransferInVain) => Ending::Unknown,
            Err(_) => Ending::Refused,
        };
        let answer = result.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
        self.note(Some(id), What::ClientReturn { operation, ending, answer });
        if result.is_ok() {
            self.check_done(id, asked);
        }
        match (asked.wanted, result) {
            (Wanted::Lead(_), Ok(())) if asked.is_news => self.mark(Mark::TransferFinished),
            (Wanted::Members(Wish::Add { role: MemberRole::Learner, .. }), Ok(())) if asked.is_news => {
                self.mark(Mark::LearnerAdded);
            }
            (Wanted::Members(Wish::Add { .. }), Err(AskError::IdTaken)) => self.mark(Mark::RemovedIdRefused),
            _ => {}
        }
    }

    /// `AskedIsDone`: an ask that is answered with success was so at some time since it was asked, whatever the asked node may have
    /// missed.
    fn check_done(&mut self, id: NodeId, asked: Asked) {
        self.note_roster(id);
        let false_word = match asked.wanted {
            Wanted::Members(Wish::Add { id: member, .. } | Wish::Promote { id: member, .. }) if asked.names_removed => {
                Some(format!("{member} is a member, which was removed before that was asked"))
            }
            Wanted::Members(wish) => {
                let leaver = wish.leaver().filter(|leaver| !self.is_removed(*leaver));
                leaver.map(|leaver| format!("{leaver} is removed, which nobody knows decided"))
            }
            Wanted::Lead(to) => {
                let late = self.latest_era_of(to).is_some_and(|era| era >= asked.era);
                (!late).then(|| format!("{to} leads, whom others had followed before that was asked"))
            }
        };
        if let Some(word) = false_word {
            self.report_broken("AskedIsDone", Some(id), format!("{id} says that {word}"));
        }
    }

    /// A node crashed: nobody will answer what it was asked.
    pub(super) fn abandon_asks(&mut self, id: NodeId) {
        self.steering.asks.retain(|_, asked| asked.node != id);
    }

    /// A node says whom it may have to speak to: its connections with others end, and begin anew with a hello.
    pub(super) fn note_members(&mut self, id: NodeId, members: Membership) {
        if self.config.members_change {
            for ((from, to), delivered) in &mut self.last_delivered {
                let peer = if *from == id { *to } else { *from };
                if (*from == id || *to == id) && !members.contains(peer) {
                    delivered.lives = (0, 0);
                }
            }
        }
        let ids = members.members().iter().map(|member| member.id).collect();
        if let Some(host) = self.hosts.get_mut(&id) {
            host.reach = members;
        }
        self.note(Some(id), What::Members { members: ids });
    }

    /// A node applied something, perhaps a change of the members. `RemovedForGood`: who was removed never is a member again.
    pub(super) fn note_roster(&mut self, id: NodeId) {
        let Some(roster) = self.hosts.get(&id).and_then(|host| host.node.as_ref()).map(quorate_node::Node::roster)
        else {
            return;
        };
        if roster.decided_at() <= self.steering.roster.decided_at() {
            return;
        }
        let before = std::mem::replace(&mut self.steering.roster, roster.clone());
        let led = self.last_leader().filter(|leader| before.members().is_voter(*leader));
        if led.is_some_and(|leader| !self.steering.roster.members().is_voter(leader)) {
            self.mark(Mark::LeaderRemoved);
        }
        let after = &self.steering.roster;
        let left_now = after.removed().filter(|removed| !before.is_removed(*removed));
        self.steering.left_behind.extend(left_now.map(|removed| (removed, after.members().clone())));
        let forgotten = before.removed().find(|removed| !after.is_removed(*removed));
        let back = after.members().members().iter().map(|member| member.id).find(|member| after.is_removed(*member));
        if let Some(who) = forgotten.or(back) {
            let detail = format!("{id} has decided members with slot {} that bring back {who}", after.decided_at());
            self.report_broken("RemovedForGood", Some(id), detail);
        }
    }

    /// A node retires. Says whether anybody asked for that; [`World::retired`] is to be judged in the end.
    pub(super) fn retires(&mut self, id: NodeId) -> bool {
        if !self.steering.leavers.contains(&id) {
            return false;
        }
        self.steering.retired.push(id);
        self.steering.retired_last = Some(id);
        self.take_out_of_service(id, "it is a member no more", Mark::Retired);
        true
    }

    /// Who stopped because it is a member no more.
    pub(crate) fn retired(&self) -> &[NodeId] {
        &self.steering.retired
    }

    /// Who retired in the last event, if anybody did, and the members that its removal left, if anybody has decided them; once.
    pub(crate) fn take_retired(&mut self) -> Option<(NodeId, Option<Membership>)> {
        let retired = self.steering.retired_last.take()?;
        Some((retired, self.steering.left_behind.get(&retired).cloned()))
    }

    /// Another node leads.
    pub(super) fn note_new_leader(&mut self, id: NodeId) {
        if self.steering.preferred.take() == Some(id) {
            self.mark(Mark::PreferredTookOver);
        }
    }

    /// Rare things that only show where nodes explain themselves.
    pub(super) fn mark_guard(&mut self, event: &Event) {
        let says = |name: &str, words: &str| match event.value(name) {
            Some(Value::Text(text)) => *text == words,
            _ => false,
        };
        let mark = match (event.rule.id, event.verdict) {
            ("raft.transfer", Verdict::Refused) if says("why", "it did not take over in time") => Mark::TransferAborted,
            ("raft.lease" | "multi-paxos.lease", Verdict::Allowed) => Mark::LeaseRead,
            ("raft.reconfigure", Verdict::Allowed)
                if says("how", "the old voters and the new must both agree from now on") =>
            {
                Mark::JointEntered
            }
            ("raft.finish-change", Verdict::Allowed) => Mark::JointFinished,
            ("raft.witness", Verdict::Allowed) => Mark::WitnessTookPart,
            ("raft.truncate", Verdict::Allowed) => Mark::LogTruncated,
            ("multi-paxos.transfer" | "zab.hand-over", Verdict::Refused) if says("why", TRANSFER_IN_VAIN) => {
                Mark::TransferAborted
            }
            ("raft.catch-up" | "succession.promote" | "viewstamped.catch-up", Verdict::Allowed) => {
                Mark::PromotedAutomatically
            }
            ("raft.priority", Verdict::Allowed) => {
                if let Some(Value::Node(peer)) = event.value("peer") {
                    self.steering.preferred = Some(*peer);
                }
                return;
            }
            _ => return,
        };
        self.mark(mark);
    }
}

/// A wish as a node takes it, and in words.
fn in_full(wish: Wish) -> (MemberChange, String) {
    match wish {
        Wish::Add { id, role } => {
            let member = Member { role, name: String::new(), ..Member::voter(id) };
            let words = match role {
                MemberRole::Learner => "a learner",
                MemberRole::Witness => "a witness",
                MemberRole::Voter | MemberRole::Joining => "a member",
            };
            (MemberChange::Add { member, learners_max: LEARNERS_MAX, strict: false }, format!("make {id} {words}"))
        }
        Wish::Remove { id } => (MemberChange::Remove { id, strict: false }, format!("remove {id}")),
        Wish::Promote { id, replacing } => {
            let words = match replacing {
                None => format!("let {id} vote"),
                Some(replaced) => format!("let {id} vote in place of {replaced}"),
            };
            (MemberChange::Promote { id, replacing }, words)
        }
    }
}
