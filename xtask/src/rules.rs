//! The house rules. Each module has a few that belong together, and says why they are rules.

mod arrows;
mod determinism;
mod documents;
mod leftovers;
mod manifest;
mod names;
mod size;
mod stories;

use crate::repository::{File, Finding, Repository};
use crate::rust_source::RustSource;

/// The crates that are values without surroundings: the same inputs give the same outputs, on any machine.
const DETERMINISTIC: [&str; 24] = [
    "types",
    "wire",
    "disk",
    "quorum",
    "protocol",
    "succession",
    "raft",
    "paxos",
    "multi_paxos",
    "viewstamped",
    "zab",
    "epaxos",
    "pbft",
    "tendermint",
    "journal",
    "store",
    "machine",
    "keyspace",
    "watch",
    "node",
    "checker",
    "narrator",
    "recorder",
    "compare",
];

/// All findings, ascending.
pub(crate) fn check(repository: &Repository) -> Vec<Finding> {
    let sources = rust_sources(repository);
    let mut findings = Vec::new();
    findings.extend(arrows::check(repository));
    findings.extend(determinism::check(repository, &sources));
    findings.extend(documents::check(repository));
    findings.extend(leftovers::check(&sources));
    findings.extend(manifest::check(repository));
    findings.extend(names::check(repository));
    findings.extend(size::check(repository, &sources));
    findings.extend(stories::check(repository));
    findings.sort();
    findings
}

/// A Rust file, parsed, and whether all of it is test.
struct Parsed<'a> {
    file: &'a File,
    source: RustSource,
    is_test: bool,
}

impl Parsed<'_> {
    fn is_test(&self, at: usize) -> bool {
        self.is_test || self.source.is_test(at)
    }

    fn finding(&self, at: usize, rule: &'static str, advice: impl Into<String>) -> Finding {
        self.file.finding(self.source.line(at), rule, advice)
    }
}

fn rust_sources(repository: &Repository) -> Vec<Parsed<'_>> {
    let rust = repository.files().iter().filter(|file| file.is_rust());
    let mut sources: Vec<Parsed<'_>> = rust
        .map(|file| Parsed { file, source: RustSource::parse(&file.text), is_test: is_under_tests(&file.path) })
        .collect();
    let test_files: Vec<String> = sources.iter().flat_map(declared_test_files).collect();
    for parsed in &mut sources {
        parsed.is_test |= test_files.contains(&parsed.file.path);
    }
    sources
}

fn is_under_tests(path: &str) -> bool {
    path.split('/').any(|folder| matches!(folder, "tests" | "benches")) || path.ends_with("/tests.rs")
}

/// Where the modules can lie that a file declares under `#[cfg(test)]`.
fn declared_test_files(parsed: &Parsed<'_>) -> Vec<String> {
    let path = &parsed.file.path;
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let folder = match parsed.file.stem() {
        "lib" | "main" | "mod" => folder.to_owned(),
        stem => format!("{folder}/{stem}"),
    };
    let modules = parsed.source.test_modules.iter();
    modules.flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_declared_for_tests_is_test_wherever_it_lies() {
        let repository = Repository::of(&[
            ("crates/raft/src/lib.rs", "mod log;\n#[cfg(test)]\nmod twin;"),
            ("crates/raft/src/log.rs", "#[cfg(test)]\nmod slow;"),
            ("crates/raft/src/log/slow.rs", ""),
            ("crates/raft/src/twin.rs", ""),
            ("crates/raft/tests/paper.rs", ""),
        ]);
        let is_test: Vec<bool> = rust_sources(&repository).iter().map(|parsed| parsed.is_test).collect();
        assert_eq!(is_test, [false, false, true, true, true]);
    }

    #[test]
    fn a_clean_repository_has_no_findings() {
        let repository = Repository::of(&[
            (
                "crates/types/Cargo.toml",
                "[package]\nedition.workspace = true\nlicense.workspace = true\n[lints]\nworkspace = true\n",
            ),
            ("crates/types/src/lib.rs", "//! Names.\n"),
            ("ARCHITECTURE.md", "`crates/types` has [names](crates/types/src/lib.rs).\n"),
        ]);
        assert_eq!(check(&repository), []);
    }
}
