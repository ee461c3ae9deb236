//! When a majority is gone for good, what is recovered of the rest has everything that any of them knew decided.

use super::dice::Dice;
use super::pictures::act;
use crate::testbed::Testbed;
use crate::{Decision, Inspectable, StoredLog};
use quorate_types::{NodeId, Slot};
use std::collections::BTreeMap;

/// One who might survive: what its disks say, and what its replica knew.
struct Survivor {
    log: StoredLog,
    /// By its disks alone.
    certain: Slot,
    knew: BTreeMap<Slot, Decision>,
}

impl Survivor {
    fn rank(&self) -> (&[u64], Slot) {
        (&self.log.rank, if self.log.slots_stand_alone { self.certain } else { Slot::ZERO })
    }
}

/// Runs a cluster of `voters` through one random schedule per seed, with changes of the members among other things, and at every
/// tenth step takes each set of nodes for what survived. Everything that one of the set knew decided is in the log that is taken
/// of the set ([`StoredLog::inherit`]), in its slot, or in the state that this goes on from; and what a disk says to be certain is no other
/// than what was decided. Answers how often something was looked for in such a log.
///
/// # Errors
/// What was lost, in words.
pub fn survivors_keep_decisions<R: Inspectable>(
    voters: u64,
    config: &R::Config,
    seeds: u64,
    steps: usize,
) -> Result<u64, String> {
    let mut looked_for = 0;
    for seed in 0..seeds {
        let mut dice = Dice::new(seed);
        let mut bed: Testbed<R> = Testbed::new(voters, config.clone()).with_slow_snapshots();
        bed.join(NodeId(voters + 1));
        let mut truth = BTreeMap::new();
        for step in 0..steps {
            act(&mut bed, &mut dice, voters + 1, step as u64);
            for id in 1..=voters + 1 {
                truth.extend(bed.node(NodeId(id)).decided().clone());
            }
            if step % 10 == 0 {
                let broken = |why: String| format!("seed {seed}, step {step}: {why}");
                let survivors: Vec<Survivor> = (1..=voters + 1)
                    .map(|id| survivor(&bed, NodeId(id), &truth))
                    .collect::<Result<_, _>>()
                    .map_err(broken)?;
                for set in 1..1u64 << survivors.len() {
                    let members = (0..).zip(&survivors).filter(|(bit, _)| set >> bit & 1 == 1);
                    let members: Vec<&Survivor> = members.map(|(_, survivor)| survivor).collect();
                    looked_for += check(&members).map_err(|why| broken(format!("of the set {set:b} {why}")))?;
                }
            }
        }
    }
    Ok(looked_for)
}

fn survivor<R: Inspectable>(
    bed: &Testbed<R>,
    id: NodeId,
    truth: &BTreeMap<Slot, Decision>,
) -> Result<Survivor, String> {
    let node = bed.node(id);
    let records = node.records().cloned().zip(1..).map(|(record, ticket)| (quorate_types::Ticket(ticket), record));
    let log = R::stored_log(id, records.collect()).map_err(|why| format!("{id} cannot be read: {why}"))?;
    let certain = log.certainly_decided(id, node.applied_durable());
    let is_wrong =
        |(slot, decided): &(&Slot, &Decision)| log.entry(**slot).is_some_and(|entry| entry.decision != **decided);
    if let Some((slot, decided)) = truth.range(..=certain).find(is_wrong) {
        return Err(format!(
            "{id} says that slot {slot} is certain to be {:?}, and it is {decided:?}",
            log.entry(*slot)
        ));
    }
    Ok(Survivor { log, certain, knew: node.decided().clone() })
}

fn check(members: &[&Survivor]) -> Result<u64, String> {
    let stores = members.iter().filter(|member| member.log.stateless.is_none());
    let Some(best) = stores.max_by(|one, other| one.rank().cmp(&other.rank())) else { return Ok(0) };
    if members.iter().any(|member| member.log.stateless.is_some() && member.rank() > best.rank()) {
        return Ok(0);
    }
    let inherited = best.log.inherit(members.iter().map(|member| &member.log), best.certain);
    let mut looked_for = 0;
    for (slot, decided) in members.iter().flat_map(|member| member.knew.range(best.certain.next()..)) {
        looked_for += 1;
        let found = inherited.decision(*slot);
        if found.as_ref() != Some(decided) {
            return Err(format!("slot {slot} was decided as {decided:?} and is recovered as {found:?}"));
        }
    }
    Ok(looked_for)
}
