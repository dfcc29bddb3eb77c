//! Plain counters of one shard's media, and the reasons for which something is dropped.

use crate::metrics::Metrics;

/// Why a datagram, packet or message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// More packets within one turn than are kept for its end.
    BatchFull,
    /// More remote candidates than one handle may have.
    CandidateLimit,
    /// A candidate that must not or cannot be checked: a name, a wrong protocol, a forbidden
    /// address.
    CandidateUnusable,
    /// A data channel message that does not fit into the send buffer.
    DataBufferFull,
    /// A data channel message over the limit.
    DataTooBig,
    /// The datagram lane is full.
    LaneFull,
    /// Nothing that shares a port with STUN, DTLS and RTP.
    NotMedia,
    /// RTP or RTCP over 1,500 bytes.
    Oversized,
    /// A source that no signalling named, beyond the limit of one peer.
    SourceLimit,
    /// A STUN message that names no peer of ours, or fails its integrity check.
    StunUnknown,
    /// Anything but STUN from an address that passed no check.
    Unvalidated,
}

impl DropReason {
    /// All of them, in order.
    pub const ALL: [Self; 11] = [
        Self::BatchFull,
        Self::CandidateLimit,
        Self::CandidateUnusable,
        Self::DataBufferFull,
        Self::DataTooBig,
        Self::LaneFull,
        Self::NotMedia,
        Self::Oversized,
        Self::SourceLimit,
        Self::StunUnknown,
        Self::Unvalidated,
    ];

    /// The name that metrics use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BatchFull => "batch_full",
            Self::CandidateLimit => "candidate_limit",
            Self::CandidateUnusable => "candidate_unusable",
            Self::DataBufferFull => "data_buffer_full",
            Self::DataTooBig => "data_too_big",
            Self::LaneFull => "lane_full",
            Self::NotMedia => "not_media",
            Self::Oversized => "oversized",
            Self::SourceLimit => "source_limit",
            Self::StunUnknown => "stun_unknown",
            Self::Unvalidated => "unvalidated",
        }
    }
}

/// What one shard's media did since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaCounters {
    /// Peers that were made.
    pub peers_opened: u64,
    /// Peers that are gone.
    pub peers_closed: u64,
    /// Peers that were closed because their code panicked.
    pub peers_panicked: u64,
    /// Datagrams that came in.
    pub datagrams_received: u64,
    /// Bytes in them.
    pub bytes_received: u64,
    /// Datagrams that went out.
    pub datagrams_sent: u64,
    /// Bytes in them.
    pub bytes_sent: u64,
    /// RTP packets that came in, repaired ones included.
    pub packets_received: u64,
    /// RTP packets that routes delivered.
    pub packets_forwarded: u64,
    /// Key frames that were asked of senders.
    pub keyframes_requested: u64,
    drops: [u64; DropReason::ALL.len()],
}

impl MediaCounters {
    /// Counts a drop.
    pub fn dropped(&mut self, why: DropReason) {
        self.drops[why as usize] += 1;
    }

    /// Adds what is counted here to a shard's metrics.
    pub fn add_to(&self, metrics: &mut Metrics) {
        metrics.media_peers_created += self.peers_opened;
        metrics.media_received_datagrams += self.datagrams_received;
        metrics.media_received_bytes += self.bytes_received;
        metrics.media_sent_datagrams += self.datagrams_sent;
        metrics.media_sent_bytes += self.bytes_sent;
        metrics.media_received_packets += self.packets_received;
        metrics.media_sent_packets += self.packets_forwarded;
        metrics.media_keyframes_requested += self.keyframes_requested;
    }

    /// How often something was dropped for a reason.
    pub const fn drops(&self, why: DropReason) -> u64 {
        self.drops[why as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_and_a_name_of_its_own() {
        let mut counters = MediaCounters::default();
        for (index, why) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index);
            for _ in 0..=index {
                counters.dropped(why);
            }
        }
        let mut names: Vec<_> = DropReason::ALL.map(DropReason::as_str).to_vec();
        for (index, why) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(counters.drops(why), index as u64 + 1);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
