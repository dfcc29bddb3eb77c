//! Key frames that are wanted of senders: requests are collected, spaced out, and repeated until
//! the key frame is seen.
//!
//! A sender that sends and does not heed requests is asked ever more rarely, and one that was
//! silent anew as soon as it sends again, because it may not have heard.
//!
//! Invariant: an encoding is asked at most once per [`INTERVAL`]. Invariant: what is wanted is
//! asked for until it is seen, or its sender is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::base::id::PeerId;
use crate::media::event::LineRef;
use crate::mutant;

/// One encoding of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EncodingRef {
    pub(crate) line: LineRef,
    pub(crate) encoding: u8,
}

/// What is wanted of whom.
#[derive(Debug, Default)]
pub(crate) struct Keyframes {
    requests: BTreeMap<EncodingRef, Request>,
    next_due: Option<Monotonic>,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    /// When it was asked last; `None` before the first time.
    asked_at: Option<Monotonic>,
    asked_count: u32,
    is_wanted: bool,
    /// When its packets came last, since it is wanted.
    heard_at: Option<Monotonic>,
}

/// A sender needs about this long to make a key frame that arrives; asking more often makes it
/// waste bandwidth on several.
const INTERVAL: Duration = Duration::from_millis(500);

/// Ten seconds of asking like this. Then the sender does not heed it, or its key frames cannot be
/// told from others.
const ASKED_SOON: u32 = 20;

/// The longest that the pauses get then.
const INTERVAL_MAX: Duration = Duration::from_secs(8);

/// Who sends nothing for so long may not get anything either.
const SILENCE: Duration = Duration::from_secs(1);

impl Keyframes {
    /// Notes that a key frame is wanted.
    pub(crate) fn want(&mut self, now: Monotonic, of: EncodingRef) {
        let request = self.requests.entry(of).or_insert(Request {
            asked_at: None,
            asked_count: 0,
            is_wanted: false,
            heard_at: None,
        });
        if request.is_wanted {
            return;
        }
        request.is_wanted = true;
        request.heard_at = Some(now);
        let due = request.restart(now);
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }

    /// Notes that packets come that are no key frame.
    pub(crate) fn heard(&mut self, now: Monotonic, of: EncodingRef) {
        let Some(request) = self.requests.get_mut(&of).filter(|of| of.is_wanted) else {
            return;
        };
        let before = request.heard_at.replace(now);
        if before.is_some_and(|before| now.saturating_since(before) >= SILENCE) {
            let due = request.restart(now);
            self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
        }
    }

    /// Whether nothing is wanted of anybody.
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Notes that a key frame has come.
    pub(crate) fn seen(&mut self, of: EncodingRef) {
        if let Some(request) = self.requests.get_mut(&of) {
            request.is_wanted = false;
        }
    }

    /// Forgets a peer.
    pub(crate) fn forget(&mut self, peer: PeerId) {
        self.requests.retain(|of, _| of.line.peer != peer);
    }

    /// Appends what to ask for at `now`.
    pub(crate) fn expire(&mut self, now: Monotonic, out: &mut Vec<EncodingRef>) {
        if self.next_due.is_none_or(|due| due > now) {
            return;
        }
        self.next_due = None;
        self.requests.retain(|of, request| {
            if mutant!(KeyframeOnce) && request.is_wanted && request.asked_count == 1 {
                return true;
            }
            let due = request.due();
            if due.is_some_and(|due| due > now) {
                self.next_due = self.next_due.into_iter().chain(due).min();
                return true;
            }
            if !request.is_wanted {
                return false;
            }
            request.asked_at = Some(now);
            request.asked_count = request.asked_count.saturating_add(1);
            out.push(*of);
            self.next_due = self.next_due.into_iter().chain(request.due()).min();
            true
        });
    }

    /// When [`Keyframes::expire`] has something to do.
    pub(crate) const fn deadline(&self) -> Option<Monotonic> {
        self.next_due
    }
}

impl Request {
    /// Counts from the beginning; says when to ask.
    fn restart(&mut self, now: Monotonic) -> Monotonic {
        self.asked_count = 0;
        self.due().unwrap_or(now)
    }

    /// When it may be asked again; `None` for at once.
    fn due(&self) -> Option<Monotonic> {
        if mutant!(KeyframeAlways) {
            return self.asked_at.map(|at| at + INTERVAL / 50);
        }
        let doublings = self.asked_count.saturating_sub(ASKED_SOON).min(8);
        let interval = (INTERVAL * (1 << doublings)).min(INTERVAL_MAX);
        self.asked_at.map(|at| at + interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u8; 0] = [];

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn encoding(encoding: u8) -> EncodingRef {
        EncodingRef {
            line: LineRef {
                peer: PeerId(1),
                line: 0,
            },
            encoding,
        }
    }

    fn expire(keyframes: &mut Keyframes, millis: u64) -> Vec<u8> {
        let mut out = Vec::new();
        keyframes.expire(at(millis), &mut out);
        out.into_iter().map(|of| of.encoding).collect()
    }

    #[test]
    fn requests_of_many_are_one() {
        let mut keyframes = Keyframes::default();
        for _ in 0..50 {
            keyframes.want(at(0), encoding(1));
        }
        assert_eq!(expire(&mut keyframes, 0), [1]);
        assert_eq!(expire(&mut keyframes, 499), NONE);
    }

    #[test]
    fn a_request_is_repeated_until_the_key_frame_is_seen() {
        let mut keyframes = Keyframes::default();
        keyframes.want(at(0), encoding(0));
        assert_eq!(expire(&mut keyframes, 0), [0]);
        assert_eq!(keyframes.deadline(), Some(at(500)));
        assert_eq!(expire(&mut keyframes, 500), [0]);
        keyframes.seen(encoding(0));
        assert_eq!(expire(&mut keyframes, 1_000), NONE);
        assert_eq!(keyframes.deadline(), None);
    }

    #[test]
    fn a_request_right_after_a_key_frame_is_put_off_not_lost() {
        let mut keyframes = Keyframes::default();
        keyframes.want(at(0), encoding(0));
        expire(&mut keyframes, 0);
        keyframes.seen(encoding(0));
        keyframes.want(at(100), encoding(0));
        assert_eq!(expire(&mut keyframes, 100), NONE);
        assert_eq!(expire(&mut keyframes, 500), [0]);
    }

    /// When it is asked within a time, in steps of 100 ms, if packets come or not.
    fn asked(keyframes: &mut Keyframes, millis: std::ops::Range<u64>, comes: bool) -> Vec<u64> {
        let mut times = Vec::new();
        for millis in millis.step_by(100) {
            if comes {
                keyframes.heard(at(millis), encoding(0));
            }
            if expire(keyframes, millis) == [0] {
                times.push(millis);
            }
        }
        times
    }

    #[test]
    fn a_deaf_sender_is_asked_ever_more_rarely_and_never_given_up() {
        let mut keyframes = Keyframes::default();
        keyframes.want(at(0), encoding(0));
        let times = asked(&mut keyframes, 0..60_000, true);
        let soon: Vec<u64> = (0..=20).map(|n| n * 500).collect();
        assert_eq!(times[..21], soon);
        assert_eq!(
            times[21..],
            [
                11_000, 13_000, 17_000, 25_000, 33_000, 41_000, 49_000, 57_000
            ]
        );
    }

    #[test]
    fn who_comes_back_after_a_silence_is_asked_at_once_and_often() {
        let mut keyframes = Keyframes::default();
        keyframes.want(at(0), encoding(0));
        let silent = asked(&mut keyframes, 0..100_200, false);
        assert!(silent.iter().all(|millis| *millis != 100_200));
        let back = asked(&mut keyframes, 100_200..101_500, true);
        assert_eq!(back, [100_200, 100_700, 101_200]);
    }

    #[test]
    fn a_request_while_one_is_out_starts_no_other_and_is_not_lost() {
        let mut keyframes = Keyframes::default();
        keyframes.want(at(0), encoding(0));
        asked(&mut keyframes, 0..30_000, true);
        for millis in 30_000..30_100 {
            keyframes.want(at(millis), encoding(0));
        }
        assert_eq!(asked(&mut keyframes, 30_100..34_000, true), [33_000]);
        keyframes.seen(encoding(0));
        keyframes.want(at(34_000), encoding(0));
        assert_eq!(
            asked(&mut keyframes, 34_000..34_600, true),
            [34_000, 34_500]
        );
    }

    #[test]
    fn a_peer_that_left_is_not_asked() {
        let mut keyframes = Keyframes::default();
        keyframes.want(at(0), encoding(0));
        keyframes.forget(PeerId(1));
        assert_eq!(expire(&mut keyframes, 0), NONE);
    }
}
