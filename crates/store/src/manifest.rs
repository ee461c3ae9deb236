//! The format of manifests.

use crate::error::StoreError;
use bytes::Bytes;
use quorate_types::Slot;
use quorate_wire::{Reader, Wire, WireError, put_bytes, put_u64};

pub(crate) const DRAFT: &str = "checkpoint.new";
const MAGIC: [u8; 8] = *b"QRTCHKPT";
const VERSION: u32 = 1;
const PREFIX_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;

pub(crate) fn name(number: u64) -> String {
    format!("checkpoint-{number:016x}")
}

/// The number of a manifest, or `None` for any other name.
pub(crate) fn number(file: &str) -> Option<u64> {
    let digits = file.strip_prefix("checkpoint-")?;
    u64::from_str_radix(digits, 16).ok().filter(|number| name(*number) == file)
}

/// One item file as far as it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ItemFile {
    pub(crate) number: u64,
    pub(crate) first_item: u64,
    /// Bytes that count, header included.
    pub(crate) end: u64,
    /// CRC-32C of them.
    pub(crate) checksum: u32,
}

/// What a checkpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Manifest {
    pub(crate) number: u64,
    pub(crate) applied: Slot,
    pub(crate) item_count: u64,
    pub(crate) files: Vec<ItemFile>,
    pub(crate) meta: Bytes,
    pub(crate) head: Bytes,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.meta.len() + self.head.len() + 64 + self.files.len() * 32);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        put_u64(self.number, &mut out);
        self.applied.encode(&mut out);
        put_u64(self.item_count, &mut out);
        put_u64(self.files.len() as u64, &mut out);
        for file in &self.files {
            put_u64(file.number, &mut out);
            put_u64(file.first_item, &mut out);
            put_u64(file.end, &mut out);
            put_u64(u64::from(file.checksum), &mut out);
        }
        put_bytes(&self.meta, &mut out);
        put_bytes(&self.head, &mut out);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        Bytes::from(out)
    }

    /// Reads the manifest of this number.
    pub(crate) fn decode(number: u64, content: &Bytes) -> Result<Manifest, StoreError> {
        let file = name(number);
        let corrupt = |what| StoreError::Corrupt { file: name(number), offset: 0, what };
        if content.len() < PREFIX_BYTES + CHECKSUM_BYTES {
            return Err(corrupt("the checkpoint is cut off"));
        }
        let (body, checksum) = content.split_at(content.len() - CHECKSUM_BYTES);
        if body[..8] != MAGIC || crc32c::crc32c(body).to_le_bytes() != checksum {
            return Err(corrupt("the checkpoint's checksum does not match"));
        }
        let version = u32::from_le_bytes([body[8], body[9], body[10], body[11]]);
        if version != VERSION {
            return Err(StoreError::UnknownVersion { file, version, known: VERSION });
        }
        let mut reader = Reader::new(content.slice(PREFIX_BYTES..body.len()));
        match Manifest::decode_fields(&mut reader) {
            Ok(manifest) if manifest.number == number && reader.remaining() == 0 => Ok(manifest),
            Ok(_) => Err(corrupt("the checkpoint is not this file's")),
            Err(_) => Err(corrupt("the checkpoint cannot be decoded")),
        }
    }

    fn decode_fields(input: &mut Reader) -> Result<Manifest, WireError> {
        let number = input.u64("checkpoint number")?;
        let applied = Slot::decode(input)?;
        let item_count = input.u64("item count")?;
        let mut files = Vec::new();
        for _ in 0..input.u64("file count")? {
            files.push(ItemFile {
                number: input.u64("file number")?,
                first_item: input.u64("first item")?,
                end: input.u64("file end")?,
                checksum: u32::try_from(input.u64("file checksum")?)
                    .map_err(|_| WireError::Malformed { what: "file checksum" })?,
            });
        }
        Ok(Manifest { number, applied, item_count, files, meta: Bytes::decode(input)?, head: Bytes::decode(input)? })
    }
}
