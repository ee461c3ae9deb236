//! What each member was seen with: its disk and its newest start, kept in a file of the data directory so that a restart does not
//! forget it.

use crate::durable_file;
use crate::hello::HelloRefusal;
use quorate_types::{DiskId, Incarnation, NodeId};
use quorate_wire::{Hello, NodeStart};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What a member was seen with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) disk: DiskId,
    /// The newest: data that know nothing of it are a copy from before it.
    pub(crate) start: NodeStart,
}

/// Which disk each member was seen with, and in which start, this node itself included.
#[derive(Debug)]
pub(crate) struct KnownDisks {
    path: PathBuf,
    disks: BTreeMap<NodeId, Seen>,
}

impl KnownDisks {
    pub(crate) fn load(path: &Path) -> io::Result<KnownDisks> {
        let text = durable_file::read(path)?.unwrap_or_default();
        let mut disks = BTreeMap::new();
        for line in text.lines() {
            let mut fields = line.split_whitespace().map(|field| u64::from_str_radix(field, 16));
            let (Some(Ok(node)), Some(Ok(disk)), Some(Ok(number)), Some(Ok(name)), None) =
                (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
            else {
                let why = format!("`{line}` is not a node, a disk, a count of starts and a start in hex");
                return Err(durable_file::damaged(path, &why));
            };
            let start = NodeStart { number: Incarnation(number), name };
            disks.insert(NodeId(node), Seen { disk: DiskId(disk), start });
        }
        Ok(KnownDisks { path: path.to_owned(), disks })
    }

    /// What this member was seen with.
    pub(crate) fn get(&self, node: NodeId) -> Option<Seen> {
        self.disks.get(&node).copied()
    }

    /// This member's newest start that is known, durably.
    pub(crate) fn start_of(&self, node: NodeId) -> Option<NodeStart> {
        self.get(node).map(|seen| seen.start)
    }

    /// Remembers, durably, what a member has now. If that fails, what was known before stands.
    pub(crate) fn note(&mut self, node: NodeId, seen: Seen) -> io::Result<()> {
        if self.get(node) == Some(seen) {
            return Ok(());
        }
        let mut disks = self.disks.clone();
        disks.insert(node, seen);
        let line = |(node, seen): (&NodeId, &Seen)| {
            format!("{:016x} {:016x} {:x} {:016x}\n", node.0, seen.disk.0, seen.start.number.0, seen.start.name)
        };
        durable_file::replace(&self.path, &disks.iter().map(line).collect::<String>())?;
        self.disks = disks;
        Ok(())
    }

    /// Checks that the caller's disk is the one it had, and that its data go on from the start in which it was seen here; notes this
    /// start, durably. A note that cannot be written is only logged: it costs protection, and the journal will meet the sick disk
    /// itself. The caller is not told that its start is known then, and goes on proving the one before.
    pub(crate) fn check(&mut self, theirs: &Hello) -> Result<(), HelloRefusal> {
        let Hello { node, disk, .. } = *theirs;
        if let Some(known) = self.get(node) {
            if known.disk != disk {
                return Err(HelloRefusal::OtherDisk { node: node.0, theirs: disk.0, known: known.disk.0 });
            }
            check_start(theirs, known.start)?;
        }
        let Some(start) = theirs.told_starts.last().copied() else { return Ok(()) };
        if let Err(error) = self.note(node, Seen { disk, start }) {
            tracing::warn!(%error, file = %self.path.display(), "cannot note a peer's disk and start");
        }
        Ok(())
    }
}

/// Whether these data go on from this start. Only a contradiction refuses for good: two starts with one number, or a number that went
/// back. Who does not speak of starts so old may be right, and this node the one that was put back.
fn check_start(theirs: &Hello, known: NodeStart) -> Result<(), HelloRefusal> {
    let this = theirs.this_start();
    let (node, known_number) = (theirs.node.0, known.number.0);
    if this.number < known.number {
        return Err(HelloRefusal::OlderData { node, theirs: this.number.0, known: known_number });
    }
    if this == known || theirs.told_starts.contains(&known) {
        return Ok(());
    }
    let oldest = theirs.told_starts.first().map_or(this.number, |first| first.number);
    if oldest <= known.number {
        return Err(HelloRefusal::OtherHistory { node, known: known_number });
    }
    Err(HelloRefusal::ForgottenHistory { node, oldest: oldest.0, known: known_number })
}
