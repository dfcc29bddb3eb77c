//! Packets that wait for their turn on a way that is narrow.
//!
//! A key frame that goes out in one go is longer than the queue of many a narrow way. So it is spread
//! over the time that the way needs, or somewhat less.
//!
//! Invariant: packets leave in the order in which they came, and none waits for longer than
//! [`WAIT_MAX`] or behind more than [`WAITING_MAX`] others.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::clock::Monotonic;

/// Packets that wait, or whatever stands for them.
#[derive(Debug)]
pub(super) struct Pacer<T> {
    waiting: VecDeque<(Monotonic, T)>,
    /// When the way has room again.
    free_at: Option<Monotonic>,
}

/// What is paced leaves at this multiple of the estimate, in percent, as in libwebrtc: media that waits
/// is late, and the way may well carry more.
const PACE_PERCENT: u64 = 250;

/// So much may leave in one go that fewer wake-ups are needed.
const AHEAD: Duration = Duration::from_millis(5);

/// Whoever waits for longer leaves at once.
const WAIT_MAX: Duration = Duration::from_millis(250);
const WAITING_MAX: usize = 256;

impl<T> Default for Pacer<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            free_at: None,
        }
    }
}

impl<T> Pacer<T> {
    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a packet may leave at once, ahead of none.
    pub(super) fn is_free(&self, now: Monotonic) -> bool {
        self.waiting.is_empty() && self.has_room(now)
    }

    /// Has a packet wait.
    pub(super) fn wait(&mut self, now: Monotonic, packet: T) {
        self.waiting.push_back((now, packet));
    }

    /// Takes the next packet whose turn it is.
    pub(super) fn next(&mut self, now: Monotonic) -> Option<T> {
        let (since, _) = self.waiting.front()?;
        let is_late = now.saturating_since(*since) >= WAIT_MAX;
        let is_due = is_late || self.waiting.len() > WAITING_MAX || self.has_room(now);
        if !is_due {
            return None;
        }
        self.waiting.pop_front().map(|(_, packet)| packet)
    }

    /// Notes that a packet left, of so many bytes, while the estimate was so many bit/s.
    pub(super) fn on_sent(&mut self, now: Monotonic, bytes: usize, estimate: u64) {
        let rate = (estimate.saturating_mul(PACE_PERCENT) / 100).max(1);
        let takes = Duration::from_nanos(bytes as u64 * 8_000_000_000 / rate);
        let begins = self.free_at.map_or(now, |free_at| free_at.max(now));
        self.free_at = Some(begins + takes.min(WAIT_MAX));
    }

    /// When [`Pacer::next`] has one.
    pub(super) fn due(&self) -> Option<Monotonic> {
        let (since, _) = self.waiting.front()?;
        let late = *since + WAIT_MAX;
        Some(self.free_at.map_or(late, |free_at| free_at.min(late)))
    }

    fn has_room(&self, now: Monotonic) -> bool {
        self.free_at
            .is_none_or(|free_at| free_at <= now || free_at.saturating_since(now) < AHEAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    /// Lets packets of 1,000 bytes leave at 400 kbit/s; says when each did, in milliseconds.
    fn leave(pacer: &mut Pacer<u32>, from: u64) -> Vec<(u64, u32)> {
        let mut left = Vec::new();
        for millis in from..from + 2_000 {
            while let Some(packet) = pacer.next(at(millis)) {
                left.push((millis, packet));
                pacer.on_sent(at(millis), 1_000, 400_000);
            }
        }
        left
    }

    #[test]
    fn what_is_alone_leaves_at_once() {
        let mut pacer: Pacer<u32> = Pacer::default();
        for millis in [0, 33, 66] {
            assert!(pacer.is_free(at(millis)));
            pacer.on_sent(at(millis), 1_000, 400_000);
        }
        assert_eq!(pacer.due(), None);
    }

    #[test]
    fn a_frame_is_spread_in_its_order() {
        let mut pacer = Pacer::default();
        pacer.on_sent(at(0), 1_000, 400_000);
        assert!(!pacer.is_free(at(0)));
        for packet in 0..6 {
            pacer.wait(at(0), packet);
        }
        // Each takes 8 ms at 1 Mbit/s.
        let expected = [(4, 0), (12, 1), (20, 2), (28, 3), (36, 4), (44, 5)];
        assert_eq!(leave(&mut pacer, 0), expected);
        assert!(pacer.is_free(at(100)));
    }

    #[test]
    fn nothing_waits_for_too_long() {
        let mut pacer = Pacer::default();
        pacer.on_sent(at(0), 1_000, 400_000);
        for packet in 0..100 {
            pacer.wait(at(0), packet);
        }
        let left = leave(&mut pacer, 0);
        assert_eq!(left.len(), 100);
        assert_eq!(left.last(), Some(&(250, 99)));
        assert!(left[30].0 < 250);
    }

    #[test]
    fn no_more_than_so_many_wait() {
        let mut pacer = Pacer::default();
        pacer.on_sent(at(0), 1_000, 400_000);
        for packet in 0..300 {
            pacer.wait(at(0), packet);
        }
        let mut left = 0;
        while pacer.next(at(0)).is_some() {
            left += 1;
        }
        assert_eq!(left, 300 - WAITING_MAX);
    }

    #[test]
    fn it_is_due_when_there_is_room() {
        let mut pacer = Pacer::default();
        pacer.on_sent(at(0), 1_000, 400_000);
        assert_eq!(pacer.due(), None, "nobody waits");
        pacer.wait(at(0), 1);
        assert_eq!(pacer.due(), Some(at(8)));
        pacer.on_sent(at(0), 100_000, 400_000);
        assert_eq!(pacer.due(), Some(at(250)));
    }
}
