//! What every protocol must pass.
//!
//! [`random_schedules`] drives a cluster of bare replicas through random schedules, each drawn from one seed: messages
//! delivered in any order, repeated and lost, timers fired in any order, writes completed late, crashes that keep any
//! prefix of the writes under way, restarts, batches of inputs settled only at their end, delayed applying, compactions cut
//! short. Along the way it checks what the seam promises, whatever the protocol:
//!
//! | check | what |
//! |---|---|
//! | `Total` | no input panics: strangers' messages, stale tickets, timers that are not armed, news of unknown snapshots |
//! | `TracingChangesNothing` | the same inputs with tracing off give an equal replica and the same other outputs |
//! | `NeverToYourself`, `TicketsExist` | of every send |
//! | `DurabilityGhost` | a message leaves only when a replica opened from the synced records alone stands by it |
//! | `DecidedInOrder` | each slot once per incarnation, without gaps, behind the durable applied mark |
//! | `Agreement`, `Validity` | no two decisions for one slot; only proposed commands |
//! | `RefusalIsDefinite` | what was refused is never decided |
//! | `Linearizable` | a read is released at a slot not before anything decided when it came |
//! | `RoundTrip` | every message and record decodes to itself; damaged bytes decode to an error or a value, not a panic |
//! | `CompactionLosesNothing` | at every crash point of a compaction `open` gives an equal safety state |
//! | `SnapshotIsThere`, `OneInstallation`, `SnapshotsGoForward` | only what arrived is installed, one at a time, never backwards |
//! | `AnchorOfTheView` | an anchor describes the view that was pinned |
//! | `NothingWhileInstalling` | nothing is decided until the machine has the snapshot |
//! | `InstallationChangesNothing` | what would open after a crash is the same before and after the machine swaps |
//! | `EveryCrashOpens` | whatever prefix of the writes under way survives, `open` succeeds |
//! | `FreshIsRecovery` | a node that lost all its writes opens like one that never ran |
//! | `LiveAfterHeal` | when faults stop, something new is decided at every member |
//! | `MembersAreKnown`, `RetiredIsNoMember` | only who could be a member is one; only who is decided not to be one retires |
//! | the protocol's own | `check_invariants` and `check_deep` after every settle |
//!
//! Snapshots between bare replicas are the decided prefix: pinned late, stale or not at all, sent slowly, lost and repeated,
//! installed late, across crashes too. The suite is for protocols with one total order.
//!
//! A [`Tally`] says how often everything happened, so that a caller can demand that a run was not vacuous.

mod dice;
mod garbage;
mod node;
mod pictures;
mod survivors;
mod walk;

pub use pictures::pictures_survive;
pub use survivors::survivors_keep_decisions;

use crate::{Replica, Verdict};
use quorate_types::{Membership, NodeId, Slot};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// The protocol under test.
#[derive(Clone, Debug)]
pub struct Subject<R: Replica> {
    /// The founding members.
    pub members: Membership,
    /// Who may be added while it runs; with these, members come, change their part and go. Empty: they stay as they are.
    pub newcomers: Vec<NodeId>,
    /// Settings of every member. Small limits find more.
    pub config: R::Config,
    /// Whatever a compaction must not change, as text: a node's promises, votes, log, membership.
    pub safety: fn(&R) -> String,
    /// The last slot there can be, for a protocol that decides only so many.
    pub last_slot: Option<Slot>,
    /// After the faults, so many timers may fire until something new is decided everywhere. 0 skips the check.
    pub heal_rounds: usize,
}

/// How often what happened, over all seeds of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    happened: BTreeMap<&'static str, u64>,
    sent: BTreeMap<&'static str, u64>,
    rules: BTreeMap<(&'static str, &'static str), u64>,
}

impl Tally {
    /// How often this happened. Names are those [`Tally`] prints, such as `crash` or `decided`.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.happened.get(name).copied().unwrap_or(0)
    }

    /// How many messages of this kind were sent.
    #[must_use]
    pub fn sent(&self, kind: &str) -> u64 {
        self.sent.get(kind).copied().unwrap_or(0)
    }

    /// How often a rule gave this verdict.
    #[must_use]
    pub fn fired(&self, rule: &str, verdict: Verdict) -> u64 {
        self.rules.iter().filter(|((id, said), _)| *id == rule && *said == word(verdict)).map(|(_, count)| count).sum()
    }

    /// Of these names, those that never happened.
    #[must_use]
    pub fn never<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        names.iter().copied().filter(|name| self.count(name) == 0).collect()
    }

    fn note(&mut self, name: &'static str) {
        *self.happened.entry(name).or_default() += 1;
    }

    fn note_sent(&mut self, kind: &'static str) {
        *self.sent.entry(kind).or_default() += 1;
    }

    fn note_rule(&mut self, rule: &'static str, verdict: Verdict) {
        *self.rules.entry((rule, word(verdict))).or_default() += 1;
    }

    fn add(&mut self, other: Tally) {
        for (name, count) in other.happened {
            *self.happened.entry(name).or_default() += count;
        }
        for (kind, count) in other.sent {
            *self.sent.entry(kind).or_default() += count;
        }
        for (rule, count) in other.rules {
            *self.rules.entry(rule).or_default() += count;
        }
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "allowed",
        Verdict::Refused => "refused",
        Verdict::Waiting => "waiting",
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.happened {
            writeln!(formatter, "{name}: {count}")?;
        }
        for (kind, count) in &self.sent {
            writeln!(formatter, "sent {kind}: {count}")?;
        }
        for ((rule, verdict), count) in &self.rules {
            writeln!(formatter, "{rule} {verdict}: {count}")?;
        }
        Ok(())
    }
}

/// A broken promise, and how to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed of the schedule.
    pub seed: u64,
    /// Which check.
    pub check: String,
    /// What was seen.
    pub detail: String,
    /// Everything that happened, in order.
    pub steps: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} is broken with seed {}: {}", self.check, self.seed, self.detail)?;
        for (at, step) in self.steps.iter().enumerate() {
            writeln!(formatter, "{:4}  {step}", at + 1)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Runs one schedule of `steps` steps per seed.
///
/// # Errors
/// The first schedule that breaks a promise, replayed once more for its list of steps.
pub fn random_schedules<R: Replica>(
    subject: &Subject<R>,
    seeds: Range<u64>,
    steps: usize,
) -> Result<Tally, Box<Failure>> {
    let mut tally = Tally::default();
    for seed in seeds {
        match walk::run(subject, seed, steps, false) {
            Ok(one) => tally.add(one),
            Err(silent) => return Err(walk::run(subject, seed, steps, true).err().unwrap_or(silent)),
        }
    }
    Ok(tally)
}
