//! The numbered invariants of the crate's first page, one function each.

use crate::durability::Claim;
use crate::election::Position;
use crate::entry::Payload;
use crate::leading::Leadership;
use crate::progress::Pace;
use crate::replica::Raft;
use quorate_protocol::{Role, Violation};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};

/// The cheap ones: marks and per-peer progress.
pub(crate) fn check(raft: &Raft) -> Result<(), Violation> {
    i1_leader_voted_for_itself(raft)?;
    i2_marks_are_in_order(raft)?;
    i3_durable_is_what_was_written(raft)?;
    i5_nothing_committed_is_truncated(raft)?;
    i6_progress_is_within_the_log(raft)?;
    i15_leases_end_before_transfers(raft)?;
    i8_forwarded_reads_have_a_leader(raft)?;
    i17_voters_stand(raft)
}

/// All of them.
pub(crate) fn check_deep(raft: &Raft) -> Result<(), Violation> {
    check(raft)?;
    i4_terms_ascend(raft)?;
    i7_leader_owns_its_term(raft)?;
    i9_sums_are_right(raft)?;
    i10_configuration_is_the_logs(raft)?;
    i11_rounds_ascend(raft)?;
    i12_one_configuration_is_in_flight(raft)?;
    i13_configurations_meet(raft)?;
    i14_peers_are_the_members(raft)?;
    i16_witnesses_only_vote(raft)
}

fn hold(invariant: &'static str, holds: bool, detail: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { invariant, detail: detail() }) }
}

fn leadership(raft: &Raft) -> Option<&Leadership> {
    match &raft.position {
        Position::Leader(leadership) => Some(leadership),
        _ => None,
    }
}

fn i1_leader_voted_for_itself(raft: &Raft) -> Result<(), Violation> {
    let stands = matches!(raft.position, Position::Leader(_) | Position::Candidate(_));
    let holds = !stands || raft.voted_for == Some(raft.me);
    hold("VoteOnce", holds, || format!("{} stands in term {} and voted {:?}", raft.me, raft.term, raft.voted_for))
}

fn i2_marks_are_in_order(raft: &Raft) -> Result<(), Violation> {
    let (base, decided) = (raft.log.base(), raft.decided);
    let applied = [raft.applied_durable, raft.applied, decided].is_sorted();
    let log = [base, raft.commit, raft.log.last()].is_sorted() && decided <= raft.commit;
    let joined = if raft.installing.is_some() { decided < base } else { base <= raft.applied_durable };
    hold("MarksInOrder", applied && log && joined, || {
        let marks = [base, raft.applied_durable, raft.applied, decided, raft.commit, raft.log.last()];
        format!("base, durably applied, applied, decided, commit, last: {marks:?}; installing {:?}", raft.installing)
    })
}

fn i3_durable_is_what_was_written(raft: &Raft) -> Result<(), Violation> {
    let disk = &raft.disk;
    let marks = [raft.decided, disk.durable, disk.written, raft.log.last()];
    let claims = disk.pending.iter().all(|claim| match claim {
        Claim::Log { through } => *through <= disk.written,
        Claim::Vote { term, .. } => *term <= raft.term,
    });
    hold("DurableInOrder", marks.is_sorted() && claims, || {
        format!("decided, durable, written, last: {marks:?}; under way: {:?}", disk.pending)
    })
}

fn i4_terms_ascend(raft: &Raft) -> Result<(), Violation> {
    let base = raft.log.term_at(raft.log.base()).unwrap_or(0);
    let terms = || std::iter::once(base).chain(raft.log.iter().map(|entry| entry.term)).chain([raft.term]);
    hold("TermsAscend", terms().is_sorted(), || format!("base, log, own: {:?}", terms().collect::<Vec<_>>()))
}

fn i5_nothing_committed_is_truncated(raft: &Raft) -> Result<(), Violation> {
    raft.broken.clone().map_or(Ok(()), Err)
}

fn i6_progress_is_within_the_log(raft: &Raft) -> Result<(), Violation> {
    let Some(leadership) = leadership(raft) else { return Ok(()) };
    let last = raft.log.last();
    for (peer, progress) in &leadership.peers {
        let holds = progress.matched < progress.next && progress.matched <= last && progress.next <= last.next();
        hold("ProgressInLog", holds, || format!("{peer}: {progress:?} with the log ending at {last}"))?;
    }
    Ok(())
}

fn i7_leader_owns_its_term(raft: &Raft) -> Result<(), Violation> {
    let Some(leadership) = leadership(raft) else { return Ok(()) };
    let first = leadership.first_of_term;
    let expected = (first > raft.log.base()).then_some(raft.term);
    let holds = expected.is_none() || raft.log.term_at(first) == expected;
    hold("LeaderAppendOnly", holds && raft.leader == Some(raft.me), || {
        format!("{} leads term {}; slot {first} is of term {:?}", raft.me, raft.term, raft.log.term_at(first))
    })
}

fn i8_forwarded_reads_have_a_leader(raft: &Raft) -> Result<(), Violation> {
    let holds = raft.asked_reads.is_empty() || raft.leader.is_some_and(|leader| leader != raft.me);
    hold("ReadsAreAnswered", holds, || format!("{:?} wait for {:?}", raft.asked_reads, raft.leader))
}

fn i9_sums_are_right(raft: &Raft) -> Result<(), Violation> {
    hold("SumsAreRight", raft.log.bytes() == raft.log.bytes_behind(raft.log.base()), || "the log's weight".to_owned())?;
    let Some(leadership) = leadership(raft) else { return Ok(()) };
    let undecided = raft.log.bytes_behind(raft.decided);
    hold("SumsAreRight", leadership.undecided_bytes == undecided, || {
        format!("{} bytes are counted undecided, {undecided} are", leadership.undecided_bytes)
    })?;
    let windows = leadership.peers.values().all(|progress| match &progress.pace {
        Pace::Replicate(window) => window.is_consistent(),
        Pace::Probe { .. } | Pace::Snapshot(_) => true,
    });
    hold("SumsAreRight", windows, || format!("a window of {:?}", leadership.peers))
}

fn i10_configuration_is_the_logs(raft: &Raft) -> Result<(), Violation> {
    let in_log = raft.log.iter().filter_map(|entry| match &entry.payload {
        Payload::Members(configuration) => Some(&**configuration),
        Payload::Command(_) | Payload::NoOp => None,
    });
    let last = in_log.last().unwrap_or(raft.configurations.base());
    let holds = raft.configurations.in_force() == last && *raft.configurations.quorum() == last.quorum();
    hold("ConfigurationAtAppend", holds, || format!("{:?} is in force, not {last:?}", raft.configurations.in_force()))
}

fn i11_rounds_ascend(raft: &Raft) -> Result<(), Violation> {
    let Some(leadership) = leadership(raft) else { return Ok(()) };
    let answered = leadership.peers.values().all(|progress| progress.answered_round <= leadership.round);
    hold("RoundsAscend", answered && leadership.reads.is_consistent(leadership.round), || {
        format!("round {}, {:?}, {:?}", leadership.round, leadership.reads, leadership.peers)
    })
}

/// A leader appends a configuration only when everything before its term, and every configuration before, is committed.
fn i12_one_configuration_is_in_flight(raft: &Raft) -> Result<(), Violation> {
    let Some(leadership) = leadership(raft) else { return Ok(()) };
    let first = leadership.first_of_term;
    let own: Vec<Slot> = raft.configurations.earlier().map(|(_, slot)| slot).filter(|slot| *slot >= first).collect();
    let in_flight = own.iter().filter(|slot| **slot > raft.commit).count();
    let holds = own.is_empty() || (raft.commit >= first && in_flight <= 1);
    hold("OneConfigInFlight", holds, || format!("term {} began at {first}: {own:?}; commit {}", raft.term, raft.commit))
}

/// The base of a node that joined and took the log from its beginning may be unknown to it.
fn i13_configurations_meet(raft: &Raft) -> Result<(), Violation> {
    let mut before = raft.configurations.base();
    for (configuration, slot) in raft.configurations.appended() {
        let known = !before.quorum().is_empty();
        hold("ConfigurationsMeet", !known || configuration.may_follow(before), || {
            format!("slot {slot} brings {configuration:?} after {before:?}")
        })?;
        before = configuration;
    }
    Ok(())
}

fn i14_peers_are_the_members(raft: &Raft) -> Result<(), Violation> {
    let Some(leadership) = leadership(raft) else { return Ok(()) };
    let in_force = raft.configurations.in_force();
    let complete = in_force.others(raft.me).iter().all(|id| leadership.peers.contains_key(id));
    let told = leadership.farewells.keys().all(|id| leadership.peers.contains_key(id) && !in_force.contains(*id));
    let learner = |id: &NodeId| in_force.members.get(*id).is_some_and(|member| !member.counts());
    let learners = leadership.learners.keys().all(learner);
    let has_witness = in_force.all().any(|member| !member.stores_data());
    let attends = |member: &Member| member.id == raft.me || leadership.attendance.voters.contains_key(&member.id);
    let attendance = !has_witness || in_force.all().filter(|member| member.role == MemberRole::Voter).all(attends);
    hold("PeersAreMembers", complete && told && learners && attendance, || {
        format!("{:?}, {:?}, {:?} of {in_force:?}", leadership.peers, leadership.farewells, leadership.learners)
    })
}

fn i15_leases_end_before_transfers(raft: &Raft) -> Result<(), Violation> {
    let Some(Leadership { lease, handover, round, .. }) = leadership(raft) else { return Ok(()) };
    let to_another = handover.is_none_or(|handover| handover.to != raft.me && lease.is_given_up());
    hold("NoLeaseWhileHandingOver", to_another && lease.is_consistent(*round), || {
        format!("{handover:?} with {lease:?} in round {round}")
    })
}

/// A configuration that nobody founded or wished for, of a base that is not known, has no members at all.
fn i16_witnesses_only_vote(raft: &Raft) -> Result<(), Violation> {
    let appended = raft.configurations.appended().map(|(configuration, _)| configuration);
    let halves = std::iter::once(raft.configurations.base())
        .chain(appended)
        .flat_map(|configuration| configuration.outgoing.iter().chain([&configuration.members]));
    let few = |half: &Membership| {
        let count = |role| half.members().iter().filter(|member| member.role == role).count();
        count(MemberRole::Witness) <= count(MemberRole::Voter)
    };
    let (counts, part) = (halves.into_iter().all(few), raft.role());
    let has_commands = |payload: &Payload| matches!(payload, Payload::Command(commands) if !commands.is_empty());
    let only_votes = !raft.is_witness()
        || (!matches!(part, Role::Leader | Role::Candidate)
            && !raft.log.iter().any(|entry| has_commands(&entry.payload)));
    hold("WitnessesOnlyVote", counts && only_votes, || {
        format!("{} is a {part:?} with {:?} under {:?}", raft.me, raft.log, raft.configurations)
    })
}

/// A leader that is to leave has no vote in the configuration in force, but had one before it.
fn i17_voters_stand(raft: &Raft) -> Result<(), Violation> {
    let configurations = &raft.configurations;
    let holds = matches!(raft.position, Position::Follower)
        || configurations.in_force().is_voter(raft.me)
        || configurations.earlier().any(|(configuration, _)| configuration.is_voter(raft.me));
    hold("VotersStand", holds, || format!("{} is a {:?} under {configurations:?}", raft.me, raft.role()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::durability::DiskMarks;
    use crate::entry::{Configuration, Entry};
    use crate::transfer::Cause;
    use quorate_protocol::Lease;
    use quorate_protocol::{Durable, Landmarks, Outbox, ReadToken, Replica, Setup, Start};
    use quorate_types::{ClusterId, DiskId, Incarnation, Ticket};

    fn fresh() -> Raft {
        let setup = Setup {
            cluster: ClusterId(1),
            me: NodeId(1),
            disk: DiskId(1),
            incarnation: Incarnation(1),
            start: Start::Found(Membership::of_voters(3)),
        };
        let mut out = Outbox::new(Ticket::NONE, false);
        Raft::open(&setup, &Config::default(), Durable::nothing(), &mut out).unwrap()
    }

    #[test]
    fn a_fresh_replica_holds_them_all() {
        assert_eq!(check_deep(&fresh()), Ok(()));
    }

    #[test]
    fn marks_out_of_order_are_noticed() {
        let ahead_of_its_log = Raft { commit: Slot(1), ..fresh() };
        assert_eq!(check(&ahead_of_its_log).unwrap_err().invariant, "MarksInOrder");
        let mut not_durable = fresh();
        not_durable.disk.durable = Slot(1);
        assert_eq!(check(&not_durable).unwrap_err().invariant, "DurableInOrder");
    }

    /// A leader of term 1 with its no-op in slot 1.
    fn leader() -> Raft {
        let mut raft = fresh();
        raft.log.push(Entry { term: 1, payload: Payload::NoOp });
        raft.disk = DiskMarks::at_rest(Slot(1), Landmarks::new());
        (raft.term, raft.voted_for, raft.leader) = (1, Some(NodeId(1)), Some(NodeId(1)));
        let peers = raft.configurations.in_force().others(raft.me);
        let undecided_bytes = raft.log.bytes_behind(Slot::ZERO);
        raft.position = Position::Leader(Box::new(Leadership::new(peers, Slot(1), undecided_bytes)));
        raft
    }

    fn spoilt(spoil: impl FnOnce(&mut Raft, &mut Leadership)) -> &'static str {
        let mut raft = leader();
        let Position::Leader(mut leadership) = std::mem::replace(&mut raft.position, Position::Follower) else {
            panic!("it leads")
        };
        spoil(&mut raft, &mut leadership);
        raft.position = Position::Leader(leadership);
        check_deep(&raft).expect_err("it is spoilt").invariant
    }

    fn appended(raft: &mut Raft, leadership: &mut Leadership, configuration: &Configuration, times: u64) {
        for _ in 0..times {
            raft.log.push(Entry { term: 1, payload: Payload::Members(Box::new(configuration.clone())) });
            raft.configurations.append(raft.log.last(), configuration.clone());
        }
        raft.disk = DiskMarks::at_rest(raft.log.last(), Landmarks::new());
        leadership.undecided_bytes = raft.log.bytes_behind(Slot::ZERO);
    }

    #[test]
    fn every_other_invariant_is_noticed_when_broken() {
        assert_eq!(check_deep(&leader()), Ok(()));
        assert_eq!(spoilt(|raft, _| raft.voted_for = Some(NodeId(2))), "VoteOnce");
        assert_eq!(spoilt(|raft, _| (raft.me, raft.voted_for) = (NodeId(9), Some(NodeId(9)))), "VotersStand");
        let claim = Claim::Log { through: Slot(9) };
        assert_eq!(spoilt(|raft, _| raft.disk.pending.push(Ticket(1), claim)), "DurableInOrder");
        assert_eq!(spoilt(|raft, _| raft.term = 0), "TermsAscend");
        let broken = Violation { invariant: "NoTruncateBelowCommit", detail: String::new() };
        assert_eq!(spoilt(|raft, _| raft.broken = Some(broken)), "NoTruncateBelowCommit");
        let beyond = |_: &mut Raft, leadership: &mut Leadership| {
            leadership.peers.values_mut().for_each(|progress| progress.next = Slot(3));
        };
        assert_eq!(spoilt(beyond), "ProgressInLog");
        assert_eq!(spoilt(|raft, _| raft.term = 2), "LeaderAppendOnly");
        let token = ReadToken { node: NodeId(1), incarnation: Incarnation(1), number: 1 };
        assert_eq!(
            spoilt(|raft, _| {
                raft.asked_reads.insert(token);
            }),
            "ReadsAreAnswered"
        );
        assert_eq!(spoilt(|_, leadership| leadership.undecided_bytes += 1), "SumsAreRight");
        assert_eq!(
            spoilt(|raft, _| raft.configurations.append(Slot(1), Configuration::default())),
            "ConfigurationAtAppend"
        );
        let same = Configuration::of(Membership::of_voters(3));
        assert_eq!(spoilt(|raft, leadership| appended(raft, leadership, &same, 2)), "OneConfigInFlight");
        let disjoint = Configuration::of(Membership::new([1, 8, 9].map(|id| Member::voter(NodeId(id)))));
        let jump = |raft: &mut Raft, leadership: &mut Leadership| {
            appended(raft, leadership, &disjoint, 1);
            (raft.commit, leadership.first_of_term) = (Slot(1), Slot(1));
        };
        assert_eq!(spoilt(jump), "ConfigurationsMeet");
        assert_eq!(spoilt(|_, leadership| leadership.peers.clear()), "PeersAreMembers");
        let early = |_: &mut Raft, leadership: &mut Leadership| {
            leadership.peers.values_mut().for_each(|progress| progress.answered_round = 1);
        };
        assert_eq!(spoilt(early), "RoundsAscend");
        let witness = Member { role: MemberRole::Witness, ..Member::voter(NodeId(1)) };
        let as_witness =
            Configuration::of(Membership::new([2, 3].map(|id| Member::voter(NodeId(id))).into_iter().chain([witness])));
        assert_eq!(
            spoilt(|raft, leadership| {
                appended(raft, leadership, &as_witness, 1);
                (raft.commit, leadership.first_of_term) = (Slot(1), Slot(1));
                for id in [2, 3] {
                    leadership.attendance.voters.insert(NodeId(id), crate::promotion::CatchUp::begin(Slot(1), 0));
                }
            }),
            "WitnessesOnlyVote"
        );
        assert_eq!(
            spoilt(|raft, leadership| {
                appended(raft, leadership, &as_witness, 1);
                (raft.commit, leadership.first_of_term) = (Slot(1), Slot(1));
            }),
            "PeersAreMembers"
        );
        let outbox = &mut Outbox::new(Ticket::NONE, false);
        let mut handing_over = leader();
        handing_over.hand_over(NodeId(2), Cause::Priority, outbox);
        assert_eq!(check_deep(&handing_over), Ok(()));
        let Position::Leader(leadership) = &mut handing_over.position else { panic!("it leads") };
        leadership.lease = Lease::default();
        assert_eq!(check(&handing_over).expect_err("it is spoilt").invariant, "NoLeaseWhileHandingOver");
    }
}
