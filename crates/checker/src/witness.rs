//! Whether an order explains every answer.

use crate::configuration::Dealt;
use crate::model::{Call, Model};

/// Whether `order` names every call that returned, none twice, respects time, and answers as was seen.
pub(crate) fn is_witness<M: Model>(model: &M, calls: &[Call<M::Operation>], order: &[usize]) -> bool {
    let mut named = vec![false; calls.len()];
    for index in order {
        match named.get_mut(*index) {
            Some(named) if !*named => *named = true,
            _ => return false,
        }
    }
    let complete = calls.iter().zip(&named).all(|(call, named)| *named || call.returned_at.is_none());
    // Backwards: nothing may be called after anything behind it returned.
    let mut first_return = u64::MAX;
    let in_time = order.iter().rev().all(|index| {
        let call = &calls[*index];
        let fits = call.called_at <= first_return;
        first_return = first_return.min(call.returned_at.unwrap_or(u64::MAX));
        fits
    });
    let step = |state: M::State, index: &usize| model.step(&state, &calls[*index].operation);
    complete && in_time && order.iter().try_fold(model.initial(), step).is_some()
}

/// The order of what took effect, with what was dropped put where nobody sees it.
///
/// A dropped operation was *free*: at some point after its call either it changed nothing, or what came next led to the same state
/// without it. It goes to the last such point. All dropped ones overwrite, so of several at one point the last decides.
pub(crate) fn in_order<M: Model>(model: &M, calls: &[Call<M::Operation>], dealt: &[Dealt]) -> Vec<usize> {
    let mut states = vec![model.initial()];
    let mut taken: Vec<usize> = Vec::new();
    let mut unseen: Vec<(usize, usize)> = Vec::new();
    for one in dealt {
        let state = &states[taken.len()];
        match *one {
            Dealt::Took(index) => {
                let next = model.step(state, &calls[index].operation).unwrap_or_else(|| state.clone());
                states.push(next);
                taken.push(index);
            }
            Dealt::Dropped(index) => {
                let hidden_at = |at: &usize| {
                    let hidden = model.step(&states[*at], &calls[index].operation);
                    let next = taken.get(*at).map(|next| &calls[*next].operation);
                    hidden.as_ref() == Some(&states[*at])
                        || hidden
                            .zip(next)
                            .is_some_and(|(hidden, next)| model.step(&hidden, next).as_ref() == states.get(at + 1))
                };
                unseen.push(((0..=taken.len()).rev().find(hidden_at).unwrap_or(taken.len()), index));
            }
        }
    }
    unseen.sort_by_key(|(at, _)| *at);
    let mut unseen = unseen.into_iter().peekable();
    let mut order = Vec::with_capacity(dealt.len());
    for (at, index) in taken.iter().enumerate() {
        while let Some((_, dropped)) = unseen.next_if(|(before, _)| *before <= at) {
            order.push(dropped);
        }
        order.push(*index);
    }
    order.extend(unseen.map(|(_, dropped)| dropped));
    order
}
