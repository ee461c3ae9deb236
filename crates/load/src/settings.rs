//! What is asked for.

use anyhow::{Result, bail};
use serde::Serialize;
use std::time::Duration;

/// Which requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Puts of random keys.
    Put,
    /// Linearizable gets of single random keys.
    Get,
    /// Serializable gets of single random keys.
    SerializableGet,
    /// Linearizable ranges of up to 100 neighbouring keys.
    Range,
    /// Puts and linearizable gets.
    Mixed,
    /// Transactions of one compare and one put of a random key.
    Txn,
    /// Watchers of one prefix, and puts under it: measures from the put's start to the event's arrival.
    Watch,
    /// Grants, one key each, a renewal, and a revocation: one operation is the whole life of a lease.
    Lease,
    /// Puts through every endpoint while the leader is killed: measures the longest gap between successful puts.
    Failover,
}

/// How long a run lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many operations.
    Operations(u64),
    /// So long.
    Time(Duration),
}

/// One run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://host:port` each. Clients are spread over them evenly.
    pub endpoints: Vec<String>,
    /// Which requests.
    pub workload: Workload,
    /// Requests in flight (closed loop), or at most in flight (open loop).
    pub clients: usize,
    /// TCP connections to each endpoint.
    pub connections: usize,
    /// How long.
    pub amount: Amount,
    /// Not counted, before the rest.
    pub warm_up: Duration,
    /// Operations a second, started on time whatever the answers do; `None` for a closed loop.
    pub rate: Option<f64>,
    /// Different keys.
    pub key_space: u64,
    /// Bytes of a key, the prefix included.
    pub key_bytes: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Share of reads in [`Workload::Mixed`], 0 to 100.
    pub read_percent: u8,
    /// Watchers in [`Workload::Watch`].
    pub watchers: usize,
    /// Under this prefix everything is written.
    pub prefix: String,
    /// Chooses the keys.
    pub seed: u64,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// In [`Workload::Failover`]: kill the leader's process (on this machine) after this long.
    pub kill_leader_after: Option<Duration>,
    /// Write every key once, in order, before measuring; reads of absent keys measure little.
    pub fill: bool,
}

impl Default for Settings {
    /// 64 clients, 10 seconds, 256 bytes a value, 10,000 keys, at the usual port.
    fn default() -> Settings {
        Settings {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            workload: Workload::Put,
            clients: 64,
            connections: 1,
            amount: Amount::Time(Duration::from_secs(10)),
            warm_up: Duration::from_secs(1),
            rate: None,
            key_space: 10_000,
            key_bytes: 24,
            value_bytes: 256,
            read_percent: 90,
            watchers: 1000,
            prefix: "bench/".to_owned(),
            seed: 1,
            timeout: Duration::from_secs(10),
            kill_leader_after: None,
            fill: false,
        }
    }
}

impl Settings {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// In words, which setting and why.
    pub fn check(&self) -> Result<()> {
        if self.endpoints.is_empty() {
            bail!("no endpoint is given");
        }
        if self.clients == 0 || self.connections == 0 || self.key_space == 0 {
            bail!("clients, connections and keys must each be at least 1");
        }
        if self.read_percent > 100 {
            bail!("{} percent of reads is more than all", self.read_percent);
        }
        if self.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            bail!("the rate must be a positive number of operations a second");
        }
        let digits = self.key_space.ilog10() as usize + 1;
        if self.prefix.len() + digits > self.key_bytes {
            bail!("keys of {} bytes have no room for the prefix {:?} and {digits} digits", self.key_bytes, self.prefix);
        }
        if self.workload == Workload::Watch && self.value_bytes < 8 {
            bail!("the watch workload puts a time of 8 bytes into each value: use --value-bytes 8 or more");
        }
        if self.kill_leader_after.is_some() && self.workload != Workload::Failover {
            bail!("only the failover workload kills the leader");
        }
        Ok(())
    }
}
