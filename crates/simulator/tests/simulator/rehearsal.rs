//! Anybody's state machine under random storms: a sound one passes, and what its owner did wrong is found.

use bytes::Bytes;
use quorate_machine::{ApplyContext, RestoreError, StateMachine};
use quorate_raft::Raft;
use quorate_simulator::Outcome;
use quorate_simulator::swarm::{Rehearsal, Request, rehearse};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is wrong with a sum.
const SOUND: u8 = 0;
const LOOKS_AT_A_CLOCK: u8 = 1;
const FORGETS_OVER_A_RESTART: u8 = 2;

/// Something outside of the state that nobody should look at.
static CLOCK: AtomicU64 = AtomicU64::new(0);

/// Adds bytes up.
#[derive(Debug, Default)]
struct Sum<const FLAW: u8> {
    sum: u64,
    digest: u64,
}

impl<const FLAW: u8> StateMachine for Sum<FLAW> {
    type Query = ();
    type Reply = u64;
    type Duty = ();

    fn empty() -> Self {
        Sum::default()
    }
    fn apply(&mut self, _: &ApplyContext, payload: &Bytes) -> u64 {
        self.sum += payload.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        if FLAW == LOOKS_AT_A_CLOCK {
            self.sum += CLOCK.fetch_add(1, Ordering::Relaxed) % 2;
        }
        self.digest = self.digest.rotate_left(5) ^ self.sum;
        self.sum
    }
    fn query(&self, (): &()) -> u64 {
        self.sum
    }
    fn digest(&self) -> u64 {
        self.digest
    }
    fn head(&self) -> Bytes {
        Bytes::from([self.sum.to_le_bytes(), self.digest.to_le_bytes()].concat())
    }
    fn item_count(&self) -> u64 {
        0
    }
    fn item(&self, _: u64) -> Option<Bytes> {
        None
    }
    fn restore(head: Bytes, _: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Self, RestoreError> {
        let number = |at: usize| {
            let bytes = head.get(at..at + 8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
            bytes.map(u64::from_le_bytes).ok_or(RestoreError { why: "not two numbers".to_owned() })
        };
        let sum = if FLAW == FORGETS_OVER_A_RESTART { 0 } else { number(0)? };
        Ok(Sum { sum, digest: number(8)? })
    }
}

fn run<const FLAW: u8>(seed: u64) -> Rehearsal<Raft, Sum<FLAW>> {
    rehearse(seed, |random| match random.below(2) {
        0 => Request::Query(()),
        _ => Request::Command(Bytes::from(vec![random.below(9) as u8])),
    })
}

#[test]
fn a_sound_one_passes_is_used_and_ends_equal_everywhere() {
    let mut faults = BTreeSet::new();
    for seed in 1..=12 {
        let run = run::<SOUND>(seed);
        assert_eq!(run.violation, None, "seed {seed}");
        let replies = run.calls.iter().filter(|call| matches!(call.outcome, Outcome::Reply(_))).count();
        assert!(replies > 20, "seed {seed}: {replies} replies");
        faults.extend(run.faults.keys().copied());
        // A minority that damaged disks have left over may have been left at different slots.
        if run.states().count() > run.world.nodes().count() / 2 {
            let sums: BTreeSet<u64> = run.states().map(|(_, state)| state.sum).collect();
            assert_eq!(sums.len(), 1, "seed {seed}: {sums:?}");
        }
    }
    assert!(faults.len() > 10, "only {faults:?}");
}

#[test]
fn one_seed_is_one_run() {
    let calls = |seed| format!("{:?}", run::<SOUND>(seed).calls);
    assert_eq!(calls(5), calls(5));
    assert_ne!(calls(5), calls(6));
}

#[test]
fn one_that_looks_at_a_clock_is_found() {
    let found = (1..=5).find_map(|seed| run::<LOOKS_AT_A_CLOCK>(seed).violation);
    assert_eq!(found.expect("within five seeds").property, "Agreement");
}

#[test]
fn one_that_forgets_over_a_restart_is_found() {
    let found = (1..=12).find_map(|seed| run::<FORGETS_OVER_A_RESTART>(seed).violation);
    assert_eq!(found.expect("within twelve seeds").property, "Agreement");
}
