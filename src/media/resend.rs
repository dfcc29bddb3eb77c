//! Packets that are sent again to peers without a format for retransmissions (RFC 4588): the same
//! datagram, on the same source.
//!
//! The WebRTC library answers negative acknowledgements with that format only. What went out is kept
//! here for those who did not negotiate it, encrypted as it was, because the same number may not
//! encrypt anything else; what they miss is read from a copy of their RTCP.
//!
//! Invariant: what is kept of a peer is bounded in bytes and in time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::base::id::{PeerId, SockId};
use crate::media::peer::{Peer, PeerOutput};
use crate::media::{Datagram, Datagrams, Media};
use crate::wire::rtp::packet::{RtpLayout, is_rtcp, missing_packets};

/// What one peer may be sent again.
#[derive(Default)]
pub(super) struct Resends {
    /// Sources whose receiver says what it misses, and knows no format for it.
    sources: Vec<u32>,
    sent: VecDeque<Sent>,
    bytes: usize,
}

struct Sent {
    at: Monotonic,
    ssrc: u32,
    sequence: u16,
    sock: SockId,
    to: SocketAddr,
    bytes: Box<[u8]>,
    resent: Resent,
}

/// Who asks later than this has no use for it: players wait less.
pub(super) const AGE_MAX: Duration = Duration::from_secs(1);

/// Half a second of 8 Mbit/s.
const BYTES_MAX: usize = 512 * 1024;
const PACKETS_MAX: usize = 1_024;

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

impl Resends {
    /// Keeps the packets of a source from now on.
    pub(super) fn keep(&mut self, ssrc: u32) {
        if !self.sources.contains(&ssrc) {
            self.sources.push(ssrc);
        }
    }

    /// Notes a datagram that goes out.
    pub(super) fn note(&mut self, now: Monotonic, datagram: &Datagram<'_>) {
        if self.sources.is_empty() || is_rtcp(datagram.bytes) {
            return;
        }
        let Some(layout) = RtpLayout::read(datagram.bytes) else {
            return;
        };
        let header = layout.header;
        if !self.sources.contains(&header.ssrc) {
            return;
        }
        self.bytes += datagram.bytes.len();
        self.sent.push_back(Sent {
            at: now,
            ssrc: header.ssrc,
            sequence: header.sequence,
            sock: datagram.sock,
            to: datagram.to,
            bytes: datagram.bytes.into(),
            resent: Resent::default(),
        });
        let is_old = |sent: &Sent| now.saturating_since(sent.at) > AGE_MAX;
        while self.bytes > BYTES_MAX
            || self.sent.len() > PACKETS_MAX
            || self.sent.front().is_some_and(is_old)
        {
            let Some(oldest) = self.sent.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes.len();
        }
    }

    /// Sends again what a plain report says is missing; tells how many packets.
    fn answer(&mut self, now: Monotonic, report: &[u8], out: &mut Datagrams) -> u64 {
        send_again(report, |ssrc, sequence| {
            let mut newest_first = self.sent.iter_mut().rev();
            let known = newest_first.find(|sent| sent.ssrc == ssrc && sent.sequence == sequence);
            let sent = known.filter(|sent| now.saturating_since(sent.at) <= AGE_MAX)?;
            if !sent.resent.again(now) {
                return None;
            }
            out.push(sent.sock, sent.to, &sent.bytes);
            Some(())
        })
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

impl Media {
    /// Sends again what a peer misses, by its report.
    pub(super) fn resend(&mut self, now: Monotonic, id: PeerId, bytes: &[u8]) {
        if !is_rtcp(bytes) {
            return;
        }
        let resent = self.run(now, id, |peer, out| peer.resend(now, bytes, out));
        self.counters.packets_resent += resent.unwrap_or(0);
    }
}

impl Peer {
    /// Sends again what a report says is missing; tells how many packets.
    fn resend(&mut self, now: Monotonic, bytes: &[u8], out: &mut PeerOutput) -> u64 {
        let mut lines = self.lines.iter().flatten();
        let is_direct = lines.any(|line| !line.history.is_empty());
        if self.resends.sources.is_empty() && !is_direct {
            return 0;
        }
        let Some(report) = self.open_report(bytes) else {
            return 0;
        };
        let count = self.resends.answer(now, &report, &mut out.datagrams);
        count + self.send_missing(now, &report, out)
    }
}

impl std::fmt::Debug for Resends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resends")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtp::packet::{HEADER_SIZE, RtpHeader, write_header};

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn note(resends: &mut Resends, now: Monotonic, ssrc: u32, sequence: u16, size: usize) {
        let header = RtpHeader {
            pt: 96,
            sequence,
            ssrc,
            ..RtpHeader::default()
        };
        let mut bytes = Vec::new();
        write_header(&header, &[], &mut bytes);
        bytes.resize(HEADER_SIZE + size, 7);
        let (sock, to) = (SockId(0), ([192, 0, 2, 1], 5_000).into());
        let bytes = &bytes;
        resends.note(now, &Datagram { sock, to, bytes });
    }

    /// A report that says that one packet is missing, and others by the bits.
    fn report(ssrc: u32, sequence: u16, bits: u16) -> Vec<u8> {
        let mut bytes = vec![0x81, 205, 0, 3, 0, 0, 0, 1];
        bytes.extend(ssrc.to_be_bytes());
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(bits.to_be_bytes());
        bytes
    }

    /// The numbers and sizes of what a report has sent again.
    fn again(resends: &mut Resends, now: Monotonic, report: &[u8]) -> Vec<(u16, usize)> {
        let mut out = Datagrams::default();
        let count = resends.answer(now, report, &mut out);
        assert_eq!(count, out.len() as u64);
        let read = |each: Datagram<'_>| {
            let layout = RtpLayout::read(each.bytes).unwrap();
            (layout.header.sequence, layout.payload.len())
        };
        out.iter().map(read).collect()
    }

    #[test]
    fn what_is_missing_is_sent_again_as_it_was() {
        let mut resends = Resends::default();
        resends.keep(5);
        for sequence in [65_534, 65_535, 0, 1] {
            note(&mut resends, at(0), 5, sequence, 100);
            note(&mut resends, at(0), 6, sequence, 100);
        }
        let found = again(&mut resends, at(10), &report(5, 65_535, 0b10));
        assert_eq!(found, [(65_535, 100), (1, 100)]);
        assert!(again(&mut resends, at(10), &report(6, 65_535, 0)).is_empty());
        assert!(again(&mut resends, at(10), &report(5, 9, 0)).is_empty());
    }

    #[test]
    fn the_same_packet_is_sent_again_ever_more_rarely() {
        let mut resends = Resends::default();
        resends.keep(5);
        note(&mut resends, at(0), 5, 1, 100);
        let mut times = Vec::new();
        for millis in (0..1_200).step_by(10) {
            if !again(&mut resends, at(millis), &report(5, 1, 0)).is_empty() {
                times.push(millis);
            }
        }
        assert_eq!(times, [0, 40, 120, 280, 600]);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_in_time() {
        let mut resends = Resends::default();
        resends.keep(5);
        for sequence in 0..1_000 {
            note(&mut resends, at(0), 5, sequence, 1_000);
        }
        assert!(resends.bytes <= BYTES_MAX);
        assert!(again(&mut resends, at(0), &report(5, 400, 0)).is_empty());
        assert_eq!(again(&mut resends, at(0), &report(5, 999, 0)).len(), 1);
        for sequence in 0..2_000 {
            note(&mut resends, at(0), 5, sequence, 10);
        }
        assert_eq!(resends.sent.len(), PACKETS_MAX);
        note(&mut resends, at(1_001), 5, 1_000, 1_000);
        assert_eq!(resends.sent.len(), 1);
        assert_eq!(resends.bytes, 1_000 + HEADER_SIZE);
    }

    #[test]
    fn one_report_has_so_many_sent_again_and_no_more() {
        let mut resends = Resends::default();
        resends.keep(5);
        let mut all = Vec::new();
        for sequence in (0..170).step_by(17) {
            for each in 0..17 {
                note(&mut resends, at(0), 5, sequence + each, 10);
            }
            all.extend(report(5, sequence, u16::MAX));
        }
        assert_eq!(again(&mut resends, at(1), &all).len() as u64, RESENT_MAX);
    }
}
