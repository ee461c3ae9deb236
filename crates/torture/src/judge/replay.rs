//! Replays every revision that watchers were told of, and holds every answer against the state it should have come from.

use super::add;
use crate::lease_life::{Leases, seconds};
use crate::ledger::{Event, FIRST_REVISION, Ledger, Revision};
use crate::record::Call;
use crate::request::{Answer, Outcome, Pair, Request};
use crate::workload::{BALANCE_AT_FIRST, balance_of, bank_of};
use std::collections::{BTreeMap, BTreeSet};

/// What a replay shows.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    /// Violations.
    pub findings: Vec<String>,
    /// Calls of unknown outcome that took effect, by their place in the list of calls, with their revision.
    pub took_effect: BTreeMap<usize, i64>,
    /// Leases that ended by time.
    pub expired: u64,
    /// Leases that ended after they were to be revoked.
    pub revoked: u64,
    /// The state after the last revision.
    pub state: BTreeMap<String, Pair>,
}

struct Replay<'a> {
    calls: &'a [Call],
    leases: &'a Leases,
    /// Answered calls that changed something, by revision.
    written: BTreeMap<i64, Vec<usize>>,
    /// Answered calls that changed nothing, by the revision at which they looked.
    looked: BTreeMap<i64, Vec<usize>>,
    /// Who was to write a value.
    writers: BTreeMap<&'a str, usize>,
    /// Deletes of unknown outcome that did not take effect so far, by key, the earliest first.
    deleters: BTreeMap<&'a str, BTreeSet<(u64, usize)>>,
    out: Replayed,
}

/// Replays `ledger`, and explains each revision by `calls` and `leases`.
#[must_use]
pub fn replay(ledger: &Ledger, calls: &[Call], leases: &Leases) -> Replayed {
    let mut replay = Replay::of(calls, leases);
    replay.look(FIRST_REVISION);
    for (&revision, told) in ledger.revisions() {
        replay.explain(revision, told);
        replay.apply(revision, told);
        replay.look(revision);
    }
    replay.nothing_left();
    replay.out
}

impl<'a> Replay<'a> {
    fn of(calls: &'a [Call], leases: &'a Leases) -> Replay<'a> {
        let mut replay = Replay {
            calls,
            leases,
            written: BTreeMap::new(),
            looked: BTreeMap::new(),
            writers: BTreeMap::new(),
            deleters: BTreeMap::new(),
            out: Replayed::default(),
        };
        for (at, call) in calls.iter().enumerate() {
            for succeeded in [true, false] {
                replay.writers.extend(call.request.puts(succeeded).into_iter().map(|(_, value)| (value, at)));
            }
            match (&call.outcome, &call.request) {
                (Outcome::Done(answer), request) => {
                    let list = if changed(request, answer) { &mut replay.written } else { &mut replay.looked };
                    list.entry(answer.revision).or_default().push(at);
                }
                (Outcome::Unknown(_), Request::Delete { key }) => {
                    _ = replay.deleters.entry(key).or_default().insert((call.called_ns, at));
                }
                (Outcome::Unknown(_) | Outcome::Failed(_), _) => {}
            }
        }
        replay
    }

    fn find(&mut self, finding: String) {
        add(&mut self.out.findings, finding);
    }

    /// Who wrote this revision?
    fn explain(&mut self, revision: i64, told: &Revision) {
        if let Some(writers) = self.written.remove(&revision) {
            for &at in &writers {
                self.expect_written(revision, told, at);
            }
            if writers.len() > 1 {
                let all: Vec<String> = writers.iter().map(|&at| describe(&self.calls[at])).collect();
                self.find(format!("revision {revision} was given to {} writes: {}", all.len(), all.join("; ")));
            }
            return;
        }
        match told.events.first() {
            Some(Event::Put(pair)) => self.explain_put(revision, told, &pair.value.clone()),
            Some(Event::Delete(key)) => self.explain_delete(revision, told, &key.clone()),
            None => self.find(format!("revision {revision} has no event")),
        }
    }

    fn expect_written(&mut self, revision: i64, told: &Revision, at: usize) {
        let call = &self.calls[at];
        let Outcome::Done(answer) = &call.outcome else { return };
        if !is_what(&call.request, answer.succeeded, told) {
            self.find(format!(
                "{} was acknowledged at revision {revision}, which is {:?}",
                describe(call),
                told.events
            ));
        } else if self.holds(&call.request) != answer.succeeded {
            self.find(format!(
                "{} was answered {} at revision {revision}, and the state before says otherwise",
                describe(call),
                if answer.succeeded { "that its compares held" } else { "that its compares did not hold" }
            ));
        }
    }

    fn explain_put(&mut self, revision: i64, told: &Revision, value: &str) {
        let Some(&at) = self.writers.get(value) else {
            self.find(format!("revision {revision} is {:?}, which nobody asked for", told.events));
            return;
        };
        let call = &self.calls[at];
        match &call.outcome {
            Outcome::Unknown(_) => {
                let holds = self.holds(&call.request);
                if self.out.took_effect.insert(at, revision).is_some() {
                    self.find(format!("{} was done twice, the second time at revision {revision}", describe(call)));
                } else if !is_what(&call.request, holds, told) {
                    self.find(format!(
                        "{} was done at revision {revision} as {:?}, which is not what it asked for",
                        describe(call),
                        told.events
                    ));
                }
            }
            Outcome::Failed(why) => self.find(format!(
                "{} was refused for certain ({why}), and was done at revision {revision}",
                describe(call)
            )),
            Outcome::Done(answer) => {
                let acknowledged = answer.revision;
                self.find(format!(
                    "{} was acknowledged at revision {acknowledged}, and is revision {revision}",
                    describe(call)
                ));
            }
        }
    }

    fn explain_delete(&mut self, revision: i64, told: &Revision, key: &str) {
        let lease = self.out.state.get(key).map_or(0, |pair| pair.lease);
        if lease != 0 {
            self.explain_end(revision, told, lease);
            return;
        }
        let unknown = self.deleters.get_mut(key).and_then(BTreeSet::pop_first);
        match unknown {
            Some((_, at)) if told.events.len() == 1 => _ = self.out.took_effect.insert(at, revision),
            _ => self.find(format!("revision {revision} is {:?}, which nobody asked for", told.events)),
        }
    }

    /// A lease ended, by time or because it was revoked.
    fn explain_end(&mut self, revision: i64, told: &Revision, lease: i64) {
        let is_its = |event: &Event| match event {
            Event::Delete(key) => self.out.state.get(key).is_some_and(|pair| pair.lease == lease),
            Event::Put(_) => false,
        };
        if !told.events.iter().all(is_its) {
            self.find(format!("lease {lease:x} ended at revision {revision}, which is {:?}", told.events));
        }
        let Some(life) = self.leases.lives().get(&lease) else {
            self.find(format!("lease {lease:x} ended at revision {revision}, and nobody was granted it"));
            return;
        };
        if life.revoke_called_ns.is_some_and(|called| called < told.first_seen_ns) {
            self.out.revoked += 1;
        } else {
            self.out.expired += 1;
        }
        if !life.may_have_ended_by(told.first_seen_ns) {
            let lived = seconds(told.first_seen_ns.saturating_sub(life.renewed_ns));
            let ttl = seconds(life.ttl_ns);
            self.find(format!(
                "lease {lease:x} ended at revision {revision}, which was seen {lived:.3} s after it was renewed for {ttl:.0} s"
            ));
        }
    }

    /// Makes the state that of the next revision, and looks at what every event says of itself.
    fn apply(&mut self, revision: i64, told: &Revision) {
        for event in &told.events {
            let before = self.out.state.get(event.key()).cloned();
            if let Some(said) = told.before.get(event.key())
                && *said != before
            {
                let key = event.key();
                self.find(format!(
                    "revision {revision}: a watcher was told that {key} was {said:?} before, and it was {before:?}"
                ));
            }
            match event {
                Event::Put(pair) => {
                    let created = before.as_ref().map_or(revision, |before| before.created);
                    let version = before.as_ref().map_or(0, |before| before.version) + 1;
                    if (pair.created, pair.modified, pair.version) != (created, revision, version) {
                        self.find(format!(
                            "revision {revision} is said to be {pair:?}, and should be version {version}, created at {created}"
                        ));
                    }
                    self.out.state.insert(pair.key.clone(), pair.clone());
                }
                Event::Delete(key) => {
                    if self.out.state.remove(key).is_none() {
                        self.find(format!("revision {revision} removes {key}, which did not exist"));
                    }
                }
            }
        }
        let banks: BTreeSet<&str> = told.events.iter().filter_map(|event| bank_of(event.key())).collect();
        for bank in banks {
            self.balance(revision, bank);
        }
    }

    fn balance(&mut self, revision: i64, bank: &str) {
        let start = format!("{bank}/");
        let accounts = self.out.state.range(start.clone()..).take_while(|(key, _)| key.starts_with(&start));
        let balances: Vec<i64> = accounts.filter_map(|(_, pair)| balance_of(&pair.value)).collect();
        let (sum, expected) = (balances.iter().sum::<i64>(), BALANCE_AT_FIRST * balances.len() as i64);
        if sum != expected {
            self.find(format!(
                "at revision {revision} the accounts of {bank} hold {sum} together, and should hold {expected}"
            ));
        }
    }

    /// Everything that looked at this revision must have seen this state.
    fn look(&mut self, revision: i64) {
        for at in self.looked.remove(&revision).unwrap_or_default() {
            let call = &self.calls[at];
            let Outcome::Done(answer) = &call.outcome else { continue };
            if let Some(wrong) = self.disagrees(&call.request, answer) {
                self.find(format!("{} was answered at revision {revision}: {wrong}", describe(call)));
            }
        }
    }

    fn disagrees(&self, request: &Request, answer: &Answer) -> Option<String> {
        let state = &self.out.state;
        if let Request::Delete { key } = request {
            return state.get(key).map(|pair| format!("nothing to remove, and there was {pair:?}"));
        }
        let should: Vec<Option<&Pair>> = match request {
            Request::Scan { prefix, .. } => {
                let from = state.range(prefix.clone()..);
                from.take_while(|(key, _)| key.starts_with(prefix)).map(|(_, pair)| Some(pair)).collect()
            }
            _ => request.gets(answer.succeeded).into_iter().map(|key| state.get(key)).collect(),
        };
        let found: Vec<Option<&Pair>> = answer.found.iter().map(Option::as_ref).collect();
        if found != should {
            return Some(format!("found {found:?}, and there was {should:?}"));
        }
        let holds = self.holds(request);
        (holds != answer.succeeded).then(|| format!("compares held: {}, and it was {holds}", answer.succeeded))
    }

    fn holds(&self, request: &Request) -> bool {
        let holds =
            |(key, expected): (&str, Option<&str>)| self.out.state.get(key).map(|pair| pair.value.as_str()) == expected;
        request.compares().into_iter().all(holds)
    }

    /// What was answered at a revision that no watcher was told of.
    fn nothing_left(&mut self) {
        let written = std::mem::take(&mut self.written);
        for (revision, at) in
            written.into_iter().flat_map(|(revision, all)| all.into_iter().map(move |at| (revision, at)))
        {
            let words = describe(&self.calls[at]);
            self.find(format!(
                "{words} was acknowledged at revision {revision}, and no watcher was told of it: it is lost"
            ));
        }
        let looked = std::mem::take(&mut self.looked);
        for (revision, at) in
            looked.into_iter().flat_map(|(revision, all)| all.into_iter().map(move |at| (revision, at)))
        {
            let words = describe(&self.calls[at]);
            self.find(format!("{words} was answered at revision {revision}, which there is not"));
        }
    }
}

fn changed(request: &Request, answer: &Answer) -> bool {
    answer.deleted > 0 || !request.puts(answer.succeeded).is_empty()
}

/// Whether a revision's events are what a request writes.
fn is_what(request: &Request, succeeded: bool, told: &Revision) -> bool {
    if let Request::Delete { key } = request {
        return told.events == [Event::Delete(key.clone())];
    }
    let wanted_lease = if let Request::Put { lease, .. } = request { *lease } else { 0 };
    let puts = request.puts(succeeded);
    let is_this = |(event, (key, value)): (&Event, &(&str, &str))| match event {
        Event::Put(pair) => pair.key == *key && pair.value == *value && pair.lease == wanted_lease,
        Event::Delete(_) => false,
    };
    told.events.len() == puts.len() && told.events.iter().zip(&puts).all(is_this)
}

/// A call for people.
pub(super) fn describe(call: &Call) -> String {
    format!(
        "{:?} at {} ({:.3}..{:.3} s) {:?}",
        call.who,
        call.member,
        seconds(call.called_ns),
        seconds(call.ended_ns),
        call.request
    )
}

#[cfg(test)]
mod tests;
