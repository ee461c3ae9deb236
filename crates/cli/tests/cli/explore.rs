//! `quorate explore` for every protocol: what it found, how it ends, and what it refuses.

use serde_json::Value;
use std::process::{Command, Output};

fn explore(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_quorate"));
    program.arg("explore").args(arguments).output().expect("the program starts")
}

/// Everything within these bounds, and nothing is broken.
fn covers(arguments: &[&str]) {
    let ended = explore(&[arguments, &["--output", "json"]].concat());
    let words = String::from_utf8_lossy(&ended.stdout).into_owned();
    let report: Value = serde_json::from_str(&words).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {words}"));
    assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {words}");
    assert_eq!((&report["complete"], &report["violation"]), (&Value::Bool(true), &Value::Null), "{arguments:?}");
    assert!(report["unique_states"].as_u64().is_some_and(|states| states > 100), "{arguments:?}: {words}");
}

fn refuses(arguments: &[&str], why: &str) {
    let ended = explore(arguments);
    let words = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {words}");
    assert!(words.contains(why), "{arguments:?}: {words}");
}

#[test]
fn every_protocol_is_searched_to_the_end_of_its_bounds() {
    covers(&["--protocol", "paxos", "--nodes", "2", "--crashes", "1"]);
    let one_proposer = ["--nodes", "2", "--proposers", "1"];
    for bounds in [
        &["--protocol", "raft", "--crashes", "1"][..],
        &["--protocol", "multi-paxos", "--timer", "election=1", "--crashes", "1"],
        &["--protocol", "viewstamped", "--duplicates", "1"],
        &["--protocol", "zab", "--timer", "tick=1", "--crashes", "1"],
    ] {
        covers(&[&one_proposer[..], bounds].concat());
    }
}

#[test]
fn members_leave_and_leaders_hand_over_where_the_protocol_has_that() {
    let two = ["--nodes", "2", "--proposers", "0", "--max-states", "20000"];
    for protocol in ["raft", "multi-paxos", "viewstamped"] {
        for wish in ["--transfer", "--leave"] {
            let ended = explore(&[&two[..], &["--protocol", protocol, wish]].concat());
            let words = String::from_utf8_lossy(&ended.stdout).into_owned();
            assert!(words.contains("no property is broken"), "{protocol} {wish}: {words}");
        }
    }
}

#[test]
fn what_a_protocol_does_not_have_is_refused_by_name() {
    refuses(&["--protocol", "paxos", "--transfer"], "it has no leader");
    refuses(&["--protocol", "paxos", "--leave"], "it has no leader");
    refuses(&["--protocol", "zab", "--leave"], "members that stay as they are");
    refuses(&["--protocol", "raft", "--nodes", "1", "--transfer"], "--nodes 2");
    refuses(&["--protocol", "viewstamped", "--nodes", "1", "--leave"], "--nodes 2");
    refuses(&["--protocol", "multi-paxos", "--timer", "primary=1"], "election, heartbeat, check-quorum");
    refuses(&["--protocol", "viewstamped", "--timer", "election=1"], "primary, heartbeat, resend");
    refuses(&["--protocol", "zab", "--timer", "tick"], "TIMER=N is wanted");
    refuses(&["--protocol", "none"], "possible values");
}

#[test]
fn a_search_that_ends_at_its_most_states_has_no_verdict() {
    for protocol in ["paxos", "raft", "multi-paxos", "viewstamped", "zab"] {
        let ended = explore(&["--protocol", protocol, "--max-states", "1000"]);
        assert_eq!(ended.status.code(), Some(3), "{protocol}");
    }
}
