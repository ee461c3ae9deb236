//! What a protocol of fixed members must offer so that its members can change by stop-sign.

use quorate_protocol::{LogChange, OpenError, Outbox, Refusal, Replica, SnapshotId, StoredLog};
use quorate_types::{Membership, NodeId, Slot, Ticket};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::time::Duration;

/// A protocol of one fixed configuration, which can decide a stop-sign.
///
/// [`crate::Succession`] runs one such replica per configuration, each a fresh one, and does everything that concerns more than
/// one configuration. Inside a configuration the replica promises:
///
/// 1. It is opened from the records that [`Heir::opening`] gave and those it wrote since, and takes its members from
///    them, never from [`quorate_protocol::Setup::start`].
/// 2. Members with a role other than voter receive what is decided, and never count. Feeding them is the replica's task,
///    for it knows its own progress; so is noticing that one keeps up.
/// 3. `Decision::Members(next)` is its last decision. Nothing above it is proposed by whoever proposed or inherited it,
///    nothing above it is decided or reported, and no read is served from proposing or inheriting it on.
/// 4. It refuses `Input::Reconfigure`: a stop-sign comes through [`Heir::stop`].
/// 5. It tells nothing of membership (`Output::Members`, `Output::Retire`): what it says of that is dropped.
/// 6. It never sets or waits for the timer [`Heir::SUCCESSION`].
pub trait Heir: Replica<Config: Eq + Hash> {
    /// One of [`Replica::TIMERS`] that is not this replica's own: `Succession` uses it.
    const SUCCESSION: Self::Timer;

    /// Describes the decided prefix that a configuration with these members begins behind: `behind` is the slot of the
    /// stop-sign, or 0. What of
    /// the settings must never change while a cluster lives becomes part of it.
    fn founding(config: &Self::Config, members: &Membership, behind: Slot) -> Self::Anchor;

    /// The members of the configuration that an anchor belongs to.
    fn members(anchor: &Self::Anchor) -> &Membership;

    /// By number of voters, how many are needed to go on by this anchor, where that is not a majority.
    fn quorum_sizes(_anchor: &Self::Anchor) -> BTreeMap<usize, usize> {
        BTreeMap::new()
    }

    /// The records of a replica that has nothing but the prefix of this anchor: nothing promised, accepted or voted. Where that
    /// prefix comes as a snapshot, the records name it, and opening from them asks for its installation as
    /// [`Replica::open`] says.
    fn opening(anchor: &Self::Anchor, snapshot: Option<SnapshotId>) -> Vec<Self::Record>;

    /// What the log in these records says; its configurations are not asked for, and origins need not name theirs. Asked of closed
    /// configurations too, the front of whose records may be gone: what such a log says of slots that were decided is what was decided.
    ///
    /// # Errors
    /// When the records contradict each other.
    fn stored_log(records: Vec<(Ticket, Self::Record)>) -> Result<StoredLog, OpenError>;

    /// What this record changes in the log, if anything.
    fn log_change(record: &Self::Record) -> Option<LogChange>;

    /// What a state with everything up to `through` applied describes. `None` where that is not known here: it is not decided,
    /// lies before this configuration, or the log no longer says.
    fn anchor_at(&self, through: Slot) -> Option<Self::Anchor>;

    /// Proposes the stop-sign. [`crate::Succession`] has judged the wish by then.
    ///
    /// # Errors
    /// A definite refusal: it does not lead, a stop-sign is under way, or something inherited is not decided yet.
    fn stop(&mut self, next: Membership, out: &mut Outbox<Self>) -> Result<(), Refusal>;

    /// The stop-sign that ends what is decided here, if it does.
    fn decided_stop(&self) -> Option<Membership>;

    /// At a leader: whether this member was heard lately and lacks so little that it could vote without holding anything up.
    fn keeps_up(&self, member: NodeId) -> bool;

    /// After the stop-sign was decided here: the message from which a peer of the same configuration that has everything in its
    /// log learns that it is decided, if there is one.
    fn last_word(&self) -> Option<Self::Message>;

    /// The configuration is over: refuses whatever waits here and was promised an answer, such as reads. Nothing is asked of
    /// this replica afterwards.
    fn close(&mut self, out: &mut Outbox<Self>);

    /// Campaigns without waiting for a timer: the leader that closed the last configuration begins the next one.
    fn campaign(&mut self, out: &mut Outbox<Self>);

    /// How often a successor is told of: about an election timeout.
    fn succession_interval(config: &Self::Config) -> Duration;

    /// The size of the largest kind of quorum among these members.
    fn largest_quorum(config: &Self::Config, members: &Membership) -> usize;

    /// Whether the settings allow a configuration of these members, beyond what is true of every protocol.
    ///
    /// # Errors
    /// Why not.
    fn judge(config: &Self::Config, members: &Membership) -> Result<(), &'static str>;
}
