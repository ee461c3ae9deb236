//! `quorate inspect`: what a stopped member's data directory holds. It changes nothing.

mod words;

use crate::endpoint::OutputFormat;
use crate::exit::usage;
use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use quorate_keyspace::{KeyValue, Keyspace, Query, RangeRequest, Reply};
use quorate_machine::StateMachine;
use quorate_protocol::{Stateless, StoredConfiguration};
use quorate_service::DeadMember;
use quorate_types::Slot;
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
pub use words::{age, configuration, entry_line, standing, text};

/// How many of the last entries are shown unless others are asked for.
const LAST_ENTRIES: u64 = 10;

/// Arguments of `quorate inspect`.
#[derive(Args)]
pub struct InspectArguments {
    /// The data directory of a member that does not run; a read-only mount will do
    #[arg(value_name = "DATA-DIR")]
    directory: PathBuf,
    /// Show the log's entries in these slots, A..B or A..; without it the last ten
    #[arg(long, value_name = "A..B", value_parser = slots)]
    entries: Option<RangeInclusive<u64>>,
    /// List the keys that begin so, with their values
    #[arg(long, value_name = "PREFIX", conflicts_with = "get")]
    keys: Option<String>,
    /// Show one key
    #[arg(long, value_name = "KEY")]
    get: Option<String>,
    /// For --keys and --get: as if the whole log were decided, which nobody knows
    #[arg(long)]
    with_tail: bool,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

fn slots(text: &str) -> Result<RangeInclusive<u64>> {
    let (first, last) = text.split_once("..").ok_or_else(|| anyhow!("give two slots as A..B"))?;
    let first = first.parse().context("the first slot is no number")?;
    let last = if last.is_empty() { u64::MAX } else { last.parse().context("the last slot is no number")? };
    ensure!(first <= last, "slot {first} is behind slot {last}");
    Ok(first..=last)
}

/// `quorate inspect`. Ends with code 1 if a member would refuse to start on what is there.
pub fn run(arguments: InspectArguments) -> Result<ExitCode> {
    if arguments.with_tail && arguments.keys.is_none() && arguments.get.is_none() {
        return Err(usage(anyhow!("--with-tail goes with --keys or --get")));
    }
    let member = DeadMember::read(&arguments.directory)?;
    match arguments.output {
        OutputFormat::Json => println!("{:#}", as_json(&member, &arguments)?),
        OutputFormat::Text => print_text(&member, &arguments)?,
    }
    for problem in &member.problems {
        eprintln!("quorate: {problem}");
    }
    Ok(if member.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The slots to show that the log has.
fn shown(member: &DeadMember, asked: Option<&RangeInclusive<u64>>) -> RangeInclusive<u64> {
    let (first, last) = (member.log.base.0 + 1, member.log.last().0);
    match asked {
        Some(asked) => first.max(*asked.start())..=last.min(*asked.end()),
        None => first.max(last.saturating_sub(LAST_ENTRIES - 1))..=last,
    }
}

/// The pairs asked for, and the slot behind which the state was read.
fn pairs(member: &DeadMember, arguments: &InspectArguments) -> Result<Option<(Slot, Vec<KeyValue>)>> {
    let (key, range_end) = match (&arguments.keys, &arguments.get) {
        (Some(prefix), _) if prefix.is_empty() => (vec![0], vec![0]),
        (Some(prefix), _) => (prefix.as_bytes().to_vec(), words::behind_prefix(prefix.as_bytes())),
        (None, Some(key)) => (key.as_bytes().to_vec(), Vec::new()),
        (None, None) => return Ok(None),
    };
    let through = if arguments.with_tail { member.whole_log().last() } else { member.certainly_decided() };
    let state = member.state_through(through).map_err(|why| anyhow!("the keys cannot be read: {why}"))?;
    let request = RangeRequest { key: key.into(), range_end: range_end.into(), ..RangeRequest::default() };
    match state.state().query(&Query::Range(request)) {
        Reply::Range { kvs, .. } => Ok(Some((through, kvs))),
        Reply::Error(error) => Err(usage(anyhow!("{error}"))),
        other => Err(anyhow!("a range was answered with {other:?}")),
    }
}

fn print_text(member: &DeadMember, arguments: &InspectArguments) -> Result<()> {
    print_identity(member);
    print_journal(member);
    print_log(member);
    print_state(member);
    println!("\nEntries");
    for slot in shown(member, arguments.entries.as_ref()).map(Slot) {
        match member.log.entry(slot) {
            Some(entry) => println!("  {}", entry_line(slot, entry, slot <= member.certainly_decided())),
            None => println!("  slot {slot}: a gap: nothing was accepted here"),
        }
    }
    if let Some((through, pairs)) = pairs(member, arguments)? {
        let certain = if through <= member.certainly_decided() { "certain" } else { "if the whole log is decided" };
        println!("\nKeys behind slot {through} ({certain})");
        for pair in pairs {
            println!(
                "  {} = {} (revision {}, version {})",
                text(&pair.key),
                text(&pair.value),
                pair.mod_revision,
                pair.version
            );
        }
    }
    Ok(())
}

fn print_identity(member: &DeadMember) {
    let survey = &member.survey;
    match &survey.identity {
        Some(identity) => println!(
            "Member {:x} of cluster {:x}, on disk {:x}, protocol {}, journal format {}, incarnation {}",
            identity.node.0,
            identity.cluster.0,
            identity.disk.0,
            identity.protocol,
            survey.format_version,
            survey.incarnation.0
        ),
        None => println!("Nothing says whose data this is"),
    }
    println!("Last written {}", age(member.last_written));
    let state = if member.problems.is_empty() {
        "a member would start here"
    } else {
        "DAMAGED: a member would refuse to start"
    };
    println!("Health: {state}");
    match &member.log.stateless {
        Some(Stateless::Witness) => {
            println!("A witness: it votes and stores no data; its log has slots, terms and members, and no commands");
        }
        Some(told) => println!("It {told}"),
        None => {}
    }
}

fn print_journal(member: &DeadMember) {
    println!("\nJournal");
    for segment in &member.survey.segments {
        let health = segment.damage.as_ref().map_or_else(|| "whole".to_owned(), |damage| format!("DAMAGED: {damage}"));
        println!(
            "  {}: tickets {} to {}, {} flushes, {} of {} bytes used, {health}",
            segment.file,
            segment.first_ticket.0,
            segment.last_ticket.0,
            segment.flushes,
            segment.used_bytes,
            segment.length_bytes
        );
    }
    if let Some(torn) = &member.survey.torn {
        println!(
            "  {} ends at byte {}; {} bytes behind it are of a write that a crash interrupted and nobody was told of",
            torn.file, torn.offset, torn.bytes_cut
        );
    }
}

fn print_log(member: &DeadMember) {
    let log = &member.log;
    println!("\nLog");
    if !log.standing.is_empty() {
        println!("  {}", standing(log));
    }
    let origin = |slot: Slot| log.origin_at(slot).map_or_else(String::new, |origin| format!(", the last of {origin}"));
    match log.entries.is_empty() {
        true => println!("  no entries behind slot {}{}", log.base, origin(log.base)),
        false => println!("  slots {} to {}{}", log.base.next(), log.last(), origin(log.last())),
    }
    if !log.end.is_empty() {
        println!("  it {}", log.end);
    }
    let certain = member.certainly_decided();
    println!(
        "  certainly decided through slot {certain}; of the {} behind it nobody knows by these disks alone",
        log.last().0.saturating_sub(certain.0)
    );
    for pair in log.configurations.windows(2).filter(|pair| pair[0].number > 0) {
        let words = configuration(&pair[0]);
        println!("  configuration {}, which ended at slot {}: {words}", pair[0].number, pair[1].slot);
    }
    if let Some(found) = log.configuration() {
        println!("  {}: {}", configuration_name(found), configuration(found));
    }
    if let Some(next) = log.successor() {
        println!("  if slot {} is decided, configuration {}: {}", next.slot, next.number, configuration(next));
    }
}

fn configuration_name(found: &StoredConfiguration) -> String {
    match found.number {
        0 => format!("configuration of slot {}", found.slot),
        number => format!("configuration {number}, behind slot {}", found.slot),
    }
}

fn print_state(member: &DeadMember) {
    println!("\nStore, {} bytes", member.store_bytes);
    let Some(checkpoint) = member.checkpoint() else { return println!("  no state that can be read") };
    let figures = |state: &Keyspace| {
        format!(
            "revision {}, compacted at {}, {} keys, {} leases, {} alarms",
            state.revision(),
            state.compact_revision(),
            state.live_keys(),
            state.lease_count(),
            state.alarms().count()
        )
    };
    println!(
        "  checkpoint of slot {}: {}, {} sessions",
        checkpoint.applied(),
        figures(checkpoint.state()),
        checkpoint.sessions()
    );
    for (what, through) in [("certain", member.certainly_decided()), ("whole log", member.whole_log().last())] {
        match member.state_through(through) {
            Ok(state) => println!("  behind slot {through} ({what}): {}", figures(state.state())),
            Err(why) => println!("  behind slot {through} ({what}): {why}"),
        }
    }
    for (id, lease) in checkpoint.state().leases() {
        println!("  lease {id:x}: {} s", lease.ttl_seconds);
    }
}

fn as_json(member: &DeadMember, arguments: &InspectArguments) -> Result<Value> {
    let survey = &member.survey;
    let log = &member.log;
    let ended = log.configurations.split_last().map_or(&[][..], |(_, ended)| ended);
    let segments = survey.segments.iter().map(|segment| {
        json!({
            "file": segment.file, "lengthBytes": segment.length_bytes, "usedBytes": segment.used_bytes,
            "firstTicket": segment.first_ticket.0, "lastTicket": segment.last_ticket.0, "flushes": segment.flushes,
            "damage": segment.damage.as_ref().map(ToString::to_string),
        })
    });
    let entries = shown(member, arguments.entries.as_ref()).map(Slot).filter_map(|slot| {
        let entry = log.entry(slot)?;
        let is_certain = slot <= member.certainly_decided();
        let origin = entry.origin.as_ref().map(ToString::to_string);
        Some(json!({ "slot": slot.0, "origin": origin, "decided": is_certain, "words": words::payload(entry) }))
    });
    let state = |through: Slot| member.state_through(through).ok().map(|state| figures_json(through, state.state()));
    let keys = pairs(member, arguments)?.map(|(through, pairs)| {
        let pair = |pair: &KeyValue| {
            json!({ "key": text(&pair.key), "value": text(&pair.value), "modRevision": pair.mod_revision,
                "createRevision": pair.create_revision, "version": pair.version, "lease": pair.lease })
        };
        let pairs: Vec<Value> = pairs.iter().map(pair).collect();
        json!({ "throughSlot": through.0, "certain": through <= member.certainly_decided(), "pairs": pairs })
    });
    Ok(json!({
        "identity": survey.identity.as_ref().map(|identity| json!({
            "cluster": format!("{:x}", identity.cluster.0), "node": format!("{:x}", identity.node.0),
            "disk": format!("{:x}", identity.disk.0), "protocol": identity.protocol,
        })),
        "isWitness": member.is_witness(), "stateless": log.stateless.as_ref().map(ToString::to_string),
        "incarnation": survey.incarnation.0, "journalFormat": survey.format_version,
        "problems": member.problems,
        "segments": segments.collect::<Vec<_>>(),
        "torn": survey.torn.as_ref().map(|torn| json!({ "file": torn.file, "offset": torn.offset, "bytes": torn.bytes_cut })),
        "standing": log.standing.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Map<_, _>>(),
        "firstSlot": log.base.0 + 1, "lastSlot": log.last().0, "end": log.end,
        "certainlyDecided": member.certainly_decided().0,
        "configuration": log.configuration().map(configuration_json),
        "endedConfigurations": ended.iter().map(configuration_json).collect::<Vec<_>>(),
        "nextConfiguration": log.successor().map(configuration_json),
        "storeBytes": member.store_bytes, "checkpoint": member.checkpointed().0,
        "certain": state(member.certainly_decided()), "wholeLog": state(member.whole_log().last()),
        "entries": entries.collect::<Vec<_>>(), "keys": keys,
    }))
}

fn configuration_json(found: &StoredConfiguration) -> Value {
    json!({ "number": found.number, "slot": found.slot.0, "isJoint": found.outgoing.is_some(), "words": configuration(found) })
}

fn figures_json(through: Slot, state: &Keyspace) -> Value {
    let leases: Vec<Value> =
        state.leases().map(|(id, lease)| json!({ "id": format!("{id:x}"), "ttlSeconds": lease.ttl_seconds })).collect();
    json!({
        "throughSlot": through.0, "revision": state.revision(), "compactRevision": state.compact_revision(),
        "keys": state.live_keys(), "leases": leases, "alarms": state.alarms().count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_given_as_a_range_that_may_be_open_at_the_end() {
        assert_eq!(slots("3..5").expect("a range"), 3..=5);
        assert_eq!(slots("3..").expect("an open range"), 3..=u64::MAX);
        for wrong in ["3", "5..3", "a..b", "..5"] {
            assert!(slots(wrong).is_err(), "{wrong}");
        }
    }
}
