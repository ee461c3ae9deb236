//! A scenario as data.

use crate::act::{Act, Ask};
use crate::swarm::LogProtocol;
use quorate_types::NodeId;
use std::time::Duration;

/// What a scenario runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// One that serves a store of keys.
    Log(LogProtocol),
    /// Single-decree Paxos: one value.
    Paxos,
}

/// A parsed scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub(super) title: String,
    pub(super) protocol: Protocol,
    /// `None`: three, or as many as the seed draws.
    pub(super) nodes: Option<u64>,
    pub(super) seed: u64,
    pub(super) latency: Duration,
    pub(super) flush: Duration,
    pub(super) heartbeat: Duration,
    pub(super) election_timeout: Duration,
    pub(super) entries_per_append: Option<u64>,
    pub(super) manual_timers: bool,
    /// Everything about nodes, links, disks and clocks is as this seed draws it, but for the number of nodes where that is set.
    pub(super) like_seed: Option<u64>,
    pub(super) steps: Vec<Line>,
}

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario {
            title: String::new(),
            protocol: Protocol::Log(LogProtocol::Raft),
            nodes: None,
            seed: 1,
            latency: Duration::from_millis(1),
            flush: Duration::ZERO,
            heartbeat: Duration::from_millis(50),
            election_timeout: Duration::from_millis(500),
            entries_per_append: None,
            manual_timers: false,
            like_seed: None,
            steps: Vec::new(),
        }
    }
}

impl Scenario {
    /// What it shows, in its own words.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }
}

/// One step and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) text: String,
    pub(super) step: Step,
}

/// A client's call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// To a store of keys.
    Ask(Ask),
    /// To a single decree.
    Propose { value: String },
}

/// What a rule about messages does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    Lose,
    Hold,
}

/// Which messages a rule is about; `None` is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picked {
    pub(super) kind: Option<String>,
    pub(super) from: Option<NodeId>,
    pub(super) to: Option<NodeId>,
    pub(super) times: Option<u64>,
}

/// How a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Answered,
    Refused,
    Unknown,
    Waiting,
}

/// One of a log's marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogMark {
    Last,
    Committed,
    Applied,
}

/// What must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expectation {
    Leader(NodeId),
    NoLeader,
    Era(NodeId, u64),
    Mark(NodeId, LogMark, u64),
    Call { name: String, standing: Standing, text: Option<String> },
    Value { node: NodeId, key: String, value: Option<String> },
    Told { rule: String, node: NodeId, verdict: quorate_protocol::Verdict, told: bool },
    SameState,
    Running(NodeId, bool),
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Run(Duration),
    Settle,
    UntilLeader(Option<NodeId>),
    UntilEnded(String),
    Fire(NodeId, String),
    Call {
        node: NodeId,
        call: Call,
        name: String,
    },
    Act(Vec<Act>),
    Treat(Treatment, Picked),
    Deliver,
    /// One message that is held goes, or a copy of it; of those picked the one of this number, from 1.
    DeliverOne {
        picked: Picked,
        number: u64,
        copy: bool,
    },
    Pass,
    Note(String),
    Expect(Expectation),
    Forget,
    /// Everything is repaired; these stay broken for ever.
    Aftermath {
        without: Vec<NodeId>,
    },
}
