//! Random schedules over bare replicas: whatever is delivered, lost, repeated, crashed and in whichever order, nothing
//! promised is broken. A failing schedule is shrunk.

use crate::cluster::{Cluster, ENOUGH};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any};
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};
use quorate_narrator::sentence;
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Decision, Replica, Role, Verdict};
use quorate_raft::{Config, Configuration, Log, Payload, Raft, Timer};
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

/// Who there is: ids 1 to the sum, in this order.
#[derive(Clone, Copy)]
struct Cast {
    founders: u64,
    founding_witnesses: u64,
    newcomers: u64,
    witnesses_to_come: u64,
}

impl Cast {
    fn voters(founders: u64, newcomers: u64) -> Cast {
        Cast { founders, founding_witnesses: 0, newcomers, witnesses_to_come: 0 }
    }

    fn founding_members(self) -> Membership {
        let witness = |id| Member { role: MemberRole::Witness, ..Member::voter(NodeId(id)) };
        let witnesses = self.founders + 1..=self.founders + self.founding_witnesses;
        Membership::new((1..=self.founders).map(|id| Member::voter(NodeId(id))).chain(witnesses.map(witness)))
    }

    fn count(self) -> u64 {
        self.founders + self.founding_witnesses + self.newcomers + self.witnesses_to_come
    }

    /// For life.
    fn is_witness(self, id: NodeId) -> bool {
        let first_to_come = self.founders + self.founding_witnesses + self.newcomers;
        id.0 > first_to_come || (self.founders < id.0 && id.0 <= self.founders + self.founding_witnesses)
    }
}

struct Run {
    cluster: Cluster,
    cast: Cast,
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
    /// The terms of what is committed, as whoever knew it first has them.
    terms: BTreeMap<Slot, u64>,
}

impl Run {
    fn new(cast: Cast, config: Config) -> Run {
        let (floors, leaders) = (BTreeMap::new(), BTreeMap::new());
        let founders = cast.founding_members();
        let mut cluster = Cluster { bed: Testbed::with_members(founders.clone(), config) };
        cluster.complete_all();
        cluster.bed = cluster.bed.with_slow_snapshots();
        let count = cast.count();
        for id in (cast.founders + cast.founding_witnesses + 1..=count).map(NodeId) {
            if cast.is_witness(id) { cluster.bed.join_as_witness(id) } else { cluster.bed.join(id) }
        }
        let configurations = BTreeSet::from([(Slot::ZERO, Configuration::of(founders))]);
        let changes = cast.newcomers + cast.witnesses_to_come > 0;
        let (counted, terms) = (Slot::ZERO, BTreeMap::new());
        Run { cluster, cast, count, changes, number: 0, floors, leaders, counted, installed: 0, configurations, terms }
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
                _ if self.cast.is_witness(id) => Some(MemberRole::Witness),
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
            let expected = match decision {
                Decision::Commands(_) if self.cast.is_witness(*id) => Decision::Commands(bytes::Bytes::new()),
                other => other.clone(),
            };
            log.base() >= *slot || log.get(*slot).is_some_and(|entry| entry.payload.decision() == expected)
        };
        let holders: Vec<NodeId> = bed.ids().filter(holds).collect();
        let knows = |id: &NodeId| bed.node(*id).replica().is_some_and(|raft| raft.commit() >= *slot);
        let counted_with = bed.ids().filter(knows).flat_map(|id| bed.replica(id).configurations_since(*slot));
        let satisfied = |known: &Configuration| known.quorum().is_satisfied(|id| holders.contains(&id));
        let has_data = holders.iter().any(|id| !self.cast.is_witness(*id));
        if !has_data || !counted_with.cloned().collect::<BTreeSet<_>>().iter().any(satisfied) {
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
        self.note_terms();
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
        if let Some(raft) = node.replica() {
            self.check_log(id, raft.log(), raft.commit())?;
            let part = raft.status().role;
            if self.cast.is_witness(id) && (matches!(part, Role::Leader | Role::Candidate) || !node.reads().is_empty())
            {
                return Err(TestCaseError::fail(format!("witness {id} is a {part:?}, reads {:?}", node.reads())));
            }
        }
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

impl Run {
    /// What is committed has one term everywhere, and a witness has no commands.
    fn check_log(&self, id: NodeId, log: &Log, commit: Slot) -> Result<(), TestCaseError> {
        for slot in (log.base().0.max(commit.0.saturating_sub(4))..=commit.0).map(Slot) {
            let (term, known) = (log.term_at(slot), self.terms.get(&slot));
            if known.is_some_and(|known| term != Some(*known)) {
                return Err(TestCaseError::fail(format!(
                    "slot {slot} is of term {term:?} at {id}, elsewhere {known:?}"
                )));
            }
        }
        let has_commands = |payload: &Payload| matches!(payload, Payload::Command(commands) if !commands.is_empty());
        if self.cast.is_witness(id) && log.iter().any(|entry| has_commands(&entry.payload)) {
            return Err(TestCaseError::fail(format!("witness {id} has commands: {log:?}")));
        }
        Ok(())
    }

    fn note_terms(&mut self) {
        for id in self.cluster.bed.ids() {
            let Some(raft) = self.cluster.bed.node(id).replica() else { continue };
            let from = raft.log().base().0.max(raft.commit().0.saturating_sub(4));
            for slot in (from..=raft.commit().0).map(Slot) {
                if let Some(term) = raft.log().term_at(slot) {
                    self.terms.entry(slot).or_insert(term);
                }
            }
        }
    }
}

fn schedules_are_sound(count: u64, config: &Config, cases: u32, length: usize) -> Marks {
    changing_schedules_are_sound(Cast::voters(count, 0), config, cases, length)
}

fn changing_schedules_are_sound(cast: Cast, config: &Config, cases: u32, length: usize) -> Marks {
    let settings = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(settings, rng);
    let marks = RefCell::new(Marks::new());
    let outcome = runner.run(&vec(action(), length), |actions| {
        let mut run = Run::new(cast, config.clone());
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
    let marks = changing_schedules_are_sound(Cast::voters(3, 3), &config, 400, 500);
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
    let marks = changing_schedules_are_sound(Cast::voters(2, 2), &config, 400, 500);
    assert!(marks["joint configurations"] > 200 && marks["snapshots installed"] > 50, "{marks:#?}");
}

/// Witnesses in every quorum, and what they were sent by leaders that are gone.
#[test]
fn two_nodes_and_a_witness() {
    let config = Config { append_entries: 3, ..Config::default() };
    let cast = Cast { founding_witnesses: 1, ..Cast::voters(2, 0) };
    let marks = changing_schedules_are_sound(cast, &config, 400, 400);
    assert!(marks["most leaders in one run"] >= 3, "{marks:#?}");
    for rule in ["raft.commit", "raft.truncate", "raft.read", "raft.witness"] {
        reached(&marks, rule, Verdict::Allowed);
    }
    reached(&marks, "raft.witness", Verdict::Refused);
    reached(&marks, "raft.campaign", Verdict::Refused);
}

#[test]
fn three_nodes_and_two_witnesses_that_live_on_snapshots() {
    let config = Config {
        compact_after_entries: 1,
        compact_keep_entries: 0,
        keep_log_entries: 1,
        snapshot_retry_heartbeats: 1,
        ..Config::default()
    };
    let cast = Cast { founding_witnesses: 2, ..Cast::voters(3, 0) };
    let marks = changing_schedules_are_sound(cast, &config, 250, 500);
    assert!(marks["snapshots installed"] > 50, "{marks:#?}");
    reached(&marks, "raft.witness", Verdict::Allowed);
}

#[test]
fn nodes_and_witnesses_that_come_and_go() {
    let config = Config { append_entries: 3, compact_after_entries: 2, compact_keep_entries: 1, ..Config::default() };
    let cast = Cast { founders: 2, founding_witnesses: 1, newcomers: 2, witnesses_to_come: 2 };
    let marks = changing_schedules_are_sound(cast, &config, 400, 500);
    assert!(marks["joint configurations"] > 200, "{marks:#?}");
    for rule in ["raft.reconfigure", "raft.finish-change", "raft.catch-up", "raft.farewell", "raft.witness"] {
        reached(&marks, rule, Verdict::Allowed);
    }
}
