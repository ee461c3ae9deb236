//! A node that crashes at any moment, with any part of its unflushed writes on the disks, keeps every answer it gave.

use crate::rig::Rig;
use crate::rig::solo::{Solo, SoloConfig};
use bytes::Bytes;
use proptest::prelude::*;
use quorate_disk::DiskErrorKind;
use quorate_node::{ClientTag, Lane, NodeInput, NodeTimer};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Write,
    Complete(Lane),
    Expire(u8),
    Kill(Vec<u64>),
    Crash(Vec<u64>),
    /// Crashes, and again in the recovery when it has done so much to this disk.
    CrashTwice {
        lane: Lane,
        operations: u64,
        choices: Vec<u64>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Write),
        5 => Just(Step::Complete(Lane::Journal)),
        3 => Just(Step::Complete(Lane::Store)),
        2 => (0u8..3).prop_map(Step::Expire),
        1 => choices().prop_map(Step::Kill),
        1 => choices().prop_map(Step::Crash),
        1 => (lane(), 0u64..6, choices())
            .prop_map(|(lane, operations, choices)| Step::CrashTwice { lane, operations, choices }),
    ]
}

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![Just(Lane::Journal), Just(Lane::Store)]
}

fn choices() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(any::<u64>(), 1..40)
}

fn expire(rig: &mut Rig<Solo>, which: u8) {
    let timer = [NodeTimer::Requests, NodeTimer::Checkpoint, NodeTimer::JournalIdle][usize::from(which % 3)];
    rig.expire(timer);
}

/// Is killed with these choices, repeated for ever, and boots again.
fn kill(rig: &mut Rig<Solo>, choices: &[u64]) {
    let mut drawn = choices.iter().cycle();
    rig.kill(&mut |bound| drawn.next().expect("a cycle never ends") % bound);
    if let Err(error) = rig.start() {
        panic!("an undamaged disk refused: {error}");
    }
}

/// Crashes with these choices, repeated for ever, and boots again.
fn crash(rig: &mut Rig<Solo>, choices: &[u64]) {
    let mut drawn = choices.iter().cycle();
    rig.crash(&mut |bound| drawn.next().expect("a cycle never ends") % bound);
    if let Err(error) = rig.start() {
        panic!("an undamaged disk refused: {error}");
    }
}

/// Crashes, fails to boot because a disk fails, crashes again with that disk as it then was, and boots.
fn crash_twice(rig: &mut Rig<Solo>, lane: Lane, operations: u64, choices: &[u64]) {
    let mut drawn = choices.iter().cycle();
    let mut choose = |bound| drawn.next().expect("a cycle never ends") % bound;
    rig.crash(&mut choose);
    rig.disk(lane).faults_mut().fail_after = Some((operations, DiskErrorKind::Medium));
    let booted = rig.start();
    let failed = rig.disk(lane).faults_mut().fail_after.take().is_none();
    assert_eq!(booted.is_err(), failed, "a failed operation is a failed start, and nothing else is");
    if failed {
        rig.crash(&mut choose);
        if let Err(error) = rig.start() {
            panic!("a disk that failed once and was read again refused: {error}");
        }
    }
}

/// Every write answered is in the state exactly once, where its answer said; none is there twice.
fn check(rig: &Rig<Solo>) {
    let items = rig.items();
    let mut places = BTreeMap::new();
    for (place, item) in (1u64..).zip(&items) {
        assert_eq!(places.insert(item.clone(), place), None, "{item} was applied twice");
    }
    for (ClientTag(tag), result) in &rig.replies {
        if let Ok(place) = result {
            assert_eq!(places.get(&tag.to_string()), Some(place), "the answer to {tag} no longer holds");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_ever_lost(
        steps in proptest::collection::vec(step(), 0..120),
        every_slots in 1u64..20,
    ) {
        let mut rig = Rig::off(1, SoloConfig::default());
        rig.config.checkpoint.after_slots = every_slots;
        rig.config.journal.segment_bytes = 16 * 1024;
        rig.config.store.slice_bytes = 16;
        rig.config.store.file_bytes = 1024;
        rig.start().expect("empty disks boot");
        let mut tag = 0u64;
        let mut digests = BTreeMap::new();
        for step in steps {
            match step {
                Step::Write => {
                    tag += 1;
                    rig.inputs([NodeInput::Write { tag: ClientTag(tag), payload: Bytes::from(tag.to_string()) }]);
                }
                Step::Complete(lane) => {
                    rig.complete(lane);
                }
                Step::Expire(which) => expire(&mut rig, which),
                Step::Kill(choices) => kill(&mut rig, &choices),
                Step::Crash(choices) => crash(&mut rig, &choices),
                Step::CrashTwice { lane, operations, choices } => crash_twice(&mut rig, lane, operations, &choices),
            }
            prop_assert_eq!(rig.stopped.as_ref(), None);
            check(&rig);
            // What was announced as applied is durable, so a slot has one digest over all incarnations.
            for (slot, digest) in rig.applied.drain(..) {
                prop_assert_eq!(*digests.entry(slot).or_insert(digest), digest);
            }
        }
        rig.complete_all();
        crash(&mut rig, &[0]);
        check(&rig);
    }
}
