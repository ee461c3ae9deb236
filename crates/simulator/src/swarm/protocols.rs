//! The protocols of this workspace, as subjects.

mod multi_paxos;
mod paxos;
mod raft;
mod viewstamped;
mod zab;

use super::subject::{Standing, Subject};
use quorate_multi_paxos::MultiPaxos;
use quorate_protocol::Replica;
use quorate_raft::Raft;
use quorate_succession::{Heir, Succession};
use quorate_types::{Membership, NodeId, Slot};
use quorate_viewstamped::Viewstamped;
use quorate_zab::Zab;
use std::time::Duration;

/// A protocol with a log: one that can serve a store of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogProtocol {
    /// Raft.
    Raft,
    /// Multi-Paxos.
    MultiPaxos,
    /// Viewstamped Replication Revisited.
    Viewstamped,
    /// Zab.
    Zab,
}

/// What can be done with any of them.
pub trait OnProtocol {
    /// What comes of it.
    type Output;

    /// Does it with this one.
    fn run<R: Scripted>(self) -> Self::Output;
}

impl LogProtocol {
    /// All of them.
    pub const ALL: [LogProtocol; 4] =
        [LogProtocol::Raft, LogProtocol::MultiPaxos, LogProtocol::Viewstamped, LogProtocol::Zab];

    /// Its name in commands, scripts and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LogProtocol::Raft => Raft::PROTOCOL,
            LogProtocol::MultiPaxos => MultiPaxos::PROTOCOL,
            LogProtocol::Viewstamped => Viewstamped::PROTOCOL,
            LogProtocol::Zab => Zab::PROTOCOL,
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<LogProtocol> {
        LogProtocol::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// Does something with it.
    pub fn with<T: OnProtocol>(self, task: T) -> T::Output {
        match self {
            LogProtocol::Raft => task.run::<Raft>(),
            LogProtocol::MultiPaxos => task.run::<MultiPaxos>(),
            LogProtocol::Viewstamped => task.run::<Viewstamped>(),
            LogProtocol::Zab => task.run::<Zab>(),
        }
    }
}

/// What a script says of how a protocol paces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptedTimes {
    /// How long silence lasts before somebody else takes over.
    pub election_timeout: Duration,
    /// How often a leader shows that it lives.
    pub heartbeat: Duration,
    /// At most so many entries in one message, where the script says so.
    pub entries_per_append: Option<usize>,
}

/// A protocol that scripts can set up.
pub trait Scripted: Subject {
    /// Its usual settings, but for these.
    fn paced(times: &ScriptedTimes) -> Self::Config;
}

fn voters(members: &Membership) -> Vec<NodeId> {
    members.voters().collect()
}

/// Whether what a node has in a slot is as it should be: all of a configuration that is over is decided, and of the present one
/// the replica inside knows.
fn holds_within<P: Heir>(node: &Succession<P>, slot: Slot, has: impl Fn(&P) -> bool) -> bool {
    let is_before = node.present().is_some_and(|anchor| slot <= P::anchored(&anchor.prefix));
    is_before || node.inside().is_some_and(has)
}

/// Where a leader asks those who agree what there is: whoever goes by the same members agrees, and so does who missed them.
fn open_to_all(configuration: u64, members: &Membership, may_follow: Option<&Membership>) -> Standing {
    Standing { halves: vec![voters(members)], log_end: (configuration, Slot::ZERO), may_follow: may_follow.map(voters) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::swarm::Pace;
    use quorate_protocol::{Durable, Outbox, Setup, Start};
    use quorate_types::{ClusterId, DiskId, Incarnation, Ticket};

    /// Whether settings are legal: replicas refuse others.
    struct OpensWithDrawnSettings(u64);

    impl OnProtocol for OpensWithDrawnSettings {
        type Output = ();

        fn run<R: Scripted>(self) {
            let mut random = Random::stream(self.0, "settings", 0);
            let patience = Duration::from_nanos(random.log_uniform(20_000_000, 2_000_000_000));
            let drawn = R::draw_config(&mut random, Pace { patience });
            let times =
                ScriptedTimes { election_timeout: patience, heartbeat: patience / 10, entries_per_append: Some(1) };
            for config in [drawn, R::paced(&times)] {
                let members = Membership::of_voters(3);
                let setup = Setup {
                    cluster: ClusterId(1),
                    me: NodeId(1),
                    disk: DiskId(1),
                    incarnation: Incarnation(1),
                    start: Start::Found(members),
                };
                let opened = R::open(&setup, &config, Durable::nothing(), &mut Outbox::new(Ticket::NONE, false));
                assert!(opened.is_ok(), "{} refuses {config:?}", R::PROTOCOL);
            }
        }
    }

    #[test]
    fn settings_that_are_drawn_or_scripted_are_legal_in_every_protocol() {
        for protocol in LogProtocol::ALL {
            (0..100).for_each(|seed| protocol.with(OpensWithDrawnSettings(seed)));
            assert_eq!(LogProtocol::named(protocol.name()), Some(protocol));
        }
        assert_eq!(LogProtocol::named("paxos"), None);
    }
}
