//! Raft as a deterministic value.
//!
//! One replicated log under one leader at a time. A leader is elected by a majority for a *term*, appends what is
//! proposed to its log, copies it to the others, and counts a slot as decided once a majority has it durably. [`Raft`]
//! implements [`quorate_protocol::Replica`]; its driver's duties are on that crate's first page.
//!
//! # Sources
//! *In Search of an Understandable Consensus Algorithm*, extended version (Ongaro and Ousterhout, 2014), cited as
//! "Raft §n"; *Consensus: Bridging Theory and Practice* (Ongaro, 2014), cited as "dissertation, n".
//!
//! | ours | theirs |
//! |---|---|
//! | slot | index; one slot holds one batch of commands |
//! | [`Entry`], [`Payload`] | log entry; its command or configuration |
//! | `term`, `voted_for` | currentTerm, votedFor |
//! | `commit`, `applied` | commitIndex, lastApplied |
//! | `decided` | between them: handed to the state machine, which runs on its own |
//! | `matched`, `next` | matchIndex, nextIndex |
//! | [`Message::PreVote`], [`Message::RequestVote`] | Pre-Vote and RequestVote RPC |
//! | [`Message::Append`], "heartbeat" without entries | AppendEntries RPC |
//! | `round`, [`Message::ReadIndex`] | the heartbeat round that confirms a readIndex |
//! | "bound" | a voter that may not vote, because a leader rests a lease on it |
//! | [`Message::TimeoutNow`] | TimeoutNow RPC of a leadership transfer |
//! | [`Anchor`], `base` | lastIncludedIndex, lastIncludedTerm and configuration of a snapshot |
//! | `SnapshotAnchor`, `SnapshotArrived` | InstallSnapshot RPC, whose bytes the driver carries |
//!
//! # Messages
//! | message | from, to | durable first, besides term and vote | source |
//! |---|---|---|---|
//! | pre-vote | campaigner to all | nothing | dissertation, 9.6 |
//! | request-vote | candidate to all | its own vote | Raft §5.2 |
//! | vote-response | voter to candidate | the vote, if granted | Raft §5.2, §5.4 |
//! | append, heartbeat | leader to all | nothing: its own write goes on meanwhile | Raft §5.3; dissertation, 10.2.1 |
//! | append-response | follower to leader | the log up to `matched` | Raft §5.3 |
//! | read-index | any node to leader | nothing | dissertation, 6.4 |
//! | read-index-response | leader to reader | nothing | dissertation, 6.4 |
//! | timeout-now | leader to the one that shall lead | nothing; that one has the whole log durably | dissertation, 3.10 |
//! | priority | preferred voter to all | nothing | ours |
//!
//! # Invariants
//! Checked after every settle unless marked *deep*; one function each in `invariants.rs`.
//! 1. `VoteOnce`: whoever stands or leads voted for itself in that term.
//! 2. `MarksInOrder`: base <= durably applied <= applied <= decided <= commit <= last; while a snapshot is being installed,
//!    decided < base <= commit instead.
//! 3. `DurableInOrder`: decided <= durable <= written <= last; no write under way claims more than was written.
//! 4. `TermsAscend` (*deep*): terms never go down along the log, nor pass the node's own.
//! 5. `NoTruncateBelowCommit`: nobody ever asked to overwrite what is committed here.
//! 6. `ProgressInLog`: of every peer, matched < next <= last + 1.
//! 7. `LeaderAppendOnly` (*deep*): the leader's no-op is where it put it.
//! 8. `ReadsAreAnswered`: a read that was forwarded waits for a leader that is known.
//! 9. `SumsAreRight` (*deep*): the weights counted are the weights of what is there.
//! 10. `ConfigurationAtAppend` (*deep*): the configuration in force is the last one in the log.
//! 11. `RoundsAscend` (*deep*): nobody answered a round that was not begun.
//! 12. `OneConfigInFlight` (*deep*): a leader appends a configuration only behind a committed entry of its own term, and only
//!     when every earlier configuration is committed.
//! 13. `ConfigurationsMeet` (*deep*): along the log any two quorums of a configuration and the next meet: from one to a joint
//!     one that has it as its old half, from a joint one to its new half, or to one with the same voters.
//! 14. `PeersAreMembers` (*deep*): a leader follows every other member, watches learners only, and says farewell to nobody who
//!     is a member; where there are witnesses it watches every other voter with data too.
//! 15. `NoLeaseWhileHandingOver`: who hands over, to another, has given its lease up; rounds remembered for leases ascend.
//! 16. `WitnessesOnlyVote` (*deep*): in no configuration, in neither half, there are more witnesses than voters with data; no witness
//!     stands or leads, or has commands in its log.
//! 17. `VotersStand`: whoever stands or leads has a vote in the configuration in force, or had one in an earlier one that its log still
//!     knows.
//!
//! Election safety, log matching, leader completeness and state machine safety speak of several nodes; the drivers that
//! hold several check them as agreement, as linearizable reads and as the durability of every claim sent.
//!
//! # Where we depart from the paper, and why that is safe
//! - **Conflict hint**: a rejection carries the greatest slot at which the logs may still meet and its term, walked back on
//!   both sides, not the first slot of the conflicting term. `next` never goes below what is known to match, so a hint can
//!   only cost time. A rejection is old by the slot it *rejects*, not by its hint.
//! - **`matched` is what is durable up to what the message spoke of**, never the follower's own last slot.
//! - **A peer that denies what it acknowledged** (its disk forgot, which nothing here allows) is asked again with heartbeats
//!   only: asking at once would go on without end at the speed of the network.
//! - **A round is answered twice** when entries come with it: at once with what is durable already, for a sign of life must
//!   not wait for a disk, and again when the entries are durable. Heartbeats that repeat an answered round only bring news
//!   of commits and are not answered.
//! - **An append of an earlier term is answered without its round**: the same node may lead a later term by now, where
//!   that round's number means something else and would confirm a read.
//! - **A leader watches its own disk**: if it finishes nothing for half an election timeout while writes are under way, leadership is
//!   handed to whoever is furthest of those that answer, though this leader could still commit on the others' disks; if
//!   nobody takes over, it steps down when an election timeout is over.
//! - **A transfer ends for certain**: with a new leader, or after an election timeout with a refusal; the request to stand is repeated with
//!   every heartbeat until then, and names the end of the leader's log, so that whoever is behind drops it.
//! - **Priorities** only choose when to hand over and how long to wait before campaigning; see `priority.rs`.
//! - **A refused connection to the leader** shortens the wait for an election, and stickiness to a heartbeat interval. Safety
//!   does not rest on stickiness unless leases are on; then the hint shortens no more than the wait behind it.
//! - **Where leases are on, stickiness is a promise**: it outlives the term it was given in, binds a node's own candidacy too, and
//!   is given anew at every opening (`lease.rs` says why each is needed).
//! - **All changes of voters are joint**, also of a single one; what leaves the set of voters as it is (names, URLs, learners) is
//!   one entry. Both configurations then have the same quorums, so it does not matter which of them a node goes by.
//! - **Rounds of catching up are counted in heartbeats**, not in time, go on without an end, and need an answer to a heartbeat:
//!   a learner is promoted when it keeps up, however late, and one that is silent is not in sync though it lacks nothing.
//! - **Who left is told.** The paper lets removed members find out by hearing nothing. Here they are sent the log until they
//!   answer that they know, for ten heartbeats at most, by the leader that ended the change and by any later one that still has
//!   the entry. They retire an election timeout after they knew, so that answers to their clients can leave.
//! - **A snapshot is judged by its anchor, not by its sender's term**: its content is decided, whoever sent it.
//! - **A snapshot whose last entry the log holds is not installed**: the log holds all it stands for (Log Matching), and goes on
//!   with its entries and configurations. So the record of one that is installed voids the whole log, and needs no look at
//!   what was before it.
//!
//! - **Witnesses** are voters that store no commands and never lead (`witness.rs` has the rules). A leader copies its log to them only
//!   when it must, and keeps nothing for them; to whom a leader sends what, and when, is nothing that safety rests on, beyond what
//!   its own disk holds.
//!
//! # Map
//! | file | what |
//! |---|---|
//! | `replica.rs` | the state, and a `step` that only dispatches |
//! | `election.rs` | pre-vote, vote, stickiness, check-quorum |
//! | `leading.rs`, `progress.rs` | proposals, replication, commit; one peer's window |
//! | `membership.rs`, `promotion.rs` | changes of the members; learners that catch up |
//! | `witness.rs` | voters without data: the rules, and what a leader sends them when |
//! | `following.rs` | appends taken, rejected, answered |
//! | `deciding.rs` | decided, applied, compacted |
//! | `snapshot.rs` | views described, transfers followed, snapshots taken or dropped |
//! | `read.rs`, `lease.rs` | ReadIndex, at the leader and forwarded; reads that rest on clocks |
//! | `transfer.rs`, `priority.rs` | leadership handed over: asked for, from a sick disk, to a preferred member |
//! | `durability.rs` | what is on disk, what waits for it, what a message claims |
//! | `recovery.rs`, `stored_log.rs`, `restored.rs` | opening from records; looking at them; writing those of a new cluster |
//! | `log.rs`, `entry.rs` | the log, its entries and the configurations it brings |
//! | `message.rs`, `record.rs`, `config.rs` | what goes over the wire, onto disk, and into the settings |
//! | `rules.rs`, `invariants.rs`, `status.rs` | what is reported, checked, shown |
//! | `picture.rs` | the whole replica as bytes, for recordings |

mod config;
mod deciding;
mod durability;
mod election;
mod entry;
mod following;
mod invariants;
mod leading;
mod lease;
mod log;
mod membership;
mod message;
mod picture;
mod priority;
mod progress;
mod promotion;
mod read;
mod record;
mod recovery;
mod replica;
mod restored;
pub mod rules;
mod snapshot;
mod status;
mod stored_log;
mod transfer;
mod witness;

pub use config::Config;
pub use entry::{Configuration, Entries, Entry, Payload};
pub use log::Log;
pub use message::{Append, AppendOutcome, Message, ReadAnswer};
pub use quorate_protocol::LeaseReads;
pub use record::{Anchor, Record};
pub use replica::{Raft, Timer};
