//! What is known of each lease's life, and what must therefore not happen to it.

use std::collections::BTreeMap;

/// One lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseLife {
    /// Nanoseconds that the servers granted.
    pub ttl_ns: u64,
    /// The last moment at which the grant, or a renewal that was answered, was asked for: the servers renewed it later than
    /// that, so it must not end by time before this and its time to live are over.
    pub renewed_ns: u64,
    /// When its revocation was first asked for; from then on it may end at any time.
    pub revoke_called_ns: Option<u64>,
    /// When a member first said that there is no such lease.
    pub told_gone_ns: Option<u64>,
}

impl LeaseLife {
    /// Before this it cannot have ended by time.
    #[must_use]
    pub fn lives_until_ns(&self) -> u64 {
        self.renewed_ns.saturating_add(self.ttl_ns)
    }

    /// Whether its end may have been seen at this time.
    #[must_use]
    pub fn may_have_ended_by(&self, seen_ns: u64) -> bool {
        self.revoke_called_ns.is_some_and(|called| called < seen_ns) || seen_ns >= self.lives_until_ns()
    }
}

/// All leases, and counts of what was done with them.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    lives: BTreeMap<i64, LeaseLife>,
    /// Renewals that were answered.
    pub renewals: u64,
    /// Revocations that were answered.
    pub revocations: u64,
}

impl Leases {
    /// All.
    #[must_use]
    pub fn lives(&self) -> &BTreeMap<i64, LeaseLife> {
        &self.lives
    }

    /// A grant was answered.
    pub fn granted(&mut self, id: i64, called_ns: u64, ttl_s: i64) {
        let ttl_ns = u64::try_from(ttl_s).unwrap_or(0).saturating_mul(1_000_000_000);
        self.lives.insert(id, LeaseLife { ttl_ns, renewed_ns: called_ns, revoke_called_ns: None, told_gone_ns: None });
    }

    /// A renewal was answered with so much time; 0 or less says that there is no such lease.
    pub fn renewed(&mut self, id: i64, called_ns: u64, answered_ns: u64, ttl_s: i64) {
        let Some(life) = self.lives.get_mut(&id) else { return };
        match u64::try_from(ttl_s) {
            Ok(ttl_s @ 1..) => {
                life.ttl_ns = ttl_s.saturating_mul(1_000_000_000);
                life.renewed_ns = life.renewed_ns.max(called_ns);
                self.renewals += 1;
            }
            _ => _ = life.told_gone_ns.get_or_insert(answered_ns),
        }
    }

    /// A member said that there is no such lease.
    pub fn told_gone(&mut self, id: i64, answered_ns: u64) {
        if let Some(life) = self.lives.get_mut(&id) {
            life.told_gone_ns.get_or_insert(answered_ns);
        }
    }

    /// A revocation is asked for.
    pub fn revoking(&mut self, id: i64, called_ns: u64) {
        if let Some(life) = self.lives.get_mut(&id) {
            life.revoke_called_ns.get_or_insert(called_ns);
        }
    }

    /// Members that said too early that a lease is gone.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let finding = |(id, life): (&i64, &LeaseLife)| {
            let told_ns = life.told_gone_ns?;
            let words = || {
                format!(
                    "lease {id:x} was said to be gone {:.3} s after it was renewed for {:.0} s",
                    seconds(told_ns.saturating_sub(life.renewed_ns)),
                    seconds(life.ttl_ns)
                )
            };
            (!life.may_have_ended_by(told_ns)).then(words)
        };
        self.lives.iter().filter_map(finding).collect()
    }
}

pub(crate) fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_lease_that_is_renewed_lives_longer_and_one_that_is_revoked_may_end_at_once() {
        let mut leases = Leases::default();
        leases.granted(7, SECOND, 2);
        let may_end_at = |leases: &Leases, at| leases.lives()[&7].may_have_ended_by(at);
        assert!(!may_end_at(&leases, 3 * SECOND - 1) && may_end_at(&leases, 3 * SECOND));
        leases.renewed(7, 2 * SECOND, 2 * SECOND + 5, 2);
        assert!(!may_end_at(&leases, 4 * SECOND - 1) && may_end_at(&leases, 4 * SECOND));
        leases.revoking(7, 2 * SECOND + 9);
        assert!(may_end_at(&leases, 2 * SECOND + 10) && !may_end_at(&leases, 2 * SECOND + 9));
    }

    #[test]
    fn to_be_told_too_early_that_a_lease_is_gone_is_a_finding() {
        let mut leases = Leases::default();
        leases.granted(7, 0, 2);
        leases.renewed(7, SECOND, SECOND + 1, 0);
        assert!(leases.findings()[0].contains("said to be gone"));
        let mut leases = Leases::default();
        leases.granted(7, 0, 2);
        leases.told_gone(7, 2 * SECOND);
        assert!(leases.findings().is_empty());
    }
}
