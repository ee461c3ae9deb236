//! Each request to where it is answered: gRPC over HTTP/2 to its service, the rest to the HTTP endpoints. What holds
//! for all gRPC methods alike is checked here.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hyper::body::Body as HttpBody;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::{Code, Status};

use crate::admission::{Charge, ChargedBody};
use crate::auth::AuthService;
use crate::backend::Backend;
use crate::cluster::ClusterService;
use crate::election::ElectionService;
use crate::errors::BackendError;
use crate::front::Front;
use crate::health::HealthService;
use crate::kv::KvService;
use crate::lease::LeaseService;
use crate::lock::LockService;
use crate::maintenance::MaintenanceService;
use crate::metrics::CountedMethod;
use crate::proto::etcdserverpb::auth_server::AuthServer;
use crate::proto::etcdserverpb::cluster_server::ClusterServer;
use crate::proto::etcdserverpb::kv_server::KvServer;
use crate::proto::etcdserverpb::lease_server::LeaseServer;
use crate::proto::etcdserverpb::maintenance_server::MaintenanceServer;
use crate::proto::etcdserverpb::watch_server::WatchServer;
use crate::proto::grpc::health::v1::health_server::HealthServer;
use crate::proto::quorate::v1::session_server::SessionServer;
use crate::proto::v3electionpb::election_server::ElectionServer;
use crate::proto::v3lockpb::lock_server::LockServer;
use crate::session::SessionService;
use crate::watch::WatchService;

/// A client sets this to `true` to be refused by a member without a leader.
pub(crate) const REQUIRE_LEADER: &str = "hasleader";
const CLIENT_API_VERSION: &str = "client-api-version";
pub(crate) const GRPC_CONTENT_TYPE: &str = "application/grpc";

/// What a request's body must be: of HTTP/1.1 or HTTP/2, whoever reads the connection.
pub(crate) trait RequestBody:
    HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>> + Send> + Send + Unpin + 'static
{
}

impl<T> RequestBody for T where
    T: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>> + Send> + Send + Unpin + 'static
{
}

/// All services of one front.
pub(crate) struct Dispatch<B> {
    pub(crate) front: Arc<Front<B>>,
    kv: KvServer<KvService<B>>,
    cluster: ClusterServer<ClusterService<B>>,
    maintenance: MaintenanceServer<MaintenanceService<B>>,
    auth: AuthServer<AuthService<B>>,
    health: HealthServer<HealthService<B>>,
    watch: WatchServer<WatchService<B>>,
    lease: LeaseServer<LeaseService<B>>,
    lock: LockServer<LockService<B>>,
    election: ElectionServer<ElectionService<B>>,
    session: SessionServer<SessionService<B>>,
    http: axum::Router,
}

impl<B: Backend> Dispatch<B> {
    /// Each generated server gets the message limit by itself; they share no trait to do it through.
    pub(crate) fn new(front: Arc<Front<B>>) -> Self {
        let max = front.config.max_message_bytes();
        let shared = || Arc::clone(&front);
        Self {
            kv: KvServer::new(KvService(shared())).max_decoding_message_size(max),
            cluster: ClusterServer::new(ClusterService(shared())).max_decoding_message_size(max),
            maintenance: MaintenanceServer::new(MaintenanceService(shared())).max_decoding_message_size(max),
            auth: AuthServer::new(AuthService(shared())).max_decoding_message_size(max),
            health: HealthServer::new(HealthService(shared())).max_decoding_message_size(max),
            watch: WatchServer::new(WatchService(shared())).max_decoding_message_size(max),
            lease: LeaseServer::new(LeaseService(shared())).max_decoding_message_size(max),
            lock: LockServer::new(LockService(shared())).max_decoding_message_size(max),
            election: ElectionServer::new(ElectionService(shared())).max_decoding_message_size(max),
            session: SessionServer::new(SessionService(shared())).max_decoding_message_size(max),
            http: crate::http::router(shared()),
            front,
        }
    }

    /// Answers any request that arrives on the client port.
    pub(crate) async fn answer(&self, request: Request<impl RequestBody>) -> Response<Body> {
        if request.version() == Version::HTTP_2 && claims_grpc(request.headers()) {
            self.answer_grpc(request).await
        } else {
            infallible(self.http.clone().call(request).await).map(Body::new)
        }
    }

    async fn answer_grpc(&self, request: Request<impl RequestBody>) -> Response<Body> {
        if request.method() != Method::POST {
            return refused_by_http(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !is_protobuf_grpc(request.headers()) {
            return refused_by_http(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let path = request.uri().path().to_owned();
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return Status::unimplemented(format!("malformed method name: {path:?}")).into_http();
        };
        let counted = CountedMethod::find(service, method);
        self.front.counts.start(counted);
        let mut response = match self.admit(&path, request.headers()) {
            Ok(()) => self.call(service, request).await,
            Err(refusal) => Status::from(refusal).into_http(),
        };
        let mut code = Code::Ok;
        if response.headers().contains_key(Status::GRPC_STATUS) {
            let status = Status::from_header_map(response.headers()).map(|status| worded(status, service, method));
            if let Some(status) = status {
                code = status.code();
                response = status.into_http();
            }
        }
        self.front.counts.finish(counted, code);
        response
    }

    /// etcd's checks before any unary method or stream.
    pub(crate) fn admit(&self, path: &str, headers: &HeaderMap) -> Result<(), BackendError> {
        if let Some(version) = headers.get(CLIENT_API_VERSION)
            && std::str::from_utf8(version.as_bytes()).is_err()
        {
            return Err(BackendError::InvalidClientApiVersion);
        }
        let view = self.front.backend.local();
        if view.is_learner && !is_served_by_learners(path) {
            return Err(BackendError::NotSupportedForLearner);
        }
        if view.is_witness && !is_served_by_witnesses(path) {
            return Err(BackendError::Witness);
        }
        let requires_leader = headers.get(REQUIRE_LEADER).is_some_and(|value| value == "true");
        if requires_leader && view.leader_id == 0 {
            return Err(BackendError::NoLeader);
        }
        Ok(())
    }

    async fn call(&self, service: &str, request: Request<impl RequestBody>) -> Response<Body> {
        if service == HealthServer::<HealthService<B>>::NAME {
            // An overloaded server must still be able to say that it is alive.
            return infallible(self.health.clone().call(request).await);
        }
        if has_long_lived_request(request.uri().path()) {
            return infallible(match service {
                WatchServer::<WatchService<B>>::NAME => self.watch.clone().call(request).await,
                _ => self.lease.clone().call(request).await,
            });
        }
        let Ok(_slot) = self.front.request_slots.try_acquire() else {
            self.front.counts.requests_refused.fetch_add(1, Ordering::Relaxed);
            return Status::from(BackendError::TooManyRequests).into_http();
        };
        // Held until the answer is there: the decoded request outlives its body.
        let charge = Charge::new(&self.front.request_bytes);
        let request = request.map(|body| ChargedBody::new(body, Arc::clone(&charge)));
        let answered = match service {
            KvServer::<KvService<B>>::NAME => self.kv.clone().call(request).await,
            ClusterServer::<ClusterService<B>>::NAME => self.cluster.clone().call(request).await,
            MaintenanceServer::<MaintenanceService<B>>::NAME => self.maintenance.clone().call(request).await,
            AuthServer::<AuthService<B>>::NAME => self.auth.clone().call(request).await,
            WatchServer::<WatchService<B>>::NAME => self.watch.clone().call(request).await,
            LeaseServer::<LeaseService<B>>::NAME => self.lease.clone().call(request).await,
            LockServer::<LockService<B>>::NAME => self.lock.clone().call(request).await,
            ElectionServer::<ElectionService<B>>::NAME => self.election.clone().call(request).await,
            SessionServer::<SessionService<B>>::NAME => self.session.clone().call(request).await,
            unknown => return Status::unimplemented(format!("unknown service {unknown}")).into_http(),
        };
        infallible(answered)
    }
}

/// Methods whose request is a stream that lives as long as the client likes: places and bytes of requests are not for them,
/// streams have places of their own.
fn has_long_lived_request(path: &str) -> bool {
    matches!(path, "/etcdserverpb.Watch/Watch" | "/etcdserverpb.Lease/LeaseKeepAlive")
}

/// What a member without a vote answers, as far as what is asked can be answered from what it has: each method sees to that.
fn is_served_by_learners(path: &str) -> bool {
    matches!(
        path,
        "/etcdserverpb.KV/Range"
            | "/etcdserverpb.Maintenance/Status"
            | "/etcdserverpb.Cluster/MemberList"
            | "/grpc.health.v1.Health/Check"
            | "/grpc.health.v1.Health/Watch"
    )
}

/// What a member without data answers: how it is, and who the others are.
fn is_served_by_witnesses(path: &str) -> bool {
    is_served_by_learners(path) && path != "/etcdserverpb.KV/Range"
}

fn infallible<T>(result: Result<T, std::convert::Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

fn claims_grpc(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|kind| kind.starts_with(GRPC_CONTENT_TYPE))
}

/// `application/grpc`, alone, with parameters, or naming protobuf: no other encoding is spoken here.
pub(crate) fn is_protobuf_grpc(headers: &HeaderMap) -> bool {
    let Some(rest) = content_type(headers).and_then(|kind| kind.strip_prefix(GRPC_CONTENT_TYPE)) else {
        return false;
    };
    let rest = rest.strip_prefix("+proto").unwrap_or(rest);
    rest.is_empty() || rest.starts_with(';')
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok())
}

fn refused_by_http(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// Gives the refusals that tonic words itself the words and codes of Go's gRPC, which etcd's clients know.
pub(crate) fn worded(status: Status, service: &str, method: &str) -> Status {
    if status.code() == Code::Unimplemented && status.message().is_empty() {
        return Status::unimplemented(format!("unknown method {method} for service {service}"));
    }
    let too_long = status.message().strip_prefix("Error, decoded message length too large: found ");
    match too_long.and_then(|rest| rest.split_once(" bytes, the limit is: ")) {
        Some((found, limit)) if status.code() == Code::OutOfRange => {
            let limit = limit.trim_end_matches(" bytes");
            Status::resource_exhausted(format!("grpc: received message larger than max ({found} vs. {limit})"))
        }
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_keyspace::KeyspaceError;

    fn headers(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    #[test]
    fn protobuf_is_the_only_grpc_encoding_spoken() {
        for spoken in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
            assert!(is_protobuf_grpc(&headers(spoken)), "{spoken}");
        }
        for other in ["application/grpc+json", "application/grpc-web", "application/grpcish", "application/json"] {
            assert!(!is_protobuf_grpc(&headers(other)), "{other}");
        }
    }

    #[test]
    fn a_message_over_the_transport_limit_is_refused_in_the_words_of_go() {
        let ours =
            Status::out_of_range("Error, decoded message length too large: found 12 bytes, the limit is: 7 bytes");
        let worded = worded(ours, "etcdserverpb.KV", "Put");
        assert_eq!(worded.code(), Code::ResourceExhausted);
        assert_eq!(worded.message(), "grpc: received message larger than max (12 vs. 7)");
    }

    #[test]
    fn a_refusal_of_the_store_keeps_its_words() {
        let worded = worded(BackendError::from(KeyspaceError::FutureRevision).into(), "etcdserverpb.KV", "Range");
        assert_eq!(worded.code(), Code::OutOfRange);
        assert_eq!(worded.message(), "etcdserver: mvcc: required revision is a future revision");
    }

    #[test]
    fn an_unknown_method_is_named() {
        let worded = worded(Status::unimplemented(""), "etcdserverpb.KV", "Swap");
        assert_eq!(worded.message(), "unknown method Swap for service etcdserverpb.KV");
    }
}
