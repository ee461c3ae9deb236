//! Viewstamped Replication Revisited as a deterministic value.
//!
//! One replicated log under one *primary*, which is not elected: voters take turns, view by view. A backup that hears nothing
//! of its primary leaves its view; when q others do too, the primary of the next one takes the longest log of the latest view
//! that was normal anywhere among them, and begins. [`Viewstamped`] implements [`quorate_protocol::Replica`]; its driver's duties
//! are on that crate's first page.
//!
//! # Sources
//! *Viewstamped Replication Revisited* (Liskov and Cowling, 2012), cited as "VRR §n"; *Recovering Shared Objects Without Stable
//! Storage* (Michael et al., 2017) for what is wrong with recovery without disks.
//!
//! | ours | theirs |
//! |---|---|
//! | slot; one slot holds one batch of commands | op-number |
//! | [`View`]: epoch and number | epoch-number and view-number |
//! | `last_normal` | the last view in which the status was normal |
//! | `commit` | commit-number |
//! | `Stage::{Primary, Backup, Changing, Leaving}` | status normal (primary or backup), view-change, transitioning |
//! | [`Message::Prepare`], without entries | Prepare, Commit |
//! | [`Message::StartEpoch`] | StartEpoch and NewEpoch |
//! | sessions of the machine | client table |
//! | [`Entry::Reconfiguration`] | Reconfiguration request |
//! | q = floor(n/2) others and oneself | f others |
//!
//! # Messages
//! | message | from, to | durable first, besides the sender's view | source |
//! |---|---|---|---|
//! | prepare, commit | primary to all | nothing: its own write goes on meanwhile | VRR §4.1 |
//! | prepare-ok | backup to primary | the log up to `through` | VRR §4.1 |
//! | start-view-change | voter to voters | nothing | VRR §4.2 |
//! | do-view-change | voter to the new primary | the log in it | VRR §4.2 |
//! | start-view | new primary to all | the log in it | VRR §4.2 |
//! | get-state, new-state | whoever lacks something to who may have it, and back | nothing | VRR §4.3 |
//! | start-epoch, epoch-started | between members of successive epochs | the epoch | VRR §7.1 |
//! | read-index, read-index-response | backup to primary and back | nothing | ours |
//!
//! # Invariants
//! Checked after every settle unless marked *deep*; one function each in `invariants.rs`.
//! 1. `LastNormalLeView`: `last_normal <= view`, and equal where the view is normal.
//! 2. `MarksInOrder`: base <= durably applied <= applied <= decided <= commit <= last; while a snapshot is being installed,
//!    decided < base <= commit instead.
//! 3. `DurableInOrder`: decided <= durable <= written <= last.
//! 4. `LedByItsPrimary`: who leads a view is the one whose turn it is, and nobody follows itself.
//! 5. `ProgressInLog`: of every peer, matched < next <= last + 1.
//! 6. `ReconfigurationIsLast` (*deep*): nothing follows a reconfiguration in its epoch.
//! 7. `EpochOfView` (*deep*): the configuration in force is that of the view's epoch.
//! 8. `OffersAreOfTheEpoch` (*deep*): offers are voters', of views before the one they are for.
//! 9. `SumsAreRight` (*deep*): the weights counted are the weights of what is there.
//! 10. `PeersAreMembers` (*deep*): a primary follows every other member, and says farewell to nobody who is one.
//! 11. `CommittedIsOffered`: the log that a view begins with has everything that anybody who offered knew committed.
//!
//! That a replica which left a view never acknowledges in it again, over restarts too, is checked from outside, as the durability
//! of every claim sent.
//!
//! # Where we depart from the paper, and why that is safe
//! - **Views and log are durable** before anything that rests on them is said. The paper's recovery (VRR §4.3, a nonce and no
//!   disks) lets a replica rejoin a view that its earlier self had left, and so lose what was committed; it is not here.
//! - **A primary never resumes its view** after a restart: what it sent and had not written lives on at backups, whose
//!   acknowledgements would count for something else.
//! - **State transfer leaves the log alone** until all that replaces it is there; then view and log change in one write.
//! - **A start-view of the present view is taken only between views**; the paper's plain "v >= mine" lets a repeated one cut
//!   off what a normal backup acknowledged since.
//! - **q others, not f**: for even n, f others and oneself are no majority.
//! - **Logs travel from the receiver's commit mark on**, which start-view-change tells; below it all logs agree.
//! - **Who is alone with its wish for another view repeats it** and does not count views up.
//! - **A snapshot stands for the front of the log and what is behind it stays**, for it may have been acknowledged; and a backup
//!   whose log ends before it asks for its view's log before it answers again.
//! - **To a replica that joins an epoch, what is committed will do**, whoever says it, in whichever stage: it enters the epoch's first
//!   view with that. It promised nothing in the epoch, so every quorum that acted there acted without it. What such a replica, or one
//!   that restarts behind a snapshot, acknowledges in a view that was over when it came proves nothing and harms nothing: every
//!   quorum that could count it holds another member that left the view having said the truth.
//! - **A leaver goes only when a quorum has begun**, one that was left behind without knowing why too: start-epoch says whether it has.
//! - **An epoch may be ended once more.** Who knows that a later one has begun and finds nobody that has its log turns back after a
//!   while and changes views in its own, which is safe, as it promised nothing in the later one. Members of an epoch in between get
//!   its log for that.
//! - **Every change of the members is an epoch**, of learners too. Who begins to vote must have kept up as a learner; one that is
//!   added as a voter from nothing holds the epoch up until it has the log, if its vote is needed.
//! - **Leadership is transferred by a view change** to the next view whose turn it is.
//! - **A group of any size**: one or two voters tolerate no fault, and are served all the same.
//!
//! # Map
//! | file | what |
//! |---|---|
//! | `replica.rs` | the state, and a `step` that only dispatches |
//! | `normal.rs` | proposals, prepares, acknowledgements, commit |
//! | `view_change.rs` | leaving a view, offering, beginning, entering |
//! | `state_transfer.rs` | asking for what is missing, giving it |
//! | `epoch.rs` | changes of the members, leaving, transfer of the lead |
//! | `read.rs` | linearizable reads |
//! | `deciding.rs`, `snapshot.rs` | decided, applied, compacted; snapshots |
//! | `durability.rs`, `recovery.rs` | what waits for the disk; opening |
//! | `stored_log.rs`, `restored.rs` | a stopped replica's records, as a log to look at; those of a cluster that begins with a state |
//! | `log.rs`, `entry.rs`, `view.rs` | the log, its entries, views and configurations |
//! | `message.rs`, `record.rs`, `config.rs` | what goes over the wire, onto disk, and into the settings |
//! | `rules.rs`, `invariants.rs`, `status.rs` | what is reported, checked, shown |
//! | `picture.rs` | the whole replica as bytes, for recordings |
//!
//! | `twin.rs`, `twin/` | for tests: the paper's recovery and its state transfer, which lose what was committed |
//!
//! Absent: lease reads, witnesses, and recovery with a nonce but for that demonstration.

mod config;
mod deciding;
mod durability;
mod entry;
mod epoch;
mod invariants;
mod log;
mod message;
mod normal;
mod picture;
mod read;
mod record;
mod recovery;
mod replica;
mod restored;
pub mod rules;
mod snapshot;
mod state_transfer;
mod status;
mod stored_log;
#[cfg(test)]
mod twin;
mod view;
mod view_change;

pub use config::Config;
pub use entry::{Entries, Entry};
pub use log::Log;
pub use message::Message;
pub use record::{Anchor, Record};
pub use replica::{Timer, Viewstamped};
pub use view::{Configuration, View};
