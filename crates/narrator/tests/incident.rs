//! An incident made by hand: what is asked of it, and what the page says.

use quorate_narrator::incident::{Incident, LifeSpan, LoggedEntry, Question, StallKind, Word};
use quorate_narrator::{Happening, What};
use quorate_protocol::{Event, PeerStatus, Role, Rule, Status};
use quorate_types::{Membership, NodeId, Slot, Time};

/// 2026-11-21 18:02:20.000 UTC.
const BEGIN_MS: u64 = 1_795_284_140_000;

static CAMPAIGN: Rule = Rule {
    id: "test.campaign",
    source: "Paper §1",
    allowed: "{me} wins with {votes}",
    refused: "{me} cannot win: {why}",
    waiting: "",
};

fn at(ms: u64) -> Time {
    Time((BEGIN_MS + ms) * 1_000_000)
}

fn status(role: Role, last: u64, durable: u64, committed: u64, matched: &[(u64, u64)]) -> Status {
    let peer = |(id, matched): &(u64, u64)| PeerStatus {
        id: NodeId(*id),
        state: "replicate",
        matched: Slot(*matched),
        active: true,
    };
    Status {
        role,
        era: 4,
        leader: None,
        first: Slot(1),
        last: Slot(last),
        durable: Slot(durable),
        committed: Slot(committed),
        applied: Slot(committed),
        membership: Membership::of_voters(3),
        peers: matched.iter().map(peer).collect(),
    }
}

fn life(node: u64, to_ms: u64) -> LifeSpan {
    LifeSpan {
        node: NodeId(node),
        incarnation: 1,
        from: at(0),
        to: at(to_ms),
        end: "it was stopped".to_owned(),
        is_whole: true,
        calls: 10,
        outputs: 5,
        program: "a test".to_owned(),
    }
}

fn lead(node: u64, ms: u64, who: Option<u64>) -> Happening {
    let what = What::Lead { era: 4, who: who.map(NodeId), ready: who == Some(node) };
    Happening { at: at(ms), node: Some(NodeId(node)), what }
}

/// Node 1 leads and gets slot 8 at 100 ms. Its disk is slow, node 2 is, and node 3 is not recorded and silent. At 900 ms all is well.
fn slow_disks(asked_ms: Option<u64>) -> Incident {
    let question = Question { slot: Slot(8), at: asked_ms.map(at) };
    let mut incident = Incident::new((at(0), at(5000)), Some(question));
    let (one, two) = (NodeId(1), NodeId(2));
    incident.begins(one, at(0));
    incident.happened(&lead(1, 10, Some(1)), false);
    incident.marks(one, at(50), status(Role::Leader, 7, 7, 7, &[(2, 7), (3, 7)]));
    incident.heard(one, NodeId(2), at(90));
    incident.heard(one, NodeId(3), at(20));
    incident.write_begun(one, "journal", 5, 4096, at(100));
    incident.marks(one, at(100), status(Role::Leader, 8, 7, 7, &[(2, 7), (3, 7)]));
    incident.write_done(one, "journal", 5, at(890));
    incident.marks(one, at(900), status(Role::Leader, 8, 8, 8, &[(2, 8), (3, 7)]));
    incident.ends(life(1, 1000));
    incident.begins(two, at(0));
    incident.marks(two, at(50), status(Role::Follower, 7, 7, 7, &[]));
    incident.write_begun(two, "journal", 9, 512, at(101));
    incident.marks(two, at(101), status(Role::Follower, 8, 7, 7, &[]));
    incident.write_done(two, "journal", 9, at(880));
    incident.marks(two, at(881), status(Role::Follower, 8, 8, 8, &[]));
    incident.ends(life(2, 1000));
    incident
}

#[test]
fn a_slot_that_waits_for_disks_is_explained_by_the_writes_under_way() {
    let answer = slow_disks(Some(700)).answer().expect("a question was asked");
    assert_eq!(
        answer.short,
        "n1 led era 4, had it in its log for 600 ms, and knew slot 8 durable at nobody: at 0 of 3 voters."
    );
    let because = answer.because.join("\n");
    assert!(
        because.contains("n1's own disk had it only up to slot 7: a write of 4096 bytes was under way for 600 ms"),
        "{because}"
    );
    assert!(
        because.contains("it had received slot 8 and its disk had not: a write of 512 bytes was under way for 599 ms"),
        "{because}"
    );
    assert!(
        because.contains("n3 was known to hold slot 7 (replicate); nothing was heard of it for 680 ms"),
        "{because}"
    );
    assert!(because.contains("nothing at all happened in it for 599 ms"), "{because}");
    assert!(because.contains("there is no recording of it"), "{because}");
    assert!(answer.then.iter().any(|line| line.contains("n1: received at 18:02:20.100")), "{:?}", answer.then);
}

#[test]
fn a_slot_that_was_committed_by_then_needs_no_reason() {
    let answer = slow_disks(Some(950)).answer().expect("a question was asked");
    assert_eq!(answer.short, "It was committed by then: n2 knew it at 18:02:20.881.");
    assert!(answer.because.is_empty());
    let answer = slow_disks(None).answer().expect("a question was asked");
    assert_eq!(answer.short, "Slot 8 is committed: n2 was the first to know it, at 18:02:20.881.");
}

#[test]
fn a_slot_that_nobody_proposed_is_told_from_one_that_waits() {
    let answer = slow_disks(Some(60)).answer().expect("a question was asked");
    assert_eq!(answer.short, "Nobody had proposed it: n1 led era 4, and its log ended at slot 7.");
}

#[test]
fn waits_are_found_by_their_times() {
    let incident = slow_disks(None);
    let kinds: Vec<_> = incident.stalls(10).into_iter().map(|stall| (stall.kind.clone(), stall.duration())).collect();
    let ms = std::time::Duration::from_millis;
    assert!(
        kinds.contains(&(StallKind::Commit { first: Slot(8), last: Slot(8), committed: true }, ms(800))),
        "{kinds:?}"
    );
    assert!(
        kinds.contains(&(StallKind::Write { lane: "journal", bytes: 4096, completed: true }, ms(790))),
        "{kinds:?}"
    );
    let page = incident.page();
    assert!(page.contains("n1's journal: a write of 4096 bytes, for 790 ms"), "{page}");
}

#[test]
fn without_a_leader_the_guards_say_why_there_is_none() {
    let question = Question { slot: Slot(8), at: Some(at(400)) };
    let mut incident = Incident::new((at(0), at(5000)), Some(question));
    incident.begins(NodeId(1), at(0));
    incident.happened(&lead(1, 10, Some(1)), false);
    incident.marks(NodeId(1), at(20), status(Role::Leader, 7, 7, 7, &[(2, 7)]));
    incident.ends(life(1, 100));
    incident.begins(NodeId(2), at(0));
    incident.marks(NodeId(2), at(20), status(Role::Follower, 7, 7, 7, &[]));
    let refused = Event::refused(&CAMPAIGN).with("why", "n3 votes for nobody");
    incident.happened(&Happening { at: at(300), node: Some(NodeId(2)), what: What::Guard(refused) }, false);
    incident.marks(NodeId(2), at(300), status(Role::Candidate, 7, 7, 7, &[]));
    let won = Event::allowed(&CAMPAIGN).votes([NodeId(2), NodeId(3)]);
    incident.happened(&Happening { at: at(600), node: Some(NodeId(2)), what: What::Guard(won) }, false);
    incident.happened(&lead(2, 600, Some(2)), false);
    incident.ends(life(2, 900));
    let answer = incident.answer().expect("a question was asked");
    let among = "of those recorded here (n3 may have: no recording is here)";
    assert_eq!(answer.short, format!("Nobody led {among}: n1 had led era 4 until 18:02:20.100, 300 ms before."));
    let because = answer.because.join("\n");
    assert!(because.contains("n1 did not run"), "{because}");
    assert!(because.contains("n2 was candidate of era 4, its log ended at slot 7"), "{because}");
    assert!(because.contains("100 ms before: n2 cannot win: n3 votes for nobody"), "{because}");
    let page = incident.page();
    assert!(page.contains(&format!("nobody {among} for 500 ms")), "{page}");
    assert!(page.contains("until its recording ends") && page.contains("n2 wins with n2 and n3"), "{page}");
}

#[test]
fn different_states_behind_one_slot_are_an_alarm() {
    let mut incident = Incident::new((at(0), at(5000)), None);
    for (node, digest) in [(1, 7), (2, 7), (3, 8)] {
        incident.begins(NodeId(node), at(0));
        let what = What::Applied { slot: Slot(5), digest, first: false };
        incident.happened(&Happening { at: at(10), node: Some(NodeId(node)), what }, true);
        incident.ends(life(node, 100));
    }
    assert_eq!(incident.disagreements().iter().collect::<Vec<_>>(), [&Slot(5)]);
    assert!(incident.page().contains("DIFFERENT STATES behind slot 5"));
}

#[test]
fn what_is_said_again_at_once_is_told_once_and_the_window_cuts() {
    let mut incident = Incident::new((at(100), at(500)), None);
    incident.begins(NodeId(1), at(0));
    for ms in [50, 150, 160, 170, 600] {
        let refused = Event::refused(&CAMPAIGN).with("why", "nobody answers");
        incident.happened(&Happening { at: at(ms), node: Some(NodeId(1)), what: What::Guard(refused) }, false);
    }
    incident.ends(life(1, 700));
    let told = incident.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].times, told[0].until, told[0].mark), (3, at(170), '-'));
}

#[test]
fn an_entry_that_was_overwritten_within_one_batch_is_not_taken_for_the_one_that_was_committed() {
    let mut incident = Incident::new((Time::ZERO, Time(u64::MAX)), Some(Question { slot: Slot(7), at: None }));
    incident.begins(NodeId(1), at(0));
    let of_era = |era| LoggedEntry { era: Some(era), fingerprint: era };
    incident.appended(NodeId(1), at(10), Slot(6), [of_era(3), of_era(3)].into_iter(), Word { by: None, era: 3 });
    incident.marks(NodeId(1), at(10), status(Role::Leader, 7, 7, 5, &[]));
    let word = Word { by: Some(NodeId(2)), era: 4 };
    incident.cut_back(NodeId(1), at(50), Slot(7), word);
    incident.appended(NodeId(1), at(50), Slot(7), [of_era(4), of_era(4)].into_iter(), word);
    incident.marks(NodeId(1), at(50), status(Role::Follower, 8, 8, 8, &[]));
    incident.ends(life(1, 60));
    let answer = incident.answer().expect("a question was asked");
    assert!(answer.short.starts_with("Slot 7 is committed with an entry of era 4"), "{}", answer.short);
    let [lost] = &answer.because[..] else { panic!("{:?}", answer.because) };
    assert!(lost.starts_with("An entry of era 3 that n1 had at slot 7 was overwritten at 18:02:20.050"), "{lost}");
    assert!(lost.contains("by n2 of era 4: that write was not committed"), "{lost}");
    assert!(answer.then.iter().any(|line| line.contains("received at 18:02:20.050")), "{:?}", answer.then);
}

/// As in Multi-Paxos, where nothing is cut and entries do not keep an era: with the same again, by a later leader, nothing is lost.
#[test]
fn a_slot_that_is_filled_anew_lost_its_entry_only_if_another_one_came() {
    let became = |again: u64| {
        let mut incident = Incident::new((Time::ZERO, Time(u64::MAX)), Some(Question { slot: Slot(7), at: None }));
        incident.begins(NodeId(1), at(0));
        let entry = |fingerprint| [LoggedEntry { era: None, fingerprint }].into_iter();
        incident.appended(NodeId(1), at(10), Slot(7), entry(1), Word { by: None, era: 2 << 32 | 3 });
        incident.marks(NodeId(1), at(10), status(Role::Follower, 7, 7, 6, &[]));
        incident.appended(NodeId(1), at(50), Slot(7), entry(again), Word { by: Some(NodeId(2)), era: 2 << 32 | 7 });
        incident.marks(NodeId(1), at(50), status(Role::Follower, 7, 7, 7, &[]));
        incident.ends(life(1, 60));
        incident.answer().expect("a question was asked")
    };
    let same = became(1);
    assert!(
        same.because.is_empty() && same.then.iter().any(|line| line.contains("received before 18:02:20.010")),
        "{same:?}"
    );
    let [lost] = &became(2).because[..] else { panic!("one entry was lost") };
    assert!(lost.starts_with("An earlier entry that n1 had at slot 7 was overwritten"), "{lost}");
    assert!(lost.contains("by n2 of era 2.7: that write was not committed"), "{lost}");
}

#[test]
fn who_is_not_recorded_may_have_led_while_nobody_that_is_did() {
    let alone = |others: &[u64]| {
        let mut incident = Incident::new((Time::ZERO, Time(u64::MAX)), None);
        for node in [1].iter().chain(others) {
            incident.begins(NodeId(*node), at(0));
            incident.marks(NodeId(*node), at(10), status(Role::Follower, 7, 7, 7, &[]));
            incident.ends(life(*node, 9_000));
        }
        incident.page()
    };
    let one = alone(&[]);
    assert!(one.contains("nobody of those recorded here (n2, n3 may have: no recording is here) for 9"), "{one}");
    assert!(one.contains("nobody led of those recorded here"), "{one}");
    let all = alone(&[2, 3]);
    assert!(all.contains("nobody for 9") && !all.contains("recorded here"), "{all}");
}
