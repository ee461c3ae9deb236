//! The bytes of a manifest.
//!
//! ```text
//! magic (8)  version (4)
//! number of this manifest, applied slot, item count, number of files    LEB128
//! per file: its number, first item, item behind its last, end offset,
//!           CRC-32C of the bytes before that                            LEB128,
//!           the runs of items that are there and are not, from the first with its length
//! meta, head                                                            each with its length
//! CRC-32C of everything before (4)
//! ```
//! The files are in the order of their items, which is not that of their numbers once some were rewritten. The manifest of an
//! image that came from elsewhere has that image's id for its number.

use crate::error::StoreError;
use bytes::{Buf, Bytes};
use quorate_types::Slot;
use quorate_wire::{Reader, WireError, put_bytes, put_u64};

const MAGIC: [u8; 8] = *b"QRTCHKPT";
const FORMAT_VERSION: u32 = 2;
const CHECKSUM_BYTES: usize = 4;

/// One item file, as far as a checkpoint vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileExtent {
    /// Which file.
    pub(crate) number: u64,
    /// The number of the first item in it.
    pub(crate) first_item: u64,
    /// One more than the number of the last item in it.
    pub(crate) next_item: u64,
    /// Bytes from its start that belong to the image.
    pub(crate) end: u64,
    /// CRC-32C of exactly these.
    pub(crate) checksum: u32,
}

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) number: u64,
    pub(crate) applied: Slot,
    pub(crate) item_count: u64,
    /// In the order of their items.
    pub(crate) files: Vec<FileExtent>,
    /// For each file, which of its items there are: see `presence.rs`.
    pub(crate) present: Vec<Bytes>,
    pub(crate) meta: Bytes,
    pub(crate) head: Bytes,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64 + self.files.len() * 16 + self.meta.len() + self.head.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        for number in [self.number, self.applied.0, self.item_count, self.files.len() as u64] {
            put_u64(number, &mut out);
        }
        for (file, runs) in self.files.iter().zip(&self.present) {
            for number in [file.number, file.first_item, file.next_item, file.end, u64::from(file.checksum)] {
                put_u64(number, &mut out);
            }
            put_bytes(runs, &mut out);
        }
        put_bytes(&self.meta, &mut out);
        put_bytes(&self.head, &mut out);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        Bytes::from(out)
    }

    /// Reads and checks a whole manifest. `file` is for the error.
    pub(crate) fn decode(file: &str, bytes: &Bytes) -> Result<Manifest, StoreError> {
        let Some(covered) = bytes.len().checked_sub(CHECKSUM_BYTES) else {
            return Err(StoreError::corrupt(file, 0, "the newest checkpoint is cut short"));
        };
        let mut body = bytes.slice(..covered);
        if crc32c::crc32c(&body) != bytes.slice(covered..).get_u32_le() {
            return Err(StoreError::corrupt(file, 0, "the newest checkpoint's checksum does not match"));
        }
        // The checksum is right, so what follows was written like this.
        if body.len() < MAGIC.len() + 4 || body.split_to(MAGIC.len()) != MAGIC[..] {
            return Err(StoreError::corrupt(file, 0, "it does not start as a checkpoint does"));
        }
        let version = body.get_u32_le();
        if version != FORMAT_VERSION {
            return Err(StoreError::Version { file: file.to_owned(), found: version, supported: FORMAT_VERSION });
        }
        let malformed = |error: WireError| StoreError::corrupt(file, 0, error.to_string());
        Manifest::decode_body(&mut Reader::new(body)).map_err(malformed)
    }

    fn decode_body(input: &mut Reader) -> Result<Manifest, WireError> {
        let number = input.u64("checkpoint number")?;
        let applied = Slot(input.u64("applied slot")?);
        let item_count = input.u64("item count")?;
        let file_count = input.u64("number of item files")?;
        let (mut files, mut present) = (Vec::new(), Vec::new());
        for _ in 0..file_count {
            let number = input.u64("number of a file")?;
            let first_item = input.u64("first item of a file")?;
            let next_item = input.u64("item behind a file's last")?;
            let end = input.u64("end of a file")?;
            let checksum = u32::try_from(input.u64("checksum of a file")?);
            let checksum = checksum.map_err(|_| WireError::Malformed { what: "checksum of a file" })?;
            files.push(FileExtent { number, first_item, next_item, end, checksum });
            present.push(input.bytes("items that are there")?);
        }
        let meta = input.bytes("meta")?;
        let head = input.bytes("head")?;
        match input.remaining() {
            0 => Ok(Manifest { number, applied, item_count, files, present, meta, head }),
            count => Err(WireError::Trailing { count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            number: 3,
            applied: Slot(300),
            item_count: 9,
            files: vec![
                FileExtent { number: 4, first_item: 0, next_item: 5, end: 1024, checksum: 0xdead_beef },
                FileExtent { number: 2, first_item: 7, next_item: 9, end: 512, checksum: 7 },
            ],
            present: vec![Bytes::new(), Bytes::from_static(&[1, 1])],
            meta: Bytes::from_static(b"meta"),
            head: Bytes::from_static(b"head"),
        }
    }

    fn with_checksum(mut body: Vec<u8>) -> Bytes {
        let checksum = crc32c::crc32c(&body);
        body.extend_from_slice(&checksum.to_le_bytes());
        Bytes::from(body)
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        assert_eq!(Manifest::decode("f", &manifest().encode()), Ok(manifest()));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let bytes = manifest().encode();
        for length in 0..bytes.len() {
            assert!(Manifest::decode("f", &bytes.slice(..length)).is_err(), "cut to {length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode("f", &Bytes::from(flipped)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn right_checksums_do_not_excuse_wrong_contents() {
        let body = manifest().encode();
        let body = &body[..body.len() - CHECKSUM_BYTES];
        for length in 0..body.len() {
            assert!(Manifest::decode("f", &with_checksum(body[..length].to_vec())).is_err(), "cut to {length}");
        }
        assert!(Manifest::decode("f", &with_checksum([body, &[0]].concat())).is_err());
    }

    #[test]
    fn another_release_is_named() {
        let body = manifest().encode();
        let mut body = body[..body.len() - CHECKSUM_BYTES].to_vec();
        body[8] = 9;
        let error = Manifest::decode("f", &with_checksum(body)).unwrap_err();
        assert_eq!(error, StoreError::Version { file: "f".into(), found: 9, supported: 2 });
    }
}
