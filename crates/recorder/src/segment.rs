//! One file of a recording: a header, a picture of the replica, and the notes of what happened to it from there.
//!
//! ```text
//!   frame := length u32 | checksum u32 | of the header u32 | payload          little-endian
//!   file  := frame(header) frame(picture) frame(notes)*
//! ```
//! A frame's checksum goes on from the one before, so no frame can be taken out, put in or moved unseen. A frame header has
//! a checksum of its own: a file that ends within a frame was cut off, by a crash or a full disk; anything else that does
//! not fit is damage.

use crate::codec::{decode_note, decode_picture};
use crate::note::{ClockReading, Note};
use bytes::{Buf, Bytes};
use quorate_protocol::{Picture, Recordable};
use quorate_types::{ClusterId, Incarnation, NodeId, Time};
use quorate_wire::{Reader, Wire, WireError};
use thiserror::Error;

const MAGIC: &str = "quorate flight recording";
/// The version this build writes, and the only one it reads.
pub const FORMAT_VERSION: u64 = 1;
const FRAME_HEADER_BYTES: usize = 12;

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The protocol's name.
    pub protocol: String,
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// Its name for people.
    pub name: String,
    /// Which of its lives.
    pub incarnation: Incarnation,
    /// Counts up from 1 within one life.
    pub sequence: u64,
    /// Which program wrote it.
    pub program: String,
    /// Both clocks when the picture was taken.
    pub clock: ClockReading,
    /// Whether whole batches are recorded.
    pub has_values: bool,
}

/// Why a segment cannot be read. Who reads the file says which it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SegmentError {
    /// It is something else.
    #[error("it is no flight recording")]
    Foreign,
    /// Its beginning is missing: the process died when it had just created it.
    #[error("it ends before its picture of the replica: nothing in it can be replayed")]
    Empty,
    /// Another version wrote it.
    #[error(
        "it has format {found}, and this program reads format {FORMAT_VERSION}: use the program that wrote it ({program})"
    )]
    Version {
        /// Its version.
        found: u64,
        /// Who wrote it, as it says.
        program: String,
    },
    /// It holds another protocol's run.
    #[error("it is a run of {found}, not of {wanted}")]
    Protocol {
        /// Its protocol.
        found: String,
        /// The one wanted.
        wanted: &'static str,
    },
    /// It is not what was written.
    #[error("it is damaged or was changed: frame {frame}, at byte {offset}: {why}")]
    Damaged {
        /// Which frame, from 0.
        frame: usize,
        /// Where it begins.
        offset: usize,
        /// How that shows.
        why: String,
    },
}

/// Appends one frame; `chain` is the checksum of the frame before, 0 for the first.
pub(crate) fn encode_frame(payload: &[u8], chain: &mut u32, out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("what is handed over at once is bounded far below 4 GiB");
    *chain = crc32c::crc32c_append(*chain, payload);
    let begin = out.len();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&chain.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&out[begin..]).to_le_bytes());
    out.extend_from_slice(payload);
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        MAGIC.to_owned().encode(&mut out);
        FORMAT_VERSION.encode(&mut out);
        self.program.encode(&mut out);
        self.protocol.encode(&mut out);
        self.cluster.encode(&mut out);
        self.node.encode(&mut out);
        self.name.encode(&mut out);
        self.incarnation.encode(&mut out);
        self.sequence.encode(&mut out);
        self.clock.encode(&mut out);
        self.has_values.encode(&mut out);
        out
    }

    fn decode(payload: Bytes) -> Result<SegmentHeader, SegmentError> {
        let mut input = Reader::new(payload);
        if String::decode(&mut input).ok().as_deref() != Some(MAGIC) {
            return Err(SegmentError::Foreign);
        }
        let damaged = |why: WireError| SegmentError::Damaged { frame: 0, offset: 0, why: why.to_string() };
        let version = u64::decode(&mut input).map_err(damaged)?;
        let program = String::decode(&mut input).map_err(damaged)?;
        if version != FORMAT_VERSION {
            return Err(SegmentError::Version { found: version, program });
        }
        SegmentHeader::decode_rest(program, &mut input).map_err(damaged)
    }

    fn decode_rest(program: String, input: &mut Reader) -> Result<SegmentHeader, WireError> {
        Ok(SegmentHeader {
            program,
            protocol: Wire::decode(input)?,
            cluster: Wire::decode(input)?,
            node: Wire::decode(input)?,
            name: Wire::decode(input)?,
            incarnation: Wire::decode(input)?,
            sequence: Wire::decode(input)?,
            clock: Wire::decode(input)?,
            has_values: Wire::decode(input)?,
        })
    }

    /// The name of the file: sorts a node's segments in the order they were written.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{:016x}-{:010}-{:08}.{EXTENSION}", self.node.0, self.incarnation.0, self.sequence)
    }
}

/// What names of segments end with.
pub const EXTENSION: &str = "flight";

/// A segment whose frames have been verified. Its notes are decoded when asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What it says of itself.
    pub header: SegmentHeader,
    picture: Bytes,
    frames: Vec<Frame>,
    /// So many bytes at its end are an unfinished frame.
    pub torn_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    offset: usize,
    payload: Bytes,
}

impl Segment {
    /// Verifies the whole file.
    ///
    /// # Errors
    /// When it is no segment, of another version or damaged. One that ends within a frame is none of this, if it has its picture.
    pub fn read(file: Bytes) -> Result<Segment, SegmentError> {
        let length = file.len();
        let mut frames = Vec::new();
        let (mut rest, mut chain, mut torn_bytes) = (file, 0, 0);
        while !rest.is_empty() {
            let (frame, offset) = (frames.len(), length - rest.len());
            match next_frame(&mut rest, &mut chain) {
                Ok(Some(payload)) => frames.push(Frame { offset, payload }),
                Ok(None) => {
                    torn_bytes = length - offset;
                    break;
                }
                Err(_) if frame == 0 => return Err(SegmentError::Foreign),
                Err(why) => return Err(SegmentError::Damaged { frame, offset, why: why.to_owned() }),
            }
        }
        let mut frames = frames.into_iter();
        let header = SegmentHeader::decode(frames.next().ok_or(SegmentError::Empty)?.payload)?;
        let picture = frames.next().ok_or(SegmentError::Empty)?.payload;
        Ok(Segment { header, picture, frames: frames.collect(), torn_bytes })
    }

    /// The replica when the segment began.
    ///
    /// # Errors
    /// When the segment is of another protocol, or holds what this version does not know.
    pub fn picture<R: Recordable>(&self) -> Result<Picture<R>, SegmentError> {
        if self.header.protocol != R::PROTOCOL {
            return Err(SegmentError::Protocol { found: self.header.protocol.clone(), wanted: R::PROTOCOL });
        }
        let damaged = |why: WireError| SegmentError::Damaged { frame: 1, offset: 0, why: why.to_string() };
        let mut reader = Reader::new(self.picture.clone());
        let picture = decode_picture(&mut reader).map_err(damaged)?;
        match reader.remaining() {
            0 => Ok(picture),
            count => Err(damaged(WireError::Trailing { count })),
        }
    }

    /// The picture as it is written, to be compared with that of a replica that was replayed so far.
    pub(crate) fn picture_bytes(&self) -> &Bytes {
        &self.picture
    }

    /// The notes, in order. After an error there are no more.
    pub fn notes<R: Recordable>(&self) -> impl Iterator<Item = Result<Note<R>, SegmentError>> + '_ {
        let mut before: Time = self.header.clock.monotonic;
        let mut failed = false;
        self.frames.iter().enumerate().flat_map(move |(number, frame)| {
            let mut notes = Vec::new();
            let mut reader = Reader::new(frame.payload.clone());
            while reader.remaining() > 0 && !failed {
                let note = decode_note(&mut reader, &mut before).map_err(|why| SegmentError::Damaged {
                    frame: number + 2,
                    offset: frame.offset,
                    why: why.to_string(),
                });
                failed = note.is_err();
                notes.push(note);
            }
            notes
        })
    }
}

/// The payload of the next frame, or nothing where the file was cut off.
fn next_frame(rest: &mut Bytes, chain: &mut u32) -> Result<Option<Bytes>, &'static str> {
    if rest.len() < FRAME_HEADER_BYTES || rest.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let is_whole = crc32c::crc32c(&rest[..8]) == u32::from_le_bytes([rest[8], rest[9], rest[10], rest[11]]);
    if !is_whole {
        return Err("its header does not fit its checksum");
    }
    let (length, checksum) = (rest.get_u32_le() as usize, rest.get_u32_le());
    rest.advance(4);
    if length > rest.len() {
        return Ok(None);
    }
    let payload = rest.split_to(length);
    *chain = crc32c::crc32c_append(*chain, &payload);
    if *chain == checksum { Ok(Some(payload)) } else { Err("it does not fit its checksum") }
}

/// The header of a file, without a look at the rest.
///
/// # Errors
/// As [`Segment::read`].
pub fn read_header(beginning: &Bytes) -> Result<SegmentHeader, SegmentError> {
    let mut rest = beginning.clone();
    match next_frame(&mut rest, &mut 0) {
        Ok(Some(payload)) => SegmentHeader::decode(payload),
        Ok(None) => Err(SegmentError::Empty),
        Err(_) => Err(SegmentError::Foreign),
    }
}
