//! Changes of the members by stop-sign, around any protocol of fixed members.
//!
//! A protocol that implements [`Heir`] runs one configuration: fixed members, from a decided prefix on, until it decides a
//! *stop-sign* that names the members of the next. [`Succession`] is the [`quorate_protocol::Replica`] around it: it closes a
//! configuration when its stop-sign is decided, opens the next as a fresh replica behind that slot, tells those who missed it, and
//! serves them the snapshot they need. Configurations are numbered from 1; slots go on counting through all of them.
//!
//! # Sources
//! *Reconfiguring a State Machine* (Lamport, Malkhi and Zhou, 2010), the stop-sign of section 5.
//!
//! # Rules
//! 1. **Closing.** The stop-sign is the last decision of its configuration. Whatever was accepted above it, even chosen, is void.
//! 2. **Opening.** A member opens a configuration once, durably, before it says anything in it, as a fresh replica: nothing
//!    promised, accepted or voted. The leader that closed, if a member, campaigns at once.
//! 3. **Telling.** Every node that has a configuration open tells its members so, until a quorum of it (the largest kind) has it
//!    durably. Who left is told then, and not before: until then it may be needed to find the stop-sign again. The news carries
//!    the [`Heir::last_word`] of the configuration before, so that a peer which lacks nothing but the news decides the stop-sign
//!    itself and needs no snapshot.
//! 4. **Messages** carry their configuration. One of a closed configuration is answered with the news and nothing else;
//!    one of a later configuration is not looked at, and answered with [`Body::Behind`].
//! 5. **Missed it.** A member fetches any snapshot that reaches the configuration, or a later one: it has promised nothing
//!    there. A node that is no member retires.
//! 6. **Retiring.** A node that left stays until a quorum of the next configuration has it durably, for it may be needed to serve it.
//!
//! # Learners
//! Feeding members that do not vote is the inner protocol's task, for it is the same work as feeding a follower, by the same
//! marks. Deciding that one becomes a voter is done here, as that is another stop-sign: `Joining` members that keep up
//! ([`Heir::keeps_up`]) are promoted together, looked at once per succession interval by the leader.
//!
//! # Eras
//! Ballots, views and epochs start anew in each configuration and are ordered as (configuration, era): the era told to the driver has
//! the configuration in its upper 32 bits.
//!
//! # What is durable
//! | record | when |
//! |---|---|
//! | [`Record::Configuration`] with the first records of the replica inside | before its first message in that configuration |
//! | [`Record::Within`] | when the replica inside asks, under the same ticket |
//!
//! The records of a closed configuration stay until the replica inside compacts behind the stop-sign: after a crash whatever of them the
//! store has not applied is decided again from there ([`Heir::stored_log`]).
//!
//! # Invariants
//! 1. `OneConfiguration`: a replica runs inside exactly where this node is a member of the newest configuration it knows.
//! 2. `TicketsOneToOne`: a write asked for inside has the same ticket outside.
//! 3. `DecidedBehind`: nothing is decided before the slot that the configuration begins behind, unless a snapshot is being
//!    installed.
//! 4. Those of the replica inside.
//!
//! # Map
//! | file | what |
//! |---|---|
//! | `heir.rs` | what a protocol must offer |
//! | `replica.rs` | the state, and a `step` that only dispatches |
//! | `inside.rs` | inputs handed in, outputs handed on |
//! | `closing.rs` | a stop-sign decided; a configuration opened; telling; retiring |
//! | `receiving.rs` | messages of this, of closed and of later configurations |
//! | `snapshot.rs` | views for those who missed a configuration; jumping with one that arrived |
//! | `membership.rs` | wishes judged, learners promoted, whom to reach |
//! | `recovery.rs`, `restored.rs` | opening from records; those of a cluster that begins with a state it was given |
//! | `stored_log.rs` | a stopped replica's records, as a log to look at |
//! | `message.rs`, `record.rs`, `rules.rs` | what goes over the wire, onto disk, into the trace |
//! | `picture.rs` | the whole replica as bytes, for recordings |

mod closing;
mod heir;
mod inside;
mod membership;
mod message;
mod picture;
mod receiving;
mod record;
mod recovery;
mod replica;
mod restored;
pub mod rules;
mod snapshot;
mod stored_log;

pub use heir::Heir;
pub use message::{Body, Message};
pub use record::{Anchor, Record, Way};
pub use replica::Succession;
