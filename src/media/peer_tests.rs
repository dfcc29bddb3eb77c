//! Calls between [`Media`] and a client that is the WebRTC library with its own session
//! descriptions, in virtual time.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one kind of event"
)]

mod adaptive;
mod capture;
mod data;
mod direct;
mod ending;
mod fanout;
mod layers;
mod media;
mod offering;
mod offers;
mod recording;
mod rooms;
mod svc;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use str0m::change::SdpPendingOffer;
use str0m::channel::ChannelId;
use str0m::media::{Direction as RtcDirection, MediaKind as RtcKind, Mid, Rid};
use str0m::media::{Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};
use str0m::{Event, Input, Output, Rtc, RtcConfig};

use super::*;
use crate::base::clock::{Anchor, Boottime, Realtime};
use crate::base::id::{HandleId, SessionId};
use crate::base::limits::Limits;
use crate::base::rng::Rng;
use crate::config::MediaConfig;
use crate::wire::sdp::{AnswerPlan, LinePlan, MediaPlan, SessionDescription, SimulcastPlan};

const SERVER: &str = "192.0.2.10:20000";
const OWNER: PeerOwner = PeerOwner {
    session: SessionId(1),
    handle: HandleId(2),
};

/// A server, a client, and the time and the network between them.
struct Call {
    now: Now,
    anchor: Anchor,
    media: Media,
    client: Client,
    peer: Option<PeerId>,
    events: Vec<PeerEvent>,
    /// Datagrams towards the server are lost.
    is_cut: bool,
    /// Where the server sees the client.
    seen_at: SocketAddr,
    /// What the server sent to others.
    strays: Datagrams,
}

struct Client {
    rtc: Rtc,
    address: SocketAddr,
    due: Instant,
    out: Vec<Vec<u8>>,
    packets: Vec<RtpPacket>,
    keyframe_requests: usize,
    rembs: Vec<u64>,
    /// Estimates that it made of feedback on its packets.
    estimates: Vec<u64>,
    /// Losses that the server reported.
    reported: Vec<u64>,
    is_connected: bool,
    channel: Option<ChannelId>,
    messages: Vec<(bool, Vec<u8>)>,
    channels_closed: usize,
}

fn moment(millis: u64) -> Now {
    let nanos = (1_000_000 + millis) * 1_000_000;
    Now {
        monotonic: Monotonic::from_nanos(nanos),
        boottime: Boottime::from_nanos(nanos + 77),
        realtime: Realtime::from_unix_micros(nanos as i64 / 1_000),
    }
}

impl Call {
    fn new() -> Self {
        Self::with(|_, _| {}, |config| config)
    }

    fn with(
        configure: impl FnOnce(&mut MediaConfig, &mut Limits),
        client: impl FnOnce(RtcConfig) -> RtcConfig,
    ) -> Self {
        Self::at("192.0.2.20:30000", configure, client)
    }

    fn at(
        address: &str,
        configure: impl FnOnce(&mut MediaConfig, &mut Limits),
        client: impl FnOnce(RtcConfig) -> RtcConfig,
    ) -> Self {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let anchor = Anchor::new(Instant::now(), Monotonic::from_nanos(0));
        let now = moment(0);
        let mut config = MediaConfig::default();
        let mut limits = Limits::default();
        configure(&mut config, &mut limits);
        let (certificate, key) = crate::media::peer_cert::tests::pem_files();
        let media = Media::new(MediaSetup {
            config: Arc::new(config),
            limits,
            sockets: vec![LocalSocket {
                bound: SERVER.parse().unwrap(),
                advertised: Vec::new(),
            }],
            rng: Rng::from_seed([9; 32]),
            anchor,
            certificate: Certificate::from_pem(&certificate, &key).unwrap(),
            crypto: None,
        });
        let address = address.parse().unwrap();
        let config = client(RtcConfig::new().set_rtp_mode(true));
        let mut rtc = config.build(anchor.instant(now.monotonic));
        rtc.add_local_candidate(str0m::Candidate::host(address, "udp").unwrap());
        Self {
            now,
            anchor,
            media,
            client: Client {
                rtc,
                address,
                due: anchor.instant(now.monotonic),
                out: Vec::new(),
                packets: Vec::new(),
                keyframe_requests: 0,
                rembs: Vec::new(),
                estimates: Vec::new(),
                reported: Vec::new(),
                is_connected: false,
                channel: None,
                messages: Vec::new(),
                channels_closed: 0,
            },
            peer: None,
            events: Vec::new(),
            is_cut: false,
            seen_at: address,
            strays: Datagrams::default(),
        }
    }

    /// Has the client offer what `change` adds, and the server take it.
    fn negotiate(
        &mut self,
        change: impl FnOnce(&mut str0m::change::SdpApi<'_>),
    ) -> SessionDescription {
        let mut api = self.client.rtc.sdp_api();
        change(&mut api);
        let (offer, pending) = api.apply().expect("something changes");
        self.answer(&offer.to_sdp_string(), pending)
    }

    fn answer(&mut self, offer: &str, pending: SdpPendingOffer) -> SessionDescription {
        let offer = SessionDescription::parse(offer).unwrap();
        let plan = plan(&offer);
        let accepted = self
            .media
            .accept_offer(
                self.now,
                self.peer,
                OWNER,
                &offer,
                &plan,
                OfferOptions::default(),
            )
            .unwrap();
        self.peer = Some(accepted.peer);
        let text = accepted.answer.to_string();
        let answer = str0m::change::SdpAnswer::from_sdp_string(&text).unwrap();
        self.client
            .rtc
            .sdp_api()
            .accept_answer(pending, answer)
            .unwrap();
        accepted.answer
    }

    fn peer(&self) -> PeerId {
        self.peer.unwrap()
    }

    fn line(&self, line: usize) -> LineRef {
        LineRef {
            peer: self.peer(),
            line,
        }
    }

    fn echo(&mut self, line: usize) -> RouteId {
        let line = self.line(line);
        self.media.route(self.now, line, line).unwrap()
    }

    /// Lets time pass in small steps, with everything delivered at once.
    fn run(&mut self, millis: u64) {
        for _ in 0..millis.div_ceil(5) {
            self.now = moment_after(self.now, 5);
            self.exchange();
        }
    }

    fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..4_000 {
            if done(self) {
                return;
            }
            self.run(5);
        }
        panic!("it never came to this: {what}; events: {:?}", self.events);
    }

    fn connect(&mut self) {
        self.run_until("both are up", |call| {
            call.client.is_connected && call.events.contains(&PeerEvent::Up)
        });
    }

    fn exchange(&mut self) {
        self.exchange_filtered(|_| true);
    }

    /// Delivers what passes the filter, in both directions.
    fn exchange_filtered(&mut self, passes: impl Fn(&[u8]) -> bool) {
        let at = self.anchor.instant(self.now.monotonic);
        let server: SocketAddr = SERVER.parse().unwrap();
        for _ in 0..20 {
            if self.client.due <= at {
                self.client.rtc.handle_input(Input::Timeout(at)).unwrap();
            }
            self.client.drain();
            for bytes in std::mem::take(&mut self.client.out) {
                if !self.is_cut && passes(&bytes) {
                    self.media
                        .datagram(self.now, SockId(0), self.seen_at, &bytes);
                }
            }
            let mut out = Datagrams::default();
            self.media.flush(self.now, &mut out);
            while let Some((_, owner, event)) = self.media.next_event() {
                assert_eq!(owner, OWNER);
                self.events.push(event);
            }
            if out.is_empty() {
                return;
            }
            for Datagram { sock, to, bytes } in out.iter() {
                assert_eq!(sock, SockId(0));
                if to != self.seen_at {
                    self.strays.push(sock, to, bytes);
                } else if passes(bytes) {
                    self.client.receive(at, server, bytes);
                }
            }
        }
        panic!("the two never stop talking");
    }

    /// Has the client send a packet of a line.
    fn send(&mut self, mid: Mid, rid: Option<Rid>, pt: u8, seq: u64, time: u32, payload: &[u8]) {
        let values = ExtensionValues::default();
        self.send_with(mid, rid, pt, (seq, time), payload, values);
    }

    fn send_with(
        &mut self,
        mid: Mid,
        rid: Option<Rid>,
        pt: u8,
        (seq, time): (u64, u32),
        payload: &[u8],
        values: ExtensionValues,
    ) {
        let at = self.anchor.instant(self.now.monotonic);
        let mut api = self.client.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, rid).unwrap();
        let write = RtpWrite::new(pt.into(), seq.into(), time, at, payload).nackable(true);
        stream.write_rtp(write.marker(true).ext_vals(values));
        self.client.rtc.handle_input(Input::Timeout(at)).unwrap();
        self.exchange();
    }

    fn count(&self, matches: impl Fn(&PeerEvent) -> bool) -> usize {
        self.events.iter().filter(|event| matches(event)).count()
    }
}

impl Client {
    fn receive(&mut self, at: Instant, from: SocketAddr, bytes: &[u8]) {
        let receive = Receive::new(Protocol::Udp, from, self.address, bytes).unwrap();
        self.rtc.handle_input(Input::Receive(at, receive)).unwrap();
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.due = at;
                    return;
                }
                Output::Transmit(transmit) => self.out.push(transmit.contents.into()),
                Output::Event(Event::Connected) => self.is_connected = true,
                Output::Event(Event::RtpPacket(packet)) => self.packets.push(packet),
                Output::Event(Event::KeyframeRequest(_)) => self.keyframe_requests += 1,
                Output::Event(Event::EgressBitrateEstimate(str0m::bwe::BweKind::Remb {
                    estimate,
                    ..
                })) => self.rembs.push(estimate.as_u64()),
                Output::Event(Event::EgressBitrateEstimate(str0m::bwe::BweKind::Twcc {
                    estimate,
                    ..
                })) => self.estimates.push(estimate.as_u64()),
                Output::Event(Event::MediaEgressStats(stats)) => {
                    let lost = stats.remote.map(|remote| remote.packets_lost);
                    self.reported.extend(lost);
                }
                Output::Event(Event::ChannelOpen(id, _)) => self.channel = Some(id),
                Output::Event(Event::ChannelClose(_)) => self.channels_closed += 1,
                Output::Event(Event::ChannelData(data)) => {
                    self.messages.push((data.binary, data.data));
                }
                Output::Event(_) => {}
            }
        }
    }
}

fn moment_after(now: Now, millis: u64) -> Now {
    moment(now.monotonic.as_nanos() / 1_000_000 - 1_000_000 + millis)
}

/// Accepts all there is, as an echo would: the first codec of each section, and all extensions.
fn plan(offer: &SessionDescription) -> AnswerPlan {
    let lines = offer.media.iter().map(|media| {
        if media.is_data() {
            return LinePlan::Application {
                sctp_port: 5_000,
                max_message_size: None,
            };
        }
        let Some(codec) = media.codecs.iter().find(|codec| codec.is_primary()) else {
            return LinePlan::Rejected;
        };
        LinePlan::Media(Box::new(MediaPlan {
            pt: codec.pt,
            red: None,
            fmtp: codec.fmtp.clone(),
            feedback: codec.feedback.clone(),
            direction: media.direction.reversed(),
            extensions: media.extensions.iter().map(|each| each.id).collect(),
            bandwidth: Vec::new(),
            msid: None,
            ssrc: None,
            rtx_ssrc: None,
            simulcast: SimulcastPlan::Accept,
        }))
    });
    AnswerPlan {
        name: None,
        lines: lines.collect(),
    }
}

fn pt_of(answer: &SessionDescription, line: usize) -> u8 {
    answer.media[line].codecs[0].pt
}

fn add(api: &mut str0m::change::SdpApi<'_>, kind: RtcKind) -> Mid {
    api.add_media(kind, RtcDirection::SendRecv, None, None, None)
}

/// A line of video in three encodings.
fn add_simulcast(api: &mut str0m::change::SdpApi<'_>) -> Mid {
    let mut simulcast = Simulcast::new();
    for rid in ["h", "m", "l"] {
        simulcast.add_send_layer(SimulcastLayer::new(rid));
    }
    let direction = RtcDirection::SendRecv;
    api.add_media(RtcKind::Video, direction, None, None, Some(simulcast))
}

/// The first packet of a VP8 key frame, with picture id and temporal layer 0.
fn vp8_key(picture: u8) -> Vec<u8> {
    vec![0x90, 0xe0, 0x80, picture, picture, 0x00, 0x00, 1, 2, 3]
}

/// The first packet of another VP8 frame.
fn vp8_delta(picture: u8) -> Vec<u8> {
    vec![0x90, 0xe0, 0x80, picture, picture, 0x00, 0x01, 1, 2, 3]
}

fn hangup_reason(call: &Call) -> Option<&'static str> {
    call.events.iter().find_map(|event| match event {
        PeerEvent::Hangup { reason } => Some(*reason),
        _ => None,
    })
}
