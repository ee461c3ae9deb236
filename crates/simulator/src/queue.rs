//! The one queue of everything that will happen.

use quorate_types::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Future events in order of time, and at the same time in the order in which they were scheduled.
///
/// The heap moves small keys only; events stay where they are put.
#[derive(Clone, Debug)]
pub struct EventQueue<E> {
    heap: BinaryHeap<Reverse<Key>>,
    /// By place; `None` is free.
    events: Vec<Option<E>>,
    free: Vec<u32>,
    next_sequence: u64,
}

/// Compared in this order; the place never decides, for no two sequences are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Time,
    sequence: u64,
    place: u32,
}

impl<E> EventQueue<E> {
    /// Nothing will happen.
    #[must_use]
    pub fn new() -> EventQueue<E> {
        EventQueue { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), next_sequence: 0 }
    }

    /// Lets `event` happen at `at`.
    pub fn schedule(&mut self, at: Time, event: E) {
        let turn = self.reserve_turn();
        self.schedule_in_turn(at, turn, event);
    }

    /// A turn among what happens at one time, for an event that may be scheduled later, or never. No two are equal.
    pub fn reserve_turn(&mut self) -> u64 {
        let turn = self.next_sequence;
        self.next_sequence += 1;
        turn
    }

    /// Lets `event` happen at `at`, where it would come had it been scheduled when its turn was reserved. A turn is used once.
    pub fn schedule_in_turn(&mut self, at: Time, turn: u64, event: E) {
        let sequence = turn;
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place as usize] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                u32::try_from(self.events.len() - 1).expect("four thousand million events do not fit in memory")
            }
        };
        self.heap.push(Reverse(Key { at, sequence, place }));
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Time, E)> {
        let Reverse(Key { at, place, .. }) = self.heap.pop()?;
        let event = self.events[place as usize].take().expect("a key in the heap has its event in place");
        self.free.push(place);
        Some((at, event))
    }

    /// When each event happens, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (Time, &E)> {
        self.heap.iter().filter_map(|Reverse(key)| Some((key.at, self.events[key.place as usize].as_ref()?)))
    }

    /// When the next event happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse(next)| next.at)
    }
}

impl<E> Default for EventQueue<E> {
    fn default() -> EventQueue<E> {
        EventQueue::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_turn_keeps_its_place_among_events_of_the_same_time() {
        let mut queue = EventQueue::new();
        let turn = queue.reserve_turn();
        queue.schedule(Time(5), "second");
        queue.schedule_in_turn(Time(5), turn, "first");
        let order: Vec<&str> = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!(order, ["first", "second"]);
    }

    #[test]
    fn events_come_by_time_and_then_as_scheduled() {
        let mut queue = EventQueue::new();
        queue.schedule(Time(5), "second");
        queue.schedule(Time(9), "fourth");
        queue.schedule(Time(5), "third");
        queue.schedule(Time(1), "first");
        assert_eq!(queue.next_at(), Some(Time(1)));
        let order: Vec<&str> = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!(order, ["first", "second", "third", "fourth"]);
        assert_eq!(queue.next_at(), None);
    }
}
