//! What a search costs: `measure raft 3 crashes=1 duplicates=1 election=2 proposals=1 states=10000000 threads=2`; with
//! `led=1` node 1 leads already, `transfer=1` asks it to hand over to node 2, `leave=1` to let the last node leave.

use quorate_explorer::{Bounds, Disks, Explorable, Explorer, targets};
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Input, Replica, RequestId};
use quorate_raft::{Raft, Timer};
use quorate_types::{Membership, NodeId};
use std::time::{Duration, Instant};

const VALUES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let setting = |name: &str, usual: u64| {
        let given = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        given.map_or(usual, |text| text.parse().unwrap_or_else(|why| panic!("{name}={text}: {why}")))
    };
    let nodes: u64 = words.get(1).map_or(3, |text| text.parse().expect("a number of nodes"));
    let members = Membership::of_voters(nodes);
    let proposals: Vec<(NodeId, &'static str)> = (1..=setting("proposals", 1)).map(NodeId).zip(VALUES).collect();
    match words.first().map(String::as_str) {
        Some("raft") => {
            let led = setting("led", 0) > 0;
            let cluster = raft_cluster(members.clone(), led);
            let mut explorer = targets::raft_from(cluster, &proposals, bounds(&setting));
            if setting("transfer", 0) > 0 {
                explorer = explorer.wish(NodeId(1), Input::Transfer { request: RequestId(1_000), to: NodeId(2) });
            }
            if setting("leave", 0) > 0 {
                let rest = Membership::new(members.members().iter().filter(|member| member.id.0 < nodes).cloned());
                let wish = Input::Reconfigure { request: RequestId(1_001), based_on: members, members: rest };
                explorer = explorer.wish(NodeId(1), wish);
            }
            measure(targets::with_raft_marks(explorer));
        }
        Some("paxos") => {
            let bounds = bounds(&setting);
            measure(targets::paxos(members, quorate_paxos::Config::default(), &proposals, bounds));
        }
        _ => panic!("raft or paxos is wanted"),
    }
}

/// Fresh, or with node 1 leading and nobody sticking to it any more.
fn raft_cluster(members: Membership, led: bool) -> Testbed<Raft> {
    let mut cluster = Testbed::with_members(members, quorate_raft::Config::default()).merging_equal_disks();
    if led {
        cluster.run(1_000, |_| true);
        cluster.expire(NodeId(1), Timer::Election);
        cluster.run(1_000, |_| true);
        for id in cluster.ids().skip(1).collect::<Vec<_>>() {
            cluster.expire(id, Timer::Stickiness);
        }
    }
    cluster
}

fn bounds<R: Replica>(setting: &dyn Fn(&str, u64) -> u64) -> Bounds<R> {
    let small = |name, usual| u8::try_from(setting(name, usual)).unwrap_or(u8::MAX);
    let bounds = Bounds {
        max_crashes: small("crashes", 0),
        max_duplicates: small("duplicates", 0),
        max_depth: u32::try_from(setting("depth", u64::from(u32::MAX))).unwrap_or(u32::MAX),
        max_states: setting("states", 10_000_000) as usize,
        threads: setting("threads", 1) as usize,
        disks: if setting("late-writes", 0) > 0 { Disks::AnyDelay } else { Disks::StallBeforeCrash },
        ..Bounds::default()
    };
    R::TIMERS.iter().fold(bounds, |bounds, (name, timer)| match small(name, 0) {
        0 => bounds,
        most => bounds.with_timer(*timer, most),
    })
}

fn measure<R: Explorable>(explorer: Explorer<R>) {
    let start = (Instant::now(), cpu_time());
    let report = explorer
        .on_progress(1_000_000, move |progress| {
            eprintln!("{progress:?} after {:?}, {:?} of CPU", start.0.elapsed(), cpu_time() - start.1);
        })
        .explore();
    let (wall, cpu) = (start.0.elapsed(), cpu_time() - start.1);
    println!("{report}\n{:?}", report.size);
    let states = report.unique_states as f64;
    let bytes = report.size.fingerprint_bytes + report.size.link_bytes + report.size.waiting_bytes_most;
    println!(
        "{wall:?}, {cpu:?} of CPU: {:.0} states and {:.0} actions a second of CPU; {:.0} bytes a state besides {} MB of parts",
        states / cpu.as_secs_f64(),
        report.transitions as f64 / cpu.as_secs_f64(),
        bytes as f64 / states,
        resident_bytes().saturating_sub(bytes) >> 20,
    );
}

/// Of this process so far.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}

/// At its most.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kB") << 10
}
