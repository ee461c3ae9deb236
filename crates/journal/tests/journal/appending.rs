//! Queueing, batching, completion: the bookkeeping a driver sees.

use crate::driver::{Node, config, identity, open, record};
use bytes::Bytes;
use quorate_disk::{Operation, model::ModelDisk};
use quorate_journal::{AppendError, CompletionError, Journal, JournalConfig};
use quorate_types::{Incarnation, Ticket};

#[test]
fn a_new_journal_is_in_its_first_incarnation_and_empty() {
    let node = Node::create(config(8));
    assert_eq!(node.journal.incarnation(), Incarnation(1));
    assert_eq!((node.journal.durable(), node.journal.appended()), (Ticket::NONE, Ticket::NONE));
    assert_eq!(node.journal.identity(), &identity());
    assert_eq!(open(&node.disk, &node.config).unwrap().found.records, vec![]);
}

#[test]
fn everything_queued_while_a_write_was_under_way_leaves_as_one_flush() {
    let mut node = Node::create(config(100));
    node.append(1, 50);
    let first = node.journal.next_write().unwrap();
    for _ in 0..5 {
        node.append(2, 50);
    }
    assert!(node.journal.next_write().is_none(), "one at a time");
    assert!(node.journal.idle_write().is_none());
    node.finish(&first);
    let second = node.journal.next_write().unwrap();
    assert_eq!((first.through, second.through), (Ticket(1), Ticket(6)));
    let flushes = second.operations.iter().filter(|operation| matches!(operation, Operation::Flush { .. }));
    assert_eq!(flushes.count(), 1);
    node.finish(&second);
    assert_eq!(node.journal.durable(), Ticket(6));
    assert!(node.journal.next_write().is_none(), "nothing is queued");
}

#[test]
fn a_batch_has_a_bound_but_a_ticket_is_never_split() {
    let mut node = Node::create(JournalConfig { segment_bytes: 1 << 20, batch_bytes_max: 1000 });
    node.append(3, 1000);
    node.append(1, 400);
    node.append(1, 400);
    node.append(1, 400);
    let mut through = Vec::new();
    while let Some(write) = node.journal.next_write() {
        through.push(write.through.0);
        node.finish(&write);
    }
    assert_eq!(through, vec![1, 3, 4]);
}

#[test]
fn queued_bytes_rise_with_appends_and_fall_with_writes() {
    let mut node = Node::create(config(8));
    assert_eq!(node.journal.queued_bytes(), 0);
    node.append(1, 100);
    let one = node.journal.queued_bytes();
    assert!((100..200).contains(&one), "{one}");
    node.append(1, 100);
    assert_eq!(node.journal.queued_bytes(), 2 * one);
    node.write_all();
    assert_eq!(node.journal.queued_bytes(), 0);
}

#[test]
fn tickets_grow_by_one_and_a_wrong_one_changes_nothing() {
    let mut node = Node::create(config(8));
    for wrong in [Ticket(0), Ticket(2), Ticket(u64::MAX)] {
        let error = node.journal.append(wrong, vec![]).unwrap_err();
        assert_eq!(error, AppendError::OutOfOrder { expected: Ticket(1), got: wrong });
    }
    node.append_and_write(1, 10);
    assert_eq!(node.journal.append(Ticket(1), vec![]).unwrap_err().to_string(), {
        "ticket 1 was appended where ticket 2 was due"
    });
    node.append_and_write(1, 10);
}

#[test]
fn only_the_write_under_way_completes_and_only_once() {
    let mut node = Node::create(config(8));
    assert_eq!(node.journal.completed(0).unwrap_err(), CompletionError { completed: 0, under_way: None });
    node.append(1, 10);
    let write = node.journal.next_write().unwrap();
    let error = node.journal.completed(write.id + 1).unwrap_err();
    assert_eq!(error, CompletionError { completed: write.id + 1, under_way: Some(write.id) });
    assert_eq!(node.journal.durable(), Ticket::NONE);
    node.finish(&write);
    assert!(node.journal.completed(write.id).is_err());
}

#[test]
fn tickets_without_records_and_empty_records_are_durable_too() {
    let mut node = Node::create(config(8));
    node.append(0, 0);
    node.journal.append(Ticket(2), vec![Bytes::new(), Bytes::new()]).unwrap();
    node.history.appended.push(crate::driver::Appended { records: vec![Bytes::new(); 2], drop_before: None });
    node.append(0, 0);
    node.write_all();
    let found = open(&node.disk, &node.config).unwrap().found;
    assert_eq!(found.last_ticket, Ticket(3));
    assert_eq!(found.records, vec![(Ticket(2), Bytes::new()); 2]);
}

#[test]
fn a_full_segment_is_followed_by_another() {
    let mut node = Node::create(config(3));
    for _ in 0..10 {
        node.append_and_write(1, 300);
    }
    let segments = node.journal.segments();
    assert_eq!(segments.iter().map(|segment| segment.number).collect::<Vec<_>>(), vec![0, 1, 2, 3]);
    assert_eq!(segments.iter().map(|segment| segment.first_ticket.0).collect::<Vec<_>>(), vec![1, 3, 6, 9]);
    assert!(segments.iter().all(|segment| segment.used_bytes <= segment.length_bytes));
    assert_eq!(node.journal.bytes_on_disk(), node.disk.used_bytes());
    let last = &segments[3];
    assert_eq!((last.file.as_str(), last.length_bytes), ("journal-0000000000000003.seg", 12288 + 3 * 512));
    Node::open(node.disk, node.history, node.config);
}

#[test]
fn a_ticket_longer_than_a_segment_gets_a_longer_one() {
    let mut node = Node::create(config(2));
    node.append_and_write(1, 100_000);
    node.append_and_write(1, 10);
    assert_eq!(node.journal.segments().len(), 3);
    let node = Node::open(node.disk, node.history, node.config);
    assert_eq!(node.journal.segments().len(), 3, "the opening went to the last segment");
}

#[test]
fn the_mark_costs_no_flush_under_load_and_one_when_idle() {
    let mut node = Node::create(config(100));
    node.idle();
    assert!(node.journal.idle_write().is_none(), "all is marked");
    for _ in 0..3 {
        node.append(1, 10);
        let write = node.journal.next_write().unwrap();
        assert_eq!(write.operations.iter().filter(|operation| matches!(operation, Operation::Flush { .. })).count(), 1);
        node.finish(&write);
    }
    let write = node.journal.idle_write().unwrap();
    assert_eq!((write.operations.len(), write.through), (2, Ticket(3)));
    assert!(node.journal.next_write().is_none() && node.journal.idle_write().is_none());
    node.finish(&write);
    assert!(node.journal.idle_write().is_none());
}

#[test]
fn the_two_mark_slots_are_written_in_turn_over_restarts_too() {
    let marks_in = |operations: &[Operation]| {
        let offsets = operations.iter().filter_map(|operation| match operation {
            Operation::Write { offset: offset @ (4096 | 8192), .. } => Some(*offset),
            _ => None,
        });
        offsets.collect::<Vec<u64>>()
    };
    let mut node = Node::create(config(100));
    let mut offsets = Vec::new();
    for _ in 0..5 {
        for _ in 0..2 {
            node.append(1, 10);
            let write = node.journal.next_write().unwrap();
            offsets.extend(marks_in(&write.operations));
            node.finish(&write);
        }
        let write = node.journal.idle_write().unwrap();
        offsets.extend(marks_in(&write.operations));
        node.finish(&write);
        node.append_and_write(1, 10);
        let (opening, operations) = Node::opening(node.disk, node.history, node.config);
        node = opening;
        offsets.extend(marks_in(&operations));
        node.perform_all(&operations).unwrap();
    }
    assert!(offsets.len() >= 15, "{offsets:?}");
    assert!(offsets.windows(2).all(|pair| pair[0] != pair[1]), "the newest mark was overwritten: {offsets:?}");
}

#[test]
fn a_record_may_look_like_anything() {
    let mut node = Node::create(config(64));
    node.append_and_write(1, 10);
    let copy = quorate_disk::Disk::read(&node.disk, "journal-0000000000000000.seg", 0, 1 << 16).unwrap();
    node.journal.append(Ticket(2), vec![copy.clone(), record(2, 0, 5)]).unwrap();
    let records = vec![copy, record(2, 0, 5)];
    node.history.appended.push(crate::driver::Appended { records, drop_before: None });
    node.write_all();
    Node::open(node.disk, node.history, node.config);
}

#[test]
fn planning_touches_no_disk() {
    let disk = ModelDisk::new();
    let (mut journal, _) = Journal::create(&disk, identity(), config(4)).unwrap();
    journal.append(Ticket(1), vec![Bytes::from("x")]).unwrap();
    assert!(journal.next_write().is_some());
    assert!(!Journal::exists(&disk).unwrap() && disk.unsynced().is_empty());
}
