//! `quorate up`: a whole cluster on this machine, one process a node.

mod children;
mod directory;
mod last_words;
mod report;

use crate::exit::{WRONG_USAGE, usage};
use crate::serve::protocol_of;
use crate::up::children::{Child, Event, Fleet};
use crate::up::directory::{ClusterFile, Made, prepare, remember};
use crate::up::report::GaveUp;
use anyhow::{Result, bail};
use clap::Args;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `quorate up`.
#[derive(Args)]
pub struct UpArguments {
    /// How many nodes: 1, 3 or 5 [default: 3, or what the data directory holds]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(["1", "3", "5"]))]
    nodes: Option<String>,
    /// Where the nodes keep their data
    #[arg(long, value_name = "DIR", default_value = "quorate-data")]
    data_dir: PathBuf,
    /// What replicates the store: raft, multi-paxos, viewstamped or zab [default: raft, or what the data directory holds]
    #[arg(long)]
    protocol: Option<String>,
    /// Client port of the first node; the others follow 20000, 30000, ... above [default: 2379], or, for other ports, 10 apart
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    client_port: Option<u16>,
    /// Delete what is in the data directory first; asks
    #[arg(long)]
    fresh: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// After `--`: settings of `quorate serve` for every node, such as --lease-reads
    #[arg(last = true, value_name = "SETTINGS")]
    settings: Vec<String>,
}

/// One node as `up` lays it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// `node1`, ...
    pub name: String,
    /// Clients.
    pub client_port: u16,
    /// Members.
    pub peer_port: u16,
}

/// `quorate up`.
pub fn run(arguments: UpArguments) -> Result<ExitCode> {
    let protocol = arguments.protocol.as_deref().map(|name| protocol_of(Some(name))).transpose().map_err(usage)?;
    let wanted = ClusterFile::wanted(arguments.nodes.as_deref(), arguments.client_port, protocol);
    let cluster = prepare(&arguments.data_dir, &wanted, arguments.fresh, arguments.yes)?;
    let plans = layout(cluster.nodes, cluster.client_port).map_err(usage)?;
    refuse_taken_ports(&plans)?;
    let made = remember(&arguments.data_dir, &cluster)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let settings = [format!("--protocol={}", cluster.protocol)].into_iter().chain(arguments.settings).collect();
    let mut fleet = Fleet::new(arguments.data_dir, plans, settings);
    match runtime.block_on(supervise(&mut fleet))? {
        Ended::Asked => Ok(ExitCode::SUCCESS),
        Ended::NoneLeft => Ok(ExitCode::FAILURE),
        Ended::Refused => {
            if made.is_new() {
                take_back(&fleet, &made);
            }
            Ok(ExitCode::from(WRONG_USAGE))
        }
    }
}

/// How the cluster came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// By Ctrl-C.
    Asked,
    /// Every node gave up.
    NoneLeft,
    /// Every node refused its settings, and none did anything.
    Refused,
}

/// A cluster that never began would be what the next `up` finds and goes on with, whatever it is asked for.
fn take_back(fleet: &Fleet, made: &Made) {
    match fleet.forget_logs().and_then(|()| made.take_back()) {
        Ok(()) => eprintln!("what was made for this start is removed again"),
        Err(why) => eprintln!("what was made for this start is left: {why:#}"),
    }
}

/// Ports 2379, 22379, 32379, ... as everybody expects them; for another first port, 10 apart.
fn layout(nodes: u16, first: u16) -> Result<Vec<NodePlan>> {
    (0..nodes)
        .map(|index| {
            let offset = match (first, index) {
                (_, 0) => 0,
                (2379, _) => (index + 1) * 10_000,
                _ => index * 10,
            };
            let Some(peer_port) = first.checked_add(offset).and_then(|port| port.checked_add(1)) else {
                bail!("--client-port {first} leaves no room for {nodes} nodes below port 65536");
            };
            Ok(NodePlan { name: format!("node{}", index + 1), client_port: peer_port - 1, peer_port })
        })
        .collect()
}

fn refuse_taken_ports(plans: &[NodePlan]) -> Result<()> {
    for plan in plans {
        for (port, whose) in [(plan.client_port, "client"), (plan.peer_port, "peer")] {
            if let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
                bail!(
                    "port {port}, the {whose} port of {}, cannot be used ({error}); choose others with --client-port",
                    plan.name
                );
            }
        }
    }
    Ok(())
}

async fn supervise(fleet: &mut Fleet) -> Result<Ended> {
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    fleet.start_all()?;
    let endpoints = fleet.endpoints();
    let announced = tokio::spawn(report::announce(endpoints, fleet.log_hint()));
    let mut gave_up = GaveUp::default();
    let ended = loop {
        tokio::select! {
            _ = interrupt.recv() => break Ended::Asked,
            _ = terminate.recv() => break Ended::Asked,
            event = fleet.next_event() => match event {
                Event::Killed { child, how } => {
                    eprintln!("{} was {how}; starting it again", child.name());
                    gave_up.note_run();
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    fleet.start(&child)?;
                }
                Event::GaveUp { child, last_words, refused_settings } => {
                    if !refused_settings {
                        gave_up.note_run();
                    }
                    eprintln!("{}", gave_up.words(child.name(), last_words));
                    if fleet.running() == 0 {
                        eprintln!("no node is left");
                        break if gave_up.somebody_ran() { Ended::NoneLeft } else { Ended::Refused };
                    }
                }
            },
        }
    };
    announced.abort();
    if fleet.running() > 0 {
        println!("stopping {} nodes", fleet.running());
    }
    fleet.stop_all().await;
    Ok(ended)
}

impl Child {
    /// For messages.
    fn name(&self) -> &str {
        &self.plan().name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_the_usual_ones_or_ten_apart() {
        let ports =
            |nodes, first| layout(nodes, first).unwrap().iter().map(|plan| plan.client_port).collect::<Vec<_>>();
        assert_eq!(ports(3, 2379), [2379, 22379, 32379]);
        assert_eq!(ports(5, 2379), [2379, 22379, 32379, 42379, 52379]);
        assert_eq!(ports(3, 4000), [4000, 4010, 4020]);
        assert!(layout(5, 65500).is_err());
    }
}
