//! When a checkpoint begins, and how far the last one reached.

use crate::config::CheckpointConfig;
use quorate_machine::{Machine, StateMachine};
use quorate_types::Slot;
use std::time::Duration;

/// The pace of checkpoints.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointPace {
    config: CheckpointConfig,
    /// The timer runs.
    armed: bool,
    /// The timer fired since the last one began.
    looked: bool,
    /// What the last one covers, or the one under way.
    begun_through: Slot,
    /// The machine's applied bytes when it began.
    begun_bytes: u64,
}

impl CheckpointPace {
    /// The last checkpoint, of an earlier incarnation, covers everything up to `durable`.
    pub(crate) fn new(config: CheckpointConfig, durable: Slot) -> CheckpointPace {
        CheckpointPace { config, armed: false, looked: false, begun_through: durable, begun_bytes: 0 }
    }

    /// The timer fired.
    pub(crate) fn look(&mut self) {
        self.armed = false;
        self.looked = true;
    }

    /// The delay to set the timer to, if it does not run.
    pub(crate) fn arm(&mut self) -> Option<Duration> {
        let was_armed = std::mem::replace(&mut self.armed, true);
        (!was_armed).then_some(self.config.every)
    }

    /// Whether one should begin now.
    pub(crate) fn is_due<S: StateMachine>(&self, machine: &Machine<S>) -> bool {
        let slots = machine.applied().0 - self.begun_through.0;
        let bytes = machine.applied_bytes() - self.begun_bytes;
        slots > 0 && (self.looked || slots >= self.config.after_slots || bytes >= self.config.after_bytes)
    }

    /// One begins.
    pub(crate) fn begin<S: StateMachine>(&mut self, machine: &Machine<S>) {
        self.looked = false;
        self.begun_through = machine.applied();
        self.begun_bytes = machine.applied_bytes();
    }
}
