//! The etcd v3 front of the store: gRPC, health, version and metrics on one port, over any [`Backend`].
//!
//! Clients of etcd connect unchanged. What this version serves: `KV.Range`, `KV.Put`, `KV.DeleteRange`,
//! `Cluster.MemberList`, `Maintenance.Status`, `Maintenance.Alarm` (listing), `Auth.AuthStatus`, `grpc.health.v1.Health`,
//! and over HTTP `/version`, `/health`, `/livez`, `/readyz`, `/metrics`. Every other method of the etcd API is known and
//! answers `UNIMPLEMENTED` with a message that names it; nothing a request asks for is silently left out.
//!
//! # Map
//! | file | what is there |
//! |---|---|
//! | `backend.rs` | the [`Backend`] trait and its plain types: what this crate needs from the store |
//! | `errors.rs` | [`BackendError`]: etcd's error texts and codes, exact, because clients match on them |
//! | `listen.rs` | [`serve`]: sockets, connections, graceful stop |
//! | `dispatch.rs` | each request to gRPC or HTTP; limits and metadata checks that hold for all methods |
//! | `front.rs` | what every service shares: backend, configuration, counts |
//! | `kv.rs`, `cluster.rs`, `maintenance.rs`, `auth.rs`, `health.rs` | the services with something served |
//! | `watch.rs`, `lease.rs`, `lock.rs`, `election.rs` | the services not served yet |
//! | `http.rs`, `probes.rs`, `metrics.rs` | the HTTP endpoints |
//! | `conversion.rs` | backend types to protobuf messages |
//! | `proto/` (beside `src/`) | the protobuf definitions; [`proto`] is generated from them, clients included |

mod auth;
mod backend;
mod cluster;
mod config;
mod conversion;
mod dispatch;
mod election;
mod errors;
mod front;
mod health;
mod http;
mod kv;
mod lease;
mod listen;
mod lock;
mod maintenance;
mod metrics;
mod probes;
pub mod proto;
mod watch;

pub use backend::{
    Backend, DeleteAnswer, DeleteCommand, Header, KeyValue, LocalView, Member, MemberList, NodeCounts, NodeDetail,
    NodeStatus, PeerDetail, PutAnswer, PutCommand, RangeAnswer, RangeQuery, SortOrder, SortTarget,
};
pub use config::{CLUSTER_VERSION, ConfigError, ETCD_VERSION, QUORATE_VERSION, ServerConfig};
pub use errors::BackendError;
pub use listen::{ServeError, serve};
