//! Random requests that meet: few keys, few leases, revisions near the present.

use crate::client::copy;
use proptest::prelude::*;
use quorate_keyspace::{
    Alarm, AlarmAction, AlarmKind, AlarmRequest, Compare, CompareOperator, CompareTarget, DeleteRangeRequest, LogPlace,
    Operation, PutRequest, RangeRequest, Request, SortOrder, SortTarget, TxnRequest,
};
use quorate_types::Slot;

/// Few and short keys, so that they meet; with the bytes that the rules treat specially.
pub fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0, 1, b'a', b'b', 0xff]), 0..3)
}

fn any_range_end() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![2 => Just(vec![]), 1 => Just(vec![0]), 3 => any_key()]
}

fn any_lease() -> impl Strategy<Value = i64> {
    prop_oneof![6 => Just(0i64), 4 => 1..4i64, 1 => Just(-7i64)]
}

fn any_put() -> impl Strategy<Value = PutRequest> {
    let flags = (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let value = prop::collection::vec(any::<u8>(), 0..3);
    (any_key(), value, any_lease(), flags).prop_map(|(key, value, lease, (prev_kv, ignore_value, ignore_lease))| {
        let value = if ignore_value { copy("") } else { copy(value) };
        PutRequest { key: copy(key), value, lease, prev_kv, ignore_value, ignore_lease }
    })
}

fn any_delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (any_key(), any_range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key: copy(key),
        range_end: copy(range_end),
        prev_kv,
    })
}

fn any_compare() -> impl Strategy<Value = Compare> {
    let number = -1i64..12;
    let target = prop_oneof![
        number.clone().prop_map(CompareTarget::Version),
        number.clone().prop_map(CompareTarget::CreateRevision),
        number.clone().prop_map(CompareTarget::ModRevision),
        number.prop_map(CompareTarget::Lease),
        prop::collection::vec(any::<u8>(), 0..2).prop_map(|value| CompareTarget::Value(copy(value))),
    ];
    let key = any_key().prop_filter("compares name a key", |key| !key.is_empty());
    (key, any_range_end(), 0..4i32, target).prop_map(|(key, range_end, operator, target)| Compare {
        key: copy(key),
        range_end: copy(range_end),
        operator: CompareOperator::try_from(operator).expect("drawn from the defined ones"),
        target,
    })
}

pub fn any_txn() -> impl Strategy<Value = TxnRequest> {
    let leaf = Just(TxnRequest::default());
    leaf.prop_recursive(3, 24, 4, |inner| {
        let operation = prop_oneof![
            3 => any_range().prop_map(Operation::Range),
            4 => any_put().prop_map(Operation::Put),
            2 => any_delete().prop_map(Operation::DeleteRange),
            2 => inner.prop_map(Operation::Txn),
        ];
        let branch = prop::collection::vec(operation, 0..4);
        let compares = prop::collection::vec(any_compare(), 0..2);
        (compares, branch.clone(), branch).prop_map(|(compares, success, failure)| TxnRequest {
            compares,
            success,
            failure,
        })
    })
}

fn any_alarm() -> impl Strategy<Value = AlarmRequest> {
    (prop::bool::weighted(0.3), prop::bool::weighted(0.3), 1..3u64).prop_map(|(is_raised, is_corrupt, member)| {
        let action = if is_raised { AlarmAction::Activate } else { AlarmAction::Deactivate };
        let kind = if is_corrupt { AlarmKind::Corrupt } else { AlarmKind::NoSpace };
        AlarmRequest { action, alarm: Alarm { kind, member } }
    })
}

pub fn any_request() -> impl Strategy<Value = Request> {
    let expire = (1..4i64, 1..40u64, 0..4u64).prop_map(|(id, slot, later)| {
        let renewal = [None, Some(place(slot)), Some(place(slot)), Some(place(slot + 1))][later as usize];
        Request::LeaseExpire { id, incarnation: place(slot), renewal }
    });
    prop_oneof![
        12 => any_put().prop_map(Request::Put),
        4 => any_delete().prop_map(Request::DeleteRange),
        8 => any_txn().prop_map(Request::Txn),
        3 => (-1..30i64).prop_map(|revision| Request::Compact { revision }),
        4 => (1..4i64, -1..20i64).prop_map(|(id, ttl_seconds)| Request::LeaseGrant { id, ttl_seconds }),
        1 => (1..4i64).prop_map(|id| Request::LeaseRevoke { id }),
        2 => expire,
        1 => any_alarm().prop_map(Request::Alarm),
    ]
}

/// The place of the only command of this slot.
pub fn place(slot: u64) -> LogPlace {
    LogPlace { slot: Slot(slot), index: 0 }
}

pub fn any_range() -> impl Strategy<Value = RangeRequest> {
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
