//! How values become bytes between replicas and on disk.
//!
//! [`Wire`] is the codec every message and record implements by hand: fields in order, integers as
//! LEB128, byte strings with their length, enums by a leading kind byte. There is no schema on the
//! wire and no skipping: both ends know the version they speak (it is agreed in [`Hello`]), and an
//! unknown kind is an error that names itself. Decoding shares the input's memory, so a batch of
//! commands received once is the batch stored, sent on and applied.

mod codec;
mod frame;
mod shared;

pub use codec::{Reader, Wire, WireError, decode_exact, encode_to_bytes, put_bytes, put_u64};
pub use frame::{
    Agreement, FRAME_HEADER_BYTES, FrameError, FrameHeader, Hello, WIRE_VERSION, WIRE_VERSION_OLDEST,
    decode_frame_header, encode_frame, verify_frame,
};
