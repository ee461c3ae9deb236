//! What stands for a batch of commands in a recording, and in the replay of one.
//!
//! A protocol never looks into a batch; it counts its bytes. So a recording keeps of each its length and checksum, and a replay
//! hands the protocol a stand-in of that length which carries the checksum at its beginning: whatever the protocol does
//! with it, it can be told which batch it was.

use bytes::Bytes;
use quorate_wire::{Reader, Wire, WireError, put_u64};

/// A batch's length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchMark {
    /// In bytes.
    pub length: u64,
    /// CRC-32C of the batch; of one of less than four bytes, its last bytes are 0.
    pub checksum: u32,
}

/// Longer than any batch: a recording that claims more is damaged, and must not allocate.
const LENGTH_MAX: u64 = 1 << 30;

const CHECKSUM_BYTES: usize = 4;

impl BatchMark {
    /// Of a real batch.
    #[must_use]
    pub fn of(batch: &[u8]) -> BatchMark {
        BatchMark::carried(batch.len(), crc32c::crc32c(batch).to_le_bytes())
    }

    /// Of a stand-in, which carries it.
    #[must_use]
    pub fn of_stand_in(stand_in: &[u8]) -> BatchMark {
        let mut checksum = [0; CHECKSUM_BYTES];
        let carried = stand_in.len().min(CHECKSUM_BYTES);
        checksum[..carried].copy_from_slice(&stand_in[..carried]);
        BatchMark::carried(stand_in.len(), checksum)
    }

    /// What a stand-in of this length can carry of the checksum.
    fn carried(length: usize, mut checksum: [u8; CHECKSUM_BYTES]) -> BatchMark {
        checksum[length.min(CHECKSUM_BYTES)..].fill(0);
        BatchMark { length: length as u64, checksum: u32::from_le_bytes(checksum) }
    }

    /// What a replica is given in place of the batch.
    #[must_use]
    pub fn stand_in(&self) -> Bytes {
        let mut bytes = vec![0; usize::try_from(self.length).unwrap_or(0)];
        let carried = bytes.len().min(CHECKSUM_BYTES);
        bytes[..carried].copy_from_slice(&self.checksum.to_le_bytes()[..carried]);
        Bytes::from(bytes)
    }

    /// In the place of the batch, where a value is written that holds one.
    pub(crate) fn short_form(&self) -> Bytes {
        let mut out = Vec::with_capacity(8);
        self.encode(&mut out);
        Bytes::from(out)
    }

    /// The stand-in of a batch of which a short form was read.
    pub(crate) fn expand(short_form: Bytes) -> Result<Bytes, WireError> {
        let mut reader = Reader::new(short_form);
        let mark = BatchMark::decode(&mut reader)?;
        match reader.remaining() {
            0 => Ok(mark.stand_in()),
            count => Err(WireError::Trailing { count }),
        }
    }
}

impl Wire for BatchMark {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.checksum.to_le_bytes());
        put_u64(self.length, out);
    }
    fn decode(input: &mut Reader) -> Result<BatchMark, WireError> {
        let mut checksum = [0; CHECKSUM_BYTES];
        for byte in &mut checksum {
            *byte = input.byte("batch checksum")?;
        }
        let length = input.u64("batch length")?;
        if length > LENGTH_MAX {
            return Err(WireError::Malformed { what: "batch length" });
        }
        Ok(BatchMark { length, checksum: u32::from_le_bytes(checksum) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_has_the_length_of_the_batch_and_carries_its_checksum() {
        for batch in [&b""[..], b"a", b"abc", b"abcd", &[7; 1000]] {
            let mark = BatchMark::of(batch);
            let stand_in = mark.stand_in();
            assert_eq!(stand_in.len(), batch.len());
            assert_eq!(BatchMark::of_stand_in(&stand_in), mark);
            assert_eq!(BatchMark::expand(mark.short_form()), Ok(stand_in));
        }
    }

    #[test]
    fn a_length_that_no_batch_has_is_refused() {
        let lie = BatchMark { length: u64::MAX, checksum: 1 };
        assert_eq!(BatchMark::expand(lie.short_form()), Err(WireError::Malformed { what: "batch length" }));
    }
}
