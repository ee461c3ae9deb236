//! The rules this protocol reports, in words.

use bytes::Bytes;
use quorate_protocol::Rule;

/// Rule 1: a new ballot.
pub static BALLOT: Rule = Rule {
    id: "paxos.ballot",
    source: "Paxos Made Simple (2001) §2.2, phase 1a; §2.5",
    allowed: "{me} starts ballot {ballot}, above its last round {last_round} and the highest round seen, {highest}; \
              the round must be durable before anyone is asked",
    refused: "{me} cannot start a ballot: {why}",
    waiting: "{me} starts no ballot yet: {why}",
};

/// Rule 2: an acceptor's promise.
pub static PROMISE: Rule = Rule {
    id: "paxos.promise",
    source: "Paxos Made Simple (2001) §2.2, phase 1b",
    allowed: "{me} promises ballot {ballot} to {proposer} (promised so far: {promised}) and reports {accepted}",
    refused: "{me} does not promise ballot {ballot} to {proposer}: it has promised {promised}",
    waiting: "",
};

/// Rule 3: which value a ballot gets.
pub static VALUE: Rule = Rule {
    id: "paxos.value",
    source: "Paxos Made Simple (2001) §2.2, phase 2a (P2c)",
    allowed: "{me} proposes {value} at ballot {ballot}: {why}. The promises of {votes} reported: {reports}",
    refused: "{me} proposes nothing at ballot {ballot}: {why}. The promises of {votes} reported: {reports}",
    waiting: "{me} has {have} of {need} promises for ballot {ballot}, from {votes}",
};

/// Rule 4: an acceptor's acceptance.
pub static ACCEPT: Rule = Rule {
    id: "paxos.accept",
    source: "Paxos Made Simple (2001) §2.2, phase 2b; the promise is raised too (erratum)",
    allowed: "{me} accepts {value} at ballot {ballot}; its promise was {promised} and is {ballot} now",
    refused: "{me} does not accept {value} at ballot {ballot}: it has promised {promised}",
    waiting: "",
};

/// Rule 5: when a value is chosen.
pub static CHOSEN: Rule = Rule {
    id: "paxos.chosen",
    source: "Paxos Made Simple (2001) §2.3",
    allowed: "{me} knows that {value} is chosen: {votes} accepted it at ballot {ballot}, {have} where {need} are needed",
    refused: "",
    waiting: "{me} has {have} of {need} acceptances at ballot {ballot}, from {votes}",
};

/// Rule 5: being told.
pub static LEARN: Rule = Rule {
    id: "paxos.learn",
    source: "Paxos Made Simple (2001) §2.3",
    allowed: "{me} is told by {from} that {value} is chosen",
    refused: "{me} is told by {from} that {value} is chosen, but knows that {known} is: agreement is broken",
    waiting: "",
};

/// Rule 5: who knows the decision says so.
pub static ANSWER_DECIDED: Rule = Rule {
    id: "paxos.answer-decided",
    source: "The Part-Time Parliament (1998) §2.3, the announcement of a decree",
    allowed: "{me} answers the {kind} of {proposer} with the decision, {value}",
    refused: "",
    waiting: "",
};

/// Rule 6: giving way.
pub static BACK_OFF: Rule = Rule {
    id: "paxos.back-off",
    source: "Paxos Made Simple (2001) §2.4, progress",
    allowed: "{me} gives ballot {ballot} up: {why}; it tries a higher one in {at_least_ms} to {at_most_ms} ms",
    refused: "",
    waiting: "",
};

/// Taking a proposal from a client.
pub static PROPOSE: Rule = Rule {
    id: "paxos.propose",
    source: "Paxos Made Simple (2001) §2.2",
    allowed: "{me} takes {value} as a proposal",
    refused: "{me} refuses the proposal {value}: {why}",
    waiting: "{me} keeps the proposal {value} behind {before} others: one slot, one value",
};

/// Reading the one slot.
pub static READ: Rule = Rule {
    id: "paxos.read",
    source: "Paxos Made Simple (2001) §2.3: to learn what was chosen, have a proposal issued",
    allowed: "{me} releases read {read} at slot {slot}: {why}",
    refused: "{me} refuses read {read}: {why}",
    waiting: "{me} holds read {read} back: {why}",
};

/// Coming back after a crash, or from nothing.
pub static OPEN: Rule = Rule {
    id: "paxos.open",
    source: "Paxos Made Simple (2001) §2.5, stable storage",
    allowed: "{me} opens: promised {promised}, {accepted}, last round {last_round}, decided: {decided}",
    refused: "",
    waiting: "",
};

/// Asking for the decision.
pub static INQUIRE: Rule = Rule {
    id: "paxos.inquire",
    source: "Paxos Made Simple (2001) §2.3: a lost message may leave learners ignorant",
    allowed: "{me} does not know the decision and {how}",
    refused: "",
    waiting: "",
};

/// Shortening the journal.
pub static COMPACT: Rule = Rule {
    id: "paxos.compact",
    source: "records replace each other; the latest of each kind is enough",
    allowed: "{me} rewrites its {records} records as {baseline}",
    refused: "",
    waiting: "",
};

/// Input that leads to nothing.
pub static DROPPED: Rule = Rule {
    id: "paxos.dropped",
    source: "every handler is idempotent and total",
    allowed: "",
    refused: "{me} drops {what}: {why}",
    waiting: "",
};

/// Every rule, for narrators and documentation.
pub static RULES: &[&Rule] = &[
    &BALLOT,
    &PROMISE,
    &VALUE,
    &ACCEPT,
    &CHOSEN,
    &LEARN,
    &ANSWER_DECIDED,
    &BACK_OFF,
    &PROPOSE,
    &READ,
    &OPEN,
    &INQUIRE,
    &COMPACT,
    &DROPPED,
];

/// How much of a value a sentence shows.
const SHOWN_CHARACTERS: usize = 40;

/// A value as a sentence shows it: what is readable at its end. A value is opaque here, and what a machine puts before a
/// command (session, sequence, lengths) is not readable; the command itself often is.
pub(crate) fn shown(value: &Bytes) -> String {
    let text = String::from_utf8_lossy(value);
    let unreadable = |c: char| c.is_control() || c == '\u{fffd}';
    let readable = text.rfind(unreadable).map_or(&text[..], |at| text[at..].trim_start_matches(unreadable));
    let start: String = readable.chars().take(SHOWN_CHARACTERS).collect();
    if readable.is_empty() || start.len() < readable.len() {
        return format!("\"{start}\"... ({} bytes)", value.len());
    }
    format!("\"{start}\"")
}
