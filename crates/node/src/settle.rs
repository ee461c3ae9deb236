//! The end of a batch: outputs of replica and machine are carried to each other until both are quiet.

use crate::interface::{NodeMessage, NodeOutput, NodeTimer, StopReason};
use crate::node::Node;
use crate::space::OWN_TAG;
use quorate_machine::{Lead, MachineOutput, StateMachine};
use quorate_protocol::{Env, Event, Footprint, Input, Output, Replica, Rule, Violation};
use quorate_types::{NodeId, Time};

/// Two messages of one member contradict each other.
static EVIDENCE: Rule = Rule {
    id: "node.evidence",
    source: "Tendermint, accountability; PBFT §2",
    allowed: "{me} holds proof against {against}: {first} contradicts {second}",
    refused: "",
    waiting: "",
};

impl<R: Replica, S: StateMachine> Node<R, S> {
    /// Ends a batch of inputs and appends everything the node wants done.
    ///
    /// Replica and machine take turns until neither has news for the other; then the next disk writes begin, and
    /// the invariants are checked. If one is broken, nothing of this batch leaves but traces and [`NodeOutput::Stop`].
    pub fn settle(&mut self, env: &mut dyn Env, out: &mut Vec<NodeOutput<R, S>>) {
        if self.stopped {
            return;
        }
        let begin = out.len();
        self.tidy_a_slice(env.now());
        for (to, message) in std::mem::take(&mut self.released) {
            out.push(NodeOutput::Send { to, message: NodeMessage::Protocol(message) });
        }
        let mut news = true;
        while news && self.stop.is_none() {
            self.drive_transfers(env.now(), out);
            self.report_marks();
            if self.machine.wants_members() {
                self.machine.note_members(self.replica.status().membership);
            }
            self.machine.settle(env.now(), &mut self.machine_outputs);
            self.carry_machine_outputs(out);
            for input in std::mem::take(&mut self.inbox) {
                self.tell_replica(env, input);
            }
            self.tape.settle(&mut self.replica, env, &mut self.outbox);
            news = self.carry_replica_outputs(env.now(), out);
        }
        self.finish(env.now(), begin, out);
    }

    /// Tells the replica how far the machine has come, if it came further.
    fn report_marks(&mut self) {
        let marks = (self.machine.applied(), self.checkpointed);
        if marks != self.reported {
            self.reported = marks;
            let (through, durable) = marks;
            self.inbox.push(Input::Applied { through, durable, digest: self.machine.digest() });
        }
    }

    /// Disk writes begin and invariants are checked; or the node stops.
    pub(crate) fn finish(&mut self, now: Time, begin: usize, out: &mut Vec<NodeOutput<R, S>>) {
        self.carry_machine_outputs(out);
        self.begin_journal_write(out);
        self.begin_store_write(out);
        self.arm_tidying(now, out);
        self.drive_transfers(now, out);
        if let Err(violation) = self.replica.check_invariants() {
            self.halt(StopReason::Violation(violation));
        }
        let Some(reason) = self.stop.take() else { return };
        if !matches!(reason, StopReason::Retired(_)) {
            // What was computed beside a broken invariant may be wrong: it must not leave this node.
            let batch = out.split_off(begin);
            out.extend(batch.into_iter().filter(|output| matches!(output, NodeOutput::Trace(_))));
        }
        self.stopped = true;
        out.push(NodeOutput::Stop(reason));
    }

    /// The node stops at the end of this batch. The first reason stands.
    pub(crate) fn halt(&mut self, reason: StopReason) {
        self.stop.get_or_insert(reason);
    }

    /// Carries what the replica wants done; says whether the machine was told anything that it may have an answer to.
    pub(crate) fn carry_replica_outputs(&mut self, now: Time, out: &mut Vec<NodeOutput<R, S>>) -> bool {
        let mut news = false;
        let outputs = self.outbox.take();
        self.tape.said(&outputs);
        for output in outputs {
            news |= self.carry_replica_output(now, output, out);
        }
        news
    }

    pub(crate) fn carry_replica_output(
        &mut self,
        now: Time,
        output: Output<R>,
        out: &mut Vec<NodeOutput<R, S>>,
    ) -> bool {
        match output {
            Output::Persist { ticket, records } => self.persist(ticket, &records),
            Output::Compact { ticket, baseline, drop_before } => self.compact(ticket, &baseline, drop_before),
            Output::Send { to, .. } if to == self.setup.me => self.halt(StopReason::Violation(Violation {
                invariant: "NeverToYourself",
                detail: format!("{to} wants to send to itself"),
            })),
            Output::Send { to, message, after } => {
                if let Some((to, message)) = self.gate.pass(after, to, message) {
                    out.push(NodeOutput::Send { to, message: NodeMessage::Protocol(message) });
                }
            }
            Output::SetTimer { timer, at_least, at_most } => {
                out.push(NodeOutput::SetTimer { timer: NodeTimer::Protocol(timer), at_least, at_most });
            }
            Output::CancelTimer(timer) => out.push(NodeOutput::CancelTimer(NodeTimer::Protocol(timer))),
            Output::Members { members, .. } => {
                self.note_own_part(&members);
                out.push(NodeOutput::Members(members));
            }
            Output::SendSnapshot { to, at_least, with_data } => {
                self.pin_view(now, to, at_least, with_data);
                return true;
            }
            Output::SnapshotAnchor { id, to, anchor } => {
                self.send_view(now, id, to, &anchor);
                return true;
            }
            Output::InstallSnapshot { id, after, .. } => self.want_installed(id, after),
            Output::DropSnapshot { id } => self.drop_snapshot(id),
            Output::Retire { why } => self.halt(StopReason::Retired(why)),
            Output::Evidence { against, first, second } => {
                out.push(NodeOutput::Trace(evidence(against, &format!("{first:?}"), &format!("{second:?}"))));
            }
            Output::Trace(event) => out.push(NodeOutput::Trace(event)),
            Output::Decide { slot, decision } => {
                if self.stop.is_none()
                    && let Err(error) = self.machine.decide(now, slot, decision, &mut self.machine_outputs)
                {
                    self.halt(StopReason::Inconsistent(error.to_string()));
                }
                self.tidy.applied();
                return true;
            }
            Output::ReadAt { token, slot } => {
                self.machine.read_at(token, slot, &mut self.machine_outputs);
                return true;
            }
            Output::Refuse { refused, why } => {
                self.machine.refuse(refused, &why, &mut self.machine_outputs);
                return true;
            }
            Output::Lead { era, who, ready, settled } => {
                return self.note_lead(Lead { era, who, ready, settled }, out);
            }
        }
        false
    }

    /// Repeated news of the same leader is no news: a replica may say it at every settle.
    fn note_lead(&mut self, lead: Lead, out: &mut Vec<NodeOutput<R, S>>) -> bool {
        if self.lead == Some(lead) {
            return false;
        }
        self.lead = Some(lead);
        out.push(NodeOutput::Lead { era: lead.era, who: lead.who, ready: lead.ready });
        // Somebody else leads and knows better what is needed. While nobody does, what is on its way may be what whoever is to
        // lead next lacks.
        if lead.who.is_some_and(|leader| leader != self.setup.me) {
            self.stop_sending_all();
        }
        self.machine.lead(lead, &mut self.machine_outputs);
        true
    }

    /// Carries what the machine wants done. What is for the replica waits in the inbox.
    pub(crate) fn carry_machine_outputs(&mut self, out: &mut Vec<NodeOutput<R, S>>) {
        for output in std::mem::take(&mut self.machine_outputs) {
            match output {
                MachineOutput::Propose { request, batch } => self.inbox.push(Input::Propose { request, batch }),
                MachineOutput::Read { token } => {
                    self.inbox.push(Input::Read { token, footprint: Footprint::Everything });
                }
                MachineOutput::Send { to, message } => {
                    out.push(NodeOutput::Send { to, message: NodeMessage::Machine(message) });
                }
                MachineOutput::Reply { tag: OWN_TAG, .. } => self.space.told(),
                MachineOutput::Reply { tag, result } => out.push(NodeOutput::Reply { tag, result }),
                MachineOutput::Answer { tag, result } => out.push(NodeOutput::Answer { tag, result }),
                MachineOutput::Asked { tag, result } => out.push(NodeOutput::Asked { tag, result }),
                MachineOutput::Reconfigure { request, based_on, members } => {
                    self.inbox.push(Input::Reconfigure { request, based_on, members });
                }
                MachineOutput::Transfer { request, to } => self.inbox.push(Input::Transfer { request, to }),
                MachineOutput::Applied { slot, digest } => out.push(NodeOutput::Applied { slot, digest }),
                MachineOutput::SetTimer(delay) => {
                    out.push(NodeOutput::SetTimer { timer: NodeTimer::Requests, at_least: delay, at_most: delay });
                }
                MachineOutput::SetDutyTimer(delay) => {
                    out.push(NodeOutput::SetTimer { timer: NodeTimer::Duty, at_least: delay, at_most: delay });
                }
                MachineOutput::SetBatchTimer(delay) => {
                    out.push(NodeOutput::SetTimer { timer: NodeTimer::Batch, at_least: delay, at_most: delay });
                }
            }
        }
    }
}

fn evidence(against: NodeId, first: &str, second: &str) -> Event {
    Event::allowed(&EVIDENCE).with("against", against).with("first", first).with("second", second)
}
