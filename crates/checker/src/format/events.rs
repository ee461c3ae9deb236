//! From events to operations: each call with its return.

use super::datum::{Datum, Event};
use super::meaning::{Asked, Kinds, Meaning};
use super::{ReadError, Recorded};
use crate::history::{Entry, History};
use crate::objects::Object;
use std::collections::BTreeMap;

/// What an event says has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Invoke,
    Ok,
    Fail,
    Info,
}

/// A call that has no return yet.
struct Open<'a> {
    event: &'a Event,
    call: u64,
}

/// Pairs calls and returns, process by process in the order of the text.
pub(crate) fn pair(events: &[Event], object: Option<Object>) -> Result<Recorded, ReadError> {
    let clients: Vec<(&Event, u64)> = events.iter().filter_map(|event| Some((event, client(event)?))).collect();
    let kinds = Kinds::of(clients.iter().map(|(event, _)| *event), object)?;
    let meaning = Meaning::new(kinds, clients.iter().map(|(event, _)| *event));
    let has_times = !clients.is_empty() && clients.iter().all(|(event, _)| time(event).is_some());
    let mut pairing = Pairing { meaning, open: BTreeMap::new(), entries: Vec::new(), failed: 0 };
    for (at, (event, client)) in clients.iter().enumerate() {
        let now = if has_times { time(event).unwrap_or_default() } else { at as u64 };
        pairing.event(event, *client, now)?;
    }
    pairing.finish()
}

/// The process, if it is a client and not the one that breaks things.
fn client(event: &Event) -> Option<u64> {
    event.data.get("process").unsigned()
}

fn time(event: &Event) -> Option<u64> {
    let named = |name| event.data.get(name).unsigned();
    named("time_ns").or_else(|| named("time"))
}

fn type_of(event: &Event) -> Result<Type, ReadError> {
    match event.data.get("type").word() {
        Some("invoke") => Ok(Type::Invoke),
        Some("ok") => Ok(Type::Ok),
        Some("fail") => Ok(Type::Fail),
        Some("info") => Ok(Type::Info),
        _ => Err(event.error("the type must be invoke, ok, fail or info")),
    }
}

struct Pairing<'a> {
    meaning: Meaning,
    open: BTreeMap<u64, Open<'a>>,
    entries: Vec<Entry>,
    failed: usize,
}

impl<'a> Pairing<'a> {
    fn event(&mut self, event: &'a Event, client: u64, now: u64) -> Result<(), ReadError> {
        let kind = type_of(event)?;
        if kind == Type::Invoke {
            let open = Open { event, call: now };
            return match self.open.insert(client, open) {
                None => Ok(()),
                Some(before) => {
                    let line = before.event.line;
                    Err(event.error(format!("process {client} calls while its operation of line {line} is open")))
                }
            };
        }
        let Some(Open { event: invoked, call }) = self.open.remove(&client) else {
            return Err(event.error(format!("process {client} has an answer but no open operation")));
        };
        let (asked, answered) = (invoked.data.get("f"), event.data.get("f"));
        if !answered.is_nil() && asked != answered {
            let line = invoked.line;
            return Err(event.error(format!("the answer is to another operation than that of line {line}")));
        }
        if now < call {
            return Err(event.error(format!("answered at {now}, before the call of line {} at {call}", invoked.line)));
        }
        match kind {
            Type::Fail => {
                self.failed += 1;
                // Even what failed must have been possible to ask.
                self.meaning.asked(invoked).map(|_| ())
            }
            Type::Ok => self.add(invoked, Some(event), client, call, Some(now)),
            Type::Invoke | Type::Info => self.add(invoked, None, client, call, None),
        }
    }

    fn add(
        &mut self,
        invoked: &Event,
        answered: Option<&Event>,
        client: u64,
        call: u64,
        ret: Option<u64>,
    ) -> Result<(), ReadError> {
        let Asked { key, .. } = self.meaning.asked(invoked)?;
        for operation in self.meaning.operations(invoked, answered)? {
            self.entries.push(Entry { client, key: key.clone(), call, ret, operation });
        }
        Ok(())
    }

    /// What is still open has no answer.
    fn finish(mut self) -> Result<Recorded, ReadError> {
        for (client, Open { event, call }) in std::mem::take(&mut self.open) {
            self.add(event, None, client, call, None)?;
        }
        let unknown = self.entries.iter().filter(|entry| entry.ret.is_none()).count();
        let history = History::new(self.entries).map_err(|error| ReadError::at(1, error.to_string()))?;
        Ok(Recorded { history, object: self.meaning.object(), failed: self.failed, unknown })
    }
}

/// The data of an event's own field.
pub(super) fn field<'e>(event: &'e Event, name: &str) -> &'e Datum {
    event.data.get(name)
}
