//! State transfer: VRR §4.3, mended.

use crate::cluster::*;
use quorate_protocol::{Env, Input, Outbox, Output, Replica, Verdict};
use quorate_types::{NodeId, Slot, Ticket, Time};
use quorate_viewstamped::{Message, Record, Timer};

#[test]
fn rule_10_what_is_missing_in_ones_own_view_is_appended_behind_the_end() {
    let mut cluster = Cluster::of(3);
    cluster.say(1, 3, prepare(0, 1, "a", 0));
    cluster.say(1, 3, prepare(0, 4, "d", 0));
    cluster.complete(3);
    assert_eq!(cluster.log(3), "a");
    // It repeats what is here and brings two more.
    cluster.say(2, 3, new_state(0, 0, "abc", 3));
    assert_eq!(cluster.log(3), "abc");
    cluster.complete(3);
    assert_eq!(cluster.last_record(3), Record::Append { first: Slot(2), entries: entries("bc") });
    // Once more, and an older one: nothing new.
    cluster.say(2, 3, new_state(0, 0, "abc", 3));
    cluster.say(2, 3, new_state(0, 0, "ab", 2));
    assert_eq!(cluster.log(3), "abc");
    cluster.assert_sound();
}

#[test]
fn rule_10_state_of_another_view_or_status_than_it_was_asked_in_means_nothing() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 3, new_state(1, 0, "abc", 3));
    assert_eq!((cluster.log(3), cluster.views(3)), (String::new(), (0, 0)));
    cluster.expire(3, Timer::Primary);
    cluster.say(2, 3, new_state(1, 1, "abc", 3));
    assert_eq!((cluster.log(3), cluster.node(3).is_normal()), (String::new(), false), "it asked for nothing");
    assert!(cluster.saw(3, "viewstamped.stale", Verdict::Refused));
}

/// Node 3 has "ab" of view 0, of which it knows nothing committed; view 1 began without it.
fn left_behind() -> Cluster {
    let mut cluster = Cluster::of(3);
    cluster.say(1, 3, prepare(0, 1, "ab", 0));
    cluster.complete(3);
    cluster.lose_all();
    cluster.say(2, 3, prepare(1, 4, "d", 2));
    cluster
}

#[test]
fn rule_11_who_learns_of_a_later_view_leaves_its_log_alone_and_asks_from_its_commit_mark_on() {
    let mut cluster = left_behind();
    assert_eq!((cluster.log(3), cluster.views(3), cluster.commit(3)), ("ab".into(), (1, 0), 0));
    let asks = Message::GetState { view: view(1), have: Slot::ZERO, joins: false };
    assert_eq!(cluster.message("get-state", 3, 2), asks);
    cluster.complete(3);
    assert_eq!(cluster.last_record(3), Record::Changing { view: view(1) });
}

#[test]
fn rule_11_the_same_where_the_view_is_ones_own_and_its_beginning_was_lost() {
    let mut cluster = Cluster::of(3);
    cluster.expire(3, Timer::Primary);
    cluster.say(2, 3, prepare(1, 4, "d", 2));
    assert_eq!((cluster.log(3), cluster.node(3).is_normal()), (String::new(), false));
    cluster.complete(3);
    assert!(cluster.sent(3, 2).contains(&"get-state"));
}

#[test]
fn rule_11_only_a_full_replacement_is_installed_and_in_one_write() {
    let mut cluster = left_behind();
    cluster.say(2, 3, new_state(1, 1, "xy", 3));
    assert_eq!((cluster.log(3), cluster.views(3)), ("ab".into(), (1, 0)), "a part of three is not taken");
    cluster.say(2, 3, new_state(1, 1, "xyz", 3));
    assert_eq!((cluster.log(3), cluster.views(3)), ("xyz".into(), (1, 1)));
    cluster.complete(3);
    let entered = Record::Entered { view: view(1), first: Slot(1), entries: entries("xyz") };
    assert_eq!(cluster.last_record(3), entered);
    assert!(cluster.sent(3, 2).contains(&"prepare-ok"));
    cluster.say(2, 3, new_state(1, 1, "q", 1));
    assert_eq!(cluster.log(3), "xyz", "a stale one is ignored");
    cluster.assert_sound();
}

#[test]
fn rule_11_the_view_change_goes_on_when_nobody_answers() {
    let mut cluster = left_behind();
    cluster.complete(3);
    cluster.lose_all();
    cluster.expire(3, Timer::Resend);
    assert_eq!((cluster.sent(3, 1), cluster.sent(3, 2)), (vec!["get-state"], vec![]), "another one is asked");
    cluster.expire(3, Timer::Patience);
    assert_eq!((cluster.views(3), cluster.log(3)), ((2, 0), "ab".into()));
}

/// Neither time nor chance.
struct Still;

impl Env for Still {
    fn now(&self) -> Time {
        Time::ZERO
    }
    fn choose(&mut self, _: u64) -> u64 {
        0
    }
}

#[test]
fn rule_11_who_lags_behind_does_not_end_a_view_whose_primary_lives() {
    let cluster = left_behind();
    let timers_set_by = |from: u64, number: u64| {
        let mut replica = cluster.node(3).clone();
        let mut out = Outbox::new(Ticket(100), false);
        let message = prepare(number, 5, "", 2);
        replica.step(&mut Still, Input::Receive { from: NodeId(from), message }, &mut out);
        let timers = out.take().into_iter().filter_map(|output| match output {
            Output::SetTimer { timer, .. } => Some(timer),
            _ => None,
        });
        timers.collect::<Vec<_>>()
    };
    // A snapshot may take it longer than its patience.
    assert_eq!(timers_set_by(2, 1), [Timer::Patience]);
    assert_eq!(timers_set_by(1, 0), [], "the primary of a view that is over proves nothing");
}
