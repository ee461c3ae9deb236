//! Guards as data: why a replica granted, refused, advanced or held something back.

use quorate_types::{NodeId, Slot};
use std::fmt;

/// A rule of a paper, as a protocol crate states it once in its `rules.rs`.
///
/// The three sentences are what a narrator says for each verdict. A name in braces stands for the event's value
/// of that name; `{me}` for the replica, `{votes}` for the nodes whose votes justify it. An empty sentence means
/// that the rule never has that verdict.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Stable and unique, such as `raft.vote`.
    pub id: &'static str,
    /// Where it is stated, such as `Raft §5.4.1`.
    pub source: &'static str,
    /// Said when the guard held: `{me} votes for {candidate} in term {term}`.
    pub allowed: &'static str,
    /// Said when the guard forbade it: `{me} refuses {candidate}: {why}`.
    pub refused: &'static str,
    /// Said when it must wait: `{me} holds slot {slot} back: {why}`.
    pub waiting: &'static str,
}

/// What the guard said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Granted, advanced, adopted, entered.
    Allowed,
    /// Refused or dropped.
    Refused,
    /// Not yet.
    Waiting,
}

/// A value a guard looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A count, term, round or index.
    Number(u64),
    /// A node.
    Node(NodeId),
    /// A slot.
    Slot(Slot),
    /// Several nodes.
    Nodes(Vec<NodeId>),
    /// Words, for what has no better type.
    Text(String),
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(number)
    }
}
impl From<NodeId> for Value {
    fn from(node: NodeId) -> Value {
        Value::Node(node)
    }
}
impl From<Slot> for Value {
    fn from(slot: Slot) -> Value {
        Value::Slot(slot)
    }
}
impl From<Vec<NodeId>> for Value {
    fn from(nodes: Vec<NodeId>) -> Value {
        Value::Nodes(nodes)
    }
}
impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => write!(formatter, "{number}"),
            Value::Node(node) => write!(formatter, "{node}"),
            Value::Slot(slot) => write!(formatter, "{slot}"),
            Value::Nodes(nodes) => {
                for (at, node) in nodes.iter().enumerate() {
                    let separator = match at {
                        0 => "",
                        _ if at + 1 == nodes.len() => " and ",
                        _ => ", ",
                    };
                    write!(formatter, "{separator}{node}")?;
                }
                Ok(())
            }
            Value::Text(text) => formatter.write_str(text),
        }
    }
}

/// One guard evaluated. Every narration, golden trace and incident report is a rendering of these; nothing else
/// tells why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// The rule.
    pub rule: &'static Rule,
    /// What it said.
    pub verdict: Verdict,
    /// What its guard looked at, by the names its sentences use.
    pub values: Vec<(&'static str, Value)>,
    /// Whose votes justify it, the replica itself included where its own counted.
    pub votes: Vec<NodeId>,
}

impl Event {
    /// A guard that held.
    #[must_use]
    pub fn allowed(rule: &'static Rule) -> Event {
        Event { rule, verdict: Verdict::Allowed, values: Vec::new(), votes: Vec::new() }
    }

    /// A guard that forbade.
    #[must_use]
    pub fn refused(rule: &'static Rule) -> Event {
        Event { verdict: Verdict::Refused, ..Event::allowed(rule) }
    }

    /// A guard that must wait.
    #[must_use]
    pub fn waiting(rule: &'static Rule) -> Event {
        Event { verdict: Verdict::Waiting, ..Event::allowed(rule) }
    }

    /// Adds a value the guard looked at.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Event {
        self.values.push((name, value.into()));
        self
    }

    /// Adds the votes that justify it.
    #[must_use]
    pub fn votes(mut self, votes: impl IntoIterator<Item = NodeId>) -> Event {
        self.votes.extend(votes);
        self
    }

    /// The value of this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}
