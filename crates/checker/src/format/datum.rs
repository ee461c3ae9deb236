//! What JSON and EDN have in common.

use super::ReadError;

/// A piece of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Datum {
    Nil,
    Bool(bool),
    Integer(i64),
    /// A string; or a number that is no integer, as it is written.
    Text(String),
    /// A keyword or symbol, without colon and namespace.
    Name(String),
    /// A list, vector or set.
    List(Vec<Datum>),
    Map(Vec<(Datum, Datum)>),
}

impl Datum {
    pub(crate) fn is_nil(&self) -> bool {
        *self == Datum::Nil
    }

    /// The text of a string or a name.
    pub(crate) fn word(&self) -> Option<&str> {
        match self {
            Datum::Text(text) | Datum::Name(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&[Datum]> {
        match self {
            Datum::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// Two elements.
    pub(crate) fn pair(&self) -> Option<(&Datum, &Datum)> {
        match self.list()? {
            [first, second] => Some((first, second)),
            _ => None,
        }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Datum::Integer(integer) => Some(*integer),
            _ => None,
        }
    }

    pub(crate) fn unsigned(&self) -> Option<u64> {
        self.integer().and_then(|integer| u64::try_from(integer).ok())
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match self {
            Datum::Bool(boolean) => Some(*boolean),
            _ => None,
        }
    }

    /// The value of a map under this name; nil where there is none.
    pub(crate) fn get(&self, name: &str) -> &Datum {
        let Datum::Map(entries) = self else { return &Datum::Nil };
        entries.iter().find(|(key, _)| key.word() == Some(name)).map_or(&Datum::Nil, |(_, value)| value)
    }

    /// As a value of ours. Equal data give equal bytes; `1` and `"1"` do too.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        self.write(&mut text);
        text.into_bytes()
    }

    /// The same, and nothing for nil.
    pub(crate) fn value(&self) -> Option<Vec<u8>> {
        (!self.is_nil()).then(|| self.bytes())
    }

    fn write(&self, text: &mut String) {
        match self {
            Datum::Nil => text.push_str("nil"),
            Datum::Bool(boolean) => text.push_str(if *boolean { "true" } else { "false" }),
            Datum::Integer(integer) => text.push_str(&integer.to_string()),
            Datum::Text(word) | Datum::Name(word) => text.push_str(word),
            Datum::List(elements) => {
                text.push('[');
                for (at, element) in elements.iter().enumerate() {
                    text.push_str(if at > 0 { " " } else { "" });
                    element.write(text);
                }
                text.push(']');
            }
            Datum::Map(entries) => {
                text.push('{');
                for (at, (key, value)) in entries.iter().enumerate() {
                    text.push_str(if at > 0 { ", " } else { "" });
                    key.write(text);
                    text.push(' ');
                    value.write(text);
                }
                text.push('}');
            }
        }
    }
}

/// One event of a history, where it stands.
pub(crate) struct Event {
    pub(crate) line: usize,
    pub(crate) data: Datum,
}

impl Event {
    pub(crate) fn error(&self, why: impl Into<String>) -> ReadError {
        ReadError::at(self.line, why)
    }
}
