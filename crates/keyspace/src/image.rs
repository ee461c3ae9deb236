//! The durable image: a small head, and one item a change.

use crate::change::{Change, ChangeKind};
use crate::command::KeyValue;
use crate::keyspace::Keyspace;
use crate::revision::Revision;
use bytes::Bytes;
use quorate_machine::{RestoreError, StateMachine};
use quorate_wire::{Reader, WireError, decode_exact, put_u64};

/// The head's layout, and with it that of the items.
const IMAGE_VERSION: u64 = 1;

pub(crate) fn encode_head(keyspace: &Keyspace) -> Bytes {
    let mut head = Vec::with_capacity(40);
    put_u64(IMAGE_VERSION, &mut head);
    put_u64(keyspace.revision.cast_unsigned(), &mut head);
    put_u64(keyspace.log.len(), &mut head);
    put_u64(keyspace.digest.value(), &mut head);
    Bytes::from(head)
}

struct Head {
    version: u64,
    revision: u64,
    item_count: u64,
    digest: u64,
}

fn decode_head(head: Bytes) -> Result<Head, WireError> {
    let mut input = Reader::new(head);
    let head = Head {
        version: input.u64("image version")?,
        revision: input.u64("revision")?,
        item_count: input.u64("item count")?,
        digest: input.u64("digest")?,
    };
    match input.remaining() {
        0 => Ok(head),
        count => Err(WireError::Trailing { count }),
    }
}

/// Rebuilds log, index and digest from the items, and checks on the way that they are a possible history.
pub(crate) fn restore(head: Bytes, items: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Keyspace, RestoreError> {
    let head = decode_head(head).map_err(|error| refusal(format!("the head: {error}")))?;
    if head.version != IMAGE_VERSION {
        let version = head.version;
        return Err(refusal(format!("the image has version {version} and this release reads {IMAGE_VERSION}")));
    }
    let mut keyspace = Keyspace::empty();
    for (number, item) in items {
        let change: Change = decode_exact(item).map_err(|error| refusal(format!("item {number}: {error}")))?;
        keyspace.check_next(&change).map_err(|why| refusal(format!("item {number}: {why}")))?;
        keyspace.record(&change);
        keyspace.revision = change.revision.main;
    }
    if keyspace.log.len() != head.item_count {
        let (count, found) = (head.item_count, keyspace.log.len());
        return Err(refusal(format!("the head names {count} items and there are {found}")));
    }
    if keyspace.revision.cast_unsigned() != head.revision {
        let (revision, found) = (head.revision, keyspace.revision);
        return Err(refusal(format!("the head names revision {revision} and the items end at {found}")));
    }
    if keyspace.digest.value() != head.digest {
        return Err(refusal("the items do not have the digest that the head names".to_owned()));
    }
    Ok(keyspace)
}

impl Keyspace {
    /// Whether a stored change can be the one after those present: invariants 1 and 2 of the crate.
    fn check_next(&self, change: &Change) -> Result<(), String> {
        if change.key.is_empty() {
            return Err("its key is empty".to_owned());
        }
        let Revision { main, sub } = change.revision;
        let expected_sub = match self.log.len().checked_sub(1).and_then(|last| self.log.get(last)) {
            Some(last) if last.revision.main == main => last.revision.sub.checked_add(1),
            _ if self.revision.checked_add(1) == Some(main) => Some(0),
            _ => None,
        };
        if expected_sub != Some(sub) {
            return Err(format!("revision {} cannot follow revision {}", change.revision, self.revision));
        }
        let before = self.index.live_at(&change.key, self.log.len()).map(|number| self.pair(number));
        match (&change.kind, &before) {
            (ChangeKind::Delete, None) => Err("it deletes a key that does not exist".to_owned()),
            (ChangeKind::Delete, Some(_)) => Ok(()),
            (ChangeKind::Put { create_revision, version, .. }, before) => {
                check_put(*create_revision, *version, main, before.as_ref())
            }
        }
    }
}

fn check_put(create_revision: i64, version: i64, main: i64, before: Option<&KeyValue>) -> Result<(), String> {
    let expected = match before {
        None => (main, Some(1)),
        Some(before) => (before.create_revision, before.version.checked_add(1)),
    };
    if (create_revision, Some(version)) == expected {
        return Ok(());
    }
    Err(format!("create revision {create_revision} and version {version} do not follow from the key's past"))
}

fn refusal(why: String) -> RestoreError {
    RestoreError { why }
}
