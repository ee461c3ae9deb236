//! Opening from what is durable: the only way a replica comes to be.
//!
//! Records are replayed in the order written. Compaction drops whole pieces from the front of that order, so what is found
//! may be any suffix of what was written that includes all records that the latest anchor does not stand for.

use crate::config::Config;
use crate::durability::{Claim, DiskMarks};
use crate::entry::{Entries, Entry};
use crate::epoch::judge_members;
use crate::log::Log;
use crate::normal::Backup;
use crate::record::{Anchor, Record};
use crate::replica::{Stage, Viewstamped};
use crate::rules;
use crate::view::{Configuration, View};
use quorate_protocol::{
    AskedReads, Durable, Event, Landmarks, MembersChange, OpenError, Outbox, Setup, SnapshotId, Start,
};
use quorate_types::{Membership, Slot, Ticket};
use std::collections::BTreeMap;

/// What the records tell so far.
#[derive(Default)]
pub(crate) struct Replay {
    founded: Option<Membership>,
    pub(crate) view: View,
    pub(crate) last_normal: View,
    anchor: Option<Anchor>,
    /// The anchor came with this snapshot.
    pub(crate) snapshot: Option<SnapshotId>,
    /// Entries without gaps, the first of them in `first`.
    entries: Vec<Entry>,
    first: Slot,
    landmarks: Landmarks,
}

fn inconsistent<T>(why: String) -> Result<T, OpenError> {
    Err(OpenError::Inconsistent { why })
}

/// Becomes the replica that `found` describes.
///
/// # Errors
/// When the records contradict each other or the store's mark.
pub(crate) fn open(
    setup: &Setup,
    config: &Config,
    found: Durable<Viewstamped>,
    out: &mut Outbox<Viewstamped>,
) -> Result<Viewstamped, OpenError> {
    let fresh = found.records.is_empty();
    let mut replay = Replay::default();
    let mut founding = None;
    for (ticket, record) in found.records {
        replay.take(ticket, record)?;
    }
    if let (Start::Found(membership), true) = (&setup.start, fresh) {
        judge_members(membership).map_err(|why| OpenError::Settings { why: format!("of the founders: {why}") })?;
        founding = Some(out.persist(vec![Record::Founded { membership: membership.clone() }]));
        replay.found(membership.clone())?;
    }
    let mut replica = replay.finish(setup, config, found.applied)?;
    if let Some(ticket) = founding {
        // Nothing is said before this is durable: a primary that forgot its first start would begin the first view twice.
        replica.disk.pending.push(ticket, Claim::View { view: replica.view });
    }
    if let Some(anchor) = found.anchor.filter(|anchor| anchor.slot > replica.log.last()) {
        let last = replica.log.last();
        return inconsistent(format!("the store came by snapshot at slot {}; the log ends at {last}", anchor.slot));
    }
    Ok(replica.announce(fresh, out))
}

impl Replay {
    pub(crate) fn take(&mut self, ticket: Ticket, record: Record) -> Result<(), OpenError> {
        match record {
            Record::Founded { membership } => self.found(membership),
            Record::Changing { view } => {
                self.go_to(view)?;
                self.view = view;
                Ok(())
            }
            Record::Append { first, entries } => self.append(ticket, first, &entries),
            Record::Entered { view, first, entries } => self.enter(ticket, view, first, &entries),
            Record::Anchor(anchor) => self.take_anchor(anchor),
            Record::Snapshot { id, anchor, begins_epoch } => self.take_snapshot(ticket, id, anchor, begins_epoch),
        }
    }

    fn found(&mut self, membership: Membership) -> Result<(), OpenError> {
        match &self.founded {
            Some(known) if *known != membership => inconsistent("the cluster was founded twice".to_owned()),
            _ => {
                self.founded = Some(membership);
                let view = View::first_of(1);
                (self.view, self.last_normal) = (self.view.max(view), self.last_normal.max(view));
                Ok(())
            }
        }
    }

    fn go_to(&self, view: View) -> Result<(), OpenError> {
        match view < self.view {
            true => inconsistent(format!("view {view} follows view {}", self.view)),
            false => Ok(()),
        }
    }

    fn append(&mut self, ticket: Ticket, first: Slot, entries: &Entries) -> Result<(), OpenError> {
        if first == Slot::ZERO || first.0.checked_add(entries.len() as u64).is_none() {
            return inconsistent(format!("entries are appended at slot {first}"));
        }
        if let Some(anchor) = self.anchor.as_ref().filter(|anchor| first <= anchor.slot) {
            let why = format!("entries are appended at slot {first}, and everything up to {} is decided", anchor.slot);
            return inconsistent(why);
        }
        let next = Slot(self.first.0.saturating_add(self.entries.len() as u64));
        if !self.entries.is_empty() && first < next {
            return inconsistent(format!("entries are appended at slot {first} and the log ends before slot {next}"));
        }
        if self.entries.is_empty() || first > next {
            // The front is missing; an anchor that stands for it must follow. `finish` looks.
            self.entries.clear();
            self.first = first;
        }
        self.entries.extend_from_slice(entries);
        self.landmarks.note(first, ticket);
        Ok(())
    }

    fn enter(&mut self, ticket: Ticket, view: View, first: Slot, entries: &Entries) -> Result<(), OpenError> {
        self.go_to(view.max(self.last_normal)).or_else(|why| match view >= self.last_normal {
            // A baseline repeats the last normal view before the one that was gone to.
            true => Ok(()),
            false => Err(why),
        })?;
        if view < self.last_normal {
            return inconsistent(format!("view {view} is entered after view {}", self.last_normal));
        }
        let kept = usize::try_from(first.0.saturating_sub(self.first.0)).unwrap_or(usize::MAX);
        self.entries.truncate(kept);
        self.last_normal = view;
        self.view = self.view.max(view);
        match entries.is_empty() {
            true => Ok(()),
            false => self.append(ticket, first, entries),
        }
    }

    fn check_anchor(&self, anchor: &Anchor) -> Result<(), OpenError> {
        if anchor.slot == Slot(u64::MAX) {
            return inconsistent("an anchor stands for every slot there can be".to_owned());
        }
        match self.anchor.as_ref().filter(|earlier| earlier.slot > anchor.slot) {
            Some(earlier) => inconsistent(format!("an anchor at slot {} follows one at {}", anchor.slot, earlier.slot)),
            None => Ok(()),
        }
    }

    fn drop_through(&mut self, slot: Slot) {
        if let Some(behind) = slot.0.checked_sub(self.first.0).filter(|_| !self.entries.is_empty()) {
            let count = usize::try_from(behind).unwrap_or(usize::MAX).saturating_add(1);
            self.entries.drain(..count.min(self.entries.len()));
            self.first = slot.next();
        }
    }

    fn take_anchor(&mut self, anchor: Anchor) -> Result<(), OpenError> {
        self.check_anchor(&anchor)?;
        self.drop_through(anchor.slot);
        // A compaction stops at what is durably applied: the snapshot is installed.
        self.snapshot = None;
        self.anchor = Some(anchor);
        Ok(())
    }

    fn take_snapshot(
        &mut self,
        ticket: Ticket,
        id: SnapshotId,
        anchor: Anchor,
        begins_epoch: bool,
    ) -> Result<(), OpenError> {
        self.check_anchor(&anchor)?;
        self.drop_through(anchor.slot);
        if begins_epoch {
            self.entries.clear();
            let view = View::first_of(anchor.configuration.epoch);
            self.go_to(view)?;
            (self.view, self.last_normal) = (view, view);
        }
        if self.entries.is_empty() {
            self.first = anchor.slot.next();
            self.landmarks.note(self.first, ticket);
        }
        self.anchor = Some(anchor);
        self.snapshot = Some(id);
        Ok(())
    }

    /// The log that the records tell of.
    pub(crate) fn take_log(&mut self) -> Result<Log, OpenError> {
        let founding = self.founded.take().map(|members| Configuration { epoch: 1, members }).unwrap_or_default();
        let base = self.anchor.take().unwrap_or(Anchor { slot: Slot::ZERO, configuration: founding });
        if !self.entries.is_empty() && self.first > base.slot.next() {
            let first = self.first;
            return inconsistent(format!("the log begins at slot {first} and nothing stands for what is before"));
        }
        let mut log = Log::behind(base.slot, base.configuration);
        for entry in std::mem::take(&mut self.entries) {
            log.push(entry);
        }
        Ok(log)
    }

    /// Who takes part in the epoch that the records end in.
    pub(crate) fn configuration_in<'log>(&self, log: &'log Log) -> Result<&'log Configuration, OpenError> {
        match log.configuration_of(self.view.epoch) {
            Some(configuration) => Ok(configuration),
            None => inconsistent(format!("nothing says who takes part in epoch {}", self.view.epoch)),
        }
    }

    fn finish(mut self, setup: &Setup, config: &Config, applied: Slot) -> Result<Viewstamped, OpenError> {
        let log = self.take_log()?;
        let base = log.base();
        let installing = self.snapshot.filter(|_| applied < base);
        if applied < base && installing.is_none() {
            return inconsistent(format!(
                "the store has applied everything up to slot {applied}, and the log begins only at slot {}: what is \
                 between is lost here",
                log.first()
            ));
        }
        if applied > log.last() {
            let last = log.last();
            return inconsistent(format!("the store has applied slot {applied}, and the log ends at slot {last}"));
        }
        let configuration = self.configuration_in(&log)?.clone();
        let disk = DiskMarks::at_rest(log.last(), self.landmarks);
        // Whoever is in an epoch knew committed what ended the one before.
        let commit = applied.max(base).max(log.beginning_of(self.view.epoch).unwrap_or_default());
        let undecided_bytes = log.bytes_behind(applied.max(base));
        Ok(Viewstamped {
            me: setup.me,
            config: config.clone(),
            view: self.view,
            last_normal: self.last_normal,
            configuration,
            stage: Stage::Backup(Backup::default()),
            log,
            disk,
            commit,
            decided: applied,
            applied,
            applied_durable: applied,
            undecided_bytes,
            everyone_has: base,
            installing,
            transfers: BTreeMap::new(),
            asked_reads: AskedReads::default(),
            told_lead: None,
            broken: None,
        })
    }
}

impl Viewstamped {
    /// Says what it is, and takes its place: a backup of its view waits for news. One that was between views goes on, and so does
    /// the primary of its view, to the next one: what it sent before the crash and did not write may live on at backups, and
    /// must not be followed by something else of the same view. In the very first view of a new cluster nothing was sent.
    fn announce(mut self, fresh: bool, out: &mut Outbox<Viewstamped>) -> Viewstamped {
        self.tell_members(MembersChange::Opened, out);
        let leads = self.view.primary(&self.configuration.members) == Some(self.me);
        out.trace(|| Event::allowed(&rules::OPEN).with("view", self.view.to_string()).with("last", self.log.last()));
        if self.view.epoch > 0 && !self.configuration.members.contains(self.me) {
            self.begin_leaving(true, out);
        } else if leads && fresh {
            self.become_primary(out);
        } else if leads && self.view == self.last_normal {
            self.leave_view(self.view.next(), 0, out);
        } else if self.view > self.last_normal {
            self.leave_view(self.view, 0, out);
        } else if self.view.epoch > 0 {
            self.become_backup(out);
        }
        self.tell_lead(out);
        self.install_again(out);
        self
    }
}
