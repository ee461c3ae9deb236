//! The suite every protocol passes, on small limits so that everything happens.

use quorate_paxos::{AcceptedTo, Config, Paxos, QuorumSizes};
use quorate_protocol::Verdict::{Allowed, Refused, Waiting};
use quorate_protocol::conformance::{Subject, Tally, random_schedules};
use quorate_types::{Member, MemberRole, Membership, NodeId};

fn small_limits() -> Config {
    Config { waiting_limit: 3, compact_after_records: 10, resends_per_ballot: 2, ..Config::default() }
}

fn subject(members: Membership, config: Config) -> Subject<Paxos> {
    Subject {
        members,
        newcomers: Vec::new(),
        config,
        safety: durable_state,
        last_slot: Some(Paxos::SLOT),
        heal_rounds: 400,
    }
}

/// Everything a compaction must keep.
fn durable_state(paxos: &Paxos) -> String {
    format!(
        "promised {:?}, accepted {:?}, chosen {:?}, last round {}, quorums {:?}",
        paxos.promised(),
        paxos.accepted(),
        paxos.chosen(),
        paxos.last_round(),
        paxos.quorums()
    )
}

fn passes(subject: &Subject<Paxos>, seeds: u64) -> Tally {
    random_schedules(subject, 0..seeds, 250).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn three_acceptors_with_majorities() {
    let tally = passes(&subject(Membership::of_voters(3), small_limits()), 300);
    let wanted = [
        "decided",
        "crash",
        "crash losing writes",
        "compaction",
        "checkpoint",
        "read released",
        "refused",
        "garbage",
        "settled late",
        "message repeated",
        "message lost",
        "damage noticed",
        "healed",
    ];
    assert_eq!(tally.never(&wanted), Vec::<&str>::new(), "a vacuous run:\n{tally}");
    for kind in ["prepare", "promise", "accept", "accepted", "nack", "chosen"] {
        assert!(tally.sent(kind) > 0, "no {kind} was sent:\n{tally}");
    }
    let verdicts = [
        ("paxos.ballot", Allowed),
        ("paxos.promise", Allowed),
        ("paxos.promise", Refused),
        ("paxos.value", Allowed),
        ("paxos.value", Refused),
        ("paxos.accept", Allowed),
        ("paxos.accept", Refused),
        ("paxos.chosen", Allowed),
        ("paxos.chosen", Waiting),
        ("paxos.learn", Allowed),
        ("paxos.answer-decided", Allowed),
        ("paxos.back-off", Allowed),
        ("paxos.propose", Refused),
        ("paxos.read", Allowed),
        ("paxos.read", Refused),
        ("paxos.inquire", Allowed),
        ("paxos.compact", Allowed),
        ("paxos.dropped", Refused),
    ];
    for (rule, verdict) in verdicts {
        assert!(tally.fired(rule, verdict) > 0, "{rule} never said {verdict:?}:\n{tally}");
    }
    assert_eq!(tally.fired("paxos.learn", Refused), 0, "agreement");
}

#[test]
fn a_single_acceptor_decides_by_its_own_writes() {
    let tally = passes(&subject(Membership::of_voters(1), small_limits()), 60);
    assert!(tally.count("decided") > 0);
}

#[test]
fn four_acceptors_with_acceptances_told_to_everybody() {
    let config = Config { accepted_to: AcceptedTo::Everybody, ..small_limits() };
    let tally = passes(&subject(Membership::of_voters(4), config), 100);
    assert!(tally.count("decided") > 0);
}

#[test]
fn five_acceptors_with_unequal_quorums() {
    for (phase1, phase2) in [(4, 2), (2, 4), (5, 1), (1, 5)] {
        let config = Config { quorums: QuorumSizes::Flexible { phase1, phase2 }, ..small_limits() };
        let tally = passes(&subject(Membership::of_voters(5), config), 40);
        assert!(tally.count("decided") > 0 && tally.count("healed") > 0, "{phase1} and {phase2}:\n{tally}");
        // Of three acceptors the second promise is a quorum already: only here a proposer waits for more.
        assert_eq!(tally.fired("paxos.value", Waiting) > 0, phase1 > 2, "{phase1} and {phase2}:\n{tally}");
    }
}

#[test]
fn proposers_that_accept_nothing() {
    let learner = |id| Member { role: MemberRole::Learner, ..Member::voter(NodeId(id)) };
    let members = Membership::new((1..=3).map(|id| Member::voter(NodeId(id))).chain([learner(4), learner(5)]));
    let tally = passes(&subject(members, small_limits()), 100);
    assert!(tally.count("decided") > 0);
}
