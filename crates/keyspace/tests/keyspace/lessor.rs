//! The leader's side of leases, on a clock that the test moves.

mod random;

use crate::client::copy;
use bytes::Bytes;
use quorate_keyspace::{
    Alarm, AlarmAction, AlarmKind, AlarmRequest, Keyspace, KeyspaceDuty, KeyspaceDutyConfig, LeaseAnswer, LeaseErrand,
    LogPlace, PutRequest, Reply, Request,
};
use quorate_machine::{Duty, DutyOutput, ErrandId, StateMachine};
use quorate_types::{Slot, Time};
use quorate_wire::{decode_exact, encode_to_bytes};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

const SECOND: u64 = 1_000;

/// A leader and the log it writes to. Proposals wait until the test commits or loses them.
struct Rig {
    keyspace: Keyspace,
    duty: KeyspaceDuty,
    now: Time,
    slot: u64,
    proposals: VecDeque<Request>,
    answers: BTreeMap<u64, LeaseAnswer>,
    errands: u64,
    wake: Option<Time>,
}

fn config() -> KeyspaceDutyConfig {
    KeyspaceDutyConfig { checkpoint_interval_ms: 4 * SECOND, quota_bytes: 0, ..KeyspaceDutyConfig::default() }
}

impl Rig {
    fn new(config: &KeyspaceDutyConfig) -> Rig {
        let mut rig = Rig {
            keyspace: Keyspace::empty(),
            duty: KeyspaceDuty::new(config),
            now: Time::ZERO + Duration::from_secs(1_000),
            slot: 0,
            proposals: VecDeque::new(),
            answers: BTreeMap::new(),
            errands: 0,
            wake: None,
        };
        rig.duty.begin(&rig.keyspace, rig.now, false);
        rig
    }

    fn apply(&mut self, request: &Request) -> Reply {
        self.slot += 1;
        let place = LogPlace { slot: Slot(self.slot), index: 0 };
        let reply = self.keyspace.apply_request(place, request);
        self.duty.applied(&self.keyspace, &reply, self.now);
        self.work();
        reply
    }

    fn grant(&mut self, id: i64, ttl_seconds: i64) {
        let reply = self.apply(&Request::LeaseGrant { id, ttl_seconds });
        assert!(matches!(reply, Reply::LeaseGranted { .. }), "{reply:?}");
    }

    fn work(&mut self) {
        let mut out = Vec::new();
        self.wake = self.duty.work(&self.keyspace, self.now, &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<DutyOutput>) {
        for output in out {
            match output {
                DutyOutput::Propose(payload) => self.proposals.push_back(decode_exact(payload).expect("a request")),
                DutyOutput::Answer { errand, answer } => {
                    let answer = decode_exact(answer).expect("an answer");
                    assert_eq!(self.answers.insert(errand.0, answer), None, "answered once");
                }
            }
        }
    }

    /// Moves the clock, waking the duty exactly when it asked to be.
    fn pass(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        let mut wakes = 0;
        while let Some(wake) = self.wake.filter(|wake| *wake <= end) {
            assert!(wake > self.now || wakes < 3, "woken again and again at {}", self.now);
            wakes = if wake > self.now { 0 } else { wakes + 1 };
            self.now = self.now.max(wake);
            self.work();
        }
        self.now = end;
        self.work();
    }

    fn arrive(&mut self, errand: LeaseErrand) -> u64 {
        self.errands += 1;
        self.duty.arrived(&self.keyspace, ErrandId(self.errands), &encode_to_bytes(&errand), self.now);
        self.work();
        self.errands
    }

    fn confirm(&mut self, errand: u64) -> Option<LeaseAnswer> {
        let mut out = Vec::new();
        self.duty.confirmed(&self.keyspace, ErrandId(errand), self.now, &mut out);
        self.take(out);
        self.work();
        self.answers.get(&errand).copied()
    }

    fn ask(&mut self, errand: LeaseErrand) -> Option<LeaseAnswer> {
        let errand = self.arrive(errand);
        self.confirm(errand)
    }

    fn renew(&mut self, id: i64) -> Option<LeaseAnswer> {
        self.ask(LeaseErrand::KeepAlive { id })
    }

    fn remaining(&mut self, id: i64) -> Option<i64> {
        match self.ask(LeaseErrand::TimeToLive { id }) {
            Some(LeaseAnswer::Remaining { remaining_seconds, .. }) => Some(remaining_seconds),
            Some(LeaseAnswer::Unknown) => None,
            other => panic!("{other:?}"),
        }
    }

    fn commit(&mut self) -> Vec<Request> {
        let proposals: Vec<Request> = self.proposals.drain(..).collect();
        for request in &proposals {
            self.apply(request);
        }
        proposals
    }

    fn change_leader(&mut self) {
        self.duty.end();
        self.proposals.clear();
        self.duty.begin(&self.keyspace, self.now, false);
        self.work();
    }

    fn expiries(&self) -> usize {
        self.proposals.iter().filter(|request| matches!(request, Request::LeaseExpire { .. })).count()
    }
}

const fn renewed(ttl_seconds: i64) -> Option<LeaseAnswer> {
    Some(LeaseAnswer::Renewed { ttl_seconds })
}

#[test]
fn a_lease_ends_when_its_time_is_over_and_not_before() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 3);
    let put = PutRequest { key: copy("k"), lease: 1, ..PutRequest::default() };
    rig.apply(&Request::Put(put));
    rig.pass(3 * SECOND - 1);
    assert_eq!(rig.expiries(), 0);
    rig.pass(1);
    assert_eq!(rig.expiries(), 1);
    assert!(rig.keyspace.lease(1).is_some(), "only the command ends it");
    rig.commit();
    assert!(rig.keyspace.lease(1).is_none());
    assert_eq!(rig.keyspace.live_keys(), 0);
    assert_eq!(rig.keyspace.revision(), 3);
}

#[test]
fn a_renewal_moves_the_deadline_from_when_it_arrived_and_is_answered_when_confirmed() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 3);
    rig.pass(2 * SECOND);
    let errand = rig.arrive(LeaseErrand::KeepAlive { id: 1 });
    assert_eq!(rig.answers.get(&errand), None, "nobody knows yet whether this node still led");
    rig.pass(SECOND);
    assert_eq!(rig.confirm(errand), renewed(3));
    assert!(rig.proposals.is_empty(), "it is not logged");
    rig.pass(2 * SECOND - 1);
    assert_eq!(rig.expiries(), 0);
    rig.pass(1);
    assert_eq!(rig.expiries(), 1);
}

#[test]
fn renewals_of_unknown_leases_and_after_a_proposed_end_are_refused_for_good() {
    let mut rig = Rig::new(&config());
    assert_eq!(rig.renew(9), Some(LeaseAnswer::Unknown));
    rig.grant(1, 2);
    rig.pass(2 * SECOND);
    assert_eq!(rig.expiries(), 1);
    rig.proposals.clear();
    assert_eq!(rig.renew(1), Some(LeaseAnswer::Unknown), "the proposal is lost, its word stands");
    assert_eq!(rig.remaining(1), None);
    rig.pass(config().retry_after_ms);
    assert_eq!(rig.expiries(), 1, "the same leader says it again");
    rig.commit();
    assert!(rig.keyspace.lease(1).is_none());
}

/// A follower may apply a grant, and answer it, before the leader does: the leader commits on the others' word and applies only
/// what is durable on its own disk.
#[test]
fn a_renewal_that_overtakes_its_grant_at_the_leader_is_granted_once_that_is_applied() {
    let mut rig = Rig::new(&config());
    let early = rig.arrive(LeaseErrand::KeepAlive { id: 1 });
    rig.grant(1, 5);
    assert_eq!(rig.confirm(early), renewed(5));
    let never_granted = rig.arrive(LeaseErrand::KeepAlive { id: 2 });
    assert_eq!(rig.confirm(never_granted), Some(LeaseAnswer::Unknown));
}

#[test]
fn whoever_was_told_that_a_lease_is_over_was_told_the_truth() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 2);
    // Time passes without work: a leader that was held up.
    rig.now = rig.now + Duration::from_secs(2);
    let early = rig.errands + 1;
    rig.duty.arrived(&rig.keyspace, ErrandId(early), &encode_to_bytes(&LeaseErrand::KeepAlive { id: 1 }), rig.now);
    rig.errands = early;
    assert_eq!(rig.confirm(early), renewed(2), "a renewal that waited while the leader was held up is in time");
    rig.now = rig.now + Duration::from_secs(2);
    rig.errands += 1;
    let asked = ErrandId(rig.errands);
    rig.duty.arrived(&rig.keyspace, asked, &encode_to_bytes(&LeaseErrand::TimeToLive { id: 1 }), rig.now);
    let mut out = Vec::new();
    rig.duty.confirmed(&rig.keyspace, asked, rig.now, &mut out);
    rig.take(out);
    assert_eq!(rig.answers[&asked.0], LeaseAnswer::Unknown);
    let late = rig.errands + 1;
    rig.duty.arrived(&rig.keyspace, ErrandId(late), &encode_to_bytes(&LeaseErrand::KeepAlive { id: 1 }), rig.now);
    rig.errands = late;
    assert_eq!(rig.confirm(late), Some(LeaseAnswer::Unknown));
}

#[test]
fn time_to_live_tells_full_seconds() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 10);
    let answer = rig.ask(LeaseErrand::TimeToLive { id: 1 });
    assert_eq!(answer, Some(LeaseAnswer::Remaining { remaining_seconds: 10, granted_seconds: 10 }));
    rig.pass(1);
    assert_eq!(rig.remaining(1), Some(9));
    assert_eq!(rig.remaining(2), None);
}

#[test]
fn bytes_that_are_no_errand_are_answered() {
    let mut rig = Rig::new(&config());
    rig.duty.arrived(&rig.keyspace, ErrandId(1), &Bytes::from_static(&[9, 9]), rig.now);
    assert_eq!(rig.confirm(1), Some(LeaseAnswer::Malformed));
}

#[test]
fn a_new_leader_starts_leases_at_their_checkpoint_else_in_full() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 10);
    rig.grant(2, 10);
    rig.pass(2 * SECOND);
    assert_eq!(rig.renew(2), renewed(10));
    rig.pass(SECOND);
    let proposed = rig.commit();
    let [Request::LeaseCheckpoint(checkpoints)] = &proposed[..] else { panic!("{proposed:?}") };
    assert_eq!(checkpoints.len(), 1, "the renewed one has time");
    assert_eq!((checkpoints[0].id, checkpoints[0].remaining_ms), (1, Some(7 * SECOND)));
    rig.pass(500);
    rig.change_leader();
    assert_eq!(rig.remaining(1), Some(7), "half a second longer than it had");
    assert_eq!(rig.remaining(2), Some(10), "in full");
    rig.pass(7 * SECOND - 1);
    assert_eq!(rig.expiries(), 0);
    rig.pass(1);
    assert_eq!(rig.expiries(), 1);
}

/// Multi-Paxos, seed 37938: the end had been accepted by its proposer alone, which led again behind the one that answered the renewal.
#[test]
fn an_end_that_comes_late_does_not_undo_a_renewal_that_a_later_leader_answered() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 3);
    rig.grant(2, 3);
    rig.pass(3 * SECOND);
    let late: Vec<Request> = rig.proposals.drain(..).collect();
    assert_eq!(late.len(), 2);
    rig.duty.end();
    rig.duty.begin(&rig.keyspace, rig.now, true);
    let errand = rig.arrive(LeaseErrand::KeepAlive { id: 1 });
    assert_eq!(rig.confirm(errand), None, "what was proposed for it must be void first");
    assert!(matches!(&rig.commit()[..], [Request::LeaseCheckpoint(_)]));
    assert_eq!(rig.answers.get(&errand).copied(), renewed(3));
    assert_eq!(rig.renew(1), renewed(3), "once is enough");
    assert!(rig.commit().is_empty());
    for end in late {
        rig.apply(&end);
    }
    assert!(rig.keyspace.lease(1).is_some());
    assert!(rig.keyspace.lease(2).is_none(), "nobody was told that it lives on");
    rig.grant(3, 3);
    assert_eq!(rig.renew(3), renewed(3), "there was nobody before who could have ended it");
    rig.pass(3 * SECOND);
    rig.commit();
    assert!(rig.keyspace.lease(1).is_none());
}

#[test]
fn leaders_that_change_again_and_again_do_not_keep_a_lease_alive() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 20);
    let began = rig.now;
    for _ in 0..30 {
        rig.pass(4 * SECOND);
        rig.commit();
        if rig.keyspace.lease(1).is_none() {
            break;
        }
        rig.change_leader();
    }
    assert!(rig.keyspace.lease(1).is_none());
    let lasted = rig.now.since(began);
    assert!(lasted >= Duration::from_secs(20) && lasted < Duration::from_secs(32), "{lasted:?}");
}

#[test]
fn a_renewal_behind_a_proposed_checkpoint_waits_until_it_is_cleared() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 10);
    rig.pass(8 * SECOND);
    // "2 s left" is proposed and has not applied.
    assert!(!rig.proposals.is_empty());
    let renewals = [rig.arrive(LeaseErrand::KeepAlive { id: 1 }), rig.arrive(LeaseErrand::KeepAlive { id: 1 })];
    for errand in renewals {
        assert_eq!(rig.confirm(errand), None);
    }
    let clears = rig.proposals.iter().filter(
        |request| matches!(request, Request::LeaseCheckpoint(checkpoints) if checkpoints[0].remaining_ms.is_none()),
    );
    assert_eq!(clears.count(), 1, "both wait for the same entry");
    rig.commit();
    for errand in renewals {
        assert_eq!(rig.answers[&errand], LeaseAnswer::Renewed { ttl_seconds: 10 });
    }
    rig.change_leader();
    assert_eq!(rig.remaining(1), Some(10), "what was promised outlives the leader");
}

#[test]
fn a_checkpoint_that_arrives_behind_a_renewal_in_the_log_does_nothing() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 10);
    rig.pass(8 * SECOND);
    let late: Vec<Request> = rig.proposals.drain(..).collect();
    rig.commit();
    let errand = rig.arrive(LeaseErrand::KeepAlive { id: 1 });
    rig.commit();
    assert_eq!(rig.confirm(errand), renewed(10));
    late.iter().for_each(|request| drop(rig.apply(request)));
    rig.change_leader();
    assert_eq!(rig.remaining(1), Some(10));
}

#[test]
fn no_end_is_proposed_while_a_renewal_is_being_committed_and_a_lost_one_is_tried_again() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 10);
    rig.pass(3 * SECOND);
    rig.commit();
    let errand = rig.arrive(LeaseErrand::KeepAlive { id: 1 });
    assert_eq!(rig.confirm(errand), None);
    rig.proposals.clear();
    rig.pass(60 * SECOND);
    assert_eq!(rig.expiries(), 0);
    assert!(!rig.proposals.is_empty(), "tried again");
    rig.commit();
    assert_eq!(rig.answers[&errand], LeaseAnswer::Renewed { ttl_seconds: 10 });
    rig.pass(5 * SECOND);
    assert!(rig.expiries() > 0, "its time is over long since");
}

#[test]
fn a_renewal_that_waits_learns_that_its_lease_was_revoked() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 10);
    rig.pass(3 * SECOND);
    rig.commit();
    let errands = [rig.arrive(LeaseErrand::KeepAlive { id: 1 }), rig.arrive(LeaseErrand::KeepAlive { id: 1 })];
    assert_eq!(rig.confirm(errands[0]), None);
    rig.apply(&Request::LeaseRevoke { id: 1 });
    rig.grant(1, 10);
    assert_eq!(rig.answers[&errands[0]], LeaseAnswer::Unknown);
    assert_eq!(rig.confirm(errands[1]), Some(LeaseAnswer::Unknown), "the new lease of this id is another one");
    rig.commit();
    assert_eq!(rig.remaining(1), Some(10));
}

#[test]
fn nothing_is_kept_for_an_errand_that_was_given_up_but_what_it_renewed_stays_renewed() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 10);
    rig.pass(3 * SECOND);
    rig.commit();
    // A renewal that was confirmed and waits for its entry, one that was not, two of nothing, one of bytes that are none.
    let waits = rig.arrive(LeaseErrand::KeepAlive { id: 1 });
    assert_eq!(rig.confirm(waits), None);
    let others = [
        rig.arrive(LeaseErrand::KeepAlive { id: 1 }),
        rig.arrive(LeaseErrand::KeepAlive { id: 2 }),
        rig.arrive(LeaseErrand::TimeToLive { id: 1 }),
    ];
    rig.errands += 1;
    let malformed = rig.errands;
    rig.duty.arrived(&rig.keyspace, ErrandId(malformed), &Bytes::from_static(b"?"), rig.now);
    assert!(rig.duty.errands_held() >= 5);
    for errand in others.into_iter().chain([waits, malformed]) {
        rig.duty.given_up(ErrandId(errand));
    }
    assert_eq!(rig.duty.errands_held(), 0);
    rig.commit();
    assert!(rig.answers.is_empty(), "nobody waits: {:?}", rig.answers);
    assert_eq!(rig.remaining(1), Some(10), "what arrived was in force from then on");
}

#[test]
fn an_old_end_does_not_touch_a_new_lease_of_the_same_id() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 2);
    rig.pass(2 * SECOND);
    let end: Vec<Request> = rig.proposals.drain(..).collect();
    rig.apply(&Request::LeaseRevoke { id: 1 });
    rig.grant(1, 2);
    for request in &end {
        assert!(matches!(rig.apply(request), Reply::LeaseExpired { expired: false, .. }));
    }
    assert!(rig.keyspace.lease(1).is_some());
    assert_eq!(rig.remaining(1), Some(2));
}

#[test]
fn many_leases_end_at_a_thousand_a_second() {
    let mut rig = Rig::new(&config());
    for id in 1..=3_000 {
        rig.grant(id, 2);
    }
    rig.pass(2 * SECOND);
    assert!(rig.expiries() <= 100, "{}", rig.expiries());
    rig.pass(SECOND);
    let ended = rig.expiries();
    assert!((990..=1_110).contains(&ended), "{ended}");
    rig.pass(2 * SECOND);
    assert!(rig.expiries() >= 2_990, "{}", rig.expiries());
}

#[test]
fn a_node_that_does_not_lead_does_nothing() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 2);
    rig.duty.end();
    rig.pass(60 * SECOND);
    assert!(rig.proposals.is_empty());
    assert_eq!(rig.wake, None);
}

#[test]
fn a_corrupt_store_ends_no_lease_until_it_is_repaired() {
    let mut rig = Rig::new(&config());
    rig.grant(1, 2);
    let alarm = Alarm { kind: AlarmKind::Corrupt, member: 1 };
    rig.apply(&Request::Alarm(AlarmRequest { action: AlarmAction::Activate, alarm }));
    rig.pass(5 * SECOND);
    assert_eq!(rig.expiries(), 0);
    rig.apply(&Request::Alarm(AlarmRequest { action: AlarmAction::Deactivate, alarm }));
    assert_eq!(rig.expiries(), 1);
}

#[test]
fn the_quota_raises_its_alarm_once() {
    let mut rig = Rig::new(&KeyspaceDutyConfig { quota_bytes: 5_000, member: 7, ..config() });
    let put = Request::Put(PutRequest { key: copy("k"), value: copy([0; 1_000]), ..PutRequest::default() });
    (0..4).for_each(|_| drop(rig.apply(&put)));
    assert!(rig.proposals.is_empty());
    (0..3).for_each(|_| drop(rig.apply(&put)));
    assert_eq!(rig.proposals.len(), 1);
    rig.proposals.clear();
    rig.pass(10 * SECOND);
    assert!(!rig.proposals.is_empty(), "it was lost, and is proposed again");
    rig.commit();
    rig.pass(10 * SECOND);
    assert!(rig.proposals.is_empty());
    let alarm = Alarm { kind: AlarmKind::NoSpace, member: 7 };
    assert_eq!(rig.keyspace.alarms().collect::<Vec<_>>(), [alarm]);
    assert!(matches!(rig.apply(&put), Reply::Error(_)));
    let revision = rig.keyspace.revision();
    rig.apply(&Request::Compact { revision });
    while rig.keyspace.tidy() {}
    rig.apply(&Request::Alarm(AlarmRequest { action: AlarmAction::Deactivate, alarm }));
    assert!(matches!(rig.apply(&put), Reply::Put { .. }));
    assert!(rig.proposals.is_empty(), "there is space again");
}

#[test]
fn a_hundred_thousand_leases_cost_no_scan() {
    let mut rig = Rig::new(&KeyspaceDutyConfig { checkpoint_interval_ms: 60 * SECOND, ..config() });
    for id in 1..=100_000 {
        rig.grant(id, 600);
    }
    // A scan of all leases for each of these would take minutes.
    for id in 1..=100_000 {
        assert_eq!(rig.renew(id), renewed(600));
    }
    rig.pass(50 * SECOND);
    let proposed: usize = rig
        .proposals
        .iter()
        .map(|request| match request {
            Request::LeaseCheckpoint(checkpoints) => checkpoints.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(proposed, 100_000, "each has its checkpoint within the interval");
    rig.change_leader();
    assert_eq!(rig.remaining(100_000), Some(600));
}
