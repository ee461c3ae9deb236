//! Every workload of Maelstrom, under partitions, loss and reordering, as Maelstrom would judge it.

use crate::network::{Exchange, NODES, Network, Storm, answered, name};
use quorate_checker::{Budget, Entry, History, Object, Operation, Step, Transaction, Verdict, check};
use quorate_simulator::{Chance, Random};
use quorate_types::Time;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

const SEEDS: RangeInclusive<u64> = 1..=4;

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// An exchange as the checker wants it: what certainly did not happen is left out, what nobody knows the end of has no end.
fn entry(exchange: &Exchange, key: &Value, operation: Operation) -> Option<Entry> {
    let Exchange { client, asked_at: Time(call), .. } = *exchange;
    let is_answer = exchange.is_ok() || exchange.code() == Some(22);
    if exchange.certainly_did_not_happen() && !is_answer {
        return None;
    }
    let ret = exchange.answered_at.filter(|_| is_answer).map(|Time(ret)| ret);
    Some(Entry { client, key: bytes(key), call, ret, operation })
}

fn assert_linearizable(entries: Vec<Entry>, object: Object, seed: u64) {
    let history = History::new(entries).expect("answers come after questions");
    let verdict = check(&history, object, &Budget::default());
    assert_eq!(verdict, Verdict::Linearizable, "seed {seed}");
}

/// Enough is answered to mean something, and everybody hears something. A client that asks a node without a majority waits
/// until that node gives up, so what is answered well says little more; how available the majority is, is a test of its own.
fn assert_available(network: &Network, seed: u64) {
    let exchanges = &network.exchanges;
    let good = answered(exchanges);
    let told = exchanges.iter().filter(|exchange| exchange.answered_at.is_some()).count();
    let mut codes: BTreeMap<Option<u64>, usize> = BTreeMap::new();
    exchanges.iter().for_each(|exchange| *codes.entry(exchange.code()).or_default() += 1);
    println!("seed {seed}: {} asked, {good} answered well, {told} heard anything, errors {codes:?}", exchanges.len());
    assert!(good > 200, "seed {seed}: only {good} of {} were answered well", exchanges.len());
    assert!(told * 100 > exchanges.len() * 98, "seed {seed}: {told} of {} heard anything", exchanges.len());
    assert_eq!(network.remarks, [""; 0], "seed {seed}");
    assert!(network.kinds["forward"] > 50, "seed {seed}: most requests come to followers");
}

#[test]
fn lin_kv_is_linearizable() {
    for seed in SEEDS {
        let mut network = Network::new(seed, Storm::default());
        network.storm(|random, _| {
            let key = random.below(4);
            match random.below(3) {
                0 => json!({ "type": "read", "key": key }),
                1 => json!({ "type": "write", "key": key, "value": random.below(5) }),
                _ => json!({ "type": "cas", "key": key, "from": random.below(5), "to": random.below(5) }),
            }
        });
        let entries = network.exchanges.iter().filter_map(|exchange| {
            let Exchange { request, answer, .. } = exchange;
            let absent = exchange.code() == Some(20);
            let operation = match request["type"].as_str()? {
                // An error 20 is an answer to a read: there was no such key.
                "read" if absent => Operation::Read { found: None },
                "read" => Operation::Read { found: Some(bytes(&answer["value"])) },
                "write" => Operation::Write { value: bytes(&request["value"]) },
                _ => Operation::CompareAndSet {
                    expected: Some(bytes(&request["from"])),
                    value: bytes(&request["to"]),
                    succeeded: Some(exchange.is_ok()),
                },
            };
            match absent {
                true => {
                    let (call, ret) = (exchange.asked_at.0, exchange.answered_at.map(|Time(ret)| ret));
                    Some(Entry { client: exchange.client, key: bytes(&request["key"]), call, ret, operation })
                }
                false => entry(exchange, &request["key"], operation),
            }
        });
        assert_linearizable(entries.collect(), Object::Register, seed);
        assert_available(&network, seed);
        let snapshots = network.kinds.get("snapshot").copied().unwrap_or(0);
        assert_eq!(snapshots > 0, seed.is_multiple_of(2), "seed {seed}: {snapshots} pieces of snapshots");
    }
}

/// A transaction with what it answered, or with what nobody knows.
fn steps(exchange: &Exchange) -> Vec<Step> {
    let seen = exchange.is_ok().then_some(&exchange.answer["txn"]);
    let asked = exchange.request["txn"].as_array().expect("a list of steps").iter().enumerate();
    let step = |(at, step): (usize, &Value)| {
        let key = bytes(&step[1]);
        match step[0] == "append" {
            true => Step::Append { key, value: bytes(&step[2]) },
            false => {
                let elements = |found: &Value| found.as_array().into_iter().flatten().map(bytes).collect();
                Step::List { key, found: seen.map(|seen| elements(&seen[at][2])) }
            }
        }
    };
    asked.map(step).collect()
}

#[test]
fn txn_list_append_is_strictly_serializable() {
    for seed in SEEDS {
        let mut network = Network::new(seed, Storm { clients: 6, ..Storm::default() });
        let mut element = 0;
        network.storm(|random, _| {
            let steps: Vec<Value> = (0..random.between(1, 4))
                .map(|_| {
                    element += 1;
                    // Keys come and go, as in Maelstrom, so that lists stay short.
                    let key = element / 40 + random.below(3);
                    if random.happens(Chance::percent(50)) {
                        json!(["append", key, element])
                    } else {
                        json!(["r", key, null])
                    }
                })
                .collect();
            json!({ "type": "txn", "txn": steps })
        });
        let entries = network.exchanges.iter().filter_map(|exchange| {
            let success = steps(exchange);
            let transaction = Transaction { success, succeeded: Some(true), ..Transaction::default() };
            entry(exchange, &json!(null), Operation::Transact(transaction))
        });
        assert_linearizable(entries.collect(), Object::Store, seed);
        assert_available(&network, seed);
    }
}

/// What was surely written, and what perhaps was.
fn sure_and_possible(exchanges: &[Exchange], field: &str) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let of = |kept: &dyn Fn(&Exchange) -> bool| {
        let kept = exchanges.iter().filter(|exchange| kept(exchange));
        kept.filter_map(|exchange| exchange.request[field].as_u64()).collect::<BTreeSet<u64>>()
    };
    (of(&|exchange| exchange.is_ok()), of(&|exchange| !exchange.certainly_did_not_happen()))
}

fn numbers(values: &Value) -> BTreeSet<u64> {
    values.as_array().expect("a list").iter().map(|value| value.as_u64().expect("a number")).collect()
}

/// Everything acknowledged is there in the end, everywhere, and nothing that was refused.
fn assert_converges(network: &mut Network, field: &str, shown: &str, seed: u64) {
    let (sure, possible) = sure_and_possible(&network.exchanges, field);
    assert!(sure.len() > 100, "seed {seed}: only {} writes", sure.len());
    for last in network.ask_all(&json!({ "type": "read" })) {
        let found = numbers(&last.answer[shown]);
        assert!(
            found.is_superset(&sure),
            "seed {seed}: {} lost {:?}",
            last.node,
            sure.difference(&found).collect::<Vec<_>>()
        );
        assert!(
            found.is_subset(&possible),
            "seed {seed}: {} made up {:?}",
            last.node,
            found.difference(&possible).collect::<Vec<_>>()
        );
    }
}

#[test]
fn broadcast_reaches_everybody() {
    for seed in SEEDS {
        let mut network = Network::new(seed, Storm::default());
        let everybody: BTreeMap<String, Vec<String>> = (0..NODES).map(|node| (name(node), vec![name(0)])).collect();
        for topology in network.ask_all(&json!({ "type": "topology", "topology": everybody })) {
            assert_eq!(topology.answer, json!({ "type": "topology_ok", "in_reply_to": 1 }));
        }
        let mut message = 0;
        network.storm(|random, _| {
            message += 1;
            if random.happens(Chance::percent(50)) {
                json!({ "type": "read" })
            } else {
                json!({ "type": "broadcast", "message": message })
            }
        });
        assert_available(&network, seed);
        assert_converges(&mut network, "message", "messages", seed);
    }
}

#[test]
fn g_set_loses_nothing_and_makes_nothing_up() {
    for seed in SEEDS {
        let mut network = Network::new(seed, Storm::default());
        let mut element = 0;
        network.storm(|random, _| {
            element += 1;
            if random.happens(Chance::percent(50)) {
                json!({ "type": "read" })
            } else {
                json!({ "type": "add", "element": element })
            }
        });
        assert_available(&network, seed);
        assert_converges(&mut network, "element", "value", seed);
    }
}

#[test]
fn pn_counter_ends_within_what_was_added_and_what_perhaps_was() {
    for seed in SEEDS {
        let mut network = Network::new(seed, Storm::default());
        network.storm(|random, _| match random.below(2) {
            0 => json!({ "type": "read" }),
            _ => json!({ "type": "add", "delta": random.below(11) as i64 - 5 }),
        });
        assert_available(&network, seed);
        let delta = |exchange: &Exchange| exchange.request["delta"].as_i64();
        let sure: i64 = network.exchanges.iter().filter(|exchange| exchange.is_ok()).filter_map(delta).sum();
        let doubtful = |exchange: &&Exchange| !exchange.is_ok() && !exchange.certainly_did_not_happen();
        let doubts: Vec<i64> = network.exchanges.iter().filter(doubtful).filter_map(delta).collect();
        let mut possible = BTreeSet::from([sure]);
        for doubt in doubts {
            possible.extend(possible.clone().into_iter().map(|sum| sum + doubt));
        }
        let last: BTreeSet<Option<i64>> =
            network.ask_all(&json!({ "type": "read" })).iter().map(|last| last.answer["value"].as_i64()).collect();
        let last: Vec<Option<i64>> = last.into_iter().collect();
        assert!(
            matches!(last[..], [Some(value)] if possible.contains(&value)),
            "seed {seed}: {last:?} is none of {possible:?}"
        );
    }
}

/// The offsets and messages of a poll, by log.
fn polled(exchange: &Exchange) -> BTreeMap<String, Vec<(u64, u64)>> {
    let pair = |pair: &Value| (pair[0].as_u64().expect("an offset"), pair[1].as_u64().expect("a message"));
    let log = |(key, pairs): (&String, &Value)| {
        (key.clone(), pairs.as_array().expect("pairs").iter().map(pair).collect::<Vec<(u64, u64)>>())
    };
    exchange.answer["msgs"].as_object().expect("logs").iter().map(log).collect()
}

#[test]
fn kafka_loses_skips_and_reorders_nothing() {
    for seed in SEEDS {
        let mut network = Network::new(seed, Storm::default());
        let mut message = 0;
        network.storm(|random: &mut Random, _| {
            let key = random.below(3).to_string();
            message += 1;
            match random.below(8) {
                0..4 => json!({ "type": "send", "key": key, "msg": message }),
                4..6 => json!({ "type": "poll", "offsets": { key: random.below(message / 8 + 1) } }),
                6 => json!({ "type": "commit_offsets", "offsets": { key: random.below(message / 8 + 1) } }),
                _ => json!({ "type": "list_committed_offsets", "keys": [key] }),
            }
        });
        assert_available(&network, seed);
        let mut logs: BTreeMap<String, BTreeMap<u64, u64>> = BTreeMap::new();
        let final_poll = network.ask_and_wait(0, &json!({ "type": "poll", "offsets": { "0": 0, "1": 0, "2": 0 } }));
        for (key, pairs) in polled(&final_poll) {
            let offsets: Vec<u64> = pairs.iter().map(|(offset, _)| *offset).collect();
            assert_eq!(offsets, (0..pairs.len() as u64).collect::<Vec<u64>>(), "seed {seed}: log {key} has gaps");
            logs.insert(key, pairs.into_iter().collect());
        }
        let all: Vec<u64> = logs.values().flat_map(|log| log.values().copied()).collect();
        assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len(), "seed {seed}: a message is there twice");
        let (sure, possible) = sure_and_possible(&network.exchanges, "msg");
        let all: BTreeSet<u64> = all.into_iter().collect();
        assert!(sure.len() > 100 && all.is_superset(&sure) && all.is_subset(&possible), "seed {seed}");
        let mut committed: BTreeMap<(String, String), u64> = BTreeMap::new();
        for exchange in network.exchanges.iter().filter(|exchange| exchange.is_ok()) {
            match exchange.request["type"].as_str() {
                Some("send") => {
                    let key = exchange.request["key"].as_str().expect("a key");
                    let offset = exchange.answer["offset"].as_u64().expect("an offset");
                    assert_eq!(Some(&logs[key][&offset]), exchange.request["msg"].as_u64().as_ref(), "seed {seed}");
                }
                Some("poll") => {
                    for (key, pairs) in polled(exchange) {
                        let first = exchange.request["offsets"][&key].as_u64().expect("an offset");
                        let expected: Vec<(u64, u64)> =
                            logs[&key].range(first..).map(|(at, message)| (*at, *message)).take(pairs.len()).collect();
                        assert_eq!(pairs, expected, "seed {seed}: log {key}");
                    }
                }
                Some("list_committed_offsets") => {
                    for (key, offset) in exchange.answer["offsets"].as_object().expect("offsets") {
                        let offset = offset.as_u64().expect("an offset");
                        let before = committed.entry((exchange.node.clone(), key.clone())).or_default();
                        assert!(offset >= *before, "seed {seed}: {key} went back on {}", exchange.node);
                        *before = offset;
                    }
                }
                _ => {}
            }
        }
    }
}

#[test]
fn unique_ids_are_unique_and_echo_echoes_however_the_network_is_parted() {
    let mut network = Network::new(3, Storm::default());
    network.storm(|random, client| match random.below(2) {
        0 => json!({ "type": "generate" }),
        _ => json!({ "type": "echo", "echo": { "from": client, "list": [1, 2.5, null, "ä\n"] } }),
    });
    assert!(network.exchanges.iter().all(Exchange::is_ok), "neither needs anybody else");
    let mut made = BTreeSet::new();
    for Exchange { request, answer, .. } in &network.exchanges {
        match request["type"] == "generate" {
            true => assert!(made.insert(answer["id"].to_string()), "{answer} was made before"),
            false => assert_eq!((&answer["type"], &answer["echo"]), (&json!("echo_ok"), &request["echo"])),
        }
    }
    assert!(made.len() > 500);
}

#[test]
fn one_seed_gives_one_run() {
    let run = |seed| {
        let mut network = Network::new(seed, Storm { length: Duration::from_secs(15), ..Storm::default() });
        network.storm(|random, _| json!({ "type": "write", "key": random.below(3), "value": random.below(9) }));
        network.exchanges
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
