//! What the succession of configurations needs of one.

use crate::ballot::Payload;
use crate::config::Config;
use crate::handover::UNDER_WAY;
use crate::message::Message;
use crate::record::{Anchor, Record};
use crate::replica::{Ballots, Position, Timer};
use quorate_protocol::{LedReads, LogChange, OpenError, Outbox, Refusal, SnapshotId, StoredLog};
use quorate_succession::Heir;
use quorate_types::{Membership, NodeId, Slot, Ticket};
use std::collections::BTreeMap;
use std::time::Duration;

impl Heir for Ballots {
    const SUCCESSION: Timer = Timer::Succession;

    fn founding(config: &Config, members: &Membership, behind: Slot) -> Anchor {
        Anchor { slot: behind, members: members.clone(), quorums: config.quorums.clone() }
    }

    fn members(anchor: &Anchor) -> &Membership {
        &anchor.members
    }

    fn quorum_sizes(anchor: &Anchor) -> BTreeMap<usize, usize> {
        anchor.quorums.iter().map(|(voters, sizes)| (*voters, sizes.phase1.max(sizes.phase2))).collect()
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
        let Record::Accepted { first, payloads, .. } = record else { return None };
        let decisions = payloads.iter().map(Payload::decision).collect();
        Some(LogChange { first: *first, decisions, ends_log: false })
    }

    fn anchor_at(&self, through: Slot) -> Option<Anchor> {
        self.describe(through)
    }

    fn stop(&mut self, next: Membership, out: &mut Outbox<Ballots>) -> Result<(), Refusal> {
        let settled = self.leads_settled();
        let Position::Leader(leadership) = &mut self.position else {
            return Err(Refusal::NotLeader { hint: self.leader });
        };
        if leadership.stop_at.is_some() {
            return Err(Refusal::NotReady("another change of the members is in progress"));
        }
        if leadership.transfer.is_some() {
            return Err(Refusal::NotReady(UNDER_WAY));
        }
        if !settled {
            return Err(Refusal::NotReady("what earlier leaders left is not chosen yet"));
        }
        leadership.stop_at = Some(leadership.last.next());
        // Another leader may find the stop-sign, and the next configuration go on, before this one knows.
        let reads = std::mem::take(&mut leadership.reads);
        self.fail_reads(reads, out);
        self.append(Payload::Stop(next), out);
        Ok(())
    }

    fn decided_stop(&self) -> Option<Membership> {
        match &self.log.get(self.decided)?.payload {
            Payload::Stop(next) => Some(next.clone()),
            Payload::Command(_) | Payload::NoOp => None,
        }
    }

    fn keeps_up(&self, member: NodeId) -> bool {
        let Position::Leader(leadership) = &self.position else { return false };
        let Some(peer) = leadership.peers.get(&member) else { return false };
        leadership.answers(peer) && peer.matched.0.saturating_add(self.config.in_sync_entries) >= leadership.last.0
    }

    fn last_word(&self) -> Option<Message> {
        self.news_of_chosen()
    }

    fn close(&mut self, out: &mut Outbox<Ballots>) {
        self.step_down("the configuration is over", out);
        self.set_leader(None, out);
        self.fail_asked_reads(out);
    }

    fn campaign(&mut self, out: &mut Outbox<Ballots>) {
        self.campaign_now(None, out);
    }

    fn succession_interval(config: &Config) -> Duration {
        config.election_timeout
    }

    fn largest_quorum(config: &Config, members: &Membership) -> usize {
        let sizes = config.quorums_of(members).map(|sizes| sizes.phase1().max(sizes.phase2()));
        sizes.unwrap_or(usize::MAX)
    }

    fn judge(config: &Config, members: &Membership) -> Result<(), &'static str> {
        config
            .quorums_of(members)
            .map(|_| ())
            .map_err(|_| "the quorum sizes of the settings do not suit so many voters")
    }
}
