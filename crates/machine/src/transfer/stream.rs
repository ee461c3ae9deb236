//! An image as a stream of bytes, made from a view and read back.
//!
//! ```text
//! meta, head            each with its length
//! per item: its number  LEB128
//!           its bytes   with their length
//! ```

use bytes::Bytes;
use quorate_types::Slot;
use quorate_wire::{Reader, WireError, put_bytes, put_u64};

/// Numbers looked at for one piece of the stream: what is missing costs time too.
const PIECE_NUMBERS: u64 = 16 * 1024;

/// A state as of one slot, for sending. Its head is kept here; its items stay in the state, which must not drop any while a
/// view of it is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The last slot in it.
    pub applied: Slot,
    /// The machine's rolling hash behind it.
    pub digest: u64,
    /// The state's items have numbers below this.
    pub item_count: u64,
    /// Meta and head, encoded.
    prelude: Bytes,
}

/// A place in a view's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewPosition {
    /// Everything before the items was given out.
    is_at_items: bool,
    /// The item that is next.
    item: u64,
    /// Bytes of it, or of what comes before the items, that were given out.
    given: usize,
}

impl View {
    pub(crate) fn new(applied: Slot, digest: u64, meta: &[u8], head: &[u8], item_count: u64) -> View {
        let mut prelude = Vec::with_capacity(meta.len() + head.len() + 20);
        put_bytes(meta, &mut prelude);
        put_bytes(head, &mut prelude);
        View { applied, digest, item_count, prelude: Bytes::from(prelude) }
    }

    /// Whether the stream ends here.
    #[must_use]
    pub fn is_end(&self, position: ViewPosition) -> bool {
        position.is_at_items && position.item >= self.item_count
    }

    /// The next piece of the stream, of at most so many bytes; moves the position behind it. It may be empty before the end,
    /// where many items are missing.
    pub fn next_piece(
        &self,
        position: &mut ViewPosition,
        bytes_max: usize,
        item: &mut dyn FnMut(u64) -> Option<Bytes>,
    ) -> Bytes {
        let bytes_max = bytes_max.max(1);
        let mut out = Vec::with_capacity(bytes_max.min(1 << 20));
        if !position.is_at_items {
            let end = self.prelude.len().min(position.given + bytes_max);
            out.extend_from_slice(&self.prelude[position.given..end]);
            position.given = end;
            if end == self.prelude.len() {
                *position = ViewPosition { is_at_items: true, item: 0, given: 0 };
            }
        }
        if !position.is_at_items {
            return Bytes::from(out);
        }
        let last_to_see = self.item_count.min(position.item.saturating_add(PIECE_NUMBERS));
        let mut frame = Vec::new();
        while position.item < last_to_see && out.len() < bytes_max {
            if let Some(bytes) = item(position.item) {
                frame.clear();
                put_u64(position.item, &mut frame);
                put_bytes(&bytes, &mut frame);
                let end = frame.len().min(position.given + bytes_max - out.len());
                out.extend_from_slice(&frame[position.given..end]);
                position.given = end;
                if end < frame.len() {
                    break;
                }
            }
            position.item += 1;
            position.given = 0;
        }
        Bytes::from(out)
    }

    /// The bytes of the stream from here on, counting a slice of the items a call: `None` says that more is left to count.
    pub fn measure(
        &self,
        position: &mut ViewPosition,
        counted: &mut u64,
        item: &mut dyn FnMut(u64) -> Option<Bytes>,
    ) -> Option<u64> {
        if !position.is_at_items {
            *counted += (self.prelude.len() - position.given) as u64;
            *position = ViewPosition { is_at_items: true, item: 0, given: 0 };
        }
        let end = self.item_count.min(position.item.saturating_add(PIECE_NUMBERS));
        for number in position.item..end {
            if let Some(bytes) = item(number) {
                *counted += leb128_bytes(number) + leb128_bytes(bytes.len() as u64) + bytes.len() as u64;
            }
        }
        position.item = end;
        (end == self.item_count).then_some(*counted)
    }
}

fn leb128_bytes(number: u64) -> u64 {
    u64::from((64 - number.leading_zeros()).max(1).div_ceil(7))
}

/// What a whole stream held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamParts {
    /// The machine's own part.
    pub meta: Bytes,
    /// The state machine's part that changes in place.
    pub head: Bytes,
    /// The items in ascending order of number. They share the memory of the pieces they came in.
    pub items: Vec<(u64, Bytes)>,
}

/// Reads a stream that comes in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamReader {
    /// Not yet read: less than one element.
    rest: Bytes,
    prelude: Option<(Bytes, Bytes)>,
    /// They share the memory of the pieces.
    items: Vec<(u64, Bytes)>,
}

impl StreamReader {
    /// Takes the next piece.
    ///
    /// # Errors
    /// When the bytes are no such stream, whatever may follow.
    pub fn push(&mut self, piece: Bytes) -> Result<(), WireError> {
        let mut bytes = piece;
        if !self.rest.is_empty() {
            bytes = Bytes::from([&self.rest[..], &bytes[..]].concat());
        }
        loop {
            let mut reader = Reader::new(bytes.clone());
            let read = match self.prelude {
                None => self.read_prelude(&mut reader),
                Some(_) if bytes.is_empty() => break,
                Some(_) => self.read_item(&mut reader),
            };
            match read {
                Ok(()) => bytes = reader.rest(),
                Err(WireError::Truncated { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        self.rest = bytes;
        Ok(())
    }

    fn read_prelude(&mut self, reader: &mut Reader) -> Result<(), WireError> {
        self.prelude = Some((reader.bytes("image meta")?, reader.bytes("image head")?));
        Ok(())
    }

    fn read_item(&mut self, reader: &mut Reader) -> Result<(), WireError> {
        let number = reader.u64("item number")?;
        let bytes = reader.bytes("item")?;
        if self.items.last().is_some_and(|(last, _)| *last >= number) {
            return Err(WireError::Malformed { what: "order of items" });
        }
        self.items.push((number, bytes));
        Ok(())
    }

    /// What it held, if the stream ends here and no item has a number of `item_count` or above.
    #[must_use]
    pub fn finish(self, item_count: u64) -> Option<StreamParts> {
        let (meta, head) = self.prelude.filter(|_| self.rest.is_empty())?;
        let fits = self.items.last().is_none_or(|(last, _)| *last < item_count);
        fits.then_some(StreamParts { meta, head, items: self.items })
    }
}
