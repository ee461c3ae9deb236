//! What the journal's files are called.

use quorate_disk::{number_of_file, numbered_file};

const PREFIX: &str = "journal-";
const FINISHED: &str = ".seg";
const UNFINISHED: &str = ".new";

/// A segment that is complete up to its first flush.
pub(crate) fn segment_file(number: u64) -> String {
    numbered_file(PREFIX, number, FINISHED)
}

/// A segment that is still being made; found at open, it is left over from a crash and worth nothing.
pub(crate) fn unfinished_file(number: u64) -> String {
    numbered_file(PREFIX, number, UNFINISHED)
}

/// The number of a segment file, or `None` for any other name.
pub(crate) fn segment_number(file: &str) -> Option<u64> {
    number_of_file(file, PREFIX, FINISHED)
}

pub(crate) fn is_unfinished(file: &str) -> bool {
    number_of_file(file, PREFIX, UNFINISHED).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_segment_only_in_the_one_form_we_write() {
        assert_eq!(segment_number(&segment_file(0x2a)), Some(0x2a));
        assert!(is_unfinished(&unfinished_file(u64::MAX)));
        for other in ["journal-2a.seg", "journal-000000000000002A.seg", "journal-+00000000000002a.seg", "store-1"] {
            assert_eq!(segment_number(other), None, "{other}");
        }
        assert!(!is_unfinished(&segment_file(1)));
    }
}
