//! A state that came from another node, made but not yet this node's own.

use crate::command::decode_batch;
use crate::image::{MachineImage, OpenMachineError, decode_meta, encode_meta};
use crate::machine::{Machine, Out};
use crate::output::{MachineError, MachineOutput};
use crate::request::RequestError;
use crate::roster::Roster;
use crate::sessions::{Sessions, mix};
use crate::state_machine::{ApplyContext, StateMachine};
use crate::transfer::{Arrival, View};
use bytes::Bytes;
use quorate_protocol::Decision;
use quorate_types::Slot;

/// State, sessions, members and applied mark of a snapshot. It takes the machine's place with [`Machine::install`].
#[derive(Clone, Debug)]
pub struct Staged<S: StateMachine> {
    state: S,
    sessions: Sessions,
    roster: Roster,
    applied: Slot,
}

impl<S: StateMachine> Staged<S> {
    /// The state of an image, read completely.
    ///
    /// # Errors
    /// When the image is not one of this machine.
    pub fn read(image: MachineImage<'_>) -> Result<Staged<S>, OpenMachineError> {
        let (sessions, roster) = decode_meta(image.meta)?;
        Ok(Staged { state: S::restore(image.head, image.items)?, sessions, roster, applied: image.applied })
    }

    /// The state that arrived, if it has the digest that its sender named.
    ///
    /// # Errors
    /// When the image is not one of this machine, or its digest is another.
    pub fn of_arrival(arrival: Arrival) -> Result<Staged<S>, OpenMachineError> {
        let Arrival { header, meta, head, items } = arrival;
        // Taken one by one: a piece's memory is free when its last item was copied.
        let items = &mut items.into_iter();
        let staged = Staged::read(MachineImage { applied: header.applied, meta, head, items })?;
        match staged.digest() {
            digest if digest == header.digest => Ok(staged),
            found => Err(OpenMachineError::Digest { found, expected: header.digest }),
        }
    }

    /// A state that a new cluster begins with, which counts as everything up to and with `applied`. Without sessions: those
    /// of another cluster's nodes would make the commands of nodes with the same ids do nothing, and its clients are to learn that
    /// their sessions are over.
    #[must_use]
    pub fn of_new_cluster(state: S, applied: Slot) -> Staged<S> {
        Staged { state, sessions: Sessions::default(), roster: Roster::default(), applied }
    }

    /// What was decided for the next slot, as a machine without clients and lead takes it: for tools that look at what a stopped
    /// node would come to.
    ///
    /// # Errors
    /// When the slot does not follow the last one, or its bytes are no batch. Nothing of it is applied then.
    pub fn decide(&mut self, slot: Slot, decision: Decision) -> Result<(), MachineError> {
        let expected = self.applied.next();
        if slot != expected {
            return Err(MachineError::OutOfOrder { decided: slot, expected });
        }
        match decision {
            Decision::Commands(batch) => {
                let commands = decode_batch(batch).map_err(|why| MachineError::Undecodable { slot, why })?;
                for (index, command) in (0u32..).zip(&commands) {
                    let context = ApplyContext { slot, index, stamp: command.stamp };
                    self.sessions.execute(&mut self.state, &context, command);
                }
            }
            Decision::Members(members) => self.roster.decided(slot, members),
            Decision::Nothing => {}
        }
        self.applied = slot;
        Ok(())
    }

    /// How many nodes and clients have a session in it.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len() + self.sessions.clients.len()
    }

    /// The members as last decided in it.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The state alone.
    #[must_use]
    pub fn into_state(self) -> S {
        self.state
    }

    /// Everything up to here is in it.
    #[must_use]
    pub fn applied(&self) -> Slot {
        self.applied
    }

    /// The rolling hash of state, sessions, members and applied mark.
    #[must_use]
    pub fn digest(&self) -> u64 {
        mix(mix(mix(self.state.digest(), self.sessions.digest()), self.roster.digest()), self.applied.0)
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The machine's own part of its image.
    #[must_use]
    pub fn meta(&self) -> Bytes {
        encode_meta(&self.sessions, &self.roster)
    }
}

impl<S: StateMachine> Machine<S> {
    /// A view of the state as applied so far, for sending. Its items are read from [`Machine::state`], which must not be
    /// tidied meanwhile.
    #[must_use]
    pub fn view(&self) -> View {
        let state = self.state();
        View::new(self.applied(), self.digest(), &self.meta(), &state.head(), state.item_count())
    }

    /// The same as of the same slot for a node that stores no data: members, and a state that no command has touched. It has no items.
    #[must_use]
    pub fn view_without_data(&self) -> View {
        let (sessions, roster) = (Sessions::default(), self.roster().clone());
        let empty = Staged { state: S::empty(), sessions, roster, applied: self.applied() };
        View::new(empty.applied, empty.digest(), &empty.meta(), &empty.state.head(), empty.state.item_count())
    }

    /// Replaces the state by one that is ahead of it. Of this node's own writes that it already holds, nobody knows the reply any
    /// more: they end as unknown.
    pub fn install(&mut self, staged: Staged<S>, out: &mut Out<S>) {
        self.end_duty(out);
        self.proposer.forget_proposals();
        self.state = staged.state;
        self.sessions = staged.sessions;
        self.roster = staged.roster;
        self.steering.decided();
        self.finish_asks(out);
        self.applied = staged.applied;
        let (sessions, me) = (&self.sessions, self.me);
        for tag in self.writes.settled(|sequence| sessions.is_settled(me, sequence)) {
            out.push(MachineOutput::Reply { tag, result: Err(RequestError::Unknown) });
        }
        out.push(MachineOutput::Applied { slot: self.applied, digest: self.digest() });
        self.answer_ready_reads(out);
    }
}
