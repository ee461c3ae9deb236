//! Whose turn it is, of all that a leader is asked about the cluster itself.

use crate::seat::*;
use quorate_machine::{Ask, AskError, MachineOutput, MemberFacts};
use quorate_protocol::{Refusal, TRANSFER_IN_VAIN};
use quorate_types::{DiskId, Membership, NodeId};

/// Viewstamped, seeds 10455 and 3187: a move to a member that was down, asked again and again, kept all others waiting until its time
/// was over.
#[test]
fn what_cannot_be_done_now_does_not_keep_others_from_their_turn() {
    let mut leader = Seat::leader(1);
    leader.decide(&Membership::of_voters(3));
    leader.ask(1, Ask::MoveLeader(NodeId(2)));
    leader.ask(2, Ask::MoveLeader(NodeId(3)));
    leader.change(3, remove(2));
    leader.settle(0);
    let transfer = |output: &MachineOutput<()>| match output {
        MachineOutput::Transfer { request, to } => Some((*request, *to)),
        _ => None,
    };
    for (tick, expected) in [(0, 2), (60, 3)] {
        leader.tick(tick);
        let [(request, to)] = leader.take(transfer)[..] else { panic!("one at a time") };
        assert_eq!(to, NodeId(expected));
        leader.refuse(request, &Refusal::NotReady("the one to lead does not keep up"));
    }
    leader.tick(120);
    assert!(leader.wish().is_some(), "the removal has its turn");
}

#[test]
fn changes_of_the_members_stay_in_the_order_in_which_they_were_asked_for() {
    let mut leader = Seat::leader(1);
    leader.decide(&Membership::of_voters(3));
    leader.change(1, add(joining(4)));
    leader.change(2, remove(4));
    leader.settle(0);
    let wish = leader.wish().unwrap();
    leader.refuse(wish.request, &Refusal::NotReady("another change is in progress"));
    leader.tick(60);
    let again = leader.wish().expect("the first, again");
    assert_eq!(again.members, wish.members);
}

/// What members say of themselves is tried first, and where it cannot be written down an ask may help: the removal of one that is
/// behind, say.
#[test]
fn what_members_say_does_not_keep_asks_from_their_turn() {
    let mut leader = Seat::leader(1);
    leader.decide(&Membership::of_voters(4));
    let facts = MemberFacts { id: NodeId(2), disk: DiskId(7), name: "b".to_owned(), client_urls: Vec::new() };
    leader.machine.meet(facts);
    leader.change(1, remove(4));
    leader.settle(0);
    let notes = leader.wish().unwrap();
    assert!(notes.members.contains(NodeId(4)));
    leader.refuse(notes.request, &Refusal::NotReady("too few are in sync"));
    leader.tick(60);
    let removal = leader.wish().unwrap();
    assert!(!removal.members.contains(NodeId(4)));
    leader.refuse(removal.request, &Refusal::NotReady("too few are in sync"));
    leader.tick(120);
    assert_eq!(leader.wish().unwrap().members, notes.members, "in turn");
}

/// Every try stops all writes for as long as it lasts, which may be longer than a lost change is waited for.
#[test]
fn a_move_of_the_lead_that_lasts_is_not_tried_again_beside_itself() {
    let mut leader = Seat::leader(1);
    leader.decide(&Membership::of_voters(3));
    leader.ask(1, Ask::MoveLeader(NodeId(2)));
    leader.settle(0);
    let transfer = |output: &MachineOutput<()>| match output {
        MachineOutput::Transfer { request, .. } => Some(*request),
        _ => None,
    };
    let [request] = leader.take(transfer)[..] else { panic!("it is tried") };
    for tick in (60..4_500).step_by(60) {
        leader.tick(tick);
    }
    assert!(leader.take(transfer).is_empty());
    leader.refuse(request, &Refusal::NotReady(TRANSFER_IN_VAIN));
    assert_eq!(leader.answers(), [(1, Err(AskError::TransferInVain))]);
}
