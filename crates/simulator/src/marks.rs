//! Rare things that a campaign must have seen: without them its silence says little.

/// Something that happens sometimes, if a campaign is any good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// A node became ready to lead after another had.
    LeaderChange,
    /// A log got shorter.
    LogTruncated,
    /// A crash took something that was written and not flushed.
    CrashWithUnsynced,
    /// A crash while a write was half way, between its first and its last flush.
    CrashMidWrite,
    /// A crash during recovery.
    CrashInRecovery,
    /// Recovery found and repaired damage at the end of the journal.
    TornTailRepaired,
    /// A node started from a checkpoint.
    StartFromCheckpoint,
    /// A log was compacted.
    Compaction,
    /// A node forwarded a write to a leader.
    Forwarded,
    /// A forwarded write was sent again.
    ForwardRetried,
    /// A command was decided again and not applied again.
    DuplicateSkipped,
    /// A linearizable read was answered by a node that did not lead.
    ReadByFollower,
    /// A local read was answered.
    LocalRead,
    /// A write's outcome stayed unknown.
    UnknownOutcome,
    /// A write was refused for certain.
    DefiniteRefusal,
    /// A message was delivered to another incarnation of its receiver than it was sent to, or from a past one.
    MessageAcrossIncarnations,
    /// A message arrived damaged and was dropped.
    DamagedDropped,
    /// A message overtook an earlier one.
    Reordered,
    /// A leader was cut off from a majority.
    LeaderIsolated,
    /// A leader was suspended.
    LeaderPaused,
    /// The durability ghost was asked about a claim.
    GhostAsked,
    /// A disk failed an operation of a running node.
    DiskFailed,
    /// A running node ran out of disk.
    DiskFull,
    /// A node refused to start from damaged disks.
    StartRefused,
    /// A node started although its disks were damaged: nothing it needed was hit.
    StartedDamaged,
    /// A disk lost or misdirected a write and later ones showed it.
    WriteFaulted,
    /// A node came with empty disks under its old name and was refused.
    WipedRefused,
    /// A node came with an older copy of its disks and was refused.
    CopyRefused,
    /// A node started on what its killed process had written and not flushed.
    StartFromCache,
    /// A crash at a drawn boundary.
    CrashAtMoment,
    /// A message of long ago arrived once more.
    OldReplayed,
    /// A link let many messages go at once.
    Burst,
    /// A clock jumped.
    ClockStepped,
    /// A clock stood still.
    ClockFrozen,
    /// A compare-and-set found what it expected.
    SwapDone,
    /// A compare-and-set found something else.
    SwapRefused,
    /// A client let the past be forgotten.
    PastCompacted,
    /// A node that was too far behind installed a snapshot.
    SnapshotInstalled,
    /// A node crashed while a snapshot came to it.
    SnapshotAbandoned,
    /// A lease ended because nobody renewed it.
    LeaseExpired,
    /// A lease was renewed.
    LeaseRenewed,
    /// A lease was renewed under another leader than the one it was made under.
    LeaseRenewedUnderNext,
    /// A watcher began behind what its node had.
    WatcherCaughtUp,
    /// A watcher was cancelled because what it had not seen was compacted.
    WatcherCompacted,
    /// A watcher stood at a node that installed a snapshot.
    WatcherOverSnapshot,
    /// A client asked for another leader, and it leads.
    TransferFinished,
    /// Who was to take over did not in time. Seen where nodes explain what they do.
    TransferAborted,
    /// A leader handed over to a node with a higher priority, which then led. Seen where nodes explain what they do.
    PreferredTookOver,
    /// A leader answered a read without asking anybody. Seen where nodes explain what they do.
    LeaseRead,
    /// A learner became a member.
    LearnerAdded,
    /// A witness was needed: of the voters with data those that kept up were no quorum. Seen where nodes explain what they do.
    WitnessTookPart,
    /// A change of the voters began. Seen where nodes explain what they do.
    JointEntered,
    /// A change of the voters ended. Seen where nodes explain what they do.
    JointFinished,
    /// A leader made a voter of a node that joined. Seen where nodes explain what they do.
    PromotedAutomatically,
    /// Other members were decided, of which whoever came to lead last is no voter.
    LeaderRemoved,
    /// A node that joined installed a snapshot.
    SnapshotToJoiner,
    /// A node that was removed heard of it and stopped.
    Retired,
    /// A node that was removed came to the door of one that knows.
    RemovedRefused,
    /// A removed id was to be added again, and was refused.
    RemovedIdRefused,
    /// A write was refused because a disk was nearly full.
    RefusedForSpace,
    /// A lease ended by time while a node led that had joined.
    LeaseExpiredUnderJoiner,
    /// A client that had an answer asked again in its session and was told the same.
    RetryRecalled,
    /// A client's session had made room for others.
    SessionExpired,
    /// In a session in order, a request came to the log before one that it was to follow.
    BeforeItsTurn,
}

impl Mark {
    /// All of them.
    pub const ALL: [Mark; 64] = [
        Mark::LeaderChange,
        Mark::LogTruncated,
        Mark::CrashWithUnsynced,
        Mark::CrashMidWrite,
        Mark::CrashInRecovery,
        Mark::TornTailRepaired,
        Mark::StartFromCheckpoint,
        Mark::Compaction,
        Mark::Forwarded,
        Mark::ForwardRetried,
        Mark::DuplicateSkipped,
        Mark::ReadByFollower,
        Mark::LocalRead,
        Mark::UnknownOutcome,
        Mark::DefiniteRefusal,
        Mark::MessageAcrossIncarnations,
        Mark::DamagedDropped,
        Mark::Reordered,
        Mark::LeaderIsolated,
        Mark::LeaderPaused,
        Mark::GhostAsked,
        Mark::DiskFailed,
        Mark::DiskFull,
        Mark::StartRefused,
        Mark::StartedDamaged,
        Mark::WriteFaulted,
        Mark::WipedRefused,
        Mark::CopyRefused,
        Mark::StartFromCache,
        Mark::CrashAtMoment,
        Mark::OldReplayed,
        Mark::Burst,
        Mark::ClockStepped,
        Mark::ClockFrozen,
        Mark::SwapDone,
        Mark::SwapRefused,
        Mark::PastCompacted,
        Mark::SnapshotInstalled,
        Mark::SnapshotAbandoned,
        Mark::LeaseExpired,
        Mark::LeaseRenewed,
        Mark::LeaseRenewedUnderNext,
        Mark::WatcherCaughtUp,
        Mark::WatcherCompacted,
        Mark::WatcherOverSnapshot,
        Mark::TransferFinished,
        Mark::TransferAborted,
        Mark::PreferredTookOver,
        Mark::LeaseRead,
        Mark::LearnerAdded,
        Mark::WitnessTookPart,
        Mark::JointEntered,
        Mark::JointFinished,
        Mark::PromotedAutomatically,
        Mark::LeaderRemoved,
        Mark::SnapshotToJoiner,
        Mark::Retired,
        Mark::RemovedRefused,
        Mark::RemovedIdRefused,
        Mark::RefusedForSpace,
        Mark::LeaseExpiredUnderJoiner,
        Mark::RetryRecalled,
        Mark::SessionExpired,
        Mark::BeforeItsTurn,
    ];

    /// A campaign of fewer seeds is not blamed for not having seen it.
    #[must_use]
    pub fn seeds_needed(self) -> u64 {
        match self {
            Mark::SnapshotAbandoned
            | Mark::WatcherOverSnapshot
            | Mark::WatcherCompacted
            | Mark::LogTruncated
            | Mark::CopyRefused
            | Mark::TornTailRepaired
            | Mark::WriteFaulted
            | Mark::LeaseExpiredUnderJoiner
            | Mark::RemovedIdRefused
            | Mark::RemovedRefused
            | Mark::SnapshotToJoiner
            | Mark::TransferAborted => 1000,
            _ => 200,
        }
    }

    /// The mark of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Mark> {
        Mark::ALL.into_iter().find(|mark| mark.name() == name)
    }

    /// For people, such as `leader-change`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mark::LeaderChange => "leader-change",
            Mark::LogTruncated => "log-truncated",
            Mark::CrashWithUnsynced => "crash-with-unsynced",
            Mark::CrashMidWrite => "crash-mid-write",
            Mark::CrashInRecovery => "crash-in-recovery",
            Mark::TornTailRepaired => "torn-tail-repaired",
            Mark::StartFromCheckpoint => "start-from-checkpoint",
            Mark::Compaction => "compaction",
            Mark::Forwarded => "forwarded",
            Mark::ForwardRetried => "forward-retried",
            Mark::DuplicateSkipped => "duplicate-skipped",
            Mark::ReadByFollower => "read-by-follower",
            Mark::LocalRead => "local-read",
            Mark::UnknownOutcome => "unknown-outcome",
            Mark::DefiniteRefusal => "definite-refusal",
            Mark::MessageAcrossIncarnations => "message-across-incarnations",
            Mark::DamagedDropped => "damaged-dropped",
            Mark::Reordered => "reordered",
            Mark::LeaderIsolated => "leader-isolated",
            Mark::LeaderPaused => "leader-paused",
            Mark::GhostAsked => "ghost-asked",
            Mark::DiskFailed => "disk-failed",
            Mark::DiskFull => "disk-full",
            Mark::StartRefused => "start-refused",
            Mark::StartedDamaged => "started-damaged",
            Mark::WriteFaulted => "write-faulted",
            Mark::WipedRefused => "wiped-refused",
            Mark::CopyRefused => "copy-refused",
            Mark::StartFromCache => "start-from-cache",
            Mark::CrashAtMoment => "crash-at-moment",
            Mark::OldReplayed => "old-replayed",
            Mark::Burst => "burst",
            Mark::ClockStepped => "clock-stepped",
            Mark::ClockFrozen => "clock-frozen",
            Mark::SwapDone => "swap-done",
            Mark::SwapRefused => "swap-refused",
            Mark::PastCompacted => "past-compacted",
            Mark::SnapshotInstalled => "snapshot-installed",
            Mark::SnapshotAbandoned => "snapshot-abandoned",
            Mark::WatcherOverSnapshot => "watcher-over-snapshot",
            Mark::TransferFinished => "transfer-finished",
            Mark::TransferAborted => "transfer-aborted",
            Mark::PreferredTookOver => "preferred-took-over",
            Mark::LeaseRead => "lease-read",
            Mark::LearnerAdded => "learner-added",
            Mark::WitnessTookPart => "witness-took-part",
            Mark::JointEntered => "joint-entered",
            Mark::JointFinished => "joint-finished",
            Mark::PromotedAutomatically => "promoted-automatically",
            Mark::LeaderRemoved => "leader-removed",
            Mark::SnapshotToJoiner => "snapshot-to-joiner",
            Mark::Retired => "retired",
            Mark::RemovedRefused => "removed-refused",
            Mark::RemovedIdRefused => "removed-id-refused",
            Mark::RefusedForSpace => "refused-for-space",
            Mark::LeaseExpiredUnderJoiner => "lease-expired-under-joiner",
            Mark::RetryRecalled => "retry-recalled",
            Mark::SessionExpired => "session-expired",
            Mark::BeforeItsTurn => "before-its-turn",
            Mark::WatcherCompacted => "watcher-compacted",
            Mark::WatcherCaughtUp => "watcher-caught-up",
            Mark::LeaseRenewedUnderNext => "lease-renewed-under-next",
            Mark::LeaseRenewed => "lease-renewed",
            Mark::LeaseExpired => "lease-expired",
        }
    }
}

/// How often each was hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    hits: [u64; Mark::ALL.len()],
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { hits: [0; Mark::ALL.len()] }
    }
}

impl Marks {
    /// Counts one.
    pub fn hit(&mut self, mark: Mark) {
        self.hit_times(mark, 1);
    }

    /// Counts several.
    pub fn hit_times(&mut self, mark: Mark, times: u64) {
        self.hits[mark as usize] += times;
    }

    /// How often this one was hit.
    #[must_use]
    pub fn count(&self, mark: Mark) -> u64 {
        self.hits[mark as usize]
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Marks) {
        for (mine, theirs) in self.hits.iter_mut().zip(other.hits) {
            *mine += theirs;
        }
    }

    /// Every mark with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Mark, u64)> + '_ {
        Mark::ALL.into_iter().map(|mark| (mark, self.count(mark)))
    }

    /// Those never hit.
    pub fn missing(&self) -> impl Iterator<Item = Mark> + '_ {
        self.iter().filter(|(_, count)| *count == 0).map(|(mark, _)| mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_has_its_own_place_and_name() {
        for (at, mark) in Mark::ALL.into_iter().enumerate() {
            assert_eq!(mark as usize, at);
            assert_eq!(Mark::named(mark.name()), Some(mark));
            assert_eq!(Mark::ALL.iter().filter(|other| other.name() == mark.name()).count(), 1);
        }
        let mut marks = Marks::default();
        marks.hit(Mark::LeaderChange);
        assert_eq!(marks.count(Mark::LeaderChange), 1);
        assert_eq!(marks.missing().count(), Mark::ALL.len() - 1);
    }
}
