//! Zab.

use super::{Scripted, ScriptedTimes, holds_within, voters};
use crate::marks::Mark;
use crate::random::{Chance, Random, nanos};
use crate::swarm::subject::{Decided, Pace, Standing, Subject, Trust};
use quorate_protocol::Replica;
use quorate_types::{NodeId, Slot};
use quorate_zab::{Broadcast, Config, Zab};
use std::time::Duration;

impl Subject for Zab {
    const SLOTS: Option<u64> = None;
    const LEADERS_MOVE: bool = true;
    const MEMBERS_CHANGE: bool = true;
    const LEADERS_HAVE_EVERYTHING: bool = true;

    const IMPOSSIBLE_MARKS: &'static [Mark] = &[
        // Nobody is preferred.
        Mark::PreferredTookOver,
        // Every read asks a quorum.
        Mark::LeaseRead,
        // All members store data.
        Mark::WitnessTookPart,
        // Members change by stop-sign, without a time in between.
        Mark::JointEntered,
        Mark::JointFinished,
    ];

    fn draw_config(random: &mut Random, pace: Pace) -> Config {
        let patience = nanos(pace.patience);
        let size = |random: &mut Random, low, high| usize::try_from(random.log_uniform(low, high)).unwrap_or(1);
        let tick = random.between(patience / 40, patience / 10);
        let ticks = |time: u64| u32::try_from(time.div_ceil(tick)).unwrap_or(u32::MAX).max(2);
        let notification = random.log_uniform(patience / 40, patience / 4);
        let most = notification * random.log_uniform(1, 8);
        Config {
            tick: Duration::from_nanos(tick),
            init_limit_ticks: ticks(random.between(patience, patience * 2)),
            sync_limit_ticks: ticks(patience),
            finalize_wait: Duration::from_nanos(random.log_uniform(patience / 40, patience / 4)),
            notification_interval: Duration::from_nanos(notification),
            notification_interval_most: Duration::from_nanos(most.min(patience))
                .max(Duration::from_nanos(notification)),
            read_retry_interval: Duration::from_nanos(random.log_uniform(patience / 20, patience * 2)),
            // Half the time an epoch is used up soon, and its leader must begin another.
            counter_most: if random.happens(Chance::percent(50)) {
                u32::try_from(random.log_uniform(16, 1 << 10)).unwrap_or(u32::MAX)
            } else {
                u32::MAX
            },
            held_messages: size(random, 8, 64),
            proposal_entries: size(random, 1, 64),
            proposal_bytes: random.log_uniform(16, 1 << 16),
            window_entries: random.log_uniform(1, 64),
            undecided_bytes: random.log_uniform(1, 1 << 16),
            waiting_reads: size(random, 1, 256),
            // From a copy: whatever else is drawn of a seed stays what it was.
            read_rounds: size(&mut random.clone(), 1, 32),
            compact_after_entries: random.log_uniform(1, 200),
            compact_keep_entries: random.between(0, 16),
            keep_log_entries: random.log_uniform(1, 1 << 16),
            // Half the time a laggard is not waited for, and gets a snapshot.
            keep_log_bytes: if random.happens(Chance::percent(50)) {
                random.log_uniform(64, 1 << 16)
            } else {
                64 << 20
            },
            snapshot_retry_ticks: u32::try_from(random.log_uniform(1, 16)).unwrap_or(1),
            in_sync_entries: random.log_uniform(1, 1 << 10),
        }
    }

    /// Histories are compared by the epoch whose history was taken last, and then by their last zxid. A stop-sign counts for
    /// whoever ends with it: it is decided before anything else is.
    fn standing(&self) -> Standing {
        let mut halves = vec![voters(&self.members())];
        let Some(inside) = self.inside() else {
            return Standing { halves, log_end: (self.configuration() << 32, Slot::ZERO), may_follow: None };
        };
        halves.extend(inside.stop_sign().map(voters));
        let epoch = self.configuration() << 32 | u64::from(inside.current_epoch());
        Standing { halves, log_end: (epoch, Slot(inside.log().last().zxid.number())), may_follow: None }
    }

    fn trusts(&self) -> Vec<Trust> {
        let Some(inside) = self.inside() else { return Vec::new() };
        let known = |(peer, slot)| Some(Trust { peer, slot, entry: entry_of(inside, slot)? });
        inside.matched().filter_map(known).collect()
    }

    fn calls_decided(&self) -> Option<Decided> {
        let inside = self.inside().filter(|inside| inside.is_established())?;
        let slot = inside.committed();
        let entry = entry_of(inside, slot)?;
        Some(Decided { slot, entry, by: vec![vec![voters(&self.members())]] })
    }

    fn may_have_elected(&self, _: NodeId, era: u64) -> bool {
        self.status().era >= era
    }

    fn has_heard(&self) -> Vec<NodeId> {
        self.inside().map(|inside| inside.answered().collect()).unwrap_or_default()
    }

    fn holds(&self, slot: Slot, entry: u64) -> bool {
        holds_within(self, slot, |inside| slot < inside.log().base().slot || entry_of(inside, slot) == Some(entry))
    }
}

impl Scripted for Zab {
    fn paced(times: &ScriptedTimes) -> Config {
        let usual = Config::default();
        let ticks = times.election_timeout.as_nanos().div_ceil(times.heartbeat.as_nanos().max(1));
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX / 4).max(2);
        Config {
            tick: times.heartbeat,
            init_limit_ticks: ticks.saturating_mul(2),
            sync_limit_ticks: ticks,
            proposal_entries: times.entries_per_append.unwrap_or(usual.proposal_entries),
            ..usual
        }
    }
}

fn entry_of(inside: &Broadcast, slot: Slot) -> Option<u64> {
    inside.log().mark_at(slot).map(|mark| mark.zxid.number())
}
