//! Channels to the endpoints.

use crate::settings::Settings;
use anyhow::{Context, Result, anyhow};
use tonic::transport::{Channel, Endpoint};

/// `connections` channels to each endpoint, the endpoints taking turns so that clients that take channels in order are
/// spread evenly.
pub(crate) async fn connect(settings: &Settings) -> Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for _ in 0..settings.connections {
        for endpoint in &settings.endpoints {
            channels.push(connect_to(endpoint, settings).await?);
        }
    }
    Ok(channels)
}

pub(crate) async fn connect_to(endpoint: &str, settings: &Settings) -> Result<Channel> {
    let address = Endpoint::from_shared(endpoint.to_owned()).with_context(|| format!("{endpoint} is no address"))?;
    let channel = address
        .tcp_nodelay(true)
        .connect_timeout(settings.timeout)
        .timeout(settings.timeout)
        // Large enough that flow control of the client is never what is measured.
        .initial_connection_window_size(8 << 20)
        .initial_stream_window_size(2 << 20)
        .connect()
        .await;
    channel.map_err(|error| anyhow!("{endpoint} does not answer: {}", root_cause(&error)))
}

/// What went wrong underneath: the outer layers only say "transport error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
