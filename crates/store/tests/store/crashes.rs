//! Whatever a crash takes, what comes back is a checkpoint, and none older than the last one that was reported durable.

use crate::owner::{Chance, CrashingDisk, Image, Opened, begin, checkpoint, image_of, next_write, open, open_whole};
use bytes::Bytes;
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, DiskErrorKind, Operation};
use quorate_store::{Store, StoreConfig};

/// One node's life over many crashes.
struct Life {
    chance: Chance,
    disk: CrashingDisk,
    config: StoreConfig,
    /// The last one found or reported durable.
    durable: Option<Image>,
    /// The one under way at the crash: it may have made it.
    under_way: Option<Image>,
    slot: u64,
    /// Counted to show that runs are not vacuous.
    made_it: u64,
    did_not: u64,
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut chance = Chance(seed);
        let config = StoreConfig { slice_bytes: chance.below(2000) as usize, file_bytes: chance.below(5000) };
        let disk = CrashingDisk::new(ModelDisk::new(), 0);
        Life { chance, disk, config, durable: None, under_way: None, slot: 0, made_it: 0, did_not: 0 }
    }

    fn live_once(&mut self, operations: u64) {
        self.run_until_crash(operations);
        self.crash();
    }

    fn crash(&mut self) {
        let chance = &mut self.chance;
        self.disk.disk.crash(&mut |count| chance.below(count));
    }

    /// Opens, repairs, and runs checkpoints.
    fn run_until_crash(&mut self, operations: u64) {
        let Opened { mut store, operations: repairs, image } =
            open(&self.disk.disk, self.config).expect("a crash alone is never damage");
        self.check(image);
        self.disk.operations_left = operations;
        if self.disk.perform(&repairs) {
            while self.run_checkpoint(&mut store) {}
        }
    }

    fn check(&mut self, found: Option<Image>) {
        let under_way = self.under_way.take();
        if found == self.durable {
            self.did_not += u64::from(under_way.is_some());
        } else {
            assert_eq!(found, under_way, "neither the last durable checkpoint nor the one that was under way");
            self.made_it += 1;
            self.durable = found;
        }
    }

    /// False: it came to the crash.
    fn run_checkpoint(&mut self, store: &mut Store) -> bool {
        // After a crash other items take the numbers that were lost: stale ones must not come back in their place.
        let mut items: Vec<Bytes> = self.durable.as_ref().map_or(Vec::new(), |image| image.items.clone());
        (0..self.chance.below(12)).for_each(|_| items.push(self.chance.item()));
        self.slot += 1;
        let image = image_of(self.slot, &items);
        assert!(begin(store, &image));
        self.under_way = Some(image.clone());
        while let Some(write) = next_write(store, &image) {
            if !self.disk.perform(&write.operations) {
                return false;
            }
            if store.completed(write.id).is_some() {
                self.durable = self.under_way.take();
                return true;
            }
        }
        panic!("a running checkpoint always has a next write");
    }
}

#[test]
fn lives_of_many_crashes_never_lose_a_durable_checkpoint() {
    let (mut made_it, mut did_not) = (0, 0);
    for seed in 0..400 {
        let mut life = Life::new(seed);
        for _ in 0..12 {
            let operations = life.chance.below(40);
            life.live_once(operations);
        }
        made_it += life.made_it;
        did_not += life.did_not;
    }
    assert!(made_it > 100 && did_not > 1000, "both ends must occur: {made_it} {did_not}");
}

#[test]
fn a_crash_before_every_single_operation_in_many_ways() {
    for operations in 0..60 {
        for seed in 0..40 {
            // A few kinds of work, and for each many fates at the crash.
            let mut life = Life::new(seed % 5);
            life.config = StoreConfig { slice_bytes: 300, file_bytes: 1500 };
            life.run_until_crash(operations);
            life.chance = Chance(seed);
            life.crash();
            life.live_once(7);
            life.live_once(50);
            life.live_once(0);
        }
    }
}

#[test]
fn a_killed_process_finds_its_newest_checkpoint_and_makes_it_durable() {
    // No crash of the machine: the next process reads what only the system's cache has, and then the power goes.
    let config = StoreConfig { slice_bytes: 200, file_bytes: 600 };
    let mut chance = Chance(3);
    let items: Vec<Bytes> = (0..20).map(|_| chance.item()).collect();
    let (old, new) = (image_of(1, &items[..10]), image_of(2, &items));
    let mut found_new_before_it_was_durable = 0;
    for operations in 0..100 {
        let mut whole = ModelDisk::new();
        let (mut store, _) = open_whole(&mut whole, config);
        checkpoint(&mut store, &mut whole, &old);
        let mut disk = CrashingDisk::new(whole, operations);
        assert!(begin(&mut store, &new));
        while let Some(write) = next_write(&mut store, &new) {
            if !disk.perform(&write.operations) || store.completed(write.id).is_some() {
                break;
            }
        }
        let mut disk = disk.disk;
        let durable_before = open(&disk.synced_image(), config).unwrap().image;
        let (_, image) = open_whole(&mut disk, config);
        assert!(image == Some(old.clone()) || image == Some(new.clone()));
        assert_eq!(open(&disk.synced_image(), config).unwrap().image, image, "after {operations} operations");
        found_new_before_it_was_durable += u32::from(durable_before != image);
    }
    assert!(found_new_before_it_was_durable > 0);
}

#[test]
fn repairs_may_be_cut_off_and_done_again() {
    let config = StoreConfig { slice_bytes: 50, file_bytes: 100 };
    let mut chance = Chance(5);
    let items: Vec<Bytes> = (0..40).map(|_| chance.item()).collect();
    let mut disk = ModelDisk::new();
    let (mut store, _) = open_whole(&mut disk, config);
    checkpoint(&mut store, &mut disk, &image_of(1, &items[..5]));
    // A checkpoint that stops just before its manifest leaves many files behind.
    let unfinished = image_of(2, &items);
    assert!(begin(&mut store, &unfinished));
    while let Some(write) = next_write(&mut store, &unfinished) {
        if let [Operation::Create { file, .. }, ..] = &write.operations[..]
            && file.ends_with(".new")
        {
            disk.perform_all(&write.operations[..2]).unwrap();
            break;
        }
        disk.perform_all(&write.operations).unwrap();
        store.completed(write.id);
    }
    let repairs = open(&disk, config).unwrap().operations;
    let unlinks = repairs.iter().filter(|operation| matches!(operation, Operation::Unlink { .. })).count();
    assert!(unlinks > 5, "{repairs:?}");
    for done in 0..=repairs.len() {
        for seed in 0..20 {
            let mut chance = Chance(seed);
            let mut half = disk.clone();
            half.perform_all(&repairs[..done]).unwrap();
            half.crash(&mut |count| chance.below(count));
            let (_, image) = open_whole(&mut half, config);
            assert_eq!(image, Some(image_of(1, &items[..5])));
            assert_eq!(open(&half, config).unwrap().operations, [Operation::FlushDirectory], "nothing is left to do");
        }
    }
}

#[test]
fn opening_only_to_look_changes_nothing() {
    let mut life = Life::new(11);
    life.live_once(25);
    let before = open(&life.disk.disk, life.config).unwrap();
    let again = open(&life.disk.disk, life.config).unwrap();
    assert_eq!((before.image, before.operations), (again.image, again.operations));
    assert!(life.disk.disk.unsynced().is_empty());
}

#[test]
fn a_failed_operation_and_a_restart_lose_nothing_durable() {
    let config = StoreConfig { slice_bytes: 200, file_bytes: 600 };
    let mut chance = Chance(9);
    let items: Vec<Bytes> = (0..20).map(|_| chance.item()).collect();
    let (old, new) = (image_of(1, &items[..10]), image_of(2, &items));
    for kind in [DiskErrorKind::Full, DiskErrorKind::Medium] {
        for passed in 0..40 {
            let mut disk = ModelDisk::new();
            let (mut store, _) = open_whole(&mut disk, config);
            checkpoint(&mut store, &mut disk, &old);
            disk.faults_mut().fail_after = Some((passed, kind));
            assert!(begin(&mut store, &new));
            let mut durable = old.clone();
            while let Some(write) = next_write(&mut store, &new) {
                if disk.perform_all(&write.operations).is_err() {
                    break;
                }
                if store.completed(write.id).is_some() {
                    durable = new.clone();
                    break;
                }
            }
            disk.faults_mut().fail_after = None;
            disk.crash(&mut |count| chance.below(count));
            let found = open(&disk, config).unwrap().image.unwrap();
            assert!(found == durable || found == new, "{kind:?} after {passed}");
        }
    }
}
