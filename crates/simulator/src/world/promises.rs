//! What must always hold, whatever the faults.

use super::World;
use super::config::WorldConfig;
use super::host::Host;
use crate::act::Moment;
use crate::marks::Mark;
use quorate_machine::StateMachine;
use quorate_node::{BootError, Node, NodeMessage, NodeOutput};
use quorate_protocol::{Replica, Role, era_words};
use quorate_types::{ClusterId, DiskId, NodeId, Slot, Time};
use std::collections::BTreeMap;
use std::fmt;

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenPromise {
    /// Which property.
    pub property: &'static str,
    /// With which values.
    pub detail: String,
    /// When it was noticed.
    pub at: Time,
    /// By or at whom; `None` for the cluster as a whole.
    pub node: Option<NodeId>,
}

impl fmt::Display for BrokenPromise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is violated at {}: {}", self.property, self.at, self.detail)
    }
}

/// What was promised so far.
#[derive(Debug, Default)]
pub(super) struct Promises {
    pub(super) broken: Option<BrokenPromise>,
    /// By slot, from 1: the digest behind it and who applied it first.
    applied: Vec<Option<(u64, NodeId)>>,
    /// The same of those who store no data, whose state is the members alone.
    witnessed: BTreeMap<Slot, (u64, NodeId)>,
    /// The era of the entry in a slot, and who applied it first.
    eras: BTreeMap<Slot, (u64, NodeId)>,
    /// Who led first in an era, and since when.
    leaders: BTreeMap<u64, (NodeId, Time)>,
    last_leader: Option<NodeId>,
}

impl<R: Replica, S: StateMachine> World<R, S> {
    /// The highest slot that any node has applied.
    #[must_use]
    pub fn highest_applied(&self) -> Slot {
        Slot(self.promises.applied.len() as u64)
    }

    /// Who was the first to apply it.
    #[must_use]
    pub fn furthest(&self) -> Option<NodeId> {
        self.promises.applied.last().copied().flatten().map(|(_, node)| node)
    }

    /// `Agreement`, over all nodes and incarnations: equal state behind equal slots, and entries of one era in them. And a node
    /// applies every slot in order, but for those that come with a snapshot. Of those who store no data the eras are compared with
    /// everybody's, and the states with each other's.
    /// Says whether this is the first node to apply the slot.
    pub(super) fn check_applied(&mut self, id: NodeId, slot: Slot, digest: u64) -> bool {
        let Some(host) = self.hosts.get_mut(&id) else { return false };
        let before = std::mem::replace(&mut host.seen.applied, slot);
        if before != Slot::ZERO && slot != before.next() && !(slot > before && host.has_installed_a_snapshot()) {
            self.report_broken("AppliedInOrder", Some(id), format!("{id} applies slot {slot} right after {before}"));
        }
        if self.check_era(id, slot) {
            return self.check_witnessed(id, slot, digest);
        }
        let Some(at) = usize::try_from(slot.0).ok().and_then(|slot| slot.checked_sub(1)) else {
            self.report_broken("AppliedInOrder", Some(id), format!("{id} applies slot {slot}"));
            return false;
        };
        if self.promises.applied.len() <= at {
            self.promises.applied.resize(at + 1, None);
        }
        match self.promises.applied[at] {
            None => {
                self.promises.applied[at] = Some((digest, id));
                true
            }
            Some((known, _)) if known == digest => false,
            Some((known, other)) => {
                let detail = format!(
                    "behind slot {slot} the state of {id} has digest {digest:016x}, but that of {other} had {known:016x}"
                );
                self.report_broken("Agreement", Some(id), detail);
                false
            }
        }
    }

    /// Compares the era in which the entry was made, if it is still known. Says whether the node stores no data.
    fn check_era(&mut self, id: NodeId, slot: Slot) -> bool {
        let node = self.hosts.get(&id).and_then(|host| host.node.as_ref());
        if let Some(era) = node.and_then(|node| node.replica().era_at(slot)) {
            let (known, other) = *self.promises.eras.entry(slot).or_insert((era, id));
            if known != era {
                let (era, known) = (era_words(era), era_words(known));
                let detail = format!("slot {slot} is of era {era} at {id}, and was of era {known} at {other}");
                self.report_broken("Agreement", Some(id), detail);
            }
        }
        self.is_witness(id)
    }

    /// Never the first to apply anything: it has nothing.
    fn check_witnessed(&mut self, id: NodeId, slot: Slot, digest: u64) -> bool {
        let (known, other) = *self.promises.witnessed.entry(slot).or_insert((digest, id));
        if known != digest {
            let detail = format!(
                "behind slot {slot} witness {id} has digest {digest:016x}, but witness {other} had {known:016x}"
            );
            self.report_broken("Agreement", Some(id), detail);
        }
        false
    }

    /// The latest era in which anybody led; 0 if nobody ever did.
    pub(super) fn latest_era_led(&self) -> u64 {
        self.promises.leaders.last_key_value().map_or(0, |(era, _)| *era)
    }

    /// The latest era in which this node led.
    pub(super) fn latest_era_of(&self, id: NodeId) -> Option<u64> {
        self.promises.leaders.iter().rev().find(|(_, (leader, _))| *leader == id).map(|(era, _)| *era)
    }

    /// Who came to lead last.
    pub(super) fn last_leader(&self) -> Option<NodeId> {
        self.promises.last_leader
    }

    /// `ElectionSafety`: one leader per era, in every protocol that has leaders. To be called before what a node says leaves it: it may
    /// crash at that moment.
    pub(super) fn check_who_leads(&mut self, id: NodeId, outputs: &[NodeOutput<R, S>]) {
        let Some(status) = self.node(id).map(|node| node.replica().status()) else { return };
        let seen_before = self.hosts.get(&id).and_then(|host| host.seen.led);
        // Who comes to lead may find in the same settle that its configuration is over: what it said last is what it is now.
        let said = outputs.iter().filter_map(|output| match output {
            NodeOutput::Lead { era, who, .. } => Some((*era, *who)),
            _ => None,
        });
        let said: Vec<(u64, Option<NodeId>)> = said.collect();
        for (era, who) in said.iter().rev().skip(1).rev() {
            if *who == Some(id) {
                self.note_reign(id, *era);
            }
        }
        if status.role == Role::Leader {
            self.note_reign(id, status.era);
            if seen_before != Some(status.era) {
                self.elected_last = Some(id);
            }
        }
    }

    fn note_reign(&mut self, id: NodeId, era: u64) {
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.seen.led != Some(era)) else { return };
        host.seen.led = Some(era);
        if self.promises.last_leader.replace(id).is_some_and(|before| before != id) {
            self.mark(Mark::LeaderChange);
        }
        self.note_new_leader(id);
        let (first, _) = *self.promises.leaders.entry(era).or_insert((id, self.now));
        if first != id {
            let detail = format!("both {first} and {id} lead in era {}", era_words(era));
            self.report_broken("ElectionSafety", Some(id), detail);
        }
    }

    /// `AnsweredInTime`: what is asked behind the election of a leader is not answered in an era before that leader's. A read, or a
    /// lease's renewal, that rests on a deposed leader seldom meets something it contradicts, and nobody need wait until one does.
    /// Writes are not asked: an answer that is kept may be given again by anybody. Who does not lead passes on what a leader says, and may do
    /// so before it hears of the era which that one was elected in.
    pub(super) fn check_answered_in_time(&mut self, id: NodeId, called_at: Time) {
        let Some(status) = self.node(id).map(|node| node.replica().status()) else { return };
        let passed_on = (status.role != Role::Leader).then_some(self.heard_from.iter().copied().chain(status.leader));
        let told = passed_on.into_iter().flatten().filter_map(|leader| self.latest_era_of(leader)).max();
        let era = told.map_or(status.era, |told| told.max(status.era));
        let elected_before = |(_, (_, since)): &(&u64, &(NodeId, Time))| *since < called_at;
        let Some((newest, (leader, since))) = self.promises.leaders.iter().rev().find(elected_before) else { return };
        if *newest > era {
            let (era, newest) = (era_words(era), era_words(*newest));
            let detail = format!(
                "{id} gives an answer of era {era} to what it was asked at {called_at}, and {leader} led in era {newest} since {since}"
            );
            self.report_broken("AnsweredInTime", Some(id), detail);
        }
    }

    /// `Monotone`, and the replica's own invariants.
    pub(super) fn check_after_settle(&mut self, id: NodeId) {
        let deep = self.check_random.happens(self.config.checks.deep);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let Some(node) = host.node.as_ref() else { return };
        let checked = if deep { node.replica().check_deep() } else { Ok(()) };
        let status = node.replica().status();
        let (seen, installs) = (host.seen, node.snapshots_installed());
        host.seen.installs = installs;
        host.seen.era = status.era;
        host.seen.committed = status.committed;
        host.seen.last = status.last;
        if !host.journal_busy {
            host.durable_era = host.durable_era.max(status.era);
        }
        if status.last < seen.last {
            self.mark(Mark::LogTruncated);
        }
        if status.committed > seen.committed {
            self.committed_last = Some(id);
        }
        if let Err(violation) = checked {
            self.report_broken(violation.invariant, Some(id), format!("{id}: {}", violation.detail));
        }
        if status.era < seen.era {
            let detail = format!("the era of {id} goes from {} back to {}", seen.era, status.era);
            self.report_broken("Monotone", Some(id), detail);
        }
        if status.committed < seen.committed {
            let detail = format!("the commit mark of {id} goes from {} back to {}", seen.committed, status.committed);
            self.report_broken("Monotone", Some(id), detail);
        }
        if installs > seen.installs {
            self.moment(id, Moment::Installed);
        }
    }

    /// `Monotone` over a restart: nothing that was durable is forgotten, and no incarnation is lived twice.
    pub(super) fn check_after_start(&mut self, id: NodeId, incarnation_before: u64) {
        let Some(host) = self.hosts.get(&id) else { return };
        let Some(status) = host.node.as_ref().map(Node::status) else { return };
        let (era, incarnation) = (status.protocol.era, status.incarnation.0);
        let went_back = [
            ("in era", era, host.durable_era, era < host.durable_era),
            (
                "with slots applied up to",
                status.checkpointed.0,
                host.checkpointed.0,
                status.checkpointed < host.checkpointed,
            ),
            ("as incarnation", incarnation, incarnation_before, incarnation <= incarnation_before),
        ];
        if let Some((what, now, before, _)) = went_back.into_iter().find(|(_, _, _, broken)| *broken) {
            self.report_broken(
                "Monotone",
                Some(id),
                format!("{id} comes back {what} {now}, after {before} was durable"),
            );
        }
    }

    /// The durability ghost: what a message claims must be recoverable from the synced-only image of its sender's disks at
    /// the moment it is sent. Finds what a lucky crash would be needed for otherwise.
    pub(super) fn check_ghost(&mut self, from: NodeId, to: NodeId, message: &NodeMessage<R>) {
        let NodeMessage::Protocol(claim) = message else { return };
        if !self.check_random.happens(self.config.checks.ghost) {
            return;
        }
        // Of damaged disks nothing can be demanded but that the node, opened on them, stops.
        let Some(host) = self.hosts.get_mut(&from) else { return };
        if host.is_damaged() {
            return;
        }
        let opened = host.open_ghost(self.config.cluster, &self.config);
        self.marks.hit(Mark::GhostAsked);
        let why = match opened {
            Ok(ghost) if ghost.vouches(to, claim) => return,
            Ok(_) => "a replica opened from its synced disks alone does not stand by it".to_owned(),
            Err(why) => format!("its synced disks alone do not open: {why}"),
        };
        self.report_broken("DurabilityGhost", Some(from), format!("{from} sends {claim:?} to {to}, but {why}"));
    }
}

impl<R: Replica, S: StateMachine> Host<R, S> {
    /// Whether it has installed one since it was last asked.
    fn has_installed_a_snapshot(&mut self) -> bool {
        let installed = self.node.as_ref().map_or(0, |node| node.snapshots_installed());
        std::mem::replace(&mut self.seen.snapshots, installed) < installed
    }

    /// The replica that the synced-only disks would open; opened anew only when something became durable since.
    fn open_ghost(&mut self, cluster: ClusterId, config: &WorldConfig<R>) -> Result<&R, BootError> {
        let is_current = self.ghost.as_ref().is_some_and(|(at, _)| *at == self.flushes);
        if !is_current {
            let boot = self.boot(cluster, DiskId(0));
            let ghost =
                Node::<R, S>::ghost(&boot, &config.settings_of(self.id), &self.journal.synced(), &self.store.synced())?;
            self.ghost = Some((self.flushes, ghost));
        }
        Ok(&self.ghost.as_ref().expect("it was just opened").1)
    }
}
