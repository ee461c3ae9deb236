//! etcd's rules for watches, one test each.

use crate::world::{World, delete, from_revision, put, watch_key, watch_range};
use bytes::Bytes;
use quorate_keyspace::Keyspace;
use quorate_machine::StateMachine;
use quorate_watch::{CreateWatch, EventKind, Filters, ResponseBody, StreamId, WatchLimits};
use std::time::Duration;

#[test]
fn created_comes_first_then_events() {
    let mut world = World::new();
    let stream = world.open();
    world.write(&[put("a", "1")]);
    world.create(stream, &from_revision(1, watch_key("a")));
    world.write(&[put("a", "2")]);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @2: created", "0 @3: +a=1, +a=2"]);
}

#[test]
fn ids_count_from_zero_in_each_stream() {
    let mut world = World::new();
    for _ in 0..2 {
        let stream = world.open();
        assert_eq!(world.create(stream, &watch_key("a")), Some(0));
        assert_eq!(world.create(stream, &watch_key("a")), Some(1));
        assert_eq!(world.told_words(stream), ["0 @1: created", "1 @1: created"]);
    }
}

#[test]
fn an_own_id_is_kept_if_free_and_passed_over_when_ids_are_given_out() {
    let mut world = World::new();
    let stream = world.open();
    let own = |watch_id| CreateWatch { watch_id, ..watch_key("a") };
    assert_eq!(world.create(stream, &own(1)), Some(1));
    assert_eq!(world.create(stream, &own(0)), Some(0));
    assert_eq!(world.create(stream, &own(0)), Some(2));
    assert_eq!(world.create(stream, &own(2)), None);
    let told = world.told_words(stream);
    assert_eq!(told[3], "-1 @1: created, canceled: mvcc: duplicate watch ID provided on the WatchStream");
    world.cancel(stream, 2);
    assert_eq!(world.create(stream, &own(2)), Some(2));
}

#[test]
fn the_greatest_own_id_does_not_stop_the_giving_out_of_ids() {
    let mut world = World::new();
    let stream = world.open();
    for watch_id in [i64::MAX, i64::MIN, -1] {
        assert_eq!(world.create(stream, &CreateWatch { watch_id, ..watch_key("a") }), Some(watch_id));
    }
    assert_eq!(world.create(stream, &watch_key("a")), Some(0));
}

#[test]
fn a_range_that_holds_no_key_is_refused() {
    let mut world = World::new();
    let stream = world.open();
    for (key, range_end) in [("b", "b"), ("b", "a")] {
        assert_eq!(world.create(stream, &watch_range(key, range_end)), None);
        assert_eq!(world.told_words(stream), ["-1 @1: created, canceled: mvcc: watcher range is empty"]);
    }
    assert_eq!(world.create(stream, &watch_key("a")), Some(0), "the stream stays usable");
}

#[test]
fn range_end_means_what_it_means_in_a_range_request() {
    let mut world = World::new();
    let stream = world.open();
    let ranges = [("b", ""), ("b", "d"), ("b", "\0"), ("", "\0"), ("", ""), ("", "b")];
    for (key, range_end) in ranges {
        world.create(stream, &watch_range(key, range_end));
    }
    world.told(stream);
    world.write(&[put("\0", ""), put("a", ""), put("b", ""), put("ba", ""), put("c", ""), put("d", ""), put("zz", "")]);
    world.settle();
    let mut told = world.told_words(stream);
    told.sort();
    let expected = [
        "0 @2: +b=",
        "1 @2: +b=, +ba=, +c=",
        "2 @2: +b=, +ba=, +c=, +d=, +zz=",
        "3 @2: +\0=, +a=, +b=, +ba=, +c=, +d=, +zz=",
        "4 @2: +\0=",
        "5 @2: +\0=, +a=",
    ];
    assert_eq!(told, expected);
}

#[test]
fn start_zero_is_from_now_the_past_is_replayed() {
    let mut world = World::new();
    let stream = world.open();
    for value in ["1", "2", "3"] {
        world.write(&[put("a", value)]);
    }
    world.create(stream, &watch_key("a"));
    world.create(stream, &from_revision(3, watch_key("a")));
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @4: created", "1 @4: created", "1 @4: +a=2, +a=3"]);
}

#[test]
fn what_was_written_before_a_watch_from_now_on_is_not_told_even_if_nobody_had_been_told_yet() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &watch_key("a"));
    world.write(&[put("a", "1")]);
    world.create(stream, &watch_key("a"));
    world.write(&[put("a", "2")]);
    world.settle();
    let told = world.told_words(stream);
    assert_eq!(told, ["0 @1: created", "1 @2: created", "0 @3: +a=1, +a=2", "1 @3: +a=2"]);
}

#[test]
fn a_future_start_is_waited_for_and_earlier_events_are_suppressed() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &from_revision(4, watch_key("a")));
    for value in ["2", "3", "4", "5"] {
        world.write(&[put("a", value)]);
        world.settle();
    }
    assert_eq!(world.told_words(stream), ["0 @1: created", "0 @4: +a=4", "0 @5: +a=5"]);
}

#[test]
fn a_snapshot_that_overtakes_a_future_start_brings_no_old_events() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &from_revision(5, watch_key("a")));
    for value in 2..=9 {
        world.write(&[put("a", &value.to_string())]);
    }
    world.history.compact(4);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @1: created", "0 @9: +a=5, +a=6, +a=7, +a=8, +a=9"]);
}

#[test]
fn a_snapshot_compacted_beyond_a_synced_watcher_cancels_it_and_nobody_else() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &watch_key("a"));
    world.create(stream, &from_revision(7, watch_key("a")));
    for value in 2..=9 {
        world.write(&[put("a", &value.to_string())]);
    }
    world.history.compact(6);
    world.settle();
    let told = world.told_words(stream);
    assert_eq!(told[2..], ["0 @0: canceled, compacted at 6", "1 @9: +a=7, +a=8, +a=9"]);
}

#[test]
fn a_history_that_jumps_to_a_snapshot_repeats_and_loses_nothing() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &watch_key("a"));
    world.write(&[put("a", "1")]);
    world.settle();
    // The state is now another replica's, further on: another value with the same numbers.
    let mut snapshot = world.history.clone();
    snapshot.write(&[put("a", "2")]);
    snapshot.write(&[delete("a")]);
    snapshot.compact(3);
    world.history = snapshot;
    world.settle();
    assert_eq!(world.told_words(stream)[1..], ["0 @2: +a=1", "0 @4: +a=2, -a"]);
}

#[test]
fn a_history_that_falls_back_is_not_told_again() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &watch_key("a"));
    world.write(&[put("a", "1")]);
    let older = world.history.clone();
    world.write(&[put("a", "2")]);
    world.settle();
    let newer = std::mem::replace(&mut world.history, older);
    world.hub.request_progress(stream);
    world.settle();
    world.history = newer;
    world.write(&[put("a", "3")]);
    world.settle();
    assert_eq!(world.told_words(stream)[1..], ["0 @3: +a=1, +a=2", "0 @4: +a=3", "-1 @4: progress"]);
}

#[test]
fn a_negative_start_is_refused_as_compacted() {
    let mut world = World::new();
    let stream = world.open();
    assert_eq!(world.create(stream, &from_revision(-1, watch_key("a"))), None);
    let told = world.told_words(stream);
    assert_eq!(told, ["-1 @1: created, canceled: mvcc: required revision has been compacted"]);
}

#[test]
fn a_compacted_start_is_created_then_cancelled_with_the_mark_and_header_revision_zero() {
    let mut world = World::new();
    let stream = world.open();
    for value in ["2", "3", "4", "5"] {
        world.write(&[put("a", value)]);
    }
    world.history.compact(4);
    assert_eq!(world.create(stream, &from_revision(3, watch_key("a"))), None);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @5: created", "0 @0: canceled, compacted at 4"]);
    world.create(stream, &from_revision(4, watch_key("a")));
    world.settle();
    assert_eq!(world.told_words(stream), ["1 @5: created", "1 @5: +a=4, +a=5"], "the mark itself is there");
}

#[test]
fn all_events_of_a_revision_come_in_one_response_however_many_and_large() {
    let limits =
        WatchLimits { response_bytes: 100, gathered_events: 4, steps_per_advance: 3, ..WatchLimits::default() };
    let mut world = World::with_limits(limits);
    let stream = world.open();
    world.create(stream, &watch_range("a", "b"));
    let writes: Vec<_> = (0..50).map(|number| put(&format!("a{number:02}"), &"x".repeat(50))).collect();
    world.write(&writes);
    world.write(&[put("a", "small")]);
    world.settle();
    let told = world.told(stream);
    let ResponseBody::Events { events, fragment: false } = &told[1].body else { panic!("{told:?}") };
    assert_eq!(events.len(), 50);
    assert_eq!((told.len(), told[1].revision), (3, 2));
}

#[test]
fn a_deleted_pair_has_only_key_and_revision() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &watch_key("a"));
    world.write(&[put("a", "1")]);
    world.write(&[delete("a")]);
    world.settle();
    let told = world.told(stream);
    let ResponseBody::Events { events, .. } = &told[1].body else { panic!("{told:?}") };
    assert_eq!(events[1].kind, EventKind::Delete { key: Bytes::from("a"), mod_revision: 3 });
}

#[test]
fn the_pair_before_is_added_for_those_who_ask_and_absent_for_created_keys() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &CreateWatch { prev_kv: true, ..watch_key("a") });
    world.create(stream, &watch_key("a"));
    world.write(&[put("a", "1")]);
    world.write(&[put("a", "2")]);
    world.write(&[delete("a")]);
    world.write(&[put("a", "3")]);
    world.settle();
    let told = world.told_words(stream);
    assert_eq!(told[2..], ["0 @5: +a=1, +a=2 was 1@2, -a was 2@3, +a=3", "1 @5: +a=1, +a=2, -a, +a=3"]);
}

#[test]
fn the_pair_before_is_absent_if_it_is_compacted() {
    let mut world = World::new();
    let stream = world.open();
    for value in ["2", "3", "4"] {
        world.write(&[put("a", value)]);
    }
    world.history.compact(3);
    world.create(stream, &CreateWatch { prev_kv: true, start_revision: 3, ..watch_key("a") });
    world.settle();
    assert_eq!(world.told_words(stream)[1..], ["0 @4: +a=3, +a=4 was 3@3"]);
}

#[test]
fn filters_drop_puts_or_deletes_or_both() {
    let mut world = World::new();
    let stream = world.open();
    for (no_put, no_delete) in [(true, false), (false, true), (true, true)] {
        world.create(stream, &CreateWatch { filters: Filters { no_put, no_delete }, ..watch_key("a") });
    }
    world.told(stream);
    world.write(&[put("a", "1")]);
    world.write(&[delete("a")]);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @3: -a", "1 @2: +a=1"]);
}

#[test]
fn fragments_split_between_events_and_all_but_the_last_say_so() {
    let limits = WatchLimits { fragment_bytes: 300, ..WatchLimits::default() };
    let mut world = World::with_limits(limits);
    let stream = world.open();
    world.create(stream, &CreateWatch { fragment: true, ..watch_range("a", "b") });
    world.create(stream, &watch_range("a", "b"));
    let value = "x".repeat(80);
    let writes: Vec<_> = (0..5).map(|number| put(&format!("a{number}"), &value)).collect();
    world.write(&writes);
    world.settle();
    let told = world.told_words(stream);
    let x = |numbers: &[u32]| numbers.iter().map(|n| format!("+a{n}={value}")).collect::<Vec<_>>().join(", ");
    let expected = [
        format!("0 @2: {} (+)", x(&[0, 1])),
        format!("0 @2: {} (+)", x(&[2, 3])),
        format!("0 @2: {}", x(&[4])),
        format!("1 @2: {}", x(&[0, 1, 2, 3, 4])),
    ];
    assert_eq!(told[2..], expected);
}

#[test]
fn an_event_over_the_fragment_limit_is_sent_whole() {
    let mut world = World::with_limits(WatchLimits { fragment_bytes: 10, ..WatchLimits::default() });
    let stream = world.open();
    world.create(stream, &CreateWatch { fragment: true, ..watch_key("a") });
    world.write(&[put("a", "longer than ten bytes")]);
    world.settle();
    assert_eq!(world.told_words(stream)[1..], ["0 @2: +a=longer than ten bytes"]);
}

#[test]
fn fragments_of_one_response_follow_each_other_even_if_room_ends_between_them() {
    let mut world = World::with_limits(WatchLimits { fragment_bytes: 100, ..WatchLimits::default() });
    let stream = world.open();
    world.create(stream, &CreateWatch { fragment: true, ..watch_range("a", "b") });
    world.create(stream, &watch_range("a", "b"));
    world.told(stream);
    world.drain(stream, 1);
    world.write(&[put("a1", "1"), put("a2", "2"), put("a3", "3")]);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @2: +a1=1 (+)", "0 @2: +a2=2 (+)", "0 @2: +a3=3"]);
    world.drain(stream, 1);
    world.settle();
    assert_eq!(world.told_words(stream), ["1 @2: +a1=1, +a2=2, +a3=3"]);
}

#[test]
fn a_cancelled_watcher_is_told_so_and_gets_no_events_after() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &watch_key("a"));
    world.write(&[put("a", "1")]);
    world.cancel(stream, 0);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @1: created", "0 @2: canceled"]);
}

#[test]
fn cancelling_an_unknown_watcher_or_asking_an_unknown_stream_is_ignored() {
    let mut world = World::new();
    let stream = world.open();
    world.cancel(stream, 7);
    let unknown = StreamId(99);
    world.cancel(unknown, 0);
    world.hub.close_stream(unknown);
    world.hub.request_progress(unknown);
    world.hub.room_again(unknown, &mut world.queues);
    assert_eq!(world.create(unknown, &watch_key("a")), None);
    world.settle();
    assert_eq!(world.told_words(stream), [""; 0]);
}

#[test]
fn a_closed_stream_is_told_nothing_and_leaves_nothing_behind() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &CreateWatch { progress_interval: Some(Duration::from_secs(1)), ..watch_key("a") });
    world.create(stream, &watch_range("a", "b"));
    world.stall(stream);
    world.write(&[put("a", "1")]);
    world.settle();
    world.hub.request_progress(stream);
    world.close(stream);
    world.write(&[put("a", "2")]);
    assert_eq!(world.advance().next_due, None);
    let stats = world.hub.stats();
    assert_eq!((stats.streams, stats.watchers, stats.slow_watchers, stats.pending_progress), (0, 0, 0, 0));
}

#[test]
fn a_slow_watcher_that_a_compaction_overtakes_is_cancelled_when_its_stream_has_room() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &watch_key("a"));
    world.create(stream, &watch_key("b"));
    world.told(stream);
    world.stall(stream);
    world.write(&[put("a", "2")]);
    world.write(&[put("a", "3")]);
    world.settle();
    world.history.compact(3);
    world.write(&[put("b", "4")]);
    world.settle();
    world.drain(stream, usize::MAX);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @0: canceled, compacted at 3", "1 @4: +b=4"]);
}

#[test]
fn a_compaction_in_the_same_batch_as_the_writes_cancels_nobody_if_they_are_not_dropped_yet() {
    let mut world = World::new();
    world.history.keyspace = Some(Keyspace::empty());
    let stream = world.open();
    world.create(stream, &CreateWatch { prev_kv: true, ..watch_key("a") });
    world.told(stream);
    for value in ["2", "3", "4"] {
        world.write(&[put("a", value)]);
    }
    world.history.compact(4);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @4: +a=2, +a=3, +a=4"], "the pairs before are compacted");
    for value in ["5", "6"] {
        world.write(&[put("a", value)]);
    }
    world.history.compact(6);
    let keyspace = world.history.keyspace.as_mut().expect("put there above");
    while keyspace.tidy() {}
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @0: canceled, compacted at 6"], "now they are");
}

#[test]
fn a_watcher_that_lags_and_catches_up_misses_and_repeats_nothing() {
    let mut world = World::new();
    let stream = world.open();
    world.create(stream, &watch_key("a"));
    world.told(stream);
    world.drain(stream, 1);
    for value in 0..6 {
        world.write(&[put("a", &value.to_string())]);
        world.settle();
    }
    assert_eq!(world.hub.stats().slow_watchers, 1);
    world.drain(stream, usize::MAX);
    world.settle();
    assert_eq!(world.told_words(stream), ["0 @2: +a=0", "0 @7: +a=1, +a=2, +a=3, +a=4, +a=5"]);
    assert_eq!(world.hub.stats().slow_watchers, 0);
}

#[test]
fn a_compaction_while_watchers_wait_for_a_large_revision_cancels_none_as_long_as_nothing_is_dropped() {
    let limits = WatchLimits { gathered_events: 3, steps_per_advance: 2, ..WatchLimits::default() };
    let mut world = World::with_limits(limits);
    world.history.keyspace = Some(Keyspace::empty());
    let streams: Vec<StreamId> = (0..20).map(|_| world.open()).collect();
    for stream in &streams {
        world.create(*stream, &watch_range("a", "b"));
        world.told(*stream);
    }
    let writes: Vec<_> = (0..10).map(|number| put(&format!("a{number}"), "1")).collect();
    world.write(&writes);
    world.advance();
    let waiting = streams.iter().filter(|stream| world.told_words(**stream).is_empty()).count();
    assert!(waiting > 10, "else the test tests nothing: {waiting}");
    // Up-to-date watchers with all the room there is, that have not been served for want of steps.
    world.write(&[put("a5", "2")]);
    world.write(&[put("a6", "2")]);
    world.history.compact(4);
    world.settle();
    for stream in streams {
        let told = world.told(stream);
        assert!(told.iter().all(|response| matches!(response.body, ResponseBody::Events { .. })), "{told:?}");
        let last = told.last().map_or(0, |response| response.revision);
        assert_eq!(last, 4, "{told:?}");
    }
}

#[test]
fn half_of_a_large_revision_is_never_told_if_a_compaction_drops_the_rest() {
    let limits = WatchLimits { gathered_events: 3, steps_per_advance: 2, ..WatchLimits::default() };
    let mut world = World::with_limits(limits);
    let stream = world.open();
    for _ in 0..20 {
        world.create(stream, &watch_range("a", "b"));
    }
    world.told(stream);
    let writes: Vec<_> = (0..10).map(|number| put(&format!("a{number}"), "1")).collect();
    world.write(&writes);
    world.advance();
    world.write(&[put("a5", "2")]);
    let whole = world.history.kept.clone();
    world.history.compact(3);
    // Dropping takes its time: of the large revision, all but what was overwritten is still there.
    world.history.kept[..10].clone_from_slice(&whole[..10]);
    world.history.kept[5] = None;
    world.settle();
    let told = world.told(stream);
    let cancelled = told.iter().filter(|response| matches!(response.body, ResponseBody::Compacted { .. })).count();
    assert!(cancelled > 0, "nobody was still to be served: the test tests nothing");
    for response in told {
        if let ResponseBody::Events { events, .. } = response.body {
            assert!(events.len() == 10 || events.len() == 1, "{} events", events.len());
        }
    }
}

#[test]
fn bodies_stand_for_combinations_of_etcds_fields() {
    let mut world = World::with_limits(WatchLimits { fragment_bytes: 1, ..WatchLimits::default() });
    let stream = world.open();
    world.create(stream, &CreateWatch { fragment: true, ..watch_range("a", "b") });
    world.create(stream, &watch_range("b", "a"));
    world.write(&[put("a1", ""), put("a2", "")]);
    world.settle();
    world.write(&[put("b", "")]);
    world.history.compact(3);
    world.create(stream, &from_revision(2, watch_key("a")));
    world.cancel(stream, 0);
    let told = world.told(stream);
    let fields: Vec<_> = told
        .iter()
        .map(|response| {
            let counts = (response.compact_revision(), response.events().len());
            (response.created(), response.canceled(), response.cancel_reason(), response.fragment(), counts)
        })
        .collect();
    let expected = [
        (true, false, "", false, (0, 0)),
        (true, true, "mvcc: watcher range is empty", false, (0, 0)),
        (false, false, "", true, (0, 1)),
        (false, false, "", false, (0, 1)),
        (true, false, "", false, (0, 0)),
        (false, true, "", false, (3, 0)),
        (false, true, "", false, (0, 0)),
    ];
    assert_eq!(fields, expected);
}
