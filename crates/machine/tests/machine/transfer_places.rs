//! One sender and many receivers: how they share its rate and its places.

use crate::appending::{self, Out, at, decide, fresh, one, session};
use bytes::Bytes;
use quorate_machine::transfer::{Admission, Receiver, Sender, TransferConfig, TransferEnd, TransferMessage};
use quorate_machine::{MachineConfig, StateMachine};
use quorate_types::{NodeId, Slot};
use std::collections::BTreeMap;
use std::time::Duration;

const FROM: NodeId = NodeId(1);

/// An image takes 100 ms or so, of the whole rate.
fn config() -> TransferConfig {
    TransferConfig {
        chunk_bytes: 7,
        window_bytes: 28,
        bytes_per_second: 4_000,
        max_sent_at_once: 2,
        resend_after: Duration::from_millis(20),
        abandon_after: Duration::from_secs(5),
        tick: Duration::from_millis(1),
    }
}

fn machine() -> appending::ListMachine {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    for (sequence, text) in (1..).zip(["a", "", "longer than a chunk or two", "b"].iter().cycle().take(40)) {
        decide(&mut machine, one(session(3), sequence, 1, text), &mut out);
    }
    machine
}

/// One that sends to many, whose replica asks every 10 ms for those that need an image and get none.
struct Site {
    machine: appending::ListMachine,
    sender: Sender,
    receivers: BTreeMap<u64, Receiver>,
    /// The millisecond in which each had its image.
    installed: BTreeMap<u64, u64>,
    /// Those that were given up because they were not heard.
    given_up: Vec<u64>,
    /// Those that lost their place.
    evicted: Vec<u64>,
    last_number: u64,
}

impl Site {
    fn new(config: &TransferConfig, receivers: impl IntoIterator<Item = u64>) -> Site {
        Site {
            machine: machine(),
            sender: Sender::new(config.clone()),
            receivers: receivers.into_iter().map(|id| (id, Receiver::new(config.clone()))).collect(),
            installed: BTreeMap::new(),
            given_up: Vec::new(),
            evicted: Vec::new(),
            last_number: 0,
        }
    }

    /// One millisecond, in which only these are reached.
    fn step(&mut self, millis: u64, reached: impl Fn(u64) -> bool) {
        let mut said = Vec::new();
        let is_sent = |sender: &Sender, id| sender.states().any(|sent| sent.to == NodeId(id));
        let needy = self.receivers.keys().filter(|id| !self.installed.contains_key(id));
        for id in needy.filter(|_| millis.is_multiple_of(10)) {
            if is_sent(&self.sender, *id) {
                continue;
            }
            match self.sender.admit(at(millis), NodeId(*id), 0, &mut said) {
                Admission::Refused => continue,
                Admission::InPlaceOf(_, NodeId(silent)) => self.evicted.push(silent),
                Admission::Free => {}
            }
            self.last_number += 1;
            self.sender.start(at(millis), self.last_number, NodeId(*id), Bytes::new(), self.machine.view());
        }
        let state = self.machine.state();
        let given_up = self.sender.work(at(millis), &mut |number| state.item(number), &mut said);
        self.given_up.extend(given_up.into_iter().map(|(_, to)| to.0));
        for (NodeId(id), message) in said {
            if reached(id) {
                self.deliver(millis, id, message);
            }
        }
    }

    fn deliver(&mut self, millis: u64, id: u64, message: TransferMessage) {
        let receiver = self.receivers.get_mut(&id).expect("it is one of them");
        let mut answers = Vec::new();
        if receiver.receive(at(millis), FROM, message, Slot(3), &mut answers).is_some() {
            receiver.finish(TransferEnd::Installed, &mut answers);
            self.installed.insert(id, millis);
        }
        for (_, answer) in answers {
            self.sender.receive(at(millis), NodeId(id), &answer, &mut Vec::new());
        }
    }

    /// Until all of these have their image; when the last has it.
    fn until_installed(&mut self, wanted: &[u64], reached: impl Fn(u64, u64) -> bool) -> u64 {
        for millis in 0..60_000 {
            if wanted.iter().all(|id| self.installed.contains_key(id)) {
                return millis;
            }
            self.step(millis, |id| reached(id, millis));
        }
        panic!("{wanted:?} need it, {:?} have it", self.installed);
    }
}

fn alone() -> u64 {
    Site::new(&config(), [2]).until_installed(&[2], |_, _| true)
}

/// The first had the whole rate, and the others were given up unheard though they lived.
#[test]
fn transfers_share_the_rate_and_who_waits_for_its_turn_is_not_given_up() {
    let alone = alone();
    // What a fourth of them takes, they are not heard for together; chunk by chunk each is.
    let config = TransferConfig { max_sent_at_once: 8, abandon_after: Duration::from_millis(alone), ..config() };
    let mut site = Site::new(&config, 2..10);
    let all = site.until_installed(&[2, 3, 4, 5, 6, 7, 8, 9], |_, _| true);
    assert_eq!(site.given_up, []);
    assert!(all <= alone * 8 + 10, "{all} ms for eight, {alone} ms for one: the rate is used");
    let first = site.installed.values().min().expect("all are here");
    assert!(first * 10 >= all * 9, "the first after {first} ms, the last after {all} ms");
}

#[test]
fn who_waits_for_its_turn_for_longer_than_it_is_waited_for_gets_it() {
    // A chunk every 7 ms, for each every 56 ms.
    let abandon_after = Duration::from_millis(40);
    let config = TransferConfig { max_sent_at_once: 8, bytes_per_second: 1_000, abandon_after, ..config() };
    let mut site = Site::new(&config, 2..10);
    site.until_installed(&[2, 3, 4, 5, 6, 7, 8, 9], |_, _| true);
    assert_eq!(site.given_up, []);
}

/// It said its whole window again and again, and had the rate for it.
#[test]
fn one_that_is_down_costs_the_others_next_to_nothing() {
    let alone = alone();
    let config = TransferConfig { window_bytes: 10_000, ..config() };
    for down in [2, 3] {
        let lives = 5 - down;
        let mut site = Site::new(&config, [2, 3]);
        // It goes down when it has had something: who was never heard is sent no chunk.
        let beside = site.until_installed(&[lives], |id, millis| id != down || millis < 20);
        // Three windows in vain at half of the rate, and then one chunk of 7 bytes every 20 ms.
        assert!(beside <= alone + 100, "{beside} ms beside it, {alone} ms alone");
    }
}

#[test]
fn one_that_is_down_behind_another_loses_its_place_as_well() {
    let config = TransferConfig { bytes_per_second: 500, ..config() };
    let mut site = Site::new(&config, [2, 3, 4]);
    site.until_installed(&[2, 4], |id, millis| id != 3 || millis < 20);
    assert_eq!((&site.evicted[..1], site.installed.len()), (&[3][..], 2));
}

/// What it lacks begins with items that are missing, so that nothing is sent of them.
#[test]
fn one_that_is_down_before_missing_items_loses_its_place_as_well() {
    const FIRST_ITEM: u64 = 50_000;
    let config = TransferConfig { max_sent_at_once: 1, bytes_per_second: 1_000_000, ..config() };
    let (mut sender, mut receiver) = (Sender::new(config.clone()), Receiver::new(config));
    let mut view = machine().view();
    view.item_count = FIRST_ITEM + 1_000;
    let mut prelude_bytes = 0;
    assert_eq!(view.measure(&mut Default::default(), &mut prelude_bytes, &mut |_| None), None, "more is left to count");
    sender.start(at(0), 1, NodeId(2), Bytes::new(), view);
    let mut item = |number| (number >= FIRST_ITEM).then(|| Bytes::from_static(b"an item"));
    for millis in 0..200 {
        let (mut said, mut answers) = (Vec::new(), Vec::new());
        assert_eq!(sender.work(at(millis), &mut item, &mut said), []);
        let is_heard = |message: &TransferMessage| match message {
            TransferMessage::Chunk { offset, .. } => *offset < prelude_bytes,
            _ => true,
        };
        for (_, message) in said.into_iter().filter(|(_, message)| is_heard(message)) {
            receiver.receive(at(millis), FROM, message, Slot(3), &mut answers);
        }
        for (_, answer) in answers {
            sender.receive(at(millis), NodeId(2), &answer, &mut Vec::new());
        }
    }
    assert_eq!(sender.states().next().map(|sent| sent.acknowledged_bytes), Some(prelude_bytes));
    assert_eq!(sender.admit(at(200), NodeId(3), 0, &mut Vec::new()), Admission::InPlaceOf(1, NodeId(2)));
}

/// Each pauses for longer than a silent one is waited for, and an image takes longer than the time between.
#[test]
fn receivers_that_pause_do_not_take_each_others_places_for_ever() {
    let config = TransferConfig { max_sent_at_once: 1, ..config() };
    let mut site = Site::new(&config, [2, 3]);
    let reached = |id, millis| (millis + id % 2 * 100) % 200 < 50;
    let all = site.until_installed(&[2, 3], reached);
    assert!(!site.evicted.is_empty(), "that is what this is about");
    assert!(all < 3_000, "{all} ms");
}

#[test]
fn a_free_place_goes_to_who_has_waited_longest_if_it_still_asks() {
    let config = TransferConfig { max_sent_at_once: 1, ..config() };
    let machine = machine();
    let mut sender = Sender::new(config);
    let ask = |sender: &mut Sender, millis, id| sender.admit(at(millis), NodeId(id), 0, &mut Vec::new());
    assert_eq!(ask(&mut sender, 0, 2), Admission::Free);
    sender.start(at(0), 1, NodeId(2), Bytes::new(), machine.view());
    assert_eq!(ask(&mut sender, 1, 5), Admission::Refused);
    assert_eq!(ask(&mut sender, 2, 4), Admission::Refused);
    assert_eq!(ask(&mut sender, 3, 3), Admission::Refused);
    assert_eq!(ask(&mut sender, 40, 4), Admission::Refused);
    assert_eq!(sender.stop(1, &mut Vec::new()), Some(NodeId(2)));
    assert_eq!(ask(&mut sender, 50, 3), Admission::Refused, "5 and 4 have waited longer");
    assert_eq!(ask(&mut sender, 50, 2), Admission::Refused, "it had one");
    assert_eq!(ask(&mut sender, 61, 3), Admission::Refused, "4 asked not long ago");
    assert_eq!(ask(&mut sender, 62, 4), Admission::Free, "5 asks no more");
    sender.start(at(62), 2, NodeId(4), Bytes::new(), machine.view());
    assert_eq!(sender.stop(2, &mut Vec::new()), Some(NodeId(4)));
    assert_eq!(ask(&mut sender, 63, 4), Admission::Refused, "now it is the last");
    assert_eq!(ask(&mut sender, 64, 3), Admission::Free);
}

/// It would hold the receiver, which takes one at a time, until that finds its sender silent.
#[test]
fn who_answers_a_beginning_that_came_behind_its_end_hears_that_it_is_over() {
    let machine = machine();
    let mut sender = Sender::new(config());
    let mut receiver = Receiver::new(config());
    sender.start(at(0), 7, NodeId(2), Bytes::new(), machine.view());
    let mut said = Vec::new();
    sender.work(at(0), &mut |number| machine.state().item(number), &mut said);
    sender.stop(7, &mut said);
    let mut answers = Vec::new();
    for (_, message) in said.into_iter().rev() {
        receiver.receive(at(1), FROM, message, Slot(3), &mut answers);
    }
    assert_eq!(receiver.state(), Some((FROM, 0)));
    let mut over = Vec::new();
    for (_, answer) in &answers {
        assert_eq!(sender.receive(at(2), NodeId(2), answer, &mut over), None);
    }
    assert_eq!(over, [(NodeId(2), TransferMessage::Stopped { number: 7 })]);
    receiver.receive(at(3), FROM, over.remove(0).1, Slot(3), &mut Vec::new());
    assert_eq!(receiver.state(), None);
}
