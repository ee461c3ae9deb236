//! With instant nodes and disks every protocol lands exactly on what arithmetic predicts.

use quorate_compare::{
    Costs, Fault, Kind, Matrix, Pace, Percentiles, Phase, ProtocolName, Setting, Summary, Workload, commit_latency,
};
use std::time::Duration;

fn cloud() -> Matrix {
    Matrix::shipped("public-cloud-2020").expect("it is shipped")
}

fn led_from(matrix: Matrix, leader: &str) -> Setting {
    let leader = matrix.site(leader).expect("the matrix has the site");
    Setting { matrix, leader, costs: Costs::default(), seed: 1 }
}

/// How long one write takes for a client at each site, in tenths of a millisecond, and not a nanosecond more or less.
fn row(protocol: ProtocolName, setting: &Setting) -> Vec<u128> {
    let writes = protocol.alone(setting).expect("the run ends");
    let latencies: Vec<u128> = writes.iter().map(|write| write.latency.as_nanos()).collect();
    assert!(latencies.iter().all(|nanos| nanos % 100_000 == 0), "{}: {latencies:?} ns", protocol.name());
    latencies.into_iter().map(|nanos| nanos / 100_000).collect()
}

#[test]
fn three_sites_led_from_california() {
    let setting = led_from(cloud().only(&["CA", "VA", "EU"]).unwrap(), "CA");
    for protocol in ProtocolName::ALL {
        assert_eq!(row(protocol, &setting), [599, 1198, 2010], "{}", protocol.name());
    }
}

#[test]
fn five_sites_led_from_california() {
    let setting = led_from(cloud(), "CA");
    for protocol in ProtocolName::ALL {
        assert_eq!(row(protocol, &setting), [599, 1198, 2010, 810, 1716], "{}", protocol.name());
    }
}

#[test]
fn the_leader_stands_at_any_site() {
    for leader in ["VA", "EU", "OR", "JP"] {
        let setting = led_from(cloud(), leader);
        let expected: Vec<u128> = setting
            .matrix
            .sites()
            .filter_map(|site| commit_latency(&setting.matrix, setting.leader, site, &[]))
            .map(|latency| latency.as_nanos() / 100_000)
            .collect();
        assert_eq!(expected.len(), 5);
        for protocol in ProtocolName::ALL {
            assert_eq!(row(protocol, &setting), expected, "{} led from {leader}", protocol.name());
        }
    }
}

/// Three messages with every other node: what is proposed, that it is there, that it is decided (in Zab always, elsewhere where no next batch
/// carries the news); one more to the leader from elsewhere. Everybody flushes once.
#[test]
fn a_write_costs_three_messages_with_every_other_node_and_a_flush_at_each() {
    for sites in [&["CA", "VA", "EU"][..], &["CA", "VA", "EU", "OR", "JP"][..]] {
        let setting = led_from(cloud().only(sites).unwrap(), "CA");
        let others = sites.len() as u64 - 1;
        for protocol in ProtocolName::ALL {
            for write in protocol.alone(&setting).expect("the run ends") {
                let forwarded = u64::from(write.site != setting.leader);
                let which = format!("{} at {}", protocol.name(), setting.matrix.name(write.site));
                assert_eq!((write.messages, write.flushes), (3 * others + forwarded, others + 1), "{which}");
            }
        }
    }
}

/// Four sites of which the leader's nearest are not the others' nearest, and no site lies between two others.
#[test]
fn four_sites_in_another_shape() {
    let table = "# source: made up\n# date: never\nfrom,to,round_trip_ms\n\
        A,B,10\nA,C,30\nA,D,200\nB,C,90\nB,D,40\nC,D,6";
    let setting = led_from(Matrix::parse(table).unwrap(), "D");
    for protocol in ProtocolName::ALL {
        // D has its majority with C and B, 40 ms away.
        assert_eq!(row(protocol, &setting), [2400, 800, 460, 400], "{}", protocol.name());
    }
}

/// Calls beside each other do not add a nanosecond, and neither do the timers that run: as long as fewer batches are undecided than
/// a node proposes before it lets commands gather.
#[test]
fn a_busy_cluster_is_as_exact_as_an_idle_one() {
    let setting = led_from(cloud(), "CA");
    let workload = Workload {
        clients_per_site: 8,
        pace: Some(Pace::Open { every: Duration::from_millis(100) }),
        commands: 20,
        read_percent: 25,
        ..Workload::default()
    };
    for protocol in ProtocolName::ALL {
        let run = protocol.run(&setting, &workload, Fault::None).unwrap();
        let summary = Summary::of(&run);
        assert_eq!((summary.refused, summary.unknown), (0, 0));
        for site in setting.matrix.sites() {
            let expected = commit_latency(&setting.matrix, setting.leader, site, &[]).unwrap();
            let of = |kind| summary.latency(site, Phase::Calm, kind).unwrap();
            let which = format!("{} at {}", protocol.name(), setting.matrix.name(site));
            let writes: Percentiles = of(Kind::Write);
            assert_eq!((writes.least, writes.most), (expected, expected), "{which}: {} writes", writes.count);
            let reads: Percentiles = of(Kind::Read);
            assert_eq!((reads.least, reads.most), (expected, expected), "{which}: {} reads", reads.count);
        }
    }
}

/// With the two nearest gone the next two are waited for: the arithmetic of a fault.
#[test]
fn without_its_nearest_peers_a_leader_waits_for_the_next() {
    let setting = led_from(cloud(), "CA");
    let away = Fault::MinorityDies.away(&setting.matrix, setting.leader);
    let workload = Workload { clients_per_site: 1, commands: 20, ..Workload::default() };
    for protocol in ProtocolName::ALL {
        let summary = Summary::of(&protocol.run(&setting, &workload, Fault::MinorityDies).unwrap());
        for site in setting.matrix.sites() {
            let Some(expected) = commit_latency(&setting.matrix, setting.leader, site, &away) else { continue };
            let latencies = summary.latency(site, Phase::Fault, Kind::Write).unwrap();
            let which = format!("{} at {}", protocol.name(), setting.matrix.name(site));
            assert_eq!(latencies.p50, expected, "{which}");
        }
        assert_eq!(summary.leader_changes, 0, "{}", protocol.name());
    }
}
