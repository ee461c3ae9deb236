//! A recording begins with the whole replica as bytes: in the middle of random runs, what is read back is what was written.

use super::dice::Dice;
use crate::testbed::Testbed;
use crate::{Recordable, Replica};
use quorate_types::{Member, MemberRole, Membership, NodeId};
use quorate_wire::{decode_exact, encode_to_bytes};
use std::collections::BTreeSet;

/// Runs a cluster of `voters` through one random schedule per seed, with changes of the members among other things, and after every
/// step writes and reads back one of the replicas, on its way through [`Recordable::with_batches`] too. What is read back must go on as
/// the replica would, and that may depend on anything in it: so everything that `Debug` shows is compared, also what equality
/// overlooks. Answers in how many kinds of states pictures were taken, as `Debug` names them after `part_of`.
///
/// # Errors
/// What was read back as something else, in words.
pub fn pictures_survive<R: Recordable>(
    voters: u64,
    config: &R::Config,
    seeds: u64,
    steps: usize,
    part_of: fn(&R) -> &'static str,
) -> Result<BTreeSet<&'static str>, String> {
    let mut parts = BTreeSet::new();
    for seed in 0..seeds {
        let mut dice = Dice::new(seed);
        let mut bed: Testbed<R> = Testbed::new(voters, config.clone()).with_slow_snapshots();
        bed.join(NodeId(voters + 1));
        for step in 0..steps {
            act(&mut bed, &mut dice, voters + 1, step as u64);
            let id = draw(&mut dice, voters + 1);
            if let Some(replica) = bed.node(id).replica() {
                parts.insert(part_of(replica));
                check(replica).map_err(|why| format!("seed {seed}, step {step}: {why}"))?;
            }
        }
    }
    Ok(parts)
}

/// One of the nodes 1 to `nodes`.
fn draw(dice: &mut Dice, nodes: u64) -> NodeId {
    NodeId(dice.next() % nodes + 1)
}

pub(super) fn act<R: Replica>(bed: &mut Testbed<R>, dice: &mut Dice, nodes: u64, step: u64) {
    let id = draw(dice, nodes);
    let flights = bed.flights().len();
    match dice.below(100) {
        0..50 if flights > 0 => bed.deliver(dice.below(flights)),
        50..54 if flights > 0 => bed.lose(dice.below(flights)),
        54..66 => bed.complete_writes(id, dice.below(3)),
        66..74 if !bed.node(id).armed().is_empty() => {
            let armed: Vec<R::Timer> = bed.node(id).armed().iter().copied().collect();
            bed.expire(id, armed[dice.below(armed.len())]);
        }
        74..77 if bed.node(id).replica().is_some() => bed.crash(id, dice.below(2)),
        77..82 if bed.node(id).replica().is_none() => bed.restart(id),
        82..90 if bed.node(id).replica().is_some() => bed.propose(id, step, format!("command {step}")),
        90..93 if bed.node(id).replica().is_some() => bed.checkpoint(id),
        93..95 if !bed.transfers().is_empty() => {
            let transfers = bed.transfers().len();
            bed.deliver_snapshot(dice.below(transfers));
        }
        95..96 => {
            bed.install(id);
        }
        96..98 if bed.node(id).replica().is_some() => wish(bed, dice, id, nodes, step),
        _ => bed.run(20, |_| true),
    }
}

/// The newcomer comes, or goes.
fn wish<R: Replica>(bed: &mut Testbed<R>, dice: &mut Dice, id: NodeId, nodes: u64, step: u64) {
    let newcomer = Member { role: MemberRole::Joining, ..Member::voter(NodeId(nodes)) };
    let present = bed.replica(id).status().membership;
    let others = present.members().iter().filter(|member| member.id.0 != nodes).cloned();
    let members = match present.contains(newcomer.id) && dice.below(2) == 0 {
        true => Membership::new(others),
        false => Membership::new(others.chain([newcomer])),
    };
    bed.reconfigure(id, step, members);
}

fn check<R: Recordable>(replica: &R) -> Result<(), String> {
    let copy = decode_exact::<R>(encode_to_bytes(replica)).map_err(|why| format!("{replica:?}: {why}"))?;
    let same = |copy: &R| format!("{copy:?}") == format!("{replica:?}");
    if !same(&copy) {
        return Err(format!("read back as something else:\n{replica:?}\n{copy:?}"));
    }
    let turned = copy.with_batches(&mut |batch| batch.iter().rev().copied().chain(*b"longer").collect());
    let bytes = encode_to_bytes(&turned);
    let short = decode_exact::<R>(bytes).map_err(|why| format!("with other batches {turned:?}: {why}"))?;
    let back = short.with_batches(&mut |batch| batch[..batch.len() - b"longer".len()].iter().rev().copied().collect());
    match same(&back) {
        true => Ok(()),
        false => Err(format!("with its batches put back it is something else:\n{replica:?}\n{back:?}")),
    }
}
