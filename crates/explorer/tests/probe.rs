use quorate_explorer::{Bounds, Explorer};
use quorate_paxos::{Config, Paxos, Timer};
use quorate_protocol::testbed::Testbed;
use quorate_types::NodeId;
#[test]
fn probe() {
    let arg = |n: &str| std::env::var(n).ok().and_then(|v| v.parse::<u8>().ok()).unwrap_or(0);
    let cluster: Testbed<Paxos> = Testbed::new(3, Config::default());
    let mut bounds = Bounds { max_crashes: arg("CR"), max_duplicates: arg("DU"), max_states: 3_000_000, instant_disks: arg("IN")>0, ..Bounds::default() };
    if arg("RE")>0 { bounds = bounds.with_timer(Timer::Retry, arg("RE")); }
    let mut e = Explorer::new(cluster, bounds).settled().propose(NodeId(1), "x");
    if arg("P2")>0 { e = e.propose(NodeId(2), "y"); }
    let start = std::time::Instant::now();
    let r = e.sometimes("decided", |c| !c.chosen().is_empty()).on_progress(100_000, |p| println!("{p:?}")).explore();
    println!("{r}\n{:?}", start.elapsed());
}
