//! What the explorer finds opens as a script, and the simulator breaks the same promise on it: with bugs planted from outside, on whole
//! nodes with journals and machines.

mod flawed;

use flawed::{Flaw, Flawed, Flawless, HearsOnlyYes, SendsTooEarly};
use quorate_explorer::{Bounds, Counterexample, Disks, Explorer, Report};
use quorate_keyspace::Keyspace;
use quorate_protocol::testbed::Testbed;
use quorate_raft::{Config, Raft, Timer};
use quorate_simulator::scenario::Scenario;
use quorate_types::NodeId;

/// Three voters of which two stand once; any node may crash once.
fn two_candidates<F: Flaw + Send + Sync>() -> Report<Flawed<Raft, F>> {
    let bounds = Bounds { max_crashes: 1, max_states: 60_000, disks: Disks::StallBeforeCrash, ..Bounds::default() }
        .with_timer_at(NodeId(1), Timer::Election, 1)
        .with_timer_at(NodeId(2), Timer::Election, 1);
    Explorer::new(Testbed::<Flawed<Raft, F>>::new(3, Config::default()), bounds)
        .settled()
        .always("ElectionSafety", |cluster| {
            let leads = |id: &NodeId| {
                let status = quorate_protocol::Replica::status(cluster.replica(*id));
                (status.role == quorate_protocol::Role::Leader).then_some(status.era)
            };
            let eras: Vec<u64> = cluster.ids().filter_map(|id| leads(&id)).collect();
            let twice = eras.iter().enumerate().find(|(at, era)| eras[..*at].contains(era));
            twice.map_or(Ok(()), |(_, era)| Err(format!("two lead in term {era}")))
        })
        .explore()
}

/// Finds the flaw, opens the counterexample as a script, and says which promise the simulator breaks on it.
fn found_and_replayed<F: Flaw + Send + Sync>() -> (Counterexample<Flawed<Raft, F>>, Option<&'static str>, Scenario) {
    let found = two_candidates::<F>().violation.expect("the flaw shows");
    let script = found.script.clone().unwrap_or_else(|what| panic!("no words for {what}: {found}"));
    let scenario = Scenario::parse(&script).unwrap_or_else(|error| panic!("{error}:\n{script}"));
    let broken = scenario.replay_with::<Flawed<Raft, F>, Keyspace>(script_config());
    (found, broken.map(|broken| broken.property), scenario)
}

fn script_config() -> Config {
    Config::default()
}

#[test]
fn a_candidate_that_takes_a_no_for_a_yes_breaks_the_same_promise_in_the_simulator() {
    let (found, broken, scenario) = found_and_replayed::<HearsOnlyYes>();
    assert_eq!(
        (found.property.as_str(), broken),
        ("ElectionSafety", Some("ElectionSafety")),
        "{found}{:?}",
        found.script
    );
    let ours = scenario.run();
    assert!(
        ours.failure.is_none_or(|failure| !failure.why.contains("is broken")),
        "the same script breaks nothing of the replica without the flaw"
    );
}

#[test]
fn a_vote_sent_before_it_is_durable_breaks_the_same_promise_in_the_simulator() {
    let (found, broken, scenario) = found_and_replayed::<SendsTooEarly>();
    assert_eq!(
        (found.property.as_str(), broken),
        ("DurabilityGhost", Some("DurabilityGhost")),
        "{found}{:?}",
        found.script
    );
    let ours = scenario.run();
    assert!(ours.failure.is_none_or(|failure| !failure.why.contains("is broken")), "not without the flaw");
}

#[test]
fn without_a_flaw_the_same_search_finds_nothing() {
    let report = two_candidates::<Flawless>();
    assert!(report.violation.is_none(), "{report}");
}
