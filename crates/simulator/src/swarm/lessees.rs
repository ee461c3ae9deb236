//! Clients with leases: they make one, attach keys, renew it for a while, and then forget or revoke it.

use super::history::History;
use super::plan::Plan;
use super::subject::{Judged, Subject};
use crate::act::Ask;
use crate::random::{Chance, Random};
use crate::world::World;
use bytes::Bytes;
use quorate_types::NodeId;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
struct Held {
    lease: u64,
    ttl: Duration,
    keys: u64,
    /// So many renewals in a row are asked for, all over the cluster: by one who does not know that the lease is revoked.
    unaware: u64,
}

/// All clients with leases of a run. They act at drawn times, whatever became of what they asked before.
#[derive(Debug)]
pub(super) struct Lessees {
    held: Vec<Option<Held>>,
    ttl_seconds_max: u64,
    leases: u64,
    values: u64,
    is_over: bool,
    patience: Duration,
    hurry: bool,
    random: Random,
}

impl Lessees {
    pub(super) fn new(plan: &Plan, random: Random) -> Lessees {
        let count = plan.leases.map_or(0, |leases| leases.clients);
        let ttl_seconds_max = plan.leases.map_or(1, |leases| leases.ttl_seconds_max);
        let held = (0..count).map(|_| None).collect();
        let hurry = plan.leases.is_some_and(|leases| leases.hurry);
        Lessees { held, ttl_seconds_max, leases: 0, values: 0, is_over: false, patience: plan.patience, hurry, random }
    }

    pub(super) fn count(&self) -> usize {
        self.held.len()
    }

    /// Nobody does anything more.
    pub(super) fn stop(&mut self) {
        self.is_over = true;
    }

    /// Lets one do what it does next. Says after how long it does something again.
    pub(super) fn act<R: Subject, S: Judged>(
        &mut self,
        lessee: usize,
        world: &mut World<R, S>,
        history: &mut History,
    ) -> Option<Duration> {
        if self.is_over || R::SLOTS.is_some() || S::keep_alive(0).is_none() {
            return None;
        }
        let nodes: Vec<NodeId> = world.nodes().collect();
        let node = self.random.pick(&nodes).copied()?;
        let held = self.held.get_mut(lessee)?;
        let (ask, ttl) = match held {
            None => {
                self.leases += 1;
                let ttl_seconds = self.random.between(1, self.ttl_seconds_max);
                let ttl = Duration::from_secs(ttl_seconds);
                *held = Some(Held { lease: self.leases, ttl, keys: 0, unaware: 0 });
                (Ask::Grant { lease: self.leases, ttl_seconds }, ttl)
            }
            Some(Held { lease, unaware, .. }) if *unaware > 0 => {
                *unaware -= 1;
                let lease = *lease;
                let process = history.new_process();
                history.ask(world, node, process, Ask::KeepAlive { lease });
                return Some(self.random.duration(Duration::ZERO, self.patience));
            }
            Some(Held { lease, ttl, keys, unaware }) => {
                let (lease, ttl) = (*lease, *ttl);
                // Who is in a hurry revokes more often, and tells those who renew less often.
                let (revoking, untold) = if self.hurry { (4..=8, 80) } else { (4..=4, 40) };
                let ask = match self.random.below(16) {
                    0..=3 => {
                        *keys += 1;
                        self.values += 1;
                        let key = Bytes::from(format!("lease-{lease}-{keys}"));
                        Ask::Attach { key, value: Bytes::from(format!("leased-{}", self.values)), lease }
                    }
                    share if revoking.contains(&share) => {
                        if self.random.happens(Chance::percent(untold)) {
                            *unaware = self.random.between(1, 8);
                        }
                        Ask::Revoke { lease }
                    }
                    _ => Ask::KeepAlive { lease },
                };
                let revokes = matches!(ask, Ask::Revoke { .. }) && self.random.happens(Chance::percent(50));
                if *unaware == 0 && (revokes || self.random.happens(Chance::one_in(12))) {
                    *held = None;
                }
                (ask, ttl)
            }
        };
        let process = history.new_process();
        history.ask(world, node, process, ask);
        if self.hurry {
            return Some(self.random.duration(Duration::ZERO, self.patience));
        }
        // Most often in time for the next renewal, and sometimes just too late.
        Some(self.random.duration(ttl / 32, ttl * 5 / 8))
    }
}
