//! The least protocol that uses the whole seam: node 1 decides alone what is durable on its disk, and tells the others.

use bytes::Bytes;
use quorate_protocol::{
    Batch, Decision, Durable, Env, Event, Input, Landmarks, MembersChange, OpenError, Outbox, Pending, Refusal,
    Refused, Replica, Role, Rule, Setup, SnapshotId, Start, Status, Violation,
};
use quorate_types::{Membership, NodeId, Slot, Ticket};
use quorate_wire::{Reader, Wire, WireError};
use std::collections::BTreeMap;
use std::time::Duration;

pub static DECIDES: Rule =
    Rule { id: "solo.decide", source: "none", allowed: "{me} decides slot {slot}", refused: "", waiting: "" };

const LEADER: NodeId = NodeId(1);

/// What it is to do wrong, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoloConfig {
    pub misdeed: Option<Misdeed>,
    /// Refuses proposals while so many are undecided; 0 is no bound.
    pub max_undecided: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdeed {
    /// Breaks an invariant with the first decision.
    BreakInvariant,
    /// Decides bytes that are no batch.
    DecideGarbage,
    /// Asks for a snapshot instead of deciding.
    InstallSnapshot,
    /// Sends to itself.
    TalkToItself,
    /// Retires with the first decision.
    Retire,
    /// Leaves tickets out.
    SkipTickets,
}

/// An entry of the log, as record and as message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub slot: Slot,
    pub commands: Bytes,
}

impl Wire for Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(1);
        self.slot.encode(out);
        self.commands.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Entry, WireError> {
        match input.byte("solo entry")? {
            1 => Ok(Entry { slot: Slot::decode(input)?, commands: Bytes::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "solo entry", kind }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SoloTimer {
    Repeat,
}

#[derive(Clone, Debug)]
pub struct Solo {
    me: NodeId,
    config: SoloConfig,
    log: BTreeMap<Slot, Bytes>,
    written: Pending<Slot>,
    durable: Slot,
    decided: Slot,
    applied: Slot,
    compacted: Slot,
    landmarks: Landmarks,
    broken: bool,
}

impl PartialEq for Solo {
    fn eq(&self, other: &Solo) -> bool {
        (self.me, &self.log, self.durable, self.decided) == (other.me, &other.log, other.durable, other.decided)
    }
}
impl Eq for Solo {}
impl std::hash::Hash for Solo {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.me, &self.log, self.durable, self.decided).hash(state);
    }
}

impl Solo {
    fn append(&mut self, slot: Slot, commands: Bytes, out: &mut Outbox<Solo>) {
        if self.config.misdeed == Some(Misdeed::SkipTickets) {
            *out = Outbox::new(Ticket(100), false);
        }
        let ticket = out.persist(vec![Entry { slot, commands: commands.clone() }]);
        self.landmarks.note(slot, ticket);
        self.written.push(ticket, slot);
        if self.me == LEADER {
            out.send_after(ticket, NodeId(2), Entry { slot, commands: commands.clone() });
        }
        self.log.insert(slot, commands);
    }

    fn next(&self) -> Slot {
        self.log.last_key_value().map_or(self.decided, |(slot, _)| *slot).next()
    }

    fn decide(&mut self, out: &mut Outbox<Solo>) {
        while self.decided < self.durable {
            let slot = self.decided.next();
            let Some(commands) = self.log.get(&slot).cloned() else { return };
            self.decided = slot;
            out.trace(|| Event::allowed(&DECIDES).with("slot", slot));
            let decision = match self.config.misdeed {
                Some(Misdeed::DecideGarbage) => Decision::Commands(Bytes::from_static(&[0xff; 3])),
                _ => Decision::Commands(commands),
            };
            match self.config.misdeed {
                Some(Misdeed::BreakInvariant) => self.broken = true,
                Some(Misdeed::InstallSnapshot) => out.install_snapshot(SnapshotId(1), 1, Ticket::NONE),
                Some(Misdeed::TalkToItself) => out.send(self.me, Entry { slot, commands: Bytes::new() }),
                Some(Misdeed::Retire) => out.retire("for the test"),
                Some(Misdeed::DecideGarbage | Misdeed::SkipTickets) | None => {}
            }
            out.decide(slot, decision);
        }
    }

    fn compact(&mut self, durable: Slot, out: &mut Outbox<Solo>) {
        if durable > self.compacted {
            self.compacted = durable;
            self.log = self.log.split_off(&durable.next());
            out.compact(Vec::new(), self.landmarks.ticket_for(durable.next()));
        }
    }
}

impl Replica for Solo {
    type Message = Entry;
    type Record = Entry;
    type Anchor = u64;
    type Timer = SoloTimer;
    type Config = SoloConfig;

    const PROTOCOL: &'static str = "solo";
    const TIMERS: &'static [(&'static str, SoloTimer)] = &[("repeat", SoloTimer::Repeat)];

    fn open(
        setup: &Setup,
        config: &SoloConfig,
        found: Durable<Solo>,
        out: &mut Outbox<Solo>,
    ) -> Result<Solo, OpenError> {
        let mut solo = Solo {
            me: setup.me,
            config: config.clone(),
            log: BTreeMap::new(),
            written: Pending::new(),
            durable: found.applied,
            decided: found.applied,
            applied: found.applied,
            compacted: found.applied,
            landmarks: Landmarks::new(),
            broken: false,
        };
        for (ticket, entry) in found.records {
            solo.landmarks.note(entry.slot, ticket);
            if entry.slot > found.applied {
                if entry.slot != solo.durable.next() {
                    return Err(OpenError::Inconsistent { why: format!("slot {} after {}", entry.slot, solo.durable) });
                }
                solo.durable = entry.slot;
                solo.log.insert(entry.slot, entry.commands);
            }
        }
        out.set_timer(SoloTimer::Repeat, Duration::from_secs(1), Duration::from_secs(1));
        out.lead(1, Some(LEADER), setup.me == LEADER, setup.me == LEADER);
        if let Start::Found(members) = &setup.start {
            out.members(members.clone(), MembersChange::Opened);
        }
        solo.decide(out);
        Ok(solo)
    }

    fn step(&mut self, _: &mut dyn Env, input: Input<Solo>, out: &mut Outbox<Solo>) {
        match input {
            Input::Propose { request, .. } if self.me != LEADER => {
                out.refuse(Refused::Request(request), Refusal::NotLeader { hint: Some(LEADER) });
            }
            Input::Propose { request, batch: Batch { commands, .. } } => {
                let undecided = self.next().0 - 1 - self.decided.0;
                if self.config.max_undecided > 0 && undecided >= self.config.max_undecided as u64 {
                    out.refuse(Refused::Request(request), Refusal::Overloaded);
                } else {
                    self.append(self.next(), commands, out);
                }
            }
            Input::Receive { message: Entry { slot, commands }, .. } if slot == self.next() && self.me != LEADER => {
                self.append(slot, commands, out);
            }
            Input::Persisted(ticket) => {
                for slot in self.written.settle(ticket) {
                    self.durable = slot;
                }
            }
            Input::Expired(SoloTimer::Repeat) if self.me == LEADER => {
                for (slot, commands) in &self.log {
                    let entry = Entry { slot: *slot, commands: commands.clone() };
                    out.send_after(out.last_ticket(), NodeId(2), entry);
                }
            }
            Input::Read { token, .. } => out.read_at(token, self.decided),
            Input::Applied { through, durable, .. } => {
                self.applied = through;
                self.compact(durable, out);
            }
            _ => {}
        }
    }

    fn settle(&mut self, _: &mut dyn Env, out: &mut Outbox<Solo>) {
        // A replica may say who leads whenever it likes.
        out.lead(1, Some(LEADER), self.me == LEADER, self.me == LEADER);
        self.decide(out);
    }

    fn check_invariants(&self) -> Result<(), Violation> {
        if self.broken {
            return Err(Violation { invariant: "Unbroken", detail: "broken for the test".to_owned() });
        }
        Ok(())
    }

    fn status(&self) -> Status {
        Status {
            role: if self.me == LEADER { Role::Leader } else { Role::Follower },
            era: 1,
            leader: Some(LEADER),
            first: self.compacted.next(),
            last: self.next().previous(),
            durable: self.durable,
            committed: self.decided,
            applied: self.applied,
            membership: Membership::of_voters(2),
            peers: Vec::new(),
        }
    }

    fn anchored(anchor: &u64) -> Slot {
        Slot(*anchor)
    }

    fn kind(_: &Entry) -> &'static str {
        "entry"
    }

    fn vouches(&self, _: NodeId, message: &Entry) -> bool {
        message.slot <= self.compacted || self.log.get(&message.slot) == Some(&message.commands)
    }
}
