//! The suite every protocol passes, on small limits so that everything happens.

use quorate_protocol::Verdict;
use quorate_protocol::conformance::{Subject, Tally, random_schedules};
use quorate_types::{Member, MemberRole, Membership, NodeId};
use quorate_viewstamped::{Config, Viewstamped};

fn small_limits() -> Config {
    Config {
        prepare_entries: 2,
        window_messages: 2,
        undecided_bytes: 120,
        waiting_reads: 3,
        read_rounds: 2,
        compact_after_entries: 2,
        compact_keep_entries: 1,
        keep_log_entries: 4,
        snapshot_retry_heartbeats: 1,
        farewell_heartbeats: 5,
        ..Config::default()
    }
}

/// Everything a compaction must keep: what lies behind the store's mark, and what this node promised.
fn durable_state(replica: &Viewstamped) -> String {
    let log = replica.log();
    let kept = log.iter().skip(usize::try_from(replica.commit().0 - log.base().0).expect("a log fits memory"));
    format!(
        "view {}, last normal {}, log to {}: {:?}, members {:?}",
        replica.view(),
        replica.last_normal(),
        log.last(),
        kept.collect::<Vec<_>>(),
        replica.configuration()
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

#[test]
fn three_voters_with_small_limits() {
    let tally = passes(Membership::of_voters(3), small_limits(), 120, 900);
    println!("{tally}");
    let wanted = ["decided", "crash", "compaction", "read released", "snapshot installed", "healed"];
    assert_eq!(tally.never(&wanted), Vec::<&str>::new(), "a vacuous run:\n{tally}");
}

#[test]
fn five_voters_with_default_limits() {
    let tally = passes(Membership::of_voters(5), Config::default(), 60, 600);
    assert_eq!(tally.never(&["decided", "healed"]), Vec::<&str>::new(), "{tally}");
}

#[test]
fn four_voters_need_three() {
    let tally = passes(Membership::of_voters(4), small_limits(), 60, 600);
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
}

/// Members come, catch up, vote, are replaced and removed, primaries too, while everything else goes wrong.
#[test]
fn three_voters_and_five_more_that_come_and_go() {
    let members = Membership::of_voters(3);
    let tally = passes_with(members, &[4, 5, 6, 7, 8], small_limits(), 120, 1_500);
    let wanted = ["change wished", "members decided", "retired", "snapshot installed", "compaction", "healed"];
    assert_eq!(tally.never(&wanted), Vec::<&str>::new(), "a vacuous run:\n{tally}");
    for rule in ["viewstamped.reconfigure", "viewstamped.epoch", "viewstamped.catch-up", "viewstamped.retire"] {
        assert!(tally.fired(rule, Verdict::Allowed) > 0, "{rule} never:\n{tally}");
    }
}

#[test]
fn a_single_voter_that_is_joined_and_replaced() {
    let tally = passes_with(Membership::of_voters(1), &[2, 3], Config::default(), 100, 600);
    assert_eq!(tally.never(&["members decided", "retired", "healed"]), Vec::<&str>::new(), "{tally}");
}

/// Whatever is behind needs a snapshot, and whatever was installed is compacted: such a walk found a record of a snapshot that, replayed
/// from a compacted journal, voided what was acknowledged.
#[test]
fn two_voters_a_learner_and_two_newcomers_where_everything_takes_a_snapshot() {
    let learner = Member { role: MemberRole::Learner, ..Member::voter(NodeId(3)) };
    let members = Membership::new([Member::voter(NodeId(1)), Member::voter(NodeId(2)), learner]);
    let config = Config {
        state_bytes: 30,
        prepare_entries: 3,
        keep_log_entries: 3,
        compact_after_entries: 1,
        compact_keep_entries: 0,
        snapshot_retry_heartbeats: 2,
        farewell_heartbeats: 2,
        ..Config::default()
    };
    let tally = passes_with(members, &[4, 5], config, 60, 2_500);
    let wanted = ["snapshot installed", "compaction", "members decided", "healed"];
    assert_eq!(tally.never(&wanted), Vec::<&str>::new(), "a vacuous run:\n{tally}");
}
