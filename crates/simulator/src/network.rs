//! The virtual network: what each directed link does to messages, and which links are cut.

mod filter;

pub use filter::{Fate, FilterRule, Filters};

use crate::latency::Latency;
use crate::random::{Chance, Random};
use bytes::Bytes;
use quorate_narrator::Loss;
use quorate_types::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};

/// What one directed link does to messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// How long a message takes.
    pub latency: Latency,
    /// How often a message is lost.
    pub loss: Chance,
    /// How often a message arrives twice; the second copy draws a latency of its own.
    pub repeat: Chance,
    /// How often a message may overtake earlier ones. Otherwise it arrives after everything sent before it.
    pub overtake: Chance,
    /// How often a bit flips under way. The checksum must notice.
    pub damage: Chance,
}

impl Link {
    /// A perfect link of this latency.
    #[must_use]
    pub fn perfect(latency: Latency) -> Link {
        Link { latency, loss: Chance::NEVER, repeat: Chance::NEVER, overtake: Chance::NEVER, damage: Chance::NEVER }
    }
}

/// One message under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Sender.
    pub from: NodeId,
    /// Receiver.
    pub to: NodeId,
    /// What the protocol calls it.
    pub kind: &'static str,
    /// Counts messages of the world; copies share it.
    pub number: u64,
    /// In which life of its sender it left; see [`crate::OperationResult::life`].
    pub life: u64,
    /// The frame: length, checksum, payload.
    pub frame: Bytes,
}

/// What becomes of a message that was handed to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// It never arrives.
    Lost(Loss),
    /// It arrives.
    Arrives {
        /// When.
        at: Time,
        /// When once more.
        again_at: Option<Time>,
        /// Which of its bits flips, counted from the first, modulo its length.
        flipped_bit: Option<u64>,
    },
}

/// All links.
#[derive(Clone, Debug)]
pub struct Network {
    usual: Link,
    links: BTreeMap<(NodeId, NodeId), Link>,
    blocked: BTreeSet<(NodeId, NodeId)>,
    last_arrival: BTreeMap<(NodeId, NodeId), Time>,
    random: Random,
}

impl Network {
    /// A network in which every link is `usual`.
    #[must_use]
    pub fn new(usual: Link, random: Random) -> Network {
        Network { usual, links: BTreeMap::new(), blocked: BTreeSet::new(), last_arrival: BTreeMap::new(), random }
    }

    /// Makes one directed link different from the usual. What is under way keeps its time of arrival, and may be overtaken.
    pub fn set_link(&mut self, from: NodeId, to: NodeId, link: Link) {
        self.links.insert((from, to), link);
        self.last_arrival.remove(&(from, to));
    }

    /// Makes every link this one. What is under way keeps its time of arrival, and may be overtaken.
    pub fn set_all(&mut self, usual: Link) {
        self.usual = usual;
        self.links.clear();
        self.last_arrival.clear();
    }

    /// The link from one node to another.
    #[must_use]
    pub fn link(&self, from: NodeId, to: NodeId) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(self.usual)
    }

    /// Cuts one direction. Says whether it was open.
    pub fn block(&mut self, from: NodeId, to: NodeId) -> bool {
        self.blocked.insert((from, to))
    }

    /// Opens one direction. Says whether it was cut.
    pub fn unblock(&mut self, from: NodeId, to: NodeId) -> bool {
        self.blocked.remove(&(from, to))
    }

    /// Opens everything.
    pub fn unblock_all(&mut self) {
        self.blocked.clear();
    }

    /// Whether this direction is cut.
    #[must_use]
    pub fn is_blocked(&self, from: NodeId, to: NodeId) -> bool {
        self.blocked.contains(&(from, to))
    }

    /// Decides what becomes of a message that leaves now, `extra` later than usual.
    pub fn route(&mut self, now: Time, from: NodeId, to: NodeId, extra: std::time::Duration) -> Route {
        if self.is_blocked(from, to) {
            return Route::Lost(Loss::Blocked);
        }
        let link = self.link(from, to);
        if self.random.happens(link.loss) {
            return Route::Lost(Loss::Chance);
        }
        let mut at = now + extra + link.latency.draw(&mut self.random);
        if !self.random.happens(link.overtake) {
            let last = self.last_arrival.entry((from, to)).or_insert(at);
            at = at.max(*last);
            *last = at;
        }
        let again_at =
            self.random.happens(link.repeat).then(|| at.max(now + extra + link.latency.draw(&mut self.random)));
        let flipped_bit = self.random.happens(link.damage).then(|| self.random.bits());
        Route::Arrives { at, again_at, flipped_bit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const FROM: NodeId = NodeId(1);
    const TO: NodeId = NodeId(2);

    fn jittery(overtake: Chance) -> Network {
        let latency = Latency::between(Duration::from_millis(1), Duration::from_millis(50));
        Network::new(Link { overtake, ..Link::perfect(latency) }, Random::new(1))
    }

    fn arrivals(network: &mut Network) -> Vec<Time> {
        (0..100)
            .map(|sent| match network.route(Time(sent), FROM, TO, Duration::ZERO) {
                Route::Arrives { at, .. } => at,
                lost => panic!("{lost:?} on a link that loses nothing"),
            })
            .collect()
    }

    #[test]
    fn messages_keep_their_order_unless_they_may_overtake() {
        assert!(arrivals(&mut jittery(Chance::NEVER)).is_sorted());
        assert!(!arrivals(&mut jittery(Chance::ALWAYS)).is_sorted());
    }

    #[test]
    fn a_cut_is_one_way() {
        let mut network = jittery(Chance::NEVER);
        assert!(network.block(FROM, TO));
        assert_eq!(network.route(Time::ZERO, FROM, TO, Duration::ZERO), Route::Lost(Loss::Blocked));
        assert!(matches!(network.route(Time::ZERO, TO, FROM, Duration::ZERO), Route::Arrives { .. }));
        assert!(network.unblock(FROM, TO));
        assert!(matches!(network.route(Time::ZERO, FROM, TO, Duration::ZERO), Route::Arrives { .. }));
    }

    #[test]
    fn loss_repetition_and_damage_happen_at_their_rates() {
        let link = Link {
            loss: Chance::percent(20),
            repeat: Chance::percent(20),
            damage: Chance::percent(20),
            ..Link::perfect(Latency::ZERO)
        };
        let mut network = Network::new(link, Random::new(9));
        let routes: Vec<Route> = (0..10_000).map(|_| network.route(Time::ZERO, FROM, TO, Duration::ZERO)).collect();
        let count = |wanted: fn(&Route) -> bool| routes.iter().filter(|route| wanted(route)).count();
        assert!((1_800..2_200).contains(&count(|route| *route == Route::Lost(Loss::Chance))));
        assert!((1_400..1_800).contains(&count(|route| matches!(route, Route::Arrives { again_at: Some(_), .. }))));
        assert!((1_400..1_800).contains(&count(|route| matches!(route, Route::Arrives { flipped_bit: Some(_), .. }))));
    }
}
