#![doc = include_str!("scenario/language.md")]

mod acts;
mod decide;
mod decree;
mod parse;
mod run;
mod script;
mod words;
mod write;

pub(crate) use write::Then;

pub use decide::{DecideReport, decide};
pub use decree::SingleValue;
pub use parse::ScenarioError;
pub use run::{ScenarioFailure, ScenarioReport};
pub use script::Scenario;

/// The scenario language, as text for people.
pub const LANGUAGE: &str = include_str!("scenario/language.md");
