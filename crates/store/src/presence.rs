//! Which items of each file a checkpoint stands for.
//!
//! A file keeps the bytes of an item that was dropped after it was written. Without a word about that, reading the image would
//! bring the item back; and where another item, dropped later, was already left out of a file written anew, the two would
//! contradict each other: a key whose tombstone is gone and whose put is still there would live again. So a manifest says,
//! for every file that lacks an item, which of its numbers there are.

use crate::layout::Items;
use crate::manifest::FileExtent;
use bytes::Bytes;
use quorate_wire::{Reader, WireError, put_u64};
use std::collections::BTreeMap;

/// Numbers looked at by one call.
const SLICE_NUMBERS: u64 = 16 * 1024;

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    next_item: u64,
    /// Items are only ever dropped: as long as there are as many, they are the same.
    live_items: u64,
    runs: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Scan {
    file: FileExtent,
    live_items: u64,
    at: u64,
    runs: Vec<u8>,
    /// Whether the run under way is one of items, and how long it is.
    run: (bool, u64),
}

/// The items that there are, file by file: found out in slices, and anew only where some were dropped or added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Presence {
    known: BTreeMap<u64, Known>,
    scan: Option<Scan>,
}

impl Presence {
    /// Looks at a slice of what is not known yet of these files. Answers whether more is left.
    pub(crate) fn look(&mut self, files: &[FileExtent], items: &dyn Items) -> bool {
        if self.scan.is_none() {
            self.scan = self.next_unknown(files, items);
        }
        let Some(mut scan) = self.scan.take() else {
            self.known.retain(|number, _| files.iter().any(|file| file.number == *number));
            return false;
        };
        let end = scan.file.next_item.min(scan.at + SLICE_NUMBERS);
        for number in scan.at..end {
            scan.note(items.item(number).is_some());
        }
        scan.at = end;
        if end < scan.file.next_item {
            self.scan = Some(scan);
        } else {
            let FileExtent { number, next_item, .. } = scan.file;
            let live_items = scan.live_items;
            self.known.insert(number, Known { next_item, live_items, runs: scan.finish() });
        }
        true
    }

    fn next_unknown(&mut self, files: &[FileExtent], items: &dyn Items) -> Option<Scan> {
        for file in files {
            let live_items = items.live_items(file.first_item..file.next_item);
            if live_items == file.next_item - file.first_item {
                self.known.remove(&file.number);
                continue;
            }
            let is_known = |known: &Known| known.next_item == file.next_item && known.live_items == live_items;
            if !self.known.get(&file.number).is_some_and(is_known) {
                return Some(Scan { file: *file, live_items, at: file.first_item, runs: Vec::new(), run: (true, 0) });
            }
        }
        None
    }

    /// The runs of a file as [`Presence::look`] has found them: empty if no item is missing.
    pub(crate) fn runs(&self, file: &FileExtent) -> Bytes {
        self.known.get(&file.number).map_or_else(Bytes::new, |known| known.runs.clone())
    }
}

impl Scan {
    fn note(&mut self, is_there: bool) {
        let (run_is_there, length) = &mut self.run;
        if *run_is_there == is_there {
            *length += 1;
        } else {
            put_u64(*length, &mut self.runs);
            self.run = (is_there, 1);
        }
    }

    fn finish(mut self) -> Bytes {
        put_u64(self.run.1, &mut self.runs);
        Bytes::from(self.runs)
    }
}

/// Answers, for ascending numbers from a file's first item on, whether the item is there: runs of items that are and that are
/// not take turns, the first being one of items.
#[derive(Clone, Debug)]
pub(crate) struct PresentItems {
    runs: Option<Reader>,
    is_there: bool,
    /// The run under way ends before this number.
    run_end: u64,
}

impl PresentItems {
    /// Empty runs mean that every item is there.
    pub(crate) fn new(first_item: u64, runs: &Bytes) -> PresentItems {
        let runs = (!runs.is_empty()).then(|| Reader::new(runs.clone()));
        // As if a run of missing items had just ended.
        PresentItems { runs, is_there: false, run_end: first_item }
    }

    /// # Errors
    /// When the runs end before this number.
    pub(crate) fn contains(&mut self, number: u64) -> Result<bool, WireError> {
        let Some(runs) = &mut self.runs else { return Ok(true) };
        while number >= self.run_end {
            let length = runs.u64("run of items")?;
            self.run_end = self.run_end.saturating_add(length);
            self.is_there = !self.is_there;
        }
        Ok(self.is_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    struct Flags(Vec<bool>);

    impl Items for Flags {
        fn item(&self, number: u64) -> Option<Bytes> {
            self.0.get(usize::try_from(number).ok()?).filter(|is_there| **is_there).map(|_| Bytes::new())
        }
        fn live_items(&self, numbers: Range<u64>) -> u64 {
            numbers.filter(|number| self.item(*number).is_some()).count() as u64
        }
    }

    fn file(number: u64, items: Range<u64>) -> FileExtent {
        FileExtent { number, first_item: items.start, next_item: items.end, end: 512, checksum: 0 }
    }

    fn read_back(presence: &Presence, file: &FileExtent) -> Vec<bool> {
        let mut present = PresentItems::new(file.first_item, &presence.runs(file));
        (file.first_item..file.next_item).map(|number| present.contains(number).unwrap()).collect()
    }

    #[test]
    fn what_is_missing_is_told_file_by_file() {
        let mut items = Flags((0..40_000).map(|number| number % 3 != 0 && number != 20_000).collect());
        (100..200).for_each(|number| items.0[number] = true);
        let files = [file(7, 0..100), file(2, 100..200), file(9, 200..40_000)];
        let mut presence = Presence::default();
        let mut calls = 0;
        while presence.look(&files, &items) {
            calls += 1;
        }
        assert_eq!(calls, 1 + 3, "the complete file costs nothing, the long one three slices");
        for file in &files {
            let range = usize::try_from(file.first_item).unwrap()..usize::try_from(file.next_item).unwrap();
            assert_eq!(read_back(&presence, file), items.0[range], "file {}", file.number);
        }
        assert!(presence.runs(&files[1]).is_empty());
    }

    #[test]
    fn only_what_changed_is_looked_at_again() {
        let mut items = Flags((0..300).map(|number| number != 5).collect());
        let mut presence = Presence::default();
        while presence.look(&[file(1, 0..100), file(2, 100..300)], &items) {}
        items.0[250] = false;
        let files = [file(1, 0..100), file(2, 100..300)];
        assert!(presence.look(&files, &items));
        assert!(!presence.look(&files, &items));
        assert_eq!(read_back(&presence, &files[1])[150], items.0[250]);
        assert!(!presence.look(&[files[0]], &items));
        assert!(presence.runs(&files[1]).is_empty(), "a file that is gone is forgotten");
    }

    #[test]
    fn runs_that_end_early_are_an_error() {
        let mut present = PresentItems::new(10, &Bytes::from_static(&[2, 1]));
        assert_eq!((10..13).map(|number| present.contains(number).unwrap()).collect::<Vec<_>>(), [true, true, false]);
        assert!(present.contains(13).is_err());
    }
}
