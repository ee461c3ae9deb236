//! View changes: VRR §4.2.

use crate::cluster::*;
use quorate_protocol::{Env, Input, Outbox, Output, Replica, Verdict};
use quorate_types::{NodeId, Slot, Ticket, Time};
use quorate_viewstamped::{Config, Message, Record, Timer, Viewstamped};
use std::time::Duration;

#[test]
fn rule_5_who_hears_nothing_of_the_primary_leaves_its_view_durably_and_says_so_to_all() {
    let mut cluster = Cluster::of(3);
    cluster.expire(3, Timer::Primary);
    assert_eq!((cluster.views(3), cluster.node(3).is_normal()), ((1, 0), false));
    assert!(cluster.bed.flights().is_empty(), "view 1 is not durable");
    cluster.complete(3);
    assert_eq!(cluster.last_record(3), Record::Changing { view: view(1) });
    assert_eq!((cluster.sent(3, 1), cluster.sent(3, 2)), (vec!["start-view-change"], vec!["start-view-change"]));
    cluster.assert_sound();
}

#[test]
fn rule_5_a_higher_view_is_gone_to_whatever_message_names_it_and_a_lower_one_means_nothing() {
    for message in [start_view_change(4), offer(4, 0, "", 0)] {
        let mut cluster = Cluster::of(3);
        cluster.say(3, 2, message);
        assert_eq!((cluster.views(2), cluster.node(2).is_normal()), ((4, 0), false));
        cluster.say(3, 2, start_view_change(3));
        cluster.say(3, 2, offer(3, 0, "", 0));
        assert_eq!(cluster.views(2), (4, 0));
        assert!(cluster.saw(2, "viewstamped.stale", Verdict::Refused));
    }
}

#[test]
fn rule_5_a_normal_replica_does_not_leave_its_view_for_the_same_view() {
    let mut cluster = Cluster::of(3);
    cluster.change_view(2, &[2, 3]);
    assert!(cluster.node(3).is_normal() && cluster.node(2).is_primary());
    for id in [2, 3] {
        cluster.say(5 - id, id, start_view_change(1));
        assert!(cluster.node(id).is_normal());
    }
}

#[test]
fn rule_6_an_offer_waits_for_q_others_and_for_the_view_to_be_durable() {
    let mut cluster = Cluster::of(5);
    cluster.expire(3, Timer::Primary);
    cluster.complete(3);
    cluster.say(4, 3, start_view_change(1));
    assert_eq!(cluster.sent(3, 2), ["start-view-change"], "one other is not q of five");
    cluster.say(5, 3, start_view_change(1));
    assert_eq!(cluster.sent(3, 2), ["start-view-change", "do-view-change"]);
    // And with the write still under way:
    let mut cluster = Cluster::of(3);
    cluster.expire(3, Timer::Primary);
    cluster.say(1, 3, start_view_change(1));
    assert!(cluster.bed.flights().is_empty());
    cluster.complete(3);
    assert!(cluster.sent(3, 2).contains(&"do-view-change"));
    cluster.assert_sound();
}

#[test]
fn rule_6_offers_are_sent_again_on_the_timer_while_between_views() {
    let mut cluster = Cluster::of(3);
    cluster.expire(3, Timer::Primary);
    cluster.say(1, 3, start_view_change(1));
    cluster.complete(3);
    cluster.lose_all();
    cluster.expire(3, Timer::Resend);
    assert_eq!(cluster.sent(3, 2), ["start-view-change", "do-view-change"]);
}

#[test]
fn rule_6_the_new_primarys_own_offer_counts_only_once_its_view_is_durable() {
    let mut cluster = Cluster::of(3);
    cluster.say(3, 2, offer(1, 0, "a", 0));
    assert_eq!((cluster.views(2), cluster.node(2).is_primary()), ((1, 0), false));
    cluster.complete(2);
    assert!(cluster.node(2).is_primary());
}

#[test]
fn rule_7_the_log_of_the_latest_normal_view_wins_and_the_longest_of_it() {
    let mut cluster = Cluster::of(5);
    cluster.say(1, 3, offer(2, 1, "ax", 0));
    cluster.say(2, 3, offer(2, 0, "abc", 1));
    cluster.complete(3);
    assert_eq!((cluster.log(3), cluster.commit(3), cluster.views(3)), ("ax".into(), 1, (2, 2)));
    let mut cluster = Cluster::of(5);
    cluster.say(1, 3, offer(2, 1, "ax", 0));
    cluster.say(2, 3, offer(2, 1, "axy", 1));
    cluster.complete(3);
    assert_eq!((cluster.log(3), cluster.commit(3)), ("axy".into(), 1));
}

#[test]
fn rule_7_fewer_than_q_others_begin_nothing() {
    let mut cluster = Cluster::of(5);
    cluster.say(1, 3, offer(2, 1, "ax", 0));
    cluster.say(1, 3, offer(2, 1, "ax", 0));
    cluster.say(2, 3, start_view_change(2));
    cluster.complete(3);
    assert!(!cluster.node(3).is_primary());
    assert!(cluster.saw(3, "viewstamped.new-view", Verdict::Waiting));
}

#[test]
fn rule_7_the_view_is_announced_when_log_and_view_are_durable() {
    let mut cluster = Cluster::of(3);
    cluster.say(3, 2, offer(1, 0, "a", 0));
    cluster.complete(2);
    assert!(!cluster.sent(2, 3).contains(&"start-view"));
    cluster.complete(2);
    let entered = Record::Entered { view: view(1), first: Slot(1), entries: entries("a") };
    assert_eq!((cluster.last_record(2), cluster.message("start-view", 2, 3)), (entered, start_view(1, "a", 0)));
    cluster.assert_sound();
}

#[test]
fn rule_8_a_view_that_began_is_entered_from_any_earlier_one_and_acknowledged_when_durable() {
    let mut cluster = Cluster::of(3);
    cluster.say(1, 3, prepare(0, 1, "ab", 0));
    cluster.complete(3);
    cluster.lose_all();
    cluster.say(2, 3, start_view(1, "axy", 1));
    assert_eq!((cluster.log(3), cluster.views(3), cluster.commit(3)), ("axy".into(), (1, 1), 1));
    assert_eq!(cluster.sent(3, 2), Vec::<&str>::new());
    cluster.complete(3);
    let entered = Record::Entered { view: view(1), first: Slot(1), entries: entries("axy") };
    assert_eq!((cluster.last_record(3), cluster.decided(3)), (entered, 1));
    let through = Slot(3);
    let mut answers = cluster.bed.flights().iter().map(|flight| flight.message.clone());
    assert_eq!(answers.next_back(), Some(Message::PrepareOk { view: view(1), through, round: 0 }));
}

#[test]
fn rule_8_between_views_the_same_view_is_entered_and_one_that_is_not_its_primarys_is_not() {
    let mut cluster = Cluster::of(3);
    cluster.expire(3, Timer::Primary);
    cluster.say(1, 3, start_view(1, "a", 0));
    assert!(!cluster.node(3).is_normal(), "node 1 does not lead view 1");
    cluster.say(2, 3, start_view(1, "a", 0));
    assert_eq!((cluster.node(3).is_normal(), cluster.log(3)), (true, "a".into()));
}

#[test]
fn rule_9_a_view_that_does_not_begin_is_given_up_for_the_next() {
    let mut cluster = Cluster::of(3);
    cluster.expire(3, Timer::Primary);
    cluster.say(1, 3, start_view_change(1));
    cluster.expire(3, Timer::Patience);
    assert_eq!(cluster.views(3), (2, 0));
}

#[test]
fn rule_9_who_is_alone_with_its_wish_repeats_it_and_counts_no_views_up() {
    let mut cluster = Cluster::of(3);
    cluster.expire(3, Timer::Primary);
    for _ in 0..5 {
        cluster.expire(3, Timer::Patience);
    }
    assert_eq!(cluster.views(3), (1, 0));
}

#[test]
fn rule_9_who_moved_on_answers_no_prepare_of_a_lower_view_restarts_included() {
    let mut cluster = Cluster::of(3);
    cluster.expire(3, Timer::Primary);
    cluster.complete(3);
    cluster.lose_all();
    for _ in 0..2 {
        cluster.say(1, 3, prepare(0, 1, "a", 0));
        cluster.complete(3);
        assert_eq!((cluster.log(3), cluster.sent(3, 1).contains(&"prepare-ok")), (String::new(), false));
        cluster.crash(3);
        cluster.restart(3);
        assert_eq!((cluster.views(3), cluster.node(3).is_normal()), ((1, 0), false));
    }
    cluster.assert_sound();
    assert_eq!(cluster.bed.node(NodeId(3)).decided().len(), 0);
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

/// How long the replica will wait for a view to begin, if this input says.
fn patience(replica: &mut Viewstamped, input: Input<Viewstamped>) -> Option<(Duration, Duration)> {
    let mut out = Outbox::new(Ticket(1_000), false);
    replica.step(&mut Still, input, &mut out);
    let waits = out.take().into_iter().filter_map(|output| match output {
        Output::SetTimer { timer: Timer::Patience, at_least, at_most } => Some((at_least, at_most)),
        _ => None,
    });
    waits.last()
}

/// In times of T, how long node 3 of so many voters waits for each of the views it gives up, one after the other.
fn patiences(voters: u64, views: u64) -> Vec<u32> {
    let mut replica = Cluster::of(voters).node(3).clone();
    let timeout = Config::default().view_timeout;
    let mut waits = vec![patience(&mut replica, Input::Expired(Timer::Primary))];
    for number in 1..views {
        for other in (1..=voters).filter(|id| *id != 3) {
            let message = start_view_change(number);
            patience(&mut replica, Input::Receive { from: NodeId(other), message });
        }
        waits.push(patience(&mut replica, Input::Expired(Timer::Patience)));
    }
    assert_eq!(replica.view().number, views);
    let in_timeouts = |wait: Option<(Duration, Duration)>| {
        let (at_least, at_most) = wait.expect("it waits for every view");
        assert_eq!(at_most, at_least * 2, "not all at once");
        u32::try_from(at_least.as_nanos() / timeout.as_nanos()).expect("a handful")
    };
    waits.into_iter().map(in_timeouts).collect()
}

#[test]
fn rule_9_patience_grows_with_every_turn_of_all_voters_that_was_in_vain_up_to_three_times() {
    assert_eq!(patiences(3, 12), [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 3]);
    assert_eq!(patiences(5, 16), [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]);
}

#[test]
fn rule_9_patience_is_short_again_once_a_view_began() {
    let mut replica = Cluster::of(3).node(3).clone();
    patience(&mut replica, Input::Expired(Timer::Primary));
    for number in 1..8 {
        let message = start_view_change(number);
        patience(&mut replica, Input::Receive { from: NodeId(1), message });
        patience(&mut replica, Input::Expired(Timer::Patience));
    }
    let message = start_view(10, "", 0);
    patience(&mut replica, Input::Receive { from: NodeId(2), message });
    assert!(replica.is_normal());
    let timeout = Config::default().view_timeout;
    assert_eq!(patience(&mut replica, Input::Expired(Timer::Primary)), Some((timeout, timeout * 2)));
}

/// Only then can its primary begin it: the wait for that begins when q others go there.
#[test]
fn rule_9_a_view_has_all_of_its_time_from_when_enough_go_there() {
    let mut replica = Cluster::of(5).node(3).clone();
    patience(&mut replica, Input::Expired(Timer::Primary));
    let mut hears = |from| {
        let message = start_view_change(1);
        patience(&mut replica, Input::Receive { from: NodeId(from), message }).is_some()
    };
    assert_eq!([hears(4), hears(4), hears(5), hears(1)], [false, false, true, false]);
}
