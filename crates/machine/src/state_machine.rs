//! What an application brings.

use bytes::Bytes;
use quorate_types::{Slot, Time};
use std::fmt::Debug;
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

/// A deterministic state that commands change and queries read.
///
/// Its durable image is a sequence of *items* that never change once they exist (for a store with revisions: one item a
/// revision's change) and a small *head* (counters, and whatever else changes in place). A checkpoint writes only the
/// items that are new since the last one. A small machine may have no items and put everything into its head.
pub trait StateMachine: Debug + Sized + 'static {
    /// A question that changes nothing.
    type Query: Clone + Debug;
    /// What commands and queries answer.
    type Reply: Clone + Debug;

    /// Before the first command.
    fn empty() -> Self;

    /// Applies one command. Total and deterministic: bytes that are no command are answered with an error reply and
    /// change nothing.
    fn apply(&mut self, context: &ApplyContext, payload: &Bytes) -> Self::Reply;

    /// Answers from the present state.
    fn query(&self, query: &Self::Query) -> Self::Reply;

    /// A rolling hash of every change so far: equal on all replicas at equal slots.
    fn digest(&self) -> u64;

    /// The part of the image that changes in place, as of now.
    fn head(&self) -> Bytes;

    /// How many items exist now. Never goes down.
    fn item_count(&self) -> u64;

    /// Item `number` of `0..item_count()`: the same bytes for ever.
    fn item(&self, number: u64) -> Bytes;

    /// The state that had this head when it had exactly these items.
    ///
    /// # Errors
    /// When the bytes are no image of this machine.
    fn restore(head: Bytes, items: &mut dyn Iterator<Item = Bytes>) -> Result<Self, RestoreError>;
}
