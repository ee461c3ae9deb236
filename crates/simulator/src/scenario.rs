#![doc = include_str!("scenario/language.md")]

mod decide;
mod parse;
mod run;
mod script;
mod subject;

pub use decide::{DecideReport, decide};
pub use parse::ScenarioError;
pub use run::{ScenarioFailure, ScenarioReport};
pub use script::Scenario;
pub use subject::SingleValue;

/// The scenario language, as text for people.
pub const LANGUAGE: &str = include_str!("scenario/language.md");
