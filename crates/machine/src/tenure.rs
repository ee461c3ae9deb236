//! The leader's side of errands: its duty, and the errands that wait for the duty's word.

use crate::config::MachineConfig;
use crate::duty::{Duty, DutyConfig, DutyOutput, ErrandId};
use crate::state_machine::StateMachine;
use bytes::Bytes;
use quorate_types::{Session, Time};
use std::collections::{BTreeMap, VecDeque};

/// Who waits for an errand's answer: a node's machine, in one incarnation, under its number of the try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) session: Session,
    pub(crate) number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    asker: Asker,
    deadline: Time,
}

#[derive(Clone, Debug)]
struct Early {
    asker: Asker,
    payload: Bytes,
    deadline: Time,
}

/// A duty, from the time this node leads and is settled to the loss of its leadership; and before, at rest.
#[derive(Clone, Debug)]
pub(crate) struct Tenure<S: StateMachine> {
    duty: S::Duty,
    begun: bool,
    /// Arrived and not answered.
    held: BTreeMap<ErrandId, Held>,
    /// Came while this node led and was not settled: they arrive when the duty begins.
    early: VecDeque<Early>,
    last_errand: u64,
    /// What the duty wants proposed and the session's window had no room for yet.
    proposals: VecDeque<Bytes>,
    /// When the duty wants to be called again.
    wake_at: Option<Time>,
    /// The wake-up that was asked of the driver and has not come.
    armed: Option<Time>,
}

impl<S: StateMachine> Tenure<S> {
    pub(crate) fn new(config: &DutyConfig<S>) -> Tenure<S> {
        Tenure {
            duty: S::Duty::new(config),
            begun: false,
            held: BTreeMap::new(),
            early: VecDeque::new(),
            last_errand: 0,
            proposals: VecDeque::new(),
            wake_at: None,
            armed: None,
        }
    }

    pub(crate) fn duty(&self) -> &S::Duty {
        &self.duty
    }

    pub(crate) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Errands here without an answer.
    pub(crate) fn len(&self) -> usize {
        self.held.len() + self.early.len()
    }

    /// The duty begins. Answers the errands that arrive with it, each to be confirmed by a read round that begins now.
    pub(crate) fn begin(&mut self, state: &S, now: Time, late_proposals: bool) -> Vec<ErrandId> {
        self.begun = true;
        self.duty.begin(state, now, late_proposals);
        let early = std::mem::take(&mut self.early);
        early.into_iter().map(|early| self.hold(state, early, now)).collect()
    }

    /// Leadership is over: whose errands are given up.
    pub(crate) fn end(&mut self) -> Vec<Asker> {
        if std::mem::take(&mut self.begun) {
            self.duty.end();
        }
        self.proposals.clear();
        self.wake_at = None;
        let early = std::mem::take(&mut self.early).into_iter().map(|early| early.asker);
        early.chain(std::mem::take(&mut self.held).into_values().map(|held| held.asker)).collect()
    }

    /// Takes an errand at the leader, unless there is no room for it. `Some(Some(..))` is to be confirmed.
    pub(crate) fn arrive(
        &mut self,
        state: &S,
        asker: Asker,
        payload: Bytes,
        now: Time,
        config: &MachineConfig,
    ) -> Option<Option<ErrandId>> {
        if self.len() >= config.max_held_errands.max(1) {
            return None;
        }
        let errand = Early { asker, payload, deadline: now + config.request_timeout };
        if self.begun {
            return Some(Some(self.hold(state, errand, now)));
        }
        self.early.push_back(errand);
        Some(None)
    }

    fn hold(&mut self, state: &S, errand: Early, now: Time) -> ErrandId {
        self.last_errand += 1;
        let id = ErrandId(self.last_errand);
        self.held.insert(id, Held { asker: errand.asker, deadline: errand.deadline });
        self.duty.arrived(state, id, &errand.payload, now);
        id
    }

    /// Takes an errand away without an answer: who waits for it.
    pub(crate) fn give_up(&mut self, errand: ErrandId) -> Option<Asker> {
        let held = self.held.remove(&errand)?;
        self.duty.given_up(errand);
        Some(held.asker)
    }

    /// Their askers have given up: nobody wants these answers.
    pub(crate) fn time_out(&mut self, now: Time) {
        let duty = &mut self.duty;
        self.held.retain(|errand, held| {
            let is_awaited = held.deadline > now;
            if !is_awaited {
                duty.given_up(*errand);
            }
            is_awaited
        });
        self.early.retain(|early| early.deadline > now);
    }

    /// A command was applied.
    pub(crate) fn applied(&mut self, state: &S, reply: &S::Reply, now: Time) {
        if self.begun {
            self.duty.applied(state, reply, now);
        }
    }

    /// Lets the duty answer what is confirmed and do what is due. Answers whom to tell what.
    pub(crate) fn work(&mut self, state: &S, confirmed: &[ErrandId], now: Time) -> Vec<(Asker, Bytes)> {
        if !self.begun {
            return Vec::new();
        }
        let mut wishes = Vec::new();
        for errand in confirmed.iter().filter(|errand| self.held.contains_key(errand)) {
            self.duty.confirmed(state, *errand, now, &mut wishes);
        }
        self.wake_at = self.duty.work(state, now, &mut wishes);
        let mut answers = Vec::new();
        for wish in wishes {
            match wish {
                DutyOutput::Propose(payload) => self.proposals.push_back(payload),
                DutyOutput::Answer { errand, answer } => {
                    answers.extend(self.held.remove(&errand).map(|held| (held.asker, answer)));
                }
            }
        }
        answers
    }

    /// The next command that the duty wants proposed. To be put back if there is no room for it.
    pub(crate) fn next_proposal(&mut self) -> Option<Bytes> {
        self.proposals.pop_front()
    }

    pub(crate) fn put_back(&mut self, payload: Bytes) {
        self.proposals.push_front(payload);
    }

    /// The wake-up to ask of the driver, if none that is early enough is on its way.
    pub(crate) fn arm(&mut self) -> Option<Time> {
        let wake_at = self.wake_at?;
        if self.armed.is_some_and(|armed| armed <= wake_at) {
            return None;
        }
        self.armed = Some(wake_at);
        self.armed
    }

    /// The wake-up came.
    pub(crate) fn woken(&mut self) {
        self.armed = None;
    }
}
