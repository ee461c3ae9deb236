//! Where the paper is wrong or silent: the runs that break it, on ours. The two that need a flawed twin to be seen are in
//! `src/twin`.

use crate::cluster::*;
use quorate_types::NodeId;
use quorate_viewstamped::Timer;

/// R2 installs SV(1, [a,b]), then takes c, which is committed with it; a repeated SV(1, [a,b]) must not cut c off.
#[test]
fn erratum_a_repeated_start_view_cuts_nothing_off() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    cluster.propose(1, "b");
    cluster.run();
    cluster.expire(2, Timer::Primary);
    cluster.bed.run(ENOUGH, |flight| flight.to == NodeId(2) || flight.message.kind() == "start-view-change");
    let began = cluster.message("start-view", 2, 3);
    cluster.run_only(&[2, 3]);
    cluster.propose(2, "c");
    cluster.run_only(&[2, 3]);
    assert_eq!(cluster.chosen(), "abc");
    cluster.say(2, 3, began);
    assert_eq!((cluster.log(3), cluster.node(3).is_normal()), ("abc".into(), true));
    cluster.crash(2);
    cluster.change_view(3, &[1, 3]);
    assert!(cluster.node(3).is_primary());
    assert_eq!((cluster.log(3), cluster.commit(3)), ("abc".into(), 3));
    cluster.assert_sound();
}

/// R2 offers its log for view 1 before view 1 is durable, crashes, and acknowledges X in view 0: X would be lost.
#[test]
fn erratum_an_offer_never_leaves_before_its_view_is_durable() {
    let mut cluster = Cluster::of(3);
    cluster.expire(2, Timer::Primary);
    cluster.complete(2);
    cluster.deliver("start-view-change", 2, 3);
    assert!(cluster.bed.flights().iter().all(|flight| flight.from != NodeId(3)), "nothing is said in view 1 yet");
    cluster.crash(3);
    cluster.restart(3);
    assert_eq!(cluster.views(3), (0, 0));
    cluster.lose_all();
    cluster.propose(1, "x");
    cluster.run_only(&[1, 3]);
    assert_eq!(cluster.chosen(), "x");
    cluster.expire(2, Timer::Resend);
    cluster.run_only(&[2, 3]);
    assert_eq!((cluster.node(2).is_primary(), cluster.log(2)), (true, "x".into()));
    cluster.assert_sound();
}

/// R0 sends X as slot 1, which R1 and R2 log, and crashes with it unwritten. Were it to go on in view 0 with Y as slot 1, R1's
/// acknowledgement of X would commit Y.
#[test]
fn erratum_an_acknowledgement_for_a_primary_that_forgot_commits_nothing_else() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "x");
    for backup in [2, 3] {
        cluster.deliver("prepare", 1, backup);
        cluster.complete(backup);
    }
    let late = cluster.message("prepare-ok", 2, 1);
    cluster.crash(1);
    cluster.restart(1);
    cluster.propose(1, "y");
    cluster.say(2, 1, late);
    cluster.complete(1);
    assert_eq!((cluster.log(1), cluster.commit(1)), (String::new(), 0));
    cluster.run();
    assert_eq!((cluster.chosen(), cluster.log(1)), ("x".into(), "x".into()));
    cluster.assert_sound();
}

/// With f = 1 other, four voters would have two quorums of two that do not meet.
#[test]
fn erratum_even_groups_need_floor_of_half_others() {
    let mut cluster = Cluster::of(4);
    cluster.propose(1, "x");
    cluster.run_only(&[1, 2]);
    assert_eq!(cluster.commit(1), 0, "two of four commit nothing");
    cluster.change_view(3, &[3, 4]);
    assert!(!cluster.node(3).is_normal() && !cluster.node(4).is_normal(), "two of four begin no view");
    cluster.expire(1, Timer::Heartbeat);
    cluster.run_only(&[1, 2]);
    assert_eq!(cluster.chosen(), "");
    cluster.assert_sound();
}

/// GetState(v, op) between views would append behind a tail that the view does not have.
#[test]
fn erratum_between_views_state_is_asked_from_the_commit_mark_and_not_from_the_end() {
    let mut cluster = Cluster::of(3);
    cluster.say(1, 3, prepare(0, 1, "abc", 1));
    cluster.complete(3);
    cluster.lose_all();
    cluster.say(2, 3, prepare(1, 4, "z", 1));
    cluster.complete(3);
    let quorate_viewstamped::Message::GetState { have, .. } = cluster.message("get-state", 3, 2) else {
        panic!("another message")
    };
    assert_eq!((have.0, cluster.log(3)), (1, "abc".into()));
}

/// A normal replica that fell back on a start-view-change of its own view could offer for a view that it acknowledged in.
#[test]
fn erratum_a_start_view_change_of_the_present_view_moves_no_normal_replica() {
    let mut cluster = Cluster::of(3);
    cluster.change_view(2, &[2, 3]);
    cluster.say(1, 3, start_view_change(1));
    cluster.complete(3);
    assert!(cluster.node(3).is_normal());
    assert!(!cluster.sent(3, 2).contains(&"do-view-change"));
}

/// An offer carries the last *normal* view: by the view it is for, all offers would be alike and the longest log win.
#[test]
fn erratum_an_offer_names_the_last_normal_view_and_not_the_present_one() {
    let mut cluster = Cluster::of(3);
    cluster.say(1, 3, start_view_change(4));
    cluster.say(2, 3, start_view_change(4));
    cluster.complete(3);
    let quorate_viewstamped::Message::DoViewChange { view: of, last_normal, .. } =
        cluster.message("do-view-change", 3, 2)
    else {
        panic!("another message")
    };
    assert_eq!((of, last_normal), (view(4), view(0)));
}
