//! When the state machine drops what commands have condemned: a slice at a time, between checkpoints.

use std::time::Duration;

/// So many slices may follow each other before a checkpoint that is due goes first.
const SLICES_PER_TURN: u32 = 64;

/// The pace of tidying. While a slice leaves something over it goes by a timer of its own, so that it goes on when no client
/// stirs, and takes no more than its share when many do.
#[derive(Clone, Debug)]
pub(crate) struct TidyPace {
    every: Duration,
    /// There may be something to drop.
    wanted: bool,
    /// The last slice left something over.
    unfinished: bool,
    armed: bool,
    due: bool,
    /// Another state took the place of this node's in this batch, and no watcher has read it.
    is_new: bool,
    /// Slices that a checkpoint has to wait for, so that checkpoints one after the other do not stop tidying for good.
    owed: u32,
}

impl TidyPace {
    /// The state that was opened may have something condemned in it.
    pub(crate) fn new(every: Duration) -> TidyPace {
        TidyPace { every, wanted: true, unfinished: false, armed: false, due: false, is_new: false, owed: 0 }
    }

    /// A slot was applied: it may have condemned something.
    pub(crate) fn applied(&mut self) {
        self.wanted = true;
    }

    /// A state from elsewhere was installed: its watchers read on in it before anything of it is dropped.
    pub(crate) fn installed(&mut self) {
        self.wanted = true;
        self.is_new = true;
    }

    /// The timer fired.
    pub(crate) fn expired(&mut self) {
        self.armed = false;
        self.due = true;
    }

    /// Whether to drop a slice now. Asked only while nothing is being written or sent from the state.
    pub(crate) fn take_turn(&mut self) -> bool {
        let turn = self.wanted && !self.is_new && (self.due || !self.unfinished);
        self.due = false;
        self.is_new = false;
        turn
    }

    /// A slice was dropped.
    pub(crate) fn dropped(&mut self, more_is_left: bool) {
        self.wanted = more_is_left;
        self.unfinished = more_is_left;
        self.owed = if more_is_left { self.owed.saturating_sub(1) } else { 0 };
    }

    /// The delay to set the timer to, if it is needed and does not run.
    pub(crate) fn arm(&mut self) -> Option<Duration> {
        let sets = self.wanted && !self.armed;
        self.armed |= sets;
        sets.then_some(self.every)
    }

    /// A checkpoint ended.
    pub(crate) fn checkpoint_ended(&mut self) {
        self.owed = if self.unfinished { SLICES_PER_TURN } else { 0 };
    }

    /// Whether a checkpoint has to wait.
    pub(crate) fn has_precedence(&self) -> bool {
        self.owed > 0
    }

    /// Whether something condemned is known to be left.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.unfinished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_an_installed_state_is_dropped_in_the_batch_that_installed_it() {
        let mut pace = TidyPace::new(Duration::from_millis(5));
        pace.dropped(false);
        pace.installed();
        assert!(!pace.take_turn(), "no watcher has read on in it");
        assert!(pace.arm().is_some(), "it goes on by itself");
        pace.expired();
        assert!(pace.take_turn());
    }
}
