//! Documents that can be trusted: links lead somewhere, every crate is on the map, and nothing points at a folder
//! that only one machine has.

use crate::repository::{File, Finding, Repository};

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = crates_without_description(repository);
    for file in repository.files() {
        findings.extend(outside_paths(file));
        if file.path.ends_with(".md") {
            findings.extend(broken_links(repository, file));
        }
    }
    findings
}

fn crates_without_description(repository: &Repository) -> Vec<Finding> {
    let Some(map) = repository.file("ARCHITECTURE.md") else { return Vec::new() };
    let missing = repository.crates().map(|(name, _)| name).filter(|name| !describes(&map.text, name));
    missing.map(|name| map.finding(1, "architecture", format!("describe crates/{name}"))).collect()
}

/// Whether a text names a crate as a folder or a package, and not only uses the word.
fn describes(text: &str, name: &str) -> bool {
    let forms = [format!("`{name}`"), format!("{name}/"), format!("crates/{name}"), format!("quorate-{name}")];
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    forms.iter().any(|form| {
        text.match_indices(form.as_str()).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + form.len()..].chars().next();
            !before.is_some_and(is_part) && (form.ends_with('/') || !after.is_some_and(is_part))
        })
    })
}

/// Put together from pieces, so that this file does not break its own rule.
fn outside() -> [String; 2] {
    [["..", "/shared"].concat(), ["/wo", "rk/"].concat()]
}

fn outside_paths(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        for path in outside().iter().filter(|path| line.contains(path.as_str())) {
            findings.push(file.finding(
                at + 1,
                "outside",
                format!("`{path}` is not in the repository: do not mention it"),
            ));
        }
    }
    findings
}

fn broken_links(repository: &Repository, file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (at, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            for target in link_targets(&without_inline_code(line)) {
                if let Some(path) = resolve(&file.path, &target)
                    && !repository.has(&path)
                {
                    findings.push(file.finding(
                        at + 1,
                        "links",
                        format!("`{target}` leads nowhere: there is no {path}"),
                    ));
                }
            }
        }
    }
    findings
}

/// The line without what stands between backticks.
fn without_inline_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The targets of `[text](target "title")` and `[label]: target`.
fn link_targets(line: &str) -> Vec<String> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let label = line.trim_start();
    let reference = label
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "))
        .filter(|(name, _)| !name.contains(']'))
        .map(|(_, target)| target);
    let first_word = |target: &str| target.split_whitespace().next().unwrap_or("").trim_matches(['<', '>']).to_owned();
    inline.chain(reference).map(first_word).collect()
}

/// The path that a link means, from the root; `None` if it is no path of the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    let target = target.split(['#', '?']).next().unwrap_or(target);
    if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => from.rsplit_once('/').map_or(Vec::new(), |(folder, _)| folder.split('/').collect()),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.is_empty() || parts.last() == Some(&"..") => parts.push(".."),
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        check(&Repository::of(files)).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let text = "[a](glossary.md)\n[b](missing.md#part), [c](../README.md)\n\n[d]: ../gone/ \"title\"\n";
        assert_eq!(
            findings(&[("docs/index.md", text), ("docs/glossary.md", ""), ("README.md", "")]),
            [
                "docs/index.md:2: links: `missing.md#part` leads nowhere: there is no docs/missing.md",
                "docs/index.md:4: links: `../gone/` leads nowhere: there is no gone",
            ]
        );
    }

    #[test]
    fn links_elsewhere_links_to_folders_and_code_pass() {
        let text = "[a](https://example.org/x.md) [b](#part) [c](<docs>) [d](/docs/x.md)\n`[e](f)`\n```\n[g](h)\n```\n";
        assert_eq!(findings(&[("README.md", text), ("docs/x.md", "")]), [""; 0]);
    }

    #[test]
    fn a_crate_must_be_on_the_map_as_a_crate() {
        let manifest = ("crates/store/Cargo.toml", "");
        let missing = findings(&[manifest, ("ARCHITECTURE.md", "we store things; `keystore`, restore/")]);
        assert_eq!(missing, ["ARCHITECTURE.md:1: architecture: describe crates/store"]);
        for text in ["`store`", "  store/    revisions", "crates/store:", "quorate-store is"] {
            assert_eq!(findings(&[manifest, ("ARCHITECTURE.md", text)]), [""; 0], "{text}");
        }
        assert_eq!(findings(&[manifest]), [""; 0], "no map, no rule");
    }

    #[test]
    fn paths_of_one_machine_are_found_in_any_file() {
        for path in outside() {
            let text = format!("ok\n# see {path}x\n");
            assert_eq!(findings(&[("crates/cli/run.sh", &text)]).len(), 1, "{path}");
        }
    }
}
