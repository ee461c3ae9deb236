//! The operations of disks as data, and the model disk that crashes, tears and rots.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

mod damage;
mod model;
