//! A thread that performs one lane's writes, one list of operations after the other.

use crate::node_loop::Internal;
use quorate_disk::{Disk, Operation};
use quorate_node::Lane;
use quorate_protocol::Replica;
use std::sync::mpsc as blocking;
use tokio::sync::mpsc;

/// One list of operations.
struct Job {
    write: u64,
    operations: Vec<Operation>,
}

/// The loop's end of a lane. Dropping it ends the thread after the write under way.
pub(crate) struct DiskLane {
    jobs: blocking::Sender<Job>,
    thread: std::thread::JoinHandle<()>,
}

impl DiskLane {
    /// Starts the thread.
    pub(crate) fn spawn<R: Replica>(
        lane: Lane,
        disk: impl Disk + Send + 'static,
        done: mpsc::Sender<Internal<R>>,
    ) -> std::io::Result<DiskLane>
    where
        R::Message: Send,
    {
        let (jobs, inbox) = blocking::channel::<Job>();
        let name = match lane {
            Lane::Journal => "journal",
            Lane::Store => "store",
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut disk = disk;
            while let Ok(job) = inbox.recv() {
                let news = match disk.perform_all(&job.operations) {
                    Ok(()) => Internal::DiskDone { lane, write: job.write },
                    Err(error) => Internal::DiskFailed(error),
                };
                let failed = matches!(news, Internal::DiskFailed(_));
                // Nothing may be retried after a failure: the pages may have been dropped and a second flush would lie.
                if done.blocking_send(news).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(DiskLane { jobs, thread })
    }

    /// Hands over a write. If the thread is gone, its failure is already on its way to the loop.
    pub(crate) fn perform(&self, write: u64, operations: Vec<Operation>) {
        let _ = self.jobs.send(Job { write, operations });
    }

    /// Waits for the write under way. Until then the directory is not free for anybody else: a late write would land in
    /// their journal.
    pub(crate) fn close(self) {
        drop(self.jobs);
        // A thread that panicked writes nothing any more.
        let _ = self.thread.join();
    }
}
