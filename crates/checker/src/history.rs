//! What clients did to keys, and what they saw.

use crate::transaction::Transaction;
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// One operation, on the key of its entry, with what it answered. If the entry has no return, the answer in it (`found`,
/// `existed`, `succeeded`, `token`, `revision`) is ignored, because nobody saw it.
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
    /// Put a value at the end of a list.
    Append {
        /// The new last element.
        value: Vec<u8>,
    },
    /// Asked for a whole list.
    ReadList {
        /// All elements, in order.
        found: Vec<Vec<u8>>,
    },
    /// Changed a counter, which begins at zero.
    Add {
        /// By how much; may be negative.
        amount: i64,
    },
    /// Asked a counter.
    ReadCounter {
        /// What it said.
        found: i64,
    },
    /// Took a lock that was free. Taking one that the same client holds is not possible.
    Acquire {
        /// The fencing token: greater than that of every holder before; `None` if the lock has none.
        token: Option<u64>,
    },
    /// Gave back a lock that this client held.
    Release {
        /// Under this token, if the client said so.
        token: Option<u64>,
    },
    /// A lock was taken from its holder, as its lease ended.
    Expire {
        /// The holder's token, if the recorder knows it.
        token: Option<u64>,
    },
    /// Put an item into a queue.
    Enqueue {
        /// The item.
        value: Vec<u8>,
    },
    /// Took an item out of a queue.
    Dequeue {
        /// The item; `None` if the queue was empty.
        found: Option<Vec<u8>>,
    },
    /// Several steps on any keys, all at one instant. The entry's own key plays no part.
    Transact(Transaction),
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

    /// All entries, ascending by key and then by call.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.keys.values().flatten()
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
pub(crate) struct Deed<'a>(pub(crate) &'a Entry);

impl fmt::Display for Deed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered = self.0.ret.is_some();
        let lost = unanswered(answered);
        match &self.0.operation {
            Operation::Read { found } if answered => write!(formatter, "read {}", Value(found.as_deref())),
            Operation::ReadList { found } if answered => write!(formatter, "read {}", List(found)),
            Operation::ReadCounter { found } if answered => write!(formatter, "read {found}"),
            Operation::Read { .. } | Operation::ReadList { .. } | Operation::ReadCounter { .. } => {
                write!(formatter, "read, no answer")
            }
            Operation::Write { value } => write!(formatter, "wrote {}{lost}", Value(Some(value))),
            Operation::Delete { existed } => {
                let answer = match existed.filter(|_| answered) {
                    Some(true) => ", it existed",
                    Some(false) => ", nothing was there",
                    None => lost,
                };
                write!(formatter, "deleted{answer}")
            }
            Operation::CompareAndSet { expected, value, succeeded } => {
                let answer = succeeded.filter(|_| answered).map_or(lost, outcome);
                let (expected, value) = (Value(expected.as_deref()), Value(Some(value)));
                write!(formatter, "compared with {expected} to set {value}{answer}")
            }
            Operation::Append { value } => write!(formatter, "appended {}{lost}", Value(Some(value))),
            Operation::Add { amount } => write!(formatter, "added {amount}{lost}"),
            Operation::Acquire { token } => {
                write!(formatter, "acquired the lock{}{lost}", Token(token.filter(|_| answered)))
            }
            Operation::Release { token } => write!(formatter, "released the lock{}{lost}", Token(*token)),
            Operation::Expire { token } => write!(formatter, "saw the lock expire{}{lost}", Token(*token)),
            Operation::Enqueue { value } => write!(formatter, "enqueued {}{lost}", Value(Some(value))),
            Operation::Dequeue { found: Some(found) } if answered => {
                write!(formatter, "dequeued {}", Value(Some(found)))
            }
            Operation::Dequeue { .. } if answered => write!(formatter, "found the queue empty"),
            Operation::Dequeue { .. } => write!(formatter, "dequeued, no answer"),
            Operation::Transact(transaction) => transaction.describe(formatter, answered),
        }
    }
}

pub(crate) fn outcome(succeeded: bool) -> &'static str {
    if succeeded { ", succeeded" } else { ", failed" }
}

fn unanswered(answered: bool) -> &'static str {
    if answered { "" } else { ", no answer" }
}

/// A fencing token, if there is one.
struct Token(Option<u64>);

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |token| write!(formatter, " with token {token}"))
    }
}

/// A list's elements; of a long one the first and the last.
pub(crate) struct List<'a>(pub(crate) &'a [Vec<u8>]);

const ELEMENTS_SHOWN: usize = 8;

impl fmt::Display for List<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elements = self.0;
        let (first, last) = match elements.len() {
            0..=ELEMENTS_SHOWN => (elements, &[][..]),
            many => (&elements[..ELEMENTS_SHOWN / 2], &elements[many - ELEMENTS_SHOWN / 2..]),
        };
        let show = |elements: &[Vec<u8>]| -> Vec<String> {
            elements.iter().map(|element| Value(Some(element)).to_string()).collect()
        };
        let (first, last) = (show(first).join(" "), show(last).join(" "));
        match last.is_empty() {
            true => write!(formatter, "[{first}]"),
            false => write!(formatter, "[{first} ... {last}] ({} elements)", elements.len()),
        }
    }
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
