//! The lab: the code that serves, on virtual time or in every order there is, and told in words.

mod campaign;
mod check;
mod compare;
mod explain;
mod explore;
mod protocol;
mod simulate;

pub use check::{CheckArguments, check};
pub use compare::{CompareArguments, compare};
pub use explain::{DecideArguments, ExplainArguments, decide, explain};
pub use explore::{ExploreArguments, explore};
pub use simulate::{SimArguments, sim};
