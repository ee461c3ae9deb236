//! Messages of this configuration, of closed ones and of later ones.

use crate::heir::Heir;
use crate::message::{Body, Message};
use crate::record::{Anchor, Way};
use crate::replica::Succession;
use crate::rules;
use quorate_protocol::{Env, Event, Input, MembersChange, Outbox};
use quorate_types::{Membership, NodeId, Slot, Ticket};

impl<P: Heir> Succession<P> {
    pub(crate) fn receive(&mut self, env: &mut dyn Env, from: NodeId, message: Message<P>, out: &mut Outbox<Self>) {
        let Message { configuration: theirs, body } = message;
        let present = self.configuration();
        self.reach_again(from, out);
        match body {
            _ if from == self.me() => self.drop_stale("message", "it says it comes from itself", out),
            Body::Closed { behind, members, last_word } if theirs >= present => {
                self.hear_of(env, from, (theirs, behind, members), last_word, out);
            }
            Body::Fetch if theirs < present => self.serve(from, out),
            body if theirs < present && !self.may_hear(from) => {
                self.drop_stale(body.kind(), "its sender left, and may still be needed where it is", out);
            }
            body if theirs < present => {
                let kind = body.kind();
                out.trace(|| {
                    let event = Event::refused(&rules::CONFIGURATION).with("kind", kind).with("from", from);
                    event.with("theirs", theirs).with("configuration", present)
                });
                self.tell_one(from, out);
            }
            body if theirs > present => {
                let kind = body.kind();
                out.trace(|| {
                    let event = Event::waiting(&rules::CONFIGURATION).with("kind", kind).with("from", from);
                    event.with("theirs", theirs).with("configuration", present)
                });
                out.send(from, Message { configuration: present, body: Body::Behind });
            }
            body => {
                self.note_known(from);
                match body {
                    Body::Within(inner) => self.hand_in(env, Input::Receive { from, message: inner }, out),
                    Body::Known | Body::Behind | Body::Fetch | Body::Closed { .. } => {}
                }
            }
        }
    }

    /// Somebody speaks in the present configuration: it has it durably.
    fn note_known(&mut self, from: NodeId) {
        if self.present.is_none() {
            return;
        }
        if self.members().contains(from) {
            self.known_at.insert(from);
        }
        if let Some(leaver) = self.leavers.get_mut(&from) {
            leaver.knows = true;
        }
    }

    /// A configuration not earlier than the present one is said to be open.
    fn hear_of(
        &mut self,
        env: &mut dyn Env,
        from: NodeId,
        (theirs, behind, members): (u64, Slot, Membership),
        last_word: Option<P::Message>,
        out: &mut Outbox<Self>,
    ) {
        if theirs == 0 || theirs == self.configuration() {
            if theirs > 0 {
                self.note_known(from);
                self.say_known(from, out);
            }
            return;
        }
        if self.inside.is_none() && self.present.is_some() {
            self.superseded = true;
        }
        let follows = theirs == self.configuration() + 1 && self.inside.is_some();
        if let Some(word) = last_word.filter(|_| follows && !self.last_word_taken) {
            self.last_word_taken = true;
            out.trace(|| Event::waiting(&rules::FETCH).with("theirs", theirs));
            return self.hand_in(env, Input::Receive { from, message: word }, out);
        }
        if members.contains(self.me()) {
            out.trace(|| Event::allowed(&rules::FETCH).with("theirs", theirs).with("from", from));
            let configuration = self.configuration();
            return out.send(from, Message { configuration, body: Body::Fetch });
        }
        match self.inside.is_some() && self.installing.is_none() && self.stopped.is_none() {
            true => self.leave(from, theirs, (behind, members), out),
            false => {
                let why = "it is no member of it, and has nothing to leave";
                out.trace(|| Event::refused(&rules::FETCH).with("theirs", theirs).with("why", why));
            }
        }
    }

    /// Who told need not tell again.
    fn say_known(&self, to: NodeId, out: &mut Outbox<Self>) {
        let after = self.opening.ticket_of(|_| true).unwrap_or(Ticket::NONE);
        out.send_after(after, to, Message { configuration: self.configuration(), body: Body::Known });
    }

    /// This node's membership ended at a slot that it has not got to.
    fn leave(&mut self, from: NodeId, theirs: u64, (behind, members): (Slot, Membership), out: &mut Outbox<Self>) {
        self.close_inside(out);
        let anchor = Anchor { configuration: theirs, prefix: P::founding(&self.config, &members, behind) };
        self.enter(anchor, Way::Told, out);
        self.tell_members(MembersChange::Installed, out);
        self.say_known(from, out);
        self.set_succession_timer(out);
    }
}
