//! Random runs: reproducible, clean, and not vacuous.

mod ledger;

use ledger::Ledger;
use quorate_paxos::Paxos;
use quorate_simulator::swarm::{Options, run_seed};

#[test]
fn paxos_seeds_are_clean() {
    for seed in 0..300 {
        let report = run_seed::<Paxos, Ledger>(seed, &Options::default());
        eprintln!("{seed} {:x} {:?} {} {} {:?}", report.trace_hash, report.violation, report.operations, report.events, report.simulated);
        assert_eq!(report.violation, None, "{}", report.replay_command());
    }
}
