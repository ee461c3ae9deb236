//! One member's process.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// What it is told.
    pub arguments: Vec<String>,
    /// More variables.
    pub environment: Vec<(&'static str, PathBuf)>,
    /// Where its words go, after what is there.
    pub log: PathBuf,
}

/// A process that ends with this value, and with this program however it ends: its standard input is a pipe that we hold, and
/// where `setpriv` is there, the system kills it when we die. The latter counts for processes that are stopped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    _stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(launch: &Launch) -> Result<Process> {
        let opened = OpenOptions::new().create(true).append(true).open(&launch.log);
        let log = opened.with_context(|| format!("cannot write {}", launch.log.display()))?;
        let mut command = std::process::Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&launch.program);
        if !setpriv_works() {
            command = std::process::Command::new(&launch.program);
        }
        // What this process was told by variables is not meant for members.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QUORATE_")) {
            command.env_remove(name);
        }
        command
            .args(&launch.arguments)
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            // Ctrl-C is for us alone.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().context("cannot share a log")?)
            .stderr(log);
        let mut child = Command::from(command).kill_on_drop(true).spawn().context("cannot start a member")?;
        let stdin = child.stdin.take();
        Ok(Process { child, _stdin: stdin })
    }

    /// Its id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal, if it still runs.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // It may have ended this very moment.
            let _ = kill_process(pid, signal);
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(mut self) {
        // It may have ended before.
        let _ = self.child.kill().await;
    }

    /// Waits so long for its end.
    pub async fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        tokio::time::timeout(patience, self.child.wait()).await.ok()?.ok()
    }
}

/// Of util-linux; without it a stopped process would outlive a SIGKILL of ours.
fn setpriv_works() -> bool {
    use std::sync::OnceLock;
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let tried = std::process::Command::new("setpriv").args(["--pdeathsig", "KILL", "--", "true"]).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

/// The last lines that say something.
#[must_use]
pub fn last_words(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines: Vec<&str> = text.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    lines.reverse();
    if lines.is_empty() { format!("nothing in {}", log.display()) } else { lines.join(" | ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(directory: &Path, arguments: &[&str]) -> Launch {
        Launch {
            program: PathBuf::from("/bin/sh"),
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            environment: Vec::new(),
            log: directory.join("log"),
        }
    }

    fn runs(id: u32) -> bool {
        // A process that ended and was not waited for is a Z.
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    }

    #[tokio::test]
    async fn a_process_is_gone_with_its_value_even_if_it_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let process = Process::start(&launch(directory.path(), &["-c", "sleep 1000"])).unwrap();
        let id = process.id().unwrap();
        process.signal(Signal::STOP);
        assert!(runs(id));
        drop(process);
        for _ in 0..200 {
            if !runs(id) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("process {id} still runs");
    }

    #[tokio::test]
    async fn its_end_and_its_words_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let launch = launch(directory.path(), &["-c", "echo one; echo two >&2; exit 7"]);
        let mut process = Process::start(&launch).unwrap();
        let status = process.wait(Duration::from_secs(20)).await.unwrap();
        assert_eq!(status.code(), Some(7));
        assert_eq!(process.ended().and_then(|status| status.code()), Some(7));
        assert_eq!(last_words(&launch.log), "one | two");
    }
}
