//! Multi-Paxos, ready to be explored.

use crate::{Bounds, Explorer};
use quorate_multi_paxos::{Ballots, Config, MultiPaxos, Payload, check_known_is_chosen};
use quorate_protocol::Decision;
use quorate_protocol::testbed::Testbed;
use quorate_types::{Membership, NodeId, Slot};

/// Multi-Paxos: these members, none of whom leads, and these values proposed at these nodes, each once at any moment. Name the
/// election timers that may fire in the bounds.
///
/// Checked besides everything the testbed checks: `ChosenByQuorum`, that a phase-2 quorum of the configuration has what a leader has
/// counted as chosen, and `KnownIsChosen`, that no candidate would propose otherwise what somebody has handed out.
///
/// Equal disks are merged: recovery is a fold over the records, of the greatest promise and of each slot's last acceptance. Whoever asks
/// for [`crate::Disks::StallBeforeCrash`] relies on `Persisted` only counting the node's own promise and its own acceptances, handing
/// out what is chosen, and releasing answers: what a late completion delays, late messages can delay too.
#[must_use]
pub fn multi_paxos(
    members: Membership,
    config: Config,
    proposals: &[(NodeId, &'static str)],
    bounds: Bounds<MultiPaxos>,
) -> Explorer<MultiPaxos> {
    let cluster = Testbed::with_members(members, config.clone()).merging_equal_disks();
    multi_paxos_from(cluster, config, proposals, bounds)
}

/// The same from a cluster in the middle of something, whose members have these settings.
#[must_use]
pub fn multi_paxos_from(
    cluster: Testbed<MultiPaxos>,
    config: Config,
    proposals: &[(NodeId, &'static str)],
    bounds: Bounds<MultiPaxos>,
) -> Explorer<MultiPaxos> {
    proposals
        .iter()
        .fold(Explorer::new(cluster, bounds).settled(), |explorer, (node, value)| explorer.propose(*node, *value))
        .always("ChosenByQuorum", move |cluster| chosen_is_at_a_quorum(cluster, &config))
        .always("KnownIsChosen", known_is_chosen)
        .sometimes("a leader", |cluster| running(cluster).any(|(_, node)| node.is_leader()))
        .sometimes("a command decided", |cluster| decided(cluster, |what| matches!(what, Decision::Commands(_))))
        .sometimes("a stop-sign decided", |cluster| decided(cluster, |what| matches!(what, Decision::Members(_))))
        .sometimes("the next configuration opened", |cluster| {
            cluster.ids().filter_map(|id| cluster.node(id).replica()).any(|whole| whole.configuration() == 2)
        })
}

fn decided(cluster: &Testbed<MultiPaxos>, picked: impl Fn(&Decision) -> bool) -> bool {
    cluster.chosen().values().any(picked)
}

fn running(cluster: &Testbed<MultiPaxos>) -> impl Iterator<Item = (NodeId, &Ballots)> {
    cluster.ids().filter_map(|id| Some((id, cluster.node(id).replica()?.inside()?)))
}

fn known_is_chosen(cluster: &Testbed<MultiPaxos>) -> Result<(), String> {
    let whole = || cluster.ids().filter_map(|id| cluster.node(id).replica());
    let newest = whole().map(MultiPaxos::configuration).max();
    let inside: Vec<&Ballots> =
        whole().filter(|whole| Some(whole.configuration()) == newest).filter_map(MultiPaxos::inside).collect();
    check_known_is_chosen(&inside).map_err(|violation| violation.detail)
}

/// In the slot that a leader has counted as chosen there is the same at a phase-2 quorum, or they are down or have gone on behind it.
fn chosen_is_at_a_quorum(cluster: &Testbed<MultiPaxos>, config: &Config) -> Result<(), String> {
    for (leader, node) in running(cluster) {
        let Some(slot) = node.chosen_by_counting() else { continue };
        let Some(payload) = node.log().get(slot).map(|entry| &entry.payload) else { continue };
        let members = cluster.node(leader).replica().map(MultiPaxos::members).unwrap_or_default();
        let quorums = config.quorums_of(&members).map_err(|error| error.to_string())?;
        let may_have = |voter: &NodeId| cluster.node(*voter).replica().is_none_or(|whole| has(whole, slot, payload));
        let holders = members.voters().filter(may_have).count();
        if !quorums.is_phase2(holders) {
            return Err(format!("{leader} calls slot {slot} chosen, and only {holders} nodes may have it"));
        }
    }
    Ok(())
}

fn has(whole: &MultiPaxos, slot: Slot, payload: &Payload) -> bool {
    let inside = |node: &Ballots| {
        slot <= node.log().trim() || node.log().get(slot).is_some_and(|entry| entry.payload == *payload)
    };
    whole.present().is_some_and(|anchor| slot <= anchor.prefix.slot) || whole.inside().is_some_and(inside)
}
