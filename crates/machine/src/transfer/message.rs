//! What the two sides of a transfer say.

use bytes::Bytes;
use quorate_types::Slot;
use quorate_wire::{Reader, Wire, WireError};

/// What a transfer carries, in short.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransferHeader {
    /// The sending replica's description of the prefix, in its own codec.
    pub anchor: Bytes,
    /// The last slot of the prefix.
    pub applied: Slot,
    /// The machine's rolling hash behind it.
    pub digest: u64,
    /// How many items the state counts, dropped ones included.
    pub item_count: u64,
}

impl Wire for TransferHeader {
    fn encode(&self, out: &mut Vec<u8>) {
        self.anchor.encode(out);
        self.applied.encode(out);
        self.digest.encode(out);
        self.item_count.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(TransferHeader {
            anchor: Bytes::decode(input)?,
            applied: Slot::decode(input)?,
            digest: input.u64("image digest")?,
            item_count: input.u64("item count")?,
        })
    }
}

/// How a transfer ended at its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferEnd {
    /// The receiver's state holds everything in it, durably.
    Installed,
    /// The receiver is busy with another, cannot read it, or its replica does not want it.
    Refused,
}

/// Between the two sides of a transfer, which its sender's name and number name. Nothing needs to be durable first, but
/// that `Ended{Installed}` is said of what is durable. Any of these may be lost, repeated or late.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TransferMessage {
    /// Sender to receiver: this is what comes. Repeated while nothing is heard.
    Begin {
        /// The sender's number for it, never used twice.
        number: u64,
        /// What it is.
        header: TransferHeader,
    },
    /// Sender to receiver: a piece of the stream.
    Chunk {
        /// The sender's number for it.
        number: u64,
        /// Where in the stream it belongs.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
        /// CRC-32C of the whole stream up to the end of this piece.
        checksum: u32,
        /// Nothing follows.
        is_last: bool,
    },
    /// Sender to receiver: it will not be completed.
    Stopped {
        /// The sender's number for it.
        number: u64,
    },
    /// Receiver to sender: everything before this offset is here.
    Received {
        /// The sender's number for it.
        number: u64,
        /// So many bytes.
        offset: u64,
    },
    /// Receiver to sender: I know nothing of it. Begin again.
    Forgotten {
        /// The sender's number for it.
        number: u64,
    },
    /// Receiver to sender: over.
    Ended {
        /// The sender's number for it.
        number: u64,
        /// How.
        end: TransferEnd,
    },
}

impl TransferMessage {
    /// What it is called in scenarios and traces.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            TransferMessage::Begin { .. } => "transfer-begin",
            TransferMessage::Chunk { .. } => "transfer-chunk",
            TransferMessage::Stopped { .. } => "transfer-stopped",
            TransferMessage::Received { .. } => "transfer-received",
            TransferMessage::Forgotten { .. } => "transfer-forgotten",
            TransferMessage::Ended { .. } => "transfer-ended",
        }
    }
}

impl Wire for TransferMessage {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            TransferMessage::Begin { number, header } => {
                out.push(0);
                number.encode(out);
                header.encode(out);
            }
            TransferMessage::Chunk { number, offset, bytes, checksum, is_last } => {
                out.push(1);
                number.encode(out);
                offset.encode(out);
                bytes.encode(out);
                u64::from(*checksum).encode(out);
                u64::from(*is_last).encode(out);
            }
            TransferMessage::Stopped { number } => {
                out.push(2);
                number.encode(out);
            }
            TransferMessage::Received { number, offset } => {
                out.push(3);
                number.encode(out);
                offset.encode(out);
            }
            TransferMessage::Forgotten { number } => {
                out.push(4);
                number.encode(out);
            }
            TransferMessage::Ended { number, end } => {
                out.push(5);
                number.encode(out);
                u64::from(*end == TransferEnd::Installed).encode(out);
            }
        }
    }

    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        let kind = input.byte("transfer message")?;
        let number = input.u64("transfer number")?;
        match kind {
            0 => Ok(TransferMessage::Begin { number, header: TransferHeader::decode(input)? }),
            1 => Ok(TransferMessage::Chunk {
                number,
                offset: input.u64("chunk offset")?,
                bytes: Bytes::decode(input)?,
                checksum: u32::try_from(input.u64("chunk checksum")?)
                    .map_err(|_| WireError::Malformed { what: "chunk checksum" })?,
                is_last: flag(input, "last chunk")?,
            }),
            2 => Ok(TransferMessage::Stopped { number }),
            3 => Ok(TransferMessage::Received { number, offset: input.u64("received offset")? }),
            4 => Ok(TransferMessage::Forgotten { number }),
            5 => {
                let installed = flag(input, "transfer end")?;
                let end = if installed { TransferEnd::Installed } else { TransferEnd::Refused };
                Ok(TransferMessage::Ended { number, end })
            }
            kind => Err(WireError::UnknownKind { what: "transfer message", kind }),
        }
    }
}

fn flag(input: &mut Reader, what: &'static str) -> Result<bool, WireError> {
    match input.u64(what)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireError::Malformed { what }),
    }
}
