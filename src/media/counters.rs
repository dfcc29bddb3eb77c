//! Plain counters of one shard's media, and the reasons for which something is dropped.

use crate::media::event::PeerEvent;
use crate::metrics::Metrics;
use crate::metrics::names::PeerEnds;

/// Why a datagram, packet or message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// More packets within one turn than are kept for its end.
    BatchFull,
    /// A packet for a capture that was not written out fast enough.
    CaptureFull,
    /// A packet that the capture of its handle could not decrypt.
    CaptureSealed,
    /// More remote candidates than one handle may have.
    CandidateLimit,
    /// A candidate that must not or cannot be checked: a name, a wrong protocol, a forbidden
    /// address.
    CandidateUnusable,
    /// A data channel message that does not fit into the send buffer.
    DataBufferFull,
    /// A data channel message for a channel that is not open and cannot be opened.
    DataNoChannel,
    /// A data channel message over the limit.
    DataTooBig,
    /// A data channel message beyond those that wait for a channel to open.
    DataWaitingFull,
    /// A packet of a forward that could not be encrypted.
    ForwardUnsealed,
    /// The datagram lane is full.
    LaneFull,
    /// Nothing that shares a port with STUN, DTLS and RTP.
    NotMedia,
    /// RTP or RTCP over 1,500 bytes.
    Oversized,
    /// Plain RTP of a source that nobody announced, or feedback that no forward is meant by.
    PlainUnknown,
    /// SRTP that fails its integrity check, or comes twice.
    PlainUntrusted,
    /// A packet or message for a recording that was not written out fast enough.
    RecordingFull,
    /// A message that is too long for the format of recordings.
    RecordingTooBig,
    /// A source that no signalling named, beyond the limit of one peer.
    SourceLimit,
    /// A STUN message that names no peer of ours, or fails its integrity check.
    StunUnknown,
    /// Anything but STUN from an address that passed no check.
    Unvalidated,
}

/// Why a peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerEnd {
    /// The gateway closed it.
    Closed,
    /// The remote said goodbye.
    DtlsAlert,
    /// DTLS failed, or something over it.
    DtlsError,
    /// The handshake took too long.
    DtlsTimeout,
    /// No pair of addresses worked, or the one that did works no more.
    IceFailed,
    /// Its code panicked.
    Internal,
}

impl PeerEnd {
    /// All of them, in order.
    const ALL: [Self; 6] = [
        Self::Closed,
        Self::DtlsAlert,
        Self::DtlsError,
        Self::DtlsTimeout,
        Self::IceFailed,
        Self::Internal,
    ];

    /// The words for it that clients of Janus know.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Closed => "Close PC",
            Self::DtlsAlert => "DTLS alert",
            Self::DtlsError => "DTLS error",
            Self::DtlsTimeout => "DTLS timeout",
            Self::IceFailed => "ICE failed",
            Self::Internal => "internal",
        }
    }

    fn counter(self, ends: &mut PeerEnds) -> &mut u64 {
        match self {
            Self::Closed => &mut ends.closed,
            Self::DtlsAlert => &mut ends.dtls_alert,
            Self::DtlsError => &mut ends.dtls_error,
            Self::DtlsTimeout => &mut ends.dtls_timeout,
            Self::IceFailed => &mut ends.ice,
            Self::Internal => &mut ends.internal,
        }
    }
}

impl DropReason {
    /// All of them, in order.
    pub const ALL: [Self; 20] = [
        Self::BatchFull,
        Self::CaptureFull,
        Self::CaptureSealed,
        Self::CandidateLimit,
        Self::CandidateUnusable,
        Self::DataBufferFull,
        Self::DataNoChannel,
        Self::DataTooBig,
        Self::DataWaitingFull,
        Self::ForwardUnsealed,
        Self::LaneFull,
        Self::NotMedia,
        Self::Oversized,
        Self::PlainUnknown,
        Self::PlainUntrusted,
        Self::RecordingFull,
        Self::RecordingTooBig,
        Self::SourceLimit,
        Self::StunUnknown,
        Self::Unvalidated,
    ];

    fn counter(self, metrics: &mut Metrics) -> &mut u64 {
        let candidates = &mut metrics.media_candidates_ignored;
        let captures = &mut metrics.media_dropped_captures;
        let datagrams = &mut metrics.media_dropped_datagrams;
        let messages = &mut metrics.media_dropped_messages;
        match self {
            Self::BatchFull => &mut metrics.media_dropped_packets.batch_full,
            Self::CaptureFull => &mut captures.full,
            Self::CaptureSealed => &mut captures.sealed,
            Self::CandidateLimit => &mut candidates.limit,
            Self::CandidateUnusable => &mut candidates.unusable,
            Self::DataBufferFull => &mut messages.buffer_full,
            Self::DataNoChannel => &mut messages.no_channel,
            Self::DataTooBig => &mut messages.too_big,
            Self::DataWaitingFull => &mut messages.waiting_full,
            Self::ForwardUnsealed => &mut metrics.media_dropped_packets.unsealed,
            Self::LaneFull => &mut datagrams.lane_full,
            Self::NotMedia => &mut datagrams.not_media,
            Self::Oversized => &mut datagrams.oversized,
            Self::PlainUnknown => &mut datagrams.plain_unknown,
            Self::PlainUntrusted => &mut datagrams.plain_untrusted,
            Self::RecordingFull => &mut metrics.media_dropped_recordings.full,
            Self::RecordingTooBig => &mut metrics.media_dropped_recordings.too_big,
            Self::SourceLimit => &mut datagrams.source_limit,
            Self::StunUnknown => &mut datagrams.stun_unknown,
            Self::Unvalidated => &mut datagrams.unvalidated,
        }
    }
}

/// What one shard's media did since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaCounters {
    /// Peers that were made.
    pub peers_opened: u64,
    /// Times that ICE lost an established connection.
    pub ice_failures: u64,
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
    /// Datagrams that forwards sent.
    pub packets_exported: u64,
    /// Packets that captures have.
    pub packets_captured: u64,
    /// Recordings that were begun.
    pub recordings: u64,
    /// Recordings whose files could not be written.
    pub recordings_failed: u64,
    /// Packets and messages that recordings have.
    pub frames_recorded: u64,
    /// Key frames that were asked of senders.
    pub keyframes_requested: u64,
    /// Packets that were sent again to receivers that missed them, but for those of peers whose
    /// packets the WebRTC library sends.
    pub packets_resent: u64,
    /// Packets without content that went out to find out what a way carries.
    pub packets_padding: u64,
    /// Key frames that receivers asked for.
    pub keyframes_wanted: u64,
    /// Events about lost packets.
    pub slowlinks: u64,
    /// Data channel messages that came in.
    pub messages_received: u64,
    /// Data channel messages that were taken for sending.
    pub messages_sent: u64,
    ends: [u64; PeerEnd::ALL.len()],
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
        for end in PeerEnd::ALL {
            *end.counter(&mut metrics.media_peers_closed) += self.ends(end);
        }
        metrics.media_ice_failures += self.ice_failures;
        metrics.media_received_datagrams += self.datagrams_received;
        metrics.media_received_bytes += self.bytes_received;
        metrics.media_sent_datagrams += self.datagrams_sent;
        metrics.media_sent_bytes += self.bytes_sent;
        metrics.media_received_packets += self.packets_received;
        metrics.media_sent_packets += self.packets_forwarded;
        metrics.media_exported_packets += self.packets_exported;
        metrics.media_captured_packets += self.packets_captured;
        metrics.media_recordings += self.recordings;
        metrics.media_recordings_failed += self.recordings_failed;
        metrics.media_recorded_packets += self.frames_recorded;
        metrics.media_keyframes_requested += self.keyframes_requested;
        metrics.media_resent_packets += self.packets_resent;
        metrics.media_padding_packets += self.packets_padding;
        metrics.media_keyframes_wanted += self.keyframes_wanted;
        metrics.media_slowlinks += self.slowlinks;
        metrics.media_received_messages += self.messages_received;
        metrics.media_sent_messages += self.messages_sent;
        for why in DropReason::ALL {
            *why.counter(metrics) += self.drops(why);
        }
    }

    /// Counts what an event tells.
    pub(super) fn event(&mut self, event: &PeerEvent) {
        match event {
            PeerEvent::Data { .. } => self.messages_received += 1,
            PeerEvent::IceFailed => self.ice_failures += 1,
            PeerEvent::SlowLink { .. } => self.slowlinks += 1,
            PeerEvent::DataClose { .. }
            | PeerEvent::DataOpen { .. }
            | PeerEvent::Hangup { .. }
            | PeerEvent::Layers { .. }
            | PeerEvent::Media { .. }
            | PeerEvent::RecordingFailed { .. }
            | PeerEvent::Remb { .. }
            | PeerEvent::Statistics(_)
            | PeerEvent::Talking { .. }
            | PeerEvent::Up => {}
        }
    }

    /// Counts the end of a peer.
    pub fn ended(&mut self, end: PeerEnd) {
        self.ends[end as usize] += 1;
    }

    /// How many peers ended for a reason.
    pub const fn ends(&self, end: PeerEnd) -> u64 {
        self.ends[end as usize]
    }

    /// How many peers ended.
    pub fn peers_closed(&self) -> u64 {
        self.ends.iter().sum()
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
    fn each_reason_has_a_counter_of_its_own_and_all_are_exposed() {
        let mut counters = MediaCounters::default();
        for (index, why) in DropReason::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| counters.dropped(why));
        }
        for (index, end) in PeerEnd::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| counters.ended(end));
        }
        // What was counted before stays: shards add up.
        let mut metrics = Metrics::default();
        counters.add_to(&mut metrics);
        counters.add_to(&mut metrics);
        for (index, why) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index);
            assert_eq!(
                *why.counter(&mut metrics),
                2 * (index as u64 + 1),
                "{why:?}"
            );
        }
        for (index, end) in PeerEnd::ALL.into_iter().enumerate() {
            assert_eq!(end as usize, index);
            let ends = &mut metrics.media_peers_closed;
            assert_eq!(*end.counter(ends), 2 * (index as u64 + 1), "{end:?}");
        }
        assert_eq!(counters.peers_closed(), 1 + 2 + 3 + 4 + 5 + 6);
    }
}
