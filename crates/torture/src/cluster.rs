//! The members, as processes, each behind a proxy of its own.

mod ports;
pub mod serving;

pub use ports::Ports;

use crate::chance::Chance;
use crate::preload::{Control, Preload};
use crate::process::{Launch, Process, last_words};
use crate::proxy::{HarmDone, PeerProxy, Rules};
use crate::settings::{FaultKind, Settings};
use crate::shared::Shared;
use crate::small_disk::SmallDisk;
use anyhow::{Context, Result};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// One member.
#[derive(Debug)]
pub struct Member {
    client_port: u16,
    peer_port: u16,
    proxy: PeerProxy,
    /// What it was told of the members when it was new.
    entry: Vec<String>,
    process: Option<Process>,
    disk: Option<SmallDisk>,
    control: Option<Control>,
    /// By a fault that is going on: no other may take it, and its end is no surprise.
    claimed: bool,
    /// It may have been removed, or never have become a member: then it ends by itself, and rightly.
    leaving: bool,
}

/// All members, and what harms them.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    shared: Arc<Shared>,
    members: BTreeMap<String, Member>,
    rules: watch::Sender<Rules>,
    /// What cuts did.
    pub harm: Arc<HarmDone>,
    ports: Ports,
    preload: Option<Preload>,
    flags: Vec<String>,
    /// How many members there were ever.
    named: usize,
    findings: Vec<String>,
    /// The last members that were removed for good, with their disks: their data stay a while.
    retired: VecDeque<(String, Option<SmallDisk>)>,
}

/// Said to all members or to none.
const LEASE_READS: &str = "--lease-reads=true";
/// Of these the data are kept.
const RETIRED_MAX: usize = 2;
/// A member that was told to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

impl Cluster {
    /// Lays out the founding members; none runs yet.
    ///
    /// # Errors
    /// When something that the faults need is not to be had here.
    pub async fn lay_out(settings: &Settings, shared: Arc<Shared>) -> Result<Cluster> {
        let needs_preload = settings.has(FaultKind::FailingFlush) || settings.has(FaultKind::Clock);
        let preload = needs_preload.then(|| Preload::compile(&settings.directory)).transpose()?;
        let mut cluster = Cluster {
            settings: settings.clone(),
            shared,
            members: BTreeMap::new(),
            rules: watch::channel(Rules::new()).0,
            harm: Arc::new(HarmDone::default()),
            ports: Ports::new(),
            preload,
            flags: draw_flags(settings),
            named: 0,
            findings: Vec::new(),
            retired: VecDeque::new(),
        };
        for _ in 0..settings.nodes {
            cluster.place().await?;
        }
        let founders: Vec<String> =
            cluster.members.iter().map(|(name, member)| format!("{name}={}", member.proxy.url())).collect();
        for member in cluster.members.values_mut() {
            member.entry = vec!["--initial-cluster".to_owned(), founders.join(",")];
        }
        Ok(cluster)
    }

    /// Makes room for one more member: ports, proxy, disk. It is told nothing yet.
    ///
    /// # Errors
    /// When the system refuses any of it.
    pub async fn place(&mut self) -> Result<String> {
        self.named += 1;
        let name = format!("node{}", self.named);
        let (client_port, peer_port) = (self.ports.next()?, self.ports.next()?);
        let target = SocketAddr::from(([127, 0, 0, 1], peer_port));
        let rules = self.rules.subscribe();
        let proxy = PeerProxy::start(name.clone(), target, rules, Arc::clone(&self.harm)).await?;
        let has_disk = self.settings.has(FaultKind::FullDisk);
        let disk = has_disk.then(|| SmallDisk::mount(&self.data_directory(&name))).transpose()?;
        let control = self.settings.directory.join(format!("{name}.control"));
        let control = self.preload.is_some().then(|| Control::create(control)).transpose()?;
        let (entry, process) = (Vec::new(), None);
        let member =
            Member { client_port, peer_port, proxy, entry, process, disk, control, claimed: false, leaving: false };
        self.members.insert(name.clone(), member);
        Ok(name)
    }

    /// Of all members that are laid out, ascending.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// Where the others reach a member.
    #[must_use]
    pub fn peer_url(&self, name: &str) -> Option<String> {
        self.members.get(name).map(|member| member.proxy.url())
    }

    /// The member that the others reach at one of these.
    #[must_use]
    pub fn named_by_url(&self, urls: &[String]) -> Option<String> {
        self.members.iter().find(|(_, member)| urls.contains(&member.proxy.url())).map(|(name, _)| name.clone())
    }

    /// Where a member serves clients.
    #[must_use]
    pub fn client_address(&self, name: &str) -> Option<String> {
        self.members.get(name).map(|member| format!("http://127.0.0.1:{}", member.client_port))
    }

    fn data_directory(&self, name: &str) -> PathBuf {
        self.settings.directory.join(name)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.settings.directory.join(format!("{name}.log"))
    }

    /// Says what a member is told of the others when it is new.
    pub fn set_entry(&mut self, name: &str, entry: Vec<String>) {
        if let Some(member) = self.members.get_mut(name) {
            member.entry = entry;
        }
    }

    /// Starts a member that does not run.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(&mut self, name: &str) -> Result<()> {
        let launch = self.launch(name)?;
        let member = self.members.get_mut(name).context("there is no such member")?;
        if member.process.is_none() {
            member.process = Some(Process::start(&launch)?);
        }
        self.announce();
        Ok(())
    }

    fn launch(&self, name: &str) -> Result<Launch> {
        let member = self.members.get(name).context("there is no such member")?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut arguments: Vec<String> = ["serve", "--stop-with-stdin", "--name", name].map(str::to_owned).into();
        let (clients, peers, reached) = (url(member.client_port), url(member.peer_port), member.proxy.url());
        let data = self.data_directory(name).display().to_string();
        let told = [
            ("--data-dir", data),
            ("--listen-client-urls", clients),
            ("--listen-peer-urls", peers),
            ("--initial-advertise-peer-urls", reached),
        ];
        arguments.extend(told.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
        arguments.extend(member.entry.iter().chain(&self.flags).cloned());
        arguments.extend(draw_patience(self.settings.seed, name, &self.flags));
        let environment = match (&self.preload, &member.control) {
            (Some(preload), Some(control)) => preload.environment(control).into(),
            _ => Vec::new(),
        };
        Ok(Launch { program: self.settings.program.clone(), arguments, environment, log: self.log(name) })
    }

    /// Tells clients where members are. A member that is down stays among them: clients do not know.
    fn announce(&self) {
        let known = self.members.iter().filter(|(_, member)| !member.entry.is_empty());
        let addresses = known.map(|(name, member)| (name.clone(), format!("http://127.0.0.1:{}", member.client_port)));
        self.shared.endpoints.set(addresses.collect());
    }

    /// SIGKILL.
    pub async fn kill(&mut self, name: &str) {
        if let Some(process) = self.members.get_mut(name).and_then(|member| member.process.take()) {
            process.kill().await;
        }
    }

    /// Sends a signal to a member's process.
    pub fn signal(&self, name: &str, signal: Signal) {
        if let Some(process) = self.members.get(name).and_then(|member| member.process.as_ref()) {
            process.signal(signal);
        }
    }

    /// Waits so long for a member's process to end by itself; whether it did.
    pub async fn wait_for_end(&mut self, name: &str, patience: Duration) -> bool {
        let Some(member) = self.members.get_mut(name) else { return true };
        let Some(process) = member.process.as_mut() else { return true };
        let ended = process.wait(patience).await.is_some();
        if ended {
            member.process = None;
        }
        ended
    }

    /// Whether a member's process runs.
    pub fn runs(&mut self, name: &str) -> bool {
        let process = self.members.get_mut(name).and_then(|member| member.process.as_mut());
        process.is_some_and(|process| process.ended().is_none())
    }

    /// Takes members for a fault, as far as no other has them; which it got.
    pub fn claim(&mut self, names: &[String]) -> Vec<String> {
        let mut claimed = Vec::new();
        for name in names {
            if let Some(member) = self.members.get_mut(name)
                && !std::mem::replace(&mut member.claimed, true)
            {
                claimed.push(name.clone());
            }
        }
        claimed
    }

    /// Gives members back.
    pub fn release(&mut self, names: &[String]) {
        for name in names {
            if let Some(member) = self.members.get_mut(name) {
                member.claimed = false;
            }
        }
    }

    /// The numbers by which a member's flushes fail and its clock jumps.
    #[must_use]
    pub fn control(&self, name: &str) -> Option<&Control> {
        self.members.get(name).and_then(|member| member.control.as_ref())
    }

    /// A member's own small disk.
    #[must_use]
    pub fn disk(&self, name: &str) -> Option<&SmallDisk> {
        self.members.get(name).and_then(|member| member.disk.as_ref())
    }

    /// Changes what happens on links between members.
    pub fn set_rules(&self, rules: Rules) {
        self.rules.send_replace(rules);
    }

    /// A member leaves for good. Its data stay until a few more have left.
    pub async fn retire(&mut self, name: &str) {
        self.kill(name).await;
        if let Some(member) = self.members.remove(name) {
            self.retired.push_back((name.to_owned(), member.disk));
        }
        if self.retired.len() > RETIRED_MAX
            && let Some((oldest, disk)) = self.retired.pop_front()
        {
            drop(disk);
            self.delete_data(&oldest);
        }
        self.announce();
    }

    /// Deletes what nobody will look at. What cannot be deleted stays, and does no harm.
    fn delete_data(&self, name: &str) {
        let _ = std::fs::remove_dir_all(self.data_directory(name));
        let _ = std::fs::remove_file(self.settings.directory.join(format!("{name}.control")));
    }

    /// Deletes all data, after a run that leaves no question: logs and history stay.
    pub fn delete_all_data(&mut self) {
        let mut names = self.names();
        names.extend(self.retired.iter().map(|(name, _)| name.clone()));
        // With their disks, which are mounted where the data are.
        self.members.clear();
        self.retired.clear();
        names.iter().for_each(|name| self.delete_data(name));
    }

    /// How many times members said that they installed a snapshot.
    #[must_use]
    pub fn snapshots_installed(&self) -> usize {
        let count = |number| {
            let log = std::fs::read(self.log(&format!("node{number}"))).unwrap_or_default();
            String::from_utf8_lossy(&log).lines().filter(|line| line.contains("a snapshot was installed")).count()
        };
        (1..=self.named).map(count).sum()
    }

    /// Notes whether members may be removed.
    pub fn set_leaving(&mut self, names: &[String], leaving: bool) {
        for name in names {
            if let Some(member) = self.members.get_mut(name) {
                member.leaving = leaving;
            }
        }
    }

    /// Starts every member again that ended although no fault has it, and notes that as a violation: nothing excuses it.
    ///
    /// # Errors
    /// When the system refuses the start.
    pub fn look_after(&mut self) -> Result<Vec<String>> {
        let has_ended = |member: &mut Member| {
            let ended = member.process.as_mut().and_then(Process::ended).filter(|_| !member.claimed && !member.leaving);
            ended.inspect(|_| member.process = None)
        };
        let ended: Vec<(String, std::process::ExitStatus)> =
            self.members.iter_mut().filter_map(|(name, member)| Some((name.clone(), has_ended(member)?))).collect();
        for (name, status) in &ended {
            let words = last_words(&self.log(name));
            self.findings.push(format!("{name} ended by itself ({status}): {words}"));
            self.start(name)?;
        }
        Ok(ended.into_iter().map(|(name, _)| name).collect())
    }

    /// A violation that whoever does the harm saw.
    pub fn find(&mut self, finding: String) {
        self.findings.push(finding);
    }

    /// Violations.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// The end of a member's log.
    #[must_use]
    pub fn last_words(&self, name: &str) -> String {
        last_words(&self.log(name))
    }

    /// In how many lines of its log a member said this.
    #[must_use]
    pub fn times_said(&self, name: &str, words: &str) -> usize {
        std::fs::read(self.log(name))
            .map_or(0, |log| String::from_utf8_lossy(&log).lines().filter(|line| line.contains(words)).count())
    }

    /// What every member was told beside where it is.
    #[must_use]
    pub fn flags(&self) -> &[String] {
        &self.flags
    }

    /// Takes all harm back, whatever it was, and starts what does not run.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn heal(&mut self) -> Result<()> {
        // What ended before was not healed away.
        self.look_after()?;
        self.set_rules(Rules::new());
        for name in self.names() {
            self.signal(&name, Signal::CONT);
            if let Some(disk) = self.disk(&name) {
                disk.empty()?;
            }
            if let Some(control) = self.control(&name) {
                control.fail_flushes(0)?;
                control.set_clock_offset_ms(0)?;
            }
            let ended = !self.runs(&name);
            if let Some(member) = self.members.get_mut(&name) {
                member.claimed = false;
                if ended {
                    member.process = None;
                }
            }
            self.start(&name)?;
        }
        Ok(())
    }

    /// Stops all, as an operator would. Who does not end is killed and noted.
    pub async fn stop(&mut self) {
        for name in self.names() {
            self.signal(&name, Signal::TERM);
        }
        for name in self.names() {
            if !self.wait_for_end(&name, STOP_PATIENCE).await {
                let words = self.last_words(&name);
                self.shared
                    .recorder
                    .note("nemesis", serde_json::json!({ "killed_as_it_did_not_stop": name, "log": words }));
                self.kill(&name).await;
            }
        }
    }

    /// Copies the small disks into the directory of the run: they are gone with this process.
    ///
    /// # Errors
    /// When a copy fails.
    pub fn keep_disks(&self) -> Result<()> {
        let living = self.members.iter().filter_map(|(name, member)| Some((name, member.disk.as_ref()?)));
        let retired = self.retired.iter().filter_map(|(name, disk)| Some((name, disk.as_ref()?)));
        for (name, disk) in living.chain(retired) {
            disk.copy_to(&self.settings.directory.join(format!("{name}.disk")))?;
        }
        Ok(())
    }

    /// How many members there should be.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.settings.nodes
    }

    /// Whether a member was told whom to join or found a cluster with, and so was started.
    #[must_use]
    pub fn was_started(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|member| !member.entry.is_empty())
    }

    /// Members that no fault has.
    #[must_use]
    pub fn unclaimed(&self) -> BTreeSet<String> {
        self.members.iter().filter(|(_, member)| !member.claimed).map(|(name, _)| name.clone()).collect()
    }
}

/// Settings that make rare things happen often.
fn draw_flags(settings: &Settings) -> Vec<String> {
    let mut chance = Chance::new(settings.seed, "flags");
    let mut flags = vec!["--log-level=info".to_owned(), format!("--protocol={}", settings.protocol)];
    let mut draw = |flag: &str, values: &[u64]| {
        if let Some(value) = chance.pick(values).filter(|value| **value > 0) {
            flags.push(format!("--{flag}={value}"));
        }
    };
    draw("max-watch-stream-pending-bytes", &[0, 2_000, 64_000]);
    draw("max-learners", &[2]);
    // A member that was away for a while finds the log gone, and takes a snapshot.
    draw("snapshot-count", &[0, 50, 500]);
    draw("snapshot-catchup-entries", &[0, 20, 200]);
    draw("max-batch-commands", &[0, 2, 16]);
    if settings.has(FaultKind::FullDisk) {
        // Far enough below what a small disk has, and above what is left when it is filled.
        draw("low-space-bytes", &[67_108_864]);
    }
    // Monotonic clocks are left alone, so leases must be as good as asking a majority, where there are any.
    if chance.happens(30) && ["raft", "multi-paxos"].contains(&settings.protocol.as_str()) {
        flags.push(LEASE_READS.to_owned());
    }
    flags
}

/// One member in three misses a leader later than the others, and believes longer that it leads when it does not any more. Not with
/// leases: of these all must make the same of time.
fn draw_patience(seed: u64, name: &str, flags: &[String]) -> Option<String> {
    let mut chance = Chance::new(seed, name);
    let may_differ = !flags.iter().any(|flag| flag == LEASE_READS);
    let timeout_ms = chance.pick(&[2_000, 3_000, 5_000]).copied().filter(|_| may_differ && chance.happens(33))?;
    Some(format!("--election-timeout={timeout_ms}"))
}
