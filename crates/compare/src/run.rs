//! One protocol through one workload and one fault, with everything that happened to clients.

use crate::contender::Contender;
use crate::faults::{AFTERWARDS_PATIENCES, Fault, LASTS_PATIENCES};
use crate::matrix::Site;
use crate::stage::{RunError, Setting, Stage, broken};
use crate::workload::{Command, Pace, Workload};
use quorate_keyspace::Keyspace;
use quorate_narrator::Ending;
use quorate_node::Consistency;
use quorate_simulator::swarm::Judged;
use quorate_simulator::{OperationId, Random, Traffic};
use quorate_types::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// Calls that have no answer are waited for so many times the patience, and nodes answer long before.
const LAST_ANSWERS_PATIENCES: u32 = 100;
/// Whoever got an error asks again after this part of the patience.
const RETRY_SHARE: u32 = 20;
/// Who thinks, without having been told how long, does so for up to this part of the patience.
const THINK_SHARE: u32 = 50;
/// The alarm that ends the fault; clients have those below it.
const REPAIR: u64 = u64::MAX;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A put.
    Write,
    /// A linearizable read of one key.
    Read,
}

/// One call of a client. Times are since the first client could ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Where the client stands.
    pub site: Site,
    /// What it asked for.
    pub kind: Kind,
    /// When.
    pub called_at: Duration,
    /// When it ended.
    pub returned_at: Duration,
    /// How.
    pub ending: Ending,
}

impl Call {
    /// From call to answer.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.returned_at.saturating_sub(self.called_at)
    }
}

/// From when on somebody leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    /// Since the first client could ask.
    pub from: Duration,
    /// Who.
    pub site: Site,
}

/// What happened in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which protocol.
    pub protocol: &'static str,
    /// What went wrong.
    pub fault: Fault,
    /// When that began and ended, since the first client could ask; `None` where nothing went wrong.
    pub fault_lasts: Option<(Duration, Duration)>,
    /// How long clients asked; the last answers may be later.
    pub length: Duration,
    /// Every call, in order of ending.
    pub calls: Vec<Call>,
    /// Who led, in order; the first from the beginning on.
    pub reigns: Vec<Reign>,
    /// What was sent and flushed meanwhile.
    pub traffic: Traffic,
}

struct Client {
    site: Site,
    random: Random,
    asked: u64,
}

/// A run under way.
struct Driver<'a, R: Contender> {
    setting: &'a Setting,
    workload: &'a Workload,
    fault: Fault,
    stage: Stage<R>,
    pace: Pace,
    began: Time,
    clients: Vec<Client>,
    waiting: BTreeMap<OperationId, (usize, Kind)>,
    calls: Vec<Call>,
    reigns: Vec<Reign>,
    struck_at: Option<Time>,
    repaired_at: Option<Time>,
    /// How much nodes had done when it was last looked who leads.
    seen_changes: u64,
}

/// Runs one protocol through one workload and one fault. The same arguments give the same run.
///
/// The fault strikes when a quarter of what clients ask at least is answered. It lasts eight times the patience
/// ([`Setting::patience`]); clients go on for half as long after it is repaired.
///
/// # Errors
/// See [`RunError`].
pub fn run<R: Contender>(setting: &Setting, workload: &Workload, fault: Fault) -> Result<Run, RunError> {
    let count = setting.matrix.count();
    if count < fault.sites_least() {
        return Err(RunError::TooFewSites { fault: fault.name(), least: fault.sites_least(), count });
    }
    let stage = setting.stage::<R>()?;
    let before = stage.world.traffic().clone();
    let mut driver = Driver::new(setting, workload, fault, stage);
    driver.begin();
    while !driver.is_over() {
        driver.advance()?;
    }
    let length = driver.stage.world.now().since(driver.began);
    let traffic = driver.stage.world.traffic().since(&before);
    driver.hear_the_last()?;
    let began = driver.began;
    let since = |time: Option<Time>| time.map(|time| time.since(began));
    Ok(Run {
        protocol: R::PROTOCOL,
        fault,
        fault_lasts: since(driver.struck_at).zip(since(driver.repaired_at)),
        length,
        calls: driver.calls,
        reigns: driver.reigns,
        traffic,
    })
}

impl<'a, R: Contender> Driver<'a, R> {
    fn new(setting: &'a Setting, workload: &'a Workload, fault: Fault, stage: Stage<R>) -> Driver<'a, R> {
        let sites = setting.matrix.sites().flat_map(|site| (0..workload.clients_per_site).map(move |_| site));
        let client =
            |(number, site)| Client { site, random: Random::stream(setting.seed, "compare-client", number), asked: 0 };
        let clients = (0..).zip(sites).map(client).collect();
        let pace = workload.pace.unwrap_or(Pace::Closed { think: stage.patience / THINK_SHARE });
        Driver {
            setting,
            workload,
            fault,
            pace,
            began: stage.world.now(),
            clients,
            waiting: BTreeMap::new(),
            calls: Vec::new(),
            reigns: vec![Reign { from: Duration::ZERO, site: setting.leader }],
            struck_at: None,
            repaired_at: None,
            seen_changes: 0,
            stage,
        }
    }

    fn begin(&mut self) {
        let (Pace::Closed { think: within } | Pace::Open { every: within }) = self.pace;
        for number in 0..self.clients.len() {
            let wait = self.clients[number].random.duration(Duration::ZERO, within);
            self.stage.world.set_alarm(self.began + wait, number as u64);
        }
    }

    /// Whether everybody has asked enough, and has gone on for long enough behind a fault.
    fn is_over(&self) -> bool {
        let has_asked = self.clients.iter().all(|client| client.asked >= self.workload.commands);
        if self.fault == Fault::None {
            return has_asked && self.calls.len() as u64 >= self.commands_least();
        }
        let afterwards = self.stage.patience * AFTERWARDS_PATIENCES;
        has_asked && self.repaired_at.is_some_and(|at| self.stage.world.now() >= at + afterwards)
    }

    fn commands_least(&self) -> u64 {
        self.clients.len() as u64 * self.workload.commands
    }

    /// One event, and what follows from it.
    fn advance(&mut self) -> Result<(), RunError> {
        let goes_on = self.stage.world.step();
        broken(&self.stage.world)?;
        if !goes_on {
            return Err(RunError::Unanswered { protocol: R::PROTOCOL, calls: self.waiting.len() });
        }
        self.note_results();
        for alarm in self.stage.world.take_alarms() {
            if alarm == REPAIR {
                self.stage.world.repair(&[]);
                self.repaired_at = Some(self.stage.world.now());
            } else if let Ok(number) = usize::try_from(alarm) {
                self.ask(number);
            }
        }
        self.note_leader();
        if self.fault != Fault::None && self.struck_at.is_none() && self.calls.len() as u64 * 4 >= self.commands_least()
        {
            self.strike();
        }
        Ok(())
    }

    fn strike(&mut self) {
        let Stage { world, seats, patience } = &mut self.stage;
        let leader = world.leader().and_then(|node| seats.site(node)).unwrap_or(self.setting.leader);
        for act in self.fault.acts(&self.setting.matrix, seats, leader, *patience) {
            world.act(&act);
        }
        self.struck_at = Some(world.now());
        world.set_alarm(world.now() + *patience * LASTS_PATIENCES, REPAIR);
    }

    fn ask(&mut self, number: usize) {
        let world = &mut self.stage.world;
        let client = &mut self.clients[number];
        let node = self.stage.seats.node(client.site);
        client.asked += 1;
        let (operation, kind) = match self.workload.draw(&mut client.random) {
            Command::Write { key, value } => (world.submit(node, Keyspace::put(&key, &value)), Kind::Write),
            Command::Read { key } => {
                (world.read(node, Keyspace::get(Some(&key)), Consistency::Linearizable), Kind::Read)
            }
        };
        self.waiting.insert(operation, (number, kind));
        if let Pace::Open { every } = self.pace {
            let next = self.stage.world.now() + every;
            self.stage.world.set_alarm(next, number as u64);
        }
        // A node that does not run has answered already.
        self.note_results();
    }

    fn note_results(&mut self) {
        if self.stage.world.results().is_empty() {
            return;
        }
        let now = self.stage.world.now();
        for result in self.stage.world.take_results() {
            let Some((number, kind)) = self.waiting.remove(&result.operation) else { continue };
            let ending = result.outcome.ending();
            let client = &mut self.clients[number];
            self.calls.push(Call {
                site: client.site,
                kind,
                called_at: result.called_at.since(self.began),
                returned_at: result.returned_at.since(self.began),
                ending,
            });
            if let Pace::Closed { think } = self.pace {
                let wait = match ending {
                    Ending::Answered => client.random.duration(Duration::ZERO, think),
                    Ending::Refused | Ending::Unknown => self.stage.patience / RETRY_SHARE,
                };
                self.stage.world.set_alarm(now + wait, number as u64);
            }
        }
    }

    fn note_leader(&mut self) {
        let world = &self.stage.world;
        if world.changes() == self.seen_changes {
            return;
        }
        self.seen_changes = world.changes();
        let Some(site) = world.leader().and_then(|node| self.stage.seats.site(node)) else { return };
        if self.reigns.last().is_none_or(|reign| reign.site != site) {
            self.reigns.push(Reign { from: world.now().since(self.began), site });
        }
    }

    /// Nobody asks any more; what was asked is answered.
    fn hear_the_last(&mut self) -> Result<(), RunError> {
        self.pace = Pace::Open { every: Duration::MAX };
        let limit = self.stage.patience * LAST_ANSWERS_PATIENCES;
        self.stage.world.run_until_true(limit, |world| world.calls_waiting() == 0);
        broken(&self.stage.world)?;
        self.note_results();
        match self.waiting.len() {
            0 => Ok(()),
            calls => Err(RunError::Unanswered { protocol: R::PROTOCOL, calls }),
        }
    }
}
