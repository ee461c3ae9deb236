//! The mark on a data directory that another member has proved to be put back from a copy: it is not started again.

use crate::durable_file;
use std::io;
use std::path::Path;

/// In the data directory.
pub(crate) const FILE: &str = "put-back";

/// Marks the directory, durably. Without the mark the next start is refused by whoever refused this one, as long as that one is there.
pub(crate) fn mark(data_directory: &Path, why: &str) {
    let lines = why.lines().map(|line| format!("{line}\n")).collect::<String>();
    if let Err(error) = durable_file::replace(&data_directory.join(FILE), &lines) {
        tracing::warn!(%error, "cannot mark the data directory as put back from a copy");
    }
}

/// Why the directory was marked, if it was.
pub(crate) fn reason(data_directory: &Path) -> io::Result<Option<String>> {
    Ok(durable_file::read(&data_directory.join(FILE))?.map(|why| why.trim().to_owned()))
}
