//! One node of a Maelstrom test as a deterministic value: lines in, lines out, no clock.

use crate::chance::{Call, Chance};
use crate::line::{Answer, Envelope, ErrorCode, Failure, addressed};
use crate::request::{Request, Way};
use crate::workloads::Workloads;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quorate_disk::Disk;
use quorate_disk::model::ModelDisk;
use quorate_machine::RequestError;
use quorate_node::{
    Boot, ClientTag, Consistency, Lane, Node, NodeConfig, NodeInput, NodeMessage, NodeOutput, NodeTimer,
};
use quorate_protocol::{Replica, Start};
use quorate_types::{ClusterId, DiskId, Member, Membership, NodeId, Time};
use quorate_wire::{decode_exact, encode_to_bytes};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// How many messages of other nodes are kept until this one knows who it is. A network may lose the others.
const EARLY_MESSAGES_MAX: usize = 1000;

/// The `type` of a message between nodes.
const BETWEEN_NODES: &str = "replica";

/// What a participant says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// A message: a line for standard output.
    Line(String),
    /// A remark for people: a line for standard error.
    Remark(String),
}

/// A node of a Maelstrom test, from before it knows its name.
///
/// A driver hands over lines with [`Participant::receive`], calls [`Participant::settle`] once when no more are at hand and whenever
/// the time of [`Participant::deadline`] has come, and then writes what [`Participant::take_words`] gives. `now` is one
/// monotonic clock. The same seed, lines and times give the same words.
#[derive(Debug)]
pub struct Participant<R: Replica> {
    config: NodeConfig<R>,
    seed: u64,
    chance: Chance,
    words: Vec<Word>,
    /// Other nodes' messages that came before `init`.
    early: Vec<Envelope>,
    joined: Option<Joined<R>>,
    stopped: Option<String>,
}

/// What there is once a node knows its name.
#[derive(Debug)]
struct Joined<R: Replica> {
    name: String,
    /// All nodes; the place is the id less one.
    names: Vec<String>,
    node: Node<R, Workloads>,
    journal_disk: ModelDisk,
    store_disk: ModelDisk,
    timers: BTreeMap<NodeTimer<R::Timer>, Time>,
    /// Clients' requests without an answer: the client, and its number for the request.
    waiting: BTreeMap<ClientTag, (String, Value)>,
    last_tag: u64,
    last_generated: u64,
}

impl<R: Replica> Participant<R> {
    /// A node that waits for its `init`. The seed should be drawn afresh for every process: names that `generate` makes carry it.
    #[must_use]
    pub fn new(config: NodeConfig<R>, seed: u64) -> Participant<R> {
        let (words, early) = (Vec::new(), Vec::new());
        Participant { config, seed, chance: Chance::new(seed), words, early, joined: None, stopped: None }
    }

    /// When [`Participant::settle`] is to be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.joined.as_ref()?.timers.values().min().copied()
    }

    /// Why this node can serve no longer, if so.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// What was said since the last call.
    #[must_use]
    pub fn take_words(&mut self) -> Vec<Word> {
        std::mem::take(&mut self.words)
    }

    /// Takes one line. Total: what is no message is remarked upon, and what is no request gets an error.
    pub fn receive(&mut self, now: Time, line: &str) {
        match serde_json::from_str::<Envelope>(line) {
            Ok(envelope) if envelope.kind() == BETWEEN_NODES => self.hear(now, envelope),
            Ok(envelope) if envelope.body.get("in_reply_to").is_some() => {
                self.remark(format!("this node asks nobody, yet here is an answer: {line}"));
            }
            Ok(envelope) => self.serve(now, &envelope),
            Err(why) => self.remark(format!("no message ({why}): {line}")),
        }
    }

    /// Fires what is due, ends the batch, and carries out what the node wants until it wants nothing more.
    pub fn settle(&mut self, now: Time) {
        let Some(joined) = &mut self.joined else { return };
        let due: Vec<_> = joined.timers.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| *timer).collect();
        for timer in due {
            joined.timers.remove(&timer);
            joined.node.step(&mut Call { now, chance: &mut self.chance }, NodeInput::Expired(timer));
        }
        let mut outputs = Vec::new();
        joined.node.settle(&mut Call { now, chance: &mut self.chance }, &mut outputs);
        self.carry_out(now, outputs);
    }

    fn remark(&mut self, text: String) {
        self.words.push(Word::Remark(text));
    }

    fn say(&mut self, envelope: &Envelope) {
        self.words.push(Word::Line(json!(envelope).to_string()));
    }

    fn answer(&mut self, request: &Envelope, answer: Answer) {
        if let Some(reply) = request.reply(answer) {
            self.say(&reply);
        }
    }

    /// A message of another node.
    fn hear(&mut self, now: Time, envelope: Envelope) {
        let Some(joined) = &mut self.joined else {
            if self.early.len() < EARLY_MESSAGES_MAX {
                self.early.push(envelope);
            }
            return;
        };
        let from = joined.names.binary_search(&envelope.src).map(id_of);
        let bytes = envelope.body["bytes"].as_str().and_then(|text| STANDARD.decode(text).ok());
        let message = bytes.and_then(|bytes| decode_exact::<NodeMessage<R>>(Bytes::from(bytes)).ok());
        match (from, message) {
            (Ok(from), Some(message)) => {
                joined.node.step(&mut Call { now, chance: &mut self.chance }, NodeInput::Message { from, message });
            }
            _ => self.remark(format!("no message of another node: {envelope:?}")),
        }
    }

    /// A client's request.
    fn serve(&mut self, now: Time, envelope: &Envelope) {
        let request = match Request::parse(&envelope.body) {
            Ok(Request::Init { node_id, node_ids }) => {
                let answer = self.join(now, node_id, node_ids);
                return self.answer(envelope, answer);
            }
            Ok(request) => request,
            Err(failure) => return self.answer(envelope, Err(failure)),
        };
        let Some(joined) = &mut self.joined else {
            let failure = Failure::new(ErrorCode::TemporarilyUnavailable, "this node was not told who it is yet");
            return self.answer(envelope, Err(failure));
        };
        let tag = ClientTag(joined.last_tag + 1);
        let input = match (request.way(), request) {
            (Way::Alone, Request::Echo { echo }) => {
                return self.answer(envelope, Ok(json!({ "type": "echo_ok", "echo": echo })));
            }
            (Way::Alone, _) => {
                joined.last_generated += 1;
                let id = format!("{}-{:x}-{}", joined.name, self.seed, joined.last_generated);
                return self.answer(envelope, Ok(json!({ "type": "generate_ok", "id": id })));
            }
            (Way::Local, query) => NodeInput::Read { tag, query, consistency: Consistency::Local },
            (Way::Linearizable, query) => NodeInput::Read { tag, query, consistency: Consistency::Linearizable },
            (Way::Logged, command) => NodeInput::Write { tag, payload: Bytes::from(json!(command).to_string()) },
        };
        joined.last_tag = tag.0;
        if let Some(msg_id) = envelope.body.get("msg_id") {
            joined.waiting.insert(tag, (envelope.src.clone(), msg_id.clone()));
        }
        joined.node.step(&mut Call { now, chance: &mut self.chance }, input);
    }

    /// Boots the node, on new disks, as a founder of the cluster of all nodes.
    fn join(&mut self, now: Time, name: String, names: Vec<String>) -> Answer {
        let names: Vec<String> = names.into_iter().collect::<BTreeSet<String>>().into_iter().collect();
        let Ok(me) = names.binary_search(&name).map(id_of) else {
            return Err(Failure::new(ErrorCode::MalformedRequest, format!("{name} is none of {names:?}")));
        };
        match &self.joined {
            Some(joined) if joined.name == name && joined.names == names => return Ok(json!({ "type": "init_ok" })),
            Some(joined) => {
                let text = format!("this is {} of {:?} already", joined.name, joined.names);
                return Err(Failure::new(ErrorCode::PreconditionFailed, text));
            }
            None => {}
        }
        let named = |(place, name): (usize, &String)| Member { name: name.clone(), ..Member::voter(id_of(place)) };
        let members = Membership::new(names.iter().enumerate().map(named));
        let new_disk = DiskId(self.chance.bits());
        let boot = Boot { cluster: ClusterId(1), me, start: Start::Found(members), new_disk };
        let (mut journal_disk, mut store_disk) = (ModelDisk::default(), ModelDisk::default());
        let booted = Node::boot(boot, self.config.clone(), &(), &mut journal_disk, &mut store_disk);
        let (node, outputs) = booted.map_err(|why| {
            self.stopped = Some(why.to_string());
            Failure::new(ErrorCode::Crash, why.to_string())
        })?;
        let (timers, waiting) = (BTreeMap::new(), BTreeMap::new());
        let (last_tag, last_generated) = (0, 0);
        let joined = Joined { name, names, node, journal_disk, store_disk, timers, waiting, last_tag, last_generated };
        self.joined = Some(joined);
        self.carry_out(now, outputs);
        for envelope in std::mem::take(&mut self.early) {
            self.hear(now, envelope);
        }
        Ok(json!({ "type": "init_ok" }))
    }

    /// Carries out what the node wants. A write to a disk in memory is done at once, and what follows from it is carried out too.
    fn carry_out(&mut self, now: Time, mut outputs: Vec<NodeOutput<R, Workloads>>) {
        while let Some(joined) = &mut self.joined {
            let mut wrote = false;
            for output in std::mem::take(&mut outputs) {
                match output {
                    NodeOutput::Send { to, message } => {
                        let envelope = joined.to_node(to, &message);
                        self.words.push(Word::Line(json!(envelope).to_string()));
                    }
                    NodeOutput::SetTimer { timer, at_least, at_most } => {
                        joined.timers.insert(timer, now + self.chance.duration(at_least, at_most));
                    }
                    NodeOutput::CancelTimer(timer) => {
                        joined.timers.remove(&timer);
                    }
                    NodeOutput::Disk { lane, write, operations } => {
                        let disk = match lane {
                            Lane::Journal => &mut joined.journal_disk,
                            Lane::Store => &mut joined.store_disk,
                        };
                        if let Err(why) = disk.perform_all(&operations) {
                            return self.stop(why.to_string());
                        }
                        let done = NodeInput::DiskDone { lane, write };
                        joined.node.step(&mut Call { now, chance: &mut self.chance }, done);
                        wrote = true;
                    }
                    NodeOutput::Reply { tag, result } => {
                        if let Some(envelope) = joined.reply(tag, result.unwrap_or_else(|why| Err(failure_of(&why)))) {
                            self.words.push(Word::Line(json!(envelope).to_string()));
                        }
                    }
                    NodeOutput::Stop(why) => return self.stop(why.to_string()),
                    // Nobody here has errands for the leader or asks for other members.
                    NodeOutput::Answer { .. }
                    | NodeOutput::Asked { .. }
                    | NodeOutput::Lead { .. }
                    | NodeOutput::Members(_)
                    | NodeOutput::Applied { .. }
                    | NodeOutput::Trace(_) => {}
                }
            }
            if !wrote {
                return;
            }
            joined.node.settle(&mut Call { now, chance: &mut self.chance }, &mut outputs);
        }
    }

    /// Whatever waits may have happened or not.
    fn stop(&mut self, why: String) {
        let Some(mut joined) = self.joined.take() else { return };
        for tag in joined.waiting.keys().copied().collect::<Vec<ClientTag>>() {
            if let Some(envelope) = joined.reply(tag, Err(Failure::new(ErrorCode::Crash, why.clone()))) {
                self.say(&envelope);
            }
        }
        self.stopped = Some(why);
    }
}

impl<R: Replica> Joined<R> {
    /// The kind is for Maelstrom's pictures.
    fn to_node(&self, to: NodeId, message: &NodeMessage<R>) -> Envelope {
        let kind = match message {
            NodeMessage::Protocol(message) => R::kind(message),
            NodeMessage::Machine(_) => "forward",
            NodeMessage::Transfer(_) => "snapshot",
        };
        let place = usize::try_from(to.0 - 1).unwrap_or(usize::MAX);
        let dest = self.names.get(place).cloned().unwrap_or_default();
        let bytes = STANDARD.encode(encode_to_bytes(message));
        Envelope { src: self.name.clone(), dest, body: json!({ "type": BETWEEN_NODES, "kind": kind, "bytes": bytes }) }
    }

    fn reply(&mut self, tag: ClientTag, answer: Answer) -> Option<Envelope> {
        let (client, msg_id) = self.waiting.remove(&tag)?;
        Some(addressed(&self.name, &client, msg_id, answer))
    }
}

fn id_of(place: usize) -> NodeId {
    NodeId(place as u64 + 1)
}

/// Definite exactly where the machine's error is.
fn failure_of(why: &RequestError) -> Failure {
    let code = match why {
        RequestError::Unknown => ErrorCode::Timeout,
        RequestError::TooManyRequests
        | RequestError::NoLeader
        | RequestError::TimedOut
        | RequestError::Stopped
        | RequestError::BeforeItsTurn => ErrorCode::TemporarilyUnavailable,
        RequestError::TooLarge
        | RequestError::SessionExpired
        | RequestError::Acknowledged
        | RequestError::ReplyNotKept
        | RequestError::Unsupported(_)
        | RequestError::Witness => ErrorCode::NotSupported,
        RequestError::AlreadyDecided => ErrorCode::Abort,
    };
    Failure::new(code, why.to_string())
}
