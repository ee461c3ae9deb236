//! The public crate `etcd-client`, unchanged, as somebody else's program would use it.
//!
//! First a round of each feature, then a counter that is incremented by transactions while the caller kills the leader:
//! this program says `half way`, and goes on until it reads a line. Nothing acknowledged may be lost, nothing done twice,
//! and a watch sees every change of the counter once and in order.

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, DeleteOptions, Error, EventType, GetOptions, GetResponse, LockOptions,
    PutOptions, SortOrder, SortTarget, Txn, TxnOp, WatchOptions,
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const BEFORE: i64 = 100;
const AFTER: i64 = 100;
const PATIENCE: Duration = Duration::from_secs(30);
const COUNTER: &str = "rs/count";

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoints: Vec<String> =
        std::env::args().skip(1).flat_map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>()).collect();
    let mut client = connect(&endpoints).await?;
    keys_and_transactions(&mut client).await?;
    watches(&mut client).await?;
    leases(&mut client).await?;
    locks_and_elections(&mut client).await?;
    maintenance(&mut client).await?;
    count_while_the_leader_dies(&endpoints).await
}

async fn connect(endpoints: &[String]) -> Result<Client, Error> {
    let options =
        ConnectOptions::new().with_connect_timeout(Duration::from_secs(1)).with_timeout(Duration::from_secs(5));
    Client::connect(endpoints, Some(options)).await
}

async fn keys_and_transactions(client: &mut Client) -> Result<(), Error> {
    // Of an earlier run.
    client.delete("rs/", Some(DeleteOptions::new().with_prefix())).await?;
    client.put("rs/a", "1", None).await?;
    let before = client.put("rs/a", "2", Some(PutOptions::new().with_prev_key())).await?;
    assert_eq!(before.prev_key().expect("the pair before").value(), b"1");
    client.put("rs/b", "3", None).await?;
    let sorted = GetOptions::new().with_prefix().with_sort(SortTarget::Key, SortOrder::Descend).with_limit(1);
    let answer = client.get("rs/", Some(sorted)).await?;
    assert_eq!((answer.kvs()[0].key(), answer.more(), answer.count()), (&b"rs/b"[..], true, 2));
    let inner =
        Txn::new().when([Compare::version("rs/none", CompareOp::Equal, 0)]).and_then([TxnOp::put("rs/c", "4", None)]);
    let txn = Txn::new()
        .when([Compare::value("rs/a", CompareOp::Equal, "2"), Compare::mod_revision("rs/b", CompareOp::Greater, 0)])
        .and_then([TxnOp::get("rs/a", None), TxnOp::txn(inner)])
        .or_else([TxnOp::put("rs/c", "5", None)]);
    let answer = client.txn(txn).await?;
    assert!(answer.succeeded() && answer.op_responses().len() == 2);
    assert_eq!(client.get("rs/c", None).await?.kvs()[0].value(), b"4");
    let deleted = client.delete("rs/", Some(DeleteOptions::new().with_prefix().with_prev_key())).await?;
    assert_eq!((deleted.deleted(), deleted.prev_kvs().len()), (3, 3));
    let refused = client.put("", "x", None).await.expect_err("an empty key is refused");
    assert!(refused.to_string().contains("etcdserver: key is not provided"), "{refused}");
    Ok(())
}

async fn watches(client: &mut Client) -> Result<(), Error> {
    let mut stream = client.watch("rs/w/", Some(WatchOptions::new().with_prefix().with_prev_key())).await?;
    client.put("rs/w/a", "1", None).await?;
    client.put("rs/w/a", "2", None).await?;
    client.delete("rs/w/a", None).await?;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let response = stream.message().await?.expect("the stream goes on");
        for event in response.events() {
            let before = event.prev_kv().map_or(Vec::new(), |pair| pair.value().to_vec());
            seen.push((event.event_type(), before));
        }
    }
    let expected = [(EventType::Put, vec![]), (EventType::Put, b"1".to_vec()), (EventType::Delete, b"2".to_vec())];
    assert_eq!(seen, expected);
    stream.request_progress().await?;
    let progress = stream.message().await?.expect("the stream goes on");
    assert!(progress.events().is_empty() && progress.watch_id() == -1);
    stream.cancel(0).await?;
    while !stream.message().await?.expect("the stream goes on").canceled() {}
    Ok(())
}

async fn leases(client: &mut Client) -> Result<(), Error> {
    let lease = client.lease_grant(30, None).await?.id();
    client.put("rs/l", "1", Some(PutOptions::new().with_lease(lease))).await?;
    let told = client.lease_time_to_live(lease, Some(etcd_client::LeaseTimeToLiveOptions::new().with_keys())).await?;
    assert!(told.ttl() > 25 && told.granted_ttl() == 30 && told.keys() == [b"rs/l".to_vec()]);
    assert!(client.leases().await?.leases().iter().any(|one| one.id() == lease));
    let (mut keeper, mut answers) = client.lease_keep_alive(lease).await?;
    keeper.keep_alive().await?;
    assert_eq!(answers.message().await?.expect("the stream goes on").ttl(), 30);
    client.lease_revoke(lease).await?;
    assert_eq!(client.get("rs/l", None).await?.count(), 0);
    Ok(())
}

async fn locks_and_elections(client: &mut Client) -> Result<(), Error> {
    let (first, second) = (client.lease_grant(30, None).await?.id(), client.lease_grant(30, None).await?.id());
    let key = client.lock("rs-lock", Some(LockOptions::new().with_lease(first))).await?.key().to_vec();
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.lock("rs-lock", Some(LockOptions::new().with_lease(second))).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "a lock has one owner");
    client.unlock(key).await?;
    let key = waiting.await.expect("the waiter does not panic")?.key().to_vec();
    client.unlock(key).await?;
    client.campaign("rs-election", "me", first).await?;
    let leader = client.leader("rs-election").await?;
    assert_eq!(leader.kv().expect("somebody leads").value(), b"me");
    let key = leader.kv().expect("somebody leads");
    let key = etcd_client::LeaderKey::new()
        .with_name("rs-election")
        .with_key(key.key())
        .with_rev(key.create_revision())
        .with_lease(first);
    client.proclaim("me again", Some(etcd_client::ProclaimOptions::new().with_leader(key.clone()))).await?;
    assert_eq!(client.leader("rs-election").await?.kv().expect("somebody leads").value(), b"me again");
    client.resign(Some(etcd_client::ResignOptions::new().with_leader(key))).await?;
    assert!(client.leader("rs-election").await.is_err(), "nobody leads any more");
    Ok(())
}

async fn maintenance(client: &mut Client) -> Result<(), Error> {
    assert!(client.status().await?.version().starts_with("3."));
    assert_eq!(client.member_list().await?.members().len(), 3);
    client.hash_kv(0).await?;
    Ok(())
}

/// Versions of the counter in the order in which a watch saw them.
type Seen = Arc<Mutex<Vec<i64>>>;

/// Watches the counter over as many streams as it takes; a stream that says nothing for a while is asked for progress.
async fn keep_watching(endpoints: Vec<String>, mut revision: i64, seen: Seen) {
    loop {
        let watched = async {
            let mut client = connect(&endpoints).await?;
            let mut stream = client.watch(COUNTER, Some(WatchOptions::new().with_start_revision(revision))).await?;
            while let Some(response) = stream.message().await? {
                for pair in response.events().iter().filter_map(|event| event.kv()) {
                    revision = pair.mod_revision() + 1;
                    seen.lock().expect("nobody panics with it").push(pair.version());
                }
            }
            Ok::<(), Error>(())
        };
        let _ended = watched.await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn mark(number: i64) -> String {
    format!("rs/done/{number:05}")
}

async fn try_increment(client: &mut Client, number: i64) -> Result<bool, Error> {
    let answer = client.get(COUNTER, None).await?;
    let (count, revision) = match answer.kvs().first() {
        Some(pair) => (pair.value_str()?.parse::<i64>().expect("the counter is a number"), pair.mod_revision()),
        None => (0, 0),
    };
    let txn = Txn::new()
        .when([
            Compare::mod_revision(COUNTER, CompareOp::Equal, revision),
            Compare::create_revision(mark(number), CompareOp::Equal, 0),
        ])
        .and_then([TxnOp::put(COUNTER, (count + 1).to_string(), None), TxnOp::put(mark(number), "x", None)]);
    Ok(client.txn(txn).await?.succeeded())
}

/// A read is harmless, so it is asked again until somebody answers.
async fn read(client: &mut Client, key: &str, options: Option<GetOptions>) -> GetResponse {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.get(key, options.clone()).await {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "nobody answers for {PATIENCE:?}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Adds one, once, whatever answers are lost. False if it had to look.
async fn increment(client: &mut Client, number: i64) -> bool {
    let mut told = true;
    loop {
        if let Ok(true) = try_increment(client, number).await {
            return told;
        }
        told = false;
        if read(client, &mark(number), None).await.count() == 1 {
            return told;
        }
    }
}

async fn count_while_the_leader_dies(endpoints: &[String]) -> Result<(), Error> {
    let mut client = connect(endpoints).await?;
    let start = client.put("rs/started", "x", None).await?.header().map_or(0, |header| header.revision());
    let seen: Seen = Arc::default();
    let watching = tokio::spawn(keep_watching(endpoints.to_vec(), start, Arc::clone(&seen)));
    let killed = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    let (mut number, mut looked_up, mut left) = (0, 0, None);
    while left != Some(0) {
        number += 1;
        looked_up += i64::from(!increment(&mut client, number).await);
        if number == BEFORE {
            println!("half way");
        }
        match left {
            Some(more) => left = Some(more - 1),
            None if number >= BEFORE && killed.is_finished() => left = Some(AFTER),
            None => {}
        }
    }
    let ascending = GetOptions::new().with_prefix().with_sort(SortTarget::Key, SortOrder::Ascend);
    let marks = read(&mut client, "rs/done/", Some(ascending)).await;
    let found: Vec<&str> = marks.kvs().iter().map(|pair| pair.key_str()).collect::<Result<_, _>>()?;
    assert_eq!(found, (1..=number).map(mark).collect::<Vec<_>>(), "an acknowledged increment is lost");
    let counter = read(&mut client, COUNTER, None).await;
    let pair = &counter.kvs()[0];
    assert_eq!((pair.value_str()?, pair.version()), (number.to_string().as_str(), number));
    let deadline = Instant::now() + PATIENCE;
    while seen.lock().expect("nobody panics with it").len() < number as usize {
        assert!(Instant::now() < deadline, "the watch does not see all changes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    watching.abort();
    let versions = seen.lock().expect("nobody panics with it").clone();
    assert_eq!(versions, (1..=number).collect::<Vec<_>>(), "the watch must see every change once, in order");
    println!("{number} increments, {looked_up} looked up");
    Ok(())
}
