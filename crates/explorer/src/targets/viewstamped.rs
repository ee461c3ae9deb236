//! Viewstamped Replication, ready to be explored.

use crate::{Bounds, Explorer};
use quorate_protocol::Decision;
use quorate_protocol::testbed::Testbed;
use quorate_types::{Membership, NodeId, Slot};
use quorate_viewstamped::{Config, Viewstamped};

/// Viewstamped Replication: these members, of whom the first leads view 0, and these values proposed at these nodes, each once at any
/// moment. Name the timers that may fire in the bounds; without `primary` no view changes.
///
/// Checked besides everything the testbed checks: `OnePrimaryPerView`, `NormalLogAgree`, that normal replicas of one view have logs of
/// which one is a prefix of the other, and that what is decided is durable at a majority.
///
/// Equal disks are merged: recovery is a fold over the records. Whoever asks for [`crate::Disks::StallBeforeCrash`] relies on
/// `Persisted` only counting the node's own log, handing out what is committed, and letting out what was to be said in a view: what a late
/// completion delays, late messages can delay too.
#[must_use]
pub fn viewstamped(
    members: Membership,
    config: Config,
    proposals: &[(NodeId, &'static str)],
    bounds: Bounds<Viewstamped>,
) -> Explorer<Viewstamped> {
    viewstamped_from(Testbed::with_members(members, config).merging_equal_disks(), proposals, bounds)
}

/// The same from a cluster in the middle of something.
#[must_use]
pub fn viewstamped_from(
    cluster: Testbed<Viewstamped>,
    proposals: &[(NodeId, &'static str)],
    bounds: Bounds<Viewstamped>,
) -> Explorer<Viewstamped> {
    proposals
        .iter()
        .fold(Explorer::new(cluster, bounds).settled(), |explorer, (node, value)| explorer.propose(*node, *value))
        .always("OnePrimaryPerView", one_primary_per_view)
        .always("NormalLogAgree", normal_logs_agree)
        .always("DurableQuorum", decided_is_durable_at_a_majority)
        .sometimes("a second view began", |cluster| {
            running(cluster).any(|(_, replica)| replica.is_primary() && replica.last_normal().number > 0)
        })
        .sometimes("decided in a later view", |cluster| {
            running(cluster).any(|(_, replica)| replica.last_normal().number > 0 && replica.commit() > Slot::ZERO)
        })
        .sometimes("a command decided", |cluster| {
            cluster.chosen().values().any(|decision| matches!(decision, Decision::Commands(_)))
        })
        .sometimes("a change decided", |cluster| {
            cluster.chosen().values().any(|decision| matches!(decision, Decision::Members(_)))
        })
}

fn running(cluster: &Testbed<Viewstamped>) -> impl Iterator<Item = (NodeId, &Viewstamped)> {
    cluster.ids().filter_map(|id| Some((id, cluster.node(id).replica()?)))
}

fn one_primary_per_view(cluster: &Testbed<Viewstamped>) -> Result<(), String> {
    let primaries: Vec<_> = running(cluster).filter(|(_, replica)| replica.is_primary()).collect();
    for (at, (one, replica)) in primaries.iter().enumerate() {
        if let Some((other, _)) = primaries[..at].iter().find(|(_, its)| its.view() == replica.view()) {
            return Err(format!("{other} and {one} both lead view {}", replica.view()));
        }
    }
    Ok(())
}

fn normal_logs_agree(cluster: &Testbed<Viewstamped>) -> Result<(), String> {
    let normal: Vec<_> = running(cluster).filter(|(_, replica)| replica.is_normal()).collect();
    for (at, (one, replica)) in normal.iter().enumerate() {
        for (other, its) in normal[..at].iter().filter(|(_, its)| its.view() == replica.view()) {
            let differs = |slot: &Slot| {
                let (mine, theirs) = (replica.log().get(*slot), its.log().get(*slot));
                mine.is_some() && theirs.is_some() && mine != theirs
            };
            if let Some(slot) = (1..=replica.log().last().0).map(Slot).find(differs) {
                return Err(format!("{other} and {one} are normal in view {} and differ at {slot}", replica.view()));
            }
        }
    }
    Ok(())
}

/// Of the members of the epoch that it is of, which is that of the slot before it: some log says which.
fn decided_is_durable_at_a_majority(cluster: &Testbed<Viewstamped>) -> Result<(), String> {
    let Some((slot, decision)) = cluster.chosen().last_key_value() else { return Ok(()) };
    let before = slot.previous();
    let holds = |id: NodeId| {
        cluster.recovered(id).is_ok_and(|opened| {
            let log = opened.log();
            log.base() >= *slot || log.get(*slot).is_some_and(|entry| entry.decision() == *decision)
        })
    };
    let logs = running(cluster).map(|(_, replica)| replica.log());
    let reach_there = logs.filter(|log| log.base() <= before && before <= log.last());
    let known: Vec<_> = reach_there.map(|log| log.configuration_at(before).quorum()).collect();
    let mut counted_with = known.iter().filter(|quorum| !quorum.is_empty()).peekable();
    if counted_with.peek().is_none() || counted_with.any(|quorum| quorum.is_satisfied(holds)) {
        return Ok(());
    }
    let holders: Vec<NodeId> = cluster.ids().filter(|id| holds(*id)).collect();
    Err(format!("slot {slot} is decided, and durable at {holders:?} only"))
}
