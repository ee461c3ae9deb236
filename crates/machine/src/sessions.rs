//! Which commands of nodes have been applied: the table that makes a repeated command do nothing. Beside it, the table of
//! clients' sessions.

use crate::client_table::ClientTable;
use crate::command::Command;
use quorate_types::{Incarnation, Session};
use quorate_wire::{Reader, Wire, WireError};
use std::collections::{BTreeMap, BTreeSet};

/// What to do with a decided command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Apply it.
    First,
    /// It was applied before, or its owner has given it up.
    Repeated,
    /// Its owner has a newer incarnation, or names none.
    Expired,
}

/// One owner's living session.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Live {
    incarnation: Incarnation,
    /// Every sequence below counts as applied.
    acked_below: u64,
    /// Applied and not below `acked_below`.
    applied: BTreeSet<u64>,
}

/// Every owner's session, a function of the decided commands alone and so equal on all replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    by_owner: BTreeMap<u64, Live>,
    /// Its commands travel as payloads of nodes' commands.
    pub(crate) clients: ClientTable,
    digest: u64,
}

impl Sessions {
    /// Decides about a command that was decided, and remembers it.
    pub(crate) fn admit(&mut self, command: &Command) -> Admission {
        let admission = self.judge(command);
        self.digest = [command.session.owner, command.session.incarnation.0, command.sequence, command.acked_below]
            .into_iter()
            .fold(mix(self.digest, admission as u64), mix);
        admission
    }

    fn judge(&mut self, command: &Command) -> Admission {
        let Session { owner, incarnation } = command.session;
        // No node is ever in incarnation 0: whoever claims it is nobody whose repetitions could be told.
        if incarnation == Incarnation(0) {
            return Admission::Expired;
        }
        let live = self.by_owner.entry(owner).or_insert_with(|| Live::new(incarnation));
        if live.incarnation > incarnation {
            return Admission::Expired;
        }
        if live.incarnation < incarnation {
            *live = Live::new(incarnation);
        }
        live.admit(command.sequence, command.acked_below)
    }

    /// Whether this command would do nothing if it were decided now.
    pub(crate) fn is_settled(&self, session: Session, sequence: u64) -> bool {
        self.by_owner.get(&session.owner).is_some_and(|live| {
            live.incarnation > session.incarnation
                || (live.incarnation == session.incarnation && live.has_applied(sequence))
        })
    }

    /// A rolling hash of every decision, about nodes' commands and clients'.
    pub(crate) fn digest(&self) -> u64 {
        match self.clients.digest() {
            // As it was before there were clients' sessions: members of that version come to the same.
            0 => self.digest,
            clients => mix(self.digest, clients),
        }
    }

    /// How many nodes have a session.
    pub(crate) fn len(&self) -> usize {
        self.by_owner.len()
    }

    /// The most sequences remembered of any owner.
    #[cfg(test)]
    pub(crate) fn widest(&self) -> usize {
        self.by_owner.values().map(|live| live.applied.len()).max().unwrap_or(0)
    }
}

impl Live {
    fn new(incarnation: Incarnation) -> Live {
        Live { incarnation, acked_below: 0, applied: BTreeSet::new() }
    }

    fn has_applied(&self, sequence: u64) -> bool {
        sequence < self.acked_below || self.applied.contains(&sequence)
    }

    fn admit(&mut self, sequence: u64, acked_below: u64) -> Admission {
        let repeated = self.has_applied(sequence);
        if !repeated {
            self.applied.insert(sequence);
        }
        self.acked_below = self.acked_below.max(acked_below);
        while self.applied.first().is_some_and(|first| *first < self.acked_below) {
            self.applied.pop_first();
        }
        if repeated { Admission::Repeated } else { Admission::First }
    }
}

/// Folds a number into a rolling hash (the finalizer of splitmix64). Guards against mistakes, not against malice.
pub(crate) fn mix(hash: u64, number: u64) -> u64 {
    let mixed = (hash.rotate_left(5) ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The nodes' part: the clients' table has a place of its own in an image.
impl Wire for Sessions {
    fn encode(&self, out: &mut Vec<u8>) {
        self.digest.encode(out);
        (self.by_owner.len() as u64).encode(out);
        for (owner, live) in &self.by_owner {
            Session { owner: *owner, incarnation: live.incarnation }.encode(out);
            live.acked_below.encode(out);
            live.applied.iter().copied().collect::<Vec<u64>>().encode(out);
        }
    }

    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        let digest = input.u64("session digest")?;
        let count = input.u64("session count")?;
        let mut by_owner = BTreeMap::new();
        for _ in 0..count {
            let session = Session::decode(input)?;
            let acked_below = input.u64("acknowledged mark")?;
            let applied = Vec::<u64>::decode(input)?.into_iter().collect();
            by_owner.insert(session.owner, Live { incarnation: session.incarnation, acked_below, applied });
        }
        Ok(Sessions { by_owner, clients: ClientTable::default(), digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use quorate_types::Time;

    fn command(incarnation: u64, sequence: u64, acked_below: u64) -> Command {
        let session = Session { owner: 7, incarnation: Incarnation(incarnation) };
        Command { session, sequence, acked_below, stamp: Time::ZERO, payload: Bytes::new() }
    }

    #[test]
    fn a_sequence_is_admitted_once_in_any_order() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.admit(&command(1, 3, 1)), Admission::First);
        assert_eq!(sessions.admit(&command(1, 1, 1)), Admission::First);
        assert_eq!(sessions.admit(&command(1, 3, 1)), Admission::Repeated);
        assert_eq!(sessions.admit(&command(1, 1, 1)), Admission::Repeated);
        assert_eq!(sessions.admit(&command(1, 2, 1)), Admission::First);
    }

    #[test]
    fn what_the_owner_gave_up_is_never_applied() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.admit(&command(1, 9, 8)), Admission::First);
        assert_eq!(sessions.admit(&command(1, 7, 5)), Admission::Repeated);
        assert_eq!(sessions.admit(&command(1, 8, 5)), Admission::First);
    }

    #[test]
    fn an_older_incarnation_is_dead_for_good() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.admit(&command(1, 1, 1)), Admission::First);
        assert_eq!(sessions.admit(&command(2, 1, 1)), Admission::First);
        assert_eq!(sessions.admit(&command(1, 2, 1)), Admission::Expired);
        assert!(sessions.is_settled(Session { owner: 7, incarnation: Incarnation(1) }, 3));
        assert!(!sessions.is_settled(Session { owner: 7, incarnation: Incarnation(2) }, 3));
    }

    #[test]
    fn nobody_has_no_session() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.admit(&command(0, 1, 1)), Admission::Expired);
        assert_eq!(sessions.len(), 0);
    }

    /// The slow twin: remembers everything for ever.
    #[derive(Default)]
    struct Everything {
        incarnation: u64,
        acked_below: u64,
        applied: BTreeSet<u64>,
    }

    impl Everything {
        fn admit(&mut self, incarnation: u64, sequence: u64, acked_below: u64) -> bool {
            if incarnation < self.incarnation {
                return false;
            }
            if incarnation > self.incarnation {
                *self = Everything { incarnation, ..Everything::default() };
            }
            let first = sequence >= self.acked_below && self.applied.insert(sequence);
            self.acked_below = self.acked_below.max(acked_below);
            first
        }
    }

    #[test]
    fn the_table_of_an_owner_that_keeps_its_window_is_no_larger_than_the_window() {
        const WINDOW: u64 = 8;
        let mut sessions = Sessions::default();
        // The oldest of each window is late: everything else of the window is remembered until it comes.
        for window in 0..5 {
            let oldest = window * WINDOW + 1;
            for sequence in (oldest + 1..oldest + WINDOW).chain([oldest]) {
                assert_eq!(sessions.admit(&command(1, sequence, oldest)), Admission::First);
                assert!(sessions.widest() <= WINDOW as usize);
            }
        }
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_one_that_never_forgets_and_survives_its_encoding(
            commands in proptest::collection::vec((1u64..4, 1u64..20, 0u64..15), 0..80),
        ) {
            let mut sessions = Sessions::default();
            let mut twin = Everything::default();
            for (incarnation, sequence, acked_below) in commands {
                let first = twin.admit(incarnation, sequence, acked_below);
                let admission = sessions.admit(&command(incarnation, sequence, acked_below));
                prop_assert_eq!(admission == Admission::First, first);
                sessions = quorate_wire::decode_exact(quorate_wire::encode_to_bytes(&sessions)).unwrap();
            }
        }
    }
}
