//! The unit of history: one put or one tombstone of one key, and its bytes.

use crate::reply::KeyValue;
use crate::revision::Revision;
use bytes::Bytes;
use quorate_wire::{Reader, Wire, WireError, put_bytes, put_u64};

const KIND_PUT: u8 = 1;
const KIND_DELETE: u8 = 2;

/// One change. Its bytes are one item of the durable image and never change: kind, main, sub, key, and for a put
/// create revision, version, lease and value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// Which write made it, and as which of its changes.
    pub revision: Revision,
    /// The key; not empty.
    pub key: Bytes,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What a change did to its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It has this value from here on.
    Put {
        /// The main revision that created the key.
        create_revision: i64,
        /// Puts since then, this one included.
        version: i64,
        /// The lease it is attached to; 0 for none.
        lease: i64,
        /// The value.
        value: Bytes,
    },
    /// It is gone: a tombstone.
    Delete,
}

impl Change {
    /// The pair that a put leaves, or nothing for a tombstone.
    #[must_use]
    pub fn into_key_value(self) -> Option<KeyValue> {
        match self.kind {
            ChangeKind::Put { create_revision, version, lease, value } => Some(KeyValue {
                key: self.key,
                value,
                create_revision,
                mod_revision: self.revision.main,
                version,
                lease,
            }),
            ChangeKind::Delete => None,
        }
    }

    pub(crate) fn view(&self) -> ChangeView<'_> {
        let put = match &self.kind {
            ChangeKind::Put { create_revision, version, lease, value } => {
                Some(PutView { create_revision: *create_revision, version: *version, lease: *lease, value })
            }
            ChangeKind::Delete => None,
        };
        ChangeView { revision: self.revision, key: &self.key, put }
    }

    /// Whether the key is gone after it.
    #[must_use]
    pub fn is_delete(&self) -> bool {
        matches!(self.kind, ChangeKind::Delete)
    }
}

/// A kept change, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChangeView<'a> {
    pub(crate) revision: Revision,
    pub(crate) key: &'a [u8],
    /// Nothing for a tombstone.
    pub(crate) put: Option<PutView<'a>>,
}

/// The rest of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PutView<'a> {
    pub(crate) create_revision: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
    pub(crate) value: &'a [u8],
}

impl<'a> ChangeView<'a> {
    /// Reads what [`Change`] encodes; nothing if it did not.
    pub(crate) fn of(item: &'a [u8]) -> Option<ChangeView<'a>> {
        let (kind, mut rest) = item.split_first()?;
        let main = take_number(&mut rest)?.cast_signed();
        let sub = u32::try_from(take_number(&mut rest)?).ok()?;
        let key = take_bytes(&mut rest)?;
        let put = match *kind {
            KIND_DELETE => None,
            KIND_PUT => Some(PutView {
                create_revision: take_number(&mut rest)?.cast_signed(),
                version: take_number(&mut rest)?.cast_signed(),
                lease: take_number(&mut rest)?.cast_signed(),
                value: take_bytes(&mut rest)?,
            }),
            _ => return None,
        };
        Some(ChangeView { revision: Revision { main, sub }, key, put })
    }

    /// The same of stored bytes that nobody has looked at yet: only what encoding this view would give again.
    pub(crate) fn of_exactly(item: &'a [u8]) -> Option<ChangeView<'a>> {
        let change = ChangeView::of(item)?;
        let counts =
            [Some(change.revision.main), change.put.map(|put| put.create_revision), change.put.map(|put| put.version)];
        let are_counted = counts.into_iter().flatten().all(|count| count > 0);
        // Numbers with needless bytes, or bytes behind the end, make it longer.
        (are_counted && change.encoded_bytes() == item.len()).then_some(change)
    }

    fn encoded_bytes(&self) -> usize {
        let number_bytes = |number: u64| (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize;
        let bytes_bytes = |bytes: &[u8]| number_bytes(bytes.len() as u64) + bytes.len();
        let revision = number_bytes(self.revision.main.cast_unsigned()) + number_bytes(u64::from(self.revision.sub));
        let put = self.put.map_or(0, |put| {
            let numbers = [put.create_revision, put.version, put.lease];
            numbers.map(|number| number_bytes(number.cast_unsigned())).iter().sum::<usize>() + bytes_bytes(put.value)
        });
        1 + revision + bytes_bytes(self.key) + put
    }

    /// Not less than the number of encoded bytes.
    pub(crate) fn encoded_bytes_at_most(&self) -> usize {
        // The kind, and seven numbers of at most ten bytes each.
        1 + 7 * 10 + self.key.len() + self.put.map_or(0, |put| put.value.len())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(if self.put.is_none() { KIND_DELETE } else { KIND_PUT });
        put_u64(self.revision.main.cast_unsigned(), out);
        put_u64(u64::from(self.revision.sub), out);
        put_bytes(self.key, out);
        if let Some(put) = &self.put {
            put_u64(put.create_revision.cast_unsigned(), out);
            put_u64(put.version.cast_unsigned(), out);
            put_u64(put.lease.cast_unsigned(), out);
            put_bytes(put.value, out);
        }
    }
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        if shift == 63 && byte & 0x7f > 1 {
            return None;
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(bytes)
}

impl Wire for Change {
    fn encode(&self, out: &mut Vec<u8>) {
        self.view().encode(out);
    }

    fn decode(input: &mut Reader) -> Result<Change, WireError> {
        let kind = input.byte("change kind")?;
        if kind != KIND_PUT && kind != KIND_DELETE {
            return Err(WireError::UnknownKind { what: "change", kind });
        }
        let revision = decode_revision(input)?;
        let key = input.bytes("changed key")?;
        if kind == KIND_DELETE {
            return Ok(Change { revision, key, kind: ChangeKind::Delete });
        }
        let kind = ChangeKind::Put {
            create_revision: counted(input.u64("create revision")?, "create revision")?,
            version: counted(input.u64("version")?, "version")?,
            lease: input.u64("lease")?.cast_signed(),
            value: input.bytes("changed value")?,
        };
        Ok(Change { revision, key, kind })
    }
}

fn decode_revision(input: &mut Reader) -> Result<Revision, WireError> {
    let main = counted(input.u64("main revision")?, "main revision")?;
    let sub = input.u64("sub revision")?;
    let sub = u32::try_from(sub).map_err(|_| WireError::Malformed { what: "sub revision" })?;
    Ok(Revision { main, sub })
}

/// Revisions and versions are etcd's signed numbers but count from 1.
fn counted(number: u64, what: &'static str) -> Result<i64, WireError> {
    i64::try_from(number).ok().filter(|number| *number > 0).ok_or(WireError::Malformed { what })
}
