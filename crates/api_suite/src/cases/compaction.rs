//! Giving up the past. These cases need the store to themselves.

use super::watch::all;
use crate::case::Case;
use crate::differences::{WATCH_FROM_BELOW_ZERO, WRITE_BESIDE_A_FAILING_READ};
use crate::expect::{Failure, Outcome, equal, holds, refused};
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::{CompactionRequest, CompactionResponse, RangeRequest, WatchCreateRequest};
use crate::target::{Target, always, range_op, revision};
use crate::watcher::Watcher;
use tonic::{Code, Status};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::exclusive(what_is_below_the_mark_cannot_be_read),
        Case::exclusive(the_mark_itself_can_be_read),
        Case::exclusive(what_is_above_the_mark_stays),
        Case::exclusive(a_live_key_last_written_below_the_mark_stays),
        Case::exclusive(a_key_deleted_below_the_mark_stays_deleted),
        Case::exclusive(a_key_deleted_at_the_mark_stays_deleted),
        Case::exclusive(the_present_can_be_compacted),
        Case::exclusive(the_future_cannot_be_compacted),
        Case::exclusive(the_same_mark_twice_is_refused),
        Case::exclusive(zero_and_less_are_below_every_mark),
        Case::exclusive(a_compaction_takes_no_revision),
        Case::exclusive(a_physical_compaction_is_answered_too),
        Case::exclusive(every_member_gives_up_the_past),
        Case::exclusive(a_serializable_read_below_the_mark_is_refused),
        Case::exclusive(a_transaction_cannot_read_below_the_mark),
        Case::exclusive(a_transaction_can_read_the_mark),
        Case::exclusive(a_watch_from_below_the_mark_is_cancelled_with_the_mark),
        Case::exclusive(a_watch_from_the_mark_replays),
        Case::exclusive(a_watch_from_below_zero_is_cancelled),
        Case::exclusive(a_watch_under_way_outlives_a_compaction),
        Case::exclusive(the_pair_before_is_absent_when_compacted),
        Case::exclusive(versions_count_on_over_a_compaction),
    ]
}

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";

/// Compacts at a revision.
pub(super) async fn compact(target: &Target, revision: i64) -> Result<CompactionResponse, Status> {
    let request = CompactionRequest { revision, physical: false };
    target.kv().compact(request).await.map(tonic::Response::into_inner)
}

fn at(target: &Target, revision: i64) -> RangeRequest {
    RangeRequest { revision, ..target.all_request() }
}

async fn shown_at(target: &Target, revision: i64) -> Result<String, Failure> {
    Ok(target.shown(&target.range(at(target, revision)).await?.kvs).join(" "))
}

async fn what_is_below_the_mark_cannot_be_read(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2"), ("a", "3")]).await?;
    compact(&target, revisions[1]).await?;
    refused("below", target.range(at(&target, revisions[0])).await, Code::OutOfRange, COMPACTED)?;
    refused("far below", target.range(at(&target, 1)).await, Code::OutOfRange, COMPACTED)
}

async fn the_mark_itself_can_be_read(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2"), ("a", "3")]).await?;
    compact(&target, revisions[1]).await?;
    equal("at the mark", shown_at(&target, revisions[1]).await?, "a=2".to_owned())
}

async fn what_is_above_the_mark_stays(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2"), ("b", "3"), ("a", "4")]).await?;
    compact(&target, revisions[0]).await?;
    equal("second", shown_at(&target, revisions[1]).await?, "a=2".to_owned())?;
    equal("third", shown_at(&target, revisions[2]).await?, "a=2 b=3".to_owned())?;
    equal("now", shown_at(&target, 0).await?, "a=4 b=3".to_owned())
}

async fn a_live_key_last_written_below_the_mark_stays(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("b", "2"), ("b", "3")]).await?;
    compact(&target, revisions[2]).await?;
    let pair = target.read("a").await?;
    equal(
        "create and mod",
        pair.map(|pair| (pair.create_revision, pair.mod_revision)),
        Some((revisions[0], revisions[0])),
    )
}

async fn a_key_deleted_below_the_mark_stays_deleted(target: Target) -> Outcome {
    target.write("a", "1").await?;
    target.remove("a").await?;
    let mark = target.write("b", "2").await?;
    compact(&target, mark).await?;
    equal("at the mark", shown_at(&target, mark).await?, "b=2".to_owned())
}

async fn a_key_deleted_at_the_mark_stays_deleted(target: Target) -> Outcome {
    target.write("a", "1").await?;
    let mark = target.remove("a").await?;
    target.write("b", "2").await?;
    compact(&target, mark).await?;
    equal("at the mark", shown_at(&target, mark).await?, String::new())?;
    equal("put anew", target.write("a", "3").await? > mark, true)?;
    equal("its version", target.read("a").await?.map(|pair| pair.version), Some(1))
}

async fn the_present_can_be_compacted(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2")]).await?;
    let answer = compact(&target, revisions[1]).await?;
    equal("the header", revision(answer.header.as_ref()), revisions[1])?;
    equal("now", shown_at(&target, 0).await?, "a=2".to_owned())
}

async fn the_future_cannot_be_compacted(target: Target) -> Outcome {
    let now = target.write("a", "1").await?;
    refused("the next", compact(&target, now + 1).await, Code::OutOfRange, FUTURE)?;
    refused("far ahead", compact(&target, i64::MAX).await, Code::OutOfRange, FUTURE)?;
    equal("now", shown_at(&target, now).await?, "a=1".to_owned())
}

async fn the_same_mark_twice_is_refused(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2")]).await?;
    compact(&target, revisions[1]).await?;
    refused("again", compact(&target, revisions[1]).await, Code::OutOfRange, COMPACTED)?;
    refused("lower", compact(&target.elsewhere(1), revisions[0]).await, Code::OutOfRange, COMPACTED)
}

async fn zero_and_less_are_below_every_mark(target: Target) -> Outcome {
    let mark = target.write("a", "1").await?;
    compact(&target, mark).await?;
    for below in [0, -1, i64::MIN] {
        refused("below", compact(&target, below).await, Code::OutOfRange, COMPACTED)?;
    }
    Ok(())
}

async fn a_compaction_takes_no_revision(target: Target) -> Outcome {
    let mark = target.write("a", "1").await?;
    compact(&target, mark).await?;
    equal("now", target.revision().await?, mark)?;
    equal("the next write", target.write("a", "2").await?, mark + 1)
}

async fn a_physical_compaction_is_answered_too(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2")]).await?;
    let request = CompactionRequest { revision: revisions[1], physical: true };
    let answer = target.kv().compact(request).await?.into_inner();
    equal("the header", revision(answer.header.as_ref()), revisions[1])?;
    refused("below", target.range(at(&target, revisions[0])).await, Code::OutOfRange, COMPACTED)?;
    equal("now", shown_at(&target, 0).await?, "a=2".to_owned())
}

async fn every_member_gives_up_the_past(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2"), ("a", "3")]).await?;
    compact(&target, revisions[1]).await?;
    for step in 0..target.members() {
        let here = target.elsewhere(step);
        refused("below", here.range(at(&here, revisions[0])).await, Code::OutOfRange, COMPACTED)?;
        equal("at the mark", shown_at(&here, revisions[1]).await?, "a=2".to_owned())?;
    }
    Ok(())
}

async fn a_serializable_read_below_the_mark_is_refused(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2")]).await?;
    compact(&target, revisions[1]).await?;
    let local = RangeRequest { serializable: true, ..at(&target, revisions[0]) };
    refused("below", target.range(local).await, Code::OutOfRange, COMPACTED)
}

async fn a_transaction_cannot_read_below_the_mark(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2")]).await?;
    compact(&target, revisions[1]).await?;
    let past = range_op(at(&target, revisions[0]));
    refused("alone", target.txn(always(vec![past.clone()])).await, Code::OutOfRange, COMPACTED)?;
    if target.differing(&WRITE_BESIDE_A_FAILING_READ, false, true) {
        let with_put = target.txn(always(vec![target.put_op("a", "3"), past])).await;
        refused("with a put", with_put, Code::OutOfRange, COMPACTED)?;
    }
    equal("nothing is done", shown_at(&target, 0).await?, "a=2".to_owned())
}

async fn a_transaction_can_read_the_mark(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2")]).await?;
    compact(&target, revisions[0]).await?;
    let answer = target.txn(always(vec![target.put_op("a", "3"), range_op(at(&target, revisions[0]))])).await?;
    equal("answers", answer.responses.len(), 2)
}

async fn a_watch_from_below_the_mark_is_cancelled_with_the_mark(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2"), ("a", "3")]).await?;
    compact(&target, revisions[2]).await?;
    let request = WatchCreateRequest { start_revision: revisions[0], ..all(&target) };
    let mut watcher = Watcher::create(&target, request).await?;
    let ended = watcher.next().await?;
    equal("canceled, created, id", (ended.canceled, ended.created, ended.watch_id), (true, false, 0))?;
    equal("the mark", ended.compact_revision, revisions[2])?;
    equal("events", ended.events.len(), 0)?;
    equal("its header's revision", revision(ended.header.as_ref()), 0)?;
    equal("the stream stays", watcher.add(all(&target)).await?.created, true)?;
    target.write("a", "4").await?;
    equal("and sees events", watcher.events(1).await?.len(), 1)
}

async fn a_watch_from_the_mark_replays(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2"), ("a", "3")]).await?;
    compact(&target, revisions[1]).await?;
    let request = WatchCreateRequest { start_revision: revisions[1], ..all(&target) };
    let events = Watcher::create(&target, request).await?.events(2).await?;
    let seen: Vec<i64> = events.iter().filter_map(|event| event.kv.as_ref().map(|pair| pair.mod_revision)).collect();
    equal("revisions", seen, revisions[1..].to_vec())
}

async fn a_watch_from_below_zero_is_cancelled(target: Target) -> Outcome {
    let mark = target.write("a", "1").await?;
    compact(&target, mark).await?;
    let request = WatchCreateRequest { start_revision: -1, ..all(&target) };
    let mut watcher = Watcher::open(&target, RequestUnion::CreateRequest(request)).await?;
    let created = watcher.next().await?;
    equal("created", created.created, true)?;
    if target.differing(&WATCH_FROM_BELOW_ZERO, false, true) {
        equal("canceled, id", (created.canceled, created.watch_id), (true, -1))?;
        return equal("reason", created.cancel_reason.as_str(), "mvcc: required revision has been compacted");
    }
    let ended = watcher.next().await?;
    equal("canceled and the mark", (ended.canceled, ended.compact_revision), (true, mark))
}

async fn a_watch_under_way_outlives_a_compaction(target: Target) -> Outcome {
    let mut watcher = Watcher::create(&target, all(&target)).await?;
    let mark = target.write_all(&[("a", "1"), ("a", "2")]).await?[1];
    equal("events", watcher.events(2).await?.len(), 2)?;
    compact(&target, mark).await?;
    target.write("a", "3").await?;
    equal("events after it", watcher.events(1).await?.len(), 1)
}

async fn the_pair_before_is_absent_when_compacted(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2"), ("a", "3")]).await?;
    compact(&target, revisions[1]).await?;
    let request = WatchCreateRequest { start_revision: revisions[1], prev_kv: true, ..all(&target) };
    let events = Watcher::create(&target, request).await?.events(2).await?;
    let before: Vec<Option<i64>> =
        events.iter().map(|event| event.prev_kv.as_ref().map(|pair| pair.mod_revision)).collect();
    equal("revisions before", before, vec![None, Some(revisions[1])])
}

async fn versions_count_on_over_a_compaction(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2"), ("a", "3")]).await?;
    compact(&target, revisions[2]).await?;
    target.write("a", "4").await?;
    let pair = target.read("a").await?;
    let found = pair.map(|pair| (pair.version, pair.create_revision));
    holds("version and creation", found == Some((4, revisions[0])), found)
}
