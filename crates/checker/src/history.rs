//! What clients did to keys, and what they saw.

use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// One operation on one key, with what it answered. If the entry has no return, the answer in it (`found`,
/// `existed`, `succeeded`) is ignored, because nobody saw it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Asked for the value.
    Read {
        /// The value seen; `None` if the key did not exist.
        found: Option<Vec<u8>>,
    },
    /// Set the value, whatever was there.
    Write {
        /// The new value.
        value: Vec<u8>,
    },
    /// Removed the key.
    Delete {
        /// Whether there was something to remove; `None` if the answer did not say.
        existed: Option<bool>,
    },
    /// Set the value if the key holds `expected`, else changed nothing.
    CompareAndSet {
        /// What the key had to hold; `None`: it had to be absent.
        expected: Option<Vec<u8>>,
        /// The new value.
        value: Vec<u8>,
        /// Whether it was set; `None` if the answer did not say.
        succeeded: Option<bool>,
    },
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Who asked. Only explanations use it: what one client does need not be sequential.
    pub client: u64,
    /// On which key.
    pub key: Vec<u8>,
    /// When it was called, in any unit of the recorder's one clock.
    pub call: u64,
    /// When the answer arrived; `None` if it never did, so that the operation may have taken effect at any
    /// time after the call, or never. A client whose operation ended so goes on under a new number.
    pub ret: Option<u64>,
    /// What was asked and answered.
    pub operation: Operation,
}

/// A recording that cannot be one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HistoryError {
    /// An answer before its question: the recorder mixed clocks.
    #[error("entry {index} of client {client} returned at {ret}, before its call at {call}")]
    ReturnBeforeCall {
        /// Its place in the list given.
        index: usize,
        /// Who asked.
        client: u64,
        /// When it was called.
        call: u64,
        /// When it is said to have returned.
        ret: u64,
    },
}

/// A recorded history, sorted by key and, within a key, by call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    keys: BTreeMap<Vec<u8>, Vec<Entry>>,
}

impl History {
    /// A history of these entries, given in any order.
    ///
    /// # Errors
    /// If an entry returned before it was called.
    pub fn new(entries: Vec<Entry>) -> Result<History, HistoryError> {
        let mut keys: BTreeMap<Vec<u8>, Vec<Entry>> = BTreeMap::new();
        for (index, entry) in entries.into_iter().enumerate() {
            if let Some(ret) = entry.ret.filter(|ret| *ret < entry.call) {
                return Err(HistoryError::ReturnBeforeCall { index, client: entry.client, call: entry.call, ret });
            }
            match keys.get_mut(&entry.key) {
                Some(of_key) => of_key.push(entry),
                None => {
                    keys.insert(entry.key.clone(), vec![entry]);
                }
            }
        }
        for of_key in keys.values_mut() {
            of_key.sort_by_key(|entry| entry.call);
        }
        Ok(History { keys })
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }

    /// Whether nothing was recorded. Such a history is linearizable, and says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Each key with its entries, ascending by key and then by call.
    pub fn by_key(&self) -> impl Iterator<Item = (&[u8], &[Entry])> {
        self.keys.iter().map(|(key, entries)| (key.as_slice(), entries.as_slice()))
    }
}

/// As a line for people: `client 3: 20..25 read "1"`.
impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "client {}: {} {}", self.client, Interval(self), Deed(self))
    }
}

/// When an entry happened: `20..25`, or `20..?` without an answer.
pub(crate) struct Interval<'a>(pub(crate) &'a Entry);

impl fmt::Display for Interval<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.ret {
            Some(ret) => write!(formatter, "{}..{ret}", self.0.call),
            None => write!(formatter, "{}..?", self.0.call),
        }
    }
}

/// What an entry did.
struct Deed<'a>(&'a Entry);

impl fmt::Display for Deed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered = self.0.ret.is_some();
        match &self.0.operation {
            Operation::Read { found } if answered => write!(formatter, "read {}", Value(found.as_deref())),
            Operation::Read { .. } => write!(formatter, "read, no answer"),
            Operation::Write { value } => write!(formatter, "wrote {}{}", Value(Some(value)), unanswered(answered)),
            Operation::Delete { existed } => {
                let answer = match existed.filter(|_| answered) {
                    Some(true) => ", it existed",
                    Some(false) => ", nothing was there",
                    None => unanswered(answered),
                };
                write!(formatter, "deleted{answer}")
            }
            Operation::CompareAndSet { expected, value, succeeded } => {
                let answer = match succeeded.filter(|_| answered) {
                    Some(true) => ", succeeded",
                    Some(false) => ", failed",
                    None => unanswered(answered),
                };
                let (expected, value) = (Value(expected.as_deref()), Value(Some(value)));
                write!(formatter, "compared with {expected} to set {value}{answer}")
            }
        }
    }
}

fn unanswered(answered: bool) -> &'static str {
    if answered { "" } else { ", no answer" }
}

/// A value or its absence, quoted, escaped and cut to a readable length.
pub(crate) struct Value<'a>(pub(crate) Option<&'a [u8]>);

const VALUE_BYTES_SHOWN: usize = 32;

impl fmt::Display for Value<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => write!(formatter, "nothing"),
            Some(bytes) if bytes.len() <= VALUE_BYTES_SHOWN => write!(formatter, "\"{}\"", bytes.escape_ascii()),
            Some(bytes) => {
                let shown = bytes[..VALUE_BYTES_SHOWN].escape_ascii();
                write!(formatter, "\"{shown}\"... ({} bytes)", bytes.len())
            }
        }
    }
}
