//! The revision of a restored state is raised past what the lost cluster may have told.

use bytes::Bytes;
use quorate_keyspace::{
    DeleteRangeRequest, Keyspace, KeyspaceError, LogPlace, PutRequest, Query, RangeRequest, Reply, Request,
};
use quorate_machine::StateMachine;

fn put(keyspace: &mut Keyspace, key: &[u8]) {
    let request = PutRequest { key: Bytes::copy_from_slice(key), value: "v".into(), ..PutRequest::default() };
    keyspace.apply_request(LogPlace::default(), &Request::Put(request));
}

fn range(keyspace: &Keyspace, revision: i64) -> Reply {
    let everything = Bytes::from_static(&[0]);
    keyspace.query(&Query::Range(RangeRequest {
        key: everything.clone(),
        range_end: everything,
        revision,
        ..RangeRequest::default()
    }))
}

fn pairs(reply: Reply) -> Vec<(Bytes, i64)> {
    let Reply::Range { kvs, .. } = reply else { panic!("{reply:?}") };
    kvs.into_iter().map(|pair| (pair.key, pair.mod_revision)).collect()
}

#[test]
fn keys_stay_the_revision_rises_and_everything_before_is_compacted() {
    let mut keyspace = Keyspace::empty();
    for key in ["a", "b", "a", "c"] {
        put(&mut keyspace, key.as_bytes());
    }
    let delete = DeleteRangeRequest { key: "c".into(), ..DeleteRangeRequest::default() };
    keyspace.apply_request(LogPlace::default(), &Request::DeleteRange(delete));
    let before = pairs(range(&keyspace, 0));
    let revision = keyspace.revision();

    assert_eq!(keyspace.bump_revision(1_000), Some(revision + 1_000));
    assert_eq!(keyspace.revision(), revision + 1_000);
    assert_eq!(pairs(range(&keyspace, 0)), before, "no key shows that anything happened");
    assert_eq!(pairs(range(&keyspace, revision + 1_000)), before);
    for told_before in [2, revision, revision + 999] {
        assert_eq!(range(&keyspace, told_before), Reply::Error(KeyspaceError::Compacted));
    }
    put(&mut keyspace, b"d");
    assert_eq!(pairs(range(&keyspace, 0)).last(), Some(&(Bytes::from_static(b"d"), revision + 1_001)));

    for tidied in [false, true] {
        while tidied && keyspace.tidy() {}
        let mut items = (0..keyspace.item_count()).filter_map(|number| Some((number, keyspace.item(number)?)));
        let again = Keyspace::restore(keyspace.head(), &mut items).expect("a state like any other");
        assert_eq!(again, keyspace);
        assert_eq!(again.digest(), keyspace.digest());
    }
}

#[test]
fn an_empty_state_can_be_bumped_and_a_key_of_zeros_is_left_alone() {
    let mut keyspace = Keyspace::empty();
    assert_eq!(keyspace.bump_revision(7), Some(8));
    put(&mut keyspace, &[0]);
    assert_eq!(keyspace.bump_revision(1), Some(10));
    assert_eq!(pairs(range(&keyspace, 0)), [(Bytes::from_static(&[0]), 9)]);
    let mut items = (0..keyspace.item_count()).filter_map(|number| Some((number, keyspace.item(number)?)));
    assert_eq!(Keyspace::restore(keyspace.head(), &mut items).expect("whole"), keyspace);
}

#[test]
fn what_leaves_the_range_of_revisions_changes_nothing() {
    let mut keyspace = Keyspace::empty();
    put(&mut keyspace, b"a");
    let before = keyspace.clone();
    for by in [0, u64::MAX, i64::MAX as u64, i64::MAX as u64 / 2] {
        assert_eq!(keyspace.bump_revision(by), None);
    }
    assert_eq!(keyspace, before);
}
