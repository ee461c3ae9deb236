//! A state machine for a single decree.

use crate::swarm::{Judged, Meaning, Versioned};
use bytes::Bytes;
use quorate_machine::{ApplyContext, RestoreError, StateMachine};
use quorate_wire::encode_to_bytes;

/// The only key there is, in the words of scripts.
const KEY: &[u8] = b"decision";

/// A state machine that keeps the first value it is given, for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SingleValue {
    decided: Option<Bytes>,
}

impl SingleValue {
    /// The value, once there is one.
    #[must_use]
    pub fn decided(&self) -> Option<&Bytes> {
        self.decided.as_ref()
    }
}

impl StateMachine for SingleValue {
    type Query = ();
    type Reply = Option<Bytes>;
    type Duty = ();

    fn empty() -> SingleValue {
        SingleValue::default()
    }

    fn apply(&mut self, _: &ApplyContext, payload: &Bytes) -> Option<Bytes> {
        Some(self.decided.get_or_insert_with(|| payload.clone()).clone())
    }

    fn query(&self, (): &()) -> Option<Bytes> {
        self.decided.clone()
    }

    fn digest(&self) -> u64 {
        let bytes = self.decided.as_deref().unwrap_or_default();
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    }

    fn head(&self) -> Bytes {
        encode_to_bytes(&self.decided)
    }

    fn item_count(&self) -> u64 {
        0
    }

    fn item(&self, _: u64) -> Option<Bytes> {
        None
    }

    fn restore(head: Bytes, _: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<SingleValue, RestoreError> {
        let decided = quorate_wire::decode_exact(head).map_err(|error| RestoreError { why: error.to_string() })?;
        Ok(SingleValue { decided })
    }
}

/// As a store of one key, which is written once. There is nothing to delete.
impl Judged for SingleValue {
    fn put(_: &Bytes, value: &Bytes) -> Bytes {
        value.clone()
    }

    fn delete(_: &Bytes) -> Bytes {
        Bytes::new()
    }

    fn get(_: Option<&Bytes>) {}

    fn meaning(decided: &Option<Bytes>) -> Meaning {
        let entry = |value: &Bytes| Versioned { key: Bytes::from_static(KEY), value: value.clone(), written_at: 2 };
        Meaning::Found { revision: 1 + u64::from(decided.is_some()), entries: decided.iter().map(entry).collect() }
    }

    fn words(decided: &Option<Bytes>) -> String {
        match decided {
            Some(value) => format!("{} is decided", String::from_utf8_lossy(value)),
            None => "nothing is decided".to_owned(),
        }
    }

    fn revision(&self) -> u64 {
        1 + u64::from(self.decided.is_some())
    }

    fn contents_at(&self, revision: u64) -> Result<Vec<Versioned>, String> {
        match SingleValue::meaning(&self.decided) {
            Meaning::Found { entries, .. } if revision == self.revision() => Ok(entries),
            _ => Ok(Vec::new()),
        }
    }
}
