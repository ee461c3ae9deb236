//! Figures as SVG that stand by themselves: no fonts, scripts or styles from elsewhere.
//!
//! Protocols are told apart by colour (the palette of Okabe and Ito, which colour-blind readers can tell apart), by the shape of the mark, and
//! by order, which is that of the legend.

mod canvas;

use crate::expected::commit_latency;
use crate::run::Kind;
use crate::stage::Setting;
use crate::summary::{Phase, Summary};
use canvas::{Axis, BOTTOM, Canvas, LEFT, TOP};
use std::time::Duration;

const GROUP: f64 = 132.0;
const PLOT_HEIGHT: f64 = 300.0;
const BAR: f64 = 11.0;
const ROW_GAP: f64 = 16.0;
const PLOT_WIDTH: f64 = 560.0;

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Commit latency of calm writes by site: for each protocol the median as a mark and a line on to the 99th percentile; what arithmetic
/// says as a bar across, where nothing but links takes time.
#[must_use]
pub fn latency_figure(setting: &Setting, summaries: &[Summary]) -> String {
    let matrix = &setting.matrix;
    let longest = summaries
        .iter()
        .flat_map(|summary| &summary.latencies)
        .filter(|(_, phase, kind, _)| (*phase, *kind) == (Phase::Calm, Kind::Write))
        .map(|(_, _, _, percentiles)| millis(percentiles.p99))
        .fold(1e-6, f64::max);
    let axis = Axis::up_to(longest, PLOT_HEIGHT);
    let plot_width = GROUP * matrix.count() as f64;
    let title = format!("Commit latency of writes by site, leader at {}", matrix.name(setting.leader));
    let names: Vec<&str> = summaries.iter().map(|summary| summary.protocol).collect();
    let mut canvas = Canvas::new(LEFT + plot_width.max(PLOT_WIDTH * 0.6) + 30.0, TOP + PLOT_HEIGHT + BOTTOM, &title);
    let note = if setting.is_exact() {
        "mark: median; line: up to the 99th percentile; dashes: what arithmetic says"
    } else {
        "mark: median; line: up to the 99th percentile"
    };
    canvas.legend(&names, note);
    let y = |value: f64| TOP + PLOT_HEIGHT - axis.place(value);
    for tick in axis.ticks() {
        canvas.line("grid", (LEFT, y(tick)), (LEFT + plot_width, y(tick)));
        canvas.text("word", "end", (LEFT - 8.0, y(tick) + 4.0), &axis.label(tick));
    }
    canvas.upright_text((18.0, TOP + PLOT_HEIGHT / 2.0), "commit latency (ms)");
    for site in matrix.sites() {
        let begin = LEFT + GROUP * site.0 as f64;
        canvas.text("word", "middle", (begin + GROUP / 2.0, TOP + PLOT_HEIGHT + 20.0), matrix.name(site));
        let expected = commit_latency(matrix, setting.leader, site, &[]).filter(|_| setting.is_exact());
        if let Some(expected) = expected.map(millis) {
            canvas.line("expected", (begin + 8.0, y(expected)), (begin + GROUP - 8.0, y(expected)));
        }
        let step = (GROUP - 32.0) / summaries.len().max(1) as f64;
        for (at, summary) in summaries.iter().enumerate() {
            let Some(latencies) = summary.latency(site, Phase::Calm, Kind::Write) else { continue };
            let x = begin + 16.0 + step * (at as f64 + 0.5);
            let (low, high) = (millis(latencies.p50), millis(latencies.p99));
            let words = format!("{} at {}: p50 {low} ms, p99 {high} ms", summary.protocol, matrix.name(site));
            canvas.range(at, (x, y(low)), (x, y(high)), &words);
        }
    }
    canvas.text("word", "middle", (LEFT + plot_width / 2.0, TOP + PLOT_HEIGHT + 42.0), "site of the client");
    canvas.finish()
}

/// One figure of a run, as bars by fault and protocol.
struct Measure {
    title: &'static str,
    note: &'static str,
    axis: &'static str,
    unit: &'static str,
    decimals: usize,
    value: fn(&Summary) -> f64,
    /// Another value on the same axis, where there is one: a line across the bar, and what it means.
    beside: fn(&Summary) -> Option<(f64, &'static str)>,
}

fn thousandths(count: u64) -> f64 {
    count as f64 / 1_000.0
}

/// The longest time without a successful write anywhere, by fault and protocol, and when another site could lead. `summaries` in the order in
/// which faults are to be shown; so in the other figures by fault.
#[must_use]
pub fn gap_figure(setting: &Setting, summaries: &[Summary]) -> String {
    let measure = Measure {
        title: "Longest time without a successful write",
        note: "from the fault on, over all sites; dashes: when another site could lead",
        axis: "time without a successful write (ms)",
        unit: " ms",
        decimals: 0,
        value: |summary| millis(summary.gap.length),
        beside: |summary| Some((millis(summary.new_leader_after?), "until another site could lead")),
    };
    by_fault(setting, summaries, &measure)
}

/// Messages between nodes for each call that succeeded, by fault and protocol.
#[must_use]
pub fn messages_figure(setting: &Setting, summaries: &[Summary]) -> String {
    let measure = Measure {
        title: "Messages for each call that succeeded",
        note: "of the whole run, heartbeats and what the fault caused included",
        axis: "messages per call",
        unit: " messages",
        decimals: 1,
        value: |summary| thousandths(summary.messages_per_thousand),
        beside: |_| None,
    };
    by_fault(setting, summaries, &measure)
}

/// Flushes of journals for each call that succeeded, by fault and protocol.
#[must_use]
pub fn flushes_figure(setting: &Setting, summaries: &[Summary]) -> String {
    let measure = Measure {
        title: "Flushes of journals for each call that succeeded",
        note: "of the whole run, on all nodes",
        axis: "flushes per call",
        unit: " flushes",
        decimals: 1,
        value: |summary| thousandths(summary.flushes_per_thousand),
        beside: |_| None,
    };
    by_fault(setting, summaries, &measure)
}

fn by_fault(setting: &Setting, summaries: &[Summary], measure: &Measure) -> String {
    let (mut faults, mut names) = (Vec::new(), Vec::new());
    for summary in summaries {
        if !faults.contains(&summary.fault) {
            faults.push(summary.fault);
        }
        if !names.contains(&summary.protocol) {
            names.push(summary.protocol);
        }
    }
    let beside = summaries.iter().filter_map(|summary| (measure.beside)(summary)).map(|(value, _)| value);
    let longest = summaries.iter().map(measure.value).chain(beside).fold(1e-6, f64::max);
    let axis = Axis::up_to(longest, PLOT_WIDTH);
    let left = LEFT + 50.0;
    let row = BAR * names.len() as f64 + ROW_GAP;
    let height = row * faults.len() as f64;
    let title = format!("{}, leader at {}", measure.title, setting.matrix.name(setting.leader));
    let mut canvas = Canvas::new(left + PLOT_WIDTH + 90.0, TOP + height + BOTTOM, &title);
    canvas.legend(&names, measure.note);
    for tick in axis.ticks() {
        let x = left + axis.place(tick);
        canvas.line("grid", (x, TOP), (x, TOP + height));
        canvas.text("word", "middle", (x, TOP + height + 20.0), &axis.label(tick));
    }
    for (at, fault) in faults.iter().enumerate() {
        let y = TOP + row * at as f64 + ROW_GAP / 2.0;
        canvas.text("word", "end", (left - 10.0, y + (row - ROW_GAP) / 2.0 + 4.0), fault.name());
        for (which, name) in names.iter().enumerate() {
            let found = summaries.iter().find(|summary| summary.fault == *fault && summary.protocol == *name);
            let Some(summary) = found else { continue };
            draw_bar(&mut canvas, (which, measure), (left, y + BAR * which as f64), &axis, summary);
        }
    }
    canvas.text("word", "middle", (left + PLOT_WIDTH / 2.0, TOP + height + 42.0), measure.axis);
    canvas.finish()
}

fn draw_bar(
    canvas: &mut Canvas,
    (which, measure): (usize, &Measure),
    (left, y): (f64, f64),
    axis: &Axis,
    summary: &Summary,
) {
    let value = (measure.value)(summary);
    let (unit, decimals) = (measure.unit, measure.decimals);
    let mut words = format!("{} under {}: {value:.1}{unit}", summary.protocol, summary.fault.name());
    let beside = (measure.beside)(summary);
    if let Some((beside, meaning)) = beside {
        words += &format!(", {beside:.1}{unit} {meaning}");
    }
    canvas.bar(which, (left, y), (axis.place(value), BAR - 2.0), &words);
    let end = beside.map_or(value, |(beside, _)| beside.max(value));
    if let Some((beside, _)) = beside {
        let x = left + axis.place(beside);
        canvas.line("expected", (x, y - 1.0), (x, y + BAR - 1.0));
    }
    let corner = (left + axis.place(end) + 5.0, y + BAR - 3.0);
    canvas.text("figure", "start", corner, &format!("{value:.decimals$}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Fault;
    use crate::matrix::{Matrix, Site};
    use crate::stage::Costs;
    use crate::summary::{Gap, Percentiles};

    const MS: Duration = Duration::from_millis(1);

    fn setting() -> Setting {
        let matrix = Matrix::shipped("public-cloud-2020").unwrap().only(&["CA", "VA", "EU"]).unwrap();
        Setting { matrix, leader: Site(0), costs: Costs::default(), seed: 1 }
    }

    fn summary(protocol: &'static str, fault: Fault, latency_ms: u32) -> Summary {
        let percentiles = Percentiles::of(vec![MS * latency_ms]);
        Summary {
            protocol,
            fault,
            latencies: (0..3).map(|site| (Site(site), Phase::Calm, Kind::Write, percentiles)).collect(),
            done: 3,
            refused: 0,
            unknown: 0,
            gap: Gap { from: MS, length: MS * 1_234 },
            new_leader_after: (fault == Fault::LeaderDies).then_some(MS * 900),
            leader_changes: 0,
            messages_per_thousand: 7_250,
            bytes_per_thousand: 0,
            flushes_per_thousand: 3_000,
        }
    }

    /// Opening and closing tags match, and nothing is fetched from anywhere.
    fn stands_by_itself(svg: &str) {
        for tag in ["svg", "g", "text", "title", "style"] {
            let opened = svg.matches(&format!("<{tag}>")).count() + svg.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag} in {svg}");
        }
        assert!(
            !svg.contains("href") && !svg.contains("url(") && !svg.contains("NaN") && !svg.contains("inf"),
            "{svg}"
        );
    }

    #[test]
    fn the_latency_figure_shows_each_site_each_protocol_and_the_arithmetic() {
        let svg = latency_figure(&setting(), &[summary("a", Fault::None, 60), summary("b<", Fault::None, 201)]);
        stands_by_itself(&svg);
        assert!(["CA", "VA", "EU", "commit latency (ms)"].iter().all(|word| svg.contains(word)));
        assert_eq!(svg.matches("class=\"expected\"").count(), 3);
        assert!(svg.contains("a at VA: p50 60 ms") && svg.contains("b&lt; at EU: p50 201 ms"));
    }

    #[test]
    fn the_gap_figure_has_a_bar_for_each_fault_and_protocol() {
        let of = |fault| [summary("a", fault, 1), summary("b", fault, 1)];
        let svg = gap_figure(&setting(), &[of(Fault::None), of(Fault::LeaderDies)].concat());
        stands_by_itself(&svg);
        assert_eq!(svg.matches("under leader-dies: 1234.0 ms, 900.0 ms until another site could lead").count(), 2);
        assert_eq!(svg.matches("class=\"expected\"").count(), 2, "where another one came to lead");
        assert!(svg.contains("time without a successful write (ms)"));
    }

    #[test]
    fn what_calls_cost_is_shown_by_fault_and_protocol() {
        let summaries = [summary("a", Fault::None, 1), summary("b", Fault::None, 1)];
        let svg = messages_figure(&setting(), &summaries);
        stands_by_itself(&svg);
        assert!(svg.contains("a under none: 7.2 messages") && svg.contains("messages per call"), "{svg}");
        let svg = flushes_figure(&setting(), &summaries);
        stands_by_itself(&svg);
        assert!(svg.contains("b under none: 3.0 flushes"), "{svg}");
    }

    #[test]
    fn a_figure_of_nothing_is_a_figure() {
        stands_by_itself(&latency_figure(&setting(), &[]));
        for figure in [gap_figure, messages_figure, flushes_figure] {
            stands_by_itself(&figure(&setting(), &[]));
        }
    }
}
