//! Compaction: the baseline first, then whole segments, and never past what was dropped.

use crate::driver::{Node, config, open};
use bytes::Bytes;
use quorate_disk::{Disk, Operation};
use quorate_journal::{AppendError, JournalError};
use quorate_types::Ticket;

/// Tickets 1 to 9 in segments that start with tickets 1, 3, 6 and 9.
fn four_segments() -> Node {
    let mut node = Node::create(config(3));
    for _ in 0..9 {
        node.append_and_write(1, 300);
    }
    let first_tickets: Vec<u64> = node.journal.segments().iter().map(|segment| segment.first_ticket.0).collect();
    assert_eq!(first_tickets, vec![1, 3, 6, 9]);
    node
}

fn first_segment(node: &Node) -> u64 {
    node.journal.segments()[0].number
}

#[test]
fn open_delivers_from_drop_before_on_with_the_baseline_in_its_place() {
    let mut node = four_segments();
    node.compact(8);
    node.append(1, 10);
    node.write_all();
    let found = open(&node.disk, &node.config).unwrap().found;
    let tickets: Vec<u64> = found.records.iter().map(|(ticket, _)| ticket.0).collect();
    assert_eq!(tickets, vec![8, 9, 10, 11]);
    assert_eq!(found.records[2].1, Bytes::from("baseline of ticket 10"));
    assert_eq!(found.drop_before, Ticket(8));
    node.history.check(&open(&node.disk, &node.config).map(|opened| opened.found).unwrap_or(found));
}

#[test]
fn segments_go_only_after_the_compaction_is_durable_and_a_later_flush() {
    let mut node = four_segments();
    node.compact(6);
    let write = node.journal.next_write().unwrap();
    assert!(!write.operations.iter().any(|operation| matches!(operation, Operation::Unlink { .. })));
    node.finish(&write);
    assert_eq!(first_segment(&node), 0);

    node.append(1, 10);
    let write = node.journal.next_write().unwrap();
    let unlink = |number: u64| Operation::Unlink { file: format!("journal-{number:016x}.seg") };
    let tail = &write.operations[write.operations.len() - 3..];
    assert!(matches!(tail[0], Operation::Flush { .. }), "{tail:?}");
    assert_eq!(tail[1..], [unlink(0), Operation::FlushDirectory], "records wait for this write: one is enough");
    node.finish(&write);
    assert_eq!(first_segment(&node), 1);
    node.append_and_write(1, 10);
    assert_eq!(first_segment(&node), 2);
    assert_eq!(node.journal.bytes_on_disk(), node.disk.used_bytes());
}

#[test]
fn each_unlink_is_durable_before_the_next() {
    // A disk may keep the earlier of two unlinks from happening: a hole in the numbers would look like a lost segment.
    let mut node = four_segments();
    node.compact(9);
    node.write_all();
    let idle = node.journal.idle_write().unwrap().operations;
    let opening = open(&node.disk, &node.config).unwrap().operations;
    for operations in [idle, opening] {
        let is_unlink = |operation: &Operation| matches!(operation, Operation::Unlink { .. });
        let unlinks: Vec<usize> = (0..operations.len()).filter(|at| is_unlink(&operations[*at])).collect();
        assert_eq!(unlinks.len(), 3, "{operations:?}");
        assert!(unlinks.iter().all(|at| operations[at + 1] == Operation::FlushDirectory), "{operations:?}");
    }
}

#[test]
fn a_segment_with_one_ticket_still_needed_stays_whole() {
    for (drop_before, oldest_left) in [(1, 0), (2, 0), (3, 1), (5, 1), (6, 2), (8, 2), (9, 3), (10, 3)] {
        let mut node = four_segments();
        node.compact(drop_before);
        node.write_all();
        node.idle();
        assert_eq!(first_segment(&node), oldest_left, "drop before {drop_before}");
        Node::open(node.disk, node.history, node.config);
    }
}

#[test]
fn an_idle_journal_unlinks_as_well() {
    let mut node = four_segments();
    node.compact(9);
    node.write_all();
    node.idle();
    assert_eq!(first_segment(&node), 3);
    assert!(node.journal.idle_write().is_none());
}

#[test]
fn open_finishes_an_unlinking_that_a_crash_interrupted() {
    let mut node = four_segments();
    node.compact(9);
    node.write_all();
    let node = Node::open(node.disk, node.history, node.config);
    assert_eq!(first_segment(&node), 3);
    assert!(!node.disk.list().unwrap().contains(&"journal-0000000000000002.seg".to_owned()));
}

#[test]
fn what_was_dropped_stays_dropped_under_a_smaller_compaction() {
    let mut node = four_segments();
    node.compact(7);
    node.compact(2);
    node.write_all();
    let found = open(&node.disk, &node.config).unwrap().found;
    assert_eq!(found.drop_before, Ticket(7));
    assert_eq!(found.records.iter().map(|(ticket, _)| ticket.0).collect::<Vec<_>>(), vec![7, 8, 9, 10, 11]);
}

#[test]
fn a_compaction_cannot_drop_its_own_baseline() {
    let mut node = four_segments();
    let error = node.journal.compact(Ticket(10), vec![], Ticket(11)).unwrap_err();
    assert_eq!(error, AppendError::DropsItsBaseline { ticket: Ticket(10), drop_before: Ticket(11) });
    node.compact(10);
    node.write_all();
    let found = open(&node.disk, &node.config).unwrap().found;
    assert_eq!(found.records.len(), 1);
}

#[test]
fn the_identity_and_the_incarnation_outlive_every_segment_they_were_written_in() {
    let mut node = Node::create(config(2));
    for round in 0..20 {
        node.append_and_write(1, 400);
        let next = node.history.appended.len() as u64 + 1;
        node.compact(next);
        node.write_all();
        node = Node::open(node.disk, node.history, node.config);
        assert_eq!(node.journal.incarnation().0, round + 2);
        assert!(node.journal.segments().len() <= 3);
    }
    assert_eq!(node.journal.identity(), &crate::driver::identity());
}

#[test]
fn losing_a_segment_that_is_still_needed_is_missed_after_a_compaction_too() {
    let mut node = four_segments();
    node.compact(4);
    node.write_all();
    node.idle();
    assert_eq!(first_segment(&node), 1);
    let file = node.journal.segments()[0].file.clone();
    node.disk.perform(&Operation::Unlink { file: file.clone() }).unwrap();
    let error = open(&node.disk, &node.config).unwrap_err();
    assert!(matches!(&error, JournalError::Corrupt { file: named, .. } if *named == file), "{error}");
}
