//! What Maelstrom's clients ask, after its `doc/workloads.md`.

use crate::line::{ErrorCode, Failure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A request's body. What of it changes the state is also the command in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Who this node is, and who the others are.
    Init {
        /// This node.
        node_id: String,
        /// All nodes.
        node_ids: Vec<String>,
    },
    /// Say it again.
    Echo {
        /// Anything.
        echo: Value,
    },
    /// Make a name that nobody ever made.
    Generate,
    /// Of a key, or of what broadcast, g-set and the counters share.
    Read {
        /// Which key; none for what is shared.
        key: Option<Value>,
    },
    /// Set a key.
    Write {
        /// Which.
        key: Value,
        /// To what.
        value: Value,
    },
    /// Set a key if it holds what is expected.
    Cas {
        /// Which.
        key: Value,
        /// What it must hold.
        from: Value,
        /// To what.
        to: Value,
    },
    /// Several reads and writes at one instant.
    Txn {
        /// In this order: function, key, value.
        txn: Vec<(MicroOperation, Value, Value)>,
    },
    /// Who might tell whom. The protocol needs no such advice, but nobody gives it outside of broadcast.
    Topology {
        /// For each node its neighbours.
        topology: BTreeMap<String, Vec<String>>,
    },
    /// Tell everybody.
    Broadcast {
        /// Anything.
        message: Value,
    },
    /// To a set or to a counter.
    Add {
        /// The new member of a set.
        #[serde(skip_serializing_if = "Option::is_none")]
        element: Option<Value>,
        /// By how much a counter changes.
        #[serde(skip_serializing_if = "Option::is_none")]
        delta: Option<i64>,
    },
    /// Append to a log.
    Send {
        /// Which log.
        key: String,
        /// Anything.
        msg: Value,
    },
    /// Read logs, each from an offset on.
    Poll {
        /// The first offset wanted of each log.
        offsets: BTreeMap<String, u64>,
    },
    /// Note how far logs were processed.
    CommitOffsets {
        /// The last offset processed of each log.
        offsets: BTreeMap<String, u64>,
    },
    /// How far were logs processed?
    ListCommittedOffsets {
        /// Which logs.
        keys: Vec<String>,
    },
    /// Anything else.
    #[serde(other)]
    Unknown,
}

/// A step of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MicroOperation {
    /// What does the key hold?
    #[serde(rename = "r")]
    Read,
    /// Set the key.
    #[serde(rename = "w")]
    Write,
    /// Put something at the end of the key's list.
    #[serde(rename = "append")]
    Append,
}

/// How a request gets its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the node alone.
    Alone,
    /// From what the node has.
    Local,
    /// From a state that shows every write acknowledged before.
    Linearizable,
    /// Through the log.
    Logged,
}

impl Request {
    /// Reads a body.
    pub(crate) fn parse(body: &Value) -> Result<Request, Failure> {
        match Request::deserialize(body) {
            Ok(Request::Unknown) => Err(Failure::new(ErrorCode::NotSupported, format!("no such request: {body}"))),
            Ok(request) => Ok(request),
            Err(why) => Err(Failure::new(ErrorCode::MalformedRequest, why.to_string())),
        }
    }

    pub(crate) fn way(&self) -> Way {
        match self {
            Request::Init { .. } | Request::Echo { .. } | Request::Generate | Request::Unknown => Way::Alone,
            Request::Read { key: None } => Way::Local,
            Request::Read { key: Some(_) } | Request::Poll { .. } | Request::ListCommittedOffsets { .. } => {
                Way::Linearizable
            }
            Request::Txn { txn } if txn.iter().all(|(function, ..)| *function == MicroOperation::Read) => {
                Way::Linearizable
            }
            _ => Way::Logged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_transaction_that_writes_goes_through_the_log_and_one_that_reads_does_not() {
        let way = |txn: Value| Request::parse(&json!({ "type": "txn", "txn": txn, "msg_id": 3 })).unwrap().way();
        assert_eq!(way(json!([["r", 1, null]])), Way::Linearizable);
        assert_eq!(way(json!([["r", 1, null], ["append", 1, 2]])), Way::Logged);
        assert_eq!(way(json!([["w", 1, 2]])), Way::Logged);
    }

    #[test]
    fn what_is_unknown_is_told_from_what_is_malformed() {
        let code = |body: Value| Request::parse(&body).unwrap_err().code;
        assert_eq!(code(json!({ "type": "dance" })), ErrorCode::NotSupported);
        assert_eq!(code(json!({ "type": "write", "key": 1 })), ErrorCode::MalformedRequest);
        assert_eq!(code(json!({ "type": "txn", "txn": [["x", 1, 2]] })), ErrorCode::MalformedRequest);
        assert_eq!(code(json!({ "type": "poll", "offsets": { "a": -1 } })), ErrorCode::MalformedRequest);
        assert_eq!(code(json!({ "no": "type" })), ErrorCode::MalformedRequest);
        assert_eq!(code(json!(7)), ErrorCode::MalformedRequest);
    }
}
