//! A stopped replica's records, as a log to look at: what is decided of closed configurations, and the log of the present one.

use crate::heir::Heir;
use crate::record::{Anchor, Record, Way};
use crate::recovery::{Chapter, chapters, inconsistent, not_void};
use crate::replica::Succession;
use crate::restored::founded_behind;
use quorate_protocol::{
    Decision, Inspectable, LogChange, OpenError, Stateless, StoredConfiguration, StoredEntry, StoredLog,
};
use quorate_types::{Membership, NodeId, Slot, Ticket};
use std::collections::BTreeMap;

impl<P: Heir> Inspectable for Succession<P> {
    /// Configurations go before what the protocol ranks logs by: whoever has a later one open knows more than anybody who has not. Of a
    /// closed configuration all is decided that lies before the next one, and what lies above its stop-sign is void.
    fn stored_log(me: NodeId, records: Vec<(Ticket, Record<P>)>) -> Result<StoredLog, OpenError> {
        let mut chapters = chapters(records)?;
        let Some(last) = chapters.pop() else {
            return Ok(StoredLog { end: "is empty".to_owned(), ..StoredLog::default() });
        };
        let number = last.configuration;
        let Some((anchor, way)) = last.beginning else {
            return inconsistent(format!("nothing says how configuration {number} began"));
        };
        let (begins, members) = (P::anchored(&anchor.prefix), P::members(&anchor.prefix));
        let mut log = numbered(P::stored_log(last.records)?, number);
        if members.contains(me) && log.base < begins {
            return inconsistent(format!("nothing says what the log of configuration {number} begins behind"));
        }
        log.end = match members.contains(me) {
            true => format!("is of configuration {number} and {}", log.end),
            false => format!("ends at slot {begins} with a stop-sign that leaves it out of configuration {number}"),
        };
        log.standing.insert(0, ("configuration", number.to_string()));
        log.rank.insert(0, number);
        log.generation = number;
        // Also of who left, and has no log in it.
        log.quorum_sizes = P::quorum_sizes(&anchor.prefix);
        log.decided = log.decided.max(begins);
        log.base = log.base.max(begins);
        let mut configurations = Vec::new();
        match way {
            Way::Decided => prepend(&mut log, &mut configurations, not_void(chapters), begins)?,
            Way::Snapshot(_) => {}
            Way::Told => log.stateless = Some(Stateless::Told(number)),
        }
        configurations.push(configuration(&anchor));
        log.configurations = configurations;
        Ok(log)
    }

    fn founded_behind(
        config: &P::Config,
        members: &Membership,
        slot: Slot,
        generation: u64,
    ) -> (Vec<Record<P>>, Anchor<P>) {
        founded_behind(config, members, slot, generation)
    }

    fn log_change(record: &Record<P>) -> Option<LogChange> {
        match record {
            Record::Within { record, .. } => P::log_change(record),
            Record::Configuration { .. } => None,
        }
    }
}

/// Puts what closed configurations decided before the log, as far back as it is kept.
fn prepend<P: Heir>(
    log: &mut StoredLog,
    configurations: &mut Vec<StoredConfiguration>,
    chapters: Vec<Chapter<P>>,
    through: Slot,
) -> Result<(), OpenError> {
    let mut before: BTreeMap<Slot, StoredEntry> = BTreeMap::new();
    let mut chapters = chapters.into_iter().peekable();
    while let Some(chapter) = chapters.next() {
        let next = chapters.peek().and_then(|next| next.beginning.as_ref());
        let end = next.map_or(through, |(anchor, _)| P::anchored(&anchor.prefix));
        configurations.extend(chapter.beginning.iter().map(|(anchor, _)| configuration(anchor)));
        let mut closed = numbered(P::stored_log(chapter.records)?, chapter.configuration).entries;
        closed.split_off(&end.next());
        before.extend(closed);
    }
    // What the present configuration has compacted away goes with all that lies before it.
    while log.base <= through && log.base > Slot::ZERO {
        let Some(entry) = before.remove(&log.base) else { break };
        log.entries.insert(log.base, entry);
        log.base = log.base.previous();
        log.base_origin = None;
    }
    Ok(())
}

/// With its origins and stop-signs named by their configuration.
fn numbered(mut log: StoredLog, number: u64) -> StoredLog {
    for (slot, entry) in &mut log.entries {
        if let Some(origin) = &mut entry.origin {
            origin.configuration = number;
        }
        if let Decision::Members(members) = &entry.decision {
            let (number, members) = (number.saturating_add(1), members.clone());
            entry.brings = Some(StoredConfiguration { number, slot: *slot, outgoing: None, members });
        }
    }
    if let Some(origin) = &mut log.base_origin {
        origin.configuration = number;
    }
    log
}

fn configuration<P: Heir>(anchor: &Anchor<P>) -> StoredConfiguration {
    StoredConfiguration {
        number: anchor.configuration,
        slot: P::anchored(&anchor.prefix),
        outgoing: None,
        members: P::members(&anchor.prefix).clone(),
    }
}
