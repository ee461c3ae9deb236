//! The rules of Zab, one by one, by their numbers on the crate's first page.

mod broadcast;
mod discovery;
mod election;
mod errata;
mod handover;
mod reads;
mod succession;
mod synchronisation;
