//! Real files behind the disk trait.

use bytes::Bytes;
use quorate_disk::{Disk, DiskError, DiskErrorKind, Operation};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// One directory of flat files on a real file system. Handles stay open: a flush after a failed flush on a new handle
/// could report success for pages that were dropped, so whoever sees an error here must end the process.
#[derive(Debug)]
pub struct FileDisk {
    directory: PathBuf,
    open: RefCell<BTreeMap<String, File>>,
    is_writable: bool,
    /// Since it was opened.
    read_bytes: Cell<u64>,
}

/// A start that reads much says so whenever it has read so much more.
const PROGRESS_BYTES: u64 = 256 << 20;

impl FileDisk {
    /// The directory, created (durably) if it is missing.
    ///
    /// # Errors
    /// When it cannot be created or opened.
    pub fn open(directory: &Path) -> Result<FileDisk, DiskError> {
        create_directory(directory)?;
        Ok(FileDisk::of(directory, true))
    }

    /// The directory as it is, on a read-only mount too. Nothing is created or changed, and every operation is refused.
    #[must_use]
    pub fn read_only(directory: &Path) -> FileDisk {
        FileDisk::of(directory, false)
    }

    fn of(directory: &Path, is_writable: bool) -> FileDisk {
        let (directory, open) = (directory.to_owned(), RefCell::new(BTreeMap::new()));
        FileDisk { directory, open, is_writable, read_bytes: Cell::new(0) }
    }

    fn with_file<T>(
        &self,
        what: &'static str,
        name: &str,
        act: impl FnOnce(&File) -> io::Result<T>,
    ) -> Result<T, DiskError> {
        let path = self.directory.join(name);
        let mut open = self.open.borrow_mut();
        if !open.contains_key(name) {
            let file = OpenOptions::new()
                .read(true)
                .write(self.is_writable)
                .open(&path)
                .map_err(|error| disk_error("open", &path, &error))?;
            open.insert(name.to_owned(), file);
        }
        act(&open[name]).map_err(|error| disk_error(what, &path, &error))
    }

    fn create(&self, name: &str, reserve_bytes: u64) -> Result<(), DiskError> {
        let path = self.directory.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| disk_error("create", &path, &error))?;
        if reserve_bytes > 0 {
            reserve(&file, reserve_bytes).map_err(|error| disk_error("reserve space for", &path, &error))?;
        }
        self.open.borrow_mut().insert(name.to_owned(), file);
        Ok(())
    }
}

impl Disk for FileDisk {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        let failed = |error: io::Error| disk_error("list", &self.directory, &error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn length(&self, file: &str) -> Result<u64, DiskError> {
        self.with_file("measure", file, |file| file.metadata().map(|metadata| metadata.len()))
    }

    fn read(&self, file: &str, offset: u64, length: usize) -> Result<Bytes, DiskError> {
        self.with_file("read", file, |file| {
            let available = file.metadata()?.len().saturating_sub(offset);
            let length = length.min(usize::try_from(available).unwrap_or(usize::MAX));
            let mut buffer = vec![0; length];
            file.read_exact_at(&mut buffer, offset)?;
            let before = self.read_bytes.get();
            self.read_bytes.set(before + length as u64);
            if before / PROGRESS_BYTES < self.read_bytes.get() / PROGRESS_BYTES {
                let megabytes = self.read_bytes.get() >> 20;
                tracing::info!(directory = %self.directory.display(), megabytes, "reading stored data");
            }
            Ok(Bytes::from(buffer))
        })
    }

    fn perform(&mut self, operation: &Operation) -> Result<(), DiskError> {
        if !self.is_writable {
            return Err(DiskError {
                what: "write to",
                file: self.directory.display().to_string(),
                why: "it was opened for reading only".to_owned(),
                kind: DiskErrorKind::Permission,
            });
        }
        match operation {
            Operation::Create { file, reserve_bytes } => self.create(file, *reserve_bytes),
            Operation::Write { file, offset, parts } => self.with_file("write", file, |file| {
                let mut at = *offset;
                for part in parts {
                    file.write_all_at(part, at)?;
                    at += part.len() as u64;
                }
                Ok(())
            }),
            Operation::Flush { file } => self.with_file("flush", file, File::sync_data),
            Operation::Forget { file } => self.with_file("forget the cache of", file, |file| {
                Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
            }),
            Operation::FlushDirectory => sync_directory(&self.directory),
            Operation::Rename { from, to } => {
                let (old, new) = (self.directory.join(from), self.directory.join(to));
                std::fs::rename(&old, &new).map_err(|error| disk_error("rename", &old, &error))?;
                let mut open = self.open.borrow_mut();
                open.remove(to);
                if let Some(file) = open.remove(from) {
                    open.insert(to.clone(), file);
                }
                Ok(())
            }
            Operation::Unlink { file } => {
                let path = self.directory.join(file);
                self.open.borrow_mut().remove(file);
                std::fs::remove_file(&path).map_err(|error| disk_error("remove", &path, &error))
            }
        }
    }
}

/// Reserves space so that appending cannot run out of it, falling back to a plain length where the file system cannot.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(bytes),
        Err(error) => Err(error.into()),
    }
}

/// Makes the directory and whatever is missing above it, durably: the names of all that is made, and of the directory itself
/// even where it was there, since whoever made it may not have flushed it.
fn create_directory(directory: &Path) -> Result<(), DiskError> {
    let mut parents = Vec::new();
    let mut at = directory;
    while let Some(parent) = at.parent() {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        parents.push(parent);
        if at.exists() || parent == Path::new(".") {
            break;
        }
        at = parent;
    }
    std::fs::create_dir_all(directory).map_err(|error| disk_error("create directory", directory, &error))?;
    parents.into_iter().try_for_each(sync_directory)
}

fn sync_directory(directory: &Path) -> Result<(), DiskError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| disk_error("flush directory", directory, &error))
}

fn disk_error(what: &'static str, file: &Path, error: &io::Error) -> DiskError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskErrorKind::Full,
        io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists => DiskErrorKind::Name,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => DiskErrorKind::Permission,
        _ => DiskErrorKind::Medium,
    };
    DiskError { what, file: file.display().to_string(), why: error.to_string(), kind }
}

/// Keeps a second process out of a data directory for as long as it lives.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock, creating the directory if it is missing.
    ///
    /// # Errors
    /// When the directory cannot be written, or ([`DiskErrorKind::Name`]) another process holds the lock.
    pub fn take(directory: &Path) -> Result<DirectoryLock, DiskError> {
        create_directory(directory)?;
        let path = directory.join("LOCK");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| disk_error("open", &path, &error))?;
        DirectoryLock::lock(file, &path, rustix::fs::FlockOperation::NonBlockingLockExclusive)
    }

    /// Keeps every node out of a directory that is only read, without changing it; several readers may. Nothing to hold where no
    /// node ever ran.
    ///
    /// # Errors
    /// When the lock cannot be opened, or ([`DiskErrorKind::Name`]) a process is using the directory.
    pub fn share(directory: &Path) -> Result<Option<DirectoryLock>, DiskError> {
        let path = directory.join("LOCK");
        match File::open(&path) {
            Ok(file) => DirectoryLock::lock(file, &path, rustix::fs::FlockOperation::NonBlockingLockShared).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(disk_error("open", &path, &error)),
        }
    }

    fn lock(file: File, path: &Path, how: rustix::fs::FlockOperation) -> Result<DirectoryLock, DiskError> {
        match rustix::fs::flock(&file, how) {
            Ok(()) => Ok(DirectoryLock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DiskError {
                what: "lock",
                file: path.display().to_string(),
                why: "another process is using this data directory".to_owned(),
                kind: DiskErrorKind::Name,
            }),
            Err(error) => Err(disk_error("lock", path, &error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_what_was_written_also_under_its_new_name() {
        let directory = tempfile::tempdir().unwrap();
        let mut disk = FileDisk::open(&directory.path().join("a/b")).unwrap();
        let file = || "one".to_owned();
        disk.perform_all(&[
            Operation::Create { file: file(), reserve_bytes: 4096 },
            Operation::Write {
                file: file(),
                offset: 10,
                parts: vec![Bytes::from_static(b"ab"), Bytes::from_static(b"cd")],
            },
            Operation::Flush { file: file() },
            Operation::Forget { file: file() },
            Operation::Rename { from: file(), to: "two".to_owned() },
            Operation::FlushDirectory,
        ])
        .unwrap();
        assert_eq!(disk.list().unwrap(), ["two"]);
        assert_eq!(disk.length("two").unwrap(), 4096);
        assert_eq!(&disk.read("two", 9, 6).unwrap()[..], b"\0abcd\0");
        assert_eq!(disk.read("two", 4000, 1000).unwrap().len(), 96);
        let again = disk.perform(&Operation::Create { file: "two".to_owned(), reserve_bytes: 0 }).unwrap_err();
        assert_eq!(again.kind, DiskErrorKind::Name);
        disk.perform(&Operation::Unlink { file: "two".to_owned() }).unwrap();
        assert_eq!(disk.length("two").unwrap_err().kind, DiskErrorKind::Name);
    }

    #[test]
    fn a_second_process_is_kept_out() {
        let directory = tempfile::tempdir().unwrap();
        let held = DirectoryLock::take(directory.path()).unwrap();
        let refused = DirectoryLock::take(directory.path()).unwrap_err();
        assert!(refused.why.contains("another process"));
        assert!(DirectoryLock::share(directory.path()).unwrap_err().why.contains("another process"));
        drop(held);
        DirectoryLock::take(directory.path()).unwrap();
    }

    #[test]
    fn readers_share_a_directory_keep_nodes_out_and_change_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert!(DirectoryLock::share(directory.path()).unwrap().is_none(), "no node ever ran here");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        drop(DirectoryLock::take(directory.path()).unwrap());
        let readers = [(); 2].map(|()| DirectoryLock::share(directory.path()).unwrap().unwrap());
        assert!(DirectoryLock::take(directory.path()).unwrap_err().why.contains("another process"));
        drop(readers);
        let mut disk = FileDisk::read_only(&directory.path().join("none"));
        assert_eq!(disk.list().unwrap_err().kind, DiskErrorKind::Name);
        assert_eq!(disk.perform(&Operation::FlushDirectory).unwrap_err().kind, DiskErrorKind::Permission);
        assert!(!directory.path().join("none").exists());
    }
}
