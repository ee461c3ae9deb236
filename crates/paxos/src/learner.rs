//! Rule 5: counting acceptances, being told, and handing the decision out.

use crate::ballot::{Ballot, Proposal};
use crate::replica::{Claim, Timer};
use crate::rules::{self, shown};
use crate::{AcceptedTo, Message, Paxos, Record};
use bytes::Bytes;
use quorate_protocol::{Decision, Event, Outbox};
use quorate_types::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// The acceptances of one ballot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tally {
    /// One value per ballot, so one per tally.
    pub(crate) value: Bytes,
    /// Who accepted it durably.
    pub(crate) voters: BTreeSet<NodeId>,
}

/// What is known of the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Learner {
    /// By ballot, never added up over ballots; of each proposer only its highest. Empty once the decision is known.
    pub(crate) tallies: BTreeMap<Ballot, Tally>,
    /// The decision, durable or on its way there.
    pub(crate) chosen: Option<Bytes>,
    /// Whether `Decide` has been said (or the slot was applied before this incarnation).
    pub(crate) handed_out: bool,
    /// Another value that somebody claims chosen. Never happens; kept so that the check after this step stops the node.
    pub(crate) contradiction: Option<Bytes>,
}

impl Paxos {
    pub(crate) fn on_accepted(&mut self, from: NodeId, proposal: Proposal, out: &mut Outbox<Paxos>) {
        if !self.members.is_voter(from) {
            return self.drop_input("accepted", format!("{from} is no acceptor"), out);
        }
        self.note_round(proposal.ballot.round);
        self.count_acceptance(from, &proposal, out);
    }

    /// This node's own acceptance became durable. It counts where others would have been told of it too.
    pub(crate) fn count_own_acceptance(&mut self, proposal: &Proposal, out: &mut Outbox<Paxos>) {
        if proposal.ballot.node == self.me || self.config.accepted_to == AcceptedTo::Everybody {
            self.count_acceptance(self.me, proposal, out);
        }
    }

    fn count_acceptance(&mut self, from: NodeId, proposal: &Proposal, out: &mut Outbox<Paxos>) {
        if self.learner.chosen.is_some() {
            return self.drop_input("accepted", "the decision is known", out);
        }
        let ballot = proposal.ballot;
        let tallies = &mut self.learner.tallies;
        // A proposer that moved on gets nothing chosen at its old ballots that it would not get again at the new.
        if tallies.keys().any(|known| known.node == ballot.node && *known > ballot) {
            return self.drop_input("accepted", format!("{} has moved on from ballot {ballot}", ballot.node), out);
        }
        tallies.retain(|known, _| known.node != ballot.node || *known == ballot);
        let tally =
            tallies.entry(ballot).or_insert_with(|| Tally { value: proposal.value.clone(), voters: BTreeSet::new() });
        if tally.value != proposal.value {
            return self.drop_input("accepted", format!("ballot {ballot} has another value"), out);
        }
        tally.voters.insert(from);
        self.trace_waiting_for_quorum(ballot, out);
    }

    fn trace_waiting_for_quorum(&self, ballot: Ballot, out: &mut Outbox<Paxos>) {
        let (Some(quorums), Some(tally)) = (self.quorums, self.learner.tallies.get(&ballot)) else { return };
        if !quorums.is_phase2(tally.voters.len()) {
            out.trace(|| self.tally_event(Event::waiting(&rules::CHOSEN), ballot, tally, quorums.phase2()));
        }
    }

    fn tally_event(&self, event: Event, ballot: Ballot, tally: &Tally, need: usize) -> Event {
        event
            .with("ballot", ballot.to_string())
            .with("value", shown(&tally.value))
            .with("have", tally.voters.len() as u64)
            .with("need", need as u64)
            .votes(tally.voters.iter().copied())
    }

    /// Ends phase 2 when a quorum has accepted the same ballot.
    pub(crate) fn conclude_phase2(&mut self, out: &mut Outbox<Paxos>) {
        let Some(quorums) = self.quorums else { return };
        let complete = self.learner.tallies.iter().find(|(_, tally)| quorums.is_phase2(tally.voters.len()));
        let Some((ballot, tally)) = complete.map(|(ballot, tally)| (*ballot, tally.clone())) else { return };
        out.trace(|| self.tally_event(Event::allowed(&rules::CHOSEN), ballot, &tally, quorums.phase2()));
        self.learn(tally.value.clone(), out);
        if ballot.node == self.me {
            for to in self.other_members() {
                out.send(to, Message::Chosen { value: tally.value.clone() });
            }
        }
    }

    pub(crate) fn on_chosen(&mut self, from: NodeId, value: Bytes, out: &mut Outbox<Paxos>) {
        match &self.learner.chosen {
            None => {
                out.trace(|| self.told_event(Event::allowed(&rules::LEARN), from, &value));
                self.learn(value, out);
            }
            Some(known) if *known == value => self.drop_input("chosen", "the decision is known", out),
            Some(known) => {
                out.trace(|| self.told_event(Event::refused(&rules::LEARN), from, &value).with("known", shown(known)));
                self.learner.contradiction = Some(value);
            }
        }
    }

    fn told_event(&self, event: Event, from: NodeId, value: &Bytes) -> Event {
        event.with("from", from).with("value", shown(value))
    }

    /// The decision is known: nothing is left to do but to make it durable, hand it out and tell who asks.
    fn learn(&mut self, value: Bytes, out: &mut Outbox<Paxos>) {
        self.learner.chosen = Some(value.clone());
        self.learner.tallies.clear();
        self.persist(vec![Record::Chosen(value)], vec![Claim::Chosen], out);
        out.cancel_timer(Timer::Inquire);
        self.end_proposing(out);
    }

    /// The decision is durable here.
    pub(crate) fn hand_out_decision(&mut self, out: &mut Outbox<Paxos>) {
        let Some(value) = &self.learner.chosen else { return };
        if !self.learner.handed_out {
            self.learner.handed_out = true;
            out.decide(Paxos::SLOT, Decision::Commands(value.clone()));
        }
    }
}
