//! What is asked of a keyspace and what it answers, and the bytes of requests.

use crate::error::KeyspaceError;
use bytes::Bytes;
use quorate_wire::{Reader, Wire, WireError, put_u64};

const KIND_PUT: u8 = 1;
const KIND_DELETE_RANGE: u8 = 2;

const FLAG_PREV_KV: u8 = 1;
const FLAG_IGNORE_VALUE: u8 = 2;
const FLAG_IGNORE_LEASE: u8 = 4;

/// A command: what goes through the log as a payload. Queries never do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Write one key.
    Put(PutRequest),
    /// Delete the keys of a range.
    DeleteRange(DeleteRangeRequest),
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
    /// As in [`RangeRequest::range_end`].
    pub range_end: Bytes,
    /// Answer the pairs as they were before.
    pub prev_kv: bool,
}

/// A question that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// The pairs of a range.
    Range(RangeRequest),
    /// The store's current revision.
    Revision,
}

/// etcd's `RangeRequest`, with its defaults: a fresh one with a key asks for that key now.
///
/// `serializable` is not here: whether this replica's state is fresh enough is decided before it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RangeRequest {
    /// The first key; not empty.
    pub key: Bytes,
    /// Empty: `key` alone. One zero byte: every key from `key` on. Else: keys from `key` up to but without this one,
    /// none if it is not greater.
    pub range_end: Bytes,
    /// At most this many pairs, after filters and sorting; 0 or less for all.
    pub limit: i64,
    /// As of this main revision; 0 or less for now.
    pub revision: i64,
    /// In which direction.
    pub sort_order: SortOrder,
    /// By what.
    pub sort_target: SortTarget,
    /// Leave the values out.
    pub keys_only: bool,
    /// Answer the count and no pairs.
    pub count_only: bool,
    /// Leave out pairs last written before this revision; 0 for no bound.
    pub min_mod_revision: i64,
    /// Leave out pairs last written after this revision; 0 for no bound.
    pub max_mod_revision: i64,
    /// Leave out pairs created before this revision; 0 for no bound.
    pub min_create_revision: i64,
    /// Leave out pairs created after this revision; 0 for no bound.
    pub max_create_revision: i64,
}

/// Direction of sorting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SortOrder {
    /// Not asked for: the same as ascending, since etcd 3.4 for every target.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Greatest first.
    Descend,
}

impl TryFrom<i32> for SortOrder {
    type Error = KeyspaceError;

    /// From etcd's number.
    fn try_from(number: i32) -> Result<SortOrder, KeyspaceError> {
        match number {
            0 => Ok(SortOrder::None),
            1 => Ok(SortOrder::Ascend),
            2 => Ok(SortOrder::Descend),
            _ => Err(KeyspaceError::InvalidSortOption),
        }
    }
}

/// What to sort by. Equal ones stand in ascending order of key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SortTarget {
    /// The key's bytes.
    #[default]
    Key,
    /// How often it was put since it was created.
    Version,
    /// Its create revision.
    Create,
    /// Its mod revision.
    Mod,
    /// The value's bytes.
    Value,
}

impl TryFrom<i32> for SortTarget {
    type Error = KeyspaceError;

    /// From etcd's number.
    fn try_from(number: i32) -> Result<SortTarget, KeyspaceError> {
        match number {
            0 => Ok(SortTarget::Key),
            1 => Ok(SortTarget::Version),
            2 => Ok(SortTarget::Create),
            3 => Ok(SortTarget::Mod),
            4 => Ok(SortTarget::Value),
            _ => Err(KeyspaceError::InvalidSortOption),
        }
    }
}

/// etcd's `mvccpb.KeyValue`: a live key as of some revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty if it was not asked for.
    pub value: Bytes,
    /// The write that created it.
    pub create_revision: i64,
    /// The write that last put it.
    pub mod_revision: i64,
    /// Puts since it was created, that one included.
    pub version: i64,
    /// The lease it is attached to; 0 for none.
    pub lease: i64,
}

/// What commands and queries answer. Keys and values share the keyspace's memory, so a reply that is kept for long
/// keeps the chunk of history alive that it points into (about a megabyte at most).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The put was done.
    Put {
        /// Its main revision.
        revision: i64,
        /// The pair before, if asked for and there was one.
        prev_kv: Option<KeyValue>,
    },
    /// The delete was done.
    Delete {
        /// Its main revision; the store's current one if it deleted nothing.
        revision: i64,
        /// How many keys it deleted.
        deleted: i64,
        /// The pairs before, in order of key, if asked for.
        prev_kvs: Vec<KeyValue>,
    },
    /// The pairs of a range.
    Range {
        /// The store's current revision, whatever revision was asked for.
        revision: i64,
        /// The pairs, filtered, sorted and cut.
        kvs: Vec<KeyValue>,
        /// The limit cut some off.
        more: bool,
        /// Keys in the range at the asked revision, before filters and limit.
        count: i64,
    },
    /// The store's revision.
    Revision {
        /// The main revision of the last write.
        revision: i64,
    },
    /// Refused; nothing has changed.
    Error(KeyspaceError),
}

impl Request {
    /// Checks what can be checked without a state, so that a server need not propose what every replica would refuse.
    /// Applying checks it again.
    ///
    /// # Errors
    /// Empty key; value or lease given although it is to be kept.
    pub fn check(&self) -> Result<(), KeyspaceError> {
        match self {
            Request::Put(put) => put.check(),
            Request::DeleteRange(delete) => delete.check(),
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

    fn decode(input: &mut Reader) -> Result<PutRequest, WireError> {
        let flags = flags("put flags", FLAG_PREV_KV | FLAG_IGNORE_VALUE | FLAG_IGNORE_LEASE, input)?;
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

    fn decode(input: &mut Reader) -> Result<DeleteRangeRequest, WireError> {
        let flags = flags("delete flags", FLAG_PREV_KV, input)?;
        Ok(DeleteRangeRequest {
            key: input.bytes("delete key")?,
            range_end: input.bytes("delete range end")?,
            prev_kv: flags & FLAG_PREV_KV != 0,
        })
    }
}

/// A flag this version does not know may change the meaning, so it is refused and not ignored.
fn flags(what: &'static str, known: u8, input: &mut Reader) -> Result<u8, WireError> {
    let flags = input.byte(what)?;
    if flags & !known == 0 { Ok(flags) } else { Err(WireError::Malformed { what }) }
}

impl Wire for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Request::Put(put) => {
                out.reserve(put.key.len() + put.value.len() + 32);
                out.extend_from_slice(&[KIND_PUT, put.flags()]);
                put.key.encode(out);
                put.value.encode(out);
                put_u64(put.lease.cast_unsigned(), out);
            }
            Request::DeleteRange(delete) => {
                out.extend_from_slice(&[KIND_DELETE_RANGE, if delete.prev_kv { FLAG_PREV_KV } else { 0 }]);
                delete.key.encode(out);
                delete.range_end.encode(out);
            }
        }
    }

    fn decode(input: &mut Reader) -> Result<Request, WireError> {
        match input.byte("request kind")? {
            KIND_PUT => Ok(Request::Put(PutRequest::decode(input)?)),
            KIND_DELETE_RANGE => Ok(Request::DeleteRange(DeleteRangeRequest::decode(input)?)),
            kind => Err(WireError::UnknownKind { what: "request", kind }),
        }
    }
}
