//! Commands, and their bytes.

use crate::alarm::AlarmRequest;
use crate::error::KeyspaceError;
use crate::lease_request::{LEASE_TTL_SECONDS_MAX, LeaseCheckpoint, LogPlace};
use crate::txn_request::{TxnRequest, decode_list};
use bytes::Bytes;
use quorate_wire::{Reader, Wire, WireError, put_u64};

const KIND_PUT: u8 = 1;
const KIND_DELETE_RANGE: u8 = 2;
const KIND_TXN: u8 = 3;
const KIND_COMPACT: u8 = 4;
const KIND_LEASE_GRANT: u8 = 5;
const KIND_LEASE_REVOKE: u8 = 6;
/// Of before ends named a renewal.
const KIND_LEASE_EXPIRE_WHATEVER: u8 = 7;
const KIND_LEASE_CHECKPOINT: u8 = 8;
const KIND_ALARM: u8 = 9;
const KIND_LEASE_EXPIRE: u8 = 10;

const FLAG_PREV_KV: u8 = 1;
const FLAG_IGNORE_VALUE: u8 = 2;
const FLAG_IGNORE_LEASE: u8 = 4;

/// A command: what goes through the log as a payload. Queries never do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Write one key. Answered with [`crate::Reply::Put`].
    Put(PutRequest),
    /// Delete the keys of a range. Answered with [`crate::Reply::Delete`].
    DeleteRange(DeleteRangeRequest),
    /// Compare, then do several things at once. Answered with [`crate::Reply::Txn`].
    Txn(TxnRequest),
    /// Forget what can only be read below this revision. Answered with [`crate::Reply::Compacted`].
    Compact {
        /// The least main revision that stays readable.
        revision: i64,
    },
    /// Make a lease. Answered with [`crate::Reply::LeaseGranted`].
    LeaseGrant {
        /// Not 0. Who proposes it picks a free one if the client left it open.
        id: i64,
        /// Its time to live. Who proposes it has raised it to the cluster's minimum; below 1 it is taken for 1.
        ttl_seconds: i64,
    },
    /// End a lease and delete its keys. Answered with [`crate::Reply::LeaseRevoked`].
    LeaseRevoke {
        /// The lease.
        id: i64,
    },
    /// The leader says that a lease's time is over. Answered with [`crate::Reply::LeaseExpired`].
    LeaseExpire {
        /// The lease.
        id: i64,
        /// The grant it speaks of: a later one of the same id lives on.
        incarnation: LogPlace,
        /// The last renewal in the log that its proposer knew: one that was logged behind it is not undone. None in logs of before there was
        /// this field: whatever was renewed.
        renewal: Option<LogPlace>,
    },
    /// The leader says how much time leases have left. Answered with [`crate::Reply::LeaseCheckpointed`].
    LeaseCheckpoint(Vec<LeaseCheckpoint>),
    /// Raise or clear an alarm. Answered with [`crate::Reply::Alarms`].
    Alarm(AlarmRequest),
}

/// etcd's `PutRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PutRequest {
    /// Not empty.
    pub key: Bytes,
    /// May be empty.
    pub value: Bytes,
    /// The lease the key is attached to from now on; 0 detaches it.
    pub lease: i64,
    /// Answer the pair as it was before.
    pub prev_kv: bool,
    /// Keep the present value; `value` must be empty and the key must exist.
    pub ignore_value: bool,
    /// Keep the present lease; `lease` must be 0 and the key must exist.
    pub ignore_lease: bool,
}

/// etcd's `DeleteRangeRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeleteRangeRequest {
    /// Not empty.
    pub key: Bytes,
    /// As in [`crate::RangeRequest::range_end`].
    pub range_end: Bytes,
    /// Answer the pairs as they were before.
    pub prev_kv: bool,
}

impl Request {
    /// Whether it may make the state grow, so that it is refused while space is short.
    #[must_use]
    pub fn grows(&self) -> bool {
        match self {
            Request::Put(_) | Request::LeaseGrant { .. } => true,
            Request::Txn(txn) => txn.may_put(),
            _ => false,
        }
    }

    /// Checks what can be checked without a state, so that a server need not propose what every replica would refuse.
    /// Applying checks it again. For the bound on a transaction's operations, which only a server knows, see
    /// [`TxnRequest::check`].
    ///
    /// # Errors
    /// Empty key; value or lease given although it is to be kept; a key that a transaction writes twice; a time to live
    /// over [`LEASE_TTL_SECONDS_MAX`]; lease id 0.
    pub fn check(&self) -> Result<(), KeyspaceError> {
        match self {
            Request::Put(put) => put.check(),
            Request::DeleteRange(delete) => delete.check(),
            Request::Txn(txn) => txn.check_unbounded(),
            Request::LeaseGrant { id: 0, .. } => Err(KeyspaceError::LeaseNotFound),
            Request::LeaseGrant { ttl_seconds, .. } if *ttl_seconds > LEASE_TTL_SECONDS_MAX => {
                Err(KeyspaceError::LeaseTtlTooLarge)
            }
            Request::LeaseGrant { .. }
            | Request::Compact { .. }
            | Request::LeaseRevoke { .. }
            | Request::LeaseExpire { .. }
            | Request::LeaseCheckpoint(_)
            | Request::Alarm(_) => Ok(()),
        }
    }
}

impl PutRequest {
    pub(crate) fn check(&self) -> Result<(), KeyspaceError> {
        if self.key.is_empty() {
            return Err(KeyspaceError::KeyNotProvided);
        }
        if self.ignore_value && !self.value.is_empty() {
            return Err(KeyspaceError::ValueProvided);
        }
        if self.ignore_lease && self.lease != 0 {
            return Err(KeyspaceError::LeaseProvided);
        }
        Ok(())
    }

    fn flags(&self) -> u8 {
        let mut flags = if self.prev_kv { FLAG_PREV_KV } else { 0 };
        if self.ignore_value {
            flags |= FLAG_IGNORE_VALUE;
        }
        if self.ignore_lease {
            flags |= FLAG_IGNORE_LEASE;
        }
        flags
    }
}

impl Wire for PutRequest {
    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.key.len() + self.value.len() + 32);
        out.push(self.flags());
        self.key.encode(out);
        self.value.encode(out);
        put_u64(self.lease.cast_unsigned(), out);
    }

    fn decode(input: &mut Reader) -> Result<PutRequest, WireError> {
        let flags = decode_flags("put flags", FLAG_PREV_KV | FLAG_IGNORE_VALUE | FLAG_IGNORE_LEASE, input)?;
        Ok(PutRequest {
            key: input.bytes("put key")?,
            value: input.bytes("put value")?,
            // Leases are any 64 bits, negative ones included.
            lease: input.u64("put lease")?.cast_signed(),
            prev_kv: flags & FLAG_PREV_KV != 0,
            ignore_value: flags & FLAG_IGNORE_VALUE != 0,
            ignore_lease: flags & FLAG_IGNORE_LEASE != 0,
        })
    }
}

impl DeleteRangeRequest {
    pub(crate) fn check(&self) -> Result<(), KeyspaceError> {
        if self.key.is_empty() { Err(KeyspaceError::KeyNotProvided) } else { Ok(()) }
    }
}

impl Wire for DeleteRangeRequest {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(if self.prev_kv { FLAG_PREV_KV } else { 0 });
        self.key.encode(out);
        self.range_end.encode(out);
    }

    fn decode(input: &mut Reader) -> Result<DeleteRangeRequest, WireError> {
        let flags = decode_flags("delete flags", FLAG_PREV_KV, input)?;
        Ok(DeleteRangeRequest {
            key: input.bytes("delete key")?,
            range_end: input.bytes("delete range end")?,
            prev_kv: flags & FLAG_PREV_KV != 0,
        })
    }
}

/// A flag this version does not know may change the meaning, so it is refused and not ignored.
pub(crate) fn decode_flags(what: &'static str, known: u8, input: &mut Reader) -> Result<u8, WireError> {
    let flags = input.byte(what)?;
    if flags & !known == 0 { Ok(flags) } else { Err(WireError::Malformed { what }) }
}

impl Wire for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        let put_signed = |number: &i64, out: &mut Vec<u8>| put_u64(number.cast_unsigned(), out);
        match self {
            Request::Put(put) => {
                out.push(KIND_PUT);
                put.encode(out);
            }
            Request::DeleteRange(delete) => {
                out.push(KIND_DELETE_RANGE);
                delete.encode(out);
            }
            Request::Txn(txn) => {
                out.push(KIND_TXN);
                txn.encode(out);
            }
            Request::Compact { revision } => {
                out.push(KIND_COMPACT);
                put_signed(revision, out);
            }
            Request::LeaseGrant { id, ttl_seconds } => {
                out.push(KIND_LEASE_GRANT);
                put_signed(id, out);
                put_signed(ttl_seconds, out);
            }
            Request::LeaseRevoke { id } => {
                out.push(KIND_LEASE_REVOKE);
                put_signed(id, out);
            }
            Request::LeaseExpire { id, incarnation, renewal } => {
                out.push(if renewal.is_some() { KIND_LEASE_EXPIRE } else { KIND_LEASE_EXPIRE_WHATEVER });
                put_signed(id, out);
                incarnation.encode(out);
                renewal.iter().for_each(|renewal| renewal.encode(out));
            }
            Request::LeaseCheckpoint(checkpoints) => {
                out.push(KIND_LEASE_CHECKPOINT);
                put_u64(checkpoints.len() as u64, out);
                checkpoints.iter().for_each(|checkpoint| checkpoint.encode(out));
            }
            Request::Alarm(alarm) => {
                out.push(KIND_ALARM);
                alarm.encode(out);
            }
        }
    }

    fn decode(input: &mut Reader) -> Result<Request, WireError> {
        match input.byte("request kind")? {
            KIND_PUT => Ok(Request::Put(PutRequest::decode(input)?)),
            KIND_DELETE_RANGE => Ok(Request::DeleteRange(DeleteRangeRequest::decode(input)?)),
            KIND_TXN => Ok(Request::Txn(TxnRequest::decode(input)?)),
            KIND_COMPACT => Ok(Request::Compact { revision: input.u64("compact revision")?.cast_signed() }),
            KIND_LEASE_GRANT => Ok(Request::LeaseGrant {
                id: input.u64("lease id")?.cast_signed(),
                ttl_seconds: input.u64("time to live")?.cast_signed(),
            }),
            KIND_LEASE_REVOKE => Ok(Request::LeaseRevoke { id: input.u64("lease id")?.cast_signed() }),
            kind @ (KIND_LEASE_EXPIRE | KIND_LEASE_EXPIRE_WHATEVER) => Ok(Request::LeaseExpire {
                id: input.u64("lease id")?.cast_signed(),
                incarnation: LogPlace::decode(input)?,
                renewal: if kind == KIND_LEASE_EXPIRE { Some(LogPlace::decode(input)?) } else { None },
            }),
            KIND_LEASE_CHECKPOINT => {
                Ok(Request::LeaseCheckpoint(decode_list(input, "checkpoints", LeaseCheckpoint::decode)?))
            }
            KIND_ALARM => Ok(Request::Alarm(AlarmRequest::decode(input)?)),
            kind => Err(WireError::UnknownKind { what: "request", kind }),
        }
    }
}
