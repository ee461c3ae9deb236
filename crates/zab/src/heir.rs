//! What the succession of configurations needs of one.

use crate::config::Config;
use crate::leading::{LeaderStage, PeerStage};
use crate::message::Message;
use crate::record::{Anchor, Record};
use crate::replica::{Broadcast, Position, Timer};
use crate::zxid::{Payload, Zxid};
use quorate_protocol::{LedReads, LogChange, OpenError, Outbox, Refusal, SnapshotId, StoredLog};
use quorate_succession::Heir;
use quorate_types::{Membership, NodeId, Slot, Ticket};
use std::time::Duration;

impl Heir for Broadcast {
    const SUCCESSION: Timer = Timer::Succession;

    fn founding(_: &Config, members: &Membership, behind: Slot) -> Anchor {
        Anchor { slot: behind, zxid: Zxid::ZERO, members: members.clone() }
    }

    fn members(anchor: &Anchor) -> &Membership {
        &anchor.members
    }

    fn opening(anchor: &Anchor, snapshot: Option<SnapshotId>) -> Vec<Record> {
        let anchor = anchor.clone();
        vec![match snapshot {
            Some(id) => Record::Snapshot { id, anchor },
            None => Record::Anchor(anchor),
        }]
    }

    fn stored_log(records: Vec<(Ticket, Record)>) -> Result<StoredLog, OpenError> {
        crate::recovery::stored_log(records)
    }

    fn log_change(record: &Record) -> Option<LogChange> {
        match record {
            Record::Txns { first, txns } => {
                let decisions = txns.iter().map(|txn| txn.payload.decision()).collect();
                Some(LogChange { first: *first, decisions, ends_log: false })
            }
            Record::Truncated { after } => {
                Some(LogChange { first: after.next(), decisions: Vec::new(), ends_log: true })
            }
            Record::AcceptedEpoch(_) | Record::CurrentEpoch(_) | Record::Anchor(_) | Record::Snapshot { .. } => None,
        }
    }

    fn anchor_at(&self, through: Slot) -> Option<Anchor> {
        self.describe(through)
    }

    fn stop(&mut self, next: Membership, out: &mut Outbox<Broadcast>) -> Result<(), Refusal> {
        let (leader, last) = (self.leader(), self.log.last().slot);
        let most = self.config.counter_most;
        let Position::Leading(leadership) = &mut self.position else {
            return Err(Refusal::NotLeader { hint: leader });
        };
        if leadership.stage != LeaderStage::Broadcasting {
            return Err(Refusal::NotReady("its epoch is not established yet"));
        }
        if leadership.stop_at.is_some() {
            return Err(Refusal::NotReady("another change of the members is in progress"));
        }
        if leadership.handover.is_some() {
            return Err(Refusal::NotReady("leadership is being handed over"));
        }
        if leadership.counter >= most {
            return Err(Refusal::NotReady("this epoch has no zxid left, and a new one is about to begin"));
        }
        leadership.stop_at = Some(last.next());
        // Another leader may find the stop-sign, and the next configuration go on, before this one knows.
        let reads = std::mem::take(&mut leadership.reads);
        self.fail_reads(reads, out);
        self.append(Payload::Stop(next), out);
        Ok(())
    }

    fn decided_stop(&self) -> Option<Membership> {
        match &self.log.get(self.decided)?.payload {
            Payload::Stop(next) => Some(next.clone()),
            Payload::Command(_) | Payload::Nothing => None,
        }
    }

    fn keeps_up(&self, member: NodeId) -> bool {
        let Some(leadership) = self.established() else { return false };
        let Some(peer) = leadership.peers.get(&member) else { return false };
        let heard = leadership.recent_pings.front().is_some_and(|oldest| peer.answered_round >= *oldest);
        let lacks = self.log.last().slot.0.saturating_sub(peer.matched.0);
        heard && peer.stage == PeerStage::Synchronised && lacks <= self.config.in_sync_entries
    }

    fn last_word(&self) -> Option<Message> {
        self.log.mark_at(self.decided).map(|through| Message::Committed { through })
    }

    fn close(&mut self, out: &mut Outbox<Broadcast>) {
        self.leave_position("the configuration is over", out);
    }

    /// It looks since it opened; everybody hears its vote again.
    fn campaign(&mut self, out: &mut Outbox<Broadcast>) {
        self.notify_again(out);
    }

    fn succession_interval(config: &Config) -> Duration {
        config.sync_limit()
    }

    fn largest_quorum(_: &Config, members: &Membership) -> usize {
        members.voters().count() / 2 + 1
    }

    fn judge(_: &Config, _: &Membership) -> Result<(), &'static str> {
        Ok(())
    }
}
