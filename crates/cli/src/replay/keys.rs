//! Which slot wrote a key: only where values were recorded.

use super::protocol_of;
use bytes::Bytes;
use quorate_keyspace::{Operation, Request};
use quorate_machine::{ClientCommand, decode_batch};
use quorate_protocol::{Decision, LogChange, Output};
use quorate_recorder::{BatchMark, Doing, Life, SceneKind};
use quorate_service::{OnProtocol, Served};
use quorate_types::{Slot, Time};
use quorate_wire::decode_exact;
use std::collections::BTreeSet;

/// The last slot up to this time in whose batch a command may write the key, by any member's recording; or, if there is none, the
/// first one later. A slot counts from the moment its batch was first seen: it need not be committed.
pub fn slot_of(key: &[u8], lives: &[Life], until: Option<Time>) -> Option<Slot> {
    let slots = |life| protocol_of(life).map(|protocol| protocol.on(SlotsOf { key, life })).unwrap_or_default();
    let found: Vec<(Slot, Time)> = lives.iter().flat_map(slots).collect();
    let by_then =
        found.iter().filter(|(_, seen)| until.is_none_or(|until| *seen <= until)).map(|(slot, _)| *slot).max();
    by_then.or_else(|| found.iter().map(|(slot, _)| *slot).min())
}

/// The slots of one life that write a key, and when each was seen.
struct SlotsOf<'a> {
    key: &'a [u8],
    life: &'a Life,
}

impl OnProtocol for SlotsOf<'_> {
    type Output = Vec<(Slot, Time)>;

    fn run<R: Served>(self) -> Vec<(Slot, Time)> {
        let SlotsOf { key, life } = self;
        let mut writing: BTreeSet<BatchMark> = BTreeSet::new();
        let mut found = Vec::new();
        // What is wrong with a recording is said when it is told.
        let _ = life.replay::<R>(|scene| match &scene.kind {
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
}

/// The last slot of such a batch that this output appends or decides.
fn slot_said<R: Served>(output: &Output<R>, writing: &BTreeSet<BatchMark>) -> Option<Slot> {
    let is_one = |decision: &Decision| match decision {
        Decision::Commands(stand_in) => writing.contains(&BatchMark::of_stand_in(stand_in)),
        Decision::Members(_) | Decision::Nothing => false,
    };
    match output {
        Output::Decide { slot, decision } if is_one(decision) => Some(*slot),
        Output::Persist { records, .. } => {
            let last = |change: LogChange| {
                let place = change.decisions.iter().rposition(is_one)?;
                Some(Slot(change.first.0 + place as u64))
            };
            records.iter().filter_map(R::log_change).filter_map(last).max()
        }
        _ => None,
    }
}

fn writes(batch: &Bytes, key: &[u8]) -> bool {
    let Ok(commands) = decode_batch(batch.clone()) else { return false };
    let called = commands.iter().filter_map(|command| ClientCommand::called(&command.payload));
    called.filter_map(|payload| decode_exact::<Request>(payload).ok()).any(|request| match request {
        Request::Put(put) => put.key == key,
        Request::DeleteRange(delete) => covers(&delete.key, &delete.range_end, key),
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(|operation| operation_writes(operation, key)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_keyspace::PutRequest;
    use quorate_machine::{ClientId, Command, encode_batch};
    use quorate_types::{ClusterId, Incarnation, Session};
    use quorate_wire::encode_to_bytes;

    fn batch_of(payload: Bytes) -> Bytes {
        let session = Session { owner: 1, incarnation: Incarnation(1) };
        encode_batch(&[Command { session, sequence: 1, acked_below: 1, stamp: Time::ZERO, payload }])
    }

    #[test]
    fn a_put_is_found_also_where_a_clients_session_calls_it() {
        let put =
            PutRequest { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v"), ..PutRequest::default() };
        let payload = encode_to_bytes(&Request::Put(put));
        let client = ClientId { cluster: ClusterId(1), nonce: 7 };
        let call = ClientCommand::Call { client, sequence: 1, acked_below: 1, payload: payload.clone() };
        for written in [batch_of(payload), batch_of(encode_to_bytes(&call))] {
            assert!(writes(&written, b"k"));
            assert!(!writes(&written, b"l"));
        }
        assert!(!writes(&batch_of(encode_to_bytes(&ClientCommand::Close { client })), b"k"));
    }
}
