//! The leader's side of changes to the cluster itself: asks of all nodes' clients, one carried out at a time, and what members
//! said of themselves, written into the members.

use crate::change::{Ask, AskError, MemberFacts, Verdict, noted};
use crate::machine::{Machine, Out};
use crate::message::MachineMessage;
use crate::output::MachineOutput;
use crate::request::{ClientTag, RequestError};
use crate::state_machine::StateMachine;
use crate::tenure::Asker;
use quorate_protocol::{LEARNER_NOT_IN_SYNC, Refusal, RequestId, TRANSFER_IN_VAIN};
use quorate_types::{DiskId, Incarnation, MemberRole, Membership, NodeId, Session, Slot, Time};
use std::collections::{BTreeMap, VecDeque};

/// More wait at their askers.
const HELD_MAX: usize = 1024;

/// What was asked and is not answered yet.
#[derive(Clone, Debug)]
struct Held {
    number: u64,
    asker: Asker,
    ask: Ask,
    deadline: Time,
    /// A read round that began behind its arrival has proved that this node still led.
    confirmed: bool,
}

/// What the replica was asked to do.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    request: RequestId,
    /// For which ask; none if for the leader's own notes.
    held: Option<u64>,
    /// Neither refused nor decided by then, it may be lost: another look is taken.
    look_again_at: Time,
}

/// What waits to be done at this node while it leads, and what it knows of the members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steering {
    held: VecDeque<Held>,
    last_number: u64,
    facts: BTreeMap<NodeId, MemberFacts>,
    /// There may be facts that the members do not show.
    has_news: bool,
    /// Some were told by [`Machine::meet`]: a leader writes them down unasked. A disk known from opening waits for a change.
    has_met: bool,
    /// The members in force at the replica, while they are wanted.
    in_force: Option<Membership>,
    under_way: Option<UnderWay>,
    /// What members said could not be written down: an ask has its turn before that is tried again.
    asks_first: bool,
    /// The replica said that it is not the time: nothing more before the next tick, or before something is decided.
    rests: bool,
}

impl Steering {
    /// What keeps the tick going.
    pub(crate) fn waiting(&self, leads: bool) -> usize {
        if leads { self.held.len() + usize::from(self.has_news || self.under_way.is_some()) } else { 0 }
    }

    pub(crate) fn learn(&mut self, facts: MemberFacts, has_met: bool) {
        let is_new = self.facts.get(&facts.id) != Some(&facts);
        self.has_met |= has_met;
        self.has_news |= has_met && is_new;
        self.facts.insert(facts.id, facts);
    }

    pub(crate) fn confirm(&mut self, number: u64) {
        if let Some(held) = self.held.iter_mut().find(|held| held.number == number) {
            held.confirmed = true;
        }
    }

    /// The members changed: whatever waited for that, or for its turn, is looked at again.
    pub(crate) fn decided(&mut self) {
        self.under_way = None;
        self.rests = false;
        self.has_news |= self.has_met;
    }

    pub(crate) fn expired(&mut self, now: Time) {
        self.rests = false;
        self.held.retain(|held| held.deadline > now);
        if self.under_way.is_some_and(|under_way| under_way.look_again_at <= now) {
            self.under_way = None;
        }
    }

    /// A move of the lead that cannot be made now, to a member that is down, say, does not keep others from their turn. Changes of the
    /// members stay in the order in which they were asked for: one may be there to undo another.
    fn let_others_pass(&mut self, number: u64) {
        let is_it = |held: &Held| held.number == number && matches!(held.ask, Ask::MoveLeader(_));
        if let Some(held) = self.held.iter().position(is_it).and_then(|index| self.held.remove(index)) {
            self.held.push_back(held);
        }
    }

    fn take(&mut self, number: u64) -> Option<Held> {
        let index = self.held.iter().position(|held| held.number == number)?;
        self.held.remove(index)
    }
}

impl<S: StateMachine> Machine<S> {
    /// A client asks something of the leader about the cluster itself. Answered by an `Asked` with this tag.
    pub fn ask(&mut self, now: Time, tag: ClientTag, ask: Ask, out: &mut Out<S>) {
        match self.refuse_if_left().and_then(|()| self.asks.accept(now, tag, ask, &self.config)) {
            Ok(number) => self.reads.confirm_own_ask(now, number, &self.config),
            Err(error) => out.push(MachineOutput::Asked { tag, result: Err(AskError::Request(error)) }),
        }
        self.finish_asks(out);
    }

    /// A member, perhaps this one, said this of itself. While this node leads, the members are made to show it.
    pub fn meet(&mut self, facts: MemberFacts) {
        self.steering.learn(facts, true);
    }

    /// The disk that this node runs on. It goes into the members with their next change.
    pub fn know_own_disk(&mut self, me: NodeId, disk: DiskId) {
        let facts = MemberFacts { id: me, disk, name: String::new(), client_urls: Vec::new() };
        self.steering.learn(facts, false);
    }

    /// Whether the members in force at the replica are wanted, with [`Machine::note_members`], before the next settle.
    #[must_use]
    pub fn wants_members(&self) -> bool {
        let steering = &self.steering;
        let has_work = steering.has_news || steering.held.iter().any(|held| held.confirmed);
        self.steers() && has_work && steering.under_way.is_none() && !steering.rests
    }

    /// The members in force at the replica now.
    pub fn note_members(&mut self, in_force: Membership) {
        self.steering.in_force = Some(in_force);
    }

    fn steers(&self) -> bool {
        self.lead.settled && self.lead.who == Some(self.node())
    }

    /// Answers what the decided members, or the leader that is seen, show to be done.
    pub(crate) fn finish_asks(&mut self, out: &mut Out<S>) {
        if self.asks.len() > 0 {
            let done = self.asks.take_done(&self.roster, self.lead.who);
            out.extend(done.into_iter().map(|tag| MachineOutput::Asked { tag, result: Ok(()) }));
        }
    }

    /// Asks of own clients leave for the leader, or are held here if this node leads.
    pub(crate) fn hand_out_asks(&mut self, now: Time, leader: NodeId, out: &mut Out<S>) {
        let asks = self.asks.send(now, leader, &self.config);
        if asks.is_empty() {
            return;
        }
        if leader != self.node() {
            return out
                .push(MachineOutput::Send { to: leader, message: MachineMessage::Asks { session: self.me, asks } });
        }
        for (number, ask) in asks {
            self.hold(now, Asker { session: self.me, number }, ask);
        }
    }

    /// Another node's clients ask.
    pub(crate) fn receive_asks(
        &mut self,
        now: Time,
        from: NodeId,
        session: Session,
        asks: Vec<(u64, Ask)>,
        out: &mut Out<S>,
    ) {
        if session.owner != from.0 || session.incarnation == Incarnation(0) || from == self.node() {
            self.dropped_messages += 1;
            return;
        }
        if self.lead.who != Some(self.node()) {
            let numbers = asks.into_iter().map(|(number, _)| number).collect();
            let message = MachineMessage::AsksNotTaken { session, numbers, hint: self.lead.who };
            return out.push(MachineOutput::Send { to: from, message });
        }
        for (number, ask) in asks {
            self.hold(now, Asker { session, number }, ask);
        }
    }

    fn hold(&mut self, now: Time, asker: Asker, ask: Ask) {
        let steering = &mut self.steering;
        if steering.held.len() >= HELD_MAX || steering.held.iter().any(|held| held.asker == asker) {
            return;
        }
        steering.last_number += 1;
        let number = steering.last_number;
        let deadline = now + self.config.request_timeout;
        steering.held.push_back(Held { number, asker, ask, deadline, confirmed: false });
        self.reads.confirm_ask(now, number, &self.config);
    }

    /// The leader refuses some asks of own clients for good.
    pub(crate) fn receive_refused_asks(&mut self, session: Session, refused: Vec<(u64, AskError)>, out: &mut Out<S>) {
        if session != self.me {
            self.dropped_messages += 1;
            return;
        }
        for (number, why) in refused {
            let refused = self.asks.refused(number, why);
            out.extend(refused.map(|(tag, why)| MachineOutput::Asked { tag, result: Err(why) }));
        }
    }

    /// The leadership is over: whoever asked here asks elsewhere.
    pub(crate) fn stop_steering(&mut self, out: &mut Out<S>) {
        self.steering.under_way = None;
        self.steering.rests = false;
        self.steering.has_news = self.steering.has_met;
        let mut numbers_of: BTreeMap<Session, Vec<u64>> = BTreeMap::new();
        for held in std::mem::take(&mut self.steering.held) {
            if held.asker.session != self.me {
                numbers_of.entry(held.asker.session).or_default().push(held.asker.number);
            }
        }
        for (session, numbers) in numbers_of {
            let message = MachineMessage::AsksNotTaken { session, numbers, hint: self.lead.who };
            out.push(MachineOutput::Send { to: NodeId(session.owner), message });
        }
    }

    /// The protocol cannot prove that this node leads: what waits for that will never be done.
    pub(crate) fn abandon_ask(&mut self, number: u64, what: &'static str, out: &mut Out<S>) {
        if let Some(held) = self.steering.take(number) {
            self.answer_ask(held.asker, AskError::Request(RequestError::Unsupported(what)), out);
        }
    }

    fn answer_ask(&mut self, asker: Asker, why: AskError, out: &mut Out<S>) {
        let refused = vec![(asker.number, why)];
        if asker.session == self.me {
            return self.receive_refused_asks(asker.session, refused, out);
        }
        let message = MachineMessage::AsksRefused { session: asker.session, refused };
        out.push(MachineOutput::Send { to: NodeId(asker.session.owner), message });
    }

    /// At the leader: asks the replica for the next change, if none is under way.
    pub(crate) fn steer(&mut self, now: Time, out: &mut Out<S>) {
        let in_force = self.steering.in_force.take();
        if !self.wants_members() {
            return;
        }
        let Some(in_force) = in_force else { return };
        // The first change writes the founders into the log, with the disk of at least this node.
        let is_first = self.roster.decided_at() == Slot::ZERO;
        if !is_first && in_force != *self.roster.members() {
            return; // One is under way: its decision brings us back here.
        }
        let is_asks_turn =
            std::mem::take(&mut self.steering.asks_first) && self.steering.held.iter().any(|held| held.confirmed);
        if (self.steering.has_news && !is_asks_turn) || is_first {
            self.steering.has_news = false;
            if let Some(members) = noted(&in_force, self.steering.facts.values()) {
                return self.reconfigure(now, None, in_force, members, out);
            }
        }
        while let Some(index) = self.steering.held.iter().position(|held| held.confirmed) {
            let Held { number, asker, ref ask, deadline, .. } = self.steering.held[index];
            let refusal = match ask {
                Ask::MoveLeader(to) if *to == self.node() => None,
                Ask::MoveLeader(to) if in_force.get(*to).is_none_or(|to| to.role != MemberRole::Voter) => {
                    Some(AskError::BadTransferee)
                }
                Ask::MoveLeader(to) => {
                    let (request, to) = (self.proposer.fresh_request(), *to);
                    // Every try stops all writes for as long: while this one lasts there is no other.
                    self.steering.under_way = Some(UnderWay { request, held: Some(number), look_again_at: deadline });
                    return out.push(MachineOutput::Transfer { request, to });
                }
                Ask::Change(change) => match change.judge(&in_force, &self.roster) {
                    Verdict::Done => None,
                    Verdict::Refused(why) => Some(why),
                    Verdict::Wish(members) => return self.reconfigure(now, Some(number), in_force, members, out),
                },
            };
            // Who asked for what is there already sees it, sooner or later, by itself.
            self.steering.take(number);
            if let Some(why) = refusal {
                self.answer_ask(asker, why, out);
            }
        }
    }

    fn reconfigure(
        &mut self,
        now: Time,
        held: Option<u64>,
        based_on: Membership,
        members: Membership,
        out: &mut Out<S>,
    ) {
        let request = self.proposer.fresh_request();
        let look_again_at = now + self.config.retry_after.saturating_mul(4);
        self.steering.under_way = Some(UnderWay { request, held, look_again_at });
        out.push(MachineOutput::Reconfigure { request, based_on, members });
    }

    /// The replica refuses what it was asked to do about the cluster. Answers whether the request was one of these.
    pub(crate) fn refuse_steering(&mut self, request: RequestId, why: &Refusal, out: &mut Out<S>) -> bool {
        let Some(under_way) = self.steering.under_way.take_if(|under_way| under_way.request == request) else {
            return false;
        };
        let definite = match why {
            Refusal::NotReady(LEARNER_NOT_IN_SYNC) => Some(AskError::NotInSync),
            // Whether there is to be another try, for which writes stop as well, is for the asker to say.
            Refusal::NotReady(TRANSFER_IN_VAIN) => Some(AskError::TransferInVain),
            Refusal::Invalid(why) => Some(AskError::Senseless((*why).to_owned())),
            Refusal::Unsupported(what) => Some(AskError::Request(RequestError::Unsupported(what))),
            Refusal::AlreadyDecided => Some(AskError::Request(RequestError::AlreadyDecided)),
            Refusal::NotReady(_)
            | Refusal::MembershipChanged
            | Refusal::NotLeader { .. }
            | Refusal::LeaderChanged
            | Refusal::Overloaded => None,
        };
        match (definite, under_way.held) {
            (Some(why), Some(number)) => {
                if let Some(held) = self.steering.take(number) {
                    self.answer_ask(held.asker, why, out);
                }
            }
            // Facts that the replica will not have are left until there are others.
            (Some(_), None) => {}
            (None, held) => {
                self.steering.rests = true;
                match held {
                    Some(number) => self.steering.let_others_pass(number),
                    None => (self.steering.has_news, self.steering.asks_first) = (true, true),
                }
            }
        }
        true
    }
}
