//! The whole replica as bytes, around the bytes of the one inside: what a recording of it begins with.

use crate::heir::Heir;
use crate::message::{Body, Message};
use crate::record::Record;
use crate::replica::{Leaver, Serving, Succession};
use crate::rules;
use bytes::Bytes;
use quorate_protocol::{Event, Recordable};
use quorate_wire::{Reader, Wire, WireError};

impl<P: Heir + Recordable> Recordable for Succession<P>
where
    P::Config: Wire,
{
    fn with_batches(mut self, change: &mut dyn FnMut(Bytes) -> Bytes) -> Succession<P> {
        self.inside = self.inside.map(|inside| inside.with_batches(change));
        self.last_word = self.last_word.map(|message| P::message_with_batches(message, change));
        self
    }

    fn message_with_batches(message: Message<P>, change: &mut dyn FnMut(Bytes) -> Bytes) -> Message<P> {
        let body = match message.body {
            Body::Within(message) => Body::Within(P::message_with_batches(message, change)),
            Body::Closed { behind, members, last_word } => {
                let last_word = last_word.map(|message| P::message_with_batches(message, change));
                Body::Closed { behind, members, last_word }
            }
            other => other,
        };
        Message { configuration: message.configuration, body }
    }

    fn record_with_batches(record: Record<P>, change: &mut dyn FnMut(Bytes) -> Bytes) -> Record<P> {
        match record {
            Record::Within { configuration, record } => {
                Record::Within { configuration, record: P::record_with_batches(record, change) }
            }
            other => other,
        }
    }

    fn is_routine(event: &Event) -> bool {
        event.rule.id == rules::STALE.id || P::is_routine(event)
    }
}

/// A violation is not written: a replica that has one is stopped, and nothing follows.
impl<P: Heir + Wire> Wire for Succession<P>
where
    P::Config: Wire,
{
    fn encode(&self, out: &mut Vec<u8>) {
        self.setup.encode(out);
        self.config.encode(out);
        self.present.encode(out);
        self.way.encode(out);
        self.inside.encode(out);
        self.opening.encode(out);
        self.known_at.encode(out);
        self.leavers.encode(out);
        self.last_word.encode(out);
        self.superseded.encode(out);
        self.last_word_taken.encode(out);
        self.serving.encode(out);
        self.installing.encode(out);
        self.decided.encode(out);
        self.applied.encode(out);
        self.stopped.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Succession<P>, WireError> {
        Ok(Succession {
            setup: Wire::decode(input)?,
            config: Wire::decode(input)?,
            present: Wire::decode(input)?,
            way: Wire::decode(input)?,
            inside: Wire::decode(input)?,
            opening: Wire::decode(input)?,
            known_at: Wire::decode(input)?,
            leavers: Wire::decode(input)?,
            last_word: Wire::decode(input)?,
            superseded: Wire::decode(input)?,
            last_word_taken: Wire::decode(input)?,
            serving: Wire::decode(input)?,
            installing: Wire::decode(input)?,
            decided: Wire::decode(input)?,
            applied: Wire::decode(input)?,
            stopped: Wire::decode(input)?,
            broken: None,
        })
    }
}

impl Wire for Leaver {
    fn encode(&self, out: &mut Vec<u8>) {
        self.member.encode(out);
        self.tellings_left.encode(out);
        self.knows.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Leaver, WireError> {
        Ok(Leaver { member: Wire::decode(input)?, tellings_left: Wire::decode(input)?, knows: Wire::decode(input)? })
    }
}

impl Wire for Serving {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Serving::Pinning => out.push(0),
            Serving::Sending(inner) => {
                out.push(1);
                inner.encode(out);
            }
            Serving::Inside(inner) => {
                out.push(2);
                inner.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Serving, WireError> {
        match input.byte("view under way")? {
            0 => Ok(Serving::Pinning),
            1 => Ok(Serving::Sending(Wire::decode(input)?)),
            2 => Ok(Serving::Inside(Wire::decode(input)?)),
            kind => Err(WireError::UnknownKind { what: "view under way", kind }),
        }
    }
}
