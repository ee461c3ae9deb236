//! The keyspace against a slow and obvious twin: one whole copy of the map for every revision, and the list of its events.

use crate::client::{self, copy, everything};
use crate::draw::{any_range, any_request, place};
use bytes::Bytes;
use proptest::prelude::*;
use quorate_keyspace::{
    Alarm, AlarmAction, AlarmKind, AlarmRequest, Compare, CompareOperator, CompareTarget, DeleteRangeRequest, KeyValue,
    Keyspace, KeyspaceError, LogPlace, Operation, PutRequest, Query, RangeRequest, Reply, Request, SortOrder,
    SortTarget, TxnRequest,
};
use quorate_machine::{ApplyContext, StateMachine};
use quorate_types::Slot;
use std::collections::{BTreeMap, BTreeSet};

type Snapshot = BTreeMap<Vec<u8>, KeyValue>;

/// One revision: what the map is after it, and which keys it wrote, in order, with the pair or nothing for a delete.
#[derive(Clone, Default)]
struct Revision {
    map: Snapshot,
    events: Vec<(Vec<u8>, Option<KeyValue>)>,
}

/// `revisions[0]` is revision 1.
struct Twin {
    revisions: Vec<Revision>,
    compacted: i64,
    leases: BTreeMap<i64, (i64, LogPlace)>,
    alarms: BTreeSet<Alarm>,
}

impl Twin {
    fn new() -> Twin {
        Twin { revisions: vec![Revision::default()], compacted: 0, leases: BTreeMap::new(), alarms: BTreeSet::new() }
    }

    fn revision(&self) -> i64 {
        self.revisions.len() as i64
    }

    fn at(&self, revision: i64) -> &Revision {
        &self.revisions[revision as usize - 1]
    }

    /// The next revision, with nothing done in it yet.
    fn begin(&self) -> Revision {
        Revision { map: self.at(self.revision()).map.clone(), events: Vec::new() }
    }

    fn end(&mut self, next: Revision) -> i64 {
        if !next.events.is_empty() {
            self.revisions.push(next);
        }
        self.revision()
    }

    fn header(&self, next: &Revision) -> i64 {
        if next.events.is_empty() { self.revision() } else { self.revision() + 1 }
    }

    fn apply(&mut self, place: LogPlace, request: &Request) -> Reply {
        self.try_apply(place, request).unwrap_or_else(Reply::Error)
    }

    fn try_apply(&mut self, place: LogPlace, request: &Request) -> Result<Reply, KeyspaceError> {
        // The stateless rules have a table of their own.
        request.check()?;
        let is_raised = |wanted| self.alarms.iter().any(|alarm| alarm.kind == wanted);
        let grows = match request {
            Request::Put(_) | Request::LeaseGrant { .. } => true,
            Request::Txn(txn) => txn.may_put(),
            _ => false,
        };
        if is_raised(AlarmKind::Corrupt) && !matches!(request, Request::Alarm(_)) {
            return Err(KeyspaceError::Corrupt);
        }
        if is_raised(AlarmKind::NoSpace) && grows {
            return Err(KeyspaceError::NoSpace);
        }
        let mut next = self.begin();
        match request {
            Request::Put(put) => {
                self.check_put(put)?;
                let reply = self.put(put, &mut next);
                self.end(next);
                Ok(reply)
            }
            Request::DeleteRange(delete) => {
                let reply = self.delete(delete, &mut next);
                self.end(next);
                Ok(reply)
            }
            Request::Txn(txn) => {
                let before = next.map.clone();
                self.check_branch(&before, txn)?;
                let reply = self.transact(&before, txn, &mut next);
                self.end(next);
                Ok(reply)
            }
            Request::Compact { revision } => self.compact(*revision),
            Request::LeaseGrant { id, .. } if self.leases.contains_key(id) => Err(KeyspaceError::LeaseExists),
            Request::LeaseGrant { id, ttl_seconds } => {
                let ttl_seconds = (*ttl_seconds).max(1);
                self.leases.insert(*id, (ttl_seconds, place));
                Ok(Reply::LeaseGranted { revision: self.revision(), id: *id, ttl_seconds })
            }
            Request::LeaseRevoke { id } if !self.leases.contains_key(id) => Err(KeyspaceError::LeaseNotFound),
            Request::LeaseRevoke { id } => Ok(Reply::LeaseRevoked { revision: self.end_lease(*id), id: *id }),
            Request::LeaseExpire { id, incarnation, renewal } => {
                // Nothing is renewed in the log here, so the last renewal is the grant.
                let is_meant =
                    |granted_at| granted_at == *incarnation && renewal.is_none_or(|place| place == granted_at);
                let expired = self.leases.get(id).is_some_and(|(_, granted_at)| is_meant(*granted_at));
                let revision = if expired { self.end_lease(*id) } else { self.revision() };
                Ok(Reply::LeaseExpired { revision, id: *id, incarnation: *incarnation, expired })
            }
            Request::LeaseCheckpoint(_) => panic!("not drawn: {request:?}"),
            Request::Alarm(AlarmRequest { action: AlarmAction::Activate, alarm }) => {
                self.alarms.insert(*alarm);
                Ok(Reply::Alarms { revision: self.revision(), alarms: vec![*alarm] })
            }
            Request::Alarm(AlarmRequest { action: AlarmAction::Deactivate, alarm }) => {
                let alarms = self.alarms.take(alarm).into_iter().collect();
                Ok(Reply::Alarms { revision: self.revision(), alarms })
            }
        }
    }

    fn compact(&mut self, revision: i64) -> Result<Reply, KeyspaceError> {
        if revision <= self.compacted {
            return Err(KeyspaceError::Compacted);
        }
        if revision > self.revision() {
            return Err(KeyspaceError::FutureRevision);
        }
        self.compacted = revision;
        Ok(Reply::Compacted { revision: self.revision() })
    }

    fn end_lease(&mut self, id: i64) -> i64 {
        self.leases.remove(&id);
        let mut next = self.begin();
        let doomed: Vec<_> = next.map.iter().filter(|(_, pair)| pair.lease == id).map(|(key, _)| key.clone()).collect();
        for key in doomed {
            next.map.remove(&key);
            next.events.push((key, None));
        }
        self.end(next)
    }

    fn check_put(&self, put: &PutRequest) -> Result<(), KeyspaceError> {
        if put.lease != 0 && !self.leases.contains_key(&put.lease) {
            return Err(KeyspaceError::LeaseNotFound);
        }
        let exists = self.at(self.revision()).map.contains_key(&put.key[..]);
        if !exists && (put.ignore_value || put.ignore_lease) { Err(KeyspaceError::KeyNotFound) } else { Ok(()) }
    }

    fn put(&self, put: &PutRequest, next: &mut Revision) -> Reply {
        let revision = self.revision() + 1;
        let before = next.map.get(&put.key[..]).cloned();
        let fresh = KeyValue { key: put.key.clone(), create_revision: revision, ..KeyValue::default() };
        let mut after = before.clone().unwrap_or(fresh);
        after.mod_revision = revision;
        after.version += 1;
        if !put.ignore_value {
            after.value = put.value.clone();
        }
        if !put.ignore_lease {
            after.lease = put.lease;
        }
        next.events.push((put.key.to_vec(), Some(after.clone())));
        next.map.insert(put.key.to_vec(), after);
        Reply::Put { revision, prev_kv: before.filter(|_| put.prev_kv) }
    }

    fn delete(&self, delete: &DeleteRangeRequest, next: &mut Revision) -> Reply {
        let is_doomed = |key: &[u8]| is_in(key, &delete.key, &delete.range_end);
        let doomed: Vec<KeyValue> = next.map.values().filter(|pair| is_doomed(&pair.key)).cloned().collect();
        next.map.retain(|key, _| !is_doomed(key));
        next.events.extend(doomed.iter().map(|pair| (pair.key.to_vec(), None)));
        let deleted = doomed.len() as i64;
        Reply::Delete { revision: self.header(next), deleted, prev_kvs: if delete.prev_kv { doomed } else { vec![] } }
    }

    fn branch<'a>(&self, before: &Snapshot, txn: &'a TxnRequest) -> (bool, &'a [Operation]) {
        let succeeded = txn.compares.iter().all(|compare| holds(before, compare));
        (succeeded, if succeeded { &txn.success } else { &txn.failure })
    }

    /// The operations that will be done, nested ones in their place.
    fn taken<'a>(&self, before: &Snapshot, txn: &'a TxnRequest) -> Vec<&'a Operation> {
        let mut taken = Vec::new();
        for operation in self.branch(before, txn).1 {
            match operation {
                Operation::Txn(nested) => taken.extend(self.taken(before, nested)),
                other => taken.push(other),
            }
        }
        taken
    }

    /// etcd looks at all puts first and then at all ranges.
    fn check_branch(&self, before: &Snapshot, txn: &TxnRequest) -> Result<(), KeyspaceError> {
        let taken = self.taken(before, txn);
        let check = |operation: &&Operation| match operation {
            Operation::Put(put) => self.check_put(put).err(),
            _ => None,
        };
        if let Some(error) = taken.iter().find_map(check) {
            return Err(error);
        }
        let check = |operation: &&Operation| match operation {
            Operation::Range(range) => self.check_readable(range.revision).err(),
            _ => None,
        };
        taken.iter().find_map(check).map_or(Ok(()), Err)
    }

    fn transact(&self, before: &Snapshot, txn: &TxnRequest, next: &mut Revision) -> Reply {
        let (succeeded, branch) = self.branch(before, txn);
        let mut responses = Vec::new();
        for operation in branch {
            responses.push(match operation {
                Operation::Range(range) if range.revision <= 0 => read(&next.map, range, self.header(next)),
                Operation::Range(range) => read(&self.at(range.revision).map, range, self.header(next)),
                Operation::Put(put) => self.put(put, next),
                Operation::DeleteRange(delete) => self.delete(delete, next),
                Operation::Txn(nested) => self.transact(before, nested, next),
            });
        }
        Reply::Txn { revision: self.header(next), succeeded, responses }
    }

    fn check_readable(&self, revision: i64) -> Result<(), KeyspaceError> {
        if revision > self.revision() {
            return Err(KeyspaceError::FutureRevision);
        }
        if revision > 0 && revision < self.compacted { Err(KeyspaceError::Compacted) } else { Ok(()) }
    }

    fn range(&self, request: &RangeRequest) -> Reply {
        if request.key.is_empty() {
            return Reply::Error(KeyspaceError::KeyNotProvided);
        }
        if self.alarms.iter().any(|alarm| alarm.kind == AlarmKind::Corrupt) {
            return Reply::Error(KeyspaceError::Corrupt);
        }
        if let Err(error) = self.check_readable(request.revision) {
            return Reply::Error(error);
        }
        let at = if request.revision <= 0 { self.revision() } else { request.revision };
        read(&self.at(at).map, request, self.revision())
    }

    /// How many changes there are to keep, of how many keys.
    fn kept(&self) -> (u64, u64) {
        let mut keys: Vec<&[u8]> = Vec::new();
        if self.compacted > 0 {
            let mark = self.at(self.compacted);
            let old = mark.map.values().filter(|pair| pair.mod_revision < self.compacted);
            keys.extend(old.map(|pair| &pair.key[..]));
        }
        let from = (self.compacted - 1).max(0) as usize;
        keys.extend(self.revisions[from..].iter().flat_map(|revision| &revision.events).map(|(key, _)| &key[..]));
        let distinct: BTreeSet<_> = keys.iter().collect();
        (keys.len() as u64, distinct.len() as u64)
    }
}

fn holds(map: &Snapshot, compare: &Compare) -> bool {
    let found = map.values().filter(|pair| is_in(&pair.key, &compare.key, &compare.range_end));
    let mut found: Vec<KeyValue> = found.cloned().collect();
    if found.is_empty() {
        if matches!(compare.target, CompareTarget::Value(_)) {
            return false;
        }
        found.push(KeyValue::default());
    }
    found.iter().all(|pair| {
        let ordering = match &compare.target {
            CompareTarget::Version(version) => pair.version.cmp(version),
            CompareTarget::CreateRevision(revision) => pair.create_revision.cmp(revision),
            CompareTarget::ModRevision(revision) => pair.mod_revision.cmp(revision),
            CompareTarget::Value(value) => pair.value.cmp(value),
            CompareTarget::Lease(lease) => pair.lease.cmp(lease),
        };
        match compare.operator {
            CompareOperator::Equal => ordering.is_eq(),
            CompareOperator::Greater => ordering.is_gt(),
            CompareOperator::Less => ordering.is_lt(),
            CompareOperator::NotEqual => ordering.is_ne(),
        }
    })
}

fn read(map: &Snapshot, request: &RangeRequest, revision: i64) -> Reply {
    let mut kvs: Vec<KeyValue> = map.values().cloned().collect();
    kvs.retain(|pair| is_in(&pair.key, &request.key, &request.range_end));
    let count = kvs.len() as i64;
    if request.count_only {
        return Reply::Range { revision, kvs: vec![], more: false, count };
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
    Reply::Range { revision, kvs, more, count }
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

/// What one replica does between two commands, and another does not.
#[derive(Clone, Copy, Debug)]
enum Upkeep {
    Nothing,
    Tidy { changes: usize },
    Restart,
}

fn any_upkeep() -> impl Strategy<Value = Upkeep> {
    prop_oneof![
        5 => Just(Upkeep::Nothing),
        3 => (1..6usize).prop_map(|changes| Upkeep::Tidy { changes }),
        1 => Just(Upkeep::Restart),
    ]
}

fn restart(keyspace: &Keyspace) -> Keyspace {
    let present = (0..keyspace.item_count()).filter_map(|number| Some((number, keyspace.item(number)?)));
    let items: Vec<(u64, Bytes)> = present.collect();
    let restored = Keyspace::restore(keyspace.head(), &mut items.into_iter()).expect("its own image");
    assert_eq!(&restored, keyspace);
    restored
}

/// One replica keeps up with dropping and restarts now and then, the other never drops anything.
struct Pair {
    tidied: Keyspace,
    lazy: Keyspace,
    twin: Twin,
}

impl Pair {
    fn after(requests: &[(Request, Upkeep)]) -> Pair {
        let mut pair = Pair { tidied: Keyspace::empty(), lazy: Keyspace::empty(), twin: Twin::new() };
        for (slot, (request, upkeep)) in (1..).zip(requests) {
            let expected = pair.twin.apply(place(slot), request);
            assert_eq!(pair.tidied.apply_request(place(slot), request), expected, "{request:?}");
            assert_eq!(pair.lazy.apply_request(place(slot), request), expected, "{request:?}");
            match upkeep {
                Upkeep::Nothing => {}
                Upkeep::Tidy { changes } => drop(pair.tidied.tidy_slice(*changes)),
                Upkeep::Restart => pair.tidied = restart(&pair.tidied),
            }
        }
        pair
    }

    /// Everything that can be asked of either.
    fn compare(&self, ranges: &[RangeRequest]) {
        assert_eq!(self.tidied.digest(), self.lazy.digest());
        assert_eq!(self.tidied, self.lazy);
        for keyspace in [&self.tidied, &self.lazy] {
            for range in ranges {
                assert_eq!(keyspace.query(&Query::Range(range.clone())), self.twin.range(range), "{range:?}");
            }
            assert_eq!(keyspace.live_keys(), self.twin.at(self.twin.revision()).map.len() as u64);
            self.compare_history(keyspace);
            self.compare_leases(keyspace);
        }
        for revision in 0..=self.twin.revision() + 1 {
            let hash = Query::HashKv { revision };
            assert_eq!(self.tidied.query(&hash), self.lazy.query(&hash));
        }
    }

    fn compare_history(&self, keyspace: &Keyspace) {
        for revision in 1..=self.twin.revision() {
            let range = RangeRequest { revision, ..everything() };
            assert_eq!(keyspace.query(&Query::Range(range.clone())), self.twin.range(&range), "at {revision}");
        }
        let mut cursor = (self.twin.compacted - 1).max(1);
        while cursor < self.twin.revision() {
            let batch = keyspace.events_after(cursor, 2, &mut |_| true).expect("the mark can be read");
            let told = batch.events.iter().map(|event| (event.key.to_vec(), event.clone().into_key_value()));
            let told: Vec<_> = told.collect();
            let expected = &self.twin.revisions[cursor as usize..batch.through as usize];
            let expected: Vec<_> = expected.iter().flat_map(|revision| revision.events.clone()).collect();
            assert_eq!(told, expected);
            for event in &batch.events {
                let before = event.revision.main - 1;
                let previous =
                    if before < self.twin.compacted { None } else { self.twin.at(before).map.get(&event.key[..]) };
                assert_eq!(keyspace.pair_before(event).as_ref(), previous);
            }
            cursor = batch.through;
        }
        if self.twin.compacted > 2 {
            let refused = keyspace.events_after(self.twin.compacted - 2, 1, &mut |_| true);
            assert_eq!(refused, Err(KeyspaceError::Compacted));
        }
    }

    fn compare_leases(&self, keyspace: &Keyspace) {
        let now = &self.twin.at(self.twin.revision()).map;
        for id in 1..4 {
            let keys = now.values().filter(|pair| pair.lease == id).map(|pair| pair.key.clone()).collect();
            let expected = match self.twin.leases.get(&id) {
                Some((granted_ttl_seconds, _)) => {
                    let revision = self.twin.revision();
                    Reply::LeaseKeys { revision, id, granted_ttl_seconds: *granted_ttl_seconds, keys }
                }
                None => Reply::Error(KeyspaceError::LeaseNotFound),
            };
            assert_eq!(keyspace.query(&Query::LeaseKeys { id }), expected);
        }
        let alarms: Vec<Alarm> = self.twin.alarms.iter().copied().collect();
        assert_eq!(keyspace.query(&Query::Alarms), Reply::Alarms { revision: self.twin.revision(), alarms });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn any_history_answers_as_the_twin_does_whatever_is_dropped_already(
        requests in prop::collection::vec((any_request(), any_upkeep()), 0..80),
        ranges in prop::collection::vec(any_range(), 1..20),
    ) {
        let mut pair = Pair::after(&requests);
        pair.compare(&ranges);
        while pair.tidied.tidy() {}
        pair.compare(&ranges);
        let (changes, keys) = pair.twin.kept();
        prop_assert_eq!(pair.tidied.live_items(0..pair.tidied.item_count()), changes);
        prop_assert_eq!(pair.tidied.indexed_keys(), keys);
        prop_assert!(pair.tidied.is_tidied(pair.twin.compacted));
    }

    #[test]
    fn every_request_keeps_its_meaning_through_its_bytes(request in any_request()) {
        let bytes = quorate_wire::encode_to_bytes(&request);
        prop_assert_eq!(quorate_wire::decode_exact::<Request>(bytes).expect("its own bytes"), request);
    }

    #[test]
    fn damaged_requests_never_panic_and_refused_ones_change_nothing(
        requests in prop::collection::vec((any_request(), any::<prop::sample::Index>(), any::<u8>()), 1..30),
    ) {
        let mut keyspace = Keyspace::empty();
        for (slot, (request, at, byte)) in (1..).zip(requests) {
            let mut payload = quorate_wire::encode_to_bytes(&request).to_vec();
            let at = at.index(payload.len());
            payload[at] = byte;
            let before = keyspace.clone();
            let context = ApplyContext { slot: Slot(slot), ..client::CONTEXT };
            if let Reply::Error(_) = keyspace.apply(&context, &Bytes::from(payload)) {
                prop_assert_eq!(&keyspace, &before);
            }
            keyspace.tidy_slice(2);
        }
        restart(&keyspace);
    }
}
