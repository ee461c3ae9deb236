//! File names.

use quorate_disk::{number_of_file, numbered_file};

const ITEMS: &str = "items-";
const MANIFEST: &str = "checkpoint-";
const INCOMING: &str = "incoming-";
const UNFINISHED: &str = ".new";

/// What a file in the store's directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// `items-%016x.rev`
    Items(u64),
    /// `checkpoint-%016x`
    Manifest(u64),
    /// `checkpoint-%016x.new`
    UnfinishedManifest(u64),
    /// `incoming-%016x`
    Incoming(u64),
    /// `incoming-%016x.new`
    UnfinishedIncoming(u64),
}

impl FileKind {
    /// What the name says (numbers count from 1); nothing if the store never gives such a name. Such files are left alone.
    pub(crate) fn of(name: &str) -> Option<FileKind> {
        let numbered = |prefix, ending| number_of_file(name, prefix, ending).filter(|number| *number > 0);
        numbered(ITEMS, ".rev")
            .map(FileKind::Items)
            .or_else(|| numbered(MANIFEST, "").map(FileKind::Manifest))
            .or_else(|| numbered(MANIFEST, UNFINISHED).map(FileKind::UnfinishedManifest))
            .or_else(|| numbered(INCOMING, "").map(FileKind::Incoming))
            .or_else(|| numbered(INCOMING, UNFINISHED).map(FileKind::UnfinishedIncoming))
    }

    pub(crate) fn name(self) -> String {
        match self {
            FileKind::Items(number) => numbered_file(ITEMS, number, ".rev"),
            FileKind::Manifest(number) => numbered_file(MANIFEST, number, ""),
            FileKind::UnfinishedManifest(number) => numbered_file(MANIFEST, number, UNFINISHED),
            FileKind::Incoming(id) => numbered_file(INCOMING, id, ""),
            FileKind::UnfinishedIncoming(id) => numbered_file(INCOMING, id, UNFINISHED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (kind, name) in [
            (FileKind::Items(1), "items-0000000000000001.rev"),
            (FileKind::Manifest(0xab), "checkpoint-00000000000000ab"),
            (FileKind::UnfinishedManifest(u64::MAX), "checkpoint-ffffffffffffffff.new"),
            (FileKind::Incoming(9), "incoming-0000000000000009"),
            (FileKind::UnfinishedIncoming(9), "incoming-0000000000000009.new"),
        ] {
            assert_eq!(kind.name(), name);
            assert_eq!(FileKind::of(name), Some(kind));
        }
    }

    #[test]
    fn other_names_are_not_the_stores() {
        for name in [
            "",
            "items-.rev",
            "items-1.rev",
            "items-0000000000000000.rev",
            "items-00000000000000AB.rev",
            "items-+000000000000001.rev",
            "checkpoint-000000000000000g",
            "checkpoint-0000000000000001.old",
            "journal-0000000000000001",
        ] {
            assert_eq!(FileKind::of(name), None, "{name}");
        }
    }
}
