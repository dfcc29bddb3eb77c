//! Packets that overtake the one with which a stream is to begin: it begins with the first packet of
//! a key frame, and what came before that is not delivered.
//!
//! Their numbers would be missing for good: their sender has sent them, so nobody asks it for them,
//! and the receiver asks for what it was never sent. So they wait here for the packet that they
//! overtook, which comes late by a path that reorders, or as a retransmission.
//!
//! Invariant: what is kept is bounded in packets, and in time as long as packets come.

use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::media::packet::MediaPacket;
use crate::media::rewriter::SourceKey;

/// Packets of sources that are not delivered yet.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// In the order in which they came.
    packets: Vec<(Monotonic, MediaPacket)>,
}

/// A large key frame. Of more, the oldest are forgotten: their receiver asks for another one, as it
/// would without them.
const PACKETS_MAX: usize = 64;

/// What is retransmitted later than this comes too late to be shown.
const AGE_MAX: Duration = Duration::from_millis(500);

impl Early {
    /// Keeps a packet in case that it overtook the first one.
    pub(super) fn keep(&mut self, now: Monotonic, packet: &MediaPacket) {
        self.expire(now);
        if self.packets.len() == PACKETS_MAX {
            self.packets.remove(0);
        }
        self.packets.push((now, packet.clone()));
    }

    /// Takes out what overtook a packet of a source that is delivered from there on, by its numbers.
    pub(super) fn take_after(
        &mut self,
        now: Monotonic,
        source: SourceKey,
        sequence: u64,
    ) -> Vec<MediaPacket> {
        self.expire(now);
        let is_of_source = |(_, packet): &mut (_, MediaPacket)| packet.source == source;
        let all = self.packets.extract_if(.., is_of_source);
        let mut taken: Vec<_> = all
            .map(|(_, packet)| packet)
            .filter(|packet| packet.sequence > sequence)
            .collect();
        taken.sort_by_key(|packet| packet.sequence);
        taken
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.packets.clear();
    }

    fn expire(&mut self, now: Monotonic) {
        let packets = self.packets.iter();
        let is_old = |(at, _): &&(Monotonic, _)| now.saturating_since(*at) > AGE_MAX;
        let old_count = packets.take_while(is_old).count();
        self.packets.drain(..old_count);
    }
}

#[cfg(test)]
mod tests {
    use str0m::rtp::ExtensionValues;

    use super::*;
    use crate::media::packet::PayloadForm;
    use crate::media::peer_ext::HeaderValues;
    use crate::wire::rtp::LayerFacts;

    const A: SourceKey = SourceKey(1);
    const B: SourceKey = SourceKey(2);

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn packet(source: SourceKey, sequence: u64) -> MediaPacket {
        MediaPacket {
            line: 0,
            encoding: 0,
            is_simulcast: true,
            source,
            sequence,
            timestamp: 0,
            marker: false,
            form: PayloadForm::Plain,
            payload: [0][..].into(),
            facts: LayerFacts::default(),
            vp8: None,
            values: HeaderValues::new(ExtensionValues::default()),
        }
    }

    fn sequences(packets: Vec<MediaPacket>) -> Vec<u64> {
        let packets = packets.into_iter();
        packets.map(|packet| packet.sequence).collect()
    }

    #[test]
    fn what_is_behind_the_first_packet_comes_in_its_order_and_once() {
        let mut early = Early::default();
        for sequence in [9, 13, 11, 12] {
            early.keep(at(0), &packet(A, sequence));
        }
        early.keep(at(0), &packet(B, 11));
        assert_eq!(sequences(early.take_after(at(1), A, 10)), [11, 12, 13]);
        assert!(early.take_after(at(1), A, 10).is_empty());
        assert_eq!(sequences(early.take_after(at(1), B, 10)), [11]);
    }

    #[test]
    fn what_is_kept_is_bounded_in_packets_and_in_time() {
        let mut early = Early::default();
        for sequence in 0..100 {
            early.keep(at(sequence), &packet(A, sequence));
        }
        assert_eq!(early.packets.len(), PACKETS_MAX);
        early.keep(at(580), &packet(A, 100));
        let left: Vec<_> = (80..=100).collect();
        assert_eq!(sequences(early.take_after(at(580), A, 0)), left);
    }
}
