//! The events of one session: queued in order, out for delivery, delivered.
//!
//! Invariant: an event is delivered when the kernel took its last byte, and not before. One
//! delivery is out at a time, so events reach the client in order even when a delivery fails and
//! its events go back to the front of the queue.

use std::collections::VecDeque;

use crate::mutant;

/// One event, with its number within the session, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the order of the session's events; never given twice.
    pub number: u64,
    /// Compact JSON.
    pub text: Box<str>,
}

/// The events of one session.
#[derive(Debug, Default)]
pub struct Events {
    queue: VecDeque<Event>,
    queue_bytes: usize,
    out: VecDeque<Event>,
    replay: VecDeque<Event>,
    replay_max: usize,
    pushed: u64,
}

impl Events {
    /// Appends an event.
    pub fn push(&mut self, text: String) {
        self.pushed += 1;
        let event = Event {
            number: self.pushed,
            text: text.into(),
        };
        self.queue_bytes += event.text.len();
        self.queue.push_back(event);
    }

    /// Takes the oldest event out for delivery.
    pub fn take(&mut self) -> Option<&Event> {
        let event = if mutant!(EventsReversed) {
            self.queue.pop_back()?
        } else {
            self.queue.pop_front()?
        };
        self.queue_bytes -= event.text.len();
        self.out.push_back(event);
        self.out.back()
    }

    /// All events up to and including `number` that are out have been delivered. Returns how many.
    pub fn delivered(&mut self, number: u64) -> usize {
        let count = self.out.partition_point(|event| event.number <= number);
        for event in self.out.drain(..count) {
            if self.replay_max > 0 {
                if self.replay.len() == self.replay_max {
                    self.replay.pop_front();
                }
                self.replay.push_back(event);
            }
        }
        count
    }

    /// Puts all events that are out back to the front of the queue. Returns how many.
    pub fn requeue(&mut self) -> usize {
        let count = self.out.len();
        for event in self.out.drain(..).rev() {
            self.queue_bytes += event.text.len();
            self.queue.push_front(event);
        }
        count
    }

    /// Continues a stream after event `number`, the last one that the client saw: what came
    /// later and was delivered is queued again, what is queued and not later is not sent twice.
    /// Returns whether nothing between is missing.
    pub fn resume_after(&mut self, number: u64) -> bool {
        let seen = self.replay.partition_point(|event| event.number <= number);
        let later = self.replay.split_off(seen);
        for event in later.into_iter().rev() {
            self.queue_bytes += event.text.len();
            self.queue.push_front(event);
        }
        while let Some(event) = self.queue.front().filter(|event| event.number <= number) {
            self.queue_bytes -= event.text.len();
            self.queue.pop_front();
        }
        let next = self
            .queue
            .front()
            .map_or(self.pushed + 1, |event| event.number);
        next <= number.saturating_add(1)
    }

    /// Keeps the last `count` delivered events from here on, for resuming.
    pub const fn keep_for_replay(&mut self, count: usize) {
        self.replay_max = count;
    }

    /// How many events wait to be taken.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many bytes wait to be taken.
    pub const fn queued_bytes(&self) -> usize {
        self.queue_bytes
    }

    /// How many events are out for delivery.
    pub fn out(&self) -> usize {
        self.out.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(events: &mut Events, count: usize) -> Vec<u64> {
        (0..count)
            .filter_map(|_| events.take().map(|event| event.number))
            .collect()
    }

    fn with(count: usize) -> Events {
        let mut events = Events::default();
        for number in 0..count {
            events.push(number.to_string());
        }
        events
    }

    #[test]
    fn a_failed_delivery_goes_back_to_the_front() {
        let mut events = with(3);
        assert_eq!(numbers(&mut events, 2), [1, 2]);
        assert_eq!(events.requeue(), 2);
        assert_eq!(numbers(&mut events, 3), [1, 2, 3]);
        assert_eq!((events.delivered(2), events.out()), (2, 1));
        assert_eq!(events.requeue(), 1);
        assert_eq!(numbers(&mut events, 3), [3]);
    }

    #[test]
    fn a_stream_resumes_where_the_client_saw_it_end() {
        let mut events = with(5);
        events.keep_for_replay(8);
        numbers(&mut events, 4);
        events.delivered(4);
        assert!(events.resume_after(2));
        assert_eq!(numbers(&mut events, 9), [3, 4, 5]);
    }

    #[test]
    fn what_the_client_saw_is_not_sent_again() {
        let mut events = with(3);
        numbers(&mut events, 2);
        events.requeue();
        assert!(events.resume_after(2));
        assert_eq!(numbers(&mut events, 9), [3]);
    }

    #[test]
    fn a_gap_beyond_the_replay_buffer_is_noticed() {
        let mut events = with(6);
        events.keep_for_replay(2);
        numbers(&mut events, 6);
        events.delivered(6);
        assert!(!events.resume_after(1));
        assert_eq!(numbers(&mut events, 9), [5, 6]);
    }

    #[test]
    fn bytes_are_counted_while_they_wait() {
        let mut events = with(3);
        assert_eq!(events.queued_bytes(), 3);
        numbers(&mut events, 1);
        assert_eq!((events.queued(), events.queued_bytes()), (2, 2));
        events.requeue();
        assert_eq!((events.queued(), events.queued_bytes()), (3, 3));
    }
}
