//! What happened to a cluster, as its members' recordings tell it.
//!
//! Members are told one after the other, each from its beginning to its end, with wall-clock times; the incident puts them beside each
//! other. Nothing is concluded from rules of a protocol: the words are the replicas' own guards, the marks are those of
//! [`Status`], and what is added is arithmetic on times.

mod report;
mod stalls;
mod told;
pub mod wall;
mod why;

pub use stalls::{Stall, StallKind};
pub use told::Told;
pub use why::{Answer, LoggedEntry, Question, Word};

use crate::happening::{Happening, What};
use crate::sentence::sentence;
use quorate_protocol::{Event, Role, Status};
use quorate_types::{NodeId, Slot, Time};
use stalls::Stalls;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use told::Timeline;
use why::SlotMarks;

/// One life of one member, as far as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeSpan {
    /// Whose.
    pub node: NodeId,
    /// Which.
    pub incarnation: u64,
    /// Recorded from here.
    pub from: Time,
    /// To here.
    pub to: Time,
    /// How the recording ends, in words.
    pub end: String,
    /// It was replayed to its end.
    pub is_whole: bool,
    /// Replayed calls.
    pub calls: u64,
    /// Outputs that were the same as recorded.
    pub outputs: u64,
    /// Which program recorded it.
    pub program: String,
}

/// A member led for so long, as it said itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reign {
    /// Who.
    pub node: NodeId,
    /// Term, ballot, view or epoch.
    pub era: u64,
    /// From here.
    pub from: Time,
    /// To here.
    pub to: Time,
    /// What its guards said when it began, with ids.
    pub began: String,
    /// And when it ended.
    pub ended: String,
}

/// What a guard says and an output shows belong together if they are no further apart.
const SAME_MOMENT_NS: u64 = 1_000_000;

/// A write under way: when it began, and how many bytes it is.
type WriteBegun = (Time, u64);

/// What one member is doing at the moment it was told last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Present {
    pub(crate) status: Option<Status>,
    /// When something came from each peer.
    pub(crate) heard: BTreeMap<NodeId, Time>,
    /// The last that each rule said, by its id and verdict.
    pub(crate) words: BTreeMap<(&'static str, bool), (Time, Event)>,
    /// Writes to the journal, by number.
    pub(crate) journal: BTreeMap<u64, WriteBegun>,
    /// What its guards last said that is not routine.
    pub(crate) last_said: Option<(Time, String)>,
    /// It runs, and is recorded.
    pub(crate) is_up: bool,
    pub(crate) since: Time,
    /// When anything was told of it last.
    pub(crate) seen: Time,
}

/// Whether this guard is the one by which a leader knows that something is committed.
fn commits(event: &Event) -> bool {
    let is_rule = [".commit", ".chosen"].iter().any(|name| event.rule.id.ends_with(name));
    is_rule && event.verdict == quorate_protocol::Verdict::Allowed
}

/// A write that takes so long belongs into the timeline.
const LONG_WRITE: Duration = Duration::from_millis(200);
/// Commit marks are remembered so exactly.
const MARK_EVERY_NS: u64 = 10_000_000;

/// An incident, gathered. Times outside the window are gathered too, for what they explain, and not told.
#[derive(Clone, Debug)]
pub struct Incident {
    pub(crate) window: (Time, Time),
    pub(crate) question: Option<Question>,
    pub(crate) names: BTreeMap<NodeId, String>,
    pub(crate) lives: Vec<LifeSpan>,
    pub(crate) reigns: Vec<Reign>,
    pub(crate) timeline: Timeline,
    pub(crate) stalls: Stalls,
    pub(crate) present: BTreeMap<NodeId, Present>,
    /// Each member as it was at the time asked about.
    pub(crate) asked: BTreeMap<NodeId, Present>,
    /// Each member as it was at the end of the window, if it is recorded further.
    pub(crate) closing: BTreeMap<NodeId, Present>,
    pub(crate) slot: BTreeMap<NodeId, SlotMarks>,
    /// Commit marks, thinned.
    pub(crate) commits: Vec<(Time, Slot)>,
    /// Digests of applied states that members do not agree on.
    pub(crate) disagreements: BTreeSet<Slot>,
    digests: BTreeMap<Slot, (NodeId, u64)>,
    pub(crate) clients: BTreeMap<NodeId, Clients>,
}

/// What a member's clients asked and were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// Commands.
    pub writes: u64,
    /// Questions.
    pub reads: u64,
    /// Answers.
    pub answered: u64,
    /// Errors.
    pub refused: u64,
}

impl Incident {
    /// An incident of which what lies in this window is to be told, and a question answered.
    #[must_use]
    pub fn new(window: (Time, Time), question: Option<Question>) -> Incident {
        Incident {
            window,
            question,
            names: BTreeMap::new(),
            lives: Vec::new(),
            reigns: Vec::new(),
            timeline: Timeline::default(),
            stalls: Stalls::default(),
            present: BTreeMap::new(),
            asked: BTreeMap::new(),
            closing: BTreeMap::new(),
            slot: BTreeMap::new(),
            commits: Vec::new(),
            disagreements: BTreeSet::new(),
            digests: BTreeMap::new(),
            clients: BTreeMap::new(),
        }
    }

    /// A member's name for people. What a recording says of itself goes before what others say.
    pub fn name(&mut self, node: NodeId, name: &str) {
        if !name.is_empty() {
            self.names.entry(node).or_insert_with(|| name.to_owned());
        }
    }

    /// A member's recording begins, or goes on behind a gap.
    pub fn begins(&mut self, node: NodeId, at: Time) {
        self.freeze(node, at);
        let slot = self.slot.remove(&node).unwrap_or_default();
        self.slot.insert(node, slot);
        self.present.insert(node, Present { is_up: true, since: at, seen: at, ..Present::default() });
    }

    /// A member's recording ends; what was open is closed.
    pub fn ends(&mut self, life: LifeSpan) {
        let (node, at) = (life.node, life.to);
        self.freeze(node, at);
        self.end_reign(node, at, "its recording ends".to_owned());
        self.stalls.life_ended(node, at);
        if let Some(present) = self.present.get_mut(&node) {
            (present.is_up, present.since) = (false, at);
            present.journal.clear();
        }
        self.lives.push(life);
    }

    /// Something happened. What is routine is kept for explanations and told only in detail.
    pub fn happened(&mut self, happening: &Happening, is_routine: bool) {
        let Some(node) = happening.node else { return self.tell(happening, is_routine) };
        self.freeze(node, happening.at);
        match &happening.what {
            What::Guard(event) => {
                let key = (event.rule.id, event.verdict == quorate_protocol::Verdict::Allowed);
                if let Some(present) = self.present.get_mut(&node) {
                    present.words.insert(key, (happening.at, event.clone()));
                    if !is_routine {
                        present.last_said = Some((happening.at, sentence(node, event)));
                    }
                }
                if commits(event) {
                    self.note_decision(node, happening.at, event);
                }
            }
            What::Lead { era, who, ready } => {
                let said = self.just_said(node, happening.at);
                self.end_reign(node, happening.at, said.clone());
                if *who == Some(node) && *ready {
                    let (from, to, ended) = (happening.at, Time(u64::MAX), String::new());
                    self.reigns.push(Reign { node, era: *era, from, to, began: said, ended });
                }
            }
            What::Applied { slot, digest, .. } => self.compare_digest(node, *slot, *digest),
            _ => {}
        }
        self.tell(happening, is_routine);
    }

    /// A batch of inputs ended, and these are the member's marks.
    pub fn marks(&mut self, node: NodeId, at: Time, status: Status) {
        self.freeze(node, at);
        for member in status.membership.members() {
            self.name(member.id, &member.name);
        }
        if let Some(question) = self.question {
            self.slot.entry(node).or_default().note(question.slot, at, &status);
        }
        match self.commits.last_mut() {
            Some((last, slot)) if at.0.saturating_sub(last.0) < MARK_EVERY_NS && at >= *last => {
                *slot = (*slot).max(status.committed);
            }
            _ => self.commits.push((at, status.committed)),
        }
        self.stalls.marks(node, at, status.role == Role::Leader, status.last, status.committed);
        if let Some(present) = self.present.get_mut(&node) {
            present.status = Some(status);
        }
    }

    /// A member put entries into its log, from this slot on, in the place of any that were there.
    pub fn appended(
        &mut self,
        node: NodeId,
        at: Time,
        first: Slot,
        entries: impl Iterator<Item = LoggedEntry>,
        by: Word,
    ) {
        self.freeze(node, at);
        let Some(offset) = self.question.and_then(|question| question.slot.0.checked_sub(first.0)) else { return };
        if let Some(entry) = usize::try_from(offset).ok().and_then(|offset| entries.into_iter().nth(offset)) {
            self.slot.entry(node).or_default().note_entry(at, entry, by);
        }
    }

    /// A member took everything from this slot on out of its log.
    pub fn cut_back(&mut self, node: NodeId, at: Time, from: Slot, by: Word) {
        self.freeze(node, at);
        if self.question.is_some_and(|question| question.slot >= from) {
            self.slot.entry(node).or_default().note_cut(at, by);
        }
    }

    /// Something came from a peer.
    pub fn heard(&mut self, node: NodeId, from: NodeId, at: Time) {
        self.freeze(node, at);
        if let Some(present) = self.present.get_mut(&node) {
            present.heard.insert(from, at);
        }
    }

    /// A durable write was handed to a disk.
    pub fn write_begun(&mut self, node: NodeId, lane: &'static str, write: u64, bytes: u64, at: Time) {
        self.freeze(node, at);
        self.stalls.write_begun(node, lane, write, bytes, at);
        if lane == "journal"
            && let Some(present) = self.present.get_mut(&node)
        {
            present.journal.insert(write, (at, bytes));
        }
    }

    /// It completed.
    pub fn write_done(&mut self, node: NodeId, lane: &'static str, write: u64, at: Time) {
        self.freeze(node, at);
        self.stalls.write_done(node, lane, write, at);
        if lane == "journal"
            && let Some(present) = self.present.get_mut(&node)
        {
            present.journal.remove(&write);
        }
    }

    /// Nothing at all happened in a member from one moment to another, though a timer was due in between.
    pub fn stood_still(&mut self, node: NodeId, from: Time, to: Time) {
        self.stalls.stood_still(node, from, to);
    }

    /// Clients asked and were answered.
    pub fn clients(&mut self, node: NodeId, more: Clients) {
        let clients = self.clients.entry(node).or_default();
        clients.writes += more.writes;
        clients.reads += more.reads;
        clients.answered += more.answered;
        clients.refused += more.refused;
    }

    /// Who led, in order of time; a reign that is not over in the recording ends with it.
    #[must_use]
    pub fn reigns(&self) -> Vec<Reign> {
        let mut reigns = self.reigns.clone();
        reigns.sort_by_key(|reign| (reign.from, reign.node));
        reigns
    }

    /// The lives told, in order of time.
    #[must_use]
    pub fn lives(&self) -> Vec<&LifeSpan> {
        let mut lives: Vec<_> = self.lives.iter().collect();
        lives.sort_by_key(|life| (life.from, life.node));
        lives
    }

    /// What is told of the window, in order of time.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        let mut told = self.timeline.within(self.window);
        let is_told = |stall: &Stall| match stall.kind {
            StallKind::StoodStill => true,
            StallKind::Write { .. } => stall.duration() >= LONG_WRITE,
            StallKind::NobodyLed | StallKind::Commit { .. } => false,
        };
        for stall in self.stalls(usize::MAX).iter().filter(|stall| is_told(stall)) {
            let words = format!("{}, for {}", self.stall_words(stall), wall::brief(stall.duration()));
            let (at, node) = (stall.from, stall.node);
            told.push(Told { at, node, mark: '*', words, times: 1, until: at, event: None });
        }
        told.sort_by_key(|told| told.at);
        told
    }

    /// The longest waits of the window, longest first, at most `most`.
    #[must_use]
    pub fn stalls(&self, most: usize) -> Vec<Stall> {
        self.stalls.longest(&self.reigns(), &self.lives, self.window, most)
    }

    /// Slots behind which members had different states.
    #[must_use]
    pub fn disagreements(&self) -> &BTreeSet<Slot> {
        &self.disagreements
    }

    /// What a member's clients asked.
    #[must_use]
    pub fn clients_of(&self, node: NodeId) -> Clients {
        self.clients.get(&node).copied().unwrap_or_default()
    }

    /// A member as people know it.
    #[must_use]
    pub fn name_of(&self, node: NodeId) -> String {
        self.names.get(&node).cloned().unwrap_or_else(|| node.to_string())
    }

    /// Sentences name members by their ids; people by their names.
    #[must_use]
    pub fn with_names(&self, words: &str) -> String {
        // Small ids are made by hand, and a word may contain them.
        let known = self.names.iter().filter(|(node, _)| node.0 >= 10_000);
        known.fold(words.to_owned(), |words, (node, name)| words.replace(&node.to_string(), name))
    }

    fn tell(&mut self, happening: &Happening, is_routine: bool) {
        let is_inside = happening.at >= self.window.0 && happening.at <= self.window.1;
        if is_inside && !is_routine {
            self.timeline.tell(happening);
        }
    }

    fn just_said(&self, node: NodeId, at: Time) -> String {
        let said = self.present.get(&node).and_then(|present| present.last_said.as_ref());
        let just = said.filter(|(said_at, _)| at.0.saturating_sub(said_at.0) <= SAME_MOMENT_NS);
        just.map(|(_, words)| words.clone()).unwrap_or_default()
    }

    fn end_reign(&mut self, node: NodeId, at: Time, ended: String) {
        let open = self.reigns.iter_mut().rev().find(|reign| reign.node == node && reign.to == Time(u64::MAX));
        if let Some(reign) = open {
            (reign.to, reign.ended) = (at, ended);
        }
    }

    /// The state of a member at a time is the one before anything later is told of it.
    fn freeze(&mut self, node: NodeId, at: Time) {
        let present = self.present.get(&node);
        if at > self.window.1 && !self.closing.contains_key(&node) {
            self.closing.insert(node, present.cloned().unwrap_or_default());
        }
        let asked_at = self.question.and_then(|question| question.at);
        if asked_at.is_some_and(|asked_at| at > asked_at) && !self.asked.contains_key(&node) {
            self.asked.insert(node, present.cloned().unwrap_or_default());
        }
        if let Some(present) = self.present.get_mut(&node) {
            present.seen = present.seen.max(at);
        }
    }

    fn note_decision(&mut self, node: NodeId, at: Time, event: &Event) {
        let Some(question) = self.question else { return };
        let slot = match event.value("slot") {
            Some(quorate_protocol::Value::Slot(slot)) => *slot,
            _ => return,
        };
        if slot >= question.slot {
            self.slot.entry(node).or_default().decided.get_or_insert_with(|| (at, event.clone()));
        }
    }

    fn compare_digest(&mut self, node: NodeId, slot: Slot, digest: u64) {
        match self.digests.get(&slot) {
            Some((other, known)) if *known != digest && *other != node => {
                self.disagreements.insert(slot);
            }
            Some(_) => {}
            None => {
                self.digests.insert(slot, (node, digest));
            }
        }
    }
}
