//! The errands of this node's own clients, from arrival to answer: requests that only the leader's memory can answer.

use crate::config::MachineConfig;
use crate::request::{ClientTag, RequestError};
use bytes::Bytes;
use quorate_types::{NodeId, Time};
use std::collections::{BTreeMap, VecDeque};

/// One errand.
#[derive(Clone, Debug)]
struct Pending {
    tag: ClientTag,
    payload: Bytes,
    deadline: Time,
    tries: u32,
}

/// An errand at a leader.
#[derive(Clone, Debug)]
struct Sent {
    to: NodeId,
    resend_at: Time,
    pending: Pending,
}

/// Doublings of the retry delay.
const MAX_DOUBLINGS: u32 = 4;

/// Unanswered errands. Every try has a number of its own, so an answer to a try that was given up serves nobody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errands {
    unsent: VecDeque<Pending>,
    /// By try.
    sent: BTreeMap<u64, Sent>,
    /// Refused; tried again at the next tick or change of leader: the refuser would refuse again.
    resting: Vec<Pending>,
    bytes: usize,
    last_try: u64,
}

impl Errands {
    pub(crate) fn len(&self) -> usize {
        self.unsent.len() + self.sent.len() + self.resting.len()
    }

    /// Takes a client's errand, or says at once that there is no room.
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
        let too_many = self.len() >= config.max_outstanding_errands.max(1);
        let too_large = self.len() > 0 && self.bytes + payload.len() > config.max_outstanding_bytes;
        if too_many || too_large {
            return Err(RequestError::TooManyRequests);
        }
        self.bytes += payload.len();
        self.unsent.push_back(Pending { tag, payload, deadline: now + config.request_timeout, tries: 0 });
        Ok(())
    }

    /// The size of the next errand to hand out.
    pub(crate) fn first_unsent(&self) -> Option<usize> {
        self.unsent.front().map(|pending| pending.payload.len())
    }

    /// Hands the next errand to `to`, under the number of a new try. Handed to this very node it is not sent again: nothing
    /// gets lost on the way.
    pub(crate) fn send_first(
        &mut self,
        now: Time,
        to: NodeId,
        is_here: bool,
        config: &MachineConfig,
    ) -> Option<(u64, Bytes)> {
        let mut pending = self.unsent.pop_front()?;
        let delay = config.retry_after.saturating_mul(1 << pending.tries.min(MAX_DOUBLINGS));
        pending.tries = pending.tries.saturating_add(1);
        self.last_try += 1;
        let resend_at = if is_here { Time(u64::MAX) } else { now + delay };
        let payload = pending.payload.clone();
        self.sent.insert(self.last_try, Sent { to, resend_at, pending });
        Some((self.last_try, payload))
    }

    /// A try was answered: whom to tell, unless that was given up.
    pub(crate) fn answered(&mut self, number: u64) -> Option<ClientTag> {
        let sent = self.sent.remove(&number)?;
        self.bytes -= sent.pending.payload.len();
        Some(sent.pending.tag)
    }

    /// `from` did not take, or gave up, this try.
    pub(crate) fn refused(&mut self, from: NodeId, number: u64) {
        if let Some(sent) = self.sent.remove(&number) {
            if sent.to == from {
                self.resting.push(sent.pending);
            } else {
                self.sent.insert(number, sent);
            }
        }
    }

    /// Refused errands may be tried again now.
    pub(crate) fn wake_resting(&mut self) {
        self.unsent.extend(self.resting.drain(..));
    }

    /// Whatever was handed out may be lost: everything is handed out again.
    pub(crate) fn leader_changed(&mut self) {
        self.wake_resting();
        self.unsent.extend(std::mem::take(&mut self.sent).into_values().map(|sent| sent.pending));
    }

    /// Tries without news for too long are given up for new ones.
    pub(crate) fn retry(&mut self, now: Time) {
        self.wake_resting();
        let late: Vec<u64> =
            self.sent.iter().filter(|(_, sent)| sent.resend_at <= now).map(|(number, _)| *number).collect();
        let late = late.into_iter().filter_map(|number| self.sent.remove(&number));
        self.unsent.extend(late.map(|sent| sent.pending));
    }

    /// Takes away what has waited too long, with whether it may have reached a leader.
    pub(crate) fn time_out(&mut self, now: Time) -> Vec<(ClientTag, bool)> {
        let mut late = Vec::new();
        let mut bytes = 0;
        let mut keep = |pending: &Pending| {
            if pending.deadline <= now {
                bytes += pending.payload.len();
                late.push((pending.tag, pending.tries > 0));
            }
            pending.deadline > now
        };
        self.sent.retain(|_, sent| keep(&sent.pending));
        self.resting.retain(&mut keep);
        self.unsent.retain(&mut keep);
        self.bytes -= bytes;
        late
    }
}
