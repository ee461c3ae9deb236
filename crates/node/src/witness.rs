//! What a node that votes and stores no data tells clients: to ask another. From its state they would read that nothing was ever
//! written, and what it forwarded it would not see come back.

use crate::interface::NodeInput;
use crate::node::Node;
use quorate_machine::{AskError, MachineOutput, RequestError, StateMachine};
use quorate_protocol::Replica;

impl<R: Replica, S: StateMachine> Node<R, S> {
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
