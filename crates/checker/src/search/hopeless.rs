//! Ways that are closed as soon as it is clear that they lead nowhere.
//!
//! Something waiting can never be if it needs a fact that does not hold and that nothing can bring in time ([`Model::needs`]). That
//! stands on models that name all who may bring a fact, in whatever branch ([`Model::brings`]): one left out closes legal ways.
//! Nor is a way begun that would have to be left before it is done: where a fact that comes once is brought about while another
//! operation can neither wait until it is no longer needed nor take effect under it (`holds.rs`). One that is free is no
//! such other, unless it alone brings what is needed.

use super::Search;
use crate::configuration::Configuration;
use crate::model::Model;

impl<M: Model, const WORDS: usize> Search<'_, '_, '_, M, WORDS> {
    /// Whether what the blocker needs holds, or can be brought by what runs, by what those need, and so on: nothing else can be
    /// before it.
    pub(super) fn can_be_reached(&self, blocker: usize, configuration: &Configuration<M::State, WORDS>) -> bool {
        let (plan, moment) = (self.plan, &self.moment);
        let time = moment.time();
        let is_left = |kind: &usize| {
            let taken = self.optional.taken(configuration.optional, *kind);
            plan.optional[*kind].members.get(taken as usize).is_some_and(|(called_at, _)| *called_at <= time)
        };
        let holds = |fact: usize| plan.model.holds(&configuration.state, plan.facts[fact].name);
        // Of what is needed on the way only the first fact is looked at, which says less and is never wrong.
        let can_come = |needed: &usize| {
            let mut on_the_way = vec![*needed];
            let mut at = 0;
            while let Some(fact) = on_the_way.get(at).copied() {
                at += 1;
                if holds(fact) || plan.facts[fact].perhaps_brought_by.iter().any(is_left) {
                    return true;
                }
                for slot in moment.bringers(fact).and(&configuration.waiting).iter() {
                    match moment.at(slot).needs.first() {
                        None => return true,
                        Some(first) if !on_the_way.contains(first) => on_the_way.push(*first),
                        Some(_) => {}
                    }
                }
            }
            false
        };
        moment.at(blocker).needs.iter().all(can_come)
    }

    /// Whether an operation that does not overwrite could follow.
    pub(super) fn can_be_seen(&self, configuration: &Configuration<M::State, WORDS>) -> bool {
        let (plan, moment) = (self.plan, &self.moment);
        let time = moment.time();
        configuration
            .waiting
            .without(&moment.overwriting)
            .iter()
            .any(|slot| plan.model.step(&configuration.state, moment.operation(slot)).is_some())
            || plan.optional.iter().enumerate().any(|(kind, one)| {
                let taken = self.optional.taken(configuration.optional, kind);
                !one.overwrites && one.members.get(taken as usize).is_some_and(|(called_at, _)| *called_at <= time)
            })
    }

    /// Whether something that waits needs what just ended, and nothing can bring it back in time.
    pub(super) fn ends_what_is_needed(&mut self, before: &M::State, after: &Configuration<M::State, WORDS>) -> bool {
        let mut ended = std::mem::take(&mut self.ended);
        ended.clear();
        self.plan.model.ended(before, &after.state, &mut ended);
        let lost =
            ended.iter().filter_map(|name| self.plan.fact_numbers.get(name)).any(|fact| self.is_lost(*fact, after));
        self.ended = ended;
        lost
    }

    /// Whether something needs this fact, which does not hold, and nothing can bring it in time.
    pub(super) fn is_lost(&self, fact: usize, configuration: &Configuration<M::State, WORDS>) -> bool {
        let (plan, moment, called) = (self.plan, &self.moment, self.moment.called());
        let waiting = moment.needers(fact).and(&configuration.waiting);
        let later = plan.facts[fact].later_needers(called);
        if waiting.is_empty() && later.is_empty() || !moment.bringers(fact).and(&configuration.waiting).is_empty() {
            return false;
        }
        let mut brought_from = u64::MAX;
        for kind in &plan.facts[fact].perhaps_brought_by {
            let taken = self.optional.taken(configuration.optional, *kind);
            if let Some((called_at, _)) = plan.optional[*kind].members.get(taken as usize) {
                brought_from = brought_from.min(*called_at);
            }
        }
        if let Some(bringer) = plan.facts[fact].later_bringers(called).first() {
            brought_from = brought_from.min(plan.completed[*bringer].called_at);
        }
        waiting.iter().any(|slot| moment.at(slot).returned_at < brought_from)
            || later
                .iter()
                .map(|rank| &plan.completed[*rank])
                .take_while(|one| one.called_at <= brought_from)
                .any(|one| one.returned_at < brought_from)
    }

    /// Whether something that waits would have to be before what brought these facts, and visible. See [`crate::holds`].
    pub(super) fn is_too_early(&self, brings: &[usize], after: &Configuration<M::State, WORDS>) -> bool {
        let (plan, moment) = (self.plan, &self.moment);
        brings.iter().any(|fact| {
            let until = plan.holds.until(*fact);
            until > moment.time()
                && after.waiting.iter().any(|slot| {
                    let one = moment.at(slot);
                    one.returned_at < until
                        && !plan.holds.is_link(moment.rank_in(slot))
                        && (!after.free.has(slot) || self.alone_brings_what_is_needed(slot, after))
                        && plan.holds.excludes(plan.model, |fact| plan.facts[fact].name, *fact, moment.operation(slot))
                })
        })
    }

    fn alone_brings_what_is_needed(&self, slot: usize, configuration: &Configuration<M::State, WORDS>) -> bool {
        let mut without = configuration.clone();
        without.waiting.remove(slot);
        let brings = &self.moment.at(slot).brings;
        brings.iter().any(|fact| {
            !self.plan.model.holds(&configuration.state, self.plan.facts[*fact].name) && self.is_lost(*fact, &without)
        })
    }
}
