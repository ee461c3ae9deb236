//! What a run cost: messages, their bytes, flushes.

use quorate_node::Lane;
use std::collections::BTreeMap;

/// Messages that were handed to the network, whatever became of them, and their bytes as frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// How many messages.
    pub messages: u64,
    /// Their bytes, frame headers included.
    pub bytes: u64,
}

/// What all nodes of a world did so far that costs something outside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What was sent, by what the protocol calls it.
    pub sent: BTreeMap<&'static str, Sent>,
    /// How often a journal was flushed, its file or its directory.
    pub journal_flushes: u64,
    /// The same of stores.
    pub store_flushes: u64,
}

impl Traffic {
    /// Everything that was sent.
    #[must_use]
    pub fn total(&self) -> Sent {
        self.sent.values().fold(Sent::default(), |sum, sent| Sent {
            messages: sum.messages + sent.messages,
            bytes: sum.bytes + sent.bytes,
        })
    }

    /// What came after `earlier`, a reading of the same world. What is not more than before is left out.
    #[must_use]
    pub fn since(&self, earlier: &Traffic) -> Traffic {
        let news = self.sent.iter().filter_map(|(kind, now)| {
            let before = earlier.sent.get(kind).copied().unwrap_or_default();
            let messages = now.messages.saturating_sub(before.messages);
            (messages > 0).then(|| (*kind, Sent { messages, bytes: now.bytes.saturating_sub(before.bytes) }))
        });
        Traffic {
            sent: news.collect(),
            journal_flushes: self.journal_flushes.saturating_sub(earlier.journal_flushes),
            store_flushes: self.store_flushes.saturating_sub(earlier.store_flushes),
        }
    }

    pub(super) fn note_sent(&mut self, kind: &'static str, bytes: u64) {
        let sent = self.sent.entry(kind).or_default();
        sent.messages += 1;
        sent.bytes += bytes;
    }

    pub(super) fn note_flush(&mut self, lane: Lane) {
        match lane {
            Lane::Journal => self.journal_flushes += 1,
            Lane::Store => self.store_flushes += 1,
        }
    }
}
