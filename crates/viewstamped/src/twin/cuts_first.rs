//! State transfer as the paper has it: a replica that learns of a later view first cuts its log to what it knows committed, and
//! is of that view from then on.

use super::{R0, R1, R2, Story, pass_on};
use crate::replica::Stage;
use crate::{Anchor, Config, Message, Record, Timer, Viewstamped};
use quorate_protocol::{Durable, Env, Input, OpenError, Outbox, Replica, Setup, Status, Violation};
use quorate_types::{NodeId, Slot};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CutsFirst(Viewstamped);

impl CutsFirst {
    /// It has just begun to ask for the log of a view it missed.
    fn cut(&mut self, out: &mut Outbox<Viewstamped>) {
        let asks = matches!(&self.0.stage, Stage::Changing(change) if change.asking.is_some());
        if asks && self.0.last_normal < self.0.view {
            let (view, first) = (self.0.view, self.0.commit.next());
            self.0.write_entered(view, first, &Default::default(), out);
            self.0.undecided_bytes = self.0.log.bytes_behind(self.0.decided);
        }
    }
}

impl Replica for CutsFirst {
    type Message = Message;
    type Record = Record;
    type Anchor = Anchor;
    type Timer = Timer;
    type Config = Config;

    const PROTOCOL: &'static str = "viewstamped-cuts-first";
    const TIMERS: &'static [(&'static str, Timer)] = Viewstamped::TIMERS;

    fn open(
        setup: &Setup,
        config: &Config,
        found: Durable<CutsFirst>,
        out: &mut Outbox<CutsFirst>,
    ) -> Result<CutsFirst, OpenError> {
        let found = Durable { records: found.records, anchor: found.anchor, applied: found.applied };
        let mut inner = Outbox::new(out.last_ticket(), true);
        let opened = Viewstamped::open(setup, config, found, &mut inner)?;
        pass_on(inner, out, |message| message);
        Ok(CutsFirst(opened))
    }

    fn step(&mut self, env: &mut dyn Env, input: Input<CutsFirst>, out: &mut Outbox<CutsFirst>) {
        let mut inner = Outbox::new(out.last_ticket(), true);
        let input = match input {
            Input::Receive { from, message } => Input::Receive { from, message },
            Input::Expired(timer) => Input::Expired(timer),
            Input::Persisted(ticket) => Input::Persisted(ticket),
            Input::Propose { request, batch } => Input::Propose { request, batch },
            Input::Applied { through, durable, digest } => Input::Applied { through, durable, digest },
            other => panic!("the stories have no {other:?}"),
        };
        self.0.step(env, input, &mut inner);
        self.cut(&mut inner);
        pass_on(inner, out, |message| message);
    }

    fn settle(&mut self, env: &mut dyn Env, out: &mut Outbox<CutsFirst>) {
        let mut inner = Outbox::new(out.last_ticket(), true);
        self.0.settle(env, &mut inner);
        pass_on(inner, out, |message| message);
    }

    fn check_invariants(&self) -> Result<(), Violation> {
        Ok(())
    }

    fn status(&self) -> Status {
        self.0.status()
    }

    fn anchored(anchor: &Anchor) -> Slot {
        anchor.slot
    }

    fn kind(message: &Message) -> &'static str {
        message.kind()
    }

    fn vouches(&self, _: NodeId, _: &Message) -> bool {
        true
    }
}

/// All three have X and R0 told its client; nobody else knows that it is committed. R1 begins view 1 with R0's offer, of which R2 hears
/// only that it is there; R1 dies. R0, which came back, and R2 go to view 2.
fn story<R: Replica<Config = Config, Timer = Timer>>() -> Story<R> {
    let mut story = Story::<R>::new();
    story.propose(R0, "X");
    for backup in [R1, R2] {
        assert!(story.deliver("prepare", R0, backup) && story.deliver("prepare-ok", backup, R0));
    }
    assert_eq!(story.first_decision().as_deref(), Some("X"));
    story.lose(|_| true);
    story.expire(R1, Timer::Primary);
    assert!(story.deliver("start-view-change", R1, R0) && story.deliver("do-view-change", R0, R1));
    story.lose(|_| true);
    story.crash(R0);
    story.recover(R0);
    story.finish_writes(R0);
    story.lose(|_| true);
    story.expire(R1, Timer::Heartbeat);
    assert!(story.deliver("commit", R1, R2));
    story.crash(R1);
    story.lose(|_| true);
    story.expire(R2, Timer::Patience);
    story.run_among([R0, R2]);
    story.propose(R2, "Y");
    story.run_among([R0, R2]);
    story
}

#[test]
fn cutting_the_log_first_loses_what_was_committed() {
    let story = story::<CutsFirst>();
    assert_eq!(story.broken(), Some("Agreement"), "Y is decided where X was");
}

#[test]
fn leaving_the_log_alone_until_the_whole_replacement_is_there_loses_nothing() {
    let story = story::<Viewstamped>();
    assert_eq!(story.broken(), None);
    assert_eq!(story.bed.chosen().len(), 2, "X, and Y behind it");
    assert!(story.bed.replica(R2).is_primary() && story.bed.replica(R2).view().number == 2);
}
