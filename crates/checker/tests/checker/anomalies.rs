//! Hand-made histories, each a fault that real stores have had, with the sentence that names it.

use quorate_checker::{Budget, Entry, Explanation, History, HistoryError, Object, Operation, Verdict, check};

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// An entry on the key "k".
fn entry(client: u64, call: u64, ret: impl Into<Option<u64>>, operation: Operation) -> Entry {
    Entry { client, key: bytes("k"), call, ret: ret.into(), operation }
}

fn read(found: &str) -> Operation {
    Operation::Read { found: Some(bytes(found)) }
}

fn read_nothing() -> Operation {
    Operation::Read { found: None }
}

fn write(value: &str) -> Operation {
    Operation::Write { value: bytes(value) }
}

fn delete(existed: bool) -> Operation {
    Operation::Delete { existed: Some(existed) }
}

fn compare_and_set(expected: &str, value: &str, succeeded: bool) -> Operation {
    Operation::CompareAndSet { expected: Some(bytes(expected)), value: bytes(value), succeeded: Some(succeeded) }
}

fn verdict(entries: &[Entry]) -> Verdict {
    check(
        &History::new(entries.to_vec()).expect("no test answers before it asks"),
        Object::Register,
        &Budget::default(),
    )
}

fn explanation(entries: &[Entry]) -> Explanation {
    match verdict(entries) {
        Verdict::Violation { explanation, .. } => explanation,
        other => panic!("not a violation: {other:?}"),
    }
}

fn assert_accepted(entries: &[Entry]) {
    assert_eq!(verdict(entries), Verdict::Linearizable);
}

#[test]
fn nothing_and_one_read_of_nothing_are_linearizable() {
    assert_accepted(&[]);
    assert_accepted(&[entry(1, 0, 1, read_nothing())]);
}

#[test]
fn a_stale_read_is_explained_by_the_write_that_it_missed() {
    let history = [
        entry(1, 0, 10, write("1")),
        entry(1, 20, 30, write("2")),
        entry(2, 35, 36, read("2")),
        entry(2, 40, 45, read("1")),
        entry(3, 50, 60, write("3")),
    ];
    let explanation = explanation(&history);
    assert_eq!(explanation.entries, [history[0].clone(), history[1].clone(), history[3].clone()]);
    assert_eq!(
        explanation.to_string(),
        "client 2 read \"1\" (40..45), but client 1's write of \"2\" had returned at 30 and nothing wrote it again since\n  \
         client 1: 0..10 wrote \"1\"\n  \
         client 1: 20..30 wrote \"2\"\n  \
         client 2: 40..45 read \"1\""
    );
}

#[test]
fn a_lost_write_is_explained_by_its_return() {
    let explanation = explanation(&[entry(1, 0, 10, write("1")), entry(2, 11, 12, read_nothing())]);
    assert_eq!(
        explanation.sentence,
        "client 2 found nothing (11..12), but client 1's write of \"1\" had returned at 10 and nothing removed it since"
    );
}

#[test]
fn a_resurrected_key_is_explained_by_its_delete() {
    let explanation =
        explanation(&[entry(1, 0, 1, write("1")), entry(1, 2, 3, delete(true)), entry(2, 4, 5, read("1"))]);
    assert_eq!(
        explanation.sentence,
        "client 2 read \"1\" (4..5), but client 1's delete had returned at 3 and nothing wrote it again since"
    );
}

#[test]
fn a_value_read_before_it_was_written_is_rejected() {
    let explanation = explanation(&[entry(1, 0, 5, read("1")), entry(2, 6, 10, write("1"))]);
    assert_eq!(
        explanation.sentence,
        "client 1 read \"1\" (0..5), but nobody wrote that before client 2, who called at 6"
    );
}

#[test]
fn two_reads_that_see_a_concurrent_write_and_then_not_are_rejected() {
    let history = [
        entry(1, 0, 1, write("old")),
        entry(1, 2, 100, write("new")),
        entry(2, 10, 20, read("new")),
        entry(3, 30, 40, read("old")),
    ];
    let explanation = explanation(&history);
    assert_eq!(explanation.entries.len(), 3, "{explanation}");
    assert_eq!(
        explanation.sentence,
        "no order of these 3 operations, within the times they ran, explains every answer"
    );
    // The other way round the write simply took effect between the reads.
    assert_accepted(&[
        entry(1, 0, 1, write("old")),
        entry(1, 2, 100, write("new")),
        entry(2, 10, 20, read("old")),
        entry(3, 30, 40, read("new")),
    ]);
}

#[test]
fn a_lock_taken_twice_by_compare_and_set_is_rejected() {
    let history = [
        entry(1, 0, 1, write("free")),
        entry(2, 2, 9, compare_and_set("free", "two", true)),
        entry(3, 3, 8, compare_and_set("free", "three", true)),
    ];
    let explanation = explanation(&history);
    assert_eq!(explanation.entries, history[1..], "whenever \"free\" was written, both cannot have found it");
    assert_eq!(explanation.sources, history[..1]);
    assert_accepted(&[history[0].clone(), history[1].clone(), entry(3, 3, 8, compare_and_set("free", "three", false))]);
}

#[test]
fn a_compare_and_set_that_failed_without_cause_is_rejected() {
    let history = [entry(1, 0, 1, write("free")), entry(2, 2, 3, compare_and_set("free", "two", false))];
    assert_eq!(explanation(&history).entries, history);
}

#[test]
fn a_delete_must_tell_whether_there_was_something() {
    assert_accepted(&[entry(1, 0, 1, delete(false)), entry(1, 2, 3, write("1")), entry(1, 4, 5, delete(true))]);
    assert_eq!(explanation(&[entry(1, 0, 1, delete(true))]).entries.len(), 1);
    assert_accepted(&[entry(1, 0, 1, Operation::Delete { existed: None })]);
}

#[test]
fn creation_is_a_compare_and_set_from_nothing() {
    let create = |value: &str, succeeded| Operation::CompareAndSet { expected: None, value: bytes(value), succeeded };
    assert_accepted(&[entry(1, 0, 5, create("1", Some(true))), entry(2, 1, 4, create("2", Some(false)))]);
    assert_eq!(
        explanation(&[entry(1, 0, 5, create("1", Some(true))), entry(2, 1, 4, create("2", Some(true)))]).entries.len(),
        2
    );
}

#[test]
fn a_write_without_an_answer_may_take_effect_late_or_never_but_only_once() {
    let lost = entry(1, 0, None, write("1"));
    assert_accepted(&[lost.clone(), entry(2, 10, 11, read_nothing())]);
    assert_accepted(&[lost.clone(), entry(2, 10, 11, read_nothing()), entry(2, 12, 13, read("1"))]);
    let twice = [lost.clone(), entry(2, 10, 11, read("1")), entry(2, 12, 13, write("2")), entry(2, 14, 15, read("1"))];
    assert_eq!(explanation(&twice).entries, twice[1..], "one lost write cannot explain two sightings");
    let too_early = [entry(1, 10, None, write("1")), entry(2, 0, 9, read("1"))];
    assert_eq!(
        explanation(&too_early).sentence,
        "client 2 read \"1\" (0..9), but nobody wrote that before client 1, who called at 10"
    );
}

#[test]
fn a_compare_and_set_without_an_answer_may_have_failed() {
    let lost = entry(1, 0, None, compare_and_set("0", "1", false));
    assert_accepted(&[entry(2, 0, 1, write("0")), lost.clone(), entry(2, 2, 3, read("0"))]);
    assert_accepted(&[entry(2, 0, 1, write("0")), lost.clone(), entry(2, 2, 3, read("1"))]);
    assert!(matches!(verdict(&[lost, entry(2, 2, 3, read("1"))]), Verdict::Violation { .. }), "it never was \"0\"");
}

#[test]
fn a_read_without_an_answer_says_nothing() {
    assert_accepted(&[entry(1, 0, None, read("never written"))]);
}

#[test]
fn a_return_and_a_call_at_the_same_time_are_concurrent() {
    assert_accepted(&[entry(1, 0, 10, write("1")), entry(2, 10, 12, read_nothing())]);
    assert_eq!(explanation(&[entry(1, 0, 9, write("1")), entry(2, 10, 12, read_nothing())]).entries.len(), 2);
}

#[test]
fn keys_do_not_influence_each_other_and_the_first_bad_one_is_named() {
    let on = |key: &str, entry: Entry| Entry { key: bytes(key), ..entry };
    let bad = [entry(1, 0, 1, write("1")), entry(1, 2, 3, read("2"))];
    let history = [
        on("a", entry(1, 0, 1, read_nothing())),
        on("c", bad[0].clone()),
        on("c", bad[1].clone()),
        on("b", bad[0].clone()),
        on("b", bad[1].clone()),
    ];
    let Verdict::Violation { key, .. } = verdict(&history) else { panic!("two keys are wrong") };
    assert_eq!(key, b"b");
}

#[test]
fn an_explanation_leaves_out_a_thousand_innocent_operations() {
    let mut history = Vec::new();
    for at in 0..500 {
        history.push(entry(1, 10 * at, 10 * at + 2, write(&at.to_string())));
        history.push(entry(2, 10 * at + 4, 10 * at + 6, read(&at.to_string())));
    }
    history[700].operation = write("overlooked");
    let explanation = explanation(&history);
    assert_eq!(explanation.sentence, "client 2 read \"350\" (3504..3506), but nobody wrote that");
    history[700].operation = write("350");
    history[701].operation = read("349");
    let explanation = self::explanation(&history);
    assert_eq!(explanation.entries, [history[698].clone(), history[700].clone(), history[701].clone()]);
}

#[test]
fn long_and_binary_values_stay_readable() {
    let value = vec![0_u8; 100];
    let history = [entry(1, 0, 1, Operation::Read { found: Some(value) })];
    let sentence = explanation(&history).sentence;
    assert!(sentence.contains("\\x00\\x00") && sentence.contains("(100 bytes)"), "{sentence}");
}

#[test]
fn an_answer_before_its_question_is_refused() {
    let refused = History::new(vec![entry(1, 0, 1, read_nothing()), entry(4, 9, 8, read_nothing())]);
    assert_eq!(refused, Err(HistoryError::ReturnBeforeCall { index: 1, client: 4, call: 9, ret: 8 }));
    let history = History::new(vec![entry(1, 5, 6, read_nothing()), entry(1, 0, 1, read_nothing())]).unwrap();
    assert_eq!((history.len(), history.is_empty()), (2, false));
    assert_eq!(history.by_key().map(|(_, entries)| entries[0].call).collect::<Vec<_>>(), [0]);
}
