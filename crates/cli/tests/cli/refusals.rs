//! What an operator gets wrong, and what he is told: one sentence that says what to do, and the exit code of wrong usage.

use crate::cluster::{Cluster, PATIENCE, free_ports};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn quorate(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).output().expect("the program starts")
}

fn errors_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A first port for three nodes, 10 apart.
fn first_port() -> String {
    let room = |port: &u16| *port < 65_000 && free_again(*port + 10) && free_again(*port + 20);
    let port = (0..100).flat_map(|_| free_ports(1)).find(room);
    port.expect("there are free ports").to_string()
}

fn free_again(port: u16) -> bool {
    [port, port + 1].iter().all(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
}

/// Every node refuses them: their own error is told, once, and no trap is left for the next `up`.
#[test]
fn settings_that_no_node_takes_end_up_with_their_error_and_leave_nothing_behind() {
    let scratch = tempfile::tempdir().expect("a scratch directory can be made");
    let port = first_port();
    let up = |settings: &[&str]| {
        let arguments = ["up", "--data-dir", "deep/cluster", "--client-port", &port, "--"];
        quorate(scratch.path(), &[&arguments, settings].concat())
    };
    for (settings, told) in [
        (["--data-dir", "foo"].as_slice(), "error: the argument '--data-dir <DIR>' cannot be used multiple times"),
        (["--max-txn-ops", "0"].as_slice(), "quorate: --max-txn-ops must be at least 1"),
    ] {
        let refused = up(settings);
        let said = errors_of(&refused);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert_eq!(said.matches(told).count(), 1, "{said}");
        assert_eq!(said.matches("stays down").count(), 3, "{said}");
        assert!(!scratch.path().join("deep").exists(), "{said}");
    }

    std::fs::create_dir_all(scratch.path().join("deep/cluster")).expect("the scratch directory can be written");
    let file = scratch.path().join("deep/cluster/cluster.json");
    let before = format!(r#"{{"nodes":3,"client_port":{port},"protocol":"raft"}}"#);
    std::fs::write(&file, before).expect("the scratch directory can be written");
    assert_eq!(up(&["--max-txn-ops", "0"]).status.code(), Some(2));
    assert!(file.exists(), "what was there before stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_another_protocol_are_refused_with_how_to_start() {
    let mut cluster = Cluster::start_as(1, "zab", false).await;
    cluster.stop(0);
    let data = cluster.data_directory(0);
    cluster.protocol = "raft";
    let (status, said) = cluster.run_to_its_end(0);
    let words = format!(
        "quorate: {} has the data of a member that runs zab, and this one is to run raft: start it with --protocol zab, or with \
         another --data-dir\n",
        data.display()
    );
    assert_eq!((status.code(), said), (Some(2), words));
}

/// Most often a journal that is not there is only not mounted. Whoever throws the rest away then has lost it indeed.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_not_there_is_asked_for_before_anything_is_given_up() {
    let mut cluster = Cluster::start(1).await;
    cluster.stop(0);
    let data = cluster.data_directory(0);
    let (journal, aside) = (data.join("journal"), data.with_extension("aside"));
    std::fs::rename(&journal, &aside).expect("the journal can be moved");
    let begins =
        format!("quorate: {} has no journal any more: {} is empty, although ", data.display(), journal.display());
    let advice = "If it is on a disk that is not mounted, or was moved, mount it or put it back, and start again. Only if it is lost";
    for evidence in ["by the file known-disks this node had one on disk ", "there is a store beside it ("] {
        let (status, said) = cluster.run_to_its_end(0);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.starts_with(&format!("{begins}{evidence}")) && said.contains(advice), "{said}");
        // The second time only the store tells of it.
        std::fs::rename(data.join("known-disks"), data.with_extension("known")).ok();
    }
    std::fs::remove_dir_all(&journal).expect("it is empty");
    std::fs::rename(&aside, &journal).expect("the journal can be moved");
    std::fs::rename(data.with_extension("known"), data.join("known-disks")).expect("it can be put back");
    cluster.restart(0);
    cluster.wait_for_leader().await;
}

/// What may still come, that somebody answers, is waited for; it is not said anew with every attempt.
#[test]
fn why_a_member_cannot_join_yet_is_said_once_and_as_a_warning() {
    let scratch = tempfile::tempdir().expect("a scratch directory can be made");
    let log = scratch.path().join("log");
    let ports = free_ports(3);
    let url = |index: usize| format!("http://127.0.0.1:{}", ports[index]);
    let mut joins = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["serve", "--name", "b", "--initial-cluster-state", "existing", "--listen-client-urls", &url(0)])
        .args(["--listen-peer-urls", &url(1), "--initial-cluster", &format!("a={},b={}", url(2), url(1))])
        .current_dir(scratch.path())
        .stderr(std::fs::File::create(&log).expect("the scratch directory can be written"))
        .spawn()
        .expect("the program starts");
    let said = || std::fs::read_to_string(&log).expect("the log can be read");
    let deadline = Instant::now() + PATIENCE;
    while !said().contains("cannot join yet") && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(1));
    joins.kill().expect("the process can be killed");
    joins.wait().expect("the process can be waited for");
    let lines: Vec<String> =
        said().lines().filter(|line| line.contains("cannot join yet")).map(str::to_owned).collect();
    assert!(lines.len() == 1 && lines[0].contains("WARN") && lines[0].contains("no member"), "{lines:?}");
}
