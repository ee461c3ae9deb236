//! Quorums among voters of whom some lie.

use crate::InvalidQuorum;

/// The most liars that `voters` can bear: `floor((voters - 1) / 3)`, and 0 of nobody.
#[must_use]
pub const fn byzantine_faults(voters: usize) -> usize {
    voters.saturating_sub(1) / 3
}

/// How many votes make a certificate if `voters` bear as many liars as they can: any two certificates
/// share an honest voter. See [`Byzantine`].
#[must_use]
pub const fn byzantine_quorum(voters: usize) -> usize {
    quorum_with_faults(voters, byzantine_faults(voters))
}

/// How many votes contain at least one honest one: `f + 1`.
#[must_use]
pub const fn byzantine_weak(voters: usize) -> usize {
    byzantine_faults(voters) + 1
}

/// `floor((voters + faults) / 2) + 1`, without overflow: `faults <= voters`.
const fn quorum_with_faults(voters: usize, faults: usize) -> usize {
    faults + (voters - faults) / 2 + 1
}

/// Quorum sizes among `voters` of whom up to `faults` lie (PBFT, 1999, for `n = 3f + 1`; here for any `n`).
///
/// A quorum is `floor((n + f) / 2) + 1`: two of them share at least `f + 1` voters, one of them honest, and
/// the `n - f` honest ones are enough for one. It is `2f + 1` **only** for `n = 3f + 1`; with `n = 5, f = 1`
/// two sets of three could meet in the one liar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Byzantine {
    voters: usize,
    faults: usize,
}

impl Byzantine {
    /// As many faults as `voters` can bear.
    ///
    /// # Errors
    /// If there are no voters.
    pub fn among(voters: usize) -> Result<Byzantine, InvalidQuorum> {
        Byzantine::tolerating(voters, byzantine_faults(voters))
    }

    /// Exactly `faults` faults among `voters`, perhaps fewer than they could bear.
    ///
    /// # Errors
    /// If there are no voters, or fewer than `3 * faults + 1`.
    pub fn tolerating(voters: usize, faults: usize) -> Result<Byzantine, InvalidQuorum> {
        if voters == 0 {
            return Err(InvalidQuorum::NoVoters);
        }
        if faults > byzantine_faults(voters) {
            return Err(InvalidQuorum::TooManyLiars { voters, faults });
        }
        Ok(Byzantine { voters, faults })
    }

    /// How many voters there are.
    #[must_use]
    pub fn voters(self) -> usize {
        self.voters
    }

    /// How many of them may lie.
    #[must_use]
    pub fn faults(self) -> usize {
        self.faults
    }

    /// How many votes make a certificate.
    #[must_use]
    pub fn quorum(self) -> usize {
        quorum_with_faults(self.voters, self.faults)
    }

    /// How many votes contain an honest one.
    #[must_use]
    pub fn weak(self) -> usize {
        self.faults + 1
    }
}

/// Whether `power` is more than two thirds of `total`: Tendermint's quorum, exact for every 64-bit power.
/// With equal powers it may ask for more than [`byzantine_quorum`] (5 rather than 4 of 6); both are safe.
#[must_use]
pub const fn exceeds_two_thirds(power: u64, total: u64) -> bool {
    3 * (power as u128) > 2 * (total as u128)
}

/// Whether `power` is more than one third of `total`, so that somebody honest is among it.
#[must_use]
pub const fn exceeds_one_third(power: u64, total: u64) -> bool {
    3 * (power as u128) > total as u128
}
