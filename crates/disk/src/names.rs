//! Files that are called by a number.

const DIGITS: usize = 16;

/// `prefix`, the number in sixteen hexadecimal digits, `ending`: so that names sort as their numbers do.
#[must_use]
pub fn numbered_file(prefix: &str, number: u64, ending: &str) -> String {
    // By hand: a journal names its file for every write, and formatting costs more than the rest of that.
    let mut name = String::with_capacity(prefix.len() + DIGITS + ending.len());
    name.push_str(prefix);
    for digit in (0..DIGITS as u32).rev() {
        let value = (number >> (4 * digit)) & 0xf;
        name.push(char::from_digit(value as u32, 16).expect("four bits are one hexadecimal digit"));
    }
    name.push_str(ending);
    name
}

/// The number of a file that [`numbered_file`] names like this; `None` for every other spelling, so that no two files have
/// the same number.
#[must_use]
pub fn number_of_file(file: &str, prefix: &str, ending: &str) -> Option<u64> {
    let digits = file.strip_prefix(prefix)?.strip_suffix(ending)?;
    let is_ours = digits.len() == DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_only_as_it_is_written() {
        for number in [0, 1, 0x2a, 0x0123_4567_89ab_cdef, u64::MAX] {
            let name = numbered_file("journal-", number, ".seg");
            assert_eq!(name, format!("journal-{number:016x}.seg"));
            assert_eq!(number_of_file(&name, "journal-", ".seg"), Some(number));
        }
        for other in [
            "journal-2a.seg",
            "journal-000000000000002A.seg",
            "journal-+00000000000002a.seg",
            "journal-00000000000000021.seg",
            "journal-0000000000000002",
            "",
        ] {
            assert_eq!(number_of_file(other, "journal-", ".seg"), None, "{other}");
        }
    }
}
