//! Free ports of this machine that nobody gets by chance.

use anyhow::{Result, bail};
use std::net::TcpListener;

/// Below the ports that systems hand out for outgoing connections, so that a member that is down finds its port free when it
/// comes back.
const FIRST: u16 = 12_000;
const LAST: u16 = 30_000;

/// Hands out ports, each once.
#[derive(Debug)]
pub struct Ports {
    next: u16,
}

impl Ports {
    /// Begins at a place that another run at the same time hardly has.
    #[must_use]
    pub fn new() -> Ports {
        let span = u32::from(LAST - FIRST);
        let start = (std::process::id().wrapping_mul(61)) % span;
        Ports { next: FIRST + u16::try_from(start).unwrap_or(0) }
    }

    /// One that is free now.
    ///
    /// # Errors
    /// When there is none.
    pub fn next(&mut self) -> Result<u16> {
        for _ in FIRST..LAST {
            let port = self.next;
            self.next = if port + 1 >= LAST { FIRST } else { port + 1 };
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return Ok(port);
            }
        }
        bail!("no port between {FIRST} and {LAST} is free")
    }
}

impl Default for Ports {
    fn default() -> Ports {
        Ports::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_come_once() {
        let mut ports = Ports::new();
        let all: std::collections::BTreeSet<u16> = (0..10).map(|_| ports.next().unwrap()).collect();
        assert_eq!(all.len(), 10);
        assert!(all.iter().all(|port| (FIRST..LAST).contains(port)));
    }
}
