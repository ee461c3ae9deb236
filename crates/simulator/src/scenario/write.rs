//! From a scenario back to its text.

use super::acts;
use super::script::{Call, Line, Protocol, Scenario, Step};
use super::words::duration_words;
use crate::act::{Ask, Deed};
use crate::swarm::LogProtocol;
use quorate_node::Consistency;
use quorate_protocol::Replica;
use quorate_types::{NodeId, Time};
use std::fmt::Write;

impl Scenario {
    /// A script that does these deeds at these times to a world that is as this seed draws it, and then waits until `end`, or
    /// demands what is demanded when the faults are over.
    pub(crate) fn of_deeds<R: Replica>(
        title: String,
        seed: u64,
        nodes: u64,
        deeds: &[(Time, Deed)],
        then: &Then,
    ) -> Scenario {
        let mut steps = Vec::new();
        let mut now = Time::ZERO;
        for (number, (at, deed)) in deeds.iter().enumerate() {
            if *at > now {
                steps.push(Step::Run(at.since(now)));
                now = *at;
            }
            steps.push(match deed {
                Deed::Act(act) => Step::Act(vec![act.clone()]),
                Deed::Call { node, ask } => {
                    Step::Call { node: *node, call: Call::Ask(ask.clone()), name: format!("c{}", number + 1) }
                }
            });
        }
        match then {
            Then::Wait { until } if *until > now => steps.push(Step::Run(until.since(now))),
            Then::Wait { .. } => {}
            Then::Aftermath { without } => steps.push(Step::Aftermath { without: without.clone() }),
        }
        let usual = Scenario::default();
        // A protocol of somebody else has no name here: its scripts are replayed by who knows it.
        let protocol = LogProtocol::named(R::PROTOCOL).map_or(usual.protocol, Protocol::Log);
        let mut scenario = Scenario { title, protocol, nodes: Some(nodes), seed, like_seed: Some(seed), ..usual };
        let line = |(index, step): (usize, Step)| Line { number: index + 1, text: words(&step), step };
        scenario.steps = steps.into_iter().enumerate().map(line).collect();
        scenario
    }

    /// The text of a script made by [`Scenario::of_deeds`].
    pub(crate) fn text_of_deeds(&self) -> String {
        let mut text = format!("title {}\n", self.title);
        let seed = self.like_seed.unwrap_or(self.seed);
        if let Protocol::Log(protocol) = self.protocol
            && protocol != LogProtocol::Raft
        {
            let _ = writeln!(text, "protocol {}", protocol.name());
        }
        let _ = writeln!(text, "like-seed {seed}\nnodes {}\n", self.node_count());
        for line in &self.steps {
            let _ = writeln!(text, "{}", line.text);
        }
        text
    }
}

/// How a script of deeds ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It runs on.
    Wait {
        /// Until then.
        until: Time,
    },
    /// The faults are over.
    Aftermath {
        /// For all but these.
        without: Vec<NodeId>,
    },
}

/// A step of a script of deeds as its line; other steps are not made by machines.
fn words(step: &Step) -> String {
    match step {
        Step::Run(time) => format!("run {}", duration_words(*time)),
        Step::Act(acts) => acts.iter().map(acts::write).collect::<Vec<_>>().join("\n"),
        Step::Call { node, call: Call::Ask(ask), name } => {
            let what = match ask {
                Ask::Put { key, value } => {
                    format!("put {node} {} {}", String::from_utf8_lossy(key), String::from_utf8_lossy(value))
                }
                Ask::Delete { key } => format!("delete {node} {}", String::from_utf8_lossy(key)),
                Ask::Swap { key, expected, value } => {
                    let expected = expected.as_ref().map_or("-".into(), |value| String::from_utf8_lossy(value));
                    let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
                    format!("swap {node} {key} {expected} {value}")
                }
                Ask::Compact { revision } => format!("compact {node} {revision}"),
                Ask::Grant { lease, ttl_seconds } => format!("grant {node} {lease} {ttl_seconds}"),
                Ask::Attach { key, value, lease } => {
                    let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
                    format!("attach {node} {key} {value} {lease}")
                }
                Ask::Revoke { lease } => format!("revoke {node} {lease}"),
                Ask::KeepAlive { lease } => format!("keep-alive {node} {lease}"),
                Ask::ClearLowSpace { member } => format!("clear-low-space {node} {member}"),
                Ask::Read { key, consistency } => {
                    let verb = if *consistency == Consistency::Local { "peek" } else { "get" };
                    match key {
                        Some(key) => format!("{verb} {node} {}", String::from_utf8_lossy(key)),
                        None => format!("{verb}-all {node}"),
                    }
                }
            };
            format!("{what} as {name}")
        }
        Step::Aftermath { without } if without.is_empty() => "aftermath".to_owned(),
        Step::Aftermath { without } => {
            format!("aftermath without {}", without.iter().map(NodeId::to_string).collect::<Vec<_>>().join(" "))
        }
        other => format!("note {other:?}"),
    }
}
