//! What is left over from unfinished work. A panic outside tests must carry the reason why it cannot happen, and
//! a test that does not run is not a test.

use super::Parsed;
use crate::repository::Finding;

const RULE: &str = "leftovers";

const EVERYWHERE: [(&str, &str); 4] = [
    ("todo!", "write it, or return a typed error"),
    ("unimplemented!", "write it, or return a typed error"),
    ("dbg!", "remove it"),
    ("#[ignore", "make the test run, or remove it"),
];

const OUTSIDE_TESTS: [(&str, &str); 2] = [
    (".unwrap()", "return the error, or say why it cannot happen: expect(\"...\")"),
    (".unwrap_err()", "return the error, or say why it cannot happen: expect_err(\"...\")"),
];

pub(super) fn check(sources: &[Parsed<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for parsed in sources {
        for (word, advice) in EVERYWHERE {
            let found = parsed.source.find(word);
            findings.extend(found.map(|at| parsed.finding(at, RULE, format!("`{word}`: {advice}"))));
        }
        for (word, advice) in OUTSIDE_TESTS {
            let found = parsed.source.find(word).filter(|at| !parsed.is_test(*at));
            findings.extend(found.map(|at| parsed.finding(at, RULE, format!("`{word}`: {advice}"))));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Repository;
    use crate::rules::rust_sources;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let repository = Repository::of(&[(path, text)]);
        check(&rust_sources(&repository)).iter().map(|finding| finding.line).collect()
    }

    const CODE: &str =
        "a.unwrap();\ntodo!();\n#[cfg(test)]\nmod tests {\n    #[ignore]\n    fn f() { b.unwrap(); dbg!(1); }\n}\n";

    #[test]
    fn leftovers_are_found_everywhere_but_unwrap_only_outside_tests() {
        let mut found = lines("crates/cli/src/main.rs", CODE);
        found.sort_unstable();
        assert_eq!(found, [1, 2, 5, 6]);
        let mut found = lines("crates/cli/tests/start.rs", CODE);
        found.sort_unstable();
        assert_eq!(found, [2, 5, 6]);
    }

    #[test]
    fn words_that_only_look_alike_pass() {
        assert_eq!(lines("crates/cli/src/main.rs", "a.unwrap_or(1); my_todo!(); // todo!\n\"dbg!\""), [0; 0]);
    }
}
