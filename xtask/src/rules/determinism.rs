//! Deterministic crates reach for nothing outside: no hash order, clock, chance, file, socket, thread or async.
//! One seed must give one trace, and a replica must be a value that can be cloned, hashed and stored.

use super::manifest::dependencies;
use super::{DETERMINISTIC, Parsed};
use crate::repository::{Finding, Repository};

const RULE: &str = "determinism";

/// What deterministic code does not say, and what it says instead.
const BANNED: [(&str, &str); 17] = [
    ("HashMap", "use BTreeMap: hash order differs from run to run"),
    ("HashSet", "use BTreeSet: hash order differs from run to run"),
    ("RandomState", "hash order differs from run to run"),
    ("Instant::now", "time comes in through Env or as an input"),
    ("time::Instant", "time comes in through Env or as an input: use quorate_types::Time"),
    ("SystemTime", "time comes in through Env or as an input"),
    ("thread_rng", "chance comes in through Env"),
    ("rand::", "chance comes in through Env"),
    ("std::fs", "files belong to a driver"),
    ("std::net", "sockets belong to a driver"),
    ("std::thread", "threads belong to a driver"),
    ("std::process", "processes belong to a driver"),
    ("std::env", "the environment belongs to a driver"),
    ("thread_local", "state belongs in values"),
    ("tokio", "async belongs to a driver"),
    ("async", "async belongs to a driver"),
    ("await", "async belongs to a driver"),
];

/// The same modules in a grouped `use std::{...}`.
const BANNED_IN_STD: [&str; 5] = ["fs", "net", "thread", "process", "env"];

/// The packages from outside that a deterministic crate may use: each is itself deterministic.
const PACKAGES: [&str; 5] = ["bytes", "crc32c", "thiserror", "ed25519-dalek", "serde_json"];

pub(super) fn check(repository: &Repository, sources: &[Parsed<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for parsed in sources.iter().filter(|parsed| !parsed.is_test && is_deterministic(&parsed.file.path)) {
        findings.extend(check_source(parsed));
    }
    for (_, file) in repository.crates().filter(|(name, _)| DETERMINISTIC.contains(name)) {
        for dependency in dependencies(&file.text) {
            if !dependency.name.starts_with("quorate-") && !PACKAGES.contains(&dependency.name) {
                let advice = format!(
                    "`{}` is not among the packages known to be deterministic: do without, or add it in {}",
                    dependency.name,
                    file!()
                );
                findings.push(file.finding(dependency.line, RULE, advice));
            }
        }
    }
    findings
}

fn is_deterministic(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.next() == Some("crates")
        && parts.next().is_some_and(|name| DETERMINISTIC.contains(&name))
        && parts.next() == Some("src")
}

fn check_source(parsed: &Parsed<'_>) -> Vec<Finding> {
    let source = &parsed.source;
    let mut findings = Vec::new();
    for (word, advice) in BANNED {
        for at in source.find(word).filter(|at| !source.is_test(*at)) {
            findings.push(parsed.finding(at, RULE, format!("no `{word}` here: {advice}")));
        }
    }
    for at in source.find("std::{").filter(|at| !source.is_test(*at)) {
        let group = source.code[at..].split([';']).next().unwrap_or_default();
        let names = group.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
        for module in names.filter(|name| BANNED_IN_STD.contains(name)) {
            findings.push(parsed.finding(at, RULE, format!("no `std::{module}` here: it belongs to a driver")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::rust_sources;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let repository = Repository::of(&[(path, text)]);
        check(&repository, &rust_sources(&repository)).iter().map(Finding::to_string).collect()
    }

    const RAFT: &str = "crates/raft/src/replica.rs";

    #[test]
    fn every_banned_word_is_found_once() {
        assert_eq!(
            findings(RAFT, "\nuse std::collections::HashMap;"),
            [
                "crates/raft/src/replica.rs:2: determinism: no `HashMap` here: use BTreeMap: hash order differs from run to run"
            ]
        );
        for text in
            ["std::fs::read(x)", "let now = Instant::now();", "async fn f() {}", "rand::random()", "tokio::spawn(f)"]
        {
            assert_eq!(findings(RAFT, text).len(), 1, "{text}");
        }
        assert_eq!(findings(RAFT, "use std::{collections::BTreeMap, fs, net::TcpStream};").len(), 2);
    }

    #[test]
    fn tests_comments_drivers_and_harmless_words_pass() {
        assert_eq!(findings(RAFT, "// no HashMap\n#[cfg(test)]\nmod tests { use std::thread; }"), [""; 0]);
        assert_eq!(findings("crates/raft/tests/paper.rs", "use std::fs;"), [""; 0]);
        assert_eq!(findings("crates/runtime/src/lib.rs", "use std::fs;"), [""; 0]);
        assert_eq!(findings(RAFT, "use std::{fmt, mem}; operand::x(); asynchronous();"), [""; 0]);
    }

    #[test]
    fn packages_that_are_not_known_to_be_deterministic_are_named() {
        let manifest = "[dependencies]\nbytes.workspace = true\ntokio.workspace = true\n";
        let found = findings("crates/raft/Cargo.toml", manifest);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("crates/raft/Cargo.toml:3: determinism: `tokio` is not"), "{found:?}");
        assert_eq!(findings("crates/server/Cargo.toml", manifest), [""; 0]);
    }
}
