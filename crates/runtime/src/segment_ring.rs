//! A node's segment files: one is written, the oldest make room.

use crate::recording::{RecordingPlan, SEGMENTS};
use quorate_protocol::{Picture, Recordable};
use quorate_recorder::{ClockReading, EXTENSION, Heard, SegmentEnd, SegmentHeader, SegmentWriter};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The node's segment files.
pub(crate) struct Ring {
    plan: RecordingPlan,
    /// Oldest first, with their sizes; the one being written included.
    files: VecDeque<(PathBuf, u64)>,
    open: Option<(SegmentWriter, File)>,
    sequence: u64,
}

impl Ring {
    pub(crate) fn new(plan: RecordingPlan) -> Ring {
        Ring { plan, files: VecDeque::new(), open: None, sequence: 0 }
    }

    /// What the segment that is being written has, in bytes.
    pub(crate) fn open_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |(writer, _)| writer.note_bytes())
    }

    pub(crate) fn append<R: Recordable>(&mut self, notes: Vec<Heard<R>>) -> io::Result<()> {
        let Some((writer, file)) = &mut self.open else { return Ok(()) };
        let bytes = writer.append(notes);
        file.write_all(&bytes)?;
        self.grown(bytes.len());
        Ok(())
    }

    pub(crate) fn end_segment<R: Recordable>(&mut self, end: SegmentEnd) -> io::Result<()> {
        let Some((mut writer, mut file)) = self.open.take() else { return Ok(()) };
        let bytes = writer.end::<R>(end);
        file.write_all(&bytes)?;
        self.grown(bytes.len());
        Ok(())
    }

    pub(crate) fn begin_segment<R: Recordable>(&mut self, clock: ClockReading, picture: Picture<R>) -> io::Result<()> {
        self.sequence += 1;
        let header = SegmentHeader {
            protocol: R::PROTOCOL.to_owned(),
            cluster: picture.setup.cluster,
            node: picture.setup.me,
            name: self.plan.name.clone(),
            incarnation: picture.setup.incarnation,
            sequence: self.sequence,
            program: self.plan.program.clone(),
            clock,
            has_values: self.plan.with_values,
        };
        if self.sequence == 1 {
            self.files = earlier_files(&self.plan.directory, &header)?;
        }
        let path = self.plan.directory.join(header.file_name());
        let (writer, bytes) = SegmentWriter::begin(header, picture);
        self.make_room(bytes.len() as u64)?;
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        file.write_all(&bytes)?;
        self.files.push_back((path, bytes.len() as u64));
        self.open = Some((writer, file));
        Ok(())
    }

    fn grown(&mut self, bytes: usize) {
        if let Some((_, size)) = self.files.back_mut() {
            *size += bytes as u64;
        }
    }

    /// Unlinks the oldest until one more segment fits, of which this much is there already.
    fn make_room(&mut self, picture_bytes: u64) -> io::Result<()> {
        let room = self.plan.bytes_max.saturating_sub(self.plan.bytes_max / SEGMENTS + picture_bytes);
        while self.files.iter().map(|(_, bytes)| bytes).sum::<u64>() > room {
            let Some((path, _)) = self.files.pop_front() else { break };
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What earlier lives of this node left.
fn earlier_files(directory: &Path, header: &SegmentHeader) -> io::Result<VecDeque<(PathBuf, u64)>> {
    let own = format!("{:016x}-", header.node.0);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_segment = Path::new(&name).extension().is_some_and(|extension| extension == EXTENSION);
        if is_segment && name.to_string_lossy().starts_with(&own) {
            files.push((entry.path(), entry.metadata()?.len()));
        }
    }
    // Names sort as they were written.
    files.sort();
    Ok(files.into())
}
