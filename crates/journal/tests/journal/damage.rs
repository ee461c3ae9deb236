//! Rot, cuts and misplaced blocks: either everything is there, or open refuses. Never wrong data.

use crate::driver::{FLUSHES_OFFSET, History, Node, config, identity, open};
use bytes::Bytes;
use proptest::prelude::*;
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, Operation};
use quorate_journal::{Expected, Identity, Journal, JournalError};
use quorate_types::{DiskId, Ticket};

/// Three segments, several flushes in each; with `idle`, the last one is marked.
fn journal(idle: bool) -> Node {
    let mut node = Node::create(config(4));
    for records in [1, 3, 0, 2, 1, 1] {
        node.append_and_write(records, 150);
    }
    node.append(1, 200);
    node.append(2, 300);
    node.write_all();
    let mut node = Node::open(node.disk, node.history, node.config);
    node.append_and_write(1, 20);
    if idle {
        node.idle();
    }
    assert_eq!(node.journal.segments().len(), 3);
    node
}

fn put(disk: &mut ModelDisk, file: &str, offset: u64, bytes: &[u8]) {
    let parts = vec![Bytes::copy_from_slice(bytes)];
    disk.perform_all(&[
        Operation::Write { file: file.to_owned(), offset, parts },
        Operation::Flush { file: file.to_owned() },
    ])
    .unwrap();
}

/// Whether all is there; if not, the refusal must be one of damage and name what to do.
fn all_or_refused(disk: &ModelDisk, node: &Node, about: &str) -> bool {
    match open(disk, &node.config) {
        Ok(opened) => {
            node.history.check(&opened.found);
            assert_eq!(opened.found.last_ticket.0, node.history.appended.len() as u64, "{about}: silently cut");
            true
        }
        Err(JournalError::Corrupt { file, offset, .. }) => {
            assert!(offset <= disk.length(&file).unwrap_or(0), "{about}: {file} {offset}");
            false
        }
        Err(other) => panic!("{about}: {other}"),
    }
}

/// The parts of a segment that are in use.
fn used_bits(disk: &ModelDisk, file: &str) -> impl Iterator<Item = u64> {
    let flushes = FLUSHES_OFFSET..disk.length(file).unwrap();
    (0..512).chain(4096..4608).chain(8192..8704).chain(flushes).flat_map(|byte| byte * 8..byte * 8 + 8)
}

#[test]
fn any_flipped_bit_is_refused_or_harmless() {
    let node = journal(true);
    let (mut harmless, mut refused) = (0, 0);
    for segment in node.journal.segments() {
        for bit in used_bits(&node.disk, &segment.file) {
            let mut disk = node.disk.clone();
            disk.flip_bit(&segment.file, bit).unwrap();
            let all = all_or_refused(&disk, &node, &format!("{} bit {bit}", segment.file));
            // Marks only ever add suspicion, and what lies behind the end was never written.
            let matters = bit / 8 < 512 || (FLUSHES_OFFSET..segment.used_bytes).contains(&(bit / 8));
            assert_eq!(all, !matters, "{} bit {bit}", segment.file);
            if all { harmless += 1 } else { refused += 1 }
        }
    }
    assert!(refused > 20_000 && harmless > 10_000, "{refused} refused, {harmless} harmless");
}

#[test]
fn unmarked_damage_to_the_very_last_flush_looks_torn_and_costs_no_more_than_that_flush() {
    let node = journal(false);
    let last = node.journal.segments().pop().unwrap();
    let end = last.used_bytes;
    let mut disk = node.disk.clone();
    disk.flip_bit(&last.file, (end - 300) * 8).unwrap();
    let opened = open(&disk, &node.config).unwrap();
    let cut = opened.found.repaired.unwrap();
    assert_eq!((cut.file, cut.offset, cut.bytes_cut), (last.file.clone(), end - 512, 512));
    assert_eq!(opened.found.last_ticket.0, node.history.appended.len() as u64 - 1);
    let mut disk = node.disk.clone();
    disk.flip_bit(&last.file, (end - 900) * 8).unwrap();
    assert!(!all_or_refused(&disk, &node, "the flush before it"));
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let node = journal(true);
    for segment in node.journal.segments() {
        for length in 0..segment.length_bytes {
            let mut disk = node.disk.clone();
            disk.truncate(&segment.file, length).unwrap();
            assert!(!all_or_refused(&disk, &node, &format!("{} cut to {length}", segment.file)));
        }
    }
}

#[test]
fn bytes_lost_from_any_place_to_the_end_are_missed() {
    let node = journal(true);
    for segment in node.journal.segments() {
        for from in (0..segment.length_bytes).step_by(64) {
            let mut disk = node.disk.clone();
            put(&mut disk, &segment.file, from, &vec![0; (segment.length_bytes - from) as usize]);
            let all = all_or_refused(&disk, &node, &format!("{} zeros from {from}", segment.file));
            // Padding is zeros as it is.
            assert!(!all || from + 512 > segment.used_bytes, "{} zeros from {from}", segment.file);
        }
    }
}

#[test]
fn any_sector_lost_or_overwritten_is_missed() {
    let node = journal(true);
    for segment in node.journal.segments() {
        let flushes = (FLUSHES_OFFSET..segment.used_bytes).step_by(512);
        for offset in [0].into_iter().chain(flushes) {
            for byte in [0, 0xa5] {
                let mut disk = node.disk.clone();
                put(&mut disk, &segment.file, offset, &[byte; 512]);
                assert!(!all_or_refused(&disk, &node, &format!("{} sector at {offset}", segment.file)));
            }
        }
    }
}

#[test]
fn a_sector_in_another_ones_place_is_never_believed() {
    let node = journal(true);
    let sectors: Vec<(String, u64)> = node
        .journal
        .segments()
        .iter()
        .flat_map(|segment| {
            let flushes = (FLUSHES_OFFSET..segment.used_bytes).step_by(512);
            [0, 4096, 8192].into_iter().chain(flushes).map(|offset| (segment.file.clone(), offset))
        })
        .collect();
    for (from, from_offset) in &sectors {
        let bytes = node.disk.read(from, *from_offset, 512).unwrap();
        for (to, to_offset) in &sectors {
            let mut disk = node.disk.clone();
            put(&mut disk, to, *to_offset, &bytes);
            let about = format!("{from} {from_offset} over {to} {to_offset}");
            let all = all_or_refused(&disk, &node, &about);
            let same = bytes == node.disk.read(to, *to_offset, 512).unwrap();
            assert_eq!(all, same || matches!(to_offset, 4096 | 8192), "{about}");
        }
    }
}

#[test]
fn a_flush_replayed_behind_the_end_is_cut() {
    let mut node = Node::create(config(20));
    node.append_and_write(1, 150);
    node.append_and_write(1, 150);
    let last = node.journal.segments().pop().unwrap();
    let flush = node.disk.read(&last.file, last.used_bytes - 512, 512).unwrap();
    put(&mut node.disk, &last.file, last.used_bytes, &flush);
    assert!(all_or_refused(&node.disk, &node, "replayed"));
    let node = Node::open(node.disk, node.history, node.config);
    assert_eq!(open(&node.disk, &node.config).unwrap().found.repaired, None);
}

#[test]
fn the_first_flush_of_a_segment_is_never_torn() {
    let node = Node::create(config(20));
    let mut disk = node.disk.clone();
    disk.flip_bit("journal-0000000000000000.seg", (FLUSHES_OFFSET + 1) * 8).unwrap();
    assert!(!all_or_refused(&disk, &node, "a new journal"));
}

#[test]
fn a_longer_file_is_refused() {
    let node = journal(true);
    let mut disk = node.disk.clone();
    put(&mut disk, "journal-0000000000000001.seg", node.journal.segments()[1].length_bytes, &[0]);
    assert!(!all_or_refused(&disk, &node, "one byte more"));
}

#[test]
fn a_block_of_another_journal_is_not_believed() {
    let node = Node::create(config(20));
    let mut other = ModelDisk::new();
    let identity = Identity { disk: DiskId(0xbad), ..identity() };
    let (_, operations) = Journal::create(&other, identity, config(20)).unwrap();
    other.perform_all(&operations).unwrap();
    let file = "journal-0000000000000000.seg";
    let flush = other.read(file, FLUSHES_OFFSET, 512).unwrap();
    let mut disk = node.disk.clone();
    put(&mut disk, file, FLUSHES_OFFSET, &flush);
    assert!(!all_or_refused(&disk, &node, "the same flush of another disk"));
}

/// Two nodes that go on from one journal, as when a directory was copied: they share identity, numbers and
/// positions. They differ in what they wrote as `ticket`; 1 to 3 are in one segment, 4 to 6 in the next.
fn two_copies(ticket: u64) -> (Node, Node) {
    let with = |length: usize| {
        let mut node = Node::create(config(4));
        for now in 1..=6 {
            node.append_and_write(1, if now == ticket { length } else { 150 });
        }
        node.idle();
        assert_eq!(node.journal.segments().len(), 2);
        node
    };
    (with(150), with(151))
}

#[test]
fn flushes_and_segments_of_two_copies_do_not_mix() {
    let (one, two) = ("journal-0000000000000000.seg", "journal-0000000000000001.seg");
    for (ticket, file, offset, length) in [
        (2, one, FLUSHES_OFFSET + 1024, 512),
        (2, one, FLUSHES_OFFSET + 1536, 512),
        (2, two, 0, 1 << 16),
        (6, two, FLUSHES_OFFSET + 1024, 512),
    ] {
        let (first, second) = two_copies(ticket);
        let bytes = second.disk.read(file, offset, length).unwrap();
        let mut disk = first.disk.clone();
        put(&mut disk, file, offset, &bytes);
        assert!(!all_or_refused(&disk, &first, &format!("{file} from {offset} of the copy")));
    }
}

#[test]
fn a_later_flush_is_looked_for_and_torn_bytes_are_cut_megabytes_away() {
    let mut node = Node::create(config(10_000));
    node.append_and_write(1, 150);
    let end = node.journal.segments()[0].used_bytes;
    node.append_and_write(1, 2_500_000);
    let file = "journal-0000000000000000.seg";
    let later = node.journal.segments()[0].used_bytes;
    let before_later = node.disk.clone();
    node.append_and_write(1, 150);
    // Without its header nothing says how long the flush was, and without the marks nothing else vouches for it.
    let wound = |disk: &mut ModelDisk| {
        put(disk, file, 4096, &[0; 512]);
        put(disk, file, 8192, &[0; 512]);
        put(disk, file, end, &[0; 512]);
    };
    wound(&mut node.disk);
    let error = open(&node.disk, &node.config).unwrap_err().to_string();
    assert!(error.contains(&format!("byte {end}")) && error.contains(&later.to_string()), "{error}");

    let mut disk = before_later;
    wound(&mut disk);
    let opened = open(&disk, &node.config).unwrap();
    assert_eq!(opened.found.repaired.unwrap().bytes_cut, later - end);
    disk.perform_all(&opened.operations).unwrap();
    let rest = disk.read(file, end + 512, 1 << 24).unwrap();
    assert!(rest.iter().all(|byte| *byte == 0));
}

#[test]
fn a_missing_segment_is_missed_even_the_newest() {
    let node = journal(true);
    for segment in node.journal.segments() {
        let mut disk = node.disk.clone();
        disk.perform(&Operation::Unlink { file: segment.file.clone() }).unwrap();
        let error = open(&disk, &node.config).unwrap_err();
        assert!(
            matches!(&error, JournalError::Corrupt { file, what, .. } if *file == segment.file && what.contains("missing")),
            "{error}"
        );
    }
}

#[test]
fn the_refusal_says_where_what_and_what_to_do() {
    let node = journal(true);
    let mut disk = node.disk.clone();
    disk.flip_bit("journal-0000000000000001.seg", (FLUSHES_OFFSET + 200) * 8).unwrap();
    let said = open(&disk, &node.config).unwrap_err().to_string();
    for part in ["journal-0000000000000001.seg", "byte 12288", "checksum", "join as a new member", "never truncate"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn files_of_garbage_are_refused() {
    for length in [0, 1, 511, 512, 5000, 20_000] {
        let mut disk = ModelDisk::new();
        let file = "journal-0000000000000005.seg".to_owned();
        disk.perform(&Operation::Create { file: file.clone(), reserve_bytes: 0 }).unwrap();
        let garbage: Vec<u8> = (0..length).map(|index: u32| (index * 37 % 251) as u8).collect();
        put(&mut disk, &file, 0, &garbage);
        let error = Journal::open(&disk, &Expected::default(), config(4)).unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { offset: 0, .. }), "{error}");
    }
}

proptest! {
    /// Several wounds at once, anywhere.
    #[test]
    fn many_wounds_are_refused_or_harmless(
        wounds in prop::collection::vec((0usize..3, 0u64..15_000, prop::collection::vec(any::<u8>(), 1..600)), 1..5),
    ) {
        // With both marks gone, wounded flushes at the end cannot be told from torn ones.
        let wounded = |slot: u64| wounds.iter().any(|(segment, offset, bytes)| {
            *segment == 2 && *offset < slot + 512 && slot < offset + bytes.len() as u64
        });
        prop_assume!(!(wounded(4096) && wounded(8192)));
        let node = journal(true);
        let mut disk = node.disk.clone();
        for (segment, offset, bytes) in wounds {
            let file = &node.journal.segments()[segment].file;
            let room = disk.length(file).unwrap().saturating_sub(offset) as usize;
            put(&mut disk, file, offset, &bytes[..bytes.len().min(room)]);
        }
        // One wounded mark may leave the last flush unprotected, so cutting that one flush is allowed here.
        match open(&disk, &node.config) {
            Ok(opened) => {
                let last = opened.found.last_ticket;
                let history = History { acknowledged: Ticket(node.history.acknowledged.0 - 1), ..node.history.clone() };
                history.check(&opened.found);
                prop_assert!(last == node.history.acknowledged || opened.found.repaired.is_some());
            }
            Err(JournalError::Corrupt { .. }) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
