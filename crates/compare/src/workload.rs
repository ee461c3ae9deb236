//! What clients ask, and when.

use bytes::Bytes;
use quorate_simulator::Random;
use std::time::Duration;

/// When a client asks next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// When it has its answer and has thought for up to so long, drawn anew each time. One call of a client is under way at a time.
    Closed {
        /// At most.
        think: Duration,
    },
    /// Every so often, whether there are answers or not, from a moment on that is drawn within the first interval.
    Open {
        /// So often.
        every: Duration,
    },
}

/// One workload, the same for every protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// So many clients stand next to each site's node, and ask that node only.
    pub clients_per_site: usize,
    /// When they ask; `None` for a closed loop that thinks up to a fiftieth of the patience.
    pub pace: Option<Pace>,
    /// Each of them asks at least so often, and on until the fault has been over for a while.
    pub commands: u64,
    /// Of a hundred calls so many are linearizable reads, the others writes.
    pub read_percent: u8,
    /// How many different keys.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
}

impl Default for Workload {
    fn default() -> Workload {
        Workload { clients_per_site: 2, pace: None, commands: 100, read_percent: 0, keys: 1_000, value_bytes: 256 }
    }
}

/// One thing a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Write { key: Bytes, value: Bytes },
    Read { key: Bytes },
}

impl Workload {
    /// What a client asks next.
    pub(crate) fn draw(&self, random: &mut Random) -> Command {
        let key = Bytes::from(format!("key-{:08}", random.below(self.keys.max(1))));
        if random.below(100) < u64::from(self.read_percent) {
            return Command::Read { key };
        }
        Command::Write { key, value: Bytes::from(vec![b'v'; self.value_bytes]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_have_their_share_and_values_their_size() {
        let workload = Workload { read_percent: 30, value_bytes: 7, keys: 3, ..Workload::default() };
        let mut random = Random::new(1);
        let drawn: Vec<Command> = (0..10_000).map(|_| workload.draw(&mut random)).collect();
        let reads = drawn.iter().filter(|command| matches!(command, Command::Read { .. })).count();
        assert!((2_800..3_200).contains(&reads), "{reads} of 10000");
        assert!(drawn.iter().all(|command| match command {
            Command::Write { value, .. } => value.len() == 7,
            Command::Read { key } => key.len() == 12,
        }));
    }
}
