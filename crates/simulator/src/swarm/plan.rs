//! What a seed decides before a run begins.

use super::aftermath::Times;
use super::settings::draw_node;
use super::steering::Steering;
use super::subject::Subject;
use crate::latency::Latency;
use crate::network::Link;
use crate::random::{Chance, Random};
use crate::transcript::Keep;
use crate::world::{Batching, Checks, DiskModel, WorldConfig};
use quorate_machine::ClientBounds;
use quorate_types::{ClusterId, Member, MemberRole, Membership, NodeId};
use std::time::Duration;

/// How wrong the rate of a clock may be.
const DRIFT_PERCENT_MAX: u64 = 10;

/// A kind of fault that a storm may consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultClass {
    /// Messages are lost.
    Loss,
    /// Messages arrive twice.
    Repetition,
    /// Messages overtake each other.
    Overtaking,
    /// Some messages take very long.
    Stragglers,
    /// Messages arrive damaged.
    Damage,
    /// Links are cut, both ways or one way.
    Partition,
    /// Some links stay: a leader in a corner, a hub, a chain.
    PartialLinks,
    /// A link is cut and opened again and again.
    Flapping,
    /// A link becomes much worse than the others.
    BadLink,
    /// A link holds messages up and lets them go at once.
    Clog,
    /// Messages of long ago arrive again, of earlier terms and incarnations.
    Replay,
    /// Nodes crash, alone or together, at drawn moments, also while they recover.
    Crash,
    /// A node crashes again and again.
    CrashLoop,
    /// Processes are suspended.
    Pause,
    /// Clocks jump, or stand still with their machine.
    Clock,
    /// Nodes become slow.
    SlowNode,
    /// Disks become slow.
    SlowDisk,
    /// Disks stop completing anything for a while.
    DiskStall,
    /// A disk fails an operation, once.
    DiskError,
    /// A disk has no room for a while.
    DiskFull,
    /// What was durable on a disk is damaged.
    Rot,
    /// A disk reports a write as done that it never did, or did elsewhere.
    WriteFault,
    /// A node comes back with empty disks, or with an older copy.
    Amnesia,
    /// Nodes hear wrong news of connections.
    FalseNews,
    /// Clocks run at different rates.
    Drift,
    /// Whoever leads is cut off or crashes; when the next one leads, it is that one's turn, and who was away comes back.
    Depositions,
}

impl FaultClass {
    /// All of them.
    pub const ALL: [FaultClass; 26] = [
        FaultClass::Loss,
        FaultClass::Repetition,
        FaultClass::Overtaking,
        FaultClass::Stragglers,
        FaultClass::Damage,
        FaultClass::Partition,
        FaultClass::PartialLinks,
        FaultClass::Flapping,
        FaultClass::BadLink,
        FaultClass::Clog,
        FaultClass::Replay,
        FaultClass::Crash,
        FaultClass::CrashLoop,
        FaultClass::Pause,
        FaultClass::Clock,
        FaultClass::SlowNode,
        FaultClass::SlowDisk,
        FaultClass::DiskStall,
        FaultClass::DiskError,
        FaultClass::DiskFull,
        FaultClass::Rot,
        FaultClass::WriteFault,
        FaultClass::Amnesia,
        FaultClass::FalseNews,
        FaultClass::Drift,
        FaultClass::Depositions,
    ];

    /// Whether it is a property of every link or clock in the storm, and does not come in single faults.
    pub(super) fn lasts(self) -> bool {
        matches!(
            self,
            FaultClass::Loss
                | FaultClass::Repetition
                | FaultClass::Overtaking
                | FaultClass::Stragglers
                | FaultClass::Damage
                | FaultClass::Drift
        )
    }

    /// For people, such as `slow-disk`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FaultClass::Loss => "loss",
            FaultClass::Repetition => "repetition",
            FaultClass::Overtaking => "overtaking",
            FaultClass::Stragglers => "stragglers",
            FaultClass::Damage => "damage",
            FaultClass::Partition => "partition",
            FaultClass::PartialLinks => "partial-links",
            FaultClass::Crash => "crash",
            FaultClass::Pause => "pause",
            FaultClass::SlowNode => "slow-node",
            FaultClass::SlowDisk => "slow-disk",
            FaultClass::DiskStall => "disk-stall",
            FaultClass::FalseNews => "false-news",
            FaultClass::Drift => "drift",
            FaultClass::Depositions => "depositions",
            FaultClass::Flapping => "flapping",
            FaultClass::BadLink => "bad-link",
            FaultClass::Clog => "clog",
            FaultClass::Replay => "replay",
            FaultClass::CrashLoop => "crash-loop",
            FaultClass::Clock => "clock",
            FaultClass::DiskError => "disk-error",
            FaultClass::DiskFull => "disk-full",
            FaultClass::Rot => "rot",
            FaultClass::WriteFault => "write-fault",
            FaultClass::Amnesia => "amnesia",
        }
    }
}

/// What clients do, as weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Put a key.
    pub put: u64,
    /// Delete a key.
    pub delete: u64,
    /// Put a key if it holds what the client knows.
    pub swap: u64,
    /// Forget the past.
    pub compact: u64,
    /// Read a key, linearizably.
    pub read: u64,
    /// Read all keys, linearizably.
    pub read_all: u64,
    /// Read a key from whatever the node has applied.
    pub read_local: u64,
}

/// How clients use leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leases {
    /// How many clients have a lease at a time.
    pub clients: u64,
    /// The longest time to live; the shortest is one second.
    pub ttl_seconds_max: u64,
    /// They are in a hurry: whatever they do, they do the next thing before a dead leader would be missed.
    pub hurry: bool,
}

/// How nodes hear of the space that their disks have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceNews {
    /// How often.
    pub every: Duration,
    /// Below this it is said through the log, and nothing that grows is taken until an operator says that there is room.
    pub low_bytes: u64,
}

/// How clients use sessions of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// How many clients have one at a time.
    pub clients: u64,
    /// How much is kept for them: often less than they would need.
    pub bounds: ClientBounds,
    /// Whether every copy of a request gets a number of its own, as from a client that has no session and asks again. Never by a
    /// seed of its own accord: it is for showing that the judge sees what comes of it.
    pub renumber_copies: bool,
    /// More clients, whose sessions are in order, in some of these seeds.
    pub pipelines: Option<Pipelines>,
}

/// How clients use sessions in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipelines {
    /// How many clients have one at a time.
    pub clients: u64,
    /// How many writes each wants at a time.
    pub depth: u64,
    /// Whether the sessions are really opened in order. Always, by a seed of its own accord: it is for showing that the judge sees what comes
    /// of it if not.
    pub in_order: bool,
}

/// Everything a seed decides beforehand. What happens when is drawn on the way, from the same seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Voting members.
    pub voters: u64,
    /// So many of these, the last ones, vote and store no data, where the protocol knows such.
    pub witnesses: u64,
    /// The unit of everything else; see [`super::Pace`].
    pub patience: Duration,
    /// Classes of faults in the storm, each with the mean time between two faults of a class that comes in single faults.
    pub faults: Vec<(FaultClass, Duration)>,
    /// Every link in the storm.
    pub storm_link: Link,
    /// Every link before and after it.
    pub calm_link: Link,
    /// Every disk unless a fault slows it.
    pub disk: DiskModel,
    /// What nodes hear of their disks' space, in half of all seeds, and in more where disks fill up.
    pub space_news: Option<SpaceNews>,
    /// From input to attention.
    pub processing: Latency,
    /// Inputs per settle.
    pub batching: Batching,
    /// Clients.
    pub clients: u64,
    /// How many calls they make at most, all together.
    pub calls: u64,
    /// More clients, that only read, each from one node for ever, and as many calls as the others; none in half of all seeds. Who
    /// writes waits where nothing is decided, and so asks nothing more of a leader that was cut off.
    pub readers: u64,
    /// Keys they share.
    pub keys: u64,
    /// What they do.
    pub mix: Mix,
    /// Clients that watch; none in half of all seeds.
    pub watchers: u64,
    /// How clients use leases, in half of all seeds.
    pub leases: Option<Leases>,
    /// Clients with sessions of their own, in half of all seeds.
    pub sessions: Option<Sessions>,
    /// How often the log says what is left of a lease that nobody renews.
    pub lease_checkpoints_every: Duration,
    /// How long a client waits between an answer and its next call.
    pub think: Latency,
    /// No call may take longer: a node gives up then.
    pub longest_call: Duration,
    /// How long it is calm at first.
    pub calm: Duration,
    /// How long the storm lasts.
    pub storm: Duration,
    /// Whether damage to what was durable may hit every node, and not only a minority: then all may stop, and none may lie.
    pub damage_anywhere: bool,
    /// Whether a minority stays broken for ever when the storm is over.
    pub leave_minority_down: bool,
    /// What is asked about the cluster itself, and who should lead.
    pub steering: Steering,
    /// Whether nodes explain what they do. It must not matter.
    pub tracing: bool,
    /// How often a claim is checked against the synced-only disks.
    pub ghost: Chance,
    /// How often all invariants are checked.
    pub deep: Chance,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Plan {
        let plan = Plan::draw(&mut Random::stream(seed, "plan", 0));
        let plan = plan.with_leases(&mut Random::stream(seed, "lease-plan", 0));
        let plan = plan.with_space_news(&mut Random::stream(seed, "space-plan", 0));
        let plan = plan.with_readers(&mut Random::stream(seed, "reader-plan", 0));
        let plan = plan.with_steering(&mut Random::stream(seed, "steering-plan", 0));
        let plan = plan.with_sessions(&mut Random::stream(seed, "session-plan", 0));
        let plan = plan.with_pipelines(&mut Random::stream(seed, "pipeline-plan", 0));
        let plan = plan.with_depositions(&mut Random::stream(seed, "deposition-plan", 0));
        plan.with_witnesses(&mut Random::stream(seed, "witness-plan", 0))
    }

    /// The plan of a seed, for this protocol. Where one slot is all there is, it is decided before most faults have come. So in half of
    /// the seeds links lose from the first message on, up to nine of ten.
    #[must_use]
    pub(super) fn of_seed_for<R: Subject>(seed: u64) -> Plan {
        let mut plan = Plan::of_seed(seed);
        let random = &mut Random::stream(seed, "one-slot-plan", 0);
        if R::SLOTS == Some(1) && random.happens(Chance::percent(50)) {
            plan.storm_link.loss = Chance(u32::try_from(random.between(100_000, 900_000)).unwrap_or(900_000));
        }
        plan
    }

    /// With other single faults, and without.
    fn with_depositions(mut self, random: &mut Random) -> Plan {
        if self.voters > 2 && random.happens(Chance::percent(20)) {
            if random.happens(Chance::percent(30)) {
                self.faults.retain(|(class, _)| class.lasts());
            }
            let gap = self.patience * u32::try_from(random.log_uniform(1, 30)).unwrap_or(1);
            self.faults.push((FaultClass::Depositions, gap));
        }
        self
    }

    fn with_readers(mut self, random: &mut Random) -> Plan {
        self.readers = if random.happens(Chance::percent(50)) { random.between(1, 5) } else { 0 };
        self
    }

    fn draw(random: &mut Random) -> Plan {
        let patience = Duration::from_millis(random.log_uniform(20, 1000));
        let faults = draw_faults(random, patience);
        let has = |class| faults.iter().any(|(drawn, _)| *drawn == class);
        let calm_link = Link::perfect(Latency::between(patience / 400, patience / 60));
        let storm_link = draw_storm_link(random, patience, &has);
        let flush = Duration::from_nanos(random.log_uniform(1_000, crate::random::nanos(patience) / 40));
        let batching = match random.below(3) {
            0 => Batching::Everything,
            1 => Batching::OneByOne,
            _ => Batching::Drawn { at_most: random.log_uniform(2, 64) },
        };
        Plan {
            voters: *random.pick(&[1, 2, 3, 3, 3, 3, 4, 5, 5, 5]).unwrap_or(&3),
            witnesses: 0,
            patience,
            storm_link,
            calm_link,
            disk: DiskModel {
                write: Latency::between(Duration::ZERO, flush / 20),
                flush: Latency::between(flush / 4, flush),
            },
            space_news: None,
            processing: Latency::between(
                Duration::ZERO,
                patience / u32::try_from(random.log_uniform(200, 10_000)).unwrap_or(200),
            ),
            batching,
            clients: random.log_uniform(1, 16),
            calls: random.log_uniform(100, 4000),
            keys: random.log_uniform(1, 8),
            mix: draw_mix(random),
            readers: 0,
            watchers: 0,
            leases: None,
            sessions: None,
            lease_checkpoints_every: Duration::ZERO,
            think: Latency::between(Duration::ZERO, patience / u32::try_from(random.log_uniform(1, 64)).unwrap_or(1)),
            longest_call: patience * u32::try_from(random.log_uniform(1, 20)).unwrap_or(4),
            calm: patience * u32::try_from(random.between(3, 8)).unwrap_or(3),
            storm: patience * u32::try_from(random.between(20, 60)).unwrap_or(20),
            damage_anywhere: random.happens(Chance::percent(15)),
            leave_minority_down: random.happens(Chance::percent(30)),
            steering: Steering::default(),
            tracing: random.happens(Chance::percent(25)),
            ghost: draw_ghost(random),
            deep: *random
                .pick(&[Chance::one_in(2), Chance::one_in(16), Chance::one_in(128), Chance::one_in(512)])
                .unwrap_or(&Chance::ALWAYS),
            faults,
        }
    }

    fn with_leases(mut self, random: &mut Random) -> Plan {
        // A lease that outlives its run shows nothing.
        let ttl_seconds_max = (self.storm.as_secs() / 3).clamp(1, 5);
        let clients = random.between(1, 3);
        self.lease_checkpoints_every = Duration::from_millis(random.log_uniform(50, 5_000));
        let leases = random.happens(Chance::percent(50));
        self.watchers = if random.happens(Chance::percent(50)) { random.between(1, 4) } else { 0 };
        let hurry = random.happens(Chance::percent(40));
        self.leases = leases.then_some(Leases { clients, ttl_seconds_max, hurry });
        self
    }

    fn with_space_news(mut self, random: &mut Random) -> Plan {
        let every = self.patience * u32::try_from(random.log_uniform(1, 10)).unwrap_or(1);
        let low_bytes = random.log_uniform(1 << 12, 1 << 17);
        let percent = if self.has(FaultClass::DiskFull) { 80 } else { 50 };
        self.space_news = random.happens(Chance::percent(percent)).then_some(SpaceNews { every, low_bytes });
        self
    }

    fn with_steering(mut self, random: &mut Random) -> Plan {
        let drift_ppm = if self.has(FaultClass::Drift) { DRIFT_PERCENT_MAX * 10_000 } else { 0 };
        let clocks = u32::try_from(drift_ppm).ok().filter(|_| !self.has(FaultClass::Clock));
        self.steering = Steering::draw(random, self.voters, self.patience, clocks);
        // Some of what a campaign must have seen is only seen where nodes explain themselves.
        self.tracing |= random.happens(Chance::percent(30));
        self
    }

    fn with_witnesses(mut self, random: &mut Random) -> Plan {
        if random.happens(Chance::percent(20)) {
            self.witnesses = random.between(1, 2).min(self.voters / 2);
        }
        self.steering.last_spare_is_witness = random.happens(Chance::percent(30));
        self
    }

    /// What the aftermath may expect.
    pub(crate) fn times(&self) -> Times {
        let lease_checkpoints_every = self.lease_checkpoints_every;
        Times { patience: self.patience, longest_call: self.longest_call, lease_checkpoints_every }
    }

    /// The founders: as many witnesses as are wanted, and are allowed.
    fn founders<R: Subject>(&self) -> Membership {
        let data = if R::HAS_WITNESSES { self.voters - self.witnesses.min(self.voters / 2) } else { self.voters };
        let role = |id: &NodeId| if id.0 > data { MemberRole::Witness } else { MemberRole::Voter };
        let ids = (1..=self.voters).map(NodeId);
        Membership::new(ids.map(|id| Member { role: role(&id), ..Member::voter(id) }))
    }

    /// By how much clocks run wrong, in parts per million.
    fn clock_drift_ppm_max(&self) -> u32 {
        let drift = if self.has(FaultClass::Drift) { DRIFT_PERCENT_MAX * 10_000 } else { 0 };
        u32::try_from(drift).unwrap_or(0).max(self.steering.guidance.lease_clock_error_ppm.unwrap_or(0))
    }

    fn with_sessions(mut self, random: &mut Random) -> Plan {
        let clients = random.between(1, 4);
        let bounds = ClientBounds {
            sessions_max: random.between(1, clients * 2),
            window: random.log_uniform(5, 64),
            reply_bytes_max: random.log_uniform(16, 1 << 10),
            kept_bytes_max: random.log_uniform(16, 1 << 10),
        };
        self.sessions = random.happens(Chance::percent(50)).then_some(Sessions {
            clients,
            bounds,
            renumber_copies: false,
            pipelines: None,
        });
        self
    }

    fn with_pipelines(mut self, random: &mut Random) -> Plan {
        // No deeper than every window.
        let pipelines = Pipelines { clients: random.between(1, 2), depth: random.between(2, 5), in_order: true };
        let some = random.happens(Chance::percent(40));
        self.sessions = self.sessions.map(|sessions| Sessions { pipelines: some.then_some(pipelines), ..sessions });
        self
    }

    /// By how many percent a clock of this plan may be wrong about how much time has passed, but for times in which it
    /// stands still; `None` if clocks jump.
    pub(crate) fn clock_error_percent_max(&self) -> Option<u64> {
        let jumps = self.has(FaultClass::Clock);
        (!jumps).then_some(u64::from(self.clock_drift_ppm_max().div_ceil(10_000)))
    }

    /// Whether the storm has this class.
    #[must_use]
    pub fn has(&self, class: FaultClass) -> bool {
        self.faults.iter().any(|(drawn, _)| *drawn == class)
    }

    /// The world of this plan, before the storm.
    #[must_use]
    pub fn world<R: Subject>(&self, random: &mut Random, keep: Keep) -> WorldConfig<R> {
        let mut node = draw_node::<R>(random, self);
        // What is decided once must not be that a disk is full.
        let space_news = self.space_news.filter(|_| R::SLOTS.is_none());
        node.low_space_bytes = space_news.map_or(0, |news| news.low_bytes);
        let guided = |id| (NodeId(id), R::guided(node.protocol.clone(), NodeId(id), &self.steering.guidance));
        let protocols = (1..=self.voters + self.steering.spares).map(guided).collect();
        WorldConfig {
            cluster: ClusterId(1),
            members: self.founders::<R>(),
            node,
            protocols,
            members_change: R::MEMBERS_CHANGE && self.steering.members.is_some(),
            usual_link: self.calm_link,
            links: Vec::new(),
            disk: self.disk,
            free_space_every: space_news.map(|news| news.every),
            processing: self.processing,
            batching: self.batching,
            clock_offset_max: Duration::from_secs(3600),
            clock_drift_ppm_max: self.clock_drift_ppm_max(),
            hints: Chance::percent(50),
            archive: self.has(FaultClass::Replay),
            doorman: true,
            checks: Checks { ghost: self.ghost, deep: self.deep },
            keep,
        }
    }
}

/// One seed in ten has no fault at all: a control for false alarms. Three in ten have one class; in the others each class
/// is on or off by a coin.
fn draw_faults(random: &mut Random, patience: Duration) -> Vec<(FaultClass, Duration)> {
    let singly: Vec<FaultClass> =
        FaultClass::ALL.into_iter().filter(|class| *class != FaultClass::Depositions).collect();
    let chosen: Vec<FaultClass> = match random.below(10) {
        0 => Vec::new(),
        1..=3 => random.pick(&singly).copied().into_iter().collect(),
        _ => singly.into_iter().filter(|_| random.happens(Chance::percent(40))).collect(),
    };
    chosen.into_iter().map(|class| (class, patience * u32::try_from(random.log_uniform(1, 30)).unwrap_or(1))).collect()
}

fn draw_storm_link(random: &mut Random, patience: Duration, has: &dyn Fn(FaultClass) -> bool) -> Link {
    let slowest = patience / u32::try_from(random.log_uniform(2, 100)).unwrap_or(2);
    let mut latency = Latency::between(slowest / 10, slowest);
    if has(FaultClass::Stragglers) {
        latency = latency.with_tail(draw_rate(random, 100_000), patience / 4);
    }
    let rate = |random: &mut Random, class, most| if has(class) { draw_rate(random, most) } else { Chance::NEVER };
    Link {
        latency,
        loss: rate(random, FaultClass::Loss, 300_000),
        repeat: rate(random, FaultClass::Repetition, 500_000),
        overtake: rate(random, FaultClass::Overtaking, 1_000_000),
        damage: rate(random, FaultClass::Damage, 100_000),
    }
}

fn draw_rate(random: &mut Random, most_ppm: u64) -> Chance {
    Chance(u32::try_from(random.log_uniform(1_000, most_ppm)).unwrap_or(1_000))
}

/// Opening a whole journal and store is the dearest check there is: always in one seed out of ten, rarely in most.
fn draw_ghost(random: &mut Random) -> Chance {
    match random.below(10) {
        0 => Chance::ALWAYS,
        1..=3 => Chance::one_in(32),
        4..=6 => Chance::one_in(256),
        _ => Chance::one_in(2048),
    }
}

fn draw_mix(random: &mut Random) -> Mix {
    Mix {
        put: random.between(1, 10),
        delete: random.between(0, 3),
        swap: random.between(0, 5),
        compact: u64::from(random.happens(Chance::percent(25))),
        read: random.between(1, 10),
        read_all: random.between(0, 3),
        read_local: random.between(0, 3),
    }
}
