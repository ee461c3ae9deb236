//! The conformance suite notices what it is there for: a toy replica with one flaw at a time.

use bytes::Bytes;
use quorate_protocol::conformance::{Subject, Tally, random_schedules};
use quorate_protocol::{
    Decision, Durable, Env, Event, Input, OpenError, Outbox, Pending, Refusal, Refused, Replica, Role, Rule, Setup,
    Status, Violation,
};
use quorate_types::{Membership, NodeId, Slot, Ticket};
use quorate_wire::{Reader, Wire, WireError};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Flaw {
    None,
    PanicsOnNews,
    ListensToItsTrace,
    SendsToItself,
    NamesNoTicket,
    ClaimsTooEarly,
    DecidesTwice,
    DecidesWhatNobodyProposed,
    DecidesAnother,
    RefusesWhatItDecides,
    ReadsThePast,
    EncodesOtherwise,
    CompactsTooMuch,
    CannotOpenTwoRecords,
    RemembersWithoutDisk,
    DropsProposals,
    Unsound,
}

/// Node 1 alone decides, and tells the others once a value is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Toy {
    flaw: Flaw,
    me: NodeId,
    others: Vec<NodeId>,
    log: Vec<Bytes>,
    durable: usize,
    decided: usize,
    applied_durable: u64,
    pending: Pending<usize>,
    noise: u64,
}

/// Message and record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    slot: u64,
    value: Bytes,
}

impl Wire for Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        self.slot.encode(out);
        self.value.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        let (slot, value) = <(u64, Bytes)>::decode(input)?;
        // Only `EncodesOtherwise` writes such a value.
        let slot = if value.ends_with(b"*") { slot + 1 } else { slot };
        Ok(Entry { slot, value })
    }
}

static TOLD: Rule = Rule { id: "toy.told", source: "nowhere", allowed: "{me} is told", refused: "", waiting: "" };

impl Toy {
    fn append(&mut self, value: Bytes, out: &mut Outbox<Toy>) {
        self.log.push(value.clone());
        let slot = self.log.len() as u64;
        let ticket = out.persist(vec![Entry { slot, value: value.clone() }]);
        self.pending.push(ticket, self.log.len());
        if self.me != NodeId(1) {
            return;
        }
        let after = match self.flaw {
            Flaw::ClaimsTooEarly => Ticket::NONE,
            Flaw::NamesNoTicket => Ticket(ticket.0 + 1),
            _ => ticket,
        };
        let value = if self.flaw == Flaw::EncodesOtherwise { [&value[..], b"*"].concat().into() } else { value };
        for to in self.others.clone() {
            out.send_after(after, to, Entry { slot, value: value.clone() });
        }
        if self.flaw == Flaw::SendsToItself {
            out.send(self.me, Entry { slot, value });
        }
    }

    fn decide(&mut self, out: &mut Outbox<Toy>) {
        while self.decided < self.durable {
            let value = match self.flaw {
                Flaw::DecidesWhatNobodyProposed => Bytes::from_static(b"invented"),
                Flaw::DecidesAnother if self.me == NodeId(2) => self.log[0].clone(),
                _ => self.log[self.decided].clone(),
            };
            self.decided += 1;
            out.decide(Slot(self.decided as u64), Decision::Commands(value.clone()));
            if self.flaw == Flaw::DecidesTwice {
                out.decide(Slot(self.decided as u64), Decision::Commands(value));
            }
        }
    }

    fn compact(&mut self, durable: Slot, out: &mut Outbox<Toy>) {
        if durable.0 <= self.applied_durable {
            return;
        }
        self.applied_durable = durable.0;
        let kept = if self.flaw == Flaw::CompactsTooMuch { self.log.len() - 1 } else { self.log.len() };
        let entry = |(at, value): (usize, &Bytes)| Entry { slot: at as u64 + 1, value: value.clone() };
        let baseline = self.log.iter().take(kept).enumerate().map(entry).collect();
        let drop_before = Ticket(out.last_ticket().0 + 1);
        out.compact(baseline, drop_before);
    }

    fn propose(&mut self, request: quorate_protocol::RequestId, commands: Bytes, out: &mut Outbox<Toy>) {
        if self.me != NodeId(1) || self.flaw == Flaw::DropsProposals {
            return out.refuse(Refused::Request(request), Refusal::NotLeader { hint: Some(NodeId(1)) });
        }
        if self.flaw == Flaw::RefusesWhatItDecides {
            out.refuse(Refused::Request(request), Refusal::Overloaded);
        }
        self.append(commands, out);
    }

    fn told(&mut self, entry: Entry, out: &mut Outbox<Toy>) {
        let before = out.clone().take().len();
        out.trace(|| Event::allowed(&TOLD));
        if self.flaw == Flaw::ListensToItsTrace {
            self.noise += (out.clone().take().len() - before) as u64;
        }
        if self.me != NodeId(1) && entry.slot == self.log.len() as u64 + 1 {
            self.append(entry.value, out);
        }
    }

    fn resend(&self, out: &mut Outbox<Toy>) {
        out.set_timer(0, Duration::from_millis(1), Duration::from_millis(2));
        if self.me == NodeId(1) {
            for (at, value) in self.log[..self.durable].iter().enumerate() {
                for to in &self.others {
                    out.send(*to, Entry { slot: at as u64 + 1, value: value.clone() });
                }
            }
        }
    }
}

impl Replica for Toy {
    type Message = Entry;
    type Record = Entry;
    type Anchor = u64;
    type Timer = u8;
    type Config = Flaw;

    const PROTOCOL: &'static str = "toy";
    const TIMERS: &'static [(&'static str, u8)] = &[("resend", 0)];

    fn open(setup: &Setup, flaw: &Flaw, found: Durable<Toy>, out: &mut Outbox<Toy>) -> Result<Toy, OpenError> {
        if *flaw == Flaw::CannotOpenTwoRecords && found.records.len() > 1 {
            return Err(OpenError::Inconsistent { why: "too many".to_owned() });
        }
        let mut log: Vec<Bytes> = Vec::new();
        for (_, entry) in found.records {
            if entry.slot == log.len() as u64 + 1 {
                log.push(entry.value);
            }
        }
        if *flaw == Flaw::RemembersWithoutDisk && setup.incarnation.0 > 1 && log.is_empty() {
            log.push(Bytes::from_static(b"command 1"));
        }
        let mut toy = Toy {
            flaw: *flaw,
            me: setup.me,
            others: (1..=3).map(NodeId).filter(|id| *id != setup.me).collect(),
            durable: log.len(),
            decided: usize::try_from(found.applied.0).expect("small in tests").min(log.len()),
            log,
            applied_durable: found.applied.0,
            pending: Pending::new(),
            noise: 0,
        };
        out.set_timer(0, Duration::from_millis(1), Duration::from_millis(2));
        toy.decide(out);
        Ok(toy)
    }

    fn step(&mut self, _: &mut dyn Env, input: Input<Toy>, out: &mut Outbox<Toy>) {
        match input {
            Input::Propose { request, batch } => self.propose(request, batch.commands, out),
            Input::Receive { message, .. } => self.told(message, out),
            Input::Persisted(ticket) => {
                let settled = self.pending.settle(ticket);
                self.durable = settled.into_iter().max().unwrap_or(0).max(self.durable);
                self.decide(out);
            }
            Input::Expired(_) => self.resend(out),
            Input::Read { token, .. } => match (self.me, self.flaw) {
                (_, Flaw::ReadsThePast) => out.read_at(token, Slot::ZERO),
                (NodeId(1), _) => out.read_at(token, Slot(self.log.len() as u64)),
                _ => out.refuse(Refused::Read(token), Refusal::NotLeader { hint: Some(NodeId(1)) }),
            },
            Input::Applied { durable, .. } => self.compact(durable.min(Slot(self.decided as u64)), out),
            Input::Reconfigure { request, .. } | Input::Transfer { request, .. } => {
                out.refuse(Refused::Request(request), Refusal::Unsupported("a toy"));
            }
            Input::SnapshotPinned { .. } => assert!(self.flaw != Flaw::PanicsOnNews, "no snapshot was asked for"),
            Input::Link { .. } | Input::SnapshotSent { .. } | Input::SnapshotArrived { .. } => {}
        }
    }

    fn settle(&mut self, _: &mut dyn Env, _: &mut Outbox<Toy>) {}

    fn check_invariants(&self) -> Result<(), Violation> {
        if self.flaw == Flaw::Unsound && self.decided > 1 {
            return Err(Violation { invariant: "ToyIsSound", detail: "two slots".to_owned() });
        }
        Ok(())
    }

    fn status(&self) -> Status {
        Status {
            role: Role::Follower,
            era: 0,
            leader: None,
            first: Slot(1),
            last: Slot(self.log.len() as u64),
            durable: Slot(self.durable as u64),
            committed: Slot(self.decided as u64),
            applied: Slot::ZERO,
            membership: Membership::of_voters(3),
            peers: Vec::new(),
        }
    }

    fn anchored(anchor: &u64) -> Slot {
        Slot(*anchor)
    }

    fn kind(_: &Entry) -> &'static str {
        "entry"
    }

    /// Who tells holds what it tells.
    fn vouches(&self, _: NodeId, message: &Entry) -> bool {
        self.log.len() as u64 >= message.slot
    }
}

fn run(flaw: Flaw) -> Result<Tally, String> {
    let subject = Subject {
        newcomers: Vec::new(),
        members: Membership::of_voters(3),
        config: flaw,
        safety: |toy: &Toy| format!("{:?}", toy.log),
        last_slot: None,
        heal_rounds: 200,
    };
    random_schedules(&subject, 0..60, 120).map_err(|failure| {
        assert!(!failure.steps.is_empty(), "the schedule is replayed with its steps");
        failure.check
    })
}

#[test]
fn a_sound_toy_passes_and_the_run_was_not_vacuous() {
    let tally = run(Flaw::None).expect("the toy keeps its promises");
    let wanted =
        ["decided", "crash", "crash losing writes", "compaction", "settled late", "garbage", "healed", "refused"];
    assert_eq!(tally.never(&wanted), Vec::<&str>::new(), "{tally}");
}

#[test]
fn every_flaw_is_noticed_by_the_check_that_is_there_for_it() {
    let flaws = [
        (Flaw::PanicsOnNews, "Total"),
        (Flaw::ListensToItsTrace, "TracingChangesNothing"),
        (Flaw::SendsToItself, "NeverToYourself"),
        (Flaw::NamesNoTicket, "TicketsExist"),
        (Flaw::ClaimsTooEarly, "DurabilityGhost"),
        (Flaw::DecidesTwice, "DecidedInOrder"),
        (Flaw::DecidesWhatNobodyProposed, "Validity"),
        (Flaw::DecidesAnother, "Agreement"),
        (Flaw::RefusesWhatItDecides, "RefusalIsDefinite"),
        (Flaw::ReadsThePast, "Linearizable"),
        (Flaw::EncodesOtherwise, "RoundTrip"),
        (Flaw::CompactsTooMuch, "CompactionLosesNothing"),
        (Flaw::CannotOpenTwoRecords, "EveryCrashOpens"),
        (Flaw::RemembersWithoutDisk, "FreshIsRecovery"),
        (Flaw::DropsProposals, "LiveAfterHeal"),
        (Flaw::Unsound, "ToyIsSound"),
    ];
    for (flaw, check) in flaws {
        assert_eq!(run(flaw).map(|tally| tally.to_string()), Err(check.to_owned()), "{flaw:?}");
    }
}

#[test]
fn an_outbox_tells_a_driver_which_deadlines_are_of_the_time_before() {
    let mut out: Outbox<Toy> = Outbox::new(Ticket::NONE, false);
    out.set_timer(1, Duration::ZERO, Duration::ZERO);
    out.cancel_timer(2);
    assert_eq!([0, 1, 2].map(|timer| out.has_moved(timer)), [false, true, true]);
    out.take();
    assert!(!out.has_moved(1), "from the next batch on its new deadline counts");
}
