//! A batch of tickets as the bytes of one flush.

use crate::format::{
    FLUSH_HEADER_BYTES, FlushHeader, Link, RECORD_HEADER_BYTES, RecordHeader, record_checksum, record_seed,
    whole_sectors,
};
use bytes::Bytes;
use quorate_disk::SECTOR_BYTES;
use quorate_types::{DiskId, Incarnation, Ticket};

/// One ticket that waits for its flush.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) ticket: Ticket,
    /// The kind of each of its records.
    pub(crate) kind: u32,
    /// Set by a compaction.
    pub(crate) drop_before: Option<Ticket>,
    /// None longer than `u32::MAX`: checked when appended.
    pub(crate) records: Vec<Bytes>,
    /// Records with their headers.
    pub(crate) encoded_bytes: usize,
}

/// What records take in a flush.
pub(crate) fn encoded_bytes(records: &[Bytes]) -> usize {
    records.iter().map(|record| RECORD_HEADER_BYTES + record.len()).sum()
}

/// A flush that holds these tickets, with header and padding.
pub(crate) fn flush_length(batch: &[Queued]) -> u64 {
    let records: usize = batch.iter().map(|queued| queued.encoded_bytes).sum();
    whole_sectors((FLUSH_HEADER_BYTES + records) as u64)
}

/// Where a flush goes and what stands before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) disk: DiskId,
    pub(crate) incarnation: Incarnation,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
    pub(crate) previous: Link,
    /// The last ticket before it.
    pub(crate) ticket: Ticket,
    /// Of the newest compaction before it.
    pub(crate) drop_before: Ticket,
}

/// A flush ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct EncodedFlush {
    pub(crate) bytes: Bytes,
    pub(crate) checksum: u32,
    pub(crate) last_ticket: Ticket,
    pub(crate) drop_before: Ticket,
}

pub(crate) fn encode_flush(place: &Place, batch: &[Queued]) -> EncodedFlush {
    let records: usize = batch.iter().map(|queued| queued.encoded_bytes).sum();
    let mut out = Vec::with_capacity((FLUSH_HEADER_BYTES + records).next_multiple_of(SECTOR_BYTES));
    out.resize(FLUSH_HEADER_BYTES, 0);
    let seed = record_seed(place.disk, place.segment);
    for queued in batch {
        for record in &queued.records {
            push_record(&mut out, seed, place.offset, queued, record);
        }
    }
    out.resize(out.len().next_multiple_of(SECTOR_BYTES), 0);
    let last_ticket = batch.last().map_or(place.ticket, |queued| queued.ticket);
    let drop_before = batch.iter().filter_map(|queued| queued.drop_before).fold(place.drop_before, Ticket::max);
    let header = FlushHeader {
        disk: place.disk,
        segment: place.segment,
        offset: place.offset,
        sequence: place.sequence,
        length_bytes: out.len() as u64,
        body_checksum: crc32c::crc32c(&out[FLUSH_HEADER_BYTES..]),
        record_count: batch.iter().map(|queued| queued.records.len() as u32).sum(),
        first_ticket: Ticket(place.ticket.0.saturating_add(1)),
        last_ticket,
        drop_before,
        incarnation: place.incarnation,
        previous: place.previous,
    }
    .encode();
    let checksum = FlushHeader::checksum_of(&header);
    out[..FLUSH_HEADER_BYTES].copy_from_slice(&header);
    EncodedFlush { bytes: Bytes::from(out), checksum, last_ticket, drop_before }
}

fn push_record(out: &mut Vec<u8>, seed: u32, flush_offset: u64, queued: &Queued, record: &Bytes) {
    let offset = flush_offset + out.len() as u64;
    let length = record.len() as u32;
    let checksum = record_checksum(seed, offset, length, queued.ticket, queued.kind, record);
    let header = RecordHeader { checksum, length, ticket: queued.ticket, kind: queued.kind };
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(record);
}
