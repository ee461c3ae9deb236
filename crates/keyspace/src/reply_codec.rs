//! Replies as bytes, for clients that ask again: what was kept is what was answered.
//!
//! These bytes are part of every image that was written while a client had a session. A kind is never given another meaning.

use crate::alarm::Alarm;
use crate::error::KeyspaceError;
use crate::lease_request::{LeaseCheckpoint, LogPlace};
use crate::reply::{KeyValue, Reply};
use crate::txn_request::{TXN_DEPTH_MAX, decode_list};
use bytes::Bytes;
use quorate_machine::ClientId;
use quorate_wire::{Reader, Wire, WireError, put_u64};

const KIND_PUT: u8 = 1;
const KIND_DELETE: u8 = 2;
const KIND_RANGE: u8 = 3;
const KIND_TXN: u8 = 4;
const KIND_REVISION: u8 = 5;
const KIND_COMPACTED: u8 = 6;
const KIND_LEASE_GRANTED: u8 = 7;
const KIND_LEASE_REVOKED: u8 = 8;
const KIND_LEASE_EXPIRED: u8 = 9;
const KIND_LEASE_CHECKPOINTED: u8 = 10;
const KIND_LEASES: u8 = 11;
const KIND_LEASE_KEYS: u8 = 12;
const KIND_HASH_KV: u8 = 13;
const KIND_ALARMS: u8 = 14;
const KIND_TIDIED: u8 = 15;
const KIND_SESSION_OPENED: u8 = 16;
const KIND_SESSION_CLOSED: u8 = 17;
const KIND_ERROR: u8 = 18;

/// A transaction's reply lies no deeper than the transaction did.
const REPLY_DEPTH_MAX: usize = TXN_DEPTH_MAX + 1;

fn put_signed(number: i64, out: &mut Vec<u8>) {
    put_u64(number.cast_unsigned(), out);
}

fn signed(input: &mut Reader, what: &'static str) -> Result<i64, WireError> {
    Ok(input.u64(what)?.cast_signed())
}

fn put_list<T>(list: &[T], out: &mut Vec<u8>, encode: impl Fn(&T, &mut Vec<u8>)) {
    put_u64(list.len() as u64, out);
    list.iter().for_each(|element| encode(element, out));
}

impl Wire for KeyValue {
    fn encode(&self, out: &mut Vec<u8>) {
        self.key.encode(out);
        self.value.encode(out);
        for number in [self.create_revision, self.mod_revision, self.version, self.lease] {
            put_signed(number, out);
        }
    }

    fn decode(input: &mut Reader) -> Result<KeyValue, WireError> {
        Ok(KeyValue {
            key: input.bytes("key")?,
            value: input.bytes("value")?,
            create_revision: signed(input, "create revision")?,
            mod_revision: signed(input, "mod revision")?,
            version: signed(input, "version")?,
            lease: signed(input, "lease id")?,
        })
    }
}

impl Wire for Reply {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Reply::Put { revision, prev_kv } => {
                begin(KIND_PUT, *revision, out);
                prev_kv.encode(out);
            }
            Reply::Delete { revision, deleted, prev_kvs } => {
                begin(KIND_DELETE, *revision, out);
                put_signed(*deleted, out);
                put_list(prev_kvs, out, KeyValue::encode);
            }
            Reply::Range { revision, kvs, more, count } => {
                begin(KIND_RANGE, *revision, out);
                put_list(kvs, out, KeyValue::encode);
                more.encode(out);
                put_signed(*count, out);
            }
            Reply::Txn { revision, succeeded, responses } => {
                begin(KIND_TXN, *revision, out);
                succeeded.encode(out);
                put_list(responses, out, Reply::encode);
            }
            Reply::Revision { revision } => begin(KIND_REVISION, *revision, out),
            Reply::Compacted { revision } => begin(KIND_COMPACTED, *revision, out),
            Reply::Tidied { done } => {
                out.push(KIND_TIDIED);
                done.encode(out);
            }
            Reply::HashKv { revision, hash, compact_revision, hash_revision } => {
                begin(KIND_HASH_KV, *revision, out);
                put_u64(u64::from(*hash), out);
                put_signed(*compact_revision, out);
                put_signed(*hash_revision, out);
            }
            Reply::Alarms { revision, alarms } => {
                begin(KIND_ALARMS, *revision, out);
                put_list(alarms, out, Alarm::encode);
            }
            Reply::SessionOpened { client, window } => {
                out.push(KIND_SESSION_OPENED);
                client.encode(out);
                put_u64(*window, out);
            }
            Reply::SessionClosed => out.push(KIND_SESSION_CLOSED),
            Reply::Error(error) => {
                out.push(KIND_ERROR);
                out.push(number_of(error));
            }
            Reply::LeaseGranted { .. }
            | Reply::LeaseRevoked { .. }
            | Reply::LeaseExpired { .. }
            | Reply::LeaseCheckpointed { .. }
            | Reply::Leases { .. }
            | Reply::LeaseKeys { .. } => encode_of_leases(self, out),
        }
    }

    fn decode(input: &mut Reader) -> Result<Reply, WireError> {
        decode_reply(input, REPLY_DEPTH_MAX)
    }
}

fn begin(kind: u8, revision: i64, out: &mut Vec<u8>) {
    out.push(kind);
    put_signed(revision, out);
}

fn encode_of_leases(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::LeaseGranted { revision, id, ttl_seconds } => {
            begin(KIND_LEASE_GRANTED, *revision, out);
            put_signed(*id, out);
            put_signed(*ttl_seconds, out);
        }
        Reply::LeaseRevoked { revision, id } => {
            begin(KIND_LEASE_REVOKED, *revision, out);
            put_signed(*id, out);
        }
        Reply::LeaseExpired { revision, id, incarnation, expired } => {
            begin(KIND_LEASE_EXPIRED, *revision, out);
            put_signed(*id, out);
            incarnation.encode(out);
            expired.encode(out);
        }
        Reply::LeaseCheckpointed { revision, checkpoints } => {
            begin(KIND_LEASE_CHECKPOINTED, *revision, out);
            put_list(checkpoints, out, LeaseCheckpoint::encode);
        }
        Reply::Leases { revision, ids } => {
            begin(KIND_LEASES, *revision, out);
            put_list(ids, out, |id, out| put_signed(*id, out));
        }
        Reply::LeaseKeys { revision, id, granted_ttl_seconds, keys } => {
            begin(KIND_LEASE_KEYS, *revision, out);
            put_signed(*id, out);
            put_signed(*granted_ttl_seconds, out);
            put_list(keys, out, Bytes::encode);
        }
        _ => {}
    }
}

fn decode_reply(input: &mut Reader, depth_left: usize) -> Result<Reply, WireError> {
    let kind = input.byte("reply kind")?;
    match kind {
        KIND_TIDIED => return Ok(Reply::Tidied { done: bool::decode(input)? }),
        KIND_SESSION_OPENED => {
            return Ok(Reply::SessionOpened { client: ClientId::decode(input)?, window: input.u64("session window")? });
        }
        KIND_SESSION_CLOSED => return Ok(Reply::SessionClosed),
        KIND_ERROR => return error_of(input.byte("refusal")?).map(Reply::Error),
        _ => {}
    }
    let revision = signed(input, "revision")?;
    match kind {
        KIND_PUT => Ok(Reply::Put { revision, prev_kv: Option::decode(input)? }),
        KIND_DELETE => Ok(Reply::Delete {
            revision,
            deleted: signed(input, "deleted keys")?,
            prev_kvs: decode_list(input, "pairs", KeyValue::decode)?,
        }),
        KIND_RANGE => Ok(Reply::Range {
            revision,
            kvs: decode_list(input, "pairs", KeyValue::decode)?,
            more: bool::decode(input)?,
            count: signed(input, "key count")?,
        }),
        KIND_TXN => {
            let what = "depth of a reply";
            let depth_left = depth_left.checked_sub(1).ok_or(WireError::Malformed { what })?;
            Ok(Reply::Txn {
                revision,
                succeeded: bool::decode(input)?,
                responses: decode_list(input, "responses", |input| decode_reply(input, depth_left))?,
            })
        }
        KIND_REVISION => Ok(Reply::Revision { revision }),
        KIND_COMPACTED => Ok(Reply::Compacted { revision }),
        KIND_HASH_KV => {
            let what = "hash";
            Ok(Reply::HashKv {
                revision,
                hash: u32::try_from(input.u64(what)?).map_err(|_| WireError::Malformed { what })?,
                compact_revision: signed(input, "compact revision")?,
                hash_revision: signed(input, "hash revision")?,
            })
        }
        KIND_ALARMS => Ok(Reply::Alarms { revision, alarms: decode_list(input, "alarms", Alarm::decode)? }),
        kind => decode_of_leases(kind, revision, input),
    }
}

fn decode_of_leases(kind: u8, revision: i64, input: &mut Reader) -> Result<Reply, WireError> {
    match kind {
        KIND_LEASE_GRANTED => Ok(Reply::LeaseGranted {
            revision,
            id: signed(input, "lease id")?,
            ttl_seconds: signed(input, "time to live")?,
        }),
        KIND_LEASE_REVOKED => Ok(Reply::LeaseRevoked { revision, id: signed(input, "lease id")? }),
        KIND_LEASE_EXPIRED => Ok(Reply::LeaseExpired {
            revision,
            id: signed(input, "lease id")?,
            incarnation: LogPlace::decode(input)?,
            expired: bool::decode(input)?,
        }),
        KIND_LEASE_CHECKPOINTED => Ok(Reply::LeaseCheckpointed {
            revision,
            checkpoints: decode_list(input, "checkpoints", LeaseCheckpoint::decode)?,
        }),
        KIND_LEASES => {
            Ok(Reply::Leases { revision, ids: decode_list(input, "leases", |input| signed(input, "lease id"))? })
        }
        KIND_LEASE_KEYS => Ok(Reply::LeaseKeys {
            revision,
            id: signed(input, "lease id")?,
            granted_ttl_seconds: signed(input, "time to live")?,
            keys: decode_list(input, "keys", Bytes::decode)?,
        }),
        kind => Err(WireError::UnknownKind { what: "reply", kind }),
    }
}

fn number_of(error: &KeyspaceError) -> u8 {
    match error {
        KeyspaceError::KeyNotProvided => 1,
        KeyspaceError::KeyNotFound => 2,
        KeyspaceError::ValueProvided => 3,
        KeyspaceError::LeaseProvided => 4,
        KeyspaceError::LeaseNotFound => 5,
        KeyspaceError::LeaseExists => 6,
        KeyspaceError::LeaseTtlTooLarge => 7,
        KeyspaceError::Compacted => 8,
        KeyspaceError::FutureRevision => 9,
        KeyspaceError::InvalidSortOption => 10,
        KeyspaceError::TooManyOperations => 11,
        KeyspaceError::DuplicateKey => 12,
        KeyspaceError::NoSpace => 13,
        KeyspaceError::Corrupt => 14,
        KeyspaceError::NotReadOnly => 15,
        KeyspaceError::Malformed { .. } => 16,
    }
}

fn error_of(number: u8) -> Result<KeyspaceError, WireError> {
    Ok(match number {
        1 => KeyspaceError::KeyNotProvided,
        2 => KeyspaceError::KeyNotFound,
        3 => KeyspaceError::ValueProvided,
        4 => KeyspaceError::LeaseProvided,
        5 => KeyspaceError::LeaseNotFound,
        6 => KeyspaceError::LeaseExists,
        7 => KeyspaceError::LeaseTtlTooLarge,
        8 => KeyspaceError::Compacted,
        9 => KeyspaceError::FutureRevision,
        10 => KeyspaceError::InvalidSortOption,
        11 => KeyspaceError::TooManyOperations,
        12 => KeyspaceError::DuplicateKey,
        13 => KeyspaceError::NoSpace,
        14 => KeyspaceError::Corrupt,
        15 => KeyspaceError::NotReadOnly,
        // What the codec had found is not kept: only a defect of the asker leads here.
        16 => KeyspaceError::Malformed { why: WireError::Malformed { what: "command" } },
        kind => return Err(WireError::UnknownKind { what: "refusal", kind }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::AlarmKind;
    use quorate_types::{ClusterId, Slot};
    use quorate_wire::{decode_exact, encode_to_bytes};

    fn pair() -> KeyValue {
        KeyValue { key: "k".into(), value: "v".into(), create_revision: 2, mod_revision: 3, version: 2, lease: -1 }
    }

    fn one_of_each() -> Vec<Reply> {
        let (revision, id, place) = (7, i64::MIN, LogPlace { slot: Slot(3), index: u32::MAX });
        let put = Reply::Put { revision, prev_kv: Some(pair()) };
        let range = Reply::Range { revision, kvs: vec![pair(), pair()], more: true, count: 9 };
        let nested = Reply::Txn { revision, succeeded: false, responses: Vec::new() };
        let checkpoint = LeaseCheckpoint { id, incarnation: place, renewal: place, remaining_ms: Some(5) };
        vec![
            put.clone(),
            Reply::Delete { revision, deleted: 2, prev_kvs: vec![pair()] },
            range.clone(),
            Reply::Txn { revision, succeeded: true, responses: vec![put, range, nested] },
            Reply::Revision { revision: -1 },
            Reply::Compacted { revision },
            Reply::LeaseGranted { revision, id, ttl_seconds: 60 },
            Reply::LeaseRevoked { revision, id },
            Reply::LeaseExpired { revision, id, incarnation: place, expired: true },
            Reply::LeaseCheckpointed { revision, checkpoints: vec![checkpoint] },
            Reply::Leases { revision, ids: vec![1, id] },
            Reply::LeaseKeys { revision, id, granted_ttl_seconds: 9, keys: vec!["k".into()] },
            Reply::HashKv { revision, hash: u32::MAX, compact_revision: 1, hash_revision: 2 },
            Reply::Alarms { revision, alarms: vec![Alarm { kind: AlarmKind::NoSpace, member: u64::MAX }] },
            Reply::Tidied { done: true },
            Reply::SessionOpened {
                client: ClientId { cluster: ClusterId(u64::MAX), slot: Slot(8), index: 2 },
                window: 64,
            },
            Reply::SessionClosed,
        ]
    }

    #[test]
    fn every_reply_survives_its_encoding_and_no_part_of_it_is_one() {
        let kinds = one_of_each().into_iter().map(|reply| encode_to_bytes(&reply)[0]);
        assert_eq!(kinds.collect::<Vec<u8>>(), (KIND_PUT..KIND_ERROR).collect::<Vec<u8>>());
        for reply in one_of_each() {
            let bytes = encode_to_bytes(&reply);
            assert_eq!(decode_exact::<Reply>(bytes.clone()).as_ref(), Ok(&reply));
            for length in 0..bytes.len() {
                assert!(decode_exact::<Reply>(bytes.slice(..length)).is_err(), "{length} bytes of {reply:?}");
            }
        }
    }

    #[test]
    fn every_refusal_survives_its_encoding() {
        for number in 1..=16 {
            let error = error_of(number).unwrap();
            assert_eq!(number_of(&error), number);
            let reply = Reply::Error(error);
            assert_eq!(decode_exact::<Reply>(encode_to_bytes(&reply)), Ok(reply));
        }
        assert!(error_of(0).is_err() && error_of(17).is_err());
    }

    #[test]
    fn replies_nested_deeper_than_any_transaction_are_refused() {
        let nest = |depth: usize| {
            let empty = Reply::Txn { revision: 1, succeeded: true, responses: Vec::new() };
            (1..depth).fold(empty, |inner, _| Reply::Txn { revision: 1, succeeded: true, responses: vec![inner] })
        };
        assert!(decode_exact::<Reply>(encode_to_bytes(&nest(REPLY_DEPTH_MAX))).is_ok());
        assert!(decode_exact::<Reply>(encode_to_bytes(&nest(REPLY_DEPTH_MAX + 1))).is_err());
    }
}
