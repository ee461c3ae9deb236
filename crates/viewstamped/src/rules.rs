//! Every guard in words, stated once. A narration renders these and nothing else.

use quorate_protocol::Rule;

/// A message that means nothing any more.
pub static STALE: Rule = Rule {
    id: "viewstamped.stale",
    source: "VRR §4: messages of other views",
    allowed: "",
    refused: "{me} drops a {kind} from {from}: {why}",
    waiting: "",
};

/// A timer that means nothing any more.
pub static STALE_TIMER: Rule = Rule {
    id: "viewstamped.stale-timer",
    source: "ours",
    allowed: "",
    refused: "{me} takes no notice of its {timer} timer: {why}",
    waiting: "",
};

/// Becoming what the disk says.
pub static OPEN: Rule = Rule {
    id: "viewstamped.open",
    source: "ours, in place of VRR §4.3: views and log are durable, and a primary never resumes its view",
    allowed: "{me} opens in view {view} with a log that ends at slot {last}",
    refused: "",
    waiting: "",
};

/// Taking a proposal.
pub static PROPOSE: Rule = Rule {
    id: "viewstamped.propose",
    source: "VRR §4.1, step 2",
    allowed: "{me} gives a request slot {slot} in view {view}",
    refused: "{me} takes no request: {why}",
    waiting: "",
};

/// Taking entries.
pub static PREPARE: Rule = Rule {
    id: "viewstamped.prepare",
    source: "VRR §4.1, step 4",
    allowed: "{me} appends up to slot {slot} as its primary {primary} orders",
    refused: "",
    waiting: "{me} cannot take slot {slot}: its log ends at {last}, so it asks for what is between",
};

/// Committing at the primary.
pub static COMMIT: Rule = Rule {
    id: "viewstamped.commit",
    source: "VRR §4.1, step 5; a majority for even groups too",
    allowed: "{me} commits up to slot {slot}: durable at {votes}",
    refused: "",
    waiting: "{me} does not commit slot {slot} yet: durable at {votes} only",
};

/// Learning of commits.
pub static LEARN: Rule = Rule {
    id: "viewstamped.learn-commit",
    source: "VRR §4.1, step 7",
    allowed: "{me} learns from {primary} that everything up to slot {slot} is committed",
    refused: "",
    waiting: "",
};

/// Leaving a view.
pub static VIEW_CHANGE: Rule = Rule {
    id: "viewstamped.view-change",
    source: "VRR §4.2, step 1",
    allowed: "{me} leaves its view for view {view}, and says so once that is durable",
    refused: "",
    waiting: "{me} stays on its way to view {view}: too few others go there, and more views would bring no more of them",
};

/// A view is durable.
pub static VIEW_DURABLE: Rule = Rule {
    id: "viewstamped.view-durable",
    source: "ours: what is said in a view waits for it",
    allowed: "{me} has view {view} durably, and speaks in it from now on",
    refused: "",
    waiting: "",
};

/// Offering a log.
pub static OFFER: Rule = Rule {
    id: "viewstamped.offer",
    source: "VRR §4.2, step 2",
    allowed: "{me} offers its log to {primary} for view {view}: it ends at slot {last} and is that of view {last_normal}",
    refused: "",
    waiting: "",
};

/// Beginning a view.
pub static NEW_VIEW: Rule = Rule {
    id: "viewstamped.new-view",
    source: "VRR §4.2, step 3",
    allowed: "{me} begins view {view} with the log that ends at slot {last}: of those that {votes} offered, it is of the latest \
              normal view, and the longest of it",
    refused: "{me} cannot take the log that {from} offers yet: it does not have everything up to slot {slot}",
    waiting: "{me} does not begin view {view} yet: only {votes} offered their logs",
};

/// Entering a view that somebody else began.
pub static ENTER: Rule = Rule {
    id: "viewstamped.enter",
    source: "VRR §4.2, step 5; §4.3, in one durable write",
    allowed: "{me} enters view {view} with its log, which ends at slot {last}",
    refused: "",
    waiting: "",
};

/// Asking for what is missing.
pub static GET_STATE: Rule = Rule {
    id: "viewstamped.get-state",
    source: "VRR §4.3; the log stays untouched meanwhile",
    allowed: "{me} asks {source} for the log of view {view} behind slot {slot}",
    refused: "",
    waiting: "",
};

/// Giving it.
pub static GIVE_STATE: Rule = Rule {
    id: "viewstamped.give-state",
    source: "VRR §4.3",
    allowed: "{me} gives {peer} slots {slot} to {last}",
    refused: "",
    waiting: "",
};

/// Taking what is behind the end.
pub static NEW_STATE: Rule = Rule {
    id: "viewstamped.new-state",
    source: "VRR §4.3",
    allowed: "{me} takes what it lacked of its view from {peer}: its log ends at slot {last}",
    refused: "",
    waiting: "",
};

/// Wishing for other members.
pub static RECONFIGURE: Rule = Rule {
    id: "viewstamped.reconfigure",
    source: "VRR §7.1",
    allowed: "{me} ends its epoch with slot {slot}: epoch {epoch} has other members",
    refused: "{me} does not change the members: {why}",
    waiting: "",
};

/// Making voters of those who caught up.
pub static CATCH_UP: Rule = Rule {
    id: "viewstamped.catch-up",
    source: "VRR §7.4: new members are warmed up first",
    allowed: "{me} finds that {peers} keep up and may vote",
    refused: "",
    waiting: "",
};

/// Beginning an epoch.
pub static EPOCH: Rule = Rule {
    id: "viewstamped.epoch",
    source: "VRR §7.1.1",
    allowed: "{me} begins view {view}: slot {slot}, which ended the epoch before, is committed",
    refused: "",
    waiting: "",
};

/// Hearing of another epoch.
pub static OTHER_EPOCH: Rule = Rule {
    id: "viewstamped.other-epoch",
    source: "VRR §7.1",
    allowed: "",
    refused: "{me} tells {peer}, who speaks of view {view}, that a later epoch has begun",
    waiting: "{me} hears from {peer}, who is in view {view}, that a later epoch has begun, and asks for its log",
};

/// Being no member any more.
pub static RETIRE: Rule = Rule {
    id: "viewstamped.retire",
    source: "VRR §7.1.2",
    allowed: "{me} is no longer needed: the epoch behind slot {slot} goes on without it",
    refused: "",
    waiting: "",
};

/// Handing the lead over.
pub static TRANSFER: Rule = Rule {
    id: "viewstamped.transfer",
    source: "ours: a view change to the next view that is somebody's turn",
    allowed: "{me} leaves for view {view}, which {to} leads",
    refused: "{me} does not hand the lead to {to} now",
    waiting: "",
};

/// Handing decisions to the machine.
pub static DECIDE: Rule = Rule {
    id: "viewstamped.decide",
    source: "VRR §4.1, step 5 and 7",
    allowed: "{me} applies up to slot {slot}: committed, and durable here",
    refused: "",
    waiting: "",
};

/// What the machine may report.
pub static APPLIED: Rule = Rule {
    id: "viewstamped.applied",
    source: "ours",
    allowed: "",
    refused: "{me} ignores that slot {through} is applied, slot {durable} durably: {decided} is the last decided",
    waiting: "",
};

/// Reading.
pub static READ: Rule = Rule {
    id: "viewstamped.read",
    source: "ours, in place of VRR §6.3",
    allowed: "{me} releases read {token} at slot {slot}: {votes} confirm that view {view} is still theirs",
    refused: "{me} refuses read {token}: {why}",
    waiting: "{me} holds read {token}: {why}",
};

/// Reading at a backup.
pub static READ_FORWARD: Rule = Rule {
    id: "viewstamped.read-forward",
    source: "ours",
    allowed: "{me} may read {token} at slot {slot}, says {leader}",
    refused: "{me} drops an answer to read {token}: {why}",
    waiting: "{me} asks {leader} as of which slot it may read {token}",
};

/// Forgetting what nobody will ask for, or what is too much.
pub static COMPACT: Rule = Rule {
    id: "viewstamped.compact",
    source: "VRR §5.1",
    allowed: "{me} forgets the log up to slot {slot}: it is durably applied here, and {why}",
    refused: "",
    waiting: "",
};

/// Saying what a view pinned for a peer describes.
pub static SNAPSHOT_VIEW: Rule = Rule {
    id: "viewstamped.snapshot-view",
    source: "VRR §5.1",
    allowed: "{me} sends {peer} a snapshot of everything up to slot {slot}",
    refused: "{me} lets go of a view up to slot {slot} pinned for {peer}: {why}",
    waiting: "",
};

/// Hearing how a transfer ended.
pub static SNAPSHOT_SENT: Rule = Rule {
    id: "viewstamped.snapshot-sent",
    source: "ours",
    allowed: "{me} goes on with {peer} behind slot {slot}: its snapshot is installed there",
    refused: "{me} ignores news of a snapshot for {peer}: it is not the one under way",
    waiting: "{me} sends {peer} another snapshot in {heartbeats} heartbeats at the earliest: this one did not get there",
};

/// Judging a snapshot that arrived.
pub static SNAPSHOT: Rule = Rule {
    id: "viewstamped.snapshot",
    source: "VRR §5.1",
    allowed: "{me} lets a snapshot stand for everything up to slot {slot}; its log ended at slot {last}",
    refused: "{me} drops a snapshot up to slot {slot}: {why}",
    waiting: "",
};

/// Going on behind a snapshot.
pub static INSTALLED: Rule = Rule {
    id: "viewstamped.installed",
    source: "VRR §5.1",
    allowed: "{me} goes on behind slot {slot}: the state machine has the snapshot",
    refused: "",
    waiting: "",
};

/// News of connections.
pub static LINK: Rule = Rule {
    id: "viewstamped.link",
    source: "ours: hints make view changes and retries faster",
    allowed: "{me} hears that the link to {peer} is {state} and {effect}",
    refused: "{me} takes no notice that the link to {peer} is {state}",
    waiting: "",
};

/// All of them.
pub static ALL: &[&Rule] = &[
    &STALE,
    &STALE_TIMER,
    &OPEN,
    &PROPOSE,
    &PREPARE,
    &COMMIT,
    &LEARN,
    &VIEW_CHANGE,
    &VIEW_DURABLE,
    &OFFER,
    &NEW_VIEW,
    &ENTER,
    &GET_STATE,
    &GIVE_STATE,
    &NEW_STATE,
    &RECONFIGURE,
    &CATCH_UP,
    &EPOCH,
    &OTHER_EPOCH,
    &RETIRE,
    &TRANSFER,
    &DECIDE,
    &APPLIED,
    &READ,
    &READ_FORWARD,
    &COMPACT,
    &SNAPSHOT_VIEW,
    &SNAPSHOT_SENT,
    &SNAPSHOT,
    &INSTALLED,
    &LINK,
];
