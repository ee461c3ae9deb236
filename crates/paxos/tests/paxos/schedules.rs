//! Random schedules of whole clusters, shrunk by proptest when something is broken.

use proptest::prelude::*;
use quorate_paxos::{Config, Paxos, check_chosen_is_safe};
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Decision, Replica};
use quorate_types::{NodeId, Slot};

/// One thing that happens; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Act {
    Deliver(usize),
    DeliverCopy(usize),
    Lose(usize),
    Complete(u64, usize),
    Expire(u64, usize),
    Crash(u64, usize),
    Propose(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => any::<usize>().prop_map(Act::Deliver),
        2 => any::<usize>().prop_map(Act::DeliverCopy),
        1 => any::<usize>().prop_map(Act::Lose),
        8 => (1..=5u64, 1..4usize).prop_map(|(node, count)| Act::Complete(node, count)),
        3 => (1..=5u64, any::<usize>()).prop_map(|(node, timer)| Act::Expire(node, timer)),
        1 => (1..=5u64, 0..4usize).prop_map(|(node, surviving)| Act::Crash(node, surviving)),
        2 => (1..=5u64).prop_map(Act::Propose),
    ]
}

fn perform(testbed: &mut Testbed<Paxos>, act: &Act) {
    let in_flight = testbed.flights().len();
    match *act {
        Act::Deliver(at) if in_flight > 0 => testbed.deliver(at % in_flight),
        Act::DeliverCopy(at) if in_flight > 0 => testbed.deliver_copy(at % in_flight),
        Act::Lose(at) if in_flight > 0 => testbed.lose(at % in_flight),
        Act::Deliver(_) | Act::DeliverCopy(_) | Act::Lose(_) => {}
        Act::Complete(node, count) => testbed.complete_writes(NodeId(node), count),
        Act::Expire(node, timer) => {
            let (_, timer) = Paxos::TIMERS[timer % Paxos::TIMERS.len()];
            testbed.expire(NodeId(node), timer);
        }
        Act::Crash(node, surviving) => {
            testbed.crash(NodeId(node), surviving);
            testbed.restart(NodeId(node));
        }
        Act::Propose(node) => testbed.propose(NodeId(node), 1, format!("value of n{node}")),
    }
}

fn check(testbed: &Testbed<Paxos>) -> Result<(), TestCaseError> {
    prop_assert_eq!(testbed.violation(), None);
    let replicas = testbed.ids().filter_map(|id| testbed.node(id).replica());
    let messages = testbed.flights().iter().map(|flight| &flight.message);
    prop_assert_eq!(check_chosen_is_safe(replicas, messages), Ok(()));
    if let Some(Decision::Commands(value)) = testbed.chosen().get(&Slot(1)) {
        prop_assert!(value.starts_with(b"value of n"), "{:?} was never proposed", value);
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_happens_one_value_is_chosen_and_stays(acts in prop::collection::vec(act(), 0..200)) {
        let mut testbed: Testbed<Paxos> = Testbed::new(5, Config::default());
        for act in &acts {
            perform(&mut testbed, act);
            check(&testbed)?;
        }
        let decided = testbed.chosen().clone();
        // Left alone, one proposer gets through, and the others learn: first those that are in touch, then all by asking.
        testbed.propose(NodeId(1), 2, "value of n1");
        for _ in 0..8 {
            testbed.run(2_000, |_| true);
            for node in 1..=5 {
                for (_, timer) in Paxos::TIMERS {
                    testbed.expire(NodeId(node), *timer);
                    testbed.run(2_000, |_| true);
                }
            }
        }
        check(&testbed)?;
        for node in 1..=5 {
            prop_assert_eq!(testbed.node(NodeId(node)).decided().len(), 1, "n{} has learned", node);
        }
        if !decided.is_empty() {
            prop_assert_eq!(testbed.chosen(), &decided);
        }
    }
}
