//! What the leader does for the keyspace: it keeps the leases' deadlines and watches the quota.

use crate::alarm::{Alarm, AlarmAction, AlarmKind, AlarmRequest};
use crate::keyspace::Keyspace;
use crate::lease_request::{LeaseAnswer, LeaseErrand};
use crate::lessor::Lessor;
use crate::reply::Reply;
use crate::request::Request;
use bytes::Bytes;
use quorate_machine::{Duty, DutyOutput, ErrandId};
use quorate_types::Time;
use quorate_wire::{decode_exact, encode_to_bytes};
use std::time::Duration;

/// Settings of [`KeyspaceDuty`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceDutyConfig {
    /// The member that alarms raised here are raised for: this one.
    pub member: u64,
    /// How many bytes the kept history may have before [`AlarmKind::NoSpace`] is raised; 0 for no bound.
    pub quota_bytes: u64,
    /// Within this time the log says what a lease has left that was not renewed, and again each such time; 0 for never.
    /// A change of leader lengthens a lease by this much at most, and the time without a leader.
    pub checkpoint_interval_ms: u64,
    /// At most this many leases end by time in a second; at least 1.
    pub expiries_per_second: u32,
    /// A proposal of which nothing was heard is proposed again after this time, in the same era.
    pub retry_after_ms: u64,
}

impl Default for KeyspaceDutyConfig {
    fn default() -> KeyspaceDutyConfig {
        KeyspaceDutyConfig {
            member: 0,
            quota_bytes: 2 << 30,
            checkpoint_interval_ms: 60_000,
            expiries_per_second: 1_000,
            retry_after_ms: 2_000,
        }
    }
}

/// The leader's memory beside a [`Keyspace`]. Errands are [`LeaseErrand`]s, their answers [`LeaseAnswer`]s.
#[derive(Clone, Debug)]
pub struct KeyspaceDuty {
    config: KeyspaceDutyConfig,
    /// There while this node leads.
    lessor: Option<Lessor>,
    /// When the quota's alarm was last proposed, if it has not come back.
    alarm_proposed: Option<Time>,
}

impl KeyspaceDuty {
    /// Errands for which something is kept here: those that nobody has answered or given up. For status and tests; it looks
    /// at every lease.
    #[must_use]
    pub fn errands_held(&self) -> usize {
        self.lessor.as_ref().map_or(0, Lessor::errands_held)
    }

    /// Raises the alarm when the quota is used up. It is not raised a second time while it stands, and is raised again if it
    /// was cleared and the history is still too large.
    fn watch_quota(&mut self, state: &Keyspace, now: Time, out: &mut Vec<DutyOutput>) -> Option<Time> {
        let is_raised = state.alarms().any(|alarm| alarm.kind == AlarmKind::NoSpace);
        let quota_bytes = self.config.quota_bytes;
        if quota_bytes == 0 || is_raised || state.history_bytes() <= quota_bytes {
            self.alarm_proposed = None;
            return None;
        }
        let retry_after = Duration::from_millis(self.config.retry_after_ms);
        if self.alarm_proposed.is_none_or(|proposed| now >= proposed + retry_after) {
            let alarm = Alarm { kind: AlarmKind::NoSpace, member: self.config.member };
            let request = Request::Alarm(AlarmRequest { action: AlarmAction::Activate, alarm });
            out.push(DutyOutput::Propose(encode_to_bytes(&request)));
            self.alarm_proposed = Some(now);
        }
        self.alarm_proposed.map(|proposed| proposed + retry_after)
    }
}

impl Duty<Keyspace> for KeyspaceDuty {
    type Config = KeyspaceDutyConfig;

    fn new(config: &KeyspaceDutyConfig) -> KeyspaceDuty {
        KeyspaceDuty { config: config.clone(), lessor: None, alarm_proposed: None }
    }

    fn begin(&mut self, state: &Keyspace, now: Time, late_proposals: bool) {
        self.lessor = Some(Lessor::new(&self.config, state, now, late_proposals));
        self.alarm_proposed = None;
    }

    fn end(&mut self) {
        self.lessor = None;
        self.alarm_proposed = None;
    }

    fn given_up(&mut self, errand: ErrandId) {
        if let Some(lessor) = &mut self.lessor {
            lessor.given_up(errand);
        }
    }

    fn applied(&mut self, state: &Keyspace, reply: &Reply, now: Time) {
        if let Some(lessor) = &mut self.lessor {
            lessor.applied(state, reply, now);
        }
    }

    fn arrived(&mut self, state: &Keyspace, errand: ErrandId, payload: &Bytes, now: Time) {
        let Some(lessor) = &mut self.lessor else { return };
        match decode_exact::<LeaseErrand>(payload.clone()) {
            Ok(asked) => lessor.arrived(state, errand, asked, now),
            Err(_) => lessor.arrived_malformed(errand),
        }
    }

    fn confirmed(&mut self, state: &Keyspace, errand: ErrandId, now: Time, out: &mut Vec<DutyOutput>) {
        // Errands of a leadership that is over were given up by the caller; one that is told of all the same is answered
        // with what this node knows of it: nothing.
        let answer = match &mut self.lessor {
            Some(lessor) => lessor.confirmed(state, errand, now),
            None => Some(LeaseAnswer::Unknown),
        };
        if let Some(answer) = answer {
            out.push(DutyOutput::Answer { errand, answer: encode_to_bytes(&answer) });
        }
    }

    fn work(&mut self, state: &Keyspace, now: Time, out: &mut Vec<DutyOutput>) -> Option<Time> {
        let lessor = self.lessor.as_mut()?;
        let next_lease = lessor.work(state, now, out);
        let next_quota = self.watch_quota(state, now, out);
        next_lease.into_iter().chain(next_quota).min()
    }
}
