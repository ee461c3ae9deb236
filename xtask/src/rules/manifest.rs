//! Manifests: one edition, licence and set of lints for all; and how rules read a manifest.

use crate::repository::{File, Finding, Repository};

const RULE: &str = "manifest";

/// One `key = value` of a manifest, with the header it stands under.
pub(super) struct Entry<'a> {
    pub(super) line: usize,
    /// Without brackets: `dependencies`, `target.'cfg(unix)'.dependencies`.
    pub(super) section: &'a str,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

/// The entries of a manifest in the form that cargo and people write them, one to a line.
pub(super) fn entries(text: &str) -> Vec<Entry<'_>> {
    let mut section = "";
    let mut entries = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = without_comment(line).trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if !line.contains('=') {
                section = header.trim_matches(['[', ']']).trim();
                entries.push(Entry { line: at + 1, section, key: "", value: "" });
            }
        } else if let Some((key, value)) = line.split_once('=') {
            entries.push(Entry { line: at + 1, section, key: key.trim(), value: value.trim() });
        }
    }
    entries
}

fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (at, letter) in line.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '#' if !quoted => return &line[..at],
            _ => {}
        }
    }
    line
}

/// A dependency that a manifest names.
pub(super) struct Dependency<'a> {
    pub(super) line: usize,
    pub(super) name: &'a str,
}

/// What a crate depends on when it is used: `[dependencies]` and `[build-dependencies]`, also per target, but
/// not `[dev-dependencies]`: tests of a protocol may drive it with the simulator.
pub(super) fn dependencies(text: &str) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    for entry in entries(text) {
        let name = match (dependency_section(entry.section), entry.key) {
            (Some(""), "") | (None, _) => continue,
            (Some(""), key) => key.split('.').next().unwrap_or(key),
            // [dependencies.name]: once, at its header.
            (Some(name), "") => name,
            (Some(_), _) => continue,
        };
        found.push(Dependency { line: entry.line, name: name.trim_matches(['"', '\'']) });
    }
    found
}

/// What follows `dependencies` in a header that means dependencies: nothing, or one crate's name.
fn dependency_section(section: &str) -> Option<&str> {
    let section = match section.strip_prefix("target.") {
        Some(target) => target.rsplit_once("dependencies").map(|(before, after)| {
            let kind = before.rsplit('.').next().unwrap_or("");
            (kind, after)
        }),
        None => section.rsplit_once("dependencies"),
    };
    let (kind, after) = section?;
    let is_used = kind.is_empty() || kind == "build-";
    is_used.then_some(after.strip_prefix('.').unwrap_or(after))
}

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let xtask = repository.file("xtask/Cargo.toml");
    let manifests = repository.crates().map(|(_, file)| file).chain(xtask);
    manifests.flat_map(check_manifest).collect()
}

fn check_manifest(file: &File) -> Vec<Finding> {
    let entries = entries(&file.text);
    let inherits = |section: &str, field: &str| {
        entries.iter().any(|entry| {
            let dotted = entry.key == format!("{field}.workspace") && entry.value == "true";
            let inline = entry.key == field && entry.value.replace(' ', "") == "{workspace=true}";
            entry.section == section && (dotted || inline)
        })
    };
    let mut findings = Vec::new();
    for field in ["edition", "license"] {
        if !inherits("package", field) {
            findings.push(file.finding(1, RULE, format!("write `{field}.workspace = true` under [package]")));
        }
    }
    if !entries.iter().any(|entry| entry.section == "lints" && entry.key == "workspace" && entry.value == "true") {
        findings.push(file.finding(1, RULE, "write `[lints]` with `workspace = true`"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(usize, &str)> {
        dependencies(text).into_iter().map(|dependency| (dependency.line, dependency.name)).collect()
    }

    #[test]
    fn every_way_to_write_a_dependency_is_seen_and_dev_dependencies_are_not() {
        let text = "[package]\nname = \"x\" # not a dependency = \"1\"\n\n[dependencies]\na.workspace = true\nb = \"1\"\n\
                    \"c\" = { path = \"..\" }\n\n[dependencies.d]\nversion = \"1\"\n[dev-dependencies]\ne = \"1\"\n\
                    [build-dependencies]\nf = \"1\"\n[target.'cfg(unix)'.dependencies]\ng = \"1\"\n\
                    [target.'cfg(unix)'.dev-dependencies]\nh = \"1\"\n";
        assert_eq!(names(text), [(5, "a"), (6, "b"), (7, "c"), (9, "d"), (14, "f"), (16, "g")]);
    }

    #[test]
    fn a_manifest_inherits_edition_licence_and_lints() {
        let bad = Repository::of(&[("crates/x/Cargo.toml", "[package]\nedition = \"2021\"\n")]);
        let advice: Vec<String> = check(&bad).into_iter().map(|finding| finding.advice).collect();
        assert_eq!(
            advice,
            [
                "write `edition.workspace = true` under [package]",
                "write `license.workspace = true` under [package]",
                "write `[lints]` with `workspace = true`"
            ]
        );
        let good = Repository::of(&[(
            "crates/x/Cargo.toml",
            "[package]\nedition = { workspace = true }\nlicense.workspace = true\n\n[lints]\nworkspace = true\n",
        )]);
        assert_eq!(check(&good), []);
    }
}
