//! The parts of a node joined, with the least protocol there is.

use crate::rig::solo::{Entry, Misdeed, Solo, SoloConfig, SoloTimer};
use crate::rig::{Rig, TestNode, write};
use bytes::Bytes;
use quorate_disk::{Disk, DiskErrorKind, Operation};
use quorate_machine::{Command, encode_batch};
use quorate_node::{
    BootError, ClientTag, Consistency, Lane, Node, NodeInput, NodeMessage, NodeTimer, RequestError, StopReason,
};
use quorate_protocol::Replica;
use quorate_types::{ClusterId, Incarnation, NodeId, Session, Slot, Time};

fn misbehaving(misdeed: Misdeed) -> SoloConfig {
    SoloConfig { misdeed: Some(misdeed), ..SoloConfig::default() }
}

/// A rig that checkpoints whenever it may.
fn eager_checkpoints() -> Rig<Solo> {
    let mut rig = Rig::off(1, SoloConfig::default());
    rig.config.checkpoint.after_slots = 1;
    rig.start().expect("empty disks boot");
    rig
}

#[test]
fn a_write_is_answered_when_it_is_durable_and_applied() {
    let mut rig = Rig::new(1, SoloConfig::default());
    rig.write(1, "a");
    assert_eq!((rig.replies.len(), rig.is_under_way(Lane::Journal)), (0, true));
    rig.complete(Lane::Journal);
    assert_eq!(rig.replies, [(ClientTag(1), Ok(1))]);
    assert_eq!(rig.applied.len(), 1);
}

#[test]
fn a_message_leaves_only_when_the_write_it_waits_for_is_durable() {
    let mut rig = Rig::new(1, SoloConfig::default());
    rig.write(1, "a");
    assert_eq!((rig.sent.len(), rig.node().status().held_messages), (0, 1));
    rig.complete(Lane::Journal);
    assert!(matches!(&rig.sent[..], [(NodeId(2), NodeMessage::Protocol(Entry { slot: Slot(1), .. }))]));
    assert_eq!(rig.node().status().held_messages, 0);
}

#[test]
fn what_was_durable_before_a_restart_holds_no_message_back_after_it() {
    let mut rig = Rig::new(1, SoloConfig::default());
    rig.write(1, "a");
    rig.complete_all();
    rig.crash(&mut |_| 0);
    rig.start().unwrap();
    assert!(rig.expire(NodeTimer::Protocol(SoloTimer::Repeat)));
    assert!(matches!(&rig.sent[..], [(NodeId(2), NodeMessage::Protocol(Entry { slot: Slot(1), .. }))]));
}

#[test]
fn everything_that_comes_while_a_flush_runs_leaves_as_one_write() {
    let mut rig = Rig::new(1, SoloConfig::default());
    rig.write(1, "first");
    for tag in 2..=20 {
        rig.write(tag, "later");
    }
    assert_eq!(rig.under_way.len(), 1);
    rig.complete(Lane::Journal);
    assert_eq!(rig.replies.len(), 1);
    let [group] = &rig.under_way[..] else { panic!("one write for all the rest") };
    let flushes = group.operations.iter().filter(|operation| matches!(operation, Operation::Flush { .. })).count();
    assert_eq!(flushes, 1);
    rig.complete(Lane::Journal);
    assert_eq!((rig.replies.len(), rig.under_way.len()), (20, 0));
}

#[test]
fn writes_of_one_batch_of_inputs_share_a_slot() {
    let mut rig = Rig::new(1, SoloConfig::default());
    rig.inputs((1..=10).map(|tag| write(tag, "x")));
    rig.complete_all();
    assert_eq!((rig.replies.len(), rig.applied.len()), (10, 1));
}

#[test]
fn a_follower_forwards_and_answers_when_it_applies() {
    let mut leader = Rig::new(1, SoloConfig::default());
    let mut follower = Rig::new(2, SoloConfig::default());
    follower.write(5, "a");
    let (to, forward) = follower.sent.pop().expect("it forwards");
    assert_eq!((to, follower.sent.len()), (NodeId(1), 0));
    leader.inputs([NodeInput::Message { from: NodeId(2), message: forward }]);
    leader.complete_all();
    assert_eq!(leader.replies, []);
    for (_, message) in std::mem::take(&mut leader.sent) {
        follower.inputs([NodeInput::Message { from: NodeId(1), message }]);
    }
    follower.complete_all();
    assert_eq!(follower.replies, [(ClientTag(5), Ok(1))]);
    assert_eq!(follower.applied, leader.applied, "equal digests at equal slots");
}

#[test]
fn reads_see_what_was_acknowledged_before_them() {
    let mut rig = Rig::new(1, SoloConfig::default());
    rig.write(1, "a");
    rig.complete_all();
    rig.read(2, Consistency::Linearizable);
    rig.read(3, Consistency::Local);
    assert_eq!(rig.replies[1..], [(ClientTag(2), Ok(1)), (ClientTag(3), Ok(1))]);
}

#[test]
fn an_overloaded_replica_slows_the_node_down_and_loses_nothing() {
    let mut rig = Rig::new(1, SoloConfig { max_undecided: 1, ..SoloConfig::default() });
    for tag in 1..=5 {
        rig.write(tag, "x");
    }
    rig.complete_all();
    assert_eq!(rig.replies.len(), 5);
    assert_eq!(rig.applied.len(), 2, "what was held back went together");
}

#[test]
fn requests_time_out_by_the_requests_timer() {
    let mut rig = Rig::new(2, SoloConfig::default());
    rig.write(1, "nobody hears it");
    rig.advance(5_000);
    assert!(rig.expire(NodeTimer::Requests));
    assert_eq!(rig.replies, [(ClientTag(1), Err(RequestError::Unknown))]);
    assert!(!rig.timers.contains_key(&NodeTimer::Requests), "nothing waits, so nothing wakes");
}

#[test]
fn a_restart_finds_everything_and_counts_an_incarnation() {
    let mut rig = Rig::new(1, SoloConfig::default());
    rig.write(1, "a");
    rig.write(2, "b");
    rig.complete_all();
    rig.crash(&mut |bound| bound - 1);
    rig.applied.clear();
    rig.start().unwrap();
    assert_eq!(rig.items(), ["a", "b"]);
    assert_eq!(rig.node().status().incarnation, Incarnation(2));
    assert_eq!(rig.node().status().disk, rig.boot.new_disk);
    rig.write(3, "c");
    rig.complete_all();
    assert_eq!(rig.replies.last(), Some(&(ClientTag(3), Ok(3))));
}

#[test]
fn a_checkpoint_frees_the_journal_and_a_restart_begins_behind_it() {
    let mut rig = eager_checkpoints();
    for tag in 1..=9 {
        rig.write(tag, "x");
        rig.complete_all();
    }
    let before = rig.node().status();
    assert_eq!((before.checkpointed, before.checkpointing), (Slot(9), false));
    assert_eq!(before.protocol.first, Slot(10), "the replica has compacted");
    rig.crash(&mut |_| 0);
    rig.applied.clear();
    rig.start().unwrap();
    assert_eq!(rig.applied, [], "nothing is decided again");
    assert_eq!((rig.items().len(), rig.node().status().machine.digest), (9, before.machine.digest));
}

#[test]
fn the_checkpoint_timer_begins_one_only_when_there_is_something_new() {
    let mut rig = Rig::new(1, SoloConfig::default());
    assert!(rig.expire(NodeTimer::Checkpoint));
    assert!(!rig.is_under_way(Lane::Store));
    rig.write(1, "a");
    rig.complete(Lane::Journal);
    assert!(rig.is_under_way(Lane::Store), "the look was remembered");
    rig.complete_all();
    assert_eq!(rig.node().status().checkpointed, Slot(1));
    assert!(rig.expire(NodeTimer::Checkpoint), "it runs again");
    assert!(!rig.is_under_way(Lane::Store));
}

#[test]
fn writes_go_on_while_a_checkpoint_is_written() {
    let mut rig = Rig::new(1, SoloConfig::default());
    rig.inputs((1..=30).map(|tag| write(tag, "x")));
    rig.complete_all();
    rig.expire(NodeTimer::Checkpoint);
    assert!(rig.is_under_way(Lane::Store));
    rig.write(31, "during");
    rig.complete(Lane::Journal);
    assert_eq!(rig.replies.len(), 31);
    rig.complete_all();
    assert_eq!(rig.node().status().checkpointed, Slot(1));
    rig.crash(&mut |_| 0);
    rig.start().unwrap();
    assert_eq!(rig.items().len(), 31);
}

#[test]
fn a_quiet_journal_does_its_housekeeping_once() {
    let mut rig = Rig::new(1, SoloConfig::default());
    rig.write(1, "a");
    rig.complete_all();
    assert!(rig.expire(NodeTimer::JournalIdle));
    assert!(!rig.is_under_way(Lane::Journal), "a write began since the timer was set");
    assert!(rig.expire(NodeTimer::JournalIdle));
    assert!(rig.is_under_way(Lane::Journal));
    rig.complete_all();
    assert!(!rig.expire(NodeTimer::JournalIdle), "nothing more to do");
    rig.write(2, "b");
    assert!(rig.timers.contains_key(&NodeTimer::JournalIdle));
}

#[test]
fn a_broken_invariant_lets_nothing_out_but_traces_and_stop() {
    let mut rig = Rig::new(1, misbehaving(Misdeed::BreakInvariant));
    rig.write(1, "a");
    rig.complete(Lane::Journal);
    assert!(matches!(rig.stopped, Some(StopReason::Violation(_))));
    assert_eq!((rig.replies.len(), rig.applied.len(), rig.sent.len()), (0, 0, 0));
    assert!(rig.traces.iter().any(|event| event.rule.id == "solo.decide"));
    let said = rig.traces.len();
    rig.write(2, "b");
    assert_eq!((rig.replies.len(), rig.traces.len(), rig.under_way.len()), (0, said, 0));
    assert!(rig.node().status().stopped);
}

#[test]
fn what_cannot_be_stops_the_node_and_says_why() {
    let cases = [
        (Misdeed::DecideGarbage, "slot 1 was decided to be something that is no batch of commands"),
        (Misdeed::InstallSnapshot, "snapshot 1 is to be installed and is not here"),
        (Misdeed::TalkToItself, "invariant NeverToYourself is violated"),
        (Misdeed::Retire, "this node is retired: for the test"),
        (Misdeed::SkipTickets, "the journal cannot take the replica's records: ticket 101"),
    ];
    for (misdeed, words) in cases {
        let mut rig = Rig::new(1, misbehaving(misdeed));
        rig.write(1, "a");
        rig.complete_all();
        let said = rig.stopped.expect("it stops").to_string();
        assert!(said.starts_with(words), "{said}");
    }
}

#[test]
fn a_completion_of_a_write_that_is_not_under_way_stops_the_node() {
    for lane in [Lane::Journal, Lane::Store] {
        let mut rig = Rig::new(1, SoloConfig::default());
        rig.inputs([NodeInput::DiskDone { lane, write: 99 }]);
        assert!(matches!(rig.stopped, Some(StopReason::Inconsistent(_))));
    }
}

#[test]
fn somebody_elses_or_damaged_disks_refuse_the_start_in_one_sentence() {
    let mut rig = eager_checkpoints();
    rig.write(1, "a");
    rig.complete_all();
    rig.crash(&mut |_| 0);
    let refusal = |rig: &mut Rig<Solo>| rig.start().unwrap_err();

    let mut stranger = rig.clone();
    stranger.boot.cluster = ClusterId(8);
    assert!(matches!(refusal(&mut stranger), BootError::Journal(_)));

    let mut wiped = rig.clone();
    wiped.journal = Default::default();
    assert_eq!(refusal(&mut wiped), BootError::JournalLost);
    assert!(!refusal(&mut wiped).to_string().contains('\n'));

    let mut mixed = rig.clone();
    let mut other = eager_checkpoints();
    other.boot.new_disk.0 += 1;
    other.journal = Default::default();
    other.store = Default::default();
    other.under_way.clear();
    other.start().unwrap();
    other.write(1, "a");
    other.complete_all();
    other.crash(&mut |_| 0);
    mixed.store = other.store;
    assert!(matches!(refusal(&mut mixed), BootError::ForeignStore { .. }));

    assert!(rig.start().is_ok(), "refusals changed nothing");
}

#[test]
fn a_journal_lost_before_the_first_command_refuses_the_start_too() {
    // Nothing was written by a client, but a vote may have been given: founding anew under the old name could repeat it.
    let rig = Rig::new(1, SoloConfig::default());
    let mut wiped = rig.clone();
    wiped.crash(&mut |_| 0);
    wiped.journal = Default::default();
    assert_eq!(wiped.start().unwrap_err(), BootError::JournalLost);
    let mut whole = rig;
    whole.crash(&mut |_| 0);
    whole.start().expect("with its journal it starts");
}

#[test]
fn a_first_start_that_crashes_anywhere_can_be_repeated() {
    for lane in [Lane::Journal, Lane::Store] {
        for operations in 0.. {
            let mut failed_once = false;
            for seed in 0..30 {
                let mut rig = Rig::off(1, SoloConfig::default());
                rig.disk(lane).faults_mut().fail_after = Some((operations, DiskErrorKind::Medium));
                let booted = rig.start();
                if rig.disk(lane).faults_mut().fail_after.take().is_some() {
                    booted.expect("no operation failed");
                    continue;
                }
                assert!(matches!(booted, Err(BootError::Disk { .. })), "{booted:?}");
                failed_once = true;
                let mut drawn = seed;
                rig.crash(&mut |bound| {
                    drawn = drawn * 7 + 3;
                    drawn % bound
                });
                // Each start draws another disk id.
                rig.boot.new_disk.0 += 1;
                rig.start().expect("a crash alone is never damage");
                rig.write(1, "a");
                rig.complete_all();
                assert_eq!(rig.items(), ["a"]);
            }
            if !failed_once {
                assert!(operations > 3, "{lane:?} has operations at a first start");
                break;
            }
        }
    }
}

#[test]
fn a_record_of_a_newer_version_refuses_the_start_and_is_named() {
    let mut rig = Rig::off(1, SoloConfig::default());
    let found = quorate_journal::Identity {
        cluster: rig.boot.cluster,
        node: rig.boot.me,
        disk: rig.boot.new_disk,
        protocol: "solo".to_owned(),
    };
    let (mut journal, operations) =
        quorate_journal::Journal::create(&rig.journal, found, rig.config.journal.clone()).unwrap();
    rig.journal.perform_all(&operations).unwrap();
    journal.append(quorate_types::Ticket(1), vec![Bytes::from_static(&[9, 1, 0])]).unwrap();
    let write = journal.next_write().unwrap();
    rig.journal.perform_all(&write.operations).unwrap();
    let said = rig.start().unwrap_err().to_string();
    assert_eq!(
        said,
        "the journal's record under ticket 1 cannot be read: unknown kind 9 of solo entry: written by a newer version?"
    );
}

#[test]
fn the_ghost_stands_by_what_is_synced_and_by_nothing_else() {
    let mut rig = eager_checkpoints();
    let entry = |slot, text: &'static str| {
        let session = Session { owner: 1, incarnation: Incarnation(1) };
        let payload = Bytes::from_static(text.as_bytes());
        let command = Command { session, sequence: slot, acked_below: slot, stamp: Time::ZERO, payload };
        Entry { slot: Slot(slot), commands: encode_batch(&[command]) }
    };
    let vouches = |rig: &Rig<Solo>, message: &Entry| {
        let (journal, store) = (rig.journal.synced_image(), rig.store.synced_image());
        let ghost: Solo = TestNode::ghost(&rig.boot, &rig.config, &journal, &store).unwrap();
        ghost.vouches(NodeId(2), message)
    };
    rig.write(1, "a");
    assert!(!vouches(&rig, &entry(1, "a")));
    rig.complete(Lane::Journal);
    assert!(vouches(&rig, &entry(1, "a")));
    assert!(!vouches(&rig, &entry(1, "b")));
    rig.complete_all();
    assert!(vouches(&rig, &entry(1, "a")), "the checkpoint vouches for what the log forgot");
    assert!(!vouches(&rig, &entry(2, "a")));
    let status = rig.node().status();
    assert_eq!(status.incarnation, Incarnation(1));
}

#[test]
fn a_fork_of_a_node_lives_its_own_life() {
    let mut rig = Rig::new(1, SoloConfig::default());
    rig.write(1, "common");
    let mut fork = rig.clone();
    rig.complete_all();
    fork.write(2, "only here");
    fork.complete_all();
    assert_eq!((rig.items().len(), fork.items().len()), (1, 2));
}

#[test]
fn what_a_broken_peer_sends_changes_nothing() {
    let mut rig = Rig::new(1, SoloConfig::default());
    let bytes = Bytes::from_static(&[7, 7, 7]);
    assert!(quorate_wire::decode_exact::<NodeMessage<Solo>>(bytes).is_err());
    let message = NodeMessage::Protocol(Entry { slot: Slot(9), commands: Bytes::new() });
    let encoded = quorate_wire::encode_to_bytes(&message);
    assert_eq!(quorate_wire::decode_exact::<NodeMessage<Solo>>(encoded).as_ref(), Ok(&message));
    rig.inputs([NodeInput::Message { from: NodeId(2), message }]);
    assert_eq!((rig.stopped.is_none(), rig.applied.len()), (true, 0));
    let _: &Node<Solo, _> = rig.node();
}

#[test]
fn what_was_applied_in_a_batch_is_not_dropped_before_the_driver_has_seen_it() {
    let mut rig = Rig::new(1, SoloConfig::default());
    rig.complete_all();
    // All in one journal write, and so decided in one batch.
    rig.inputs((1..=7).map(|tag| write(tag, if tag < 7 { "a" } else { "drop" })));
    while rig.node().state().kept().is_empty() {
        assert!(rig.complete(Lane::Journal));
    }
    assert_eq!(rig.node().state().undropped(), 4, "whoever watches reads them first");
    assert!(rig.expire(NodeTimer::Tidy), "it goes on by itself");
    assert_eq!(rig.node().state().undropped(), 1);
    assert!(rig.expire(NodeTimer::Tidy));
    assert_eq!(rig.node().state().undropped(), 0);
}
