//! `/livez` and `/readyz`: named checks, one by one or all together, as in late releases of etcd 3.5.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::StatusCode;
use quorate_keyspace::{self as keyspace, KeyspaceError};
use quorate_machine::Consistency;

use crate::backend::{Backend, LocalView};
use crate::errors::BackendError;
use crate::front::Front;
use crate::http::{PLAIN_TEXT, Parameters, not_found_response};

/// Selects the checks of `/livez`: the process can answer from its own state.
pub(crate) const LIVEZ: bool = false;
/// Selects the checks of `/readyz`: the member can serve clients.
pub(crate) const READYZ: bool = true;

const LIVEZ_CHECKS: &[Check] = &[Check::SerializableRead];
const READYZ_CHECKS: &[Check] =
    &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    async fn run<B: Backend>(self, front: &Front<B>) -> Result<(), BackendError> {
        match self {
            // A corrupt member refuses every read.
            Self::DataCorruption => match read(front, true).await {
                Err(error) if error == KeyspaceError::Corrupt.into() => Err(error),
                _ => Ok(()),
            },
            Self::SerializableRead => read(front, true).await,
            Self::LinearizableRead => read(front, false).await,
            Self::NonLearner => front.refuse_on_learner(),
        }
    }
}

/// The smallest read there is: of one key, the smallest possible one, without value or pairs.
/// A witness has nothing to read: it is well if it has a leader.
pub(crate) async fn read<B: Backend>(front: &Front<B>, serializable: bool) -> Result<(), BackendError> {
    if let LocalView { is_witness: true, leader_id, .. } = front.backend.local() {
        return if serializable || leader_id != 0 { Ok(()) } else { Err(BackendError::NoLeader) };
    }
    let key = Bytes::from_static(&[0]);
    let range = keyspace::RangeRequest {
        key,
        limit: 1,
        count_only: true,
        keys_only: true,
        ..keyspace::RangeRequest::default()
    };
    let consistency = if serializable { Consistency::Local } else { Consistency::Linearizable };
    front.read(keyspace::Query::Range(range), consistency).await.map(|_answer| ())
}

fn checks_of(ready: bool) -> &'static [Check] {
    if ready { READYZ_CHECKS } else { LIVEZ_CHECKS }
}

pub(crate) async fn answer_all<B: Backend, const READY: bool>(
    State(front): State<Arc<Front<B>>>,
    Query(parameters): Parameters,
) -> Response {
    let excluded = |check: &Check| parameters.iter().any(|(name, value)| name == "exclude" && value == check.name());
    let checks: Vec<Check> = checks_of(READY).iter().copied().filter(|check| !excluded(check)).collect();
    report(&front, &checks, &parameters).await
}

pub(crate) async fn answer_one<B: Backend, const READY: bool>(
    State(front): State<Arc<Front<B>>>,
    Path(name): Path<String>,
    Query(parameters): Parameters,
) -> Response {
    match checks_of(READY).iter().find(|check| check.name() == name) {
        Some(check) => report(&front, &[*check], &parameters).await,
        None => not_found_response(),
    }
}

/// A failure lists every check; a success does only if asked to be verbose.
async fn report<B: Backend>(front: &Front<B>, checks: &[Check], parameters: &[(String, String)]) -> Response {
    let mut listing = String::new();
    let mut healthy = true;
    for check in checks {
        let line = match check.run(front).await {
            Ok(()) => writeln!(listing, "[+]{} ok", check.name()),
            Err(error) => {
                healthy = false;
                writeln!(listing, "[-]{} failed: {error}", check.name())
            }
        };
        line.expect("writing to a String cannot fail");
    }
    front.counts.count_health_check(healthy);
    if !healthy {
        tracing::warn!(%listing, "probe failed");
        return (StatusCode::SERVICE_UNAVAILABLE, PLAIN_TEXT, listing).into_response();
    }
    let verbose = parameters.iter().any(|(name, _)| name == "verbose");
    let body = if verbose { listing + &unknown_exclusions(parameters) + "ok\n" } else { "ok\n".to_owned() };
    (PLAIN_TEXT, body).into_response()
}

/// Says which `?exclude=` names no check, in the words of Kubernetes' probes.
fn unknown_exclusions(parameters: &[(String, String)]) -> String {
    let is_known = |name: &str| READYZ_CHECKS.iter().chain(LIVEZ_CHECKS).any(|check| check.name() == name);
    parameters
        .iter()
        .filter(|(name, value)| name == "exclude" && !is_known(value))
        .map(|(_, value)| format!("warn: some health checks cannot be excluded: no matches for {value:?}\n"))
        .collect()
}
