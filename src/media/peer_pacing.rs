//! When a packet goes out to a peer: at once, or in its turn where the way is narrow.

use crate::base::clock::Monotonic;
use crate::media::packet::MediaPacket;
use crate::media::peer::{Peer, PeerOutput};
use crate::media::standing_queue::Held;
use crate::media::switch::Forwarded;
use crate::wire::rtp::packet::HEADER_SIZE;

/// A packet that waits for its turn. It has the numbers that it goes out with.
#[derive(Debug)]
pub(super) struct Waiting {
    line: usize,
    /// Those numbers are of this source.
    ssrc: u32,
    packet: MediaPacket,
    forwarded: Forwarded,
}

impl Peer {
    /// Sends a packet on a line, at once or in its turn.
    pub(crate) fn write(
        &mut self,
        now: Monotonic,
        index: usize,
        packet: &MediaPacket,
        forwarded: Forwarded,
        out: &mut PeerOutput,
    ) -> bool {
        if !self.is_paced() {
            return self.write_directly(now, index, packet, forwarded, Held::No, out);
        }
        let Some(line) = self.line(index) else {
            return false;
        };
        // Sound is small, and heard at once if it is late.
        let is_video = line.offer.video.is_some();
        if is_video && !self.pacer.is_free(now) {
            let waiting = Waiting {
                line: index,
                ssrc: line.ssrc,
                packet: packet.clone(),
                forwarded,
            };
            self.pacer.wait(now, waiting);
            return true;
        }
        self.note_paced(now, packet);
        self.write_directly(now, index, packet, forwarded, Held::No, out)
    }

    /// Sends the packets whose turn it is.
    pub(super) fn send_waiting(&mut self, now: Monotonic, out: &mut PeerOutput) {
        while let Some(waiting) = self.pacer.next(now) {
            let Waiting {
                line,
                ssrc,
                packet,
                forwarded,
            } = waiting;
            if self.line(line).is_some_and(|line| line.ssrc == ssrc) {
                self.note_paced(now, &packet);
                self.write_directly(now, line, &packet, forwarded, Held::Back, out);
            }
        }
    }

    /// Whether packets have to wait for their turn: as long as the way is too narrow for what was asked
    /// for, and while any wait.
    fn is_paced(&self) -> bool {
        self.adaption.is_short() || !self.pacer.is_empty()
    }

    fn note_paced(&mut self, now: Monotonic, packet: &MediaPacket) {
        let size = HEADER_SIZE + packet.payload.len();
        // Without an estimate there is nothing to pace by any more.
        let estimate = self.estimate().unwrap_or(u64::MAX);
        self.pacer.on_sent(now, size, estimate);
    }
}
