//! A node at work: a batch of inputs, one settle, and everything the node then wants done.

use super::World;
use super::config::Batching;
use super::event::WorldEvent;
use super::host::{Armed, Host, HostEnv, Lead, Waiting};
use crate::act::Moment;
use quorate_machine::StateMachine;
use quorate_narrator::What;
use quorate_node::{Lane, NodeInput, NodeOutput, NodeTimer, StopReason};
use quorate_protocol::{Event, Replica, Verdict};
use quorate_types::{NodeId, Slot, Time};
use std::time::Duration;

/// So much never waits for one node in health, however slow it is and however often the network repeats things.
const INBOX_MOST: usize = 50_000;

/// How often one rule gave each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardCounts {
    /// It held.
    pub allowed: u64,
    /// It forbade.
    pub refused: u64,
    /// It had to wait.
    pub waiting: u64,
}

impl<R: Replica, S: StateMachine> World<R, S> {
    /// Puts something into a node's inbox.
    pub(super) fn enqueue(&mut self, id: NodeId, waiting: Waiting<R, S>) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.inbox.push_back(waiting);
            let count = host.inbox.len();
            self.schedule_work(id);
            if count > INBOX_MOST {
                let detail = format!("{count} messages and other news wait for {id}: somebody answers answers");
                self.report_broken("NoStorm", Some(id), detail);
            }
        }
    }

    /// Lets a node get to its inbox, after its processing delay.
    pub(super) fn schedule_work(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.node.is_none() || host.paused || host.work_scheduled || host.inbox.is_empty() {
            return;
        }
        host.work_scheduled = true;
        let event = WorldEvent::Work { node: id, life: host.life };
        let delay = host.processing.draw(&mut host.work_random);
        self.schedule(self.now + delay, event);
    }

    /// Inputs are dequeued first, then the node's clock is read, then they are handed over one by one; then one settle.
    pub(super) fn work(&mut self, id: NodeId, life: u64) {
        let now = self.now;
        let batching = self.config.batching;
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.life == life) else { return };
        host.work_scheduled = false;
        if host.paused {
            return;
        }
        self.changes += 1;
        let mut inputs = std::mem::take(&mut self.inputs);
        let mut outputs = std::mem::take(&mut self.outputs);
        let fired = host.take_batch(batching, &mut inputs);
        if let Some(node) = host.node.as_mut().filter(|_| !inputs.is_empty()) {
            let mut env = HostEnv { now: host.clock.read(now), choices: &mut host.choices };
            self.heard_from.clear();
            for input in inputs.drain(..) {
                if let NodeInput::Message { from, .. } = &input {
                    self.heard_from.push(*from);
                }
                node.step(&mut env, input);
            }
            node.settle(&mut env, &mut outputs);
        }
        self.inputs = inputs;
        if let Some(timer) = fired {
            self.note(Some(id), What::TimerFired { timer: timer_name::<R>(timer) });
        }
        self.check_who_leads(id, &outputs);
        self.carry_out(id, &mut outputs);
        self.outputs = outputs;
        self.check_after_settle(id);
        self.schedule_work(id);
    }

    /// A timer's event in the queue has come.
    pub(super) fn deadline(&mut self, id: NodeId, life: u64, timer: NodeTimer<R::Timer>, turn: u64) {
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.life == life) else { return };
        if host.awaited.get(&timer).is_none_or(|(_, awaited)| *awaited != turn) {
            return;
        }
        host.awaited.remove(&timer);
        match host.timers.get(&timer) {
            Some(armed) if armed.generation == turn && !self.manual_timers => {
                self.events += 1;
                self.enqueue(id, Waiting::Expired { timer, generation: turn });
            }
            Some(armed) if armed.generation != turn => self.await_deadline(id, timer),
            _ => {}
        }
    }

    /// Does what a node wants done, in order, and leaves the list empty.
    pub(super) fn carry_out(&mut self, id: NodeId, outputs: &mut Vec<NodeOutput<R, S>>) {
        for output in outputs.drain(..) {
            match output {
                NodeOutput::Send { to, message } => {
                    self.moment(id, Moment::Send);
                    if self.is_running(id) {
                        self.send(id, to, &message);
                        self.moment(id, Moment::Sent);
                    }
                }
                NodeOutput::SetTimer { timer, at_least, at_most } => self.set_timer(id, timer, at_least, at_most),
                NodeOutput::CancelTimer(timer) => {
                    if let Some(host) = self.hosts.get_mut(&id) {
                        host.timers.remove(&timer);
                    }
                }
                NodeOutput::Disk { lane, write, operations } => self.start_write(id, lane, write, operations),
                NodeOutput::Reply { tag, result } => {
                    self.answer(id, tag, result);
                    self.moment(id, Moment::Answered);
                }
                NodeOutput::Answer { tag, result } => {
                    self.answer_errand(id, tag, result);
                    self.moment(id, Moment::Answered);
                }
                NodeOutput::Asked { tag, result } => {
                    self.answer_ask(id, tag, &result);
                    self.moment(id, Moment::Answered);
                }
                NodeOutput::Lead { era, who, ready } => self.note_lead(id, Lead { era, who, ready }),
                NodeOutput::Members(members) => {
                    self.note_members(id, members);
                }
                NodeOutput::Applied { slot, digest } => self.note_applied(id, slot, digest),
                NodeOutput::Trace(event) => self.note_guard(id, event),
                NodeOutput::Stop(reason) => return self.stop(id, &reason),
            }
            if !self.is_running(id) {
                // A disk that failed under one of the outputs, or a crash at this moment, took the process with it.
                return;
            }
        }
    }

    /// (Re)starts a timer; its deadline is drawn within the bounds, on the node's own clock.
    fn set_timer(&mut self, id: NodeId, timer: NodeTimer<R::Timer>, at_least: Duration, at_most: Duration) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let due = host.clock.read(now) + host.timer_random.duration(at_least, at_most);
        self.arm(id, timer, due);
    }

    /// A timer comes due when the node's own clock shows `due`.
    fn arm(&mut self, id: NodeId, timer: NodeTimer<R::Timer>, due: Time) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let at = host.clock.when(self.now, due);
        host.timers.insert(timer, Armed { generation: self.queue.reserve_turn(), due, at });
        self.await_deadline(id, timer);
    }

    /// Sees to it that an armed timer's event comes in time.
    fn await_deadline(&mut self, id: NodeId, timer: NodeTimer<R::Timer>) {
        let Some(host) = self.hosts.get_mut(&id).filter(|_| !self.manual_timers) else { return };
        let Some(Armed { generation, at, .. }) = host.timers.get(&timer).copied() else { return };
        if host.awaited.get(&timer).is_none_or(|(earlier, _)| *earlier > at) {
            host.awaited.insert(timer, (at, generation));
            let event = WorldEvent::Deadline { node: id, life: host.life, timer, turn: generation };
            self.queue.schedule_in_turn(at, generation, event);
        }
    }

    /// After a change of its clock, or of how timers are driven, all armed timers of a node come due at another time.
    pub(super) fn schedule_deadlines_anew(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let armed: Vec<_> = host.timers.iter().map(|(timer, armed)| (*timer, armed.due)).collect();
        for (timer, due) in armed {
            self.arm(id, timer, due);
        }
    }

    fn note_lead(&mut self, id: NodeId, lead: Lead) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.lead == Some(lead) {
            return;
        }
        host.lead = Some(lead);
        self.note(Some(id), What::Lead { era: lead.era, who: lead.who, ready: lead.ready });
        if lead.ready {
            self.moment(id, Moment::Leads);
        }
    }

    fn note_applied(&mut self, id: NodeId, slot: Slot, digest: u64) {
        let first = self.check_applied(id, slot, digest);
        self.note(Some(id), What::Applied { slot, digest, first });
        self.note_roster(id);
    }

    fn note_guard(&mut self, id: NodeId, event: Event) {
        let counts = self.guards.entry(event.rule.id).or_default();
        match event.verdict {
            Verdict::Allowed => counts.allowed += 1,
            Verdict::Refused => counts.refused += 1,
            Verdict::Waiting => counts.waiting += 1,
        }
        self.mark_guard(&event);
        self.note(Some(id), What::Guard(event));
    }

    /// A node stopped itself. The one good reason is that it was removed: nothing here damages what was synced.
    fn stop(&mut self, id: NodeId, reason: &StopReason) {
        self.note(Some(id), What::Stopped { why: reason.to_string() });
        if matches!(reason, StopReason::Retired(_)) && self.retires(id) {
            return self.crash(id);
        }
        let property = match reason {
            StopReason::Violation(violation) => violation.invariant,
            StopReason::Inconsistent(_) => "Consistent",
            StopReason::Retired(_) => "RetiredOnlyWhenRemoved",
        };
        self.report_broken(property, Some(id), format!("{id} stopped: {reason}"));
        self.crash(id);
    }
}

impl<R: Replica, S: StateMachine> Host<R, S> {
    /// Takes the next batch; answers with the timer whose deadline is its first input, if it is one. A timer that comes due always begins a batch of its own: what stands before it in the queue may
    /// set it again or cancel it, and then it must not be delivered.
    fn take_batch(&mut self, batching: Batching, inputs: &mut Vec<NodeInput<R, S>>) -> Option<NodeTimer<R::Timer>> {
        let waiting = self.inbox.len() as u64;
        let at_most = match batching {
            Batching::Everything => waiting,
            Batching::OneByOne => 1,
            Batching::Drawn { at_most } => self.work_random.between(1, at_most.clamp(1, waiting.max(1))),
        };
        let mut fired = None;
        while (inputs.len() as u64) < at_most {
            match self.inbox.pop_front() {
                None => break,
                Some(Waiting::Input(input)) => {
                    if matches!(input, NodeInput::DiskDone { lane: Lane::Journal, .. }) {
                        self.journal_busy = false;
                    }
                    inputs.push(input);
                }
                Some(Waiting::Expired { timer, generation }) if inputs.is_empty() => {
                    if self.timers.get(&timer).is_some_and(|armed| armed.generation == generation) {
                        self.timers.remove(&timer);
                        inputs.push(NodeInput::Expired(timer));
                        fired = Some(timer);
                    }
                }
                Some(later) => {
                    self.inbox.push_front(later);
                    break;
                }
            }
        }
        fired
    }
}

/// A timer's name in scenarios and transcripts.
pub(super) fn timer_name<R: Replica>(timer: NodeTimer<R::Timer>) -> &'static str {
    match timer {
        NodeTimer::Protocol(timer) => {
            R::TIMERS.iter().find(|(_, known)| *known == timer).map_or("a timer without a name", |(name, _)| *name)
        }
        NodeTimer::Requests => "requests",
        NodeTimer::Duty => "duty",
        NodeTimer::Batch => "batch",
        NodeTimer::Tidy => "tidy",
        NodeTimer::Transfers => "transfers",
        NodeTimer::Checkpoint => "checkpoint",
        NodeTimer::JournalIdle => "journal-idle",
    }
}

/// The timer of this name.
pub(super) fn timer_named<R: Replica>(name: &str) -> Option<NodeTimer<R::Timer>> {
    match name {
        "requests" => Some(NodeTimer::Requests),
        "duty" => Some(NodeTimer::Duty),
        "batch" => Some(NodeTimer::Batch),
        "tidy" => Some(NodeTimer::Tidy),
        "transfers" => Some(NodeTimer::Transfers),
        "checkpoint" => Some(NodeTimer::Checkpoint),
        "journal-idle" => Some(NodeTimer::JournalIdle),
        _ => R::TIMERS.iter().find(|(known, _)| *known == name).map(|(_, timer)| NodeTimer::Protocol(*timer)),
    }
}
