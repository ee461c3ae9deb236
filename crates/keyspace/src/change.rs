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

    /// Whether the key is gone after it.
    #[must_use]
    pub fn is_delete(&self) -> bool {
        matches!(self.kind, ChangeKind::Delete)
    }

    /// Not less than the number of encoded bytes.
    pub(crate) fn encoded_bytes_at_most(&self) -> usize {
        let value_bytes = match &self.kind {
            ChangeKind::Put { value, .. } => value.len(),
            ChangeKind::Delete => 0,
        };
        // The kind, and seven numbers of at most ten bytes each.
        1 + 7 * 10 + self.key.len() + value_bytes
    }

    /// The revision alone, without a look at the rest.
    pub(crate) fn decode_revision(item: &Bytes) -> Result<Revision, WireError> {
        let mut input = Reader::new(item.clone());
        input.byte("change kind")?;
        decode_revision(&mut input)
    }

    /// The key alone, as a slice of the item.
    pub(crate) fn decode_key(item: &Bytes) -> Result<Bytes, WireError> {
        let mut input = Reader::new(item.clone());
        input.byte("change kind")?;
        decode_revision(&mut input)?;
        input.bytes("changed key")
    }
}

impl Wire for Change {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(if self.is_delete() { KIND_DELETE } else { KIND_PUT });
        put_u64(self.revision.main.cast_unsigned(), out);
        put_u64(u64::from(self.revision.sub), out);
        put_bytes(&self.key, out);
        if let ChangeKind::Put { create_revision, version, lease, value } = &self.kind {
            put_u64(create_revision.cast_unsigned(), out);
            put_u64(version.cast_unsigned(), out);
            put_u64(lease.cast_unsigned(), out);
            put_bytes(value, out);
        }
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
