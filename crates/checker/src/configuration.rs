//! Where a search stands: which operations have taken effect, and what the object holds.

/// A point of the search that need not be visited twice.
///
/// Completed operations are taken nearly in order of their calls, so a set of them is a prefix and a few bits
/// beyond: memory grows with concurrency, not with the history's length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Configuration<S> {
    state: S,
    must_observe: bool,
    prefix: usize,
    beyond: Box<[u64]>,
    optional: Box<[u64]>,
}

/// The operations taken so far, as the search moves.
///
/// Invariants: every completed operation before `prefix` is taken, the one at `prefix` is not; none at or
/// after `top` is.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    completed: Vec<bool>,
    optional: Vec<u64>,
    prefix: usize,
    top: usize,
}

/// What taking one operation changed, for [`Taken::undo`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Undo {
    pick: Pick,
    prefix: usize,
    top: usize,
}

/// An operation by its rank among the completed or among the optional ones, both in order of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// It returned, so it took effect.
    Completed(usize),
    /// It did not return, so it may have.
    Optional(usize),
}

const WORD_BITS: usize = u64::BITS as usize;

impl Taken {
    pub(crate) fn none_of(completed: usize, optional: usize) -> Taken {
        Taken { completed: vec![false; completed], optional: vec![0; optional.div_ceil(WORD_BITS)], prefix: 0, top: 0 }
    }

    /// The first completed operation that is not taken.
    pub(crate) fn prefix(&self) -> usize {
        self.prefix
    }

    pub(crate) fn all_completed(&self) -> bool {
        self.prefix == self.completed.len()
    }

    pub(crate) fn has_completed(&self, rank: usize) -> bool {
        self.completed[rank]
    }

    pub(crate) fn has_optional(&self, rank: usize) -> bool {
        self.optional[rank / WORD_BITS] >> (rank % WORD_BITS) & 1 == 1
    }

    pub(crate) fn take(&mut self, pick: Pick) -> Undo {
        let undo = Undo { pick, prefix: self.prefix, top: self.top };
        match pick {
            Pick::Completed(rank) => {
                self.completed[rank] = true;
                self.top = self.top.max(rank + 1);
                while self.prefix < self.top && self.completed[self.prefix] {
                    self.prefix += 1;
                }
            }
            Pick::Optional(rank) => self.optional[rank / WORD_BITS] |= 1 << (rank % WORD_BITS),
        }
        undo
    }

    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo.pick {
            Pick::Completed(rank) => self.completed[rank] = false,
            Pick::Optional(rank) => self.optional[rank / WORD_BITS] &= !(1 << (rank % WORD_BITS)),
        }
        self.prefix = undo.prefix;
        self.top = undo.top;
    }

    pub(crate) fn configuration<S>(&self, state: S, must_observe: bool) -> Configuration<S> {
        let mut beyond = vec![0; (self.top - self.prefix).div_ceil(WORD_BITS)];
        for rank in self.prefix..self.top {
            let at = rank - self.prefix;
            beyond[at / WORD_BITS] |= u64::from(self.completed[rank]) << (at % WORD_BITS);
        }
        let optional = self.optional.clone().into_boxed_slice();
        Configuration { state, must_observe, prefix: self.prefix, beyond: beyond.into_boxed_slice(), optional }
    }
}
