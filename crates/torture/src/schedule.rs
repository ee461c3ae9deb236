//! What is done to the members and when, drawn from the seed before anything runs.
//!
//! Three lanes run beside each other: processes, network, membership. So a member is replaced while another is cut off and a
//! third is killed. Within a lane one thing ends before the next begins. Who "the leader" is shows when it is done.

use crate::chance::Chance;
use crate::proxy::LinkState;
use crate::settings::{FaultKind, Settings};
use std::fmt;
use std::time::Duration;

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Victims {
    /// Whoever leads then, or the first member if nobody does.
    Leader,
    /// So many members, from this place in their list on, which is a ring.
    Some {
        /// Any number; taken modulo the count of members.
        first: u64,
        /// At least one.
        count: usize,
    },
    /// Everybody.
    All,
}

/// Which links between members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// What a member sends and hears.
    Isolate(Victims),
    /// Only what it sends.
    Mute(Victims),
    /// Only what it hears.
    Deafen(Victims),
    /// These from the others.
    Split(Victims),
    /// Two sides that only one member reaches both of.
    Bridge(Victims),
}

/// What happens to the links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Harm {
    /// All the time.
    Steady(LinkState),
    /// Connections are reset, and let through again, in turns of this length.
    Flapping(Duration),
}

/// How the membership changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A learner is added and takes the place of a voter in one step.
    Replace,
    /// A learner is added and promoted; then a member is removed.
    PromoteThenRemove,
    /// A voter is added; then a member is removed.
    AddThenRemove,
}

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    Kill(Victims),
    /// SIGSTOP.
    Pause(Victims),
    /// Links between members.
    Cut {
        /// Which.
        shape: Shape,
        /// How.
        harm: Harm,
    },
    /// The disk is filled until so many bytes are left.
    FullDisk {
        /// Whose.
        victim: Victims,
        /// What is left.
        free_bytes: u64,
    },
    /// The next flush, or the next few, answer EIO.
    FailingFlush {
        /// Whose.
        victim: Victims,
        /// How many.
        flushes: u64,
    },
    /// The wall clock jumps, and back at the end.
    Clock {
        /// Whose.
        victim: Victims,
        /// By how much.
        jump_ms: i64,
    },
    /// The members change.
    Member {
        /// How.
        change: Change,
        /// Who goes.
        old: Victims,
    },
}

impl Fault {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self {
            Fault::Kill(_) => FaultKind::Kill,
            Fault::Pause(_) => FaultKind::Pause,
            Fault::Cut { .. } => FaultKind::Cut,
            Fault::FullDisk { .. } => FaultKind::FullDisk,
            Fault::FailingFlush { .. } => FaultKind::FailingFlush,
            Fault::Clock { .. } => FaultKind::Clock,
            Fault::Member { .. } => FaultKind::Member,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill(victims) => write!(formatter, "kill {victims:?}"),
            Fault::Pause(victims) => write!(formatter, "pause {victims:?}"),
            Fault::Cut { shape, harm } => write!(formatter, "cut {shape:?}, {harm:?}"),
            Fault::FullDisk { victim, free_bytes } => {
                write!(formatter, "full disk of {victim:?}, {free_bytes} bytes left")
            }
            Fault::FailingFlush { victim, flushes } => write!(formatter, "{flushes} failing flushes of {victim:?}"),
            Fault::Clock { victim, jump_ms } => write!(formatter, "clock of {victim:?} jumps {jump_ms} ms"),
            Fault::Member { change, old } => write!(formatter, "member change {change:?}, {old:?} goes"),
        }
    }
}

/// When.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Counted from the start of the load; not before what came before it has ended.
    pub at: Duration,
    /// Until it is taken back. A change of members lasts as long as it takes.
    pub lasts: Duration,
    /// What.
    pub fault: Fault,
}

/// Everything that will be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Kills, pauses, disks, clocks.
    pub processes: Vec<Planned>,
    /// Cuts.
    pub network: Vec<Planned>,
    /// Members that come and go.
    pub membership: Vec<Planned>,
}

/// Nothing is done before, so that there is something to compare with.
const CALM_START: Duration = Duration::from_secs(2);

impl Schedule {
    /// The schedule of these settings. Each kind comes once before any comes again.
    #[must_use]
    pub fn draw(settings: &Settings) -> Schedule {
        let lane = |name: &str, kinds: &[FaultKind]| {
            let mut kinds: Vec<FaultKind> = kinds.iter().copied().filter(|kind| settings.has(*kind)).collect();
            let mut chance = Chance::new(settings.seed, name);
            chance.shuffle(&mut kinds);
            draw_lane(&mut chance, &kinds, settings)
        };
        use FaultKind::{Clock, Cut, FailingFlush, FullDisk, Kill, Member, Pause};
        Schedule {
            processes: lane("processes", &[Kill, Pause, FullDisk, FailingFlush, Clock]),
            network: lane("network", &[Cut]),
            membership: lane("membership", &[Member]),
        }
    }

    /// All of it, for people and for the record.
    pub fn all(&self) -> impl Iterator<Item = &Planned> {
        self.processes.iter().chain(&self.network).chain(&self.membership)
    }
}

fn draw_lane(chance: &mut Chance, kinds: &[FaultKind], settings: &Settings) -> Vec<Planned> {
    let mut planned = Vec::new();
    let mut at = CALM_START + Duration::from_millis(chance.below(1_000));
    // The last tenth is calm again.
    let end = settings.duration.mul_f64(0.9);
    for turn in 0.. {
        let Some(kind) = kinds.get(turn).or_else(|| chance.pick(kinds)).copied() else { break };
        let fault = draw_fault(chance, kind, settings.nodes);
        let lasts = draw_length(chance, kind);
        if at + lasts > end {
            break;
        }
        planned.push(Planned { at, lasts, fault });
        // Some gaps are too short for a new leader to settle.
        let gap_ms = if chance.happens(25) { chance.between(50, 500) } else { chance.between(500, 4_000) };
        at += lasts + Duration::from_millis(gap_ms);
    }
    planned
}

fn draw_length(chance: &mut Chance, kind: FaultKind) -> Duration {
    Duration::from_millis(match kind {
        FaultKind::Kill => chance.between(50, 4_000),
        // From a hiccup to several election timeouts.
        FaultKind::Pause => chance.between(100, 5_000),
        FaultKind::Cut => chance.between(300, 6_000),
        FaultKind::FullDisk => chance.between(2_000, 6_000),
        FaultKind::FailingFlush => chance.between(500, 3_000),
        FaultKind::Clock => chance.between(500, 4_000),
        // Not its length, but the room it gets: the rest is calm.
        FaultKind::Member => chance.between(2_000, 5_000),
    })
}

fn draw_fault(chance: &mut Chance, kind: FaultKind, nodes: usize) -> Fault {
    let one = |chance: &mut Chance| match chance.happens(50) {
        true => Victims::Leader,
        false => Victims::Some { first: chance.below(1_000), count: 1 },
    };
    match kind {
        FaultKind::Kill => Fault::Kill(draw_victims(chance, nodes)),
        FaultKind::Pause => Fault::Pause(draw_victims(chance, nodes)),
        FaultKind::Cut => Fault::Cut { shape: draw_shape(chance, nodes), harm: draw_harm(chance) },
        FaultKind::FullDisk => {
            let free_bytes = if chance.happens(50) { 0 } else { chance.between(1, 60) << 20 };
            Fault::FullDisk { victim: one(chance), free_bytes }
        }
        FaultKind::FailingFlush => {
            let flushes = if chance.happens(70) { 1 } else { chance.between(2, 5) };
            Fault::FailingFlush { victim: one(chance), flushes }
        }
        FaultKind::Clock => {
            let size_ms = *chance.pick(&[50, 5_000, 120_000, 3_600_000]).unwrap_or(&5_000);
            let jump_ms = if chance.happens(50) { size_ms } else { -size_ms };
            Fault::Clock { victim: draw_victims(chance, nodes), jump_ms }
        }
        FaultKind::Member => {
            let all = [Change::Replace, Change::PromoteThenRemove, Change::AddThenRemove];
            let change = chance.pick(&all).cloned().unwrap_or(Change::Replace);
            Fault::Member { change, old: one(chance) }
        }
    }
}

/// Mostly one, often the leader; sometimes so many that no quorum is left.
fn draw_victims(chance: &mut Chance, nodes: usize) -> Victims {
    match chance.below(100) {
        0..45 => Victims::Leader,
        45..75 => Victims::Some { first: chance.below(1_000), count: 1 },
        75..90 => Victims::Some { first: chance.below(1_000), count: nodes.div_ceil(2) },
        _ => Victims::All,
    }
}

fn draw_shape(chance: &mut Chance, nodes: usize) -> Shape {
    let minority = Victims::Some { first: chance.below(1_000), count: nodes / 2 };
    let one = if chance.happens(60) { Victims::Leader } else { Victims::Some { first: chance.below(1_000), count: 1 } };
    match chance.below(6) {
        0 | 1 => Shape::Isolate(one),
        2 => Shape::Mute(one),
        3 => Shape::Deafen(one),
        4 => Shape::Split(minority),
        _ => Shape::Bridge(one),
    }
}

fn draw_harm(chance: &mut Chance) -> Harm {
    match chance.below(10) {
        0..4 => Harm::Steady(LinkState::Held),
        4..6 => Harm::Steady(LinkState::Refused),
        6 => Harm::Steady(LinkState::Late { by_ms: chance.between(20, 1_500) }),
        7 => Harm::Steady(LinkState::Slow { bytes_per_second: chance.between(2_000, 200_000) }),
        _ => Harm::Flapping(Duration::from_millis(chance.between(50, 800))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    fn settings(seed: u64, seconds: u64, faults: &[FaultKind]) -> Settings {
        Settings {
            nodes: 3,
            protocol: "raft".to_owned(),
            duration: Duration::from_secs(seconds),
            faults: faults.iter().copied().collect(),
            seed,
            clients: 4,
            directory: PathBuf::new(),
            program: PathBuf::new(),
        }
    }

    #[test]
    fn a_seed_always_draws_the_same_schedule_and_another_another() {
        let draw = |seed| Schedule::draw(&settings(seed, 120, &FaultKind::ALL));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn every_kind_asked_for_comes_in_a_run_of_two_minutes_and_no_other() {
        for seed in 0..50 {
            let drawn = |faults: &[FaultKind]| -> BTreeSet<FaultKind> {
                Schedule::draw(&settings(seed, 120, faults)).all().map(|planned| planned.fault.kind()).collect()
            };
            assert_eq!(drawn(&FaultKind::ALL), FaultKind::ALL.into_iter().collect(), "seed {seed}");
            assert_eq!(drawn(&[FaultKind::Pause]), BTreeSet::from([FaultKind::Pause]));
            assert!(drawn(&[]).is_empty());
        }
    }

    #[test]
    fn a_lane_does_one_thing_after_the_other_and_leaves_both_ends_calm() {
        for seed in 0..50 {
            let schedule = Schedule::draw(&settings(seed, 60, &FaultKind::ALL));
            for lane in [&schedule.processes, &schedule.network, &schedule.membership] {
                assert!(lane.windows(2).all(|pair| pair[0].at + pair[0].lasts < pair[1].at));
                assert!(lane.iter().all(|planned| planned.at >= CALM_START));
                assert!(lane.iter().all(|planned| planned.at + planned.lasts <= Duration::from_secs(54)));
            }
        }
    }
}
