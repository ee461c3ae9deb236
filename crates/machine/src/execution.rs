//! One decided command, carried out: whether it is its node's first, whether it is its client's first, and what is answered.

use crate::client_command::ClientCommand;
use crate::client_table::Verdict;
use crate::command::Command;
use crate::request::RequestError;
use crate::sessions::{Admission, Sessions};
use crate::state_machine::{ApplyContext, KeptReplies, StateMachine};
use bytes::Bytes;
use quorate_wire::{decode_exact, encode_to_bytes};

/// The answer to a command that is not what [`ClientCommand`] says.
const UNREADABLE: RequestError = RequestError::Unsupported("a session's command that this version cannot read");

/// What became of a decided command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Execution<Reply> {
    /// The node that proposed it had it applied before, or speaks for an incarnation that is over. Nobody is to be answered.
    Skipped,
    /// The state machine applied it and replied.
    Applied(Reply),
    /// A client's session was opened or closed.
    Noted(Reply),
    /// It is a client's repetition: nothing was done, and this is the kept reply.
    Recalled(Reply),
    /// Its client's session did not let it through.
    Refused(RequestError),
}

impl Sessions {
    /// Carries out a decided command. The same on all replicas.
    pub(crate) fn execute<S: StateMachine>(
        &mut self,
        state: &mut S,
        context: &ApplyContext,
        command: &Command,
    ) -> Execution<S::Reply> {
        if self.admit(command) != Admission::First {
            return Execution::Skipped;
        }
        match S::KEPT_REPLIES.filter(|_| ClientCommand::is_claimed_by(&command.payload)) {
            Some(replies) => self.execute_of_client(&replies, state, context, command.payload.clone()),
            None => Execution::Applied(state.apply(context, &command.payload)),
        }
    }

    fn execute_of_client<S: StateMachine>(
        &mut self,
        replies: &KeptReplies<S::Reply>,
        state: &mut S,
        context: &ApplyContext,
        payload: Bytes,
    ) -> Execution<S::Reply> {
        match decode_exact::<ClientCommand>(payload) {
            Ok(ClientCommand::Open { client, bounds, in_order }) => {
                let window = self.clients.open(client, bounds, in_order);
                Execution::Noted((replies.opened)(client, window))
            }
            Ok(ClientCommand::Close { client }) => {
                self.clients.close(client);
                Execution::Noted((replies.closed)())
            }
            Ok(ClientCommand::Call { client, sequence, acked_below, payload }) => {
                match self.clients.admit(client, sequence, acked_below) {
                    Verdict::First => {
                        let reply = state.apply(context, &payload);
                        self.clients.keep(client, sequence, &(replies.encode)(&reply));
                        Execution::Applied(reply)
                    }
                    Verdict::Repeated(kept) => {
                        let reply = kept.and_then(|kept| (replies.decode)(kept).ok());
                        reply.map_or(Execution::Refused(RequestError::ReplyNotKept), Execution::Recalled)
                    }
                    Verdict::Acknowledged => Execution::Refused(RequestError::Acknowledged),
                    Verdict::BeyondWindow => Execution::Refused(RequestError::TooManyRequests),
                    Verdict::BeforeItsTurn => Execution::Refused(RequestError::BeforeItsTurn),
                    Verdict::Expired => Execution::Refused(RequestError::SessionExpired),
                }
            }
            Err(_) => Execution::Refused(UNREADABLE),
        }
    }
}

/// Refuses before the log what claims to be a client's command and is none: no state machine would see it.
///
/// # Errors
/// [`RequestError::Unsupported`].
pub(crate) fn check_claim<S: StateMachine>(payload: &Bytes) -> Result<(), RequestError> {
    if !ClientCommand::is_claimed_by(payload) || S::KEPT_REPLIES.is_none() {
        return Ok(());
    }
    decode_exact::<ClientCommand>(payload.clone()).map(|_| ()).map_err(|_| UNREADABLE)
}

/// The bytes of a client's command, if this state machine keeps replies.
///
/// # Errors
/// [`RequestError::Unsupported`] if it does not: without a kept reply a repetition could only be answered by applying it again.
pub fn client_payload<S: StateMachine>(command: &ClientCommand) -> Result<Bytes, RequestError> {
    match S::KEPT_REPLIES {
        Some(_) => Ok(encode_to_bytes(command)),
        None => Err(RequestError::Unsupported("sessions of clients: this state machine keeps no replies")),
    }
}
