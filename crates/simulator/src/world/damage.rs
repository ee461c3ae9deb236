//! Disks that break their promises, are full, are lost or are put back from a copy.

use super::World;
use super::host::{Host, Write, lane_name};
use crate::act::{FAILED_AS, Malfunction};
use crate::marks::Mark;
use quorate_disk::model::{Harm, ModelDisk, Place};
use quorate_disk::{Operation, SECTOR_BYTES};
use quorate_machine::StateMachine;
use quorate_narrator::What;
use quorate_node::Lane;
use quorate_protocol::Replica;
use quorate_types::NodeId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Damage to the newest flush passes for a torn write until something durable vouches for it: the next flush, or the mark that a
/// quiet journal writes. So the latest writes are not damaged, but for a control.
const SPARED_WRITES: usize = 3;
/// A write that did not happen is shown by so many later ones.
const PROVING_WRITES: u32 = 2;

/// What is wrong with a machine's disks, or was done to them.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Something durable was damaged.
    is_rotten: bool,
    /// It never comes back, and why.
    pub(super) out_of_service: Option<&'static str>,
    /// Its disks at some earlier time.
    copy: Option<Copied>,
    /// The journal's latest completed writes of this life that wrote anything, and the one a crash interrupted.
    latest_writes: VecDeque<Vec<Operation>>,
    interrupted_write: Option<Vec<Operation>>,
    /// How many lost or misdirected writes of the journal are known, and its completed writes since the last of them.
    faulted_writes: u64,
    writes_since: u32,
    /// Its process was killed with unflushed writes in the machine's cache.
    pub(super) starts_from_cache: bool,
}

#[derive(Debug)]
struct Copied {
    journal: ModelDisk,
    store: ModelDisk,
    /// The starts it had seen.
    incarnation: u64,
    /// And those of them that its directory remembers having told.
    told_starts: BTreeMap<NodeId, BTreeSet<u64>>,
}

impl Trouble {
    /// The process ends while this write was under way.
    pub(super) fn process_ends(&mut self, under_way: Option<Write>) {
        self.interrupted_write = under_way.map(|write| write.operations);
    }

    /// A life begins: what opening wrote is not known here.
    pub(super) fn life_begins(&mut self) {
        self.latest_writes.clear();
        self.interrupted_write = None;
    }

    /// Whether a write was lost or misdirected and nothing durable shows it yet.
    pub(super) fn is_unproven(&self) -> bool {
        self.faulted_writes > 0 && self.writes_since < PROVING_WRITES
    }

    /// Whether a sector was written so lately that damage to it could pass for a torn write.
    fn spares(&self, place: &Place, under_way: Option<&Write>) -> bool {
        let sector = SECTOR_BYTES as u64;
        let (start, end) = (place.sector * sector, (place.sector + 1) * sector);
        let touches = |operation: &Operation| match operation {
            Operation::Write { file, offset, parts } => {
                let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
                *file == place.file && *offset < end && offset.saturating_add(length) > start
            }
            // What is written to a draft is found under the name it gets.
            Operation::Rename { to, .. } => *to == place.file,
            _ => false,
        };
        let lately = self.latest_writes.iter().chain(&self.interrupted_write);
        lately.flatten().chain(under_way.into_iter().flat_map(|write| &write.operations)).any(touches)
    }
}

impl<R: Replica, S: StateMachine> World<R, S> {
    /// Damages a durable sector, one that a later flush vouches for. Does nothing where there is none yet.
    pub fn rot(&mut self, id: NodeId, lane: Lane, pick: u64, harm: Harm) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let places = host.places_to_damage(lane);
        let Some(at) = usize::try_from(pick.checked_rem(places.len() as u64).unwrap_or(u64::MAX)).ok() else { return };
        let Some(place) = places.get(at) else { return };
        if host.disk_mut(lane).harm(place, harm).is_err() {
            return;
        }
        host.trouble.is_rotten = true;
        let text =
            format!("{id}'s {}: sector {} of {} is damaged: {harm:?}", lane_name(lane), place.sector, place.file);
        self.note(Some(id), What::Note { text });
    }

    /// Lets a disk do something wrong, once, soon.
    pub fn malfunction(&mut self, id: NodeId, lane: Lane, what: Malfunction) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if what != (Malfunction::Fails { after: 0 }) && host.node.is_none() {
            // Opening writes too, and whether anything vouches for that is not known here.
            return;
        }
        let faults = host.disk_mut(lane).faults_mut();
        match what {
            Malfunction::Fails { after } => faults.fail_after = Some((after, FAILED_AS)),
            Malfunction::LosesWrite => faults.lose_next_write = true,
            Malfunction::Misdirects { sectors } => faults.misdirect_next_write = Some(sectors),
        }
        let text = format!("{id}'s {} is about to malfunction: {what:?}", lane_name(lane));
        self.note(Some(id), What::Note { text });
    }

    /// Leaves a disk so many bytes.
    pub fn fill(&mut self, id: NodeId, lane: Lane, free_bytes: u64) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let disk = host.disk_mut(lane);
        let capacity = disk.used_bytes().saturating_add(free_bytes);
        disk.faults_mut().capacity_bytes = Some(capacity);
        let text = format!("{id}'s {} has {free_bytes} bytes left", lane_name(lane));
        self.note(Some(id), What::Note { text });
    }

    /// Both disks have room again, and no failure of theirs is still to come. What is damaged stays so.
    pub fn mend_disks(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let mut was_sick = false;
        for lane in [Lane::Journal, Lane::Store] {
            let faults = host.disk_mut(lane).faults_mut();
            was_sick |= faults.capacity_bytes.take().is_some() | faults.fail_after.take().is_some();
        }
        host.forget_write_faults();
        if was_sick {
            self.note(Some(id), What::Note { text: format!("{id}'s disks are mended") });
        }
    }

    /// Replaces the disks of a node that is down by empty ones.
    pub fn wipe(&mut self, id: NodeId) {
        let first_flight = self.flights + 1;
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.node.is_none()) else { return };
        host.replace_disks(ModelDisk::new(), ModelDisk::new(), 0, first_flight);
        host.told_starts.clear();
        self.doorman.forget_what_it_knows(id);
        self.note(Some(id), What::Note { text: format!("{id} gets empty disks") });
    }

    /// Copies a node's disks, as far as they are synced.
    pub fn copy_disks(&mut self, id: NodeId) {
        // A copy of damaged disks is damaged: whoever starts from it may refuse to, and that must not look like a fault of its.
        let whole = |host: &&mut Host<R, S>| !host.trouble.is_rotten && host.trouble.faulted_writes == 0;
        let Some(host) = self.hosts.get_mut(&id).filter(whole) else { return };
        host.trouble.copy = Some(Copied {
            journal: host.journal.synced_image(),
            store: host.store.synced_image(),
            incarnation: host.incarnation,
            told_starts: host.told_starts.clone(),
        });
        self.note(Some(id), What::Note { text: format!("{id}'s disks are copied") });
    }

    /// Puts the copy back in place of the disks of a node that is down, if every other node has met a start that came after the
    /// copy was taken: one that has not cannot tell the copy from the original.
    pub fn put_back(&mut self, id: NodeId) {
        let next_start =
            self.hosts.get(&id).and_then(|host| host.trouble.copy.as_ref()).map(|copy| copy.incarnation + 1);
        if !next_start.is_some_and(|next_start| self.is_known_beyond(id, next_start)) {
            return;
        }
        let first_flight = self.flights + 1;
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.node.is_none()) else { return };
        let Some(Copied { journal, store, incarnation, told_starts }) = host.trouble.copy.take() else { return };
        host.replace_disks(journal, store, incarnation, first_flight);
        host.told_starts = told_starts;
        self.note(Some(id), What::Note { text: format!("{id} gets the copy of its disks") });
    }

    /// A node's disks cannot be trusted by any rule that this world demands: it stays out.
    pub(super) fn take_unproven_out(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.trouble.is_unproven() && host.trouble.out_of_service.is_none() {
            host.trouble.out_of_service = Some("its disk lost a write and nothing shows it");
            self.note(Some(id), What::Note { text: format!("{id}'s disk lost its latest write, so it is taken away") });
        }
    }

    /// Whether this node never comes back: its data was refused or is gone.
    #[must_use]
    pub fn is_out_of_service(&self, id: NodeId) -> bool {
        self.hosts.get(&id).is_some_and(|host| host.trouble.out_of_service.is_some())
    }

    pub(super) fn take_out_of_service(&mut self, id: NodeId, why: &'static str, mark: Mark) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.trouble.out_of_service = Some(why);
            self.mark(mark);
        }
    }
}

impl<R: Replica, S: StateMachine> Host<R, S> {
    /// A journal write completed. Says whether with it a lost or misdirected one before it is sure to show.
    pub(super) fn note_journal_write(&mut self, operations: Vec<Operation>) -> bool {
        if !operations.iter().any(|operation| matches!(operation, Operation::Write { .. })) {
            return false;
        }
        let is_faulted = self.note_write_faults();
        let trouble = &mut self.trouble;
        trouble.latest_writes.push_back(operations);
        if trouble.latest_writes.len() > SPARED_WRITES {
            trouble.latest_writes.pop_front();
        }
        if is_faulted || trouble.faulted_writes == 0 {
            return false;
        }
        trouble.writes_since = trouble.writes_since.saturating_add(1);
        trouble.writes_since == PROVING_WRITES
    }

    /// Whether the journal lost or misdirected a write since it was last asked.
    fn note_write_faults(&mut self) -> bool {
        let faulted_writes = self.journal.faults_mut().faulted_writes;
        if faulted_writes == self.trouble.faulted_writes {
            return false;
        }
        self.trouble.faulted_writes = faulted_writes;
        self.trouble.writes_since = 0;
        true
    }

    /// Whether anything on its disks is not what was written: then the node may refuse to start.
    pub(super) fn is_damaged(&mut self) -> bool {
        let faulted = |disk: &mut ModelDisk| disk.faults_mut().faulted_writes > 0;
        self.trouble.is_rotten || faulted(&mut self.journal) || faulted(&mut self.store)
    }

    /// A write fault that has not happened when the process ends will not.
    pub(super) fn forget_write_faults(&mut self) {
        self.note_write_faults();
        for lane in [Lane::Journal, Lane::Store] {
            let faults = self.disk_mut(lane).faults_mut();
            faults.lose_next_write = false;
            faults.misdirect_next_write = None;
        }
    }

    fn places_to_damage(&self, lane: Lane) -> Vec<Place> {
        match lane {
            Lane::Store => self.store.durable_places(),
            Lane::Journal if self.trouble.latest_writes.len() < SPARED_WRITES => Vec::new(),
            Lane::Journal => {
                let mut places = self.journal.durable_places();
                places.retain(|place| !self.trouble.spares(place, self.journal_write.as_ref()));
                places
            }
        }
    }

    fn replace_disks(&mut self, journal: ModelDisk, store: ModelDisk, incarnation: u64, first_flight: u64) {
        self.first_flight_to_disks = first_flight;
        self.journal = journal;
        self.store = store;
        self.flushes += 1;
        self.ghost = None;
        self.durable_era = 0;
        self.checkpointed = quorate_types::Slot::ZERO;
        self.incarnation = incarnation;
        self.trouble = Trouble { out_of_service: self.trouble.out_of_service, ..Trouble::default() };
    }
}
