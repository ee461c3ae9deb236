//! The bytes of an item file: a header, then frames.
//!
//! ```text
//! header   magic (8)  version (4)  file number (8)  first item (8)  after checkpoint (8)  CRC-32C of these (4)
//! item     length + 1 (4)  CRC-32C of the item's number, its length and its bytes (4)  the bytes
//! gap      2^32 - 1 (4)  CRC-32C of the number that comes next, and of itself (4)  that number (8)
//! padding  zeros (at least 8) up to a sector boundary
//! ```
//! Numbers are little-endian. An item's number is not written but checksummed, so an item in the wrong place is noticed:
//! it is one more than that of the item before, or what a gap between them says.

use crate::error::StoreError;
use crate::names::FileKind;
use bytes::{Buf, Bytes};
use quorate_disk::SECTOR_BYTES;

const MAGIC: [u8; 8] = *b"QRTITEMS";
const FORMAT_VERSION: u32 = 2;
/// How many bytes to read for [`Header::decode`].
pub(crate) const HEADER_BYTES: usize = 40;
pub(crate) const FRAME_HEADER_BYTES: usize = 8;
/// In the place of a length: a gap.
const GAP: u32 = u32::MAX;
/// How many bytes a gap has behind its frame's header.
pub(crate) const GAP_BYTES: usize = 8;
/// An item's length must fit its field, which holds one more and keeps one for gaps.
const ITEM_BYTES_MAX: usize = u32::MAX as usize - 2;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) file_number: u64,
    /// The number of the first item in it.
    pub(crate) first_item: u64,
    /// The newest checkpoint that was durable when the file was made; 0 for none.
    pub(crate) after_checkpoint: u64,
}

impl Header {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.file_number.to_le_bytes());
        out.extend_from_slice(&self.first_item.to_le_bytes());
        out.extend_from_slice(&self.after_checkpoint.to_le_bytes());
        let checksum = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Reads and checks a header. `file` is for the error.
    pub(crate) fn decode(file: &str, bytes: &Bytes) -> Result<Header, StoreError> {
        let Some(mut fields) = bytes.get(..HEADER_BYTES) else {
            return Err(StoreError::corrupt(file, 0, "it ends within its header"));
        };
        let checksum = crc32c::crc32c(&fields[..HEADER_BYTES - 4]);
        let mut magic = [0; 8];
        fields.copy_to_slice(&mut magic);
        if magic != MAGIC {
            return Err(StoreError::corrupt(file, 0, "it does not start as an item file does"));
        }
        let version = fields.get_u32_le();
        let header = Header {
            file_number: fields.get_u64_le(),
            first_item: fields.get_u64_le(),
            after_checkpoint: fields.get_u64_le(),
        };
        if fields.get_u32_le() != checksum {
            return Err(StoreError::corrupt(file, 0, "its header's checksum does not match"));
        }
        if version != FORMAT_VERSION {
            return Err(StoreError::Version { file: file.to_owned(), found: version, supported: FORMAT_VERSION });
        }
        if FileKind::Items(header.file_number).name() != file {
            return Err(StoreError::corrupt(file, 0, format!("its header says it is file {}", header.file_number)));
        }
        Ok(header)
    }
}

/// Appends item `number`.
///
/// # Panics
/// When the item is 4 GiB long or longer: a command that could make one is refused long before.
pub(crate) fn encode_item(number: u64, item: &[u8], out: &mut Vec<u8>) {
    assert!(item.len() <= ITEM_BYTES_MAX, "an item of {} bytes does not fit an item file", item.len());
    let length = u32::try_from(item.len()).expect("just compared with the greatest u32");
    out.extend_from_slice(&(length + 1).to_le_bytes());
    out.extend_from_slice(&item_checksum(number, length, item).to_le_bytes());
    out.extend_from_slice(item);
}

fn item_checksum(number: u64, length: u32, item: &[u8]) -> u32 {
    let mut prefix = [0; 12];
    prefix[..8].copy_from_slice(&number.to_le_bytes());
    prefix[8..].copy_from_slice(&length.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&prefix), item)
}

/// The zeros to write at `offset` so that what follows starts in a sector of its own: none, or at least a frame
/// header's worth, so that a reader knows them for padding.
pub(crate) fn padding_at(offset: u64) -> usize {
    let sector = SECTOR_BYTES as u64;
    let used = usize::try_from(offset % sector).expect("a sector's length is a usize");
    match (SECTOR_BYTES - used) % SECTOR_BYTES {
        0 => 0,
        rest if rest < FRAME_HEADER_BYTES => rest + SECTOR_BYTES,
        rest => rest,
    }
}

/// Says that the item behind has number `next`, which is not the one after the last.
pub(crate) fn encode_gap(next: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&GAP.to_le_bytes());
    out.extend_from_slice(&gap_checksum(next).to_le_bytes());
    out.extend_from_slice(&next.to_le_bytes());
}

fn gap_checksum(next: u64) -> u32 {
    item_checksum(next, GAP, &[])
}

/// What a frame's header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// An item of so many bytes.
    Item { length: u32, checksum: u32 },
    /// A gap.
    Gap { checksum: u32 },
    /// Zeros up to the next sector.
    Padding { second_word: u32 },
}

impl Frame {
    /// Reads [`FRAME_HEADER_BYTES`].
    pub(crate) fn decode(mut header: &[u8]) -> Frame {
        let (length, checksum) = (header.get_u32_le(), header.get_u32_le());
        match length {
            0 => Frame::Padding { second_word: checksum },
            GAP => Frame::Gap { checksum },
            length => Frame::Item { length: length - 1, checksum },
        }
    }

    /// Bytes behind the header of a frame that starts at `offset`; nothing if none can be there.
    pub(crate) fn body_bytes(self, offset: u64) -> Option<usize> {
        match self {
            Frame::Item { length, .. } => usize::try_from(length).ok(),
            Frame::Gap { .. } => Some(GAP_BYTES),
            Frame::Padding { .. } => padding_at(offset).checked_sub(FRAME_HEADER_BYTES),
        }
    }

    /// Whether an item `number` with these bytes is what was written.
    pub(crate) fn is_item(self, number: u64, item: &[u8]) -> bool {
        matches!(self, Frame::Item { length, checksum } if item_checksum(number, length, item) == checksum)
    }

    /// The number that a gap names, if it is whole.
    pub(crate) fn gap_end(self, mut body: &[u8]) -> Option<u64> {
        let next = body.try_get_u64_le().ok()?;
        matches!(self, Frame::Gap { checksum } if gap_checksum(next) == checksum).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_ends_at_a_sector_and_has_room_for_a_frame_header() {
        for offset in 0..2048 {
            let padding = padding_at(offset);
            assert_eq!((offset + padding as u64) % SECTOR_BYTES as u64, 0);
            assert!(padding == 0 || (8..SECTOR_BYTES + 8).contains(&padding), "{padding} at {offset}");
            assert_eq!(padding == 0, offset % SECTOR_BYTES as u64 == 0);
        }
    }

    #[test]
    fn an_item_in_another_items_place_is_noticed() {
        let mut contents = Vec::new();
        encode_item(7, b"seven", &mut contents);
        let frame = Frame::decode(&contents[..FRAME_HEADER_BYTES]);
        assert_eq!(frame.body_bytes(0), Some(5));
        assert!(frame.is_item(7, b"seven"));
        assert!(!frame.is_item(8, b"seven") && !frame.is_item(7, b"Seven"));
    }

    #[test]
    fn a_gap_is_read_as_it_was_written_and_not_otherwise() {
        let mut contents = Vec::new();
        encode_gap(70, &mut contents);
        let (header, body) = contents.split_at(FRAME_HEADER_BYTES);
        let frame = Frame::decode(header);
        assert_eq!((frame.body_bytes(0), frame.gap_end(body)), (Some(GAP_BYTES), Some(70)));
        assert_eq!(frame.gap_end(&71u64.to_le_bytes()), None);
    }

    #[test]
    fn a_header_is_taken_only_under_its_own_name() {
        let header = Header { file_number: 3, first_item: 70, after_checkpoint: 2 };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(bytes.len(), HEADER_BYTES);
        let bytes = Bytes::from(bytes);
        assert_eq!(Header::decode("items-0000000000000003.rev", &bytes), Ok(header));
        assert!(Header::decode("items-0000000000000004.rev", &bytes).is_err());
    }
}
