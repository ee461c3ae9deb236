//! Following: the connection with the leader, and what is heard in it.

use crate::connection::{Connection, Gap, Receiving};
use crate::message::{FollowerWord, LeaderWord, Message, Vote};
use crate::replica::{Broadcast, Position, Timer, drop_message};
use crate::rules;
use crate::zxid::Mark;
use quorate_protocol::{Event, Outbox};
use quorate_types::{NodeId, Slot, Ticket};

/// How far a follower is with its leader. In all but the first the epoch is the one it accepted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    /// CEPOCH is sent.
    Connecting,
    /// ACKEPOCH is sent.
    Promised {
        /// Whether it counts for the election.
        counts: bool,
    },
    /// A snapshot is on its way.
    Waiting,
    /// DIFF or TRUNC came: it takes the leader's history.
    Synchronising,
    /// NEWLEADER is acknowledged, or will be when that is durable.
    Acknowledged,
    /// UPTODATE came.
    Broadcasting,
}

impl Stage {
    pub(crate) fn phase(self) -> &'static str {
        match self {
            Stage::Connecting | Stage::Promised { .. } => "discovery",
            Stage::Waiting | Stage::Synchronising | Stage::Acknowledged => "synchronisation",
            Stage::Broadcasting => "broadcast",
        }
    }
}

/// With a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Following {
    pub(crate) leader: NodeId,
    /// The vote that elected it.
    pub(crate) vote: Vote,
    pub(crate) connection: Connection,
    pub(crate) stage: Stage,
    pub(crate) receiving: Receiving,
    /// The latest commit heard of before UPTODATE.
    pub(crate) heard_commit: Slot,
}

impl Broadcast {
    pub(crate) fn follow(&mut self, vote: Vote, out: &mut Outbox<Broadcast>) {
        out.cancel_timer(Timer::Notify);
        out.cancel_timer(Timer::Finalize);
        let limit = self.config.init_limit();
        out.set_timer(Timer::Limit, limit, limit);
        self.connect(vote, out);
    }

    /// Rule 5, in a connection of its own.
    fn connect(&mut self, vote: Vote, out: &mut Outbox<Broadcast>) {
        self.connections += 1;
        let connection = Connection { incarnation: self.incarnation, number: self.connections };
        let (leader, epoch, last) = (vote.candidate, self.accepted_epoch, self.log.last());
        out.trace(|| {
            let event = Event::allowed(&rules::CONNECT).with("leader", leader).with("number", connection.number);
            event.with("epoch", u64::from(epoch)).with("last", last.to_string())
        });
        self.position = Position::Following(Box::new(Following {
            leader,
            vote,
            connection,
            stage: Stage::Connecting,
            receiving: Receiving::new(),
            heard_commit: Slot::ZERO,
        }));
        self.ask_again(out);
    }

    /// The same leader, another connection: what was said in the old one counts no more, on either side.
    pub(crate) fn reconnect(&mut self, why: &'static str, out: &mut Outbox<Broadcast>) {
        let Position::Following(following) = &self.position else { return };
        let vote = following.vote;
        out.trace(|| Event::allowed(&rules::RECONNECT).with("leader", vote.candidate).with("why", why));
        self.connect(vote, out);
    }

    /// What opened the phase is said again until it is answered.
    pub(crate) fn ask_again(&mut self, out: &mut Outbox<Broadcast>) {
        let Position::Following(following) = &self.position else { return };
        match following.stage {
            Stage::Connecting => {
                let word = FollowerWord::Cepoch { accepted_epoch: self.accepted_epoch, last: self.log.last() };
                self.answer(Ticket::NONE, word, out);
            }
            Stage::Promised { counts } => self.acknowledge_epoch(counts, out),
            Stage::Waiting | Stage::Synchronising | Stage::Acknowledged | Stage::Broadcasting => return,
        }
        out.set_timer(Timer::Tick, self.config.tick, self.config.tick);
    }

    /// Says something to the leader, once `after` is durable.
    pub(crate) fn answer(&self, after: Ticket, word: FollowerWord, out: &mut Outbox<Broadcast>) {
        let Position::Following(following) = &self.position else { return };
        let message = Message::Up { connection: following.connection, word };
        out.send_after(after, following.leader, message);
    }

    pub(crate) fn connection_closed(&mut self, from: NodeId, connection: Connection, out: &mut Outbox<Broadcast>) {
        match &self.position {
            Position::Following(it) if (it.leader, it.connection) == (from, connection) => {
                self.look("its leader knows nothing of it", out);
            }
            _ => drop_message("connection-closed", from, "it is of no connection that lasts", out),
        }
    }

    /// Words are taken in the order they were said in.
    pub(crate) fn hear_leader(
        &mut self,
        from: NodeId,
        connection: Connection,
        sequence: u64,
        word: LeaderWord,
        out: &mut Outbox<Broadcast>,
    ) {
        let kind = word.kind();
        let Position::Following(following) = &mut self.position else {
            return drop_message(kind, from, "it follows nobody", out);
        };
        if (following.leader, following.connection) != (from, connection) {
            return drop_message(kind, from, "it is of no connection that lasts", out);
        }
        let arrived = following.receiving.arrive(sequence, word, self.config.held_messages);
        let limit = match following.stage {
            Stage::Broadcasting => self.config.sync_limit(),
            _ => self.config.init_limit(),
        };
        // Votes do not split, so followers need not notice one by one.
        out.set_timer(Timer::Limit, limit, limit);
        if arrived == Err(Gap) {
            return self.reconnect("something was lost on the way", out);
        }
        while let Some(word) = self.next_word(connection) {
            self.take_word(word, out);
        }
    }

    fn next_word(&mut self, connection: Connection) -> Option<LeaderWord> {
        match &mut self.position {
            Position::Following(following) if following.connection == connection => following.receiving.take(),
            _ => None,
        }
    }

    fn take_word(&mut self, word: LeaderWord, out: &mut Outbox<Broadcast>) {
        let Position::Following(following) = &self.position else { return };
        let stage = following.stage;
        match (word, stage) {
            (LeaderWord::NewEpoch { epoch }, Stage::Connecting) => self.promise_epoch(epoch, out),
            (LeaderWord::Diff { from }, Stage::Promised { .. }) => self.begin_diff(from, out),
            (LeaderWord::Truncate { to }, Stage::Promised { .. }) => self.truncate(to, out),
            (LeaderWord::Snapshot, stage) if stage > Stage::Connecting => self.set_stage(Stage::Waiting),
            (LeaderWord::Proposal { first, txns }, stage) if stage >= Stage::Synchronising => {
                self.accept(first, txns, out);
            }
            (LeaderWord::NewLeader { epoch }, Stage::Synchronising) => self.take_new_leader(epoch, out),
            (LeaderWord::UpToDate { committed }, Stage::Acknowledged) => self.take_up_to_date(committed, out),
            (LeaderWord::Commit { through }, Stage::Acknowledged | Stage::Broadcasting) => {
                self.hear_commit(through, out);
            }
            (LeaderWord::Ping { round, everyone }, stage) if stage > Stage::Connecting => {
                self.everyone_has = self.everyone_has.max(everyone.min(self.committed));
                self.pong(round, out);
            }
            _ => self.reconnect("what it hears makes no sense here", out),
        }
    }

    pub(crate) fn set_stage(&mut self, stage: Stage) {
        if let Position::Following(following) = &mut self.position {
            following.stage = stage;
        }
    }

    pub(crate) fn stage(&self) -> Option<Stage> {
        match &self.position {
            Position::Following(following) => Some(following.stage),
            _ => None,
        }
    }

    /// Says that it follows still, and how far it is.
    pub(crate) fn pong(&self, round: u64, out: &mut Outbox<Broadcast>) {
        let (epoch, received) = (self.accepted_epoch, self.log.last().slot);
        let acked = self.acknowledged();
        self.answer(Ticket::NONE, FollowerWord::Pong { epoch, round, received, acked }, out);
    }

    /// Everything it has acknowledged in this connection, or could have: it is durable, and so is the epoch.
    fn acknowledged(&self) -> Option<Mark> {
        let stage = self.stage()?;
        let durable_epoch =
            self.pending.ticket_of(|claim| matches!(claim, crate::replica::Claim::Current(_))).is_none();
        let stands = matches!(stage, Stage::Acknowledged | Stage::Broadcasting) && durable_epoch;
        self.log.mark_at(self.flushed).filter(|_| stands)
    }
}
