//! Finding item files that are mostly dropped items, and choosing what to write anew.

use crate::item_file::{FRAME_HEADER_BYTES, HEADER_BYTES};
use crate::layout::{Items, Layout};
use crate::manifest::FileExtent;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Numbers looked at by one call.
const SLICE_NUMBERS: u64 = 16 * 1024;
/// Header and padding of a file are not worth a rewrite.
const OVERHEAD_BYTES: u64 = 1024;

/// What of a file is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Surveyed {
    live_items: u64,
    live_bytes: u64,
    /// How long it was then: what was added since is not known to be garbage.
    end: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnderWay {
    file: FileExtent,
    at: u64,
    found: Surveyed,
}

/// What is known of the garbage in item files. Found out in slices, and only anew where items were dropped since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Garbage {
    by_file: BTreeMap<u64, Surveyed>,
    to_do: VecDeque<FileExtent>,
    under_way: Option<UnderWay>,
    /// Items missing when the last survey began.
    missing: u64,
}

impl Garbage {
    /// Surveys a slice; begins anew if items were dropped since the last survey began. Answers whether more is left.
    pub(crate) fn survey(&mut self, layout: &Layout, items: &dyn Items) -> bool {
        if self.to_do.is_empty() && self.under_way.is_none() {
            let missing = layout.items_written - items.live_items(0..layout.items_written).min(layout.items_written);
            if missing == self.missing {
                return false;
            }
            self.missing = missing;
            self.to_do.extend(&layout.files);
        }
        if self.under_way.is_none() {
            self.under_way = self.next_changed(items);
        }
        if let Some(mut survey) = self.under_way.take() {
            let end = survey.file.next_item.min(survey.at + SLICE_NUMBERS);
            for number in survey.at..end {
                if let Some(item) = items.item(number) {
                    survey.found.live_items += 1;
                    survey.found.live_bytes += (item.len() + FRAME_HEADER_BYTES) as u64;
                }
            }
            survey.at = end;
            if end < survey.file.next_item {
                self.under_way = Some(survey);
            } else {
                self.by_file.insert(survey.file.number, survey.found);
            }
        }
        self.under_way.is_some() || !self.to_do.is_empty()
    }

    fn next_changed(&mut self, items: &dyn Items) -> Option<UnderWay> {
        while let Some(file) = self.to_do.pop_front() {
            let live = items.live_items(file.first_item..file.next_item);
            if self.by_file.get(&file.number).is_none_or(|known| known.live_items != live) {
                let found = Surveyed { live_items: 0, live_bytes: HEADER_BYTES as u64, end: file.end };
                return Some(UnderWay { file, at: file.first_item, found });
            }
        }
        None
    }

    /// What of a file is garbage, as far as is known.
    fn of(&self, file: &FileExtent) -> u64 {
        self.by_file.get(&file.number).map_or(0, |known| known.end.saturating_sub(known.live_bytes))
    }

    /// More than half of it is garbage.
    fn is_wasteful(&self, file: &FileExtent) -> bool {
        self.of(file) > file.end / 2 + OVERHEAD_BYTES
    }

    /// So little is left of it that it should become part of another file.
    fn is_remnant(&self, file: &FileExtent, file_bytes: u64) -> bool {
        let may_live = |known: &Surveyed| known.live_bytes + file.end.saturating_sub(known.end);
        self.by_file.get(&file.number).is_some_and(|known| may_live(known) < file_bytes / 4)
    }

    /// Garbage in these files, as far as is known.
    pub(crate) fn bytes(&self, files: &[FileExtent]) -> u64 {
        files.iter().map(|file| self.of(file)).sum()
    }

    /// Whether some file should be written anew.
    pub(crate) fn has_candidates(&self, files: &[FileExtent], file_bytes: u64) -> bool {
        self.next_run(files, file_bytes, u64::MAX).is_some()
    }

    /// The first run of neighbours that should be written anew as one, as places in `files`: every wasteful file, with the
    /// remnants beside it, up to so many bytes that are still live, or one file.
    pub(crate) fn next_run(&self, files: &[FileExtent], file_bytes: u64, live_bytes_max: u64) -> Option<Range<usize>> {
        let newest = files.len().saturating_sub(1);
        let joins = |place: usize, file: &FileExtent| {
            self.is_wasteful(file) || (place != newest && self.is_remnant(file, file_bytes))
        };
        let mut start = 0;
        while start < files.len() {
            let mut end = start;
            let mut live = 0;
            while let Some(file) = files.get(end).filter(|file| joins(end, file)) {
                live += file.end - self.of(file).min(file.end);
                if end > start && live > live_bytes_max {
                    break;
                }
                end += 1;
            }
            if end - start > 1 || (end > start && self.is_wasteful(&files[start])) {
                return Some(start..end);
            }
            start = end + 1;
        }
        None
    }

    /// Some files were replaced by others that have no garbage.
    pub(crate) fn replaced(&mut self, old: &[FileExtent], new: &[FileExtent], items: &dyn Items) {
        let is_old = |file: &FileExtent| old.iter().any(|old| old.number == file.number);
        for file in old {
            self.by_file.remove(&file.number);
        }
        self.to_do.retain(|file| !is_old(file));
        self.under_way.take_if(|survey| is_old(&survey.file));
        for file in new {
            let live_items = items.live_items(file.first_item..file.next_item);
            self.by_file.insert(file.number, Surveyed { live_items, live_bytes: file.end, end: file.end });
        }
    }
}
