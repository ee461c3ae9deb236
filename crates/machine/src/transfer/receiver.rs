//! The receiving side: one image at a time.

use crate::transfer::TransferConfig;
use crate::transfer::message::{TransferEnd, TransferHeader, TransferMessage};
use crate::transfer::stream::{StreamParts, StreamReader};
use bytes::Bytes;
use quorate_types::{NodeId, Slot, Time};
use std::collections::BTreeMap;

/// A whole image that arrived, with every checksum right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// What the sender said of it.
    pub header: TransferHeader,
    /// The machine's own part.
    pub meta: Bytes,
    /// The state machine's part that changes in place.
    pub head: Bytes,
    /// The items, ascending.
    pub items: Vec<(u64, Bytes)>,
}

#[derive(Clone, Debug)]
struct Incoming {
    from: NodeId,
    number: u64,
    header: TransferHeader,
    reader: StreamReader,
    received: u64,
    checksum: u32,
    /// When it began, or something new of it came. What is only repeated may come from a sender that hears no answer.
    grew_at: Time,
    /// The arrival was handed out, and its end is not known.
    is_whole: bool,
}

/// An answer to a chunk that brought nothing.
#[derive(Clone, Copy, Debug)]
struct Told {
    number: u64,
    at: Time,
    /// Of the chunk.
    offset: u64,
}

/// What comes from other nodes: one image at a time, so that memory holds at most one beside the state.
#[derive(Clone, Debug)]
pub struct Receiver {
    config: TransferConfig,
    incoming: Option<Incoming>,
    /// So many that had begun to arrive gave way to somebody else's since the last one was whole.
    wasted: u32,
    /// When one began, or something new of it came.
    busy_at: Time,
    /// Said again to a sender that did not hear it.
    last_end: Option<(NodeId, u64, TransferEnd)>,
    /// Of each sender, what it was last told of a chunk that brought nothing.
    told: BTreeMap<NodeId, Told>,
}

impl Receiver {
    /// Nothing under way.
    #[must_use]
    pub fn new(config: TransferConfig) -> Receiver {
        let (busy_at, told) = (Time::ZERO, BTreeMap::new());
        Receiver { config, incoming: None, wasted: 0, busy_at, last_end: None, told }
    }

    /// The sender and the bytes received of what is under way.
    #[must_use]
    pub fn state(&self) -> Option<(NodeId, u64)> {
        self.incoming.as_ref().map(|incoming| (incoming.from, incoming.received))
    }

    /// A sender says something. `applied` is how far the own state has come: an image that is not beyond it is not needed.
    /// Answers an image that is whole now; its end must be told with [`Receiver::finish`].
    pub fn receive(
        &mut self,
        now: Time,
        from: NodeId,
        message: TransferMessage,
        applied: Slot,
        out: &mut Vec<(NodeId, TransferMessage)>,
    ) -> Option<Arrival> {
        match message {
            TransferMessage::Begin { number, header } => {
                let answer = self.begin(now, from, number, header, applied);
                out.push((from, answer));
                None
            }
            TransferMessage::Chunk { number, offset, bytes, checksum, is_last } => {
                if !self.is_current(from, number) {
                    self.tell_over(now, from, number, out);
                    return None;
                }
                self.chunk(now, offset, bytes, checksum, is_last, out)
            }
            TransferMessage::Stopped { number } => {
                if self.is_current(from, number) {
                    self.incoming.take_if(|incoming| !incoming.is_whole);
                }
                None
            }
            TransferMessage::Received { .. } | TransferMessage::Forgotten { .. } | TransferMessage::Ended { .. } => {
                None
            }
        }
    }

    fn is_current(&self, from: NodeId, number: u64) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.from == from && incoming.number == number)
    }

    fn end_of(&self, from: NodeId, number: u64) -> Option<TransferMessage> {
        let (_, number, end) = self.last_end.filter(|(who, which, _)| *who == from && *which == number)?;
        Some(TransferMessage::Ended { number, end })
    }

    /// Whether a chunk that brings nothing is answered: once for all that were under way, until they may have been sent again. A sender that is
    /// slow would otherwise have ever more answers between itself and what else it is told, those that it waits for among them, and
    /// send the same again. One that starts over walks through what is here already and needs an answer now and then, or each window would
    /// take it as long as what is lost.
    fn tells_again(&mut self, now: Time, from: NodeId, (number, offset): (u64, u64)) -> bool {
        // Half: what is sent again after that long may take a little less on the way than what was sent before. Nodes may differ in it, so
        // it stays far below the time after which anybody gives up.
        let pause = (self.config.resend_after / 2).min(self.config.abandon_after / 64);
        let step = self.config.window_bytes / 2;
        let is_told = self.told.get(&from).is_some_and(|told| {
            told.number == number && now < told.at + pause && offset < told.offset.saturating_add(step)
        });
        if !is_told {
            self.told.insert(from, Told { number, at: now, offset });
        }
        !is_told
    }

    /// Of a transfer that is over, at a chunk of it: one answer stops the whole, wherever the chunk is from.
    fn tell_over(&mut self, now: Time, from: NodeId, number: u64, out: &mut Vec<(NodeId, TransferMessage)>) {
        if self.tells_again(now, from, (number, 0)) {
            out.push((from, self.end_of(from, number).unwrap_or(TransferMessage::Forgotten { number })));
        }
    }

    fn begin(
        &mut self,
        now: Time,
        from: NodeId,
        number: u64,
        header: TransferHeader,
        applied: Slot,
    ) -> TransferMessage {
        self.told.remove(&from);
        if let Some(end) = self.end_of(from, number) {
            return end;
        }
        let is_current = self.is_current(from, number);
        if let Some(incoming) = self.incoming.as_ref().filter(|_| is_current) {
            return TransferMessage::Received { number, offset: incoming.received };
        }
        if header.applied <= applied {
            return TransferMessage::Ended { number, end: TransferEnd::Installed };
        }
        if !self.gives_way(now, from, number) {
            return TransferMessage::Ended { number, end: TransferEnd::Refused };
        }
        if self.incoming.is_none() && self.busy_at + self.config.abandon_after * 2 <= now {
            // Those that put each other off are over: it was given up, and nothing came for as long again.
            self.wasted = 0;
        }
        if self.incoming.take().is_some_and(|incoming| incoming.from != from && incoming.received > 0) {
            self.wasted = self.wasted.saturating_add(1);
        }
        self.busy_at = now;
        let reader = StreamReader::default();
        self.incoming =
            Some(Incoming { from, number, header, reader, received: 0, checksum: 0, grew_at: now, is_whole: false });
        TransferMessage::Received { number, offset: 0 }
    }

    /// Whether what is arriving is given up for another image. A later one of somebody else waits its turn: two senders whose states go on
    /// would put each other off for ever, and what has arrived would be thrown away each time. So would two that pause for longer than
    /// they are waited for; hence what was thrown away makes it more patient.
    fn gives_way(&self, now: Time, from: NodeId, number: u64) -> bool {
        let patience = self.config.resend_after * 3 * 2u32.saturating_pow(self.wasted.min(16));
        self.incoming.as_ref().is_none_or(|incoming| {
            let is_silent = incoming.grew_at + patience.min(self.config.abandon_after) <= now;
            // Numbers ascend. The slot says nothing: of the same one there may be another image, and a restart may go back behind it.
            let is_replaced = incoming.from == from && incoming.number < number;
            !incoming.is_whole && (is_silent || is_replaced)
        })
    }

    /// Of the transfer under way.
    fn chunk(
        &mut self,
        now: Time,
        offset: u64,
        bytes: Bytes,
        checksum: u32,
        is_last: bool,
        out: &mut Vec<(NodeId, TransferMessage)>,
    ) -> Option<Arrival> {
        let incoming = self.incoming.as_mut()?;
        let (from, number) = (incoming.from, incoming.number);
        let is_new = offset == incoming.received && !incoming.is_whole;
        if is_new {
            let length = bytes.len() as u64;
            let found = crc32c::crc32c_append(incoming.checksum, &bytes);
            if found != checksum {
                // Nothing tells which of the pieces is wrong.
                self.incoming = None;
                out.push((from, TransferMessage::Forgotten { number }));
                return None;
            }
            incoming.checksum = found;
            incoming.received += length;
            (incoming.grew_at, self.busy_at) = (now, now);
            if incoming.reader.push(bytes).is_err() {
                self.finish(TransferEnd::Refused, out);
                return None;
            }
            if is_last {
                return self.complete(out);
            }
        }
        let received = self.incoming.as_ref()?.received;
        if is_new || self.tells_again(now, from, (number, offset)) {
            out.push((from, TransferMessage::Received { number, offset: received }));
        }
        None
    }

    fn complete(&mut self, out: &mut Vec<(NodeId, TransferMessage)>) -> Option<Arrival> {
        let incoming = self.incoming.as_mut()?;
        incoming.is_whole = true;
        self.wasted = 0;
        out.push((incoming.from, TransferMessage::Received { number: incoming.number, offset: incoming.received }));
        let header = incoming.header.clone();
        let Some(StreamParts { meta, head, items }) = std::mem::take(&mut incoming.reader).finish(header.item_count)
        else {
            self.finish(TransferEnd::Refused, out);
            return None;
        };
        Some(Arrival { header, meta, head, items })
    }

    /// The image that arrived is installed, or is not wanted.
    pub fn finish(&mut self, end: TransferEnd, out: &mut Vec<(NodeId, TransferMessage)>) {
        if let Some(Incoming { from, number, .. }) = self.incoming.take() {
            self.last_end = Some((from, number, end));
            out.push((from, TransferMessage::Ended { number, end }));
        }
    }

    /// Gives up what nothing new came of for too long.
    pub fn expire(&mut self, now: Time) {
        let patience = self.config.abandon_after;
        self.incoming.take_if(|incoming| !incoming.is_whole && incoming.grew_at + patience <= now);
    }
}
