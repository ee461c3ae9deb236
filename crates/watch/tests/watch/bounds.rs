//! What the hub's work and memory are bounded by, counted in steps, and that nobody starves.

use crate::world::{World, from_revision, put, watch_key, watch_range, words};
use quorate_watch::{CreateWatch, StreamId, WatchLimits};
use std::collections::BTreeMap;

fn steps(world: &World) -> u64 {
    world.hub.stats().steps
}

/// How many steps one put of `key` takes until all is told.
fn steps_of_a_put(world: &mut World, key: &str) -> u64 {
    let before = steps(world);
    world.write(&[put(key, "value")]);
    world.settle();
    steps(world) - before
}

fn prefix_of(number: u64) -> CreateWatch {
    watch_range(&format!("/registry/{number:05}/"), &format!("/registry/{number:05}0"))
}

#[test]
fn a_put_does_not_look_at_watchers_of_other_keys() {
    let mut world = World::new();
    for number in 0..10_000 {
        if number % 100 == 0 {
            world.open();
        }
        world.create(StreamId(number / 100), &watch_key(&format!("key{number}")));
    }
    assert!(steps_of_a_put(&mut world, "other") <= 5);
    assert!(steps_of_a_put(&mut world, "key77") <= 10);
}

#[test]
fn a_put_among_ten_thousand_prefixes_costs_the_depth_of_a_tree() {
    let mut world = World::new();
    let stream = world.open();
    for number in 0..10_000 {
        world.create(stream, &prefix_of(number));
    }
    let told = steps_of_a_put(&mut world, "/registry/07777/pod");
    assert!(told <= 100, "{told}");
    let untold = steps_of_a_put(&mut world, "/elsewhere");
    assert!(untold <= 100, "{untold}");
}

#[test]
fn a_put_costs_each_watcher_of_its_key_once() {
    let mut world = World::new();
    let stream = world.open();
    for _ in 0..1000 {
        world.create(stream, &watch_key("a"));
    }
    let told = steps_of_a_put(&mut world, "a");
    assert!((1000..=2100).contains(&told), "{told}");
    assert_eq!(world.hub.stats().events_delivered, 1000);
}

#[test]
fn idle_watchers_cost_nothing() {
    let mut world = World::new();
    let stream = world.open();
    for number in 0..1000 {
        world.create(stream, &prefix_of(number));
    }
    world.settle();
    let before = steps(&world);
    world.advance();
    assert_eq!(steps(&world), before);
}

#[test]
fn watchers_of_stalled_streams_cost_nothing_until_there_is_room() {
    let mut world = World::new();
    for _ in 0..1000 {
        let stream = world.open();
        world.create(stream, &watch_key("a"));
        world.stall(stream);
    }
    steps_of_a_put(&mut world, "a");
    assert_eq!(world.hub.stats().slow_watchers, 1000);
    assert!(steps_of_a_put(&mut world, "a") <= 5);
    let advanced = world.advance();
    assert!(!advanced.more_work, "nothing can be done for them");
}

#[test]
fn a_thousand_watchers_that_start_in_the_past_read_it_together() {
    let mut world = World::new();
    let stream = world.open();
    for number in 0..2000 {
        world.write(&[put(&format!("/registry/{:05}/pod", number % 1000), "value")]);
    }
    for number in 0..1000 {
        world.create(stream, &from_revision(1, prefix_of(number)));
    }
    let before = steps(&world);
    world.settle();
    assert_eq!(world.hub.stats().events_delivered, 2000);
    // Each on its own would read 2000 changes: two million steps.
    let taken = steps(&world) - before;
    assert!(taken <= 100_000, "{taken}");
}

#[test]
fn one_advance_keeps_to_its_steps() {
    let limits = WatchLimits { steps_per_advance: 500, ..WatchLimits::default() };
    let mut world = World::with_limits(limits);
    let stream = world.open();
    for number in 0..3000 {
        world.write(&[put(&format!("a{}", number % 50), "value")]);
    }
    for number in 0..40 {
        world.create(stream, &from_revision(1 + number * 60, watch_range("a", "b")));
    }
    loop {
        let before = steps(&world);
        world.write(&[put("a1", "value")]);
        let more_work = world.advance().more_work;
        // The last revision and the delivery of what was gathered come on top.
        let taken = steps(&world) - before;
        assert!(taken <= 500 + 2 * 8192, "{taken}");
        if !more_work {
            break;
        }
    }
    assert_eq!(world.hub.stats().slow_watchers, 0);
}

#[test]
fn a_revision_of_many_changes_is_gathered_for_one_watcher_at_a_time() {
    let limits = WatchLimits { steps_per_advance: 100, gathered_events: 50, ..WatchLimits::default() };
    let mut world = World::with_limits(limits);
    let stream = world.open();
    for _ in 0..20 {
        world.create(stream, &watch_range("a", "b"));
    }
    world.told(stream);
    let writes: Vec<_> = (0..300).map(|number| put(&format!("a{number}"), "value")).collect();
    world.write(&writes);
    let mut told = Vec::new();
    loop {
        let more_work = world.advance().more_work;
        let now: Vec<_> = world.told(stream);
        assert!(now.len() <= 2, "{}", now.len());
        told.extend(now);
        if !more_work {
            break;
        }
    }
    let mut ids: Vec<i64> = told.iter().map(|response| response.watch_id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..20).collect::<Vec<_>>());
}

/// Counts responses per watcher while the stream takes one response at a time and everything is written all the time.
fn trickle(world: &mut World, stream: StreamId, keys: &[&str], drains: usize) -> BTreeMap<i64, usize> {
    let mut served = BTreeMap::new();
    for _ in 0..drains {
        for key in keys {
            world.write(&[put(key, "value")]);
        }
        world.drain(stream, 1);
        world.advance();
        for response in world.told(stream) {
            *served.entry(response.watch_id).or_default() += 1;
        }
    }
    served
}

#[test]
fn on_a_stream_that_trickles_every_watcher_has_its_turn() {
    let mut world = World::new();
    let stream = world.open();
    for _ in 0..20 {
        world.create(stream, &watch_key("hot"));
    }
    world.create(stream, &watch_key("cold"));
    world.create(stream, &watch_range("cold", "colder"));
    for _ in 0..3000 {
        world.write(&[put("other", "value")]);
    }
    world.create(stream, &from_revision(1, watch_range("", "\0")));
    world.told(stream);
    world.write(&[put("cold", "value")]);
    let served = trickle(&mut world, stream, &["hot", "cold"], 23 * 10);
    for watch_id in 0..23 {
        let times = served.get(&watch_id).copied().unwrap_or(0);
        assert!((5..=20).contains(&times), "watcher {watch_id} was served {times} times: {served:?}");
    }
}

#[test]
fn a_stream_that_does_not_read_holds_up_no_other() {
    let mut world = World::with_limits(WatchLimits { steps_per_advance: 100, ..WatchLimits::default() });
    let (stalled, healthy) = (world.open(), world.open());
    for _ in 0..500 {
        world.create(stalled, &watch_key("a"));
    }
    world.create(healthy, &watch_key("a"));
    world.told(healthy);
    world.stall(stalled);
    world.write(&[put("a", "1")]);
    world.settle();
    assert_eq!(world.told(healthy).iter().map(words).collect::<Vec<_>>(), ["0 @2: +a=1"]);
    world.write(&[put("a", "2")]);
    world.advance();
    assert_eq!(world.told(healthy).iter().map(words).collect::<Vec<_>>(), ["0 @3: +a=2"], "at once");
}

#[test]
fn a_little_behind_does_not_wait_for_far_behind() {
    let mut world = World::with_limits(WatchLimits { steps_per_advance: 1000, ..WatchLimits::default() });
    let (far, near) = (world.open(), world.open());
    for _ in 0..50_000 {
        world.write(&[put("a", "value")]);
    }
    world.settle();
    world.create(far, &from_revision(1, watch_key("a")));
    world.advance();
    world.create(near, &from_revision(49_900, watch_key("a")));
    for _ in 0..4 {
        world.advance();
    }
    let events: usize = world.told(near).iter().map(|response| words(response).matches('+').count()).sum();
    assert_eq!(events, 102);
    assert_eq!(world.hub.stats().slow_watchers, 1, "the other has a long way to go");
}

/// How often the least and the most served watcher of many trickling streams were served, with so much work per write.
fn servings_among_trickling_streams(steps_per_advance: u64) -> (usize, usize) {
    let mut world = World::with_limits(WatchLimits { steps_per_advance, ..WatchLimits::default() });
    let streams: Vec<StreamId> = (0..50).map(|_| world.open()).collect();
    let mut served: BTreeMap<(StreamId, i64), usize> = BTreeMap::new();
    for stream in &streams {
        for watch_id in 0..5 {
            world.create(*stream, &watch_key("hot"));
            served.insert((*stream, watch_id), 0);
        }
        world.told(*stream);
    }
    for _ in 0..600 {
        world.write(&[put("hot", "value")]);
        for stream in &streams {
            world.drain(*stream, 1);
        }
        world.advance();
        for stream in &streams {
            for response in world.told(*stream) {
                *served.entry((*stream, response.watch_id)).or_default() += 1;
            }
        }
    }
    (served.values().min().copied().unwrap_or(0), served.values().max().copied().unwrap_or(0))
}

#[test]
fn among_many_streams_that_trickle_all_watchers_are_served_alike() {
    let (least, most) = servings_among_trickling_streams(2000);
    assert!(least > 50 && least * 3 >= most, "{least} against {most}");
}

#[test]
fn even_if_the_work_allowed_is_less_than_the_writes_make_no_watcher_is_passed_over_for_ever() {
    let (least, most) = servings_among_trickling_streams(60);
    assert!(least > 0, "{least} against {most}");
}
