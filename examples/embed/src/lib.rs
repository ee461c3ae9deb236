//! A state machine of one's own: tallies, counted in by anybody. See `docs/embedding.md`.

// [state machine]
use bytes::Bytes;
use quorate_machine::{ApplyContext, RestoreError, StateMachine};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A command.
#[derive(Debug, Serialize, Deserialize)]
pub struct Count {
    /// What is counted.
    pub what: String,
    /// How many more.
    pub by: i64,
}

/// How many there are of everything.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Tallies {
    of: BTreeMap<String, i64>,
    digest: u64,
}

impl StateMachine for Tallies {
    type Query = String;
    type Reply = Result<i64, String>;
    type Duty = ();

    fn empty() -> Tallies {
        Tallies::default()
    }

    fn apply(&mut self, _: &ApplyContext, payload: &Bytes) -> Self::Reply {
        let Count { what, by } = serde_json::from_slice(payload).map_err(|why| why.to_string())?;
        let tally = self.of.entry(what.clone()).or_default();
        *tally = tally.checked_add(by).ok_or("too many to count")?;
        let change = what.bytes().chain(tally.to_le_bytes());
        self.digest = change.fold(self.digest, |digest, byte| digest.rotate_left(5) ^ u64::from(byte));
        Ok(*tally)
    }

    fn query(&self, what: &String) -> Self::Reply {
        Ok(self.of.get(what).copied().unwrap_or(0))
    }

    fn digest(&self) -> u64 {
        self.digest
    }

    fn head(&self) -> Bytes {
        serde_json::to_vec(self).expect("a map with text keys is JSON").into()
    }

    fn item_count(&self) -> u64 {
        0
    }

    fn item(&self, _: u64) -> Option<Bytes> {
        None
    }

    fn restore(head: Bytes, _: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Tallies, RestoreError> {
        serde_json::from_slice(&head).map_err(|why| RestoreError { why: why.to_string() })
    }
}
// [end]
