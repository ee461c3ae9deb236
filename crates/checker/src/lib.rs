//! Is a recorded history linearizable?
//!
//! Linearizable (Herlihy and Wing, 1990): every operation takes effect at one instant between its call
//! and its return. [`check`] decides it for a [`History`] of any [`Object`] (registers, lists, counters, locks, queues,
//! a store with transactions), and when the answer is no it names the smallest contradictory part in words, which
//! [`timeline`] draws. [`linearize`] decides it for any other [`Model`]. [`weaker_levels`] tells which weaker promises hold,
//! [`read_history`] reads what was recorded.
//!
//! # How
//! - Each key on its own: a history is linearizable exactly if each object's part is (locality; Horn and
//!   Kroening, 2015).
//! - Within a key the search of Wing and Gong (1993), depth first, remembering the configurations (which
//!   operations have taken effect, and the state) that led nowhere (Lowe, 2017).
//! - Reductions, proved in the source of [`linearize`]: an operation that changes nothing and is legal now is
//!   taken now; an operation of unknown outcome is taken only if the next one does not overwrite it; values
//!   that no answer can tell apart count as one.
//! - A bound on the work. Over it the verdict is [`Verdict::Unknown`], which is **not** a pass.
//!
//! # What a recorder must know
//! - Times come from one clock (simulator time, or one host's monotonic clock), never from several hosts.
//! - A return and a call at the **same time are concurrent**: calls come before returns, so an earlier
//!   operation must return strictly before a later one calls. This accepts more, never rejects wrongly.
//! - No answer (time-out, lost connection, "leader changed"): record it with `ret: None`. It may take effect
//!   at any time after its call, or never. Leaving such a *write* out is unsound: a later read may see it.
//! - A definite failure (refused before it was proposed) did not happen: leave it out.
//!
//! ```
//! use quorate_checker::{Budget, Entry, History, Object, Operation, Verdict, check};
//!
//! let key = b"k".to_vec();
//! let entry = |client, call, ret, operation| Entry { client, key: key.clone(), call, ret: Some(ret), operation };
//! let history = History::new(vec![
//!     entry(1, 0, 10, Operation::Write { value: b"1".to_vec() }),
//!     entry(2, 20, 30, Operation::Read { found: None }),
//! ])?;
//! let Verdict::Violation { explanation, .. } = check(&history, Object::Register, &Budget::default()) else { panic!() };
//! assert_eq!(
//!     explanation.sentence,
//!     "client 2 found nothing (20..30), but client 1's write of \"1\" had returned at 10 and nothing removed it since"
//! );
//! # Ok::<(), quorate_checker::HistoryError>(())
//! ```

mod check;
mod configuration;
mod explain;
mod format;
mod history;
mod holds;
mod levels;
mod model;
mod moment;
mod objects;
mod plan;
mod search;
mod shrink;
mod slots;
mod timeline;
mod transaction;
mod visited;
mod witness;

pub use check::{Budget, UnknownReason, Verdict, check, check_while};
pub use explain::Explanation;
pub use format::{Format, ReadError, Recorded, read_history};
pub use history::{Entry, History, HistoryError, Operation};
pub use levels::{Level, Outcome, weaker_levels};
pub use model::{Call, Model, Shortcut};
pub use objects::{
    ABSENT, Counter, CounterOperation, Lock, LockOperation, LockState, Object, ObjectError, Register,
    RegisterOperation, ValueId,
};
pub use search::{Linearization, linearize};
pub use timeline::timeline;
pub use transaction::{Compare, Relation, Step, Target, Transaction};
