//! The suite every protocol passes, on small limits so that everything happens.

use quorate_protocol::Verdict::{self, Allowed, Refused, Waiting};
use quorate_protocol::conformance::{Subject, Tally, random_schedules};
use quorate_raft::{Config, Raft};
use quorate_types::{Member, MemberRole, Membership, NodeId};

fn small_limits() -> Config {
    Config {
        append_entries: 2,
        window_messages: 2,
        undecided_bytes: 120,
        waiting_reads: 3,
        read_rounds: 2,
        compact_after_entries: 2,
        compact_keep_entries: 1,
        keep_log_entries: 4,
        snapshot_retry_heartbeats: 1,
        ..Config::default()
    }
}

/// Everything a compaction must keep: what lies behind the store's mark, and what this node promised.
fn durable_state(raft: &Raft) -> String {
    let log = raft.log();
    let kept = log.iter().skip(usize::try_from(raft.commit().0 - log.base().0).expect("a log fits memory"));
    format!(
        "term {}, vote {:?}, log to {} of term {}: {:?}, members {:?}",
        raft.term(),
        raft.voted_for(),
        log.last(),
        log.last_term(),
        kept.collect::<Vec<_>>(),
        raft.configuration()
    )
}

fn passes(members: Membership, config: Config, seeds: u64, steps: usize) -> Tally {
    passes_with(members, &[], config, seeds, steps)
}

fn passes_with(members: Membership, newcomers: &[u64], config: Config, seeds: u64, steps: usize) -> Tally {
    let newcomers = newcomers.iter().copied().map(NodeId).collect();
    let subject = Subject { members, newcomers, config, safety: durable_state, last_slot: None, heal_rounds: 400 };
    random_schedules(&subject, 0..seeds, steps).unwrap_or_else(|failure| panic!("{failure}"))
}

/// What must have been said at least once.
const EXPECTED: &[(&str, Verdict)] = &[
    ("raft.term", Allowed),
    ("raft.pre-vote", Allowed),
    ("raft.pre-vote", Refused),
    ("raft.vote", Allowed),
    ("raft.vote", Refused),
    ("raft.stickiness", Refused),
    ("raft.election", Allowed),
    ("raft.step-down", Allowed),
    ("raft.check-quorum", Refused),
    ("raft.propose", Refused),
    ("raft.append", Refused),
    ("raft.truncate", Allowed),
    ("raft.progress", Waiting),
    ("raft.progress", Refused),
    ("raft.window", Waiting),
    ("raft.commit", Allowed),
    ("raft.commit", Refused),
    ("raft.decide", Waiting),
    ("raft.read", Allowed),
    ("raft.read", Waiting),
    ("raft.read", Refused),
    ("raft.read-forward", Allowed),
    ("raft.transfer", Allowed),
    ("raft.transfer", Refused),
    ("raft.transfer", Waiting),
    ("raft.campaign-at-once", Allowed),
    ("raft.disk", Waiting),
    ("raft.disk", Refused),
    ("raft.compact", Allowed),
    ("raft.snapshot-view", Allowed),
    ("raft.snapshot-view", Refused),
    ("raft.snapshot-sent", Allowed),
    ("raft.snapshot-sent", Waiting),
    ("raft.snapshot", Allowed),
    ("raft.snapshot", Refused),
    ("raft.installed", Allowed),
];

#[test]
fn three_voters_with_small_limits() {
    let tally = passes(Membership::of_voters(3), small_limits(), 100, 1_500);
    let wanted = [
        "decided",
        "crash",
        "crash losing writes",
        "compaction",
        "checkpoint",
        "read released",
        "refused",
        "garbage",
        "settled late",
        "message repeated",
        "message lost",
        "damage noticed",
        "snapshot asked",
        "snapshot sent",
        "snapshot lost",
        "snapshot dropped",
        "view dropped",
        "snapshot installed",
        "opened before an installation",
        "healed",
    ];
    assert_eq!(tally.never(&wanted), Vec::<&str>::new(), "a vacuous run:\n{tally}");
    let kinds = [
        "pre-vote",
        "request-vote",
        "vote-response",
        "append",
        "heartbeat",
        "append-response",
        "read-index",
        "read-index-response",
        "timeout-now",
    ];
    for kind in kinds {
        assert!(tally.sent(kind) > 0, "no {kind} was sent:\n{tally}");
    }
    for (rule, verdict) in EXPECTED {
        let (rule, verdict) = (*rule, *verdict);
        assert!(tally.fired(rule, verdict) > 0, "{rule} never {verdict:?}:\n{tally}");
    }
}

#[test]
fn five_voters_with_default_limits() {
    let tally = passes(Membership::of_voters(5), Config::default(), 60, 600);
    assert_eq!(tally.never(&["decided", "healed"]), Vec::<&str>::new(), "{tally}");
}

#[test]
fn a_single_voter() {
    let tally = passes(Membership::of_voters(1), small_limits(), 40, 300);
    assert_eq!(tally.never(&["decided", "read released", "healed", "compaction"]), Vec::<&str>::new(), "{tally}");
}

#[test]
fn two_voters_and_a_learner() {
    let learner = Member { role: MemberRole::Learner, ..Member::voter(NodeId(3)) };
    let members = Membership::new([Member::voter(NodeId(1)), Member::voter(NodeId(2)), learner]);
    let tally = passes(members, small_limits(), 60, 300);
    assert_eq!(tally.never(&["decided", "read released", "healed"]), Vec::<&str>::new(), "{tally}");
    assert!(tally.fired("raft.campaign", Refused) > 0, "the learner's election timer never fired:\n{tally}");
}

/// Members come, catch up, vote, are demoted, replaced and removed, leaders too, while everything else goes wrong.
#[test]
fn three_voters_and_five_more_that_come_and_go() {
    let members = Membership::of_voters(3);
    let tally = passes_with(members, &[4, 5, 6, 7, 8], small_limits(), 120, 1_500);
    let wanted = ["change wished", "members decided", "retired", "snapshot installed", "compaction", "healed"];
    assert_eq!(tally.never(&wanted), Vec::<&str>::new(), "a vacuous run:\n{tally}");
    let expected = [
        ("raft.reconfigure", Allowed),
        ("raft.reconfigure", Refused),
        ("raft.finish-change", Allowed),
        ("raft.catch-up", Allowed),
        ("raft.farewell", Allowed),
        ("raft.farewell", Waiting),
        ("raft.retire", Allowed),
    ];
    for (rule, verdict) in expected {
        assert!(tally.fired(rule, verdict) > 0, "{rule} never {verdict:?}:\n{tally}");
    }
    let each = tally.count("members decided") / 120;
    assert!(each >= 5, "{each} members decided per run:\n{tally}");
}

#[test]
fn a_single_voter_that_is_joined_and_replaced() {
    let tally = passes_with(Membership::of_voters(1), &[2, 3], Config::default(), 100, 600);
    assert_eq!(tally.never(&["members decided", "retired", "healed"]), Vec::<&str>::new(), "{tally}");
}
