//! What completed writes prove, and what a replica opened from them stands by.

use crate::leading::LeaderStage;
use crate::message::{FollowerWord, LeaderWord, Message};
use crate::replica::{Broadcast, Claim, Position};
use crate::zxid::Mark;
use quorate_types::Ticket;

impl Broadcast {
    pub(crate) fn persisted(&mut self, ticket: Ticket) {
        for claim in self.pending.settle(ticket) {
            match claim {
                Claim::History(through) => self.flushed = self.flushed.max(through),
                Claim::Current(epoch) => self.epoch_is_durable(epoch),
                // The leader's own promise counts from now on; whatever else waits for it does so at the gate.
                Claim::Accepted(_) | Claim::Snapshot => {}
            }
        }
    }

    /// Rule 8: the leader goes on.
    fn epoch_is_durable(&mut self, epoch: u32) {
        let accepted = self.accepted_epoch;
        if let Position::Leading(leadership) = &mut self.position
            && leadership.stage == LeaderStage::Recording
            && epoch == accepted
        {
            leadership.stage = LeaderStage::Synchronising;
        }
    }

    /// What this replica, opened from what is durable, can say for a message.
    pub(crate) fn stands_by(&self, message: &Message) -> bool {
        // What it gave up in a later connection it did have when it said so, and that connection is over.
        let has = |mark: &Mark| {
            let given_up = self.given_up_from.is_some_and(|from| from <= mark.slot);
            mark.slot <= self.log.base().slot || self.log.has(*mark) || given_up
        };
        let acknowledges =
            |epoch: u32, through: &Mark| self.current_epoch > epoch || (self.current_epoch == epoch && has(through));
        match message {
            Message::Up { word, .. } => match word {
                FollowerWord::AckEpoch { epoch, current_epoch, last, .. } => {
                    let promised = self.accepted_epoch > *epoch || (self.accepted_epoch == *epoch && has(last));
                    promised && self.current_epoch >= *current_epoch
                }
                FollowerWord::AckNewLeader { epoch, through } | FollowerWord::Ack { epoch, through } => {
                    acknowledges(*epoch, through)
                }
                FollowerWord::Pong { epoch, acked, .. } => {
                    self.accepted_epoch >= *epoch && acked.as_ref().is_none_or(|through| acknowledges(*epoch, through))
                }
                FollowerWord::Cepoch { .. } | FollowerWord::Received { .. } => true,
            },
            Message::Down { word, .. } => match word {
                LeaderWord::NewEpoch { epoch } => self.accepted_epoch >= *epoch,
                LeaderWord::NewLeader { epoch } => self.current_epoch >= *epoch,
                LeaderWord::Diff { .. }
                | LeaderWord::Truncate { .. }
                | LeaderWord::Snapshot
                | LeaderWord::Proposal { .. }
                | LeaderWord::UpToDate { .. }
                | LeaderWord::Commit { .. }
                | LeaderWord::Ping { .. } => true,
            },
            Message::Notification { .. }
            | Message::Closed { .. }
            | Message::Committed { .. }
            | Message::Confirm { .. }
            | Message::ReadIndex { .. }
            | Message::ReadAnswer { .. } => true,
        }
    }
}
