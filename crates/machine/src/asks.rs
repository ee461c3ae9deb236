//! What this node's own clients ask about the cluster itself, from arrival to answer.
//!
//! A change is over when the members decided here show it, a move of leadership when its target is seen to lead: so no answer
//! of the leader is needed for a success, and none that gets lost is missed. Only refusals are answered.

use crate::change::{Ask, AskError};
use crate::config::MachineConfig;
use crate::request::{ClientTag, RequestError};
use crate::roster::Roster;
use quorate_types::{NodeId, Time};
use std::collections::BTreeMap;

/// More are refused: these are made by people.
const ASKS_MAX: usize = 128;

#[derive(Clone, Debug)]
struct Pending {
    tag: ClientTag,
    ask: Ask,
    deadline: Time,
    /// To whom it was sent last, and when it is sent again.
    sent: Option<(NodeId, Time)>,
    /// It may have reached a leader.
    exposed: bool,
}

/// Unanswered asks, by number. A number stays with its ask however often that is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asks {
    pending: BTreeMap<u64, Pending>,
    last: u64,
}

impl Asks {
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn accept(
        &mut self,
        now: Time,
        tag: ClientTag,
        ask: Ask,
        config: &MachineConfig,
    ) -> Result<(), RequestError> {
        if self.pending.len() >= ASKS_MAX {
            return Err(RequestError::TooManyRequests);
        }
        self.last += 1;
        let deadline = now + config.request_timeout;
        self.pending.insert(self.last, Pending { tag, ask, deadline, sent: None, exposed: false });
        Ok(())
    }

    /// What is to go to the leader now: new asks, those sent to another one, and those without news for too long.
    pub(crate) fn send(&mut self, now: Time, leader: NodeId, config: &MachineConfig) -> Vec<(u64, Ask)> {
        let mut batch = Vec::new();
        for (number, pending) in &mut self.pending {
            if pending.sent.is_none_or(|(to, again_at)| to != leader || again_at <= now) {
                pending.sent = Some((leader, now + config.retry_after));
                pending.exposed = true;
                batch.push((*number, pending.ask.clone()));
            }
        }
        batch
    }

    /// What the decided members, or the leader that is seen, show to be done.
    pub(crate) fn take_done(&mut self, roster: &Roster, leader: Option<NodeId>) -> Vec<ClientTag> {
        let mut done = Vec::new();
        self.pending.retain(|_, pending| {
            let is_done = match &pending.ask {
                Ask::Change(change) => change.is_done(roster),
                Ask::MoveLeader(to) => leader == Some(*to),
            };
            if is_done {
                done.push(pending.tag);
            }
            !is_done
        });
        done
    }

    /// The leader refuses one for good.
    pub(crate) fn refused(&mut self, number: u64) -> Option<ClientTag> {
        self.pending.remove(&number).map(|pending| pending.tag)
    }

    /// `from` does not lead: sent again at the next tick, or as soon as another leader is known.
    pub(crate) fn not_taken(&mut self, from: NodeId, number: u64, again_at: Time) {
        if let Some(pending) = self.pending.get_mut(&number)
            && pending.sent.is_some_and(|(to, _)| to == from)
        {
            pending.sent = Some((from, again_at));
        }
    }

    /// Takes away what has waited too long.
    pub(crate) fn time_out(&mut self, now: Time, leader: Option<NodeId>) -> Vec<(ClientTag, AskError)> {
        let mut late = Vec::new();
        self.pending.retain(|_, pending| {
            let is_late = pending.deadline <= now;
            if is_late {
                let error = match (pending.exposed, leader) {
                    (true, _) if matches!(pending.ask, Ask::MoveLeader(_)) => AskError::TransferInVain,
                    (true, _) => AskError::Request(RequestError::Unknown),
                    (false, None) => AskError::Request(RequestError::NoLeader),
                    (false, Some(_)) => AskError::Request(RequestError::TimedOut),
                };
                late.push((pending.tag, error));
            }
            !is_late
        });
        late
    }
}
