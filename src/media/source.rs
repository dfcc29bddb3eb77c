//! Sources: publishers of other gateways, whose packets come in as plain RTP or SRTP.
//!
//! To the switch a source is a peer with lines, without a PeerConnection. Each has a pair of
//! sockets of its own, because all gateways number the streams of a publisher alike.
//!
//! Invariant: a packet is taken in only if its source stands for a declared line.

use crate::base::clock::Monotonic;
use crate::base::id::{PeerId, SockId};
use crate::base::slab::SlabMap;
use crate::media::Media;
use crate::media::counters::DropReason;
use crate::media::event::{DataForm, LineRef, MediaError, TrackKind};
use crate::media::forward::LineNumbers;
use crate::media::keyframes::EncodingRef;
use crate::media::packet::{MediaPacket, PayloadForm, layer_facts};
use crate::media::peer_ext::HeaderValues;
use crate::media::peer_plain::ExtensionIds;
use crate::media::peer_srtp::{Srtp, SrtpKeys};
use crate::media::plain::{PlainEvent, PlainOwner, Purpose};
use crate::media::rewriter::SourceKey;
use crate::media::run::BATCH_MAX;
use crate::wire::rtp::packet::{RtpHeader, RtpLayout, is_rtcp, picture_loss};
use crate::wire::rtp::{DependencyReader, LayerFacts, VideoCodec, Vp8Descriptor};
use crate::wire::sdp::SIMULCAST_LAYERS_MAX;

/// What a source is made of.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// Where its packets come in.
    pub rtp: SockId,
    /// Where its gateway says where feedback goes.
    pub rtcp: SockId,
    /// What it sends, in order.
    pub lines: Vec<SourceLine>,
    /// Decrypts what comes in.
    pub srtp: Option<SrtpKeys>,
}

/// One stream of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// What it carries; `None` is messages.
    pub kind: Option<TrackKind>,
    /// The name of its codec, in lower case.
    pub codec: String,
    /// There are several encodings of it.
    pub is_simulcast: bool,
    /// The numbers of its header extensions.
    pub ids: ExtensionIds,
}

/// All sources of a shard.
#[derive(Debug, Default)]
pub(super) struct Sources {
    sources: SlabMap<PeerId, Source>,
}

#[derive(Debug)]
struct Source {
    spec: SourceSpec,
    srtp: Option<Srtp>,
    /// Where feedback goes.
    latched: Option<std::net::SocketAddr>,
    streams: Vec<Stream>,
    /// Of each line, for those who send its packets on.
    pts: Vec<u8>,
}

/// How far one encoding of a line has come.
#[derive(Clone, Debug)]
struct Stream {
    ssrc: u32,
    highest: u64,
    reader: DependencyReader,
}

/// RTP that is bigger did not come over a path with an Ethernet in it.
const PACKET_BYTES_MAX: usize = 1_500;

/// The sources of a publisher's streams, as all gateways have it: so much, ten for each line, and
/// one for each encoding.
const SSRC_FIRST: u32 = 1_000;
const SSRC_STEP: u32 = 10;

/// The source that an encoding of a stream has between gateways.
pub fn remote_ssrc(line: usize, encoding: u8) -> u32 {
    let line = u32::try_from(line).unwrap_or(u32::MAX / SSRC_STEP / 2);
    SSRC_FIRST + SSRC_STEP * line + u32::from(encoding)
}

impl Sources {
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    pub(super) fn contains(&self, peer: PeerId) -> bool {
        self.sources.get(peer).is_some()
    }

    pub(super) fn numbers(&self, line: LineRef) -> Option<LineNumbers> {
        let source = self.sources.get(line.peer)?;
        let spec = source.spec.lines.get(line.line)?;
        Some(LineNumbers {
            plain: source.pts.get(line.line).copied().unwrap_or_default(),
            red: None,
            clock_rate: match spec.kind {
                Some(TrackKind::Audio) => 48_000,
                Some(TrackKind::Video) | None => 90_000,
            },
            ids: spec.ids,
        })
    }

    /// How many encodings of a line a key frame may be asked of.
    pub(super) fn encodings(&self, line: LineRef) -> u8 {
        let source = self.sources.get(line.peer);
        match source.and_then(|source| source.spec.lines.get(line.line)) {
            Some(spec) if spec.kind == Some(TrackKind::Video) => {
                if spec.is_simulcast {
                    SIMULCAST_LAYERS_MAX as u8
                } else {
                    1
                }
            }
            Some(_) | None => 0,
        }
    }
}

impl Media {
    /// Takes in a publisher of another gateway by two open sockets, which end with it.
    ///
    /// # Errors
    ///
    /// [`MediaError::Limit`] if there are too many.
    pub fn add_source(&mut self, spec: SourceSpec) -> Result<PeerId, MediaError> {
        if self.sources.len() >= self.setup.limits.plain_sockets_count {
            return Err(MediaError::Limit("sources"));
        }
        let peer = self.ids.insert(());
        self.plain.set_purpose(spec.rtp, Purpose::SourceRtp(peer));
        self.plain.set_purpose(spec.rtcp, Purpose::SourceRtcp(peer));
        let srtp = spec.srtp.as_ref();
        let source = Source {
            srtp: srtp.map(|keys| Srtp::new(&self.setup.provider(), keys)),
            latched: None,
            streams: Vec::new(),
            pts: vec![0; spec.lines.len()],
            spec,
        };
        self.sources.sources.insert(peer, source);
        Ok(peer)
    }

    /// Changes what a source sends.
    pub fn update_source(&mut self, peer: PeerId, lines: Vec<SourceLine>, srtp: Option<&SrtpKeys>) {
        let provider = self.setup.provider();
        let Some(source) = self.sources.sources.get_mut(peer) else {
            return;
        };
        source.pts.resize(lines.len(), 0);
        source.spec.lines = lines;
        if let Some(keys) = srtp
            && source.spec.srtp.as_ref() != Some(keys)
        {
            source.srtp = Some(Srtp::new(&provider, keys));
            source.spec.srtp = Some(keys.clone());
        }
    }

    /// What a source sends.
    pub fn source_lines(&self, peer: PeerId) -> Vec<SourceLine> {
        let source = self.sources.sources.get(peer);
        source.map_or_else(Vec::new, |source| source.spec.lines.clone())
    }

    /// Ends a source, with its sockets and all that comes from it.
    pub fn close_source(&mut self, peer: PeerId) {
        let Some(source) = self.sources.sources.remove(peer) else {
            return;
        };
        self.close_socket(source.spec.rtp);
        self.close_socket(source.spec.rtcp);
        self.ids.remove(peer);
        self.keyframes.forget(peer);
        self.refreshes.forget(peer);
        self.talks.forget(peer);
        self.switch.forget(peer);
        self.relays.forget(peer);
        self.forwards.forget(peer);
        self.recorders.end_peer(peer);
        self.batch.retain(|(from, _)| *from != peer);
    }

    /// Whether there is something that lines belong to: a peer or a source.
    pub fn has_lines(&self, peer: PeerId) -> bool {
        self.peers.get(peer).is_some() || self.sources.contains(peer)
    }

    /// Who is told what happens to a source.
    pub(super) fn source_owner(&self, peer: PeerId) -> Option<PlainOwner> {
        let source = self.sources.sources.get(peer)?;
        self.plain.owner(source.spec.rtp)
    }

    /// Takes in a datagram for a source. Media is queued for [`Media::flush`].
    pub(super) fn source_packet(&mut self, peer: PeerId, bytes: &[u8]) {
        match self.read_source_packet(peer, bytes) {
            Ok(()) => {}
            Err(why) => self.counters.dropped(why),
        }
    }

    fn read_source_packet(&mut self, peer: PeerId, bytes: &[u8]) -> Result<(), DropReason> {
        if bytes.len() > PACKET_BYTES_MAX {
            return Err(DropReason::Oversized);
        }
        let source = self.sources.sources.get_mut(peer);
        let source = source.ok_or(DropReason::PlainUnknown)?;
        let layout = RtpLayout::read(bytes).filter(|_| !is_rtcp(bytes));
        let layout = layout.ok_or(DropReason::NotMedia)?;
        let header = layout.header;
        let (line, encoding) = source.place(&header).ok_or(DropReason::PlainUnknown)?;
        let mut decrypted;
        let mut bytes = bytes;
        let mut layout = layout;
        if let Some(srtp) = &mut source.srtp {
            decrypted = bytes.to_vec();
            if !srtp.unprotect(&mut decrypted) {
                return Err(DropReason::PlainUntrusted);
            }
            bytes = &decrypted;
            layout = RtpLayout::read(bytes).ok_or(DropReason::NotMedia)?;
        }
        let payload = &bytes[layout.payload.clone()];
        let payload = layout.unpadded(payload).ok_or(DropReason::NotMedia)?;
        let spec = &source.spec.lines[line];
        let Some(kind) = spec.kind else {
            let event = PlainEvent::Message {
                source: peer,
                line,
                form: if header.pt == 0 {
                    DataForm::Text
                } else {
                    DataForm::Binary
                },
                bytes: payload.to_vec(),
            };
            let owner = self.plain.owner(source.spec.rtp);
            self.plain.events.extend(owner.map(|owner| (owner, event)));
            self.counters.messages_received += 1;
            return Ok(());
        };
        if payload.is_empty() {
            // Padding only: nothing that a receiver misses.
            return Ok(());
        }
        self.counters.packets_received += 1;
        if self.batch.len() >= BATCH_MAX {
            return Err(DropReason::BatchFull);
        }
        let codec = VideoCodec::from_name(&spec.codec).filter(|_| kind == TrackKind::Video);
        let values = HeaderValues::read_plain(bytes, &layout, spec.ids);
        let is_simulcast = spec.is_simulcast;
        source.pts[line] = header.pt;
        let (sequence, reader) = source.extend(&header);
        let facts = codec.map_or_else(LayerFacts::default, |codec| {
            layer_facts(codec, sequence, payload, &values, reader)
        });
        let vp8 = codec.filter(|codec| *codec == VideoCodec::Vp8);
        let packet = MediaPacket {
            line,
            encoding,
            is_simulcast,
            source: SourceKey(u64::from(header.ssrc)),
            sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            form: PayloadForm::Plain,
            payload: payload.into(),
            facts,
            vp8: vp8.and_then(|_| Vp8Descriptor::read(payload)),
            values,
        };
        self.batch.push((peer, packet));
        Ok(())
    }

    /// Notes where the feedback of a source goes. What was wanted before can be asked for.
    pub(super) fn source_latched(
        &mut self,
        now: Monotonic,
        peer: PeerId,
        from: std::net::SocketAddr,
    ) {
        let Some(source) = self.sources.sources.get_mut(peer) else {
            return;
        };
        if source.latched.replace(from) == Some(from) {
            return;
        }
        for line in 0..source.spec.lines.len() {
            self.want_keyframes(now, LineRef { peer, line });
        }
    }

    /// Wants a key frame of each encoding of a line.
    pub(super) fn want_keyframes(&mut self, now: Monotonic, line: LineRef) {
        let of_peer = || {
            let sender = self.peers.get(line.peer)?.line(line.line)?;
            let is_video = sender.offer.video.is_some();
            is_video.then_some(sender.watches.len() as u8)
        };
        let count = of_peer().unwrap_or_else(|| self.sources.encodings(line));
        for encoding in 0..count {
            self.keyframes.want(now, EncodingRef { line, encoding });
        }
    }

    /// Asks a source for a key frame; `None` if there is no such source, `false` if it is not
    /// known yet where to ask.
    pub(super) fn ask_source(&mut self, line: LineRef, encoding: u8) -> Option<bool> {
        let source = self.sources.sources.get(line.peer)?;
        let ssrc = remote_ssrc(line.line, encoding);
        // Not of encodings that the source does not send.
        let is_sent =
            source.streams.is_empty() || source.streams.iter().any(|each| each.ssrc == ssrc);
        let Some(to) = source.latched.filter(|_| is_sent) else {
            return Some(false);
        };
        let sock = source.spec.rtcp;
        self.output.datagrams.push(sock, to, &picture_loss(1, ssrc));
        Some(true)
    }
}

impl Source {
    /// The line and encoding that a packet belongs to.
    fn place(&self, header: &RtpHeader) -> Option<(usize, u8)> {
        let number = header.ssrc.checked_sub(SSRC_FIRST)?;
        let line = usize::try_from(number / SSRC_STEP).ok()?;
        let encoding = (number % SSRC_STEP) as u8;
        let spec = self.spec.lines.get(line)?;
        let encodings = if spec.is_simulcast {
            SIMULCAST_LAYERS_MAX as u8
        } else {
            1
        };
        (encoding < encodings).then_some((line, encoding))
    }

    /// The sequence number of a packet, extended beyond 16 bits, and what reads its dependency
    /// descriptor.
    fn extend(&mut self, header: &RtpHeader) -> (u64, &mut DependencyReader) {
        let known = self
            .streams
            .iter()
            .position(|each| each.ssrc == header.ssrc);
        let at = known.unwrap_or_else(|| {
            self.streams.push(Stream {
                ssrc: header.ssrc,
                // Room below, for what comes late.
                highest: u64::from(header.sequence) + (1 << 16),
                reader: DependencyReader::default(),
            });
            self.streams.len() - 1
        });
        let stream = &mut self.streams[at];
        let ahead = header.sequence.wrapping_sub(stream.highest as u16);
        let sequence = stream
            .highest
            .saturating_add_signed(ahead.cast_signed().into());
        stream.highest = stream.highest.max(sequence);
        (sequence, &mut stream.reader)
    }
}
