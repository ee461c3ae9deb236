//! Viewstamped Replication Revisited as a deterministic value.
mod config;
mod deciding;
mod durability;
mod entry;
mod epoch;
mod invariants;
mod log;
mod message;
mod normal;
mod read;
mod record;
mod recovery;
mod replica;
pub mod rules;
mod snapshot;
mod state_transfer;
mod status;
mod view;
mod view_change;

pub use config::Config;
pub use entry::{Entries, Entry};
pub use log::Log;
pub use message::Message;
pub use record::{Anchor, Record};
pub use replica::{Timer, Viewstamped};
pub use view::{Configuration, View};
