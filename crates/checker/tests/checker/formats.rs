//! Recorded histories as text: what is read, and what is refused with which line.

use quorate_checker::{
    Budget, Format, Level, Object, Operation, Outcome, ReadError, Recorded, Verdict, check, read_history, timeline,
    weaker_levels,
};

fn read(text: &str) -> Recorded {
    read_history(text, Format::of(text), None).expect("this is a history")
}

fn refused(text: &str) -> ReadError {
    read_history(text, Format::of(text), None).expect_err("this is no history")
}

fn verdict(recorded: &Recorded) -> Verdict {
    recorded.object.check_operations(&recorded.history).expect("the object has these operations");
    check(&recorded.history, recorded.object, &Budget::default())
}

fn violated(text: &str, object: Option<Object>) -> String {
    let recorded = read_history(text, Format::of(text), object).expect("this is a history");
    match verdict(&recorded) {
        Verdict::Violation { explanation, .. } => explanation.to_string(),
        other => panic!("not a violation: {other:?}"),
    }
}

const STALE: &str = include_str!("../histories/stale_read.jsonl");
const QUEUE: &str = include_str!("../histories/queue.edn");

#[test]
fn json_lines_are_read_whatever_the_order_of_their_fields() {
    let recorded = read(STALE);
    assert_eq!((recorded.history.len(), recorded.object, recorded.unknown), (3, Object::Register, 0));
    assert!(
        violated(STALE, None)
            .starts_with("client 2 read \"1\" (40..45), but client 1's write of \"2\" had returned at 30")
    );
}

#[test]
fn a_jepsen_register_with_independent_keys_a_lost_write_and_a_failed_compare_is_linearizable() {
    let recorded = read(include_str!("../histories/cas_register.edn"));
    assert_eq!((recorded.history.len(), recorded.failed, recorded.unknown), (4, 1, 1));
    assert_eq!(recorded.history.by_key().map(|(key, _)| key.to_vec()).collect::<Vec<_>>(), [b"0"]);
    assert_eq!(verdict(&recorded), Verdict::Linearizable);
}

#[test]
fn a_jepsen_list_append_history_that_misses_a_write_is_not_strictly_serializable() {
    let text = include_str!("../histories/list_append.edn");
    assert_eq!(read(text).object, Object::Store);
    assert!(violated(text, None).contains("client 2: 5..6 transaction: read 5 = [\"1\"], read 6 = []"));
    // It is the missing element that is wrong.
    assert_eq!(
        verdict(&read(&text.replace("[:r 6 nil]], :process 2, :time 6", "[:r 6 [1]]], :process 2, :time 6"))),
        Verdict::Linearizable
    );
}

#[test]
fn transactions_with_compares_and_revisions_are_read() {
    let text = include_str!("../histories/transactions.jsonl");
    assert_eq!(verdict(&read(text)), Verdict::Linearizable);
    let wrong = text.replace("\"succeeded\":false", "\"succeeded\":true");
    assert!(
        matches!(verdict(&read(&wrong)), Verdict::Violation { .. }),
        "\"10\" is not greater than \"5\", byte by byte"
    );
    let wrong = text.replace("[[\"r\",\"a\",10]],\"revision\":2", "[[\"r\",\"a\",10]],\"revision\":3");
    assert!(matches!(verdict(&read(&wrong)), Verdict::Violation { .. }), "nobody wrote a third revision");
}

#[test]
fn two_holders_of_a_lock_are_found() {
    let told = violated(include_str!("../histories/lock.jsonl"), None);
    assert!(told.contains("client 1: 4..9 acquired the lock with token 8"), "{told}");
}

#[test]
fn a_queue_is_unordered_unless_it_is_said_not_to_be() {
    assert_eq!(verdict(&read(QUEUE)), Verdict::Linearizable);
    assert!(violated(QUEUE, Some(Object::Fifo)).contains("dequeued \"2\""));
    assert!(violated(&QUEUE.replace(":value [1]", ":value [1 1]"), None).contains("dequeued \"1\""));
}

#[test]
fn a_history_without_times_is_in_the_order_of_its_lines() {
    let recorded = read(&STALE.replace(",\"time_ns\":20", ""));
    assert_eq!(recorded.history.entries().map(|entry| (entry.call, entry.ret)).last(), Some((4, Some(5))));
}

#[test]
fn what_is_open_at_the_end_has_no_answer_and_a_process_may_go_on_after_one() {
    let text = "{:process 1, :type :invoke, :f :write, :value 1}\n{:process 1, :type :info, :f :write, :value 1}\n\
                {:process 1, :type :invoke, :f :write, :value 2}";
    let recorded = read(text);
    assert_eq!((recorded.history.len(), recorded.unknown), (2, 2));
    assert_eq!(verdict(&recorded), Verdict::Linearizable);
}

#[test]
fn what_cannot_be_is_refused_by_its_line() {
    let line = |rest: &str| format!("{{\"process\":1,{rest}}}\n");
    let call = line("\"type\":\"invoke\",\"f\":\"write\",\"value\":1,\"time_ns\":5");
    let done = line("\"type\":\"ok\",\"f\":\"write\",\"value\":1,\"time_ns\":9");
    let cases = [
        (format!("{call}{call}"), 2, "process 1 calls while its operation of line 1 is open"),
        (format!("{call}{done}{done}"), 3, "process 1 has an answer but no open operation"),
        (
            format!("{call}{}", done.replace("write", "read")),
            2,
            "the answer is to another operation than that of line 1",
        ),
        (format!("{call}{}", done.replace('9', "4")), 2, "answered at 4, before the call of line 1 at 5"),
        (format!("\n{}", call.replace("write", "juggle")), 2, "f \"juggle\" is not known"),
        (format!("{call}{}", done.replace("ok", "maybe")), 2, "the type must be invoke, ok, fail or info"),
        (format!("{call}{{\"process\""), 2, "not JSON: "),
        (format!("{call}[1]"), 2, "not a JSON object"),
        (
            format!("{call}{}{}", done, call.replace("write", "enqueue")),
            3,
            "an operation on an unordered queue in a history of a register",
        ),
        (call.replace(":1,\"time", ":null,\"time"), 1, "the value must be what to put there"),
        ("[{:process 1, :type :invoke, :f :read}\n".to_owned(), 1, "what is opened here is never closed"),
        ("{:process 1\n :type}".to_owned(), 1, "a map with a key and no value"),
        ("{:f \"open}".to_owned(), 1, "a string is never closed"),
        ("; words\n]".to_owned(), 2, "closed without having been opened"),
        (format!("({}", "[".repeat(100_000)), 1, "nested too deep"),
        ("42".to_owned(), 1, "an event is a map"),
    ];
    for (text, line, why) in cases {
        let error = refused(&text);
        assert!(error.line == line && error.why.starts_with(why), "{text:.200}: {error}");
    }
}

#[test]
fn damaged_text_never_panics() {
    for text in
        [STALE, QUEUE, include_str!("../histories/list_append.edn"), include_str!("../histories/transactions.jsonl")]
    {
        for cut in 0..text.len() {
            for damaged in [text[..cut].to_owned(), format!("{}{}", &text[..cut], &text[cut + 1..])] {
                for format in [Format::JsonLines, Format::Edn] {
                    if let Ok(recorded) = read_history(&damaged, format, None) {
                        let _ = check(&recorded.history, recorded.object, &Budget::default());
                    }
                }
            }
        }
    }
}

#[test]
fn a_timeline_is_drawn_with_everything_escaped() {
    let recorded = read(&STALE.replace(":1,\"time", ":\"<&1>\",\"time"));
    let Verdict::Violation { explanation, .. } = verdict(&recorded) else { panic!("the read is stale") };
    let svg = timeline(&explanation, "key \"x\" & more");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("<rect class=\"bar\"").count() + svg.matches("<rect class=\"stuck\"").count(), 3);
    assert!(svg.contains("key &quot;x&quot; &amp; more") && svg.contains("&lt;&amp;1&gt;") && !svg.contains("<&1>"));
}

/// Writes and reads of one key, one after another: client, `w` or `r`, value.
fn outcomes(steps: &[(u64, &str, &str, u64)]) -> Vec<(Level, Outcome)> {
    let mut lines = String::new();
    for (at, (process, key, f, value)) in steps.iter().enumerate() {
        let name = if *f == "w" { "write" } else { "read" };
        let value = if *value == 0 { "null".to_owned() } else { value.to_string() };
        for (kind, time) in [("invoke", 2 * at), ("ok", 2 * at + 1)] {
            let told = format!("\"process\":{process},\"key\":\"{key}\",\"f\":\"{name}\",\"value\":{value}");
            lines.push_str(&format!("{{{told},\"type\":\"{kind}\",\"time_ns\":{time}}}\n"));
        }
    }
    let recorded = read(&lines);
    weaker_levels(&recorded.history, recorded.object, &verdict(&recorded))
}

fn kept(outcomes: &[(Level, Outcome)]) -> Vec<&'static str> {
    outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Holds).map(|(level, _)| level.name()).collect()
}

fn violated_levels(outcomes: &[(Level, Outcome)]) -> Vec<&'static str> {
    let violated = outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Violated(_)));
    violated.map(|(level, _)| level.name()).collect()
}

#[test]
fn a_stale_read_by_another_client_breaks_nothing_weaker() {
    let outcomes = outcomes(&[(1, "x", "w", 1), (2, "x", "r", 0)]);
    assert_eq!(kept(&outcomes).len(), 5, "{outcomes:?}");
}

#[test]
fn not_to_see_ones_own_write_breaks_read_your_writes() {
    assert_eq!(violated_levels(&outcomes(&[(1, "x", "w", 1), (1, "x", "r", 0)])), ["sequential", "read-your-writes"]);
}

#[test]
fn to_see_the_older_of_two_writes_last_breaks_monotonic_reads() {
    let steps = [(1, "x", "w", 1), (1, "x", "w", 2), (2, "x", "r", 2), (2, "x", "r", 1)];
    assert_eq!(violated_levels(&outcomes(&steps)), ["sequential", "monotonic-reads"]);
}

#[test]
fn a_write_that_lands_before_what_its_client_had_read_breaks_writes_follow_reads() {
    let both = |process: u64, told: &str| {
        format!("{{:process {process}, :type :invoke, {told}}}\n{{:process {process}, :type :ok, {told}}}\n")
    };
    // Client 2 writes 2 after it read 1, yet 1 was set where 2 had been.
    let text = format!(
        "{}{}{}",
        both(2, ":f :read, :value 1"),
        both(2, ":f :write, :value 2"),
        both(1, ":f :cas, :value [2 1]")
    );
    let recorded = read(&text);
    let outcomes = weaker_levels(&recorded.history, recorded.object, &verdict(&recorded));
    assert_eq!(violated_levels(&outcomes), ["sequential", "writes-follow-reads"], "{outcomes:?}");
}

#[test]
fn two_guarantees_that_each_hold_may_not_hold_together() {
    let steps = [(1, "x", "w", 1), (2, "x", "r", 1), (2, "x", "w", 2), (3, "x", "r", 2), (3, "x", "r", 1)];
    assert_eq!(violated_levels(&outcomes(&steps)), ["sequential"], "either writes follow reads or reads are monotonic");
}

#[test]
fn sequential_consistency_looks_at_all_keys_together() {
    // Each key alone is fine; together each client says that its write came before the other's.
    let steps = [(1, "x", "w", 1), (2, "y", "w", 2), (1, "y", "r", 0), (2, "x", "r", 0)];
    let outcomes = outcomes(&steps);
    assert_eq!(violated_levels(&outcomes), ["sequential"], "{outcomes:?}");
}

#[test]
fn versions_that_cannot_be_told_apart_leave_it_unknown() {
    let outcomes = outcomes(&[(1, "x", "w", 1), (1, "x", "w", 2), (2, "x", "w", 1), (1, "x", "r", 2)]);
    assert!(outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Unknown(_))), "{outcomes:?}");
}

#[test]
fn a_list_shows_the_order_of_its_writes() {
    let append = |process: u64, value: u64| {
        format!(
            "{{:process {process}, :type :invoke, :f :append, :value {value}}}\n{{:process {process}, :type :ok, :f :append, :value {value}}}\n"
        )
    };
    let read_as = |list: &str| {
        format!("{{:process 9, :type :invoke, :f :read}}\n{{:process 9, :type :ok, :f :read, :value {list}}}\n")
    };
    let text = format!("{}{}{}", append(1, 1), append(1, 2), read_as("[2 1]"));
    let recorded = read(&text);
    assert!(recorded.history.entries().any(|entry| entry.operation == Operation::Append { value: b"1".to_vec() }));
    let outcomes = weaker_levels(&recorded.history, recorded.object, &verdict(&recorded));
    assert_eq!(violated_levels(&outcomes), ["sequential", "monotonic-writes"], "{outcomes:?}");
}
