//! The replica inside: inputs handed in, outputs handed on.

use crate::heir::Heir;
use crate::message::{Body, Message};
use crate::record::{Anchor, Record};
use crate::replica::{Serving, Succession};
use quorate_protocol::{Decision, Env, Input, Outbox, Output};
use quorate_types::{NodeId, Slot, Ticket};

impl<P: Heir> Succession<P> {
    /// Hands an input in and its outputs on. Where nothing runs inside, or the stop-sign is decided already, it means nothing.
    pub(crate) fn hand_in(&mut self, env: &mut dyn Env, input: Input<P>, out: &mut Outbox<Self>) {
        self.with_inside(out, |inside, within| inside.step(env, input, within));
    }

    pub(crate) fn settle_inside(&mut self, env: &mut dyn Env, out: &mut Outbox<Self>) {
        self.with_inside(out, |inside, within| inside.settle(env, within));
    }

    /// Lets the replica inside do something, and hands on what it asks for.
    pub(crate) fn with_inside<T>(
        &mut self,
        out: &mut Outbox<Self>,
        act: impl FnOnce(&mut P, &mut Outbox<P>) -> T,
    ) -> Option<T> {
        let inside = self.inside.as_mut()?;
        let mut within = Outbox::new(out.last_ticket(), out.tracing());
        let answer = act(inside, &mut within);
        self.relay(within.take(), out);
        Some(answer)
    }

    /// Hands on what the replica inside asks for, in its order.
    pub(crate) fn relay(&mut self, outputs: Vec<Output<P>>, out: &mut Outbox<Self>) {
        let configuration = self.configuration();
        let opened = self.opening.ticket_of(|_| true).unwrap_or(Ticket::NONE);
        for output in outputs {
            match output {
                Output::Persist { ticket, records } => {
                    let records = within(configuration, records);
                    let outside = out.persist(records);
                    self.check_ticket(ticket, outside);
                }
                Output::Compact { ticket, baseline, drop_before } => {
                    self.relay_compaction(ticket, baseline, drop_before, out);
                }
                Output::Send { to, message, after } => {
                    let message = Message { configuration, body: Body::Within(message) };
                    out.send_after(after.max(opened), to, message);
                }
                Output::SetTimer { timer, at_least, at_most } => out.set_timer(timer, at_least, at_most),
                Output::CancelTimer(timer) => out.cancel_timer(timer),
                Output::Decide { slot, decision } => self.relay_decision(slot, decision, out),
                Output::ReadAt { token, slot } => out.read_at(token, slot),
                Output::Refuse { refused, why } => out.refuse(refused, why),
                Output::Lead { era, who, ready, settled } => out.lead(self.era(era), who, ready, settled),
                Output::SendSnapshot { to, at_least, with_data } => {
                    // It takes the place of one that was on its way there, of which the driver says no more.
                    self.serving.insert(to, Serving::Inside(None));
                    out.send_snapshot(to, at_least, with_data);
                }
                Output::SnapshotAnchor { id, to, anchor } => {
                    self.serving.insert(to, Serving::Inside(Some(id)));
                    out.snapshot_anchor(id, to, Anchor { configuration, prefix: anchor });
                }
                Output::InstallSnapshot { id, anchor, after } => {
                    self.installing = Some((id, P::anchored(&anchor)));
                    out.install_snapshot(id, Anchor { configuration, prefix: anchor }, after.max(opened));
                }
                Output::DropSnapshot { id } => out.drop_snapshot(id),
                Output::Evidence { against, first, second } => {
                    relay_evidence(configuration, against, first, second, out)
                }
                Output::Trace(event) => out.trace(|| event),
                Output::Members { .. } | Output::Retire { .. } => {}
            }
        }
    }

    fn relay_decision(&mut self, slot: Slot, decision: Decision, out: &mut Outbox<Self>) {
        if let Some((stop, _)) = &self.stopped {
            let detail = format!("slot {slot} is decided behind the stop-sign at {stop}");
            return self.violate("StopSignFinal", detail);
        }
        if let Decision::Members(next) = &decision {
            self.stopped = Some((slot, next.clone()));
        }
        self.decided = slot;
        out.decide(slot, decision);
    }

    /// The replica inside says what it needs of what is dropped; that the configuration is open is needed as well.
    fn relay_compaction(
        &mut self,
        ticket: Ticket,
        baseline: Vec<P::Record>,
        drop_before: Ticket,
        out: &mut Outbox<Self>,
    ) {
        let Some(present) = self.present.clone() else { return };
        let configuration = present.configuration;
        let mut records = vec![Record::Configuration { anchor: present, way: self.way }];
        records.extend(within(configuration, baseline));
        let outside = out.compact(records, drop_before);
        self.check_ticket(ticket, outside);
    }

    fn check_ticket(&mut self, inside: Ticket, outside: Ticket) {
        if inside != outside {
            self.violate("TicketsOneToOne", format!("write {inside:?} inside is {outside:?} outside"));
        }
    }
}

/// Records of the replica inside, as they are written.
pub(crate) fn within<P: Heir>(configuration: u64, records: Vec<P::Record>) -> Vec<Record<P>> {
    records.into_iter().map(|record| Record::Within { configuration, record }).collect()
}

fn relay_evidence<P: Heir>(
    configuration: u64,
    against: NodeId,
    first: P::Message,
    second: P::Message,
    out: &mut Outbox<Succession<P>>,
) {
    let said = |message| Message { configuration, body: Body::Within(message) };
    out.evidence(against, said(first), said(second));
}
