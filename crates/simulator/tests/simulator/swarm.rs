//! Random runs: reproducible, clean, and not vacuous.

use crate::ledger::Ledger;
use quorate_keyspace::Keyspace;
use quorate_multi_paxos::MultiPaxos;
use quorate_paxos::Paxos;
use quorate_raft::Raft;
use quorate_simulator::swarm::{Campaign, CampaignReport, Judged, Options, Shard, Subject, run_campaign, run_seed};
use quorate_simulator::{Keep, Mark};
use quorate_viewstamped::Viewstamped;
use quorate_zab::Zab;

fn part(seeds: std::ops::Range<u64>, shard: Shard) -> Campaign {
    Campaign { seeds, shard, limit: None, jobs: 2, stop_at_first: false, impossible_marks: Vec::new() }
}

fn campaign<R: Subject, S: Judged>(seeds: std::ops::Range<u64>) -> CampaignReport {
    let campaign = part(seeds, Shard::WHOLE);
    let mut done = 0;
    let report = run_campaign::<R, S>(&campaign, |progress| {
        done += 1;
        assert_eq!(progress.done, done);
    });
    for failed in &report.failed {
        eprintln!("{}: {} {}", failed.replay, failed.violation.property, failed.violation.text);
    }
    assert_eq!(report.failed, []);
    report
}

/// Enough of its seeds got much done, and all of this happened in them.
fn is_not_vacuous(report: &CampaignReport, evidence_min: u64, expected: &[Mark]) {
    assert!(
        report.evidence >= evidence_min,
        "only {} of {} seeds answered enough calls",
        report.evidence,
        report.seeds
    );
    for mark in expected {
        assert!(report.marks.count(*mark) > 0, "{} was never seen", mark.name());
    }
}

#[test]
fn raft_with_the_keyspace_is_clean() {
    let report = campaign::<Raft, Keyspace>(0..60);
    let expected = [
        Mark::LeaderChange,
        Mark::CrashWithUnsynced,
        Mark::CrashInRecovery,
        Mark::StartFromCheckpoint,
        Mark::Compaction,
        Mark::ForwardRetried,
        Mark::DuplicateSkipped,
        Mark::ReadByFollower,
        Mark::UnknownOutcome,
        Mark::GhostAsked,
    ];
    is_not_vacuous(&report, 50, &expected);
}

/// Few seeds: campaigns of thousands are for `quorate sim`.
fn is_clean_with_the_keyspace<R: Subject>() {
    let report = campaign::<R, Keyspace>(0..10);
    let expected = [Mark::LeaderChange, Mark::CrashWithUnsynced, Mark::Compaction, Mark::GhostAsked];
    is_not_vacuous(&report, 8, &expected);
}

#[test]
fn multi_paxos_with_the_keyspace_is_clean() {
    is_clean_with_the_keyspace::<MultiPaxos>();
}

#[test]
fn viewstamped_with_the_keyspace_is_clean() {
    is_clean_with_the_keyspace::<Viewstamped>();
}

#[test]
fn zab_with_the_keyspace_is_clean() {
    is_clean_with_the_keyspace::<Zab>();
}

#[test]
fn raft_with_a_machine_of_ones_own_is_clean() {
    let report = campaign::<Raft, Ledger>(1000..1020);
    assert!(report.evidence >= 15);
}

#[test]
fn shards_merged_report_what_one_run_reports() {
    let timeless = |report: CampaignReport| {
        let no_time = std::time::Duration::ZERO;
        CampaignReport { elapsed: no_time, thread_time: no_time, ..report }
    };
    let whole = run_campaign::<Paxos, Ledger>(&part(5..28, Shard::WHOLE), |_| ());
    let mut merged: Option<CampaignReport> = None;
    for index in [2, 0, 1] {
        let shard = Shard::new(index, 3).unwrap();
        let report = run_campaign::<Paxos, Ledger>(&part(5..28, shard), |_| ());
        match &mut merged {
            Some(merged) => merged.merge(report),
            None => merged = Some(report),
        }
    }
    let merged = merged.unwrap();
    assert_eq!((merged.seeds, merged.wanted), (23, 23));
    assert_ne!(merged.trace_digest, 0);
    assert_eq!(format!("{:?}", timeless(merged)), format!("{:?}", timeless(whole)));
}

#[test]
fn paxos_is_clean() {
    let report = campaign::<Paxos, Ledger>(0..100);
    assert!(report.evidence >= 80);
    assert!(report.marks.count(Mark::CrashInRecovery) > 0);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let everything = Options { keep: Keep::Everything, tracing: Some(true), record: false };
    for seed in [3, 7, 11] {
        let first = run_seed::<Raft, Keyspace>(seed, &everything);
        let second = run_seed::<Raft, Keyspace>(seed, &everything);
        assert!(first.happenings.len() > 100);
        assert_eq!(first.happenings, second.happenings);
        assert_eq!(first.trace_hash, second.trace_hash);
    }
}

#[test]
fn watching_a_run_does_not_change_it() {
    for seed in [3, 7, 11] {
        let hash_with = |keep, tracing| {
            run_seed::<Raft, Keyspace>(seed, &Options { keep, tracing: Some(tracing), record: false }).trace_hash
        };
        let unwatched = hash_with(Keep::Nothing, false);
        assert_eq!(hash_with(Keep::Everything, true), unwatched);
        assert_eq!(hash_with(Keep::Last(10), true), unwatched);
    }
}

#[test]
fn recording_a_run_does_not_change_it() {
    let hash = |record| run_seed::<Raft, Keyspace>(9, &Options { record, ..Options::default() }).trace_hash;
    assert_eq!(hash(true), hash(false));
}

#[test]
fn different_seeds_are_different_runs() {
    let hash = |seed| run_seed::<Raft, Keyspace>(seed, &Options::default()).trace_hash;
    assert_ne!(hash(1), hash(2));
}
