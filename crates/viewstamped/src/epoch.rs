//! Epochs: changing the members (section 7).
//!
//! A reconfiguration is the last entry of its epoch. Once it is committed, whoever knows that enters the first view of the
//! next epoch, in one durable write, if it is a member there; else it hands its log on until a quorum of the new members
//! has begun. A member that lacks the log asks for it. Whoever speaks of an ended epoch is told of the later one.
//!
//! Whoever began an epoch may be gone before anybody else has its log. So a replica that asks for it in vain turns back to its own
//! epoch, where what ended it can be committed once more; and nobody that the epoch leaves behind goes before a quorum of its
//! members has what it has.
//!
//! The epoch changes with every change of a member, of a learner's URL too: with the same voters, all of whom have the log,
//! that costs a round trip.

use crate::entry::Entry;
use crate::message::Message;
use crate::normal::Leadership;
use crate::replica::{Stage, Viewstamped};
use crate::rules;
use crate::state_transfer::State;
use crate::view::{Configuration, View};
use crate::view_change::Change;
use quorate_protocol::{Event, LEARNER_NOT_IN_SYNC, MembersChange, Outbox, Refusal, Refused, RequestId};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};
use std::collections::BTreeSet;

/// What a replica keeps that is no member any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Farewell {
    /// It has the log up to the end of its epoch, and others may need it.
    pub serves: bool,
    /// New voters that said that their epoch has begun.
    pub started: BTreeSet<NodeId>,
    /// For so many intervals more it stays, so that what it owes can leave.
    pub lingers: u32,
    /// It has nothing left to do, and says so at the end of this batch.
    pub goes: bool,
}

impl Viewstamped {
    pub(crate) fn reconfigure(
        &mut self,
        request: RequestId,
        based_on: &Membership,
        members: Membership,
        out: &mut Outbox<Viewstamped>,
    ) {
        match self.judge_wish(based_on, &members) {
            Ok(()) => self.end_epoch(members, out),
            Err(refusal) => {
                let why = match &refusal {
                    Refusal::NotReady(why) | Refusal::Invalid(why) => why,
                    Refusal::MembershipChanged => "the members are others by now",
                    _ => "it is not the primary",
                };
                out.trace(|| Event::refused(&rules::RECONFIGURE).with("why", why));
                out.refuse(Refused::Request(request), refusal);
            }
        }
    }

    fn judge_wish(&self, based_on: &Membership, wish: &Membership) -> Result<(), Refusal> {
        let Stage::Primary(leadership) = &self.stage else {
            return Err(Refusal::NotLeader { hint: self.primary() });
        };
        self.why_no_change_now(leadership).map_or(Ok(()), |why| Err(Refusal::NotReady(why)))?;
        let present = &self.configuration.members;
        if based_on != present {
            return Err(Refusal::MembershipChanged);
        }
        judge_members(wish).map_err(Refusal::Invalid)?;
        for member in wish.members() {
            let before = present.get(member.id);
            judge_member(before, member).map_err(Refusal::Invalid)?;
            let voted = before.is_some_and(|before| before.role == MemberRole::Voter);
            let keeps_up = leadership.peers.get(&member.id).is_some_and(|progress| progress.keeps_up);
            // Whoever begins to vote without the log holds the next epoch up: it is warmed as a learner first.
            if before.is_some() && member.role == MemberRole::Voter && !voted && !keeps_up {
                return Err(Refusal::NotReady(LEARNER_NOT_IN_SYNC));
            }
        }
        Ok(())
    }

    /// One change at a time, and none before what this view began with is committed.
    fn why_no_change_now(&self, leadership: &Leadership) -> Option<&'static str> {
        if self.is_closing() {
            Some("another change of the members is in progress")
        } else if self.commit < leadership.inherited {
            Some("what this view began with is not committed yet")
        } else {
            None
        }
    }

    /// The primary's last entry of the epoch (rule 15).
    fn end_epoch(&mut self, members: Membership, out: &mut Outbox<Viewstamped>) {
        let epoch = self.view.epoch + 1;
        self.append(Entry::Reconfiguration(Box::new(Configuration { epoch, members })));
        let slot = self.log.last();
        out.trace(|| Event::allowed(&rules::RECONFIGURE).with("slot", slot).with("epoch", epoch));
    }

    /// Joining members that keep up become voters, all in one change.
    pub(crate) fn promote(&mut self, out: &mut Outbox<Viewstamped>) {
        let Stage::Primary(leadership) = &self.stage else { return };
        let keeps_up = |id: &NodeId| leadership.peers.get(id).is_some_and(|progress| progress.keeps_up);
        let joined = |member: &Member| member.role == MemberRole::Joining && keeps_up(&member.id);
        let members = self.configuration.members.members();
        if self.why_no_change_now(leadership).is_some() || !members.iter().any(joined) {
            return;
        }
        let peers: Vec<NodeId> = members.iter().filter(|member| joined(member)).map(|member| member.id).collect();
        let voting = |member: &Member| match joined(member) {
            true => Member { role: MemberRole::Voter, ..member.clone() },
            false => member.clone(),
        };
        let wish = Membership::new(members.iter().map(voting));
        out.trace(|| Event::allowed(&rules::CATCH_UP).with("peers", peers));
        self.end_epoch(wish, out);
    }

    /// Once the reconfiguration is committed, the next epoch begins here.
    pub(crate) fn advance_epoch(&mut self, out: &mut Outbox<Viewstamped>) {
        while let Some((at, next)) = self.log.reconfiguration_of_later_epoch(self.view.epoch) {
            if at > self.commit {
                return;
            }
            let next = next.clone();
            self.begin_epoch(at, next, out);
        }
    }

    fn begin_epoch(&mut self, at: Slot, next: Configuration, out: &mut Outbox<Viewstamped>) {
        let (old_view, commit) = (self.view, self.commit);
        if self.is_primary() {
            // The old members hear of the commit in their own view, so that they begin too.
            let message = Message::Prepare {
                view: old_view,
                first: at.next(),
                entries: Default::default(),
                commit,
                everyone_has: self.everyone_has,
                round: 0,
            };
            for other in self.configuration.members.others(self.me).collect::<Vec<_>>() {
                self.send(other, message.clone(), out);
            }
        }
        self.leave_stage(out);
        let view = View::first_of(next.epoch);
        out.trace(|| Event::allowed(&rules::EPOCH).with("view", view.to_string()).with("slot", at));
        self.write_entered(view, at.next(), &Default::default(), out);
        self.undecided_bytes = self.log.bytes_behind(self.decided);
        self.enter_configuration(next, MembersChange::Appended, out);
        self.enter_first_view(true, out);
    }

    /// Takes its place in the first view of an epoch that it entered.
    pub(crate) fn enter_first_view(&mut self, may_lead: bool, out: &mut Outbox<Viewstamped>) {
        let primary = self.view.primary(&self.configuration.members);
        if !self.configuration.members.contains(self.me) {
            self.begin_leaving(true, out);
        } else if primary != Some(self.me) {
            self.become_backup(out);
        } else if may_lead {
            self.become_primary(out);
        } else {
            self.leave_view(self.view.next(), 0, out);
        }
    }

    pub(crate) fn enter_configuration(
        &mut self,
        configuration: Configuration,
        change: MembersChange,
        out: &mut Outbox<Viewstamped>,
    ) {
        self.configuration = configuration;
        self.tell_members(change, out);
    }

    /// Says whom this node may have to speak to: the members, and those that the last change left behind.
    pub(crate) fn tell_members(&self, change: MembersChange, out: &mut Outbox<Viewstamped>) {
        let before = match change {
            MembersChange::Reach => None,
            _ => self.log.configuration_before(self.view.epoch),
        };
        let before = before.into_iter().flat_map(|before| before.members.members());
        let all = before.chain(self.configuration.members.members()).cloned();
        out.members(Membership::new(all), change);
    }

    /// A log of a later epoch, whole (rule 16).
    pub(crate) fn adopt_epoch(&mut self, state: &State, next: Configuration, out: &mut Outbox<Viewstamped>) {
        self.leave_stage(out);
        let keep = self.commit.max(self.log.base());
        let entries = crate::view_change::tail(&state.entries, state.first, keep.next());
        self.write_entered(state.view, keep.next(), &entries, out);
        self.undecided_bytes = self.log.bytes_behind(self.decided);
        self.commit = self.commit.max(state.commit.min(self.log.last()));
        let (view, last) = (self.view, self.log.last());
        out.trace(|| Event::allowed(&rules::ENTER).with("view", view.to_string()).with("last", last));
        let began_at = self.log.beginning_of(view.epoch);
        self.enter_configuration(next, MembersChange::Installed, out);
        // A view that somebody else acted in is not this one's to lead; at its very beginning nobody did.
        let untouched = view.number == 0 && began_at == Some(last);
        if view.number == 0 || !self.configuration.members.contains(self.me) {
            self.enter_first_view(untouched, out);
        } else if view.primary(&self.configuration.members) == Some(self.me) {
            self.leave_view(view.next(), 0, out);
        } else {
            self.become_backup(out);
        }
    }

    /// A message of another epoch. Says whether it is to be looked at all the same.
    pub(crate) fn hears_other_epoch(&mut self, from: NodeId, message: &Message, out: &mut Outbox<Viewstamped>) -> bool {
        let view = message.view();
        if view.epoch < self.view.epoch {
            let answerable = !matches!(message, Message::NewState { .. } | Message::EpochStarted { .. });
            if answerable && !self.configuration.members.members().is_empty() {
                out.trace(|| Event::refused(&rules::OTHER_EPOCH).with("peer", from).with("view", view.to_string()));
                self.send_start_epoch(from, out);
            }
            return false;
        }
        match message {
            Message::NewState { .. } | Message::StartEpoch { .. } => true,
            Message::EpochStarted { .. } | Message::ReadIndexResponse { .. } | Message::PrepareOk { .. } => false,
            // Whoever asks lacks it too: two that asked each other would wait for each other. But where whoever began that epoch is
            // gone, the one before may have to be ended once more, and this one's log is what the asker needs for that.
            Message::GetState { .. } => {
                let helps = self.configuration.members.contains(from);
                if !helps {
                    self.drop_stale("get-state", from, "the log of that epoch is not known here", out);
                }
                helps
            }
            _ => {
                self.learn_of_epoch(from, view, out);
                false
            }
        }
    }

    /// A later epoch has begun somewhere: asks for its log. What this replica promised in its own stays promised.
    fn learn_of_epoch(&mut self, source: NodeId, view: View, out: &mut Outbox<Viewstamped>) {
        if let Stage::Changing(Change { asking: Some(asking), .. }) = &mut self.stage
            && asking.view.epoch >= view.epoch
        {
            return asking.may_know(source);
        }
        out.trace(|| Event::waiting(&rules::OTHER_EPOCH).with("peer", source).with("view", view.to_string()));
        self.leave_stage(out);
        self.begin_asking(source, View::first_of(view.epoch), out);
    }

    /// Somebody says that an epoch has begun, and who takes part.
    pub(crate) fn start_epoch(
        &mut self,
        from: NodeId,
        view: View,
        configuration: &Configuration,
        begun: bool,
        out: &mut Outbox<Viewstamped>,
    ) {
        if view.epoch <= self.view.epoch {
            // It began here too, durably once this leaves.
            return self.send(from, Message::EpochStarted { view: self.view }, out);
        }
        if configuration.epoch != view.epoch {
            return self.drop_stale("start-epoch", from, "it contradicts itself", out);
        }
        if configuration.members.contains(self.me) {
            self.learn_of_epoch(from, view, out);
            if let Stage::Changing(Change { asking: Some(asking), .. }) = &mut self.stage {
                configuration.members.others(self.me).for_each(|id| asking.may_know(id));
            }
        } else if let Stage::Leaving(farewell) = &mut self.stage {
            // Its epoch began long ago; whoever may still lack its log asks those of the later one.
            farewell.serves = false;
        } else if self.configuration.members.contains(self.me) {
            if !begun {
                return self.drop_stale("start-epoch", from, "too few have yet what is known here", out);
            }
            self.leave_stage(out);
            self.begin_leaving(false, out);
        }
    }

    fn send_start_epoch(&self, to: NodeId, out: &mut Outbox<Viewstamped>) {
        let (view, configuration, begun) = (self.view, self.configuration.clone(), self.has_epoch_begun());
        self.send(to, Message::StartEpoch { view, configuration, begun }, out);
    }

    /// Whether this replica knows that a quorum of the epoch's voters has everything up to its beginning durably. Until then
    /// those that it leaves behind may be the only ones that have it.
    fn has_epoch_begun(&self) -> bool {
        let beginning = self.log.beginning_of(self.view.epoch).unwrap_or(self.log.base());
        // Nobody need go before it is decided, while a snapshot is being installed, say.
        if self.decided < beginning {
            return false;
        }
        // A later view began with the offers of a quorum; what was committed behind the beginning, a quorum has.
        if (self.is_normal() && self.view.number > 0) || self.commit > beginning {
            return true;
        }
        let has = |id: NodeId| match &self.stage {
            Stage::Primary(_) if id == self.me => self.disk.durable >= beginning,
            Stage::Primary(leadership) => leadership.peers.get(&id).is_some_and(|peer| peer.matched >= beginning),
            Stage::Leaving(farewell) => farewell.started.contains(&id),
            Stage::Backup(_) | Stage::Changing(_) => false,
        };
        self.configuration.quorum().is_satisfied(has)
    }

    pub(crate) fn begin_leaving(&mut self, serves: bool, out: &mut Outbox<Viewstamped>) {
        let lingers = self.config.farewell_heartbeats.min(10);
        self.stage = Stage::Leaving(Farewell { serves, lingers, ..Farewell::default() });
        self.leave_timers(out);
        self.restart_resend(out);
        if serves {
            self.say_epoch(out);
        }
    }

    fn say_epoch(&self, out: &mut Outbox<Viewstamped>) {
        let Stage::Leaving(farewell) = &self.stage else { return };
        let members = &self.configuration.members;
        for other in members.others(self.me).filter(|id| !farewell.started.contains(id)) {
            self.send_start_epoch(other, out);
        }
    }

    /// Leaving: until a quorum of the new voters has begun, all others are told again (rule 17); then it goes.
    pub(crate) fn tell_epoch_again(&mut self, out: &mut Outbox<Viewstamped>) {
        let began = self.has_epoch_begun();
        let Stage::Leaving(farewell) = &mut self.stage else { return };
        if !began && farewell.serves {
            return self.say_epoch(out);
        }
        farewell.lingers = farewell.lingers.saturating_sub(1);
        farewell.goes = farewell.lingers == 0;
    }

    /// Its last word: a driver stops it there, and looks at nothing behind it.
    pub(crate) fn retire(&mut self, out: &mut Outbox<Viewstamped>) {
        let slot = self.log.last();
        let Stage::Leaving(farewell) = &mut self.stage else { return };
        if std::mem::take(&mut farewell.goes) {
            out.trace(|| Event::allowed(&rules::RETIRE).with("slot", slot));
            out.retire("it is no longer a member of the cluster");
        }
    }

    /// At the primary: who was left behind by this epoch is told, for a bounded time.
    pub(crate) fn bid_farewell(&mut self, out: &mut Outbox<Viewstamped>) {
        // Before that they may still be needed, and would not go.
        let begun = self.has_epoch_begun();
        let Stage::Primary(leadership) = &mut self.stage else { return };
        if leadership.farewells.is_empty() || !begun {
            return;
        }
        leadership.farewells.retain(|_, heartbeats| {
            *heartbeats = heartbeats.saturating_sub(1);
            *heartbeats > 0
        });
        let left: Vec<NodeId> = leadership.farewells.keys().copied().collect();
        if left.is_empty() {
            return self.tell_members(MembersChange::Reach, out);
        }
        for peer in left {
            self.send_start_epoch(peer, out);
        }
    }

    pub(crate) fn epoch_started(&mut self, from: NodeId, view: View, out: &mut Outbox<Viewstamped>) {
        if view.epoch < self.view.epoch {
            return;
        }
        match &mut self.stage {
            Stage::Primary(leadership) => {
                if leadership.farewells.remove(&from).is_some() && leadership.farewells.is_empty() {
                    self.tell_members(MembersChange::Reach, out);
                }
            }
            Stage::Leaving(farewell) => {
                farewell.started.insert(from);
            }
            Stage::Backup(_) | Stage::Changing(_) => {}
        }
    }

    /// Hands the lead to a member by going to the next view that is its turn.
    pub(crate) fn transfer(&mut self, request: RequestId, to: NodeId, out: &mut Outbox<Viewstamped>) {
        let view = self.view.next_led_by(to, &self.configuration.members);
        let refusal = match (&self.stage, view) {
            (Stage::Primary(_), _) if to == self.me => return,
            (Stage::Primary(_), None) => Some(Refusal::Invalid("who does not vote cannot lead")),
            (Stage::Primary(leadership), Some(_)) => {
                let keeps_up = leadership.peers.get(&to).is_some_and(|progress| progress.keeps_up);
                match keeps_up && !self.is_closing() {
                    true => None,
                    false => Some(Refusal::NotReady("the one to lead does not keep up, or the members are changing")),
                }
            }
            _ => Some(Refusal::NotLeader { hint: self.primary() }),
        };
        match (refusal, view) {
            (None, Some(view)) => {
                out.trace(|| Event::allowed(&rules::TRANSFER).with("to", to).with("view", view.to_string()));
                self.leave_view(view, 0, out);
            }
            (refusal, _) => {
                out.trace(|| Event::refused(&rules::TRANSFER).with("to", to));
                out.refuse(Refused::Request(request), refusal.unwrap_or(Refusal::NotReady("nobody can lead")));
            }
        }
    }
}

/// Whether these can be the members of an epoch.
pub(crate) fn judge_members(wish: &Membership) -> Result<(), &'static str> {
    if wish.voters().next().is_none() {
        Err("somebody must vote")
    } else if wish.members().iter().any(|member| member.role == MemberRole::Witness) {
        Err("witnesses cannot be members of this protocol")
    } else {
        Ok(())
    }
}

fn judge_member(before: Option<&Member>, member: &Member) -> Result<(), &'static str> {
    match before {
        Some(before) if before.disk.is_some() && before.disk != member.disk => {
            Err("a member keeps its disk: one that lost it comes back under a new id")
        }
        _ => Ok(()),
    }
}
