//! State transfer (section 4.3), without its published defect.
//!
//! A replica that missed entries of its own view asks for them and appends what is new. One that missed a view keeps its log
//! untouched until it has the whole of what replaces it, from its own commit mark to the end: then view and log change in one
//! durable write. The paper lets it cut its log first; a replica that crashes, or changes views again, in between offers a short
//! log under a high view and wins with it.

use crate::entry::Entries;
use crate::message::Message;
use crate::replica::{Stage, Timer, Viewstamped};
use crate::rules;
use crate::view::{Configuration, View};
use crate::view_change::Change;
use quorate_protocol::{Event, Outbox};
use quorate_types::{NodeId, Slot};

/// What a replica asks for that a view or an epoch has left behind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asking {
    /// It has begun. Of an epoch between this replica's and that one the log is of use too.
    pub view: View,
    /// Who is asked.
    pub source: NodeId,
    /// Who else may know.
    pub others: Vec<NodeId>,
}

impl Asking {
    /// One more that may be asked.
    pub fn may_know(&mut self, id: NodeId) {
        if id != self.source && !self.others.contains(&id) {
            self.others.push(id);
        }
    }
}

/// A log as it is in a view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub view: View,
    pub asked: View,
    pub commit: Slot,
    pub first: Slot,
    pub entries: Entries,
    pub last: Slot,
}

impl State {
    fn makes_sense(&self) -> bool {
        let through = self.first.previous().0.checked_add(self.entries.len() as u64);
        self.first > Slot::ZERO && self.commit <= self.last && through.is_some_and(|through| through <= self.last.0)
    }

    fn is_whole(&self) -> bool {
        self.first.previous().0 + self.entries.len() as u64 == self.last.0
    }
}

impl Viewstamped {
    /// A view of this epoch has begun without this replica (rule 11).
    pub(crate) fn catch_up(&mut self, source: NodeId, view: View, out: &mut Outbox<Viewstamped>) {
        if let Stage::Changing(change) = &mut self.stage
            && let Some(asking) = change.asking.as_ref().filter(|asking| asking.view >= view)
        {
            if asking.view == view && view.primary(&self.configuration.members) == Some(source) {
                // The view is alive: it is not for one that lags behind, and may need a long time for a snapshot, to end it.
                self.restart_patience(out);
            }
            return;
        }
        self.leave_stage(out);
        if view > self.view {
            self.write_change(view, out);
        }
        self.begin_asking(source, view, out);
    }

    /// Goes on asking until somebody gives a log of that view or a later one.
    pub(crate) fn begin_asking(&mut self, source: NodeId, view: View, out: &mut Outbox<Viewstamped>) {
        let (heard, given_up) = match &mut self.stage {
            Stage::Changing(change) if self.view == view => (std::mem::take(&mut change.heard), change.given_up),
            _ => Default::default(),
        };
        let others = self.configuration.members.others(self.me).filter(|id| *id != source).collect();
        let asking = Some(Asking { view, source, others });
        self.stage = Stage::Changing(Change { heard, given_up, asking, ..Change::default() });
        self.ask(out);
        self.set_patience(out);
    }

    fn ask(&self, out: &mut Outbox<Viewstamped>) {
        let Stage::Changing(Change { asking: Some(asking), .. }) = &self.stage else { return };
        let (view, source, have) = (asking.view, asking.source, self.commit.max(self.log.base()));
        out.trace(|| {
            let event = Event::allowed(&rules::GET_STATE).with("view", view.to_string());
            event.with("source", source).with("slot", have)
        });
        // It claims nothing, so it waits for nothing.
        out.send(source, Message::GetState { view, have, joins: view.epoch > self.view.epoch });
    }

    /// Whoever was asked did not answer: the next one that may know.
    pub(crate) fn ask_again(&mut self, out: &mut Outbox<Viewstamped>) {
        if let Stage::Changing(Change { asking: Some(asking), .. }) = &mut self.stage
            && !asking.others.is_empty()
        {
            let next = asking.others.remove(0);
            asking.others.push(std::mem::replace(&mut asking.source, next));
        }
        self.ask(out);
    }

    /// Somebody asks for what it lacks: only a normal replica knows the log of its view. To a replica that promised nothing in
    /// this epoch, what is committed will do, whoever says it.
    pub(crate) fn get_state(
        &mut self,
        from: NodeId,
        asked: View,
        have: Slot,
        joins: bool,
        out: &mut Outbox<Viewstamped>,
    ) {
        let (view, last) = match &self.stage {
            Stage::Primary(_) | Stage::Backup(_) if asked <= self.view || asked.epoch > self.view.epoch => {
                (self.view, self.log.last())
            }
            Stage::Leaving(_) | Stage::Changing(_) if joins => (View::first_of(self.view.epoch), self.commit),
            _ => return self.drop_stale("get-state", from, "the log of that view is not known here", out),
        };
        if have < self.log.base() {
            return self.want_snapshot(from, out);
        }
        let heavy = self.log.bytes_behind(have) > self.config.state_bytes.saturating_add(self.undecided_bytes);
        if heavy && have < self.decided {
            return self.want_snapshot(from, out);
        }
        let first = have.next();
        if first > last.next() {
            return self.drop_stale("get-state", from, "it has more than there is here", out);
        }
        if let Stage::Primary(leadership) = &mut self.stage
            && let Some(progress) = leadership.peers.get_mut(&from)
        {
            progress.go_back_to(last.next());
        }
        out.trace(|| Event::allowed(&rules::GIVE_STATE).with("peer", from).with("slot", first).with("last", last));
        let entries = self.log.between(have, last);
        let commit = self.commit.min(last);
        self.send(from, Message::NewState { view, asked, commit, first, entries, last }, out);
    }

    /// What was asked for.
    pub(crate) fn new_state(&mut self, from: NodeId, state: &State, out: &mut Outbox<Viewstamped>) {
        if !state.makes_sense() {
            return self.drop_stale("new-state", from, "it contradicts itself", out);
        }
        match &self.stage {
            Stage::Backup(_) if state.view == self.view && state.asked == self.view => {
                self.append_state(from, state, out);
            }
            Stage::Changing(Change { asking: Some(asking), .. })
                if asking.view == state.asked
                    && state.view >= self.view
                    && (state.view >= asking.view || state.view.epoch > self.view.epoch) =>
            {
                self.replace_log(from, state, out);
            }
            _ => self.drop_stale("new-state", from, "nothing of the kind was asked for", out),
        }
    }

    /// In its own view: only what is behind the end (rule 10).
    fn append_state(&mut self, from: NodeId, state: &State, out: &mut Outbox<Viewstamped>) {
        if state.first > self.log.last().next() {
            return self.drop_stale("new-state", from, "something is missing before it", out);
        }
        self.take_new(state.first, &state.entries);
        let last = self.log.last();
        out.trace(|| Event::allowed(&rules::NEW_STATE).with("peer", from).with("last", last));
        if let Stage::Backup(backup) = &mut self.stage {
            backup.owes = true;
        }
        self.learn_commit(from, state.commit.min(last), out);
    }

    fn replace_log(&mut self, from: NodeId, state: &State, out: &mut Outbox<Viewstamped>) {
        let configuration = self.configuration_of(state);
        let why = if state.first > self.commit.max(self.log.base()).next() {
            Some("something is missing before it")
        } else if !state.is_whole() || state.last < self.commit {
            Some("it is not the whole log")
        } else if configuration.epoch != state.view.epoch {
            Some("it does not say who takes part in its epoch")
        } else if state.view.epoch == self.view.epoch && state.view.primary(&configuration.members) == Some(self.me) {
            Some("nobody else began a view that this replica leads")
        } else {
            None
        };
        if let Some(why) = why {
            return self.drop_stale("new-state", from, why, out);
        }
        if state.view.epoch == self.view.epoch {
            return self.adopt(state.view, state.commit, state.first, &state.entries, out);
        }
        self.adopt_epoch(state, configuration, out);
    }

    /// Who takes part in the epoch that this log is in.
    fn configuration_of(&self, state: &State) -> Configuration {
        let behind = state.commit.0.saturating_sub(state.first.previous().0);
        let committed = state.entries.iter().take(usize::try_from(behind).unwrap_or(usize::MAX));
        let named = committed.filter_map(|entry| match entry {
            crate::entry::Entry::Reconfiguration(next) => Some((**next).clone()),
            crate::entry::Entry::Commands(_) => None,
        });
        named.last().unwrap_or_else(|| self.log.configuration_at(self.commit.max(self.log.base())).clone())
    }

    /// A backup hears of commits.
    pub(crate) fn learn_commit(&mut self, from: NodeId, through: Slot, out: &mut Outbox<Viewstamped>) {
        if through > self.commit {
            self.commit = through;
            out.trace(|| Event::allowed(&rules::LEARN).with("primary", from).with("slot", through));
        }
    }

    /// A timer that means something only in this stage.
    pub(crate) fn restart_resend(&self, out: &mut Outbox<Viewstamped>) {
        let interval = self.config.heartbeat_interval * 2;
        out.set_timer(Timer::Resend, interval, interval);
    }
}
