//! Forwards: packets of a line that leave as plain RTP or SRTP, to receivers without WebRTC.
//!
//! A forward sends what its publisher sent, with the publisher's own numbers, unless it was told
//! others. One that picks the best encoding of a simulcast source numbers anew, as for viewers.
//!
//! Invariant: what a forward cannot send is dropped and counted; nothing waits for its receiver.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::base::id::{PeerId, SockId};
use crate::base::slab::{Slab, SlabKey};
use crate::media::best::Best;
use crate::media::counters::DropReason;
use crate::media::event::{DataForm, LineRef, MediaError};
use crate::media::keyframes::EncodingRef;
use crate::media::packet::{MediaPacket, PayloadForm};
use crate::media::peer_plain::ExtensionIds;
use crate::media::peer_srtp::{Srtp, SrtpKeys};
use crate::media::rewriter::{Rewritten, Vp8Numbers};
use crate::media::{Datagrams, Media};
use crate::wire::rtp::Vp8Descriptor;
use crate::wire::rtp::packet::{
    HEADER_SIZE, RtpHeader, empty_report, keyframe_requests, write_header,
};
use crate::wire::rtp::red;

/// A forward of one shard: slot and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForwardId(pub u64);

impl SlabKey for ForwardId {
    fn from_parts(slot: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(slot))
    }

    fn slot(self) -> u32 {
        (self.0 & u64::from(u32::MAX)) as u32
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What is to be sent, and where to.
#[derive(Clone, Debug)]
pub struct ForwardSpec {
    /// The line that it comes from.
    pub line: LineRef,
    /// What of it.
    pub what: ForwardWhat,
    /// The socket to send from.
    pub sock: SockId,
    /// The receiver.
    pub to: SocketAddr,
    /// The payload type to send, in place of the publisher's.
    pub pt: Option<u8>,
    /// The source to send, in place of the publisher's.
    pub ssrc: Option<u32>,
    /// Encrypts what is sent.
    pub srtp: Option<SrtpKeys>,
    /// Where the receiver's feedback comes from.
    pub rtcp: Option<SocketAddr>,
}

/// What of a line is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardWhat {
    /// The best encoding that there is, as one stream.
    Best,
    /// One encoding.
    Encoding(u8),
    /// Messages, one a datagram.
    Messages,
    /// Messages behind an RTP header.
    WrappedMessages,
}

/// All forwards of a shard.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    forwards: Slab<ForwardId, Forward>,
    by_line: BTreeMap<LineRef, Vec<ForwardId>>,
    /// When receivers that send feedback are told again where to.
    latch_at: Option<Monotonic>,
}

#[derive(Debug)]
struct Forward {
    spec: ForwardSpec,
    srtp: Option<Srtp>,
    best: Option<Box<Best>>,
    /// The source that the receiver sees.
    shown_ssrc: Option<u32>,
    /// Of wrapped messages.
    messages_count: u16,
}

/// The numbers of a publisher's line.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineNumbers {
    pub(super) plain: u8,
    /// Of packets with copies of earlier ones.
    pub(super) red: Option<u8>,
    pub(super) clock_rate: u32,
    pub(super) ids: ExtensionIds,
}

/// Routers forget where an answer goes within 30 seconds.
const LATCH_INTERVAL: Duration = Duration::from_secs(5);

/// What a message may take in a datagram, its header included.
const MESSAGE_BYTES_MAX: usize = 1_500;

/// Payload types of wrapped messages.
const PT_TEXT: u8 = 0;
const PT_BINARY: u8 = 1;

impl Forwards {
    pub(super) fn is_empty(&self) -> bool {
        self.forwards.is_empty()
    }

    pub(super) const fn deadline(&self) -> Option<Monotonic> {
        self.latch_at
    }

    /// Forgets the forwards of a peer.
    pub(super) fn forget(&mut self, peer: PeerId) {
        let of_peer =
            |(id, forward): (ForwardId, &Forward)| (forward.spec.line.peer == peer).then_some(id);
        let gone: Vec<ForwardId> = self.forwards.iter().filter_map(of_peer).collect();
        for id in gone {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: ForwardId) {
        let Some(forward) = self.forwards.remove(id) else {
            return;
        };
        let line = forward.spec.line;
        if let Some(ids) = self.by_line.get_mut(&line) {
            ids.retain(|each| *each != id);
            if ids.is_empty() {
                self.by_line.remove(&line);
            }
        }
    }
}

impl Media {
    /// Begins to send packets of a line somewhere. They end with the line's peer.
    ///
    /// # Errors
    ///
    /// [`MediaError::NoPeer`], or [`MediaError::Limit`] if there are too many.
    pub fn add_forward(
        &mut self,
        now: Monotonic,
        spec: ForwardSpec,
    ) -> Result<ForwardId, MediaError> {
        if !self.has_lines(spec.line.peer) {
            return Err(MediaError::NoPeer);
        }
        if self.forwards.forwards.len() >= self.setup.limits.forwards_count {
            return Err(MediaError::Limit("forwards"));
        }
        let best = (spec.what == ForwardWhat::Best).then(|| {
            let clock_rate = self
                .numbers(spec.line)
                .map_or(VIDEO_CLOCK, |numbers| numbers.clock_rate);
            let first = self.setup.rng.next_u64() as u16;
            Box::new(Best::new(clock_rate, first))
        });
        let line = spec.line;
        let forward = Forward {
            srtp: spec
                .srtp
                .as_ref()
                .map(|keys| Srtp::new(&self.setup.provider(), keys)),
            best,
            shown_ssrc: spec.ssrc,
            messages_count: self.setup.rng.next_u64() as u16,
            spec,
        };
        if forward.latch(&mut self.output.datagrams) {
            self.forwards.latch_at.get_or_insert(now + LATCH_INTERVAL);
        }
        let id = self.forwards.forwards.insert(forward);
        self.forwards.by_line.entry(line).or_default().push(id);
        self.want_keyframes(now, line);
        Ok(id)
    }

    /// Ends a forward.
    pub fn remove_forward(&mut self, id: ForwardId) {
        self.forwards.remove(id);
    }

    /// Sends a message along a forward of messages.
    pub fn forward_message(&mut self, id: ForwardId, form: DataForm, bytes: &[u8]) {
        let Some(forward) = self.forwards.forwards.get_mut(id) else {
            return;
        };
        let sent = match forward.spec.what {
            ForwardWhat::Messages => {
                let end = bytes.len().min(MESSAGE_BYTES_MAX);
                Some(bytes[..end].to_vec())
            }
            ForwardWhat::WrappedMessages => forward.wrap(form, bytes),
            ForwardWhat::Best | ForwardWhat::Encoding(_) => return,
        };
        let (sock, to) = (forward.spec.sock, forward.spec.to);
        self.send_forwarded(sock, to, sent);
    }

    /// Sends a packet along the forwards of its line.
    pub(super) fn forward_plain(&mut self, now: Monotonic, line: LineRef, packet: &MediaPacket) {
        let Some(ids) = self.forwards.by_line.get(&line) else {
            return;
        };
        let Some(numbers) = self.numbers(line) else {
            return;
        };
        let ids = ids.clone();
        for id in ids {
            for packet in self.forward_along(now, id, numbers, packet) {
                self.forward_along(now, id, numbers, &packet);
            }
        }
    }

    /// Sends a packet along a forward; tells what overtook it, which is to follow it.
    fn forward_along(
        &mut self,
        now: Monotonic,
        id: ForwardId,
        numbers: LineNumbers,
        packet: &MediaPacket,
    ) -> Vec<MediaPacket> {
        let Some(forward) = self.forwards.forwards.get_mut(id) else {
            return Vec::new();
        };
        let line = forward.spec.line;
        let (passed, wanted) = forward.pass(now, packet);
        if let Some(encoding) = wanted {
            self.keyframes.want(now, EncodingRef { line, encoding });
        }
        let Some((rewritten, vp8)) = passed else {
            return Vec::new();
        };
        let sent = forward.packet(packet, numbers, rewritten, vp8);
        let (sock, to) = (forward.spec.sock, forward.spec.to);
        let best = forward.best.as_mut();
        let overtakers = best.map_or_else(Vec::new, |best| best.overtakers(now, packet));
        self.send_forwarded(sock, to, sent);
        overtakers
    }

    /// Takes in feedback of a receiver: asks for the key frames that it wants.
    ///
    /// Receivers send from the port that they were told of or from another one, and name the
    /// source that they see or none. What fits best counts.
    pub(super) fn forward_feedback(
        &mut self,
        now: Monotonic,
        sock: SockId,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        let ip = from.ip().to_canonical();
        let theirs: Vec<&Forward> = self
            .forwards
            .forwards
            .iter()
            .map(|(_, forward)| forward)
            .filter(|forward| {
                let rtcp = forward.spec.rtcp;
                forward.spec.sock == sock && rtcp.is_some_and(|to| to.ip().to_canonical() == ip)
            })
            .collect();
        if theirs.is_empty() {
            self.counters.dropped(DropReason::PlainUnknown);
            return;
        }
        let is_exact =
            |forward: &&Forward| forward.spec.rtcp.is_some_and(|to| to.port() == from.port());
        let exact = theirs.iter().any(is_exact);
        let mut wanted = Vec::new();
        keyframe_requests(bytes, |ssrc| {
            let near = || theirs.iter().filter(|forward| !exact || is_exact(forward));
            let is_named = |forward: &&&Forward| forward.shown_ssrc == Some(ssrc);
            let is_any_named = near().any(|forward| is_named(&forward));
            let meant = near().filter(|forward| !is_any_named || is_named(forward));
            wanted.extend(meant.map(|forward| (forward.spec.line, forward.encoding())));
        });
        for (line, encoding) in wanted {
            self.counters.keyframes_wanted += 1;
            self.keyframes.want(now, EncodingRef { line, encoding });
        }
    }

    /// Tells receivers that send feedback where to, from time to time.
    pub(super) fn latch_forwards(&mut self, now: Monotonic) {
        if self.forwards.latch_at.is_none_or(|at| at > now) {
            return;
        }
        let mut has_any = false;
        for (_, forward) in self.forwards.forwards.iter() {
            has_any |= forward.latch(&mut self.output.datagrams);
        }
        self.forwards.latch_at = has_any.then(|| now + LATCH_INTERVAL);
    }

    fn send_forwarded(&mut self, sock: SockId, to: SocketAddr, sent: Option<Vec<u8>>) {
        let datagrams = &mut self.output.datagrams;
        match sent {
            None => self.counters.dropped(DropReason::ForwardUnsealed),
            Some(_) if datagrams.len() >= self.setup.limits.datagrams_count => {
                self.counters.dropped(DropReason::LaneFull);
            }
            Some(bytes) => {
                self.counters.packets_exported += 1;
                datagrams.push(sock, to, &bytes);
            }
        }
    }

    pub(super) fn numbers(&self, line: LineRef) -> Option<LineNumbers> {
        if let Some(numbers) = self.sources.numbers(line) {
            return Some(numbers);
        }
        let offer = &self.peers.get(line.peer)?.line(line.line)?.offer;
        Some(LineNumbers {
            plain: offer.pt,
            red: offer.red_pt,
            clock_rate: offer.clock_rate,
            ids: offer.extension_ids,
        })
    }
}

/// The clock of every video codec.
const VIDEO_CLOCK: u32 = 90_000;

impl Forward {
    /// Decides on a packet: how it is numbered if it is to be sent, and of which encoding a key
    /// frame is needed.
    fn pass(
        &mut self,
        now: Monotonic,
        packet: &MediaPacket,
    ) -> (Option<(Rewritten, Vp8Numbers)>, Option<u8>) {
        let as_it_is = Rewritten {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            is_newest: true,
        };
        let best = match (self.spec.what, &mut self.best) {
            (ForwardWhat::Best, Some(best)) if packet.is_simulcast => best,
            (ForwardWhat::Best, _) => return (Some((as_it_is, Vp8Numbers::default())), None),
            (ForwardWhat::Encoding(encoding), _) => {
                let is_it = packet.encoding == encoding;
                return (is_it.then_some((as_it_is, Vp8Numbers::default())), None);
            }
            (ForwardWhat::Messages | ForwardWhat::WrappedMessages, _) => return (None, None),
        };
        best.pass(now, packet)
    }

    /// Puts a packet together. `None` if it cannot be read or encrypted.
    fn packet(
        &mut self,
        packet: &MediaPacket,
        numbers: LineNumbers,
        rewritten: Rewritten,
        vp8: Vp8Numbers,
    ) -> Option<Vec<u8>> {
        // Who takes plain RTP was not asked whether it can do with copies.
        let payload = match packet.form {
            PayloadForm::Plain => &packet.payload[..],
            PayloadForm::Red => red::primary(&packet.payload)?,
        };
        let own_ssrc = packet.source.0 as u32;
        let ssrc = match self.spec.what {
            // One stream has one source, whichever encoding it is.
            ForwardWhat::Best => *self.shown_ssrc.get_or_insert(own_ssrc),
            ForwardWhat::Encoding(_) | ForwardWhat::Messages | ForwardWhat::WrappedMessages => {
                let ssrc = self.spec.ssrc.unwrap_or(own_ssrc);
                self.shown_ssrc = Some(ssrc);
                ssrc
            }
        };
        let header = RtpHeader {
            marker: packet.marker,
            pt: self.spec.pt.unwrap_or(numbers.plain),
            sequence: rewritten.sequence as u16,
            timestamp: rewritten.timestamp,
            ssrc,
        };
        let room = HEADER_SIZE + payload.len() + EXTRA_ROOM;
        let mut bytes = Vec::with_capacity(room);
        packet.values.with_plain(numbers.ids, |extensions| {
            write_header(&header, extensions, &mut bytes);
        });
        let payload_at = bytes.len();
        bytes.extend_from_slice(payload);
        if vp8 != Vp8Numbers::default() {
            Vp8Descriptor::renumber(&mut bytes[payload_at..], vp8.picture_id, vp8.tl0_index);
        }
        self.seal(bytes)
    }

    /// Puts a message behind an RTP header.
    fn wrap(&mut self, form: DataForm, message: &[u8]) -> Option<Vec<u8>> {
        self.messages_count = self.messages_count.wrapping_add(1);
        let header = RtpHeader {
            pt: match form {
                DataForm::Binary => PT_BINARY,
                DataForm::Text => PT_TEXT,
            },
            sequence: self.messages_count,
            ssrc: self.spec.ssrc.unwrap_or_default(),
            ..RtpHeader::default()
        };
        let mut bytes = Vec::new();
        write_header(&header, &[], &mut bytes);
        let end = message.len().min(MESSAGE_BYTES_MAX - HEADER_SIZE);
        bytes.extend_from_slice(&message[..end]);
        self.seal(bytes)
    }

    fn seal(&mut self, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        if let Some(srtp) = &mut self.srtp
            && !srtp.protect(&mut bytes)
        {
            return None;
        }
        Some(bytes)
    }

    /// Tells the receiver where feedback goes; whether there is any.
    fn latch(&self, out: &mut Datagrams) -> bool {
        let Some(to) = self.spec.rtcp else {
            return false;
        };
        let ssrc = self.shown_ssrc.unwrap_or_default();
        out.push(self.spec.sock, to, &empty_report(ssrc));
        true
    }

    /// The encoding that the receiver gets.
    fn encoding(&self) -> u8 {
        match self.spec.what {
            ForwardWhat::Best => {
                let best = self.best.as_ref();
                best.and_then(|best| best.encoding()).unwrap_or(0)
            }
            ForwardWhat::Encoding(encoding) => encoding,
            ForwardWhat::Messages | ForwardWhat::WrappedMessages => 0,
        }
    }
}

/// Header extensions and the tag of SRTP.
const EXTRA_ROOM: usize = 64;
