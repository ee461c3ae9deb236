//! Which slot wrote a key: only where values were recorded.

use bytes::Bytes;
use quorate_keyspace::{Operation, Request};
use quorate_machine::decode_batch;
use quorate_protocol::{Decision, Output};
use quorate_raft::Raft;
use quorate_recorder::{BatchMark, Doing, Life, SceneKind};
use quorate_types::{Slot, Time};
use quorate_wire::decode_exact;
use std::collections::BTreeSet;

/// The last slot up to this time in whose batch a command may write the key, by any member's recording; or, if there is none, the
/// first one later. A slot counts from the moment its batch was first seen: it need not be committed.
pub fn slot_of(key: &[u8], lives: &[Life], until: Option<Time>) -> Option<Slot> {
    let found: Vec<(Slot, Time)> = lives.iter().flat_map(|life| slots_in(key, life)).collect();
    let by_then =
        found.iter().filter(|(_, seen)| until.is_none_or(|until| *seen <= until)).map(|(slot, _)| *slot).max();
    by_then.or_else(|| found.iter().map(|(slot, _)| *slot).min())
}

fn slots_in(key: &[u8], life: &Life) -> Vec<(Slot, Time)> {
    let mut writing: BTreeSet<BatchMark> = BTreeSet::new();
    let mut found = Vec::new();
    // What is wrong with a recording is said when it is told.
    let _ = life.replay::<Raft>(|scene| match &scene.kind {
        SceneKind::Values(batches) => {
            writing.extend(batches.iter().filter(|batch| writes(batch, key)).map(|batch| BatchMark::of(batch)));
        }
        SceneKind::Moment(moment) => {
            let Doing::Said(outputs) = &moment.doing else { return };
            let slots = outputs.iter().filter_map(|output| slot_said(output, &writing));
            found.extend(slots.map(|slot| (slot, scene.wall)));
        }
        _ => {}
    });
    found
}

/// The last slot of such a batch that this output appends or decides.
fn slot_said(output: &Output<Raft>, writing: &BTreeSet<BatchMark>) -> Option<Slot> {
    let is_one = |stand_in: &Bytes| writing.contains(&BatchMark::of_stand_in(stand_in));
    match output {
        Output::Decide { slot, decision: Decision::Commands(batch) } if is_one(batch) => Some(*slot),
        Output::Persist { records, .. } => {
            let appended = records.iter().filter_map(|record| match record {
                quorate_raft::Record::Append { first, entries } => Some((first, entries)),
                _ => None,
            });
            let slots = appended.flat_map(|(first, entries)| {
                (first.0..).map(Slot).zip(entries.iter()).filter_map(|(slot, entry)| match &entry.payload {
                    quorate_raft::Payload::Command(batch) if is_one(batch) => Some(slot),
                    _ => None,
                })
            });
            slots.max()
        }
        _ => None,
    }
}

fn writes(batch: &Bytes, key: &[u8]) -> bool {
    let Ok(commands) = decode_batch(batch.clone()) else { return false };
    commands.iter().any(|command| match decode_exact::<Request>(command.payload.clone()) {
        Ok(Request::Put(put)) => put.key == key,
        Ok(Request::DeleteRange(delete)) => covers(&delete.key, &delete.range_end, key),
        Ok(Request::Txn(txn)) => {
            txn.success.iter().chain(&txn.failure).any(|operation| operation_writes(operation, key))
        }
        _ => false,
    })
}

fn operation_writes(operation: &Operation, key: &[u8]) -> bool {
    match operation {
        Operation::Put(put) => put.key == key,
        Operation::DeleteRange(delete) => covers(&delete.key, &delete.range_end, key),
        Operation::Txn(txn) => txn.success.iter().chain(&txn.failure).any(|inner| operation_writes(inner, key)),
        Operation::Range(_) => false,
    }
}

/// Etcd's ranges: without an end one key, with the end `\0` everything from the key on.
fn covers(from: &[u8], range_end: &[u8], key: &[u8]) -> bool {
    match range_end {
        [] => key == from,
        [0] => key >= from,
        end => key >= from && key < end,
    }
}
