//! Rules 1, 3 and 6: starting a ballot, choosing its value, giving way.

use crate::acceptor::accepted_in_words;
use crate::ballot::{Ballot, Proposal, ballot_of};
use crate::read::WaitingRead;
use crate::replica::{Claim, Timer};
use crate::rules::{self, shown};
use crate::{Message, Paxos, Record};
use bytes::Bytes;
use quorate_protocol::{Event, Outbox, Refusal, Refused, RequestId};
use quorate_types::{NodeId, Ticket};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Where the proposer is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Nothing under way.
    #[default]
    Idle,
    /// Phase 1: promises for this one ballot, each with what it reported. Promises of other rounds are never mixed in.
    Preparing { ballot: Ballot, promises: BTreeMap<NodeId, Option<Proposal>> },
    /// Phase 2: acceptances are counted by the learner.
    Proposing { proposal: Proposal },
    /// Waiting for `Timer::Retry`.
    BackingOff,
}

/// A client's proposal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WaitingProposal {
    pub(crate) request: RequestId,
    pub(crate) value: Bytes,
}

/// A proposer's memory. Only `last_round` is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Proposer {
    /// The last round used for a ballot of this node. Never goes down, restarts included.
    pub(crate) last_round: u64,
    /// The highest round seen anywhere. A hint: a higher next ballot is refused less often.
    pub(crate) highest_round: u64,
    pub(crate) phase: Phase,
    /// Ballots given up since the last one that got through: the exponent of the back-off.
    pub(crate) tries: u32,
    /// How often the current ballot's requests were repeated.
    pub(crate) resends: u32,
    /// Only the first is ever proposed: one slot, one value.
    pub(crate) waiting: VecDeque<WaitingProposal>,
    pub(crate) reads: Vec<WaitingRead>,
    /// This node accepted something long ago and never heard whether it was chosen: finish it.
    pub(crate) inquiring: bool,
}

impl Proposer {
    pub(crate) fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// The ballot under way.
    pub(crate) fn ballot(&self) -> Option<Ballot> {
        match &self.phase {
            Phase::Preparing { ballot, .. } => Some(*ballot),
            Phase::Proposing { proposal } => Some(proposal.ballot),
            Phase::Idle | Phase::BackingOff => None,
        }
    }

    fn wants_a_ballot(&self) -> bool {
        !self.waiting.is_empty() || !self.reads.is_empty() || self.inquiring
    }
}

impl Paxos {
    pub(crate) fn on_propose(&mut self, request: RequestId, value: Bytes, out: &mut Outbox<Paxos>) {
        let refusal = if self.learner.chosen.is_some() {
            Some((Refusal::AlreadyDecided, "the slot is decided"))
        } else if !self.members.contains(self.me) {
            Some((Refusal::NotLeader { hint: None }, "it knows no members"))
        } else if self.proposer.waiting.len() >= self.config.waiting_limit {
            Some((Refusal::Overloaded, "too many proposals wait already"))
        } else {
            None
        };
        let before = self.proposer.waiting.len() as u64;
        let event = match (&refusal, before) {
            (Some((_, why)), _) => Event::refused(&rules::PROPOSE).with("why", *why),
            (None, 0) => Event::allowed(&rules::PROPOSE),
            (None, _) => Event::waiting(&rules::PROPOSE).with("before", before),
        };
        out.trace(|| event.with("value", shown(&value)));
        match refusal {
            Some((why, _)) => out.refuse(Refused::Request(request), why),
            None => self.proposer.waiting.push_back(WaitingProposal { request, value }),
        }
    }

    pub(crate) fn note_round(&mut self, round: u64) {
        self.proposer.highest_round = self.proposer.highest_round.max(round);
    }

    /// Rule 1.
    pub(crate) fn start_ballot_if_wanted(&mut self, out: &mut Outbox<Paxos>) {
        let idle = self.proposer.phase == Phase::Idle && self.learner.chosen.is_none();
        if !idle || !self.proposer.wants_a_ballot() {
            return;
        }
        let (last_round, highest) = (self.proposer.last_round, self.proposer.highest_round);
        let Some(round) = last_round.max(highest).max(self.acceptor.promised.round).checked_add(1) else {
            let why = "there is no round above the highest seen";
            return out.trace(|| Event::refused(&rules::BALLOT).with("why", why));
        };
        let ballot = Ballot::new(round, self.me);
        out.trace(|| {
            Event::allowed(&rules::BALLOT)
                .with("ballot", ballot.to_string())
                .with("last_round", last_round)
                .with("highest", highest)
        });
        self.proposer.last_round = round;
        self.note_round(round);
        self.cover_reads();
        self.proposer.resends = 0;
        self.proposer.phase = Phase::Preparing { ballot, promises: BTreeMap::new() };
        let after = self.persist_round(ballot, out);
        for to in self.other_acceptors() {
            out.send_after(after, to, Message::Prepare { ballot });
        }
        self.set_resend_timer(out);
    }

    /// The round, and with it this acceptor's own promise by rule 2: the ballot is above everything it promised.
    fn persist_round(&mut self, ballot: Ballot, out: &mut Outbox<Paxos>) -> Ticket {
        let mut records = vec![Record::Round(ballot.round)];
        let mut claims = vec![Claim::Round(ballot.round)];
        if self.is_acceptor() {
            let before = std::mem::replace(&mut self.acceptor.promised, ballot);
            records.push(Record::Promised(ballot));
            claims.push(Claim::Promise { ballot, accepted: self.acceptor.accepted.clone() });
            out.trace(|| self.promise_event(Event::allowed(&rules::PROMISE), self.me, ballot, before));
        }
        self.persist(records, claims, out)
    }

    pub(crate) fn on_promise(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        accepted: Option<Proposal>,
        out: &mut Outbox<Paxos>,
    ) {
        if !self.members.is_voter(from) {
            return self.drop_input("promise", format!("{from} is no acceptor"), out);
        }
        self.note_round(ballot_of(accepted.as_ref()).round);
        let Phase::Preparing { ballot: current, promises } = &mut self.proposer.phase else {
            return self.drop_input("promise", format!("no phase 1 is under way, so none for {ballot}"), out);
        };
        if *current != ballot {
            let why = format!("it is for ballot {ballot}, and {current} is under way");
            return self.drop_input("promise", why, out);
        }
        if ballot_of(accepted.as_ref()) >= ballot {
            return self.drop_input("promise", "it reports an acceptance that is not below its ballot", out);
        }
        promises.insert(from, accepted);
        self.trace_waiting_for_promises(out);
    }

    /// This node's own promise became durable. It reports what was accepted when it was given.
    pub(crate) fn count_own_promise(&mut self, promised: Ballot, accepted: Option<Proposal>) {
        if let Phase::Preparing { ballot, promises } = &mut self.proposer.phase
            && *ballot == promised
        {
            promises.insert(self.me, accepted);
        }
    }

    fn trace_waiting_for_promises(&self, out: &mut Outbox<Paxos>) {
        let (Phase::Preparing { ballot, promises }, Some(quorums)) = (&self.proposer.phase, self.quorums) else {
            return;
        };
        if !quorums.is_phase1(promises.len()) {
            out.trace(|| {
                Event::waiting(&rules::VALUE)
                    .with("ballot", ballot.to_string())
                    .with("have", promises.len() as u64)
                    .with("need", quorums.phase1() as u64)
                    .votes(promises.keys().copied())
            });
        }
    }

    /// Rule 3: with promises from a phase-1 quorum, the value of the highest ballot accepted among them; if there
    /// is none, this node's own.
    pub(crate) fn conclude_phase1(&mut self, out: &mut Outbox<Paxos>) {
        let (Phase::Preparing { ballot, promises }, Some(quorums)) = (&self.proposer.phase, self.quorums) else {
            return;
        };
        if !quorums.is_phase1(promises.len()) {
            return;
        }
        let (ballot, promises) = (*ballot, promises.clone());
        let highest = promises.values().flatten().max_by_key(|proposal| proposal.ballot).cloned();
        let (value, why) = match (highest, self.proposer.waiting.front()) {
            (Some(highest), _) => {
                let why = format!("of what they had accepted, the one of the highest ballot, {}", highest.ballot);
                (Some(highest.value), why)
            }
            (None, Some(own)) => {
                let why = "they had accepted nothing, so its own value is free to be proposed".to_owned();
                (Some(own.value.clone()), why)
            }
            (None, None) => (None, "they had accepted nothing, and nobody asked it to propose".to_owned()),
        };
        out.trace(|| self.value_event(ballot, value.as_ref(), why, &promises));
        match value {
            Some(value) => self.propose(Proposal { ballot, value }, out),
            None => self.conclude_with_nothing(out),
        }
    }

    fn value_event(
        &self,
        ballot: Ballot,
        value: Option<&Bytes>,
        why: String,
        promises: &BTreeMap<NodeId, Option<Proposal>>,
    ) -> Event {
        let report =
            |(id, accepted): (&NodeId, &Option<Proposal>)| format!("{id}: {}", accepted_in_words(accepted.as_ref()));
        let reports: Vec<String> = promises.iter().map(report).collect();
        let event = match value {
            Some(value) => Event::allowed(&rules::VALUE).with("value", shown(value)),
            None => Event::refused(&rules::VALUE),
        };
        event
            .with("ballot", ballot.to_string())
            .with("why", why)
            .with("reports", reports.join("; "))
            .votes(promises.keys().copied())
    }

    /// Phase 2. The accept requests travel while this node's own acceptance is being written.
    fn propose(&mut self, proposal: Proposal, out: &mut Outbox<Paxos>) {
        if self.is_acceptor() {
            let promised = self.acceptor.promised;
            if promised > proposal.ballot {
                return self.give_up(format!("its own acceptor has promised {promised} since"), out);
            }
            self.accept(proposal.clone(), out);
        }
        let Proposal { ballot, value } = proposal.clone();
        for to in self.other_acceptors() {
            out.send(to, Message::Accept { ballot, value: value.clone() });
        }
        self.proposer.resends = 0;
        self.proposer.phase = Phase::Proposing { proposal };
        self.set_resend_timer(out);
    }

    /// A phase 1 that only served reads or an inquiry found nothing.
    fn conclude_with_nothing(&mut self, out: &mut Outbox<Paxos>) {
        self.proposer.phase = Phase::Idle;
        self.proposer.inquiring = false;
        self.proposer.tries = 0;
        out.cancel_timer(Timer::Resend);
        self.release_reads_at_nothing(out);
    }

    pub(crate) fn on_nack(&mut self, from: NodeId, ballot: Ballot, promised: Ballot, out: &mut Outbox<Paxos>) {
        self.note_round(promised.round);
        if self.proposer.ballot() != Some(ballot) || promised <= ballot {
            let highest = self.proposer.highest_round;
            let why = format!("ballot {ballot} is not under way; the highest round seen is {highest} now");
            return self.drop_input("nack", why, out);
        }
        self.give_up(format!("{from} has promised {promised}"), out);
    }

    /// Rule 6.
    fn give_up(&mut self, why: String, out: &mut Outbox<Paxos>) {
        let Some(ballot) = self.proposer.ballot() else { return };
        let doubled =
            self.config.back_off_base_ms.saturating_mul(1u64.checked_shl(self.proposer.tries).unwrap_or(u64::MAX));
        let around_ms = doubled.min(self.config.back_off_cap_ms);
        let (at_least_ms, at_most_ms) = (around_ms / 2, around_ms.saturating_add(around_ms / 2));
        out.trace(|| {
            Event::allowed(&rules::BACK_OFF)
                .with("ballot", ballot.to_string())
                .with("why", why)
                .with("at_least_ms", at_least_ms)
                .with("at_most_ms", at_most_ms)
        });
        self.proposer.tries = self.proposer.tries.saturating_add(1);
        self.proposer.phase = Phase::BackingOff;
        out.cancel_timer(Timer::Resend);
        out.set_timer(Timer::Retry, Duration::from_millis(at_least_ms), Duration::from_millis(at_most_ms));
    }

    pub(crate) fn on_retry(&mut self, out: &mut Outbox<Paxos>) {
        match self.proposer.phase {
            Phase::BackingOff => self.proposer.phase = Phase::Idle,
            _ => self.drop_input("the retry timer", "no ballot was backed off from", out),
        }
    }

    pub(crate) fn on_resend(&mut self, out: &mut Outbox<Paxos>) {
        if self.proposer.ballot().is_none() {
            return self.drop_input("the resend timer", "no ballot is under way", out);
        }
        if self.proposer.resends >= self.config.resends_per_ballot {
            return self.give_up(format!("no quorum answered {} requests", self.proposer.resends + 1), out);
        }
        self.proposer.resends += 1;
        for to in self.other_acceptors() {
            self.repeat_request(to, out);
        }
        self.set_resend_timer(out);
    }

    /// Repeats the current ballot's request to an acceptor that has not answered it.
    fn repeat_request(&self, to: NodeId, out: &mut Outbox<Paxos>) {
        match &self.proposer.phase {
            Phase::Preparing { ballot, promises } if !promises.contains_key(&to) => {
                let is_round = |claim: &Claim| *claim == Claim::Round(ballot.round);
                let after = self.written.ticket_of(is_round).unwrap_or(Ticket::NONE);
                out.send_after(after, to, Message::Prepare { ballot: *ballot });
            }
            Phase::Proposing { proposal } => {
                let answered =
                    self.learner.tallies.get(&proposal.ballot).is_some_and(|tally| tally.voters.contains(&to));
                if !answered {
                    let Proposal { ballot, value } = proposal.clone();
                    out.send(to, Message::Accept { ballot, value });
                }
            }
            Phase::Preparing { .. } | Phase::Idle | Phase::BackingOff => {}
        }
    }

    /// A peer is reachable again: it may have missed what it was sent.
    pub(crate) fn on_link_up(&mut self, peer: NodeId, out: &mut Outbox<Paxos>) {
        if peer == self.me || !self.members.contains(peer) {
            return self.drop_input("news of a link", format!("{peer} is no other member"), out);
        }
        if let Some(value) = &self.learner.chosen {
            return out.send(peer, Message::Chosen { value: value.clone() });
        }
        if self.members.is_voter(peer) {
            self.repeat_request(peer, out);
        }
    }

    /// The decision is not known here. Who accepted something finishes it by a ballot of its own; who did not asks
    /// with a question that costs no write anywhere.
    pub(crate) fn on_inquire(&mut self, out: &mut Outbox<Paxos>) {
        if self.learner.chosen.is_some() || !self.members.contains(self.me) {
            return self.drop_input("the inquire timer", "there is nothing to ask", out);
        }
        if !self.proposer.is_active() {
            let finish = self.acceptor.accepted.is_some();
            let how = if finish { "starts a ballot to finish what it accepted" } else { "asks every member" };
            out.trace(|| Event::allowed(&rules::INQUIRE).with("how", how));
            self.proposer.inquiring = finish;
            if !finish {
                for to in self.other_members() {
                    out.send(to, Message::Prepare { ballot: Ballot::question(self.me) });
                }
            }
        }
        self.set_inquire_timer(out);
    }

    /// The decision is known: it answers the proposal of its value. Every other is refused for certain, even if acceptors
    /// have it, for no ballot will ever choose another value; reads go on.
    pub(crate) fn end_proposing(&mut self, out: &mut Outbox<Paxos>) {
        self.proposer.phase = Phase::Idle;
        self.proposer.inquiring = false;
        self.proposer.tries = 0;
        self.proposer.resends = 0;
        out.cancel_timer(Timer::Resend);
        out.cancel_timer(Timer::Retry);
        for proposal in std::mem::take(&mut self.proposer.waiting) {
            if self.learner.chosen.as_ref() != Some(&proposal.value) {
                out.refuse(Refused::Request(proposal.request), Refusal::AlreadyDecided);
            }
        }
        self.release_reads_at_decision(out);
    }

    fn set_resend_timer(&self, out: &mut Outbox<Paxos>) {
        let after = Duration::from_millis(self.config.resend_after_ms);
        out.set_timer(Timer::Resend, after, after);
    }

    pub(crate) fn set_inquire_timer(&self, out: &mut Outbox<Paxos>) {
        let after = Duration::from_millis(self.config.inquire_after_ms);
        out.set_timer(Timer::Inquire, after, after.saturating_mul(2));
    }
}
