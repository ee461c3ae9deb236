//! From two disks to a node: what is read, in which order, and why a node refuses to start.

use crate::config::NodeConfig;
use bytes::Bytes;
use quorate_disk::{Disk, DiskError, Operation};
use quorate_journal::{Expected, Identity, Journal, JournalError};
use quorate_machine::{Machine, MachineImage, OpenMachineError, StateMachine};
use quorate_protocol::{OpenError, Replica, Setup, Start};
use quorate_store::{Store, StoreError};
use quorate_types::{ClusterId, DiskId, Incarnation, NodeId, Slot, Ticket};
use quorate_wire::{Reader, Wire, WireError, decode_exact};
use thiserror::Error;

/// Who a node is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Itself.
    pub me: NodeId,
    /// How it came to be; counts only where no journal is found.
    pub start: Start,
    /// The id a new journal gets: drawn at random, afresh for every call. Unused where a journal is found.
    pub new_disk: DiskId,
}

/// Why a node does not start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BootError {
    /// The journal is damaged, or somebody else's.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store is damaged, or of another version.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A disk failed while the node was opening on it.
    #[error("the {which} cannot be prepared: {why}")]
    Disk {
        /// `journal` or `store`.
        which: &'static str,
        /// The disk's words.
        why: DiskError,
    },
    /// A record was written by a newer version, or is no record.
    #[error("the journal's record under ticket {} cannot be read: {why}", ticket.0)]
    Record {
        /// Which write.
        ticket: Ticket,
        /// How it fails.
        why: WireError,
    },
    /// The journal is gone and the store is not: what this node has promised is lost, and it must not go on under its old name.
    #[error(
        "there is a store but no journal: what this node promised is lost, so it can only come back as a new member, \
         with both directories empty"
    )]
    JournalLost,
    /// The store was written beside another journal.
    #[error("the store belongs to node {} of cluster {:x} on disk {:x}, which is not this one", found.1, found.0.0, found.2.0)]
    ForeignStore {
        /// What it says.
        found: (ClusterId, NodeId, DiskId),
    },
    /// The store's description of itself cannot be read.
    #[error("the store's description of itself cannot be read: {0}")]
    StoreMeta(WireError),
    /// The stored state cannot be read.
    #[error(transparent)]
    Machine(#[from] OpenMachineError),
    /// The protocol refuses what was found.
    #[error(transparent)]
    Protocol(#[from] OpenError),
}

/// The journal's part of what was found.
pub(crate) struct FoundJournal<R: Replica> {
    pub(crate) journal: Journal,
    pub(crate) operations: Vec<Operation>,
    pub(crate) disk: DiskId,
    pub(crate) incarnation: Incarnation,
    pub(crate) records: Vec<(Ticket, R::Record)>,
    pub(crate) last_ticket: Ticket,
    pub(crate) is_new: bool,
}

/// The store's part.
pub(crate) struct FoundStore {
    pub(crate) store: Store,
    pub(crate) operations: Vec<Operation>,
    pub(crate) image: Option<MachineImage>,
}

impl Boot {
    pub(crate) fn setup(&self, disk: DiskId, incarnation: Incarnation) -> Setup {
        Setup { cluster: self.cluster, me: self.me, disk, incarnation, start: self.start.clone() }
    }

    /// Opens the journal, or plans a new one where there is none. Changes nothing: the operations do.
    pub(crate) fn find_journal<R: Replica>(
        &self,
        config: &NodeConfig<R>,
        disk: &dyn Disk,
    ) -> Result<FoundJournal<R>, BootError> {
        if !Journal::exists(disk).map_err(journal_failed)? {
            let identity = Identity {
                cluster: self.cluster,
                node: self.me,
                disk: self.new_disk,
                protocol: R::PROTOCOL.to_owned(),
            };
            let (journal, operations) = Journal::create(disk, identity, config.journal.clone())?;
            return Ok(FoundJournal {
                incarnation: journal.incarnation(),
                journal,
                operations,
                disk: self.new_disk,
                records: Vec::new(),
                last_ticket: Ticket::NONE,
                is_new: true,
            });
        }
        let expected = Expected {
            cluster: Some(self.cluster),
            node: Some(self.me),
            disk: None,
            protocol: Some(R::PROTOCOL.to_owned()),
        };
        let opened = Journal::open(disk, &expected, config.journal.clone())?;
        let decode = |(ticket, bytes): (Ticket, Bytes)| match decode_exact::<R::Record>(bytes) {
            Ok(record) => Ok((ticket, record)),
            Err(why) => Err(BootError::Record { ticket, why }),
        };
        Ok(FoundJournal {
            journal: opened.journal,
            operations: opened.operations,
            disk: opened.found.identity.disk,
            incarnation: opened.found.incarnation,
            records: opened.found.records.into_iter().map(decode).collect::<Result<_, _>>()?,
            last_ticket: opened.found.last_ticket,
            is_new: false,
        })
    }

    /// Opens the store beside that journal. Changes nothing: the operations do.
    pub(crate) fn find_store<R: Replica>(
        &self,
        config: &NodeConfig<R>,
        journal: &FoundJournal<R>,
        disk: &dyn Disk,
    ) -> Result<FoundStore, BootError> {
        let opened = Store::open(disk, config.store)?;
        let Some(image) = opened.image else {
            return Ok(FoundStore { store: opened.store, operations: opened.operations, image: None });
        };
        if journal.is_new {
            return Err(BootError::JournalLost);
        }
        let (owner, meta) = decode_store_meta(image.meta).map_err(BootError::StoreMeta)?;
        if owner != (self.cluster, self.me, journal.disk) {
            return Err(BootError::ForeignStore { found: owner });
        }
        let image =
            MachineImage { applied: image.applied, meta, head: image.head, items: (0..).zip(image.items).collect() };
        Ok(FoundStore { store: opened.store, operations: opened.operations, image: Some(image) })
    }
}

/// What a checkpoint says of itself: whose it is, then the machine's part.
pub(crate) fn encode_store_meta(setup: &Setup, machine_meta: &Bytes) -> Bytes {
    let mut out = Vec::with_capacity(machine_meta.len() + 32);
    setup.cluster.encode(&mut out);
    setup.me.encode(&mut out);
    setup.disk.encode(&mut out);
    out.extend_from_slice(machine_meta);
    Bytes::from(out)
}

/// Writes a checkpoint of the state at slot 0, which names the store's owner. The journal must be durable before: a store
/// without a journal refuses every later start.
pub(crate) fn write_founding_checkpoint<S: StateMachine>(
    setup: &Setup,
    machine: &Machine<S>,
    store: &mut Store,
    disk: &mut dyn Disk,
) -> Result<(), DiskError> {
    let state = machine.state();
    let meta = encode_store_meta(setup, &machine.meta());
    if store.begin(machine.applied(), meta, state.head(), state.item_count()) {
        while let Some(write) = store.next_write(&mut |number| state.item(number).unwrap_or_default()) {
            disk.perform_all(&write.operations)?;
            store.completed(write.id);
        }
    }
    Ok(())
}

fn decode_store_meta(meta: Bytes) -> Result<((ClusterId, NodeId, DiskId), Bytes), WireError> {
    let mut reader = Reader::new(meta);
    let owner = (ClusterId::decode(&mut reader)?, NodeId::decode(&mut reader)?, DiskId::decode(&mut reader)?);
    Ok((owner, reader.rest()))
}

pub(crate) fn journal_failed(why: DiskError) -> BootError {
    BootError::Disk { which: "journal", why }
}

pub(crate) fn store_failed(why: DiskError) -> BootError {
    BootError::Disk { which: "store", why }
}

/// The applied mark of an image, or of none.
pub(crate) fn applied_of(image: Option<&MachineImage>) -> Slot {
    image.map_or(Slot::ZERO, |image| image.applied)
}
