//! The simulator's own test: bugs planted from outside must be found, and the same harness without them must be silent.

mod flawed;
mod ledger;

use flawed::{AppliesTwice, Flawed, Flawless, ReadsAlone, SendsTooEarly};
use ledger::Ledger;
use quorate_paxos::Paxos;
use quorate_simulator::swarm::{Judged, Options, Subject, run_seed};

/// The property that the first failing seed of a range breaks.
fn first_found<R: Subject, S: Judged>(seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let violation = run_seed::<R, S>(seed, &Options::default()).violation?;
        Some((seed, violation.property))
    })
}

#[test]
fn a_paxos_that_promises_before_it_is_durable_is_found_by_the_ghost() {
    let found = first_found::<Flawed<Paxos, SendsTooEarly>, Ledger>(0..40);
    assert_eq!(found.map(|(_, property)| property).as_deref(), Some("DurabilityGhost"));
}

#[test]
fn a_machine_that_applies_twice_is_found() {
    let found = first_found::<Paxos, AppliesTwice<Ledger>>(0..40);
    assert_eq!(found.map(|(_, property)| property).as_deref(), Some("AtMostOnce"));
}

#[test]
fn the_wrapper_alone_breaks_nothing() {
    assert_eq!(first_found::<Flawed<Paxos, Flawless>, Ledger>(0..40), None);
}

#[test]
fn a_paxos_that_reads_alone_is_found() {
    let found = first_found::<Flawed<Paxos, ReadsAlone>, Ledger>(0..400);
    assert_eq!(found.map(|(_, property)| property).as_deref(), Some("Linearizable"));
}
