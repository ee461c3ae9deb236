//! Just enough of Rust's grammar to tell code from comments, and tests from the rest.

use std::ops::Range;

/// One Rust file.
pub(crate) struct RustSource {
    /// The text with every comment, string and character literal replaced by blanks, so that offsets and
    /// lines stay.
    pub(crate) code: String,
    /// The parts under `#[cfg(test)]`.
    test_parts: Vec<Range<usize>>,
    /// The names of modules in other files that are declared under `#[cfg(test)]`.
    pub(crate) test_modules: Vec<String>,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// From the line with its name to that with its closing brace.
    pub(crate) lines: usize,
}

impl RustSource {
    pub(crate) fn parse(text: &str) -> RustSource {
        let code = blanked(text);
        let (mut test_parts, mut test_modules) = (Vec::new(), Vec::new());
        for (at, attribute) in code.match_indices("#[cfg(test)]") {
            let after = at + attribute.len();
            let Some(length) = code[after..].find(['{', ';']) else { continue };
            let end = after + length;
            if code.as_bytes()[end] == b'{' {
                test_parts.push(at..closing_brace(&code, end));
            } else {
                test_parts.push(at..end);
                let mut words = code[after..end].split_whitespace().skip_while(|word| *word != "mod");
                test_modules.extend(words.nth(1).map(str::to_owned));
            }
        }
        RustSource { code, test_parts, test_modules }
    }

    /// Where `pattern` stands in the code as a whole word, as offsets.
    pub(crate) fn find<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = usize> + 'a {
        let whole = move |at: &usize| {
            let before = self.code[..*at].chars().next_back();
            let after = self.code[at + pattern.len()..].chars().next();
            let open_start = pattern.starts_with(is_word) && before.is_some_and(is_word);
            let open_end = pattern.ends_with(is_word) && after.is_some_and(is_word);
            !open_start && !open_end
        };
        self.code.match_indices(pattern).map(|(at, _)| at).filter(whole)
    }

    pub(crate) fn is_test(&self, at: usize) -> bool {
        self.test_parts.iter().any(|part| part.contains(&at))
    }

    /// The line of an offset, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        1 + self.code[..at].matches('\n').count()
    }

    /// All functions with a body, in order.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let functions = self.find("fn").filter_map(|at| {
            let rest = &self.code[at + 2..];
            let name: String = rest.trim_start().chars().take_while(|letter| is_word(*letter)).collect();
            let body = at + 2 + body_offset(rest)?;
            let line = self.line(at);
            let lines = self.line(closing_brace(&self.code, body)) - line + 1;
            (!name.is_empty()).then_some(Function { name, line, lines })
        });
        functions.collect()
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Where a function's body begins after its `fn`; `None` if a semicolon comes first.
fn body_offset(rest: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, letter) in rest.char_indices() {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' if depth == 0 => return None,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at),
            ';' | '}' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The offset of the brace that closes the one at `open`; of unbalanced code, its end.
fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in code[open..].char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth <= 1 => return open + at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// `text` with comments and literals replaced by as many blank bytes; newlines stay.
fn blanked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code.chars().next_back().is_some_and(is_word);
        let blank = blank_length(rest, after_word);
        if blank == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (hidden, shown) = rest.split_at(blank.min(rest.len()));
            code.extend(hidden.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
            rest = shown;
        }
    }
    code
}

/// How many bytes at the start of `rest` are a comment or a literal; 0 if it starts with code.
fn blank_length(rest: &str, after_word: bool) -> usize {
    let bytes = rest.as_bytes();
    match bytes[0] {
        b'/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
        b'/' if rest.starts_with("/*") => block_comment_length(rest),
        b'"' => string_length(rest, 1),
        b'\'' => character_length(rest),
        b'b' | b'c' | b'r' if !after_word => {
            let prefix = rest.len() - rest.trim_start_matches(['b', 'c', 'r']).len();
            let marks = rest[prefix..].len() - rest[prefix..].trim_start_matches('#').len();
            let is_raw = rest[..prefix].ends_with('r');
            match bytes.get(prefix + marks) {
                Some(b'"') if is_raw => raw_string_length(rest, prefix + marks + 1, marks),
                Some(b'"') if marks == 0 => string_length(rest, prefix + 1),
                Some(b'\'') if marks == 0 && &rest[..prefix] == "b" => 1 + character_length(&rest[1..]),
                _ => 0,
            }
        }
        _ => 0,
    }
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest.as_bytes()[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.as_bytes()[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of a string whose content begins at `content`, with its closing quote.
fn string_length(rest: &str, content: usize) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(content) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string_length(rest: &str, content: usize, marks: usize) -> usize {
    let close = format!("\"{}", "#".repeat(marks));
    rest[content..].find(&close).map_or(rest.len(), |length| content + length + close.len())
}

/// The length of a character literal; 0 of a lifetime.
fn character_length(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), Some((escaped, _))) => {
            rest[escaped + 1..].find('\'').map_or(0, |length| escaped + 1 + length + 1)
        }
        (Some(_), Some((close, '\''))) => close + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(text: &str, pattern: &str) -> usize {
        RustSource::parse(text).find(pattern).count()
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        for hidden in [
            "// HashMap",
            "/* HashMap */",
            "/* /* */ HashMap */",
            "\"HashMap\"",
            "\"\\\" HashMap\"",
            "r#\"\" HashMap\"#",
            "br##\"\"# HashMap\"##",
            "b\"HashMap\"",
            "c\"HashMap\"",
            "/// HashMap",
        ] {
            assert_eq!(offsets(hidden, "HashMap"), 0, "{hidden}");
            assert_eq!(offsets(&format!("{hidden}\nHashMap"), "HashMap"), 1, "{hidden}");
        }
        assert_eq!(offsets("let quote = '\"'; HashMap", "HashMap"), 1);
        assert_eq!(offsets("let quote = b'\"'; HashMap", "HashMap"), 1);
        assert_eq!(offsets("let escaped = '\\''; HashMap", "HashMap"), 1);
        assert_eq!(offsets("fn of<'a>(text: &'a str) -> HashMap<'a>", "HashMap"), 1);
        assert_eq!(offsets("let r#type = number; HashMap", "HashMap"), 1);
    }

    #[test]
    fn only_whole_words_are_found() {
        assert_eq!(offsets("operand::x MyHashMap HashMaps rand::x", "rand::"), 1);
        assert_eq!(offsets("MyHashMap HashMaps HashMap_", "HashMap"), 0);
    }

    #[test]
    fn lines_survive_what_is_blanked() {
        let source = RustSource::parse("/* é\n */ \"ü\n\" HashMap");
        assert_eq!(source.find("HashMap").map(|at| source.line(at)).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn what_is_under_cfg_test_is_test() {
        let source = RustSource::parse("one();\n#[cfg(test)]\nmod tests { fn f() { { two() } } }\nthree();");
        let is_test = |word| source.find(word).map(|at| source.is_test(at)).collect::<Vec<_>>();
        assert_eq!((is_test("one"), is_test("two"), is_test("three")), (vec![false], vec![true], vec![false]));
        let declared = RustSource::parse("#[cfg(test)]\nmod twin;\nmod real;");
        assert_eq!(declared.test_modules, ["twin"]);
    }

    #[test]
    fn functions_are_measured_from_name_to_closing_brace() {
        let source = RustSource::parse(
            "trait T { fn none(&self) -> [u8; 2]; }\nfn short() {}\npub fn long<F: Fn(u8) -> u8>(f: F)\nwhere\n    F: Copy,\n{\n    let g: fn(u8) = h;\n    { \"}\" }\n}\n",
        );
        let function = |name: &str, line, lines| Function { name: name.to_owned(), line, lines };
        assert_eq!(source.functions(), [function("short", 2, 1), function("long", 3, 7)]);
    }
}
