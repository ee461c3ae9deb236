//! Runs that are right, and the same with one thing changed that must be found.

use super::*;
use crate::judge::judge_order;
use crate::record::Who;
use crate::request::{Step, Transact};

const SECOND: u64 = 1_000_000_000;

/// What happened, told step by step; a second passes with each.
#[derive(Default)]
struct Story {
    ledger: Ledger,
    calls: Vec<Call>,
    leases: Leases,
    now: u64,
}

fn pair(key: &str, value: &str, created: i64, modified: i64, version: i64) -> Pair {
    Pair { key: key.to_owned(), value: value.to_owned(), created, modified, version, lease: 0 }
}

fn put(key: &str, value: &str) -> Request {
    Request::Put { key: key.to_owned(), value: value.to_owned(), lease: 0 }
}

fn get(key: &str) -> Request {
    Request::Get { key: key.to_owned() }
}

fn unknown() -> Outcome {
    Outcome::Unknown("lost".to_owned())
}

impl Story {
    fn new() -> Story {
        Story { ledger: Ledger::new(1), ..Story::default() }
    }

    fn told(&mut self, events: Vec<Event>) -> &mut Story {
        self.now += SECOND;
        let revision = self.ledger.last() + 1;
        self.ledger.deliver(0, revision, Revision { events, first_seen_ns: self.now, before: BTreeMap::new() });
        self
    }

    fn asked(&mut self, request: Request, outcome: Outcome) -> &mut Story {
        self.now += SECOND;
        let called_ns = self.now;
        self.now += SECOND;
        let member = "node1".to_owned();
        self.calls.push(Call { who: Who::Client(1), member, called_ns, ended_ns: self.now, request, outcome });
        self
    }

    fn done(&mut self, request: Request, revision: i64, found: Vec<Option<Pair>>, deleted: i64) -> &mut Story {
        self.asked(request, Outcome::Done(Answer { revision, succeeded: true, found, deleted }))
    }

    fn replayed(&self) -> Replayed {
        replay(&self.ledger, &self.calls, &self.leases)
    }

    fn findings(&self) -> String {
        let replayed = self.replayed();
        let order = judge_order(&self.ledger, &self.calls, &replayed);
        replayed.findings.into_iter().chain(order).collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn a_run_in_which_everything_is_right_has_no_finding() {
    let mut story = Story::new();
    let delete = || Request::Delete { key: "k".to_owned() };
    let first = pair("k", "a", 2, 2, 1);
    story.done(get("k"), 1, vec![None], 0);
    story.done(put("k", "a"), 2, Vec::new(), 0).told(vec![Event::Put(first.clone())]);
    story.done(get("k"), 2, vec![Some(first)], 0);
    story.asked(put("k", "b"), unknown()).told(vec![Event::Put(pair("k", "b", 2, 3, 2))]);
    story.asked(put("k", "never"), unknown());
    story.asked(put("k", "refused"), Outcome::Failed("no".to_owned()));
    story.done(delete(), 4, Vec::new(), 1).told(vec![Event::Delete("k".to_owned())]);
    story.done(delete(), 4, Vec::new(), 0);
    assert_eq!(story.findings(), "");
    assert_eq!(story.replayed().took_effect.values().copied().collect::<Vec<_>>(), [3]);
}

#[test]
fn an_acknowledged_write_that_no_watcher_saw_is_lost() {
    let mut story = Story::new();
    story.done(put("k", "a"), 2, Vec::new(), 0);
    assert!(story.findings().contains("it is lost"));
    let mut story = Story::new();
    story.done(put("k", "a"), 2, Vec::new(), 0).told(vec![Event::Put(pair("k", "other", 2, 2, 1))]);
    assert!(story.findings().contains("was acknowledged at revision 2, which is"));
}

#[test]
fn what_nobody_asked_for_or_was_refused_or_done_twice_is_found() {
    let event = |value: &str, modified, version| vec![Event::Put(pair("k", value, 2, modified, version))];
    let mut story = Story::new();
    story.told(event("invented", 2, 1));
    assert!(story.findings().contains("nobody asked for"));
    let mut story = Story::new();
    story.asked(put("k", "a"), Outcome::Failed("no".to_owned())).told(event("a", 2, 1));
    assert!(story.findings().contains("refused for certain"));
    let mut story = Story::new();
    story.asked(put("k", "a"), unknown()).told(event("a", 2, 1)).told(event("a", 3, 2));
    assert!(story.findings().contains("done twice"));
    let mut story = Story::new();
    story.done(put("k", "a"), 2, Vec::new(), 0).told(event("a", 2, 1)).told(event("a", 3, 2));
    assert!(story.findings().contains("and is revision 3"));
}

#[test]
fn a_read_must_see_the_state_of_its_revision_and_the_newest_that_was_known() {
    let (first, second) = (pair("k", "a", 2, 2, 1), pair("k", "b", 2, 3, 2));
    let written = || {
        let mut story = Story::new();
        story.done(put("k", "a"), 2, Vec::new(), 0).told(vec![Event::Put(first.clone())]);
        story.done(put("k", "b"), 3, Vec::new(), 0).told(vec![Event::Put(second.clone())]);
        story
    };
    assert_eq!(written().done(get("k"), 3, vec![Some(second.clone())], 0).findings(), "");
    assert!(written().done(get("k"), 3, vec![Some(first.clone())], 0).findings().contains("and there was"));
    assert!(written().done(get("k"), 2, vec![Some(first.clone())], 0).findings().contains("known already"));
    let scan = |serializable| Request::Scan { prefix: "k".to_owned(), serializable };
    assert_eq!(written().done(scan(true), 2, vec![Some(first.clone())], 0).findings(), "", "old by its own word");
    assert!(written().done(scan(false), 2, vec![Some(first.clone())], 0).findings().contains("known already"));
    assert!(written().done(get("k"), 9, vec![Some(second)], 0).findings().contains("which there is not"));
}

#[test]
fn a_write_that_was_asked_after_a_watcher_saw_it_is_found() {
    let mut story = Story::new();
    story.told(vec![Event::Put(pair("k", "a", 2, 2, 1))]).asked(put("k", "a"), unknown());
    assert!(story.findings().contains("to a watcher"));
}

#[test]
fn compares_are_held_against_the_state() {
    let swap = |expected: Option<&str>, value: &str| Request::Swap {
        key: "k".to_owned(),
        expected: expected.map(str::to_owned),
        value: value.to_owned(),
    };
    let mut story = Story::new();
    story.done(swap(None, "a"), 2, Vec::new(), 0).told(vec![Event::Put(pair("k", "a", 2, 2, 1))]);
    assert_eq!(story.findings(), "");
    story.done(swap(Some("x"), "b"), 3, Vec::new(), 0).told(vec![Event::Put(pair("k", "b", 2, 3, 2))]);
    assert!(story.findings().contains("the state before says otherwise"));
    let failed = Answer { revision: 1, succeeded: false, ..Answer::default() };
    let mut story = Story::new();
    story.asked(swap(None, "a"), Outcome::Done(failed));
    assert!(story.findings().contains("compares held: false"));
}

#[test]
fn half_a_transfer_is_found_by_who_asked_for_it_and_by_the_sum() {
    let account = |number: u64, value: &str, revision| {
        Event::Put(pair(&format!("b/1/{number}"), value, 2, revision, revision - 1))
    };
    let transfer = Request::Transact(Transact {
        compares: Vec::new(),
        then: vec![Step::Put("b/1/0".to_owned(), "90 c".to_owned()), Step::Put("b/1/1".to_owned(), "110 d".to_owned())],
        otherwise: Vec::new(),
    });
    let found = Request::Transact(Transact {
        then: vec![
            Step::Put("b/1/0".to_owned(), "100 a".to_owned()),
            Step::Put("b/1/1".to_owned(), "100 b".to_owned()),
        ],
        ..Transact::default()
    });
    let founded = || {
        let mut story = Story::new();
        story.done(found.clone(), 2, Vec::new(), 0).told(vec![account(0, "100 a", 2), account(1, "100 b", 2)]);
        story
    };
    let mut whole = founded();
    whole.done(transfer.clone(), 3, Vec::new(), 0).told(vec![account(0, "90 c", 3), account(1, "110 d", 3)]);
    assert_eq!(whole.findings(), "");
    let mut half = founded();
    half.asked(transfer, unknown()).told(vec![account(0, "90 c", 3)]);
    let findings = half.findings();
    assert!(findings.contains("not what it asked for") && findings.contains("190 together"), "{findings}");
}

#[test]
fn a_lease_that_ends_before_its_time_is_found_and_one_that_was_revoked_is_not() {
    let leased = || Event::Put(Pair { lease: 7, ..pair("l/7", "v", 2, 2, 1) });
    let put = || Request::Put { key: "l/7".to_owned(), value: "v".to_owned(), lease: 7 };
    let granted = |ttl_s| {
        let mut story = Story::new();
        story.leases.granted(7, 0, ttl_s);
        story.done(put(), 2, Vec::new(), 0).told(vec![leased()]);
        story
    };
    let ended = || vec![Event::Delete("l/7".to_owned())];
    let mut early = granted(60);
    assert!(early.told(ended()).findings().contains("after it was renewed for 60 s"));
    let mut late = granted(2);
    assert_eq!(late.told(ended()).findings(), "");
    assert_eq!(late.replayed().expired, 1);
    let mut revoked = granted(60);
    let now = revoked.now;
    revoked.leases.revoking(7, now);
    assert_eq!(revoked.told(ended()).findings(), "");
    assert_eq!(revoked.replayed().revoked, 1);
}

#[test]
fn what_an_event_says_of_itself_is_held_against_what_was_there() {
    let mut story = Story::new();
    story.done(put("k", "a"), 2, Vec::new(), 0).told(vec![Event::Put(pair("k", "a", 2, 2, 5))]);
    assert!(story.findings().contains("should be version 1"));
    let mut story = Story::new();
    story.now += SECOND;
    let before = BTreeMap::from([("k".to_owned(), Some(pair("k", "ghost", 1, 1, 1)))]);
    let events = vec![Event::Put(pair("k", "a", 2, 2, 1))];
    story.asked(put("k", "a"), unknown());
    story.ledger.deliver(0, 2, Revision { events, first_seen_ns: story.now, before });
    assert!(story.findings().contains("a watcher was told that k was"));
}
