//! Recordings on disk.

use anyhow::{Context, Result, ensure};
use quorate_recorder::{EXTENSION, Life, NamedSegment, Segment, lives};
use std::path::{Path, PathBuf};

/// What was found.
pub struct Recordings {
    /// What can be replayed.
    pub lives: Vec<Life>,
    /// Files that cannot be read, each with its name and why.
    pub problems: Vec<String>,
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
    let (mut segments, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        let file = path.display().to_string();
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {file}"))?;
        match Segment::read(bytes.into()) {
            Ok(segment) => segments.push(NamedSegment { file, segment }),
            Err(why) => problems.push(format!("{file}: {why}")),
        }
    }
    Ok(Recordings { lives: lives(segments), problems })
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
