//! The judges. None of them depends on how fast anything was.
//!
//! Two look at the same calls in different ways. One knows every revision of the store from the watchers: it replays them, finds
//! for each who wrote it, holds every answer against the state of its revision, and real time against the order of revisions. The
//! other, `quorate check`'s, knows only questions, answers and times, and searches for an order that explains them.

mod browses;
mod order;
mod replay;
mod search;

pub use browses::judge_browses;
pub use order::judge_order;
pub use replay::replay;
pub use search::search;

/// More would not be read.
const FINDINGS_MAX: usize = 20;

fn add(findings: &mut Vec<String>, finding: String) {
    if findings.len() < FINDINGS_MAX {
        findings.push(finding);
    }
}
