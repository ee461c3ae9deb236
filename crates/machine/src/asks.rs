//! What this node's own clients ask about the cluster itself, from arrival to answer.
//!
//! A change is over when the members decided here show it, a move of leadership when its target is seen to lead: so no answer
//! of the leader is needed for a success, and none that gets lost is missed. Only refusals are answered.
//!
//! What is seen here may be old: a member seen here may have been removed since. So nothing that can be undone counts as done
//! before a read round that began behind the ask has ended and what it read is applied here.

use crate::change::{Ask, AskError, MemberChange};
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
    /// How often it was sent: it may have reached so many leaders.
    sends: u32,
    /// What is seen here is no older than the ask.
    confirmed: bool,
}

impl Pending {
    /// Whether an earlier sending may be carried out all the same: it was, and somebody else undid it since, for which the leader refuses
    /// this one; or it was proposed where that only comes to light later, and what this leader knows of the learner does not tell.
    fn may_be_done(&self, why: &AskError) -> bool {
        let fits = match &self.ask {
            Ask::Change(MemberChange::Add { .. }) => *why == AskError::IdTaken,
            Ask::Change(MemberChange::Promote { .. }) => matches!(why, AskError::NotFound | AskError::NotInSync),
            Ask::Change(MemberChange::Relocate { .. }) => *why == AskError::NotFound,
            Ask::Change(MemberChange::Remove { .. }) | Ask::MoveLeader(_) => false,
        };
        fits && self.sends > 1
    }
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

    /// Takes an ask, and tells its number: to be confirmed by a read round that begins behind this.
    pub(crate) fn accept(
        &mut self,
        now: Time,
        tag: ClientTag,
        ask: Ask,
        config: &MachineConfig,
    ) -> Result<u64, RequestError> {
        if self.pending.len() >= ASKS_MAX {
            return Err(RequestError::TooManyRequests);
        }
        self.last += 1;
        let deadline = now + config.request_timeout;
        self.pending.insert(self.last, Pending { tag, ask, deadline, sent: None, sends: 0, confirmed: false });
        Ok(self.last)
    }

    /// A read round that began behind its arrival has ended, and what it read is applied here.
    pub(crate) fn confirm(&mut self, number: u64) {
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.confirmed = true;
        }
    }

    /// What is to go to the leader now: new asks, those sent to another one, and those without news for too long.
    pub(crate) fn send(&mut self, now: Time, leader: NodeId, config: &MachineConfig) -> Vec<(u64, Ask)> {
        let mut batch = Vec::new();
        for (number, pending) in &mut self.pending {
            if pending.sent.is_none_or(|(to, again_at)| to != leader || again_at <= now) {
                pending.sent = Some((leader, now + config.retry_after));
                pending.sends = pending.sends.saturating_add(1);
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
                Ask::Change(change) => (pending.confirmed || change.is_for_ever()) && change.is_done(roster),
                Ask::MoveLeader(to) => pending.confirmed && leader == Some(*to),
            };
            if is_done {
                done.push(pending.tag);
            }
            !is_done
        });
        done
    }

    /// The leader refuses one for good, which says for certain that nothing was changed, unless an earlier sending may have been
    /// carried out.
    pub(crate) fn refused(&mut self, number: u64, why: AskError) -> Option<(ClientTag, AskError)> {
        let pending = self.pending.remove(&number)?;
        let is_unclear = pending.may_be_done(&why);
        Some((pending.tag, if is_unclear { AskError::Request(RequestError::Unknown) } else { why }))
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
                let error = match (pending.sends > 0, leader) {
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
