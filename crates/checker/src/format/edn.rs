//! The part of EDN that histories use: everything but characters with names of their own meaning to a reader.

use super::ReadError;
use super::datum::{Datum, Event};

/// The events of a text: maps one after another, or vectors or lists of them. A tag in front of one says nothing.
pub(crate) fn events(text: &str) -> Result<Vec<Event>, ReadError> {
    let mut reader = Reader { bytes: text.as_bytes(), text, at: 0, line: 1 };
    let mut events = Vec::new();
    while let Some(byte) = reader.next_token()? {
        match byte {
            b'[' | b'(' => {
                reader.at += 1;
                let close = if byte == b'[' { b']' } else { b')' };
                reader.events_until(close, &mut events)?;
            }
            _ => events.push(reader.event()?),
        }
    }
    Ok(events)
}

struct Reader<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    line: usize,
}

/// Nothing a history holds nests deeper; a text that does is not one, and must not use up the stack.
const DEEPEST: usize = 100;

impl Reader<'_> {
    fn error(&self, why: impl Into<String>) -> ReadError {
        ReadError::at(self.line, why)
    }

    fn events_until(&mut self, close: u8, events: &mut Vec<Event>) -> Result<(), ReadError> {
        let opened = self.line;
        loop {
            match self.next_token()? {
                None => return Err(ReadError::at(opened, "what is opened here is never closed")),
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                Some(_) => events.push(self.event()?),
            }
        }
    }

    fn event(&mut self) -> Result<Event, ReadError> {
        let line = self.line;
        match self.datum(0)? {
            data @ Datum::Map(_) => Ok(Event { line, data }),
            _ => Err(ReadError::at(line, "an event is a map")),
        }
    }

    /// The first byte of the next token, which stays to be read. Skips what means nothing.
    fn next_token(&mut self) -> Result<Option<u8>, ReadError> {
        while let Some(byte) = self.bytes.get(self.at).copied() {
            match byte {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | b',' => self.at += 1,
                b';' => {
                    let rest = &self.bytes[self.at..];
                    self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                }
                b'#' if self.bytes.get(self.at + 1) == Some(&b'_') => {
                    self.at += 2;
                    self.datum(0)?;
                }
                _ => return Ok(Some(byte)),
            }
        }
        Ok(None)
    }

    fn datum(&mut self, depth: usize) -> Result<Datum, ReadError> {
        if depth > DEEPEST {
            return Err(self.error("nested too deep"));
        }
        match self.next_token()?.ok_or_else(|| self.error("the text ends in the middle"))? {
            b'{' => self.map(depth),
            b'[' => self.list(b']', depth),
            b'(' => self.list(b')', depth),
            b'"' => self.string(),
            b'#' => self.dispatch(depth),
            b'^' => {
                // Metadata, then what it is about.
                self.at += 1;
                self.datum(depth + 1)?;
                self.datum(depth + 1)
            }
            b'}' | b']' | b')' => Err(self.error("closed without having been opened")),
            _ => self.atom(),
        }
    }

    /// `#{...}` is a set; `#tag datum` the datum; `#:name{...}` a map.
    fn dispatch(&mut self, depth: usize) -> Result<Datum, ReadError> {
        self.at += 1;
        if self.bytes.get(self.at) == Some(&b'{') {
            return self.list(b'}', depth);
        }
        self.word();
        self.datum(depth + 1)
    }

    fn list(&mut self, close: u8, depth: usize) -> Result<Datum, ReadError> {
        let opened = self.line;
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            match self.next_token()? {
                None => return Err(ReadError::at(opened, "what is opened here is never closed")),
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(Datum::List(elements));
                }
                Some(_) => elements.push(self.datum(depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Datum, ReadError> {
        let line = self.line;
        let Datum::List(elements) = self.list(b'}', depth)? else { return Err(self.error("not a map")) };
        if !elements.len().is_multiple_of(2) {
            return Err(ReadError::at(line, "a map with a key and no value"));
        }
        let mut entries = Vec::with_capacity(elements.len() / 2);
        let mut elements = elements.into_iter();
        while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
            entries.push((key, value));
        }
        Ok(Datum::Map(entries))
    }

    fn string(&mut self) -> Result<Datum, ReadError> {
        let opened = self.line;
        let unclosed = || ReadError::at(opened, "a string is never closed");
        let mut text = String::new();
        let mut rest = self.text[self.at + 1..].char_indices();
        while let Some((at, character)) = rest.next() {
            match character {
                '"' => {
                    self.at += at + 2;
                    return Ok(Datum::Text(text));
                }
                '\\' => match rest.next().ok_or_else(unclosed)?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'u' => {
                        let digits: String = rest.by_ref().take(4).map(|(_, digit)| digit).collect();
                        let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                        text.push(code.ok_or_else(|| self.error(format!("\\u{digits} is no character")))?);
                    }
                    other => text.push(other),
                },
                '\n' => {
                    self.line += 1;
                    text.push('\n');
                }
                other => text.push(other),
            }
        }
        Err(unclosed())
    }

    /// What is up to the next delimiter.
    fn word(&mut self) -> String {
        let start = self.at;
        let is_end = |byte: u8| {
            matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b';' | b'"' | b'{' | b'}' | b'[' | b']' | b'(' | b')')
        };
        while self.bytes.get(self.at).is_some_and(|byte| !is_end(*byte)) {
            self.at += 1;
        }
        self.text[start..self.at].to_owned()
    }

    fn atom(&mut self) -> Result<Datum, ReadError> {
        let word = self.word();
        let after_namespace = |name: &str| match name.rsplit_once('/') {
            Some((_, last)) if !last.is_empty() => last.to_owned(),
            _ => name.to_owned(),
        };
        Ok(match word.as_str() {
            "" => return Err(self.error("nothing that EDN knows")),
            "nil" => Datum::Nil,
            "true" => Datum::Bool(true),
            "false" => Datum::Bool(false),
            _ if word.starts_with(':') => Datum::Name(after_namespace(&word[1..])),
            _ if word.starts_with('\\') => Datum::Text(word[1..].to_owned()),
            _ if word.starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '+') => {
                let integer = word.trim_start_matches('+').trim_end_matches('N').parse();
                integer.map_or(Datum::Text(word), Datum::Integer)
            }
            _ => Datum::Name(after_namespace(&word)),
        })
    }
}
