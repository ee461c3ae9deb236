//! Witnesses, rule by rule (`witness.rs`). The higher ids are witnesses.

use crate::cluster::*;
use crate::membership::{beat, in_force, joined, members_append, payloads, refusals, voters, wish, with};
use quorate_protocol::testbed::{Flight, Testbed};
use quorate_protocol::{Decision, Durable, Input, LinkState, OpenError, Outbox, Refusal, Replica, Start, Verdict};
use quorate_raft::{Append, Config, Configuration, LeaseReads, Message, Payload, Raft, ReadAnswer, Timer};
use quorate_types::{MemberRole, Membership, NodeId, Slot, Ticket, Time};

/// As many as the default settings count in an election timeout.
const TIMEOUT_HEARTBEATS: usize = 10;

fn members(data: u64, witnesses: u64) -> Membership {
    let ids = data + 1..=data + witnesses;
    ids.fold(Membership::of_voters(data), |members, id| with(&members, id, MemberRole::Witness))
}

fn opened(data: u64, witnesses: u64, config: Config) -> Cluster {
    let mut cluster = Cluster { bed: Testbed::with_members(members(data, witnesses), config) };
    cluster.complete_all();
    cluster
}

/// Node 1 leads term 1, and every voter with data knows its no-op committed.
fn led_with(data: u64, witnesses: u64, config: Config) -> Cluster {
    let mut cluster = opened(data, witnesses, config);
    let others: Vec<u64> = (2..=data + witnesses).collect();
    cluster.elect(1, &others);
    cluster.run();
    beat(&mut cluster, 1, 1);
    cluster
}

fn led(data: u64, witnesses: u64) -> Cluster {
    led_with(data, witnesses, Config::default())
}

/// Heartbeats that only these hear.
fn beat_among(cluster: &mut Cluster, leader: u64, ids: &[u64], times: usize) {
    for _ in 0..times {
        cluster.expire(leader, Timer::Heartbeat);
        cluster.run_only(ids);
    }
}

/// The entries in what is under way to a node.
fn entries_to(cluster: &Cluster, id: u64) -> Vec<Payload> {
    let of = |flight: &Flight<Raft>| match &flight.message {
        Message::Append(append) if flight.to == NodeId(id) => Some(append.entries.clone()),
        _ => None,
    };
    let appends: Vec<_> = cluster.bed.flights().iter().filter_map(of).collect();
    appends.iter().flat_map(|entries| entries.iter().map(|entry| entry.payload.clone())).collect()
}

fn commands_of(cluster: &Cluster, id: u64) -> Vec<usize> {
    let lengths = cluster.node(id).log().iter().filter_map(|entry| match &entry.payload {
        Payload::Command(commands) => Some(commands.len()),
        Payload::NoOp | Payload::Members(_) => None,
    });
    lengths.collect()
}

// --- it never leads ---

#[test]
fn a_witness_does_not_campaign() {
    let mut cluster = opened(2, 1, Config::default());
    cluster.expire(3, Timer::Election);
    assert_eq!(cluster.take_sent(3), []);
    assert!(cluster.saw(3, "raft.campaign", Verdict::Refused));
    assert_eq!(cluster.marks(3).0, 0);
}

/// A voter whose removal is not known committed may campaign (dissertation, 4.2.2); a witness may not even then.
#[test]
fn a_witness_that_is_leaving_does_not_campaign_either() {
    let mut cluster = led(2, 1);
    let joint = Configuration { outgoing: Some(members(2, 1)), members: voters(&[1, 2]) };
    let end = members_append(1, 0, &[joint, Configuration::of(voters(&[1, 2]))]);
    cluster.say(1, 3, append(1, (0, 0), &[1], 0));
    cluster.say(1, 3, end);
    assert_eq!(in_force(&cluster, 3), (None, vec![1, 2]));
    cluster.complete_all();
    cluster.take_sent(3);
    cluster.bed.expire(NodeId(3), Timer::Stickiness);
    cluster.expire(3, Timer::Election);
    cluster.expire(3, Timer::Election);
    assert_eq!(cluster.take_sent(3), []);
}

#[test]
fn leadership_goes_to_no_witness() {
    let mut cluster = led(2, 1);
    cluster.transfer(1, 9, 3);
    assert!(matches!(refusals(&cluster, 1)[..], [Refusal::Invalid(_)]));
    cluster.say(1, 3, timeout_now(1, (0, 0)));
    assert_eq!(cluster.take_sent(3), [], "nor does it stand when it is asked to");
    cluster.assert_sound();
}

#[test]
fn its_vote_counts() {
    let mut cluster = opened(2, 1, Config::default());
    cluster.elect(2, &[3]);
    assert_eq!(cluster.marks(3).1, Some(2));
}

/// Leases rest on the promises of voters, whatever they store.
#[test]
fn its_answer_to_a_round_makes_a_lease() {
    let leases = LeaseReads { clock_rate_error_ppm: 500 };
    let mut cluster = led_with(2, 1, Config { lease_reads: Some(leases), ..Config::default() });
    let now = Time(3_000_000_000);
    cluster.bed.set_now(now);
    assert!(!cluster.node(1).has_lease(now));
    beat_among(&mut cluster, 1, &[1, 3], 1);
    assert!(cluster.node(1).has_lease(now));
}

// --- while all keep up it is left alone ---

#[test]
fn while_the_voters_with_data_keep_up_a_witness_gets_heartbeats_only() {
    let mut cluster = led(2, 1);
    for _ in 0..3 * TIMEOUT_HEARTBEATS {
        cluster.propose(1, "x");
        cluster.expire(1, Timer::Heartbeat);
        assert_eq!(entries_to(&cluster, 3), []);
        cluster.run();
    }
    assert_eq!(cluster.node(1).commit(), Slot(1 + 3 * TIMEOUT_HEARTBEATS as u64));
    assert_eq!(cluster.node(3).log().last(), Slot::ZERO);
    assert_eq!(cluster.node(3).log().count(), 0);
    cluster.assert_sound();
}

#[test]
fn a_round_for_a_read_is_answered_by_a_witness_that_has_no_entries() {
    let mut cluster = led(2, 1);
    cluster.read(1, 1);
    cluster.run_only(&[1, 3]);
    assert_eq!(cluster.bed.node(NodeId(1)).reads().len(), 1);
}

#[test]
fn a_leader_that_hears_only_witnesses_and_no_majority_steps_down() {
    let mut cluster = led(3, 2);
    cluster.expire(1, Timer::CheckQuorum);
    beat_among(&mut cluster, 1, &[1, 4, 5], 1);
    cluster.expire(1, Timer::CheckQuorum);
    assert!(cluster.node(1).is_leader(), "two witnesses and itself are three of five");
    beat_among(&mut cluster, 1, &[1, 4], 1);
    cluster.expire(1, Timer::CheckQuorum);
    assert!(!cluster.node(1).is_leader());
}

/// With as many witnesses as voters with data there is no quorum without a witness.
#[test]
fn where_voters_with_data_are_no_quorum_witnesses_always_take_part() {
    let mut cluster = led(2, 2);
    cluster.propose(1, "x");
    cluster.run();
    assert_eq!(cluster.node(1).commit(), Slot(2));
    assert_eq!((commands_of(&cluster, 2), commands_of(&cluster, 3)), (vec![1], vec![0]));
    cluster.assert_sound();
}

#[test]
fn it_learns_who_the_members_are_all_the_same() {
    let mut cluster = led(2, 1);
    cluster.propose(1, "x");
    cluster.run();
    joined(&mut cluster, &[4]);
    let wished = with(&members(2, 1), 4, MemberRole::Learner);
    wish(&mut cluster, 1, &wished);
    assert_eq!(entries_to(&cluster, 3), [], "not before it is committed");
    cluster.run();
    assert_eq!(cluster.node(3).configuration().members, wished);
    assert_eq!(payloads(&cluster, 3), ["no-op", "command", "members"]);
    assert_eq!(commands_of(&cluster, 3), [0]);
    cluster.propose(1, "y");
    cluster.run();
    assert_eq!(cluster.node(3).log().last(), Slot(3), "and is left alone again");
    cluster.assert_sound();
}

// --- when one is silent it takes its place ---

#[test]
fn when_a_voter_is_silent_for_an_election_timeout_a_witness_takes_its_place() {
    let mut cluster = led(2, 1);
    cluster.propose(1, "x");
    beat_among(&mut cluster, 1, &[1, 3], TIMEOUT_HEARTBEATS - 1);
    assert_eq!((cluster.node(1).commit(), cluster.node(3).log().last()), (Slot(1), Slot::ZERO));
    beat_among(&mut cluster, 1, &[1, 3], 2);
    assert!(cluster.saw(1, "raft.witness", Verdict::Allowed));
    assert_eq!((cluster.node(1).commit(), cluster.node(3).log().last()), (Slot(2), Slot(2)));
    assert_eq!(cluster.terms(3), cluster.terms(1), "the same terms in the same slots");
    assert_eq!(commands_of(&cluster, 3), [0], "and no commands");
    cluster.propose(1, "y");
    cluster.run_only(&[1, 3]);
    assert_eq!(cluster.node(1).commit(), Slot(3), "from now on at once");
    beat_among(&mut cluster, 1, &[1, 3], 1);
    let decided: Vec<&Decision> = cluster.bed.node(NodeId(3)).decided().values().collect();
    let empty = Decision::Commands(bytes::Bytes::new());
    assert_eq!(decided, [&Decision::Nothing, &empty, &empty]);
    cluster.assert_sound();
}

#[test]
fn when_the_voter_keeps_up_again_the_witness_is_left_alone_again() {
    let mut cluster = led(2, 1);
    cluster.propose(1, "x");
    beat_among(&mut cluster, 1, &[1, 3], TIMEOUT_HEARTBEATS + 1);
    cluster.run();
    beat(&mut cluster, 1, 2);
    assert!(cluster.saw(1, "raft.witness", Verdict::Refused));
    let last = cluster.node(3).log().last();
    cluster.propose(1, "y");
    cluster.run();
    assert_eq!(cluster.node(1).commit(), Slot(3));
    assert_eq!(cluster.node(3).log().last(), last);
    cluster.assert_sound();
}

/// It lives and does not get the entries: commits would wait for it.
#[test]
fn a_voter_that_answers_and_does_not_keep_up_is_not_counted_on() {
    let mut cluster = led(2, 1);
    cluster.propose(1, "x");
    let brings_entries = |flight: &Flight<Raft>| {
        flight.to == NodeId(2) && matches!(&flight.message, Message::Append(append) if !append.entries.is_empty())
    };
    for _ in 0..=TIMEOUT_HEARTBEATS {
        cluster.expire(1, Timer::Heartbeat);
        cluster.bed.run(ENOUGH, |flight| !brings_entries(flight));
    }
    cluster.bed.run(ENOUGH, |flight| !brings_entries(flight));
    assert_eq!((cluster.node(1).commit(), cluster.node(2).log().last()), (Slot(2), Slot(1)));
    cluster.assert_sound();
}

#[test]
fn the_word_that_its_process_is_gone_is_enough() {
    let mut cluster = led(2, 1);
    cluster.crash(2);
    cluster.propose(1, "x");
    cluster.run_only(&[1, 3]);
    assert_eq!(cluster.node(1).commit(), Slot(1));
    cluster.bed.input(NodeId(1), Input::Link { peer: NodeId(2), state: LinkState::Refused });
    cluster.run_only(&[1, 3]);
    assert_eq!(cluster.node(1).commit(), Slot(2));
}

/// Nobody waits an election timeout more because the old leader was the one that is gone.
#[test]
fn a_new_leader_counts_on_nobody_who_did_not_answer_the_vote() {
    let mut cluster = led(2, 1);
    cluster.crash(1);
    cluster.elect(2, &[3]);
    cluster.propose(2, "x");
    cluster.run_only(&[2, 3]);
    assert_eq!(cluster.node(2).commit(), Slot(3));
    assert_eq!(cluster.terms(3), [1, 2, 2]);
    cluster.assert_sound();
}

#[test]
fn one_of_three_that_is_silent_is_not_missed_where_the_others_are_a_quorum() {
    let mut cluster = led(4, 1);
    beat_among(&mut cluster, 1, &[1, 2, 3, 5], 2 * TIMEOUT_HEARTBEATS);
    cluster.propose(1, "x");
    cluster.run_only(&[1, 2, 3, 5]);
    assert_eq!((cluster.node(1).commit(), cluster.node(5).log().last()), (Slot(2), Slot::ZERO));
}

// --- nothing that the leader could lose ---

#[test]
fn a_witness_gets_only_what_the_leaders_own_disk_holds() {
    let mut cluster = led(2, 1);
    beat_among(&mut cluster, 1, &[1, 3], TIMEOUT_HEARTBEATS + 1);
    cluster.propose(1, "x");
    assert_eq!(entries_to(&cluster, 3), [], "it is being written");
    assert_eq!(entries_to(&cluster, 2).len(), 1, "the others need not wait for that");
    cluster.complete(1);
    assert_eq!(entries_to(&cluster, 3), [Payload::Command(bytes::Bytes::new())]);
}

/// What is inherent: an entry that a witness holds and no living voter has makes the cluster wait for that voter.
#[test]
fn what_only_a_witness_and_the_dead_hold_is_waited_for_and_not_lost() {
    let mut cluster = led(2, 1);
    beat_among(&mut cluster, 1, &[1, 3], TIMEOUT_HEARTBEATS + 1);
    cluster.propose(1, "x");
    cluster.run_only(&[1, 3]);
    assert_eq!(cluster.node(1).commit(), Slot(2));
    cluster.crash(1);
    for _ in 0..3 {
        for id in [2, 3] {
            cluster.bed.expire(NodeId(id), Timer::Stickiness);
        }
        cluster.bed.expire(NodeId(2), Timer::Election);
        cluster.run_only(&[2, 3]);
        assert!(!cluster.node(2).is_leader(), "its log is behind the witness's");
    }
    cluster.restart(1);
    cluster.elect(1, &[2, 3]);
    cluster.run();
    beat(&mut cluster, 1, 2);
    assert_eq!(commands_of(&cluster, 2), [1]);
    cluster.assert_sound();
}

#[test]
fn what_a_dead_leader_left_at_a_witness_gives_way_to_what_a_later_one_has() {
    let mut cluster = led(3, 2);
    beat_among(&mut cluster, 1, &[1, 4], TIMEOUT_HEARTBEATS + 1);
    cluster.propose(1, "lost");
    cluster.run_only(&[1, 4]);
    assert_eq!((cluster.node(4).log().last(), cluster.node(1).commit()), (Slot(2), Slot(1)), "no quorum has it");
    cluster.crash(1);
    cluster.elect(2, &[3, 5]);
    cluster.propose(2, "kept");
    cluster.run();
    beat_among(&mut cluster, 2, &[2, 4, 5], TIMEOUT_HEARTBEATS + 2);
    assert_eq!(cluster.terms(4), [1, 2, 2]);
    assert_eq!(cluster.node(2).commit(), Slot(3));
    cluster.assert_sound();
}

// --- how many there may be ---

#[test]
fn there_are_never_more_witnesses_than_voters_with_data() {
    let wishes = [(members(2, 1), members(2, 3)), (members(2, 2), with(&voters(&[1]), 3, MemberRole::Witness))];
    for (founders, wished) in wishes {
        let wished = if founders == members(2, 2) { with(&wished, 4, MemberRole::Witness) } else { wished };
        let mut cluster = Cluster { bed: Testbed::with_members(founders, Config::default()) };
        cluster.complete_all();
        cluster.elect(1, &[2, 3]);
        cluster.run();
        wish(&mut cluster, 1, &wished);
        let refused = refusals(&cluster, 1);
        assert!(
            matches!(&refused[..], [Refusal::Invalid(why)] if why.contains("at most as many witnesses")),
            "{refused:?}"
        );
    }
}

#[test]
fn nobody_founds_a_cluster_with_more_witnesses_than_voters_with_data() {
    let found = |founders| {
        let setup = setup(1, Start::Found(founders));
        Raft::open(&setup, &Config::default(), Durable::nothing(), &mut Outbox::new(Ticket::NONE, false))
    };
    assert!(found(members(1, 1)).is_ok());
    assert!(matches!(found(members(1, 2)), Err(OpenError::Settings { why }) if why.contains("witnesses")));
}

// --- coming and going ---

#[test]
fn a_witness_is_added_jointly_and_knows_itself_for_one() {
    let mut cluster = Cluster::led(2);
    cluster.propose(1, "x");
    cluster.run();
    cluster.bed.join_as_witness(NodeId(3));
    wish(&mut cluster, 1, &members(2, 1));
    cluster.run();
    beat(&mut cluster, 1, 2);
    assert_eq!(in_force(&cluster, 3), (None, vec![1, 2, 3]));
    assert!(cluster.node(3).is_witness() && !cluster.node(2).is_witness());
    assert_eq!(payloads(&cluster, 3), ["no-op", "command", "joint", "members"]);
    assert_eq!(commands_of(&cluster, 3), [0]);
    cluster.crash(2);
    beat_among(&mut cluster, 1, &[1, 3], TIMEOUT_HEARTBEATS + 1);
    cluster.propose(1, "y");
    cluster.run_only(&[1, 3]);
    assert_eq!(cluster.node(1).commit(), Slot(5));
    cluster.assert_sound();
}

#[test]
fn a_witness_that_leaves_is_told_and_retires() {
    let mut cluster = led(2, 1);
    cluster.propose(1, "x");
    cluster.run();
    wish(&mut cluster, 1, &voters(&[1, 2]));
    cluster.run();
    beat(&mut cluster, 1, 3);
    assert_eq!(commands_of(&cluster, 3), [0], "without commands to the end");
    cluster.bed.expire(NodeId(3), Timer::Stickiness);
    cluster.expire(3, Timer::Election);
    assert!(cluster.bed.node(NodeId(3)).retired().is_some());
    cluster.assert_sound();
}

#[test]
fn a_member_is_of_one_kind_for_life() {
    let mut cluster = led(2, 1);
    wish(&mut cluster, 1, &voters(&[1, 2, 3]));
    assert!(matches!(refusals(&cluster, 1)[..], [Refusal::Invalid(_)]));
    wish(&mut cluster, 1, &voters(&[1, 2]));
    cluster.run();
    wish(&mut cluster, 1, &voters(&[1, 2, 3]));
    assert!(matches!(refusals(&cluster, 1)[..], [_, Refusal::Invalid(_)]), "nor after it left");
}

// --- nothing to read, and nothing to send ---

#[test]
fn a_witness_refuses_reads_and_the_leader_names_it_no_slot() {
    let mut cluster = led(2, 1);
    cluster.read(3, 1);
    assert!(matches!(refusals(&cluster, 3)[..], [Refusal::Unsupported(why)] if why.contains("witness")));
    let token = cluster.read(2, 2);
    cluster.take_sent(2);
    cluster.say(3, 1, Message::ReadIndex { term: 1, token });
    let answer = Message::ReadIndexResponse { term: 1, token, answer: ReadAnswer::NotLeading };
    assert_eq!(cluster.take_sent(1), [(3, answer)]);
}

fn sparing() -> Config {
    Config { compact_after_entries: 2, compact_keep_entries: 0, snapshot_retry_heartbeats: 1, ..Config::default() }
}

/// The leader keeps nothing for it. The testbed breaks `WitnessesStoreNoData` where a snapshot for it would have data.
#[test]
fn a_witness_that_needs_what_is_compacted_gets_a_snapshot_without_data() {
    let mut cluster = led_with(2, 1, sparing());
    for _ in 0..4 {
        cluster.propose(1, "x");
        cluster.run();
    }
    cluster.bed.checkpoint(NodeId(1));
    beat(&mut cluster, 1, 3);
    let base = cluster.node(1).log().base();
    assert!(base >= Slot(4), "compacted though the witness has nothing: {base}");
    assert!(cluster.node(3).log().base() >= base);
    assert_eq!(cluster.node(3).log().term_at(base), Some(1));
    beat_among(&mut cluster, 1, &[1, 3], TIMEOUT_HEARTBEATS + 1);
    cluster.propose(1, "y");
    cluster.run_only(&[1, 3]);
    assert_eq!(cluster.node(1).commit(), Slot(6), "and goes on behind it");
    cluster.assert_sound();
}

/// It is an ordinary log to whoever opens from it.
#[test]
fn a_witness_opens_from_what_it_has() {
    let mut cluster = led(2, 1);
    cluster.propose(1, "x");
    beat_among(&mut cluster, 1, &[1, 3], TIMEOUT_HEARTBEATS + 1);
    let before = (cluster.terms(3), cluster.marks(3).0);
    cluster.crash(3);
    cluster.restart(3);
    assert_eq!((cluster.terms(3), cluster.marks(3).0), before);
    assert!(cluster.node(3).is_witness());
    cluster.assert_sound();
}

/// Its append is taken as any other: a hint that it is behind is walked back by slot and term.
#[test]
fn what_follows_is_checked_by_slot_and_term() {
    let mut cluster = led(2, 1);
    let entries = vec![command(1, "")];
    let behind = Append {
        term: 1,
        prev_slot: Slot(1),
        prev_term: 1,
        entries: entries.into(),
        commit: Slot::ZERO,
        everyone_has: Slot::ZERO,
        round: 90,
    };
    cluster.say(1, 3, Message::Append(behind.clone()));
    assert_eq!(cluster.take_sent(3), [(1, rejected(1, 1, (0, 0), 90))]);
    cluster.say(1, 3, append(1, (0, 0), &[1], 0));
    cluster.say(1, 3, Message::Append(Append { round: 91, ..behind }));
    cluster.complete(3);
    assert_eq!(cluster.take_sent(3).last(), Some(&(1, accepted(1, 2, 91))));
}
