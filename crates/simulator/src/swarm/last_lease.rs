//! A last lease, while the lead goes from hand to hand.

use super::aftermath::{Aftermath, LIVE_AFTER_HEAL_PATIENCES};
use super::subject::{Judged, Subject};
use crate::act::Ask;
use quorate_types::NodeId;
use std::time::Duration;

/// No lease of a storm has this name.
const LAST_LEASE: u64 = 1 << 40;
const TTL_SECONDS: u64 = 3;
/// So long each leads. A new leader that gave the lease its full time again would never let it end.
const REIGN: Duration = Duration::from_secs(1);
/// What is left is logged at least so often, or nothing can be demanded.
const CHECKPOINTS_EVERY_MAX: Duration = Duration::from_millis(250);
/// Of each reign so much counts: what was not logged yet, and the change itself, cost the rest; clocks are wrong by a tenth.
const REIGNS_MAX: u64 = TTL_SECONDS * 4;

impl<R: Subject, S: Judged> Aftermath<'_, R, S> {
    /// `LeasesEnd`, also if the lead changes more often than the lease would need to run out.
    pub(super) fn check_leases_end_under_changes(&mut self, core: &[NodeId]) -> bool {
        let logged_often = self.times.lease_checkpoints_every <= CHECKPOINTS_EVERY_MAX;
        let changes_quickly = self.times.patience <= CHECKPOINTS_EVERY_MAX;
        let (Some(node), true) = (core.first().copied(), R::LEADERS_MOVE && logged_often && changes_quickly) else {
            return true;
        };
        if S::grant(LAST_LEASE, TTL_SECONDS).is_none() {
            return true;
        }
        let process = self.history.new_process();
        self.history.ask(self.world, node, process, Ask::Grant { lease: LAST_LEASE, ttl_seconds: TTL_SECONDS });
        let granted = self.world.now() + self.times.patience * LIVE_AFTER_HEAL_PATIENCES;
        if !self.run_while(granted, |after| !after.has_last_lease(core)) {
            // Refused for want of room, or given up: a write that may fail shows nothing.
            return true;
        }
        for turn in 0..REIGNS_MAX {
            let from = usize::try_from(turn).unwrap_or(0) % core.len();
            let heir = core[from..].iter().chain(&core[..from]).find(|node| self.may_lead(**node));
            if let Some(heir) = heir.copied() {
                self.world.ask_for_leader(heir, heir);
            }
            let over = self.world.now() + REIGN;
            if self.run_while(over, |after| after.has_last_lease(core)) || self.world.broken_promise().is_some() {
                return true;
            }
        }
        let detail = format!(
            "nobody renews, the lead changes every {REIGN:?}, and a lease of {TTL_SECONDS} s is there after {REIGNS_MAX} changes"
        );
        self.world.report_broken("LeasesEnd", None, detail);
        false
    }

    fn may_lead(&self, node: NodeId) -> bool {
        self.world.leader() != Some(node) && self.world.members().is_voter(node)
    }

    fn has_last_lease(&self, core: &[NodeId]) -> bool {
        core.iter()
            .any(|node| self.world.node(*node).is_some_and(|running| running.state().leases().contains(&LAST_LEASE)))
    }
}
