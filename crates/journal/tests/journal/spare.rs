//! Space is reserved ahead: a roll finds its file, a crash leaves no trace of it, and a full disk leaves room.

use crate::driver::{Node, config, open};
use quorate_disk::{Disk, Operation};

const PLENTY: u64 = 1 << 40;

fn creates(operations: &[Operation]) -> usize {
    operations.iter().filter(|operation| matches!(operation, Operation::Create { .. })).count()
}

fn spare(node: &mut Node) -> bool {
    let write = node.journal.spare_write();
    write.iter().for_each(|write| node.finish(write));
    write.is_some()
}

/// A node whose first segment is half used.
fn half_used() -> Node {
    let mut node = Node::create(config(16));
    while node.journal.segments()[0].used_bytes < node.journal.segments()[0].length_bytes / 2 + 512 {
        node.append_and_write(1, 300);
    }
    node
}

#[test]
fn a_roll_takes_the_file_that_was_reserved_and_creates_none() {
    let mut node = half_used();
    assert!(!spare(&mut node), "without news of the disk nothing is reserved");
    node.journal.note_free_space(PLENTY);
    assert!(spare(&mut node));
    assert!(!spare(&mut node), "one is enough");
    let reserved = node.journal.segments()[0].length_bytes;
    assert_eq!(node.journal.spare_bytes(), reserved);
    assert_eq!(node.journal.bytes_on_disk(), 2 * reserved);
    while node.journal.segments().len() == 1 {
        node.append(1, 300);
        let write = node.journal.next_write().expect("something is queued");
        assert_eq!(creates(&write.operations), 0);
        node.finish(&write);
    }
    assert_eq!((node.journal.spare_bytes(), node.journal.bytes_on_disk()), (0, 2 * reserved));
    node.append_and_write(2, 100);
    let Node { disk, history, config, .. } = node;
    Node::open(disk, history, config);
}

#[test]
fn without_a_quiet_moment_it_is_reserved_along_with_a_write_before_the_segment_is_full() {
    let mut node = Node::create(config(64));
    node.journal.note_free_space(PLENTY);
    let mut reserved_with_a_write = 0;
    while node.journal.segments().len() == 1 {
        node.append(1, 300);
        let write = node.journal.next_write().expect("something is queued");
        reserved_with_a_write += creates(&write.operations);
        node.finish(&write);
    }
    assert_eq!(reserved_with_a_write, 1);
}

#[test]
fn nothing_is_reserved_where_the_disk_has_no_room_for_it() {
    let mut node = half_used();
    let length = node.journal.segments()[0].length_bytes;
    node.journal.note_free_space(length);
    assert!(!spare(&mut node), "the margin is missing");
    node.journal.note_free_space(length + (1 << 20));
    assert!(spare(&mut node));
}

#[test]
fn a_full_disk_does_not_stop_what_fits_the_space_that_was_reserved() {
    let mut node = half_used();
    node.journal.note_free_space(PLENTY);
    assert!(spare(&mut node));
    let files = node.disk.list().unwrap();
    let in_use: u64 = files.iter().map(|file| node.disk.length(file).unwrap()).sum();
    node.disk.faults_mut().capacity_bytes = Some(in_use);
    node.journal.note_free_space(0);
    let first = node.journal.segments()[0].number;
    let has_rolled = |node: &Node| node.journal.segments().last().is_some_and(|segment| segment.number > first);
    for _ in 0..40 {
        if !has_rolled(&node) {
            node.append_and_write(1, 300);
        }
    }
    assert!(has_rolled(&node), "on a full disk");
}

#[test]
fn a_flush_that_needs_more_than_was_reserved_gets_a_file_of_its_own() {
    let mut node = half_used();
    node.journal.note_free_space(PLENTY);
    assert!(spare(&mut node));
    node.append_and_write(1, 100_000);
    assert!(node.journal.segments()[1].length_bytes > 100_000);
    assert_eq!(node.journal.spare_bytes(), 0);
    let Node { disk, history, config, .. } = node;
    Node::open(disk, history, config);
}

#[test]
fn whatever_a_crash_leaves_of_a_reserved_file_is_removed_by_the_next_open() {
    let mut node = half_used();
    node.film.clear();
    node.journal.note_free_space(PLENTY);
    assert!(spare(&mut node));
    while node.journal.segments().len() == 1 {
        node.append_and_write(1, 300);
    }
    let film = std::mem::take(&mut node.film);
    assert!(film.len() > 8);
    for frame in film {
        for choice in 0..4 {
            let mut disk = frame.disk.clone();
            disk.crash(&mut |count| (choice * 7) % count);
            let found = open(&disk, &node.config).expect("a crash alone is never damage").found;
            assert!(found.last_ticket >= frame.history.acknowledged);
            let again = Node::open(disk, frame.history.clone(), node.config.clone());
            let litter = again.disk.list().unwrap().into_iter().filter(|file| file.ends_with(".new")).count();
            assert_eq!(litter, 0);
        }
    }
}
