//! Lease reads: a leader that enough acceptors answered lately answers reads without asking again.
//!
//! # Why a lease keeps others from leading
//! Where leases are on, an acceptor that answers a leader's round grants it T (`election_timeout`) by its own clock: so long it answers no
//! other candidate's prepare and does not stand itself. The leader needs grants from so many that every phase-1 quorum contains one of them
//! (n - |Q1| + 1, itself included), so until T after the round was first sent nobody else gets through phase 1. If clocks run wrong by
//! at most a rate r, the leader may use T (1 - r) / (1 + r) from the clock sample of the step that first sent the round.
//!
//! A leader of a higher ballot may be heard all the same: that it leads proves that the grants of every lower ballot are over, for one of
//! each set of them is in its phase-1 quorum. So one timer is enough, for whatever was answered last. It is set anew at
//! every opening behind a promise, since a replica does not know whom it answered before; a refused connection does not shorten it.
//!
//! One thing overrides a grant: the wish of the leader that has it. A leader gives its lease up when it is asked to hand over, before it asks its heir to stand, and has none
//! for the rest of its ballot; the prepare of the one asked names that ballot, and whoever has promised just that one listens. However late it
//! arrives, it overrides no grant to a later leader.
//!
//! The leader itself grants nothing to anybody: it drops its lease with its leadership, before it promises another ballot.
//!
//! # Changes of the members
//! A leader that has proposed or inherited a stop-sign answers no reads, leased or not. The next configuration need not wait: whoever
//! closes this one leads it, so older leases are over.
//!
//! # Order
//! Inputs are dequeued, then the clock is sampled, then the lease is looked at, in every settle anew.

use crate::ballot::Ballot;
use crate::replica::{Ballots, Position, Timer};
use crate::rules;
use quorate_protocol::{Env, Event, LedReads, Outbox, ReadQueue};
use quorate_types::{NodeId, Time};
use std::time::Duration;

impl Ballots {
    fn keeps_leases(&self) -> bool {
        self.config.lease_reads.is_some()
    }

    /// Whether this node leads and may, at `now` on its own clock, answer reads without a round. For people, metrics and tests: an
    /// answer is out of date as soon as anything arrives or time passes.
    #[must_use]
    pub fn has_lease(&self, now: Time) -> bool {
        self.lease_in_force(now).is_some()
    }

    /// The round that enough answered and its age, if the lease it started runs at `now`.
    fn lease_in_force(&self, now: Time) -> Option<(u64, Duration)> {
        let leases = self.config.lease_reads?;
        let Position::Leader(leadership) = &self.position else { return None };
        let (round, sent) = leadership.lease.start(self.confirmed_round()).filter(|_| leadership.stop_at.is_none())?;
        let age = now.since(sent);
        (age < leases.usable(self.config.election_timeout)).then_some((round, age))
    }

    /// Releases all reads at hand if a lease is in force, or has them confirmed by a round.
    pub(crate) fn settle_reads(&mut self, env: &dyn Env, out: &mut Outbox<Ballots>) {
        let holds_any = self.led_reads().is_some_and(|queue| ReadQueue::holds_any(queue));
        let lease = match self.keeps_leases() && holds_any && self.read_mark().is_ok() {
            true => self.lease_in_force(env.now()),
            false => None,
        };
        match lease {
            Some((round, age)) => {
                // Reads that a heartbeat carried, and that wait for its answers, must not wait until no others come.
                self.release_reads(out);
                self.release_leased(&rules::LEASE, round, age, out);
            }
            None => self.serve_reads(out),
        }
    }

    /// What leaves in this step leaves not before its clock sample: the leases of its round begin there.
    pub(crate) fn note_round_sent(&mut self, env: &dyn Env) {
        if !self.keeps_leases() || !self.is_leader() {
            return;
        }
        let (answered, timeout) = (self.confirmed_round(), self.config.election_timeout);
        if let Position::Leader(leadership) = &mut self.position {
            leadership.lease.forget_before(answered);
            leadership.lease.note(leadership.round, env.now(), timeout);
        }
    }

    /// The leader is about to want somebody else to lead.
    pub(crate) fn give_up_lease(&mut self, out: &mut Outbox<Ballots>) {
        let (keeps, ballot) = (self.keeps_leases(), self.promised);
        let Position::Leader(leadership) = &mut self.position else { return };
        if !leadership.lease.is_given_up() {
            leadership.lease.give_up();
            if keeps {
                out.trace(|| Event::refused(&rules::LEASE).with("ballot", ballot.to_string()));
            }
        }
    }

    /// A leader's round is being answered: it may rest a lease on that.
    pub(crate) fn grant(&mut self, out: &mut Outbox<Ballots>) {
        // Who votes alone has nobody to make promises to.
        if self.keeps_leases() && self.is_voter() && self.quorums.voters() > 1 {
            self.granted = true;
            self.doubted = false;
            self.set_anew.grant = true;
            out.set_timer(Timer::Grant, self.config.election_timeout, self.config.election_timeout);
        }
    }

    /// Before it was opened this node may have answered a leader, who cannot know that it was gone meanwhile.
    pub(crate) fn grant_anew(&mut self, out: &mut Outbox<Ballots>) {
        if self.promised > Ballot::default() {
            self.grant(out);
        }
    }

    pub(crate) fn grant_expired(&mut self, out: &mut Outbox<Ballots>) {
        if self.set_anew.grant || !std::mem::take(&mut self.granted) {
            return;
        }
        out.trace(|| Event::allowed(&rules::GRANT));
        if let Some(leader) = self.leader.filter(|_| std::mem::take(&mut self.doubted)) {
            self.leader_is_gone(leader, out);
        }
    }

    /// Whether a leader may rest a lease on what this node answered, and nobody who has that leader's wish stands.
    pub(crate) fn is_bound(&self, asked_in: Option<Ballot>) -> bool {
        self.granted && asked_in != Some(self.promised)
    }

    /// The leader it was granted to wished for another one.
    pub(crate) fn release_grant(&mut self, out: &mut Outbox<Ballots>) {
        if std::mem::take(&mut self.granted) {
            out.cancel_timer(Timer::Grant);
        }
    }

    /// The connection to the leader is refused: its process is gone, so there is no use in waiting long. A grant is not shortened by that.
    pub(crate) fn leader_is_gone(&mut self, leader: NodeId, out: &mut Outbox<Ballots>) {
        match self.granted {
            true => self.doubted = true,
            false => {
                let soon = self.config.heartbeat_interval;
                out.trace(|| Event::allowed(&rules::DEAD_LEADER).with("leader", leader));
                out.set_timer(Timer::Election, soon, soon * 2);
            }
        }
    }
}
