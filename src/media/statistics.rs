//! Statistics of a PeerConnection, medium by medium, for event handlers.
//!
//! Shares and recent bytes are those of the last whole second, so that they mean the same whenever
//! somebody asks; everything else counts from the beginning.

use std::time::Duration;

use crate::base::id::PeerId;
use crate::media::line::{Line, Traffic};
use crate::media::peer::Peer;
use crate::media::{Media, TrackKind};

/// Statistics of all media of a PeerConnection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStatistics {
    /// Audio and video, in the order of their sections.
    pub lines: Vec<LineStatistics>,
    /// Data channels.
    pub data: Option<DataStatistics>,
    /// The latest estimate that the peer sent of what it can receive, in bit/s.
    pub remb: Option<u64>,
}

/// Statistics of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineStatistics {
    /// The mid.
    pub mid: String,
    /// Its section.
    pub index: usize,
    /// What it carries.
    pub kind: TrackKind,
    /// The name of its codec, in lower case.
    pub codec: String,
    /// Ticks of RTP time in a second.
    pub clock_rate: u32,
    /// What comes in, encoding by encoding.
    pub received: Vec<Reception>,
    /// What goes out.
    pub sent: Sending,
}

/// What comes in of one encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// Packets, and payload bytes in them.
    pub traffic: Traffic,
    /// Payload bytes of the last second.
    pub bytes_lately: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Interarrival jitter, in ticks of RTP time.
    pub jitter_ticks: u32,
    /// Negative acknowledgements that we sent.
    pub nacks_sent: u64,
    /// Packets that came late where lost ones are asked for again.
    pub recovered: u64,
    /// Share that came, in percent, with what was asked for again counted as lost.
    pub link_quality: u8,
    /// Share that came in the end, in percent.
    pub media_quality: u8,
}

/// What goes out on one line, and what the peer says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    /// Packets, and payload bytes in them.
    pub traffic: Traffic,
    /// Payload bytes of the last second.
    pub bytes_lately: u64,
    /// Packets that never came there.
    pub lost: u64,
    /// Round-trip time.
    pub rtt: Duration,
    /// Interarrival jitter there, in ticks of RTP time.
    pub jitter_ticks: u32,
    /// Negative acknowledgements that came.
    pub nacks_received: u64,
    /// Share that came there, in percent, with what was asked for again counted as lost.
    pub link_quality: u8,
    /// Share that came there in the end, in percent.
    pub media_quality: u8,
}

impl Sending {
    /// Where nothing is sent, nothing is lost.
    pub const NOTHING: Self = Self {
        traffic: Traffic {
            packets: 0,
            bytes: 0,
        },
        bytes_lately: 0,
        lost: 0,
        rtt: Duration::ZERO,
        jitter_ticks: 0,
        nacks_received: 0,
        link_quality: 100,
        media_quality: 100,
    };
}

/// Statistics of data channels: messages and their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataStatistics {
    /// The mid of their section.
    pub mid: String,
    /// Their section.
    pub index: usize,
    /// What came in.
    pub received: Traffic,
    /// What went out.
    pub sent: Traffic,
}

/// Counters at the last look, to tell what is new since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    packets: u64,
    bytes: u64,
    lost: u64,
    nacks: u64,
    bytes_lately: u64,
    link_quality: u8,
    media_quality: u8,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            packets: 0,
            bytes: 0,
            lost: 0,
            nacks: 0,
            bytes_lately: 0,
            link_quality: 100,
            media_quality: 100,
        }
    }
}

impl Look {
    /// Looks again, a second later. `lost` are among the packets that were sent, but not among
    /// those that were received.
    pub(crate) fn again(&mut self, traffic: Traffic, lost: u64, nacks: u64, side: Side) {
        let packets = traffic.packets.saturating_sub(self.packets);
        let lost_lately = lost.saturating_sub(self.lost);
        let nacks_lately = nacks.saturating_sub(self.nacks);
        let expected = match side {
            Side::Receiving => packets + lost_lately,
            Side::Sending => packets,
        };
        *self = Self {
            packets: traffic.packets,
            bytes: traffic.bytes,
            lost,
            nacks,
            bytes_lately: traffic.bytes.saturating_sub(self.bytes),
            link_quality: share_without(lost_lately.max(nacks_lately), expected),
            media_quality: share_without(lost_lately, expected),
        };
    }

    pub(crate) const fn reception(&self, received: Reception) -> Reception {
        Reception {
            bytes_lately: self.bytes_lately,
            link_quality: self.link_quality,
            media_quality: self.media_quality,
            ..received
        }
    }

    pub(crate) const fn sending(&self, sent: Sending) -> Sending {
        Sending {
            bytes_lately: self.bytes_lately,
            link_quality: self.link_quality,
            media_quality: self.media_quality,
            ..sent
        }
    }
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Receiving,
    Sending,
}

/// The share that is left without `bad` of them, in percent.
fn share_without(bad: u64, all: u64) -> u8 {
    match (bad * 100).checked_div(all) {
        None => 100,
        Some(bad) => 100 - bad.min(100) as u8,
    }
}

impl Media {
    /// Statistics of a peer.
    pub fn statistics(&self, peer: PeerId) -> Option<PeerStatistics> {
        self.peers.get(peer).map(Peer::statistics)
    }
}

impl Peer {
    pub(crate) fn statistics(&self) -> PeerStatistics {
        let lines = self.lines.iter().enumerate();
        PeerStatistics {
            lines: lines
                .filter_map(|(index, line)| Some(line.as_ref()?.statistics(index)))
                .collect(),
            data: self.data_statistics(),
            remb: self.remote_bitrate(),
        }
    }

    pub(crate) fn data_statistics(&self) -> Option<DataStatistics> {
        let (index, mid) = self.data_section.as_ref()?;
        Some(DataStatistics {
            mid: mid.clone(),
            index: *index,
            received: self.messages_received,
            sent: self.messages_sent,
        })
    }
}

impl Line {
    fn statistics(&self, index: usize) -> LineStatistics {
        LineStatistics {
            mid: self.offer.mid.clone(),
            index,
            kind: self.offer.kind,
            codec: self.offer.codec.clone(),
            clock_rate: self.offer.clock_rate,
            received: self.receptions().collect(),
            sent: self.sending(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(packets: u64, bytes: u64) -> Traffic {
        Traffic { packets, bytes }
    }

    #[test]
    fn shares_are_those_of_the_last_second() {
        let mut look = Look::default();
        look.again(traffic(90, 9_000), 10, 20, Side::Receiving);
        let seen = look.reception(Reception::default());
        let numbers = (seen.media_quality, seen.link_quality, seen.bytes_lately);
        assert_eq!(numbers, (90, 80, 9_000));
        look.again(traffic(190, 12_000), 10, 20, Side::Receiving);
        let seen = look.reception(Reception::default());
        let numbers = (seen.media_quality, seen.link_quality, seen.bytes_lately);
        assert_eq!(numbers, (100, 100, 3_000));
    }

    #[test]
    fn what_was_sent_and_lost_was_sent() {
        let mut look = Look::default();
        look.again(traffic(100, 0), 25, 0, Side::Sending);
        assert_eq!(look.sending(Sending::default()).media_quality, 75);
        look.again(traffic(100, 0), 400, 0, Side::Sending);
        assert_eq!(look.sending(Sending::default()).media_quality, 100);
        look.again(traffic(101, 0), 900, 0, Side::Sending);
        assert_eq!(look.sending(Sending::default()).media_quality, 0);
    }
}
