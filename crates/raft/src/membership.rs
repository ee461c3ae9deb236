//! Changing the members (Raft §6; dissertation, 4).
//!
//! A wish is appended at once as a joint configuration, in which the old voters and the new ones must both agree; when that is
//! committed, its leader, whoever that is by then, appends the new configuration alone. A wish that leaves the set of voters as
//! it is changes no quorum, and so is one entry: whichever of the two configurations a node goes by, it counts the same.
//! Every configuration is in force from the moment its entry is in the log and until that entry is truncated.
//!
//! Who leaves is told. It goes on being sent the log until it says that it knows the end of its membership committed, or for a
//! bounded time; whoever leads next does the same while the entry is in its log. A leader that leaves leads to the end of the
//! change without counting itself, then tells the commit to all and steps down.

use crate::election::Position;
use crate::entry::{Configuration, Entry, Payload};
use crate::leading::Leadership;
use crate::log::Taken;
use crate::message::Message;
use crate::progress::Progress;
use crate::promotion::CatchUp;
use crate::replica::Raft;
use crate::rules;
use crate::transfer;
use quorate_protocol::{Event, LEARNER_NOT_IN_SYNC, MembersChange, Outbox, Refusal, Refused, RequestId};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};
use std::collections::BTreeSet;

/// What a witness's log lacks is gone for good.
const ANOTHER_KIND: &str =
    "a member that stores data does not become a witness, nor the other way round, under the same id";

/// After a change is committed, those who left are told for so many heartbeats at most.
const FAREWELL_HEARTBEATS: u32 = 10;

/// A peer that is no member any more, from the commit of that on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Farewell {
    /// The slot that ended its membership.
    pub(crate) slot: Slot,
    /// Every append of this round or a later one tells that the slot is committed.
    pub(crate) round: u64,
    pub(crate) heartbeats_left: u32,
    /// It said that it knows.
    pub(crate) knows: bool,
}

impl Farewell {
    /// A heartbeat interval is over.
    pub fn heartbeat(&mut self) {
        self.heartbeats_left = self.heartbeats_left.saturating_sub(1);
    }

    /// An append of this round was accepted up to `matched`: what it told of commits up to there is known to the peer.
    pub fn answered(&mut self, matched: Slot, round: u64) {
        self.knows |= matched >= self.slot && round >= self.round;
    }

    fn why_over(&self) -> Option<&'static str> {
        match (self.knows, self.heartbeats_left) {
            (true, _) => Some("it knows that it is no member any more"),
            (false, 0) => Some("it is no member any more and was told often enough"),
            (false, _) => None,
        }
    }
}

impl Raft {
    pub(crate) fn reconfigure(
        &mut self,
        request: RequestId,
        based_on: &Membership,
        members: Membership,
        out: &mut Outbox<Raft>,
    ) {
        match self.judge_wish(based_on, &members) {
            Ok(()) => self.begin_change(members, out),
            Err(refusal) => {
                let why = words(&refusal);
                out.trace(|| Event::refused(&rules::RECONFIGURE).with("why", why));
                out.refuse(Refused::Request(request), refusal);
            }
        }
    }

    fn judge_wish(&self, based_on: &Membership, wish: &Membership) -> Result<(), Refusal> {
        let Position::Leader(leadership) = &self.position else {
            return Err(Refusal::NotLeader { hint: self.leader });
        };
        self.why_no_change_now(leadership).map_or(Ok(()), |why| Err(Refusal::NotReady(why)))?;
        let present = &self.configurations.in_force().members;
        if based_on != present {
            return Err(Refusal::MembershipChanged);
        }
        judge_members(wish).map_err(Refusal::Invalid)?;
        for member in wish.members() {
            if self.configurations.stores_data(member.id).is_some_and(|before| before != member.stores_data()) {
                return Err(Refusal::Invalid(ANOTHER_KIND));
            }
            let Some(before) = present.get(member.id) else { continue };
            judge_member(before, member).map_err(Refusal::Invalid)?;
            let promoted = member.role == MemberRole::Voter && before.role != MemberRole::Voter;
            if promoted && !leadership.is_in_sync(member.id) {
                return Err(Refusal::NotReady(LEARNER_NOT_IN_SYNC));
            }
        }
        Ok(())
    }

    /// One change at a time, and none before something of the leader's own term is committed: without that, leaders of
    /// consecutive terms could change different members and form majorities that do not meet (2015 correction of the
    /// dissertation's 4.1).
    pub(crate) fn why_no_change_now(&self, leadership: &Leadership) -> Option<&'static str> {
        if self.commit < leadership.first_of_term {
            Some("nothing of the leader's own term is committed yet")
        } else if self.configurations.in_force().is_joint() || self.change_is_open() {
            Some("another change of the members is in progress")
        } else if leadership.is_handing_over() {
            Some(transfer::UNDER_WAY)
        } else {
            None
        }
    }

    /// The configuration in force is not known committed here.
    fn change_is_open(&self) -> bool {
        self.configurations.in_force_since().is_some_and(|since| since > self.commit)
    }

    /// The leader's first step.
    pub(crate) fn begin_change(&mut self, members: Membership, out: &mut Outbox<Raft>) {
        let present = &self.configurations.in_force().members;
        let same_voters = present.voters().eq(members.voters());
        let (configuration, how) = if same_voters {
            (Configuration::of(members), "the voters stay the same, so one entry is enough")
        } else {
            let outgoing = Some(present.clone());
            (Configuration { outgoing, members }, "the old voters and the new must both agree from now on")
        };
        let (term, slot) = (self.term, self.log.last().next());
        out.trace(|| Event::allowed(&rules::RECONFIGURE).with("slot", slot).with("term", term).with("how", how));
        self.append_configuration(configuration, out);
    }

    fn append_configuration(&mut self, configuration: Configuration, out: &mut Outbox<Raft>) {
        let slot = self.log.last().next();
        let entry = Entry { term: self.term, payload: Payload::Members(Box::new(configuration.clone())) };
        if let Position::Leader(leadership) = &mut self.position {
            leadership.undecided_bytes += entry.bytes();
        }
        self.append_own(entry);
        self.enter_configuration(slot, configuration, out);
        self.follow_configuration();
    }

    /// A configuration is in force from the moment its entry is in the log.
    pub(crate) fn enter_configuration(&mut self, slot: Slot, configuration: Configuration, out: &mut Outbox<Raft>) {
        self.configurations.append(slot, configuration);
        self.tell_members(MembersChange::Appended, out);
    }

    /// Everybody a new leader sends to: the members, and who was one before the latest change, whose end may have been
    /// missed there.
    pub(crate) fn members_to_tell(&self) -> BTreeSet<NodeId> {
        let mut all = self.configurations.in_force().others(self.me);
        if let Some((before, _)) = self.configurations.before_in_force() {
            all.extend(before.others(self.me));
        }
        all
    }

    /// At a leader: every member has its progress, and every learner is watched. Who is no member any more stays until it has
    /// been told.
    fn follow_configuration(&mut self) {
        let (me, last) = (self.me, self.log.last());
        let Position::Leader(leadership) = &mut self.position else { return };
        let in_force = self.configurations.in_force();
        for id in in_force.others(me) {
            leadership.peers.entry(id).or_insert_with(|| Progress::unknown(last.next()));
            leadership.farewells.remove(&id);
        }
        for (id, progress) in &mut leadership.peers {
            progress.is_witness = self.configurations.stores_data(*id).map_or(progress.is_witness, |stores| !stores);
        }
        // Before a learner that became a voter is forgotten as a learner: it goes on keeping up.
        leadership.attend(in_force, me, last);
        let learns = |id: NodeId| in_force.members.get(id).is_some_and(|member| !member.counts());
        leadership.learners.retain(|id, _| learns(*id));
        let round = leadership.round;
        for id in in_force.members.others(me).filter(|id| learns(*id)) {
            leadership.learners.entry(id).or_insert_with(|| CatchUp::begin(last, round));
        }
    }

    /// A new leader follows the configuration, and may have to reach some who left.
    pub(crate) fn follow_configuration_anew(&mut self, out: &mut Outbox<Raft>) {
        self.follow_configuration();
        let Position::Leader(leadership) = &self.position else { return };
        let in_force = self.configurations.in_force();
        if !self.reaches_further && leadership.peers.keys().any(|peer| !in_force.contains(*peer)) {
            self.tell_members(MembersChange::Reach, out);
        }
    }

    /// The leader's further steps, once it knows enough committed. What it appends is written at once and returned.
    pub(crate) fn advance_change(&mut self, out: &mut Outbox<Raft>) -> Option<Taken> {
        self.watch_learners(out);
        let Position::Leader(leadership) = &self.position else { return None };
        let own_term_committed = self.commit >= leadership.first_of_term;
        if self.change_is_open() {
            return None;
        }
        if !self.configurations.in_force().is_joint() {
            self.begin_farewells(out);
            self.promote(out);
        } else if own_term_committed {
            self.finish_change(out);
        } else {
            let why = "nothing of this leader's own term is committed yet";
            out.trace(|| Event::waiting(&rules::FINISH_CHANGE).with("why", why));
        }
        self.write_log(out)
    }

    /// The joint configuration is committed, so the old voters need not agree any more.
    fn finish_change(&mut self, out: &mut Outbox<Raft>) {
        let joint_slot = self.configurations.in_force_since().unwrap_or(self.log.base());
        let slot = self.log.last().next();
        out.trace(|| Event::allowed(&rules::FINISH_CHANGE).with("slot", slot).with("joint_slot", joint_slot));
        let members = self.configurations.in_force().members.clone();
        self.append_configuration(Configuration::of(members), out);
    }

    /// The new configuration is committed: who is not in it is told so, in a round of its own.
    fn begin_farewells(&mut self, out: &mut Outbox<Raft>) {
        let me = self.me;
        let in_force = self.configurations.in_force();
        let slot = self.configurations.in_force_since().unwrap_or(self.log.base());
        let Position::Leader(leadership) = &mut self.position else { return };
        let all_known = leadership.peers.len() == in_force.others(me).len() + leadership.farewells.len();
        let leads_on = in_force.is_voter(me);
        if all_known && leads_on {
            return;
        }
        leadership.begin_round();
        let round = leadership.round;
        let left = leadership.peers.keys().filter(|peer| !in_force.contains(**peer));
        for peer in left.copied().collect::<Vec<_>>() {
            leadership.farewells.entry(peer).or_insert_with(|| {
                out.trace(|| Event::waiting(&rules::FAREWELL).with("peer", peer).with("slot", slot));
                Farewell { slot, round, heartbeats_left: FAREWELL_HEARTBEATS, knows: false }
            });
        }
    }

    /// After what there was to say has been sent: lets go of those who know, and stops leading where this node is no voter any
    /// more.
    pub(crate) fn end_change(&mut self, out: &mut Outbox<Raft>) {
        if let Position::Leader(leadership) = &mut self.position {
            leadership.let_go(out);
        }
        if self.change_is_open() || self.configurations.in_force().is_joint() {
            return;
        }
        if self.is_leader() && !self.configurations.in_force().is_voter(self.me) {
            self.leave_the_lead(out);
        }
        let still_telling = match &self.position {
            Position::Leader(leadership) => !leadership.farewells.is_empty(),
            _ => false,
        };
        if self.reaches_further && !still_telling {
            self.tell_members(MembersChange::Reach, out);
        }
    }

    /// Whoever has the whole log is asked to stand, so that nobody need wait out an election timeout; if that is lost, they do.
    fn leave_the_lead(&mut self, out: &mut Outbox<Raft>) {
        let (term, last_slot, last_term) = (self.term, self.log.last(), self.log.last_term());
        let Position::Leader(leadership) = &self.position else { return };
        let has_all = |id: &NodeId| leadership.peers.get(id).is_some_and(|progress| progress.matched == last_slot);
        let heir = leadership.peers.keys().copied().find(|id| self.may_lead(*id) && has_all(id));
        if let Some(to) = heir {
            self.give_up_lease(out);
            out.trace(|| Event::allowed(&rules::TRANSFER).with("to", to).with("slot", last_slot).with("term", term));
            self.send(to, Message::TimeoutNow { term, last_slot, last_term }, out);
        }
        self.step_down("it is no voter any more, and that is committed", out);
    }

    /// Says whom this node may have to speak to.
    pub(crate) fn tell_members(&mut self, change: MembersChange, out: &mut Outbox<Raft>) {
        let still_told = |member: &&Member| match &self.position {
            Position::Leader(leadership) => leadership.peers.contains_key(&member.id),
            _ => false,
        };
        let earlier = self.configurations.earlier().flat_map(|(configuration, _)| configuration.all());
        let mut members: Vec<Member> = earlier.filter(still_told).cloned().collect();
        if let Some((before, _)) = self.configurations.before_in_force().filter(|_| self.change_is_open()) {
            members.extend(before.all().cloned());
        }
        let in_force = self.configurations.in_force();
        members.extend(in_force.all().cloned());
        let members = Membership::new(members);
        self.reaches_further = members.members().len() > in_force.members.members().len();
        out.members(members, change);
    }

    /// The slot that ended this node's membership, if that is decided here.
    pub(crate) fn left_at(&self) -> Option<Slot> {
        if self.configurations.in_force().contains(self.me) {
            return None;
        }
        let (_, ended_at) = self.configurations.earlier().filter(|(earlier, _)| earlier.contains(self.me)).last()?;
        (ended_at <= self.decided).then_some(ended_at)
    }

    pub(crate) fn retire(&mut self, slot: Slot, out: &mut Outbox<Raft>) {
        out.trace(|| Event::allowed(&rules::RETIRE).with("slot", slot));
        out.retire("it is no longer a member of the cluster");
    }
}

impl Leadership {
    fn let_go(&mut self, out: &mut Outbox<Raft>) {
        let over = |(peer, farewell): (&NodeId, &Farewell)| farewell.why_over().map(|why| (*peer, why));
        for (peer, why) in self.farewells.iter().filter_map(over).collect::<Vec<_>>() {
            out.trace(|| Event::allowed(&rules::FAREWELL).with("peer", peer).with("why", why));
            self.farewells.remove(&peer);
            self.peers.remove(&peer);
        }
    }
}

fn words(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotReady(why) | Refusal::Invalid(why) | Refusal::Unsupported(why) => why,
        Refusal::MembershipChanged => "the members are not those the wish is based on",
        Refusal::NotLeader { .. } => "it does not lead",
        Refusal::LeaderChanged | Refusal::Overloaded | Refusal::AlreadyDecided => "it cannot now",
    }
}

/// Whether there could be a cluster of these.
pub(crate) fn judge_members(wish: &Membership) -> Result<(), &'static str> {
    let voters = wish.members().iter().filter(|member| member.role == MemberRole::Voter).count();
    let witnesses = wish.members().iter().filter(|member| member.role == MemberRole::Witness).count();
    if voters == 0 {
        Err("no voter would be left")
    } else if witnesses > voters {
        Err("there may be at most as many witnesses as voters that store data: every majority must hold one of these")
    } else {
        Ok(())
    }
}

/// Whether a member may become this.
fn judge_member(before: &Member, after: &Member) -> Result<(), &'static str> {
    if before.disk.is_some() && before.disk != after.disk {
        Err("a member keeps its disk: one with another disk must be added under a new id")
    } else if before.role == MemberRole::Voter && after.role == MemberRole::Joining {
        Err("a voter is not on its way to becoming one")
    } else {
        Ok(())
    }
}
