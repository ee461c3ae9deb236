//! The etcd v3 front of the store: gRPC, health, version and metrics on one port, over any [`Backend`].
//!
//! Clients of etcd connect unchanged. Served: `KV`, `Watch`, `Lease`, `Lock`, `Election`, `Cluster`, `Maintenance` without
//! `Downgrade`, `Auth.AuthStatus`, `grpc.health.v1.Health`, and over HTTP `/version`,
//! `/health`, `/livez`, `/readyz`, `/metrics`. Every other method of the etcd API is known and answers `UNIMPLEMENTED` with a
//! message that names it; nothing a request asks for is silently left out.
//!
//! # Map
//! | file | what is there |
//! |---|---|
//! | `backend.rs` | the [`Backend`] trait: what this crate needs from the store |
//! | `errors.rs` | [`BackendError`]: etcd's error texts and codes, exact, because clients match on them |
//! | `listen.rs` | [`serve`]: sockets, connections, graceful stop |
//! | `http2.rs`, `hot_method.rs` | a connection of HTTP/2, and the methods that it answers itself |
//! | `dispatch.rs` | each request to gRPC or HTTP; limits and metadata checks that hold for all methods |
//! | `front.rs` | what every service shares: backend, configuration, counts |
//! | `admission.rs`, `stream.rs` | bounds on the bytes of requests, and on response streams |
//! | `kv.rs`, `lease.rs`, `cluster.rs`, `maintenance.rs`, `auth.rs`, `health.rs` | the services |
//! | `member_urls.rs` | which peer URLs a member may have |
//! | `watch.rs`, `watch_channel.rs`, `watch_desk.rs` | watches: the service, bounded queues, and the hub on the node's loop |
//! | `lock.rs`, `election.rs`, `observe.rs`, `queue.rs` | the services built on keys, leases and watches |
//! | `session.rs` | Quorate's own service: etcd's writes, applied exactly once |
//! | `range_stream.rs`, `snapshot.rs` | the two long answers in chunks |
//! | `http.rs`, `probes.rs`, `metrics.rs` | the HTTP endpoints |
//! | `conversion.rs`, `answers.rs` | protobuf messages to the keyspace's requests, its replies to protobuf messages |
//! | `proto/` (beside `src/`) | the protobuf definitions; [`proto`] is generated from them, clients included |

mod admission;
mod answers;
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
mod hot_method;
mod http;
mod http2;
mod kv;
mod lease;
mod listen;
mod lock;
mod maintenance;
mod member_urls;
mod metrics;
mod observe;
mod probes;
pub mod proto;
mod queue;
mod range_stream;
mod session;
mod snapshot;
mod stream;
mod watch;
mod watch_channel;
mod watch_desk;

pub use backend::{
    Backend, Backup, Header, LocalView, Member, MemberList, MembershipChange, NewPart, NodeCounts, NodeDetail,
    NodeStatus, PeerDetail, SessionAnswer, SessionCall,
};
pub use config::{CLUSTER_VERSION, ConfigError, ETCD_VERSION, QUORATE_VERSION, ServerConfig, WatchLimits};
pub use errors::BackendError;
pub use listen::{ServeError, serve};
pub use watch_channel::{WatchEntrance, WatchRequests, WatchResponses};
pub use watch_desk::WatchDesk;
