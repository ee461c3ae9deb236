//! Wall-clock times as people write them, in UTC.

use quorate_types::Time;
use std::time::Duration;

const SECOND_NS: u64 = 1_000_000_000;
const DAY_SECONDS: u64 = 86_400;

/// `18:02:20.905`.
#[must_use]
pub fn time_of_day(wall: Time) -> String {
    let seconds = wall.0 / SECOND_NS % DAY_SECONDS;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}", seconds % 60, wall.0 / 1_000_000 % 1000)
}

/// `2026-11-21`.
#[must_use]
pub fn date(wall: Time) -> String {
    let (year, month, day) = civil(wall.0 / SECOND_NS / DAY_SECONDS);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A duration short enough to be read at a glance.
#[must_use]
pub fn brief(duration: Duration) -> String {
    match duration.as_micros() {
        micros @ 0..1_000 => format!("{micros} us"),
        micros @ 1_000..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        micros @ 10_000..1_000_000 => format!("{} ms", micros / 1000),
        micros @ 1_000_000..60_000_000 => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
        micros => format!("{} min {} s", micros / 60_000_000, micros / 1_000_000 % 60),
    }
}

/// Reads `18:02:20.905` (the time of day nearest behind midnight of `reference`'s day), `2026-11-21T18:02:20Z`, or `+12.5s`
/// behind `reference`.
#[must_use]
pub fn parse(text: &str, reference: Time) -> Option<Time> {
    if let Some(later) = text.strip_prefix('+') {
        let seconds = later
            .strip_suffix("ms")
            .map(|number| (number, 1_000_000))
            .or_else(|| Some((later.strip_suffix('s').unwrap_or(later), SECOND_NS)));
        let (number, unit) = seconds?;
        return Some(Time(reference.0.checked_add(decimal(number, unit)?)?));
    }
    if let Some((day, time)) = text.split_once('T') {
        let mut parts = day.split('-').map(|part| part.parse::<u64>().ok());
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        if parts.next().is_some() || !(1970..=2500).contains(&year) {
            return None;
        }
        let midnight = (0..=200_000).skip((year as usize - 1970) * 365).find(|at| civil(*at) == (year, month, day))?;
        return Some(Time(midnight * DAY_SECONDS * SECOND_NS + clock(time.strip_suffix('Z').unwrap_or(time))?));
    }
    let midnight = reference.0 / SECOND_NS / DAY_SECONDS * DAY_SECONDS * SECOND_NS;
    let of_day = Time(midnight + clock(text)?);
    // A recording that began before midnight: a time of the early morning is of the next day.
    let half_a_day = DAY_SECONDS / 2 * SECOND_NS;
    Some(if of_day.0 + half_a_day < reference.0 { Time(of_day.0 + DAY_SECONDS * SECOND_NS) } else { of_day })
}

/// Hours, minutes and perhaps seconds, in nanoseconds.
fn clock(text: &str) -> Option<u64> {
    let mut parts = text.split(':');
    let hours: u64 = parts.next()?.parse().ok().filter(|hours| *hours < 24)?;
    let minutes: u64 = parts.next()?.parse().ok().filter(|minutes| *minutes < 60)?;
    let seconds = parts.next().map_or(Some(0), |seconds| decimal(seconds, SECOND_NS))?;
    (parts.next().is_none() && seconds < 60 * SECOND_NS).then(|| (hours * 60 + minutes) * 60 * SECOND_NS + seconds)
}

/// A decimal number of units of so many nanoseconds.
fn decimal(text: &str, unit_ns: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let mut total = whole.parse::<u64>().ok()?.checked_mul(unit_ns)?;
    let mut place = unit_ns;
    for digit in fraction.bytes() {
        place /= 10;
        total += u64::from(digit - b'0') * place;
    }
    Some(total)
}

/// Year, month and day of a day counted from 1970-01-01 (the proleptic Gregorian calendar, by eras of 400 years).
fn civil(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, of_year - (153 * shifted_month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 18:02:20.905 UTC.
    const MOMENT: Time = Time(1_795_284_140_905_000_000);

    #[test]
    fn a_moment_is_written_as_date_and_time_of_day() {
        assert_eq!((date(MOMENT).as_str(), time_of_day(MOMENT).as_str()), ("2026-11-21", "18:02:20.905"));
        assert_eq!(date(Time(951_782_400 * SECOND_NS)), "2000-02-29");
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(parse("18:02:20.905", MOMENT), Some(MOMENT));
        assert_eq!(parse("2026-11-21T18:02:20.905Z", Time::ZERO), Some(MOMENT));
        assert_eq!(parse("+1.5s", MOMENT), Some(Time(MOMENT.0 + 1_500_000_000)));
        assert_eq!(parse("+20ms", MOMENT), Some(Time(MOMENT.0 + 20_000_000)));
        assert_eq!(
            parse("00:01", MOMENT),
            Some(Time((MOMENT.0 / SECOND_NS / DAY_SECONDS + 1) * DAY_SECONDS * SECOND_NS + 60 * SECOND_NS))
        );
        for wrong in ["", "25:00", "18", "18:60", "+", "+-1s", "2026-13-01T00:00", "tomorrow", "18:02:20.1x"] {
            assert_eq!(parse(wrong, MOMENT), None, "{wrong}");
        }
    }

    #[test]
    fn durations_are_brief() {
        let words = [7, 1_250, 412_000, 1_310_000, 75_000_000].map(|micros| brief(Duration::from_micros(micros)));
        assert_eq!(words, ["7 us", "1.2 ms", "412 ms", "1.31 s", "1 min 15 s"]);
    }
}
