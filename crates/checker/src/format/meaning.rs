//! What an operation's name and value mean.

use super::ReadError;
use super::datum::{Datum, Event};
use super::events::field;
use crate::history::Operation;
use crate::objects::Object;
use crate::transaction::{Compare, Relation, Step, Target, Transaction};
use std::collections::BTreeSet;

/// The names by which operations are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Read,
    Write,
    Delete,
    CompareAndSet,
    Append,
    Add,
    Subtract,
    Acquire,
    Release,
    Expire,
    Enqueue,
    Dequeue,
    Drain,
    Transact,
}

impl Name {
    fn of(event: &Event) -> Result<Name, ReadError> {
        let word = field(event, "f").word().ok_or_else(|| event.error("there is no f, the operation's name"))?;
        Ok(match word {
            "read" | "get" | "r" => Name::Read,
            "write" | "put" | "set" | "w" => Name::Write,
            "delete" | "del" | "remove" => Name::Delete,
            "cas" | "compare-and-set" | "compare_and_set" => Name::CompareAndSet,
            "append" => Name::Append,
            "add" | "increment" | "inc" => Name::Add,
            "subtract" | "decrement" | "dec" => Name::Subtract,
            "acquire" | "lock" => Name::Acquire,
            "release" | "unlock" => Name::Release,
            "expire" => Name::Expire,
            "enqueue" | "offer" | "push" => Name::Enqueue,
            "dequeue" | "poll" | "pop" => Name::Dequeue,
            "drain" => Name::Drain,
            "txn" | "transact" => Name::Transact,
            other => {
                return Err(event.error(format!(
                    "f {other:?} is not known; known are read, write, delete, cas, append, add, subtract, acquire, release, \
                     expire, enqueue, dequeue, drain, txn"
                )));
            }
        })
    }

    fn object(self) -> Option<Object> {
        match self {
            Name::Read => None,
            Name::Write | Name::Delete | Name::CompareAndSet => Some(Object::Register),
            Name::Append => Some(Object::List),
            Name::Add | Name::Subtract => Some(Object::Counter),
            Name::Acquire | Name::Release | Name::Expire => Some(Object::Lock),
            Name::Enqueue | Name::Dequeue | Name::Drain => Some(Object::Bag),
            Name::Transact => Some(Object::Store),
        }
    }
}

/// What the history is about.
pub(crate) struct Kinds {
    object: Object,
}

impl Kinds {
    /// The object given, or the one that the names tell.
    pub(crate) fn of<'e>(events: impl Iterator<Item = &'e Event>, given: Option<Object>) -> Result<Kinds, ReadError> {
        let mut object = given;
        for event in events {
            let told = match Name::of(event)?.object() {
                Some(Object::Bag) if given == Some(Object::Fifo) => Some(Object::Fifo),
                told => told,
            };
            let (Some(told), Some(before)) = (told, object) else {
                object = object.or(told);
                continue;
            };
            let both = [told, before];
            let of_a_store = [Object::Register, Object::List, Object::Store];
            if told == before || (before == Object::Store && of_a_store.contains(&told)) {
                continue;
            }
            if given.is_none() && both.contains(&Object::Store) && both.iter().all(|one| of_a_store.contains(one)) {
                object = Some(Object::Store);
                continue;
            }
            let why = format!("an operation on {told} in a history of {before}");
            return Err(event.error(why));
        }
        Ok(Kinds { object: object.unwrap_or(Object::Register) })
    }
}

/// How operations are read.
pub(crate) struct Meaning {
    object: Object,
    /// Whether each value is a pair of a key and the value proper, as Jepsen's independent generators have it.
    is_keyed: bool,
    /// Keys that something is appended to.
    lists: BTreeSet<Vec<u8>>,
}

/// What was asked, of which key.
pub(crate) struct Asked<'e> {
    pub(crate) key: Vec<u8>,
    value: &'e Datum,
    name: Name,
}

impl Meaning {
    pub(crate) fn new<'e>(kinds: Kinds, events: impl Iterator<Item = &'e Event> + Clone) -> Meaning {
        let is_keyed =
            kinds.object != Object::Store && events.clone().all(looks_keyed) && events.clone().next().is_some();
        let mut meaning = Meaning { object: kinds.object, is_keyed, lists: BTreeSet::new() };
        for event in events {
            match Name::of(event) {
                Ok(Name::Append) => _ = meaning.asked(event).map(|asked| meaning.lists.insert(asked.key)),
                Ok(Name::Transact) => {
                    meaning.lists.extend(micro_operations(field(event, "value")).filter_map(|micro| {
                        let appends = micro.first()?.word() == Some("append");
                        appends.then(|| micro.get(1).map(Datum::bytes))?
                    }))
                }
                _ => {}
            }
        }
        meaning
    }

    pub(crate) fn object(&self) -> Object {
        self.object
    }

    /// What an event asks for.
    pub(crate) fn asked<'e>(&self, event: &'e Event) -> Result<Asked<'e>, ReadError> {
        let (name, value) = (Name::of(event)?, field(event, "value"));
        match value.pair().filter(|_| self.is_keyed) {
            Some((key, value)) => Ok(Asked { key: key.bytes(), value, name }),
            None => Ok(Asked { key: field(event, "key").value().unwrap_or_default(), value, name }),
        }
    }

    /// The operations that a call, with its answer if there is one, stands for.
    pub(crate) fn operations(&self, invoked: &Event, answered: Option<&Event>) -> Result<Vec<Operation>, ReadError> {
        let Asked { key, value, name } = self.asked(invoked)?;
        let answer = match answered {
            Some(answered) => self.asked(answered)?.value,
            None => &Datum::Nil,
        };
        let detail = |name: &str| answered.map_or(&Datum::Nil, |answered| field(answered, name));
        let wanted = |what: &str| invoked.error(format!("the value must be {what}"));
        let given = || value.value().ok_or_else(|| wanted("what to put there"));
        let operation = match name {
            Name::Read => return self.read(&key, answered, answer).map(|read| vec![read]),
            Name::Write => Operation::Write { value: given()? },
            Name::Delete => Operation::Delete { existed: detail("existed").boolean() },
            Name::CompareAndSet => {
                let (expected, next) = value.pair().ok_or_else(|| wanted("[old new]"))?;
                let value = next.value().ok_or_else(|| wanted("[old new], and new something"))?;
                let succeeded = answered.map(|_| detail("succeeded").boolean().unwrap_or(true));
                Operation::CompareAndSet { expected: expected.value(), value, succeeded }
            }
            Name::Append => Operation::Append { value: given()? },
            Name::Add | Name::Subtract => {
                let amount =
                    if value.is_nil() { 1 } else { value.integer().ok_or_else(|| wanted("a whole number"))? };
                let amount = if name == Name::Add { Some(amount) } else { amount.checked_neg() };
                Operation::Add { amount: amount.ok_or_else(|| wanted("a number that can be negated"))? }
            }
            Name::Acquire => Operation::Acquire { token: token(detail("token"), answer) },
            Name::Release => Operation::Release { token: token(field(invoked, "token"), value) },
            Name::Expire => Operation::Expire { token: token(field(invoked, "token"), value) },
            Name::Enqueue => Operation::Enqueue { value: given()? },
            Name::Dequeue => Operation::Dequeue { found: answer.value() },
            Name::Drain => return self.drain(invoked, answered, answer),
            Name::Transact => Operation::Transact(self.transaction(invoked, answered, value, answer)?),
        };
        Ok(vec![operation])
    }

    fn read(&self, key: &[u8], answered: Option<&Event>, answer: &Datum) -> Result<Operation, ReadError> {
        let is_list = self.object == Object::List || (self.object == Object::Store && self.lists.contains(key));
        let Some(answered) = answered else {
            return Ok(match self.object {
                _ if is_list => Operation::ReadList { found: Vec::new() },
                Object::Counter => Operation::ReadCounter { found: 0 },
                _ => Operation::Read { found: None },
            });
        };
        if is_list {
            return match answer {
                Datum::Nil => Ok(Operation::ReadList { found: Vec::new() }),
                Datum::List(elements) => Ok(Operation::ReadList { found: elements.iter().map(Datum::bytes).collect() }),
                _ => Err(answered.error("the value must be the list that was read")),
            };
        }
        if self.object == Object::Counter {
            let found = answer.integer().ok_or_else(|| answered.error("the value must be the number that was read"))?;
            return Ok(Operation::ReadCounter { found });
        }
        Ok(Operation::Read { found: answer.value() })
    }

    /// A drain is as many dequeues as it took items, at the same time. What it took without an answer is not known, and may be
    /// any number of items: that is refused.
    fn drain(&self, invoked: &Event, answered: Option<&Event>, answer: &Datum) -> Result<Vec<Operation>, ReadError> {
        if answered.is_none() {
            return Err(
                invoked.error("a drain without an answer may have taken anything; such a history cannot be checked")
            );
        }
        let items =
            answer.list().ok_or_else(|| invoked.error("the answer must be the list of items that were taken"))?;
        Ok(items.iter().map(|item| Operation::Dequeue { found: item.value() }).collect())
    }

    fn transaction(
        &self,
        invoked: &Event,
        answered: Option<&Event>,
        value: &Datum,
        answer: &Datum,
    ) -> Result<Transaction, ReadError> {
        // The answer repeats the question with what was read.
        let (event, told) = match answered {
            Some(answered) if !answer.is_nil() => (answered, answer),
            _ => (invoked, value),
        };
        let steps = |name: &str| match told.get(name) {
            Datum::Nil => Ok(Vec::new()),
            list => self.steps(event, list, answered.is_some()),
        };
        let detail = |name: &str| answered.map_or(&Datum::Nil, |answered| field(answered, name));
        let revision = detail("revision").unsigned();
        if let Datum::Map(_) = told {
            let compares = match told.get("if") {
                Datum::Nil => Vec::new(),
                list => {
                    list.list().unwrap_or_default().iter().map(|one| compare(event, one)).collect::<Result<_, _>>()?
                }
            };
            let succeeded = detail("succeeded").boolean();
            return Ok(Transaction { compares, success: steps("then")?, failure: steps("else")?, succeeded, revision });
        }
        let success = self.steps(event, told, answered.is_some())?;
        Ok(Transaction { success, revision, ..Transaction::default() })
    }

    fn steps(&self, event: &Event, told: &Datum, is_answered: bool) -> Result<Vec<Step>, ReadError> {
        let list = told.list().ok_or_else(|| event.error("a transaction is a list of [f key value]"))?;
        list.iter().map(|one| self.step(event, one, is_answered)).collect()
    }

    fn step(&self, event: &Event, told: &Datum, is_answered: bool) -> Result<Step, ReadError> {
        let wrong = || event.error("a step is [r key found], [w key value], [append key value] or [del key]");
        let step = told.list().ok_or_else(wrong)?;
        let key = step.get(1).ok_or_else(wrong)?.bytes();
        let value = step.get(2).unwrap_or(&Datum::Nil);
        match step.first().and_then(Datum::word) {
            Some("r" | "read" | "get") if self.lists.contains(&key) || value.list().is_some() => {
                let elements = value.list().unwrap_or_default();
                let found = is_answered.then(|| elements.iter().map(Datum::bytes).collect());
                Ok(Step::List { key, found })
            }
            Some("r" | "read" | "get") => Ok(Step::Get { key, found: is_answered.then(|| value.value()) }),
            Some("w" | "write" | "put") => Ok(Step::Put { key, value: value.value().ok_or_else(wrong)? }),
            Some("append") => Ok(Step::Append { key, value: value.value().ok_or_else(wrong)? }),
            Some("del" | "delete") => Ok(Step::Delete { key, existed: value.boolean().filter(|_| is_answered) }),
            _ => Err(wrong()),
        }
    }
}

/// A token stands in its own field or is the value.
fn token(own: &Datum, value: &Datum) -> Option<u64> {
    own.unsigned().or_else(|| value.unsigned())
}

fn micro_operations(value: &Datum) -> impl Iterator<Item = &[Datum]> {
    let branches = [value, value.get("then"), value.get("else")];
    branches.into_iter().filter_map(Datum::list).flatten().filter_map(Datum::list)
}

/// `[key what relation operand]`.
fn compare(event: &Event, told: &Datum) -> Result<Compare, ReadError> {
    let wrong = || event.error("a compare is [key value|create|mod|version =|!=|<|> operand]");
    let Some([key, what, relation, operand]) = told.list() else { return Err(wrong()) };
    let relation = match relation.word() {
        Some("=" | "==") => Relation::Equal,
        Some("!=" | "not=") => Relation::NotEqual,
        Some("<") => Relation::Less,
        Some(">") => Relation::Greater,
        _ => return Err(wrong()),
    };
    let number = || operand.unsigned().ok_or_else(wrong);
    let target = match what.word() {
        Some("value") => Target::Value(operand.bytes()),
        Some("create") => Target::CreateRevision(number()?),
        Some("mod") => Target::ModRevision(number()?),
        Some("version") => Target::Version(number()?),
        _ => return Err(wrong()),
    };
    Ok(Compare { key: key.bytes(), target, relation })
}

/// Whether an event's value could be a pair of a key and the value proper.
fn looks_keyed(event: &Event) -> bool {
    let Some((_, value)) = field(event, "value").pair() else { return false };
    let is_compare = matches!(Name::of(event), Ok(Name::CompareAndSet));
    field(event, "key").is_nil() && (!is_compare || value.pair().is_some())
}
