//! Everything that was asked, answered, seen and done, with times of one clock: in memory for the judges, and line by line in
//! `history.jsonl`, which `quorate check` reads. What a search for linearizability has no use for (scans, watches, leases,
//! faults) stands there under a process that is no number, which that command passes over.

use crate::request::{Answer, Outcome, Request, Step, Transact};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Who called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A client whose call the search for linearizability takes; one call at a time, and none after one of unknown outcome.
    Client(u64),
    /// Somebody whose call it does not take.
    Other(String),
}

/// One call and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who.
    pub who: Who,
    /// Asked which member.
    pub member: String,
    /// When, since the start of the run.
    pub called_ns: u64,
    /// When it ended, with whatever outcome.
    pub ended_ns: u64,
    /// What.
    pub request: Request,
    /// How it ended.
    pub outcome: Outcome,
}

/// The record.
#[derive(Debug)]
pub struct Recorder {
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: BufWriter<File>,
    clients: u64,
    calls: Vec<Call>,
    /// The first failure to write; what follows is not tried.
    failure: Option<String>,
}

impl Recorder {
    /// Its clock starts now.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> Result<Recorder> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let inner = Inner { file: BufWriter::new(file), clients: 0, calls: Vec::new(), failure: None };
        Ok(Recorder { started: Instant::now(), inner: Mutex::new(inner) })
    }

    /// Since the start.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A number that no client had.
    #[must_use]
    pub fn new_client(&self) -> Who {
        let mut inner = self.lock();
        inner.clients += 1;
        Who::Client(inner.clients)
    }

    /// Notes that a call begins now, and says when that is. To be called before anything is sent.
    pub fn begin(&self, who: &Who, member: &str, request: &Request) -> u64 {
        let mut inner = self.lock();
        // Taken under the lock, so that lines stand in the order of their times.
        let now = self.now_ns();
        let mut line = line_of(who, "invoke", request, now);
        line.insert("member".to_owned(), json!(member));
        inner.write(&Value::Object(line));
        now
    }

    /// Notes how the call ended, which is now.
    pub fn end(&self, who: &Who, member: &str, called_ns: u64, request: Request, outcome: Outcome) {
        let mut inner = self.lock();
        let now = self.now_ns();
        let kind = match &outcome {
            Outcome::Done(_) => "ok",
            Outcome::Failed(_) => "fail",
            Outcome::Unknown(_) => "info",
        };
        let mut line = line_of(who, kind, &request, now);
        match &outcome {
            Outcome::Done(answer) => tell_answer(&mut line, &request, answer),
            Outcome::Failed(why) | Outcome::Unknown(why) => _ = line.insert("why".to_owned(), json!(why)),
        }
        inner.write(&Value::Object(line));
        let (who, member) = (who.clone(), member.to_owned());
        inner.calls.push(Call { who, member, called_ns, ended_ns: now, request, outcome });
    }

    /// Notes anything else, under the name of whoever did or saw it.
    pub fn note(&self, who: &str, what: Value) {
        let mut inner = self.lock();
        let now = self.now_ns();
        inner.write(&json!({ "process": who, "type": "info", "f": "note", "value": what, "time_ns": now }));
    }

    /// All calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// How many calls were answered, failed for certain, and ended unknown.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let inner = self.lock();
        let count = |is: fn(&Outcome) -> bool| inner.calls.iter().filter(|call| is(&call.outcome)).count();
        (
            count(|outcome| matches!(outcome, Outcome::Done(_))),
            count(|outcome| matches!(outcome, Outcome::Failed(_))),
            count(|outcome| matches!(outcome, Outcome::Unknown(_))),
        )
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// When anything of the record could not be written: then it is no evidence.
    pub fn flush(&self) -> Result<()> {
        let mut inner = self.lock();
        if let Some(why) = &inner.failure {
            anyhow::bail!("the history could not be written: {why}");
        }
        inner.file.flush().context("the history could not be written")
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere ends the run; what was recorded before is still true.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, line: &Value) {
        if self.failure.is_none()
            && let Err(error) = writeln!(self.file, "{line}")
        {
            self.failure = Some(error.to_string());
        }
    }
}

fn line_of(who: &Who, kind: &str, request: &Request, now: u64) -> Map<String, Value> {
    let (f, key, value) = match request {
        Request::Put { key, value, .. } => ("write", Some(key), json!(value)),
        Request::Get { key } => ("read", Some(key), Value::Null),
        Request::Delete { key } => ("delete", Some(key), Value::Null),
        Request::Swap { key, expected, value } => ("cas", Some(key), json!([expected, value])),
        Request::Transact(transact) => ("txn", None, transaction(transact, None)),
        Request::Scan { prefix, .. } => ("scan", Some(prefix), Value::Null),
    };
    let process = match who {
        Who::Client(number) => json!(number),
        Who::Other(name) => json!(name),
    };
    let mut line = Map::new();
    line.insert("process".to_owned(), process);
    line.insert("type".to_owned(), json!(kind));
    line.insert("f".to_owned(), json!(f));
    if let Some(key) = key {
        line.insert("key".to_owned(), json!(key));
    }
    line.insert("value".to_owned(), value);
    line.insert("time_ns".to_owned(), json!(now));
    line
}

/// Adds what was answered. The store's revision stands under a name that the search passes over: it would tie all keys together.
fn tell_answer(line: &mut Map<String, Value>, request: &Request, answer: &Answer) {
    let value_of = |found: Option<&Option<crate::request::Pair>>| {
        found.and_then(Option::as_ref).map_or(Value::Null, |pair| json!(pair.value))
    };
    match request {
        Request::Get { .. } => _ = line.insert("value".to_owned(), value_of(answer.found.first())),
        Request::Delete { .. } => _ = line.insert("existed".to_owned(), json!(answer.deleted > 0)),
        Request::Swap { .. } => _ = line.insert("succeeded".to_owned(), json!(answer.succeeded)),
        Request::Transact(transact) => {
            line.insert("value".to_owned(), transaction(transact, Some(answer)));
            line.insert("succeeded".to_owned(), json!(answer.succeeded));
        }
        Request::Scan { .. } => {
            let found: Vec<Value> = answer.found.iter().flatten().map(|pair| json!([pair.key, pair.value])).collect();
            line.insert("value".to_owned(), json!(found));
        }
        Request::Put { .. } => {}
    }
    line.insert("at_revision".to_owned(), json!(answer.revision));
}

fn transaction(transact: &Transact, answer: Option<&Answer>) -> Value {
    let mut found = answer.map(|answer| answer.found.iter()).into_iter().flatten();
    let mut steps = |steps: &[Step], was_done: bool| -> Vec<Value> {
        let step = |step: &Step| match step {
            Step::Put(key, value) => json!(["w", key, value]),
            Step::Get(key) if was_done => {
                let value = found.next().and_then(Option::as_ref).map(|pair| &pair.value);
                json!(["r", key, value])
            }
            Step::Get(key) => json!(["r", key, null]),
        };
        steps.iter().map(step).collect()
    };
    let succeeded = answer.map(|answer| answer.succeeded);
    let then = steps(&transact.then, succeeded == Some(true));
    let otherwise = steps(&transact.otherwise, succeeded == Some(false));
    let compare = |(key, expected): &(String, Option<String>)| match expected {
        Some(value) => json!([key, "value", "=", value]),
        None => json!([key, "version", "=", 0]),
    };
    let compares: Vec<Value> = transact.compares.iter().map(compare).collect();
    json!({ "if": compares, "then": then, "else": otherwise })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Pair;
    use quorate_checker::{Format, Object, read_history};

    fn found(key: &str, value: &str) -> Option<Pair> {
        let (key, value) = (key.to_owned(), value.to_owned());
        Some(Pair { key, value, created: 2, modified: 2, version: 1, lease: 0 })
    }

    #[test]
    fn what_is_recorded_is_read_by_the_checker_as_it_was_meant() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        let ask = |who: &Who, request: Request, outcome: Outcome| {
            let called = recorder.begin(who, "node1", &request);
            recorder.end(who, "node1", called, request, outcome);
        };
        let done = |found, deleted| Outcome::Done(Answer { revision: 2, succeeded: true, found, deleted });
        let (one, two) = (recorder.new_client(), recorder.new_client());
        let key = || "k".to_owned();
        ask(&one, Request::Put { key: key(), value: "a".to_owned(), lease: 0 }, done(Vec::new(), 0));
        ask(&one, Request::Get { key: key() }, done(vec![found("k", "a")], 0));
        ask(&one, Request::Delete { key: key() }, done(Vec::new(), 1));
        let swap = Request::Swap { key: key(), expected: None, value: "b".to_owned() };
        ask(&two, swap, Outcome::Unknown("connection lost".to_owned()));
        let transact = Transact {
            compares: vec![("x".to_owned(), None)],
            then: vec![Step::Put("x".to_owned(), "c".to_owned())],
            otherwise: vec![Step::Get("x".to_owned())],
        };
        ask(&one, Request::Transact(transact), done(Vec::new(), 0));
        ask(&one, Request::Put { key: key(), value: "no".to_owned(), lease: 0 }, Outcome::Failed("refused".to_owned()));
        recorder.note("nemesis", json!("kill node1"));
        let scan = Request::Scan { prefix: "k".to_owned(), serializable: false };
        ask(&Who::Other("scanner".to_owned()), scan, done(vec![found("k", "b")], 0));
        recorder.flush().unwrap();

        assert_eq!(recorder.counts(), (5, 1, 1));
        let text = std::fs::read_to_string(path).unwrap();
        let recorded = read_history(&text, Format::of(&text), None).unwrap();
        assert_eq!((recorded.object, recorded.failed, recorded.unknown), (Object::Store, 1, 1));
        let told: Vec<String> = recorded.history.entries().map(ToString::to_string).collect();
        let has = |words: &str| told.iter().any(|line| line.contains(words));
        assert_eq!(told.len(), 5);
        assert!(has("read \"a\"") && has("version(x) = 0") && !has("revision"), "{told:?}");
        let verdict = quorate_checker::check(&recorded.history, recorded.object, &quorate_checker::Budget::default());
        assert_eq!(verdict, quorate_checker::Verdict::Linearizable);
    }
}
