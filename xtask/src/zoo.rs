//! `cargo xtask zoo`: bugs that happened elsewhere are put back into our code, one at a time, and must be found.
//!
//! Every `zoo/*.patch` is a mutant with its story ([`mutant`]). It is applied to a copy of the tree ([`scratch`]), the runner
//! is built, and everything that hunts bugs is let loose on it ([`trial`]): random campaigns from several independent
//! starts, a scenario, the explorer. A mutant nobody finds is a hole in the checks. Controls are harmless
//! changes on which everything must stay silent.

mod mutant;
mod report;
mod scratch;
mod trial;

use anyhow::{Context, Result, bail};
use mutant::Mutant;
use report::Line;
use scratch::Scratch;
use std::path::Path;
use std::process::ExitCode;
use trial::Limits;

pub(crate) const USAGE: &str = "\
  zoo [--check] [--only ID,...] [--sample K] [--starts N] [--seeds N] [--core-seconds N] [--output text|json]
                  put historical bugs back, one by one, and look who finds them; --check: only whether the patches apply;
                  --sample K: K mutants that are found soon, others with every commit; --starts: independent campaigns of each (10);
                  --seeds: at most so many seeds in one, instead of what the patch says; --core-seconds: no further campaign against a
                  mutant begins when those before took as long (600)";

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    check: bool,
    only: Vec<String>,
    sample: Option<usize>,
    starts: Option<u64>,
    seeds: Option<u64>,
    core_seconds: Option<u64>,
    json: bool,
}

/// Independent campaigns against each mutant, unless said otherwise.
const USUAL_STARTS: u64 = 10;
/// No further campaign against a mutant begins when those before took as long, unless said otherwise.
const USUAL_CORE_SECONDS: u64 = 600;

/// The chore. Exit code 0 if every mutant was found and every control left alone, 1 if not.
///
/// # Errors
/// When a story cannot be read, a patch does not apply, or the runner refuses what it is asked.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<ExitCode> {
    let Some(options) = Options::parse(arguments) else {
        eprintln!("usage: cargo xtask\n{USAGE}");
        return Ok(ExitCode::from(2));
    };
    let all = mutant::read_all(root)?;
    let chosen = choose(&all, &options, root)?;
    let stale: Vec<String> = all.iter().filter_map(|mutant| scratch::check(root, mutant).err()).collect();
    if !stale.is_empty() {
        bail!("{} of {} patches do not apply to this tree:\n{}", stale.len(), all.len(), stale.join("\n"));
    }
    if options.check {
        println!("zoo: all {} patches apply", all.len());
        return Ok(ExitCode::SUCCESS);
    }
    let scratch = Scratch::prepare(root)?;
    let mut lines = Vec::new();
    for mutant in chosen {
        let line = examine(&scratch, mutant, &options)?;
        if options.json {
            eprintln!("{}", line.text());
        } else {
            println!("{}", line.text());
        }
        lines.push(line);
    }
    scratch.restore()?;
    if options.json {
        println!("{}", report::json(&lines));
    } else {
        print!("{}", report::summary(&lines));
    }
    Ok(if lines.iter().all(Line::is_as_it_should_be) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn examine(scratch: &Scratch, mutant: &Mutant, options: &Options) -> Result<Line> {
    let name = &mutant.name;
    let runner = match scratch.build(mutant) {
        Ok(runner) => runner,
        Err(error) => return Ok(Line::unbuilt(mutant, format!("{error:#}"))),
    };
    let limits = Limits {
        starts: options.starts.unwrap_or(if options.sample.is_some() { 1 } else { USUAL_STARTS }),
        seeds: options.seeds.unwrap_or(mutant.budget),
        core_seconds: options.core_seconds.unwrap_or(USUAL_CORE_SECONDS),
    };
    let findings = trial::run(&runner, mutant, &limits).with_context(|| format!("{name}: the trial failed"))?;
    Ok(Line::new(mutant, findings))
}

/// Those asked for; of a sample, some that are found soon and one control.
fn choose<'a>(all: &'a [Mutant], options: &Options, root: &Path) -> Result<Vec<&'a Mutant>> {
    if let Some(unknown) = options.only.iter().find(|id| !all.iter().any(|mutant| mutant.answers_to(id))) {
        bail!("there is no mutant `{unknown}` in zoo/");
    }
    let wanted = |mutant: &&Mutant| options.only.is_empty() || options.only.iter().any(|id| mutant.answers_to(id));
    let chosen: Vec<&Mutant> = all.iter().filter(wanted).collect();
    let Some(count) = options.sample else { return Ok(chosen) };
    let quick: Vec<&Mutant> = chosen.into_iter().filter(|mutant| mutant.is_quick()).collect();
    let begin = scratch::commit_number(root) % quick.len().max(1);
    let mut sample: Vec<&Mutant> = quick.iter().cycle().skip(begin).take(count.min(quick.len())).copied().collect();
    sample.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(sample)
}

impl Options {
    fn parse(arguments: &[String]) -> Option<Options> {
        let mut options = Options::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--check" => options.check = true,
                "--only" => options.only = rest.next()?.split(',').map(str::to_owned).collect(),
                "--sample" => options.sample = Some(rest.next()?.parse().ok()?),
                "--starts" => options.starts = Some(rest.next()?.parse().ok().filter(|starts| *starts > 0)?),
                "--core-seconds" => options.core_seconds = Some(rest.next()?.parse().ok()?),
                "--seeds" => options.seeds = Some(rest.next()?.parse().ok()?),
                "--output" => {
                    options.json = match rest.next()?.as_str() {
                        "json" => true,
                        "text" => false,
                        _ => return None,
                    };
                }
                _ => return None,
            }
        }
        Some(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Options> {
        Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_option_is_understood_and_nothing_else() {
        let expected = Options {
            only: vec!["RE1".to_owned(), "RR2".to_owned()],
            starts: Some(3),
            seeds: Some(70),
            core_seconds: Some(9),
            json: true,
            ..Options::default()
        };
        assert_eq!(parse("--only RE1,RR2 --starts 3 --seeds 70 --core-seconds 9 --output json"), Some(expected));
        assert_eq!(parse("--check"), Some(Options { check: true, ..Options::default() }));
        for nonsense in ["--only", "--starts 0", "--seeds many", "--output xml", "RE1"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn the_zoo_of_this_repository_is_legible_and_its_names_are_unique() {
        let root = crate::root().unwrap();
        let all = mutant::read_all(&root).unwrap();
        assert!(all.len() >= 15, "{} mutants", all.len());
        assert!(all.iter().any(|mutant| mutant.is_control), "there is no control");
        for mutant in &all {
            assert_eq!(all.iter().filter(|other| other.id == mutant.id).count(), 1, "{} is there twice", mutant.id);
        }
    }
}
