//! A whole run as a narrative.

use crate::happening::{Ending, Happening, What};
use crate::sentence::sentence;
use quorate_protocol::{Event, Value, Verdict, era_words};
use quorate_types::NodeId;
use std::fmt::Write;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// Faults, leadership, calls and broken promises.
    Outline,
    /// And every guard that allowed, refused or held something back, repetitions counted.
    Reasons,
    /// And every message, timer and write.
    Everything,
}

/// Turns happenings into lines. A sentence that repeats at once (a leader's commit advancing slot by slot reads differently
/// each time; a heartbeat answered does not) is told once, with a count.
#[derive(Debug)]
pub struct Story {
    detail: Detail,
    sources: bool,
    out: String,
    last: Option<(String, u64)>,
}

impl Story {
    /// An empty story. With `sources`, each guard names the rule of the paper behind it.
    #[must_use]
    pub fn new(detail: Detail, sources: bool) -> Story {
        Story { detail, sources, out: String::new(), last: None }
    }

    /// Tells one happening, if the detail asked for includes it.
    pub fn tell(&mut self, happening: &Happening) {
        if level(&happening.what) > self.detail {
            return;
        }
        let words = match &happening.what {
            What::Guard(event) => self.guard(happening.node.unwrap_or_default(), event),
            what => plain_words(happening.node, what),
        };
        match &mut self.last {
            Some((last, count)) if *last == words => *count += 1,
            _ => {
                self.end_repetition();
                // Writing to a String cannot fail.
                let _ = write!(self.out, "{:>12}  {words}", happening.at.to_string());
                self.last = Some((words, 1));
            }
        }
    }

    /// The story so far.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.end_repetition();
        self.out
    }

    fn end_repetition(&mut self) {
        if let Some((_, count)) = self.last.take() {
            if count > 1 {
                let _ = write!(self.out, "  ({count} times)");
            }
            self.out.push('\n');
        }
    }

    fn guard(&self, me: NodeId, event: &Event) -> String {
        let mark = match event.verdict {
            Verdict::Allowed => '+',
            Verdict::Refused => '-',
            Verdict::Waiting => '~',
        };
        let words = sentence(me, event);
        if self.sources { format!("{mark} {words}  [{}]", event.rule.source) } else { format!("{mark} {words}") }
    }
}

fn level(what: &What) -> Detail {
    match what {
        What::Guard(_) => Detail::Reasons,
        What::MessageSent { .. }
        | What::MessageRepeated { .. }
        | What::MessageDelivered { .. }
        | What::MessageLost { .. }
        | What::TimerFired { .. }
        | What::WriteDurable { .. }
        | What::Members { .. }
        | What::Applied { first: false, .. } => Detail::Everything,
        What::MessageHeld { .. } | What::Applied { .. } => Detail::Reasons,
        _ => Detail::Outline,
    }
}

pub(crate) fn plain_words(node: Option<NodeId>, what: &What) -> String {
    let me = node.map_or_else(|| "the world".to_owned(), |node| node.to_string());
    match what {
        What::Guard(event) => sentence(node.unwrap_or_default(), event),
        What::MessageSent { .. }
        | What::MessageRepeated { .. }
        | What::MessageHeld { .. }
        | What::MessageDelivered { .. }
        | What::MessageLost { .. } => message_words(&me, what),
        What::TimerFired { timer } => format!("{me}'s {timer} timer fires"),
        What::WriteDurable { lane, write } => format!("{me}: {lane} write {write} is durable"),
        What::DiskHeld => format!("{me}'s disk completes nothing from now on"),
        What::DiskReleased => format!("{me}'s disk works again"),
        What::DiskFailed { why } => format!("{me}'s disk fails: {why}"),
        What::Lead { era, who, ready } => lead_words(&me, node, *era, *who, *ready),
        What::Members { members } => format!("{me} knows the members {}", Value::Nodes(members.clone())),
        What::Applied { slot, first: true, .. } => format!("{me} is the first to apply slot {slot}"),
        What::Applied { slot, .. } => format!("{me} applies slot {slot}"),
        What::ClientCall { operation, request } => format!("client asks {me}: {request}  (call {operation})"),
        What::ClientReturn { operation, ending, answer } => {
            let ended = match ending {
                Ending::Answered => "is answered",
                Ending::Refused => "is refused",
                Ending::Unknown => "ends with its fate unknown",
            };
            format!("call {operation} {ended}: {answer}")
        }
        What::Note { text } => format!("# {text}"),
        What::Violated { property, detail } => format!("!! {property} is violated: {detail}"),
        other => fault_words(&me, other),
    }
}

fn message_words(me: &str, what: &What) -> String {
    match what {
        What::MessageSent { to, kind, flight, .. } => format!("{me} -> {to}  {kind} #{flight}"),
        What::MessageRepeated { to, kind, flight } => format!("{me} -> {to}  {kind} #{flight} will arrive twice"),
        What::MessageHeld { to, kind, flight } => format!("{me} -> {to}  {kind} #{flight} is held back"),
        What::MessageDelivered { from, kind, flight } => format!("{from} => {me}  {kind} #{flight}"),
        What::MessageLost { to, kind, flight, why } => format!("{me} -x {to}  {kind} #{flight}: {}", why.reason()),
        _ => String::new(),
    }
}

fn lead_words(me: &str, node: Option<NodeId>, era: u64, who: Option<NodeId>, ready: bool) -> String {
    let era_in_words = era_words(era);
    match who {
        // Where nobody leads, every node takes proposals.
        Some(leader) if Some(leader) == node && ready && era == 0 => format!("{me} takes proposals"),
        Some(leader) if Some(leader) == node && ready => format!("{me} leads era {era_in_words} and takes proposals"),
        Some(leader) if Some(leader) == node => format!("{me} leads era {era_in_words}, not yet ready"),
        Some(leader) => format!("{me} follows {leader} in era {era_in_words}"),
        None => format!("{me} knows no leader in era {era_in_words}"),
    }
}

fn fault_words(me: &str, what: &What) -> String {
    match what {
        What::Crashed { unsynced_bytes, unsynced_names, recovering } => {
            let when = if *recovering { " while recovering" } else { "" };
            format!("{me} crashes{when} ({unsynced_bytes} bytes and {unsynced_names} file names were not flushed)")
        }
        What::Started { incarnation: 1, .. } => format!("{me} starts for the first time"),
        What::Started { incarnation, applied } => {
            format!("{me} starts again (incarnation {incarnation}), its stored state is at slot {applied}")
        }
        What::StartRefused { why } => format!("{me} refuses to start: {why}"),
        What::Stopped { why } => format!("{me} stops itself: {why}"),
        What::Paused { duration: Some(duration) } => format!("{me} is suspended for {duration:?}"),
        What::Paused { duration: None } => format!("{me} is suspended"),
        What::Resumed => format!("{me} goes on"),
        What::LinkBlocked { from, to } => format!("messages from {from} to {to} are lost from now on"),
        What::LinkOpened { from, to } => format!("messages from {from} to {to} pass again"),
        What::Partitioned { groups } => {
            let groups: Vec<String> = groups.iter().map(|group| Value::Nodes(group.clone()).to_string()).collect();
            format!("the network splits: {}", groups.join("  |  "))
        }
        What::Healed => "the network heals: all links pass".to_owned(),
        other => format!("{me}: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::Rule;
    use quorate_types::{Slot, Time};

    static RULE: Rule = Rule {
        id: "test.commit",
        source: "Paper §2",
        allowed: "{me} commits {slot}",
        refused: "",
        waiting: "{me} holds {slot}: {why}",
    };

    fn at(ms: u64, node: u64, what: What) -> Happening {
        Happening { at: Time(ms * 1_000_000), node: Some(NodeId(node)), what }
    }

    #[test]
    fn repetitions_are_told_once_with_a_count() {
        let waiting = || What::Guard(Event::waiting(&RULE).with("slot", Slot(4)).with("why", "one vote is missing"));
        let mut story = Story::new(Detail::Reasons, true);
        story.tell(&at(1, 1, waiting()));
        story.tell(&at(2, 1, waiting()));
        story.tell(&at(3, 1, What::Guard(Event::allowed(&RULE).with("slot", Slot(4)))));
        assert_eq!(
            story.finish(),
            "    1.000 ms  ~ n1 holds 4: one vote is missing  [Paper §2]  (2 times)\n    3.000 ms  + n1 commits 4  [Paper §2]\n"
        );
    }

    #[test]
    fn an_outline_leaves_guards_and_messages_out() {
        let mut story = Story::new(Detail::Outline, false);
        story.tell(&at(1, 1, What::Guard(Event::allowed(&RULE).with("slot", Slot(4)))));
        story.tell(&at(1, 1, What::MessageSent { to: NodeId(2), kind: "append", flight: 1, bytes: 10 }));
        story.tell(&at(2, 1, What::Lead { era: 3, who: Some(NodeId(1)), ready: true }));
        assert_eq!(story.finish(), "    2.000 ms  n1 leads era 3 and takes proposals\n");
    }
}
