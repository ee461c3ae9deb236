//! The whole replica as bytes: what a recording of it begins with, so that the same code can go on from its middle.
//!
//! Everything is written that the replica's next word may depend on, also what its equality does not look at (tickets, landmarks).
//! What follows from the rest is made anew.

use crate::config::Config;
use crate::connection::Receiving;
use crate::election::Election;
use crate::following::{Following, Stage};
use crate::handover::Handover;
use crate::leading::{LeaderStage, Leadership, Peer, PeerStage};
use crate::message::{LeaderWord, Message};
use crate::record::Record;
use crate::replica::{Broadcast, Claim, Position, Serving, ToldLead};
use crate::rules;
use crate::zxid::{Payload, Txn};
use bytes::Bytes;
use quorate_protocol::{Event, Recordable, Rule, Verdict};
use quorate_wire::{Reader, Wire, WireError};

impl Txn {
    pub(crate) fn with_batch(self, change: &mut dyn FnMut(Bytes) -> Bytes) -> Txn {
        match self.payload {
            Payload::Command(batch) => Txn { payload: Payload::Command(change(batch)), ..self },
            Payload::Stop(_) | Payload::Nothing => self,
        }
    }
}

fn txns_with_batches(txns: Vec<Txn>, change: &mut dyn FnMut(Bytes) -> Bytes) -> Vec<Txn> {
    txns.into_iter().map(|txn| txn.with_batch(change)).collect()
}

fn word_with_batches(word: LeaderWord, change: &mut dyn FnMut(Bytes) -> Bytes) -> LeaderWord {
    match word {
        LeaderWord::Proposal { first, txns } => LeaderWord::Proposal { first, txns: txns_with_batches(txns, change) },
        other => other,
    }
}

impl Recordable for Broadcast {
    fn with_batches(mut self, change: &mut dyn FnMut(Bytes) -> Bytes) -> Broadcast {
        self.log = self.log.with_batches(change);
        if let Position::Following(following) = &mut self.position {
            let held = std::mem::take(&mut following.receiving.held);
            following.receiving.held =
                held.into_iter().map(|(sequence, word)| (sequence, word_with_batches(word, change))).collect();
        }
        self
    }

    fn message_with_batches(message: Message, change: &mut dyn FnMut(Bytes) -> Bytes) -> Message {
        match message {
            Message::Down { connection, sequence, word } => {
                Message::Down { connection, sequence, word: word_with_batches(word, change) }
            }
            other => other,
        }
    }

    fn record_with_batches(record: Record, change: &mut dyn FnMut(Bytes) -> Bytes) -> Record {
        match record {
            Record::Txns { first, txns } => Record::Txns { first, txns: txns_with_batches(txns, change) },
            other => other,
        }
    }

    fn is_routine(event: &Event) -> bool {
        let with_every_command = [
            &rules::PROPOSE,
            &rules::ACCEPT,
            &rules::COMMIT,
            &rules::LEARN,
            &rules::DELIVER,
            &rules::READ,
            &rules::READ_FORWARD,
        ];
        let always = [&rules::STALE, &rules::COMPACT];
        let is_among = |several: &[&Rule]| several.iter().any(|rule| rule.id == event.rule.id);
        is_among(&always) || event.verdict != Verdict::Refused && is_among(&with_every_command)
    }
}

impl Wire for Broadcast {
    fn encode(&self, out: &mut Vec<u8>) {
        self.me.encode(out);
        self.incarnation.encode(out);
        self.config.encode(out);
        self.members.encode(out);
        self.accepted_epoch.encode(out);
        self.current_epoch.encode(out);
        self.log.encode(out);
        self.flushed.encode(out);
        self.committed.encode(out);
        self.decided.encode(out);
        self.applied.encode(out);
        self.applied_durable.encode(out);
        self.everyone_has.encode(out);
        self.given_up_from.encode(out);
        self.installing.encode(out);
        self.stopped.encode(out);
        self.round.encode(out);
        self.connections.encode(out);
        self.position.encode(out);
        self.pending.encode(out);
        self.asked_reads.encode(out);
        self.serving.encode(out);
        self.told_lead.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Broadcast, WireError> {
        Ok(Broadcast {
            me: Wire::decode(input)?,
            incarnation: Wire::decode(input)?,
            config: Wire::decode(input)?,
            members: Wire::decode(input)?,
            accepted_epoch: Wire::decode(input)?,
            current_epoch: Wire::decode(input)?,
            log: Wire::decode(input)?,
            flushed: Wire::decode(input)?,
            committed: Wire::decode(input)?,
            decided: Wire::decode(input)?,
            applied: Wire::decode(input)?,
            applied_durable: Wire::decode(input)?,
            everyone_has: Wire::decode(input)?,
            given_up_from: Wire::decode(input)?,
            installing: Wire::decode(input)?,
            stopped: Wire::decode(input)?,
            round: Wire::decode(input)?,
            connections: Wire::decode(input)?,
            position: Wire::decode(input)?,
            pending: Wire::decode(input)?,
            asked_reads: Wire::decode(input)?,
            serving: Wire::decode(input)?,
            told_lead: Wire::decode(input)?,
        })
    }
}

impl Wire for Config {
    fn encode(&self, out: &mut Vec<u8>) {
        self.tick.encode(out);
        self.init_limit_ticks.encode(out);
        self.sync_limit_ticks.encode(out);
        self.finalize_wait.encode(out);
        self.notification_interval.encode(out);
        self.notification_interval_most.encode(out);
        self.read_retry_interval.encode(out);
        self.counter_most.encode(out);
        self.held_messages.encode(out);
        self.proposal_entries.encode(out);
        self.proposal_bytes.encode(out);
        self.window_entries.encode(out);
        self.undecided_bytes.encode(out);
        self.waiting_reads.encode(out);
        self.read_rounds.encode(out);
        self.compact_after_entries.encode(out);
        self.compact_keep_entries.encode(out);
        self.keep_log_entries.encode(out);
        self.keep_log_bytes.encode(out);
        self.snapshot_retry_ticks.encode(out);
        self.in_sync_entries.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Config, WireError> {
        Ok(Config {
            tick: Wire::decode(input)?,
            init_limit_ticks: Wire::decode(input)?,
            sync_limit_ticks: Wire::decode(input)?,
            finalize_wait: Wire::decode(input)?,
            notification_interval: Wire::decode(input)?,
            notification_interval_most: Wire::decode(input)?,
            read_retry_interval: Wire::decode(input)?,
            counter_most: Wire::decode(input)?,
            held_messages: Wire::decode(input)?,
            proposal_entries: Wire::decode(input)?,
            proposal_bytes: Wire::decode(input)?,
            window_entries: Wire::decode(input)?,
            undecided_bytes: Wire::decode(input)?,
            waiting_reads: Wire::decode(input)?,
            read_rounds: Wire::decode(input)?,
            compact_after_entries: Wire::decode(input)?,
            compact_keep_entries: Wire::decode(input)?,
            keep_log_entries: Wire::decode(input)?,
            keep_log_bytes: Wire::decode(input)?,
            snapshot_retry_ticks: Wire::decode(input)?,
            in_sync_entries: Wire::decode(input)?,
        })
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

impl Wire for Election {
    fn encode(&self, out: &mut Vec<u8>) {
        self.vote.encode(out);
        self.tally.encode(out);
        self.outside.encode(out);
        self.finalizing.encode(out);
        self.repeated.encode(out);
        self.heir.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Election, WireError> {
        Ok(Election {
            vote: Wire::decode(input)?,
            tally: Wire::decode(input)?,
            outside: Wire::decode(input)?,
            finalizing: Wire::decode(input)?,
            repeated: Wire::decode(input)?,
            heir: Wire::decode(input)?,
        })
    }
}

impl Wire for Following {
    fn encode(&self, out: &mut Vec<u8>) {
        self.leader.encode(out);
        self.vote.encode(out);
        self.connection.encode(out);
        self.stage.encode(out);
        self.receiving.encode(out);
        self.heard_commit.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Following, WireError> {
        Ok(Following {
            leader: Wire::decode(input)?,
            vote: Wire::decode(input)?,
            connection: Wire::decode(input)?,
            stage: Wire::decode(input)?,
            receiving: Wire::decode(input)?,
            heard_commit: Wire::decode(input)?,
        })
    }
}

impl Wire for Receiving {
    fn encode(&self, out: &mut Vec<u8>) {
        self.next.encode(out);
        self.held.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Receiving, WireError> {
        Ok(Receiving { next: Wire::decode(input)?, held: Wire::decode(input)? })
    }
}

impl Wire for Leadership {
    fn encode(&self, out: &mut Vec<u8>) {
        self.vote.encode(out);
        self.stage.encode(out);
        self.initial.encode(out);
        self.counter.encode(out);
        self.handover.encode(out);
        self.stop_at.encode(out);
        self.peers.encode(out);
        self.round.encode(out);
        self.recent_pings.encode(out);
        self.reads.encode(out);
        self.heard.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Leadership, WireError> {
        Ok(Leadership {
            vote: Wire::decode(input)?,
            stage: Wire::decode(input)?,
            initial: Wire::decode(input)?,
            counter: Wire::decode(input)?,
            handover: Wire::decode(input)?,
            stop_at: Wire::decode(input)?,
            peers: Wire::decode(input)?,
            round: Wire::decode(input)?,
            recent_pings: Wire::decode(input)?,
            reads: Wire::decode(input)?,
            heard: Wire::decode(input)?,
        })
    }
}

impl Wire for Handover {
    fn encode(&self, out: &mut Vec<u8>) {
        self.request.encode(out);
        self.to.encode(out);
        self.at.encode(out);
        self.ticks_left.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Handover, WireError> {
        Ok(Handover {
            request: Wire::decode(input)?,
            to: Wire::decode(input)?,
            at: Wire::decode(input)?,
            ticks_left: Wire::decode(input)?,
        })
    }
}

impl Wire for Peer {
    fn encode(&self, out: &mut Vec<u8>) {
        self.connection.encode(out);
        self.sequence.encode(out);
        self.stage.encode(out);
        self.accepted_epoch.encode(out);
        self.last.encode(out);
        self.next.encode(out);
        self.received.encode(out);
        self.matched.encode(out);
        self.told_committed.encode(out);
        self.answered_round.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Peer, WireError> {
        Ok(Peer {
            connection: Wire::decode(input)?,
            sequence: Wire::decode(input)?,
            stage: Wire::decode(input)?,
            accepted_epoch: Wire::decode(input)?,
            last: Wire::decode(input)?,
            next: Wire::decode(input)?,
            received: Wire::decode(input)?,
            matched: Wire::decode(input)?,
            told_committed: Wire::decode(input)?,
            answered_round: Wire::decode(input)?,
        })
    }
}

impl Wire for Claim {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Claim::Accepted(inner) => {
                out.push(0);
                inner.encode(out);
            }
            Claim::Current(inner) => {
                out.push(1);
                inner.encode(out);
            }
            Claim::History(inner) => {
                out.push(2);
                inner.encode(out);
            }
            Claim::Snapshot => out.push(3),
        }
    }
    fn decode(input: &mut Reader) -> Result<Claim, WireError> {
        match input.byte("claim")? {
            0 => Ok(Claim::Accepted(Wire::decode(input)?)),
            1 => Ok(Claim::Current(Wire::decode(input)?)),
            2 => Ok(Claim::History(Wire::decode(input)?)),
            3 => Ok(Claim::Snapshot),
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
            Position::Looking(inner) => {
                out.push(0);
                inner.encode(out);
            }
            Position::Following(inner) => {
                out.push(1);
                inner.encode(out);
            }
            Position::Leading(inner) => {
                out.push(2);
                inner.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Position, WireError> {
        match input.byte("position")? {
            0 => Ok(Position::Looking(Wire::decode(input)?)),
            1 => Ok(Position::Following(Box::new(Wire::decode(input)?))),
            2 => Ok(Position::Leading(Box::new(Wire::decode(input)?))),
            kind => Err(WireError::UnknownKind { what: "position", kind }),
        }
    }
}

impl Wire for Stage {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Stage::Connecting => out.push(0),
            Stage::Promised { counts } => {
                out.push(1);
                counts.encode(out);
            }
            Stage::Waiting => out.push(2),
            Stage::Synchronising => out.push(3),
            Stage::Acknowledged => out.push(4),
            Stage::Broadcasting => out.push(5),
        }
    }
    fn decode(input: &mut Reader) -> Result<Stage, WireError> {
        match input.byte("stage of a follower")? {
            0 => Ok(Stage::Connecting),
            1 => Ok(Stage::Promised { counts: Wire::decode(input)? }),
            2 => Ok(Stage::Waiting),
            3 => Ok(Stage::Synchronising),
            4 => Ok(Stage::Acknowledged),
            5 => Ok(Stage::Broadcasting),
            kind => Err(WireError::UnknownKind { what: "stage of a follower", kind }),
        }
    }
}

impl Wire for LeaderStage {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            LeaderStage::Discovering => out.push(0),
            LeaderStage::Electing => out.push(1),
            LeaderStage::Recording => out.push(2),
            LeaderStage::Synchronising => out.push(3),
            LeaderStage::Broadcasting => out.push(4),
        }
    }
    fn decode(input: &mut Reader) -> Result<LeaderStage, WireError> {
        match input.byte("stage of a leader")? {
            0 => Ok(LeaderStage::Discovering),
            1 => Ok(LeaderStage::Electing),
            2 => Ok(LeaderStage::Recording),
            3 => Ok(LeaderStage::Synchronising),
            4 => Ok(LeaderStage::Broadcasting),
            kind => Err(WireError::UnknownKind { what: "stage of a leader", kind }),
        }
    }
}

impl Wire for PeerStage {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            PeerStage::Connected => out.push(0),
            PeerStage::Asked => out.push(1),
            PeerStage::Promised { counts } => {
                out.push(2);
                counts.encode(out);
            }
            PeerStage::Snapshot => out.push(3),
            PeerStage::Synchronising => out.push(4),
            PeerStage::Offered => out.push(5),
            PeerStage::Synchronised => out.push(6),
        }
    }
    fn decode(input: &mut Reader) -> Result<PeerStage, WireError> {
        match input.byte("stage of a peer")? {
            0 => Ok(PeerStage::Connected),
            1 => Ok(PeerStage::Asked),
            2 => Ok(PeerStage::Promised { counts: Wire::decode(input)? }),
            3 => Ok(PeerStage::Snapshot),
            4 => Ok(PeerStage::Synchronising),
            5 => Ok(PeerStage::Offered),
            6 => Ok(PeerStage::Synchronised),
            kind => Err(WireError::UnknownKind { what: "stage of a peer", kind }),
        }
    }
}
