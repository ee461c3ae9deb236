//! The rules this protocol reports, in words. "PMS" is *Paxos Made Simple* (2001), "PMMC" *Paxos Made Moderately Complex* (2015).

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

/// Standing in a new ballot.
pub static CAMPAIGN: Rule = rule(
    "multi-paxos.campaign",
    "PMS 3; PMMC 2",
    "{me} stands in ballot {ballot} and asks what was accepted from slot {slot} on",
    "{me} does not stand: {why}",
    "",
);
/// Phase 1b.
pub static PROMISE: Rule = rule(
    "multi-paxos.promise",
    "PMS 2.2, phase 1b",
    "{me} promises {candidate} ballot {ballot} and reports {count} acceptances from slot {slot} on",
    "{me} refuses {candidate} ballot {ballot}: it has promised {promised}",
    "",
);
/// The end of phase 1.
pub static ELECTION: Rule = rule(
    "multi-paxos.election",
    "PMS 2.2, phase 2a; PMS 3",
    "{me} leads in ballot {ballot} on the promises of {votes}, and proposes again the {count} slots that \
     they found, from slot {slot} on",
    "{me} does not lead: {peer} no longer keeps what lies up to slot {slot}, and a snapshot must come first",
    "{me} does not count the promise of {peer} yet: what it accepted from slot {slot} on is still to come",
);
/// A leader's end.
pub static STEP_DOWN: Rule =
    rule("multi-paxos.step-down", "PMMC 2", "{me} leads no more: {why}; what its phase 1 found is forgotten", "", "");
/// The leader's process is gone.
pub static DEAD_LEADER: Rule = rule(
    "multi-paxos.dead-leader",
    "ours",
    "{me} waits less long before it stands: the connection to {leader} is refused",
    "",
    "",
);
/// Phase 2a.
pub static PROPOSE: Rule = rule(
    "multi-paxos.propose",
    "PMS 2.2, phase 2a",
    "{me} proposes slot {slot} in ballot {ballot}",
    "{me} takes no proposal: {why}",
    "",
);
/// Phase 2b.
pub static ACCEPT: Rule = rule(
    "multi-paxos.accept",
    "PMS 2.2, phase 2b",
    "{me} accepts slots up to {slot} from {leader} in ballot {ballot}, and has everything up to {through}",
    "",
    "",
);
/// What a quorum accepted.
pub static CHOSEN: Rule = rule(
    "multi-paxos.chosen",
    "PMS 2.3; Flexible Paxos (2016)",
    "{me} knows everything up to slot {slot} chosen: {votes} have accepted it in one ballot",
    "",
    "",
);
/// What a leader says is chosen.
pub static LEARN: Rule = rule(
    "multi-paxos.learn",
    "PMS 2.3",
    "{me} learns that everything up to slot {slot} is chosen: its own log has that in ballot {ballot}",
    "",
    "{me} does not yet take slot {slot} for chosen: what it has there is not of ballot {ballot}",
);
/// Sent again.
pub static RESEND: Rule = rule(
    "multi-paxos.resend",
    "ours",
    "",
    "",
    "{me} sends {peer} everything from slot {slot} on again: it did not arrive",
);
/// Handed out.
pub static DECIDE: Rule = rule(
    "multi-paxos.decide",
    "PMS 3",
    "{me} hands out everything up to slot {slot}",
    "",
    "{me} holds slot {slot} back, which is chosen, until its own disk has it",
);
/// The machine's mark.
pub static APPLIED: Rule = rule("multi-paxos.applied", "ours", "", "{me} drops an applied mark at slot {slot}", "");
/// Forgetting.
pub static COMPACT: Rule =
    rule("multi-paxos.compact", "PMMC 4.2", "{me} forgets everything up to slot {slot}: {why}", "", "");
/// A snapshot is described.
pub static SNAPSHOT_VIEW: Rule = rule(
    "multi-paxos.snapshot-view",
    "ours",
    "{me} sends {peer} everything up to slot {slot} as a snapshot",
    "{me} does not send {peer} the view of slot {slot}",
    "",
);
/// The end of a transfer.
pub static SNAPSHOT_SENT: Rule = rule(
    "multi-paxos.snapshot-sent",
    "ours",
    "{me} hears that {peer} has the snapshot of slot {slot}",
    "",
    "{me} hears that a snapshot did not get to {peer}",
);
/// A snapshot arrived.
pub static SNAPSHOT: Rule = rule(
    "multi-paxos.snapshot",
    "ours",
    "{me} takes a snapshot of slot {slot}; what it accepted behind that stays",
    "{me} lets a snapshot of slot {slot} go: {why}",
    "",
);
/// The machine has it.
pub static INSTALLED: Rule = rule("multi-paxos.installed", "ours", "{me} goes on behind slot {slot}", "", "");
/// Reads.
pub static READ: Rule = rule(
    "multi-paxos.read",
    "ReadIndex, by ballots",
    "{me} releases read {token} at slot {slot}: {votes} have promised nothing higher since it came",
    "{me} refuses read {token}: {why}",
    "{me} holds read {token}: {why}",
);
/// Reads under a lease.
pub static LEASE: Rule = rule(
    "multi-paxos.lease",
    "Paxos Made Live 5.2",
    "{me} releases read {token} at slot {slot} without a round: {votes}, who answered a round that was sent {age_us} us ago, \
     promise nobody else yet",
    "{me} leads in ballot {ballot} without a lease from now on: somebody else may be asked to stand",
    "",
);
/// What a lease rests on.
pub static GRANT: Rule = rule(
    "multi-paxos.grant",
    "Paxos Made Live 5.2",
    "{me} may promise again: whoever it answered rests no lease on that any more",
    "",
    "{me} does not answer {candidate}, who stands in ballot {ballot}: a leader may rest a lease on what it answered",
);
/// Reading at a follower.
pub static READ_FORWARD: Rule = rule(
    "multi-paxos.read-forward",
    "ReadIndex, by ballots",
    "{me} may read {token} at slot {slot}, says {leader}",
    "{me} drops an answer to read {token}: {why}",
    "{me} asks {leader} as of which slot it may read {token}",
);
/// Leadership handed over.
pub static TRANSFER: Rule = rule(
    "multi-paxos.transfer",
    "ours",
    "{me} asks {to} to stand at once",
    "{me} does not hand over to {to}: {why}",
    "{me} takes no more proposals: {to}, who shall lead, is to have everything",
);
/// Messages that mean nothing.
pub static STALE: Rule = rule("multi-paxos.stale", "PMMC 2", "", "{me} drops a {kind} from {from}: {why}", "");

/// Every rule, for whoever lists them.
pub static ALL: &[&Rule] = &[
    &CAMPAIGN,
    &PROMISE,
    &ELECTION,
    &STEP_DOWN,
    &DEAD_LEADER,
    &PROPOSE,
    &ACCEPT,
    &CHOSEN,
    &LEARN,
    &RESEND,
    &DECIDE,
    &APPLIED,
    &COMPACT,
    &SNAPSHOT_VIEW,
    &SNAPSHOT_SENT,
    &SNAPSHOT,
    &INSTALLED,
    &READ,
    &LEASE,
    &GRANT,
    &READ_FORWARD,
    &TRANSFER,
    &STALE,
];
