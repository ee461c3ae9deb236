//! Protocols of this workspace, ready to be explored: with their properties and the reductions that hold for them.

use crate::{Bounds, Explorer};
use bytes::Bytes;
use quorate_paxos::{Config, Message, Paxos, check_chosen_is_safe};
use quorate_protocol::Decision;
use quorate_protocol::testbed::{Flight, Testbed};
use quorate_raft::{Config as RaftConfig, Entry, Payload, Raft};
use quorate_types::{Membership, NodeId, Slot};

/// Single-decree Paxos: these members, and these values proposed at these nodes, each once at any moment.
///
/// Checked besides everything the testbed checks: invariant I6 over the whole cluster, and Validity.
///
/// Reductions, and why they hold:
/// - *Equal disks are merged*: recovery is a fold over the records, the greatest of each kind.
/// - *Late writes* (with [`crate::Disks::StallBeforeCrash`]): `Persisted` does three things. It counts this node's own
///   promise: its ballot's prepare requests wait for the same write, so no answer can come before. It counts this node's
///   own acceptance: counted late, the decision falls with a later message instead, which that message's own delay covers. It hands the
///   decision out: known already, and answered from.
/// - *Messages are forgotten* that can change nothing any more, as the comment on `can_change_nothing` argues.
#[must_use]
pub fn paxos(
    members: Membership,
    config: Config,
    proposals: &[(NodeId, &'static str)],
    bounds: Bounds<Paxos>,
) -> Explorer<Paxos> {
    let values: Vec<Bytes> = proposals.iter().map(|(_, value)| Bytes::from_static(value.as_bytes())).collect();
    let cluster = Testbed::<Paxos>::with_members(members, config).merging_equal_disks();
    let explorer = proposals
        .iter()
        .fold(Explorer::new(cluster, bounds).settled(), |explorer, (node, value)| explorer.propose(*node, *value));
    explorer
        .forgetting(can_change_nothing)
        .always("I6 ChosenSafe", |cluster| {
            let replicas = cluster.ids().filter_map(|id| cluster.node(id).replica());
            let messages = cluster.flights().iter().map(|flight| &flight.message);
            check_chosen_is_safe(replicas, messages).map_err(|violation| violation.detail)
        })
        .always("Validity", move |cluster| match cluster.chosen().get(&Paxos::SLOT) {
            Some(Decision::Commands(value)) if !values.contains(value) => Err(format!("{value:?} was never proposed")),
            Some(Decision::Members(_) | Decision::Nothing) => Err("Paxos decides commands only".to_owned()),
            Some(Decision::Commands(_)) | None => Ok(()),
        })
        .sometimes("decided", |cluster| !cluster.chosen().is_empty())
        .sometimes("decided everywhere", |cluster| cluster.ids().all(|id| knows_durably(cluster, id)))
}

fn knows_durably(cluster: &Testbed<Paxos>, id: NodeId) -> bool {
    // A decision is handed out once its record is durable, and again after every restart.
    cluster.node(id).decided().contains_key(&Paxos::SLOT)
}

/// Whether delivering this message, now or at any later time, changes no replica and sends nothing that could.
///
/// - To a node that durably knows the decision, answers of any kind and the decision itself mean nothing. A request
///   makes it send the decision, which means nothing where the asker knows it too.
/// - A promise for a ballot whose phase 1 is over: no round is used twice, so it never comes back. Its report names a round not above
///   its ballot's, which the proposer knows durably.
/// - A refusal of a ballot that is over, naming no higher round.
fn can_change_nothing(cluster: &Testbed<Paxos>, flight: &Flight<Paxos>) -> bool {
    let knows = knows_durably(cluster, flight.to);
    let Some(receiver) = cluster.node(flight.to).replica() else { return false };
    match &flight.message {
        Message::Chosen { .. } | Message::Accepted { .. } => knows,
        Message::Prepare { .. } | Message::Accept { .. } => knows && knows_durably(cluster, flight.from),
        Message::Promise { ballot, .. } => knows || receiver.preparing() != Some(*ballot),
        Message::Nack { ballot, promised } => {
            let proposing = receiver.proposing().map(|proposal| proposal.ballot);
            let over = receiver.preparing() != Some(*ballot) && proposing != Some(*ballot);
            knows || (over && promised.round <= ballot.round)
        }
    }
}

/// Raft: these members, and these values proposed at these nodes, each once at any moment. Name the election timers
/// in the bounds, or nothing happens.
///
/// Checked besides everything the testbed checks: Election Safety, Log Matching and Leader Completeness (Raft, figure 3),
/// and that what is decided is durable at a majority, in the log or under a snapshot. Snapshots get where they are sent at
/// once, if the receiver runs; crashes come before and after their record is durable.
///
/// Equal disks are merged: recovery is a fold over the records, truncation being one. Whoever asks for
/// [`crate::Disks::StallBeforeCrash`] relies on `Persisted` only counting the node's own vote and its own copy of the log, and releasing
/// answers: what a late completion delays, late messages can delay too.
#[must_use]
pub fn raft(
    members: Membership,
    config: RaftConfig,
    proposals: &[(NodeId, &'static str)],
    bounds: Bounds<Raft>,
) -> Explorer<Raft> {
    raft_from(Testbed::with_members(members, config).merging_equal_disks(), proposals, bounds)
}

/// The same from a cluster of voters in the middle of something.
#[must_use]
pub fn raft_from(cluster: Testbed<Raft>, proposals: &[(NodeId, &'static str)], bounds: Bounds<Raft>) -> Explorer<Raft> {
    proposals
        .iter()
        .fold(Explorer::new(cluster, bounds).settled(), |explorer, (node, value)| explorer.propose(*node, *value))
        .always("Election Safety", one_leader_per_term)
        .always("Log Matching", logs_match)
        .always("Leader Completeness", newest_leader_has_every_decision)
        .always("Durable Quorum", decided_is_durable_at_a_majority)
        .sometimes("a leader", |cluster| running(cluster).any(|(_, raft)| raft.is_leader()))
        .sometimes("a command decided", |cluster| {
            cluster.chosen().values().any(|decision| matches!(decision, Decision::Commands(_)))
        })
}

fn running(cluster: &Testbed<Raft>) -> impl Iterator<Item = (NodeId, &Raft)> {
    cluster.ids().filter_map(|id| Some((id, cluster.node(id).replica()?)))
}

fn one_leader_per_term(cluster: &Testbed<Raft>) -> Result<(), String> {
    let leaders: Vec<(NodeId, &Raft)> = running(cluster).filter(|(_, raft)| raft.is_leader()).collect();
    for (at, (one, raft)) in leaders.iter().enumerate() {
        if let Some((other, _)) = leaders[..at].iter().find(|(_, other)| other.term() == raft.term()) {
            return Err(format!("{other} and {one} both lead term {}", raft.term()));
        }
    }
    Ok(())
}

fn logs_match(cluster: &Testbed<Raft>) -> Result<(), String> {
    let logs: Vec<(NodeId, &Raft)> = running(cluster).collect();
    for (at, (one, raft)) in logs.iter().enumerate() {
        for (other, its) in &logs[..at] {
            let (ours, theirs) = (raft.log(), its.log());
            let both = || (ours.first().0..=ours.last().0).map(Slot).filter(|slot| theirs.get(*slot).is_some());
            let term_is_shared = |slot: &Slot| ours.term_at(*slot) == theirs.term_at(*slot);
            let Some(last) = both().rfind(term_is_shared) else { continue };
            // A witness has the same slots and terms, and of what is in them the configurations.
            let has_commands = !raft.is_witness() && !its.is_witness();
            let seen = |entry: Option<&Entry>| match has_commands {
                true => entry.cloned(),
                false => entry.map(Entry::without_commands),
            };
            if let Some(slot) = both().find(|slot| *slot <= last && seen(ours.get(*slot)) != seen(theirs.get(*slot))) {
                return Err(format!("{one} and {other} agree at slot {last} and differ at {slot}"));
            }
        }
    }
    Ok(())
}

fn decided_is_durable_at_a_majority(cluster: &Testbed<Raft>) -> Result<(), String> {
    let Some((slot, decision)) = cluster.chosen().last_key_value() else { return Ok(()) };
    let holds = |id: &NodeId| {
        cluster.recovered(*id).is_ok_and(|raft| {
            let log = raft.log();
            let is_it = |entry: &Entry| match (decision, &entry.payload) {
                (Decision::Commands(_), Payload::Command(_)) if raft.is_witness() => true,
                (_, payload) => payload.decision() == *decision,
            };
            log.base() >= *slot || log.get(*slot).is_some_and(is_it)
        })
    };
    let holders: Vec<NodeId> = cluster.ids().filter(holds).collect();
    if holders.len() * 2 > cluster.ids().count() {
        return Ok(());
    }
    Err(format!("slot {slot} is decided, and durable at {holders:?} only"))
}

/// Only a leader of the newest term: an older one may not know yet that it is deposed.
fn newest_leader_has_every_decision(cluster: &Testbed<Raft>) -> Result<(), String> {
    let newest = running(cluster).map(|(_, raft)| raft.term()).max().unwrap_or(0);
    let decided = cluster.chosen().keys().next_back().copied().unwrap_or(Slot::ZERO);
    let lacking =
        running(cluster).find(|(_, raft)| raft.is_leader() && raft.term() == newest && raft.log().last() < decided);
    match lacking {
        Some((id, raft)) => {
            Err(format!("{id} leads term {newest} with a log to {}, and {decided} is decided", raft.log().last()))
        }
        None => Ok(()),
    }
}
