//! Opening from what is durable: the only way a replica comes to be.
//!
//! Records come in chapters, one per configuration, in order; compaction drops from the front. Only the last chapter goes on: the
//! earlier ones say what was decided and may not be applied yet.

use crate::heir::Heir;
use crate::membership::judge_members;
use crate::record::{Anchor, Record, Way};
use crate::replica::Succession;
use quorate_protocol::{Durable, MembersChange, OpenError, Outbox, Pending, Setup, Start};
use quorate_types::{Slot, Ticket};
use std::collections::{BTreeMap, BTreeSet};

/// What one configuration left behind.
pub(crate) struct Chapter<P: Heir> {
    pub(crate) configuration: u64,
    /// How it begins. The front of a chapter may be dropped, if a compaction repeats this behind it.
    pub(crate) beginning: Option<(Anchor<P>, Way)>,
    pub(crate) records: Vec<(Ticket, P::Record)>,
}

pub(crate) fn inconsistent<T>(why: String) -> Result<T, OpenError> {
    Err(OpenError::Inconsistent { why })
}

/// Becomes the replica that `found` describes.
///
/// # Errors
/// When the records contradict each other or the store's mark, or the settings or founders make no sense.
pub(crate) fn open<P: Heir>(
    setup: &Setup,
    config: &P::Config,
    found: Durable<Succession<P>>,
    out: &mut Outbox<Succession<P>>,
) -> Result<Succession<P>, OpenError> {
    let mut node = closed(setup, config, found.applied);
    if let (Start::Found(members), true) = (&setup.start, found.records.is_empty()) {
        judge_members::<P>(config, members)
            .map_err(|why| OpenError::Settings { why: format!("of the founders: {why}") })?;
        let anchor = Anchor { configuration: 1, prefix: P::founding(config, members, Slot::ZERO) };
        node.enter(anchor, Way::Decided, out);
        if let Some(broken) = node.broken {
            return Err(OpenError::Settings { why: broken.detail });
        }
    } else {
        let chapters = chapters(found.records)?;
        node.resume(chapters, found.anchor, out)?;
    }
    node.tell_members(MembersChange::Opened, out);
    if node.inside.is_none() {
        out.lead(node.era(0), None, false, false);
    }
    if node.present.is_some() {
        node.set_succession_timer(out);
    }
    Ok(node)
}

fn closed<P: Heir>(setup: &Setup, config: &P::Config, applied: Slot) -> Succession<P> {
    Succession {
        setup: setup.clone(),
        config: config.clone(),
        present: None,
        way: Way::Told,
        inside: None,
        opening: Pending::new(),
        known_at: BTreeSet::new(),
        leavers: BTreeMap::new(),
        last_word: None,
        superseded: false,
        last_word_taken: false,
        serving: BTreeMap::new(),
        installing: None,
        decided: applied,
        applied,
        stopped: None,
        broken: None,
    }
}

pub(crate) fn chapters<P: Heir>(records: Vec<(Ticket, Record<P>)>) -> Result<Vec<Chapter<P>>, OpenError> {
    let mut chapters: Vec<Chapter<P>> = Vec::new();
    for (ticket, record) in records {
        let configuration = match &record {
            Record::Configuration { anchor, .. } => anchor.configuration,
            Record::Within { configuration, .. } => *configuration,
        };
        let last = chapters.last().map_or(0, |chapter| chapter.configuration);
        if configuration < last || configuration == 0 {
            return inconsistent(format!("a record of configuration {configuration} follows those of {last}"));
        }
        if configuration > last {
            chapters.push(Chapter { configuration, beginning: None, records: Vec::new() });
        }
        let Some(chapter) = chapters.last_mut() else { continue };
        match record {
            Record::Configuration { anchor, way } => match &chapter.beginning {
                Some((known, _)) if *known != anchor => {
                    return inconsistent(format!("configuration {configuration} begins in two ways"));
                }
                _ => chapter.beginning = Some((anchor, way)),
            },
            Record::Within { record, .. } => chapter.records.push((ticket, record)),
        }
    }
    Ok(chapters)
}

/// Leaves out the chapters that a snapshot made void.
pub(crate) fn not_void<P: Heir>(mut chapters: Vec<Chapter<P>>) -> Vec<Chapter<P>> {
    let by_snapshot = |chapter: &Chapter<P>| matches!(chapter.beginning, Some((_, Way::Snapshot(_))));
    let void = chapters.iter().rposition(by_snapshot).unwrap_or(0);
    chapters.split_off(void)
}

impl<P: Heir> Succession<P> {
    /// Goes on where the records end.
    fn resume(
        &mut self,
        mut chapters: Vec<Chapter<P>>,
        stored: Option<Anchor<P>>,
        out: &mut Outbox<Self>,
    ) -> Result<(), OpenError> {
        let Some(last) = chapters.pop() else { return Ok(()) };
        let Some((anchor, way)) = last.beginning else {
            return inconsistent(format!("nothing says how configuration {} began", last.configuration));
        };
        if let Some(stored) = stored.as_ref().filter(|stored| stored.configuration > last.configuration) {
            let why = format!("the store is of configuration {}, the records end before", stored.configuration);
            return inconsistent(why);
        }
        let begins = P::anchored(&anchor.prefix);
        if way == Way::Decided && self.decided < begins {
            self.decide_history(not_void(chapters), begins, out)?;
        }
        let is_member = P::members(&anchor.prefix).contains(self.me());
        self.present = Some(anchor);
        self.way = way;
        if is_member {
            let stored = stored.filter(|stored| stored.configuration == last.configuration);
            self.open_inside(last.records, stored.map(|stored| stored.prefix), self.decided, out)?;
            // The store had applied the stop-sign before the record of what follows it was durable: nobody will decide it again.
            if let Some(next) = self.inside.as_ref().and_then(Heir::decided_stop) {
                self.stopped = Some((self.decided, next));
                self.succeed(out);
            }
        }
        Ok(())
    }

    /// Decides again what the store has not applied of closed configurations.
    fn decide_history(
        &mut self,
        chapters: Vec<Chapter<P>>,
        through: Slot,
        out: &mut Outbox<Self>,
    ) -> Result<(), OpenError> {
        let mut chapters = chapters.into_iter().peekable();
        while let Some(chapter) = chapters.next() {
            let next = chapters.peek().and_then(|next| next.beginning.as_ref());
            let end = next.map_or(through, |(anchor, _)| P::anchored(&anchor.prefix));
            if end <= self.decided {
                continue;
            }
            let mut log = P::stored_log(chapter.records)?.entries;
            while self.decided < end {
                let slot = self.decided.next();
                let Some(entry) = log.remove(&slot) else {
                    return inconsistent(format!(
                        "the store has applied everything up to slot {}, and slot {slot} is nowhere: configuration {} \
                         should have it",
                        self.applied, chapter.configuration
                    ));
                };
                out.decide(slot, entry.decision);
                self.decided = slot;
            }
        }
        match self.decided < through {
            true => inconsistent(format!("everything between slots {} and {through} is lost here", self.decided)),
            false => Ok(()),
        }
    }
}
