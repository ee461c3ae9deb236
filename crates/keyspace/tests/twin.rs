//! The keyspace against a slow and obvious twin: one whole copy of the map for every revision.

mod client;

use client::{Client, Found, copy};
use proptest::prelude::*;
use quorate_keyspace::{
    DeleteRangeRequest, KeyValue, KeyspaceError, PutRequest, Query, RangeRequest, Reply, Request, SortOrder, SortTarget,
};
use quorate_machine::StateMachine;
use std::collections::BTreeMap;

type Snapshot = BTreeMap<Vec<u8>, KeyValue>;

/// `snapshots[0]` is revision 1.
struct Twin {
    snapshots: Vec<Snapshot>,
}

impl Twin {
    fn new() -> Twin {
        Twin { snapshots: vec![Snapshot::new()] }
    }

    fn revision(&self) -> i64 {
        self.snapshots.len() as i64
    }

    fn now(&self) -> Snapshot {
        self.snapshots.last().expect("revision 1 is always there").clone()
    }

    fn apply(&mut self, request: &Request) -> Reply {
        match request {
            Request::Put(put) => self.put(put),
            Request::DeleteRange(delete) => self.delete(delete),
            other => panic!("not drawn: {other:?}"),
        }
    }

    fn put(&mut self, put: &PutRequest) -> Reply {
        let mut map = self.now();
        let before = map.get(&put.key[..]).cloned();
        if put.key.is_empty() {
            return Reply::Error(KeyspaceError::KeyNotProvided);
        }
        if put.ignore_value && !put.value.is_empty() {
            return Reply::Error(KeyspaceError::ValueProvided);
        }
        if put.ignore_lease && put.lease != 0 {
            return Reply::Error(KeyspaceError::LeaseProvided);
        }
        if put.lease != 0 {
            return Reply::Error(KeyspaceError::LeaseNotFound);
        }
        if before.is_none() && (put.ignore_value || put.ignore_lease) {
            return Reply::Error(KeyspaceError::KeyNotFound);
        }
        let revision = self.revision() + 1;
        let mut after = before.clone().unwrap_or(KeyValue {
            key: put.key.clone(),
            create_revision: revision,
            ..KeyValue::default()
        });
        after.mod_revision = revision;
        after.version += 1;
        if !put.ignore_value {
            after.value = put.value.clone();
        }
        map.insert(put.key.to_vec(), after);
        self.snapshots.push(map);
        Reply::Put { revision, prev_kv: before.filter(|_| put.prev_kv) }
    }

    fn delete(&mut self, delete: &DeleteRangeRequest) -> Reply {
        if delete.key.is_empty() {
            return Reply::Error(KeyspaceError::KeyNotProvided);
        }
        let mut map = self.now();
        let doomed: Vec<KeyValue> =
            map.values().filter(|pair| is_in(&pair.key, &delete.key, &delete.range_end)).cloned().collect();
        map.retain(|key, _| !is_in(key, &delete.key, &delete.range_end));
        if !doomed.is_empty() {
            self.snapshots.push(map);
        }
        let deleted = doomed.len() as i64;
        Reply::Delete { revision: self.revision(), deleted, prev_kvs: if delete.prev_kv { doomed } else { vec![] } }
    }

    fn range(&self, request: &RangeRequest) -> Reply {
        if request.key.is_empty() {
            return Reply::Error(KeyspaceError::KeyNotProvided);
        }
        if request.revision > self.revision() {
            return Reply::Error(KeyspaceError::FutureRevision);
        }
        let at = if request.revision <= 0 { self.revision() } else { request.revision };
        let mut kvs: Vec<KeyValue> = self.snapshots[at as usize - 1].values().cloned().collect();
        kvs.retain(|pair| is_in(&pair.key, &request.key, &request.range_end));
        let count = kvs.len() as i64;
        if request.count_only {
            return Reply::Range { revision: self.revision(), kvs: vec![], more: false, count };
        }
        let [min_mod, max_mod] = [request.min_mod_revision, request.max_mod_revision];
        let [min_create, max_create] = [request.min_create_revision, request.max_create_revision];
        kvs.retain(|pair| min_mod == 0 || pair.mod_revision >= min_mod);
        kvs.retain(|pair| max_mod == 0 || pair.mod_revision <= max_mod);
        kvs.retain(|pair| min_create == 0 || pair.create_revision >= min_create);
        kvs.retain(|pair| max_create == 0 || pair.create_revision <= max_create);
        kvs.sort_by_key(|pair| sort_key(pair, request.sort_target));
        if request.sort_order == SortOrder::Descend {
            // Equal ones stay in order of key.
            kvs.sort_by_key(|pair| std::cmp::Reverse(sort_key(pair, request.sort_target)));
        }
        let more = request.limit > 0 && kvs.len() as i64 > request.limit;
        if more {
            kvs.truncate(request.limit as usize);
        }
        if request.keys_only {
            kvs.iter_mut().for_each(|pair| pair.value = copy(""));
        }
        Reply::Range { revision: self.revision(), kvs, more, count }
    }
}

fn is_in(key: &[u8], from: &[u8], end: &[u8]) -> bool {
    match end {
        b"" => key == from,
        b"\0" => key >= from,
        _ => key >= from && key < end,
    }
}

fn sort_key(pair: &KeyValue, target: SortTarget) -> Vec<u8> {
    match target {
        SortTarget::Key => pair.key.to_vec(),
        SortTarget::Version => pair.version.to_be_bytes().to_vec(),
        SortTarget::Create => pair.create_revision.to_be_bytes().to_vec(),
        SortTarget::Mod => pair.mod_revision.to_be_bytes().to_vec(),
        SortTarget::Value => pair.value.to_vec(),
    }
}

/// Few and short keys, so that they meet; with the bytes that the rules treat specially.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0, 1, b'a', b'b', 0xff]), 0..3)
}

fn any_range_end() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![2 => Just(vec![]), 1 => Just(vec![0]), 3 => any_key()]
}

fn any_put() -> impl Strategy<Value = Request> {
    let flags = (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let lease = prop_oneof![9 => Just(0i64), 1 => any::<i64>()];
    let value = prop::collection::vec(any::<u8>(), 0..3);
    (any_key(), value, lease, flags).prop_map(|(key, value, lease, (prev_kv, ignore_value, ignore_lease))| {
        Request::Put(PutRequest { key: copy(key), value: copy(value), lease, prev_kv, ignore_value, ignore_lease })
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let delete = (any_key(), any_range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| {
        Request::DeleteRange(DeleteRangeRequest { key: copy(key), range_end: copy(range_end), prev_kv })
    });
    prop_oneof![4 => any_put(), 1 => delete]
}

fn any_range() -> impl Strategy<Value = RangeRequest> {
    let bound = || prop_oneof![4 => Just(0i64), 1 => -1i64..30];
    let bounds = (bound(), bound(), bound(), bound());
    let sorting = (0..3i32, 0..5i32);
    let shape = (-1i64..6, 0i64..40, prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    (any_key(), any_range_end(), shape, sorting, bounds).prop_map(|(key, range_end, shape, sorting, bounds)| {
        RangeRequest {
            key: copy(key),
            range_end: copy(range_end),
            limit: shape.0,
            revision: shape.1,
            sort_order: SortOrder::try_from(sorting.0).expect("drawn from the defined ones"),
            sort_target: SortTarget::try_from(sorting.1).expect("drawn from the defined ones"),
            keys_only: shape.2,
            count_only: shape.3,
            min_mod_revision: bounds.0,
            max_mod_revision: bounds.1,
            min_create_revision: bounds.2,
            max_create_revision: bounds.3,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_history_answers_as_the_twin_does(
        requests in prop::collection::vec(any_request(), 0..40),
        ranges in prop::collection::vec(any_range(), 1..40),
    ) {
        let mut client = Client::new();
        let mut twin = Twin::new();
        for request in &requests {
            prop_assert_eq!(client.apply(request), twin.apply(request), "{:?}", request);
        }
        for range in &ranges {
            let answer = client.keyspace.query(&Query::Range(range.clone()));
            prop_assert_eq!(answer, twin.range(range), "{:?}", range);
        }
        for revision in 1..=twin.revision() {
            let Found { kvs, .. } = client.range(RangeRequest { revision, ..client::everything() });
            let expected: Vec<KeyValue> = twin.snapshots[revision as usize - 1].values().cloned().collect();
            prop_assert_eq!(kvs, expected, "at revision {}", revision);
        }
        prop_assert_eq!(client.keyspace.live_keys(), twin.now().len() as u64);
    }
}
