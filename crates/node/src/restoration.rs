//! The disks of a node that begins with a state from a backup, as if it had checkpointed that state and stopped.

use crate::boot::{Boot, BootError, StateItems, encode_store_meta, journal_failed, store_failed};
use crate::config::NodeConfig;
use crate::node::Node;
use quorate_disk::Disk;
use quorate_journal::{Identity, Journal};
use quorate_machine::{Staged, StateMachine};
use quorate_protocol::Replica;
use quorate_store::{Outline, Store};
use quorate_types::{Incarnation, Ticket};
use quorate_wire::encode_to_bytes;

/// What a restored node begins with.
#[derive(Clone, Debug)]
pub struct Restoration<'a, R: Replica, S: StateMachine> {
    /// Who it is to be, in which new cluster. Its `new_disk` names the journal.
    pub boot: &'a Boot,
    /// The state, the same on all founding members.
    pub state: &'a Staged<S>,
    /// What the protocol must find in its journal, so that its log begins behind that state.
    pub records: &'a [R::Record],
    /// What the protocol calls everything up to that state.
    pub anchor: &'a R::Anchor,
}

/// Writes journal and store of a new node on two empty disks, and opens them again to see that the protocol vouches for them.
/// Whatever a crash leaves of it refuses to start as a node: the store comes first, and without a journal that knows its
/// slot no node opens beside it.
///
/// # Errors
/// When there is a journal or a store already, when a disk fails, or when what was written does not open.
pub fn write_restored<R: Replica, S: StateMachine>(
    restoration: &Restoration<'_, R, S>,
    config: &NodeConfig<R>,
    journal_disk: &mut dyn Disk,
    store_disk: &mut dyn Disk,
) -> Result<(), BootError> {
    if Journal::exists(journal_disk).map_err(journal_failed)? {
        return Err(BootError::InUse { which: "journal" });
    }
    write_store(restoration, config, store_disk)?;
    write_journal(restoration, config, journal_disk)?;
    Node::<R, S>::ghost(restoration.boot, config, journal_disk, store_disk).map(|_| ())
}

fn write_store<R: Replica, S: StateMachine>(
    restoration: &Restoration<'_, R, S>,
    config: &NodeConfig<R>,
    disk: &mut dyn Disk,
) -> Result<(), BootError> {
    let Restoration { boot, state, anchor, .. } = restoration;
    let opened = Store::open(disk, config.store)?;
    if opened.image.is_some() {
        return Err(BootError::InUse { which: "store" });
    }
    let (mut store, operations) = (opened.store, opened.operations);
    disk.perform_all(&operations).map_err(store_failed)?;
    let setup = boot.setup(boot.new_disk, Incarnation(1));
    let meta = encode_store_meta(&setup, Some(&encode_to_bytes(*anchor)), &state.meta());
    let items = StateItems(state.state());
    let (head, item_count) = (state.state().head(), state.state().item_count());
    if store.begin(Outline { applied: state.applied(), meta, head, item_count }) {
        while store.is_checkpointing()
            && let Some(write) = store.next_write(&items)
        {
            disk.perform_all(&write.operations).map_err(store_failed)?;
            store.completed(write.id);
        }
    }
    Ok(())
}

fn write_journal<R: Replica, S: StateMachine>(
    restoration: &Restoration<'_, R, S>,
    config: &NodeConfig<R>,
    disk: &mut dyn Disk,
) -> Result<(), BootError> {
    let Boot { cluster, me, new_disk, .. } = *restoration.boot;
    let identity = Identity { cluster, node: me, disk: new_disk, protocol: R::PROTOCOL.to_owned() };
    let (mut journal, operations) = Journal::create(disk, identity, config.journal.clone())?;
    disk.perform_all(&operations).map_err(journal_failed)?;
    let records = restoration.records.iter().map(encode_to_bytes).collect();
    journal.append(Ticket(1), records).expect("the first ticket of a new journal, and records are small");
    while let Some(write) = journal.next_write() {
        disk.perform_all(&write.operations).map_err(journal_failed)?;
        journal.completed(write.id).expect("it was just handed out");
    }
    // The last flush is marked durable: no start has to guess.
    if let Some(write) = journal.idle_write() {
        disk.perform_all(&write.operations).map_err(journal_failed)?;
    }
    Ok(())
}
