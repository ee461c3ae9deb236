//! Notes, pictures and outputs as bytes.
//!
//! Values of a protocol are written by its own codec, with a short form in the place of each batch.

use crate::batch::BatchMark;
use crate::note::{ClockReading, Digest, Fact, Note};
use bytes::Bytes;
use quorate_protocol::{
    Batch, Decision, Footprint, Gate, Input, LinkState, MembersChange, Output, Picture, ReadToken, Recordable, Refusal,
    Refused, Replica, Setup, TransferOutcome,
};
use quorate_types::{Ticket, Time};
use quorate_wire::{Reader, Wire, WireError, put_bytes, put_u64};

/// The clock of the note before; notes say how much later they are.
pub(crate) type Before = Time;

/// Writes a note whose batches `shorten` turns into short forms.
pub(crate) fn encode_note<R: Recordable>(
    note: Note<R>,
    before: &mut Before,
    shorten: &mut dyn FnMut(Bytes) -> Bytes,
    out: &mut Vec<u8>,
) {
    match note {
        Note::Clock(reading) => {
            out.push(0);
            reading.encode(out);
        }
        Note::Step { now, choices, input } => {
            out.push(if choices.is_empty() { 1 } else { 2 });
            encode_call(now, &choices, before, out);
            encode_input(input, shorten, out);
        }
        Note::Settle { now, choices } => {
            out.push(if choices.is_empty() { 3 } else { 4 });
            encode_call(now, &choices, before, out);
        }
        Note::Said(digest) => {
            out.push(5);
            digest.encode(out);
        }
        Note::Fact { at, fact } => {
            out.push(6);
            encode_time(at, before, out);
            fact.encode(out);
        }
        Note::Values(values) => {
            out.push(7);
            values.encode(out);
        }
        Note::End(end) => {
            out.push(8);
            end.encode(out);
        }
    }
}

pub(crate) fn decode_note<R: Recordable>(input: &mut Reader, before: &mut Before) -> Result<Note<R>, WireError> {
    let kind = input.byte("note")?;
    match kind {
        0 => Ok(Note::Clock(ClockReading::decode(input)?)),
        1 | 2 => {
            let (now, choices) = decode_call(kind == 2, input, before)?;
            Ok(Note::Step { now, choices, input: decode_input(input)? })
        }
        3 | 4 => {
            let (now, choices) = decode_call(kind == 4, input, before)?;
            Ok(Note::Settle { now, choices })
        }
        5 => Ok(Note::Said(Digest::decode(input)?)),
        6 => Ok(Note::Fact { at: decode_time(input, before)?, fact: Fact::decode(input)? }),
        7 => Ok(Note::Values(Vec::decode(input)?)),
        8 => Ok(Note::End(Wire::decode(input)?)),
        kind => Err(WireError::UnknownKind { what: "note", kind }),
    }
}

fn encode_call(now: Time, choices: &[u64], before: &mut Before, out: &mut Vec<u8>) {
    encode_time(now, before, out);
    if !choices.is_empty() {
        choices.to_vec().encode(out);
    }
}

fn decode_call(has_choices: bool, input: &mut Reader, before: &mut Before) -> Result<(Time, Vec<u64>), WireError> {
    let now = decode_time(input, before)?;
    Ok((now, if has_choices { Vec::decode(input)? } else { Vec::new() }))
}

/// A node's clock never goes back, and most notes of a batch have the same time.
fn encode_time(now: Time, before: &mut Before, out: &mut Vec<u8>) {
    let now = now.max(*before);
    put_u64(now.0 - before.0, out);
    *before = now;
}

fn decode_time(input: &mut Reader, before: &mut Before) -> Result<Time, WireError> {
    let later = input.u64("time")?;
    *before = Time(before.0.checked_add(later).ok_or(WireError::Malformed { what: "time" })?);
    Ok(*before)
}

/// Puts stand-ins for short forms and remembers the first that is none.
#[derive(Default)]
struct Expander {
    failed: Option<WireError>,
}

impl Expander {
    fn expand(&mut self, short_form: Bytes) -> Bytes {
        match BatchMark::expand(short_form) {
            Ok(stand_in) => stand_in,
            Err(error) => {
                self.failed.get_or_insert(error);
                Bytes::new()
            }
        }
    }

    fn done<T>(self, value: T) -> Result<T, WireError> {
        self.failed.map_or(Ok(value), Err)
    }
}

fn encode_input<R: Recordable>(input: Input<R>, shorten: &mut dyn FnMut(Bytes) -> Bytes, out: &mut Vec<u8>) {
    match input {
        Input::Receive { from, message } => {
            out.push(0);
            from.encode(out);
            R::message_with_batches(message, shorten).encode(out);
        }
        Input::Expired(timer) => {
            out.push(1);
            encode_timer::<R>(timer, out);
        }
        Input::Persisted(ticket) => {
            out.push(2);
            ticket.encode(out);
        }
        Input::Propose { request, batch } => {
            out.push(3);
            request.encode(out);
            put_bytes(&shorten(batch.commands), out);
            encode_footprint(batch.footprint, shorten, out);
        }
        Input::Read { token, footprint } => {
            out.push(4);
            token.encode(out);
            encode_footprint(footprint, shorten, out);
        }
        Input::Applied { through, durable, digest } => {
            out.push(5);
            through.encode(out);
            durable.encode(out);
            digest.encode(out);
        }
        Input::Reconfigure { request, based_on, members } => {
            out.push(6);
            request.encode(out);
            based_on.encode(out);
            members.encode(out);
        }
        Input::Transfer { request, to } => {
            out.push(7);
            request.encode(out);
            to.encode(out);
        }
        Input::Link { peer, state } => {
            out.push(8);
            peer.encode(out);
            encode_link(state, out);
        }
        Input::SnapshotPinned { id, to, through } => {
            out.push(9);
            id.encode(out);
            to.encode(out);
            through.encode(out);
        }
        Input::SnapshotSent { to, id, outcome } => {
            out.push(10);
            to.encode(out);
            id.encode(out);
            (outcome == TransferOutcome::Installed).encode(out);
        }
        Input::SnapshotArrived { id, anchor } => {
            out.push(11);
            id.encode(out);
            anchor.encode(out);
        }
    }
}

fn decode_input<R: Recordable>(input: &mut Reader) -> Result<Input<R>, WireError> {
    let mut expander = Expander::default();
    let mut expand = |short_form: Bytes| expander.expand(short_form);
    let decoded = match input.byte("input")? {
        0 => {
            let (from, message) = (Wire::decode(input)?, Wire::decode(input)?);
            Input::Receive { from, message: R::message_with_batches(message, &mut expand) }
        }
        1 => Input::Expired(decode_timer::<R>(input)?),
        2 => Input::Persisted(Wire::decode(input)?),
        3 => {
            let (request, commands) = (Wire::decode(input)?, expand(Wire::decode(input)?));
            Input::Propose { request, batch: Batch { commands, footprint: decode_footprint(input, &mut expand)? } }
        }
        4 => Input::Read { token: ReadToken::decode(input)?, footprint: decode_footprint(input, &mut expand)? },
        5 => Input::Applied {
            through: Wire::decode(input)?,
            durable: Wire::decode(input)?,
            digest: Wire::decode(input)?,
        },
        6 => Input::Reconfigure {
            request: Wire::decode(input)?,
            based_on: Wire::decode(input)?,
            members: Wire::decode(input)?,
        },
        7 => Input::Transfer { request: Wire::decode(input)?, to: Wire::decode(input)? },
        8 => {
            let peer = Wire::decode(input)?;
            Input::Link { peer, state: decode_link(input)? }
        }
        9 => {
            Input::SnapshotPinned { id: Wire::decode(input)?, to: Wire::decode(input)?, through: Wire::decode(input)? }
        }
        10 => {
            let (to, id) = (Wire::decode(input)?, Wire::decode(input)?);
            let installed = bool::decode(input)?;
            let outcome = if installed { TransferOutcome::Installed } else { TransferOutcome::Failed };
            Input::SnapshotSent { to, id, outcome }
        }
        11 => Input::SnapshotArrived { id: Wire::decode(input)?, anchor: Wire::decode(input)? },
        kind => return Err(WireError::UnknownKind { what: "input", kind }),
    };
    expander.done(decoded)
}

fn encode_link(state: LinkState, out: &mut Vec<u8>) {
    out.push(match state {
        LinkState::Up => 0,
        LinkState::Down => 1,
        LinkState::Refused => 2,
    });
}

fn decode_link(input: &mut Reader) -> Result<LinkState, WireError> {
    match input.byte("link state")? {
        0 => Ok(LinkState::Up),
        1 => Ok(LinkState::Down),
        2 => Ok(LinkState::Refused),
        kind => Err(WireError::UnknownKind { what: "link state", kind }),
    }
}

fn encode_footprint(footprint: Footprint, shorten: &mut dyn FnMut(Bytes) -> Bytes, out: &mut Vec<u8>) {
    match footprint {
        Footprint::Everything => out.push(0),
        Footprint::Keys { reads, writes } => {
            out.push(1);
            for keys in [reads, writes] {
                keys.into_iter().map(&mut *shorten).collect::<Vec<_>>().encode(out);
            }
        }
    }
}

fn decode_footprint(input: &mut Reader, expand: &mut dyn FnMut(Bytes) -> Bytes) -> Result<Footprint, WireError> {
    let mut keys = |input: &mut Reader| -> Result<Vec<Bytes>, WireError> {
        Ok(Vec::<Bytes>::decode(input)?.into_iter().map(&mut *expand).collect())
    };
    match input.byte("footprint")? {
        0 => Ok(Footprint::Everything),
        1 => Ok(Footprint::Keys { reads: keys(input)?, writes: keys(input)? }),
        kind => Err(WireError::UnknownKind { what: "footprint", kind }),
    }
}

/// By its place among [`Replica::TIMERS`].
fn encode_timer<R: Replica>(timer: R::Timer, out: &mut Vec<u8>) {
    let place = R::TIMERS.iter().position(|(_, known)| *known == timer);
    put_u64(place.map_or(u64::MAX, |place| place as u64), out);
}

fn decode_timer<R: Replica>(input: &mut Reader) -> Result<R::Timer, WireError> {
    let place = usize::try_from(input.u64("timer")?).ok();
    let timer = place.and_then(|place| R::TIMERS.get(place));
    timer.map(|(_, timer)| *timer).ok_or(WireError::Malformed { what: "timer" })
}

/// Writes a picture with short forms in the place of its batches.
pub(crate) fn encode_picture<R: Recordable>(
    picture: Picture<R>,
    shorten: &mut dyn FnMut(Bytes) -> Bytes,
    out: &mut Vec<u8>,
) {
    let Picture { setup, replica, gate, last_ticket } = picture;
    setup.encode(out);
    last_ticket.encode(out);
    gate.map(|message| R::message_with_batches(message, shorten)).encode(out);
    replica.with_batches(shorten).encode(out);
}

pub(crate) fn decode_picture<R: Recordable>(input: &mut Reader) -> Result<Picture<R>, WireError> {
    let mut expander = Expander::default();
    let mut expand = |short_form: Bytes| expander.expand(short_form);
    let setup = Setup::decode(input)?;
    let last_ticket = Ticket::decode(input)?;
    let gate = Gate::<R::Message>::decode(input)?.map(|message| R::message_with_batches(message, &mut expand));
    let replica = R::decode(input)?.with_batches(&mut expand);
    expander.done(Picture { setup, replica, gate, last_ticket })
}

/// Appends an output in a form that is compared and never read.
pub(crate) fn write_output<R: Recordable>(
    output: Output<R>,
    shorten: &mut dyn FnMut(Bytes) -> Bytes,
    out: &mut Vec<u8>,
) {
    match output {
        Output::Persist { ticket, records } => {
            out.push(0);
            ticket.encode(out);
            write_records::<R>(records, shorten, out);
        }
        Output::Compact { ticket, baseline, drop_before } => {
            out.push(1);
            ticket.encode(out);
            drop_before.encode(out);
            write_records::<R>(baseline, shorten, out);
        }
        Output::Send { to, message, after } => {
            out.push(2);
            to.encode(out);
            after.encode(out);
            R::message_with_batches(message, shorten).encode(out);
        }
        Output::SetTimer { timer, at_least, at_most } => {
            out.push(3);
            encode_timer::<R>(timer, out);
            at_least.encode(out);
            at_most.encode(out);
        }
        Output::CancelTimer(timer) => {
            out.push(4);
            encode_timer::<R>(timer, out);
        }
        Output::Decide { slot, decision } => {
            out.push(5);
            slot.encode(out);
            match decision {
                Decision::Commands(commands) => {
                    out.push(0);
                    put_bytes(&shorten(commands), out);
                }
                Decision::Members(members) => {
                    out.push(1);
                    members.encode(out);
                }
                Decision::Nothing => out.push(2),
            }
        }
        other => write_rare_output(other, shorten, out),
    }
}

fn write_rare_output<R: Recordable>(output: Output<R>, shorten: &mut dyn FnMut(Bytes) -> Bytes, out: &mut Vec<u8>) {
    match output {
        Output::ReadAt { token, slot } => {
            out.push(6);
            token.encode(out);
            slot.encode(out);
        }
        Output::Refuse { refused, why } => {
            out.push(7);
            match refused {
                Refused::Request(request) => request.encode(out),
                Refused::Read(token) => token.encode(out),
            }
            write_refusal(&why, out);
        }
        Output::Lead { era, who, ready, settled } => {
            out.push(8);
            era.encode(out);
            who.encode(out);
            ready.encode(out);
            settled.encode(out);
        }
        Output::Members { members, change } => {
            out.push(9);
            members.encode(out);
            out.push(match change {
                MembersChange::Opened => 0,
                MembersChange::Appended => 1,
                MembersChange::RolledBack => 2,
                MembersChange::Installed => 3,
                MembersChange::Reach => 4,
            });
        }
        Output::SendSnapshot { to, at_least, with_data } => {
            out.push(10);
            to.encode(out);
            at_least.encode(out);
            with_data.encode(out);
        }
        Output::SnapshotAnchor { id, to, anchor } => {
            out.push(11);
            id.encode(out);
            to.encode(out);
            anchor.encode(out);
        }
        Output::InstallSnapshot { id, anchor, after } => {
            out.push(12);
            id.encode(out);
            anchor.encode(out);
            after.encode(out);
        }
        Output::DropSnapshot { id } => {
            out.push(13);
            id.encode(out);
        }
        Output::Retire { why } => {
            out.push(14);
            put_bytes(why.as_bytes(), out);
        }
        Output::Evidence { against, first, second } => {
            out.push(15);
            against.encode(out);
            R::message_with_batches(first, shorten).encode(out);
            R::message_with_batches(second, shorten).encode(out);
        }
        // Told above, or told only to those who listen.
        _ => {}
    }
}

fn write_records<R: Recordable>(records: Vec<R::Record>, shorten: &mut dyn FnMut(Bytes) -> Bytes, out: &mut Vec<u8>) {
    put_u64(records.len() as u64, out);
    for record in records {
        R::record_with_batches(record, shorten).encode(out);
    }
}

fn write_refusal(why: &Refusal, out: &mut Vec<u8>) {
    let (kind, words) = match why {
        Refusal::NotLeader { hint } => {
            out.push(0);
            return hint.encode(out);
        }
        Refusal::LeaderChanged => (1, ""),
        Refusal::Overloaded => (2, ""),
        Refusal::Unsupported(why) => (3, *why),
        Refusal::AlreadyDecided => (4, ""),
        Refusal::NotReady(why) => (5, *why),
        Refusal::MembershipChanged => (6, ""),
        Refusal::Invalid(why) => (7, *why),
    };
    out.push(kind);
    put_bytes(words.as_bytes(), out);
}

/// The digest of what a replica said, with real batches or with stand-ins, as `shorten` knows.
pub(crate) fn digest_of<R: Recordable>(outputs: Vec<Output<R>>, shorten: &mut dyn FnMut(Bytes) -> Bytes) -> Digest {
    let count = outputs.len() as u64;
    let mut bytes = Vec::with_capacity(256);
    outputs.into_iter().for_each(|output| write_output(output, shorten, &mut bytes));
    Digest { count, checksum: crc32c::crc32c(&bytes) }
}
