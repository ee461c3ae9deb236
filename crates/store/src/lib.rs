//! A state machine's durable image: append-only item files and atomic checkpoints, without I/O.
//!
//! A [`Store`] owns one directory of a [`quorate_disk::Disk`]. It never touches it, except to read when it opens: it says
//! which [`quorate_disk::Operation`]s it wants, in bounded slices, and is told when they are done. The journal is what
//! makes single commands durable; this image is what lets the journal be cut and a start be quick.
//!
//! # Files
//! - `items-%016x.rev` (number in hexadecimal, from 1, not given again while a file may have it): a header, then items in ascending order of number, of
//!   which some may be missing. Bytes once named by a checkpoint never change and are never written to again.
//! - `checkpoint-%016x` (number in hexadecimal, from 1): one *manifest*. It names the applied slot, the caller's meta and
//!   head, how many items the state counts, and for each item file its items, where it ends and the checksum of everything
//!   before. The newest manifest is the image.
//! - `incoming-%016x` (its id): the manifest of a complete image that came from elsewhere. It becomes the store's own when a
//!   checkpoint's manifest with the same files takes its name.
//! - `checkpoint-%016x.new`, `incoming-%016x.new`: a manifest on its way; after a crash it is litter.
//!
//! # Invariants
//! 1. A manifest has its final name only after it and all that it names are durable: items are flushed, then the
//!    manifest is written under its temporary name and flushed, then renamed, then the directory is flushed.
//! 2. Older manifests, and item files that the newest does not name, are unlinked only after the newer one's name is durable,
//!    so at every moment some complete checkpoint survives a crash.
//! 3. The newest manifest present is the only one believed. If it is damaged the store refuses to open and does not fall
//!    back to an older one: the journal may have been cut up to the newer one's slot.
//! 4. What lies in an item file beyond the newest manifest's end is never read. A later checkpoint writes over it, and
//!    its manifest vouches only for bytes that it wrote or that were vouched for before.
//! 5. Each checkpoint starts to write in a sector of its own, so a torn write cannot hurt what an older one names.
//! 6. An item file says in its header which checkpoint was durable when it was made: if that one is missing, along with
//!    all later ones, then its manifest was lost and not merely never written.
//! 7. Garbage is bounded: once dropped items were surveyed and the checkpoints due were written, no item file is more than half
//!    garbage (and 1 KiB), and of two neighbours not both are remnants below a quarter of a file. A checkpoint writes at most
//!    one file's worth of bytes anew, and one more file, so that it stays short.
//! 8. An image has exactly the items that its state had: a manifest says which items of a file were dropped since they were
//!    written (`presence.rs`), for what one file has lost another may still hold.
//!
//! Invariant 6 has an end: a store that lost its only manifest, or all files, looks like one that never had a checkpoint.
//! Then the owner starts from slot 0, which is right as long as its log still begins there; a protocol whose log was cut
//! refuses to open behind the cut.
//!
//! An item file that no manifest names is litter: its damage or unreadable sectors do not keep the store from opening.
//! One of another release does, because this release cannot know what it stands for.
//!
//! A manifest is one write and one flush whatever the size of its head, unlike items, which go in slices. Heads are meant
//! to be small; one of many megabytes occupies the store's disk for as long as that takes, and memory twice.
//!
//! Any other damage to what the newest manifest names (a flipped bit, a missing or shortened file) is reported by
//! [`StoreError::Corrupt`] and never read as data.
//!
//! | file | what it holds |
//! |---|---|
//! | `store.rs` | [`Store`]: running a checkpoint, slice by slice; images from elsewhere |
//! | `layout.rs` | items into files |
//! | `garbage.rs` | which files are worth writing anew |
//! | `presence.rs` | which items of a file a checkpoint stands for |
//! | `recovery.rs` | [`Store::open`]: what is on disk, checked, and repairs |
//! | `reader.rs` | items out of files |
//! | `item_file.rs` | the bytes of an item file |
//! | `manifest.rs` | the bytes of a manifest |
//! | `names.rs` | file names |
//! | `error.rs` | why a store does not open |

mod error;
mod garbage;
mod item_file;
mod layout;
mod manifest;
mod names;
mod presence;
mod reader;
mod recovery;
mod store;

pub use error::StoreError;
pub use layout::Items;
pub use reader::ItemReader;
pub use recovery::{Image, Opened};
pub use store::{Completed, Outline, Store, StoreConfig, Write};
