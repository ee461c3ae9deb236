//! Zab as a deterministic value.
//!
//! A primary orders transactions and broadcasts them; when it is lost, another one is elected that has everything committed, and
//! followers are brought to its history before it goes on. [`Broadcast`] is one configuration with fixed members; [`Zab`] is the whole
//! protocol, whose members change by stop-sign ([`quorate_succession`]).
//!
//! # Sources
//! *Zab: High-performance broadcast for primary-backup systems* (2011); *ZooKeeper's atomic broadcast protocol: Theory and practice*
//! (2012); the published description of Zab 1.0 and its formal models; members: *Reconfiguring a State Machine* (2010).
//!
//! | ours | theirs |
//! |---|---|
//! | history, [`Log`] | history, transaction log |
//! | [`Vote`], [`Message::Notification`] | vote, notification of fast leader election |
//! | [`FollowerWord::Cepoch`], [`LeaderWord::NewEpoch`], [`FollowerWord::AckEpoch`] | FOLLOWERINFO, LEADERINFO, ACKEPOCH |
//! | [`LeaderWord::Diff`], [`LeaderWord::Truncate`], [`LeaderWord::Snapshot`] | DIFF, TRUNC, SNAP |
//! | [`LeaderWord::NewLeader`], [`LeaderWord::UpToDate`] | NEWLEADER, UPTODATE |
//! | established | the leader of an epoch whose NEWLEADER a quorum acknowledged |
//! | learner | observer |
//! | `committed`, `decided` | committed; delivered to the state machine |
//!
//! # Zxids and slots
//! A slot is a place in the history, counted through all configurations. A transaction carries its zxid, `epoch << 32 | counter`
//! ([`Zxid::number`]); a slot and its zxid together are a [`Mark`]. The first transaction behind the slot that the configuration
//! begins behind is (e, 1), each next one of the same epoch counts on, and the first of a later epoch is (e', 1). Epochs begin
//! anew with each configuration, so a zxid is ordered as (configuration, zxid). Two histories of one configuration that share a mark are the same up to
//! it: a primary makes one history, and whoever takes its transactions took what lies before them first.
//!
//! # Rules
//! Phase 0, election: 1. enter with a round one higher and a vote for oneself; 2. adopt later rounds and better votes; 3. with a quorum
//! for the vote wait a little, then lead or follow; 4. join a leader that leads already. Phase 1, discovery: 5. CEPOCH; 6. an epoch above
//! all promises of a quorum, and an established leader resigns when somebody has promised a later one; 7. promise it, durably; 8. nobody
//! in the quorum has a better history. Phase 2, synchronisation: 9. DIFF, TRUNC or SNAP against the whole history, then what is lacking, then
//! NEWLEADER; 10. the history durable, then the epoch, then its acknowledgement; 11. a quorum of those commits the initial history. Phase 3,
//! broadcast: 12. propose; 13. acknowledge what is durable; 14. commit with a quorum; 15. deliver in order.
//!
//! # Messages
//! | message | from, to | durable first |
//! |---|---|---|
//! | notification | anybody to anybody | nothing: votes are hints |
//! | cepoch | follower to leader | nothing |
//! | new-epoch | leader to follower | its own promise of the epoch |
//! | ack-epoch | follower to leader | the promise, and the history it names |
//! | diff, truncate, snapshot, proposal | leader to follower | that the epoch is its own; its own write of a proposal goes on meanwhile |
//! | received | follower to leader | nothing: for pacing |
//! | new-leader | leader to follower | that the epoch is its own |
//! | ack-new-leader | follower to leader | the history, and then the epoch |
//! | up-to-date, commit, ping, confirm | leader to follower | nothing |
//! | ack | follower to leader | the epoch and the transactions |
//! | pong | follower to leader | the promise; it names what is durable |
//! | connection-closed, committed, read-index, read-answer | | nothing |
//!
//! What goes between a follower and its leader is in a [`Connection`]; `connection.rs` says how that makes up for the network.
//!
//! # Invariants
//! Checked after every settle unless marked *deep*; one function each in `invariants.rs`.
//! 1. `MarksInOrder`: durably applied <= applied <= decided <= committed <= end of the history, and decided is durable.
//! 2. `EpochOrder`: currentEpoch <= acceptedEpoch, and the history is of no later epoch.
//! 3. `OneLeaderPerEpoch`: from its election on a leader's currentEpoch is the epoch it promised itself.
//! 4. `PrimaryIntegrity`: a leader's proposals are its epoch's, from the first on, and begin when its initial history is committed.
//! 5. `StopSignFinal`: a leader proposes nothing above a stop-sign it proposed or inherited; no history has anything there.
//! 6. `LocalPrimaryOrder` (*deep*): zxids in the history leave nothing out. With 4 this is `GlobalPrimaryOrder` too.
//! 7. `AcknowledgedIsSent` (*deep*): a leader counts nobody for what it was not sent in this connection.
//! 8. `SumsAreRight` (*deep*): what is counted as undecided weighs what the history has behind the committed mark.
//!
//! `Integrity`, `TotalOrder` and `AckImpliesDurable` concern several nodes: the testbed, the conformance suite and the explorer check them.
//!
//! # Where we depart from the texts, and why that is safe
//! - **Connections may reorder and lose**: what the leader says is numbered, and taken in order; a loss costs a new connection to the same
//!   leader, not an election. Answers need no order: what they claim is durable for as long as the connection lasts.
//! - **Acknowledgements are cumulative**, and a pong repeats them: an ACK means everything before it, by the follower's one stream of writes.
//!   It means NEWLEADER's acknowledgement too, for that came before it there.
//! - **A node that joins counts itself** among those who name the leader (rule 4), so a lone follower of a lone leader gets back to
//!   it without an election. Phase 0 only proposes; phase 1 decides.
//! - **Who follows a leader since whatever round names it** (rule 4): a late word may have brought it there, and it says that round for as
//!   long as that leader leads.
//! - **A worse vote of the same round is answered** (rule 2): whoever began to look later did not hear the better one while it followed.
//! - **Whose vote all voters share does not wait** for a better one (rule 3): there can be none in that round.
//! - **A follower that lacks the target of TRUNC** gives up what lies above it and joins again, which gives it a DIFF, or SNAP if the leader
//!   no longer holds what it then needs. No history of a correct run asks for that (rule 9).
//! - **SNAP is no part of the stream**: the leader says that one comes, the driver sends it, and the follower joins again with what it holds then.
//! - **An election leaves the known commits standing**: they are facts, and nothing beyond them is applied.
//! - **Whoever hears of a committed mark that is in its history may deliver** up to it, with or without a leader ([`Message::Committed`], the last
//!   word of a configuration): histories that share a mark are the same up to it.
//! - **Leadership can be handed to somebody named** (`handover.rs`): the leader gives that one a history better than all others', resigns, and
//!   votes for it. What the others lack is not committed by that, and who votes for whom is only a hint to phase 1.
//! - **Reads** at any node that must be fresh are a sync: the leader's commit mark, confirmed by a quorum (`read.rs`). Reads of
//!   the local state are the machine's.
//!
//! # Map
//! | file | what |
//! |---|---|
//! | `replica.rs` | the state, and a `step` that only dispatches |
//! | `election.rs` | phase 0 |
//! | `discovery.rs`, `synchronisation.rs`, `broadcast.rs` | phases 1 to 3, at both ends |
//! | `following.rs`, `leading.rs` | a follower's connection; a leader's followers, pings, and when to stop |
//! | `handover.rs` | leadership goes to somebody named |
//! | `connection.rs` | channels that deliver in order or are given up |
//! | `durability.rs` | what completed writes prove, and what a message claims |
//! | `deciding.rs`, `snapshot.rs` | decided, applied, compacted; snapshots |
//! | `read.rs` | linearizable reads |
//! | `heir.rs` | what the succession of configurations needs |
//! | `recovery.rs` | opening from records |
//! | `log.rs`, `zxid.rs` | the history |
//! | `message.rs`, `wire.rs`, `record.rs`, `config.rs` | what goes over the wire, onto disk, and into the settings |
//! | `rules.rs`, `invariants.rs`, `status.rs` | what is reported, checked, shown |
//! | `picture.rs` | the whole replica as bytes, for recordings |
//!
//! Absent: observers that are told only what is committed, weights and groups of voters, witnesses.

mod broadcast;
mod config;
mod connection;
mod deciding;
mod discovery;
mod durability;
mod election;
mod following;
mod handover;
mod heir;
mod invariants;
mod leading;
mod log;
mod message;
mod picture;
mod read;
mod record;
mod recovery;
mod replica;
pub mod rules;
mod snapshot;
mod status;
mod synchronisation;
mod wire;
mod zxid;

pub use config::Config;
pub use connection::Connection;
pub use log::Log;
pub use message::{FollowerWord, LeaderWord, Message, Standing, Vote};
pub use record::{Anchor, Record};
pub use replica::{Broadcast, Timer};
pub use zxid::{Mark, Payload, Txn, Zxid};

/// The whole protocol: configurations that succeed each other.
pub type Zab = quorate_succession::Succession<Broadcast>;
