//! The next segment's space, reserved ahead: a roll has less to wait for, and a disk that fills up leaves room to say so.
//!
//! A spare is a segment's file under its unfinished name, empty. A crash leaves it as litter that the next open removes.
//! It is made only while the driver's last word of the disk leaves enough room: failing to make one must not be what
//! stops a node that has space left in its segment.

use crate::journal::{Journal, Write};
use crate::names::unfinished_file;
use quorate_disk::Operation;

/// Room that must be left beside a new spare: for the system's own metadata.
const MARGIN_BYTES: u64 = 1 << 20;

/// A reserved file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spare {
    number: u64,
    length_bytes: u64,
}

/// How much of the segment in use is used when a spare is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Nothing is waiting, so it costs nobody anything: a quarter.
    Quiet,
    /// There was no quiet moment so far: three quarters.
    Busy,
}

impl Journal {
    /// The driver's news of the disk: how many bytes its user can still write there. Without any, no space is reserved ahead.
    pub fn note_free_space(&mut self, free_bytes: u64) {
        self.free_bytes = Some(free_bytes);
    }

    /// Bytes reserved ahead for the next segment.
    #[must_use]
    pub fn spare_bytes(&self) -> u64 {
        self.spare.map_or(0, |spare| spare.length_bytes)
    }

    /// Reserves space for the next segment if it is time and the disk has room. For a moment in which nothing is queued and no
    /// write is under way; `None` at any other.
    pub fn spare_write(&mut self) -> Option<Write> {
        if !self.is_at_rest() {
            return None;
        }
        let mut operations = self.plan_spare(Urgency::Quiet);
        let file = match operations.first() {
            Some(Operation::Create { file, .. }) => file.clone(),
            _ => return None,
        };
        // Now rather than with the first flush that is waited for.
        operations.push(Operation::Flush { file });
        Some(self.launch_housekeeping(operations))
    }

    /// The operation that makes the spare, if one is wanted.
    pub(crate) fn plan_spare(&mut self, urgency: Urgency) -> Vec<Operation> {
        let Some(current) = self.segments.back() else { return Vec::new() };
        let threshold = match urgency {
            Urgency::Quiet => current.length_bytes / 4,
            Urgency::Busy => current.length_bytes / 4 * 3,
        };
        let length_bytes = self.spare_length_bytes();
        let has_room = self.free_bytes.is_some_and(|free| free >= length_bytes.saturating_add(MARGIN_BYTES));
        let Some(number) = current.number.checked_add(1).filter(|_| has_room) else { return Vec::new() };
        if self.spare.is_some() || current.used_bytes < threshold {
            return Vec::new();
        }
        // What was said of the disk was said before this.
        self.free_bytes = None;
        self.spare = Some(Spare { number, length_bytes });
        vec![Operation::Create { file: unfinished_file(number), reserve_bytes: length_bytes }]
    }

    /// A file for segment `number` of at least so many bytes: the spare, or a new one. Answers its length.
    pub(crate) fn take_file(&mut self, number: u64, at_least_bytes: u64) -> (u64, Vec<Operation>) {
        let file = unfinished_file(number);
        let spare = self.spare.take();
        if let Some(spare) = spare.filter(|spare| spare.number == number && spare.length_bytes >= at_least_bytes) {
            return (spare.length_bytes, Vec::new());
        }
        let mut operations: Vec<Operation> =
            spare.map(|spare| Operation::Unlink { file: unfinished_file(spare.number) }).into_iter().collect();
        operations.push(Operation::Create { file, reserve_bytes: at_least_bytes });
        (at_least_bytes, operations)
    }
}
