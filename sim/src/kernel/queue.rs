//! The event queue: what happens next, in an order that a seed decides.
//!
//! Invariant: time never goes back; events of one instant come in the order of a keyed
//! permutation, or of their arrival where no permutation is asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::kernel::key::Key;
use crate::kernel::time::SimTime;

/// Events ordered by time, then by a keyed permutation.
#[derive(Debug)]
pub struct Queue<E> {
    /// Only places and slots: an event is moved once in and once out, however deep it lies.
    heap: BinaryHeap<Reverse<Entry>>,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    now: SimTime,
    count: u64,
    permutation: Option<Key>,
}

/// By time, then rank, then order of arrival, which is unique; then where the event lies.
type Entry = (SimTime, u64, u64, u32);

impl<E> Queue<E> {
    /// Makes an empty queue. With a key, events of one instant are permuted.
    pub const fn new(permutation: Option<Key>) -> Self {
        Self {
            heap: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            now: SimTime::START,
            count: 0,
            permutation,
        }
    }

    /// Adds an event. What lies in the past happens now.
    pub fn push(&mut self, at: SimTime, event: E) {
        self.count += 1;
        let rank = self.permutation.map_or(0, |key| key.at(self.count).value());
        let slot = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() as u32 - 1
        });
        self.events[slot as usize] = Some(event);
        let at = at.max(self.now);
        self.heap.push(Reverse((at, rank, self.count, slot)));
    }

    /// Takes the next event, and moves time to it.
    pub fn pop(&mut self) -> Option<E> {
        let Reverse((at, _, _, slot)) = self.heap.pop()?;
        self.now = at;
        self.free.push(slot);
        self.events[slot as usize].take()
    }

    /// The time of the event that was taken last.
    pub const fn now(&self) -> SimTime {
        self.now
    }

    /// The time of the next event.
    pub fn next_at(&self) -> Option<SimTime> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(permutation: Option<Key>) -> Vec<u32> {
        let mut queue = Queue::new(permutation);
        for event in 0..20 {
            queue.push(SimTime::from_nanos(u64::from(event / 10)), event);
        }
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn without_a_key_equal_times_keep_their_order() {
        assert_eq!(order(None), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn with_a_key_equal_times_are_permuted_within_their_instant() {
        let first = order(Some(Key::of_seed(1)));
        assert_eq!(first, order(Some(Key::of_seed(1))));
        assert_ne!(first, order(Some(Key::of_seed(2))));
        assert!(first[..10].iter().all(|&event| event < 10), "{first:?}");
    }

    #[test]
    fn the_past_happens_now() {
        let mut queue = Queue::new(None);
        queue.push(SimTime::from_nanos(5), 'a');
        queue.pop();
        queue.push(SimTime::from_nanos(1), 'b');
        assert_eq!(
            (queue.next_at(), queue.pop()),
            (Some(SimTime::from_nanos(5)), Some('b'))
        );
    }
}
