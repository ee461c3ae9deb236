//! Messages: from a node into the network, and out of it into another node's inbox.

use super::World;
use super::event::WorldEvent;
use super::host::{Host, Waiting};
use crate::marks::Mark;
use crate::network::{Fate, Flight, Route};
use bytes::Bytes;
use quorate_machine::{MachineMessage, StateMachine};
use quorate_narrator::{Loss, What};
use quorate_node::{NodeInput, NodeMessage};
use quorate_protocol::{LinkState, Replica};
use quorate_types::NodeId;
use quorate_wire::{FRAME_HEADER_BYTES, Wire, decode_exact, decode_frame_header, encode_frame, verify_frame};
use std::time::Duration;

/// One message of so many is remembered, so that the archive goes far back.
const ARCHIVE_EVERY: u64 = 7;
/// Per directed link.
const ARCHIVE_MESSAGES_MAX: usize = 256;
/// So many messages at once count as a burst.
const BURST_MESSAGES: usize = 8;
/// What a receiver allows; far above every batch a simulated node makes.
const FRAME_BYTES_MAX: u32 = 64 << 20;

impl<R: Replica, S: StateMachine> World<R, S> {
    /// Takes a message from a node, as bytes from here on.
    pub(super) fn send(&mut self, from: NodeId, to: NodeId, message: &NodeMessage<R>) {
        self.check_ghost(from, to, message);
        self.note_forward(from, message);
        let kind = kind_of(message);
        self.payload.clear();
        message.encode(&mut self.payload);
        self.flights += 1;
        let life = self.hosts.get(&from).map_or(0, |host| host.life);
        let frame = Bytes::from(encode_frame(&self.payload));
        let flight = Flight { from, to, kind, number: self.flights, life, frame };
        self.remember(&flight);
        let bytes = flight.frame.len() as u64;
        self.traffic.note_sent(kind, bytes);
        self.note(Some(from), What::MessageSent { to, kind, flight: flight.number, bytes });
        if self.has_let_go(from, to) {
            return self.lose(&flight, Loss::NotReached);
        }
        match self.filters.fate(from, to, kind) {
            Fate::Deliver => self.dispatch(flight, Duration::ZERO),
            Fate::Delay(extra) => self.dispatch(flight, extra),
            Fate::Lose => self.lose(&flight, Loss::Filtered),
            Fate::Hold => {
                self.note(Some(from), What::MessageHeld { to, kind, flight: flight.number });
                self.held.push(flight);
            }
        }
    }

    /// Whether the real transport would have closed its connection: `to` was removed, and the replica does not ask to reach it all the same.
    fn has_let_go(&self, from: NodeId, to: NodeId) -> bool {
        let Some(host) = self.hosts.get(&from).filter(|_| self.config.members_change) else { return false };
        let is_removed = host.node.as_ref().is_some_and(|node| node.roster().is_removed(to));
        is_removed && !host.reach.contains(to)
    }

    /// Lets held messages go on their way.
    pub fn release_held(&mut self) {
        for flight in std::mem::take(&mut self.held) {
            self.dispatch(flight, Duration::ZERO);
        }
    }

    /// Messages held back, oldest first.
    #[must_use]
    pub fn held(&self) -> &[Flight] {
        &self.held
    }

    /// Lets the held messages of which `picked` says so go on their way; returns how many.
    pub fn release_held_where(&mut self, mut picked: impl FnMut(&Flight) -> bool) -> usize {
        let (released, kept): (Vec<Flight>, Vec<Flight>) =
            std::mem::take(&mut self.held).into_iter().partition(|flight| picked(flight));
        self.held = kept;
        let count = released.len();
        for flight in released {
            self.dispatch(flight, Duration::ZERO);
        }
        count
    }

    /// Lets a copy of each held message of which `picked` says so go on its way; returns how many.
    pub fn repeat_held_where(&mut self, mut picked: impl FnMut(&Flight) -> bool) -> usize {
        let copies: Vec<Flight> = self.held.iter().filter(|flight| picked(flight)).cloned().collect();
        let count = copies.len();
        for flight in copies {
            let Flight { from, to, kind, number, .. } = flight;
            self.note(Some(from), What::MessageRepeated { to, kind, flight: number });
            self.dispatch(flight, Duration::ZERO);
        }
        count
    }

    /// Keeps some messages, to be replayed long after.
    fn remember(&mut self, flight: &Flight) {
        if self.config.archive && flight.number.is_multiple_of(ARCHIVE_EVERY) {
            let kept = self.archive.entry((flight.from, flight.to)).or_default();
            if kept.len() >= ARCHIVE_MESSAGES_MAX {
                kept.pop_front();
            }
            kept.push_back(flight.clone());
        }
    }

    /// Lets the message that was remembered so many ago on this link arrive once more.
    pub fn replay(&mut self, from: NodeId, to: NodeId, back: u64) {
        let Some(kept) = self.archive.get(&(from, to)).filter(|kept| !kept.is_empty()) else { return };
        let at = kept.len() - 1 - usize::try_from(back % kept.len() as u64).unwrap_or(0);
        let Some(flight) = kept.get(at).cloned() else { return };
        self.mark(Mark::OldReplayed);
        self.note(Some(from), What::MessageRepeated { to, kind: flight.kind, flight: flight.number });
        self.dispatch(flight, Duration::ZERO);
    }

    /// Lets messages in one direction queue up.
    pub fn clog(&mut self, from: NodeId, to: NodeId) {
        if self.clogged.insert((from, to), Vec::new()).is_none() {
            self.remark(format!("messages from {from} to {to} queue up"));
        }
    }

    /// Lets what queued up leave at once.
    pub fn unclog(&mut self, from: NodeId, to: NodeId) {
        let Some(waiting) = self.clogged.remove(&(from, to)) else { return };
        self.remark(format!("{} messages from {from} to {to} leave at once", waiting.len()));
        if waiting.len() >= BURST_MESSAGES {
            self.mark(Mark::Burst);
        }
        for flight in waiting {
            self.dispatch(flight, Duration::ZERO);
        }
    }

    fn dispatch(&mut self, flight: Flight, extra: Duration) {
        if !self.clogged.is_empty()
            && let Some(waiting) = self.clogged.get_mut(&(flight.from, flight.to))
        {
            return waiting.push(flight);
        }
        match self.network.route(self.now, flight.from, flight.to, extra) {
            Route::Lost(why) => self.lose(&flight, why),
            Route::Arrives { at, again_at, flipped_bit } => {
                if let Some(again_at) = again_at {
                    let Flight { from, to, kind, number, .. } = flight;
                    self.note(Some(from), What::MessageRepeated { to, kind, flight: number });
                    self.schedule(again_at, WorldEvent::Arrive(flight.clone()));
                }
                let flight = match flipped_bit {
                    Some(bit) => damaged(flight, bit),
                    None => flight,
                };
                self.schedule(at, WorldEvent::Arrive(flight));
            }
        }
    }

    /// A message is at its receiver's door.
    pub(super) fn arrive(&mut self, flight: Flight) {
        if self.network.is_blocked(flight.from, flight.to) {
            return self.lose(&flight, Loss::Blocked);
        }
        // A connection ends with the process that it leads to. Messages to an earlier life arrive all the same, for none of them may do
        // harm; but nothing that was said to other disks can reach those which took their place.
        let is_to_other_disks = |host: &Host<R, S>| flight.number < host.first_flight_to_disks;
        if !self.is_running(flight.to) || self.hosts.get(&flight.to).is_some_and(is_to_other_disks) {
            return self.lose(&flight, Loss::ReceiverDown);
        }
        if !self.admit(&flight) {
            return self.lose(&flight, Loss::Blocked);
        }
        let Some(payload) = verified_payload(&flight.frame) else {
            self.mark(Mark::DamagedDropped);
            return self.lose(&flight, Loss::Damaged);
        };
        let message = match decode_exact::<NodeMessage<R>>(payload) {
            Ok(message) => message,
            Err(why) => {
                let detail = format!("a {} that {} sent cannot be decoded: {why}", flight.kind, flight.from);
                return self.report_broken("WireRoundTrip", Some(flight.to), detail);
            }
        };
        let Flight { from, to, kind, number, .. } = flight;
        self.note_order(from, to, number);
        self.note(Some(to), What::MessageDelivered { from, kind, flight: number });
        self.enqueue(to, Waiting::Input(NodeInput::Message { from, message }));
    }

    fn lose(&mut self, flight: &Flight, why: Loss) {
        let Flight { from, to, kind, number, .. } = *flight;
        self.note(Some(from), What::MessageLost { to, kind, flight: number, why });
    }

    /// A node hears of a connection.
    pub(super) fn hint(&mut self, node: NodeId, peer: NodeId, state: LinkState) {
        if self.is_running(node) {
            self.enqueue(node, Waiting::Input(NodeInput::Link { peer, state }));
        }
    }

    /// Tells peers, each with the configured chance and after a message's time, how it stands with a node.
    pub(super) fn spread_hints(&mut self, about: NodeId, state: LinkState) {
        for peer in self.hosts.keys().copied().filter(|peer| *peer != about).collect::<Vec<_>>() {
            if self.schedule_random.happens(self.config.hints) {
                let delay = self.network.link(about, peer).latency.draw(&mut self.schedule_random);
                self.schedule(self.now + delay, WorldEvent::Hint { node: peer, peer: about, state });
            }
        }
    }

    fn note_forward(&mut self, from: NodeId, message: &NodeMessage<R>) {
        let NodeMessage::Machine(MachineMessage::Forward { commands, .. }) = message else { return };
        let Some(host) = self.hosts.get_mut(&from) else { return };
        for (sequence, _) in commands {
            if *sequence <= host.seen.forwarded {
                self.marks.hit(Mark::ForwardRetried);
            } else {
                self.marks.hit(Mark::Forwarded);
                host.seen.forwarded = *sequence;
            }
        }
    }

    fn note_order(&mut self, from: NodeId, to: NodeId, number: u64) {
        let last = &mut self.last_delivered.entry((from, to)).or_default().number;
        if number < *last {
            self.marks.hit(Mark::Reordered);
        }
        *last = number.max(*last);
        let born = self.hosts.get(&to).map_or(0, |host| host.first_flight);
        let sender_born = self.hosts.get(&from).map_or(0, |host| host.first_flight);
        if number < born.max(sender_born) {
            self.marks.hit(Mark::MessageAcrossIncarnations);
        }
    }
}

/// The last delivery on a directed link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivered {
    /// The highest message number.
    number: u64,
    /// The lives of sender and receiver that have let each other in.
    pub(super) lives: (u64, u64),
}

/// What a message is called in scenarios and transcripts.
fn kind_of<R: Replica>(message: &NodeMessage<R>) -> &'static str {
    match message {
        NodeMessage::Protocol(message) => R::kind(message),
        NodeMessage::Machine(MachineMessage::Forward { .. }) => "forward",
        NodeMessage::Machine(MachineMessage::ForwardRefused { .. }) => "forward-refused",
        NodeMessage::Machine(MachineMessage::Asks { .. }) => "asks",
        NodeMessage::Machine(MachineMessage::AsksRefused { .. }) => "asks-refused",
        NodeMessage::Machine(MachineMessage::AsksNotTaken { .. }) => "asks-not-taken",
        NodeMessage::Transfer(message) => message.kind(),
        NodeMessage::Machine(MachineMessage::Errands { .. }) => "errands",
        NodeMessage::Machine(MachineMessage::ErrandAnswers { .. }) => "errand-answers",
        NodeMessage::Machine(MachineMessage::ErrandsRefused { .. }) => "errands-refused",
    }
}

fn damaged(flight: Flight, bit: u64) -> Flight {
    let mut frame = flight.frame.to_vec();
    let bit = bit % (frame.len() as u64 * 8);
    if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|at| frame.get_mut(at)) {
        *byte ^= 1 << (bit % 8);
    }
    Flight { frame: Bytes::from(frame), ..flight }
}

/// The payload of an undamaged frame.
fn verified_payload(frame: &Bytes) -> Option<Bytes> {
    let header: [u8; FRAME_HEADER_BYTES] = frame.get(..FRAME_HEADER_BYTES)?.try_into().ok()?;
    let header = decode_frame_header(header, FRAME_BYTES_MAX).ok()?;
    let payload = frame.slice(FRAME_HEADER_BYTES..);
    let whole = u32::try_from(payload.len()).is_ok_and(|length| length == header.length);
    (whole && verify_frame(header, &payload).is_ok()).then_some(payload)
}
