//! The sending side: a window, a rate, and patience.

use crate::transfer::TransferConfig;
use crate::transfer::message::{TransferEnd, TransferHeader, TransferMessage};
use crate::transfer::places::{Admission, WaitingList};
use crate::transfer::stream::{View, ViewPosition};
use bytes::Bytes;
use quorate_types::{NodeId, Time};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

/// Pieces made for one receiver in one go, so that a view with many missing items does not hold the node up.
const PIECES_PER_GO: usize = 64;

/// So often the same is sent without an answer before its receiver counts as silent, and gets no more of it than one chunk at a time.
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
    /// When the first was sent of what came since the receiver was last heard; none, if nothing was. Who waits for its turn is not silent.
    unheard_since: Option<Time>,
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
    /// Who had the last chunk: the next is for the one behind it.
    served: u64,
    waiting: WaitingList,
    /// So many that had begun to arrive lost their place since one was installed.
    wasted: u32,
    /// When something was last under way.
    busy_at: Time,
}

/// What became of a transfer's turn.
enum Turn {
    /// A chunk was sent.
    Sent,
    /// Nothing was to be found here of what is to be sent; further on there may be.
    Empty,
    /// It may send nothing now.
    Over,
}

impl Sender {
    /// Nothing under way.
    #[must_use]
    pub fn new(config: TransferConfig) -> Sender {
        Sender {
            config,
            outgoing: BTreeMap::new(),
            allowance: 0,
            allowed_at: Time::ZERO,
            served: 0,
            waiting: WaitingList::default(),
            wasted: 0,
            busy_at: Time::ZERO,
        }
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
        if self.outgoing.is_empty() && self.busy_at + self.config.abandon_after <= now {
            // Those that took places from each other then are over.
            self.wasted = 0;
        }
        self.busy_at = now;
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
            unheard_since: Some(now),
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

    /// Whether an image for this receiver may be sent beside what is under way and `pinned` others that will be: there is a place, or one
    /// whose receiver is silent loses its own. A member that is down must not hold up one whose log a quorum needs.
    pub fn admit(
        &mut self,
        now: Time,
        to: NodeId,
        pinned: usize,
        out: &mut Vec<(NodeId, TransferMessage)>,
    ) -> Admission {
        let patience = self.config.resend_after * SENDS_IN_VAIN;
        let free = self.config.max_sent_at_once.max(1).saturating_sub(pinned + self.outgoing.len());
        let ahead = self.waiting.ahead_of(now, to, patience);
        let admission = if ahead < free {
            Admission::Free
        } else if ahead == 0
            && let Some((number, silent)) = self.give_up_most_silent(now, patience, out)
        {
            Admission::InPlaceOf(number, silent)
        } else {
            Admission::Refused
        };
        match admission {
            Admission::Refused => self.waiting.refused(now, to, self.config.abandon_after),
            _ => self.waiting.admitted(to),
        }
        admission
    }

    /// The transfer whose receiver has said nothing for longest, though it was sent the same several times: it may be down, and another one
    /// may have the place. One to which the rate lets little through is not meant. Receivers that only pause would take the place from
    /// each other for ever, and what each has would be thrown away each time: that makes this side more patient.
    fn give_up_most_silent(
        &mut self,
        now: Time,
        patience: Duration,
        out: &mut Vec<(NodeId, TransferMessage)>,
    ) -> Option<(u64, NodeId)> {
        let patience = (patience * 2u32.saturating_pow(self.wasted.min(16))).min(self.config.abandon_after);
        let is_silent =
            |outgoing: &Outgoing| outgoing.unanswered >= SENDS_IN_VAIN && outgoing.is_unheard_for(now, patience);
        let silent = self.outgoing.iter().filter(|(_, outgoing)| is_silent(outgoing));
        let (number, outgoing) = silent.min_by_key(|(_, outgoing)| outgoing.unheard_since)?;
        let (number, has_begun) = (*number, outgoing.acked.offset > 0);
        self.wasted = self.wasted.saturating_add(u32::from(has_begun));
        self.stop(number, out).map(|to| (number, to))
    }

    /// A connection came back: what was under way may be lost.
    pub fn reconnected(&mut self, now: Time, to: NodeId) {
        for outgoing in self.outgoing.values_mut().filter(|outgoing| outgoing.to == to) {
            outgoing.resend_at = now;
        }
    }

    /// A receiver says something. Answers how a transfer ended, if it did.
    pub fn receive(
        &mut self,
        now: Time,
        from: NodeId,
        message: &TransferMessage,
        out: &mut Vec<(NodeId, TransferMessage)>,
    ) -> Option<(u64, TransferEnd)> {
        let (TransferMessage::Received { number, .. }
        | TransferMessage::Forgotten { number }
        | TransferMessage::Ended { number, .. }) = message
        else {
            return None;
        };
        let Some(outgoing) = self.outgoing.get_mut(number).filter(|outgoing| outgoing.to == from) else {
            // Its beginning came behind its end, or this process is not the one that began: the receiver would wait for the rest.
            if matches!(message, TransferMessage::Received { .. }) {
                out.push((from, TransferMessage::Stopped { number: *number }));
            }
            return None;
        };
        (outgoing.unheard_since, outgoing.unanswered) = (None, 0);
        match message {
            TransferMessage::Received { offset, .. } => outgoing.received(now, *offset, &self.config),
            TransferMessage::Forgotten { .. } => outgoing.start_over(now),
            TransferMessage::Ended { end, .. } => {
                self.outgoing.remove(number);
                if *end == TransferEnd::Installed {
                    self.wasted = 0;
                }
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
        let patience = self.config.abandon_after;
        let unheard = self.outgoing.iter().filter(|(_, outgoing)| outgoing.is_unheard_for(now, patience));
        let given_up: Vec<(u64, NodeId)> = unheard.map(|(number, outgoing)| (*number, outgoing.to)).collect();
        for (number, _) in &given_up {
            self.stop(*number, out);
        }
        for (number, outgoing) in &mut self.outgoing {
            outgoing.repeat(now, *number, &self.config, item, out);
            self.busy_at = now;
        }
        self.send_in_turn(now, item, out);
        given_up
    }

    /// Chunk by chunk to one after the other: whoever came first would otherwise have the whole rate for as long as it takes, and those
    /// behind it nothing.
    fn send_in_turn(
        &mut self,
        now: Time,
        item: &mut dyn FnMut(u64) -> Option<Bytes>,
        out: &mut Vec<(NodeId, TransferMessage)>,
    ) {
        let behind = self.outgoing.range((Bound::Excluded(self.served), Bound::Unbounded));
        let in_turn = behind.chain(self.outgoing.range(..=self.served));
        let mut turns: VecDeque<(u64, usize)> = in_turn.map(|(number, _)| (*number, PIECES_PER_GO)).collect();
        while self.allowance > 0
            && let Some((number, pieces)) = turns.pop_front()
        {
            let Some(outgoing) = self.outgoing.get_mut(&number) else { continue };
            match outgoing.send_piece(now, number, &self.config, &mut self.allowance, item, out) {
                Turn::Over => continue,
                Turn::Empty => {}
                Turn::Sent => self.served = number,
            }
            if pieces > 1 {
                turns.push_back((number, pieces - 1));
            }
        }
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
    /// Whether the receiver has not answered for so long what was sent to it.
    fn is_unheard_for(&self, now: Time, patience: Duration) -> bool {
        self.unheard_since.is_some_and(|since| since + patience <= now)
    }

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

    /// Says again what seems lost: the beginning or the end here, and what lies between in its turn.
    fn repeat(
        &mut self,
        now: Time,
        number: u64,
        config: &TransferConfig,
        item: &mut dyn FnMut(u64) -> Option<Bytes>,
        out: &mut Vec<(NodeId, TransferMessage)>,
    ) {
        if now < self.resend_at {
            return;
        }
        // A receiver that began anew has less than a late word of its first attempt made us believe: what it lacks would never be
        // sent again.
        if self.heard_most.take().is_some_and(|heard| heard < self.acked.offset) {
            self.start_over(now);
        }
        self.resend_at = now + config.resend_after;
        let message = if !self.begun {
            TransferMessage::Begin { number, header: self.header.clone() }
        } else if self.all_sent && self.marks.is_empty() {
            // Everything arrived, and the end of it was not heard. A receiver that forgot the transfer says so to a chunk;
            // to a beginning it would begin anew, which this side would take for a late word.
            self.chunk_at(self.last_chunk, number, config, item).0
        } else {
            return self.go_back();
        };
        self.unanswered = self.unanswered.saturating_add(1);
        self.unheard_since.get_or_insert(now);
        out.push((self.to, message));
    }

    /// The next piece of the stream, if the window allows. A receiver that answers nothing gets the first that it lacks and no more:
    /// it may be down, and the rate is for the others too.
    fn send_piece(
        &mut self,
        now: Time,
        number: u64,
        config: &TransferConfig,
        allowance: &mut i64,
        item: &mut dyn FnMut(u64) -> Option<Bytes>,
        out: &mut Vec<(NodeId, TransferMessage)>,
    ) -> Turn {
        let window = if self.unanswered < SENDS_IN_VAIN { config.window_bytes.max(1) } else { 1 };
        if !self.begun || self.all_sent || self.sent.offset - self.acked.offset >= window {
            return Turn::Over;
        }
        let start = self.sent;
        let (chunk, end) = self.chunk_at(start, number, config, item);
        self.sent = end;
        self.all_sent = self.view.is_end(end.position);
        if end.offset == start.offset && !self.all_sent {
            return Turn::Empty;
        }
        let length = i64::try_from(end.offset - start.offset).unwrap_or(i64::MAX);
        *allowance = allowance.saturating_sub(length);
        self.last_chunk = start;
        // By the offset: before what it lacks there may be nothing but missing items.
        self.unanswered = self.unanswered.saturating_add(u32::from(start.offset == self.acked.offset));
        self.unheard_since.get_or_insert(now);
        self.marks.push_back(end);
        out.push((self.to, chunk));
        Turn::Sent
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
