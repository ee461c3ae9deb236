//! What one node counts on, compared with what the others have.
//!
//! `MatchedIsThere`: what a leader takes a peer to have, the peer has. A leader that takes too much to be there decides with fewer
//! than a quorum; what is decided so is lost only if the right nodes fall in the right order, and nobody need wait for that.
//! `ElectedByQuorum`: of each half of its voters a quorum voted for a new leader; who is down, or in a later era, may have.
//! `HeardIsThere`: whose answer a leader counts is in its era, or in a later one.
//! `RetiredWhenKnown`: nobody retires before a majority of those who stay go by members without it; who is down may.
//! `DecidedByQuorum`: of each half of its voters a quorum has what a leader calls decided; who is down may have it.
//! `DecidedIsKept`: nobody without it would be elected by those who run, where only who has everything can be.
//! What else holds of all who run together, [`Subject::check_together`] says, then and now and then.
//! `LeaseExclusive`: while a leader may answer reads without asking, nobody takes proposals in a later era.

use super::judge::Finding;
use super::subject::{Decided, Judged, Subject};
use crate::world::World;
use quorate_protocol::era_words;
use quorate_types::{Membership, NodeId};

/// Looks at every leader.
pub(super) fn check<R: Subject, S: Judged>(world: &World<R, S>) -> Result<(), Finding> {
    check_leases(world)?;
    check_heard(world)?;
    check_matched(world)?;
    check_together(world)
}

/// Looks at all who run together and on whom each may count.
fn check_together<R: Subject, S: Judged>(world: &World<R, S>) -> Result<(), Finding> {
    let running: Vec<&R> = world.nodes().filter_map(|node| sound_to_all(world, node)).collect();
    R::check_together(&running).map_err(|violation| (violation.invariant, violation.detail))
}

/// The replica of a node that runs, if what it has is what everybody may count on. One that was brought back with a copy of older disks
/// is sound to itself: it must not be taken for what the others have.
fn sound_to_all<R: Subject, S: Judged>(world: &World<R, S>, guest: NodeId) -> Option<&R> {
    world.node(guest).filter(|_| world.nodes().all(|host| world.is_sound(host, guest))).map(|node| node.replica())
}

/// The replica of a node that runs, if what it has is what `host` may count on.
fn sound<R: Subject, S: Judged>(world: &World<R, S>, host: NodeId, guest: NodeId) -> Option<&R> {
    world.node(guest).filter(|_| world.is_sound(host, guest)).map(|node| node.replica())
}

/// Looks at a new leader.
pub(super) fn check_elected<R: Subject, S: Judged>(world: &World<R, S>, leader: NodeId) -> Result<(), Finding> {
    let Some(replica) = world.node(leader).map(|node| node.replica()) else { return Ok(()) };
    let era = replica.status().era;
    let may_have =
        |voter: &&NodeId| sound(world, leader, **voter).is_none_or(|voter| voter.may_have_elected(leader, era));
    let is_missing = |half: &&Vec<NodeId>| half.iter().filter(may_have).count() < replica.enough_to_elect(half.len());
    match replica.standing().halves.iter().find(is_missing) {
        None => Ok(()),
        Some(half) => {
            let voted: Vec<&NodeId> = half.iter().filter(may_have).collect();
            let era = era_words(era);
            let detail = format!("{leader} leads era {era}, and of {half:?} only {voted:?} may have voted for it");
            Err(("ElectedByQuorum", detail))
        }
    }
}

/// Looks at who has just retired. What it had, above all that others are to go on without it, may be nowhere else: a majority of those
/// go by that.
pub(super) fn check_retired<R: Subject, S: Judged>(
    world: &World<R, S>,
    leaver: NodeId,
    members: &Membership,
) -> Result<(), Finding> {
    let knows =
        |voter: &NodeId| sound_to_all(world, *voter).is_none_or(|voter| !voter.status().membership.contains(leaver));
    let voters: Vec<NodeId> = members.voters().collect();
    let know: Vec<NodeId> = voters.iter().copied().filter(knows).collect();
    if know.len() * 2 > voters.len() {
        return Ok(());
    }
    Err(("RetiredWhenKnown", format!("{leaver} retired, and of {voters:?} only {know:?} may go by members without it")))
}

/// Looks at what somebody calls decided, when it has just found it so.
pub(super) fn check_decided<R: Subject, S: Judged>(world: &World<R, S>, leader: NodeId) -> Result<(), Finding> {
    check_together(world)?;
    let Some(replica) = world.node(leader).map(|node| node.replica()) else { return Ok(()) };
    let Some(decided) = replica.calls_decided() else { return Ok(()) };
    let (slot, entry) = (decided.slot, decided.entry);
    let may_have = |voter: &&NodeId| sound(world, leader, **voter).is_none_or(|voter| voter.holds(slot, entry));
    let carried = |half: &Vec<NodeId>| half.iter().filter(may_have).count() >= replica.enough_to_decide(half.len());
    if !decided.by.iter().any(|halves| halves.iter().all(carried)) {
        let detail = format!(
            "{leader} calls slot {slot} with entry {entry} decided, and of none of {:?} enough have it",
            decided.by
        );
        return Err(("DecidedByQuorum", detail));
    }
    check_kept(world, leader, &decided)
}

/// Looks, when it was just found and again later, at what `leader` called decided: who lacks it may have got a newer log since, or
/// those whose own is newer may be down.
pub(super) fn check_kept<R: Subject, S: Judged>(
    world: &World<R, S>,
    leader: NodeId,
    decided: &Decided,
) -> Result<(), Finding> {
    if !R::LEADERS_HAVE_EVERYTHING {
        return Ok(());
    }
    match world.nodes().find(|node| wins_without(world, *node, decided)) {
        None => Ok(()),
        Some(node) => {
            let (slot, entry) = (decided.slot, decided.entry);
            let detail = format!(
                "{leader} calls slot {slot} with entry {entry} decided, and {node}, which has it not, would be elected"
            );
            Err(("DecidedIsKept", detail))
        }
    }
}

/// Whether `node` has not what is decided, and those who run and have no newer log than its own are enough to elect it.
fn wins_without<R: Subject, S: Judged>(world: &World<R, S>, node: NodeId, decided: &Decided) -> bool {
    let lacks_it = world.node(node).is_some_and(|node| !node.replica().holds(decided.slot, decided.entry));
    if !lacks_it || world.is_witness(node) || world.is_removed(node) {
        return false;
    }
    let Some(replica) = sound_to_all(world, node) else { return false };
    let own = replica.standing();
    let agrees =
        |voter: &&NodeId| sound_to_all(world, **voter).is_some_and(|voter| voter.standing().log_end <= own.log_end);
    let carried = |half: &Vec<NodeId>| half.iter().filter(agrees).count() >= replica.enough_to_elect(half.len());
    own.halves.iter().any(|half| half.contains(&node)) && own.halves.iter().all(carried)
}

fn check_leases<R: Subject, S: Judged>(world: &World<R, S>) -> Result<(), Finding> {
    let Some((newest, successor)) = world.reign() else { return Ok(()) };
    for id in world.nodes() {
        let Some(replica) = world.node(id).map(|node| node.replica()) else { continue };
        let (era, reads_alone) = (replica.status().era, world.clock_of(id).is_some_and(|now| replica.reads_alone(now)));
        if era < newest && reads_alone {
            let (era, newest) = (era_words(era), era_words(newest));
            let detail = format!("{id} has a lease of era {era}, and {successor} takes proposals in era {newest}");
            return Err(("LeaseExclusive", detail));
        }
    }
    Ok(())
}

/// An answer of an era shows that its sender has come to it, durably.
fn check_heard<R: Subject, S: Judged>(world: &World<R, S>) -> Result<(), Finding> {
    for leader in world.nodes() {
        let Some(replica) = world.node(leader).map(|node| node.replica()) else { continue };
        let era = replica.status().era;
        for peer in replica.has_heard() {
            let peers_era = world.node(peer).map(|peer| peer.replica().status().era);
            if let Some(peers_era) = peers_era.filter(|peers| *peers < era && world.is_sound(leader, peer)) {
                let (era, peers_era) = (era_words(era), era_words(peers_era));
                let detail =
                    format!("{leader} leads era {era} and counts an answer of {peer}, which is in era {peers_era}");
                return Err(("HeardIsThere", detail));
            }
        }
    }
    Ok(())
}

/// A peer that has gone on to another era may have lost again what it had.
fn check_matched<R: Subject, S: Judged>(world: &World<R, S>) -> Result<(), Finding> {
    for leader in world.nodes() {
        let Some(replica) = world.node(leader).map(|node| node.replica()) else { continue };
        let era = replica.status().era;
        for trust in replica.trusts() {
            let Some(peer) = world.node(trust.peer).map(|peer| peer.replica()) else { continue };
            let counts = peer.status().era == era && world.is_sound(leader, trust.peer);
            if counts && !peer.holds(trust.slot, trust.entry) {
                let era = era_words(era);
                let detail = format!(
                    "{leader} leads era {era} and takes {} to have its log up to {}, with entry {} there: it has not",
                    trust.peer, trust.slot, trust.entry
                );
                return Err(("MatchedIsThere", detail));
            }
        }
    }
    Ok(())
}
