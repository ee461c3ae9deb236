//! Fingerprints of what can be hashed.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// 128 bits for a value: those of equal values are equal, and those of different ones differ but for chance (about one in
/// 10^38 for two values). The same in every run of one build.
#[must_use]
pub fn fingerprint(value: &(impl Hash + ?Sized)) -> u128 {
    let mut gathered = Gathered(Vec::with_capacity(512));
    value.hash(&mut gathered);
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(&gathered.0);
        hasher.finish()
    };
    u128::from(half(0)) << 64 | u128::from(half(1))
}

/// Everything a value says of itself, to be hashed twice.
struct Gathered(Vec<u8>);

impl Hasher for Gathered {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.0);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn equal_values_have_equal_fingerprints_and_others_others() {
        assert_eq!(fingerprint(&(1u8, "x")), fingerprint(&(1u8, String::from("x"))));
        assert_ne!(fingerprint(&(1u8, "x")), fingerprint(&(1u8, "y")));
        let print = fingerprint("x");
        assert_ne!((print >> 64) as u64, print as u64, "the halves are independent");
    }
}
