//! How long commands wait for company: never, unless a wait is set, and then only while a batch before them is undecided.

mod appending;

use appending::{ListMachine, Out, at, decide, fresh};
use bytes::Bytes;
use quorate_machine::{ClientTag, Lead, MachineConfig, MachineOutput, decode_batch};
use quorate_protocol::{Batch, Decision};
use quorate_types::{NodeId, Time};
use std::time::Duration;

const WAIT_MS: u64 = 4;

/// A leader with its driver: settles after everything it is told.
struct Leader {
    machine: ListMachine,
    out: Out,
    timers: Vec<Duration>,
    next_tag: u64,
}

impl Leader {
    fn new(adjust: impl FnOnce(&mut MachineConfig)) -> Leader {
        let mut config = MachineConfig { max_batch_wait: Duration::from_millis(WAIT_MS), ..MachineConfig::default() };
        adjust(&mut config);
        let (mut machine, mut out) = (fresh(1, config), Out::new());
        machine.lead(Lead { era: 1, who: Some(NodeId(1)), ready: true, settled: true }, &mut out);
        Leader { machine, out, timers: Vec::new(), next_tag: 0 }
    }

    /// Writes of so many clients come at once. The batches that go then, by their length.
    fn writes(&mut self, now: Time, payloads: &[&'static str]) -> Vec<usize> {
        for payload in payloads {
            self.next_tag += 1;
            let payload = Bytes::from_static(payload.as_bytes());
            self.machine.submit(now, ClientTag(self.next_tag), payload, &mut self.out);
        }
        self.settle(now).iter().map(length).collect()
    }

    fn settle(&mut self, now: Time) -> Vec<Batch> {
        self.machine.settle(now, &mut self.out);
        let out = std::mem::take(&mut self.out);
        let timer = |output: &MachineOutput<u64>| match output {
            MachineOutput::SetBatchTimer(delay) => Some(*delay),
            _ => None,
        };
        self.timers.extend(out.iter().filter_map(timer));
        let batch = |output| match output {
            MachineOutput::Propose { batch, .. } => Some(batch),
            _ => None,
        };
        out.into_iter().filter_map(batch).collect()
    }

    fn expire(&mut self, now: Time) -> Vec<usize> {
        assert!(!self.timers.is_empty(), "a timer was set");
        self.timers.clear();
        self.machine.batch_expired();
        self.settle(now).iter().map(length).collect()
    }

    /// With one batch under way, which is returned.
    fn busy(&mut self) -> Batch {
        self.machine.submit(at(0), ClientTag(99), Bytes::from_static(b"first"), &mut self.out);
        let [batch] = self.settle(at(0)).try_into().expect("one goes at once");
        batch
    }
}

fn length(batch: &Batch) -> usize {
    decode_batch(batch.commands.clone()).expect("our own").len()
}

#[test]
fn nothing_waits_unless_a_wait_is_set() {
    let mut leader = Leader::new(|config| config.max_batch_wait = Duration::ZERO);
    leader.busy();
    assert_eq!(leader.writes(at(1), &["a"]), [1]);
    assert_eq!(leader.writes(at(1), &["b", "c"]), [2]);
    assert_eq!(leader.timers, []);
}

#[test]
fn what_comes_while_nothing_is_under_way_goes_at_once() {
    let mut leader = Leader::new(|_| {});
    let batch = leader.busy();
    assert_eq!(leader.timers, []);
    decide(&mut leader.machine, Decision::Commands(batch.commands), &mut leader.out);
    assert_eq!(leader.writes(at(50), &["a"]), [1]);
}

#[test]
fn what_comes_meanwhile_goes_together_when_its_first_has_waited_long_enough() {
    let mut leader = Leader::new(|_| {});
    leader.busy();
    assert_eq!(leader.writes(at(1), &["a"]), []);
    assert_eq!(leader.writes(at(3), &["b", "c"]), []);
    assert_eq!(leader.timers, [Duration::from_millis(WAIT_MS)], "one timer, from the first of them");
    assert_eq!(leader.expire(at(1 + WAIT_MS)), [3]);
    assert_eq!(leader.writes(at(6), &["d"]), [], "and so does the next");
    assert_eq!(leader.expire(at(7)), [], "a timer that comes early only looks");
    assert_eq!(leader.timers, [Duration::from_millis(WAIT_MS - 1)]);
    assert_eq!(leader.expire(at(6 + WAIT_MS)), [1]);
}

#[test]
fn it_goes_before_that_when_the_batch_under_way_is_decided() {
    let mut leader = Leader::new(|_| {});
    let batch = leader.busy();
    assert_eq!(leader.writes(at(1), &["a", "b"]), []);
    decide(&mut leader.machine, Decision::Commands(batch.commands), &mut leader.out);
    let [batch] = leader.settle(at(2)).try_into().expect("one");
    assert_eq!(length(&batch), 2);
}

#[test]
fn it_goes_before_that_when_it_is_full_by_count_or_bytes() {
    let mut leader = Leader::new(|config| config.max_batch_commands = 3);
    leader.busy();
    assert_eq!(leader.writes(at(1), &["a", "b"]), []);
    assert_eq!(leader.writes(at(1), &["c", "d"]), [3], "the rest waits for company of its own");
    assert_eq!(leader.writes(at(2), &["e", "f"]), [3]);

    let mut leader = Leader::new(|config| config.max_batch_bytes = 8);
    leader.busy();
    assert_eq!(leader.writes(at(1), &["1234"]), []);
    assert_eq!(leader.writes(at(1), &["5678"]), [2]);
}
