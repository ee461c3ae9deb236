//! Protocols of this workspace, ready to be explored: with their properties and the reductions that hold for them.

mod multi_paxos;
mod viewstamped;
mod zab;

pub use multi_paxos::{multi_paxos, multi_paxos_from};
pub use viewstamped::{viewstamped, viewstamped_from};
pub use zab::{zab, zab_from};

use crate::{Bounds, Explorer};
use bytes::Bytes;
use quorate_paxos::{Config, Message, Paxos, check_chosen_is_safe, check_known_is_chosen};
use quorate_protocol::testbed::{TestNode, Testbed};
use quorate_protocol::{Decision, Replica, Role};
use quorate_raft::{AppendOutcome, Config as RaftConfig, Configuration, Entry, Message as RaftMessage, Payload, Raft};
use quorate_types::{Membership, NodeId, Slot};

/// Single-decree Paxos: these members, and these values proposed at these nodes, each once at any moment.
///
/// Checked besides everything the testbed checks: invariants I6 and I7 over the whole cluster, and Validity.
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
        .forgetting_between(can_change_nothing)
        .always_with_messages("I6 ChosenSafe", |cluster| {
            let replicas = cluster.ids().filter_map(|id| cluster.node(id).replica());
            let messages = cluster.flights().iter().map(|flight| &flight.message);
            check_chosen_is_safe(replicas, messages).map_err(|violation| violation.detail)
        })
        .always("I7 KnownIsChosen", |cluster| {
            let replicas = cluster.ids().filter_map(|id| cluster.node(id).replica());
            check_known_is_chosen(replicas).map_err(|violation| violation.detail)
        })
        .always("Validity", move |cluster| match cluster.chosen().get(&Paxos::SLOT) {
            Some(Decision::Commands(value)) if !values.contains(value) => Err(format!("{value:?} was never proposed")),
            Some(Decision::Members(_) | Decision::Nothing) => Err("Paxos decides commands only".to_owned()),
            Some(Decision::Commands(_)) | None => Ok(()),
        })
        .sometimes("decided", |cluster| !cluster.chosen().is_empty())
        .sometimes("decided everywhere", |cluster| cluster.ids().all(|id| knows_durably(cluster.node(id))))
}

fn knows_durably(node: &TestNode<Paxos>) -> bool {
    // A decision is handed out once its record is durable, and again after every restart.
    node.decided().contains_key(&Paxos::SLOT)
}

/// Whether delivering this message, now or at any later time, changes no replica and sends nothing that could.
///
/// - To a node that durably knows the decision, answers of any kind and the decision itself mean nothing. A request
///   makes it send the decision, which means nothing where the asker knows it too.
/// - A refusal of a ballot that is over, naming no higher round.
///
/// A promise for a ballot that is over changes nothing either, in a proposer that is right. It is delivered all the same: one that takes
/// it for a promise of its present ballot is what a search is to find (the zoo's PX5).
fn can_change_nothing(receiver: &TestNode<Paxos>, sender: Option<&TestNode<Paxos>>, message: &Message) -> bool {
    let knows = knows_durably(receiver);
    let Some(receiver) = receiver.replica() else { return false };
    match message {
        Message::Chosen { .. } | Message::Accepted { .. } | Message::Promise { .. } => knows,
        Message::Prepare { .. } | Message::Accept { .. } => knows && sender.is_some_and(knows_durably),
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
        .forgetting(is_a_stale_answer)
        .always("ElectionSafety", one_leader_per_term)
        .always("LogMatching", logs_match)
        .always("LeaderCompleteness", newest_leader_has_every_decision)
        .always("DurableQuorum", decided_is_durable_at_a_majority)
        .sometimes("a leader", |cluster| running(cluster).any(|(_, raft)| raft.is_leader()))
        .sometimes("a command decided", |cluster| {
            cluster.chosen().values().any(|decision| matches!(decision, Decision::Commands(_)))
        })
}

/// Whether this message is an answer that its receiver drops, now and at any later time. It rests on the term that the receiver has
/// on disk, which never goes down, and not on the one it has in memory, which a crash may take back.
///
/// - An answer of an earlier term than that one is dropped.
/// - A granted pre-vote names the term it was asked for, one above that of whoever asked: nobody asks for the term it has.
/// - A vote for that very term counts for a candidate of it only. Whoever is none will not become one: candidates raise the term.
///   But the leader of a cluster with witnesses takes it for a sign of life.
/// - An answer to an append of that very term means something to its leader only, and whoever neither leads it nor stands in it
///   will not lead it. That an append was of an earlier term means nothing to anybody who has that term.
fn is_a_stale_answer(receiver: &TestNode<Raft>, message: &RaftMessage) -> bool {
    let Some(term) = receiver.recovered().map(Raft::term) else { return false };
    let Some(raft) = receiver.replica() else { return false };
    let stands = raft.status().role == Role::Candidate;
    let listens = raft.is_leader() && raft.configuration().all().any(|member| !member.stores_data());
    match message {
        RaftMessage::VoteResponse { term: named, pre: true, granted: true } => *named <= term,
        RaftMessage::VoteResponse { term: named, pre: true, granted: false } => *named < term,
        RaftMessage::VoteResponse { term: named, pre: false, .. } => {
            *named < term || (*named == term && !stands && !listens)
        }
        RaftMessage::AppendResponse { term: named, outcome: AppendOutcome::StaleTerm } => *named <= term,
        RaftMessage::AppendResponse { term: named, .. } => {
            *named < term || (*named == term && !stands && !raft.is_leader())
        }
        _ => false,
    }
}

/// Marks of what leaders can be asked to do.
#[must_use]
pub fn with_raft_marks(explorer: Explorer<Raft>) -> Explorer<Raft> {
    explorer
        .sometimes("leadership is being handed over", |cluster| {
            running(cluster).any(|(_, raft)| raft.handing_over_to().is_some())
        })
        .sometimes("two lead at once", |cluster| running(cluster).filter(|(_, raft)| raft.is_leader()).count() > 1)
        .sometimes("a joint configuration", |cluster| running(cluster).any(|(_, raft)| raft.configuration().is_joint()))
        .sometimes("a change decided", |cluster| {
            cluster.chosen().values().any(|decision| matches!(decision, Decision::Members(_)))
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
    // While members change, whoever decided it counted with a configuration that some replica knows: the one behind the
    // slot or a later one of its log.
    let counted_with = running(cluster).flat_map(|(_, raft)| raft.configurations_since(*slot));
    let mut known = counted_with.filter(|configuration| !configuration.quorum().is_empty()).peekable();
    let satisfied = |configuration: &Configuration| configuration.quorum().is_satisfied(|id| holders.contains(&id));
    if known.peek().is_none() || known.any(satisfied) {
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
