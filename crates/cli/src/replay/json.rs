//! An incident for programs.

use quorate_narrator::incident::{Incident, StallKind, Told, wall};
use quorate_protocol::{Value as Guarded, Verdict};
use quorate_types::{NodeId, Time};
use serde_json::{Value, json};

/// How many of the longest waits are given.
const STALLS: usize = 100;

/// The whole incident.
pub fn incident(incident: &Incident, problems: &[String]) -> Value {
    let lives: Vec<Value> = incident
        .lives()
        .iter()
        .map(|life| {
            let clients = incident.clients_of(life.node);
            json!({
                "node": id(life.node), "name": incident.name_of(life.node), "incarnation": life.incarnation,
                "from": time(life.from), "to": time(life.to), "end": life.end, "replayed_to_its_end": life.is_whole, "program": life.program,
                "calls": life.calls, "outputs_as_recorded": life.outputs,
                "clients": {
                    "writes": clients.writes, "reads": clients.reads,
                    "answered": clients.answered, "refused": clients.refused,
                },
            })
        })
        .collect();
    let reigns: Vec<Value> = incident
        .reigns()
        .iter()
        .map(|reign| {
            json!({
                "node": id(reign.node), "name": incident.name_of(reign.node), "era": reign.era,
                "from": time(reign.from), "to": time(reign.to),
                "began": incident.with_names(&reign.began), "ended": incident.with_names(&reign.ended),
            })
        })
        .collect();
    let answer = incident
        .answer()
        .map(|answer| json!({ "short": answer.short, "because": answer.because, "then": answer.then }));
    json!({
        "lives": lives,
        "leadership": reigns,
        "longest_waits": stalls(incident),
        "answer": answer,
        "different_states_behind_slots": incident.disagreements().iter().map(|slot| slot.0).collect::<Vec<_>>(),
        "events": incident.told().iter().map(|told| event(incident, told)).collect::<Vec<_>>(),
        "problems": problems,
    })
}

fn stalls(incident: &Incident) -> Vec<Value> {
    let one = |stall: &quorate_narrator::incident::Stall| {
        let kind = match &stall.kind {
            StallKind::NobodyLed => "nobody-led",
            StallKind::Commit { .. } => "commit",
            StallKind::Write { .. } => "write",
            StallKind::StoodStill => "stood-still",
        };
        json!({
            "kind": kind, "node": stall.node.map(id), "from": time(stall.from), "to": time(stall.to),
            "microseconds": u64::try_from(stall.duration().as_micros()).unwrap_or(u64::MAX),
            "words": incident.stall_words(stall),
        })
    };
    incident.stalls(STALLS).iter().map(one).collect()
}

fn event(incident: &Incident, told: &Told) -> Value {
    let mut object = json!({
        "at": time(told.at), "node": told.node.map(id), "words": incident.with_names(&told.words), "times": told.times,
        "until": time(told.until),
    });
    if let Some(event) = &told.event {
        let verdict = match event.verdict {
            Verdict::Allowed => "allowed",
            Verdict::Refused => "refused",
            Verdict::Waiting => "waiting",
        };
        let values: serde_json::Map<String, Value> =
            event.values.iter().map(|(name, value)| ((*name).to_owned(), guarded(value))).collect();
        object["rule"] = json!(event.rule.id);
        object["source"] = json!(event.rule.source);
        object["verdict"] = json!(verdict);
        object["values"] = Value::Object(values);
        object["votes"] = json!(event.votes.iter().map(|node| id(*node)).collect::<Vec<_>>());
    }
    object
}

fn guarded(value: &Guarded) -> Value {
    match value {
        Guarded::Number(number) => json!(number),
        Guarded::Slot(slot) => json!(slot.0),
        Guarded::Node(node) => json!(id(*node)),
        Guarded::Nodes(nodes) => json!(nodes.iter().map(|node| id(*node)).collect::<Vec<_>>()),
        Guarded::Text(text) => json!(text),
    }
}

/// As everywhere else: in hex.
fn id(node: NodeId) -> String {
    format!("{:x}", node.0)
}

fn time(at: Time) -> Value {
    if at == Time(u64::MAX) { Value::Null } else { json!(format!("{}T{}Z", wall::date(at), wall::time_of_day(at))) }
}
