//! Beginning and ending watches.

use crate::case::Case;
use crate::expect::{Failure, Outcome, equal, holds};
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::{WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchResponse};
use crate::target::{Target, revision};
use crate::watcher::Watcher;
use bytes::Bytes;
use std::time::Duration;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(creation_is_answered_before_events),
        Case::shared(ids_are_given_from_zero_up),
        Case::shared(a_free_id_can_be_chosen),
        Case::shared(given_ids_pass_over_chosen_ones),
        Case::shared(an_id_in_use_is_refused_and_the_stream_stays),
        Case::shared(an_id_is_free_again_after_its_watch),
        Case::shared(ids_of_different_streams_do_not_meet),
        Case::shared(an_empty_range_is_refused_and_the_stream_stays),
        Case::shared(an_empty_key_with_a_zero_end_watches_everything),
        Case::shared(a_cancelled_watch_says_so_and_is_silent),
        Case::shared(cancelling_one_watch_leaves_the_others),
        Case::shared(cancelling_an_unknown_watch_is_silent),
        Case::shared(progress_of_an_idle_stream_is_answered_at_once),
        Case::shared(progress_comes_after_the_events_it_covers),
        Case::shared(progress_of_a_stream_without_watches_is_answered),
        Case::shared(a_stream_may_begin_with_a_cancellation),
        Case::shared(many_watches_share_a_stream),
    ]
}

const A_WHILE: Duration = Duration::from_millis(400);

/// A watch of all keys of the case.
pub(super) fn all(target: &Target) -> WatchCreateRequest {
    WatchCreateRequest { key: target.key(""), range_end: target.end(), ..WatchCreateRequest::default() }
}

/// A watch of one key.
pub(super) fn one(target: &Target, name: &str) -> WatchCreateRequest {
    WatchCreateRequest { key: target.key(name), ..WatchCreateRequest::default() }
}

async fn opened(target: &Target, request: WatchCreateRequest) -> Result<(Watcher, WatchResponse), Failure> {
    let mut watcher = Watcher::open(target, RequestUnion::CreateRequest(request)).await?;
    let created = watcher.next().await?;
    Ok((watcher, created))
}

async fn creation_is_answered_before_events(target: Target) -> Outcome {
    let put = target.write("a", "1").await?;
    let (mut watcher, created) = opened(&target, WatchCreateRequest { start_revision: put, ..all(&target) }).await?;
    equal("created, canceled, events", (created.created, created.canceled, created.events.len()), (true, false, 0))?;
    let told = revision(created.header.as_ref());
    holds("its header is of now", told >= put, told)?;
    equal("then the event", watcher.events(1).await?.len(), 1)
}

async fn ids_are_given_from_zero_up(target: Target) -> Outcome {
    let (mut watcher, created) = opened(&target, all(&target)).await?;
    let ids = [created.watch_id, watcher.add(all(&target)).await?.watch_id, watcher.add(all(&target)).await?.watch_id];
    equal("ids", ids, [0, 1, 2])
}

async fn a_free_id_can_be_chosen(target: Target) -> Outcome {
    let (mut watcher, created) = opened(&target, WatchCreateRequest { watch_id: 77, ..all(&target) }).await?;
    equal("id", created.watch_id, 77)?;
    target.write("a", "1").await?;
    equal("id of events", watcher.next().await?.watch_id, 77)
}

async fn given_ids_pass_over_chosen_ones(target: Target) -> Outcome {
    let (mut watcher, _) = opened(&target, WatchCreateRequest { watch_id: 1, ..all(&target) }).await?;
    let given = [watcher.add(all(&target)).await?.watch_id, watcher.add(all(&target)).await?.watch_id];
    equal("ids", given, [0, 2])
}

async fn an_id_in_use_is_refused_and_the_stream_stays(target: Target) -> Outcome {
    let (mut watcher, _) = opened(&target, WatchCreateRequest { watch_id: 5, ..one(&target, "a") }).await?;
    let refusal = watcher.add(WatchCreateRequest { watch_id: 5, ..one(&target, "b") }).await?;
    equal("created, canceled, id", (refusal.created, refusal.canceled, refusal.watch_id), (true, true, -1))?;
    let reason = "mvcc: duplicate watch ID provided on the WatchStream";
    equal("reason", refusal.cancel_reason.as_str(), reason)?;
    target.write("b", "unwatched").await?;
    target.write("a", "watched").await?;
    let events = watcher.next().await?;
    equal("events of the first", (events.watch_id, events.events.len()), (5, 1))
}

async fn an_id_is_free_again_after_its_watch(target: Target) -> Outcome {
    let (mut watcher, _) = opened(&target, WatchCreateRequest { watch_id: 5, ..one(&target, "a") }).await?;
    watcher.cancel(5).await?;
    equal("canceled", watcher.next().await?.canceled, true)?;
    let again = watcher.add(WatchCreateRequest { watch_id: 5, ..one(&target, "b") }).await?;
    equal("created, canceled, id", (again.created, again.canceled, again.watch_id), (true, false, 5))
}

async fn ids_of_different_streams_do_not_meet(target: Target) -> Outcome {
    let (_first, created) = opened(&target, all(&target)).await?;
    let (_second, also_created) = opened(&target, all(&target)).await?;
    equal("ids", (created.watch_id, also_created.watch_id), (0, 0))
}

async fn an_empty_range_is_refused_and_the_stream_stays(target: Target) -> Outcome {
    let empty = WatchCreateRequest { range_end: target.key("a"), ..one(&target, "a") };
    let (mut watcher, refusal) = opened(&target, empty).await?;
    equal("created, canceled, id", (refusal.created, refusal.canceled, refusal.watch_id), (true, true, -1))?;
    equal("reason", refusal.cancel_reason.as_str(), "mvcc: watcher range is empty")?;
    let backwards = WatchCreateRequest { range_end: target.key("a"), ..one(&target, "b") };
    equal("backwards", watcher.add(backwards).await?.canceled, true)?;
    equal("the next is created", watcher.add(all(&target)).await?.canceled, false)?;
    target.write("a", "1").await?;
    equal("and sees events", watcher.events(1).await?.len(), 1)
}

async fn an_empty_key_with_a_zero_end_watches_everything(target: Target) -> Outcome {
    let everything = WatchCreateRequest { range_end: Bytes::from_static(&[0]), ..WatchCreateRequest::default() };
    let mut watcher = Watcher::create(&target, everything).await?;
    let put = target.write("a", "1").await?;
    loop {
        let events = watcher.events(1).await?;
        let revisions: Vec<i64> =
            events.iter().filter_map(|event| event.kv.as_ref().map(|pair| pair.mod_revision)).collect();
        if revisions.contains(&put) {
            return Ok(());
        }
        holds("the own write is not passed over", revisions.iter().all(|seen| *seen < put), revisions)?;
    }
}

async fn a_cancelled_watch_says_so_and_is_silent(target: Target) -> Outcome {
    let mut watcher = Watcher::create(&target, all(&target)).await?;
    watcher.cancel(0).await?;
    let ended = watcher.next().await?;
    equal("canceled, created, id", (ended.canceled, ended.created, ended.watch_id), (true, false, 0))?;
    equal("no reason, no mark", (ended.cancel_reason.as_str(), ended.compact_revision), ("", 0))?;
    target.write("a", "1").await?;
    watcher.silent_for(A_WHILE).await
}

async fn cancelling_one_watch_leaves_the_others(target: Target) -> Outcome {
    let mut watcher = Watcher::create(&target, all(&target)).await?;
    watcher.add(all(&target)).await?;
    watcher.cancel(0).await?;
    equal("canceled", watcher.next().await?.canceled, true)?;
    target.write("a", "1").await?;
    equal("the other's events", watcher.next().await?.watch_id, 1)?;
    watcher.silent_for(A_WHILE).await
}

async fn cancelling_an_unknown_watch_is_silent(target: Target) -> Outcome {
    let mut watcher = Watcher::create(&target, all(&target)).await?;
    watcher.cancel(99).await?;
    watcher.silent_for(A_WHILE).await?;
    target.write("a", "1").await?;
    equal("the stream stays", watcher.events(1).await?.len(), 1)
}

async fn progress_of_an_idle_stream_is_answered_at_once(target: Target) -> Outcome {
    let put = target.write("a", "1").await?;
    let mut watcher = Watcher::create(&target, one(&target, "b")).await?;
    watcher.ask_for_progress().await?;
    let progress = watcher.next().await?;
    equal("id and events", (progress.watch_id, progress.events.len()), (-1, 0))?;
    equal("created, canceled", (progress.created, progress.canceled), (false, false))?;
    let told = revision(progress.header.as_ref());
    holds("it is as far as the store", told >= put, told)
}

async fn progress_comes_after_the_events_it_covers(target: Target) -> Outcome {
    let mut watcher = Watcher::create(&target, one(&target, "a")).await?;
    let put = target.write("a", "1").await?;
    equal("the event", watcher.events(1).await?.len(), 1)?;
    watcher.ask_for_progress().await?;
    let progress = watcher.next().await?;
    equal("id and events", (progress.watch_id, progress.events.len()), (-1, 0))?;
    let told = revision(progress.header.as_ref());
    holds("it covers the event", told >= put, told)
}

async fn progress_of_a_stream_without_watches_is_answered(target: Target) -> Outcome {
    let put = target.write("a", "1").await?;
    let mut watcher = Watcher::open(&target, RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
    let progress = watcher.next().await?;
    equal("id and events", (progress.watch_id, progress.events.len()), (-1, 0))?;
    let told = revision(progress.header.as_ref());
    holds("it is as far as the store", told >= put, told)
}

async fn a_stream_may_begin_with_a_cancellation(target: Target) -> Outcome {
    // etcd sends no headers for it, so the first answer is that to the creation behind it.
    let (requests, waiting) = tokio::sync::mpsc::channel(2);
    for request in
        [RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 3 }), RequestUnion::CreateRequest(all(&target))]
    {
        let request = crate::proto::etcdserverpb::WatchRequest { request_union: Some(request) };
        requests.send(request).await.map_err(|_| Failure("the channel is closed".to_owned()))?;
    }
    let mut client = crate::proto::etcdserverpb::watch_client::WatchClient::new(target.channel());
    let mut answers = client.watch(tokio_stream::wrappers::ReceiverStream::new(waiting)).await?.into_inner();
    let first = answers.message().await?;
    equal("the first answer", first.map(|answer| (answer.created, answer.canceled)), Some((true, false)))
}

async fn many_watches_share_a_stream(target: Target) -> Outcome {
    let mut watcher = Watcher::create(&target, one(&target, "0")).await?;
    for name in 1..40 {
        watcher.add(one(&target, &name.to_string())).await?;
    }
    for name in 0..40 {
        target.write(&name.to_string(), "x").await?;
        let response = watcher.next().await?;
        equal("id", response.watch_id, name)?;
        let keys: Vec<String> =
            response.events.iter().filter_map(|event| event.kv.as_ref()).map(|pair| target.name(&pair.key)).collect();
        equal("keys", keys, vec![name.to_string()])?;
    }
    Ok(())
}
