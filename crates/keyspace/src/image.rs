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
use crate::change::{Change, ChangeView, PutView};
use crate::digest::Digest;
use crate::keyspace::Keyspace;
use crate::lease_request::{LEASE_TTL_SECONDS_MAX, LogPlace, decode_remaining, encode_remaining};
use crate::lease_table::Lease;
use crate::revision::{FIRST_REVISION, Revision};
use crate::txn_request::decode_list;
use bytes::Bytes;
use quorate_machine::{RestoreError, StateMachine};
use quorate_wire::{Reader, Wire, WireError, decode_exact, encode_to_bytes, put_u64};

/// The head's layout, and with it that of the items. Version 1 had no compaction, leases or alarms; version 2
/// hashed long changes word by word.
const IMAGE_VERSION: u64 = 3;

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
    let mut last = None;
    for (number, item) in items {
        last = Some(keyspace.take_item(number, &item, last).map_err(|why| refusal(format!("item {number}: {why}")))?);
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
    /// Adds a stored change, whose revision it returns, if it can be the next one after those present, of which `last` is the
    /// revision of the last: invariants 1 and 2 of the crate. Below the compaction mark anything may be missing. What
    /// was refused leaves a keyspace that is worth nothing.
    fn take_item(&mut self, number: u64, item: &Bytes, last: Option<Revision>) -> Result<Revision, String> {
        let (decoded, encoded);
        let (change, item) = match ChangeView::of_exactly(item) {
            Some(change) => (change, &item[..]),
            // Not as it is written here. The codec knows what is wrong with it, or takes it.
            None => {
                decoded = decode_exact::<Change>(item.clone()).map_err(|error| error.to_string())?;
                encoded = encode_to_bytes(&decoded);
                (decoded.view(), &encoded[..])
            }
        };
        if number < self.log.len() {
            return Err(format!("it follows item {}", self.log.len().saturating_sub(1)));
        }
        if change.key.is_empty() {
            return Err("its key is empty".to_owned());
        }
        self.check_revision(number, change.revision, last)?;
        self.log.skip_to(number);
        let before = self.index.record(change.key, number, change.put.is_none());
        let before = before.and_then(|number| self.log.view(number));
        let is_whole = change.revision.main > self.compact_revision;
        match &change.put {
            None if is_whole && before.is_none() => return Err("it deletes a key that does not exist".to_owned()),
            None => {}
            Some(put) => check_put(put, change.revision.main, before.as_ref(), is_whole)?,
        }
        let lease_before = before.and_then(|before| before.put).map_or(0, |put| put.lease);
        self.leases.move_key(change.key, lease_before, change.put.map_or(0, |put| put.lease));
        let item = self.log.append(item.len(), |out| out.extend_from_slice(item));
        // Later the head's digest is taken over without a look: it counts changes that are gone.
        if self.compact_revision == 0 {
            self.history_digest.absorb(item);
        }
        self.revision = change.revision.main;
        Ok(change.revision)
    }

    /// From the mark on there are no holes; and the mark itself, if it is a write, has its changes.
    fn check_revision(&self, number: u64, revision: Revision, last: Option<Revision>) -> Result<(), String> {
        let Revision { main, sub } = revision;
        let mark = self.compact_revision;
        let may_follow = match last.filter(|last| last.main >= mark) {
            _ if main < mark => main > FIRST_REVISION && last.is_none_or(|last| last < revision),
            None => (main, sub) == (mark.max(FIRST_REVISION + 1), 0) && (mark > FIRST_REVISION || number == 0),
            Some(last) if last.main == main => number == self.log.len() && last.sub.checked_add(1) == Some(sub),
            Some(last) => number == self.log.len() && last.main.checked_add(1) == Some(main) && sub == 0,
        };
        if may_follow {
            return Ok(());
        }
        Err(format!("revision {revision} cannot follow revision {}", self.revision))
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
fn check_put(put: &PutView<'_>, main: i64, before: Option<&ChangeView<'_>>, is_whole: bool) -> Result<(), String> {
    let PutView { create_revision, version, .. } = *put;
    let is_right = match before.and_then(|change| change.put.map(|put| (change.revision.main, put))) {
        Some((_, before)) if is_whole || create_revision == before.create_revision => {
            let next = before.version.checked_add(1);
            let version_is_right = if is_whole { Some(version) == next } else { version > before.version };
            create_revision == before.create_revision && version_is_right
        }
        Some((mod_revision, _)) => create_revision > mod_revision,
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
