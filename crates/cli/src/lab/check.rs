//! `quorate check`: is a recorded history what its store promised?

use crate::endpoint::OutputFormat;
use crate::exit::{no_verdict, usage};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use quorate_checker::{
    Budget, Explanation, Format, Level, Object, Outcome, Recorded, Verdict, check_while, read_history, timeline,
    weaker_levels,
};
use serde_json::json;
use std::cell::Cell;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What the history is held against.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Model {
    /// As the names of the operations tell
    Auto,
    /// Keys with a value: read, write
    Register,
    /// Keys with a value or nothing: read, write, delete
    Kv,
    /// Keys with a value: read, write, compare and set
    Cas,
    /// Keys with lists: append, read
    Append,
    /// Locks: acquire, release, expire, with fencing tokens
    Lock,
    /// Queues that may give any item: enqueue, dequeue
    Queue,
    /// Queues, first in first out: enqueue, dequeue
    Fifo,
    /// Numbers: add, read
    Counter,
    /// Transactions over many keys
    Txn,
}

impl Model {
    fn object(self) -> Option<Object> {
        match self {
            Model::Auto => None,
            Model::Register | Model::Kv | Model::Cas => Some(Object::Register),
            Model::Append => Some(Object::List),
            Model::Lock => Some(Object::Lock),
            Model::Queue => Some(Object::Bag),
            Model::Fifo => Some(Object::Fifo),
            Model::Counter => Some(Object::Counter),
            Model::Txn => Some(Object::Store),
        }
    }
}

/// Which promises are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Asked {
    /// Every operation takes effect at one instant between call and return
    Linearizable,
    /// One order explains everything and keeps each client's
    Sequential,
    /// Read your writes, monotonic reads, monotonic writes, writes follow reads
    Session,
    /// All of them, as a table
    All,
}

impl Asked {
    fn has(self, level: Level) -> bool {
        match self {
            Asked::All => true,
            Asked::Linearizable => level == Level::Linearizable,
            Asked::Sequential => level == Level::Sequential,
            Asked::Session => !matches!(level, Level::Linearizable | Level::Sequential),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Written {
    /// As the first line tells
    Auto,
    /// One JSON object a line
    Jsonl,
    /// Jepsen's EDN
    Edn,
}

const AFTER_HELP: &str = "Exit codes: 0 what was asked holds; 1 it is violated; 2 wrong usage, or the history cannot be read; 3 unknown, \
                          the time, steps or memory allowed were not enough.";

/// Arguments of `quorate check`.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub struct CheckArguments {
    /// The history: JSON lines or Jepsen's EDN; `-` for standard input
    history: PathBuf,
    /// What it is a history of
    #[arg(long, value_enum, default_value_t = Model::Auto)]
    model: Model,
    /// What to look at
    #[arg(long, value_enum, default_value_t = Asked::Linearizable)]
    level: Asked,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Written::Auto)]
    format: Written,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Give up when the search of one key would remember more than this
    #[arg(long, value_name = "MB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    memory_mb: u64,
    /// Draw the contradiction, if there is one, as a timeline
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

/// A step takes about 50 ns, so this many are no bound before the clock is, and one that does not depend on it.
const STEPS_A_SECOND: u64 = 20_000_000;

/// What was found.
struct Finding {
    recorded: Recorded,
    verdict: Verdict,
    /// Each level that was asked for.
    levels: Vec<(Level, Outcome)>,
    took: Duration,
}

/// `quorate check`.
pub fn check(arguments: CheckArguments) -> Result<ExitCode> {
    let from = Instant::now();
    let recorded = read(&arguments).map_err(usage)?;
    if recorded.history.is_empty() {
        // A recorder that died must not pass for a store that works.
        let file = arguments.history.display();
        return Err(usage(anyhow::anyhow!("{file} holds no operation: nothing was checked")));
    }
    let verdict = judge(&arguments, &recorded, from);
    let mut levels = vec![(Level::Linearizable, outcome_of(&verdict))];
    if arguments.level != Asked::Linearizable {
        levels.extend(weaker_levels(&recorded.history, recorded.object, &verdict));
    }
    levels.retain(|(level, _)| arguments.level.has(*level));
    let finding = Finding { recorded, verdict, levels, took: from.elapsed() };
    match arguments.output {
        OutputFormat::Text => print_text(&arguments, &finding),
        OutputFormat::Json => println!("{}", as_json(&finding)),
    }
    if let Some(path) = &arguments.svg {
        draw(path, &finding.verdict)?;
    }
    Ok(exit_code(&finding.levels))
}

fn read(arguments: &CheckArguments) -> Result<Recorded> {
    let path = &arguments.history;
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
    } else {
        bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let name = || if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let text = String::from_utf8(bytes).with_context(name)?;
    let format = match arguments.format {
        Written::Auto => Format::of(&text),
        Written::Jsonl => Format::JsonLines,
        Written::Edn => Format::Edn,
    };
    let recorded = read_history(&text, format, arguments.model.object()).with_context(name)?;
    recorded.object.check_operations(&recorded.history).with_context(name)?;
    Ok(recorded)
}

fn judge(arguments: &CheckArguments, recorded: &Recorded, from: Instant) -> Verdict {
    let until = from + Duration::from_secs(arguments.timeout);
    let budget = Budget {
        steps_per_key: arguments.timeout.saturating_mul(STEPS_A_SECOND),
        memory_bytes: usize::try_from(arguments.memory_mb << 20).unwrap_or(usize::MAX),
        ..Budget::default()
    };
    let shows = std::io::stderr().is_terminal();
    let shown_at = Cell::new(from);
    let mut was_shown = false;
    let mut progress = |done: usize, parts: usize| {
        if shows && shown_at.get().elapsed() > Duration::from_millis(200) {
            shown_at.set(Instant::now());
            was_shown = true;
            eprint!("\r{done} of {parts} parts checked ");
            // Progress that cannot be shown is no reason to stop.
            let _ = std::io::stderr().flush();
        }
    };
    let verdict = check_while(&recorded.history, recorded.object, &budget, &|| Instant::now() < until, &mut progress);
    if was_shown {
        eprintln!();
    }
    verdict
}

fn outcome_of(verdict: &Verdict) -> Outcome {
    match verdict {
        Verdict::Linearizable => Outcome::Holds,
        Verdict::Violation { key, explanation } => Outcome::Violated(format!("{}{}", on(key), explanation.sentence)),
        Verdict::Unknown { key, why } => Outcome::Unknown(format!("{}{why}", on(key))),
    }
}

/// Where, unless there is only one place.
fn on(key: &[u8]) -> String {
    if key.is_empty() { String::new() } else { format!("key {}: ", key.escape_ascii()) }
}

fn exit_code(levels: &[(Level, Outcome)]) -> ExitCode {
    let any = |is: fn(&Outcome) -> bool| levels.iter().any(|(_, outcome)| is(outcome));
    if any(|outcome| matches!(outcome, Outcome::Violated(_))) {
        return ExitCode::from(1);
    }
    if any(|outcome| matches!(outcome, Outcome::Unknown(_))) {
        return no_verdict();
    }
    ExitCode::SUCCESS
}

fn word(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Holds => ("holds", ""),
        Outcome::Violated(why) => ("violated", why),
        Outcome::Unknown(why) => ("unknown", why),
    }
}

fn print_text(arguments: &CheckArguments, finding: &Finding) {
    let Recorded { history, object, failed, unknown } = &finding.recorded;
    let keys = history.by_key().count();
    println!(
        "{} operations on {keys} {} as {object}; {unknown} without an answer, {failed} failed for certain and left out; {:.3} s",
        history.len(),
        if keys == 1 { "key" } else { "keys" },
        finding.took.as_secs_f64()
    );
    if matches!(arguments.model, Model::Auto) && *object == Object::Bag {
        println!("the queue may give any item; --model fifo asks for order too");
    }
    for (level, outcome) in &finding.levels {
        let (word, why) = word(outcome);
        let colon = if why.is_empty() { "" } else { ": " };
        println!("{:<19} {word}{colon}{why}", level.name());
    }
    if let (true, Verdict::Violation { explanation, .. }) = (arguments.level.has(Level::Linearizable), &finding.verdict)
    {
        println!("\nThe smallest part that contradicts itself:");
        explanation.entries.iter().for_each(|entry| println!("  {entry}"));
        explanation.sources.iter().for_each(|entry| println!("  at any time: {entry}"));
    }
}

fn as_json(finding: &Finding) -> serde_json::Value {
    let Recorded { history, object, failed, unknown } = &finding.recorded;
    let levels: serde_json::Map<String, serde_json::Value> = finding
        .levels
        .iter()
        .map(|(level, outcome)| {
            let (word, why) = word(outcome);
            (level.name().to_owned(), json!({ "verdict": word, "why": (!why.is_empty()).then_some(why) }))
        })
        .collect();
    let contradiction = match &finding.verdict {
        Verdict::Violation { key, explanation } => Some(contradiction_as_json(key, explanation)),
        Verdict::Linearizable | Verdict::Unknown { .. } => None,
    };
    json!({
        "operations": history.len(), "keys": history.by_key().count(), "model": object.to_string(), "failed": failed,
        "unknown_outcomes": unknown, "seconds": finding.took.as_secs_f64(), "levels": levels, "contradiction": contradiction,
    })
}

fn contradiction_as_json(key: &[u8], explanation: &Explanation) -> serde_json::Value {
    let tell = |entries: &[quorate_checker::Entry]| -> Vec<serde_json::Value> {
        let one = |entry: &quorate_checker::Entry| json!({ "client": entry.client, "call": entry.call, "return": entry.ret, "text": entry.to_string() });
        entries.iter().map(one).collect()
    };
    json!({
        "key": key.escape_ascii().to_string(), "sentence": explanation.sentence,
        "operations": tell(&explanation.entries), "sources": tell(&explanation.sources),
    })
}

fn draw(path: &Path, verdict: &Verdict) -> Result<()> {
    let Verdict::Violation { key, explanation } = verdict else {
        eprintln!("quorate: no picture is drawn, as there is no contradiction to linearizability");
        return Ok(());
    };
    let title = format!("{}not linearizable", on(key));
    std::fs::write(path, timeline(explanation, &title)).with_context(|| format!("cannot write {}", path.display()))
}
