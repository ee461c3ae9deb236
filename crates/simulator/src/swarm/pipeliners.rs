//! Clients with a session in order: each wants several writes at a time, and asks for each of them again, of any node, until it knows.
//!
//! As with `sessioners`, a write is one entry of the history, whatever came of its copies. Here it is seen to that the writes of one session
//! took effect in the order of their sequences, by the revisions that they were answered with: copies and answers overtake each
//! other as they please. And that nobody is held up by what its client waits for no more.

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
const COPIES_MAX: u64 = 400;

/// What a session in order promises beside the rest.
const FIFO: &str = "FifoPerClient";

/// A write that its client wants.
#[derive(Clone, Debug)]
struct Wanted {
    process: u64,
    value: Bytes,
    called_at: Time,
    /// A copy may have got through without an answer, and this client has heard of it.
    in_doubt: bool,
}

#[derive(Debug)]
struct Open {
    client: ClientId,
    /// The sequence of the next write.
    next: u64,
    /// As it was told to the cluster.
    acked_below: u64,
    wanted: BTreeMap<u64, Wanted>,
}

impl Open {
    fn lowest_wanted(&self) -> u64 {
        self.wanted.first_key_value().map_or(self.next, |(sequence, _)| *sequence)
    }
}

#[derive(Debug)]
struct Pipeliner {
    key: Bytes,
    values: u64,
    session: Option<Open>,
    /// Processes of the history that wait for nothing: one asks one thing at a time.
    idle: Vec<u64>,
}

/// What a copy is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    Opening,
    Call { client: ClientId, sequence: u64, acked_below: u64 },
    Closing,
}

/// All clients with sessions in order of a run.
#[derive(Debug)]
pub(super) struct Pipeliners {
    all: Vec<Pipeliner>,
    bounds: ClientBounds,
    depth: u64,
    in_order: bool,
    pause: Latency,
    /// Under way, with whose they are.
    copies: BTreeMap<OperationId, (usize, Copy)>,
    answers: BTreeMap<(ClientId, u64), Meaning>,
    early: u64,
    left: u64,
    random: Random,
}

impl Pipeliners {
    pub(super) fn new(plan: &Plan, random: Random) -> Pipeliners {
        let pipelines = plan.sessions.and_then(|sessions| sessions.pipelines);
        let pipeliner =
            |at| Pipeliner { key: Bytes::from(format!("in-order-{at}")), values: 0, session: None, idle: Vec::new() };
        Pipeliners {
            all: (0..pipelines.map_or(0, |pipelines| pipelines.clients)).map(pipeliner).collect(),
            bounds: plan.sessions.map_or_else(ClientBounds::default, |sessions| sessions.bounds),
            depth: pipelines.map_or(1, |pipelines| pipelines.depth),
            in_order: pipelines.is_none_or(|pipelines| pipelines.in_order),
            pause: Latency::between(plan.patience / 64, plan.patience / 4),
            copies: BTreeMap::new(),
            answers: BTreeMap::new(),
            early: 0,
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
            self.give_up_all(at, world.now(), history);
        }
    }

    pub(super) fn mark(&self, marks: &mut Marks) {
        marks.hit_times(Mark::BeforeItsTurn, self.early);
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
        let chance = self.random.below(32);
        match self.all.get(at)?.session.as_ref().map(|open| open.wanted.len() as u64) {
            None => {
                let client = ClientId { cluster: ClusterId(1), nonce: self.random.bits() };
                let open = ClientCommand::Open { client, bounds: self.bounds, in_order: self.in_order };
                self.send(world, at, Copy::Opening, &open, "open a session in order".to_owned());
            }
            Some(0) if chance == 0 => self.close(at, world),
            Some(1..) if chance == 1 => self.give_up_one(at, world.now(), history),
            Some(wanted) if wanted < self.depth && (wanted == 0 || chance < 16) => {
                // Several at once, as from a client that does not wait for answers.
                for _ in 0..self.random.between(1, self.depth - wanted) {
                    self.want_next(at, world, history);
                }
            }
            Some(_) => self.send_again(at, world),
        }
        Some(self.pause.draw(&mut self.random))
    }

    fn close<R: Subject, S: Judged>(&mut self, at: usize, world: &mut World<R, S>) {
        if let Some(Open { client, .. }) = self.all[at].session.take() {
            let words = format!("close session {:x}", client.nonce);
            self.send(world, at, Copy::Closing, &ClientCommand::Close { client }, words);
        }
    }

    fn want_next<R: Subject, S: Judged>(&mut self, at: usize, world: &mut World<R, S>, history: &mut History) {
        let who = &mut self.all[at];
        let Some(open) = &mut who.session else { return };
        who.values += 1;
        let sequence = open.next;
        open.next += 1;
        let process = who.idle.pop().unwrap_or_else(|| history.new_process());
        let value = Bytes::from(format!("o{at}-{}", who.values));
        open.wanted.insert(sequence, Wanted { process, value, called_at: world.now(), in_doubt: false });
        self.send_wanted(at, sequence, world);
    }

    /// Another copy of what is wanted, most often of what the rest waits for.
    fn send_again<R: Subject, S: Judged>(&mut self, at: usize, world: &mut World<R, S>) {
        let Some(open) = &self.all[at].session else { return };
        let sequences: Vec<u64> = open.wanted.keys().copied().collect();
        let lowest = self.random.below(2) == 0;
        let any = if lowest { sequences.first() } else { self.random.pick(&sequences) };
        if let Some(sequence) = any {
            self.send_wanted(at, *sequence, world);
        }
    }

    /// A copy of this one, to any node, whatever became of the earlier ones.
    fn send_wanted<R: Subject, S: Judged>(&mut self, at: usize, sequence: u64, world: &mut World<R, S>) {
        let who = &mut self.all[at];
        let Some(open) = &mut who.session else { return };
        // A client that tells it late is held up by what it has given up.
        let lowest = open.lowest_wanted();
        let tells_late = self.random.below(4) == 0;
        open.acked_below = if tells_late { self.random.between(open.acked_below, lowest) } else { lowest };
        let (client, acked_below) = (open.client, open.acked_below);
        let Some(wanted) = open.wanted.get(&sequence) else { return };
        let words = format!("put {} once and in order as {sequence}", wanted.value.escape_ascii());
        let payload = S::put(&who.key, &wanted.value);
        let call = ClientCommand::Call { client, sequence, acked_below, payload };
        self.send(world, at, Copy::Call { client, sequence, acked_below }, &call, words);
    }

    fn send<R: Subject, S: Judged>(
        &mut self,
        world: &mut World<R, S>,
        at: usize,
        copy: Copy,
        command: &ClientCommand,
        words: String,
    ) {
        self.left = self.left.saturating_sub(1);
        let nodes: Vec<NodeId> = world.nodes().collect();
        let Some(node) = self.random.pick(&nodes).copied() else { return };
        let Ok(payload) = client_payload::<S>(command) else { return };
        self.copies.insert(world.submit_described(node, payload, words), (at, copy));
    }

    /// The client of this place no longer wants one of those that it wanted; those behind it, it does.
    fn give_up_one(&mut self, at: usize, now: Time, history: &mut History) {
        let Some(open) = &mut self.all[at].session else { return };
        let sequences: Vec<u64> = open.wanted.keys().copied().collect();
        if let Some(wanted) = self.random.pick(&sequences).and_then(|sequence| open.wanted.remove(sequence)) {
            self.record(at, wanted, (now, NodeId(0)), Ending::Unknown, None, history);
        }
    }

    fn give_up_all(&mut self, at: usize, now: Time, history: &mut History) {
        let Some(open) = &mut self.all[at].session else { return };
        for wanted in std::mem::take(&mut open.wanted).into_values() {
            self.record(at, wanted, (now, NodeId(0)), Ending::Unknown, None, history);
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
        let ended = (result.returned_at, result.node);
        Ok(match (copy, result.outcome) {
            (Copy::Call { client, sequence, .. }, Outcome::Reply(reply)) => {
                self.answered(at, (client, sequence), S::meaning(&reply), ended, history)
            }
            (Copy::Opening, Outcome::Reply(reply)) => match S::meaning(&reply) {
                Meaning::Opened { client } => {
                    if let Some(who) = self.all.get_mut(at).filter(|who| who.session.is_none()) {
                        who.session = Some(Open { client, next: 1, acked_below: 1, wanted: BTreeMap::new() });
                    }
                    Ok(())
                }
                other => Err(("AnswerFits", format!("opening a session was answered with {other:?}"))),
            },
            (Copy::Call { client, sequence, acked_below }, Outcome::Failed(why)) => {
                self.refused(at, (client, sequence), acked_below, &why, ended, history)
            }
            (Copy::Call { client, sequence, .. }, Outcome::Lost) => {
                self.doubt(at, (client, sequence));
                Ok(())
            }
            _ => Ok(()),
        })
    }

    fn answered(
        &mut self,
        at: usize,
        place: (ClientId, u64),
        meaning: Meaning,
        ended: (Time, NodeId),
        history: &mut History,
    ) -> Result<(), Finding> {
        if let Some(before) = self.answers.get(&place) {
            if *before != meaning {
                let text = format!("sequence {} of {:?} was answered {before:?}, then {meaning:?}", place.1, place.0);
                return Err(("SameReply", text));
            }
            return Ok(());
        }
        self.check_order(place, &meaning)?;
        self.answers.insert(place, meaning.clone());
        if let Some(wanted) = self.take_wanted(at, place) {
            self.record(at, wanted, ended, Ending::Answered, Some(meaning), history);
        }
        Ok(())
    }

    /// What took effect in one session did so behind all lower sequences that ever did, and before all higher ones.
    fn check_order(&self, (client, sequence): (ClientId, u64), meaning: &Meaning) -> Result<(), Finding> {
        let Meaning::Put { revision } = meaning else { return Ok(()) };
        let put = |(at, meaning): (&(ClientId, u64), &Meaning)| match meaning {
            Meaning::Put { revision } => Some((at.1, *revision)),
            _ => None,
        };
        let below = self.answers.range((client, 0)..(client, sequence)).rev().find_map(put);
        let above = self.answers.range((client, sequence + 1)..=(client, u64::MAX)).find_map(put);
        let is_behind = below.is_none_or(|(_, before)| before < *revision);
        if is_behind && above.is_none_or(|(_, behind)| *revision < behind) {
            return Ok(());
        }
        let neighbours: Vec<_> = below.iter().chain(&above).collect();
        let text = format!("sequence {sequence} of {client:?} is revision {revision}, beside {neighbours:?}");
        Err((FIFO, text))
    }

    fn refused(
        &mut self,
        at: usize,
        place: (ClientId, u64),
        acked_below: u64,
        why: &RequestError,
        ended: (Time, NodeId),
        history: &mut History,
    ) -> Result<(), Finding> {
        match why {
            RequestError::SessionExpired => self.expired(at, place, ended, history),
            RequestError::BeforeItsTurn if acked_below == place.1 => {
                let text = format!("sequence {} of {:?} was held up, and nothing below is wanted", place.1, place.0);
                return Err((FIFO, text));
            }
            RequestError::BeforeItsTurn => self.early += 1,
            RequestError::Acknowledged if self.is_wanted(at, place) => {
                let text = format!("sequence {} of {:?} was dropped before its client gave it up", place.1, place.0);
                return Err(("SameReply", text));
            }
            RequestError::ReplyNotKept => {
                if let Some(wanted) = self.take_wanted(at, place) {
                    self.record(at, wanted, ended, Ending::Unknown, None, history);
                }
            }
            RequestError::Unknown => self.doubt(at, place),
            _ => {}
        }
        Ok(())
    }

    fn expired(&mut self, at: usize, place: (ClientId, u64), ended: (Time, NodeId), history: &mut History) {
        let of_this =
            |copy: &Copy| matches!(copy, Copy::Call { client, sequence, .. } if (*client, *sequence) == place);
        let others = self.copies.values().any(|(_, copy)| of_this(copy));
        if let Some(wanted) = self.take_wanted(at, place) {
            let ending = if wanted.in_doubt || others { Ending::Unknown } else { Ending::Refused };
            self.record(at, wanted, ended, ending, None, history);
        }
        if self.all[at].session.as_ref().is_some_and(|open| open.client == place.0) {
            // The rest may have happened before.
            self.give_up_all(at, ended.0, history);
            self.all[at].session = None;
        }
    }

    /// The writes that this client wants in this session, if it still has it.
    fn wanted_of(&mut self, at: usize, client: ClientId) -> Option<&mut BTreeMap<u64, Wanted>> {
        let open = self.all.get_mut(at)?.session.as_mut().filter(|open| open.client == client)?;
        Some(&mut open.wanted)
    }

    fn doubt(&mut self, at: usize, (client, sequence): (ClientId, u64)) {
        if let Some(wanted) = self.wanted_of(at, client).and_then(|wanted| wanted.get_mut(&sequence)) {
            wanted.in_doubt = true;
        }
    }

    fn is_wanted(&mut self, at: usize, (client, sequence): (ClientId, u64)) -> bool {
        self.wanted_of(at, client).is_some_and(|wanted| wanted.contains_key(&sequence))
    }

    fn take_wanted(&mut self, at: usize, (client, sequence): (ClientId, u64)) -> Option<Wanted> {
        self.wanted_of(at, client)?.remove(&sequence)
    }

    fn record(
        &mut self,
        at: usize,
        wanted: Wanted,
        (returned_at, node): (Time, NodeId),
        ending: Ending,
        meaning: Option<Meaning>,
        history: &mut History,
    ) {
        let who = &mut self.all[at];
        let Wanted { process, value, called_at, .. } = wanted;
        let asked = Ask::Put { key: who.key.clone(), value };
        history.ended_over_copies(Ended { process, node, life: 0, called_at, returned_at, asked, ending, meaning });
        if ending != Ending::Unknown {
            who.idle.push(process);
        }
    }
}
