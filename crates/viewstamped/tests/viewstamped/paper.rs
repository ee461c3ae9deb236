//! The rules of Viewstamped Replication Revisited, one by one, and the errata to it.

mod errata;
mod normal;
mod reads;
mod reconfiguration;
mod recovery;
mod state_transfer;
mod view_change;
