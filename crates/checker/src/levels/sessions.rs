//! The four session guarantees.

use super::accesses::{Accesses, Version};
use super::graph::Graph;
use super::{Level, Outcome};
use std::collections::BTreeMap;

/// An order of two versions of one key that a client's operations ask for.
struct Demand {
    level: Level,
    older: usize,
    newer: usize,
    /// The client's two operations.
    first: usize,
    then: usize,
}

/// Whether `level`, a session guarantee, was kept.
pub(super) fn session(accesses: &Accesses<'_>, level: Level) -> Outcome {
    let initial = |key: usize| accesses.all.len() + key;
    let node = |key: usize, version: Version| match version {
        Version::Initial => initial(key),
        Version::By(writer) => writer,
    };
    let demands = demands(accesses, node);
    let mut graph = Graph::of(accesses.all.len() + accesses.keys);
    for (at, access) in accesses.all.iter().enumerate().filter(|(_, access)| access.writes) {
        graph.add(initial(access.key), at);
        if let Some(found) = access.saw {
            graph.add(node(access.key, found), at);
        }
    }
    for order in &accesses.known_order {
        order.windows(2).for_each(|pair| graph.add(pair[0], pair[1]));
        if let Some(last) = order.last() {
            let key = accesses.all[*last].key;
            let unread = |(at, access): &(usize, &super::accesses::Access<'_>)| {
                access.writes && access.key == key && !order.contains(at)
            };
            accesses.all.iter().enumerate().filter(unread).for_each(|(at, _)| graph.add(*last, at));
        }
    }
    let counts = |demand: &&Demand| demand.level == level || demand.level == Level::MonotonicWrites;
    demands.iter().filter(counts).for_each(|demand| graph.add(demand.older, demand.newer));
    let cycles = graph.cycles();
    let broken = |demand: &&Demand| demand.level == level && cycles[demand.older] == cycles[demand.newer];
    match demands.iter().find(broken) {
        Some(demand) => {
            let (first, then) = (accesses.all[demand.first].entry, accesses.all[demand.then].entry);
            let key = first.key.escape_ascii();
            Outcome::Violated(format!("{first}, and then {then} (key {key})"))
        }
        None => Outcome::Holds,
    }
}

fn demands(accesses: &Accesses<'_>, node: impl Fn(usize, Version) -> usize) -> Vec<Demand> {
    let mut demands = Vec::new();
    for of_client in accesses.by_client().values() {
        // By key: the last write and the last read, with the version it saw.
        let mut last_write: BTreeMap<usize, usize> = BTreeMap::new();
        let mut last_read: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for then in of_client.iter().copied() {
            let access = &accesses.all[then];
            let key = access.key;
            let after = |first: usize| accesses.all[first].entry.ret.is_some_and(|ret| ret < access.entry.call);
            let write = last_write.get(&key).copied().filter(|first| after(*first));
            let read = last_read.get(&key).copied().filter(|(first, _)| after(*first));
            if let Some(newer) = access.saw.map(|version| node(key, version)) {
                let own = write.map(|first| (Level::ReadYourWrites, first, first));
                let seen = read.map(|(first, version)| (Level::MonotonicReads, first, version));
                let differing = own.into_iter().chain(seen).filter(|(_, _, older)| *older != newer);
                demands.extend(differing.map(|(level, first, older)| Demand { level, older, newer, first, then }));
                last_read.insert(key, (then, newer));
            }
            if access.writes {
                let own = write.map(|first| (Level::MonotonicWrites, first, first));
                let seen = read.map(|(first, version)| (Level::WritesFollowReads, first, version));
                let newer = then;
                let differing = own.into_iter().chain(seen).filter(|(_, _, older)| *older != newer);
                demands.extend(differing.map(|(level, first, older)| Demand { level, older, newer, first, then }));
                last_write.insert(key, then);
            }
        }
    }
    demands
}
