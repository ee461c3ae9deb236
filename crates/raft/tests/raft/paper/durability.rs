//! What must be durable before it is said: Raft §5.3; dissertation, 10.2.1.

use crate::cluster::*;
use quorate_protocol::{Input, Output};
use quorate_raft::{Config, Record, Timer};
use quorate_types::{NodeId, Slot};

#[test]
fn rule_12_an_acceptance_waits_for_the_write_whichever_message_brought_it() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, append(1, (0, 0), &[1], 0));
    cluster.complete(1);
    cluster.take_sent(1);
    cluster.say(2, 1, append(1, (1, 1), &[1, 1], 0));
    cluster.say(2, 1, append(1, (1, 1), &[1, 1], 0));
    assert_eq!(cluster.take_sent(1), [], "the copy waits for the write of the first");
    cluster.complete(1);
    assert_eq!(cluster.take_sent(1), [(2, accepted(1, 3, 0)), (2, accepted(1, 3, 0))]);
}

#[test]
fn rule_12_a_heartbeat_is_answered_at_once_with_what_is_durable() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, append(1, (0, 0), &[1], 0));
    cluster.complete(1);
    cluster.take_sent(1);
    cluster.say(2, 1, append(1, (1, 1), &[1, 1], 0));
    cluster.say(2, 1, heartbeat(1, (3, 1), 0, 5));
    assert_eq!(cluster.take_sent(1), [(2, accepted(1, 1, 5))]);
}

#[test]
fn ours_a_new_round_that_comes_with_entries_is_answered_twice() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, append(1, (0, 0), &[1], 0));
    cluster.complete(1);
    cluster.take_sent(1);
    cluster.say(2, 1, append_round(1, (1, 1), &[1], 0, 5));
    assert_eq!(cluster.take_sent(1), [(2, accepted(1, 1, 5))], "the sign of life waits for no disk");
    cluster.complete(1);
    assert_eq!(cluster.take_sent(1), [(2, accepted(1, 2, 5))]);
    cluster.say(2, 1, heartbeat(1, (2, 1), 1, 5));
    assert_eq!(cluster.take_sent(1), [], "only news of a commit");
}

#[test]
fn rule_12_the_late_completion_of_an_overwritten_write_proves_nothing() {
    let mut cluster = Cluster::of(3);
    let node = NodeId(1);
    cluster.say(2, 1, append(1, (0, 0), &[1], 0));
    cluster.complete(1);
    cluster.say(2, 1, append(1, (1, 1), &[1, 1], 0));
    cluster.say(3, 1, append(2, (1, 1), &[2], 0));
    cluster.take_sent(1);
    assert_eq!(cluster.marks(1), (2, None, 2, 1, 0));
    cluster.bed.complete_writes(node, 1);
    assert_eq!(cluster.node(1).durable(), Slot(1), "what completed was slots 2 and 3 of term 1");
    cluster.complete(1);
    assert_eq!(cluster.node(1).durable(), Slot(2));
    assert_eq!(cluster.take_sent(1).last(), Some(&(3, accepted(2, 2, 0))));
    cluster.assert_sound();
}

/// F acknowledges an entry whose write is under way, L commits it, F crashes without it, L dies: F and C elect without it.
#[test]
fn rule_12_an_unfinished_write_is_not_acknowledged_by_a_repeated_or_an_empty_append() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "x");
    cluster.complete(1);
    let to_f = cluster.bed.flights().iter().position(|flight| flight.to == NodeId(2)).unwrap();
    cluster.bed.deliver_copy(to_f);
    cluster.bed.deliver(to_f);
    cluster.say(1, 2, heartbeat(1, (2, 1), 1, 9));
    let answers = cluster.take_sent(2);
    assert_eq!(answers, [(1, accepted(1, 1, 9))]);
    for (_, answer) in answers {
        cluster.say(2, 1, answer);
    }
    assert_eq!(cluster.node(1).commit(), Slot(1));
    cluster.crash(2);
    cluster.restart(2);
    cluster.crash(1);
    cluster.elect(2, &[3]);
    cluster.run();
    cluster.assert_sound();
}

#[test]
fn a_vote_that_is_not_durable_leaves_no_trace() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, request_vote(1, (0, 0)));
    assert_eq!(cluster.take_sent(1), []);
    cluster.crash(1);
    cluster.restart(1);
    cluster.say(3, 1, request_vote(1, (0, 0)));
    cluster.complete(1);
    assert_eq!(cluster.take_sent(1), [(3, vote(1, true))]);
    cluster.assert_sound();
}

#[test]
fn a_repeated_vote_waits_for_the_same_write_as_the_first() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, request_vote(1, (0, 0)));
    cluster.say(2, 1, request_vote(1, (0, 0)));
    assert_eq!(cluster.take_sent(1), []);
    cluster.complete(1);
    assert_eq!(cluster.take_sent(1), [(2, vote(1, true)), (2, vote(1, true))]);
}

#[test]
fn a_candidate_asks_for_votes_once_its_own_is_durable() {
    let mut cluster = Cluster::of(3);
    cluster.expire(1, Timer::Election);
    cluster.take_sent(1);
    cluster.say(2, 1, would_vote(1, true));
    assert_eq!(cluster.take_sent(1), []);
    cluster.complete(1);
    assert_eq!(cluster.take_sent(1), [(2, request_vote(1, (0, 0))), (3, request_vote(1, (0, 0)))]);
}

#[test]
fn votes_and_log_are_written_in_the_order_they_changed_so_that_every_prefix_was_a_state() {
    let mut lone = Lone::of(3, &Config::default());
    let receive = |from, message| Input::Receive { from: NodeId(from), message };
    let outputs = lone.batch(vec![receive(2, append(1, (0, 0), &[1, 1], 0)), receive(3, append(2, (1, 1), &[2], 0))]);
    let writes: Vec<Record> = outputs
        .into_iter()
        .filter_map(|output| match output {
            Output::Persist { records, .. } => Some(records),
            _ => None,
        })
        .flatten()
        .collect();
    let expected = [
        Record::TermVote { term: 1, voted_for: None },
        Record::Append { first: Slot(1), entries: entries(&[1, 1]).into() },
        Record::TermVote { term: 2, voted_for: None },
        Record::Truncate { from: Slot(2) },
        Record::Append { first: Slot(2), entries: entries(&[2]).into() },
    ];
    assert_eq!(writes, expected);
}
