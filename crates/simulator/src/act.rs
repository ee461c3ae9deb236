//! What can be done to a world from outside, as data: storms draw it, scripts say it, failing runs are cut down to it.

use crate::latency::Latency;
use crate::network::Link;
use crate::world::DiskModel;
use bytes::Bytes;
use quorate_disk::DiskErrorKind;
use quorate_disk::model::Harm;
use quorate_node::{Consistency, Lane};
use quorate_protocol::LinkState;
use quorate_types::{MemberRole, NodeId};
use std::time::Duration;

/// A boundary between what a node does and what becomes of it: where a crash hurts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// At some time while its next write in this lane is under way.
    Write(Lane),
    /// When its next flush in this lane is on the medium, before it hears of it.
    Flushed(Lane),
    /// Before its next message leaves, with what else it wanted done in that batch.
    Send,
    /// When its next message has left.
    Sent,
    /// When it has answered its next client.
    Answered,
    /// When it begins to take proposals itself.
    Leads,
}

impl Moment {
    /// All of them.
    pub const ALL: [Moment; 8] = [
        Moment::Write(Lane::Journal),
        Moment::Write(Lane::Store),
        Moment::Flushed(Lane::Journal),
        Moment::Flushed(Lane::Store),
        Moment::Send,
        Moment::Sent,
        Moment::Answered,
        Moment::Leads,
    ];
}

/// Something that a disk does once, against all promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Malfunction {
    /// An operation fails, after so many that do not.
    Fails {
        /// How many.
        after: u64,
    },
    /// The next write is reported as done and never happens.
    LosesWrite,
    /// The next write lands so many sectors further on in its file.
    Misdirects {
        /// How many.
        sectors: u64,
    },
}

/// One thing done to a world. What makes no sense (a crash of a node that is down, a cut that is there) does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The machine loses power: memory is gone, and so may be what was not flushed.
    Crash(NodeId),
    /// The process ends, and what it wrote stays in the machine's cache, flushed or not.
    Kill(NodeId),
    /// These crash at once, at the next such moment of this node; each starts again that much later.
    CrashAt {
        /// Whose moment.
        watched: NodeId,
        /// Which.
        moment: Moment,
        /// Who, and for how long.
        victims: Vec<(NodeId, Duration)>,
    },
    /// No [`Act::CrashAt`] that has not happened will, nor a restart that was to follow one.
    ForgetTraps,
    /// It starts from what its disks hold.
    Restart(NodeId),
    /// It starts, and crashes again after so many operations on a disk.
    RestartCrashing {
        /// Who.
        node: NodeId,
        /// Which disk.
        lane: Lane,
        /// How many operations succeed.
        operations: u64,
    },
    /// The process is suspended; its clock runs on.
    Pause {
        /// Who.
        node: NodeId,
        /// For how long; `None` until resumed.
        duration: Option<Duration>,
    },
    /// The whole machine is suspended, its clock too.
    Freeze {
        /// Who.
        node: NodeId,
        /// For how long.
        duration: Duration,
    },
    /// A suspended process goes on.
    Resume(NodeId),
    /// Its clock jumps forward.
    StepClock {
        /// Whose.
        node: NodeId,
        /// By so much.
        by: Duration,
    },
    /// Nothing it wrote completes until released.
    HoldDisk(NodeId),
    /// Its disks go on.
    ReleaseDisk(NodeId),
    /// Its disks are this fast.
    SetDisk {
        /// Whose.
        node: NodeId,
        /// How fast.
        disk: DiskModel,
    },
    /// It gets to its inbox this fast.
    SetProcessing {
        /// Who.
        node: NodeId,
        /// How fast.
        processing: Latency,
    },
    /// All links are this one.
    SetLinks(Link),
    /// One directed link is this one.
    SetLink {
        /// Sender.
        from: NodeId,
        /// Receiver.
        to: NodeId,
        /// What it is.
        link: Link,
    },
    /// One direction is cut.
    Block {
        /// Sender.
        from: NodeId,
        /// Receiver.
        to: NodeId,
    },
    /// One direction passes again.
    Unblock {
        /// Sender.
        from: NodeId,
        /// Receiver.
        to: NodeId,
    },
    /// Messages in one direction queue up.
    Clog {
        /// Sender.
        from: NodeId,
        /// Receiver.
        to: NodeId,
    },
    /// What queued up leaves at once.
    Unclog {
        /// Sender.
        from: NodeId,
        /// Receiver.
        to: NodeId,
    },
    /// Only within these groups messages pass.
    Partition(Vec<Vec<NodeId>>),
    /// All links pass, and nothing queues up any more.
    Heal,
    /// A node hears news of a connection, true or not.
    Hint {
        /// Who hears it.
        node: NodeId,
        /// Of whom.
        peer: NodeId,
        /// What.
        state: LinkState,
    },
    /// A message of long ago arrives once more.
    Replay {
        /// Its sender.
        from: NodeId,
        /// Its receiver.
        to: NodeId,
        /// So many remembered ones ago.
        back: u64,
    },
    /// A durable sector is damaged.
    Rot {
        /// Whose.
        node: NodeId,
        /// On which disk.
        lane: Lane,
        /// Which of those that may be damaged, modulo their number.
        pick: u64,
        /// How.
        harm: Harm,
    },
    /// A disk is about to do something wrong, once.
    Malfunction {
        /// Whose.
        node: NodeId,
        /// Which disk.
        lane: Lane,
        /// What.
        what: Malfunction,
    },
    /// A disk has so many bytes left.
    Fill {
        /// Whose.
        node: NodeId,
        /// Which disk.
        lane: Lane,
        /// How many.
        free_bytes: u64,
    },
    /// Both its disks have room again, and no failure of theirs is still to come. What is damaged stays so.
    MendDisks(NodeId),
    /// Its disks are replaced by empty ones, if it is down.
    Wipe(NodeId),
    /// Its disks are copied, as they would survive a crash now.
    Copy(NodeId),
    /// Its disks are replaced by the copy, if it is down and has started since the copy was made and once more.
    PutBack(NodeId),
    /// A new node starts for the first time: it knows nobody until it is spoken to.
    StartJoining(NodeId),
    /// A client asks that another node lead.
    MoveLeader {
        /// Whom it asks.
        node: NodeId,
        /// Who shall lead.
        to: NodeId,
    },
    /// A client asks for other members.
    ChangeMembers {
        /// Whom it asks.
        node: NodeId,
        /// For what.
        wish: Wish,
    },
}

/// What can be asked about the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wish {
    /// A new one.
    Add {
        /// Who.
        id: NodeId,
        /// [`MemberRole::Joining`] if it shall vote once it has caught up, or [`MemberRole::Learner`], or [`MemberRole::Witness`].
        role: MemberRole,
    },
    /// One goes for ever.
    Remove {
        /// Who.
        id: NodeId,
    },
    /// A learner becomes a voter.
    Promote {
        /// Who.
        id: NodeId,
        /// Who goes in the same step.
        replacing: Option<NodeId>,
    },
}

impl Wish {
    /// Whom it would remove.
    #[must_use]
    pub fn leaver(self) -> Option<NodeId> {
        match self {
            Wish::Add { .. } => None,
            Wish::Remove { id } => Some(id),
            Wish::Promote { replacing, .. } => replacing,
        }
    }

    /// The greatest node it names.
    pub(crate) fn greatest_node(self) -> NodeId {
        match self {
            Wish::Add { id, .. } | Wish::Remove { id } => id,
            Wish::Promote { id, replacing } => replacing.map_or(id, |replaced| replaced.max(id)),
        }
    }
}

/// What a client asks, in words that every store of keys understands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// Set a key.
    Put {
        /// Which.
        key: Bytes,
        /// To what.
        value: Bytes,
    },
    /// Remove a key.
    Delete {
        /// Which.
        key: Bytes,
    },
    /// Set a key if it holds what is expected.
    Swap {
        /// Which.
        key: Bytes,
        /// What it must hold; `None`: it must not exist.
        expected: Option<Bytes>,
        /// To what.
        value: Bytes,
    },
    /// Forget what can only be read below a revision.
    Compact {
        /// The least that stays readable.
        revision: u64,
    },
    /// Make a lease.
    Grant {
        /// Which; no id is granted twice in a run.
        lease: u64,
        /// Its time to live.
        ttl_seconds: u64,
    },
    /// Set a key that goes when its lease goes.
    Attach {
        /// Which.
        key: Bytes,
        /// To what.
        value: Bytes,
        /// With which lease.
        lease: u64,
    },
    /// End a lease.
    Revoke {
        /// Which.
        lease: u64,
    },
    /// Renew a lease.
    KeepAlive {
        /// Which.
        lease: u64,
    },
    /// Say that the disk of a member has room again.
    ClearLowSpace {
        /// Whose.
        member: NodeId,
    },
    /// Read one key, or all.
    Read {
        /// Which; `None` for all.
        key: Option<Bytes>,
        /// Linearizably, or from what the node has applied.
        consistency: Consistency,
    },
}

/// One thing that whoever drives a world did to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A fault, or the end of one.
    Act(Act),
    /// A client's call.
    Call {
        /// At which node.
        node: NodeId,
        /// For what.
        ask: Ask,
    },
}

/// What a failed operation says of itself.
pub(crate) const FAILED_AS: DiskErrorKind = DiskErrorKind::Medium;
