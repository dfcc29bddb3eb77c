//! Whether packets stand in a queue on their way, seen from when each was sent and when it came.
//!
//! What is sent at once, such as the packets of a frame, waits for itself on any way. So only the first
//! packet of such a group counts: it has to wait for what was sent long before. Its delay is compared
//! with the least of the last seconds, so the clocks of the two sides need not agree. What was held back
//! to spread a frame is no first packet, unless there is no other for long.
//!
//! Times are in units of [`ArrivalTime`](crate::wire::rtp::transport_feedback::ArrivalTime), 250 us.

/// What packets of one way have to wait for.
#[derive(Debug, Default)]
pub(super) struct StandingQueue {
    /// What all delays are relative to: the first one.
    origin: Option<u32>,
    /// When the first packet of the newest group was sent.
    group: u32,
    /// The least delay in this window, and in the one before.
    least: [i32; 2],
    /// When this window began.
    window: u32,
    /// How much delays differ from one group to the next, in 16ths.
    deviation: i32,
    /// The delay of the newest group.
    delay: i32,
    run: Option<Run>,
}

/// Whether a packet had to wait for its turn to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// To spread a frame.
    Back,
    No,
}

/// Groups in a row that had to wait, none much shorter than any before.
#[derive(Clone, Copy, Debug)]
struct Run {
    since: u32,
    count: u32,
    longest: i32,
}

const MILLI: u32 = 4;

/// Packets that are sent within so much are a group, as in Google Congestion Control
/// (draft-ietf-rmcat-gcc-02 section 5.2).
const GROUP: u32 = 5 * MILLI;

/// No group is longer.
const GROUP_MAX: u32 = 100 * MILLI;

/// How long the least delay counts, at least: then the way may be another one.
const WINDOW: u32 = 5_000 * MILLI;

/// What is short is no queue: radio links hold packets back for as long.
const BEARABLE: i32 = 25 * MILLI.cast_signed();

/// Nor is what differs as much on this way anyway, with an upper bound.
const DEVIATIONS: i32 = 2;
const DEVIATION_MAX: i32 = 50 * MILLI.cast_signed();
const SIXTEENTH: i32 = 16;

/// A queue stands if it does not become shorter for so many groups, and so long.
const RUN_COUNT: u32 = 3;
const RUN_LENGTH: u32 = 40 * MILLI;

/// A queue that is shorter than so much of what it was, in eighths, drains.
const LEFT_EIGHTHS: i32 = 7;
const EIGHTHS: i32 = 8;

impl StandingQueue {
    /// Notes a packet that came, in the order of sending.
    pub(super) fn on_arrival(&mut self, sent: u32, came: u32, held: Held) {
        let passed = came.wrapping_sub(sent);
        let Some(origin) = self.origin else {
            *self = Self {
                origin: Some(passed),
                group: sent,
                window: sent,
                least: [0; 2],
                ..Self::default()
            };
            return;
        };
        let group = match held {
            Held::Back => GROUP_MAX,
            Held::No => GROUP,
        };
        if sent.wrapping_sub(self.group) <= group {
            return;
        }
        self.group = sent;
        let delay = passed.wrapping_sub(origin).cast_signed();
        self.note_least(sent, delay);
        let former = std::mem::replace(&mut self.delay, delay);
        let waited = self.waited();
        if waited <= self.bearable() {
            let differs = delay
                .saturating_sub(former)
                .saturating_abs()
                .min(DEVIATION_MAX);
            self.deviation += differs - self.deviation / SIXTEENTH;
            self.run = None;
            return;
        }
        self.run = match self.run {
            Some(run) if waited >= run.longest / EIGHTHS * LEFT_EIGHTHS => Some(Run {
                count: run.count + 1,
                longest: run.longest.max(waited),
                ..run
            }),
            Some(_) | None => Some(Run {
                since: sent,
                count: 1,
                longest: waited,
            }),
        };
    }

    /// Whether there is a queue that does not become shorter.
    pub(super) fn is_standing(&self) -> bool {
        self.run.is_some_and(|run| {
            run.count >= RUN_COUNT && self.group.wrapping_sub(run.since) >= RUN_LENGTH
        })
    }

    /// Whether there is none to speak of.
    pub(super) fn is_empty(&self) -> bool {
        self.run.is_none()
    }

    fn waited(&self) -> i32 {
        let [here, before] = self.least;
        self.delay.saturating_sub(here.min(before))
    }

    fn bearable(&self) -> i32 {
        BEARABLE + DEVIATIONS * self.deviation / SIXTEENTH
    }

    fn note_least(&mut self, sent: u32, delay: i32) {
        if sent.wrapping_sub(self.window) > WINDOW {
            self.window = sent;
            self.least = [delay, self.least[0]];
        }
        self.least[0] = self.least[0].min(delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets groups pass 33 ms apart, each with such a delay in milliseconds; says when the queue stands.
    fn standing(queue: &mut StandingQueue, from: u32, delays: &[u32]) -> Option<usize> {
        let mut found = None;
        for (place, delay) in (0..).zip(delays) {
            let sent = from.wrapping_add(33 * MILLI * place);
            let came = sent.wrapping_add(77_777).wrapping_add(delay * MILLI);
            queue.on_arrival(sent, came, Held::No);
            // The rest of a frame waits for its beginning.
            queue.on_arrival(sent + 1, came + 400 * MILLI, Held::No);
            if found.is_none() && queue.is_standing() {
                found = Some(place as usize);
            }
        }
        found
    }

    #[test]
    fn a_queue_that_grows_is_seen_soon() {
        let mut queue = StandingQueue::default();
        let delays = [0, 0, 2, 0, 20, 40, 60, 80, 100];
        assert_eq!(standing(&mut queue, 0, &delays), Some(7));
        assert!(!queue.is_empty());
    }

    #[test]
    fn one_that_stays_as_it_is_is_seen() {
        let mut queue = StandingQueue::default();
        let delays = [0, 0, 1, 0, 150, 150, 149, 150, 150];
        assert_eq!(standing(&mut queue, u32::MAX - 500, &delays), Some(6));
    }

    #[test]
    fn one_that_becomes_shorter_is_none() {
        let mut queue = StandingQueue::default();
        let delays = [0, 1, 0, 120, 100, 80, 60, 45, 30, 10, 0, 0];
        assert_eq!(standing(&mut queue, 0, &delays), None);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_always_differs_is_none() {
        let mut queue = StandingQueue::default();
        let delays = [0, 12, 3, 20, 5, 0, 17, 22].repeat(20);
        assert_eq!(standing(&mut queue, 0, &delays), None);
        let after = [30, 31, 35, 32, 30];
        assert_eq!(standing(&mut queue, 160 * 33 * MILLI, &after), None);
        let after = [80, 90, 100];
        assert_eq!(standing(&mut queue, 165 * 33 * MILLI, &after), Some(2));
    }

    #[test]
    fn a_longer_way_is_known_as_one_after_some_seconds() {
        let mut queue = StandingQueue::default();
        assert_eq!(standing(&mut queue, 0, &[0; 20]), None);
        let longer = [60; 310];
        assert_eq!(standing(&mut queue, 20 * 33 * MILLI, &longer), Some(2));
        assert!(!queue.is_standing());
    }

    #[test]
    fn a_frame_that_was_spread_waits_for_itself() {
        let spread = |held: Held, length: u32| {
            let mut queue = StandingQueue::default();
            for sent in (0..2_000).step_by(33) {
                queue.on_arrival(sent * MILLI, sent * MILLI, Held::No);
            }
            let packets = (1..=length).map(|packet| {
                let sent = (2_000 + 8 * packet) * MILLI;
                queue.on_arrival(sent, sent + 12 * packet * MILLI, held);
                queue.is_standing()
            });
            packets.filter(|stands| *stands).count() > 0
        };
        assert!(!spread(Held::Back, 20));
        assert!(spread(Held::No, 20));
        assert!(spread(Held::Back, 100), "nothing else has come for long");
    }

    #[test]
    fn clocks_that_drift_apart_are_no_queue() {
        let mut queue = StandingQueue::default();
        // 500 millionths are more than any crystal is off.
        let delays: Vec<u32> = (0..10_000).map(|place| place * 33 / 2_000).collect();
        assert_eq!(standing(&mut queue, 0, &delays), None);
    }
}
