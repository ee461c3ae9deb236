//! Quorums of different sizes for electing and for replicating.

use crate::{InvalidQuorum, majority};

/// Quorum sizes of Flexible Paxos (2016): every phase-1 quorum (to become leader) meets every phase-2
/// quorum (to decide). Two of the same phase need not meet.
///
/// Invariants: both sizes are 1 to `voters`; `phase1 + phase2 > voters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flexible {
    voters: usize,
    phase1: usize,
    phase2: usize,
}

impl Flexible {
    /// Quorums of `phase1` and `phase2` among `voters`.
    ///
    /// # Errors
    /// If there are no voters, a size is 0 or more than the voters, or the two kinds need not meet.
    pub fn new(voters: usize, phase1: usize, phase2: usize) -> Result<Flexible, InvalidQuorum> {
        if voters == 0 {
            return Err(InvalidQuorum::NoVoters);
        }
        for size in [phase1, phase2] {
            if size == 0 || size > voters {
                return Err(InvalidQuorum::SizeOutOfRange { size, voters });
            }
        }
        // Written as a subtraction because the sum of two absurd sizes could overflow.
        if phase1 <= voters - phase2 {
            return Err(InvalidQuorum::PhasesNeedNotMeet { voters, phase1, phase2 });
        }
        Ok(Flexible { voters, phase1, phase2 })
    }

    /// Majorities for both phases: classic Paxos.
    ///
    /// # Errors
    /// If there are no voters.
    pub fn majorities(voters: usize) -> Result<Flexible, InvalidQuorum> {
        Flexible::new(voters, majority(voters), majority(voters))
    }

    /// How many voters there are.
    #[must_use]
    pub fn voters(self) -> usize {
        self.voters
    }

    /// How many promises make a leader.
    #[must_use]
    pub fn phase1(self) -> usize {
        self.phase1
    }

    /// How many acceptances decide.
    #[must_use]
    pub fn phase2(self) -> usize {
        self.phase2
    }

    /// Whether so many different voters' promises make a leader.
    #[must_use]
    pub fn is_phase1(self, promises: usize) -> bool {
        promises >= self.phase1
    }

    /// Whether so many different voters' acceptances decide.
    #[must_use]
    pub fn is_phase2(self, acceptances: usize) -> bool {
        acceptances >= self.phase2
    }

    /// Whether no size can be made smaller without growing the other.
    #[must_use]
    pub fn is_minimal(self) -> bool {
        self.phase1 - 1 == self.voters - self.phase2
    }
}
