//! Quorums against tables and slow twins.

mod sizes;
mod twin;
