//! Transfers between a sender and a receiver over a network that loses, repeats and reorders; receivers that forget.

use crate::appending::{self, AppendingList, Out, at, decide, fresh, one, session};
use bytes::Bytes;
use quorate_machine::transfer::{
    Admission, Arrival, Receiver, Sender, TransferConfig, TransferEnd, TransferHeader, TransferMessage,
};
use quorate_machine::{MachineConfig, Staged, StateMachine};
use quorate_types::{NodeId, Slot, Time};
use std::time::Duration;

const FROM: NodeId = NodeId(1);
const TO: NodeId = NodeId(2);

fn config() -> TransferConfig {
    TransferConfig {
        chunk_bytes: 7,
        window_bytes: 30,
        bytes_per_second: 1_000_000,
        resend_after: Duration::from_millis(20),
        abandon_after: Duration::from_secs(5),
        tick: Duration::from_millis(1),
        ..TransferConfig::default()
    }
}

fn machine() -> appending::ListMachine {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    for (sequence, text) in (1..).zip(["a", "", "longer than a chunk or two", "b"].iter().cycle().take(30)) {
        decide(&mut machine, one(session(3), sequence, 1, text), &mut out);
    }
    machine
}

struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Carries on until something arrives; how many milliseconds that took, and how often the receiver forgot.
fn carry(seed: u64, config: TransferConfig, forgets: bool) -> (Arrival, u64) {
    let machine = machine();
    let state = machine.state().clone();
    let mut draw = Draw(seed);
    let (mut sender, mut receiver) = (Sender::new(config.clone()), Receiver::new(config.clone()));
    sender.start(Time::ZERO, 5, TO, Bytes::from_static(b"anchor"), machine.view());
    let mut network: Vec<(bool, TransferMessage)> = Vec::new();
    for millis in 1..20_000 {
        let mut said = Vec::new();
        assert_eq!(sender.work(at(millis), &mut |number| state.item(number), &mut said), [], "not given up");
        assert!(sender.states().all(|at| at.number == 5 && at.to == TO));
        network.extend(said.into_iter().map(|(_, message)| (true, message)));
        for _ in 0..draw.below(6) {
            if network.is_empty() {
                break;
            }
            let at_place = draw.below(network.len().min(4) as u64) as usize;
            let (to_receiver, message) = match draw.below(10) {
                0 => network[at_place].clone(),
                1 => {
                    network.remove(at_place);
                    continue;
                }
                _ => network.remove(at_place),
            };
            if !to_receiver {
                sender.receive(at(millis), TO, &message, &mut Vec::new());
                continue;
            }
            let mut answers = Vec::new();
            let arrival = receiver.receive(at(millis), FROM, message, Slot(3), &mut answers);
            network.extend(answers.into_iter().map(|(_, message)| (false, message)));
            if let Some(arrival) = arrival {
                let mut last = Vec::new();
                receiver.finish(TransferEnd::Installed, &mut last);
                let [(FROM, word)] = &last[..] else { panic!("{last:?}") };
                assert_eq!(sender.receive(at(millis), TO, word, &mut Vec::new()), Some((5, TransferEnd::Installed)));
                assert!(sender.is_idle());
                return (arrival, millis);
            }
        }
        if forgets && draw.below(300) == 0 {
            receiver = Receiver::new(config.clone());
        }
    }
    panic!("it never arrives (seed {seed})");
}

#[test]
fn what_arrives_is_what_was_sent_whatever_the_network_does() {
    for seed in 0..400 {
        let (arrival, _) = carry(seed, config(), seed % 2 == 0);
        let staged: Staged<AppendingList> = Staged::of_arrival(arrival).expect("digests are compared");
        assert_eq!((staged.applied(), staged.digest()), (Slot(30), machine().digest()));
        assert_eq!(staged.state(), machine().state());
    }
}

/// Seed 51957: a word of the receiver's first attempt came behind the beginning of its second. What lay between was not sent again.
#[test]
fn who_began_anew_gets_everything_though_a_late_word_says_that_it_has_more() {
    let machine = machine();
    let state = machine.state().clone();
    let (mut sender, mut receiver) = (Sender::new(config()), Receiver::new(config()));
    sender.start(Time::ZERO, 5, TO, Bytes::from_static(b"anchor"), machine.view());
    let mut late = Vec::new();
    for millis in 1..2_000 {
        let mut said = Vec::new();
        sender.work(at(millis), &mut |number| state.item(number), &mut said);
        for (_, message) in said {
            // What it said before it forgot is under way for long.
            if millis == 3 {
                receiver = Receiver::new(config());
            }
            let is_lost = (5..10).contains(&millis) && matches!(message, TransferMessage::Chunk { .. });
            let mut answers = Vec::new();
            if !is_lost && receiver.receive(at(millis), FROM, message, Slot(3), &mut answers).is_some() {
                return;
            }
            for (_, answer) in answers {
                if millis == 2 {
                    late.push(answer.clone());
                }
                sender.receive(at(millis), TO, &answer, &mut Vec::new());
            }
        }
        if millis == 6 {
            assert!(late.iter().any(|word| matches!(word, TransferMessage::Received { offset, .. } if *offset > 0)));
            late.drain(..).for_each(|word| assert_eq!(sender.receive(at(6), TO, &word, &mut Vec::new()), None));
            assert!(sender.states().all(|sending| sending.acknowledged_bytes > 0));
            assert_eq!(receiver.state(), Some((FROM, 0)), "it has nothing yet");
        }
    }
    panic!("it never arrives");
}

#[test]
fn the_rate_is_kept() {
    let slow = TransferConfig { bytes_per_second: 500, ..config() };
    let (arrival, millis) = carry(1, slow, false);
    let bytes: usize = arrival.items.iter().map(|(_, item)| item.len() + 2).sum();
    assert!(millis >= bytes as u64 * 1000 / 500 * 9 / 10, "{bytes} bytes in {millis} ms at 500 a second");
}

#[test]
fn a_state_with_another_digest_is_refused() {
    let (mut arrival, _) = carry(3, config(), false);
    arrival.header.digest ^= 1;
    assert!(Staged::<AppendingList>::of_arrival(arrival).is_err());
}

fn begin(number: u64, applied: u64) -> TransferMessage {
    let header = TransferHeader { anchor: Bytes::new(), applied: Slot(applied), digest: 0, item_count: 0 };
    TransferMessage::Begin { number, header }
}

#[test]
fn who_needs_nothing_or_is_busy_says_so_and_a_silent_sender_gives_way() {
    let mut receiver = Receiver::new(config());
    let mut say = |millis, from, number, applied| {
        let mut out = Vec::new();
        assert_eq!(receiver.receive(at(millis), NodeId(from), begin(number, applied), Slot(10), &mut out), None);
        out.pop().expect("every beginning is answered").1
    };
    let ended = |number, end| TransferMessage::Ended { number, end };
    let accepted = |number| TransferMessage::Received { number, offset: 0 };
    assert_eq!(say(0, 1, 4, 10), ended(4, TransferEnd::Installed));
    assert_eq!(say(0, 1, 5, 20), accepted(5));
    assert_eq!(say(1, 3, 6, 20), ended(6, TransferEnd::Refused), "one at a time");
    assert_eq!(say(2, 3, 7, 21), ended(7, TransferEnd::Refused), "a later one of somebody else waits its turn");
    assert_eq!(say(3, 1, 8, 20), accepted(8), "the sender gave its earlier one up, whatever its slot");
    assert_eq!(say(4, 1, 5, 22), ended(5, TransferEnd::Refused), "that is the earlier one, come late");
    assert_eq!(say(100, 3, 9, 21), accepted(9), "the other has fallen silent");
}

/// Two senders whose states go on send to one receiver; how many milliseconds it takes until an image is whole. Who is deaf, from this
/// millisecond on, hears no answer.
fn arrives_of_two(config: &TransferConfig, deaf_from: [u64; 2]) -> u64 {
    let machine = machine();
    let state = machine.state().clone();
    let mut receiver = Receiver::new(config.clone());
    let mut senders = [Sender::new(config.clone()), Sender::new(config.clone())];
    for millis in 0..60_000 {
        for ((sender, id), deaf_from) in senders.iter_mut().zip([1, 3]).zip(deaf_from) {
            if sender.is_idle() {
                let mut view = machine.view();
                view.applied = Slot(30 + millis);
                sender.start(at(millis), millis * 10 + id, TO, Bytes::new(), view);
            }
            let mut said = Vec::new();
            sender.work(at(millis), &mut |number| state.item(number), &mut said);
            for (_, message) in said {
                let mut answers = Vec::new();
                if receiver.receive(at(millis), NodeId(id), message, Slot(3), &mut answers).is_some() {
                    return millis;
                }
                for (_, answer) in answers.iter().filter(|_| millis < deaf_from) {
                    sender.receive(at(millis), TO, answer, &mut Vec::new());
                }
            }
        }
    }
    panic!("neither image arrives");
}

/// Viewstamped, seed 17254: two members sent to a third while the log went on, and each later image threw away what had arrived.
#[test]
fn two_senders_whose_states_go_on_do_not_put_each_other_off() {
    arrives_of_two(&config(), [u64::MAX, u64::MAX]);
}

/// Each sends less often than the receiver waits for it at first.
#[test]
fn two_senders_that_pause_do_not_put_each_other_off() {
    arrives_of_two(&TransferConfig { bytes_per_second: 60, ..config() }, [u64::MAX, u64::MAX]);
}

/// It is patient with those that put each other off, and with nobody else ever after.
#[test]
fn a_receiver_is_as_quick_as_ever_when_those_that_put_each_other_off_are_over() {
    let mut receiver = Receiver::new(config());
    let mut last_number = 0;
    // Who begins, and sends a little if it may.
    let mut takes = |millis, from: u64| {
        last_number += 1;
        let number = last_number;
        receiver.expire(at(millis));
        let mut answers = Vec::new();
        let bytes = Bytes::from_static(b"z");
        let checksum = crc32c::crc32c(&bytes);
        let chunk = TransferMessage::Chunk { number, offset: 0, bytes, checksum, is_last: false };
        receiver.receive(at(millis), NodeId(from), begin(number, 20), Slot(10), &mut answers);
        receiver.receive(at(millis), NodeId(from), chunk, Slot(10), &mut answers);
        answers.contains(&(NodeId(from), TransferMessage::Received { number, offset: 1 }))
    };
    assert!(takes(0, 1));
    assert!(!takes(59, 3));
    assert!(takes(60, 3));
    assert!(!takes(179, 1));
    assert!(takes(180, 1), "twice as long");
    assert!(takes(420, 3), "and twice that");
    // What the last one sent is given up after 5 s, and for as long again nothing comes.
    assert!(takes(10_420, 1));
    assert!(takes(10_480, 3));
}

/// Viewstamped, seed 29087: a slow sender had thousands of answers between itself and the next view, and those that it waited for among
/// them, so it sent the same again.
#[test]
fn all_chunks_under_way_that_bring_nothing_have_one_answer_until_they_are_sent_again() {
    let mut receiver = Receiver::new(config());
    let mut answers = |millis, from: u64, messages: Vec<TransferMessage>| {
        let mut out = Vec::new();
        for message in messages {
            receiver.receive(at(millis), NodeId(from), message, Slot(10), &mut out);
        }
        out.into_iter().map(|(_, answer)| answer).collect::<Vec<_>>()
    };
    let window = |number: u64| {
        let piece = |offset| {
            let bytes = Bytes::from_static(b"z");
            TransferMessage::Chunk { number, offset, checksum: crc32c::crc32c(&bytes), bytes, is_last: false }
        };
        (0..30).map(piece).collect::<Vec<_>>()
    };
    let forgotten = |number| vec![TransferMessage::Forgotten { number }];
    let received = |number, offset| TransferMessage::Received { number, offset };
    assert_eq!(answers(0, 1, vec![begin(4, 20)]), [received(4, 0)]);
    let first = window(4).remove(0);
    assert_eq!(answers(0, 1, vec![first.clone()]), [received(4, 1)]);
    assert_eq!(answers(1, 1, vec![first.clone(); 30]), [received(4, 1)]);
    assert_eq!(answers(2, 1, vec![first.clone(); 30]), [], "it has been told");
    assert_eq!(answers(21, 1, vec![first; 30]), [received(4, 1)], "what it heard may be lost");
    assert_eq!(answers(1, 3, window(5)), forgotten(5));
    assert_eq!(answers(2, 3, window(5)), [], "it has been told");
    assert_eq!(answers(2, 3, window(6)), forgotten(6), "but not of this one");
    assert_eq!(answers(21, 3, window(6)), forgotten(6), "what it heard may be lost");
    let refused = TransferMessage::Ended { number: 6, end: TransferEnd::Refused };
    assert_eq!(answers(22, 3, vec![begin(6, 20)]), [refused]);
    assert_eq!(answers(23, 3, window(6)), forgotten(6), "chunks of another beginning");
}

/// It says the same again and again: that is no news of its image.
#[test]
fn a_sender_that_hears_nothing_gives_way_long_before_it_gives_up() {
    let slow = TransferConfig { bytes_per_second: 1_000, ..config() };
    let alone = arrives_of_two(&slow, [u64::MAX, 0]);
    let beside_a_deaf_one = arrives_of_two(&slow, [2, u64::MAX]);
    assert!(beside_a_deaf_one < alone + 200, "{alone} and {beside_a_deaf_one} ms");
}

#[test]
fn a_receiver_that_is_gone_for_good_is_given_up() {
    let machine = machine();
    let mut sender = Sender::new(config());
    sender.start(Time::ZERO, 5, TO, Bytes::new(), machine.view());
    let mut out = Vec::new();
    let item = &mut |number| machine.state().item(number);
    assert_eq!(sender.work(at(4_999), item, &mut out), []);
    assert_eq!(sender.work(at(5_000), item, &mut out), [(5, TO)]);
    assert!(sender.is_idle() && out.contains(&(TO, TransferMessage::Stopped { number: 5 })));
}

/// Viewstamped, seed 27205: the one place was held by a member that was down, while a quorum needed the log of another.
#[test]
fn a_receiver_that_says_nothing_is_known_to_be_silent_and_one_to_which_the_rate_lets_little_through_is_not() {
    let machine = machine();
    let item = &mut |number| machine.state().item(number);
    let mut sender = Sender::new(TransferConfig { bytes_per_second: 60, max_sent_at_once: 1, ..config() });
    sender.start(Time::ZERO, 5, TO, Bytes::new(), machine.view());
    let mut receiver = Receiver::new(config());
    for millis in 0..1_000 {
        let mut said = Vec::new();
        sender.work(at(millis), item, &mut said);
        for (_, message) in said {
            let mut answers = Vec::new();
            receiver.receive(at(millis), FROM, message, Slot(3), &mut answers);
            for (_, answer) in answers {
                assert_eq!(sender.receive(at(millis), TO, &answer, &mut Vec::new()), None);
            }
        }
        assert_eq!(sender.admit(at(millis), NodeId(3), 0, &mut Vec::new()), Admission::Refused);
    }
    let silent_at = (1_000..2_000).find(|millis| {
        sender.work(at(*millis), item, &mut Vec::new());
        sender.admit(at(*millis), NodeId(3), 0, &mut Vec::new()) == Admission::InPlaceOf(5, TO)
    });
    assert!(silent_at.is_some_and(|millis| millis > 1_060), "{silent_at:?}");
}
