//! Operators, who hand leadership over and let members come and go while everything else goes wrong.

use super::plan::{FaultClass, Plan};
use super::steering::Steering;
use super::subject::Subject;
use crate::act::{Act, Moment, Wish};
use crate::random::{Chance, Random, nanos};
use crate::world::World;
use quorate_machine::StateMachine;
use quorate_protocol::Replica;
use quorate_types::{MemberRole, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// What operators want to be reminded of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperatorAlarm {
    /// The next transfer.
    Transfer,
    /// The next change of the members.
    Members,
    /// A new node is switched on.
    SwitchOn(NodeId),
    /// A leader that was cut off before it was asked is linked with the others again.
    Reunite,
}

/// Reminders to set: after how long, of what.
pub(super) type Errands = Vec<(Duration, OperatorAlarm)>;

/// All operators of a run.
#[derive(Debug)]
pub(super) struct Operators {
    random: Random,
    steering: Steering,
    patience: Duration,
    /// Disks are lost or damaged: whoever is removed besides those would be missed.
    disks_break: bool,
    /// There is a storm: changes may be met by faults of their own.
    is_stormy: bool,
    /// The greatest id that was ever asked to join, and the greatest there is.
    last_spare: u64,
    spares_end: u64,
    /// Who is asked next: a leader that was cut off.
    asks_at: Option<NodeId>,
    counts: BTreeMap<&'static str, u64>,
    over: bool,
}

impl Operators {
    pub(super) fn new<R: Subject>(plan: &Plan, random: Random) -> Operators {
        let breaking = [FaultClass::Rot, FaultClass::WriteFault, FaultClass::Amnesia];
        Operators {
            random,
            steering: Steering {
                transfers: plan.steering.transfers.filter(|_| R::LEADERS_MOVE),
                members: plan.steering.members.filter(|_| R::MEMBERS_CHANGE),
                ..plan.steering.clone()
            },
            patience: plan.patience,
            disks_break: breaking.into_iter().any(|class| plan.has(class)),
            is_stormy: !plan.faults.is_empty(),
            last_spare: plan.voters,
            spares_end: plan.voters + plan.steering.spares,
            asks_at: None,
            counts: BTreeMap::new(),
            over: false,
        }
    }

    /// How often what was asked.
    pub(super) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    pub(super) fn begin(&mut self) -> Errands {
        let transfers = self.steering.transfers.map(|gap| (self.gap(gap), OperatorAlarm::Transfer));
        let members = self.steering.members.map(|gap| (self.gap(gap), OperatorAlarm::Members));
        transfers.into_iter().chain(members).collect()
    }

    /// They ask for nothing more.
    pub(super) fn end(&mut self) {
        self.over = true;
    }

    /// Does what is due. `doomed` are those whose disks may be lost.
    pub(super) fn alarm<R: Replica, S: StateMachine>(
        &mut self,
        alarm: OperatorAlarm,
        doomed: &[NodeId],
        world: &mut World<R, S>,
    ) -> Errands {
        if self.over {
            return Vec::new();
        }
        match alarm {
            OperatorAlarm::SwitchOn(node) => {
                world.act(&Act::StartJoining(node));
                Vec::new()
            }
            OperatorAlarm::Reunite => {
                world.act(&Act::Heal);
                Vec::new()
            }
            OperatorAlarm::Transfer => {
                self.transfer(world);
                self.steering.transfers.map(|gap| (self.gap(gap), alarm)).into_iter().collect()
            }
            OperatorAlarm::Members => {
                let mut errands = self.meet_with_a_fault(world);
                // Now and then several at once, at different nodes: one at a time is the leader's rule, not theirs.
                let changes = if self.random.happens(Chance::percent(20)) { self.random.between(2, 3) } else { 1 };
                for _ in 0..changes {
                    errands.extend(self.change_members(doomed, world));
                }
                errands.extend(self.steering.members.map(|gap| (self.gap(gap), alarm)));
                errands
            }
        }
    }

    /// Of any node, for any member that does not lead; now and then for one that cannot.
    fn transfer<R: Replica, S: StateMachine>(&mut self, world: &mut World<R, S>) {
        let leader = world.leader();
        let others: Vec<NodeId> = world.members().voters().filter(|voter| Some(*voter) != leader).collect();
        let everyone: Vec<NodeId> = world.nodes().collect();
        let pool = if others.is_empty() || self.random.happens(Chance::percent(5)) { &everyone } else { &others };
        let (Some(node), Some(to)) = (self.someone(world), self.random.pick(pool).copied()) else { return };
        self.count("move-leader");
        world.act(&Act::MoveLeader { node, to });
    }

    /// What hurts most in the middle of a change: the leader or everybody crashes at a drawn moment, or the leader is cut off with a
    /// minority and appends what it is asked where it can never be committed.
    fn meet_with_a_fault<R: Replica, S: StateMachine>(&mut self, world: &mut World<R, S>) -> Errands {
        if !self.is_stormy || !self.random.happens(Chance::percent(30)) {
            return Vec::new();
        }
        let Some(leader) = world.leader() else { return Vec::new() };
        let mut everyone: Vec<NodeId> = world.nodes().collect();
        if self.random.happens(Chance::percent(60)) {
            self.count("crash-in-change");
            let moment = *self.random.pick(&Moment::ALL).unwrap_or(&Moment::Sent);
            let victims = if self.random.happens(Chance::percent(40)) { everyone } else { vec![leader] };
            let victims = victims.into_iter().map(|node| (node, self.up_to_patiences(4))).collect();
            world.act(&Act::CrashAt { watched: leader, moment, victims });
            return Vec::new();
        }
        self.count("cut-off-in-change");
        everyone.retain(|node| *node != leader);
        self.random.shuffle(&mut everyone);
        let friends = usize::try_from(self.random.below(everyone.len().div_ceil(2) as u64)).unwrap_or(0);
        let rest = everyone.split_off(friends);
        everyone.push(leader);
        world.act(&Act::Partition(vec![everyone, rest]));
        self.asks_at = Some(leader);
        vec![(self.up_to_patiences(8), OperatorAlarm::Reunite)]
    }

    fn change_members<R: Replica, S: StateMachine>(&mut self, doomed: &[NodeId], world: &mut World<R, S>) -> Errands {
        let cut_off = self.asks_at.take().filter(|node| world.is_running(*node));
        let Some(node) = cut_off.or_else(|| self.someone(world)) else { return Vec::new() };
        let (wish, errands) = match self.random.below(10) {
            0..=3 => self.draw_newcomer(world),
            4..=6 => (self.draw_removal(doomed, world), Vec::new()),
            7 | 8 => (self.draw_promotion(doomed, world), Vec::new()),
            // Who was removed is to come back.
            _ => {
                let removed: Vec<NodeId> = world.removed().collect();
                let id = self.random.pick(&removed).copied();
                (id.map(|id| Wish::Add { id, role: MemberRole::Joining }), Vec::new())
            }
        };
        if let Some(wish) = wish {
            self.count(match wish {
                Wish::Add { .. } => "add-member",
                Wish::Remove { .. } => "remove-member",
                Wish::Promote { .. } => "promote-member",
            });
            world.act(&Act::ChangeMembers { node, wish });
        }
        errands
    }

    /// A new node, switched on before or after it is a member, or a wish that may have been lost, once more.
    fn draw_newcomer<R: Replica, S: StateMachine>(&mut self, world: &World<R, S>) -> (Option<Wish>, Errands) {
        let is_missing = |id: &NodeId| !world.members().contains(*id) && !world.is_removed(*id);
        let lost: Vec<NodeId> = world.nodes().filter(is_missing).collect();
        let votes = self.random.happens(Chance::percent(70));
        let witness = self.steering.last_spare_is_witness.then_some(NodeId(self.spares_end));
        let role = |id: NodeId| match votes {
            _ if Some(id) == witness => MemberRole::Witness,
            true => MemberRole::Joining,
            false => MemberRole::Learner,
        };
        let again = self.random.happens(Chance::percent(30)) || self.last_spare >= self.spares_end;
        if let Some(id) = self.random.pick(&lost).copied().filter(|_| again) {
            return (Some(Wish::Add { id, role: role(id) }), Vec::new());
        }
        if self.last_spare >= self.spares_end {
            return (None, Vec::new());
        }
        self.last_spare += 1;
        let id = NodeId(self.last_spare);
        let delay = if self.random.happens(Chance::percent(40)) { Duration::ZERO } else { self.up_to_patiences(4) };
        (Some(Wish::Add { id, role: role(id) }), vec![(delay, OperatorAlarm::SwitchOn(id))])
    }

    fn draw_removal<R: Replica, S: StateMachine>(&mut self, doomed: &[NodeId], world: &World<R, S>) -> Option<Wish> {
        let leader = world.leader().filter(|leader| self.may_go(*leader, doomed, world));
        if let Some(id) = leader.filter(|_| self.random.happens(Chance::percent(40))) {
            return Some(Wish::Remove { id });
        }
        let members = world.members().members().iter().map(|member| member.id);
        let pool: Vec<NodeId> = members.filter(|id| self.may_go(*id, doomed, world)).collect();
        self.random.pick(&pool).map(|id| Wish::Remove { id: *id })
    }

    fn draw_promotion<R: Replica, S: StateMachine>(&mut self, doomed: &[NodeId], world: &World<R, S>) -> Option<Wish> {
        let members = world.members();
        let learners = members.members().iter().filter(|member| !member.counts()).map(|member| member.id);
        let learners: Vec<NodeId> = learners.collect();
        let id = *self.random.pick(&learners)?;
        let voters: Vec<NodeId> = members.voters().filter(|voter| self.may_go(*voter, doomed, world)).collect();
        let replacing = self.random.pick(&voters).copied().filter(|_| self.random.happens(Chance::percent(60)));
        Some(Wish::Promote { id, replacing })
    }

    /// Where disks break, only those may go that may be lost anyway; and one voter stays.
    fn may_go<R: Replica, S: StateMachine>(&self, id: NodeId, doomed: &[NodeId], world: &World<R, S>) -> bool {
        let is_spare_in_the_way = world.members().voters().count() < 2 && world.members().is_voter(id);
        !is_spare_in_the_way && (!self.disks_break || doomed.contains(&id))
    }

    /// A node that runs, if any does.
    fn someone<R: Replica, S: StateMachine>(&mut self, world: &World<R, S>) -> Option<NodeId> {
        let running: Vec<NodeId> = world.nodes().filter(|node| world.is_running(*node)).collect();
        self.random.pick(&running).copied()
    }

    fn up_to_patiences(&mut self, most: u64) -> Duration {
        let patience = nanos(self.patience);
        Duration::from_nanos(self.random.log_uniform(patience / 10, patience * most))
    }

    fn gap(&mut self, mean: Duration) -> Duration {
        self.random.duration(Duration::ZERO, mean * 2)
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_insert(0) += 1;
    }
}
