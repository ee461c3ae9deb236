//! The rules this protocol reports, in words. "Zab" is *Zab: High-performance broadcast for primary-backup systems* (2011), "Zab 1.0" the
//! description that followed it, "theory and practice" *ZooKeeper's atomic broadcast protocol: Theory and practice* (2012).

use quorate_protocol::Rule;

const fn rule(
    id: &'static str,
    source: &'static str,
    allowed: &'static str,
    refused: &'static str,
    waiting: &'static str,
) -> Rule {
    Rule { id, source, allowed, refused, waiting }
}

/// Rule 1.
pub static LOOK: Rule =
    rule("zab.look", "theory and practice, 4.1", "{me} looks for a leader, in round {round}: {why}", "", "");
/// Rule 2.
pub static VOTE: Rule = rule(
    "zab.vote",
    "theory and practice, 4.1",
    "{me} votes for {candidate} of epoch {epoch} with a history up to {zxid}, in round {round}: {why}",
    "{me} answers {from} with its own vote: that is of round {theirs}, and this is {round}",
    "",
);
/// Rule 3.
pub static FINALIZE: Rule = rule(
    "zab.finalize",
    "theory and practice, 4.1",
    "{me} takes {candidate} for elected by {votes} in round {round}",
    "",
    "{me} waits a little for a better vote than that of {votes} for {candidate}",
);
/// Rule 4.
pub static JOIN: Rule = rule(
    "zab.join",
    "theory and practice, 4.1",
    "{me} joins {leader}, which leads since round {round}, with {votes}",
    "",
    "{me} hears that {leader} leads since round {round}, and waits: only {votes} would follow, or itself does not say so",
);
/// The leader's process is gone.
pub static DEAD_LEADER: Rule =
    rule("zab.dead-leader", "ours", "{me} waits less long for {leader}: its connection is refused", "", "");
/// Rule 5.
pub static CONNECT: Rule = rule(
    "zab.connect",
    "Zab 1.0, phase 1",
    "{me} opens connection {number} with {leader}: it has promised epoch {epoch}, and its history ends with {last}",
    "",
    "",
);
/// A channel that lost something.
pub static RECONNECT: Rule =
    rule("zab.reconnect", "Zab, 2: FIFO channels", "{me} gives up its connection with {leader}: {why}", "", "");
/// Rule 6.
pub static NEW_EPOCH: Rule = rule(
    "zab.new-epoch",
    "Zab 1.0, phase 1",
    "{me} proposes epoch {epoch}, above all that {votes} have promised",
    "",
    "",
);
/// Rule 7.
pub static PROMISE: Rule = rule(
    "zab.promise",
    "Zab 1.0, phase 1",
    "{me} promises {leader} epoch {epoch}",
    "{me} does not follow {leader} into epoch {epoch}: it has promised {promised}",
    "{me} acknowledges epoch {epoch} to {leader}, but that does not count: it has promised it before",
);
/// Rule 8.
pub static ELECTED: Rule = rule(
    "zab.elected",
    "Zab 1.0, phase 1",
    "{me} has epoch {epoch}: {votes} have promised it, and none has a better history",
    "",
    "",
);
/// A leader that is asked to.
pub static HAND_OVER: Rule = rule(
    "zab.hand-over",
    "Project: the heir is given the best history",
    "{me} hands over to {to}, whose history is better than all others'",
    "{me} does not hand over to {to}: {why}",
    "{me} gives {to} a better history than all others have, to hand over to it",
);
/// A leader's end.
pub static RESIGN: Rule = rule("zab.resign", "Zab 1.0", "{me} leads no more: {why}", "", "");
/// Rule 9.
pub static SYNCHRONISE: Rule = rule(
    "zab.synchronise",
    "Zab 1.0, phase 2, on the whole history",
    "{me} brings {peer} from {last} to its own history by {how}",
    "",
    "",
);
/// Rule 9 at the follower.
pub static TRUNCATE: Rule = rule(
    "zab.truncate",
    "Zab 1.0, phase 2",
    "{me} gives up everything behind {last}, which its leader does not have",
    "{me} does not give up what is committed up to {last}",
    "{me} lacks {target}, gives up everything behind {last}, and asks anew",
);
/// Rule 10.
pub static NEW_LEADER: Rule = rule(
    "zab.new-leader",
    "Zab 1.0, phase 2; durable first",
    "{me} has the history of {leader} up to {last}, and takes epoch {epoch} for its own",
    "",
    "",
);
/// Rule 11.
pub static ESTABLISH: Rule = rule(
    "zab.establish",
    "Zab 1.0, phase 2",
    "{me} has established epoch {epoch}: {votes} have its initial history, so everything up to slot {slot} is committed",
    "",
    "",
);
/// Rule 11 at the follower.
pub static UP_TO_DATE: Rule = rule(
    "zab.up-to-date",
    "Zab 1.0, phase 2",
    "{me} is up to date with {leader}: everything up to slot {slot} is committed",
    "",
    "",
);
/// Rule 12.
pub static PROPOSE: Rule =
    rule("zab.propose", "Zab 1.0, phase 3", "{me} proposes {zxid} at slot {slot}", "{me} takes no proposal: {why}", "");
/// Rule 13.
pub static ACCEPT: Rule =
    rule("zab.accept", "Zab 1.0, phase 3", "{me} has the history of epoch {epoch} up to {last}", "", "");
/// Rule 14.
pub static COMMIT: Rule =
    rule("zab.commit", "Zab 1.0, phase 3", "{me} commits everything up to slot {slot}: {votes} have it", "", "");
/// Rule 14 at the follower.
pub static LEARN: Rule = rule(
    "zab.learn",
    "Zab 1.0, phase 3",
    "{me} hears that everything up to slot {slot} is committed",
    "",
    "{me} hears that {last} is committed, which it does not have",
);
/// Rule 15.
pub static DELIVER: Rule = rule(
    "zab.deliver",
    "Zab 1.0, phase 3",
    "{me} hands out everything up to slot {slot}",
    "",
    "{me} holds slot {slot} back, which is committed, until its own disk has it",
);
/// The machine's mark.
pub static APPLIED: Rule = rule("zab.applied", "ours", "", "{me} drops an applied mark at slot {slot}", "");
/// Forgetting.
pub static COMPACT: Rule = rule("zab.compact", "ours", "{me} forgets everything up to slot {slot}: {why}", "", "");
/// A snapshot is described.
pub static SNAPSHOT_VIEW: Rule = rule(
    "zab.snapshot-view",
    "Zab 1.0, phase 2, SNAP",
    "{me} sends {peer} everything up to slot {slot} as a snapshot",
    "{me} does not send {peer} the view of slot {slot}",
    "",
);
/// The end of a transfer.
pub static SNAPSHOT_SENT: Rule = rule(
    "zab.snapshot-sent",
    "ours",
    "{me} hears that {peer} has the snapshot of slot {slot}",
    "",
    "{me} hears that a snapshot did not get to {peer}",
);
/// A snapshot arrived.
pub static SNAPSHOT: Rule = rule(
    "zab.snapshot",
    "Zab 1.0, phase 2, SNAP",
    "{me} takes a snapshot of slot {slot} in place of its history",
    "{me} lets a snapshot of slot {slot} go: {why}",
    "",
);
/// The machine has it.
pub static INSTALLED: Rule = rule("zab.installed", "ours", "{me} goes on behind slot {slot}", "", "");
/// Reads.
pub static READ: Rule = rule(
    "zab.read",
    "Zab 1.0, sync, confirmed",
    "{me} releases read {token} at slot {slot}: {votes} follow it still, since it came",
    "{me} refuses read {token}: {why}",
    "{me} holds read {token}: {why}",
);
/// Reading at a follower.
pub static READ_FORWARD: Rule = rule(
    "zab.read-forward",
    "Zab 1.0, sync",
    "{me} may read {token} at slot {slot}, says {leader}",
    "{me} drops an answer to read {token}: {why}",
    "{me} asks {leader} as of which slot it may read {token}",
);
/// Messages that mean nothing.
pub static STALE: Rule = rule("zab.stale", "Zab 1.0", "", "{me} drops a {kind} from {from}: {why}", "");

/// Every rule, for whoever lists them.
pub static ALL: &[&Rule] = &[
    &LOOK,
    &VOTE,
    &FINALIZE,
    &JOIN,
    &DEAD_LEADER,
    &CONNECT,
    &RECONNECT,
    &NEW_EPOCH,
    &PROMISE,
    &ELECTED,
    &HAND_OVER,
    &RESIGN,
    &SYNCHRONISE,
    &TRUNCATE,
    &NEW_LEADER,
    &ESTABLISH,
    &UP_TO_DATE,
    &PROPOSE,
    &ACCEPT,
    &COMMIT,
    &LEARN,
    &DELIVER,
    &APPLIED,
    &COMPACT,
    &SNAPSHOT_VIEW,
    &SNAPSHOT_SENT,
    &SNAPSHOT,
    &INSTALLED,
    &READ,
    &READ_FORWARD,
    &STALE,
];
