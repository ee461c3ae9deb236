//! Viewstamped Replication Revisited.

use super::{Scripted, ScriptedTimes, open_to_all, voters};
use crate::marks::Mark;
use crate::random::{Chance, Random, nanos};
use crate::swarm::subject::{Decided, Pace, Standing, Subject, Trust, fingerprint};
use quorate_protocol::{Replica, Role, Violation};
use quorate_types::{NodeId, Slot};
use quorate_viewstamped::{Config, View, Viewstamped};
use std::time::Duration;

impl Subject for Viewstamped {
    const SLOTS: Option<u64> = None;
    const LEADERS_MOVE: bool = true;
    const MEMBERS_CHANGE: bool = true;

    const IMPOSSIBLE_MARKS: &'static [Mark] = &[
        // A primary that hands over leaves its view at once: there is nothing to come back to.
        Mark::TransferAborted,
        // Voters take turns: nobody is preferred.
        Mark::PreferredTookOver,
        // Every read asks a quorum.
        Mark::LeaseRead,
        // All members store data.
        Mark::WitnessTookPart,
        // One epoch ends where the next begins.
        Mark::JointEntered,
        Mark::JointFinished,
    ];

    fn draw_config(random: &mut Random, pace: Pace) -> Config {
        let patience = nanos(pace.patience);
        let size = |random: &mut Random, low, high| usize::try_from(random.log_uniform(low, high)).unwrap_or(1);
        Config {
            view_timeout: pace.patience,
            heartbeat_interval: Duration::from_nanos(random.between(patience / 40, patience / 10)),
            read_retry_interval: Duration::from_nanos(random.log_uniform(patience / 20, patience * 2)),
            prepare_bytes: random.log_uniform(16, 1 << 16),
            prepare_entries: size(random, 1, 64),
            window_messages: size(random, 1, 16),
            undecided_bytes: random.log_uniform(64, 1 << 20),
            state_bytes: random.log_uniform(64, 1 << 20),
            waiting_reads: size(random, 1, 256),
            // From a copy: whatever else is drawn of a seed stays what it was.
            read_rounds: size(&mut random.clone(), 1, 32),
            compact_after_entries: random.log_uniform(1, 200),
            compact_keep_entries: random.between(0, 16),
            // Half the time a laggard is not waited for, and gets a snapshot.
            keep_log_bytes: if random.happens(Chance::percent(50)) {
                random.log_uniform(64, 1 << 16)
            } else {
                64 << 20
            },
            keep_log_entries: random.log_uniform(1, 1 << 16),
            snapshot_retry_heartbeats: u32::try_from(random.log_uniform(1, 16)).unwrap_or(1),
            farewell_heartbeats: u32::try_from(random.log_uniform(10, 200)).unwrap_or(10),
        }
    }

    fn standing(&self) -> Standing {
        let wished = self.next_configuration().map(|next| &next.members);
        open_to_all(self.view().epoch, &self.configuration().members, wished)
    }

    fn trusts(&self) -> Vec<Trust> {
        let known = |(peer, slot)| Some(Trust { peer, slot, entry: entry_of(self, slot)? });
        self.matched().filter_map(known).collect()
    }

    /// What ends an epoch was committed by the members of that epoch.
    fn calls_decided(&self) -> Option<Decided> {
        let slot = self.commit();
        let entry = entry_of(self, slot).filter(|_| self.is_primary())?;
        let configuration = self.configuration();
        let before = self.log().configuration_before(configuration.epoch);
        let is_before = self.log().beginning_of(configuration.epoch).is_none_or(|at| slot <= at);
        let by = before.filter(|_| is_before).unwrap_or(configuration);
        Some(Decided { slot, entry, by: vec![vec![voters(&by.members)]] })
    }

    /// Nobody is asked before the first view of an epoch begins.
    fn may_have_elected(&self, _: NodeId, era: u64) -> bool {
        era & u64::from(u32::MAX) == 0 || self.view().era() >= era
    }

    fn has_heard(&self) -> Vec<NodeId> {
        self.answered().collect()
    }

    fn check_together(running: &[&Self]) -> Result<(), Violation> {
        check_logs_of_views(running)?;
        check_kept(running)
    }

    fn holds(&self, slot: Slot, entry: u64) -> bool {
        slot <= self.log().base() || entry_of(self, slot) == Some(entry)
    }
}

impl Scripted for Viewstamped {
    fn paced(times: &ScriptedTimes) -> Config {
        let usual = Config::default();
        Config {
            view_timeout: times.election_timeout,
            heartbeat_interval: times.heartbeat,
            prepare_entries: times.entries_per_append.unwrap_or(usual.prepare_entries),
            ..usual
        }
    }
}

fn entry_of(replica: &Viewstamped, slot: Slot) -> Option<u64> {
    replica.log().get(slot).map(|entry| fingerprint(&entry.decision()))
}

/// `NormalLogAgree`: of two that are normal in one view, one has a prefix of the other's log. Up to where both know it committed, states
/// are compared anyway. Who joins an epoch enters its first view with all that is committed, also of later views.
fn check_logs_of_views(running: &[&Viewstamped]) -> Result<(), Violation> {
    let is_of_one_log = |view: View| view.number > 0 || view.epoch == 1;
    let normal: Vec<&Viewstamped> =
        running.iter().copied().filter(|one| one.is_normal() && is_of_one_log(one.view())).collect();
    for (at, one) in normal.iter().enumerate() {
        for other in normal[..at].iter().filter(|other| other.view() == one.view()) {
            let known = one.commit().min(other.commit()).max(one.log().base()).max(other.log().base());
            let last = one.log().last().min(other.log().last());
            let differs = |slot: &Slot| one.log().get(*slot) != other.log().get(*slot);
            if let Some(slot) = (known.next().0..=last.0).map(Slot).find(differs) {
                let detail = format!("two are normal in view {} and have something else in slot {slot}", one.view());
                return Err(Violation { invariant: "NormalLogAgree", detail });
            }
        }
    }
    Ok(())
}

/// `DecidedIsKept`: no quorum of those who run would begin a view with a log that lacks what one of them knows committed. Of the
/// newest epoch alone: who is in an earlier one still has to be told that it ended.
fn check_kept(running: &[&Viewstamped]) -> Result<(), Violation> {
    let votes = |one: &&Viewstamped| matches!(one.status().role, Role::Leader | Role::Follower | Role::Candidate);
    let Some(newest) = running.iter().map(|one| one.configuration().epoch).max() else { return Ok(()) };
    let of_newest = running.iter().copied().filter(|one| one.configuration().epoch == newest);
    let known = of_newest.clone().filter_map(|one| Some((one.commit(), entry_of(one, one.commit())?, one)));
    let Some((slot, entry, by)) = known.max_by_key(|(slot, ..)| *slot) else { return Ok(()) };
    let voters: Vec<&Viewstamped> = of_newest.filter(votes).collect();
    let rank = |one: &Viewstamped| (one.last_normal(), one.log().last());
    let wins = |one: &&&Viewstamped| {
        let offers = voters.iter().filter(|other| rank(other) <= rank(one)).count();
        !one.holds(slot, entry) && offers * 2 > by.configuration().members.voters().count()
    };
    match voters.iter().find(wins) {
        None => Ok(()),
        Some(one) => {
            let ((view, last), committed_in) = (rank(one), by.view());
            let detail = format!(
                "slot {slot} with entry {entry} is known committed in view {committed_in}, and enough of those who run would begin \
                 a view with a log of view {view} that ends at slot {last} and has it not"
            );
            Err(Violation { invariant: "DecidedIsKept", detail })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate_protocol::Input;
    use quorate_protocol::testbed::Testbed;
    use quorate_viewstamped::{Entries, Entry, Message};

    /// Three voters; these backups heard of an entry in slot 1 from the primary of view 0, and whether it is committed.
    fn broken(heard: &[(u64, &'static str, bool)]) -> Option<&'static str> {
        let mut bed = Testbed::<Viewstamped>::new(3, Config::default()).without_ghost();
        bed.run(1_000, |_| true);
        for (id, commands, committed) in heard {
            let message = Message::Prepare {
                view: View { epoch: 1, number: 0 },
                first: Slot(1),
                entries: Entries::from(vec![Entry::Commands(Bytes::from_static(commands.as_bytes()))]),
                commit: Slot(u64::from(*committed)),
                everyone_has: Slot::ZERO,
                round: 0,
            };
            bed.input(NodeId(*id), Input::Receive { from: NodeId(1), message });
        }
        let running: Vec<&Viewstamped> = (1..=3).map(|id| bed.replica(NodeId(id))).collect();
        Viewstamped::check_together(&running).err().map(|violation| violation.invariant)
    }

    #[test]
    fn what_is_known_committed_must_be_where_a_view_would_begin_with_it() {
        assert_eq!(broken(&[(2, "x", false)]), None, "nobody knows it committed");
        assert_eq!(broken(&[(2, "x", true), (3, "x", false)]), None);
        assert_eq!(broken(&[(2, "x", true)]), Some("DecidedIsKept"), "the others would begin without it");
    }

    #[test]
    fn what_is_normal_in_one_view_has_one_log() {
        assert_eq!(broken(&[(2, "x", false), (3, "y", false)]), Some("NormalLogAgree"));
    }
}
