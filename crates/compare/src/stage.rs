//! The cluster on which a protocol runs, led from where the comparison wants it.

use crate::contender::{Contender, FirstLeader};
use crate::faults::directions;
use crate::matrix::{Matrix, Site};
use crate::seats::Seats;
use quorate_keyspace::Keyspace;
use quorate_machine::MachineConfig;
use quorate_node::NodeConfig;
use quorate_simulator::{Chance, Checks, DiskModel, Keep, Latency, Link, World, WorldConfig};
use std::time::Duration;

/// What takes time besides links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Every flush of every disk.
    pub flush: Duration,
    /// From an input that waits to a node that takes it.
    pub processing: Duration,
}

/// Where a comparison takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Sites and round trips.
    pub matrix: Matrix,
    /// Who leads first.
    pub leader: Site,
    /// What takes time besides links.
    pub costs: Costs,
    /// Decides everything that is left to chance: timers, what clients ask and how long they think, losses.
    pub seed: u64,
}

/// Why a run gave no figures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A fault makes no sense among so few.
    #[error("{fault} needs at least {least} sites, and there are {count}")]
    TooFewSites {
        /// Its name.
        fault: &'static str,
        /// How many it needs.
        least: usize,
        /// How many there are.
        count: usize,
    },
    /// The wanted site did not come to lead.
    #[error("{protocol}: {wanted} was to lead first, and {}", leads.as_ref().map_or("nobody does".to_owned(), |site| format!("{site} does")))]
    NotLed {
        /// Which protocol.
        protocol: &'static str,
        /// Who was to.
        wanted: String,
        /// Who does.
        leads: Option<String>,
    },
    /// A promise of the protocol or of the simulator was broken: a bug.
    #[error("{protocol}: {property} is broken: {detail}")]
    Broken {
        /// Which protocol.
        protocol: &'static str,
        /// Which promise.
        property: &'static str,
        /// In words.
        detail: String,
    },
    /// Calls did not end although nothing is wrong any more.
    #[error("{protocol}: {calls} calls have not ended long after everything was repaired")]
    Unanswered {
        /// Which protocol.
        protocol: &'static str,
        /// How many.
        calls: usize,
    },
}

/// What all default settings are made for: times of a node are stretched as far as its patience is.
const USUAL_PATIENCE: Duration = Duration::from_millis(150);
/// A cluster is led within so many times the patience.
const FOUNDING_PATIENCES: u32 = 40;

/// A world with its seats taken.
pub(crate) struct Stage<R: Contender> {
    pub(crate) world: World<R, Keyspace>,
    pub(crate) seats: Seats,
    pub(crate) patience: Duration,
}

impl Setting {
    /// How long silence lasts before somebody else wants to lead: ten times the longest round trip with its flushes, and no less
    /// than the protocols' default.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let there_and_back = self.matrix.longest() + (self.costs.flush + self.costs.processing) * 2;
        (there_and_back * 10).max(USUAL_PATIENCE)
    }

    /// Whether nothing but links takes time, so that latencies land on what arithmetic says.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.costs == Costs::default()
    }

    /// A founded cluster that this setting's leader leads, and has for a while.
    pub(crate) fn stage<R: Contender>(&self) -> Result<Stage<R>, RunError> {
        let patience = self.patience();
        let seats = Seats::of(&self.matrix, self.leader, R::FIRST_LEADER);
        let mut world = World::new(self.world_config::<R>(&seats, patience), self.seed);
        let wanted = seats.node(self.leader);
        if let FirstLeader::Campaigns { timer } = R::FIRST_LEADER {
            world.set_manual_timers(true);
            world.fire_timer(wanted, timer);
            world.run_until_quiet(patience);
            world.set_manual_timers(false);
        }
        let is_led = world.run_until_true(patience * FOUNDING_PATIENCES, |world| world.leader().is_some());
        // Whoever else wants to lead after all does so now.
        world.run_for(patience * 2);
        broken(&world)?;
        if !is_led || world.leader() != Some(wanted) {
            let leads = world.leader().and_then(|node| seats.site(node)).map(|site| self.matrix.name(site).to_owned());
            let wanted = self.matrix.name(self.leader).to_owned();
            return Err(RunError::NotLed { protocol: R::PROTOCOL, wanted, leads });
        }
        Ok(Stage { world, seats, patience })
    }

    fn world_config<R: Contender>(&self, seats: &Seats, patience: Duration) -> WorldConfig<R> {
        let mut node = NodeConfig::new(R::settings(patience));
        node.machine = machine_settings(patience);
        let mut config = WorldConfig::perfect(self.matrix.count() as u64, node, Duration::ZERO);
        let link = |(from, to)| {
            let hop = self.matrix.round_trip(from, to) / 2;
            (seats.node(from), seats.node(to), Link::perfect(Latency::exactly(hop)))
        };
        config.links = directions(&self.matrix).map(link).collect();
        config.disk = DiskModel { write: Latency::ZERO, flush: Latency::exactly(self.costs.flush) };
        config.processing = Latency::exactly(self.costs.processing);
        config.checks = Checks { ghost: Chance::NEVER, deep: Chance::NEVER };
        config.keep = Keep::Nothing;
        config
    }
}

/// The default settings, with all times stretched like the protocol's. Read rounds do not wait for each other: on long links that
/// would be what is measured.
fn machine_settings(patience: Duration) -> MachineConfig {
    let usual = MachineConfig::default();
    let stretched = |time: Duration| {
        let nanos = time.as_nanos() * patience.as_nanos() / USUAL_PATIENCE.as_nanos();
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    };
    MachineConfig {
        request_timeout: stretched(usual.request_timeout),
        retry_after: stretched(usual.retry_after),
        request_tick: stretched(usual.request_tick),
        max_read_rounds: 1_024,
        ..usual
    }
}

/// The first promise that was broken, as an error.
pub(crate) fn broken<R: Contender>(world: &World<R, Keyspace>) -> Result<(), RunError> {
    match world.broken_promise() {
        None => Ok(()),
        Some(promise) => {
            Err(RunError::Broken { protocol: R::PROTOCOL, property: promise.property, detail: promise.detail.clone() })
        }
    }
}
