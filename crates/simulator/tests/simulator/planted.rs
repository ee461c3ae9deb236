//! The simulator's own test: bugs planted from outside must be found, and the same harness without them must be silent.

use crate::flawed::{AppliesTwice, Flawed, Flawless, ReadsAlone, SendsTooEarly};
use crate::ledger::Ledger;
use crate::misremembering::MisremembersReplies;
use quorate_keyspace::Keyspace;
use quorate_paxos::Paxos;
use quorate_raft::Raft;
use quorate_simulator::Chance;
use quorate_simulator::swarm::{FaultClass, Judged, Options, Pipelines, Plan, Sessions, Subject, run_plan, run_seed};

/// The property that the first failing seed of a range breaks.
fn first_found<R: Subject, S: Judged>(seeds: std::ops::Range<u64>) -> Option<String> {
    seeds.into_iter().find_map(|seed| Some(run_seed::<R, S>(seed, &Options::default()).violation?.property))
}

#[test]
fn a_raft_that_votes_and_acknowledges_before_it_is_durable_is_found_by_the_ghost() {
    assert_eq!(first_found::<Flawed<Raft, SendsTooEarly>, Keyspace>(0..20).as_deref(), Some("DurabilityGhost"));
}

/// Without the ghost, only a crash at the right moment shows what a message promised too early: one seed in some hundreds.
#[test]
fn a_raft_that_sends_too_early_is_found_by_crashes_alone() {
    let found = (0..2000).find_map(|seed| {
        // Leases and watches would only make the runs longer: the moment is rare.
        let plan = Plan { ghost: Chance::NEVER, leases: None, sessions: None, watchers: 0, ..Plan::of_seed(seed) };
        if !plan.has(FaultClass::Crash) || plan.voters < 3 {
            return None;
        }
        let violation = run_plan::<Flawed<Raft, SendsTooEarly>, Keyspace>(seed, plan, &Options::default()).violation;
        // A follower that lost what it acknowledged may also just never catch up; what is looked for is broken safety.
        violation.filter(|violation| violation.property != "LiveAfterHeal")
    });
    assert!(found.is_some(), "some seed crashes at the right moment");
}

#[test]
fn a_paxos_that_promises_before_it_is_durable_is_found_by_the_ghost() {
    assert_eq!(first_found::<Flawed<Paxos, SendsTooEarly>, Ledger>(0..40).as_deref(), Some("DurabilityGhost"));
}

#[test]
fn a_raft_that_answers_reads_without_asking_anybody_is_found() {
    assert_eq!(first_found::<Flawed<Raft, ReadsAlone>, Keyspace>(0..20).as_deref(), Some("Linearizable"));
}

#[test]
fn a_paxos_that_answers_reads_without_asking_anybody_is_found() {
    assert_eq!(first_found::<Flawed<Paxos, ReadsAlone>, Ledger>(0..400).as_deref(), Some("Linearizable"));
}

#[test]
fn a_machine_that_applies_twice_is_found() {
    assert_eq!(first_found::<Raft, AppliesTwice<Keyspace>>(0..20).as_deref(), Some("AtMostOnce"));
}

/// What every client does that has no session: it asks again, and that is another request.
#[test]
fn clients_that_number_every_copy_anew_are_found_to_write_twice() {
    let found = (0..60).find_map(|seed| {
        let plan = Plan::of_seed(seed);
        let sessions = Sessions { renumber_copies: true, ..plan.sessions? };
        run_plan::<Raft, Keyspace>(seed, Plan { sessions: Some(sessions), ..plan }, &Options::default()).violation
    });
    assert_eq!(found.map(|violation| violation.property).as_deref(), Some("AtMostOnce"));
}

/// Requests of one session that are under way together, if it is not in order: their order is the log's.
#[test]
fn clients_whose_sessions_are_not_in_order_are_found_to_overtake_themselves() {
    let found = (0..60).find_map(|seed| {
        let plan = Plan::of_seed(seed);
        let pipelines = Pipelines { in_order: false, ..plan.sessions?.pipelines? };
        let sessions = Sessions { pipelines: Some(pipelines), ..plan.sessions? };
        run_plan::<Raft, Keyspace>(seed, Plan { sessions: Some(sessions), ..plan }, &Options::default()).violation
    });
    assert_eq!(found.map(|violation| violation.property).as_deref(), Some("FifoPerClient"));
}

#[test]
fn a_machine_that_keeps_other_replies_than_it_gave_is_found() {
    assert_eq!(first_found::<Raft, MisremembersReplies>(0..20).as_deref(), Some("SameReply"));
}

#[test]
fn the_wrapper_alone_breaks_nothing() {
    assert_eq!(first_found::<Flawed<Raft, Flawless>, Keyspace>(0..10), None);
    assert_eq!(first_found::<Flawed<Paxos, Flawless>, Ledger>(0..40), None);
}
