//! The numbered invariants of the crate's first page, one function each.

use crate::ballot::{Ballot, Proposal, ballot_of};
use crate::proposer::Phase;
use crate::replica::Claim;
use crate::{Message, Paxos};
use bytes::Bytes;
use quorate_protocol::Violation;
use quorate_types::NodeId;
use std::collections::BTreeMap;

/// Everything one replica can see by itself.
pub(crate) fn check(paxos: &Paxos) -> Result<(), Violation> {
    i1_accepted_le_promised(paxos)?;
    i2_promise_monotone(paxos)?;
    i3_one_value_per_ballot(paxos)?;
    i4_agreement(paxos)?;
    i5_rounds_are_never_reused(paxos)
}

fn violation(invariant: &'static str, detail: String) -> Result<(), Violation> {
    Err(Violation { invariant, detail })
}

fn i1_accepted_le_promised(paxos: &Paxos) -> Result<(), Violation> {
    let (accepted, promised) = (ballot_of(paxos.accepted()), paxos.promised());
    if accepted > promised {
        let detail = format!("{} accepted at {accepted} and has promised only {promised}", paxos.me);
        return violation("I1 AcceptedLePromised", detail);
    }
    Ok(())
}

/// Between opens the writes under way show the way up; over restarts, `open` refuses records that go down.
fn i2_promise_monotone(paxos: &Paxos) -> Result<(), Violation> {
    let mut last = Ballot::NONE;
    for claim in paxos.written.iter() {
        let next = match claim {
            Claim::Promise { ballot, .. } => *ballot,
            Claim::Accepted(proposal) => proposal.ballot,
            Claim::Round(_) | Claim::Chosen => continue,
        };
        if next < last || next > paxos.promised() {
            let detail =
                format!("{} writes promise {next} after {last}, its promise is {}", paxos.me, paxos.promised());
            return violation("I2 PromiseMonotone", detail);
        }
        last = next;
    }
    Ok(())
}

fn i3_one_value_per_ballot(paxos: &Paxos) -> Result<(), Violation> {
    let mut known: BTreeMap<Ballot, &Bytes> = BTreeMap::new();
    let proposing = match &paxos.proposer.phase {
        Phase::Proposing { proposal } => Some((proposal.ballot, &proposal.value)),
        _ => None,
    };
    let accepted = paxos.accepted().map(|proposal| (proposal.ballot, &proposal.value));
    let tallied = paxos.learner.tallies.iter().map(|(ballot, tally)| (*ballot, &tally.value));
    for (ballot, value) in proposing.into_iter().chain(accepted).chain(tallied) {
        if let Some(other) = known.insert(ballot, value)
            && other != value
        {
            let detail = format!("{} sees both {other:?} and {value:?} at {ballot}", paxos.me);
            return violation("I3 OneValuePerBallot", detail);
        }
    }
    Ok(())
}

fn i4_agreement(paxos: &Paxos) -> Result<(), Violation> {
    match (&paxos.learner.chosen, &paxos.learner.contradiction) {
        (Some(chosen), Some(other)) => {
            let detail = format!("{} knows {chosen:?} as chosen and is told {other:?}", paxos.me);
            violation("I4 Agreement", detail)
        }
        _ => Ok(()),
    }
}

fn i5_rounds_are_never_reused(paxos: &Paxos) -> Result<(), Violation> {
    let of_me = [Some(paxos.promised()), Some(ballot_of(paxos.accepted())), paxos.proposer.ballot()];
    let last_round = paxos.proposer.last_round;
    match of_me.into_iter().flatten().find(|ballot| ballot.node == paxos.me && ballot.round > last_round) {
        Some(ballot) => {
            let detail = format!("{} has used ballot {ballot} and knows {last_round} as its last round", paxos.me);
            violation("I5 RoundsNeverReused", detail)
        }
        None => Ok(()),
    }
}

/// I6 ChosenSafe, over a whole cluster: once a phase-2 quorum of acceptors has accepted one ballot, every accept
/// request and every acceptance of a higher ballot carries the same value. `replicas` are all running ones, `messages` those in
/// flight. One state is looked at, so a choice is seen while its quorum still holds that very ballot; drivers check every state.
///
/// # Errors
/// The first proposal that contradicts a choice.
pub fn check_chosen_is_safe<'a>(
    replicas: impl IntoIterator<Item = &'a Paxos>,
    messages: impl IntoIterator<Item = &'a Message>,
) -> Result<(), Violation> {
    let replicas: Vec<&Paxos> = replicas.into_iter().collect();
    let Some(quorums) = replicas.iter().find_map(|paxos| paxos.quorums) else { return Ok(()) };
    let accepted: Vec<(NodeId, &Proposal)> =
        replicas.iter().filter_map(|paxos| paxos.accepted().map(|proposal| (paxos.me, proposal))).collect();
    let mut holders: BTreeMap<Ballot, (usize, &Bytes)> = BTreeMap::new();
    for (_, proposal) in &accepted {
        holders.entry(proposal.ballot).or_insert((0, &proposal.value)).0 += 1;
    }
    let Some((chosen_at, (_, chosen))) = holders.iter().find(|(_, (count, _))| quorums.is_phase2(*count)) else {
        return Ok(());
    };
    let requests = messages.into_iter().filter_map(|message| match message {
        Message::Accept { ballot, value } => Some((*ballot, value)),
        _ => None,
    });
    let acceptances = accepted.iter().map(|(_, proposal)| (proposal.ballot, &proposal.value));
    for (ballot, value) in requests.chain(acceptances) {
        if ballot > *chosen_at && value != *chosen {
            let detail = format!("{chosen:?} is chosen at {chosen_at}, and {ballot} carries {value:?}");
            return violation("I6 ChosenSafe", detail);
        }
    }
    Ok(())
}

/// I7 `KnownIsChosen`, over a whole cluster: where somebody knows the decision, no phase-1 quorum of those who run would make a
/// proposer choose another. `replicas` are all running ones.
///
/// # Errors
/// A decision that is known somewhere, and could still be another.
pub fn check_known_is_chosen<'a>(replicas: impl IntoIterator<Item = &'a Paxos>) -> Result<(), Violation> {
    let replicas: Vec<&Paxos> = replicas.into_iter().collect();
    let Some((knower, known)) = replicas.iter().find_map(|paxos| Some((paxos.me, paxos.chosen()?))) else {
        return Ok(());
    };
    let Some(quorums) = replicas.iter().find_map(|paxos| paxos.quorums) else { return Ok(()) };
    let acceptors = || replicas.iter().filter(|paxos| paxos.members.is_voter(paxos.me));
    let rival = acceptors().filter_map(|paxos| paxos.accepted()).filter(|accepted| accepted.value != *known);
    let rival = rival.map(|accepted| accepted.ballot).max();
    // Of these alone a proposer would hear of the rival last, or of nothing.
    let behind = |paxos: &&&Paxos| paxos.accepted().map(|accepted| accepted.ballot) <= rival;
    let behind: Vec<NodeId> = acceptors().filter(behind).map(|paxos| paxos.me).collect();
    if !quorums.is_phase1(behind.len()) {
        return Ok(());
    }
    let detail = format!("{knower} knows {known:?} as decided, and {behind:?} would let a proposer choose another");
    violation("I7 KnownIsChosen", detail)
}
