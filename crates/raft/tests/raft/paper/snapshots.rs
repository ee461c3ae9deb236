//! Snapshots: Raft §7; dissertation, 5.

use crate::cluster::*;
use quorate_protocol::{Decision, Input, MembersChange, Output, Replica, Role, SnapshotId, TransferOutcome, Verdict};
use quorate_raft::{
    Anchor, Append, AppendOutcome, Config, Configuration, Entry, Message, Payload, Raft, Record, Timer,
};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot, Ticket};

/// Two entries are kept for whoever lags.
fn forgetful() -> Config {
    Config {
        compact_after_entries: 1,
        compact_keep_entries: 0,
        keep_log_entries: 2,
        snapshot_retry_heartbeats: 2,
        ..Config::default()
    }
}

fn of_three() -> Configuration {
    Configuration::of(Membership::of_voters(3))
}

fn anchor(slot: u64, term: u64) -> Anchor {
    Anchor { slot: Slot(slot), term, configuration: of_three() }
}

/// Node 1 leads 2 and 3; the others decide six slots without node 3, write them down and forget what they may.
fn node_3_left_behind(cluster: &mut Cluster) {
    for commands in ["a", "b", "c", "d", "e", "f"] {
        cluster.propose(1, commands);
        cluster.run_only(&[1, 2]);
    }
    for id in [1, 2] {
        cluster.bed.checkpoint(NodeId(id));
    }
    cluster.run_only(&[1, 2]);
    assert!(cluster.node(1).log().base() > cluster.node(3).log().last(), "it is not kept for node 3");
}

fn slow_cluster() -> Cluster {
    let cluster = Cluster::led_with(3, forgetful());
    Cluster { bed: cluster.bed.with_slow_snapshots() }
}

/// The leader hears that node 3 cannot follow, and a snapshot for it is on its way.
pub fn snapshot_under_way() -> Cluster {
    let mut cluster = slow_cluster();
    node_3_left_behind(&mut cluster);
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    assert_eq!(cluster.bed.transfers().len(), 1);
    cluster
}

pub fn pace(cluster: &Cluster, leader: u64, peer: u64) -> &'static str {
    let status = cluster.node(leader).status();
    status.peers.iter().find(|known| known.id == NodeId(peer)).expect("it is a peer").state
}

pub fn in_step(cluster: &Cluster) {
    cluster.assert_sound();
    let ends: Vec<_> = (1..=3).map(|id| (cluster.node(id).log().last(), cluster.node(id).commit())).collect();
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    let decided = |id| cluster.bed.node(NodeId(id)).decided();
    assert!(decided(1) == decided(2) && decided(1) == decided(3), "the states differ");
}

#[test]
fn a_member_left_behind_catches_up_by_snapshot_and_then_by_appends() {
    let mut cluster = Cluster::led_with(3, forgetful());
    node_3_left_behind(&mut cluster);
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    assert_eq!(cluster.node(3).log().base(), cluster.node(1).commit());
    cluster.propose(1, "g");
    cluster.run();
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    in_step(&cluster);
    assert_eq!(pace(&cluster, 1, 3), "replicate");
    let before = cluster.marks(3);
    cluster.crash(3);
    cluster.restart(3);
    assert_eq!((cluster.marks(3).0, cluster.marks(3).2, cluster.marks(3).3), (before.0, before.2, before.3));
}

/// Everything is forgotten, nothing is proposed, and the leader knows nothing of its peer yet.
#[test]
fn a_new_leader_that_keeps_nothing_offers_a_snapshot_without_a_proposal() {
    let mut cluster = Cluster::led_with(3, Config { keep_log_bytes: 1, ..forgetful() });
    node_3_left_behind(&mut cluster);
    cluster.elect(2, &[3]);
    cluster.run_only(&[1, 2]);
    cluster.bed.checkpoint(NodeId(2));
    let log = cluster.node(2).log();
    assert_eq!((log.count(), log.base()), (0, cluster.node(2).commit()));
    cluster.expire(2, Timer::Heartbeat);
    cluster.run();
    cluster.expire(2, Timer::Heartbeat);
    cluster.run();
    assert_eq!(cluster.node(3).commit(), cluster.node(2).commit());
    cluster.assert_sound();
}

#[test]
fn a_peer_that_needs_a_snapshot_gets_heartbeats_only_and_stays_a_follower() {
    let mut cluster = snapshot_under_way();
    assert_eq!(pace(&cluster, 1, 3), "snapshot");
    cluster.propose(1, "g");
    cluster.run_among(&[1, 2]);
    assert_eq!(cluster.take_sent(1), [], "no append to node 3");
    cluster.expire(1, Timer::Heartbeat);
    let beats: Vec<_> = appends(&cluster.take_sent(1)).into_iter().filter(|(to, ..)| *to == 3).collect();
    assert!(matches!(&beats[..], [(3, _, entries)] if entries.is_empty()), "{beats:?}");
    let mut lone = Lone::of(3, &Config::default());
    let outputs = lone.hear(2, heartbeat(1, (9, 1), 9, 1));
    let election = |output: &Output<Raft>| matches!(output, Output::SetTimer { timer: Timer::Election, .. });
    assert!(outputs.iter().any(election), "a heartbeat that it must reject is a sign of life all the same");
}

/// RS1: sent early, delivered late.
#[test]
fn a_snapshot_of_what_is_committed_here_already_is_dropped() {
    let mut cluster = snapshot_under_way();
    cluster.bed.deliver_snapshot_copy(0);
    cluster.complete(3);
    assert!(cluster.bed.install(NodeId(3)));
    cluster.propose(1, "g");
    cluster.run();
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    let before = (cluster.marks(3), cluster.terms(3));
    cluster.bed.deliver_snapshot(0);
    assert_eq!((cluster.marks(3), cluster.terms(3)), before);
    assert_eq!(cluster.bed.node(NodeId(3)).received().count(), 0, "its bytes are not kept");
    assert!(cluster.saw(3, "raft.snapshot", Verdict::Refused));
    in_step(&cluster);
}

/// RS2: node 3 led alone and holds entries that nobody else has. A crash comes at every moment of the switch.
#[test]
fn a_conflicting_log_is_void_at_once_and_no_crash_brings_it_back() {
    for (surviving, installs) in [(0, false), (1, false), (1, true)] {
        let mut cluster = slow_cluster();
        cluster.elect(3, &[2]);
        cluster.run_only(&[3]);
        for _ in 0..3 {
            cluster.propose(3, "nobody else's");
            cluster.run_only(&[3]);
        }
        assert_eq!(cluster.terms(3).last(), Some(&2), "void entries of term 2");
        cluster.say(3, 1, Message::AppendResponse { term: 2, outcome: AppendOutcome::StaleTerm });
        cluster.elect(1, &[2]);
        node_3_left_behind(&mut cluster);
        cluster.expire(1, Timer::Heartbeat);
        cluster.run();
        assert_eq!(cluster.bed.transfers().len(), 1, "its last entry is not the leader's");
        cluster.bed.deliver_snapshot(0);
        let slot = cluster.node(1).commit();
        assert_eq!((cluster.node(3).log().base(), cluster.node(3).log().count()), (slot, 0));
        if installs {
            cluster.complete(3);
            assert!(cluster.bed.install(NodeId(3)));
        }
        cluster.bed.crash(NodeId(3), surviving);
        cluster.restart(3);
        let kept = cluster
            .node(3)
            .log()
            .iter()
            .any(|entry| matches!(&entry.payload, Payload::Command(commands) if commands == "nobody else's"));
        assert_eq!(kept, surviving == 0, "before the record is durable the old log is what there is");
        assert_eq!(cluster.bed.node(NodeId(3)).installing().is_some(), surviving == 1 && !installs);
        cluster.bed.install(NodeId(3));
        for _ in 0..4 {
            cluster.expire(1, Timer::Heartbeat);
            cluster.run();
            while !cluster.bed.transfers().is_empty() {
                cluster.bed.deliver_snapshot(0);
                cluster.complete(3);
                cluster.bed.install(NodeId(3));
            }
        }
        in_step(&cluster);
    }
}

/// RS4: the term is the entry's, whatever term the sender is in.
#[test]
fn an_anchor_names_the_term_of_its_entry_and_not_the_senders() {
    let mut cluster = slow_cluster();
    node_3_left_behind(&mut cluster);
    cluster.elect(2, &[3]);
    cluster.say(2, 1, Message::AppendResponse { term: 2, outcome: AppendOutcome::StaleTerm });
    cluster.bed.lose_where(|_| true);
    cluster.elect(1, &[3]);
    cluster.bed.lose_where(|_| true);
    assert_eq!((cluster.node(1).term(), cluster.node(1).commit()), (3, Slot(7)));
    cluster.complete(1);
    cluster.expire(1, Timer::Heartbeat);
    cluster.run_among(&[1, 3]);
    let anchors: Vec<_> =
        cluster.bed.transfers().iter().map(|transfer| (transfer.anchor.slot, transfer.anchor.term)).collect();
    assert_eq!(anchors, [(Slot(7), 1)]);
    cluster.bed.deliver_snapshot(0);
    cluster.complete(3);
    cluster.bed.install(NodeId(3));
    assert_eq!(cluster.node(3).log().last_term(), 1);
    cluster.run();
    in_step(&cluster);
}

/// X is node 3: it holds the configuration of A, B, X and the joint entry with D, E, F in slot 6. A delayed snapshot at 5
/// must not set it back.
#[test]
fn a_kept_suffix_keeps_its_configuration() {
    let mut cluster = Cluster::led(3);
    let voters = |ids: [u64; 3]| Membership::new(ids.map(|id| Member::voter(NodeId(id))));
    let joint = Configuration { outgoing: Some(voters([1, 2, 3])), members: voters([4, 5, 6]) };
    let mut suffix = entries(&[1, 1, 1, 1]);
    suffix.push(Entry { term: 1, payload: Payload::Members(Box::new(joint.clone())) });
    let (prev_slot, prev_term, entries) = (Slot(1), 1, suffix.into());
    let append = Append { term: 1, prev_slot, prev_term, entries, commit: Slot(1), everyone_has: Slot::ZERO, round: 0 };
    cluster.say(1, 3, Message::Append(append));
    cluster.complete(3);
    cluster.bed.input(NodeId(3), Input::SnapshotArrived { id: SnapshotId(9), anchor: anchor(5, 1) });
    assert_eq!(cluster.node(3).configuration(), &joint);
    assert_eq!((cluster.node(3).log().last(), cluster.node(3).commit()), (Slot(6), Slot(5)));
    assert_eq!(cluster.bed.node(NodeId(3)).decided().len(), 5, "what it holds is decided, without any bytes");
    cluster.crash(3);
    cluster.restart(3);
    assert_eq!(cluster.node(3).configuration(), &joint);
}

fn arrived(id: u64, anchor: Anchor) -> Vec<Input<Raft>> {
    vec![Input::SnapshotArrived { id: SnapshotId(id), anchor }]
}

/// A follower of node 2 in term 1 with two durable entries, to which a snapshot at slot 5 came.
fn taking() -> (Lone, Vec<Output<Raft>>) {
    let mut lone = Lone::of(3, &Config::default());
    lone.hear(2, append(1, (0, 0), &[1, 1], 1));
    lone.complete();
    lone.batch(vec![applied(1, 0)]);
    let outputs = lone.batch(arrived(7, anchor(5, 1)));
    (lone, outputs)
}

fn applied(through: u64, durable: u64) -> Input<Raft> {
    Input::Applied { through: Slot(through), durable: Slot(durable), digest: 0 }
}

fn ticket_of(outputs: &[Output<Raft>]) -> Ticket {
    let [ticket] = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Persist { ticket, records } => {
                assert_eq!(*records, [Record::Snapshot { id: SnapshotId(7), anchor: anchor(5, 1) }]);
                Some(*ticket)
            }
            _ => None,
        })
        .collect::<Vec<_>>()[..]
    else {
        panic!("one write: {outputs:?}")
    };
    ticket
}

#[test]
fn one_record_names_the_snapshot_and_resets_the_log_and_installing_waits_for_it() {
    let (lone, outputs) = taking();
    let after = ticket_of(&outputs);
    assert!(outputs.contains(&Output::InstallSnapshot { id: SnapshotId(7), anchor: anchor(5, 1), after }));
    let (members, change) = (Membership::of_voters(3), MembersChange::Installed);
    assert!(outputs.contains(&Output::Members { members, change }));
    assert_eq!((lone.raft.log().base(), lone.raft.log().last(), lone.raft.commit()), (Slot(5), Slot(5), Slot(5)));
}

fn acceptances(outputs: &[Output<Raft>]) -> Vec<(Message, bool)> {
    let of = |output: &Output<Raft>| match output {
        Output::Send { message, after, .. } => Some((message.clone(), *after > Ticket::NONE)),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

#[test]
fn nothing_above_the_old_log_is_acknowledged_before_the_record_is_durable() {
    let (mut lone, _) = taking();
    let beat = lone.hear(2, heartbeat(1, (5, 1), 5, 3));
    assert_eq!(acceptances(&beat), [(accepted(1, 1, 3), false)], "only what was committed before it came");
    let more = lone.hear(2, append(1, (5, 1), &[1], 5));
    assert_eq!(acceptances(&more), [(accepted(1, 6, 0), true)], "waits for the write behind the record");
    lone.complete();
    let beat = lone.hear(2, heartbeat(1, (6, 1), 5, 4));
    assert_eq!(acceptances(&beat), [(accepted(1, 6, 4), false)]);
}

fn decisions(outputs: &[Output<Raft>]) -> Vec<Slot> {
    let of = |output: &Output<Raft>| match output {
        Output::Decide { slot, decision: Decision::Nothing } => Some(*slot),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

#[test]
fn nothing_is_decided_until_the_machine_has_the_snapshot_and_then_only_what_is_behind_it() {
    let (mut lone, _) = taking();
    lone.hear(2, append(1, (5, 1), &[1, 1], 7));
    assert_eq!(decisions(&lone.batch(vec![applied(5, 5)])), [], "not before the record is durable");
    assert_eq!(decisions(&lone.complete()), []);
    assert_eq!(decisions(&lone.batch(vec![applied(1, 1)])), [], "what was applied before is no news");
    assert_eq!(decisions(&lone.batch(vec![applied(5, 1)])), [], "the swap is durable or it is none");
    assert_eq!(decisions(&lone.batch(vec![applied(6, 6)])), []);
    assert_eq!(decisions(&lone.batch(vec![applied(5, 5)])), [Slot(6), Slot(7)]);
}

#[test]
fn while_one_is_installed_another_is_dropped() {
    let (mut lone, _) = taking();
    let outputs = lone.batch(arrived(8, anchor(9, 1)));
    assert_eq!(outputs, [Output::DropSnapshot { id: SnapshotId(8) }]);
}

#[test]
fn a_snapshot_that_contradicts_entries_still_being_written_is_dropped() {
    let mut lone = Lone::of(3, &Config::default());
    lone.hear(2, append(2, (0, 0), &[2, 2, 2], 0));
    assert_eq!(lone.batch(arrived(7, anchor(2, 1))), [Output::DropSnapshot { id: SnapshotId(7) }]);
    lone.complete();
    let outputs = lone.batch(arrived(7, anchor(2, 1)));
    assert!(outputs.iter().any(|output| matches!(output, Output::InstallSnapshot { .. })), "{outputs:?}");
    assert_eq!(lone.raft.log().last(), Slot(2));
}

#[test]
fn a_snapshot_of_a_later_term_brings_the_term_and_a_leader_steps_down() {
    let mut lone = Lone::leading(3, &Config::default());
    let outputs = lone.batch(arrived(7, anchor(5, 4)));
    assert_eq!((lone.raft.term(), lone.raft.voted_for(), lone.raft.is_leader()), (4, None, false));
    let records: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Persist { records, .. } => Some(records.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    let expected =
        [Record::TermVote { term: 4, voted_for: None }, Record::Snapshot { id: SnapshotId(7), anchor: anchor(5, 4) }];
    assert_eq!(records, expected, "never a log of a term that the node has not");
}

/// Node 1 leads term 1 and does not know that others decided slot 2 differently: no leader may lose entries and lead on.
#[test]
fn a_leader_whose_log_a_snapshot_contradicts_steps_down_in_its_own_term() {
    let mut lone = Lone::leading(3, &Config::default());
    lone.complete();
    lone.batch(arrived(7, anchor(3, 1)));
    assert_eq!((lone.raft.term(), lone.raft.voted_for(), lone.raft.is_leader()), (1, Some(NodeId(1)), false));
    assert_eq!(lone.raft.log().last(), Slot(3));
}

/// RE9 and RM6: what a node may do is what the snapshot says, also after a restart in the middle of a change.
#[test]
fn the_configuration_of_a_snapshot_is_in_force_joint_or_not() {
    let learner = Member { role: MemberRole::Learner, ..Member::voter(NodeId(1)) };
    let members = Membership::new([learner, Member::voter(NodeId(2)), Member::voter(NodeId(3))]);
    let joint = Configuration { outgoing: Some(Membership::of_voters(3)), members: Membership::of_voters(5) };
    for (configuration, role) in [(Configuration::of(members), Role::Learner), (joint, Role::Follower)] {
        let mut lone = Lone::of(3, &Config::default());
        let anchor = Anchor { configuration: configuration.clone(), ..anchor(5, 1) };
        lone.batch(arrived(7, anchor));
        assert_eq!((lone.raft.configuration(), lone.raft.status().role), (&configuration, role));
        lone.complete();
        let reopened = lone.reopen(Slot::ZERO);
        assert_eq!((reopened.configuration(), reopened.status().role), (&configuration, role));
        let campaigns = lone.batch(vec![Input::Expired(Timer::Election)]);
        let asks =
            campaigns.iter().any(|output| matches!(output, Output::Send { message: Message::PreVote { .. }, .. }));
        assert_eq!(asks, role == Role::Follower, "a learner never campaigns");
    }
}

#[test]
fn a_crash_between_record_and_installation_asks_for_the_same_installation() {
    let mut cluster = snapshot_under_way();
    cluster.bed.deliver_snapshot(0);
    cluster.complete(3);
    let (named, base) = (cluster.bed.node(NodeId(3)).installing(), cluster.node(3).log().base());
    cluster.crash(3);
    cluster.restart(3);
    assert_eq!((cluster.bed.node(NodeId(3)).installing(), cluster.node(3).log().base()), (named, base));
    cluster.propose(1, "g");
    cluster.run();
    assert_eq!(cluster.bed.node(NodeId(3)).decided().len(), 0, "nothing new meanwhile, and nothing was durable before");
    assert!(cluster.bed.install(NodeId(3)));
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    in_step(&cluster);
}

#[test]
fn a_receiver_that_dies_is_asked_again_after_a_pause_and_gets_another() {
    let mut cluster = snapshot_under_way();
    cluster.crash(3);
    cluster.bed.deliver_snapshot(0);
    assert_eq!(pace(&cluster, 1, 3), "snapshot", "it failed: a pause");
    for _ in 0..forgetful().snapshot_retry_heartbeats {
        assert_eq!(pace(&cluster, 1, 3), "snapshot");
        cluster.expire(1, Timer::Heartbeat);
        cluster.run_only(&[1, 2]);
    }
    assert_eq!(
        (pace(&cluster, 1, 3), cluster.bed.transfers().len()),
        ("probe", 0),
        "nobody is there to be sent anything"
    );
    cluster.restart(3);
    cluster.expire(1, Timer::Heartbeat);
    cluster.run();
    cluster.bed.deliver_snapshot(0);
    cluster.complete(3);
    cluster.bed.install(NodeId(3));
    cluster.run();
    in_step(&cluster);
}

#[test]
fn a_leader_change_in_the_middle_of_a_transfer_wastes_nothing() {
    let mut cluster = snapshot_under_way();
    cluster.elect(2, &[3]);
    cluster.run();
    cluster.expire(2, Timer::Heartbeat);
    cluster.run();
    let senders: Vec<_> = cluster.bed.transfers().iter().map(|transfer| transfer.from).collect();
    assert_eq!(senders, [NodeId(1), NodeId(2)], "the new leader sends its own");
    cluster.bed.deliver_snapshot(0);
    cluster.complete(3);
    assert!(cluster.bed.install(NodeId(3)), "a decided prefix, whoever sent it");
    assert!(cluster.saw(1, "raft.snapshot-sent", Verdict::Refused), "node 1 leads no more");
    cluster.bed.deliver_snapshot(0);
    cluster.complete(3);
    cluster.bed.install(NodeId(3));
    for _ in 0..4 {
        cluster.expire(2, Timer::Heartbeat);
        cluster.run();
    }
    in_step(&cluster);
}

/// A leader of term 1 whose log begins behind slot 4, and whose peer 3 needs more.
fn leader_without_what_3_needs() -> (Lone, Vec<Output<Raft>>) {
    let mut lone = Lone::leading(3, &forgetful());
    lone.complete();
    for _ in 0..6 {
        lone.batch(vec![propose("x")]);
    }
    lone.complete();
    lone.hear(2, accepted(1, 1, 0));
    lone.hear(2, accepted(1, 7, 0));
    lone.batch(vec![applied(7, 4)]);
    assert_eq!((lone.raft.log().base(), lone.raft.commit()), (Slot(4), Slot(7)));
    lone.batch(vec![]);
    let asked = lone.hear(3, rejected(1, 4, (0, 0), 0));
    (lone, asked)
}

fn propose(commands: &'static str) -> Input<Raft> {
    let batch = quorate_protocol::Batch::new(commands.into());
    Input::Propose { request: quorate_protocol::RequestId(1), batch }
}

fn pinned(id: u64, to: u64, through: u64) -> Vec<Input<Raft>> {
    vec![Input::SnapshotPinned { id: SnapshotId(id), to: NodeId(to), through: Slot(through) }]
}

fn sent(id: u64, to: u64, outcome: TransferOutcome) -> Vec<Input<Raft>> {
    vec![Input::SnapshotSent { to: NodeId(to), id: SnapshotId(id), outcome }]
}

#[test]
fn a_pinned_view_is_described_as_it_is_and_a_view_older_than_the_log_is_let_go() {
    let (mut lone, asked) = leader_without_what_3_needs();
    let request = Output::SendSnapshot { to: NodeId(3), at_least: Slot(4), with_data: true };
    assert!(asked.contains(&request), "{asked:?}");
    for unusable in [3, 8] {
        let (mut lone, _) = leader_without_what_3_needs();
        assert_eq!(lone.batch(pinned(1, 3, unusable)), [Output::DropSnapshot { id: SnapshotId(1) }]);
        for _ in 0..2 {
            let outputs = lone.batch(vec![Input::Expired(Timer::Heartbeat)]);
            assert!(!outputs.contains(&request), "not before a pause: {outputs:?}");
        }
        assert!(lone.hear(3, rejected(1, 4, (0, 0), 1)).contains(&request), "asked again once it still needs it");
    }
    let expected = Output::SnapshotAnchor { id: SnapshotId(1), to: NodeId(3), anchor: anchor(6, 1) };
    assert_eq!(lone.batch(pinned(1, 3, 6)), [expected]);
    let dropped = |id| [Output::DropSnapshot { id: SnapshotId(id) }];
    assert_eq!(lone.batch(pinned(2, 3, 7)), dropped(2), "one is under way");
    assert_eq!(lone.batch(pinned(3, 2, 7)), dropped(3), "nobody asked for that one");
    assert_eq!(lone.batch(pinned(4, 9, 7)), dropped(4), "a stranger");
}

#[test]
fn news_of_another_transfer_changes_nothing_and_failures_do_not_heat() {
    let (mut lone, _) = leader_without_what_3_needs();
    lone.batch(pinned(1, 3, 6));
    let before = lone.raft.clone();
    for (id, to, outcome) in
        [(2, 3, TransferOutcome::Installed), (2, 3, TransferOutcome::Failed), (1, 2, TransferOutcome::Installed)]
    {
        assert_eq!(lone.batch(sent(id, to, outcome)), []);
        assert_eq!(lone.raft, before);
    }
    assert_eq!(lone.batch(sent(1, 3, TransferOutcome::Failed)), [], "no request, no append");
    assert_eq!(lone.hear(3, rejected(1, 4, (0, 0), 0)), [], "nor when it goes on rejecting");
    assert_eq!(lone.batch(sent(1, 3, TransferOutcome::Installed)), [], "it failed already");
}

#[test]
fn after_the_installation_appends_go_on_behind_it() {
    let (mut lone, _) = leader_without_what_3_needs();
    lone.batch(pinned(1, 3, 6));
    let outputs = lone.batch(sent(1, 3, TransferOutcome::Installed));
    let messages: Vec<_> = acceptances(&outputs).into_iter().map(|(message, _)| (3, message)).collect();
    assert_eq!(appends(&messages), [(3, 6, vec![1])]);
}

/// A peer that shows to hold what is kept needs no snapshot any more, whatever became of it.
#[test]
fn a_peer_that_can_follow_after_all_is_followed_up_with_appends() {
    let (mut lone, _) = leader_without_what_3_needs();
    let outputs = lone.hear(3, accepted(1, 5, 0));
    let messages: Vec<_> = acceptances(&outputs).into_iter().map(|(message, _)| (3, message)).collect();
    assert_eq!(appends(&messages), [(3, 5, vec![1, 1])]);
}

#[test]
fn a_log_that_a_missing_member_holds_back_is_bounded_by_entries_and_by_bytes_and_never_cut_past_what_is_applied_durably()
 {
    let by_entries = Config { keep_log_entries: 8, compact_keep_entries: 0, ..Config::default() };
    let by_bytes = Config { keep_log_bytes: 8 * 17, compact_keep_entries: 0, ..Config::default() };
    for config in [by_entries, by_bytes] {
        let mut cluster = Cluster::led_with(3, config);
        cluster.crash(3);
        for at in 0..40 {
            cluster.propose(1, "x");
            cluster.run_only(&[1, 2]);
            if at == 20 {
                assert_eq!(cluster.node(1).log().base(), Slot::ZERO, "nothing is durable in the store yet");
            }
            if at > 20 {
                cluster.bed.checkpoint(NodeId(1));
                assert!(cluster.node(1).log().count() <= 9, "{} entries", cluster.node(1).log().count());
            }
        }
        assert!(cluster.node(2).log().count() > 40, "node 2 wrote nothing down");
        cluster.complete_all();
        cluster.crash(1);
        cluster.restart(1);
        cluster.assert_sound();
    }
}

/// RR14: after a restart little is known committed, and the leader appends behind a slot that is no longer kept.
#[test]
fn an_append_behind_what_is_forgotten_here_matches_and_takes_nothing_away() {
    let mut cluster = Cluster::led_with(3, forgetful());
    node_3_left_behind(&mut cluster);
    let base = cluster.node(2).log().base();
    assert!(base > Slot(3));
    cluster.crash(2);
    cluster.restart(2);
    let before = cluster.terms(2);
    cluster.say(1, 2, append(1, (2, 1), &[1, 1], 7));
    assert_eq!(cluster.terms(2), before);
    cluster.complete(2);
    assert!(!cluster.saw(2, "raft.append", Verdict::Refused));
}
