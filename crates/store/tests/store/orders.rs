//! The order of operations, where a crash on the model disk is kinder than a disk may be: its directory loses only the
//! latest changes, and a torn write spoils no bytes beside it.

use crate::owner::{Chance, begin, checkpoint, image_of, next_write, open, open_whole};
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, Operation, SECTOR_BYTES};
use quorate_store::StoreConfig;
use std::collections::{BTreeMap, BTreeSet};

const CONFIG: StoreConfig = StoreConfig { slice_bytes: 300, file_bytes: 1500 };

/// Every operation of `checkpoints` checkpoints with a few new items each.
fn operations_of(checkpoints: u64) -> Vec<Operation> {
    let mut chance = Chance(17);
    let mut disk = ModelDisk::new();
    let (mut store, _) = open_whole(&mut disk, CONFIG);
    let mut items = Vec::new();
    let mut operations = Vec::new();
    for slot in 1..=checkpoints {
        (0..chance.below(20)).for_each(|_| items.push(chance.item()));
        let writes = checkpoint(&mut store, &mut disk, &image_of(slot, &items));
        operations.extend(writes.into_iter().flat_map(|write| write.operations));
    }
    operations
}

#[test]
fn every_name_is_durable_before_a_manifest_takes_its_own() {
    let mut unflushed_names = BTreeSet::new();
    let mut unflushed_bytes = BTreeSet::new();
    let mut renames = 0;
    for operation in operations_of(30) {
        match operation {
            Operation::Create { file, .. } => drop(unflushed_names.insert(file)),
            Operation::Write { file, .. } => drop(unflushed_bytes.insert(file)),
            Operation::Flush { file } => drop(unflushed_bytes.remove(&file)),
            Operation::Forget { .. } => {}
            Operation::FlushDirectory => unflushed_names.clear(),
            Operation::Rename { from, .. } => {
                assert!(unflushed_names.iter().all(|file| *file == from), "{unflushed_names:?} before {from}");
                assert!(unflushed_bytes.is_empty(), "{unflushed_bytes:?} before {from}");
                unflushed_names.insert(from);
                renames += 1;
            }
            Operation::Unlink { .. } => assert!(unflushed_names.is_empty(), "a newer manifest is not durable yet"),
        }
    }
    assert_eq!(renames, 30);
}

#[test]
fn no_write_touches_a_sector_that_a_durable_checkpoint_vouches_for() {
    let mut written_to: BTreeMap<String, u64> = BTreeMap::new();
    let mut vouched_to: BTreeMap<String, u64> = BTreeMap::new();
    let mut appended = 0;
    for operation in operations_of(30) {
        match operation {
            Operation::Write { file, offset, parts } => {
                let first_free_sector = vouched_to.get(&file).map_or(0, |end| end.div_ceil(SECTOR_BYTES as u64));
                assert!(offset / SECTOR_BYTES as u64 >= first_free_sector, "{file} at {offset}");
                appended += u32::from(first_free_sector > 0);
                let length: usize = parts.iter().map(bytes::Bytes::len).sum();
                written_to.insert(file, offset + length as u64);
            }
            Operation::Rename { .. } => vouched_to = written_to.clone(),
            _ => {}
        }
    }
    assert!(appended > 10, "later checkpoints must append to vouched-for files: {appended}");
}

#[test]
fn the_sector_rule_holds_over_restarts_that_find_stale_bytes() {
    let mut chance = Chance(2);
    let items: Vec<_> = (0..9).map(|_| chance.item()).collect();
    let mut disk = ModelDisk::new();
    let (mut store, _) = open_whole(&mut disk, StoreConfig::default());
    checkpoint(&mut store, &mut disk, &image_of(1, &items[..5]));
    let file = "items-0000000000000001.rev";
    let vouched_to = disk.length(file).unwrap();
    for _ in 0..3 {
        let image = image_of(2, &items);
        assert!(begin(&mut store, &image));
        let write = next_write(&mut store, &image).unwrap();
        let Operation::Write { file: written, offset, .. } = &write.operations[0] else { panic!("{write:?}") };
        assert_eq!((&written[..], *offset), (file, vouched_to));
        assert_eq!(offset % SECTOR_BYTES as u64, 0);
        disk.perform_all(&write.operations).unwrap();
        // The manifest is never written: the next start finds the bytes and goes over them again.
        store = open_whole(&mut disk, StoreConfig::default()).0;
    }
}

#[test]
fn repairs_first_keep_then_remove_then_make_the_removal_last() {
    let mut disk = ModelDisk::new();
    let (mut store, _) = open_whole(&mut disk, CONFIG);
    checkpoint(&mut store, &mut disk, &image_of(1, &[]));
    assert_eq!(open(&disk, CONFIG).unwrap().operations, [Operation::FlushDirectory]);
    let litter = ["checkpoint-0000000000000002.new", "items-0000000000000001.rev"];
    for file in litter {
        disk.perform(&Operation::Create { file: file.into(), reserve_bytes: 10 }).unwrap();
    }
    let repairs = open(&disk, CONFIG).unwrap().operations;
    let unlink = |file: &str| Operation::Unlink { file: file.into() };
    let expected = [Operation::FlushDirectory, unlink(litter[0]), unlink(litter[1]), Operation::FlushDirectory];
    assert_eq!(repairs, expected);
}
