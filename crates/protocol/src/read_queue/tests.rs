//! What the queue promises, on a leader that is nothing but a mark, a round and what its peers answered.

use super::*;
use proptest::prelude::*;
use quorate_types::Incarnation;
use std::collections::BTreeMap;

const ME: NodeId = NodeId(1);

fn token(number: u64) -> ReadToken {
    ReadToken { node: ME, incarnation: Incarnation(1), number }
}

fn read(number: u64) -> WaitingRead {
    WaitingRead { token: token(number), reader: ME }
}

/// One of `voters`, with a majority to convince.
struct Leader {
    voters: u64,
    rounds_most: usize,
    mark: Slot,
    round: u64,
    queue: ReadQueue,
    answered: BTreeMap<NodeId, u64>,
    /// Numbers of reads, and where they may be read.
    released: Vec<(u64, Slot)>,
}

impl Leader {
    fn of(voters: u64) -> Leader {
        let (queue, answered) = (ReadQueue::default(), BTreeMap::new());
        Leader { voters, rounds_most: 100, mark: Slot(1), round: 0, queue, answered, released: Vec::new() }
    }

    /// The read comes, and the step ends.
    fn reads(&mut self, number: u64) -> u64 {
        assert_eq!(self.queue.admit(read(number), 100), Admission::Waits);
        self.settle();
        self.round
    }

    fn settle(&mut self) {
        self.release();
        if self.queue.wants_round(self.rounds_most) {
            self.begins_a_round();
            self.release();
        }
        assert!(self.queue.is_consistent(self.round), "{:?}", self.queue);
    }

    fn begins_a_round(&mut self) -> u64 {
        self.round += 1;
        self.queue.carry(self.round, self.mark);
        self.round
    }

    fn hears(&mut self, peer: u64, round: u64) {
        let last = self.answered.entry(NodeId(peer)).or_default();
        *last = round.max(*last);
        self.settle();
    }

    fn release(&mut self) {
        let others = (2..=self.voters).map(|id| self.answered.get(&NodeId(id)).copied().unwrap_or(0));
        let majority = usize::try_from(self.voters / 2 + 1).unwrap();
        let confirmed = round_answered_by(majority, others.chain([self.round]));
        for round in self.queue.release(confirmed) {
            self.released.extend(round.reads.iter().map(|read| (read.token.number, round.slot)));
        }
    }

    fn released(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.released).into_iter().map(|(number, _)| number).collect()
    }
}

#[test]
fn a_read_that_comes_while_a_round_is_under_way_has_its_own_at_once() {
    let mut leader = Leader::of(3);
    assert_eq!((leader.reads(1), leader.reads(2)), (1, 2));
    leader.hears(2, 1);
    assert_eq!(leader.released(), [1], "the second came after that round began");
    leader.hears(2, 2);
    assert_eq!(leader.released(), [2]);
}

#[test]
fn reads_of_one_step_share_a_round() {
    let mut leader = Leader::of(3);
    for number in [1, 2] {
        assert_eq!(leader.queue.admit(read(number), 100), Admission::Waits);
    }
    assert_eq!(leader.reads(3), 1);
    leader.hears(3, 1);
    assert_eq!(leader.released(), [1, 2, 3]);
}

#[test]
fn a_later_rounds_answers_confirm_all_earlier_ones_whose_own_are_lost() {
    let mut leader = Leader::of(5);
    (1..=3).for_each(|number| assert_eq!(leader.reads(number), number));
    leader.hears(2, 3);
    assert_eq!(leader.released(), [], "one other of five");
    leader.hears(3, 2);
    assert_eq!(leader.released(), [1, 2]);
    leader.hears(4, 3);
    assert_eq!(leader.released(), [3]);
}

#[test]
fn a_round_begun_for_anything_else_confirms_too() {
    let mut leader = Leader::of(3);
    leader.reads(1);
    let heartbeat = leader.begins_a_round();
    leader.hears(2, heartbeat);
    assert_eq!(leader.released(), [1], "its own round was lost");
}

#[test]
fn late_and_repeated_answers_confirm_nothing_newer() {
    let mut leader = Leader::of(5);
    leader.reads(1);
    leader.hears(2, 1);
    leader.hears(2, 1);
    assert_eq!(leader.released(), [], "the same voter twice");
    leader.hears(3, 1);
    assert_eq!(leader.released(), [1]);
    leader.reads(2);
    for peer in [2, 3, 4, 5] {
        leader.hears(peer, 1);
    }
    assert_eq!(leader.released(), [], "those are answers to what was asked before it came");
    leader.hears(4, 2);
    leader.hears(4, 1);
    leader.hears(5, 2);
    assert_eq!(leader.released(), [2], "an old answer that comes after a new one takes nothing back");
}

#[test]
fn a_read_is_released_at_what_was_decided_when_its_round_began() {
    let mut leader = Leader::of(3);
    leader.reads(1);
    leader.mark = Slot(7);
    leader.reads(2);
    leader.mark = Slot(9);
    leader.hears(2, 2);
    assert_eq!(leader.released, [(1, Slot(1)), (2, Slot(7))]);
}

#[test]
fn with_as_many_rounds_under_way_as_may_be_reads_gather_for_the_next() {
    let mut leader = Leader { rounds_most: 2, ..Leader::of(3) };
    (1..=4).for_each(|number| {
        leader.reads(number);
    });
    assert_eq!(leader.round, 2);
    leader.hears(2, 1);
    assert_eq!((leader.released(), leader.round), (vec![1], 3), "with room again, one round for both");
    leader.hears(2, 3);
    assert_eq!(leader.released(), [2, 3, 4]);
}

#[test]
fn reads_that_gather_leave_with_a_round_begun_for_anything_else() {
    let mut leader = Leader { rounds_most: 1, ..Leader::of(3) };
    leader.reads(1);
    leader.reads(2);
    let heartbeat = leader.begins_a_round();
    leader.hears(3, heartbeat);
    assert_eq!(leader.released(), [1, 2]);
}

#[test]
fn whoever_is_a_quorum_alone_waits_for_nobody() {
    let mut leader = Leader::of(1);
    leader.reads(1);
    assert_eq!(leader.released(), [1]);
}

#[test]
fn no_more_wait_than_may_and_none_twice() {
    let mut queue = ReadQueue::default();
    assert_eq!(queue.admit(read(1), 2), Admission::Waits);
    queue.carry(1, Slot(1));
    assert_eq!(queue.admit(read(1), 2), Admission::Known);
    assert_eq!(queue.admit(read(2), 2), Admission::Waits);
    assert_eq!(queue.admit(read(3), 2), Admission::Full);
    assert_eq!(queue.admit(read(2), 2), Admission::Known, "also where no other would be taken");
    assert_eq!(queue.release(1).len(), 1);
    assert_eq!(queue.admit(read(3), 2), Admission::Waits);
    let waiting: Vec<u64> = queue.into_reads().iter().map(|read| read.token.number).collect();
    assert_eq!(waiting, [2, 3]);
}

#[test]
fn a_round_without_reads_is_not_kept() {
    let mut queue = ReadQueue::default();
    queue.carry(1, Slot(1));
    assert!(!queue.is_confirming() && !queue.wants_round(1));
}

#[test]
fn the_round_of_a_quorum_is_the_least_of_its_best() {
    assert_eq!(round_answered_by(2, [4, 9, 0]), 4);
    assert_eq!(round_answered_by(3, [4, 9, 0]), 0);
    assert_eq!(round_answered_by(3, [4, 9]), 0, "too few voters");
    assert_eq!(round_answered_by(0, [4]), 0);
}

#[test]
fn an_answer_serves_the_reads_asked_before_and_no_later_one() {
    let mut asked = AskedReads::default();
    for number in [1, 2, 3, 5] {
        asked.insert(token(number));
    }
    assert_eq!(asked.newest(), Some(token(5)));
    assert_eq!(asked.take_through(token(4)), [], "nobody asked that");
    assert_eq!(asked.take_through(token(2)), [token(1), token(2)]);
    assert_eq!(asked.take_through(token(1)), [], "a repeated answer");
    assert_eq!(asked.take_all(), [token(3), token(5)]);
    assert!(asked.is_empty());
}

/// What may happen to a leader of five.
#[derive(Clone, Debug)]
enum Happening {
    Read,
    Decided,
    Heartbeat,
    /// An answer by this peer to one of the rounds so far, whichever: late, early, repeated.
    Answer {
        peer: u64,
        round: prop::sample::Index,
    },
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let answer = (2_u64..=5, any::<prop::sample::Index>());
    let one = prop_oneof![
        3 => Just(Happening::Read),
        1 => Just(Happening::Decided),
        1 => Just(Happening::Heartbeat),
        6 => answer.prop_map(|(peer, round)| Happening::Answer { peer, round }),
    ];
    prop::collection::vec(one, 0..80)
}

proptest! {
    /// The definition, kept by whole lists: a read is released exactly when two others of five have answered a round that began
    /// at its arrival or later, at a mark not older than its arrival; and with room for its round it waits for no other.
    #[test]
    fn a_read_is_released_once_a_majority_answered_a_round_begun_since_it_came(
        happenings in happenings(),
        rounds_most in 1_usize..6,
    ) {
        let mut leader = Leader { rounds_most, ..Leader::of(5) };
        // Of each read: rounds begun and the mark when it came, and how many rounds were under way for reads.
        let mut came: BTreeMap<u64, (u64, Slot, bool)> = BTreeMap::new();
        let mut open: BTreeMap<u64, u64> = BTreeMap::new();
        for happening in happenings {
            match happening {
                Happening::Read => {
                    let number = came.len() as u64 + 1;
                    let room = leader.queue.confirming.len() < rounds_most;
                    came.insert(number, (leader.round, leader.mark, room));
                    let carried_by = leader.reads(number);
                    prop_assert!(!room || carried_by == came[&number].0 + 1);
                    open.insert(number, came[&number].0);
                }
                Happening::Decided => leader.mark = leader.mark.next(),
                Happening::Heartbeat => { leader.begins_a_round(); }
                Happening::Answer { peer, round } => {
                    let round = round.index(usize::try_from(leader.round).unwrap() + 1) as u64;
                    leader.hears(peer, round);
                }
            }
            for (number, slot) in std::mem::take(&mut leader.released) {
                let (rounds_before, mark, _) = came[&number];
                let since = leader.answered.values().filter(|answered| **answered > rounds_before).count();
                prop_assert!(since >= 2, "read {number} by {:?}", leader.answered);
                prop_assert!(slot >= mark);
                prop_assert!(open.remove(&number).is_some(), "released twice");
            }
            for (number, rounds_before) in &open {
                let since = leader.answered.values().filter(|answered| **answered > *rounds_before).count();
                prop_assert!(since < 2 || !came[number].2, "read {number} waits for nothing");
            }
        }
    }
}
