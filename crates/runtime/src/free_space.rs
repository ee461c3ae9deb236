//! What the disks have left, sampled for the node: it asks no disk itself.

use crate::node_loop::Internal;
use quorate_protocol::Replica;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// A disk that takes 100 MB/s of writes loses this much between two looks; the low-water mark is above.
const EVERY: Duration = Duration::from_secs(1);

/// Tells the node what the fuller of its lanes' file systems has left, at once and then every second, until it has ended. Asked
/// on a thread of its own, because a sick disk may not answer for long.
pub(crate) async fn tell_free_space<R: Replica>(data_directory: PathBuf, news: mpsc::Sender<Internal<R>>) {
    let directories = ["journal", "store"].map(|lane| data_directory.join(lane));
    let mut has_failed = false;
    loop {
        let asked = directories.clone();
        let answer = tokio::task::spawn_blocking(move || least_free_bytes(&asked)).await;
        match answer {
            Ok(Ok(free_bytes)) => {
                if news.send(Internal::FreeSpace { free_bytes }).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) if !has_failed => {
                has_failed = true;
                tracing::warn!(%error, "cannot tell how much space the disk has left: a full disk will not be announced");
            }
            // Said once is enough; and a process that shuts down takes no more tasks.
            Ok(Err(_)) => {}
            Err(_) => return,
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn least_free_bytes(directories: &[PathBuf]) -> std::io::Result<u64> {
    let free = directories.iter().map(|directory| free_bytes(directory)).collect::<std::io::Result<Vec<u64>>>()?;
    Ok(free.into_iter().min().unwrap_or(u64::MAX))
}

/// What a process without privileges may still write there.
fn free_bytes(directory: &Path) -> std::io::Result<u64> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_some_space_and_a_missing_one_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(free_bytes(directory.path()).unwrap() > 0);
        let missing = directory.path().join("missing");
        assert!(least_free_bytes(&[directory.path().to_owned(), missing]).is_err());
    }
}
