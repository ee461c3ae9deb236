use quorate_explorer::*;
use quorate_raft::{Config, Raft, Timer};
use quorate_protocol::testbed::Testbed;
use quorate_types::*;
#[test]
fn probe() {
    let arg = |n: &str| std::env::var(n).ok().and_then(|v| v.parse::<u8>().ok()).unwrap_or(0);
    let mut b = Bounds { max_crashes: arg("CR"), max_duplicates: arg("DU"), max_states: 1_000_000, max_depth: if arg("DE")>0 {arg("DE") as u32} else {u32::MAX}, disks: if arg("IN")>0 {Disks::StallBeforeCrash} else {Disks::AnyDelay}, ..Bounds::default() };
    if arg("E1")>0 { b = b.with_timer_at(NodeId(1), Timer::Election, arg("E1")); }
    if arg("E2")>0 { b = b.with_timer_at(NodeId(2), Timer::Election, arg("E2")); }
    let mut e = Explorer::new(Testbed::<Raft>::new(arg("N").max(3) as u64, Config::default()).merging_equal_disks(), b).settled();
    for n in 0..arg("P") { e = e.propose(NodeId(1+n as u64), format!("v{n}")); }
    let start = std::time::Instant::now();
    let r = e.sometimes("leader", |c| c.ids().any(|id| c.node(id).replica().is_some_and(|r| r.is_leader()))).sometimes("decided", |c| c.chosen().len()>0)
      .sometimes("cmd", |c| c.chosen().values().any(|d| matches!(d, quorate_protocol::Decision::Commands(_)))).on_progress(50_000, |p| println!("{p:?}")).explore();
    println!("{r}\n{:?}", start.elapsed());
}
