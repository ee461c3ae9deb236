//! Clients with sessions: each wants one write at a time, and asks for it again, of any node, until it knows.
//!
//! Whatever came of the copies, a write is one entry of the history, and no value is asked for under two sequences: so the
//! judge's `AtMostOnce`, `NoLoss` and `DefiniteMeansNever` are what exactly-once promises. Here it is seen to that every reply to a
//! sequence is the same reply.

use super::history::{Ended, History};
use super::judge::Finding;
use super::plan::Plan;
use super::subject::{Judged, Meaning, Subject};
use crate::act::Ask;
use crate::latency::Latency;
use crate::marks::{Mark, Marks};
use crate::random::Random;
use crate::world::{OperationId, OperationResult, Outcome, World};
use bytes::Bytes;
use quorate_machine::{ClientBounds, ClientCommand, ClientId, client_payload};
use quorate_narrator::Ending;
use quorate_node::RequestError;
use quorate_types::{ClusterId, NodeId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// What all clients of a run may ask together.
const COPIES_MAX: u64 = 600;

/// A write that its client wants.
#[derive(Clone, Debug)]
struct Wanted {
    value: Bytes,
    called_at: Time,
    /// A copy may have got through without an answer, and this client has heard of it.
    in_doubt: bool,
}

#[derive(Clone, Debug)]
struct Open {
    client: ClientId,
    /// Of the last write.
    sequence: u64,
    /// As it was told to the cluster.
    acked_below: u64,
    wanted: Option<Wanted>,
}

#[derive(Debug)]
struct Sessioner {
    process: u64,
    key: Bytes,
    values: u64,
    session: Option<Open>,
}

/// What a copy is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    Opening,
    Call { client: ClientId, sequence: u64 },
    Closing,
}

/// All clients with sessions of a run.
#[derive(Debug)]
pub(super) struct Sessioners {
    all: Vec<Sessioner>,
    bounds: ClientBounds,
    renumber_copies: bool,
    pause: Latency,
    /// Under way, with whose they are.
    copies: BTreeMap<OperationId, (usize, Copy)>,
    answers: BTreeMap<(ClientId, u64), Meaning>,
    expired: u64,
    recalled: u64,
    left: u64,
    random: Random,
}

impl Sessioners {
    pub(super) fn new(plan: &Plan, history: &mut History, random: Random) -> Sessioners {
        let count = plan.sessions.map_or(0, |sessions| sessions.clients);
        let sessioner = |at| Sessioner {
            process: history.new_process(),
            key: Bytes::from(format!("session-{at}")),
            values: 0,
            session: None,
        };
        Sessioners {
            all: (0..count).map(sessioner).collect(),
            bounds: plan.sessions.map_or_else(ClientBounds::default, |sessions| sessions.bounds),
            renumber_copies: plan.sessions.is_some_and(|sessions| sessions.renumber_copies),
            pause: Latency::between(plan.patience / 64, plan.patience / 4),
            copies: BTreeMap::new(),
            answers: BTreeMap::new(),
            expired: 0,
            recalled: 0,
            left: COPIES_MAX,
            random,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Nobody asks any more. What was not answered stays unknown.
    pub(super) fn stop<R: Subject, S: Judged>(&mut self, world: &World<R, S>, history: &mut History) {
        self.left = 0;
        for at in 0..self.all.len() {
            self.give_up(at, world.now(), history);
        }
    }

    pub(super) fn mark(&self, marks: &mut Marks) {
        marks.hit_times(Mark::SessionExpired, self.expired);
        marks.hit_times(Mark::RetryRecalled, self.recalled);
    }

    /// Lets one do what it does next. Says after how long it does something again.
    pub(super) fn act<R: Subject, S: Judged>(
        &mut self,
        at: usize,
        world: &mut World<R, S>,
        history: &mut History,
    ) -> Option<Duration> {
        if self.left == 0 || R::SLOTS.is_some() || S::KEPT_REPLIES.is_none() {
            return None;
        }
        self.left -= 1;
        let chance = self.random.below(32);
        match self.all.get(at)?.session.as_ref().map(|open| (open.client, open.sequence, open.wanted.is_some())) {
            None => {
                let client = ClientId { cluster: ClusterId(1), nonce: self.random.bits() };
                let open = ClientCommand::Open { client, bounds: self.bounds, in_order: false };
                self.send(world, at, Copy::Opening, &open, "open a session".to_owned());
            }
            Some((_, _, true)) if chance == 0 => self.give_up(at, world.now(), history),
            Some((_, _, true)) => self.send_wanted(at, world),
            Some((client, _, false)) if chance == 1 => {
                self.all[at].session = None;
                let words = format!("close session {:x}", client.nonce);
                self.send(world, at, Copy::Closing, &ClientCommand::Close { client }, words);
            }
            // Most often at once, as a client does that lost the answer on its way.
            Some((_, sequence, false)) if chance < 8 && sequence > 0 => self.send_again(at, world),
            Some(_) => {
                self.want_next(at, world.now());
                self.send_wanted(at, world);
            }
        }
        Some(self.pause.draw(&mut self.random))
    }

    fn want_next(&mut self, at: usize, now: Time) {
        let who = &mut self.all[at];
        who.values += 1;
        let value = Bytes::from(format!("s{at}-{}", who.values));
        if let Some(open) = &mut who.session {
            open.sequence += 1;
            // At least the last is answered. A client that tells it late lets the cluster keep more.
            open.acked_below =
                self.random.between(open.acked_below, open.sequence).max(open.sequence.saturating_sub(4));
            open.wanted = Some(Wanted { value, called_at: now, in_doubt: false });
        }
    }

    /// A copy of what is wanted, to any node, whatever became of the earlier ones.
    fn send_wanted<R: Subject, S: Judged>(&mut self, at: usize, world: &mut World<R, S>) {
        let who = &mut self.all[at];
        if self.renumber_copies
            && let Some(open) = &mut who.session
        {
            open.sequence += 1;
        }
        let Some(Open { client, sequence, acked_below, wanted: Some(wanted) }) = who.session.clone() else { return };
        let words = format!("put {} once as {sequence}", wanted.value.escape_ascii());
        let payload = S::put(&who.key, &wanted.value);
        let call = ClientCommand::Call { client, sequence, acked_below, payload };
        self.send(world, at, Copy::Call { client, sequence }, &call, words);
    }

    /// A copy of what was answered already.
    fn send_again<R: Subject, S: Judged>(&mut self, at: usize, world: &mut World<R, S>) {
        let who = &self.all[at];
        let Some(Open { client, sequence, acked_below, wanted: None }) = who.session.clone() else { return };
        let value = Bytes::from(format!("s{at}-{}", who.values));
        let words = format!("put {} once as {sequence}, though it was answered", value.escape_ascii());
        let payload = S::put(&who.key, &value);
        let call = ClientCommand::Call { client, sequence, acked_below, payload };
        self.send(world, at, Copy::Call { client, sequence }, &call, words);
    }

    fn send<R: Subject, S: Judged>(
        &mut self,
        world: &mut World<R, S>,
        at: usize,
        copy: Copy,
        command: &ClientCommand,
        words: String,
    ) {
        let nodes: Vec<NodeId> = world.nodes().collect();
        let Some(node) = self.random.pick(&nodes).copied() else { return };
        let Ok(payload) = client_payload::<S>(command) else { return };
        self.copies.insert(world.submit_described(node, payload, words), (at, copy));
    }

    /// The client of this place no longer wants what it wanted.
    fn give_up(&mut self, at: usize, now: Time, history: &mut History) {
        if let Some(wanted) = self.all[at].session.as_mut().and_then(|open| open.wanted.take()) {
            self.record(at, wanted, now, NodeId(0), Ending::Unknown, None, history);
        }
    }

    /// A copy ended. `Err` gives back what is none of them.
    ///
    /// # Errors
    /// The result, if another kind of client asked.
    pub(super) fn returned<S: Judged>(
        &mut self,
        result: OperationResult<S::Reply>,
        history: &mut History,
    ) -> Result<Result<(), Finding>, OperationResult<S::Reply>> {
        let Some((at, copy)) = self.copies.remove(&result.operation) else { return Err(result) };
        let meaning = match &result.outcome {
            Outcome::Reply(reply) => Some(S::meaning(reply)),
            _ => None,
        };
        Ok(match (copy, meaning) {
            (Copy::Opening, Some(Meaning::Opened { client })) => {
                if let Some(who) = self.all.get_mut(at).filter(|who| who.session.is_none()) {
                    who.session = Some(Open { client, sequence: 0, acked_below: 0, wanted: None });
                }
                Ok(())
            }
            (Copy::Closing, Some(Meaning::Closed)) | (Copy::Opening | Copy::Closing, None) => Ok(()),
            (Copy::Call { client, sequence }, Some(meaning)) => {
                self.answered(at, (client, sequence), meaning, &result, history)
            }
            (Copy::Call { client, sequence }, None) => self.failed::<S>(at, (client, sequence), &result, history),
            (copy, Some(meaning)) => Err(("AnswerFits", format!("{copy:?} was answered with {meaning:?}"))),
        })
    }

    fn answered<Reply>(
        &mut self,
        at: usize,
        place: (ClientId, u64),
        meaning: Meaning,
        result: &OperationResult<Reply>,
        history: &mut History,
    ) -> Result<(), Finding> {
        if let Some(before) = self.answers.get(&place) {
            if *before != meaning {
                let text = format!("sequence {} of {:?} was answered {before:?}, then {meaning:?}", place.1, place.0);
                return Err(("SameReply", text));
            }
            self.recalled += 1;
            return Ok(());
        }
        self.answers.insert(place, meaning.clone());
        if let Some(wanted) = self.take_wanted(at, place) {
            self.record(at, wanted, result.returned_at, result.node, Ending::Answered, Some(meaning), history);
        }
        Ok(())
    }

    fn failed<S: Judged>(
        &mut self,
        at: usize,
        place: (ClientId, u64),
        result: &OperationResult<S::Reply>,
        history: &mut History,
    ) -> Result<(), Finding> {
        match &result.outcome {
            Outcome::Failed(RequestError::SessionExpired) => {
                self.expired += 1;
                let others = self
                    .copies
                    .values()
                    .any(|(_, copy)| matches!(copy, Copy::Call { client, sequence } if (*client, *sequence) == place));
                if let Some(wanted) = self.take_wanted(at, place) {
                    let ending = if wanted.in_doubt || others { Ending::Unknown } else { Ending::Refused };
                    self.record(at, wanted, result.returned_at, result.node, ending, None, history);
                }
                if self.all.get(at).and_then(|who| who.session.as_ref()).is_some_and(|open| open.client == place.0) {
                    // A late copy of an earlier call may be what tells it: what is wanted now may have happened before.
                    self.give_up(at, result.returned_at, history);
                    self.all[at].session = None;
                }
            }
            Outcome::Failed(RequestError::Acknowledged) if self.is_wanted(at, place) => {
                let text = format!("sequence {} of {:?} was dropped before its client gave it up", place.1, place.0);
                return Err(("SameReply", text));
            }
            Outcome::Failed(RequestError::ReplyNotKept) => {
                if let Some(wanted) = self.take_wanted(at, place) {
                    self.record(at, wanted, result.returned_at, result.node, Ending::Unknown, None, history);
                }
            }
            Outcome::Failed(RequestError::Unknown) | Outcome::Lost => {
                if let Some(open) = self.all.get_mut(at).and_then(|who| who.session.as_mut())
                    && (open.client, open.sequence) == place
                    && let Some(wanted) = &mut open.wanted
                {
                    wanted.in_doubt = true;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn is_wanted(&self, at: usize, place: (ClientId, u64)) -> bool {
        let open = self.all.get(at).and_then(|who| who.session.as_ref());
        open.is_some_and(|open| open.wanted.is_some() && (open.client, open.sequence) == place)
    }

    fn take_wanted(&mut self, at: usize, place: (ClientId, u64)) -> Option<Wanted> {
        if !self.is_wanted(at, place) {
            return None;
        }
        self.all.get_mut(at)?.session.as_mut()?.wanted.take()
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of one entry")]
    fn record(
        &mut self,
        at: usize,
        wanted: Wanted,
        returned_at: Time,
        node: NodeId,
        ending: Ending,
        meaning: Option<Meaning>,
        history: &mut History,
    ) {
        let who = &mut self.all[at];
        let asked = Ask::Put { key: who.key.clone(), value: wanted.value };
        let called_at = wanted.called_at;
        history.ended_over_copies(Ended {
            process: who.process,
            node,
            life: 0,
            called_at,
            returned_at,
            asked,
            ending,
            meaning,
        });
        if ending == Ending::Unknown {
            who.process = history.new_process();
        }
    }
}
