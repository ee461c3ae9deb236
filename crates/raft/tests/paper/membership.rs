//! Changes of the members (dissertation, 4; Raft §6).

use crate::cluster::*;
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Decision, Input, Refusal, Refused, Replica, RequestId, Role, Verdict};
use quorate_raft::{Append, Config, Configuration, Entry, Message, Payload, Timer};
use quorate_types::{DiskId, Member, MemberRole, Membership, NodeId, Slot};

pub(super) fn voters(ids: &[u64]) -> Membership {
    Membership::new(ids.iter().map(|id| Member::voter(NodeId(*id))))
}

pub(super) fn with(members: &Membership, id: u64, role: MemberRole) -> Membership {
    let added = Member { role, ..Member::voter(NodeId(id)) };
    Membership::new(members.members().iter().cloned().chain([added]))
}

/// The configuration in force at a node, in ids: the old half, if there is one, and the new.
pub(super) fn in_force(cluster: &Cluster, id: u64) -> (Option<Vec<u64>>, Vec<u64>) {
    let ids = |members: &Membership| members.voters().map(|id| id.0).collect::<Vec<_>>();
    let configuration = cluster.node(id).configuration();
    (configuration.outgoing.as_ref().map(ids), ids(&configuration.members))
}

pub(super) fn wish(cluster: &mut Cluster, at: u64, members: &Membership) {
    cluster.bed.reconfigure(NodeId(at), 7, members.clone());
}

pub(super) fn refusals(cluster: &Cluster, id: u64) -> Vec<Refusal> {
    cluster.bed.node(NodeId(id)).refusals().iter().map(|(_, why)| why.clone()).collect()
}

pub(super) fn reach(cluster: &Cluster, id: u64) -> Vec<u64> {
    cluster.bed.node(NodeId(id)).reach().members().iter().map(|member| member.id.0).collect()
}

pub(super) fn decided_members(cluster: &Cluster, id: u64) -> Vec<Membership> {
    let decided = cluster.bed.node(NodeId(id)).decided().values();
    let members = decided.filter_map(|decision| match decision {
        Decision::Members(members) => Some(members.clone()),
        Decision::Commands(_) | Decision::Nothing => None,
    });
    members.collect()
}

pub(super) fn joined(cluster: &mut Cluster, ids: &[u64]) {
    ids.iter().for_each(|id| cluster.bed.join(NodeId(*id)));
}

pub(super) fn beat(cluster: &mut Cluster, leader: u64, times: usize) {
    for _ in 0..times {
        if cluster.node(leader).is_leader() {
            cluster.expire(leader, Timer::Heartbeat);
        }
        cluster.run();
    }
}

pub(super) fn payloads(cluster: &Cluster, id: u64) -> Vec<String> {
    let of = |entry: &Entry| match &entry.payload {
        Payload::NoOp => "no-op".to_owned(),
        Payload::Command(_) => "command".to_owned(),
        Payload::Members(configuration) if configuration.is_joint() => "joint".to_owned(),
        Payload::Members(_) => "members".to_owned(),
    };
    cluster.node(id).log().iter().map(of).collect()
}

pub(super) fn members_append(prev: u64, commit: u64, configurations: &[Configuration]) -> Message {
    let entry =
        |configuration: &Configuration| Entry { term: 1, payload: Payload::Members(Box::new(configuration.clone())) };
    Message::Append(Append {
        term: 1,
        prev_slot: Slot(prev),
        prev_term: 1,
        entries: configurations.iter().map(entry).collect::<Vec<_>>().into(),
        commit: Slot(commit),
        everyone_has: Slot::ZERO,
        round: 0,
    })
}

// --- one change from beginning to end ---

#[test]
fn a_change_of_voters_is_joint_and_then_new_and_decided_once() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4]);
    wish(&mut cluster, 1, &voters(&[1, 2, 3, 4]));
    assert_eq!(in_force(&cluster, 1), (Some(vec![1, 2, 3]), vec![1, 2, 3, 4]), "in force as soon as it is appended");
    assert_eq!(cluster.node(1).commit(), Slot(1));
    cluster.run();
    for id in 1..=4 {
        assert_eq!(in_force(&cluster, id), (None, vec![1, 2, 3, 4]));
        assert_eq!(payloads(&cluster, id), ["no-op", "joint", "members"]);
        assert_eq!(decided_members(&cluster, id), [voters(&[1, 2, 3, 4])], "the joint step is nothing to the machine");
    }
    assert_eq!(refusals(&cluster, 1), []);
    cluster.assert_sound();
}

#[test]
fn joint_means_a_majority_of_each_half() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4, 5]);
    wish(&mut cluster, 1, &voters(&[1, 4, 5]));
    cluster.run_among(&[1, 2, 3]);
    assert_eq!(cluster.node(1).commit(), Slot(1), "all old voters are no majority of the new ones");
    cluster.run_among(&[1, 2, 3, 4]);
    assert_eq!(in_force(&cluster, 1), (None, vec![1, 4, 5]));
    cluster.assert_sound();
}

/// RM5: a majority of the union of both halves is not enough.
#[test]
fn an_election_in_the_joint_phase_needs_both_halves() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4, 5, 6]);
    wish(&mut cluster, 1, &voters(&[1, 4, 5, 6]));
    cluster.run_among(&[1, 2]);
    cluster.crash(1);
    cluster.bed.lose_where(|_| true);
    assert_eq!(in_force(&cluster, 2), (Some(vec![1, 2, 3]), vec![1, 4, 5, 6]));
    for id in [2, 4, 5, 6] {
        cluster.bed.expire(NodeId(id), Timer::Stickiness);
    }
    cluster.expire(3, Timer::Stickiness);
    cluster.expire(2, Timer::Election);
    cluster.run_among(&[2, 4, 5, 6]);
    assert_eq!(cluster.node(2).status().role, Role::Candidate, "2 and all of the new half: one of three old voters");
    cluster.run_among(&[2, 3, 4, 5, 6]);
    assert!(cluster.saw(2, "raft.election", Verdict::Allowed));
    assert_eq!(in_force(&cluster, 2), (None, vec![1, 4, 5, 6]), "it won, ended the change, and left with it");
    cluster.assert_sound();
}

#[test]
fn what_changes_no_voter_is_one_entry() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4]);
    let renamed = Member { client_urls: vec!["http://here".to_owned()], ..Member::voter(NodeId(2)) };
    let members =
        with(&Membership::new(voters(&[1, 3]).members().iter().cloned().chain([renamed])), 4, MemberRole::Learner);
    wish(&mut cluster, 1, &members);
    cluster.run();
    for id in 1..=4 {
        assert_eq!(payloads(&cluster, id), ["no-op", "members"]);
        assert_eq!(cluster.node(id).configuration().members, members);
    }
    assert_eq!(cluster.node(4).status().role, Role::Learner);
    wish(&mut cluster, 1, &voters(&[1, 2, 3]));
    cluster.run();
    assert_eq!(payloads(&cluster, 1), ["no-op", "members", "members"]);
    cluster.assert_sound();
}

#[test]
fn one_out_and_one_in_is_one_change() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4]);
    cluster.crash(3);
    wish(&mut cluster, 1, &voters(&[1, 2, 4]));
    cluster.run();
    assert_eq!(in_force(&cluster, 4), (None, vec![1, 2, 4]));
    assert_eq!(payloads(&cluster, 4), ["no-op", "joint", "members"]);
    cluster.assert_sound();
}

/// Every set of up to four voters as the old one, every set as the new: whoever agrees by one configuration and whoever by the
/// next have somebody in common.
#[test]
fn quorums_of_one_configuration_meet_those_of_the_next() {
    let sets: Vec<Vec<u64>> = (1..16u64).map(|bits| (1..=4).filter(|id| bits >> (id - 1) & 1 == 1).collect()).collect();
    let meet = |one: &Configuration, next: &Configuration| {
        let is_quorum = |configuration: &Configuration, set: &Vec<u64>| {
            configuration.quorum().is_satisfied(|id| set.contains(&id.0))
        };
        let of = |configuration| sets.iter().filter(move |set| is_quorum(configuration, set));
        of(one).all(|first| of(next).all(|second| first.iter().any(|id| second.contains(id))))
    };
    let mut jumps = 0;
    for (old, new) in sets.iter().flat_map(|old| sets.iter().map(move |new| (old, new))) {
        let (before, after) = (Configuration::of(voters(old)), Configuration::of(voters(new)));
        let joint = Configuration { outgoing: Some(voters(old)), members: voters(new) };
        assert!(joint.may_follow(&before) && after.may_follow(&joint));
        assert!(meet(&before, &joint) && meet(&joint, &after), "{old:?} to {new:?}");
        assert_eq!(after.may_follow(&before), old == new, "without the joint step");
        jumps += usize::from(!meet(&before, &after));
    }
    assert!(jumps > 50, "many changes would not be safe in one step");
}

// --- refusals ---

#[test]
fn a_follower_says_who_leads() {
    let mut cluster = Cluster::led(3);
    wish(&mut cluster, 2, &voters(&[1, 2]));
    assert_eq!(refusals(&cluster, 2), [Refusal::NotLeader { hint: Some(NodeId(1)) }]);
}

/// RM1 and the second half of the rule: without it leaders of consecutive terms form majorities that do not meet.
#[test]
fn no_change_before_something_of_the_own_term_is_committed() {
    let mut cluster = Cluster::of(3);
    cluster.elect(1, &[2]);
    wish(&mut cluster, 1, &voters(&[1, 2]));
    assert!(matches!(refusals(&cluster, 1)[..], [Refusal::NotReady(_)]));
    assert_eq!(in_force(&cluster, 1), (None, vec![1, 2, 3]));
    cluster.run();
    wish(&mut cluster, 1, &voters(&[1, 2]));
    assert!(cluster.node(1).configuration().is_joint());
}

/// The run of the 2015 correction: S1 appends "+5" in term 1, S2 commits "-1" in term 2, S1 comes back with its "+5".
#[test]
fn leaders_of_consecutive_terms_cannot_change_different_members() {
    let mut cluster = Cluster::led(4);
    joined(&mut cluster, &[5]);
    wish(&mut cluster, 1, &voters(&[1, 2, 3, 4, 5]));
    cluster.run_only(&[1, 5]);
    cluster.elect(2, &[3, 4]);
    wish(&mut cluster, 2, &voters(&[2, 3, 4]));
    assert!(matches!(refusals(&cluster, 2)[..], [Refusal::NotReady(_)]), "its no-op is not committed");
    cluster.run_only(&[2, 3, 4]);
    wish(&mut cluster, 2, &voters(&[2, 3, 4]));
    cluster.run_only(&[2, 3, 4]);
    assert_eq!(in_force(&cluster, 2), (None, vec![2, 3, 4]));
    cluster.expire(1, Timer::CheckQuorum);
    cluster.expire(1, Timer::CheckQuorum);
    cluster.expire(1, Timer::Election);
    for id in [2, 3, 4] {
        cluster.bed.expire(NodeId(id), Timer::Stickiness);
    }
    cluster.run_only(&[1, 3, 4, 5]);
    assert!(!cluster.node(1).is_leader(), "3 and 4 have a newer log, and 1 and 5 alone are no majority of both halves");
    cluster.assert_sound();
}

/// RM2.
#[test]
fn one_change_at_a_time() {
    let mut cluster = Cluster::led(3);
    wish(&mut cluster, 1, &voters(&[1, 2]));
    wish(&mut cluster, 1, &voters(&[1, 3]));
    assert!(matches!(refusals(&cluster, 1)[..], [Refusal::NotReady(_)]), "the joint entry is not committed");
    cluster.run_among(&[1, 2]);
    assert_eq!(in_force(&cluster, 1), (None, vec![1, 2]));
    let learner = with(&voters(&[1, 2]), 9, MemberRole::Learner);
    wish(&mut cluster, 1, &learner);
    wish(&mut cluster, 1, &voters(&[1, 2]));
    assert_eq!(refusals(&cluster, 1).len(), 2, "one entry is a change as well");
    cluster.assert_sound();
}

#[test]
fn a_wish_based_on_other_members_is_refused() {
    let mut cluster = Cluster::led(3);
    let input = Input::Reconfigure { request: RequestId(5), based_on: voters(&[1, 2]), members: voters(&[1, 2, 3]) };
    cluster.bed.input(NodeId(1), input);
    let refused = cluster.bed.node(NodeId(1)).refusals().to_vec();
    assert_eq!(refused, [(Refused::Request(RequestId(5)), Refusal::MembershipChanged)]);
    assert_eq!(payloads(&cluster, 1), ["no-op"]);
}

#[test]
fn a_senseless_wish_is_refused_for_good() {
    let known = Member { disk: Some(DiskId(7)), ..Member::voter(NodeId(2)) };
    let founders = Membership::new([Member::voter(NodeId(1)), known.clone(), Member::voter(NodeId(3))]);
    let other_disk = Member { disk: Some(DiskId(8)), ..known.clone() };
    let replaced = |member: Member| Membership::new(founders.members().iter().cloned().chain([member]));
    let senseless = [
        Membership::default(),
        with(&Membership::default(), 4, MemberRole::Learner),
        with(&Membership::default(), 4, MemberRole::Witness),
        with(&with(&voters(&[2]), 4, MemberRole::Witness), 5, MemberRole::Witness),
        replaced(other_disk),
        replaced(Member { disk: None, ..known.clone() }),
        replaced(Member { role: MemberRole::Witness, ..known.clone() }),
        replaced(Member { role: MemberRole::Joining, ..known }),
    ];
    for members in senseless {
        let mut cluster = Cluster { bed: Testbed::with_members(founders.clone(), Config::default()) };
        cluster.complete_all();
        cluster.elect(1, &[2, 3]);
        cluster.run();
        wish(&mut cluster, 1, &members);
        assert!(matches!(refusals(&cluster, 1)[..], [Refusal::Invalid(_)]), "{members:?}: {:?}", refusals(&cluster, 1));
        assert!(cluster.saw(1, "raft.reconfigure", Verdict::Refused));
        assert_eq!(payloads(&cluster, 1), ["no-op"]);
    }
}

// --- in force at append, undone at truncation ---

/// RM4.
#[test]
fn a_configuration_is_undone_when_its_entry_is_truncated() {
    let mut cluster = Cluster::led(3);
    wish(&mut cluster, 1, &voters(&[1]));
    cluster.complete(1);
    cluster.take_sent(1);
    assert_eq!(in_force(&cluster, 1), (Some(vec![1, 2, 3]), vec![1]));
    cluster.elect(2, &[3]);
    cluster.run();
    assert_eq!(in_force(&cluster, 1), (None, vec![1, 2, 3]));
    assert_eq!(reach(&cluster, 1), [1, 2, 3]);
    assert_eq!(cluster.terms(1), [1, 2]);
    cluster.assert_sound();
}

/// RM6.
#[test]
fn a_joint_configuration_survives_a_restart() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4, 5]);
    wish(&mut cluster, 1, &voters(&[1, 4, 5]));
    cluster.complete(1);
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!(in_force(&cluster, 1), (Some(vec![1, 2, 3]), vec![1, 4, 5]));
    assert_eq!(reach(&cluster, 1), [1, 2, 3, 4, 5]);
    cluster.elect(1, &[2, 3, 4, 5]);
    cluster.run();
    assert_eq!(in_force(&cluster, 1), (None, vec![1, 4, 5]));
    cluster.assert_sound();
}

/// Any leader that finds the joint entry committed appends the new configuration, after committing in its own term.
#[test]
fn a_later_leader_finishes_the_change() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4]);
    wish(&mut cluster, 1, &voters(&[1, 2, 3, 4]));
    cluster.complete(1);
    cluster.bed.run(3, |flight| flight.to == NodeId(2));
    cluster.crash(1);
    cluster.bed.lose_where(|_| true);
    cluster.elect(2, &[3, 4]);
    assert_eq!(payloads(&cluster, 2), ["no-op", "joint", "no-op"], "not before its own no-op is committed");
    cluster.run();
    assert_eq!(payloads(&cluster, 2), ["no-op", "joint", "no-op", "members"]);
    assert_eq!(in_force(&cluster, 4), (None, vec![1, 2, 3, 4]));
    cluster.assert_sound();
}

// --- who leaves ---

#[test]
fn who_leaves_is_told_retires_and_is_spoken_to_no_more() {
    let mut cluster = Cluster::led(3);
    wish(&mut cluster, 1, &voters(&[1, 2]));
    assert_eq!(reach(&cluster, 1), [1, 2, 3], "it must still be reached");
    cluster.run();
    assert_eq!(decided_members(&cluster, 3), [voters(&[1, 2])]);
    assert_eq!(reach(&cluster, 1), [1, 2], "it said that it knows");
    assert_eq!(reach(&cluster, 2), [1, 2]);
    assert_eq!(cluster.node(3).status().role, Role::Outsider);
    cluster.expire(1, Timer::Heartbeat);
    assert!(cluster.take_sent(1).iter().all(|(to, _)| *to == 2));
    assert_eq!(cluster.bed.node(NodeId(3)).retired(), None, "what it owes may still be on its way");
    cluster.expire(3, Timer::Election);
    assert!(cluster.bed.node(NodeId(3)).retired().is_some());
    assert_eq!(cluster.take_sent(3), [], "it does not campaign");
    cluster.crash(3);
    cluster.restart(3);
    cluster.assert_sound();
}

#[test]
fn who_leaves_and_does_not_answer_is_told_for_a_bounded_time() {
    let mut cluster = Cluster::led(3);
    cluster.crash(3);
    wish(&mut cluster, 1, &voters(&[1, 2]));
    cluster.run();
    assert_eq!(reach(&cluster, 1), [1, 2, 3]);
    beat(&mut cluster, 1, 9);
    assert_eq!(reach(&cluster, 1), [1, 2, 3]);
    beat(&mut cluster, 1, 1);
    assert_eq!(reach(&cluster, 1), [1, 2]);
    cluster.assert_sound();
}

/// The leader that ended the change died before it could tell.
#[test]
fn the_next_leader_tells_who_left() {
    let mut cluster = Cluster::led(3);
    wish(&mut cluster, 1, &voters(&[1, 2]));
    cluster.run_only(&[1, 2]);
    assert_eq!(in_force(&cluster, 2), (None, vec![1, 2]));
    cluster.crash(1);
    cluster.restart(1);
    cluster.elect(2, &[1]);
    assert_eq!(reach(&cluster, 2), [1, 2, 3]);
    cluster.run();
    beat(&mut cluster, 2, 2);
    assert_eq!(reach(&cluster, 2), [1, 2]);
    cluster.expire(3, Timer::Election);
    assert!(cluster.bed.node(NodeId(3)).retired().is_some());
    cluster.assert_sound();
}

/// A change that follows at once does not make the one who left forget that it left.
#[test]
fn who_left_knows_it_also_from_a_log_with_later_changes() {
    let mut cluster = Cluster::led(4);
    wish(&mut cluster, 1, &voters(&[1, 2, 3]));
    cluster.run_only(&[1, 2, 3]);
    wish(&mut cluster, 1, &voters(&[1, 2]));
    assert_eq!(reach(&cluster, 1), [1, 2, 3, 4], "4 is still to be told");
    beat(&mut cluster, 1, 3);
    assert_eq!(reach(&cluster, 1), [1, 2]);
    for id in [3, 4] {
        cluster.expire(id, Timer::Election);
        assert!(cluster.bed.node(NodeId(id)).retired().is_some(), "{id}");
    }
    cluster.assert_sound();
}

/// RE13: it missed everything, and campaigns again and again.
#[test]
fn who_left_and_was_not_told_disturbs_nobody() {
    let mut cluster = Cluster::led(3);
    cluster.crash(3);
    wish(&mut cluster, 1, &voters(&[1, 2]));
    cluster.run();
    beat(&mut cluster, 1, 10);
    cluster.restart(3);
    for _ in 0..5 {
        cluster.expire(3, Timer::Election);
        cluster.run();
        assert_eq!((cluster.node(1).term(), cluster.node(3).term(), cluster.node(1).is_leader()), (1, 1, true));
    }
    cluster.propose(1, "x");
    cluster.run();
    assert_eq!(cluster.node(2).commit(), cluster.node(1).log().last());
    cluster.assert_sound();
}

/// RM9, with two members: what it says last may be lost.
#[test]
fn a_leader_that_leaves_leads_to_the_end_and_steps_down() {
    for last_words_are_lost in [false, true] {
        let mut cluster = Cluster::led(2);
        wish(&mut cluster, 1, &voters(&[2]));
        cluster.bed.run(1_000, |flight| flight.from == NodeId(2) || cluster_is_before_the_end(&flight.message));
        assert_eq!(in_force(&cluster, 1), (None, vec![2]));
        assert!(!cluster.node(1).is_leader(), "it stepped down with the commit");
        assert_eq!((cluster.node(1).commit(), cluster.node(2).commit()), (Slot(3), Slot(2)));
        if last_words_are_lost {
            cluster.take_sent(1);
            cluster.run();
            assert_eq!(cluster.node(2).commit(), Slot(2));
            cluster.bed.expire(NodeId(2), Timer::Stickiness);
            cluster.expire(2, Timer::Election);
        }
        cluster.run();
        assert!(cluster.node(2).is_leader() && cluster.node(2).commit() == Slot(4));
        assert_eq!(decided_members(&cluster, 1), [voters(&[2])]);
        cluster.expire(1, Timer::Election);
        assert!(cluster.bed.node(NodeId(1)).retired().is_some());
        cluster.assert_sound();
    }
}

/// Everything but the news that slot 3, the new configuration, is committed, and what follows it.
fn cluster_is_before_the_end(message: &Message) -> bool {
    match message {
        Message::Append(append) => append.commit < Slot(3),
        message => !is_request_to_stand(message),
    }
}

fn is_request_to_stand(message: &Message) -> bool {
    matches!(message, Message::TimeoutNow { .. })
}

#[test]
fn a_leader_that_leaves_asks_somebody_in_step_to_stand() {
    let mut cluster = Cluster::led(3);
    wish(&mut cluster, 1, &voters(&[2, 3]));
    cluster.run();
    let leaders: Vec<u64> = (1..=3).filter(|id| cluster.node(*id).is_leader()).collect();
    assert_eq!(leaders.len(), 1, "no timer fired");
    assert_eq!(cluster.node(leaders[0]).term(), 2);
    assert_eq!([2, 3].map(|id| cluster.node(id).commit()), [Slot(4), Slot(4)]);
    cluster.assert_sound();
}

#[test]
fn a_leader_that_leaves_does_not_count_itself() {
    let mut cluster = Cluster::led(3);
    wish(&mut cluster, 1, &voters(&[2, 3]));
    cluster.run_among(&[1, 2]);
    assert_eq!(payloads(&cluster, 1), ["no-op", "joint"], "1 and 2 are no majority of 2 and 3");
    cluster.bed.run(ENOUGH, |flight| !is_request_to_stand(&flight.message));
    assert_eq!(in_force(&cluster, 3), (None, vec![2, 3]));
    assert!(!cluster.node(1).is_leader());
    assert_eq!([2, 3].map(|id| cluster.node(id).commit()), [Slot(3), Slot(3)], "told before it stepped down");
    cluster.assert_sound();
}

/// "Voters only" would leave nobody who can finish: the run of dissertation, 4.2.2, {1,2,3} to {4}.
#[test]
fn who_leaves_may_campaign_until_the_end_is_known_committed() {
    let mut cluster = Cluster::led(3);
    joined(&mut cluster, &[4]);
    let joint = Configuration { outgoing: Some(voters(&[1, 2, 3])), members: voters(&[4]) };
    let new = Configuration::of(voters(&[4]));
    cluster.crash(1);
    // The joint entry is everywhere and committed, the new configuration on 1 and 3 only, and 1 is gone.
    cluster.say(1, 2, members_append(1, 1, std::slice::from_ref(&joint)));
    cluster.say(1, 4, append(1, (0, 0), &[1], 1));
    cluster.say(1, 4, members_append(1, 1, std::slice::from_ref(&joint)));
    cluster.say(1, 3, members_append(1, 2, &[joint, new]));
    cluster.complete_all();
    cluster.bed.lose_where(|_| true);
    for id in [2, 3, 4] {
        cluster.expire(id, Timer::Stickiness);
    }
    for candidate in [2, 4] {
        cluster.expire(candidate, Timer::Election);
        cluster.run();
        assert!(!cluster.node(candidate).is_leader(), "3 has the newer log, and 2 alone is no majority of three");
        cluster.bed.lose_where(|_| true);
    }
    cluster.expire(3, Timer::Election);
    cluster.bed.run(ENOUGH, |flight| !is_request_to_stand(&flight.message));
    cluster.bed.lose_where(|_| true);
    assert_eq!(cluster.node(3).commit(), Slot(4), "4 voted for it, and alone is a majority");
    assert!(!cluster.node(3).is_leader(), "it leads to the end of the change and no further");
    assert_eq!(cluster.node(4).commit(), Slot(4));
    cluster.expire(4, Timer::Stickiness);
    cluster.expire(4, Timer::Election);
    cluster.run();
    assert!(cluster.node(4).is_leader());
    cluster.assert_sound();
}

/// Reads: {1, 2} to {2}. Node 2 holds the new configuration, elects itself and commits; node 1, "alone", must not read.
#[test]
fn a_leader_outside_a_configuration_of_one_asks_before_it_reads() {
    let mut cluster = Cluster::led(2);
    wish(&mut cluster, 1, &voters(&[2]));
    // Node 2 has the new configuration; its answer is on its way.
    cluster.bed.run(1_000, |flight| !(flight.from == NodeId(2) && cluster_holds_the_end(&flight.message)));
    assert!(cluster.node(1).is_leader());
    cluster.bed.expire(NodeId(2), Timer::Stickiness);
    cluster.expire(2, Timer::Election);
    cluster.complete(2);
    cluster.propose(2, "x");
    cluster.complete(2);
    assert_eq!(cluster.node(2).commit(), Slot(5));
    let token = cluster.read(1, 1);
    cluster.complete(1);
    assert_eq!(cluster.bed.node(NodeId(1)).reads(), [], "{token:?}");
    cluster.run();
    assert_eq!(cluster.bed.node(NodeId(1)).reads(), []);
    cluster.assert_sound();
}

fn cluster_holds_the_end(message: &Message) -> bool {
    matches!(message, Message::AppendResponse { outcome: quorate_raft::AppendOutcome::Accepted { matched, .. }, .. } if *matched >= Slot(3))
}
