//! The incident as a page for people.

use super::wall::{brief, date, time_of_day};
use super::{Incident, LifeSpan, Stall, StallKind};
use quorate_protocol::era_words;
use quorate_types::{NodeId, Slot, Time};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

/// How many of the longest stalls are shown.
pub(crate) const STALLS_SHOWN: usize = 8;
/// A shorter time without a leader is that of a change or of an end.
const LEADERLESS_LEAST: Duration = Duration::from_millis(20);
/// Columns of the picture of progress.
const COLUMNS: u64 = 60;
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

impl Incident {
    /// The whole page. Writing to a string cannot fail.
    #[must_use]
    pub fn page(&self) -> String {
        let mut out = String::new();
        self.heading(&mut out);
        self.write_answer(&mut out);
        self.members(&mut out);
        self.leadership(&mut out);
        self.progress(&mut out);
        self.write_stalls(&mut out);
        self.peers(&mut out);
        self.write_timeline(&mut out);
        out
    }

    fn span(&self) -> (Time, Time) {
        let from = self.lives.iter().map(|life| life.from).min().unwrap_or_default();
        let to = self.lives.iter().map(|life| life.to).max().unwrap_or_default();
        (from.max(self.window.0), to.min(self.window.1))
    }

    fn heading(&self, out: &mut String) {
        let (from, to) = self.span();
        let (calls, outputs) =
            self.lives.iter().fold((0, 0), |(calls, outputs), life| (calls + life.calls, outputs + life.outputs));
        let _ = writeln!(
            out,
            "{} {} to {} UTC ({})",
            date(from),
            time_of_day(from),
            time_of_day(to),
            brief(to.since(from))
        );
        let until = match self.lives.iter().filter(|life| !life.is_whole).count() {
            0 => String::new(),
            stopped => format!(", up to where the replay of {stopped} of {} recordings had to stop", self.lives.len()),
        };
        let _ = writeln!(out, "replayed {calls} calls: all {outputs} outputs as recorded{until}");
        for slot in &self.disagreements {
            let _ = writeln!(out, "!! MEMBERS HAVE DIFFERENT STATES behind slot {slot}");
        }
    }

    fn write_answer(&self, out: &mut String) {
        let (Some(question), Some(answer)) = (self.question, self.answer()) else { return };
        let asked = match question.at {
            Some(at) => format!("Why was slot {} not committed at {}?", question.slot, time_of_day(at)),
            None => format!("What became of slot {}?", question.slot),
        };
        let _ = writeln!(out, "\n{asked}\n  {}", answer.short);
        for line in &answer.because {
            let _ = writeln!(out, "    {line}");
        }
        for (at, line) in answer.then.iter().enumerate() {
            let _ = writeln!(out, "  {} {line}", if at == 0 { "then" } else { "    " });
        }
    }

    fn members(&self, out: &mut String) {
        let _ = writeln!(out, "\nMembers");
        let width = self.name_width();
        for life in self.lives() {
            let LifeSpan { incarnation, end, program, .. } = life;
            let _ = writeln!(
                out,
                "  {:width$}  {} to {}  start {incarnation}, {program}; {end}",
                self.name_of(life.node),
                time_of_day(life.from),
                time_of_day(life.to)
            );
        }
        for (node, clients) in &self.clients {
            let _ = writeln!(
                out,
                "  {:width$}  clients: {} writes and {} reads came, {} were answered, {} refused",
                self.name_of(*node),
                clients.writes,
                clients.reads,
                clients.answered,
                clients.refused
            );
        }
    }

    fn leadership(&self, out: &mut String) {
        let _ = writeln!(out, "\nWho led");
        let (from, to) = self.span();
        let width = self.name_width();
        let mut covered = from;
        let reigns = self.reigns();
        for reign in reigns.iter().filter(|reign| reign.to >= from && reign.from <= to) {
            if reign.from.since(covered) >= LEADERLESS_LEAST {
                let _ = writeln!(
                    out,
                    "  {:width$}  nobody{} for {}",
                    "-",
                    self.among_whom(),
                    brief(reign.from.since(covered))
                );
            }
            let (begin, end) = (reign.from.max(from), reign.to.min(to));
            let _ = writeln!(
                out,
                "  {:width$}  {} to {}  era {}, {}",
                self.name_of(reign.node),
                time_of_day(begin),
                time_of_day(end),
                era_words(reign.era),
                brief(end.since(begin))
            );
            for (words, before) in [(&reign.began, ""), (&reign.ended, "until ")] {
                if !words.is_empty() {
                    let _ = writeln!(out, "  {:width$}    {before}{}", "", self.with_names(words));
                }
            }
            covered = covered.max(end);
        }
        if to.since(covered) >= LEADERLESS_LEAST {
            let _ = writeln!(out, "  {:width$}  nobody{} for {}", "-", self.among_whom(), brief(to.since(covered)));
        }
    }

    /// What is known of who led is what recordings say: voters of which there is none at all may have led.
    pub(crate) fn among_whom(&self) -> String {
        let told = self.present.values().chain(self.closing.values()).filter_map(|present| present.status.as_ref());
        let voters: BTreeSet<NodeId> = told.flat_map(|status| status.membership.voters()).collect();
        let unknown = voters.into_iter().filter(|voter| self.lives.iter().all(|life| life.node != *voter));
        let unknown: Vec<String> = unknown.map(|voter| self.name_of(voter)).collect();
        if unknown.is_empty() {
            return String::new();
        }
        format!(" of those recorded here ({} may have: no recording is here)", unknown.join(", "))
    }

    /// Slots committed over time.
    fn progress(&self, out: &mut String) {
        let (from, to) = self.span();
        let width_ns = (to.0.saturating_sub(from.0) / COLUMNS).max(1);
        let mut commits = self.commits.clone();
        commits.sort();
        let mut known = commits.iter().take_while(|(at, _)| *at < from).map(|(_, slot)| *slot).max();
        let mut columns = vec![0u64; COLUMNS as usize];
        for (at, slot) in commits.iter().filter(|(at, _)| *at >= from && *at <= to) {
            let before = *known.get_or_insert(*slot);
            if *slot > before {
                let column = ((at.0 - from.0) / width_ns).min(COLUMNS - 1) as usize;
                columns[column] += slot.0 - before.0;
                known = Some(*slot);
            }
        }
        let total: u64 = columns.iter().sum();
        let most = columns.iter().copied().max().unwrap_or(0).max(1);
        let level = |count: &u64| match count {
            0 => LEVELS[0],
            count => LEVELS[1 + usize::try_from(count * 7 / most).unwrap_or(7)],
        };
        let picture: String = columns.iter().map(level).collect();
        let last = known.unwrap_or(Slot::ZERO);
        let each = brief(Duration::from_nanos(width_ns));
        let _ = writeln!(
            out,
            "\nCommitted: {total} slots, up to slot {last}; each column is {each}, the highest {most} slots"
        );
        let _ = writeln!(out, "  |{picture}|");
    }

    fn write_stalls(&self, out: &mut String) {
        let stalls = self.stalls(STALLS_SHOWN);
        if stalls.is_empty() {
            let _ = writeln!(out, "\nNothing waited for long.");
            return;
        }
        let _ = writeln!(out, "\nLongest waits");
        for stall in stalls {
            let _ = writeln!(
                out,
                "  {:>9}  {} to {}  {}",
                brief(stall.duration()),
                time_of_day(stall.from),
                time_of_day(stall.to),
                self.stall_words(&stall)
            );
        }
    }

    /// A wait in words.
    #[must_use]
    pub fn stall_words(&self, stall: &Stall) -> String {
        let who = stall.node.map_or_else(|| "the cluster".to_owned(), |node| self.name_of(node));
        match &stall.kind {
            StallKind::NobodyLed => format!("nobody led{}", self.among_whom()),
            StallKind::Commit { first, last, committed } => {
                let slots = if first == last { format!("slot {first}") } else { format!("slots {first} to {last}") };
                match committed {
                    true => format!("{who} had {slots} in its log before that was committed"),
                    false => format!("{who} had {slots} in its log, and led no longer before that was committed"),
                }
            }
            StallKind::Write { lane, bytes, completed: true } => format!("{who}'s {lane}: a write of {bytes} bytes"),
            StallKind::Write { lane, bytes, completed: false } => {
                format!("{who}'s {lane}: a write of {bytes} bytes that did not complete")
            }
            StallKind::StoodStill => {
                format!("{who}'s process did nothing, though a timer was due: suspended or starved, or its host was")
            }
        }
    }

    /// Each leader's last view of its peers.
    fn peers(&self, out: &mut String) {
        let width = self.name_width();
        for (node, last) in &self.present {
            let present = self.closing.get(node).unwrap_or(last);
            let Some(status) = present.status.as_ref().filter(|status| !status.peers.is_empty()) else { continue };
            let _ = writeln!(
                out,
                "\nPeers as {} saw them last, its log ending at slot {} and committed up to {}",
                self.name_of(*node),
                status.last,
                status.committed
            );
            for peer in &status.peers {
                let behind = status.last.0.saturating_sub(peer.matched.0);
                let heard = match present.heard.get(&peer.id) {
                    Some(at) => format!("last heard at {}", time_of_day(*at)),
                    None => "not heard".to_owned(),
                };
                let lag = if behind == 0 { "up to date".to_owned() } else { format!("{behind} slots behind") };
                let _ = writeln!(
                    out,
                    "  {:width$}  {:9}  durable up to slot {}, {lag}; {heard}",
                    self.name_of(peer.id),
                    peer.state,
                    peer.matched
                );
            }
        }
    }

    fn write_timeline(&self, out: &mut String) {
        let _ = writeln!(out, "\nWhat happened (+ held, - forbidden, ~ had to wait, * the rest)");
        for told in self.told() {
            let _ = write!(out, "  {}  {} {}", time_of_day(told.at), told.mark, self.with_names(&told.words));
            if told.times > 1 {
                let _ = write!(out, "  ({} times until {})", told.times, time_of_day(told.until));
            }
            out.push('\n');
        }
    }

    fn name_width(&self) -> usize {
        let nodes: Vec<NodeId> = self.present.keys().copied().collect();
        nodes.iter().map(|node| self.name_of(*node).chars().count()).max().unwrap_or(1)
    }
}
