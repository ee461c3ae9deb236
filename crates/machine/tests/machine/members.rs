//! Changes of the members: carried to the leader, judged there, over when the asker sees them decided.

use crate::seat::*;
use bytes::Bytes;
use quorate_machine::{
    Ask, AskError, ClientTag, Consistency, Machine, MachineConfig, MachineImage, MachineOutput, MemberChange,
    MemberFacts, RequestError,
};
use quorate_protocol::{LEARNER_NOT_IN_SYNC, Refusal, TRANSFER_IN_VAIN};
use quorate_types::{DiskId, Incarnation, Member, MemberRole, Membership, NodeId, Slot};

#[test]
fn the_first_change_writes_the_founders_and_the_asked_one_follows() {
    let mut leader = Seat::leader(1);
    leader.change(7, add(joining(4)));
    established(&mut leader);
    let wish = leader.wish().unwrap();
    assert_eq!(wish.members.members().len(), 4);
    assert_eq!(leader.answers(), [], "nothing is decided yet");
    leader.decide(&wish.members);
    assert_eq!(leader.answers(), [(7, Ok(()))]);
    leader.settle(0);
    assert!(leader.wish().is_none());
}

#[test]
fn an_ask_goes_to_the_leader_and_is_over_where_it_was_asked_once_decided_there() {
    let (mut leader, mut follower) = (Seat::leader(1), Seat::new(2));
    follower.follow(1, 1);
    follower.change(5, remove(3));
    follower.settle(0);
    assert_eq!(carry(&mut follower, &mut leader), 1);
    established(&mut leader);
    let founders = leader.in_force.clone();
    let wish = leader.wish().unwrap();
    leader.decide(&wish.members);
    follower.decide(&founders);
    assert_eq!(follower.answers(), []);
    follower.decide(&wish.members);
    assert_eq!(follower.answers(), [(5, Ok(()))]);
    assert!(follower.machine.roster().is_removed(NodeId(3)));
    assert_eq!(follower.machine.digest(), leader.machine.digest());
}

#[test]
fn an_ask_that_was_carried_out_under_an_earlier_leader_is_not_carried_out_again() {
    let mut leader = Seat::leader(1);
    leader.change(5, add(joining(4)));
    established(&mut leader);
    let wish = leader.wish().unwrap();
    let founders = leader.in_force.clone();
    // Another one leads, and finds it decided.
    let mut next = Seat::leader(2);
    next.decide(&founders);
    next.decide(&wish.members);
    leader.follow(2, 2);
    leader.settle(0);
    assert_eq!(carry(&mut leader, &mut next), 1, "it asks the new one");
    next.settle(0);
    assert!(next.wish().is_none(), "the member is there");
    assert_eq!(carry(&mut next, &mut leader), 0, "and nothing needs to be said");
    leader.decide(&wish.members);
    assert_eq!(leader.answers(), [(5, Ok(()))]);
}

#[test]
fn whoever_does_not_lead_says_so_and_the_ask_waits_for_a_tick() {
    let (mut asker, mut other) = (Seat::new(2), Seat::new(1));
    asker.follow(1, 1);
    other.follow(2, 3);
    asker.change(5, remove(3));
    asker.settle(0);
    carry(&mut asker, &mut other);
    carry(&mut other, &mut asker);
    asker.settle(0);
    assert_eq!(asker.sent_to(3).len(), 1, "it follows the hint");
}

#[test]
fn refusals_are_definite_and_tell_why() {
    let mut leader = Seat::leader(1);
    leader.change(1, remove(9));
    established(&mut leader);
    assert_eq!(leader.answers(), [(1, Err(AskError::NotFound))]);

    let shared = Member { peer_urls: vec!["http://10.0.0.4:2380".to_owned()], ..joining(5) };
    for (tag, change) in [(2, add(joining(4))), (3, add(shared))] {
        leader.change(tag, change);
        leader.settle(0);
        if let Some(wish) = leader.wish() {
            leader.decide(&wish.members);
        }
    }
    leader.settle(0);
    assert_eq!(leader.answers(), [(2, Ok(())), (3, Err(AskError::PeerUrlTaken))]);

    leader.change(4, MemberChange::Promote { id: NodeId(2), replacing: None });
    leader.settle(0);
    assert_eq!(leader.answers(), [(4, Ok(()))], "a voter is what it is to become");
    leader.change(5, MemberChange::Promote { id: NodeId(4), replacing: None });
    leader.settle(0);
    let wish = leader.wish().unwrap();
    assert!(wish.members.is_voter(NodeId(4)));
    leader.refuse(wish.request, &Refusal::NotReady(LEARNER_NOT_IN_SYNC));
    assert_eq!(leader.answers(), [(5, Err(AskError::NotInSync))]);

    leader.change(6, remove(4));
    leader.settle(0);
    let wish = leader.wish().unwrap();
    leader.decide(&wish.members);
    assert_eq!(leader.answers(), [(6, Ok(()))]);
    leader.change(7, add(joining(4)));
    leader.settle(0);
    assert_eq!(leader.answers(), [(7, Err(AskError::IdTaken))], "nobody comes back under an old id");
}

#[test]
fn the_quorum_of_started_members_is_protected_as_in_etcd() {
    let mut leader = Seat::leader(1);
    leader.in_force = Membership::of_voters(1);
    leader.change(1, add(joining(2)));
    leader.settle(0);
    let founders = leader.wish().unwrap();
    leader.decide(&founders.members);
    leader.settle(0);
    let second = leader.wish().expect("one member may always get a second one");
    leader.decide(&second.members);
    leader.change(2, add(joining(3)));
    leader.change(3, remove(1));
    leader.settle(0);
    let refused = Err(AskError::NotEnoughStarted);
    assert_eq!(leader.answers(), [(1, Ok(())), (2, refused.clone()), (3, refused)]);
}

/// What the leader of these members says to a witness, strictly: it counts at once, also as long as it is not started.
fn strict_word_on_a_witness(members: &[Member]) -> Result<Membership, AskError> {
    let members = Membership::new(members.iter().cloned());
    let change = add(Member { role: MemberRole::Witness, ..joining(9) });
    change.why_refused(&members).map_or(Ok(members), Err)
}

#[test]
fn a_witness_that_would_cost_the_majority_until_it_starts_is_refused() {
    let started = |id, role| Member { role, name: format!("m{id}"), ..joining(id) };
    let (first, second) = (started(1, MemberRole::Voter), started(2, MemberRole::Voter));
    let refused = Err(AskError::NotEnoughStarted);
    assert_eq!(strict_word_on_a_witness(std::slice::from_ref(&first)), refused, "beside it one of two would be left");
    let catching_up = started(2, MemberRole::Joining);
    assert_eq!(strict_word_on_a_witness(&[first.clone(), catching_up]), refused, "who catches up does not count yet");
    let learner = started(2, MemberRole::Learner);
    assert_eq!(strict_word_on_a_witness(&[first.clone(), learner]), refused);
    let not_started = Member { role: MemberRole::Voter, ..joining(2) };
    assert_eq!(strict_word_on_a_witness(&[first.clone(), not_started]), refused);
    assert!(strict_word_on_a_witness(&[first.clone(), second.clone()]).is_ok(), "two of three");
    let witness_to_be = Member { role: MemberRole::Witness, ..joining(3) };
    assert_eq!(strict_word_on_a_witness(&[first, second, witness_to_be]), refused, "two of four");
}

#[test]
fn the_refusal_of_a_witness_writes_nothing() {
    let mut leader = Seat::leader(1);
    leader.in_force = Membership::of_voters(1);
    leader.change(1, add(Member { role: MemberRole::Witness, ..joining(9) }));
    leader.settle(0);
    if let Some(founders) = leader.wish() {
        assert!(founders.members.get(NodeId(9)).is_none(), "only the founders are written down");
        leader.decide(&founders.members);
        leader.settle(0);
    }
    assert!(leader.wish().is_none());
    assert_eq!(leader.answers(), [(1, Err(AskError::NotEnoughStarted))]);
}

#[test]
fn a_replica_that_is_not_ready_is_asked_again_at_the_next_tick() {
    let mut leader = Seat::leader(1);
    leader.change(1, remove(3));
    established(&mut leader);
    let wish = leader.wish().unwrap();
    leader.refuse(wish.request, &Refusal::NotReady("another change is in progress"));
    leader.settle(1);
    assert!(leader.wish().is_none(), "not at the speed of the loop");
    leader.machine.expired(at(60), &mut leader.out);
    leader.settle(60);
    assert!(leader.wish().is_some());
}

#[test]
fn one_change_at_a_time_and_none_while_the_replica_changes_the_members_itself() {
    let mut leader = Seat::leader(1);
    leader.change(1, add(joining(4)));
    established(&mut leader);
    let wish = leader.wish().unwrap();
    leader.change(2, remove(3));
    leader.settle(0);
    assert!(leader.wish().is_none());
    leader.decide(&wish.members);
    // The replica makes the newcomer a voter: in force, and not decided yet.
    let voter = Member { role: MemberRole::Voter, ..joining(4) };
    leader.in_force = Membership::new(wish.members.members().iter().cloned().chain([voter]));
    leader.settle(0);
    assert!(leader.wish().is_none());
    let promoted = leader.in_force.clone();
    leader.decide(&promoted);
    leader.settle(0);
    assert_eq!(leader.wish().unwrap().based_on, promoted);
}

#[test]
fn leadership_moves_to_voters_and_is_over_when_seen() {
    let mut leader = Seat::leader(1);
    leader.ask(1, Ask::MoveLeader(NodeId(9)));
    leader.change(2, add(joining(4)));
    established(&mut leader);
    assert_eq!(leader.answers(), [(1, Err(AskError::BadTransferee))]);
    let wish = leader.wish().unwrap();
    leader.decide(&wish.members);
    leader.ask(3, Ask::MoveLeader(NodeId(4)));
    leader.ask(4, Ask::MoveLeader(NodeId(2)));
    leader.settle(0);
    assert_eq!(leader.answers(), [(2, Ok(())), (3, Err(AskError::BadTransferee))], "a joining member does not vote");
    let transfers = leader.take(|output| match output {
        MachineOutput::Transfer { to, .. } => Some(*to),
        _ => None,
    });
    assert_eq!(transfers, [NodeId(2)]);
    leader.follow(2, 2);
    assert_eq!(leader.answers(), [(4, Ok(()))]);
}

#[test]
fn a_leadership_that_does_not_move_in_time_is_told_and_not_tried_again_by_itself() {
    let mut leader = Seat::leader(1);
    leader.decide(&Membership::of_voters(3));
    leader.ask(1, Ask::MoveLeader(NodeId(2)));
    leader.settle(0);
    let transfers = leader.take(|output| match output {
        MachineOutput::Transfer { request, .. } => Some(*request),
        _ => None,
    });
    leader.refuse(transfers[0], &Refusal::NotReady(TRANSFER_IN_VAIN));
    leader.settle(0);
    assert_eq!(leader.answers(), [(1, Err(AskError::TransferInVain))]);
    assert!(leader.take(|output| matches!(output, MachineOutput::Transfer { .. }).then_some(())).is_empty());

    let mut asker = Seat::new(2);
    asker.follow(1, 1);
    asker.ask(2, Ask::MoveLeader(NodeId(3)));
    asker.settle(0);
    asker.machine.expired(at(6_000), &mut asker.out);
    assert_eq!(asker.answers(), [(2, Err(AskError::TransferInVain))], "nor did its leader answer");
}

#[test]
fn who_was_removed_sends_its_clients_elsewhere_as_soon_as_that_is_decided() {
    let mut seat = Seat::new(3);
    let submit = |seat: &mut Seat, tag| seat.machine.submit(at(0), ClientTag(tag), Bytes::new(), &mut seat.out);
    let read =
        |seat: &mut Seat, tag, consistency| seat.machine.read(at(0), ClientTag(tag), (), consistency, &mut seat.out);
    let replies = |seat: &mut Seat| {
        seat.take(|output| match output {
            MachineOutput::Reply { tag, result } => Some((tag.0, result.clone())),
            _ => None,
        })
    };
    seat.decide(&Membership::of_voters(3));
    seat.follow(1, 1);
    submit(&mut seat, 1);
    seat.settle(0);
    submit(&mut seat, 2);
    read(&mut seat, 3, Consistency::Linearizable);
    seat.change(4, remove(3));
    seat.decide(&Membership::of_voters(2));
    let stopped = Err(RequestError::Stopped);
    assert_eq!(
        replies(&mut seat),
        [(2, stopped.clone()), (3, stopped.clone())],
        "the first is on its way to the leader"
    );
    assert_eq!(seat.answers(), [(4, Ok(()))], "that is what was asked for");
    submit(&mut seat, 5);
    read(&mut seat, 6, Consistency::Linearizable);
    read(&mut seat, 7, Consistency::Local);
    assert_eq!(replies(&mut seat), [5, 6, 7].map(|tag| (tag, stopped.clone())));
    seat.change(8, remove(2));
    assert_eq!(seat.answers(), [(8, Err(AskError::Request(RequestError::Stopped)))]);
    seat.machine.errand(at(0), ClientTag(9), Bytes::new(), &mut seat.out);
    let errands = seat.take(|output| match output {
        MachineOutput::Answer { tag, result } => Some((tag.0, result.clone())),
        _ => None,
    });
    assert_eq!(errands, [(9, Err(RequestError::Stopped))]);
}

#[test]
fn what_members_say_of_themselves_is_written_down_by_the_leader() {
    let mut leader = Seat::leader(1);
    leader.settle(0);
    assert!(leader.wish().is_none(), "nobody asked, nobody was met");
    let client_urls = vec!["http://10.0.0.2:2379".to_owned()];
    let facts =
        MemberFacts { id: NodeId(2), disk: DiskId(200), name: "b".to_owned(), client_urls: client_urls.clone() };
    leader.machine.meet(facts.clone());
    leader.settle(0);
    let wish = leader.wish().unwrap();
    let member = wish.members.get(NodeId(2)).unwrap();
    assert_eq!((member.disk, member.name.as_str(), &member.client_urls), (Some(DiskId(200)), "b", &client_urls));
    leader.decide(&wish.members);
    leader.machine.meet(facts.clone());
    leader.settle(0);
    assert!(leader.wish().is_none(), "it is there already");
    leader.machine.meet(MemberFacts { disk: DiskId(201), ..facts });
    leader.settle(0);
    assert!(leader.wish().is_none(), "another disk under the same id is nobody's");
}

#[test]
fn an_ask_that_nobody_takes_ends_in_time() {
    let mut asker = Seat::new(2);
    asker.change(1, remove(3));
    asker.settle(0);
    asker.machine.expired(at(6_000), &mut asker.out);
    assert_eq!(asker.answers(), [(1, Err(AskError::Request(RequestError::NoLeader)))]);
    asker.follow(1, 1);
    asker.change(2, remove(3));
    asker.settle(0);
    asker.machine.expired(at(6_000), &mut asker.out);
    assert_eq!(asker.answers(), [(2, Err(AskError::Request(RequestError::Unknown)))]);
}

#[test]
fn the_roster_survives_an_image_and_an_image_of_the_time_before_has_none() {
    let mut seat = Seat::new(1);
    seat.decide(&Membership::of_voters(3));
    seat.decide(&Membership::of_voters(2));
    let open = |meta: Bytes| {
        let image = MachineImage { applied: Slot(2), meta, head: Bytes::new(), items: &mut std::iter::empty() };
        Machine::<Empty>::open(NodeId(1), Incarnation(2), MachineConfig::default(), &(), Some(image))
    };
    let back = open(seat.machine.meta()).unwrap();
    assert_eq!(back.roster(), seat.machine.roster());
    assert_eq!(back.digest(), seat.machine.digest());
    // Version 1, an empty digest, no sessions.
    let old = open(Bytes::from_static(&[1, 0, 0])).unwrap();
    assert_eq!(old.roster().decided_at(), Slot::ZERO);
}

#[test]
fn members_that_are_seen_here_but_may_be_gone_by_now_prove_nothing() {
    let four = Membership::of_voters(4);
    let mut asker = Seat::new(2);
    asker.decide(&four);
    asker.follow(1, 1);
    asker.change(1, add(joining(4)));
    asker.change(2, MemberChange::Promote { id: NodeId(4), replacing: None });
    assert_eq!(asker.answers(), [], "it may have been removed long ago, and this node not been told");
    // The round reads a state in which it is gone, and that has to be applied here first.
    let current = Slot(2);
    asker.machine.settle(at(0), &mut asker.out);
    let token = asker.read_token();
    asker.machine.read_at(token, current, &mut asker.out);
    assert_eq!(asker.answers(), []);
    asker.decide(&Membership::of_voters(3));
    assert_eq!(asker.answers(), [], "that it is removed is for the leader to say, behind a round of its own");
    // Who was removed stays so: that needs no round.
    asker.change(3, remove(4));
    assert_eq!(asker.answers(), [(3, Ok(()))]);
}

#[test]
fn a_leader_that_was_followed_before_the_ask_proves_nothing() {
    let mut asker = Seat::new(2);
    asker.follow(1, 1);
    asker.ask(1, Ask::MoveLeader(NodeId(1)));
    assert_eq!(asker.answers(), [], "another may lead by now");
    asker.settle(0);
    assert_eq!(asker.answers(), [(1, Ok(()))], "it still led behind the ask");
}

#[test]
fn a_refusal_that_an_earlier_try_may_explain_is_no_definite_answer() {
    let mut leader = Seat::leader(1);
    leader.change(1, remove(9));
    established(&mut leader);
    let (founders, mut asker) = (leader.in_force.clone(), Seat::new(2));
    asker.follow(1, 1);
    asker.change(5, add(joining(4)));
    asker.change(6, MemberChange::Promote { id: NodeId(9), replacing: None });
    asker.settle(0);
    assert_eq!(carry(&mut asker, &mut leader), 1);
    // The first try is carried out, the member is removed by somebody else, and the asker hears of neither.
    leader.settle(0);
    let added = leader.wish().unwrap().members;
    leader.decide(&added);
    leader.decide(&founders);
    leader.out.clear();
    asker.machine.expired(at(400), &mut asker.out);
    asker.settle(4_000);
    assert_eq!(carry(&mut asker, &mut leader), 1);
    leader.settle(4_000);
    carry(&mut leader, &mut asker);
    let unknown = Err(AskError::Request(RequestError::Unknown));
    assert_eq!(asker.answers(), [(5, unknown.clone()), (6, unknown)], "it was done, and undone since");
}

#[test]
fn a_promotion_that_was_sent_twice_and_is_refused_as_not_in_sync_may_come_yet() {
    let mut leader = Seat::leader(1);
    leader.change(1, add(joining(4)));
    established(&mut leader);
    let four = leader.wish().unwrap().members;
    leader.decide(&four);
    leader.out.clear();
    let mut asker = Seat::new(2);
    asker.decide(&four);
    asker.follow(1, 1);
    asker.change(2, MemberChange::Promote { id: NodeId(4), replacing: None });
    asker.settle(0);
    // A leader before this one may have proposed it.
    assert_eq!(asker.sent_to(1).len(), 1);
    asker.machine.expired(at(400), &mut asker.out);
    asker.settle(4_000);
    carry(&mut asker, &mut leader);
    leader.settle(4_000);
    let promotion = leader.wish().expect("a joining member becomes a learner, or a voter").request;
    leader.refuse(promotion, &Refusal::NotReady(LEARNER_NOT_IN_SYNC));
    leader.settle(4_000);
    carry(&mut leader, &mut asker);
    assert_eq!(asker.answers(), [(2, Err(AskError::Request(RequestError::Unknown)))]);
}
