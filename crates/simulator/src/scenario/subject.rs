//! What scenarios run: a protocol with a state machine, and the words for its commands.

use super::script::{Call, Scenario};
use bytes::Bytes;
use quorate_keyspace::{DeleteRangeRequest, Keyspace, PutRequest, Query, RangeRequest, Reply, Request};
use quorate_machine::{ApplyContext, RestoreError, StateMachine};
use quorate_node::{Consistency, NodeConfig};
use quorate_paxos::Paxos;
use quorate_protocol::Replica;
use quorate_raft::{Config as RaftConfig, Raft};
use quorate_wire::encode_to_bytes;

/// A call as a node takes it.
pub(super) enum Asked<S: StateMachine> {
    Write(Bytes),
    Read(S::Query, Consistency),
}

/// A protocol and a state machine that scenarios can speak of.
pub(super) trait Subject {
    type Replica: Replica;
    type Machine: StateMachine;

    /// The nodes' settings.
    fn config(scenario: &Scenario) -> NodeConfig<Self::Replica>;
    /// The call in the machine's terms; `None` if it has no such call.
    fn ask(call: &Call) -> Option<Asked<Self::Machine>>;
    /// A reply in words.
    fn words(reply: &<Self::Machine as StateMachine>::Reply) -> String;
    /// What a node has applied under this name.
    fn value(machine: &Self::Machine, key: &str) -> Option<String>;
}

/// Raft under the keyspace: what `quorate serve` runs.
pub(super) struct RaftSubject;

impl Subject for RaftSubject {
    type Replica = Raft;
    type Machine = Keyspace;

    fn config(scenario: &Scenario) -> NodeConfig<Raft> {
        let mut raft = RaftConfig {
            election_timeout: scenario.election_timeout,
            heartbeat_interval: scenario.heartbeat,
            ..RaftConfig::default()
        };
        if let Some(entries) = scenario.entries_per_append {
            raft.append_entries = usize::try_from(entries).unwrap_or(usize::MAX);
        }
        NodeConfig::new(raft)
    }

    fn ask(call: &Call) -> Option<Asked<Keyspace>> {
        Some(match call {
            Call::Put { key, value } => {
                let put = PutRequest { key: bytes(key), value: bytes(value), ..PutRequest::default() };
                Asked::Write(encode_to_bytes(&Request::Put(put)))
            }
            Call::Delete { key } => {
                let delete = DeleteRangeRequest { key: bytes(key), ..DeleteRangeRequest::default() };
                Asked::Write(encode_to_bytes(&Request::DeleteRange(delete)))
            }
            Call::Get { key } => Asked::Read(one_key(key), Consistency::Linearizable),
            Call::Peek { key } => Asked::Read(one_key(key), Consistency::Local),
            Call::Propose { .. } => return None,
        })
    }

    fn words(reply: &Reply) -> String {
        match reply {
            Reply::Put { revision, .. } | Reply::Revision { revision } => format!("revision {revision}"),
            Reply::Delete { revision, deleted, .. } => format!("{deleted} deleted, revision {revision}"),
            Reply::Range { kvs, .. } => match kvs.first() {
                Some(pair) => format!("{} (revision {})", String::from_utf8_lossy(&pair.value), pair.mod_revision),
                None => "nothing".to_owned(),
            },
            Reply::Error(error) => error.to_string(),
            other => format!("{other:?}"),
        }
    }

    fn value(machine: &Keyspace, key: &str) -> Option<String> {
        match machine.query(&one_key(key)) {
            Reply::Range { kvs, .. } => kvs.first().map(|pair| String::from_utf8_lossy(&pair.value).into_owned()),
            _ => None,
        }
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn one_key(key: &str) -> Query {
    Query::Range(RangeRequest { key: bytes(key), ..RangeRequest::default() })
}

/// Single-decree Paxos over a machine that keeps the one value.
pub(super) struct PaxosSubject;

impl Subject for PaxosSubject {
    type Replica = Paxos;
    type Machine = SingleValue;

    fn config(_: &Scenario) -> NodeConfig<Paxos> {
        NodeConfig::new(quorate_paxos::Config::default())
    }

    fn ask(call: &Call) -> Option<Asked<SingleValue>> {
        match call {
            Call::Propose { value } => Some(Asked::Write(Bytes::from(value.clone().into_bytes()))),
            Call::Get { .. } => Some(Asked::Read((), Consistency::Linearizable)),
            Call::Peek { .. } => Some(Asked::Read((), Consistency::Local)),
            Call::Put { .. } | Call::Delete { .. } => None,
        }
    }

    fn words(reply: &Option<Bytes>) -> String {
        match reply {
            Some(value) => format!("{} is decided", String::from_utf8_lossy(value)),
            None => "nothing is decided".to_owned(),
        }
    }

    fn value(machine: &SingleValue, key: &str) -> Option<String> {
        let decided = machine.decided().filter(|_| key == "decision")?;
        Some(String::from_utf8_lossy(decided).into_owned())
    }
}

/// A state machine that keeps the first value it is given, for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SingleValue {
    decided: Option<Bytes>,
}

impl SingleValue {
    /// The value, once there is one.
    #[must_use]
    pub fn decided(&self) -> Option<&Bytes> {
        self.decided.as_ref()
    }
}

impl StateMachine for SingleValue {
    type Query = ();
    type Reply = Option<Bytes>;
    type Duty = ();

    fn empty() -> SingleValue {
        SingleValue::default()
    }

    fn apply(&mut self, _: &ApplyContext, payload: &Bytes) -> Option<Bytes> {
        Some(self.decided.get_or_insert_with(|| payload.clone()).clone())
    }

    fn query(&self, (): &()) -> Option<Bytes> {
        self.decided.clone()
    }

    fn digest(&self) -> u64 {
        let bytes = self.decided.as_deref().unwrap_or_default();
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    }

    fn head(&self) -> Bytes {
        encode_to_bytes(&self.decided)
    }

    fn item_count(&self) -> u64 {
        0
    }

    fn item(&self, _: u64) -> Option<Bytes> {
        None
    }

    fn restore(head: Bytes, _: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<SingleValue, RestoreError> {
        let decided = quorate_wire::decode_exact(head).map_err(|error| RestoreError { why: error.to_string() })?;
        Ok(SingleValue { decided })
    }
}
