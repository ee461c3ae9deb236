//! Recovery. Rules 12 to 14 of the paper (a nonce, no disks) lose what was committed; `src/twin` shows it. Here a restart
//! reads the disk, and a replica that lost it comes back as a new member.

use crate::cluster::*;
use quorate_types::{NodeId, Slot};
use quorate_viewstamped::{Message, Record};

#[test]
fn rule_12_a_restart_asks_nobody_who_it_was() {
    let mut cluster = Cluster::of(3);
    cluster.propose(1, "a");
    cluster.run();
    cluster.crash(3);
    cluster.restart(3);
    assert!(cluster.bed.flights().iter().all(|flight| flight.from != NodeId(3)));
    assert_eq!((cluster.log(3), cluster.views(3), cluster.node(3).is_normal()), ("a".into(), (0, 0), true));
}

#[test]
fn rule_13_only_normal_replicas_give_the_log_of_their_view() {
    let mut cluster = Cluster::of(3);
    let asks = Message::GetState { view: view(1), have: Slot::ZERO, joins: false };
    cluster.say(3, 2, start_view_change(1));
    cluster.complete(2);
    cluster.lose_all();
    cluster.say(3, 2, asks.clone());
    assert!(!cluster.sent(2, 3).contains(&"new-state"), "it is between views");
    cluster.say(3, 2, offer(1, 0, "", 0));
    cluster.complete(2);
    assert!(cluster.node(2).is_primary());
    cluster.say(3, 2, asks);
    cluster.complete(2);
    assert!(cluster.sent(2, 3).contains(&"new-state"));
}

#[test]
fn rule_14_what_was_adopted_is_durable_before_anything_is_acknowledged() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 3, prepare(1, 2, "", 0));
    cluster.complete(3);
    cluster.lose_all();
    cluster.say(2, 3, new_state(1, 1, "a", 1));
    assert!(cluster.node(3).is_normal());
    assert_eq!(cluster.sent(3, 2), Vec::<&str>::new());
    cluster.crash(3);
    cluster.restart(3);
    assert_eq!((cluster.views(3), cluster.node(3).is_normal(), cluster.log(3)), ((1, 0), false, String::new()));
    cluster.assert_sound();
}

#[test]
fn a_restarted_replica_that_had_left_its_view_stays_between_views() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 3, start_view_change(4));
    cluster.complete(3);
    cluster.crash(3);
    cluster.restart(3);
    assert_eq!((cluster.views(3), cluster.node(3).is_normal()), ((4, 0), false));
}

#[test]
fn a_restarted_primary_never_resumes_its_view() {
    let mut cluster = Cluster::of(3);
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!((cluster.views(1), cluster.node(1).is_normal()), ((1, 0), false));
    cluster.complete(1);
    assert_eq!(cluster.last_record(1), Record::Changing { view: view(1) });
    cluster.run();
    assert!(cluster.node(2).is_primary());
}
