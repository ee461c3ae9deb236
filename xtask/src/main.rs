//! The project's chores: `cargo xtask tidy | ci | bless | zoo`.

mod repository;
mod rules;
mod rust_source;
mod zoo;

use anyhow::{Context, Result, bail};
use repository::Repository;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: cargo xtask <chore>

  tidy            check the house rules; one line per finding, exit code 1 if there are any
  ci              run everything that continuous integration runs (.ci/run)
  bless [args]    rewrite the golden files: cargo test --workspace [args] with BLESS=1";

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let root = root()?;
    match arguments.split_first().map(|(chore, rest)| (chore.as_str(), rest)) {
        Some(("tidy", [])) => tidy(&root),
        Some(("ci", [])) => run(Command::new("bash").arg(".ci/run").current_dir(&root)),
        Some(("bless", rest)) => {
            let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            run(Command::new(cargo).args(["test", "--workspace"]).args(rest).env("BLESS", "1").current_dir(&root))
        }
        Some(("zoo", rest)) => zoo::run(&root, rest),
        _ => {
            eprintln!("{USAGE}\n{}", zoo::USAGE);
            Ok(ExitCode::from(2))
        }
    }
}

fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask lies in the repository")?.to_owned())
}

fn tidy(root: &Path) -> Result<ExitCode> {
    let repository = Repository::read(root)?;
    let findings = rules::check(&repository);
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} files checked, {} findings", repository.files().len(), findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a command and hands on its exit code.
fn run(command: &mut Command) -> Result<ExitCode> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    match status.code() {
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        None => bail!("{command:?} was killed: {status}"),
    }
}
