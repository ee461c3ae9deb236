//! Every answer about named voters, compared with a slow twin that enumerates all subsets.

use proptest::prelude::*;
use quorate_quorum::{HalfTally, Quorum, VoteOutcome, has_majority, majority};
use quorate_types::{Member, MemberRole, Membership, NodeId};

/// Ids 1 to 7; a set of them is the bits of a mask.
const IDS: u64 = 7;
const SETS: u64 = 1 << IDS;

fn is_in(mask: u64) -> impl Fn(NodeId) -> bool {
    move |id| mask >> (id.0 - 1) & 1 == 1
}

fn members_of(mask: u64) -> Vec<NodeId> {
    (1..=IDS).map(NodeId).filter(|id| is_in(mask)(*id)).collect()
}

/// The twin: more than half of a non-empty half, by counting bits.
fn twin_half(half: u64, acknowledged: u64) -> bool {
    2 * (half & acknowledged).count_ones() > half.count_ones()
}

fn twin_satisfied(old: u64, new: u64, acknowledged: u64) -> bool {
    match (old, new) {
        (0, 0) => false,
        (half, 0) | (0, half) => twin_half(half, acknowledged),
        (old, new) => twin_half(old, acknowledged) && twin_half(new, acknowledged),
    }
}

#[test]
fn a_majority_is_the_least_number_of_which_any_two_sets_meet() {
    for voters in 1..=IDS {
        let all = (1 << voters) - 1;
        let size = majority(voters as usize) as u32;
        let sets_of = |size: u32| (0..=all).filter(move |set: &u64| set.count_ones() == size);
        assert!(sets_of(size).all(|one| sets_of(size).all(|other| one & other != 0)), "majority of {voters}");
        assert!(
            size == 1 || sets_of(size - 1).any(|one| sets_of(size - 1).any(|other| one & other == 0)),
            "a smaller majority of {voters} would do"
        );
    }
}

#[test]
fn a_single_quorum_agrees_with_counting_for_every_voter_set_and_every_set_of_votes() {
    for voters in 0..SETS {
        let quorum = Quorum::single(members_of(voters));
        for acknowledged in 0..SETS {
            let expected = twin_satisfied(voters, 0, acknowledged);
            assert_eq!(quorum.is_satisfied(is_in(acknowledged)), expected, "{voters:b} {acknowledged:b}");
            assert_eq!(has_majority(members_of(voters), is_in(acknowledged)), expected);
        }
    }
}

#[test]
fn a_joint_quorum_needs_a_majority_of_each_half_and_an_empty_half_asks_nothing() {
    // Votes outside both halves change nothing, as the single quorums show; so six ids suffice.
    for old in 0..64 {
        for new in 0..64 {
            let quorum = Quorum::joint(members_of(old), members_of(new));
            for acknowledged in 0..64 {
                assert_eq!(
                    quorum.is_satisfied(is_in(acknowledged)),
                    twin_satisfied(old, new, acknowledged),
                    "{old:b} {new:b} {acknowledged:b}"
                );
            }
        }
    }
}

#[test]
fn any_two_joint_quorums_meet_and_each_meets_every_quorum_of_either_half() {
    for (old, new) in [(0b00111, 0b11100), (0b00011, 0b11100), (0b00001, 0b00010), (0b01111, 0b11110)] {
        let joint = Quorum::joint(members_of(old), members_of(new));
        let old_alone = Quorum::single(members_of(old));
        let new_alone = Quorum::single(members_of(new));
        for one in (0..32).filter(|set| joint.is_satisfied(is_in(*set))) {
            for other in 0..32 {
                for quorum in [&joint, &old_alone, &new_alone] {
                    assert!(!quorum.is_satisfied(is_in(other)) || one & other != 0, "{one:b} misses {other:b}");
                }
            }
        }
    }
}

/// The twin of a vote: try every way in which the silent voters could still answer.
fn twin_outcome(old: u64, new: u64, granted: u64, refused: u64) -> VoteOutcome {
    let silent = (old | new) & !granted & !refused;
    let mut futures = (0..SETS).filter(|more| more & !silent == 0).map(|more| twin_satisfied(old, new, granted | more));
    if twin_satisfied(old, new, granted) {
        VoteOutcome::Won
    } else if futures.any(|wins| wins) {
        VoteOutcome::Pending
    } else {
        VoteOutcome::Lost
    }
}

#[test]
fn a_vote_is_pending_exactly_while_some_answer_of_the_silent_could_win_it() {
    for (old, new) in
        [(0b1, 0), (0b11, 0), (0b111, 0), (0b1111, 0), (0b11111, 0), (0, 0), (0b111, 0b11100), (0b11, 0b1)]
    {
        let quorum = Quorum::joint(members_of(old), members_of(new));
        for granted in 0..32 {
            for refused in (0..32).filter(|refused| refused & granted == 0) {
                assert_eq!(
                    quorum.outcome(is_in(granted), is_in(refused)),
                    twin_outcome(old, new, granted, refused),
                    "{old:b} {new:b} granted {granted:b} refused {refused:b}"
                );
            }
        }
    }
}

#[test]
fn who_granted_has_granted_even_if_also_named_as_refusing() {
    let quorum = Quorum::single(members_of(0b111));
    assert_eq!(quorum.outcome(is_in(0b011), is_in(0b111)), VoteOutcome::Won);
}

/// The twin of commit: the greatest number that a satisfied set has reached as a whole.
fn twin_agreed(quorum: &Quorum, reached: &[u64; 5]) -> u64 {
    let at_least = |bound: u64| quorum.is_satisfied(|id| reached[id.0 as usize - 1] >= bound);
    (1..=3).rev().find(|bound| at_least(*bound)).unwrap_or(0)
}

#[test]
fn the_agreed_value_is_the_greatest_that_a_quorum_has_reached() {
    for (old, new) in [(0b1, 0), (0b11, 0), (0b111, 0), (0b1111, 0), (0b11111, 0), (0, 0b111), (0b111, 0b11100), (0, 0)]
    {
        let quorum = Quorum::joint(members_of(old), members_of(new));
        for code in 0..4_u64.pow(5) {
            let reached = [code % 4, code / 4 % 4, code / 16 % 4, code / 64 % 4, code / 256 % 4];
            assert_eq!(
                quorum.agreed_value(|id| reached[id.0 as usize - 1]),
                twin_agreed(&quorum, &reached),
                "{old:b} {new:b} {reached:?}"
            );
        }
    }
}

#[test]
fn nobody_is_never_a_majority() {
    for nobody in [Quorum::default(), Quorum::single([]), Quorum::joint([], []), Quorum::of(&Membership::default())] {
        assert!(nobody.is_empty());
        assert!(!nobody.is_satisfied(|_| true));
        assert!(!nobody.is_sole_voter(NodeId(1)));
        assert_eq!(nobody.agreed_value(|_| 9), 0);
        assert_eq!(nobody.outcome(|_| true, |_| false), VoteOutcome::Lost);
        assert_eq!(nobody.tally(|_| true), []);
    }
}

#[test]
fn a_voter_named_twice_has_one_vote() {
    let voters = [NodeId(1), NodeId(2), NodeId(1), NodeId(1), NodeId(3)];
    assert!(!has_majority(voters, |id| id == NodeId(1)));
    assert_eq!(Quorum::single(voters), Quorum::single(members_of(0b111)));
}

#[test]
fn only_the_one_voter_of_every_half_is_the_sole_voter() {
    let one = [NodeId(1)];
    let two = [NodeId(2)];
    assert!(Quorum::single(one).is_sole_voter(NodeId(1)));
    assert!(!Quorum::single(one).is_sole_voter(NodeId(2)), "a leader outside a configuration of one must ask it");
    assert!(Quorum::joint(one, []).is_sole_voter(NodeId(1)));
    assert!(Quorum::joint(one, one).is_sole_voter(NodeId(1)));
    assert!(!Quorum::joint(one, two).is_sole_voter(NodeId(1)));
    assert!(!Quorum::joint(one, [NodeId(1), NodeId(2)]).is_sole_voter(NodeId(1)));
}

#[test]
fn learners_do_not_count_and_witnesses_do() {
    let learner = Member { role: MemberRole::Learner, ..Member::voter(NodeId(2)) };
    let witness = Member { role: MemberRole::Witness, ..Member::voter(NodeId(3)) };
    let quorum = Quorum::of(&Membership::new([Member::voter(NodeId(1)), learner, witness]));
    assert_eq!(quorum, Quorum::single([NodeId(1), NodeId(3)]));
    assert!(quorum.contains(NodeId(3)) && !quorum.contains(NodeId(2)));
}

#[test]
fn a_joint_quorum_names_each_voter_once_and_tallies_each_half() {
    let quorum = Quorum::joint(members_of(0b00111), members_of(0b11100));
    assert!(quorum.is_joint());
    assert_eq!(quorum.voters().collect::<Vec<_>>(), members_of(0b11111));
    assert_eq!(
        quorum.tally(is_in(0b01110)),
        [HalfTally { have: 2, need: 2, voters: 3 }, HalfTally { have: 2, need: 2, voters: 3 }]
    );
    assert!(!Quorum::joint(members_of(0b111), []).is_joint());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn large_memberships_agree_like_small_ones(reached in proptest::collection::vec(0_u64..50, 1..60)) {
        let quorum = Quorum::single((0..reached.len() as u64).map(NodeId));
        let agreed = quorum.agreed_value(|id| reached[id.0 as usize]);
        let at_least = |bound: u64| 2 * reached.iter().filter(|value| **value >= bound).count() > reached.len();
        prop_assert!(at_least(agreed), "a majority reached it");
        prop_assert!(!at_least(agreed + 1), "and no majority reached more");
    }
}
