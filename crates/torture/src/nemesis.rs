//! Does what the schedule says, takes it back, and notes when both was.

mod disk;
mod membership;
mod network;

use crate::cluster::{Cluster, serving};
use crate::schedule::{Fault, Planned, Schedule, Victims};
use crate::settings::FaultKind;
use crate::shared::Shared;
use anyhow::Result;
use rustix::process::Signal;
use serde_json::json;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use disk::disarm_alarms;
pub use membership::reconcile;

/// A member whose flush failed ends; a machine that is busy may take a while over it.
const END_PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// One fault that was done and taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Its kind.
    pub kind: FaultKind,
    /// What was done, to whom.
    pub words: String,
    /// Since the start of the run.
    pub began_ns: u64,
    /// When it was taken back.
    pub ended_ns: u64,
    /// Whether it did any harm: a flush that was to fail and never came did not.
    pub harmed: bool,
}

/// Whoever does the harm.
#[derive(Debug)]
pub struct Nemesis {
    /// The members.
    pub cluster: Mutex<Cluster>,
    shared: Arc<Shared>,
    done: std::sync::Mutex<Vec<Done>>,
    /// Until it has room again, alarms are left alone.
    disk_is_full: AtomicBool,
}

impl Nemesis {
    /// Over these members.
    #[must_use]
    pub fn new(cluster: Cluster, shared: Arc<Shared>) -> Nemesis {
        let (done, disk_is_full) = (std::sync::Mutex::default(), AtomicBool::new(false));
        Nemesis { cluster: Mutex::new(cluster), shared, done, disk_is_full }
    }

    /// What was done so far.
    #[must_use]
    pub fn done(&self) -> Vec<Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does everything, lane beside lane.
    ///
    /// # Errors
    /// When the system refuses what a fault needs: such a run judges nothing.
    pub async fn follow(&self, schedule: &Schedule, start: Instant) -> Result<()> {
        tokio::try_join!(
            self.lane(&schedule.processes, start),
            self.lane(&schedule.network, start),
            self.lane(&schedule.membership, start),
        )
        .map(drop)
    }

    /// Looks after members that end although nothing was done to them. Ends only when it is aborted.
    ///
    /// # Errors
    /// When one cannot be started again.
    pub async fn look_after(&self) -> Result<()> {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            for name in self.cluster.lock().await.look_after()? {
                self.shared.recorder.note("nemesis", json!({ "ended_by_itself": name }));
            }
        }
    }

    async fn lane(&self, lane: &[Planned], start: Instant) -> Result<()> {
        for planned in lane {
            tokio::time::sleep_until(start + planned.at).await;
            if self.shared.stopping() {
                break;
            }
            self.shared.recorder.note("nemesis", json!({ "begins": planned.fault.to_string() }));
            let began_ns = self.shared.recorder.now_ns();
            let (words, harmed) = self.carry_out(planned).await?;
            let ended_ns = self.shared.recorder.now_ns();
            let note = json!({ "done": words, "began_ns": began_ns, "ended_ns": ended_ns, "harmed": harmed });
            self.shared.recorder.note("nemesis", note);
            let done = Done { kind: planned.fault.kind(), words, began_ns, ended_ns, harmed };
            self.done.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        }
        Ok(())
    }

    /// What was done, in words, and whether it did any harm.
    async fn carry_out(&self, planned: &Planned) -> Result<(String, bool)> {
        let lasts = planned.lasts;
        match &planned.fault {
            Fault::Kill(victims) => self.kill(victims, lasts).await,
            Fault::Pause(victims) => self.pause(victims, lasts).await,
            Fault::Cut { shape, harm } => self.cut(shape, harm, lasts).await,
            Fault::FullDisk { victim, free_bytes } => self.fill_disk(victim, *free_bytes, lasts).await,
            Fault::FailingFlush { victim, flushes } => self.fail_flushes(victim, *flushes, lasts).await,
            Fault::Clock { victim, jump_ms } => self.jump_clock(victim, *jump_ms, lasts).await,
            Fault::Member { change, old } => self.change_members(change, old).await,
        }
    }

    /// Who is meant, now.
    async fn resolve(&self, victims: &Victims) -> Vec<String> {
        let addresses = self.cluster.lock().await.addresses();
        let names: Vec<String> = addresses.iter().map(|(name, _)| name.clone()).collect();
        match victims {
            Victims::All => names,
            Victims::Leader => {
                let leader = serving::leader(&addresses).await;
                leader.or_else(|| names.first().cloned()).into_iter().collect()
            }
            Victims::Some { first, count } => {
                let start = (*first as usize).checked_rem(names.len()).unwrap_or(0);
                names.iter().cycle().skip(start).take((*count).min(names.len())).cloned().collect()
            }
        }
    }

    /// Who is meant, as far as no other fault has them; if that is nobody, another member.
    async fn claim(&self, victims: &Victims) -> Vec<String> {
        let names = self.resolve(victims).await;
        let mut cluster = self.cluster.lock().await;
        let claimed = cluster.claim(&names);
        if !claimed.is_empty() {
            return claimed;
        }
        let another: Vec<String> = cluster.unclaimed().into_iter().take(1).collect();
        cluster.claim(&another)
    }

    async fn kill(&self, victims: &Victims, lasts: Duration) -> Result<(String, bool)> {
        let names = self.claim(victims).await;
        {
            let mut cluster = self.cluster.lock().await;
            // All at once, before any is waited for.
            names.iter().for_each(|name| cluster.signal(name, Signal::KILL));
            for name in &names {
                cluster.kill(name).await;
            }
        }
        tokio::time::sleep(lasts).await;
        let mut cluster = self.cluster.lock().await;
        for name in &names {
            cluster.start(name)?;
        }
        cluster.release(&names);
        Ok((format!("kill {}", names.join(", ")), !names.is_empty()))
    }

    async fn pause(&self, victims: &Victims, lasts: Duration) -> Result<(String, bool)> {
        let names = self.claim(victims).await;
        let signal = async |signal| {
            let cluster = self.cluster.lock().await;
            names.iter().for_each(|name| cluster.signal(name, signal));
        };
        signal(Signal::STOP).await;
        tokio::time::sleep(lasts).await;
        signal(Signal::CONT).await;
        self.cluster.lock().await.release(&names);
        Ok((format!("pause {} for {} ms", names.join(", "), lasts.as_millis()), !names.is_empty()))
    }

    /// A member whose flush failed does not know any more what is on its disk, so it must end; but a note of a peer's start that could not
    /// be written is no more than said: nothing rests on it.
    async fn fail_flushes(&self, victim: &Victims, flushes: u64, lasts: Duration) -> Result<(String, bool)> {
        let names = self.claim(victim).await;
        let Some(name) = names.first() else { return Ok(("failing flush of nobody".to_owned(), false)) };
        let failed = async || match self.cluster.lock().await.control(name) {
            Some(control) => control.flushes_failed(),
            None => Ok(0),
        };
        let noted = async || self.cluster.lock().await.times_said(name, "cannot note a peer's disk and start");
        let (before, noted_before) = (failed().await?, noted().await);
        if let Some(control) = self.cluster.lock().await.control(name) {
            control.fail_flushes(i64::try_from(flushes).unwrap_or(1))?;
        }
        tokio::time::sleep(lasts).await;
        if let Some(control) = self.cluster.lock().await.control(name) {
            control.fail_flushes(0)?;
        }
        let count = failed().await? - before;
        let only_notes = i64::try_from(noted().await - noted_before).is_ok_and(|notes| notes >= count);
        let ended = count == 0 || only_notes || self.wait_for_end(name).await;
        let mut cluster = self.cluster.lock().await;
        if !ended {
            cluster.find(format!("{name} goes on although {count} of its flushes failed"));
        }
        let words = cluster.last_words(name);
        if !cluster.runs(name) {
            cluster.kill(name).await;
            cluster.start(name)?;
        }
        cluster.release(&names);
        Ok((format!("{count} failed flushes of {name}; its last words: {words}"), count > 0))
    }

    /// Whether a member ends by itself.
    async fn wait_for_end(&self, name: &str) -> bool {
        let until = Instant::now() + END_PATIENCE;
        while Instant::now() < until {
            if !self.cluster.lock().await.runs(name) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    async fn jump_clock(&self, victims: &Victims, jump_ms: i64, lasts: Duration) -> Result<(String, bool)> {
        let names = self.claim(victims).await;
        let set = async |offset_ms| {
            let cluster = self.cluster.lock().await;
            names
                .iter()
                .filter_map(|name| cluster.control(name))
                .try_for_each(|control| control.set_clock_offset_ms(offset_ms))
        };
        set(jump_ms).await?;
        tokio::time::sleep(lasts).await;
        set(0).await?;
        self.cluster.lock().await.release(&names);
        Ok((format!("clock of {} {jump_ms} ms off for {} ms", names.join(", "), lasts.as_millis()), !names.is_empty()))
    }
}
