//! A failing seed is cut down to a short script that fails in the same way, on any protocol.

mod flawed;

use flawed::{AppliesTwice, Flawed, Flawless, ReadsAlone, SendsTooEarly};
use quorate_keyspace::Keyspace;
use quorate_raft::Raft;
use quorate_simulator::scenario::Scenario;
use quorate_simulator::swarm::{Judged, Options, Shrunk, Subject, run_seed, shrink_seed};

/// Cuts the first failing seed down and plays the script: it must be much shorter, and break the same promise. Calls of clients with
/// sessions are no deeds of scripts, so what takes them to show cannot be cut down: seeds without such clients are looked at.
fn cut_down<R: Subject, S: Judged>() -> Shrunk {
    let fails = |seed: &u64| {
        let report = run_seed::<R, S>(*seed, &Options::default());
        report.violation.is_some() && report.plan.sessions.is_none()
    };
    let seed = (0..40).find(fails).expect("a planted bug is found");
    let shrunk = shrink_seed::<R, S>(seed, 400).expect("a seed that fails can be played again");
    let scenario = Scenario::parse(&shrunk.script).unwrap_or_else(|why| panic!("{why}\n{}", shrunk.script));
    let broken = scenario.replay::<R, S>().expect("the script still shows it");
    assert_eq!(broken.property, shrunk.property, "{}", shrunk.script);
    assert!(shrunk.deeds_after * 4 <= shrunk.deeds_before, "{} of {}", shrunk.deeds_after, shrunk.deeds_before);
    shrunk
}

#[test]
fn an_acknowledgement_before_it_is_durable_takes_no_fault_at_all_to_show() {
    let shrunk = cut_down::<Flawed<Raft, SendsTooEarly>, Keyspace>();
    assert_eq!(shrunk.property, "DurabilityGhost");
    assert!(shrunk.deeds_after <= 2, "{}", shrunk.script);
}

#[test]
fn a_stale_read_takes_a_handful_of_deeds() {
    let shrunk = cut_down::<Flawed<Raft, ReadsAlone>, Keyspace>();
    assert_eq!(shrunk.property, "Linearizable");
    assert!(shrunk.deeds_after <= 20, "{}", shrunk.script);
}

#[test]
fn a_command_applied_twice_takes_nothing_but_the_write_that_every_aftermath_probes_with() {
    let shrunk = cut_down::<Raft, AppliesTwice<Keyspace>>();
    assert_eq!((shrunk.deeds_after, shrunk.nodes), (0, 1), "{}", shrunk.script);
}

#[test]
fn a_seed_that_does_not_fail_is_not_cut_down() {
    assert!(shrink_seed::<Flawed<Raft, Flawless>, Keyspace>(1, 10).is_none());
}
