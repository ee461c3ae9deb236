//! Reads under leases, on clocks that run fast and slow: linearizable as long as no clock is wrong by more than assumed, whatever
//! else happens; and not if one is.

mod timed;

use quorate_protocol::Replica;
use quorate_raft::{Config, LeaseReads, Raft};
use quorate_types::{Member, MemberRole, Membership, NodeId};
use std::collections::BTreeSet;
use std::time::Duration;
use timed::World;

const RIGHT: u64 = 1_000_000;

/// Whatever may happen to a cluster with leases: links cut, messages late and repeated, nodes killed and opened at once, wrong
/// hints, leadership handed over.
struct Walk {
    world: World,
    /// Whether members come and go too.
    changes: bool,
    transfers: u64,
    terms: u64,
    /// Answers under a lease while the leader's configuration was joint.
    leased_jointly: u64,
    /// Every member that ever was in force at a leader.
    seen: BTreeSet<Membership>,
}

impl Walk {
    /// Each clock is wrong by `drift_ppm`, in a direction of its own, where `assumed_ppm` is assumed.
    fn new((count, newcomers): (u64, u64), seed: u64, drift_ppm: u64, assumed_ppm: u32) -> Walk {
        let lease_reads = Some(LeaseReads { clock_rate_error_ppm: assumed_ppm });
        let config = Config { lease_reads, tenure_heartbeats: 15, ..Config::default() };
        let mut nodes: Vec<(Config, u64)> = (0..count + newcomers)
            .map(|at| {
                let rate = if (seed >> at) & 1 == 0 { RIGHT - drift_ppm } else { RIGHT + drift_ppm };
                // Left alone, those whose clocks run fast lead: their timers run out first.
                let priority = u8::from(seed % 2 == 1 && rate < RIGHT);
                (Config { priority, ..config.clone() }, rate)
            })
            .collect();
        let joining = nodes.split_off(usize::try_from(count).expect("it is small"));
        let mut world = World::of_each(&nodes, seed);
        joining.into_iter().for_each(|(config, rate_ppm)| world.join(config, rate_ppm));
        world.late_ms = 120;
        world.read_every_us = Some(2_500);
        let changes = newcomers > 0;
        Walk { world, changes, transfers: 0, terms: 0, leased_jointly: 0, seen: BTreeSet::new() }
    }

    fn run(mut self, steps: u64) -> Walk {
        self.world.pass_ms(400);
        for _ in 0..steps {
            if self.changes && self.world.draw(2) == 0 {
                self.change_members();
            }
            self.trouble();
            let pause_ms = if self.world.draw(6) == 0 { 350 } else { self.world.draw(90) };
            self.world.pass_ms(pause_ms);
            if self.world.broken.is_some() {
                break;
            }
        }
        self.terms = self.world.term();
        self
    }

    /// Somebody comes, goes or is replaced. Then the step goes on anywhere in the change: reads are asked for all the while.
    fn change_members(&mut self) {
        let world = &mut self.world;
        let Some(leader) = world.leader() else { return };
        let mut members = world.raft(leader).expect("it leads").configuration().members.clone();
        self.seen.insert(members.clone());
        for _ in 0..=world.draw(2) {
            let id = NodeId(world.draw(world.ids().len() as u64) + 1);
            let role = match world.draw(5) {
                0 | 1 => None,
                2 => Some(MemberRole::Joining),
                _ => Some(MemberRole::Voter),
            };
            let others = members.members().iter().filter(|member| member.id != id).cloned();
            members = Membership::new(others.chain(role.map(|role| Member { role, ..Member::voter(id) })));
        }
        world.reconfigure(leader, members);
        for _ in 0..world.draw(8) {
            world.pass_ms(1);
            let joint =
                world.leader().is_some_and(|id| world.raft(id).is_some_and(|raft| raft.configuration().is_joint()));
            self.leased_jointly += u64::from(joint && world.leader().is_some_and(|id| world.has_lease(id)));
        }
    }

    fn trouble(&mut self) {
        let world = &mut self.world;
        let ids = world.ids();
        let count = ids.len() as u64;
        let (one, other) = (world.draw(count) + 1, world.draw(count) + 1);
        let leader = world.leader().unwrap_or(one);
        match world.draw(12) {
            0..=2 => {
                // Nobody hears the leader any more; it may still hear others, or not.
                let deaf = world.draw(2) == 0;
                for id in ids.into_iter().filter(|id| *id != leader) {
                    world.cut(leader, id);
                    if deaf {
                        world.cut(id, leader);
                    }
                }
            }
            3 => world.cut(one, other),
            4 | 5 => {
                // Whoever answered the leader just now forgets it.
                world.crash(one);
                world.open(one);
            }
            6 => {
                world.transfer(leader, other);
                self.transfers += 1;
            }
            7 => world.refused(one, leader),
            8 | 9 => self.corner(leader),
            _ => world.heal(),
        }
    }

    /// One node hears the leader no more for long and would stand. Then all others, who answered the leader just now, hear
    /// it no more either, and forget it or are told that it is gone.
    fn corner(&mut self, leader: u64) {
        let world = &mut self.world;
        world.heal();
        world.pass_ms(300);
        let others: Vec<u64> = world.ids().into_iter().filter(|id| *id != leader).collect();
        world.cut(leader, others[0]);
        world.pass_ms(250);
        let forgets = world.draw(2) == 0;
        for id in others.into_iter().skip(1) {
            world.cut(leader, id);
            if forgets {
                world.crash(id);
                world.open(id);
            } else {
                world.refused(id, leader);
            }
        }
    }
}

fn walks(count: u64, seeds: u64, drift_ppm: u64, assumed_ppm: u32) -> Vec<Walk> {
    (0..seeds).map(|seed| Walk::new((count, 0), seed, drift_ppm, assumed_ppm).run(60)).collect()
}

#[test]
fn within_the_assumed_error_reads_are_linearizable_and_nobody_leads_beside_a_lease() {
    for (count, drift_ppm) in [(3, 0), (3, 100_000), (5, 100_000)] {
        let walks = walks(count, 40, drift_ppm, 100_000);
        for (seed, walk) in walks.iter().enumerate() {
            assert_eq!(walk.world.broken, None, "{count} nodes, seed {seed}, clocks wrong by {drift_ppm} ppm");
        }
        let sum = |of: fn(&Walk) -> u64| walks.iter().map(of).sum::<u64>();
        let (answered, leased) = (sum(|walk| walk.world.answered), sum(|walk| walk.world.leased));
        assert!(leased * 10 > answered && answered > leased, "{leased} of {answered} reads under a lease");
        assert!(sum(|walk| walk.terms) > 200 && sum(|walk| walk.transfers) > 100, "the walks are calm");
        assert!(sum(|walk| walk.world.transfers_in_vain) > 3, "every transfer went well");
    }
}

#[test]
fn leases_hold_while_members_come_and_go() {
    let (mut leased, mut leased_jointly, mut memberships) = (0, 0, 0);
    for (founders, newcomers) in [(3, 3), (2, 2), (1, 2)] {
        for seed in 0..25 {
            let walk = Walk::new((founders, newcomers), seed, 100_000, 100_000).run(60);
            assert_eq!(walk.world.broken, None, "{founders} founders and {newcomers} more, seed {seed}");
            leased += walk.world.leased;
            leased_jointly += walk.leased_jointly;
            memberships += walk.seen.len();
        }
    }
    assert!(
        leased > 1_000 && leased_jointly > 10,
        "{leased} reads under a lease, {leased_jointly} looks at joint ones"
    );
    assert!(memberships > 200, "{memberships} memberships");
}

/// The negative control: clocks wrong by more than assumed are found out, so the walks above would have found a flaw.
#[test]
fn clocks_wrong_by_more_than_assumed_are_found_out() {
    let broken = walks(3, 40, 300_000, 1_000).iter().filter(|walk| walk.world.broken.is_some()).count();
    assert!(broken >= 5, "{broken} of 40 walks found it");
}

/// In calm weather nobody is asked, and a read costs no message.
#[test]
fn in_health_every_read_at_the_leader_is_answered_under_its_lease() {
    let config = Config { lease_reads: Some(LeaseReads { clock_rate_error_ppm: 500 }), ..Config::default() };
    let mut world = World::of(3, 1, config);
    world.pass_ms(500);
    let leader = world.leader().expect("somebody leads");
    let sent = world.sent;
    (0..1_000).for_each(|_| world.pass_ms(1));
    let without_reads = world.sent - sent;
    let sent = world.sent;
    for _ in 0..1_000 {
        world.read(leader);
        world.pass_ms(1);
    }
    assert_eq!((world.leased, world.answered), (1_000, 1_000));
    assert!(world.sent - sent < without_reads * 21 / 20, "{} messages, {without_reads} without", world.sent - sent);
    assert_eq!(world.broken, None);
}

/// `kill -9` with leases on: the promise is waited out, and little more.
#[test]
fn followers_told_that_the_leader_is_gone_wait_out_their_promise_and_little_more() {
    let config = Config { lease_reads: Some(LeaseReads { clock_rate_error_ppm: 500 }), ..Config::default() };
    let (timeout_ms, heartbeat_ms) = (150, 15);
    let mut waits_ms: Vec<u64> = (0..40).map(|seed| gap_after_a_kill_ms(seed, config.clone())).collect();
    waits_ms.sort_unstable();
    assert!(waits_ms[0] >= timeout_ms - heartbeat_ms, "{waits_ms:?}");
    assert!(waits_ms[29] < timeout_ms + 4 * heartbeat_ms, "three of four, the others split the vote: {waits_ms:?}");
}

fn gap_after_a_kill_ms(seed: u64, config: Config) -> u64 {
    let mut world = World::of(3, seed, config);
    world.pass_ms(900);
    let old = world.leader().expect("somebody leads");
    world.crash(old);
    let mut waited_ms = 2;
    world.pass_ms(waited_ms);
    for follower in world.ids().into_iter().filter(|id| *id != old) {
        world.refused(follower, old);
    }
    while world.leader().is_none() {
        world.pass_ms(1);
        waited_ms += 1;
    }
    waited_ms
}

/// Three members get other settings one after the other, the leader last. Those with the old ones and those with the new ones do not
/// hear each other, as drivers see to it by [`Replica::agreements`]. Before one is opened again, `pause` goes by.
fn settings_changed_one_by_one(seed: u64, new: &Config, pause: impl Fn(&Config) -> Duration) -> World {
    let old = Config { lease_reads: Some(LeaseReads { clock_rate_error_ppm: 500 }), ..Config::default() };
    let mut world = World::of(3, seed, old.clone());
    world.read_every_us = Some(1_000);
    world.pass_ms(600);
    let leader = world.leader().expect("somebody leads");
    // Whoever stands apart falls behind with every write, and wins no election until it has caught up.
    world.quiet = true;
    let mut changed: Vec<u64> = Vec::new();
    for id in world.ids().into_iter().filter(|id| *id != leader).chain([leader]) {
        world.crash(id);
        world.pass_ms(u64::try_from(pause(&old).as_millis()).expect("it is short"));
        changed.push(id);
        world.heal_links();
        for other in world.ids().into_iter().filter(|other| !changed.contains(other)) {
            for one in &changed {
                world.cut(*one, other);
                world.cut(other, *one);
            }
        }
        world.set(id, new.clone());
        world.open(id);
        world.pass_ms(500);
    }
    world.quiet = false;
    world.pass_ms(1_000);
    world
}

/// Which settings may follow: none, and a shorter promise.
fn successors() -> [Config; 2] {
    let election_timeout = Duration::from_millis(50);
    let shorter = Config { election_timeout, heartbeat_interval: election_timeout / 10, ..Config::default() };
    [Config::default(), Config { lease_reads: Some(LeaseReads { clock_rate_error_ppm: 500 }), ..shorter }]
}

#[test]
fn settings_can_be_changed_one_member_after_the_other_if_promises_of_the_old_ones_are_waited_out() {
    for new in successors() {
        let pause = |old: &Config| {
            if Raft::promises_last(old) > Raft::promises_last(&new) { Raft::promises_last(old) } else { Duration::ZERO }
        };
        for seed in 0..30 {
            let world = settings_changed_one_by_one(seed, &new, pause);
            assert_eq!(world.broken, None, "seed {seed}");
            assert!(
                world.leased > 300 && world.leader().is_some(),
                "seed {seed}: {} reads under a lease",
                world.leased
            );
        }
    }
}

/// The negative control, and why a driver waits.
#[test]
fn a_member_opened_with_other_settings_at_once_may_elect_somebody_beside_a_lease() {
    for new in successors() {
        let broken =
            (0..60).filter(|seed| settings_changed_one_by_one(*seed, &new, |_| Duration::ZERO).broken.is_some());
        assert!(broken.count() >= 3, "it is found out");
    }
}
