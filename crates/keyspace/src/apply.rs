//! Puts, deletes and alarms become changes. Each rule is etcd's (`server/etcdserver/apply` and `api/v3rpc/key.go`).

use crate::alarm::{AlarmAction, AlarmKind, AlarmRequest};
use crate::change::{Change, ChangeView, PutView};
use crate::error::KeyspaceError;
use crate::interval::Interval;
use crate::keyspace::Keyspace;
use crate::lease_request::LogPlace;
use crate::reply::{KeyValue, Reply};
use crate::request::{DeleteRangeRequest, PutRequest, Request};
use crate::revision::Revision;

/// One write under way: all of its changes share a main revision, and without a change it takes none.
pub(crate) struct Write {
    main: i64,
    changes: u32,
}

impl Write {
    /// What etcd puts into a header behind what was done so far.
    pub(crate) fn revision(&self) -> i64 {
        if self.changes == 0 { self.main - 1 } else { self.main }
    }

    fn next(&mut self) -> Revision {
        let revision = Revision { main: self.main, sub: self.changes };
        self.changes = self.changes.checked_add(1).expect("memory holds fewer than 2^32 changes of one write");
        revision
    }
}

impl Keyspace {
    pub(crate) fn begin_write(&self) -> Write {
        Write { main: self.revision + 1, changes: 0 }
    }

    pub(crate) fn end_write(&mut self, write: &Write) {
        self.revision = write.revision();
    }

    pub(crate) fn put(&mut self, request: &PutRequest) -> Result<Reply, KeyspaceError> {
        self.check_put(request)?;
        let mut write = self.begin_write();
        let reply = self.put_in(&mut write, request);
        self.end_write(&write);
        Ok(reply)
    }

    /// Whether a put that is right in itself is possible in this state.
    pub(crate) fn check_put(&self, request: &PutRequest) -> Result<(), KeyspaceError> {
        if request.lease != 0 && self.leases.get(request.lease).is_none() {
            return Err(KeyspaceError::LeaseNotFound);
        }
        let is_kept = request.ignore_value || request.ignore_lease;
        if is_kept && self.index.live_at(&request.key, self.log.len()).is_none() {
            return Err(KeyspaceError::KeyNotFound);
        }
        Ok(())
    }

    /// Does a put that was checked.
    pub(crate) fn put_in(&mut self, write: &mut Write, request: &PutRequest) -> Reply {
        self.applied_counts.puts += 1;
        // One search finds what was and notes what will be.
        let number = self.index.record(&request.key, self.log.len(), false);
        let prev_kv = number.filter(|_| request.prev_kv).map(|number| self.pair(number));
        let kept_value = number.filter(|_| request.ignore_value).map(|number| self.pair(number).value);
        let before = number.and_then(|number| self.log.view(number)).and_then(|change| change.put);
        let (created, version, lease_before) =
            before.map_or((None, 0, 0), |put| (Some(put.create_revision), put.version, put.lease));
        let revision = write.next();
        let lease = if request.ignore_lease { lease_before } else { request.lease };
        let value = kept_value.as_ref().unwrap_or(&request.value);
        let create_revision = created.unwrap_or(revision.main);
        let put = PutView { create_revision, version: version + 1, lease, value };
        self.append(&ChangeView { revision, key: &request.key, put: Some(put) });
        self.leases.move_key(&request.key, lease_before, lease);
        Reply::Put { revision: write.revision(), prev_kv }
    }

    pub(crate) fn delete_range(&mut self, request: &DeleteRangeRequest) -> Reply {
        let mut write = self.begin_write();
        let reply = self.delete_in(&mut write, request);
        self.end_write(&write);
        reply
    }

    /// All tombstones of one request are ordered by key.
    pub(crate) fn delete_in(&mut self, write: &mut Write, request: &DeleteRangeRequest) -> Reply {
        self.applied_counts.deletes += 1;
        let interval = Interval::new(&request.key, &request.range_end);
        let doomed: Vec<u64> = self.index.live_in(interval, self.log.len()).collect();
        let mut prev_kvs = Vec::new();
        for number in &doomed {
            let before = self.pair(*number);
            self.bury(write, &before.key, before.lease);
            if request.prev_kv {
                prev_kvs.push(before);
            }
        }
        let deleted = i64::try_from(doomed.len()).expect("memory holds fewer than 2^63 keys");
        Reply::Delete { revision: write.revision(), deleted, prev_kvs }
    }

    /// Writes the tombstone of a live key.
    pub(crate) fn bury(&mut self, write: &mut Write, key: &[u8], lease: i64) {
        self.record(&ChangeView { revision: write.next(), key, put: None });
        self.leases.move_key(key, lease, 0);
    }

    /// The pair that change `number` put.
    pub(crate) fn pair(&self, number: u64) -> KeyValue {
        let pair = self.log.get(number).and_then(Change::into_key_value);
        pair.expect("the index marks as live only numbers of puts that are in the log")
    }

    /// What raised alarms refuse. Reads of leases and of the hash stay possible: they help to find out what is wrong.
    pub(crate) fn check_alarms(&self, request: &Request) -> Result<(), KeyspaceError> {
        let refused = self.alarms.iter().rev().map(|alarm| alarm.kind).find(|kind| match (kind, request) {
            (_, Request::Alarm(_) | Request::LeaseCheckpoint(_)) => false,
            (AlarmKind::Corrupt, _) => true,
            (AlarmKind::NoSpace, request) => request.grows(),
        });
        refused.map_or(Ok(()), |kind| Err(kind.refusal()))
    }

    pub(crate) fn is_corrupt(&self) -> bool {
        self.alarms.iter().any(|alarm| alarm.kind == AlarmKind::Corrupt)
    }

    pub(crate) fn change_alarm(&mut self, request: AlarmRequest, place: LogPlace) -> Reply {
        let alarm = request.alarm;
        let has_changed = match request.action {
            AlarmAction::Activate => self.alarms.insert(alarm),
            AlarmAction::Deactivate => self.alarms.remove(&alarm),
        };
        if has_changed {
            self.note(&Request::Alarm(request), place);
        }
        let is_told = has_changed || request.action == AlarmAction::Activate;
        Reply::Alarms { revision: self.revision, alarms: if is_told { vec![alarm] } else { Vec::new() } }
    }
}
