//! Golden traces: stories everybody knows, with every guard in words.

use crate::script::Script;
use quorate_paxos::{Ballot, Config, Message, Paxos};
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Decision, Input};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};

/// Proposers that accept nothing, then the acceptors A, B, C: the stories keep them apart.
fn cluster(proposers: u64) -> Testbed<Paxos> {
    let proposer = |id| Member { role: MemberRole::Learner, ..Member::voter(NodeId(id)) };
    let acceptors = (proposers + 1..=proposers + 3).map(|id| Member::voter(NodeId(id)));
    Testbed::with_members(Membership::new((1..=proposers).map(proposer).chain(acceptors)), Config::default())
}

fn state(paxos: &Paxos) -> String {
    let accepted = match paxos.accepted() {
        Some(proposal) => format!("accepted {:?} at {}", proposal.value, proposal.ballot),
        None => "accepted nothing".to_owned(),
    };
    let chosen = paxos.chosen().map_or("unknown".to_owned(), |value| format!("{value:?}"));
    format!("promised {}, {accepted}, chosen: {chosen}", paxos.promised())
}

/// Phase 1 of a proposer with two acceptors.
fn prepare(script: &mut Script<Paxos>, proposer: &str, acceptors: [&str; 2]) {
    for acceptor in acceptors {
        script.deliver("prepare", proposer, acceptor);
        script.deliver("promise", acceptor, proposer);
    }
}

#[test]
fn a_proposer_that_returns_must_finish_what_another_got_chosen() {
    let names = [(1, "P1"), (2, "P2"), (3, "A"), (4, "B"), (5, "C")];
    let mut script = Script::new("A value is chosen, nobody knows it, and an old proposer returns", cluster(2), &names);
    script.say("P1 gets promises from A and B; only A receives its accept request; P1 stops");
    script.propose("P1", "x");
    prepare(&mut script, "P1", ["A", "B"]);
    script.deliver("accept", "P1", "A");
    script.crash_and_restart("P1");
    script.lose_all("accept");
    script.lose_all("accepted");
    script.lose_all("prepare");
    script.say("P2 has heard of round 1; B and C promise and accept: y is chosen, and no learner knows");
    script.expire("P2", "inquire");
    script.deliver("prepare", "P2", "B");
    script.deliver("nack", "B", "P2");
    script.lose_all("prepare");
    script.propose("P2", "y");
    prepare(&mut script, "P2", ["B", "C"]);
    script.deliver("accept", "P2", "B");
    script.deliver("accept", "P2", "C");
    script.lose_all("accepted");
    script.lose_all("accept");
    script.lose_all("prepare");
    script.say("P1 returns, having seen round 1 only: A promises, B refuses");
    script.propose("P1", "x");
    script.deliver("prepare", "P1", "A");
    script.deliver("promise", "A", "P1");
    script.deliver("prepare", "P1", "B");
    script.deliver("nack", "B", "P1");
    script.lose_all("prepare");
    script.say("With ballot (3,P1) it sees both values and must take y, of the higher ballot");
    script.expire("P1", "retry");
    prepare(&mut script, "P1", ["A", "B"]);
    script.deliver("accept", "P1", "A");
    script.deliver("accept", "P1", "B");
    script.deliver("accepted", "A", "P1");
    script.deliver("accepted", "B", "P1");
    script.say("The end");
    script.show(state);
    assert_eq!(script.testbed.violation(), None);
    let of = |id| script.testbed.replica(NodeId(id));
    assert_eq!((of(3).promised(), of(4).promised()), (Ballot::new(3, NodeId(1)), Ballot::new(3, NodeId(1))));
    assert_eq!(of(5).promised(), Ballot::new(2, NodeId(2)));
    assert_eq!(script.testbed.chosen().get(&Slot(1)), Some(&Decision::Commands("y".into())));
    script.matches("old_proposer_returns");
}

#[test]
fn an_acceptance_raises_the_promise_so_a_late_accept_is_refused() {
    let names = [(1, "P1"), (2, "P2"), (3, "P3"), (4, "A"), (5, "B"), (6, "C")];
    let mut script = Script::new("Rule 4 raises the promise: the late accept of P1 is refused", cluster(3), &names);
    script.say("P1 prepares ballot 1 and P2 ballot 100, both with A and B");
    script.propose("P1", "a");
    script.deliver("prepare", "P1", "A");
    script.deliver("prepare", "P1", "B");
    let (ballot, promised) = (Ballot::question(NodeId(2)), Ballot::new(99, NodeId(3)));
    let heard = Input::Receive { from: NodeId(4), message: Message::Nack { ballot, promised } };
    script.told("P2", "hears of round 99", heard);
    script.propose("P2", "b");
    prepare(&mut script, "P2", ["A", "B"]);
    script.say("P2's accept reaches B and C, which never promised it: b is chosen");
    script.deliver("accept", "P2", "B");
    script.deliver("accept", "P2", "C");
    script.say("P1's late accept reaches C");
    script.deliver("promise", "A", "P1");
    script.deliver("promise", "B", "P1");
    script.deliver("accept", "P1", "C");
    let refusal = Message::Nack { ballot: Ballot::new(1, NodeId(1)), promised: Ballot::new(100, NodeId(2)) };
    assert!(script.testbed.flights().iter().any(|flight| flight.from == NodeId(6) && flight.message == refusal));
    script.say("P3 prepares ballot 101 with A and C and must take b");
    let (ballot, promised) = (Ballot::question(NodeId(3)), Ballot::new(100, NodeId(2)));
    let heard = Input::Receive { from: NodeId(4), message: Message::Nack { ballot, promised } };
    script.told("P3", "hears of round 100", heard);
    script.propose("P3", "c");
    prepare(&mut script, "P3", ["A", "C"]);
    script.deliver("accept", "P3", "A");
    script.deliver("accept", "P3", "C");
    script.deliver("accepted", "A", "P3");
    script.deliver("accepted", "C", "P3");
    script.deliver("accepted", "B", "P2");
    script.deliver("accepted", "C", "P2");
    script.say("The end");
    script.show(state);
    assert_eq!(script.testbed.violation(), None);
    assert_eq!(script.testbed.chosen().get(&Slot(1)), Some(&Decision::Commands("b".into())));
    script.matches("late_accept_is_refused");
}
