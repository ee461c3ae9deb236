//! A majority is gone for good: a new cluster of one member out of the most advanced survivor. This breaks the promises of the
//! old cluster, so it is never done by itself, never in place, and leaves a cluster that the old members cannot talk to.
//!
//! What is chosen, and why: the survivor whose log is the furthest in the protocol's own order, by which it elects leaders or begins
//! views. Any entry that was acknowledged and that a survivor has is in that log. Multi-Paxos decides slots one by one: there it is the
//! survivor whose state is the furthest, and every slot behind that is what any survivor accepted in the highest ballot, as in phase 1
//! ([`StoredLog::inherit`]). The undecided tail is kept unless the operator cuts it: it may hold what was acknowledged.

use crate::dead_member::{DeadMember, InspectError};
use crate::plan::{Entry, Plan};
use crate::protocol::Protocol;
use crate::restore::{RestoreError, RevisionBump, boot_of, refuse_used};
use quorate_keyspace::{Keyspace, LogPlace, Reply, Request};
use quorate_machine::Staged;
use quorate_protocol::{Stateless, StoredConfiguration, StoredEntry, StoredLog};
use quorate_types::{ClusterId, NodeId, Slot};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The new cluster's terms, configurations or epochs begin so far above every one that a survivor saw.
const GENERATION_DISTANCE: u64 = 1_000;

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
    #[error("{best} is more advanced than {chosen}: {best_end}; of that one {chosen_end}; recover from it instead")]
    NotTheMostAdvanced {
        /// The one to take.
        best: String,
        /// How far it is.
        best_end: String,
        /// The one that was asked for.
        chosen: String,
        /// How far that is.
        chosen_end: String,
    },
    /// There is nothing in it to recover from.
    #[error("{survivor} {why}; so nothing can be recovered from it: name a member that stores data")]
    Stateless {
        /// Whose directory.
        survivor: String,
        /// Why it has no state.
        why: Stateless,
    },
    /// A member without a state proves that something was written which no survivor has.
    #[error(
        "{stateless}, which stores no data, knows more than all others: {stateless_end}; of the most advanced other one, {best}, \
         {best_end}; what is between may have been acknowledged, and is on no disk that is named here; find the member that has it, or \
         leave the directory of the first out to recover without"
    )]
    StatelessKnowsMore {
        /// The one without a state.
        stateless: String,
        /// How far it knows the log.
        stateless_end: String,
        /// The most advanced that stores data.
        best: String,
        /// How far that is.
        best_end: String,
    },
    /// Nothing has to be given up.
    #[error(
        "these survivors are a quorum of the voters ({0}): start them with their data as they are, and nothing is lost; unsafe \
         recovery is refused"
    )]
    QuorumIsHere(String),
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
    /// The log that is recovered.
    inherited: StoredLog,
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
    /// The new cluster's first term, configuration or epoch: greater than any that a survivor saw.
    pub generation: u64,
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
            if member.protocol != members[0].protocol {
                let (one, other) = (members[0].label(), member.label());
                let (here, there) = (members[0].protocol, member.protocol);
                return Err(RecoverError::NotOneCluster(format!("{one} ran {here}, and {other} {there}")));
            }
            if !nodes.insert(node) {
                let why = format!("{} is named twice, or has two copies: name one", member.label());
                return Err(RecoverError::NotOneCluster(why));
            }
        }
        let chosen = &members[0];
        if let Some(why) = chosen.log.stateless.clone() {
            return Err(RecoverError::Stateless { survivor: chosen.label(), why });
        }
        let inherited = chosen.log.inherit(members.iter().map(|member| &member.log), chosen.certainly_decided());
        let survivors = Survivors { members, inherited };
        survivors.check_history()?;
        Ok(survivors)
    }

    /// What the old cluster ran.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.chosen().protocol
    }

    /// The last slot that is recovered if the tail is kept.
    #[must_use]
    pub fn end(&self) -> Slot {
        self.inherited.last()
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

    /// The log that is recovered if the chosen one is the most advanced.
    #[must_use]
    pub fn inherited(&self) -> &StoredLog {
        &self.inherited
    }

    /// Of those that store data the one that is the furthest, see [`DeadMember::rank`]; of several the chosen one.
    #[must_use]
    pub fn most_advanced(&self) -> &DeadMember {
        let stores = self.members.iter().filter(|member| member.log.stateless.is_none());
        stores.fold(self.chosen(), |best, member| if member.rank() > best.rank() { member } else { best })
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
        let knows_more = |member: &&DeadMember| member.log.stateless.is_some() && member.rank() > best.rank();
        if let Some(stateless) = self.members.iter().find(knows_more) {
            return Err(RecoverError::StatelessKnowsMore {
                stateless: stateless.label(),
                stateless_end: stateless.rank_words(),
                best: best.label(),
                best_end: best.rank_words(),
            });
        }
        if best.rank() > chosen.rank() {
            return Err(RecoverError::NotTheMostAdvanced {
                best: best.label(),
                best_end: best.rank_words(),
                chosen: chosen.label(),
                chosen_end: chosen.rank_words(),
            });
        }
        let here: BTreeSet<NodeId> =
            self.members.iter().map(|member| Ok(ids(member)?.1)).collect::<Result<_, RecoverError>>()?;
        // What is brought and not in force yet would be, and its members must be able to go on.
        let known = chosen.log.configuration().into_iter().chain(self.inherited.successor());
        let halves: Vec<BTreeSet<NodeId>> =
            known.flat_map(StoredConfiguration::halves).map(|half| half.voters().collect()).collect();
        let sizes = &chosen.log.quorum_sizes;
        let needed = |half: &BTreeSet<NodeId>| sizes.get(&half.len()).copied().unwrap_or(half.len() / 2 + 1);
        let is_there = |half: &BTreeSet<NodeId>| half.intersection(&here).count() >= needed(half);
        if !halves.is_empty() && halves.iter().all(is_there) {
            let voters: BTreeSet<NodeId> = halves.into_iter().flatten().collect();
            let found = voters.intersection(&here).count();
            return Err(RecoverError::QuorumIsHere(format!("{found} of {}", voters.len())));
        }
        Ok(())
    }

    /// Entries of one origin in one slot are the same, and what one knows decided the most advanced one has.
    fn check_history(&self) -> Result<(), RecoverError> {
        let best = self.most_advanced();
        for other in &self.members {
            // What one without a state knows decided and the others do not have is no contradiction between them; `judge` looks at it.
            let decided = match other.log.stateless {
                Some(_) => other.certainly_decided().min(best.log.last()),
                None => other.certainly_decided(),
            };
            let pair = format!("{} and {}", best.label(), other.label());
            if best.log.last().max(best.certainly_decided()) < decided {
                let why = format!("{pair}: slot {decided} is decided by the one and not in the other's longer log");
                return Err(RecoverError::Contradiction(why));
            }
            // Where slots stand alone, the most advanced one may have something that lost in a slot that the other knows decided.
            let both = if best.log.slots_stand_alone { decided.min(best.certainly_decided()) } else { decided };
            let slots = std::iter::once(other.log.base).chain(other.log.entries.keys().copied());
            if let Some(slot) = slots.into_iter().find(|slot| contradict(&best.log, &other.log, *slot, both)) {
                return Err(RecoverError::Contradiction(format!("{pair} have different entries in slot {slot}")));
            }
        }
        Ok(())
    }

    /// Every id that belonged to the old cluster, as far as the survivors know.
    fn old_ids(&self) -> BTreeSet<NodeId> {
        let mut old = BTreeSet::new();
        for member in &self.members {
            old.extend(ids(member).map(|(_, node)| node));
            old.extend(member.log.ids());
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
        let ran = self.protocol();
        if plan.protocol != ran {
            let why = format!(
                "what is left of a cluster that ran {ran} is recovered into one that does, not {}",
                plan.protocol
            );
            return Err(RecoverError::Identity(why));
        }
        refuse_used(plan)?;
        let (chosen, decided) = (self.chosen(), self.known_decided());
        let through = match tail {
            Tail::Keep => self.end(),
            Tail::Cut => decided,
        };
        let state = chosen.state_by(&self.inherited, through);
        let state = state.map_err(|why| RecoverError::Apply { survivor: chosen.label(), why })?;
        // The entry that makes this member the only one stands behind the old log.
        let slot = through.next();
        let mut state = state.into_state();
        let revision_before = state.revision();
        let leases_ended = end_leases(&mut state, slot)?;
        let (revision, by) = (state.revision(), bump.get());
        let bumped = state.bump_revision(by).ok_or(RestoreError::Revision { revision, by })?;
        let seen = self.members.iter().map(|member| member.log.generation).max().unwrap_or_default();
        let generation = seen.saturating_add(GENERATION_DISTANCE);
        let boot = boot_of(*cluster, *me, members)?;
        let state = Staged::of_new_cluster(state, slot);
        (plan.protocol.ways().restore)(plan, &boot, members, &state, generation)?;
        Ok(Recovered {
            revision: bumped,
            revision_before,
            through,
            tail_kept: through.0.saturating_sub(decided.0),
            tail_dropped: self.end().0.saturating_sub(through.0),
            leases_ended,
            generation,
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

/// Whether these two cannot both be true of one slot, which is decided if it is not behind `decided`.
fn contradict(best: &StoredLog, other: &StoredLog, slot: Slot, decided: Slot) -> bool {
    let origins = (best.origin_at(slot), other.origin_at(slot));
    let are_of_one_origin = matches!(origins, (Some(one), Some(two)) if one == two);
    let are_of_two = matches!(origins, (Some(one), Some(two)) if one != two);
    let are_different = |one: &StoredEntry, two: &StoredEntry| match other.stateless {
        Some(_) => one.without_commands().decision != two.decision,
        None => one.decision != two.decision || one.brings != two.brings,
    };
    let are_different_here =
        matches!((best.entry(slot), other.entry(slot)), (Some(one), Some(two)) if are_different(one, two));
    let is_decided = slot <= decided;
    // A value that is decided is proposed again in later ballots; elsewhere a decided entry has one origin for ever.
    (is_decided && are_of_two && !best.slots_stand_alone) || ((is_decided || are_of_one_origin) && are_different_here)
}

fn ids(member: &DeadMember) -> Result<(ClusterId, NodeId), RecoverError> {
    match &member.survey.identity {
        Some(identity) => Ok((identity.cluster, identity.node)),
        None => Err(RecoverError::Damaged { survivor: member.label(), why: "nothing says whose it is".to_owned() }),
    }
}
