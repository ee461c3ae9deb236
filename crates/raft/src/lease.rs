//! Lease reads (dissertation, 6.4.1): a leader that a quorum answered lately answers reads without asking again.
//!
//! # Why a lease keeps others from leading
//! Whoever answers a leader's round promises to elect nobody for T (`election_timeout`) by its own clock: it neither grants a vote
//! nor stands, whatever term it comes to know meanwhile. A quorum that answered round k heard of it after k was first sent, so until T
//! after that no quorum can elect anybody: any two quorums meet. If clocks run wrong by at most a rate r, T on a voter's clock
//! is at least T / (1 + r), and a span L on the leader's clock at most L / (1 - r), so the leader may use
//! L = T (1 - r) / (1 + r) from the clock sample of the step that first sent the round.
//!
//! The promise is the stickiness of every Raft voter, made strict where leases are on (`election.rs`): it survives terms, for
//! a vote request that comes twice, the second time after something else taught its term, would pass otherwise; it is kept after
//! a restart for T, since the replica does not know whom it answered before; and a refused connection does not shorten it.
//! One thing overrides it: a leader's own wish that somebody else stand. So a leader gives its lease up before it voices
//! that wish, and has none for the rest of its term: the wish may be under way for long.
//!
//! # Changes of the members
//! The lease is counted with the quorum in force when it is used. A leader that no longer needs the old members' consent (it
//! found the joint configuration committed) may be replaced by a quorum of the new ones alone. Each of them that holds the
//! joint entry heard of it from this leader after the entry was appended. If the round was first sent before that, the promise of whoever
//! heard the entry outlives the lease; if later, the quorum that answered it was counted in both halves.
//!
//! # Order
//! Inputs are dequeued, then the clock is sampled, then the lease is looked at, in every settle anew. A pause between that look and
//! the answer is harmless: everything acknowledged before the read came is within the commit mark noted at that look.

use crate::election::Position;
use crate::leading::Leadership;
use crate::replica::Raft;
use crate::rules;
use quorate_protocol::{Env, Event, Outbox};
use quorate_types::{NodeId, Time};
use std::time::Duration;

impl Raft {
    /// Whether this replica promises the leaders it hears, and every leader may rest reads on that.
    pub(crate) fn keeps_leases(&self) -> bool {
        self.config.lease_reads.is_some()
    }

    /// Whether this node leads and may, at `now` on its own clock, answer reads without a round. For people, metrics and tests:
    /// an answer is out of date as soon as anything arrives or time passes.
    #[must_use]
    pub fn has_lease(&self, now: Time) -> bool {
        self.lease_in_force(now).is_some()
    }

    /// The round a quorum answered and its age, if the lease it started runs at `now`.
    pub(crate) fn lease_in_force(&self, now: Time) -> Option<(u64, Duration)> {
        let leases = self.config.lease_reads?;
        let Position::Leader(leadership) = &self.position else { return None };
        let (round, sent) = leadership.lease.start(self.answered_by_quorum(leadership))?;
        let age = now.since(sent);
        (age < leases.usable(self.config.election_timeout)).then_some((round, age))
    }

    fn answered_by_quorum(&self, leadership: &Leadership) -> u64 {
        let answered = |id: NodeId| leadership.answered_round(self.me, id);
        self.configurations.quorum().agreed_value(answered)
    }

    /// What leaves in this step leaves not before its clock sample: the leases of its round begin there.
    pub(crate) fn note_round_sent(&mut self, env: &dyn Env) {
        if !self.keeps_leases() {
            return;
        }
        let Position::Leader(leadership) = &self.position else { return };
        let answered = self.answered_by_quorum(leadership);
        let timeout = self.config.election_timeout;
        if let Position::Leader(leadership) = &mut self.position {
            leadership.lease.forget_before(answered);
            leadership.lease.note(leadership.round, env.now(), timeout);
        }
    }

    /// The leader is about to want somebody else to lead.
    pub(crate) fn give_up_lease(&mut self, out: &mut Outbox<Raft>) {
        let (keeps, term) = (self.keeps_leases(), self.term);
        let Position::Leader(leadership) = &mut self.position else { return };
        if !leadership.lease.is_given_up() {
            leadership.lease.give_up();
            if keeps {
                out.trace(|| Event::refused(&rules::LEASE).with("term", term));
            }
        }
    }
}
