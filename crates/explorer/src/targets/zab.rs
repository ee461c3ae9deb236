//! Zab, ready to be explored.

use crate::{Bounds, Explorer};
use quorate_protocol::Decision;
use quorate_protocol::testbed::{TestNode, Testbed};
use quorate_succession::{Body, Message as Outer};
use quorate_types::{Membership, NodeId, Slot};
use quorate_zab::{Broadcast, Config, Message, Zab};

/// Zab: these members, all of whom look for a leader, and these values proposed at these nodes, each once at any moment. Name the timers
/// that may fire in the bounds; notifications of the beginning are under way.
///
/// Checked besides everything the testbed checks: `OneLeaderPerEpoch` of established epochs, `TotalOrder` of histories,
/// that an established leader of the newest epoch has everything decided, and that what is decided is durable at a majority.
///
/// Equal disks are merged: recovery is a fold over the records, truncation being one.
#[must_use]
pub fn zab(
    members: Membership,
    config: Config,
    proposals: &[(NodeId, &'static str)],
    bounds: Bounds<Zab>,
) -> Explorer<Zab> {
    zab_from(Testbed::with_members(members, config).merging_equal_disks(), proposals, bounds)
}

/// The same from a cluster in the middle of something. Its members stay as they are.
#[must_use]
pub fn zab_from(cluster: Testbed<Zab>, proposals: &[(NodeId, &'static str)], bounds: Bounds<Zab>) -> Explorer<Zab> {
    proposals
        .iter()
        .fold(Explorer::new(cluster, bounds).settled(), |explorer, (node, value)| explorer.propose(*node, *value))
        .forgetting(is_of_a_connection_that_is_over)
        .always("OneLeaderPerEpoch", one_leader_per_epoch)
        .always("TotalOrder", histories_match)
        .always("PrimaryIntegrity", newest_leader_has_every_decision)
        .always("DurableQuorum", decided_is_durable_at_a_majority)
        .sometimes("an established epoch", |cluster| running(cluster).any(|(_, node)| node.is_established()))
        .sometimes("a second epoch established", |cluster| {
            running(cluster).any(|(_, node)| node.is_established() && node.accepted_epoch() > 1)
        })
        .sometimes("a command decided", |cluster| {
            cluster.chosen().values().any(|decision| matches!(decision, Decision::Commands(_)))
        })
}

/// What a leader says in a connection that its follower has left, or lost in a crash, is dropped now and at any later time: no
/// connection is opened twice.
fn is_of_a_connection_that_is_over(receiver: &TestNode<Zab>, message: &Outer<Broadcast>) -> bool {
    let Some(node) = receiver.replica().and_then(Zab::inside) else { return false };
    match &message.body {
        Body::Within(Message::Down { connection, .. }) => node.connection() != Some(*connection),
        _ => false,
    }
}

fn running(cluster: &Testbed<Zab>) -> impl Iterator<Item = (NodeId, &Broadcast)> {
    cluster.ids().filter_map(|id| Some((id, cluster.node(id).replica()?.inside()?)))
}

fn one_leader_per_epoch(cluster: &Testbed<Zab>) -> Result<(), String> {
    let leaders: Vec<(NodeId, u32)> = running(cluster)
        .filter(|(_, node)| node.is_established())
        .map(|(id, node)| (id, node.accepted_epoch()))
        .collect();
    for (at, (one, epoch)) in leaders.iter().enumerate() {
        if let Some((other, _)) = leaders[..at].iter().find(|(_, known)| known == epoch) {
            return Err(format!("{other} and {one} both established epoch {epoch}"));
        }
    }
    Ok(())
}

/// Where two histories have the same zxid at a slot, they are the same up to there.
fn histories_match(cluster: &Testbed<Zab>) -> Result<(), String> {
    let nodes: Vec<(NodeId, &Broadcast)> = running(cluster).collect();
    for (at, (one, node)) in nodes.iter().enumerate() {
        for (other, its) in &nodes[..at] {
            let shared = node.log().from(Slot(1)).filter_map(|(slot, txn)| Some((slot, txn, its.log().get(slot)?)));
            let shared: Vec<_> = shared.collect();
            let last = shared.iter().rposition(|(_, ours, theirs)| ours.zxid == theirs.zxid);
            let up_to = last.map_or(0, |last| last + 1);
            if let Some((slot, ..)) = shared[..up_to].iter().find(|(_, ours, theirs)| ours != theirs) {
                return Err(format!("{one} and {other} share a zxid and differ at slot {slot} before it"));
            }
        }
    }
    Ok(())
}

/// Only of the newest epoch: an older leader may not know yet that it is succeeded.
fn newest_leader_has_every_decision(cluster: &Testbed<Zab>) -> Result<(), String> {
    let newest = running(cluster).map(|(_, node)| node.current_epoch()).max().unwrap_or(0);
    let decided = cluster.chosen().keys().next_back().copied().unwrap_or(Slot::ZERO);
    let leads = |node: &Broadcast| node.is_established() && node.accepted_epoch() == newest;
    match running(cluster).find(|(_, node)| leads(node) && node.log().last().slot < decided) {
        Some((id, node)) => {
            Err(format!("{id} leads epoch {newest} with a history to {}, and {decided} is decided", node.log().last()))
        }
        None => Ok(()),
    }
}

fn decided_is_durable_at_a_majority(cluster: &Testbed<Zab>) -> Result<(), String> {
    let Some((slot, decision)) = cluster.chosen().last_key_value() else { return Ok(()) };
    let holds = |id: &NodeId| {
        cluster.recovered(*id).is_ok_and(|whole| {
            whole.inside().is_some_and(|node| {
                let held = node.log().get(*slot).is_some_and(|txn| txn.payload.decision() == *decision);
                node.log().base().slot >= *slot || held
            })
        })
    };
    let (count, holders) = (cluster.ids().count(), cluster.ids().filter(holds).collect::<Vec<_>>());
    match holders.len() > count / 2 {
        true => Ok(()),
        false => Err(format!("slot {slot} is decided, and durable at {holders:?} only")),
    }
}
