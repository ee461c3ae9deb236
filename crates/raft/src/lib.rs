//! Raft as a deterministic value.
mod config;
mod deciding;
mod durability;
mod election;
mod entry;
mod following;
mod invariants;
mod leading;
mod log;
mod message;
mod progress;
mod read;
mod record;
mod recovery;
mod replica;
pub mod rules;
mod status;

pub use config::Config;
pub use entry::{Configuration, Entry, Payload};
pub use log::Log;
pub use message::{Append, AppendOutcome, Message, ReadAnswer};
pub use record::{Anchor, Record};
pub use replica::{Raft, Timer};
