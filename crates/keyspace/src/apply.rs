//! Requests become changes. Each rule is etcd's (`server/etcdserver/apply.go` and `api/v3rpc/key.go`).

use crate::change::{Change, ChangeKind};
use crate::error::KeyspaceError;
use crate::interval::Interval;
use crate::keyspace::Keyspace;
use crate::reply::{KeyValue, Reply};
use crate::request::{DeleteRangeRequest, PutRequest};
use crate::revision::Revision;
use bytes::Bytes;

impl Keyspace {
    pub(crate) fn put(&mut self, request: &PutRequest) -> Result<Reply, KeyspaceError> {
        request.check()?;
        if request.lease != 0 {
            // There are no leases yet, so no id but 0 names one.
            return Err(KeyspaceError::LeaseNotFound);
        }
        let before = self.live_pair(&request.key);
        if before.is_none() && (request.ignore_value || request.ignore_lease) {
            return Err(KeyspaceError::KeyNotFound);
        }
        let main = self.revision + 1;
        self.record(&Change {
            revision: Revision { main, sub: 0 },
            key: request.key.clone(),
            kind: put_over(before.as_ref(), request, main),
        });
        self.revision = main;
        let prev_kv = before.filter(|_| request.prev_kv);
        Ok(Reply::Put { revision: main, prev_kv })
    }

    /// All tombstones of one request share its main revision and are ordered by key. Deleting nothing takes no
    /// revision.
    pub(crate) fn delete_range(&mut self, request: &DeleteRangeRequest) -> Result<Reply, KeyspaceError> {
        request.check()?;
        let interval = Interval::new(&request.key, &request.range_end);
        let doomed: Vec<u64> = self.index.live_in(interval, self.log.len()).collect();
        let main = self.revision + 1;
        let mut prev_kvs = Vec::new();
        for (sub, number) in (0..).zip(&doomed) {
            let before = self.pair(*number);
            self.record(&Change {
                revision: Revision { main, sub },
                key: before.key.clone(),
                kind: ChangeKind::Delete,
            });
            if request.prev_kv {
                prev_kvs.push(before);
            }
        }
        if !doomed.is_empty() {
            self.revision = main;
        }
        let deleted = i64::try_from(doomed.len()).expect("memory holds fewer than 2^63 keys");
        Ok(Reply::Delete { revision: self.revision, deleted, prev_kvs })
    }

    /// The pair that change `number` put.
    pub(crate) fn pair(&self, number: u64) -> KeyValue {
        let pair = self.log.get(number).and_then(Change::into_key_value);
        pair.expect("the index marks as live only numbers of puts that are in the log")
    }

    fn live_pair(&self, key: &Bytes) -> Option<KeyValue> {
        self.index.live_at(key, self.log.len()).map(|number| self.pair(number))
    }
}

/// What the key becomes.
fn put_over(before: Option<&KeyValue>, request: &PutRequest, main: i64) -> ChangeKind {
    let Some(before) = before else {
        return ChangeKind::Put {
            create_revision: main,
            version: 1,
            lease: request.lease,
            value: request.value.clone(),
        };
    };
    ChangeKind::Put {
        create_revision: before.create_revision,
        version: before.version + 1,
        lease: if request.ignore_lease { before.lease } else { request.lease },
        value: if request.ignore_value { before.value.clone() } else { request.value.clone() },
    }
}
