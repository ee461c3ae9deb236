//! What clients ask and what they are answered, as the record and the judges need it.

use bytes::Bytes;
use quorate_server::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_server::proto::etcdserverpb::request_op::Request as Operation;
use quorate_server::proto::etcdserverpb::response_op::Response;
use quorate_server::proto::etcdserverpb::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse};
use quorate_server::proto::mvccpb::KeyValue;

/// One call. Keys and values are text, and every value is written by one call only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Writes.
    Put {
        /// Where.
        key: String,
        /// What.
        value: String,
        /// The lease it hangs on, 0 for none.
        lease: i64,
    },
    /// Reads one key, linearizably.
    Get {
        /// Which.
        key: String,
    },
    /// Removes one key.
    Delete {
        /// Which.
        key: String,
    },
    /// Writes if the key holds what is expected; `None`: if it does not exist.
    Swap {
        /// Where.
        key: String,
        /// What must be there.
        expected: Option<String>,
        /// What is written.
        value: String,
    },
    /// Several steps at one instant.
    Transact(Transact),
    /// Reads all keys with a prefix.
    Scan {
        /// Which.
        prefix: String,
        /// From the state at hand, however old.
        serializable: bool,
    },
}

/// If all compares hold, the first list of steps, else the second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transact {
    /// Keys and what they must hold; `None`: must not exist.
    pub compares: Vec<(String, Option<String>)>,
    /// If so.
    pub then: Vec<Step>,
    /// If not.
    pub otherwise: Vec<Step>,
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads this key.
    Get(String),
    /// Writes this value to this key.
    Put(String, String),
}

/// A pair as a client saw it, or as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The revision that created it.
    pub created: i64,
    /// The revision that wrote it.
    pub modified: i64,
    /// How often it was written since.
    pub version: i64,
    /// Its lease, 0 for none.
    pub lease: i64,
}

/// What was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The store's revision: of a write its own, of a read that at which it looked.
    pub revision: i64,
    /// Whether compares held; true without compares.
    pub succeeded: bool,
    /// What each read found, in order.
    pub found: Vec<Option<Pair>>,
    /// How many keys a delete removed.
    pub deleted: i64,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered.
    Done(Answer),
    /// Certainly not done.
    Failed(String),
    /// Nobody knows.
    Unknown(String),
}

impl Request {
    /// Whether it can change anything.
    #[must_use]
    pub fn writes(&self) -> bool {
        match self {
            Request::Put { .. } | Request::Delete { .. } | Request::Swap { .. } => true,
            Request::Transact(transact) => {
                transact.then.iter().chain(&transact.otherwise).any(|step| matches!(step, Step::Put(..)))
            }
            Request::Get { .. } | Request::Scan { .. } => false,
        }
    }

    /// The puts it makes if it is done and its compares held so.
    #[must_use]
    pub fn puts(&self, succeeded: bool) -> Vec<(&str, &str)> {
        match self {
            Request::Put { key, value, .. } => vec![(key, value)],
            Request::Swap { key, value, .. } if succeeded => vec![(key, value)],
            Request::Transact(transact) => {
                let steps = if succeeded { &transact.then } else { &transact.otherwise };
                let put = steps.iter().filter_map(|step| match step {
                    Step::Put(key, value) => Some((key.as_str(), value.as_str())),
                    Step::Get(_) => None,
                });
                put.collect()
            }
            Request::Swap { .. } | Request::Get { .. } | Request::Delete { .. } | Request::Scan { .. } => Vec::new(),
        }
    }

    /// The keys whose values its answer tells, in order, if its compares held so; of a scan none, as the answer names them.
    #[must_use]
    pub fn gets(&self, succeeded: bool) -> Vec<&str> {
        match self {
            Request::Get { key } => vec![key],
            Request::Transact(transact) => {
                let steps = if succeeded { &transact.then } else { &transact.otherwise };
                let got = steps.iter().filter_map(|step| match step {
                    Step::Get(key) => Some(key.as_str()),
                    Step::Put(..) => None,
                });
                got.collect()
            }
            Request::Put { .. } | Request::Swap { .. } | Request::Delete { .. } | Request::Scan { .. } => Vec::new(),
        }
    }

    /// What it expects to find, to do the first of its two things.
    #[must_use]
    pub fn compares(&self) -> Vec<(&str, Option<&str>)> {
        match self {
            Request::Swap { key, expected, .. } => vec![(key, expected.as_deref())],
            Request::Transact(transact) => {
                transact.compares.iter().map(|(key, expected)| (key.as_str(), expected.as_deref())).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A swap and a transaction as etcd has them.
pub(crate) fn as_txn(request: &Request) -> Option<TxnRequest> {
    let put = |key: &str, value: &str| {
        let put = PutRequest { key: bytes_of(key), value: value_bytes(value), ..PutRequest::default() };
        RequestOp { request: Some(Operation::RequestPut(put)) }
    };
    let step = |step: &Step| match step {
        Step::Put(key, value) => put(key, value),
        Step::Get(key) => {
            let range = RangeRequest { key: bytes_of(key), ..RangeRequest::default() };
            RequestOp { request: Some(Operation::RequestRange(range)) }
        }
    };
    match request {
        Request::Swap { key, expected, value } => Some(TxnRequest {
            compare: vec![compare(key, expected.as_deref())],
            success: vec![put(key, value)],
            failure: Vec::new(),
        }),
        Request::Transact(transact) => Some(TxnRequest {
            compare: transact.compares.iter().map(|(key, expected)| compare(key, expected.as_deref())).collect(),
            success: transact.then.iter().map(step).collect(),
            failure: transact.otherwise.iter().map(step).collect(),
        }),
        _ => None,
    }
}

fn compare(key: &str, expected: Option<&str>) -> Compare {
    let (target, target_union) = match expected {
        Some(value) => (CompareTarget::Value, TargetUnion::Value(value_bytes(value))),
        None => (CompareTarget::Version, TargetUnion::Version(0)),
    };
    Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: bytes_of(key),
        target_union: Some(target_union),
        range_end: Bytes::new(),
    }
}

pub(crate) fn answer_of_txn(response: TxnResponse) -> Answer {
    let revision = response.header.map_or(0, |header| header.revision);
    let found = |response: quorate_server::proto::etcdserverpb::ResponseOp| match response.response {
        Some(Response::ResponseRange(range)) => Some(range.kvs.into_iter().next().map(pair_of)),
        _ => None,
    };
    let found = response.responses.into_iter().filter_map(found).collect();
    Answer { revision, succeeded: response.succeeded, found, deleted: 0 }
}

pub(crate) fn pair_of(pair: KeyValue) -> Pair {
    Pair {
        key: text_of(&pair.key),
        value: value_text(&pair.value),
        created: pair.create_revision,
        modified: pair.mod_revision,
        version: pair.version,
        lease: pair.lease,
    }
}

pub(crate) fn bytes_of(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Only text was written; anything else shows as what no call wrote.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Stands in a value before the count of filling bytes, which follow it on the wire and nowhere else: what is recorded stays
/// short, what members handle does not.
pub(crate) const FILLED_WITH: char = '+';

/// A value as it is sent.
pub(crate) fn value_bytes(value: &str) -> Bytes {
    let mut bytes = value.as_bytes().to_vec();
    bytes.resize(bytes.len() + filling(value), b'.');
    Bytes::from(bytes)
}

/// A value as it is recorded. With any other filling than it should have it shows as what no call wrote.
pub(crate) fn value_text(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|byte| *byte != b'.').map_or(0, |last| last + 1);
    let (value, dots) = bytes.split_at(end);
    let text = text_of(value);
    if filling(&text) == dots.len() { text } else { format!("{text} and {} bytes", dots.len()) }
}

fn filling(value: &str) -> usize {
    value.rsplit_once(FILLED_WITH).and_then(|(_, count)| count.parse().ok()).unwrap_or(0)
}

/// The end of the range of all keys with a prefix that ends with a character other than the last there is.
pub(crate) fn end_of_prefix(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last = last.saturating_add(1),
        None => end.push(0),
    }
    Bytes::from(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_as_it_was_meant_and_one_cut_short_does_not() {
        for value in ["7.1", "7.2+5000", "90 7.3a", "7.4+0"] {
            assert_eq!(value_text(&value_bytes(value)), value);
        }
        let sent = value_bytes("7.2+5000");
        assert_eq!(sent.len(), 5008);
        assert_ne!(value_text(&sent[..5007]), "7.2+5000");
        assert_ne!(value_text(b"7.1."), "7.1");
    }
}
