//! A way to a broken promise, told.

use crate::action::{Step, describe, perform};
use crate::book::Book;
use crate::bounds::Disks;
use crate::script::Script;
use crate::state::State;
use crate::task::Task;
use quorate_narrator::sentence;
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Replica, Violation};
use quorate_types::NodeId;
use std::collections::BTreeSet;
use std::fmt;

/// A way to a broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample<R: Replica> {
    /// What is broken.
    pub property: String,
    /// With which values.
    pub detail: String,
    /// What happened, in order.
    pub steps: Vec<Step<R>>,
    /// The same in words.
    pub actions: Vec<String>,
    /// The same as a scenario script, on which the simulator breaks the same promise; or what the language of scenarios has no words
    /// for. Right for a search that began with a fresh cluster whose founding writes were completed.
    pub script: Result<String, String>,
    /// The actions, numbered, each with the guards the replicas evaluated; then what is broken.
    pub text: String,
}

impl<R: Replica> fmt::Display for Counterexample<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Goes the way again, with tracing, and writes down what happens. `way` says which successor to take at each step.
pub(crate) fn counterexample<R: Replica>(
    task: &Task<R>,
    book: &mut Book<R>,
    root: &State,
    way: &[usize],
    mut traced: Testbed<R>,
    violation: Violation,
) -> Counterexample<R> {
    let steps = steps(book, root, way);
    take_sentences(&mut traced);
    let mut stalled = BTreeSet::new();
    let mut script = Script::begin(traced.take_flights());
    let (mut actions, mut text) = (Vec::new(), String::new());
    for step in &steps {
        let words = describe(&traced, &step.action);
        text.push_str(&format!("{:3}. {words}\n", actions.len() + 1));
        if step.choices.iter().any(|choice| *choice > 0) {
            text.push_str(&format!("     with the choices {:?}\n", step.choices));
        }
        actions.push(words);
        if let Some(completed) = step.stalls_after {
            text.push_str(&format!("     then {completed} writes complete and the disk stalls\n"));
        }
        let stalling = (task.bounds.disks == Disks::StallBeforeCrash).then_some(&mut stalled);
        let outcome = perform(&mut traced, step, stalling);
        script.add(step, &outcome, traced.take_flights());
        for sentence in take_sentences(&mut traced) {
            text.push_str(&format!("     {sentence}\n"));
        }
    }
    text.push_str(&format!("{violation}\n"));
    let script = script.finish(&task.ids, &violation);
    Counterexample { property: violation.invariant.to_owned(), detail: violation.detail, steps, actions, script, text }
}

/// The steps of a way, found by expanding its states again.
fn steps<R: Replica>(book: &mut Book<R>, root: &State, way: &[usize]) -> Vec<Step<R>> {
    let mut state = root.clone();
    let (mut next, mut successors, mut steps) = (State::default(), Vec::new(), Vec::new());
    for ordinal in way {
        book.look(&state);
        book.successors(&state, &mut successors);
        let chosen = &successors[*ordinal];
        steps.push(book.step(&state, chosen));
        book.build(&state, chosen, &mut next);
        state.copy_from(&next);
    }
    steps
}

fn take_sentences<R: Replica>(testbed: &mut Testbed<R>) -> Vec<String> {
    let ids: Vec<NodeId> = testbed.ids().collect();
    let mut sentences = Vec::new();
    for id in ids {
        sentences.extend(testbed.take_events(id).iter().map(|event| sentence(id, event)));
    }
    sentences
}
