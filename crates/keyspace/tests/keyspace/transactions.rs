//! One test for each row of etcd's documented behaviour of Txn.

use crate::client::{Client, copy};
use quorate_keyspace::{
    Compare, CompareOperator, CompareTarget, DeleteRangeRequest, KeyValue, KeyspaceError, Operation, PutRequest, Query,
    RangeRequest, Reply, Request, TXN_DEPTH_MAX, TxnRequest,
};
use quorate_machine::StateMachine;
use quorate_wire::{decode_exact, encode_to_bytes};

fn put(key: &str, value: &str) -> Operation {
    Operation::Put(PutRequest { key: copy(key), value: copy(value), ..PutRequest::default() })
}

fn get(key: &str) -> Operation {
    Operation::Range(RangeRequest { key: copy(key), ..RangeRequest::default() })
}

fn get_at(key: &str, revision: i64) -> Operation {
    Operation::Range(RangeRequest { key: copy(key), revision, ..RangeRequest::default() })
}

fn delete(key: &str, range_end: &str) -> Operation {
    Operation::DeleteRange(DeleteRangeRequest { key: copy(key), range_end: copy(range_end), prev_kv: false })
}

fn compare(key: &str, operator: CompareOperator, target: CompareTarget) -> Compare {
    Compare { key: copy(key), range_end: copy(""), operator, target }
}

fn value_is(key: &str, value: &str) -> Compare {
    compare(key, CompareOperator::Equal, CompareTarget::Value(copy(value)))
}

fn always(success: Vec<Operation>) -> TxnRequest {
    TxnRequest { success, ..TxnRequest::default() }
}

fn nested(success: Vec<Operation>, failure: Vec<Operation>) -> Operation {
    Operation::Txn(TxnRequest { compares: Vec::new(), success, failure })
}

fn transact(client: &mut Client, txn: TxnRequest) -> (i64, bool, Vec<Reply>) {
    match client.apply(&Request::Txn(txn)) {
        Reply::Txn { revision, succeeded, responses } => (revision, succeeded, responses),
        other => panic!("{other:?}"),
    }
}

fn refused(client: &mut Client, txn: TxnRequest) -> KeyspaceError {
    let before = client.keyspace.clone();
    let Reply::Error(error) = client.apply(&Request::Txn(txn)) else { panic!("it was done") };
    assert_eq!(client.keyspace, before, "nothing of it is applied");
    error
}

fn values(reply: &Reply) -> Vec<&[u8]> {
    let Reply::Range { kvs, .. } = reply else { panic!("{reply:?}") };
    kvs.iter().map(|pair| &pair.value[..]).collect()
}

#[test]
fn no_compares_hold_and_one_that_does_not_leads_to_failure() {
    let mut client = Client::with(&[("a", "1")]);
    assert!(transact(&mut client, TxnRequest::default()).1);
    let either = |value: &str| TxnRequest {
        compares: vec![value_is("a", "1"), value_is("a", value)],
        success: vec![put("then", "")],
        failure: vec![put("else", "")],
    };
    assert!(!transact(&mut client, either("2")).1);
    assert!(transact(&mut client, either("1")).1);
    assert_eq!(client.get("else").unwrap().mod_revision, 3);
    assert_eq!(client.get("then").unwrap().mod_revision, 4);
}

#[test]
fn every_target_and_operator_compares_the_keys_property_with_the_operand() {
    let mut client = Client::with(&[("other", ""), ("a", "m"), ("a", "m")]);
    client.apply(&Request::LeaseGrant { id: 7, ttl_seconds: 60 });
    client.apply(&Request::Put(PutRequest { key: copy("a"), value: copy("m"), lease: 7, ..PutRequest::default() }));
    // Created at 3, last written at 5, for the third time.
    type Target = fn(i64) -> CompareTarget;
    let targets: [(Target, i64); 5] = [
        (CompareTarget::Version, 3),
        (CompareTarget::CreateRevision, 3),
        (CompareTarget::ModRevision, 5),
        (CompareTarget::Lease, 7),
        (|number| CompareTarget::Value(copy(["l", "m", "n"][usize::try_from(number).unwrap()])), 1),
    ];
    for (target, is) in targets {
        for (operand, expected) in [
            (is - 1, [false, true, false, true]),
            (is, [true, false, false, false]),
            (is + 1, [false, false, true, true]),
        ] {
            let operators =
                [CompareOperator::Equal, CompareOperator::Greater, CompareOperator::Less, CompareOperator::NotEqual];
            for (operator, expected) in operators.into_iter().zip(expected) {
                let compares = vec![compare("a", operator, target(operand))];
                let (_, succeeded, _) = transact(&mut client, TxnRequest { compares, ..TxnRequest::default() });
                assert_eq!(succeeded, expected, "{operator:?} {:?}", target(operand));
            }
        }
    }
}

#[test]
fn a_missing_key_has_zeros_and_no_value() {
    let mut client = Client::new();
    let mut holds = |target, operator| {
        let compares = vec![compare("missing", operator, target)];
        transact(&mut client, TxnRequest { compares, ..TxnRequest::default() }).1
    };
    for target in
        [CompareTarget::Version, CompareTarget::CreateRevision, CompareTarget::ModRevision, CompareTarget::Lease]
    {
        assert!(holds(target(0), CompareOperator::Equal));
        assert!(holds(target(1), CompareOperator::Less));
    }
    for operator in [CompareOperator::Equal, CompareOperator::NotEqual, CompareOperator::Less, CompareOperator::Greater]
    {
        assert!(!holds(CompareTarget::Value(copy("")), operator));
    }
}

#[test]
fn a_compare_over_a_range_holds_for_every_key_or_for_one_missing_key() {
    let mut client = Client::with(&[("a1", "x"), ("a2", "x"), ("a3", "y")]);
    let mut holds = |range_end: &str, target| {
        let compare = Compare { range_end: copy(range_end), ..compare("a1", CompareOperator::Equal, target) };
        transact(&mut client, TxnRequest { compares: vec![compare], ..TxnRequest::default() }).1
    };
    assert!(holds("a3", CompareTarget::Value(copy("x"))));
    assert!(!holds("a4", CompareTarget::Value(copy("x"))));
    assert!(holds("a0", CompareTarget::Version(0)), "nothing is in the range");
}

#[test]
fn later_operations_see_earlier_ones_and_all_share_one_revision() {
    let mut client = Client::with(&[("a", "old"), ("b", "old")]);
    let (revision, _, responses) = transact(
        &mut client,
        always(vec![
            get("a"),
            put("a", "new"),
            get("a"),
            get_at("a", 3),
            delete("b", ""),
            nested(vec![get("b"), put("c", "1")], vec![]),
            get("c"),
        ]),
    );
    assert_eq!(revision, 4);
    assert_eq!(values(&responses[0]), [b"old"]);
    assert_eq!(values(&responses[2]), [b"new"]);
    assert_eq!(values(&responses[3]), [b"old"], "a past revision is the past");
    let Reply::Txn { responses: within, .. } = &responses[5] else { panic!("{:?}", responses[5]) };
    assert!(values(&within[0]).is_empty());
    assert_eq!(values(&responses[6]), [b"1"]);
    let told: Vec<i64> = responses
        .iter()
        .map(|reply| match reply {
            Reply::Range { revision, .. }
            | Reply::Put { revision, .. }
            | Reply::Delete { revision, .. }
            | Reply::Txn { revision, .. } => *revision,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [3, 4, 4, 4, 4, 4, 4], "what is in force behind each operation");
    let written: Vec<i64> = ["a", "c"].map(|key| client.get(key).unwrap().mod_revision).into();
    assert_eq!(written, [4, 4]);
    let events = client.keyspace.events_after(3, 10, &mut |_| true).unwrap().events;
    assert_eq!(events.iter().map(|event| event.revision.sub).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_transaction_that_writes_nothing_takes_no_revision() {
    let mut client = Client::with(&[("a", "")]);
    for operations in [vec![], vec![get("a")], vec![delete("missing", "")]] {
        assert_eq!(transact(&mut client, always(operations)).0, 2);
    }
}

#[test]
fn nested_compares_see_the_store_before_any_write() {
    let mut client = Client::with(&[("a", "old")]);
    let inner = TxnRequest {
        compares: vec![value_is("a", "old")],
        success: vec![put("saw", "old")],
        failure: vec![put("saw", "new")],
    };
    let (_, _, responses) = transact(&mut client, always(vec![put("a", "new"), Operation::Txn(inner)]));
    assert!(matches!(responses[1], Reply::Txn { succeeded: true, .. }));
    assert_eq!(client.get("saw").unwrap().value, "old");
}

#[test]
fn an_impossible_read_or_an_unknown_lease_fails_the_whole_transaction() {
    let mut client = Client::with(&[("a", "1"), ("a", "2"), ("a", "3")]);
    client.apply(&Request::Compact { revision: 3 });
    let with_lease = Operation::Put(PutRequest { key: copy("l"), lease: 9, ..PutRequest::default() });
    let keep = Operation::Put(PutRequest { key: copy("missing"), ignore_value: true, ..PutRequest::default() });
    for (failing, error) in [
        (get_at("a", 2), KeyspaceError::Compacted),
        (get_at("a", 5), KeyspaceError::FutureRevision),
        (nested(vec![get_at("a", 2)], vec![]), KeyspaceError::Compacted),
        (with_lease.clone(), KeyspaceError::LeaseNotFound),
        (keep, KeyspaceError::KeyNotFound),
    ] {
        assert_eq!(refused(&mut client, always(vec![put("b", ""), failing])), error);
    }
    let not_taken = TxnRequest { success: vec![put("b", "")], failure: vec![with_lease], ..TxnRequest::default() };
    assert_eq!(transact(&mut client, not_taken).0, 5, "only the branch that is taken counts");
}

#[test]
fn operations_are_counted_by_the_longest_list_and_nested_ones_share_the_rest() {
    let gets = |count: usize| (0..count).map(|_| get("k")).collect::<Vec<_>>();
    let compares = |count: usize| vec![value_is("k", ""); count];
    let too_many = Err(KeyspaceError::TooManyOperations);
    assert_eq!(always(gets(128)).check(128), Ok(()));
    assert_eq!(always(gets(129)).check(128), too_many);
    assert_eq!(TxnRequest { failure: gets(129), ..TxnRequest::default() }.check(128), too_many);
    assert_eq!(TxnRequest { compares: compares(129), ..TxnRequest::default() }.check(128), too_many);
    let txn = TxnRequest { compares: compares(100), success: gets(100), failure: gets(100) };
    assert_eq!(txn.check(128), Ok(()), "the lists are not added up");
    assert_eq!(always(vec![nested(gets(127), vec![])]).check(128), Ok(()));
    assert_eq!(always(vec![nested(gets(128), vec![])]).check(128), too_many);
    assert_eq!(always(vec![nested(gets(126), vec![]), nested(gets(126), vec![])]).check(128), Ok(()));
}

#[test]
fn transactions_that_nest_too_deeply_are_refused_also_as_bytes() {
    let nest = |depth: usize| (1..depth).fold(TxnRequest::default(), |inner, _| always(vec![Operation::Txn(inner)]));
    assert_eq!(nest(TXN_DEPTH_MAX).check(usize::MAX), Ok(()));
    assert_eq!(nest(TXN_DEPTH_MAX + 1).check(usize::MAX), Err(KeyspaceError::TooManyOperations));
    let bytes = |depth| encode_to_bytes(&Request::Txn(nest(depth)));
    assert!(decode_exact::<Request>(bytes(TXN_DEPTH_MAX)).is_ok());
    assert!(decode_exact::<Request>(bytes(TXN_DEPTH_MAX + 1)).is_err());
}

#[test]
fn keys_that_one_run_would_write_twice_are_refused() {
    let txn = |success: Vec<Operation>| always(success).check(128);
    let duplicate = Err(KeyspaceError::DuplicateKey);
    assert_eq!(txn(vec![put("a", ""), put("b", "")]), Ok(()));
    assert_eq!(txn(vec![put("a", ""), put("a", "")]), duplicate);
    assert_eq!(txn(vec![put("a", ""), delete("a", "")]), duplicate);
    assert_eq!(txn(vec![delete("a", "c"), put("b", "")]), duplicate);
    assert_eq!(txn(vec![delete("a", "c"), put("c", "")]), Ok(()));
    assert_eq!(txn(vec![delete("a", "\0"), put("c", "")]), duplicate);
    assert_eq!(txn(vec![delete("a", "c"), delete("b", "d")]), Ok(()), "deletes may overlap");
    // Nested.
    assert_eq!(txn(vec![put("a", ""), nested(vec![put("a", "")], vec![])]), duplicate);
    assert_eq!(txn(vec![delete("a", ""), nested(vec![], vec![put("a", "")])]), duplicate);
    assert_eq!(txn(vec![nested(vec![put("a", "")], vec![put("a", "")])]), Ok(()), "only one of them happens");
    assert_eq!(txn(vec![nested(vec![delete("a", "")], vec![put("a", "")])]), Ok(()), "likewise");
    assert_eq!(txn(vec![nested(vec![put("a", "")], vec![]), nested(vec![put("a", "")], vec![])]), duplicate);
    assert_eq!(txn(vec![nested(vec![put("a", "")], vec![]), nested(vec![], vec![put("a", "")])]), duplicate);
    assert_eq!(txn(vec![nested(vec![delete("a", "")], vec![]), nested(vec![put("a", "")], vec![])]), duplicate);
    // A branch that is not taken is looked at too, and the two branches of one transaction are apart.
    let branches = TxnRequest { failure: vec![put("a", ""), put("a", "")], ..TxnRequest::default() };
    assert_eq!(branches.check(128), duplicate);
    let branches = TxnRequest { success: vec![put("a", "")], failure: vec![put("a", "")], ..TxnRequest::default() };
    assert_eq!(branches.check(128), Ok(()));
    // Applying checks it again.
    assert_eq!(refused(&mut Client::new(), always(vec![put("a", ""), put("a", "")])), KeyspaceError::DuplicateKey);
}

#[test]
fn what_a_single_request_is_refused_for_a_transaction_is_refused_for() {
    let bad_put = |change: fn(&mut PutRequest)| {
        let mut put = PutRequest { key: copy("k"), value: copy("v"), lease: 3, ..PutRequest::default() };
        change(&mut put);
        Operation::Put(put)
    };
    for (operation, error) in [
        (get(""), KeyspaceError::KeyNotProvided),
        (put("", ""), KeyspaceError::KeyNotProvided),
        (delete("", ""), KeyspaceError::KeyNotProvided),
        (bad_put(|put| put.ignore_value = true), KeyspaceError::ValueProvided),
        (bad_put(|put| put.ignore_lease = true), KeyspaceError::LeaseProvided),
    ] {
        assert_eq!(always(vec![operation.clone()]).check(128), Err(error.clone()));
        assert_eq!(always(vec![nested(vec![], vec![operation])]).check(128), Err(error));
    }
    let compares = vec![value_is("", "")];
    assert_eq!(TxnRequest { compares, ..TxnRequest::default() }.check(128), Err(KeyspaceError::KeyNotProvided));
}

#[test]
fn a_read_only_transaction_can_be_asked_as_a_query_and_a_writing_one_cannot() {
    let mut client = Client::with(&[("a", "1")]);
    let reading = TxnRequest {
        compares: vec![value_is("a", "1")],
        success: vec![get("a"), nested(vec![get_at("a", 2)], vec![])],
        failure: vec![],
    };
    let answer = client.keyspace.query(&Query::Txn(reading.clone()));
    assert_eq!(client.apply(&Request::Txn(reading)), answer);
    let Reply::Txn { revision: 2, succeeded: true, responses } = answer else { panic!("{answer:?}") };
    let pair = KeyValue { key: copy("a"), value: copy("1"), create_revision: 2, mod_revision: 2, version: 1, lease: 0 };
    let found = Reply::Range { revision: 2, kvs: vec![pair], more: false, count: 1 };
    let within = Reply::Txn { revision: 2, succeeded: true, responses: vec![found.clone()] };
    assert_eq!(responses, [found, within]);
    for writing in [always(vec![put("b", "")]), always(vec![nested(vec![], vec![delete("b", "")])])] {
        assert_eq!(client.keyspace.query(&Query::Txn(writing)), Reply::Error(KeyspaceError::NotReadOnly));
    }
    let future = client.keyspace.query(&Query::Txn(always(vec![get_at("a", 3)])));
    assert_eq!(future, Reply::Error(KeyspaceError::FutureRevision));
}
