//! Sequential consistency, by what must come before what.
//!
//! A cycle is a proof that there is no order; that there is none is no proof that there is one (the question is hard in general),
//! so an order is then built and counts only if it explains every answer.

use super::Outcome;
use super::accesses::{Accesses, Version};
use super::graph::{Graph, has};

/// More operations than this are not looked at: what comes after what takes a bit for every two of them, several times.
const MOST_OPERATIONS: usize = 6_000;

pub(super) fn sequential(accesses: &Accesses<'_>) -> Outcome {
    let count = accesses.all.len();
    if count > MOST_OPERATIONS {
        return Outcome::Unknown(format!("{count} operations are more than the {MOST_OPERATIONS} that can be ordered"));
    }
    let mut graph = known(accesses);
    loop {
        if let Some((one, other)) = graph.cycle() {
            let told = |at: usize| match accesses.all.get(at) {
                Some(access) => format!("{} (key {})", access.entry, access.entry.key.escape_ascii()),
                None => "the beginning".to_owned(),
            };
            let (one, other) = (told(one), told(other));
            return Outcome::Violated(format!(
                "in any order that keeps each client's, {one} comes both before and after {other}"
            ));
        }
        if !saturate(accesses, &mut graph) {
            break;
        }
    }
    if is_ordered(accesses, &graph) {
        Outcome::Holds
    } else {
        Outcome::Unknown("no contradiction was found, and no order either".to_owned())
    }
}

fn initial(accesses: &Accesses<'_>, key: usize) -> usize {
    accesses.all.len() + key
}

fn source(accesses: &Accesses<'_>, at: usize) -> Option<usize> {
    let access = &accesses.all[at];
    access.saw.map(|version| match version {
        Version::Initial => initial(accesses, access.key),
        Version::By(writer) => writer,
    })
}

/// Each client's order, each write before those who saw it, and lists as they were read.
fn known(accesses: &Accesses<'_>) -> Graph {
    let mut graph = Graph::of(accesses.all.len() + accesses.keys);
    for of_client in accesses.by_client().values() {
        let mut before: Option<usize> = None;
        for at in of_client.iter().copied() {
            if let Some(before) = before
                && accesses.all[before].entry.ret.is_some_and(|ret| ret < accesses.all[at].entry.call)
            {
                graph.add(before, at);
            }
            before = Some(at);
        }
    }
    for (at, access) in accesses.all.iter().enumerate() {
        graph.add(initial(accesses, access.key), at);
        if let Some(source) = source(accesses, at) {
            graph.add(source, at);
        }
    }
    for order in &accesses.known_order {
        order.windows(2).for_each(|pair| graph.add(pair[0], pair[1]));
        let Some(last) = order.last() else { continue };
        for (at, access) in accesses.all.iter().enumerate() {
            if access.writes && access.key == accesses.all[*last].key && !order.contains(&at) {
                graph.add(*last, at);
            }
        }
    }
    graph
}

/// Of two writes to one key, the one before a read of the other is before that other; and the one after the other is after all
/// that read the other. Whether anything new follows.
fn saturate(accesses: &Accesses<'_>, graph: &mut Graph) -> bool {
    let reachable = graph.reachable();
    let mut changed = false;
    let mut writes: Vec<Vec<usize>> = vec![Vec::new(); accesses.keys];
    for (at, access) in accesses.all.iter().enumerate().filter(|(_, access)| access.writes) {
        writes[access.key].push(at);
    }
    for (reader, access) in accesses.all.iter().enumerate() {
        let Some(source) = source(accesses, reader) else { continue };
        for write in writes[access.key].iter().copied().filter(|write| *write != source && *write != reader) {
            if has(&reachable[write], reader) && !has(&reachable[write], source) {
                graph.add(write, source);
                changed = true;
            }
            if has(&reachable[source], write) && !has(&reachable[reader], write) {
                graph.add(reader, write);
                changed = true;
            }
        }
    }
    changed
}

/// Whether an order can be built: readers as soon as they may, a write only when nobody still waits to read what it replaces.
fn is_ordered(accesses: &Accesses<'_>, graph: &Graph) -> bool {
    let nodes = accesses.all.len() + accesses.keys;
    let mut incoming = graph.incoming();
    let mut waiting_readers = vec![0_usize; nodes];
    (0..accesses.all.len()).filter_map(|at| source(accesses, at)).for_each(|source| waiting_readers[source] += 1);
    let mut current: Vec<usize> = (0..accesses.keys).map(|key| initial(accesses, key)).collect();
    let mut ready: Vec<usize> = (0..nodes).filter(|node| incoming[*node] == 0).collect();
    let mut done = 0;
    loop {
        let may_go = |node: &usize| {
            let Some(access) = accesses.all.get(*node) else { return true };
            let key = access.key;
            let own = usize::from(source(accesses, *node) == Some(current[key]));
            source(accesses, *node).is_none_or(|source| source == current[key])
                && (!access.writes || waiting_readers[current[key]] == own)
        };
        let Some(at) = ready.iter().position(may_go) else { break };
        let node = ready.swap_remove(at);
        done += 1;
        if let Some(access) = accesses.all.get(node) {
            if let Some(source) = source(accesses, node) {
                waiting_readers[source] -= 1;
            }
            if access.writes {
                current[access.key] = node;
            }
        }
        for target in graph.after(node) {
            incoming[*target] -= 1;
            if incoming[*target] == 0 {
                ready.push(*target);
            }
        }
    }
    done == nodes
}
