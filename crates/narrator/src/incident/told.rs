//! The timeline of an incident.

use crate::happening::{Happening, What};
use crate::sentence::sentence;
use crate::story::plain_words;
use quorate_protocol::{Event, Verdict};
use quorate_types::{NodeId, Time};
use std::collections::BTreeMap;

/// The same, said again within this time, is told once.
const REPETITION_NS: u64 = 2_000_000_000;

/// One line of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: Time,
    /// By whom or of whom.
    pub node: Option<NodeId>,
    /// `+` allowed, `-` refused, `~` waiting, `*` anything else.
    pub mark: char,
    /// What, with ids.
    pub words: String,
    /// How often in a row.
    pub times: u64,
    /// When the last time.
    pub until: Time,
    /// The guard behind it, if it is one.
    pub event: Option<Event>,
}

/// Everything told, as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    told: Vec<Told>,
    /// Where what each node said lately stands.
    lately: BTreeMap<(Option<NodeId>, String), usize>,
}

impl Timeline {
    pub(crate) fn tell(&mut self, happening: &Happening) {
        let node = happening.node;
        let (mark, words, event) = match &happening.what {
            What::Guard(event) => {
                (mark_of(event.verdict), sentence(node.unwrap_or_default(), event), Some(event.clone()))
            }
            What::Note { text } => ('*', text.clone(), None),
            what => ('*', plain_words(node, what), None),
        };
        let key = (node, words);
        if let Some(at) = self.lately.get(&key)
            && let Some(told) = self.told.get_mut(*at)
            && happening.at.0.saturating_sub(told.until.0) <= REPETITION_NS
            && happening.at >= told.until
        {
            told.times += 1;
            told.until = happening.at;
            return;
        }
        let (at, words) = (happening.at, key.1.clone());
        self.lately.insert(key, self.told.len());
        self.told.push(Told { at, node, mark, words, times: 1, until: at, event });
    }

    pub(crate) fn within(&self, window: (Time, Time)) -> Vec<Told> {
        self.told.iter().filter(|told| told.at >= window.0 && told.at <= window.1).cloned().collect()
    }
}

fn mark_of(verdict: Verdict) -> char {
    match verdict {
        Verdict::Allowed => '+',
        Verdict::Refused => '-',
        Verdict::Waiting => '~',
    }
}
