//! The verdict over what clients saw, once it is quiet.

use super::history::{Ended, History, value_of};
use super::subject::{Judged, MIRROR, Meaning, Versioned};
use crate::act::Ask;
use crate::world::World;
use quorate_checker::{Budget, Entry, Object, Operation, Verdict, check};
use quorate_narrator::Ending;
use quorate_node::Consistency;
use quorate_protocol::Replica;
use quorate_types::NodeId;
use std::collections::BTreeMap;

/// A property that the calls of a run contradict, and how.
pub(super) type Finding = (&'static str, String);

/// Checks everything clients saw against the final state and against each other; the first finding is reported to the world.
pub(super) fn judge<R: Replica, S: Judged>(world: &mut World<R, S>, history: &History, core: &[NodeId]) {
    // The one that is furthest: a write whose client gave up may be decided while this is asked, and one node applies it first.
    let furthest = core.iter().filter_map(|node| world.node(*node)).max_by_key(|node| node.state().revision());
    let found = match furthest {
        None => Some(("LiveAfterHeal", "no node is left to judge by".to_owned())),
        Some(node) => contradiction(node.state(), history.ended()),
    };
    if let Some((property, detail)) = found {
        world.report_broken(property, None, detail);
    }
}

/// Checks what clients saw against itself alone: where too many nodes are lost for good, there is no final state.
pub(super) fn judge_answers<R: Replica, S: Judged>(world: &mut World<R, S>, history: &History) {
    let ended = history.ended();
    let checks = check_answers(ended).and_then(|()| check_local_reads(ended)).and_then(|()| check_linearizable(ended));
    if let Err((property, detail)) = checks {
        world.report_broken(property, None, detail);
    }
}

/// The first contradiction between a final state and the calls that led to it.
pub(super) fn contradiction<S: Judged>(state: &S, ended: &[Ended]) -> Option<Finding> {
    check_answers(ended)
        .and_then(|()| Past::read(state))
        .and_then(|past| {
            check_effects(&past, ended)?;
            check_mirrors(&past, ended, S::SWAPS_WRITE_MIRRORS)?;
            check_leased_keys(&past, ended)?;
            check_reads(&past, ended)?;
            check_real_time(&past.effects(), ended)
        })
        .and_then(|()| check_local_reads(ended))
        .and_then(|()| check_linearizable(ended))
        .err()
}

/// Every state that can still be read, by revision.
struct Past {
    /// The least revision that can be read: of what was before it nothing is known.
    oldest: u64,
    /// Behind revision `oldest + at`.
    contents: Vec<Vec<Versioned>>,
}

impl Past {
    fn read<S: Judged>(state: &S) -> Result<Past, Finding> {
        let oldest = state.oldest_revision();
        let contents = (oldest..=state.revision())
            .map(|revision| state.contents_at(revision))
            .collect::<Result<_, _>>()
            .map_err(|why| ("ReadablePast", why))?;
        Ok(Past { oldest, contents })
    }

    fn at(&self, revision: u64) -> Option<&[Versioned]> {
        let at = usize::try_from(revision.checked_sub(self.oldest)?).ok()?;
        self.contents.get(at).map(Vec::as_slice)
    }

    /// Which revision wrote each value. A value that was written twice was found before this is asked.
    fn effects(&self) -> BTreeMap<&[u8], u64> {
        self.written().map(|(revision, entry)| (entry.value.as_ref(), revision)).collect()
    }

    /// What each revision wrote.
    fn written(&self) -> impl Iterator<Item = (u64, &Versioned)> {
        (self.oldest..).zip(&self.contents).flat_map(|(revision, entries)| {
            entries.iter().filter(move |entry| entry.written_at == revision).map(move |entry| (revision, entry))
        })
    }
}

/// The state machine refuses nothing a campaign asks, and answers what was asked.
fn check_answers(ended: &[Ended]) -> Result<(), Finding> {
    for call in ended {
        let fits = match (&call.asked, &call.meaning) {
            (_, None)
            | (Ask::Put { .. }, Some(Meaning::Put { .. }))
            | (Ask::Delete { .. }, Some(Meaning::Delete { .. }))
            | (Ask::Swap { .. }, Some(Meaning::Swapped { .. }))
            | (Ask::Compact { .. }, Some(Meaning::Compacted))
            | (Ask::Grant { .. }, Some(Meaning::Granted))
            | (Ask::Attach { .. }, Some(Meaning::Put { .. } | Meaning::NoLease))
            | (Ask::Revoke { .. }, Some(Meaning::Revoked { .. } | Meaning::NoLease))
            | (Ask::KeepAlive { .. }, Some(Meaning::Renewed | Meaning::NoLease))
            | (Ask::ClearLowSpace { .. }, Some(Meaning::Cleared))
            | (Ask::Read { .. }, Some(Meaning::Found { .. })) => true,
            (_, Some(_)) => false,
        };
        if !fits {
            return Err(("AnswerFits", format!("{:?} was answered with {:?}", call.asked, call.meaning)));
        }
    }
    Ok(())
}

/// `Validity`, `AtMostOnce`, `NoLoss`, `DefiniteMeansNever`: what took effect, against what was asked and answered.
fn check_effects(past: &Past, ended: &[Ended]) -> Result<(), Finding> {
    let mut asked: BTreeMap<&[u8], &Ended> = BTreeMap::new();
    for call in ended {
        if let Ask::Put { value, .. } | Ask::Swap { value, .. } | Ask::Attach { value, .. } = &call.asked {
            asked.insert(value, call);
        }
    }
    let mut effects: BTreeMap<&[u8], u64> = BTreeMap::new();
    for (revision, entry) in past.written().filter(|(_, entry)| !entry.key.starts_with(MIRROR)) {
        let value = entry.value.escape_ascii();
        let Some(call) = asked.get(entry.value.as_ref()) else {
            return Err(("Validity", format!("revision {revision} wrote {value}, which no client asked for")));
        };
        if call.ending == Ending::Refused {
            let text = format!("the put of {value} was refused for certain, yet revision {revision} wrote it");
            return Err(("DefiniteMeansNever", text));
        }
        if let Some(before) = effects.insert(&entry.value, revision) {
            let text = format!("the put of {value} took effect twice, as revisions {before} and {revision}");
            return Err(("AtMostOnce", text));
        }
    }
    for call in ended {
        match (&call.asked, &call.meaning) {
            (Ask::Put { key, value } | Ask::Attach { key, value, .. }, Some(Meaning::Put { revision }))
            | (Ask::Swap { key, value, .. }, Some(Meaning::Swapped { revision, succeeded: true }))
                if *revision >= past.oldest =>
            {
                let there = past.at(*revision).and_then(|entries| value_of(entries, key));
                if there.is_none_or(|there| there.value != *value || there.written_at != *revision) {
                    let (key, value) = (key.escape_ascii(), value.escape_ascii());
                    let text = format!(
                        "the put of {value} to {key} was acknowledged as revision {revision}, which holds {there:?}"
                    );
                    return Err(("NoLoss", text));
                }
            }
            (Ask::Delete { key }, Some(Meaning::Delete { revision, existed })) => {
                check_delete(past, key, *revision, *existed)?;
            }
            _ => {}
        }
        if let (Ask::Swap { key, expected, .. }, Some(Meaning::Swapped { revision, succeeded })) =
            (&call.asked, &call.meaning)
        {
            check_swap(past, key, expected.as_deref(), *revision, *succeeded)?;
        }
    }
    Ok(())
}

/// `TxnWhole`: a swap writes its key and the key's mirror in one revision, never one of them.
fn check_mirrors(past: &Past, ended: &[Ended], swaps_write_mirrors: bool) -> Result<(), Finding> {
    let wrote = |revision: u64, key: &[u8], value: &[u8]| {
        let there = past.at(revision).and_then(|entries| value_of(entries, key));
        there.is_some_and(|there| there.value == value && there.written_at == revision)
    };
    let broken = |revision: u64, key: &[u8], value: &[u8]| {
        let (key, value) = (key.escape_ascii(), value.escape_ascii());
        Err((
            "TxnWhole",
            format!("of the swap of {key} to {value}, revision {revision} has one half and not the other"),
        ))
    };
    for (revision, entry) in past.written() {
        if let Some(key) = entry.key.strip_prefix(MIRROR)
            && !wrote(revision, key, &entry.value)
        {
            return broken(revision, key, &entry.value);
        }
    }
    for call in ended.iter().filter(|_| swaps_write_mirrors) {
        if let (Ask::Swap { key, value, .. }, Some(Meaning::Swapped { revision, succeeded: true })) =
            (&call.asked, &call.meaning)
            && *revision >= past.oldest
            && !wrote(*revision, &[MIRROR, key].concat(), value)
        {
            return broken(*revision, key, value);
        }
    }
    Ok(())
}

/// A swap was done if and only if the key held what was expected, in the state before it.
fn check_swap(past: &Past, key: &[u8], expected: Option<&[u8]>, revision: u64, succeeded: bool) -> Result<(), Finding> {
    let before = if succeeded { revision.saturating_sub(1) } else { revision };
    let Some(entries) = past.at(before) else { return Ok(()) };
    let found = value_of(entries, key).map(|entry| entry.value.as_ref());
    if (found == expected) == succeeded {
        return Ok(());
    }
    let text = format!(
        "a swap of {} as of revision {revision} says that it was done: {succeeded}, but the state before held {found:?} \
         and {expected:?} was expected",
        key.escape_ascii()
    );
    Err(("SwapsWhatItExpects", text))
}

/// `KeysGoWithTheirLease`: the keys of a lease come one by one and go all at one revision.
fn check_leased_keys(past: &Past, ended: &[Ended]) -> Result<(), Finding> {
    let mut lease_of: BTreeMap<&[u8], u64> = BTreeMap::new();
    for call in ended {
        if let Ask::Attach { key, lease, .. } = &call.asked {
            lease_of.insert(key, *lease);
        }
    }
    let mut before: BTreeMap<u64, usize> = BTreeMap::new();
    for (revision, entries) in (past.oldest..).zip(&past.contents) {
        let mut now: BTreeMap<u64, usize> = BTreeMap::new();
        for lease in entries.iter().filter_map(|entry| lease_of.get(entry.key.as_ref())) {
            *now.entry(*lease).or_insert(0) += 1;
        }
        for (lease, count) in &before {
            let left = now.get(lease).copied().unwrap_or(0);
            if left != 0 && left < *count {
                let text = format!("revision {revision} took some keys of lease {lease} and left {left} of {count}");
                return Err(("KeysGoWithTheirLease", text));
            }
        }
        before = now;
    }
    Ok(())
}

fn check_delete(past: &Past, key: &[u8], revision: u64, existed: bool) -> Result<(), Finding> {
    let holds = |revision: u64| past.at(revision).is_some_and(|entries| value_of(entries, key).is_some());
    if revision < past.oldest {
        return Ok(());
    }
    let known = past.at(revision).is_some();
    let before = revision == past.oldest || revision.checked_sub(1).is_some_and(holds);
    if !known || holds(revision) || (existed && !before) {
        let text = format!(
            "a delete of {} was acknowledged as revision {revision} (something there: {existed}), but before it the key \
             was there: {before}, and after it: {}",
            key.escape_ascii(),
            holds(revision)
        );
        return Err(("NoLoss", text));
    }
    Ok(())
}

/// Every read, local ones too, saw exactly some past state.
fn check_reads(past: &Past, ended: &[Ended]) -> Result<(), Finding> {
    for call in ended {
        let (Ask::Read { key, .. }, Some(Meaning::Found { revision, entries })) = (&call.asked, &call.meaning) else {
            continue;
        };
        if *revision < past.oldest {
            continue;
        }
        let there = past.at(*revision).map(|all| match key {
            None => all.to_vec(),
            Some(key) => value_of(all, key).cloned().into_iter().collect(),
        });
        if there.as_ref() != Some(entries) {
            let text = format!("{} read {entries:?} as of revision {revision}, which holds {there:?}", call.node);
            return Err(("ReadsSomePast", text));
        }
    }
    Ok(())
}

/// What a node answers from its own state never goes back within one life.
fn check_local_reads(ended: &[Ended]) -> Result<(), Finding> {
    let mut seen: BTreeMap<(NodeId, u64), u64> = BTreeMap::new();
    for call in ended {
        let (Ask::Read { .. }, Some(Meaning::Found { revision, .. })) = (&call.asked, &call.meaning) else {
            continue;
        };
        let last = seen.entry((call.node, call.life)).or_insert(0);
        if revision < last {
            let text = format!("{} answers a read as of revision {revision} after one as of {last}", call.node);
            return Err(("MonotonicReads", text));
        }
        *last = *revision;
    }
    Ok(())
}

/// Linearizability of everything that was answered, with the revisions as witness: by now every write is known to stand at
/// its revision and every read to show exactly the state at its own, so the order of revisions explains all answers, and
/// what is left to check is that it agrees with real time. A call may not return a revision below one that was returned
/// before it was made; a write that took effect must return a greater one. A put of unknown end that took effect did so
/// after it was called, whenever that was.
fn check_real_time(effects: &BTreeMap<&[u8], u64>, ended: &[Ended]) -> Result<(), Finding> {
    let is_local = |call: &Ended| matches!(call.asked, Ask::Read { consistency: Consistency::Local, .. });
    let answered: Vec<(&Ended, u64, bool)> = ended
        .iter()
        .filter(|call| !is_local(call))
        .filter_map(|call| match call.meaning.as_ref()? {
            Meaning::Put { revision } => Some((call, *revision, true)),
            Meaning::Delete { revision, existed } => Some((call, *revision, *existed)),
            Meaning::Swapped { revision, succeeded } => Some((call, *revision, *succeeded)),
            Meaning::Found { revision, .. } | Meaning::Revoked { revision } => Some((call, *revision, false)),
            Meaning::Compacted
            | Meaning::Granted
            | Meaning::Renewed
            | Meaning::NoLease
            | Meaning::NoSpace
            | Meaning::Cleared
            | Meaning::Opened { .. }
            | Meaning::Closed
            | Meaning::Refused(_) => None,
        })
        .collect();
    let mut by_call = answered.clone();
    by_call.extend(ended.iter().filter(|call| call.ending == Ending::Unknown).filter_map(|call| match &call.asked {
        Ask::Put { value, .. } | Ask::Swap { value, .. } | Ask::Attach { value, .. } => {
            Some((call, *effects.get(value.as_ref())?, true))
        }
        Ask::Delete { .. }
        | Ask::Compact { .. }
        | Ask::Grant { .. }
        | Ask::Revoke { .. }
        | Ask::KeepAlive { .. }
        | Ask::ClearLowSpace { .. }
        | Ask::Read { .. } => None,
    }));
    by_call.sort_by_key(|(call, ..)| call.called_at);
    let mut by_return = answered;
    by_return.sort_by_key(|(call, ..)| call.returned_at);
    let mut returned = by_return.into_iter().peekable();
    let mut greatest: Option<(u64, &Ended)> = None;
    for (call, revision, is_write) in by_call {
        while let Some((earlier, earlier_revision, _)) =
            returned.next_if(|(earlier, ..)| earlier.returned_at < call.called_at)
        {
            if greatest.is_none_or(|(known, _)| known < earlier_revision) {
                greatest = Some((earlier_revision, earlier));
            }
        }
        let Some((known, earlier)) = greatest else { continue };
        if revision < known || (is_write && revision == known) {
            let text = format!(
                "{:?} at {} was called at {} and took effect as of revision {revision}, but {:?} at {} had been answered with \
                 revision {known} at {}",
                call.asked, call.node, call.called_at, earlier.asked, earlier.node, earlier.returned_at
            );
            return Err(("Linearizable", text));
        }
    }
    Ok(())
}

/// Linearizability, key by key, by a search that knows nothing of revisions: a second opinion.
fn check_linearizable(ended: &[Ended]) -> Result<(), Finding> {
    let keys: Vec<&[u8]> = keys_of(ended);
    let mut entries = Vec::new();
    for call in ended.iter().filter(|call| call.ending != Ending::Refused) {
        let ret = (call.ending == Ending::Answered).then_some(call.returned_at.0);
        let entry = |key: &[u8], operation| Entry {
            client: call.process,
            key: key.to_vec(),
            call: call.called_at.0,
            ret,
            operation,
        };
        match (&call.asked, &call.meaning) {
            (Ask::Put { key, value }, _) => entries.push(entry(key, Operation::Write { value: value.to_vec() })),
            (Ask::Delete { key }, meaning) => {
                let existed = match meaning {
                    Some(Meaning::Delete { existed, .. }) => Some(*existed),
                    _ => None,
                };
                entries.push(entry(key, Operation::Delete { existed }));
            }
            (
                Ask::Read { key, consistency: Consistency::Linearizable },
                Some(Meaning::Found { entries: found, .. }),
            ) => {
                let read = |key: &[u8]| Operation::Read { found: value_of(found, key).map(|seen| seen.value.to_vec()) };
                match key {
                    Some(key) => entries.push(entry(key, read(key))),
                    None => entries.extend(keys.iter().map(|key| entry(key, read(key)))),
                }
            }
            (Ask::Swap { key, expected, value }, meaning) => {
                let succeeded = match meaning {
                    Some(Meaning::Swapped { succeeded, .. }) => Some(*succeeded),
                    _ => None,
                };
                let expected = expected.as_ref().map(|value| value.to_vec());
                let value = value.to_vec();
                entries.push(entry(key, Operation::CompareAndSet { expected, value, succeeded }));
            }
            // Keys with a lease go when no client says so: they have rules of their own.
            (
                Ask::Compact { .. }
                | Ask::Grant { .. }
                | Ask::Attach { .. }
                | Ask::Revoke { .. }
                | Ask::KeepAlive { .. }
                | Ask::ClearLowSpace { .. }
                | Ask::Read { .. },
                _,
            ) => {}
        }
    }
    let history = quorate_checker::History::new(entries).map_err(|why| ("Linearizable", why.to_string()))?;
    match check(&history, Object::Register, &Budget::default()) {
        Verdict::Linearizable => Ok(()),
        Verdict::Violation { key, explanation } => {
            Err(("Linearizable", format!("key {}: {}", key.escape_ascii(), explanation.sentence)))
        }
        // The search gave up; what it was asked is decided already, by the revisions.
        Verdict::Unknown { .. } => Ok(()),
    }
}

fn keys_of(ended: &[Ended]) -> Vec<&[u8]> {
    let mut keys: Vec<&[u8]> = ended
        .iter()
        .filter_map(|call| match &call.asked {
            Ask::Put { key, .. } | Ask::Delete { key } | Ask::Swap { key, .. } | Ask::Read { key: Some(key), .. } => {
                Some(key.as_ref())
            }
            Ask::Compact { .. }
            | Ask::Grant { .. }
            | Ask::Attach { .. }
            | Ask::Revoke { .. }
            | Ask::KeepAlive { .. }
            | Ask::ClearLowSpace { .. }
            | Ask::Read { key: None, .. } => None,
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate_types::Time;

    fn call(called_at: u64, returned_at: u64, asked: Ask, meaning: Meaning) -> Ended {
        Ended {
            process: called_at,
            node: NodeId(1),
            life: 1,
            called_at: Time(called_at),
            returned_at: Time(returned_at),
            asked,
            ending: Ending::Answered,
            meaning: Some(meaning),
        }
    }

    fn put(called_at: u64, returned_at: u64, revision: u64) -> Ended {
        let asked = Ask::Put { key: Bytes::from_static(b"k"), value: Bytes::from(revision.to_string()) };
        call(called_at, returned_at, asked, Meaning::Put { revision })
    }

    fn read(called_at: u64, returned_at: u64, consistency: Consistency, revision: u64) -> Ended {
        call(
            called_at,
            returned_at,
            Ask::Read { key: None, consistency },
            Meaning::Found { revision, entries: Vec::new() },
        )
    }

    fn real_time(ended: &[Ended]) -> Result<(), Finding> {
        check_real_time(&BTreeMap::new(), ended)
    }

    #[test]
    fn a_write_of_unknown_end_takes_effect_after_its_call() {
        let unknown = Ended { ending: Ending::Unknown, meaning: None, ..put(11, 12, 9) };
        let took_effect_as = |revision| BTreeMap::from([(&b"9"[..], revision)]);
        let ended = [put(0, 10, 3), unknown];
        assert_eq!(check_real_time(&took_effect_as(4), &ended), Ok(()));
        assert!(check_real_time(&took_effect_as(2), &ended).is_err());
        assert_eq!(check_real_time(&BTreeMap::new(), &ended), Ok(()), "it never did");
    }

    #[test]
    fn a_read_of_a_revision_that_real_time_has_passed_is_found() {
        let linearizable = Consistency::Linearizable;
        assert_eq!(real_time(&[put(0, 10, 2), read(11, 12, linearizable, 2), put(5, 20, 3)]), Ok(()));
        assert_eq!(real_time(&[put(0, 10, 2), read(10, 12, linearizable, 1)]), Ok(()), "they overlap");
        assert_eq!(real_time(&[put(0, 10, 2), read(11, 12, Consistency::Local, 1)]), Ok(()), "it may be stale");
        assert!(real_time(&[put(0, 10, 2), read(11, 12, linearizable, 1)]).is_err());
        assert!(real_time(&[put(0, 10, 3), put(11, 12, 2)]).is_err());
        assert!(real_time(&[put(0, 10, 3), put(11, 12, 3)]).is_err());
    }

    #[test]
    fn half_a_transaction_is_found_from_either_side() {
        let entry = |key: &str, value: &str, written_at| Versioned {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
            written_at,
        };
        let asked = Ask::Swap { key: "k".into(), expected: None, value: "v".into() };
        let ended = [call(0, 1, asked, Meaning::Swapped { revision: 2, succeeded: true })];
        let judge = |entries: Vec<Versioned>| check_mirrors(&Past { oldest: 2, contents: vec![entries] }, &ended, true);
        assert!(judge(vec![entry("k", "v", 2), entry("mirror/k", "v", 2)]).is_ok());
        assert!(judge(vec![entry("k", "v", 2)]).is_err(), "the mirror is missing");
        assert!(judge(vec![entry("mirror/k", "v", 2)]).is_err(), "the key is missing");
        assert!(judge(vec![entry("k", "w", 2), entry("mirror/k", "v", 2)]).is_err(), "they differ");
    }
}
