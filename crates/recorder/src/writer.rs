//! Turning what happens to a replica into a segment's bytes.

use crate::batch::BatchMark;
use crate::codec::{digest_of, encode_note, encode_picture};
use crate::note::{ClockReading, Fact, Note, SegmentEnd};
use crate::segment::{SegmentHeader, encode_frame};
use bytes::Bytes;
use quorate_protocol::{Picture, Recordable, Replica, Taped};
use quorate_types::Time;
use std::collections::VecDeque;

/// So many batches are remembered with their short forms: each passes through a replica several times in a row.
const RECENT_BATCHES: usize = 16;

/// One thing to be written down.
#[derive(Clone, Debug)]
pub enum Heard<R: Replica> {
    /// A call of the replica, or what it said.
    Taped(Taped<R>),
    /// Something beside it.
    Fact {
        /// When, on the node's clock.
        at: Time,
        /// What.
        fact: Fact,
    },
    /// Both clocks.
    Clock(ClockReading),
}

/// Writes one segment. What it returns is to be appended to the segment's file, in order.
#[derive(Debug)]
pub struct SegmentWriter {
    header: SegmentHeader,
    chain: u32,
    before: Time,
    bytes: u64,
    marker: Marker,
}

impl SegmentWriter {
    /// Begins a segment with this picture.
    #[must_use]
    pub fn begin<R: Recordable>(header: SegmentHeader, picture: Picture<R>) -> (SegmentWriter, Vec<u8>) {
        let (before, marker) = (header.clock.monotonic, Marker::default());
        let mut writer = SegmentWriter { header, chain: 0, before, bytes: 0, marker };
        let mut out = Vec::new();
        encode_frame(&writer.header.encode(), &mut writer.chain, &mut out);
        let mut written = Vec::new();
        encode_picture(picture, &mut |batch| writer.marker.short_form(&batch), &mut written);
        encode_frame(&written, &mut writer.chain, &mut out);
        (writer, out)
    }

    /// Writes down what happened next, as one frame.
    #[must_use]
    pub fn append<R: Recordable>(&mut self, heard: Vec<Heard<R>>) -> Vec<u8> {
        let mut payload = Vec::new();
        for one in heard {
            self.write(one, &mut payload);
        }
        self.frame(&payload)
    }

    /// Ends the segment.
    #[must_use]
    pub fn end<R: Recordable>(&mut self, end: SegmentEnd) -> Vec<u8> {
        let mut payload = Vec::new();
        self.put::<R>(Note::End(end), &mut payload);
        self.frame(&payload)
    }

    /// What it says of itself.
    #[must_use]
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Bytes of notes so far, without header and picture.
    #[must_use]
    pub fn note_bytes(&self) -> u64 {
        self.bytes
    }

    fn frame(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + 16);
        encode_frame(payload, &mut self.chain, &mut out);
        self.bytes += out.len() as u64;
        out
    }

    fn write<R: Recordable>(&mut self, heard: Heard<R>, out: &mut Vec<u8>) {
        match heard {
            Heard::Clock(reading) => self.put::<R>(Note::Clock(reading), out),
            Heard::Fact { at, fact } => self.put::<R>(Note::Fact { at, fact }, out),
            Heard::Taped(Taped::Settle { now, choices }) => self.put::<R>(Note::Settle { now, choices }, out),
            Heard::Taped(Taped::Said(outputs)) => {
                let digest = digest_of(outputs, &mut |batch| self.marker.short_form(&batch));
                self.put::<R>(Note::Said(digest), out);
            }
            Heard::Taped(Taped::Step { now, choices, input }) => {
                let mut values = Vec::new();
                let mut step = Vec::new();
                let mut shorten = |batch: Bytes| {
                    let short_form = self.marker.short_form(&batch);
                    values.push(batch);
                    short_form
                };
                encode_note(Note::Step { now, choices, input }, &mut self.before, &mut shorten, &mut step);
                if self.header.has_values && !values.is_empty() {
                    self.put::<R>(Note::Values(values), out);
                }
                out.extend_from_slice(&step);
            }
        }
    }

    /// A note that holds no batch.
    fn put<R: Recordable>(&mut self, note: Note<R>, out: &mut Vec<u8>) {
        encode_note(note, &mut self.before, &mut |batch| batch, out);
    }
}

/// Short forms of batches. The same batch is seen as an input, as a record, as a message to each peer and as a decision.
#[derive(Debug, Default)]
struct Marker {
    /// Holds on to the batches, so that what lies at an address is what it was.
    recent: VecDeque<(Bytes, Bytes)>,
}

impl Marker {
    fn short_form(&mut self, batch: &Bytes) -> Bytes {
        let is_same = |known: &Bytes| known.as_ptr() == batch.as_ptr() && known.len() == batch.len();
        if let Some((_, short_form)) = self.recent.iter().rev().find(|(known, _)| is_same(known)) {
            return short_form.clone();
        }
        let short_form = BatchMark::of(batch).short_form();
        if self.recent.len() == RECENT_BATCHES {
            self.recent.pop_front();
        }
        self.recent.push_back((batch.clone(), short_form.clone()));
        short_form
    }
}
