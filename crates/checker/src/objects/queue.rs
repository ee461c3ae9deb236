//! Queues into which each item was put once: decided by sorting, whether or not their order is kept.
//!
//! Each item has a *life*: put in between a call and a return, taken out between a call and a return. Between the return of the one
//! and the call of the other it is certainly in. So one who found the queue empty did so at a point of his time
//! that lies within no such *span*; if all of his time is spanned there is no order. Else the earliest point left will do, for
//! each of them for itself: an item that may be out at a point is put before it whole or after it whole.
//!
//! *Taken unseen.* An item that nobody was seen to take may have been taken by one whose answer is lost. The item that was put
//! in first (by its return) is given to him who asked first, and so on: of two items given the other way round, the later one
//! can be moved behind the earlier one, in the order of the queue too, and nothing that held is lost.
//!
//! *Without order* that is all. *First in, first out* (Henzinger, Sezgin and Vafeiadis, 2013): with a life's times drawn together
//! (it is put in before it was seen taken, and taken after it was called for), one item is before another if its putting in
//! returned before that of the other was called, or the same of its taking out; and before or after a point likewise. If
//! there is an order that respects all this, then every operation can take effect as early as the order lets it. Proof: it is not
//! too late, as it waits only for what was called before, else the order would not be one. If there is no such
//! order, the greedy construction below comes to a set of items each of which must be behind another.

use crate::model::{Call, Shortcut};
use std::collections::BTreeMap;

/// An operation on a queue of numbered items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum QueueOperation {
    /// Put this item in.
    Enqueue(u32),
    /// Took this item out.
    Dequeue(u32),
    /// Found nothing to take.
    FoundEmpty,
    /// Took something, or found nothing; nobody saw it.
    DequeueUnseen,
}

type QueueCall = Call<QueueOperation>;

/// A call and its return; what did not return or was not called did so at the end of time.
#[derive(Clone, Copy)]
struct Interval {
    called: u64,
    returned: u64,
}

const NEVER: Interval = Interval { called: u64::MAX, returned: u64::MAX };

/// One item that was certainly put in.
#[derive(Clone, Copy)]
struct Life {
    put_in: Interval,
    put_in_by: usize,
    taken_out: Interval,
    taken_out_by: Option<usize>,
    /// Whether somebody said that he took it.
    was_seen: bool,
}

struct Lives {
    lives: Vec<Life>,
    /// Who found the queue empty and at which point, ascending by point.
    empty: Vec<(u64, usize)>,
}

/// The order in which these calls can have taken effect on a queue without order.
pub(crate) fn order_in_bag(calls: &[QueueCall]) -> Shortcut {
    match lives_of(calls) {
        Ok(lives) => Shortcut::Order(lives.order_in_bag()),
        Err(shortcut) => shortcut,
    }
}

/// The order in which these calls can have taken effect, first in, first out.
pub(crate) fn order_in_fifo(calls: &[QueueCall]) -> Shortcut {
    match lives_of(calls) {
        Ok(lives) => lives.order_in_fifo().map_or(Shortcut::Impossible, Shortcut::Order),
        Err(shortcut) => shortcut,
    }
}

fn interval(call: &QueueCall) -> Interval {
    Interval { called: call.called_at, returned: call.returned_at.unwrap_or(u64::MAX) }
}

/// The lives, and where the queue was empty; or what there is to say without them.
fn lives_of(calls: &[QueueCall]) -> Result<Lives, Shortcut> {
    let mut put_in: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let mut taken_out: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let (mut unseen, mut empty): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    for (index, call) in calls.iter().enumerate() {
        match call.operation {
            QueueOperation::Enqueue(item) => put_in.entry(item).or_default().push(index),
            QueueOperation::Dequeue(item) => taken_out.entry(item).or_default().push(index),
            QueueOperation::FoundEmpty => empty.push(index),
            QueueOperation::DequeueUnseen => unseen.push(index),
        }
    }
    if taken_out.iter().any(|(item, takers)| takers.len() > put_in.get(item).map_or(0, Vec::len)) {
        return Err(Shortcut::Impossible);
    }
    let mut lives = Vec::with_capacity(put_in.len());
    for (item, taken_out_by) in taken_out {
        let put_in_by = put_in.remove(&item).unwrap_or_default();
        let ([put_in_by], [taken_out_by]) = (&put_in_by[..], &taken_out_by[..]) else {
            return Err(Shortcut::Undecided);
        };
        let (put_in_by, taken_out_by) = (*put_in_by, *taken_out_by);
        let (put_in, taken_out) = (interval(&calls[put_in_by]), interval(&calls[taken_out_by]));
        if taken_out.returned < put_in.called {
            return Err(Shortcut::Impossible);
        }
        lives.push(Life { put_in, put_in_by, taken_out, taken_out_by: Some(taken_out_by), was_seen: true });
    }
    // What was perhaps put in and never seen could only be in the way.
    let mut forgotten: Vec<usize> = put_in.into_values().flatten().collect();
    forgotten.retain(|index| calls[*index].returned_at.is_some());
    forgotten.sort_by_key(|index| calls[*index].returned_at);
    unseen.sort_by_key(|index| calls[*index].called_at);
    let mut unseen = unseen.into_iter();
    lives.extend(forgotten.into_iter().map(|put_in_by| {
        let taken_out_by = unseen.next();
        let taken_out = taken_out_by.map_or(NEVER, |by| Interval { called: calls[by].called_at, ..NEVER });
        Life { put_in: interval(&calls[put_in_by]), put_in_by, taken_out, taken_out_by, was_seen: false }
    }));
    let spans = spans(&lives);
    let point = |index: usize| point_outside(&spans, interval(&calls[index])).map(|point| (point, index));
    let mut empty: Vec<(u64, usize)> =
        empty.into_iter().map(point).collect::<Option<_>>().ok_or(Shortcut::Impossible)?;
    empty.sort_unstable();
    Ok(Lives { lives, empty })
}

/// The times, without their ends, at which something was certainly in the queue, joined where they overlap.
fn spans(lives: &[Life]) -> Vec<(u64, u64)> {
    let mut all: Vec<(u64, u64)> = lives
        .iter()
        .map(|life| (life.put_in.returned, life.taken_out.called))
        .filter(|(from, until)| from < until)
        .collect();
    all.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (from, until) in all {
        match joined.last_mut() {
            Some(last) if from < last.1 => last.1 = last.1.max(until),
            _ => joined.push((from, until)),
        }
    }
    joined
}

/// The earliest point of `time` that lies within no span.
fn point_outside(spans: &[(u64, u64)], time: Interval) -> Option<u64> {
    let next = spans.partition_point(|(_, until)| *until <= time.called);
    let point = match spans.get(next) {
        Some((from, until)) if *from < time.called => *until,
        _ => time.called,
    };
    (point <= time.returned).then_some(point)
}

/// At one point in time of a bag: first who takes, then who finds it empty, then who puts in.
const TAKE: u8 = 0;
const FIND_EMPTY: u8 = 1;
const PUT_IN: u8 = 2;

impl Lives {
    fn order_in_bag(self) -> Vec<usize> {
        // Time, turn, then what keeps an item's two operations together, and the call's index.
        let mut events: Vec<(u64, u8, usize, u8, usize)> = Vec::new();
        let mut unseen = Vec::new();
        for (number, life) in self.lives.iter().enumerate() {
            let in_at = life.put_in.returned;
            match life.taken_out_by {
                Some(by) if life.was_seen && in_at < life.taken_out.called => {
                    events.push((in_at, PUT_IN, number, 0, life.put_in_by));
                    events.push((life.taken_out.called, TAKE, number, 1, by));
                }
                Some(by) if life.was_seen => {
                    let at = life.put_in.called.max(life.taken_out.called);
                    events.push((at, TAKE, number, 0, life.put_in_by));
                    events.push((at, TAKE, number, 1, by));
                }
                taker => {
                    events.push((in_at, PUT_IN, number, 0, life.put_in_by));
                    unseen.extend(taker.map(|by| (in_at, by)));
                }
            }
        }
        // These are ascending. They take when somebody is about to find the bag empty.
        let mut unseen = unseen.into_iter().peekable();
        for (point, finder) in self.empty {
            while let Some((_, by)) = unseen.next_if(|(in_at, _)| *in_at < point) {
                events.push((point, FIND_EMPTY, 0, 0, by));
            }
            events.push((point, FIND_EMPTY, 1, 0, finder));
        }
        events.sort_unstable();
        events.into_iter().map(|(.., index)| index).collect()
    }

    fn order_in_fifo(self) -> Option<Vec<usize>> {
        let line = Line::new(&self.lives).in_order(&self.empty)?;
        // Time, how many points came before, turn, place in the line, and the call's index.
        let mut events: Vec<(u64, usize, u8, usize, usize)> = Vec::new();
        let (mut in_at, mut out_at, mut points) = (0, 0, 0);
        for (place, next) in line.into_iter().enumerate() {
            match next {
                Next::Item(number) => {
                    let life = &self.lives[number];
                    in_at = life.put_in.called.max(in_at);
                    events.push((in_at, points, 0, place, life.put_in_by));
                    if let Some(by) = life.taken_out_by {
                        out_at = life.taken_out.called.max(in_at).max(out_at);
                        events.push((out_at, points, 1, place, by));
                    }
                }
                Next::Empty(at) => {
                    let (point, finder) = self.empty[at];
                    in_at = point.max(in_at);
                    events.push((point, points, 2, place, finder));
                    points += 1;
                }
            }
        }
        events.sort_unstable();
        Some(events.into_iter().map(|(.., index)| index).collect())
    }
}

/// What comes next in the order of a first-in-first-out queue.
enum Next {
    Item(usize),
    /// The one with this number finds it empty.
    Empty(usize),
}

/// Items that wait for their place. An item may be next if it was called for, both ways, before any other had to be gone.
struct Line {
    /// By number, with its times drawn together.
    items: Vec<(Interval, Interval)>,
    placed: Vec<bool>,
    /// Numbers, ascending by the time.
    by_in_called: Vec<usize>,
    by_in_returned: Vec<usize>,
    by_out_called: Vec<usize>,
    by_out_returned: Vec<usize>,
}

impl Line {
    fn new(lives: &[Life]) -> Line {
        let drawn_together = |life: &Life| {
            let Life { put_in, taken_out, .. } = *life;
            let in_time = Interval { returned: put_in.returned.min(taken_out.returned), ..put_in };
            (in_time, Interval { called: put_in.called.max(taken_out.called), ..taken_out })
        };
        let items: Vec<(Interval, Interval)> = lives.iter().map(drawn_together).collect();
        let by = |time: fn(&(Interval, Interval)) -> u64| {
            let mut numbers: Vec<usize> = (0..items.len()).collect();
            numbers.sort_by_key(|number| time(&items[*number]));
            numbers
        };
        Line {
            by_in_called: by(|(put_in, _)| put_in.called),
            by_in_returned: by(|(put_in, _)| put_in.returned),
            by_out_called: by(|(_, taken_out)| taken_out.called),
            by_out_returned: by(|(_, taken_out)| taken_out.returned),
            placed: vec![false; items.len()],
            items,
        }
    }

    /// All items and points one after another, or `None` if some are each behind another.
    fn in_order(mut self, empty: &[(u64, usize)]) -> Option<Vec<Next>> {
        let mut order = Vec::with_capacity(self.items.len() + empty.len());
        let (mut in_called, mut in_returned, mut out_called, mut out_returned) = (0, 0, 0, 0);
        let mut points = 0;
        let mut halves = vec![0_u8; self.items.len()];
        let mut ready: Vec<usize> = Vec::new();
        while order.len() < self.items.len() + empty.len() {
            in_returned += self.placed_from(&self.by_in_returned, in_returned);
            out_returned += self.placed_from(&self.by_out_returned, out_returned);
            let first_in = self.by_in_returned.get(in_returned).map_or(u64::MAX, |at| self.items[*at].0.returned);
            let first_out = self.by_out_returned.get(out_returned).map_or(u64::MAX, |at| self.items[*at].1.returned);
            let point = empty.get(points).map(|(point, _)| *point);
            if point.is_some_and(|point| point <= first_in) {
                order.push(Next::Empty(points));
                points += 1;
                continue;
            }
            let first_out = point.unwrap_or(u64::MAX).min(first_out);
            let mut called = Vec::new();
            while let Some(at) = self.by_in_called.get(in_called).filter(|at| self.items[**at].0.called <= first_in) {
                called.push(*at);
                in_called += 1;
            }
            while let Some(at) = self.by_out_called.get(out_called).filter(|at| self.items[**at].1.called <= first_out)
            {
                called.push(*at);
                out_called += 1;
            }
            for number in called {
                halves[number] += 1;
                ready.extend((halves[number] == 2).then_some(number));
            }
            let number = ready.pop()?;
            self.placed[number] = true;
            order.push(Next::Item(number));
        }
        Some(order)
    }

    /// How many of these, from `start` on, were placed already.
    fn placed_from(&self, numbers: &[usize], start: usize) -> usize {
        numbers[start..].iter().take_while(|number| self.placed[**number]).count()
    }
}
