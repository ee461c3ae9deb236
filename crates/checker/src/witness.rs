//! Whether an order explains every answer.

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
