//! The `quorate` program: a replicated store that etcd clients can use, and the tools to look inside it.

mod bench;
mod client;
mod endpoint;
mod exit;
mod inspect;
mod lab;
mod maelstrom;
mod recover;
mod replay;
mod serve;
mod snapshot;
mod torture;
mod up;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A replicated store that speaks etcd's API, and the consensus under it, in the open.
#[derive(Parser)]
#[command(name = "quorate", version, max_term_width = 110, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a whole cluster on this machine, one process a node, and stay until Ctrl-C
    Up(up::UpArguments),
    /// Run one node, as an operator would
    Serve(Box<serve::ServeArguments>),
    /// Write a key
    Put(client::PutArguments),
    /// Read a key or a range
    Get(client::GetArguments),
    /// Delete a key or a range
    Del(client::DelArguments),
    /// Show members, leader, revision and how far each node is
    Status(client::StatusArguments),
    /// List, add, promote, update, remove or replace members, or move leadership
    Member(client::MemberArguments),
    /// Make the data directory of a new cluster's member out of a saved snapshot
    Restore(Box<snapshot::RestoreArguments>),
    /// Look into a saved snapshot
    Snapshot(snapshot::SnapshotArguments),
    /// Look into the data directory of a member that does not run; changes nothing
    Inspect(inspect::InspectArguments),
    /// Run again what members recorded with `serve --record`, and tell what happened and why
    Replay(Box<replay::ReplayArguments>),
    /// Make a new cluster of what is left when a majority is gone for good; explains, and refuses by default
    Recover(Box<recover::RecoverArguments>),
    /// Put load on any etcd v3 endpoint and measure it
    Bench(Box<bench::BenchArguments>),
    /// Let single-decree Paxos agree on one value, and tell how
    Decide(lab::DecideArguments),
    /// Run the cluster on virtual time, disk and network, with faults, from a seed
    Sim(lab::SimArguments),
    /// Tell a simulated run, or a scenario file, in words
    Explain(lab::ExplainArguments),
    /// Search all schedules of a small cluster, within a bound
    Explore(lab::ExploreArguments),
    /// Run several protocols through one workload and one fault, and put their figures side by side
    Compare(Box<lab::CompareArguments>),
    /// Check a recorded history: is it linearizable, and if not, why
    Check(lab::CheckArguments),
    /// Torture real members of this program with faults on this machine, and judge everything clients saw
    Torture(torture::TortureArguments),
    /// Be a node for Jepsen's Maelstrom: JSON lines on standard input and output
    Maelstrom(maelstrom::MaelstromArguments),
}

/// A closed pipe (`quorate explain ... | head`) or a full disk behind standard output is no defect of this program: it ends
/// with a word instead of a backtrace.
fn end_quietly_without_output() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        let message = text.unwrap_or_default();
        if message.starts_with("failed printing to stdout") {
            if !message.contains("Broken pipe") {
                eprintln!("quorate: {message}");
            }
            std::process::exit(1);
        }
        usual(info);
    }));
}

fn main() -> ExitCode {
    end_quietly_without_output();
    // Wrong usage ends here, with code 2.
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Up(arguments) => up::run(arguments),
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Put(arguments) => client::put(arguments),
        Command::Get(arguments) => client::get(arguments),
        Command::Del(arguments) => client::del(arguments),
        Command::Status(arguments) => client::status(arguments),
        Command::Member(arguments) => client::member(arguments),
        Command::Restore(arguments) => snapshot::restore(*arguments),
        Command::Snapshot(arguments) => snapshot::snapshot(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Replay(arguments) => replay::run(*arguments),
        Command::Recover(arguments) => recover::run(*arguments),
        Command::Bench(arguments) => bench::run(*arguments),
        Command::Decide(arguments) => lab::decide(arguments),
        Command::Sim(arguments) => lab::sim(arguments),
        Command::Explain(arguments) => lab::explain(arguments),
        Command::Explore(arguments) => lab::explore(arguments),
        Command::Compare(arguments) => lab::compare(*arguments),
        Command::Check(arguments) => lab::check(arguments),
        Command::Torture(arguments) => torture::run(arguments),
        Command::Maelstrom(arguments) => maelstrom::run(arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quorate: {}", exit::in_words(&error));
            exit::code_of(&error)
        }
    }
}
