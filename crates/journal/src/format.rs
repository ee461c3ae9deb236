//! The bytes: segment header, flush header, mark and record header. All numbers are little-endian.
//!
//! The first 16 bytes of the three sector formats are the same for all time, so that an older release can tell a
//! newer format from damage: magic (8), CRC-32C of the rest of the structure and of the magic (4), version (4).

use crate::config::Identity;
use quorate_disk::SECTOR_BYTES;
use quorate_types::{ClusterId, DiskId, Incarnation, NodeId, Ticket};

/// Segment, flush and mark formats this release writes; it reads 1 up to this.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Flushes and marks live on sectors.
pub(crate) const SECTOR: u64 = SECTOR_BYTES as u64;
/// Header and marks stand on pages of their own: rewriting a mark leaves the header's physical block alone.
pub(crate) const MARK_OFFSETS: [u64; 2] = [4096, 8192];
/// Where the first flush of a segment goes.
pub(crate) const FLUSHES_OFFSET: u64 = 12288;

pub(crate) const FLUSH_HEADER_BYTES: usize = 128;
pub(crate) const RECORD_HEADER_BYTES: usize = 20;
/// What a protocol appended.
pub(crate) const RECORD_KIND_APPENDED: u32 = 1;
/// What a protocol appended as part of a compaction's baseline; read like any other.
pub(crate) const RECORD_KIND_BASELINE: u32 = 2;
pub(crate) const PROTOCOL_BYTES_MAX: usize = 255;

const SEGMENT_MAGIC: [u8; 8] = *b"QrJrnSeg";
const FLUSH_MAGIC: [u8; 8] = *b"QrJrnFls";
const MARK_MAGIC: [u8; 8] = *b"QrJrnMrk";
const PROTOCOL_OFFSET: usize = 96;

// The protocol's name ends within the header's sector, and a header fits its flush's first sector.
const _: () = assert!(PROTOCOL_OFFSET + PROTOCOL_BYTES_MAX <= SECTOR_BYTES);
const _: () = assert!(FLUSH_HEADER_BYTES <= SECTOR_BYTES);
const _: () = assert!(FLUSHES_OFFSET.is_multiple_of(SECTOR));

/// Where a flush ended, with its checksum: what the next one links to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) checksum: u32,
}

/// The start of a segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) identity: Identity,
    pub(crate) segment: u64,
    /// The file's whole length; a shorter file was cut.
    pub(crate) length_bytes: u64,
    pub(crate) first_sequence: u64,
    /// The lowest ticket that can be within.
    pub(crate) first_ticket: Ticket,
    pub(crate) previous: Link,
}

/// The start of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlushHeader {
    pub(crate) disk: DiskId,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// Flushes are numbered from 1 without gaps over the journal's life.
    pub(crate) sequence: u64,
    /// With header, records and padding.
    pub(crate) length_bytes: u64,
    pub(crate) body_checksum: u32,
    pub(crate) record_count: u32,
    pub(crate) first_ticket: Ticket,
    /// `first_ticket` - 1 when there is no ticket within.
    pub(crate) last_ticket: Ticket,
    /// By the newest compaction up to and including this flush.
    pub(crate) drop_before: Ticket,
    pub(crate) incarnation: Incarnation,
    pub(crate) previous: Link,
}

/// "Everything up to this flush was durable."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) disk: DiskId,
    /// The segment the mark is written in.
    pub(crate) home: u64,
    /// Which of the two slots.
    pub(crate) slot: u64,
    pub(crate) sequence: u64,
    /// The end of that flush.
    pub(crate) end: Link,
    pub(crate) ticket: Ticket,
}

/// What a sector turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed<T> {
    /// Whole and of a known version.
    Valid(T),
    /// Whole, and written by a newer release.
    Newer(u32),
    /// Anything else, with the reason.
    Invalid(&'static str),
}

impl SegmentHeader {
    /// The protocol's name must fit; [`PROTOCOL_BYTES_MAX`] is checked at creation.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SECTOR_BYTES);
        start(&mut out, SEGMENT_MAGIC);
        for number in [self.identity.cluster.0, self.identity.node.0, self.identity.disk.0] {
            put_u64(&mut out, number);
        }
        for number in [self.segment, self.length_bytes, self.first_sequence, self.first_ticket.0] {
            put_u64(&mut out, number);
        }
        put_link(&mut out, self.previous);
        put_u32(&mut out, self.identity.protocol.len() as u32);
        out.extend_from_slice(self.identity.protocol.as_bytes());
        out.resize(SECTOR_BYTES, 0);
        seal(&mut out);
        out
    }

    pub(crate) fn parse(sector: &[u8]) -> Parsed<SegmentHeader> {
        let fields = match open(sector, SECTOR_BYTES, SEGMENT_MAGIC) {
            Parsed::Valid(fields) => fields,
            Parsed::Newer(version) => return Parsed::Newer(version),
            Parsed::Invalid(what) => return Parsed::Invalid(what),
        };
        let protocol_length = fields.u32(92) as usize;
        let name = fields.bytes.get(PROTOCOL_OFFSET..PROTOCOL_OFFSET.saturating_add(protocol_length));
        let Some(protocol) = name.and_then(|name| std::str::from_utf8(name).ok()) else {
            return Parsed::Invalid("the protocol's name is not text");
        };
        Parsed::Valid(SegmentHeader {
            identity: Identity {
                cluster: ClusterId(fields.u64(16)),
                node: NodeId(fields.u64(24)),
                disk: DiskId(fields.u64(32)),
                protocol: protocol.to_owned(),
            },
            segment: fields.u64(40),
            length_bytes: fields.u64(48),
            first_sequence: fields.u64(56),
            first_ticket: Ticket(fields.u64(64)),
            previous: fields.link(72),
        })
    }
}

impl FlushHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FLUSH_HEADER_BYTES);
        start(&mut out, FLUSH_MAGIC);
        for number in [self.disk.0, self.segment, self.offset, self.sequence, self.length_bytes] {
            put_u64(&mut out, number);
        }
        put_u32(&mut out, self.body_checksum);
        put_u32(&mut out, self.record_count);
        for number in [self.first_ticket.0, self.last_ticket.0, self.drop_before.0, self.incarnation.0] {
            put_u64(&mut out, number);
        }
        put_link(&mut out, self.previous);
        out.resize(FLUSH_HEADER_BYTES, 0);
        seal(&mut out);
        out
    }

    /// The header and the flush's checksum, which through the body's checksum covers all of it.
    pub(crate) fn parse(bytes: &[u8]) -> Parsed<(FlushHeader, u32)> {
        let fields = match open(bytes, FLUSH_HEADER_BYTES, FLUSH_MAGIC) {
            Parsed::Valid(fields) => fields,
            Parsed::Newer(version) => return Parsed::Newer(version),
            Parsed::Invalid(what) => return Parsed::Invalid(what),
        };
        let header = FlushHeader {
            disk: DiskId(fields.u64(16)),
            segment: fields.u64(24),
            offset: fields.u64(32),
            sequence: fields.u64(40),
            length_bytes: fields.u64(48),
            body_checksum: fields.u32(56),
            record_count: fields.u32(60),
            first_ticket: Ticket(fields.u64(64)),
            last_ticket: Ticket(fields.u64(72)),
            drop_before: Ticket(fields.u64(80)),
            incarnation: Incarnation(fields.u64(88)),
            previous: fields.link(96),
        };
        Parsed::Valid((header, fields.u32(8)))
    }

    /// Whether a sector begins like a flush, which is all the tail scan asks of most sectors.
    pub(crate) fn could_start(sector: &[u8]) -> bool {
        sector.starts_with(&FLUSH_MAGIC)
    }

    /// The checksum of an encoded header.
    pub(crate) fn checksum_of(encoded: &[u8]) -> u32 {
        Fields { bytes: encoded }.u32(8)
    }
}

impl Mark {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SECTOR_BYTES);
        start(&mut out, MARK_MAGIC);
        for number in [self.disk.0, self.home, self.slot, self.sequence] {
            put_u64(&mut out, number);
        }
        put_link(&mut out, self.end);
        put_u32(&mut out, 0);
        put_u64(&mut out, self.ticket.0);
        out.resize(SECTOR_BYTES, 0);
        seal(&mut out);
        out
    }

    pub(crate) fn parse(sector: &[u8]) -> Parsed<Mark> {
        let fields = match open(sector, SECTOR_BYTES, MARK_MAGIC) {
            Parsed::Valid(fields) => fields,
            Parsed::Newer(version) => return Parsed::Newer(version),
            Parsed::Invalid(what) => return Parsed::Invalid(what),
        };
        Parsed::Valid(Mark {
            disk: DiskId(fields.u64(16)),
            home: fields.u64(24),
            slot: fields.u64(32),
            sequence: fields.u64(40),
            end: fields.link(48),
            ticket: Ticket(fields.u64(72)),
        })
    }
}

/// What stands before a record's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) checksum: u32,
    pub(crate) length: u32,
    pub(crate) ticket: Ticket,
    pub(crate) kind: u32,
}

impl RecordHeader {
    pub(crate) fn encode(self) -> [u8; RECORD_HEADER_BYTES] {
        let mut out = [0; RECORD_HEADER_BYTES];
        out[0..4].copy_from_slice(&self.checksum.to_le_bytes());
        out[4..8].copy_from_slice(&self.length.to_le_bytes());
        out[8..16].copy_from_slice(&self.ticket.0.to_le_bytes());
        out[16..20].copy_from_slice(&self.kind.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8; RECORD_HEADER_BYTES]) -> RecordHeader {
        let fields = Fields { bytes };
        RecordHeader {
            checksum: fields.u32(0),
            length: fields.u32(4),
            ticket: Ticket(fields.u64(8)),
            kind: fields.u32(16),
        }
    }
}

/// The start of every record's checksum in a segment: ties the record to its disk and segment.
pub(crate) fn record_seed(disk: DiskId, segment: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&disk.0.to_le_bytes()), &segment.to_le_bytes())
}

/// A record's checksum: where it stands, what it is, and its bytes.
pub(crate) fn record_checksum(seed: u32, offset: u64, length: u32, ticket: Ticket, kind: u32, bytes: &[u8]) -> u32 {
    let mut about = [0; 24];
    about[0..8].copy_from_slice(&offset.to_le_bytes());
    about[8..16].copy_from_slice(&ticket.0.to_le_bytes());
    about[16..20].copy_from_slice(&length.to_le_bytes());
    about[20..24].copy_from_slice(&kind.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &about), bytes)
}

/// Rounded up to whole sectors.
pub(crate) fn whole_sectors(bytes: u64) -> u64 {
    bytes.div_ceil(SECTOR).saturating_mul(SECTOR)
}

fn start(out: &mut Vec<u8>, magic: [u8; 8]) {
    out.extend_from_slice(&magic);
    put_u32(out, 0);
    put_u32(out, FORMAT_VERSION);
}

fn seal(out: &mut [u8]) {
    let checksum = structure_checksum(out);
    out[8..12].copy_from_slice(&checksum.to_le_bytes());
}

fn structure_checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[0..8]), &bytes[12..])
}

/// Checks the part that all versions share.
fn open(bytes: &[u8], length: usize, magic: [u8; 8]) -> Parsed<Fields<'_>> {
    let Some(bytes) = bytes.get(..length) else {
        return Parsed::Invalid("the file ends here");
    };
    let fields = Fields { bytes };
    if !bytes.starts_with(&magic) {
        return Parsed::Invalid("it does not begin as it must");
    }
    if fields.u32(8) != structure_checksum(bytes) {
        return Parsed::Invalid("its checksum is wrong");
    }
    match fields.u32(12) {
        FORMAT_VERSION => Parsed::Valid(fields),
        0 => Parsed::Invalid("its version is 0"),
        newer => Parsed::Newer(newer),
    }
}

/// Numbers at fixed places of a structure whose length was checked.
#[derive(Clone, Debug)]
struct Fields<'a> {
    bytes: &'a [u8],
}

impl Fields<'_> {
    fn u32(&self, at: usize) -> u32 {
        let mut number = [0; 4];
        number.copy_from_slice(&self.bytes[at..at + 4]);
        u32::from_le_bytes(number)
    }

    fn u64(&self, at: usize) -> u64 {
        let mut number = [0; 8];
        number.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_le_bytes(number)
    }

    fn link(&self, at: usize) -> Link {
        Link { segment: self.u64(at), offset: self.u64(at + 8), checksum: self.u32(at + 16) }
    }
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_link(out: &mut Vec<u8>, link: Link) {
    put_u64(out, link.segment);
    put_u64(out, link.offset);
    put_u32(out, link.checksum);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment_header() -> SegmentHeader {
        SegmentHeader {
            identity: Identity {
                cluster: ClusterId(1),
                node: NodeId(2),
                disk: DiskId(3),
                protocol: "p".repeat(PROTOCOL_BYTES_MAX),
            },
            segment: 4,
            length_bytes: 5,
            first_sequence: 6,
            first_ticket: Ticket(7),
            previous: Link { segment: 8, offset: 9, checksum: 10 },
        }
    }

    #[test]
    fn a_segment_header_reads_back_and_fills_its_sector() {
        let encoded = segment_header().encode();
        assert_eq!(encoded.len(), SECTOR_BYTES);
        assert_eq!(SegmentHeader::parse(&encoded), Parsed::Valid(segment_header()));
    }

    #[test]
    fn a_flush_header_reads_back_with_its_checksum() {
        let header = FlushHeader {
            disk: DiskId(1),
            segment: 2,
            offset: 3,
            sequence: 4,
            length_bytes: 5,
            body_checksum: 6,
            record_count: 7,
            first_ticket: Ticket(8),
            last_ticket: Ticket(9),
            drop_before: Ticket(10),
            incarnation: Incarnation(11),
            previous: Link { segment: 12, offset: 13, checksum: 14 },
        };
        let encoded = header.encode();
        assert_eq!(encoded.len(), FLUSH_HEADER_BYTES);
        assert_eq!(FlushHeader::parse(&encoded), Parsed::Valid((header, FlushHeader::checksum_of(&encoded))));
    }

    #[test]
    fn a_mark_reads_back() {
        let end = Link { segment: 5, offset: 6, checksum: 7 };
        let mark = Mark { disk: DiskId(1), home: 2, slot: 3, sequence: 4, end, ticket: Ticket(8) };
        assert_eq!(Mark::parse(&mark.encode()), Parsed::Valid(mark));
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut encoded = segment_header().encode();
        encoded[12] = 2;
        assert!(matches!(SegmentHeader::parse(&encoded), Parsed::Invalid(_)), "the checksum no longer fits");
        seal(&mut encoded);
        assert_eq!(SegmentHeader::parse(&encoded), Parsed::Newer(2));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let encoded = segment_header().encode();
        for bit in 0..encoded.len() * 8 {
            let mut flipped = encoded.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(SegmentHeader::parse(&flipped), Parsed::Invalid(_)), "bit {bit}");
        }
    }
}
