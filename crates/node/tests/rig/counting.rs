//! A state machine that keeps everything it was told; the reply is how much that is.

use bytes::Bytes;
use quorate_machine::{ApplyContext, RestoreError, StateMachine};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counting {
    pub items: Vec<Bytes>,
}

impl StateMachine for Counting {
    type Query = ();
    type Reply = u64;
    type Duty = ();

    fn empty() -> Counting {
        Counting { items: Vec::new() }
    }
    fn apply(&mut self, _: &ApplyContext, payload: &Bytes) -> u64 {
        self.items.push(payload.clone());
        self.items.len() as u64
    }
    fn query(&self, (): &()) -> u64 {
        self.items.len() as u64
    }
    fn digest(&self) -> u64 {
        let bytes = self.items.iter().flat_map(|item| item.iter().copied().chain([0xff]));
        bytes.fold(0, |digest: u64, byte| digest.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte) + 1))
    }
    fn head(&self) -> Bytes {
        Bytes::from_static(b"counting")
    }
    fn item_count(&self) -> u64 {
        self.items.len() as u64
    }
    fn item(&self, number: u64) -> Option<Bytes> {
        self.items.get(number as usize).cloned()
    }
    fn restore(head: Bytes, items: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Counting, RestoreError> {
        if head.as_ref() != b"counting" {
            return Err(RestoreError { why: "not a count".to_owned() });
        }
        Ok(Counting { items: items.map(|(_, item)| item).collect() })
    }
}
