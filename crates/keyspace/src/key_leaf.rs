//! Some neighbouring keys, packed.

use crate::key_history::KeyHistory;

/// Keys in ascending order, without the prefix they share, one behind the other.
#[derive(Clone, Default)]
pub(crate) struct KeyLeaf {
    prefix: Box<[u8]>,
    suffixes: Vec<u8>,
    /// Where each suffix ends.
    ends: Vec<u32>,
    histories: Vec<KeyHistory>,
}

impl KeyLeaf {
    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    fn suffix(&self, index: usize) -> &[u8] {
        &self.suffixes[self.start(index)..self.ends[index] as usize]
    }

    pub(crate) fn key(&self, index: usize) -> Box<[u8]> {
        [&self.prefix, self.suffix(index)].concat().into()
    }

    /// The key's place, or the place where it would be.
    pub(crate) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let Some(suffix) = key.strip_prefix(&*self.prefix) else {
            return Err(if key < &*self.prefix { 0 } else { self.len() });
        };
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.suffix(middle).cmp(suffix) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    pub(crate) fn history(&self, index: usize) -> &KeyHistory {
        &self.histories[index]
    }

    pub(crate) fn history_mut(&mut self, index: usize) -> &mut KeyHistory {
        &mut self.histories[index]
    }

    pub(crate) fn histories(&self) -> &[KeyHistory] {
        &self.histories
    }

    /// Adds a key at the place that searching it gave.
    pub(crate) fn insert(&mut self, index: usize, key: &[u8], history: KeyHistory) {
        if self.len() == 0 {
            self.prefix = key.into();
        }
        if !key.starts_with(&self.prefix) {
            self.shorten_prefix(shared_bytes(&self.prefix, key));
        }
        let suffix = &key[self.prefix.len()..];
        let start = self.start(index);
        // Little is kept in reserve: most leaves rest.
        self.suffixes.reserve_exact(suffix.len().max(self.suffixes.len() / 8));
        self.suffixes.extend_from_slice(suffix);
        self.suffixes[start..].rotate_right(suffix.len());
        reserve_some(&mut self.ends);
        reserve_some(&mut self.histories);
        self.ends.insert(index, end_of(start));
        self.ends[index..].iter_mut().for_each(|end| *end = end_of(*end as usize + suffix.len()));
        self.histories.insert(index, history);
    }

    pub(crate) fn remove(&mut self, index: usize) {
        let place = self.start(index)..self.ends[index] as usize;
        let length = place.len();
        self.suffixes.drain(place);
        self.ends.remove(index);
        self.ends[index..].iter_mut().for_each(|end| *end = end_of(*end as usize - length));
        self.histories.remove(index);
    }

    /// Moves the keys from `index` on into a leaf of their own.
    pub(crate) fn split_off(&mut self, index: usize) -> KeyLeaf {
        let upper: Vec<Box<[u8]>> = (index..self.len()).map(|index| self.key(index)).collect();
        let lower: Vec<Box<[u8]>> = (0..index).map(|index| self.key(index)).collect();
        let upper_histories = self.histories.split_off(index);
        let lower_histories = std::mem::take(&mut self.histories);
        *self = KeyLeaf::packed(&lower, lower_histories);
        KeyLeaf::packed(&upper, upper_histories)
    }

    /// Takes in the keys of the leaf behind this one.
    pub(crate) fn append(&mut self, mut next: KeyLeaf) {
        let both = [&*self, &next].into_iter().flat_map(|leaf| (0..leaf.len()).map(|index| leaf.key(index)));
        let keys: Vec<Box<[u8]>> = both.collect();
        let mut histories = std::mem::take(&mut self.histories);
        histories.append(&mut next.histories);
        *self = KeyLeaf::packed(&keys, histories);
    }

    /// Of keys in ascending order, with nothing in reserve.
    fn packed(keys: &[Box<[u8]>], mut histories: Vec<KeyHistory>) -> KeyLeaf {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return KeyLeaf::default() };
        let shared = shared_bytes(first, last);
        let mut suffixes = Vec::with_capacity(keys.iter().map(|key| key.len() - shared).sum());
        let mut ends = Vec::with_capacity(keys.len());
        for key in keys {
            suffixes.extend_from_slice(&key[shared..]);
            ends.push(end_of(suffixes.len()));
        }
        histories.shrink_to_fit();
        KeyLeaf { prefix: first[..shared].into(), suffixes, ends, histories }
    }

    fn shorten_prefix(&mut self, shared: usize) {
        let keys: Vec<Box<[u8]>> = (0..self.len()).map(|index| self.key(index)).collect();
        let prefix = self.prefix[..shared].into();
        self.suffixes = keys.iter().flat_map(|key| &key[shared..]).copied().collect();
        let mut end = 0;
        self.ends = keys
            .iter()
            .map(|key| {
                end += key.len() - shared;
                end_of(end)
            })
            .collect();
        self.prefix = prefix;
    }
}

fn shared_bytes(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

fn end_of(position: usize) -> u32 {
    u32::try_from(position).expect("a request, and so a key, is far below the 64 MiB that each of a leaf's may have")
}

fn reserve_some<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(1 + list.len() / 8);
    }
}
