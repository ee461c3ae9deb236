//! A comparison as tables, and as JSON.

use super::Comparison;
use quorate_compare::{Fault, Kind, Percentiles, Setting, Summary, commit_latency};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// Milliseconds with all the digits that matter, and no others.
fn millis(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (whole, fraction) = (nanos / 1_000_000, nanos % 1_000_000);
    let decimals = match fraction {
        fraction if fraction % 100_000 == 0 => format!("{}", fraction / 100_000),
        fraction => format!("{:03}", fraction / 1_000),
    };
    format!("{whole}.{decimals}")
}

fn thousandths(count: u64) -> String {
    format!("{}.{:02}", count / 1_000, count % 1_000 / 10)
}

fn expected(setting: &Setting) -> Option<Vec<Duration>> {
    let Setting { matrix, leader, .. } = setting;
    let latencies = || matrix.sites().map(|site| commit_latency(matrix, *leader, site, &[])).collect();
    if setting.is_exact() { latencies() } else { None }
}

/// For people.
pub fn text(comparison: &Comparison) -> String {
    let mut out = String::new();
    let setting = &comparison.setting;
    let _ = writeln!(
        out,
        "{} sites, round trips of {} ({}), leader at {}, patience {} ms, seed {}",
        setting.matrix.count(),
        setting.matrix.date(),
        setting.matrix.source(),
        setting.matrix.name(setting.leader),
        setting.patience().as_millis(),
        setting.seed
    );
    write_alone(&mut out, comparison);
    let mut faults: Vec<Fault> = Vec::new();
    for summary in &comparison.summaries {
        if !faults.contains(&summary.fault) {
            faults.push(summary.fault);
        }
    }
    for fault in &faults {
        let of_it = || comparison.summaries.iter().filter(|summary| summary.fault == *fault);
        write_latencies(&mut out, setting, *fault, of_it());
    }
    write_faults(&mut out, &comparison.summaries);
    out
}

fn write_alone(out: &mut String, comparison: &Comparison) {
    let setting = &comparison.setting;
    let _ = write!(out, "\none write in an idle cluster: ms for a client at\n{:14}", "");
    for site in setting.matrix.sites() {
        let _ = write!(out, "{:>10}", setting.matrix.name(site));
    }
    let _ = writeln!(out, "   messages, bytes, flushes: at the leader, elsewhere");
    let row = |out: &mut String, name: &str, latencies: &mut dyn Iterator<Item = Duration>| {
        let _ = write!(out, "{name:14}");
        for latency in latencies {
            let _ = write!(out, "{:>10}", millis(latency));
        }
    };
    if let Some(expected) = expected(setting) {
        row(out, "arithmetic", &mut expected.into_iter());
        out.push('\n');
    }
    for (protocol, writes) in &comparison.alone {
        row(out, protocol, &mut writes.iter().map(|write| write.latency));
        let leader = writes.iter().find(|write| write.site == setting.leader);
        let other = writes.iter().find(|write| write.site != setting.leader);
        let costs: Vec<String> = leader
            .into_iter()
            .chain(other)
            .map(|write| format!("{} {} {}", write.messages, write.bytes, write.flushes))
            .collect();
        let _ = writeln!(out, "   {}", costs.join(", "));
    }
    if !comparison.is_as_expected() {
        out.push_str("NOT what arithmetic says: a protocol waits for something it need not, or answers too early\n");
    }
}

/// One line for each protocol and site.
fn write_latencies<'a>(
    out: &mut String,
    setting: &Setting,
    fault: Fault,
    summaries: impl Iterator<Item = &'a Summary>,
) {
    let _ = writeln!(
        out,
        "\n{}\n{:14}{:18}{:10}{:>7}{:>10}{:>10}{:>10}{:>10}",
        if fault == Fault::None {
            "nothing goes wrong: latency (ms)".to_owned()
        } else {
            format!("{}: latency (ms)", fault.name())
        },
        "",
        "site",
        "phase",
        "calls",
        "p50",
        "p90",
        "p99",
        "max"
    );
    for summary in summaries {
        for (site, phase, kind, Percentiles { count, p50, p90, p99, most, .. }) in &summary.latencies {
            let what = if *kind == Kind::Read { " reads" } else { "" };
            let site = format!("{}{what}", setting.matrix.name(*site));
            let [p50, p90, p99, most] = [p50, p90, p99, most].map(|latency| millis(*latency));
            let _ = writeln!(
                out,
                "{:14}{site:18}{:10}{count:>7}{p50:>10}{p90:>10}{p99:>10}{most:>10}",
                summary.protocol,
                phase.name()
            );
        }
    }
}

fn write_faults(out: &mut String, summaries: &[Summary]) {
    let _ = writeln!(
        out,
        "\n{:16}{:14}{:>8}{:>9}{:>9}{:>12}{:>12}{:>9}{:>10}{:>9}",
        "fault", "", "done", "refused", "unknown", "no write ms", "new lead ms", "messages", "bytes", "flushes"
    );
    for summary in summaries {
        let _ = writeln!(
            out,
            "{:16}{:14}{:>8}{:>9}{:>9}{:>12}{:>12}{:>9}{:>10}{:>9}",
            summary.fault.name(),
            summary.protocol,
            summary.done,
            summary.refused,
            summary.unknown,
            summary.gap.length.as_millis(),
            summary.new_leader_after.map_or("-".to_owned(), |after| after.as_millis().to_string()),
            thousandths(summary.messages_per_thousand),
            summary.bytes_per_thousand / 1_000,
            thousandths(summary.flushes_per_thousand)
        );
    }
    out.push_str(
        "no write: the longest time without a successful write anywhere, from the fault on; new lead: until another site led;\n\
         messages, bytes, flushes: of all nodes, for each call that succeeded, heartbeats included\n",
    );
}

/// For scripts: every time in nanoseconds.
pub fn json(comparison: &Comparison) -> Value {
    let setting = &comparison.setting;
    let name = |site| setting.matrix.name(site);
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let alone = comparison.alone.iter().map(|(protocol, writes)| {
        let writes = writes.iter().map(|write| {
            json!({ "site": name(write.site), "latency_ns": nanos(write.latency), "messages": write.messages,
                "bytes": write.bytes, "flushes": write.flushes })
        });
        json!({ "protocol": protocol, "writes": writes.collect::<Vec<_>>() })
    });
    let summaries = comparison.summaries.iter().map(|summary| summary_json(setting, summary));
    let arithmetic = expected(setting).map(|latencies| latencies.into_iter().map(nanos).collect::<Vec<_>>());
    json!({
        "sites": setting.matrix.sites().map(name).collect::<Vec<_>>(), "source": setting.matrix.source(),
        "date": setting.matrix.date(), "leader": name(setting.leader), "seed": setting.seed,
        "patience_ns": nanos(setting.patience()), "flush_ns": nanos(setting.costs.flush),
        "processing_ns": nanos(setting.costs.processing), "clients_per_site": comparison.workload.clients_per_site,
        "commands_per_client": comparison.workload.commands, "arithmetic_ns": arithmetic,
        "is_as_expected": comparison.is_as_expected(),
        "alone": alone.collect::<Vec<_>>(), "runs": summaries.collect::<Vec<_>>(),
    })
}

fn summary_json(setting: &Setting, summary: &Summary) -> Value {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let latencies = summary.latencies.iter().map(|(site, phase, kind, percentiles)| {
        json!({
            "site": setting.matrix.name(*site), "phase": phase.name(),
            "kind": match kind { Kind::Write => "write", Kind::Read => "read" }, "count": percentiles.count,
            "least_ns": nanos(percentiles.least), "p50_ns": nanos(percentiles.p50), "p90_ns": nanos(percentiles.p90),
            "p99_ns": nanos(percentiles.p99), "most_ns": nanos(percentiles.most),
        })
    });
    json!({
        "protocol": summary.protocol, "fault": summary.fault.name(),
        "done": summary.done, "refused": summary.refused, "unknown": summary.unknown,
        "gap_from_ns": nanos(summary.gap.from), "gap_ns": nanos(summary.gap.length),
        "new_leader_after_ns": summary.new_leader_after.map(nanos), "leader_changes": summary.leader_changes,
        "messages_per_thousand": summary.messages_per_thousand, "bytes_per_thousand": summary.bytes_per_thousand,
        "flushes_per_thousand": summary.flushes_per_thousand, "latencies": latencies.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exact_is_shown_without_noise() {
        assert_eq!(millis(Duration::from_micros(59_900)), "59.9");
        assert_eq!(millis(Duration::from_nanos(62_278_143)), "62.278");
        assert_eq!(millis(Duration::ZERO), "0.0");
        assert_eq!(thousandths(15_049), "15.04");
    }
}
