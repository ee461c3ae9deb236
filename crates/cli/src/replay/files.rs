//! Recordings on disk.

use anyhow::{Context, Result, bail, ensure};
use quorate_recorder::{EXTENSION, Life, NamedSegment, Segment, SegmentError, SegmentHeader, lives};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What was found.
pub struct Recordings {
    /// What can be replayed.
    pub lives: Vec<Life>,
    /// Files that cannot be read, each with its name and why.
    pub problems: Vec<String>,
    /// Files that were left out and that nothing is wrong with.
    pub remarks: Vec<String>,
}

/// Reads all segments in these directories and right below them.
pub fn read_recordings(directories: &[PathBuf]) -> Result<Recordings> {
    let mut paths = Vec::new();
    for directory in directories {
        ensure!(directory.is_dir(), "{} is no directory", directory.display());
        for entry in sorted_entries(directory)? {
            if entry.is_dir() {
                paths.extend(sorted_entries(&entry)?.into_iter().filter(|path| is_segment(path)));
            } else if is_segment(&entry) {
                paths.push(entry);
            }
        }
    }
    ensure!(!paths.is_empty(), "no recording is there: no file ends with .{EXTENSION}");
    let mut given = BTreeSet::new();
    let (mut segments, mut problems, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
    for path in &paths {
        let file = path.display().to_string();
        if !given.insert(path.canonicalize().with_context(|| format!("cannot read {file}"))?) {
            continue;
        }
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {file}"))?;
        match Segment::read(bytes.into()) {
            Ok(segment) => segments.push(NamedSegment { file, segment }),
            Err(SegmentError::Empty) if is_last_of_its_life(path, &paths) => {
                remarks.push(format!("{file}: it ends before its first note, and is left out"));
            }
            Err(why) => problems.push(format!("{file}: {why}")),
        }
    }
    let segments = without_copies(segments, &mut problems, &mut remarks);
    if let Some((one, other)) = two_clusters(&segments) {
        bail!(
            "{} is of cluster {:x} and {} of cluster {:x}: replay one cluster at a time",
            one.file,
            id(one),
            other.file,
            id(other)
        );
    }
    Ok(Recordings { lives: lives(segments), problems, remarks })
}

fn id(named: &NamedSegment) -> u64 {
    named.segment.header.cluster.0
}

fn two_clusters(segments: &[NamedSegment]) -> Option<(&NamedSegment, &NamedSegment)> {
    let first = segments.first()?;
    segments.iter().find(|other| id(other) != id(first)).map(|other| (first, other))
}

/// A node that is killed between making a file and writing to it leaves an empty one, as its last.
fn is_last_of_its_life(path: &Path, paths: &[PathBuf]) -> bool {
    let name_of = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name_of(path);
    let Some((life, _)) = name.rsplit_once('-') else { return false };
    !paths.iter().map(|other| name_of(other)).any(|other| other > name && other.starts_with(life))
}

/// A segment that is there twice is told once; two that claim one place are a problem, and the first is told.
fn without_copies(
    mut segments: Vec<NamedSegment>,
    problems: &mut Vec<String>,
    remarks: &mut Vec<String>,
) -> Vec<NamedSegment> {
    let place = |header: &SegmentHeader| (header.cluster, header.node, header.incarnation, header.sequence);
    segments.sort_by_key(|named| place(&named.segment.header));
    let mut kept: Vec<NamedSegment> = Vec::new();
    for named in segments {
        match kept.last() {
            Some(before) if place(&before.segment.header) == place(&named.segment.header) => {
                if before.segment == named.segment {
                    remarks.push(format!("{}: it is the same as {}, and is left out", named.file, before.file));
                } else {
                    problems.push(format!(
                        "{}: it is segment {} of the same start as {}, and says something else: left out",
                        named.file, named.segment.header.sequence, before.file
                    ));
                }
            }
            _ => kept.push(named),
        }
    }
    kept
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

fn sorted_entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.with_context(|| format!("cannot read {}", directory.display()))?;
    paths.sort();
    Ok(paths)
}
