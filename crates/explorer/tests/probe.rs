use quorate_explorer::{Bounds, Disks, targets};
use quorate_paxos::{Config, Timer};
use quorate_types::*;
#[test]
fn probe() {
    let arg = |n: &str| std::env::var(n).ok().and_then(|v| v.parse::<u8>().ok()).unwrap_or(0);
    let mut bounds = Bounds {
        max_crashes: arg("CR"),
        max_duplicates: arg("DU"),
        max_states: 3_000_000,
        disks: if arg("IN") > 0 { Disks::StallBeforeCrash } else { Disks::AnyDelay },
        ..Bounds::default()
    };
    if arg("RE") > 0 {
        bounds = bounds.with_timer_at(NodeId(1), Timer::Retry, arg("RE"));
    }
    let e = targets::paxos(
        Membership::of_voters(3),
        Config::default(),
        &[(NodeId(1), "x"), (NodeId(2), "y")][..1 + arg("P2") as usize],
        bounds,
    );
    let start = std::time::Instant::now();
    let r = e.explore();
    println!("{r}\n{:?}", start.elapsed());
}
