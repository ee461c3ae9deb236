//! The rules of Zab, one by one, by their numbers on the crate's first page.

#[path = "paper/broadcast.rs"]
mod broadcast;
mod cluster;
#[path = "paper/discovery.rs"]
mod discovery;
#[path = "paper/election.rs"]
mod election;
#[path = "paper/errata.rs"]
mod errata;
#[path = "paper/reads.rs"]
mod reads;
#[path = "paper/succession.rs"]
mod succession;
#[path = "paper/synchronisation.rs"]
mod synchronisation;
