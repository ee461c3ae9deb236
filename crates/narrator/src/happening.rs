//! What happened in a run, as data: the transcript that narrations, pictures and trace hashes are made from.

use quorate_protocol::{Event, Value, Verdict};
use quorate_types::{NodeId, Slot, Time};
use std::time::Duration;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When, on the clock of the whole world, which no node can read.
    pub at: Time,
    /// To whom or by whom; `None` for the world as a whole.
    pub node: Option<NodeId>,
    /// What.
    pub what: What,
}

/// Why a message did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The network lost it.
    Chance,
    /// The link was cut, when it left or when it should have arrived.
    Blocked,
    /// A script said so.
    Filtered,
    /// The receiver was not running.
    ReceiverDown,
    /// The receiver was removed, and its sender is not to reach it any more.
    NotReached,
    /// It arrived damaged, and its checksum said so.
    Damaged,
}

impl Loss {
    /// In words that complete "lost, because ...".
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Loss::Chance => "the network lost it",
            Loss::Blocked => "the link is cut",
            Loss::Filtered => "the script says so",
            Loss::ReceiverDown => "the receiver is down",
            Loss::NotReached => "the receiver was removed, and is not to be reached any more",
            Loss::Damaged => "it arrived damaged",
        }
    }
}

/// How a client's call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// With a reply.
    Answered,
    /// It had no effect and never will.
    Refused,
    /// It may or may not take effect, now or later.
    Unknown,
}

/// Everything that can happen in a simulated world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The node's protocol granted, refused, advanced or held something back.
    Guard(Event),
    /// The node handed a message to the network.
    MessageSent {
        /// Receiver.
        to: NodeId,
        /// What the protocol calls it.
        kind: &'static str,
        /// Names this message; copies share the number.
        flight: u64,
        /// Its size.
        bytes: u64,
    },
    /// The network will deliver a second copy of a message that the node sent.
    MessageRepeated {
        /// Receiver.
        to: NodeId,
        /// What the protocol calls it.
        kind: &'static str,
        /// Names the message.
        flight: u64,
    },
    /// A script holds a message back that the node sent.
    MessageHeld {
        /// Receiver.
        to: NodeId,
        /// What the protocol calls it.
        kind: &'static str,
        /// Names the message.
        flight: u64,
    },
    /// A message reached the node.
    MessageDelivered {
        /// Sender.
        from: NodeId,
        /// What the protocol calls it.
        kind: &'static str,
        /// Names the message.
        flight: u64,
    },
    /// A message that the node sent will not arrive.
    MessageLost {
        /// Receiver.
        to: NodeId,
        /// What the protocol calls it.
        kind: &'static str,
        /// Names the message.
        flight: u64,
        /// Why.
        why: Loss,
    },
    /// A timer of the node reached its deadline.
    TimerFired {
        /// Which.
        timer: &'static str,
    },
    /// A durable write of the node completed.
    WriteDurable {
        /// `journal` or `store`.
        lane: &'static str,
        /// Which write.
        write: u64,
    },
    /// The node's disk completes nothing until released.
    DiskHeld,
    /// The node's disk works again.
    DiskReleased,
    /// The node's disk failed an operation.
    DiskFailed {
        /// In words.
        why: String,
    },
    /// The node crashed: its memory is gone, and so may be everything that was not flushed.
    Crashed {
        /// Written bytes that were not flushed.
        unsynced_bytes: u64,
        /// Files created, renamed or removed whose directory was not flushed.
        unsynced_names: u64,
        /// Whether it crashed while it was still recovering.
        recovering: bool,
    },
    /// The node started, as this incarnation, from what its disks held.
    Started {
        /// How often its journal was opened, this time included.
        incarnation: u64,
        /// The slot its stored state had reached.
        applied: Slot,
    },
    /// The node refused to start.
    StartRefused {
        /// In its words.
        why: String,
    },
    /// The node stopped itself.
    Stopped {
        /// In its words.
        why: String,
    },
    /// The node's process is suspended; its clock runs on.
    Paused {
        /// For how long; `None` until resumed.
        duration: Option<Duration>,
    },
    /// The node's process goes on.
    Resumed,
    /// Messages from one node to another are lost from now on.
    LinkBlocked {
        /// Sender.
        from: NodeId,
        /// Receiver.
        to: NodeId,
    },
    /// Messages from one node to another pass again.
    LinkOpened {
        /// Sender.
        from: NodeId,
        /// Receiver.
        to: NodeId,
    },
    /// Only nodes of one group reach each other from now on.
    Partitioned {
        /// The groups.
        groups: Vec<Vec<NodeId>>,
    },
    /// All links pass again.
    Healed,
    /// What the node believes about leadership changed.
    Lead {
        /// Term, ballot, view or epoch.
        era: u64,
        /// The leader, if it knows one.
        who: Option<NodeId>,
        /// Whether the node takes proposals itself.
        ready: bool,
    },
    /// The node knows of a membership.
    Members {
        /// All members, ascending.
        members: Vec<NodeId>,
    },
    /// The node applied a slot.
    Applied {
        /// Which.
        slot: Slot,
        /// The rolling hash of its state behind that slot.
        digest: u64,
        /// Whether no node had applied it before.
        first: bool,
    },
    /// A client called the node.
    ClientCall {
        /// Names the call.
        operation: u64,
        /// What it asks, in words.
        request: String,
    },
    /// A client's call ended.
    ClientReturn {
        /// Names the call.
        operation: u64,
        /// How.
        ending: Ending,
        /// The reply or the reason, in words.
        answer: String,
    },
    /// A remark of whoever runs the world.
    Note {
        /// The remark.
        text: String,
    },
    /// A promise was broken.
    Violated {
        /// Which property.
        property: &'static str,
        /// With which values.
        detail: String,
    },
}

impl Happening {
    /// Appends one representation that depends on nothing but this value: what trace hashes are computed over. It is
    /// not meant to be decoded.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        number(self.at.0, out);
        number(self.node.map_or(0, |node| node.0 + 1), out);
        self.what.write_canonical(out);
    }
}

impl What {
    /// Every kind has a number of its own, so that no two kinds share a representation.
    fn write_canonical(&self, out: &mut Vec<u8>) {
        match self {
            What::Guard(event) => {
                out.push(1);
                write_event(event, out);
            }
            What::MessageSent { to, kind, flight, bytes } => {
                message(2, *to, kind, *flight, out);
                number(*bytes, out);
            }
            What::MessageRepeated { to, kind, flight } => message(3, *to, kind, *flight, out),
            What::MessageHeld { to, kind, flight } => message(4, *to, kind, *flight, out),
            What::MessageDelivered { from, kind, flight } => message(5, *from, kind, *flight, out),
            What::MessageLost { to, kind, flight, why } => {
                message(6, *to, kind, *flight, out);
                out.push(*why as u8);
            }
            What::TimerFired { timer } => tagged_text(7, timer, out),
            What::WriteDurable { lane, write } => {
                tagged_text(8, lane, out);
                number(*write, out);
            }
            What::DiskHeld => out.push(9),
            What::DiskReleased => out.push(10),
            What::DiskFailed { why } => tagged_text(11, why, out),
            What::Crashed { unsynced_bytes, unsynced_names, recovering } => {
                tagged_numbers(12, &[*unsynced_bytes, *unsynced_names, u64::from(*recovering)], out);
            }
            What::Started { incarnation, applied } => tagged_numbers(13, &[*incarnation, applied.0], out),
            What::StartRefused { why } => tagged_text(14, why, out),
            What::Stopped { why } => tagged_text(15, why, out),
            What::Paused { duration } => {
                let nanos = duration.map_or(u128::MAX, |duration| duration.as_nanos());
                tagged_numbers(16, &[u64::try_from(nanos).unwrap_or(u64::MAX)], out);
            }
            What::Resumed => out.push(17),
            What::LinkBlocked { from, to } => tagged_numbers(18, &[from.0, to.0], out),
            What::LinkOpened { from, to } => tagged_numbers(19, &[from.0, to.0], out),
            What::Partitioned { groups } => {
                tagged_numbers(20, &[groups.len() as u64], out);
                for group in groups {
                    nodes(group, out);
                }
            }
            What::Healed => out.push(21),
            What::Lead { era, who, ready } => {
                tagged_numbers(22, &[*era, who.map_or(0, |who| who.0 + 1), u64::from(*ready)], out);
            }
            What::Members { members } => {
                out.push(23);
                nodes(members, out);
            }
            What::Applied { slot, digest, first } => tagged_numbers(24, &[slot.0, *digest, u64::from(*first)], out),
            What::ClientCall { operation, request } => {
                tagged_text(25, request, out);
                number(*operation, out);
            }
            What::ClientReturn { operation, ending, answer } => {
                tagged_text(26, answer, out);
                number(*operation, out);
                out.push(*ending as u8);
            }
            What::Note { text: remark } => tagged_text(27, remark, out),
            What::Violated { property, detail } => {
                tagged_text(28, property, out);
                text(detail, out);
            }
        }
    }
}

fn write_event(event: &Event, out: &mut Vec<u8>) {
    text(event.rule.id, out);
    out.push(match event.verdict {
        Verdict::Allowed => 0,
        Verdict::Refused => 1,
        Verdict::Waiting => 2,
    });
    number(event.values.len() as u64, out);
    for (name, value) in &event.values {
        text(name, out);
        match value {
            Value::Number(value) => tagged_numbers(0, &[*value], out),
            Value::Node(node) => tagged_numbers(1, &[node.0], out),
            Value::Slot(slot) => tagged_numbers(2, &[slot.0], out),
            Value::Nodes(several) => {
                out.push(3);
                nodes(several, out);
            }
            Value::Text(words) => tagged_text(4, words, out),
        }
    }
    nodes(&event.votes, out);
}

fn message(tag: u8, peer: NodeId, kind: &str, flight: u64, out: &mut Vec<u8>) {
    tagged_text(tag, kind, out);
    number(peer.0, out);
    number(flight, out);
}

fn tagged_numbers(tag: u8, numbers: &[u64], out: &mut Vec<u8>) {
    out.push(tag);
    for value in numbers {
        number(*value, out);
    }
}

fn tagged_text(tag: u8, words: &str, out: &mut Vec<u8>) {
    out.push(tag);
    text(words, out);
}

fn nodes(nodes: &[NodeId], out: &mut Vec<u8>) {
    number(nodes.len() as u64, out);
    for node in nodes {
        number(node.0, out);
    }
}

fn text(words: &str, out: &mut Vec<u8>) {
    number(words.len() as u64, out);
    out.extend_from_slice(words.as_bytes());
}

fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(what: What) -> Vec<u8> {
        let mut out = Vec::new();
        Happening { at: Time(1), node: Some(NodeId(2)), what }.write_canonical(&mut out);
        out
    }

    #[test]
    fn what_differs_is_represented_differently() {
        let samples = [
            What::Resumed,
            What::Healed,
            What::LinkBlocked { from: NodeId(1), to: NodeId(2) },
            What::LinkBlocked { from: NodeId(2), to: NodeId(1) },
            What::LinkOpened { from: NodeId(1), to: NodeId(2) },
            What::Paused { duration: None },
            What::Paused { duration: Some(Duration::from_nanos(7)) },
            What::MessageLost { to: NodeId(1), kind: "append", flight: 3, why: Loss::Chance },
            What::MessageLost { to: NodeId(1), kind: "append", flight: 3, why: Loss::Blocked },
            What::Partitioned { groups: vec![vec![NodeId(1)], vec![NodeId(2), NodeId(3)]] },
            What::Partitioned { groups: vec![vec![NodeId(1), NodeId(2)], vec![NodeId(3)]] },
            What::Note { text: "x".into() },
            What::Stopped { why: "x".into() },
        ];
        for (at, one) in samples.iter().enumerate() {
            for other in &samples[at + 1..] {
                assert_ne!(canonical(one.clone()), canonical(other.clone()), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn the_same_is_represented_the_same() {
        let what = What::Applied { slot: Slot(4), digest: 9, first: true };
        assert_eq!(canonical(what.clone()), canonical(what));
    }
}
