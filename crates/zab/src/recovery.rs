//! Opening from what is durable: the only way a replica comes to be.

use crate::config::Config;
use crate::election::Election;
use crate::log::Log;
use crate::record::{Anchor, Record};
use crate::replica::{Broadcast, Position};
use crate::zxid::{Mark, Txn, Zxid};
use quorate_protocol::{
    AskedReads, Durable, OpenError, Origin, Outbox, Pending, Setup, SnapshotId, StoredEntry, StoredLog,
};
use quorate_types::{Slot, Ticket};
use std::collections::BTreeMap;

/// What the records tell so far. Of those that a compaction drops, the last may still be there without the first: so slots are kept one
/// by one until everything is read.
#[derive(Default)]
struct Replay {
    accepted_epoch: u32,
    current_epoch: u32,
    anchor: Option<Anchor>,
    /// The anchor came with this snapshot.
    snapshot: Option<SnapshotId>,
    txns: BTreeMap<Slot, (Txn, Ticket)>,
    given_up_from: Option<Slot>,
}

fn inconsistent<T>(why: String) -> Result<T, OpenError> {
    Err(OpenError::Inconsistent { why })
}

/// Becomes the replica that `found` describes, and looks for a leader at once.
///
/// # Errors
/// When the records contradict each other or the store's mark.
pub(crate) fn open(
    setup: &Setup,
    config: &Config,
    found: Durable<Broadcast>,
    out: &mut Outbox<Broadcast>,
) -> Result<Broadcast, OpenError> {
    let replay = Replay::of(found.records)?;
    let applied = found.applied;
    let Some(anchor) = replay.anchor.clone() else {
        return inconsistent("nothing says what the history begins behind".to_owned());
    };
    let mut log = replay.log(anchor.mark())?;
    let (base, last) = (log.base().slot, log.last().slot);
    let installing = replay.snapshot.filter(|_| applied < base);
    if applied < base && installing.is_none() {
        return inconsistent(format!("the store has applied slot {applied}, and the history begins behind {base}"));
    }
    if applied > last {
        return inconsistent(format!("the store has applied slot {applied}, and the history ends at {last}"));
    }
    if let Some(stored) = found.anchor.filter(|stored| stored.slot > applied || stored.members != anchor.members) {
        return inconsistent(format!(
            "the store came by a snapshot of slot {} that is not of this history",
            stored.slot
        ));
    }
    let committed = applied.max(base);
    log.commit_through(committed);
    let stopped = log.get(applied).is_some_and(|txn| txn.payload.is_stop());
    let mut broadcast = Broadcast {
        me: setup.me,
        incarnation: setup.incarnation.0,
        config: config.clone(),
        members: anchor.members.clone(),
        accepted_epoch: replay.accepted_epoch,
        current_epoch: replay.current_epoch,
        log,
        flushed: last,
        committed,
        decided: applied,
        applied,
        applied_durable: applied,
        everyone_has: Slot::ZERO,
        given_up_from: replay.given_up_from,
        installing,
        stopped,
        round: 0,
        connections: 0,
        position: Position::Looking(Election::default()),
        pending: Pending::new(),
        asked_reads: AskedReads::default(),
        serving: BTreeMap::new(),
        told_lead: None,
    };
    broadcast.look("it has just opened", out);
    broadcast.tell_lead(out);
    if let Some(id) = installing {
        out.install_snapshot(id, anchor, Ticket::NONE);
    }
    Ok(broadcast)
}

/// What a history says, slot by slot. The one of the latest epoch that was taken, and of these the longest, has everything committed
/// that any has: by the rule that elects leaders.
///
/// # Errors
/// When the records contradict each other.
pub(crate) fn stored_log(records: Vec<(Ticket, Record)>) -> Result<StoredLog, OpenError> {
    let replay = Replay::of(records)?;
    // The front of a closed configuration's history may be gone, and what stands for it with it.
    let before_first = replay.txns.first_key_value().map_or(Slot::ZERO, |(first, _)| first.previous());
    let base = replay.anchor.as_ref().map_or(Mark { slot: before_first, ..Mark::default() }, Anchor::mark);
    let last = replay.txns.last_key_value().map_or(base.zxid, |(_, (txn, _))| txn.zxid);
    let entries: BTreeMap<Slot, StoredEntry> =
        replay.txns.iter().map(|(slot, (txn, _))| (*slot, stored(txn))).collect();
    let end = entries.last_key_value().map_or(base.slot, |(slot, _)| *slot);
    if replay.anchor.is_some() {
        replay.log(base)?;
    }
    let (accepted, current) = (replay.accepted_epoch, replay.current_epoch);
    Ok(StoredLog {
        standing: vec![("accepted epoch", accepted.to_string()), ("current epoch", current.to_string())],
        rank: vec![u64::from(current), last.number()],
        end: format!("has the history of epoch {current}, which ends with zxid {last} at slot {end}"),
        base: base.slot,
        base_origin: (base.zxid > Zxid::ZERO).then(|| origin(base.zxid)),
        snapshot: replay.snapshot,
        entries,
        decided: base.slot,
        ..StoredLog::default()
    })
}

fn origin(zxid: Zxid) -> Origin {
    let numbers = (u64::from(zxid.epoch), u64::from(zxid.counter));
    Origin { configuration: 0, numbers, words: format!("zxid {zxid}") }
}

fn stored(txn: &Txn) -> StoredEntry {
    StoredEntry { origin: Some(origin(txn.zxid)), decision: txn.payload.decision(), brings: None }
}

impl Replay {
    fn of(records: Vec<(Ticket, Record)>) -> Result<Replay, OpenError> {
        let mut replay = Replay::default();
        for (ticket, record) in records {
            replay.take(ticket, record)?;
        }
        match replay.current_epoch <= replay.accepted_epoch {
            true => Ok(replay),
            false => inconsistent(format!(
                "the history of epoch {} was taken, and {} is promised",
                replay.current_epoch, replay.accepted_epoch
            )),
        }
    }

    fn take(&mut self, ticket: Ticket, record: Record) -> Result<(), OpenError> {
        match record {
            Record::AcceptedEpoch(epoch) if epoch < self.accepted_epoch => {
                return inconsistent(format!("epoch {epoch} is promised after {}", self.accepted_epoch));
            }
            Record::CurrentEpoch(epoch) if epoch < self.current_epoch => {
                return inconsistent(format!("epoch {epoch} is taken after {}", self.current_epoch));
            }
            Record::AcceptedEpoch(epoch) => self.accepted_epoch = epoch,
            Record::CurrentEpoch(epoch) => self.current_epoch = epoch,
            Record::Txns { first, txns } => return self.append(ticket, first, txns),
            Record::Truncated { after } => self.give_up_behind(after),
            Record::Anchor(anchor) => {
                self.txns = self.txns.split_off(&anchor.slot.next());
                return self.anchor(anchor, None);
            }
            Record::Snapshot { id, anchor } => {
                self.give_up_behind(anchor.slot);
                self.txns.clear();
                return self.anchor(anchor, Some(id));
            }
        }
        Ok(())
    }

    fn append(&mut self, ticket: Ticket, first: Slot, txns: Vec<Txn>) -> Result<(), OpenError> {
        if first == Slot::ZERO || first.0.checked_add(txns.len() as u64 + 1).is_none() {
            return inconsistent(format!("something is appended at slot {first}"));
        }
        if self.txns.last_key_value().is_some_and(|(last, _)| last.next() != first) {
            return inconsistent(format!("something is appended at slot {first}, where another follows"));
        }
        let slots = txns.into_iter().enumerate().map(|(offset, txn)| (Slot(first.0 + offset as u64), (txn, ticket)));
        self.txns.extend(slots);
        Ok(())
    }

    fn give_up_behind(&mut self, after: Slot) {
        self.txns.split_off(&after.next());
        self.given_up_from = Some(self.given_up_from.unwrap_or(after.next()).min(after.next()));
    }

    fn anchor(&mut self, anchor: Anchor, snapshot: Option<SnapshotId>) -> Result<(), OpenError> {
        if anchor.slot == Slot(u64::MAX) {
            return inconsistent("an anchor stands for every slot there can be".to_owned());
        }
        if self.anchor.as_ref().is_some_and(|earlier| earlier.slot > anchor.slot) {
            return inconsistent(format!("an anchor at slot {} comes late", anchor.slot));
        }
        if self.anchor.as_ref().is_some_and(|earlier| earlier.members != anchor.members) {
            return inconsistent("the members change within a configuration".to_owned());
        }
        self.anchor = Some(anchor);
        self.snapshot = snapshot;
        Ok(())
    }

    fn log(&self, base: Mark) -> Result<Log, OpenError> {
        let mut log = Log::behind(base);
        for (slot, (txn, ticket)) in &self.txns {
            let last = log.last();
            if last.slot.next() != *slot || !last.zxid.is_followed_by(txn.zxid) {
                return inconsistent(format!("{} at slot {slot} stands behind {last}", txn.zxid));
            }
            log.append(txn.clone(), *ticket);
        }
        Ok(log)
    }
}
