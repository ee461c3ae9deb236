//! Leases in the replicated state, and what is done to them.

use crate::error::KeyspaceError;
use crate::keyspace::Keyspace;
use crate::lease_request::{LeaseCheckpoint, LogPlace};
use crate::reply::Reply;
use crate::request::Request;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What every replica knows of a lease. Its deadline is known to the leader only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The time to live it was granted, in seconds; at least 1.
    pub ttl_seconds: i64,
    /// Where it was granted: tells it from other leases of the same id, and grows from one to the next.
    pub incarnation: LogPlace,
    /// Its last renewal in the log: the grant, or the last checkpoint that cleared.
    pub renewal: LogPlace,
    /// What it had left when the leader last said so, in milliseconds; nothing for all of it.
    pub remaining_ms: Option<u64>,
}

/// All leases, and which keys hang on them.
#[derive(Clone, Default)]
pub(crate) struct LeaseTable {
    leases: BTreeMap<i64, Lease>,
    /// Follows from the live keys, and so is no part of the image.
    attached: BTreeSet<(i64, Box<[u8]>)>,
}

impl LeaseTable {
    pub(crate) fn len(&self) -> usize {
        self.leases.len()
    }

    pub(crate) fn get(&self, id: i64) -> Option<&Lease> {
        self.leases.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.leases.iter().map(|(id, lease)| (*id, lease))
    }

    pub(crate) fn insert(&mut self, id: i64, lease: Lease) {
        self.leases.insert(id, lease);
    }

    /// A key goes from one lease to another; 0 is none.
    pub(crate) fn move_key(&mut self, key: &[u8], from: i64, to: i64) {
        if from == to {
            return;
        }
        if from != 0 {
            self.attached.remove(&(from, key.into()));
        }
        if to != 0 {
            self.attached.insert((to, key.into()));
        }
    }

    fn keys(&self, id: i64) -> impl Iterator<Item = &[u8]> {
        let from_here = self.attached.range((id, Box::default())..);
        from_here.take_while(move |(lease, _)| *lease == id).map(|(_, key)| &key[..])
    }

    /// A lease that keys hang on although there is no such lease.
    pub(crate) fn missing(&self) -> Option<i64> {
        self.attached.iter().map(|(id, _)| *id).find(|id| !self.leases.contains_key(id))
    }
}

impl Keyspace {
    pub(crate) fn grant_lease(&mut self, id: i64, ttl_seconds: i64, place: LogPlace) -> Result<Reply, KeyspaceError> {
        if self.leases.get(id).is_some() {
            return Err(KeyspaceError::LeaseExists);
        }
        let ttl_seconds = ttl_seconds.max(1);
        self.leases.insert(id, Lease { ttl_seconds, incarnation: place, renewal: place, remaining_ms: None });
        self.note(&Request::LeaseGrant { id, ttl_seconds }, place);
        Ok(Reply::LeaseGranted { revision: self.revision, id, ttl_seconds })
    }

    pub(crate) fn revoke_lease(&mut self, id: i64, place: LogPlace) -> Result<Reply, KeyspaceError> {
        if self.leases.get(id).is_none() {
            return Err(KeyspaceError::LeaseNotFound);
        }
        self.end_lease(id);
        self.note(&Request::LeaseRevoke { id }, place);
        Ok(Reply::LeaseRevoked { revision: self.revision, id })
    }

    /// Its proposer may not have known of a renewal that is in the log by now: then the lease lives on.
    pub(crate) fn expire_lease(
        &mut self,
        id: i64,
        incarnation: LogPlace,
        renewal: Option<LogPlace>,
        place: LogPlace,
    ) -> Reply {
        let is_meant = |lease: &Lease| renewal.is_none_or(|renewal| renewal == lease.renewal);
        let expired = self.leases.get(id).is_some_and(|lease| lease.incarnation == incarnation && is_meant(lease));
        if expired {
            self.end_lease(id);
            self.note(&Request::LeaseExpire { id, incarnation, renewal }, place);
        }
        Reply::LeaseExpired { revision: self.revision, id, incarnation, expired }
    }

    /// The tombstones of its keys are one write, in order of key.
    fn end_lease(&mut self, id: i64) {
        let keys: Vec<Box<[u8]>> = self.leases.keys(id).map(Box::from).collect();
        let mut write = self.begin_write();
        for key in &keys {
            self.bury(&mut write, key, id);
        }
        self.end_write(&write);
        self.leases.leases.remove(&id);
    }

    /// Each checkpoint stands for itself: those that came too late are passed over.
    pub(crate) fn checkpoint_leases(&mut self, checkpoints: &[LeaseCheckpoint], place: LogPlace) -> Reply {
        let mut has_changed = false;
        for checkpoint in checkpoints {
            let lease = self.leases.leases.get_mut(&checkpoint.id);
            let Some(lease) = lease.filter(|lease| lease.incarnation == checkpoint.incarnation) else { continue };
            match checkpoint.remaining_ms {
                None => {
                    lease.renewal = place;
                    lease.remaining_ms = None;
                    has_changed = true;
                }
                Some(_) if lease.renewal == checkpoint.renewal => {
                    lease.remaining_ms = checkpoint.remaining_ms;
                    has_changed = true;
                }
                Some(_) => {}
            }
        }
        if has_changed {
            self.note(&Request::LeaseCheckpoint(checkpoints.to_vec()), place);
        }
        Reply::LeaseCheckpointed { revision: self.revision, checkpoints: checkpoints.to_vec() }
    }

    pub(crate) fn lease_keys(&self, id: i64) -> Result<Reply, KeyspaceError> {
        let lease = self.leases.get(id).ok_or(KeyspaceError::LeaseNotFound)?;
        let keys = self.leases.keys(id).map(Bytes::copy_from_slice).collect();
        Ok(Reply::LeaseKeys { revision: self.revision, id, granted_ttl_seconds: lease.ttl_seconds, keys })
    }
}
