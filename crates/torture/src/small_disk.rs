//! A disk of a member's own that can be filled: a tmpfs in a mount namespace of this process, which is gone with the process
//! however that ends. Nothing of it is seen outside.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Room for a few journal segments and a checkpoint.
const DISK_BYTES: u64 = 448 << 20;
/// The file that takes the room away.
const BALLAST: &str = "ballast";

/// The words to put before this program's own command line so that it may mount: as root, or as a user where user namespaces
/// are allowed.
///
/// # Errors
/// When neither works here; says so.
pub fn way_to_mount() -> Result<Vec<String>> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    for way in ways {
        let try_mount = "mount -t tmpfs -o size=64k tmpfs /tmp";
        let tried = Command::new("unshare").args(way).args(["sh", "-c", try_mount]).stderr(Stdio::null()).status();
        if tried.is_ok_and(|status| status.success()) {
            return Ok(["unshare"].iter().chain(way).map(|&word| word.to_owned()).collect());
        }
    }
    bail!(
        "full-disk needs a small disk to fill, and this user may not mount one here (`unshare --mount` and `unshare --user` both fail)"
    )
}

/// A mounted disk.
#[derive(Debug)]
pub struct SmallDisk {
    directory: PathBuf,
}

impl SmallDisk {
    /// Mounts an empty one at this directory. Only in a mount namespace of our own: see [`way_to_mount`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn mount(directory: &Path) -> Result<SmallDisk> {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let size = format!("size={DISK_BYTES}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory).output();
        let output = mounted.context("cannot run mount")?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cannot mount a small disk at {}: {}", directory.display(), words.trim());
        Ok(SmallDisk { directory: directory.to_owned() })
    }

    /// Takes room away until this much is left.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn fill(&self, free_bytes: u64) -> Result<()> {
        let stat = rustix::fs::statvfs(&self.directory).context("cannot tell how full a disk is")?;
        let bytes = (stat.f_bavail * stat.f_frsize).saturating_sub(free_bytes);
        if bytes == 0 {
            return Ok(());
        }
        let file = std::fs::File::create(self.directory.join(BALLAST)).context("cannot fill a disk")?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).context("cannot fill a disk")
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn empty(&self) -> Result<()> {
        match std::fs::remove_file(self.directory.join(BALLAST)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("cannot give a disk's room back")
            }
            _ => Ok(()),
        }
    }

    /// Copies what is on it, so that it can be looked at when this process and with it the disk is gone.
    ///
    /// # Errors
    /// When the copy fails.
    pub fn copy_to(&self, target: &Path) -> Result<()> {
        let copied = Command::new("cp").arg("-a").arg(&self.directory).arg(target).status().context("cannot run cp")?;
        ensure!(copied.success(), "cannot copy {} to {}", self.directory.display(), target.display());
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what is still open goes with its process. A failure leaves it to the end of the namespace.
        let _ = Command::new("umount").arg("--lazy").arg(&self.directory).stderr(Stdio::null()).status();
    }
}
