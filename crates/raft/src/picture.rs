//! The whole replica as bytes: what a recording of it begins with, so that the same code can go on from its middle.
//!
//! Everything is written that the replica's next word may depend on, also what its equality does not look at (tickets, landmarks).
//! What follows from the rest (weights, the quorum of a configuration) is made anew.

mod leader;

use crate::config::Config;
use crate::durability::{Claim, DiskMarks};
use crate::election::{Canvass, Position};
use crate::entry::{Configuration, Entries, Entry};
use crate::following::{AnswerDue, Following};
use crate::log::{Configurations, Log};
use crate::message::{Append, Message};
use crate::priority::{Pause, Priorities};
use crate::record::Record;
use crate::replica::{Raft, ToldLead};
use crate::rules;
use bytes::Bytes;
use quorate_protocol::{Event, LeaseReads, Recordable, Rule, Value, Verdict};
use quorate_types::{NodeId, Slot};
use quorate_wire::{Reader, Wire, WireError};

impl Recordable for Raft {
    fn with_batches(mut self, change: &mut dyn FnMut(Bytes) -> Bytes) -> Raft {
        let mut log = Log::behind(self.log.base(), self.log.term_at(self.log.base()).unwrap_or_default());
        self.log.iter().for_each(|entry| log.push(entry.clone().with_batch(change)));
        self.log = log;
        self.following.received =
            self.following.received.take().map(|(first, entries)| (first, entries.with_batches(change)));
        self
    }

    fn message_with_batches(message: Message, change: &mut dyn FnMut(Bytes) -> Bytes) -> Message {
        match message {
            Message::Append(append) => {
                Message::Append(Append { entries: append.entries.with_batches(change), ..append })
            }
            other => other,
        }
    }

    fn record_with_batches(record: Record, change: &mut dyn FnMut(Bytes) -> Bytes) -> Record {
        match record {
            Record::Append { first, entries } => Record::Append { first, entries: entries.with_batches(change) },
            other => other,
        }
    }

    fn is_routine(event: &Event) -> bool {
        let with_every_command = [
            &rules::PROPOSE,
            &rules::APPEND,
            &rules::PROGRESS,
            &rules::WINDOW,
            &rules::COMMIT,
            &rules::LEARN,
            &rules::DECIDE,
            &rules::READ,
            &rules::READ_FORWARD,
            &rules::LEASE,
            &rules::CHECK_QUORUM,
        ];
        let always = [&rules::STALE, &rules::STALE_TIMER, &rules::COMPACT, &rules::PRIORITY];
        let is_among = |several: &[&Rule]| several.iter().any(|rule| rule.id == event.rule.id);
        // A peer whose process is gone refuses a connection several times a second.
        let is_refused = || matches!(event.value("state"), Some(Value::Text(state)) if state == "refused");
        if event.rule.id == rules::LINK.id {
            return event.verdict == Verdict::Refused && is_refused();
        }
        is_among(&always) || event.verdict != Verdict::Refused && is_among(&with_every_command)
    }
}

/// A violation is not written: a replica that has one is stopped, and nothing follows.
impl Wire for Raft {
    fn encode(&self, out: &mut Vec<u8>) {
        self.me.encode(out);
        self.config.encode(out);
        self.term.encode(out);
        self.voted_for.encode(out);
        self.log.encode(out);
        self.configurations.encode(out);
        self.disk.encode(out);
        for mark in [self.commit, self.decided, self.applied, self.applied_durable, self.everyone_has] {
            mark.encode(out);
        }
        self.installing.encode(out);
        self.position.encode(out);
        self.leader.encode(out);
        self.sticky.encode(out);
        self.following.encode(out);
        self.asked_reads.encode(out);
        self.priorities.encode(out);
        self.told_lead.encode(out);
        self.still_sending.encode(out);
        self.reaches_further.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Raft, WireError> {
        Ok(Raft {
            me: Wire::decode(input)?,
            config: Wire::decode(input)?,
            term: Wire::decode(input)?,
            voted_for: Wire::decode(input)?,
            log: Wire::decode(input)?,
            configurations: Wire::decode(input)?,
            disk: Wire::decode(input)?,
            commit: Wire::decode(input)?,
            decided: Wire::decode(input)?,
            applied: Wire::decode(input)?,
            applied_durable: Wire::decode(input)?,
            everyone_has: Wire::decode(input)?,
            installing: Wire::decode(input)?,
            position: Wire::decode(input)?,
            leader: Wire::decode(input)?,
            sticky: Wire::decode(input)?,
            following: Wire::decode(input)?,
            asked_reads: Wire::decode(input)?,
            priorities: Wire::decode(input)?,
            told_lead: Wire::decode(input)?,
            still_sending: Wire::decode(input)?,
            reaches_further: Wire::decode(input)?,
            broken: None,
        })
    }
}

impl Wire for ToldLead {
    fn encode(&self, out: &mut Vec<u8>) {
        self.term.encode(out);
        self.leader.encode(out);
        self.ready.encode(out);
        self.settled.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<ToldLead, WireError> {
        Ok(ToldLead {
            term: Wire::decode(input)?,
            leader: Wire::decode(input)?,
            ready: Wire::decode(input)?,
            settled: Wire::decode(input)?,
        })
    }
}

impl Wire for Config {
    fn encode(&self, out: &mut Vec<u8>) {
        self.election_timeout.encode(out);
        self.heartbeat_interval.encode(out);
        self.read_retry_interval.encode(out);
        self.append_bytes.encode(out);
        self.append_entries.encode(out);
        self.window_messages.encode(out);
        self.window_bytes.encode(out);
        self.undecided_bytes.encode(out);
        self.waiting_reads.encode(out);
        self.read_rounds.encode(out);
        self.compact_after_bytes.encode(out);
        self.compact_after_entries.encode(out);
        self.compact_keep_entries.encode(out);
        self.keep_log_bytes.encode(out);
        self.keep_log_entries.encode(out);
        self.snapshot_retry_heartbeats.encode(out);
        self.disk_stall_timeout.encode(out);
        self.priority.encode(out);
        self.tenure_heartbeats.encode(out);
        self.lease_reads.map(|leases| leases.clock_rate_error_ppm).encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Config, WireError> {
        Ok(Config {
            election_timeout: Wire::decode(input)?,
            heartbeat_interval: Wire::decode(input)?,
            read_retry_interval: Wire::decode(input)?,
            append_bytes: Wire::decode(input)?,
            append_entries: Wire::decode(input)?,
            window_messages: Wire::decode(input)?,
            window_bytes: Wire::decode(input)?,
            undecided_bytes: Wire::decode(input)?,
            waiting_reads: Wire::decode(input)?,
            read_rounds: Wire::decode(input)?,
            compact_after_bytes: Wire::decode(input)?,
            compact_after_entries: Wire::decode(input)?,
            compact_keep_entries: Wire::decode(input)?,
            keep_log_bytes: Wire::decode(input)?,
            keep_log_entries: Wire::decode(input)?,
            snapshot_retry_heartbeats: Wire::decode(input)?,
            disk_stall_timeout: Wire::decode(input)?,
            priority: Wire::decode(input)?,
            tenure_heartbeats: Wire::decode(input)?,
            lease_reads: Option::decode(input)?.map(|clock_rate_error_ppm| LeaseReads { clock_rate_error_ppm }),
        })
    }
}

impl Wire for Log {
    fn encode(&self, out: &mut Vec<u8>) {
        self.base().encode(out);
        self.term_at(self.base()).unwrap_or_default().encode(out);
        self.count().encode(out);
        self.iter().for_each(|entry| entry.encode(out));
    }
    fn decode(input: &mut Reader) -> Result<Log, WireError> {
        let mut log = Log::behind(Wire::decode(input)?, Wire::decode(input)?);
        Vec::<Entry>::decode(input)?.into_iter().for_each(|entry| log.push(entry));
        Ok(log)
    }
}

impl Wire for Configurations {
    fn encode(&self, out: &mut Vec<u8>) {
        self.base().encode(out);
        let appended: Vec<(Slot, Configuration)> =
            self.appended().map(|(configuration, slot)| (slot, configuration.clone())).collect();
        appended.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Configurations, WireError> {
        let mut configurations = Configurations::behind(Wire::decode(input)?);
        for (slot, configuration) in Vec::<(Slot, Configuration)>::decode(input)? {
            configurations.append(slot, configuration);
        }
        Ok(configurations)
    }
}

impl Wire for Claim {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Claim::Vote { term, voted_for } => {
                out.push(0);
                term.encode(out);
                voted_for.encode(out);
            }
            Claim::Log { through } => {
                out.push(1);
                through.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Claim, WireError> {
        match input.byte("claim")? {
            0 => Ok(Claim::Vote { term: Wire::decode(input)?, voted_for: Wire::decode(input)? }),
            1 => Ok(Claim::Log { through: Wire::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "claim", kind }),
        }
    }
}

impl Wire for DiskMarks {
    fn encode(&self, out: &mut Vec<u8>) {
        self.unsaved_vote.encode(out);
        self.written.encode(out);
        self.void_from.encode(out);
        self.durable.encode(out);
        self.pending.encode(out);
        self.landmarks.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<DiskMarks, WireError> {
        Ok(DiskMarks {
            unsaved_vote: Wire::decode(input)?,
            written: Wire::decode(input)?,
            void_from: Wire::decode(input)?,
            durable: Wire::decode(input)?,
            pending: Wire::decode(input)?,
            landmarks: Wire::decode(input)?,
        })
    }
}

impl Wire for Following {
    fn encode(&self, out: &mut Vec<u8>) {
        self.heard_leader.encode(out);
        self.doubted.encode(out);
        self.answer_due.map(|due| (due.to, (due.matched, due.round))).encode(out);
        self.received.encode(out);
        self.answered_round.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Following, WireError> {
        let (heard_leader, doubted) = (Wire::decode(input)?, Wire::decode(input)?);
        let due: Option<(NodeId, (Slot, u64))> = Wire::decode(input)?;
        Ok(Following {
            heard_leader,
            doubted,
            answer_due: due.map(|(to, (matched, round))| AnswerDue { to, matched, round }),
            received: Option::<(Slot, Entries)>::decode(input)?,
            answered_round: Wire::decode(input)?,
        })
    }
}

impl Wire for Priorities {
    fn encode(&self, out: &mut Vec<u8>) {
        self.told.encode(out);
        self.pauses.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Priorities, WireError> {
        Ok(Priorities { told: Wire::decode(input)?, pauses: Wire::decode(input)? })
    }
}

impl Wire for Pause {
    fn encode(&self, out: &mut Vec<u8>) {
        self.chosen.encode(out);
        self.heartbeats.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Pause, WireError> {
        Ok(Pause { chosen: Wire::decode(input)?, heartbeats: Wire::decode(input)? })
    }
}

impl Wire for Canvass {
    fn encode(&self, out: &mut Vec<u8>) {
        self.granted.encode(out);
        self.refused.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Canvass, WireError> {
        Ok(Canvass { granted: Wire::decode(input)?, refused: Wire::decode(input)? })
    }
}

impl Wire for Position {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Position::Follower => out.push(0),
            Position::PreCandidate(canvass) => {
                out.push(1);
                canvass.encode(out);
            }
            Position::Candidate(canvass) => {
                out.push(2);
                canvass.encode(out);
            }
            Position::Leader(leadership) => {
                out.push(3);
                leadership.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Position, WireError> {
        match input.byte("position")? {
            0 => Ok(Position::Follower),
            1 => Ok(Position::PreCandidate(Wire::decode(input)?)),
            2 => Ok(Position::Candidate(Wire::decode(input)?)),
            3 => Ok(Position::Leader(Box::new(Wire::decode(input)?))),
            kind => Err(WireError::UnknownKind { what: "position", kind }),
        }
    }
}
