//! What the explorer finds opens as a script, and the simulator breaks the same promise on it: with bugs planted from outside, on whole
//! nodes with journals and machines.

mod flawed;

use flawed::{Flaw, Flawed, Flawless, SendsTooEarly};
use quorate_explorer::{Bounds, Counterexample, Disks, Explorer, Report};
use quorate_keyspace::Keyspace;
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Replica, Role};
use quorate_raft::{Config, Raft, Timer};
use quorate_simulator::Checks;
use quorate_simulator::scenario::Scenario;
use quorate_types::NodeId;
use std::any::Any;

/// Takes every answer to a candidate for a vote: whoever reaches a majority leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HearsOnlyYes;

impl Flaw for HearsOnlyYes {
    fn hear(message: &mut dyn Any) {
        if let Some(quorate_raft::Message::VoteResponse { granted, .. }) = message.downcast_mut() {
            *granted = true;
        }
    }
}

/// Three voters of which two stand once; any node may crash once.
fn two_candidates<F: Flaw + Send + Sync>(cluster: Testbed<Flawed<Raft, F>>, states: usize) -> Report<Flawed<Raft, F>> {
    let bounds = Bounds { max_crashes: 1, max_states: states, disks: Disks::StallBeforeCrash, ..Bounds::default() }
        .with_timer_at(NodeId(1), Timer::Election, 1)
        .with_timer_at(NodeId(2), Timer::Election, 1);
    Explorer::new(cluster.merging_equal_disks(), bounds)
        .settled()
        .always("ElectionSafety", |cluster| {
            let leads = |id: &NodeId| {
                let status = cluster.replica(*id).status();
                (status.role == Role::Leader).then_some(status.era)
            };
            let eras: Vec<u64> = cluster.ids().filter_map(|id| leads(&id)).collect();
            let twice = eras.iter().enumerate().find(|(at, era)| eras[..*at].contains(era));
            twice.map_or(Ok(()), |(_, era)| Err(format!("two lead in term {era}")))
        })
        .explore()
}

fn cluster<F: Flaw>() -> Testbed<Flawed<Raft, F>> {
    Testbed::new(3, Config::default())
}

fn scenario_of<R: Replica>(found: &Counterexample<R>) -> Scenario {
    let script = found.script.as_ref().unwrap_or_else(|what| panic!("no words for {what}: {found}"));
    Scenario::parse(script).unwrap_or_else(|error| panic!("{error}:\n{script}"))
}

/// The search finds that this property is broken; the simulator breaks it too, on the script of what was found; and on the same script
/// the replica without the flaw breaks nothing.
fn finds_and_replays<F: Flaw + Send + Sync>(cluster: Testbed<Flawed<Raft, F>>, checks: Checks, property: &str) {
    let found = two_candidates(cluster, 1_000_000).violation.expect("the flaw shows");
    assert_eq!(found.property, property, "{found}");
    let scenario = scenario_of(&found);
    let broken = scenario.replay_with::<Flawed<Raft, F>, Keyspace>(Config::default(), checks);
    assert_eq!(broken.map(|broken| broken.property), Some(property), "{found}{:?}", found.script);
    let ours = scenario.replay_with::<Raft, Keyspace>(Config::default(), Checks::ALL);
    assert_eq!(ours, None);
}

#[test]
fn a_candidate_that_takes_a_no_for_a_yes_breaks_the_same_promise_in_the_simulator() {
    finds_and_replays(cluster::<HearsOnlyYes>(), Checks::ALL, "ElectionSafety");
}

#[test]
fn a_vote_sent_before_it_is_durable_breaks_the_same_promise_in_the_simulator() {
    finds_and_replays(cluster::<SendsTooEarly>(), Checks::ALL, "DurabilityGhost");
}

#[test]
fn without_a_flaw_the_same_search_finds_nothing() {
    let report = two_candidates(cluster::<Flawless>(), 60_000);
    assert!(report.violation.is_none(), "{report}");
}
