//! What must hold after every settle; numbered on the crate's first page.

use crate::entry::Entry;
use crate::replica::{Stage, Viewstamped};
use quorate_protocol::Violation;

type Check = fn(&Viewstamped) -> Result<(), String>;

const CHEAP: &[(&str, Check)] = &[
    ("LastNormalLeView", last_normal_le_view),
    ("MarksInOrder", marks_in_order),
    ("DurableInOrder", durable_in_order),
    ("LedByItsPrimary", led_by_its_primary),
    ("ProgressInLog", progress_in_log),
];

const DEEP: &[(&str, Check)] = &[
    ("ReconfigurationIsLast", reconfiguration_is_last),
    ("EpochOfView", epoch_of_view),
    ("OffersAreOfTheEpoch", offers_are_of_the_epoch),
    ("SumsAreRight", sums_are_right),
    ("PeersAreMembers", peers_are_members),
];

fn run(replica: &Viewstamped, checks: &[(&'static str, Check)]) -> Result<(), Violation> {
    for (invariant, check) in checks {
        check(replica).map_err(|detail| Violation { invariant, detail })?;
    }
    Ok(())
}

pub(crate) fn check(replica: &Viewstamped) -> Result<(), Violation> {
    match &replica.broken {
        Some(broken) => Err(broken.clone()),
        None => run(replica, CHEAP),
    }
}

pub(crate) fn check_deep(replica: &Viewstamped) -> Result<(), Violation> {
    check(replica)?;
    run(replica, DEEP)
}

fn ensure(holds: bool, detail: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(detail()) }
}

fn last_normal_le_view(replica: &Viewstamped) -> Result<(), String> {
    let (view, last_normal) = (replica.view, replica.last_normal);
    let equal_when_normal = !replica.is_normal() || view == last_normal;
    ensure(last_normal <= view && equal_when_normal, || format!("view {view}, last normal {last_normal}"))
}

fn marks_in_order(replica: &Viewstamped) -> Result<(), String> {
    let (base, last) = (replica.log.base(), replica.log.last());
    let (applied, decided, commit) = (replica.applied, replica.decided, replica.commit);
    let begins = match replica.installing {
        Some(_) => decided < base && base <= commit,
        None => base <= replica.applied_durable,
    };
    let ordered = replica.applied_durable <= applied && applied <= decided && decided <= commit && commit <= last;
    ensure(begins && ordered, || {
        format!("base {base}, applied {applied}, decided {decided}, commit {commit}, last {last}")
    })
}

fn durable_in_order(replica: &Viewstamped) -> Result<(), String> {
    let (durable, written, last) = (replica.disk.durable, replica.disk.written, replica.log.last());
    let decided = replica.decided;
    ensure(decided <= durable && durable <= written && written <= last, || {
        format!("decided {decided}, durable {durable}, written {written}, last {last}")
    })
}

fn led_by_its_primary(replica: &Viewstamped) -> Result<(), String> {
    let primary = replica.view.primary(&replica.configuration.members);
    let leads = replica.is_primary();
    let follows_itself = matches!(replica.stage, Stage::Backup(_)) && primary == Some(replica.me);
    ensure((!leads || primary == Some(replica.me)) && !follows_itself, || {
        format!("view {} is led by {primary:?}", replica.view)
    })
}

fn progress_in_log(replica: &Viewstamped) -> Result<(), String> {
    let Stage::Primary(leadership) = &replica.stage else { return Ok(()) };
    let last = replica.log.last();
    let wrong = leadership.peers.iter().find(|(_, peer)| peer.matched >= peer.next || peer.next > last.next());
    ensure(wrong.is_none(), || format!("the log ends at {last}, and of a peer: {wrong:?}"))
}

/// Nothing follows a reconfiguration in its epoch.
fn reconfiguration_is_last(replica: &Viewstamped) -> Result<(), String> {
    let ends = replica.log.reconfiguration_of_later_epoch(replica.last_normal.epoch);
    let last = replica.log.last();
    ensure(ends.is_none_or(|(slot, _)| slot == last), || format!("the epoch ends at {ends:?}, the log at {last}"))
}

fn epoch_of_view(replica: &Viewstamped) -> Result<(), String> {
    let (known, view) = (replica.configuration.epoch, replica.view);
    ensure(known == view.epoch, || format!("view {view}, configuration of epoch {known}"))
}

fn offers_are_of_the_epoch(replica: &Viewstamped) -> Result<(), String> {
    let Stage::Changing(change) = &replica.stage else { return Ok(()) };
    let wrong = change
        .offers
        .iter()
        .find(|(from, offer)| offer.last_normal >= replica.view || !replica.configuration.members.is_voter(**from));
    ensure(wrong.is_none(), || format!("view {}: {wrong:?}", replica.view))
}

fn sums_are_right(replica: &Viewstamped) -> Result<(), String> {
    let weight: u64 = replica.log.iter().map(Entry::bytes).sum();
    let undecided = replica.log.bytes_behind(replica.decided.max(replica.log.base()));
    ensure(weight == replica.log.bytes() && undecided == replica.undecided_bytes, || {
        format!(
            "the log weighs {weight}, counted as {}; undecided {undecided}, counted as {}",
            replica.log.bytes(),
            replica.undecided_bytes
        )
    })
}

fn peers_are_members(replica: &Viewstamped) -> Result<(), String> {
    let Stage::Primary(leadership) = &replica.stage else { return Ok(()) };
    let members = &replica.configuration.members;
    let peers = leadership.peers.keys().copied();
    let farewell = leadership.farewells.keys().find(|id| members.contains(**id));
    ensure(peers.eq(members.others(replica.me)) && farewell.is_none(), || {
        format!("peers {:?}, farewells {:?}", leadership.peers.keys(), leadership.farewells.keys())
    })
}
