//! The rules this mechanism reports, in words.

use quorate_protocol::Rule;

const SOURCE: &str = "Reconfiguring a State Machine (2010), 5; stop-sign succession";

/// A configuration ends.
pub static CLOSE: Rule = Rule {
    id: "succession.close",
    source: SOURCE,
    allowed: "{me} decides at slot {slot} that configuration {configuration} ends: nothing above that slot counts in it",
    refused: "",
    waiting: "",
};

/// A configuration begins here.
pub static OPEN: Rule = Rule {
    id: "succession.open",
    source: SOURCE,
    allowed: "{me} opens configuration {configuration} behind slot {slot}, as a fresh replica",
    refused: "{me} does not open configuration {configuration}, of which it is no member",
    waiting: "",
};

/// Members hear that their configuration is closed.
pub static TELL: Rule = Rule {
    id: "succession.tell",
    source: SOURCE,
    allowed: "{me} need not tell of configuration {configuration} any more: {votes} have it durably",
    refused: "",
    waiting: "{me} tells {peers} that configuration {configuration} is open, until a quorum has it durably",
};

/// Messages of another configuration.
pub static CONFIGURATION: Rule = Rule {
    id: "succession.configuration",
    source: SOURCE,
    allowed: "",
    refused: "{me} answers a {kind} of configuration {theirs} from {from} with: that is closed, {configuration} is open",
    waiting: "{me} does not look at a {kind} of configuration {theirs} from {from}: it has not got beyond {configuration}",
};

/// Getting to a configuration that others opened.
pub static FETCH: Rule = Rule {
    id: "succession.fetch",
    source: SOURCE,
    allowed: "{me} asks {from} for a snapshot that reaches configuration {theirs}",
    refused: "{me} is told that configuration {theirs} is open, and drops that: {why}",
    waiting: "{me} is told that configuration {theirs} is open, and looks first whether its own log says so",
};

/// Serving a snapshot to who is to get there.
pub static SERVE: Rule = Rule {
    id: "succession.serve",
    source: SOURCE,
    allowed: "{me} sends {peer} everything up to slot {slot}, in configuration {configuration}",
    refused: "{me} sends {peer} no snapshot: {why}",
    waiting: "",
};

/// A snapshot of a later configuration arrived.
pub static JUMP: Rule = Rule {
    id: "succession.jump",
    source: SOURCE,
    allowed: "{me} leaves configuration {configuration} behind and takes up {theirs} with a snapshot of slot {slot}",
    refused: "{me} lets a snapshot of configuration {theirs} go: {why}",
    waiting: "",
};

/// A wish for other members.
pub static RECONFIGURE: Rule = Rule {
    id: "succession.reconfigure",
    source: SOURCE,
    allowed: "{me} proposes the stop-sign of configuration {configuration}",
    refused: "{me} refuses to change the members: {why}",
    waiting: "",
};

/// Learners that caught up become voters.
pub static PROMOTE: Rule = Rule {
    id: "succession.promote",
    source: SOURCE,
    allowed: "{me} makes voters of {peers}, which keep up",
    refused: "",
    waiting: "{me} wants to make voters of {peers}, and waits: {why}",
};

/// The end of a node that left.
pub static RETIRE: Rule = Rule {
    id: "succession.retire",
    source: SOURCE,
    allowed: "{me} retires: it is no member of configuration {configuration}, and is not needed to serve it",
    refused: "",
    waiting: "{me} is no member of configuration {configuration}, and waits until a quorum of that has it durably",
};

/// Input that means nothing here.
pub static STALE: Rule =
    Rule { id: "succession.stale", source: SOURCE, allowed: "", refused: "{me} drops a {kind}: {why}", waiting: "" };

/// Every rule, for whoever lists them.
pub static ALL: &[&Rule] =
    &[&CLOSE, &OPEN, &TELL, &CONFIGURATION, &FETCH, &SERVE, &JUMP, &RECONFIGURE, &PROMOTE, &RETIRE, &STALE];
