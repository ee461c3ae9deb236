//! Handing leadership over (dissertation, 3.10).
//!
//! The leader takes no more proposals, gives its lease up for the rest of the term, waits until the one chosen has its whole
//! log durably, and asks it to stand: that one campaigns at once, without a pre-vote, and its vote requests carry a flag that
//! overrides stickiness. If it leads by then, everybody hears so (`Lead`). If not, the leader goes on after an election timeout, and
//! whoever wished the transfer is refused. It may still happen later: the request to stand may be under way.
//!
//! Leaders hand over for three reasons: somebody asks for it, their disk stands still, or a member with a higher priority keeps
//! up (`priority.rs`).

use crate::election::Position;
use crate::leading::Leadership;
use crate::message::Message;
use crate::progress::Progress;
use crate::replica::{Raft, Timer};
use crate::rules;
use quorate_protocol::{Event, Outbox, Refusal, Refused, RequestId, TRANSFER_IN_VAIN};
use quorate_types::{MemberRole, NodeId, Slot};

/// Why a leader takes no proposals for now.
pub(crate) const UNDER_WAY: &str = "leadership is being handed over";

/// A transfer under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handover {
    /// Who shall lead.
    pub to: NodeId,
    /// Why.
    pub cause: Cause,
    /// It was asked to stand since the last heartbeat.
    pub(crate) told: bool,
}

/// Why leadership is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Somebody asked for it.
    Request(RequestId),
    /// The leader's disk stands still.
    StalledDisk,
    /// The other one has a higher priority.
    Priority,
}

impl Cause {
    fn words(self) -> &'static str {
        match self {
            Cause::Request(_) => "it was asked to",
            Cause::StalledDisk => "its own disk stands still",
            Cause::Priority => "the other has a higher priority and keeps up",
        }
    }
}

/// How a leader's disk does, as far as its timer tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DiskWatch {
    /// A write completed since the last settle.
    pub moved: bool,
    pub(crate) state: DiskState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum DiskState {
    /// Nothing is under way.
    #[default]
    Idle,
    /// A write is under way, and the timer runs since it began or the last one completed.
    Watched,
    /// The timer ran out once; it runs again until the leader gives up.
    Stalled,
}

/// What was true when a heartbeat was sent; a round of 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HeartbeatMarks {
    pub(crate) round: u64,
    pub(crate) commit: Slot,
}

impl Leadership {
    /// Whether proposals are refused because somebody else shall lead.
    #[must_use]
    pub fn is_handing_over(&self) -> bool {
        self.handover.is_some()
    }

    /// Whether it answered, and holds what was committed, when the heartbeat before the last one was sent.
    fn keeps_up(&self, progress: &Progress) -> bool {
        self.answered_lately(progress) && progress.matched >= self.heartbeat_before.commit
    }

    fn answered_lately(&self, progress: &Progress) -> bool {
        self.heartbeat_before.round > 0 && progress.answered_round >= self.heartbeat_before.round
    }
}

impl Raft {
    /// To whom leadership is being handed over, by this node.
    #[must_use]
    pub fn handing_over_to(&self) -> Option<NodeId> {
        match &self.position {
            Position::Leader(leadership) => leadership.handover.map(|handover| handover.to),
            _ => None,
        }
    }

    pub(crate) fn transfer(&mut self, request: RequestId, to: NodeId, out: &mut Outbox<Raft>) {
        let hint = self.leader.filter(|leader| *leader != self.me);
        let refusal = match &self.position {
            Position::Leader(_) if to == self.me => Some(Refusal::Invalid("it leads already")),
            Position::Leader(_) if !self.may_lead(to) => {
                Some(Refusal::Invalid("leadership can only go to a voter that stores data"))
            }
            Position::Leader(leadership) if leadership.is_handing_over() => Some(Refusal::NotReady(UNDER_WAY)),
            Position::Leader(_) => None,
            _ => Some(Refusal::NotLeader { hint }),
        };
        match refusal {
            Some(why) => {
                out.trace(|| Event::refused(&rules::TRANSFER).with("to", to).with("why", words(&why)));
                out.refuse(Refused::Request(request), why);
            }
            None => self.hand_over(to, Cause::Request(request), out),
        }
    }

    /// Voters with data may; in a joint configuration those of the new half, which will stay.
    pub(crate) fn may_lead(&self, id: NodeId) -> bool {
        let members = &self.configurations.in_force().members;
        members.get(id).is_some_and(|member| member.role == MemberRole::Voter)
    }

    /// Begins, if no transfer is under way.
    pub(crate) fn hand_over(&mut self, to: NodeId, cause: Cause, out: &mut Outbox<Raft>) {
        self.give_up_lease(out);
        let term = self.term;
        let Position::Leader(leadership) = &mut self.position else { return };
        leadership.handover = Some(Handover { to, cause, told: false });
        if let Some(progress) = leadership.peers.get_mut(&to) {
            progress.due = true;
        }
        out.trace(|| Event::waiting(&rules::TRANSFER).with("to", to).with("term", term).with("why", cause.words()));
        self.set_exact_timer(Timer::Transfer, self.config.election_timeout, out);
    }

    /// Asks the one chosen to stand once it has everything durably. Asked again after every heartbeat: the question may be lost.
    pub(crate) fn continue_transfer(&mut self, out: &mut Outbox<Raft>) {
        let (last_slot, last_term, term) = (self.log.last(), self.log.last_term(), self.term);
        let Position::Leader(leadership) = &mut self.position else { return };
        let Some(handover) = &mut leadership.handover else { return };
        let to = handover.to;
        let Some(progress) = leadership.peers.get(&to) else {
            return self.end_transfer("it is no member any more", out);
        };
        if handover.told || progress.matched < last_slot {
            return;
        }
        handover.told = true;
        out.trace(|| Event::allowed(&rules::TRANSFER).with("to", to).with("slot", last_slot).with("term", term));
        self.send(to, Message::TimeoutNow { term, last_slot, last_term }, out);
    }

    pub(crate) fn transfer_expired(&mut self, out: &mut Outbox<Raft>) {
        if self.handing_over_to().is_none() {
            return self.drop_timer(Timer::Transfer, "nothing is being handed over", out);
        }
        self.end_transfer("it did not take over in time", out);
    }

    /// Goes on leading.
    fn end_transfer(&mut self, why: &'static str, out: &mut Outbox<Raft>) {
        let Position::Leader(leadership) = &mut self.position else { return };
        let Some(Handover { to, cause, .. }) = leadership.handover.take() else { return };
        out.cancel_timer(Timer::Transfer);
        out.trace(|| Event::refused(&rules::TRANSFER).with("to", to).with("why", why));
        if let Cause::Request(request) = cause {
            out.refuse(Refused::Request(request), Refusal::NotReady(TRANSFER_IN_VAIN));
        }
    }

    /// A leader asks this node to stand.
    pub(crate) fn asked_to_stand(&mut self, from: NodeId, term: u64, end: (u64, Slot), out: &mut Outbox<Raft>) {
        let own = (self.log.last_term(), self.log.last());
        let why = if term < self.term {
            Some("it is of an earlier term")
        } else if self.leader.is_some_and(|leader| leader != from) {
            Some("another node leads the term")
        } else if !matches!(self.position, Position::Follower | Position::PreCandidate(_)) {
            Some("it stands or leads already")
        } else if !self.may_lead(self.me) {
            Some("it is no voter that stores data")
        } else if own < end {
            Some("its log is behind the leader's")
        } else if self.term == u64::MAX {
            Some("there is no greater term")
        } else {
            None
        };
        if let Some(why) = why {
            return self.drop_stale("timeout-now", from, why, out);
        }
        out.trace(|| {
            Event::allowed(&rules::CAMPAIGN_AT_ONCE).with("leader", from).with("term", term.saturating_add(1))
        });
        self.set_leader(None, out);
        self.stand(true, out);
    }

    /// The peer with the longest durable log among those that answered lately and may lead.
    fn furthest_peer(&self) -> Option<NodeId> {
        let Position::Leader(leadership) = &self.position else { return None };
        let peers = leadership
            .peers
            .iter()
            .filter(|(id, progress)| self.may_lead(**id) && leadership.answered_lately(progress));
        peers.rev().max_by_key(|(_, progress)| progress.matched).map(|(id, _)| *id)
    }

    /// Whether a peer may lead and lags by two heartbeats at most.
    pub(crate) fn peer_keeps_up(&self, id: NodeId) -> bool {
        let Position::Leader(leadership) = &self.position else { return false };
        self.may_lead(id) && leadership.peers.get(&id).is_some_and(|progress| leadership.keeps_up(progress))
    }

    /// A heartbeat begins: what peers will be measured by at the next one, and one more chance to ask.
    pub(crate) fn note_heartbeat(&mut self) {
        let commit = self.commit;
        let Position::Leader(leadership) = &mut self.position else { return };
        leadership.heartbeat_before = leadership.last_heartbeat;
        leadership.last_heartbeat = HeartbeatMarks { round: leadership.round, commit };
        if let Some(handover) = &mut leadership.handover {
            handover.told = false;
        }
    }

    /// Keeps the disk's timer running while a leader's writes are under way, anew whenever one completes.
    pub(crate) fn watch_disk(&mut self, out: &mut Outbox<Raft>) {
        let writes_wait = !self.disk.pending.is_empty();
        let patience = self.config.disk_patience();
        let Position::Leader(leadership) = &mut self.position else { return };
        let moved = std::mem::take(&mut leadership.disk.moved);
        match (writes_wait, leadership.disk.state) {
            (false, DiskState::Idle) => {}
            (false, _) => {
                leadership.disk.state = DiskState::Idle;
                out.cancel_timer(Timer::Disk);
            }
            (true, DiskState::Watched | DiskState::Stalled) if !moved => {}
            (true, _) => {
                leadership.disk.state = DiskState::Watched;
                self.set_exact_timer(Timer::Disk, patience, out);
            }
        }
    }

    /// The disk finished nothing for long: whoever is furthest shall lead. If it does not, or there is nobody, this node stops
    /// leading when an election timeout is over, so that somebody else may.
    pub(crate) fn disk_expired(&mut self, out: &mut Outbox<Raft>) {
        let (term, writes_wait) = (self.term, !self.disk.pending.is_empty());
        let rest = self.config.election_timeout.saturating_sub(self.config.disk_patience());
        let heir = self.furthest_peer();
        let Position::Leader(leadership) = &mut self.position else {
            return self.drop_timer(Timer::Disk, "it does not lead", out);
        };
        if leadership.disk.moved || !writes_wait {
            // Settle sees to the timer.
            leadership.disk.state = DiskState::Idle;
            return self.drop_timer(Timer::Disk, "its disk finished something meanwhile", out);
        }
        if leadership.disk.state == DiskState::Stalled {
            out.trace(|| Event::refused(&rules::DISK).with("term", term));
            return self.step_down("its disk stands still", out);
        }
        leadership.disk.state = DiskState::Stalled;
        out.trace(|| Event::waiting(&rules::DISK).with("term", term));
        let handing_over = leadership.is_handing_over();
        self.set_exact_timer(Timer::Disk, rest, out);
        if let (Some(heir), false) = (heir, handing_over) {
            self.hand_over(heir, Cause::StalledDisk, out);
        }
    }
}

fn words(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotLeader { .. } => "it does not lead",
        Refusal::NotReady(why) | Refusal::Invalid(why) => why,
        _ => "it cannot",
    }
}
