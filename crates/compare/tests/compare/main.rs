//! What a comparison promises, protocol by protocol.

mod arithmetic;
mod faults;
