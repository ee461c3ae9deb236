//! Members as etcd's API knows them, and changes of them as the node knows them.

use crate::identity::fresh_node_id;
use quorate_node::{AskError, MemberChange};
use quorate_runtime::RuntimeStatus;
use quorate_server::{BackendError, Member, MembershipChange, NewPart};
use quorate_types::{Member as NodeMember, MemberRole, Membership, NodeId};

/// What this member insists on before it passes a change on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MembershipRules {
    pub(crate) learners_max: u64,
    pub(crate) strict: bool,
    /// The lead is moved before a leader is removed.
    pub(crate) leads_move_first: bool,
}

/// So many are asked to take the lead before a leader is removed all the same: one that does not take over costs a wait.
const HEIRS_MOST: usize = 2;

/// The members as decided; before anything was, those this node was founded with.
fn members_of(status: &RuntimeStatus) -> &Membership {
    let decided = status.node.roster.members();
    if decided.members().is_empty() { &status.node.protocol.membership } else { decided }
}

/// The members, with what is not decided yet filled in as this node has heard it.
pub(crate) fn member_list(status: &RuntimeStatus) -> Vec<Member> {
    let listed = |member: &NodeMember| {
        let met = status.met.get(&member.id);
        let heard = met.filter(|_| member.client_urls.is_empty()).map(|met| met.client_urls.clone());
        Member {
            id: member.id.0,
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
            client_urls: heard.unwrap_or_else(|| member.client_urls.clone()),
            is_learner: !member.counts(),
            is_witness: !member.stores_data(),
        }
    };
    members_of(status).members().iter().map(listed).collect()
}

/// Members that have not said where clients reach them, or of whom it is not decided yet. Writing that down is a change of the members, and
/// over Multi-Paxos and Zab the configuration behind it needs a leader of its own.
pub(crate) fn not_written_down(status: &RuntimeStatus) -> Option<(String, String)> {
    let unknown = members_of(status).members().iter().filter(|member| member.client_urls.is_empty());
    let who: Vec<String> = unknown
        .map(|member| if member.name.is_empty() { member.id.to_string() } else { member.name.clone() })
        .collect();
    (!who.is_empty()).then(|| ("client URLs not decided yet of".to_owned(), who.join(", ")))
}

impl MembershipRules {
    /// Who is to be asked to lead before a change, one after another until one does: where it removes the leader and nobody would stand
    /// before a timeout, voters that are connected.
    pub(crate) fn heirs(self, change: &MemberChange, leader: NodeId, status: &RuntimeStatus) -> Vec<NodeId> {
        match change {
            MemberChange::Remove { id, .. } if self.leads_move_first && *id == leader => {
                let others = members_of(status).voters().filter(|voter| *voter != leader && reaches(status, *voter));
                others.take(HEIRS_MOST).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The change as the node is asked for it, and the id it is about.
    pub(crate) fn command(
        self,
        change: MembershipChange,
        status: &RuntimeStatus,
    ) -> Result<(u64, MemberChange), BackendError> {
        let members = members_of(status);
        let (id, change) = match change {
            MembershipChange::Add { peer_urls, part } => self.add(peer_urls, part, status)?,
            MembershipChange::Remove { id } => {
                let id = NodeId(id);
                let member = members.get(id).ok_or(BackendError::MemberNotFound)?;
                let change = MemberChange::Remove { id, strict: self.strict };
                if member.role != MemberRole::Learner {
                    self.refuse_if_too_few_would_be_left(id, &change, status)?;
                }
                (id, change)
            }
            MembershipChange::Promote { id, replacing } => {
                let (id, replacing) = (NodeId(id), replacing.map(NodeId));
                if members.get(id).ok_or(BackendError::MemberNotFound)?.counts() {
                    return Err(BackendError::MemberNotLearner);
                }
                if replacing.is_some_and(|replaced| !members.contains(replaced)) {
                    return Err(BackendError::MemberNotFound);
                }
                (id, MemberChange::Promote { id, replacing })
            }
            MembershipChange::Update { id, peer_urls } => {
                members.get(NodeId(id)).ok_or(BackendError::MemberNotFound)?;
                (NodeId(id), MemberChange::Relocate { id: NodeId(id), peer_urls })
            }
        };
        Ok((id.0, change))
    }

    fn add(
        self,
        peer_urls: Vec<String>,
        part: NewPart,
        status: &RuntimeStatus,
    ) -> Result<(NodeId, MemberChange), BackendError> {
        let members = members_of(status);
        let taken = |id: NodeId| members.contains(id) || status.node.roster.is_removed(id);
        let id = fresh_node_id(taken).map_err(|error| BackendError::Other(format!("no id can be drawn: {error}")))?;
        let role = match part {
            NewPart::Voter => MemberRole::Joining,
            NewPart::Learner => MemberRole::Learner,
            NewPart::Witness => MemberRole::Witness,
        };
        let member = NodeMember { id, role, disk: None, name: String::new(), peer_urls, client_urls: Vec::new() };
        let change = MemberChange::Add { member, learners_max: self.learners_max, strict: self.strict };
        // A learner costs no majority, now or later: it votes when it is promoted, and then it is in sync.
        if self.strict && part != NewPart::Learner {
            refuse_if_not_enough_started(&change, members)?;
            if !members.members().iter().all(|member| member.role == MemberRole::Learner || reaches(status, member.id))
            {
                return Err(BackendError::UnhealthyCluster);
            }
        }
        Ok((id, change))
    }

    /// etcd's rule: whoever is down already may go, for it helps nobody; of the others only so many that those connected, without
    /// the one that goes, are a majority of the rest.
    fn refuse_if_too_few_would_be_left(
        self,
        id: NodeId,
        change: &MemberChange,
        status: &RuntimeStatus,
    ) -> Result<(), BackendError> {
        if !self.strict {
            return Ok(());
        }
        let members = members_of(status);
        refuse_if_not_enough_started(change, members)?;
        if !reaches(status, id) {
            return Ok(());
        }
        let voting = members.members().iter().filter(|member| member.role != MemberRole::Learner);
        let (all, active) = voting
            .fold((0usize, 0), |(all, active), member| (all + 1, active + usize::from(reaches(status, member.id))));
        if active < 2 + all.saturating_sub(1) / 2 { Err(BackendError::UnhealthyCluster) } else { Ok(()) }
    }
}

fn refuse_if_not_enough_started(change: &MemberChange, members: &Membership) -> Result<(), BackendError> {
    match change.why_refused(members) {
        Some(AskError::NotEnoughStarted) => Err(BackendError::NotEnoughStartedMembers),
        _ => Ok(()),
    }
}

pub(crate) fn reaches(status: &RuntimeStatus, id: NodeId) -> bool {
    id == status.node.me || status.connected.contains_key(&id)
}
