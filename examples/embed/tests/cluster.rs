//! Three replicas in one process count what each was told.

#![allow(clippy::unwrap_used, reason = "a test")]

use quorate_example_embed::count_apples;

#[test]
fn three_replicas_count_what_each_was_told() {
    let (runtime, directory) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let apples = tokio::task::LocalSet::new().block_on(&runtime, count_apples(directory.path())).unwrap();
    assert_eq!(apples, 6);
}
