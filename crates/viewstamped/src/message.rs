//! What replicas say to each other.

use crate::entry::Entries;
use crate::view::{Configuration, View};
use quorate_protocol::ReadToken;
use quorate_types::Slot;
use quorate_wire::{Reader, Wire, WireError};

/// Replica to replica. Every message names the view, and with it the epoch, that its sender is in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Primary to all: the next entries, and how far everything is committed. Without entries it is the paper's Commit.
    /// Nothing need be durable: the primary's own write goes on meanwhile, and a primary never resumes its view.
    Prepare {
        /// Of this view.
        view: View,
        /// The slot of the first entry; behind the last slot sent, if there is none.
        first: Slot,
        /// The entries, in order.
        entries: Entries,
        /// Everything up to here is committed.
        commit: Slot,
        /// Every member has everything up to here durably: nobody will ask for it.
        everyone_has: Slot,
        /// Answered as it is: whoever answers was still in this view after the round began.
        round: u64,
    },
    /// Backup to primary, when everything up to `through` and the view are durable: it has that much.
    PrepareOk {
        /// Of this view.
        view: View,
        /// Its log is durable and this view's up to here.
        through: Slot,
        /// The latest round heard of.
        round: u64,
    },
    /// To all voters, when the view is durable: its sender left every earlier view.
    StartViewChange {
        /// For this view.
        view: View,
        /// What its sender knows committed: the new primary needs nothing before that.
        commit: Slot,
    },
    /// To the primary of the view, when the view is durable: all that its sender has.
    DoViewChange {
        /// For this view.
        view: View,
        /// The last view that was normal at the sender: its log is that view's.
        last_normal: View,
        /// Where its log ends.
        last: Slot,
        /// What it knows committed.
        commit: Slot,
        /// The slot of the first entry here.
        first: Slot,
        /// Its log from there to its end.
        entries: Entries,
    },
    /// New primary to all, when log and view are durable: the view has begun with this log.
    StartView {
        /// This view.
        view: View,
        /// What is committed.
        commit: Slot,
        /// The slot of the first entry here.
        first: Slot,
        /// The log from there to its end.
        entries: Entries,
    },
    /// To whoever may have it: please send what is missing here.
    GetState {
        /// The view that its sender is in, or is going to.
        view: View,
        /// What it has and will keep.
        have: Slot,
        /// Its sender is of an earlier epoch, and promised nothing in this one.
        joins: bool,
    },
    /// The answer. Nothing need be durable: it gives on what the view's primary said.
    NewState {
        /// The view in which this is the log.
        view: View,
        /// The view of the question.
        asked: View,
        /// What is committed.
        commit: Slot,
        /// The slot of the first entry here.
        first: Slot,
        /// The log from there on.
        entries: Entries,
        /// Where the log ends.
        last: Slot,
    },
    /// To members of a new epoch, to those it leaves behind, and to whoever speaks of an earlier one: the epoch has begun. The
    /// paper's StartEpoch and NewEpoch.
    StartEpoch {
        /// The view its sender is in.
        view: View,
        /// Who takes part in the epoch.
        configuration: Configuration,
        /// A quorum of them has everything up to the epoch's beginning durably: whoever is left behind is not needed any more.
        begun: bool,
    },
    /// The answer to that, when the epoch is durable.
    EpochStarted {
        /// The view its sender is in.
        view: View,
    },
    /// Backup to primary: as of which slot may this be read?
    ReadIndex {
        /// Of this view.
        view: View,
        /// Which read.
        token: ReadToken,
    },
    /// The answer.
    ReadIndexResponse {
        /// Of this view.
        view: View,
        /// Which read.
        token: ReadToken,
        /// As of this slot; `None` if the one asked is not the primary.
        slot: Option<Slot>,
    },
}

impl Message {
    /// The view that its sender was in, or asks for.
    #[must_use]
    pub fn view(&self) -> View {
        match self {
            Message::Prepare { view, .. }
            | Message::PrepareOk { view, .. }
            | Message::StartViewChange { view, .. }
            | Message::DoViewChange { view, .. }
            | Message::StartView { view, .. }
            | Message::GetState { view, .. }
            | Message::NewState { view, .. }
            | Message::StartEpoch { view, .. }
            | Message::EpochStarted { view }
            | Message::ReadIndex { view, .. }
            | Message::ReadIndexResponse { view, .. } => *view,
        }
    }

    /// Its name in scenarios and traces.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Prepare { entries, .. } if entries.is_empty() => "commit",
            Message::Prepare { .. } => "prepare",
            Message::PrepareOk { .. } => "prepare-ok",
            Message::StartViewChange { .. } => "start-view-change",
            Message::DoViewChange { .. } => "do-view-change",
            Message::StartView { .. } => "start-view",
            Message::GetState { .. } => "get-state",
            Message::NewState { .. } => "new-state",
            Message::StartEpoch { .. } => "start-epoch",
            Message::EpochStarted { .. } => "epoch-started",
            Message::ReadIndex { .. } => "read-index",
            Message::ReadIndexResponse { .. } => "read-index-response",
        }
    }
}

impl Wire for Message {
    fn encode(&self, out: &mut Vec<u8>) {
        let code = match self {
            Message::Prepare { .. } => 0,
            Message::PrepareOk { .. } => 1,
            Message::StartViewChange { .. } => 2,
            Message::DoViewChange { .. } => 3,
            Message::StartView { .. } => 4,
            Message::GetState { .. } => 5,
            Message::NewState { .. } => 6,
            Message::StartEpoch { .. } => 7,
            Message::EpochStarted { .. } => 8,
            Message::ReadIndex { .. } => 9,
            Message::ReadIndexResponse { .. } => 10,
        };
        out.push(code);
        self.view().encode(out);
        match self {
            Message::Prepare { first, entries, commit, everyone_has, round, .. } => {
                first.encode(out);
                entries.encode(out);
                commit.encode(out);
                everyone_has.encode(out);
                round.encode(out);
            }
            Message::PrepareOk { through, round, .. } => {
                through.encode(out);
                round.encode(out);
            }
            Message::StartViewChange { commit, .. } => commit.encode(out),
            Message::DoViewChange { last_normal, last, commit, first, entries, .. } => {
                last_normal.encode(out);
                last.encode(out);
                commit.encode(out);
                first.encode(out);
                entries.encode(out);
            }
            Message::StartView { commit, first, entries, .. } => {
                commit.encode(out);
                first.encode(out);
                entries.encode(out);
            }
            Message::GetState { have, joins, .. } => {
                have.encode(out);
                joins.encode(out);
            }
            Message::NewState { asked, commit, first, entries, last, .. } => {
                asked.encode(out);
                commit.encode(out);
                first.encode(out);
                entries.encode(out);
                last.encode(out);
            }
            Message::StartEpoch { configuration, begun, .. } => {
                configuration.encode(out);
                begun.encode(out);
            }
            Message::EpochStarted { .. } => {}
            Message::ReadIndex { token, .. } => token.encode(out),
            Message::ReadIndexResponse { token, slot, .. } => {
                token.encode(out);
                slot.encode(out);
            }
        }
    }

    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        let kind = input.byte("viewstamped message kind")?;
        let view = View::decode(input)?;
        Ok(match kind {
            0 => Message::Prepare {
                view,
                first: Slot::decode(input)?,
                entries: Entries::decode(input)?,
                commit: Slot::decode(input)?,
                everyone_has: Slot::decode(input)?,
                round: input.u64("round")?,
            },
            1 => Message::PrepareOk { view, through: Slot::decode(input)?, round: input.u64("round")? },
            2 => Message::StartViewChange { view, commit: Slot::decode(input)? },
            3 => Message::DoViewChange {
                view,
                last_normal: View::decode(input)?,
                last: Slot::decode(input)?,
                commit: Slot::decode(input)?,
                first: Slot::decode(input)?,
                entries: Entries::decode(input)?,
            },
            4 => Message::StartView {
                view,
                commit: Slot::decode(input)?,
                first: Slot::decode(input)?,
                entries: Entries::decode(input)?,
            },
            5 => Message::GetState { view, have: Slot::decode(input)?, joins: bool::decode(input)? },
            6 => Message::NewState {
                view,
                asked: View::decode(input)?,
                commit: Slot::decode(input)?,
                first: Slot::decode(input)?,
                entries: Entries::decode(input)?,
                last: Slot::decode(input)?,
            },
            7 => {
                Message::StartEpoch { view, configuration: Configuration::decode(input)?, begun: bool::decode(input)? }
            }
            8 => Message::EpochStarted { view },
            9 => Message::ReadIndex { view, token: ReadToken::decode(input)? },
            10 => Message::ReadIndexResponse { view, token: ReadToken::decode(input)?, slot: Option::decode(input)? },
            kind => return Err(WireError::UnknownKind { what: "viewstamped message", kind }),
        })
    }
}
