//! The flight recorder in real processes: a leader is killed, and every member's recording says again what was said.

use crate::cluster::{Cluster, PROTOCOLS, flip_bit, put};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn replay(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.arg("replay").arg(directory).args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(arguments: &[&str], directory: &Path) -> Value {
    let output = replay(&[arguments, &["--output", "json"]].concat(), directory);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the answer is JSON")
}

fn recordings(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("there are recordings");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("the directory can be read").path()).collect();
    files.sort();
    files
}

async fn put_until_acknowledged(cluster: &Cluster, index: usize, key: &str) {
    while put(cluster.channel(index), key, "value").await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_told_by_all_three_recordings() {
    for protocol in PROTOCOLS {
        killed_leader(protocol).await;
    }
}

/// The guard by which somebody begins to lead, and how often it must have held: the first primary of a new group of Viewstamped
/// Replication needs nobody's word.
fn election_of(protocol: &str) -> (&'static str, usize) {
    match protocol {
        "raft" => ("raft.election", 2),
        "multi-paxos" => ("multi-paxos.election", 2),
        "viewstamped" => ("viewstamped.new-view", 1),
        _ => ("zab.elected", 2),
    }
}

async fn killed_leader(protocol: &'static str) {
    let mut cluster = Cluster::start_as(3, protocol, true).await;
    for number in 0..100 {
        put_until_acknowledged(&cluster, number % 3, &format!("before/{number}")).await;
    }
    let leader = cluster.wait_for_leader().await;
    // What is on its way to the recording when the process is killed is lost.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    cluster.kill(leader);
    let survivor = (leader + 1) % 3;
    for number in 0..50 {
        put_until_acknowledged(&cluster, survivor, &format!("after/{number}")).await;
    }
    cluster.restart(leader);
    cluster.range_when_ready(leader, "after/").await;
    put_until_acknowledged(&cluster, survivor, "last").await;
    for index in 0..3 {
        cluster.stop(index);
    }
    let directory = cluster.recordings();

    let page = replay(&[], &directory);
    let words = text(&page.stdout);
    assert!(page.status.success(), "{words}\n{}", text(&page.stderr));
    assert!(words.contains("outputs as recorded"), "{words}");
    assert!(words.contains("nobody led"), "{words}");
    assert!(words.contains(&format!("node{leader} is heard of no more here")), "{words}");
    let told = json(&[], &directory);
    let lives = told["lives"].as_array().expect("lives are told");
    assert_eq!(lives.len(), 4, "three members, one of them twice: {lives:?}");
    assert!(lives.iter().all(|life| life["outputs_as_recorded"].as_u64() > Some(10)), "{lives:?}");
    let stopped = lives.iter().filter(|life| life["end"].as_str().is_some_and(|end| end.contains("stopped"))).count();
    assert_eq!(stopped, 3, "{lives:?}");
    let reigns = told["leadership"].as_array().expect("reigns are told");
    assert!(reigns.len() >= 2, "{reigns:?}");
    let (rule, least) = election_of(protocol);
    let elected = |event: &&Value| event["rule"] == rule && event["verdict"] == "allowed";
    let elections = told["events"].as_array().expect("events are told").iter().filter(elected).count();
    assert!(elections >= least, "{protocol}: elections are told with their votes");
    assert_eq!(told["different_states_behind_slots"], Value::Array(Vec::new()));

    between_two_leaders(&directory, reigns, &format!("node{leader}"));
    what_is_wrong_is_named(&directory);
}

/// The first write of the new leader was not committed while nobody led.
fn between_two_leaders(directory: &Path, reigns: &[Value], killed: &str) {
    let last_of_killed = reigns.iter().rposition(|reign| reign["name"] == killed).expect("it led");
    let (ended, began) = (&reigns[last_of_killed]["to"], &reigns[last_of_killed + 1]["from"]);
    let ended = ended.as_str().expect("a time");
    assert!(ended < began.as_str().expect("a time"), "{reigns:?}");
    let key = json(&["--why", "after/0"], directory);
    let short = key["answer"]["short"].as_str().expect("an answer");
    assert!(short.contains("is committed"), "{short}");
    let slot = short.split_whitespace().nth(1).expect("a slot").to_owned();
    let just_after = replay(&["--why", &format!("{slot}@{ended}")], directory);
    let words = text(&just_after.stdout);
    assert!(words.contains("Why was slot"), "{words}");
    assert!(words.contains("Nobody led") || words.contains("Nobody had proposed it"), "{words}");
    assert!(words.contains("known committed at"), "what became of it is told: {words}");
}

fn what_is_wrong_is_named(directory: &Path) {
    let files = recordings(directory);
    let last = files.last().expect("there are files");
    let name = last.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let whole = std::fs::read(last).expect("the file can be read");

    std::fs::write(last, &whole[..whole.len() - 7]).expect("the file can be written");
    let torn = replay(&[], directory);
    assert!(torn.status.success(), "a torn tail is no fault: {}", text(&torn.stderr));
    assert!(text(&torn.stdout).contains("unfinished frame"), "{}", text(&torn.stdout));

    std::fs::write(last, &whole).expect("the file can be written");
    what_is_odd_is_no_fault(directory, last);
    flip_bit(last, whole.len() / 2);
    let changed = replay(&[], directory);
    assert_eq!(changed.status.code(), Some(1));
    let words = text(&changed.stderr);
    assert!(words.contains(&name) && words.contains("changed"), "{words}");
}

/// An empty last file, a copy, a directory given twice; but not a slot that nobody has.
fn what_is_odd_is_no_fault(directory: &Path, last: &Path) {
    let calls = |told: &Value| told["lives"].as_array().expect("lives are told").clone();
    let once = calls(&json(&[], directory));
    let again = directory.to_str().expect("a readable name").to_owned();
    assert_eq!(calls(&json(&[&again], directory)), once, "a recording given twice is told once");
    let name = last.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let copies = directory.with_extension("copies");
    std::fs::create_dir_all(&copies).expect("a directory");
    std::fs::copy(last, copies.join(&name)).expect("copied");
    assert_eq!(calls(&json(&[copies.to_str().expect("a readable name")], directory)), once, "and a copy");
    let (life, extension) = (name.rsplit_once('-').expect("a sequence").0, last.extension().expect("an extension"));
    let empty = directory.join(format!("{life}-99999999.{}", extension.to_string_lossy()));
    std::fs::write(&empty, b"").expect("written");
    let output = replay(&[], directory);
    assert!(
        output.status.success() && text(&output.stderr).contains("before its first note"),
        "{}",
        text(&output.stderr)
    );
    std::fs::remove_file(empty).expect("removed");
    assert_eq!(replay(&["--why", "0"], directory).status.code(), Some(2));
}
