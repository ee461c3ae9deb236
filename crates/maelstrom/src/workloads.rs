//! Maelstrom's workloads as one state machine.

use crate::line::{Answer, ErrorCode, Failure};
use crate::request::{MicroOperation, Request};
use bytes::Bytes;
use quorate_machine::{ApplyContext, RestoreError, StateMachine};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Messages of one log that a single poll gets.
const POLLED_MESSAGES_MAX: usize = 1000;

/// Everything there is. Commands are [`Request`]s in JSON; the image is all head, for the tests of Maelstrom are short.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Workloads {
    digest: u64,
    /// What lin-kv and transactions read and write, by the key's JSON.
    values: BTreeMap<String, Value>,
    shared: Shared,
    logs: BTreeMap<String, Vec<Value>>,
    /// The last offset processed of each log.
    committed: BTreeMap<String, u64>,
}

/// What a `read` without a key shows. The first command decides which it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
enum Shared {
    #[default]
    Nothing,
    /// Of broadcast, by the message's JSON.
    Messages(BTreeMap<String, Value>),
    /// Of g-set, by the element's JSON.
    Elements(BTreeMap<String, Value>),
    /// Of g-counter and pn-counter.
    Counter(i64),
}

impl Shared {
    fn name(&self) -> &'static str {
        match self {
            Shared::Nothing => "nothing",
            Shared::Messages(_) => "broadcast messages",
            Shared::Elements(_) => "a set",
            Shared::Counter(_) => "a counter",
        }
    }

    /// Becomes `wanted` if it is nothing yet.
    fn found(&mut self, wanted: Shared) -> &mut Shared {
        if matches!(self, Shared::Nothing) {
            *self = wanted;
        }
        self
    }

    fn is_taken(&self) -> Answer {
        Err(Failure::new(ErrorCode::PreconditionFailed, format!("this cluster shares {} already", self.name())))
    }

    fn read(&self) -> Answer {
        let all = |values: &BTreeMap<String, Value>| values.values().cloned().collect::<Vec<Value>>();
        match self {
            Shared::Messages(messages) => Ok(json!({ "type": "read_ok", "messages": all(messages) })),
            Shared::Elements(elements) => Ok(json!({ "type": "read_ok", "value": all(elements) })),
            Shared::Counter(value) => Ok(json!({ "type": "read_ok", "value": value })),
            Shared::Nothing => Err(Failure::new(
                ErrorCode::TemporarilyUnavailable,
                "nothing was added yet, and only that tells a set from a counter",
            )),
        }
    }
}

fn ok(kind: &str) -> Answer {
    Ok(json!({ "type": kind }))
}

impl Workloads {
    fn change(&mut self, request: Request) -> Answer {
        match request {
            Request::Write { key, value } => {
                self.values.insert(key.to_string(), value);
                ok("write_ok")
            }
            Request::Cas { key, from, to } => self.compare_and_set(&key, &from, to),
            Request::Txn { txn } => self.transact(txn),
            Request::Topology { .. } => match self.shared.found(Shared::Messages(BTreeMap::new())) {
                Shared::Messages(_) => ok("topology_ok"),
                other => other.is_taken(),
            },
            Request::Broadcast { message } => match self.shared.found(Shared::Messages(BTreeMap::new())) {
                Shared::Messages(messages) => {
                    messages.insert(message.to_string(), message);
                    ok("broadcast_ok")
                }
                other => other.is_taken(),
            },
            Request::Add { element, delta } => self.add(element, delta),
            Request::Send { key, msg } => {
                let log = self.logs.entry(key).or_default();
                log.push(msg);
                Ok(json!({ "type": "send_ok", "offset": log.len() - 1 }))
            }
            Request::CommitOffsets { offsets } => {
                for (key, offset) in offsets {
                    let committed = self.committed.entry(key).or_default();
                    *committed = offset.max(*committed);
                }
                ok("commit_offsets_ok")
            }
            other => Err(Failure::new(ErrorCode::NotSupported, format!("{other:?} changes nothing"))),
        }
    }

    fn compare_and_set(&mut self, key: &Value, from: &Value, to: Value) -> Answer {
        match self.values.get_mut(&key.to_string()) {
            None => Err(Failure::new(ErrorCode::KeyDoesNotExist, format!("there is no key {key}"))),
            Some(found) if found != from => {
                Err(Failure::new(ErrorCode::PreconditionFailed, format!("expected {from}, but found {found}")))
            }
            Some(found) => {
                *found = to;
                ok("cas_ok")
            }
        }
    }

    fn add(&mut self, element: Option<Value>, delta: Option<i64>) -> Answer {
        let wanted = match (&element, delta) {
            (Some(_), None) => Shared::Elements(BTreeMap::new()),
            (None, Some(_)) => Shared::Counter(0),
            _ => return Err(Failure::new(ErrorCode::MalformedRequest, "add takes either an element or a delta")),
        };
        match (self.shared.found(wanted), element, delta) {
            (Shared::Elements(elements), Some(element), _) => {
                elements.insert(element.to_string(), element);
                ok("add_ok")
            }
            (Shared::Counter(value), _, Some(delta)) => match value.checked_add(delta) {
                Some(sum) => {
                    *value = sum;
                    ok("add_ok")
                }
                None => Err(Failure::new(ErrorCode::Abort, format!("{value} and {delta} are more than 64 bits hold"))),
            },
            (other, ..) => other.is_taken(),
        }
    }

    /// All steps or none: they are done beside the state, which is replaced if none fails.
    fn transact(&mut self, txn: Vec<(MicroOperation, Value, Value)>) -> Answer {
        let mut changed = BTreeMap::new();
        let answer = self.steps(txn, &mut changed)?;
        self.values.append(&mut changed);
        Ok(answer)
    }

    fn steps(&self, txn: Vec<(MicroOperation, Value, Value)>, changed: &mut BTreeMap<String, Value>) -> Answer {
        let mut done = Vec::with_capacity(txn.len());
        for (function, key, value) in txn {
            let name = key.to_string();
            let present = changed.get(&name).or_else(|| self.values.get(&name));
            let shown = match function {
                MicroOperation::Read => present.cloned().unwrap_or(Value::Null),
                MicroOperation::Write => {
                    changed.insert(name, value.clone());
                    value
                }
                MicroOperation::Append => {
                    let mut list = match present {
                        None | Some(Value::Null) => Vec::new(),
                        Some(Value::Array(list)) => list.clone(),
                        Some(other) => {
                            return Err(Failure::new(ErrorCode::Abort, format!("key {key} holds {other}, no list")));
                        }
                    };
                    list.push(value.clone());
                    changed.insert(name, Value::Array(list));
                    value
                }
            };
            done.push(json!([function, key, shown]));
        }
        Ok(json!({ "type": "txn_ok", "txn": done }))
    }

    fn poll(&self, key: &str, offset: u64) -> Option<(String, Value)> {
        let log = self.logs.get(key)?;
        let from = usize::try_from(offset).ok()?;
        let messages: Vec<Value> = log
            .iter()
            .enumerate()
            .skip(from)
            .take(POLLED_MESSAGES_MAX)
            .map(|(at, message)| json!([at, message]))
            .collect();
        (!messages.is_empty()).then(|| (key.to_owned(), Value::Array(messages)))
    }
}

impl StateMachine for Workloads {
    type Query = Request;
    type Reply = Result<Value, Failure>;
    type Duty = ();

    fn empty() -> Workloads {
        Workloads::default()
    }

    fn apply(&mut self, _: &ApplyContext, payload: &Bytes) -> Answer {
        // FNV-1a over everything applied.
        let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        self.digest = payload.iter().chain(&payload.len().to_be_bytes()).fold(self.digest, fold);
        match serde_json::from_slice(payload) {
            Ok(request) => self.change(request),
            Err(why) => Err(Failure::new(ErrorCode::MalformedRequest, why.to_string())),
        }
    }

    fn query(&self, request: &Request) -> Answer {
        match request {
            Request::Read { key: None } => self.shared.read(),
            Request::Read { key: Some(key) } => match self.values.get(&key.to_string()) {
                Some(value) => Ok(json!({ "type": "read_ok", "value": value })),
                None => Err(Failure::new(ErrorCode::KeyDoesNotExist, format!("there is no key {key}"))),
            },
            Request::Txn { txn } => self.steps(txn.clone(), &mut BTreeMap::new()),
            Request::Poll { offsets } => {
                let messages: serde_json::Map<String, Value> =
                    offsets.iter().filter_map(|(key, offset)| self.poll(key, *offset)).collect();
                Ok(json!({ "type": "poll_ok", "msgs": messages }))
            }
            Request::ListCommittedOffsets { keys } => {
                let offsets: BTreeMap<&String, u64> =
                    keys.iter().filter_map(|key| Some((key, *self.committed.get(key)?))).collect();
                Ok(json!({ "type": "list_committed_offsets_ok", "offsets": offsets }))
            }
            other => Err(Failure::new(ErrorCode::NotSupported, format!("{other:?} asks nothing"))),
        }
    }

    fn digest(&self) -> u64 {
        self.digest
    }

    fn head(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(self).expect("maps with text keys and JSON values are JSON"))
    }

    fn item_count(&self) -> u64 {
        0
    }

    fn item(&self, _: u64) -> Option<Bytes> {
        None
    }

    fn restore(head: Bytes, _: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Workloads, RestoreError> {
        serde_json::from_slice(&head).map_err(|why| RestoreError { why: why.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{Slot, Time};

    fn apply(state: &mut Workloads, body: Value) -> Answer {
        let context = ApplyContext { slot: Slot(1), index: 0, stamp: Time::ZERO };
        state.apply(&context, &Bytes::from(body.to_string()))
    }

    fn ask(state: &Workloads, body: Value) -> Answer {
        state.query(&Request::parse(&body)?)
    }

    #[test]
    fn a_key_is_set_only_over_what_was_expected() {
        let mut state = Workloads::empty();
        let cas = |from: u64, to: u64| json!({ "type": "cas", "key": 1, "from": from, "to": to });
        let read = || json!({ "type": "read", "key": 1 });
        assert_eq!(ask(&state, read()).unwrap_err().code, ErrorCode::KeyDoesNotExist);
        assert_eq!(apply(&mut state, cas(1, 2)).unwrap_err().code, ErrorCode::KeyDoesNotExist);
        assert_eq!(apply(&mut state, json!({ "type": "write", "key": 1, "value": 5 })), ok("write_ok"));
        assert_eq!(apply(&mut state, cas(4, 6)).unwrap_err().code, ErrorCode::PreconditionFailed);
        assert_eq!(ask(&state, read()).unwrap()["value"], 5);
        assert_eq!(apply(&mut state, cas(5, 6)), ok("cas_ok"));
        assert_eq!(ask(&state, read()).unwrap()["value"], 6);
    }

    #[test]
    fn keys_of_different_types_are_different_keys() {
        let mut state = Workloads::empty();
        apply(&mut state, json!({ "type": "write", "key": 1, "value": "number" })).unwrap();
        apply(&mut state, json!({ "type": "write", "key": "1", "value": "text" })).unwrap();
        assert_eq!(ask(&state, json!({ "type": "read", "key": 1 })).unwrap()["value"], "number");
        assert_eq!(ask(&state, json!({ "type": "read", "key": "1" })).unwrap()["value"], "text");
    }

    #[test]
    fn the_transaction_of_the_manual_has_the_answer_of_the_manual() {
        let mut state = Workloads::empty();
        apply(&mut state, json!({ "type": "txn", "txn": [["append", 1, 8]] })).unwrap();
        let answer =
            apply(&mut state, json!({ "type": "txn", "txn": [["r", 1, null], ["append", 1, 6], ["append", 2, 9]] }));
        assert_eq!(answer.unwrap()["txn"], json!([["r", 1, [8]], ["append", 1, 6], ["append", 2, 9]]));
        let read = ask(&state, json!({ "type": "txn", "txn": [["r", 1, null], ["r", 2, null], ["r", 3, null]] }));
        assert_eq!(read.unwrap()["txn"], json!([["r", 1, [8, 6]], ["r", 2, [9]], ["r", 3, null]]));
    }

    #[test]
    fn a_transaction_sees_its_own_writes_and_one_that_fails_changes_nothing() {
        let mut state = Workloads::empty();
        let own = apply(&mut state, json!({ "type": "txn", "txn": [["w", 1, 3], ["r", 1, null], ["w", 1, 4]] }));
        assert_eq!(own.unwrap()["txn"][1][2], 3);
        let failed = apply(&mut state, json!({ "type": "txn", "txn": [["w", 2, 7], ["append", 1, 5]] }));
        assert_eq!(failed.unwrap_err().code, ErrorCode::Abort);
        let read = ask(&state, json!({ "type": "txn", "txn": [["r", 1, null], ["r", 2, null]] }));
        assert_eq!(read.unwrap()["txn"], json!([["r", 1, 4], ["r", 2, null]]));
    }

    #[test]
    fn a_read_without_a_key_has_the_form_of_what_was_written() {
        let read = || json!({ "type": "read" });
        let after = |body: Value| {
            let mut state = Workloads::empty();
            apply(&mut state, body).unwrap();
            ask(&state, read()).unwrap()
        };
        assert_eq!(ask(&Workloads::empty(), read()).unwrap_err().code, ErrorCode::TemporarilyUnavailable);
        assert_eq!(after(json!({ "type": "topology", "topology": {} }))["messages"], json!([]));
        assert_eq!(after(json!({ "type": "broadcast", "message": 3 }))["messages"], json!([3]));
        assert_eq!(after(json!({ "type": "add", "element": 4 }))["value"], json!([4]));
        assert_eq!(after(json!({ "type": "add", "delta": -5 }))["value"], -5);
    }

    #[test]
    fn one_cluster_shares_one_thing_and_an_add_that_says_neither_is_refused() {
        let mut state = Workloads::empty();
        let code = |answer: Answer| answer.unwrap_err().code;
        assert_eq!(code(apply(&mut state, json!({ "type": "add" }))), ErrorCode::MalformedRequest);
        apply(&mut state, json!({ "type": "add", "delta": i64::MAX })).unwrap();
        assert_eq!(code(apply(&mut state, json!({ "type": "add", "delta": 1 }))), ErrorCode::Abort);
        assert_eq!(code(apply(&mut state, json!({ "type": "add", "element": 1 }))), ErrorCode::PreconditionFailed);
        assert_eq!(
            code(apply(&mut state, json!({ "type": "broadcast", "message": 1 }))),
            ErrorCode::PreconditionFailed
        );
        assert_eq!(ask(&state, json!({ "type": "read" })).unwrap()["value"], i64::MAX);
    }

    #[test]
    fn logs_are_polled_from_an_offset_and_committed_offsets_never_go_back() {
        let mut state = Workloads::empty();
        for (at, message) in ["a", "b", "c"].into_iter().enumerate() {
            let sent = apply(&mut state, json!({ "type": "send", "key": "k", "msg": message })).unwrap();
            assert_eq!(sent["offset"], at);
        }
        let polled = ask(&state, json!({ "type": "poll", "offsets": { "k": 1, "none": 0 } })).unwrap();
        assert_eq!(polled["msgs"], json!({ "k": [[1, "b"], [2, "c"]] }));
        assert_eq!(ask(&state, json!({ "type": "poll", "offsets": { "k": 3 } })).unwrap()["msgs"], json!({}));
        for offset in [2, 1] {
            apply(&mut state, json!({ "type": "commit_offsets", "offsets": { "k": offset } })).unwrap();
        }
        let listed = ask(&state, json!({ "type": "list_committed_offsets", "keys": ["k", "none"] })).unwrap();
        assert_eq!(listed["offsets"], json!({ "k": 2 }));
    }

    #[test]
    fn a_state_comes_back_from_its_image_with_its_digest() {
        let mut state = Workloads::empty();
        apply(&mut state, json!({ "type": "write", "key": [1, { "b": 2 }], "value": 0.1 })).unwrap();
        apply(&mut state, json!({ "type": "add", "element": "x" })).unwrap();
        apply(&mut state, json!({ "type": "send", "key": "k", "msg": null })).unwrap();
        let restored = Workloads::restore(state.head(), &mut std::iter::empty()).unwrap();
        assert_eq!((restored.digest(), restored.head()), (state.digest(), state.head()));
        assert!(Workloads::restore(Bytes::from_static(b"{"), &mut std::iter::empty()).is_err());
    }

    #[test]
    fn bytes_that_are_no_command_change_nothing() {
        let mut state = Workloads::empty();
        for junk in [json!({ "type": "read" }), json!({ "type": "echo", "echo": 1 }), json!(3)] {
            assert!(apply(&mut state, junk).is_err());
        }
        assert!(state.values.is_empty() && state.logs.is_empty() && matches!(state.shared, Shared::Nothing));
    }
}
