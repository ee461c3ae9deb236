//! Why a history is impossible, in words.

use crate::history::{Entry, Interval, Operation, Value};
use crate::objects::Object;
use crate::shrink::contradiction;
use std::fmt;

/// The smallest contradictory part of one key's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The operations that contradict each other, in order of call. What was called or answered after the
    /// last answer needed plays no part.
    pub entries: Vec<Entry>,
    /// The operations that may have written what the contradictory ones saw. Their own times and answers do not
    /// matter: the contradiction stands whenever they happened, if they did.
    pub sources: Vec<Entry>,
    /// The contradiction in one sentence.
    pub sentence: String,
}

/// The sentence, then one line per operation.
impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.sentence)?;
        for entry in &self.entries {
            write!(formatter, "\n  {entry}")?;
        }
        for entry in &self.sources {
            write!(formatter, "\n  at any time: {entry}")?;
        }
        Ok(())
    }
}

/// Explains an impossible part of a history.
pub(crate) fn explain(object: Object, entries: &[&Entry], keep_going: &dyn Fn() -> bool) -> Explanation {
    let core = contradiction(object, entries, keep_going);
    let contradictory: Vec<&Entry> = core.iter().map(|index| entries[*index]).collect();
    let seen: Vec<Option<&[u8]>> = contradictory.iter().filter_map(|entry| seen(entry)).collect();
    let sources: Vec<&Entry> = (0..entries.len())
        .filter(|index| !core.contains(index))
        .map(|index| entries[index])
        .filter(|entry| written(entry).is_some_and(|value| seen.contains(&value)))
        .collect();
    Explanation {
        sentence: sentence(&contradictory, entries),
        entries: contradictory.into_iter().cloned().collect(),
        sources: sources.into_iter().cloned().collect(),
    }
}

fn sentence(contradictory: &[&Entry], all: &[&Entry]) -> String {
    let observations = || contradictory.iter().filter_map(|entry| Some((*entry, seen(entry)?)));
    observations()
        .find_map(|(observer, value)| from_nowhere(observer, value, all))
        .or_else(|| observations().find_map(|(observer, value)| overwritten(observer, value, contradictory, all)))
        .unwrap_or_else(|| {
            let count = contradictory.len();
            format!("no order of these {count} operations, within the times they ran, explains every answer")
        })
}

/// A value that nobody had begun to write.
fn from_nowhere(observer: &Entry, value: Option<&[u8]>, all: &[&Entry]) -> Option<String> {
    value?;
    let writers = || all.iter().filter(|entry| written(entry) == Some(value));
    let saw = Saw(observer, value);
    match writers().min_by_key(|entry| entry.call) {
        None => Some(format!("{saw}, but nobody wrote that")),
        Some(first) if observer.ret.is_some_and(|ret| ret < first.call) => {
            let (writer, call) = (first.client, first.call);
            Some(format!("{saw}, but nobody wrote that before client {writer}, who called at {call}"))
        }
        Some(_) => None,
    }
}

/// A value that had certainly been replaced: a later one was in place before the call, and everybody who
/// wrote the value seen had returned before that later one was called.
fn overwritten(observer: &Entry, value: Option<&[u8]>, contradictory: &[&Entry], all: &[&Entry]) -> Option<String> {
    let cannot_follow = |later: &Entry| {
        all.iter()
            .filter(|entry| written(entry) == Some(value))
            .all(|entry| entry.ret.is_some_and(|ret| ret < later.call) || observed_before(observer, entry))
    };
    let replaces = |later: &&&Entry| {
        certainly_written(later).is_some_and(|other| other != value)
            && later.ret.is_some_and(|ret| ret < observer.call)
            && cannot_follow(later)
    };
    let later = contradictory.iter().filter(replaces).max_by_key(|entry| entry.ret)?;
    let (saw, client, ret) = (Saw(observer, value), later.client, later.ret?);
    let deed = match certainly_written(later)? {
        Some(other) => format!("write of {}", Value(Some(other))),
        None => "delete".to_owned(),
    };
    let since = if value.is_some() { "wrote it again since" } else { "removed it since" };
    Some(format!("{saw}, but client {client}'s {deed} had returned at {ret} and nothing {since}"))
}

/// Whether `observer` returned before `entry` was called, and so cannot have seen it.
fn observed_before(observer: &Entry, entry: &Entry) -> bool {
    observer.ret.is_some_and(|ret| ret < entry.call)
}

/// The value or absence that an answer proves the key to have held.
fn seen(entry: &Entry) -> Option<Option<&[u8]>> {
    entry.ret?;
    match &entry.operation {
        Operation::Read { found } => Some(found.as_deref()),
        Operation::Delete { existed: Some(false) } => Some(None),
        Operation::CompareAndSet { expected, succeeded: Some(true), .. } => Some(expected.as_deref()),
        _ => None,
    }
}

/// The value or absence that an operation leaves, if it takes effect.
fn written(entry: &Entry) -> Option<Option<&[u8]>> {
    match &entry.operation {
        Operation::Write { value } => Some(Some(value)),
        Operation::Delete { .. } => Some(None),
        Operation::CompareAndSet { succeeded: Some(false), .. } if entry.ret.is_some() => None,
        Operation::CompareAndSet { value, .. } => Some(Some(value)),
        _ => None,
    }
}

/// The same, of an operation that certainly took effect.
fn certainly_written(entry: &Entry) -> Option<Option<&[u8]>> {
    entry.ret?;
    match &entry.operation {
        Operation::CompareAndSet { succeeded: Some(true), value, .. } => Some(Some(value)),
        Operation::CompareAndSet { .. } => None,
        _ => written(entry),
    }
}

/// What an operation saw, as the beginning of a sentence.
struct Saw<'a>(&'a Entry, Option<&'a [u8]>);

impl fmt::Display for Saw<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Saw(entry, value) = self;
        let verb = match entry.operation {
            Operation::CompareAndSet { .. } => "compared successfully with",
            _ if value.is_none() => "found",
            _ => "read",
        };
        write!(formatter, "client {} {verb} {} ({})", entry.client, Value(*value), Interval(entry))
    }
}
