//! The keyspace, as random campaigns use and judge it.

use super::subject::{Judged, MIRROR, Meaning, Versioned};
use bytes::Bytes;
use quorate_keyspace::{
    Alarm, AlarmAction, AlarmKind, AlarmRequest, Compare, CompareOperator, CompareTarget, DeleteRangeRequest, KeyValue,
    Keyspace, KeyspaceDutyConfig, KeyspaceError, LeaseAnswer, LeaseErrand, Operation, PutRequest, Query, RangeRequest,
    Reply, Request, TxnRequest,
};
use quorate_types::NodeId;
use quorate_wire::{decode_exact, encode_to_bytes};
use std::time::Duration;

/// The range of all keys.
fn everything() -> RangeRequest {
    RangeRequest { key: Bytes::from_static(&[0]), range_end: Bytes::from_static(&[0]), ..RangeRequest::default() }
}

/// Revisions are positive; one that is not stands before all of them.
fn unsigned(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}

fn versioned(pairs: &[KeyValue]) -> Vec<Versioned> {
    let versioned = |pair: &KeyValue| Versioned {
        key: pair.key.clone(),
        value: pair.value.clone(),
        written_at: unsigned(pair.mod_revision),
    };
    pairs.iter().map(versioned).collect()
}

impl Judged for Keyspace {
    fn put(key: &Bytes, value: &Bytes) -> Bytes {
        let put = PutRequest { key: key.clone(), value: value.clone(), ..PutRequest::default() };
        encode_to_bytes(&Request::Put(put))
    }

    fn delete(key: &Bytes) -> Bytes {
        let delete = DeleteRangeRequest { key: key.clone(), ..DeleteRangeRequest::default() };
        encode_to_bytes(&Request::DeleteRange(delete))
    }

    const SWAPS_WRITE_MIRRORS: bool = true;

    fn swap(key: &Bytes, expected: Option<&Bytes>, value: &Bytes) -> Option<Bytes> {
        let target = match expected {
            Some(expected) => CompareTarget::Value(expected.clone()),
            None => CompareTarget::CreateRevision(0),
        };
        let compare = Compare { key: key.clone(), range_end: Bytes::new(), operator: CompareOperator::Equal, target };
        let put = |key: Bytes| Operation::Put(PutRequest { key, value: value.clone(), ..PutRequest::default() });
        let mirror = Bytes::from([MIRROR, key].concat());
        let read = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        Some(encode_to_bytes(&Request::Txn(TxnRequest {
            compares: vec![compare],
            success: vec![put(key.clone()), put(mirror)],
            failure: vec![Operation::Range(read)],
        })))
    }

    fn compact(revision: u64) -> Option<Bytes> {
        Some(encode_to_bytes(&Request::Compact { revision: i64::try_from(revision).ok()? }))
    }

    fn grant(lease: u64, ttl_seconds: u64) -> Option<Bytes> {
        let ttl_seconds = i64::try_from(ttl_seconds).ok()?;
        Some(encode_to_bytes(&Request::LeaseGrant { id: lease.cast_signed(), ttl_seconds }))
    }

    fn attach(lease: u64, key: &Bytes, value: &Bytes) -> Option<Bytes> {
        let lease = lease.cast_signed();
        let put = PutRequest { key: key.clone(), value: value.clone(), lease, ..PutRequest::default() };
        Some(encode_to_bytes(&Request::Put(put)))
    }

    fn revoke(lease: u64) -> Option<Bytes> {
        Some(encode_to_bytes(&Request::LeaseRevoke { id: lease.cast_signed() }))
    }

    fn keep_alive(lease: u64) -> Option<Bytes> {
        Some(encode_to_bytes(&LeaseErrand::KeepAlive { id: lease.cast_signed() }))
    }

    fn errand_meaning(answer: &Bytes) -> Meaning {
        match decode_exact::<LeaseAnswer>(answer.clone()) {
            Ok(LeaseAnswer::Renewed { .. }) => Meaning::Renewed,
            Ok(LeaseAnswer::Unknown) => Meaning::NoLease,
            other => Meaning::Refused(format!("{other:?}")),
        }
    }

    fn leases(&self) -> Vec<u64> {
        Keyspace::leases(self).map(|(id, _)| id.cast_unsigned()).collect()
    }

    fn clear_low_space(member: NodeId) -> Option<Bytes> {
        let alarm = Alarm { kind: AlarmKind::NoSpace, member: member.0 };
        Some(encode_to_bytes(&Request::Alarm(AlarmRequest { action: AlarmAction::Deactivate, alarm })))
    }

    fn low_space(&self) -> Vec<NodeId> {
        let low = self.alarms().filter(|alarm| alarm.kind == AlarmKind::NoSpace);
        low.map(|alarm| NodeId(alarm.member)).collect()
    }

    fn history(&self) -> Option<&dyn quorate_watch::History> {
        Some(self)
    }

    fn duty(lease_checkpoints_every: Duration) -> KeyspaceDutyConfig {
        let checkpoint_interval_ms = u64::try_from(lease_checkpoints_every.as_millis()).unwrap_or(u64::MAX);
        KeyspaceDutyConfig { checkpoint_interval_ms, ..KeyspaceDutyConfig::default() }
    }

    fn get(key: Option<&Bytes>) -> Query {
        Query::Range(match key {
            Some(key) => RangeRequest { key: key.clone(), ..RangeRequest::default() },
            None => everything(),
        })
    }

    fn meaning(reply: &Reply) -> Meaning {
        match reply {
            Reply::Put { revision, .. } => Meaning::Put { revision: unsigned(*revision) },
            Reply::Delete { revision, deleted, .. } => {
                Meaning::Delete { revision: unsigned(*revision), existed: *deleted > 0 }
            }
            Reply::Range { revision, kvs, .. } => {
                Meaning::Found { revision: unsigned(*revision), entries: versioned(kvs) }
            }
            Reply::Txn { revision, succeeded, .. } => {
                Meaning::Swapped { revision: unsigned(*revision), succeeded: *succeeded }
            }
            Reply::SessionOpened { client, .. } => Meaning::Opened { client: *client },
            Reply::SessionClosed => Meaning::Closed,
            Reply::LeaseGranted { .. } => Meaning::Granted,
            Reply::LeaseRevoked { revision, .. } => Meaning::Revoked { revision: unsigned(*revision) },
            Reply::Error(KeyspaceError::LeaseNotFound) => Meaning::NoLease,
            Reply::Error(KeyspaceError::NoSpace) => Meaning::NoSpace,
            Reply::Alarms { .. } => Meaning::Cleared,
            // A compaction of what is compacted already, or is not there yet, changes nothing.
            Reply::Compacted { .. } | Reply::Error(KeyspaceError::Compacted | KeyspaceError::FutureRevision) => {
                Meaning::Compacted
            }
            other => Meaning::Refused(format!("{other:?}")),
        }
    }

    fn oldest_revision(&self) -> u64 {
        // Revisions can be read from the mark on, and the hash names the mark; 0 is none.
        match quorate_machine::StateMachine::query(self, &Query::HashKv { revision: 0 }) {
            Reply::HashKv { compact_revision, .. } => unsigned(compact_revision).max(1),
            _ => 1,
        }
    }

    fn revision(&self) -> u64 {
        unsigned(Keyspace::revision(self))
    }

    fn contents_at(&self, revision: u64) -> Result<Vec<Versioned>, String> {
        let revision = i64::try_from(revision).map_err(|why| why.to_string())?;
        match quorate_machine::StateMachine::query(self, &Query::Range(RangeRequest { revision, ..everything() })) {
            Reply::Range { kvs, .. } => Ok(versioned(&kvs)),
            other => Err(format!("{other:?}")),
        }
    }
}
