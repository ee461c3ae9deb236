//! Random runs: a seed decides a configuration, a workload and a storm of faults; what was promised is checked.

mod callers;
mod campaign;
mod judge;
mod keyspace;
mod plan;
mod protocols;
mod run;
mod settings;
mod storm;
mod strikes;
mod subject;

pub use campaign::{Campaign, CampaignReport, FailedSeed, Progress, SEEDS_FOR_MARKS, run_campaign};
pub use plan::{FaultClass, Mix, Plan};
pub use run::{Options, Report, SeedViolation, run_plan, run_seed};
pub use subject::{Judged, Meaning, Pace, Subject, Versioned};
