//! From one configuration to the next: a stop-sign decided, its successor opened, its members and those who left told.

use crate::heir::Heir;
use crate::inside::within;
use crate::message::{Body, Message};
use crate::record::{Anchor, Record, Way};
use crate::replica::{Leaver, Serving, Succession};
use crate::rules;
use quorate_protocol::{Durable, Event, MembersChange, OpenError, Outbox, Pending, Role};
use quorate_types::{Membership, NodeId, Slot, Ticket};

/// Whoever left is told for so many intervals, or until it says that it knows; and it is answered for as long, and again whenever it speaks.
const TELLINGS_MOST: u32 = 10;

/// Former members that are reached no more are remembered up to so many, should one speak again.
const LET_GO_MOST: usize = 32;

impl<P: Heir> Succession<P> {
    /// The stop-sign is decided here: this configuration is over, and the next begins behind it.
    pub(crate) fn succeed(&mut self, out: &mut Outbox<Self>) {
        let Some((slot, next)) = self.stopped.take() else { return };
        let (closed, before) = (self.configuration(), self.members());
        out.trace(|| Event::allowed(&rules::CLOSE).with("slot", slot).with("configuration", closed));
        let led = self.leads();
        let last_word = self.inside.as_ref().and_then(Heir::last_word);
        self.close_inside(out);
        let anchor = Anchor { configuration: closed + 1, prefix: P::founding(&self.config, &next, slot) };
        self.enter(anchor, Way::Decided, out);
        self.last_word = last_word;
        self.leavers.extend(leavers(&before, &next, self.me()));
        self.tell_members(MembersChange::Appended, out);
        self.begin_telling(out);
        if led && next.is_voter(self.me()) {
            self.with_inside(out, Heir::campaign);
        }
    }

    /// What waits inside is refused and forgotten, timers are stopped.
    pub(crate) fn close_inside(&mut self, out: &mut Outbox<Self>) {
        self.with_inside(out, Heir::close);
        self.inside = None;
        for (_, timer) in P::TIMERS {
            out.cancel_timer(*timer);
        }
        let era = self.era(u64::from(u32::MAX));
        // Of what it was sending nobody knows any more. What this one sends goes on until the driver says that it ended.
        self.serving.retain(|_, serving| !matches!(serving, Serving::Inside(_)));
        out.lead(era, None, false, false);
    }

    /// Enters a configuration: its record and the first ones of its replica in one write, before anything is said in it.
    pub(crate) fn enter(&mut self, anchor: Anchor<P>, way: Way, out: &mut Outbox<Self>) {
        let configuration = anchor.configuration;
        let is_member = P::members(&anchor.prefix).contains(self.me());
        let snapshot = match way {
            Way::Snapshot(id) => Some(id),
            Way::Decided | Way::Told => None,
        };
        let first = if is_member { P::opening(&anchor.prefix, snapshot) } else { Vec::new() };
        let mut records = vec![Record::Configuration { anchor: anchor.clone(), way }];
        records.extend(within(configuration, first.clone()));
        let ticket = out.persist(records);
        self.opening = Pending::new();
        self.opening.push(ticket, configuration);
        let slot = P::anchored(&anchor.prefix);
        self.present = Some(anchor);
        self.way = way;
        self.known_at.clear();
        self.forget_leavers(is_member);
        self.last_word = None;
        self.last_word_taken = false;
        self.superseded = false;
        if !is_member {
            return out.trace(|| Event::refused(&rules::OPEN).with("configuration", configuration));
        }
        out.trace(|| Event::allowed(&rules::OPEN).with("configuration", configuration).with("slot", slot));
        let records = first.into_iter().map(|record| (ticket, record)).collect();
        if let Err(error) = self.open_inside(records, None, self.decided, out) {
            self.violate("OpensBehind", error.to_string());
        }
    }

    /// Opens the replica inside from these records of the present configuration.
    ///
    /// # Errors
    /// As [`Replica::open`].
    pub(crate) fn open_inside(
        &mut self,
        records: Vec<(Ticket, P::Record)>,
        anchor: Option<P::Anchor>,
        applied: Slot,
        out: &mut Outbox<Self>,
    ) -> Result<(), OpenError> {
        let mut inner = Outbox::new(out.last_ticket(), out.tracing());
        let found = Durable { records, anchor, applied };
        self.inside = Some(P::open(&self.setup, &self.config, found, &mut inner)?);
        self.relay(inner.take(), out);
        Ok(())
    }

    /// Everybody whom the change concerns hears of it at once, and until enough know.
    pub(crate) fn begin_telling(&mut self, out: &mut Outbox<Self>) {
        self.tell(out);
        self.set_succession_timer(out);
    }

    pub(crate) fn set_succession_timer(&self, out: &mut Outbox<Self>) {
        let interval = P::succession_interval(&self.config);
        out.set_timer(P::SUCCESSION, interval, interval * 2);
    }

    fn leads(&self) -> bool {
        self.inside.as_ref().is_some_and(|inside| inside.status().role == Role::Leader)
    }

    /// A quorum, of the largest kind, of the present configuration has it durably.
    pub(crate) fn is_established(&self) -> bool {
        let members = self.members();
        self.who_has_it(&members).len() >= P::largest_quorum(&self.config, &members)
    }

    fn who_has_it(&self, members: &Membership) -> Vec<NodeId> {
        let durable = self.opening.is_empty();
        members.voters().filter(|id| self.known_at.contains(id) || (*id == self.me() && durable)).collect()
    }

    /// Tells members until it is established, at a leader until each of them knows; and, once it is established, who left, until
    /// they know or were told often enough. What a joiner asks for in return may be lost, it has nothing inside that would ask
    /// again, and some protocols' leaders speak to nobody who did not speak to them.
    fn tell(&mut self, out: &mut Outbox<Self>) {
        let Some(present) = &self.present else { return };
        if present.configuration <= 1 {
            return;
        }
        let (configuration, me) = (present.configuration, self.me());
        let members = P::members(&present.prefix);
        let mut peers: Vec<NodeId> = Vec::new();
        let established = self.is_established();
        if established {
            let votes = self.who_has_it(members);
            out.trace(|| Event::allowed(&rules::TELL).with("configuration", configuration).votes(votes));
        }
        if !established || self.leads() {
            // Who left asks all of them: one that has gone on to a later configuration has answered before, and says so now.
            let is_asked = |id: &NodeId| self.inside.is_none() || !self.known_at.contains(id);
            peers.extend(members.others(me).filter(is_asked));
        }
        if established {
            let is_told = |leaver: &Leaver| !leaver.knows && leaver.tellings_left > 0;
            peers.extend(self.leavers.iter().filter(|(_, leaver)| is_told(leaver)).map(|(id, _)| *id));
        }
        if peers.is_empty() {
            return;
        }
        out.trace(|| Event::waiting(&rules::TELL).with("configuration", configuration).with("peers", peers.clone()));
        for peer in peers {
            self.tell_one(peer, out);
        }
    }

    /// Whether a node may hear that its configuration is closed. Who left goes for good when it does, and may be one of the few that can
    /// find the stop-sign again if whoever decided it is gone: it hears of it when the members of this one can do without.
    pub(crate) fn may_hear(&self, node: NodeId) -> bool {
        self.members().contains(node) || self.is_established()
    }

    /// Every earlier configuration is closed, and this one is open.
    pub(crate) fn tell_one(&self, to: NodeId, out: &mut Outbox<Self>) {
        let Some(present) = &self.present else { return };
        let body = Body::Closed {
            behind: P::anchored(&present.prefix),
            members: P::members(&present.prefix).clone(),
            last_word: self.last_word.clone(),
        };
        let after = self.opening.ticket_of(|_| true).unwrap_or(Ticket::NONE);
        out.send_after(after, to, Message { configuration: present.configuration, body });
    }

    pub(crate) fn succession_due(&mut self, out: &mut Outbox<Self>) {
        if self.present.is_none() {
            return self.drop_stale("succession timer", "it knows no configuration", out);
        }
        self.tell(out);
        if self.is_established() {
            self.count_tellings(out);
        }
        self.promote(out);
        self.retire(out);
        self.set_succession_timer(out);
    }

    fn count_tellings(&mut self, out: &mut Outbox<Self>) {
        let mut is_any_let_go = false;
        for leaver in self.leavers.values_mut().filter(|leaver| leaver.tellings_left > 0) {
            leaver.tellings_left -= 1;
            is_any_let_go |= leaver.tellings_left == 0;
        }
        if is_any_let_go {
            self.tell_members(MembersChange::Reach, out);
        }
    }

    /// Who was let go speaks again: it could not be reached while it was told, and what it asks can only be answered where it is.
    pub(crate) fn reach_again(&mut self, former: NodeId, out: &mut Outbox<Self>) {
        if let Some(leaver) = self.leavers.get_mut(&former).filter(|leaver| leaver.tellings_left == 0) {
            leaver.tellings_left = TELLINGS_MOST;
            self.tell_members(MembersChange::Reach, out);
        }
    }

    /// At the beginning of a configuration: of those who left before that a member remembers some. Who left itself answers nobody.
    fn forget_leavers(&mut self, is_member: bool) {
        if !is_member {
            return self.leavers.clear();
        }
        let members = self.members().clone();
        self.leavers.retain(|id, _| !members.contains(*id));
        let let_go = self.leavers.iter().filter(|(_, leaver)| leaver.tellings_left == 0).map(|(id, _)| *id);
        let let_go: Vec<NodeId> = let_go.collect();
        for id in let_go.iter().take(let_go.len().saturating_sub(LET_GO_MOST)) {
            self.leavers.remove(id);
        }
    }

    /// A node that left goes when nobody can need it any more.
    fn retire(&mut self, out: &mut Outbox<Self>) {
        if self.inside.is_some() || !self.opening.is_empty() {
            return;
        }
        let configuration = self.configuration();
        if self.superseded || self.way == Way::Told || self.is_established() {
            out.trace(|| Event::allowed(&rules::RETIRE).with("configuration", configuration));
            out.retire("it is no longer a member of the cluster");
        } else {
            out.trace(|| Event::waiting(&rules::RETIRE).with("configuration", configuration));
        }
    }
}

fn leavers(before: &Membership, next: &Membership, me: NodeId) -> std::collections::BTreeMap<NodeId, Leaver> {
    let left = before.members().iter().filter(|member| member.id != me && !next.contains(member.id));
    left.map(|member| (member.id, Leaver { member: member.clone(), tellings_left: TELLINGS_MOST, knows: false }))
        .collect()
}
