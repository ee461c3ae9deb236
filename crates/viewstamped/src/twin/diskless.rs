//! Recovery as the paper has it (rules 12 to 14): memory only. Whoever comes back asks the others, with a nonce, and is what they say.

use super::{R0, R1, R2, Story, pass_on};
use crate::entry::Entries;
use crate::{Anchor, Config, Message, Record, Timer, View, Viewstamped};
use quorate_protocol::{Durable, Env, Input, OpenError, Outbox, Replica, Setup, Start, Status, Violation};
use quorate_types::{Membership, NodeId, Slot, Ticket};
use quorate_wire::{Reader, Wire, WireError};
use std::collections::BTreeMap;

/// The protocol's messages and those of recovery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Said {
    Plain(Message),
    Recovery {
        nonce: u64,
    },
    /// The primary adds its log.
    RecoveryResponse {
        nonce: u64,
        view: View,
        log: Option<Entries>,
    },
}

impl Wire for Said {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Said::Plain(message) => {
                out.push(0);
                message.encode(out);
            }
            Said::Recovery { nonce } => {
                out.push(1);
                nonce.encode(out);
            }
            Said::RecoveryResponse { nonce, view, log } => {
                out.push(2);
                nonce.encode(out);
                view.encode(out);
                log.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("kind")? {
            0 => Ok(Said::Plain(Message::decode(input)?)),
            1 => Ok(Said::Recovery { nonce: input.u64("nonce")? }),
            2 => Ok(Said::RecoveryResponse {
                nonce: input.u64("nonce")?,
                view: View::decode(input)?,
                log: Option::decode(input)?,
            }),
            kind => Err(WireError::UnknownKind { what: "diskless message", kind }),
        }
    }
}

/// Status recovering: it answers nothing (rule 14).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Recovering {
    nonce: u64,
    answers: BTreeMap<NodeId, (View, Option<Entries>)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Diskless {
    replica: Viewstamped,
    setup: Setup,
    recovering: Option<Recovering>,
}

fn members() -> Membership {
    Membership::of_voters(3)
}

/// The replica that this view and this log describe.
fn become_it(
    setup: &Setup,
    config: &Config,
    known: Option<(View, Entries)>,
    out: &mut Outbox<Diskless>,
) -> Result<Viewstamped, OpenError> {
    let remembered = known.map(|(view, entries)| {
        let founded = Record::Founded { membership: members() };
        [founded, Record::Entered { view, first: Slot(1), entries }]
    });
    let records = remembered.into_iter().flatten().map(|record| (Ticket::NONE, record)).collect();
    let mut inner = Outbox::new(out.last_ticket(), true);
    let opened = Viewstamped::open(setup, config, Durable { records, ..Durable::nothing() }, &mut inner)?;
    pass_on(inner, out, Said::Plain);
    Ok(opened)
}

impl Diskless {
    /// Rule 13: only normal replicas answer.
    fn recovery_asked(&self, from: NodeId, nonce: u64, out: &mut Outbox<Diskless>) {
        if self.recovering.is_none() && self.replica.is_normal() {
            let whole = self.replica.log.between(Slot::ZERO, self.replica.log.last());
            let log = self.replica.is_primary().then_some(whole);
            out.send(from, Said::RecoveryResponse { nonce, view: self.replica.view, log });
        }
    }

    /// Rule 14: with q + 1 answers, one of them from the primary of the highest view among them.
    fn recovery_answered(
        &mut self,
        from: NodeId,
        nonce: u64,
        answer: (View, Option<Entries>),
        out: &mut Outbox<Diskless>,
    ) {
        let Some(recovering) = self.recovering.as_mut().filter(|recovering| recovering.nonce == nonce) else { return };
        recovering.answers.insert(from, answer);
        let Some(highest) = recovering.answers.values().map(|(view, _)| *view).max() else { return };
        let log = recovering.answers.values().find_map(|(view, log)| log.clone().filter(|_| *view == highest));
        if let (true, Some(log)) = (recovering.answers.len() >= 2, log) {
            let config = self.replica.config.clone();
            let known = Some((highest, log));
            self.replica = become_it(&self.setup, &config, known, out).expect("what others said makes sense");
            self.recovering = None;
        }
    }
}

impl Replica for Diskless {
    type Message = Said;
    type Record = Record;
    type Anchor = Anchor;
    type Timer = Timer;
    type Config = Config;

    const PROTOCOL: &'static str = "viewstamped-diskless";
    const TIMERS: &'static [(&'static str, Timer)] = Viewstamped::TIMERS;

    /// What is found says only that this is not the first time.
    fn open(
        setup: &Setup,
        config: &Config,
        found: Durable<Diskless>,
        out: &mut Outbox<Diskless>,
    ) -> Result<Diskless, OpenError> {
        if found.records.is_empty() {
            let replica = become_it(setup, config, None, out)?;
            return Ok(Diskless { replica, setup: setup.clone(), recovering: None });
        }
        let nonce = setup.incarnation.0;
        let setup = Setup { start: Start::Join, ..setup.clone() };
        let replica = become_it(&setup, config, None, out)?;
        members().others(setup.me).for_each(|other| out.send(other, Said::Recovery { nonce }));
        let recovering = Some(Recovering { nonce, answers: BTreeMap::new() });
        Ok(Diskless { replica, setup, recovering })
    }

    fn step(&mut self, env: &mut dyn Env, input: Input<Diskless>, out: &mut Outbox<Diskless>) {
        let input = match input {
            Input::Receive { from, message: Said::Recovery { nonce } } => {
                return self.recovery_asked(from, nonce, out);
            }
            Input::Receive { from, message: Said::RecoveryResponse { nonce, view, log } } => {
                return self.recovery_answered(from, nonce, (view, log), out);
            }
            _ if self.recovering.is_some() => return,
            Input::Receive { from, message: Said::Plain(message) } => Input::Receive { from, message },
            Input::Expired(timer) => Input::Expired(timer),
            Input::Persisted(ticket) => Input::Persisted(ticket),
            Input::Propose { request, batch } => Input::Propose { request, batch },
            Input::Applied { through, durable, digest } => Input::Applied { through, durable, digest },
            other => panic!("the stories have no {other:?}"),
        };
        let mut inner = Outbox::new(out.last_ticket(), true);
        self.replica.step(env, input, &mut inner);
        pass_on(inner, out, Said::Plain);
    }

    fn settle(&mut self, env: &mut dyn Env, out: &mut Outbox<Diskless>) {
        let mut inner = Outbox::new(out.last_ticket(), true);
        self.replica.settle(env, &mut inner);
        pass_on(inner, out, Said::Plain);
    }

    fn check_invariants(&self) -> Result<(), Violation> {
        Ok(())
    }

    fn status(&self) -> Status {
        self.replica.status()
    }

    fn anchored(anchor: &Anchor) -> Slot {
        anchor.slot
    }

    fn kind(message: &Said) -> &'static str {
        match message {
            Said::Plain(message) => message.kind(),
            Said::Recovery { .. } => "recovery",
            Said::RecoveryResponse { .. } => "recovery-response",
        }
    }

    fn vouches(&self, _: NodeId, _: &Said) -> bool {
        true
    }
}

/// Golden 2: at most one replica is ever down. R1 leaves for view 1, tells R2 alone, and crashes; R2, told late, offers its log for
/// view 1 and crashes; its offer is late too. X is proposed in view 0 meanwhile.
fn golden_2<R: Replica<Config = Config, Timer = Timer>>() -> Story<R> {
    let mut story = Story::<R>::new();
    story.expire(R1, Timer::Primary);
    story.lose(|flight| flight.to == R0);
    story.crash(R1);
    story.recover(R1);
    assert!(story.deliver("start-view-change", R1, R2));
    story.lose(|flight| flight.to == R0);
    story.crash(R2);
    story.recover(R2);
    story.propose(R0, "X");
    assert!(story.deliver("prepare", R0, R2));
    while story.deliver("prepare-ok", R2, R0) {}
    story
}

/// R1 gets what R2 said before it crashed, and begins view 1 with it.
fn late_messages_arrive<R: Replica<Config = Config, Timer = Timer>>(story: &mut Story<R>) {
    assert!(story.deliver("start-view-change", R2, R1) && story.deliver("do-view-change", R2, R1));
    story.propose(R1, "Y");
    story.run_among([R1, R2]);
}

#[test]
fn golden_2_without_disks_what_was_committed_is_lost() {
    let mut story = golden_2::<Diskless>();
    assert_eq!(story.first_decision().as_deref(), Some("X"), "committed, and the client was told");
    late_messages_arrive(&mut story);
    assert!(story.bed.replica(R1).replica.is_primary());
    assert_eq!(story.broken(), Some("Agreement"), "Y is decided where X was");
}

#[test]
fn golden_2_with_durable_views_nothing_is_lost() {
    let mut story = golden_2::<Viewstamped>();
    assert_eq!(story.first_decision(), None, "R2 left view 0 for good, so X is not committed");
    late_messages_arrive(&mut story);
    assert_eq!((story.first_decision().as_deref(), story.broken()), (Some("Y"), None));
    story.bed.run(1_000, |_| true);
    story.expire(R1, Timer::Heartbeat);
    story.bed.run(1_000, |_| true);
    assert_eq!(story.bed.replica(R0).log().last(), story.bed.replica(R1).log().last());
    assert_eq!(story.broken(), None);
}

#[test]
fn messages_of_recovery_travel_as_bytes() {
    let log = Some(Entries::from(vec![crate::Entry::Commands(bytes::Bytes::from_static(b"x"))]));
    let view = View { epoch: 1, number: 2 };
    for said in [Said::Recovery { nonce: 3 }, Said::RecoveryResponse { nonce: 3, view, log }] {
        assert_eq!(quorate_wire::decode_exact::<Said>(quorate_wire::encode_to_bytes(&said)), Ok(said));
    }
}
