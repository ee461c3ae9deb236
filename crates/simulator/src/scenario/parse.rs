//! From text to a scenario, or a line and what is wrong with it.

use super::acts;
use super::script::{Call, Expectation, Line, LogMark, Picked, Protocol, Scenario, Standing, Step, Treatment};
use super::words::{Parsed, bounded, duration, node, number};
use crate::act::{Act, Ask};
use crate::swarm::{LogProtocol, Plan};
use bytes::Bytes;
use quorate_node::Consistency;
use quorate_protocol::Verdict;
use thiserror::Error;

/// What is wrong with a scenario's text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {why}")]
pub struct ScenarioError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong and what is wanted.
    pub why: String,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// The first line that cannot be understood.
    pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
        let mut scenario = Scenario::default();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let text = line.split('#').next().unwrap_or_default().trim();
            if text.is_empty() {
                continue;
            }
            let words: Vec<&str> = text.split_whitespace().collect();
            let fail = |why: String| ScenarioError { line: number, why };
            if setting(&mut scenario, &words, text).map_err(fail)? {
                if !scenario.steps.is_empty() {
                    return Err(fail(format!("the setting `{}` must come before the first step", words[0])));
                }
                continue;
            }
            let step = step(&words, text).map_err(fail)?;
            scenario.steps.push(Line { number, text: text.to_owned(), step });
        }
        check_nodes(&scenario)?;
        Ok(scenario)
    }

    /// How many voters there are.
    pub(super) fn node_count(&self) -> u64 {
        self.nodes.unwrap_or_else(|| self.like_seed.map_or(3, |seed| Plan::of_seed(seed).voters))
    }
}

/// Takes a setting; `false` if the line is none.
fn setting(scenario: &mut Scenario, words: &[&str], text: &str) -> Parsed<bool> {
    match words {
        ["title", ..] => scenario.title = text["title".len()..].trim().to_owned(),
        ["protocol", "paxos"] => scenario.protocol = Protocol::Paxos,
        ["protocol", name] => match LogProtocol::named(name) {
            Some(protocol) => scenario.protocol = Protocol::Log(protocol),
            None => {
                let names: Vec<&str> = LogProtocol::ALL.into_iter().map(LogProtocol::name).collect();
                return Err(format!("no protocol {name}: {} or paxos is wanted", names.join(", ")));
            }
        },
        ["nodes", count] => scenario.nodes = Some(bounded(count, 1, 9)?),
        ["like-seed", seed] => {
            scenario.like_seed = Some(number(seed)?);
            scenario.seed = number(seed)?;
        }
        ["seed", seed] => scenario.seed = number(seed)?,
        ["latency", time] => scenario.latency = duration(time)?,
        ["flush", time] => scenario.flush = duration(time)?,
        ["heartbeat", time] => scenario.heartbeat = duration(time)?,
        ["election-timeout", time] => scenario.election_timeout = duration(time)?,
        ["entries-per-append", count] => scenario.entries_per_append = Some(bounded(count, 1, 1_000_000)?),
        ["timers", "manual"] => scenario.manual_timers = true,
        ["timers", "automatic"] => scenario.manual_timers = false,
        _ => return Ok(false),
    }
    Ok(true)
}

fn step(words: &[&str], text: &str) -> Parsed<Step> {
    if let Some(step) = time_step(words)? {
        return Ok(step);
    }
    if let Some(step) = call_step(words)? {
        return Ok(step);
    }
    if let Some(step) = fault_step(words)? {
        return Ok(step);
    }
    match words {
        ["note", ..] => Ok(Step::Note(text["note".len()..].trim().to_owned())),
        ["forget"] => Ok(Step::Forget),
        ["aftermath"] => Ok(Step::Aftermath { without: Vec::new() }),
        ["aftermath", "without", rest @ ..] => {
            Ok(Step::Aftermath { without: rest.iter().map(|word| node(word)).collect::<Parsed<_>>()? })
        }
        ["expect", rest @ ..] => expectation(rest).map(Step::Expect),
        _ => Err(format!("`{text}` is no setting and no step; `quorate explain --help` names them")),
    }
}

fn time_step(words: &[&str]) -> Parsed<Option<Step>> {
    Ok(Some(match words {
        ["run", "until", "leader"] => Step::UntilLeader(None),
        ["run", "until", "leader", who] => Step::UntilLeader(Some(node(who)?)),
        ["run", "until", "ended", name] => Step::UntilEnded((*name).to_owned()),
        ["run", time] => Step::Run(duration(time)?),
        ["settle"] => Step::Settle,
        ["fire", who, timer] => Step::Fire(node(who)?, (*timer).to_owned()),
        _ => return Ok(None),
    }))
}

fn call_step(words: &[&str]) -> Parsed<Option<Step>> {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let read = |key: Option<&str>, consistency| Call::Ask(Ask::Read { key: key.map(bytes), consistency });
    let (who, call, name) = match words {
        ["put", who, key, value, "as", name] => {
            (who, Call::Ask(Ask::Put { key: bytes(key), value: bytes(value) }), name)
        }
        ["delete", who, key, "as", name] => (who, Call::Ask(Ask::Delete { key: bytes(key) }), name),
        ["swap", who, key, expected, value, "as", name] => {
            let expected = (*expected != "-").then(|| bytes(expected));
            (who, Call::Ask(Ask::Swap { key: bytes(key), expected, value: bytes(value) }), name)
        }
        ["compact", who, revision, "as", name] => (who, Call::Ask(Ask::Compact { revision: number(revision)? }), name),
        ["grant", who, lease, ttl_seconds, "as", name] => {
            (who, Call::Ask(Ask::Grant { lease: number(lease)?, ttl_seconds: number(ttl_seconds)? }), name)
        }
        ["attach", who, key, value, lease, "as", name] => {
            (who, Call::Ask(Ask::Attach { key: bytes(key), value: bytes(value), lease: number(lease)? }), name)
        }
        ["revoke", who, lease, "as", name] => (who, Call::Ask(Ask::Revoke { lease: number(lease)? }), name),
        ["keep-alive", who, lease, "as", name] => (who, Call::Ask(Ask::KeepAlive { lease: number(lease)? }), name),
        ["clear-low-space", who, member, "as", name] => {
            (who, Call::Ask(Ask::ClearLowSpace { member: node(member)? }), name)
        }
        ["get", who, key, "as", name] => (who, read(Some(key), Consistency::Linearizable), name),
        ["peek", who, key, "as", name] => (who, read(Some(key), Consistency::Local), name),
        ["get-all", who, "as", name] => (who, read(None, Consistency::Linearizable), name),
        ["peek-all", who, "as", name] => (who, read(None, Consistency::Local), name),
        ["propose", who, value, "as", name] => (who, Call::Propose { value: (*value).to_owned() }, name),
        [
            "put" | "delete" | "swap" | "compact" | "get" | "peek" | "get-all" | "peek-all" | "propose" | "grant"
            | "attach" | "revoke" | "keep-alive" | "clear-low-space",
            ..,
        ] => {
            return Err("a call ends with `as NAME`, as in `put n1 key value as first`".to_owned());
        }
        _ => return Ok(None),
    };
    Ok(Some(Step::Call { node: node(who)?, call, name: (*name).to_owned() }))
}

fn fault_step(words: &[&str]) -> Parsed<Option<Step>> {
    if let Some(acts) = acts::parse(words)? {
        return Ok(Some(Step::Act(acts)));
    }
    Ok(Some(match words {
        ["lose", rest @ ..] => Step::Treat(Treatment::Lose, picked(rest)?),
        ["hold", rest @ ..] => Step::Treat(Treatment::Hold, picked(rest)?),
        ["deliver"] => Step::Deliver,
        ["deliver", rest @ ..] => deliver_one(rest, false)?,
        ["copy", rest @ ..] if rest.len() > 1 => deliver_one(rest, true)?,
        ["pass"] => Step::Pass,
        _ => return Ok(None),
    }))
}

fn expectation(words: &[&str]) -> Parsed<Expectation> {
    let mark = |who: &str, mark: LogMark, count: &str| Ok(Expectation::Mark(node(who)?, mark, number(count)?));
    let call = |name: &str, standing: Standing, text: &[&str]| Expectation::Call {
        name: name.to_owned(),
        standing,
        text: (!text.is_empty()).then(|| text.join(" ")),
    };
    match words {
        ["leader", who] => Ok(Expectation::Leader(node(who)?)),
        ["no", "leader"] => Ok(Expectation::NoLeader),
        ["era", who, era] => Ok(Expectation::Era(node(who)?, number(era)?)),
        ["last", who, count] => mark(who, LogMark::Last, count),
        ["committed", who, count] => mark(who, LogMark::Committed, count),
        ["applied", who, count] => mark(who, LogMark::Applied, count),
        ["answered", name, text @ ..] => Ok(call(name, Standing::Answered, text)),
        ["refused", name, text @ ..] => Ok(call(name, Standing::Refused, text)),
        ["unknown", name, text @ ..] => Ok(call(name, Standing::Unknown, text)),
        ["waiting", name] => Ok(call(name, Standing::Waiting, &[])),
        ["value", who, key, value] => {
            Ok(Expectation::Value { node: node(who)?, key: (*key).to_owned(), value: Some((*value).to_owned()) })
        }
        ["no", "value", who, key] => Ok(Expectation::Value { node: node(who)?, key: (*key).to_owned(), value: None }),
        ["told", rule, who, said] => told(rule, who, said, true),
        ["never", "told", rule, who, said] => told(rule, who, said, false),
        ["same", "state"] => Ok(Expectation::SameState),
        ["running", who] => Ok(Expectation::Running(node(who)?, true)),
        ["down", who] => Ok(Expectation::Running(node(who)?, false)),
        _ => Err(format!(
            "`expect {}` is not understood; `quorate explain --help` names what can be expected",
            words.join(" ")
        )),
    }
}

fn told(rule: &str, who: &str, said: &str, told: bool) -> Parsed<Expectation> {
    let verdict = match said {
        "allowed" => Verdict::Allowed,
        "refused" => Verdict::Refused,
        "waiting" => Verdict::Waiting,
        other => return Err(format!("`{other}`: allowed, refused or waiting is wanted")),
    };
    Ok(Expectation::Told { rule: rule.to_owned(), node: node(who)?, verdict, told })
}

fn deliver_one(words: &[&str], copy: bool) -> Parsed<Step> {
    let picked = picked(words)?;
    Ok(Step::DeliverOne { number: picked.times.unwrap_or(1), picked, copy })
}

fn picked(words: &[&str]) -> Parsed<Picked> {
    let (kind, from, to, times) = match words {
        [kind, from, "->", to] => (kind, from, to, None),
        [kind, from, "->", to, times] => (kind, from, to, Some(bounded(times, 1, u64::MAX)?)),
        _ => return Err("`KIND n1 -> n2 [N]` is wanted, with `*` for any kind and `n*` for any node".to_owned()),
    };
    let some_node = |word: &str| if word == "n*" { Ok(None) } else { node(word).map(Some) };
    Ok(Picked { kind: (*kind != "*").then(|| (*kind).to_owned()), from: some_node(from)?, to: some_node(to)?, times })
}

/// Every node a step names must exist.
fn check_nodes(scenario: &Scenario) -> Result<(), ScenarioError> {
    let joiner = |line: &Line| match &line.step {
        Step::Act(acts) => {
            acts.iter().filter_map(|act| if let Act::StartJoining(node) = act { Some(node.0) } else { None }).max()
        }
        _ => None,
    };
    let nodes = scenario.steps.iter().filter_map(joiner).max().unwrap_or(0).max(scenario.node_count());
    for line in &scenario.steps {
        let needs_keys = matches!(line.step, Step::Aftermath { .. })
            || matches!(line.step, Step::Call { call: Call::Ask(Ask::Put { .. }), .. });
        if scenario.protocol == Protocol::Paxos && needs_keys {
            let why = "this needs a store of keys, which paxos does not serve".to_owned();
            return Err(ScenarioError { line: line.number, why });
        }
        for word in line.text.split_whitespace() {
            let named = word.strip_prefix('n').and_then(|id| id.parse::<u64>().ok());
            if let Some(id) = named.filter(|id| *id > nodes && !matches!(line.step, Step::Note(_))) {
                let why = format!("there is no node n{id}: the scenario has {nodes} nodes");
                return Err(ScenarioError { line: line.number, why });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::Act;
    use quorate_types::NodeId;
    use std::time::Duration;

    fn error(text: &str) -> String {
        Scenario::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn settings_come_first_and_steps_in_order() {
        let scenario =
            Scenario::parse("title Two words\nnodes 5 # five\n\nrun 10ms\npartition n1 n2 | n3\nexpect no leader\n")
                .unwrap();
        assert_eq!(scenario.title(), "Two words");
        assert_eq!(scenario.nodes, Some(5));
        let groups = vec![vec![NodeId(1), NodeId(2)], vec![NodeId(3)]];
        let steps: Vec<_> = scenario.steps.into_iter().map(|line| line.step).collect();
        assert_eq!(
            steps,
            [
                Step::Run(Duration::from_millis(10)),
                Step::Act(vec![Act::Partition(groups)]),
                Step::Expect(Expectation::NoLeader)
            ]
        );
    }

    #[test]
    fn a_script_names_its_protocol() {
        let named = |text: &str| Scenario::parse(text).unwrap().protocol;
        assert_eq!(named("protocol viewstamped\nput n1 a b as x"), Protocol::Log(LogProtocol::Viewstamped));
        assert_eq!(named("protocol paxos"), Protocol::Paxos);
        assert_eq!(named("nodes 3"), Protocol::Log(LogProtocol::Raft));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        assert_eq!(error("nodes 3\nrun 10\n"), "line 2: `` is no unit of time: ns, us, ms or s is wanted");
        assert_eq!(error("crash n4"), "line 1: there is no node n4: the scenario has 3 nodes");
        assert!(error("put n1 a b").contains("as NAME"));
        assert!(error("run 1ms\nnodes 3").contains("before the first step"));
        assert!(error("copy append n1 n2").contains("KIND n1 -> n2 [N]"));
        assert!(error("jump").contains("no setting and no step"));
        assert!(error("protocol raft2").contains("zab or paxos"));
    }
}
