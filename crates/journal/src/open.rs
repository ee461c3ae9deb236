//! Creating a journal, and opening one after whatever happened to it.

use crate::config::{Expected, Identity, JournalConfig};
use crate::error::JournalError;
use crate::format::PROTOCOL_BYTES_MAX;
use crate::journal::{End, Journal};
use crate::names::{is_unfinished, segment_file};
use crate::scan::{Scan, identity_of_oldest, scan, segment_numbers};
use bytes::Bytes;
use quorate_disk::{Disk, DiskError, Operation};
use quorate_types::{Incarnation, Ticket};
use std::collections::VecDeque;
use std::ops::Range;

/// Zeros are written in parts of this size, all sharing one buffer.
const ZEROS_BYTES: usize = 64 * 1024;

/// An opened journal.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Ready for ticket `found.last_ticket` + 1, once the operations are performed.
    pub journal: Journal,
    /// Repairs, and the flush that makes the new incarnation durable. Perform all of them in order before
    /// the node sends, answers or appends anything.
    pub operations: Vec<Operation>,
    /// What was there.
    pub found: Found,
}

/// What an open found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose journal it is.
    pub identity: Identity,
    /// This opening's number; greater than every earlier one under which the node can have acted.
    pub incarnation: Incarnation,
    /// Every record from `drop_before` on, in the order appended.
    pub records: Vec<(Ticket, Bytes)>,
    /// Of the newest compaction; 0 when there was none.
    pub drop_before: Ticket,
    /// The last durable ticket. Tickets that were appended but never completed may be among the records.
    pub last_ticket: Ticket,
    /// What a crash tore, if anything. It was never durable, and is cut by the operations.
    pub repaired: Option<TornTail>,
}

/// The remains of a write that a crash interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The last segment.
    pub file: String,
    /// Where the log ends.
    pub offset: u64,
    /// From there to the last byte that is not zero, in whole sectors.
    pub bytes_cut: u64,
}

impl Journal {
    /// Whether this directory holds a journal. An interrupted creation left none.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn exists(disk: &dyn Disk) -> Result<bool, DiskError> {
        Ok(!segment_numbers(disk)?.is_empty())
    }

    /// Whose journal this directory holds, as its oldest segment says; nothing where there is none.
    ///
    /// # Errors
    /// When that cannot be read, or the segment's header is damaged or of another version.
    pub fn identity_on(disk: &dyn Disk) -> Result<Option<Identity>, JournalError> {
        identity_of_oldest(disk)
    }

    /// A new journal, in its first incarnation. Only reads; the returned operations create it, and are
    /// performed before anything else. After a crash within them either there is no journal, and creation
    /// starts over, or it is complete.
    ///
    /// # Errors
    /// [`JournalError::Exists`] when there is one; when the protocol's name is too long; when the directory
    /// cannot be read.
    pub fn create(
        disk: &dyn Disk,
        identity: Identity,
        config: JournalConfig,
    ) -> Result<(Journal, Vec<Operation>), JournalError> {
        if identity.protocol.len() > PROTOCOL_BYTES_MAX {
            return Err(JournalError::ProtocolName { length: identity.protocol.len() });
        }
        if let Some(number) = segment_numbers(disk)?.first() {
            return Err(JournalError::Exists { file: segment_file(*number) });
        }
        let mut operations = unlink_unfinished(disk)?;
        let mut journal = Journal::at(identity, config, Incarnation(1), VecDeque::new(), End::default(), 0);
        operations.extend(journal.plan_opening());
        Ok((journal, operations))
    }

    /// What to perform before [`open`](Journal::open) reads: flushes what an earlier process may have written
    /// without living to flush it, so that open decides on bytes that stay; and lets the system forget its cache, which after a
    /// failed flush may hold as clean what never reached the medium (Rebello et al., "Can Applications Recover from fsync
    /// Failures?").
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn flush_before_open(disk: &dyn Disk) -> Result<Vec<Operation>, DiskError> {
        let numbers = segment_numbers(disk)?;
        let flushed = |number: u64| {
            let file = segment_file(number);
            [Operation::Flush { file: file.clone() }, Operation::Forget { file }]
        };
        Ok(numbers.into_iter().flat_map(flushed).chain([Operation::FlushDirectory]).collect())
    }

    /// Reads a journal (blocking) and prepares it for appending, in a new incarnation.
    ///
    /// # Errors
    /// When there is none, it is not the one expected, it is damaged, a newer release wrote it, or the disk
    /// fails. The disk is left as it was; the node must not start.
    pub fn open(disk: &dyn Disk, expected: &Expected, config: JournalConfig) -> Result<Opened, JournalError> {
        let Scan { identity, incarnation, segments, end, marked_sequence, records, torn } = scan(disk, expected)?;
        let last_file = segment_file(end.link.segment);
        let repaired = torn.as_ref().map(|torn| TornTail {
            file: last_file.clone(),
            offset: end.link.offset,
            bytes_cut: torn.end - end.link.offset,
        });
        // The last flush counts as durable from here on, and so does the name of its segment, even if the
        // process that wrote them died before it flushed.
        let mut operations = unlink_unfinished(disk)?;
        operations.push(Operation::FlushDirectory);
        operations.extend(torn.map(|torn| zero(&last_file, torn)));
        operations.push(Operation::Flush { file: last_file });
        let incarnation = Incarnation(incarnation.0.saturating_add(1));
        let found = Found {
            identity: identity.clone(),
            incarnation,
            records,
            drop_before: end.drop_before,
            last_ticket: end.ticket,
            repaired,
        };
        let mut journal = Journal::at(identity, config, incarnation, segments, end, marked_sequence);
        operations.extend(journal.plan_opening());
        Ok(Opened { journal, operations, found })
    }
}

fn unlink_unfinished(disk: &dyn Disk) -> Result<Vec<Operation>, DiskError> {
    let unfinished = disk.list()?.into_iter().filter(|file| is_unfinished(file));
    Ok(unfinished.map(|file| Operation::Unlink { file }).collect())
}

fn zero(file: &str, range: Range<u64>) -> Operation {
    let zeros = Bytes::from(vec![0; ZEROS_BYTES]);
    let mut parts = Vec::new();
    let mut left = range.end - range.start;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
        parts.push(zeros.slice(..count));
        left -= count as u64;
    }
    Operation::Write { file: file.to_owned(), offset: range.start, parts }
}
