//! Random schedules over bare replicas: whatever is delivered, lost, repeated, crashed and in whichever order, nothing
//! promised is broken. A failing schedule is shrunk.

mod cluster;

use cluster::{Cluster, ENOUGH, sentence};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any};
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};
use quorate_protocol::Verdict;
use quorate_raft::{Config, Configuration, Payload, Raft, Timer};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};
use quorate_wire::{decode_exact, encode_to_bytes};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// What happens next. The number picks a node, a message, a count.
#[derive(Clone, Copy, Debug)]
enum Action {
    Deliver(u16),
    DeliverCopy(u16),
    Lose(u16),
    Complete(u16, u8),
    Expire(u16),
    Crash(u16, u8),
    Restart,
    Propose(u16),
    Read(u16),
    Checkpoint(u16),
    /// A snapshot arrives, arrives and is still on its way, or gets nowhere.
    Snapshot(u16, u8),
    Install(u16),
    /// Some leader is asked for other members: one or two of the present ones, or of those who could be, get another part.
    Reconfigure(u16, u8),
    /// Somebody asks a node to hand leadership over to another.
    Transfer(u16, u8),
    /// Everything in flight arrives, and no disk is slow.
    Calm,
}

fn action() -> impl Strategy<Value = Action> {
    (any::<u8>(), any::<u16>(), any::<u8>()).prop_map(|(what, which, count)| match what {
        0..=99 => Action::Deliver(which),
        100..=109 => Action::DeliverCopy(which),
        110..=119 => Action::Lose(which),
        120..=149 => Action::Complete(which, count),
        150..=169 => Action::Expire(which),
        170..=175 => Action::Crash(which, count),
        176..=187 => Action::Restart,
        188..=217 => Action::Propose(which),
        218..=227 => Action::Read(which),
        228..=235 => Action::Checkpoint(which),
        236..=239 => Action::Snapshot(which, count),
        240..=243 => Action::Install(which),
        244..=247 => Action::Reconfigure(which, count),
        248..=250 => Action::Transfer(which, count),
        251..=255 => Action::Calm,
    })
}

/// How often what happened, over all schedules.
type Marks = BTreeMap<String, u64>;

struct Run {
    cluster: Cluster,
    /// Founders and those who may be added.
    count: u64,
    /// Whether there are any of the latter, and members change at all.
    changes: bool,
    number: u64,
    floors: BTreeMap<u64, Slot>,
    leaders: BTreeMap<u64, NodeId>,
    /// The last slot whose copies were counted.
    counted: Slot,
    installed: u64,
    /// Every configuration ever seen in a log, by its slot; those of entries that were truncated too.
    configurations: BTreeSet<(Slot, Configuration)>,
}

impl Run {
    fn new(founders: u64, newcomers: u64, config: Config) -> Run {
        let (floors, leaders) = (BTreeMap::new(), BTreeMap::new());
        let mut cluster = Cluster { bed: Cluster::with(founders, config).bed.with_slow_snapshots() };
        let count = founders + newcomers;
        (founders + 1..=count).for_each(|id| cluster.bed.join(NodeId(id)));
        let configurations = BTreeSet::from([(Slot::ZERO, Configuration::of(Membership::of_voters(founders)))]);
        let changes = newcomers > 0;
        let counted = Slot::ZERO;
        Run { cluster, count, changes, number: 0, floors, leaders, counted, installed: 0, configurations }
    }

    fn id(&self, which: u16) -> u64 {
        u64::from(which) % self.count + 1
    }

    fn flight(&self, which: u16) -> Option<usize> {
        let count = self.cluster.bed.flights().len();
        (count > 0).then(|| usize::from(which) % count)
    }

    fn act(&mut self, action: Action) {
        let bed = &mut self.cluster.bed;
        match action {
            Action::Deliver(which) => {
                if let Some(index) = self.flight(which) {
                    self.cluster.bed.deliver(index);
                }
            }
            Action::DeliverCopy(which) => {
                if let Some(index) = self.flight(which) {
                    self.cluster.bed.deliver_copy(index);
                }
            }
            Action::Lose(which) => {
                if let Some(index) = self.flight(which) {
                    self.cluster.bed.lose(index);
                }
            }
            Action::Complete(which, count) => {
                let id = NodeId(self.id(which));
                self.cluster.bed.complete_writes(id, usize::from(count % 4) + 1);
            }
            Action::Expire(which) => self.expire(which),
            Action::Crash(which, surviving) => {
                let id = NodeId(self.id(which));
                self.cluster.bed.crash(id, usize::from(surviving % 4));
            }
            Action::Restart => {
                let down = bed.ids().find(|id| bed.node(*id).replica().is_none());
                down.into_iter().for_each(|id| bed.restart(id));
            }
            Action::Propose(which) => {
                let id = NodeId(self.id(which));
                self.number += 1;
                self.cluster.bed.propose(id, self.number, format!("command {}", self.number));
            }
            Action::Read(which) => {
                let floor = self.cluster.bed.chosen().keys().next_back().copied().unwrap_or(Slot::ZERO);
                self.number += 1;
                self.floors.insert(self.number, floor);
                self.cluster.read(self.id(which), self.number);
            }
            Action::Checkpoint(which) => {
                let id = NodeId(self.id(which));
                if self.cluster.bed.node(id).replica().is_some() {
                    self.cluster.bed.checkpoint(id);
                }
            }
            Action::Snapshot(which, how) => self.move_snapshot(which, how),
            Action::Install(which) => self.install(NodeId(self.id(which))),
            Action::Reconfigure(which, how) => self.reconfigure(which, how),
            Action::Transfer(which, to) => {
                self.number += 1;
                let (id, to) = (self.id(which), self.id(to.into()));
                self.cluster.transfer(id, self.number, to);
            }
            Action::Calm => self.calm(),
        }
    }

    fn reconfigure(&mut self, which: u16, how: u8) {
        let bed = &mut self.cluster.bed;
        let running = |id: &NodeId| bed.node(*id).replica().is_some_and(Raft::is_leader);
        let leaders: Vec<NodeId> = bed.ids().filter(running).collect();
        if !self.changes || leaders.is_empty() {
            return;
        }
        let leader = leaders[usize::from(which) % leaders.len()];
        let mut members = bed.replica(leader).configuration().members.clone();
        for (id, part) in [(which / 3, how), (which / 31, how / 8)].iter().take(1 + usize::from(how & 1)) {
            let id = NodeId(u64::from(*id) % self.count + 1);
            let role = match part / 2 % 4 {
                0 => None,
                1 => Some(MemberRole::Learner),
                2 => Some(MemberRole::Joining),
                _ => Some(MemberRole::Voter),
            };
            let others = members.members().iter().filter(|member| member.id != id).cloned();
            members = Membership::new(others.chain(role.map(|role| Member { role, ..Member::voter(id) })));
        }
        self.number += 1;
        bed.reconfigure(leader, self.number, members);
    }

    /// Notes what configurations the logs hold.
    fn note_configurations(&mut self) {
        for id in self.cluster.bed.ids() {
            let Some(raft) = self.cluster.bed.node(id).replica() else { continue };
            for (entry, slot) in raft.log().iter().zip(raft.log().first().0..) {
                if let Payload::Members(configuration) = &entry.payload {
                    self.configurations.insert((Slot(slot), (**configuration).clone()));
                }
            }
        }
    }

    fn move_snapshot(&mut self, which: u16, how: u8) {
        let bed = &mut self.cluster.bed;
        let count = bed.transfers().len();
        if count == 0 {
            return;
        }
        let index = usize::from(which) % count;
        match how % 4 {
            0 | 1 => bed.deliver_snapshot(index),
            2 => bed.deliver_snapshot_copy(index),
            _ => bed.lose_snapshot(index),
        }
    }

    fn install(&mut self, id: NodeId) {
        self.installed += u64::from(self.cluster.bed.install(id));
    }

    fn calm(&mut self) {
        self.cluster.bed.run(ENOUGH, |_| true);
        for id in 1..=self.count {
            self.install(NodeId(id));
        }
    }

    /// Whatever is decided anywhere is durable at a quorum, in the log or under a snapshot, and stays so: of the configuration
    /// that was in force at its slot or of a later one, as those who know it committed have them, for what is appended under
    /// one is often committed under the next.
    fn check_durable_quorum(&mut self) -> Result<(), TestCaseError> {
        let bed = &self.cluster.bed;
        let Some((slot, decision)) = bed.chosen().last_key_value() else { return Ok(()) };
        if *slot == self.counted {
            return Ok(());
        }
        let holds = |id: &NodeId| {
            let raft = bed.recovered(*id).expect("undamaged records open");
            let log = raft.log();
            log.base() >= *slot || log.get(*slot).is_some_and(|entry| entry.payload.decision() == *decision)
        };
        let holders: Vec<NodeId> = bed.ids().filter(holds).collect();
        let knows = |id: &NodeId| bed.node(*id).replica().is_some_and(|raft| raft.commit() >= *slot);
        let counted_with = bed.ids().filter(knows).flat_map(|id| bed.replica(id).configurations_since(*slot));
        let satisfied = |known: &Configuration| known.quorum().is_satisfied(|id| holders.contains(&id));
        if !counted_with.cloned().collect::<BTreeSet<_>>().iter().any(satisfied) {
            return Err(TestCaseError::fail(format!("slot {slot} is decided and durable at {holders:?} only")));
        }
        self.counted = *slot;
        Ok(())
    }

    /// Of the armed timers, one; now and then the stickiness of everybody, so that elections get somewhere.
    fn expire(&mut self, which: u16) {
        let id = NodeId(self.id(which));
        let armed: Vec<Timer> = self.cluster.bed.node(id).armed().iter().copied().collect();
        if which.is_multiple_of(3) {
            for other in 1..=self.count {
                self.cluster.bed.expire(NodeId(other), Timer::Stickiness);
            }
        }
        if !armed.is_empty() {
            self.cluster.bed.expire(id, armed[usize::from(which / 7) % armed.len()]);
        }
    }

    fn check(&mut self, marks: &RefCell<Marks>) -> Result<(), TestCaseError> {
        if let Some(violation) = self.cluster.bed.violation() {
            return Err(TestCaseError::fail(violation.to_string()));
        }
        if self.changes {
            self.note_configurations();
        }
        self.check_durable_quorum()?;
        for id in 1..=self.count {
            self.check_node(NodeId(id), marks)?;
        }
        Ok(())
    }

    /// A recording begins with the whole replica: what is read back must go on as it would, and that may depend on anything in
    /// it, also on what equality does not look at.
    fn check_picture(&self, id: NodeId) -> Result<(), TestCaseError> {
        let Some(raft) = self.cluster.bed.node(id).replica() else { return Ok(()) };
        let copy = decode_exact::<Raft>(encode_to_bytes(raft));
        let copy = copy.map_err(|why| TestCaseError::fail(format!("{raft:?} cannot be read back: {why}")))?;
        if format!("{copy:?}") != format!("{raft:?}") {
            return Err(TestCaseError::fail(format!("read back as something else:\n{raft:?}\n{copy:?}")));
        }
        Ok(())
    }

    fn check_node(&mut self, id: NodeId, marks: &RefCell<Marks>) -> Result<(), TestCaseError> {
        for event in self.cluster.bed.take_events(id) {
            let sentence = sentence(id, &event);
            if sentence.is_empty() || sentence.contains('{') {
                return Err(TestCaseError::fail(format!("no words, or not all values: {event:?}")));
            }
            *marks.borrow_mut().entry(format!("{} {:?}", event.rule.id, event.verdict)).or_default() += 1;
        }
        let node = self.cluster.bed.node(id);
        for (token, slot) in node.reads() {
            let floor = self.floors[&token.number];
            if *slot < floor {
                return Err(TestCaseError::fail(format!("{token:?} at {slot}: {floor} was decided when it came")));
            }
        }
        if let Some((term, Some(leader), true)) = node.lead()
            && *self.leaders.entry(term).or_insert(leader) != leader
        {
            return Err(TestCaseError::fail(format!("two leaders in term {term}")));
        }
        Ok(())
    }
}

fn schedules_are_sound(count: u64, config: &Config, cases: u32, length: usize) -> Marks {
    changing_schedules_are_sound((count, 0), config, cases, length)
}

fn changing_schedules_are_sound(
    (founders, newcomers): (u64, u64),
    config: &Config,
    cases: u32,
    length: usize,
) -> Marks {
    let settings = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(settings, rng);
    let marks = RefCell::new(Marks::new());
    let outcome = runner.run(&vec(action(), length), |actions| {
        let mut run = Run::new(founders, newcomers, config.clone());
        for (number, action) in (0u64..).zip(actions) {
            run.act(action);
            run.check(&marks)?;
            if number % 4 == 0 {
                run.check_picture(NodeId(number / 4 % run.count + 1))?;
            }
        }
        let most = run.leaders.len() as u64;
        let mut marks = marks.borrow_mut();
        let seen = marks.entry("most leaders in one run".to_owned()).or_default();
        *seen = most.max(*seen);
        *marks.entry("snapshots installed".to_owned()).or_default() += run.installed;
        let joint = run.configurations.iter().filter(|(_, configuration)| configuration.is_joint()).count() as u64;
        *marks.entry("joint configurations".to_owned()).or_default() += joint;
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    marks.into_inner()
}

fn reached(marks: &Marks, rule: &str, verdict: Verdict) {
    let name = format!("{rule} {verdict:?}");
    assert!(marks.get(&name).is_some_and(|count| *count > 0), "never: {name}\n{marks:#?}");
}

#[test]
fn three_nodes() {
    let config = Config { compact_after_entries: 2, compact_keep_entries: 1, append_entries: 3, ..Config::default() };
    let marks = schedules_are_sound(3, &config, 250, 300);
    assert!(marks["most leaders in one run"] >= 3, "{marks:#?}");
    for rule in ["raft.commit", "raft.truncate", "raft.compact", "raft.read", "raft.read-forward"] {
        reached(&marks, rule, Verdict::Allowed);
    }
    reached(&marks, "raft.commit", Verdict::Refused);
    reached(&marks, "raft.decide", Verdict::Waiting);
    reached(&marks, "raft.progress", Verdict::Waiting);
}

/// Hardly anything is kept for whoever lags, so that snapshots are what nodes catch up with.
#[test]
fn three_nodes_that_live_on_snapshots() {
    let config = Config {
        compact_after_entries: 1,
        compact_keep_entries: 0,
        keep_log_entries: 1,
        snapshot_retry_heartbeats: 1,
        ..Config::default()
    };
    let marks = schedules_are_sound(3, &config, 250, 500);
    assert!(marks["snapshots installed"] > 50, "{marks:#?}");
    for rule in ["raft.snapshot", "raft.snapshot-view", "raft.snapshot-sent", "raft.installed"] {
        reached(&marks, rule, Verdict::Allowed);
    }
    for rule in ["raft.snapshot", "raft.snapshot-sent"] {
        reached(&marks, rule, Verdict::Refused);
    }
    reached(&marks, "raft.snapshot-sent", Verdict::Waiting);
}

#[test]
fn five_nodes() {
    let config = Config { append_entries: 1, window_messages: 2, ..Config::default() };
    let marks = schedules_are_sound(5, &config, 150, 400);
    assert!(marks["most leaders in one run"] >= 3, "{marks:#?}");
    for rule in ["raft.commit", "raft.truncate", "raft.read", "raft.transfer", "raft.campaign-at-once"] {
        reached(&marks, rule, Verdict::Allowed);
    }
    reached(&marks, "raft.transfer", Verdict::Refused);
    reached(&marks, "raft.disk", Verdict::Waiting);
    reached(&marks, "raft.commit", Verdict::Refused);
    reached(&marks, "raft.window", Verdict::Waiting);
}

/// Members are added, removed, replaced, made learners and voters, several at once, while everything else goes wrong.
#[test]
fn three_nodes_and_three_more_that_come_and_go() {
    let config = Config { append_entries: 3, ..Config::default() };
    let marks = changing_schedules_are_sound((3, 3), &config, 400, 500);
    assert!(marks["joint configurations"] > 200, "{marks:#?}");
    for rule in ["raft.reconfigure", "raft.finish-change", "raft.catch-up", "raft.farewell", "raft.retire"] {
        reached(&marks, rule, Verdict::Allowed);
    }
    reached(&marks, "raft.reconfigure", Verdict::Refused);
    reached(&marks, "raft.farewell", Verdict::Waiting);
}

#[test]
fn two_nodes_and_two_more_that_come_and_go_with_snapshots() {
    let config = Config {
        compact_after_entries: 1,
        compact_keep_entries: 0,
        keep_log_entries: 1,
        snapshot_retry_heartbeats: 1,
        ..Config::default()
    };
    let marks = changing_schedules_are_sound((2, 2), &config, 400, 500);
    assert!(marks["joint configurations"] > 200 && marks["snapshots installed"] > 50, "{marks:#?}");
}
