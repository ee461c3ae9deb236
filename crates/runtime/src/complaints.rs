//! Saying once what happens twice a second.

use quorate_types::NodeId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The same is said again after this, then after twice as long, and so on.
const PAUSE_FIRST: Duration = Duration::from_secs(10);
const PAUSE_LONGEST: Duration = Duration::from_secs(3600);
/// Anybody may claim to be any node: of more than so many, all are forgotten.
const NODES_MAX: usize = 1024;

/// What was last complained about each node.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    made: BTreeMap<NodeId, Complaint>,
}

#[derive(Debug)]
struct Complaint {
    why: String,
    at: Instant,
    pause: Duration,
}

impl Complaints {
    /// Whether this is to be said now: it is new, or was not said for long enough.
    pub(crate) fn is_due(&mut self, node: NodeId, why: &str, now: Instant) -> bool {
        let pause = match self.made.get(&node) {
            Some(last) if last.why == why && now.duration_since(last.at) < last.pause => return false,
            Some(last) if last.why == why => (last.pause * 2).min(PAUSE_LONGEST),
            _ => PAUSE_FIRST,
        };
        if self.made.len() >= NODES_MAX {
            self.made.clear();
        }
        self.made.insert(node, Complaint { why: why.to_owned(), at: now, pause });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_at_growing_intervals_and_something_else_at_once() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let said = (0..7200)
            .filter(|halves| complaints.is_due(NodeId(2), "settings", start + Duration::from_millis(500 * halves)));
        let seconds: Vec<u64> = said.map(|halves| halves / 2).collect();
        assert_eq!(seconds, [0, 10, 30, 70, 150, 310, 630, 1270, 2550]);
        let later = start + Duration::from_secs(3600);
        assert!(complaints.is_due(NodeId(2), "another disk", later));
        assert!(complaints.is_due(NodeId(3), "another disk", later));
        assert!(!complaints.is_due(NodeId(2), "another disk", later));
    }
}
