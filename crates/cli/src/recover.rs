//! `quorate recover`: a majority is gone for good. Explains, shows, refuses; does it only when the loss is accepted by name.

use crate::exit::usage;
use crate::inspect::{age, configuration, entry_line, standing};
use crate::serve::Settings;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use quorate_service::{DeadMember, Entry, Plan, Protocol, Recovered, RevisionBump, Survivors, Tail};
use quorate_types::Slot;
use std::path::PathBuf;
use std::process::ExitCode;

/// No cluster writes so many revisions past a survivor: 30,000 a second for 9 hours.
const DEFAULT_BUMP: u64 = 1_000_000_000;
/// Entries of the tail that are listed.
const LISTED_ENTRIES: u64 = 100;

const DANGER: &str = "\
UNSAFE RECOVERY makes a new cluster of one member out of what this survivor has. It breaks promises of the old cluster:
  - writes that were acknowledged and are only on the lost members are gone;
  - writes that were never acknowledged, even ones that were reported as failed, may become real;
  - what clients have read may be undone;
  - the lost members must never come back: a member that does goes on with the old cluster's history beside this one.
Before anything else: make sure that the lost members cannot return (power off, storage fenced), keep clients away, and copy the
data of every survivor. Recover on one survivor only: two operators on two survivors make two histories.";

/// Arguments of `quorate recover`.
#[derive(Args)]
pub struct RecoverArguments {
    /// The data directory of the survivor to recover from; it is only read
    #[arg(value_name = "DATA-DIR")]
    directory: PathBuf,
    /// The data directories of all other survivors, to find the most advanced
    #[arg(long, value_name = "DIR", num_args = 1..)]
    compare: Vec<PathBuf>,
    /// Do it: the id of the cluster whose promises are given up
    #[arg(long, value_name = "CLUSTER-ID", requires_all = ["member", "new_data_dir"])]
    i_accept_data_loss: Option<String>,
    /// The id of the member that is recovered from; with --i-accept-data-loss
    #[arg(long, value_name = "MEMBER-ID")]
    member: Option<String>,
    /// Where the new cluster's only member is to keep its data; must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    new_data_dir: Option<PathBuf>,
    /// Drop the entries of which nobody knows whether they were decided, acknowledged ones among them, instead of keeping them
    #[arg(long)]
    cut_undecided: bool,
    /// Raise the revision by so much, past everything that the lost cluster can have told its clients
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT_BUMP, value_parser = clap::value_parser!(u64).range(1..))]
    bump_revision: u64,
    /// The new member's name [default: default]
    #[arg(long)]
    name: Option<String>,
    /// Where other members will reach the new one [default: http://127.0.0.1:2380]
    #[arg(long, value_name = "URLS")]
    initial_advertise_peer_urls: Option<String>,
    /// Multi-Paxos only: the new cluster's quorum sizes, as `quorate serve` takes them [default: majorities]
    #[arg(long, value_name = "SIZES")]
    quorums: Option<String>,
    /// The new cluster's token; never the old one's [default: drawn at random]
    #[arg(long, value_name = "TOKEN")]
    initial_cluster_token: Option<String>,
}

/// `quorate recover`.
pub fn run(arguments: RecoverArguments) -> Result<ExitCode> {
    let survivors = Survivors::gather(&arguments.directory, &arguments.compare)?;
    println!("{DANGER}\n");
    show(&survivors, arguments.cut_undecided);
    survivors.judge()?;
    let (cluster, member) = survivors.ids();
    let (cluster, member) = (format!("{:x}", cluster.0), format!("{:x}", member.0));
    let Some(accepted) = &arguments.i_accept_data_loss else {
        println!(
            "\nNothing was done. To do it, add: --i-accept-data-loss {cluster} --member {member} --new-data-dir DIR\n\
             (with --name and --initial-advertise-peer-urls as the new member is to be served)"
        );
        return Ok(ExitCode::FAILURE);
    };
    if *accepted != cluster {
        return Err(usage(anyhow!("--i-accept-data-loss {accepted}: the cluster of this directory is {cluster}")));
    }
    if arguments.member.as_ref() != Some(&member) {
        return Err(usage(anyhow!("--member must name the member that is recovered from, {member}")));
    }
    let token = match &arguments.initial_cluster_token {
        Some(token) => token.clone(),
        None => random_token()?,
    };
    let plan = plan_of(&arguments, &token, survivors.protocol()).map_err(usage)?;
    let tail = if arguments.cut_undecided { Tail::Cut } else { Tail::Keep };
    let bump = RevisionBump::new(arguments.bump_revision).context("--bump-revision must not be 0")?;
    let done = survivors.recover(&plan, tail, bump)?;
    tell(&plan, &token, &done)
}

fn plan_of(arguments: &RecoverArguments, token: &str, protocol: Protocol) -> Result<Plan> {
    let settings = Settings {
        protocol: Some(protocol.name().to_owned()),
        quorums: arguments.quorums.clone(),
        name: arguments.name.clone(),
        data_dir: arguments.new_data_dir.clone(),
        initial_cluster_token: Some(token.to_owned()),
        initial_advertise_peer_urls: arguments.initial_advertise_peer_urls.clone(),
        ..Settings::default()
    };
    Ok(settings.plan()?.member)
}

/// So that neither the cluster's id nor the member's was anybody's.
fn random_token() -> Result<String> {
    let drawn = getrandom::u64();
    let drawn = drawn.map_err(|error| anyhow!("cannot draw a token ({error}): give --initial-cluster-token"))?;
    Ok(format!("recovered-{drawn:016x}"))
}

fn show(survivors: &Survivors, cuts: bool) {
    show_survivors(survivors);
    let chosen = survivors.chosen();
    if let Some(found) = chosen.log.configuration() {
        println!("Members by the log of the one to recover from: {}", configuration(found));
    }
    let (decided, last) = (survivors.known_decided(), survivors.end());
    if last <= decided {
        println!("{}", end_words(&chosen.label(), decided, last));
    } else {
        show_tail(survivors, cuts);
    }
    println!("{}", loss_words(survivors));
}

fn show_survivors(survivors: &Survivors) {
    let (cluster, _) = survivors.ids();
    println!(
        "Cluster {:x}, protocol {}, {} survivor(s), the most advanced marked:",
        cluster.0,
        survivors.protocol(),
        survivors.members().len()
    );
    let best = survivors.most_advanced().label();
    for member in survivors.members() {
        let sign = if member.label() == best { "*" } else { " " };
        println!(
            "{sign} {}: its log {}; {}, certainly decided through {}, checkpoint {}, last written {}",
            member.label(),
            member.log.end,
            standing(&member.log),
            member.certainly_decided(),
            member.checkpointed(),
            age(member.last_written)
        );
    }
}

/// The entries of which nobody knows.
fn show_tail(survivors: &Survivors, cuts: bool) {
    let (decided, last) = (survivors.known_decided(), survivors.end());
    let fate = if cuts { "would be dropped, acknowledged or not" } else { "would become decided, acknowledged or not" };
    println!(
        "Known to be decided: through slot {decided}. The {} entries behind it {fate}:",
        last.0.saturating_sub(decided.0)
    );
    let first = (decided.0 + 1).max(last.0.saturating_sub(LISTED_ENTRIES - 1));
    if first > decided.0 + 1 {
        println!(
            "  ({} earlier ones: quorate inspect --entries {}..{})",
            first - decided.0 - 1,
            decided.0 + 1,
            first - 1
        );
    }
    for slot in (first..=last.0).map(Slot) {
        match survivors.inherited().entry(slot) {
            Some(entry) => println!("  {}{}", entry_line(slot, entry, false), whose(survivors, slot)),
            None => println!("  slot {slot}: a gap: nothing on any survivor, and what is behind it is kept without it"),
        }
    }
}

/// Who has an entry that the member to recover from does not have, or has of an earlier origin.
fn whose(survivors: &Survivors, slot: Slot) -> String {
    let found = survivors.inherited().entry(slot);
    let has = |member: &&DeadMember| member.log.entry(slot) == found;
    match survivors.members().iter().find(has) {
        Some(member) if member.label() != survivors.chosen().label() => format!(" (by {})", member.label()),
        _ => String::new(),
    }
}

fn loss_words(survivors: &Survivors) -> String {
    let last = survivors.end();
    let lost = format!("Whatever was acknowledged behind slot {last} is lost: it is not on any survivor named here.");
    match survivors.inherited().slots_stand_alone {
        true => format!(
            "{lost}\nSo is what was acknowledged in a slot that is a gap here, or of which the survivors have only what an earlier \
             ballot proposed: slots are decided one by one, and these disks do not tell such a slot from others."
        ),
        false => lost,
    }
}

/// Of a log without an entry that is in doubt: whether it has all that is known to be decided, by whosever word that is known.
fn end_words(chosen: &str, decided: Slot, last: Slot) -> String {
    if last == decided {
        return format!(
            "Known to be decided: through slot {decided}, where the log of {chosen} ends: no entry is in doubt."
        );
    }
    format!(
        "Known to be decided: through slot {decided}, and the log of {chosen} ends before that, at slot {last}: no entry of it is in \
         doubt, and what was decided behind it is missing there."
    )
}

fn tell(plan: &Plan, token: &str, done: &Recovered) -> Result<ExitCode> {
    let Entry::Found { cluster, me, .. } = plan.entry else { bail!("a recovered member founds a new cluster") };
    println!(
        "\nRecovered everything through slot {} ({} undecided entries kept, {} dropped), at revision {}; raised to {} and compacted \
         there. {} leases were ended with their keys; sessions of the old cluster are refused.\n\
         Member {:x} is the only one of the new cluster {:x}. Start it with:\n  quorate serve --name {} --protocol {}{} --data-dir {} \
         --initial-advertise-peer-urls {} --initial-cluster-token {token} (and its --listen-... URLs)\n\
         Then add fresh members with empty data directories (`quorate member add --learner`, then promote), and tell clients that \
         the cluster changed: watches and cached revisions are answered as compacted, leases and locks must be taken anew.",
        done.through,
        done.tail_kept,
        done.tail_dropped,
        done.revision_before,
        done.revision,
        done.leases_ended,
        me.0,
        cluster.0,
        plan.name,
        plan.protocol,
        if plan.quorums.are_majorities() { String::new() } else { format!(" --quorums {}", plan.quorums) },
        plan.data_directory.display(),
        plan.peer_urls.join(",")
    );
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_lacks_what_others_know_decided_is_not_said_to_end_there() {
        assert!(end_words("n2", Slot(7), Slot(7)).contains("through slot 7, where the log of n2 ends"));
        let lacking = end_words("n2", Slot(9), Slot(7));
        assert!(lacking.contains("through slot 9, and the log of n2 ends before that, at slot 7"), "{lacking}");
    }
}
