//! The leader's side: proposals, replication, commit (Raft §5.3, §5.4.2; dissertation, 10.2.1).

use crate::config::Config;
use crate::election::Position;
use crate::entry::{Entries, Entry, Payload};
use crate::log::Taken;
use crate::membership::Farewell;
use crate::message::{Append, AppendOutcome, Message};
use crate::progress::{Pace, Plan, Progress, Transfer};
use crate::promotion::CatchUp;
use crate::replica::{Raft, Timer};
use crate::rules;
use crate::transfer::{self, DiskWatch, Handover, HeartbeatMarks};
use crate::witness::{Attendance, take_for_witness};
use bytes::Bytes;
use quorate_protocol::{Event, Lease, Outbox, ReadQueue, Refusal, Refused, RequestId, SnapshotId};
use quorate_types::{NodeId, Slot};
use std::collections::{BTreeMap, BTreeSet};

/// What a leader knows besides its log. Forgotten when it stops leading.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leadership {
    /// Every other member, and those who were members until the latest change and are still to be told.
    pub peers: BTreeMap<NodeId, Progress>,
    /// The slot of its no-op: once committed, the commit mark is up to date.
    pub first_of_term: Slot,
    /// Grows whenever a sign of life is wanted of the peers.
    pub round: u64,
    /// Who answered since the last check of the quorum.
    pub heard: BTreeSet<NodeId>,
    /// Reads that wait for their round.
    pub reads: ReadQueue,
    /// The weight of the entries behind `Raft::decided`.
    pub undecided_bytes: u64,
    /// How its disk does.
    pub disk: DiskWatch,
    /// Somebody else shall lead.
    pub handover: Option<Handover>,
    /// Until when nobody else can lead, where leases are on.
    pub lease: Lease,
    /// For how many heartbeats it has led.
    pub tenure_heartbeats: u32,
    /// What was true at the last heartbeat.
    pub last_heartbeat: HeartbeatMarks,
    /// What was true at the one before, which every peer in health has answered.
    pub heartbeat_before: HeartbeatMarks,
    /// Something is durable somewhere that was not when commits were last counted.
    pub recount: bool,
    /// Peers that are no members any more and are still to be told so.
    pub farewells: BTreeMap<NodeId, Farewell>,
    /// How each learner keeps up.
    pub learners: BTreeMap<NodeId, CatchUp>,
    /// A heartbeat interval is over since those who caught up were last made voters.
    pub promotion_due: bool,
    /// How the voters with data keep up, where there are witnesses.
    pub attendance: Attendance,
}

impl Leadership {
    /// The snapshots on their way.
    pub(crate) fn sending(&self) -> impl Iterator<Item = (NodeId, (SnapshotId, Slot))> + '_ {
        self.peers.iter().filter_map(|(peer, progress)| match progress.pace {
            Pace::Snapshot(Transfer::Sending { id, through }) => Some((*peer, (id, through))),
            Pace::Snapshot(_) | Pace::Probe { .. } | Pace::Replicate(_) => None,
        })
    }

    /// A new leader of this log, whose no-op is in `first_of_term`.
    #[must_use]
    pub fn new(peers: BTreeSet<NodeId>, first_of_term: Slot, undecided_bytes: u64) -> Leadership {
        Leadership {
            peers: peers.into_iter().map(|peer| (peer, Progress::unknown(first_of_term))).collect(),
            first_of_term,
            round: 0,
            heard: BTreeSet::new(),
            reads: ReadQueue::default(),
            undecided_bytes,
            disk: DiskWatch::default(),
            handover: None,
            lease: Lease::default(),
            tenure_heartbeats: 0,
            last_heartbeat: HeartbeatMarks::default(),
            heartbeat_before: HeartbeatMarks::default(),
            recount: false,
            farewells: BTreeMap::new(),
            learners: BTreeMap::new(),
            promotion_due: false,
            attendance: Attendance::default(),
        }
    }

    /// The greatest round `id` answered; a leader, `me`, answers itself at once.
    #[must_use]
    pub fn answered_round(&self, me: NodeId, id: NodeId) -> u64 {
        if id == me { self.round } else { self.peers.get(&id).map_or(0, |progress| progress.answered_round) }
    }

    /// Wants a sign of life of every peer.
    pub fn begin_round(&mut self) {
        self.round += 1;
        self.peers.values_mut().for_each(|progress| progress.due = true);
    }
}

impl Raft {
    pub(crate) fn propose(&mut self, request: RequestId, commands: Bytes, out: &mut Outbox<Raft>) {
        let hint = self.leader.filter(|leader| *leader != self.me);
        let Position::Leader(leadership) = &mut self.position else {
            out.trace(|| Event::refused(&rules::PROPOSE).with("why", "it does not lead"));
            return out.refuse(Refused::Request(request), Refusal::NotLeader { hint });
        };
        if leadership.is_handing_over() {
            out.trace(|| Event::refused(&rules::PROPOSE).with("why", transfer::UNDER_WAY));
            return out.refuse(Refused::Request(request), Refusal::NotReady(transfer::UNDER_WAY));
        }
        let entry = Entry { term: self.term, payload: Payload::Command(commands) };
        let undecided = leadership.undecided_bytes;
        // A batch greater than the whole budget still gets its turn: when nothing else is undecided.
        if undecided > 0 && undecided + entry.bytes() > self.config.undecided_bytes {
            out.trace(|| {
                Event::refused(&rules::PROPOSE).with("why", format!("{undecided} bytes are undecided already"))
            });
            return out.refuse(Refused::Request(request), Refusal::Overloaded);
        }
        leadership.undecided_bytes += entry.bytes();
        let (term, slot) = (self.term, self.log.last().next());
        out.trace(|| Event::allowed(&rules::PROPOSE).with("slot", slot).with("term", term));
        self.append_own(entry);
    }

    /// Appends to its own log; `settle` sends and writes it.
    pub(crate) fn append_own(&mut self, entry: Entry) {
        self.log.push(entry);
    }

    pub(crate) fn heartbeat_expired(&mut self, out: &mut Outbox<Raft>) {
        let Position::Leader(leadership) = &mut self.position else {
            return self.drop_timer(Timer::Heartbeat, "it does not lead", out);
        };
        leadership.begin_round();
        leadership.peers.values_mut().for_each(Progress::heartbeat);
        leadership.farewells.values_mut().for_each(Farewell::heartbeat);
        leadership.learners.values_mut().for_each(CatchUp::heartbeat);
        leadership.attendance.heartbeat();
        leadership.promotion_due = true;
        self.note_heartbeat();
        self.consider_priorities(out);
        self.set_exact_timer(Timer::Heartbeat, self.config.heartbeat_interval, out);
    }

    /// At most one append per peer. `taken` is what was just written; peers that want the same entries share them.
    pub(crate) fn replicate(&mut self, mut taken: Option<Taken>, out: &mut Outbox<Raft>) {
        let after = self.save_vote(out);
        let (last, witness_through) = (self.log.last(), self.witness_through());
        let Position::Leader(leadership) = &mut self.position else { return };
        // A witness is no reason to keep entries: what it lacks is put into a few bytes at any time.
        let stores = leadership.peers.values().filter(|progress| !progress.is_witness);
        let all = stores.map(|progress| progress.matched);
        self.everyone_has = all.fold(self.disk.durable, Slot::min).max(self.everyone_has);
        // A probe without entries must be answered all the same, so it needs a round of its own; see `take_append`.
        let through = |progress: &Progress| if progress.is_witness { witness_through } else { last };
        if leadership.peers.values().any(|progress| progress.pace == Pace::PROBE && progress.next > through(progress)) {
            leadership.round += 1;
        }
        for (peer, progress) in &mut leadership.peers {
            progress.start_at_least_at(self.log.first());
            let through = through(progress);
            // Of commits beyond what it may have a witness can learn nothing.
            let plan = progress.plan(through, self.commit.min(through), &self.config);
            let (entries, bytes) = match plan {
                Plan::Nothing => continue,
                Plan::Full => {
                    trace_full_window(*peer, progress, out);
                    continue;
                }
                Plan::Empty => (Entries::default(), 0),
                Plan::Entries if progress.is_witness => {
                    let taken = take_for_witness(&self.log, progress.next, through, &self.config);
                    (taken.entries, taken.bytes)
                }
                Plan::Entries => {
                    let (next, Config { append_entries, append_bytes, .. }) = (progress.next, &self.config);
                    let shared = taken.take().filter(|taken| taken.serves(next, *append_entries, *append_bytes));
                    let shared = shared.unwrap_or_else(|| self.log.take_from(next, *append_entries, *append_bytes));
                    let shared = taken.insert(shared);
                    (shared.entries.clone(), shared.bytes)
                }
            };
            let prev_slot = progress.next.previous();
            let prev_term = self.log.term_at(prev_slot).expect("the slot before `next` is in the log or its base");
            progress.sent(entries.len() as u64, bytes, self.commit);
            let append = Append {
                term: self.term,
                prev_slot,
                prev_term,
                entries,
                commit: self.commit,
                everyone_has: self.everyone_has,
                round: leadership.round,
            };
            out.send_after(after, *peer, Message::Append(append));
        }
    }

    pub(crate) fn append_response(&mut self, from: NodeId, term: u64, outcome: AppendOutcome, out: &mut Outbox<Raft>) {
        let ignore = |raft: &Raft, why, out: &mut Outbox<Raft>| raft.drop_stale("append-response", from, why, out);
        if term < self.term {
            return ignore(self, "it is of an earlier term", out);
        }
        let (base, last) = (self.log.base(), self.log.last());
        let Position::Leader(leadership) = &mut self.position else {
            return ignore(self, "we do not lead", out);
        };
        let known_round = leadership.round;
        let Some(progress) = leadership.peers.get_mut(&from) else {
            return ignore(self, "it is no member", out);
        };
        match outcome {
            AppendOutcome::StaleTerm => ignore(self, "what it refused was of an earlier term", out),
            AppendOutcome::Accepted { matched, round } if matched > last || round > known_round => {
                ignore(self, "it answers what was never sent", out);
            }
            AppendOutcome::Rejected { round, .. } if round > known_round => {
                ignore(self, "it answers what was never sent", out);
            }
            AppendOutcome::Accepted { matched, round } => {
                leadership.heard.insert(from);
                if progress.accepted(matched, base) {
                    leadership.recount = true;
                    out.trace(|| Event::allowed(&rules::PROGRESS).with("peer", from).with("matched", matched));
                }
                if let Some(farewell) = leadership.farewells.get_mut(&from) {
                    farewell.answered(matched, round);
                }
                self.round_answered(from, round, out);
            }
            AppendOutcome::Rejected { prev_slot, hint_slot, hint_term, round } => {
                leadership.heard.insert(from);
                self.rejected(from, prev_slot, (hint_slot, hint_term), out);
                self.round_answered(from, round, out);
            }
        }
    }

    /// In the pace of probing, walks back to where the logs may meet; each side skips whole terms.
    fn rejected(&mut self, from: NodeId, prev_slot: Slot, (hint_slot, hint_term): (Slot, u64), out: &mut Outbox<Raft>) {
        let Position::Leader(leadership) = &mut self.position else { return };
        let Some(progress) = leadership.peers.get_mut(&from) else { return };
        if let Some(why) = progress.stale_rejection(prev_slot) {
            let event =
                || Event::refused(&rules::PROGRESS).with("peer", from).with("prev_slot", prev_slot).with("why", why);
            return out.trace(event);
        }
        let meeting = match progress.pace {
            Pace::Replicate(_) => Some(progress.matched),
            Pace::Probe { .. } | Pace::Snapshot(_) => self.log.last_of_term_at_most(hint_slot, hint_term),
        };
        let base = self.log.base();
        let (rejected_next, was_probing) = (progress.next, matches!(progress.pace, Pace::Probe { .. }));
        progress.probe_from(meeting.unwrap_or(base).next());
        if meeting.is_none() && progress.matched < base {
            progress.needs_snapshot();
            out.trace(|| Event::refused(&rules::WINDOW).with("peer", from).with("slot", base));
            return;
        }
        if was_probing && (meeting.is_none() || progress.next == rejected_next) {
            // No walk back is left: the peer denies what it once acknowledged. To ask again at once would go on without
            // end at the speed of the network; the next heartbeat asks again.
            progress.stall();
        }
        let next_slot = progress.next;
        out.trace(|| {
            Event::waiting(&rules::PROGRESS)
                .with("peer", from)
                .with("hint_slot", hint_slot)
                .with("hint_term", hint_term)
                .with("next_slot", next_slot)
        });
    }

    /// Commits what a quorum holds durably, if it is of this term; what lies before goes with it (Raft §5.4.2).
    pub(crate) fn advance_commit(&mut self, out: &mut Outbox<Raft>) {
        let (me, own) = (self.me, self.disk.durable);
        let Position::Leader(leadership) = &mut self.position else { return };
        if !std::mem::take(&mut leadership.recount) {
            return;
        }
        let peers = &leadership.peers;
        let holds = |id: NodeId| if id == me { own } else { peers.get(&id).map_or(Slot::ZERO, |peer| peer.matched) };
        let quorum = self.configurations.quorum();
        let agreed = Slot(quorum.agreed_value(|id| holds(id).0));
        let holders = |slot: Slot| quorum.voters().filter(move |id| holds(*id) >= slot);
        let (term, waiting_for) = (self.term, self.commit.next());
        if agreed <= self.commit {
            if waiting_for <= self.log.last() {
                out.trace(|| Event::waiting(&rules::COMMIT).with("slot", waiting_for).votes(holders(waiting_for)));
            }
        } else if self.log.term_at(agreed) == Some(term) {
            self.commit = agreed;
            out.trace(|| Event::allowed(&rules::COMMIT).with("slot", agreed).with("term", term).votes(holders(agreed)));
            self.trace_undecided(out);
        } else {
            let entry_term = self.log.term_at(agreed).unwrap_or(0);
            out.trace(|| {
                let event = Event::refused(&rules::COMMIT).with("slot", agreed).with("entry_term", entry_term);
                event.with("term", term).votes(holders(agreed))
            });
        }
    }
}

fn trace_full_window(peer: NodeId, progress: &Progress, out: &mut Outbox<Raft>) {
    if let Pace::Replicate(window) = &progress.pace {
        out.trace(|| {
            Event::waiting(&rules::WINDOW)
                .with("slot", progress.next)
                .with("peer", peer)
                .with("messages", window.messages() as u64)
                .with("bytes", window.bytes())
        });
    }
}
