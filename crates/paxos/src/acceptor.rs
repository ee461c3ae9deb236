//! Rules 2 and 4: what an acceptor promises and accepts.

use crate::ballot::{Ballot, Proposal, ballot_of};
use crate::replica::Claim;
use crate::rules::{self, shown};
use crate::{AcceptedTo, Message, Paxos, Record};
use quorate_protocol::{Event, Outbox};
use quorate_types::{NodeId, Ticket};

/// An acceptor's memory. All of it is durable, or on its way: an answer waits for the write it rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Acceptor {
    /// Nothing below this is accepted. Never goes down.
    pub(crate) promised: Ballot,
    /// `accepted.ballot <= promised`.
    pub(crate) accepted: Option<Proposal>,
}

impl Paxos {
    /// Rule 2.
    pub(crate) fn on_prepare(&mut self, from: NodeId, ballot: Ballot, out: &mut Outbox<Paxos>) {
        if self.answer_with_decision(from, "prepare", out) {
            return;
        }
        if !self.may_answer(from, ballot, "prepare", out) {
            return;
        }
        let promised = self.acceptor.promised;
        if ballot.is_question() || ballot < promised {
            out.trace(|| self.promise_event(Event::refused(&rules::PROMISE), from, ballot, promised));
            return out.send(from, Message::Nack { ballot, promised });
        }
        let after = if ballot == promised {
            // A repeated request gets the same answer, which waits for the same write as the first.
            self.latest_acceptor_write()
        } else {
            self.acceptor.promised = ballot;
            let claim = Claim::Promise { ballot, accepted: self.acceptor.accepted.clone() };
            self.persist(vec![Record::Promised(ballot)], vec![claim], out)
        };
        out.trace(|| self.promise_event(Event::allowed(&rules::PROMISE), from, ballot, promised));
        out.send_after(after, from, Message::Promise { ballot, accepted: self.acceptor.accepted.clone() });
    }

    /// Rule 4.
    pub(crate) fn on_accept(&mut self, from: NodeId, proposal: Proposal, out: &mut Outbox<Paxos>) {
        if self.answer_with_decision(from, "accept", out) {
            return;
        }
        if !self.may_answer(from, proposal.ballot, "accept", out) {
            return;
        }
        if proposal.ballot.is_question() {
            return self.drop_input("accept", "round 0 is no attempt", out);
        }
        let promised = self.acceptor.promised;
        if proposal.ballot < promised {
            out.trace(|| self.accept_event(Event::refused(&rules::ACCEPT), &proposal, promised));
            return out.send(from, Message::Nack { ballot: proposal.ballot, promised });
        }
        let after = match &self.acceptor.accepted {
            Some(accepted) if *accepted == proposal => self.latest_acceptor_write(),
            Some(accepted) if accepted.ballot == proposal.ballot => {
                return self.drop_input("accept", "its ballot has another value already", out);
            }
            _ => self.accept(proposal.clone(), out),
        };
        let message = Message::Accepted { ballot: proposal.ballot, value: proposal.value };
        match self.config.accepted_to {
            AcceptedTo::Proposer => out.send_after(after, from, message),
            AcceptedTo::Everybody => {
                for to in self.other_members() {
                    out.send_after(after, to, message.clone());
                }
            }
        }
    }

    /// Rule 4 for this node's own acceptor and for everybody else's request. The ballot is not below the promise.
    ///
    /// The promise is raised also where this ballot was never promised here. Paxos Made Simple says so of prepare
    /// requests only; without it two values can be chosen (the negative twin shows it).
    pub(crate) fn accept(&mut self, proposal: Proposal, out: &mut Outbox<Paxos>) -> Ticket {
        let before = self.acceptor.promised;
        self.acceptor.promised = proposal.ballot;
        self.acceptor.accepted = Some(proposal.clone());
        let record = Record::Accepted(proposal.clone());
        let ticket = self.persist(vec![record], vec![Claim::Accepted(proposal.clone())], out);
        out.trace(|| self.accept_event(Event::allowed(&rules::ACCEPT), &proposal, before));
        ticket
    }

    /// Rule 5: a node that knows the decision answers any request with it, so that nobody votes on it again.
    fn answer_with_decision(&self, from: NodeId, kind: &'static str, out: &mut Outbox<Paxos>) -> bool {
        let Some(value) = &self.learner.chosen else { return false };
        out.trace(|| {
            Event::allowed(&rules::ANSWER_DECIDED).with("kind", kind).with("proposer", from).with("value", shown(value))
        });
        out.send(from, Message::Chosen { value: value.clone() });
        true
    }

    /// Whether a request of phase 1 or 2 is this node's to answer. Notes the round in any case, so that this
    /// node's next ballot is above it.
    fn may_answer(&mut self, from: NodeId, ballot: Ballot, kind: &str, out: &mut Outbox<Paxos>) -> bool {
        if ballot.node != from {
            self.drop_input(kind, format!("ballot {ballot} is not {from}'s"), out);
            return false;
        }
        self.note_round(ballot.round);
        if !self.is_acceptor() {
            self.drop_input(kind, format!("{} is no acceptor", self.me), out);
            return false;
        }
        true
    }

    /// What an answer that repeats an earlier one waits for: both promise and acceptance it reports.
    fn latest_acceptor_write(&self) -> Ticket {
        let of_acceptor = |claim: &Claim| matches!(claim, Claim::Promise { .. } | Claim::Accepted(_));
        self.written.ticket_of(of_acceptor).unwrap_or(Ticket::NONE)
    }

    pub(crate) fn promise_event(&self, event: Event, proposer: NodeId, ballot: Ballot, before: Ballot) -> Event {
        event
            .with("proposer", proposer)
            .with("ballot", ballot.to_string())
            .with("promised", before.to_string())
            .with("reports_ballot", ballot_of(self.accepted()).to_string())
            .with("accepted", accepted_in_words(self.accepted()))
    }

    fn accept_event(&self, event: Event, proposal: &Proposal, before: Ballot) -> Event {
        event
            .with("proposer", proposal.ballot.node)
            .with("ballot", proposal.ballot.to_string())
            .with("value", shown(&proposal.value))
            .with("promised", before.to_string())
    }
}

/// What an acceptor reports, as a sentence shows it.
pub(crate) fn accepted_in_words(accepted: Option<&Proposal>) -> String {
    match accepted {
        None => "nothing accepted".to_owned(),
        Some(proposal) => format!("{} accepted at {}", shown(&proposal.value), proposal.ballot),
    }
}
