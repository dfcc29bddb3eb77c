//! How much comes through a way, by when it came.
//!
//! Times are in units of [`ArrivalTime`], 250 us.

use crate::wire::rtp::transport_feedback::ArrivalTime;

/// A rate in bit/s.
pub(super) fn rate(bytes: u64, units: u32) -> u64 {
    bytes * 8 * ArrivalTime::RATE / u64::from(units.max(1))
}

/// What came lately, by when it came.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// When the newest came.
    newest: u32,
    /// Bytes of the slot that it is in, and of those before.
    slots: [u32; SLOTS],
    /// How many of them there have been.
    count: usize,
}

/// Slots of 50 ms: half a second and the one that is not full yet.
const SLOT: u32 = 50 * ArrivalTime::RATE as u32 / 1_000;
const SLOTS: usize = 11;

/// In a queue packets come one behind the other, so that a few slots tell the rate.
const SLOTS_LATELY: usize = 5;

impl Carried {
    /// Notes a packet of so many bytes.
    pub(super) fn add(&mut self, came: u32, size: u16) {
        let ahead = came.wrapping_sub(self.newest).cast_signed();
        if self.count == 0 {
            self.count = 1;
            self.newest = came;
        } else if ahead > 0 {
            let passed = (came / SLOT).wrapping_sub(self.newest / SLOT) as usize;
            self.slots.rotate_right(passed.min(SLOTS));
            self.slots[..passed.min(SLOTS)].fill(0);
            self.count = (self.count + passed).min(SLOTS);
            self.newest = came;
        }
        // What came before others that were sent before it is as good as new.
        self.slots[0] = self.slots[0].saturating_add(size.into());
    }

    /// The rate of the last half second, in bit/s, if there was so much.
    pub(super) fn of_window(&self) -> Option<u64> {
        (self.count == SLOTS).then(|| self.rate_of(SLOTS))
    }

    /// The rate of the last fifth of a second, in bit/s.
    pub(super) fn lately(&self) -> u64 {
        self.rate_of(SLOTS_LATELY.min(self.count.max(1)))
    }

    fn rate_of(&self, slots: usize) -> u64 {
        let bytes = self.slots[..slots].iter().copied().map(u64::from).sum();
        let full = (slots - 1) as u32 * SLOT;
        rate(bytes, full + self.newest % SLOT + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of 1,000 bytes, so many milliseconds apart.
    fn come(carried: &mut Carried, from: u32, count: u32, apart: u32) -> u32 {
        for packet in 0..count {
            carried.add(from.wrapping_add(4 * apart * packet), 1_000);
        }
        from.wrapping_add(4 * apart * count)
    }

    #[track_caller]
    fn assert_near(rate: u64, expected: u64) {
        let off = rate.abs_diff(expected) * 100 / expected;
        assert!(off <= 6, "{rate} instead of {expected}");
    }

    #[test]
    fn a_rate_is_known_after_half_a_second_and_a_shorter_one_at_once() {
        let mut carried = Carried::default();
        let at = come(&mut carried, 1_000, 30, 10);
        assert_eq!(carried.of_window(), None);
        assert_near(carried.lately(), 800_000);
        let at = come(&mut carried, at, 40, 10);
        assert_near(carried.of_window().unwrap(), 800_000);
        come(&mut carried, at, 50, 5);
        assert_near(carried.lately(), 1_600_000);
        assert!(carried.of_window().unwrap() < 1_300_000);
    }

    #[test]
    fn what_came_long_ago_does_not_count() {
        let mut carried = Carried::default();
        let at = come(&mut carried, 0, 100, 10);
        let at = come(&mut carried, at + 4 * 700, 1, 0);
        assert_near(carried.of_window().unwrap(), rate(1_000, 10 * SLOT));
        come(&mut carried, at, 2, 0);
        assert!(carried.of_window().unwrap() < 100_000);
    }

    #[test]
    fn order_and_the_end_of_the_clock_make_no_difference() {
        let mut carried = Carried::default();
        let at = come(&mut carried, u32::MAX - 1_000, 25, 10);
        carried.add(at.wrapping_sub(60), 1_000);
        come(&mut carried, at, 70, 10);
        assert_near(carried.of_window().unwrap(), 800_000);
    }
}
