//! Leading: the followers and their connections, pings, and when to stop.

use crate::connection::Connection;
use crate::handover::Handover;
use crate::message::{FollowerWord, LeaderWord, Message, Vote};
use crate::replica::{Broadcast, Position, Serving, Timer};
use crate::rules;
use crate::zxid::Mark;
use quorate_protocol::{Event, LedReads, Outbox, ReadQueue};
use quorate_types::{NodeId, Slot, Ticket};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A member that answered none of the last so many pings is not in sync.
const RECENT_PINGS: usize = 3;

/// How far a leader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum LeaderStage {
    /// It waits for CEPOCH of a quorum.
    Discovering,
    /// It has proposed an epoch, and waits for ACKEPOCH of a quorum.
    Electing,
    /// The epoch is its own as soon as that is durable.
    Recording,
    /// It brings followers to its history, and waits for ACK(NEWLEADER) of a quorum.
    Synchronising,
    /// The epoch is established.
    Broadcasting,
}

impl LeaderStage {
    pub(crate) fn phase(self) -> &'static str {
        match self {
            LeaderStage::Discovering | LeaderStage::Electing | LeaderStage::Recording => "discovery",
            LeaderStage::Synchronising => "synchronisation",
            LeaderStage::Broadcasting => "broadcast",
        }
    }
}

/// How far a follower is in its connection, to its leader's knowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PeerStage {
    /// CEPOCH came.
    Connected,
    /// NEWEPOCH is sent.
    Asked,
    /// ACKEPOCH came.
    Promised {
        /// Whether it counts for the election.
        counts: bool,
    },
    /// It needs a snapshot, and will open another connection when it has it.
    Snapshot,
    /// It is being sent what it lacks of the history.
    Synchronising,
    /// NEWLEADER is queued.
    Offered,
    /// ACK(NEWLEADER) came.
    Synchronised,
}

/// A follower in its connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    pub(crate) connection: Connection,
    /// So many words were said.
    pub(crate) sequence: u64,
    pub(crate) stage: PeerStage,
    pub(crate) accepted_epoch: u32,
    /// The end of its history, as it said last.
    pub(crate) last: Mark,
    /// What to send next.
    pub(crate) next: Slot,
    /// Everything up to here has arrived.
    pub(crate) received: Slot,
    /// Everything up to here it has acknowledged. `matched < next`.
    pub(crate) matched: Slot,
    /// What it was last told to be committed.
    pub(crate) told_committed: Slot,
    /// The last round it answered.
    pub(crate) answered_round: u64,
}

impl Peer {
    fn new(connection: Connection, accepted_epoch: u32, last: Mark) -> Peer {
        Peer {
            connection,
            sequence: 0,
            stage: PeerStage::Connected,
            accepted_epoch,
            last,
            next: Slot::ZERO,
            received: Slot::ZERO,
            matched: Slot::ZERO,
            told_committed: Slot::ZERO,
            answered_round: 0,
        }
    }

    /// Says something in the connection.
    pub(crate) fn say(&mut self, to: NodeId, after: Ticket, word: LeaderWord, out: &mut Outbox<Broadcast>) {
        self.sequence += 1;
        out.send_after(after, to, Message::Down { connection: self.connection, sequence: self.sequence, word });
    }

    /// Says the first thing once more: nothing else was said.
    fn repeat(&mut self, to: NodeId, after: Ticket, word: LeaderWord, out: &mut Outbox<Broadcast>) {
        self.sequence = 0;
        self.say(to, after, word, out);
    }
}

/// What a leader knows. The epoch it has proposed is the one it accepted last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leadership {
    /// The vote that elected it.
    pub(crate) vote: Vote,
    pub(crate) stage: LeaderStage,
    /// The end of its initial history.
    pub(crate) initial: Slot,
    /// The last counter it used.
    pub(crate) counter: u32,
    /// Leadership is on its way to somebody, and nothing else is proposed.
    pub(crate) handover: Option<Handover>,
    /// It has proposed or inherited a stop-sign here: nothing is proposed above.
    pub(crate) stop_at: Option<Slot>,
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    /// Of pings, and of questions on behalf of reads.
    pub(crate) round: u64,
    /// The rounds of the last pings, oldest first.
    pub(crate) recent_pings: VecDeque<u64>,
    pub(crate) reads: ReadQueue,
    /// Heard from since the last check.
    pub(crate) heard: BTreeSet<NodeId>,
}

impl Leadership {
    /// Whether this node was heard since the last check.
    pub(crate) fn hears(&self, id: NodeId) -> bool {
        self.heard.contains(&id)
    }
}

impl Broadcast {
    pub(crate) fn lead(&mut self, vote: Vote, out: &mut Outbox<Broadcast>) {
        out.cancel_timer(Timer::Notify);
        out.cancel_timer(Timer::Finalize);
        let last = self.log.last().slot;
        let stop_at = self.log.get(last).filter(|txn| txn.payload.is_stop()).map(|_| last);
        self.position = Position::Leading(Box::new(Leadership {
            vote,
            stage: LeaderStage::Discovering,
            initial: last,
            counter: 0,
            handover: None,
            stop_at,
            peers: BTreeMap::new(),
            round: 0,
            recent_pings: VecDeque::new(),
            reads: ReadQueue::default(),
            heard: BTreeSet::new(),
        }));
        out.set_timer(Timer::Tick, self.config.tick, self.config.tick);
        let limit = self.config.init_limit();
        out.set_timer(Timer::Limit, limit, limit);
    }

    /// Whatever it did is over; nothing of it may be used again.
    pub(crate) fn leave_position(&mut self, why: &'static str, out: &mut Outbox<Broadcast>) {
        self.fail_asked_reads(out);
        match std::mem::replace(&mut self.position, Position::Looking(crate::election::Election::default())) {
            Position::Looking(_) => out.cancel_timer(Timer::Finalize),
            Position::Following(_) => {}
            Position::Leading(leadership) => {
                out.trace(|| Event::allowed(&rules::RESIGN).with("why", why));
                for (id, peer) in &leadership.peers {
                    out.send(*id, Message::Closed { connection: peer.connection });
                }
                self.fail_reads(leadership.reads, out);
            }
        }
        out.cancel_timer(Timer::Tick);
        out.cancel_timer(Timer::Limit);
    }

    /// What a follower says in its connection. A later connection ends the earlier one, and what was acknowledged in that.
    pub(crate) fn hear_follower(
        &mut self,
        from: NodeId,
        connection: Connection,
        word: FollowerWord,
        out: &mut Outbox<Broadcast>,
    ) {
        let Position::Leading(leadership) = &mut self.position else {
            // Whoever opens a connection may only be early.
            if !matches!(word, FollowerWord::Cepoch { .. }) {
                out.send(from, Message::Closed { connection });
            }
            return;
        };
        let known = leadership.peers.get(&from).map(|peer| peer.connection);
        match word {
            FollowerWord::Cepoch { accepted_epoch, last } if known.is_none_or(|known| known < connection) => {
                leadership.heard.insert(from);
                leadership.peers.insert(from, Peer::new(connection, accepted_epoch, last));
                self.follower_connected(from, out);
            }
            _ if known.is_none_or(|known| known < connection) => out.send(from, Message::Closed { connection }),
            _ if known != Some(connection) => {}
            word => {
                leadership.heard.insert(from);
                self.take_follower_word(from, word, out);
            }
        }
    }

    fn take_follower_word(&mut self, from: NodeId, word: FollowerWord, out: &mut Outbox<Broadcast>) {
        match word {
            FollowerWord::Cepoch { .. } => self.repeat_new_epoch(from, out),
            FollowerWord::AckEpoch { epoch, current_epoch, last, counts } => {
                self.epoch_acknowledged(from, epoch, (current_epoch, last), counts, out);
            }
            FollowerWord::Received { through } => self.note_received(from, through),
            FollowerWord::AckNewLeader { epoch, through } | FollowerWord::Ack { epoch, through } => {
                self.acknowledged_by(from, epoch, through, out);
            }
            FollowerWord::Pong { epoch, round, received, acked } => {
                self.ponged(from, (epoch, round), received, acked, out);
            }
        }
    }

    fn repeat_new_epoch(&mut self, from: NodeId, out: &mut Outbox<Broadcast>) {
        let (epoch, after) = (self.accepted_epoch, self.promise_ticket());
        let Position::Leading(leadership) = &mut self.position else { return };
        if let Some(peer) = leadership.peers.get_mut(&from).filter(|peer| peer.stage == PeerStage::Asked) {
            peer.repeat(from, after, LeaderWord::NewEpoch { epoch }, out);
        }
    }

    fn ponged(
        &mut self,
        from: NodeId,
        (epoch, round): (u32, u64),
        received: Slot,
        acked: Option<Mark>,
        out: &mut Outbox<Broadcast>,
    ) {
        if epoch != self.accepted_epoch {
            return;
        }
        self.note_received(from, received);
        if let Position::Leading(leadership) = &mut self.position
            && let Some(peer) = leadership.peers.get_mut(&from)
            && round <= leadership.round
        {
            peer.answered_round = peer.answered_round.max(round);
        }
        if let Some(through) = acked {
            self.acknowledged_by(from, epoch, through, out);
        }
    }

    fn note_received(&mut self, from: NodeId, through: Slot) {
        if let Position::Leading(leadership) = &mut self.position
            && let Some(peer) = leadership.peers.get_mut(&from)
        {
            peer.received = peer.received.max(through.min(peer.next.previous()));
        }
    }

    pub(crate) fn ping_due(&mut self, out: &mut Outbox<Broadcast>) {
        out.set_timer(Timer::Tick, self.config.tick, self.config.tick);
        self.handover_due(out);
        self.serving.retain(|_, serving| match serving {
            Serving::Paused(ticks) => {
                *ticks = ticks.saturating_sub(1);
                *ticks > 0
            }
            Serving::Pinning | Serving::Sending { .. } => true,
        });
        self.ping(out);
        self.carry_reads();
    }

    fn ping(&mut self, out: &mut Outbox<Broadcast>) {
        let everyone = self.everyone_has;
        let Position::Leading(leadership) = &mut self.position else { return };
        leadership.round += 1;
        let round = leadership.round;
        leadership.recent_pings.push_back(round);
        if leadership.recent_pings.len() > RECENT_PINGS {
            leadership.recent_pings.pop_front();
        }
        for (id, peer) in leadership.peers.iter_mut().filter(|(_, peer)| peer.stage >= PeerStage::Snapshot) {
            peer.say(*id, Ticket::NONE, LeaderWord::Ping { round, everyone }, out);
        }
    }

    /// A leader that could commit nothing stops being in the way.
    pub(crate) fn check_quorum(&mut self, out: &mut Outbox<Broadcast>) {
        let (me, config) = (self.me, self.config.clone());
        let Position::Leading(leadership) = &mut self.position else { return };
        let heard = std::mem::take(&mut leadership.heard);
        let (stage, limit) = match leadership.stage {
            LeaderStage::Broadcasting => (leadership.stage, config.sync_limit()),
            stage => (stage, config.init_limit()),
        };
        let count = self.members.voters().filter(|id| *id == me || heard.contains(id)).count();
        if stage < LeaderStage::Synchronising {
            self.look("no quorum promised its epoch in time", out);
        } else if !self.is_quorum(count) {
            self.look("too few answered its pings", out);
        } else {
            out.set_timer(Timer::Limit, limit, limit);
        }
    }
}
