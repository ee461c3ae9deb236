//! Leading: proposals, phase 2, what is chosen.

use crate::ballot::Payload;
use crate::handover::{Handover, UNDER_WAY};
use crate::message::{Message, Reach};
use crate::replica::{Ballots, Position, Serving, Timer};
use crate::rules;
use bytes::Bytes;
use quorate_protocol::{Event, Lease, LedReads, Outbox, ReadQueue, Refusal, Refused, RequestId};
use quorate_types::{NodeId, Slot};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a leader knows of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// Everything up to here it has durably: known chosen, or accepted in this ballot.
    pub(crate) matched: Slot,
    /// What to send next.
    pub(crate) next: Slot,
    /// The last round that began before something was sent again: what answers to it or earlier ones lack is on its way.
    pub(crate) resent_round: u64,
    /// The last round it answered.
    pub(crate) answered_round: u64,
    /// What it was last told to be chosen.
    pub(crate) told_chosen: Slot,
}

/// A peer that answered none of the last so many heartbeats is not in sync.
const RECENT_HEARTBEATS: usize = 3;

/// What a leader knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leadership {
    /// The last slot proposed in this ballot.
    pub(crate) last: Slot,
    /// The last slot that phase 1 found.
    pub(crate) inherited: Slot,
    /// It has proposed or inherited a stop-sign here: nothing is proposed above.
    pub(crate) stop_at: Option<Slot>,
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    /// Of heartbeats, and of questions on behalf of reads.
    pub(crate) round: u64,
    /// The rounds of the last heartbeats that were due, oldest first.
    pub(crate) recent_heartbeats: VecDeque<u64>,
    pub(crate) reads: ReadQueue,
    /// Heard from since the last check.
    pub(crate) heard: BTreeSet<NodeId>,
    /// Until when nobody else can lead, where leases are on.
    pub(crate) lease: Lease,
    /// Leadership is on its way to somebody, and nothing is proposed.
    pub(crate) transfer: Option<Handover>,
}

impl Leadership {
    pub(crate) fn new(last: Slot, stop_at: Option<Slot>) -> Leadership {
        Leadership {
            last,
            inherited: last,
            stop_at,
            peers: BTreeMap::new(),
            round: 0,
            recent_heartbeats: VecDeque::new(),
            reads: ReadQueue::default(),
            heard: BTreeSet::new(),
            lease: Lease::default(),
            transfer: None,
        }
    }

    /// It answered one of the last heartbeats.
    pub(crate) fn answers(&self, peer: &Peer) -> bool {
        self.recent_heartbeats.front().is_some_and(|oldest| peer.answered_round >= *oldest)
    }

    pub(crate) fn follow(&mut self, peer: NodeId, next: Slot) {
        let (matched, told_chosen) = (Slot::ZERO, Slot::ZERO);
        self.peers.insert(peer, Peer { matched, next, resent_round: 0, answered_round: 0, told_chosen });
    }
}

impl Ballots {
    pub(crate) fn propose(&mut self, request: RequestId, commands: Bytes, out: &mut Outbox<Ballots>) {
        let undecided = self.log.undecided_bytes();
        let refusal = match &self.position {
            Position::Leader(leadership) if leadership.stop_at.is_some() => {
                Some(Refusal::NotReady("the members are being changed"))
            }
            Position::Leader(leadership) if leadership.transfer.is_some() => Some(Refusal::NotReady(UNDER_WAY)),
            // What is greater than the whole budget still gets its turn: when nothing else is undecided.
            Position::Leader(_) if undecided > 0 && undecided + commands.len() as u64 > self.config.undecided_bytes => {
                Some(Refusal::Overloaded)
            }
            Position::Leader(_) => None,
            _ => Some(Refusal::NotLeader { hint: self.leader }),
        };
        match refusal {
            Some(refusal) => {
                out.trace(|| Event::refused(&rules::PROPOSE).with("why", why(&refusal)));
                out.refuse(Refused::Request(request), refusal);
            }
            None => self.append(Payload::Command(commands), out),
        }
    }

    /// The next slot, in this leader's ballot. Its own write goes on while messages travel.
    pub(crate) fn append(&mut self, payload: Payload, out: &mut Outbox<Ballots>) {
        let ballot = self.promised;
        let Position::Leader(leadership) = &mut self.position else { return };
        leadership.last = leadership.last.next();
        let slot = leadership.last;
        out.trace(|| Event::allowed(&rules::PROPOSE).with("slot", slot).with("ballot", ballot.to_string()));
        self.write_accepted(ballot, slot, vec![payload], out);
    }

    pub(crate) fn accepted(
        &mut self,
        from: NodeId,
        ballot: crate::ballot::Ballot,
        reach: Reach,
        _: &mut Outbox<Ballots>,
    ) {
        let promised = self.promised;
        let Position::Leader(leadership) = &mut self.position else { return };
        if ballot != promised {
            return;
        }
        leadership.heard.insert(from);
        let last = leadership.last.max(self.chosen);
        if let Some(peer) = leadership.peers.get_mut(&from) {
            peer.matched = peer.matched.max(reach.through.min(last));
            peer.next = peer.next.max(peer.matched.next());
        }
    }

    /// A peer lives, has promised nothing higher, and says what it has.
    pub(crate) fn alive(
        &mut self,
        from: NodeId,
        ballot: crate::ballot::Ballot,
        round: u64,
        reach: Reach,
        lacks: Option<Slot>,
        out: &mut Outbox<Ballots>,
    ) {
        self.accepted(from, ballot, reach, out);
        let promised = self.promised;
        let Position::Leader(leadership) = &mut self.position else { return };
        if ballot != promised {
            return;
        }
        let last_round = leadership.round;
        let Some(peer) = leadership.peers.get_mut(&from) else { return };
        if round > last_round || round < peer.answered_round {
            return;
        }
        peer.answered_round = round;
        let lost = lacks.filter(|first| *first > Slot::ZERO && *first < peer.next && round > peer.resent_round);
        if let Some(first) = lost {
            out.trace(|| Event::waiting(&rules::RESEND).with("peer", from).with("slot", first));
            peer.next = first;
            peer.resent_round = last_round;
        }
    }

    /// Chosen is what a phase-2 quorum has accepted in this ballot, everything below included.
    pub(crate) fn choose(&mut self, out: &mut Outbox<Ballots>) {
        let Position::Leader(leadership) = &self.position else { return };
        let of = |id: NodeId| match id == self.me {
            true => self.flushed,
            false => leadership.peers.get(&id).map_or(Slot::ZERO, |peer| peer.matched),
        };
        let mut reached: Vec<Slot> = self.members.voters().map(of).collect();
        reached.sort_unstable_by(|one, other| other.cmp(one));
        let Some(through) = reached.get(self.quorums.phase2() - 1).copied() else { return };
        let through = through.min(leadership.last);
        let everyone = leadership.peers.values().map(|peer| peer.matched).chain([self.flushed]).min();
        self.everyone_has = self.everyone_has.max(everyone.unwrap_or(Slot::ZERO).min(self.chosen));
        if through > self.chosen {
            let votes: Vec<NodeId> = self.members.voters().filter(|id| of(*id) >= through).collect();
            out.trace(|| Event::allowed(&rules::CHOSEN).with("slot", through).votes(votes));
            self.chosen = through;
            self.chosen_in = Some(self.promised);
            self.note_progress();
        }
    }

    /// At most one accept per peer.
    pub(crate) fn send_accepts(&mut self, out: &mut Outbox<Ballots>) {
        let (ballot, chosen, everyone, trim) = (self.promised, self.chosen, self.everyone_has, self.log.trim());
        let Position::Leader(leadership) = &mut self.position else { return };
        let last = leadership.last;
        for (id, peer) in &mut leadership.peers {
            let unacknowledged = peer.next.previous().0.saturating_sub(peer.matched.0);
            let window_shut = unacknowledged >= self.config.window_entries && peer.matched > Slot::ZERO;
            if peer.next > last || peer.next <= trim || window_shut {
                continue;
            }
            let first = peer.next;
            let mut payloads = Vec::new();
            let mut bytes = 0;
            for (slot, entry) in self.log.from(first) {
                let full = payloads.len() >= self.config.accept_entries || bytes >= self.config.accept_bytes;
                if slot > last || full || slot.0 - first.0 != payloads.len() as u64 {
                    break;
                }
                bytes += entry.payload.bytes();
                payloads.push(entry.payload.clone());
            }
            if payloads.is_empty() {
                continue;
            }
            peer.next = Slot(first.0 + payloads.len() as u64);
            peer.told_chosen = chosen;
            out.send(*id, Message::Accept { ballot, first, payloads, chosen, everyone });
        }
    }

    /// Whoever did not hear with an accept what is chosen hears it now.
    pub(crate) fn send_news(&mut self, out: &mut Outbox<Ballots>) {
        let (ballot, chosen, everyone) = (self.promised, self.chosen, self.everyone_has);
        let Position::Leader(leadership) = &mut self.position else { return };
        for (id, peer) in &mut leadership.peers {
            if peer.told_chosen < chosen && peer.next > chosen {
                peer.told_chosen = chosen;
                let sent = peer.next.previous();
                out.send(*id, Message::Heartbeat { ballot, round: 0, chosen, everyone, sent });
            }
        }
    }

    pub(crate) fn heartbeat_due(&mut self, out: &mut Outbox<Ballots>) {
        if !self.is_leader() {
            return;
        }
        out.set_timer(Timer::Heartbeat, self.config.heartbeat_interval, self.config.heartbeat_interval);
        self.serving.retain(|_, serving| match serving {
            Serving::Paused(heartbeats) => {
                *heartbeats = heartbeats.saturating_sub(1);
                *heartbeats > 0
            }
            Serving::Pinning | Serving::Sending { .. } => true,
        });
        self.begin_round(out);
        self.carry_reads();
        self.note_heartbeat();
    }

    fn note_heartbeat(&mut self) {
        let Position::Leader(leadership) = &mut self.position else { return };
        leadership.recent_heartbeats.push_back(leadership.round);
        if leadership.recent_heartbeats.len() > RECENT_HEARTBEATS {
            leadership.recent_heartbeats.pop_front();
        }
        if let Some(handover) = &mut leadership.transfer {
            handover.told = false;
        }
    }

    pub(crate) fn begin_round(&mut self, out: &mut Outbox<Ballots>) {
        let (ballot, chosen, everyone) = (self.promised, self.chosen, self.everyone_has);
        let Position::Leader(leadership) = &mut self.position else { return };
        leadership.round += 1;
        let round = leadership.round;
        for (id, peer) in &mut leadership.peers {
            peer.told_chosen = chosen;
            let sent = peer.next.previous();
            out.send(*id, Message::Heartbeat { ballot, round, chosen, everyone, sent });
        }
    }

    /// A leader that could choose nothing stops being in the way.
    pub(crate) fn check_quorum(&mut self, out: &mut Outbox<Ballots>) {
        let (me, phase2) = (self.me, self.quorums.phase2());
        let Position::Leader(leadership) = &mut self.position else { return };
        let heard = std::mem::take(&mut leadership.heard);
        let count = self.members.voters().filter(|id| *id == me || heard.contains(id)).count();
        if count < phase2 {
            self.step_down("too few answered for an election timeout", out);
        } else {
            out.set_timer(Timer::CheckQuorum, self.config.election_timeout, self.config.election_timeout);
        }
    }
}

pub(crate) fn why(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotReady(why) | Refusal::Invalid(why) | Refusal::Unsupported(why) => why,
        Refusal::NotLeader { .. } => "it does not lead",
        Refusal::Overloaded => "too much is undecided",
        Refusal::LeaderChanged | Refusal::AlreadyDecided | Refusal::MembershipChanged => "it cannot now",
    }
}
