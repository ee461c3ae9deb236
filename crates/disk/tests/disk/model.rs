//! What the model disk promises, and that it promises no more.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, DiskErrorKind, Operation};
use std::collections::BTreeSet;

fn create(file: &str, reserve_bytes: u64) -> Operation {
    Operation::Create { file: file.into(), reserve_bytes }
}
fn write(file: &str, offset: u64, bytes: &[u8]) -> Operation {
    Operation::Write { file: file.into(), offset, parts: vec![Bytes::copy_from_slice(bytes)] }
}
fn flush(file: &str) -> Operation {
    Operation::Flush { file: file.into() }
}
fn rename(from: &str, to: &str) -> Operation {
    Operation::Rename { from: from.into(), to: to.into() }
}
fn unlink(file: &str) -> Operation {
    Operation::Unlink { file: file.into() }
}

fn disk_after(operations: &[Operation]) -> ModelDisk {
    let mut disk = ModelDisk::new();
    disk.perform_all(operations).unwrap();
    disk
}

fn contents(disk: &ModelDisk, file: &str) -> Vec<u8> {
    disk.read(file, 0, 1 << 20).unwrap().to_vec()
}

/// Crashes `disk` under many seeds and collects what `look` sees afterwards.
fn after_crashes<T: Ord>(disk: &ModelDisk, look: impl Fn(&ModelDisk) -> T) -> BTreeSet<T> {
    let outcome = |seed: u64| {
        let mut survivor = disk.clone();
        let mut state = seed;
        survivor.crash(&mut |count| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % count
        });
        assert!(survivor.unsynced().is_empty());
        look(&survivor)
    };
    (0..400).map(outcome).collect()
}

#[test]
fn reads_see_everything_written_and_zeros_elsewhere() {
    let disk = disk_after(&[create("a", 10), write("a", 8, b"hello"), write("a", 9, b"E")]);
    assert_eq!(contents(&disk, "a"), b"\0\0\0\0\0\0\0\0hEllo");
    assert_eq!(disk.length("a").unwrap(), 13);
    assert_eq!(disk.read("a", 11, 100).unwrap(), "lo");
    assert_eq!(disk.read("a", 99, 1).unwrap(), "");
    assert_eq!(disk.list().unwrap(), vec!["a".to_owned()]);
}

#[test]
fn parts_are_written_one_after_the_other_across_pages() {
    let mut disk = disk_after(&[create("a", 0)]);
    let parts = vec![Bytes::from(vec![1; 4090]), Bytes::new(), Bytes::from(vec![2; 5000])];
    disk.perform(&Operation::Write { file: "a".into(), offset: 3, parts }).unwrap();
    let expected: Vec<u8> = [vec![0; 3], vec![1; 4090], vec![2; 5000]].concat();
    assert_eq!(contents(&disk, "a"), expected);
}

#[test]
fn what_is_flushed_survives_every_crash() {
    let disk = disk_after(&[create("a", 2048), write("a", 100, b"kept"), flush("a"), Operation::FlushDirectory]);
    assert!(disk.unsynced().is_empty());
    let seen = after_crashes(&disk, |disk| contents(disk, "a"));
    assert_eq!(seen, BTreeSet::from([contents(&disk, "a")]));
}

#[test]
fn a_flushed_file_without_a_flushed_name_may_be_lost() {
    let disk = disk_after(&[create("a", 1), flush("a")]);
    let seen = after_crashes(&disk, |disk| disk.list().unwrap());
    assert_eq!(seen, BTreeSet::from([vec![], vec!["a".to_owned()]]));
}

#[test]
fn a_flushed_name_does_not_keep_bytes_or_reserved_length() {
    let disk = disk_after(&[create("a", 600), write("a", 0, b"x"), Operation::FlushDirectory]);
    let lengths = after_crashes(&disk, |disk| disk.length("a").unwrap());
    assert!(lengths.contains(&0) && lengths.contains(&600), "{lengths:?}");
}

#[test]
fn each_sector_of_an_unflushed_write_lands_vanishes_or_is_garbage_by_itself() {
    let mut disk = disk_after(&[create("a", 1024), flush("a"), Operation::FlushDirectory]);
    disk.perform(&write("a", 0, &[7; 1024])).unwrap();
    let fate = |bytes: &[u8]| match bytes {
        bytes if bytes.iter().all(|byte| *byte == 7) => "lands",
        bytes if bytes.iter().all(|byte| *byte == 0) => "vanishes",
        _ => "is garbage",
    };
    let seen = after_crashes(&disk, |disk| {
        let bytes = contents(disk, "a");
        (fate(&bytes[..512]), fate(&bytes[512..]))
    });
    assert_eq!(seen.len(), 9, "every pair of fates: {seen:?}");
}

#[test]
fn a_crash_touches_no_byte_that_was_not_being_written() {
    let disk = disk_after(&[create("a", 1024), write("a", 0, &[1; 1024]), flush("a"), Operation::FlushDirectory]);
    let mut disk = disk;
    disk.perform(&write("a", 500, &[2; 20])).unwrap();
    let seen = after_crashes(&disk, |disk| {
        let bytes = contents(disk, "a");
        (bytes[..500].to_vec(), bytes[520..].to_vec())
    });
    assert_eq!(seen, BTreeSet::from([(vec![1; 500], vec![1; 504])]));
}

#[test]
fn of_unflushed_name_changes_any_may_survive_without_the_others() {
    let mut disk = disk_after(&[create("a", 1), create("b", 2), flush("a"), flush("b"), Operation::FlushDirectory]);
    disk.perform_all(&[rename("a", "b"), unlink("b"), create("c", 3)]).unwrap();
    // The unlink is of the file that the rename calls b, and takes no other.
    let seen = after_crashes(&disk, |disk| disk.list().unwrap().join(" "));
    assert_eq!(seen, ["a b", "b", "", "c", "a b c", "b c"].into_iter().map(str::to_owned).collect());
}

#[test]
fn unlinks_are_lost_in_any_order() {
    let mut disk = disk_after(&[create("a", 0), create("b", 0), create("c", 0), Operation::FlushDirectory]);
    disk.perform_all(&[unlink("a"), unlink("b"), unlink("c")]).unwrap();
    let seen = after_crashes(&disk, |disk| disk.list().unwrap().concat());
    assert_eq!(seen, ["", "a", "b", "c", "ab", "ac", "bc", "abc"].into_iter().map(str::to_owned).collect());
}

#[test]
fn a_rename_survives_without_the_creation_before_it_and_without_touching_a_namesake() {
    let mut disk = disk_after(&[create("new", 1), flush("new"), Operation::FlushDirectory]);
    disk.perform_all(&[unlink("new"), create("new", 2), flush("new"), rename("new", "final")]).unwrap();
    let lengths = |disk: &ModelDisk| {
        ["new", "final"].map(|file| disk.length(file).ok()).map(|length| length.map_or(0, |length| length))
    };
    let seen = after_crashes(&disk, lengths);
    // Renamed: the new file is there as a whole, whether or not the old one of its first name is gone.
    assert_eq!(seen, BTreeSet::from([[0, 0], [1, 0], [2, 0], [0, 2], [1, 2]]));
}

#[test]
fn a_rename_carries_the_bytes_and_replaces_the_old_file() {
    let mut disk = disk_after(&[create("new", 0), write("new", 0, b"fresh"), create("old", 9), rename("new", "old")]);
    assert_eq!(contents(&disk, "old"), b"fresh");
    disk.perform_all(&[flush("old"), Operation::FlushDirectory]).unwrap();
    assert_eq!(contents(&disk.synced_image(), "old"), b"fresh");
    assert_eq!(disk.synced_image().list().unwrap().len(), 1);
}

#[test]
fn the_synced_image_has_lost_everything_pending() {
    let mut disk = disk_after(&[create("a", 4), write("a", 0, b"1"), flush("a"), Operation::FlushDirectory]);
    disk.perform_all(&[write("a", 1, b"2"), create("b", 1), unlink("a")]).unwrap();
    assert_eq!(disk.unsynced().name_changes, 2);
    assert_eq!(contents(&disk.synced_image(), "a"), b"1\0\0\0");
    assert_eq!(disk.list().unwrap(), vec!["b".to_owned()]);
}

#[test]
fn unsynced_names_the_files_a_crash_could_change() {
    let mut disk = disk_after(&[create("a", 4), flush("a"), create("b", 4), Operation::FlushDirectory]);
    disk.perform_all(&[write("a", 0, b"12"), write("a", 0, b"3")]).unwrap();
    let unsynced = disk.unsynced();
    assert_eq!(unsynced.bytes_by_file.into_iter().collect::<Vec<_>>(), vec![("a".into(), 3), ("b".into(), 0)]);
}

#[test]
fn damage_is_durable() {
    let mut disk = disk_after(&[create("a", 0), write("a", 0, b"abc"), flush("a"), Operation::FlushDirectory]);
    disk.flip_bit("a", 8).unwrap();
    assert_eq!(contents(&disk.synced_image(), "a"), b"acc");
    disk.truncate("a", 1).unwrap();
    assert_eq!(contents(&disk.synced_image(), "a"), b"a");
    disk.perform(&write("a", 3, b"d")).unwrap();
    assert_eq!(contents(&disk, "a"), b"a\0\0d");
    assert_eq!(disk.flip_bit("a", 99).unwrap_err().kind, DiskErrorKind::Name);
    assert_eq!(disk.truncate("z", 0).unwrap_err().kind, DiskErrorKind::Name);
}

#[test]
fn operations_on_wrong_names_fail_and_change_nothing() {
    let mut disk = disk_after(&[create("a", 1)]);
    for operation in [create("a", 2), write("z", 0, b"x"), flush("z"), rename("z", "a"), unlink("z")] {
        assert_eq!(disk.perform(&operation).unwrap_err().kind, DiskErrorKind::Name, "{operation:?}");
    }
    assert_eq!(disk.length("a").unwrap(), 1);
    assert_eq!(disk.read("z", 0, 1).unwrap_err().kind, DiskErrorKind::Name);
    assert_eq!(disk.perform(&write("a", u64::MAX, b"xx")).unwrap_err().kind, DiskErrorKind::Medium);
}

#[test]
fn a_full_disk_refuses_growth_but_not_writes_into_reserved_space() {
    let mut disk = disk_after(&[create("a", 100)]);
    disk.faults_mut().capacity_bytes = Some(150);
    assert_eq!(disk.perform(&create("b", 51)).unwrap_err().kind, DiskErrorKind::Full);
    assert_eq!(disk.perform(&write("a", 149, b"xy")).unwrap_err().kind, DiskErrorKind::Full);
    disk.perform_all(&[write("a", 0, &[1; 100]), create("b", 50)]).unwrap();
    assert_eq!(disk.used_bytes(), 150);
}

#[test]
fn an_injected_fault_hits_once_and_where_it_was_asked_to() {
    let mut disk = disk_after(&[create("a", 0)]);
    disk.faults_mut().fail_after = Some((1, DiskErrorKind::Medium));
    disk.perform(&write("a", 0, b"ok")).unwrap();
    assert_eq!(disk.perform(&unlink("a")).unwrap_err().kind, DiskErrorKind::Medium);
    assert_eq!(contents(&disk, "a"), b"ok");
    disk.perform(&unlink("a")).unwrap();
    disk.fail_next(DiskErrorKind::Full);
    assert_eq!(disk.perform(&create("b", 1)).unwrap_err().kind, DiskErrorKind::Full);
}

#[test]
fn after_a_failed_flush_a_good_one_does_not_save_the_old_writes() {
    let mut disk = disk_after(&[create("a", 2), flush("a"), Operation::FlushDirectory, write("a", 0, b"x")]);
    disk.fail_next(DiskErrorKind::Medium);
    disk.perform(&flush("a")).unwrap_err();
    disk.perform_all(&[write("a", 1, b"y"), flush("a")]).unwrap();
    assert_eq!(contents(&disk, "a"), b"xy");
    assert_eq!(contents(&disk.synced_image(), "a"), b"\0y");
}

#[test]
fn what_is_flushed_over_an_abandoned_write_survives_every_crash() {
    let mut disk = disk_after(&[create("a", 4), flush("a"), Operation::FlushDirectory, write("a", 0, b"AAAA")]);
    disk.fail_next(DiskErrorKind::Medium);
    disk.perform(&flush("a")).unwrap_err();
    disk.perform_all(&[write("a", 1, b"BB"), flush("a")]).unwrap();
    let seen = after_crashes(&disk, |disk| contents(disk, "a"));
    assert!(seen.iter().all(|bytes| &bytes[1..3] == b"BB"), "{seen:?}");
    // What no later write replaced is still in doubt, on both sides.
    for (at, name) in [(0, "front"), (3, "back")] {
        let fates: BTreeSet<u8> = seen.iter().map(|bytes| bytes[at]).collect();
        assert!(fates.contains(&0) && fates.contains(&b'A'), "{name}: {fates:?}");
    }
    assert_eq!(contents(&disk.synced_image(), "a"), b"\0BB\0");
}

#[test]
fn a_write_that_is_flushed_over_an_abandoned_one_ends_the_doubt() {
    let mut disk = disk_after(&[create("a", 4), flush("a"), Operation::FlushDirectory, write("a", 1, b"AA")]);
    disk.fail_next(DiskErrorKind::Medium);
    disk.perform(&flush("a")).unwrap_err();
    disk.perform_all(&[write("a", 0, b"BBBB"), flush("a")]).unwrap();
    assert!(disk.unsynced().is_empty());
    assert_eq!(after_crashes(&disk, |disk| contents(disk, "a")), BTreeSet::from([b"BBBB".to_vec()]));
}

#[test]
fn an_unreadable_file_says_so() {
    let mut disk = disk_after(&[create("a", 2)]);
    disk.faults_mut().unreadable.insert("a".into());
    assert_eq!(disk.read("a", 0, 1).unwrap_err().kind, DiskErrorKind::Medium);
}

/// The disk's reading view against the obvious twin: a vector of bytes.
fn schedule() -> impl Strategy<Value = Vec<(u64, Vec<u8>, bool)>> {
    prop::collection::vec((0u64..9000, prop::collection::vec(any::<u8>(), 0..700), any::<bool>()), 1..12)
}

proptest! {
    #[test]
    fn writes_and_flushes_match_a_plain_vector(schedule in schedule(), seed in any::<u64>()) {
        let mut disk = disk_after(&[create("a", 0), Operation::FlushDirectory]);
        let (mut running, mut synced) = (Vec::new(), Vec::new());
        for (offset, bytes, flushed) in schedule {
            disk.perform(&write("a", offset, &bytes)).unwrap();
            let end = offset as usize + bytes.len();
            if !bytes.is_empty() && running.len() < end {
                running.resize(end, 0);
            }
            if !bytes.is_empty() {
                running[offset as usize..end].copy_from_slice(&bytes);
            }
            if flushed {
                disk.perform(&flush("a")).unwrap();
                synced = running.clone();
            }
            prop_assert_eq!(&contents(&disk, "a"), &running);
            prop_assert_eq!(&contents(&disk.synced_image(), "a"), &synced);
        }
        let mut state = seed | 1;
        disk.crash(&mut |count| { state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1); (state >> 8) % count });
        let survived = contents(&disk, "a");
        prop_assert!(survived.len() >= synced.len() && survived.len() <= running.len());
    }
}
