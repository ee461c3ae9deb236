//! Every protocol gets through every fault, and the figures are those of the run.

use quorate_compare::{Costs, Fault, Matrix, ProtocolName, RunError, Setting, Summary, Workload};
use std::time::Duration;

fn setting() -> Setting {
    let matrix = Matrix::shipped("public-cloud-2020").expect("it is shipped");
    let leader = matrix.site("CA").expect("the matrix has the site");
    Setting { matrix, leader, costs: Costs::default(), seed: 7 }
}

fn short() -> Workload {
    Workload { clients_per_site: 1, commands: 20, ..Workload::default() }
}

#[test]
fn every_protocol_gets_through_every_fault() {
    let setting = setting();
    for protocol in ProtocolName::ALL {
        for fault in Fault::ALL {
            let run = protocol.run(&setting, &short(), fault).unwrap();
            let summary = Summary::of(&run);
            let which = format!("{} under {}: {summary:?}", protocol.name(), fault.name());
            assert!(summary.done > 100, "{which}");
            assert_eq!(run.calls.len() as u64, summary.done + summary.refused + summary.unknown, "{which}");
            assert!(summary.gap.length < setting.patience() * 8, "{which}: nobody wrote as long as the fault lasted");
            let needs_another = matches!(fault, Fault::LeaderDies | Fault::LeaderCutOff);
            assert!(!needs_another || summary.new_leader_after.is_some(), "{which}");
            assert!(!needs_another || summary.gap.length >= Duration::from_millis(100), "{which}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_another() {
    let setting = setting();
    let once = ProtocolName::Raft.run(&setting, &short(), Fault::LossyLinks).unwrap();
    let again = ProtocolName::Raft.run(&setting, &short(), Fault::LossyLinks).unwrap();
    assert_eq!(once, again);
    let other = ProtocolName::Raft.run(&Setting { seed: 8, ..setting }, &short(), Fault::LossyLinks).unwrap();
    assert_ne!(once.calls, other.calls);
}

#[test]
fn a_fault_that_makes_no_sense_among_so_few_is_refused() {
    let whole = setting();
    let two = Setting { matrix: whole.matrix.only(&["CA", "VA"]).unwrap(), ..whole };
    let refused = ProtocolName::Raft.run(&two, &short(), Fault::LeaderDies);
    assert_eq!(refused, Err(RunError::TooFewSites { fault: "leader-dies", least: 3, count: 2 }));
}

#[test]
fn a_flush_costs_what_it_takes_at_both_ends_of_the_round_trip() {
    let costs = Costs { flush: Duration::from_millis(2), processing: Duration::ZERO };
    let slow = Setting { costs, ..setting() };
    let [fast, slow] = [setting(), slow].map(|setting| ProtocolName::Raft.alone(&setting).unwrap());
    for (fast, slow) in fast.iter().zip(&slow) {
        // The leader's own flush goes on beside its messages; what is waited for is the flush of the peers.
        assert_eq!(slow.latency - fast.latency, Duration::from_millis(2), "{slow:?}");
        assert_eq!(slow.flushes, fast.flushes);
    }
}
