//! The follower's side: taking appends (Raft §5.3).

use crate::entry::{Entries, Payload};
use crate::log::Log;
use crate::message::{Append, AppendOutcome, Message};
use crate::replica::{Raft, Timer};
use crate::rules;
use quorate_protocol::{Event, MembersChange, Outbox, Violation};
use quorate_types::{NodeId, Slot};

/// What a follower owes and has done in its term.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Following {
    /// A leader was heard since the last settle, which will restart the timers.
    pub heard_leader: bool,
    /// Its process was said to be gone and nothing was heard of it since: the timers are short.
    pub doubted: bool,
    /// Entries came since the last settle, which will answer.
    pub answer_due: Option<AnswerDue>,
    /// The last entries that came, if all of them are new: at settle the journal's record shares them.
    pub received: Option<(Slot, Entries)>,
    /// The greatest round answered in this term.
    pub answered_round: u64,
}

/// An acceptance that leaves at settle, for it may wait for a write that starts there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AnswerDue {
    pub(crate) to: NodeId,
    pub(crate) matched: Slot,
    pub(crate) round: u64,
}

impl Following {
    /// The term is over: nobody waits for what is owed in it.
    pub fn forget_leader(&mut self) {
        *self = Following::default();
    }
}

impl Raft {
    pub(crate) fn answer_stale_leader(&mut self, from: NodeId, out: &mut Outbox<Raft>) {
        self.drop_stale("append", from, "it is of an earlier term; it is told ours", out);
        self.send(from, Message::AppendResponse { term: self.term, outcome: AppendOutcome::StaleTerm }, out);
    }

    /// Whether `from`, who sends an append of our term, is its leader.
    pub(crate) fn recognise_leader(&mut self, from: NodeId, out: &mut Outbox<Raft>) -> bool {
        if let Some(leader) = self.leader.filter(|leader| *leader != from) {
            out.trace(|| {
                Event::refused(&rules::FOLLOW).with("from", from).with("leader", leader).with("term", self.term)
            });
            return false;
        }
        if self.leader.is_none() {
            self.step_down("another node leads the term", out);
            self.set_leader(Some(from), out);
            out.trace(|| Event::allowed(&rules::FOLLOW).with("leader", from).with("term", self.term));
            self.priorities.leads(from);
            self.tell_priority(out);
        }
        self.sticky = true;
        self.following.heard_leader = true;
        self.following.doubted = false;
        true
    }

    pub(crate) fn take_append(&mut self, from: NodeId, append: Append, out: &mut Outbox<Raft>) {
        let Append { prev_slot, prev_term, commit, everyone_has, round, .. } = append;
        let Some(matched) = end_of(&append) else {
            return self.drop_stale("append", from, "its terms or slots make no sense", out);
        };
        // Everything up to the base is decided: it matches without a look.
        if prev_slot >= self.log.base() && self.log.term_at(prev_slot) != Some(prev_term) {
            return self.reject_append(from, &append, out);
        }
        let has_entries = !append.entries.is_empty();
        let count = append.entries.len() as u64;
        self.following.received = None;
        let Some(added) = self.take_entries(from, prev_slot, &append.entries, out) else { return };
        let all_new = has_entries && added == count;
        self.following.received = all_new.then_some((prev_slot.next(), append.entries));
        out.trace(|| {
            let event = Event::allowed(&rules::APPEND).with("leader", from).with("matched", matched);
            event.with("entries", count).with("prev_slot", prev_slot).with("added", added)
        });
        self.learn_commit(from, commit.min(matched), out);
        // Not past what this append proves to be the leader's log too.
        self.everyone_has = self.everyone_has.max(everyone_has.min(matched));
        // A round is answered at once, for a sign of life must not wait for a disk. An append without entries that repeats
        // an answered round only brings news of commits.
        let wanted_at_once = round > self.following.answered_round && (!has_entries || matched > self.disk.durable);
        if wanted_at_once {
            self.following.answered_round = round;
            let matched = matched.min(self.disk.durable);
            let outcome = AppendOutcome::Accepted { matched, round };
            self.send(from, Message::AppendResponse { term: self.term, outcome }, out);
        }
        if has_entries {
            let owed = self.following.answer_due.unwrap_or(AnswerDue { to: from, matched, round });
            self.following.answer_due =
                Some(AnswerDue { to: from, matched: owed.matched.max(matched), round: owed.round.max(round) });
        }
    }

    /// Appends what is new and drops what conflicts; says how many were new. `None` if it would have to drop what is
    /// committed, which no correct leader causes.
    fn take_entries(
        &mut self,
        leader: NodeId,
        prev_slot: Slot,
        entries: &Entries,
        out: &mut Outbox<Raft>,
    ) -> Option<u64> {
        let mut slot = prev_slot;
        let mut added = 0;
        for entry in entries.iter() {
            slot = slot.next();
            if slot <= self.log.base() {
                continue;
            }
            match self.log.term_at(slot) {
                Some(term) if term == entry.term => continue,
                Some(_) if slot <= self.commit => {
                    self.refuse_truncation(leader, slot, entry.term, out);
                    return None;
                }
                Some(own_term) => self.truncate_log(leader, slot, (own_term, entry.term), out),
                None => {}
            }
            if let Payload::Members(configuration) = &entry.payload {
                self.enter_configuration(slot, (**configuration).clone(), out);
            }
            self.log.push(entry.clone());
            added += 1;
        }
        Some(added)
    }

    fn truncate_log(&mut self, leader: NodeId, from: Slot, (own_term, term): (u64, u64), out: &mut Outbox<Raft>) {
        let last_slot = self.log.last();
        out.trace(|| {
            let event = Event::allowed(&rules::TRUNCATE).with("leader", leader).with("from_slot", from);
            event.with("last_slot", last_slot).with("own_term", own_term).with("term", term)
        });
        self.log.truncate(from);
        self.disk.truncate(from);
        if self.configurations.truncate(from) {
            self.tell_members(MembersChange::RolledBack, out);
        }
    }

    fn refuse_truncation(&mut self, leader: NodeId, slot: Slot, term: u64, out: &mut Outbox<Raft>) {
        out.trace(|| {
            Event::refused(&rules::TRUNCATE).with("leader", leader).with("from_slot", slot).with("term", term)
        });
        let detail = format!("{leader} has term {term} at slot {slot}, which {} knows committed with another", self.me);
        self.broken.get_or_insert(Violation { invariant: "NoTruncateBelowCommit", detail });
    }

    /// Not below what is committed, where the logs meet for certain.
    fn reject_append(&mut self, from: NodeId, append: &Append, out: &mut Outbox<Raft>) {
        let Append { prev_slot, prev_term, round, .. } = *append;
        let hint_slot = self.hint(prev_slot, prev_term);
        let hint_term = self.log.term_at(hint_slot).unwrap_or(0);
        let own_term = self.log.term_at(prev_slot);
        out.trace(|| {
            let why = match own_term {
                Some(term) => format!("that slot is of term {term} here"),
                None => format!("its log ends at slot {}", self.log.last()),
            };
            Event::refused(&rules::APPEND)
                .with("leader", from)
                .with("prev_slot", prev_slot)
                .with("prev_term", prev_term)
                .with("why", why)
                .with("hint_slot", hint_slot)
                .with("hint_term", hint_term)
        });
        self.following.answered_round = self.following.answered_round.max(round);
        let outcome = AppendOutcome::Rejected { prev_slot, hint_slot, hint_term, round };
        self.send(from, Message::AppendResponse { term: self.term, outcome }, out);
    }

    /// The greatest slot at which the logs may still meet: skips every term of ours that the leader's entry in `prev_slot`
    /// rules out.
    fn hint(&self, prev_slot: Slot, prev_term: u64) -> Slot {
        let log: &Log = &self.log;
        let meeting = log.last_of_term_at_most(prev_slot.min(log.last()), prev_term);
        meeting.unwrap_or(log.base()).max(self.commit)
    }

    pub(crate) fn answer_leader(&mut self, out: &mut Outbox<Raft>) {
        let Some(AnswerDue { to, matched, round }) = self.following.answer_due.take() else { return };
        self.following.answered_round = self.following.answered_round.max(round);
        let after = self.save_vote(out).max(self.disk.ticket_for_log(matched));
        let outcome = AppendOutcome::Accepted { matched, round };
        out.send_after(after, to, Message::AppendResponse { term: self.term, outcome });
    }

    /// Restarts the timers that a living leader restarts, once per batch.
    pub(crate) fn watch_leader(&mut self, out: &mut Outbox<Raft>) {
        if std::mem::take(&mut self.following.heard_leader) {
            self.set_election_timer(out);
            self.set_exact_timer(Timer::Stickiness, self.config.election_timeout, out);
        }
    }
}

/// The last slot an append speaks of, if its slots can be and its terms ascend up to its own.
fn end_of(append: &Append) -> Option<Slot> {
    let mut term = append.prev_term;
    for entry in append.entries.iter() {
        if entry.term < term {
            return None;
        }
        term = entry.term;
    }
    let end = append.prev_slot.0.checked_add(append.entries.len() as u64)?;
    (term <= append.term && end < u64::MAX).then_some(Slot(end))
}
