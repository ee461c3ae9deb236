//! Accepting: phase 2 at an acceptor or learner, and what a leader's news prove.

use crate::ballot::{Ballot, Payload};
use crate::message::{Message, Reach};
use crate::record::Record;
use crate::replica::{Ballots, Claim, Position, drop_message};
use crate::rules;
use quorate_protocol::{Event, Outbox};
use quorate_types::{NodeId, Slot, Ticket};

impl Ballots {
    /// Whether the sender leads in this ballot, for all this node knows; if so the ballot is promised.
    fn hear_leader(&mut self, from: NodeId, ballot: Ballot, out: &mut Outbox<Ballots>) -> bool {
        if ballot.node != from || !self.members.is_voter(from) {
            return false;
        }
        if ballot < self.promised {
            self.refuse_ballot(from, ballot, out);
            return false;
        }
        if ballot > self.promised {
            self.adopt(ballot, "another node leads in a higher ballot", out);
            self.save_promise(out);
        }
        self.set_leader(Some(from), out);
        self.set_election_timer(out);
        true
    }

    pub(crate) fn accept(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        (first, payloads): (Slot, Vec<Payload>),
        (chosen, everyone): (Slot, Slot),
        out: &mut Outbox<Ballots>,
    ) {
        if first == Slot::ZERO || first.0.checked_add(payloads.len() as u64 + 1).is_none() {
            let message = Message::Accept { ballot, first, payloads, chosen, everyone };
            return drop_message(&message, from, "there are no such slots", out);
        }
        if !self.hear_leader(from, ballot, out) {
            return;
        }
        let last = Slot(first.0 + payloads.len() as u64).previous();
        self.accept_new(ballot, first, payloads, out);
        self.learn(ballot, chosen, out);
        self.everyone_has = self.everyone_has.max(everyone.min(self.chosen));
        let (through, trim) = (self.received, self.log.trim());
        out.trace(|| {
            let event = Event::allowed(&rules::ACCEPT).with("leader", from).with("slot", last);
            event.with("ballot", ballot.to_string()).with("through", through).with("trim", trim)
        });
        let reach = Reach { chosen: self.chosen, through };
        if self.installing.is_none() {
            out.send_after(out.last_ticket(), from, Message::Accepted { ballot, reach });
        }
    }

    /// Takes what is not known chosen and not accepted in this ballot already, run by run.
    fn accept_new(&mut self, ballot: Ballot, first: Slot, payloads: Vec<Payload>, out: &mut Outbox<Ballots>) {
        let mut run: (Slot, Vec<Payload>) = (first, Vec::new());
        for (offset, payload) in payloads.into_iter().enumerate() {
            let slot = Slot(first.0 + offset as u64);
            let known = self.log.get(slot).is_some_and(|entry| entry.ballot == ballot);
            if slot > self.chosen && !known {
                if run.1.is_empty() {
                    run.0 = slot;
                }
                run.1.push(payload);
            } else if !run.1.is_empty() {
                self.write_accepted(ballot, run.0, std::mem::take(&mut run.1), out);
            }
        }
        self.write_accepted(ballot, run.0, run.1, out);
    }

    /// Accepts a run of slots, in one record.
    pub(crate) fn write_accepted(
        &mut self,
        ballot: Ballot,
        first: Slot,
        payloads: Vec<Payload>,
        out: &mut Outbox<Ballots>,
    ) {
        if payloads.is_empty() {
            return;
        }
        let count = payloads.len() as u64;
        let ticket = out.persist(vec![Record::Accepted { ballot, first, payloads: payloads.clone() }]);
        for (offset, payload) in payloads.into_iter().enumerate() {
            self.log.accept(Slot(first.0 + offset as u64), ballot, payload, ticket, false);
        }
        self.pending.push(ticket, Claim::Accepted { ballot, first, count });
        self.note_progress();
    }

    /// What is chosen, in the knowledge of the leader of a ballot: here only as far as this node's entries are of just that
    /// ballot. An entry of another one may be an older value that lost.
    pub(crate) fn learn(&mut self, ballot: Ballot, through: Slot, out: &mut Outbox<Ballots>) {
        let before = self.chosen;
        while self.chosen < through {
            let next = self.chosen.next();
            if self.log.get(next).is_none_or(|entry| entry.ballot != ballot) {
                break;
            }
            self.chosen = next;
        }
        let chosen = self.chosen;
        if chosen > before {
            self.chosen_in = Some(ballot);
            self.note_progress();
            out.trace(|| Event::allowed(&rules::LEARN).with("slot", chosen).with("ballot", ballot.to_string()));
        } else if chosen < through {
            out.trace(|| Event::waiting(&rules::LEARN).with("slot", chosen.next()).with("ballot", ballot.to_string()));
        }
    }

    pub(crate) fn heartbeat(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        round: u64,
        (chosen, everyone, sent): (Slot, Slot, Slot),
        out: &mut Outbox<Ballots>,
    ) {
        if !self.hear_leader(from, ballot, out) {
            return;
        }
        self.learn(ballot, chosen, out);
        self.everyone_has = self.everyone_has.max(everyone.min(self.chosen));
        if round == 0 {
            return;
        }
        self.grant(out);
        // The answer must not wait for a disk, but it speaks for a promise.
        let after = self.pending.ticket_of(|claim| *claim == Claim::Promised(ballot)).unwrap_or(Ticket::NONE);
        let reach = Reach { chosen: self.chosen.min(self.flushed), through: self.flushed };
        let lacks = (self.received < sent).then(|| self.received.next());
        out.send_after(after, from, Message::Alive { ballot, round, reach, lacks });
    }

    /// Moves the marks of what has arrived and what is durable as far as they go.
    pub(crate) fn note_progress(&mut self) {
        let ballot = self.promised;
        self.received = self.received.max(self.chosen);
        while self.log.get(self.received.next()).is_some_and(|entry| entry.ballot == ballot) {
            self.received = self.received.next();
        }
        self.flushed = self.flushed.max(self.decided);
        while let Some(entry) = self.log.get(self.flushed.next()) {
            let stands = self.flushed < self.chosen || entry.ballot == ballot;
            if !entry.durable || !stands {
                break;
            }
            self.flushed = self.flushed.next();
        }
    }

    pub(crate) fn persisted(&mut self, ticket: Ticket, _: &mut Outbox<Ballots>) {
        for claim in self.pending.settle(ticket) {
            match claim {
                Claim::Promised(ballot) => self.promise_to_itself(ballot),
                Claim::Accepted { ballot, first, count } => self.log.completed(ballot, first, count),
                Claim::Snapshot => {}
            }
        }
        self.note_progress();
    }

    /// What this replica, opened from what is durable, can say for a message.
    pub(crate) fn stands_by(&self, message: &Message) -> bool {
        let has = |slot: Slot, least: Ballot| {
            slot <= self.log.trim() || self.log.get(slot).is_some_and(|entry| entry.ballot >= least)
        };
        let reaches = |ballot: Ballot, reach: &Reach| {
            let mut slots = (self.log.trim().0 + 1..=reach.through.0).map(Slot);
            self.promised >= ballot
                && slots.all(|slot| has(slot, if slot <= reach.chosen { Ballot::default() } else { ballot }))
        };
        match message {
            Message::Prepare { ballot, .. } => self.promised >= *ballot && ballot.node == self.me,
            Message::Promise { ballot, accepted, .. } => {
                self.promised >= *ballot && accepted.iter().all(|reported| has(reported.slot, reported.ballot))
            }
            Message::Accepted { ballot, reach } | Message::Alive { ballot, reach, .. } => reaches(*ballot, reach),
            Message::Accept { ballot, .. } | Message::Heartbeat { ballot, .. } | Message::TakeOver { ballot } => {
                self.promised >= *ballot
            }
            Message::Nack { .. }
            | Message::Chosen { .. }
            | Message::NeedSnapshot
            | Message::ReadIndex { .. }
            | Message::ReadAnswer { .. } => true,
        }
    }

    /// Whether it leads and has found no other in the way.
    pub(crate) fn leads_settled(&self) -> bool {
        match &self.position {
            Position::Leader(leadership) => self.chosen >= leadership.inherited,
            _ => false,
        }
    }
}
