//! What one may rely on when something is wrong: nodes that do not know who they are, clusters without a majority, lines that
//! are no messages.

use crate::network::{Exchange, NODES, Network, Storm};
use quorate_maelstrom::{Participant, Word, raft_settings};
use quorate_raft::Raft;
use quorate_simulator::Chance;
use quorate_types::Time;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

fn lone() -> Participant<Raft> {
    Participant::new(raft_settings(Duration::from_millis(500)), 1)
}

/// Hands over one message and takes the bodies of what comes back.
fn tell(participant: &mut Participant<Raft>, src: &str, body: Value) -> Vec<Value> {
    let line = json!({ "id": 0, "src": src, "dest": "n1", "body": body }).to_string();
    participant.receive(Time::ZERO, &line);
    participant.settle(Time::ZERO);
    bodies(participant)
}

fn bodies(participant: &mut Participant<Raft>) -> Vec<Value> {
    let body = |word| match word {
        Word::Line(line) => Some(serde_json::from_str::<Value>(&line).expect("a line of JSON")["body"].clone()),
        Word::Remark(_) => None,
    };
    participant.take_words().into_iter().filter_map(body).collect()
}

fn init(names: &[&str]) -> Value {
    json!({ "type": "init", "msg_id": 1, "node_id": "n1", "node_ids": names })
}

#[test]
fn a_request_before_init_is_refused_for_certain() {
    let mut participant = lone();
    let answer = tell(&mut participant, "c1", json!({ "type": "write", "key": 1, "value": 2, "msg_id": 7 }));
    assert_eq!(answer[0]["code"], 11);
    assert_eq!(answer[0]["in_reply_to"], 7);
    assert_eq!(tell(&mut participant, "c1", init(&["n1"])), [json!({ "type": "init_ok", "in_reply_to": 1 })]);
    let read = tell(&mut participant, "c1", json!({ "type": "read", "msg_id": 8 }));
    assert_eq!(read[0]["code"], 11, "nothing was added, so nobody knows to what");
}

/// The messages that a candidate of three sends before it has heard of anybody.
fn requests_for_votes() -> Vec<String> {
    let mut candidate = Participant::new(raft_settings(Duration::from_millis(500)), 2);
    let init = json!({ "type": "init", "msg_id": 1, "node_id": "n2", "node_ids": ["n1", "n2", "n3"] });
    candidate.receive(Time::ZERO, &json!({ "src": "c0", "dest": "n2", "body": init }).to_string());
    candidate.settle(Time::ZERO);
    assert_eq!(bodies(&mut candidate), [json!({ "type": "init_ok", "in_reply_to": 1 })]);
    candidate.settle(candidate.deadline().expect("it waits").max(Time::ZERO + Duration::from_secs(1)));
    let lines = candidate.take_words().into_iter().filter_map(|word| match word {
        Word::Line(line) if line.contains("\"dest\":\"n1\"") => Some(line),
        _ => None,
    });
    lines.collect()
}

#[test]
fn what_other_nodes_say_before_init_is_kept_and_answered_after_it() {
    let early = requests_for_votes();
    assert!(!early.is_empty());
    let mut participant = lone();
    for line in &early {
        participant.receive(Time::ZERO, line);
    }
    participant.settle(Time::ZERO);
    assert_eq!(bodies(&mut participant), [json!(null); 0]);
    let said = tell(&mut participant, "c0", init(&["n3", "n2", "n1"]));
    let kinds: Vec<&str> = said.iter().map(|body| body["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"init_ok") && kinds.contains(&"replica"), "{said:?}");
}

#[test]
fn init_may_be_repeated_but_not_changed_and_must_name_the_node() {
    let mut participant = lone();
    assert_eq!(tell(&mut participant, "c0", init(&["n2", "n3"]))[0]["code"], 12);
    assert_eq!(tell(&mut participant, "c0", init(&["n1", "n2"]))[0]["type"], "init_ok");
    assert_eq!(tell(&mut participant, "c0", init(&["n2", "n1"]))[0]["type"], "init_ok");
    assert_eq!(tell(&mut participant, "c0", init(&["n1"]))[0]["code"], 22);
}

#[test]
fn what_is_no_request_gets_an_error_and_what_is_no_message_a_remark() {
    let mut participant = lone();
    tell(&mut participant, "c0", init(&["n1"]));
    for (body, code) in [
        (json!({ "type": "dance", "msg_id": 1 }), 10),
        (json!({ "type": "cas", "key": 1, "msg_id": 1 }), 12),
        (json!({ "msg_id": 1 }), 12),
        (json!({ "type": "init", "node_id": 3, "msg_id": 1 }), 12),
    ] {
        let answer = tell(&mut participant, "c1", body.clone());
        assert_eq!(answer[0]["code"], code, "{body}");
    }
    assert_eq!(tell(&mut participant, "c1", json!({ "type": "dance" })), [json!(null); 0], "nobody waits for that");
    for line in [
        "",
        "{",
        "[]",
        "{\"src\":\"c1\",\"dest\":\"n1\"}",
        "{\"src\":\"n2\",\"dest\":\"n1\",\"body\":{\"type\":\"replica\",\"bytes\":\"AAAA\"}}",
        "{\"src\":\"n1\",\"dest\":\"n1\",\"body\":{\"type\":\"replica\",\"bytes\":\"!\"}}",
        "{\"src\":\"n1\",\"dest\":\"n1\",\"body\":{\"type\":\"replica\"}}",
        "{\"src\":\"c1\",\"dest\":\"n1\",\"body\":{\"type\":\"echo_ok\",\"in_reply_to\":3}}",
    ] {
        participant.receive(Time::ZERO, line);
        participant.settle(Time::ZERO);
        let words = participant.take_words();
        assert!(matches!(words[..], [Word::Remark(_)]), "{line}: {words:?}");
    }
}

fn write(value: u64) -> Value {
    json!({ "type": "write", "key": 0, "value": value })
}

#[test]
fn a_majority_goes_on_within_two_election_timeouts_and_a_minority_never_says_definitely_no_to_what_happens() {
    for seed in 1..=10 {
        let storm = Storm { partitions: false, loss: Chance::NEVER, ..Storm::default() };
        let mut network = Network::new(seed, storm);
        network.run(Duration::from_secs(3));
        let leader = leader(&mut network);
        let other = (leader + 1) % NODES;
        let majority: Vec<usize> = (0..NODES).filter(|node| *node != leader && *node != other).collect();
        network.cut_off(&[leader, other]);
        // A deposed leader takes a write and cannot tell what became of it; a node that never found anybody to take it can.
        let doubtful = network.ask_and_wait(leader, &write(7));
        assert_eq!(doubtful.code(), Some(0), "seed {seed}: {doubtful:?}");
        let refused = network.ask_and_wait(other, &write(8));
        assert!(matches!(refused.code(), Some(0 | 11)), "seed {seed}: {refused:?}");
        for at in 0..20 {
            let answer = network.ask_and_wait(majority[at % 3], &write(100 + at as u64));
            assert!(answer.is_ok(), "seed {seed}: {answer:?}");
            let took = answer.answered_at.expect("it was answered").since(answer.asked_at);
            assert!(took < Duration::from_millis(400), "seed {seed}: {took:?}");
        }
        let stale = network.ask_and_wait(leader, &json!({ "type": "read", "key": 0 }));
        assert_eq!(stale.code(), Some(11), "seed {seed}: a read without a majority never is an old value");
        network.heal();
        network.run(Duration::from_secs(5));
        for last in network.ask_all(&json!({ "type": "read", "key": 0 })) {
            assert_eq!(last.answer["value"], 119, "seed {seed}: {last:?}");
        }
    }
}

/// The node that answers a write fastest: the others have to ask it first.
fn leader(network: &mut Network) -> usize {
    let mut total: BTreeMap<usize, Duration> = BTreeMap::new();
    for _ in 0..30 {
        for (node, answer) in network.ask_all(&write(1)).into_iter().enumerate() {
            assert!(answer.is_ok(), "{answer:?}");
            *total.entry(node).or_default() += answer.answered_at.expect("it was answered").since(answer.asked_at);
        }
    }
    total.into_iter().min_by_key(|(_, took)| *took).map(|(node, _)| node).expect("some node answered")
}

#[test]
fn a_majority_takes_over_quickly_from_a_leader_that_is_cut_off() {
    let mut network = Network::new(4, Storm { partitions: false, loss: Chance::NEVER, ..Storm::default() });
    network.run(Duration::from_secs(3));
    let old = leader(&mut network);
    network.cut_off(&[old]);
    let first: Exchange = network.ask_and_wait((old + 1) % NODES, &write(5));
    assert!(first.is_ok(), "{first:?}");
    let took = first.answered_at.unwrap().since(first.asked_at);
    assert!(took < Duration::from_secs(2), "an election takes one to two time-outs of 0.5 s, and this took {took:?}");
}

#[test]
fn a_cluster_of_one_answers_alone() {
    let mut participant = lone();
    tell(&mut participant, "c0", init(&["n1"]));
    let mut now = Time::ZERO;
    let line = json!({ "src": "c1", "dest": "n1", "body": { "type": "write", "key": 1, "value": 2, "msg_id": 7 } });
    participant.receive(now, &line.to_string());
    participant.settle(now);
    let mut said = bodies(&mut participant);
    while said.is_empty() {
        now = participant.deadline().unwrap();
        assert!(now < Time::ZERO + Duration::from_secs(3));
        participant.settle(now);
        said = bodies(&mut participant);
    }
    assert_eq!(said, [json!({ "type": "write_ok", "in_reply_to": 7 })]);
}
