//! What a node that votes and stores no data tells clients: to ask another. From its state they would read that nothing was ever
//! written, and what it forwarded it would not see come back.

use crate::interface::NodeInput;
use crate::node::Node;
use quorate_machine::{AskError, MachineOutput, RequestError, StateMachine};
use quorate_protocol::Replica;
use quorate_types::Membership;

/// Many thousands of entries without commands.
pub const WITNESS_SEGMENT_BYTES: u64 = 1 << 20;

impl<R: Replica, S: StateMachine> Node<R, S> {
    /// The replica says who the members are.
    pub(crate) fn note_own_part(&mut self, members: &Membership) {
        self.is_witness = members.get(self.setup.me).is_some_and(|member| !member.stores_data());
        if self.is_witness {
            self.journal.limit_segments(WITNESS_SEGMENT_BYTES);
        }
    }

    /// Refuses an input if it is a client's; says whether it was.
    pub(crate) fn refuse_as_witness(&mut self, input: &NodeInput<R, S>) -> bool {
        let refusal = match input {
            NodeInput::Write { tag, .. } | NodeInput::Read { tag, .. } => {
                MachineOutput::Reply { tag: *tag, result: Err(RequestError::Witness) }
            }
            NodeInput::Errand { tag, .. } => MachineOutput::Answer { tag: *tag, result: Err(RequestError::Witness) },
            NodeInput::ChangeMembers { tag, .. } | NodeInput::MoveLeader { tag, .. } => {
                MachineOutput::Asked { tag: *tag, result: Err(AskError::Request(RequestError::Witness)) }
            }
            NodeInput::Message { .. }
            | NodeInput::Expired(_)
            | NodeInput::DiskDone { .. }
            | NodeInput::Met(_)
            | NodeInput::FreeSpace { .. }
            | NodeInput::Link { .. } => return false,
        };
        self.machine_outputs.push(refusal);
        true
    }
}
