//! The journal at work: what is queued, what is under way, what is durable.

use crate::config::{Identity, JournalConfig};
use crate::encode::{EncodedFlush, Place, Queued, encode_flush, encoded_bytes, flush_length};
use crate::error::{AppendError, CompletionError};
use crate::format::{
    FLUSHES_OFFSET, Link, MARK_OFFSETS, Mark, RECORD_KIND_APPENDED, RECORD_KIND_BASELINE, SegmentHeader, whole_sectors,
};
use crate::names::{segment_file, unfinished_file};
use crate::spare::{Spare, Urgency};
use bytes::Bytes;
use quorate_disk::Operation;
use quorate_types::{Incarnation, Ticket};
use std::collections::VecDeque;

/// Ordered durable records as a value: it never touches a disk, it says what to do to one.
///
/// # Contract for the driver
/// 1. At start: [`Journal::exists`], then [`Journal::create`], or perform [`Journal::flush_before_open`] and
///    [`Journal::open`]. Perform the operations they return, all of them and in order, before anything else
///    happens: they make the incarnation durable.
/// 2. Hand every `Persist` to [`append`](Journal::append) and every `Compact` to
///    [`compact`](Journal::compact), in ticket order.
/// 3. Whenever no write is under way call [`next_write`](Journal::next_write), perform its operations in order
///    and then call [`completed`](Journal::completed): now, and not before, is `through` durable.
/// 4. When nothing has been queued for a while call [`idle_write`](Journal::idle_write) in the same way.
/// 5. Tell it now and then what the disk has left ([`note_free_space`](Journal::note_free_space)), and in a quiet moment
///    perform a [`spare_write`](Journal::spare_write): the next segment's space is reserved ahead.
/// 6. If any operation fails, stop the node and open again from the media. Never retry, never report
///    completion: after a failed flush nobody knows what is durable.
///
/// # Example
/// ```
/// use bytes::Bytes;
/// use quorate_disk::{Disk, model::ModelDisk};
/// use quorate_journal::{Expected, Identity, Journal, JournalConfig};
/// use quorate_types::{ClusterId, DiskId, NodeId, Ticket};
///
/// let identity =
///     Identity { cluster: ClusterId(1), node: NodeId(2), disk: DiskId(3), protocol: "raft".to_owned() };
/// let mut disk = ModelDisk::new();
/// let (mut journal, operations) = Journal::create(&disk, identity, JournalConfig::default())?;
/// disk.perform_all(&operations)?;
///
/// journal.append(Ticket(1), vec![Bytes::from("vote for n2 in term 1")])?;
/// let write = journal.next_write().ok_or("one ticket is queued")?;
/// disk.perform_all(&write.operations)?;
/// assert_eq!(journal.completed(write.id)?, Ticket(1));
///
/// disk.crash(&mut |choices| choices - 1);
/// let opened = Journal::open(&disk, &Expected::default(), JournalConfig::default())?;
/// disk.perform_all(&opened.operations)?;
/// assert_eq!(opened.found.records, vec![(Ticket(1), Bytes::from("vote for n2 in term 1"))]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Journal {
    pub(crate) identity: Identity,
    pub(crate) config: JournalConfig,
    pub(crate) incarnation: Incarnation,
    /// Oldest first, numbered without gaps; flushes go to the last. Empty only within `create`.
    pub(crate) segments: VecDeque<Segment>,
    queue: VecDeque<Queued>,
    /// The sum of the queue's `encoded_bytes`.
    queued_bytes: usize,
    /// The last ticket appended; `end.ticket` <= `appended`.
    appended: Ticket,
    /// After the last flush handed out.
    pub(crate) end: End,
    /// After the last flush completed.
    durable: End,
    /// The flush that the newest durable mark vouches for; <= `durable.sequence`.
    marked_sequence: u64,
    under_way: Option<UnderWay>,
    next_write_id: u64,
    /// What the disk has left, by the driver's last word, if nothing was reserved since.
    pub(crate) free_bytes: Option<u64>,
    /// Reserved for the next segment.
    pub(crate) spare: Option<Spare>,
}

/// A segment in use.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) first_ticket: Ticket,
    pub(crate) length_bytes: u64,
    /// Where the next flush goes, or would.
    pub(crate) used_bytes: u64,
    /// The mark slot that does not hold the newest mark of this segment.
    pub(crate) next_slot: usize,
}

/// The state of the log after some flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) sequence: u64,
    pub(crate) link: Link,
    pub(crate) ticket: Ticket,
    pub(crate) drop_before: Ticket,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    id: u64,
    outcome: Outcome,
}

/// What is true once the operations are performed, besides the flush itself.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    marked_sequence: u64,
    /// How many of the oldest segments are gone.
    unlinked: usize,
}

/// One durable write: perform the operations in order, then report [`Journal::completed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Names it in `completed`.
    pub id: u64,
    /// To be performed in this order; when one fails the node stops.
    pub operations: Vec<Operation>,
    /// The last ticket that is durable once they are.
    pub through: Ticket,
}

/// A segment, for status and tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Counted from 0 over the journal's life.
    pub number: u64,
    /// The file's name.
    pub file: String,
    /// The lowest ticket that can be within.
    pub first_ticket: Ticket,
    /// Bytes reserved for it on the disk.
    pub length_bytes: u64,
    /// Bytes of it in use.
    pub used_bytes: u64,
}

impl Journal {
    /// A journal whose state on disk ends with `end`; `segments` are those on disk.
    pub(crate) fn at(
        identity: Identity,
        config: JournalConfig,
        incarnation: Incarnation,
        segments: VecDeque<Segment>,
        end: End,
        marked_sequence: u64,
    ) -> Journal {
        Journal {
            identity,
            config,
            incarnation,
            segments,
            queue: VecDeque::new(),
            queued_bytes: 0,
            appended: end.ticket,
            end,
            durable: end,
            marked_sequence,
            under_way: None,
            next_write_id: 0,
            free_bytes: None,
            spare: None,
        }
    }

    /// Queues the records of one ticket; durable when a write through it completes. A ticket may have none.
    ///
    /// # Errors
    /// When the ticket is not the one due, or a record is longer than 4 GiB. Nothing is queued then.
    pub fn append(&mut self, ticket: Ticket, records: Vec<Bytes>) -> Result<(), AppendError> {
        self.enqueue(ticket, records, RECORD_KIND_APPENDED, None)
    }

    /// Queues a compaction as the write of `ticket`: `baseline` is everything still needed of what stands
    /// before `drop_before`, and open delivers it as `ticket`'s records. Once it is durable, open delivers
    /// nothing older than `drop_before`, and segments that hold nothing newer are unlinked, one with each
    /// later [`next_write`](Journal::next_write) or all by [`idle_write`](Journal::idle_write). What one compaction
    /// dropped stays dropped: a later one with a smaller `drop_before` only adds its baseline.
    ///
    /// # Errors
    /// As [`append`](Journal::append), and when `drop_before` is above `ticket`.
    pub fn compact(&mut self, ticket: Ticket, baseline: Vec<Bytes>, drop_before: Ticket) -> Result<(), AppendError> {
        if drop_before > ticket {
            return Err(AppendError::DropsItsBaseline { ticket, drop_before });
        }
        self.enqueue(ticket, baseline, RECORD_KIND_BASELINE, Some(drop_before))
    }

    fn enqueue(
        &mut self,
        ticket: Ticket,
        records: Vec<Bytes>,
        kind: u32,
        drop_before: Option<Ticket>,
    ) -> Result<(), AppendError> {
        let expected = Ticket(self.appended.0.saturating_add(1));
        if ticket != expected {
            return Err(AppendError::OutOfOrder { expected, got: ticket });
        }
        let bytes_max = u32::MAX as usize;
        if let Some(record) = records.iter().find(|record| record.len() > bytes_max) {
            return Err(AppendError::RecordTooLong { bytes: record.len(), bytes_max });
        }
        let encoded_bytes = encoded_bytes(&records);
        self.queue.push_back(Queued { ticket, kind, drop_before, records, encoded_bytes });
        self.queued_bytes += encoded_bytes;
        self.appended = ticket;
        Ok(())
    }

    /// From now on no new segment is reserved that is longer than this, but for a ticket that needs one.
    pub fn limit_segments(&mut self, bytes: u64) {
        self.config.segment_bytes = self.config.segment_bytes.min(bytes);
    }

    /// Everything queued, up to the configured batch, as one flush. `None` while a write is under way or
    /// when nothing is queued.
    pub fn next_write(&mut self) -> Option<Write> {
        if self.under_way.is_some() || self.queue.is_empty() {
            return None;
        }
        let batch = self.take_batch();
        let (mut operations, mut outcome) = self.plan_flush(&batch);
        // One at most, for records wait for this write. It is enough: no write fills more than one segment.
        outcome.unlinked = self.plan_unlinks(1, &mut operations);
        operations.extend(self.plan_spare(Urgency::Busy));
        Some(self.launch(operations, outcome))
    }

    /// Housekeeping for a quiet moment: marks the last flush as durable, so that damage to it is told from a
    /// torn write, and unlinks what a compaction freed. `None` when there is nothing to do, a write is under
    /// way, or something is queued. It may cost a flush, so call it after a pause (10 ms, say) and not after
    /// every write.
    pub fn idle_write(&mut self) -> Option<Write> {
        if !self.is_at_rest() {
            return None;
        }
        let mut operations = Vec::new();
        let mut outcome = Outcome { marked_sequence: self.marked_sequence, unlinked: 0 };
        if self.marked_sequence < self.durable.sequence
            && let Some(last) = self.segments.len().checked_sub(1)
        {
            operations.push(self.write_mark(last, segment_file(self.segments[last].number), self.durable));
            operations.push(Operation::Flush { file: segment_file(self.segments[last].number) });
            outcome.marked_sequence = self.durable.sequence;
        }
        outcome.unlinked = self.plan_unlinks(usize::MAX, &mut operations);
        if operations.is_empty() { None } else { Some(self.launch(operations, outcome)) }
    }

    /// All operations of write `id` were performed. Returns the durable mark: everything up to this ticket
    /// survives any crash.
    ///
    /// # Errors
    /// When that write is not under way.
    pub fn completed(&mut self, id: u64) -> Result<Ticket, CompletionError> {
        match self.under_way {
            Some(under_way) if under_way.id == id => {
                self.under_way = None;
                self.settle(under_way.outcome);
                Ok(self.durable.ticket)
            }
            other => Err(CompletionError { completed: id, under_way: other.map(|under_way| under_way.id) }),
        }
    }

    /// The durable mark: every ticket up to it survives any crash.
    #[must_use]
    pub fn durable(&self) -> Ticket {
        self.durable.ticket
    }

    /// The last ticket appended, durable or not.
    #[must_use]
    pub fn appended(&self) -> Ticket {
        self.appended
    }

    /// Bytes that wait for the next write, record headers included; what is under way is not counted.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Bytes reserved on the disk by all segments, and ahead for the next.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length_bytes).sum::<u64>() + self.spare_bytes()
    }

    /// The segments, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let info = |segment: &Segment| SegmentInfo {
            number: segment.number,
            file: segment_file(segment.number),
            first_ticket: segment.first_ticket,
            length_bytes: segment.length_bytes,
            used_bytes: segment.used_bytes,
        };
        self.segments.iter().map(info).collect()
    }

    /// Whose journal it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many times it was opened, this time included.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn take_batch(&mut self) -> Vec<Queued> {
        let mut count = 0;
        let mut bytes = 0usize;
        for queued in &self.queue {
            bytes = bytes.saturating_add(queued.encoded_bytes);
            if count > 0 && bytes > self.config.batch_bytes_max {
                break;
            }
            count += 1;
        }
        let batch: Vec<Queued> = self.queue.drain(..count).collect();
        self.queued_bytes -= batch.iter().map(|queued| queued.encoded_bytes).sum::<usize>();
        batch
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.under_way.is_none() && self.queue.is_empty()
    }

    /// A write that makes no ticket durable.
    pub(crate) fn launch_housekeeping(&mut self, operations: Vec<Operation>) -> Write {
        self.launch(operations, Outcome { marked_sequence: self.marked_sequence, unlinked: 0 })
    }

    /// The length of a segment that nothing larger than usual asks for.
    pub(crate) fn spare_length_bytes(&self) -> u64 {
        whole_sectors(self.config.segment_bytes.max(FLUSHES_OFFSET))
    }

    fn launch(&mut self, operations: Vec<Operation>, outcome: Outcome) -> Write {
        let id = self.next_write_id;
        self.next_write_id += 1;
        self.under_way = Some(UnderWay { id, outcome });
        Write { id, operations, through: self.end.ticket }
    }

    fn settle(&mut self, outcome: Outcome) {
        self.durable = self.end;
        self.marked_sequence = outcome.marked_sequence;
        self.segments.drain(..outcome.unlinked);
    }

    /// The flush that makes a new incarnation durable. The caller performs the operations before the journal
    /// is used, so they count as completed. Frees what the compactions before it dropped.
    pub(crate) fn plan_opening(&mut self) -> Vec<Operation> {
        let (mut operations, mut outcome) = self.plan_flush(&[]);
        outcome.unlinked = self.plan_unlinks(usize::MAX, &mut operations);
        self.settle(outcome);
        operations
    }

    fn plan_flush(&mut self, batch: &[Queued]) -> (Vec<Operation>, Outcome) {
        let length = flush_length(batch);
        match self.segments.back() {
            Some(current) if current.used_bytes.saturating_add(length) <= current.length_bytes => {
                self.plan_in_place(self.segments.len() - 1, batch)
            }
            _ => self.plan_new_segment(batch, length),
        }
    }

    fn plan_in_place(&mut self, current: usize, batch: &[Queued]) -> (Vec<Operation>, Outcome) {
        let file = segment_file(self.segments[current].number);
        let mut operations = Vec::with_capacity(3);
        if self.marked_sequence < self.durable.sequence {
            operations.push(self.write_mark(current, file.clone(), self.durable));
        }
        operations.push(self.write_flush(current, file.clone(), batch));
        operations.push(Operation::Flush { file });
        (operations, Outcome { marked_sequence: self.durable.sequence, unlinked: 0 })
    }

    /// A segment gets its name when its header and first flush are durable. Then the segment before it is told
    /// that this one exists, so that its loss does not look like a log that ended there.
    fn plan_new_segment(&mut self, batch: &[Queued], flush_length: u64) -> (Vec<Operation>, Outcome) {
        let previous = self.segments.len().checked_sub(1);
        let number = self.segments.back().map_or(0, |segment| segment.number.saturating_add(1));
        let (unfinished, finished) = (unfinished_file(number), segment_file(number));
        let at_least = whole_sectors(self.config.segment_bytes.max(FLUSHES_OFFSET.saturating_add(flush_length)));
        let (length_bytes, mut operations) = self.take_file(number, at_least);
        let header = self.segment_header(number, length_bytes);
        let current = self.segments.len();
        self.segments.push_back(Segment {
            number,
            first_ticket: header.first_ticket,
            length_bytes: header.length_bytes,
            used_bytes: FLUSHES_OFFSET,
            next_slot: 0,
        });
        operations.push(write_at(unfinished.clone(), 0, Bytes::from(header.encode())));
        if self.durable.sequence > 0 {
            operations.push(self.write_mark(current, unfinished.clone(), self.durable));
        }
        operations.push(self.write_flush(current, unfinished.clone(), batch));
        operations.push(Operation::Flush { file: unfinished.clone() });
        operations.push(Operation::Rename { from: unfinished, to: finished });
        operations.push(Operation::FlushDirectory);
        if let Some(previous) = previous {
            let file = segment_file(self.segments[previous].number);
            operations.push(self.write_mark(previous, file.clone(), self.end));
            operations.push(Operation::Flush { file });
        }
        (operations, Outcome { marked_sequence: self.end.sequence, unlinked: 0 })
    }

    fn segment_header(&self, number: u64, length_bytes: u64) -> SegmentHeader {
        SegmentHeader {
            identity: self.identity.clone(),
            segment: number,
            length_bytes,
            first_sequence: self.end.sequence.saturating_add(1),
            first_ticket: Ticket(self.end.ticket.0.saturating_add(1)),
            previous: self.end.link,
        }
    }

    /// Encodes the batch at the segment's end and moves the end behind it.
    fn write_flush(&mut self, segment: usize, file: String, batch: &[Queued]) -> Operation {
        let segment = &mut self.segments[segment];
        let place = Place {
            disk: self.identity.disk,
            incarnation: self.incarnation,
            segment: segment.number,
            offset: segment.used_bytes,
            sequence: self.end.sequence.saturating_add(1),
            previous: self.end.link,
            ticket: self.end.ticket,
            drop_before: self.end.drop_before,
        };
        let EncodedFlush { bytes, checksum, last_ticket, drop_before } = encode_flush(&place, batch);
        segment.used_bytes += bytes.len() as u64;
        self.end = End {
            sequence: place.sequence,
            link: Link { segment: segment.number, offset: segment.used_bytes, checksum },
            ticket: last_ticket,
            drop_before,
        };
        write_at(file, place.offset, bytes)
    }

    /// Two slots in turn: while one is being rewritten the other stays whole.
    fn write_mark(&mut self, segment: usize, file: String, end: End) -> Operation {
        let segment = &mut self.segments[segment];
        let slot = segment.next_slot;
        segment.next_slot = (slot + 1) % MARK_OFFSETS.len();
        let mark = Mark {
            disk: self.identity.disk,
            home: segment.number,
            slot: slot as u64,
            sequence: end.sequence,
            end: end.link,
            ticket: end.ticket,
        };
        write_at(file, MARK_OFFSETS[slot], Bytes::from(mark.encode()))
    }

    /// Unlinks, oldest first, the segments whose tickets a durable compaction dropped, but `most` at a time. The last
    /// segment always stays, and the compaction itself stands at or after its `drop_before`.
    ///
    /// Each unlink is durable before the next: a disk promises no order among names, and a segment that outlived a
    /// later one would look like a journal with a hole.
    fn plan_unlinks(&self, most: usize, operations: &mut Vec<Operation>) -> usize {
        let next_segments = self.segments.iter().skip(1).take(most);
        let unlinked = next_segments.take_while(|next| next.first_ticket <= self.durable.drop_before).count();
        for segment in self.segments.iter().take(unlinked) {
            operations.push(Operation::Unlink { file: segment_file(segment.number) });
            operations.push(Operation::FlushDirectory);
        }
        unlinked
    }
}

fn write_at(file: String, offset: u64, bytes: Bytes) -> Operation {
    Operation::Write { file, offset, parts: vec![bytes] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Expected;
    use crate::error::JournalError;
    use crate::format::{FLUSH_HEADER_BYTES, FlushHeader, Parsed};
    use quorate_disk::{Disk, model::ModelDisk};
    use quorate_types::{ClusterId, DiskId, NodeId};

    fn journal_on(disk: &mut ModelDisk) -> Journal {
        let identity =
            Identity { cluster: ClusterId(1), node: NodeId(2), disk: DiskId(3), protocol: "raft".to_owned() };
        let (journal, operations) = Journal::create(disk, identity, JournalConfig::default()).unwrap();
        disk.perform_all(&operations).unwrap();
        journal
    }

    fn refusal(disk: &ModelDisk) -> JournalError {
        Journal::open(disk, &Expected::default(), JournalConfig::default()).unwrap_err()
    }

    #[test]
    fn a_record_kind_of_a_newer_release_is_refused_by_name() {
        let mut disk = ModelDisk::new();
        let mut journal = journal_on(&mut disk);
        journal.enqueue(Ticket(1), vec![Bytes::from("from the future")], 99, None).unwrap();
        disk.perform_all(&journal.next_write().unwrap().operations).unwrap();
        let error = refusal(&disk);
        assert!(
            matches!(&error, JournalError::UnknownVersion { what: "record kind", version: 99, known: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn records_out_of_order_are_refused_even_under_good_checksums() {
        let mut disk = ModelDisk::new();
        let mut journal = journal_on(&mut disk);
        for ticket in 1..=3 {
            journal.append(Ticket(ticket), vec![Bytes::from("x")]).unwrap();
        }
        journal.queue.swap(0, 1);
        disk.perform_all(&journal.next_write().unwrap().operations).unwrap();
        assert!(refusal(&disk).to_string().contains("a record's ticket is out of order"));
    }

    #[test]
    fn a_record_is_checked_by_itself_besides_its_flush() {
        let mut disk = ModelDisk::new();
        let mut journal = journal_on(&mut disk);
        journal.append(Ticket(1), vec![Bytes::from("yes")]).unwrap();
        let start = journal.end.link.offset;
        disk.perform_all(&journal.next_write().unwrap().operations).unwrap();
        // A fault in memory before the flush was sealed: flush and header are whole, the record is not.
        let file = segment_file(0);
        let mut flush = disk.read(&file, start, 512).unwrap().to_vec();
        let at = flush.windows(3).position(|bytes| bytes == b"yes").unwrap();
        flush[at..at + 3].copy_from_slice(b"no!");
        let Parsed::Valid((mut header, _)) = FlushHeader::parse(&flush) else { panic!("the header is whole") };
        header.body_checksum = crc32c::crc32c(&flush[FLUSH_HEADER_BYTES..]);
        flush[..FLUSH_HEADER_BYTES].copy_from_slice(&header.encode());
        disk.perform(&write_at(file, start, Bytes::from(flush))).unwrap();
        assert!(refusal(&disk).to_string().contains("a record does not fit its checksum"));
    }
}
