//! Which servers a client command talks to.

use anyhow::{Context, Result, bail};
use clap::Args;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// What every client command takes.
#[derive(Args, Clone, Debug)]
pub struct ClientArguments {
    /// Servers to try in order, comma-separated: host:port or http://host:port
    #[arg(long, env = "QUORATE_ENDPOINTS", value_delimiter = ',', default_value = "127.0.0.1:2379")]
    pub endpoints: Vec<String>,
    /// How long to wait for one server
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout_ms: u64,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub output: OutputFormat,
}

/// For people or for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

impl ClientArguments {
    /// The first server that can be reached.
    pub async fn connect(&self) -> Result<Channel> {
        let mut failures = Vec::new();
        for endpoint in &self.endpoints {
            match self.connect_to(endpoint).await {
                Ok(channel) => return Ok(channel),
                Err(error) => failures.push(format!("{endpoint}: {error:#}")),
            }
        }
        bail!("no server answers ({}). Is a cluster up? `quorate up` starts one", failures.join("; "))
    }

    /// One server.
    pub async fn connect_to(&self, endpoint: &str) -> Result<Channel> {
        let timeout = Duration::from_millis(self.timeout_ms);
        let url = if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
        if url.starts_with("https://") {
            bail!("TLS is not there yet in this version; use http://");
        }
        let endpoint = Endpoint::from_shared(url).context("not an address")?;
        let channel = endpoint.connect_timeout(timeout).timeout(timeout).tcp_nodelay(true).connect().await;
        channel.map_err(|error| anyhow::anyhow!(root_cause(&error)))
    }
}

/// What went wrong underneath: the outer layers only say "transport error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
