//! The HTTP endpoints beside gRPC: version, health, probes, metrics. The JSON gateway is not there yet and says so.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName};
use hyper::{Method, StatusCode};
use quorate_keyspace::KeyspaceError;
use quorate_machine::Consistency;
use serde::Serialize;
use tonic::Code;

use crate::backend::Backend;
use crate::config::{CLUSTER_VERSION, ETCD_VERSION, QUORATE_VERSION};
use crate::errors::BackendError;
use crate::front::Front;
use crate::maintenance::alarm_name;
use crate::metrics::metrics_text;
use crate::probes::{self, LIVEZ, READYZ};

pub(crate) const PLAIN_TEXT: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
const PROMETHEUS_TEXT: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];

/// Query parameters in order, repeats kept: `?exclude=a&exclude=b`.
pub(crate) type Parameters = Query<Vec<(String, String)>>;

pub(crate) fn router<B: Backend>(front: Arc<Front<B>>) -> Router {
    Router::new()
        .route("/version", get(version))
        .route("/health", get(health::<B>))
        .route("/livez", get(probes::answer_all::<B, LIVEZ>))
        .route("/livez/{check}", get(probes::answer_one::<B, LIVEZ>))
        .route("/readyz", get(probes::answer_all::<B, READYZ>))
        .route("/readyz/{check}", get(probes::answer_one::<B, READYZ>))
        .route("/metrics", get(metrics::<B>))
        .route_layer(middleware::from_fn(only_get))
        .route("/v3/{*method}", any(gateway))
        .fallback(not_found)
        .with_state(front)
}

/// As etcd does, down to the Allow header and to refusing HEAD.
async fn only_get(request: Request, next: Next) -> Response {
    if request.method() == Method::GET {
        return next.run(request).await;
    }
    (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET")], PLAIN_TEXT, "Method Not Allowed\n").into_response()
}

async fn not_found() -> Response {
    not_found_response()
}

pub(crate) fn not_found_response() -> Response {
    (StatusCode::NOT_FOUND, PLAIN_TEXT, "404 page not found\n").into_response()
}

#[derive(Serialize)]
struct VersionBody {
    etcdserver: &'static str,
    etcdcluster: &'static str,
    quorate: &'static str,
}

async fn version() -> Json<VersionBody> {
    Json(VersionBody { etcdserver: ETCD_VERSION, etcdcluster: CLUSTER_VERSION, quorate: QUORATE_VERSION })
}

#[derive(Serialize)]
struct HealthBody {
    /// A string, not a boolean, as in etcd.
    health: &'static str,
    reason: String,
}

/// Healthy means: no alarm is raised but those of `?exclude=ALARM`, there is a leader, and a read through consensus succeeds, or
/// with `?serializable=true` a local one.
async fn health<B: Backend>(State(front): State<Arc<Front<B>>>, Query(parameters): Parameters) -> Response {
    let unhealthy_because = unhealthy_because(&front, &parameters).await;
    front.counts.count_health_check(unhealthy_because.is_none());
    match unhealthy_because {
        None => Json(HealthBody { health: "true", reason: String::new() }).into_response(),
        Some(reason) => {
            tracing::warn!(%reason, "health check failed");
            (StatusCode::SERVICE_UNAVAILABLE, Json(HealthBody { health: "false", reason })).into_response()
        }
    }
}

/// The first reason in etcd's order, in its words.
async fn unhealthy_because<B: Backend>(front: &Front<B>, parameters: &[(String, String)]) -> Option<String> {
    let has = |wanted: &str, value: &str| parameters.iter().any(|(name, given)| name == wanted && given == value);
    let alarms = match front.alarms(Consistency::Local).await {
        Ok((_, alarms)) => alarms,
        Err(error) => return Some(format!("RANGE ERROR:{error}")),
    };
    let mut raised = alarms.iter().map(|alarm| alarm_name(alarm.kind));
    if let Some(name) = raised.find(|name| !has("exclude", name)) {
        return Some(format!("ALARM {name}"));
    }
    let serializable = has("serializable", "true");
    if !serializable && front.backend.local().leader_id == 0 {
        return Some("RAFT NO LEADER".to_owned());
    }
    match probes::read(front, serializable).await {
        Ok(()) => None,
        // Its alarm was told above, or excluded: the refusal is that alarm once more.
        Err(BackendError::Refused(KeyspaceError::Corrupt)) if has("exclude", "CORRUPT") => None,
        Err(error) => Some(format!("RANGE ERROR:{error}")),
    }
}

async fn metrics<B: Backend>(State(front): State<Arc<Front<B>>>) -> Response {
    (PROMETHEUS_TEXT, metrics_text(&front).await).into_response()
}

/// The body of a gateway error in etcd 3.5: the text twice, and the gRPC code.
#[derive(Serialize)]
struct GatewayError {
    error: String,
    code: i32,
    message: String,
}

async fn gateway(request: Request) -> Response {
    if request.method() != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "POST")], PLAIN_TEXT, "Method Not Allowed\n").into_response();
    }
    let text = BackendError::Unsupported(format!("the JSON gateway ({})", request.uri().path())).to_string();
    let body = GatewayError { error: text.clone(), code: Code::Unimplemented as i32, message: text };
    (StatusCode::NOT_IMPLEMENTED, Json(body)).into_response()
}
