//! `quorate status`: members, leader, and how far each node is.

use super::block_on;
use crate::endpoint::{ClientArguments, OutputFormat};
use anyhow::Result;
use clap::Args;
use quorate_server::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_server::proto::etcdserverpb::{Member, MemberListRequest, NodeDetail, StatusRequest, StatusResponse};
use quorate_service::era_for_people;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Arguments of `quorate status`.
#[derive(Args)]
pub struct StatusArguments {
    #[command(flatten)]
    client: ClientArguments,
}

/// A member and what it says of itself.
struct Line {
    member: Member,
    endpoint: Option<String>,
    status: Result<StatusResponse, String>,
}

/// `quorate status`. Asks every member that the first reachable server lists. Exit code 1 if any does not answer or nobody leads.
pub fn status(arguments: StatusArguments) -> Result<ExitCode> {
    block_on(async {
        let channel = arguments.client.connect().await?;
        let request = MemberListRequest { linearizable: false };
        let list = ClusterClient::new(channel).member_list(request).await.map_err(|status| super::refusal(&status))?;
        let list = list.into_inner();
        let cluster = list.header.map_or(0, |header| header.cluster_id);
        let mut lines = Vec::new();
        for member in list.members {
            lines.push(ask(&arguments.client, member).await);
        }
        if lines.iter().any(|line| line.status.is_err()) {
            ask_given_endpoints(&arguments.client, &mut lines).await;
        }
        match arguments.client.output {
            OutputFormat::Text => print_text(cluster, &lines),
            OutputFormat::Json => println!("{}", document(cluster, &lines)),
        }
        let healthy = lines.iter().all(|line| line.status.is_ok()) && leader_of(&lines).is_some();
        Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(1) })
    })
}

async fn ask(client: &ClientArguments, member: Member) -> Line {
    let Some(endpoint) = member.client_urls.first().or(member.quorate_status_urls.first()).cloned() else {
        let why = "its client address is not known here: it was not heard of since this node started".to_owned();
        return Line { member, endpoint: None, status: Err(why) };
    };
    let status = status_at(client, &endpoint).await;
    Line { member, endpoint: Some(endpoint), status }
}

async fn status_at(client: &ClientArguments, endpoint: &str) -> Result<StatusResponse, String> {
    let channel = client.connect_to(endpoint).await.map_err(|error| format!("{error:#}"))?;
    let answer = MaintenanceClient::new(channel).status(StatusRequest::default()).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
}

/// What members advertise may not be reachable from here, behind address translation for one; what was given on the command
/// line may be.
async fn ask_given_endpoints(client: &ClientArguments, lines: &mut [Line]) {
    for endpoint in &client.endpoints {
        let Ok(status) = status_at(client, endpoint).await else { continue };
        let who = status.header.as_ref().map(|header| header.member_id);
        let line = lines.iter_mut().find(|line| line.status.is_err() && Some(line.member.id) == who);
        if let Some(line) = line {
            line.endpoint = Some(endpoint.clone());
            line.status = Ok(status);
        }
    }
}

/// The leader most members believe in, in the highest term anybody knows.
fn leader_of(lines: &[Line]) -> Option<u64> {
    let answers = lines.iter().filter_map(|line| line.status.as_ref().ok());
    answers.filter(|status| status.leader != 0).max_by_key(|status| status.raft_term).map(|status| status.leader)
}

fn print_text(cluster: u64, lines: &[Line]) {
    let furthest = lines.iter().filter_map(|line| line.status.as_ref().ok()).map(|status| status.raft_index).max();
    println!("cluster {cluster:x}");
    println!(
        "{:<10} {:<24} {:<10} {:>5} {:>10} {:>10} {:>10} {:>6} {:>10} {:>10}",
        "name", "endpoint", "role", "term", "revision", "committed", "applied", "lag", "journal", "store"
    );
    for line in lines {
        let endpoint = line.endpoint.as_deref().unwrap_or("-");
        let name = if line.member.name.is_empty() { format!("{:x}", line.member.id) } else { line.member.name.clone() };
        match &line.status {
            Ok(status) => {
                let detail = status.quorate.clone().unwrap_or_default();
                // A witness is left behind on purpose.
                let lag = furthest.unwrap_or(0).saturating_sub(status.raft_applied_index);
                let lag = if detail.role == "witness" { "-".to_owned() } else { lag.to_string() };
                println!(
                    "{name:<10} {endpoint:<24} {:<10} {:>5} {:>10} {:>10} {:>10} {:>6} {:>10} {:>10}",
                    detail.role,
                    era_for_people(status.raft_term),
                    status.header.as_ref().map_or(0, |header| header.revision),
                    status.raft_index,
                    status.raft_applied_index,
                    lag,
                    bytes_for_people(detail.journal_bytes),
                    bytes_for_people(u64::try_from(status.db_size).unwrap_or(0)),
                );
                // What is off in every member is no news.
                for particular in detail.particulars.iter().filter(|particular| particular.value != "off") {
                    println!("{:<10} {}: {}", "", particular.name, particular.value);
                }
                for error in &status.errors {
                    println!("{:<10} {error}", "");
                }
            }
            Err(why) => println!("{name:<10} {endpoint:<24} does not answer: {why}"),
        }
    }
    if leader_of(lines).is_none() {
        println!("nobody leads");
    }
}

fn bytes_for_people(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn document(cluster: u64, lines: &[Line]) -> Value {
    let furthest = lines.iter().filter_map(|line| line.status.as_ref().ok()).map(|status| status.raft_index).max();
    let members: Vec<Value> = lines
        .iter()
        .map(|line| {
            let mut member = json!({
                "id": format!("{:x}", line.member.id), "name": line.member.name, "endpoint": line.endpoint,
                "peer_urls": line.member.peer_urls, "learner": line.member.is_learner,
            });
            let said = match &line.status {
                Ok(status) => status_json(status, furthest.unwrap_or(0)),
                Err(why) => json!({ "error": why }),
            };
            if let (Value::Object(member), Value::Object(said)) = (&mut member, said) {
                member.extend(said);
            }
            member
        })
        .collect();
    json!({ "cluster": format!("{cluster:x}"), "leader": leader_of(lines).map(|id| format!("{id:x}")), "members": members })
}

fn status_json(status: &StatusResponse, furthest: u64) -> Value {
    let detail: NodeDetail = status.quorate.clone().unwrap_or_default();
    let peers: Vec<Value> = detail
        .peers
        .iter()
        .map(|peer| {
            json!({
                "id": format!("{:x}", peer.id), "state": peer.state, "matched": peer.matched_index, "active": peer.active,
                "lag": detail.last_index.saturating_sub(peer.matched_index),
            })
        })
        .collect();
    let said = detail.particulars.iter();
    let particulars: serde_json::Map<String, Value> =
        said.map(|particular| (particular.name.clone(), Value::from(particular.value.clone()))).collect();
    json!({
        "role": detail.role, "protocol": detail.protocol, "incarnation": detail.incarnation,
        "term": status.raft_term, "leader": format!("{:x}", status.leader),
        "revision": status.header.as_ref().map_or(0, |header| header.revision),
        "committed": status.raft_index, "applied": status.raft_applied_index,
        "lag": furthest.saturating_sub(status.raft_applied_index),
        "first": detail.first_index, "last": detail.last_index, "durable": detail.durable_index,
        "checkpointed": detail.checkpointed_index, "journal_bytes": detail.journal_bytes, "store_bytes": status.db_size,
        "writes_outstanding": detail.writes_outstanding, "messages_dropped": detail.messages_dropped,
        "peers": peers, "particulars": particulars, "errors": status.errors,
    })
}
