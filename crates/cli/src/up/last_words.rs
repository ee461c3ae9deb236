//! What a node said when it ended by itself.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// So much of the end of a log is looked at.
const LOOKED_AT_BYTES: u64 = 64 << 10;
/// And at most so many lines of it are told.
const LINES_MAX: usize = 10;

/// The error that ended the start that begins at this byte of the log; where it is no error of this program's, the last line.
pub fn last_words(log: &Path, begins: u64) -> String {
    let said = end_of(log, begins).unwrap_or_default();
    error_in(&String::from_utf8_lossy(&said)).unwrap_or_else(|| format!("nothing in {}", log.display()))
}

fn end_of(log: &Path, begins: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(begins.max(length.saturating_sub(LOOKED_AT_BYTES)).min(length)))?;
    let mut said = Vec::new();
    file.take(LOOKED_AT_BYTES).read_to_end(&mut said)?;
    Ok(said)
}

fn error_in(said: &str) -> Option<String> {
    let lines: Vec<&str> = said.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let is_error = |line: &&str| line.starts_with("error:") || line.starts_with("quorate:");
    let first = lines.iter().rposition(is_error).or(lines.len().checked_sub(1))?;
    let told = &lines[first..];
    let cut = told.len().saturating_sub(LINES_MAX);
    let mut words = told[..told.len() - cut].join("\n");
    if cut > 0 {
        words.push_str(&format!("\n({cut} more lines)"));
    }
    Some(words.trim_start().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_told_whole_and_not_only_how_it_ends() {
        let said = "2026 INFO node open\nerror: the argument '--name' cannot be used multiple times\n\nUsage: quorate serve\n\n\
                    For more information, try '--help'.\n";
        let told = "error: the argument '--name' cannot be used multiple times\nUsage: quorate serve\nFor more information, try '--help'.";
        assert_eq!(error_in(said).as_deref(), Some(told));
        assert_eq!(error_in("quorate: old\n2026 INFO x\nquorate: new\n").as_deref(), Some("quorate: new"));
        assert_eq!(error_in("2026 INFO x\n  Killed\n\n").as_deref(), Some("Killed"));
        assert_eq!(error_in("\n"), None);
    }

    #[test]
    fn it_is_bounded_and_of_this_start_alone() {
        let long = format!("quorate: it\n{}", "and so on\n".repeat(20));
        let told = error_in(&long).unwrap();
        assert!(told.starts_with("quorate: it\nand so on\n") && told.ends_with("\n(11 more lines)"), "{told}");
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), "quorate: of another start\nkilled\n").unwrap();
        assert_eq!(last_words(log.path(), 26), "killed");
        assert!(last_words(log.path(), 99).starts_with("nothing in "));
        std::fs::write(log.path(), format!("{}\nquorate: at the end\n", "x".repeat(1 << 20))).unwrap();
        assert_eq!(last_words(log.path(), 0), "quorate: at the end");
    }
}
