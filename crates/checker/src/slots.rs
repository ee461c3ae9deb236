//! Sets of operations that run at the same time.

/// A set of slots below `64 * WORDS`. A slot names one operation from its call to its return, and then another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Slots<WORDS> {
    pub(crate) const EMPTY: Slots<WORDS> = Slots([0; WORDS]);

    pub(crate) fn insert(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    pub(crate) fn remove(&mut self, slot: usize) {
        self.0[slot / 64] &= !(1 << (slot % 64));
    }

    pub(crate) fn has(&self, slot: usize) -> bool {
        self.0[slot / 64] >> (slot % 64) & 1 == 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// What is in both.
    pub(crate) fn and(&self, other: &Slots<WORDS>) -> Slots<WORDS> {
        Slots(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }

    /// What is in this one only.
    pub(crate) fn without(&self, other: &Slots<WORDS>) -> Slots<WORDS> {
        Slots(std::array::from_fn(|at| self.0[at] & !other.0[at]))
    }

    /// What is in either.
    pub(crate) fn or(&self, other: &Slots<WORDS>) -> Slots<WORDS> {
        Slots(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    pub(crate) fn is_within(&self, other: &Slots<WORDS>) -> bool {
        self.0.iter().zip(&other.0).all(|(own, other)| own & !other == 0)
    }

    /// Ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + use<WORDS> {
        let mut words = self.0;
        let mut at = 0;
        std::iter::from_fn(move || {
            while *words.get(at)? == 0 {
                at += 1;
            }
            let bit = words[at].trailing_zeros() as usize;
            words[at] &= words[at] - 1;
            Some(at * 64 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in_and_not_taken_out() {
        let mut set = Slots::<3>::EMPTY;
        [0, 63, 64, 130, 191].into_iter().for_each(|slot| set.insert(slot));
        set.remove(64);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 130, 191]);
        assert_eq!(set.len(), 4);
        assert!(set.has(130) && !set.has(64) && !set.is_empty());
        let mut other = Slots::<3>::EMPTY;
        other.insert(63);
        other.insert(64);
        assert_eq!(set.and(&other).iter().collect::<Vec<_>>(), [63]);
        assert_eq!(other.without(&set).iter().collect::<Vec<_>>(), [64]);
        assert_eq!(set.or(&other).len(), 5);
        assert!(set.and(&other).is_within(&set) && !other.is_within(&set));
    }
}
