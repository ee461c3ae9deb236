//! Zab as a deterministic value.

mod broadcast;
mod config;
mod connection;
mod deciding;
mod discovery;
mod durability;
mod election;
mod following;
mod heir;
mod invariants;
mod leading;
mod log;
mod message;
mod read;
mod record;
mod recovery;
mod replica;
pub mod rules;
mod snapshot;
mod status;
mod synchronisation;
mod wire;
mod zxid;

pub use config::Config;
pub use connection::Connection;
pub use log::Log;
pub use message::{FollowerWord, LeaderWord, Message, Standing, Vote};
pub use record::{Anchor, Record};
pub use replica::{Broadcast, Timer};
pub use zxid::{Mark, Payload, Txn, Zxid};

/// The whole protocol: configurations that succeed each other.
pub type Zab = quorate_succession::Succession<Broadcast>;
