//! What an operator fears, done to real processes: kill -9 under load, all nodes at once, damaged journals.

use crate::cluster::{Cluster, PATIENCE, flip_bit, put, used_bytes};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What became of the writes of one load.
#[derive(Default)]
struct Load {
    acknowledged: BTreeMap<String, i64>,
    unknown: Vec<String>,
}

/// Clients that write keys of their own, one after the other, each to the next node, until told to stop.
fn start_load(
    cluster: &Cluster,
    prefix: &str,
    clients: usize,
    stop: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<Load>> {
    (0..clients)
        .map(|client| {
            let channels: Vec<_> = (0..cluster.len()).map(|index| cluster.channel(index)).collect();
            let (stop, prefix) = (Arc::clone(stop), prefix.to_owned());
            tokio::spawn(async move {
                let mut load = Load::default();
                for count in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("{prefix}{client}/{count:06}");
                    let channel = channels[(client + count) % channels.len()].clone();
                    match put(channel, &key, &key).await {
                        Ok(revision) => {
                            load.acknowledged.insert(key, revision);
                        }
                        Err(_) => load.unknown.push(key),
                    }
                }
                load
            })
        })
        .collect()
}

async fn finish(stop: &AtomicBool, tasks: Vec<tokio::task::JoinHandle<Load>>) -> Load {
    stop.store(true, Ordering::Relaxed);
    let mut all = Load::default();
    for task in tasks {
        let load = task.await.expect("a client does not panic");
        all.acknowledged.extend(load.acknowledged);
        all.unknown.extend(load.unknown);
    }
    all
}

/// Waits until `count` more writes were acknowledged, seen through the newest revision.
async fn wait_for_progress(cluster: &Cluster, index: usize, prefix: &str, count: i64) {
    let before = cluster.range_when_ready(index, prefix).await.count;
    let deadline = Instant::now() + PATIENCE;
    while cluster.range_when_ready(index, prefix).await.count < before + count {
        assert!(Instant::now() < deadline, "writing does not go on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every acknowledged write is there at its revision, nothing is there that was not asked for, and nothing twice.
async fn expect_exactly(cluster: &Cluster, index: usize, prefix: &str, load: &Load) {
    let answer = cluster.range_when_ready(index, prefix).await;
    let mut found = BTreeMap::new();
    for pair in answer.kvs {
        let key = String::from_utf8(pair.key.to_vec()).expect("only text was written");
        assert_eq!(pair.value, pair.key, "{key} has a value that nobody wrote");
        assert_eq!(pair.version, 1, "{key} was applied twice");
        assert!(load.acknowledged.contains_key(&key) || load.unknown.contains(&key), "{key} was never written");
        found.insert(key, pair.mod_revision);
    }
    for (key, revision) in &load.acknowledged {
        assert_eq!(found.get(key), Some(revision), "{key} was acknowledged at this revision");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_of_the_leader_under_load_loses_nothing_and_applies_nothing_twice() {
    let mut cluster = Cluster::start(3).await;
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = start_load(&cluster, "k/", 16, &stop);
    for _ in 0..2 {
        let leader = cluster.wait_for_leader().await;
        let other = (leader + 1) % cluster.len();
        wait_for_progress(&cluster, other, "k/", 100).await;
        cluster.kill(leader);
        wait_for_progress(&cluster, other, "k/", 100).await;
        cluster.restart(leader);
        // The killed node rejoins by itself: a linearizable read through it works, and shows later writes.
        wait_for_progress(&cluster, leader, "k/", 100).await;
    }
    let load = finish(&stop, tasks).await;
    for index in 0..cluster.len() {
        expect_exactly(&cluster, index, "k/", &load).await;
    }
    println!("{} acknowledged, {} of unknown fate", load.acknowledged.len(), load.unknown.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_of_all_nodes_keeps_everything_acknowledged() {
    let mut cluster = Cluster::start(3).await;
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = start_load(&cluster, "a/", 16, &stop);
    wait_for_progress(&cluster, 0, "a/", 300).await;
    for index in 0..3 {
        cluster.kill(index);
    }
    let load = finish(&stop, tasks).await;
    for index in 0..3 {
        cluster.restart(index);
    }
    for index in 0..3 {
        expect_exactly(&cluster, index, "a/", &load).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_is_repaired_and_a_flipped_bit_stops_the_node_by_name() {
    let mut cluster = Cluster::start(3).await;
    for count in 0..50 {
        put(cluster.channel(0), &format!("d/{count:02}"), "x").await.unwrap();
    }
    let victim = (cluster.wait_for_leader().await + 1) % 3;
    cluster.kill(victim);
    let segment = cluster.newest_segment(victim);
    let sound = std::fs::read(&segment).unwrap();

    // What a crash in the middle of a write leaves: bytes after the last flush that are no flush.
    let end = used_bytes(&segment);
    let mut torn = sound.clone();
    torn[end + 600..end + 700].fill(0xa5);
    std::fs::write(&segment, torn).unwrap();
    cluster.restart(victim);
    assert_eq!(cluster.range_when_ready(victim, "d/").await.count, 50);
    cluster.kill(victim);

    let segment = cluster.newest_segment(victim);
    flip_bit(&segment, used_bytes(&segment) / 2);
    let (status, words) = cluster.run_to_its_end(victim);
    assert!(!status.success());
    let name = segment.file_name().unwrap().to_string_lossy().into_owned();
    assert!(words.contains(&name) && words.contains("at byte"), "{words}");
    let other = (victim + 1) % 3;
    assert_eq!(cluster.range_when_ready(other, "d/").await.count, 50);
}
