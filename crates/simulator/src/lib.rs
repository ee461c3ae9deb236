//! Whole clusters on virtual time: network, disks, clocks, clients and faults, all from one seed.
//!
//! A [`World`] runs unmodified [`quorate_node::Node`]s, the same type that the server runs, on one queue of events. The same
//! configuration, seed and calls give the same run, on every machine and in every build; [`Transcript::hash`] tells
//! whether two runs were the same. Messages travel as checksummed bytes and are decoded at the receiver; disks are
//! [`quorate_disk::model::ModelDisk`]s that lose, tear and reorder whatever was not flushed; recovery is the node's own.
//!
//! # Three ways to use it
//! - **By hand**: make a [`WorldConfig`] and a [`World`], then submit, crash, cut, hold, fire and look. Between any two events
//!   everything can be done to it. Scenario scripts do the same from a file ([`scenario`]).
//! - **At random**: [`swarm::run_seed`] draws a cluster, a workload and a storm of faults from a seed and judges the run;
//!   [`swarm::run_campaign`] does it for many seeds. Any protocol that is a [`swarm::Subject`] and any state machine that
//!   is [`swarm::Judged`] can be run. A state machine that is nothing of the kind can be, too: [`swarm::rehearse`] leaves it to
//!   its owner what clients ask and whether the answers are right.
//! - **For latencies**: on links of exact latency a run of instant nodes and disks lands exactly on what arithmetic
//!   predicts, and [`World::traffic`] counts what it cost. `crates/compare` puts protocols side by side in that way.
//!
//! # What is always checked
//! `Agreement` (equal digests behind equal slots, over all nodes and incarnations), `AppliedInOrder`, `ElectionSafety`, `Monotone`
//! (era and commit mark within an incarnation; durable era, checkpoint and incarnation over restarts), the node's and the replica's own
//! invariants, `AnsweredOnce`, `StartsFromItsDisk` (a node may refuse to start only if somebody damaged what it had
//! synced), `WireRoundTrip`; and, as often as [`Checks`] says, the replica's deep invariants and the `DurabilityGhost`. The first
//! broken promise stops the world.
//!
//! # What goes wrong
//! Everything that is done to a world is an [`Act`]: crashes at drawn moments, killed processes, pauses, clocks that drift, jump
//! and stand still, links that lose, repeat, overtake, damage, clog, flap and replay, partitions of every shape, disks that are
//! slow, stall, fail, fill up, rot, lose or misdirect writes, and nodes that come back with empty disks or an older copy. What
//! is beyond a disk's promises hits a minority at most, which may then refuse to start and is out of service ("stop, never lie");
//! one run in seven drops that bound, and then all may stop and still none may lie. Damage spares the newest flushes of a
//! journal: until something later vouches for them, it passes for a torn write (decision 0009). Peers refuse a node that
//! comes with another disk or an older one, as the real transport does.
//!
//! A random run also compares what one node counts on with what the others have (`swarm/trust.rs`): `ElectedByQuorum`,
//! `HeardIsThere`, `MatchedIsThere`, `DecidedByQuorum`, `DecidedIsKept`, `NormalLogAgree`, `LeaseExclusive`, and `AnsweredInTime`
//! (`world/promises.rs`); and once it is quiet checks `LiveAfterHeal`, `Validity`, `AtMostOnce`, `NoLoss`,
//! `DefiniteMeansNever`, `ReadsSomePast`, `MonotonicReads` and `Linearizable`; of leases `NoEarlyExpiry`,
//! `NoRenewalAfterTheEnd`, `KeysGoWithTheirLease` and `LeasesEnd`; of clients' sessions `SameReply` and `FifoPerClient`; of watchers `Watch`: every event once, whole and in order.
//!
//! # Map
//! `world.rs` and `world/`: [`World`] (`boot` starts and crashes, `processing` a node at work, `delivery` messages, `disks` writes
//! under way, `clients`, `acts` and `control` what scripts may do, `damage` disks that break their promises, `steering` who leads and who belongs, `doorman` who is let
//! in, `promises` what is checked, `traffic` what it cost). `network.rs`, `latency.rs`, `clock.rs`,
//! `queue.rs`, `random.rs`: its parts. `act.rs`: faults as data. `transcript.rs`, `marks.rs`: what is known of a run. `swarm/`: random runs (`plan` what a
//! seed decides, `storm`, `strikes` and `depositions` faults, `steering` and `operator` leaders and members, `callers` clients, `lessees` and
//! `lease_book` leases, `sessioners` and `pipeliners` clients' sessions, `watchers` watches, `history` what they saw, `trust` what nodes count on of each other, `aftermath` and
//! `last_lease` when the faults are over,
//! `judge` the verdict, `run` one seed, `campaign` many, `shrink` a failing seed cut down to a script). `scenario/`: scripts.
//!
//! # What is absent
//! Transactions over several keys, watches in scripts, reads from a cache that differs from its medium, steps of the wall clock (no
//! node reads one), Byzantine nodes.

mod act;
mod clock;
mod latency;
mod marks;
mod network;
mod queue;
mod random;
pub mod scenario;
pub mod swarm;
mod transcript;
mod world;

pub use act::{Act, Ask, Deed, Malfunction, Moment, Wish};
pub use clock::Clock;
pub use latency::Latency;
pub use marks::{Mark, Marks};
pub use network::{Fate, FilterRule, Flight, Link};
pub use queue::EventQueue;
pub use random::{Chance, Random};
pub use transcript::{Keep, Transcript};
pub use world::{
    Batching, BrokenPromise, Checks, DiskModel, GuardCounts, OperationId, OperationResult, Outcome, Sent, Traffic,
    World, WorldConfig,
};
