//! One PeerConnection: the WebRTC library's state, and its contract kept.
//!
//! Only the files `peer*.rs` name that library. Its contract: time is an argument, and every change
//! is followed by taking out all there is until it names its next deadline.
//!
//! Invariant: whatever is called, what it caused is in the [`PeerOutput`] when the call returns.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use str0m::bwe::Bitrate;
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::config::CryptoProvider;
use str0m::media::{KeyframeRequestKind, Mid, Rid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Input, Rtc};

use crate::base::clock::{Anchor, Monotonic};
use crate::base::id::SockId;
use crate::media::Datagrams;
use crate::media::counters::{DropReason, PeerEnd};
use crate::media::event::{ChannelNumber, DataForm, MediaError, PeerEvent, PeerOwner};
use crate::media::info::Course;
use crate::media::line::{EncodingSource, Line, Traffic};
use crate::media::pacer::Pacer;
use crate::media::packet::MediaPacket;
use crate::media::peer_bwe::Adaption;
use crate::media::peer_config::Numbers;
use crate::media::peer_direct::Direct;
use crate::media::peer_keys::Keys;
use crate::media::peer_pacing::Waiting;
use crate::media::rewriter::Vp8Numbers;
use crate::media::switch::Forwarded;
use crate::mutant;
use crate::wire::rtp::packet::is_rtcp;
use crate::wire::sdp::{Candidate, IceParameters, Setup};

/// One PeerConnection.
pub(crate) struct Peer {
    pub(crate) owner: PeerOwner,
    pub(crate) settings: PeerSettings,
    pub(crate) rtc: Box<Rtc>,
    pub(crate) numbers: Numbers,
    pub(crate) lines: Vec<Option<Line>>,
    pub(crate) local_ice: IceParameters,
    pub(crate) remote_ice: IceParameters,
    pub(crate) is_ice_lite: bool,
    /// Our part in the DTLS handshake.
    pub(crate) setup: Setup,
    pub(crate) candidates_count: usize,
    /// Candidates that came before the answer that they belong to.
    pub(crate) early_candidates: Vec<Candidate>,
    pub(crate) has_sctp: bool,
    /// The section of data channels, and its mid.
    pub(crate) data_section: Option<(usize, String)>,
    pub(crate) messages_received: Traffic,
    pub(crate) messages_sent: Traffic,
    /// Our credentials from the answer to the last offer on.
    pub(crate) next_ice: Option<IceParameters>,
    pub(crate) stage: Stage,
    pub(super) sources: Vec<KnownSource>,
    pub(super) unsignalled_count: usize,
    pub(super) channels: Vec<Channel>,
    /// When the library has something to do.
    pub(super) rtc_due: Monotonic,
    pub(super) second_due: Option<Monotonic>,
    pub(super) bitrate: Option<BitrateCap>,
    pub(super) remote_bitrate: Option<u64>,
    pub(super) adaption: Adaption,
    pub(super) direct: Direct,
    pub(super) pacer: Pacer<Waiting>,
    pub(super) course: Course,
    /// Those of SRTP, once the handshake has ended.
    pub(super) keys: Option<Keys>,
    pub(super) dtls_retransmissions: u32,
    /// We choose the pair of addresses.
    pub(super) is_controlling: bool,
}

/// What a peer needs to know of its surroundings.
#[derive(Clone, Debug)]
pub(crate) struct PeerSettings {
    pub(crate) anchor: Anchor,
    pub(crate) crypto: Arc<CryptoProvider>,
    /// The addresses by which the sockets are known to the ICE agent.
    pub(crate) bases: Vec<SocketAddr>,
    pub(crate) dtls_timeout: Duration,
    pub(crate) failure_grace: Duration,
    pub(crate) has_consent: bool,
    pub(crate) no_media_timer: Option<Duration>,
    pub(crate) slowlink_threshold: u32,
    pub(crate) data_channels_count: usize,
    pub(crate) data_message_bytes: usize,
    pub(crate) datagrams_count: usize,
    pub(crate) resend_packets_count: usize,
}

/// How far a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// ICE looks for a pair of addresses.
    Checking { until: Monotonic },
    /// DTLS shakes hands.
    Handshake { until: Monotonic },
    /// ICE lost the pair.
    Lost { until: Monotonic },
    /// An offer of ours waits for its answer; its handle's client decides how long.
    Offered,
    /// Media flows.
    Up,
}

/// What the calls to a peer caused. Belongs to the caller, who empties it.
#[derive(Debug, Default)]
pub(crate) struct PeerOutput {
    /// Behind those of the calls before.
    pub(crate) datagrams: Datagrams,
    pub(crate) packets: Vec<MediaPacket>,
    pub(crate) events: Vec<PeerEvent>,
    /// Lines of ours for which the peer asks for a key frame.
    pub(crate) keyframes: Vec<usize>,
    pub(crate) drops: Vec<DropReason>,
    /// Packets that were sent again, and those of padding.
    pub(crate) resent: u64,
    pub(crate) padding: u64,
    /// What the peer can receive was estimated anew.
    pub(crate) has_estimate: bool,
    /// Why the peer is to be hung up.
    pub(crate) hangup: Option<PeerEnd>,
}

/// A source whose packets arrive, in the order of `ssrc`.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownSource {
    pub(super) ssrc: u32,
    pub(super) line: usize,
    pub(super) encoding: u8,
    /// The source of its retransmissions, once known.
    pub(super) rtx: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: ChannelId,
    pub(super) number: ChannelNumber,
    pub(super) label: String,
    pub(super) protocol: String,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BitrateCap {
    pub(super) bitrate: u64,
    pub(super) due: Monotonic,
    /// How many of the first steps are left.
    pub(super) steps: u8,
}

/// Times that one call lets the library do what is due; the rest is due at once.
const ADVANCES_MAX: usize = 64;

/// RTP and RTCP that is bigger did not come over a path with an Ethernet in it.
const RTP_BYTES_MAX: usize = 1_500;
/// With the first packets of video, the allowed bitrate is told in so many steps: a fourth, a third,
/// half, all. What Janus does keeps encoders from beginning with a burst.
pub(super) const BITRATE_STEPS: u8 = 4;

/// A report of the allowed bitrate may be lost; browsers forget none that arrived.
const BITRATE_INTERVAL: Duration = Duration::from_secs(5);

/// What a sender is told that was told less before: more than any encoder makes, in bit/s.
const BITRATE_UNCAPPED: u64 = 1_000_000_000;
pub(super) const SECOND: Duration = Duration::from_secs(1);

impl Peer {
    /// Puts a peer together that has no lines yet. They follow with [`Peer::set_lines`].
    pub(crate) fn new(
        owner: PeerOwner,
        settings: PeerSettings,
        rtc: Rtc,
        numbers: Numbers,
        ice: (IceParameters, IceParameters),
        setup: Setup,
        until: Monotonic,
    ) -> Self {
        Self {
            owner,
            direct: Direct::new(Arc::clone(&settings.crypto)),
            settings,
            rtc: Box::new(rtc),
            numbers,
            lines: Vec::new(),
            local_ice: ice.0,
            remote_ice: ice.1,
            is_ice_lite: false,
            setup,
            candidates_count: 0,
            early_candidates: Vec::new(),
            has_sctp: false,
            data_section: None,
            messages_received: Traffic::default(),
            messages_sent: Traffic::default(),
            next_ice: None,
            stage: Stage::Checking { until },
            sources: Vec::new(),
            unsignalled_count: 0,
            channels: Vec::new(),
            rtc_due: until,
            second_due: None,
            bitrate: None,
            remote_bitrate: None,
            adaption: Adaption::default(),
            pacer: Pacer::default(),
            course: Course::new(until),
            keys: None,
            dtls_retransmissions: 0,
            is_controlling: false,
        }
    }

    /// Whether a STUN message is for this peer and passes its integrity check.
    pub(crate) fn accepts_stun(
        &self,
        now: Monotonic,
        sock: SockId,
        from: SocketAddr,
        bytes: &[u8],
    ) -> bool {
        self.input(now, sock, from, bytes)
            .is_some_and(|input| self.rtc.accepts(&input))
    }

    /// Takes in a datagram from an address that belongs to this peer.
    pub(crate) fn receive(
        &mut self,
        now: Monotonic,
        sock: SockId,
        from: SocketAddr,
        bytes: &[u8],
        out: &mut PeerOutput,
    ) {
        if is_rtp_or_rtcp(bytes) {
            if bytes.len() > RTP_BYTES_MAX {
                out.drops.push(DropReason::Oversized);
                return;
            }
            if !self.admit_source(bytes) {
                out.drops.push(DropReason::SourceLimit);
                return;
            }
        }
        if crate::wire::stun::is_stun(bytes) {
            self.direct.doubt_way();
        } else {
            let base = self.settings.bases.get(usize::from(sock.0));
            self.course.path = base.map(|base| (*base, from));
        }
        if is_rtcp(bytes) && self.hear_report(now, bytes, out).is_break() {
            return;
        }
        let Some(input) = self.input(now, sock, from, bytes) else {
            out.drops.push(DropReason::NotMedia);
            return;
        };
        if let Err(error) = self.rtc.handle_input(input) {
            // A datagram that cannot be processed is as good as lost, unless it ended the state.
            tracing::debug!(%error, "a datagram was refused");
            if !self.rtc.is_alive() {
                out.hangup = Some(PeerEnd::DtlsError);
            }
        }
        self.drain(now, out);
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now: Monotonic, out: &mut PeerOutput) {
        if self.rtc_due <= now {
            self.advance(now, out);
        }
        self.check_stage(now, out);
        if self.second_due.is_some_and(|due| due <= now) {
            self.second_due = Some(now + SECOND);
            self.look(now, out);
            self.look_at_estimate(now, out);
        }
        self.send_waiting(now, out);
        self.pad(now, out);
        if self.bitrate.is_some_and(|cap| cap.due <= now) {
            self.repeat_bitrate(now, out);
        }
    }

    /// When [`Peer::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Monotonic {
        let stage = match self.stage {
            Stage::Checking { until } | Stage::Handshake { until } | Stage::Lost { until } => {
                Some(until)
            }
            Stage::Offered | Stage::Up => None,
        };
        let cap = self.bitrate.map(|cap| cap.due);
        let padding = self.adaption.due();
        let others = [stage, self.second_due, cap, padding, self.pacer.due()]
            .into_iter()
            .flatten();
        others.fold(self.rtc_due, Monotonic::min)
    }

    /// Puts a packet into the library's queue.
    pub(super) fn write_by_library(
        &mut self,
        now: Monotonic,
        index: usize,
        packet: &MediaPacket,
        Forwarded {
            numbers,
            vp8,
            frame,
            marker,
        }: Forwarded,
    ) -> bool {
        let Some(line) = self.lines.get_mut(index).and_then(Option::as_mut) else {
            return false;
        };
        let Some((pt, payload)) = line.offer.payload_of(packet) else {
            return false;
        };
        let mut write = RtpWrite::new(
            pt.into(),
            numbers.sequence.into(),
            numbers.timestamp,
            self.settings.anchor.instant(now),
            payload.into_owned(),
        )
        .marker(marker)
        .ext_vals(
            packet
                .values
                .filtered(line.offer.values, line.playout_delay, frame),
        );
        if let Some(patch) = vp8_patch(&packet.payload, vp8) {
            write = write.vp8_patch(patch);
        }
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx(&line.ssrc.into()) else {
            return false;
        };
        stream.write_rtp(write);
        line.sent.add(packet.payload.len());
        true
    }

    /// Has the library do what is due.
    pub(crate) fn advance(&mut self, now: Monotonic, out: &mut PeerOutput) {
        self.direct.doubt_way();
        for _ in 0..ADVANCES_MAX {
            let input = Input::Timeout(self.settings.anchor.instant(now));
            if let Err(error) = self.rtc.handle_input(input) {
                tracing::debug!(%error, "a peer failed");
                out.hangup = Some(PeerEnd::DtlsError);
            }
            self.drain(now, out);
            if self.rtc_due > now || out.hangup.is_some() {
                return;
            }
        }
    }

    /// Asks the sender of a line for a key frame of one encoding.
    pub(crate) fn request_keyframe(
        &mut self,
        now: Monotonic,
        index: usize,
        encoding: u8,
        out: &mut PeerOutput,
    ) -> bool {
        let source = self
            .sources
            .iter()
            .find(|source| source.line == index && source.encoding == encoding);
        let Some(ssrc) = source.map(|source| source.ssrc) else {
            return false;
        };
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_rx(&ssrc.into()) else {
            return false;
        };
        stream.request_keyframe(KeyframeRequestKind::Pli);
        self.advance(now, out);
        true
    }

    /// Tells the remote how much it may send: at once, or with the first packets that it sends.
    pub(crate) fn set_bitrate(&mut self, now: Monotonic, bitrate: u64, out: &mut PeerOutput) {
        let is_capped = self.bitrate.is_some();
        let has_begun = self.has_video();
        self.bitrate = (bitrate > 0).then_some(BitrateCap {
            bitrate,
            due: now,
            steps: if has_begun { 0 } else { BITRATE_STEPS },
        });
        match bitrate {
            0 if is_capped => self.tell_bitrate(now, BITRATE_UNCAPPED, out),
            0 => {}
            _ => self.repeat_bitrate(now, out),
        }
    }

    /// Tells the next step, or again what is allowed.
    fn repeat_bitrate(&mut self, now: Monotonic, out: &mut PeerOutput) {
        let has_begun = self.has_video();
        let Some(cap) = &mut self.bitrate else {
            return;
        };
        cap.due = now + BITRATE_INTERVAL;
        if has_begun {
            let bitrate = cap.bitrate / u64::from(cap.steps.max(1));
            cap.steps = cap.steps.saturating_sub(1);
            self.tell_bitrate(now, bitrate, out);
        }
    }

    /// A packet of video came: the next of the first steps is due.
    pub(super) fn step_bitrate(&mut self, now: Monotonic) {
        if let Some(cap) = self.bitrate.as_mut().filter(|cap| cap.steps > 0) {
            cap.due = now;
        }
    }

    fn tell_bitrate(&mut self, now: Monotonic, bitrate: u64, out: &mut PeerOutput) {
        let told = if mutant!(RembKilobits) {
            bitrate / 1_000
        } else {
            bitrate
        };
        if let Some(ssrc) = self.video_source()
            && let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc.into())
        {
            stream.request_remb(Bitrate::from(told));
        }
        self.advance(now, out);
    }

    /// Whether video has come.
    fn has_video(&self) -> bool {
        let mut lines = self.lines.iter().flatten();
        lines.any(|line| {
            let mut watches = line.watches.iter();
            line.offer.video.is_some() && watches.any(|watch| watch.received.packets > 0)
        })
    }

    /// A source of video. The limit is that of the transport, so one report says it all.
    fn video_source(&self) -> Option<u32> {
        let is_video = |source: &&KnownSource| {
            let line = self.lines[source.line].as_ref();
            line.is_some_and(|line| line.offer.video.is_some())
        };
        self.sources.iter().find(is_video).map(|source| source.ssrc)
    }

    /// Opens a data channel.
    pub(crate) fn open_channel(
        &mut self,
        now: Monotonic,
        label: &str,
        protocol: &str,
        out: &mut PeerOutput,
    ) -> Result<(), MediaError> {
        if self.channels.len() >= self.settings.data_channels_count {
            return Err(MediaError::Limit("data channels"));
        }
        self.rtc.direct_api().create_data_channel(ChannelConfig {
            label: label.to_owned(),
            protocol: protocol.to_owned(),
            ..ChannelConfig::default()
        });
        self.advance(now, out);
        Ok(())
    }

    /// Sends a message on a data channel.
    pub(crate) fn send_data(
        &mut self,
        now: Monotonic,
        number: ChannelNumber,
        form: DataForm,
        bytes: &[u8],
        out: &mut PeerOutput,
    ) -> Result<(), MediaError> {
        let channel = self.channels.iter().find(|each| each.number == number);
        let Some(id) = channel.map(|channel| channel.id) else {
            return Err(MediaError::ChannelClosed);
        };
        let Some(mut channel) = self.rtc.channel(id) else {
            return Err(MediaError::ChannelClosed);
        };
        let written = channel.write(form == DataForm::Binary, bytes);
        let result = match written {
            Ok(true) => {
                self.messages_sent.add(bytes.len());
                Ok(())
            }
            Ok(false) => {
                out.drops.push(DropReason::DataBufferFull);
                self.rtc.direct_api().close_data_channel(id);
                Err(MediaError::Limit("data channel bytes to send"))
            }
            Err(error) => {
                tracing::debug!(%error, "a data channel failed");
                Err(MediaError::ChannelClosed)
            }
        };
        self.advance(now, out);
        result
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self, now: Monotonic, out: &mut PeerOutput) {
        if let Err(error) = self.rtc.close() {
            tracing::debug!(%error, "a peer did not close cleanly");
        }
        self.advance(now, out);
    }

    /// Whether we began the DTLS handshake.
    pub(super) fn is_dtls_client(&self) -> bool {
        self.setup == Setup::Active
    }

    /// Whether ICE and DTLS are up.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up | Stage::Lost { .. })
    }

    /// What the remote said that it can receive.
    pub(crate) const fn remote_bitrate(&self) -> Option<u64> {
        self.remote_bitrate
    }

    /// The sources of a line that are known, each with its encoding, and that of its
    /// retransmissions.
    pub(super) fn sources_of(&self, line: usize) -> impl Iterator<Item = (u8, u32, Option<u32>)> {
        let of_line = self.sources.iter().filter(move |each| each.line == line);
        of_line.map(|each| (each.encoding, each.ssrc, each.rtx))
    }

    pub(crate) fn line(&self, index: usize) -> Option<&Line> {
        self.lines.get(index).and_then(Option::as_ref)
    }

    pub(crate) fn line_mut(&mut self, index: usize) -> Option<&mut Line> {
        self.lines.get_mut(index).and_then(Option::as_mut)
    }

    /// Forgets the sources of a line, or only one of them.
    pub(crate) fn forget_sources(&mut self, line: usize, encoding: Option<u8>) {
        self.sources
            .retain(|each| each.line != line || encoding.is_some_and(|one| each.encoding != one));
    }

    pub(crate) fn know_source(&mut self, ssrc: u32, line: usize, encoding: u8) {
        self.forget_sources(line, Some(encoding));
        let source = KnownSource {
            ssrc,
            line,
            encoding,
            rtx: None,
        };
        match self.sources.binary_search_by_key(&ssrc, |each| each.ssrc) {
            Ok(at) => self.sources[at] = source,
            Err(at) => self.sources.insert(at, source),
        }
    }

    fn check_stage(&mut self, now: Monotonic, out: &mut PeerOutput) {
        let (until, reason) = match self.stage {
            Stage::Checking { until } => (until, PeerEnd::IceFailed),
            Stage::Handshake { until } => (until, PeerEnd::DtlsTimeout),
            Stage::Lost { until } => (until, PeerEnd::IceFailed),
            Stage::Offered | Stage::Up => return,
        };
        if until <= now {
            out.hangup.get_or_insert(reason);
        }
    }

    fn look(&mut self, now: Monotonic, out: &mut PeerOutput) {
        let PeerSettings {
            no_media_timer,
            slowlink_threshold,
            ..
        } = self.settings;
        let mut api = self.rtc.direct_api();
        for source in self.sources.iter_mut().filter(|each| each.rtx.is_none()) {
            let stream = api.stream_rx(&source.ssrc.into());
            source.rtx = stream.and_then(|stream| stream.rtx()).map(|ssrc| *ssrc);
        }
        for line in self.lines.iter_mut().flatten() {
            line.look(now, no_media_timer, slowlink_threshold, |event| {
                out.events.push(event);
            });
        }
    }

    fn input<'a>(
        &self,
        now: Monotonic,
        sock: SockId,
        from: SocketAddr,
        bytes: &'a [u8],
    ) -> Option<Input<'a>> {
        let base = *self.settings.bases.get(usize::from(sock.0))?;
        let receive = Receive::new(Protocol::Udp, from, base, bytes).ok()?;
        Some(Input::Receive(self.settings.anchor.instant(now), receive))
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("owner", &self.owner)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// The library's name for a mid.
pub(crate) fn mid_of(mid: &str) -> Mid {
    Mid::from(mid)
}

/// The library's name for an encoding. Sources that the offer names get names of their own, so that
/// several of them can belong to one line.
pub(crate) fn rid_of(encoding: &EncodingSource) -> Option<Rid> {
    match encoding {
        EncodingSource::Extension { rid } => rid.as_deref().map(Rid::from),
        EncodingSource::Signalled { .. } => None,
    }
}

fn vp8_patch(payload: &[u8], numbers: Vp8Numbers) -> Option<str0m::rtp::Vp8Patch> {
    if numbers == Vp8Numbers::default() {
        return None;
    }
    let descriptor = str0m::rtp::Vp8Descriptor::parse(payload).ok()?;
    let mut patch = descriptor.patch();
    if let Some(picture_id) = numbers.picture_id {
        patch = patch.picture_id(picture_id);
    }
    if let Some(index) = numbers.tl0_index {
        patch = patch.tl0_pic_idx(index);
    }
    patch.build().ok()
}

/// RFC 7983 section 7.
pub(super) fn is_rtp_or_rtcp(bytes: &[u8]) -> bool {
    bytes
        .first()
        .is_some_and(|first| (128..192).contains(first))
}
