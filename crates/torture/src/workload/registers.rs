//! Keys that are read, written, deleted, compared and set; and scans of all keys of an era.

use super::{Caller, KEYS_OF_AN_ERA};
use crate::record::Who;
use crate::request::{Answer, Outcome, Request};
use crate::shared::Shared;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One client, until clients are to stop.
pub async fn read_and_write(shared: Arc<Shared>, number: usize) {
    let who = shared.recorder.new_client();
    let mut caller = Caller::new(shared, who, &format!("client {number}"));
    // What this client last saw or wrote: what a compare-and-set expects, so that it often succeeds.
    let mut seen: BTreeMap<String, Option<String>> = BTreeMap::new();
    while !caller.stopping() {
        let era = caller.era();
        seen.retain(|key, _| key.starts_with(&prefix(era)));
        let key = format!("{}{:02}", prefix(era), caller.chance.below(KEYS_OF_AN_ERA));
        let request = match caller.chance.below(100) {
            0..35 => Request::Get { key: key.clone() },
            35..65 => Request::Put { key: key.clone(), value: caller.new_value(), lease: 0 },
            65..75 => Request::Delete { key: key.clone() },
            _ => {
                let expected = seen.get(&key).cloned().flatten();
                Request::Swap { key: key.clone(), expected, value: caller.new_value() }
            }
        };
        if let Some(Outcome::Done(answer)) = caller.ask(request.clone()).await {
            note(&mut seen, key, &request, &answer);
        }
        caller.rest().await;
    }
}

fn note(seen: &mut BTreeMap<String, Option<String>>, key: String, request: &Request, answer: &Answer) {
    let now = match request {
        Request::Get { .. } => answer.found.first().cloned().flatten().map(|pair| pair.value),
        Request::Put { value, .. } => Some(value.clone()),
        Request::Swap { value, .. } if answer.succeeded => Some(value.clone()),
        Request::Swap { .. } => {
            seen.remove(&key);
            return;
        }
        _ => None,
    };
    seen.insert(key, now);
}

fn prefix(era: u64) -> String {
    format!("r/{era:06}/")
}

/// Reads whole eras, linearizably or from whatever state is at hand.
pub async fn scan(shared: Arc<Shared>, number: usize) {
    let name = format!("scanner {number}");
    let mut caller = Caller::new(shared, Who::Other(name.clone()), &name);
    while !caller.stopping() {
        let era = caller.era().saturating_sub(caller.chance.below(2));
        let serializable = caller.chance.happens(50);
        caller.ask(Request::Scan { prefix: prefix(era), serializable }).await;
        caller.rest().await;
    }
}
