//! Which of this node's starts each other member was told of: the proof that its data go on from where that member knew them.
//!
//! A directory that was put back from a copy does not know the starts that the other members have seen since. It cannot make them up
//! either, for their names are drawn, however often it is started. See `docs/decisions/0029-prove-that-the-data-go-on.md`.

use crate::durable_file;
use quorate_types::{Incarnation, NodeId};
use quorate_wire::NodeStart;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// So many starts are kept that a member was told of and has not said it knows; of more, the oldest are forgotten.
const TOLD_MAX: usize = 4096;
/// So many that are needed no more are kept before they are taken out of the file.
const NEEDLESS_MAX: usize = 16;

/// The starts of this node that each other member was told of, in a file of the data directory.
#[derive(Debug)]
pub(crate) struct OwnStarts {
    path: PathBuf,
    this: NodeStart,
    /// As in the file: each list is in the order of the starts, and never empty.
    told: BTreeMap<NodeId, Vec<NodeStart>>,
    has_complained: bool,
}

impl OwnStarts {
    /// Of a node that is in this start.
    pub(crate) fn load(path: &Path, this: NodeStart) -> io::Result<OwnStarts> {
        let text = durable_file::read(path)?.unwrap_or_default();
        let mut told: BTreeMap<NodeId, Vec<NodeStart>> = BTreeMap::new();
        for line in text.lines() {
            let mut fields = line.split_whitespace().map(|field| u64::from_str_radix(field, 16));
            let (Some(Ok(peer)), Some(Ok(number)), Some(Ok(name)), None) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                let why = format!("`{line}` is not a member, a count of starts and a start in hex");
                return Err(durable_file::damaged(path, &why));
            };
            told.entry(NodeId(peer)).or_default().push(NodeStart { number: Incarnation(number), name });
        }
        Ok(OwnStarts { path: path.to_owned(), this, told, has_complained: false })
    }

    /// What `peer` is to be told now: what it was told before, and this start, which is durable here first. If this start cannot be
    /// written down it is left out, and the peer does not expect to hear of it again.
    pub(crate) fn tell(&mut self, peer: NodeId) -> Vec<NodeStart> {
        let before = self.told.get(&peer).cloned().unwrap_or_default();
        if before.last() == Some(&self.this) {
            return before;
        }
        let mut told = before.clone();
        told.push(self.this);
        let needless = told.len().saturating_sub(TOLD_MAX);
        told.drain(..needless);
        match self.replace(peer, &told) {
            Ok(()) => told,
            Err(error) => {
                if !self.has_complained {
                    tracing::warn!(%error, file = %self.path.display(), "cannot note this start; the other members do not keep it");
                    self.has_complained = true;
                }
                before
            }
        }
    }

    /// `peer` knows this start, durably: those before it are needed no more.
    pub(crate) fn is_known(&mut self, peer: NodeId, known: NodeStart) {
        let Some(told) = self.told.get(&peer) else { return };
        let Some(needless) = told.iter().position(|start| *start == known) else { return };
        if needless < NEEDLESS_MAX {
            return;
        }
        let needed = told[needless..].to_vec();
        if let Err(error) = self.replace(peer, &needed) {
            // More than is needed proves as much.
            tracing::debug!(%error, "cannot shorten the list of starts");
        }
    }

    fn replace(&mut self, peer: NodeId, starts: &[NodeStart]) -> io::Result<()> {
        let mut told = self.told.clone();
        told.insert(peer, starts.to_vec());
        let mut lines = String::new();
        for (peer, starts) in &told {
            for start in starts {
                lines.push_str(&format!("{:016x} {:x} {:016x}\n", peer.0, start.number.0, start.name));
            }
        }
        durable_file::replace(&self.path, &lines)?;
        self.told = told;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);

    fn start(number: u64) -> NodeStart {
        NodeStart { number: Incarnation(number), name: 1000 + number }
    }

    #[test]
    fn a_start_is_on_disk_before_anybody_hears_of_it_and_only_then() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("starts");
        assert_eq!(OwnStarts::load(&path, start(1)).unwrap().tell(PEER), [start(1)]);
        let _ended_before_it_told_anybody = OwnStarts::load(&path, start(2)).unwrap();
        let mut third = OwnStarts::load(&path, start(3)).unwrap();
        assert_eq!(third.tell(PEER), [start(1), start(3)]);
        assert_eq!(third.tell(PEER), [start(1), start(3)], "once is enough");
        assert_eq!(third.tell(NodeId(3)), [start(3)], "each member has its own list");
        assert_eq!(OwnStarts::load(&path, start(4)).unwrap().tell(PEER), [start(1), start(3), start(4)]);
    }

    #[test]
    fn what_a_member_knows_shortens_what_it_is_told_and_a_crash_loop_before_one_that_is_silent_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("starts");
        let (silent, mut told) = (NodeId(3), 0);
        for number in 1..200 {
            let mut own = OwnStarts::load(&path, start(number)).unwrap();
            told = own.tell(PEER).len();
            own.is_known(PEER, start(number));
            assert_eq!(own.tell(silent).first(), Some(&start(1)));
            own.is_known(silent, NodeStart { number: Incarnation(number), name: 1 });
        }
        assert!(told <= NEEDLESS_MAX + 1, "{told}");
    }

    #[test]
    fn a_start_that_cannot_be_written_down_is_not_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gone").join("starts");
        let mut own = OwnStarts::load(&path, start(1)).unwrap();
        assert_eq!(own.tell(PEER), []);
        std::fs::create_dir(directory.path().join("gone")).unwrap();
        assert_eq!(own.tell(PEER), [start(1)], "it is tried again");
    }
}
