//! Who is let in: the rule of the real transport's hello, which knows a node by its disk and by the starts that its directory remembers.
//!
//! Here a hello is exchanged when a node starts, with every peer that it reaches, and when the first message of a life arrives
//! at a life of its receiver. What a node knows of its peers survives its crashes, as the real one's file does.

use super::World;
use super::host::{Host, Waiting};
use crate::marks::Mark;
use crate::network::Flight;
use quorate_machine::StateMachine;
use quorate_narrator::What;
use quorate_node::{MemberFacts, Node, NodeInput};
use quorate_protocol::Replica;
use quorate_types::{DiskId, NodeId, Slot};
use std::collections::{BTreeMap, BTreeSet};

/// What a node comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    disk: DiskId,
    incarnation: u64,
    /// Unlike any other start's, as what the real node draws.
    start: u64,
    /// The last change of the members that it knows decided.
    members_decided_at: Slot,
}

/// Why a node is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    OtherDisk,
    OlderData,
    /// It was a member and is no more.
    Removed,
    /// Nobody this node has heard of yet: it may be told of it any moment.
    Unknown,
}

/// What every node knows of every other: `known[(who knows, of whom)]`.
#[derive(Debug, Default)]
pub(super) struct Doorman {
    known: BTreeMap<(NodeId, NodeId), Credentials>,
}

impl Doorman {
    /// Judges one that comes to another, and remembers what it came with. However often a copy of a directory has started since, it
    /// does not remember the start that the other knows.
    fn judge(
        &mut self,
        host: NodeId,
        guest: NodeId,
        comes_with: Credentials,
        told_starts: &BTreeSet<u64>,
    ) -> Result<(), Refusal> {
        match self.known.get(&(host, guest)) {
            Some(known) if known.disk != comes_with.disk => Err(Refusal::OtherDisk),
            Some(known) if !told_starts.contains(&known.start) => Err(Refusal::OlderData),
            _ => {
                self.known.insert((host, guest), comes_with);
                Ok(())
            }
        }
    }

    /// Whether a node would refuse a start with this incarnation that it has not met yet.
    fn would_refuse(&self, host: NodeId, guest: NodeId, incarnation: u64) -> bool {
        self.known.get(&(host, guest)).is_some_and(|known| known.incarnation >= incarnation)
    }

    /// Its disks are gone, and with them what it knew.
    pub(super) fn forget_what_it_knows(&mut self, id: NodeId) {
        self.known.retain(|(knows, _), _| *knows != id);
    }
}

impl<R: Replica, S: StateMachine> World<R, S> {
    /// Whether every other node would refuse a new start with this incarnation. One that has not met the later starts cannot:
    /// together with it the old data may make a majority, and no rule of a hello helps against that.
    pub(super) fn is_known_beyond(&self, id: NodeId, incarnation: u64) -> bool {
        let mut others = self.nodes().filter(|peer| *peer != id).peekable();
        others.peek().is_some() && others.all(|peer| self.doorman.would_refuse(peer, id, incarnation))
    }

    /// A node that has just started says hello to everyone it reaches.
    pub(super) fn say_hello(&mut self, id: NodeId) {
        for peer in self.nodes().filter(|peer| *peer != id).collect::<Vec<_>>() {
            let reaches = !self.network.is_blocked(id, peer) && !self.network.is_blocked(peer, id);
            if reaches && self.is_running(peer) && self.is_running(id) {
                self.meet(id, peer);
            }
        }
    }

    /// Whether a message gets past the door. The first between two lives brings a hello with it, and its answer.
    pub(super) fn admit(&mut self, flight: &Flight) -> bool {
        let lives = (flight.life, self.hosts.get(&flight.to).map_or(0, |host| host.life));
        let met = self.last_delivered.get(&(flight.from, flight.to)).map(|delivered| delivered.lives);
        // A message of an earlier life came through a door that was open then.
        if met == Some(lives) || self.hosts.get(&flight.from).is_none_or(|host| host.life != flight.life) {
            return true;
        }
        if !self.meet(flight.from, flight.to) {
            return false;
        }
        self.last_delivered.entry((flight.from, flight.to)).or_default().lives = lives;
        true
    }

    /// Whether what a running node has is what others may count on: neither would `host` turn it away, nor has its disk lost a write
    /// that nothing shows.
    pub(crate) fn is_sound(&self, host: NodeId, guest: NodeId) -> bool {
        let known = self.doorman.known.get(&(host, guest));
        let Some(running) = self.hosts.get(&guest).filter(|running| !running.trouble.is_unproven()) else {
            return false;
        };
        let remembers = |start: u64| running.told_starts.get(&host).is_some_and(|told| told.contains(&start));
        running
            .credentials()
            .is_some_and(|has| known.is_none_or(|known| known.disk == has.disk && remembers(known.start)))
    }

    /// Two running nodes exchange hellos: says whether each lets the other in. Whoever is refused stops for good, for no
    /// retry can help it.
    fn meet(&mut self, one: NodeId, other: NodeId) -> bool {
        if !self.config.doorman {
            return true;
        }
        let pairs = [(other, one), (one, other)];
        let mut welcome = true;
        for (host, guest) in pairs {
            let Some(comes_with) = self.hosts.get(&guest).and_then(Host::credentials) else { continue };
            let acquainted = self.check_acquaintance(host, guest, comes_with);
            let told_starts = self.tell_start(guest, host, comes_with.start);
            let judged = acquainted.and_then(|()| self.doorman.judge(host, guest, comes_with, &told_starts));
            if let Err(refusal) = judged {
                welcome = false;
                self.turn_away(host, guest, refusal);
            }
        }
        if welcome && self.config.members_change {
            self.introduce(one, other);
            self.introduce(other, one);
        }
        welcome
    }

    /// The directory of `guest` remembers, before the hello leaves, that `host` hears of this start.
    fn tell_start(&mut self, guest: NodeId, host: NodeId, start: u64) -> BTreeSet<u64> {
        let Some(guest) = self.hosts.get_mut(&guest) else { return BTreeSet::new() };
        let told_starts = guest.told_starts.entry(host).or_default();
        told_starts.insert(start);
        told_starts.clone()
    }

    /// The real transport's rule about members, as they are decided at `host`.
    fn check_acquaintance(&self, host: NodeId, guest: NodeId, comes_with: Credentials) -> Result<(), Refusal> {
        let Some(host) = self.hosts.get(&host).filter(|_| self.config.members_change) else { return Ok(()) };
        let Some(roster) = host.node.as_ref().map(Node::roster) else { return Ok(()) };
        if roster.is_removed(guest) {
            return Err(Refusal::Removed);
        }
        let decided = roster.members().get(guest);
        if decided.and_then(|member| member.disk).is_some_and(|known| known != comes_with.disk) {
            return Err(Refusal::OtherDisk);
        }
        let is_known = decided.is_some() || host.reach.contains(guest);
        let knows_more = comes_with.members_decided_at > roster.decided_at();
        if is_known || knows_more || host.reach.members().is_empty() { Ok(()) } else { Err(Refusal::Unknown) }
    }

    /// A node that has just started knows itself.
    pub(super) fn introduce_itself(&mut self, id: NodeId) {
        if self.config.members_change {
            self.introduce(id, id);
        }
    }

    /// What a node says of itself in its hello is told to another.
    fn introduce(&mut self, guest: NodeId, host: NodeId) {
        let Some(comes_with) = self.hosts.get(&guest).and_then(Host::credentials) else { return };
        let facts = MemberFacts { id: guest, disk: comes_with.disk, name: guest.to_string(), client_urls: Vec::new() };
        self.enqueue(host, Waiting::Input(NodeInput::Met(facts)));
    }

    fn turn_away(&mut self, host: NodeId, guest: NodeId, refusal: Refusal) {
        let (why, mark) = match refusal {
            Refusal::OtherDisk => ("it comes with another disk than before", Mark::WipedRefused),
            Refusal::OlderData => ("it comes with older data than before", Mark::CopyRefused),
            Refusal::Removed => ("it is a member no more", Mark::RemovedRefused),
            // It comes again.
            Refusal::Unknown => return,
        };
        self.note(Some(guest), What::Stopped { why: format!("{host} refuses it: {why}") });
        self.take_out_of_service(guest, why, mark);
        self.crash(guest);
    }
}

impl<R: Replica, S: StateMachine> Host<R, S> {
    fn credentials(&self) -> Option<Credentials> {
        let node = self.node.as_ref()?;
        let (incarnation, start) = (self.incarnation, self.life);
        Some(Credentials { disk: node.disk(), incarnation, start, members_decided_at: node.roster().decided_at() })
    }
}
