//! Small files that are there whole or as before, and stay, and say so with a checksum.

use std::io;
use std::path::Path;

/// The last line of every such file, before the checksum of what is above it, in hex.
const CHECKSUM: &str = "crc32c ";

/// What the file holds; nothing where there is none.
///
/// # Errors
/// When it cannot be read, or is not as it was written: emptied, cut short or changed.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    let whole = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let body = whole.strip_suffix('\n').and_then(|lines| {
        let body_end = lines.rfind('\n').map_or(0, |newline| newline + 1);
        let checksum = u32::from_str_radix(lines[body_end..].strip_prefix(CHECKSUM)?, 16).ok()?;
        (crc32c::crc32c(&lines.as_bytes()[..body_end]) == checksum).then_some(body_end)
    });
    match body {
        Some(body_end) => Ok(Some(whole[..body_end].to_owned())),
        None => Err(damaged(path, "its checksum is missing or wrong: it was emptied, cut short or changed")),
    }
}

/// Replaces what the file holds with these lines. It is durable when this returns; after a crash before that, the file is as it was or
/// as it is to be.
pub(crate) fn replace(path: &Path, lines: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    std::fs::write(&draft, format!("{lines}{CHECKSUM}{:08x}\n", crc32c::crc32c(lines.as_bytes())))?;
    std::fs::File::open(&draft)?.sync_all()?;
    std::fs::rename(&draft, path)?;
    match path.parent() {
        Some(directory) => std::fs::File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// The error of a file whose contents cannot be as they were written.
pub(crate) fn damaged(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_as_it_was_written_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("note");
        assert_eq!(read(&path).unwrap(), None);
        for lines in ["", "one\n", "one\ntwo\n"] {
            replace(&path, lines).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(lines));
        }
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("emptied, cut short or changed"), "{cut}");
        }
        for changed in 0..whole.len() {
            let mut other = whole.clone();
            other[changed] ^= 1;
            std::fs::write(&path, &other).unwrap();
            assert!(read(&path).is_err(), "byte {changed} is another");
        }
    }
}
