//! The writes of this node's own clients, from arrival to answer, and those of its duty while it leads.

use crate::config::MachineConfig;
use crate::request::{ClientTag, RequestError};
use bytes::Bytes;
use quorate_types::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Doublings of the retry delay.
const MAX_DOUBLINGS: u32 = 4;

/// Where a write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// To be handed out as soon as somebody takes it. Exactly these are in `unsent`.
    Unsent,
    /// Refused; to be tried again at the next tick or change of leader, not before: the refuser would refuse again.
    Resting,
    /// In a proposal at this node's replica.
    Proposed,
    /// On its way to, or in a log at, another node.
    Forwarded { to: NodeId, resend_at: Time },
}

/// Who waits for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A client, until its time is over.
    Client { tag: ClientTag, deadline: Time },
    /// Nobody: this leader's duty had it proposed. It is never forwarded and goes with the leadership, but within it, it waits for
    /// as long as it takes: the duty counts on it.
    Duty,
}

#[derive(Clone, Debug)]
struct Write {
    origin: Origin,
    payload: Bytes,
    stage: Stage,
    /// How many copies may be in a log or on their way to one. While it is 0 the write has certainly had no effect.
    /// A refusal by our own replica takes one back; one by another node does not, for that forward may have been
    /// repeated by the network.
    exposures: u32,
    tries: u32,
}

impl Write {
    fn tag(&self) -> Option<ClientTag> {
        match self.origin {
            Origin::Client { tag, .. } => Some(tag),
            Origin::Duty => None,
        }
    }
}

/// How a write that gets no reply of the state machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GivenUp {
    /// Nobody, if a duty had it proposed.
    pub(crate) tag: Option<ClientTag>,
    /// Whether it may be applied after all. If not, it certainly never will be: later commands raise the acknowledged
    /// mark above it.
    pub(crate) exposed: bool,
}

/// Unanswered writes by sequence.
#[derive(Clone, Debug)]
pub(crate) struct Writes {
    next_sequence: u64,
    by_sequence: BTreeMap<u64, Write>,
    unsent: BTreeSet<u64>,
    /// The payloads of these together.
    unsent_bytes: usize,
    bytes: usize,
}

impl Writes {
    pub(crate) fn new() -> Writes {
        Writes { next_sequence: 1, by_sequence: BTreeMap::new(), unsent: BTreeSet::new(), unsent_bytes: 0, bytes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_sequence.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing below is waited for. Never goes down.
    pub(crate) fn acked_below(&self) -> u64 {
        self.by_sequence.first_key_value().map_or(self.next_sequence, |(sequence, _)| *sequence)
    }

    /// Takes a client's write, or says at once that there is no room.
    pub(crate) fn accept(
        &mut self,
        now: Time,
        tag: ClientTag,
        payload: Bytes,
        config: &MachineConfig,
    ) -> Result<(), RequestError> {
        if payload.len() > config.max_payload_bytes {
            return Err(RequestError::TooLarge);
        }
        let too_many = self.by_sequence.len() >= config.max_outstanding_writes.max(1);
        let too_large = !self.by_sequence.is_empty() && self.bytes + payload.len() > config.max_outstanding_bytes;
        if too_many || too_large || !self.window_has_room(config) {
            return Err(RequestError::TooManyRequests);
        }
        self.add(Origin::Client { tag, deadline: now + config.request_timeout }, payload);
        Ok(())
    }

    /// Takes a write of this leader's duty; false if the window has no room. Clients' writes do not crowd it out otherwise.
    #[must_use]
    pub(crate) fn accept_of_duty(&mut self, payload: &Bytes, config: &MachineConfig) -> bool {
        let has_room = self.window_has_room(config);
        if has_room {
            self.add(Origin::Duty, payload.clone());
        }
        has_room
    }

    fn window_has_room(&self, config: &MachineConfig) -> bool {
        self.next_sequence - self.acked_below() < config.session_window.max(1)
    }

    fn add(&mut self, origin: Origin, payload: Bytes) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.bytes += payload.len();
        self.unsent_bytes += payload.len();
        self.by_sequence.insert(sequence, Write { origin, payload, stage: Stage::Unsent, exposures: 0, tries: 0 });
        self.unsent.insert(sequence);
    }

    /// The leadership is over: what its duty had proposed is not proposed again. What is in a log already may still be decided.
    pub(crate) fn forget_duty(&mut self) {
        let of_duty = |(sequence, write): (&u64, &Write)| (write.origin == Origin::Duty).then_some(*sequence);
        let sequences: Vec<u64> = self.by_sequence.iter().filter_map(of_duty).collect();
        for sequence in sequences {
            self.take(sequence);
        }
    }

    /// How many are to be handed out, and their payloads together.
    pub(crate) fn unsent(&self) -> (usize, usize) {
        (self.unsent.len(), self.unsent_bytes)
    }

    /// The next write to hand out, and the size of its payload.
    pub(crate) fn first_unsent(&self) -> Option<(u64, usize)> {
        let sequence = *self.unsent.first()?;
        self.by_sequence.get(&sequence).map(|write| (sequence, write.payload.len()))
    }

    /// Takes the next write into a proposal.
    pub(crate) fn propose_first(&mut self) -> Option<(u64, Bytes)> {
        self.hand_out_first(|_| Stage::Proposed)
    }

    /// Takes the next write into a message to `to`.
    pub(crate) fn forward_first(&mut self, now: Time, to: NodeId, config: &MachineConfig) -> Option<(u64, Bytes)> {
        self.hand_out_first(|tries| {
            let delay = config.retry_after.saturating_mul(1 << tries.min(MAX_DOUBLINGS));
            Stage::Forwarded { to, resend_at: now + delay }
        })
    }

    fn hand_out_first(&mut self, stage: impl FnOnce(u32) -> Stage) -> Option<(u64, Bytes)> {
        let sequence = self.unsent.pop_first()?;
        let write = self.by_sequence.get_mut(&sequence)?;
        write.stage = stage(write.tries);
        write.tries = write.tries.saturating_add(1);
        write.exposures = write.exposures.saturating_add(1);
        self.unsent_bytes -= write.payload.len();
        Some((sequence, write.payload.clone()))
    }

    /// Our own replica did not take the proposal with this write. It is handed out again at once, or when the resting are.
    pub(crate) fn refused_here(&mut self, sequence: u64, again_at_once: bool) {
        if let Some(write) = self.by_sequence.get_mut(&sequence)
            && write.stage == Stage::Proposed
        {
            write.exposures = write.exposures.saturating_sub(1);
            write.stage = Stage::Resting;
            if again_at_once {
                write.stage = Stage::Unsent;
                self.unsent.insert(sequence);
                self.unsent_bytes += write.payload.len();
            }
        }
    }

    /// `from` did not take this write.
    pub(crate) fn refused_there(&mut self, from: NodeId, sequence: u64) {
        if let Some(write) = self.by_sequence.get_mut(&sequence)
            && matches!(write.stage, Stage::Forwarded { to, .. } if to == from)
        {
            write.stage = Stage::Resting;
        }
    }

    /// Refused writes may be tried again now.
    pub(crate) fn wake_resting(&mut self) {
        self.requeue(|stage| stage == Stage::Resting);
    }

    /// Whatever was handed out may be lost: everything is handed out again, under the same sequences.
    pub(crate) fn leader_changed(&mut self) {
        self.requeue(|stage| stage != Stage::Unsent);
    }

    /// Forwards without news for too long are handed out again.
    pub(crate) fn retry(&mut self, now: Time) {
        self.requeue(|stage| match stage {
            Stage::Resting => true,
            Stage::Forwarded { resend_at, .. } => resend_at <= now,
            Stage::Unsent | Stage::Proposed => false,
        });
    }

    fn requeue(&mut self, picked: impl Fn(Stage) -> bool) {
        for (sequence, write) in &mut self.by_sequence {
            if picked(write.stage) && self.unsent.insert(*sequence) {
                write.stage = Stage::Unsent;
                self.unsent_bytes += write.payload.len();
            }
        }
    }

    /// Takes away what clients have waited for too long. Deadlines grow with sequences, so the first are the oldest.
    pub(crate) fn time_out(&mut self, now: Time) -> Vec<GivenUp> {
        let mut late = Vec::new();
        for (sequence, write) in &self.by_sequence {
            match write.origin {
                Origin::Client { deadline, .. } if deadline <= now => late.push(*sequence),
                Origin::Client { .. } => break,
                Origin::Duty => {}
            }
        }
        late.into_iter().filter_map(|sequence| self.give_up(sequence)).collect()
    }

    /// Takes away what no log has been offered yet: it certainly never had and never will have an effect.
    pub(crate) fn give_up_unexposed(&mut self) -> Vec<ClientTag> {
        let unexposed = |(sequence, write): (&u64, &Write)| (write.exposures == 0).then_some(*sequence);
        let sequences: Vec<u64> = self.by_sequence.iter().filter_map(unexposed).collect();
        sequences.into_iter().filter_map(|sequence| self.take(sequence)?.tag()).collect()
    }

    /// Stops waiting for a write.
    pub(crate) fn give_up(&mut self, sequence: u64) -> Option<GivenUp> {
        let write = self.take(sequence)?;
        Some(GivenUp { tag: write.tag(), exposed: write.exposures > 0 })
    }

    /// The write was applied: whom to answer, unless that was given up.
    pub(crate) fn applied(&mut self, sequence: u64) -> Option<ClientTag> {
        self.take(sequence)?.tag()
    }

    /// Takes away what was applied without being seen: whom to tell.
    pub(crate) fn settled(&mut self, is_settled: impl Fn(u64) -> bool) -> Vec<ClientTag> {
        let sequences: Vec<u64> = self.by_sequence.keys().copied().filter(|sequence| is_settled(*sequence)).collect();
        sequences.into_iter().filter_map(|sequence| self.take(sequence)?.tag()).collect()
    }

    fn take(&mut self, sequence: u64) -> Option<Write> {
        let write = self.by_sequence.remove(&sequence)?;
        if self.unsent.remove(&sequence) {
            self.unsent_bytes -= write.payload.len();
        }
        self.bytes -= write.payload.len();
        Some(write)
    }
}
