//! The suite every protocol passes, on small limits so that everything happens.

use quorate_protocol::conformance::{Subject, Tally, random_schedules};
use quorate_protocol::{Replica, Verdict};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};
use quorate_zab::{Broadcast, Config, Zab};

fn small_limits() -> Config {
    Config {
        counter_most: 5,
        held_messages: 3,
        proposal_entries: 2,
        window_entries: 4,
        undecided_bytes: 400,
        waiting_reads: 3,
        read_rounds: 2,
        compact_after_entries: 2,
        compact_keep_entries: 1,
        keep_log_entries: 4,
        snapshot_retry_ticks: 1,
        in_sync_entries: 2,
        ..Config::default()
    }
}

/// Everything a compaction must keep: what lies behind the store's mark, and what this node promised.
fn durable_state(node: &Zab) -> String {
    let Some(inside) = node.inside() else { return format!("{}, none of {:?}", node.configuration(), node.members()) };
    let kept: Vec<_> = inside.log().from(inside.committed().next()).collect();
    let epochs = (inside.accepted_epoch(), inside.current_epoch());
    format!("{} of {:?}: epochs {epochs:?}, {kept:?}", node.configuration(), node.members())
}

fn passes_with(members: Membership, newcomers: &[u64], config: Config, seeds: u64, steps: usize) -> Tally {
    let newcomers = newcomers.iter().copied().map(NodeId).collect();
    let subject = Subject { members, newcomers, config, safety: durable_state, last_slot: None, heal_rounds: 800 };
    random_schedules(&subject, 0..seeds, steps).unwrap_or_else(|failure| panic!("{failure}"))
}

fn passes(members: Membership, config: Config, seeds: u64, steps: usize) -> Tally {
    passes_with(members, &[], config, seeds, steps)
}

#[test]
fn three_voters_with_small_limits() {
    let tally = passes(Membership::of_voters(3), small_limits(), 400, 1_500);
    let wanted = [
        "decided",
        "crash",
        "crash losing writes",
        "compaction",
        "read released",
        "refused",
        "snapshot sent",
        "snapshot installed",
        "opened before an installation",
        "healed",
    ];
    assert_eq!(tally.never(&wanted), Vec::<&str>::new(), "a vacuous run:\n{tally}");
    for (rule, verdict) in [
        ("zab.promise", Verdict::Waiting),
        ("zab.truncate", Verdict::Allowed),
        ("zab.reconnect", Verdict::Allowed),
        ("zab.join", Verdict::Allowed),
    ] {
        assert!(tally.fired(rule, verdict) > 0, "{rule} never {verdict:?}:\n{tally}");
    }
}

#[test]
fn five_voters_with_default_limits() {
    let tally = passes(Membership::of_voters(5), Config::default(), 40, 500);
    assert_eq!(tally.never(&["decided", "healed"]), Vec::<&str>::new(), "{tally}");
}

#[test]
fn a_single_voter() {
    let tally = passes(Membership::of_voters(1), small_limits(), 30, 300);
    assert_eq!(tally.never(&["decided", "read released", "healed", "compaction"]), Vec::<&str>::new(), "{tally}");
}

#[test]
fn two_voters_and_a_learner() {
    let learner = Member { role: MemberRole::Learner, ..Member::voter(NodeId(3)) };
    let members = Membership::new([Member::voter(NodeId(1)), Member::voter(NodeId(2)), learner]);
    let tally = passes(members, small_limits(), 40, 400);
    assert_eq!(tally.never(&["decided", "read released", "healed"]), Vec::<&str>::new(), "{tally}");
}

/// Members come, catch up, vote, are demoted and removed, leaders too, while everything else goes wrong.
#[test]
fn three_voters_and_five_more_that_come_and_go() {
    let tally = passes_with(Membership::of_voters(3), &[4, 5, 6, 7, 8], small_limits(), 100, 1_500);
    let wanted = ["change wished", "members decided", "retired", "snapshot installed", "compaction", "healed"];
    assert_eq!(tally.never(&wanted), Vec::<&str>::new(), "a vacuous run:\n{tally}");
    for (rule, verdict) in [
        ("succession.close", Verdict::Allowed),
        ("succession.jump", Verdict::Allowed),
        ("succession.serve", Verdict::Allowed),
        ("succession.promote", Verdict::Allowed),
        ("succession.retire", Verdict::Allowed),
        ("succession.configuration", Verdict::Refused),
        ("succession.configuration", Verdict::Waiting),
    ] {
        assert!(tally.fired(rule, verdict) > 0, "{rule} never {verdict:?}:\n{tally}");
    }
}

#[test]
fn a_single_voter_that_is_joined_and_replaced() {
    let tally = passes_with(Membership::of_voters(1), &[2, 3], small_limits(), 100, 600);
    assert_eq!(tally.never(&["members decided", "healed"]), Vec::<&str>::new(), "{tally}");
}

#[test]
fn the_anchor_of_a_configuration_ends_with_its_stop_sign() {
    let prefix =
        <Broadcast as quorate_succession::Heir>::founding(&Config::default(), &Membership::of_voters(3), Slot(7));
    let anchor = quorate_succession::Anchor { configuration: 2, prefix };
    assert_eq!(Zab::anchored(&anchor), Slot(7));
}
