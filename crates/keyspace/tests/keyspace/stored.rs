//! A keyspace, its store and a disk that crashes, against a twin that never tidied and was never restarted: deleted keys stay
//! deleted, living ones live, and everything from the mark on is there, whatever was compacted, dropped, rewritten, crashed
//! or replaced by another replica's image in between.

use crate::client::copy;
use bytes::Bytes;
use quorate_disk::Disk;
use quorate_disk::model::ModelDisk;
use quorate_keyspace::{
    DeleteRangeRequest, Keyspace, LogPlace, Operation, PutRequest, Query, RangeRequest, Request, TxnRequest,
};
use quorate_machine::StateMachine;
use quorate_store::{Completed, Items, Outline, Store, StoreConfig};
use quorate_types::Slot;
use std::ops::Range;

/// A small generator, so that a seed names a run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % count
    }

    fn key(&mut self) -> Bytes {
        copy([b'a' + self.below(6) as u8])
    }

    fn put(&mut self) -> PutRequest {
        let length = if self.below(6) == 0 { self.below(900) } else { self.below(40) };
        let lease = if self.below(5) == 0 { 1 + self.below(3) as i64 } else { 0 };
        PutRequest { key: self.key(), value: copy(vec![b'v'; length as usize]), lease, ..PutRequest::default() }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let range_end = if self.below(3) == 0 { self.key() } else { Bytes::new() };
        DeleteRangeRequest { key: self.key(), range_end, prev_kv: false }
    }

    fn request(&mut self, revision: i64) -> Request {
        match self.below(20) {
            0..=7 => Request::Put(self.put()),
            8..=11 => Request::DeleteRange(self.delete()),
            12..=13 => {
                let put = self.put();
                let success = vec![Operation::DeleteRange(self.delete()), Operation::Put(put)];
                Request::Txn(TxnRequest { success, ..TxnRequest::default() })
            }
            14..=16 => Request::Compact { revision: revision - self.below(4) as i64 },
            17..=18 => Request::LeaseGrant { id: 1 + self.below(3) as i64, ttl_seconds: 10 },
            _ => Request::LeaseRevoke { id: 1 + self.below(3) as i64 },
        }
    }
}

struct ItemsOf<'a>(&'a Keyspace);

impl Items for ItemsOf<'_> {
    fn item(&self, number: u64) -> Option<Bytes> {
        self.0.item(number)
    }
    fn live_items(&self, numbers: Range<u64>) -> u64 {
        self.0.live_items(numbers)
    }
}

fn place(slot: usize) -> LogPlace {
    LogPlace { slot: Slot(slot as u64), index: 0 }
}

fn outline(state: &Keyspace, slot: usize) -> Outline {
    Outline { applied: Slot(slot as u64), meta: Bytes::new(), head: state.head(), item_count: state.item_count() }
}

/// Everything that can be asked of the two is answered alike.
fn assert_same(state: &Keyspace, twin: &Keyspace) {
    assert_eq!(state, twin);
    assert_eq!(state.digest(), twin.digest());
    for revision in twin.compact_revision().max(1)..=twin.revision() {
        let all = RangeRequest { key: copy([0]), range_end: copy([0]), revision, ..RangeRequest::default() };
        for query in [Query::Range(all), Query::HashKv { revision }] {
            assert_eq!(state.query(&query), twin.query(&query), "at revision {revision}");
        }
    }
    // What a watcher from the mark on is told.
    for number in twin.first_change_after(twin.compact_revision() - 1)..twin.item_count() {
        let change = twin.change(number).expect("the twin has every change");
        assert_eq!(state.change(number).as_ref(), Some(&change));
        assert_eq!(state.pair_before(&change), twin.pair_before(&change));
    }
    for (id, _) in twin.leases() {
        assert_eq!(state.query(&Query::LeaseKeys { id }), twin.query(&Query::LeaseKeys { id }));
    }
}

/// Every request so far, and the twin behind each.
struct History {
    requests: Vec<Request>,
    twins: Vec<Keyspace>,
}

impl History {
    fn replay(&mut self, state: &mut Keyspace, slot: &mut usize, chance: &mut Chance) {
        if *slot == self.requests.len() {
            let last = self.twins.last().expect("there is the empty one");
            let request = chance.request(last.revision());
            let mut twin = last.clone();
            twin.apply_request(place(*slot + 1), &request);
            self.requests.push(request);
            self.twins.push(twin);
        }
        state.apply_request(place(*slot + 1), &self.requests[*slot]);
        *slot += 1;
    }
}

/// A state of another replica, on its way to become this one's.
struct Stage {
    id: u64,
    state: Keyspace,
    slot: usize,
    is_begun: bool,
    is_told: bool,
    /// The journal names it: from here on it must be installed, by the next incarnation if need be.
    is_named: bool,
    is_installing: bool,
}

struct Node {
    config: StoreConfig,
    disk: ModelDisk,
    store: Store,
    state: Keyspace,
    slot: usize,
    /// What the store said is durable.
    promised: usize,
    stage: Option<Stage>,
    ids: u64,
    installed: u64,
    rewrites: u64,
}

impl Node {
    fn new(config: StoreConfig) -> Node {
        let mut disk = ModelDisk::new();
        let opened = Store::open(&disk, config).expect("empty");
        let (store, repairs) = (opened.store, opened.operations);
        disk.perform_all(&repairs).expect("healthy");
        let (state, stage) = (Keyspace::empty(), None);
        Node { config, disk, store, state, slot: 0, promised: 0, stage, ids: 0, installed: 0, rewrites: 0 }
    }

    /// As a node does: not while a checkpoint is written from the state.
    fn tidy(&mut self, chance: &mut Chance) {
        if self.store.is_checkpointing() {
            return;
        }
        if !self.state.tidy_slice(1 + chance.below(30) as usize) {
            self.store.survey(&ItemsOf(&self.state));
        }
    }

    fn begin(&mut self) {
        if self.store.is_writing() {
            return;
        }
        let Some(stage) = &mut self.stage else {
            self.rewrites += u64::from(self.store.has_garbage());
            assert!(self.store.begin(outline(&self.state, self.slot)));
            return;
        };
        if !stage.is_begun {
            stage.is_begun = true;
            assert!(self.store.begin_incoming(stage.id, outline(&stage.state, stage.slot)));
        } else if stage.is_named {
            stage.is_installing = true;
            assert!(self.store.install(stage.id));
        }
    }

    fn arrive(&mut self, other: &Keyspace, slot: usize) {
        if self.stage.is_some() || slot <= self.slot {
            return;
        }
        self.ids += 1;
        let mut items = (0..other.item_count()).filter_map(|number| Some((number, other.item(number)?)));
        let state = Keyspace::restore(other.head(), &mut items).expect("an image of a live replica");
        let (is_begun, is_told, is_named, is_installing) = (false, false, false, false);
        self.stage = Some(Stage { id: self.ids, state, slot, is_begun, is_told, is_named, is_installing });
    }

    /// The protocol takes what arrived, or does not.
    fn judge(&mut self, chance: &mut Chance) {
        let Some(stage) = self.stage.as_mut().filter(|stage| stage.is_told && !stage.is_named) else { return };
        if stage.slot <= self.slot || chance.below(5) == 0 {
            assert!(self.store.drop_incoming(stage.id));
            self.stage = None;
        } else {
            stage.is_named = true;
        }
    }

    fn is_frozen(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.is_named)
    }

    /// One write, of which only so many operations happen. Answers whether all did.
    fn write(&mut self, operations: usize) -> bool {
        let state = match &self.stage {
            Some(stage) if !self.store.is_checkpointing() => &stage.state,
            _ => &self.state,
        };
        let Some(write) = self.store.next_write(&ItemsOf(state)) else { return true };
        let performed = write.operations.len().min(operations);
        self.disk.perform_all(&write.operations[..performed]).expect("healthy");
        if performed < write.operations.len() {
            return false;
        }
        match self.store.completed(write.id) {
            Some(Completed::Checkpoint(applied)) => self.promised = applied.0 as usize,
            Some(Completed::Incoming(_)) => self.stage.as_mut().expect("it is being written").is_told = true,
            Some(Completed::Installed(applied)) => {
                let stage = self.stage.take().expect("it is being installed");
                (self.state, self.slot) = (stage.state, stage.slot);
                self.promised = applied.0 as usize;
                self.installed += 1;
            }
            None => {}
        }
        true
    }

    fn crash(&mut self, chance: &mut Chance) {
        // Else only the process is gone.
        if chance.below(3) > 0 {
            self.disk.crash(&mut |bound| chance.below(bound));
        }
    }

    /// Boots, as often as it takes.
    fn boot(&mut self, chance: &mut Chance, twins: &[Keyspace]) {
        loop {
            let opened = Store::open(&self.disk, self.config).expect("a crash is no damage");
            let applied = opened.image.as_ref().map_or(0, |image| image.applied.0 as usize);
            assert!(applied >= self.promised, "slot {} was durable and {applied} was found", self.promised);
            let missing = self.stage.as_ref().filter(|stage| stage.is_named && stage.slot > applied);
            if let Some(stage) = missing {
                let mut image = opened.incoming(stage.id).expect("what the journal names is there");
                let found = Keyspace::restore(image.head, &mut image.items).expect("it can be read");
                assert_same(&found, &twins[stage.slot]);
                let (mut store, repairs) = (opened.store, opened.operations);
                assert!(store.install(stage.id));
                if self.perform_some(&repairs, chance) {
                    while let Some(write) = store.next_write(&ItemsOf(&Keyspace::empty()))
                        && self.perform_some(&write.operations, chance)
                    {
                        store.completed(write.id);
                    }
                }
                continue;
            }
            let state = match opened.image {
                None => Keyspace::empty(),
                Some(mut image) => {
                    let state = Keyspace::restore(image.head, &mut image.items).expect("it can be read");
                    image.items.finish().expect("it is whole");
                    state
                }
            };
            assert_same(&state, &twins[applied]);
            let (store, repairs) = (opened.store, opened.operations);
            if self.perform_some(&repairs, chance) {
                (self.state, self.slot, self.store, self.stage) = (state, applied, store, None);
                for id in self.store.incoming().collect::<Vec<_>>() {
                    assert!(self.store.drop_incoming(id));
                }
                return;
            }
        }
    }

    fn perform_some(&mut self, operations: &[quorate_disk::Operation], chance: &mut Chance) -> bool {
        let crashes = chance.below(8) == 0;
        let count = if crashes { chance.below(operations.len() as u64 + 1) as usize } else { operations.len() };
        self.disk.perform_all(&operations[..count]).expect("healthy");
        if crashes {
            self.crash(chance);
        }
        !crashes
    }
}

/// Answers how many images were installed and how many checkpoints had files to write anew.
fn run(seed: u64, steps: u64) -> (u64, u64) {
    let mut chance = Chance(seed);
    let config = StoreConfig { slice_bytes: 1 + chance.below(2_000) as usize, file_bytes: 1 + chance.below(5_000) };
    let mut history = History { requests: Vec::new(), twins: vec![Keyspace::empty()] };
    let mut node = Node::new(config);
    let (mut other, mut other_slot) = (Keyspace::empty(), 0);
    for _ in 0..steps {
        match chance.below(24) {
            0..=4 if !node.is_frozen() => history.replay(&mut node.state, &mut node.slot, &mut chance),
            5..=9 => history.replay(&mut other, &mut other_slot, &mut chance),
            10 => drop(other.tidy_slice(1 + chance.below(30) as usize)),
            11..=12 => node.tidy(&mut chance),
            13..=14 => node.begin(),
            15 => node.arrive(&other, other_slot),
            16..=17 => node.judge(&mut chance),
            18 if chance.below(3) == 0 => {
                let operations = chance.below(7) as usize;
                node.write(operations);
                node.crash(&mut chance);
                node.boot(&mut chance, &history.twins);
            }
            _ => (0..chance.below(8)).for_each(|_| assert!(node.write(usize::MAX))),
        }
        if chance.below(40) == 0 {
            assert_same(&node.state, &history.twins[node.slot]);
            assert_same(&other, &history.twins[other_slot]);
        }
    }
    node.boot(&mut chance, &history.twins);
    (node.installed, node.rewrites)
}

#[test]
fn nothing_comes_back_and_nothing_goes_missing() {
    let seeds = std::env::var("STORED_SEEDS").map_or(150, |seeds| seeds.parse().expect("a number"));
    let (mut installed, mut rewrites) = (0, 0);
    for seed in 0..seeds {
        let (images, checkpoints) =
            std::panic::catch_unwind(|| run(seed, 600)).unwrap_or_else(|_| panic!("seed {seed}"));
        installed += images;
        rewrites += checkpoints;
    }
    println!("{installed} installed, {rewrites} rewrites");
    assert!(
        installed > seeds && rewrites > seeds / 3,
        "{installed} images installed, {rewrites} checkpoints with rewrites"
    );
}
