//! A contradiction as a picture: clients as rows, time to the right.

use crate::explain::Explanation;
use crate::history::{Deed, Entry};
use std::collections::BTreeMap;
use std::fmt::Write;

const LEFT: f64 = 110.0;
const SPAN: f64 = 860.0;
const ROW: f64 = 34.0;
const TOP: f64 = 70.0;
const BAR: f64 = 24.0;
const CHARACTER: f64 = 6.6;

/// Draws an explanation as SVG that stands by itself. Time is drawn by order and not by length: equal steps between moments that
/// matter. An operation without an answer is open to the right; the last that answered, where no order goes on, is marked.
#[must_use]
pub fn timeline(explanation: &Explanation, title: &str) -> String {
    let mut moments: Vec<u64> = Vec::new();
    for entry in &explanation.entries {
        moments.push(entry.call);
        moments.extend(entry.ret);
    }
    moments.sort_unstable();
    moments.dedup();
    let rows = rows(&explanation.entries);
    let lines = wrapped(&explanation.sentence, 130);
    let row_count = rows.iter().map(|(_, lane)| lane + 1).max().unwrap_or(0) as f64;
    let below = TOP + ROW * row_count + 24.0;
    let height = below + 18.0 * (lines.len() + explanation.sources.len().min(MOST_SOURCES)) as f64 + 20.0;
    let width = LEFT + SPAN + 30.0;
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"11\" role=\"img\">\n<title>{title}</title>\n{STYLE}\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n<text class=\"title\" x=\"12\" y=\"24\">{title}</text>\n",
        title = escaped(title)
    );
    draw_moments(&mut svg, &moments, below);
    let stuck = explanation.entries.iter().filter_map(|entry| entry.ret).max();
    let mut named: BTreeMap<usize, u64> = BTreeMap::new();
    for (entry, (_, lane)) in explanation.entries.iter().zip(&rows) {
        named.entry(*lane).or_insert(entry.client);
        draw_entry(&mut svg, entry, *lane, &moments, entry.ret.is_some() && entry.ret == stuck);
    }
    for (lane, client) in named {
        let y = TOP + ROW * lane as f64 + BAR / 2.0 + 4.0;
        let _ = writeln!(svg, "<text class=\"word\" x=\"12\" y=\"{y}\">client {client}</text>");
    }
    let told = lines
        .into_iter()
        .chain(explanation.sources.iter().take(MOST_SOURCES).map(|entry| format!("at any time: {entry}")));
    for (at, line) in told.enumerate() {
        let y = below + 18.0 * (at + 1) as f64;
        let _ = writeln!(svg, "<text class=\"word\" x=\"12\" y=\"{y}\">{}</text>", escaped(&line));
    }
    svg.push_str("</svg>\n");
    svg
}

const MOST_SOURCES: usize = 12;

/// Neutral on a light page, and light on dark where a page prefers that.
const STYLE: &str = "<style>.ground{fill:#fff}.title{font-size:14px;font-weight:600;fill:#222}.word{fill:#222}.grid{stroke:#ddd}\
.time{fill:#777;font-size:9px}.bar{fill:#cfe0f5;stroke:#4a78b5}.open{fill:#eee;stroke:#888;stroke-dasharray:4 3}\
.stuck{fill:#f7d0cd;stroke:#c0392b;stroke-width:2}@media(prefers-color-scheme:dark){.ground{fill:#16191d}.title,.word{fill:#e6e6e6}\
.grid{stroke:#333}.time{fill:#999}.bar{fill:#24405f;stroke:#7aa5d8}.open{fill:#2b2f34;stroke:#999}.stuck{fill:#5c2622;stroke:#ff7a6b}}</style>";

/// For each entry its client and its row: a client's overlapping operations go on rows of their own.
fn rows(entries: &[Entry]) -> Vec<(u64, usize)> {
    let mut by_client: Vec<usize> = (0..entries.len()).collect();
    by_client.sort_by_key(|at| (entries[*at].client, entries[*at].call));
    let mut rows = vec![(0, 0); entries.len()];
    let mut lanes: Vec<(u64, Option<u64>)> = Vec::new();
    for at in by_client {
        let entry = &entries[at];
        let fits = |(client, free_at): &(u64, Option<u64>)| {
            *client == entry.client && free_at.is_some_and(|free_at| free_at < entry.call)
        };
        let lane = lanes.iter().position(fits).unwrap_or_else(|| {
            lanes.push((entry.client, None));
            lanes.len() - 1
        });
        lanes[lane].1 = entry.ret;
        rows[at] = (entry.client, lane);
    }
    rows
}

fn x_of(moments: &[u64], time: u64) -> f64 {
    let at = moments.binary_search(&time).unwrap_or_else(|at| at);
    LEFT + SPAN * (at as f64 + 0.5) / (moments.len().max(1) as f64 + 0.5)
}

/// A line at each moment, and its time where there is room.
fn draw_moments(svg: &mut String, moments: &[u64], below: f64) {
    let mut free_from = 0.0;
    for time in moments {
        let x = x_of(moments, *time);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{below:.1}\"/>",
            TOP - 12.0
        );
        if x >= free_from {
            let y = TOP - 18.0;
            let _ =
                writeln!(svg, "<text class=\"time\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{time}</text>");
            free_from = x + 6.0 * (time.to_string().len() as f64 + 2.0);
        }
    }
}

fn draw_entry(svg: &mut String, entry: &Entry, lane: usize, moments: &[u64], is_stuck: bool) {
    let (x, y) = (x_of(moments, entry.call), TOP + ROW * lane as f64);
    let end = entry.ret.map_or(LEFT + SPAN + 12.0, |ret| x_of(moments, ret));
    let width = (end - x).max(6.0);
    let class = match entry.ret {
        None => "open",
        Some(_) if is_stuck => "stuck",
        Some(_) => "bar",
    };
    let deed = Deed(entry).to_string();
    // What does not fit into its bar goes on behind it, or ends at the picture's edge.
    let room = ((LEFT + SPAN + 24.0 - x) / CHARACTER) as usize;
    let shown = if deed.chars().count() > room {
        deed.chars().take(room.saturating_sub(1)).chain(['…']).collect()
    } else {
        deed.clone()
    };
    let _ = writeln!(
        svg,
        "<g><title>{}</title><rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"4\"/>\
         <text class=\"word\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
        escaped(&entry.to_string()),
        x + 5.0,
        y + BAR / 2.0 + 4.0,
        escaped(&shown)
    );
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no way to write these.
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line =
            lines.last_mut().filter(|line| line.is_empty() || line.chars().count() + word.chars().count() < width);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}
