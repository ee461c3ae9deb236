//! The program `api-suite`: all cases against the cluster at some endpoints.

use clap::{Parser, ValueEnum};
use quorate_api_suite::{Target, Verdict, cases, differences, run};
use std::process::ExitCode;

/// Checks that a cluster answers the etcd v3 API as etcd does.
#[derive(Parser)]
#[command(name = "api-suite")]
struct Arguments {
    /// All members' client addresses, comma-separated
    #[arg(long, value_delimiter = ',', required_unless_present_any = ["list", "differences"])]
    endpoints: Vec<String>,

    /// Only cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,

    /// How to tell the verdicts
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,

    /// Name all cases, without running them
    #[arg(long)]
    list: bool,

    /// Show the argued differences from etcd as a Markdown table, without running anything
    #[arg(long)]
    differences: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.differences {
        print!("{}", differences::as_markdown());
        return ExitCode::SUCCESS;
    }
    if arguments.list {
        for case in cases() {
            println!("{}{}", case.name(), if case.is_exclusive() { " (exclusive)" } else { "" });
        }
        return ExitCode::SUCCESS;
    }
    let target = match Target::connect(&arguments.endpoints).await {
        Ok(target) => target,
        Err(failure) => {
            eprintln!("api-suite: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let verdicts = run(&target, cases(), &arguments.only, |verdict| tell(verdict, arguments.output)).await;
    let failed = verdicts.iter().filter(|verdict| verdict.failure.is_some()).count();
    if arguments.output == Output::Text {
        println!("api-suite on {:?}: {} passed, {failed} failed", target.system(), verdicts.len() - failed);
    }
    if failed > 0 || verdicts.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn tell(verdict: &Verdict, output: Output) {
    match (output, &verdict.failure) {
        (Output::Json, _) => println!("{}", serde_json::to_string(verdict).expect("a verdict is plain data")),
        (Output::Text, None) => println!("ok      {} ({} ms)", verdict.name, verdict.milliseconds),
        (Output::Text, Some(failure)) => {
            println!("FAILED  {} ({} ms)\n  {failure}", verdict.name, verdict.milliseconds);
        }
    }
}
