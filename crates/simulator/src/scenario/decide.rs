//! Single-decree Paxos at work: several proposers, one value.

use super::decree::SingleValue;
use crate::network::Link;
use crate::random::Chance;
use crate::world::{DiskModel, World, WorldConfig};
use crate::{Latency, Transcript};
use quorate_node::NodeConfig;
use quorate_paxos::{Config, Paxos};
use quorate_types::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the nodes get to agree.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came of it.
#[derive(Clone, Debug)]
pub struct DecideReport {
    /// What each node holds for decided.
    pub decisions: BTreeMap<NodeId, Option<String>>,
    /// The first broken promise, in words.
    pub broken: Option<String>,
    /// How long it took on the world's clock until every node knew.
    pub took: Duration,
    /// Everything that happened.
    pub transcript: Transcript,
}

impl DecideReport {
    /// The value, if every node holds the same one for decided.
    #[must_use]
    pub fn decision(&self) -> Option<&str> {
        let mut values = self.decisions.values();
        let first = values.next()?.as_deref()?;
        values.all(|value| value.as_deref() == Some(first)).then_some(first)
    }
}

/// Lets `nodes` acceptors agree while each of `proposals` is proposed at a node of its own (round and round), all at the same
/// moment. The network jitters and now and then loses a message, as drawn from the seed.
///
/// # Errors
/// In words, when there are no nodes or no proposals.
pub fn decide(nodes: u64, proposals: &[String], seed: u64) -> Result<DecideReport, String> {
    if nodes == 0 || proposals.is_empty() {
        return Err("at least one node and one proposal are needed".to_owned());
    }
    let ms = Duration::from_millis;
    let mut config = WorldConfig::perfect(nodes, NodeConfig::new(Config::default()), ms(1));
    config.node.tracing = true;
    config.usual_link = Link { loss: Chance::percent(5), ..Link::perfect(Latency::between(ms(1), ms(20))) };
    config.disk = DiskModel { write: Latency::ZERO, flush: Latency::between(ms(0), ms(5)) };
    let mut world: World<Paxos, SingleValue> = World::new(config, seed);
    let ids: Vec<NodeId> = world.nodes().collect();
    for (proposal, id) in proposals.iter().zip(ids.iter().cycle()) {
        world.submit_described(*id, bytes::Bytes::from(proposal.clone().into_bytes()), format!("propose {proposal}"));
    }
    let known =
        |world: &World<Paxos, SingleValue>, id: NodeId| world.node(id).and_then(|node| node.state().decided().cloned());
    world.run_until_true(PATIENCE, |world| ids.iter().all(|id| known(world, *id).is_some()));
    let decisions = ids
        .iter()
        .map(|id| (*id, known(&world, *id).map(|value| String::from_utf8_lossy(&value).into_owned())))
        .collect();
    Ok(DecideReport {
        decisions,
        broken: world.broken_promise().map(|broken| format!("{}: {}", broken.property, broken.detail)),
        took: world.now().since(quorate_types::Time::ZERO),
        transcript: world.transcript().clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duelling_proposers_agree_on_one_of_their_values() {
        for seed in 1..=20 {
            let proposals = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
            let report = decide(3, &proposals, seed).unwrap();
            assert_eq!(report.broken, None, "seed {seed}");
            let decision = report.decision().unwrap_or_else(|| panic!("seed {seed}: {:?}", report.decisions));
            assert!(proposals.iter().any(|proposal| proposal == decision));
        }
    }
}
