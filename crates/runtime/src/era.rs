//! Eras as an operator reads them.

use quorate_protocol::era_words;

/// An era in words. A configuration that is decided to end is in its last possible era, which is no ballot or view of anybody's:
/// `2, closing` and not `2.4294967295`.
#[must_use]
pub fn era_for_people(era: u64) -> String {
    match (era >> 32, era & u64::from(u32::MAX)) {
        (0, _) => era_words(era),
        (configuration, last) if last == u64::from(u32::MAX) => format!("{configuration}, closing"),
        _ => era_words(era),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_configuration_is_told_in_words_and_every_other_era_as_everywhere() {
        let of = |configuration: u64, inner: u32| era_for_people((configuration << 32) | u64::from(inner));
        assert_eq!((of(2, 7), of(2, u32::MAX)), ("2.7".to_owned(), "2, closing".to_owned()));
        assert_eq!((era_for_people(7), of(0, u32::MAX)), ("7".to_owned(), u32::MAX.to_string()));
    }
}
