//! A counterexample as a scenario script: the same actions, for the simulator's whole nodes.
//!
//! Every message is held back; `deliver` and `copy` let single ones go. A disk that stalls is held from the same write on:
//! a flush takes a millisecond, everything else next to nothing. The simulator checks by itself what is checked here, so the script ends
//! with the last action: carried out, it fails there.
//!
//! One thing is not said for certain: what a crash leaves of a write that was under way. Here it is lost; the simulator draws it from the script's
//! seed, so that a script with a stalled disk and a crash may need another `seed` to break what was broken here.
//!
//! It is for a search that began with a fresh cluster. What the language has no words for (a choice that a replica drew, part of the
//! writes of one flush, most changes of members) makes it refuse, and say what that was.

use crate::action::{Action, Outcome, Step, timer_name};
use quorate_protocol::testbed::Flight;
use quorate_protocol::{Input, Replica, Violation};
use quorate_types::{Membership, NodeId};
use std::collections::BTreeSet;
use std::fmt::Write;

/// How many microseconds a disk works on one write; messages take one.
const FLUSH_US: u32 = 1_000;

/// A script being written.
pub(crate) struct Script<R: Replica> {
    lines: String,
    /// What the simulator holds, in the order sent.
    held: Vec<Flight<R>>,
    stalled: BTreeSet<NodeId>,
    calls: usize,
    /// The first thing that there are no words for.
    unsayable: Option<String>,
}

impl<R: Replica> Script<R> {
    pub(crate) fn begin(held: Vec<Flight<R>>) -> Script<R> {
        let unsayable = (!held.is_empty()).then(|| "messages are in flight at the beginning".to_owned());
        Script { lines: String::new(), held, stalled: BTreeSet::new(), calls: 0, unsayable }
    }

    /// Adds one step, with what came of it and was sent in it.
    pub(crate) fn add(&mut self, step: &Step<R>, outcome: &Outcome, sent: Vec<Flight<R>>) {
        if step.choices.iter().any(|choice| *choice > 0) {
            self.cannot_say("a choice drawn by a replica");
        }
        let stall = outcome.stalls.zip(step.stalls_after);
        match stall {
            Some((node, 0)) if !matches!(step.action, Action::Crash(..)) => self.line(&format!("hold-disk {node}")),
            _ => {}
        }
        self.act(&step.action, stall);
        if let Some((node, after @ 1..)) = stall {
            self.line(&format!("run {}us", after * FLUSH_US + FLUSH_US / 2));
            self.line(&format!("hold-disk {node}"));
        }
        self.stalled.extend(outcome.stalls);
        self.line("settle");
        self.held.extend(sent);
    }

    fn act(&mut self, action: &Action<R>, stall: Option<(NodeId, u32)>) {
        match action {
            Action::Deliver(flight) => {
                if let Some(at) = self.let_go("deliver", flight) {
                    self.held.remove(at);
                }
            }
            Action::DeliverCopy(flight) => {
                self.let_go("copy", flight);
            }
            Action::Lose(flight) => {
                self.line(&format!(
                    "note a {} from {} to {} is lost",
                    R::kind(&flight.message),
                    flight.from,
                    flight.to
                ));
            }
            Action::Expire(id, timer) => self.line(&format!("fire {id} {}", timer_name::<R>(*timer))),
            Action::Complete(..) => self.cannot_say("writes that complete at any later time"),
            Action::Crash(id, surviving) => {
                if *surviving > 0 {
                    self.cannot_say("a crash that part of the writes under way survive");
                }
                self.line(&format!("crash {id}"));
                if self.stalled.remove(id) {
                    self.line(&format!("release-disk {id}"));
                }
                if stall.is_some_and(|(node, after)| node == *id && after == 0) {
                    self.line(&format!("hold-disk {id}"));
                }
                self.line(&format!("restart {id}"));
            }
            Action::Wish(id, input) => self.wish(*id, input),
        }
    }

    /// Names a held message by its kind, its way and its place among those like it. Answers its place among all.
    fn let_go(&mut self, verb: &str, flight: &Flight<R>) -> Option<usize> {
        let Some(at) = self.held.iter().position(|held| held == flight) else {
            self.cannot_say("a message that was in flight at the beginning");
            return None;
        };
        let kind = R::kind(&flight.message);
        let like_it =
            |held: &&Flight<R>| (held.from, held.to) == (flight.from, flight.to) && R::kind(&held.message) == kind;
        let before = self.held[..at].iter().filter(like_it).count();
        let alone = before == 0 && self.held[at + 1..].iter().filter(like_it).count() == 0;
        let number = if alone { String::new() } else { format!(" {}", before + 1) };
        self.line(&format!("{verb} {kind} {} -> {}{number}", flight.from, flight.to));
        Some(at)
    }

    fn wish(&mut self, id: NodeId, input: &Input<R>) {
        self.calls += 1;
        let name = format!("c{}", self.calls);
        match input {
            Input::Propose { batch, .. } => {
                let value: String = String::from_utf8_lossy(&batch.commands)
                    .chars()
                    .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
                    .collect();
                match R::PROTOCOL {
                    "paxos" => self.line(&format!("propose {id} {value} as {name}")),
                    _ => self.line(&format!("put {id} key {value} as {name}")),
                }
            }
            Input::Read { .. } => self.line(&format!("get {id} key as {name}")),
            Input::Transfer { to, .. } => self.line(&format!("move-leader {id} {to}")),
            Input::Reconfigure { based_on, members, .. } => match one_removed(based_on, members) {
                Some(removed) => self.line(&format!("members {id} remove {removed}")),
                None => self.cannot_say("a change of members that does more than remove one"),
            },
            other => self.cannot_say(&format!("a client's wish for {other:?}")),
        }
    }

    fn line(&mut self, line: &str) {
        self.lines.push_str(line);
        self.lines.push('\n');
    }

    fn cannot_say(&mut self, what: &str) {
        self.unsayable.get_or_insert_with(|| what.to_owned());
    }

    /// The whole script, or what there are no words for.
    pub(crate) fn finish(self, ids: &[NodeId], violation: &Violation) -> Result<String, String> {
        if let Some(what) = self.unsayable {
            return Err(what);
        }
        if !ids.iter().copied().eq((1..=ids.len() as u64).map(NodeId)) {
            return Err(format!("nodes that are {ids:?}"));
        }
        let mut text = format!("title Found by exploring: {} is violated\n", violation.invariant);
        let _ = writeln!(text, "protocol {}\nnodes {}", R::PROTOCOL, ids.len());
        let _ = writeln!(text, "latency 1us\nflush {FLUSH_US}us\ntimers manual\n");
        let detail: Vec<&str> = violation.detail.split_whitespace().collect();
        let _ = writeln!(text, "note The end: {}", detail.join(" ").replace('#', "no. "));
        let _ = writeln!(text, "settle\nhold * n* -> n*\n");
        text.push_str(&self.lines);
        Ok(text)
    }
}

/// The member that is missing from the second, if that is all the difference.
fn one_removed(before: &Membership, after: &Membership) -> Option<NodeId> {
    let removed = before.members().iter().map(|member| member.id).find(|id| after.get(*id).is_none())?;
    let rest = Membership::new(before.members().iter().filter(|member| member.id != removed).cloned());
    (rest == *after).then_some(removed)
}
