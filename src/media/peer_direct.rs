//! Media that goes out beside the WebRTC library: a packet is put together, encrypted, and kept for a
//! receiver that misses it, in one pass over its payload. The library's own way takes more than twice
//! as long, and four times the memory.
//!
//! The library does all else for the same sources. It knows the way to the remote; it makes their
//! reports, whose numbers are put right here; it reads those of the remote, but for what they say of
//! numbers that it did not give out.
//!
//! Invariant: no two packets that differ are sent with one source and index, whoever sends them: the
//! numbers of media are the rewriter's, those of retransmissions are given out here alone.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use str0m::config::CryptoProvider;

use crate::base::clock::Monotonic;
use crate::base::id::SockId;
use crate::media::counters::DropReason;
use crate::media::history::Missed;
use crate::media::line::Line;
use crate::media::packet::MediaPacket;
use crate::media::peer::{Peer, PeerOutput};
use crate::media::peer_cipher::{Cipher, Mode, Use};
use crate::media::peer_head::send_time;
use crate::media::peer_keys::{Keys, Sender};
use crate::media::peer_plain::Changes;
use crate::media::resend::send_again;
use crate::media::rewriter::Vp8Numbers;
use crate::media::standing_queue::Held;
use crate::media::switch::Forwarded;
use crate::wire::rtp::Vp8Descriptor;
use crate::wire::rtp::packet::{
    RtpHeader, RtpLayout, SenderNumbers, correct_sender_reports, is_sender_report,
};

/// What a peer needs to send by itself.
pub(super) struct Direct {
    provider: Arc<CryptoProvider>,
    /// Where the library sent media to last.
    pub(super) way: Option<(SockId, SocketAddr)>,
    /// It would send the next packet there, too.
    is_sure: bool,
    media: Option<Cipher>,
    reports: Option<Reports>,
    /// Opens copies of what the remote reports.
    theirs: Option<Cipher>,
    /// A payload that is not sent as it came.
    scratch: Vec<u8>,
}

/// What opens our own reports, and closes them again.
struct Reports {
    opener: Cipher,
    sealer: Cipher,
}

/// Bytes of the number of the packet that is sent again (RFC 4588 section 4).
const ORIGINAL_SIZE: usize = 2;

impl Direct {
    pub(super) const fn new(provider: Arc<CryptoProvider>) -> Self {
        Self {
            provider,
            way: None,
            is_sure: false,
            media: None,
            reports: None,
            theirs: None,
            scratch: Vec::new(),
        }
    }

    /// Where media goes to may have changed.
    pub(super) const fn doubt_way(&mut self) {
        self.is_sure = false;
    }

    /// The library sends media there.
    pub(super) const fn note_way(&mut self, sock: SockId, to: SocketAddr) {
        self.way = Some((sock, to));
        self.is_sure = true;
    }

    pub(super) fn media(&mut self, keys: &Keys, sender: Sender) -> &mut Cipher {
        self.media.get_or_insert_with(|| {
            let (key, salt) = keys.of(sender);
            Cipher::new(
                &self.provider,
                keys.suite,
                key,
                salt,
                Use::Rtp,
                Mode::Sealing,
            )
        })
    }

    fn reports(&mut self, keys: &Keys, sender: Sender) -> &mut Reports {
        self.reports.get_or_insert_with(|| {
            let (key, salt) = keys.of(sender);
            let cipher = |mode| Cipher::new(&self.provider, keys.suite, key, salt, Use::Rtcp, mode);
            Reports {
                opener: cipher(Mode::Opening),
                sealer: cipher(Mode::Sealing),
            }
        })
    }
}

impl Reports {
    /// Puts the numbers right that a compound says of our sources.
    fn correct(
        &mut self,
        bytes: &[u8],
        numbers: impl FnMut(u32) -> Option<SenderNumbers>,
    ) -> Option<Vec<u8>> {
        let index = self.opener.rtcp_index(bytes)?;
        let mut plain = self.opener.open_compound(bytes)?;
        correct_sender_reports(&mut plain, numbers);
        // What the library made of this index is thrown away unsent.
        self.sealer.seal_rtcp(&plain, index)
    }
}

impl Peer {
    /// Sends a packet on a line.
    pub(super) fn write_directly(
        &mut self,
        now: Monotonic,
        index: usize,
        packet: &MediaPacket,
        forwarded: Forwarded,
        held: Held,
        out: &mut PeerOutput,
    ) -> bool {
        let (sender, _) = Sender::sides(self.is_dtls_client());
        let (Some(line), Some(keys)) = (
            self.lines.get_mut(index).and_then(Option::as_mut),
            &self.keys,
        ) else {
            return false;
        };
        let way = self.direct.way.filter(|_| self.direct.is_sure);
        let Some((sock, to)) = way.filter(|_| line.has_begun) else {
            line.has_begun = true;
            return self.write_to_find_way(now, index, packet, forwarded, out);
        };
        let Some((pt, payload)) = line.offer.payload_of(packet) else {
            return false;
        };
        let Forwarded {
            numbers,
            vp8,
            frame,
            marker,
        } = forwarded;
        let header = RtpHeader {
            marker,
            pt,
            sequence: numbers.sequence as u16,
            timestamp: numbers.timestamp,
            ssrc: line.ssrc,
        };
        let changes = Changes {
            playout_delay: line.playout_delay,
            frame,
        };
        let number = self.adaption.number().filter(|_| line.is_reported);
        line.sent.add(payload.len());
        let has_room = out.datagrams.len() < self.settings.datagrams_count;
        let mut scratch = std::mem::take(&mut self.direct.scratch);
        let cipher = self.direct.media(keys, sender);
        let sealed = out.datagrams.push_with(sock, to, |bytes| {
            let start = bytes.len();
            let values = &packet.values;
            values.write_head(now, number, &line.offer, &header, changes, bytes);
            if line.offer.has_nack {
                let kept = (&*payload, vp8);
                let count_max = self.settings.resend_packets_count;
                let head = &bytes[start..];
                line.history
                    .keep(now, numbers.sequence, head, kept, count_max);
            }
            if !has_room {
                return None;
            }
            let shown = shown(&payload, vp8, &mut scratch);
            cipher.seal_rtp(line.ssrc, numbers.sequence, shown, start, bytes)
        });
        self.direct.scratch = scratch;
        if !has_room {
            out.drops.push(DropReason::LaneFull);
            return true;
        }
        if number.is_some() && sealed.is_some() {
            self.adaption.on_sent(now, out.datagrams.last_size(), held);
        }
        sealed.is_some()
    }

    /// Has the library send a packet, which shows where to.
    fn write_to_find_way(
        &mut self,
        now: Monotonic,
        index: usize,
        packet: &MediaPacket,
        forwarded: Forwarded,
        out: &mut PeerOutput,
    ) -> bool {
        let before = out.datagrams.len();
        let Forwarded { numbers, vp8, .. } = forwarded;
        let is_written = self.write_by_library(now, index, packet, forwarded);
        self.advance(now, out);
        let Some(line) = self.lines.get_mut(index).and_then(Option::as_mut) else {
            return false;
        };
        if !line.offer.has_nack {
            return is_written;
        }
        for datagram in out.datagrams.iter_from(before) {
            let Some(layout) = RtpLayout::read(datagram.bytes) else {
                continue;
            };
            let header = layout.header;
            if (header.ssrc, header.sequence) == (line.ssrc, numbers.sequence as u16)
                && let Some((_, payload)) = line.offer.payload_of(packet)
            {
                let head = &datagram.bytes[..layout.payload.start];
                let count_max = self.settings.resend_packets_count;
                line.history
                    .keep(now, numbers.sequence, head, (&*payload, vp8), count_max);
            }
        }
        is_written
    }

    /// Does what a report of the remote asks for, and notes what it says of the way. Tells whether it
    /// is of use to the library.
    pub(super) fn hear_report(
        &mut self,
        now: Monotonic,
        bytes: &[u8],
        out: &mut PeerOutput,
    ) -> ControlFlow<()> {
        if !self.lines.iter().flatten().any(Line::listens) {
            return ControlFlow::Continue(());
        }
        let Some(report) = self.open_report(bytes) else {
            return ControlFlow::Continue(());
        };
        out.resent += self.send_missing(now, &report, out);
        let (says_more, has_estimate) = self.adaption.on_report(now, &report);
        out.has_estimate |= has_estimate;
        says_more
    }

    /// Decrypts a copy of a report of the remote.
    fn open_report(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (_, theirs) = Sender::sides(self.is_dtls_client());
        let (key, salt) = self.keys.as_ref()?.of(theirs);
        let suite = self.keys.as_ref()?.suite;
        let Direct {
            provider, theirs, ..
        } = &mut self.direct;
        let opener = theirs.get_or_insert_with(|| {
            Cipher::new(provider, suite, key, salt, Use::Rtcp, Mode::Opening)
        });
        opener.open_compound(bytes)
    }

    /// Sends again what a report says is missing; tells how many packets.
    fn send_missing(&mut self, now: Monotonic, report: &[u8], out: &mut PeerOutput) -> u64 {
        let (Some((sock, to)), Some(keys)) = (self.direct.way, &self.keys) else {
            return 0;
        };
        let (sender, _) = Sender::sides(self.is_dtls_client());
        let mut scratch = std::mem::take(&mut self.direct.scratch);
        let cipher = self.direct.media(keys, sender);
        let count = send_again(report, |ssrc, sequence| {
            let mut lines = self.lines.iter_mut().flatten();
            let line = lines.find(|line| line.ssrc == ssrc && line.offer.sends)?;
            let missed = line.history.miss(now, sequence, line.feedback.rtt)?;
            let number = self.adaption.number().filter(|_| line.is_reported);
            let (again, numbered) = again((now, number), line, missed, cipher, &mut scratch)?;
            if numbered == Numbered::Yes {
                self.adaption.on_sent(now, again.len(), Held::No);
            }
            out.datagrams.push(sock, to, &again);
            Some(())
        });
        self.direct.scratch = scratch;
        count
    }

    /// Puts the numbers right that the library's reports say of what it did not send. `None` if
    /// there are none.
    pub(super) fn correct_report(&mut self, now: Monotonic, bytes: &[u8]) -> Option<Vec<u8>> {
        if !is_sender_report(bytes) {
            return None;
        }
        let (sender, _) = Sender::sides(self.is_dtls_client());
        let keys = self.keys.as_ref()?;
        let lines = &self.lines;
        self.direct.reports(keys, sender).correct(bytes, |ssrc| {
            let line = lines.iter().flatten().find(|line| line.ssrc == ssrc)?;
            line.sender_numbers(now)
        })
    }
}

/// Whether a packet has the number that it was given, on which the remote reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbered {
    No,
    Yes,
}

/// Puts a packet together that is sent again: in the format made for it where the remote takes that,
/// else as it was, to the last bit: it has the index that it had.
fn again(
    (now, number): (Monotonic, Option<u16>),
    line: &mut Line,
    missed: Missed,
    cipher: &mut Cipher,
    scratch: &mut Vec<u8>,
) -> Option<(Vec<u8>, Numbered)> {
    let Missed {
        index,
        head: mut bytes,
        payload,
        vp8,
    } = missed;
    let shown = shown(&payload, vp8, scratch);
    let layout = RtpLayout::read(&bytes)?;
    let rtx_pt = line.rtx_pt();
    let Some(rtx_pt) = rtx_pt.filter(|_| layout.header.pt == line.offer.pt) else {
        cipher.seal_rtp(line.ssrc, index, shown, 0, &mut bytes)?;
        return Some((bytes, Numbered::No));
    };
    let own = line.history.draw();
    let marker = bytes[1] & 0x80;
    bytes[1] = marker | rtx_pt;
    bytes[2..4].copy_from_slice(&(own as u16).to_be_bytes());
    bytes[8..12].copy_from_slice(&line.rtx_ssrc.to_be_bytes());
    let mut overwrite = |id: Option<u8>, value: &[u8]| {
        let place = layout.find_extension(&bytes, id?)?;
        let place = bytes
            .get_mut(place)
            .filter(|place| place.len() == value.len())?;
        place.copy_from_slice(value);
        Some(())
    };
    let ids = line.offer.hop_ids;
    overwrite(ids.send_time, &send_time(now));
    let number = number.and_then(|number| overwrite(ids.transport_cc, &number.to_be_bytes()));
    let mut body = Vec::with_capacity(ORIGINAL_SIZE + shown.len());
    body.extend_from_slice(&(index as u16).to_be_bytes());
    body.extend_from_slice(shown);
    cipher.seal_rtp(line.rtx_ssrc, own, &body, 0, &mut bytes)?;
    let numbered = if number.is_some() {
        Numbered::Yes
    } else {
        Numbered::No
    };
    Some((bytes, numbered))
}

/// The payload as it is shown to the receiver.
fn shown<'a>(payload: &'a [u8], vp8: Vp8Numbers, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if vp8 == Vp8Numbers::default() {
        return payload;
    }
    scratch.clear();
    scratch.extend_from_slice(payload);
    Vp8Descriptor::renumber(scratch, vp8.picture_id, vp8.tl0_index);
    scratch
}
