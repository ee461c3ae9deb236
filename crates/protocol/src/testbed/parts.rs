//! A testbed taken apart and put together: for whoever keeps very many states and shares their parts.

use super::{Flight, TestNode, Testbed, fingerprint};
use crate::{Decision, Refusal, Refused, Replica};
use quorate_types::{NodeId, Slot};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

impl<R: Replica> Testbed<R> {
    /// A node, shared until one of its holders changes it.
    ///
    /// # Panics
    /// When there is none of this id.
    #[must_use]
    pub fn shared_node(&self, id: NodeId) -> Arc<TestNode<R>> {
        Arc::clone(self.nodes.get(&id).expect("the testbed has this node"))
    }

    /// The same settings around other nodes, with no choices scripted. Of one node alone it shows what that node does by itself;
    /// where that takes others, [`Testbed::reached_out`] says so.
    #[must_use]
    pub fn assembled(
        &self,
        nodes: impl IntoIterator<Item = (NodeId, Arc<TestNode<R>>)>,
        chosen: BTreeMap<Slot, Decision>,
        flights: Vec<Flight<R>>,
    ) -> Testbed<R> {
        let nodes: BTreeMap<NodeId, Arc<TestNode<R>>> = nodes.into_iter().collect();
        let without_data = nodes.iter().filter(|(id, _)| self.witnesses.contains(*id));
        let witnessed = without_data.flat_map(|(_, node)| node.decided.clone()).collect();
        Testbed {
            config: self.config.clone(),
            nodes,
            flights,
            transfers: Vec::new(),
            slow_snapshots: self.slow_snapshots,
            chosen,
            witnessed,
            witnesses: self.witnesses.clone(),
            violation: None,
            env: super::ScriptedEnv { now: self.env.now, ..super::ScriptedEnv::default() },
            check_ghost: self.check_ghost,
            tracing: self.tracing,
            merge_equal_disks: self.merge_equal_disks,
            reached_out: false,
        }
    }

    /// Whether a snapshot, or news of one, went to a node that is not here and was dropped: what was seen since is not what
    /// happens in a cluster that has it.
    #[must_use]
    pub fn reached_out(&self) -> bool {
        self.reached_out
    }

    /// Takes all messages out of flight.
    pub fn take_flights(&mut self) -> Vec<Flight<R>> {
        std::mem::take(&mut self.flights)
    }

    /// Takes what a node refused.
    pub fn take_refusals(&mut self, id: NodeId) -> Vec<(Refused, Refusal)> {
        match self.node(id).refusals.is_empty() {
            true => Vec::new(),
            false => std::mem::take(&mut self.node_mut(id).refusals),
        }
    }

    /// A fingerprint of everything about a node that matters for the future, or that can be seen of it; but neither ticket
    /// numbers nor guards reported.
    ///
    /// # Panics
    /// When there is none of this id.
    #[must_use]
    pub fn node_fingerprint(&self, id: NodeId) -> u128 {
        fingerprint(&Seen { testbed: self, node: self.node(id), id })
    }
}

struct Seen<'a, R: Replica> {
    testbed: &'a Testbed<R>,
    node: &'a TestNode<R>,
    id: NodeId,
}

impl<R: Replica> Hash for Seen<'_, R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
        self.node.hash_memory(state);
        self.node.hash_told(state);
        if self.testbed.merge_equal_disks {
            self.testbed.ghost(self.node).ok().hash(state);
        } else {
            self.node.hash_records(state);
        }
    }
}
