//! The lessor: deadlines of leases on the leader's clock.
//!
//! 1. A renewal moves the deadline when it arrives and is not logged. It is answered once the driver has confirmed that
//!    this node still led after it arrived.
//! 2. A lease that was not renewed for most of a checkpoint interval gets its remaining time logged, again and again.
//! 3. Once such a checkpoint is proposed, a renewal first commits another one that clears it; it is answered behind that,
//!    and renewals that arrive meanwhile wait for the same one. Otherwise the checkpoint could apply behind the renewal's
//!    answer, and the next leader would end the lease too early.
//! 4. When the deadline has passed, an end is proposed. It is final: renewals are refused from then on, even if the
//!    proposal is lost. It is not proposed while a renewal is being committed. Only when it applies, the lease is gone.
//! 5. Whoever was told that a lease is over was told for good: from then on renewals are refused too.
//! 6. A new leader begins each lease with its logged remaining time, else in full.
//! 7. Where what a former leader proposed may still be decided, the first renewal of each lease that was there before is logged as well, and
//!    answered behind that. Ends and checkpoints name the last logged renewal, so those of before do nothing any more. Otherwise the former
//!    leader's end of a lease could come behind a renewal that its successor has answered.
//!
//! A proposal may be lost without the leadership being lost; then it is made again after a while, in the same era. All of
//! them name the grant they mean, so a second copy does nothing.

use crate::duty::KeyspaceDutyConfig;
use crate::keyspace::Keyspace;
use crate::lease_request::{LeaseAnswer, LeaseCheckpoint, LeaseErrand, LogPlace};
use crate::lease_table::Lease;
use crate::reply::Reply;
use crate::request::Request;
use quorate_machine::{DutyOutput, ErrandId};
use quorate_types::Time;
use quorate_wire::encode_to_bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Leases named in one proposed checkpoint.
const CHECKPOINTS_PER_COMMAND: usize = 512;
/// How soon work that was cut short to stay bounded goes on.
const PACE: Duration = Duration::from_millis(10);
/// Ends that were not proposed for want of work are made up for at most this long.
const BURST: Duration = Duration::from_millis(100);

/// What the leader knows of one lease.
#[derive(Clone, Debug)]
struct Tracked {
    incarnation: LogPlace,
    ttl_seconds: i64,
    deadline: Time,
    /// Its end was proposed or told to someone.
    is_over: bool,
    /// A checkpoint that clears was proposed or is about to be, and has not applied.
    is_renewing: bool,
    /// Renewals that wait for it.
    waiting: BTreeSet<ErrandId>,
    /// A checkpoint of remaining time that was proposed and may still apply.
    checkpoint: Option<LeaseCheckpoint>,
    /// What a former leader proposed for it may still apply.
    is_old: bool,
    checkpoint_due: Time,
    /// Where it stands in [`Lessor::deadlines`]: its deadline, or an earlier one that it has outlived since.
    queued_deadline: Time,
    /// Where it stands in [`Lessor::checkpoints`], likewise.
    queued_checkpoint: Option<Time>,
}

#[derive(Clone, Copy, Debug)]
enum Errand {
    Refused(LeaseAnswer),
    TimeToLive {
        id: i64,
    },
    /// A renewal of a lease that is not known here, or not any more. Its grant may have been answered elsewhere and wait to be
    /// applied here: that is told when the errand is confirmed, for then everything decided before it arrived is applied.
    RenewalOfUnknown {
        id: i64,
    },
    Renewal {
        id: i64,
        incarnation: LogPlace,
        is_confirmed: bool,
        is_committed: bool,
    },
}

/// All deadlines. Nothing here looks at every lease, but for its beginning.
#[derive(Clone, Debug)]
pub(crate) struct Lessor {
    /// Most of the checkpoint interval; nothing if there are no checkpoints.
    checkpoint_after: Option<Duration>,
    retry_after: Duration,
    /// What one end costs of the time that passes.
    expiry_cost: Duration,
    /// Time not yet spent on ends.
    expiry_credit: Duration,
    credited_through: Time,
    leases: BTreeMap<i64, Tracked>,
    deadlines: BTreeSet<(Time, i64)>,
    checkpoints: BTreeSet<(Time, i64)>,
    /// Renewals to be proposed, and to be proposed again if nothing is heard of them.
    renewals: BTreeSet<(Time, i64)>,
    errands: BTreeMap<ErrandId, Errand>,
    /// Answers that became possible while a command was applied.
    answers: Vec<(ErrandId, LeaseAnswer)>,
}

impl Lessor {
    pub(crate) fn new(config: &KeyspaceDutyConfig, state: &Keyspace, now: Time, late_proposals: bool) -> Lessor {
        let interval = Duration::from_millis(config.checkpoint_interval_ms);
        let mut lessor = Lessor {
            checkpoint_after: if interval.is_zero() { None } else { Some(interval * 3 / 4) },
            retry_after: Duration::from_millis(config.retry_after_ms.max(1)),
            expiry_cost: Duration::from_secs(1) / config.expiries_per_second.max(1),
            expiry_credit: BURST,
            credited_through: now,
            leases: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            checkpoints: BTreeSet::new(),
            renewals: BTreeSet::new(),
            errands: BTreeMap::new(),
            answers: Vec::new(),
        };
        for (id, lease) in state.leases() {
            lessor.track(id, lease, now, late_proposals);
        }
        lessor
    }

    fn track(&mut self, id: i64, lease: &Lease, now: Time, is_old: bool) {
        self.forget(id);
        let deadline = now + lease.remaining_ms.map_or(full(lease.ttl_seconds), Duration::from_millis);
        // A lease that is over before it would get a checkpoint needs none.
        let checkpoint_after = self.checkpoint_after.filter(|after| *after < full(lease.ttl_seconds));
        let checkpoint_due = checkpoint_after.map(|after| now + after);
        let tracked = Tracked {
            incarnation: lease.incarnation,
            ttl_seconds: lease.ttl_seconds,
            deadline,
            is_over: false,
            is_renewing: false,
            waiting: BTreeSet::new(),
            checkpoint: None,
            is_old,
            checkpoint_due: checkpoint_due.unwrap_or(deadline),
            queued_deadline: deadline,
            queued_checkpoint: checkpoint_due,
        };
        self.leases.insert(id, tracked);
        self.deadlines.insert((deadline, id));
        self.checkpoints.extend(checkpoint_due.map(|due| (due, id)));
    }

    /// The lease is gone. Who waits for its renewal learns it.
    fn forget(&mut self, id: i64) {
        let Some(tracked) = self.leases.remove(&id) else { return };
        self.deadlines.remove(&(tracked.queued_deadline, id));
        if let Some(due) = tracked.queued_checkpoint {
            self.checkpoints.remove(&(due, id));
        }
        for errand in tracked.waiting {
            let noted = self.errands.insert(errand, Errand::Refused(LeaseAnswer::Unknown));
            if matches!(noted, Some(Errand::Renewal { is_confirmed: true, .. })) {
                self.errands.remove(&errand);
                self.answers.push((errand, LeaseAnswer::Unknown));
            }
        }
    }

    pub(crate) fn applied(&mut self, state: &Keyspace, reply: &Reply, now: Time) {
        match reply {
            Reply::LeaseGranted { id, .. } => {
                if let Some(lease) = state.lease(*id) {
                    self.track(*id, lease, now, false);
                }
            }
            Reply::LeaseRevoked { id, .. } | Reply::LeaseExpired { id, expired: true, .. } => self.forget(*id),
            Reply::LeaseCheckpointed { checkpoints, .. } => {
                checkpoints.iter().for_each(|checkpoint| self.checkpoint_applied(checkpoint));
            }
            _ => {}
        }
    }

    fn checkpoint_applied(&mut self, checkpoint: &LeaseCheckpoint) {
        let tracked = self.leases.get_mut(&checkpoint.id);
        let Some(tracked) = tracked.filter(|tracked| tracked.incarnation == checkpoint.incarnation) else { return };
        if checkpoint.remaining_ms.is_some() {
            if tracked.checkpoint.as_ref() == Some(checkpoint) {
                // From here on the state tells that there is one.
                tracked.checkpoint = None;
            }
            return;
        }
        // Whatever was proposed before names an older renewal: it can no longer take effect.
        tracked.checkpoint = None;
        tracked.is_old = false;
        tracked.is_renewing = false;
        for errand in std::mem::take(&mut tracked.waiting) {
            let Some(Errand::Renewal { is_confirmed, is_committed, .. }) = self.errands.get_mut(&errand) else {
                continue;
            };
            *is_committed = true;
            if *is_confirmed {
                self.errands.remove(&errand);
                self.answers.push((errand, LeaseAnswer::Renewed { ttl_seconds: tracked.ttl_seconds }));
            }
        }
    }

    pub(crate) fn arrived_malformed(&mut self, errand: ErrandId) {
        self.errands.insert(errand, Errand::Refused(LeaseAnswer::Malformed));
    }

    pub(crate) fn arrived(&mut self, state: &Keyspace, errand: ErrandId, asked: LeaseErrand, now: Time) {
        let noted = match asked {
            LeaseErrand::TimeToLive { id } => Errand::TimeToLive { id },
            LeaseErrand::KeepAlive { id } => self.renew(state, errand, id, now),
        };
        self.errands.insert(errand, noted);
    }

    /// Nobody waits for this answer any more. A renewal stays in force, and so does what it has begun to commit.
    pub(crate) fn given_up(&mut self, errand: ErrandId) {
        let Some(Errand::Renewal { id, .. }) = self.errands.remove(&errand) else { return };
        if let Some(tracked) = self.leases.get_mut(&id) {
            tracked.waiting.remove(&errand);
        }
    }

    /// Errands for which something is kept.
    pub(crate) fn errands_held(&self) -> usize {
        self.errands.len() + self.leases.values().map(|tracked| tracked.waiting.len()).sum::<usize>()
    }

    fn renew(&mut self, state: &Keyspace, errand: ErrandId, id: i64, now: Time) -> Errand {
        let tracked = self.leases.get_mut(&id).filter(|tracked| !tracked.is_over);
        let (Some(tracked), Some(lease)) = (tracked, state.lease(id)) else {
            return Errand::RenewalOfUnknown { id };
        };
        tracked.deadline = now + full(tracked.ttl_seconds);
        if let Some(after) = self.checkpoint_after {
            tracked.checkpoint_due = now + after;
        }
        let has_checkpoint = tracked.checkpoint.is_some() || lease.remaining_ms.is_some();
        if (has_checkpoint || tracked.is_old) && !tracked.is_renewing {
            tracked.is_renewing = true;
            self.renewals.insert((now, id));
        }
        if tracked.is_renewing {
            tracked.waiting.insert(errand);
        }
        Errand::Renewal {
            id,
            incarnation: tracked.incarnation,
            is_confirmed: false,
            is_committed: !tracked.is_renewing,
        }
    }

    /// The answer, if it can be given now.
    pub(crate) fn confirmed(&mut self, state: &Keyspace, errand: ErrandId, now: Time) -> Option<LeaseAnswer> {
        if let Errand::RenewalOfUnknown { id } = *self.errands.get(&errand)? {
            let noted = self.renew(state, errand, id, now);
            self.errands.insert(errand, noted);
        }
        let answer = match self.errands.get_mut(&errand)? {
            Errand::Refused(answer) => *answer,
            Errand::RenewalOfUnknown { .. } => LeaseAnswer::Unknown,
            Errand::TimeToLive { id } => {
                let id = *id;
                self.remaining(id, now)
            }
            Errand::Renewal { is_confirmed, is_committed: false, .. } => {
                *is_confirmed = true;
                return None;
            }
            Errand::Renewal { id, incarnation, .. } => match self.leases.get(id) {
                Some(tracked) if tracked.incarnation == *incarnation && !tracked.is_over => {
                    LeaseAnswer::Renewed { ttl_seconds: tracked.ttl_seconds }
                }
                _ => LeaseAnswer::Unknown,
            },
        };
        self.errands.remove(&errand);
        Some(answer)
    }

    fn remaining(&mut self, id: i64, now: Time) -> LeaseAnswer {
        let Some(tracked) = self.leases.get_mut(&id) else { return LeaseAnswer::Unknown };
        // An answer that it is over must stay true.
        tracked.is_over |= tracked.deadline <= now && !tracked.is_renewing;
        if tracked.is_over {
            return LeaseAnswer::Unknown;
        }
        let remaining_seconds = i64::try_from(tracked.deadline.since(now).as_secs()).unwrap_or(i64::MAX);
        LeaseAnswer::Remaining { remaining_seconds, granted_seconds: tracked.ttl_seconds }
    }

    /// Does what is due, and answers when there is more to do.
    pub(crate) fn work(&mut self, state: &Keyspace, now: Time, out: &mut Vec<DutyOutput>) -> Option<Time> {
        for (errand, answer) in self.answers.drain(..) {
            out.push(DutyOutput::Answer { errand, answer: encode_to_bytes(&answer) });
        }
        self.propose_renewals(state, now, out);
        // A corrupt store refuses ends. When that alarm is cleared there is work again.
        let expiry_at = if state.is_corrupt() { None } else { self.propose_ends(state, now, out) };
        let checkpoint_at = self.propose_checkpoints(state, now, out);
        let renewal_at = self.renewals.first().map(|(at, _)| *at);
        [expiry_at, checkpoint_at, renewal_at].into_iter().flatten().min()
    }

    fn propose_renewals(&mut self, state: &Keyspace, now: Time, out: &mut Vec<DutyOutput>) {
        let mut renewals = Vec::new();
        while let Some((_, id)) = self.renewals.first().copied().filter(|(at, _)| *at <= now) {
            self.renewals.pop_first();
            let is_renewing = self.leases.get(&id).is_some_and(|tracked| tracked.is_renewing);
            let Some(lease) = state.lease(id).filter(|_| is_renewing) else { continue };
            self.renewals.insert((now + self.retry_after, id));
            renewals.push(checkpoint_of(id, lease, None));
        }
        for checkpoints in renewals.chunks(CHECKPOINTS_PER_COMMAND) {
            propose(&Request::LeaseCheckpoint(checkpoints.to_vec()), out);
        }
    }

    fn propose_ends(&mut self, state: &Keyspace, now: Time, out: &mut Vec<DutyOutput>) -> Option<Time> {
        self.expiry_credit = (self.expiry_credit + now.since(self.credited_through)).min(BURST.max(self.expiry_cost));
        self.credited_through = now;
        while let Some((at, id)) = self.deadlines.first().copied() {
            if at > now {
                return Some(at);
            }
            let Some(credit) = self.expiry_credit.checked_sub(self.expiry_cost) else {
                return Some(now + self.expiry_cost.max(PACE));
            };
            self.deadlines.pop_first();
            let Some(tracked) = self.leases.get_mut(&id) else { continue };
            if tracked.deadline > now {
                tracked.queued_deadline = tracked.deadline;
            } else {
                // Looked at again in a while: its renewal may apply, or the proposal may have been lost.
                tracked.queued_deadline = now + self.retry_after;
                if !tracked.is_renewing {
                    tracked.is_over = true;
                    self.expiry_credit = credit;
                    let renewal = state.lease(id).map(|lease| lease.renewal);
                    propose(&Request::LeaseExpire { id, incarnation: tracked.incarnation, renewal }, out);
                }
            }
            self.deadlines.insert((tracked.queued_deadline, id));
        }
        None
    }

    fn propose_checkpoints(&mut self, state: &Keyspace, now: Time, out: &mut Vec<DutyOutput>) -> Option<Time> {
        let after = self.checkpoint_after?;
        let mut due = Vec::new();
        while let Some((at, id)) = self.checkpoints.first().copied() {
            if at > now || due.len() == CHECKPOINTS_PER_COMMAND {
                break;
            }
            self.checkpoints.pop_first();
            let Some(tracked) = self.leases.get_mut(&id) else { continue };
            if tracked.checkpoint_due <= now {
                tracked.checkpoint_due = now + after;
                let remaining = tracked.deadline.since(now);
                let lease =
                    state.lease(id).filter(|_| !tracked.is_over && !tracked.is_renewing && !remaining.is_zero());
                if let Some(lease) = lease {
                    // Rounded up: the next leader must not end it early.
                    let remaining_ms = u64::try_from(remaining.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
                    let checkpoint = checkpoint_of(id, lease, Some(remaining_ms));
                    tracked.checkpoint = Some(checkpoint);
                    due.push(checkpoint);
                }
            }
            tracked.queued_checkpoint = Some(tracked.checkpoint_due);
            self.checkpoints.insert((tracked.checkpoint_due, id));
        }
        if !due.is_empty() {
            propose(&Request::LeaseCheckpoint(due), out);
        }
        self.checkpoints.first().map(|(at, _)| (*at).max(now + PACE))
    }
}

fn full(ttl_seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(0))
}

fn checkpoint_of(id: i64, lease: &Lease, remaining_ms: Option<u64>) -> LeaseCheckpoint {
    LeaseCheckpoint { id, incarnation: lease.incarnation, renewal: lease.renewal, remaining_ms }
}

fn propose(request: &Request, out: &mut Vec<DutyOutput>) {
    out.push(DutyOutput::Propose(encode_to_bytes(request)));
}
