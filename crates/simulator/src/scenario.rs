//! Scenarios: scripts that are at once test, demo and lesson.
//!
//! A scenario is a text of lines. Empty lines and what follows `#` mean nothing. Settings come first, one a line; then steps,
//! carried out in order. Durations are written `250us`, `10ms`, `2s`; nodes `n1`, `n2`, ...
//!
//! | setting | meaning | default |
//! |---|---|---|
//! | `title TEXT` | what it shows | |
//! | `protocol raft` or `paxos` | what runs | `raft` |
//! | `nodes N` | how many voters | 3 |
//! | `seed N` | for whatever is drawn | 1 |
//! | `latency D` | one way between any two nodes | `1ms` |
//! | `flush D` | each disk flush | `0ms` |
//! | `heartbeat D`, `election-timeout D` | Raft's timers | `50ms`, `500ms` |
//! | `entries-per-append N` | Raft: at most so many entries in one message | no limit |
//! | `timers manual` | no timer fires but by `fire` | `automatic` |
//!
//! | step | meaning |
//! |---|---|
//! | `run D` | let time pass |
//! | `settle` | run until no message is under way and no disk works |
//! | `run until leader [n1]` | until somebody (n1) leads and takes proposals, at most 30 s |
//! | `run until ended NAME` | until that call has ended |
//! | `fire n1 TIMER` | let a timer come due now, such as `election` |
//! | `put n1 KEY VALUE as NAME`, `delete n1 KEY as NAME` | a client at n1 writes |
//! | `get n1 KEY as NAME`, `peek n1 KEY as NAME` | a client at n1 reads, linearizably or locally |
//! | `propose n1 VALUE as NAME` | Paxos: a client at n1 proposes |
//! | `crash n1`, `restart n1` | memory and unflushed writes are gone; start from the disks |
//! | `pause n1`, `resume n1` | suspend the process |
//! | `hold-disk n1`, `release-disk n1` | nothing written completes meanwhile |
//! | `cut n1 -> n2`, `cut n1 -- n2`, `join n1 -> n2`, `join n1 -- n2` | one direction, or both |
//! | `partition n1 n2 \| n3 n4` | only within a group messages pass |
//! | `heal` | all links pass |
//! | `lose KIND n1 -> n2 [N]`, `hold KIND n1 -> n2 [N]` | messages of a kind (`*` any; `n*` any node), the next N or all |
//! | `deliver` | let held messages go |
//! | `pass` | forget all rules about messages |
//! | `note TEXT` | a remark in the story |
//! | `expect leader n1`, `expect no leader` | who takes proposals, in the highest era |
//! | `expect era n1 N` | its term or ballot round |
//! | `expect last n1 N`, `expect committed n1 N`, `expect applied n1 N` | its log's marks |
//! | `expect answered NAME [TEXT]`, `refused`, `unknown`, `waiting` | how a call stands; TEXT must occur in its answer |
//! | `expect value n1 KEY VALUE`, `expect no value n1 KEY` | what n1 has applied (Paxos: key `decision`) |
//! | `expect told RULE n1 allowed\|refused\|waiting` | n1 reported this guard since the last `forget` |
//! | `expect never told RULE n1 allowed\|refused\|waiting` | it did not |
//! | `forget` | start looking for guards anew |
//! | `expect same state` | all running nodes have applied the same |

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
