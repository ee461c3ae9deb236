//! What a protocol must say about itself to be compared.

use quorate_multi_paxos::MultiPaxos;
use quorate_protocol::Replica;
use quorate_raft::Raft;
use quorate_viewstamped::Viewstamped;
use quorate_zab::Zab;
use std::time::Duration;

/// How it comes about who leads first, and so how a comparison gets its leader where it wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstLeader {
    /// Whoever's timer of this name comes due first: at the wanted node it does at once.
    Campaigns {
        /// The timer.
        timer: &'static str,
    },
    /// The node with the least id, because voters take turns in their order: the wanted site's node gets it.
    LeastId,
    /// The node with the greatest id, because that decides between equal histories: the wanted site's node gets it.
    GreatestId,
}

/// A protocol with one leader at a time that can be compared.
pub trait Contender: Replica {
    /// Who leads first.
    const FIRST_LEADER: FirstLeader;

    /// The default settings, with all times stretched alike: `patience` is how long silence lasts before somebody else wants to
    /// lead, and how often a leader shows that it lives is a tenth of that.
    fn settings(patience: Duration) -> Self::Config;
}

impl Contender for Raft {
    const FIRST_LEADER: FirstLeader = FirstLeader::Campaigns { timer: "election" };

    fn settings(patience: Duration) -> quorate_raft::Config {
        quorate_raft::Config {
            election_timeout: patience,
            heartbeat_interval: patience / 10,
            read_retry_interval: patience / 2,
            ..quorate_raft::Config::default()
        }
    }
}

impl Contender for MultiPaxos {
    const FIRST_LEADER: FirstLeader = FirstLeader::Campaigns { timer: "election" };

    fn settings(patience: Duration) -> quorate_multi_paxos::Config {
        quorate_multi_paxos::Config {
            election_timeout: patience,
            heartbeat_interval: patience / 10,
            read_retry_interval: patience / 2,
            ..quorate_multi_paxos::Config::default()
        }
    }
}

impl Contender for Viewstamped {
    const FIRST_LEADER: FirstLeader = FirstLeader::LeastId;

    fn settings(patience: Duration) -> quorate_viewstamped::Config {
        quorate_viewstamped::Config {
            view_timeout: patience,
            heartbeat_interval: patience / 10,
            read_retry_interval: patience / 2,
            ..quorate_viewstamped::Config::default()
        }
    }
}

impl Contender for Zab {
    const FIRST_LEADER: FirstLeader = FirstLeader::GreatestId;

    fn settings(patience: Duration) -> quorate_zab::Config {
        let usual = quorate_zab::Config::default();
        let tick = patience / usual.sync_limit_ticks;
        // Numbers of ticks: 20 ms, 30 ms and 240 ms at a tick of 15 ms.
        quorate_zab::Config {
            tick,
            finalize_wait: tick * 4 / 3,
            notification_interval: tick * 2,
            notification_interval_most: tick * 16,
            read_retry_interval: patience / 2,
            ..usual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The patience that the default settings of all of them have.
    const USUAL: Duration = Duration::from_millis(150);

    #[test]
    fn unstretched_settings_are_the_defaults() {
        assert_eq!(Raft::settings(USUAL), quorate_raft::Config::default());
        assert_eq!(MultiPaxos::settings(USUAL), quorate_multi_paxos::Config::default());
        assert_eq!(Viewstamped::settings(USUAL), quorate_viewstamped::Config::default());
        assert_eq!(Zab::settings(USUAL), quorate_zab::Config::default());
    }
}
