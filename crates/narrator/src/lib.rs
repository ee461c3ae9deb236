//! From a trace to words.
//!
//! A run leaves [`Happening`]s: what the world did, and every guard a protocol evaluated, as data. [`sentence`] turns one
//! guard into one sentence by filling the values into the words its rule brings along; [`Story`] turns a whole transcript
//! into a narrative, and [`incident::Incident`] what several members recorded into a page for whoever must find out what
//! went wrong. Nothing here knows a protocol: whatever is told was said by the replica that decided it.

mod happening;
pub mod incident;
mod sentence;
mod story;

pub use happening::{Ending, Happening, Loss, What};
pub use sentence::sentence;
pub use story::{Detail, Story};
