//! `quorate replay`: what flight recordings tell, run again through the same code.

mod files;
mod gather;
mod json;
mod keys;

use crate::endpoint::OutputFormat;
use crate::exit::usage;
use crate::serve::PROGRAM;
use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use files::{Recordings, read_recordings};
use gather::{Gather, gather};
use quorate_narrator::incident::{Incident, Question, wall};
use quorate_recorder::{Life, LifeError};
use quorate_service::{OnProtocol, Protocol, Served, UnknownProtocol};
use quorate_types::{NodeId, Slot, Time};
use std::path::PathBuf;
use std::process::ExitCode;

/// How much of what happened is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Telling {
    /// Elections, votes, leadership, members, connections, starts and ends
    Outline,
    /// And every guard that allowed, refused or held something back
    Reasons,
    /// And every message, timer and decision
    Everything,
}

/// Arguments of `quorate replay`.
#[derive(Args)]
#[command(
    after_long_help = "Times are UTC: 18:02:20.905, 2026-11-21T18:02:20Z, or +12.5s from the beginning of the recording."
)]
pub struct ReplayArguments {
    /// Directories that `quorate serve --record` wrote, of any number of members; also what lies one level below them
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Tell only what happened from here
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Tell only what happened up to here
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Replay only this member: its name, or its id in hex
    #[arg(long, value_name = "MEMBER")]
    node: Option<String>,
    /// Why a slot was not committed at a time: SLOT@TIME; without a time, what became of it. A key stands for the slot that
    /// wrote it last up to then, if values were recorded
    #[arg(long, value_name = "SLOT|KEY[@TIME]")]
    why: Option<String>,
    /// How much to tell
    #[arg(long, value_enum, default_value_t = Telling::Outline)]
    detail: Telling,
    /// How to print it
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

/// `quorate replay`. Ends with code 1 if a recording is damaged, the replay is not the run that was recorded, or members had
/// different states behind one slot.
pub fn run(arguments: ReplayArguments) -> Result<ExitCode> {
    let Recordings { mut lives, mut problems, remarks } = read_recordings(&arguments.directories).map_err(usage)?;
    for remark in &remarks {
        eprintln!("quorate: {remark}");
    }
    if let Some(wanted) = &arguments.node {
        lives.retain(|life| is_called(life, wanted));
        if lives.is_empty() {
            return Err(usage(anyhow!("--node {wanted}: no recording is of a member of that name or id")));
        }
    }
    if lives.is_empty() {
        for problem in &problems {
            eprintln!("quorate: {problem}");
        }
        return Err(anyhow!("there is nothing that can be replayed"));
    }
    let begin = lives.iter().map(begin_of).min().unwrap_or_default();
    let time = |flag: &str, text: &Option<String>| {
        text.as_ref().map(|text| time_of(flag, text, begin).map_err(usage)).transpose()
    };
    let window = (
        time("--from", &arguments.from)?.unwrap_or(Time::ZERO),
        time("--to", &arguments.to)?.unwrap_or(Time(u64::MAX)),
    );
    if window.0 > window.1 {
        return Err(usage(anyhow!("--from is behind --to")));
    }
    let question = arguments.why.as_ref().map(|why| question_of(why, &lives, begin)).transpose()?;
    if question.is_none() {
        lives = lives.into_iter().map(|life| life.starting_before(window.0)).collect();
    }
    let mut incident = Incident::new(window, question);
    for life in &lives {
        incident.name(life.header().node, &life.header().name);
    }
    for life in &lives {
        let told = match protocol_of(life) {
            Ok(protocol) => protocol
                .on(Replay { life, incident: &mut incident, detail: arguments.detail })
                .map_err(|error| words_of(&error)),
            Err(unknown) => Err(format!("a recording is of another protocol than this program knows: {unknown}")),
        };
        problems.extend(told.err());
    }
    match arguments.output {
        OutputFormat::Json => println!("{:#}", json::incident(&incident, &problems)),
        OutputFormat::Text => print!("{}", incident.page()),
    }
    for problem in &problems {
        eprintln!("quorate: {problem}");
    }
    let sound = problems.is_empty() && incident.disagreements().is_empty();
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn begin_of(life: &Life) -> Time {
    Time(life.header().clock.wall_ns)
}

fn is_called(life: &Life, wanted: &str) -> bool {
    let header = life.header();
    header.name == wanted || NodeId::to_string(&header.node) == wanted || format!("{:x}", header.node.0) == wanted
}

fn time_of(flag: &str, text: &str, begin: Time) -> Result<Time> {
    wall::parse(text, begin).ok_or_else(|| no_time(flag, text))
}

fn no_time(flag: &str, text: &str) -> anyhow::Error {
    anyhow::anyhow!("{flag} {text}: a time such as 18:02:20.905, 2026-11-21T18:02:20Z or +12.5s is wanted")
}

/// `SLOT`, `KEY`, `SLOT@TIME` or `KEY@TIME`. What follows the last `@` is a time, or part of a key.
fn question_of(text: &str, lives: &[Life], begin: Time) -> Result<Question> {
    let (what, at) = match text.rsplit_once('@') {
        Some((what, time)) => match wall::parse(time, begin) {
            Some(at) => (what, Some(at)),
            None if what.parse::<u64>().is_ok() => return Err(usage(no_time("--why", time))),
            None => (text, None),
        },
        None => (text, None),
    };
    match what.parse::<u64>() {
        Ok(0) => Err(usage(anyhow!("--why 0: the first slot is 1"))),
        Ok(slot) => Ok(Question { slot: Slot(slot), at }),
        Err(_) => {
            if !lives.iter().any(|life| life.segments().iter().any(|named| named.segment.header.has_values)) {
                return Err(usage(anyhow!(
                    "--why {what}: keys are not in this recording (see `quorate serve --record-values`); ask for a slot"
                )));
            }
            let slot = keys::slot_of(what.as_bytes(), lives, at)
                .with_context(|| format!("no recorded command writes the key {what}"))?;
            Ok(Question { slot, at })
        }
    }
}

/// What a recording is of.
fn protocol_of(life: &Life) -> Result<Protocol, UnknownProtocol> {
    life.header().protocol.parse()
}

/// Runs one life again and tells it.
struct Replay<'a> {
    life: &'a Life,
    incident: &'a mut Incident,
    detail: Telling,
}

impl OnProtocol for Replay<'_> {
    type Output = Result<(), LifeError>;

    fn run<R: Served>(self) -> Result<(), LifeError> {
        let Replay { life, incident, detail } = self;
        let mut state = Gather::<R>::new(life, detail);
        let played = life.replay::<R>(|scene| gather(&mut state, incident, &scene));
        let end = match &played {
            Ok(_) => state.end_words(),
            Err(_) => "the replay stopped here".to_owned(),
        };
        state.end(incident, end, played.is_ok());
        played.map(|_| ())
    }
}

fn words_of(error: &LifeError) -> String {
    match error {
        LifeError::Diverged { program, .. } if program != PROGRAM => {
            format!("{error}; this is {PROGRAM}: replay it with the program that recorded it")
        }
        _ => error.to_string(),
    }
}
