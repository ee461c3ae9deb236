//! Input that no correct driver gives.

use super::dice::Dice;
use crate::{Batch, Footprint, Input, LinkState, ReadToken, Replica, RequestId, SnapshotId, TransferOutcome};
use bytes::Bytes;
use quorate_types::{Incarnation, Membership, NodeId, Slot, Ticket};

/// Nobody's id.
const STRANGER: NodeId = NodeId(424_242);

/// One input that is wrong, stale or from nobody, for the replica `me`. `seen` are messages and anchors that were sent to
/// anyone.
pub(super) fn draw<R: Replica>(
    dice: &mut Dice,
    me: NodeId,
    members: &Membership,
    (seen, anchors): (&[R::Message], &[R::Anchor]),
) -> Input<R> {
    let nodes: Vec<NodeId> = members.members().iter().map(|member| member.id).chain([STRANGER, me]).collect();
    let node = dice.pick(&nodes).copied().unwrap_or(STRANGER);
    let number = [0, 1, 7, u64::MAX][dice.below(4)];
    match dice.below(13) {
        0 => Input::Expired(R::TIMERS[dice.below(R::TIMERS.len())].1),
        1 => Input::Persisted(Ticket(number)),
        2 => Input::Applied { through: Slot(number), durable: Slot(number), digest: number },
        3 => Input::SnapshotPinned { id: SnapshotId(number), to: node, through: Slot(number) },
        4 => {
            let outcome = if dice.one_in(2) { TransferOutcome::Installed } else { TransferOutcome::Failed };
            Input::SnapshotSent { to: node, id: SnapshotId(number), outcome }
        }
        10 => match dice.pick(anchors) {
            Some(anchor) => Input::SnapshotArrived { id: SnapshotId(number), anchor: anchor.clone() },
            None => Input::Persisted(Ticket::NONE),
        },
        5 => Input::Transfer { request: RequestId(number), to: node },
        6 => Input::Link { peer: node, state: [LinkState::Up, LinkState::Down, LinkState::Refused][dice.below(3)] },
        7 => Input::Reconfigure {
            request: RequestId(number),
            based_on: if dice.one_in(2) { members.clone() } else { Membership::default() },
            members: Membership::default(),
        },
        8 => Input::Propose { request: RequestId(number), batch: Batch::new(Bytes::from_static(b"garbage")) },
        9 => {
            let token = ReadToken { node, incarnation: Incarnation(number), number };
            Input::Read { token, footprint: Footprint::Everything }
        }
        _ => match dice.pick(seen) {
            Some(message) => Input::Receive { from: node, message: message.clone() },
            None => Input::Persisted(Ticket::NONE),
        },
    }
}
