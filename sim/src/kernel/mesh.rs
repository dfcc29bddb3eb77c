//! Messages between shards: one queue for every ordered pair, with delivery times that a seed
//! picks.
//!
//! Invariant: the messages of one pair arrive in the order in which they were sent, and all do.

use std::collections::VecDeque;
use std::time::Duration;

use crate::kernel::key::Key;
use crate::kernel::time::SimTime;

/// All queues of one gateway.
#[derive(Debug)]
pub struct Mesh<M> {
    shards: usize,
    latency_max: Duration,
    key: Key,
    pairs: Vec<Pair<M>>,
}

#[derive(Debug)]
struct Pair<M> {
    flight: VecDeque<(SimTime, M)>,
    last: SimTime,
    count: u64,
}

impl<M> Mesh<M> {
    /// A mesh between `shards` shards whose messages take up to `latency_max`.
    pub fn new(shards: u8, latency_max: Duration, key: Key) -> Self {
        let shards = usize::from(shards);
        let pair = || Pair {
            flight: VecDeque::new(),
            last: SimTime::START,
            count: 0,
        };
        Self {
            shards,
            latency_max,
            key,
            pairs: std::iter::repeat_with(pair).take(shards * shards).collect(),
        }
    }

    /// Sends a message; returns when it arrives.
    pub fn send(&mut self, now: SimTime, from: u8, to: u8, message: M) -> SimTime {
        let index = usize::from(from) * self.shards + usize::from(to);
        let pair = &mut self.pairs[index];
        pair.count += 1;
        let latency = self
            .key
            .at(index as u64)
            .at(pair.count)
            .span(Duration::ZERO, self.latency_max);
        let at = (now + latency).max(pair.last);
        pair.last = at;
        pair.flight.push_back((at, message));
        at
    }

    /// Takes the next message for `to` that has arrived, with its sender: lowest sender first.
    pub fn receive(&mut self, now: SimTime, to: u8) -> Option<(u8, M)> {
        (0..self.shards).find_map(|from| {
            let flight = &mut self.pairs[from * self.shards + usize::from(to)].flight;
            flight.front().filter(|(at, _)| *at <= now)?;
            let (_, message) = flight.pop_front()?;
            let from = u8::try_from(from).expect("there are at most 255 shards");
            Some((from, message))
        })
    }

    /// Messages under way.
    pub fn len(&self) -> usize {
        self.pairs.iter().map(|pair| pair.flight.len()).sum()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_keeps_its_order_whatever_the_latencies() {
        let latency = Duration::from_millis(30);
        let mut mesh = Mesh::new(3, latency, Key::of_seed(5));
        for message in 0..100 {
            mesh.send(SimTime::from_nanos(message), 0, 2, message);
            mesh.send(SimTime::from_nanos(message), 1, 2, 1_000 + message);
        }
        let mut got = Vec::new();
        for step in 0..=200 {
            while let Some(message) = mesh.receive(SimTime::from_nanos(step * 200_000), 2) {
                got.push(message);
            }
        }
        let of = |from| {
            got.iter()
                .filter(move |entry| entry.0 == from)
                .map(|entry| entry.1)
        };
        assert!(of(0).eq(0..100) && of(1).eq(1_000..1_100));
        assert!(!got.is_sorted(), "two pairs mix");
        assert!(mesh.is_empty());
    }

    #[test]
    fn nothing_arrives_before_its_time() {
        let mut mesh = Mesh::new(2, Duration::from_millis(30), Key::of_seed(6));
        let at = mesh.send(SimTime::from_secs(1), 0, 1, 'm');
        let before = SimTime::from_nanos(at.as_nanos() - 1);
        assert_eq!(mesh.receive(before, 1), None);
        assert_eq!(mesh.receive(at, 1), Some((0, 'm')));
    }
}
