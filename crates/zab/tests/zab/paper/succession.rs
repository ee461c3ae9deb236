//! Members change by stop-sign.

use crate::cluster::*;
use quorate_protocol::{Decision, Durable, Inspectable, Outbox, Refusal, Replica, Setup, Start, Stateless, StoredLog};
use quorate_succession::{Anchor, Heir, Record, Way};
use quorate_types::{ClusterId, DiskId, Incarnation, Member, MemberRole, Membership, NodeId, Slot, Ticket};
use quorate_zab::{Broadcast, Config, Payload, Record as Within, Timer, Txn, Zab, Zxid};

fn keeping_up() -> Cluster {
    let mut cluster = Cluster::led(3);
    cluster.expire(3, Timer::Tick);
    cluster.run();
    cluster
}

#[test]
fn whoever_answers_pings_keeps_up_however_many_rounds_reads_begin_meanwhile() {
    let mut cluster = keeping_up();
    for number in 1..=20 {
        cluster.read(3, number);
    }
    cluster.lose_all();
    assert!(cluster.node(3).keeps_up(NodeId(2)), "none of those rounds was answered yet");
    for _ in 0..3 {
        cluster.expire(3, Timer::Tick);
        cluster.lose_all();
    }
    assert!(!cluster.node(3).keeps_up(NodeId(2)), "three pings without an answer");
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

/// A cluster that begins with a state it was given: the journal says so before the first start.
#[test]
fn a_cluster_begins_behind_a_state_it_was_given() {
    let members = Membership::of_voters(1);
    let (records, anchor) = Zab::founded_behind(&Config::default(), &members, Slot(7), 3);
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
        Zab::open(&setup, &Config::default(), found, &mut Outbox::new(Ticket(1), true))
    };
    let node = open(7).expect("the state is there");
    assert_eq!((node.configuration(), node.status().committed, node.status().era), (3, Slot(7), 3 << 32));
    assert!(open(6).is_err(), "the state is not the one that was given");
}

fn begins(configuration: u64, members: &Membership, behind: u64, way: Way) -> Vec<Record<Broadcast>> {
    let prefix = Broadcast::founding(&Config::default(), members, Slot(behind));
    let first = Broadcast::opening(&prefix, None).into_iter().map(|record| Record::Within { configuration, record });
    let anchor = Anchor { configuration, prefix };
    std::iter::once(Record::Configuration { anchor, way }).chain(first).collect()
}

fn within(configuration: u64, records: impl IntoIterator<Item = Within>) -> Vec<Record<Broadcast>> {
    records.into_iter().map(|record| Record::Within { configuration, record }).collect()
}

fn txns(epoch: u32, first: u64, payloads: Vec<Payload>) -> [Within; 3] {
    let numbered = (1..).zip(payloads).map(|(counter, payload)| Txn { zxid: Zxid { epoch, counter }, payload });
    let txns = Within::Txns { first: Slot(first), txns: numbered.collect() };
    [Within::AcceptedEpoch(epoch), Within::CurrentEpoch(epoch), txns]
}

fn read(me: u64, records: &[Record<Broadcast>]) -> StoredLog {
    let records = (1..).map(Ticket).zip(records.iter().cloned()).collect();
    Zab::stored_log(NodeId(me), records).expect("nothing contradicts itself")
}

#[test]
fn a_stopped_members_records_are_read_through_all_its_configurations() {
    let (old, new) = (Membership::of_voters(3), Membership::of_voters(2));
    let ending = vec![Payload::Command("a".into()), Payload::Stop(new.clone()), Payload::Command("void".into())];
    let mut records = begins(1, &old, 0, Way::Decided);
    records.extend(within(1, txns(4, 1, ending)));
    let before = read(1, &records);
    assert_eq!((before.rank.clone(), before.decided), (vec![1, 4, Zxid { epoch: 4, counter: 3 }.number()], Slot(0)));
    assert_eq!(before.successor().map(|next| (next.number, next.slot)), Some((2, Slot(2))));

    records.extend(begins(2, &new, 2, Way::Decided));
    records.extend(within(2, txns(1, 3, vec![Payload::Command("b".into())])));
    let log = read(1, &records);
    assert_eq!((log.base, log.decided, log.last(), log.generation), (Slot(0), Slot(2), Slot(3), 2));
    assert!(log.rank > before.rank, "a later configuration goes before any epoch");
    let decisions: Vec<_> = (1..=3).filter_map(|slot| log.decision(Slot(slot))).collect();
    let command = |text: &'static str| Decision::Commands(text.into());
    assert_eq!(decisions, [command("a"), Decision::Members(new.clone()), command("b")], "the void one is gone");
    let known: Vec<_> = log.configurations.iter().map(|known| (known.number, known.slot)).collect();
    assert_eq!((known, log.successor()), (vec![(1, Slot(0)), (2, Slot(2))], None));
    assert_eq!(log.standing[2], ("current epoch", "1".to_owned()));

    let left = read(3, &records[..records.len() - 4]);
    assert_eq!((left.last(), left.decided, left.stateless.clone()), (Slot(2), Slot(2), None), "who left has it all");
    assert!(left.end.contains("leaves it out of configuration 2"), "{}", left.end);
    let told = read(3, &begins(2, &new, 2, Way::Told)[..1]);
    assert_eq!((told.stateless, told.decided), (Some(Stateless::Told(2)), Slot(2)));
}
