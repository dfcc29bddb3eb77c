//! What a peer's state says: taken out of the WebRTC library and put into our words.

use str0m::bwe::BweKind;
use str0m::channel::{ChannelData, ChannelId};
use str0m::media::Mid;
use str0m::rtp::RtpPacket;
use str0m::{Event, IceConnectionState, Output};

use crate::base::clock::Monotonic;
use crate::base::id::SockId;
use crate::media::counters::{DropReason, PeerEnd};
use crate::media::event::{ChannelNumber, DataForm, PeerEvent};
use crate::media::line::Line;
use crate::media::packet::{MediaPacket, PayloadForm, layer_facts};
use crate::media::peer::{
    Channel, KnownSource, Peer, PeerOutput, SECOND, Stage, is_rtp_or_rtcp, mid_of, rid_of,
};
use crate::media::peer_ext::HeaderValues;
use crate::media::peer_keys;
use crate::media::rewriter::SourceKey;
use crate::mutant;
use crate::wire::rtp::{LayerFacts, VideoCodec, Vp8Descriptor};
use crate::wire::sdp::Setup;

/// Sources that nobody named, per peer.
const UNSIGNALLED_MAX: usize = 32;

impl Peer {
    /// Takes out all there is.
    pub(crate) fn drain(&mut self, now: Monotonic, out: &mut PeerOutput) {
        let is_up = self.is_up();
        self.drain_all(now, out);
        if !is_up {
            let heard = peer_keys::take();
            self.keys = heard.keys.or(self.keys.take());
            self.dtls_retransmissions += heard.retransmissions;
        }
    }

    fn drain_all(&mut self, now: Monotonic, out: &mut PeerOutput) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.rtc_due = self.settings.anchor.monotonic(at);
                    return;
                }
                Ok(Output::Transmit(transmit)) => {
                    if out.datagrams.len() >= self.settings.datagrams_count {
                        out.drops.push(DropReason::LaneFull);
                        continue;
                    }
                    let bases = &self.settings.bases;
                    let sock = bases.iter().position(|base| *base == transmit.source);
                    let (sock, to) = (SockId(sock.unwrap_or(0) as u16), transmit.destination);
                    let mut bytes: &[u8] = &transmit.contents;
                    let corrected;
                    if is_rtp_or_rtcp(bytes) {
                        // Reports go the same way.
                        self.direct.note_way(sock, to);
                        corrected = self.correct_report(now, bytes);
                        bytes = corrected.as_deref().unwrap_or(bytes);
                    }
                    out.datagrams.push(sock, to, bytes);
                }
                Ok(Output::Event(event)) => self.on_event(now, event, out),
                Err(error) => {
                    tracing::debug!(%error, "a peer failed");
                    self.rtc.disconnect();
                    out.hangup = Some(PeerEnd::DtlsError);
                    return;
                }
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library has more events than are of use here"
    )]
    fn on_event(&mut self, now: Monotonic, event: Event, out: &mut PeerOutput) {
        match event {
            Event::RtpPacket(packet) => self.on_packet(now, packet, out),
            Event::Connected => {
                self.stage = Stage::Up;
                self.course.secured.get_or_insert(now);
                self.second_due = Some(now + SECOND);
                out.events.push(PeerEvent::Up);
                if let Some(cap) = &mut self.bitrate {
                    cap.due = now;
                }
            }
            Event::IceConnectionStateChange(state) => self.on_ice_state(now, state, out),
            Event::KeyframeRequest(request) => {
                out.keyframes.extend(self.line_of(&request.mid));
            }
            Event::EgressBitrateEstimate(BweKind::Remb { estimate, .. }) => {
                let bitrate = estimate.as_u64();
                self.remote_bitrate = Some(bitrate);
                out.events.push(PeerEvent::Remb { bitrate });
            }
            Event::MediaEgressStats(stats) => {
                let line = self.line_of(&stats.mid);
                if let Some(line) = line.and_then(|line| self.line_mut(line)) {
                    line.feedback.nacks = stats.nacks;
                    line.feedback.rtt = stats.rtt.unwrap_or(line.feedback.rtt);
                    if let Some(remote) = stats.remote {
                        line.feedback.jitter_ticks = remote.jitter;
                        line.on_remote_losses(remote.packets_lost);
                    }
                }
            }
            Event::MediaIngressStats(stats) => {
                let line = self.line_of(&stats.mid);
                if let Some(line) = line.and_then(|line| self.line_mut(line)) {
                    let mut encodings = line.offer.encodings.iter();
                    let encoding = encodings.position(|each| rid_of(each) == stats.rid);
                    let watch = &mut line.watches[encoding.unwrap_or(0)];
                    watch.jitter_ticks = stats.jitter;
                    watch.nacks_sent = stats.nacks;
                }
            }
            Event::ChannelOpen(id, label) => self.on_channel_open(id, label, out),
            Event::ChannelData(data) => self.on_channel_data(data, out),
            Event::ChannelClose(id) => {
                if let Some(at) = self.channels.iter().position(|each| each.id == id) {
                    let channel = self.channels.remove(at);
                    out.events.push(PeerEvent::DataClose {
                        channel: channel.number,
                        label: channel.label,
                    });
                }
            }
            Event::Closed => out.hangup = Some(PeerEnd::DtlsAlert),
            _ => {}
        }
    }

    fn on_ice_state(&mut self, now: Monotonic, state: IceConnectionState, out: &mut PeerOutput) {
        let is_connected = state.is_connected();
        if is_connected {
            self.course.connected.get_or_insert(now);
        }
        match self.stage {
            Stage::Checking { .. } if is_connected => {
                if mutant!(UpBeforeDtls) {
                    out.events.push(PeerEvent::Up);
                }
                self.stage = Stage::Handshake {
                    until: now + self.settings.dtls_timeout,
                };
                if self.setup == Setup::Active {
                    // Not before: what is sent into the void is sent again ever more slowly.
                    if let Err(error) = self.rtc.direct_api().start_dtls(true) {
                        tracing::debug!(%error, "the handshake did not start");
                        out.hangup = Some(PeerEnd::DtlsError);
                    }
                }
            }
            Stage::Lost { .. } if is_connected => self.stage = Stage::Up,
            Stage::Up if state.is_disconnected() && mutant!(ConsentKept) => {}
            Stage::Up if state.is_disconnected() && self.settings.has_consent => {
                self.stage = Stage::Lost {
                    until: now + self.settings.failure_grace,
                };
                out.events.push(PeerEvent::IceFailed);
            }
            Stage::Checking { .. }
            | Stage::Handshake { .. }
            | Stage::Lost { .. }
            | Stage::Offered
            | Stage::Up => {}
        }
    }

    fn on_packet(&mut self, now: Monotonic, packet: RtpPacket, out: &mut PeerOutput) {
        let ssrc = *packet.header.ssrc;
        let Some(source) = self.source_of(ssrc) else {
            return;
        };
        let Some(line) = self.lines[source.line].as_mut() else {
            return;
        };
        let pt = *packet.header.payload_type;
        let form = if pt == line.offer.pt || Some(pt) == line.offer.rtx_pt {
            PayloadForm::Plain
        } else if Some(pt) == line.offer.red_pt {
            PayloadForm::Red
        } else {
            // Tones, comfort noise and others that the answer did not accept.
            return;
        };
        let sequence = *packet.seq_no;
        let bytes = packet.payload.len();
        let event = line.on_packet(now, source.encoding, sequence, bytes);
        out.events.extend(event);
        let delay = line.playout_delay;
        let values = HeaderValues::new(packet.header.ext_vals);
        let codec = line.offer.video;
        let facts = match codec.zip(line.reader_mut(source.encoding)) {
            Some((codec, reader)) => layer_facts(codec, sequence, &packet.payload, &values, reader),
            None => LayerFacts::default(),
        };
        let is_vp8 = codec == Some(VideoCodec::Vp8);
        let vp8 = is_vp8.then(|| Vp8Descriptor::read(&packet.payload));
        out.packets.push(MediaPacket {
            line: source.line,
            encoding: source.encoding,
            is_simulcast: line.offer.is_simulcast,
            source: SourceKey(u64::from(ssrc)),
            sequence,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            form,
            payload: packet.payload,
            facts,
            vp8: vp8.flatten(),
            values: values.delayed(delay),
        });
        if codec.is_some() {
            self.step_bitrate(now);
        }
    }

    /// Finds the encoding of a source, with the library's help if it is a new one.
    fn source_of(&mut self, ssrc: u32) -> Option<KnownSource> {
        if let Ok(at) = self.sources.binary_search_by_key(&ssrc, |each| each.ssrc) {
            return Some(self.sources[at]);
        }
        let mut api = self.rtc.direct_api();
        let stream = api.stream_rx(&ssrc.into())?;
        let (mid, rid) = (stream.mid(), stream.rid());
        let line = self.line_of(&mid)?;
        let encodings = &self.lines[line].as_ref()?.offer.encodings;
        let encoding = encodings
            .iter()
            .position(|each| rid_of(each) == rid)
            .unwrap_or(0) as u8;
        self.know_source(ssrc, line, encoding);
        if let Some(line) = self.line_mut(line) {
            line.on_new_source(encoding);
        }
        Some(KnownSource {
            ssrc,
            line,
            encoding,
            rtx: None,
        })
    }

    /// Whether RTP of this source may come in. One that nobody named is bound to the line that has
    /// its payload type, unless header extensions will tell.
    pub(super) fn admit_source(&mut self, bytes: &[u8]) -> bool {
        let Some((pt, ssrc)) = peek_rtp(bytes) else {
            return true;
        };
        let is_known = self
            .sources
            .binary_search_by_key(&ssrc, |each| each.ssrc)
            .is_ok();
        let mut api = self.rtc.direct_api();
        if is_known || ssrc == 0 || api.stream_rx(&ssrc.into()).is_some() {
            return true;
        }
        let mut candidates = self.lines.iter().enumerate().filter_map(|(index, line)| {
            let offer = &line.as_ref()?.offer;
            let is_plain = offer.hop_ids.mid.is_none() && !offer.is_simulcast && offer.receives;
            (is_plain && (offer.pt == pt || offer.red_pt == Some(pt))).then_some(index)
        });
        let Some(index) = candidates.next() else {
            return true;
        };
        if self.unsignalled_count == UNSIGNALLED_MAX {
            return false;
        }
        self.unsignalled_count += 1;
        let line = self.lines[index].as_ref().expect("it was just found");
        let mid = mid_of(&line.offer.mid);
        let has_nack = line.offer.has_nack;
        let stream = api.expect_stream_rx(ssrc.into(), None, mid, None);
        stream.suppress_nack(!has_nack);
        true
    }

    fn on_channel_open(&mut self, id: ChannelId, label: String, out: &mut PeerOutput) {
        let number = self.rtc.direct_api().sctp_stream_id_by_channel_id(id);
        let Some(number) = number.map(ChannelNumber) else {
            return;
        };
        if self.channels.len() >= self.settings.data_channels_count {
            self.rtc.direct_api().close_data_channel(id);
            return;
        }
        let mut channel = self.rtc.channel(id);
        let config = channel.as_mut().and_then(|channel| channel.config());
        let protocol = config.map_or_else(String::new, |config| config.protocol.clone());
        out.events.push(PeerEvent::DataOpen {
            channel: number,
            label: label.clone(),
            protocol: protocol.clone(),
        });
        self.channels.push(Channel {
            id,
            number,
            label,
            protocol,
        });
    }

    fn on_channel_data(&mut self, data: ChannelData, out: &mut PeerOutput) {
        let Some(channel) = self.channels.iter().find(|each| each.id == data.id) else {
            return;
        };
        if data.data.len() > self.settings.data_message_bytes {
            out.drops.push(DropReason::DataTooBig);
            self.rtc.direct_api().close_data_channel(data.id);
            return;
        }
        self.messages_received.add(data.data.len());
        out.events.push(PeerEvent::Data {
            channel: channel.number,
            label: channel.label.clone(),
            protocol: channel.protocol.clone(),
            form: if data.binary {
                DataForm::Binary
            } else {
                DataForm::Text
            },
            bytes: data.data,
        });
    }

    fn line_of(&self, mid: &Mid) -> Option<usize> {
        let has_mid = |line: &Option<Line>| {
            let line = line.as_ref();
            line.is_some_and(|line| mid_of(&line.offer.mid) == *mid)
        };
        self.lines.iter().position(has_mid)
    }
}

/// The payload type and source of an RTP packet; `None` for RTCP (RFC 5761 section 4).
fn peek_rtp(bytes: &[u8]) -> Option<(u8, u32)> {
    let pt = bytes.get(1)? & 0x7f;
    if (64..96).contains(&pt) {
        return None;
    }
    let ssrc = bytes.get(8..12)?.try_into().expect("four bytes");
    Some((pt, u32::from_be_bytes(ssrc)))
}
