//! Protocols of this workspace, ready to be explored: with their properties and the reductions that hold for them.

use crate::{Bounds, Explorer};
use bytes::Bytes;
use quorate_paxos::{Config, Message, Paxos, check_chosen_is_safe};
use quorate_protocol::Decision;
use quorate_protocol::testbed::{Flight, Testbed};
use quorate_types::{Membership, NodeId};

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
/// - *Messages are forgotten* as [`can_change_nothing`] says.
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
