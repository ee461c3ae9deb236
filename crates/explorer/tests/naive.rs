//! The search against its slow twin: one that clones whole clusters, carries every action out, keeps every state, and leaves nothing
//! out. Both must reach the same replicas.

use quorate_explorer::{Bounds, Explorable, Explorer};
use quorate_protocol::testbed::{Testbed, fingerprint};
use quorate_protocol::{Batch, Input, Replica, RequestId};
use quorate_types::{Membership, NodeId};
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

/// What a schedule may still use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Left<T> {
    crashes: u8,
    copies: u8,
    timers: Vec<(NodeId, T, u8)>,
    proposals: Vec<(NodeId, &'static str)>,
}

/// All replicas of a cluster, in one number.
fn replicas<R: Replica>(cluster: &Testbed<R>) -> u128 {
    let nodes: Vec<u128> = cluster.ids().map(|id| cluster.node_fingerprint(id)).collect();
    fingerprint(&(nodes, cluster.chosen()))
}

/// A state, in one number; the order of messages does not matter.
fn state<R: Replica>(cluster: &Testbed<R>, left: &Left<R::Timer>) -> u128 {
    let mut flights: Vec<u128> = cluster.flights().iter().map(fingerprint).collect();
    flights.sort_unstable();
    fingerprint(&(replicas(cluster), flights, left))
}

/// Everything that can follow from a state at once.
fn next<R: Replica>(cluster: &Testbed<R>, left: &Left<R::Timer>) -> Vec<(Testbed<R>, Left<R::Timer>)> {
    let mut all = Vec::new();
    let mut add = |left: &Left<R::Timer>, act: &dyn Fn(&mut Testbed<R>)| {
        let mut next = cluster.clone();
        act(&mut next);
        let ids: Vec<NodeId> = next.ids().collect();
        ids.into_iter().for_each(|id| drop(next.take_refusals(id)));
        all.push((next, left.clone()));
    };
    for at in 0..cluster.flights().len() {
        add(left, &|next| next.deliver(at));
        add(left, &|next| next.lose(at));
        if left.copies > 0 {
            add(&Left { copies: left.copies - 1, ..left.clone() }, &|next| next.deliver_copy(at));
        }
    }
    for id in cluster.ids() {
        let outstanding = cluster.node(id).outstanding();
        for count in 1..=outstanding {
            add(left, &|next| next.complete_writes(id, count));
        }
        for surviving in (0..=outstanding).filter(|_| left.crashes > 0) {
            add(&Left { crashes: left.crashes - 1, ..left.clone() }, &|next| {
                next.crash(id, surviving);
                next.restart(id);
            });
        }
    }
    for (at, (id, timer, most)) in left.timers.iter().enumerate() {
        if *most > 0 && cluster.node(*id).armed().contains(timer) {
            let mut left = left.clone();
            left.timers[at].2 -= 1;
            add(&left, &|next| {
                let _armed = next.expire(*id, *timer);
            });
        }
    }
    for (at, (id, value)) in left.proposals.iter().enumerate() {
        let mut left = left.clone();
        left.proposals.remove(at);
        add(&left, &|next| {
            next.input(*id, Input::Propose { request: RequestId(1), batch: Batch::new((*value).into()) });
        });
    }
    all
}

fn reached_naively<R: Replica>(root: Testbed<R>, left: Left<R::Timer>) -> BTreeSet<u128> {
    let mut seen = HashSet::from([state(&root, &left)]);
    let mut reached = BTreeSet::from([replicas(&root)]);
    let mut waiting = vec![(root, left)];
    while let Some((cluster, left)) = waiting.pop() {
        for (cluster, left) in next(&cluster, &left) {
            assert_eq!(cluster.violation(), None);
            if seen.insert(state(&cluster, &left)) {
                reached.insert(replicas(&cluster));
                waiting.push((cluster, left));
            }
        }
    }
    reached
}

fn reached<R: Explorable>(root: Testbed<R>, left: &Left<R::Timer>, threads: usize) -> BTreeSet<u128> {
    let reached = Arc::new(Mutex::new(BTreeSet::new()));
    let collected = Arc::clone(&reached);
    let bounds = Bounds { max_crashes: left.crashes, max_duplicates: left.copies, threads, ..Bounds::default() };
    let bounds = left.timers.iter().fold(bounds, |bounds, (id, timer, most)| bounds.with_timer_at(*id, *timer, *most));
    let explorer = left.proposals.iter().fold(Explorer::new(root, bounds), |explorer, (id, value)| {
        explorer.wish(*id, Input::Propose { request: RequestId(1), batch: Batch::new((*value).into()) })
    });
    let report = explorer
        .always("collected", move |cluster| {
            collected.lock().expect("no search panicked").insert(replicas(cluster));
            Ok(())
        })
        .explore();
    assert!(report.complete && report.violation.is_none(), "{report}");
    Arc::into_inner(reached).expect("the search is over").into_inner().expect("no search panicked")
}

fn settled<R: Replica>(nodes: u64, config: R::Config) -> Testbed<R> {
    let mut cluster = Testbed::<R>::with_members(Membership::of_voters(nodes), config).without_tracing();
    cluster.run(100, |_| true);
    cluster
}

#[test]
fn paxos_with_a_crash_and_a_copy_on_disks_of_any_delay() {
    let left = Left { crashes: 1, copies: 1, timers: vec![], proposals: vec![(NodeId(1), "x"), (NodeId(2), "y")] };
    let root = settled::<quorate_paxos::Paxos>(2, quorate_paxos::Config::default());
    let naive = reached_naively(root.clone(), left.clone());
    assert!(naive.len() > 500, "{}", naive.len());
    for threads in [1, 2] {
        assert!(reached(root.clone(), &left, threads) == naive, "{threads} threads");
    }
}

#[test]
fn raft_with_two_candidates_and_a_crash_on_disks_of_any_delay() {
    use quorate_raft::Timer;
    let timers = vec![(NodeId(1), Timer::Election, 1), (NodeId(2), Timer::Election, 1)];
    let left = Left { crashes: 1, copies: 0, timers, proposals: vec![] };
    let root = settled::<quorate_raft::Raft>(2, quorate_raft::Config::default());
    let naive = reached_naively(root.clone(), left.clone());
    assert!(naive.len() > 400, "{}", naive.len());
    assert!(reached(root, &left, 1) == naive);
}
