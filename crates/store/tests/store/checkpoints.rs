//! What a store does while nothing goes wrong.

use crate::owner::{Chance, Image, begin, checkpoint, image_of, next_write, open, open_whole};
use bytes::Bytes;
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, Operation};
use quorate_store::{Items, StoreConfig};
use quorate_types::Slot;
use std::cell::RefCell;
use std::ops::Range;

const SMALL: StoreConfig = StoreConfig { slice_bytes: 100, file_bytes: 700 };

fn items(count: u64) -> Vec<Bytes> {
    let mut chance = Chance(1);
    (0..count).map(|_| chance.item()).collect()
}

#[test]
fn an_empty_directory_is_an_empty_store() {
    let opened = open(&ModelDisk::new(), SMALL).unwrap();
    assert_eq!(opened.image, None);
    assert_eq!((opened.store.durable(), opened.store.bytes_on_disk()), (Slot(0), 0));
    assert!(!opened.store.is_checkpointing());
}

#[test]
fn a_checkpoint_comes_back_as_it_was_given() {
    for count in [0, 1, 2, 50] {
        let mut disk = ModelDisk::new();
        let (mut store, _) = open_whole(&mut disk, SMALL);
        let image = image_of(9, &items(count));
        checkpoint(&mut store, &mut disk, &image);
        assert_eq!(store.durable(), Slot(9));
        let opened = open(&disk.synced_image(), SMALL).unwrap();
        assert_eq!(opened.image, Some(image));
        assert_eq!(opened.store.durable(), Slot(9));
        assert_eq!(opened.store.bytes_on_disk(), store.bytes_on_disk());
    }
}

#[test]
fn reopening_and_going_on_for_ever_loses_nothing_and_leaves_nothing_behind() {
    let mut disk = ModelDisk::new();
    let mut chance = Chance(7);
    let mut items = Vec::new();
    let mut last = None;
    for round in 1..60 {
        let config = StoreConfig { slice_bytes: chance.below(3000) as usize, file_bytes: chance.below(6000) };
        let (mut store, image) = open_whole(&mut disk, config);
        assert_eq!(image, last, "round {round}");
        for slot in [2 * round, 2 * round + 1] {
            (0..chance.below(9)).for_each(|_| items.push(chance.item()));
            let image = image_of(slot, &items);
            checkpoint(&mut store, &mut disk, &image);
            last = Some(image);
        }
        assert_eq!(store.bytes_on_disk(), bytes_of_image(&disk));
    }
    let names = disk.list().unwrap();
    assert_eq!(names.iter().filter(|name| name.starts_with("checkpoint-")).count(), 1, "{names:?}");
}

/// Everything but a manifest that is unlinked at the next chance.
fn bytes_of_image(disk: &ModelDisk) -> u64 {
    let names = disk.list().expect("a model disk lists");
    let newest = names.iter().rfind(|name| name.starts_with("checkpoint-")).expect("one was completed");
    let in_image = names.iter().filter(|name| name.starts_with("items-") || *name == newest);
    in_image.map(|name| disk.length(name).expect("it is listed")).sum()
}

/// Items that note who asks.
struct Recorded<'a> {
    image: &'a Image,
    asked: &'a RefCell<Vec<usize>>,
}

impl Items for Recorded<'_> {
    fn item(&self, number: u64) -> Option<Bytes> {
        self.asked.borrow_mut().push(number as usize);
        self.image.item(number)
    }
    fn live_items(&self, numbers: Range<u64>) -> u64 {
        self.image.live_items(numbers)
    }
}

#[test]
fn items_are_written_once_and_only_the_new_ones() {
    let mut disk = ModelDisk::new();
    let (mut store, _) = open_whole(&mut disk, StoreConfig::default());
    let all = items(30);
    for (slot, range) in [(1, 0..10), (2, 10..10), (3, 10..30)] {
        let image = image_of(slot, &all[..range.end]);
        assert!(begin(&mut store, &image));
        let asked = RefCell::new(Vec::new());
        while let Some(write) = store.next_write(&Recorded { image: &image, asked: &asked }) {
            disk.perform_all(&write.operations).unwrap();
            store.completed(write.id);
        }
        assert_eq!(asked.take(), range.collect::<Vec<_>>());
    }
    assert_eq!(open(&disk, SMALL).unwrap().image, Some(image_of(3, &all)));
}

#[test]
fn slices_are_bounded_and_flushed_and_files_are_limited() {
    let mut disk = ModelDisk::new();
    let (mut store, _) = open_whole(&mut disk, SMALL);
    let image = image_of(1, &vec![Bytes::from_static(&[7; 20]); 100]);
    let writes = checkpoint(&mut store, &mut disk, &image);
    let (manifest, slices) = writes.split_last().unwrap();
    // 100 items of 28 bytes each with their frames, four to a slice of at least 100 bytes; the first slice of a file
    // has its header of 40 bytes too and needs only three.
    assert!((25..=34).contains(&slices.len()), "{} slices", slices.len());
    for slice in slices {
        let [.., Operation::Write { file, parts, .. }, Operation::Flush { file: flushed }] = strip_flush(slice) else {
            panic!("{slice:?}");
        };
        assert_eq!(file, flushed);
        let written: usize = parts.iter().map(Bytes::len).sum();
        assert!(written < 100 + 28 + 520, "a slice, one more item and the padding: {written}");
    }
    assert!(manifest.operations.iter().any(|operation| matches!(operation, Operation::Rename { .. })));
    let names = disk.list().unwrap();
    let item_files: Vec<_> = names.iter().filter(|name| name.starts_with("items-")).collect();
    assert_eq!(item_files.len(), 4, "2800 bytes of frames in files that end at 700");
    for file in item_files {
        assert!(disk.length(file).unwrap() < 700 + 128 + 520, "{file}");
    }
}

fn strip_flush(write: &quorate_store::Write) -> &[Operation] {
    match &write.operations[..] {
        [operations @ .., Operation::FlushDirectory] => operations,
        operations => operations,
    }
}

#[test]
fn one_write_is_in_flight_at_a_time() {
    let mut disk = ModelDisk::new();
    let (mut store, _) = open_whole(&mut disk, SMALL);
    let image = image_of(1, &items(20));
    assert_eq!(next_write(&mut store, &image), None, "nothing runs");
    assert!(begin(&mut store, &image));
    let write = next_write(&mut store, &image).unwrap();
    assert_eq!(next_write(&mut store, &image), None, "one is in flight");
    for stale in [0, write.id + 1, u64::MAX] {
        assert_eq!(store.completed(stale), None);
        assert_eq!(next_write(&mut store, &image), None, "a stale id completes nothing");
    }
    assert_eq!(store.completed(write.id), None, "more is to come");
    let second = next_write(&mut store, &image).unwrap();
    assert!(second.id > write.id);
    assert_eq!(store.completed(write.id), None);
    assert_eq!(next_write(&mut store, &image), None, "the second is still in flight");
}

#[test]
fn a_checkpoint_is_not_begun_while_one_runs_nor_back_in_time() {
    let mut disk = ModelDisk::new();
    let (mut store, _) = open_whole(&mut disk, SMALL);
    let all = items(10);
    assert!(begin(&mut store, &image_of(5, &all)));
    assert!(!begin(&mut store, &image_of(6, &all)), "one runs");
    while let Some(write) = next_write(&mut store, &image_of(5, &all)) {
        disk.perform_all(&write.operations).unwrap();
        store.completed(write.id);
    }
    assert!(!begin(&mut store, &image_of(4, &all)), "an earlier slot");
    assert!(!begin(&mut store, &image_of(6, &all[..9])), "fewer items");
    let (mut reopened, image) = open_whole(&mut disk, SMALL);
    assert_eq!(image, Some(image_of(5, &all)));
    assert!(!begin(&mut reopened, &image_of(4, &all)));
    assert!(begin(&mut reopened, &image_of(5, &all)), "the same state may be written again");
}

#[test]
fn files_of_others_are_left_alone() {
    let mut disk = ModelDisk::new();
    disk.perform(&Operation::Create { file: "LOCK".into(), reserve_bytes: 3 }).unwrap();
    let (mut store, _) = open_whole(&mut disk, SMALL);
    checkpoint(&mut store, &mut disk, &image_of(1, &items(3)));
    open_whole(&mut disk, SMALL);
    assert_eq!(disk.length("LOCK").unwrap(), 3);
}

#[test]
fn the_first_bytes_of_the_files_are_the_documented_ones() {
    let mut disk = ModelDisk::new();
    let (mut store, _) = open_whole(&mut disk, SMALL);
    checkpoint(&mut store, &mut disk, &image_of(1, &[Bytes::from_static(b"item")]));
    assert_eq!(disk.list().unwrap(), ["checkpoint-0000000000000001", "items-0000000000000001.rev"]);
    let items = disk.read("items-0000000000000001.rev", 0, 1000).unwrap();
    assert_eq!(items.len(), 512);
    assert_eq!(&items[..36], b"QRTITEMS\x02\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!((&items[40..44], &items[48..52]), (&b"\x05\0\0\0"[..], &b"item"[..]));
    assert!(items[52..].iter().all(|byte| *byte == 0));
    let manifest = disk.read("checkpoint-0000000000000001", 0, 1000).unwrap();
    assert_eq!(&manifest[..21], b"QRTCHKPT\x02\0\0\0\x01\x01\x01\x01\x01\0\x01\x80\x04");
}
