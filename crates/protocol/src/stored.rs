//! What the records of a stopped replica say, for whoever looks at them without becoming that replica.
//!
//! Every protocol tells it in the same words, so that a log can be shown, compared with others and gone on from by code that knows no
//! protocol. What is decided is on no disk as such: a log says only what must be.

use crate::{Decision, OpenError, Replica, SnapshotId};
use bytes::Bytes;
use quorate_quorum::Quorum;
use quorate_types::{Membership, NodeId, Slot, Ticket};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A protocol whose stopped replicas can be looked at.
pub trait Inspectable: Replica {
    /// Reads the records of node `me` in the order written, by the rules of opening. No records are an empty log.
    ///
    /// # Errors
    /// When they contradict each other, as for a replica that opens.
    fn stored_log(me: NodeId, records: Vec<(Ticket, Self::Record)>) -> Result<StoredLog, OpenError>;

    /// What the journal of a founding member holds before its first start in a cluster that begins with a state it was given:
    /// everything up to and with `slot`, which is not 0, is decided, and the log begins behind it. All members must be given the same
    /// state, slot, members and `generation`, which is not 0 (see [`StoredLog::generation`]).
    fn founded_behind(
        config: &Self::Config,
        members: &Membership,
        slot: Slot,
        generation: u64,
    ) -> (Vec<Self::Record>, Self::Anchor);

    /// What this record changes in the log, if anything: for whoever follows a running replica's records.
    fn log_change(record: &Self::Record) -> Option<LogChange>;
}

/// What a record changes in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChange {
    /// The first slot that is filled, or filled anew.
    pub first: Slot,
    /// What with, in order.
    pub decisions: Vec<Decision>,
    /// Whether whatever was in the log behind those slots is void.
    pub ends_log: bool,
}

/// Where an entry comes from. Two logs that have the same origin in one slot have the same entry there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The configuration it was made in, where the protocol counts origins anew in each; otherwise 0.
    pub configuration: u64,
    /// The protocol's numbers, the weightier first: a term; a ballot; a zxid.
    pub numbers: (u64, u64),
    /// For people, such as `term 3`.
    pub words: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.words)
    }
}

/// Members, as a log names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredConfiguration {
    /// Its number: of a configuration or an epoch; 0 where the protocol does not number them.
    pub number: u64,
    /// The slot of the entry that brought it; 0 for the founders'.
    pub slot: Slot,
    /// The members that must agree too, while these replace them jointly.
    pub outgoing: Option<Membership>,
    /// The members.
    pub members: Membership,
}

impl StoredConfiguration {
    /// Every set of members of which a quorum must agree.
    pub fn halves(&self) -> impl Iterator<Item = &Membership> {
        self.outgoing.iter().chain([&self.members])
    }

    /// Everybody in it.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.halves().flat_map(Membership::members).map(|member| member.id)
    }
}

/// What is in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Where it comes from, if the protocol writes that down.
    pub origin: Option<Origin>,
    /// What it decides, if it is decided.
    pub decision: Decision,
    /// The configuration that it brings.
    pub brings: Option<StoredConfiguration>,
}

impl StoredEntry {
    /// The same entry as somebody has it who stores no commands.
    #[must_use]
    pub fn without_commands(&self) -> StoredEntry {
        let decision = match &self.decision {
            Decision::Commands(_) => Decision::Commands(Bytes::new()),
            Decision::Members(_) | Decision::Nothing => self.decision.clone(),
        };
        StoredEntry { decision, ..self.clone() }
    }
}

/// Why no state can be made of what a member has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stateless {
    /// It is a witness: it voted and stored no commands.
    Witness,
    /// It left, and was told no more than that this configuration is open.
    Told(u64),
}

impl fmt::Display for Stateless {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stateless::Witness => formatter.write_str("is a witness: it votes and stores no data"),
            Stateless::Told(number) => {
                write!(formatter, "has left, and was told only that configuration {number} is open without it")
            }
        }
    }
}

/// What a journal's records say, read by the same rules as an opening replica reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredLog {
    /// What it has promised and what it is, by name.
    pub standing: Vec<(&'static str, String)>,
    /// A number that only grows while a cluster lives: the latest term or configuration or epoch that this node saw. A cluster that
    /// goes on from this log begins with a greater one.
    pub generation: u64,
    /// How far it is, the weightiest number first, by the protocol's own order of logs. Whoever is the furthest of all has
    /// everything that was decided and that any of them has; but see `slots_stand_alone`.
    pub rank: Vec<u64>,
    /// That in words which go on after "its log", such as `ends in term 3 at slot 7`.
    pub end: String,
    /// Slots are decided one by one: no log has all that others have, and a new one takes of every slot what comes from the
    /// latest origin. Otherwise logs are prefixes of one another as far as they are decided.
    pub slots_stand_alone: bool,
    /// Stands for everything before the entries.
    pub base: Slot,
    /// Where the entry in the base's slot comes from, if that is still known.
    pub base_origin: Option<Origin>,
    /// The base came with this snapshot; the store may not have installed it yet.
    pub snapshot: Option<SnapshotId>,
    /// The entries behind the base. Only where slots stand alone can there be gaps.
    pub entries: BTreeMap<Slot, StoredEntry>,
    /// Everything up to here is decided, by these records alone.
    pub decided: Slot,
    /// The configurations that it names and that are in force or were, the present one last.
    pub configurations: Vec<StoredConfiguration>,
    /// By number of voters, how many are needed to go on, where that is not a majority.
    pub quorum_sizes: BTreeMap<usize, usize>,
    /// Nothing can be recovered from it, and why.
    pub stateless: Option<Stateless>,
}

impl StoredLog {
    /// The last slot; the base's if there is no entry.
    #[must_use]
    pub fn last(&self) -> Slot {
        self.entries.last_key_value().map_or(self.base, |(slot, _)| *slot)
    }

    /// The entry in this slot, if there is one.
    #[must_use]
    pub fn entry(&self, slot: Slot) -> Option<&StoredEntry> {
        self.entries.get(&slot)
    }

    /// Where the entry in this slot comes from, the base's too.
    #[must_use]
    pub fn origin_at(&self, slot: Slot) -> Option<&Origin> {
        if slot == self.base { self.base_origin.as_ref() } else { self.entry(slot)?.origin.as_ref() }
    }

    /// What this slot decides, if the log reaches it. A gap decides nothing.
    #[must_use]
    pub fn decision(&self, slot: Slot) -> Option<Decision> {
        let reaches = slot > self.base && slot <= self.last();
        reaches.then(|| self.entry(slot).map_or(Decision::Nothing, |entry| entry.decision.clone()))
    }

    /// The configuration in force, if any is known.
    #[must_use]
    pub fn configuration(&self) -> Option<&StoredConfiguration> {
        self.configurations.last()
    }

    /// The one that an entry brings and that is not in force: once that is decided, it will be.
    #[must_use]
    pub fn successor(&self) -> Option<&StoredConfiguration> {
        let present = self.configuration().map_or(0, |present| present.number);
        let brought = self.entries.values().rev().filter_map(|entry| entry.brings.as_ref());
        brought.into_iter().find(|brought| brought.number > present)
    }

    /// Everybody it names.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<NodeId> {
        let brought = self.entries.values().filter_map(|entry| entry.brings.as_ref());
        self.configurations.iter().chain(brought).flat_map(StoredConfiguration::ids).collect()
    }

    /// The greatest slot that is certainly decided by what this disk holds, `applied` being what its store has applied. The decided
    /// mark itself is never written, so this is a lower bound; but whoever is the only voter decides whatever it has durably.
    #[must_use]
    pub fn certainly_decided(&self, me: NodeId, applied: Slot) -> Slot {
        let alone = |present: &StoredConfiguration| {
            present.outgoing.is_none() && Quorum::of(&present.members).is_sole_voter(me)
        };
        let known = applied.max(self.decided);
        if self.configuration().is_some_and(alone) { known.max(self.last()) } else { known }
    }

    /// This log as a new history takes it, given what all survivors have: everything up to `decided` is decided, and this log or its
    /// state has that.
    ///
    /// Where logs are prefixes of one another that is the log itself. Where slots stand alone, every other slot is what any of the logs
    /// of the same configuration has from the latest origin, by the reason of phase 1: what was decided in some origin, every later
    /// origin has too. So whatever was decided and is in one of these logs is in the new one, in its slot. What all of them lack is a
    /// gap; phase 1 could tell that such a slot was never decided, and survivors that are no majority cannot. Behind an entry that
    /// brings the next configuration nothing is kept, unless it comes from a later origin: whoever proposed that had not found
    /// that entry, so it was not decided.
    #[must_use]
    pub fn inherit<'a>(&'a self, others: impl IntoIterator<Item = &'a StoredLog>, decided: Slot) -> StoredLog {
        let mut inherited = self.clone();
        if !self.slots_stand_alone {
            return inherited;
        }
        let number = |log: &StoredLog| log.configuration().map(|present| present.number);
        for other in others.into_iter().filter(|other| number(other) == number(self)) {
            for (slot, entry) in other.entries.range(decided.next()..) {
                let known = inherited.entries.get(slot).map(|known| &known.origin);
                if known.is_none_or(|known| *known < entry.origin) {
                    inherited.entries.insert(*slot, entry.clone());
                }
            }
        }
        inherited.end_at_successor(decided);
        inherited
    }

    /// Drops what lies behind an entry that brings the next configuration, or that entry where something later lies behind it.
    fn end_at_successor(&mut self, decided: Slot) {
        let brings = |(slot, entry): (&Slot, &StoredEntry)| entry.brings.is_some().then_some(*slot);
        let ends: Vec<Slot> = self.entries.range(decided.next()..).filter_map(brings).collect();
        for end in ends {
            let Some(origin) = self.entry(end).map(|entry| entry.origin.clone()) else { return };
            let is_overtaken = self.entries.range(end.next()..).any(|(_, behind)| behind.origin > origin);
            if is_overtaken {
                self.entries.remove(&end);
            } else {
                self.entries.split_off(&end.next());
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(round: u64, what: &'static str) -> StoredEntry {
        let origin = Origin { configuration: 1, numbers: (round, 1), words: format!("ballot {round}") };
        StoredEntry { origin: Some(origin), decision: Decision::Commands(what.into()), brings: None }
    }

    fn stop(round: u64) -> StoredEntry {
        let members = Membership::of_voters(1);
        let brings = StoredConfiguration { number: 2, members: members.clone(), ..StoredConfiguration::default() };
        StoredEntry { decision: Decision::Members(members), brings: Some(brings), ..entry(round, "") }
    }

    fn log(entries: &[(u64, StoredEntry)]) -> StoredLog {
        let members = Membership::of_voters(3);
        let present = StoredConfiguration { number: 1, members, ..StoredConfiguration::default() };
        StoredLog {
            slots_stand_alone: true,
            entries: entries.iter().map(|(slot, entry)| (Slot(*slot), entry.clone())).collect(),
            configurations: vec![present],
            ..StoredLog::default()
        }
    }

    fn told(log: &StoredLog) -> Vec<(u64, String)> {
        let words = |decision: Decision| match decision {
            Decision::Commands(what) => String::from_utf8_lossy(&what).into_owned(),
            Decision::Members(_) => "stop".to_owned(),
            Decision::Nothing => "nothing".to_owned(),
        };
        let slots = (log.base.0 + 1..=log.last().0).map(Slot);
        slots.filter_map(|slot| Some((slot.0, words(log.decision(slot)?)))).collect()
    }

    fn expect(log: &StoredLog, expected: &[&str]) {
        let numbered: Vec<(u64, String)> = (1..).zip(expected.iter().map(|what| (*what).to_owned())).collect();
        assert_eq!(told(log), numbered);
    }

    #[test]
    fn of_every_slot_the_latest_ballot_is_taken_whoever_has_it() {
        let one = log(&[(1, entry(1, "a")), (2, entry(1, "b")), (3, entry(1, "c"))]);
        let other = log(&[(1, entry(1, "a")), (2, entry(2, "B")), (5, entry(2, "E"))]);
        expect(&one.inherit([&other], Slot(0)), &["a", "B", "c", "nothing", "E"]);
        expect(&other.inherit([&one], Slot(0)), &["a", "B", "c", "nothing", "E"]);
        expect(&one.inherit([&other], Slot(2)), &["a", "b", "c", "nothing", "E"]);
    }

    #[test]
    fn of_another_configuration_nothing_is_taken() {
        let one = log(&[(1, entry(1, "a"))]);
        let mut old = log(&[(1, entry(9, "x")), (2, entry(9, "y"))]);
        old.configurations[0].number = 0;
        expect(&one.inherit([&old], Slot(0)), &["a"]);
    }

    #[test]
    fn nothing_is_kept_behind_a_stop_sign_that_nobody_overtook() {
        let one = log(&[(1, stop(2)), (2, entry(1, "void"))]);
        expect(&one.inherit([], Slot(0)), &["stop"]);
        assert_eq!(one.successor().map(|next| next.number), Some(2));
    }

    /// The run in docs/protocols/succession.md: n1 alone has the stop-sign, and n2 led without knowing of it.
    #[test]
    fn a_stop_sign_below_something_of_a_later_ballot_was_not_decided() {
        let one = log(&[(1, stop(1))]);
        let other = log(&[(2, entry(2, "y"))]);
        let inherited = one.inherit([&other], Slot(0));
        expect(&inherited, &["nothing", "y"]);
        assert_eq!(inherited.successor(), None);
    }

    #[test]
    fn logs_that_are_prefixes_of_one_another_are_not_mixed() {
        let one = StoredLog { slots_stand_alone: false, ..log(&[(1, entry(1, "a"))]) };
        let other = log(&[(1, entry(2, "b")), (2, entry(2, "c"))]);
        expect(&one.inherit([&other], Slot(0)), &["a"]);
    }

    #[test]
    fn whoever_votes_alone_has_decided_what_it_has() {
        let mut alone = log(&[(1, entry(1, "a")), (2, entry(1, "b"))]);
        assert_eq!(alone.certainly_decided(NodeId(1), Slot(1)), Slot(1));
        alone.configurations[0].members = Membership::of_voters(1);
        assert_eq!(alone.certainly_decided(NodeId(1), Slot(1)), Slot(2));
        assert_eq!(alone.certainly_decided(NodeId(2), Slot(1)), Slot(1), "it is not the voter");
    }
}
