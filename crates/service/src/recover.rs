//! A majority is gone for good: a new cluster of one member out of the most advanced survivor. This breaks the promises of the
//! old cluster, so it is never done by itself, never in place, and leaves a cluster that the old members cannot talk to.
//!
//! What is chosen, and why: of Raft, the survivor whose log ends in the greatest (term, slot). Any entry that was acknowledged and
//! that a survivor has is in that log, by the rule that elects leaders. Its undecided tail is kept unless the operator cuts it:
//! it may hold what was acknowledged.

use crate::dead_member::{DeadMember, InspectError};
use crate::plan::{Entry, Plan};
use crate::protocol::Protocol;
use crate::restore::{RestoreError, RevisionBump, boot_of, refuse_used, write_founder};
use quorate_keyspace::{Keyspace, LogPlace, Reply, Request};
use quorate_machine::Staged;
use quorate_node::Restoration;
use quorate_quorum::Quorum;
use quorate_raft::{Configuration, Entry as LogEntry, Payload, Raft, founded_behind_term};
use quorate_types::{ClusterId, NodeId, Slot};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The new cluster's terms begin so far above every term that a survivor saw.
const TERM_DISTANCE: u64 = 1_000;

/// What becomes of the entries of which nobody knows whether they were decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// They count as decided: some of them may have been acknowledged.
    Keep,
    /// They are dropped, acknowledged or not.
    Cut,
}

/// Why nothing is recovered. Nothing was written, but for [`RecoverError::Write`].
#[derive(Debug, Error)]
pub enum RecoverError {
    /// A directory cannot be read.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// A survivor's data would not let a node start.
    #[error("{survivor} cannot be recovered from: {why}")]
    Damaged {
        /// Whose.
        survivor: String,
        /// The first problem.
        why: String,
    },
    /// Two directories of one member, or of two clusters.
    #[error("{0}")]
    NotOneCluster(String),
    /// Two survivors' logs cannot be of one history.
    #[error(
        "{0}: two survivors contradict each other, so at least one was tampered with or is damaged; nothing is done"
    )]
    Contradiction(String),
    /// Another survivor has more.
    #[error(
        "{best} is more advanced than {chosen}: its log ends in term {} at slot {}, that one's in term {} at slot {}; recover from \
         it instead", best_end.0, best_end.1, chosen_end.0, chosen_end.1
    )]
    NotTheMostAdvanced {
        /// The one to take.
        best: String,
        /// Its last term and slot.
        best_end: (u64, Slot),
        /// The one that was asked for.
        chosen: String,
        /// Its last term and slot.
        chosen_end: (u64, Slot),
    },
    /// There is nothing to recover.
    #[error(
        "{0} is a witness: it votes and stores no data, so nothing can be recovered from it; name a member that stores data"
    )]
    Witness(String),
    /// A witness proves that something was written which no survivor has.
    #[error(
        "{witness}, which stores no data, knows the log to term {} at slot {}, and {best} has it only to term {} at slot {}: what is \
         between may have been acknowledged, and is on no disk that is named here; find the member that has it, or leave the \
         witness's directory out to recover without", witness_end.0, witness_end.1, best_end.0, best_end.1
    )]
    WitnessKnowsMore {
        /// The witness.
        witness: String,
        /// Its last term and slot.
        witness_end: (u64, Slot),
        /// The most advanced that stores data.
        best: String,
        /// Its last term and slot.
        best_end: (u64, Slot),
    },
    /// Nothing has to be given up.
    #[error(
        "these survivors are a majority of the voters ({0}): start them with their data as they are, and nothing is lost; unsafe \
         recovery is refused"
    )]
    MajorityIsHere(String),
    /// The plan is not that of a lone founder with ids that nobody had.
    #[error("{0}")]
    Identity(String),
    /// The log cannot be applied.
    #[error("the log of {survivor} cannot be applied: {why}")]
    Apply {
        /// Whose.
        survivor: String,
        /// What is wrong.
        why: String,
    },
    /// A lease could not be ended.
    #[error("lease {lease:x} cannot be ended: {why}")]
    Lease {
        /// Which.
        lease: i64,
        /// Why.
        why: String,
    },
    /// The new directory is not empty or cannot be written, or the revision would leave its range.
    #[error(transparent)]
    Write(#[from] RestoreError),
}

/// What is left of a cluster.
#[derive(Debug)]
pub struct Survivors {
    /// The first is the one to recover from.
    members: Vec<DeadMember>,
}

/// What came of a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The new cluster's first revision.
    pub revision: i64,
    /// The revision of the last entry that was kept.
    pub revision_before: i64,
    /// Everything up to this slot of the old log is in it.
    pub through: Slot,
    /// Entries that became decided by this, without anybody knowing whether they were.
    pub tail_kept: u64,
    /// Entries that were dropped.
    pub tail_dropped: u64,
    /// Leases that were ended, with their keys.
    pub leases_ended: u64,
    /// The term that stands for the old log.
    pub term: u64,
}

impl Survivors {
    /// Reads the directory to recover from, and those of all other survivors.
    ///
    /// # Errors
    /// When one cannot be read or its data would not let a node start, or they are not different members of one cluster.
    pub fn gather(chosen: &Path, others: &[PathBuf]) -> Result<Survivors, RecoverError> {
        let directories = [chosen].into_iter().chain(others.iter().map(PathBuf::as_path));
        let members: Vec<DeadMember> = directories.map(DeadMember::read).collect::<Result<_, InspectError>>()?;
        let mut nodes = BTreeSet::new();
        for member in &members {
            if let Some(why) = member.problems.first() {
                return Err(RecoverError::Damaged { survivor: member.label(), why: why.clone() });
            }
            let (cluster, node) = ids(member)?;
            if cluster != ids(&members[0])?.0 {
                let (one, other) = (members[0].label(), member.label());
                return Err(RecoverError::NotOneCluster(format!("{one} and {other} are of different clusters")));
            }
            if !nodes.insert(node) {
                let why = format!("{} is named twice, or has two copies: name one", member.label());
                return Err(RecoverError::NotOneCluster(why));
            }
        }
        if members[0].is_witness() {
            return Err(RecoverError::Witness(members[0].label()));
        }
        let survivors = Survivors { members };
        survivors.check_history()?;
        Ok(survivors)
    }

    /// All of them; the first is the one to recover from.
    #[must_use]
    pub fn members(&self) -> &[DeadMember] {
        &self.members
    }

    /// The one to recover from.
    #[must_use]
    pub fn chosen(&self) -> &DeadMember {
        &self.members[0]
    }

    /// The old cluster, and the chosen member in it.
    #[must_use]
    pub fn ids(&self) -> (ClusterId, NodeId) {
        ids(self.chosen()).unwrap_or_default()
    }

    /// Of those that store data the one whose log ends in the greatest term, and of these at the greatest slot.
    #[must_use]
    pub fn most_advanced(&self) -> &DeadMember {
        let stores = self.members.iter().filter(|member| !member.is_witness());
        stores.fold(self.chosen(), |best, member| if end(member) > end(best) { member } else { best })
    }

    /// Everything up to here is decided: some survivor's disk proves it.
    #[must_use]
    pub fn known_decided(&self) -> Slot {
        self.members.iter().map(DeadMember::certainly_decided).max().unwrap_or_default()
    }

    /// Whether what is asked for may be done at all.
    ///
    /// # Errors
    /// When another survivor is more advanced, a witness among them too, or the survivors need no recovery.
    pub fn judge(&self) -> Result<(), RecoverError> {
        let (best, chosen) = (self.most_advanced(), self.chosen());
        if let Some(witness) = self.members.iter().find(|member| member.is_witness() && end(member) > end(best)) {
            return Err(RecoverError::WitnessKnowsMore {
                witness: witness.label(),
                witness_end: end(witness),
                best: best.label(),
                best_end: end(best),
            });
        }
        if end(best) > end(chosen) {
            return Err(RecoverError::NotTheMostAdvanced {
                best: best.label(),
                best_end: end(best),
                chosen: chosen.label(),
                chosen_end: end(chosen),
            });
        }
        let here: BTreeSet<NodeId> =
            self.members.iter().map(|member| Ok(ids(member)?.1)).collect::<Result<_, RecoverError>>()?;
        let Configuration { outgoing, members } = chosen.log.configuration().1;
        let halves: Vec<Quorum> = outgoing.iter().chain([members]).map(Quorum::of).collect();
        if halves.iter().all(|half| !half.is_empty() && half.is_satisfied(|id| here.contains(&id))) {
            let voters: BTreeSet<NodeId> = halves.iter().flat_map(Quorum::voters).collect();
            let found = voters.intersection(&here).count();
            return Err(RecoverError::MajorityIsHere(format!("{found} of {}", voters.len())));
        }
        Ok(())
    }

    /// Entries with the same slot and term are the same, and what one knows decided the most advanced one has.
    fn check_history(&self) -> Result<(), RecoverError> {
        let best = self.most_advanced();
        for other in &self.members {
            // What a witness knows decided and the others do not have is no contradiction between them; `judge` looks at it.
            let decided = if other.is_witness() {
                other.certainly_decided().min(best.log.last())
            } else {
                other.certainly_decided()
            };
            let pair = format!("{} and {}", best.label(), other.label());
            if best.log.last() < decided {
                let why = format!("{pair}: slot {decided} is decided by the one and not in the other's longer log");
                return Err(RecoverError::Contradiction(why));
            }
            for slot in (other.log.base.slot.0..=other.log.last().0).map(Slot) {
                let terms = (best.log.term_at(slot), other.log.term_at(slot));
                let (Some(one), Some(two)) = terms else { continue };
                let are_different_decided = one != two && slot <= decided;
                let entries = (best.log.entry(slot), other.log.entry(slot));
                let are_different = |a: &LogEntry, b: &LogEntry| match other.is_witness() {
                    true => a.without_commands() != *b,
                    false => a != b,
                };
                let are_different_entries = one == two && matches!(entries, (Some(a), Some(b)) if are_different(a, b));
                if are_different_decided || are_different_entries {
                    return Err(RecoverError::Contradiction(format!("{pair} have different entries in slot {slot}")));
                }
            }
        }
        Ok(())
    }

    /// Every id that belonged to the old cluster, as far as the survivors know.
    fn old_ids(&self) -> BTreeSet<NodeId> {
        let mut old = BTreeSet::new();
        for member in &self.members {
            old.extend(ids(member).map(|(_, node)| node));
            let brought = member.log.entries.iter().filter_map(|entry| match &entry.payload {
                Payload::Members(configuration) => Some(configuration.as_ref()),
                Payload::Command(_) | Payload::NoOp => None,
            });
            let configurations = brought.chain([&member.log.base.configuration]);
            old.extend(configurations.flat_map(Configuration::all).map(|known| known.id));
            if let Some(roster) = member.checkpoint().map(Staged::roster) {
                old.extend(roster.removed().chain(roster.members().members().iter().map(|known| known.id)));
            }
        }
        old
    }

    fn check_identity(&self, cluster: ClusterId, me: NodeId) -> Result<(), RecoverError> {
        let what = if cluster == self.ids().0 {
            format!("cluster id {:x} is the old cluster's", cluster.0)
        } else if self.old_ids().contains(&me) {
            format!("member id {:x} was a member's of the old cluster", me.0)
        } else {
            return Ok(());
        };
        let why =
            format!("{what}, so the lost members could talk to the new cluster: give another --initial-cluster-token");
        Err(RecoverError::Identity(why))
    }

    /// Writes the plan's data directory: the only member of a new cluster, which begins with the chosen survivor's state. All leases
    /// are ended with their keys, sessions are left behind, the revision is raised by `bump` and compacted there.
    ///
    /// # Errors
    /// As the variants of [`RecoverError`] say. The survivors' directories are not changed in any case.
    pub fn recover(&self, plan: &Plan, tail: Tail, bump: RevisionBump) -> Result<Recovered, RecoverError> {
        self.judge()?;
        let Entry::Found { cluster, me, members } = &plan.entry else { return Err(RestoreError::Joins.into()) };
        if members.voters().collect::<Vec<_>>() != [*me] {
            let why = "a recovered cluster begins with one member; add the others to it when it runs";
            return Err(RecoverError::Identity(why.to_owned()));
        }
        self.check_identity(*cluster, *me)?;
        if plan.protocol != Protocol::Raft {
            let why = format!(
                "what is left of a cluster that ran raft is recovered into one that does, not {}",
                plan.protocol
            );
            return Err(RecoverError::Identity(why));
        }
        refuse_used(plan)?;
        let (chosen, decided) = (self.chosen(), self.known_decided());
        let through = match tail {
            Tail::Keep => chosen.log.last(),
            Tail::Cut => decided,
        };
        let state = chosen.state_through(through);
        let state = state.map_err(|why| RecoverError::Apply { survivor: chosen.label(), why })?;
        // The entry that makes this member the only one stands behind the old log.
        let slot = through.next();
        let mut state = state.into_state();
        let revision_before = state.revision();
        let leases_ended = end_leases(&mut state, slot)?;
        let (revision, by) = (state.revision(), bump.get());
        let bumped = state.bump_revision(by).ok_or(RestoreError::Revision { revision, by })?;
        let term =
            self.members.iter().map(|member| member.log.term).max().unwrap_or_default().saturating_add(TERM_DISTANCE);
        let (records, anchor) = founded_behind_term(members, slot, term);
        let boot = boot_of(*cluster, *me, members)?;
        let state = Staged::of_new_cluster(state, slot);
        write_founder::<Raft>(plan, &Restoration { boot: &boot, state: &state, records: &records, anchor: &anchor })?;
        Ok(Recovered {
            revision: bumped,
            revision_before,
            through,
            tail_kept: through.0 - decided.0,
            tail_dropped: chosen.log.last().0 - through.0,
            leases_ended,
            term,
        })
    }
}

/// Whoever holds a lock by a lease must not go on believing it: all leases end, with their keys, and the raised revision is a
/// greater fencing token than any that was given out.
fn end_leases(state: &mut Keyspace, slot: Slot) -> Result<u64, RecoverError> {
    let leases: Vec<i64> = state.leases().map(|(id, _)| id).collect();
    for (index, lease) in (0u32..).zip(&leases) {
        let reply = state.apply_request(LogPlace { slot, index }, &Request::LeaseRevoke { id: *lease });
        if let Reply::Error(why) = reply {
            return Err(RecoverError::Lease { lease: *lease, why: why.to_string() });
        }
    }
    Ok(leases.len() as u64)
}

fn ids(member: &DeadMember) -> Result<(ClusterId, NodeId), RecoverError> {
    match &member.survey.identity {
        Some(identity) => Ok((identity.cluster, identity.node)),
        None => Err(RecoverError::Damaged { survivor: member.label(), why: "nothing says whose it is".to_owned() }),
    }
}

fn end(member: &DeadMember) -> (u64, Slot) {
    (member.log.last_term(), member.log.last())
}
