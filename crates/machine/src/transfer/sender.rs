//! The sending side: a window, a rate, and patience.

use crate::transfer::TransferConfig;
use crate::transfer::message::{TransferEnd, TransferHeader, TransferMessage};
use crate::transfer::stream::{View, ViewPosition};
use bytes::Bytes;
use quorate_types::{NodeId, Time};
use std::collections::{BTreeMap, VecDeque};

/// Pieces made for one receiver in one go, so that a view with many missing items does not hold the node up.
const PIECES_PER_GO: usize = 64;

/// So often the same is sent without an answer before its receiver counts as silent.
const SENDS_IN_VAIN: u32 = 3;

/// A place in a stream, with the checksum of everything before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    offset: u64,
    position: ViewPosition,
    checksum: u32,
}

#[derive(Clone, Debug)]
struct Outgoing {
    to: NodeId,
    header: TransferHeader,
    view: View,
    /// The receiver has heard of it.
    begun: bool,
    /// Everything before is there.
    acked: Mark,
    /// Everything before was sent.
    sent: Mark,
    /// Where the chunk before that begins.
    last_chunk: Mark,
    /// The ends of the chunks between the two.
    marks: VecDeque<Mark>,
    all_sent: bool,
    /// The furthest that the receiver said it has, since something was sent again.
    heard_most: Option<u64>,
    heard_at: Time,
    /// How often what the receiver is known to lack was sent since.
    unanswered: u32,
    resend_at: Time,
}

/// A transfer as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderState {
    /// Its number.
    pub number: u64,
    /// The receiver.
    pub to: NodeId,
    /// Bytes that the receiver has.
    pub acknowledged_bytes: u64,
    /// Whether everything was sent at least once.
    pub all_sent: bool,
}

/// All transfers from this node.
#[derive(Clone, Debug)]
pub struct Sender {
    config: TransferConfig,
    outgoing: BTreeMap<u64, Outgoing>,
    /// Bytes that may be sent now; below 0 after a chunk that was larger than what was left.
    allowance: i64,
    allowed_at: Time,
}

impl Sender {
    /// Nothing under way.
    #[must_use]
    pub fn new(config: TransferConfig) -> Sender {
        Sender { config, outgoing: BTreeMap::new(), allowance: 0, allowed_at: Time::ZERO }
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// What is under way.
    pub fn states(&self) -> impl Iterator<Item = SenderState> + '_ {
        self.outgoing.iter().map(|(number, outgoing)| SenderState {
            number: *number,
            to: outgoing.to,
            acknowledged_bytes: outgoing.acked.offset,
            all_sent: outgoing.all_sent,
        })
    }

    /// Begins to send this view. The number must never have been used before, by an earlier incarnation neither.
    pub fn start(&mut self, now: Time, number: u64, to: NodeId, anchor: Bytes, view: View) {
        let View { applied, digest, item_count, .. } = view;
        let header = TransferHeader { anchor, applied, digest, item_count };
        let outgoing = Outgoing {
            to,
            header,
            view,
            begun: false,
            acked: Mark::default(),
            sent: Mark::default(),
            last_chunk: Mark::default(),
            marks: VecDeque::new(),
            all_sent: false,
            heard_most: None,
            heard_at: now,
            unanswered: 0,
            resend_at: now,
        };
        self.outgoing.insert(number, outgoing);
    }

    /// Gives one up: the receiver, if there was one under this number.
    pub fn stop(&mut self, number: u64, out: &mut Vec<(NodeId, TransferMessage)>) -> Option<NodeId> {
        let to = self.outgoing.remove(&number)?.to;
        out.push((to, TransferMessage::Stopped { number }));
        Some(to)
    }

    /// The transfer whose receiver has said nothing for longest, though it was sent the same several times: it may be down, and another one
    /// may have the place. One to which the rate lets little through is not meant.
    #[must_use]
    pub fn most_silent(&self, now: Time) -> Option<u64> {
        let patience = self.config.resend_after * SENDS_IN_VAIN;
        let is_silent =
            |outgoing: &Outgoing| outgoing.unanswered >= SENDS_IN_VAIN && outgoing.heard_at + patience <= now;
        let silent = self.outgoing.iter().filter(|(_, outgoing)| is_silent(outgoing));
        silent.min_by_key(|(_, outgoing)| outgoing.heard_at).map(|(number, _)| *number)
    }

    /// A connection came back: what was under way may be lost.
    pub fn reconnected(&mut self, now: Time, to: NodeId) {
        for outgoing in self.outgoing.values_mut().filter(|outgoing| outgoing.to == to) {
            outgoing.resend_at = now;
        }
    }

    /// A receiver says something. Answers how a transfer ended, if it did.
    pub fn receive(&mut self, now: Time, from: NodeId, message: &TransferMessage) -> Option<(u64, TransferEnd)> {
        let (TransferMessage::Received { number, .. }
        | TransferMessage::Forgotten { number }
        | TransferMessage::Ended { number, .. }) = message
        else {
            return None;
        };
        let outgoing = self.outgoing.get_mut(number).filter(|outgoing| outgoing.to == from)?;
        (outgoing.heard_at, outgoing.unanswered) = (now, 0);
        match message {
            TransferMessage::Received { offset, .. } => outgoing.received(now, *offset, &self.config),
            TransferMessage::Forgotten { .. } => outgoing.start_over(now),
            TransferMessage::Ended { end, .. } => {
                self.outgoing.remove(number);
                return Some((*number, *end));
            }
            _ => {}
        }
        None
    }

    /// Sends what window and rate allow, and again what seems lost. Answers the transfers that are given up.
    pub fn work(
        &mut self,
        now: Time,
        item: &mut dyn FnMut(u64) -> Option<Bytes>,
        out: &mut Vec<(NodeId, TransferMessage)>,
    ) -> Vec<(u64, NodeId)> {
        self.refill(now);
        let mut given_up = Vec::new();
        for (number, outgoing) in &mut self.outgoing {
            if outgoing.heard_at + self.config.abandon_after <= now {
                given_up.push((*number, outgoing.to));
            } else {
                outgoing.work(now, *number, &self.config, &mut self.allowance, item, out);
            }
        }
        for (number, _) in &given_up {
            self.stop(*number, out);
        }
        given_up
    }

    fn refill(&mut self, now: Time) {
        let rate = u128::from(self.config.bytes_per_second);
        let nanos = now.since(self.allowed_at).as_nanos();
        let earned = i64::try_from(rate * nanos / 1_000_000_000).unwrap_or(i64::MAX);
        if earned == 0 && !self.outgoing.is_empty() {
            // Too little time for a byte: it must not be lost.
            return;
        }
        let per_tick = rate * self.config.tick.as_nanos() / 1_000_000_000;
        let most = i64::try_from(per_tick.saturating_mul(2).max(1)).unwrap_or(i64::MAX);
        self.allowance = self.allowance.saturating_add(earned).min(most);
        self.allowed_at = now;
    }
}

impl Outgoing {
    fn received(&mut self, now: Time, offset: u64, config: &TransferConfig) {
        self.begun = true;
        self.heard_most = self.heard_most.max(Some(offset));
        while let Some(mark) = self.marks.front().copied()
            && mark.offset <= offset
        {
            self.marks.pop_front();
            self.acked = mark;
            self.resend_at = now + config.resend_after;
        }
    }

    fn start_over(&mut self, now: Time) {
        self.begun = false;
        self.heard_most = None;
        self.acked = Mark::default();
        self.go_back();
        self.resend_at = now;
    }

    fn go_back(&mut self) {
        self.sent = self.acked;
        self.marks.clear();
        self.all_sent = false;
    }

    fn work(
        &mut self,
        now: Time,
        number: u64,
        config: &TransferConfig,
        allowance: &mut i64,
        item: &mut dyn FnMut(u64) -> Option<Bytes>,
        out: &mut Vec<(NodeId, TransferMessage)>,
    ) {
        if self.resend_at <= now {
            // A receiver that began anew has less than a late word of its first attempt made us believe: what it lacks would never be
            // sent again.
            if self.heard_most.take().is_some_and(|heard| heard < self.acked.offset) {
                self.start_over(now);
            }
            self.resend_at = now + config.resend_after;
            if !self.begun {
                self.unanswered = self.unanswered.saturating_add(1);
                out.push((self.to, TransferMessage::Begin { number, header: self.header.clone() }));
            } else if self.all_sent && self.marks.is_empty() {
                // Everything arrived, and the end of it was not heard. A receiver that forgot the transfer says so to a chunk;
                // to a beginning it would begin anew, which this side would take for a late word.
                self.unanswered = self.unanswered.saturating_add(1);
                let (chunk, _) = self.chunk_at(self.last_chunk, number, config, item);
                out.push((self.to, chunk));
            } else {
                self.go_back();
            }
        }
        if !self.begun {
            return;
        }
        for _ in 0..PIECES_PER_GO {
            let under_way = self.sent.offset - self.acked.offset;
            if self.all_sent || under_way >= config.window_bytes.max(1) || *allowance <= 0 {
                return;
            }
            let start = self.sent;
            let (chunk, end) = self.chunk_at(start, number, config, item);
            self.sent = end;
            self.all_sent = self.view.is_end(end.position);
            if end.offset == start.offset && !self.all_sent {
                continue;
            }
            let length = i64::try_from(end.offset - start.offset).unwrap_or(i64::MAX);
            *allowance = allowance.saturating_sub(length);
            self.last_chunk = start;
            self.unanswered = self.unanswered.saturating_add(u32::from(start == self.acked));
            self.marks.push_back(end);
            out.push((self.to, chunk));
        }
    }

    /// The chunk that begins here, and where it ends. The same at every time.
    fn chunk_at(
        &self,
        start: Mark,
        number: u64,
        config: &TransferConfig,
        item: &mut dyn FnMut(u64) -> Option<Bytes>,
    ) -> (TransferMessage, Mark) {
        let Mark { offset, mut position, checksum } = start;
        let bytes = self.view.next_piece(&mut position, config.chunk_bytes, item);
        let checksum = crc32c::crc32c_append(checksum, &bytes);
        let end = Mark { offset: offset + bytes.len() as u64, position, checksum };
        let is_last = self.view.is_end(position);
        (TransferMessage::Chunk { number, offset, bytes, checksum, is_last }, end)
    }
}
