//! The smallest parts of the language: nodes, numbers, times.

use crate::latency::Latency;
use crate::random::{Chance, nanos};
use quorate_types::NodeId;
use std::time::Duration;

/// What was read, or what is wrong with it and what is wanted.
pub(super) type Parsed<T> = Result<T, String>;

pub(super) fn node(word: &str) -> Parsed<NodeId> {
    let id = word.strip_prefix('n').and_then(|id| id.parse::<u64>().ok()).filter(|id| *id > 0);
    id.map(NodeId).ok_or_else(|| format!("`{word}` is no node: n1, n2, ... is wanted"))
}

pub(super) fn number(word: &str) -> Parsed<u64> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

pub(super) fn bounded(word: &str, least: u64, most: u64) -> Parsed<u64> {
    let value = number(word)?;
    if (least..=most).contains(&value) { Ok(value) } else { Err(format!("{value} is not between {least} and {most}")) }
}

pub(super) fn duration(word: &str) -> Parsed<Duration> {
    let digits = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let count = digits.parse::<u64>().map_err(|_| format!("`{word}` is no duration such as 250us, 10ms or 2s"))?;
    match &word[digits.len()..] {
        "ns" => Ok(Duration::from_nanos(count)),
        "us" => Ok(Duration::from_micros(count)),
        "ms" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        unit => Err(format!("`{unit}` is no unit of time: ns, us, ms or s is wanted")),
    }
}

/// In the largest unit that says it exactly.
pub(super) fn duration_words(duration: Duration) -> String {
    let count = nanos(duration);
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    match units.into_iter().find(|(unit, _)| count.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", count / unit),
        None => format!("{count}ns"),
    }
}

/// `5ms`, `1ms..5ms`, or with a tail `1ms..5ms+2000ppm*250ms`.
pub(super) fn latency(word: &str) -> Parsed<Latency> {
    let (usual, tail) = word.split_once('+').map_or((word, None), |(usual, tail)| (usual, Some(tail)));
    let usual = match usual.split_once("..") {
        Some((low, high)) => Latency::between(duration(low)?, duration(high)?),
        None => Latency::exactly(duration(usual)?),
    };
    let Some(tail) = tail else { return Ok(usual) };
    let Some((rate, step)) = tail.split_once("ppm*") else {
        return Err(format!("`{tail}` is no tail such as 2000ppm*250ms"));
    };
    let rate = u32::try_from(bounded(rate, 0, 1_000_000)?).map_err(|why| why.to_string())?;
    Ok(usual.with_tail(Chance(rate), duration(step)?))
}

pub(super) fn latency_words(latency: Latency) -> String {
    let low = duration_words(latency.at_least);
    let usual = if latency.jitter == Duration::ZERO {
        low
    } else {
        format!("{low}..{}", duration_words(latency.at_least + latency.jitter))
    };
    if latency.tail == Chance::NEVER {
        return usual;
    }
    format!("{usual}+{}ppm*{}", latency.tail.0, duration_words(latency.tail_step))
}
