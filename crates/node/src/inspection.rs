//! What the disks of a stopped node hold, read without changing them and without becoming that node.

use crate::boot::{BootError, Owner, decode_store_meta};
use quorate_disk::Disk;
use quorate_journal::Survey;
use quorate_machine::{MachineImage, Staged, StateMachine};
use quorate_protocol::{Replica, SnapshotId};
use quorate_store::{Image, Store, StoreConfig};
use quorate_types::Ticket;
use quorate_wire::decode_exact;

/// A state as a store holds it.
#[derive(Clone, Debug)]
pub struct StoredState<R: Replica, S: StateMachine> {
    /// Cluster, node and disk that it was written for.
    pub owner: Owner,
    /// What it describes, if it came by snapshot.
    pub anchor: Option<R::Anchor>,
    /// The state, completely read and checked.
    pub state: Staged<S>,
}

/// The records of a journal, decoded.
///
/// # Errors
/// [`BootError::Record`] at the first that is of another version.
pub fn read_records<R: Replica>(survey: &Survey) -> Result<Vec<(Ticket, R::Record)>, BootError> {
    let decode = |(ticket, bytes): &(Ticket, bytes::Bytes)| match decode_exact::<R::Record>(bytes.clone()) {
        Ok(record) => Ok((*ticket, record)),
        Err(why) => Err(BootError::Record { ticket: *ticket, why }),
    };
    survey.records.iter().map(decode).collect()
}

/// The newest checkpoint of a store, or the snapshot with this name that arrived and was not installed yet; nothing if there is
/// none.
///
/// # Errors
/// When it is damaged or of another version.
pub fn read_store<R: Replica, S: StateMachine>(
    disk: &dyn Disk,
    arrived: Option<SnapshotId>,
) -> Result<Option<StoredState<R, S>>, BootError> {
    let opened = Store::open(disk, StoreConfig::default())?;
    match arrived {
        Some(id) => opened.incoming(id.0).map(read_image).transpose(),
        None => opened.image.map(read_image).transpose(),
    }
}

fn read_image<R: Replica, S: StateMachine>(mut image: Image<'_>) -> Result<StoredState<R, S>, BootError> {
    let (owner, anchor, meta) = decode_store_meta(image.meta).map_err(BootError::StoreMeta)?;
    let anchor = anchor.map(decode_exact::<R::Anchor>).transpose().map_err(BootError::StoreMeta)?;
    let found = MachineImage { applied: image.applied, meta, head: image.head, items: &mut image.items };
    let state = Staged::<S>::read(found);
    // What the store finds wrong with its items goes before what the machine makes of them.
    image.items.finish()?;
    Ok(StoredState { owner, anchor, state: state? })
}
