//! A stopped replica's records, as a log to look at; and those of one that begins behind a given state.

use crate::config::Config;
use crate::entry::{Configuration, Entry, Payload};
use crate::record::{Anchor, Record};
use crate::recovery::{Replay, inconsistent};
use crate::replica::Raft;
use crate::restored::founded_behind;
use quorate_protocol::{
    Inspectable, LogChange, OpenError, Origin, Stateless, StoredConfiguration, StoredEntry, StoredLog,
};
use quorate_types::{Membership, NodeId, Slot, Ticket};
use std::collections::BTreeMap;

impl Inspectable for Raft {
    /// The log that ends in the greatest term, and of these at the greatest slot, has every decided entry that any has: by the rule
    /// that elects leaders (Raft §5.4.1).
    fn stored_log(me: NodeId, records: Vec<(Ticket, Record)>) -> Result<StoredLog, OpenError> {
        let mut replay = Replay::default();
        for (ticket, record) in records {
            replay.take(ticket, record)?;
        }
        let founding = Configuration::of(replay.founded.take().unwrap_or_default());
        let none = Anchor { slot: Slot::ZERO, term: 0, configuration: founding };
        let base = replay.anchor.take().unwrap_or(none);
        check_order(&base, replay.first, &replay.entries)?;
        let entries: BTreeMap<Slot, StoredEntry> = (base.slot.0 + 1..)
            .map(Slot)
            .zip(&replay.entries)
            .map(|(slot, entry)| (slot, stored(slot, entry)))
            .collect();
        let configurations: Vec<StoredConfiguration> = std::iter::once(configuration(base.slot, &base.configuration))
            .chain(entries.values().filter_map(|entry| entry.brings.clone()))
            .collect();
        let last_term = replay.entries.last().map_or(base.term, |entry| entry.term);
        let last = Slot(base.slot.0 + replay.entries.len() as u64);
        let vote = replay.voted_for.map_or_else(|| "nobody".to_owned(), |node| node.to_string());
        Ok(StoredLog {
            standing: vec![("term", replay.term.to_string()), ("voted for", vote)],
            generation: replay.term,
            rank: vec![last_term, last.0],
            end: format!("ends in term {last_term} at slot {last}"),
            slots_stand_alone: false,
            base: base.slot,
            base_origin: Some(origin(base.term)),
            snapshot: replay.snapshot,
            entries,
            decided: base.slot,
            quorum_sizes: BTreeMap::new(),
            stateless: is_of_witness(me, &configurations).then_some(Stateless::Witness),
            configurations,
        })
    }

    fn founded_behind(_: &Config, members: &Membership, slot: Slot, generation: u64) -> (Vec<Record>, Anchor) {
        founded_behind(members, slot, generation)
    }

    fn log_change(record: &Record) -> Option<LogChange> {
        match record {
            Record::Append { first, entries } => {
                let decisions = entries.iter().map(|entry| entry.payload.decision()).collect();
                Some(LogChange { first: *first, decisions, ends_log: false })
            }
            Record::Truncate { from } => Some(LogChange { first: *from, decisions: Vec::new(), ends_log: true }),
            Record::Founded { .. } | Record::TermVote { .. } | Record::Anchor(_) | Record::Snapshot { .. } => None,
        }
    }
}

fn check_order(base: &Anchor, first: Slot, entries: &[Entry]) -> Result<(), OpenError> {
    if !entries.is_empty() && first != base.slot.next() {
        return inconsistent(format!("the log begins at slot {first}, and what is before it ends at {}", base.slot));
    }
    let mut last_term = base.term;
    for (slot, entry) in (base.slot.0 + 1..).zip(entries) {
        if entry.term < last_term {
            return inconsistent(format!("slot {slot} is of term {}, after {last_term}", entry.term));
        }
        last_term = entry.term;
    }
    Ok(())
}

fn origin(term: u64) -> Origin {
    Origin { configuration: 0, numbers: (term, 0), words: format!("term {term}") }
}

fn configuration(slot: Slot, found: &Configuration) -> StoredConfiguration {
    let (outgoing, members) = (found.outgoing.clone(), found.members.clone());
    StoredConfiguration { number: 0, slot, outgoing, members }
}

fn stored(slot: Slot, entry: &Entry) -> StoredEntry {
    let brings = match &entry.payload {
        Payload::Members(found) => Some(configuration(slot, found)),
        Payload::Command(_) | Payload::NoOp => None,
    };
    StoredEntry { origin: Some(origin(entry.term)), decision: entry.payload.decision(), brings }
}

/// By the last configuration that names it: of one in both halves, as it is in the new one.
fn is_of_witness(me: NodeId, configurations: &[StoredConfiguration]) -> bool {
    let named = configurations.iter().flat_map(StoredConfiguration::halves).flat_map(Membership::members);
    named.filter(|member| member.id == me).last().is_some_and(|member| !member.stores_data())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{Member, MemberRole};

    fn appended(ticket: u64, first: u64, terms: &[u64]) -> (Ticket, Record) {
        let entries: Vec<Entry> = terms.iter().map(|term| Entry { term: *term, payload: Payload::NoOp }).collect();
        (Ticket(ticket), Record::Append { first: Slot(first), entries: entries.into() })
    }

    fn read(me: u64, records: Vec<(Ticket, Record)>) -> Result<StoredLog, OpenError> {
        Raft::stored_log(NodeId(me), records)
    }

    #[test]
    fn it_is_read_as_a_replica_would_read_it() {
        let founded = (Ticket(1), Record::Founded { membership: Membership::of_voters(3) });
        let vote = (Ticket(2), Record::TermVote { term: 4, voted_for: Some(NodeId(2)) });
        let cut = (Ticket(4), Record::Truncate { from: Slot(3) });
        let records = vec![founded, vote, appended(3, 1, &[1, 1, 2]), cut, appended(5, 3, &[4])];
        let log = read(1, records).unwrap();
        assert_eq!(log.standing, [("term", "4".to_owned()), ("voted for", "n2".to_owned())]);
        assert_eq!((log.last(), log.generation, log.rank.clone()), (Slot(3), 4, vec![4, 3]));
        assert_eq!(log.end, "ends in term 4 at slot 3");
        let term_at = |slot| log.origin_at(Slot(slot)).map(|origin| origin.numbers.0);
        assert_eq!([term_at(0), term_at(2), term_at(4)], [Some(0), Some(1), None]);
        let founders = configuration(Slot(0), &Configuration::of(Membership::of_voters(3)));
        assert_eq!(log.configuration(), Some(&founders));
        assert_eq!(log.certainly_decided(NodeId(1), Slot(2)), Slot(2), "no more is known decided than was applied");
    }

    #[test]
    fn a_witness_is_known_by_the_last_configuration_that_names_it() {
        let witness = Member { role: MemberRole::Witness, ..Member::voter(NodeId(2)) };
        let members = Membership::new([Member::voter(NodeId(1)), witness]);
        let founded = (Ticket(1), Record::Founded { membership: members });
        let left = Configuration::of(Membership::of_voters(1));
        let left = Entry { term: 1, payload: Payload::Members(Box::new(left)) };
        let left = (Ticket(2), Record::Append { first: Slot(1), entries: vec![left].into() });
        let stateless = |me| read(me, vec![founded.clone(), left.clone()]).unwrap().stateless;
        assert_eq!(stateless(2), Some(Stateless::Witness), "what it was when it was a member");
        assert_eq!((stateless(1), stateless(9)), (None, None));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert!(read(1, vec![appended(1, 2, &[1])]).is_err(), "nothing stands for slot 1");
        assert!(read(1, vec![appended(1, 1, &[2, 1])]).is_err(), "terms never go down");
    }

    #[test]
    fn a_log_behind_a_given_state_is_read_back() {
        let (records, _) = Raft::founded_behind(&Config::default(), &Membership::of_voters(1), Slot(7), 1_003);
        let log = read(1, (1..).map(Ticket).zip(records).collect()).unwrap();
        assert_eq!((log.base, log.last(), log.decided, log.generation), (Slot(7), Slot(7), Slot(7), 1_003));
    }
}
