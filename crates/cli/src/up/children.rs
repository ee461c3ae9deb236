//! The nodes' processes.

use super::NodePlan;
use super::last_words::last_words;
use crate::exit::WRONG_USAGE;
use anyhow::{Context, Result, ensure};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::mpsc;

/// How long a node may take to stop before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// One node of the fleet, by its place in the layout.
#[derive(Clone, Debug)]
pub struct Child {
    index: usize,
    plan: NodePlan,
}

impl Child {
    /// Its layout.
    pub fn plan(&self) -> &NodePlan {
        &self.plan
    }
}

/// What happened to a child.
#[derive(Debug)]
pub enum Event {
    /// A signal ended it.
    Killed {
        /// Which.
        child: Child,
        /// In words.
        how: String,
    },
    /// It ended itself, for a reason that starting it again would not change.
    GaveUp {
        /// Which.
        child: Child,
        /// The end of its log.
        last_words: String,
        /// Whether it ended with the code of wrong usage, having done nothing.
        refused_settings: bool,
    },
}

/// All nodes.
pub struct Fleet {
    directory: PathBuf,
    /// Settings for every node, as the command line gave them.
    settings: Vec<String>,
    children: Vec<Child>,
    /// Process ids of those that run.
    running: Vec<Option<u32>>,
    /// Where in its log each one's last start begins, in bytes.
    log_begins: Vec<u64>,
    exits: mpsc::UnboundedReceiver<(usize, std::io::Result<ExitStatus>)>,
    exited: mpsc::UnboundedSender<(usize, std::io::Result<ExitStatus>)>,
}

impl Fleet {
    /// Nothing runs yet.
    pub fn new(directory: PathBuf, plans: Vec<NodePlan>, settings: Vec<String>) -> Fleet {
        let (exited, exits) = mpsc::unbounded_channel();
        let (running, log_begins) = (vec![None; plans.len()], vec![0; plans.len()]);
        let children = plans.into_iter().enumerate().map(|(index, plan)| Child { index, plan }).collect();
        Fleet { directory, settings, children, running, log_begins, exits, exited }
    }

    /// Starts every node.
    pub fn start_all(&mut self) -> Result<()> {
        for child in self.children.clone() {
            self.start(&child)?;
        }
        Ok(())
    }

    /// Starts one node. Its standard input is a pipe that this process holds: the node ends when the pipe does, so that no
    /// node outlives `up`, however that ends.
    pub fn start(&mut self, child: &Child) -> Result<()> {
        let log_path = log_path(&self.directory, child);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .with_context(|| format!("cannot write {}", log_path.display()))?;
        self.log_begins[child.index] = log.metadata().map_or(0, |file| file.len());
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let plan = &child.plan;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster: Vec<String> =
            self.children.iter().map(|member| format!("{}={}", member.plan.name, url(member.plan.peer_port))).collect();
        let mut command = Command::new(program);
        // What this process was told by variables is not meant for each of its nodes.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("QUORATE_")) {
            command.env_remove(name);
        }
        let mut process = command
            .arg("serve")
            .args(["--name", &plan.name, "--data-dir"])
            .arg(self.directory.join(&plan.name))
            .args(["--listen-client-urls", &url(plan.client_port)])
            .args(["--listen-peer-urls", &url(plan.peer_port)])
            .args(["--initial-cluster", &cluster.join(",")])
            .arg("--stop-with-stdin")
            .args(&self.settings)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start a node")?;
        self.running[child.index] = process.id();
        let (index, exited) = (child.index, self.exited.clone());
        let stdin = process.stdin.take();
        tokio::spawn(async move {
            let status = process.wait().await;
            drop(stdin);
            // When `up` is stopping, nobody listens any more.
            let _ = exited.send((index, status));
        });
        Ok(())
    }

    /// Waits for a node to end.
    pub async fn next_event(&mut self) -> Event {
        let Some((index, status)) = self.exits.recv().await else {
            unreachable!("this fleet itself holds a sender");
        };
        self.running[index] = None;
        let child = self.children[index].clone();
        match status {
            Ok(status) if status.signal().is_some() => {
                Event::Killed { child, how: format!("killed by signal {}", status.signal().unwrap_or_default()) }
            }
            Ok(status) => {
                let last_words = last_words(&log_path(&self.directory, &child), self.log_begins[index]);
                Event::GaveUp { child, last_words, refused_settings: status.code() == Some(i32::from(WRONG_USAGE)) }
            }
            Err(error) => Event::GaveUp { child, last_words: error.to_string(), refused_settings: false },
        }
    }

    /// How many nodes run.
    pub fn running(&self) -> usize {
        self.running.iter().flatten().count()
    }

    /// Removes the logs of nodes that did nothing. One that made a directory of its own did something: everything stays then.
    ///
    /// # Errors
    /// In words, when something is left.
    pub fn forget_logs(&self) -> Result<()> {
        for child in &self.children {
            let data = self.directory.join(child.plan.name.as_str());
            ensure!(!data.exists(), "{} is there", data.display());
        }
        for child in &self.children {
            let log = log_path(&self.directory, child);
            std::fs::remove_file(&log).with_context(|| format!("cannot remove {}", log.display()))?;
        }
        Ok(())
    }

    /// Client endpoints with the nodes' names.
    pub fn endpoints(&self) -> Vec<(String, String)> {
        self.children
            .iter()
            .map(|child| (child.plan.name.clone(), format!("127.0.0.1:{}", child.plan.client_port)))
            .collect()
    }

    /// Where the logs are.
    pub fn log_hint(&self) -> String {
        self.directory.join("node*.log").display().to_string()
    }

    /// Asks every node to end, and ends those that do not.
    pub async fn stop_all(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        let all_gone = async {
            while self.running.iter().any(Option::is_some) {
                match self.exits.recv().await {
                    Some((index, _)) => self.running[index] = None,
                    None => return,
                }
            }
        };
        if tokio::time::timeout(STOP_GRACE, all_gone).await.is_err() {
            self.signal(rustix::process::Signal::KILL);
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        for id in self.running.iter().flatten() {
            if let Some(process) = i32::try_from(*id).ok().and_then(rustix::process::Pid::from_raw) {
                // It may have ended this very moment.
                let _ = rustix::process::kill_process(process, signal);
            }
        }
    }
}

fn log_path(directory: &Path, child: &Child) -> PathBuf {
    directory.join(format!("{}.log", child.plan.name))
}
