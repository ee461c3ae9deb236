//! Two of three members are gone for good: what `inspect` shows of the third, and the cluster that `recover` makes of it.

use crate::cluster::{Cluster, PATIENCE, PROTOCOLS, free_ports, put};
use quorate_server::proto::etcdserverpb::RangeRequest;
use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tonic::transport::Endpoint;

const PUTS: usize = 20;

fn quorate(command: &str, directory: &Path, arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_quorate"));
    program.arg(command).arg(directory).args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ends with its test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_is_looked_at_and_made_a_cluster_that_serves_what_it_had() {
    for protocol in PROTOCOLS {
        survivor(protocol).await;
    }
}

async fn survivor(protocol: &'static str) {
    let mut cluster = Cluster::start_as(3, protocol, false).await;
    for number in 0..PUTS {
        while put(cluster.channel(0), &format!("key/{number:02}"), "value").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for index in 0..3 {
        cluster.kill(index);
    }
    let directory = cluster.data_directory(0);
    inspected(protocol, &directory);

    let looked = quorate("recover", &directory, &[]);
    let words = text(&looked.stdout);
    assert_eq!(looked.status.code(), Some(1), "{words}");
    assert!(words.contains(&format!("protocol {protocol}")) && words.contains("Nothing was done."), "{words}");
    let accepted = words.split("add: ").nth(1).expect("it says how").split_whitespace().collect::<Vec<_>>();
    let new = directory.with_extension("new");
    let peer_url = format!("http://127.0.0.1:{}", free_ports(1)[0]);
    let arguments = [&accepted[..4], &["--new-data-dir", new.to_str().expect("a readable name")]].concat();
    let done =
        quorate("recover", &directory, &[&arguments[..], &["--initial-advertise-peer-urls", &peer_url]].concat());
    let words = text(&done.stdout);
    assert!(done.status.success(), "{words}{}", text(&done.stderr));
    assert!(serves(&words, &peer_url).await >= PUTS, "{protocol}: {words}");
}

fn inspected(protocol: &str, directory: &Path) {
    let page = quorate("inspect", directory, &[]);
    let words = text(&page.stdout);
    assert!(page.status.success(), "{words}{}", text(&page.stderr));
    for expected in [&format!("protocol {protocol}"), "a member would start here", "put key/19 = value", "node2 at"] {
        assert!(words.contains(expected), "{protocol}, {expected}: {words}");
    }
    let all = quorate("inspect", directory, &["--keys", "key/", "--with-tail", "--output", "json"]);
    let all: Value = serde_json::from_slice(&all.stdout).expect("the answer is JSON");
    assert_eq!(all["identity"]["protocol"], protocol);
    assert_eq!(all["keys"]["pairs"].as_array().map(Vec::len), Some(PUTS), "{all}");
    assert_eq!(all["problems"], Value::Array(Vec::new()));
}

/// Starts what was recovered, with the command that was printed, and counts its keys.
async fn serves(printed: &str, peer_url: &str) -> usize {
    let command = printed.split("quorate serve ").nth(1).and_then(|rest| rest.split(" (and").next());
    let client_url = format!("http://127.0.0.1:{}", free_ports(1)[0]);
    let process = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .arg("serve")
        .args(command.expect("it says how to start").split_whitespace())
        .args(["--listen-client-urls", &client_url, "--listen-peer-urls", peer_url, "--log-level", "warn"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _served = Served(process.expect("the program starts"));
    let channel = Endpoint::from_shared(client_url).expect("a URL").timeout(Duration::from_secs(5)).connect_lazy();
    let deadline = Instant::now() + PATIENCE;
    let request = RangeRequest { key: "key/".into(), range_end: "key0".into(), ..RangeRequest::default() };
    loop {
        match KvClient::new(channel.clone()).range(request.clone()).await {
            Ok(answer) => return answer.into_inner().kvs.len(),
            Err(status) => assert!(Instant::now() < deadline, "{status}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
