//! Carrying a whole image from one node to another, without I/O: a [`View`] of the applied state, a [`Sender`] for each
//! receiver, and a [`Receiver`].
//!
//! The image travels as one stream of bytes: the machine's own part and the state machine's head, then the items by number.
//! The sender makes it afresh from the view whenever it is needed, so a view costs no more memory than its head; chunks may be
//! cut anywhere.
//!
//! # How it goes
//! 1. The sender says [`TransferMessage::Begin`] until it is heard, then sends chunks, as many as the window and the rate
//!    allow. The receiver answers every one with how much it has.
//! 2. What is lost is sent again from there: after a while without news, and at once when a connection comes back.
//!    A receiver that has forgotten the transfer says so, and it starts over.
//! 3. The last chunk carries the checksum of the whole stream, as each does of everything up to its end. The receiver says
//!    [`TransferMessage::Ended`] when the image is installed, or is not wanted.
//! 4. Either side gives up after a while without the other; a sender does if it has sent something that long ago.
//! 5. All transfers of a sender share its rate, chunk by chunk. It has so many places; who finds none waits, and who has waited longest
//!    gets the next, or that of a receiver which is silent ([`Sender::admit`]).
//!
//! An offset belongs to one transfer: another one starts at 0, whatever it carries.

mod message;
mod places;
mod receiver;
mod sender;
mod stream;

pub use message::{TransferEnd, TransferHeader, TransferMessage};
pub use places::Admission;
pub use receiver::{Arrival, Receiver};
pub use sender::{Sender, SenderState};
pub use stream::{StreamParts, StreamReader, View, ViewPosition};

use std::time::Duration;

/// Settings of transfers. Nodes of one cluster may differ in all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferConfig {
    /// The bytes of one chunk.
    pub chunk_bytes: usize,
    /// Bytes under way to one receiver.
    pub window_bytes: u64,
    /// Bytes a second that this node sends, to all receivers together, which share them.
    pub bytes_per_second: u64,
    /// Images that this node sends at the same time; more have to wait.
    pub max_sent_at_once: usize,
    /// After how long without news everything that was not acknowledged is sent again.
    pub resend_after: Duration,
    /// After how long without the other side a transfer is given up.
    pub abandon_after: Duration,
    /// How often the rate, time-outs and repetitions are looked after while a transfer runs.
    pub tick: Duration,
}

impl Default for TransferConfig {
    fn default() -> TransferConfig {
        TransferConfig {
            chunk_bytes: 256 << 10,
            window_bytes: 4 << 20,
            bytes_per_second: 64 << 20,
            max_sent_at_once: 2,
            resend_after: Duration::from_millis(500),
            abandon_after: Duration::from_secs(30),
            tick: Duration::from_millis(10),
        }
    }
}
