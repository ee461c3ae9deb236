//! The format of item files.

use crate::error::StoreError;
use bytes::Bytes;

pub(crate) const HEADER_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"QRTITEMS";
const VERSION: u32 = 1;
/// Length and checksum before each item.
const ITEM_PREFIX_BYTES: usize = 8;

pub(crate) fn name(number: u64) -> String {
    format!("items-{number:016x}.rev")
}

/// The number of an item file, or `None` for any other name.
pub(crate) fn number(file: &str) -> Option<u64> {
    let digits = file.strip_prefix("items-")?.strip_suffix(".rev")?;
    u64::from_str_radix(digits, 16).ok().filter(|number| name(*number) == file)
}

/// Magic, version, file number, first item, checksum.
pub(crate) fn header(number: u64, first_item: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..20].copy_from_slice(&number.to_le_bytes());
    header[20..28].copy_from_slice(&first_item.to_le_bytes());
    let checksum = crc32c::crc32c(&header[..28]);
    header[28..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The checksum covers the item's number, so that an item in another's place is noticed.
fn item_checksum(item: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&item.to_le_bytes()), bytes)
}

/// Appends one item.
///
/// # Panics
/// When an item is 4 GiB or longer; commands are bounded far below.
pub(crate) fn push_item(item: u64, bytes: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len()).expect("items are bounded far below 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&item_checksum(item, bytes).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Reads the items of one file's durable part, `content`, which begins with the header.
pub(crate) fn read_items(
    number: u64,
    first_item: u64,
    content: &Bytes,
    items: &mut Vec<Bytes>,
) -> Result<u64, StoreError> {
    let file = name(number);
    let corrupt = |offset: usize, what| StoreError::Corrupt { file: file.clone(), offset: offset as u64, what };
    let Some(found) = content.get(..HEADER_BYTES) else { return Err(corrupt(0, "the header is cut off")) };
    let version = u32_at(found, 8);
    let is_ours = found[..8] == MAGIC && crc32c::crc32c(&found[..28]) == u32_at(found, 28);
    if is_ours && version != VERSION {
        return Err(StoreError::UnknownVersion { file, version, known: VERSION });
    }
    if found != header(number, first_item) {
        return Err(corrupt(0, "the header is not this file's"));
    }
    let mut at = HEADER_BYTES;
    let mut item = first_item;
    while at < content.len() {
        let Some(prefix) = content.get(at..at + ITEM_PREFIX_BYTES) else {
            return Err(corrupt(at, "an item is cut off"));
        };
        let length = u32_at(prefix, 0) as usize;
        let start = at + ITEM_PREFIX_BYTES;
        if length > content.len() - start {
            return Err(corrupt(at, "an item is longer than its file"));
        }
        let bytes = content.slice(start..start + length);
        if item_checksum(item, &bytes) != u32_at(prefix, 4) {
            return Err(corrupt(at, "an item's checksum does not match"));
        }
        items.push(bytes);
        at = start + length;
        item += 1;
    }
    Ok(item)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}
