//! What a range asks, and its bytes: a transaction carries ranges through the log.

use crate::error::KeyspaceError;
use crate::request::decode_flags;
use bytes::Bytes;
use quorate_wire::{Reader, Wire, WireError, put_u64};

const FLAG_KEYS_ONLY: u8 = 1;
const FLAG_COUNT_ONLY: u8 = 2;

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

impl RangeRequest {
    pub(crate) fn check(&self) -> Result<(), KeyspaceError> {
        if self.key.is_empty() { Err(KeyspaceError::KeyNotProvided) } else { Ok(()) }
    }
}

impl Wire for RangeRequest {
    fn encode(&self, out: &mut Vec<u8>) {
        let keys_only = if self.keys_only { FLAG_KEYS_ONLY } else { 0 };
        let count_only = if self.count_only { FLAG_COUNT_ONLY } else { 0 };
        out.push(keys_only | count_only);
        self.key.encode(out);
        self.range_end.encode(out);
        out.push(self.sort_order as u8);
        out.push(self.sort_target as u8);
        for number in [
            self.limit,
            self.revision,
            self.min_mod_revision,
            self.max_mod_revision,
            self.min_create_revision,
            self.max_create_revision,
        ] {
            put_u64(number.cast_unsigned(), out);
        }
    }

    fn decode(input: &mut Reader) -> Result<RangeRequest, WireError> {
        let flags = decode_flags("range flags", FLAG_KEYS_ONLY | FLAG_COUNT_ONLY, input)?;
        let key = input.bytes("range key")?;
        let range_end = input.bytes("range end")?;
        let order = input.byte("sort order")?;
        let target = input.byte("sort target")?;
        let mut number = |what| input.u64(what).map(u64::cast_signed);
        Ok(RangeRequest {
            key,
            range_end,
            sort_order: SortOrder::try_from(i32::from(order))
                .map_err(|_| WireError::UnknownKind { what: "sort order", kind: order })?,
            sort_target: SortTarget::try_from(i32::from(target))
                .map_err(|_| WireError::UnknownKind { what: "sort target", kind: target })?,
            keys_only: flags & FLAG_KEYS_ONLY != 0,
            count_only: flags & FLAG_COUNT_ONLY != 0,
            limit: number("range limit")?,
            revision: number("range revision")?,
            min_mod_revision: number("least mod revision")?,
            max_mod_revision: number("greatest mod revision")?,
            min_create_revision: number("least create revision")?,
            max_create_revision: number("greatest create revision")?,
        })
    }
}
