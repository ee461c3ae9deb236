//! A stopped replica's records, as a log to look at.

use crate::config::Config;
use crate::entry::Entry;
use crate::record::{Anchor, Record};
use crate::recovery::Replay;
use crate::replica::Viewstamped;
use crate::restored::founded_behind;
use crate::view::Configuration;
use quorate_protocol::{Inspectable, LogChange, OpenError, StoredConfiguration, StoredEntry, StoredLog};
use quorate_types::{Membership, NodeId, Slot, Ticket};
use std::collections::BTreeMap;

impl Inspectable for Viewstamped {
    /// The log of the latest view that was normal, and of these the longest, has every committed entry that any has: by the rule that a
    /// new primary takes its log by (VRR §4.2). Entries do not say in which view they were made.
    fn stored_log(_: NodeId, records: Vec<(Ticket, Record)>) -> Result<StoredLog, OpenError> {
        let mut replay = Replay::default();
        for (ticket, record) in records {
            replay.take(ticket, record)?;
        }
        let log = replay.take_log()?;
        let present = replay.configuration_in(&log)?.epoch;
        let (view, last_normal, last) = (replay.view, replay.last_normal, log.last());
        let entries: BTreeMap<Slot, StoredEntry> =
            (log.first().0..).map(Slot).zip(log.iter()).map(|(slot, entry)| (slot, stored(slot, entry))).collect();
        let configurations = std::iter::once(configuration(log.base(), log.base_configuration()))
            .chain(entries.values().filter_map(|entry| entry.brings.clone()))
            .filter(|known| known.number <= present)
            .collect();
        Ok(StoredLog {
            standing: vec![("view", view.to_string()), ("last normal view", last_normal.to_string())],
            generation: view.epoch,
            rank: vec![last_normal.epoch, last_normal.number, last.0],
            end: format!("is that of view {last_normal} and ends at slot {last}"),
            slots_stand_alone: false,
            base: log.base(),
            base_origin: None,
            snapshot: replay.snapshot,
            entries,
            // Whoever is in an epoch knew committed what ended the one before.
            decided: log.base().max(log.beginning_of(view.epoch).unwrap_or_default()),
            configurations,
            quorum_sizes: BTreeMap::new(),
            stateless: None,
        })
    }

    fn founded_behind(_: &Config, members: &Membership, slot: Slot, generation: u64) -> (Vec<Record>, Anchor) {
        founded_behind(members, slot, generation)
    }

    fn log_change(record: &Record) -> Option<LogChange> {
        let (first, entries, ends_log) = match record {
            Record::Append { first, entries } => (*first, entries, false),
            Record::Entered { first, entries, .. } => (*first, entries, true),
            Record::Founded { .. } | Record::Changing { .. } | Record::Anchor(_) | Record::Snapshot { .. } => {
                return None;
            }
        };
        Some(LogChange { first, decisions: entries.iter().map(Entry::decision).collect(), ends_log })
    }
}

fn configuration(slot: Slot, found: &Configuration) -> StoredConfiguration {
    StoredConfiguration { number: found.epoch, slot, outgoing: None, members: found.members.clone() }
}

fn stored(slot: Slot, entry: &Entry) -> StoredEntry {
    let brings = match entry {
        Entry::Reconfiguration(next) => Some(configuration(slot, next)),
        Entry::Commands(_) => None,
    };
    StoredEntry { origin: None, decision: entry.decision(), brings }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::View;

    fn read(records: Vec<Record>) -> StoredLog {
        Viewstamped::stored_log(NodeId(1), (1..).map(Ticket).zip(records).collect()).unwrap()
    }

    fn commands(count: usize) -> crate::entry::Entries {
        vec![Entry::Commands("x".into()); count].into()
    }

    #[test]
    fn how_far_it_is_says_the_last_normal_view_before_the_length() {
        let founded = Record::Founded { membership: Membership::of_voters(3) };
        let first = Record::Append { first: Slot(1), entries: commands(3) };
        let long = read(vec![founded.clone(), first.clone()]);
        let entered = Record::Entered { view: View { epoch: 1, number: 2 }, first: Slot(2), entries: commands(1) };
        let short = read(vec![founded, first, entered, Record::Changing { view: View { epoch: 1, number: 4 } }]);
        assert_eq!((long.rank.clone(), short.rank.clone()), (vec![1, 0, 3], vec![1, 2, 2]));
        assert_eq!(short.standing[0], ("view", "1.4".to_owned()));
        assert_eq!(short.end, "is that of view 1.2 and ends at slot 2");
        assert!(short.rank > long.rank);
    }

    #[test]
    fn an_epoch_that_has_begun_is_in_force_and_what_began_it_is_decided() {
        let next = Configuration { epoch: 2, members: Membership::of_voters(1) };
        let ending = vec![Entry::Commands("x".into()), Entry::Reconfiguration(Box::new(next))];
        let founded = Record::Founded { membership: Membership::of_voters(3) };
        let records = vec![founded, Record::Append { first: Slot(1), entries: ending.into() }];
        let before = read(records.clone());
        assert_eq!((before.configuration().unwrap().number, before.decided), (1, Slot(0)));
        assert_eq!(before.successor().map(|next| (next.number, next.slot)), Some((2, Slot(2))));
        let begun = Record::Changing { view: View::first_of(2) };
        let after = read(records.into_iter().chain([begun]).collect());
        assert_eq!((after.configuration().unwrap().number, after.decided), (2, Slot(2)));
        assert_eq!(after.successor(), None);
    }

    #[test]
    fn a_log_behind_a_given_state_is_in_the_epoch_it_was_given() {
        let (records, _) = Viewstamped::founded_behind(&Config::default(), &Membership::of_voters(1), Slot(7), 1_003);
        let log = read(records);
        assert_eq!((log.base, log.last(), log.generation, log.rank), (Slot(7), Slot(7), 1_003, vec![1_003, 0, 7]));
        assert_eq!(log.configurations.len(), 1);
    }
}
