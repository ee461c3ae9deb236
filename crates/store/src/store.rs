//! Running a checkpoint, slice by slice.

use crate::error::StoreError;
use crate::garbage::Garbage;
use crate::layout::{FileNumbers, Items, Layout};
use crate::manifest::{FileExtent, Manifest};
use crate::names::FileKind;
use crate::presence::Presence;
use crate::recovery::{Opened, open};
use bytes::Bytes;
use quorate_disk::{Disk, Operation};
use quorate_types::Slot;
use std::collections::{BTreeMap, VecDeque};

/// Sizes. They may differ from one start to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// A slice ends with the item that brings it to this many bytes. Each slice is flushed, so this bounds both the work
    /// between two other uses of the disk and what one flush has to write.
    pub slice_bytes: usize,
    /// An item file ends with the slice that brings it to this many bytes.
    pub file_bytes: u64,
}

impl Default for StoreConfig {
    /// Slices of 1 MiB, files of 64 MiB.
    fn default() -> StoreConfig {
        StoreConfig { slice_bytes: 1 << 20, file_bytes: 64 << 20 }
    }
}

/// One slice of work for the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// To be given to [`Store::completed`].
    pub id: u64,
    /// To be performed in this order. There may be none.
    pub operations: Vec<Operation>,
}

/// What a completed write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completed {
    /// The checkpoint of this slot survives any crash from now on.
    Checkpoint(Slot),
    /// The image from elsewhere with this id is complete and survives any crash from now on, beside this store's own.
    Incoming(u64),
    /// The image from elsewhere is this store's own from now on, as of this slot.
    Installed(Slot),
}

/// An image to be written: its small parts, and how many items it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The slot it is the state of.
    pub applied: Slot,
    /// The caller's own.
    pub meta: Bytes,
    /// The part of the state that changes in place.
    pub head: Bytes,
    /// The numbers of its items are below this.
    pub item_count: u64,
}

/// The durable image of one state machine.
///
/// # How to drive it
/// 1. [`Store::open`]; restore the state machine from the image; perform the operations. Only then is the image's slot
///    durable for certain, because a process that was killed may have left it in the system's cache.
/// 2. [`Store::begin`] a checkpoint of the present state.
/// 3. Until it is done: [`Store::next_write`], perform the operations in order, [`Store::completed`]. Other work may go
///    between two slices, and the state machine may go on: items never change, and the head was taken at the beginning. It
///    must not drop items meanwhile.
/// 4. `completed` answers [`Completed::Checkpoint`] once: from then on the image survives any crash.
/// 5. `next_write` also has work while no checkpoint runs: files that nothing needs any more are removed.
///
/// Whoever drops items calls [`Store::survey`] now and then; where it finds item files that are mostly garbage, the next
/// checkpoint writes what is left of them anew.
///
/// An image that came from elsewhere is written beside the store's own with [`Store::begin_incoming`], and takes its place
/// with [`Store::install`] or goes with [`Store::drop_incoming`].
///
/// One write is in flight at a time. When an operation fails, stop: the store must be opened again from media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    config: StoreConfig,
    /// The image's files, as the newest durable manifest names them.
    layout: Layout,
    numbers: FileNumbers,
    durable: Durable,
    running: Option<Running>,
    in_flight: Option<InFlight>,
    /// Complete images from elsewhere, by id.
    incoming: BTreeMap<u64, Manifest>,
    garbage: Garbage,
    /// Of the files of the checkpoint that was written last, or is being written.
    presence: Presence,
    /// Files that no durable manifest names any more.
    to_unlink: VecDeque<FileKind>,
    /// Writes handed out; the last one's id.
    writes: u64,
}

/// The newest checkpoint that a crash leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Durable {
    /// 0: there is none.
    number: u64,
    applied: Slot,
    item_count: u64,
    manifest_bytes: u64,
}

/// What is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Running {
    purpose: Purpose,
    outline: Outline,
    /// The files as the manifest will name them.
    layout: Layout,
    /// Files being written anew; they take the place of these files of the layout.
    rewrite: Option<Rewrite>,
    /// Bytes that may still be written anew by this checkpoint.
    rewrite_bytes_left: u64,
    /// Files that the layout no longer has.
    replaced: Vec<FileExtent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Checkpoint,
    Incoming(u64),
    /// The image from elsewhere with this id becomes the store's own.
    Install(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rewrite {
    /// Places in the layout's files.
    places: std::ops::Range<usize>,
    /// Items below this are written.
    end: u64,
    output: Layout,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct InFlight {
    id: u64,
    /// The manifest that becomes durable with it, and its length.
    manifest: Option<(Manifest, u64)>,
}

impl Store {
    /// Opens what is on the disk, or an empty store if there is nothing. Checks the newest manifest, and every item while it is
    /// taken from the image; changes nothing, so it may be called only to look.
    ///
    /// # Errors
    /// When the disk fails, another release wrote the files, or anything that the newest checkpoint vouches for is
    /// damaged. Never answers data that was not checkpointed, nor an older checkpoint than the newest durable one.
    pub fn open(disk: &dyn Disk, config: StoreConfig) -> Result<Opened<'_>, StoreError> {
        open(disk, config)
    }

    pub(crate) fn empty(config: StoreConfig, last_file_number: u64) -> Store {
        Store {
            config,
            layout: Layout::default(),
            numbers: FileNumbers { last: last_file_number },
            durable: Durable::default(),
            running: None,
            in_flight: None,
            incoming: BTreeMap::new(),
            garbage: Garbage::default(),
            presence: Presence::default(),
            to_unlink: VecDeque::new(),
            writes: 0,
        }
    }

    pub(crate) fn holding(mut self, manifest: &Manifest, manifest_bytes: u64) -> Store {
        self.hold(manifest, manifest_bytes);
        self
    }

    pub(crate) fn with_incoming(mut self, incoming: BTreeMap<u64, Manifest>) -> Store {
        self.incoming = incoming;
        self
    }

    fn hold(&mut self, manifest: &Manifest, manifest_bytes: u64) {
        let Manifest { number, applied, item_count, .. } = *manifest;
        self.layout = Layout { files: manifest.files.clone(), items_written: item_count };
        self.durable = Durable { number, applied, item_count, manifest_bytes };
    }

    /// Starts a checkpoint of this state. The items written before are part of it and are not written again, unless their
    /// file is mostly garbage.
    ///
    /// Answers `false` and starts nothing if something is being written, or if this state is older than the durable one
    /// (an earlier slot, or a lower count of items): writing it would take back what is promised.
    #[must_use = "false means that no checkpoint was started"]
    pub fn begin(&mut self, outline: Outline) -> bool {
        let is_older = outline.applied < self.durable.applied || outline.item_count < self.durable.item_count;
        if self.running.is_some() || is_older {
            return false;
        }
        self.start(Purpose::Checkpoint, outline, self.layout.clone());
        true
    }

    /// Starts to write an image that came from elsewhere, beside the store's own. `id` names it for good.
    ///
    /// Answers `false` and starts nothing if something is being written, or there is one with this id.
    #[must_use = "false means that nothing was started"]
    pub fn begin_incoming(&mut self, id: u64, outline: Outline) -> bool {
        if self.running.is_some() || id == 0 || self.incoming.contains_key(&id) {
            return false;
        }
        self.start(Purpose::Incoming(id), outline, Layout::default());
        true
    }

    /// Starts to make the complete image with this id the store's own, with one rename. Whoever named it durably must have done
    /// so before. The items are not written again.
    ///
    /// Answers `false` and starts nothing if something is being written, or there is no such image.
    #[must_use = "false means that nothing was started"]
    pub fn install(&mut self, id: u64) -> bool {
        let Some(manifest) = self.incoming.get(&id).filter(|_| self.running.is_none()) else { return false };
        let Manifest { applied, item_count, .. } = *manifest;
        let outline = Outline { applied, meta: manifest.meta.clone(), head: manifest.head.clone(), item_count };
        let layout = Layout { files: manifest.files.clone(), items_written: item_count };
        self.start(Purpose::Install(id), outline, layout);
        true
    }

    fn start(&mut self, purpose: Purpose, outline: Outline, layout: Layout) {
        let rewrite_bytes_left = if purpose == Purpose::Checkpoint { self.config.file_bytes } else { 0 };
        let replaced = Vec::new();
        self.running = Some(Running { purpose, outline, layout, rewrite: None, rewrite_bytes_left, replaced });
    }

    /// Lets go of the complete image with this id; its files are removed by later writes. Nothing may name it any more. Answers
    /// whether there was one that is not just being installed.
    pub fn drop_incoming(&mut self, id: u64) -> bool {
        let is_busy = self.running.as_ref().is_some_and(|running| running.purpose == Purpose::Install(id));
        let Some(manifest) = (!is_busy).then(|| self.incoming.remove(&id)).flatten() else { return false };
        self.to_unlink.push_back(FileKind::Incoming(id));
        self.unlink_items(&manifest.files);
        true
    }

    /// The ids of the complete images from elsewhere.
    pub fn incoming(&self) -> impl Iterator<Item = u64> + '_ {
        self.incoming.keys().copied()
    }

    /// The next slice of what is being written, or of what is to be removed; nothing while one is in flight or when there is
    /// nothing to do. `items` are those of the state that is being written.
    ///
    /// # Panics
    /// When an item is 4 GiB long or longer.
    pub fn next_write(&mut self, items: &dyn Items) -> Option<Write> {
        if self.in_flight.is_some() {
            return None;
        }
        let (operations, manifest) = match self.running.take() {
            Some(mut running) => {
                let step = self.next_step(&mut running, items);
                self.running = Some(running);
                step
            }
            None => (self.next_unlinks()?, None),
        };
        self.writes += 1;
        self.in_flight = Some(InFlight { id: self.writes, manifest });
        Some(Write { id: self.writes, operations })
    }

    fn next_step(&mut self, running: &mut Running, items: &dyn Items) -> (Vec<Operation>, Option<(Manifest, u64)>) {
        let after_checkpoint = self.durable.number;
        let item_count = running.outline.item_count;
        if running.layout.items_written < item_count {
            let slice = running.layout.write_slice(item_count, items, self.config, &mut self.numbers, after_checkpoint);
            return (slice, None);
        }
        if let Some(slice) = self.next_rewritten_slice(running, items) {
            return (slice, None);
        }
        if running.purpose == Purpose::Checkpoint && self.presence.look(&running.layout.files, items) {
            return (Vec::new(), None);
        }
        let number = match running.purpose {
            Purpose::Checkpoint | Purpose::Install(_) => after_checkpoint + 1,
            Purpose::Incoming(id) => id,
        };
        let Outline { applied, ref meta, ref head, item_count } = running.outline;
        let files = running.layout.files.clone();
        let present = self.present(running.purpose, &files);
        let (meta, head) = (meta.clone(), head.clone());
        let manifest = Manifest { number, applied, item_count, files, present, meta, head };
        let bytes = manifest.encode();
        let length = bytes.len() as u64;
        let (unfinished, finished, older) = match running.purpose {
            Purpose::Incoming(id) => (FileKind::UnfinishedIncoming(id), FileKind::Incoming(id), None),
            Purpose::Checkpoint | Purpose::Install(_) => {
                let older = (after_checkpoint > 0).then_some(FileKind::Manifest(after_checkpoint));
                (FileKind::UnfinishedManifest(number), FileKind::Manifest(number), older)
            }
        };
        let mut operations = write_manifest(unfinished.name(), finished.name(), bytes);
        operations.extend(older.map(|kind| Operation::Unlink { file: kind.name() }));
        (operations, Some((manifest, length)))
    }

    /// What the manifest is to say of the items in each file. An image from elsewhere was written with nothing but items that
    /// there are.
    fn present(&self, purpose: Purpose, files: &[FileExtent]) -> Vec<Bytes> {
        files
            .iter()
            .map(|file| if purpose == Purpose::Checkpoint { self.presence.runs(file) } else { Bytes::new() })
            .collect()
    }

    /// The next slice of a file that is written anew, if one is mostly garbage.
    fn next_rewritten_slice(&mut self, running: &mut Running, items: &dyn Items) -> Option<Vec<Operation>> {
        if running.rewrite.is_none() {
            let files = &running.layout.files;
            let file_bytes = self.config.file_bytes;
            let places = self.garbage.next_run(files, file_bytes, running.rewrite_bytes_left.max(1))?;
            if running.rewrite_bytes_left == 0 {
                return None;
            }
            let first = files.get(places.start)?.first_item;
            let end = files.get(places.end - 1)?.next_item;
            let output = Layout { files: Vec::new(), items_written: first };
            running.rewrite = Some(Rewrite { places, end, output });
        }
        let mut rewrite = running.rewrite.take()?;
        let (config, after) = (self.config, self.durable.number);
        let slice = rewrite.output.write_slice(rewrite.end, items, config, &mut self.numbers, after);
        if rewrite.output.items_written < rewrite.end {
            running.rewrite = Some(rewrite);
            return Some(slice);
        }
        let written = rewrite.output.bytes();
        running.rewrite_bytes_left = running.rewrite_bytes_left.saturating_sub(written.max(1));
        let new = rewrite.output.files.clone();
        let old: Vec<FileExtent> = running.layout.files.splice(rewrite.places, new).collect();
        self.garbage.replaced(&old, &rewrite.output.files, items);
        running.replaced.extend(old);
        Some(slice)
    }

    /// What nothing names any more, one file at a time: removing a large one takes long. A manifest's name must be durably
    /// gone before its files go.
    fn next_unlinks(&mut self) -> Option<Vec<Operation>> {
        let file = self.to_unlink.pop_front()?;
        let mut operations = vec![Operation::Unlink { file: file.name() }];
        if matches!(file, FileKind::Incoming(_)) {
            operations.push(Operation::FlushDirectory);
        }
        Some(operations)
    }

    /// Takes note that a write's operations have all been performed. Answers what ended with it. An id that is not in flight
    /// changes nothing.
    pub fn completed(&mut self, id: u64) -> Option<Completed> {
        let done = self.in_flight.take_if(|in_flight| in_flight.id == id)?;
        let (manifest, manifest_bytes) = done.manifest?;
        let running = self.running.take()?;
        match running.purpose {
            Purpose::Checkpoint => {
                self.hold(&manifest, manifest_bytes);
                self.unlink_items(&running.replaced);
                Some(Completed::Checkpoint(manifest.applied))
            }
            Purpose::Incoming(id) => {
                self.incoming.insert(id, manifest);
                Some(Completed::Incoming(id))
            }
            Purpose::Install(id) => {
                self.incoming.remove(&id);
                self.to_unlink.push_back(FileKind::Incoming(id));
                let old = std::mem::take(&mut self.layout.files);
                self.hold(&manifest, manifest_bytes);
                self.unlink_items(&old);
                // What was known, the count of missing items too, was of other items.
                self.garbage = Garbage::default();
                Some(Completed::Installed(manifest.applied))
            }
        }
    }

    /// Removes these, but for what the store's own image has: one that was installed just before a crash is still there under
    /// its old name too.
    fn unlink_items(&mut self, files: &[FileExtent]) {
        let layout = &self.layout;
        let unused = files.iter().filter(|file| layout.files.iter().all(|used| used.number != file.number));
        self.to_unlink.extend(unused.map(|file| FileKind::Items(file.number)));
    }

    /// Looks, a slice at a time, at how much of the item files was dropped; only where it was since the last time, so a call
    /// with nothing to do costs little. Not while a checkpoint runs. Answers whether more is left to look at.
    pub fn survey(&mut self, items: &dyn Items) -> bool {
        self.running.is_none() && self.garbage.survey(&self.layout, items)
    }

    /// Whether a checkpoint now would write files anew that are mostly garbage.
    #[must_use]
    pub fn has_garbage(&self) -> bool {
        self.garbage.has_candidates(&self.layout.files, self.config.file_bytes)
    }

    /// Bytes of dropped items in the item files, as far as surveyed.
    #[must_use]
    pub fn garbage_bytes(&self) -> u64 {
        self.garbage.bytes(&self.layout.files)
    }

    /// Whether something is being written: a checkpoint, an image from elsewhere, or its installation.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the store's own state is being written by a checkpoint.
    #[must_use]
    pub fn is_checkpointing(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.purpose == Purpose::Checkpoint)
    }

    /// The slot of the newest durable checkpoint; 0 if there is none.
    #[must_use]
    pub fn durable(&self) -> Slot {
        self.durable.applied
    }

    /// The bytes of the image, or of what is being written to follow it, whichever is more.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        let written = self.running.as_ref().map_or(0, |running| running.layout.bytes());
        self.layout.bytes().max(written) + self.durable.manifest_bytes
    }
}

fn write_manifest(unfinished: String, finished: String, bytes: Bytes) -> Vec<Operation> {
    vec![
        Operation::Create { file: unfinished.clone(), reserve_bytes: 0 },
        Operation::Write { file: unfinished.clone(), offset: 0, parts: vec![bytes] },
        Operation::Flush { file: unfinished.clone() },
        Operation::Rename { from: unfinished, to: finished },
        Operation::FlushDirectory,
    ]
}
