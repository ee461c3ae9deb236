//! The same state machine under every fault that the simulator has.

// [simulated]
use quorate_checker::{Budget, Entry, History, Object, Operation, Verdict, check};
use quorate_example_embed::{Count, Tallies};
use quorate_node::RequestError;
use quorate_raft::Raft;
use quorate_simulator::Outcome;
use quorate_simulator::swarm::{Call, Request, rehearse};

/// A call as the checker wants it; `None` if it certainly never happened.
fn entry(call: &Call<Tallies>) -> Option<Entry> {
    let (ret, seen) = match &call.outcome {
        Outcome::Reply(Ok(tally)) => (Some(call.returned_at.0), *tally),
        Outcome::Reply(Err(why)) => panic!("nothing was asked that could not be done: {why}"),
        Outcome::Lost | Outcome::Failed(RequestError::Unknown) => (None, 0),
        _ => return None,
    };
    let (what, operation) = match &call.request {
        Request::Query(what) => (what.clone(), Operation::ReadCounter { found: seen }),
        Request::Command(payload) => {
            let Count { what, by } = serde_json::from_slice(payload).expect("it was made by this test");
            (what, Operation::Add { amount: by })
        }
    };
    Some(Entry { client: call.client, key: what.into_bytes(), call: call.called_at.0, ret, operation })
}

#[test]
fn whatever_goes_wrong_tallies_are_linearizable() {
    for seed in 1..=10 {
        let run = rehearse::<Raft, Tallies>(seed, |random| {
            let what = ["apples", "pears"][random.below(2) as usize].to_owned();
            match random.below(2) {
                0 => Request::Query(what),
                _ => Request::Command(serde_json::to_vec(&Count { what, by: random.below(9) as i64 }).unwrap().into()),
            }
        });
        assert_eq!(run.violation, None, "seed {seed}");
        let history = History::new(run.calls.iter().filter_map(entry).collect()).expect("one clock");
        let verdict = check(&history, Object::Counter, &Budget::default());
        assert_eq!(verdict, Verdict::Linearizable, "seed {seed}");
    }
}
// [end]
