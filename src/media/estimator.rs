//! How much the way to a receiver carries, by its reports on each packet.
//!
//! The estimate is what the way has been seen to carry. It rises to what got through, media or a
//! probe, and falls to a little less than that when a queue stands on the way, or packets are lost. The
//! sender has to say what it would like to send: without a probe, nobody knows of more than there is.
//!
//! What stands in a queue is told by delays, as in Google Congestion Control
//! (draft-ietf-rmcat-gcc-02), but of the first packets of groups, since frames go out in one go.
//!
//! Invariant: no packet is reported on twice, and none that was not sent.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::media::carried::Carried;
use crate::media::probe::{Filling, Probe};
use crate::media::standing_queue::{Held, StandingQueue};
use crate::wire::rtp::transport_feedback::ArrivalTime;

/// What is known of a way, and what is sent to find out more.
#[derive(Debug)]
pub(super) struct Estimator {
    /// In bit/s.
    estimate: u64,
    /// The number of the next packet, extended beyond 16 bits.
    next: u64,
    /// What was sent before it and not reported on yet.
    sent: VecDeque<Sent>,
    queue: StandingQueue,
    carried: Carried,
    losses: Losses,
    probe: Option<Probe>,
    filling: Option<Filling>,
    /// The estimate fell just now, and may neither fall nor rise.
    held_until: Option<Monotonic>,
    /// What was carried when a queue stood, in bit/s, and how long no probe is believed that found more.
    ceiling: Option<(u64, Monotonic)>,
    has_heard: bool,
    /// When the first packet was sent after the last report.
    unheard_since: Option<Monotonic>,
}

/// What became of the estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is less, or would be if it were not that little already.
    Fall,
    None,
    Rise,
}

/// A packet under way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: u32,
    size: u16,
    held: Held,
}

/// Packets of which nothing was heard for so long, or so many, are forgotten.
const AGE_MAX: u32 = 2 * ArrivalTime::RATE as u32;
const SENT_MAX: usize = 2_048;

/// UDP and IPv4.
const HEADERS: usize = 28;

/// The least that is estimated, in bit/s. Something has to go out to find out more.
const ESTIMATE_MIN: u64 = 30_000;

/// So much of what gets through is taken for what the way carries, in percent, when there is a queue,
/// so that it drains.
const DRAIN_PERCENT: u64 = 85;

/// The burst of a token bucket lets a probe pass at any rate. Media and padding for a longer time are
/// what shows the rate, and for so long that counts.
const CEILING: Duration = Duration::from_secs(4);

/// What has just fallen has its effect only after so long.
const HOLD: Duration = Duration::from_millis(400);

/// Of whom nothing is heard for so long, less is sent to.
const SILENCE: Duration = Duration::from_secs(2);

impl Estimator {
    /// Begins with a guess, in bit/s.
    pub(super) fn new(guess: u64) -> Self {
        Self {
            estimate: guess,
            next: 0,
            sent: VecDeque::new(),
            queue: StandingQueue::default(),
            carried: Carried::default(),
            losses: Losses::default(),
            probe: None,
            filling: None,
            held_until: None,
            ceiling: None,
            has_heard: false,
            unheard_since: None,
        }
    }

    /// What the way carries, in bit/s.
    pub(super) const fn estimate(&self) -> u64 {
        self.estimate
    }

    /// Whether the remote has reported on anything.
    pub(super) const fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// The number of the next packet.
    pub(super) const fn number(&self) -> u16 {
        self.next as u16
    }

    /// Notes that the next packet was sent, of so many bytes, without the headers of UDP and IP.
    pub(super) fn on_sent(&mut self, now: Monotonic, size: usize, held: Held) {
        let at = units(now);
        let is_old = |sent: &Sent| at.wrapping_sub(sent.at) > AGE_MAX;
        while self.sent.len() >= SENT_MAX || self.sent.front().is_some_and(is_old) {
            self.sent.pop_front();
        }
        let size = u16::try_from(size + HEADERS).unwrap_or(u16::MAX);
        self.sent.push_back(Sent { at, size, held });
        self.next += 1;
        self.unheard_since.get_or_insert(now);
        if let Some(probe) = &mut self.probe {
            probe.on_sent(size);
        }
        if let Some(filling) = &mut self.filling {
            filling.on_sent(size);
        }
    }

    /// Notes what became of a packet: when it came, or that it did not.
    pub(super) fn on_status(&mut self, number: u16, came: Option<ArrivalTime>) {
        let back = (self.next as u16).wrapping_sub(number);
        let oldest = self.next - self.sent.len() as u64;
        let Some(index) = self.next.checked_sub(back.into()) else {
            return;
        };
        let Some(place) = index.checked_sub(oldest).filter(|_| back > 0) else {
            return;
        };
        // What the report leaves out was in one that was lost.
        self.sent.drain(..place as usize);
        let sent = self.sent.pop_front().expect("it is in the list");
        let Some(ArrivalTime(came)) = came else {
            self.losses.lost += 1;
            return;
        };
        self.losses.came += 1;
        self.carried.add(came, sent.size);
        match &mut self.probe {
            Some(probe) if probe.holds(index) => probe.on_arrival(sent.at, sent.size, came),
            Some(_) | None => self.queue.on_arrival(sent.at, came, sent.held),
        }
    }

    /// Ends a report.
    pub(super) fn on_report(&mut self, now: Monotonic) -> Change {
        self.has_heard = true;
        self.unheard_since = None;
        let loss = self.losses.take(now);
        let found = self.finish_probe();
        if self.held_until.is_some_and(|until| now < until) {
            return Change::None;
        }
        self.held_until = None;
        if self.queue.is_standing() {
            let carried = self.carried.lately();
            self.ceiling = Some((carried, now + CEILING));
            return self.fall(now, carried * DRAIN_PERCENT / 100);
        }
        if let Some(percent) = loss.filter(|percent| *percent > LOSS_MAX) {
            let carried = self.carried.of_window().unwrap_or(self.estimate);
            return self.fall(now, self.estimate.min(carried) * (100 - percent / 2) / 100);
        }
        let is_free = self.queue.is_empty() && loss.is_none_or(|percent| percent <= LOSS_BEARABLE);
        self.ceiling = self.ceiling.filter(|(_, until)| now < *until);
        let found = found.map(|found| self.ceiling.map_or(found, |(most, _)| found.min(most)));
        let carried = found.max(self.carried.of_window()).filter(|_| is_free);
        if carried <= Some(self.estimate) {
            return Change::None;
        }
        self.estimate = carried.unwrap_or(self.estimate);
        Change::Rise
    }

    /// Looks from time to time whether there are reports.
    pub(super) fn look(&mut self, now: Monotonic) -> Change {
        let silent = self.unheard_since.map(|since| now.saturating_since(since));
        if self.has_heard && silent.is_some_and(|silent| silent >= SILENCE) {
            return self.fall(now, self.estimate / 2);
        }
        Change::None
    }

    fn fall(&mut self, now: Monotonic, to: u64) -> Change {
        self.estimate = self.estimate.min(to.max(ESTIMATE_MIN));
        self.held_until = Some(now + HOLD);
        self.rest();
        Change::Fall
    }

    /// Has media filled up with padding to a rate in bit/s, or not at all if it is 0.
    pub(super) fn fill_up(&mut self, now: Monotonic, rate: u64) {
        self.filling = match self.filling {
            _ if rate == 0 => None,
            Some(filling) => Some(filling.to(rate)),
            None => {
                let from = self.carried.of_window().unwrap_or(0);
                Some(Filling::new(now, from, rate))
            }
        };
    }

    /// Looks for nothing any more.
    pub(super) fn rest(&mut self) {
        self.filling = None;
        self.probe = None;
    }

    /// Sends a probe at a rate in bit/s, unless one is under way.
    pub(super) fn probe(&mut self, now: Monotonic, rate: u64) {
        let is_free = self.probe.is_none() && self.queue.is_empty() && self.held_until.is_none();
        if is_free {
            self.probe = Some(Probe::new(now, rate, self.next));
        }
    }

    /// Whether a packet of padding is to go out.
    pub(super) fn lacks(&mut self, now: Monotonic) -> bool {
        let probe = self.probe.as_mut();
        if probe.is_some_and(|probe| probe.lacks(now, self.next)) {
            return true;
        }
        // A probe that is under way goes alone.
        let is_alone = self.probe.as_ref().and_then(Probe::due).is_some();
        let filling = self.filling.as_mut().filter(|_| !is_alone);
        filling.is_some_and(|filling| filling.lacks(now))
    }

    /// When [`Estimator::lacks`] is to be asked.
    pub(super) fn due(&self) -> Option<Monotonic> {
        let probed = self.probe.as_ref().and_then(Probe::due);
        probed.or_else(|| self.filling.as_ref().map(Filling::due))
    }

    /// Ends a probe when there was a report on all of it; says what it found, in bit/s.
    fn finish_probe(&mut self) -> Option<u64> {
        let oldest = self.next - self.sent.len() as u64;
        let probe = self.probe.take_if(|probe| probe.is_over(oldest));
        probe.and_then(|probe| probe.found())
    }
}

/// A moment in the units of reports.
fn units(now: Monotonic) -> u32 {
    const NANOS: u64 = 1_000_000_000 / ArrivalTime::RATE;
    (now.as_nanos() / NANOS) as u32
}

/// Losses since they were last looked at.
#[derive(Debug, Default)]
struct Losses {
    lost: u64,
    came: u64,
    looked_at: Option<Monotonic>,
}

/// Shares of losses in percent: more than the first is too much for the way; with more than the
/// second, no more is sent (draft-ietf-rmcat-gcc-02 section 6).
const LOSS_MAX: u64 = 10;
const LOSS_BEARABLE: u64 = 2;

/// They are looked at when there are so many packets, or after so long if there are a few.
const LOSS_PACKETS: u64 = 30;
const LOSS_PACKETS_MIN: u64 = 10;
const LOSS_INTERVAL: Duration = Duration::from_millis(500);

impl Losses {
    /// The share in percent, when there is enough to tell.
    fn take(&mut self, now: Monotonic) -> Option<u64> {
        let since = *self.looked_at.get_or_insert(now);
        let all = self.lost + self.came;
        let is_late = now.saturating_since(since) >= LOSS_INTERVAL;
        if all < LOSS_PACKETS && !(is_late && all >= LOSS_PACKETS_MIN) {
            return None;
        }
        let lost = self.lost;
        *self = Self {
            looked_at: Some(now),
            ..Self::default()
        };
        Some(lost * 100 / all)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A receiver at the other end of a way of some rate, and who sends to it.
    struct Rig {
        estimator: Estimator,
        now: Monotonic,
        /// In bit/s.
        rate: u64,
        /// In bytes.
        burst: u64,
        /// One in so many packets is lost, whatever the rate is; 0 is none.
        lost_of: u64,
        free_at: Monotonic,
        /// The number of each packet, and when it comes.
        under_way: VecDeque<(u16, Option<Monotonic>)>,
        count: u64,
        padding: u64,
        changes: Vec<Change>,
    }

    const QUEUE: Duration = Duration::from_millis(300);
    const TICK: Duration = Duration::from_millis(1);
    const FRAME: u64 = 33;
    const REPORT: u64 = 100;
    const PADDING: usize = 260;
    const GUESS: u64 = 500_000;

    impl Rig {
        fn new(rate: u64) -> Self {
            Self {
                estimator: Estimator::new(GUESS),
                now: Monotonic::from_nanos(3_000_000_000),
                rate,
                burst: 0,
                lost_of: 0,
                free_at: Monotonic::from_nanos(0),
                under_way: VecDeque::new(),
                count: 0,
                padding: 0,
                changes: Vec::new(),
            }
        }

        fn send(&mut self, size: usize) {
            let number = self.estimator.number();
            self.estimator.on_sent(self.now, size, Held::No);
            self.count += 1;
            let saved = Duration::from_nanos(self.burst * 8_000_000_000 / self.rate);
            let now = self.now.as_nanos();
            let earliest = now.saturating_sub(saved.as_nanos() as u64);
            let begins = self.free_at.max(Monotonic::from_nanos(earliest));
            let is_unlucky = self.lost_of > 0 && self.count.is_multiple_of(self.lost_of);
            if is_unlucky || begins.saturating_since(self.now) > QUEUE {
                self.under_way.push_back((number, None));
                return;
            }
            let size = (size + HEADERS) as u64;
            self.free_at = begins + Duration::from_nanos(size * 8_000_000_000 / self.rate);
            let came = self.free_at.max(self.now) + Duration::from_millis(20);
            self.under_way.push_back((number, Some(came)));
        }

        /// Lets time pass with media of some rate, in frames.
        fn run(&mut self, millis: u64, media: u64) {
            for milli in 0..millis {
                if milli % FRAME == 0 {
                    let bytes = media * FRAME / 8_000;
                    let packets = bytes.div_ceil(1_000);
                    for _ in 0..packets {
                        self.send((bytes / packets) as usize);
                    }
                }
                if self.estimator.due().is_some_and(|due| due <= self.now) {
                    while self.estimator.lacks(self.now) {
                        self.send(PADDING);
                        self.padding += 1;
                    }
                }
                if milli % REPORT == 0 {
                    self.report();
                }
                self.now = self.now + TICK;
            }
        }

        fn report(&mut self) {
            let mut has_any = false;
            while let Some((number, came)) = self
                .under_way
                .pop_front_if(|(_, came)| came.is_none_or(|came| came <= self.now))
            {
                has_any = true;
                let came = came.map(|came| ArrivalTime(units(came).wrapping_add(987_654)));
                self.estimator.on_status(number, came);
            }
            if has_any {
                self.changes.push(self.estimator.on_report(self.now));
            }
        }

        fn estimate(&self) -> u64 {
            self.estimator.estimate()
        }

        fn falls(&self) -> usize {
            let is_fall = |change: &&Change| **change == Change::Fall;
            self.changes.iter().filter(is_fall).count()
        }
    }

    #[track_caller]
    fn assert_near(estimate: u64, low: u64, high: u64) {
        assert!((low..=high).contains(&estimate), "{estimate}");
    }

    #[test]
    fn what_the_way_carries_is_known_once_it_was_sent() {
        let mut rig = Rig::new(2_000_000);
        rig.run(10_000, 1_000_000);
        assert_near(rig.estimate(), 950_000, 1_300_000);
        assert_eq!(rig.falls(), 0);
        assert_eq!(rig.padding, 0);
    }

    #[test]
    fn a_queue_makes_it_fall_to_what_comes_through() {
        let mut rig = Rig::new(10_000_000);
        rig.run(3_000, 2_000_000);
        assert_near(rig.estimate(), 1_900_000, 2_500_000);
        rig.rate = 600_000;
        rig.run(600, 2_000_000);
        assert_near(rig.estimate(), 400_000, 700_000);
        rig.run(1_500, 300_000);
        let falls = rig.falls();
        assert_near(rig.estimate(), 400_000, 600_000);
        rig.run(5_000, 300_000);
        assert_eq!(rig.falls(), falls, "the queue is gone");
    }

    #[test]
    fn a_probe_finds_what_there_is() {
        for (rate, low, high) in [
            (10_000_000, 1_400_000, 1_650_000),
            (1_000_000, 850_000, 1_000_000),
            (400_000, GUESS, GUESS),
        ] {
            let mut rig = Rig::new(rate);
            rig.run(1_000, 150_000);
            rig.estimator.probe(rig.now, 1_500_000);
            rig.run(400, 150_000);
            assert_near(rig.estimate(), low, high);
            assert_eq!(rig.falls(), 0, "at {rate}");
            assert_near(rig.padding, 8, 16);
            assert_eq!(rig.estimator.due(), None);
        }
    }

    #[test]
    fn what_a_bucket_lets_pass_in_one_go_is_not_believed_for_a_while() {
        let mut rig = Rig::new(600_000);
        rig.burst = 6_000;
        rig.run(1_000, 150_000);
        let probe = |rig: &mut Rig| {
            rig.estimator.probe(rig.now, 1_500_000);
            rig.run(400, 150_000);
        };
        probe(&mut rig);
        assert_near(rig.estimate(), 1_300_000, 1_700_000);
        rig.estimator.fill_up(rig.now, 1_200_000);
        rig.run(1_500, 150_000);
        rig.run(600, 150_000);
        probe(&mut rig);
        assert_near(rig.estimate(), 500_000, 650_000);
        rig.rate = 10_000_000;
        rig.run(4_000, 150_000);
        probe(&mut rig);
        assert_near(rig.estimate(), 1_300_000, 1_700_000);
    }

    #[test]
    fn media_is_filled_up_to_a_rate_and_not_beyond() {
        let mut rig = Rig::new(2_000_000);
        rig.run(1_000, 300_000);
        rig.estimator.fill_up(rig.now, 900_000);
        rig.run(2_000, 300_000);
        // A second on the way there, and all of it from then on.
        let size = (PADDING + HEADERS) as u64;
        assert_near(rig.padding * size * 8, 800_000, 1_000_000);
        assert_near(rig.estimate(), 800_000, 1_000_000);
        rig.padding = 0;
        rig.run(1_000, 1_200_000);
        assert_eq!(rig.padding, 0, "media is enough");
        rig.estimator.fill_up(rig.now, 0);
        assert_eq!(rig.estimator.due(), None);
    }

    #[test]
    fn losses_count_if_there_are_many() {
        for (lost_of, falls) in [(5, true), (20, false), (0, false)] {
            let mut rig = Rig::new(10_000_000);
            rig.run(2_000, 1_000_000);
            rig.lost_of = lost_of;
            rig.run(2_000, 1_000_000);
            assert_eq!(rig.falls() > 0, falls, "one in {lost_of}");
        }
    }

    #[test]
    fn less_is_sent_to_whom_nothing_is_heard_of() {
        let mut rig = Rig::new(10_000_000);
        rig.run(2_000, 1_000_000);
        let before = rig.estimate();
        assert_eq!(rig.estimator.look(rig.now), Change::None);
        rig.estimator.on_sent(rig.now, 1_000, Held::No);
        let later = rig.now + SILENCE;
        assert_eq!(rig.estimator.look(later), Change::Fall);
        assert_near(rig.estimate(), before / 2, before / 2);
    }

    #[test]
    fn who_had_nothing_to_report_on_is_not_silent() {
        let mut rig = Rig::new(10_000_000);
        rig.run(2_000, 1_000_000);
        rig.run(200, 0);
        let later = rig.now + Duration::from_secs(60);
        assert_eq!(rig.estimator.look(later), Change::None);
        rig.estimator.on_sent(later, 1_000, Held::No);
        assert_eq!(rig.estimator.look(later), Change::None, "not yet");
        assert_eq!(rig.estimator.look(later + SILENCE), Change::Fall);
    }

    #[test]
    fn a_probe_that_cannot_be_sent_ends() {
        let mut estimator = Estimator::new(GUESS);
        let now = Monotonic::from_nanos(0);
        estimator.probe(now, 1_000_000);
        let mut at = now;
        while let Some(due) = estimator.due() {
            at = due;
            estimator.lacks(at);
        }
        assert!(at < now + Duration::from_millis(300));
        assert_eq!(estimator.on_report(at), Change::None);
        assert!(estimator.probe.is_none());
    }

    #[test]
    fn what_was_reported_once_counts_once() {
        let now = Monotonic::from_nanos(0);
        let mut estimator = Estimator::new(GUESS);
        estimator.next = 65_530;
        for _ in 0..20 {
            estimator.on_sent(now, 100, Held::No);
        }
        for number in [65_535, 3, 1, 3, 65_530, 200] {
            estimator.on_status(number, Some(ArrivalTime(5)));
        }
        assert_eq!(estimator.losses.came, 2);
        assert_eq!(estimator.sent.len(), 10, "those behind");
        estimator.on_status(4, None);
        assert_eq!(estimator.losses.lost, 1);
    }

    proptest! {
        #[test]
        fn no_report_breaks_it(statuses in prop::collection::vec((any::<u16>(), any::<Option<u32>>()), 0..60)) {
            let mut estimator = Estimator::new(GUESS);
            let mut now = Monotonic::from_nanos(0);
            estimator.probe(now, 1_000_000);
            for (number, came) in statuses {
                now = now + TICK * 7;
                estimator.on_sent(now, 1_000, Held::No);
                estimator.lacks(now);
                let near = estimator.number().wrapping_sub(number % 8);
                estimator.on_status(if number > 40_000 { number } else { near }, came.map(ArrivalTime));
                estimator.on_report(now);
            }
            prop_assert!(estimator.estimate() >= ESTIMATE_MIN);
        }
    }
}
