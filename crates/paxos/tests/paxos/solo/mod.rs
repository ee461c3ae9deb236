//! One replica by itself: inputs in, outputs out, tracing off.
use quorate_paxos::{Ballot, Config, Message, Paxos, Proposal, Record, Timer};
use quorate_protocol::{Batch, Durable, Env, Input, OpenError, Outbox, Output, Replica, RequestId, Setup, Start};
use quorate_types::{ClusterId, DiskId, Incarnation, Membership, NodeId, Slot, Ticket, Time};
use std::time::Duration;

pub struct NoChance;

impl Env for NoChance {
    fn now(&self) -> Time {
        Time::ZERO
    }
    fn choose(&mut self, _: u64) -> u64 {
        unreachable!("Paxos leaves chance to its driver")
    }
}

pub struct Solo {
    pub paxos: Paxos,
    out: Outbox<Paxos>,
    /// Every record asked to be written, durable or not.
    pub records: Vec<(Ticket, Record)>,
}

pub fn setup(me: u64, start: Start) -> Setup {
    Setup { cluster: ClusterId(1), me: NodeId(me), disk: DiskId(me), incarnation: Incarnation(1), start }
}

pub fn ballot(round: u64, id: u64) -> Ballot {
    Ballot::new(round, NodeId(id))
}

pub fn proposal(round: u64, id: u64, value: &'static str) -> Proposal {
    Proposal { ballot: ballot(round, id), value: value.into() }
}

impl Solo {
    /// Node `me` of a founded cluster with its founding record durable.
    pub fn of(count: u64, me: u64, config: &Config) -> Solo {
        let start = Start::Found(Membership::of_voters(count));
        let mut solo = Solo::open(setup(me, start), config, Durable::nothing()).expect("a fresh node opens").0;
        solo.persisted();
        solo
    }

    pub fn open(setup: Setup, config: &Config, found: Durable<Paxos>) -> Result<(Solo, Vec<Output<Paxos>>), OpenError> {
        let last = found.records.last().map_or(Ticket::NONE, |(ticket, _)| *ticket);
        let mut out = Outbox::new(last, false);
        let records = found.records.clone();
        let paxos = Paxos::open(&setup, config, found, &mut out)?;
        let mut solo = Solo { paxos, out, records };
        let outputs = solo.take();
        Ok((solo, outputs))
    }

    /// Crashes and opens again, with the first so many records durable.
    pub fn restart(&self, me: u64, config: &Config, durable: usize) -> Solo {
        let records = self.records[..durable].to_vec();
        let found = Durable { records, anchor: None, applied: Slot::ZERO };
        Solo::open(setup(me, Start::Join), config, found).expect("undamaged records open").0
    }

    pub fn give(&mut self, input: Input<Paxos>) -> Vec<Output<Paxos>> {
        self.paxos.step(&mut NoChance, input, &mut self.out);
        self.paxos.settle(&mut NoChance, &mut self.out);
        assert_eq!(self.paxos.check_invariants(), Ok(()));
        self.take()
    }

    fn take(&mut self) -> Vec<Output<Paxos>> {
        let outputs = self.out.take();
        for output in &outputs {
            if let Output::Persist { ticket, records } = output {
                self.records.extend(records.iter().map(|record| (*ticket, record.clone())));
            }
        }
        outputs
    }

    pub fn receive(&mut self, from: u64, message: Message) -> Vec<Output<Paxos>> {
        self.give(Input::Receive { from: NodeId(from), message })
    }

    pub fn propose(&mut self, request: u64, value: &'static str) -> Vec<Output<Paxos>> {
        self.give(Input::Propose { request: RequestId(request), batch: Batch::new(value.into()) })
    }

    pub fn expire(&mut self, timer: Timer) -> Vec<Output<Paxos>> {
        self.give(Input::Expired(timer))
    }

    /// Everything asked for becomes durable.
    pub fn persisted(&mut self) -> Vec<Output<Paxos>> {
        let last = self.out.last_ticket();
        self.give(Input::Persisted(last))
    }

    pub fn last_ticket(&self) -> Ticket {
        self.out.last_ticket()
    }
}

/// The sends among some outputs: to whom, what, after which write.
pub fn sends(outputs: &[Output<Paxos>]) -> Vec<(u64, Message, Ticket)> {
    let send = |output: &Output<Paxos>| match output {
        Output::Send { to, message, after } => Some((to.0, message.clone(), *after)),
        _ => None,
    };
    outputs.iter().filter_map(send).collect()
}

/// The records asked to be written among some outputs.
pub fn writes(outputs: &[Output<Paxos>]) -> Vec<Record> {
    let records = |output: &Output<Paxos>| match output {
        Output::Persist { records, .. } => records.clone(),
        _ => Vec::new(),
    };
    outputs.iter().flat_map(records).collect()
}

/// The bounds a timer was set to.
pub fn timer_bounds(outputs: &[Output<Paxos>], wanted: Timer) -> Option<(Duration, Duration)> {
    outputs.iter().find_map(|output| match output {
        Output::SetTimer { timer, at_least, at_most } if *timer == wanted => Some((*at_least, *at_most)),
        _ => None,
    })
}
