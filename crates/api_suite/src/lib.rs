//! One body of checks of the etcd v3 API. It runs against etcd itself and against Quorate, and both must give the same
//! answers, codes and texts; where they differ on purpose, [`differences`] says so and why.
//!
//! A case is an async function whose name is the rule it checks. It works under a key prefix of its own, so that cases
//! run side by side and on a used cluster; a case that counts revisions, compacts or raises an alarm is *exclusive* and
//! runs alone. No case relies on absolute revisions.
//!
//! # Map
//! | file | what is there |
//! |---|---|
//! | `case.rs` | [`Case`]: name, function, exclusive or not |
//! | `target.rs` | [`Target`]: the cluster as a case sees it, with requests made short |
//! | `watcher.rs` | one watch stream |
//! | `expect.rs` | what a case says it expects |
//! | `cases/` | the cases, a file for each part of the API |
//! | `runner.rs` | [`run`]: shared cases side by side, then the exclusive ones |
//! | `differences.rs` | where Quorate answers otherwise than etcd, and why |
//! | `main.rs` | the program `api-suite` |

mod case;
mod cases;
pub mod differences;
mod expect;
mod runner;
pub mod target;
mod watcher;

pub use case::Case;
pub use cases::cases;
pub use expect::{Failure, Outcome};
pub use quorate_server::proto;
pub use runner::{Verdict, run};
pub use target::Target;
