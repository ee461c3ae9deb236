//! The whole replica as bytes: what a recording of it begins with, so that the same code can go on from its middle.
//!
//! Everything is written that the replica's next word may depend on, also what its equality does not look at (tickets, landmarks).
//! What follows from the rest is made anew.

use crate::ballot::Payload;
use crate::config::{Config, QuorumSizes};
use crate::handover::Handover;
use crate::leading::{Leadership, Peer};
use crate::log::Log;
use crate::message::{Message, Reported};
use crate::record::Record;
use crate::replica::{Ballots, Candidacy, Claim, Position, Serving, SetAnew, ToldLead};
use crate::rules;
use bytes::Bytes;
use quorate_protocol::{Event, LeaseReads, Recordable, Rule, Verdict};
use quorate_types::{Membership, Slot, Ticket};
use quorate_wire::{Reader, Wire, WireError};

impl Payload {
    fn with_batch(self, change: &mut dyn FnMut(Bytes) -> Bytes) -> Payload {
        match self {
            Payload::Command(batch) => Payload::Command(change(batch)),
            other => other,
        }
    }
}

fn payloads_with_batches(payloads: Vec<Payload>, change: &mut dyn FnMut(Bytes) -> Bytes) -> Vec<Payload> {
    payloads.into_iter().map(|payload| payload.with_batch(change)).collect()
}

fn reported_with_batch(reported: Reported, change: &mut dyn FnMut(Bytes) -> Bytes) -> Reported {
    Reported { payload: reported.payload.with_batch(change), ..reported }
}

impl Recordable for Ballots {
    fn with_batches(mut self, change: &mut dyn FnMut(Bytes) -> Bytes) -> Ballots {
        let mut log = Log::default();
        log.drop_through(self.log.trim());
        for (slot, ticket, entry) in self.log.written() {
            log.accept(slot, entry.ballot, entry.payload.clone().with_batch(change), ticket, entry.durable);
        }
        log.choose_through(self.chosen);
        self.log = log;
        if let Position::Candidate(candidacy) = &mut self.position {
            let found = std::mem::take(&mut candidacy.found);
            candidacy.found =
                found.into_iter().map(|(slot, reported)| (slot, reported_with_batch(reported, change))).collect();
        }
        self
    }

    fn message_with_batches(message: Message, change: &mut dyn FnMut(Bytes) -> Bytes) -> Message {
        match message {
            Message::Promise { ballot, accepted, more, chosen, trim } => {
                let accepted = accepted.into_iter().map(|reported| reported_with_batch(reported, change)).collect();
                Message::Promise { ballot, accepted, more, chosen, trim }
            }
            Message::Accept { ballot, first, payloads, chosen, everyone } => {
                let payloads = payloads_with_batches(payloads, change);
                Message::Accept { ballot, first, payloads, chosen, everyone }
            }
            other => other,
        }
    }

    fn record_with_batches(record: Record, change: &mut dyn FnMut(Bytes) -> Bytes) -> Record {
        match record {
            Record::Accepted { ballot, first, payloads } => {
                Record::Accepted { ballot, first, payloads: payloads_with_batches(payloads, change) }
            }
            other => other,
        }
    }

    fn is_routine(event: &Event) -> bool {
        let with_every_command = [
            &rules::PROPOSE,
            &rules::ACCEPT,
            &rules::CHOSEN,
            &rules::LEARN,
            &rules::DECIDE,
            &rules::READ,
            &rules::READ_FORWARD,
        ];
        let always = [&rules::STALE, &rules::COMPACT];
        let is_among = |several: &[&Rule]| several.iter().any(|rule| rule.id == event.rule.id);
        is_among(&always) || event.verdict != Verdict::Refused && is_among(&with_every_command)
    }
}

impl Wire for Ballots {
    fn encode(&self, out: &mut Vec<u8>) {
        self.me.encode(out);
        self.config.encode(out);
        self.members.encode(out);
        self.promised.encode(out);
        self.seen_round.encode(out);
        self.log.encode(out);
        self.chosen.encode(out);
        self.chosen_in.encode(out);
        self.received.encode(out);
        self.flushed.encode(out);
        self.decided.encode(out);
        self.applied.encode(out);
        self.applied_durable.encode(out);
        self.everyone_has.encode(out);
        self.installing.encode(out);
        self.stopped.encode(out);
        self.position.encode(out);
        self.leader.encode(out);
        self.granted.encode(out);
        self.doubted.encode(out);
        (self.set_anew.election, self.set_anew.grant).encode(out);
        self.pending.encode(out);
        self.asked_reads.encode(out);
        self.serving.encode(out);
        self.told_lead.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Ballots, WireError> {
        let (me, config, members): (_, Config, Membership) =
            (Wire::decode(input)?, Wire::decode(input)?, Wire::decode(input)?);
        let quorums = config.quorums_of(&members).map_err(|_| WireError::Malformed { what: "members" })?;
        let (promised, seen_round) = Wire::decode(input)?;
        let (mut log, chosen): (Log, Slot) = Wire::decode(input)?;
        log.choose_through(chosen);
        Ok(Ballots {
            me,
            config,
            members,
            quorums,
            promised,
            seen_round,
            log,
            chosen,
            chosen_in: Wire::decode(input)?,
            received: Wire::decode(input)?,
            flushed: Wire::decode(input)?,
            decided: Wire::decode(input)?,
            applied: Wire::decode(input)?,
            applied_durable: Wire::decode(input)?,
            everyone_has: Wire::decode(input)?,
            installing: Wire::decode(input)?,
            stopped: Wire::decode(input)?,
            position: Wire::decode(input)?,
            leader: Wire::decode(input)?,
            granted: Wire::decode(input)?,
            doubted: Wire::decode(input)?,
            set_anew: SetAnew { election: Wire::decode(input)?, grant: Wire::decode(input)? },
            pending: Wire::decode(input)?,
            asked_reads: Wire::decode(input)?,
            serving: Wire::decode(input)?,
            told_lead: Wire::decode(input)?,
        })
    }
}

impl Wire for Log {
    fn encode(&self, out: &mut Vec<u8>) {
        self.trim().encode(out);
        self.count().encode(out);
        for (slot, ticket, entry) in self.written() {
            slot.encode(out);
            ticket.encode(out);
            entry.ballot.encode(out);
            entry.payload.encode(out);
            entry.durable.encode(out);
        }
    }
    fn decode(input: &mut Reader) -> Result<Log, WireError> {
        let mut log = Log::default();
        log.drop_through(Wire::decode(input)?);
        for _ in 0..input.u64("entries")? {
            let (slot, ticket): (Slot, Ticket) = Wire::decode(input)?;
            let (ballot, payload) = Wire::decode(input)?;
            log.accept(slot, ballot, payload, ticket, Wire::decode(input)?);
        }
        Ok(log)
    }
}

impl Wire for Config {
    fn encode(&self, out: &mut Vec<u8>) {
        self.election_timeout.encode(out);
        self.heartbeat_interval.encode(out);
        self.lease_reads.map(|leases| leases.clock_rate_error_ppm).encode(out);
        self.read_retry_interval.encode(out);
        self.quorums.encode(out);
        self.accept_entries.encode(out);
        self.accept_bytes.encode(out);
        self.promise_bytes.encode(out);
        self.window_entries.encode(out);
        self.undecided_bytes.encode(out);
        self.waiting_reads.encode(out);
        self.read_rounds.encode(out);
        self.compact_after_entries.encode(out);
        self.compact_keep_entries.encode(out);
        self.keep_log_entries.encode(out);
        self.keep_log_bytes.encode(out);
        self.snapshot_retry_heartbeats.encode(out);
        self.in_sync_entries.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Config, WireError> {
        Ok(Config {
            election_timeout: Wire::decode(input)?,
            heartbeat_interval: Wire::decode(input)?,
            lease_reads: Option::decode(input)?.map(|clock_rate_error_ppm| LeaseReads { clock_rate_error_ppm }),
            read_retry_interval: Wire::decode(input)?,
            quorums: Wire::decode(input)?,
            accept_entries: Wire::decode(input)?,
            accept_bytes: Wire::decode(input)?,
            promise_bytes: Wire::decode(input)?,
            window_entries: Wire::decode(input)?,
            undecided_bytes: Wire::decode(input)?,
            waiting_reads: Wire::decode(input)?,
            read_rounds: Wire::decode(input)?,
            compact_after_entries: Wire::decode(input)?,
            compact_keep_entries: Wire::decode(input)?,
            keep_log_entries: Wire::decode(input)?,
            keep_log_bytes: Wire::decode(input)?,
            snapshot_retry_heartbeats: Wire::decode(input)?,
            in_sync_entries: Wire::decode(input)?,
        })
    }
}

impl Wire for QuorumSizes {
    fn encode(&self, out: &mut Vec<u8>) {
        self.phase1.encode(out);
        self.phase2.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<QuorumSizes, WireError> {
        Ok(QuorumSizes { phase1: Wire::decode(input)?, phase2: Wire::decode(input)? })
    }
}

impl Wire for ToldLead {
    fn encode(&self, out: &mut Vec<u8>) {
        self.era.encode(out);
        self.leader.encode(out);
        self.ready.encode(out);
        self.settled.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<ToldLead, WireError> {
        Ok(ToldLead {
            era: Wire::decode(input)?,
            leader: Wire::decode(input)?,
            ready: Wire::decode(input)?,
            settled: Wire::decode(input)?,
        })
    }
}

impl Wire for Candidacy {
    fn encode(&self, out: &mut Vec<u8>) {
        self.from.encode(out);
        self.promised.encode(out);
        self.found.encode(out);
        self.asked.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Candidacy, WireError> {
        Ok(Candidacy {
            from: Wire::decode(input)?,
            promised: Wire::decode(input)?,
            found: Wire::decode(input)?,
            asked: Wire::decode(input)?,
        })
    }
}

impl Wire for Leadership {
    fn encode(&self, out: &mut Vec<u8>) {
        self.last.encode(out);
        self.inherited.encode(out);
        self.stop_at.encode(out);
        self.peers.encode(out);
        self.round.encode(out);
        self.recent_heartbeats.encode(out);
        self.reads.encode(out);
        self.heard.encode(out);
        self.lease.encode(out);
        self.transfer.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Leadership, WireError> {
        Ok(Leadership {
            last: Wire::decode(input)?,
            inherited: Wire::decode(input)?,
            stop_at: Wire::decode(input)?,
            peers: Wire::decode(input)?,
            round: Wire::decode(input)?,
            recent_heartbeats: Wire::decode(input)?,
            reads: Wire::decode(input)?,
            heard: Wire::decode(input)?,
            lease: Wire::decode(input)?,
            transfer: Wire::decode(input)?,
        })
    }
}

impl Wire for Handover {
    fn encode(&self, out: &mut Vec<u8>) {
        self.request.encode(out);
        self.to.encode(out);
        self.told.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Handover, WireError> {
        Ok(Handover { request: Wire::decode(input)?, to: Wire::decode(input)?, told: Wire::decode(input)? })
    }
}

impl Wire for Peer {
    fn encode(&self, out: &mut Vec<u8>) {
        self.matched.encode(out);
        self.next.encode(out);
        self.resent_round.encode(out);
        self.answered_round.encode(out);
        self.told_chosen.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Peer, WireError> {
        Ok(Peer {
            matched: Wire::decode(input)?,
            next: Wire::decode(input)?,
            resent_round: Wire::decode(input)?,
            answered_round: Wire::decode(input)?,
            told_chosen: Wire::decode(input)?,
        })
    }
}

impl Wire for Claim {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Claim::Promised(inner) => {
                out.push(0);
                inner.encode(out);
            }
            Claim::Accepted { ballot, first, count } => {
                out.push(1);
                ballot.encode(out);
                first.encode(out);
                count.encode(out);
            }
            Claim::Snapshot => out.push(2),
        }
    }
    fn decode(input: &mut Reader) -> Result<Claim, WireError> {
        match input.byte("claim")? {
            0 => Ok(Claim::Promised(Wire::decode(input)?)),
            1 => Ok(Claim::Accepted {
                ballot: Wire::decode(input)?,
                first: Wire::decode(input)?,
                count: Wire::decode(input)?,
            }),
            2 => Ok(Claim::Snapshot),
            kind => Err(WireError::UnknownKind { what: "claim", kind }),
        }
    }
}

impl Wire for Serving {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Serving::Pinning => out.push(0),
            Serving::Sending { id, through } => {
                out.push(1);
                id.encode(out);
                through.encode(out);
            }
            Serving::Paused(inner) => {
                out.push(2);
                inner.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Serving, WireError> {
        match input.byte("snapshot under way")? {
            0 => Ok(Serving::Pinning),
            1 => Ok(Serving::Sending { id: Wire::decode(input)?, through: Wire::decode(input)? }),
            2 => Ok(Serving::Paused(Wire::decode(input)?)),
            kind => Err(WireError::UnknownKind { what: "snapshot under way", kind }),
        }
    }
}

impl Wire for Position {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Position::Follower => out.push(0),
            Position::Candidate(inner) => {
                out.push(1);
                inner.encode(out);
            }
            Position::Leader(inner) => {
                out.push(2);
                inner.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Position, WireError> {
        match input.byte("position")? {
            0 => Ok(Position::Follower),
            1 => Ok(Position::Candidate(Wire::decode(input)?)),
            2 => Ok(Position::Leader(Box::new(Wire::decode(input)?))),
            kind => Err(WireError::UnknownKind { what: "position", kind }),
        }
    }
}
