//! Reads of this node's own clients, from arrival to answer, and errands that wait to be confirmed: all share one round.

use crate::config::MachineConfig;
use crate::duty::ErrandId;
use crate::request::{ClientTag, RequestError};
use quorate_protocol::ReadToken;
use quorate_types::{Incarnation, NodeId, Slot, Time};
use std::collections::{BTreeMap, VecDeque};

/// What a read round is for.
#[derive(Clone, Debug)]
pub(crate) enum Purpose<Query> {
    /// A client's question.
    Question { tag: ClientTag, query: Query },
    /// Proof that this node still led after the errand had arrived.
    Errand(ErrandId),
    /// The same for an ask about the cluster itself.
    Ask(u64),
    /// Proof, where such an ask was made, that what is seen there is no older than it.
    OwnAsk(u64),
}

/// One read.
#[derive(Clone, Debug)]
struct PendingRead<Query> {
    purpose: Purpose<Query>,
    deadline: Time,
}

#[derive(Clone, Debug)]
struct Round<Query> {
    reads: Vec<PendingRead<Query>>,
    retry_at: Time,
}

/// Unanswered reads: waiting for a round, in one, or waiting for the applied mark.
#[derive(Clone, Debug)]
pub(crate) struct Reads<Query> {
    node: NodeId,
    incarnation: Incarnation,
    waiting: VecDeque<PendingRead<Query>>,
    rounds: BTreeMap<u64, Round<Query>>,
    released: BTreeMap<Slot, Vec<PendingRead<Query>>>,
    last_round: u64,
    /// Clients' questions among all these.
    questions: usize,
    /// A round was refused: no other starts before the next tick or change of leader, or the two of us would spin.
    paused: bool,
}

impl<Query> Reads<Query> {
    pub(crate) fn new(node: NodeId, incarnation: Incarnation) -> Reads<Query> {
        Reads {
            node,
            incarnation,
            waiting: VecDeque::new(),
            rounds: BTreeMap::new(),
            released: BTreeMap::new(),
            last_round: 0,
            questions: 0,
            paused: false,
        }
    }

    /// Questions without an answer.
    pub(crate) fn len(&self) -> usize {
        self.questions
    }

    pub(crate) fn accept(
        &mut self,
        now: Time,
        tag: ClientTag,
        query: Query,
        config: &MachineConfig,
    ) -> Result<(), RequestError> {
        if self.len() >= config.max_outstanding_reads.max(1) {
            return Err(RequestError::TooManyRequests);
        }
        self.questions += 1;
        let purpose = Purpose::Question { tag, query };
        self.waiting.push_back(PendingRead { purpose, deadline: now + config.request_timeout });
        Ok(())
    }

    /// Takes an errand that arrived here, at the leader, just now. Their number is bounded where they are held.
    pub(crate) fn confirm(&mut self, now: Time, errand: ErrandId, config: &MachineConfig) {
        let purpose = Purpose::Errand(errand);
        self.waiting.push_back(PendingRead { purpose, deadline: now + config.request_timeout });
    }

    /// Takes an ask that arrived here, at the leader, just now. Their number is bounded where they are held.
    pub(crate) fn confirm_ask(&mut self, now: Time, ask: u64, config: &MachineConfig) {
        let purpose = Purpose::Ask(ask);
        self.waiting.push_back(PendingRead { purpose, deadline: now + config.request_timeout });
    }

    /// Takes an ask that a client of this node has just made. Their number is bounded where they wait.
    pub(crate) fn confirm_own_ask(&mut self, now: Time, ask: u64, config: &MachineConfig) {
        let purpose = Purpose::OwnAsk(ask);
        self.waiting.push_back(PendingRead { purpose, deadline: now + config.request_timeout });
    }

    /// Starts a round for everything that waits. The token must reach the replica after every one of these reads
    /// arrived here, which is what makes its answer fresh enough for them.
    pub(crate) fn start_round(&mut self, now: Time, config: &MachineConfig) -> Option<ReadToken> {
        if self.paused || self.waiting.is_empty() || self.rounds.len() >= config.max_read_rounds.max(1) {
            return None;
        }
        self.last_round += 1;
        let round = Round { reads: self.waiting.drain(..).collect(), retry_at: now + config.retry_after };
        self.rounds.insert(self.last_round, round);
        Some(ReadToken { node: self.node, incarnation: self.incarnation, number: self.last_round })
    }

    /// A round ended: its reads may be answered from any state with `slot` applied. Rounds that were given up meanwhile,
    /// and other nodes' and incarnations', release nothing.
    pub(crate) fn release(&mut self, token: ReadToken, slot: Slot) {
        if let Some(round) = self.take_round(token) {
            self.released.entry(slot).or_default().extend(round.reads);
        }
    }

    /// What may be answered now.
    pub(crate) fn take_ready(&mut self, applied: Slot) -> Vec<Purpose<Query>> {
        let mut ready: Vec<Purpose<Query>> = Vec::new();
        while let Some(entry) = self.released.first_entry()
            && *entry.key() <= applied
        {
            ready.extend(entry.remove().into_iter().map(|read| read.purpose));
        }
        self.forget_questions(&ready);
        ready
    }

    fn forget_questions(&mut self, answered: &[Purpose<Query>]) {
        self.questions -= answered.iter().filter(|purpose| matches!(purpose, Purpose::Question { .. })).count();
    }

    /// A round had no effect; its reads wait for another, which gets a fresh token.
    pub(crate) fn refused(&mut self, token: ReadToken) {
        if let Some(round) = self.take_round(token) {
            self.wait_again(round);
            self.paused = true;
        }
    }

    /// A round that can never succeed: its reads.
    pub(crate) fn abandon(&mut self, token: ReadToken) -> Vec<Purpose<Query>> {
        let reads = self.take_round(token).map(|round| round.reads).unwrap_or_default();
        let purposes: Vec<_> = reads.into_iter().map(|read| read.purpose).collect();
        self.forget_questions(&purposes);
        purposes
    }

    fn take_round(&mut self, token: ReadToken) -> Option<Round<Query>> {
        if token.node != self.node || token.incarnation != self.incarnation {
            return None;
        }
        self.rounds.remove(&token.number)
    }

    fn wait_again(&mut self, round: Round<Query>) {
        for read in round.reads.into_iter().rev() {
            self.waiting.push_front(read);
        }
    }

    /// Rounds may start again at once.
    pub(crate) fn resume(&mut self) {
        self.paused = false;
    }

    /// Rounds without news for too long are given up and their reads wait for another.
    pub(crate) fn retry(&mut self, now: Time) {
        self.paused = false;
        let late: Vec<u64> =
            self.rounds.iter().filter(|(_, round)| round.retry_at <= now).map(|(number, _)| *number).collect();
        for number in late.into_iter().rev() {
            if let Some(round) = self.rounds.remove(&number) {
                self.wait_again(round);
            }
        }
    }

    /// Takes away what clients ask.
    pub(crate) fn give_up_questions(&mut self) -> Vec<ClientTag> {
        let mut given_up = Vec::new();
        let mut keep = |read: &PendingRead<Query>| match read.purpose {
            Purpose::Question { tag, .. } => {
                given_up.push(tag);
                false
            }
            Purpose::Errand(_) | Purpose::Ask(_) | Purpose::OwnAsk(_) => true,
        };
        self.retain(&mut keep);
        self.questions -= given_up.len();
        given_up
    }

    fn retain(&mut self, keep: &mut impl FnMut(&PendingRead<Query>) -> bool) {
        self.released.values_mut().for_each(|reads| reads.retain(&mut *keep));
        self.rounds.values_mut().for_each(|round| round.reads.retain(&mut *keep));
        self.waiting.retain(&mut *keep);
        self.released.retain(|_, reads| !reads.is_empty());
        self.rounds.retain(|_, round| !round.reads.is_empty());
    }

    /// Takes away what has waited too long, in order of arrival within each stage. Errands go without a word: their askers
    /// have given up by themselves.
    pub(crate) fn time_out(&mut self, now: Time) -> Vec<ClientTag> {
        let mut late = Vec::new();
        let mut keep = |read: &PendingRead<Query>| {
            if read.deadline > now {
                return true;
            }
            if let Purpose::Question { tag, .. } = read.purpose {
                late.push(tag);
            }
            false
        };
        self.retain(&mut keep);
        self.questions -= late.len();
        late
    }
}
