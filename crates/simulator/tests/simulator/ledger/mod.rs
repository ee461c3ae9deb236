//! A small state machine of one's own, run by the simulator like any other: keys with values, all changes kept.

use bytes::Bytes;
use quorate_machine::{ApplyContext, RestoreError, StateMachine};
use quorate_simulator::swarm::{Judged, Meaning, Versioned};
use quorate_wire::{Reader, Wire, decode_exact, encode_to_bytes};
use std::collections::BTreeMap;

/// Every change there was. Revision 1 is the empty state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    changes: Vec<(Bytes, Option<Bytes>)>,
}

impl Ledger {
    fn holds(&self, key: &Bytes) -> bool {
        self.changes.iter().rev().find(|(changed, _)| changed == key).is_some_and(|(_, value)| value.is_some())
    }
}

impl StateMachine for Ledger {
    type Query = Option<Bytes>;
    type Reply = Meaning;
    type Duty = ();

    fn empty() -> Ledger {
        Ledger::default()
    }

    fn apply(&mut self, _: &ApplyContext, payload: &Bytes) -> Meaning {
        let Ok((key, value)) = decode_exact::<(Bytes, Option<Bytes>)>(payload.clone()) else {
            return Meaning::Refused("no command".to_owned());
        };
        let existed = self.holds(&key);
        let is_put = value.is_some();
        if is_put || existed {
            self.changes.push((key, value));
        }
        let revision = self.revision();
        if is_put { Meaning::Put { revision } } else { Meaning::Delete { revision, existed } }
    }

    fn query(&self, key: &Option<Bytes>) -> Meaning {
        let mut entries = self.contents_at(self.revision()).expect("the present can be read");
        entries.retain(|entry| key.as_ref().is_none_or(|key| *key == entry.key));
        Meaning::Found { revision: self.revision(), entries }
    }

    fn digest(&self) -> u64 {
        let mut bytes = Vec::new();
        self.changes.encode(&mut bytes);
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    }

    fn head(&self) -> Bytes {
        encode_to_bytes(&(self.changes.len() as u64))
    }

    fn item_count(&self) -> u64 {
        self.changes.len() as u64
    }

    fn item(&self, number: u64) -> Option<Bytes> {
        self.changes.get(usize::try_from(number).ok()?).map(encode_to_bytes)
    }

    fn restore(head: Bytes, items: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Ledger, RestoreError> {
        let fails = |why: &str| RestoreError { why: why.to_owned() };
        let count = Reader::new(head).u64("count").map_err(|_| fails("no head"))?;
        let changes =
            items.map(|(_, item)| decode_exact(item)).collect::<Result<Vec<_>, _>>().map_err(|_| fails("no item"))?;
        if changes.len() as u64 == count { Ok(Ledger { changes }) } else { Err(fails("another count")) }
    }
}

impl Judged for Ledger {
    fn put(key: &Bytes, value: &Bytes) -> Bytes {
        encode_to_bytes(&(key.clone(), Some(value.clone())))
    }

    fn delete(key: &Bytes) -> Bytes {
        encode_to_bytes(&(key.clone(), None::<Bytes>))
    }

    fn get(key: Option<&Bytes>) -> Option<Bytes> {
        key.cloned()
    }

    fn meaning(reply: &Meaning) -> Meaning {
        reply.clone()
    }

    fn revision(&self) -> u64 {
        self.changes.len() as u64 + 1
    }

    fn contents_at(&self, revision: u64) -> Result<Vec<Versioned>, String> {
        let count = usize::try_from(revision - 1).map_err(|why| why.to_string())?;
        let mut contents = BTreeMap::new();
        for (written_at, (key, value)) in (2..).zip(self.changes.get(..count).ok_or("a future revision")?) {
            match value {
                Some(value) => {
                    contents.insert(key.clone(), Versioned { key: key.clone(), value: value.clone(), written_at })
                }
                None => contents.remove(key),
            };
        }
        Ok(contents.into_values().collect())
    }
}
