//! What is recovered of any set of nodes, when the others are gone for good.

use quorate_protocol::conformance::survivors_keep_decisions;
use quorate_zab::{Config, Zab};

#[test]
fn whatever_a_survivor_knew_decided_is_recovered() {
    let config = Config { compact_after_entries: 2, compact_keep_entries: 1, keep_log_entries: 4, ..Config::default() };
    let looked_for = survivors_keep_decisions::<Zab>(3, &config, 60, 400).unwrap_or_else(|why| panic!("{why}"));
    assert!(looked_for > 1_000, "only {looked_for} decisions were looked for");
}
