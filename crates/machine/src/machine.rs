//! The parts joined.

use crate::asks::Asks;
use crate::command::{Command, decode_batch};
use crate::config::MachineConfig;
use crate::duty::{DutyConfig, ErrandId};
use crate::errands::Errands;
use crate::execution::{Execution, check_claim};
use crate::image::{MachineImage, OpenMachineError, encode_meta};
use crate::message::MachineMessage;
use crate::output::{MachineError, MachineOutput, MachineStatus};
use crate::proposer::{Proposer, refusals};
use crate::reads::Reads;
use crate::request::{ClientTag, Consistency, RequestError};
use crate::roster::Roster;
use crate::sessions::{Sessions, mix};
use crate::staged::Staged;
use crate::state_machine::{ApplyContext, StateMachine};
use crate::steering::Steering;
use crate::tenure::Tenure;
use crate::writes::Writes;
use bytes::Bytes;
use quorate_protocol::{Decision, ReadToken, Refusal, Refused, RequestId};
use quorate_types::{Incarnation, NodeId, Session, Slot, Time};
use std::collections::BTreeMap;

/// Who leads, as the replica of this node last said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lead {
    /// Term, ballot, view or epoch.
    pub era: u64,
    /// The leader, if known.
    pub who: Option<NodeId>,
    /// Whether this node takes proposals.
    pub ready: bool,
    /// Whether this node leads and has decided something of its own era.
    pub settled: bool,
}

/// Where a machine says what it wants done.
pub(crate) type Out<S> = Vec<MachineOutput<<S as StateMachine>::Reply>>;

/// A state machine with everything that a replica does not do for it.
///
/// Whoever joins it with a replica hands over client requests, messages of other machines, and what the replica says
/// (`Decide`, `ReadAt`, `Refuse`, `Lead`) in the replica's order; then calls [`Machine::settle`] once, and carries out
/// the outputs in order. Every method takes `now`, this node's monotonic clock, where it needs one.
#[derive(Clone, Debug)]
pub struct Machine<S: StateMachine> {
    pub(crate) me: Session,
    pub(crate) config: MachineConfig,
    pub(crate) state: S,
    pub(crate) applied: Slot,
    applied_bytes: u64,
    pub(crate) sessions: Sessions,
    pub(crate) roster: Roster,
    pub(crate) writes: Writes,
    pub(crate) proposer: Proposer,
    pub(crate) reads: Reads<S::Query>,
    pub(crate) errands: Errands,
    pub(crate) asks: Asks,
    pub(crate) steering: Steering,
    pub(crate) tenure: Tenure<S>,
    /// Errands whose read round ended; the duty hears of them at settle.
    pub(crate) confirmed: Vec<ErrandId>,
    pub(crate) lead: Lead,
    /// Where another node pointed us, while our own replica knows no better.
    hint: Option<NodeId>,
    /// One redirection per tick: two nodes that point at each other must not send at the speed of the network.
    redirected: bool,
    timer_armed: bool,
    batch_timer_armed: bool,
    pub(crate) dropped_messages: u64,
    skipped_commands: u64,
    recalled_replies: u64,
    refused_by_sessions: u64,
}

impl<S: StateMachine> Machine<S> {
    /// The machine of node `me` in its present incarnation, from the last checkpoint if there is one.
    ///
    /// # Errors
    /// When the image is not one of this machine.
    pub fn open(
        me: NodeId,
        incarnation: Incarnation,
        config: MachineConfig,
        duty: &DutyConfig<S>,
        image: Option<MachineImage<'_>>,
    ) -> Result<Machine<S>, OpenMachineError> {
        let mut machine = Machine::fresh(me, incarnation, config, duty);
        if let Some(image) = image {
            machine.install(Staged::read(image)?, &mut Vec::new());
        }
        Ok(machine)
    }

    fn fresh(me: NodeId, incarnation: Incarnation, config: MachineConfig, duty: &DutyConfig<S>) -> Machine<S> {
        Machine {
            me: Session { owner: me.0, incarnation },
            config,
            state: S::empty(),
            applied: Slot::ZERO,
            applied_bytes: 0,
            sessions: Sessions::default(),
            roster: Roster::default(),
            writes: Writes::new(),
            proposer: Proposer::default(),
            reads: Reads::new(me, incarnation),
            errands: Errands::default(),
            asks: Asks::default(),
            steering: Steering::default(),
            tenure: Tenure::new(duty),
            confirmed: Vec::new(),
            lead: Lead::default(),
            hint: None,
            redirected: false,
            timer_armed: false,
            batch_timer_armed: false,
            dropped_messages: 0,
            skipped_commands: 0,
            recalled_replies: 0,
            refused_by_sessions: 0,
        }
    }

    /// A client wants a command applied. It is answered by a `Reply` with this tag: later, or at once if there is no room.
    pub fn submit(&mut self, now: Time, tag: ClientTag, payload: Bytes, out: &mut Out<S>) {
        let claimed = self.refuse_if_left().and_then(|()| check_claim::<S>(&payload));
        let accepted = claimed.and_then(|()| self.writes.accept(now, tag, payload, &self.config));
        if let Err(error) = accepted {
            out.push(MachineOutput::Reply { tag, result: Err(error) });
        }
    }

    /// A client asks. It is answered by a `Reply` with this tag.
    pub fn read(&mut self, now: Time, tag: ClientTag, query: S::Query, consistency: Consistency, out: &mut Out<S>) {
        match consistency {
            _ if self.has_left() => {
                out.push(MachineOutput::Reply { tag, result: Err(RequestError::Stopped) });
            }
            Consistency::Local => out.push(MachineOutput::Reply { tag, result: Ok(self.state.query(&query)) }),
            Consistency::Linearizable => {
                if let Err(error) = self.reads.accept(now, tag, query, &self.config) {
                    out.push(MachineOutput::Reply { tag, result: Err(error) });
                }
            }
        }
    }

    /// The replica says who leads.
    pub fn lead(&mut self, lead: Lead, out: &mut Out<S>) {
        if lead == self.lead {
            return;
        }
        let another = lead.era != self.lead.era || lead.who != self.lead.who;
        self.lead = lead;
        self.hint = None;
        self.redirected = false;
        self.reads.resume();
        if !another {
            self.writes.wake_resting();
            self.errands.wake_resting();
            return;
        }
        self.end_duty(out);
        self.stop_steering(out);
        self.finish_asks(out);
        self.errands.leader_changed();
        self.writes.leader_changed();
        self.proposer.forget_proposals();
        if lead.who != Some(self.node()) {
            let refused = self.proposer.refuse_waiting(lead.who);
            out.extend(refused.into_iter().map(|(to, message)| MachineOutput::Send { to, message }));
        }
    }

    /// The replica decided a slot.
    ///
    /// # Errors
    /// When the slot does not follow the last one, or its bytes are no batch. Nothing of it is applied then, and the node must stop.
    pub fn decide(&mut self, now: Time, slot: Slot, decision: Decision, out: &mut Out<S>) -> Result<(), MachineError> {
        let expected = self.applied.next();
        if slot != expected {
            return Err(MachineError::OutOfOrder { decided: slot, expected });
        }
        // Room in the log is room, whatever was decided: a new leader's first entry has no commands.
        self.proposer.resume();
        match decision {
            Decision::Commands(batch) => {
                self.applied_bytes += batch.len() as u64;
                let commands = decode_batch(batch).map_err(|why| MachineError::Undecodable { slot, why })?;
                for (index, command) in (0u32..).zip(&commands) {
                    self.apply(now, slot, index, command, out);
                }
            }
            Decision::Members(members) => {
                self.roster.decided(slot, members);
                self.steering.decided();
                self.finish_asks(out);
                self.send_clients_elsewhere(out);
            }
            Decision::Nothing => {}
        }
        self.applied = slot;
        out.push(MachineOutput::Applied { slot, digest: self.digest() });
        self.answer_ready_reads(out);
        Ok(())
    }

    fn apply(&mut self, now: Time, slot: Slot, index: u32, command: &Command, out: &mut Out<S>) {
        self.proposer.decided(command.session, command.sequence);
        let context = ApplyContext { slot, index, stamp: command.stamp };
        let result = match self.sessions.execute(&mut self.state, &context, command) {
            Execution::Skipped => {
                self.skipped_commands += 1;
                return;
            }
            Execution::Applied(reply) => {
                self.tenure.applied(&self.state, &reply, now);
                Ok(reply)
            }
            Execution::Noted(reply) => Ok(reply),
            Execution::Recalled(reply) => {
                self.recalled_replies += 1;
                Ok(reply)
            }
            Execution::Refused(error) => {
                self.refused_by_sessions += 1;
                Err(error)
            }
        };
        if command.session == self.me
            && let Some(tag) = self.writes.applied(command.sequence)
        {
            out.push(MachineOutput::Reply { tag, result });
        }
    }

    /// The replica releases a read round.
    pub fn read_at(&mut self, token: ReadToken, slot: Slot, out: &mut Out<S>) {
        self.reads.release(token, slot);
        self.answer_ready_reads(out);
    }

    /// The replica refuses a proposal or a read round.
    pub fn refuse(&mut self, refused: Refused, why: &Refusal, out: &mut Out<S>) {
        match refused {
            Refused::Request(request) if self.refuse_steering(request, why, out) => {}
            Refused::Request(request) => self.refuse_proposal(request, why, out),
            Refused::Read(token) => match why {
                Refusal::Unsupported(what) => {
                    let abandoned = self.reads.abandon(token);
                    self.abandon_reads(abandoned, what, out);
                }
                Refusal::NotLeader { .. }
                | Refusal::LeaderChanged
                | Refusal::Overloaded
                | Refusal::AlreadyDecided
                | Refusal::NotReady(_)
                | Refusal::MembershipChanged
                | Refusal::Invalid(_) => self.reads.refused(token),
            },
        }
    }

    fn refuse_proposal(&mut self, request: RequestId, why: &Refusal, out: &mut Out<S>) {
        let definite = match why {
            Refusal::Unsupported(what) | Refusal::Invalid(what) => Some(RequestError::Unsupported(what)),
            Refusal::AlreadyDecided => Some(RequestError::AlreadyDecided),
            Refusal::Overloaded => {
                self.proposer.hold_back();
                None
            }
            Refusal::NotLeader { .. } | Refusal::LeaderChanged | Refusal::NotReady(_) | Refusal::MembershipChanged => {
                None
            }
        };
        let mut forwarded: BTreeMap<Session, Vec<u64>> = BTreeMap::new();
        for (session, sequence) in self.proposer.refused(request) {
            if session != self.me {
                forwarded.entry(session).or_default().push(sequence);
                continue;
            }
            // Held back, not refused for good: it goes with the first proposal after the next decision.
            self.writes.refused_here(sequence, *why == Refusal::Overloaded);
            if let Some(error) = &definite
                && let Some(given_up) = self.writes.give_up(sequence)
            {
                let error = if given_up.exposed { RequestError::Unknown } else { error.clone() };
                out.extend(given_up.tag.map(|tag| MachineOutput::Reply { tag, result: Err(error) }));
            }
        }
        let hint = match why {
            Refusal::NotLeader { hint } => *hint,
            _ => self.lead.who,
        };
        out.extend(refusals(forwarded, hint).into_iter().map(|(to, message)| MachineOutput::Send { to, message }));
    }

    /// Another node's machine says something. `from` is as authenticated by the driver.
    pub fn receive(&mut self, now: Time, from: NodeId, message: MachineMessage, out: &mut Out<S>) {
        match message {
            MachineMessage::Forward { session, acked_below, commands } => {
                self.receive_forward(from, session, acked_below, commands, out);
            }
            MachineMessage::ForwardRefused { session, sequences, hint } => {
                if session != self.me {
                    self.dropped_messages += 1;
                    return;
                }
                for sequence in sequences {
                    self.writes.refused_there(from, sequence);
                }
                self.follow_hint(from, hint);
            }
            MachineMessage::Errands { session, errands } => self.receive_errands(now, from, session, errands, out),
            MachineMessage::ErrandAnswers { session, answers } => self.receive_answers(session, answers, out),
            MachineMessage::ErrandsRefused { session, numbers, hint } => {
                self.receive_refused_errands(from, session, &numbers);
                self.follow_hint(from, hint);
            }
            MachineMessage::Asks { session, asks } => self.receive_asks(now, from, session, asks, out),
            MachineMessage::AsksRefused { session, refused } => self.receive_refused_asks(session, refused, out),
            MachineMessage::AsksNotTaken { session, numbers, hint } => {
                if session != self.me {
                    self.dropped_messages += 1;
                    return;
                }
                for number in numbers {
                    self.asks.not_taken(from, number, now + self.config.request_tick);
                }
                self.follow_hint(from, hint);
            }
        }
    }

    fn receive_forward(
        &mut self,
        from: NodeId,
        session: Session,
        acked_below: u64,
        commands: Vec<(u64, Bytes)>,
        out: &mut Out<S>,
    ) {
        // A node speaks for its own session only: replies and refusals find their way by the owner's id.
        if session.owner != from.0 || session.incarnation == Incarnation(0) || from == self.node() {
            self.dropped_messages += 1;
            return;
        }
        // While we lead and are not ready, forwards wait here: sending them back would cost a retry delay at every election.
        let leads = self.lead.who == Some(self.node());
        let mut refused = BTreeMap::new();
        for (sequence, payload) in commands {
            if sequence < acked_below {
                self.dropped_messages += 1;
                continue;
            }
            let taken = self.sessions.is_settled(session, sequence)
                || (leads && self.proposer.accept(session, sequence, acked_below, payload, &self.config));
            if !taken {
                refused.entry(session).or_insert_with(Vec::new).push(sequence);
            }
        }
        let refused = refusals(refused, self.lead.who);
        out.extend(refused.into_iter().map(|(to, message)| MachineOutput::Send { to, message }));
    }

    fn follow_hint(&mut self, from: NodeId, hint: Option<NodeId>) {
        let Some(hint) = hint else { return };
        if hint != from && hint != self.node() && !self.redirected && self.lead.who != Some(self.node()) {
            self.redirected = true;
            self.hint = Some(hint);
            self.writes.wake_resting();
            self.errands.wake_resting();
        }
    }

    /// The delay asked for by `SetTimer` is over: what has waited too long is answered, and what may be lost is tried again.
    pub fn expired(&mut self, now: Time, out: &mut Out<S>) {
        self.timer_armed = false;
        self.redirected = false;
        self.hint = None;
        self.proposer.resume();
        for given_up in self.writes.time_out(now) {
            let error = match (given_up.exposed, self.lead.who) {
                (true, _) => RequestError::Unknown,
                (false, None) => RequestError::NoLeader,
                (false, Some(_)) => RequestError::TooManyRequests,
            };
            out.extend(given_up.tag.map(|tag| MachineOutput::Reply { tag, result: Err(error) }));
        }
        let error = if self.lead.who.is_none() { RequestError::NoLeader } else { RequestError::TimedOut };
        for tag in self.reads.time_out(now) {
            out.push(MachineOutput::Reply { tag, result: Err(error.clone()) });
        }
        self.time_out_errands(now, out);
        for (tag, error) in self.asks.time_out(now, self.lead.who) {
            out.push(MachineOutput::Asked { tag, result: Err(error) });
        }
        self.steering.expired(now);
        self.writes.retry(now);
        self.reads.retry(now);
    }

    /// Ends a batch of inputs: proposals, forwards and read rounds leave here.
    pub fn settle(&mut self, now: Time, out: &mut Out<S>) {
        let me = self.node();
        let target = self.hint.or(self.lead.who);
        if let Some(leader) = target {
            self.hand_out_errands(now, leader, out);
            self.hand_out_asks(now, leader, out);
        }
        self.steer(now, out);
        self.serve_duty(now, out);
        match target {
            Some(node) if node != me => self.forward(now, node, out),
            Some(_) if self.lead.ready => self.propose(now, out),
            Some(_) | None => {}
        }
        if self.lead.who.is_some()
            && let Some(token) = self.reads.start_round(now, &self.config)
        {
            out.push(MachineOutput::Read { token });
        }
        let waiting = self.writes.len() + self.reads.len() + self.proposer.waiting();
        let asked = self.asks.len() + self.steering.waiting(self.lead.who == Some(me));
        if !self.timer_armed && waiting + self.errands.len() + self.tenure.len() + asked > 0 {
            self.timer_armed = true;
            out.push(MachineOutput::SetTimer(self.config.request_tick));
        }
    }

    fn propose(&mut self, now: Time, out: &mut Out<S>) {
        while let Some((request, batch)) =
            self.proposer.next_proposal(now, self.me, &mut self.writes, &self.sessions, &self.config)
        {
            out.push(MachineOutput::Propose { request, batch });
        }
        if !self.batch_timer_armed
            && let Some(until) = self.proposer.waits_for_company(now, &self.writes, &self.config)
        {
            self.batch_timer_armed = true;
            out.push(MachineOutput::SetBatchTimer(until.since(now)));
        }
    }

    /// The delay asked for by `SetBatchTimer` is over: the next settle looks whether a batch has waited long enough.
    pub fn batch_expired(&mut self) {
        self.batch_timer_armed = false;
    }

    fn forward(&mut self, now: Time, to: NodeId, out: &mut Out<S>) {
        let acked_below = self.writes.acked_below();
        while self.writes.first_unsent().is_some() {
            let mut commands = Vec::new();
            let mut bytes = 0;
            while let Some((_, size)) = self.writes.first_unsent()
                && commands.len() < self.config.max_batch_commands.max(1)
                && (commands.is_empty() || bytes + size <= self.config.max_batch_bytes)
            {
                bytes += size;
                commands.extend(self.writes.forward_first(now, to, &self.config));
            }
            let message = MachineMessage::Forward { session: self.me, acked_below, commands };
            out.push(MachineOutput::Send { to, message });
        }
    }

    /// A name for a request that is put to the replica beside this machine: it is never one of the machine's own.
    pub fn fresh_request(&mut self) -> RequestId {
        self.proposer.fresh_request()
    }

    /// Applied up to here.
    #[must_use]
    pub fn applied(&self) -> Slot {
        self.applied
    }

    /// Bytes of batches applied in this incarnation: how much a checkpoint would save a restart.
    #[must_use]
    pub fn applied_bytes(&self) -> u64 {
        self.applied_bytes
    }

    /// A rolling hash of state, sessions, members and applied mark: equal on all replicas at equal slots.
    #[must_use]
    pub fn digest(&self) -> u64 {
        mix(mix(mix(self.state.digest(), self.sessions.digest()), self.roster.digest()), self.applied.0)
    }

    /// Drops a slice of what commands have condemned; answers whether more is left. Not to be called while an image is
    /// being written, or a view is being read, from this state.
    pub fn tidy(&mut self) -> bool {
        self.state.tidy()
    }

    /// The state as applied so far.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The members as decided, and who was removed.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The leader's memory beside the state, at rest while this node does not lead.
    #[must_use]
    pub fn duty(&self) -> &S::Duty {
        self.tenure.duty()
    }

    /// The machine's own part of an image as of now; the state machine's head and items complete it.
    #[must_use]
    pub fn meta(&self) -> Bytes {
        encode_meta(&self.sessions, &self.roster)
    }

    /// For people and metrics.
    #[must_use]
    pub fn status(&self) -> MachineStatus {
        MachineStatus {
            applied: self.applied,
            digest: self.digest(),
            outstanding_writes: self.writes.len(),
            outstanding_bytes: self.writes.bytes(),
            outstanding_reads: self.reads.len(),
            outstanding_errands: self.errands.len(),
            held_errands: self.tenure.len(),
            on_duty: self.tenure.is_begun(),
            forwarded_commands: self.proposer.waiting(),
            proposals_in_flight: self.proposer.in_flight(),
            sessions: self.sessions.len(),
            dropped_messages: self.dropped_messages,
            skipped_commands: self.skipped_commands,
            client_sessions: self.sessions.clients.len(),
            kept_reply_bytes: self.sessions.clients.kept_bytes(),
            expired_sessions: self.sessions.clients.expired(),
            recalled_replies: self.recalled_replies,
            refused_by_sessions: self.refused_by_sessions,
        }
    }

    pub(crate) fn node(&self) -> NodeId {
        NodeId(self.me.owner)
    }
}
