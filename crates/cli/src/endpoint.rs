//! Which servers a client command talks to.

use anyhow::{Context, Result, bail};
use clap::Args;
use quorate_server::proto::grpc::health::v1::HealthCheckRequest;
use quorate_server::proto::grpc::health::v1::health_check_response::ServingStatus;
use quorate_server::proto::grpc::health::v1::health_client::HealthClient;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// How long a server may take to say whether it serves, while there are others to try.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// What every client command takes.
#[derive(Args, Clone, Debug)]
pub struct ClientArguments {
    /// Servers to try in order, comma-separated: host:port or http://host:port
    #[arg(long, env = "QUORATE_ENDPOINTS", value_delimiter = ',', default_value = "127.0.0.1:2379")]
    pub endpoints: Vec<String>,
    /// How long to wait for an answer; a server itself gives up after 7 seconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
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
    /// The first server that says it can serve; if none does, the first that says anything. A server that takes connections but is
    /// stopped or hangs says nothing, so it is passed over. With one server there is no choice, and it is not asked.
    pub async fn connect(&self) -> Result<Channel> {
        if let [only] = self.endpoints.as_slice() {
            let channel = self.connect_to(only).await;
            return channel.map_err(|error| no_answer(&[format!("{only}: {error:#}")]));
        }
        let mut failures = Vec::new();
        let mut second_best = None;
        for endpoint in &self.endpoints {
            match self.answering(endpoint).await {
                Ok((channel, true)) => return Ok(channel),
                Ok((channel, false)) => second_best = second_best.or(Some(channel)),
                Err(error) => failures.push(format!("{endpoint}: {error:#}")),
            }
        }
        second_best.ok_or_else(|| no_answer(&failures))
    }

    /// A server that says something, and whether it says that it can serve.
    async fn answering(&self, endpoint: &str) -> Result<(Channel, bool)> {
        let patience = Duration::from_millis(self.timeout_ms).min(PROBE_TIMEOUT);
        let asked = async {
            let channel = self.connect_to(endpoint).await?;
            let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
            anyhow::Ok((channel, health))
        };
        let Ok(answered) = tokio::time::timeout(patience, asked).await else {
            bail!("no answer within {} ms", patience.as_millis());
        };
        let (channel, health): (Channel, Result<_, tonic::Status>) = answered?;
        let serves = match health {
            Ok(answer) => answer.into_inner().status() == ServingStatus::Serving,
            // Servers without a health service may serve all the same.
            Err(status) if status.code() == tonic::Code::Unimplemented => true,
            Err(status) => bail!("{}", status.message()),
        };
        Ok((channel, serves))
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

fn no_answer(failures: &[String]) -> anyhow::Error {
    anyhow::anyhow!("no server answers ({}). Is a cluster up? `quorate up` starts one", failures.join("; "))
}

/// What went wrong underneath: the outer layers only say "transport error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
