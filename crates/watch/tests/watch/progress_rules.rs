//! etcd's rules for progress, one test each.

use crate::world::{World, put, watch_key};
use quorate_watch::{CreateWatch, WatchLimits};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(600);

fn watch_with_progress() -> CreateWatch {
    CreateWatch { progress_interval: Some(INTERVAL), ..watch_key("a") }
}

#[test]
fn an_idle_watcher_is_told_the_revision_each_interval_and_not_before() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &watch_with_progress());
    world.create(stream, &watch_key("a"));
    world.told(stream);
    world.write(&[put("b", "1")]);
    let due = world.advance().next_due.expect("progress is due some time");
    assert_eq!(due.since(world.now), INTERVAL);
    world.pass(INTERVAL - Duration::from_nanos(1));
    world.settle();
    assert_eq!(world.told_words(stream), [""; 0]);
    world.pass(Duration::from_nanos(1));
    world.settle();
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @2: progress"]);
    world.pass(INTERVAL);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @2: progress"]);
}

#[test]
fn a_period_with_events_has_no_progress() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &watch_with_progress());
    world.told(stream);
    world.write(&[put("a", "1")]);
    world.settle();
    world.pass(INTERVAL);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @2: +a=1"]);
    world.pass(INTERVAL);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @2: progress"]);
}

#[test]
fn a_watcher_that_is_behind_is_not_told_progress() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &watch_with_progress());
    world.told(stream);
    world.stall(stream);
    world.write(&[put("a", "1")]);
    world.settle();
    world.pass(INTERVAL);
    world.settle();
    world.drain(stream, usize::MAX);
    world.pass(INTERVAL);
    world.settle();
    world.pass(INTERVAL);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @2: +a=1", "0 @2: progress"]);
}

#[test]
fn requested_progress_comes_at_once_on_an_idle_stream_with_watch_id_minus_one() {
    let mut world = World::new();
    let (watching, empty) = (world.open(), world.open());
    world.create(watching, &watch_key("a"));
    world.told(watching);
    world.hub.request_progress(watching);
    world.hub.request_progress(empty);
    world.settle();
    assert_eq!(world.told_words(watching), ["-1 @1: progress"]);
    assert_eq!(world.told_words(empty), ["-1 @1: progress"]);
    world.settle();
    assert_eq!(world.told_words(watching), [""; 0], "once");
}

#[test]
fn requested_progress_never_overtakes_events() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &watch_key("a"));
    world.create(stream, &watch_key("b"));
    world.told(stream);
    world.drain(stream, 1);
    world.write(&[put("a", "1"), put("b", "1")]);
    world.settle();
    world.hub.request_progress(stream);
    world.write(&[put("c", "1")]);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @2: +a=1"], "the other is still behind");
    assert_eq!(world.hub.stats().pending_progress, 1);
    world.drain(stream, usize::MAX);
    world.settle();
    assert_eq!(world.told_words(stream), ["1 @2: +b=1", "-1 @3: progress"]);
    assert_eq!(world.hub.stats().pending_progress, 0);
}

#[test]
fn requested_progress_covers_every_write_before_the_request() {
    let mut world = World::with_limits(WatchLimits { steps_per_advance: 2, ..WatchLimits::default() });
    let stream = world.open();
    world.create(stream, &watch_key("a"));
    for _ in 0..20 {
        world.write(&[put("b", "1")]);
    }
    world.write(&[put("a", "1")]);
    world.hub.request_progress(stream);
    world.settle();
    assert_eq!(world.told_words(stream)[1..], ["0 @22: +a=1", "-1 @22: progress"]);
}

#[test]
fn cancelling_what_is_behind_lets_the_progress_of_the_stream_be_told() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &watch_key("a"));
    world.told(stream);
    world.stall(stream);
    world.write(&[put("a", "1")]);
    world.hub.request_progress(stream);
    world.settle();
    world.cancel(stream, 0);
    world.drain(stream, usize::MAX);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @2: canceled", "-1 @2: progress"]);
}
