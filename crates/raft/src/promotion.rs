//! Learners that catch up, and become voters (dissertation, 4.2.1).
//!
//! What a learner lacks is copied in rounds: each copies what the leader's log held when the round began. A learner is in sync
//! when its last round took less than an election timeout, for then it would not hold up commits for longer than that. A
//! round also ends only with the answer to a heartbeat sent after it began, so that a learner which is silent, with nothing to
//! copy, is not taken for one that keeps up. Time is counted in the leader's heartbeats.

use crate::config::Config;
use crate::election::Position;
use crate::leading::Leadership;
use crate::progress::Progress;
use crate::replica::Raft;
use crate::rules;
use quorate_protocol::{Event, Outbox};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};
use std::collections::BTreeMap;

/// How a learner keeps up, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CatchUp {
    /// The leader's last slot when the round of copying began.
    pub(crate) target: Slot,
    /// The leader's round of heartbeats then.
    pub(crate) round: u64,
    /// So many heartbeats ago.
    pub(crate) heartbeats: u32,
    /// The last round took less than an election timeout, and this one has not taken longer yet.
    pub(crate) in_sync: bool,
}

impl CatchUp {
    /// The first round.
    #[must_use]
    pub fn begin(target: Slot, round: u64) -> CatchUp {
        CatchUp { target, round, heartbeats: 0, in_sync: false }
    }

    /// A heartbeat interval is over.
    pub fn heartbeat(&mut self) {
        self.heartbeats = self.heartbeats.saturating_add(1);
    }

    /// Whether it could vote without holding anything up.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// Taken to be in sync until this round has taken too long.
    pub(crate) fn believe(&mut self) {
        self.in_sync = true;
    }

    /// Not taken to be in sync before this round is over; says whether it was.
    pub(crate) fn doubt(&mut self) -> bool {
        std::mem::take(&mut self.in_sync)
    }
}

/// Ends the rounds of copying that are complete and begins the next, with the leader's last slot and round as they are now.
pub(crate) fn note_catch_up(
    watched: &mut BTreeMap<NodeId, CatchUp>,
    peers: &BTreeMap<NodeId, Progress>,
    (last, round): (Slot, u64),
    election_timeout_heartbeats: u32,
    out: &mut Outbox<Raft>,
) {
    for (id, catch_up) in watched {
        let Some(progress) = peers.get(id) else { continue };
        let in_time = catch_up.heartbeats < election_timeout_heartbeats;
        if progress.matched >= catch_up.target && progress.answered_round > catch_up.round {
            *catch_up = CatchUp { in_sync: in_time, ..CatchUp::begin(last, round) };
        } else if catch_up.in_sync && !in_time {
            catch_up.in_sync = false;
            let slot = catch_up.target;
            out.trace(|| Event::refused(&rules::CATCH_UP).with("peer", *id).with("slot", slot));
        }
    }
}

impl Leadership {
    /// Whether this learner could vote without holding anything up.
    #[must_use]
    pub fn is_in_sync(&self, learner: NodeId) -> bool {
        self.learners.get(&learner).is_some_and(CatchUp::is_in_sync)
    }
}

impl Raft {
    /// At a leader: how learners keep up, and where there are witnesses also voters.
    pub(crate) fn watch_learners(&mut self, out: &mut Outbox<Raft>) {
        let last = self.log.last();
        let heartbeats = election_timeout_heartbeats(&self.config);
        if let Position::Leader(leadership) = &mut self.position {
            let now = (last, leadership.round);
            note_catch_up(&mut leadership.learners, &leadership.peers, now, heartbeats, out);
        }
        self.watch_attendance(heartbeats, out);
    }

    /// At a leader, with no change in progress: those who joined and caught up become voters, all in one change. Looked at
    /// once per heartbeat, so that those who joined together get in together.
    pub(crate) fn promote(&mut self, out: &mut Outbox<Raft>) {
        let Position::Leader(leadership) = &mut self.position else { return };
        if !std::mem::take(&mut leadership.promotion_due) || leadership.learners.is_empty() {
            return;
        }
        let Position::Leader(leadership) = &self.position else { return };
        let present = &self.configurations.in_force().members;
        let is_ready = |member: &Member| member.role == MemberRole::Joining && leadership.is_in_sync(member.id);
        let ready: Vec<NodeId> =
            present.members().iter().filter(|member| is_ready(member)).map(|member| member.id).collect();
        if ready.is_empty() || self.why_no_change_now(leadership).is_some() {
            return;
        }
        let members = present.members().iter().cloned().map(|member| match ready.contains(&member.id) {
            true => Member { role: MemberRole::Voter, ..member },
            false => member,
        });
        let members = Membership::new(members);
        out.trace(|| Event::allowed(&rules::CATCH_UP).with("peers", ready));
        self.begin_change(members, out);
    }
}

/// At least 10, as the settings demand.
fn election_timeout_heartbeats(config: &Config) -> u32 {
    let heartbeats = config.election_timeout.as_nanos() / config.heartbeat_interval.as_nanos().max(1);
    u32::try_from(heartbeats).unwrap_or(u32::MAX)
}
