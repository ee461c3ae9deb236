//! A node that was removed from the cluster: from the moment it has applied that, its clients are sent elsewhere.
//!
//! The replica lives on for a while, so that its acknowledgements leave and it is not missed before the others know. What a client
//! asked before and a log may hold is still answered if its outcome becomes known meanwhile.

use crate::machine::{Machine, Out};
use crate::output::MachineOutput;
use crate::request::RequestError;
use crate::state_machine::StateMachine;

impl<S: StateMachine> Machine<S> {
    /// Whether this node was removed, and that is applied here. An id that was removed never belongs again.
    pub(crate) fn has_left(&self) -> bool {
        self.roster.is_removed(self.node())
    }

    pub(crate) fn refuse_if_left(&self) -> Result<(), RequestError> {
        if self.has_left() { Err(RequestError::Stopped) } else { Ok(()) }
    }

    /// The members were decided: if this node is none any more, whatever certainly has no effect is refused at once.
    pub(crate) fn send_clients_elsewhere(&mut self, out: &mut Out<S>) {
        if !self.has_left() {
            return;
        }
        let writes = self.writes.give_up_unexposed();
        let reads = self.reads.give_up_questions();
        for tag in writes.into_iter().chain(reads) {
            out.push(MachineOutput::Reply { tag, result: Err(RequestError::Stopped) });
        }
    }
}
