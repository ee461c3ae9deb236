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
//! 4. The node whose session it is answers its client when it applies the command itself. No reply of it is stored.
//!
//! # How a client's session travels
//! A node's session ends with the node: a client that asks another one again is asking for a second write. A client that wants
//! better opens a session of its own, named by a number that is drawn, and numbers its commands. Each travels as the *payload* of a
//! write, a [`ClientCommand`], so that everything above holds for it; when applied, it meets the table of clients. A sequence
//! that was applied is answered with its kept reply, one below the client's acknowledged mark is dropped, and one of an unknown
//! session is refused: none of these is applied. How long a session lives is decided by the order of the log alone: when there
//! are more than may be, the one that was idle for longest ends.
//!
//! # How an errand travels
//! An *errand* asks the leader's [`Duty`], which is memory and not replicated state. Any node's machine takes it from a client
//! and carries it to the leader, again under a fresh number whenever it seems lost: so it may arrive twice, and must bear
//! that. At the leader it arrives at the duty at once, and is answered when a read round that began after its arrival has
//! proved that this node still leads. With the leadership the duty ends, and every errand goes to the next leader.
//!
//! What the duty proposes goes through the node's own session, as a write that nobody waits for. It is never forwarded, and
//! forgotten with the era; within the era it is kept until it is applied.
//!
//! # How a change of the members travels
//! An *ask* (add, remove, promote, relocate a member; move leadership) is carried to the leader under one number, again and
//! again until it is over. The leader holds it until a read round proves that it still led after the ask's arrival, judges it
//! against the members in force, and asks its replica for the members as they are to be, based on those: one change at a time.
//! An ask is over for its asker when the members *decided there* show it, so a success needs no answer and a repetition finds
//! it done. The decided members and every id ever removed, the [`Roster`], are part of the image. Who founded a cluster is not
//! in its log; so the first change of all writes the founders there.
//!
//! What members say of themselves when they are met (disk, name, client URLs) the leader writes into the members by itself.
//!
//! # Invariants
//! 1. `AppliedOnce`: of one session, no sequence changes the state twice; of one owner, no command of an incarnation
//!    older than the greatest seen changes the state at all.
//! 2. `AnsweredOnce`: every client request gets exactly one reply, at the latest when its time is over.
//! 3. `DefiniteMeansNever`: a write answered with a definite error is never applied, by any node.
//! 4. `BoundedTable`: a node's session remembers at most its owner's [`MachineConfig::session_window`] sequences; clients' sessions,
//!    and the bytes kept for them, are bounded by the [`ClientBounds`] in force.
//! 5. `ConfirmedBeforeAnswered`: a duty answers an errand only after a read round that began behind its arrival, in the era of
//!    its arrival.
//! 6. `RemovedForEver`: an id that was removed never becomes a member again.
//! 7. `ExactlyOnce`: of one client's session no sequence changes the state twice, whichever nodes proposed it; every answer to it
//!    that is a reply is the same reply.
//! 8. `FifoPerClient`: of a client's session in order no sequence is applied before a lower one that is above the acknowledged mark.
//!
//! # Map
//! `machine` joins the parts and is the only generic one; `sessions` decides what of a node is applied and
//! `client_table` what of a client, `execution` brings both before the state machine, `client_command` is what a client says; `writes` holds this
//! node's own clients' writes; `proposer` is the leader's side; `reads` shares read rounds; `errands` holds this node's own
//! clients' errands, `tenure` the leader's duty with the errands of all nodes, `serving` carries between them; `asks` holds this
//! node's own clients' asks, `steering` what the leader makes of those of all nodes, `change` what comes of one, `roster` what
//! was decided; `image` is the durable form; `staged` is a state from elsewhere, and `transfer` carries it.

mod asks;
mod change;
mod client_command;
mod client_table;
mod command;
mod config;
mod duty;
mod errands;
mod execution;
mod image;
mod leaving;
mod machine;
mod message;
mod output;
mod proposer;
mod reads;
mod request;
mod roster;
mod serving;
mod sessions;
mod staged;
mod state_machine;
mod steering;
mod tenure;
pub mod transfer;
mod writes;

pub use change::{Ask, AskError, MemberChange, MemberFacts};
pub use client_command::{ClientBounds, ClientCommand, ClientId};
pub use command::{Command, decode_batch, encode_batch};
pub use config::MachineConfig;
pub use duty::{Duty, DutyConfig, DutyOutput, ErrandId};
pub use execution::client_payload;
pub use image::{MachineImage, OpenMachineError};
pub use machine::{Lead, Machine};
pub use message::MachineMessage;
pub use output::{MachineError, MachineOutput, MachineStatus};
pub use request::{ClientTag, Consistency, RequestError};
pub use roster::Roster;
pub use staged::Staged;
pub use state_machine::{ApplyContext, KeptReplies, RestoreError, StateMachine};
