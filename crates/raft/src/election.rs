//! Elections: pre-vote, vote, stickiness, check-quorum (Raft §5.2, §5.4.1; dissertation, 4.2.3, 6.2, 9.6).

use crate::entry::{Entry, Payload};
use crate::leading::Leadership;
use crate::message::Message;
use crate::replica::{Raft, Timer, log_end};
use crate::rules;
use crate::witness::STORES_NO_DATA;
use quorate_protocol::{Event, LedReads, Outbox, Value};
use quorate_quorum::VoteOutcome;
use quorate_types::{NodeId, Slot};
use std::collections::BTreeSet;
use std::time::Duration;

/// The part a replica plays in its term.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// Follows whoever leads.
    Follower,
    /// Asks whether it could win the next term.
    PreCandidate(Canvass),
    /// Stands in its term.
    Candidate(Canvass),
    /// Leads its term.
    Leader(Box<Leadership>),
}

/// Answers of voters, each counted once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Canvass {
    /// Who said yes.
    pub granted: BTreeSet<NodeId>,
    /// Who said no.
    pub refused: BTreeSet<NodeId>,
}

/// A log's end as elections compare it: the greater term is newer, then the greater slot.
type LogEnd = (u64, Slot);

impl Raft {
    pub(crate) fn election_expired(&mut self, out: &mut Outbox<Raft>) {
        if self.is_leader() {
            return self.drop_timer(Timer::Election, "it leads", out);
        }
        // Armed again whatever follows: what was heard in this batch may yet be of a term that ends in it.
        if self.following.doubted {
            self.set_doubting_election_timer(out);
        } else {
            self.set_election_timer(out);
        }
        if self.following.heard_leader {
            return self.drop_timer(Timer::Election, "a leader was heard meanwhile", out);
        }
        if let Some(ended_at) = self.left_at() {
            return self.retire(ended_at, out);
        }
        let why = match (self.may_campaign(), self.term.checked_add(1)) {
            (false, _) if self.is_witness() => STORES_NO_DATA,
            (false, _) => "it is no voter",
            (true, _) if self.is_bound() => "a leader may rest reads on its promise to elect nobody yet",
            (true, None) => "there is no greater term",
            (true, Some(term)) => return self.ask_pre_votes(term, out),
        };
        out.trace(|| Event::refused(&rules::CAMPAIGN).with("why", why));
    }

    /// A voter may, and a node whose entry that ended its membership is not known committed (dissertation, 4.2.2). A witness
    /// never: it could lead nobody to data that it does not have.
    fn may_campaign(&self) -> bool {
        if self.is_witness() {
            return false;
        }
        let leaving = self
            .configurations
            .before_in_force()
            .is_some_and(|(before, ended_at)| ended_at > self.commit && before.is_voter(self.me));
        self.configurations.in_force().is_voter(self.me) || leaving
    }

    fn ask_pre_votes(&mut self, term: u64, out: &mut Outbox<Raft>) {
        self.set_leader(None, out);
        self.position = Position::PreCandidate(Canvass::default());
        let (last_term, last_slot) = self.own_log_end();
        out.trace(|| {
            Event::allowed(&rules::CAMPAIGN).with("term", term).with("own_log", log_end((last_term, last_slot)))
        });
        self.send_to_all(&Message::PreVote { term, last_slot, last_term }, out);
        self.count_vote(self.me, true, out);
    }

    /// Raises its term and asks for votes; with `transfer`, because the leader wished so.
    pub(crate) fn stand(&mut self, transfer: bool, out: &mut Outbox<Raft>) {
        // Whoever calls has seen that there is a next one.
        let term = self.term.saturating_add(1);
        self.unstick(out);
        // Rounds begin anew with every term: whoever else wins this one must be answered from its first.
        self.following.forget_leader();
        self.priorities.forget_told();
        self.set_vote(term, Some(self.me), out);
        self.position = Position::Candidate(Canvass::default());
        self.set_election_timer(out);
        let (last_term, last_slot) = self.own_log_end();
        self.send_to_all(&Message::RequestVote { term, last_slot, last_term, transfer }, out);
    }

    /// Its own vote counts like any other: once it is durable.
    pub(crate) fn own_vote_is_durable(&mut self, term: u64, voted_for: Option<NodeId>, out: &mut Outbox<Raft>) {
        if matches!(self.position, Position::Candidate(_)) && self.term == term && voted_for == Some(self.me) {
            self.count_vote(self.me, true, out);
        }
    }

    pub(crate) fn vote_response(&mut self, from: NodeId, term: u64, granted: bool, pre: bool, out: &mut Outbox<Raft>) {
        let answers_us = match (&self.position, pre, granted) {
            (Position::PreCandidate(_), true, true) => Some(term) == self.term.checked_add(1),
            (Position::PreCandidate(_), true, false) | (Position::Candidate(_), false, _) => term == self.term,
            _ => false,
        };
        if answers_us {
            self.count_vote(from, granted, out);
        } else {
            if let Position::Leader(leadership) = &mut self.position
                && (term, pre) == (self.term, false)
            {
                leadership.attendance.believe(from);
            }
            self.drop_stale("vote-response", from, "it answers no question that is still open", out);
        }
    }

    fn count_vote(&mut self, voter: NodeId, granted: bool, out: &mut Outbox<Raft>) {
        let (canvass, rule, term) = match &mut self.position {
            Position::PreCandidate(canvass) => (canvass, &rules::CANDIDATE, self.term.saturating_add(1)),
            Position::Candidate(canvass) => (canvass, &rules::ELECTION, self.term),
            Position::Follower | Position::Leader(_) => return,
        };
        if granted {
            canvass.granted.insert(voter);
        } else {
            canvass.refused.insert(voter);
        }
        let quorum = self.configurations.quorum();
        let outcome = quorum.outcome(|id| canvass.granted.contains(&id), |id| canvass.refused.contains(&id));
        let slot = self.log.last().next();
        out.trace(|| {
            let event = match outcome {
                VoteOutcome::Won => Event::allowed(rule),
                VoteOutcome::Lost => Event::refused(rule),
                VoteOutcome::Pending => Event::waiting(rule),
            };
            let refusals: Vec<NodeId> = canvass.refused.iter().copied().collect();
            event
                .with("term", term)
                .with("slot", slot)
                .with("refusals", refusals)
                .votes(canvass.granted.iter().copied())
        });
        match (outcome, &self.position) {
            (VoteOutcome::Won, Position::PreCandidate(_)) => self.stand(false, out),
            (VoteOutcome::Won, _) => self.lead(out),
            (VoteOutcome::Lost, _) => self.position = Position::Follower,
            (VoteOutcome::Pending, _) => {}
        }
    }

    /// Won: appends its no-op at once, for only an entry of its own term can be committed by counting.
    fn lead(&mut self, out: &mut Outbox<Raft>) {
        self.unstick(out);
        let first_of_term = self.log.last().next();
        self.append_own(Entry { term: self.term, payload: Payload::NoOp });
        let peers = self.members_to_tell();
        let undecided_bytes = self.log.bytes_behind(self.decided);
        let leadership = Position::Leader(Box::new(Leadership::new(peers, first_of_term, undecided_bytes)));
        let before = std::mem::replace(&mut self.position, leadership);
        self.follow_configuration_anew(out);
        if let (Position::Candidate(Canvass { granted, refused }), Position::Leader(leadership)) =
            (before, &mut self.position)
        {
            granted.union(&refused).for_each(|voter| leadership.attendance.believe(*voter));
        }
        self.set_leader(Some(self.me), out);
        out.cancel_timer(Timer::Election);
        self.set_exact_timer(Timer::Heartbeat, self.config.heartbeat_interval, out);
        self.set_exact_timer(Timer::CheckQuorum, self.config.election_timeout, out);
    }

    pub(crate) fn pre_vote(&mut self, from: NodeId, term: u64, candidate: LogEnd, out: &mut Outbox<Raft>) {
        if term > self.term && self.ignores_candidates(from, term, out) {
            return;
        }
        let own = self.own_log_end();
        let why = if term <= self.term {
            Some(format!("we are in term {} already", self.term))
        } else {
            behind(candidate, own)
        };
        let granted = why.is_none();
        self.trace_vote(&rules::PRE_VOTE, (from, term, candidate), why, out);
        // A refusal is answered with our own term, also to a candidate behind us, so that it can catch up with it.
        let term = if granted { term } else { self.term };
        self.send(from, Message::VoteResponse { term, granted, pre: true }, out);
    }

    /// Grants by the request alone: a node may have been made a voter without knowing it yet. `transfer` says that the leader
    /// wished this candidacy.
    pub(crate) fn request_vote(
        &mut self,
        from: NodeId,
        term: u64,
        candidate: LogEnd,
        transfer: bool,
        out: &mut Outbox<Raft>,
    ) {
        let own = self.own_log_end();
        let why = match self.voted_for {
            _ if term < self.term => Some(format!("we are in term {} already", self.term)),
            _ if self.is_bound() && !transfer => {
                Some("a leader may rest reads on our promise to elect nobody yet".to_owned())
            }
            Some(other) if other != from => Some(format!("we voted for {other} in this term")),
            _ => behind(candidate, own),
        };
        let granted = why.is_none();
        self.trace_vote(&rules::VOTE, (from, term, candidate), why, out);
        if granted {
            if self.voted_for.is_none() {
                self.set_vote(self.term, Some(from), out);
            }
            self.set_election_timer(out);
        }
        self.send(from, Message::VoteResponse { term: self.term, granted, pre: false }, out);
    }

    fn trace_vote(
        &self,
        rule: &'static quorate_protocol::Rule,
        (from, term, candidate): (NodeId, u64, LogEnd),
        why: Option<String>,
        out: &mut Outbox<Raft>,
    ) {
        let own = self.own_log_end();
        out.trace(|| {
            let event = match why {
                None => Event::allowed(rule).with("candidate_log", log_end(candidate)).with("own_log", log_end(own)),
                Some(why) => Event::refused(rule).with("why", why),
            };
            event.with("candidate", from).with("term", term)
        });
    }

    /// Whether a request about a later term is to be ignored because there is a leader. A leader hears itself.
    pub(crate) fn ignores_candidates(&self, from: NodeId, term: u64, out: &mut Outbox<Raft>) -> bool {
        let ignores = self.sticky || self.is_leader();
        if ignores {
            out.trace(|| {
                Event::refused(&rules::STICKINESS)
                    .with("candidate", from)
                    .with("term", term)
                    .with("own_term", self.term)
            });
        }
        ignores
    }

    pub(crate) fn stickiness_expired(&mut self, out: &mut Outbox<Raft>) {
        if self.following.heard_leader || !self.sticky {
            return self.drop_timer(Timer::Stickiness, "it is not what was waited for", out);
        }
        self.sticky = false;
        out.trace(|| Event::allowed(&rules::STICKINESS));
        if self.following.doubted && self.keeps_leases() {
            self.set_doubting_election_timer(out);
        }
    }

    /// Whether it answered a leader that may rest reads on that (`lease.rs`): it elects nobody, whatever the term.
    fn is_bound(&self) -> bool {
        self.sticky && self.keeps_leases()
    }

    /// Before it was opened this node may have answered a leader, who cannot know that it was gone meanwhile.
    pub(crate) fn promise_anew(&mut self, out: &mut Outbox<Raft>) {
        if self.keeps_leases() && self.term > 0 {
            self.sticky = true;
            self.set_exact_timer(Timer::Stickiness, self.config.election_timeout, out);
        }
    }

    pub(crate) fn adopt_term(&mut self, term: u64, from: impl Into<Value>, out: &mut Outbox<Raft>) {
        out.trace(|| Event::allowed(&rules::TERM).with("old_term", self.term).with("term", term).with("from", from));
        self.step_down("there is a later term", out);
        self.unstick(out);
        self.following.forget_leader();
        self.priorities.forget_told();
        self.set_vote(term, None, out);
    }

    /// Becomes a follower without a leader, in the same term. The vote stays.
    pub(crate) fn step_down(&mut self, why: &'static str, out: &mut Outbox<Raft>) {
        let position = std::mem::replace(&mut self.position, Position::Follower);
        let role = match &position {
            Position::Follower => "a follower",
            Position::PreCandidate(_) | Position::Candidate(_) => "a candidate",
            Position::Leader(_) => "the leader",
        };
        if !matches!(position, Position::Follower) {
            out.trace(|| Event::allowed(&rules::STEP_DOWN).with("role", role).with("term", self.term).with("why", why));
        }
        if let Position::Leader(leadership) = position {
            out.cancel_timer(Timer::Heartbeat);
            out.cancel_timer(Timer::CheckQuorum);
            out.cancel_timer(Timer::Disk);
            out.cancel_timer(Timer::Transfer);
            self.set_election_timer(out);
            self.still_sending.extend(leadership.sending());
            self.fail_reads(leadership.reads, out);
        }
        self.set_leader(None, out);
    }

    /// Every T: a leader that a quorum no longer answers stops leading.
    pub(crate) fn check_quorum(&mut self, out: &mut Outbox<Raft>) {
        let me = self.me;
        let Position::Leader(leadership) = &mut self.position else {
            return self.drop_timer(Timer::CheckQuorum, "it does not lead", out);
        };
        let mut heard = std::mem::take(&mut leadership.heard);
        heard.insert(me);
        let satisfied = self.configurations.quorum().is_satisfied(|id| heard.contains(&id));
        let term = self.term;
        out.trace(|| {
            let event =
                if satisfied { Event::allowed(&rules::CHECK_QUORUM) } else { Event::refused(&rules::CHECK_QUORUM) };
            event.with("term", term).votes(heard)
        });
        if satisfied {
            self.set_exact_timer(Timer::CheckQuorum, self.config.election_timeout, out);
        } else {
            self.step_down("no quorum answers", out);
        }
    }

    /// Who leads changed: reads that waited for an answer of the old leader fail.
    pub(crate) fn set_leader(&mut self, leader: Option<NodeId>, out: &mut Outbox<Raft>) {
        if self.leader != leader {
            self.leader = leader;
            self.fail_asked_reads(out);
        }
    }

    /// The machine of the leader's process says that the process is gone, and with it its leadership: no need to wait out
    /// the timers, but for a heartbeat interval, in which a leader that lives is heard and restores them. Said again, it
    /// shortens nothing further, nor does it put off what is set.
    ///
    /// Where leases are on, hints shorten no promise: the wait gets short when stickiness ends by itself.
    pub(crate) fn leader_is_gone(&mut self, out: &mut Outbox<Raft>) {
        if self.keeps_leases() {
            if !std::mem::replace(&mut self.following.doubted, true) && !self.sticky {
                self.set_doubting_election_timer(out);
            }
            return;
        }
        self.following.heard_leader = false;
        if std::mem::replace(&mut self.following.doubted, true) {
            return;
        }
        if self.sticky {
            self.set_exact_timer(Timer::Stickiness, self.config.heartbeat_interval, out);
        }
        self.set_doubting_election_timer(out);
    }

    /// Not before the others, told the same at about the same time, listen to candidates again.
    fn set_doubting_election_timer(&self, out: &mut Outbox<Raft>) {
        let heartbeat = self.config.heartbeat_interval;
        let deference = self.deference(heartbeat);
        out.set_timer(Timer::Election, heartbeat + deference, heartbeat * 2 + deference);
    }

    /// The term that stickiness was about is over. A promise that a lease may rest on is not: whatever this node learns, it lasts
    /// its time, counted from the last thing heard.
    fn unstick(&mut self, out: &mut Outbox<Raft>) {
        if self.keeps_leases() {
            if self.following.heard_leader {
                self.set_exact_timer(Timer::Stickiness, self.config.election_timeout, out);
            }
        } else if self.sticky {
            self.sticky = false;
            out.cancel_timer(Timer::Stickiness);
        }
    }

    /// T to 2T, half of T later where somebody else should rather lead.
    pub(crate) fn set_election_timer(&self, out: &mut Outbox<Raft>) {
        let timeout = self.config.election_timeout;
        let deference = self.deference(timeout);
        out.set_timer(Timer::Election, timeout + deference, timeout * 2 + deference);
    }

    /// The first one of all: the only voter has nobody to wait for, unless it may have promised something to a leader outside its
    /// configuration of one.
    pub(crate) fn set_first_election_timer(&self, out: &mut Outbox<Raft>) {
        if self.configurations.quorum().is_sole_voter(self.me) && !self.is_bound() {
            self.set_exact_timer(Timer::Election, Duration::ZERO, out);
        } else {
            self.set_election_timer(out);
        }
    }

    pub(crate) fn set_exact_timer(&self, timer: Timer, after: Duration, out: &mut Outbox<Raft>) {
        out.set_timer(timer, after, after);
    }

    pub(crate) fn send_to_all(&mut self, message: &Message, out: &mut Outbox<Raft>) {
        for peer in self.configurations.in_force().others(self.me) {
            self.send(peer, message.clone(), out);
        }
    }

    fn own_log_end(&self) -> LogEnd {
        (self.log.last_term(), self.log.last())
    }
}

/// Why a candidate's log is not up to date, if it is not.
fn behind(candidate: LogEnd, own: LogEnd) -> Option<String> {
    (candidate < own)
        .then(|| format!("its log ends at {}, ours is newer and ends at {}", log_end(candidate), log_end(own)))
}
