//! The seam every consensus protocol is written against.
//!
//! A protocol is a [`Replica`]: a value that is told what happened ([`Input`]) and says what it wants
//! done ([`Output`]), and that never performs input or output itself. The same value is driven by the
//! production runtime, by the simulator, by the explorer and by the picture a person looks at.
//!
//! # A driver's duties
//! 1. Recover the [`Durable`] state (nothing, for a fresh node) and call [`Replica::open`]. There is no
//!    other constructor.
//! 2. Hand over inputs one by one with [`Replica::step`], then call [`Replica::settle`] once. Inputs are
//!    dequeued first; only then is the clock read that [`Env::now`] answers with.
//! 3. Carry out the outputs in order:
//!    - `Persist` and `Compact` are one ordered stream of durable writes. When the write of a ticket is
//!      durable, so is every earlier one; say so with [`Input::Persisted`]. A failed write or flush is a
//!      crash, not an input.
//!    - `Send` waits in a [`Gate`] until its `after` ticket is durable. A crash drops what the gate holds.
//!      The network may lose, repeat, delay and reorder.
//!    - `SetTimer` replaces the deadline of a timer of that name; the driver draws it in
//!      `[at_least, at_most]`. A timer fires once. A fired or cancelled timer is never delivered later,
//!      nor a deadline that an input of the same batch has moved ([`Outbox::has_moved`]).
//!    - `Decide` and `ReadAt` go to the machine in order; it answers with [`Input::Applied`].
//! 4. After every settle call [`Replica::check_invariants`]; a violation stops the node.
//!
//! # What a replica owes
//! `step` is total: bad or stale input is traced and dropped, never a panic. Nothing becomes unsafe or stuck
//! because `settle` comes late. All state is `Clone + Eq + Hash`; no clock reading is kept outside lease code
//! and no chance is taken outside [`Env::choose`]. Every grant, refusal, advance and hold is reported as an
//! [`Event`] that carries the rule, the values its guard saw and the votes behind it.

pub mod conformance;
mod event;
mod gate;
mod input;
mod landmarks;
mod lease;
mod led_reads;
mod outbox;
mod output;
mod pending;
mod read_queue;
mod replica;
mod status;
mod stored;
mod tape;
pub mod testbed;

pub use event::{Event, Rule, Value, Verdict};
pub use gate::Gate;
pub use input::{Batch, Footprint, Input, LinkState, ReadToken, RequestId, SnapshotId, TransferOutcome};
pub use landmarks::Landmarks;
pub use lease::{Lease, LeaseReads};
pub use led_reads::{LedReads, ReadLimits};
pub use outbox::Outbox;
pub use output::{Decision, LEARNER_NOT_IN_SYNC, MembersChange, Output, Refusal, Refused, TRANSFER_IN_VAIN};
pub use pending::Pending;
pub use read_queue::{Admission, AskedReads, ReadQueue, ReadRound, WaitingRead, round_answered_by};
pub use replica::{Durable, Env, OpenError, Replica, Setup, Start, Violation};
pub use status::{PeerStatus, Role, Status, era_words};
pub use stored::{Inspectable, LogChange, Origin, Stateless, StoredConfiguration, StoredEntry, StoredLog};
pub use tape::{Picture, Recordable, Tape, Taped};
