//! Files are called after what is in them.

use crate::repository::{Finding, Repository};

const RULE: &str = "names";

/// Names that say nothing, and so attract everything.
const BANNED: [&str; 9] = ["util", "utils", "utility", "utilities", "common", "helper", "helpers", "misc", "stuff"];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.files() {
        let mut folders: Vec<&str> = file.path.split('/').collect();
        folders.pop();
        for name in folders.into_iter().chain([file.stem()]).filter(|name| BANNED.contains(name)) {
            findings.push(file.finding(1, RULE, format!("`{name}` says nothing: call it after what it has")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_that_say_nothing_are_found() {
        let repository = Repository::of(&[
            ("crates/raft/src/util.rs", ""),
            ("crates/raft/tests/common/mod.rs", ""),
            ("crates/raft/src/utilisation.rs", ""),
        ]);
        let paths: Vec<String> = check(&repository).into_iter().map(|finding| finding.path).collect();
        assert_eq!(paths, ["crates/raft/src/util.rs", "crates/raft/tests/common/mod.rs"]);
    }
}
