//! Clients' calls and how they ended.

use super::World;
use super::host::Waiting;
use crate::marks::Mark;
use bytes::Bytes;
use quorate_machine::StateMachine;
use quorate_narrator::{Ending, What};
use quorate_node::{ClientTag, Consistency, NodeInput, RequestError};
use quorate_protocol::Replica;
use quorate_types::{NodeId, Time};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Names one client call of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<Reply> {
    /// With the state machine's reply.
    Reply(Reply),
    /// With the answer to an errand.
    Answer(Bytes),
    /// With an error of the node.
    Failed(RequestError),
    /// The node was not running: nothing happened.
    NotRunning,
    /// The node crashed while it worked on it: a write may or may not take effect.
    Lost,
}

impl<Reply> Outcome<Reply> {
    /// Whether it happened, never will, or may have.
    #[must_use]
    pub fn ending(&self) -> Ending {
        match self {
            Outcome::Reply(_) | Outcome::Answer(_) | Outcome::Failed(RequestError::ReplyNotKept) => Ending::Answered,
            Outcome::Failed(RequestError::Unknown) | Outcome::Lost => Ending::Unknown,
            Outcome::Failed(_) | Outcome::NotRunning => Ending::Refused,
        }
    }
}

/// A call that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationResult<Reply> {
    /// Which.
    pub operation: OperationId,
    /// At which node.
    pub node: NodeId,
    /// In which of its lives, counting its starts and crashes; 0 if it was not running.
    pub life: u64,
    /// When it was called.
    pub called_at: Time,
    /// When it ended.
    pub returned_at: Time,
    /// How.
    pub outcome: Outcome<Reply>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Write,
    Errand,
    Read(Consistency),
}

#[derive(Clone, Copy, Debug)]
struct Calling {
    node: NodeId,
    life: u64,
    called_at: Time,
    nature: Nature,
}

/// All calls of a world.
#[derive(Debug)]
pub(super) struct Clients<Reply> {
    last: u64,
    waiting: BTreeMap<u64, Calling>,
    results: Vec<OperationResult<Reply>>,
}

impl<Reply> Clients<Reply> {
    /// A number for a new call.
    pub(super) fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn new() -> Clients<Reply> {
        Clients { last: 0, waiting: BTreeMap::new(), results: Vec::new() }
    }
}

impl<R: Replica, S: StateMachine> World<R, S> {
    /// A client that stands next to the node asks for a command to be applied.
    pub fn submit(&mut self, node: NodeId, payload: Bytes) -> OperationId {
        let described = format!("write {} bytes", payload.len());
        self.submit_described(node, payload, described)
    }

    /// The same, with words for the transcript.
    pub fn submit_described(&mut self, node: NodeId, payload: Bytes, request: String) -> OperationId {
        self.call(node, Nature::Write, request, |tag| NodeInput::Write { tag, payload })
    }

    /// A client that stands next to the node asks.
    pub fn read(&mut self, node: NodeId, query: S::Query, consistency: Consistency) -> OperationId {
        let described = format!("read {query:?}");
        self.read_described(node, query, consistency, described)
    }

    /// The same, with words for the transcript.
    pub fn read_described(
        &mut self,
        node: NodeId,
        query: S::Query,
        consistency: Consistency,
        request: String,
    ) -> OperationId {
        self.call(node, Nature::Read(consistency), request, |tag| NodeInput::Read { tag, query, consistency })
    }

    /// A client that stands next to the node has an errand for the leader's duty.
    pub fn errand_described(&mut self, node: NodeId, payload: Bytes, request: String) -> OperationId {
        self.call(node, Nature::Errand, request, |tag| NodeInput::Errand { tag, payload })
    }

    /// Calls that ended and were not taken, in order of ending.
    #[must_use]
    pub fn results(&self) -> &[OperationResult<S::Reply>] {
        &self.clients.results
    }

    /// Takes the calls that ended.
    pub fn take_results(&mut self) -> Vec<OperationResult<S::Reply>> {
        std::mem::take(&mut self.clients.results)
    }

    /// How many calls have not ended.
    #[must_use]
    pub fn calls_waiting(&self) -> usize {
        self.clients.waiting.len()
    }

    fn call(
        &mut self,
        node: NodeId,
        nature: Nature,
        request: String,
        input: impl FnOnce(ClientTag) -> NodeInput<R, S>,
    ) -> OperationId {
        let operation = self.clients.next_number();
        self.note(Some(node), What::ClientCall { operation, request });
        let running = self.hosts.get(&node).filter(|host| host.node.is_some());
        let life = running.map_or(0, |host| host.life);
        self.clients.waiting.insert(operation, Calling { node, life, called_at: self.now, nature });
        if life == 0 {
            self.end(operation, Outcome::NotRunning);
        } else {
            self.enqueue(node, Waiting::Input(input(ClientTag(operation))));
        }
        OperationId(operation)
    }

    /// A node answers.
    pub(super) fn answer(&mut self, id: NodeId, tag: ClientTag, result: Result<S::Reply, RequestError>) {
        let ClientTag(operation) = tag;
        let Some(calling) = self.calling(id, operation, |nature| nature != Nature::Errand) else { return };
        match (calling.nature, &result) {
            (Nature::Write, Err(RequestError::Unknown)) => self.mark(Mark::UnknownOutcome),
            (Nature::Write, Err(_)) => self.mark(Mark::DefiniteRefusal),
            (Nature::Read(Consistency::Local), Ok(_)) => self.mark(Mark::LocalRead),
            (Nature::Read(Consistency::Linearizable), Ok(_)) => {
                let leads = self.hosts.get(&id).and_then(|host| host.lead).is_some_and(|lead| lead.ready);
                if !leads {
                    self.mark(Mark::ReadByFollower);
                }
            }
            _ => {}
        }
        if calling.nature == Nature::Read(Consistency::Linearizable) && result.is_ok() {
            self.check_answered_in_time(id, calling.called_at);
        }
        self.end(operation, result.map_or_else(Outcome::Failed, Outcome::Reply));
    }

    /// A node answers an errand.
    pub(super) fn answer_errand(&mut self, id: NodeId, tag: ClientTag, result: Result<Bytes, RequestError>) {
        let ClientTag(operation) = tag;
        if let Some(calling) = self.calling(id, operation, |nature| nature == Nature::Errand) {
            if result.is_ok() {
                self.check_answered_in_time(id, calling.called_at);
            }
            self.end(operation, result.map_or_else(Outcome::Failed, Outcome::Answer));
        }
    }

    /// The call that a node answers, if it may.
    fn calling(&mut self, id: NodeId, operation: u64, fits: fn(Nature) -> bool) -> Option<Calling> {
        let calling = self.clients.waiting.get(&operation).copied();
        let calling = calling.filter(|calling| calling.node == id && fits(calling.nature));
        if calling.is_none() {
            let detail = format!("{id} answers call {operation}, which it was not asked or has answered already");
            self.report_broken("AnsweredOnce", Some(id), detail);
        }
        calling
    }

    /// A node crashed: nobody will answer its clients.
    pub(super) fn abandon_calls(&mut self, id: NodeId) {
        let abandoned: Vec<u64> =
            self.clients.waiting.iter().filter(|(_, calling)| calling.node == id).map(|(number, _)| *number).collect();
        for operation in abandoned {
            self.end(operation, Outcome::Lost);
        }
        self.abandon_asks(id);
    }

    fn end(&mut self, operation: u64, outcome: Outcome<S::Reply>) {
        let Some(calling) = self.clients.waiting.remove(&operation) else { return };
        let answer = in_words(&outcome);
        self.note(Some(calling.node), What::ClientReturn { operation, ending: outcome.ending(), answer });
        self.clients.results.push(OperationResult {
            operation: OperationId(operation),
            node: calling.node,
            life: calling.life,
            called_at: calling.called_at,
            returned_at: self.now,
            outcome,
        });
    }
}

fn in_words<Reply: Debug>(outcome: &Outcome<Reply>) -> String {
    match outcome {
        Outcome::Reply(reply) => format!("{reply:?}"),
        Outcome::Answer(answer) => format!("{answer:?}"),
        Outcome::Failed(error) => error.to_string(),
        Outcome::NotRunning => "connection refused".to_owned(),
        Outcome::Lost => "connection lost".to_owned(),
    }
}
