//! The whole replica as bytes: what a recording of it begins with, so that the same code can go on from its middle.
//!
//! Everything is written that the replica's next word may depend on, also what its equality does not look at (tickets, landmarks).
//! What follows from the rest is made anew.

mod stage;

use crate::config::Config;
use crate::durability::{Claim, DiskMarks};
use crate::entry::{Entries, Entry};
use crate::log::Log;
use crate::message::Message;
use crate::record::Record;
use crate::replica::{Stage, ToldLead, Viewstamped};
use crate::rules;
use crate::snapshot::Transfer;
use bytes::Bytes;
use quorate_protocol::{Event, Recordable, Rule, Verdict};
use quorate_wire::{Reader, Wire, WireError};

impl Entry {
    fn with_batch(self, change: &mut dyn FnMut(Bytes) -> Bytes) -> Entry {
        match self {
            Entry::Commands(batch) => Entry::Commands(change(batch)),
            other => other,
        }
    }
}

impl Entries {
    fn with_batches(self, change: &mut dyn FnMut(Bytes) -> Bytes) -> Entries {
        self.iter().map(|entry| entry.clone().with_batch(change)).collect::<Vec<_>>().into()
    }
}

impl Recordable for Viewstamped {
    fn with_batches(mut self, change: &mut dyn FnMut(Bytes) -> Bytes) -> Viewstamped {
        let mut log = Log::behind(self.log.base(), self.log.base_configuration().clone());
        self.log.iter().for_each(|entry| log.push(entry.clone().with_batch(change)));
        self.log = log;
        if let Stage::Changing(changing) = &mut self.stage {
            for offer in changing.offers.values_mut() {
                offer.entries = std::mem::take(&mut offer.entries).with_batches(change);
            }
        }
        self
    }

    fn message_with_batches(mut message: Message, change: &mut dyn FnMut(Bytes) -> Bytes) -> Message {
        if let Message::Prepare { entries, .. }
        | Message::DoViewChange { entries, .. }
        | Message::StartView { entries, .. }
        | Message::NewState { entries, .. } = &mut message
        {
            *entries = std::mem::take(entries).with_batches(change);
        }
        message
    }

    fn record_with_batches(mut record: Record, change: &mut dyn FnMut(Bytes) -> Bytes) -> Record {
        if let Record::Append { entries, .. } | Record::Entered { entries, .. } = &mut record {
            *entries = std::mem::take(entries).with_batches(change);
        }
        record
    }

    fn is_routine(event: &Event) -> bool {
        let with_every_command = [
            &rules::PROPOSE,
            &rules::PREPARE,
            &rules::COMMIT,
            &rules::LEARN,
            &rules::DECIDE,
            &rules::READ,
            &rules::READ_FORWARD,
        ];
        let always = [&rules::STALE, &rules::STALE_TIMER, &rules::COMPACT];
        let is_among = |several: &[&Rule]| several.iter().any(|rule| rule.id == event.rule.id);
        is_among(&always) || event.verdict != Verdict::Refused && is_among(&with_every_command)
    }
}

/// A violation is not written: a replica that has one is stopped, and nothing follows.
impl Wire for Viewstamped {
    fn encode(&self, out: &mut Vec<u8>) {
        self.me.encode(out);
        self.config.encode(out);
        self.view.encode(out);
        self.last_normal.encode(out);
        self.configuration.encode(out);
        self.stage.encode(out);
        self.log.encode(out);
        self.disk.encode(out);
        self.commit.encode(out);
        self.decided.encode(out);
        self.applied.encode(out);
        self.applied_durable.encode(out);
        self.undecided_bytes.encode(out);
        self.everyone_has.encode(out);
        self.installing.encode(out);
        self.transfers.encode(out);
        self.asked_reads.encode(out);
        self.told_lead.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Viewstamped, WireError> {
        Ok(Viewstamped {
            me: Wire::decode(input)?,
            config: Wire::decode(input)?,
            view: Wire::decode(input)?,
            last_normal: Wire::decode(input)?,
            configuration: Wire::decode(input)?,
            stage: Wire::decode(input)?,
            log: Wire::decode(input)?,
            disk: Wire::decode(input)?,
            commit: Wire::decode(input)?,
            decided: Wire::decode(input)?,
            applied: Wire::decode(input)?,
            applied_durable: Wire::decode(input)?,
            undecided_bytes: Wire::decode(input)?,
            everyone_has: Wire::decode(input)?,
            installing: Wire::decode(input)?,
            transfers: Wire::decode(input)?,
            asked_reads: Wire::decode(input)?,
            told_lead: Wire::decode(input)?,
            broken: None,
        })
    }
}

impl Wire for Config {
    fn encode(&self, out: &mut Vec<u8>) {
        self.view_timeout.encode(out);
        self.heartbeat_interval.encode(out);
        self.read_retry_interval.encode(out);
        self.prepare_bytes.encode(out);
        self.prepare_entries.encode(out);
        self.window_messages.encode(out);
        self.undecided_bytes.encode(out);
        self.state_bytes.encode(out);
        self.waiting_reads.encode(out);
        self.read_rounds.encode(out);
        self.compact_after_entries.encode(out);
        self.compact_keep_entries.encode(out);
        self.keep_log_bytes.encode(out);
        self.keep_log_entries.encode(out);
        self.snapshot_retry_heartbeats.encode(out);
        self.farewell_heartbeats.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Config, WireError> {
        Ok(Config {
            view_timeout: Wire::decode(input)?,
            heartbeat_interval: Wire::decode(input)?,
            read_retry_interval: Wire::decode(input)?,
            prepare_bytes: Wire::decode(input)?,
            prepare_entries: Wire::decode(input)?,
            window_messages: Wire::decode(input)?,
            undecided_bytes: Wire::decode(input)?,
            state_bytes: Wire::decode(input)?,
            waiting_reads: Wire::decode(input)?,
            read_rounds: Wire::decode(input)?,
            compact_after_entries: Wire::decode(input)?,
            compact_keep_entries: Wire::decode(input)?,
            keep_log_bytes: Wire::decode(input)?,
            keep_log_entries: Wire::decode(input)?,
            snapshot_retry_heartbeats: Wire::decode(input)?,
            farewell_heartbeats: Wire::decode(input)?,
        })
    }
}

impl Wire for Log {
    fn encode(&self, out: &mut Vec<u8>) {
        self.base().encode(out);
        self.base_configuration().encode(out);
        self.count().encode(out);
        self.iter().for_each(|entry| entry.encode(out));
    }
    fn decode(input: &mut Reader) -> Result<Log, WireError> {
        let mut log = Log::behind(Wire::decode(input)?, Wire::decode(input)?);
        Vec::<Entry>::decode(input)?.into_iter().for_each(|entry| log.push(entry));
        Ok(log)
    }
}

impl Wire for ToldLead {
    fn encode(&self, out: &mut Vec<u8>) {
        self.view.encode(out);
        self.primary.encode(out);
        self.ready.encode(out);
        self.settled.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<ToldLead, WireError> {
        Ok(ToldLead {
            view: Wire::decode(input)?,
            primary: Wire::decode(input)?,
            ready: Wire::decode(input)?,
            settled: Wire::decode(input)?,
        })
    }
}

impl Wire for DiskMarks {
    fn encode(&self, out: &mut Vec<u8>) {
        self.written.encode(out);
        self.durable.encode(out);
        self.pending.encode(out);
        self.landmarks.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<DiskMarks, WireError> {
        Ok(DiskMarks {
            written: Wire::decode(input)?,
            durable: Wire::decode(input)?,
            pending: Wire::decode(input)?,
            landmarks: Wire::decode(input)?,
        })
    }
}

impl Wire for Claim {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Claim::View { view } => {
                out.push(0);
                view.encode(out);
            }
            Claim::Log { through } => {
                out.push(1);
                through.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Claim, WireError> {
        match input.byte("claim")? {
            0 => Ok(Claim::View { view: Wire::decode(input)? }),
            1 => Ok(Claim::Log { through: Wire::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "claim", kind }),
        }
    }
}

impl Wire for Transfer {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Transfer::Pinning => out.push(0),
            Transfer::Sending { id, through } => {
                out.push(1);
                id.encode(out);
                through.encode(out);
            }
            Transfer::Paused { heartbeats } => {
                out.push(2);
                heartbeats.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Transfer, WireError> {
        match input.byte("snapshot under way")? {
            0 => Ok(Transfer::Pinning),
            1 => Ok(Transfer::Sending { id: Wire::decode(input)?, through: Wire::decode(input)? }),
            2 => Ok(Transfer::Paused { heartbeats: Wire::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "snapshot under way", kind }),
        }
    }
}
