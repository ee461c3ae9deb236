//! Failing flushes and jumping clocks, without a word of it in the program that serves: a small library in C, compiled here and
//! loaded before the C library by LD_PRELOAD. Each member shares a file of numbers with this process.

use anyhow::{Context, Result, bail, ensure};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("preload/faults.c");
const COMPILERS: [&str; 3] = ["cc", "gcc", "clang"];

/// Places of the numbers in the file, as `faults.c` has them.
const CLOCK_OFFSET_NS: u64 = 0;
const FLUSHES_TO_FAIL: u64 = 8;
const FLUSHES_FAILED: u64 = 16;
const CONTROL_BYTES: u64 = 40;

/// The compiled library.
#[derive(Clone, Debug)]
pub struct Preload {
    library: PathBuf,
}

impl Preload {
    /// Compiles it into this directory.
    ///
    /// # Errors
    /// When this is not Linux or no C compiler works here; says so.
    pub fn compile(directory: &Path) -> Result<Preload> {
        ensure!(cfg!(target_os = "linux"), "failing-flush and clock need LD_PRELOAD, which only Linux has");
        let (source, library) = (directory.join("faults.c"), directory.join("faults.so"));
        std::fs::write(&source, SOURCE).with_context(|| format!("cannot write {}", source.display()))?;
        let mut complaints = Vec::new();
        for compiler in COMPILERS {
            let flags = ["-shared", "-fPIC", "-O2", "-o"];
            match Command::new(compiler).args(flags).arg(&library).arg(&source).arg("-ldl").output() {
                Ok(output) if output.status.success() => return Ok(Preload { library }),
                Ok(output) => {
                    complaints.push(format!("{compiler}: {}", String::from_utf8_lossy(&output.stderr).trim()))
                }
                Err(error) => complaints.push(format!("{compiler}: {error}")),
            }
        }
        bail!("failing-flush and clock need a C compiler, and none works here ({})", complaints.join("; "))
    }

    /// What a member's process is told.
    #[must_use]
    pub fn environment(&self, control: &Control) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.library.clone()), ("TORTURE_CONTROL", control.path.clone())]
    }
}

/// One member's numbers.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    file: File,
}

impl Control {
    /// All zero: nothing is changed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: PathBuf) -> Result<Control> {
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = opened.with_context(|| format!("cannot write {}", path.display()))?;
        file.set_len(CONTROL_BYTES).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Control { path, file })
    }

    /// Sets the wall clock so far before (or behind) the real one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_clock_offset_ms(&self, offset_ms: i64) -> Result<()> {
        self.write(CLOCK_OFFSET_NS, offset_ms.saturating_mul(1_000_000))
    }

    /// So many of the next flushes fail.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn fail_flushes(&self, count: i64) -> Result<()> {
        self.write(FLUSHES_TO_FAIL, count)
    }

    /// How many have failed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn flushes_failed(&self) -> Result<i64> {
        self.read(FLUSHES_FAILED)
    }

    fn write(&self, place: u64, number: i64) -> Result<()> {
        self.file
            .write_all_at(&number.to_ne_bytes(), place)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn read(&self, place: u64) -> Result<i64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, place).with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(i64::from_ne_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `sync FILE` and `date` under the library: programs of the system, which know nothing of it.
    #[test]
    fn flushes_fail_as_often_as_told_and_the_clock_jumps() {
        let directory = tempfile::tempdir().unwrap();
        let preload = match Preload::compile(directory.path()) {
            Ok(preload) => preload,
            Err(why) => {
                assert!(why.to_string().contains("C compiler"), "{why}");
                return;
            }
        };
        let control = Control::create(directory.path().join("control")).unwrap();
        let run = |program: &str, arguments: &[&str]| {
            Command::new(program).args(arguments).envs(preload.environment(&control)).output().unwrap()
        };
        let file = directory.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let file = file.display().to_string();
        control.fail_flushes(1).unwrap();
        assert!(!run("sync", &["--data", &file]).status.success());
        assert!(run("sync", &["--data", &file]).status.success());
        assert_eq!(control.flushes_failed().unwrap(), 1);

        let year =
            |output: std::process::Output| -> i32 { String::from_utf8_lossy(&output.stdout).trim().parse().unwrap() };
        let now = year(run("date", &["+%Y"]));
        control.set_clock_offset_ms(-3 * 366 * 24 * 3_600_000).unwrap();
        let then = year(run("date", &["+%Y"]));
        assert!((3..=4).contains(&(now - then)), "{now} and {then}");
    }
}
