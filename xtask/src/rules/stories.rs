//! Stories in documents: a run that a document tells is a golden file of a test, word for word, and every protocol's page tells one.
//! The golden tests keep the files true, this rule keeps the documents true.
//!
//! A story is a fenced block under a comment that names its file, or some of its lines, the first being 1:
//!
//! ```text
//! <!-- told by crates/raft/tests/traces/hints.txt, lines 26 to 48 -->
//! ```

use crate::repository::{File, Finding, Repository};

const RULE: &str = "stories";
const PAGES: &str = "docs/protocols/";
const INTRODUCTION: &str = "<!-- told by ";
const FENCE: &str = "```";

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let documents = repository.files().iter().filter(|file| file.path.ends_with(".md"));
    documents.flat_map(|document| check_document(repository, document)).collect()
}

fn check_document(repository: &Repository, document: &File) -> Vec<Finding> {
    let lines: Vec<&str> = document.text.lines().collect();
    let introductions: Vec<usize> = introductions(&lines);
    if introductions.is_empty() && is_page(&document.path) {
        let advice = format!("tell a run: a fenced block under `{INTRODUCTION}crates/NAME/tests/traces/FILE.txt -->`");
        return vec![document.finding(1, RULE, advice)];
    }
    let complaints = introductions.into_iter().filter_map(|at| Some((at, complaint(repository, &lines, at)?)));
    complaints.map(|(at, advice)| document.finding(at + 1, RULE, advice)).collect()
}

/// Whether it is the page of a protocol: the folder's index is not.
fn is_page(path: &str) -> bool {
    path.strip_prefix(PAGES).is_some_and(|name| name != "README.md")
}

/// The lines that announce a story, from 0; what stands in a fenced block announces nothing.
fn introductions(lines: &[&str]) -> Vec<usize> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.trim_start().starts_with(FENCE) {
            fenced = !fenced;
        } else if !fenced && line.trim_start().starts_with(INTRODUCTION.trim_end()) {
            found.push(at);
        }
    }
    found
}

/// What is wrong with the story announced at a line, if anything.
fn complaint(repository: &Repository, lines: &[&str], at: usize) -> Option<String> {
    let Some((path, range)) = source(lines[at]) else {
        return Some(format!("say `{INTRODUCTION}FILE -->` or `{INTRODUCTION}FILE, lines FIRST to LAST -->`"));
    };
    if !is_golden(path) {
        return Some(format!("`{path}` is no golden file: take one of crates/*/tests/traces/*.txt"));
    }
    let Some(file) = repository.file(path) else { return Some(format!("there is no {path}")) };
    let golden: Vec<&str> = file.text.lines().collect();
    let (first, last) = range.unwrap_or((1, golden.len()));
    let Some(wanted) = first.checked_sub(1).and_then(|start| golden.get(start..last)).filter(|part| !part.is_empty())
    else {
        return Some(format!("{path} has no lines {first} to {last}, but {}", golden.len()));
    };
    let Some(told) = block(lines, at + 1) else {
        return Some("put the story under this line, in a fenced block that is closed".to_owned());
    };
    let differs = (0..wanted.len().max(told.len())).find(|line| wanted.get(*line) != told.get(*line))?;
    let [golden, told] =
        [wanted, told].map(|part| part.get(differs).map_or("nothing".to_owned(), |line| format!("`{line}`")));
    Some(format!("not as told in {path}: line {} there is {golden}, here it is {told}", first + differs))
}

/// The file that an introduction names, and which lines of it.
fn source(introduction: &str) -> Option<(&str, Option<(usize, usize)>)> {
    let named = introduction.trim().strip_prefix(INTRODUCTION)?.strip_suffix(" -->")?;
    let Some((path, lines)) = named.split_once(", lines ") else { return Some((named, None)) };
    let (first, last) = lines.split_once(" to ")?;
    Some((path, Some((first.parse().ok()?, last.parse().ok()?))))
}

fn is_golden(path: &str) -> bool {
    let folders: Vec<&str> = path.split('/').collect();
    matches!(folders.as_slice(), ["crates", _, "tests", "traces", file] if file.ends_with(".txt"))
}

/// What is in the fenced block that begins on this line.
fn block<'a>(lines: &'a [&'a str], at: usize) -> Option<&'a [&'a str]> {
    lines.get(at).filter(|line| line.starts_with(FENCE))?;
    let inside = lines.get(at + 1..)?;
    let length = inside.iter().position(|line| line.starts_with(FENCE))?;
    inside.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = "crates/raft/tests/traces/hints.txt";
    const STORY: &str = "> n1 dies\n    n2 stands\n\n  n2 leads\n";

    fn findings(page: &str) -> Vec<String> {
        let files = [("docs/protocols/raft.md", page), (GOLDEN, STORY)];
        check(&Repository::of(&files)).iter().map(Finding::to_string).collect()
    }

    fn advice_of(page: &str) -> String {
        let findings = findings(page);
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings[0].clone()
    }

    #[test]
    fn a_story_that_is_its_golden_file_passes() {
        assert_eq!(findings(&format!("# Raft\n\n<!-- told by {GOLDEN} -->\n```text\n{STORY}```\n")), [""; 0]);
    }

    #[test]
    fn a_story_that_is_the_named_lines_of_its_file_passes() {
        let page = format!("<!-- told by {GOLDEN}, lines 2 to 4 -->\n```text\n    n2 stands\n\n  n2 leads\n```\n");
        assert_eq!(findings(&page), [""; 0]);
    }

    #[test]
    fn a_story_that_differs_is_found_with_the_line_that_does() {
        for (told, expected) in [
            ("> n1 dies\n    n3 stands\n\n  n2 leads\n", "line 2 there is `    n2 stands`, here it is `    n3 stands`"),
            ("> n1 dies\n    n2 stands\n\n", "line 4 there is `  n2 leads`, here it is nothing"),
            ("> n1 dies\n    n2 stands\n\n  n2 leads\n> more\n", "line 5 there is nothing, here it is `> more`"),
            ("> n1 dies\n   n2 stands\n\n  n2 leads\n", "line 2 there is `    n2 stands`, here it is `   n2 stands`"),
        ] {
            let found = advice_of(&format!("\n<!-- told by {GOLDEN} -->\n```text\n{told}```\n"));
            let expected = format!("docs/protocols/raft.md:2: stories: not as told in {GOLDEN}: {expected}");
            assert_eq!(found, expected);
        }
        let part = advice_of(&format!("<!-- told by {GOLDEN}, lines 2 to 2 -->\n```text\n> n1 dies\n```\n"));
        assert!(part.contains("line 2 there is `    n2 stands`, here it is `> n1 dies`"), "{part}");
    }

    #[test]
    fn every_page_of_a_protocol_tells_a_run_and_the_index_need_not() {
        assert!(advice_of("# Raft\n").starts_with("docs/protocols/raft.md:1: stories: tell a run"));
        let quoted = format!("```text\n<!-- told by {GOLDEN} -->\n```\n");
        assert!(advice_of(&quoted).contains("tell a run"), "an example in a fenced block is no story");
        let elsewhere = [("docs/protocols/README.md", "# Protocols\n"), ("docs/zoo.md", "# Zoo\n")];
        assert_eq!(check(&Repository::of(&elsewhere)), []);
    }

    #[test]
    fn a_document_elsewhere_that_tells_a_story_tells_it_rightly() {
        let page = format!("<!-- told by {GOLDEN} -->\n```text\n> n1 lives\n```\n");
        assert_eq!(check(&Repository::of(&[("README.md", &page), (GOLDEN, STORY)])).len(), 1);
    }

    #[test]
    fn an_introduction_that_cannot_be_followed_is_found() {
        let block = "```text\n> n1 dies\n```\n";
        for (introduction, expected) in [
            ("<!-- told by crates/raft/tests/traces/gone.txt -->", "there is no crates/raft/tests/traces/gone.txt"),
            ("<!-- told by docs/protocols/raft.md -->", "is no golden file"),
            ("<!-- told by crates/raft/tests/traces/hints.txt, lines 1-1 -->", "say `<!-- told by FILE -->`"),
            ("<!-- told by crates/raft/tests/traces/hints.txt", "say `<!-- told by FILE -->`"),
            ("<!-- told by -->", "say `<!-- told by FILE -->`"),
            ("<!-- told by crates/raft/tests/traces/hints.txt, lines 0 to 1 -->", "has no lines 0 to 1, but 4"),
            ("<!-- told by crates/raft/tests/traces/hints.txt, lines 4 to 5 -->", "has no lines 4 to 5, but 4"),
            ("<!-- told by crates/raft/tests/traces/hints.txt, lines 3 to 2 -->", "has no lines 3 to 2, but 4"),
        ] {
            let found = advice_of(&format!("{introduction}\n{block}"));
            assert!(found.contains(expected), "{introduction}: {found}");
        }
    }

    #[test]
    fn a_story_stands_right_under_its_introduction_in_a_block_that_is_closed() {
        for block in ["", "\n```text\n> n1 dies\n```\n", "> n1 dies\n", "```text\n> n1 dies\n"] {
            let found = advice_of(&format!("<!-- told by {GOLDEN}, lines 1 to 1 -->\n{block}"));
            assert!(found.contains("put the story under this line"), "{block:?}: {found}");
        }
    }
}
