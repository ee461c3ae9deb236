//! The state machine under every fault, on whole nodes; each seed draws a cluster, a workload and a storm.

// [simulated]
use quorate_checker::{Budget, Object, Operation, Verdict, check};
use quorate_example_embed::Apples;
use quorate_raft::Raft;
use quorate_simulator::swarm::{Request, rehearse};

#[test]
fn whatever_goes_wrong_apples_are_linearizable() {
    for seed in 1..=10 {
        let run = rehearse::<Raft, Apples>(seed, |random| match random.below(2) {
            0 => Request::Query(()),
            _ => Request::Command("2".into()),
        });
        assert_eq!(run.violation, None, "seed {seed}");
        let history = run.history(|request, apples| match request {
            Request::Query(()) => (Vec::new(), Operation::ReadCounter { found: *apples.expect("answered") }),
            Request::Command(_) => (Vec::new(), Operation::Add { amount: 2 }),
        });
        assert_eq!(check(&history, Object::Counter, &Budget::default()), Verdict::Linearizable, "seed {seed}");
    }
}
// [end]
