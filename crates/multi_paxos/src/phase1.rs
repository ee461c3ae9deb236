//! Becoming leader: phase 1, once for all slots.

use crate::ballot::{Ballot, Payload};
use crate::leading::Leadership;
use crate::log::Log;
use crate::message::{Message, Reported};
use crate::replica::{Ballots, Candidacy, Claim, Position, Timer, drop_message, is_stop};
use crate::rules;
use quorate_protocol::{Event, LedReads, Outbox};
use quorate_types::{NodeId, Slot};
use std::collections::BTreeMap;

impl Ballots {
    pub(crate) fn election_due(&mut self, out: &mut Outbox<Ballots>) {
        if !self.is_leader() && !self.set_anew.election {
            self.campaign_now(None, out);
        }
    }

    /// Stands in a ballot above all seen, of its own accord or asked to by the leader of a ballot. The promise to itself is durable before
    /// anybody is asked.
    pub(crate) fn campaign_now(&mut self, asked_in: Option<Ballot>, out: &mut Outbox<Ballots>) {
        let why = if !self.is_voter() {
            Some("it is no voter")
        } else if self.installing.is_some() {
            Some("its state machine waits for a snapshot")
        } else if self.stopped {
            Some("the configuration is over")
        } else if self.is_bound(asked_in) {
            Some("a leader may rest a lease on what this node answered")
        } else {
            None
        };
        self.set_election_timer(out);
        if let Some(why) = why {
            return out.trace(|| Event::refused(&rules::CAMPAIGN).with("why", why));
        }
        let Some(round) = self.promised.round.max(self.seen_round).checked_add(1) else { return };
        let ballot = Ballot { round, node: self.me };
        let from = self.chosen.next();
        self.release_grant(out);
        self.adopt(ballot, "it stands itself", out);
        out.trace(|| Event::allowed(&rules::CAMPAIGN).with("ballot", ballot.to_string()).with("slot", from));
        let ticket = self.save_promise(out);
        self.position = Position::Candidate(Candidacy {
            from,
            promised: BTreeMap::new(),
            found: BTreeMap::new(),
            asked: BTreeMap::new(),
        });
        for voter in self.members.voters().filter(|id| *id != self.me) {
            out.send_after(ticket, voter, Message::Prepare { ballot, from, asked_in });
        }
    }

    /// A higher ballot: whatever this node did in a lower one is over.
    pub(crate) fn adopt(&mut self, ballot: Ballot, why: &'static str, out: &mut Outbox<Ballots>) {
        self.step_down(why, out);
        self.set_leader(None, out);
        self.promised = ballot;
        self.received = self.chosen;
        self.flushed = self.decided;
        self.note_progress();
    }

    /// What phase 1 found may never be used again.
    pub(crate) fn step_down(&mut self, why: &'static str, out: &mut Outbox<Ballots>) {
        match std::mem::replace(&mut self.position, Position::Follower) {
            Position::Follower => {}
            Position::Candidate(_) => self.set_election_timer(out),
            Position::Leader(leadership) => {
                out.trace(|| Event::allowed(&rules::STEP_DOWN).with("why", why));
                self.fail_reads(leadership.reads, out);
                [Timer::Heartbeat, Timer::CheckQuorum, Timer::Transfer].into_iter().for_each(|t| out.cancel_timer(t));
                self.set_leader(None, out);
                self.set_election_timer(out);
            }
        }
    }

    pub(crate) fn set_leader(&mut self, leader: Option<NodeId>, out: &mut Outbox<Ballots>) {
        if self.leader != leader {
            self.leader = leader;
            self.fail_asked_reads(out);
        }
    }

    pub(crate) fn prepare(
        &mut self,
        candidate: NodeId,
        ballot: Ballot,
        from: Slot,
        asked_in: Option<Ballot>,
        out: &mut Outbox<Ballots>,
    ) {
        if !self.is_voter() || ballot.node != candidate {
            let message = Message::Prepare { ballot, from, asked_in };
            return drop_message(&message, candidate, "it is not for this node to promise", out);
        }
        let again = ballot == self.promised && matches!(self.position, Position::Follower);
        if ballot < self.promised || (ballot == self.promised && !again) {
            return self.refuse_ballot(candidate, ballot, out);
        }
        if !again && self.is_bound(asked_in) {
            return out.trace(|| {
                let event = Event::waiting(&rules::GRANT).with("candidate", candidate);
                event.with("ballot", ballot.to_string())
            });
        }
        if !again {
            self.release_grant(out);
            self.adopt(ballot, "another node stands in a higher ballot", out);
            self.save_promise(out);
        }
        self.set_election_timer(out);
        let (accepted, more) = self.report(from);
        out.trace(|| {
            let event = Event::allowed(&rules::PROMISE).with("candidate", candidate).with("slot", from);
            event.with("ballot", ballot.to_string()).with("count", accepted.len() as u64)
        });
        let promise = Message::Promise { ballot, accepted, more, chosen: self.chosen, trim: self.log.trim() };
        out.send_after(out.last_ticket(), candidate, promise);
    }

    /// What is accepted from a slot on, as much as one message takes, and where the rest begins.
    fn report(&self, from: Slot) -> (Vec<Reported>, Option<Slot>) {
        let mut accepted = Vec::new();
        let mut bytes = 0;
        for (slot, entry) in self.log.from(from) {
            if bytes >= self.config.promise_bytes {
                return (accepted, Some(slot));
            }
            bytes += entry.payload.bytes();
            accepted.push(Reported { slot, ballot: entry.ballot, payload: entry.payload.clone() });
        }
        (accepted, None)
    }

    pub(crate) fn refuse_ballot(&mut self, to: NodeId, refused: Ballot, out: &mut Outbox<Ballots>) {
        let promised = self.promised;
        out.trace(|| {
            let event = Event::refused(&rules::PROMISE).with("candidate", to).with("ballot", refused.to_string());
            event.with("promised", promised.to_string())
        });
        out.send(to, Message::Nack { refused, promised });
    }

    pub(crate) fn nack(&mut self, refused: Ballot, promised: Ballot, out: &mut Outbox<Ballots>) {
        self.seen_round = self.seen_round.max(promised.round);
        if refused == self.promised && refused.node == self.me && promised > refused {
            self.step_down("somebody has promised a higher ballot", out);
        }
    }

    pub(crate) fn promise(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        (accepted, more): (Vec<Reported>, Option<Slot>),
        (chosen, trim): (Slot, Slot),
        out: &mut Outbox<Ballots>,
    ) {
        let (promised, is_voter) = (self.promised, self.members.is_voter(from));
        let Position::Candidate(candidacy) = &mut self.position else { return };
        if ballot != promised || !is_voter {
            return;
        }
        let asked_from = candidacy.asked.get(&from).copied().unwrap_or(candidacy.from);
        if trim >= asked_from && !candidacy.promised.contains_key(&from) {
            // What it no longer keeps is chosen and not reported: a no-op there could undo it.
            out.trace(|| Event::refused(&rules::ELECTION).with("peer", from).with("slot", trim));
            self.position = Position::Follower;
            self.set_election_timer(out);
            return out.send(from, Message::NeedSnapshot);
        }
        for reported in accepted.into_iter().filter(|reported| reported.slot >= candidacy.from) {
            let known = candidacy.found.get(&reported.slot).map(|known| known.ballot);
            if known.is_none_or(|known| known < reported.ballot) {
                candidacy.found.insert(reported.slot, reported);
            }
        }
        let Some(more) = more else {
            candidacy.promised.insert(from, chosen);
            return;
        };
        if candidacy.asked.get(&from).is_some_and(|known| *known >= more) {
            return;
        }
        candidacy.asked.insert(from, more);
        out.trace(|| Event::waiting(&rules::ELECTION).with("peer", from).with("slot", more));
        out.send(from, Message::Prepare { ballot, from: more, asked_in: None });
        // While parts arrive there is no reason to begin anew, neither here nor at those who have answered in full: each is asked again for
        // what lies behind everything.
        let patient = candidacy.promised.keys().filter(|id| **id != self.me);
        patient.for_each(|id| out.send(*id, Message::Prepare { ballot, from: Slot(u64::MAX), asked_in: None }));
        self.set_election_timer(out);
    }

    /// A phase-1 quorum has promised, this node durably among it.
    pub(crate) fn win_if_promised(&mut self, out: &mut Outbox<Ballots>) {
        let Position::Candidate(candidacy) = &self.position else { return };
        if !self.quorums.is_phase1(candidacy.promised.len()) || self.installing.is_some() {
            return;
        }
        let Position::Candidate(candidacy) = std::mem::replace(&mut self.position, Position::Follower) else { return };
        let ballot = self.promised;
        let from = candidacy.from.max(self.chosen.next());
        let inherited = inherited(&self.log, &candidacy, from);
        let stop_at = inherited.last_key_value().filter(|(_, payload)| is_stop(payload)).map(|(slot, _)| *slot);
        let last = inherited.last_key_value().map_or(from.previous(), |(slot, _)| *slot);
        out.trace(|| {
            let event = Event::allowed(&rules::ELECTION).with("ballot", ballot.to_string()).with("slot", from);
            event.with("count", last.0 - from.previous().0).votes(candidacy.promised.keys().copied())
        });
        let mut leadership = Leadership::new(last, stop_at);
        for peer in self.members.others(self.me) {
            let chosen = candidacy.promised.get(&peer).copied().unwrap_or(from.previous());
            leadership.follow(peer, chosen.min(from.previous()).next());
        }
        self.position = Position::Leader(Box::new(leadership));
        self.set_leader(Some(self.me), out);
        self.write_accepted(ballot, from, inherited.into_values().collect(), out);
        out.cancel_timer(Timer::Election);
        out.set_timer(Timer::CheckQuorum, self.config.election_timeout, self.config.election_timeout);
        self.heartbeat_due(out);
    }

    /// Marks the candidate's own promise.
    pub(crate) fn promise_to_itself(&mut self, ballot: Ballot) {
        let chosen = self.chosen;
        if let Position::Candidate(candidacy) = &mut self.position
            && ballot == self.promised
        {
            candidacy.promised.insert(self.me, chosen);
        }
    }

    pub(crate) fn save_promise(&mut self, out: &mut Outbox<Ballots>) -> quorate_types::Ticket {
        let ballot = self.promised;
        let ticket = out.persist(vec![crate::record::Record::Promised(ballot)]);
        self.pending.push(ticket, Claim::Promised(ballot));
        ticket
    }
}

/// What a new leader must propose: of each slot what was accepted in the highest ballot, or nothing at all; nothing above a
/// stop-sign.
fn inherited(log: &Log, candidacy: &Candidacy, from: Slot) -> BTreeMap<Slot, Payload> {
    let mut best: BTreeMap<Slot, (Ballot, &Payload)> = BTreeMap::new();
    let own = log.from(from).map(|(slot, entry)| (slot, entry.ballot, &entry.payload));
    let theirs = candidacy.found.values().map(|found| (found.slot, found.ballot, &found.payload));
    for (slot, ballot, payload) in own.chain(theirs.filter(|(slot, _, _)| *slot >= from)) {
        let known = best.get(&slot).map(|(known, _)| *known);
        if known.is_none_or(|known| known < ballot) {
            best.insert(slot, (ballot, payload));
        }
    }
    let mut inherited = BTreeMap::new();
    let Some(last) = best.keys().next_back().copied() else { return inherited };
    let mut slot = from;
    while slot <= last {
        let payload = best.get(&slot).map_or(Payload::NoOp, |(_, payload)| (*payload).clone());
        let ends = is_stop(&payload);
        inherited.insert(slot, payload);
        if ends {
            break;
        }
        slot = slot.next();
    }
    inherited
}
