//! What an application brings.

use crate::client_command::ClientId;
use crate::duty::Duty;
use bytes::Bytes;
use quorate_types::{NodeId, Slot, Time};
use quorate_wire::WireError;
use std::fmt::Debug;
use std::ops::Range;
use thiserror::Error;

/// Where a command stands in the decided order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ApplyContext {
    /// Its slot.
    pub slot: Slot,
    /// Its place within the slot's batch, from 0.
    pub index: u32,
    /// The proposing leader's clock.
    pub stamp: Time,
}

/// Why a durable image does not become a state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the stored state cannot be read: {why}")]
pub struct RestoreError {
    /// In words.
    pub why: String,
}

/// How the replies of a state machine are kept for clients that ask again, and what a session's own commands are answered.
/// Functions of their arguments alone.
#[derive(Clone, Copy, Debug)]
pub struct KeptReplies<Reply> {
    /// A reply as bytes, kept by every replica and in every image.
    pub encode: fn(&Reply) -> Bytes,
    /// The same reply again.
    pub decode: fn(Bytes) -> Result<Reply, WireError>,
    /// The reply to opening a session: its name, and how far its sequences may run ahead of its acknowledged mark.
    pub opened: fn(ClientId, u64) -> Reply,
    /// The reply to closing one.
    pub closed: fn() -> Reply,
}

/// A deterministic state that commands change and queries read.
///
/// Its durable image is a sequence of *items* that never change once they exist (for a store with revisions: one item a
/// revision's change) and a small *head* (counters, and whatever else changes in place). A checkpoint writes only the
/// items that are new since the last one. A small machine may have no items and put everything into its head.
///
/// Items may be dropped: commands decide which (compaction), [`StateMachine::tidy`] does it in slices. A dropped item never
/// comes back, and its number is not used again.
pub trait StateMachine: Debug + Sized + 'static {
    /// A question that changes nothing.
    type Query: Clone + Debug;
    /// What commands and queries answer.
    type Reply: Clone + Debug;
    /// What the leader does for it from memory; `()` for nothing.
    type Duty: Duty<Self>;

    /// How replies are kept, for clients with sessions of their own. With this no command may begin with the byte `0xff`, which
    /// begins every [`crate::ClientCommand`]. Without it there are no such sessions.
    const KEPT_REPLIES: Option<KeptReplies<Self::Reply>> = None;

    /// Before the first command.
    fn empty() -> Self;

    /// Applies one command. Total and deterministic: bytes that are no command are answered with an error reply and
    /// change nothing.
    fn apply(&mut self, context: &ApplyContext, payload: &Bytes) -> Self::Reply;

    /// Answers from the present state.
    fn query(&self, query: &Self::Query) -> Self::Reply;

    /// Equal on all replicas at equal slots, and different where states differ: a rolling hash of every change so far. What is given
    /// here hashes the head, which will do for a state that is small and all head.
    fn digest(&self) -> u64 {
        const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const FNV_PRIME: u64 = 0x0100_0000_01b3;
        self.head().iter().fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
    }

    /// The part of the image that changes in place, as of now.
    fn head(&self) -> Bytes;

    /// How many items there ever were: their numbers are below this. Never goes down. None, for a state that is all head.
    fn item_count(&self) -> u64 {
        0
    }

    /// Item `number`: the same bytes as long as it exists. `None` once it was dropped, or if there never was one.
    fn item(&self, _number: u64) -> Option<Bytes> {
        None
    }

    /// How many items with these numbers exist. Cheap: it is asked for the range of every stored file whenever items may have
    /// been dropped. Counting them one by one will do only for a machine that never drops any, or has few.
    fn live_items(&self, numbers: Range<u64>) -> u64 {
        numbers.filter(|number| self.item(*number).is_some()).count() as u64
    }

    /// The state that had this head when it had exactly these items, given in ascending order of number. Items that commands
    /// had condemned but that were not yet dropped may be among them or not; but if one that was dropped is left out, all
    /// dropped ones of lower number must be left out too. (What a later item undid must not come back without that item.)
    ///
    /// # Errors
    /// When the bytes are no image of this machine.
    fn restore(head: Bytes, items: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Self, RestoreError>;

    /// Drops a bounded slice of what commands have condemned; answers whether more is left. Replies, digest and head do not
    /// depend on how far this has come. Not called while a checkpoint or a snapshot is being written from this state: what
    /// they have promised to write must not vanish under them.
    fn tidy(&mut self) -> bool {
        false
    }

    /// The command that tells all replicas that this node's disk is nearly full, so that they refuse what makes the state grow.
    /// Nothing if the state says so already, or if there is no such command.
    fn low_space_command(&self, _: NodeId) -> Option<Bytes> {
        None
    }
}
