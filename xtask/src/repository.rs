//! The repository's text files, and what is found in them.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

/// One text file.
pub(crate) struct File {
    /// From the repository's root, with `/` between the parts.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// The path's last part without what follows its last dot.
    pub(crate) fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn finding(&self, line: usize, rule: &'static str, advice: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, rule, advice: advice.into() }
    }
}

/// One breach of one rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// From 1.
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    /// What to do.
    pub(crate) advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}: {}", self.path, self.line, self.rule, self.advice)
    }
}

/// All text files, ascending by path.
pub(crate) struct Repository {
    files: Vec<File>,
    /// Every file and folder, also those without text.
    paths: BTreeSet<String>,
}

impl Repository {
    /// A repository of these files.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Repository {
        let mut repository = Repository { files: Vec::new(), paths: BTreeSet::new() };
        for (path, text) in files {
            let folders = path.match_indices('/').map(|(at, _)| path[..at].to_owned());
            repository.paths.extend(folders.chain([(*path).to_owned()]));
            repository.files.push(File { path: (*path).to_owned(), text: (*text).to_owned() });
        }
        repository.files.sort_by(|left, right| left.path.cmp(&right.path));
        repository
    }

    /// Reads everything under `root` but what is built, hidden or not UTF-8.
    pub(crate) fn read(root: &Path) -> Result<Repository> {
        let mut repository = Repository { files: Vec::new(), paths: BTreeSet::new() };
        repository.read_folder(root, "")?;
        repository.files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(repository)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                if is_ours(&name) && !entry.path().join("CACHEDIR.TAG").exists() {
                    self.read_folder(&entry.path(), &format!("{path}/"))?;
                    self.paths.insert(path);
                }
            } else {
                // In a linked worktree `.git` is a file, and names a place outside.
                if name != "Cargo.lock"
                    && name != ".git"
                    && let Ok(text) = fs::read_to_string(entry.path())
                {
                    self.files.push(File { path: path.clone(), text });
                }
                self.paths.insert(path);
            }
        }
        Ok(())
    }

    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether there is such a file or folder.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// The names of the folders in `crates/` that have a manifest, with it.
    pub(crate) fn crates(&self) -> impl Iterator<Item = (&str, &File)> {
        self.files.iter().filter_map(|file| {
            let name = file.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
            (!name.contains('/')).then_some((name, file))
        })
    }
}

/// Whether a folder can hold something that people wrote.
fn is_ours(name: &str) -> bool {
    match name {
        "target" | "node_modules" => false,
        ".ci" | ".cargo" | ".github" => true,
        name => !name.starts_with('.'),
    }
}
