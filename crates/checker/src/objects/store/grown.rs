//! What a list can grow to, given what was read of it.

use std::collections::BTreeMap;

/// The states of one list, as numbers; an empty list is [`EMPTY`].
///
/// What was read is a prefix of what was read later. So the longest of the reads that certainly were (all others must be prefixes
/// of it) says which elements come when: up to it the state is how many elements there are, and an append that does not fit is
/// refused at once, as the longest read could not follow. Behind it only reads that perhaps were, in a branch that may not have been
/// taken, tell states apart: each beginning of one has a number of its own. Whatever else comes behind is *beyond*: nobody could
/// have seen it.
#[derive(Clone, Debug, Default)]
pub(super) struct Grown {
    /// The elements of the longest read that certainly was.
    longest: Vec<u32>,
    /// From which state which element leads where, behind the longest read.
    behind: BTreeMap<(u32, u32), u32>,
    /// For each element that was read, the states that it can lead to.
    led_to: BTreeMap<u32, Vec<u32>>,
}

/// The state in which there is no element, as there is no key.
pub(super) const EMPTY: u32 = 0;

impl Grown {
    /// The states of a list whose longest read that certainly was is `longest`.
    pub(super) fn of(longest: Vec<u32>) -> Grown {
        let mut led_to: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (before, element) in (EMPTY..).zip(&longest) {
            led_to.entry(*element).or_default().push(before + 1);
        }
        Grown { longest, behind: BTreeMap::new(), led_to }
    }

    /// Takes note of a read that perhaps was.
    pub(super) fn add(&mut self, read: &[u32]) {
        if !read.starts_with(&self.longest) {
            return;
        }
        let mut state = self.longest.len() as u32;
        for element in &read[self.longest.len()..] {
            let next = self.beyond();
            state = *self.behind.entry((state, *element)).or_insert(next);
            if state == next {
                self.led_to.entry(*element).or_default().push(next);
            }
        }
    }

    /// The state in which a list reads so; `None` if it never can.
    pub(super) fn state_of(&self, read: &[u32]) -> Option<u32> {
        let state = read.iter().try_fold(EMPTY, |state, element| self.append(state, *element))?;
        (state != self.beyond()).then_some(state)
    }

    /// Where an element leads; `None` if what was certainly read could not follow.
    pub(super) fn append(&self, state: u32, element: u32) -> Option<u32> {
        match self.longest.get(state as usize) {
            Some(expected) => (*expected == element).then_some(state + 1),
            None => Some(self.behind.get(&(state, element)).copied().unwrap_or(self.beyond())),
        }
    }

    /// All states but the one beyond that an element can lead to.
    pub(super) fn led_to(&self, element: u32) -> &[u32] {
        self.led_to.get(&element).map_or(&[], Vec::as_slice)
    }

    /// One state for all that nobody could have seen.
    fn beyond(&self) -> u32 {
        (self.longest.len() + self.behind.len()) as u32 + 1
    }
}
