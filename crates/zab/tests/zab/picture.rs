//! A recording begins with the whole replica.

use quorate_protocol::Replica;
use quorate_protocol::conformance::pictures_survive;
use quorate_zab::{Config, Zab};

#[test]
fn what_is_read_back_is_the_replica_that_was_written() {
    let config = Config { compact_after_entries: 2, compact_keep_entries: 1, keep_log_entries: 4, ..Config::default() };
    let parts = pictures_survive::<Zab>(3, &config, 60, 400, |replica| replica.status().role.name());
    let parts = parts.unwrap_or_else(|why| panic!("{why}"));
    for part in ["leader", "candidate", "follower"] {
        assert!(parts.contains(part), "no picture of a {part} among {parts:?}");
    }
}
