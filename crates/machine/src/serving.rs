//! The machine's way with errands and its duty: from client to leader, to the duty, and back.

use crate::change::AskError;
use crate::duty::ErrandId;
use crate::machine::{Machine, Out};
use crate::message::MachineMessage;
use crate::output::MachineOutput;
use crate::reads::Purpose;
use crate::request::{ClientTag, RequestError};
use crate::state_machine::StateMachine;
use crate::tenure::Asker;
use bytes::Bytes;
use quorate_types::{Incarnation, NodeId, Session, Time};
use std::collections::BTreeMap;

impl<S: StateMachine> Machine<S> {
    /// A client has an errand for the leader's duty. It is answered by an `Answer` with this tag: later, or at once if there is no
    /// room. It may be carried out more than once, and after [`RequestError::Unknown`] too.
    pub fn errand(&mut self, now: Time, tag: ClientTag, payload: Bytes, out: &mut Out<S>) {
        let taken = self.refuse_if_left().and_then(|()| self.errands.accept(now, tag, payload, &self.config));
        if let Err(error) = taken {
            out.push(MachineOutput::Answer { tag, result: Err(error) });
        }
    }

    /// The delay asked for by `SetDutyTimer` is over: the next settle calls the duty.
    pub fn duty_expired(&mut self) {
        self.tenure.woken();
    }

    /// Another node's clients have errands for this node's duty.
    pub(crate) fn receive_errands(
        &mut self,
        now: Time,
        from: NodeId,
        session: Session,
        errands: Vec<(u64, Bytes)>,
        out: &mut Out<S>,
    ) {
        if session.owner != from.0 || session.incarnation == Incarnation(0) || from == self.node() {
            self.dropped_messages += 1;
            return;
        }
        let mut refused = Vec::new();
        for (number, payload) in errands {
            let asker = Asker { session, number };
            if self.lead.who != Some(self.node()) || !self.take_errand(now, asker, payload) {
                refused.push(asker);
            }
        }
        self.refuse_errands(refused, out);
    }

    fn take_errand(&mut self, now: Time, asker: Asker, payload: Bytes) -> bool {
        let Some(taken) = self.tenure.arrive(&self.state, asker, payload, now, &self.config) else { return false };
        if let Some(errand) = taken {
            self.reads.confirm(now, errand, &self.config);
        }
        true
    }

    /// What the leader's machine answered.
    pub(crate) fn receive_answers(&mut self, session: Session, answers: Vec<(u64, Bytes)>, out: &mut Out<S>) {
        if session != self.me {
            self.dropped_messages += 1;
            return;
        }
        for (number, answer) in answers {
            if let Some(tag) = self.errands.answered(number) {
                out.push(MachineOutput::Answer { tag, result: Ok(answer) });
            }
        }
    }

    /// What another machine did not take.
    pub(crate) fn receive_refused_errands(&mut self, from: NodeId, session: Session, numbers: &[u64]) {
        if session != self.me {
            self.dropped_messages += 1;
            return;
        }
        for number in numbers {
            self.errands.refused(from, *number);
        }
    }

    fn refuse_errands(&mut self, refused: Vec<Asker>, out: &mut Out<S>) {
        let mut numbers_of: BTreeMap<Session, Vec<u64>> = BTreeMap::new();
        for asker in refused {
            if asker.session == self.me {
                let here = self.node();
                self.errands.refused(here, asker.number);
            } else {
                numbers_of.entry(asker.session).or_default().push(asker.number);
            }
        }
        for (session, numbers) in numbers_of {
            let message = MachineMessage::ErrandsRefused { session, numbers, hint: self.lead.who };
            out.push(MachineOutput::Send { to: NodeId(session.owner), message });
        }
    }

    /// The leadership that the duty was of is over.
    pub(crate) fn end_duty(&mut self, out: &mut Out<S>) {
        let given_up = self.tenure.end();
        self.confirmed.clear();
        self.writes.forget_duty();
        self.refuse_errands(given_up, out);
    }

    /// Errands of own clients that are to be handed out leave for the leader, or arrive here if this node leads.
    pub(crate) fn hand_out_errands(&mut self, now: Time, leader: NodeId, out: &mut Out<S>) {
        let is_here = leader == self.node();
        while self.errands.first_unsent().is_some() {
            let mut batch = Vec::new();
            let mut bytes = 0;
            while let Some(size) = self.errands.first_unsent()
                && batch.len() < self.config.max_batch_commands.max(1)
                && (batch.is_empty() || bytes + size <= self.config.max_batch_bytes)
            {
                bytes += size;
                batch.extend(self.errands.send_first(now, leader, is_here, &self.config));
            }
            if !is_here {
                let message = MachineMessage::Errands { session: self.me, errands: batch };
                out.push(MachineOutput::Send { to: leader, message });
                continue;
            }
            for (number, payload) in batch {
                let asker = Asker { session: self.me, number };
                if !self.take_errand(now, asker, payload) {
                    self.errands.refused(leader, number);
                }
            }
        }
    }

    /// Begins the duty when its time has come, and lets it work while it lasts.
    pub(crate) fn serve_duty(&mut self, now: Time, out: &mut Out<S>) {
        let begins = self.lead.settled && self.lead.who == Some(self.node()) && !self.tenure.is_begun();
        if begins {
            for errand in self.tenure.begin(&self.state, now, self.config.late_proposals) {
                self.reads.confirm(now, errand, &self.config);
            }
        }
        if !self.tenure.is_begun() {
            return;
        }
        let confirmed = std::mem::take(&mut self.confirmed);
        let answers = self.tenure.work(&self.state, &confirmed, now);
        self.send_answers(answers, out);
        while let Some(payload) = self.tenure.next_proposal() {
            if !self.writes.accept_of_duty(&payload, &self.config) {
                self.tenure.put_back(payload);
                break;
            }
        }
        if let Some(wake_at) = self.tenure.arm() {
            out.push(MachineOutput::SetDutyTimer(wake_at.since(now)));
        }
    }

    fn send_answers(&mut self, answers: Vec<(Asker, Bytes)>, out: &mut Out<S>) {
        let mut answers_of: BTreeMap<Session, Vec<(u64, Bytes)>> = BTreeMap::new();
        for (asker, answer) in answers {
            if asker.session != self.me {
                answers_of.entry(asker.session).or_default().push((asker.number, answer));
            } else if let Some(tag) = self.errands.answered(asker.number) {
                out.push(MachineOutput::Answer { tag, result: Ok(answer) });
            }
        }
        for (session, mut answers) in answers_of {
            while !answers.is_empty() {
                let rest = answers.split_off(answers.len().min(self.config.max_batch_commands.max(1)));
                let message = MachineMessage::ErrandAnswers { session, answers };
                out.push(MachineOutput::Send { to: NodeId(session.owner), message });
                answers = rest;
            }
        }
    }

    /// A read round ended. Errands wait for settle: by then the replica has said all that it knows of who leads.
    pub(crate) fn answer_ready_reads(&mut self, out: &mut Out<S>) {
        for purpose in self.reads.take_ready(self.applied) {
            match purpose {
                Purpose::Question { tag, query } => {
                    out.push(MachineOutput::Reply { tag, result: Ok(self.state.query(&query)) });
                }
                Purpose::Errand(errand) => self.confirmed.push(errand),
                Purpose::Ask(ask) => self.steering.confirm(ask),
                Purpose::OwnAsk(ask) => self.asks.confirm(ask),
            }
        }
        self.finish_asks(out);
    }

    /// The protocol cannot do read rounds: what waited for this one will never be answered.
    pub(crate) fn abandon_reads(&mut self, purposes: Vec<Purpose<S::Query>>, what: &'static str, out: &mut Out<S>) {
        let mut errands: Vec<ErrandId> = Vec::new();
        for purpose in purposes {
            match purpose {
                Purpose::Question { tag, .. } => {
                    out.push(MachineOutput::Reply { tag, result: Err(RequestError::Unsupported(what)) });
                }
                Purpose::Errand(errand) => errands.push(errand),
                Purpose::Ask(ask) => self.abandon_ask(ask, what, out),
                Purpose::OwnAsk(ask) => {
                    let why = AskError::Request(RequestError::Unsupported(what));
                    let refused = self.asks.refused(ask, why);
                    out.extend(refused.map(|(tag, why)| MachineOutput::Asked { tag, result: Err(why) }));
                }
            }
        }
        let askers = errands.into_iter().filter_map(|errand| self.tenure.give_up(errand)).collect();
        self.refuse_errands(askers, out);
    }

    /// Errands whose time is over end, here for the own clients and at the leader without a word.
    pub(crate) fn time_out_errands(&mut self, now: Time, out: &mut Out<S>) {
        for (tag, exposed) in self.errands.time_out(now) {
            let error = match (exposed, self.lead.who) {
                (true, _) => RequestError::Unknown,
                (false, None) => RequestError::NoLeader,
                (false, Some(_)) => RequestError::TooManyRequests,
            };
            out.push(MachineOutput::Answer { tag, result: Err(error) });
        }
        self.tenure.time_out(now);
        self.errands.retry(now);
    }
}
