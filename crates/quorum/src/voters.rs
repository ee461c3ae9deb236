//! Majorities of named voters, alone or of two memberships at once.

use quorate_types::{Membership, NodeId};

/// The smallest number of votes such that any two sets of that many among `voters` meet:
/// `floor(voters / 2) + 1`. Of nobody it is 1, which nobody can reach.
#[must_use]
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// Whether more than half of `voters` acknowledged. A voter named twice counts once. Nobody has no
/// majority.
pub fn has_majority(voters: impl IntoIterator<Item = NodeId>, acknowledged: impl Fn(NodeId) -> bool) -> bool {
    Quorum::single(voters).is_satisfied(acknowledged)
}

/// How a vote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoteOutcome {
    /// A quorum granted: no later vote can change it.
    Won,
    /// Too many refused: even if everybody who is silent granted, it would not be a quorum.
    Lost,
    /// Silent voters still decide.
    Pending,
}

/// How one half of a quorum stands: the numbers a guard's trace shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HalfTally {
    /// How many of its voters acknowledged.
    pub have: usize,
    /// How many must.
    pub need: usize,
    /// How many voters it has.
    pub voters: usize,
}

/// Who must agree: a majority of one set of voters or, while the membership changes jointly, a majority
/// of the old voters *and* a majority of the new (Raft dissertation, 4.3).
///
/// **An empty half constrains nothing**: `joint([], new)` asks the same as `single(new)`. But a quorum
/// with no voter at all is never satisfied, agrees on nothing and loses every vote: a node that knows no
/// members must not take itself for a majority of them.
///
/// Invariant: each half is ascending and without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quorum {
    first: Vec<NodeId>,
    second: Vec<NodeId>,
}

impl Quorum {
    /// A majority of these voters. Repetitions count once.
    #[must_use]
    pub fn single(voters: impl IntoIterator<Item = NodeId>) -> Quorum {
        Quorum { first: sorted(voters), second: Vec::new() }
    }

    /// A majority of `old` and a majority of `new`.
    #[must_use]
    pub fn joint(old: impl IntoIterator<Item = NodeId>, new: impl IntoIterator<Item = NodeId>) -> Quorum {
        Quorum { first: sorted(old), second: sorted(new) }
    }

    /// A majority of a membership's voters and witnesses.
    #[must_use]
    pub fn of(membership: &Membership) -> Quorum {
        Quorum::single(membership.voters())
    }

    /// Whether two halves both have a say.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.first.is_empty() && !self.second.is_empty()
    }

    /// Whether there is no voter at all, so that nothing can ever be agreed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.second.is_empty()
    }

    /// Whether `id` votes in any half.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.halves().any(|half| half.binary_search(&id).is_ok())
    }

    /// Whether `id` is the only voter of every half, so that its own durable write is a quorum. It is
    /// not enough to be the only member one knows: a leader outside a configuration of one must ask.
    #[must_use]
    pub fn is_sole_voter(&self, id: NodeId) -> bool {
        !self.is_empty() && self.halves().all(|half| half == [id])
    }

    /// Everybody who votes in any half, ascending, each once.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        let mut all = [self.first.as_slice(), self.second.as_slice()].concat();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
    }

    /// Whether a majority of every half acknowledged.
    pub fn is_satisfied(&self, acknowledged: impl Fn(NodeId) -> bool) -> bool {
        !self.is_empty() && self.halves().all(|half| count(half, &acknowledged) >= majority(half.len()))
    }

    /// How each half with voters stands, the old one first.
    pub fn tally(&self, acknowledged: impl Fn(NodeId) -> bool) -> Vec<HalfTally> {
        self.halves()
            .map(|half| HalfTally { have: count(half, &acknowledged), need: majority(half.len()), voters: half.len() })
            .collect()
    }

    /// The greatest number that a majority of every half has reached: with `reached` the last log
    /// position each voter stores durably, the last position a quorum stores. `reached` is 0 for a voter
    /// never heard of. With no voters the answer is 0, nothing.
    pub fn agreed_value(&self, reached: impl Fn(NodeId) -> u64) -> u64 {
        self.halves().map(|half| agreed_in_half(half, &reached)).min().unwrap_or(0)
    }

    /// How a vote stands. Who granted has granted, even if `refused` names it too: the caller decides
    /// which of two answers counts by what it records.
    pub fn outcome(&self, granted: impl Fn(NodeId) -> bool, refused: impl Fn(NodeId) -> bool) -> VoteOutcome {
        if self.is_satisfied(&granted) {
            VoteOutcome::Won
        } else if self.is_satisfied(|id| granted(id) || !refused(id)) {
            VoteOutcome::Pending
        } else {
            VoteOutcome::Lost
        }
    }

    /// The halves that have voters.
    fn halves(&self) -> impl Iterator<Item = &[NodeId]> {
        [self.first.as_slice(), self.second.as_slice()].into_iter().filter(|half| !half.is_empty())
    }
}

fn sorted(voters: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
    let mut voters: Vec<NodeId> = voters.into_iter().collect();
    voters.sort_unstable();
    voters.dedup();
    voters
}

fn count(half: &[NodeId], acknowledged: &impl Fn(NodeId) -> bool) -> usize {
    half.iter().filter(|id| acknowledged(**id)).count()
}

/// Leaders ask this for every acknowledgement, so usual sizes do not allocate.
const VOTERS_ON_STACK: usize = 16;

/// The majority-th greatest of the voters' numbers. `half` has at least one voter.
fn agreed_in_half(half: &[NodeId], reached: &impl Fn(NodeId) -> u64) -> u64 {
    let mut on_stack = [0; VOTERS_ON_STACK];
    let mut on_heap = Vec::new();
    let values: &mut [u64] = if half.len() <= VOTERS_ON_STACK {
        &mut on_stack[..half.len()]
    } else {
        on_heap.resize(half.len(), 0);
        &mut on_heap
    };
    for (value, id) in values.iter_mut().zip(half) {
        *value = reached(*id);
    }
    values.sort_unstable();
    values[half.len() - majority(half.len())]
}
