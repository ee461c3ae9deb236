//! The hot paths, driven as a node drives them and nothing else: for benches and profiles.

use bytes::Bytes;
use quorate_disk::Disk;
use quorate_disk::model::ModelDisk;
use quorate_journal::{Identity, Journal, JournalConfig};
use quorate_keyspace::{Keyspace, PutRequest, Query, RangeRequest, Request};
use quorate_machine::{ApplyContext, Command, StateMachine, encode_batch};
use quorate_protocol::{Batch, Durable, Env, Input, Outbox, Output, Replica, RequestId, Setup, Start};
use quorate_raft::{Config, Raft, Timer};
use quorate_types::{ClusterId, DiskId, Incarnation, Membership, NodeId, Session, Slot, Ticket, Time};
use quorate_wire::encode_to_bytes;
use std::collections::VecDeque;

struct NoTime;

impl Env for NoTime {
    fn now(&self) -> Time {
        Time::ZERO
    }
    fn choose(&mut self, _: u64) -> u64 {
        0
    }
}

/// Three Raft replicas in one thread, with messages that arrive and writes that complete at once: what is left is the
/// protocol itself.
pub struct Trio {
    replicas: Vec<(Raft, Outbox<Raft>)>,
    inputs: VecDeque<(usize, Input<Raft>)>,
    request: u64,
    /// Entries that the leader has handed out as decided.
    pub decided: u64,
}

impl Trio {
    /// Three replicas, the first of which leads.
    ///
    /// # Panics
    /// When nobody can be elected, which would be a defect.
    #[must_use]
    pub fn new() -> Trio {
        let members = Membership::of_voters(3);
        let open = |id: u64| {
            let setup = Setup {
                cluster: ClusterId(1),
                me: NodeId(id),
                disk: DiskId(id),
                incarnation: Incarnation(1),
                start: Start::Found(members.clone()),
            };
            let mut outbox = Outbox::new(Ticket::NONE, false);
            let raft = Raft::open(&setup, &Config::default(), Durable::nothing(), &mut outbox);
            (raft.expect("a fresh replica opens"), outbox)
        };
        let mut trio = Trio { replicas: (1..=3).map(open).collect(), inputs: VecDeque::new(), request: 0, decided: 0 };
        for at in 0..3 {
            trio.carry_out(at);
        }
        trio.run();
        trio.inputs.push_back((0, Input::Expired(Timer::Election)));
        trio.run();
        trio
    }

    /// Proposes `count` entries that each hold `entry` in one batch of inputs, and runs until all are decided everywhere.
    ///
    /// # Panics
    /// When not all of them are decided.
    pub fn decide(&mut self, count: u64, entry: &Bytes) {
        let wanted = self.decided + count;
        let (leader, outbox) = &mut self.replicas[0];
        for _ in 0..count {
            self.request += 1;
            let batch = Batch::new(entry.clone());
            leader.step(&mut NoTime, Input::Propose { request: RequestId(self.request), batch }, outbox);
        }
        self.settle(0);
        self.run();
        assert_eq!(self.decided, wanted, "without loss everything is decided");
    }

    fn settle(&mut self, at: usize) {
        let (raft, outbox) = &mut self.replicas[at];
        raft.settle(&mut NoTime, outbox);
        self.carry_out(at);
    }

    fn run(&mut self) {
        while let Some((at, input)) = self.inputs.pop_front() {
            let (raft, outbox) = &mut self.replicas[at];
            raft.step(&mut NoTime, input, outbox);
            self.settle(at);
        }
    }

    fn carry_out(&mut self, at: usize) {
        let from = NodeId(at as u64 + 1);
        let mut decided_through = None;
        for output in self.replicas[at].1.take() {
            match output {
                Output::Persist { ticket, .. } | Output::Compact { ticket, .. } => {
                    self.inputs.push_back((at, Input::Persisted(ticket)));
                }
                Output::Send { to, message, .. } => {
                    let index = usize::try_from(to.0 - 1).expect("there are three");
                    self.inputs.push_back((index, Input::Receive { from, message }));
                }
                Output::Decide { slot, .. } => decided_through = Some(slot),
                _ => {}
            }
        }
        if let Some(through) = decided_through {
            if at == 0 {
                // Slot 1 is the leader's no-op.
                self.decided = through.0.saturating_sub(1);
            }
            self.inputs.push_back((at, Input::Applied { through, durable: through, digest: 0 }));
        }
    }
}

impl Default for Trio {
    fn default() -> Trio {
        Trio::new()
    }
}

/// `count` encoded puts of different keys, as payloads of commands.
#[must_use]
pub fn puts(count: u64, value_bytes: usize) -> Vec<Bytes> {
    let value = Bytes::from(vec![b'v'; value_bytes]);
    let put = |number: u64| {
        let key = Bytes::from(format!("key/{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        encode_to_bytes(&Request::Put(PutRequest { key, value: value.clone(), ..PutRequest::default() }))
    };
    (0..count).map(put).collect()
}

/// A keyspace that has applied these payloads.
#[must_use]
pub fn keyspace_with(payloads: &[Bytes]) -> Keyspace {
    let mut keyspace = Keyspace::empty();
    apply_all(&mut keyspace, payloads);
    keyspace
}

/// Applies payloads one after the other.
pub fn apply_all(keyspace: &mut Keyspace, payloads: &[Bytes]) {
    for (slot, payload) in (1..).zip(payloads) {
        let context = ApplyContext { slot: Slot(slot), index: 0, stamp: Time::ZERO };
        keyspace.apply(&context, payload);
    }
}

/// Reads single keys that [`puts`] has written.
pub fn get_all(keyspace: &Keyspace, count: u64) {
    for number in 0..count {
        let key = Bytes::from(format!("key/{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        std::hint::black_box(keyspace.query(&Query::Range(RangeRequest { key, ..RangeRequest::default() })));
    }
}

/// One batch of commands, as a leader builds it.
#[must_use]
pub fn batch_of(payloads: &[Bytes]) -> Bytes {
    let command = |(sequence, payload): (u64, &Bytes)| Command {
        session: Session { owner: 1, incarnation: Incarnation(1) },
        sequence,
        acked_below: 1,
        stamp: Time::ZERO,
        payload: payload.clone(),
    };
    let commands: Vec<Command> = (1..).zip(payloads).map(command).collect();
    encode_batch(&commands)
}

/// A journal on a disk in memory.
///
/// # Panics
/// Never: nothing is there to be damaged.
#[must_use]
pub fn journal() -> Journal {
    let identity =
        Identity { cluster: ClusterId(1), node: NodeId(1), disk: DiskId(1), protocol: Raft::PROTOCOL.to_owned() };
    let mut disk = ModelDisk::new();
    let (journal, operations) =
        Journal::create(&disk, identity, JournalConfig::default()).expect("an empty disk takes a journal");
    disk.perform_all(&operations).expect("a disk in memory does not fail");
    journal
}

/// Appends a record under the next ticket and plans the write, as one flush does.
///
/// # Panics
/// When the journal refuses what is in order.
pub fn flush_one(journal: &mut Journal, record: &Bytes) {
    let ticket = Ticket(journal.appended().0 + 1);
    journal.append(ticket, vec![record.clone()]).expect("tickets go up by one");
    let write = journal.next_write().expect("a record is queued");
    std::hint::black_box(&write.operations);
    journal.completed(write.id).expect("it is the write under way");
}
