//! What may be said of leases while a run goes on: they neither end too early nor come back.

use super::judge::Finding;
use super::subject::{Judged, Meaning};
use crate::act::Ask;
use crate::marks::{Mark, Marks};
use crate::world::World;
use quorate_protocol::Replica;
use quorate_types::{NodeId, Slot, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a time that is told in milliseconds may be off.
const MARGIN: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    ttl: Duration,
    /// When its grant was answered.
    granted_at: Option<Time>,
    /// No node had applied its grant before that.
    seen_at: Option<Time>,
    /// When the last renewal was asked that was answered as done.
    renewed_at: Option<Time>,
    /// Who led when it was seen first.
    leader: Option<NodeId>,
    /// Whether somebody asked to revoke it: then it may end at any time.
    is_to_be_revoked: bool,
    /// When somebody knew first that it had been revoked, or the first node had applied its end.
    ended_at: Option<Time>,
}

/// All leases of a run.
#[derive(Debug, Default)]
pub(super) struct LeaseBook {
    leases: BTreeMap<u64, Kept>,
    /// By how many percent clocks may be wrong; `None`: by anything.
    clock_error_percent_max: Option<u64>,
    looked_at: Slot,
    /// Until then nobody had applied more than what was looked at.
    known_through: Time,
    /// Who led when it was looked.
    leader: Option<NodeId>,
    expired: u64,
    renewed: u64,
    renewed_under_next: u64,
    /// Whether a node that joined led when it was looked, and how many leases ended by time under such a one.
    joiner_leads: bool,
    expired_under_joiner: u64,
    finding: Option<Finding>,
}

impl LeaseBook {
    pub(super) fn trust_clocks(&mut self, error_percent_max: Option<u64>) {
        self.clock_error_percent_max = error_percent_max;
    }

    pub(super) fn mark(&self, marks: &mut Marks) {
        marks.hit_times(Mark::LeaseExpired, self.expired);
        marks.hit_times(Mark::LeaseRenewed, self.renewed);
        marks.hit_times(Mark::LeaseRenewedUnderNext, self.renewed_under_next);
        marks.hit_times(Mark::LeaseExpiredUnderJoiner, self.expired_under_joiner);
    }

    pub(super) fn longest(&self) -> Duration {
        self.leases.values().map(|kept| kept.ttl).max().unwrap_or_default()
    }

    /// A client asks.
    pub(super) fn asked(&mut self, ask: &Ask) {
        match ask {
            Ask::Grant { lease, ttl_seconds } => {
                self.leases.entry(*lease).or_default().ttl = Duration::from_secs((*ttl_seconds).max(1));
            }
            Ask::Revoke { lease } => self.leases.entry(*lease).or_default().is_to_be_revoked = true,
            _ => {}
        }
    }

    /// A client was answered.
    pub(super) fn answered(&mut self, ask: &Ask, meaning: &Meaning, called_at: Time, returned_at: Time) {
        match (ask, meaning) {
            (Ask::Grant { lease, .. }, Meaning::Granted) => {
                let kept = self.leases.entry(*lease).or_default();
                kept.granted_at = Some(returned_at);
            }
            (Ask::Revoke { lease }, Meaning::Revoked { .. }) => {
                let kept = self.leases.entry(*lease).or_default();
                kept.ended_at = Some(kept.ended_at.map_or(returned_at, |ended| ended.min(returned_at)));
            }
            (Ask::KeepAlive { lease }, Meaning::Renewed) => {
                let kept = self.leases.entry(*lease).or_default();
                if let Some(ended) = kept.ended_at.filter(|ended| *ended < called_at) {
                    let text = format!("lease {lease} had ended at {ended} and was renewed at {called_at}");
                    self.finding.get_or_insert(("NoRenewalAfterTheEnd", text));
                }
                kept.renewed_at = kept.renewed_at.max(Some(called_at));
                self.renewed += 1;
                self.renewed_under_next +=
                    u64::from(kept.leader.is_some() && self.leader.is_some() && kept.leader != self.leader);
            }
            (Ask::KeepAlive { lease }, Meaning::NoLease) => {
                let kept = self.leases.entry(*lease).or_default();
                if kept.granted_at.is_some_and(|granted| granted < called_at) && kept.ended_at.is_none() {
                    let text = self.too_early(*lease, returned_at, "is refused a renewal");
                    self.finding = self.finding.take().or(text);
                }
            }
            _ => {}
        }
    }

    /// `NoEarlyExpiry`: a lease of which nobody asked an end has its whole time from its last renewal, on the fastest clock.
    fn too_early(&self, lease: u64, now: Time, what: &str) -> Option<Finding> {
        let kept = self.leases.get(&lease).filter(|kept| !kept.is_to_be_revoked)?;
        let error_percent = u32::try_from(self.clock_error_percent_max?).ok()?;
        let since = kept.renewed_at.max(kept.seen_at)?;
        let least = (kept.ttl * 100 / (100 + error_percent)).saturating_sub(MARGIN);
        (now < since + least).then(|| {
            let text = format!(
                "lease {lease} of {:?} was granted or renewed at {since} and {what} at {now}, before {} had passed",
                kept.ttl,
                least.as_secs_f64()
            );
            ("NoEarlyExpiry", text)
        })
    }

    /// Looks at whoever was the first to apply something, if anything was applied since.
    pub(super) fn look<R: Replica, S: Judged>(&mut self, world: &World<R, S>) -> Option<Finding> {
        if self.leases.is_empty() {
            return None;
        }
        let highest = world.highest_applied();
        if highest == self.looked_at {
            self.known_through = world.now();
        } else {
            // It may have crashed since and begun again from an older checkpoint: that tells nothing new.
            let furthest = world.furthest().and_then(|node| world.node(node));
            if let Some(node) = furthest.filter(|node| node.applied() == highest) {
                self.looked_at = highest;
                self.leader = world.leader();
                self.joiner_leads = self.leader.is_some_and(|leader| !world.is_founder(leader));
                self.compare(&node.state().leases(), world.now());
                self.known_through = world.now();
            }
        }
        self.finding.take()
    }

    fn compare(&mut self, there: &[u64], now: Time) {
        for lease in there {
            let kept = self.leases.entry(*lease).or_default();
            if kept.seen_at.is_none() {
                kept.seen_at = Some(self.known_through);
                kept.leader = self.leader;
            }
        }
        let gone: Vec<u64> = self
            .leases
            .iter()
            .filter(|(lease, kept)| {
                let lives = kept.seen_at.is_some() && kept.ended_at.is_none();
                lives && there.binary_search(lease).is_err()
            })
            .map(|(lease, _)| *lease)
            .collect();
        for lease in gone {
            let finding = self.too_early(lease, now, "has ended");
            self.finding = self.finding.take().or(finding);
            if let Some(kept) = self.leases.get_mut(&lease) {
                kept.ended_at = Some(now);
                self.expired += u64::from(!kept.is_to_be_revoked);
                self.expired_under_joiner += u64::from(!kept.is_to_be_revoked && self.joiner_leads);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    /// Lease 1 of a second, made at 0 and renewed at 500 ms.
    fn renewed(clock_error_percent_max: Option<u64>) -> LeaseBook {
        let mut book = LeaseBook::default();
        book.trust_clocks(clock_error_percent_max);
        let grant = Ask::Grant { lease: 1, ttl_seconds: 1 };
        book.asked(&grant);
        book.answered(&grant, &Meaning::Granted, at(0), at(1));
        book.compare(&[1], at(1));
        book.answered(&Ask::KeepAlive { lease: 1 }, &Meaning::Renewed, at(500), at(501));
        assert_eq!(book.longest(), SECOND);
        book
    }

    fn ended_at(mut book: LeaseBook, milliseconds: u64) -> Option<&'static str> {
        book.compare(&[], at(milliseconds));
        book.finding.map(|(property, _)| property)
    }

    #[test]
    fn a_lease_has_its_time_from_its_last_renewal_on_the_fastest_clock() {
        assert_eq!(ended_at(renewed(Some(0)), 1490), Some("NoEarlyExpiry"));
        assert_eq!(ended_at(renewed(Some(0)), 1500), None);
        assert_eq!(ended_at(renewed(Some(10)), 1410), None);
        assert_eq!(ended_at(renewed(Some(10)), 1400), Some("NoEarlyExpiry"));
        assert_eq!(ended_at(renewed(None), 600), None, "a clock may have jumped");
    }

    #[test]
    fn a_lease_may_end_at_any_time_once_somebody_asked_for_it() {
        let mut book = renewed(Some(0));
        book.asked(&Ask::Revoke { lease: 1 });
        assert_eq!(ended_at(book, 600), None);
    }

    #[test]
    fn a_lease_that_lives_is_not_refused_a_renewal() {
        let mut book = renewed(Some(0));
        book.answered(&Ask::KeepAlive { lease: 1 }, &Meaning::NoLease, at(600), at(601));
        assert_eq!(book.finding.map(|(property, _)| property), Some("NoEarlyExpiry"));
    }

    #[test]
    fn a_lease_that_ended_is_never_renewed() {
        let mut book = renewed(Some(0));
        book.compare(&[], at(1600));
        book.answered(&Ask::KeepAlive { lease: 1 }, &Meaning::Renewed, at(1590), at(1610));
        assert_eq!(book.finding, None, "they overlap");
        book.answered(&Ask::KeepAlive { lease: 1 }, &Meaning::Renewed, at(1601), at(1610));
        assert_eq!(book.finding.map(|(property, _)| property), Some("NoRenewalAfterTheEnd"));
    }
}
