//! Everything around a protocol: sessions, forwarding, pending replies, reads, and the applied mark.
//!
//! A [`StateMachine`] is what an application brings. [`Machine`] wraps it into what a replica is joined with by
//! queues: decided slots and released reads come in, `Applied` goes back. It owns the applied mark, applies
//! every command once however often it was proposed, forwards writes to the leader, and answers clients.
//!
//! # How a write travels
//! 1. A client's write gets the next sequence of this node's session, `(node, incarnation)`, and waits until
//!    somebody leads.
//! 2. If this node leads and is ready, the write joins a batch and is proposed here. Otherwise it is forwarded to
//!    the leader, under the same sequence however often that must be repeated.
//! 3. Every replica applies the decided batch; the session table makes a repeated command do nothing.
//! 4. The node whose session it is answers its client when it applies the command itself. No reply is stored.
//!
//! # Invariants
//! 1. `AppliedOnce`: of one session, no sequence changes the state twice; of one owner, no command of an incarnation
//!    older than the greatest seen changes the state at all.
//! 2. `AnsweredOnce`: every client request gets exactly one reply, at the latest when its time is over.
//! 3. `DefiniteMeansNever`: a write answered with a definite error is never applied, by any node.
//! 4. `BoundedTable`: a session remembers at most its owner's [`MachineConfig::session_window`] sequences.
//!
//! # Map
//! `machine` joins the parts and is the only generic one; `sessions` decides what is applied; `writes` holds this
//! node's own clients' writes; `proposer` is the leader's side; `reads` shares read rounds; `image` is the durable form.

mod command;
mod config;
mod duty;
mod image;
mod machine;
mod message;
mod output;
mod proposer;
mod reads;
mod request;
mod sessions;
mod state_machine;
mod writes;

pub use command::{Command, decode_batch, encode_batch};
pub use config::MachineConfig;
pub use duty::{Duty, DutyOutput, ErrandId};
pub use image::{MachineImage, OpenMachineError};
pub use machine::Machine;
pub use message::MachineMessage;
pub use output::{MachineError, MachineOutput, MachineStatus};
pub use request::{ClientTag, Consistency, RequestError};
pub use state_machine::{ApplyContext, RestoreError, StateMachine};
