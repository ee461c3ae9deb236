//! Who wrote what each operation saw.

use crate::history::{Entry, History, Operation, Value};
use crate::objects::Object;
use std::collections::BTreeMap;

/// One operation that certainly took effect.
pub(super) struct Access<'a> {
    pub(super) entry: &'a Entry,
    pub(super) key: usize,
    /// Which version it saw, if it saw one.
    pub(super) saw: Option<Version>,
    pub(super) writes: bool,
}

/// A version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// Before every write.
    Initial,
    /// By this access.
    By(usize),
}

/// All operations that certainly took effect.
pub(super) struct Accesses<'a> {
    /// Each client's are in its order, one after another.
    pub(super) all: Vec<Access<'a>>,
    pub(super) keys: usize,
    /// Where a key's versions are known, in order.
    pub(super) known_order: Vec<Vec<usize>>,
}

/// Why it cannot be said who wrote what.
pub(super) enum Obstacle {
    /// No order at all explains an answer.
    Contradiction(String),
    /// It is not known which write an answer shows.
    Ambiguous(String),
}

impl<'a> Accesses<'a> {
    pub(super) fn of(history: &'a History, object: Object) -> Result<Accesses<'a>, Obstacle> {
        if !matches!(object, Object::Register | Object::List) {
            return Err(Obstacle::Ambiguous(format!("this level is not told for {object}")));
        }
        let mut accesses = Accesses { all: Vec::new(), keys: 0, known_order: Vec::new() };
        for (_, entries) in history.by_key() {
            match object {
                Object::List => accesses.add_list(entries)?,
                _ => accesses.add_register(entries)?,
            }
            accesses.keys += 1;
        }
        Ok(accesses)
    }

    fn add_register(&mut self, entries: &'a [Entry]) -> Result<(), Obstacle> {
        let seen = |entry: &'a Entry| -> Option<Option<&'a [u8]>> {
            entry.ret?;
            match &entry.operation {
                Operation::Read { found } => Some(found.as_deref()),
                Operation::Delete { existed: Some(false) } => Some(None),
                Operation::CompareAndSet { expected, succeeded: Some(true), .. } => Some(expected.as_deref()),
                _ => None,
            }
        };
        let observed: Vec<&[u8]> = {
            let mut values: Vec<&[u8]> = entries.iter().filter_map(seen).flatten().collect();
            values.sort_unstable();
            values
        };
        let mut writers: BTreeMap<&[u8], usize> = BTreeMap::new();
        let first = self.all.len();
        for entry in entries {
            let (value, is_certain) = match &entry.operation {
                Operation::Write { value } => (Some(value), entry.ret.is_some()),
                Operation::CompareAndSet { value, succeeded, .. } => match succeeded.filter(|_| entry.ret.is_some()) {
                    Some(false) => continue,
                    succeeded => (Some(value), succeeded == Some(true)),
                },
                Operation::Delete { existed } if *existed != Some(false) || entry.ret.is_none() => {
                    return Err(Obstacle::Ambiguous("keys are deleted, so absence has several versions".to_owned()));
                }
                _ => (None, entry.ret.is_some()),
            };
            let was_seen = value.is_some_and(|value| observed.binary_search(&value.as_slice()).is_ok());
            if !is_certain && !was_seen {
                continue;
            }
            if let Some(value) = value
                && writers.insert(value, self.all.len()).is_some()
            {
                let value = Value(Some(value));
                return Err(Obstacle::Ambiguous(format!(
                    "{value} is written more than once, so versions cannot be told apart"
                )));
            }
            self.all.push(Access { entry, key: self.keys, saw: None, writes: value.is_some() });
        }
        for access in &mut self.all[first..] {
            access.saw = match seen(access.entry) {
                None => None,
                Some(None) => Some(Version::Initial),
                Some(Some(value)) => match writers.get(value) {
                    Some(writer) => Some(Version::By(*writer)),
                    None => return Err(nowhere(access.entry)),
                },
            };
        }
        self.known_order.push(Vec::new());
        Ok(())
    }

    fn add_list(&mut self, entries: &'a [Entry]) -> Result<(), Obstacle> {
        let read = |entry: &'a Entry| match &entry.operation {
            Operation::ReadList { found } if entry.ret.is_some() => Some(found.as_slice()),
            _ => None,
        };
        let longest = entries.iter().filter_map(read).max_by_key(|found| found.len()).unwrap_or_default();
        let mut appends: BTreeMap<&[u8], usize> = BTreeMap::new();
        let first = self.all.len();
        for entry in entries {
            if let Operation::Append { value } = &entry.operation {
                if entry.ret.is_none() && !longest.contains(value) {
                    continue;
                }
                if appends.insert(value, self.all.len()).is_some() {
                    let value = Value(Some(value));
                    return Err(Obstacle::Ambiguous(format!("{value} is appended more than once")));
                }
            } else if entry.ret.is_none() {
                continue;
            }
            let writes = read(entry).is_none();
            self.all.push(Access { entry, key: self.keys, saw: None, writes });
        }
        let mut order = Vec::with_capacity(longest.len());
        for element in longest {
            let reader = entries.iter().find(|entry| read(entry) == Some(longest)).unwrap_or(&entries[0]);
            order.push(*appends.get(element.as_slice()).ok_or_else(|| nowhere(reader))?);
        }
        for access in &mut self.all[first..] {
            let Some(found) = read(access.entry) else { continue };
            if !longest.starts_with(found) {
                let why =
                    format!("{} contradicts what others read: neither is the beginning of the other", access.entry);
                return Err(Obstacle::Contradiction(why));
            }
            access.saw = Some(found.len().checked_sub(1).map_or(Version::Initial, |last| Version::By(order[last])));
        }
        self.known_order.push(order);
        Ok(())
    }

    /// The accesses of each client, in its order.
    pub(super) fn by_client(&self) -> BTreeMap<u64, Vec<usize>> {
        let mut clients: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (at, access) in self.all.iter().enumerate() {
            // One without an answer may have taken effect after the client went on.
            if access.entry.ret.is_some() {
                clients.entry(access.entry.client).or_default().push(at);
            }
        }
        for accesses in clients.values_mut() {
            accesses.sort_by_key(|at| (self.all[*at].entry.call, self.all[*at].entry.ret));
        }
        clients
    }
}

fn nowhere(entry: &Entry) -> Obstacle {
    Obstacle::Contradiction(format!("{entry}, which nobody wrote"))
}
