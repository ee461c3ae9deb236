//! File names.

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
        let kind = if let Some(number) = name.strip_prefix("items-").and_then(|rest| rest.strip_suffix(".rev")) {
            FileKind::Items(parse(number)?)
        } else if let Some(rest) = name.strip_prefix("incoming-") {
            match rest.strip_suffix(".new") {
                Some(number) => FileKind::UnfinishedIncoming(parse(number)?),
                None => FileKind::Incoming(parse(rest)?),
            }
        } else {
            let rest = name.strip_prefix("checkpoint-")?;
            match rest.strip_suffix(".new") {
                Some(number) => FileKind::UnfinishedManifest(parse(number)?),
                None => FileKind::Manifest(parse(rest)?),
            }
        };
        // Numbers have one spelling only, so that no two files can have the same one.
        (kind.name() == name).then_some(kind)
    }

    pub(crate) fn name(self) -> String {
        match self {
            FileKind::Items(number) => format!("items-{number:016x}.rev"),
            FileKind::Manifest(number) => format!("checkpoint-{number:016x}"),
            FileKind::UnfinishedManifest(number) => format!("checkpoint-{number:016x}.new"),
            FileKind::Incoming(id) => format!("incoming-{id:016x}"),
            FileKind::UnfinishedIncoming(id) => format!("incoming-{id:016x}.new"),
        }
    }
}

fn parse(number: &str) -> Option<u64> {
    u64::from_str_radix(number, 16).ok().filter(|number| *number > 0)
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
