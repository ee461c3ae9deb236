//! Changing the members: VRR §7.

use crate::cluster::*;
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Refusal, Verdict};
use quorate_types::{NodeId, Slot};
use quorate_viewstamped::{Anchor, Config, Message, Record, Timer, View};

const SECOND: View = View { epoch: 2, number: 0 };

/// Node 1 of three leads; 4 and 5 run and know nobody.
fn with_newcomers(config: Config) -> Cluster {
    let mut cluster = Cluster::with(3, config);
    cluster.bed.join(NodeId(4));
    cluster.bed.join(NodeId(5));
    cluster
}

fn retired(cluster: &Cluster, id: u64) -> bool {
    cluster.bed.node(NodeId(id)).retired().is_some()
}

#[test]
fn rule_15_a_reconfiguration_is_the_last_entry_of_its_epoch() {
    let mut cluster = with_newcomers(Config::default());
    cluster.propose(1, "a");
    cluster.reconfigure(1, &[1, 2, 3, 4]);
    cluster.propose(1, "b");
    assert_eq!((cluster.log(1), cluster.refused(1)), ("a|".into(), vec![Refusal::NotReady("the epoch is ending")]));
    cluster.run();
    assert_eq!((cluster.chosen(), cluster.node(1).view()), ("a|".into(), SECOND));
    cluster.propose(1, "b");
    cluster.run();
    assert_eq!((cluster.chosen(), cluster.log(4)), ("a|b".into(), "a|b".into()));
    cluster.assert_sound();
}

#[test]
fn rule_15_a_later_primary_that_finds_it_uncommitted_takes_no_requests_either() {
    let mut cluster = Cluster::of(3);
    cluster.reconfigure(1, &[1, 2]);
    cluster.deliver("prepare", 1, 2);
    cluster.lose_all();
    cluster.crash(1);
    cluster.expire(2, Timer::Primary);
    cluster.bed.run(ENOUGH, |flight| flight.message.kind() != "start-view" && flight.message.kind() != "prepare-ok");
    assert_eq!((cluster.node(2).is_primary(), cluster.log(2), cluster.commit(2)), (true, "|".into(), 0));
    cluster.propose(2, "b");
    assert_eq!(cluster.refused(2), [Refusal::NotReady("the epoch is ending")]);
    cluster.run();
    assert_eq!((cluster.chosen(), cluster.node(2).view().epoch), ("|".into(), 2));
    cluster.assert_sound();
}

#[test]
fn rule_16_a_new_member_says_nothing_of_the_epoch_before_it_has_it_durably() {
    let mut cluster = with_newcomers(Config::default());
    cluster.propose(1, "a");
    cluster.reconfigure(1, &[1, 2, 3, 4]);
    cluster.bed.run(ENOUGH, |flight| flight.to != NodeId(4));
    assert!(cluster.sent(1, 4).contains(&"commit"));
    cluster.deliver("commit", 1, 4);
    let asks = Message::GetState { view: SECOND, have: Slot::ZERO, joins: true };
    assert_eq!(cluster.message("get-state", 4, 1), asks);
    cluster.deliver("get-state", 4, 1);
    cluster.deliver("new-state", 1, 4);
    assert_eq!((cluster.log(4), cluster.node(4).view()), ("a|".into(), SECOND));
    assert_eq!(cluster.sent(4, 1), Vec::<&str>::new());
    cluster.complete(4);
    assert_eq!(cluster.sent(4, 1), ["prepare-ok"]);
    cluster.assert_sound();
}

#[test]
fn rule_16_old_members_that_leave_give_what_they_have_too() {
    let mut cluster = with_newcomers(Config::default());
    cluster.propose(1, "a");
    cluster.reconfigure(1, &[1, 4, 5]);
    cluster.run_only(&[1, 2]);
    // Node 1 is gone for good before any new member heard of the epoch; 2 knows how the old one ended.
    cluster.crash(1);
    assert_eq!(cluster.node(2).view(), SECOND);
    cluster.expire(2, Timer::Resend);
    cluster.run_only(&[2, 4, 5]);
    assert_eq!((cluster.log(4), cluster.log(5)), ("a|".into(), "a|".into()));
    cluster.expire(4, Timer::Primary);
    cluster.run_only(&[2, 4, 5]);
    assert!(cluster.node(4).is_primary());
    cluster.assert_sound();
}

#[test]
fn rule_17_a_leaver_stays_until_a_quorum_of_the_new_members_has_begun() {
    let mut cluster = with_newcomers(Config::default());
    cluster.propose(1, "a");
    cluster.reconfigure(1, &[1, 4, 5]);
    cluster.run_only(&[1, 2, 3]);
    for _ in 0..50 {
        cluster.expire(2, Timer::Resend);
        cluster.run_only(&[1, 2]);
    }
    assert!(!retired(&cluster, 2), "only node 1 has the epoch");
    for _ in 0..50 {
        if cluster.bed.node(NodeId(2)).retired().is_none() {
            cluster.expire(2, Timer::Resend);
        }
        cluster.run_only(&[1, 2, 4]);
    }
    assert!(retired(&cluster, 2));
    assert_eq!(cluster.log(4), "a|");
    cluster.assert_sound();
}

/// Found in review: it went as soon as anybody said that its epoch is over, though nobody else might have had its log.
#[test]
fn rule_17_who_is_left_behind_without_knowing_why_stays_until_a_quorum_has_begun() {
    let mut cluster = with_newcomers(Config { farewell_heartbeats: 5, ..Config::default() });
    cluster.propose(1, "a");
    cluster.reconfigure(1, &[1, 4, 5]);
    cluster.bed.run(ENOUGH, |flight| matches!(flight.message.kind(), "prepare" | "prepare-ok"));
    cluster.lose_all();
    assert_eq!((cluster.node(1).view(), cluster.node(2).view()), (SECOND, view(0)));
    let told = |begun| Message::StartEpoch { view: SECOND, configuration: configuration(2, &[1, 4, 5]), begun };
    for _ in 0..6 {
        cluster.expire(1, Timer::Heartbeat);
        assert_eq!(cluster.sent(1, 2), Vec::<&str>::new(), "it has nothing to tell 2 yet, however long that takes");
        cluster.lose_all();
    }
    cluster.say(2, 1, start_view_change(1));
    assert_eq!(cluster.message("start-epoch", 1, 2), told(false), "the answer to who asks");
    cluster.deliver("start-epoch", 1, 2);
    assert_eq!((cluster.node(2).view(), cluster.node(2).is_normal()), (view(0), true));
    // Once 4 has the log it is not needed any more.
    cluster.lose_all();
    cluster.expire(1, Timer::Heartbeat);
    cluster.run_only(&[1, 4]);
    cluster.expire(1, Timer::Heartbeat);
    assert_eq!(cluster.message("start-epoch", 1, 2), told(true));
    cluster.deliver("start-epoch", 1, 2);
    for _ in 0..5 {
        cluster.expire(2, Timer::Resend);
    }
    assert!(retired(&cluster, 2));
    cluster.assert_sound();
}

/// Found in review: 2 and 3 had heard that the epoch began at 1, asked each other for its log, and waited for ever.
#[test]
fn rule_16_when_whoever_began_the_epoch_is_gone_the_old_members_end_theirs_once_more() {
    let mut cluster = with_newcomers(Config::default());
    cluster.propose(1, "a");
    cluster.reconfigure(1, &[1, 2, 3, 4]);
    cluster.bed.run(ENOUGH, |flight| matches!(flight.message.kind(), "prepare" | "prepare-ok"));
    cluster.lose_all();
    cluster.expire(1, Timer::Heartbeat);
    for id in [2, 3] {
        cluster.deliver("commit", 1, id);
        assert!(!cluster.node(id).is_normal(), "it asks for the log of epoch 2");
    }
    cluster.crash(1);
    for id in [2, 3, 2, 3] {
        cluster.expire(id, Timer::Patience);
        cluster.run_only(&[2, 3, 4]);
        if cluster.node(id).view().epoch == 2 {
            break;
        }
    }
    assert_eq!((cluster.node(2).view().epoch, cluster.node(3).view().epoch), (2, 2));
    assert_eq!((cluster.log(2), cluster.chosen()), ("a|".into(), "a|".into()));
    cluster.assert_sound();
}

#[test]
fn rule_17_whoever_speaks_of_an_earlier_epoch_is_told_of_the_later_one() {
    let mut cluster = Cluster::of(3);
    cluster.reconfigure(1, &[1, 2]);
    cluster.run_only(&[1, 2]);
    cluster.say(3, 2, start_view_change(1));
    cluster.complete(2);
    assert_eq!(cluster.sent(2, 3), ["start-epoch"]);
    assert!(cluster.saw(2, "viewstamped.other-epoch", Verdict::Refused));
}

/// Found in review: a newcomer that was sent a snapshot from before its membership took itself for a leaver, and went.
#[test]
fn a_newcomer_takes_no_snapshot_in_which_it_is_no_member() {
    let mut cluster = with_newcomers(Config::default());
    let anchor = Anchor { slot: Slot(3), configuration: configuration(1, &[1, 2, 3]) };
    let id = quorate_protocol::SnapshotId(1);
    cluster.bed.input(NodeId(4), quorate_protocol::Input::SnapshotArrived { id, anchor });
    assert!(cluster.saw(4, "viewstamped.snapshot", Verdict::Refused));
    assert_eq!((cluster.node(4).view().epoch, cluster.bed.node(NodeId(4)).installing()), (0, None));
}

/// Found by a random walk: replayed from a journal whose front was dropped, such a record looked like the beginning of an epoch
/// and voided entries that had been acknowledged.
#[test]
fn a_snapshot_record_in_a_compacted_journal_leaves_what_is_behind_it() {
    use quorate_protocol::{Durable, Outbox, Replica, Setup, SnapshotId, Start};
    use quorate_types::{ClusterId, DiskId, Incarnation, Ticket};
    let founding = configuration(1, &[1, 2, 3]);
    let anchor = |slot| Anchor { slot: Slot(slot), configuration: founding.clone() };
    let records = vec![
        Record::Append { first: Slot(5), entries: entries("e") },
        Record::Snapshot { id: SnapshotId(1), anchor: anchor(3), begins_epoch: false },
        Record::Anchor(anchor(4)),
        Record::Entered { view: view(2), first: Slot(6), entries: entries("") },
    ];
    let records = records.into_iter().enumerate().map(|(at, record)| (Ticket(at as u64 + 7), record)).collect();
    let setup = Setup {
        cluster: ClusterId(1),
        me: NodeId(2),
        disk: DiskId(2),
        incarnation: Incarnation(2),
        start: Start::Join,
    };
    let found = Durable { records, anchor: None, applied: Slot(4) };
    let mut out = Outbox::new(Ticket(10), false);
    let opened = quorate_viewstamped::Viewstamped::open(&setup, &Config::default(), found, &mut out);
    let opened = opened.expect("it is a state that a crash may leave");
    assert_eq!((opened.log().base(), opened.log().last(), opened.last_normal()), (Slot(4), Slot(5), view(2)));
}

#[test]
fn a_single_voter_can_be_joined_and_replaced() {
    let mut cluster = Cluster { bed: Testbed::new(1, Config::default()) };
    cluster.bed.join(NodeId(2));
    cluster.propose(1, "a");
    cluster.reconfigure(1, &[2]);
    cluster.run();
    cluster.expire(1, Timer::Resend);
    cluster.run();
    cluster.propose(2, "b");
    cluster.run();
    assert_eq!((cluster.chosen(), cluster.log(2)), ("a|b".into(), "a|b".into()));
    cluster.assert_sound();
}

/// Its first view begins by itself, where any other begins with a word of its primary: that one may be a newcomer that lacks the log.
#[test]
fn a_backup_of_an_epochs_first_view_names_its_primary_only_once_it_has_heard_of_it() {
    let mut cluster = with_newcomers(Config::default());
    let names = |cluster: &Cluster, id| cluster.bed.node(NodeId(id)).lead().map(|(era, who, _)| (era, who));
    assert_eq!(names(&cluster, 2), Some((view(0).era(), Some(NodeId(1)))), "founders know who leads first");
    cluster.propose(1, "a");
    cluster.reconfigure(1, &[1, 2, 3, 4]);
    cluster.bed.run(ENOUGH, |flight| matches!(flight.message.kind(), "prepare" | "prepare-ok"));
    let ended = Message::Prepare {
        view: view(0),
        first: Slot(3),
        entries: entries(""),
        commit: Slot(2),
        everyone_has: Slot::ZERO,
        round: 0,
    };
    cluster.lose_all();
    cluster.say(1, 2, ended);
    cluster.complete(2);
    assert_eq!((cluster.node(2).view(), cluster.node(2).is_normal()), (SECOND, true));
    assert_eq!(names(&cluster, 2), Some((SECOND.era(), None)));
    cluster.expire(1, Timer::Heartbeat);
    cluster.deliver("commit", 1, 2);
    assert_eq!(names(&cluster, 2), Some((SECOND.era(), Some(NodeId(1)))));
}

/// And one that nobody hears of is not waited for longer than any other primary.
#[test]
fn the_first_view_of_an_epoch_is_left_when_its_primary_says_nothing() {
    let mut cluster = with_newcomers(Config::default());
    cluster.propose(1, "a");
    cluster.reconfigure(1, &[1, 2, 3]);
    assert_eq!(cluster.log(1), "a|", "the same members, in another epoch");
    cluster.run_only(&[1, 2, 3]);
    assert_eq!(cluster.node(2).view(), SECOND);
    cluster.change_view(2, &[2, 3]);
    assert_eq!((cluster.node(2).view(), cluster.node(2).is_primary()), (SECOND.next(), true));
    cluster.assert_sound();
}
