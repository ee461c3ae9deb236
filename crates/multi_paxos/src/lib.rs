//! Multi-Paxos as a deterministic value.
//!
//! One instance of Paxos per slot, and one ballot for all of them: a leader runs phase 1 once, for every slot not known chosen,
//! and then needs only phase 2 per slot. [`Ballots`] is one configuration with fixed members; [`MultiPaxos`] is the whole protocol,
//! whose members change by stop-sign ([`quorate_succession`]).
//!
//! # Sources
//! *Paxos Made Simple* (2001), *Paxos Made Live* (2007), *Paxos Made Moderately Complex* (2015), *Flexible Paxos* (2016);
//! members: *Reconfiguring a State Machine* (2010).
//!
//! | ours | theirs |
//! |---|---|
//! | slot | instance, slot |
//! | [`Ballot`] | proposal number, ballot |
//! | [`Message::Prepare`], [`Message::Promise`] | phase 1a, 1b |
//! | [`Message::Accept`], [`Message::Accepted`] | phase 2a, 2b |
//! | `chosen`, `decided` | chosen without gaps; handed to the state machine |
//! | `trim`, [`Anchor`] | the truncation point of the log, and its checkpoint |
//!
//! # Messages
//! | message | from, to | durable first |
//! |---|---|---|
//! | prepare | candidate to voters | its own promise |
//! | promise, in parts if it is great | acceptor to candidate | the promise, and everything it reports |
//! | nack | acceptor to whoever came with a lower ballot | nothing |
//! | accept, heartbeat | leader to all | nothing: its own write goes on meanwhile |
//! | accepted | acceptor or learner to leader | promise and acceptances up to there |
//! | alive | acceptor or learner to leader | the promise; it names what is durable |
//! | chosen | anybody to anybody | nothing |
//! | need-snapshot, read-index, read-answer, take-over | | nothing |
//!
//! # Invariants
//! Checked after every settle unless marked *deep*; one function each in `invariants.rs`.
//! 1. `MarksInOrder`: durably applied <= applied <= decided <= chosen; trim <= decided, but for a snapshot being installed.
//! 2. `OneLeaderPerBallot`: who stands or leads does so in its own ballot, which it has promised.
//! 3. `StopSignFinal`: a leader proposes nothing above a stop-sign it proposed or inherited.
//! 4. `AcceptedLePromised` (*deep*): nothing is accepted in a ballot above the one promised.
//! 5. `NoGapChosen` (*deep*): everything chosen and not trimmed is in the log.
//! 6. `OneValuePerBallot` (*deep*): what a leader has not seen chosen is, in its own log, its own proposal.
//! 7. `SumsAreRight` (*deep*): what is counted as not chosen yet weighs what the log has behind the chosen mark.
//! 8. `KnownIsChosen`, over those who run, in simulator and explorer: what one has handed out, no phase-1 quorum of them would make a
//!    candidate propose otherwise ([`check_known_is_chosen`]).
//!
//! # Where we depart from the texts, and why that is safe
//! - **Acknowledgements are cumulative**: an acceptor says up to where it has everything, known chosen or accepted in the ballot.
//!   Slots may arrive in any order; a hole only delays what lies above it, which could not be decided before it anyway.
//! - **Laggards are fed by the same stream**: a leader sends what it knows chosen again in its own ballot, which phase 2 allows for
//!   a chosen value. So there is no message for catching up beside the snapshot.
//! - **A candidate that needs a snapshot stands again** in a higher ballot once it has it, instead of going on in the same one.
//! - **Whoever has promised and lost memory of what is chosen** reports acceptances that are chosen like any others.
//!
//! # Map
//! | file | what |
//! |---|---|
//! | `replica.rs` | the state, and a `step` that only dispatches |
//! | `phase1.rs` | standing, promising, inheriting |
//! | `leading.rs`, `accepting.rs` | phase 2 at the leader and at the others; what is durable and what a message claims |
//! | `deciding.rs` | decided, applied, compacted; snapshots |
//! | `read.rs`, `lease.rs` | linearizable reads, by a round or resting on clocks |
//! | `handover.rs` | leadership goes to somebody named |
//! | `heir.rs` | what the succession of configurations needs |
//! | `recovery.rs` | opening from records |
//! | `log.rs`, `ballot.rs` | what is accepted |
//! | `message.rs`, `record.rs`, `config.rs` | what goes over the wire, onto disk, and into the settings |
//! | `rules.rs`, `invariants.rs`, `status.rs` | what is reported, checked, shown |
//! | `picture.rs` | the whole replica as bytes, for recordings |
//!
//! Absent so far: thrifty sending, a vote before the ballot (so a node that was cut off deposes a leader when it is back),
//! witnesses.

mod accepting;
mod ballot;
mod config;
mod deciding;
mod handover;
mod heir;
mod invariants;
mod leading;
mod lease;
mod log;
mod message;
mod phase1;
mod picture;
mod read;
mod record;
mod recovery;
mod replica;
pub mod rules;
mod status;

pub use ballot::{Ballot, Payload};
pub use config::{Config, QuorumSizes, sizes_in_words};
pub use invariants::check_known_is_chosen;
pub use log::{Entry, Log};
pub use message::{Message, Reach, Reported};
pub use quorate_protocol::LeaseReads;
pub use record::{Anchor, Record};
pub use replica::{Ballots, Timer};

/// The whole protocol: configurations that succeed each other.
pub type MultiPaxos = quorate_succession::Succession<Ballots>;
