//! Opening from what is durable: the only way a replica comes to be.
//!
//! Records are replayed in the order written. Compaction drops whole pieces from the front of that order, so what is found
//! may be any suffix of what was written that includes all records that the latest anchor does not stand for.

use crate::config::Config;
use crate::durability::DiskMarks;
use crate::election::Position;
use crate::entry::{Configuration, Entries, Entry, Payload};
use crate::following::Following;
use crate::log::{Configurations, Log};
use crate::membership::judge_members;
use crate::priority::Priorities;
use crate::record::{Anchor, Record};
use crate::replica::Raft;
use quorate_protocol::{AskedReads, Durable, Landmarks, MembersChange, OpenError, Outbox, Setup, SnapshotId, Start};
use quorate_types::{Membership, NodeId, Slot, Ticket};
use std::collections::BTreeMap;

/// What the records tell so far.
#[derive(Default)]
pub(crate) struct Replay {
    pub(crate) founded: Option<Membership>,
    pub(crate) term: u64,
    pub(crate) voted_for: Option<NodeId>,
    pub(crate) anchor: Option<Anchor>,
    /// The anchor came with this snapshot.
    pub(crate) snapshot: Option<SnapshotId>,
    /// Entries without gaps, the first of them in `first`.
    pub(crate) entries: Vec<Entry>,
    pub(crate) first: Slot,
    landmarks: Landmarks,
}

pub(crate) fn inconsistent<T>(why: String) -> Result<T, OpenError> {
    Err(OpenError::Inconsistent { why })
}

/// Becomes the replica that `found` describes.
///
/// # Errors
/// When the records contradict each other or the store's mark.
pub(crate) fn open(
    setup: &Setup,
    config: &Config,
    found: Durable<Raft>,
    out: &mut Outbox<Raft>,
) -> Result<Raft, OpenError> {
    let fresh = found.records.is_empty();
    let mut replay = Replay::default();
    for (ticket, record) in found.records {
        replay.take(ticket, record)?;
    }
    if let (Start::Found(membership), true) = (&setup.start, fresh) {
        judge_members(membership).map_err(|why| OpenError::Settings { why: format!("of the founders: {why}") })?;
        out.persist(vec![Record::Founded { membership: membership.clone() }]);
        replay.founded = Some(membership.clone());
    }
    let raft = replay.finish(setup, config, found.applied)?;
    if let Some(anchor) = found.anchor {
        raft.check_store_anchor(&anchor)?;
    }
    raft.announce(out)
}

impl Replay {
    pub(crate) fn take(&mut self, ticket: Ticket, record: Record) -> Result<(), OpenError> {
        match record {
            Record::Founded { membership } => match &self.founded {
                Some(known) if *known != membership => inconsistent("the cluster was founded twice".to_owned()),
                _ => {
                    self.founded = Some(membership);
                    Ok(())
                }
            },
            Record::TermVote { term, voted_for } => self.take_vote(term, voted_for),
            Record::Append { first, entries } => self.take_entries(ticket, first, &entries),
            Record::Truncate { from } => self.truncate(from),
            Record::Anchor(anchor) => self.take_anchor(anchor),
            Record::Snapshot { id, anchor } => self.take_snapshot(ticket, id, anchor),
        }
    }

    fn take_vote(&mut self, term: u64, voted_for: Option<NodeId>) -> Result<(), OpenError> {
        if term < self.term {
            return inconsistent(format!("term {term} follows term {}", self.term));
        }
        if term == self.term && self.voted_for.is_some() && self.voted_for != voted_for {
            return inconsistent(format!("two votes in term {term}: {:?} and {voted_for:?}", self.voted_for));
        }
        (self.term, self.voted_for) = (term, voted_for);
        Ok(())
    }

    fn take_entries(&mut self, ticket: Ticket, first: Slot, entries: &Entries) -> Result<(), OpenError> {
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

    fn truncate(&mut self, from: Slot) -> Result<(), OpenError> {
        if let Some(anchor) = self.anchor.as_ref().filter(|anchor| from <= anchor.slot) {
            return inconsistent(format!("slot {from} is void, and everything up to {} is decided", anchor.slot));
        }
        let kept = from.0.saturating_sub(self.first.0);
        self.entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        Ok(())
    }

    /// Whatever was appended before is void: had it held the snapshot's last entry, there would be no such record.
    fn take_snapshot(&mut self, ticket: Ticket, id: SnapshotId, anchor: Anchor) -> Result<(), OpenError> {
        self.check_anchor(&anchor)?;
        self.entries.clear();
        self.first = anchor.slot.next();
        self.landmarks.note(self.first, ticket);
        self.anchor = Some(anchor);
        self.snapshot = Some(id);
        Ok(())
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

    fn take_anchor(&mut self, anchor: Anchor) -> Result<(), OpenError> {
        self.check_anchor(&anchor)?;
        if let Some(behind) = anchor.slot.0.checked_sub(self.first.0).filter(|_| !self.entries.is_empty()) {
            let at = usize::try_from(behind).unwrap_or(usize::MAX);
            if let Some(entry) = self.entries.get(at).filter(|entry| entry.term != anchor.term) {
                let why =
                    format!("slot {} is of term {} and anchored in term {}", anchor.slot, entry.term, anchor.term);
                return inconsistent(why);
            }
            self.entries.drain(..at.saturating_add(1).min(self.entries.len()));
            self.first = anchor.slot.next();
        }
        // A compaction stops at what is durably applied: the snapshot is installed.
        self.snapshot = None;
        self.anchor = Some(anchor);
        Ok(())
    }

    fn finish(mut self, setup: &Setup, config: &Config, applied: Slot) -> Result<Raft, OpenError> {
        let founding = Anchor {
            slot: Slot::ZERO,
            term: 0,
            configuration: Configuration::of(self.founded.take().unwrap_or_default()),
        };
        let base = self.anchor.take().unwrap_or(founding);
        if !self.entries.is_empty() && self.first > base.slot.next() {
            return inconsistent(format!(
                "the log begins at slot {} and nothing stands for what is before",
                self.first
            ));
        }
        let mut log = Log::behind(base.slot, base.term);
        let mut configurations = Configurations::behind(base.configuration);
        for entry in self.entries {
            let slot = log.last().next();
            if entry.term < log.last_term() {
                return inconsistent(format!("slot {slot} is of term {}, after {}", entry.term, log.last_term()));
            }
            if let Payload::Members(configuration) = &entry.payload {
                configurations.append(slot, (**configuration).clone());
            }
            log.push(entry);
        }
        if log.last_term() > self.term {
            return inconsistent(format!("the log is of term {}, the node of term {}", log.last_term(), self.term));
        }
        let installing = self.snapshot.filter(|_| applied < base.slot);
        if applied < base.slot && installing.is_none() {
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
        let disk = DiskMarks::at_rest(log.last(), self.landmarks);
        Ok(Raft {
            me: setup.me,
            config: config.clone(),
            term: self.term,
            voted_for: self.voted_for,
            log,
            configurations,
            disk,
            commit: applied.max(base.slot),
            decided: applied,
            applied,
            applied_durable: applied,
            everyone_has: base.slot,
            installing,
            position: Position::Follower,
            leader: None,
            sticky: false,
            following: Following::default(),
            asked_reads: AskedReads::default(),
            priorities: Priorities::default(),
            told_lead: None,
            still_sending: BTreeMap::new(),
            reaches_further: false,
            broken: None,
        })
    }
}

impl Raft {
    /// A store that came by snapshot must agree with the log.
    fn check_store_anchor(&self, anchor: &Anchor) -> Result<(), OpenError> {
        match self.log.term_at(anchor.slot) {
            Some(term) if term != anchor.term => inconsistent(format!(
                "the store came by snapshot at slot {} of term {}; the log has term {term} there",
                anchor.slot, anchor.term
            )),
            None if anchor.slot > self.log.last() => inconsistent(format!(
                "the store came by snapshot at slot {}; the log ends at {}",
                anchor.slot,
                self.log.last()
            )),
            _ => Ok(()),
        }
    }

    /// Says what it is, and starts waiting for a leader.
    fn announce(mut self, out: &mut Outbox<Raft>) -> Result<Raft, OpenError> {
        self.promise_anew(out);
        self.set_first_election_timer(out);
        self.tell_lead(out);
        self.tell_members(MembersChange::Opened, out);
        self.install_again(out);
        Ok(self)
    }
}
