//! Normal operation (section 4.1): a primary that orders, backups that follow.

use crate::entry::{Entries, Entry};
use crate::message::Message;
use crate::replica::{Stage, Timer, Viewstamped};
use crate::rules;
use crate::view::View;
use bytes::Bytes;
use quorate_protocol::{Event, LedReads, Outbox, ReadQueue, Refusal, Refused, RequestId};
use quorate_types::{NodeId, Slot};
use std::collections::{BTreeMap, VecDeque};

/// What a primary keeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leadership {
    /// Every other member.
    pub peers: BTreeMap<NodeId, Progress>,
    /// The log ended here when the view began; once that is committed, so is everything that any earlier primary committed.
    pub inherited: Slot,
    /// Counts up with every question whether this is still the view.
    pub round: u64,
    pub reads: ReadQueue,
    /// Who was left behind by this epoch and may not know, and for how many heartbeats more it is told.
    pub farewells: BTreeMap<NodeId, u32>,
}

/// What a primary knows of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    /// The next slot to send.
    pub next: Slot,
    /// Durable there, in this view, up to here.
    pub matched: Slot,
    /// The last slot of every prepare that is not answered.
    pub unanswered: VecDeque<Slot>,
    pub answered_round: u64,
    pub told_commit: Slot,
    pub told_round: u64,
    /// A sign of life is owed.
    pub due: bool,
    /// It answered since the last heartbeat.
    pub heard: bool,
    pub heard_before: bool,
    /// It answered in the last interval, and has everything that was in the log at its beginning.
    pub keeps_up: bool,
    pub matched_before: Slot,
    pub last_before: Slot,
    /// Nothing was heard of it for two intervals, and something waits for an answer: it gets signs of life, and entries again once it
    /// answers one.
    pub silent: bool,
}

/// What a backup keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Backup {
    /// An answer is owed to the primary.
    pub owes: bool,
    /// The latest round heard of.
    pub round: u64,
    pub answered_round: u64,
    /// Nothing was heard of the primary of its epoch's first view, which need not know yet that it leads.
    pub awaits_primary: bool,
    /// What is behind this slot was asked for, and not long ago.
    pub asked_behind: Option<Slot>,
}

impl Backup {
    /// It has just entered its view, and says so.
    pub fn entering() -> Backup {
        Backup { owes: true, ..Backup::default() }
    }
}

impl Progress {
    fn behind(last: Slot) -> Progress {
        Progress {
            next: last.next(),
            matched: Slot::ZERO,
            unanswered: VecDeque::new(),
            answered_round: 0,
            told_commit: Slot::ZERO,
            told_round: 0,
            due: true,
            heard: false,
            heard_before: false,
            keeps_up: false,
            matched_before: Slot::ZERO,
            last_before: last,
            silent: false,
        }
    }

    /// What it lacks begins here.
    pub fn go_back_to(&mut self, next: Slot) {
        self.next = next.max(self.matched.next());
        self.unanswered.clear();
        (self.due, self.silent) = (true, false);
    }

    /// It answered in this interval or the last one.
    pub fn is_active(&self) -> bool {
        self.heard || self.heard_before
    }

    /// Who is in the view has what it began with.
    fn interval_is_over(&mut self, inherited: Slot, last: Slot) {
        self.due = true;
        self.keeps_up = self.heard && self.matched >= self.last_before;
        if !self.unanswered.is_empty() && self.matched == self.matched_before {
            let next = self.matched.max(inherited).next();
            self.go_back_to(next);
            self.silent = !self.is_active();
        }
        (self.heard_before, self.heard) = (self.heard, false);
        (self.matched_before, self.last_before) = (self.matched, last);
    }
}

impl Leadership {
    pub fn begin(viewstamped: &Viewstamped) -> Leadership {
        let last = viewstamped.log.last();
        let others = viewstamped.configuration.members.others(viewstamped.me);
        let before = viewstamped.log.configuration_before(viewstamped.view.epoch);
        let left = |id: &NodeId| !viewstamped.configuration.members.contains(*id);
        let left_behind = before.into_iter().flat_map(|before| before.members.others(viewstamped.me)).filter(left);
        Leadership {
            peers: others.map(|id| (id, Progress::behind(last))).collect(),
            inherited: last,
            round: 0,
            reads: ReadQueue::default(),
            farewells: left_behind.map(|id| (id, viewstamped.config.farewell_heartbeats)).collect(),
        }
    }
}

impl Viewstamped {
    /// A reconfiguration is in the log and its epoch has not begun: nothing may follow it in this one.
    pub(crate) fn is_closing(&self) -> bool {
        self.log.newest_epoch() > self.view.epoch
    }

    pub(crate) fn propose(&mut self, request: RequestId, commands: Bytes, out: &mut Outbox<Viewstamped>) {
        let refusal = if !self.is_primary() {
            Some((Refusal::NotLeader { hint: self.primary() }, "it is not the primary"))
        } else if self.is_closing() {
            Some((Refusal::NotReady("the epoch is ending"), "a reconfiguration ends its epoch"))
        } else if self.undecided_bytes > self.config.undecided_bytes {
            Some((Refusal::Overloaded, "too much is undecided already"))
        } else {
            None
        };
        if let Some((refusal, why)) = refusal {
            out.trace(|| Event::refused(&rules::PROPOSE).with("why", why));
            return out.refuse(Refused::Request(request), refusal);
        }
        self.append(Entry::Commands(commands));
        let (slot, view) = (self.log.last(), self.view);
        out.trace(|| Event::allowed(&rules::PROPOSE).with("slot", slot).with("view", view.to_string()));
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        self.undecided_bytes += entry.bytes();
        self.log.push(entry);
    }

    pub(crate) fn become_primary(&mut self, out: &mut Outbox<Viewstamped>) {
        self.stage = Stage::Primary(Leadership::begin(self));
        self.leave_timers(out);
        let interval = self.config.heartbeat_interval;
        out.set_timer(Timer::Heartbeat, interval, interval);
        self.forget_paused_transfers();
    }

    pub(crate) fn become_backup(&mut self, out: &mut Outbox<Viewstamped>) {
        // Any later view began with a word of its primary; the founders begin the very first by themselves.
        let awaits_primary = self.view.number == 0 && self.view.epoch > 1;
        self.stage = Stage::Backup(Backup { awaits_primary, ..Backup::entering() });
        self.leave_timers(out);
        self.wait_for_primary(out);
        self.forget_paused_transfers();
    }

    /// Stops every timer of a stage that is over.
    pub(crate) fn leave_timers(&self, out: &mut Outbox<Viewstamped>) {
        for timer in [Timer::Primary, Timer::Heartbeat, Timer::Resend, Timer::Patience] {
            out.cancel_timer(timer);
        }
    }

    pub(crate) fn wait_for_primary(&self, out: &mut Outbox<Viewstamped>) {
        let timeout = self.config.view_timeout;
        out.set_timer(Timer::Primary, timeout, timeout * 2);
    }

    /// Something came from the primary of the view it names; says whether it is for this replica as it is now.
    pub(crate) fn recognise_primary(
        &mut self,
        from: NodeId,
        kind: &'static str,
        view: View,
        out: &mut Outbox<Viewstamped>,
    ) -> bool {
        if view < self.view || view.primary(&self.configuration.members) != Some(from) {
            self.drop_stale(kind, from, "it is not of the present view's primary", out);
            return false;
        }
        match &self.stage {
            Stage::Backup(_) if view == self.view => true,
            Stage::Leaving(_) | Stage::Primary(_) if view == self.view => {
                self.drop_stale(kind, from, "this replica follows nobody", out);
                false
            }
            _ => {
                self.catch_up(from, view, out);
                false
            }
        }
    }

    /// Entries and news of the primary (section 4.1, rule 2).
    pub(crate) fn prepare(
        &mut self,
        from: NodeId,
        first: Slot,
        entries: &Entries,
        (commit, everyone_has): (Slot, Slot),
        round: u64,
        out: &mut Outbox<Viewstamped>,
    ) {
        let before = self.log.last();
        let gap = first > before.next();
        if gap {
            let event = || Event::waiting(&rules::PREPARE).with("slot", first).with("last", before);
            out.trace(event);
            self.ask_for_what_is_missing(out);
        } else {
            self.take_new(first, entries);
        }
        let last = self.log.last();
        // That more is committed needs no answer; a sign of life does.
        let only_commit = entries.is_empty() && !gap && commit.min(last) > self.commit;
        if last > before {
            out.trace(|| Event::allowed(&rules::PREPARE).with("slot", last).with("primary", from));
        }
        if let Stage::Backup(backup) = &mut self.stage {
            backup.awaits_primary = false;
            backup.owes |= !only_commit || round > backup.round;
            backup.round = backup.round.max(round);
        }
        self.everyone_has = self.everyone_has.max(everyone_has.min(last));
        self.learn_commit(from, commit.min(last), out);
        self.wait_for_primary(out);
    }

    /// At a backup: asks for everything behind the end of its log, once until the answer is late. Each message that the primary has under way
    /// shows the same gap, and each answer brings all of it.
    pub(crate) fn ask_for_what_is_missing(&mut self, out: &mut Outbox<Viewstamped>) {
        let (primary, view, have) = (self.primary(), self.view, self.log.last());
        let Stage::Backup(backup) = &mut self.stage else { return };
        let Some(primary) = primary.filter(|_| backup.asked_behind != Some(have)) else { return };
        backup.asked_behind = Some(have);
        self.send(primary, Message::GetState { view, have, joins: false }, out);
        self.restart_resend(out);
    }

    /// In one view a slot has one content: what is here already stays.
    pub(crate) fn take_new(&mut self, first: Slot, entries: &Entries) {
        let known = self.log.last().next().0.saturating_sub(first.0);
        for entry in entries.iter().skip(usize::try_from(known).unwrap_or(usize::MAX)) {
            self.append(entry.clone());
        }
    }

    /// At a backup: says how far this log is durable. A round is answered at once, as a sign of life must not wait for a disk,
    /// and what is still being written once it is.
    pub(crate) fn answer_primary(&mut self, out: &mut Outbox<Viewstamped>) {
        let Some(primary) = self.primary() else { return };
        let (view, durable, last) = (self.view, self.disk.durable.min(self.log.last()), self.log.last());
        let of_view = self.disk.ticket_for_view();
        let of_log = self.disk.ticket_for_log(last).max(of_view);
        let Stage::Backup(backup) = &mut self.stage else { return };
        if !backup.owes {
            return;
        }
        backup.owes = false;
        let round = backup.round;
        if durable == last || round > backup.answered_round {
            backup.answered_round = round;
            out.send_after(of_view, primary, Message::PrepareOk { view, through: durable, round });
        }
        if durable < last {
            out.send_after(of_log, primary, Message::PrepareOk { view, through: last, round });
        }
    }

    pub(crate) fn prepare_ok(
        &mut self,
        from: NodeId,
        view: View,
        through: Slot,
        round: u64,
        out: &mut Outbox<Viewstamped>,
    ) {
        let (present, last) = (self.view, self.log.last());
        let progress = match &mut self.stage {
            Stage::Primary(leadership) if view == present => {
                leadership.peers.get_mut(&from).map(|progress| (progress, leadership.round))
            }
            _ => None,
        };
        let Some((progress, began)) = progress else {
            return self.drop_stale("prepare-ok", from, "it is not for this view's primary", out);
        };
        (progress.heard, progress.silent) = (true, false);
        progress.matched = progress.matched.max(through.min(last));
        progress.answered_round = progress.answered_round.max(round.min(began));
        let matched = progress.matched;
        progress.unanswered.retain(|sent| *sent > matched);
        progress.next = progress.next.max(matched.next());
        self.release_reads(out);
    }

    /// At the primary: everything is committed that q + 1 voters have durably, itself counted once its own write is (rule 3).
    pub(crate) fn advance_commit(&mut self, out: &mut Outbox<Viewstamped>) {
        let Stage::Primary(leadership) = &self.stage else { return };
        let (me, durable) = (self.me, self.disk.durable);
        let has = |id: NodeId| match leadership.peers.get(&id) {
            Some(progress) => progress.matched,
            None if id == me => durable,
            None => Slot::ZERO,
        };
        let quorum = self.configuration.quorum();
        let agreed = Slot(quorum.agreed_value(|id| has(id).0)).min(self.log.last());
        let everyone = self.configuration.members.members().iter().map(|member| has(member.id)).min();
        self.everyone_has = self.everyone_has.max(everyone.unwrap_or_default());
        if agreed > self.commit {
            let votes: Vec<NodeId> = quorum.voters().filter(|id| has(*id) >= agreed).collect();
            self.commit = agreed;
            out.trace(|| Event::allowed(&rules::COMMIT).with("slot", agreed).votes(votes));
        } else if self.log.last() > self.commit {
            let slot = self.commit.next();
            let votes: Vec<NodeId> = quorum.voters().filter(|id| has(*id) >= slot).collect();
            out.trace(|| Event::waiting(&rules::COMMIT).with("slot", slot).votes(votes));
        }
    }

    /// At the primary: one prepare for everybody who lacks something, or news, or has not heard for an interval.
    pub(crate) fn replicate(&mut self, out: &mut Outbox<Viewstamped>) {
        let (view, commit, everyone_has) = (self.view, self.commit, self.everyone_has);
        let (base, last, after) = (self.log.base(), self.log.last(), self.disk.ticket_for_view());
        let mut compacted = Vec::new();
        let Stage::Primary(leadership) = &mut self.stage else { return };
        let round = leadership.round;
        for (peer, progress) in &mut leadership.peers {
            let lacks = progress.next <= last && !progress.silent;
            if lacks && progress.next <= base {
                compacted.push(*peer);
            }
            let sends = lacks && progress.next > base && progress.unanswered.len() < self.config.window_messages;
            let news = progress.due || progress.told_commit < commit || progress.told_round < round;
            if !sends && !news {
                continue;
            }
            let first = progress.next;
            let entries = match sends {
                true => self.log.take_from(first, self.config.prepare_entries, self.config.prepare_bytes),
                false => Entries::default(),
            };
            if !entries.is_empty() {
                progress.next = Slot(first.0 + entries.len() as u64);
                progress.unanswered.push_back(progress.next.previous());
            }
            (progress.due, progress.told_commit, progress.told_round) = (false, commit, round);
            out.send_after(after, *peer, Message::Prepare { view, first, entries, commit, everyone_has, round });
        }
        for peer in compacted {
            self.want_snapshot(peer, out);
        }
    }

    /// An interval is over at the primary.
    pub(crate) fn heartbeat(&mut self, out: &mut Outbox<Viewstamped>) {
        let last = self.log.last();
        let Stage::Primary(leadership) = &mut self.stage else {
            return self.drop_timer(Timer::Heartbeat, "it is not the primary", out);
        };
        let inherited = leadership.inherited;
        leadership.peers.values_mut().for_each(|progress| progress.interval_is_over(inherited, last));
        let interval = self.config.heartbeat_interval;
        out.set_timer(Timer::Heartbeat, interval, interval);
        self.count_down_transfers();
        self.bid_farewell(out);
        self.promote(out);
    }
}
