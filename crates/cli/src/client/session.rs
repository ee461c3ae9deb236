//! `--exactly-once`: one request in a session of its own.

use crate::endpoint::ClientArguments;
use crate::exit::usage;
use anyhow::Result;
use quorate_client::{CallError, Session, Settings};
use std::time::Duration;

/// What a session that was used for one request may take to be forgotten, before that is left to the cluster.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);
/// How long one server of several may take before another is asked.
const TRY_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Opens a session, makes one request in it, and closes it. All of it within the client's time limit.
pub async fn once<T>(
    client: &ClientArguments,
    request: impl AsyncFnOnce(&Session) -> Result<T, CallError>,
) -> Result<T> {
    let patience = Duration::from_millis(client.timeout_ms);
    let mut settings = Settings::new(&client.endpoints).map_err(usage)?;
    settings.patience = Some(patience);
    settings.try_timeout = if client.endpoints.len() > 1 { TRY_TIMEOUT.min(patience) } else { patience };
    let session = Session::open(settings).await.map_err(in_words)?;
    let answer = request(&session).await.map_err(in_words);
    // It is answered; a session that stays makes room for others in time.
    drop(tokio::time::timeout(CLOSE_PATIENCE, session.close()).await);
    answer
}

fn in_words(error: CallError) -> anyhow::Error {
    match error {
        CallError::NoSessions { .. } => {
            anyhow::anyhow!("--exactly-once needs Quorate servers, and this one does not know sessions: {error}")
        }
        CallError::InDoubt { .. } => anyhow::anyhow!("{error} (--timeout-ms waits longer)"),
        CallError::NotTaken { last } => {
            anyhow::anyhow!("no server took the request ({last}). Is a cluster up? `quorate up` starts one")
        }
        other => anyhow::anyhow!(other),
    }
}
