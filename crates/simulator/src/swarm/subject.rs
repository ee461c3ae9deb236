//! What a protocol and a state machine must say about themselves to be simulated at random.

use super::steering::Guidance;
use crate::marks::Mark;
use crate::random::Random;
use bytes::Bytes;
use quorate_machine::{ClientId, DutyConfig, StateMachine};
use quorate_protocol::{Decision, Replica, Violation};
use quorate_quorum::majority;
use quorate_types::{NodeId, Slot, Time};
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// How fast a drawn world is, for choosing timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The patience of the cluster: how long silence lasts before somebody else takes over. Everything else in a plan is
    /// drawn relative to it.
    pub patience: Duration,
}

/// A protocol that can be run by random seeds.
pub trait Subject: Replica {
    /// How many slots it ever decides; `None` for a log.
    const SLOTS: Option<u64>;

    /// Rare things that cannot happen in this protocol, so that no campaign is blamed for not having seen them.
    const IMPOSSIBLE_MARKS: &'static [Mark];

    /// Whether its leaders can be told whom to hand over to.
    const LEADERS_MOVE: bool = false;

    /// Whether its members can be changed.
    const MEMBERS_CHANGE: bool = false;

    /// Whether whoever reaches a majority comes to lead though links are cut for ever, and is not unseated by those who do not hear it.
    const LEADS_ON_PARTIAL_LINKS: bool = false;

    /// Whether only who has everything decided can come to lead; elsewhere a new leader learns it from those who agree.
    const LEADERS_HAVE_EVERYTHING: bool = false;

    /// Whether members may vote and store no data.
    const HAS_WITNESSES: bool = false;

    /// Settings for a cluster of this pace: legal ones, tiny limits and bad ratios included.
    fn draw_config(random: &mut Random, pace: Pace) -> Self::Config;

    /// The settings of one node, where a seed says who should lead and what reads rest on.
    fn guided(config: Self::Config, _node: NodeId, _guidance: &Guidance) -> Self::Config {
        config
    }

    /// What this replica would need to decide anything new, going by what it has.
    fn standing(&self) -> Standing {
        let halves = vec![self.status().membership.voters().collect()];
        Standing { halves, log_end: (0, Slot::ZERO), may_follow: None }
    }

    /// How many of so many voters are enough to elect.
    fn enough_to_elect(&self, voters: usize) -> usize {
        majority(voters)
    }

    /// How many of so many voters are enough to decide.
    fn enough_to_decide(&self, voters: usize) -> usize {
        majority(voters)
    }

    /// Whether it may answer reads without asking anybody, at this time on its own clock.
    fn reads_alone(&self, _now: Time) -> bool {
        false
    }

    /// While this replica leads: which peers it takes to have its own log up to where.
    fn trusts(&self) -> Vec<Trust> {
        Vec::new()
    }

    /// While this replica leads: the last slot it calls decided, and by whom.
    fn calls_decided(&self) -> Option<Decided> {
        None
    }

    /// Whether it may have voted for this node in this era: it did, or has gone on to a later one.
    fn may_have_elected(&self, _leader: NodeId, _era: u64) -> bool {
        true
    }

    /// While this replica leads: whose answers it counts in this era.
    fn has_heard(&self) -> Vec<NodeId> {
        Vec::new()
    }

    /// What holds of all who run; asked when one of them has found something decided, and now and then while somebody leads.
    ///
    /// # Errors
    /// What does not.
    fn check_together(_running: &[&Self]) -> Result<(), Violation> {
        Ok(())
    }

    /// Whether its log has that entry in that slot, or begins behind it with a snapshot.
    fn holds(&self, _slot: Slot, _entry: u64) -> bool {
        true
    }
}

/// What a leader counts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// This peer ...
    pub peer: NodeId,
    /// ... has its log up to here ...
    pub slot: Slot,
    /// ... where there is this entry: named by its era, or where a value may be written anew in later eras by its [`fingerprint`].
    pub entry: u64,
}

/// What a leader calls decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Up to here ...
    pub slot: Slot,
    /// ... where there is this entry, named as in [`Trust`].
    pub entry: u64,
    /// By one of these, each of which was in force: enough of each of its halves have it.
    pub by: Vec<Vec<Vec<NodeId>>>,
}

/// What decides whether a replica can get anything decided, if some of the others are gone for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The sets of voters of which each must agree, by a quorum.
    pub halves: Vec<Vec<NodeId>>,
    /// Nobody agrees to one whose log ends before its own: the era of its last entry, and its slot; or whatever the protocol compares.
    pub log_end: (u64, Slot),
    /// The voters of other members that were wished for and that this replica has: whoever comes to lead may find the wish here and
    /// bring it about. `None` also where the wish would count for nobody else, or is among the halves.
    pub may_follow: Option<Vec<NodeId>>,
}

/// Names what a slot was proposed to be: the same for the same, whenever and by whomever it is written.
#[must_use]
pub fn fingerprint(what: &Decision) -> u64 {
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// A key with what it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The revision that wrote it.
    pub written_at: u64,
}

/// What a reply means to a judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A put took effect as this revision.
    Put {
        /// Which.
        revision: u64,
    },
    /// A delete took effect, or found nothing.
    Delete {
        /// The revision behind it.
        revision: u64,
        /// Whether there was something to remove.
        existed: bool,
    },
    /// A read saw this.
    Found {
        /// The revision of the state it was read from.
        revision: u64,
        /// In order of keys.
        entries: Vec<Versioned>,
    },
    /// A swap was done, or found something else.
    Swapped {
        /// The revision of the write, or of the state that was something else.
        revision: u64,
        /// Whether it was done.
        succeeded: bool,
    },
    /// The past below some revision is forgotten.
    Compacted,
    /// There is this lease now.
    Granted,
    /// A lease has its full time again.
    Renewed,
    /// A lease is gone, and its keys with it.
    Revoked {
        /// The revision behind it.
        revision: u64,
    },
    /// There is no such lease, or its end is settled.
    NoLease,
    /// Nothing that grows is taken, for a disk is nearly full. Nothing was changed.
    NoSpace,
    /// A disk is not called full any more.
    Cleared,
    /// A client has a session.
    Opened {
        /// Its name.
        client: ClientId,
    },
    /// A client has it no more.
    Closed,
    /// The state machine refused, in words. Nothing the campaign asks for may be refused.
    Refused(String),
}

/// What the mirror of a key begins with. No client asks for it by itself.
pub const MIRROR: &[u8] = b"mirror/";

/// A state machine that random campaigns know how to use and to judge: keys with values, where every change has a
/// revision and every past revision can be read.
pub trait Judged: StateMachine {
    /// The command that puts a value.
    fn put(key: &Bytes, value: &Bytes) -> Bytes;

    /// The command that deletes a key.
    fn delete(key: &Bytes) -> Bytes;

    /// Whether a swap also sets the key's mirror, [`MIRROR`] and the key, to the same value: a transaction over two keys.
    const SWAPS_WRITE_MIRRORS: bool = false;

    /// The command that sets a key if it holds what is expected (`None`: if it does not exist), if there is one.
    fn swap(_key: &Bytes, _expected: Option<&Bytes>, _value: &Bytes) -> Option<Bytes> {
        None
    }

    /// The command that forgets what can only be read below a revision, if there is one.
    fn compact(_revision: u64) -> Option<Bytes> {
        None
    }

    /// The command that makes a lease, if there are leases.
    fn grant(_lease: u64, _ttl_seconds: u64) -> Option<Bytes> {
        None
    }

    /// The command that sets a key which goes with its lease, if there are leases.
    fn attach(_lease: u64, _key: &Bytes, _value: &Bytes) -> Option<Bytes> {
        None
    }

    /// The command that ends a lease, if there are leases.
    fn revoke(_lease: u64) -> Option<Bytes> {
        None
    }

    /// The errand that renews a lease, if there are leases.
    fn keep_alive(_lease: u64) -> Option<Bytes> {
        None
    }

    /// What the answer to an errand means.
    fn errand_meaning(answer: &Bytes) -> Meaning {
        Meaning::Refused(format!("{answer:?}"))
    }

    /// All leases there are.
    fn leases(&self) -> Vec<u64> {
        Vec::new()
    }

    /// The command that says that a member's disk has room again, if there is one.
    fn clear_low_space(_member: NodeId) -> Option<Bytes> {
        None
    }

    /// Whose disks are said to be nearly full.
    fn low_space(&self) -> Vec<NodeId> {
        Vec::new()
    }

    /// The history that watchers are served from, if it can be watched.
    fn history(&self) -> Option<&dyn quorate_watch::History> {
        None
    }

    /// The leader's settings, where the log says what leases have left as often as this.
    fn duty(_lease_checkpoints_every: Duration) -> DutyConfig<Self> {
        DutyConfig::<Self>::default()
    }

    /// The question for one key, or for all.
    fn get(key: Option<&Bytes>) -> Self::Query;

    /// What a reply means.
    fn meaning(reply: &Self::Reply) -> Meaning;

    /// A reply in words, for scripts that look for them.
    fn words(reply: &Self::Reply) -> String {
        match Self::meaning(reply) {
            Meaning::Put { revision } => format!("revision {revision}"),
            Meaning::Delete { revision, existed } => format!("{} deleted, revision {revision}", u64::from(existed)),
            Meaning::Found { entries, .. } if entries.is_empty() => "nothing".to_owned(),
            Meaning::Found { entries, .. } => {
                let entry = |entry: &Versioned| {
                    format!("{} (revision {})", String::from_utf8_lossy(&entry.value), entry.written_at)
                };
                entries.iter().map(entry).collect::<Vec<_>>().join(", ")
            }
            Meaning::Swapped { revision, succeeded: true } => format!("swapped, revision {revision}"),
            Meaning::Swapped { revision, succeeded: false } => format!("not as expected, revision {revision}"),
            Meaning::Compacted => "compacted".to_owned(),
            Meaning::Granted => "granted".to_owned(),
            Meaning::Renewed => "renewed".to_owned(),
            Meaning::Revoked { revision } => format!("revoked, revision {revision}"),
            Meaning::NoLease => "no such lease".to_owned(),
            Meaning::NoSpace => "no space".to_owned(),
            Meaning::Cleared => "cleared".to_owned(),
            Meaning::Opened { client } => format!("session {:x}", client.nonce),
            Meaning::Closed => "closed".to_owned(),
            Meaning::Refused(why) => why,
        }
    }

    /// The least revision that can be read.
    fn oldest_revision(&self) -> u64 {
        1
    }

    /// The last revision.
    fn revision(&self) -> u64;

    /// Everything there was behind a past revision, in order of keys.
    ///
    /// # Errors
    /// In words, when that revision cannot be read.
    fn contents_at(&self, revision: u64) -> Result<Vec<Versioned>, String>;
}
