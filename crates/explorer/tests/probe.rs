use quorate_explorer::{Bounds, Explorer};
use quorate_paxos::{Config, Paxos, Timer};
use quorate_protocol::testbed::Testbed;
use quorate_types::NodeId;
#[test]
fn probe() {
    let arg = |n: &str| std::env::var(n).ok().and_then(|v| v.parse::<u8>().ok()).unwrap_or(0);
    let cluster: Testbed<Paxos> = Testbed::new(3, Config::default()).merging_equal_disks();
    let mut bounds = Bounds {
        max_crashes: arg("CR"),
        max_duplicates: arg("DU"),
        max_states: 3_000_000,
        disks: if arg("IN") > 0 { quorate_explorer::Disks::StallBeforeCrash } else { quorate_explorer::Disks::AnyDelay },
        ..Bounds::default()
    };
    if arg("RE") > 0 {
        bounds = bounds.with_timer(Timer::Retry, arg("RE"));
    }
    let mut e = Explorer::new(cluster, bounds).settled().propose(NodeId(1), "x");
    if arg("P2") > 0 {
        e = e.propose(NodeId(2), "y");
    }
    if arg("FO") > 0 {
        e = e.forgetting(|c, f| {
            let knows = |id| c.node(id).decided().len() == 1;
            let p = c.replica(f.to);
            match &f.message {
                quorate_paxos::Message::Chosen { .. } | quorate_paxos::Message::Accepted { .. } => knows(f.to),
                quorate_paxos::Message::Prepare { .. } | quorate_paxos::Message::Accept { .. } => {
                    knows(f.to) && knows(f.from)
                }
                quorate_paxos::Message::Promise { ballot, accepted } => {
                    knows(f.to)
                        || (p.last_round() > ballot.round
                            && accepted.as_ref().is_none_or(|a| a.ballot.round <= p.last_round()))
                }
                quorate_paxos::Message::Nack { ballot, promised } => {
                    knows(f.to) || (p.last_round() > ballot.round && p.last_round() >= promised.round)
                }
            }
        });
    }
    let start = std::time::Instant::now();
    let r = e.sometimes("decided", |c| !c.chosen().is_empty()).on_progress(100_000, |p| println!("{p:?}")).explore();
    println!("{r}\n{:?}", start.elapsed());
}
