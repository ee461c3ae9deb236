//! Messages and records as bytes.

use bytes::Bytes;
use quorate_protocol::{ReadToken, SnapshotId};
use quorate_raft::{Anchor, Append, AppendOutcome, Configuration, Entry, Message, Payload, ReadAnswer, Record};
use quorate_types::{Incarnation, Membership, NodeId, Slot};
use quorate_wire::{Wire, WireError, decode_exact, encode_to_bytes};
use std::fmt::Debug;

fn joint() -> Configuration {
    Configuration { outgoing: Some(Membership::of_voters(3)), members: Membership::of_voters(5) }
}

fn entries() -> Vec<Entry> {
    let payloads = [Payload::Command(Bytes::from_static(b"put")), Payload::NoOp, Payload::Members(Box::new(joint()))];
    payloads.into_iter().map(|payload| Entry { term: 7, payload }).collect()
}

fn messages() -> Vec<Message> {
    let token = ReadToken { node: NodeId(1), incarnation: Incarnation(2), number: 3 };
    let append = Append {
        term: 7,
        prev_slot: Slot(8),
        prev_term: 6,
        entries: entries().into(),
        commit: Slot(5),
        everyone_has: Slot(4),
        round: 9,
    };
    let outcomes = [
        AppendOutcome::Accepted { matched: Slot(300), round: 2 },
        AppendOutcome::Rejected { prev_slot: Slot(4), hint_slot: Slot(3), hint_term: 2, round: 1 },
        AppendOutcome::StaleTerm,
    ];
    let answers = [ReadAnswer::At(Slot(9)), ReadAnswer::NotLeading];
    [
        Message::PreVote { term: 1, last_slot: Slot(2), last_term: 3 },
        Message::RequestVote { term: 1, last_slot: Slot(2), last_term: 3, transfer: true },
        Message::VoteResponse { term: u64::MAX, granted: true, pre: false },
        Message::Append(append),
        Message::ReadIndex { term: 4, token },
        Message::TimeoutNow { term: 4, last_slot: Slot(1 << 40), last_term: 3 },
        Message::Priority { term: 4, priority: u8::MAX },
    ]
    .into_iter()
    .chain(outcomes.map(|outcome| Message::AppendResponse { term: 7, outcome }))
    .chain(answers.map(|answer| Message::ReadIndexResponse { term: 7, token, answer }))
    .collect()
}

fn records() -> Vec<Record> {
    vec![
        Record::Founded { membership: Membership::of_voters(3) },
        Record::TermVote { term: 3, voted_for: Some(NodeId(2)) },
        Record::TermVote { term: 3, voted_for: None },
        Record::Append { first: Slot(12), entries: entries().into() },
        Record::Truncate { from: Slot(12) },
        Record::Anchor(Anchor { slot: Slot(11), term: 3, configuration: joint() }),
        Record::Snapshot { id: SnapshotId(300), anchor: Anchor { slot: Slot(11), term: 3, configuration: joint() } },
    ]
}

/// Decodes to itself, and no shorter or longer bytes decode.
fn is_exact<T: Wire + Debug + PartialEq>(value: &T) {
    let bytes = encode_to_bytes(value);
    assert_eq!(decode_exact::<T>(bytes.clone()).as_ref(), Ok(value));
    for shorter in 0..bytes.len() {
        assert!(decode_exact::<T>(bytes.slice(..shorter)).is_err(), "{shorter} bytes of {value:?}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(decode_exact::<T>(Bytes::from(longer)), Err(WireError::Trailing { count: 1 }));
}

#[test]
fn every_message_decodes_to_itself() {
    messages().iter().for_each(is_exact);
}

#[test]
fn every_record_decodes_to_itself() {
    records().iter().for_each(is_exact);
}

#[test]
fn unknown_kinds_name_themselves() {
    let unknown = Bytes::from_static(&[99]);
    let kind = 99;
    assert_eq!(decode_exact::<Message>(unknown.clone()), Err(WireError::UnknownKind { what: "raft message", kind }));
    assert_eq!(decode_exact::<Record>(unknown), Err(WireError::UnknownKind { what: "raft record", kind }));
}
