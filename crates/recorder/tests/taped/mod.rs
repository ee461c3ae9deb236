//! Three replicas with a tape each, a network and disks in memory, and dice.

use bytes::Bytes;
use quorate_protocol::{
    Batch, Durable, Env, Gate, Input, LinkState, Outbox, Output, Picture, ReadToken, Replica, RequestId, Setup, Start,
    Tape, Taped,
};
use quorate_raft::{Config, Message, Raft, Timer};
use quorate_recorder::{ClockReading, Fact, Heard, SegmentEnd, SegmentHeader, SegmentWriter};
use quorate_types::{ClusterId, DiskId, Incarnation, Membership, NodeId, Slot, Ticket, Time};
use std::collections::{BTreeMap, BTreeSet};

/// In every command.
pub const SECRET: &str = "a secret that no recording may hold";

/// A segment is over after so many bytes of notes.
const SEGMENT_BYTES: u64 = 6 * 1024;

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound.max(1)
    }
}

struct Clock(Time);

impl Env for Clock {
    fn now(&self) -> Time {
        self.0
    }
    fn choose(&mut self, _: u64) -> u64 {
        0
    }
}

struct Member {
    setup: Setup,
    replica: Raft,
    outbox: Outbox<Raft>,
    gate: Gate<Message>,
    tape: Tape<Raft>,
    armed: BTreeSet<Timer>,
    under_way: Option<Ticket>,
    inbox: Vec<Input<Raft>>,
    writer: SegmentWriter,
    file: Vec<u8>,
    calls: usize,
}

/// What was run and what was written.
pub struct Run {
    members: BTreeMap<NodeId, Member>,
    /// Segment files of each member.
    pub files: BTreeMap<NodeId, Vec<Vec<u8>>>,
    flights: Vec<(NodeId, NodeId, Message)>,
    dice: Dice,
    now: Time,
    with_values: bool,
    /// The number of the step that is not written down.
    left_out: Option<usize>,
}

fn header(setup: &Setup, sequence: u64, now: Time, has_values: bool) -> SegmentHeader {
    SegmentHeader {
        protocol: Raft::PROTOCOL.to_owned(),
        cluster: setup.cluster,
        node: setup.me,
        name: format!("member {}", setup.me),
        incarnation: setup.incarnation,
        sequence,
        program: "a test".to_owned(),
        clock: ClockReading { monotonic: now, wall_ns: 1_000_000_000 + now.0 },
        has_values,
    }
}

fn opened(id: NodeId, count: u64, has_values: bool) -> Member {
    let setup = Setup {
        cluster: ClusterId(9),
        me: id,
        disk: DiskId(id.0),
        incarnation: Incarnation(1),
        start: Start::Found(Membership::of_voters(count)),
    };
    let config = Config { compact_after_entries: 40, keep_log_entries: 200, ..Config::default() };
    let mut outbox = Outbox::new(Ticket::NONE, false);
    let replica = Raft::open(&setup, &config, Durable::nothing(), &mut outbox).expect("a fresh replica opens");
    let first_words = outbox.take();
    let gate = Gate::new(Ticket::NONE);
    let picture = Picture {
        setup: setup.clone(),
        replica: replica.clone(),
        gate: gate.clone(),
        last_ticket: outbox.last_ticket(),
    };
    let (writer, file) = SegmentWriter::begin(header(&setup, 1, Time::ZERO, has_values), picture);
    let mut tape = Tape::default();
    tape.start();
    let mut member = Member {
        setup,
        replica,
        outbox,
        gate,
        tape,
        armed: BTreeSet::new(),
        under_way: None,
        inbox: Vec::new(),
        writer,
        file,
        calls: 0,
    };
    let left = member.carry_out(first_words);
    assert!(left.is_empty(), "nothing is said before anything is heard");
    member
}

impl Member {
    /// Returns what leaves for others.
    fn carry_out(&mut self, outputs: Vec<Output<Raft>>) -> Vec<(NodeId, Message)> {
        let mut left = Vec::new();
        for output in outputs {
            match output {
                Output::Persist { ticket, .. } | Output::Compact { ticket, .. } => self.under_way = Some(ticket),
                Output::Send { to, message, after } => left.extend(self.gate.pass(after, to, message)),
                Output::SetTimer { timer, .. } => {
                    self.armed.insert(timer);
                }
                Output::CancelTimer(timer) => {
                    self.armed.remove(&timer);
                }
                Output::Decide { slot, .. } => {
                    let durable = Slot(slot.0 / 20 * 20);
                    self.inbox.push(Input::Applied { through: slot, durable, digest: slot.0 });
                }
                _ => {}
            }
        }
        left
    }

    fn picture(&self) -> Picture<Raft> {
        let (setup, replica, gate) = (self.setup.clone(), self.replica.clone(), self.gate.clone());
        Picture { setup, replica, gate, last_ticket: self.outbox.last_ticket() }
    }
}

impl Run {
    /// So many members and moves.
    pub fn of_members(count: u64, moves: usize, with_values: bool) -> Run {
        Run::taped(count, moves, with_values, None)
    }

    /// With one step of each member that is not written down.
    pub fn leaving_out(count: u64, moves: usize, step: usize) -> Run {
        Run::taped(count, moves, false, Some(step))
    }

    fn taped(count: u64, moves: usize, with_values: bool, left_out: Option<usize>) -> Run {
        let members: BTreeMap<NodeId, Member> =
            (1..=count).map(|id| (NodeId(id), opened(NodeId(id), count, with_values))).collect();
        let files = members.keys().map(|id| (*id, Vec::new())).collect();
        let (dice, now) = (Dice(7), Time(1000));
        let mut run = Run { members, files, flights: Vec::new(), dice, now, with_values, left_out };
        for number in 0..moves {
            run.now.0 += 100_000;
            run.make_a_move(number);
        }
        run.end();
        run
    }

    /// A member as it is in the end.
    pub fn replica(&self, id: NodeId) -> &Raft {
        &self.members[&id].replica
    }

    fn make_a_move(&mut self, number: usize) {
        let id = NodeId(self.dice.below(self.members.len()) as u64 + 1);
        let roll = self.dice.below(100);
        let input = match roll {
            0..=44 if !self.flights.is_empty() => {
                let at = self.dice.below(self.flights.len().min(6));
                let (from, to, message) = self.flights.remove(at);
                return self.told(to, Input::Receive { from, message });
            }
            0..=44 => return,
            45..=69 => {
                let member = self.members.get_mut(&id).expect("members stay");
                let Some(ticket) = member.under_way.take() else { return };
                let released = member.gate.advance(ticket);
                self.flights.extend(released.into_iter().map(|(to, message)| (id, to, message)));
                Input::Persisted(ticket)
            }
            70..=89 => {
                let commands = format!("{SECRET} {number}").repeat(1 + self.dice.below(3));
                Input::Propose { request: RequestId(number as u64), batch: Batch::new(Bytes::from(commands)) }
            }
            90..=91 => {
                let token = ReadToken { node: id, incarnation: Incarnation(1), number: number as u64 };
                Input::Read { token, footprint: quorate_protocol::Footprint::Everything }
            }
            92 => Input::Link { peer: NodeId(1 + id.0 % self.members.len() as u64), state: LinkState::Up },
            _ => {
                let member = self.members.get_mut(&id).expect("members stay");
                // Elections are rare, or nobody leads for long.
                let armed: Vec<Timer> = member
                    .armed
                    .iter()
                    .copied()
                    .filter(|timer| {
                        !matches!(timer, Timer::Election | Timer::CheckQuorum | Timer::Disk)
                            || number.is_multiple_of(23)
                    })
                    .collect();
                if armed.is_empty() {
                    return;
                }
                let timer = armed[self.dice.below(armed.len())];
                member.armed.remove(&timer);
                Input::Expired(timer)
            }
        };
        self.told(id, input);
    }

    /// Some inputs are settled together with the next.
    fn told(&mut self, id: NodeId, input: Input<Raft>) {
        let settles = self.dice.below(4) > 0;
        let now = self.now;
        let member = self.members.get_mut(&id).expect("members stay");
        let mut env = Clock(now);
        member.tape.step(&mut member.replica, &mut env, input, &mut member.outbox);
        if !settles {
            return;
        }
        loop {
            for input in std::mem::take(&mut member.inbox) {
                member.tape.step(&mut member.replica, &mut env, input, &mut member.outbox);
            }
            member.tape.settle(&mut member.replica, &mut env, &mut member.outbox);
            let outputs = member.outbox.take();
            member.tape.said(&outputs);
            let left = member.carry_out(outputs);
            self.flights.extend(left.into_iter().map(|(to, message)| (id, to, message)));
            if member.inbox.is_empty() {
                break;
            }
        }
        member.replica.check_invariants().expect("the replica keeps its promises");
        self.write(id);
    }

    fn write(&mut self, id: NodeId) {
        let member = self.members.get_mut(&id).expect("members stay");
        let clock = ClockReading { monotonic: self.now, wall_ns: 1_000_000_000 + self.now.0 };
        let mut heard = vec![Heard::Clock(clock), Heard::Fact { at: self.now, fact: Fact::FreeSpace(7) }];
        for taped in member.tape.take() {
            if matches!(taped, Taped::Step { .. }) {
                member.calls += 1;
                if self.left_out == Some(member.calls) {
                    continue;
                }
            }
            heard.push(Heard::Taped(taped));
        }
        member.file.extend(member.writer.append(heard));
        if member.writer.note_bytes() >= SEGMENT_BYTES {
            self.end_segment(id, SegmentEnd::Full);
        }
    }

    fn end_segment(&mut self, id: NodeId, end: SegmentEnd) {
        let member = self.members.get_mut(&id).expect("members stay");
        member.file.extend(member.writer.end::<Raft>(end));
        let sequence = member.writer.header().sequence + 1;
        let (writer, file) =
            SegmentWriter::begin(header(&member.setup, sequence, self.now, self.with_values), member.picture());
        member.writer = writer;
        let files = self.files.get_mut(&id).expect("every member has files");
        files.push(std::mem::replace(&mut member.file, file));
    }

    fn end(&mut self) {
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            self.write(id);
            self.end_segment(id, SegmentEnd::Stopped);
        }
    }
}

/// A segment of just this.
pub fn file_of(heard: Vec<Heard<Raft>>) -> Vec<u8> {
    let member = opened(NodeId(1), 1, false);
    let (mut writer, mut file) = SegmentWriter::begin(header(&member.setup, 1, Time::ZERO, false), member.picture());
    file.extend(writer.append(heard));
    file
}
