//! Key frames that are wanted of senders: requests are collected, spaced out, and repeated until
//! the key frame is seen.
//!
//! Invariant: an encoding is asked at most once per [`INTERVAL`].

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
}

/// A sender needs about this long to make a key frame that arrives; asking more often makes it
/// waste bandwidth on several.
const INTERVAL: Duration = Duration::from_millis(500);

/// Ten seconds of asking: a sender that does not send, or whose key frames cannot be told, is left
/// in peace then.
const ASKED_MAX: u32 = 20;

impl Keyframes {
    /// Notes that a key frame is wanted.
    pub(crate) fn want(&mut self, now: Monotonic, of: EncodingRef) {
        let request = self.requests.entry(of).or_insert(Request {
            asked_at: None,
            asked_count: 0,
            is_wanted: false,
        });
        if request.is_wanted {
            return;
        }
        request.is_wanted = true;
        request.asked_count = 0;
        let due = request.due().unwrap_or(now);
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
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
            let due = request.due();
            if due.is_some_and(|due| due > now) {
                self.next_due = self.next_due.into_iter().chain(due).min();
                return true;
            }
            if !request.is_wanted || request.asked_count == ASKED_MAX {
                return false;
            }
            request.asked_at = Some(now);
            request.asked_count += 1;
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
    /// When it may be asked again; `None` for at once.
    fn due(&self) -> Option<Monotonic> {
        if mutant!(KeyframeAlways) {
            return self.asked_at.map(|at| at + INTERVAL / 50);
        }
        self.asked_at.map(|at| at + INTERVAL)
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

    #[test]
    fn a_deaf_sender_is_left_in_peace_in_the_end() {
        let mut keyframes = Keyframes::default();
        keyframes.want(at(0), encoding(0));
        let asked = (0..100)
            .map(|n| expire(&mut keyframes, n * 500).len())
            .sum::<usize>();
        assert_eq!(asked, ASKED_MAX as usize);
        assert_eq!(keyframes.deadline(), None);
    }

    #[test]
    fn a_peer_that_left_is_not_asked() {
        let mut keyframes = Keyframes::default();
        keyframes.want(at(0), encoding(0));
        keyframes.forget(PeerId(1));
        assert_eq!(expire(&mut keyframes, 0), NONE);
    }
}
