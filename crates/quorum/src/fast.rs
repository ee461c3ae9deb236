//! Quorums of EPaxos' fast path, on which the command leader decides after one round trip.
//!
//! All sizes count the command leader. The general form is that of EPaxos* (2025): the system goes on with
//! `f` crashes and stays fast with `e <= f` of them; a fast quorum is `n - e`, a slow or recovery quorum `n - f`.

use crate::InvalidQuorum;

/// The most crashes `voters` survive: `floor((voters - 1) / 2)`, and 0 of nobody.
#[must_use]
pub const fn crash_faults(voters: usize) -> usize {
    voters.saturating_sub(1) / 2
}

/// The slow and recovery quorum, `n - f`: a majority.
///
/// # Errors
/// If there are no voters.
pub fn slow_quorum(voters: usize) -> Result<usize, InvalidQuorum> {
    some(voters)?;
    Ok(voters - crash_faults(voters))
}

/// The smallest fast quorum, for a recovery with all branches of EPaxos*: the greatest `e <= f` with
/// `n >= 2e + f - 1`. For odd `n = 2F + 1` it is `F + floor((F + 1) / 2)`, the "optimised" quorum of EPaxos (2013).
///
/// # Errors
/// If there are no voters.
pub fn fast_optimised(voters: usize) -> Result<usize, InvalidQuorum> {
    some(voters)?;
    let faults = crash_faults(voters);
    let fast_faults = faults.min((voters - faults).div_ceil(2));
    Ok(voters - fast_faults)
}

/// The fast quorum for the shorter recovery of EPaxos*, without its two extra branches: the greatest
/// `e <= f` with `n >= 2e + f + 1`.
///
/// # Errors
/// If there are no voters.
pub fn fast_plain(voters: usize) -> Result<usize, InvalidQuorum> {
    some(voters)?;
    let faults = crash_faults(voters);
    let fast_faults = faults.min((voters - faults - 1) / 2);
    Ok(voters - fast_faults)
}

/// The fast quorum of basic EPaxos (2013): `2F` of `2F + 1`; a lone voter is its own quorum.
///
/// # Errors
/// If there are no voters, or an even number: the paper defines it for odd numbers only.
pub fn fast_basic(voters: usize) -> Result<usize, InvalidQuorum> {
    some(voters)?;
    if voters.is_multiple_of(2) {
        return Err(InvalidQuorum::EvenVoters { voters });
    }
    Ok((voters - 1).max(1))
}

fn some(voters: usize) -> Result<(), InvalidQuorum> {
    if voters == 0 { Err(InvalidQuorum::NoVoters) } else { Ok(()) }
}
