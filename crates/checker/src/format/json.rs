//! JSON lines.

use super::ReadError;
use super::datum::{Datum, Event};
use serde_json::Value;

/// The events of a text, one JSON object a line; empty lines are skipped.
pub(crate) fn events(text: &str) -> Result<Vec<Event>, ReadError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, line)| event(at + 1, line)).collect()
}

fn event(line: usize, text: &str) -> Result<Event, ReadError> {
    match serde_json::from_str::<Value>(text) {
        Ok(value @ Value::Object(_)) => Ok(Event { line, data: datum(value) }),
        Ok(_) => Err(ReadError::at(line, "not a JSON object")),
        Err(error) => Err(ReadError::at(line, format!("not JSON: {}", told(&error, line)))),
    }
}

/// The error with the column, but without its own idea of the line, which is always 1.
fn told(error: &serde_json::Error, line: usize) -> String {
    let text = error.to_string();
    text.replace(&format!("at line {} ", error.line()), &format!("at line {line} "))
}

fn datum(value: Value) -> Datum {
    match value {
        Value::Null => Datum::Nil,
        Value::Bool(boolean) => Datum::Bool(boolean),
        Value::Number(number) => number.as_i64().map_or_else(|| Datum::Text(number.to_string()), Datum::Integer),
        Value::String(text) => Datum::Text(text),
        Value::Array(elements) => Datum::List(elements.into_iter().map(datum).collect()),
        Value::Object(entries) => {
            Datum::Map(entries.into_iter().map(|(key, value)| (Datum::Text(key), datum(value))).collect())
        }
    }
}
