//! The best of a line's encodings as one stream, for receivers that cannot choose: forwards and
//! recordings.

use crate::base::clock::Monotonic;
use crate::media::event::LayerTarget;
use crate::media::packet::MediaPacket;
use crate::media::rewriter::{Rewriter, Rewritten, Vp8Numbers};
use crate::media::selector::{LayerSelector, Verdict};

/// How the best encoding is picked.
#[derive(Debug)]
pub(super) struct Best {
    selector: LayerSelector,
    rewriter: Rewriter,
}

impl Best {
    /// For a stream whose first packet follows the sequence number `before`.
    pub(super) fn new(clock_rate: u32, before: u16) -> Self {
        Self {
            selector: LayerSelector::new(LayerTarget::default()),
            rewriter: Rewriter::new(clock_rate, before),
        }
    }

    /// Decides on a packet: how it is numbered if it belongs to the stream, and of which encoding a
    /// key frame is needed. Packets of lines without encodings all belong to it.
    pub(super) fn pass(
        &mut self,
        now: Monotonic,
        packet: &MediaPacket,
    ) -> (Option<(Rewritten, Vp8Numbers)>, Option<u8>) {
        let Self { selector, rewriter } = self;
        let mut wanted = None;
        if packet.is_simulcast {
            let verdict = selector.judge(now, packet).verdict;
            wanted = selector.wanted(now);
            match verdict {
                Verdict::Forward => {}
                Verdict::Other => return (None, wanted),
                Verdict::Skip => {
                    rewriter.skip(packet.source, packet.sequence);
                    return (None, wanted);
                }
            }
        }
        let switched = rewriter.source() != Some(packet.source);
        let numbers = rewriter.map(now, packet.source, packet.sequence, packet.timestamp);
        let numbered = numbers.map(|numbers| {
            let vp8 = packet.vp8.map_or_else(Vp8Numbers::default, |descriptor| {
                rewriter.map_vp8(&descriptor, switched, numbers.is_newest)
            });
            (numbers, vp8)
        });
        (numbered, wanted)
    }

    /// What overtook a packet that belongs to the stream, in its order: it is to pass after it.
    pub(super) fn overtakers(&mut self, now: Monotonic, packet: &MediaPacket) -> Vec<MediaPacket> {
        self.selector.overtakers(now, packet)
    }

    /// The encoding that the stream consists of now.
    pub(super) const fn encoding(&self) -> Option<u8> {
        self.selector.substream()
    }
}
