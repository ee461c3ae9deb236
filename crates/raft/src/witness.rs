//! Witnesses: members that vote and store no data (dissertation, 11.7.2, names the idea; the rules are ours).
//!
//! A witness is a voter in everything that counts voters: votes, commits, rounds, leases, the check of the quorum. It is not one in
//! anything that needs the data: it never campaigns and is never handed the lead. Five rules, why each is safe, and what it buys.
//!
//! 1. **In every configuration, in each half of a joint one, there are at most as many witnesses as voters with data.** A majority of
//!    `d + w` is more than `w` where `w <= d`, so each holds a voter with data. What is committed is therefore stored, with its
//!    commands, by somebody who may lead; and whoever wins, a voter with data, has a log at least as new as each of a majority.
//! 2. **A witness gets configurations whole, and everything else as an entry with the same slot and term and no commands.** Log
//!    matching, votes and commits look at slots and terms only. Nobody ever takes entries from a witness, for it never leads.
//! 3. **A witness gets nothing that the leader's own disk does not hold yet.** It refuses its vote to whoever lacks what it holds, so an
//!    entry that reached it and was then lost with the leader's memory would stop the cluster for good. This way it waits for
//!    the leader to come back at the most.
//! 4. **A witness gets no entries while the voters with data that keep up are a quorum by themselves**, but for those up to a
//!    committed configuration, which tells it who the members are, and snapshots, which hold what is decided. Then commits need
//!    no witness, and one that knows nothing newer refuses its vote to no voter that survives. A rule about when to send, and so safe
//!    whatever it says. "Keeps up" is what it is for learners (`promotion.rs`): what the leader's log held was copied within an
//!    election timeout, and a heartbeat answered since. At the beginning of a term it is believed of whoever answered the vote.
//! 5. **A snapshot for a witness has an anchor and no data.** It stands for a decided prefix as any other does.
//!
//! What is inherent: once a witness holds an entry that no living voter with data has, the cluster waits for such a voter. Two voters
//! and a witness bear the loss of any one of the three, and of a second voter only after the first has caught up again.

use crate::entry::{Configuration, Entry, Payload};
use crate::leading::Leadership;
use crate::log::{Log, Taken};
use crate::promotion::{CatchUp, note_catch_up};
use crate::replica::Raft;
use crate::rules;
use crate::{config::Config, election::Position};
use bytes::Bytes;
use quorate_protocol::{Event, Outbox};
use quorate_types::{MemberRole, NodeId, Slot};
use std::collections::BTreeMap;

/// Why a witness answers no reads.
pub(crate) const STORES_NO_DATA: &str = "this node is a witness: it votes and stores no data";

/// By what a leader decides whether its witnesses are to have entries. Empty where there is no witness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attendance {
    /// How each other voter with data keeps up.
    pub voters: BTreeMap<NodeId, CatchUp>,
    /// Those that keep up are no quorum.
    pub lacking: bool,
}

impl Attendance {
    /// A heartbeat interval is over.
    pub fn heartbeat(&mut self) {
        self.voters.values_mut().for_each(CatchUp::heartbeat);
    }

    /// It answered the vote that this leader won: it lives.
    pub fn believe(&mut self, voter: NodeId) {
        if let Some(catch_up) = self.voters.get_mut(&voter) {
            catch_up.believe();
        }
    }

    /// Its process is said to be gone.
    pub fn doubt(&mut self, voter: NodeId) -> bool {
        self.voters.get_mut(&voter).is_some_and(CatchUp::doubt)
    }
}

impl Leadership {
    /// A leader watches every other voter with data where there is a witness, and nobody where there is none.
    pub(crate) fn attend(&mut self, in_force: &Configuration, me: NodeId, last: Slot) {
        let has_witness = in_force.all().any(|member| !member.stores_data());
        let counts = |id: NodeId| in_force.all().any(|member| member.id == id && member.role == MemberRole::Voter);
        self.attendance.voters.retain(|id, _| has_witness && counts(*id));
        if !has_witness {
            self.attendance.lacking = false;
            return;
        }
        for id in in_force.others(me).into_iter().filter(|id| counts(*id)) {
            let watched = || self.learners.get(&id).cloned().unwrap_or_else(|| CatchUp::begin(last, self.round));
            self.attendance.voters.entry(id).or_insert_with(watched);
        }
    }
}

impl Entry {
    /// As a witness gets it.
    #[must_use]
    pub fn without_commands(&self) -> Entry {
        let payload = match &self.payload {
            Payload::Command(_) => Payload::Command(Bytes::new()),
            Payload::NoOp | Payload::Members(_) => self.payload.clone(),
        };
        Entry { term: self.term, payload }
    }
}

impl Raft {
    /// Whether this node votes and stores no data, as far as its log tells.
    #[must_use]
    pub fn is_witness(&self) -> bool {
        self.configurations.stores_data(self.me) == Some(false)
    }

    /// At a leader: up to where witnesses may be sent entries now.
    pub(crate) fn witness_through(&self) -> Slot {
        let durable = self.disk.durable;
        match &self.position {
            Position::Leader(leadership) if leadership.attendance.lacking => durable,
            _ => {
                let brought = self.configurations.appended().map(|(_, slot)| slot);
                brought.filter(|slot| *slot <= self.commit).last().unwrap_or(self.log.base()).min(durable)
            }
        }
    }

    /// At a leader: whether witnesses are to have entries.
    pub(crate) fn watch_attendance(&mut self, election_timeout_heartbeats: u32, out: &mut Outbox<Raft>) {
        let (me, last) = (self.me, self.log.last());
        let Position::Leader(leadership) = &mut self.position else { return };
        if !leadership.peers.values().any(|progress| progress.is_witness) {
            return;
        }
        let (round, voters) = (leadership.round, &mut leadership.attendance.voters);
        note_catch_up(voters, &leadership.peers, (last, round), election_timeout_heartbeats, out);
        let attends = |id: NodeId| id == me || voters.get(&id).is_some_and(CatchUp::is_in_sync);
        let quorum = self.configurations.quorum();
        let lacking = !quorum.is_satisfied(attends);
        if std::mem::replace(&mut leadership.attendance.lacking, lacking) != lacking {
            out.trace(|| {
                let event = if lacking { Event::allowed(&rules::WITNESS) } else { Event::refused(&rules::WITNESS) };
                event.votes(quorum.voters().filter(|id| attends(*id)))
            });
        }
    }
}

/// Entries from `from` up to `through` as a witness gets them: as many as the settings let into one append, and at least one.
pub(crate) fn take_for_witness(log: &Log, from: Slot, through: Slot, config: &Config) -> Taken {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for entry in (from.0..=through.0).take(config.append_entries).map_while(|slot| log.get(Slot(slot))) {
        let entry = entry.without_commands();
        if !entries.is_empty() && bytes + entry.bytes() > config.append_bytes {
            break;
        }
        bytes += entry.bytes();
        entries.push(entry);
    }
    Taken { first: from, entries: entries.into(), bytes }
}
