//! How much of a processor this thread had: what a run cost, however busy the machine is.

use std::time::{Duration, Instant};

/// Since when a cost is counted.
pub struct ProcessorTime {
    started: Instant,
    used: Option<Duration>,
}

impl ProcessorTime {
    /// From now on, on this thread.
    pub fn start() -> ProcessorTime {
        ProcessorTime { started: Instant::now(), used: of_this_thread() }
    }

    /// Until now. Where the system does not tell, the time on the wall.
    pub fn used(&self) -> Duration {
        match (self.used, of_this_thread()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => self.started.elapsed(),
        }
    }
}

/// Linux: the first number of `schedstat` is nanoseconds spent running.
fn of_this_thread() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}
