//! A copy of the tree in which mutants are made, and its builds.
//!
//! The copy lies below the target directory and keeps the times of files that do not change, so that cargo builds only what a patch
//! touched. What is not committed yet is copied too.

use super::mutant::Mutant;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const RUNNER: &str = "quorate-zoo-runner";
const PROFILE: &str = "zoo";
/// So much of what a tool says is handed on.
const LINES_OF_AN_ERROR: usize = 20;

/// The copy.
pub(crate) struct Scratch {
    root: PathBuf,
    tree: PathBuf,
    target: PathBuf,
}

impl Scratch {
    /// Makes the copy equal to the tree at `root`.
    pub(crate) fn prepare(root: &Path) -> Result<Scratch> {
        let below = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("zoo");
        let scratch = Scratch { root: root.to_owned(), tree: below.join("tree"), target: below.join("target") };
        scratch.restore()?;
        Ok(scratch)
    }

    /// Writes every file that differs, and removes those that are not in the tree.
    pub(crate) fn restore(&self) -> Result<()> {
        let wanted = files_of(&self.root)?;
        for file in &wanted {
            let text = fs::read(self.root.join(file)).with_context(|| file.display().to_string())?;
            let copy = self.tree.join(file);
            if fs::read(&copy).ok().as_ref() != Some(&text) {
                fs::create_dir_all(copy.parent().context("a file lies in a folder")?)?;
                fs::write(&copy, text).with_context(|| copy.display().to_string())?;
            }
        }
        for file in files_of(&self.tree)?.difference(&wanted) {
            fs::remove_file(self.tree.join(file))?;
        }
        Ok(())
    }

    /// Makes the mutant and builds its runner.
    pub(crate) fn build(&self, mutant: &Mutant) -> Result<PathBuf> {
        self.restore()?;
        succeed(&apply(&self.tree, &mutant.patch, false)?)?;
        let mut built = self.compile()?;
        if !built.status.success() && String::from_utf8_lossy(&built.stderr).contains("error: linking with") {
            // A build that was interrupted can leave objects that do not fit each other.
            fs::remove_dir_all(self.target.join(PROFILE).join("incremental"))?;
            built = self.compile()?;
        }
        succeed(&built)?;
        Ok(self.target.join(PROFILE).join(RUNNER))
    }

    fn compile(&self) -> Result<Output> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--locked", "--package", RUNNER, "--profile", PROFILE]);
        // A mutant may well leave something unused.
        command.env("RUSTFLAGS", "-Awarnings").env("CARGO_TARGET_DIR", &self.target).current_dir(&self.tree);
        command.output().context("cargo cannot be started")
    }
}

/// Whether the patch applies to the tree at `root`; if not, why.
pub(crate) fn check(root: &Path, mutant: &Mutant) -> Result<(), String> {
    let checked = apply(root, &mutant.patch, true).and_then(|output| succeed(&output));
    checked.map_err(|error| format!("{}: {error:#}", mutant.name))
}

fn apply(tree: &Path, patch: &Path, only_check: bool) -> Result<Output> {
    let mut command = Command::new("git");
    command.arg("apply").args(only_check.then_some("--check")).arg(patch).current_dir(tree);
    // Below a repository git would take the paths in a patch for those of its root.
    command.env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree)).env_remove("GIT_DIR");
    command.output().context("git cannot be started")
}

fn succeed(output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let first_lines: Vec<&str> = words.lines().take(LINES_OF_AN_ERROR).collect();
    bail!("{}\n{}", output.status, first_lines.join("\n"))
}

/// A number that changes with every commit; 0 where there is no repository.
pub(crate) fn commit_number(root: &Path) -> usize {
    let head = Command::new("git").args(["rev-parse", "--short=7", "HEAD"]).current_dir(root).output();
    let text = head.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    usize::from_str_radix(text.get(..7).unwrap_or(""), 16).unwrap_or(0)
}

/// What cargo needs of a tree, from its root: manifests, sources and what they include.
fn files_of(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else { continue };
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if !entry.file_type()?.is_dir() {
                // In a linked worktree `.git` is a file, and would make the copy a part of the repository.
                if path != Path::new(".git") {
                    files.insert(path);
                }
            } else if is_source(&path) && !entry.path().join("CACHEDIR.TAG").exists() {
                folders.push(path);
            }
        }
    }
    Ok(files)
}

fn is_source(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or(".");
    !name.starts_with('.') && !matches!(name, "target" | "node_modules")
}
