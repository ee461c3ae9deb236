//! What a watch sees.

use super::watch::{all, one};
use crate::case::Case;
use crate::expect::{Failure, Outcome, equal, holds, present};
use crate::proto::etcdserverpb::watch_create_request::FilterType;
use crate::proto::etcdserverpb::{PutRequest, WatchCreateRequest};
use crate::proto::mvccpb::Event;
use crate::proto::mvccpb::event::EventType;
use crate::target::{Target, always, revision};
use crate::watcher::Watcher;
use std::time::Duration;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(a_put_shows_the_whole_pair),
        Case::shared(a_deletion_shows_key_and_revision_only),
        Case::shared(a_watch_of_one_key_sees_no_other),
        Case::shared(a_watch_of_a_range_is_half_open),
        Case::shared(a_watch_to_the_end_sees_all_later_keys),
        Case::shared(writes_at_every_member_are_seen_here),
        Case::shared(a_deletion_that_finds_nothing_is_not_seen),
        Case::shared(a_watch_from_the_past_replays),
        Case::shared(a_watch_from_the_present_revision_replays_it),
        Case::shared(a_watch_from_now_does_not_replay),
        Case::shared(a_watch_from_the_future_waits_for_it),
        Case::shared(a_watch_resumed_misses_nothing_and_repeats_nothing),
        Case::shared(a_watch_that_catches_up_under_load_sees_each_revision_once),
        Case::shared(changes_of_one_revision_come_together_and_in_order),
        Case::shared(changes_of_one_revision_come_together_from_the_past),
        Case::shared(keys_deleted_together_come_together_by_key),
        Case::shared(the_pair_before_comes_if_asked_for),
        Case::shared(the_pair_before_comes_from_the_past_too),
        Case::shared(the_wish_of_one_watch_is_not_that_of_another),
        Case::shared(puts_can_be_left_out),
        Case::shared(deletions_can_be_left_out),
        Case::shared(leaving_out_both_is_silence),
        Case::shared(filters_hold_for_the_past_too),
        Case::shared(large_answers_are_cut_if_asked_for),
        Case::shared(large_answers_are_whole_unless_asked_for),
        Case::shared(an_event_of_a_lease_is_a_deletion),
    ]
}

const A_WHILE: Duration = Duration::from_millis(400);

/// `+a=1` for a put, `-a` for a deletion.
fn shown(target: &Target, events: &[Event]) -> Vec<String> {
    let one = |event: &Event| {
        let pair = event.kv.clone().unwrap_or_default();
        let name = target.name(&pair.key);
        match event.r#type() {
            EventType::Put => format!("+{name}={}", String::from_utf8_lossy(&pair.value)),
            EventType::Delete => format!("-{name}"),
        }
    };
    events.iter().map(one).collect()
}

fn revisions(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.kv.as_ref().map_or(0, |pair| pair.mod_revision)).collect()
}

async fn see(target: &Target, watcher: &mut Watcher, expected: &[&str]) -> Outcome {
    let events = watcher.events(expected.len()).await?;
    equal("events", shown(target, &events), expected.iter().map(|event| (*event).to_owned()).collect())
}

async fn a_put_shows_the_whole_pair(target: Target) -> Outcome {
    let mut watcher = Watcher::create(&target, all(&target)).await?;
    let lease = super::lease::grant(&target, 60).await?;
    target.write("a", "1").await?;
    target.put(PutRequest { lease, ..target.put_request("a", "2") }).await?;
    let events = watcher.events(2).await?;
    let last = present("the second event", events.last())?;
    equal("the pair", last.kv.clone(), target.read("a").await?)?;
    equal("no pair before unasked", last.prev_kv.clone(), None)
}

async fn a_deletion_shows_key_and_revision_only(target: Target) -> Outcome {
    target.write("a", "1").await?;
    let mut watcher = Watcher::create(&target, all(&target)).await?;
    let at = target.remove("a").await?;
    let events = watcher.events(1).await?;
    equal("type", events[0].r#type(), EventType::Delete)?;
    let expected = crate::proto::mvccpb::KeyValue { key: target.key("a"), mod_revision: at, ..Default::default() };
    equal("the pair", events[0].kv.clone(), Some(expected))
}

async fn a_watch_of_one_key_sees_no_other(target: Target) -> Outcome {
    let mut watcher = Watcher::create(&target, one(&target, "b")).await?;
    target.write_all(&[("a", "1"), ("b", "2"), ("b1", "3"), ("b\0", "4"), ("c", "5"), ("b", "6")]).await?;
    see(&target, &mut watcher, &["+b=2", "+b=6"]).await
}

async fn a_watch_of_a_range_is_half_open(target: Target) -> Outcome {
    let range = WatchCreateRequest { range_end: target.key("c"), ..one(&target, "b") };
    let mut watcher = Watcher::create(&target, range).await?;
    target.write_all(&[("a", "1"), ("b", "2"), ("b1", "3"), ("c", "4"), ("bz", "5")]).await?;
    see(&target, &mut watcher, &["+b=2", "+b1=3", "+bz=5"]).await
}

async fn a_watch_to_the_end_sees_all_later_keys(target: Target) -> Outcome {
    let to_the_end = WatchCreateRequest { range_end: vec![0].into(), ..one(&target, "b") };
    let mut watcher = Watcher::create(&target, to_the_end).await?;
    target.write_all(&[("a", "1"), ("b", "2"), ("z", "3")]).await?;
    let mut own = Vec::new();
    while own.len() < 2 {
        let events = watcher.events(1).await?;
        own.extend(shown(&target, &events).into_iter().filter(|event| !event.contains("api-suite")));
    }
    equal("own events", own.join(" "), "+b=2 +z=3".to_owned())
}

async fn writes_at_every_member_are_seen_here(target: Target) -> Outcome {
    let mut watcher = Watcher::create(&target, all(&target)).await?;
    for step in 0..target.members() {
        target.elsewhere(step).write("a", &step.to_string()).await?;
        see(&target, &mut watcher, &[&format!("+a={step}")]).await?;
    }
    Ok(())
}

async fn a_deletion_that_finds_nothing_is_not_seen(target: Target) -> Outcome {
    let mut watcher = Watcher::create(&target, all(&target)).await?;
    target.remove("none").await?;
    target.write("a", "1").await?;
    see(&target, &mut watcher, &["+a=1"]).await
}

async fn a_watch_from_the_past_replays(target: Target) -> Outcome {
    let first = target.write("a", "1").await?;
    target.write("a", "2").await?;
    target.remove("a").await?;
    target.write("b", "3").await?;
    let mut watcher = Watcher::create(&target, WatchCreateRequest { start_revision: first, ..all(&target) }).await?;
    see(&target, &mut watcher, &["+a=1", "+a=2", "-a", "+b=3"]).await?;
    target.write("c", "4").await?;
    see(&target, &mut watcher, &["+c=4"]).await
}

async fn a_watch_from_the_present_revision_replays_it(target: Target) -> Outcome {
    let put = target.write_all(&[("a", "1"), ("a", "2")]).await?[1];
    let mut watcher = Watcher::create(&target, WatchCreateRequest { start_revision: put, ..all(&target) }).await?;
    see(&target, &mut watcher, &["+a=2"]).await
}

async fn a_watch_from_now_does_not_replay(target: Target) -> Outcome {
    target.write("a", "1").await?;
    let mut watcher = Watcher::create(&target, all(&target)).await?;
    watcher.silent_for(A_WHILE).await?;
    target.write("a", "2").await?;
    see(&target, &mut watcher, &["+a=2"]).await
}

async fn a_watch_from_the_future_waits_for_it(target: Target) -> Outcome {
    let start = target.write("a", "before").await? + 20;
    let mut watcher = Watcher::create(&target, WatchCreateRequest { start_revision: start, ..all(&target) }).await?;
    let mut written = Vec::new();
    while written.last().is_none_or(|last| *last < start + 5) {
        written.push(target.write("a", "x").await?);
    }
    let expected: Vec<i64> = written.into_iter().filter(|revision| *revision >= start).collect();
    equal("revisions seen", revisions(&watcher.events(expected.len()).await?), expected)
}

async fn a_watch_resumed_misses_nothing_and_repeats_nothing(target: Target) -> Outcome {
    let mut seen = Vec::new();
    let mut written = Vec::new();
    let mut start = target.revision().await? + 1;
    for round in 0..5 {
        let resumed = WatchCreateRequest { start_revision: start, ..all(&target) };
        let mut watcher = Watcher::create(&target.elsewhere(round), resumed).await?;
        for _ in 0..5 {
            written.push(target.write("a", "x").await?);
        }
        seen.extend(revisions(&watcher.events((3 + 5 * round).saturating_sub(seen.len())).await?));
        start = seen.last().map_or(start, |last| last + 1);
    }
    let missing = written.len() - seen.len();
    let mut watcher = Watcher::create(&target, WatchCreateRequest { start_revision: start, ..all(&target) }).await?;
    seen.extend(revisions(&watcher.events(missing).await?));
    equal("revisions seen", seen, written)
}

async fn a_watch_that_catches_up_under_load_sees_each_revision_once(target: Target) -> Outcome {
    let first = target.write("a", "x").await?;
    for count in 0..200 {
        target.write(&format!("k{}", count % 7), "x").await?;
    }
    let writer = {
        let target = target.clone();
        tokio::spawn(async move {
            for count in 0..200 {
                target.write(&format!("k{}", count % 7), "y").await?;
            }
            Ok::<(), tonic::Status>(())
        })
    };
    let mut watcher = Watcher::create(&target, WatchCreateRequest { start_revision: first, ..all(&target) }).await?;
    let seen = revisions(&watcher.events(401).await?);
    writer.await.map_err(|error| Failure(error.to_string()))??;
    holds("revisions rise", seen.windows(2).all(|pair| pair[0] < pair[1]), &seen)?;
    equal("the first", seen.first().copied(), Some(first))?;
    equal("how many", seen.len(), 401)
}

async fn changes_of_one_revision_come_together_and_in_order(target: Target) -> Outcome {
    target.write("c", "0").await?;
    let mut watcher = Watcher::create(&target, all(&target)).await?;
    let steps = vec![target.put_op("b", "1"), target.delete_op("c"), target.put_op("a", "2")];
    let at = revision(target.txn(always(steps)).await?.header.as_ref());
    let response = watcher.next().await?;
    equal("events of one answer", shown(&target, &response.events).join(" "), "+b=1 -c +a=2".to_owned())?;
    equal("revisions", revisions(&response.events), vec![at; 3])?;
    holds("the header", revision(response.header.as_ref()) >= at, response.header)
}

async fn changes_of_one_revision_come_together_from_the_past(target: Target) -> Outcome {
    let mut first = 0;
    for count in 0..30 {
        let steps = (0..5).map(|key| target.put_op(&format!("k{key}"), &count.to_string())).collect();
        let at = revision(target.txn(always(steps)).await?.header.as_ref());
        first = if first == 0 { at } else { first };
    }
    let mut watcher = Watcher::create(&target, WatchCreateRequest { start_revision: first, ..all(&target) }).await?;
    let mut last_of_answer = 0;
    let mut seen = 0;
    while seen < 150 {
        let events = watcher.events(1).await?;
        let found = revisions(&events);
        holds("no revision is in two answers", found[0] > last_of_answer, (&found, last_of_answer))?;
        holds("revisions are whole", found.len().is_multiple_of(5), found.len())?;
        last_of_answer = found[found.len() - 1];
        seen += found.len();
    }
    equal("events", seen, 150)
}

async fn keys_deleted_together_come_together_by_key(target: Target) -> Outcome {
    target.write_all(&[("c", "1"), ("a", "2"), ("b", "3")]).await?;
    let mut watcher = Watcher::create(&target, all(&target)).await?;
    target.delete(target.delete_all_request()).await?;
    let response = watcher.next().await?;
    equal("events of one answer", shown(&target, &response.events).join(" "), "-a -b -c".to_owned())
}

/// The values before each event, `none` without one.
fn before(events: &[Event]) -> Vec<String> {
    let value = |event: &Event| {
        event.prev_kv.as_ref().map_or("none".to_owned(), |pair| String::from_utf8_lossy(&pair.value).into_owned())
    };
    events.iter().map(value).collect()
}

async fn the_pair_before_comes_if_asked_for(target: Target) -> Outcome {
    let mut watcher = Watcher::create(&target, WatchCreateRequest { prev_kv: true, ..all(&target) }).await?;
    target.write_all(&[("a", "1"), ("a", "2")]).await?;
    let pair = target.read("a").await?;
    target.remove("a").await?;
    target.write("a", "3").await?;
    let events = watcher.events(4).await?;
    equal("values before", before(&events).join(" "), "none 1 2 none".to_owned())?;
    equal("the whole pair before a deletion", events[2].prev_kv.clone(), pair)
}

async fn the_pair_before_comes_from_the_past_too(target: Target) -> Outcome {
    let first = target.write_all(&[("a", "1"), ("a", "2")]).await?[0];
    target.remove("a").await?;
    let request = WatchCreateRequest { prev_kv: true, start_revision: first, ..all(&target) };
    let mut watcher = Watcher::create(&target, request).await?;
    equal("values before", before(&watcher.events(3).await?).join(" "), "none 1 2".to_owned())
}

async fn the_wish_of_one_watch_is_not_that_of_another(target: Target) -> Outcome {
    target.write("a", "1").await?;
    let mut watcher = Watcher::create(&target, WatchCreateRequest { prev_kv: true, ..all(&target) }).await?;
    watcher.add(all(&target)).await?;
    target.write("a", "2").await?;
    for _ in 0..2 {
        let response = watcher.next().await?;
        let expected = if response.watch_id == 0 { "1" } else { "none" };
        equal("value before", before(&response.events).join(" "), expected.to_owned())?;
    }
    Ok(())
}

fn without(target: &Target, filters: &[FilterType]) -> WatchCreateRequest {
    WatchCreateRequest { filters: filters.iter().map(|filter| i32::from(*filter)).collect(), ..all(target) }
}

async fn puts_can_be_left_out(target: Target) -> Outcome {
    let mut watcher = Watcher::create(&target, without(&target, &[FilterType::Noput])).await?;
    target.write_all(&[("a", "1"), ("b", "2")]).await?;
    target.remove("a").await?;
    see(&target, &mut watcher, &["-a"]).await
}

async fn deletions_can_be_left_out(target: Target) -> Outcome {
    let mut watcher = Watcher::create(&target, without(&target, &[FilterType::Nodelete])).await?;
    target.write("a", "1").await?;
    target.remove("a").await?;
    target.write("a", "2").await?;
    see(&target, &mut watcher, &["+a=1", "+a=2"]).await
}

async fn leaving_out_both_is_silence(target: Target) -> Outcome {
    let both = without(&target, &[FilterType::Noput, FilterType::Nodelete]);
    let mut watcher = Watcher::create(&target, both).await?;
    target.write("a", "1").await?;
    target.remove("a").await?;
    watcher.silent_for(A_WHILE).await
}

async fn filters_hold_for_the_past_too(target: Target) -> Outcome {
    let first = target.write("a", "1").await?;
    target.remove("a").await?;
    target.write("b", "2").await?;
    let request = WatchCreateRequest { start_revision: first, ..without(&target, &[FilterType::Noput]) };
    let mut watcher = Watcher::create(&target, request).await?;
    see(&target, &mut watcher, &["-a"]).await
}

/// Four values whose deletion, with the pairs before, is larger than a request may be.
async fn write_large(target: &Target) -> Result<i64, Failure> {
    let value = "x".repeat(600 << 10);
    let mut first = 0;
    for name in ["a", "b", "c", "d"] {
        let at = target.write(name, &value).await?;
        first = if first == 0 { at } else { first };
    }
    Ok(first)
}

async fn large_answers_are_cut_if_asked_for(target: Target) -> Outcome {
    write_large(&target).await?;
    let request = WatchCreateRequest { prev_kv: true, fragment: true, ..all(&target) };
    let mut watcher = Watcher::create(&target, request).await?;
    target.delete(target.delete_all_request()).await?;
    let mut events = Vec::new();
    let mut more = true;
    let mut answers = 0;
    while more {
        let response = watcher.next().await?;
        more = response.fragment;
        answers += 1;
        holds("each part has events", !response.events.is_empty(), response.events.len())?;
        events.extend(response.events);
    }
    equal("all parts", shown(&target, &events).join(" "), "-a -b -c -d".to_owned())?;
    holds("there are several parts", answers > 1, answers)
}

async fn large_answers_are_whole_unless_asked_for(target: Target) -> Outcome {
    write_large(&target).await?;
    let mut watcher = Watcher::create(&target, WatchCreateRequest { prev_kv: true, ..all(&target) }).await?;
    target.delete(target.delete_all_request()).await?;
    let response = watcher.next().await?;
    equal("events, fragment", (response.events.len(), response.fragment), (4, false))
}

async fn an_event_of_a_lease_is_a_deletion(target: Target) -> Outcome {
    let lease = super::lease::grant(&target, 60).await?;
    for name in ["a", "b"] {
        target.put(PutRequest { lease, ..target.put_request(name, "1") }).await?;
    }
    let mut watcher = Watcher::create(&target, all(&target)).await?;
    super::lease::revoke(&target, lease).await?;
    let response = watcher.next().await?;
    equal("events of one answer", shown(&target, &response.events).join(" "), "-a -b".to_owned())?;
    let found = revisions(&response.events);
    equal("one revision", found[0], found[1])
}
