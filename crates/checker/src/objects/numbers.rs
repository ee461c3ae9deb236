//! Numbers for values, which are cheaper to compare and to remember.

use std::collections::BTreeMap;

/// Values by number, in the order in which they were first met.
pub(crate) struct Numbers<'a> {
    numbers: BTreeMap<&'a [u8], u32>,
    first: u32,
}

impl<'a> Numbers<'a> {
    pub(crate) fn from(first: u32) -> Numbers<'a> {
        Numbers { numbers: BTreeMap::new(), first }
    }

    /// The number of `value`, a new one if it was not met before.
    pub(crate) fn number(&mut self, value: &'a [u8]) -> u32 {
        let next = u32::try_from(self.numbers.len()).expect("four billion values do not fit in memory") + self.first;
        *self.numbers.entry(value).or_insert(next)
    }

    /// The number of `value`, if it was met before.
    pub(crate) fn known(&self, value: &[u8]) -> Option<u32> {
        self.numbers.get(value).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }
}
