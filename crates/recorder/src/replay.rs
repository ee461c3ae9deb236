//! The same run again.

use crate::batch::BatchMark;
use crate::codec::{digest_of, encode_picture};
use crate::note::{Digest, Note};
use bytes::Bytes;
use quorate_protocol::{Env, Event, Gate, Input, Outbox, Output, Picture, Recordable, Setup, Violation};
use quorate_types::{NodeId, Time};
use std::collections::VecDeque;
use thiserror::Error;

/// A replica in a recording, moved on note by note.
#[derive(Clone, Debug)]
pub struct Replayer<R: Recordable> {
    setup: Setup,
    replica: R,
    outbox: Outbox<R>,
    gate: Gate<R::Message>,
    /// Said and not yet compared.
    unsaid: Vec<Output<R>>,
    is_settled: bool,
    calls: u64,
    outputs: u64,
    now: Time,
}

/// What one note did.
#[derive(Clone, Debug)]
pub struct Moment<R: Recordable> {
    /// When, on the node's clock.
    pub at: Time,
    /// What happened.
    pub doing: Doing<R>,
    /// The guards it went by.
    pub events: Vec<Event>,
    /// What left the node by it: free at once, or held until now.
    pub left: Vec<(NodeId, R::Message)>,
    /// A promise the replica found broken; its node stopped there.
    pub violation: Option<Violation>,
}

/// What happened at a moment.
#[derive(Clone, Debug)]
pub enum Doing<R: Recordable> {
    /// The replica was told this.
    Told(Input<R>),
    /// A batch of inputs ended.
    Settled,
    /// It had said this since the last time, and it is the same as recorded.
    Said(Vec<Output<R>>),
}

/// The replay is not the run that was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("call {call} of this life, {} after the node's start: {what}", Time::to_string(.at))]
pub struct Divergence {
    /// The first call that went another way, counted from the first segment that is left.
    pub call: u64,
    /// On the node's clock.
    pub at: Time,
    /// How.
    pub what: String,
}

/// Answers with what was recorded.
struct RecordedEnv {
    now: Time,
    choices: VecDeque<u64>,
    /// More was asked than recorded.
    asked_too_much: bool,
}

impl Env for RecordedEnv {
    fn now(&self) -> Time {
        self.now
    }
    fn choose(&mut self, bound: u64) -> u64 {
        let chosen = self.choices.pop_front();
        self.asked_too_much |= chosen.is_none_or(|chosen| chosen >= bound.max(1));
        chosen.unwrap_or(0).min(bound.saturating_sub(1))
    }
}

impl<R: Recordable> Replayer<R> {
    /// Begins at a picture.
    #[must_use]
    pub fn new(picture: Picture<R>, now: Time) -> Replayer<R> {
        let Picture { setup, replica, gate, last_ticket } = picture;
        let outbox = Outbox::new(last_ticket, true);
        Replayer { setup, replica, outbox, gate, unsaid: Vec::new(), is_settled: true, calls: 0, outputs: 0, now }
    }

    /// Does what the note says. Clocks, facts, values and ends do nothing to a replica.
    ///
    /// # Errors
    /// [`Divergence`] when the replica says something else than was recorded. It is of no use afterwards.
    pub fn feed(&mut self, note: Note<R>) -> Result<Option<Moment<R>>, Divergence> {
        match note {
            Note::Step { now, choices, input } => self.step(now, choices, input).map(Some),
            Note::Settle { now, choices } => self.settle(now, choices).map(Some),
            Note::Said(recorded) => self.said(recorded).map(Some),
            Note::Clock(_) | Note::Fact { .. } | Note::Values(_) | Note::End(_) => Ok(None),
        }
    }

    /// The replica as it is now.
    #[must_use]
    pub fn replica(&self) -> &R {
        &self.replica
    }

    /// Who it is.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// What waits for the disk.
    #[must_use]
    pub fn gate(&self) -> &Gate<R::Message> {
        &self.gate
    }

    /// How many calls were replayed.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// How many outputs were compared.
    #[must_use]
    pub fn outputs(&self) -> u64 {
        self.outputs
    }

    /// The picture of it as it would be written.
    pub(crate) fn picture_bytes(&self) -> Vec<u8> {
        let picture = Picture {
            setup: self.setup.clone(),
            replica: self.replica.clone(),
            gate: self.gate.clone(),
            last_ticket: self.outbox.last_ticket(),
        };
        let mut out = Vec::new();
        encode_picture(picture, &mut short_form_of_stand_in, &mut out);
        out
    }

    pub(crate) fn divergence(&self, what: String) -> Divergence {
        Divergence { call: self.calls, at: self.now, what }
    }

    fn step(&mut self, now: Time, choices: Vec<u64>, input: Input<R>) -> Result<Moment<R>, Divergence> {
        self.begin_call(now)?;
        let mut env = RecordedEnv { now, choices: choices.into(), asked_too_much: false };
        let left = match &input {
            Input::Persisted(ticket) => self.gate.advance(*ticket),
            _ => Vec::new(),
        };
        self.replica.step(&mut env, input.clone(), &mut self.outbox);
        self.end_call(&env)?;
        Ok(Moment { at: now, doing: Doing::Told(input), events: self.take_words(), left, violation: None })
    }

    fn settle(&mut self, now: Time, choices: Vec<u64>) -> Result<Moment<R>, Divergence> {
        self.begin_call(now)?;
        let mut env = RecordedEnv { now, choices: choices.into(), asked_too_much: false };
        self.replica.settle(&mut env, &mut self.outbox);
        self.end_call(&env)?;
        self.is_settled = true;
        let violation = self.replica.check_invariants().err();
        Ok(Moment { at: now, doing: Doing::Settled, events: self.take_words(), left: Vec::new(), violation })
    }

    fn said(&mut self, recorded: Digest) -> Result<Moment<R>, Divergence> {
        let found = digest_of(self.unsaid.clone(), &mut short_form_of_stand_in);
        if found != recorded {
            return Err(self.divergence(format!(
                "{} outputs were recorded (checksum {:08x}), and the replay says {} (checksum {:08x}): {}",
                recorded.count,
                recorded.checksum,
                found.count,
                found.checksum,
                shown(&self.unsaid)
            )));
        }
        self.outputs += found.count;
        let outputs = std::mem::take(&mut self.unsaid);
        let mut left = Vec::new();
        for output in &outputs {
            if let Output::Send { to, message, after } = output {
                left.extend(self.gate.pass(*after, *to, message.clone()));
            }
        }
        Ok(Moment { at: self.now, doing: Doing::Said(outputs), events: Vec::new(), left, violation: None })
    }

    fn begin_call(&mut self, now: Time) -> Result<(), Divergence> {
        if self.is_settled && !self.unsaid.is_empty() {
            return Err(self.divergence(format!("nothing was said in the recording, and here {}", shown(&self.unsaid))));
        }
        self.is_settled = false;
        self.calls += 1;
        self.now = now;
        Ok(())
    }

    fn end_call(&self, env: &RecordedEnv) -> Result<(), Divergence> {
        if env.asked_too_much || !env.choices.is_empty() {
            return Err(self.divergence("it asks chance for something else than was recorded".to_owned()));
        }
        Ok(())
    }

    /// Guards go to whoever listens; everything else waits to be compared.
    fn take_words(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for output in self.outbox.take() {
            match output {
                Output::Trace(event) => events.push(event),
                other => self.unsaid.push(other),
            }
        }
        events
    }
}

fn short_form_of_stand_in(stand_in: Bytes) -> Bytes {
    BatchMark::of_stand_in(&stand_in).short_form()
}

/// Outputs for people who must find out what differs.
fn shown<R: Recordable>(outputs: &[Output<R>]) -> String {
    const SHOWN_CHARACTERS: usize = 600;
    let all = format!("{outputs:?}");
    match all.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}...", &all[..end]),
        None => all,
    }
}
