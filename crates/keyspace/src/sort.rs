//! Sorting by something else than the key.

use crate::range_request::{SortOrder, SortTarget};
use crate::reply::KeyValue;
use std::cmp::Ordering;

/// Sorts pairs that are in ascending order of key. Equal ones keep that order in both directions, which etcd leaves open.
pub(crate) fn sort_pairs(pairs: &mut [KeyValue], target: SortTarget, order: SortOrder) {
    match order {
        SortOrder::None | SortOrder::Ascend => pairs.sort_by(|a, b| compare(a, b, target)),
        SortOrder::Descend => pairs.sort_by(|a, b| compare(b, a, target)),
    }
}

fn compare(a: &KeyValue, b: &KeyValue, target: SortTarget) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}
