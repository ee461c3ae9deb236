//! What Paxos owes its driver: refusals, reads, opening, compaction.

use crate::solo::{self, Solo, ballot, proposal, sends, setup, writes};
use quorate_paxos::{Config, Message, Paxos, Proposal, QuorumSizes, Record, Timer};
use quorate_protocol::{
    Decision, Durable, Footprint, Input, LinkState, MembersChange, OpenError, Output, ReadToken, Refusal, Refused,
    Replica, RequestId, Role, SnapshotId, Start, TransferOutcome,
};
use quorate_types::{Incarnation, Member, MemberRole, Membership, NodeId, Slot, Ticket};

fn token(number: u64) -> ReadToken {
    ReadToken { node: NodeId(1), incarnation: Incarnation(1), number }
}

fn read(number: u64) -> Input<Paxos> {
    Input::Read { token: token(number), footprint: Footprint::Everything }
}

fn read_at(number: u64, slot: u64) -> Output<Paxos> {
    Output::ReadAt { token: token(number), slot: Slot(slot) }
}

fn refused(request: u64, why: Refusal) -> Output<Paxos> {
    Output::Refuse { refused: Refused::Request(RequestId(request)), why }
}

fn promise(round: u64, accepted: Option<Proposal>) -> Message {
    Message::Promise { ballot: ballot(round, 1), accepted }
}

fn solo() -> Solo {
    Solo::of(3, 1, &Config::default())
}

#[test]
fn a_proposal_after_the_decision_is_refused_for_certain() {
    let mut solo = solo();
    solo.receive(2, Message::Chosen { value: "x".into() });
    assert_eq!(solo.propose(1, "y"), [refused(1, Refusal::AlreadyDecided)]);
}

#[test]
fn a_decision_refuses_every_proposal_that_lost_and_answers_the_one_that_won() {
    let mut solo = solo();
    solo.propose(1, "lost, though an acceptor has it");
    solo.propose(2, "lost in the queue");
    solo.propose(3, "won");
    solo.persisted();
    solo.receive(2, promise(1, None));
    assert!(solo.paxos.proposing().is_some());
    let outputs = solo.receive(3, Message::Chosen { value: "won".into() });
    let answered = |request| outputs.contains(&refused(request, Refusal::AlreadyDecided));
    assert_eq!([answered(1), answered(2), answered(3)], [true, true, false]);
}

#[test]
fn more_than_may_wait_is_overload() {
    let mut solo = Solo::of(3, 1, &Config { waiting_limit: 1, ..Config::default() });
    solo.propose(1, "x");
    assert_eq!(solo.propose(2, "y"), [refused(2, Refusal::Overloaded)]);
    solo.give(read(1));
    let why = Refusal::Overloaded;
    assert_eq!(solo.give(read(2)), [Output::Refuse { refused: Refused::Read(token(2)), why }]);
}

#[test]
fn membership_changes_and_transfers_are_unsupported() {
    let mut solo = solo();
    let members = Membership::of_voters(3);
    let wish = Input::Reconfigure { request: RequestId(1), based_on: members.clone(), members };
    for input in [wish, Input::Transfer { request: RequestId(1), to: NodeId(2) }] {
        let outputs = solo.give(input);
        assert!(matches!(&outputs[..], [Output::Refuse { why: Refusal::Unsupported(_), .. }]), "{outputs:?}");
    }
}

#[test]
fn a_read_of_the_decided_slot_is_released_at_once() {
    let mut solo = solo();
    solo.receive(2, Message::Chosen { value: "x".into() });
    assert_eq!(solo.give(read(1)), [read_at(1, 1)]);
}

#[test]
fn a_read_is_released_at_nothing_when_a_quorum_had_accepted_nothing_after_it_came() {
    let mut solo = solo();
    solo.give(read(1));
    solo.persisted();
    let outputs = solo.receive(2, promise(1, None));
    assert!(outputs.contains(&read_at(1, 0)), "{outputs:?}");
    assert_eq!(sends(&outputs), [], "nothing is proposed");
}

#[test]
fn a_read_that_came_during_a_ballot_waits_for_the_next() {
    // Its promises may be older than a decision that was made, and acknowledged, before the read came.
    let mut solo = solo();
    solo.give(read(1));
    solo.persisted();
    solo.give(read(2));
    let outputs = solo.receive(2, promise(1, None));
    assert!(outputs.contains(&read_at(1, 0)) && !outputs.contains(&read_at(2, 0)), "{outputs:?}");
    assert_eq!(solo.paxos.preparing(), Some(ballot(2, 1)));
    solo.persisted();
    assert!(solo.receive(3, promise(2, None)).contains(&read_at(2, 0)));
}

#[test]
fn a_read_that_finds_a_value_waits_until_it_is_chosen() {
    let mut solo = solo();
    solo.receive(2, Message::Prepare { ballot: ballot(1, 2) });
    solo.give(read(1));
    solo.persisted();
    solo.receive(2, promise(2, Some(proposal(1, 2, "x"))));
    assert_eq!(solo.paxos.proposing(), Some(&proposal(2, 1, "x")));
    solo.persisted();
    let outputs = solo.receive(2, Message::Accepted { ballot: ballot(2, 1), value: "x".into() });
    assert!(outputs.contains(&read_at(1, 1)), "{outputs:?}");
}

#[test]
fn a_fresh_node_writes_down_who_its_members_are_and_says_so() {
    let start = Start::Found(Membership::of_voters(3));
    let (_, outputs) = Solo::open(setup(1, start), &Config::default(), Durable::nothing()).unwrap();
    let members = Membership::of_voters(3);
    assert_eq!(writes(&outputs), [Record::Founded { members: members.clone(), phase1: 2, phase2: 2 }]);
    assert!(outputs.contains(&Output::Members { members, change: MembersChange::Opened }));
    assert!(outputs.contains(&Output::Lead { era: 0, who: Some(NodeId(1)), ready: true, settled: false }));
}

#[test]
fn durable_members_count_and_the_setup_does_not() {
    let config = Config::default();
    let first = Solo::of(3, 1, &config);
    let found = Durable { records: first.records, anchor: None, applied: Slot::ZERO };
    let start = Start::Found(Membership::of_voters(5));
    let (again, _) = Solo::open(setup(1, start), &config, found).unwrap();
    assert_eq!(again.paxos.status().membership, Membership::of_voters(3));
}

#[test]
fn a_node_that_joined_knows_nobody_and_learns_what_it_is_told() {
    let config = Config::default();
    let (mut solo, outputs) = Solo::open(setup(9, Start::Join), &config, Durable::nothing()).unwrap();
    assert!(outputs.contains(&Output::Lead { era: 0, who: Some(NodeId(9)), ready: false, settled: false }));
    assert_eq!(solo.paxos.status().role, Role::Outsider);
    assert_eq!(solo.propose(1, "x"), [refused(1, Refusal::NotLeader { hint: None })]);
    assert_eq!(solo.receive(1, Message::Prepare { ballot: ballot(1, 1) }), []);
    solo.receive(1, Message::Chosen { value: "x".into() });
    let decide = Output::Decide { slot: Slot(1), decision: Decision::Commands("x".into()) };
    assert_eq!(solo.persisted(), std::slice::from_ref(&decide));
    // It stays an outsider when it opens again, whatever the setup says by then.
    let found = Durable { records: solo.records, anchor: None, applied: Slot::ZERO };
    let (_, outputs) = Solo::open(setup(9, Start::Found(Membership::of_voters(3))), &config, found).unwrap();
    assert!(outputs.contains(&decide));
}

#[test]
fn the_decision_is_handed_out_again_after_a_restart_unless_it_is_applied_durably() {
    let mut solo = solo();
    solo.receive(2, Message::Chosen { value: "x".into() });
    let decided = |applied| {
        let found = Durable { records: solo.records.clone(), anchor: None, applied };
        let (_, outputs) = Solo::open(setup(1, Start::Join), &Config::default(), found).unwrap();
        outputs.iter().any(|output| matches!(output, Output::Decide { .. }))
    };
    assert!(decided(Slot(0)));
    assert!(!decided(Slot(1)));
}

#[test]
fn a_member_that_is_no_voter_proposes_and_accepts_nothing() {
    let learner = Member { role: MemberRole::Learner, ..Member::voter(NodeId(4)) };
    let members = Membership::new(Membership::of_voters(3).members().iter().cloned().chain([learner]));
    let (mut solo, _) = Solo::open(setup(4, Start::Found(members)), &Config::default(), Durable::nothing()).unwrap();
    assert_eq!(solo.paxos.status().role, Role::Learner);
    assert_eq!(sends(&solo.receive(1, Message::Prepare { ballot: ballot(1, 1) })), []);
    let outputs = solo.propose(1, "x");
    assert_eq!(writes(&outputs), [Record::Round(2)], "no promise of its own");
    assert_eq!(sends(&outputs).len(), 3);
    solo.persisted();
    solo.receive(4, Message::Promise { ballot: ballot(2, 4), accepted: None });
    solo.receive(1, Message::Promise { ballot: ballot(2, 4), accepted: None });
    assert_eq!(solo.paxos.proposing(), None, "a message from itself is none");
}

#[test]
fn a_peer_that_is_reachable_again_is_told_what_it_may_have_missed() {
    let mut solo = solo();
    solo.propose(1, "x");
    solo.persisted();
    let up = |peer| Input::Link { peer: NodeId(peer), state: LinkState::Up };
    assert_eq!(sends(&solo.give(up(3))), [(3, Message::Prepare { ballot: ballot(1, 1) }, Ticket::NONE)]);
    solo.receive(2, Message::Chosen { value: "y".into() });
    assert_eq!(sends(&solo.give(up(3))), [(3, Message::Chosen { value: "y".into() }, Ticket::NONE)]);
    assert_eq!(sends(&solo.give(up(77))), []);
}

#[test]
fn contradicting_records_do_not_open() {
    let chosen = |value: &'static str| Record::Chosen(value.into());
    let founded = |count| Record::Founded { members: Membership::of_voters(count), phase1: 2, phase2: 2 };
    let cases = [
        vec![Record::Round(3), Record::Round(2)],
        vec![Record::Promised(ballot(3, 1)), Record::Promised(ballot(2, 1))],
        vec![Record::Accepted(proposal(3, 1, "x")), Record::Accepted(proposal(3, 1, "y"))],
        vec![Record::Accepted(proposal(3, 1, "x")), Record::Accepted(proposal(2, 1, "x"))],
        vec![chosen("x"), chosen("y")],
        vec![founded(3), founded(2)],
    ];
    for records in cases {
        let records: Vec<_> = records.into_iter().map(|record| (Ticket(1), record)).collect();
        let found = Durable { records: records.clone(), anchor: None, applied: Slot::ZERO };
        let opened = Solo::open(setup(1, Start::Join), &Config::default(), found).map(|_| ());
        assert!(matches!(opened, Err(OpenError::Inconsistent { .. })), "{records:?}: {opened:?}");
    }
    for applied in [Slot(1), Slot(2)] {
        let found = Durable { records: Vec::new(), anchor: None, applied };
        let opened = Solo::open(setup(1, Start::Join), &Config::default(), found).map(|_| ());
        assert!(matches!(opened, Err(OpenError::Inconsistent { .. })), "applied {applied}: {opened:?}");
    }
}

#[test]
fn settings_that_make_no_sense_do_not_open() {
    let fresh = |config: Config| {
        let start = Start::Found(Membership::of_voters(3));
        Solo::open(setup(1, start), &config, Durable::nothing()).map(|_| ())
    };
    let wrong = [
        Config { back_off_base_ms: 0, ..Config::default() },
        Config { back_off_base_ms: 9, back_off_cap_ms: 8, ..Config::default() },
        Config { resend_after_ms: 0, ..Config::default() },
        Config { inquire_after_ms: 0, ..Config::default() },
        Config { waiting_limit: 0, ..Config::default() },
        Config { compact_after_records: 9, ..Config::default() },
        Config { quorums: QuorumSizes::Flexible { phase1: 1, phase2: 2 }, ..Config::default() },
        Config { quorums: QuorumSizes::Flexible { phase1: 0, phase2: 4 }, ..Config::default() },
    ];
    for config in wrong {
        assert!(matches!(fresh(config.clone()), Err(OpenError::Settings { .. })), "{config:?}");
    }
    assert_eq!(fresh(Config::default()), Ok(()));
    let nobody = Start::Found(Membership::default());
    let opened = Solo::open(setup(1, nobody), &Config::default(), Durable::nothing()).map(|_| ());
    assert!(matches!(opened, Err(OpenError::Settings { .. })), "{opened:?}");
}

#[test]
fn quorum_sizes_are_fixed_at_founding() {
    let first = solo();
    let found = Durable { records: first.records, anchor: None, applied: Slot::ZERO };
    let config = Config { quorums: QuorumSizes::Flexible { phase1: 3, phase2: 1 }, ..Config::default() };
    let opened = Solo::open(setup(1, Start::Join), &config, found).map(|_| ());
    assert!(matches!(opened, Err(OpenError::Settings { .. })), "{opened:?}");
}

#[test]
fn a_long_journal_is_rewritten_as_the_latest_of_each_kind() {
    let mut solo = Solo::of(3, 2, &Config { compact_after_records: 10, ..Config::default() });
    let mut compacted = None;
    for round in 1..20 {
        let outputs = solo.receive(1, Message::Prepare { ballot: ballot(round, 1) });
        let compaction = |output: Output<Paxos>| match output {
            Output::Compact { baseline, drop_before, ticket } => Some((round, baseline, drop_before, ticket)),
            _ => None,
        };
        compacted = compacted.or(outputs.into_iter().find_map(compaction));
    }
    let (round, baseline, drop_before, ticket) = compacted.expect("ten records are too long");
    assert_eq!((round, drop_before), (9, ticket), "the founding record and nine promises");
    let founded = Record::Founded { members: Membership::of_voters(3), phase1: 2, phase2: 2 };
    assert_eq!(baseline, [founded, Record::Promised(ballot(9, 1))]);
}

#[test]
fn two_claims_of_a_decision_stop_the_node() {
    let mut solo = solo();
    solo.receive(2, Message::Chosen { value: "x".into() });
    let mut out = quorate_protocol::Outbox::new(solo.last_ticket(), false);
    let message = Message::Chosen { value: "y".into() };
    solo.paxos.step(&mut solo::NoChance, Input::Receive { from: NodeId(3), message }, &mut out);
    let violation = solo.paxos.check_invariants().unwrap_err();
    assert_eq!(violation.invariant, "I4 Agreement");
}

#[test]
fn stale_news_changes_nothing() {
    let mut solo = solo();
    let before = solo.paxos.clone();
    let stale = [
        Input::Expired(Timer::Retry),
        Input::Expired(Timer::Resend),
        Input::Persisted(Ticket(0)),
        Input::SnapshotPinned { id: SnapshotId(1), to: NodeId(2), through: Slot(1) },
        Input::SnapshotSent { to: NodeId(2), id: SnapshotId(1), outcome: TransferOutcome::Failed },
        Input::Link { peer: NodeId(2), state: LinkState::Down },
        Input::Receive { from: NodeId(1), message: Message::Prepare { ballot: ballot(1, 1) } },
        Input::Receive { from: NodeId(8), message: Message::Prepare { ballot: ballot(1, 8) } },
        Input::Receive { from: NodeId(2), message: Message::Prepare { ballot: ballot(7, 3) } },
        Input::Receive { from: NodeId(2), message: promise(1, None) },
        Input::Receive { from: NodeId(2), message: Message::Accept { ballot: ballot(0, 2), value: "x".into() } },
    ];
    for input in stale {
        assert_eq!(solo.give(input.clone()), [], "{input:?}");
        assert_eq!(solo.paxos, before, "{input:?}");
    }
}
