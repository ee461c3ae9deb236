//! Quorums of two sizes, as an operator writes them.

use quorate_multi_paxos::{QuorumSizes, sizes_in_words};
use quorate_quorum::{Flexible, InvalidQuorum};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// By number of voters, how many promises make a leader and how many acceptances decide: `5=4+2,4=3+2`. Where a number is not named,
/// both are majorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumSettings {
    sizes: BTreeMap<usize, QuorumSizes>,
}

/// What was written is no quorum sizes, or they would not be safe.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidQuorumSettings {
    /// It cannot be read.
    #[error("{part}: write VOTERS=ELECT+DECIDE, such as 5=4+2: of five voters four elect and two decide")]
    Form {
        /// The part that cannot.
        part: String,
    },
    /// One number of voters has two sizes.
    #[error("the sizes for {voters} voters are given twice")]
    Twice {
        /// The number.
        voters: usize,
    },
    /// Such quorums need not meet, or cannot be.
    #[error("{part}: {why}")]
    Sizes {
        /// Which.
        part: String,
        /// Why not.
        why: InvalidQuorum,
    },
}

impl QuorumSettings {
    /// Whether both kinds are majorities whatever the number of voters.
    #[must_use]
    pub fn are_majorities(&self) -> bool {
        self.sizes.is_empty()
    }

    /// The sizes by number of voters.
    pub(crate) fn by_voters(&self) -> BTreeMap<usize, QuorumSizes> {
        self.sizes.clone()
    }
}

impl fmt::Display for QuorumSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&sizes_in_words(&self.sizes))
    }
}

impl FromStr for QuorumSettings {
    type Err = InvalidQuorumSettings;

    fn from_str(text: &str) -> Result<QuorumSettings, InvalidQuorumSettings> {
        let mut sizes = BTreeMap::new();
        for part in text.split(',').map(str::trim) {
            let (voters, of_voters) =
                read(part).ok_or_else(|| InvalidQuorumSettings::Form { part: part.to_owned() })?;
            Flexible::new(voters, of_voters.phase1, of_voters.phase2)
                .map_err(|why| InvalidQuorumSettings::Sizes { part: part.to_owned(), why })?;
            if sizes.insert(voters, of_voters).is_some() {
                return Err(InvalidQuorumSettings::Twice { voters });
            }
        }
        Ok(QuorumSettings { sizes })
    }
}

fn read(part: &str) -> Option<(usize, QuorumSizes)> {
    let (voters, sizes) = part.split_once('=')?;
    let (phase1, phase2) = sizes.split_once('+')?;
    let number = |text: &str| text.trim().parse().ok();
    Some((number(voters)?, QuorumSizes { phase1: number(phase1)?, phase2: number(phase2)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_number_of_voters() {
        let settings: QuorumSettings = "5=4+2, 4=3+2".parse().unwrap();
        let four = QuorumSizes { phase1: 3, phase2: 2 };
        let five = QuorumSizes { phase1: 4, phase2: 2 };
        assert_eq!(settings.by_voters(), BTreeMap::from([(4, four), (5, five)]));
        assert_eq!(settings.to_string(), "4=3+2,5=4+2");
        assert!(!settings.are_majorities() && QuorumSettings::default().are_majorities());
    }

    #[test]
    fn what_is_no_size_or_not_safe_is_refused_by_name() {
        let refusal = |text: &str| text.parse::<QuorumSettings>().unwrap_err().to_string();
        for text in ["", "5", "5=4", "five=4+2", "5=4+2,", "5=4+2+1"] {
            assert!(refusal(text).contains("write VOTERS=ELECT+DECIDE"), "{text}");
        }
        assert_eq!(
            refusal("5=3+2"),
            "5=3+2: phase-1 quorums of 3 and phase-2 quorums of 2 need not meet among 5 voters: the two sizes must add up to more than 5"
        );
        assert!(refusal("3=4+1").contains("must be 1 to 3"));
        assert!(refusal("0=0+0").contains("at least one voter"));
        assert_eq!(refusal("5=4+2,5=3+3"), "the sizes for 5 voters are given twice");
    }
}
