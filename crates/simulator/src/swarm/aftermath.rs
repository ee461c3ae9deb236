//! When the faults are over: whoever is left must serve, and everything that clients saw must be explained.

use super::history::History;
use super::judge;
use super::subject::{Judged, Standing, Subject};
use crate::world::World;
use quorate_protocol::era_words;
use quorate_types::{MemberRole, Membership, NodeId, Slot, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Within so many times its patience after the storm, a cluster must serve at every live node. With sensible settings ten are
/// enough; drawn ones have windows and batches so small that a laggard may take longer to catch up.
pub(super) const LIVE_AFTER_HEAL_PATIENCES: u32 = 20;
/// A log that arrives slot by slot after that must be there within so many times its patience more.
const CATCH_UP_PATIENCES: u64 = 64;

/// A world in which nothing goes wrong any more, and what its clients know.
pub(crate) struct Aftermath<'a, R: Subject, S: Judged> {
    pub(crate) world: &'a mut World<R, S>,
    pub(crate) history: &'a mut History,
    pub(crate) times: Times,
}

/// What is to be expected of it, in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// How long silence lasts before somebody else takes over.
    pub(crate) patience: Duration,
    /// No call may take longer.
    pub(crate) longest_call: Duration,
    /// How often the log says what is left of a lease.
    pub(crate) lease_checkpoints_every: Duration,
}

impl<R: Subject, S: Judged> Aftermath<'_, R, S> {
    /// Repairs everything but `left_down`, which is broken for ever, and demands of whoever runs then what is to be demanded; the
    /// first finding is reported to the world. Of fewer than a majority only that what was answered agrees with itself. Says whether
    /// more than that was demanded.
    pub(crate) fn examine(mut self, left_down: &[NodeId]) -> bool {
        self.world.repair(left_down);
        self.world.stop_recording();
        if !left_down.is_empty() {
            self.hear_the_dead();
        }
        if self.has_quorum() {
            let Some((core, deadline)) = self.await_answers() else { return true };
            // What was asked before may have been carried out since: of the members there are now, too many may stay down for ever.
            if self.has_quorum() {
                let is_live = self.check_live(&core, deadline)
                    && self.check_members(&core)
                    && self.check_removed()
                    && self.check_transfer(&core);
                let leases_end = is_live && self.check_leases_end(&core) && self.check_leases_end_under_changes(&core);
                if leases_end && self.world.broken_promise().is_none() {
                    judge::judge(self.world, self.history, &core);
                }
                return true;
            }
        }
        let over = self.every_call_over();
        self.run_until(over);
        if self.world.broken_promise().is_none() {
            judge::judge_answers(self.world, self.history);
        }
        false
    }

    /// Waits until nothing is on its way any more from a life that is over. What they said last may be on no disk that is left but a
    /// witness's, and then nobody is newer than this witness who has the data: if its vote is needed, nobody can be elected.
    fn hear_the_dead(&mut self) {
        if let Some(last) = self.world.last_words_arrive_at() {
            self.run_until(last + self.times.patience);
        }
    }

    /// Whether somebody who runs can get things decided, by the members that it goes by, with the votes of those it reaches. Who has the
    /// newest log of these is elected sooner or later, and its members count from then on: a wish that reached its log, though
    /// perhaps nobody else's, may leave a cluster without a majority, and one that reached only logs which may be outvoted may not.
    pub(super) fn has_quorum(&self) -> bool {
        let running: Vec<NodeId> = self.members_running();
        let stands = |node: &NodeId| Some((*node, self.world.node(*node)?.replica().standing()));
        let standings: BTreeMap<NodeId, Standing> = running.iter().filter_map(stands).collect();
        if !self.may_all_follow(&standings) {
            return false;
        }
        standings.iter().filter(|(node, _)| !self.world.is_witness(**node)).any(|(node, own)| {
            let reaches = |other: NodeId| !self.world.is_blocked(*node, other) && !self.world.is_blocked(other, *node);
            let agrees = |voter: &&NodeId| {
                reaches(**voter) && standings.get(*voter).is_some_and(|other| other.log_end <= own.log_end)
            };
            let carried = |half: &Vec<NodeId>| half.iter().filter(agrees).count() * 2 > half.len();
            own.halves.iter().any(|half| half.contains(node)) && own.halves.iter().all(carried)
        })
    }

    /// Whether every wish for other members that somebody may find and bring about leaves a majority running. What was wished for in
    /// a configuration that is over counts for nothing.
    fn may_all_follow(&self, standings: &BTreeMap<NodeId, Standing>) -> bool {
        let newest = standings.values().map(|standing| standing.log_end.0).max();
        let present = standings.values().filter(|standing| Some(standing.log_end.0) == newest);
        let mut wished = present.filter_map(|standing| standing.may_follow.as_ref());
        wished.all(|voters| voters.iter().filter(|voter| standings.contains_key(voter)).count() * 2 > voters.len())
    }

    /// When every call made by now has ended, on the slowest clock there may be.
    fn every_call_over(&self) -> Time {
        self.world.now() + self.times.longest_call * 10 / 9 + self.times.patience * 2
    }

    /// Those who are not known to be members no more, and run.
    fn members_running(&self) -> Vec<NodeId> {
        self.world.nodes().filter(|node| self.world.is_running(*node) && !self.world.is_removed(*node)).collect()
    }

    /// Whether somebody leads, and goes by members that are decided.
    fn members_are_decided(&self) -> bool {
        let leader = self.world.leader().and_then(|leader| self.world.node(leader));
        leader.is_some_and(|leader| {
            let in_force = leader.replica().status().membership;
            let roles =
                |members: &Membership| members.members().iter().map(|member| (member.id, member.role)).collect();
            let (in_force, decided): (Vec<_>, Vec<_>) = (roles(&in_force), roles(self.world.members()));
            in_force == decided
        })
    }

    /// `LiveAfterHeal`: all calls end. The members who run then, and are to serve, and until when they must.
    fn await_answers(&mut self) -> Option<(Vec<NodeId>, Time)> {
        let every_call_over = self.every_call_over();
        if !self.run_while(every_call_over, |after| after.history.waiting() > 0 || after.world.asks_waiting() > 0) {
            let members = self.members_running();
            self.not_live("a call is still without an answer", &members);
            return None;
        }
        if self.world.members_change() {
            // A leader may still hold what it was asked about the members.
            let settled = self.every_call_over();
            self.run_until(settled);
        }
        let deadline = self.world.now() + self.times.patience * LIVE_AFTER_HEAL_PATIENCES;
        if self.world.members_change() {
            // Or nobody led for so long, and a change that was in the log goes on only now. What that takes is theirs.
            self.run_while(deadline, |after| !after.members_are_decided());
        }
        let members = self.world.members().clone();
        let serves = |node: &NodeId| members.contains(*node) && !self.world.is_witness(*node);
        Some((self.members_running().into_iter().filter(serves).collect(), deadline))
    }

    /// `RetiredOnlyWhenRemoved`: who stopped for that is a member no more. `LeaderIsAMember`: who was removed does not lead on.
    /// `PromotedInTheEnd`: who joins, and runs, gets to vote.
    fn check_members(&mut self, core: &[NodeId]) -> bool {
        if let Some(wrong) = self.world.retired().iter().copied().find(|node| !self.world.is_removed(*node)) {
            let detail = format!("{wrong} retired, but was not removed");
            self.world.report_broken("RetiredOnlyWhenRemoved", Some(wrong), detail);
            return false;
        }
        let outsider = |after: &Self| after.world.leader().filter(|leader| !after.world.members().is_voter(*leader));
        let deadline = self.world.now() + self.times.patience * LIVE_AFTER_HEAL_PATIENCES;
        if !self.run_while(deadline, |after| outsider(after).is_some()) && self.world.broken_promise().is_none() {
            let detail = format!("faults are over and {:?}, who has no vote, leads on", outsider(self));
            self.world.report_broken("LeaderIsAMember", outsider(self), detail);
            return false;
        }
        let joins = |after: &Self| {
            let members = after.world.members();
            core.iter()
                .copied()
                .find(|node| members.get(*node).is_some_and(|member| member.role == MemberRole::Joining))
        };
        let deadline = self.world.now() + self.times.patience * LIVE_AFTER_HEAL_PATIENCES;
        if self.run_while(deadline, |after| joins(after).is_some()) || self.world.broken_promise().is_some() {
            return true;
        }
        let detail = format!("faults are over and {:?} joins and runs, but has no vote yet", joins(self));
        self.world.report_broken("PromotedInTheEnd", joins(self), detail);
        false
    }

    /// `RemovedGo`: who was removed and runs hears of it, and ends by itself.
    fn check_removed(&mut self) -> bool {
        let lingers =
            |after: &Self| after.world.removed().find(|node| after.world.is_running(*node) && after.is_reached(*node));
        let deadline = self.world.now() + self.times.patience * LIVE_AFTER_HEAL_PATIENCES;
        if self.run_while(deadline, |after| lingers(after).is_some()) || self.world.broken_promise().is_some() {
            return true;
        }
        let detail = format!("faults are over and {:?}, which was removed, still runs", lingers(self));
        self.world.report_broken("RemovedGo", lingers(self), detail);
        false
    }

    /// Whether it and some running member reach each other.
    fn is_reached(&self, node: NodeId) -> bool {
        let is_open = |peer: &NodeId| !self.world.is_blocked(node, *peer) && !self.world.is_blocked(*peer, node);
        self.members_running().iter().any(is_open)
    }

    /// `TransferInTheEnd`: somebody else who votes and runs comes to lead when asked to.
    fn check_transfer(&mut self, core: &[NodeId]) -> bool {
        let members = self.world.members().clone();
        let leader = self.world.leader();
        let heir = core.iter().copied().find(|node| Some(*node) != leader && members.is_voter(*node));
        let Some(heir) = heir.filter(|_| R::LEADERS_MOVE) else { return true };
        let deadline = self.world.now() + self.times.patience * LIVE_AFTER_HEAL_PATIENCES;
        while self.world.now() < deadline && self.world.broken_promise().is_none() {
            self.world.ask_for_leader(heir, heir);
            let asked = |after: &Self| after.world.leader() != Some(heir) && after.world.asks_waiting() > 0;
            self.run_while(deadline, asked);
            if self.world.leader() == Some(heir) {
                return true;
            }
            let again = self.world.now() + self.times.patience / 4;
            self.run_until(again);
        }
        if self.world.broken_promise().is_some() {
            return true;
        }
        let detail = format!("faults are over and {heir}, which votes and runs, does not come to lead when asked to");
        self.world.report_broken("TransferInTheEnd", Some(heir), detail);
        false
    }

    /// `LiveAfterHeal`: everything decided is applied at every live node, also if nobody writes any more; a new write at every live node
    /// is decided, and applied everywhere; every key can be read.
    fn check_live(&mut self, core: &[NodeId], mut deadline: Time) -> bool {
        if R::SLOTS.is_none() && !self.all_apply(core, &mut deadline) {
            return self.not_live("not every node has applied everything, and nobody writes", core);
        }
        for node in core {
            if !self.answered_at(*node, deadline, |history, world| history.probe_write(world, *node)) {
                return self.not_live(&format!("a new write at {node} is not decided"), core);
            }
        }
        if !self.all_apply(core, &mut deadline) {
            return self.not_live("not every node has applied everything", core);
        }
        for node in core {
            if !self.answered_at(*node, deadline, |history, world| history.probe_read(world, *node)) {
                return self.not_live(&format!("a read at {node} is not answered"), core);
            }
        }
        true
    }

    /// Where pieces are small and links slow, an image takes its time: for as long as more of it arrives the deadline moves, for each
    /// node twice at most, for what came while one travelled may need another. So does a log of which one slot travels at a time, to a
    /// node that no quorum had to wait for: it moves for as long as so much of it arrives that it will be there soon enough. And behind an
    /// image that was still on its way, which may have kept a quorum from a next configuration, there is as much time as after a storm.
    fn all_apply(&mut self, core: &[NodeId], deadline: &mut Time) -> bool {
        let lags = |after: &Self| core.iter().any(|node| after.applied(*node) != Some(after.world.highest_applied()));
        let installed_before: BTreeMap<NodeId, u64> =
            core.iter().filter_map(|node| Some((*node, self.world.node(*node)?.snapshots_installed()))).collect();
        let mut arrived: BTreeMap<(NodeId, u64), u64> = BTreeMap::new();
        let mut until = *deadline;
        let mut lacked = self.lacking(core);
        let mut arrives_soon_enough = None;
        while !self.run_while(until, lags) {
            let more = core.iter().filter(|node| self.more_arrived(**node, &installed_before, &mut arrived)).count();
            let lacking = self.lacking(core);
            let enough = *arrives_soon_enough.get_or_insert((lacking / CATCH_UP_PATIENCES).max(1));
            let catches_up = lacking + enough <= std::mem::replace(&mut lacked, lacking);
            if (more == 0 && !catches_up) || self.world.broken_promise().is_some() {
                return false;
            }
            until = until + self.times.patience;
            *deadline = until + self.times.patience * LIVE_AFTER_HEAL_PATIENCES;
        }
        if core.iter().any(|node| self.has_installed(*node, &installed_before)) {
            *deadline = (*deadline).max(self.world.now() + self.times.patience * LIVE_AFTER_HEAL_PATIENCES);
        }
        true
    }

    fn has_installed(&self, node: NodeId, before: &BTreeMap<NodeId, u64>) -> bool {
        let installed = self.world.node(node).map(|running| running.snapshots_installed());
        installed.is_some_and(|installed| before.get(&node).is_some_and(|before| *before < installed))
    }

    /// So many slots are decided and not applied at all of them, added up.
    fn lacking(&self, core: &[NodeId]) -> u64 {
        let highest = self.world.highest_applied().0;
        core.iter().filter_map(|node| self.applied(*node)).map(|applied| highest.saturating_sub(applied.0)).sum()
    }

    /// Whether more of an image has arrived at a node than ever of that one. What begins again and again does not count.
    fn more_arrived(
        &self,
        node: NodeId,
        installed_before: &BTreeMap<NodeId, u64>,
        arrived: &mut BTreeMap<(NodeId, u64), u64>,
    ) -> bool {
        let Some(running) = self.world.node(node) else { return false };
        let installed = running.snapshots_installed();
        let further = installed.saturating_sub(installed_before.get(&node).copied().unwrap_or(installed));
        let Some((_, bytes)) = running.snapshot_status().receiving.filter(|_| further < 2) else { return false };
        let most = arrived.entry((node, further)).or_default();
        std::mem::replace(most, bytes.max(*most)) < bytes
    }

    /// Calls again and again until one is answered.
    fn answered_at(
        &mut self,
        node: NodeId,
        deadline: Time,
        mut call: impl FnMut(&mut History, &mut World<R, S>),
    ) -> bool {
        while self.world.now() < deadline && self.world.broken_promise().is_none() {
            let answered = self.history.answered_at(node);
            call(self.history, self.world);
            if !self.run_while(deadline, |after| after.history.waiting() > 0) {
                return false;
            }
            if self.history.answered_at(node) > answered {
                return true;
            }
            let again = self.world.now() + self.times.patience / 4;
            self.run_until(again);
        }
        false
    }

    /// `LeasesEnd`: nobody renews any more, so every lease ends everywhere: after its time on the slowest clock, twice over
    /// because a leader that comes to lead meanwhile begins anew, and the time it takes to agree.
    fn check_leases_end(&mut self, core: &[NodeId]) -> bool {
        let is_left = |after: &Self| core.iter().any(|node| after.leases_at(*node) > 0);
        let longest = self.history.longest_lease() * 20 / 9;
        let deadline = self.world.now() + longest + self.times.patience * LIVE_AFTER_HEAL_PATIENCES;
        if self.run_while(deadline, is_left) || self.world.broken_promise().is_some() {
            return true;
        }
        let left: Vec<String> = core.iter().map(|node| format!("{} at {node}", self.leases_at(*node))).collect();
        let detail = format!("nobody renews for {longest:?} and more, and there are leases left: {}", left.join(", "));
        self.world.report_broken("LeasesEnd", None, detail);
        false
    }

    fn leases_at(&self, node: NodeId) -> usize {
        self.world.node(node).map_or(0, |node| node.state().leases().len())
    }

    fn applied(&self, node: NodeId) -> Option<Slot> {
        self.world.node(node).map(|node| node.applied())
    }

    fn not_live(&mut self, what: &str, core: &[NodeId]) -> bool {
        self.not_live_for("LiveAfterHeal", &format!("faults are over and {what}"), core)
    }

    pub(super) fn not_live_for(&mut self, property: &'static str, what: &str, core: &[NodeId]) -> bool {
        let states: Vec<String> = core
            .iter()
            .map(|node| match self.world.node(*node) {
                None => format!("{node} is down"),
                Some(running) => {
                    let status = running.status();
                    let (protocol, machine) = (status.protocol, status.machine);
                    format!(
                        "{node} is {} in era {}, log up to {}, durable {}, committed {}, applied {}, {} writes unanswered, \
                         {} forwarded ones waiting, {} proposals undecided",
                        protocol.role.name(),
                        era_words(protocol.era),
                        protocol.last,
                        protocol.durable,
                        protocol.committed,
                        machine.applied,
                        machine.outstanding_writes,
                        machine.forwarded_commands,
                        machine.proposals_in_flight
                    )
                }
            })
            .collect();
        let detail = format!("{what}; {}", states.join("; "));
        self.world.report_broken(property, None, detail);
        false
    }

    /// Runs while `needed`, up to `deadline`. Says whether it is no longer needed.
    pub(super) fn run_while(&mut self, deadline: Time, needed: impl Fn(&Self) -> bool) -> bool {
        self.take_results();
        while needed(self) {
            if self.world.next_at().is_none_or(|next| next > deadline) || !self.world.step() {
                return false;
            }
            self.take_results();
        }
        true
    }

    pub(super) fn run_until(&mut self, until: Time) {
        self.run_while(until, |_| true);
        if self.world.broken_promise().is_none() {
            self.world.run_until(until);
        }
    }

    /// No caller asks anything new, and no fault is due: alarms mean nothing any more.
    fn take_results(&mut self) {
        self.world.take_alarms();
        while !self.world.results().is_empty() {
            for result in self.world.take_results() {
                self.history.returned::<S>(result);
            }
        }
        self.history.look_at_leases(self.world);
    }
}
