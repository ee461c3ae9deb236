//! Handing leadership over: dissertation, 3.10.

use crate::cluster::*;
use quorate_protocol::{Refusal, Replica, Role, Verdict};
use quorate_raft::{Config, Message, Timer};
use quorate_types::{Member, MemberRole, Membership, NodeId};

const HANDING_OVER: Refusal = Refusal::NotReady("leadership is being handed over");

fn timeouts(sent: &[(u64, Message)]) -> Vec<u64> {
    sent.iter().filter(|(_, message)| matches!(message, Message::TimeoutNow { .. })).map(|(to, _)| *to).collect()
}

#[test]
fn the_one_chosen_leads_the_next_term_although_everybody_heard_the_leader_just_now() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "x");
    cluster.transfer(1, 7, 3);
    cluster.run();
    assert!(cluster.node(3).is_leader() && !cluster.node(1).is_leader());
    assert_eq!(cluster.node(3).term(), 2, "no term is lost");
    assert_eq!(cluster.terms(3), [1, 1, 2]);
    for id in 1..=3 {
        assert_eq!(cluster.bed.node(NodeId(id)).lead(), Some((2, Some(NodeId(3)), id == 3)));
    }
    assert_eq!(cluster.refused_requests(1), []);
    assert!(!cluster.bed.node(NodeId(1)).armed().contains(&Timer::Transfer));
    cluster.assert_sound();
}

#[test]
fn the_one_chosen_is_asked_to_stand_only_when_it_has_the_whole_log_durably() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "x");
    cluster.transfer(1, 7, 3);
    cluster.complete(1);
    assert_eq!(timeouts(&cluster.take_sent(1)), []);
    cluster.say(2, 1, accepted(1, 2, 0));
    cluster.say(3, 1, accepted(1, 1, 0));
    assert_eq!(timeouts(&cluster.take_sent(1)), [], "node 2 has it, node 3 has not");
    cluster.say(3, 1, accepted(1, 2, 0));
    assert_eq!(cluster.take_sent(1), [(3, timeout_now(1, (2, 1)))]);
}

#[test]
fn a_leader_that_hands_over_takes_no_proposals_and_says_so() {
    let mut cluster = Cluster::led(3);
    cluster.transfer(1, 7, 3);
    assert_eq!(cluster.bed.node(NodeId(1)).lead(), Some((1, Some(NodeId(1)), false)));
    cluster.propose(1, "x");
    assert_eq!(cluster.refused_requests(1), [(0, HANDING_OVER)]);
    assert_eq!(cluster.terms(1), [1]);
}

#[test]
fn a_transfer_in_vain_ends_after_an_election_timeout_and_proposals_are_taken_again() {
    let config = Config::default();
    let mut lone = Lone::leading(3, &config);
    let outputs =
        lone.batch(vec![quorate_protocol::Input::Transfer { request: quorate_protocol::RequestId(7), to: NodeId(3) }]);
    let after = config.election_timeout;
    let armed = quorate_protocol::Output::SetTimer { timer: Timer::Transfer, at_least: after, at_most: after };
    assert!(outputs.contains(&armed), "{outputs:?}");

    let mut cluster = Cluster::led(3);
    cluster.transfer(1, 7, 3);
    cluster.take_sent(1);
    cluster.expire(1, Timer::Transfer);
    let [(7, Refusal::NotReady(why))] = cluster.refused_requests(1)[..] else {
        panic!("{:?}", cluster.refused_requests(1))
    };
    assert!(why.contains("did not take over"), "{why}");
    assert_eq!(cluster.bed.node(NodeId(1)).lead(), Some((1, Some(NodeId(1)), true)));
    cluster.propose(1, "x");
    cluster.run();
    assert_eq!(cluster.node(2).commit().0, 2);
    assert_eq!(cluster.refused_requests(1).len(), 1);
}

#[test]
fn a_lost_request_to_stand_is_repeated_with_every_heartbeat() {
    let mut cluster = Cluster::led(3);
    cluster.transfer(1, 7, 3);
    assert_eq!(timeouts(&cluster.take_sent(1)), [3]);
    cluster.say(3, 1, accepted(1, 1, 0));
    assert_eq!(timeouts(&cluster.take_sent(1)), [], "once per heartbeat");
    cluster.expire(1, Timer::Heartbeat);
    assert_eq!(timeouts(&cluster.take_sent(1)), [3]);
}

#[test]
fn only_a_leader_hands_over_and_only_to_another_voter_with_data_and_one_at_a_time() {
    let learner = Member { role: MemberRole::Learner, ..Member::voter(NodeId(4)) };
    let joining = Member { role: MemberRole::Joining, ..Member::voter(NodeId(3)) };
    let members = Membership::new([Member::voter(NodeId(1)), Member::voter(NodeId(2)), joining, learner]);
    let bed = quorate_protocol::testbed::Testbed::with_members(members, Config::default());
    let mut cluster = Cluster { bed };
    cluster.transfer(2, 1, 1);
    assert_eq!(cluster.refused_requests(2), [(1, Refusal::NotLeader { hint: None })]);
    cluster.complete_all();
    cluster.elect(1, &[2, 3]);
    cluster.run();
    cluster.transfer(2, 2, 1);
    assert_eq!(cluster.refused_requests(2).last(), Some(&(2, Refusal::NotLeader { hint: Some(NodeId(1)) })));
    for (request, to) in [(1, 1), (2, 3), (3, 4), (4, 99)] {
        cluster.transfer(1, request, to);
        let (number, refusal) = cluster.refused_requests(1).pop().expect("it is refused");
        assert!(number == request && matches!(refusal, Refusal::Invalid(_)), "to {to}: {refusal:?}");
    }
    assert!(cluster.saw(1, "raft.transfer", Verdict::Refused));
    cluster.transfer(1, 5, 2);
    cluster.transfer(1, 6, 2);
    assert_eq!(cluster.refused_requests(1).last(), Some(&(6, HANDING_OVER)));
}

#[test]
fn a_request_to_stand_is_dropped_when_old_when_the_log_is_behind_and_by_who_may_not_lead() {
    let learner = Member { role: MemberRole::Learner, ..Member::voter(NodeId(4)) };
    let voters = (1..=3).map(|id| Member::voter(NodeId(id)));
    let members = Membership::new(voters.chain([learner]));
    let bed = quorate_protocol::testbed::Testbed::with_members(members, Config::default());
    let mut cluster = Cluster { bed };
    cluster.complete_all();
    cluster.elect(1, &[2, 3]);
    cluster.run();
    let stays = |cluster: &mut Cluster, from: u64, to: u64, message: Message, why: &str| {
        let term = cluster.node(to).term();
        cluster.say(from, to, message);
        let node = cluster.node(to);
        assert!(node.term() == term && node.status().role != Role::Candidate, "{why}");
        assert!(cluster.saw(to, "raft.stale", Verdict::Refused), "{why}");
    };
    stays(&mut cluster, 1, 2, timeout_now(1, (2, 1)), "its log ends before the leader's");
    stays(&mut cluster, 1, 2, timeout_now(0, (1, 1)), "an old term");
    stays(&mut cluster, 3, 2, timeout_now(1, (1, 1)), "another node leads");
    stays(&mut cluster, 1, 4, timeout_now(1, (1, 1)), "a learner");
    stays(&mut cluster, 2, 1, timeout_now(1, (1, 1)), "it leads itself");
    cluster.say(1, 2, timeout_now(1, (1, 1)));
    assert_eq!((cluster.node(2).term(), cluster.node(2).status().role), (2, Role::Candidate));
    cluster.say(1, 2, timeout_now(1, (1, 1)));
    assert_eq!(cluster.node(2).term(), 2, "it stands already, and the term is over");
    cluster.say(1, 2, timeout_now(2, (1, 1)));
    assert_eq!(cluster.node(2).term(), 2, "it stands already");
}

#[test]
fn the_flag_overrides_stickiness_and_nothing_else() {
    let mut cluster = Cluster::led(3);
    cluster.propose(1, "x");
    cluster.run();
    cluster.say(3, 2, request_vote(2, (2, 1)));
    assert_eq!((cluster.node(2).term(), cluster.take_sent(2)), (1, vec![]), "without the flag it is ignored");
    cluster.say(3, 2, request_vote_by_transfer(2, (1, 1)));
    cluster.complete(2);
    assert_eq!(cluster.take_sent(2), [(3, vote(2, false))], "its log is behind");
    cluster.say(3, 2, request_vote_by_transfer(3, (2, 1)));
    cluster.complete(2);
    assert_eq!(cluster.take_sent(2), [(3, vote(3, true))]);
    cluster.say(1, 2, request_vote_by_transfer(3, (2, 1)));
    assert_eq!(cluster.take_sent(2), [(1, vote(3, false))], "one vote per term");
}

#[test]
fn the_request_to_vote_waits_for_the_candidates_own_vote_to_be_durable_and_carries_the_flag() {
    let mut cluster = Cluster::led(3);
    cluster.say(1, 2, timeout_now(1, (1, 1)));
    assert_eq!(cluster.take_sent(2), []);
    cluster.complete(2);
    let request = request_vote_by_transfer(2, (1, 1));
    assert_eq!(cluster.take_sent(2), [(1, request.clone()), (3, request)]);
}

#[test]
fn a_candidacy_by_transfer_that_fails_is_followed_by_ordinary_ones() {
    let mut cluster = Cluster::led(3);
    cluster.say(1, 2, timeout_now(1, (1, 1)));
    cluster.bed.lose_where(|_| true);
    cluster.expire(2, Timer::Election);
    let sent = cluster.take_sent(2);
    assert!(sent.iter().all(|(_, message)| *message == pre_vote(3, (1, 1))), "{sent:?}");
}

#[test]
fn a_transfer_ends_with_the_leadership_that_it_should_have_ended() {
    let mut cluster = Cluster::led(5);
    cluster.transfer(1, 7, 3);
    cluster.bed.lose_where(|_| true);
    cluster.elect(2, &[4, 5]);
    cluster.run();
    assert_eq!((cluster.node(1).handing_over_to(), cluster.node(1).status().leader), (None, Some(NodeId(2))));
    assert!(!cluster.bed.expire(NodeId(1), Timer::Transfer), "its timer is gone too");
    cluster.assert_sound();
}

#[test]
fn reads_go_on_while_leadership_is_handed_over() {
    let mut cluster = Cluster::led(3);
    cluster.transfer(1, 7, 3);
    cluster.bed.lose_where(|flight| matches!(flight.message, Message::TimeoutNow { .. }));
    cluster.read(1, 1);
    cluster.run();
    assert_eq!(cluster.bed.node(NodeId(1)).reads().len(), 1);
}
