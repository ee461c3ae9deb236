//! Settings.

use quorate_protocol::OpenError;
use quorate_quorum::{Flexible, InvalidQuorum};

/// How many acceptors make a quorum. Must be the same on every member; fixed by the founding record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuorumSizes {
    /// A majority for both phases: classic Paxos.
    Majorities,
    /// Flexible Paxos (2016): the two sizes must add up to more than there are acceptors.
    Flexible {
        /// How many promises.
        phase1: usize,
        /// How many acceptances.
        phase2: usize,
    },
}

impl QuorumSizes {
    /// The quorums among so many acceptors.
    ///
    /// # Errors
    /// When a phase-1 and a phase-2 quorum need not meet, or a size is impossible.
    pub fn among(self, acceptors: usize) -> Result<Flexible, InvalidQuorum> {
        match self {
            QuorumSizes::Majorities => Flexible::majorities(acceptors),
            QuorumSizes::Flexible { phase1, phase2 } => Flexible::new(acceptors, phase1, phase2),
        }
    }
}

/// To whom an acceptor reports what it accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AcceptedTo {
    /// The proposer, which tells the others once it has counted: few messages, learners know after five delays.
    Proposer,
    /// Every member, each counting for itself: about n times the messages, learners know after four delays.
    Everybody,
}

/// Settings of one replica. [`Config::default`] suits a local network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// How many acceptors make a quorum.
    pub quorums: QuorumSizes,
    /// To whom acceptances are reported.
    pub accepted_to: AcceptedTo,
    /// First back-off after a refused ballot; it doubles with every further one. At least 1.
    pub back_off_base_ms: u64,
    /// No back-off is drawn around more than this. At least the base.
    pub back_off_cap_ms: u64,
    /// An unanswered request is repeated after this long. At least 1.
    pub resend_after_ms: u64,
    /// So many repetitions, then the ballot counts as timed out (rule 6).
    pub resends_per_ballot: u32,
    /// A member that does not know the decision asks around this often, drawn up to twice as long. At least 1.
    pub inquire_after_ms: u64,
    /// So many proposals and so many reads may wait; more are refused as overload. At least 1.
    pub waiting_limit: usize,
    /// The journal is compacted when it holds so many of this replica's records. At least
    /// [`Config::COMPACT_AFTER_RECORDS_LEAST`].
    pub compact_after_records: usize,
}

impl Config {
    /// A baseline has up to five records and a ballot writes up to three more; compacting earlier would do nothing else.
    pub const COMPACT_AFTER_RECORDS_LEAST: usize = 10;

    /// Checks what a type cannot.
    ///
    /// # Errors
    /// [`OpenError::Settings`], naming the field.
    pub fn validate(&self) -> Result<(), OpenError> {
        let complaints = [
            (self.back_off_base_ms == 0, "back_off_base_ms must be at least 1"),
            (self.back_off_cap_ms < self.back_off_base_ms, "back_off_cap_ms must not be below back_off_base_ms"),
            (self.resend_after_ms == 0, "resend_after_ms must be at least 1"),
            (self.inquire_after_ms == 0, "inquire_after_ms must be at least 1"),
            (self.waiting_limit == 0, "waiting_limit must be at least 1"),
            (
                self.compact_after_records < Config::COMPACT_AFTER_RECORDS_LEAST,
                "compact_after_records must be at least 10",
            ),
        ];
        match complaints.iter().find(|(wrong, _)| *wrong) {
            Some((_, why)) => Err(OpenError::Settings { why: (*why).to_owned() }),
            None => Ok(()),
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            quorums: QuorumSizes::Majorities,
            accepted_to: AcceptedTo::Proposer,
            back_off_base_ms: 20,
            back_off_cap_ms: 2_000,
            resend_after_ms: 100,
            resends_per_ballot: 5,
            inquire_after_ms: 500,
            waiting_limit: 1_024,
            compact_after_records: 64,
        }
    }
}
