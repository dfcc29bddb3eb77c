//! Padding: packets without content that find out what the way to a peer carries.
//!
//! They go out as retransmissions of nothing, as those of browsers do: the source of media has no
//! gaps, and no receiver takes them for a part of a frame.

use crate::base::clock::Monotonic;
use crate::media::line::Line;
use crate::media::peer::{Peer, PeerOutput};
use crate::media::peer_head::send_time;
use crate::media::peer_keys::Sender;
use crate::media::standing_queue::Held;
use crate::wire::rtp::packet::{RtpHeader, write_header};

/// The last byte says how much there is, itself included (RFC 3550 section 5.1).
const PADDING: [u8; 224] = {
    let mut padding = [0; 224];
    padding[223] = 224;
    padding
};

/// Set in the first byte of a packet with padding.
const HAS_PADDING: u8 = 0x20;

/// Packets that go out in one go.
const PACKETS_MAX: usize = 32;

impl Peer {
    /// Whether the remote takes padding.
    pub(super) fn can_pad(&self) -> bool {
        self.keys.is_some() && self.lines.iter().flatten().any(takes_padding)
    }

    /// Sends the padding that is due.
    pub(super) fn pad(&mut self, now: Monotonic, out: &mut PeerOutput) {
        for _ in 0..PACKETS_MAX {
            if !self.adaption.lacks(now) {
                return;
            }
            if self.send_padding(now, out).is_none() {
                return;
            }
            let size = out.datagrams.last_size();
            self.adaption.on_sent(now, size, Held::No);
            out.padding += 1;
        }
    }

    fn send_padding(&mut self, now: Monotonic, out: &mut PeerOutput) -> Option<()> {
        let number = self.adaption.number()?.to_be_bytes();
        let (sender, _) = Sender::sides(self.is_dtls_client());
        let keys = self.keys.as_ref()?;
        let (sock, to) = self.direct.way?;
        let mut lines = self.lines.iter_mut().flatten();
        let line = lines.find(|line| takes_padding(line))?;
        let own = line.history.draw();
        let header = RtpHeader {
            marker: false,
            pt: line.rtx_pt()?,
            sequence: own as u16,
            timestamp: line.rewriter.time_at(now)?,
            ssrc: line.rtx_ssrc,
        };
        let sent = send_time(now);
        let ids = line.offer.hop_ids;
        let mut extensions: Vec<(u8, &[u8])> = Vec::with_capacity(2);
        extensions.extend(ids.send_time.map(|id| (id, &sent[..])));
        extensions.extend(ids.transport_cc.map(|id| (id, &number[..])));
        let cipher = self.direct.media(keys, sender);
        let source = line.rtx_ssrc;
        out.datagrams.push_with(sock, to, |bytes| {
            let start = bytes.len();
            write_header(&header, &extensions, bytes);
            bytes[start] |= HAS_PADDING;
            cipher.seal_rtp(source, own, &PADDING, start, bytes)
        })
    }
}

/// Whether padding can be sent beside the media of a line, which must have begun.
fn takes_padding(line: &Line) -> bool {
    let is_sent = line.offer.sends && line.is_taken && line.has_begun;
    is_sent && line.is_reported && line.rtx_pt().is_some()
}
