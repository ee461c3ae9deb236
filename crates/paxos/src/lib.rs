//! Single-decree Paxos as a deterministic value: a cluster agrees on one value, once, whatever crashes and whatever the network
//! loses, repeats or delays.
//!
//! Sources: *The Part-Time Parliament* (1998), *Paxos Made Simple* (2001), *Flexible Paxos* (2016). [`Paxos`] is a
//! `quorate_protocol::Replica`; every node is proposer, acceptor and learner. A member that is no voter proposes and
//! learns, and accepts nothing. Any node takes proposals; the one decision is slot 1.
//!
//! # Names
//! | here | paper |
//! |---|---|
//! | [`Ballot`] `(round, node)` | proposal number; ballot number |
//! | [`Proposal`] | proposal: a number with a value |
//! | phase-1 quorum, phase-2 quorum | majority, in both phases |
//! | prepare, promise, accept | prepare request, its response, accept request |
//! | accepted | the message to the learners |
//! | nack | an optional "I have seen a higher number" |
//! | chosen | success; "inform the learners" |
//!
//! # Messages
//! | message | from → to | durable first | rule |
//! |---|---|---|---|
//! | `prepare` | proposer → acceptors | the round | 1 |
//! | `promise` | acceptor → proposer | the promise, and what it reports | 2 |
//! | `accept` | proposer → acceptors | nothing new | 3 |
//! | `accepted` | acceptor → proposer, or → everybody | promise and acceptance, in one record | 4 |
//! | `nack` | acceptor → proposer | nothing: a hint | 2, 4 |
//! | `chosen` | learner → anybody | nothing: it is durable at a quorum | 5 |
//!
//! # Rules
//! 1. A new ballot's round is above the last one used and every one seen; it is durable before `prepare` leaves.
//! 2. An acceptor promises a ballot above its promise, durably, and reports what it accepted last. The same request
//!    again gets the same answer after the same write. Anything lower is refused.
//! 3. With promises *for this ballot* from a phase-1 quorum: the value of the highest accepted ballot among them, or if
//!    there is none, the proposer's own. One value per ballot, ever.
//! 4. An acceptor accepts at or above its promise **and raises the promise**, both durable in one record.
//! 5. Chosen is what a phase-2 quorum accepted at the same ballot. Who knows it answers every request with it.
//! 6. Refused or timed out: wait about base × 2^tries, capped, drawn between half and one and a half of that; then rule 1.
//!
//! # Invariants
//! - I1 `AcceptedLePromised`: no acceptance above the promise.
//! - I2 `PromiseMonotone`: the promise never goes down, restarts included.
//! - I3 `OneValuePerBallot`.
//! - I4 `Agreement`: nobody knows two decisions.
//! - I5 `RoundsNeverReused`: every ballot of this node is covered by its durable last round.
//! - I6 `ChosenSafe`: after a choice, every higher ballot carries its value. Over a whole cluster:
//!   [`check_chosen_is_safe`].
//! - I7 `KnownIsChosen`: what somebody knows as decided, no quorum of those who run would let anybody change. Over a whole
//!   cluster: [`check_known_is_chosen`].
//! - Validity (only proposed values are decided) needs the clients' side and is checked by the tests and the explorer.
//!
//! # Where we depart from the papers, and why that is safe
//! - **Rule 4 raises the promise.** *Paxos Made Simple* raises it for prepare requests only. Read literally, an acceptor outside
//!   the phase-1 quorum may later accept below what it accepted, and two values get chosen. The negative twin, in this crate's
//!   tests, shows it; the explorer finds it by itself.
//! - **Quorum sizes differ per phase** if so configured, as Flexible Paxos proves safe. They are durable from founding.
//! - **Nacks** are not in the papers. They carry no promise and change no acceptor; they only end a hopeless wait.
//! - **A question** is a `prepare` at round 0. No acceptor promises it, so no state changes; who knows the decision
//!   answers by rule 5. It lets a member that missed everything learn without a write anywhere.
//! - **Inquiry**: a member that accepted something and heard no decision runs a ballot of its own without a value. By
//!   rule 3 it can only propose what was accepted, so this is an ordinary proposer.
//! - **A nack of one acceptor gives the ballot up**, though others might still make a quorum: by then somebody with a
//!   higher ballot is at work. Acceptances of the old ballot still count when they arrive.
//! - **Reads** are not in the papers; `read.rs` has the argument.
//!
//! # Map
//! `ballot.rs` numbers and proposals · `message.rs` · `record.rs` what survives a crash · `config.rs` · `replica.rs` the struct, dispatch and
//! compaction · `proposer.rs` rules 1, 3, 6 · `acceptor.rs` rules 2, 4 · `learner.rs` rule 5 · `read.rs` · `recovery.rs`
//! opening and the durability ghost · `rules.rs` the sentences · `invariants.rs`.
//!
//! Absent rooms: `election`, `replication` (one slot, no leader), `snapshot` (one value needs none), `membership` (the
//! members are fixed at founding: one decision cannot also decide who decides; changes and transfers are refused as
//! unsupported).
//!
//! # Liveness
//! With f of 2f + 1 acceptors down at most (or, with flexible sizes, both quorums up), once messages arrive and one proposer is
//! left alone for four delays and two writes, the value is chosen. Every live member learns it within two inquiry
//! periods more.

mod acceptor;
mod ballot;
mod config;
mod invariants;
mod learner;
mod message;
mod proposer;
mod read;
mod record;
mod recovery;
mod replica;
pub mod rules;
#[cfg(test)]
mod twin;

pub use ballot::{Ballot, Proposal};
pub use config::{AcceptedTo, Config, QuorumSizes};
pub use invariants::{check_chosen_is_safe, check_known_is_chosen};
pub use message::Message;
pub use record::{NoAnchor, Record};
pub use replica::{Paxos, Timer};
