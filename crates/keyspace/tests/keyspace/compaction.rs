//! Compaction, the physical side of it, what survives it, and the hash that members are compared by.

use crate::client::{Client, copy, everything};
use bytes::Bytes;
use quorate_keyspace::{
    Alarm, AlarmAction, AlarmKind, AlarmRequest, ChangeKind, Keyspace, KeyspaceError, PutRequest, Query, RangeRequest,
    Reply, Request, TxnRequest,
};
use quorate_machine::StateMachine;

fn compact(client: &mut Client, revision: i64) -> Reply {
    client.apply(&Request::Compact { revision })
}

fn tidy(client: &mut Client) {
    while client.keyspace.tidy() {}
}

fn kept(keyspace: &Keyspace) -> Vec<u64> {
    (0..keyspace.item_count()).filter(|number| keyspace.item(*number).is_some()).collect()
}

fn hash(keyspace: &Keyspace, revision: i64) -> u32 {
    match keyspace.query(&Query::HashKv { revision }) {
        Reply::HashKv { hash, .. } => hash,
        other => panic!("{other:?}"),
    }
}

fn items(keyspace: &Keyspace) -> Vec<(u64, Bytes)> {
    (0..keyspace.item_count()).filter_map(|number| Some((number, keyspace.item(number)?))).collect()
}

#[test]
fn marks_go_up_and_not_beyond_the_present() {
    let mut client = Client::with(&[("a", "1"), ("a", "2"), ("a", "3")]);
    assert_eq!(compact(&mut client, 0), Reply::Error(KeyspaceError::Compacted));
    assert_eq!(compact(&mut client, -1), Reply::Error(KeyspaceError::Compacted));
    assert_eq!(compact(&mut client, 5), Reply::Error(KeyspaceError::FutureRevision));
    assert_eq!(compact(&mut client, 3), Reply::Compacted { revision: 4 });
    assert_eq!(compact(&mut client, 3), Reply::Error(KeyspaceError::Compacted));
    assert_eq!(compact(&mut client, 2), Reply::Error(KeyspaceError::Compacted));
    assert_eq!(compact(&mut client, 4), Reply::Compacted { revision: 4 }, "the present is allowed");
    assert_eq!(compact(&mut Client::new(), 1), Reply::Compacted { revision: 1 });
}

#[test]
fn reads_below_the_mark_fail_at_once_and_reads_at_the_mark_work_before_and_after_dropping() {
    let mut client = Client::with(&[("a", "1"), ("b", "1"), ("a", "2"), ("a", "3")]);
    let at = |client: &Client, revision| {
        let found = client.range(RangeRequest { revision, ..everything() });
        found.kvs.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect::<Vec<_>>()
    };
    compact(&mut client, 4);
    for _ in 0..2 {
        assert_eq!(client.range_refused(RangeRequest { revision: 3, ..everything() }), KeyspaceError::Compacted);
        assert_eq!(at(&client, 4), [(copy("a"), copy("2")), (copy("b"), copy("1"))]);
        assert_eq!(at(&client, 5), [(copy("a"), copy("3")), (copy("b"), copy("1"))]);
        tidy(&mut client);
    }
    assert_eq!(kept(&client.keyspace), [1, 2, 3], "only the first change of a is superseded at the mark");
}

#[test]
fn a_tombstone_goes_with_the_next_mark_above_it_and_its_key_with_it() {
    let mut client = Client::with(&[("a", "1"), ("b", "1")]);
    client.delete("a", "");
    compact(&mut client, 4);
    tidy(&mut client);
    assert_eq!(kept(&client.keyspace), [1, 2], "a watcher that starts at the mark is told of the delete");
    assert_eq!(client.keyspace.indexed_keys(), 2);
    client.put("b", "2");
    compact(&mut client, 5);
    tidy(&mut client);
    assert_eq!(kept(&client.keyspace), [3]);
    assert_eq!(client.keyspace.indexed_keys(), 1);
    assert_eq!(client.put("a", "again"), 6);
    assert_eq!(client.get("a").unwrap().version, 1);
    assert_eq!(client.keyspace.item_count(), 5, "numbers are never used again");
    assert_eq!(client.keyspace.change(0), None);
}

#[test]
fn dropping_is_local_and_does_not_show() {
    let mut client = Client::new();
    for number in 0..600 {
        client.put(format!("k{}", number % 50), format!("v{number}"));
    }
    compact(&mut client, 400);
    let before = client.keyspace.clone();
    assert!(!client.keyspace.is_tidied(400));
    assert_eq!(client.keyspace.query(&Query::Tidied { revision: 400 }), Reply::Tidied { done: false });
    let mut slices = 0;
    while client.keyspace.tidy() {
        slices += 1;
        assert_eq!(client.keyspace, before);
        assert_eq!((client.keyspace.digest(), client.keyspace.head()), (before.digest(), before.head()));
    }
    assert!(slices >= 1);
    assert!(client.keyspace.is_tidied(400));
    assert_eq!(client.keyspace.query(&Query::Tidied { revision: 400 }), Reply::Tidied { done: true });
    assert!(client.keyspace.history_bytes() < before.history_bytes());
}

#[test]
fn memory_shrinks_to_about_what_lives() {
    let mut client = Client::new();
    let value = [7; 1_000];
    for number in 0..20_000 {
        client.put(format!("key-{:03}", number % 500), value);
    }
    let before = client.keyspace.history_memory_bytes();
    assert!(before > 20_000_000);
    compact(&mut client, 20_001);
    tidy(&mut client);
    let keyspace = &client.keyspace;
    assert_eq!(keyspace.live_items(0..keyspace.item_count()), 500);
    assert_eq!(keyspace.live_items(0..19_500), 0);
    assert_eq!(keyspace.live_items(19_600..19_700), 100);
    let bound = 2 * keyspace.history_bytes() + (256 << 10);
    assert!(keyspace.history_memory_bytes() <= bound, "{} over {bound}", keyspace.history_memory_bytes());
    assert_eq!(client.range(everything()).count, 500);
}

#[test]
fn survivors_scattered_over_history_are_gathered() {
    let mut client = Client::new();
    let value = [7; 500];
    for number in 0..40_000 {
        // One in a hundred stays.
        let key = if number % 100 == 0 { format!("stays-{number:05}") } else { "goes".to_owned() };
        client.put(key, value);
    }
    client.put([b'l'; 30_000], vec![1; 100_000]);
    compact(&mut client, 40_000);
    tidy(&mut client);
    let keyspace = &client.keyspace;
    assert_eq!(keyspace.live_items(0..keyspace.item_count()), 403);
    assert!(keyspace.history_memory_bytes() <= 2 * keyspace.history_bytes() + (256 << 10));
    let found = client.range(RangeRequest { key: copy("stays"), range_end: copy("stayt"), ..RangeRequest::default() });
    assert_eq!(found.kvs.len(), 400);
    assert!(found.kvs.iter().all(|pair| pair.value == value[..]));
    // Holes of any size are stepped over.
    let batch = keyspace.events_after(39_999, 10, &mut |_| true).unwrap();
    assert_eq!(batch.events.len(), 2 + 1);
    assert_eq!(batch.through, 40_002);
}

#[test]
fn a_compacted_image_restores_and_goes_on() {
    let mut client = Client::new();
    client.apply(&Request::LeaseGrant { id: 5, ttl_seconds: 60 });
    for number in 0..2_000 {
        let lease = if number % 3 == 0 { 5 } else { 0 };
        let key = copy(format!("k{:03}", number % 300));
        client.apply(&Request::Put(PutRequest { key, value: copy([0; 300]), lease, ..PutRequest::default() }));
    }
    client.delete("k100", "k200");
    client.apply(&Request::Alarm(AlarmRequest {
        action: AlarmAction::Activate,
        alarm: Alarm { kind: AlarmKind::NoSpace, member: 3 },
    }));
    for mark in [1_000, 2_001, 2_002] {
        compact(&mut client, mark);
        for _ in 0..3 {
            let restored = Keyspace::restore(client.keyspace.head(), &mut items(&client.keyspace).into_iter()).unwrap();
            assert_eq!(restored, client.keyspace);
            assert_eq!(restored.digest(), client.keyspace.digest());
            let mut other = Client { keyspace: restored };
            tidy(&mut other);
            assert_eq!(other.keyspace, client.keyspace);
            let revoke = Request::LeaseRevoke { id: 5 };
            assert_eq!(other.apply(&revoke), client.keyspace.clone().apply_request(Default::default(), &revoke));
            client.keyspace.tidy();
        }
        tidy(&mut client);
    }
    assert_eq!(client.keyspace.alarms().count(), 1);
}

#[test]
fn a_deleted_key_cannot_come_back_from_an_image_that_lost_only_its_tombstone() {
    let mut client = Client::with(&[("a", "1"), ("b", "1")]);
    client.delete("a", "");
    client.put("b", "2");
    compact(&mut client, 5);
    let whole = items(&client.keyspace);
    let restore = |numbers: &[usize]| {
        let items: Vec<_> = numbers.iter().map(|number| whole[*number].clone()).collect();
        Keyspace::restore(client.keyspace.head(), &mut items.into_iter())
    };
    // What is condemned may be there or not.
    for numbers in [&[0, 1, 2, 3][..], &[1, 2, 3], &[2, 3], &[1, 3], &[3]] {
        assert_eq!(restore(numbers).unwrap(), client.keyspace, "{numbers:?}");
    }
    assert!(restore(&[0, 3]).unwrap_err().why.contains("live keys"));
    assert!(restore(&[0, 1, 2]).is_err(), "what is needed must be there");
}

#[test]
fn holes_above_the_mark_and_disorder_below_it_are_refused() {
    let mut client = Client::with(&[("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("d", "1")]);
    compact(&mut client, 4);
    let (head, whole) = (client.keyspace.head(), items(&client.keyspace));
    let restore = |items: Vec<(u64, Bytes)>| Keyspace::restore(head.clone(), &mut items.into_iter());
    let pick = |numbers: &[usize]| numbers.iter().map(|number| whole[*number].clone()).collect::<Vec<_>>();
    assert!(restore(pick(&[1, 2, 3, 4])).is_ok());
    assert!(restore(pick(&[1, 2, 4])).unwrap_err().why.contains("cannot follow"));
    assert!(restore(pick(&[1, 2, 3])).unwrap_err().why.contains("items"));
    assert!(restore(pick(&[2, 1, 3, 4])).unwrap_err().why.contains("it follows item"));
    let renumbered = vec![whole[1].clone(), whole[2].clone(), (4, whole[3].1.clone()), (5, whole[4].1.clone())];
    assert!(restore(renumbered).is_err());
    let swapped = vec![(1, whole[2].1.clone()), (2, whole[1].1.clone()), whole[3].clone(), whole[4].clone()];
    assert!(restore(swapped).is_err());
}

// Hash

#[test]
fn the_hash_is_the_same_before_and_after_dropping_and_on_tombstone_boundaries() {
    let mut client = Client::new();
    for round in 0..4 {
        for key in ["a", "b", "c"] {
            client.put(key, format!("{round}"));
            if round % 2 == 0 {
                client.delete(key, "");
            }
        }
    }
    let newest = client.keyspace.revision();
    for mark in 2..=newest {
        let mut one = Client { keyspace: client.keyspace.clone() };
        compact(&mut one, mark);
        let before: Vec<u32> = (mark..=newest).map(|revision| hash(&one.keyspace, revision)).collect();
        tidy(&mut one);
        let after: Vec<u32> = (mark..=newest).map(|revision| hash(&one.keyspace, revision)).collect();
        assert_eq!(before, after, "mark {mark}");
        let below = one.keyspace.query(&Query::HashKv { revision: mark - 1 });
        assert_eq!(below, Reply::Error(KeyspaceError::Compacted));
        // In steps or at once is the same.
        let mut stepwise = Client { keyspace: client.keyspace.clone() };
        for step in 2..=mark {
            compact(&mut stepwise, step);
            tidy(&mut stepwise);
        }
        assert_eq!(hash(&stepwise.keyspace, 0), hash(&one.keyspace, 0), "mark {mark}");
    }
}

#[test]
fn the_hash_tells_what_it_covers() {
    let client = Client::with(&[("a", "1"), ("b", "1")]);
    let Reply::HashKv { revision, hash: whole, compact_revision, hash_revision } =
        client.keyspace.query(&Query::HashKv { revision: 0 })
    else {
        panic!("a hash was asked")
    };
    assert_eq!((revision, compact_revision, hash_revision), (3, 0, 3));
    assert_ne!(whole, hash(&client.keyspace, 2));
    assert_eq!(whole, hash(&client.keyspace, 3));
    let mut bytes = Vec::new();
    (0..2).for_each(|number| bytes.extend_from_slice(&client.keyspace.item(number).unwrap()));
    assert_eq!(whole, crc32c::crc32c(&bytes));
    let future = client.keyspace.query(&Query::HashKv { revision: 4 });
    assert_eq!(future, Reply::Error(KeyspaceError::FutureRevision));
}

// Watchers

#[test]
fn events_come_in_whole_revisions_and_only_for_wanted_keys() {
    let mut client = Client::with(&[("a", "1"), ("b", "1"), ("c", "1")]);
    client.delete("a", "z");
    client.put("a", "2");
    let batch = client.keyspace.events_after(3, 2, &mut |_| true).unwrap();
    assert_eq!((batch.events.len(), batch.through), (4, 5), "the delete of three is not cut");
    let batch = client.keyspace.events_after(batch.through, 2, &mut |_| true).unwrap();
    assert_eq!((batch.events.len(), batch.through), (1, 6));
    let batch = client.keyspace.events_after(1, 100, &mut |key| key == b"b").unwrap();
    let kinds: Vec<bool> = batch.events.iter().map(|event| event.kind == ChangeKind::Delete).collect();
    assert_eq!((kinds, batch.through), (vec![false, true], 6));
    let nothing = client.keyspace.events_after(6, 100, &mut |_| true).unwrap();
    assert_eq!((nothing.events.len(), nothing.through), (0, 6));
    let future = client.keyspace.events_after(60, 100, &mut |_| true).unwrap();
    assert_eq!((future.events.len(), future.through), (0, 60));
}

// Alarms

#[test]
fn alarms_refuse_what_they_should_and_nothing_else() {
    let put = || Request::Put(PutRequest { key: copy("k"), ..PutRequest::default() });
    let txn = |may_put: bool| {
        let put = quorate_keyspace::Operation::Put(PutRequest { key: copy("k"), ..PutRequest::default() });
        Request::Txn(TxnRequest { failure: if may_put { vec![put] } else { vec![] }, ..TxnRequest::default() })
    };
    let raise = |kind| AlarmRequest { action: AlarmAction::Activate, alarm: Alarm { kind, member: 1 } };
    let mut client = Client::with(&[("a", "1")]);
    client.apply(&Request::LeaseGrant { id: 1, ttl_seconds: 60 });
    client.apply(&Request::Alarm(raise(AlarmKind::NoSpace)));
    for growing in [put(), txn(true), Request::LeaseGrant { id: 2, ttl_seconds: 60 }] {
        assert_eq!(client.apply(&growing), Reply::Error(KeyspaceError::NoSpace), "{growing:?}");
    }
    assert!(matches!(client.apply(&txn(false)), Reply::Txn { .. }));
    assert_eq!(client.delete("a", "").1, 1);
    assert!(matches!(compact(&mut client, 2), Reply::Compacted { .. }));
    assert!(matches!(client.apply(&Request::LeaseRevoke { id: 1 }), Reply::LeaseRevoked { .. }));

    client.apply(&Request::Alarm(raise(AlarmKind::Corrupt)));
    let revoke = Request::LeaseRevoke { id: 1 };
    for any in [put(), txn(false), revoke, Request::Compact { revision: 3 }] {
        assert_eq!(client.apply(&any), Reply::Error(KeyspaceError::Corrupt), "{any:?}");
    }
    assert_eq!(client.range_refused(everything()), KeyspaceError::Corrupt);
    let reading = client.keyspace.query(&Query::Txn(TxnRequest::default()));
    assert_eq!(reading, Reply::Error(KeyspaceError::Corrupt));
    for kind in [AlarmKind::Corrupt, AlarmKind::NoSpace] {
        let clear = AlarmRequest { action: AlarmAction::Deactivate, ..raise(kind) };
        let alarms = vec![Alarm { kind, member: 1 }];
        assert_eq!(client.apply(&Request::Alarm(clear)), Reply::Alarms { revision: 3, alarms });
        assert_eq!(client.apply(&Request::Alarm(clear)), Reply::Alarms { revision: 3, alarms: vec![] });
    }
    assert!(matches!(client.apply(&put()), Reply::Put { revision: 4, .. }));
}

#[test]
fn the_digest_covers_leases_alarms_and_the_mark() {
    let mut client = Client::with(&[("a", "1"), ("a", "2")]);
    let mut digests = vec![client.keyspace.digest()];
    for request in [
        Request::LeaseGrant { id: 1, ttl_seconds: 60 },
        Request::LeaseGrant { id: 2, ttl_seconds: 60 },
        Request::LeaseRevoke { id: 1 },
        Request::Compact { revision: 2 },
        Request::Compact { revision: 3 },
        Request::Alarm(AlarmRequest {
            action: AlarmAction::Activate,
            alarm: Alarm { kind: AlarmKind::NoSpace, member: 1 },
        }),
    ] {
        client.apply(&request);
        assert!(!digests.contains(&client.keyspace.digest()), "{request:?}");
        digests.push(client.keyspace.digest());
    }
}
