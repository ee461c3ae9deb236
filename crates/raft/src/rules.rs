//! The rules this protocol reports, in words. "Dissertation" is *Consensus: Bridging Theory and Practice* (2014), "Raft" the
//! extended version of *In Search of an Understandable Consensus Algorithm* (2014).

use quorate_protocol::Rule;

/// A higher term is adopted.
pub static TERM: Rule = Rule {
    id: "raft.term",
    source: "Raft §5.1",
    allowed: "{me} moves from term {old_term} to term {term}, which it learns from {from}",
    refused: "",
    waiting: "",
};

/// Messages and timers that mean nothing any more.
pub static STALE: Rule = Rule {
    id: "raft.stale",
    source: "Raft §5.1",
    allowed: "",
    refused: "{me} drops a {kind} from {from}: {why}",
    waiting: "",
};

/// Timers that mean nothing any more.
pub static STALE_TIMER: Rule = Rule {
    id: "raft.stale-timer",
    source: "Raft §5.2",
    allowed: "",
    refused: "{me} lets the {timer} timer pass: {why}",
    waiting: "",
};

/// Who starts asking for votes.
pub static CAMPAIGN: Rule = Rule {
    id: "raft.campaign",
    source: "Raft §5.2; dissertation, 9.6",
    allowed: "{me} heard from no leader and asks whether it could win term {term}: its log ends at {own_log}",
    refused: "{me} does not campaign: {why}",
    waiting: "",
};

/// Answering the question whether one would vote.
pub static PRE_VOTE: Rule = Rule {
    id: "raft.pre-vote",
    source: "dissertation, 9.6",
    allowed: "{me} would vote for {candidate} in term {term}: its log ends at {candidate_log}, ours at {own_log}, \
              and we heard from no leader lately",
    refused: "{me} would not vote for {candidate} in term {term}: {why}",
    waiting: "",
};

/// Going from the question to the election.
pub static CANDIDATE: Rule = Rule {
    id: "raft.candidate",
    source: "dissertation, 9.6; Raft §5.2",
    allowed: "{me} stands in term {term}: {votes} would vote for it",
    refused: "{me} does not stand in term {term}: {refusals} would not vote for it",
    waiting: "{me} does not stand in term {term} yet: only {votes} would vote for it so far",
};

/// Voting.
pub static VOTE: Rule = Rule {
    id: "raft.vote",
    source: "Raft §5.2, §5.4.1",
    allowed: "{me} votes for {candidate} in term {term}: its log ends at {candidate_log}, ours at {own_log}, \
              and we voted for nobody else in this term",
    refused: "{me} does not vote for {candidate} in term {term}: {why}",
    waiting: "",
};

/// Not letting a candidate disturb a leader that works.
pub static STICKINESS: Rule = Rule {
    id: "raft.stickiness",
    source: "Raft §6; dissertation, 4.2.3",
    allowed: "{me} would now listen to candidates: it heard from no leader for an election timeout",
    refused: "{me} ignores {candidate}, who asks about term {term}: there is a leader in term {own_term}",
    waiting: "",
};

/// Winning.
pub static ELECTION: Rule = Rule {
    id: "raft.election",
    source: "Raft §5.2",
    allowed: "{me} leads term {term} with the votes of {votes} and appends slot {slot}, the first of its term",
    refused: "{me} cannot win term {term} any more: {refusals} refused",
    waiting: "{me} does not lead term {term} yet: only {votes} voted for it so far",
};

/// Recognising a leader.
pub static FOLLOW: Rule = Rule {
    id: "raft.follow",
    source: "Raft §5.2",
    allowed: "{me} follows {leader} in term {term}",
    refused: "{me} drops an append from {from}: {leader} leads term {term}",
    waiting: "",
};

/// Giving up leadership or candidacy.
pub static STEP_DOWN: Rule = Rule {
    id: "raft.step-down",
    source: "Raft §5.1",
    allowed: "{me} is no longer {role} of term {term}: {why}",
    refused: "",
    waiting: "",
};

/// Leading only while a quorum answers.
pub static CHECK_QUORUM: Rule = Rule {
    id: "raft.check-quorum",
    source: "dissertation, 6.2",
    allowed: "{me} goes on leading term {term}: {votes} were heard within an election timeout",
    refused: "{me} stops leading term {term}: only {votes} were heard within an election timeout, which is no quorum",
    waiting: "",
};

/// Leading only while the own disk works.
pub static DISK: Rule = Rule {
    id: "raft.disk",
    source: "ours: a sick disk does not hold the lead",
    allowed: "",
    refused: "{me} stops leading term {term}: its disk finished nothing for an election timeout",
    waiting: "{me} should not lead term {term} for long: its disk finished nothing for long while writes were under way",
};

/// Handing leadership over.
pub static TRANSFER: Rule = Rule {
    id: "raft.transfer",
    source: "dissertation, 3.10",
    allowed: "{me} asks {to} to stand for election: it has everything up to slot {slot} of term {term} durably",
    refused: "{me} does not hand leadership over to {to}: {why}",
    waiting: "{me} takes no more proposals in term {term} until {to} leads: {why}",
};

/// Standing because the leader wishes so.
pub static CAMPAIGN_AT_ONCE: Rule = Rule {
    id: "raft.campaign-at-once",
    source: "dissertation, 3.10",
    allowed: "{me} stands in term {term} at once: {leader} wants it to lead",
    refused: "",
    waiting: "",
};

/// Preferring a leader.
pub static PRIORITY: Rule = Rule {
    id: "raft.priority",
    source: "ours: the preferred leader leads when it can",
    allowed: "{me} should rather have {peer} lead, which keeps up: its priority is {priority}, ours {own_priority}",
    refused: "",
    waiting: "",
};

/// Reading without a round.
pub static LEASE: Rule = Rule {
    id: "raft.lease",
    source: "dissertation, 6.4.1",
    allowed: "{me} releases read {token} at slot {slot} without a round: {votes}, who answered a round that was sent \
              {age_us} us ago, elect nobody in place of the leader of term {term} yet",
    refused: "{me} leads term {term} without a lease from now on: somebody else may be asked to stand",
    waiting: "",
};

/// Taking proposals.
pub static PROPOSE: Rule = Rule {
    id: "raft.propose",
    source: "Raft §5.3",
    allowed: "{me} appends the proposal as slot {slot} of term {term}",
    refused: "{me} refuses a proposal: {why}",
    waiting: "",
};

/// The consistency check of an append.
pub static APPEND: Rule = Rule {
    id: "raft.append",
    source: "Raft §5.3",
    allowed: "{me} has the log of {leader} up to slot {matched}: behind slot {prev_slot} it sent {entries} entries, \
              {added} of them new",
    refused: "{me} rejects what {leader} sent behind slot {prev_slot} of term {prev_term}: {why}; \
              the logs may still meet at slot {hint_slot} of term {hint_term}",
    waiting: "",
};

/// Removing what conflicts.
pub static TRUNCATE: Rule = Rule {
    id: "raft.truncate",
    source: "Raft §5.3",
    allowed: "{me} drops slots {from_slot} to {last_slot}: slot {from_slot} is of term {own_term} here and of term {term} \
              at {leader}",
    refused: "{me} does not drop slot {from_slot}, which is committed, although {leader} has term {term} there",
    waiting: "",
};

/// Following the leader's view of a peer's log.
pub static PROGRESS: Rule = Rule {
    id: "raft.progress",
    source: "Raft §5.3; dissertation, 10.2.1",
    allowed: "{me} notes that {peer} holds its log durably up to slot {matched}",
    refused: "{me} ignores that {peer} rejects what follows slot {prev_slot}: {why}",
    waiting: "{me} goes back with {peer}, whose log may meet ours at slot {hint_slot} of term {hint_term}: \
              the next to send is slot {next_slot}",
};

/// Not flooding a peer.
pub static WINDOW: Rule = Rule {
    id: "raft.window",
    source: "dissertation, 10.2.1",
    allowed: "",
    refused: "{me} has nothing that {peer} could follow: slot {slot} is compacted here, and it needs a snapshot",
    waiting: "{me} holds back slot {slot} from {peer}: {messages} appends of {bytes} bytes are unanswered",
};

/// Saying what a view pinned for a peer describes.
pub static SNAPSHOT_VIEW: Rule = Rule {
    id: "raft.snapshot-view",
    source: "Raft §7",
    allowed: "{me} sends {peer} a snapshot of everything up to slot {slot}, which is of term {term}",
    refused: "{me} lets go of a view up to slot {slot} pinned for {peer}: {why}",
    waiting: "",
};

/// Taking a wish for other members.
pub static RECONFIGURE: Rule = Rule {
    id: "raft.reconfigure",
    source: "Raft §6; dissertation, 4.1, 4.3; the 2015 correction of 4.1",
    allowed: "{me} changes the members with slot {slot} of term {term}: {how}",
    refused: "{me} does not change the members: {why}",
    waiting: "",
};

/// From the joint configuration to the new one.
pub static FINISH_CHANGE: Rule = Rule {
    id: "raft.finish-change",
    source: "dissertation, 4.3",
    allowed: "{me} ends the change of the members with slot {slot}: the joint configuration of slot {joint_slot} is committed",
    refused: "",
    waiting: "{me} does not end the change of the members yet: {why}",
};

/// Sparing witnesses, and needing them.
pub static WITNESS: Rule = Rule {
    id: "raft.witness",
    source: "ours: a witness is to hold nothing that only the dead have",
    allowed: "{me} sends witnesses what its own disk holds: of the voters that store data only {votes} keep up, which is no quorum",
    refused: "{me} sends witnesses no entries: {votes} store data, keep up and are a quorum",
    waiting: "",
};

/// Making voters of those who caught up.
pub static CATCH_UP: Rule = Rule {
    id: "raft.catch-up",
    source: "dissertation, 4.2.1",
    allowed: "{me} finds that {peers} caught up: the last round of each took less than an election timeout",
    refused: "{me} finds that {peer} does not keep up: it has not got to slot {slot} within an election timeout",
    waiting: "",
};

/// Telling those who left that they did.
pub static FAREWELL: Rule = Rule {
    id: "raft.farewell",
    source: "dissertation, 4.2.2, 4.2.3",
    allowed: "{me} speaks to {peer} no more: {why}",
    refused: "",
    waiting: "{me} tells {peer} that slot {slot}, which ends its membership, is committed",
};

/// Being no member any more.
pub static RETIRE: Rule = Rule {
    id: "raft.retire",
    source: "dissertation, 4.2.3",
    allowed: "{me} is no longer needed: slot {slot} ended its membership and is committed",
    refused: "",
    waiting: "",
};

/// Hearing how a transfer ended.
pub static SNAPSHOT_SENT: Rule = Rule {
    id: "raft.snapshot-sent",
    source: "Raft §7",
    allowed: "{me} goes on with {peer} behind slot {slot}: its snapshot is installed there",
    refused: "{me} ignores news of a snapshot for {peer}: it is not the one under way",
    waiting: "{me} asks {peer} again in {heartbeats} heartbeats: the snapshot did not get there",
};

/// Judging a snapshot that arrived.
pub static SNAPSHOT: Rule = Rule {
    id: "raft.snapshot",
    source: "Raft §7, figure 13",
    allowed: "{me} begins its log anew behind slot {slot} of term {term}: a snapshot stands for what is before, and the log, \
              which ended at slot {last_slot}, does not hold that entry",
    refused: "{me} drops a snapshot up to slot {slot}: {why}",
    waiting: "{me} keeps its log, which holds all that a snapshot up to slot {slot} stands for, and now knows it decided",
};

/// Going on behind a snapshot.
pub static INSTALLED: Rule = Rule {
    id: "raft.installed",
    source: "Raft §7",
    allowed: "{me} goes on behind slot {slot}: the state machine has the snapshot",
    refused: "",
    waiting: "",
};

/// Committing at the leader.
pub static COMMIT: Rule = Rule {
    id: "raft.commit",
    source: "Raft §5.3, §5.4.2",
    allowed: "{me} commits up to slot {slot}: it is of the present term {term} and durable at {votes}",
    refused: "{me} does not commit slot {slot} by counting {votes}: it is of term {entry_term}, not of the present term \
              {term}, and could still be overwritten",
    waiting: "{me} does not commit slot {slot} yet: durable at {votes} only",
};

/// Learning of commits.
pub static LEARN: Rule = Rule {
    id: "raft.learn-commit",
    source: "Raft §5.3",
    allowed: "{me} learns from {leader} that everything up to slot {slot} is committed",
    refused: "",
    waiting: "",
};

/// Handing decisions to the machine.
pub static DECIDE: Rule = Rule {
    id: "raft.decide",
    source: "Raft §5.3; dissertation, 10.2.1",
    allowed: "{me} applies up to slot {slot}: committed, and durable here",
    refused: "",
    waiting: "{me} does not apply slot {slot} yet: it is committed, but durable here only up to slot {durable}",
};

/// What the machine may report.
pub static APPLIED: Rule = Rule {
    id: "raft.applied",
    source: "Raft §5.3",
    allowed: "",
    refused: "{me} ignores that slot {through} is applied, slot {durable} durably: {decided} is the last decided",
    waiting: "",
};

/// Reading.
pub static READ: Rule = Rule {
    id: "raft.read",
    source: "dissertation, 6.4",
    allowed: "{me} releases read {token} at slot {slot}: {votes} confirm that it leads term {term}",
    refused: "{me} refuses read {token}: {why}",
    waiting: "{me} holds read {token}: {why}",
};

/// Reading at a follower.
pub static READ_FORWARD: Rule = Rule {
    id: "raft.read-forward",
    source: "dissertation, 6.4",
    allowed: "{me} may read {token} at slot {slot}, says {leader}",
    refused: "{me} drops an answer to read {token}: {why}",
    waiting: "{me} asks {leader} as of which slot it may read {token}",
};

/// Forgetting what nobody will ask for, or what is too much.
pub static COMPACT: Rule = Rule {
    id: "raft.compact",
    source: "Raft §7",
    allowed: "{me} forgets the log up to slot {slot}: it is durably applied here, and {why}",
    refused: "",
    waiting: "",
};

/// News of connections.
pub static LINK: Rule = Rule {
    id: "raft.link",
    source: "ours: hints make elections and retries faster",
    allowed: "{me} hears that the link to {peer} is {state} and {effect}",
    refused: "{me} takes no notice that the link to {peer} is {state}",
    waiting: "",
};

/// All of them.
pub static ALL: &[&Rule] = &[
    &TERM,
    &STALE,
    &STALE_TIMER,
    &CAMPAIGN,
    &PRE_VOTE,
    &CANDIDATE,
    &VOTE,
    &STICKINESS,
    &ELECTION,
    &FOLLOW,
    &STEP_DOWN,
    &CHECK_QUORUM,
    &DISK,
    &TRANSFER,
    &CAMPAIGN_AT_ONCE,
    &PRIORITY,
    &LEASE,
    &PROPOSE,
    &APPEND,
    &TRUNCATE,
    &PROGRESS,
    &WINDOW,
    &SNAPSHOT_VIEW,
    &SNAPSHOT_SENT,
    &SNAPSHOT,
    &INSTALLED,
    &RECONFIGURE,
    &FINISH_CHANGE,
    &CATCH_UP,
    &WITNESS,
    &FAREWELL,
    &RETIRE,
    &COMMIT,
    &LEARN,
    &DECIDE,
    &APPLIED,
    &READ,
    &READ_FORWARD,
    &COMPACT,
    &LINK,
];
