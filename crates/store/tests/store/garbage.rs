//! Items that are dropped leave gaps, and the space they took comes back; images from elsewhere take the own one's place.
//! Crashes at every operation, any number of times.

use crate::owner::{Chance, CrashingDisk};
use bytes::Bytes;
use quorate_disk::Disk;
use quorate_disk::model::ModelDisk;
use quorate_store::{Completed, Items, Outline, Store, StoreConfig};
use quorate_types::Slot;
use std::collections::BTreeMap;
use std::ops::Range;

/// A state that drops items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    slot: u64,
    count: u64,
    items: BTreeMap<u64, Bytes>,
}

impl Items for State {
    fn item(&self, number: u64) -> Option<Bytes> {
        self.items.get(&number).cloned()
    }
    fn live_items(&self, numbers: Range<u64>) -> u64 {
        self.items.range(numbers).count() as u64
    }
}

impl State {
    fn outline(&self) -> Outline {
        Outline {
            applied: Slot(self.slot),
            meta: Bytes::from(format!("meta {}", self.slot)),
            head: Bytes::from(format!("head {}", self.count)),
            item_count: self.count,
        }
    }

    fn grow(&mut self, chance: &mut Chance) {
        self.slot += 1;
        for _ in 0..chance.below(12) {
            self.items.insert(self.count, chance.item());
            self.count += 1;
        }
    }

    /// Some of the older items go.
    fn drop_some(&mut self, chance: &mut Chance) {
        let keep_one_in = 1 + chance.below(8);
        let below = chance.below(self.count + 1);
        self.items.retain(|number, _| *number >= below || chance.below(keep_one_in) == 0);
    }

    fn bytes(&self) -> u64 {
        self.items.values().map(|item| item.len() as u64 + 8).sum()
    }
}

/// What is on the disk; the state as far as it can be told from it.
fn read(disk: &ModelDisk, config: StoreConfig, incoming: Option<u64>) -> Option<(State, Outline)> {
    let opened = Store::open(disk, config).expect("a crash alone is never damage");
    let image = match incoming {
        Some(id) => opened.incoming(id),
        None => opened.image,
    };
    let mut image = image?;
    let items: BTreeMap<u64, Bytes> = image.items.by_ref().collect();
    image.items.finish().expect("a crash alone is never damage");
    let outline = Outline { applied: image.applied, meta: image.meta, head: image.head, item_count: image.item_count };
    Some((State { slot: outline.applied.0, count: outline.item_count, items }, outline))
}

/// The image of this state was found: everything that was there, and nothing that was dropped. A put that came back while its
/// tombstone did not would bring a deleted key back to life.
fn assert_is(found: &Option<(State, Outline)>, state: &State) {
    let (found, outline) = found.as_ref().expect("there is a checkpoint");
    assert_eq!(*outline, state.outline());
    assert_eq!(found.items, state.items);
}

fn run(store: &mut Store, disk: &mut CrashingDisk, state: &State) -> Option<Option<Completed>> {
    while let Some(write) = store.next_write(state) {
        if !disk.perform(&write.operations) {
            return None;
        }
        if let Some(done) = store.completed(write.id) {
            return Some(Some(done));
        }
    }
    Some(None)
}

#[test]
fn what_lives_survives_drops_rewrites_and_crashes_and_the_dead_do_not_pile_up() {
    let mut rewrites = 0;
    for seed in 0..250 {
        let mut chance = Chance(seed);
        let config = StoreConfig { slice_bytes: 1 + chance.below(900) as usize, file_bytes: 1 + chance.below(6000) };
        let mut disk = CrashingDisk::new(ModelDisk::new(), u64::MAX);
        let mut state = State::default();
        let mut durable: Option<State> = None;
        for _ in 0..8 {
            let mut store = Store::open(&disk.disk, config).expect("whole").store;
            let repairs = Store::open(&disk.disk, config).expect("whole").operations;
            disk.operations_left = u64::MAX;
            assert!(disk.perform(&repairs));
            disk.operations_left = chance.below(60);
            let crashed = loop {
                state.grow(&mut chance);
                if chance.below(2) == 0 {
                    state.drop_some(&mut chance);
                }
                while store.survey(&state) {}
                let had_garbage = store.has_garbage();
                assert!(store.begin(state.outline()));
                match run(&mut store, &mut disk, &state) {
                    None => break Some(state.clone()),
                    Some(done) => assert_eq!(done, Some(Completed::Checkpoint(Slot(state.slot)))),
                }
                rewrites += u64::from(had_garbage);
                durable = Some(state.clone());
                if run(&mut store, &mut disk, &state).is_none() {
                    break None;
                }
            };
            disk.disk.crash(&mut |count| chance.below(count));
            let found = read(&disk.disk, config, None);
            match (&found, crashed.filter(|state| found.as_ref().is_some_and(|found| found.0.slot == state.slot))) {
                (_, Some(under_way)) => {
                    assert_is(&found, &under_way);
                    durable = Some(under_way);
                }
                (None, None) => assert_eq!(durable, None),
                (Some(_), None) => assert_is(&found, durable.as_ref().expect("it was reported")),
            }
            // The process goes on from what it finds: numbers that were lost are given again, to other items.
            state = found.map(|found| found.0).unwrap_or_default();
        }
    }
    assert!(rewrites > 300, "{rewrites}");
}

#[test]
fn garbage_is_bounded_without_anybodys_doing() {
    let config = StoreConfig { slice_bytes: 4096, file_bytes: 64 * 1024 };
    let mut chance = Chance(4);
    let mut disk = CrashingDisk::new(ModelDisk::new(), u64::MAX);
    let mut store = Store::open(&disk.disk, config).expect("empty").store;
    let mut state = State::default();
    for round in 1..60 {
        state.slot += 1;
        for _ in 0..400 {
            let item = Bytes::from(vec![round; 10 + chance.below(600) as usize]);
            state.items.insert(state.count, item);
            state.count += 1;
        }
        // Long items go first: counting items would not see how much of a file is dead.
        let below = state.count - 200;
        let mut kept = 0;
        state.items.retain(|number, item| {
            kept += 1;
            *number >= below || (item.len() < 60 && kept % 2 == 0)
        });
        loop {
            while store.survey(&state) {}
            let more = store.has_garbage();
            assert!(store.begin(state.outline()));
            while run(&mut store, &mut disk, &state).expect("no crash").is_some() {}
            if !more {
                break;
            }
        }
        let on_disk: u64 = disk.disk.list().unwrap().iter().map(|file| disk.disk.length(file).unwrap()).sum();
        let files = disk.disk.list().unwrap().len() as u64;
        let bound = 2 * state.bytes() + (files + 1) * 2048;
        assert!(on_disk <= bound, "round {round}: {on_disk} bytes for {} that live", state.bytes());
        assert!(files <= 4 + state.bytes() / (config.file_bytes / 8), "round {round}: {files} files");
    }
    let (found, _) = read(&disk.disk, config, None).expect("a checkpoint");
    assert!(state.items.iter().all(|(number, item)| found.items.get(number) == Some(item)));
}

#[test]
fn a_slice_is_bounded_also_where_nothing_lives() {
    let mut disk = CrashingDisk::new(ModelDisk::new(), u64::MAX);
    let mut store = Store::open(&disk.disk, StoreConfig::default()).expect("empty").store;
    let mut state = State { slot: 1, count: 1_000_000, items: BTreeMap::new() };
    state.items.insert(999_999, Bytes::from_static(b"the last"));
    assert!(store.begin(state.outline()));
    let mut writes = 0;
    while let Some(write) = store.next_write(&state) {
        assert!(disk.perform(&write.operations));
        writes += 1;
        if store.completed(write.id).is_some() {
            break;
        }
    }
    assert!(writes > 50, "numbers are looked at in slices: {writes}");
    let (found, _) = read(&disk.disk, StoreConfig::default(), None).expect("a checkpoint");
    assert_eq!(found, state);
}

/// Two states, the second from elsewhere and later.
fn two_states(seed: u64) -> (State, State) {
    let (mut own, mut other) = (State::default(), State::default());
    let mut chance = Chance(seed);
    (0..5).for_each(|_| own.grow(&mut chance));
    (0..9).for_each(|_| other.grow(&mut chance));
    other.drop_some(&mut chance);
    (own, other)
}

#[test]
fn an_image_from_elsewhere_takes_the_own_ones_place_in_one_step_at_every_crash() {
    let config = StoreConfig { slice_bytes: 200, file_bytes: 900 };
    let (mut before, mut arrived, mut after) = (0, 0, 0);
    for operations in 0..90 {
        for seed in 0..12 {
            let (own, other) = two_states(seed % 3);
            let mut disk = CrashingDisk::new(ModelDisk::new(), u64::MAX);
            let mut store = Store::open(&disk.disk, config).expect("empty").store;
            assert!(store.begin(own.outline()));
            assert_eq!(run(&mut store, &mut disk, &own), Some(Some(Completed::Checkpoint(Slot(own.slot)))));
            disk.operations_left = operations;
            let mut reported = None;
            assert!(store.begin_incoming(7, other.outline()));
            assert!(!store.begin(own.outline()), "one thing at a time");
            if run(&mut store, &mut disk, &other) == Some(Some(Completed::Incoming(7))) {
                reported = Some(Completed::Incoming(7));
                assert!(store.install(7));
                if let Some(Some(done)) = run(&mut store, &mut disk, &other) {
                    assert_eq!(done, Completed::Installed(Slot(other.slot)));
                    reported = Some(done);
                    run(&mut store, &mut disk, &other);
                }
            }
            let mut chance = Chance(seed + 100);
            disk.disk.crash(&mut |count| chance.below(count));
            let found = read(&disk.disk, config, None);
            let slot = found.as_ref().expect("the own one at least").0.slot;
            if slot == other.slot {
                assert_is(&found, &other);
                after += 1;
                continue;
            }
            assert_ne!(reported, Some(Completed::Installed(Slot(other.slot))));
            assert_is(&found, &own);
            let incoming = read(&disk.disk, config, Some(7));
            assert!(reported.is_none() || incoming.is_some(), "what was reported complete is there");
            if incoming.is_none() {
                before += 1;
                continue;
            }
            arrived += 1;
            assert_is(&incoming, &other);
            // It can still be installed, and then nothing else is left.
            let opened = Store::open(&disk.disk, config).expect("whole");
            let (mut store, repairs) = (opened.store, opened.operations);
            disk.operations_left = u64::MAX;
            assert!(disk.perform(&repairs) && store.install(7));
            while run(&mut store, &mut disk, &other).expect("no crash").is_some() {}
            assert_is(&read(&disk.disk, config, None), &other);
            assert_eq!(Store::open(&disk.disk, config).expect("whole").operations.len(), 1, "nothing is litter");
        }
    }
    assert!(before > 100 && arrived > 40 && after > 100, "{before} {arrived} {after}");
}

#[test]
fn a_dropped_image_from_elsewhere_leaves_nothing_behind_at_any_crash() {
    let config = StoreConfig { slice_bytes: 200, file_bytes: 900 };
    for operations in 0..20 {
        for seed in 0..10 {
            let (own, other) = two_states(seed);
            let mut disk = CrashingDisk::new(ModelDisk::new(), u64::MAX);
            let mut store = Store::open(&disk.disk, config).expect("empty").store;
            for (is_incoming, state) in [(false, &own), (true, &other)] {
                let begun =
                    if is_incoming { store.begin_incoming(3, state.outline()) } else { store.begin(state.outline()) };
                assert!(begun && run(&mut store, &mut disk, state).expect("no crash").is_some());
            }
            assert_eq!(store.incoming().collect::<Vec<_>>(), [3]);
            disk.operations_left = operations;
            assert!(store.drop_incoming(3) && !store.drop_incoming(3) && !store.install(3));
            run(&mut store, &mut disk, &own);
            let mut chance = Chance(seed);
            disk.disk.crash(&mut |count| chance.below(count));
            let opened = Store::open(&disk.disk, config).expect("whole");
            let (mut store, repairs) = (opened.store, opened.operations);
            disk.operations_left = u64::MAX;
            assert!(disk.perform(&repairs));
            store.drop_incoming(3);
            while run(&mut store, &mut disk, &own).expect("no crash").is_some() {}
            assert_is(&read(&disk.disk, config, None), &own);
            let names = disk.disk.list().unwrap();
            assert!(names.iter().all(|name| !name.starts_with("incoming-")), "{names:?}");
            let bytes: u64 = names.iter().map(|name| disk.disk.length(name).unwrap()).sum();
            assert_eq!(bytes, store.bytes_on_disk(), "{names:?}");
        }
    }
}

#[test]
fn an_image_that_was_installed_just_before_a_crash_can_be_let_go_of_without_harm() {
    let config = StoreConfig { slice_bytes: 200, file_bytes: 900 };
    let (_, other) = two_states(1);
    let mut disk = CrashingDisk::new(ModelDisk::new(), u64::MAX);
    let mut store = Store::open(&disk.disk, config).expect("empty").store;
    assert!(store.begin_incoming(3, other.outline()));
    run(&mut store, &mut disk, &other);
    assert!(store.install(3));
    assert_eq!(run(&mut store, &mut disk, &other), Some(Some(Completed::Installed(Slot(other.slot)))));
    // The old name was not removed yet.
    let opened = Store::open(&disk.disk, config).expect("whole");
    let (mut store, repairs) = (opened.store, opened.operations);
    assert!(disk.perform(&repairs) && store.drop_incoming(3));
    while run(&mut store, &mut disk, &other).expect("no crash").is_some() {}
    assert_is(&read(&disk.disk, config, None), &other);
}

#[test]
fn what_was_added_since_the_survey_is_no_garbage() {
    let config = StoreConfig { slice_bytes: 4096, file_bytes: 1 << 20 };
    let mut disk = CrashingDisk::new(ModelDisk::new(), u64::MAX);
    let mut store = Store::open(&disk.disk, config).expect("empty").store;
    let mut state = State::default();
    for round in 0..6 {
        for _ in 0..200 {
            state.items.insert(state.count, Bytes::from(vec![7; 100]));
            state.count += 1;
        }
        state.slot += 1;
        assert!(store.begin(state.outline()));
        while run(&mut store, &mut disk, &state).expect("no crash").is_some() {}
        assert!(store.garbage_bytes() < 4096, "{} bytes of garbage in round {round}", store.garbage_bytes());
        assert!(!store.has_garbage(), "everything lives but {round} items");
        state.items.remove(&(state.count - 100));
        while store.survey(&state) {}
    }
}

#[test]
fn after_an_installation_garbage_is_found_even_if_as_many_items_are_missing_as_before() {
    let config = StoreConfig { slice_bytes: 4096, file_bytes: 1 << 20 };
    let mut disk = CrashingDisk::new(ModelDisk::new(), u64::MAX);
    let mut store = Store::open(&disk.disk, config).expect("empty").store;
    let full = |slot| {
        let items = (0..400).map(|number| (number, Bytes::from(vec![slot as u8; 100]))).collect();
        State { slot, count: 400, items }
    };
    let mut own = full(1);
    assert!(store.begin(own.outline()));
    while run(&mut store, &mut disk, &own).expect("no crash").is_some() {}
    own.items.retain(|number, _| *number >= 300);
    while store.survey(&own) {}
    assert!(store.garbage_bytes() > 300 * 100);

    let mut other = full(2);
    assert!(store.begin_incoming(7, other.outline()));
    run(&mut store, &mut disk, &other);
    assert!(store.install(7));
    while run(&mut store, &mut disk, &other).expect("no crash").is_some() {}
    assert_eq!(store.garbage_bytes(), 0, "the files of the installed image are new");
    other.items.retain(|number, _| *number >= 300);
    while store.survey(&other) {}
    assert!(store.has_garbage() && store.garbage_bytes() > 300 * 100, "{}", store.garbage_bytes());
}
