//! Quorum arithmetic: majority, joint, flexible, Byzantine, fast.
//!
//! Everything here is pure: a question about counts or about sets of voters goes in, an answer comes
//! out. No protocol keeps a copy of these formulas, because the mistakes in them are old and quiet:
//! "`f` plus myself" is a majority only for odd `n`, and `2f + 1` Byzantine votes are a quorum only when
//! `n = 3f + 1`.
//!
//! | question | answered by | source |
//! |---|---|---|
//! | how many of `n` are a majority | [`majority`] | |
//! | have these voters agreed, also while the membership changes | [`Quorum`] | Raft dissertation (2014), 4.3 |
//! | unequal quorums for electing and for replicating | [`Flexible`] | Flexible Paxos (2016) |
//! | quorums among liars | [`Byzantine`] | PBFT (1999) |
//! | voting power instead of heads | [`exceeds_two_thirds`], [`exceeds_one_third`] | Tendermint (2018) |
//! | quorums of the two-delay path of EPaxos | [`fast_optimised`], [`fast_basic`], [`fast_plain`] | EPaxos (2013), EPaxos* (2025) |
//!
//! Tests compare every answer with a slow twin that enumerates all subsets, and pin the table of sizes.

mod byzantine;
mod fast;
mod flexible;
mod voters;

pub use byzantine::{Byzantine, exceeds_one_third, exceeds_two_thirds};
pub use byzantine::{byzantine_faults, byzantine_quorum, byzantine_weak};
pub use fast::{crash_faults, fast_basic, fast_optimised, fast_plain, slow_quorum};
pub use flexible::Flexible;
pub use voters::{HalfTally, Quorum, VoteOutcome, has_majority, majority};

use thiserror::Error;

/// Sizes that make no quorum system: some two quorums that must meet would not.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InvalidQuorum {
    /// No voters at all.
    #[error("a quorum system needs at least one voter")]
    NoVoters,
    /// A quorum of nobody, or of more than there are.
    #[error("a quorum of {size} among {voters} voters is impossible: it must be 1 to {voters}")]
    SizeOutOfRange {
        /// The size asked for.
        size: usize,
        /// How many voters there are.
        voters: usize,
    },
    /// A phase-1 quorum and a phase-2 quorum could miss each other.
    #[error(
        "phase-1 quorums of {phase1} and phase-2 quorums of {phase2} need not meet among {voters} voters: \
         the two sizes must add up to more than {voters}"
    )]
    PhasesNeedNotMeet {
        /// How many voters there are.
        voters: usize,
        /// The phase-1 (election) quorum size.
        phase1: usize,
        /// The phase-2 (replication) quorum size.
        phase2: usize,
    },
    /// More liars than any protocol can bear.
    #[error("{voters} voters cannot tolerate {faults} Byzantine faults: 3 * faults + 1 voters are needed")]
    TooManyLiars {
        /// How many voters there are.
        voters: usize,
        /// The faults to be tolerated.
        faults: usize,
    },
    /// A formula that is defined for odd numbers of voters only.
    #[error("the basic EPaxos fast quorum is defined for an odd number of voters only, not for {voters}")]
    EvenVoters {
        /// How many voters there are.
        voters: usize,
    },
}
