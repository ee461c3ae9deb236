//! What is asked of leases: commands that go through the log, and errands that only the leader's memory can answer.

use quorate_types::Slot;
use quorate_wire::{Reader, Wire, WireError, put_u64};

/// The greatest time to live that etcd grants, in seconds.
pub const LEASE_TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// Where a command stands in the decided order: unlike an id that a client chose, it never comes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPlace {
    /// Its slot.
    pub slot: Slot,
    /// Its place within the slot's batch, from 0.
    pub index: u32,
}

impl Wire for LogPlace {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(self.slot.0, out);
        put_u64(u64::from(self.index), out);
    }

    fn decode(input: &mut Reader) -> Result<LogPlace, WireError> {
        let slot = Slot(input.u64("slot")?);
        let index = input.u64("index in the slot")?;
        let index = u32::try_from(index).map_err(|_| WireError::Malformed { what: "index in the slot" })?;
        Ok(LogPlace { slot, index })
    }
}

/// The leader's word on how much time a lease has left, for the next leader to begin with. It does nothing if that grant is
/// gone, or if the lease was renewed through the log since `renewal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseCheckpoint {
    /// The lease.
    pub id: i64,
    /// The grant.
    pub incarnation: LogPlace,
    /// The last renewal in the log that the proposer knew: the grant itself, or the last checkpoint that cleared.
    pub renewal: LogPlace,
    /// What is left, in milliseconds. `None` clears: all of it, for the lease was renewed.
    pub remaining_ms: Option<u64>,
}

impl Wire for LeaseCheckpoint {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(self.id.cast_unsigned(), out);
        self.incarnation.encode(out);
        self.renewal.encode(out);
        encode_remaining(self.remaining_ms, out);
    }

    fn decode(input: &mut Reader) -> Result<LeaseCheckpoint, WireError> {
        Ok(LeaseCheckpoint {
            id: input.u64("lease id")?.cast_signed(),
            incarnation: LogPlace::decode(input)?,
            renewal: LogPlace::decode(input)?,
            remaining_ms: decode_remaining(input)?,
        })
    }
}

pub(crate) fn encode_remaining(remaining_ms: Option<u64>, out: &mut Vec<u8>) {
    match remaining_ms {
        None => out.push(0),
        Some(remaining_ms) => {
            out.push(1);
            put_u64(remaining_ms, out);
        }
    }
}

pub(crate) fn decode_remaining(input: &mut Reader) -> Result<Option<u64>, WireError> {
    match input.byte("remaining time's presence")? {
        0 => Ok(None),
        1 => Ok(Some(input.u64("remaining time")?)),
        kind => Err(WireError::UnknownKind { what: "remaining time's presence", kind }),
    }
}

/// What a client asks about a lease that is not in the log. It travels to the leader as opaque bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseErrand {
    /// Renew it. Answered with [`LeaseAnswer::Renewed`] or [`LeaseAnswer::Unknown`].
    KeepAlive {
        /// The lease.
        id: i64,
    },
    /// How long has it? Answered with [`LeaseAnswer::Remaining`] or [`LeaseAnswer::Unknown`].
    TimeToLive {
        /// The lease.
        id: i64,
    },
}

impl Wire for LeaseErrand {
    fn encode(&self, out: &mut Vec<u8>) {
        let (kind, id) = match self {
            LeaseErrand::KeepAlive { id } => (1, id),
            LeaseErrand::TimeToLive { id } => (2, id),
        };
        out.push(kind);
        put_u64(id.cast_unsigned(), out);
    }

    fn decode(input: &mut Reader) -> Result<LeaseErrand, WireError> {
        let kind = input.byte("lease errand kind")?;
        let id = input.u64("lease id")?.cast_signed();
        match kind {
            1 => Ok(LeaseErrand::KeepAlive { id }),
            2 => Ok(LeaseErrand::TimeToLive { id }),
            kind => Err(WireError::UnknownKind { what: "lease errand", kind }),
        }
    }
}

/// What the leader answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseAnswer {
    /// There is no such lease, or its end is settled: etcd's TTL 0 for a renewal and TTL -1 for a question.
    Unknown,
    /// It has its full time again, counted from when the errand reached the leader.
    Renewed {
        /// The time to live, in seconds.
        ttl_seconds: i64,
    },
    /// It lives.
    Remaining {
        /// Full seconds left.
        remaining_seconds: i64,
        /// The time to live, in seconds.
        granted_seconds: i64,
    },
    /// The errand's bytes are none of this version.
    Malformed,
}

impl Wire for LeaseAnswer {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            LeaseAnswer::Unknown => out.push(1),
            LeaseAnswer::Renewed { ttl_seconds } => {
                out.push(2);
                put_u64(ttl_seconds.cast_unsigned(), out);
            }
            LeaseAnswer::Remaining { remaining_seconds, granted_seconds } => {
                out.push(3);
                put_u64(remaining_seconds.cast_unsigned(), out);
                put_u64(granted_seconds.cast_unsigned(), out);
            }
            LeaseAnswer::Malformed => out.push(4),
        }
    }

    fn decode(input: &mut Reader) -> Result<LeaseAnswer, WireError> {
        match input.byte("lease answer kind")? {
            1 => Ok(LeaseAnswer::Unknown),
            2 => Ok(LeaseAnswer::Renewed { ttl_seconds: input.u64("time to live")?.cast_signed() }),
            3 => Ok(LeaseAnswer::Remaining {
                remaining_seconds: input.u64("remaining time")?.cast_signed(),
                granted_seconds: input.u64("time to live")?.cast_signed(),
            }),
            4 => Ok(LeaseAnswer::Malformed),
            kind => Err(WireError::UnknownKind { what: "lease answer", kind }),
        }
    }
}
