//! "Why was slot X not committed at time T?"

use super::wall::{brief, time_of_day};
use super::{Incident, Present};
use crate::sentence::sentence;
use quorate_protocol::{Event, Role, Status, era_words};
use quorate_types::{NodeId, Slot, Time};

/// Words of guards older than this explain nothing.
const LATELY_NS: u64 = 5_000_000_000;
/// A member that said or did nothing for so long is remarked on.
const SILENCE_NS: u64 = 300_000_000;
/// So many words of guards are quoted.
const QUOTES_MOST: usize = 4;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Of which slot.
    pub slot: Slot,
    /// Why it was not committed then; `None` for what became of it.
    pub at: Option<Time>,
}

/// The answer, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In one sentence.
    pub short: String,
    /// Why, line by line.
    pub because: Vec<String>,
    /// What became of the slot, member by member.
    pub then: Vec<String>,
}

/// When one member's marks reached a slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotMarks {
    seen: bool,
    /// The entry that the slot has now, if its appending is recorded.
    entry: Option<LoggedEntry>,
    /// Entries that the slot had and lost again, in order.
    overwritten: Vec<Overwritten>,
    pub(crate) appended: Option<Reached>,
    pub(crate) durable: Option<Reached>,
    pub(crate) committed: Option<Reached>,
    pub(crate) applied: Option<Reached>,
    /// The guard that committed it here.
    pub(crate) decided: Option<(Time, Event)>,
}

/// An entry that was taken out of a log before it was known committed there.
#[derive(Clone, Copy, Debug)]
struct Overwritten {
    at: Time,
    /// The era it was proposed in, if its appending is recorded.
    era: Option<u64>,
    by: Word,
}

/// What somebody put into a slot of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedEntry {
    /// The era it was made in, where the protocol keeps that.
    pub era: Option<u64>,
    /// Of what it says: another entry has another one.
    pub fingerprint: u64,
}

/// On whose word a log was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Of whom, if somebody led.
    pub by: Option<NodeId>,
    /// In which era.
    pub era: u64,
}

/// When a mark was first seen to have got there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    at: Time,
    /// It was there when the recording began.
    before: bool,
}

impl SlotMarks {
    /// The slot has this entry now. Slots may be filled anew without being cut: with the same, by a later leader, or with another.
    pub(crate) fn note_entry(&mut self, at: Time, entry: LoggedEntry, by: Word) {
        if self.entry.is_some_and(|known| known.fingerprint != entry.fingerprint) {
            self.note_cut(at, by);
        }
        self.entry = Some(entry);
    }

    /// The log was cut back before the slot. One batch of inputs may cut it and fill it again, which its marks do not show.
    pub(crate) fn note_cut(&mut self, at: Time, by: Word) {
        let had = self.appended.take().is_some() || self.entry.is_some();
        self.durable = None;
        if had && self.committed.is_none() {
            self.overwritten.push(Overwritten { at, era: self.entry.and_then(|entry| entry.era), by });
        }
        self.entry = None;
    }

    pub(crate) fn note(&mut self, slot: Slot, at: Time, status: &Status) {
        let reached = Reached { at, before: !self.seen };
        self.seen = true;
        // A log that was cut back loses the slot again.
        if status.last < slot && self.committed.is_none() {
            (self.appended, self.durable) = (None, None);
        }
        let marks = [
            (&mut self.appended, status.last),
            (&mut self.durable, status.durable),
            (&mut self.committed, status.committed),
            (&mut self.applied, status.applied),
        ];
        for (first, mark) in marks {
            if mark >= slot {
                first.get_or_insert(reached);
            }
        }
    }
}

impl Incident {
    /// Answers the question the incident was gathered for.
    #[must_use]
    pub fn answer(&self) -> Option<Answer> {
        let question = self.question?;
        let then = self.what_became();
        let Some(at) = question.at else {
            let because = self.of_overwritten(question.slot);
            return Some(Answer { short: self.first_commit(question.slot), because, then });
        };
        let asked = self.as_of_then();
        let committed_before = self
            .slot
            .iter()
            .filter_map(|(node, marks)| {
                marks.committed.filter(|reached| reached.at <= at).map(|reached| (reached, node))
            })
            .min_by_key(|(reached, _)| reached.at);
        if let Some((reached, node)) = committed_before {
            let since = when(reached);
            let short = format!("It was committed by then: {} knew it {since}.", self.name_of(*node));
            return Some(Answer { short, because: self.of_overwritten(question.slot), then });
        }
        let leader = asked
            .iter()
            .filter_map(|(node, present)| Some((*node, present, present.status.as_ref()?)))
            .filter(|(_, present, status)| present.is_up && status.role == Role::Leader)
            .max_by_key(|(_, _, status)| status.era);
        let (short, mut because) = match leader {
            Some((node, present, status)) => self.with_leader(question.slot, at, node, present, status, &asked),
            None => self.without_leader(at, &asked),
        };
        because.extend(self.of_overwritten(question.slot));
        Some(Answer { short, because, then })
    }

    /// Each member as it was at the time asked about; one of which nothing later is told is as it was last.
    fn as_of_then(&self) -> Vec<(NodeId, &Present)> {
        self.present.iter().map(|(node, last)| (*node, self.asked.get(node).unwrap_or(last))).collect()
    }

    fn with_leader(
        &self,
        slot: Slot,
        at: Time,
        leader: NodeId,
        present: &Present,
        status: &Status,
        asked: &[(NodeId, &Present)],
    ) -> (String, Vec<String>) {
        let name = self.name_of(leader);
        if status.last < slot {
            let short = format!(
                "Nobody had proposed it: {name} led era {}, and its log ended at slot {}.",
                era_words(status.era),
                status.last
            );
            let mut because = self.of_others_logs(slot, status, asked);
            because.extend(self.quotes(leader, present, at));
            return (short, because);
        }
        let mut holders = Vec::new();
        let mut because = Vec::new();
        if status.durable >= slot {
            holders.push(name.clone());
        } else {
            because.push(format!(
                "{name}'s own disk had it only up to slot {}{}",
                status.durable,
                flush_words(present, at)
            ));
        }
        let voters = status.membership.voters().count();
        for peer in status.peers.iter().filter(|peer| status.membership.is_voter(peer.id)) {
            if peer.matched >= slot {
                holders.push(self.name_of(peer.id));
            } else {
                because.push(self.of_peer(slot, at, present, peer, asked));
            }
        }
        because.extend(self.quotes(leader, present, at));
        let held = if holders.is_empty() { "nobody".to_owned() } else { holders.join(", ") };
        let appended = self.slot.get(&leader).and_then(|marks| marks.appended).filter(|appended| !appended.before);
        let since = appended
            .map_or(String::new(), |appended| format!(" had it in its log for {},", brief(at.since(appended.at))));
        let short = format!(
            "{name} led era {},{since} and knew slot {slot} durable at {held}: at {} of {voters} voters.",
            era_words(status.era),
            holders.len(),
        );
        (short, because)
    }

    /// Why a leader did not count a peer: what it knew, and what the peer's own recording says.
    fn of_peer(
        &self,
        slot: Slot,
        at: Time,
        leader: &Present,
        peer: &quorate_protocol::PeerStatus,
        asked: &[(NodeId, &Present)],
    ) -> String {
        let name = self.name_of(peer.id);
        let mut words = format!("{name} was known to hold slot {} ({})", peer.matched, peer.state);
        match leader.heard.get(&peer.id) {
            Some(heard) if at.0.saturating_sub(heard.0) >= SILENCE_NS => {
                words += &format!("; nothing was heard of it for {}", brief(at.since(*heard)));
            }
            Some(_) => {}
            None => words += "; nothing was heard of it yet",
        }
        let own = asked.iter().find(|(node, _)| *node == peer.id).map(|(_, present)| *present);
        match own {
            None => words += "; there is no recording of it",
            Some(own) if !own.is_up => {
                words += &format!("; it did not run: its recording ended at {}", time_of_day(own.since))
            }
            Some(own) => {
                let Some(status) = &own.status else { return words };
                words += &match (status.last >= slot, status.durable >= slot) {
                    (false, _) => format!("; by its own recording its log ended at slot {}", status.last),
                    (true, false) => {
                        format!("; it had received slot {slot} and its disk had not{}", flush_words(own, at))
                    }
                    (true, true) => "; it had it durably, and the answer had not come through".to_owned(),
                };
                let silent = at.since(own.seen);
                if u64::try_from(silent.as_nanos()).unwrap_or(u64::MAX) >= SILENCE_NS {
                    words += &format!("; nothing at all happened in it for {}", brief(silent));
                }
            }
        }
        words
    }

    /// Members whose logs go further than the leader's hold what will be voided or was never the leader's.
    fn of_others_logs(&self, slot: Slot, leader: &Status, asked: &[(NodeId, &Present)]) -> Vec<String> {
        let further = asked.iter().filter_map(|(node, present)| {
            let status = present.status.as_ref().filter(|_| present.is_up)?;
            (status.last >= slot && status.last > leader.last).then(|| {
                format!("{} holds slots up to {} of an earlier leader, not committed", self.name_of(*node), status.last)
            })
        });
        further.collect()
    }

    fn without_leader(&self, at: Time, asked: &[(NodeId, &Present)]) -> (String, Vec<String>) {
        let before = self.reigns.iter().filter(|reign| reign.to <= at).max_by_key(|reign| reign.to);
        let short = match before {
            Some(reign) => format!(
                "Nobody led{}: {} had led era {} until {}, {} before.",
                self.among_whom(),
                self.name_of(reign.node),
                era_words(reign.era),
                time_of_day(reign.to),
                brief(at.since(reign.to))
            ),
            None => format!("Nobody led{}, and nobody had before in these recordings.", self.among_whom()),
        };
        let mut because = Vec::new();
        for (node, present) in asked {
            let name = self.name_of(*node);
            match (&present.status, present.is_up) {
                (_, false) => because.push(format!("{name} did not run, as far as it is recorded")),
                (None, true) => because.push(format!("{name} had just begun")),
                (Some(status), true) => {
                    because.push(format!(
                        "{name} was {} of era {}, its log ended at slot {}",
                        status.role.name(),
                        era_words(status.era),
                        status.last
                    ));
                    because.extend(self.quotes(*node, present, at));
                }
            }
        }
        (short, because)
    }

    /// What the member's guards said lately and had reason to complain about, latest first.
    fn quotes(&self, node: NodeId, present: &Present, at: Time) -> Vec<String> {
        let mut lately: Vec<&(Time, Event)> = present
            .words
            .iter()
            .filter(|((_, allowed), (said, _))| !allowed && at.0.saturating_sub(said.0) <= LATELY_NS)
            .map(|(_, said)| said)
            .collect();
        lately.sort_by_key(|(said, _)| std::cmp::Reverse(*said));
        let quote = |(said, event): &&(Time, Event)| {
            format!("  {} before: {}", brief(at.since(*said)), self.with_names(&sentence(node, event)))
        };
        lately.iter().take(QUOTES_MOST).map(quote).collect()
    }

    /// A slot says nothing of an entry that was there before.
    fn of_overwritten(&self, slot: Slot) -> Vec<String> {
        let lost = self.slot.iter().flat_map(|(node, marks)| marks.overwritten.iter().map(move |lost| (node, lost)));
        lost.map(|(node, lost)| {
            let which =
                lost.era.map_or("An earlier entry".to_owned(), |era| format!("An entry of era {}", era_words(era)));
            let by = lost.by.by.map_or("a leader".to_owned(), |by| self.name_of(by));
            format!(
                "{which} that {} had at slot {slot} was overwritten at {} by {by} of era {}: that write was not committed there, and what is \
                 said of the slot is not said of it",
                self.name_of(*node),
                time_of_day(lost.at),
                era_words(lost.by.era)
            )
        })
        .collect()
    }

    fn first_commit(&self, slot: Slot) -> String {
        let first = self
            .slot
            .iter()
            .filter_map(|(node, marks)| marks.committed.map(|reached| (reached, node)))
            .min_by_key(|(reached, _)| reached.at);
        match first {
            Some((reached, node)) => {
                format!(
                    "Slot {slot} is committed{}: {} was the first to know it, {}.",
                    self.slot
                        .get(node)
                        .and_then(|marks| marks.entry?.era)
                        .map_or(String::new(), |era| format!(" with an entry of era {}", era_words(era))),
                    self.name_of(*node),
                    when(reached)
                )
            }
            None => format!("Slot {slot} is not committed in these recordings."),
        }
    }

    fn what_became(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let decided =
            self.slot.iter().filter_map(|(node, marks)| marks.decided.as_ref().map(|decided| (decided, node)));
        if let Some(((at, event), node)) = decided.min_by_key(|((at, _), _)| *at) {
            lines.push(format!("{}  {}", time_of_day(*at), self.with_names(&sentence(*node, event))));
        }
        for (node, marks) in &self.slot {
            let part = |what: &str, reached: Option<Reached>| match reached {
                Some(reached) => format!("{what} {}", when(reached)),
                None => format!("not {what}"),
            };
            lines.push(format!(
                "{}: {}, {}, {}, {}",
                self.name_of(*node),
                part("received", marks.appended),
                part("durable", marks.durable),
                part("known committed", marks.committed),
                part("applied", marks.applied)
            ));
        }
        lines
    }
}

fn when(reached: Reached) -> String {
    let at = time_of_day(reached.at);
    if reached.before { format!("before {at}, where its recording begins") } else { format!("at {at}") }
}

/// The oldest journal write under way.
fn flush_words(present: &Present, at: Time) -> String {
    match present.journal.values().min() {
        Some((since, bytes)) => {
            format!(": a write of {bytes} bytes was under way for {}", brief(at.since(*since)))
        }
        None => String::new(),
    }
}
