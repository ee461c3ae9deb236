//! From two disks to a node: what is read, in which order, and why a node refuses to start.

use crate::config::NodeConfig;
use bytes::Bytes;
use quorate_disk::{Disk, DiskError, Operation};
use quorate_journal::{Expected, Identity, Journal, JournalError};
use quorate_machine::{DutyConfig, Machine, MachineConfig, MachineImage, OpenMachineError, Staged, StateMachine};
use quorate_protocol::{OpenError, Replica, Setup, SnapshotId, Start};
use quorate_store::{Items, Opened, Outline, Store, StoreError};
use quorate_types::{ClusterId, DiskId, Incarnation, NodeId, Slot, Ticket};
use quorate_wire::{Reader, Wire, WireError, decode_exact};
use std::ops::Range;
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
    /// The journal says that a snapshot took the log's place, and it is not here.
    #[error(
        "the journal names snapshot {id:016x} in the place of its log, and the store does not have it (incoming-{id:016x} and its \
         files): put the store's directory back as it was, or remove this node from the cluster, empty its data directory \
         and add it again as a new member"
    )]
    SnapshotMissing {
        /// Its name.
        id: u64,
    },
    /// A state is to be restored where there is one.
    #[error("there is a {which} here already: a snapshot is restored into an empty directory only")]
    InUse {
        /// `journal` or `store`.
        which: &'static str,
    },
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

/// The store's part. Its items are not read yet.
pub(crate) struct FoundStore<'d, R: Replica> {
    opened: Opened<'d>,
    /// The applied mark of its image, or of none.
    pub(crate) applied: Slot,
    /// What the image describes, if it came by snapshot.
    pub(crate) anchor: Option<R::Anchor>,
    /// The machine's part of the image's meta.
    machine_meta: Bytes,
}

impl<R: Replica> FoundStore<'_, R> {
    pub(crate) fn is_empty(&self) -> bool {
        self.opened.image.is_none()
    }

    /// Reads the state. What the store finds wrong with it goes before what the machine does: it is nearer to the cause.
    pub(crate) fn open_machine<S: StateMachine>(
        self,
        setup: &Setup,
        config: MachineConfig,
        duty: &DutyConfig<S>,
    ) -> Result<(Store, Vec<Operation>, Machine<S>), BootError> {
        let Opened { store, operations, image, .. } = self.opened;
        let Some(mut image) = image else {
            let machine = Machine::open(setup.me, setup.incarnation, config, duty, None)?;
            return Ok((store, operations, machine));
        };
        let meta = self.machine_meta;
        let (applied, head) = (image.applied, image.head);
        let found = MachineImage { applied, meta, head, items: &mut image.items };
        let machine = Machine::open(setup.me, setup.incarnation, config, duty, Some(found));
        image.items.finish()?;
        Ok((store, operations, machine?))
    }

    /// Checks that the snapshot that the journal names is here, and that a state can be made of it.
    pub(crate) fn prepare_snapshot<S: StateMachine>(
        self,
        setup: &Setup,
        id: SnapshotId,
    ) -> Result<PreparedSnapshot, BootError> {
        let missing = BootError::SnapshotMissing { id: id.0 };
        let Some(mut image) = self.opened.incoming(id.0) else { return Err(missing) };
        let (owner, _, meta) = decode_store_meta(image.meta).map_err(BootError::StoreMeta)?;
        if owner != (setup.cluster, setup.me, setup.disk) {
            return Err(BootError::ForeignStore { found: owner });
        }
        let found = MachineImage { applied: image.applied, meta, head: image.head, items: &mut image.items };
        let staged = Staged::<S>::read(found).map(|_| ());
        image.items.finish()?;
        staged?;
        let Opened { mut store, operations: repairs, .. } = self.opened;
        if store.install(id.0) { Ok(PreparedSnapshot { store, repairs }) } else { Err(missing) }
    }
}

/// A store that is about to install a snapshot, while nothing else runs.
pub(crate) struct PreparedSnapshot {
    store: Store,
    repairs: Vec<Operation>,
}

/// Makes a snapshot that the journal names the store's own image.
pub(crate) fn install_again(prepared: PreparedSnapshot, disk: &mut dyn Disk) -> Result<(), DiskError> {
    let PreparedSnapshot { mut store, repairs } = prepared;
    disk.perform_all(&repairs)?;
    while let Some(write) = store.next_write(&NoItems) {
        disk.perform_all(&write.operations)?;
        store.completed(write.id);
    }
    Ok(())
}

/// An installation writes no item.
struct NoItems;

impl Items for NoItems {
    fn item(&self, _: u64) -> Option<Bytes> {
        None
    }
    fn live_items(&self, _: Range<u64>) -> u64 {
        0
    }
}

/// The items of a state.
pub(crate) struct StateItems<'a, S>(pub(crate) &'a S);

impl<S: StateMachine> Items for StateItems<'_, S> {
    fn item(&self, number: u64) -> Option<Bytes> {
        self.0.item(number)
    }
    fn live_items(&self, numbers: Range<u64>) -> u64 {
        self.0.live_items(numbers)
    }
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
    pub(crate) fn find_store<'d, R: Replica>(
        &self,
        config: &NodeConfig<R>,
        journal: &FoundJournal<R>,
        disk: &'d dyn Disk,
    ) -> Result<FoundStore<'d, R>, BootError> {
        let opened = Store::open(disk, config.store)?;
        let Some(image) = &opened.image else {
            return Ok(FoundStore { opened, applied: Slot::ZERO, anchor: None, machine_meta: Bytes::new() });
        };
        if journal.is_new {
            return Err(BootError::JournalLost);
        }
        let applied = image.applied;
        let (owner, anchor, machine_meta) = decode_store_meta(image.meta.clone()).map_err(BootError::StoreMeta)?;
        if owner != (self.cluster, self.me, journal.disk) {
            return Err(BootError::ForeignStore { found: owner });
        }
        let anchor = anchor.map(decode_exact::<R::Anchor>).transpose().map_err(BootError::StoreMeta)?;
        Ok(FoundStore { opened, applied, anchor, machine_meta })
    }
}

/// What a checkpoint says of itself: whose it is, what it describes if it came by snapshot, then the machine's part.
pub(crate) fn encode_store_meta(setup: &Setup, anchor: Option<&Bytes>, machine_meta: &Bytes) -> Bytes {
    let mut out = Vec::with_capacity(machine_meta.len() + 64);
    setup.cluster.encode(&mut out);
    setup.me.encode(&mut out);
    setup.disk.encode(&mut out);
    anchor.cloned().encode(&mut out);
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
    let meta = encode_store_meta(setup, None, &machine.meta());
    let outline = Outline { applied: machine.applied(), meta, head: state.head(), item_count: state.item_count() };
    if store.begin(outline) {
        while store.is_checkpointing()
            && let Some(write) = store.next_write(&StateItems(state))
        {
            disk.perform_all(&write.operations)?;
            store.completed(write.id);
        }
    }
    Ok(())
}

/// Cluster, node and disk.
pub(crate) type Owner = (ClusterId, NodeId, DiskId);

pub(crate) fn decode_store_meta(meta: Bytes) -> Result<(Owner, Option<Bytes>, Bytes), WireError> {
    let mut reader = Reader::new(meta);
    let owner = (ClusterId::decode(&mut reader)?, NodeId::decode(&mut reader)?, DiskId::decode(&mut reader)?);
    let anchor = Option::<Bytes>::decode(&mut reader)?;
    Ok((owner, anchor, reader.rest()))
}

pub(crate) fn journal_failed(why: DiskError) -> BootError {
    BootError::Disk { which: "journal", why }
}

pub(crate) fn store_failed(why: DiskError) -> BootError {
    BootError::Disk { which: "store", why }
}
