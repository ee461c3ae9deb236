//! A state machine that counts what it was told and keeps it; the reply is how much that is. The word `drop` condemns two out
//! of three of what came before.

use bytes::Bytes;
use quorate_machine::{ApplyContext, RestoreError, StateMachine};
use quorate_types::NodeId;
use quorate_wire::{Reader, WireError, put_u64};
use std::collections::BTreeMap;

/// Items dropped by one slice of tidying.
const TIDY_ITEMS: usize = 3;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counting {
    count: u64,
    digest: u64,
    condemned_below: u64,
    items: BTreeMap<u64, Bytes>,
}

impl Counting {
    pub fn is_condemned(&self, number: u64) -> bool {
        number < self.condemned_below && !number.is_multiple_of(3)
    }

    /// What is not condemned, by the place in the order that its reply told.
    pub fn kept(&self) -> Vec<(u64, String)> {
        let kept = self.items.iter().filter(|(number, _)| !self.is_condemned(**number));
        kept.map(|(number, item)| (number + 1, String::from_utf8_lossy(item).into_owned())).collect()
    }

    /// Condemned, and still there.
    pub fn undropped(&self) -> usize {
        self.items.keys().filter(|number| self.is_condemned(**number)).count()
    }

    fn read_head(head: Bytes) -> Result<Counting, WireError> {
        let mut head = Reader::new(head);
        Ok(Counting {
            count: head.u64("count")?,
            digest: head.u64("digest")?,
            condemned_below: head.u64("mark")?,
            items: BTreeMap::new(),
        })
    }
}

impl StateMachine for Counting {
    type Query = ();
    type Reply = u64;
    type Duty = ();

    fn empty() -> Counting {
        Counting::default()
    }
    fn apply(&mut self, _: &ApplyContext, payload: &Bytes) -> u64 {
        if payload.as_ref() == b"drop" {
            self.condemned_below = self.count;
        }
        for byte in payload.iter().copied().chain([0xff]) {
            self.digest = self.digest.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte) + 1);
        }
        self.items.insert(self.count, payload.clone());
        self.count += 1;
        self.count
    }
    fn query(&self, (): &()) -> u64 {
        self.count
    }
    fn digest(&self) -> u64 {
        self.digest
    }
    fn head(&self) -> Bytes {
        let mut head = Vec::new();
        for number in [self.count, self.digest, self.condemned_below] {
            put_u64(number, &mut head);
        }
        Bytes::from(head)
    }
    fn item_count(&self) -> u64 {
        self.count
    }
    fn item(&self, number: u64) -> Option<Bytes> {
        self.items.get(&number).cloned()
    }
    fn restore(head: Bytes, items: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Counting, RestoreError> {
        let mut state = Counting::read_head(head).map_err(|why| RestoreError { why: why.to_string() })?;
        state.items = items.collect();
        let missing = (0..state.count).find(|number| !state.is_condemned(*number) && !state.items.contains_key(number));
        match missing {
            Some(number) => Err(RestoreError { why: format!("item {number} is missing and was not condemned") }),
            None => Ok(state),
        }
    }
    fn tidy(&mut self) -> bool {
        let condemned: Vec<u64> = self.items.keys().copied().filter(|number| self.is_condemned(*number)).collect();
        for number in condemned.iter().take(TIDY_ITEMS) {
            self.items.remove(number);
        }
        condemned.len() > TIDY_ITEMS
    }
    /// Said once by each node; `room` takes it back for all.
    fn low_space_command(&self, node: NodeId) -> Option<Bytes> {
        let word = format!("low {}", node.0);
        let last = self.items.values().rev().find(|item| item.as_ref() == word.as_bytes() || item.as_ref() == b"room");
        last.is_none_or(|last| last.as_ref() == b"room").then(|| Bytes::from(word))
    }
}
