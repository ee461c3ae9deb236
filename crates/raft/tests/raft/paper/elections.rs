//! Terms and elections: Raft §5.1, §5.2, §5.4.1; dissertation, 4.2, 6.2, 9.6.

use crate::cluster::*;
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Input, LinkState, Output, Replica, Role, Verdict};
use quorate_raft::{Append, AppendOutcome, Config, Configuration, Entry, Message, Payload, Raft, Timer};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};
use std::time::Duration;

#[test]
fn rule_1_a_higher_term_is_adopted_and_makes_a_leader_follow() {
    let mut cluster = Cluster::led(3);
    cluster.say(2, 1, Message::AppendResponse { term: 5, outcome: AppendOutcome::StaleTerm });
    assert!(!cluster.node(1).is_leader());
    assert_eq!((cluster.node(1).term(), cluster.node(1).voted_for()), (5, None));
    assert!(cluster.saw(1, "raft.step-down", Verdict::Allowed));
}

#[test]
fn rule_1_nothing_is_said_in_a_new_term_before_the_term_is_durable() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, append(7, (3, 6), &[], 0));
    assert_eq!(cluster.node(1).term(), 7);
    assert_eq!(cluster.take_sent(1), [], "a rejection would tell the term");
    cluster.complete(1);
    assert_eq!(cluster.take_sent(1), [(2, rejected(7, 3, (0, 0), 0))]);
    cluster.assert_sound();
}

#[test]
fn rule_1_pre_votes_and_their_grants_change_nobodys_term() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, pre_vote(9, (5, 8)));
    assert_eq!(cluster.take_sent(1), [(2, would_vote(9, true))]);
    cluster.say(3, 1, would_vote(9, true));
    assert_eq!(cluster.marks(1), (0, None, 0, 0, 0));
}

#[test]
fn rule_2_a_stale_leader_is_told_the_present_term_and_no_round() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, append(4, (0, 0), &[4], 0));
    cluster.complete(1);
    cluster.take_sent(1);
    cluster.say(3, 1, heartbeat(2, (0, 0), 0, 99));
    assert_eq!(cluster.take_sent(1), [(3, Message::AppendResponse { term: 4, outcome: AppendOutcome::StaleTerm })]);
}

#[test]
fn rule_2_a_stale_candidate_is_refused_even_while_a_leader_is_heard() {
    let mut cluster = Cluster::led(3);
    cluster.say(3, 2, request_vote(0, (9, 9)));
    assert_eq!(cluster.take_sent(2), [(3, vote(1, false))]);
}

#[test]
fn rule_2_a_response_of_an_earlier_term_is_dropped() {
    let mut cluster = Cluster::led(3);
    cluster.crash(1);
    cluster.restart(1);
    cluster.elect(1, &[2, 3]);
    cluster.propose(1, "x");
    let before = cluster.marks(1);
    cluster.say(2, 1, accepted(1, 3, 0));
    cluster.say(3, 1, accepted(1, 3, 0));
    assert_eq!(cluster.marks(1), before);
    assert!(cluster.saw(1, "raft.stale", Verdict::Refused));
}

#[test]
fn rule_2_a_pre_vote_of_a_low_term_is_refused_with_our_term_and_not_dropped() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, request_vote(6, (0, 0)));
    cluster.complete(1);
    cluster.take_sent(1);
    cluster.say(3, 1, pre_vote(3, (9, 5)));
    assert_eq!(cluster.take_sent(1), [(3, would_vote(6, false))]);
    cluster.say(1, 3, would_vote(6, false));
    assert_eq!(cluster.node(3).term(), 6, "so that it can catch up");
}

#[test]
fn rule_3_a_voter_that_hears_no_leader_asks_first_and_keeps_its_term() {
    let mut cluster = Cluster::of(3);
    cluster.expire(1, Timer::Election);
    assert_eq!(cluster.take_sent(1), [(2, pre_vote(1, (0, 0))), (3, pre_vote(1, (0, 0)))]);
    assert_eq!(cluster.marks(1), (0, None, 0, 0, 0));
    assert_eq!(cluster.node(1).status().role, Role::Candidate);
}

#[test]
fn rule_3_the_election_timer_lasts_t_to_2t_and_restarts_on_an_append_and_on_a_granted_vote() {
    let config = Config::default();
    let restarts = |outputs: &[Output<quorate_raft::Raft>]| {
        let (t, election) = (config.election_timeout, Timer::Election);
        outputs.contains(&Output::SetTimer { timer: election, at_least: t, at_most: t * 2 })
    };
    let mut lone = Lone::of(3, &config);
    assert!(restarts(lone.opened()));
    assert!(restarts(&lone.hear(2, append(1, (0, 0), &[1], 0))));
    assert!(!restarts(&lone.hear(3, append(0, (0, 0), &[], 0))), "not on a stale leader's");
    lone.batch(vec![Input::Expired(Timer::Stickiness)]);
    assert!(!restarts(&lone.hear(3, request_vote(2, (0, 0)))), "not on a refused vote");
    assert!(restarts(&lone.hear(3, request_vote(2, (1, 1)))));
}

#[test]
fn rule_3_an_expiry_that_crosses_a_heartbeat_is_void() {
    let mut lone = Lone::of(3, &Config::default());
    let heard = Input::Receive { from: NodeId(2), message: append(1, (0, 0), &[1], 0) };
    lone.batch(vec![heard, Input::Expired(Timer::Election), Input::Expired(Timer::Stickiness)]);
    assert_eq!(lone.raft.status().role, Role::Follower);
    lone.hear(3, request_vote(2, (5, 1)));
    assert_eq!(lone.raft.term(), 1, "it still sticks to its leader");
}

#[test]
fn rule_3_a_learner_does_not_campaign() {
    let learner = Member { role: MemberRole::Learner, ..Member::voter(NodeId(3)) };
    let members = Membership::new([Member::voter(NodeId(1)), Member::voter(NodeId(2)), learner]);
    let mut cluster = Cluster { bed: Testbed::with_members(members, Config::default()) };
    cluster.expire(3, Timer::Election);
    assert_eq!(cluster.take_sent(3), []);
    assert!(cluster.saw(3, "raft.campaign", Verdict::Refused));
    assert_eq!(cluster.node(3).status().role, Role::Learner);
}

/// The configurations {1,2,3} -> {4}: who leaves must be able to finish the change (dissertation, 4.2.2).
#[test]
fn rule_3_a_leaving_voter_may_campaign_until_its_leaving_is_known_committed() {
    let mut cluster = Cluster::led(3);
    let new = Membership::new([Member::voter(NodeId(4))]);
    let joint = Configuration { outgoing: Some(Membership::of_voters(3)), members: new.clone() };
    let of = |configuration: &Configuration| Payload::Members(Box::new(configuration.clone()));
    let change = |commit| {
        let payloads = [of(&joint), of(&Configuration::of(new.clone()))];
        Message::Append(Append {
            term: 1,
            prev_slot: Slot(1),
            prev_term: 1,
            entries: payloads.map(|payload| Entry { term: 1, payload }).to_vec().into(),
            commit: Slot(commit),
            everyone_has: Slot::ZERO,
            round: 0,
        })
    };
    cluster.say(1, 2, change(1));
    assert_eq!(cluster.node(2).status().role, Role::Outsider);
    cluster.complete(2);
    cluster.take_sent(2);
    cluster.expire(2, Timer::Election);
    assert_eq!(cluster.take_sent(2), [(4, pre_vote(2, (3, 1)))]);
    assert_eq!(cluster.node(2).term(), 1, "its own vote is in no half and counts nothing");
    cluster.say(1, 2, change(3));
    cluster.take_sent(2);
    cluster.expire(2, Timer::Election);
    assert_eq!(cluster.take_sent(2), []);
    assert!(cluster.saw(2, "raft.retire", Verdict::Allowed));
}

#[test]
fn rule_4_a_majority_of_pre_votes_starts_the_election() {
    let mut cluster = Cluster::of(5);
    cluster.expire(1, Timer::Election);
    cluster.say(2, 1, would_vote(1, true));
    cluster.say(2, 1, would_vote(1, true));
    assert_eq!(cluster.node(1).term(), 0, "one node granting twice is one vote");
    cluster.say(3, 1, would_vote(1, true));
    assert_eq!(cluster.marks(1), (1, Some(1), 0, 0, 0));
}

#[test]
fn rule_4_a_pre_vote_is_refused_to_a_log_that_is_behind() {
    let mut cluster = Cluster::led(3);
    cluster.expire(2, Timer::Stickiness);
    cluster.say(3, 2, pre_vote(2, (0, 0)));
    assert_eq!(cluster.take_sent(2), [(3, would_vote(1, false))]);
    let before = cluster.marks(2);
    cluster.say(3, 2, pre_vote(2, (1, 1)));
    assert_eq!(cluster.take_sent(2), [(3, would_vote(2, true))]);
    assert_eq!(cluster.marks(2), before, "nothing is recorded");
}

#[test]
fn rule_4_late_pre_votes_start_no_second_campaign_after_winning() {
    let mut cluster = Cluster::led(3);
    for term in [1, 2] {
        cluster.say(3, 1, would_vote(term, true));
    }
    assert!(cluster.node(1).is_leader());
    assert_eq!(cluster.node(1).term(), 1);
}

#[test]
fn rule_5_requests_of_a_higher_term_are_ignored_while_a_leader_is_heard() {
    let mut cluster = Cluster::led(3);
    cluster.say(3, 2, request_vote(7, (9, 6)));
    cluster.say(3, 2, pre_vote(7, (9, 6)));
    assert_eq!((cluster.node(2).term(), cluster.take_sent(2)), (1, vec![]));
    assert!(cluster.saw(2, "raft.stickiness", Verdict::Refused));
    cluster.expire(2, Timer::Stickiness);
    cluster.say(3, 2, request_vote(7, (9, 6)));
    assert_eq!(cluster.node(2).term(), 7);
}

#[test]
fn rule_5_a_leader_hears_itself() {
    let mut cluster = Cluster::led(3);
    cluster.say(3, 1, request_vote(7, (9, 6)));
    assert!(cluster.node(1).is_leader());
}

#[test]
fn rule_5_a_transfer_overrides_stickiness() {
    let mut cluster = Cluster::led(3);
    cluster.say(3, 2, Message::RequestVote { term: 2, last_slot: Slot(1), last_term: 1, transfer: true });
    cluster.complete(2);
    assert_eq!(cluster.take_sent(2), [(3, vote(2, true))]);
}

#[test]
fn rule_6_the_newer_log_has_the_greater_last_term_and_then_the_greater_slot() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, append(2, (0, 0), &[1, 1, 2], 0));
    cluster.complete(1);
    cluster.take_sent(1);
    cluster.expire(1, Timer::Stickiness);
    for (term, log, granted) in [(3, (9, 1), false), (4, (2, 2), false), (5, (3, 2), true), (6, (1, 3), true)] {
        cluster.say(3, 1, request_vote(term, log));
        cluster.complete(1);
        assert_eq!(cluster.take_sent(1), [(3, vote(term, granted))], "a log that ends at {log:?}");
    }
}

#[test]
fn rule_6_one_vote_per_term_also_after_a_crash() {
    let mut cluster = Cluster::of(3);
    cluster.say(2, 1, request_vote(1, (0, 0)));
    cluster.complete(1);
    assert_eq!(cluster.take_sent(1), [(2, vote(1, true))]);
    cluster.crash(1);
    cluster.restart(1);
    cluster.say(3, 1, request_vote(1, (0, 0)));
    cluster.say(2, 1, request_vote(1, (0, 0)));
    assert_eq!(cluster.take_sent(1), [(3, vote(1, false)), (2, vote(1, true))]);
}

#[test]
fn rule_6_a_vote_is_granted_by_the_request_and_not_by_the_voters_own_view_of_the_members() {
    let mut cluster = Cluster::of(3);
    cluster.say(17, 1, request_vote(1, (0, 0)));
    cluster.complete(1);
    assert_eq!(cluster.take_sent(1), [(17, vote(1, true))]);
}

#[test]
fn rule_6_votes_of_strangers_and_of_earlier_terms_do_not_count() {
    let mut cluster = Cluster::of(3);
    for _ in 0..2 {
        cluster.expire(1, Timer::Election);
        let term = cluster.node(1).term() + 1;
        cluster.say(2, 1, would_vote(term, true));
        cluster.complete(1);
    }
    assert_eq!(cluster.node(1).term(), 2);
    cluster.say(2, 1, vote(1, true));
    cluster.say(17, 1, vote(2, true));
    assert!(!cluster.node(1).is_leader());
    cluster.say(2, 1, vote(2, true));
    assert!(cluster.node(1).is_leader());
}

#[test]
fn rule_6_a_candidates_own_vote_counts_once_it_is_durable() {
    let mut cluster = Cluster::of(3);
    cluster.expire(1, Timer::Election);
    cluster.say(2, 1, would_vote(1, true));
    cluster.take_sent(1);
    cluster.say(2, 1, vote(1, true));
    assert!(!cluster.node(1).is_leader());
    cluster.complete(1);
    assert!(cluster.node(1).is_leader());
}

#[test]
fn rule_6_the_durable_vote_of_an_earlier_candidacy_does_not_count_in_the_next() {
    let mut cluster = Cluster::of(3);
    for term in [1, 2] {
        cluster.expire(1, Timer::Election);
        cluster.say(2, 1, would_vote(term, true));
    }
    cluster.say(2, 1, vote(2, true));
    cluster.bed.complete_writes(NodeId(1), 1);
    assert!(!cluster.node(1).is_leader(), "what is durable is the vote in term 1");
    cluster.complete(1);
    assert!(cluster.node(1).is_leader());
}

#[test]
fn rule_7_a_winner_appends_an_entry_of_its_own_term_at_once() {
    let mut cluster = Cluster::led(3);
    cluster.elect(2, &[3]);
    assert_eq!(cluster.terms(2), [1, 2]);
    assert_eq!(appends(&cluster.take_sent(2)), [(1, 1, vec![2]), (3, 1, vec![2])]);
}

#[test]
fn rule_8_a_leader_that_no_quorum_answers_steps_down_and_keeps_its_term() {
    let mut cluster = Cluster::led(3);
    cluster.expire(1, Timer::CheckQuorum);
    assert!(cluster.node(1).is_leader(), "everybody answered since it won");
    cluster.say(3, 1, accepted(1, 1, 0));
    cluster.expire(1, Timer::CheckQuorum);
    assert!(cluster.node(1).is_leader(), "itself and node 3");
    cluster.expire(1, Timer::CheckQuorum);
    assert!(!cluster.node(1).is_leader());
    assert_eq!(cluster.marks(1), (1, Some(1), 1, 1, 1), "the vote is not forgotten");
    assert_eq!(cluster.bed.node(NodeId(1)).lead(), Some((1, None, false)));
}

#[test]
fn ours_a_refused_connection_to_the_leader_brings_the_election_forward() {
    let config = Config::default();
    let mut lone = Lone::of(3, &config);
    lone.hear(2, append(1, (0, 0), &[1], 0));
    let soon = doubting_election(&config);
    assert!(!lone.batch(refused(3)).contains(&soon));
    assert!(lone.batch(refused(2)).contains(&soon));
    assert_eq!(lone.batch(refused(2)), [], "said again, it puts nothing off");
    assert!(lone.batch(vec![Input::Expired(Timer::Election)]).contains(&soon), "others may have heard of it later");
}

/// A hint is no proof: whoever heard from the leader less than a heartbeat interval ago still holds to it.
#[test]
fn ours_a_refused_connection_lifts_stickiness_a_heartbeat_interval_later_and_a_word_of_the_leader_restores_it() {
    let config = Config::default();
    let mut lone = Lone::of(3, &config);
    let exactly = |timer, after| Output::SetTimer { timer, at_least: after, at_most: after };
    lone.hear(2, append(1, (0, 0), &[1], 0));
    lone.complete();
    assert!(lone.batch(refused(2)).contains(&exactly(Timer::Stickiness, config.heartbeat_interval)));
    assert_eq!(lone.hear(3, pre_vote(2, (1, 1))), [], "still sticky");
    let restored = lone.hear(2, heartbeat(1, (1, 1), 0, 1));
    assert!(restored.contains(&exactly(Timer::Stickiness, config.election_timeout)), "{restored:?}");
    assert!(lone.batch(refused(2)).contains(&doubting_election(&config)), "a new doubt");
    lone.batch(vec![Input::Expired(Timer::Stickiness)]);
    let answers = lone.hear(3, pre_vote(2, (1, 1)));
    assert!(answers.iter().any(|output| matches!(output, Output::Send { to: NodeId(3), .. })), "{answers:?}");
}

fn refused(peer: u64) -> Vec<Input<Raft>> {
    vec![Input::Link { peer: NodeId(peer), state: LinkState::Refused }]
}

fn doubting_election(config: &Config) -> Output<Raft> {
    let heartbeat = config.heartbeat_interval;
    Output::SetTimer { timer: Timer::Election, at_least: heartbeat, at_most: heartbeat * 2 }
}

#[test]
fn a_single_voter_elects_itself_and_commits_on_its_own_durable_write_only() {
    let mut lone = Lone::of(1, &Config::default());
    let at_once = Output::SetTimer { timer: Timer::Election, at_least: Duration::ZERO, at_most: Duration::ZERO };
    assert!(lone.opened().contains(&at_once));
    lone.batch(vec![Input::Expired(Timer::Election)]);
    assert!(!lone.raft.is_leader());
    lone.complete();
    assert!(lone.raft.is_leader());
    assert_eq!(lone.raft.commit(), Slot(0));
    lone.complete();
    assert_eq!(lone.raft.commit(), Slot(1));
}

/// Rounds begin anew with every term. Node 1 answered round 100 of term 1, stood in term 2 and lost to node 3.
#[test]
fn a_loser_of_an_election_answers_the_winner_from_its_first_round_on() {
    let mut lone = Lone::of(3, &Config::default());
    lone.hear(2, append_round(1, (0, 0), &[1], 0, 100));
    lone.complete();
    lone.batch(vec![Input::Expired(Timer::Stickiness), Input::Expired(Timer::Election)]);
    lone.hear(2, would_vote(2, true));
    lone.complete();
    assert_eq!((lone.raft.term(), lone.raft.voted_for()), (2, Some(NodeId(1))));
    let outputs = lone.hear(3, heartbeat(2, (1, 1), 0, 1));
    let answered =
        outputs.iter().any(|output| matches!(output, Output::Send { message, .. } if *message == accepted(2, 1, 1)));
    assert!(answered, "{outputs:?}");
}

/// The timer fires beside an append, so it is void; but then the batch ends the term, and with it what was heard.
#[test]
fn an_election_timer_voided_in_a_batch_that_ends_the_term_is_armed_again() {
    let mut lone = Lone::of(3, &Config::default());
    let from = |id, message| Input::Receive { from: NodeId(id), message };
    let refusal = would_vote(2, false);
    let outputs =
        lone.batch(vec![from(2, heartbeat(1, (0, 0), 0, 1)), Input::Expired(Timer::Election), from(3, refusal)]);
    assert_eq!(lone.raft.term(), 2);
    let armed = outputs.iter().any(|output| matches!(output, Output::SetTimer { timer: Timer::Election, .. }));
    assert!(armed, "it would never campaign again: {outputs:?}");
}
