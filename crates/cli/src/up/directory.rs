//! The data directory of a whole cluster, and what it remembers.

use crate::exit::usage;
use anyhow::{Context, Result, bail, ensure};
use quorate_service::Protocol;
use serde::{Deserialize, Serialize};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

const FILE: &str = "cluster.json";

/// What a data directory was made for: node ids are drawn from ports, so neither may change under existing data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFile {
    /// How many nodes.
    pub nodes: u16,
    /// The first node's client port.
    pub client_port: u16,
    /// The protocol.
    pub protocol: String,
}

/// What the user asked for; `None` is whatever is there.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    nodes: Option<u16>,
    client_port: Option<u16>,
    protocol: Option<Protocol>,
}

impl ClusterFile {
    /// From the flags.
    pub fn wanted(nodes: Option<&str>, client_port: Option<u16>, protocol: Option<Protocol>) -> Wanted {
        Wanted { nodes: nodes.and_then(|nodes| nodes.parse().ok()), client_port, protocol }
    }
}

/// Says what the directory holds, or is to hold. Writes nothing: [`remember`] does, once everything else is known to work.
pub fn prepare(directory: &Path, wanted: &Wanted, fresh: bool, yes: bool) -> Result<ClusterFile> {
    if fresh {
        delete(directory, yes)?;
    }
    let file = directory.join(FILE);
    if file.exists() {
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let found: ClusterFile =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))?;
        return agree(directory, found, wanted).map_err(usage);
    }
    ensure!(
        is_empty(directory)?,
        "{} is not empty and no cluster of `quorate up`; choose another --data-dir",
        directory.display()
    );
    let made = ClusterFile {
        nodes: wanted.nodes.unwrap_or(3),
        client_port: wanted.client_port.unwrap_or(2379),
        protocol: wanted.protocol.unwrap_or_default().name().to_owned(),
    };
    Ok(made)
}

fn agree(directory: &Path, found: ClusterFile, wanted: &Wanted) -> Result<ClusterFile> {
    let way_out = "leave the flag out, choose another --data-dir, or start over with --fresh";
    let protocol: Protocol = found.protocol.parse().with_context(|| format!("{} was made for", directory.display()))?;
    if let Some(wanted) = wanted.protocol {
        ensure!(
            wanted == protocol,
            "{} holds a cluster that runs {protocol}, not {wanted}; {way_out}",
            directory.display()
        );
    }
    if let Some(nodes) = wanted.nodes {
        ensure!(
            nodes == found.nodes,
            "{} holds a cluster of {} nodes, not {nodes}; {way_out}",
            directory.display(),
            found.nodes
        );
    }
    if let Some(port) = wanted.client_port {
        ensure!(
            port == found.client_port,
            "{} holds a cluster with client port {}, not {port}; {way_out}",
            directory.display(),
            found.client_port
        );
    }
    Ok(found)
}

/// Deletes a cluster's directory, and only that: anything else in its place is left alone.
fn delete(directory: &Path, yes: bool) -> Result<()> {
    if !directory.exists() || is_empty(directory)? {
        return Ok(());
    }
    ensure!(
        directory.join(FILE).exists(),
        "{} is no cluster of `quorate up` ({FILE} is missing), so --fresh does not delete it",
        directory.display()
    );
    if !yes {
        ensure!(
            std::io::stdin().is_terminal(),
            "--fresh deletes all data in {}; add --yes if that is meant",
            directory.display()
        );
        print!("Delete all data in {}? [y/N] ", directory.display());
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            bail!("nothing deleted");
        }
    }
    std::fs::remove_dir_all(directory).with_context(|| format!("cannot delete {}", directory.display()))
}

fn is_empty(directory: &Path) -> Result<bool> {
    match std::fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot use {} as data directory", directory.display())),
    }
}

/// What [`remember`] made where nothing was.
#[derive(Debug)]
pub struct Made {
    file: Option<PathBuf>,
    /// The innermost first.
    directories: Vec<PathBuf>,
}

impl Made {
    /// Whether the cluster is new, so that nothing in its directory was there before.
    pub fn is_new(&self) -> bool {
        self.file.is_some()
    }

    /// Takes it back, so that the next start does not find a cluster that never was. What was there before stays, and so does a
    /// directory that is not empty any more.
    pub fn take_back(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        std::fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
        for directory in &self.directories {
            if std::fs::remove_dir(directory).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Makes the directory and writes down what it is for.
pub fn remember(directory: &Path, cluster: &ClusterFile) -> Result<Made> {
    let file = directory.join(FILE);
    let named = directory.ancestors().filter(|parent| !parent.as_os_str().is_empty());
    let made = Made {
        directories: named.take_while(|parent| !parent.exists()).map(Path::to_owned).collect(),
        file: (!file.exists()).then_some(file),
    };
    write(directory, cluster).with_context(|| format!("cannot use {} as data directory", directory.display()))?;
    Ok(made)
}

fn write(directory: &Path, cluster: &ClusterFile) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let draft = directory.join("cluster.json.new");
    std::fs::write(&draft, serde_json::to_string_pretty(cluster)?)?;
    std::fs::File::open(&draft)?.sync_all()?;
    std::fs::rename(&draft, directory.join(FILE))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        let directory = std::env::temp_dir().join(format!("quorate-up-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        directory
    }

    #[test]
    fn a_directory_remembers_its_cluster_and_refuses_another_shape() {
        let directory = scratch("remembers");
        let made = prepare(&directory, &ClusterFile::wanted(Some("1"), Some(4000), Some(Protocol::Zab)), false, false)
            .unwrap();
        assert!(!directory.exists(), "a start that fails for another reason must leave no trap behind");
        remember(&directory, &made).unwrap();
        assert_eq!(prepare(&directory, &Wanted::default(), false, false).unwrap(), made);
        let error = prepare(&directory, &ClusterFile::wanted(Some("3"), None, None), false, false).unwrap_err();
        assert!(error.to_string().contains("holds a cluster of 1 nodes"), "{error}");
        let other = ClusterFile::wanted(None, None, Some(Protocol::Raft));
        let error = prepare(&directory, &other, false, false).unwrap_err();
        assert!(error.to_string().contains("holds a cluster that runs zab, not raft"), "{error}");
        let again = prepare(&directory, &ClusterFile::wanted(Some("3"), None, None), true, true).unwrap();
        assert_eq!(again.nodes, 3);
        let _ = std::fs::remove_dir_all(directory);
    }

    #[test]
    fn what_was_made_for_a_start_that_came_to_nothing_is_taken_back_and_nothing_else() {
        let directory = scratch("taken-back");
        let inner = directory.join("deep").join("cluster");
        let made = prepare(&inner, &Wanted::default(), false, false).unwrap();
        let first = remember(&inner, &made).unwrap();
        assert!(first.is_new() && inner.exists());
        first.take_back().unwrap();
        assert!(!directory.exists());

        std::fs::create_dir_all(&inner).unwrap();
        let second = remember(&inner, &made).unwrap();
        assert!(!remember(&inner, &made).unwrap().is_new(), "it is the cluster of another start");
        remember(&inner, &made).unwrap().take_back().unwrap();
        assert!(inner.join(FILE).exists());
        second.take_back().unwrap();
        assert!(inner.exists() && is_empty(&inner).unwrap(), "the directory was there before");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_is_not_a_cluster_is_neither_used_nor_deleted() {
        let directory = scratch("other");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("thesis.txt"), "years of work").unwrap();
        assert!(prepare(&directory, &Wanted::default(), false, true).is_err());
        assert!(prepare(&directory, &Wanted::default(), true, true).is_err());
        assert!(directory.join("thesis.txt").exists());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
