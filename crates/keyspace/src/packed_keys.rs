//! Keys in ascending order, packed.

/// Keys in ascending order, without the prefix they share, one behind the other.
#[derive(Clone, Default)]
pub(crate) struct PackedKeys {
    prefix: Box<[u8]>,
    suffixes: Vec<u8>,
    /// Where each suffix ends.
    ends: Vec<u32>,
}

impl PackedKeys {
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

    /// The place of the greatest key that is not greater than this one.
    pub(crate) fn last_up_to(&self, key: &[u8]) -> Option<usize> {
        match self.search(key) {
            Ok(index) => Some(index),
            Err(index) => index.checked_sub(1),
        }
    }

    /// Adds a key at the place that searching it gave.
    pub(crate) fn insert(&mut self, index: usize, key: &[u8]) {
        if self.len() == 0 {
            self.prefix = key.into();
        }
        if !key.starts_with(&self.prefix) {
            self.shorten_prefix(shared_bytes(&self.prefix, key));
        }
        let suffix = &key[self.prefix.len()..];
        let start = self.start(index);
        // Little is kept in reserve: most of them rest.
        if self.suffixes.capacity() - self.suffixes.len() < suffix.len() {
            self.suffixes.reserve_exact(suffix.len().max(self.suffixes.len() / 4));
        }
        self.suffixes.extend_from_slice(suffix);
        self.suffixes[start..].rotate_right(suffix.len());
        reserve_some(&mut self.ends);
        self.ends.insert(index, end_of(start));
        self.ends[index..].iter_mut().for_each(|end| *end = end_of(*end as usize + suffix.len()));
    }

    pub(crate) fn remove(&mut self, index: usize) {
        let place = self.start(index)..self.ends[index] as usize;
        let length = place.len();
        self.suffixes.drain(place);
        self.ends.remove(index);
        self.ends[index..].iter_mut().for_each(|end| *end = end_of(*end as usize - length));
    }

    /// Takes out the keys from `index` on.
    pub(crate) fn split_off(&mut self, index: usize) -> PackedKeys {
        let upper: Vec<Box<[u8]>> = (index..self.len()).map(|index| self.key(index)).collect();
        let lower: Vec<Box<[u8]>> = (0..index).map(|index| self.key(index)).collect();
        *self = PackedKeys::of(&lower);
        PackedKeys::of(&upper)
    }

    /// Takes in keys that are all greater.
    pub(crate) fn append(&mut self, next: &PackedKeys) {
        let both = [&*self, next].into_iter().flat_map(|keys| (0..keys.len()).map(|index| keys.key(index)));
        let both: Vec<Box<[u8]>> = both.collect();
        *self = PackedKeys::of(&both);
    }

    /// Keys in ascending order, with nothing in reserve.
    fn of(keys: &[Box<[u8]>]) -> PackedKeys {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return PackedKeys::default() };
        let shared = shared_bytes(first, last);
        let mut suffixes = Vec::with_capacity(keys.iter().map(|key| key.len() - shared).sum());
        let mut ends = Vec::with_capacity(keys.len());
        for key in keys {
            suffixes.extend_from_slice(&key[shared..]);
            ends.push(end_of(suffixes.len()));
        }
        PackedKeys { prefix: first[..shared].into(), suffixes, ends }
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
    u32::try_from(position).expect("a request, and so a key, is far below the 16 MiB that each of 256 may have")
}

/// Makes room for one more, and for few beside it.
pub(crate) fn reserve_some<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(2 + list.len() / 4);
    }
}
