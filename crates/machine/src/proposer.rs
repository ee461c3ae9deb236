//! The leader's side: commands of all nodes become batches, and batches proposals.

use crate::command::{Command, encode_batch};
use crate::config::MachineConfig;
use crate::message::MachineMessage;
use crate::sessions::Sessions;
use crate::writes::Writes;
use bytes::Bytes;
use quorate_protocol::{Batch, RequestId};
use quorate_types::{NodeId, Session, Time};
use std::collections::{BTreeMap, VecDeque};

/// A forwarded command that waits to be proposed.
#[derive(Clone, Debug)]
struct Forwarded {
    session: Session,
    sequence: u64,
    acked_below: u64,
    payload: Bytes,
}

/// A batch at this node's replica.
#[derive(Clone, Debug, Default)]
struct Proposal {
    commands: Vec<(Session, u64)>,
    /// How many of them are not decided. At 0 the proposal is forgotten.
    undecided: usize,
}

/// Forwarded commands waiting, and proposals under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proposer {
    waiting: VecDeque<Forwarded>,
    waiting_bytes: usize,
    proposals: BTreeMap<RequestId, Proposal>,
    /// Every command here that is undecided: in which proposal, or waiting. Spares the log repeated forwards; that they are
    /// applied once does not rest on it.
    places: BTreeMap<(Session, u64), Option<RequestId>>,
    last_request: u64,
    /// The replica said that too much is undecided: nothing is proposed until something is decided, or the next tick.
    held_back: bool,
    /// The batch that gathers goes then at the latest.
    gathers_until: Option<Time>,
    /// Whose turn it is when both own and forwarded commands wait.
    own_turn: bool,
}

/// Sequences of one session.
type Sequences = BTreeMap<Session, Vec<u64>>;

impl Proposer {
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.proposals.len()
    }

    /// Takes a forwarded command, unless there is no room for it.
    #[must_use]
    pub(crate) fn accept(
        &mut self,
        session: Session,
        sequence: u64,
        acked_below: u64,
        payload: Bytes,
        config: &MachineConfig,
    ) -> bool {
        if self.places.contains_key(&(session, sequence)) {
            return true;
        }
        let too_many = self.waiting.len() >= config.max_forwarded_commands.max(1);
        let too_large = !self.waiting.is_empty() && self.waiting_bytes + payload.len() > config.max_forwarded_bytes;
        if too_many || too_large {
            return false;
        }
        self.places.insert((session, sequence), None);
        self.waiting_bytes += payload.len();
        self.waiting.push_back(Forwarded { session, sequence, acked_below, payload });
        true
    }

    /// The next proposal, if there is something to propose and room for it.
    pub(crate) fn next_proposal(
        &mut self,
        now: Time,
        me: Session,
        writes: &mut Writes,
        sessions: &Sessions,
        config: &MachineConfig,
    ) -> Option<(RequestId, Batch)> {
        if self.held_back || self.proposals.len() >= config.max_proposals_in_flight.max(1) {
            return None;
        }
        if self.waits_for_company(now, writes, config).is_some() {
            return None;
        }
        let commands = self.gather(now, me, writes, sessions, config);
        self.gathers_until = None;
        if commands.is_empty() {
            return None;
        }
        let request = self.fresh_request();
        let names: Vec<_> = commands.iter().map(|command| (command.session, command.sequence)).collect();
        self.places.extend(names.iter().map(|name| (*name, Some(request))));
        self.proposals.insert(request, Proposal { undecided: names.len(), commands: names });
        Some((request, Batch::new(encode_batch(&commands))))
    }

    /// Until when the next batch gathers commands, if it does: there are some, they do not fill it, the time is not over, and a batch
    /// before it is undecided. When nothing is under way there is nothing to wait for.
    pub(crate) fn waits_for_company(&mut self, now: Time, writes: &Writes, config: &MachineConfig) -> Option<Time> {
        let (own, own_bytes) = writes.unsent();
        let (count, bytes) = (own + self.waiting.len(), own_bytes + self.waiting_bytes);
        let is_full = count >= config.max_batch_commands || bytes >= config.max_batch_bytes;
        if config.max_batch_wait.is_zero() || count == 0 || is_full || self.proposals.is_empty() {
            return None;
        }
        let until = *self.gathers_until.get_or_insert(now + config.max_batch_wait);
        (until > now).then_some(until)
    }

    /// A name for a request to the replica.
    pub(crate) fn fresh_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    /// Own and forwarded commands in turns, up to the bounds of a batch.
    fn gather(
        &mut self,
        stamp: Time,
        me: Session,
        writes: &mut Writes,
        sessions: &Sessions,
        config: &MachineConfig,
    ) -> Vec<Command> {
        let acked_below = writes.acked_below();
        let mut commands = Vec::new();
        let mut bytes = 0;
        while commands.len() < config.max_batch_commands.max(1) {
            self.drop_settled(sessions);
            let own = writes.first_unsent().map(|(_, size)| size);
            let forwarded = self.waiting.front().map(|command| command.payload.len());
            self.own_turn = match (own, forwarded) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(_), Some(_)) => !self.own_turn,
            };
            bytes += if self.own_turn { own } else { forwarded }.unwrap_or(0);
            if bytes > config.max_batch_bytes && !commands.is_empty() {
                break;
            }
            if self.own_turn {
                let own = writes.propose_first();
                commands.extend(own.map(|(sequence, payload)| Command {
                    session: me,
                    sequence,
                    acked_below,
                    stamp,
                    payload,
                }));
            } else {
                commands.extend(self.take_waiting().map(|command| Command {
                    session: command.session,
                    sequence: command.sequence,
                    acked_below: command.acked_below,
                    stamp,
                    payload: command.payload,
                }));
            }
        }
        commands
    }

    /// Forwards at the front that were decided by another way meanwhile.
    fn drop_settled(&mut self, sessions: &Sessions) {
        while let Some(first) = self.waiting.front()
            && sessions.is_settled(first.session, first.sequence)
        {
            let name = (first.session, first.sequence);
            self.take_waiting();
            self.places.remove(&name);
        }
    }

    fn take_waiting(&mut self) -> Option<Forwarded> {
        let command = self.waiting.pop_front()?;
        self.waiting_bytes -= command.payload.len();
        Some(command)
    }

    /// A command was decided, in whatever slot and by whomever.
    pub(crate) fn decided(&mut self, session: Session, sequence: u64) {
        let Some(Some(request)) = self.places.get(&(session, sequence)).copied() else { return };
        self.places.remove(&(session, sequence));
        if let Some(proposal) = self.proposals.get_mut(&request) {
            proposal.undecided = proposal.undecided.saturating_sub(1);
            if proposal.undecided == 0 {
                self.proposals.remove(&request);
            }
        }
    }

    /// The replica did not take a proposal: what was in it, unless it is forgotten already. All of it may be proposed again.
    pub(crate) fn refused(&mut self, request: RequestId) -> Vec<(Session, u64)> {
        let commands = self.proposals.remove(&request).map(|proposal| proposal.commands).unwrap_or_default();
        for name in &commands {
            self.places.remove(name);
        }
        commands
    }

    /// Nothing more is proposed until something is decided, or [`Proposer::resume`].
    pub(crate) fn hold_back(&mut self) {
        self.held_back = true;
    }

    pub(crate) fn resume(&mut self) {
        self.held_back = false;
    }

    /// A new era: of what was proposed in the old one nobody knows whether it will be decided.
    pub(crate) fn forget_proposals(&mut self) {
        self.proposals.clear();
        self.places.retain(|_, request| request.is_none());
        self.held_back = false;
        self.gathers_until = None;
    }

    /// Another node leads: whoever forwarded to us hears it.
    pub(crate) fn refuse_waiting(&mut self, hint: Option<NodeId>) -> Vec<(NodeId, MachineMessage)> {
        let mut refused = Sequences::new();
        while let Some(command) = self.take_waiting() {
            self.places.remove(&(command.session, command.sequence));
            refused.entry(command.session).or_default().push(command.sequence);
        }
        refusals(refused, hint)
    }
}

/// One refusal for each node that forwarded.
pub(crate) fn refusals(refused: Sequences, hint: Option<NodeId>) -> Vec<(NodeId, MachineMessage)> {
    let refusal = |(session, sequences): (Session, Vec<u64>)| {
        (NodeId(session.owner), MachineMessage::ForwardRefused { session, sequences, hint })
    };
    refused.into_iter().map(refusal).collect()
}
