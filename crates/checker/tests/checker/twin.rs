//! The search against a slow obvious twin, which tries every order of every choice of operations.

use proptest::prelude::*;
use quorate_checker::{
    ABSENT, Budget, Call, Entry, Explanation, History, Linearization, Model, Object, Operation, Register,
    RegisterOperation, ValueId, Verdict, check, linearize,
};

type RegisterCall = Call<RegisterOperation>;

/// The twin's own idea of a register: what the state is after `operation`, if it could answer so.
fn twin_step(state: ValueId, operation: &RegisterOperation) -> Option<ValueId> {
    match *operation {
        RegisterOperation::Read { found: Some(found) } if found != state => None,
        RegisterOperation::Read { .. } => Some(state),
        RegisterOperation::Write { value } => Some(value),
        RegisterOperation::Delete { existed: Some(existed) } if existed == (state == ABSENT) => None,
        RegisterOperation::Delete { .. } => Some(ABSENT),
        RegisterOperation::CompareAndSet { expected, value, succeeded } => match succeeded {
            Some(true) => (state == expected).then_some(value),
            Some(false) => (state != expected).then_some(state),
            None if state == expected => Some(value),
            None => Some(state),
        },
    }
}

/// Whether `order` respects time, answers truly, and names no call twice: what every beginning of a witness does too.
fn is_beginning(calls: &[RegisterCall], order: &[usize]) -> bool {
    let once = order.iter().all(|index| order.iter().filter(|other| *other == index).count() == 1);
    let in_time = order.iter().enumerate().all(|(at, earlier)| {
        order[at + 1..]
            .iter()
            .all(|later| calls[*later].returned_at.is_none_or(|returned_at| returned_at >= calls[*earlier].called_at))
    });
    once && in_time
        && order.iter().try_fold(ABSENT, |state, index| twin_step(state, &calls[*index].operation)).is_some()
}

/// Whether `order` is a beginning and has every call that returned.
fn is_witness(calls: &[RegisterCall], order: &[usize]) -> bool {
    is_beginning(calls, order)
        && (0..calls.len()).all(|index| calls[index].returned_at.is_none() || order.contains(&index))
}

/// Tries every order of every set of calls, leaving off only where nothing more can follow.
fn twin_is_linearizable(calls: &[RegisterCall], order: &mut Vec<usize>) -> bool {
    if !is_beginning(calls, order) {
        return false;
    }
    if is_witness(calls, order) {
        return true;
    }
    (0..calls.len()).any(|index| {
        order.push(index);
        let found = twin_is_linearizable(calls, order);
        order.pop();
        found
    })
}

/// Few values and short times, so that about half of the histories are linearizable.
fn operation() -> impl Strategy<Value = RegisterOperation> {
    let value = || 1..3_u32;
    prop_oneof![
        4 => proptest::option::weighted(0.9, 0..3_u32).prop_map(|found| RegisterOperation::Read { found }),
        3 => value().prop_map(|value| RegisterOperation::Write { value }),
        1 => any::<Option<bool>>().prop_map(|existed| RegisterOperation::Delete { existed }),
        2 => (0..3_u32, value(), any::<Option<bool>>())
            .prop_map(|(expected, value, succeeded)| RegisterOperation::CompareAndSet { expected, value, succeeded }),
    ]
}

fn call() -> impl Strategy<Value = RegisterCall> {
    (0..12_u64, proptest::option::weighted(0.75, 0..6_u64), operation()).prop_map(|(called_at, length, operation)| {
        Call { called_at, returned_at: length.map(|length| called_at + length), operation }
    })
}

fn value_of(number: ValueId) -> Option<Vec<u8>> {
    (number != ABSENT).then(|| vec![b'a', number as u8])
}

/// The same call as a client would record it. The answer of a call that never returned is left in, to show
/// that it is ignored.
fn entry_of(call: &RegisterCall, key: &[u8]) -> Entry {
    let operation = match call.operation {
        RegisterOperation::Read { found } => Operation::Read { found: found.and_then(value_of) },
        RegisterOperation::Write { value } => Operation::Write { value: value_of(value).expect("never absent") },
        RegisterOperation::Delete { existed } => Operation::Delete { existed },
        RegisterOperation::CompareAndSet { expected, value, succeeded } => Operation::CompareAndSet {
            expected: value_of(expected),
            value: value_of(value).expect("never absent"),
            succeeded,
        },
    };
    Entry { client: 1, key: key.to_vec(), call: call.called_at, ret: call.returned_at, operation }
}

/// What a history says about a call: reads always carry an answer there, lost answers never.
fn as_recorded(mut call: RegisterCall) -> RegisterCall {
    if call.returned_at.is_none() {
        call.operation = Register.without_answer(&call.operation);
    } else if let RegisterOperation::Read { found } = &mut call.operation {
        *found = Some(found.unwrap_or(ABSENT));
    }
    call
}

/// The history as it stood at `time`, and of everything that the explanation does not name, time and answer
/// forgotten.
fn as_explained(calls: &[RegisterCall], key: &[u8], explanation: &Explanation, time: u64) -> Vec<RegisterCall> {
    let weaken = |call: &RegisterCall| {
        let named = explanation.entries.contains(&entry_of(call, key));
        let answered = call.returned_at.is_some_and(|returned_at| returned_at <= time);
        if named && answered {
            return *call;
        }
        let called_at = if named { call.called_at } else { 0 };
        Call { called_at, returned_at: None, operation: Register.without_answer(&call.operation) }
    };
    calls.iter().filter(|call| call.called_at <= time).map(weaken).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_search_and_the_twin_agree_and_every_witness_is_one(calls in proptest::collection::vec(call(), 0..10)) {
        let possible = twin_is_linearizable(&calls, &mut Vec::new());
        match linearize(&Register, &calls, &Budget::default()) {
            Linearization::Found { witness } => prop_assert!(is_witness(&calls, &witness), "{calls:?} {witness:?}"),
            Linearization::Impossible { longest } => {
                prop_assert!(!possible, "{calls:?} rejected wrongly");
                prop_assert!(longest.len() < calls.len());
            }
            Linearization::Unknown(why) => prop_assert!(false, "so few calls exhausted the budget: {why}"),
        }
    }

    #[test]
    fn a_history_is_judged_key_by_key_and_its_explanation_is_itself_impossible(
        left in proptest::collection::vec(call().prop_map(as_recorded), 0..8),
        right in proptest::collection::vec(call().prop_map(as_recorded), 0..8),
    ) {
        let possible = [&left, &right].map(|calls| twin_is_linearizable(calls, &mut Vec::new()));
        let entries = left.iter().map(|call| entry_of(call, b"left")).chain(right.iter().map(|call| entry_of(call, b"right")));
        match check(&History::new(entries.collect()).unwrap(), Object::Register, &Budget::default()) {
            Verdict::Linearizable => prop_assert_eq!(possible, [true, true]),
            Verdict::Violation { key, explanation } => {
                let calls = if key == b"left" { &left } else { &right };
                prop_assert!(!possible[usize::from(key == b"right")]);
                prop_assert!(!explanation.entries.is_empty());
                let proves = explanation.entries.iter().filter_map(|entry| entry.ret).any(|time| {
                    let part = as_explained(calls, &key, &explanation, time);
                    !twin_is_linearizable(&part, &mut Vec::new())
                });
                prop_assert!(proves, "{}", explanation);
            }
            Verdict::Unknown { why, .. } => prop_assert!(false, "so few calls exhausted the budget: {why}"),
        }
    }
}
