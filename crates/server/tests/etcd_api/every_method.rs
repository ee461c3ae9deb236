//! Every method in the protobuf definitions is either served, or refused with a message that names it.

use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::server::Server;

const DEFINITIONS: [&str; 4] = [
    include_str!("../../proto/etcdserverpb.proto"),
    include_str!("../../proto/v3lockpb.proto"),
    include_str!("../../proto/v3electionpb.proto"),
    include_str!("../../proto/health.proto"),
];

/// What is known and not served.
const REFUSED: [&str; 3] =
    ["etcdserverpb.Maintenance/Downgrade", "etcdserverpb.Auth/AuthEnable", "etcdserverpb.Auth/UserAdd"];

fn is_refused(method: &str) -> bool {
    let is_served_auth = ["etcdserverpb.Auth/AuthStatus", "etcdserverpb.Auth/Authenticate"].contains(&method);
    REFUSED.contains(&method) || (method.starts_with("etcdserverpb.Auth/") && !is_served_auth)
}

/// These do not end by themselves, so a unary call of them would not either; the last waits for the key that `Lock` left under the
/// same empty name.
const ENDLESS: [&str; 4] = [
    "grpc.health.v1.Health/Watch",
    "etcdserverpb.Watch/Watch",
    "v3electionpb.Election/Observe",
    "v3electionpb.Election/Campaign",
];

/// Every method as `package.Service/Method`.
fn defined_methods() -> Vec<String> {
    let mut methods = Vec::new();
    for definition in DEFINITIONS {
        let (mut package, mut service) = ("", "");
        for line in definition.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("package") => package = words.next().unwrap().trim_end_matches(';'),
                Some("service") => service = words.next().unwrap(),
                Some("rpc") => {
                    let (method, _) = words.next().unwrap().split_once('(').unwrap();
                    methods.push(format!("{package}.{service}/{method}"));
                }
                _ => {}
            }
        }
    }
    methods
}

/// Calls a method with an empty message; the answer's fields are unknown ones here, and skipped.
async fn call(channel: &Channel, method: &str) -> Result<(), Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path: PathAndQuery = format!("/{method}").parse().unwrap();
    client.unary(Request::new(()), path, ProstCodec::<(), ()>::default()).await.map(|_answer| ())
}

#[tokio::test]
async fn every_method_is_served_or_says_by_name_that_it_is_not_there_yet() {
    let methods = defined_methods();
    assert_eq!(methods.len(), 51, "methods found in the definitions");
    let server = Server::start().await;
    let channel = server.channel().await;
    for method in &methods {
        if ENDLESS.contains(&method.as_str()) {
            continue;
        }
        let refused = call(&channel, method).await.err();
        if !is_refused(method) {
            let code = refused.map(|status| status.code());
            assert_ne!(code, Some(Code::Unimplemented), "{method} must be served");
        } else {
            let short = method.split_once('.').unwrap().1.replace('/', ".");
            let text = format!("etcdserver: {short} is not implemented in this version of quorate");
            let refused = refused.map(|status| (status.code(), status.message().to_owned()));
            assert_eq!(refused, Some((Code::Unimplemented, text)), "{method}");
        }
    }
    for named in REFUSED.iter().chain(&ENDLESS) {
        assert!(methods.iter().any(|method| method == named), "{named} is not in the definitions");
    }
}

#[tokio::test]
async fn unknown_services_and_methods_are_refused_in_the_words_of_go() {
    let server = Server::start().await;
    let channel = server.channel().await;
    for (path, text) in [
        ("etcdserverpb.KV/Swap", "unknown method Swap for service etcdserverpb.KV"),
        ("made.up.Service/Do", "unknown service made.up.Service"),
        ("etcdserverpb.KV", "malformed method name: \"/etcdserverpb.KV\""),
    ] {
        let status = call(&channel, path).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unimplemented, text));
    }
}
