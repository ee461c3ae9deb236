//! Opening from durable records, of which a fresh node has none; and what those records vouch for.

use crate::acceptor::{Acceptor, accepted_in_words};
use crate::ballot::{Proposal, ballot_of};
use crate::learner::Learner;
use crate::proposer::Proposer;
use crate::replica::RecordCount;
use crate::{Config, Message, Paxos, Record, rules};
use bytes::Bytes;
use quorate_protocol::{Durable, Event, MembersChange, OpenError, Outbox, Pending, Setup, Start};
use quorate_quorum::Flexible;
use quorate_types::{Membership, Slot, Ticket};

/// What the records say.
#[derive(Default)]
struct Recovered {
    founded: Option<(Membership, u64, u64)>,
    last_round: u64,
    acceptor: Acceptor,
    chosen: Option<Bytes>,
}

impl Recovered {
    /// Reads the records in the order written. A baseline of a compaction may repeat what is there already; nothing
    /// may go back or contradict.
    fn from_records(records: &[(Ticket, Record)]) -> Result<Recovered, OpenError> {
        let mut recovered = Recovered::default();
        for (_, record) in records {
            recovered.add(record)?;
        }
        Ok(recovered)
    }

    fn add(&mut self, record: &Record) -> Result<(), OpenError> {
        match record {
            Record::Founded { members, phase1, phase2 } => {
                let founding = (members.clone(), *phase1, *phase2);
                match self.founded.replace(founding.clone()) {
                    Some(known) if known != founding => inconsistent("two founding records differ"),
                    _ => Ok(()),
                }
            }
            Record::Round(round) => match std::mem::replace(&mut self.last_round, *round) {
                known if known > *round => inconsistent("the last round goes down"),
                _ => Ok(()),
            },
            Record::Promised(ballot) => match std::mem::replace(&mut self.acceptor.promised, *ballot) {
                known if known > *ballot => inconsistent("the promise goes down"),
                _ => Ok(()),
            },
            Record::Accepted(proposal) => self.add_accepted(proposal),
            Record::Chosen(value) => match self.chosen.replace(value.clone()) {
                Some(known) if known != *value => inconsistent("two values are recorded as chosen"),
                _ => Ok(()),
            },
        }
    }

    /// An acceptance below the promise is no contradiction: a baseline repeats it, and of the records before the
    /// baseline some may be left, a later promise among them.
    fn add_accepted(&mut self, proposal: &Proposal) -> Result<(), OpenError> {
        match &self.acceptor.accepted {
            Some(known) if known == proposal => return Ok(()),
            Some(known) if known.ballot == proposal.ballot => {
                return inconsistent("one ballot has two accepted values");
            }
            Some(known) if known.ballot > proposal.ballot => return inconsistent("the accepted ballot goes down"),
            _ => {}
        }
        self.acceptor.promised = self.acceptor.promised.max(proposal.ballot);
        self.acceptor.accepted = Some(proposal.clone());
        Ok(())
    }
}

fn inconsistent<T>(why: &str) -> Result<T, OpenError> {
    Err(OpenError::Inconsistent { why: why.to_owned() })
}

pub(crate) fn open(
    setup: &Setup,
    config: &Config,
    found: Durable<Paxos>,
    out: &mut Outbox<Paxos>,
) -> Result<Paxos, OpenError> {
    config.validate()?;
    if let Some(anchor) = found.anchor {
        match anchor {}
    }
    let recovered = Recovered::from_records(&found.records)?;
    let handed_out = match (found.applied, &recovered.chosen) {
        (Slot::ZERO, _) => false,
        (Paxos::SLOT, Some(_)) => true,
        (Paxos::SLOT, None) => return inconsistent("the store has applied a decision that no record names"),
        _ => return inconsistent("the store has applied more than one slot"),
    };
    let fresh = found.records.is_empty();
    let (members, quorums) = members_and_quorums(setup, config, &recovered, fresh)?;
    let mut paxos = Paxos {
        me: setup.me,
        config: config.clone(),
        members,
        quorums,
        proposer: Proposer {
            last_round: recovered.last_round,
            highest_round: recovered.acceptor.promised.round.max(recovered.last_round),
            ..Proposer::default()
        },
        acceptor: recovered.acceptor,
        learner: Learner { chosen: recovered.chosen, handed_out, ..Learner::default() },
        written: Pending::new(),
        records_kept: RecordCount(found.records.len()),
        applied: found.applied,
    };
    paxos.announce_opening(fresh, out);
    Ok(paxos)
}

/// Durable membership and quorum sizes come first; the setup's count only when nothing is durable.
fn members_and_quorums(
    setup: &Setup,
    config: &Config,
    recovered: &Recovered,
    fresh: bool,
) -> Result<(Membership, Option<Flexible>), OpenError> {
    let members = match (&recovered.founded, &setup.start) {
        (Some((members, _, _)), _) => members.clone(),
        (None, Start::Found(members)) if fresh => members.clone(),
        (None, Start::Found(_) | Start::Join) => return Ok((Membership::default(), None)),
    };
    let settings = |why: String| OpenError::Settings { why };
    let quorums = config.quorums.among(members.voters().count()).map_err(|error| settings(error.to_string()))?;
    let wanted = (quorums.phase1() as u64, quorums.phase2() as u64);
    match &recovered.founded {
        Some((_, phase1, phase2)) if (*phase1, *phase2) != wanted => {
            Err(settings(format!("the quorum sizes were fixed at founding as {phase1} and {phase2}")))
        }
        _ => Ok((members, Some(quorums))),
    }
}

impl Paxos {
    fn announce_opening(&mut self, fresh: bool, out: &mut Outbox<Paxos>) {
        out.trace(|| {
            Event::allowed(&rules::OPEN)
                .with("promised", self.acceptor.promised.to_string())
                .with("accepted", accepted_in_words(self.accepted()))
                .with("last_round", self.proposer.last_round)
                .with("decided", self.learner.chosen.as_ref().map_or("no".to_owned(), rules::shown))
        });
        if let (true, Some(quorums)) = (fresh, self.quorums) {
            let (phase1, phase2) = (quorums.phase1() as u64, quorums.phase2() as u64);
            let record = Record::Founded { members: self.members.clone(), phase1, phase2 };
            self.persist(vec![record], Vec::new(), out);
        }
        if self.quorums.is_some() {
            out.members(self.members.clone(), MembersChange::Opened);
        }
        let is_member = self.members.contains(self.me);
        // Everybody may propose: whoever asks "who leads" is told this node itself. A decided one still answers
        // proposals, with a definite refusal. Nobody leads, so nobody settles.
        out.lead(self.proposer.last_round, Some(self.me), is_member, false);
        if self.learner.chosen.is_none() && is_member {
            self.set_inquire_timer(out);
        }
        self.hand_out_decision(out);
    }
}

/// The durability ghost: `paxos` was just opened from durable records alone. Does it stand by this message?
pub(crate) fn vouches(paxos: &Paxos, message: &Message) -> bool {
    let acceptor = &paxos.acceptor;
    let remembers = |reported: &Proposal| match &acceptor.accepted {
        None => false,
        Some(kept) if kept.ballot == reported.ballot => kept.value == reported.value,
        Some(kept) => kept.ballot > reported.ballot,
    };
    match message {
        Message::Prepare { ballot } | Message::Accept { ballot, .. } => paxos.proposer.last_round >= ballot.round,
        Message::Promise { ballot, accepted } => {
            let reported = ballot_of(accepted.as_ref());
            let remembered = accepted.as_ref().is_none_or(remembers);
            acceptor.promised >= *ballot && reported <= acceptor.promised && remembered
        }
        Message::Accepted { ballot, value } => {
            acceptor.promised >= *ballot && remembers(&Proposal { ballot: *ballot, value: value.clone() })
        }
        Message::Nack { .. } | Message::Chosen { .. } => true,
    }
}
