//! A lock that hands out fencing tokens.

use crate::history::{Entry, Operation};
use crate::model::{Call, Model};

/// The sequential specification of a lock: taken only when free, given back only by its holder, and every holder's token
/// greater than all before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lock;

/// An operation on a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockOperation {
    /// Took it.
    Acquire {
        /// Who.
        client: u64,
        /// The token given, if there are tokens and the answer was seen.
        token: Option<u64>,
        /// Whether the answer was seen.
        answered: bool,
    },
    /// Gave it back.
    Release {
        /// Who.
        client: u64,
        /// Under which token.
        token: Option<u64>,
        /// Whether the answer was seen. If not, it may as well have been refused.
        answered: bool,
    },
    /// Lost it to time.
    Expire {
        /// The holder's token.
        token: Option<u64>,
        /// Whether the answer was seen.
        answered: bool,
    },
}

/// What a lock holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockState {
    /// The holder, and its token if it is known.
    pub holder: Option<(u64, Option<u64>)>,
    /// No later token may be less than this; unknown tokens count as little as they can.
    pub next_token: u64,
}

impl Model for Lock {
    type State = LockState;
    type Operation = LockOperation;

    fn initial(&self) -> LockState {
        LockState::default()
    }

    fn step(&self, state: &LockState, operation: &LockOperation) -> Option<LockState> {
        let (next, answered) = match *operation {
            LockOperation::Acquire { client, token, answered } => (acquired(state, client, token), answered),
            LockOperation::Release { client, token, answered } => (released(state, Some(client), token), answered),
            LockOperation::Expire { token, answered } => (released(state, None, token), answered),
        };
        next.or((!answered).then_some(*state))
    }

    fn without_answer(&self, operation: &LockOperation) -> LockOperation {
        let answered = false;
        match *operation {
            LockOperation::Acquire { client, .. } => LockOperation::Acquire { client, token: None, answered },
            LockOperation::Release { client, token, .. } => LockOperation::Release { client, token, answered },
            LockOperation::Expire { token, .. } => LockOperation::Expire { token, answered },
        }
    }

    /// A fact is who has it, or that it is free.
    fn needs(&self, operation: &LockOperation, facts: &mut Vec<u64>) {
        match *operation {
            LockOperation::Acquire { answered: true, .. } => facts.push(FREE),
            LockOperation::Release { client, answered: true, .. } => facts.push(held_by(client)),
            _ => {}
        }
    }

    fn brings(&self, operation: &LockOperation, facts: &mut Vec<u64>) {
        facts.push(match *operation {
            LockOperation::Acquire { client, .. } => held_by(client),
            LockOperation::Release { .. } | LockOperation::Expire { .. } => FREE,
        });
    }

    fn ended(&self, before: &LockState, after: &LockState, facts: &mut Vec<u64>) {
        let ended = fact(before);
        facts.extend((ended != fact(after)).then_some(ended));
    }

    fn holds(&self, state: &LockState, wanted: u64) -> bool {
        fact(state) == wanted
    }

    /// Tokens only grow.
    fn height(&self, state: &LockState) -> u64 {
        state.next_token
    }

    fn limit(&self, operation: &LockOperation) -> u64 {
        match *operation {
            LockOperation::Acquire { token: Some(token), answered: true, .. } => token,
            _ => u64::MAX,
        }
    }
}

/// That nobody has it.
const FREE: u64 = 0;

fn held_by(client: u64) -> u64 {
    client.saturating_add(1)
}

fn fact(state: &LockState) -> u64 {
    state.holder.map_or(FREE, |(client, _)| held_by(client))
}

fn acquired(state: &LockState, client: u64, token: Option<u64>) -> Option<LockState> {
    if state.holder.is_some() || token.is_some_and(|token| token < state.next_token) {
        return None;
    }
    let next_token = token.map_or(state.next_token, |token| token.saturating_add(1));
    Some(LockState { holder: Some((client, token)), next_token })
}

fn released(state: &LockState, client: Option<u64>, token: Option<u64>) -> Option<LockState> {
    let (holder, held) = state.holder?;
    if client.is_some_and(|client| client != holder) {
        return None;
    }
    let next_token = match (token, held) {
        (Some(token), Some(held)) if token != held => return None,
        // The holder's token was not seen; now it is known.
        (Some(token), None) if token < state.next_token => return None,
        (Some(token), None) => token.saturating_add(1),
        _ => state.next_token,
    };
    Some(LockState { holder: None, next_token })
}

pub(crate) fn calls_of(entries: &[&Entry]) -> Vec<Call<LockOperation>> {
    let call = |entry: &&Entry| {
        let (client, answered) = (entry.client, entry.ret.is_some());
        let operation = match entry.operation {
            Operation::Acquire { token } => {
                LockOperation::Acquire { client, token: token.filter(|_| answered), answered }
            }
            Operation::Release { token } => LockOperation::Release { client, token, answered },
            Operation::Expire { token } => LockOperation::Expire { token, answered },
            _ => return None,
        };
        Some(Call { called_at: entry.call, returned_at: entry.ret, operation })
    };
    entries.iter().filter_map(call).collect()
}
