//! Which crate may depend on which. The arrows keep protocols apart from each other and from everything that
//! blocks, so that one replica can live in a server, a simulator, an explorer and a picture.

use super::manifest::dependencies;
use crate::repository::{Finding, Repository};

const RULE: &str = "arrows";

/// What a crate may use of this workspace.
enum Uses {
    Only(&'static [&'static str]),
    /// A driver: sees all but the program.
    All,
}

use Uses::{All, Only};

const A_PROTOCOL: Uses = Only(&["types", "wire", "quorum", "protocol"]);
/// One that changes its members by stop-sign.
const AN_HEIR: Uses = Only(&["types", "wire", "quorum", "protocol", "succession"]);

/// Every crate there is or is planned. [dev-dependencies] are free.
const ARROWS: [(&str, Uses); 36] = [
    ("types", Only(&[])),
    ("wire", Only(&["types"])),
    ("disk", Only(&["types"])),
    ("quorum", Only(&["types"])),
    ("protocol", Only(&["types", "wire", "quorum"])),
    ("succession", Only(&["types", "wire", "quorum", "protocol"])),
    ("raft", A_PROTOCOL),
    ("paxos", A_PROTOCOL),
    ("multi_paxos", AN_HEIR),
    ("viewstamped", A_PROTOCOL),
    ("zab", AN_HEIR),
    ("epaxos", AN_HEIR),
    ("pbft", AN_HEIR),
    ("tendermint", A_PROTOCOL),
    ("journal", Only(&["types", "wire", "disk"])),
    ("store", Only(&["types", "wire", "disk"])),
    ("machine", Only(&["types", "wire", "protocol"])),
    ("keyspace", Only(&["types", "wire", "machine"])),
    ("watch", Only(&["types", "keyspace"])),
    ("node", Only(&["types", "wire", "disk", "protocol", "journal", "store", "machine"])),
    ("checker", Only(&["types"])),
    ("narrator", Only(&["types", "protocol"])),
    ("recorder", Only(&["types", "wire", "protocol"])),
    ("runtime", All),
    ("server", Only(&["types", "machine", "keyspace", "watch"])),
    ("service", All),
    ("client", Only(&["server"])),
    ("load", Only(&["types", "wire", "keyspace", "server"])),
    ("torture", Only(&["types", "wire", "keyspace", "server", "checker"])),
    ("simulator", All),
    ("compare", All),
    ("explorer", All),
    ("lab", All),
    ("maelstrom", All),
    ("api_suite", All),
    ("cli", All),
];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, file) in repository.crates() {
        let Some((_, uses)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            findings.push(file.finding(1, RULE, format!("say in {} what `{name}` may depend on", file!())));
            continue;
        };
        for dependency in dependencies(&file.text) {
            let Some(target) = dependency.name.strip_prefix("quorate-") else { continue };
            let advice = match uses {
                Only(allowed) if !allowed.contains(&target) => {
                    format!("`{name}` must not depend on `{target}`, only on {}", list(allowed))
                }
                All if target == "cli" => format!("`{name}` must not depend on the program"),
                Only(_) | All => continue,
            };
            findings.push(file.finding(dependency.line, RULE, advice));
        }
    }
    findings
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "nothing here".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(name: &str, dependency: &str) -> Vec<String> {
        let path = format!("crates/{name}/Cargo.toml");
        let text = format!("[dependencies]\n{dependency}\n");
        let repository = Repository::of(&[(&path, &text)]);
        check(&repository).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn no_protocol_depends_on_another_and_none_on_a_driver() {
        assert_eq!(
            advice("raft", "quorate-paxos.workspace = true"),
            [
                "crates/raft/Cargo.toml:2: arrows: `raft` must not depend on `paxos`, only on types, wire, quorum, protocol"
            ]
        );
        assert_eq!(advice("raft", "quorate-runtime.workspace = true").len(), 1);
        assert_eq!(advice("keyspace", "quorate-protocol = { workspace = true }").len(), 1);
        assert_eq!(advice("types", "quorate-wire.workspace = true").len(), 1);
        assert_eq!(advice("server", "quorate-cli.workspace = true").len(), 1);
    }

    #[test]
    fn allowed_arrows_other_packages_and_test_dependencies_pass() {
        assert_eq!(advice("raft", "quorate-quorum.workspace = true\nbytes.workspace = true"), [""; 0]);
        assert_eq!(advice("raft", "[dev-dependencies]\nquorate-simulator.workspace = true"), [""; 0]);
        assert_eq!(advice("cli", "quorate-raft.workspace = true"), [""; 0]);
    }

    #[test]
    fn a_new_crate_must_say_where_it_stands() {
        let findings = advice("novel", "");
        assert_eq!(findings.len(), 1);
        assert!(findings[0].contains("what `novel` may depend on"), "{findings:?}");
    }
}
