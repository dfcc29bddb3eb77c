//! How much of what a receiver misses is sent again, and how often.
//!
//! Invariant: one report costs no more than so many packets, whatever it says.

use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::wire::rtp::packet::missing_packets;

/// Who asks later than this has no use for it: players wait less.
pub(super) const AGE_MAX: Duration = Duration::from_secs(1);

/// A packet is sent again after so long at the earliest, twice as long after each time.
const PAUSE: Duration = Duration::from_millis(40);

/// Packets that one report has sent again.
const RESENT_MAX: u64 = 64;

/// Packets that one report is looked up for.
const MISSING_MAX: usize = 256;

/// How often a packet was sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resent {
    at: Option<Monotonic>,
    count: u8,
}

impl Resent {
    /// Whether it may be sent again now, which it is then.
    pub(super) fn again(&mut self, now: Monotonic) -> bool {
        let pause = PAUSE * (1 << self.count.min(5)) / 2;
        let is_due = |at: Monotonic| now.saturating_since(at) >= pause;
        if !self.at.is_none_or(is_due) {
            return false;
        }
        self.at = Some(now);
        self.count = self.count.saturating_add(1);
        true
    }
}

/// Has what a plain report says is missing sent again, as far as one report may have it; tells how
/// many packets were.
pub(super) fn send_again(report: &[u8], mut send: impl FnMut(u32, u16) -> Option<()>) -> u64 {
    let (mut sent_count, mut missing_count) = (0, 0);
    missing_packets(report, |ssrc, sequence| {
        missing_count += 1;
        if missing_count <= MISSING_MAX && sent_count < RESENT_MAX {
            sent_count += u64::from(send(ssrc, sequence).is_some());
        }
    });
    sent_count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn the_same_packet_is_sent_again_ever_more_rarely() {
        let mut resent = Resent::default();
        let times = (0..1_200).step_by(10);
        let times: Vec<u64> = times.filter(|millis| resent.again(at(*millis))).collect();
        assert_eq!(times, [0, 40, 120, 280, 600]);
    }

    #[test]
    fn one_report_has_so_many_sent_again_and_no_more() {
        // Each says that one packet is missing, and the 16 behind it.
        let all = (0..170_u16).step_by(17).flat_map(|sequence| {
            let mut bytes = vec![0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 5];
            bytes.extend(sequence.to_be_bytes());
            bytes.extend(u16::MAX.to_be_bytes());
            bytes
        });
        let mut found = Vec::new();
        let sent = send_again(&all.collect::<Vec<u8>>(), |ssrc, sequence| {
            found.push((ssrc, sequence));
            Some(())
        });
        assert_eq!(sent, RESENT_MAX);
        let expected: Vec<(u32, u16)> = (0..RESENT_MAX as u16).map(|place| (5, place)).collect();
        assert_eq!(found, expected);
    }
}
