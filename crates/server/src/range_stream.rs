//! One range as a stream of chunks, from etcd 3.7: pages of one pinned revision, so that neither side holds the whole.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use quorate_keyspace::{Query, RangeRequest as Range, SortOrder, SortTarget};
use quorate_machine::Consistency;
use tokio_stream::Stream;
use tonic::Status;

use crate::answers::range_response;
use crate::backend::Backend;
use crate::errors::BackendError;
use crate::front::Front;
use crate::proto::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse};

/// Pairs in the first chunk, before anything is known about their size.
const FIRST_PAGE_PAIRS: i64 = 64;
/// Most pairs in a chunk.
const PAGE_PAIRS_MAX: i64 = 16_384;
/// What a chunk should come to. Nothing is split, so a large pair makes a large chunk.
const PAGE_BYTES: usize = 512 * 1024;

/// Where a stream stands.
struct Cursor {
    range: Range,
    consistency: Consistency,
    /// Pairs the client still wants; `None` for all.
    left: Option<i64>,
    page_pairs: i64,
    /// What the first page said, and every later chunk's header says.
    first: Option<First>,
    done: bool,
}

#[derive(Clone, Copy)]
struct First {
    revision: i64,
    count: i64,
}

/// The chunks of a range. Their concatenation is the answer of `Range`: pairs in order; header with the first chunk and the last,
/// `count` and `more` with the last.
///
/// # Errors
/// Those of a range, and `UNIMPLEMENTED` for an order or filter that would need the whole before the first chunk. Within the
/// stream: as a range, also `Compacted` when the pinned revision is compacted meanwhile.
pub(crate) fn range_stream<B: Backend>(
    front: Arc<Front<B>>,
    request: RangeRequest,
    consistency: Consistency,
) -> Result<impl Stream<Item = Result<RangeStreamResponse, Status>> + Send + 'static, BackendError> {
    let range = Range::try_from(request)?;
    let is_natural = range.sort_target == SortTarget::Key && range.sort_order != SortOrder::Descend;
    let filters =
        [range.min_mod_revision, range.max_mod_revision, range.min_create_revision, range.max_create_revision];
    if !is_natural || filters != [0; 4] {
        return Err(BackendError::Unsupported("KV.RangeStream with an order or filter of revisions".to_owned()));
    }
    let left = Some(range.limit).filter(|limit| *limit > 0);
    let cursor = Cursor { range, consistency, left, page_pairs: FIRST_PAGE_PAIRS, first: None, done: false };
    Ok(stream::unfold((front, cursor), |(front, mut cursor)| async move {
        if cursor.done {
            return None;
        }
        let chunk = cursor.next_chunk(&front).await;
        cursor.done |= chunk.is_err();
        let chunk = chunk.map(|range_response| RangeStreamResponse { range_response: Some(range_response) });
        Some((chunk.map_err(Status::from), (front, cursor)))
    }))
}

impl Cursor {
    async fn next_chunk<B: Backend>(&mut self, front: &Front<B>) -> Result<RangeResponse, BackendError> {
        let limit = self.left.map_or(self.page_pairs, |left| left.min(self.page_pairs));
        let query = Query::Range(Range { limit, ..self.range.clone() });
        let reply = front.read(query, self.consistency).await?;
        let mut response = range_response(front.local_header(), reply)?;
        let is_first = self.first.is_none();
        let current = response.header.as_ref().map_or(0, |header| header.revision);
        let First { revision, count } = *self.first.get_or_insert(First { revision: current, count: response.count });
        if is_first {
            // Later pages are of the same moment, which local state has by now.
            self.consistency = Consistency::Local;
            if self.range.revision <= 0 {
                self.range.revision = revision;
            }
        }
        let taken = i64::try_from(response.kvs.len()).unwrap_or(i64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(taken));
        self.done = self.range.count_only || !response.more || self.left == Some(0);
        if let Some(last) = response.kvs.last() {
            self.range.key = after(&last.key);
        }
        self.adapt(&response);
        response.header = response.header.filter(|_| is_first || self.done);
        if let Some(header) = &mut response.header {
            header.revision = revision;
        }
        if self.done {
            response.count = count;
        } else {
            (response.count, response.more) = (0, false);
        }
        Ok(response)
    }

    /// Pages twice as long while they are well below the size wanted, half as long above it.
    fn adapt(&mut self, response: &RangeResponse) {
        let bytes: usize = response.kvs.iter().map(|pair| pair.key.len() + pair.value.len()).sum();
        if bytes > PAGE_BYTES {
            self.page_pairs = (self.page_pairs / 2).max(1);
        } else if bytes < PAGE_BYTES / 2 {
            self.page_pairs = (self.page_pairs * 2).min(PAGE_PAIRS_MAX);
        }
    }
}

/// The first key after this one.
fn after(key: &Bytes) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
