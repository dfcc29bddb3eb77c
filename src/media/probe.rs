//! Padding that is sent to find out what a way carries: in a probe, for a moment, and behind media that
//! is filled up, for a trial.

use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::media::carried::rate;

/// Packets that are sent faster than media, to see how fast they come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    rate: u64,
    pour: Pour,
    /// No more is sent then.
    until: Monotonic,
    /// The packets that it is of.
    first: u64,
    end: Option<u64>,
    came: Came,
}

/// What came of a probe. Times are those of reports.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    count: u32,
    bytes: u64,
    first: Edge,
    last: Edge,
    /// When the last packets that were sent at once were sent, and their bytes.
    group: (u32, u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Edge {
    sent: u32,
    came: u32,
    size: u64,
}

/// A probe is shorter than most queues, and longer than the time by which arrivals are off.
const LENGTH: Duration = Duration::from_millis(20);

/// What is sent within so much leaves in one go, in units of 250 us.
const SENT_AT_ONCE: u32 = 4;

/// When padding is impossible all of a sudden, a probe ends so long after it should have.
const PATIENCE: Duration = Duration::from_millis(200);

/// Of fewer packets nothing can be said, nor of fewer than so many of those that were sent, in percent.
const PACKETS_MIN: u64 = 5;
const PERCENT_MIN: u64 = 80;

/// A probe that comes at less than so much of the rate at which it was sent, in percent, has filled the
/// way. What it found is taken for a little less, as in libwebrtc.
const FILLED_PERCENT: u64 = 90;
const FOUND_PERCENT: u64 = 95;

impl Probe {
    /// Begins with the packet of number `first`, at a rate in bit/s.
    pub(super) fn new(now: Monotonic, rate: u64, first: u64) -> Self {
        Self {
            rate,
            pour: Pour::new(now, rate),
            until: now + LENGTH,
            first,
            end: None,
            came: Came::default(),
        }
    }

    /// Whether a packet of padding is to go out before the one of number `next`. Ends the probe when it
    /// is long enough.
    pub(super) fn lacks(&mut self, now: Monotonic, next: u64) -> bool {
        if self.end.is_some() {
            return false;
        }
        let is_due = self.pour.is_due(now, self.rate);
        let is_enough = next >= self.first + PACKETS_MIN;
        if now < self.until || !is_enough && now < self.until + PATIENCE {
            return is_due;
        }
        self.end = Some(next);
        false
    }

    /// When [`Probe::lacks`] is to be asked.
    pub(super) const fn due(&self) -> Option<Monotonic> {
        match self.end {
            Some(_) => None,
            None => Some(self.pour.next),
        }
    }

    pub(super) fn on_sent(&mut self, size: u16) {
        self.pour.on_sent(size);
    }

    /// Whether a packet is one of the probe.
    pub(super) const fn holds(&self, number: u64) -> bool {
        let is_before = match self.end {
            Some(end) => number < end,
            None => true,
        };
        self.first <= number && is_before
    }

    /// Notes that one of its packets came.
    pub(super) fn on_arrival(&mut self, sent: u32, size: u16, came: u32) {
        let size = size.into();
        let edge = Edge { sent, came, size };
        if self.came.count == 0 {
            self.came.first = edge;
            self.came.group = (sent, 0);
        }
        let (group, bytes) = &mut self.came.group;
        if sent.wrapping_sub(*group) > SENT_AT_ONCE {
            (*group, *bytes) = (sent, 0);
        }
        *bytes += size;
        self.came.last = edge;
        self.came.count += 1;
        self.came.bytes += size;
    }

    /// Whether there was a report on all of it, when the oldest without one is `oldest`.
    pub(super) fn is_over(&self, oldest: u64) -> bool {
        self.end.is_some_and(|end| oldest >= end)
    }

    /// The rate that was found, in bit/s.
    pub(super) fn found(&self) -> Option<u64> {
        let Came {
            count,
            bytes,
            first,
            last,
            group,
        } = self.came;
        let sent_count = self.end? - self.first;
        let is_enough = u64::from(count) * 100 >= sent_count * PERCENT_MIN;
        if sent_count < PACKETS_MIN || !is_enough {
            return None;
        }
        let sent = rate(bytes - group.1, group.0.wrapping_sub(first.sent));
        let took = last.came.wrapping_sub(first.came).cast_signed().max(0);
        let came = rate(bytes - first.size, took.cast_unsigned());
        if came * 100 < sent * FILLED_PERCENT {
            return Some(came * FOUND_PERCENT / 100);
        }
        Some(sent.min(came))
    }
}

/// What media is filled up to with padding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filling {
    /// In bit/s.
    rate: u64,
    /// What went out before.
    from: u64,
    since: Monotonic,
    pour: Pour,
}

/// It rises so slowly to what is wanted that a queue is seen before it is long.
const RAMP: Duration = Duration::from_secs(1);

impl Filling {
    /// Fills up from one rate to another, in bit/s.
    pub(super) const fn new(now: Monotonic, from: u64, rate: u64) -> Self {
        Self {
            rate,
            from,
            since: now,
            pour: Pour::new(now, from),
        }
    }

    /// The same to another rate, in bit/s.
    pub(super) const fn to(self, rate: u64) -> Self {
        Self { rate, ..self }
    }

    /// Whether a packet of padding is to go out.
    pub(super) fn lacks(&mut self, now: Monotonic) -> bool {
        let passed = now.saturating_since(self.since).min(RAMP);
        let more = self.rate.saturating_sub(self.from);
        let risen = more * passed.as_millis() as u64 / RAMP.as_millis() as u64;
        self.pour.is_due(now, self.from + risen)
    }

    /// When [`Filling::lacks`] is to be asked.
    pub(super) const fn due(&self) -> Monotonic {
        self.pour.next
    }

    pub(super) fn on_sent(&mut self, size: u16) {
        self.pour.on_sent(size);
    }
}

/// Bytes that are to go out evenly, media and padding together.
#[derive(Clone, Copy, Debug)]
struct Pour {
    at: Monotonic,
    /// When to look again.
    next: Monotonic,
    /// Thousands of what is due, less what was sent.
    due: i64,
}

/// Padding is looked after so often.
const STEP: Duration = Duration::from_millis(5);

/// What was missed for longer is not made up for.
const STEP_MAX: Duration = Duration::from_millis(30);

/// So much media in one go makes up for padding to come, in time.
const AHEAD_MAX: Duration = Duration::from_millis(100);

const MILLE: i64 = 1_000;

/// What a rate in bit/s brings in so long.
const fn due_of(rate: u64, passed: Duration) -> i64 {
    (rate * passed.as_micros() as u64 / 8 / 1_000) as i64
}

impl Pour {
    /// Begins with what a step brings, at a rate in bit/s.
    const fn new(now: Monotonic, rate: u64) -> Self {
        Self {
            at: now,
            next: now,
            due: due_of(rate, STEP),
        }
    }

    /// Lets time pass at a rate, in bit/s; tells whether anything is due.
    fn is_due(&mut self, now: Monotonic, rate: u64) -> bool {
        let passed = now.saturating_since(self.at).min(STEP_MAX);
        self.at = now;
        self.next = now + STEP;
        self.due = (self.due + due_of(rate, passed)).max(-due_of(rate, AHEAD_MAX));
        self.due > 0
    }

    fn on_sent(&mut self, size: u16) {
        self.due -= i64::from(size) * MILLE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PADDING: u16 = 250;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    /// Sends a probe of 2 Mbit/s; says how many packets left when.
    fn send(probe: &mut Probe) -> Vec<(u64, u64)> {
        let mut left = Vec::new();
        let mut next = 100;
        for millis in 0..400 {
            let before = next;
            while probe.due().is_some_and(|due| due <= at(millis)) && probe.lacks(at(millis), next)
            {
                probe.on_sent(PADDING);
                next += 1;
                // What is asked for again at once is asked with the same time.
                probe.pour.next = at(millis);
            }
            if next > before {
                left.push((millis, next - before));
            }
        }
        left
    }

    #[test]
    fn a_probe_is_spread_over_its_length() {
        let mut probe = Probe::new(at(0), 2_000_000, 100);
        assert_eq!(send(&mut probe), [(0, 5), (5, 5), (10, 5), (15, 5)]);
        assert_eq!(probe.due(), None);
        assert!(probe.holds(100) && probe.holds(119));
        assert!(!probe.holds(99) && !probe.holds(120));
        assert!(!probe.is_over(119));
        assert!(probe.is_over(120));
    }

    /// What a probe finds whose packets come so many quarters of a millisecond apart.
    fn found(apart: impl Fn(u32, u32) -> u32, count: u32) -> Option<u64> {
        let mut probe = Probe::new(at(0), 2_000_000, 100);
        send(&mut probe);
        for packet in 0..count {
            let sent = packet / 5 * 20;
            probe.on_arrival(sent, PADDING, 77_777 + apart(packet, sent));
        }
        probe.found()
    }

    #[test]
    fn what_comes_as_it_was_sent_shows_that_rate() {
        assert_eq!(found(|_, sent| sent, 20), Some(2_000_000));
    }

    #[test]
    fn what_comes_more_slowly_shows_the_rate_of_the_way_and_a_little_less() {
        // 250 bytes in 2 ms are 1 Mbit/s.
        assert_eq!(found(|packet, _| 8 * packet, 20), Some(950_000));
    }

    #[test]
    fn of_too_few_packets_nothing_is_said() {
        assert_eq!(found(|_, sent| sent, 15), None);
        assert!(found(|_, sent| sent, 16).is_some());
    }
}
