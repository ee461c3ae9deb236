//! The sizes: one table as a golden, and the property each size is there for, for every small cluster.

use quorate_quorum::{
    Byzantine, Flexible, InvalidQuorum, byzantine_faults, byzantine_quorum, byzantine_weak, crash_faults,
    exceeds_one_third, exceeds_two_thirds, fast_basic, fast_optimised, fast_plain, majority, slow_quorum,
};

/// Pairs of flexible sizes in which neither can shrink, the larger first.
fn minimal_pairs(voters: usize) -> String {
    let pairs: Vec<String> = (1..=voters)
        .flat_map(|phase1| (1..=phase1).map(move |phase2| (phase1, phase2)))
        .filter(|(phase1, phase2)| Flexible::new(voters, *phase1, *phase2).is_ok_and(Flexible::is_minimal))
        .map(|(phase1, phase2)| format!("({phase1},{phase2})"))
        .collect();
    pairs.join(" ")
}

fn row(voters: usize) -> String {
    format!(
        "{voters:>2} | {} | {} | {:<29} | {} / {} / {} | {} | {} | {}",
        crash_faults(voters),
        majority(voters),
        minimal_pairs(voters),
        fast_optimised(voters).expect("there are voters"),
        fast_plain(voters).expect("there are voters"),
        fast_basic(voters).map_or("-".to_owned(), |size| size.to_string()),
        byzantine_faults(voters),
        byzantine_quorum(voters),
        byzantine_weak(voters),
    )
}

#[test]
fn the_table_of_sizes() {
    let table: Vec<String> = (1..=9).map(row).collect();
    //   n | f | majority | minimal flexible pairs | fast optimised / plain / basic | Byzantine f | quorum | weak
    let expected = [
        " 1 | 0 | 1 | (1,1)                         | 1 / 1 / 1 | 0 | 1 | 1",
        " 2 | 0 | 2 | (2,1)                         | 2 / 2 / - | 0 | 2 | 1",
        " 3 | 1 | 2 | (2,2) (3,1)                   | 2 / 3 / 2 | 0 | 2 | 1",
        " 4 | 1 | 3 | (3,2) (4,1)                   | 3 / 3 / - | 1 | 3 | 2",
        " 5 | 2 | 3 | (3,3) (4,2) (5,1)             | 3 / 4 / 4 | 1 | 4 | 2",
        " 6 | 2 | 4 | (4,3) (5,2) (6,1)             | 4 / 5 / - | 1 | 4 | 2",
        " 7 | 3 | 4 | (4,4) (5,3) (6,2) (7,1)       | 5 / 6 / 6 | 2 | 5 | 3",
        " 8 | 3 | 5 | (5,4) (6,3) (7,2) (8,1)       | 5 / 6 / - | 2 | 6 | 3",
        " 9 | 4 | 5 | (5,5) (6,4) (7,3) (8,2) (9,1) | 6 / 7 / 8 | 2 | 6 | 3",
    ];
    assert_eq!(table, expected);
}

/// All sets of `size` among `voters`, as masks.
fn sets(voters: usize, size: usize) -> impl Iterator<Item = u32> {
    (0..1_u32 << voters).filter(move |set| set.count_ones() as usize == size)
}

fn always_share(voters: usize, one: usize, other: usize, shared: u32) -> bool {
    sets(voters, one).all(|left| sets(voters, other).all(|right| (left & right).count_ones() >= shared))
}

#[test]
fn flexible_sizes_are_accepted_exactly_if_every_two_quorums_meet() {
    for voters in 1..=7 {
        for phase1 in 1..=voters {
            for phase2 in 1..=voters {
                let accepted = Flexible::new(voters, phase1, phase2);
                assert_eq!(accepted.is_ok(), always_share(voters, phase1, phase2, 1), "{voters} {phase1} {phase2}");
                if let Ok(sizes) = accepted {
                    assert!(sizes.is_phase1(phase1) && !sizes.is_phase1(phase1 - 1));
                    assert!(sizes.is_phase2(phase2) && !sizes.is_phase2(phase2 - 1));
                    assert_eq!((sizes.voters(), sizes.phase1(), sizes.phase2()), (voters, phase1, phase2));
                }
            }
        }
        assert_eq!(Flexible::majorities(voters), Flexible::new(voters, majority(voters), majority(voters)));
    }
}

#[test]
fn impossible_sizes_are_refused_by_name() {
    assert_eq!(Flexible::new(0, 1, 1), Err(InvalidQuorum::NoVoters));
    assert_eq!(Flexible::majorities(0), Err(InvalidQuorum::NoVoters));
    assert_eq!(Flexible::new(3, 0, 3), Err(InvalidQuorum::SizeOutOfRange { size: 0, voters: 3 }));
    assert_eq!(Flexible::new(3, 3, 4), Err(InvalidQuorum::SizeOutOfRange { size: 4, voters: 3 }));
    assert_eq!(
        Flexible::new(3, usize::MAX, usize::MAX),
        Err(InvalidQuorum::SizeOutOfRange { size: usize::MAX, voters: 3 })
    );
    assert_eq!(
        Flexible::new(4, 2, 2).unwrap_err().to_string(),
        "phase-1 quorums of 2 and phase-2 quorums of 2 need not meet among 4 voters: \
         the two sizes must add up to more than 4"
    );
}

#[test]
fn two_byzantine_quorums_share_an_honest_voter_and_the_honest_alone_make_one() {
    for voters in 1..=8 {
        for faults in 0..=byzantine_faults(voters) {
            let sizes = Byzantine::tolerating(voters, faults).unwrap();
            let honest_shared = faults as u32 + 1;
            assert!(always_share(voters, sizes.quorum(), sizes.quorum(), honest_shared), "{voters} {faults}");
            assert!(
                !always_share(voters, sizes.quorum() - 1, sizes.quorum() - 1, honest_shared),
                "{voters} {faults}: one vote fewer would do"
            );
            assert!(sizes.quorum() <= voters - faults, "{voters} {faults}: liars can block by silence");
            assert_eq!(sizes.weak(), faults + 1);
        }
        let most = Byzantine::among(voters).unwrap();
        assert_eq!(most.faults(), byzantine_faults(voters));
        assert_eq!((most.quorum(), most.weak()), (byzantine_quorum(voters), byzantine_weak(voters)));
    }
}

#[test]
fn two_f_plus_one_is_a_byzantine_quorum_only_if_n_is_three_f_plus_one() {
    for voters in 1..200 {
        let faults = byzantine_faults(voters);
        assert_eq!(byzantine_quorum(voters) == 2 * faults + 1, voters == 3 * faults + 1, "{voters}");
    }
}

#[test]
fn too_many_liars_are_refused() {
    assert_eq!(Byzantine::tolerating(3, 1), Err(InvalidQuorum::TooManyLiars { voters: 3, faults: 1 }));
    assert_eq!(
        Byzantine::tolerating(4, usize::MAX),
        Err(InvalidQuorum::TooManyLiars { voters: 4, faults: usize::MAX })
    );
    assert_eq!(Byzantine::among(0), Err(InvalidQuorum::NoVoters));
}

#[test]
fn powers_are_compared_exactly() {
    for total in 1..60_u64 {
        for power in 0..=total {
            assert_eq!(
                exceeds_two_thirds(power, total),
                power > total - power && power - (total - power) > total - power
            );
            assert_eq!(exceeds_one_third(power, total), 3 * power > total);
        }
    }
    assert!(!exceeds_two_thirds(0, 0), "nothing of nothing is no quorum");
    assert!(exceeds_two_thirds(u64::MAX, u64::MAX));
    assert!(!exceeds_two_thirds(u64::MAX / 3 * 2, u64::MAX));
    assert!(exceeds_two_thirds(u64::MAX / 3 * 2 + 1, u64::MAX));
    assert!(!exceeds_one_third(u64::MAX / 3, u64::MAX));
    assert!(exceeds_one_third(u64::MAX / 3 + 1, u64::MAX));
}

#[test]
fn a_fast_quorum_loses_as_many_voters_as_its_bound_allows() {
    let most_fast_faults = |voters: usize, needed: &dyn Fn(usize, usize) -> usize| {
        let faults = crash_faults(voters);
        (0..=faults).rev().find(|fast| voters >= needed(*fast, faults)).expect("0 always fits")
    };
    for voters in 1..=40 {
        let optimised = most_fast_faults(voters, &|fast, faults| (2 * fast + faults).saturating_sub(1));
        assert_eq!(fast_optimised(voters), Ok(voters - optimised), "{voters}");
        let plain = most_fast_faults(voters, &|fast, faults| 2 * fast + faults + 1);
        assert_eq!(fast_plain(voters), Ok(voters - plain), "{voters}");
        assert_eq!(slow_quorum(voters), Ok(majority(voters)), "{voters}");
    }
}

#[test]
fn the_optimised_fast_quorum_has_the_sizes_of_2013_for_odd_clusters() {
    for half in 1..20 {
        let voters = 2 * half + 1;
        assert_eq!(fast_optimised(voters), Ok(half + half.div_ceil(2)), "F + floor((F + 1) / 2)");
        assert_eq!(fast_optimised(voters), Ok(3 * voters / 4), "the often quoted floor(3N / 4)");
        assert_eq!(fast_basic(voters), Ok(2 * half));
        assert_eq!(fast_basic(voters + 1), Err(InvalidQuorum::EvenVoters { voters: voters + 1 }));
    }
    for size in [fast_optimised(0), fast_plain(0), fast_basic(0), slow_quorum(0)] {
        assert_eq!(size, Err(InvalidQuorum::NoVoters));
    }
}
