//! Range queries.

use crate::error::KeyspaceError;
use crate::interval::Interval;
use crate::keyspace::Keyspace;
use crate::range_request::{RangeRequest, SortOrder, SortTarget};
use crate::reply::{KeyValue, Reply};
use crate::sort::sort_pairs;
use bytes::Bytes;

impl Keyspace {
    pub(crate) fn checked_range(&self, request: &RangeRequest) -> Result<Reply, KeyspaceError> {
        request.check()?;
        if self.is_corrupt() {
            return Err(KeyspaceError::Corrupt);
        }
        self.check_readable(request.revision)?;
        Ok(self.range(request, self.revision))
    }

    /// Answers a range that was checked. `revision` is the header's.
    pub(crate) fn range(&self, request: &RangeRequest, revision: i64) -> Reply {
        let changes = if request.revision <= 0 { self.log.len() } else { self.first_change_after(request.revision) };
        let interval = Interval::new(&request.key, &request.range_end);
        let mut selection = match interval {
            // The commonest question, without a cursor over the index.
            Interval::Key(key) => self.select(self.index.live_at(key, changes).into_iter(), request),
            // Keys come from the index in ascending order, so this order too needs no sorting.
            _ if request.sort_target == SortTarget::Key && request.sort_order == SortOrder::Descend => {
                self.select(self.index.live_in(interval, changes).rev(), request)
            }
            _ => self.select(self.index.live_in(interval, changes), request),
        };
        if request.keys_only {
            selection.kvs.iter_mut().for_each(|pair| pair.value = Bytes::new());
        }
        let Selection { kvs, more, count } = selection;
        Reply::Range { revision, kvs, more, count }
    }

    fn select(&self, live: impl Iterator<Item = u64>, request: &RangeRequest) -> Selection {
        if request.count_only {
            let count = i64::try_from(live.count()).expect("memory holds fewer than 2^63 keys");
            return Selection { count, ..Selection::default() };
        }
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let in_order = request.sort_target == SortTarget::Key;
        let mut selection = Selection::default();
        for number in live {
            selection.count += 1;
            // Once it is known that the limit cuts, what is left is only counted.
            if selection.more {
                continue;
            }
            let pair = self.pair(number);
            if !passes_filters(&pair, request) {
                continue;
            }
            if in_order && selection.kvs.len() == limit {
                selection.more = true;
            } else {
                selection.kvs.push(pair);
            }
        }
        if !in_order {
            sort_pairs(&mut selection.kvs, request.sort_target, request.sort_order);
            selection.more = selection.kvs.len() > limit;
            selection.kvs.truncate(limit);
        }
        selection
    }
}

#[derive(Default)]
struct Selection {
    kvs: Vec<KeyValue>,
    more: bool,
    count: i64,
}

/// As in etcd, 0 is no bound and a negative bound is a bound.
fn passes_filters(pair: &KeyValue, request: &RangeRequest) -> bool {
    let at_least = |revision: i64, bound: i64| bound == 0 || revision >= bound;
    let at_most = |revision: i64, bound: i64| bound == 0 || revision <= bound;
    at_least(pair.mod_revision, request.min_mod_revision)
        && at_most(pair.mod_revision, request.max_mod_revision)
        && at_least(pair.create_revision, request.min_create_revision)
        && at_most(pair.create_revision, request.max_create_revision)
}
