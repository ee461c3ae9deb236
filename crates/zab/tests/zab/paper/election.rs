//! Phase 0.

use crate::cluster::*;
use quorate_protocol::Replica;
use quorate_protocol::Verdict::{Allowed, Refused, Waiting};
use quorate_types::NodeId;
use quorate_zab::{Message, Standing, Timer, Zxid};

fn round_of(message: &Message) -> u64 {
    let Message::Notification { round, .. } = message else { panic!("{message:?}") };
    *round
}

fn vote_of(message: &Message) -> quorate_zab::Vote {
    let Message::Notification { vote: Some(vote), .. } = message else { panic!("{message:?}") };
    *vote
}

#[test]
fn rule_1_on_entering_the_round_goes_up_and_everybody_hears_its_vote_for_itself() {
    let mut cluster = Cluster::led(3);
    cluster.propose(3, "a");
    cluster.run();
    let before = round_of_any(&mut cluster, 1);
    cluster.expire(1, Timer::Limit);
    for other in [2, 3] {
        let said = cluster.sent("notification", 1, other);
        assert_eq!(vote_of(said), vote(1, zxid(1, 1), 1));
        assert_eq!(round_of(said), before + 1);
    }
    assert!(cluster.told(1, "zab.look", Allowed));
}

/// The round of a node, as it tells one that looks.
fn round_of_any(cluster: &mut Cluster, id: u64) -> u64 {
    let asker = if id == 2 { 3 } else { 2 };
    cluster.say(asker, id, looks(vote(0, Zxid::ZERO, asker), 1));
    let round = round_of(cluster.sent("notification", id, asker));
    cluster.lose_all();
    round
}

#[test]
fn rule_2_a_later_round_is_adopted_with_the_better_of_its_vote_and_the_own_one() {
    let mut cluster = Cluster::of(5);
    cluster.say(2, 3, looks(vote(0, Zxid::ZERO, 5), 1));
    assert_eq!(vote_of(cluster.sent("notification", 3, 1)).candidate, NodeId(5), "better: adopted and told");
    cluster.lose_all();
    cluster.say(2, 3, looks(vote(0, Zxid::ZERO, 2), 7));
    let said = cluster.sent("notification", 3, 1);
    assert_eq!((round_of(said), vote_of(said).candidate), (7, NodeId(3)), "its own vote, not the one adopted before");
    cluster.lose_all();
    cluster.say(4, 3, looks(vote(0, Zxid::ZERO, 4), 8));
    assert_eq!(vote_of(cluster.sent("notification", 3, 1)).candidate, NodeId(4));
}

#[test]
fn rule_2_in_the_same_round_epoch_counts_before_zxid_and_zxid_before_id() {
    let mut cluster = Cluster::of(5);
    let ascending = [
        vote(0, zxid(0, 0), 5),
        vote(0, zxid(1, 9), 2),
        vote(1, zxid(1, 1), 1),
        vote(1, zxid(1, 2), 1),
        vote(2, zxid(1, 1), 4),
    ];
    for better in ascending {
        cluster.lose_all();
        cluster.say(2, 3, looks(better, 1));
        assert_eq!(vote_of(cluster.sent("notification", 3, 1)), better);
    }
    cluster.lose_all();
    for worse in &ascending[..4] {
        cluster.say(2, 3, looks(*worse, 1));
        assert_eq!(vote_of(cluster.sent("notification", 3, 2)), ascending[4], "a worse one is answered");
        assert_eq!(cluster.bed.flights().len(), 1, "and nobody else hears of it");
        cluster.lose_all();
    }
}

#[test]
fn rule_2_an_earlier_round_is_answered_and_not_counted() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 3, looks(vote(0, Zxid::ZERO, 3), 4));
    cluster.lose_all();
    cluster.say(1, 3, looks(vote(9, zxid(9, 9), 1), 3));
    let said = cluster.sent("notification", 3, 1);
    assert_eq!((round_of(said), vote_of(said).candidate), (4, NodeId(3)));
    assert_eq!(cluster.kinds(3, 2), Vec::<&str>::new(), "nobody else hears of it");
    assert!(cluster.told(3, "zab.vote", Refused));
}

#[test]
fn rule_3_a_quorum_for_its_vote_waits_a_little_for_a_better_one() {
    let mut cluster = Cluster::of(5);
    for other in [1, 2] {
        cluster.say(other, 3, looks(vote(0, Zxid::ZERO, 3), 1));
    }
    assert!(cluster.told(3, "zab.finalize", Waiting));
    assert_eq!(cluster.phase(3), "election");
    cluster.say(4, 3, looks(vote(0, Zxid::ZERO, 4), 1));
    assert!(!cluster.bed.node(NodeId(3)).armed().contains(&Timer::Finalize), "a better one came, which has no quorum");
    for other in [1, 2] {
        cluster.say(other, 3, looks(vote(0, Zxid::ZERO, 4), 1));
    }
    cluster.lose_all();
    cluster.expire(3, Timer::Finalize);
    assert_eq!(cluster.node(3).status().leader, Some(NodeId(4)));
    assert!(cluster.in_flight("cepoch", 3, 4).is_some(), "it follows");
}

/// Found on virtual time: node 1's first vote came after its second one, and the candidate waited for an `initLimit`.
#[test]
fn rule_3_a_vote_that_comes_late_takes_nothing_back() {
    let mut cluster = Cluster::of(5);
    for other in [1, 2] {
        cluster.say(other, 3, looks(vote(0, Zxid::ZERO, 3), 1));
    }
    cluster.say(1, 3, looks(vote(0, Zxid::ZERO, 1), 1));
    cluster.expire(3, Timer::Finalize);
    assert_eq!(cluster.phase(3), "discovery", "it leads");
}

#[test]
fn rule_3_whoever_was_quicker_and_follows_in_this_round_counts() {
    let mut cluster = Cluster::of(5);
    for other in [1, 2] {
        let follows =
            Message::Notification { vote: Some(vote(0, Zxid::ZERO, 3)), round: 1, standing: Standing::Following };
        cluster.say(other, 3, follows);
    }
    cluster.expire(3, Timer::Finalize);
    assert_eq!(cluster.phase(3), "discovery", "it leads");
}

#[test]
fn rule_3_whoever_is_elected_itself_leads_and_where_all_agree_nobody_waits() {
    let mut cluster = Cluster::of(3);
    for other in [1, 2] {
        cluster.say(other, 3, looks(vote(0, Zxid::ZERO, 3), 1));
    }
    assert_eq!(cluster.phase(3), "discovery");
    assert!(!cluster.told(3, "zab.finalize", Waiting) || cluster.told(3, "zab.finalize", Allowed));
}

#[test]
fn rule_4_who_does_not_look_answers_only_those_who_do() {
    let mut cluster = Cluster::led(3);
    let settled = Message::Notification { vote: Some(vote(0, Zxid::ZERO, 3)), round: 9, standing: Standing::Following };
    cluster.say(1, 2, settled);
    assert_eq!(cluster.bed.flights().len(), 0);
    cluster.say(1, 2, looks(vote(5, zxid(5, 5), 1), 9));
    cluster.say(1, 3, looks(vote(5, zxid(5, 5), 1), 9));
    let said = |from: u64| match cluster.sent("notification", from, 1) {
        Message::Notification { vote: Some(vote), standing, .. } => (vote.candidate, *standing),
        other => panic!("{other:?}"),
    };
    assert_eq!(said(2), (NodeId(3), Standing::Following));
    assert_eq!(said(3), (NodeId(3), Standing::Leading));
}

#[test]
fn rule_4_a_leader_is_joined_when_a_quorum_names_it_and_it_says_so_itself() {
    let mut cluster = Cluster::of(5);
    let outside = |standing, round| Message::Notification { vote: Some(vote(0, Zxid::ZERO, 5)), round, standing };
    for follower in [2, 3] {
        cluster.say(follower, 1, outside(Standing::Following, 6));
    }
    assert_eq!(cluster.phase(1), "election", "two and itself are a quorum, but it has not heard the leader");
    cluster.say(5, 1, outside(Standing::Following, 6));
    assert_eq!(cluster.phase(1), "election", "it follows itself, and does not lead yet");
    cluster.say(5, 1, outside(Standing::Leading, 6));
    assert!(cluster.in_flight("cepoch", 1, 5).is_some());
    assert!(cluster.told(1, "zab.join", Waiting) && cluster.told(1, "zab.join", Allowed));
    cluster.lose_all();
    assert_eq!(round_of_any(&mut cluster, 1), 6, "it takes part in that round now");
}

/// ZOOKEEPER-1732; here a campaign, seed 16045. Two joined the leader by a late word of its earlier round, and say that round for as long
/// as it leads: who asked for the same round of all stayed outside for as long.
#[test]
fn rule_4_who_follows_since_another_round_names_the_leader_as_well() {
    let mut cluster = Cluster::of(5);
    let outside = |standing, round| Message::Notification { vote: Some(vote(0, Zxid::ZERO, 5)), round, standing };
    cluster.say(2, 1, outside(Standing::Following, 8));
    cluster.say(3, 1, outside(Standing::Following, 8));
    cluster.say(5, 1, outside(Standing::Leading, 9));
    assert!(cluster.in_flight("cepoch", 1, 5).is_some());
    cluster.lose_all();
    assert_eq!(round_of_any(&mut cluster, 1), 9, "the leader's");
}

#[test]
fn rule_4_who_looks_again_names_no_leader_any_more() {
    let mut cluster = Cluster::of(5);
    let outside = |standing, round| Message::Notification { vote: Some(vote(0, Zxid::ZERO, 5)), round, standing };
    cluster.say(2, 1, outside(Standing::Following, 8));
    cluster.say(2, 1, looks(vote(0, Zxid::ZERO, 2), 9));
    cluster.say(5, 1, outside(Standing::Leading, 8));
    assert_eq!(cluster.phase(1), "election", "of five, itself and the leader are too few");
}

#[test]
fn rule_4_a_leader_that_only_itself_names_is_not_joined() {
    let mut cluster = Cluster::of(5);
    let leading = Message::Notification { vote: Some(vote(0, Zxid::ZERO, 5)), round: 6, standing: Standing::Leading };
    cluster.say(5, 1, leading);
    assert_eq!(cluster.phase(1), "election");
}

#[test]
fn rule_4_without_answers_it_says_it_again_and_again() {
    let mut cluster = Cluster::of(3);
    for _ in 0..40 {
        cluster.lose_all();
        cluster.expire(1, Timer::Notify);
        assert_eq!(vote_of(cluster.sent("notification", 1, 2)).candidate, NodeId(1));
    }
}

#[test]
fn a_member_that_does_not_vote_finds_the_leader_all_the_same_and_counts_nowhere() {
    let mut cluster = Cluster::with(three_and(4, quorate_types::MemberRole::Learner), quorate_zab::Config::default());
    cluster.say(
        4,
        3,
        Message::Notification { vote: Some(vote(9, zxid(9, 9), 4)), round: 99, standing: Standing::Looking },
    );
    assert!(cluster.in_flight("notification", 3, 4).is_none(), "not believed, and told of the vote with all others");
    cluster.establish(3, &[1, 2]);
    cluster.join(4, 3, &[1]);
    cluster.propose(3, "a");
    cluster.expire(4, Timer::Tick);
    cluster.run();
    cluster.run();
    assert_eq!(cluster.decided(4), ["a"]);
    cluster.holds();
}

/// Found by random runs, seed 646: each answered the other's answers, as fast as the network carried them.
#[test]
fn two_that_do_not_vote_and_look_do_not_answer_each_other_for_ever() {
    use quorate_types::{Member, MemberRole, Membership};
    let learner = |id| Member { role: MemberRole::Learner, ..Member::voter(NodeId(id)) };
    let voters = Membership::of_voters(3);
    let members = Membership::new(voters.members().iter().cloned().chain([learner(4), learner(5)]));
    let mut cluster = Cluster::with(members, quorate_zab::Config::default());
    cluster.lose_all();
    for (from, to) in [(4, 5), (5, 4), (4, 3)] {
        cluster.say(from, to, looks(vote(0, Zxid::ZERO, 3), 7));
        assert!(cluster.in_flight("notification", to, from).is_none(), "{to} answers {from}");
    }
    cluster.establish(3, &[1, 2]);
    cluster.say(4, 3, looks(vote(0, Zxid::ZERO, 3), 7));
    assert!(cluster.in_flight("notification", 3, 4).is_some(), "who leads answers");
}
