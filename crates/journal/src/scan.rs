//! Reads a whole journal and judges what it finds.
//!
//! Flushes are followed from the oldest segment on, each checked against its own checksums and against the end
//! and checksum of the one before. Where that stops in the last segment, the log ends: cleanly (zeros), torn by
//! a crash, or damaged. It is *damaged* when anything shows that the flush due here was durable once:
//! - a later flush or segment, for it was only written after this one was durable;
//! - a mark naming this flush or a later one;
//! - the segment's name, when it is its first flush.
//!
//! Otherwise it is *torn*: nobody was told of it, and it is cut. So the only durable flush whose damage could
//! pass for a torn write is the last one, until the next flush or [`crate::Journal::idle_write`] marks it.

use crate::config::{Expected, Identity};
use crate::error::JournalError;
use crate::format::{
    FLUSH_HEADER_BYTES, FLUSHES_OFFSET, FORMAT_VERSION, FlushHeader, Link, MARK_OFFSETS, Mark, Parsed,
    RECORD_HEADER_BYTES, RECORD_KIND_APPENDED, RECORD_KIND_BASELINE, RecordHeader, SECTOR, SegmentHeader,
    record_checksum, record_seed,
};
use crate::journal::{End, Segment};
use crate::names::{segment_file, segment_number};
use crate::segment_reader::SegmentReader;
use bytes::Bytes;
use quorate_disk::{Disk, DiskError, SECTOR_BYTES};
use quorate_types::{DiskId, Incarnation, Ticket};
use std::collections::VecDeque;
use std::ops::Range;

/// A journal as it stands on the disk.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) identity: Identity,
    pub(crate) incarnation: Incarnation,
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) end: End,
    /// The flush that the newest mark vouches for.
    pub(crate) marked_sequence: u64,
    /// In order; what is compacted away is left out.
    pub(crate) records: Vec<(Ticket, Bytes)>,
    /// What a torn write left in the last segment, in whole sectors, if anything.
    pub(crate) torn: Option<Range<u64>>,
}

/// The numbers of all segments on the disk, ascending.
pub(crate) fn segment_numbers(disk: &dyn Disk) -> Result<Vec<u64>, DiskError> {
    let mut numbers: Vec<u64> = disk.list()?.iter().filter_map(|file| segment_number(file)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whose journal it is, by its oldest segment.
pub(crate) fn identity_of_oldest(disk: &dyn Disk) -> Result<Option<Identity>, JournalError> {
    let Some(oldest) = segment_numbers(disk)?.first().copied() else { return Ok(None) };
    Ok(Some(read_segment_header(&mut reader_of(disk, oldest)?, oldest)?.identity))
}

/// Reads all of it.
pub(crate) fn scan(disk: &dyn Disk, expected: &Expected) -> Result<Scan, JournalError> {
    let numbers = segment_numbers(disk)?;
    let (Some(first), Some(last)) = (numbers.first().copied(), numbers.last().copied()) else {
        return Err(JournalError::Missing);
    };
    if let Some(missing) = (first..=last).zip(&numbers).find(|(due, found)| due != *found) {
        return Err(corrupt(segment_file(missing.0), 0, "the file is missing, and later ones are there"));
    }
    let mut reader = reader_of(disk, first)?;
    let first_header = read_segment_header(&mut reader, first)?;
    check_identity(&first_header.identity, &segment_file(first), expected)?;
    let mut walk = Walk::from(&first_header);
    let mut segments = VecDeque::with_capacity(numbers.len());
    let mut mark: Option<Mark> = None;
    let mut stop = None;
    for number in numbers {
        let header = if number == first {
            first_header.clone()
        } else {
            reader = reader_of(disk, number)?;
            read_segment_header(&mut reader, number)?
        };
        walk.enter_segment(&header, stop)?;
        let (slot_mark, next_slot) = read_marks(&mut reader, &header)?;
        if newer(slot_mark, mark) {
            mark = slot_mark;
        }
        stop = Some(walk.follow(&mut reader, &header)?);
        segments.push_back(Segment {
            number,
            first_ticket: header.first_ticket,
            length_bytes: header.length_bytes,
            used_bytes: walk.end.link.offset,
            next_slot,
        });
    }
    walk.check_oldest(first_header.segment, first_header.first_ticket)?;
    let stop = stop.expect("there is a first segment, and following a segment ends with a stop");
    let torn = walk.judge_tail(&mut reader, &stop, mark)?;
    let drop_before = walk.end.drop_before;
    walk.records.retain(|(ticket, _)| *ticket >= drop_before);
    Ok(Scan {
        identity: first_header.identity,
        incarnation: walk.incarnation,
        segments,
        end: walk.end,
        marked_sequence: mark.map_or(0, |mark| mark.sequence),
        records: walk.records,
        torn,
    })
}

pub(crate) fn reader_of(disk: &dyn Disk, number: u64) -> Result<SegmentReader<'_>, DiskError> {
    SegmentReader::new(disk, segment_file(number))
}

pub(crate) fn read_segment_header(reader: &mut SegmentReader, number: u64) -> Result<SegmentHeader, JournalError> {
    let file = reader.file().to_owned();
    let header = match SegmentHeader::parse(&reader.bytes(0, SECTOR_BYTES)?) {
        Parsed::Valid(header) => header,
        Parsed::Newer(version) => return Err(unknown_version(file, 0, "segment", version)),
        Parsed::Invalid(what) => return Err(corrupt(file, 0, &format!("the segment's header is not whole: {what}"))),
    };
    if header.segment != number {
        return Err(corrupt(file, 0, &format!("the header is that of segment {}", header.segment)));
    }
    let length = reader.length();
    if header.length_bytes != length {
        let what = format!("the file has {length} bytes and was made with {}", header.length_bytes);
        return Err(corrupt(file, length.min(header.length_bytes), &what));
    }
    Ok(header)
}

fn check_identity(found: &Identity, file: &str, expected: &Expected) -> Result<(), JournalError> {
    let file = file.to_owned();
    if let Some(expected) = expected.cluster.filter(|cluster| *cluster != found.cluster) {
        return Err(JournalError::WrongCluster { file, found: found.cluster, expected });
    }
    if let Some(expected) = expected.node.filter(|node| *node != found.node) {
        return Err(JournalError::WrongNode { file, found: found.node, expected });
    }
    if let Some(expected) = expected.protocol.clone().filter(|protocol| *protocol != found.protocol) {
        return Err(JournalError::WrongProtocol { file, found: found.protocol.clone(), expected });
    }
    if let Some(expected) = expected.disk.filter(|disk| *disk != found.disk) {
        return Err(JournalError::WrongDisk { file, found: found.disk, expected });
    }
    Ok(())
}

/// The newer of a segment's marks, and the slot that does not hold it. A mark that is not whole was torn by a
/// crash or is damaged; either way it claims nothing, and the other slot still does.
fn read_marks(reader: &mut SegmentReader, header: &SegmentHeader) -> Result<(Option<Mark>, usize), JournalError> {
    let mut newest = None;
    let mut next_slot = 0;
    for (slot, offset) in MARK_OFFSETS.into_iter().enumerate() {
        match Mark::parse(&reader.bytes(offset, SECTOR_BYTES)?) {
            Parsed::Newer(version) => return Err(unknown_version(reader.file().to_owned(), offset, "mark", version)),
            Parsed::Valid(mark)
                if (mark.disk, mark.home, mark.slot) == (header.identity.disk, header.segment, slot as u64) =>
            {
                if newer(Some(mark), newest) {
                    newest = Some(mark);
                    next_slot = (slot + 1) % MARK_OFFSETS.len();
                }
            }
            Parsed::Valid(_) | Parsed::Invalid(_) => {}
        }
    }
    Ok((newest, next_slot))
}

fn newer(candidate: Option<Mark>, than: Option<Mark>) -> bool {
    candidate.map(|mark| mark.sequence) > than.map(|mark| mark.sequence)
}

/// Following the flushes.
pub(crate) struct Walk {
    identity: Identity,
    /// After the last good flush.
    pub(crate) end: End,
    pub(crate) incarnation: Incarnation,
    pub(crate) records: Vec<(Ticket, Bytes)>,
}

/// Why no further flush was found, at the walk's end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    what: &'static str,
    /// Where a later flush could stand.
    later_flushes_from: u64,
}

enum Step {
    Flush { header: FlushHeader, checksum: u32, body: Bytes },
    Stop(Stop),
}

impl Walk {
    /// Before the oldest segment's first flush; whatever came earlier is compacted away.
    pub(crate) fn from(oldest: &SegmentHeader) -> Walk {
        Walk {
            identity: oldest.identity.clone(),
            end: End {
                sequence: oldest.first_sequence.saturating_sub(1),
                link: oldest.previous,
                ticket: Ticket(oldest.first_ticket.0.saturating_sub(1)),
                drop_before: Ticket::NONE,
            },
            incarnation: Incarnation::default(),
            records: Vec::new(),
        }
    }

    /// A segment continues where the one before it stopped. If it says that one went on, then that was cut or
    /// damaged, at `stop`.
    pub(crate) fn enter_segment(&mut self, header: &SegmentHeader, stop: Option<Stop>) -> Result<(), JournalError> {
        let file = segment_file(header.segment);
        if header.identity.disk != self.identity.disk {
            return Err(JournalError::WrongDisk { file, found: header.identity.disk, expected: self.identity.disk });
        }
        if header.identity != self.identity {
            return Err(corrupt(file, 0, "the header names another cluster, node or protocol than the other segments"));
        }
        let continues = header.previous == self.end.link
            && header.first_sequence == self.end.sequence.saturating_add(1)
            && header.first_ticket.0 == self.end.ticket.0.saturating_add(1);
        if !continues {
            let stop = stop.map_or("it is the first segment", |stop| stop.what);
            let what = format!("a durable flush should stand here, for {file} continues a later one: {stop}");
            return Err(corrupt(segment_file(self.end.link.segment), self.end.link.offset, &what));
        }
        self.end.link.segment = header.segment;
        self.end.link.offset = FLUSHES_OFFSET;
        Ok(())
    }

    /// Follows the flushes of one segment.
    pub(crate) fn follow(&mut self, reader: &mut SegmentReader, segment: &SegmentHeader) -> Result<Stop, JournalError> {
        let mut previous = segment.previous;
        loop {
            match self.read_flush(reader, previous)? {
                Step::Stop(stop) => {
                    if self.end.link.offset == FLUSHES_OFFSET {
                        let what = format!("the segment's first flush is not whole: {}", stop.what);
                        return Err(corrupt(reader.file().to_owned(), FLUSHES_OFFSET, &what));
                    }
                    return Ok(stop);
                }
                Step::Flush { header, checksum, body } => {
                    self.take_records(reader.file(), &header, &body)?;
                    let offset = self.end.link.offset + header.length_bytes;
                    previous = Link { segment: segment.segment, offset, checksum };
                    self.end = End {
                        sequence: header.sequence,
                        link: previous,
                        ticket: header.last_ticket,
                        drop_before: header.drop_before,
                    };
                    self.incarnation = header.incarnation;
                }
            }
        }
    }

    fn read_flush(&self, reader: &mut SegmentReader, previous: Link) -> Result<Step, JournalError> {
        let Link { segment, offset, .. } = self.end.link;
        let next_sector = offset + SECTOR;
        let (header, checksum) = match FlushHeader::parse(&reader.bytes(offset, FLUSH_HEADER_BYTES)?) {
            Parsed::Valid(found) => found,
            Parsed::Newer(version) => {
                return Err(unknown_version(reader.file().to_owned(), offset, "flush", version));
            }
            Parsed::Invalid(what) => return Ok(Step::Stop(Stop { what, later_flushes_from: next_sector })),
        };
        if (header.disk, header.segment, header.offset) != (self.identity.disk, segment, offset) {
            let what = "a flush that belongs elsewhere stands here";
            return Ok(Step::Stop(Stop { what, later_flushes_from: next_sector }));
        }
        if let Err(what) = self.check_flush_header(&header, previous, reader.length()) {
            return Err(corrupt(reader.file().to_owned(), offset, what));
        }
        let body_length = header.length_bytes - FLUSH_HEADER_BYTES as u64;
        let body_length = usize::try_from(body_length)
            .map_err(|_| corrupt(reader.file().to_owned(), offset, "the flush is longer than memory"))?;
        let body = reader.bytes(offset + FLUSH_HEADER_BYTES as u64, body_length)?;
        if body.len() != body_length || crc32c::crc32c(&body) != header.body_checksum {
            let later_flushes_from = offset + header.length_bytes;
            return Ok(Step::Stop(Stop { what: "its records do not fit its checksum", later_flushes_from }));
        }
        Ok(Step::Flush { header, checksum, body })
    }

    /// Its checksum holds, so what is wrong here was not torn by a crash.
    fn check_flush_header(&self, header: &FlushHeader, previous: Link, file_length: u64) -> Result<(), &'static str> {
        let flush_end = header.offset.checked_add(header.length_bytes);
        let shortest = FLUSH_HEADER_BYTES as u64;
        if header.length_bytes < shortest
            || !header.length_bytes.is_multiple_of(SECTOR)
            || flush_end.is_none_or(|end| end > file_length)
        {
            return Err("the flush has an impossible length");
        }
        if header.sequence != self.end.sequence.saturating_add(1) || header.previous != previous {
            return Err("the flush does not continue the one before it");
        }
        if header.first_ticket.0 != self.end.ticket.0.saturating_add(1) || header.last_ticket < self.end.ticket {
            return Err("the flush's tickets do not continue those before it");
        }
        if header.drop_before < self.end.drop_before || header.drop_before > header.last_ticket {
            return Err("the flush's compaction is impossible");
        }
        Ok(())
    }

    fn take_records(&mut self, file: &str, flush: &FlushHeader, body: &Bytes) -> Result<(), JournalError> {
        let seed = record_seed(self.identity.disk, flush.segment);
        let mut at = 0;
        let mut last = flush.first_ticket;
        for _ in 0..flush.record_count {
            let offset = flush.offset + (FLUSH_HEADER_BYTES + at) as u64;
            let damaged = |what: &str| corrupt(file.to_owned(), offset, what);
            let header = body.get(at..).and_then(|rest| rest.first_chunk::<RECORD_HEADER_BYTES>());
            let header = RecordHeader::decode(header.ok_or_else(|| damaged("a record begins past its flush"))?);
            let start = at + RECORD_HEADER_BYTES;
            let stop = start.saturating_add(header.length as usize);
            let bytes = body.get(start..stop).ok_or_else(|| damaged("a record ends past its flush"))?;
            let RecordHeader { checksum, length, ticket, kind } = header;
            if record_checksum(seed, offset, length, ticket, kind, bytes) != checksum {
                return Err(damaged("a record does not fit its checksum"));
            }
            if !matches!(kind, RECORD_KIND_APPENDED | RECORD_KIND_BASELINE) {
                return Err(JournalError::UnknownVersion {
                    file: file.to_owned(),
                    offset,
                    what: "record kind",
                    version: kind,
                    known: RECORD_KIND_BASELINE,
                });
            }
            if ticket < last || ticket > flush.last_ticket {
                return Err(damaged("a record's ticket is out of order"));
            }
            last = ticket;
            self.records.push((ticket, body.slice(start..stop)));
            at = stop;
        }
        Ok(())
    }

    /// Unlinking takes only what is dropped, so the oldest segment reaches back to `drop_before`.
    fn check_oldest(&self, oldest: u64, first_ticket: Ticket) -> Result<(), JournalError> {
        let needed = self.end.drop_before.max(Ticket(1));
        if first_ticket <= needed {
            return Ok(());
        }
        let what = format!("the file is missing, and tickets from {} on are needed", needed.0);
        Err(corrupt(segment_file(oldest.saturating_sub(1)), 0, &what))
    }

    /// Torn or damaged? Returns what a torn write left.
    fn judge_tail(
        &self,
        reader: &mut SegmentReader,
        stop: &Stop,
        mark: Option<Mark>,
    ) -> Result<Option<Range<u64>>, JournalError> {
        let offset = self.end.link.offset;
        if let Some(mark) = mark {
            self.check_mark(&mark, stop)?;
        }
        let mut later = None;
        let mut dirty: Option<Range<u64>> = None;
        reader.for_each_chunk(offset, |chunk_offset, chunk| {
            for (at, sector) in dirty_sectors(chunk_offset, chunk) {
                if at >= stop.later_flushes_from && is_flush_of(sector, self.identity.disk, self.end, at) {
                    later = Some(at);
                    return false;
                }
                dirty = Some(dirty.as_ref().map_or(at, |range| range.start)..at + sector.len() as u64);
            }
            true
        })?;
        if let Some(later) = later {
            let what = format!("a durable flush should stand here, for a later one stands at {later}: {}", stop.what);
            return Err(corrupt(reader.file().to_owned(), offset, &what));
        }
        Ok(dirty)
    }

    fn check_mark(&self, mark: &Mark, stop: &Stop) -> Result<(), JournalError> {
        let Link { segment, offset, .. } = self.end.link;
        if mark.sequence > self.end.sequence {
            let missing = mark.end.segment > segment;
            let (file, offset, why) = if missing {
                (segment_file(segment.saturating_add(1)), 0, "the file is missing")
            } else {
                (segment_file(segment), offset, stop.what)
            };
            let what = format!(
                "a durable flush should stand here, for a mark says that everything up to ticket {} was durable: {why}",
                mark.ticket.0
            );
            return Err(corrupt(file, offset, &what));
        }
        if mark.sequence == self.end.sequence && mark.end != self.end.link {
            let what = "the last flush is not the one that a mark says was durable";
            return Err(corrupt(segment_file(segment), offset, what));
        }
        Ok(())
    }
}

/// The sectors of a piece that are not all zeros, with their places in the file.
fn dirty_sectors(chunk_offset: u64, chunk: &Bytes) -> impl Iterator<Item = (u64, &[u8])> {
    const ZEROS: [u8; SECTOR_BYTES] = [0; SECTOR_BYTES];
    let sectors = chunk.chunks(SECTOR_BYTES).enumerate();
    sectors
        .filter(|(_, sector)| *sector != &ZEROS[..sector.len()])
        .map(move |(index, sector)| (chunk_offset + index as u64 * SECTOR, sector))
}

/// Whether a whole flush header of this very journal and place stands in `sector`, later than `end`.
fn is_flush_of(sector: &[u8], disk: DiskId, end: End, offset: u64) -> bool {
    FlushHeader::could_start(sector)
        && match FlushHeader::parse(sector) {
            Parsed::Valid((header, _)) => {
                (header.disk, header.segment, header.offset) == (disk, end.link.segment, offset)
                    && header.sequence > end.sequence
            }
            // A newer release wrote on after this place; that is no torn tail either.
            Parsed::Newer(_) => true,
            Parsed::Invalid(_) => false,
        }
}

fn corrupt(file: String, offset: u64, what: &str) -> JournalError {
    JournalError::Corrupt { file, offset, what: what.to_owned() }
}

fn unknown_version(file: String, offset: u64, what: &'static str, version: u32) -> JournalError {
    JournalError::UnknownVersion { file, offset, what, version, known: FORMAT_VERSION }
}
