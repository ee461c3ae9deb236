//! Random runs: a seed decides a configuration, a workload and a storm of faults; what was promised is checked.

mod callers;
mod campaign;
mod judge;
mod plan;
mod run;
mod storm;
mod subject;

pub use campaign::{Campaign, CampaignReport, Progress, run_campaign};
pub use judge::ReadSeen;
pub use plan::{FaultClass, Plan};
pub use run::{Options, Report, SeedViolation, run_seed};
pub use subject::{Pace, Subject};
