//! What may be asked about the members, and what comes of it against the members of the moment.

use crate::request::RequestError;
use crate::roster::Roster;
use quorate_types::{DiskId, Member, MemberRole, Membership, NodeId};
use quorate_wire::{Reader, Wire, WireError};
use thiserror::Error;

/// A change of the members that a client asks for. It is carried out once however often it is asked: what it brings about shows
/// in the members, so a repetition finds it done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MemberChange {
    /// A new member, under an id that never was one.
    Add {
        /// It. A voter-to-be comes as [`MemberRole::Joining`], so that adding never costs the quorum.
        member: Member,
        /// Refused if there are so many learners (not joining ones) already.
        learners_max: u64,
        /// Refuse where the voters that ever started would be no majority of those there would be.
        strict: bool,
    },
    /// A member goes for ever.
    Remove {
        /// Who.
        id: NodeId,
        /// Refuse where the voters that ever started would be no majority of those left.
        strict: bool,
    },
    /// A learner that is in sync becomes a voter.
    Promote {
        /// Who.
        id: NodeId,
        /// The member that goes in the same step, if one does: so that a majority is never made harder to reach meanwhile.
        replacing: Option<NodeId>,
    },
    /// A member is reached elsewhere from now on.
    Relocate {
        /// Who.
        id: NodeId,
        /// Where.
        peer_urls: Vec<String>,
    },
}

/// What a client may ask of the leader about the cluster itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Change the members.
    Change(MemberChange),
    /// Hand leadership over to this member.
    MoveLeader(NodeId),
}

/// Why it is not done. All but [`AskError::Request`] and [`AskError::TransferInVain`] are definite: nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum AskError {
    /// As for any request.
    #[error(transparent)]
    Request(RequestError),
    /// Nobody of this id belongs to the cluster.
    #[error("there is no such member")]
    NotFound,
    /// This id is, or was, a member's.
    #[error("there is, or was, a member of this id")]
    IdTaken,
    /// Another member has one of the peer URLs.
    #[error("another member has this peer URL")]
    PeerUrlTaken,
    /// It is a voter already.
    #[error("it is no learner")]
    NotLearner,
    /// The learner is behind, or was not heard of.
    #[error("the learner is not in sync with the leader")]
    NotInSync,
    /// There are as many learners as may be.
    #[error("there are too many learners")]
    TooManyLearners,
    /// Too few voters ever started.
    #[error("too few members have started")]
    NotEnoughStarted,
    /// Who is to lead is no voter.
    #[error("only a voter may lead")]
    BadTransferee,
    /// Who is to lead did not take over. It may yet: the request to stand may be under way.
    #[error("the member that is to lead did not take over in time")]
    TransferInVain,
    /// The protocol finds no sense in it.
    #[error("{0}")]
    Senseless(String),
}

/// What a member said of itself when it was met.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemberFacts {
    /// Who.
    pub id: NodeId,
    /// Its disk.
    pub disk: DiskId,
    /// Its name for people; empty where only the disk is known.
    pub name: String,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
}

/// What comes of a change against the members of the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is there already.
    Done,
    /// It cannot be.
    Refused(AskError),
    /// The members as they are to be.
    Wish(Membership),
}

impl MemberChange {
    /// Whether the decided members show it.
    pub(crate) fn is_done(&self, roster: &Roster) -> bool {
        let members = roster.members();
        match self {
            MemberChange::Add { member, .. } => members.contains(member.id),
            MemberChange::Remove { id, .. } => roster.is_removed(*id),
            MemberChange::Promote { id, replacing } => {
                members.is_voter(*id) && replacing.is_none_or(|replaced| roster.is_removed(replaced))
            }
            MemberChange::Relocate { id, peer_urls } => {
                members.get(*id).is_some_and(|member| member.peer_urls == *peer_urls)
            }
        }
    }

    /// Whether what shows it done once shows it for ever, so that even old members tell the truth.
    pub(crate) fn is_for_ever(&self) -> bool {
        matches!(self, MemberChange::Remove { .. })
    }

    /// Why it would be refused against these members, if it would: for saying so before others are asked.
    #[must_use]
    pub fn why_refused(&self, members: &Membership) -> Option<AskError> {
        self.wish(members).err()
    }

    /// What comes of it, against the members in force. There is no other change under way.
    pub(crate) fn judge(&self, members: &Membership, roster: &Roster) -> Verdict {
        if self.is_done(roster) {
            return Verdict::Done;
        }
        if let MemberChange::Add { member, .. } = self
            && roster.is_removed(member.id)
        {
            return Verdict::Refused(AskError::IdTaken);
        }
        self.wish(members).map_or_else(Verdict::Refused, Verdict::Wish)
    }

    /// The members as they are to be.
    fn wish(&self, members: &Membership) -> Result<Membership, AskError> {
        match self {
            MemberChange::Add { member, learners_max, strict } => add(members, member, *learners_max, *strict),
            MemberChange::Remove { id, strict } => remove(members, *id, *strict),
            MemberChange::Promote { id, replacing } => promote(members, *id, *replacing),
            MemberChange::Relocate { id, peer_urls } => relocate(members, *id, peer_urls),
        }
    }
}

fn add(members: &Membership, member: &Member, learners_max: u64, strict: bool) -> Result<Membership, AskError> {
    if members.contains(member.id) {
        return Err(AskError::IdTaken);
    }
    if strict && member.role != MemberRole::Learner && !has_started_majority(members, None, 1) {
        return Err(AskError::NotEnoughStarted);
    }
    refuse_shared_urls(members, member.id, &member.peer_urls)?;
    let learners = members.members().iter().filter(|member| member.role == MemberRole::Learner).count() as u64;
    if member.role == MemberRole::Learner && learners >= learners_max {
        return Err(AskError::TooManyLearners);
    }
    Ok(Membership::new(members.members().iter().cloned().chain([member.clone()])))
}

fn remove(members: &Membership, id: NodeId, strict: bool) -> Result<Membership, AskError> {
    let member = members.get(id).ok_or(AskError::NotFound)?;
    if strict && is_meant_to_vote(member) && !has_started_majority(members, Some(id), 0) {
        return Err(AskError::NotEnoughStarted);
    }
    Ok(without(members, id))
}

fn promote(members: &Membership, id: NodeId, replacing: Option<NodeId>) -> Result<Membership, AskError> {
    let member = members.get(id).ok_or(AskError::NotFound)?;
    if !matches!(member.role, MemberRole::Learner | MemberRole::Joining) {
        return Err(AskError::NotLearner);
    }
    let rest = match replacing {
        Some(replaced) if !members.contains(replaced) || replaced == id => return Err(AskError::NotFound),
        Some(replaced) => without(members, replaced),
        None => members.clone(),
    };
    let voter = Member { role: MemberRole::Voter, ..member.clone() };
    Ok(Membership::new(rest.members().iter().cloned().chain([voter])))
}

fn relocate(members: &Membership, id: NodeId, peer_urls: &[String]) -> Result<Membership, AskError> {
    let member = members.get(id).ok_or(AskError::NotFound)?;
    refuse_shared_urls(members, id, peer_urls)?;
    let moved = Member { peer_urls: peer_urls.to_vec(), ..member.clone() };
    Ok(Membership::new(members.members().iter().cloned().chain([moved])))
}

fn without(members: &Membership, id: NodeId) -> Membership {
    Membership::new(members.members().iter().filter(|member| member.id != id).cloned())
}

fn refuse_shared_urls(members: &Membership, id: NodeId, peer_urls: &[String]) -> Result<(), AskError> {
    let others = members.members().iter().filter(|member| member.id != id);
    let taken = others.flat_map(|member| &member.peer_urls).any(|url| peer_urls.contains(url));
    if taken { Err(AskError::PeerUrlTaken) } else { Ok(()) }
}

fn is_meant_to_vote(member: &Member) -> bool {
    member.role != MemberRole::Learner
}

/// etcd's rule: of those that would vote, so many must ever have started that they make a majority. A member has a name once
/// it has started. A single member may always get a second one, or it could never grow.
fn has_started_majority(members: &Membership, leaving: Option<NodeId>, coming: usize) -> bool {
    let left = members.members().iter().filter(|member| is_meant_to_vote(member) && Some(member.id) != leaving);
    let (mut all, mut started) = (coming, 0);
    for member in left {
        all += 1;
        started += usize::from(!member.name.is_empty());
    }
    (coming == 1 && all == 2 && started == 1) || started > all / 2
}

/// The members with what was learnt of them written in; nothing where that is all there already. A disk once noted stays: another
/// one under the same id is nobody this cluster knows.
pub(crate) fn noted<'a>(members: &Membership, facts: impl Iterator<Item = &'a MemberFacts>) -> Option<Membership> {
    let mut changed = Vec::new();
    for facts in facts {
        let Some(member) = members.get(facts.id) else { continue };
        if member.disk.is_some_and(|disk| disk != facts.disk) {
            continue;
        }
        let mut noted = Member { disk: Some(facts.disk), ..member.clone() };
        if !facts.name.is_empty() {
            noted.name.clone_from(&facts.name);
            noted.client_urls.clone_from(&facts.client_urls);
        }
        if noted != *member {
            changed.push(noted);
        }
    }
    (!changed.is_empty()).then(|| Membership::new(members.members().iter().cloned().chain(changed)))
}

impl Wire for MemberChange {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            MemberChange::Add { member, learners_max, strict } => {
                out.push(0);
                member.encode(out);
                learners_max.encode(out);
                strict.encode(out);
            }
            MemberChange::Remove { id, strict } => {
                out.push(1);
                id.encode(out);
                strict.encode(out);
            }
            MemberChange::Promote { id, replacing } => {
                out.push(2);
                id.encode(out);
                replacing.encode(out);
            }
            MemberChange::Relocate { id, peer_urls } => {
                out.push(3);
                id.encode(out);
                peer_urls.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("member change")? {
            0 => Ok(MemberChange::Add {
                member: Member::decode(input)?,
                learners_max: input.u64("learners allowed")?,
                strict: bool::decode(input)?,
            }),
            1 => Ok(MemberChange::Remove { id: NodeId::decode(input)?, strict: bool::decode(input)? }),
            2 => Ok(MemberChange::Promote { id: NodeId::decode(input)?, replacing: Option::decode(input)? }),
            3 => Ok(MemberChange::Relocate { id: NodeId::decode(input)?, peer_urls: Vec::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "member change", kind }),
        }
    }
}

impl Wire for Ask {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Ask::Change(change) => {
                out.push(0);
                change.encode(out);
            }
            Ask::MoveLeader(to) => {
                out.push(1);
                to.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("ask")? {
            0 => Ok(Ask::Change(MemberChange::decode(input)?)),
            1 => Ok(Ask::MoveLeader(NodeId::decode(input)?)),
            kind => Err(WireError::UnknownKind { what: "ask", kind }),
        }
    }
}

/// Only what a leader may answer travels: how a wait ended is for the asker to tell its client.
impl Wire for AskError {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            AskError::NotFound => 0,
            AskError::IdTaken => 1,
            AskError::PeerUrlTaken => 2,
            AskError::NotLearner => 3,
            AskError::NotInSync => 4,
            AskError::TooManyLearners => 5,
            AskError::NotEnoughStarted => 6,
            AskError::BadTransferee => 7,
            AskError::Senseless(_) | AskError::Request(_) => 8,
            AskError::TransferInVain => 9,
        });
        if matches!(self, AskError::Senseless(_) | AskError::Request(_)) {
            self.to_string().encode(out);
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(match input.byte("refusal of an ask")? {
            0 => AskError::NotFound,
            1 => AskError::IdTaken,
            2 => AskError::PeerUrlTaken,
            3 => AskError::NotLearner,
            4 => AskError::NotInSync,
            5 => AskError::TooManyLearners,
            6 => AskError::NotEnoughStarted,
            7 => AskError::BadTransferee,
            8 => AskError::Senseless(String::decode(input)?),
            9 => AskError::TransferInVain,
            kind => return Err(WireError::UnknownKind { what: "refusal of an ask", kind }),
        })
    }
}
