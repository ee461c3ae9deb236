//! Crashes between any two operations, with what was not flushed landing, vanishing or turning to garbage.

use crate::chance::{crashed, crashes};
use crate::driver::{Frame, History, Node, config, identity, open};
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, DiskErrorKind};
use quorate_journal::{Journal, JournalConfig};
use quorate_types::Ticket;

const SECTORS: u64 = 4;

/// Rolls, batches, long tickets, idle marks, compactions, reopening: every kind of operation there is.
fn film() -> Vec<Frame> {
    let mut node = Node::create(config(SECTORS));
    node.append_and_write(1, 40);
    node.append(1, 300);
    node.append(2, 400);
    node.write_all();
    node.append_and_write(1, 30);
    node.idle();
    node.compact(3);
    node.write_all();
    node.append_and_write(3, 900);
    node.append_and_write(1, 30);
    let mut film = std::mem::take(&mut node.film);
    let mut node = Node::open(node.disk, node.history, node.config);
    node.append_and_write(1, 700);
    node.compact(8);
    node.append(1, 100);
    node.write_all();
    node.idle();
    film.append(&mut node.film);
    film
}

/// After this crash the journal is there with all it promised, can be used, and crashed again.
fn survives(disk: ModelDisk, history: &History) -> Node {
    if !Journal::exists(&disk).unwrap() {
        assert_eq!(history.incarnation.0, 0, "the whole journal was lost");
        return Node::create_on(disk, config(SECTORS));
    }
    let mut node = Node::open(disk, history.clone(), config(SECTORS));
    node.append_and_write(1, 600);
    Node::open(node.disk.synced_image(), node.history, node.config)
}

#[test]
fn between_any_two_operations_no_completed_ticket_is_lost_and_none_is_invented() {
    let film = film();
    assert!(film.iter().any(|frame| frame.disk.unsynced().name_changes > 1), "names are at risk somewhere");
    let mut survivors = 0;
    for frame in &film {
        for disk in crashes(&frame.disk, 600) {
            survives(disk, &frame.history);
            survivors += 1;
        }
    }
    assert!(survivors > 2000, "{survivors}");
}

#[test]
fn a_crash_within_recovery_within_recovery_loses_nothing() {
    for (number, frame) in film().iter().enumerate() {
        for seed in 0..6 {
            let mut disk = crashed(&frame.disk, seed * 1000 + number as u64);
            let mut history = frame.history.clone();
            for depth in 0..4 {
                if !Journal::exists(&disk).unwrap() {
                    break;
                }
                let (mut node, operations) = Node::opening(disk, history, config(SECTORS));
                // Stops after the first `done` operations, another number every time.
                let done = (seed as usize + depth + number) % (operations.len() + 1);
                node.perform_all(&operations[..done]).unwrap();
                disk = crashed(&node.disk, seed + depth as u64);
                history = node.history;
            }
            survives(disk, &history);
        }
    }
}

#[test]
fn a_killed_process_leaves_unflushed_bytes_that_the_next_one_makes_durable() {
    for flush_first in [true, false] {
        for frame in &film() {
            let mut disk = frame.disk.clone();
            if !Journal::exists(&disk).unwrap() {
                continue;
            }
            if flush_first {
                let operations = Journal::flush_before_open(&disk).unwrap();
                disk.perform_all(&operations).unwrap();
            }
            // What the new process found, it may act on: it must survive the power failure that follows.
            let (mut node, operations) = Node::opening(disk, frame.history.clone(), config(SECTORS));
            node.perform_all(&operations).unwrap();
            let found = Ticket(node.history.appended.len() as u64);
            let history =
                History { acknowledged: found, incarnation: node.journal.incarnation(), ..node.history.clone() };
            survives(node.disk.synced_image(), &history);
            survives(crashed(&node.disk, 5), &history);
        }
    }
}

#[test]
fn a_power_failure_while_the_next_process_opens_is_no_damage() {
    for (number, frame) in film().iter().enumerate() {
        if !Journal::exists(&frame.disk).unwrap() {
            continue;
        }
        let (opening, operations) = Node::opening(frame.disk.clone(), frame.history.clone(), config(SECTORS));
        for done in 0..=operations.len() {
            let mut node = opening.clone();
            node.perform_all(&operations[..done]).unwrap();
            for seed in 0..12 {
                survives(crashed(&node.disk, seed * 1000 + number as u64), &frame.history);
            }
        }
    }
}

#[test]
fn a_torn_tail_is_reported_once_and_never_comes_back() {
    let mut node = Node::create(config(20));
    node.append_and_write(1, 40);
    let end = node.journal.segments()[0].used_bytes;
    node.append(1, 3000);
    let write = node.journal.next_write().unwrap();
    let (flush, before) = write.operations.split_last().unwrap();
    assert!(matches!(flush, quorate_disk::Operation::Flush { .. }));
    node.perform_all(before).unwrap();
    let torn = (0..2000).map(|seed| crashed(&node.disk, seed)).find(|disk| {
        let header_lost = disk.read("journal-0000000000000000.seg", end, 8).unwrap() == [0; 8].as_slice();
        header_lost && open(disk, &node.config).unwrap().found.repaired.is_some()
    });
    let disk = torn.expect("some crash loses the first sector and keeps others");

    let (mut node, operations) = Node::opening(disk, node.history, node.config);
    let repaired = open(&node.disk, &node.config).unwrap().found.repaired.unwrap();
    assert_eq!((repaired.file.as_str(), repaired.offset), ("journal-0000000000000000.seg", end));
    assert!(repaired.bytes_cut > 0 && repaired.bytes_cut.is_multiple_of(512));
    node.perform_all(&operations).unwrap();
    let rest = node.disk.synced_image().read("journal-0000000000000000.seg", end + 512, 1 << 16).unwrap();
    assert!(rest.iter().all(|byte| *byte == 0), "behind the opening flush there are zeros, durably");
    assert_eq!(open(&node.disk, &node.config).unwrap().found.repaired, None);
}

#[test]
fn an_interrupted_creation_left_nothing_or_all() {
    let disk = ModelDisk::new();
    let (_, operations) = Journal::create(&disk, identity(), config(SECTORS)).unwrap();
    for done in 0..=operations.len() {
        let mut disk = ModelDisk::new();
        disk.perform_all(&operations[..done]).unwrap();
        let complete = done == operations.len();
        for survivor in crashes(&disk, 200) {
            assert!(Journal::exists(&survivor).unwrap() || !complete);
            survives(survivor, &History::default());
        }
    }
}

#[test]
fn after_a_failed_operation_reopening_finds_everything_completed() {
    for kind in [DiskErrorKind::Full, DiskErrorKind::Medium] {
        for good in 0..60 {
            let mut node = Node::create(config(SECTORS));
            node.disk.faults_mut().fail_after = Some((good, kind));
            let mut failed = false;
            for ticket in 0..12 {
                if ticket == 6 {
                    node.compact(3)
                } else {
                    node.append(1, 500)
                };
                let write = node.journal.next_write().unwrap();
                if node.perform_all(&write.operations).is_err() {
                    failed = true;
                    break;
                }
                node.history.acknowledged = node.journal.completed(write.id).unwrap();
            }
            assert!(failed || good > 40);
            survives(crashed(&node.disk, good), &node.history);
        }
    }
}

#[test]
fn no_space_for_a_segment_is_an_error_of_the_create_and_nothing_is_lost() {
    let mut node = Node::create(JournalConfig { segment_bytes: 14_000, batch_bytes_max: 1000 });
    node.disk.faults_mut().capacity_bytes = Some(20_000);
    let error = loop {
        node.append(1, 300);
        let write = node.journal.next_write().unwrap();
        match node.perform_all(&write.operations) {
            Ok(()) => node.history.acknowledged = node.journal.completed(write.id).unwrap(),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind, error.what), (DiskErrorKind::Full, "create"));
    node.disk.faults_mut().capacity_bytes = None;
    survives(node.disk.clone(), &node.history);
}

/// After a failed flush the system may show bytes that never reached the medium and never will. A process that is started again
/// without a power failure must not believe them: what it promised on top of them would be lost by the power failure.
#[test]
fn a_restart_does_not_believe_what_a_failed_flush_left_in_the_cache() {
    for good in 0..30 {
        let mut node = Node::create(config(SECTORS));
        node.disk.faults_mut().fail_after = Some((good, DiskErrorKind::Medium));
        for _ in 0..8 {
            node.append(1, 500);
            let write = node.journal.next_write().unwrap();
            if node.perform_all(&write.operations).is_err() {
                break;
            }
            node.history.acknowledged = node.journal.completed(write.id).unwrap();
        }
        node.disk.faults_mut().fail_after = None;

        let operations = Journal::flush_before_open(&node.disk).unwrap();
        node.disk.perform_all(&operations).unwrap();
        let (mut node, operations) = Node::opening(node.disk, node.history, node.config);
        node.disk.perform_all(&operations).unwrap();
        node.history.incarnation = node.journal.incarnation();
        for _ in 0..3 {
            node.append(1, 500);
            let write = node.journal.next_write().unwrap();
            node.disk.perform_all(&write.operations).unwrap();
            node.history.acknowledged = node.journal.completed(write.id).unwrap();
        }
        for seed in 0..40 {
            let opened = open(&crashed(&node.disk, seed), &node.config).unwrap();
            node.history.check(&opened.found);
        }
    }
}
