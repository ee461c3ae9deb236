//! Single faults: which, where and for how long.

use super::plan::{FaultClass, Plan};
use super::storm::{Reminders, Storm, StormAlarm};
use crate::act::{Act, Malfunction, Moment};
use crate::latency::Latency;
use crate::network::Link;
use crate::random::Chance;
use crate::world::{DiskModel, World};
use quorate_disk::SECTOR_BYTES;
use quorate_disk::model::Harm;
use quorate_machine::StateMachine;
use quorate_node::Lane;
use quorate_protocol::{LinkState, Replica};
use quorate_types::NodeId;
use std::time::Duration;

impl Storm {
    /// One fault of a class, and what is to follow it.
    pub(super) fn strike<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
        class: FaultClass,
    ) -> Reminders {
        match class {
            FaultClass::Partition => self.partition(plan, world),
            FaultClass::PartialLinks => self.link_partly(plan, world),
            FaultClass::Flapping => self.flap(plan, world),
            FaultClass::BadLink => self.spoil_link(plan, world),
            FaultClass::Clog => self.clog(plan, world),
            FaultClass::Replay => self.replay(world),
            FaultClass::Crash => self.crash(plan, world),
            FaultClass::CrashLoop => self.crash_loop(plan, world),
            FaultClass::Pause | FaultClass::Clock => self.suspend(plan, world, class),
            FaultClass::SlowNode => self.slow_node(plan, world),
            FaultClass::SlowDisk => self.slow_disk(plan, world),
            FaultClass::DiskStall => self.stall(plan, world),
            FaultClass::DiskError | FaultClass::DiskFull => self.trouble_disk(plan, world, class),
            FaultClass::Rot | FaultClass::WriteFault => self.damage(plan, world, class),
            FaultClass::Amnesia => self.forget_disk(plan, world),
            FaultClass::FalseNews => self.tell_false_news(world),
            FaultClass::Loss
            | FaultClass::Repetition
            | FaultClass::Overtaking
            | FaultClass::Stragglers
            | FaultClass::Damage
            | FaultClass::Drift => Vec::new(),
        }
    }

    fn suspend<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
        class: FaultClass,
    ) -> Reminders {
        let node = self.victim(world);
        let duration = self.up_to_patiences(plan, 20);
        let act = match class {
            FaultClass::Clock if self.random.happens(Chance::percent(50)) => {
                self.count("clock-step");
                Act::StepClock { node, by: duration }
            }
            FaultClass::Clock => {
                self.count("freeze");
                Act::Freeze { node, duration }
            }
            _ => {
                self.count("pause");
                Act::Pause { node, duration: Some(duration) }
            }
        };
        world.act(&act);
        Vec::new()
    }

    fn slow_node<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        let node = self.victim(world);
        self.count("slow-node");
        let processing = Latency::between(Duration::ZERO, self.up_to_patiences(plan, 1));
        world.act(&Act::SetProcessing { node, processing });
        vec![(self.up_to_patiences(plan, 10), StormAlarm::Hurry(node))]
    }

    fn slow_disk<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        if self.random.happens(Chance::percent(30)) {
            return self.slow_all_disks(plan, world);
        }
        let node = self.victim(world);
        self.count("slow-disk");
        let slow = self.up_to_patiences(plan, 2);
        let disk =
            DiskModel { write: Latency::between(Duration::ZERO, slow / 10), flush: Latency::between(slow / 10, slow) };
        world.act(&Act::SetDisk { node, disk });
        vec![(self.up_to_patiences(plan, 10), StormAlarm::HurryDisk(node))]
    }

    /// Every disk at once: what one node says too early is not made good by the speed of the others.
    fn slow_all_disks<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        self.count("slow-disks");
        let slow = self.up_to_patiences(plan, 1);
        let duration = self.up_to_patiences(plan, 10);
        let disk = DiskModel { write: Latency::ZERO, flush: Latency::between(slow / 10, slow) };
        let nodes: Vec<NodeId> = world.nodes().collect();
        nodes.iter().for_each(|node| world.act(&Act::SetDisk { node: *node, disk }));
        nodes.into_iter().map(|node| (duration, StormAlarm::HurryDisk(node))).collect()
    }

    fn stall<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        let node = self.victim(world);
        self.count("disk-stall");
        world.act(&Act::HoldDisk(node));
        vec![(self.up_to_patiences(plan, 100), StormAlarm::ReleaseDisk(node))]
    }

    /// An operation fails, or there is no room; the process ends, and comes back on whatever its machine remembers.
    fn trouble_disk<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
        class: FaultClass,
    ) -> Reminders {
        let (node, lane) = (self.victim(world), self.lane());
        let recovery = self.up_to_patiences(plan, 8);
        if class == FaultClass::DiskFull {
            self.count("disk-full");
            let free_bytes = self.random.log_uniform(1, 1 << 15);
            world.act(&Act::Fill { node, lane, free_bytes });
        } else {
            self.count("disk-error");
            let after = self.random.log_uniform(1, 16) - 1;
            world.act(&Act::Malfunction { node, lane, what: Malfunction::Fails { after } });
        }
        vec![(recovery / 2, StormAlarm::Recover(node)), (recovery, StormAlarm::MendDisks(node))]
    }

    /// What was durable is so no more. Only nodes that may be lost are hit, unless the plan wants more than can be borne.
    fn damage<R: Replica, S: StateMachine>(
        &mut self,
        plan: &Plan,
        world: &mut World<R, S>,
        class: FaultClass,
    ) -> Reminders {
        let Some(node) = self.doomed_node(plan, world) else { return Vec::new() };
        let lane = self.lane();
        let act = if class == FaultClass::Rot {
            self.count("rot");
            Act::Rot { node, lane, pick: self.random.below(1 << 20), harm: self.draw_harm() }
        } else if self.random.happens(Chance::percent(50)) {
            self.count("lost-write");
            Act::Malfunction { node, lane, what: Malfunction::LosesWrite }
        } else {
            self.count("misdirected-write");
            let sectors = self.random.log_uniform(1, 64);
            Act::Malfunction { node, lane, what: Malfunction::Misdirects { sectors } }
        };
        world.act(&act);
        // Damage shows when the node starts the next time.
        if self.random.happens(Chance::percent(30)) {
            return vec![(self.up_to_patiences(plan, 4), StormAlarm::CrashAgain { node, times: 1 })];
        }
        Vec::new()
    }

    fn draw_harm(&mut self) -> Harm {
        match self.random.below(4) {
            0 => Harm::Flip { bit: self.random.below(SECTOR_BYTES as u64 * 8) },
            1 => Harm::Garbage { seed: self.random.below(1 << 20) },
            2 => Harm::Zeros,
            _ => Harm::Lost,
        }
    }

    /// Disks are copied, and later either put back or replaced by empty ones, while the node is down.
    fn forget_disk<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        let Some(node) = self.random.pick(&self.doomed.clone()).copied() else { return Vec::new() };
        if self.random.happens(Chance::percent(50)) {
            self.count("copy");
            world.act(&Act::Copy(node));
            return vec![(self.up_to_patiences(plan, 4), StormAlarm::CrashAgain { node, times: 2 })];
        }
        let act = if self.random.happens(Chance::percent(60)) {
            self.count("put-back");
            Act::PutBack(node)
        } else {
            self.count("wipe");
            Act::Wipe(node)
        };
        world.act(&Act::Crash(node));
        world.act(&act);
        vec![(self.up_to_patiences(plan, 4), StormAlarm::Recover(node))]
    }

    fn tell_false_news<R: Replica, S: StateMachine>(&mut self, world: &mut World<R, S>) -> Reminders {
        let (node, peer) = (self.any(world), self.any(world));
        if node != peer {
            let states = [LinkState::Up, LinkState::Down, LinkState::Refused];
            let state = *self.random.pick(&states).unwrap_or(&LinkState::Down);
            self.count("false-news");
            world.act(&Act::Hint { node, peer, state });
        }
        Vec::new()
    }

    /// One directed link becomes much worse than the others.
    fn spoil_link<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        let (from, to) = (self.any(world), self.any(world));
        if from == to {
            return Vec::new();
        }
        self.count("bad-link");
        let slowest = self.up_to_patiences(plan, 2);
        let rate = |random: &mut crate::random::Random, most| Chance(u32::try_from(random.below(most)).unwrap_or(0));
        let link = Link {
            latency: Latency::between(slowest / 20, slowest),
            loss: rate(&mut self.random, 900_000),
            repeat: rate(&mut self.random, 500_000),
            overtake: rate(&mut self.random, 1_000_000),
            damage: rate(&mut self.random, 100_000),
        };
        world.act(&Act::SetLink { from, to, link });
        vec![(self.up_to_patiences(plan, 20), StormAlarm::MendLink { from, to })]
    }

    fn clog<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        let (from, to) = (self.victim(world), self.any(world));
        if from == to {
            return Vec::new();
        }
        self.count("clog");
        world.act(&Act::Clog { from, to });
        vec![(self.up_to_patiences(plan, 10), StormAlarm::Unclog { from, to })]
    }

    fn replay<R: Replica, S: StateMachine>(&mut self, world: &mut World<R, S>) -> Reminders {
        self.count("replay");
        for _ in 0..self.random.between(1, 8) {
            let (from, to) = (self.any(world), self.any(world));
            if from != to {
                world.act(&Act::Replay { from, to, back: self.random.log_uniform(1, 256) });
            }
        }
        Vec::new()
    }

    /// The same cut comes and goes, many times.
    fn flap<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        let (from, to) = (self.victim(world), self.any(world));
        if from == to {
            return Vec::new();
        }
        self.count("flap");
        let both = self.random.happens(Chance::percent(50));
        let times = self.random.between(2, 20);
        vec![(self.up_to_patiences(plan, 1), StormAlarm::Flap { from, to, both, times })]
    }

    /// Isolates one, splits in two, cuts single directions, or builds a bridge, a ring, ... for a while.
    fn partition<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        let mut nodes: Vec<NodeId> = world.nodes().collect();
        self.random.shuffle(&mut nodes);
        world.act(&Act::Heal);
        match self.random.below(6) {
            0 => {
                let alone = self.victim(world);
                self.count("isolate-one");
                let rest = nodes.iter().copied().filter(|node| *node != alone).collect();
                world.act(&Act::Partition(vec![vec![alone], rest]));
            }
            1 => {
                let at = usize::try_from(self.random.below(nodes.len() as u64 + 1)).unwrap_or(0);
                self.count("split");
                world.act(&Act::Partition(vec![nodes[..at].to_vec(), nodes[at..].to_vec()]));
            }
            2 => {
                let half = nodes.len() / 2;
                self.count("bridge");
                let (left, right) = (nodes[..=half.min(nodes.len() - 1)].to_vec(), nodes[half..].to_vec());
                world.act(&Act::Partition(vec![left, right]));
            }
            3 => {
                let deaf = self.victim(world);
                let to_it = self.random.happens(Chance::percent(50));
                self.count("one-way-isolation");
                for other in nodes.iter().copied().filter(|node| *node != deaf) {
                    let (from, to) = if to_it { (other, deaf) } else { (deaf, other) };
                    world.act(&Act::Block { from, to });
                }
            }
            4 => {
                self.count("ring");
                let neighbours = (0..nodes.len()).map(|at| vec![nodes[at], nodes[(at + 1) % nodes.len()]]).collect();
                world.act(&Act::Partition(neighbours));
            }
            _ => {
                self.count("cut-some");
                for from in &nodes {
                    for to in nodes.iter().filter(|to| from != *to) {
                        if self.random.happens(Chance::percent(30)) {
                            world.act(&Act::Block { from: *from, to: *to });
                        }
                    }
                }
            }
        }
        self.partitions += 1;
        vec![(self.up_to_patiences(plan, 20), StormAlarm::Reunite { partition: self.partitions })]
    }

    /// One node, or now and then all of them at once: the power fails.
    fn crash<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        let victims: Vec<NodeId> = if self.random.happens(Chance::percent(15)) {
            self.count("power-failure");
            world.nodes().collect()
        } else {
            self.count("crash");
            vec![self.victim(world)]
        };
        if self.random.happens(Chance::percent(60)) {
            self.count("crash-at-moment");
            let watched = victims.first().copied().unwrap_or_default();
            let victims = victims.into_iter().map(|node| (node, self.up_to_patiences(plan, 8))).collect();
            // Half the time while the journal writes: that is where most of what is said is decided.
            let moment = if self.random.happens(Chance::percent(50)) {
                Moment::Write(Lane::Journal)
            } else {
                *self.random.pick(&Moment::ALL).unwrap_or(&Moment::Send)
            };
            world.act(&Act::CrashAt { watched, moment, victims });
            return Vec::new();
        }
        let mut reminders = Vec::new();
        for node in victims {
            if world.is_running(node) {
                let kill = self.random.happens(Chance::percent(25));
                world.act(&if kill { Act::Kill(node) } else { Act::Crash(node) });
                reminders.push((self.up_to_patiences(plan, 8), StormAlarm::Recover(node)));
            }
        }
        reminders
    }

    /// It crashes again and again, each time soon after it started.
    fn crash_loop<R: Replica, S: StateMachine>(&mut self, plan: &Plan, world: &mut World<R, S>) -> Reminders {
        let node = self.victim(world);
        self.count("crash-loop");
        let times = self.random.between(2, 8);
        vec![(self.up_to_patiences(plan, 1), StormAlarm::CrashAgain { node, times })]
    }

    fn lane(&mut self) -> Lane {
        if self.random.happens(Chance::percent(70)) { Lane::Journal } else { Lane::Store }
    }
}
