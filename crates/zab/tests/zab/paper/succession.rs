//! Members change by stop-sign.

use crate::cluster::*;
use quorate_protocol::{Durable, Outbox, Refusal, Replica, Setup, Start};
use quorate_types::{ClusterId, DiskId, Incarnation, Member, MemberRole, Membership, NodeId, Slot, Ticket};
use quorate_zab::{Broadcast, Timer, Zab, Zxid};

fn keeping_up() -> Cluster {
    let mut cluster = Cluster::led(3);
    cluster.expire(3, Timer::Tick);
    cluster.run();
    cluster
}

#[test]
fn who_joins_gets_a_snapshot_catches_up_and_is_made_a_voter() {
    let mut cluster = keeping_up();
    cluster.propose(3, "a");
    cluster.run();
    cluster.bed.join(NodeId(4));
    cluster.bed.reconfigure(NodeId(3), 2, three_and(4, MemberRole::Joining));
    cluster.run();
    cluster.go_on(4);
    assert_eq!(cluster.whole(4).configuration(), 2);
    assert_eq!(cluster.decided(4), ["a", "stop: n1 n2 n3 n4"]);
    cluster.propose(3, "b");
    cluster.go_on(2);
    cluster.expire(3, Timer::Succession);
    cluster.go_on(4);
    assert_eq!(cluster.whole(4).configuration(), 3);
    assert!(cluster.whole(4).members().is_voter(NodeId(4)), "it keeps up, so it votes");
    let leader = (1..=4).find(|id| cluster.node(*id).is_established()).expect("somebody leads");
    cluster.propose(leader, "c");
    cluster.run();
    assert_eq!(cluster.decided(4).last().map(String::as_str), Some("c"));
    cluster.holds();
}

/// It knows no configuration, so it has nothing inside that would ask again, and leaders speak to nobody who did not speak first.
#[test]
fn who_joins_is_told_until_it_knows_though_its_first_request_is_lost() {
    let mut cluster = keeping_up();
    cluster.bed.join(NodeId(4));
    cluster.bed.reconfigure(NodeId(3), 2, three_and(4, MemberRole::Learner));
    for _ in 0..4 {
        cluster.bed.run(10_000, |flight| flight.from != NodeId(4));
        cluster.lose_all();
        for (id, timer) in
            [1, 2, 3].into_iter().flat_map(|id| [Timer::Notify, Timer::Finalize, Timer::Tick].map(|timer| (id, timer)))
        {
            cluster.bed.expire(NodeId(id), timer);
        }
    }
    cluster.go_on(4);
    let leader = (1..=3).find(|id| cluster.node(*id).is_established()).expect("somebody leads");
    assert_eq!(cluster.whole(4).configuration(), 0, "what it asked for was lost");
    cluster.expire(leader, Timer::Succession);
    cluster.run();
    assert_eq!(cluster.whole(4).configuration(), 2);
    cluster.holds();
}

#[test]
fn epochs_and_zxids_begin_anew_and_slots_go_on() {
    let mut cluster = keeping_up();
    cluster.propose(3, "a");
    cluster.run();
    cluster.expire(3, Timer::Tick);
    cluster.run();
    cluster.bed.reconfigure(NodeId(3), 2, three_and(4, MemberRole::Learner));
    cluster.run();
    let base = cluster.node(3).log().base();
    assert_eq!((base.slot, base.zxid), (Slot(2), Zxid::ZERO));
    cluster.go_on(3);
    cluster.propose(3, "b");
    cluster.run();
    assert_eq!(cluster.node(1).log().last(), mark(3, 1, 1));
    assert_eq!(cluster.decided(1), ["a", "stop: n1 n2 n3 n4", "b"]);
    cluster.holds();
}

#[test]
fn nothing_is_proposed_above_a_stop_sign_and_no_read_is_served() {
    let mut cluster = keeping_up();
    cluster.bed.reconfigure(NodeId(3), 2, three_and(4, MemberRole::Learner));
    cluster.propose(3, "late");
    cluster.read(3, 1);
    assert_eq!(cluster.node(3).log().last().slot, Slot(1));
    assert_eq!(cluster.bed.node(NodeId(3)).refusals().len(), 2);
    assert!(cluster.bed.node(NodeId(3)).reads().is_empty());
}

/// The stop-sign reached one follower; that leads next, inherits it, and closes the configuration with it.
#[test]
fn a_stop_sign_that_a_successor_finds_is_decided_by_it() {
    let mut cluster = keeping_up();
    cluster.bed.reconfigure(NodeId(3), 2, three_and(4, MemberRole::Learner));
    cluster.deliver("proposal", 3, 1);
    cluster.bed.crash(NodeId(3), 0);
    cluster.lose_all();
    cluster.elect(1, &[2]);
    cluster.run_among(&[1, 2]);
    assert_eq!((cluster.whole(1).configuration(), cluster.whole(2).configuration()), (2, 2));
    assert_eq!(cluster.decided(2), ["stop: n1 n2 n3 n4"]);
    cluster.holds();
}

#[test]
fn a_stop_sign_that_no_successor_finds_changes_nothing() {
    let mut cluster = keeping_up();
    cluster.bed.reconfigure(NodeId(3), 2, three_and(4, MemberRole::Learner));
    cluster.complete(3);
    cluster.bed.crash(NodeId(3), 0);
    cluster.lose_all();
    cluster.establish(2, &[1]);
    cluster.propose(2, "a");
    cluster.run_among(&[1, 2]);
    cluster.bed.restart(NodeId(3));
    cluster.lose_all();
    cluster.join(3, 2, &[1]);
    cluster.run();
    assert_eq!((cluster.decided(3), cluster.whole(3).configuration()), (vec!["a".to_owned()], 1));
    cluster.holds();
}

#[test]
fn a_follower_that_lacks_only_the_news_needs_no_snapshot() {
    let mut cluster = keeping_up();
    cluster.bed.reconfigure(NodeId(3), 2, three_and(4, MemberRole::Learner));
    cluster.complete(3);
    cluster.deliver("proposal", 3, 2);
    cluster.deliver("ack", 2, 3);
    assert_eq!((cluster.whole(3).configuration(), cluster.whole(2).configuration()), (2, 1));
    cluster.deliver("closed", 3, 2);
    assert_eq!(cluster.whole(2).configuration(), 2);
    assert!(!cluster.told(2, "succession.jump", quorate_protocol::Verdict::Allowed));
    cluster.holds();
}

#[test]
fn a_wish_whose_voters_mostly_lack_the_log_is_refused() {
    let mut cluster = keeping_up();
    let wish = Membership::new([3, 7, 8].map(|id| Member::voter(NodeId(id))));
    cluster.bed.reconfigure(NodeId(3), 2, wish);
    let refusals = cluster.bed.node(NodeId(3)).refusals();
    assert!(matches!(refusals.last(), Some((_, Refusal::NotReady(_)))), "{refusals:?}");
}

#[test]
fn leadership_cannot_be_handed_to_somebody_named() {
    let mut cluster = keeping_up();
    let request = quorate_protocol::RequestId(9);
    cluster.bed.input(NodeId(3), quorate_protocol::Input::Transfer { request, to: NodeId(1) });
    let refusals = cluster.bed.node(NodeId(3)).refusals();
    assert!(matches!(refusals.last(), Some((_, Refusal::Unsupported(_)))), "{refusals:?}");
}

/// A cluster that begins with a state it was given: the journal says so before the first start.
#[test]
fn a_cluster_begins_behind_a_state_it_was_given() {
    let members = Membership::of_voters(1);
    let (records, anchor) = quorate_succession::founded_behind::<Broadcast>(&members, Slot(7), 3);
    let setup = Setup {
        cluster: ClusterId(9),
        me: NodeId(1),
        disk: DiskId(1),
        incarnation: Incarnation(1),
        start: Start::Found(members),
    };
    let records: Vec<_> = records.into_iter().map(|record| (Ticket(1), record)).collect();
    let open = |applied: u64| {
        let found = Durable { records: records.clone(), anchor: Some(anchor.clone()), applied: Slot(applied) };
        Zab::open(&setup, &quorate_zab::Config::default(), found, &mut Outbox::new(Ticket(1), true))
    };
    let node = open(7).expect("the state is there");
    assert_eq!((node.configuration(), node.status().committed, node.status().era), (3, Slot(7), 3 << 32));
    assert!(open(6).is_err(), "the state is not the one that was given");
}
