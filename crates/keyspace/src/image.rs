//! The durable image: a head, and one item a change.
//!
//! The head holds what changes in place: marks, digests, alarms, and all leases at about 25 bytes each (with a hundred
//! thousand leases about 2.5 MB a checkpoint), and ends with its CRC-32C. Which keys hang on a lease follows from the
//! items.
//!
//! What compactions condemned may be among the items or be missing, with one limit that only the keeper of the items can
//! hold: a condemned change must not come back while a later one of the same key is missing, or a deleted key would live
//! again. So whoever leaves out a dropped item leaves out every dropped item of lower number too. The head counts the
//! live keys, and an image that breaks this is refused.

use crate::alarm::Alarm;
use crate::change::{Change, ChangeKind};
use crate::digest::Digest;
use crate::keyspace::Keyspace;
use crate::lease_request::{LEASE_TTL_SECONDS_MAX, LogPlace, decode_remaining, encode_remaining};
use crate::lease_table::Lease;
use crate::reply::KeyValue;
use crate::revision::{FIRST_REVISION, Revision};
use crate::txn_request::decode_list;
use bytes::Bytes;
use quorate_machine::{RestoreError, StateMachine};
use quorate_wire::{Reader, Wire, WireError, decode_exact, put_u64};

/// The head's layout, and with it that of the items. Version 1 had no compaction, leases or alarms.
const IMAGE_VERSION: u64 = 2;

/// No history gets this far; what is stored beyond would overflow soon.
pub(crate) const REVISION_MAX: i64 = i64::MAX / 2;

pub(crate) fn encode_head(keyspace: &Keyspace) -> Bytes {
    let mut head = Vec::with_capacity(64 + 32 * keyspace.leases.len());
    put_u64(IMAGE_VERSION, &mut head);
    put_u64(keyspace.revision.cast_unsigned(), &mut head);
    put_u64(keyspace.compact_revision.cast_unsigned(), &mut head);
    put_u64(keyspace.log.len(), &mut head);
    put_u64(keyspace.index.live_keys(), &mut head);
    put_u64(keyspace.history_digest.state(), &mut head);
    put_u64(keyspace.other_digest.state(), &mut head);
    put_u64(keyspace.alarms.len() as u64, &mut head);
    keyspace.alarms.iter().for_each(|alarm| alarm.encode(&mut head));
    put_u64(keyspace.leases.len() as u64, &mut head);
    for (id, lease) in keyspace.leases.iter() {
        put_u64(id.cast_unsigned(), &mut head);
        put_u64(lease.ttl_seconds.cast_unsigned(), &mut head);
        lease.incarnation.encode(&mut head);
        lease.renewal.encode(&mut head);
        encode_remaining(lease.remaining_ms, &mut head);
    }
    let checksum = crc32c::crc32c(&head);
    head.extend_from_slice(&checksum.to_le_bytes());
    Bytes::from(head)
}

struct Head {
    revision: i64,
    compact_revision: i64,
    item_count: u64,
    live_keys: u64,
    history_digest: u64,
    other_digest: u64,
    alarms: Vec<Alarm>,
    leases: Vec<(i64, Lease)>,
}

fn decode_head(head: Bytes) -> Result<Head, RestoreError> {
    let mut input = Reader::new(verified(&head)?);
    let refused = |error: WireError| refusal(format!("the head: {error}"));
    let version = input.u64("image version").map_err(refused)?;
    if version != IMAGE_VERSION {
        return Err(refusal(format!("the image has version {version} and this release reads {IMAGE_VERSION}")));
    }
    let head = decode_fields(&mut input).map_err(refused)?;
    match input.remaining() {
        0 => Ok(head),
        count => Err(refused(WireError::Trailing { count })),
    }
}

/// The head without its checksum.
fn verified(head: &Bytes) -> Result<Bytes, RestoreError> {
    let Some((fields, checksum)) = head.split_last_chunk() else {
        return Err(refusal("the head is shorter than its checksum".to_owned()));
    };
    if crc32c::crc32c(fields) != u32::from_le_bytes(*checksum) {
        return Err(refusal("the head does not have its checksum".to_owned()));
    }
    Ok(head.slice_ref(fields))
}

fn decode_fields(input: &mut Reader) -> Result<Head, WireError> {
    let signed = |number: u64, what| i64::try_from(number).map_err(|_| WireError::Malformed { what });
    Ok(Head {
        revision: signed(input.u64("revision")?, "revision")?,
        compact_revision: signed(input.u64("compact revision")?, "compact revision")?,
        item_count: input.u64("item count")?,
        live_keys: input.u64("count of live keys")?,
        history_digest: input.u64("history digest")?,
        other_digest: input.u64("other digest")?,
        alarms: decode_list(input, "alarms", Alarm::decode)?,
        leases: decode_list(input, "leases", decode_lease)?,
    })
}

fn decode_lease(input: &mut Reader) -> Result<(i64, Lease), WireError> {
    let id = input.u64("lease id")?.cast_signed();
    let ttl_seconds = input.u64("time to live")?.cast_signed();
    if id == 0 || !(1..=LEASE_TTL_SECONDS_MAX).contains(&ttl_seconds) {
        return Err(WireError::Malformed { what: "lease" });
    }
    let incarnation = LogPlace::decode(input)?;
    let renewal = LogPlace::decode(input)?;
    Ok((id, Lease { ttl_seconds, incarnation, renewal, remaining_ms: decode_remaining(input)? }))
}

/// Rebuilds log, index and attachments from the items, and checks on the way that they are a possible history.
pub(crate) fn restore(head: Bytes, items: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Keyspace, RestoreError> {
    let head = decode_head(head)?;
    let mut keyspace = Keyspace::empty();
    keyspace.compact_revision = head.compact_revision;
    for (number, item) in items {
        let change: Change = decode_exact(item).map_err(|error| refusal(format!("item {number}: {error}")))?;
        keyspace.check_next(number, &change).map_err(|why| refusal(format!("item {number}: {why}")))?;
        keyspace.take_up(number, &change);
    }
    keyspace.check_end(&head).map_err(refusal)?;
    let Head { history_digest, other_digest, alarms, leases, .. } = head;
    keyspace.history_digest = Digest::resume(history_digest);
    keyspace.other_digest = Digest::resume(other_digest);
    keyspace.alarms = alarms.into_iter().collect();
    for (id, lease) in leases {
        keyspace.leases.insert(id, lease);
    }
    if let Some(id) = keyspace.leases.missing() {
        return Err(refusal(format!("a key hangs on lease {id}, which does not exist")));
    }
    keyspace.tidying = keyspace.tidying_from(0, 0);
    Ok(keyspace)
}

impl Keyspace {
    /// Adds a stored change; the revision is that of the last one so far.
    fn take_up(&mut self, number: u64, change: &Change) {
        let lease_of = |pair: KeyValue| pair.lease;
        let before = self.index.live_at(&change.key, self.log.len()).map(|number| self.pair(number));
        let lease = match &change.kind {
            ChangeKind::Put { lease, .. } => *lease,
            ChangeKind::Delete => 0,
        };
        self.log.skip_to(number);
        self.record(&change.view());
        self.leases.move_key(&change.key, before.map_or(0, lease_of), lease);
        self.revision = change.revision.main;
    }

    /// Whether a stored change can be the next one after those present: invariants 1 and 2 of the crate. Below the
    /// compaction mark anything may be missing.
    fn check_next(&self, number: u64, change: &Change) -> Result<(), String> {
        if number < self.log.len() {
            return Err(format!("it follows item {}", self.log.len().saturating_sub(1)));
        }
        if change.key.is_empty() {
            return Err("its key is empty".to_owned());
        }
        self.check_revision(number, change)?;
        let is_whole = change.revision.main > self.compact_revision;
        let before = self.index.live_at(&change.key, self.log.len()).map(|number| self.pair(number));
        match (&change.kind, &before) {
            (ChangeKind::Delete, None) if is_whole => Err("it deletes a key that does not exist".to_owned()),
            (ChangeKind::Delete, _) => Ok(()),
            (ChangeKind::Put { create_revision, version, .. }, before) => {
                check_put(*create_revision, *version, change.revision.main, before.as_ref(), is_whole)
            }
        }
    }

    /// From the mark on there are no holes; and the mark itself, if it is a write, has its changes.
    fn check_revision(&self, number: u64, change: &Change) -> Result<(), String> {
        let Revision { main, sub } = change.revision;
        let mark = self.compact_revision;
        let last = self.log.len().checked_sub(1).and_then(|last| self.log.view(last)).map(|last| last.revision);
        let may_follow = match last.filter(|last| last.main >= mark) {
            _ if main < mark => main > FIRST_REVISION && last.is_none_or(|last| last < change.revision),
            None => (main, sub) == (mark.max(FIRST_REVISION + 1), 0) && (mark > FIRST_REVISION || number == 0),
            Some(last) if last.main == main => number == self.log.len() && last.sub.checked_add(1) == Some(sub),
            Some(last) => number == self.log.len() && last.main.checked_add(1) == Some(main) && sub == 0,
        };
        if may_follow {
            return Ok(());
        }
        Err(format!("revision {} cannot follow revision {}", change.revision, self.revision))
    }

    fn check_end(&self, head: &Head) -> Result<(), String> {
        if !(FIRST_REVISION..=REVISION_MAX).contains(&head.revision) || head.compact_revision > head.revision {
            return Err(format!("the head names revision {} and mark {}", head.revision, head.compact_revision));
        }
        let found = self.log.len();
        if found != head.item_count {
            return Err(format!("the head names {} items and there are {found}", head.item_count));
        }
        if self.revision != head.revision {
            return Err(format!("the head names revision {} and the items end at {}", head.revision, self.revision));
        }
        if self.index.live_keys() != head.live_keys {
            let (named, found) = (head.live_keys, self.index.live_keys());
            return Err(format!("the head names {named} live keys and there are {found}"));
        }
        if head.compact_revision == 0 && self.history_digest.state() != head.history_digest {
            return Err("the items do not have the digest that the head names".to_owned());
        }
        Ok(())
    }
}

/// What a put says of its key's past. Where changes may be missing, it need only be possible.
fn check_put(
    create_revision: i64,
    version: i64,
    main: i64,
    before: Option<&KeyValue>,
    is_whole: bool,
) -> Result<(), String> {
    let is_right = match before {
        Some(before) if is_whole || create_revision == before.create_revision => {
            let next = before.version.checked_add(1);
            let version_is_right = if is_whole { Some(version) == next } else { version > before.version };
            create_revision == before.create_revision && version_is_right
        }
        Some(before) => create_revision > before.mod_revision,
        None if is_whole => (create_revision, version) == (main, 1),
        None => true,
    };
    // A revision puts a key once.
    let is_possible =
        create_revision <= main && (version == 1) == (create_revision == main) && version - 1 <= main - create_revision;
    if is_right && is_possible {
        return Ok(());
    }
    Err(format!("create revision {create_revision} and version {version} do not follow from the key's past"))
}

fn refusal(why: String) -> RestoreError {
    RestoreError { why }
}
