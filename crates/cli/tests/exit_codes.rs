//! One rule for the exit codes of all commands: 0 done, 1 failed or something wrong found, 2 wrong usage, 3 no verdict.

use std::path::Path;
use std::process::{Command, Stdio};

fn code(directory: &Path, arguments: &[&str]) -> i32 {
    let status = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(arguments)
        .current_dir(directory)
        .env_remove("QUORATE_ENDPOINTS")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("the program starts").code().expect("no signal ends it")
}

fn expect(expected: i32, directory: &Path, commands: &[&[&str]]) {
    for arguments in commands {
        assert_eq!(code(directory, arguments), expected, "quorate {}", arguments.join(" "));
    }
}

/// Two histories: one register that is read as it was written, and one that is not.
fn directory_of_histories() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a scratch directory can be made");
    let lines = |read: &str| {
        [
            r#"{"process":0,"type":"invoke","f":"write","key":"a","value":"1","time":1}"#.to_owned(),
            r#"{"process":0,"type":"ok","f":"write","key":"a","value":"1","time":2}"#.to_owned(),
            r#"{"process":1,"type":"invoke","f":"read","key":"a","time":3}"#.to_owned(),
            format!(r#"{{"process":1,"type":"ok","f":"read","key":"a","value":"{read}","time":4}}"#),
        ]
        .join("\n")
    };
    for (name, text) in [("good.jsonl", lines("1")), ("bad.jsonl", lines("2")), ("empty.jsonl", String::new())] {
        std::fs::write(directory.path().join(name), text).expect("the scratch directory can be written");
    }
    std::fs::write(directory.path().join("no.snapshot"), vec![7; 544]).expect("the scratch directory can be written");
    directory
}

#[test]
fn what_was_done_and_is_well_ends_with_0() {
    let directory = directory_of_histories();
    let done: &[&[&str]] = &[&["--version"], &["--help"], &["decide", "--propose", "a"], &["check", "good.jsonl"]];
    expect(0, directory.path(), done);
}

#[test]
fn what_failed_and_what_is_wrong_ends_with_1() {
    let directory = directory_of_histories();
    let nobody = "127.0.0.1:1";
    let failed: &[&[&str]] = &[
        &["get", "a", "--endpoints", nobody],
        &["put", "a", "1", "--endpoints", nobody],
        &["status", "--endpoints", nobody],
        &["check", "bad.jsonl"],
        &["snapshot", "status", "no.snapshot"],
        &["restore", "no.snapshot", "--data-dir", "new"],
        &["restore", "missing.snapshot", "--data-dir", "new"],
        &["inspect", "missing"],
        &["inspect", "."],
        &["recover", "missing"],
    ];
    expect(1, directory.path(), failed);
}

#[test]
fn what_makes_no_sense_ends_with_2_whatever_the_command() {
    let directory = directory_of_histories();
    let wrong: &[&[&str]] = &[
        &[],
        &["nothing-of-the-sort"],
        &["get"],
        &["put", "a", "1", "--nothing"],
        &["serve", "--protocol", "none"],
        &["serve", "--config-file", "missing.yaml"],
        &["serve", "--initial-cluster", "other=http://127.0.0.1:2380"],
        &["serve", "--max-txn-ops", "0"],
        &["up", "--nodes", "2"],
        &["up", "--protocol", "none"],
        &["up", "--client-port", "65535"],
        &["bench", "put", "--endpoints", "https://127.0.0.1:1"],
        &["explain"],
        &["explain", "missing.scenario"],
        &["decide"],
        &["check"],
        &["check", "missing.jsonl"],
        &["check", "empty.jsonl"],
        &["check", "good.jsonl", "--model", "none"],
        &["restore"],
        &["restore", "no.snapshot", "--bump-revision", "5"],
        &["restore", "no.snapshot", "--mark-compacted"],
        &["restore", "no.snapshot", "--initial-cluster", "other=http://127.0.0.1:2380"],
        &["snapshot", "status"],
        &["inspect"],
        &["inspect", ".", "--entries", "5..3"],
        &["inspect", ".", "--with-tail"],
        &["inspect", ".", "--keys", "a", "--get", "a"],
        &["replay"],
        &["replay", "missing"],
        &["replay", "."],
        &["serve", "--record-values"],
        &["serve", "--record", "flight", "--record-bytes", "1"],
        &["recover"],
        &["recover", ".", "--bump-revision", "0"],
        &["recover", ".", "--i-accept-data-loss", "7"],
    ];
    expect(2, directory.path(), wrong);
}
