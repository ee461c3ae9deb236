//! One test for each row of etcd's documented behaviour of revisions, Range, Put and DeleteRange.

use crate::client::{self, Client, copy, everything};
use bytes::Bytes;
use quorate_keyspace::{
    ChangeKind, DeleteRangeRequest, KeyValue, KeyspaceError, PutRequest, Query, RangeRequest, Reply, Request, Revision,
    SortOrder, SortTarget,
};
use quorate_machine::StateMachine;

fn pair(key: &str, value: &str, create_revision: i64, mod_revision: i64, version: i64) -> KeyValue {
    KeyValue { key: copy(key), value: copy(value), create_revision, mod_revision, version, lease: 0 }
}

// Revisions

#[test]
fn a_fresh_store_is_at_revision_1() {
    let client = Client::new();
    assert_eq!(client.keyspace.query(&Query::Revision), Reply::Revision { revision: 1 });
    assert_eq!(client.range(everything()).revision, 1);
}

#[test]
fn each_effective_write_takes_exactly_one_revision() {
    let mut client = Client::new();
    assert_eq!(client.put("a", "1"), 2);
    assert_eq!(client.put("b", "1"), 3);
    assert_eq!(client.delete("a", "z").0, 4);
    assert_eq!(client.put("c", "1"), 5);
    assert_eq!(client.keyspace.query(&Query::Revision), Reply::Revision { revision: 5 });
}

#[test]
fn changes_of_one_write_share_its_revision_and_are_ordered_within() {
    let mut client = Client::with(&[("c", ""), ("a", ""), ("b", "")]);
    client.delete("a", "z");
    let cursor = client.keyspace.first_change_after(4);
    let changes: Vec<_> = (cursor..).map_while(|number| client.keyspace.change(number)).collect();
    let expected = [("a", 0), ("b", 1), ("c", 2)];
    assert_eq!(changes.len(), 3);
    for (change, (key, sub)) in changes.iter().zip(expected) {
        assert_eq!(change.key, key);
        assert_eq!(change.revision, Revision { main: 5, sub });
        assert_eq!(change.kind, ChangeKind::Delete);
    }
}

#[test]
fn reads_no_op_deletes_and_refused_writes_take_no_revision() {
    let mut client = Client::with(&[("a", "1")]);
    client.range(everything());
    assert_eq!(client.delete("nothing", ""), (2, 0, vec![]));
    client.put_refused(PutRequest { key: copy("missing"), ignore_value: true, ..PutRequest::default() });
    assert_eq!(client.keyspace.revision(), 2);
    assert_eq!(client.keyspace.item_count(), 1);
}

#[test]
fn a_read_of_the_past_answers_the_current_revision_in_its_header() {
    let client = Client::with(&[("a", "1"), ("a", "2")]);
    assert_eq!(client.range(RangeRequest { revision: 2, ..everything() }).revision, 3);
}

#[test]
fn put_of_a_new_key_starts_at_version_1_and_overwriting_keeps_the_create_revision() {
    let mut client = Client::with(&[("other", ""), ("a", "1")]);
    assert_eq!(client.get("a"), Some(pair("a", "1", 3, 3, 1)));
    client.put("a", "2");
    assert_eq!(client.get("a"), Some(pair("a", "2", 3, 4, 2)));
}

#[test]
fn after_a_delete_the_next_put_starts_again() {
    let mut client = Client::with(&[("a", "1"), ("a", "2")]);
    client.delete("a", "");
    assert_eq!(client.get("a"), None);
    client.put("a", "3");
    assert_eq!(client.get("a"), Some(pair("a", "3", 5, 5, 1)));
}

#[test]
fn a_value_may_be_empty() {
    let client = Client::with(&[("a", "")]);
    assert_eq!(client.get("a"), Some(pair("a", "", 2, 2, 1)));
}

// Range

#[test]
fn an_empty_range_end_means_the_one_key() {
    let client = Client::with(&[("a", ""), ("aa", "")]);
    assert_eq!(client.range(RangeRequest { key: copy("a"), ..RangeRequest::default() }).keys(), [b"a"]);
    let none = client.range(RangeRequest { key: copy("b"), ..RangeRequest::default() });
    assert_eq!((none.kvs.len(), none.count, none.more), (0, 0, false));
}

#[test]
fn a_zero_byte_as_range_end_means_every_key_from_key_on() {
    let client = Client::with(&[("a", ""), ("b", ""), ("b\0", ""), ("c", "")]);
    let found = client.range(RangeRequest { key: copy("b"), range_end: copy(b"\0"), ..RangeRequest::default() });
    assert_eq!(found.keys(), [&b"b"[..], b"b\0", b"c"]);
}

#[test]
fn zero_to_zero_means_everything() {
    let mut client = Client::with(&[("a", "")]);
    client.put(b"\0", "");
    client.put([0xff, 0xff], "");
    assert_eq!(client.range(everything()).keys(), [&b"\0"[..], b"a", &[0xff, 0xff]]);
}

#[test]
fn a_prefix_is_a_range_to_its_successor() {
    let mut client = Client::with(&[("a", ""), ("b", ""), ("b1", ""), ("b2", ""), ("c", "")]);
    let found = client.range(RangeRequest { key: copy("b"), range_end: copy("c"), ..RangeRequest::default() });
    assert_eq!(found.keys(), [&b"b"[..], b"b1", b"b2"]);
    client.put([b'b', 0xff], "");
    let found = client.range(RangeRequest { key: copy([b'b', 0xff]), range_end: copy("c"), ..RangeRequest::default() });
    assert_eq!(found.keys(), [[b'b', 0xff]]);
}

#[test]
fn a_range_that_does_not_ascend_is_empty() {
    let mut client = Client::with(&[("a", ""), ("b", "")]);
    for end in ["a", "b"] {
        let found = client.range(RangeRequest { key: copy("b"), range_end: copy(end), ..RangeRequest::default() });
        assert_eq!((found.kvs.len(), found.count), (0, 0));
        assert_eq!(client.delete("b", end), (3, 0, vec![]));
    }
}

#[test]
fn an_empty_key_is_refused() {
    let client = Client::new();
    for range_end in ["", "z", "\0"] {
        let request = RangeRequest { range_end: copy(range_end), ..RangeRequest::default() };
        assert_eq!(client.range_refused(request), KeyspaceError::KeyNotProvided);
    }
}

#[test]
fn revision_zero_or_less_is_now_and_a_future_one_is_refused() {
    let client = Client::with(&[("a", "1"), ("a", "2")]);
    let at = |revision| RangeRequest { revision, ..everything() };
    for now in [i64::MIN, -1, 0, 3] {
        assert_eq!(client.range(at(now)).kvs, [pair("a", "2", 2, 3, 2)]);
    }
    assert_eq!(client.range(at(2)).kvs, [pair("a", "1", 2, 2, 1)]);
    assert_eq!(client.range(at(1)).kvs, []);
    for future in [4, i64::MAX] {
        assert_eq!(client.range_refused(at(future)), KeyspaceError::FutureRevision);
    }
}

#[test]
fn a_deleted_key_is_still_there_at_revisions_before() {
    let mut client = Client::with(&[("a", "1")]);
    client.delete("a", "");
    let at = |revision| client.range(RangeRequest { revision, ..everything() });
    assert_eq!((at(2).count, at(3).count, at(0).count), (1, 0, 0));
}

#[test]
fn limit_cuts_and_says_so_and_count_ignores_it() {
    let client = Client::with(&[("a", ""), ("b", ""), ("c", "")]);
    let limited = |limit| client.range(RangeRequest { limit, ..everything() });
    for (limit, kept, more) in [(1, 1, true), (2, 2, true), (3, 3, false), (4, 3, false), (0, 3, false), (-1, 3, false)]
    {
        let found = limited(limit);
        assert_eq!((found.kvs.len(), found.more, found.count), (kept, more, 3), "limit {limit}");
    }
}

#[test]
fn count_only_has_no_pairs_and_no_limit() {
    let client = Client::with(&[("a", ""), ("b", ""), ("c", "")]);
    let found = client.range(RangeRequest { count_only: true, limit: 1, ..everything() });
    assert_eq!((found.kvs.len(), found.more, found.count), (0, false, 3));
}

#[test]
fn keys_only_blanks_the_value_and_nothing_else() {
    let client = Client::with(&[("a", "1"), ("a", "2")]);
    let found = client.range(RangeRequest { keys_only: true, ..everything() });
    assert_eq!(found.kvs, [pair("a", "", 2, 3, 2)]);
}

/// Keys whose five orders all differ: (key, value, create, mod, version).
fn unsorted() -> Client {
    Client::with(&[("b", "y"), ("c", "x"), ("a", "z"), ("c", "x"), ("b", "y"), ("c", "w")])
}

#[test]
fn every_target_sorts_both_ways_and_without_an_order_ascends() {
    let client = unsorted();
    let table = [
        (SortTarget::Key, ["a", "b", "c"]),
        (SortTarget::Version, ["a", "b", "c"]),
        (SortTarget::Create, ["b", "c", "a"]),
        (SortTarget::Mod, ["a", "b", "c"]),
        (SortTarget::Value, ["c", "b", "a"]),
    ];
    for (sort_target, ascending) in table {
        let sorted = |sort_order| {
            let found = client.range(RangeRequest { sort_target, sort_order, ..everything() });
            found.kvs.iter().map(|pair| String::from_utf8(pair.key.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(sorted(SortOrder::Ascend), ascending, "{sort_target:?}");
        assert_eq!(sorted(SortOrder::None), ascending, "{sort_target:?}");
        let mut descending = ascending;
        descending.reverse();
        assert_eq!(sorted(SortOrder::Descend), descending, "{sort_target:?}");
    }
}

#[test]
fn limit_is_of_the_sorted_list() {
    let client = unsorted();
    for (sort_target, sort_order, first) in [
        (SortTarget::Key, SortOrder::Descend, "c"),
        (SortTarget::Create, SortOrder::Descend, "a"),
        (SortTarget::Value, SortOrder::Ascend, "c"),
        (SortTarget::Value, SortOrder::None, "c"),
    ] {
        let found = client.range(RangeRequest { sort_target, sort_order, limit: 1, ..everything() });
        assert_eq!(found.keys(), [first.as_bytes()]);
        assert_eq!((found.more, found.count), (true, 3));
    }
}

#[test]
fn values_are_sorted_by_before_keys_only_blanks_them() {
    let request = RangeRequest { sort_target: SortTarget::Value, keys_only: true, ..everything() };
    assert_eq!(unsorted().range(request).keys(), [b"c", b"b", b"a"]);
}

#[test]
fn unknown_sort_options_are_refused() {
    assert_eq!(SortOrder::try_from(2), Ok(SortOrder::Descend));
    assert_eq!(SortTarget::try_from(4), Ok(SortTarget::Value));
    for number in [-1, 3] {
        assert_eq!(SortOrder::try_from(number), Err(KeyspaceError::InvalidSortOption));
    }
    for number in [-1, 5] {
        assert_eq!(SortTarget::try_from(number), Err(KeyspaceError::InvalidSortOption));
    }
}

#[test]
fn revision_filters_are_inclusive_and_leave_count_alone() {
    // a: create 4, mod 4; b: create 2, mod 6; c: create 3, mod 7.
    let client = unsorted();
    let table: [(RangeRequest, &[&[u8]]); 7] = [
        (RangeRequest { min_mod_revision: 6, ..everything() }, &[b"b", b"c"]),
        (RangeRequest { max_mod_revision: 6, ..everything() }, &[b"a", b"b"]),
        (RangeRequest { min_create_revision: 3, ..everything() }, &[b"a", b"c"]),
        (RangeRequest { max_create_revision: 3, ..everything() }, &[b"b", b"c"]),
        (RangeRequest { min_mod_revision: 5, max_mod_revision: 6, ..everything() }, &[b"b"]),
        (RangeRequest { min_create_revision: 3, max_mod_revision: 4, ..everything() }, &[b"a"]),
        (RangeRequest { max_mod_revision: -1, ..everything() }, &[]),
    ];
    for (request, expected) in table {
        let found = client.range(request.clone());
        assert_eq!(found.keys(), expected, "{request:?}");
        assert_eq!((found.count, found.more), (3, false), "{request:?}");
    }
}

#[test]
fn limit_applies_after_filters() {
    let client = unsorted();
    let request = |limit| RangeRequest { min_mod_revision: 6, limit, ..everything() };
    let one = client.range(request(1));
    assert_eq!((one.keys(), one.more, one.count), (vec![&b"b"[..]], true, 3));
    let both = client.range(request(2));
    assert_eq!((both.kvs.len(), both.more, both.count), (2, false, 3));
}

// Put

#[test]
fn prev_kv_is_the_pair_before() {
    let mut client = Client::new();
    let put = |value| Request::Put(PutRequest { key: copy("a"), value, prev_kv: true, ..PutRequest::default() });
    assert_eq!(client.apply(&put(copy("1"))), Reply::Put { revision: 2, prev_kv: None });
    let before = Some(pair("a", "1", 2, 2, 1));
    assert_eq!(client.apply(&put(copy("2"))), Reply::Put { revision: 3, prev_kv: before });
}

#[test]
fn a_put_needs_a_key() {
    let request = PutRequest { value: copy("1"), ..PutRequest::default() };
    assert_eq!(Request::Put(request.clone()).check(), Err(KeyspaceError::KeyNotProvided));
    assert_eq!(Client::new().put_refused(request), KeyspaceError::KeyNotProvided);
}

#[test]
fn ignore_value_keeps_the_value_of_an_existing_key() {
    let mut client = Client::with(&[("a", "1")]);
    let request = PutRequest { key: copy("a"), ignore_value: true, ..PutRequest::default() };
    assert_eq!(client.apply(&Request::Put(request.clone())), Reply::Put { revision: 3, prev_kv: None });
    assert_eq!(client.get("a"), Some(pair("a", "1", 2, 3, 2)));

    let missing = PutRequest { key: copy("b"), ..request.clone() };
    assert_eq!(client.put_refused(missing), KeyspaceError::KeyNotFound);
    let given = PutRequest { value: copy("2"), ..request };
    assert_eq!(Request::Put(given.clone()).check(), Err(KeyspaceError::ValueProvided));
    assert_eq!(client.put_refused(given), KeyspaceError::ValueProvided);
}

#[test]
fn ignore_value_of_a_deleted_key_is_refused() {
    let mut client = Client::with(&[("a", "1")]);
    client.delete("a", "");
    let request = PutRequest { key: copy("a"), ignore_value: true, ..PutRequest::default() };
    assert_eq!(client.put_refused(request), KeyspaceError::KeyNotFound);
}

#[test]
fn ignore_lease_needs_an_existing_key_and_no_lease() {
    let mut client = Client::with(&[("a", "1")]);
    let request = PutRequest { key: copy("a"), value: copy("2"), ignore_lease: true, ..PutRequest::default() };
    assert_eq!(client.apply(&Request::Put(request.clone())), Reply::Put { revision: 3, prev_kv: None });
    assert_eq!(client.get("a"), Some(pair("a", "2", 2, 3, 2)));

    let missing = PutRequest { key: copy("b"), ..request.clone() };
    assert_eq!(client.put_refused(missing), KeyspaceError::KeyNotFound);
    let given = PutRequest { lease: 7, ..request };
    assert_eq!(Request::Put(given.clone()).check(), Err(KeyspaceError::LeaseProvided));
    assert_eq!(client.put_refused(given), KeyspaceError::LeaseProvided);
}

#[test]
fn an_unknown_lease_is_refused() {
    let mut client = Client::new();
    for lease in [7, -7, i64::MIN, i64::MAX] {
        let request = PutRequest { key: copy("a"), lease, ..PutRequest::default() };
        assert_eq!(client.put_refused(request), KeyspaceError::LeaseNotFound);
    }
}

// DeleteRange

#[test]
fn delete_answers_how_many_and_the_pairs_before_in_order() {
    let mut client = Client::with(&[("b", "1"), ("a", "2"), ("c", "3")]);
    let before = vec![pair("a", "2", 3, 3, 1), pair("b", "1", 2, 2, 1)];
    assert_eq!(client.delete("a", "c"), (5, 2, before));
    assert_eq!(client.range(everything()).keys(), [b"c"]);
    let rest = Request::DeleteRange(DeleteRangeRequest { key: copy("a"), range_end: copy(b"\0"), prev_kv: false });
    assert_eq!(client.apply(&rest), Reply::Delete { revision: 6, deleted: 1, prev_kvs: vec![] });
    assert_eq!(client.keyspace.live_keys(), 0);
}

#[test]
fn deleting_nothing_is_no_error() {
    let mut client = Client::with(&[("a", "")]);
    assert_eq!(client.delete("b", "z"), (2, 0, vec![]));
    client.delete("a", "");
    assert_eq!(client.delete("a", ""), (3, 0, vec![]));
}

#[test]
fn a_delete_needs_a_key() {
    let request = Request::DeleteRange(DeleteRangeRequest { range_end: copy("z"), ..DeleteRangeRequest::default() });
    assert_eq!(request.check(), Err(KeyspaceError::KeyNotProvided));
    assert_eq!(Client::new().apply(&request), Reply::Error(KeyspaceError::KeyNotProvided));
}

// Errors

#[test]
fn error_texts_are_etcds() {
    let table = [
        (KeyspaceError::KeyNotProvided, "key is not provided"),
        (KeyspaceError::KeyNotFound, "key not found"),
        (KeyspaceError::ValueProvided, "value is provided"),
        (KeyspaceError::LeaseProvided, "lease is provided"),
        (KeyspaceError::LeaseNotFound, "requested lease not found"),
        (KeyspaceError::Compacted, "mvcc: required revision has been compacted"),
        (KeyspaceError::FutureRevision, "mvcc: required revision is a future revision"),
        (KeyspaceError::InvalidSortOption, "invalid sort option"),
    ];
    for (error, text) in table {
        assert_eq!(error.to_string(), text);
    }
}

// Memory

#[test]
fn a_reply_does_not_share_memory_with_the_batch_it_came_in() {
    let mut client = Client::new();
    let batch = quorate_wire::encode_to_bytes(&Request::Put(PutRequest {
        key: copy("key"),
        value: copy(vec![b'v'; 1000]),
        ..PutRequest::default()
    }));
    let within = |part: &Bytes| batch.as_ptr_range().contains(&part.as_ptr());
    client.keyspace.apply(&client::CONTEXT, &batch);
    let stored = client.get("key").unwrap();
    assert!(!within(&stored.key) && !within(&stored.value));
    assert!(batch.is_unique(), "nothing in the keyspace keeps the batch alive");
}
