//! What one line was sent lately, for receivers that miss some of it.
//!
//! Kept are headers and shared payloads and not what was encrypted: the same packet is encrypted
//! again, with the same outcome. Each packet sent writes to it, for each receiver, and it is too big
//! for the caches of many: so what is kept of one is short, and where the oldest was.
//!
//! Invariant: no number of a retransmission is given out twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::media::resend::{AGE_MAX, Resent};
use crate::media::rewriter::Vp8Numbers;

/// What one line was sent lately.
#[derive(Debug)]
pub(super) struct History {
    packets: VecDeque<Past>,
    /// The headers of these packets, one behind the other.
    heads: VecDeque<u8>,
    /// Those of them that were sent again, by their indexes.
    resent: BTreeMap<u64, Resent>,
    /// The number of the next retransmission that has a source of its own.
    next: u64,
    /// Bytes that may be sent again.
    credit: usize,
}

#[derive(Debug)]
struct Past {
    payload: Arc<[u8]>,
    at: Monotonic,
    index: u64,
    head_size: u16,
    vp8: Vp8Numbers,
}

const _: () = assert!(size_of::<Past>() <= 40);

/// A packet that was sent.
#[derive(Debug)]
pub(super) struct Missed {
    /// Its sequence number, extended beyond 16 bits.
    pub(super) index: u64,
    pub(super) head: Vec<u8>,
    pub(super) payload: Arc<[u8]>,
    /// What stands in its payload instead.
    pub(super) vp8: Vp8Numbers,
}

/// A fourth of what was sent may be sent again, and so much at once: a key frame's worth. Whoever
/// misses more has a way too narrow, and more of the same would not help.
const CREDIT_MAX: usize = 256 * 1024;
const CREDIT_SHARE: usize = 4;

/// Packets for which there is room at first.
const COUNT_FIRST: usize = 16;

/// So much of a measured round trip the next one takes at least, in percent.
const UNDER_WAY_PERCENT: u32 = 75;

impl Default for History {
    fn default() -> Self {
        Self {
            packets: VecDeque::new(),
            heads: VecDeque::new(),
            resent: BTreeMap::new(),
            next: 0,
            credit: CREDIT_MAX,
        }
    }
}

impl History {
    /// Keeps a packet, and no more than `count_max` in all.
    pub(super) fn keep(
        &mut self,
        now: Monotonic,
        index: u64,
        head: &[u8],
        (payload, vp8): (&Arc<[u8]>, Vp8Numbers),
        count_max: usize,
    ) {
        let (count_max, head_size) = (count_max.max(1), head.len() as u16);
        self.credit = CREDIT_MAX.min(self.credit + payload.len() / CREDIT_SHARE);
        let is_old = |past: &Past| now.saturating_since(past.at) > AGE_MAX;
        while self.packets.len() >= count_max || self.packets.front().is_some_and(is_old) {
            let Some(oldest) = self.packets.pop_front() else {
                break;
            };
            self.heads.drain(..usize::from(oldest.head_size));
            if !self.resent.is_empty() {
                self.resent.remove(&oldest.index);
            }
        }
        let count = self.packets.len();
        if count == self.packets.capacity() {
            // With no more room than that a packet takes the place of the one that was taken out.
            let room = count_max.min((2 * count).max(COUNT_FIRST));
            self.packets.reserve_exact(room - count);
        }
        self.heads.extend(head);
        self.packets.push_back(Past {
            payload: Arc::clone(payload),
            at: now,
            index,
            head_size,
            vp8,
        });
    }

    /// Finds a packet that is missed. `None` if it is not known any more, or was sent or sent again
    /// just now, by the time that a packet and its answer take, or too much was.
    pub(super) fn miss(
        &mut self,
        now: Monotonic,
        sequence: u16,
        round_trip: Duration,
    ) -> Option<Missed> {
        let at = self
            .packets
            .iter()
            .rposition(|past| past.index as u16 == sequence)?;
        let past = &self.packets[at];
        let age = now.saturating_since(past.at);
        let size = past.payload.len();
        // The report was made before this packet could come: it was late itself.
        let is_under_way = age < round_trip * UNDER_WAY_PERCENT / 100;
        if is_under_way || age > AGE_MAX || size > self.credit {
            return None;
        }
        if !self.resent.entry(past.index).or_default().again(now) {
            return None;
        }
        self.credit -= size;
        let before = self.packets.range(..at);
        let start: usize = before.map(|past| usize::from(past.head_size)).sum();
        let head = start..start + usize::from(past.head_size);
        Some(Missed {
            index: past.index,
            head: self.heads.range(head).copied().collect(),
            payload: Arc::clone(&past.payload),
            vp8: past.vp8,
        })
    }

    /// Gives out the number of a retransmission.
    pub(super) fn draw(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn keep(history: &mut History, now: Monotonic, index: u64, size: usize) {
        let head: Vec<u8> = (0..12 + index % 3)
            .map(|byte| (byte + index) as u8)
            .collect();
        let payload: Arc<[u8]> = vec![index as u8; size].into();
        history.keep(now, index, &head, (&payload, Vp8Numbers::default()), 10);
    }

    #[test]
    fn what_is_missed_comes_back_with_its_own_header() {
        let mut history = History::default();
        for index in 65_530..65_545 {
            keep(&mut history, at(0), index, 5);
        }
        assert_eq!(history.packets.len(), 10);
        for index in 65_530..65_535_u64 {
            assert!(
                history.miss(at(1), index as u16, Duration::ZERO).is_none(),
                "{index}"
            );
        }
        for index in 65_535..65_545_u64 {
            let missed = history.miss(at(1), index as u16, Duration::ZERO).unwrap();
            assert_eq!(missed.index, index);
            assert_eq!(missed.head.len() as u64, 12 + index % 3);
            assert_eq!(missed.head[0], index as u8);
            assert_eq!(missed.payload[..], [index as u8; 5]);
        }
        let heads: u64 = (65_535..65_545).map(|index| 12 + index % 3).sum();
        assert_eq!(history.heads.len() as u64, heads);
    }

    #[test]
    fn what_is_old_is_of_no_use() {
        let mut history = History::default();
        keep(&mut history, at(0), 1, 5);
        assert!(history.miss(at(1_001), 1, Duration::ZERO).is_none());
        keep(&mut history, at(1_001), 2, 5);
        assert_eq!(history.packets.len(), 1);
        assert!(history.miss(at(1_001), 2, Duration::ZERO).is_some());
    }

    #[test]
    fn what_is_under_way_is_not_missed_yet() {
        let mut history = History::default();
        keep(&mut history, at(0), 1, 5);
        let round_trip = Duration::from_millis(100);
        assert!(history.miss(at(74), 1, round_trip).is_none());
        assert!(history.miss(at(75), 1, round_trip).is_some());
    }

    #[test]
    fn no_more_than_a_share_is_sent_again() {
        let mut history = History::default();
        let mut again = 0;
        for index in 0..4_000_u64 {
            keep(&mut history, at(index), index, 1_000);
            again += usize::from(
                history
                    .miss(at(index), index as u16, Duration::ZERO)
                    .is_some(),
            );
        }
        let sent = CREDIT_MAX / 1_000 + 4_000 / CREDIT_SHARE;
        assert!((sent - 2..=sent + 2).contains(&again), "{again}");
    }

    #[test]
    fn what_is_kept_takes_no_more_room_than_it_may() {
        let mut history = History::default();
        for index in 0..100 {
            keep(&mut history, at(0), index, 5);
            history.miss(at(0), index as u16, Duration::ZERO).unwrap();
            assert!(history.packets.capacity() <= 10);
            assert!(history.resent.len() <= 10);
        }
    }

    #[test]
    fn retransmissions_are_counted() {
        let mut history = History::default();
        assert_eq!([1, 2, 3], [(); 3].map(|()| history.draw()));
    }
}
