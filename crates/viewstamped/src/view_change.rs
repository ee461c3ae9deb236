//! View changes (section 4.2).
//!
//! A replica that hears nothing of its primary leaves its view, durably, and says so to all; when q others say the same, it
//! offers its log to the primary of the new view; that one takes the log of the last normal view, the longest of them, and
//! begins.
//!
//! A replica that is alone with its wish stays where it is and repeats it, instead of counting views up: when it is heard
//! again, the others go one view on and not a hundred.

use crate::entry::Entries;
use crate::message::Message;
use crate::replica::{Stage, Timer, Viewstamped};
use crate::rules;
use crate::state_transfer::Asking;
use crate::view::View;
use quorate_protocol::{Event, LedReads, Outbox, Violation};
use quorate_types::{NodeId, Slot};
use std::collections::BTreeMap;

/// Patience grows by itself whenever every voter has had its turn in vain, up to so many times. Not further: when the faults are
/// over, the wait for a primary that is gone for good, and for one behind it that is gone too, must stay short.
const PATIENCES_MOST: u32 = 3;

/// What a replica keeps while it is between views.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Change {
    /// Others that left every view before this one, and what they know committed.
    pub heard: BTreeMap<NodeId, Slot>,
    /// What others offered, at the primary of the view.
    pub offers: BTreeMap<NodeId, Offer>,
    /// How many views were given up before this one.
    pub given_up: u32,
    /// The view has begun without this replica, or a later epoch has: it asks for what it lacks.
    pub asking: Option<Asking>,
}

/// All that a replica has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Offer {
    pub last_normal: View,
    pub last: Slot,
    pub commit: Slot,
    pub first: Slot,
    pub entries: Entries,
}

impl Offer {
    fn is_whole(&self) -> bool {
        let through = self.first.previous().0.checked_add(self.entries.len() as u64);
        self.first > Slot::ZERO && through == Some(self.last.0) && self.commit <= self.last
    }
}

impl Viewstamped {
    /// Leaves the present view for that one of the same epoch, durably.
    pub(crate) fn leave_view(&mut self, view: View, given_up: u32, out: &mut Outbox<Viewstamped>) {
        self.leave_stage(out);
        self.write_change(view, out);
        self.stage = Stage::Changing(Change { given_up, ..Change::default() });
        out.trace(|| Event::allowed(&rules::VIEW_CHANGE).with("view", view.to_string()));
        self.say_view_change(out);
        self.set_patience(out);
    }

    /// What a stage owes to those who wait when it ends.
    pub(crate) fn leave_stage(&mut self, out: &mut Outbox<Viewstamped>) {
        self.leave_timers(out);
        self.fail_asked_reads(out);
        if let Stage::Primary(leadership) = &mut self.stage {
            let reads = std::mem::take(&mut leadership.reads);
            self.fail_reads(reads, out);
        }
        self.forget_paused_transfers();
    }

    /// (Re)starts the timers of a replica that is between views.
    pub(crate) fn set_patience(&self, out: &mut Outbox<Viewstamped>) {
        if matches!(self.stage, Stage::Changing(_)) {
            self.restart_resend(out);
            self.restart_patience(out);
        }
    }

    pub(crate) fn restart_patience(&self, out: &mut Outbox<Viewstamped>) {
        let Stage::Changing(change) = &self.stage else { return };
        let voters = u32::try_from(self.configuration.members.voters().count()).unwrap_or(u32::MAX);
        let turns = change.given_up / voters.max(1);
        let patience = self.config.view_timeout * turns.saturating_add(1).min(PATIENCES_MOST);
        out.set_timer(Timer::Patience, patience, patience * 2);
    }

    /// Nothing was heard of the primary for long (rule 5).
    pub(crate) fn primary_is_silent(&mut self, out: &mut Outbox<Viewstamped>) {
        match &self.stage {
            Stage::Backup(_) if self.votes() => self.leave_view(self.view.next(), 0, out),
            Stage::Backup(_) => self.drop_timer(Timer::Primary, "who does not vote changes no view", out),
            _ => self.drop_timer(Timer::Primary, "it follows nobody", out),
        }
    }

    /// The view that it is going to did not begin in time (rule 9).
    pub(crate) fn patience_is_over(&mut self, out: &mut Outbox<Viewstamped>) {
        let Stage::Changing(change) = &self.stage else {
            return self.drop_timer(Timer::Patience, "it is not between views", out);
        };
        let (view, given_up) = (self.view, change.given_up);
        let supported = change.asking.is_some() || self.is_supported();
        // From a later epoch too it turns back: those that began it may be gone, and what ended this one may have to be
        // committed once more.
        if supported && self.votes() {
            return self.leave_view(view.next(), given_up.saturating_add(1), out);
        }
        out.trace(|| Event::waiting(&rules::VIEW_CHANGE).with("view", view.to_string()));
        self.set_patience(out);
    }

    /// What was said and may be lost is said again.
    pub(crate) fn resend(&mut self, out: &mut Outbox<Viewstamped>) {
        let interval = self.config.heartbeat_interval * 2;
        match &mut self.stage {
            Stage::Changing(change) if change.asking.is_some() => self.ask_again(out),
            Stage::Changing(_) => {
                self.say_view_change(out);
                self.offer(out);
            }
            Stage::Leaving(_) => self.tell_epoch_again(out),
            Stage::Backup(backup) if backup.asked_behind.is_some() => {
                if backup.asked_behind.take() == Some(self.log.last()) {
                    self.ask_for_what_is_missing(out);
                }
                return;
            }
            Stage::Primary(_) | Stage::Backup(_) => {
                return self.drop_timer(Timer::Resend, "nothing waits for an answer", out);
            }
        }
        out.set_timer(Timer::Resend, interval, interval);
    }

    fn say_view_change(&self, out: &mut Outbox<Viewstamped>) {
        if !self.votes() {
            return;
        }
        for voter in self.configuration.members.voters().filter(|id| *id != self.me) {
            self.send(voter, Message::StartViewChange { view: self.view, commit: self.commit }, out);
        }
    }

    /// Somebody left its view (rule 5).
    pub(crate) fn start_view_change(&mut self, from: NodeId, view: View, commit: Slot, out: &mut Outbox<Viewstamped>) {
        if self.joins_change(from, view, "start-view-change", out) {
            self.hear(from, commit, out);
        }
    }

    /// Whether this replica takes part in the change to that view; it leaves an earlier one for it.
    fn joins_change(&mut self, from: NodeId, view: View, kind: &'static str, out: &mut Outbox<Viewstamped>) -> bool {
        let counts = self.votes() && self.configuration.members.is_voter(from);
        if !counts || view < self.view || matches!(self.stage, Stage::Leaving(_)) {
            self.drop_stale(kind, from, "it changes no view here", out);
            return false;
        }
        if view > self.view {
            self.leave_view(view, 0, out);
        }
        true
    }

    fn hear(&mut self, from: NodeId, commit: Slot, out: &mut Outbox<Viewstamped>) {
        let supported = self.is_supported();
        let Stage::Changing(change) = &mut self.stage else {
            return self.drop_stale("start-view-change", from, "the view has begun here", out);
        };
        let known = change.heard.insert(from, commit);
        if !supported && self.is_supported() {
            // Only now can its primary begin it, and it has the whole of the time for that.
            self.restart_patience(out);
        }
        // With news of what the new primary has, the offer may hold what it lacks.
        if known.is_none_or(|known| known < commit) {
            self.offer(out);
        }
    }

    /// Whether q others go to this view too.
    fn is_supported(&self) -> bool {
        let Stage::Changing(change) = &self.stage else { return false };
        self.configuration.quorum().is_satisfied(|id| id == self.me || change.heard.contains_key(&id))
    }

    /// When q others go to this view too, its primary gets all that this replica has (rule 6).
    fn offer(&mut self, out: &mut Outbox<Viewstamped>) {
        let Stage::Changing(change) = &self.stage else { return };
        let Some(primary) = self.view.primary(&self.configuration.members).filter(|primary| *primary != self.me) else {
            return;
        };
        if change.asking.is_some() || !self.is_supported() {
            return;
        }
        let known_there = change.heard.get(&primary).copied().unwrap_or(self.commit).min(self.commit);
        if known_there < self.log.base() {
            return self.want_snapshot(primary, out);
        }
        let heavy = self.log.bytes_behind(known_there) > self.config.state_bytes;
        let after = if heavy { self.commit.max(self.log.base()) } else { known_there };
        if heavy && known_there < self.commit {
            self.want_snapshot(primary, out);
        }
        let (last_normal, last, commit) = (self.last_normal, self.log.last(), self.commit);
        out.trace(|| {
            let event = Event::allowed(&rules::OFFER).with("primary", primary).with("view", self.view.to_string());
            event.with("last", last).with("last_normal", last_normal.to_string())
        });
        let (view, first, entries) = (self.view, after.next(), self.log.between(after, last));
        // Not before everything in it is durable: the new primary may be the only one left that has it.
        let ticket = self.disk.ticket_for_view().max(self.disk.ticket_for_log(last));
        let message = Message::DoViewChange { view, last_normal, last, commit, first, entries };
        out.send_after(ticket, primary, message);
    }

    /// Somebody's offer, at the primary of the view.
    pub(crate) fn do_view_change(&mut self, from: NodeId, view: View, offer: Offer, out: &mut Outbox<Viewstamped>) {
        if !offer.is_whole() || offer.last_normal >= view {
            return self.drop_stale("do-view-change", from, "it contradicts itself", out);
        }
        if !self.joins_change(from, view, "do-view-change", out) {
            return;
        }
        let commit = offer.commit;
        let leads = self.view.primary(&self.configuration.members) == Some(self.me);
        match &mut self.stage {
            Stage::Changing(change) => {
                if leads {
                    change.offers.insert(from, offer);
                }
                self.hear(from, commit, out);
            }
            Stage::Primary(_) => self.say_view_began(from, commit, out),
            Stage::Backup(_) | Stage::Leaving(_) => {
                self.drop_stale("do-view-change", from, "the view has begun here", out);
            }
        }
    }

    /// At the primary of the view: with the offers of q others and its own, which counts once its view is durable, it begins
    /// with the longest log of the latest normal view (rule 7).
    pub(crate) fn start_view_if_possible(&mut self, out: &mut Outbox<Viewstamped>) {
        let Stage::Changing(change) = &self.stage else { return };
        let leads = self.view.primary(&self.configuration.members) == Some(self.me);
        if !leads || change.asking.is_some() || !self.is_supported() || !self.disk.pending.is_empty() {
            return;
        }
        let offered = |id: NodeId| id == self.me || change.offers.contains_key(&id);
        let quorum = self.configuration.quorum();
        let votes: Vec<NodeId> = quorum.voters().filter(|id| offered(*id)).collect();
        if !quorum.is_satisfied(offered) {
            let view = self.view.to_string();
            return out.trace(|| Event::waiting(&rules::NEW_VIEW).with("view", view).votes(votes));
        }
        let own = (self.last_normal, self.log.last());
        let best = change.offers.iter().max_by_key(|(_, offer)| (offer.last_normal, offer.last));
        let best = best.filter(|(_, offer)| (offer.last_normal, offer.last) > own);
        let commit = change.offers.values().map(|offer| offer.commit).chain([self.commit]).max();
        let commit = commit.unwrap_or(self.commit);
        let least = change.offers.values().map(|offer| offer.commit).chain([self.commit]).min().unwrap_or(self.commit);
        let keep = self.commit.max(self.log.base());
        let (first, entries) = match best {
            None => (self.log.last().next(), Entries::default()),
            Some((from, offer)) if offer.first > keep.next() => {
                let (from, slot) = (*from, offer.first.previous());
                return out.trace(|| Event::refused(&rules::NEW_VIEW).with("from", from).with("slot", slot));
            }
            Some((_, offer)) => (keep.next(), tail(&offer.entries, offer.first, keep.next())),
        };
        let last = Slot(first.previous().0 + entries.len() as u64);
        if last < commit {
            self.broken = Some(Violation {
                invariant: "CommittedIsOffered",
                detail: format!("slot {commit} is committed and the best log offered ends at {last}"),
            });
            return;
        }
        let view = self.view;
        out.trace(|| {
            let event = Event::allowed(&rules::NEW_VIEW).with("view", view.to_string()).with("last", last);
            event.votes(votes)
        });
        self.write_entered(view, first, &entries, out);
        self.undecided_bytes = self.log.bytes_behind(self.decided);
        self.commit = commit;
        self.become_primary(out);
        let others: Vec<NodeId> = self.configuration.members.others(self.me).collect();
        for other in others {
            self.say_view_began(other, least, out);
        }
    }

    /// The view has begun with this log; whoever knows everything up to `known` committed needs only what is behind.
    fn say_view_began(&self, to: NodeId, known: Slot, out: &mut Outbox<Viewstamped>) {
        let heavy = self.log.bytes_behind(known) > self.config.state_bytes;
        let after = if heavy { self.commit } else { known }.max(self.log.base()).min(self.commit);
        // What is newer than what was handed to the disk follows in prepares.
        let last = self.disk.written;
        let (first, entries) = (after.next(), self.log.between(after, last));
        let ticket = self.disk.ticket_for_view().max(self.disk.ticket_for_log(last));
        out.send_after(ticket, to, Message::StartView { view: self.view, commit: self.commit, first, entries });
    }

    /// The view has begun (rule 8).
    pub(crate) fn start_view(
        &mut self,
        from: NodeId,
        view: View,
        commit: Slot,
        first: Slot,
        entries: &Entries,
        out: &mut Outbox<Viewstamped>,
    ) {
        let is_primary = view.primary(&self.configuration.members) == Some(from);
        let takes = view > self.view || (view == self.view && matches!(self.stage, Stage::Changing(_)));
        let last = first.previous().0.checked_add(entries.len() as u64).map(Slot);
        let sense = first > Slot::ZERO && last.is_some_and(|last| last >= commit);
        if !is_primary || !takes || !sense || matches!(self.stage, Stage::Leaving(_)) {
            return self.drop_stale("start-view", from, "that view has begun here, or is over", out);
        }
        if first > self.commit.next() || last.is_some_and(|last| last < self.commit) {
            return self.catch_up(from, view, out);
        }
        self.adopt(view, commit, first, entries, out);
    }

    /// The log of a view that is normal elsewhere: what is committed here stays, the rest is as it is there, in one write.
    pub(crate) fn adopt(
        &mut self,
        view: View,
        commit: Slot,
        first: Slot,
        entries: &Entries,
        out: &mut Outbox<Viewstamped>,
    ) {
        self.leave_stage(out);
        let keep = self.commit.max(self.log.base());
        let entries = tail(entries, first, keep.next());
        self.write_entered(view, keep.next(), &entries, out);
        self.undecided_bytes = self.log.bytes_behind(self.decided);
        let last = self.log.last();
        out.trace(|| Event::allowed(&rules::ENTER).with("view", view.to_string()).with("last", last));
        self.commit = self.commit.max(commit.min(last));
        self.become_backup(out);
    }

    /// The view is durable: what waited for that can be looked at, which `settle` does.
    pub(crate) fn view_is_durable(&mut self, out: &mut Outbox<Viewstamped>) {
        let view = self.view;
        out.trace(|| Event::allowed(&rules::VIEW_DURABLE).with("view", view.to_string()));
    }
}

/// Those of these entries, the first of them in `first`, that are in `from` or behind.
pub(crate) fn tail(entries: &Entries, first: Slot, from: Slot) -> Entries {
    match usize::try_from(from.0.saturating_sub(first.0)).unwrap_or(usize::MAX) {
        0 => entries.clone(),
        skip => Entries::from(entries.get(skip..).unwrap_or_default().to_vec()),
    }
}
