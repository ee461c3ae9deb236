//! What one entry costs the protocol alone: three replicas in one thread, disks and network that cost nothing, a hundred
//! proposals of 16 bytes per settle.
//!
//! `cargo bench -p quorate-raft`

use bytes::Bytes;
use quorate_protocol::{Batch, Durable, Env, Gate, Input, Outbox, Output, Replica, RequestId, Setup, Start};
use quorate_raft::{Config, Message, Raft, Timer};
use quorate_types::{ClusterId, DiskId, Incarnation, Membership, NodeId, Slot, Ticket, Time};
use std::collections::VecDeque;
use std::time::Instant;

const BATCH: u64 = 100;
const ROUNDS: u64 = 5_000;
const REPEATS: usize = 5;

struct Still;

impl Env for Still {
    fn now(&self) -> Time {
        Time::ZERO
    }
    fn choose(&mut self, _: u64) -> u64 {
        0
    }
}

struct Node {
    raft: Raft,
    outbox: Outbox<Raft>,
    gate: Gate<Message>,
    decided: Slot,
}

struct Cluster {
    nodes: Vec<Node>,
    flights: VecDeque<(NodeId, NodeId, Message)>,
}

impl Cluster {
    fn of(count: u64) -> Cluster {
        let nodes = (1..=count).map(|id| {
            let start = Start::Found(Membership::of_voters(count));
            let (me, disk) = (NodeId(id), DiskId(id));
            let setup = Setup { cluster: ClusterId(1), me, disk, incarnation: Incarnation(1), start };
            let mut outbox = Outbox::new(Ticket::NONE, false);
            let raft = Raft::open(&setup, &Config::default(), Durable::nothing(), &mut outbox).expect("it is fresh");
            Node { raft, outbox, gate: Gate::new(Ticket::NONE), decided: Slot::ZERO }
        });
        Cluster { nodes: nodes.collect(), flights: VecDeque::new() }
    }

    fn feed(&mut self, at: usize, inputs: impl IntoIterator<Item = Input<Raft>>) {
        let node = &mut self.nodes[at];
        for input in inputs {
            node.raft.step(&mut Still, input, &mut node.outbox);
        }
        node.raft.settle(&mut Still, &mut node.outbox);
        let (me, mut written) = (NodeId(at as u64 + 1), None);
        for output in node.outbox.take() {
            match output {
                Output::Persist { ticket, .. } | Output::Compact { ticket, .. } => written = Some(ticket),
                Output::Send { to, message, after } => {
                    self.flights.extend(node.gate.pass(after, to, message).map(|(to, message)| (me, to, message)));
                }
                Output::Decide { slot, .. } => node.decided = slot,
                _ => {}
            }
        }
        if let Some(ticket) = written {
            let released = node.gate.advance(ticket);
            self.flights.extend(released.into_iter().map(|(to, message)| (me, to, message)));
            self.feed(at, [Input::Persisted(ticket)]);
        }
    }

    fn run(&mut self) {
        while let Some((from, to, message)) = self.flights.pop_front() {
            self.feed(to.0 as usize - 1, [Input::Receive { from, message }]);
        }
        for at in 0..self.nodes.len() {
            let through = self.nodes[at].decided;
            self.feed(at, [Input::Applied { through, durable: through, digest: 0 }]);
        }
    }
}

fn nanoseconds_per_entry() -> f64 {
    let mut cluster = Cluster::of(3);
    cluster.feed(0, [Input::Expired(Timer::Election)]);
    cluster.run();
    assert!(cluster.nodes[0].raft.is_leader(), "its campaign meets nobody else's");
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        let proposals = (0..BATCH).map(|number| {
            let batch = Batch::new(Bytes::copy_from_slice(&[7; 16]));
            Input::Propose { request: RequestId(number), batch }
        });
        cluster.feed(0, proposals.collect::<Vec<_>>());
        cluster.run();
    }
    let elapsed = begin.elapsed();
    let decided = cluster.nodes.iter().map(|node| node.decided.0).min().unwrap_or(0);
    assert!(decided >= (ROUNDS - 1) * BATCH, "only {decided} slots are decided everywhere");
    elapsed.as_nanos() as f64 / (ROUNDS * BATCH) as f64
}

fn main() {
    let mut costs: Vec<f64> = (0..REPEATS).map(|_| nanoseconds_per_entry()).collect();
    costs.sort_by(f64::total_cmp);
    println!("{:.0} ns per entry (of {REPEATS} runs: {costs:.0?})", costs[REPEATS / 2]);
}
