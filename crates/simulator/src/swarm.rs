//! Random runs: a seed decides a configuration, a workload and a storm of faults; what was promised is checked.

mod aftermath;
mod callers;
mod campaign;
mod history;
mod judge;
mod keyspace;
mod lease_book;
mod lessees;
mod operator;
mod partial_links;
mod plan;
mod protocols;
mod rehearsal;
mod run;
mod sessioners;
mod settings;
mod shard;
mod shrink;
mod steering;
mod storm;
mod strikes;
mod subject;
mod watchers;

pub(crate) use aftermath::Aftermath;
pub use campaign::{Campaign, CampaignReport, FailedSeed, Progress, run_campaign};
pub(crate) use history::History;
pub use plan::{FaultClass, Leases, Mix, Plan, Sessions};
pub use rehearsal::{Call, Rehearsal, Request, rehearse};
pub(crate) use run::new_world;
pub use run::{Options, Report, SeedViolation, run_plan, run_seed};
pub use shard::Shard;
pub use shrink::{Shrunk, shrink_seed};
pub use steering::{Guidance, Steering};
pub use subject::{Judged, Meaning, Pace, Standing, Subject, Versioned};
