//! The codec: a trait, a reader, and what can go wrong.

use bytes::{Buf, Bytes};
use thiserror::Error;

/// Why bytes could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// The input ended inside a value.
    #[error("the input ends inside {what}")]
    Truncated {
        /// The value that was being read.
        what: &'static str,
    },
    /// An enum's kind byte that this version does not know.
    #[error("unknown kind {kind} of {what}: written by a newer version?")]
    UnknownKind {
        /// The enum.
        what: &'static str,
        /// The byte found.
        kind: u8,
    },
    /// A number does not fit its field, or a text is not UTF-8.
    #[error("{what} is out of range or malformed")]
    Malformed {
        /// The field.
        what: &'static str,
    },
    /// Bytes are left after the value.
    #[error("{count} bytes are left over after the value")]
    Trailing {
        /// How many.
        count: usize,
    },
}

/// A value with one byte representation.
pub trait Wire: Sized {
    /// Appends the representation.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads one value and leaves the reader behind it.
    ///
    /// # Errors
    /// When the bytes are not a representation of this type. Never panics, whatever the bytes.
    fn decode(input: &mut Reader) -> Result<Self, WireError>;
}

/// A cursor over bytes that hands out slices of the same memory.
#[derive(Clone, Debug)]
pub struct Reader {
    rest: Bytes,
}

impl Reader {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Reader {
        Reader { rest: bytes }
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`WireError::Truncated`] at the end.
    pub fn byte(&mut self, what: &'static str) -> Result<u8, WireError> {
        if self.rest.is_empty() {
            return Err(WireError::Truncated { what });
        }
        Ok(self.rest.get_u8())
    }

    /// Takes a LEB128 number.
    ///
    /// # Errors
    /// Truncated, or longer than 64 bits.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::Malformed { what });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Malformed { what })
    }

    /// Takes a byte string with its length, sharing memory with the input.
    ///
    /// # Errors
    /// Truncated when the length passes the end.
    pub fn bytes(&mut self, what: &'static str) -> Result<Bytes, WireError> {
        let length = usize::try_from(self.u64(what)?).map_err(|_| WireError::Malformed { what })?;
        if length > self.rest.len() {
            return Err(WireError::Truncated { what });
        }
        Ok(self.rest.split_to(length))
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.rest)
    }
}

/// Appends a LEB128 number.
pub fn put_u64(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a byte string with its length.
pub fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_u64(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// The representation as one owned byte string.
pub fn encode_to_bytes<T: Wire>(value: &T) -> Bytes {
    let mut out = Vec::new();
    value.encode(&mut out);
    Bytes::from(out)
}

/// Decodes a value that must fill `bytes`.
///
/// # Errors
/// As [`Wire::decode`], and [`WireError::Trailing`] when bytes are left.
pub fn decode_exact<T: Wire>(bytes: Bytes) -> Result<T, WireError> {
    let mut reader = Reader::new(bytes);
    let value = T::decode(&mut reader)?;
    match reader.remaining() {
        0 => Ok(value),
        count => Err(WireError::Trailing { count }),
    }
}
