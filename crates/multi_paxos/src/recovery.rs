//! Opening from what is durable: the only way a replica comes to be.

use crate::ballot::{Ballot, Payload};
use crate::config::{Config, sizes_in_words};
use crate::log::{Entry, Log};
use crate::record::{Anchor, Record};
use crate::replica::{Ballots, Position, SetAnew};
use quorate_protocol::{
    AskedReads, Durable, OpenError, Origin, Outbox, Pending, Setup, SnapshotId, StoredEntry, StoredLog,
};
use quorate_quorum::Flexible;
use quorate_types::{Slot, Ticket};
use std::collections::BTreeMap;

/// What the records tell so far.
#[derive(Default)]
struct Replay {
    promised: Ballot,
    anchor: Option<Anchor>,
    /// The anchor came with this snapshot.
    snapshot: Option<SnapshotId>,
    log: Log,
}

fn inconsistent<T>(why: String) -> Result<T, OpenError> {
    Err(OpenError::Inconsistent { why })
}

/// Becomes the replica that `found` describes.
///
/// # Errors
/// When the records contradict each other or the store's mark, or the settings do not suit the members.
pub(crate) fn open(
    setup: &Setup,
    config: &Config,
    found: Durable<Ballots>,
    out: &mut Outbox<Ballots>,
) -> Result<Ballots, OpenError> {
    let mut replay = Replay::default();
    for (ticket, record) in found.records {
        replay.take(ticket, record)?;
    }
    let (promised, log, applied) = (replay.promised, replay.log, found.applied);
    let Some(anchor) = replay.anchor else {
        return inconsistent("nothing says what the log begins behind".to_owned());
    };
    let installing = replay.snapshot.filter(|_| applied < log.trim());
    if applied < log.trim() && installing.is_none() {
        return inconsistent(format!("the store has applied slot {applied}, and the log begins behind {}", log.trim()));
    }
    if let Some(hole) = (log.trim().0 + 1..=applied.0).map(Slot).find(|slot| log.get(*slot).is_none()) {
        return inconsistent(format!("the store has applied slot {applied}, and slot {hole} is not in the log"));
    }
    if let Some(stored) = found.anchor.filter(|stored| stored.slot > applied || stored.members != anchor.members) {
        return inconsistent(format!("the store came by a snapshot of slot {} that is not of this log", stored.slot));
    }
    let quorums = quorums_of(&anchor, config)?;
    let chosen = applied.max(log.trim());
    let mut ballots = Ballots {
        me: setup.me,
        config: config.clone(),
        members: anchor.members,
        quorums,
        promised,
        seen_round: promised.round,
        log,
        chosen,
        chosen_in: None,
        received: chosen,
        flushed: applied,
        decided: applied,
        applied,
        applied_durable: applied,
        everyone_has: Slot::ZERO,
        installing,
        stopped: false,
        position: Position::Follower,
        leader: None,
        granted: false,
        doubted: false,
        set_anew: SetAnew::default(),
        pending: Pending::new(),
        asked_reads: AskedReads::default(),
        serving: BTreeMap::new(),
        told_lead: None,
    };
    ballots.stopped = ballots.log.get(applied).is_some_and(|entry| crate::replica::is_stop(&entry.payload));
    ballots.note_progress();
    ballots.log.choose_through(chosen);
    ballots.set_election_timer(out);
    ballots.grant_anew(out);
    // The driver sets these before the first batch.
    ballots.set_anew = SetAnew::default();
    ballots.tell_lead(out);
    if let Some(id) = ballots.installing {
        out.install_snapshot(id, ballots.base_anchor(), Ticket::NONE);
    }
    Ok(ballots)
}

/// Those of the founding, which the settings must name again.
fn quorums_of(anchor: &Anchor, config: &Config) -> Result<Flexible, OpenError> {
    if anchor.quorums != config.quorums {
        let (founded, wanted) = (sizes_in_words(&anchor.quorums), sizes_in_words(&config.quorums));
        let why = format!("the quorum sizes were fixed at founding as {founded}, and the settings say {wanted}");
        return Err(OpenError::Settings { why });
    }
    config.quorums_of(&anchor.members).map_err(|error| OpenError::Settings { why: error.to_string() })
}

/// What a log says, slot by slot.
///
/// # Errors
/// When the records contradict each other.
pub(crate) fn stored_log(records: Vec<(Ticket, Record)>) -> Result<StoredLog, OpenError> {
    let mut replay = Replay::default();
    for (ticket, record) in records {
        replay.take(ticket, record)?;
    }
    let Replay { promised, snapshot, log, anchor } = replay;
    let sizes = anchor.map(|anchor| anchor.quorums).unwrap_or_default();
    let promise = if promised == Ballot::default() { "none".to_owned() } else { promised.to_string() };
    let stored = |entry: &Entry| StoredEntry {
        origin: Some(origin(entry.ballot)),
        decision: entry.payload.decision(),
        brings: None,
    };
    Ok(StoredLog {
        standing: vec![("promised ballot", promise), ("quorum sizes", sizes_in_words(&sizes))],
        end: format!("has something up to slot {}", log.last()),
        slots_stand_alone: true,
        base: log.trim(),
        snapshot,
        entries: log.from(Slot::ZERO).map(|(slot, entry)| (slot, stored(entry))).collect(),
        decided: log.trim(),
        ..StoredLog::default()
    })
}

fn origin(ballot: Ballot) -> Origin {
    Origin { configuration: 0, numbers: (ballot.round, ballot.node.0), words: format!("ballot {ballot}") }
}

impl Replay {
    fn take(&mut self, ticket: Ticket, record: Record) -> Result<(), OpenError> {
        match record {
            Record::Promised(ballot) => self.promise(ballot),
            Record::Accepted { ballot, first, payloads } => self.accept(ticket, ballot, first, payloads),
            Record::Anchor(anchor) => self.anchor(anchor, None),
            Record::Snapshot { id, anchor } => self.anchor(anchor, Some(id)),
        }
    }

    fn promise(&mut self, ballot: Ballot) -> Result<(), OpenError> {
        if ballot < self.promised {
            return inconsistent(format!("ballot {ballot} is promised after {}", self.promised));
        }
        self.promised = ballot;
        Ok(())
    }

    fn accept(&mut self, ticket: Ticket, ballot: Ballot, first: Slot, payloads: Vec<Payload>) -> Result<(), OpenError> {
        if first == Slot::ZERO || first.0.checked_add(payloads.len() as u64 + 1).is_none() {
            return inconsistent(format!("something is accepted at slot {first}"));
        }
        self.promise(ballot)?;
        for (offset, payload) in payloads.into_iter().enumerate() {
            let slot = Slot(first.0 + offset as u64);
            if slot > self.log.trim() {
                self.log.accept(slot, ballot, payload, ticket, true);
            }
        }
        Ok(())
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
        self.log.drop_through(anchor.slot);
        self.anchor = Some(anchor);
        self.snapshot = snapshot;
        Ok(())
    }
}
