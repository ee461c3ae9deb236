//! What `up` tells the person in front of it.

use crate::endpoint::{ClientArguments, OutputFormat};
use quorate_protocol::era_words;
use quorate_server::proto::etcdserverpb::StatusRequest;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use std::time::Duration;

const ASK_EVERY: Duration = Duration::from_millis(100);
const PATIENCE_ROUNDS: u32 = 300;

/// The nodes that stopped by themselves.
#[derive(Debug, Default)]
pub struct GaveUp {
    somebody_ran: bool,
    said: Vec<String>,
}

impl GaveUp {
    /// Notes that a node did more than to refuse its settings.
    pub fn note_run(&mut self) {
        self.somebody_ran = true;
    }

    /// Whether one did.
    pub fn somebody_ran(&self) -> bool {
        self.somebody_ran
    }

    /// What to tell of one more. What another said too is told once.
    pub fn words(&mut self, name: &str, last_words: String) -> String {
        let stopped = format!("{name} stopped by itself and stays down");
        if self.said.contains(&last_words) {
            return format!("{stopped}, for the same reason");
        }
        let told = format!("{stopped}: {last_words}");
        self.said.push(last_words);
        told
    }
}

/// Waits for a leader, then says who it is and what to type.
pub async fn announce(endpoints: Vec<(String, String)>, logs: String) {
    println!("starting {} node{}", endpoints.len(), if endpoints.len() == 1 { "" } else { "s" });
    for round in 0..PATIENCE_ROUNDS {
        if let Some(leader) = find_leader(&endpoints).await {
            print_ready(&endpoints, &leader, &logs);
            return;
        }
        if round == PATIENCE_ROUNDS / 6 {
            println!("no leader yet; the nodes write to {logs}");
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    println!("still no leader; look into {logs}");
}

async fn find_leader(endpoints: &[(String, String)]) -> Option<String> {
    for (name, endpoint) in endpoints {
        let client =
            ClientArguments { endpoints: vec![endpoint.clone()], timeout_ms: 1000, output: OutputFormat::Text };
        let Ok(channel) = client.connect().await else { continue };
        let Ok(status) = MaintenanceClient::new(channel).status(StatusRequest::default()).await else { continue };
        let status = status.into_inner();
        if status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader) {
            return Some(format!("{name} leads (term {})", era_words(status.raft_term)));
        }
    }
    None
}

fn print_ready(endpoints: &[(String, String)], leader: &str, logs: &str) {
    let addresses: Vec<&str> = endpoints.iter().map(|(_, endpoint)| endpoint.as_str()).collect();
    let all = addresses.join(",");
    println!("{leader}");
    println!();
    for (name, endpoint) in endpoints {
        println!("  {name}  {endpoint}");
    }
    println!();
    println!("Try, in another terminal:");
    println!("  quorate put greeting hello --endpoints {all}");
    println!("  quorate get greeting --endpoints {all}");
    println!("  quorate status --endpoints {all}");
    println!("  etcdctl --endpoints {all} member list        (any etcd v3 client works)");
    println!();
    println!("Logs: {logs}. Ctrl-C stops all nodes; the data stays.");
}
