//! Opening from durable records, whatever they are.

use crate::cluster::*;
use quorate_protocol::{Durable, OpenError, Outbox, Output, Replica, SnapshotId, Start};
use quorate_raft::{Anchor, Config, Configuration, Raft, Record};
use quorate_types::{Membership, NodeId, Slot, Ticket};

fn open(records: Vec<Record>, applied: u64) -> Result<Raft, OpenError> {
    let records = records.into_iter().enumerate().map(|(at, record)| (Ticket(at as u64 + 1), record)).collect();
    let found = Durable { records, anchor: None, applied: Slot(applied) };
    Raft::open(&setup(1, Start::Join), &Config::default(), found, &mut Outbox::new(Ticket(100), false))
}

fn founded() -> Record {
    Record::Founded { membership: Membership::of_voters(3) }
}

fn term(term: u64) -> Record {
    Record::TermVote { term, voted_for: None }
}

fn entries_at(first: u64, terms: &[u64]) -> Record {
    Record::Append { first: Slot(first), entries: entries(terms).into() }
}

fn anchor(slot: u64, term: u64) -> Record {
    let configuration = Configuration::of(Membership::of_voters(3));
    Record::Anchor(Anchor { slot: Slot(slot), term, configuration })
}

fn terms(raft: &Raft) -> Vec<u64> {
    raft.log().iter().map(|entry| entry.term).collect()
}

#[test]
fn records_are_replayed_in_order() {
    let raft = open(
        vec![
            founded(),
            term(1),
            entries_at(1, &[1, 1, 1]),
            Record::TermVote { term: 2, voted_for: Some(NodeId(2)) },
            Record::Truncate { from: Slot(2) },
            entries_at(2, &[2]),
        ],
        1,
    )
    .unwrap();
    assert_eq!((terms(&raft), raft.term(), raft.voted_for()), (vec![1, 2], 2, Some(NodeId(2))));
    assert_eq!((raft.commit(), raft.durable()), (Slot(1), Slot(2)), "what is applied is committed");
}

#[test]
fn the_front_may_be_missing_if_a_later_anchor_stands_for_it() {
    let rest = [entries_at(4, &[1, 1]), entries_at(6, &[2]), term(2), anchor(4, 1), entries_at(7, &[2])];
    let raft = open(rest.to_vec(), 4).unwrap();
    assert_eq!((raft.log().base(), terms(&raft)), (Slot(4), vec![1, 2, 2]));
    assert_eq!(raft.configuration(), &Configuration::of(Membership::of_voters(3)));
}

#[test]
fn an_anchor_left_over_from_an_earlier_compaction_may_have_lost_the_entries_behind_it() {
    let rest = [term(1), anchor(2, 1), entries_at(6, &[1, 1]), anchor(6, 1)];
    let raft = open(rest.to_vec(), 6).unwrap();
    assert_eq!((raft.log().base(), raft.log().last()), (Slot(6), Slot(7)));
}

#[test]
fn contradictions_stop_the_node() {
    let contradictions = [
        ("a gap", vec![founded(), term(1), entries_at(1, &[1]), entries_at(3, &[1])], 0),
        ("an overlap", vec![founded(), term(1), entries_at(1, &[1, 1]), entries_at(2, &[1])], 0),
        ("slot 0", vec![founded(), term(1), entries_at(0, &[1])], 0),
        ("a term that goes down", vec![founded(), term(2), term(1)], 0),
        ("an entry from the future", vec![founded(), term(1), entries_at(1, &[2])], 0),
        ("terms that go down", vec![founded(), term(2), entries_at(1, &[2, 1])], 0),
        ("applied beyond the log", vec![founded(), term(1), entries_at(1, &[1])], 2),
        ("applied before the anchor", vec![term(1), anchor(3, 1)], 2),
        ("a truncated anchor", vec![term(1), anchor(3, 1), Record::Truncate { from: Slot(3) }], 3),
        ("an anchor of another term", vec![founded(), term(2), entries_at(1, &[1]), anchor(1, 2)], 1),
        ("two foundings", vec![founded(), Record::Founded { membership: Membership::of_voters(5) }], 0),
        (
            "two votes",
            vec![
                Record::TermVote { term: 1, voted_for: Some(NodeId(1)) },
                Record::TermVote { term: 1, voted_for: Some(NodeId(2)) },
            ],
            0,
        ),
    ];
    for (what, records, applied) in contradictions {
        let opened = open(records, applied);
        assert!(matches!(opened, Err(OpenError::Inconsistent { .. })), "{what}: {opened:?}");
    }
}

#[test]
fn settings_without_sense_stop_the_node() {
    let config = Config { append_entries: 0, ..Config::default() };
    let setup = setup(1, Start::Join);
    let opened = Raft::open(&setup, &config, Durable::nothing(), &mut Outbox::new(Ticket::NONE, false));
    assert!(matches!(opened, Err(OpenError::Settings { .. })));
}

#[test]
fn after_a_compaction_everything_that_still_matters_is_there() {
    let config = Config { compact_after_entries: 2, compact_keep_entries: 1, ..Config::default() };
    let mut cluster = Cluster::led_with(3, config);
    for _ in 0..8 {
        cluster.propose(1, "x");
        cluster.run();
        for id in [1, 2, 3] {
            cluster.bed.checkpoint(NodeId(id));
        }
    }
    cluster.complete_all();
    for id in [1, 2, 3] {
        let before = (cluster.marks(id), cluster.terms(id), cluster.node(id).log().base());
        assert!(before.2 >= Slot(5), "node {id} compacted only up to {}", before.2);
        cluster.crash(id);
        cluster.restart(id);
        assert_eq!((cluster.marks(id), cluster.terms(id), cluster.node(id).log().base()), before);
    }
    let appended = cluster.bed.node(NodeId(2)).records().filter(|record| matches!(record, Record::Append { .. }));
    assert!(appended.count() <= 4, "what is dropped does not come back");
    cluster.elect(2, &[1, 3]);
    cluster.run();
    cluster.assert_sound();
}

fn snapshot(id: u64, slot: u64, term: u64) -> Record {
    let configuration = Configuration::of(Membership::of_voters(3));
    Record::Snapshot { id: SnapshotId(id), anchor: Anchor { slot: Slot(slot), term, configuration } }
}

/// What a node opens as: base, terms behind it, committed, and the snapshot it wants installed.
fn opened_as(records: Vec<Record>, applied: u64) -> (u64, Vec<u64>, u64, Option<SnapshotId>) {
    let records = records.into_iter().enumerate().map(|(at, record)| (Ticket(at as u64 + 1), record)).collect();
    let found = Durable { records, anchor: None, applied: Slot(applied) };
    let mut out = Outbox::new(Ticket(100), false);
    let raft = Raft::open(&setup(1, Start::Join), &Config::default(), found, &mut out).expect("it opens");
    raft.check_deep().expect("the invariants hold");
    let wanted = out.take().into_iter().find_map(|output| match output {
        Output::InstallSnapshot { id, anchor, after: Ticket::NONE } => {
            assert_eq!(anchor.slot, raft.log().base());
            Some(id)
        }
        _ => None,
    });
    (raft.log().base().0, terms(&raft), raft.commit().0, wanted)
}

#[test]
fn a_snapshot_record_voids_all_entries_before_it_and_is_installed_again_until_the_store_has_it() {
    let before = vec![founded(), term(2), entries_at(1, &[1, 1, 2, 2, 2, 2]), snapshot(7, 4, 1)];
    assert_eq!(opened_as(before.clone(), 1), (4, vec![], 4, Some(SnapshotId(7))));
    assert_eq!(opened_as(before.clone(), 4), (4, vec![], 4, None));
    let behind: Vec<Record> = before.into_iter().chain([term(3), entries_at(5, &[3, 3])]).collect();
    assert_eq!(opened_as(behind.clone(), 1), (4, vec![3, 3], 4, Some(SnapshotId(7))));
    assert_eq!(opened_as(behind, 5), (4, vec![3, 3], 5, None));
}

/// Compaction drops whole pieces from the front, oldest first, and may be cut short anywhere.
#[test]
fn a_snapshot_record_may_have_lost_any_part_of_the_front() {
    let whole = [
        founded(),
        term(2),
        entries_at(1, &[1, 1]),
        entries_at(3, &[2, 2]),
        snapshot(7, 6, 2),
        entries_at(7, &[2]),
        entries_at(8, &[2, 2]),
        term(2),
        anchor(7, 2),
    ];
    for lost in 0..=6 {
        let found: Vec<Record> = whole[lost..].to_vec();
        assert_eq!(opened_as(found, 8), (7, vec![2, 2], 8, None), "the oldest {lost} are lost");
    }
}

#[test]
fn a_snapshot_is_not_taken_for_one_when_a_later_anchor_shows_it_installed() {
    let why = complaint(vec![founded(), term(1), snapshot(7, 4, 1), entries_at(5, &[1, 1]), anchor(5, 1)], 4);
    assert!(why.contains("applied everything up to slot 4, and the log begins only at slot 6"), "{why}");
}

#[test]
fn contradictory_snapshot_records_stop_the_node() {
    for records in [
        vec![founded(), term(1), anchor(5, 1), snapshot(7, 4, 1)],
        vec![founded(), term(1), snapshot(7, 4, 1), entries_at(4, &[1])],
        vec![founded(), term(1), snapshot(7, 4, 1), Record::Truncate { from: Slot(4) }],
        vec![founded(), term(1), snapshot(7, u64::MAX, 1)],
        vec![founded(), term(1), snapshot(7, 4, 2)],
    ] {
        complaint(records, 5);
    }
}

fn complaint(records: Vec<Record>, applied: u64) -> String {
    open(records, applied).expect_err("it must not open").to_string()
}

/// The log was cut past what the store holds: the slots between are nowhere.
#[test]
fn a_store_behind_the_first_kept_slot_stops_the_node_and_says_so() {
    let why = complaint(vec![founded(), term(1), entries_at(4, &[1, 1]), anchor(3, 1)], 2);
    assert!(why.contains("applied everything up to slot 2, and the log begins only at slot 4"), "{why}");
    assert!(open(vec![founded(), term(1), entries_at(4, &[1, 1]), anchor(3, 1)], 3).is_ok());
}

#[test]
fn a_store_ahead_of_the_log_stops_the_node() {
    let why = complaint(vec![founded(), term(1), entries_at(1, &[1, 1])], 3);
    assert!(why.contains("the log ends at slot 2"), "{why}");
}

/// Once misnumbered: entries behind an anchor were taken for the ones that follow it.
#[test]
fn entries_appended_below_an_anchor_stop_the_node() {
    let why = complaint(vec![founded(), term(1), anchor(3, 1), entries_at(2, &[1, 1])], 3);
    assert!(why.contains("slot 2"), "{why}");
}

/// Once an overflow.
#[test]
fn an_anchor_at_the_last_slot_there_can_be_stops_the_node() {
    complaint(vec![founded(), term(1), entries_at(1, &[1]), anchor(u64::MAX, 1)], u64::MAX);
    complaint(vec![founded(), term(1), anchor(u64::MAX, 1)], u64::MAX);
}
