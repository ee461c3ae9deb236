//! Every outcome of every choice is tried, choices that depend on earlier ones included. The replica here does nothing else.

use quorate_explorer::{Bounds, Explorer};
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Durable, Env, Input, OpenError, Outbox, Replica, Role, Setup, Status, Violation};
use quorate_types::{Membership, NodeId, Slot};
use quorate_wire::{Reader, Wire, WireError};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Draws one of three and, having drawn 2, one of two more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Gambler {
    drawn: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Nothing {}

impl Wire for Nothing {
    fn encode(&self, _: &mut Vec<u8>) {
        match *self {}
    }
    fn decode(_: &mut Reader) -> Result<Self, WireError> {
        Err(WireError::Malformed { what: "nothing" })
    }
}

impl Replica for Gambler {
    type Message = Nothing;
    type Record = Nothing;
    type Anchor = Nothing;
    type Timer = u8;
    type Config = ();

    const PROTOCOL: &'static str = "gambler";
    const TIMERS: &'static [(&'static str, u8)] = &[];

    fn open(_: &Setup, (): &(), _: Durable<Gambler>, _: &mut Outbox<Gambler>) -> Result<Gambler, OpenError> {
        Ok(Gambler { drawn: Vec::new() })
    }
    fn step(&mut self, env: &mut dyn Env, input: Input<Gambler>, _: &mut Outbox<Gambler>) {
        if matches!(input, Input::Propose { .. }) {
            let first = env.choose(3);
            self.drawn.push(first);
            if first == 2 {
                self.drawn.push(env.choose(2));
            }
        }
    }
    fn settle(&mut self, _: &mut dyn Env, _: &mut Outbox<Gambler>) {}
    fn check_invariants(&self) -> Result<(), Violation> {
        Ok(())
    }
    fn status(&self) -> Status {
        Status {
            role: Role::Follower,
            era: 0,
            leader: None,
            first: Slot::ZERO,
            last: Slot::ZERO,
            durable: Slot::ZERO,
            committed: Slot::ZERO,
            applied: Slot::ZERO,
            membership: Membership::default(),
            peers: Vec::new(),
        }
    }
    fn anchored(anchor: &Nothing) -> Slot {
        match *anchor {}
    }

    fn kind(message: &Nothing) -> &'static str {
        match *message {}
    }
    fn vouches(&self, _: NodeId, message: &Nothing) -> bool {
        match *message {}
    }
}

#[test]
fn every_outcome_of_every_choice_is_tried() {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let collected = Arc::clone(&seen);
    let report = Explorer::new(Testbed::<Gambler>::new(1, ()), Bounds::default())
        .propose(NodeId(1), "draw")
        .always("collected", move |cluster| {
            collected.lock().unwrap().insert(cluster.replica(NodeId(1)).drawn.clone());
            Ok(())
        })
        .explore();
    assert!(report.complete);
    let outcomes = [vec![], vec![0], vec![1], vec![2, 0], vec![2, 1]];
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from(outcomes));
    assert_eq!((report.unique_states, report.transitions), (5, 4), "and each once");
}
