//! Phase 0: fast leader election. It finds somebody whose history is likely the best; that it is, phase 1 makes sure.

use crate::message::{Message, Standing, Vote};
use crate::replica::{Broadcast, Position, Timer};
use crate::rules;
use quorate_protocol::{Event, Outbox};
use quorate_types::NodeId;
use std::collections::BTreeMap;

/// The interval between notifications doubles at most so often.
const DOUBLINGS_MOST: u32 = 16;

/// Looking for a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Election {
    /// The best vote seen in this round.
    pub(crate) vote: Option<Vote>,
    /// The votes of others who look, in this round.
    pub(crate) tally: BTreeMap<NodeId, Vote>,
    /// What others say who do not look: for whom, since which round, as what.
    pub(crate) outside: BTreeMap<NodeId, (NodeId, u64, Standing)>,
    /// Its vote has a quorum, and it waits for a better one.
    pub(crate) finalizing: bool,
    /// So often it told its vote and heard nothing new.
    pub(crate) repeated: u32,
    /// It led, and votes for this one instead of for itself.
    pub(crate) heir: Option<NodeId>,
}

impl Election {
    /// Within a round votes only get better: a worse one is an earlier one that came late.
    fn count(&mut self, from: NodeId, vote: Vote) {
        let known = self.tally.entry(from).or_insert(vote);
        *known = vote.max(*known);
    }
}

impl Broadcast {
    /// Rule 1. Whatever it did before is over.
    pub(crate) fn look(&mut self, why: &'static str, out: &mut Outbox<Broadcast>) {
        self.look_for(None, why, out);
    }

    pub(crate) fn look_for(&mut self, heir: Option<NodeId>, why: &'static str, out: &mut Outbox<Broadcast>) {
        self.leave_position(why, out);
        self.round = self.round.saturating_add(1);
        self.position = Position::Looking(Election { heir, ..Election::default() });
        let (round, first_vote) = (self.round, self.first_vote());
        if let Position::Looking(election) = &mut self.position {
            election.vote = first_vote;
        }
        out.trace(|| Event::allowed(&rules::LOOK).with("round", round).with("why", why));
        self.tell_vote(out);
        self.weigh(out);
    }

    fn notification(&self) -> Message {
        let round = self.round;
        match &self.position {
            Position::Looking(election) => {
                Message::Notification { vote: election.vote, round, standing: Standing::Looking }
            }
            Position::Following(following) => {
                Message::Notification { vote: Some(following.vote), round, standing: Standing::Following }
            }
            Position::Leading(leadership) => {
                Message::Notification { vote: Some(leadership.vote), round, standing: Standing::Leading }
            }
        }
    }

    fn tell_vote(&mut self, out: &mut Outbox<Broadcast>) {
        let message = self.notification();
        for peer in self.members.others(self.me) {
            out.send(peer, message.clone());
        }
        let Position::Looking(election) = &self.position else { return };
        let most = self.config.notification_interval_most;
        let factor = 1 << election.repeated.min(DOUBLINGS_MOST);
        let interval = self.config.notification_interval.checked_mul(factor).map_or(most, |wait| wait.min(most));
        out.set_timer(Timer::Notify, interval, interval * 2);
    }

    /// Rule 4: no answers, so it says it again, less and less often.
    pub(crate) fn notify_again(&mut self, out: &mut Outbox<Broadcast>) {
        let Position::Looking(election) = &mut self.position else { return };
        election.repeated = (election.repeated + 1).min(DOUBLINGS_MOST);
        self.tell_vote(out);
    }

    pub(crate) fn notified(
        &mut self,
        from: NodeId,
        vote: Option<Vote>,
        round: u64,
        standing: Standing,
        out: &mut Outbox<Broadcast>,
    ) {
        let is_voter = self.members.is_voter(from);
        let vote = vote.filter(|vote| is_voter && self.members.is_voter(vote.candidate));
        match (&self.position, standing, vote) {
            (Position::Looking(_), Standing::Looking, Some(vote)) => self.hear_looking(from, vote, round, out),
            (Position::Looking(_), Standing::Following | Standing::Leading, Some(vote)) => {
                self.hear_settled(from, vote, round, standing, out);
            }
            // Of somebody whose vote does not count, such as a learner, who will be told with all others. If it were answered, it might
            // answer that, and so for ever: it may look too, or be in another round.
            (Position::Looking(_), _, None) => {}
            // Rule 4: others answer only those who look.
            (_, Standing::Looking, _) => out.send(from, self.notification()),
            _ => {}
        }
    }

    /// Rule 2.
    fn hear_looking(&mut self, from: NodeId, vote: Vote, round: u64, out: &mut Outbox<Broadcast>) {
        let (mine, own) = (self.round, self.first_vote());
        let Position::Looking(election) = &mut self.position else { return };
        if round < mine {
            out.trace(|| {
                let event = Event::refused(&rules::VOTE).with("from", from).with("theirs", round);
                event.with("round", mine)
            });
            return out.send(from, self.notification());
        }
        let changed = if round > mine {
            election.tally.clear();
            election.vote = own.max(Some(vote));
            Some("that is a later round")
        } else if Some(vote) > election.vote {
            election.vote = Some(vote);
            Some("that is better")
        } else {
            None
        };
        let (is_worse, adopted) = (Some(vote) < election.vote, election.vote.unwrap_or(vote));
        // Who looks follows nobody any more.
        election.outside.remove(&from);
        election.count(from, vote);
        self.round = round;
        if let Some(why) = changed {
            election.repeated = 0;
            out.trace(|| {
                let event = Event::allowed(&rules::VOTE).with("candidate", adopted.candidate).with("round", round);
                let event = event.with("epoch", u64::from(adopted.current_epoch));
                event.with("zxid", adopted.last.to_string()).with("why", why)
            });
            self.tell_vote(out);
        } else if is_worse {
            // It did not look yet when it was told of the better one, and would wait for that to be said again.
            out.send(from, self.notification());
        }
        self.weigh(out);
    }

    /// Rule 3: whether the vote has a quorum.
    fn weigh(&mut self, out: &mut Outbox<Broadcast>) {
        let Position::Looking(election) = &self.position else { return };
        let Some(vote) = election.vote else { return };
        let agrees = |id: &NodeId| *id == self.me || election.tally.get(id) == Some(&vote);
        let votes: Vec<NodeId> = self.members.voters().filter(agrees).collect();
        let all = votes.len() == self.members.voters().count();
        let (elected, waits) = (self.is_quorum(votes.len()), election.finalizing);
        if elected && all {
            return self.conclude(vote, votes, out);
        }
        if elected != waits {
            match elected {
                true => {
                    out.trace(|| {
                        let event = Event::waiting(&rules::FINALIZE).with("candidate", vote.candidate);
                        event.votes(votes)
                    });
                    out.set_timer(Timer::Finalize, self.config.finalize_wait, self.config.finalize_wait);
                }
                false => out.cancel_timer(Timer::Finalize),
            }
            if let Position::Looking(election) = &mut self.position {
                election.finalizing = elected;
            }
        }
    }

    /// Rule 3: no better vote came.
    pub(crate) fn finalize(&mut self, out: &mut Outbox<Broadcast>) {
        let Position::Looking(election) = &self.position else { return };
        let Some(vote) = election.vote.filter(|_| election.finalizing) else { return };
        let agrees = |id: &NodeId| *id == self.me || election.tally.get(id) == Some(&vote);
        let votes: Vec<NodeId> = self.members.voters().filter(agrees).collect();
        self.conclude(vote, votes, out);
    }

    fn conclude(&mut self, vote: Vote, votes: Vec<NodeId>, out: &mut Outbox<Broadcast>) {
        let round = self.round;
        out.trace(|| {
            let event = Event::allowed(&rules::FINALIZE).with("candidate", vote.candidate);
            event.with("round", round).votes(votes)
        });
        match vote.candidate == self.me {
            true => self.lead(vote, out),
            false => self.follow(vote, out),
        }
    }

    /// Rule 4: a leader that a quorum names, this node included if it joins, and that says itself that it leads. The round in which
    /// somebody came to follow it is not asked for (ZOOKEEPER-1732): who joined by a late word says an earlier one, for as long
    /// as that leader leads, and a newcomer that asked for the same of all would wait as long.
    fn hear_settled(&mut self, from: NodeId, vote: Vote, round: u64, standing: Standing, out: &mut Outbox<Broadcast>) {
        let this_round = self.round;
        let Position::Looking(election) = &mut self.position else { return };
        if round == this_round {
            // It was quicker, and its vote counts as it did when it looked: a candidate that it follows must not wait for more.
            election.count(from, vote);
            self.weigh(out);
        }
        let Position::Looking(election) = &mut self.position else { return };
        election.outside.insert(from, (vote.candidate, round, standing));
        let leader = vote.candidate;
        let names =
            |id: &NodeId| *id == self.me || election.outside.get(id).is_some_and(|(named, _, _)| *named == leader);
        let since = match election.outside.get(&leader) {
            Some((named, since, Standing::Leading)) if *named == leader => Some(*since),
            _ => None,
        };
        let round = since.unwrap_or(round);
        let votes: Vec<NodeId> = self.members.voters().filter(names).collect();
        if leader == self.me || since.is_none() || !self.is_quorum(votes.len()) {
            return out.trace(|| Event::waiting(&rules::JOIN).with("leader", leader).with("round", round).votes(votes));
        }
        self.round = round;
        out.trace(|| Event::allowed(&rules::JOIN).with("leader", leader).with("round", round).votes(votes));
        self.follow(vote, out);
    }
}
