//! etcd's watches, as a deterministic value.
//!
//! A [`WatchHub`] serves every watcher of one node from the node's [`History`], the numbered changes that the store keeps
//! anyway. No event is queued per watcher: a watcher that cannot be told something now is a cursor into history, and
//! reads on from there once its stream has room. So applying writes never waits for a watcher, and memory does not grow
//! with how far anybody is behind.
//!
//! **Cohorts.** Watchers read together. The *front* cohort is at the end of history; each new change finds those of its
//! members that watch the key through a map of keys and a tree of ranges. Who starts in the past or was held up catches
//! up in one of four cohorts, by how far it is behind, so that a change is read once for many there too; a cohort that
//! reaches the front is merged into it. When a cohort has left, newcomers with older cursors wait for its next way; it makes
//! way for them when it is where the front was as it set out.
//!
//! **Room.** A stream's queue belongs to the driver, behind a [`Sink`]. A watcher whose stream has no room is *parked*.
//! When the stream has room again, the watcher that was served longest ago gets it first and alone.
//!
//! **Huge revisions** (a delete of a whole range) are not gathered for many watchers at once; each is served alone.
//!
//! Invariants, which the tests check against a slow twin:
//! 1. A watcher is told every change of its keys that it wants, from its start on, once, in order; or is cancelled with
//!    the compacted revision.
//! 2. All events of one revision come in one response, or in consecutive fragments of one.
//! 3. `created` comes first, nothing after the end of the watcher.
//! 4. A progress response with revision r comes after every wanted event up to r.
//! 5. No watcher is left behind for ever while its stream gets room again and again.
//!
//! | file | what it holds |
//! |---|---|
//! | `history.rs` | [`History`]: what is asked of the store; the keyspace is one |
//! | `request.rs`, `response.rs` | [`CreateWatch`], [`WatchResponse`], [`Sink`] |
//! | `watched_keys.rs` | etcd's rules for key and range end |
//! | `interval_tree.rs` | which ranges contain a key? |
//! | `cohort.rs` | watchers that read together |
//! | `watcher.rs`, `stream.rs` | one of each |
//! | `hub.rs` | [`WatchHub`], and the requests of clients |
//! | `places.rs` | moving watchers between front, cohorts and their stream's parking |
//! | `sweep.rs` | reading on and delivering |
//! | `advance.rs` | the division of work, and progress responses |

mod advance;
mod cohort;
mod history;
mod hub;
mod interval_tree;
mod places;
mod request;
mod response;
mod stream;
mod sweep;
mod watched_keys;
mod watcher;

pub use advance::Advanced;
pub use history::History;
pub use hub::{WatchHub, WatchStats};
pub use request::{CreateWatch, Filters, WatchLimits, spread_progress_interval};
pub use response::{EventKind, NO_WATCH, ResponseBody, Sink, StreamId, WatchEvent, WatchResponse};
