//! Files are read in one sitting and functions on one screen. What is larger already is listed, with its size, in
//! a ratchet that may only shrink.

use super::Parsed;
use crate::repository::{File, Finding, Repository};
use std::collections::BTreeMap;

const RULE: &str = "size";
const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;

/// Lines `<lines> <path>` and `<lines> <path> <function>`; `#` begins a comment.
const RATCHET: &str = "xtask/ratchet.txt";

/// A file, or a function of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    path: String,
    function: Option<String>,
}

impl Place {
    fn limit(&self) -> usize {
        if self.function.is_some() { FUNCTION_LINES } else { FILE_LINES }
    }
}

/// Something measured.
struct Size {
    line: usize,
    lines: usize,
}

pub(super) fn check(repository: &Repository, sources: &[Parsed<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ratchet = repository.file(RATCHET);
    let listed = ratchet.map(|file| read_ratchet(file, &mut findings)).unwrap_or_default();
    let sizes = measure(sources);
    for (place, size) in &sizes {
        let allowed = listed.get(place).map_or(place.limit(), |listed| listed.lines.max(place.limit()));
        if size.lines > allowed {
            let what = place.function.as_ref().map_or("this file".to_owned(), |name| format!("`{name}`"));
            let advice = format!("{what} has {} lines, {allowed} are allowed: divide it", size.lines);
            findings.push(Finding { path: place.path.clone(), line: size.line, rule: RULE, advice });
        }
    }
    for (place, listed) in &listed {
        let lines = sizes.get(place).map_or(0, |size| size.lines);
        let advice = if lines <= place.limit() {
            "nothing to allow here any more: remove this line".to_owned()
        } else if lines < listed.lines {
            format!("it has shrunk: write {lines} instead of {}", listed.lines)
        } else {
            continue;
        };
        findings.push(Finding { path: RATCHET.to_owned(), line: listed.line, rule: RULE, advice });
    }
    findings
}

/// The size of everything; of several functions with one name in a file, of the longest.
fn measure(sources: &[Parsed<'_>]) -> BTreeMap<Place, Size> {
    let mut sizes: BTreeMap<Place, Size> = BTreeMap::new();
    for parsed in sources {
        let path = &parsed.file.path;
        let whole = Size { line: 1, lines: parsed.file.text.lines().count() };
        sizes.insert(Place { path: path.clone(), function: None }, whole);
        for function in parsed.source.functions() {
            let place = Place { path: path.clone(), function: Some(function.name) };
            let size = sizes.entry(place).or_insert(Size { line: function.line, lines: function.lines });
            if function.lines > size.lines {
                *size = Size { line: function.line, lines: function.lines };
            }
        }
    }
    sizes
}

fn read_ratchet(file: &File, findings: &mut Vec<Finding>) -> BTreeMap<Place, Size> {
    let mut listed = BTreeMap::new();
    for (at, text) in file.text.lines().enumerate() {
        let line = at + 1;
        let words: Vec<&str> = text.split('#').next().unwrap_or_default().split_whitespace().collect();
        let place =
            |path: &str, function: Option<&str>| Place { path: path.to_owned(), function: function.map(str::to_owned) };
        let (place, lines) = match words[..] {
            [] => continue,
            [lines, path] => (place(path, None), lines.parse()),
            [lines, path, function] => (place(path, Some(function)), lines.parse()),
            _ => {
                findings.push(file.finding(line, RULE, "write `<lines> <path>` or `<lines> <path> <function>`"));
                continue;
            }
        };
        let Ok(lines) = lines else {
            findings.push(file.finding(line, RULE, "a line begins with a number of lines"));
            continue;
        };
        if listed.insert(place, Size { line, lines }).is_some() {
            findings.push(file.finding(line, RULE, "listed twice: remove one"));
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::rust_sources;

    const PATH: &str = "crates/raft/src/replica.rs";

    fn findings(text: &str, ratchet: &str) -> Vec<String> {
        let repository = Repository::of(&[(PATH, text), (RATCHET, ratchet)]);
        check(&repository, &rust_sources(&repository)).iter().map(Finding::to_string).collect()
    }

    fn function_of(lines: usize) -> String {
        format!("fn step() {{{}}}\n", "\n".repeat(lines - 1))
    }

    #[test]
    fn sizes_up_to_the_limit_pass() {
        assert_eq!(findings(&"\n".repeat(FILE_LINES), "# none\n"), [""; 0]);
        assert_eq!(findings(&function_of(FUNCTION_LINES), ""), [""; 0]);
    }

    #[test]
    fn what_is_too_long_is_named_with_its_size() {
        assert_eq!(
            findings(&format!("\n{}", function_of(71)), ""),
            ["crates/raft/src/replica.rs:2: size: `step` has 71 lines, 70 are allowed: divide it"]
        );
        assert_eq!(
            findings(&"\n".repeat(601), ""),
            ["crates/raft/src/replica.rs:1: size: this file has 601 lines, 600 are allowed: divide it"]
        );
    }

    #[test]
    fn what_is_listed_may_stay_but_not_grow() {
        assert_eq!(findings(&function_of(80), &format!("80 {PATH} step")), [""; 0]);
        assert_eq!(
            findings(&function_of(81), &format!("80 {PATH} step")),
            ["crates/raft/src/replica.rs:1: size: `step` has 81 lines, 80 are allowed: divide it"]
        );
    }

    #[test]
    fn the_list_may_only_shrink() {
        assert_eq!(
            findings(&function_of(75), &format!("# sizes\n80 {PATH} step")),
            ["xtask/ratchet.txt:2: size: it has shrunk: write 75 instead of 80"]
        );
        let gone = "xtask/ratchet.txt:1: size: nothing to allow here any more: remove this line";
        assert_eq!(findings(&function_of(70), &format!("80 {PATH} step")), [gone]);
        assert_eq!(findings("", "700 crates/raft/src/removed.rs"), [gone]);
    }

    #[test]
    fn a_list_that_cannot_be_read_is_a_finding() {
        assert_eq!(findings("", &format!("many {PATH}\n1 2 3 4\n")).len(), 2);
        assert_eq!(findings(&"\n".repeat(700), &format!("700 {PATH}\n700 {PATH}\n")).len(), 1);
    }
}
