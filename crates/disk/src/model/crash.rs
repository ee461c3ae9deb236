//! What a crash does to everything that was not flushed.

use super::{Change, Contents, Image, ModelDisk, Pending};
use crate::operation::SECTOR_BYTES;
use std::ops::Range;

/// How the unflushed writes of one file fare. Sector by sector covers the other three; they are drawn
/// by themselves because a fair coin per sector would all but never produce them.
const FATES: u64 = 4;

impl ModelDisk {
    /// Crashes and comes back: afterwards only what survived exists, and all of it is durable.
    ///
    /// `choose(n)` decides and returns a number below `n`. Of the directory's unflushed changes some prefix has
    /// happened, as on most file systems, or any of them and not others, each as a whole. Of each file's unflushed
    /// writes every sector of 512 bytes lands, vanishes or becomes garbage; an unflushed reservation holds or not.
    pub fn crash(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        let pending = std::mem::take(&mut self.pending_names);
        // Of a single change both rules leave the same.
        if pending.len() > 1 && choose(2) == 1 {
            for change in pending.iter().filter(|_| choose(2) == 0) {
                change.apply(&mut self.synced_names);
            }
        } else {
            let survivors = pick(choose, pending.len() + 1);
            for change in &pending[..survivors] {
                change.apply(&mut self.synced_names);
            }
        }
        self.names = self.synced_names.clone();
        self.forget_nameless_files();
        for contents in self.contents.values_mut() {
            contents.crash(choose);
        }
    }
}

impl Contents {
    fn crash(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            match choose(FATES) {
                0 => pending.iter().for_each(|pending| pending.change.apply(&mut self.durable)),
                1 => {}
                2 => survive_in_order(&pending, &mut self.durable, choose),
                _ => survive_sector_by_sector(&pending, &mut self.durable, choose),
            }
        }
        self.current = self.durable.clone();
    }
}

/// The power went while the writes trickled out in order; the sector under the head may be garbage.
fn survive_in_order(pending: &[Pending], image: &mut Image, choose: &mut dyn FnMut(u64) -> u64) {
    let total: usize = pending.iter().map(|pending| pieces(&pending.change).count()).sum();
    let mut left = pick(choose, total + 1);
    for pending in pending {
        for piece in pieces(&pending.change) {
            if left == 0 {
                if choose(2) == 1 {
                    fill_with_garbage(&pending.change, piece, image, choose);
                }
                return;
            }
            land(&pending.change, piece, image);
            left -= 1;
        }
    }
}

fn survive_sector_by_sector(pending: &[Pending], image: &mut Image, choose: &mut dyn FnMut(u64) -> u64) {
    for pending in pending {
        for piece in pieces(&pending.change) {
            match choose(3) {
                0 => land(&pending.change, piece, image),
                1 => {}
                _ => fill_with_garbage(&pending.change, piece, image, choose),
            }
        }
    }
}

/// The parts of a change that survive or not by themselves, as ranges of its bytes; a reservation is one.
fn pieces(change: &Change) -> impl Iterator<Item = Range<usize>> {
    let (offset, length) = match change {
        Change::Reserve { .. } => (0, 1),
        Change::Write { offset, bytes } => (*offset, bytes.len()),
    };
    let sector = SECTOR_BYTES as u64;
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= length {
            return None;
        }
        let to_next_sector = sector - (offset + start as u64) % sector;
        let end = usize::try_from(to_next_sector).map_or(length, |count| length.min(start + count));
        let piece = start..end;
        start = end;
        Some(piece)
    })
}

fn land(change: &Change, piece: Range<usize>, image: &mut Image) {
    match change {
        Change::Reserve { length } => image.grow(*length),
        Change::Write { offset, bytes } => image.write(offset + piece.start as u64, &bytes[piece]),
    }
}

fn fill_with_garbage(change: &Change, piece: Range<usize>, image: &mut Image, choose: &mut dyn FnMut(u64) -> u64) {
    // Reserved space is zeros or not there; a file system does not show old blocks in it.
    let Change::Write { offset, .. } = change else { return };
    let mut state = choose(u64::MAX);
    let garbage: Vec<u8> = piece.clone().map(|_| garbage_byte(&mut state)).collect();
    image.write(offset + piece.start as u64, &garbage);
}

/// The top byte of a step of splitmix64.
pub(super) fn garbage_byte(state: &mut u64) -> u8 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 56) as u8
}

/// One of `count` choices; a single one is not asked about.
fn pick(choose: &mut dyn FnMut(u64) -> u64, count: usize) -> usize {
    if count <= 1 {
        return 0;
    }
    usize::try_from(choose(count as u64)).map_or(count - 1, |picked| picked.min(count - 1))
}
