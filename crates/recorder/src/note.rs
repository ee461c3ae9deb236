//! What a recording consists of: one note after the other.

use bytes::Bytes;
use quorate_protocol::{Input, Replica};
use quorate_types::Time;
use quorate_wire::{Reader, Wire, WireError, put_u64};

/// One note of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Note<R: Replica> {
    /// Both clocks, read at once.
    Clock(ClockReading),
    /// The replica was stepped.
    Step {
        /// Its clock.
        now: Time,
        /// What chance gave it.
        choices: Vec<u64>,
        /// What it was told. Batches in it are stand-ins.
        input: Input<R>,
    },
    /// The replica was settled.
    Settle {
        /// Its clock.
        now: Time,
        /// What chance gave it.
        choices: Vec<u64>,
    },
    /// What it said up to here since the last such note.
    Said(Digest),
    /// Something happened around the replica.
    Fact {
        /// When.
        at: Time,
        /// What.
        fact: Fact,
    },
    /// The batches in the next step, whole, in order. Only where values are recorded.
    Values(Vec<Bytes>),
    /// The segment ends here, and not because the process died.
    End(SegmentEnd),
}

/// Both clocks at one moment. Nothing but this connects recordings of several nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClockReading {
    /// The node's own clock.
    pub monotonic: Time,
    /// Nanoseconds since 1970.
    pub wall_ns: u64,
}

impl ClockReading {
    /// The wall-clock time of a moment near this reading.
    #[must_use]
    pub fn wall_at(&self, moment: Time) -> Time {
        let after = moment.0.saturating_sub(self.monotonic.0);
        let before = self.monotonic.0.saturating_sub(moment.0);
        Time(self.wall_ns.saturating_add(after).saturating_sub(before))
    }
}

impl Wire for ClockReading {
    fn encode(&self, out: &mut Vec<u8>) {
        self.monotonic.encode(out);
        self.wall_ns.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<ClockReading, WireError> {
        Ok(ClockReading { monotonic: Wire::decode(input)?, wall_ns: Wire::decode(input)? })
    }
}

/// What was said, short: enough to tell whether the same is said again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest {
    /// How many outputs.
    pub count: u64,
    /// CRC-32C over all of them.
    pub checksum: u32,
}

/// Why a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentEnd {
    /// It is full; the next one goes on where it ends.
    Full,
    /// The recorder could not keep up: so many calls are missing between this segment and the next.
    Lost {
        /// Calls of the replica and facts.
        notes: u64,
    },
    /// The node stopped.
    Stopped,
}

/// Which of a node's two directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordedLane {
    /// Everything waits for it.
    Journal,
    /// In the background.
    Store,
}

/// What happens around a replica and matters for understanding it. Not replayed: told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A durable write was handed to the disk.
    WriteBegun {
        /// Where.
        lane: RecordedLane,
        /// Names it.
        write: u64,
        /// How much, in bytes.
        bytes: u64,
    },
    /// It completed.
    WriteDone {
        /// Where.
        lane: RecordedLane,
        /// Names it.
        write: u64,
    },
    /// What clients asked and were answered since the last such fact.
    Clients(ClientCounts),
    /// What the disk has left, in bytes.
    FreeSpace(u64),
    /// The node ended itself, or was asked to.
    Stopped {
        /// In its words.
        why: String,
    },
}

/// Requests of clients and answers to them, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientCounts {
    /// Commands wanted applied.
    pub writes: u64,
    /// Questions.
    pub reads: u64,
    /// Answered with a result.
    pub answered: u64,
    /// Answered with an error.
    pub refused: u64,
}

impl ClientCounts {
    /// Whether anything was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == ClientCounts::default()
    }
}

impl Wire for Digest {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(self.count, out);
        out.extend_from_slice(&self.checksum.to_le_bytes());
    }
    fn decode(input: &mut Reader) -> Result<Digest, WireError> {
        let count = input.u64("outputs")?;
        let mut checksum = [0; 4];
        for byte in &mut checksum {
            *byte = input.byte("output checksum")?;
        }
        Ok(Digest { count, checksum: u32::from_le_bytes(checksum) })
    }
}

impl Wire for SegmentEnd {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            SegmentEnd::Full => out.push(0),
            SegmentEnd::Lost { notes } => {
                out.push(1);
                notes.encode(out);
            }
            SegmentEnd::Stopped => out.push(2),
        }
    }
    fn decode(input: &mut Reader) -> Result<SegmentEnd, WireError> {
        match input.byte("segment end")? {
            0 => Ok(SegmentEnd::Full),
            1 => Ok(SegmentEnd::Lost { notes: input.u64("lost notes")? }),
            2 => Ok(SegmentEnd::Stopped),
            kind => Err(WireError::UnknownKind { what: "segment end", kind }),
        }
    }
}

impl Wire for RecordedLane {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            RecordedLane::Journal => 0,
            RecordedLane::Store => 1,
        });
    }
    fn decode(input: &mut Reader) -> Result<RecordedLane, WireError> {
        match input.byte("lane")? {
            0 => Ok(RecordedLane::Journal),
            1 => Ok(RecordedLane::Store),
            kind => Err(WireError::UnknownKind { what: "lane", kind }),
        }
    }
}

impl Wire for Fact {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Fact::WriteBegun { lane, write, bytes } => {
                out.push(0);
                lane.encode(out);
                write.encode(out);
                bytes.encode(out);
            }
            Fact::WriteDone { lane, write } => {
                out.push(1);
                lane.encode(out);
                write.encode(out);
            }
            Fact::Clients(counts) => {
                out.push(2);
                for count in [counts.writes, counts.reads, counts.answered, counts.refused] {
                    count.encode(out);
                }
            }
            Fact::FreeSpace(bytes) => {
                out.push(3);
                bytes.encode(out);
            }
            Fact::Stopped { why } => {
                out.push(4);
                why.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Fact, WireError> {
        match input.byte("fact")? {
            0 => Ok(Fact::WriteBegun {
                lane: Wire::decode(input)?,
                write: Wire::decode(input)?,
                bytes: Wire::decode(input)?,
            }),
            1 => Ok(Fact::WriteDone { lane: Wire::decode(input)?, write: Wire::decode(input)? }),
            2 => Ok(Fact::Clients(ClientCounts {
                writes: Wire::decode(input)?,
                reads: Wire::decode(input)?,
                answered: Wire::decode(input)?,
                refused: Wire::decode(input)?,
            })),
            3 => Ok(Fact::FreeSpace(Wire::decode(input)?)),
            4 => Ok(Fact::Stopped { why: Wire::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "fact", kind }),
        }
    }
}
