//! The owner of a store in a test: a growing list of items, checkpoints of it, and a disk that may crash.
#![allow(dead_code, reason = "every test file includes it and uses its own part")]

use bytes::Bytes;
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, Operation};
use quorate_store::{Image, Opened, Store, StoreConfig, StoreError, Write};
use quorate_types::Slot;

/// A small generator, so that a seed names a run.
#[derive(Clone)]
pub struct Chance(pub u64);

impl Chance {
    /// Below `count`.
    pub fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % count
    }

    /// Mostly short, sometimes empty, sometimes longer than a few sectors; never two alike by design.
    pub fn item(&mut self) -> Bytes {
        let length = match self.below(8) {
            0 => 0,
            1 => 300 + self.below(1500),
            _ => self.below(60),
        };
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

/// A disk that crashes before the operation after its budget.
pub struct CrashingDisk {
    pub disk: ModelDisk,
    pub operations_left: u64,
}

impl CrashingDisk {
    pub fn new(disk: ModelDisk, operations_left: u64) -> CrashingDisk {
        CrashingDisk { disk, operations_left }
    }

    /// False: it came to the crash.
    pub fn perform(&mut self, operations: &[Operation]) -> bool {
        for operation in operations {
            if self.operations_left == 0 {
                return false;
            }
            self.operations_left -= 1;
            self.disk.perform(operation).expect("the store asks only for what a healthy disk can do");
        }
        true
    }
}

pub fn open(disk: &ModelDisk, config: StoreConfig) -> Result<Opened, StoreError> {
    Store::open(disk, config)
}

/// Opens a disk that has nothing wrong, and repairs it.
pub fn open_whole(disk: &mut ModelDisk, config: StoreConfig) -> (Store, Option<Image>) {
    let Opened { store, operations, image } = Store::open(disk, config).expect("the disk is whole");
    disk.perform_all(&operations).expect("repairs are possible");
    (store, image)
}

/// The image of these items at this slot, with a meta and a head that no other slot has.
pub fn image_of(slot: u64, items: &[Bytes]) -> Image {
    Image {
        applied: Slot(slot),
        meta: Bytes::from(format!("meta of {slot}")),
        head: Bytes::from(format!("head of {slot}").repeat(slot as usize % 7)),
        items: items.to_vec(),
    }
}

pub fn begin(store: &mut Store, image: &Image) -> bool {
    store.begin(image.applied, image.meta.clone(), image.head.clone(), image.items.len() as u64)
}

pub fn next_write(store: &mut Store, image: &Image) -> Option<Write> {
    store.next_write(&mut |number| image.items[number as usize].clone())
}

/// A whole checkpoint, without a crash. Returns every write.
pub fn checkpoint(store: &mut Store, disk: &mut ModelDisk, image: &Image) -> Vec<Write> {
    assert!(begin(store, image));
    let mut writes = Vec::new();
    while let Some(write) = next_write(store, image) {
        disk.perform_all(&write.operations).expect("the disk is healthy");
        let done = store.completed(write.id);
        assert_eq!(done.is_some(), !store.is_checkpointing());
        writes.push(write);
        if let Some(applied) = done {
            assert_eq!(applied, image.applied);
            return writes;
        }
    }
    panic!("a running checkpoint with nothing in flight has a next write");
}
