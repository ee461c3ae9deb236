//! What must come before what.

/// A directed graph of numbered nodes.
pub(super) struct Graph {
    after: Vec<Vec<usize>>,
}

impl Graph {
    pub(super) fn of(nodes: usize) -> Graph {
        Graph { after: vec![Vec::new(); nodes] }
    }

    pub(super) fn add(&mut self, before: usize, after: usize) {
        if before != after {
            self.after[before].push(after);
        }
    }

    pub(super) fn after(&self, node: usize) -> &[usize] {
        &self.after[node]
    }

    /// For each node a number that it shares with exactly the nodes it is in a cycle with (Tarjan, 1972).
    pub(super) fn cycles(&self) -> Vec<usize> {
        let nodes = self.after.len();
        let (mut index, mut low) = (vec![usize::MAX; nodes], vec![0; nodes]);
        let mut component = vec![usize::MAX; nodes];
        let (mut open, mut next, mut components) = (Vec::new(), 0, 0);
        for root in 0..nodes {
            if index[root] != usize::MAX {
                continue;
            }
            let mut walk = vec![(root, 0)];
            while let Some((node, edge)) = walk.last_mut() {
                let node = *node;
                if *edge == 0 {
                    (index[node], low[node]) = (next, next);
                    next += 1;
                    open.push(node);
                }
                if let Some(target) = self.after[node].get(*edge).copied() {
                    *edge += 1;
                    if index[target] == usize::MAX {
                        walk.push((target, 0));
                    } else if component[target] == usize::MAX {
                        low[node] = low[node].min(index[target]);
                    }
                    continue;
                }
                walk.pop();
                if let Some((parent, _)) = walk.last() {
                    low[*parent] = low[*parent].min(low[node]);
                }
                if low[node] == index[node] {
                    while let Some(member) = open.pop() {
                        component[member] = components;
                        if member == node {
                            break;
                        }
                    }
                    components += 1;
                }
            }
        }
        component
    }

    /// Two nodes next to each other on a cycle, if there is one.
    pub(super) fn cycle(&self) -> Option<(usize, usize)> {
        let component = self.cycles();
        let edges = self.after.iter().enumerate().flat_map(|(from, after)| after.iter().map(move |to| (from, *to)));
        edges.into_iter().find(|(from, to)| component[*from] == component[*to])
    }

    /// For each node a set of all nodes that come after it, as bits; the graph must have no cycle.
    pub(super) fn reachable(&self) -> Vec<Vec<u64>> {
        let nodes = self.after.len();
        let words = nodes.div_ceil(64);
        let mut reachable = vec![vec![0_u64; words]; nodes];
        for node in self.order().into_iter().rev() {
            let mut bits = vec![0_u64; words];
            for target in &self.after[node] {
                bits[target / 64] |= 1 << (target % 64);
                bits.iter_mut().zip(&reachable[*target]).for_each(|(bits, more)| *bits |= more);
            }
            reachable[node] = bits;
        }
        reachable
    }

    /// How many edges lead to each node.
    pub(super) fn incoming(&self) -> Vec<usize> {
        let mut incoming = vec![0; self.after.len()];
        self.after.iter().flatten().for_each(|target| incoming[*target] += 1);
        incoming
    }

    /// All nodes, each before those after it; the graph must have no cycle.
    fn order(&self) -> Vec<usize> {
        let mut incoming = self.incoming();
        let mut order: Vec<usize> = (0..self.after.len()).filter(|node| incoming[*node] == 0).collect();
        let mut at = 0;
        while let Some(node) = order.get(at).copied() {
            at += 1;
            for target in &self.after[node] {
                incoming[*target] -= 1;
                if incoming[*target] == 0 {
                    order.push(*target);
                }
            }
        }
        order
    }
}

pub(super) fn has(bits: &[u64], node: usize) -> bool {
    bits[node / 64] >> (node % 64) & 1 == 1
}
