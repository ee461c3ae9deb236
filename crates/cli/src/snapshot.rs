//! `quorate restore` and `quorate snapshot status`: what becomes of a file that `etcdctl snapshot save` wrote.

use crate::endpoint::OutputFormat;
use crate::exit::usage;
use crate::serve::Settings;
use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand};
use quorate_service::{Entry, RevisionBump, SnapshotFile};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `quorate restore`. Names and defaults are those of `quorate serve`; the flags are those of `etcdutl snapshot
/// restore`.
#[derive(Args)]
pub struct RestoreArguments {
    /// The file that `etcdctl snapshot save` wrote of a member of Quorate
    #[arg(value_name = "SNAPSHOT")]
    file: PathBuf,
    /// A name for people, unique in the cluster [default: default]
    #[arg(long)]
    name: Option<String>,
    /// Where the member is to keep its data; must not exist, or be empty [default: NAME.quorate]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// All founding members of the new cluster: NAME=URL,NAME=URL,... [default: this member alone]
    #[arg(long, value_name = "MEMBERS")]
    initial_cluster: Option<String>,
    /// What replicates the new cluster's store: raft, multi-paxos, viewstamped or zab; the old cluster's may be another
    /// [default: raft]
    #[arg(long)]
    protocol: Option<String>,
    /// Multi-Paxos only: the new cluster's quorum sizes, as `quorate serve` takes them [default: majorities]
    #[arg(long, value_name = "SIZES")]
    quorums: Option<String>,
    /// Tells the new cluster apart from others with the same members, such as the old one [default: quorate-cluster]
    #[arg(long, value_name = "TOKEN")]
    initial_cluster_token: Option<String>,
    /// Where the other members reach this one [default: http://127.0.0.1:2380]
    #[arg(long, value_name = "URLS")]
    initial_advertise_peer_urls: Option<String>,
    /// Do not compare the file with the digest at its end; what the snapshot says of itself is checked even so
    #[arg(long)]
    skip_hash_check: bool,
    /// Raise the revision by so much, past everything that the lost cluster can have told its clients; with --mark-compacted
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    bump_revision: u64,
    /// Compact at the raised revision, so that who knows a later one than the snapshot is told; with --bump-revision
    #[arg(long)]
    mark_compacted: bool,
}

/// Arguments of `quorate snapshot`.
#[derive(Args)]
pub struct SnapshotArguments {
    #[command(subcommand)]
    command: SnapshotCommand,
}

#[derive(Subcommand)]
enum SnapshotCommand {
    /// Verify a saved snapshot and show what is in it
    Status(StatusArguments),
}

#[derive(Args)]
struct StatusArguments {
    /// The file that `etcdctl snapshot save` wrote of a member of Quorate
    #[arg(value_name = "SNAPSHOT")]
    file: PathBuf,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

/// `quorate restore`.
pub fn restore(arguments: RestoreArguments) -> Result<ExitCode> {
    let bump = bump_of(&arguments).map_err(usage)?;
    let settings = Settings {
        name: arguments.name,
        data_dir: arguments.data_dir,
        protocol: arguments.protocol,
        quorums: arguments.quorums,
        initial_cluster: arguments.initial_cluster,
        initial_cluster_token: arguments.initial_cluster_token,
        initial_advertise_peer_urls: arguments.initial_advertise_peer_urls,
        ..Settings::default()
    };
    let member = settings.plan().map_err(usage)?.member;
    let snapshot = SnapshotFile::read(&arguments.file, arguments.skip_hash_check)?;
    let revision = snapshot.restore(&member, bump)?;
    let Entry::Found { cluster, me, .. } = member.entry else { bail!("a restored member founds a new cluster") };
    println!(
        "restored revision {revision} to {}: member {} ({:x}) of the new cluster {:x}. Restore the other members from the same \
         file, then start each with `quorate serve` and the same names, URLs, token, protocol and quorums",
        member.data_directory.display(),
        member.name,
        me.0,
        cluster.0
    );
    Ok(ExitCode::SUCCESS)
}

fn bump_of(arguments: &RestoreArguments) -> Result<Option<RevisionBump>> {
    let bump = RevisionBump::new(arguments.bump_revision);
    ensure!(
        bump.is_some() == arguments.mark_compacted,
        "--bump-revision and --mark-compacted go together: a raised revision that is not compacted would show gaps as history"
    );
    Ok(bump)
}

/// `quorate snapshot`.
pub fn snapshot(arguments: SnapshotArguments) -> Result<ExitCode> {
    let SnapshotCommand::Status(arguments) = arguments.command;
    let summary = SnapshotFile::read(&arguments.file, false)?.summary();
    match arguments.output {
        OutputFormat::Json => println!(
            "{}",
            json!({
                "hash": summary.hash, "revision": summary.revision, "totalKey": summary.keys,
                "totalSize": summary.file_bytes, "compactRevision": summary.compact_revision,
                "leases": summary.leases, "alarms": summary.alarms,
            })
        ),
        OutputFormat::Text => println!(
            "hash {:08x}, revision {}, {} keys, {} leases, {} alarms, {} bytes",
            summary.hash, summary.revision, summary.keys, summary.leases, summary.alarms, summary.file_bytes
        ),
    }
    Ok(ExitCode::SUCCESS)
}
