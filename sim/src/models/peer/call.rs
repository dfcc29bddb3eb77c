//! A peer's end of one PeerConnection: the WebRTC library with its own session descriptions.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::media::{
    Direction, KeyframeRequestKind, MediaKind, Mid, Rid, Simulcast, SimulcastLayer,
};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::faults::media::{PeerPlan, PeerRole, Video};
use crate::kernel::time::SimTime;
use crate::models::peer::dtls;
use crate::models::peer::frames::Kind;

/// One PeerConnection.
pub struct Call {
    rtc: Rtc,
    address: SocketAddr,
    base: Instant,
    now: SimTime,
    due: SimTime,
    pending: Option<SdpPendingOffer>,
    /// The lines that it sends on.
    lines: Vec<SendLine>,
    channel: Option<ChannelId>,
    is_up: bool,
}

/// A line that it sends on.
#[derive(Clone, Copy, Debug)]
struct SendLine {
    kind: Kind,
    mid: Mid,
    /// The payload type that the answer took.
    pt: Option<u8>,
}

/// Something that happened to a call.
#[derive(Debug)]
pub enum CallEvent {
    /// The other side has closed it.
    Closed,
    /// A data channel is open.
    ChannelOpen,
    /// A message of a data channel.
    Data(Vec<u8>),
    /// A key frame is wanted of an encoding.
    KeyframeWanted(u8),
    /// The other side says how much may be sent, in bit/s.
    Remb(u64),
    /// What the other side says of the packets that it got: how many it misses.
    Missed(u64),
    /// A packet of media.
    Packet(Box<RtpPacket>),
    /// A datagram that is to be sent.
    Transmit(SocketAddr, Vec<u8>),
    /// ICE and DTLS are up.
    Up,
}

/// The names of the encodings, lowest first.
pub const RIDS: [&str; 3] = ["l", "m", "h"];

impl Call {
    /// Begins at `now`; datagrams come from `address`.
    pub fn new(plan: &PeerPlan, base: Instant, now: SimTime, address: SocketAddr) -> Self {
        let config = RtcConfig::new()
            .set_rtp_mode(true)
            .set_crypto_provider(dtls::provider())
            .set_stats_interval(Some(Duration::from_secs(1)))
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true);
        let mut rtc = config.build(instant(base, now));
        let candidate = Candidate::host(address, "udp").expect("an address of our own is fine");
        rtc.add_local_candidate(candidate);
        let mut call = Self {
            rtc,
            address,
            base,
            now,
            due: now,
            pending: None,
            lines: Vec::new(),
            channel: None,
            is_up: false,
        };
        if plan.role == PeerRole::Subscriber {
            call.lines.clear();
        }
        call
    }

    /// Makes the first offer of a peer that sends.
    pub fn offer(&mut self, plan: &PeerPlan) -> String {
        let direction = match plan.role {
            PeerRole::Echo => Direction::SendRecv,
            PeerRole::Publisher | PeerRole::Subscriber => Direction::SendOnly,
        };
        let mut api = self.rtc.sdp_api();
        let mut lines = Vec::new();
        if plan.audio {
            let mid = api.add_media(MediaKind::Audio, direction, None, None, None);
            lines.push((Kind::Audio, mid));
        }
        if plan.video != Video::None {
            let simulcast = (plan.video == Video::Simulcast).then(|| {
                let mut simulcast = Simulcast::new();
                for rid in RIDS.iter().rev() {
                    simulcast.add_send_layer(SimulcastLayer::new(rid));
                }
                simulcast
            });
            let mid = api.add_media(MediaKind::Video, direction, None, None, simulcast);
            lines.push((Kind::Video, mid));
        }
        if plan.data {
            self.channel = Some(api.add_channel("data".to_owned()));
        }
        let (offer, pending) = api.apply().expect("a first offer has something to offer");
        self.pending = Some(pending);
        let lines = lines.into_iter();
        self.lines = lines
            .map(|(kind, mid)| SendLine {
                kind,
                mid,
                pt: None,
            })
            .collect();
        offer.to_sdp_string()
    }

    /// Makes another offer: with other ICE credentials, or with the pictures turned off or on.
    pub fn offer_again(&mut self, change: Change) -> Option<String> {
        let mut api = self.rtc.sdp_api();
        match change {
            Change::IceRestart => {
                api.ice_restart(true);
            }
            Change::Pictures(direction) => {
                let line = self.lines.iter().find(|line| line.kind == Kind::Video)?;
                api.set_direction(line.mid, direction);
            }
        }
        let (offer, pending) = api.apply()?;
        self.pending = Some(pending);
        Some(offer.to_sdp_string())
    }

    /// Takes the answer to its offer.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn answered(&mut self, text: &str, is_simulcast: bool) -> Result<(), String> {
        let pending = self.pending.take().ok_or("an answer to no offer")?;
        let answer = SdpAnswer::from_sdp_string(text).map_err(|error| error.to_string())?;
        let accepted = self.rtc.sdp_api().accept_answer(pending, answer);
        accepted.map_err(|error| error.to_string())?;
        for (mid, section) in sections(text) {
            let Some(line) = self.lines.iter_mut().find(|line| *line.mid == *mid) else {
                continue;
            };
            line.pt = first_payload_type(section);
            // The library takes encodings in an answer for those of what it receives.
            if is_simulcast
                && line.kind == Kind::Video
                && let Some(ssrc) = first_ssrc(section)
            {
                let mid = line.mid;
                let mut api = self.rtc.direct_api();
                api.expect_stream_rx(ssrc.into(), None, mid, None);
            }
        }
        Ok(())
    }

    /// Answers an offer.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn answer(&mut self, text: &str) -> Result<String, String> {
        let offer = SdpOffer::from_sdp_string(text).map_err(|error| error.to_string())?;
        let answer = self.rtc.sdp_api().accept_offer(offer);
        let answer = answer.map_err(|error| error.to_string())?;
        Ok(answer.to_sdp_string())
    }

    /// Takes in a datagram.
    pub fn receive(&mut self, now: SimTime, from: SocketAddr, bytes: &[u8]) -> Vec<CallEvent> {
        self.now = now;
        if let Ok(receive) = Receive::new(Protocol::Udp, from, self.address, bytes) {
            let at = instant(self.base, now);
            // What cannot be processed is as good as lost.
            let _ = self.rtc.handle_input(Input::Receive(at, receive));
        }
        self.drain()
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: SimTime) -> Vec<CallEvent> {
        self.now = now;
        let at = instant(self.base, now);
        let _ = self.rtc.handle_input(Input::Timeout(at));
        self.drain()
    }

    /// Says what time it is when [`Call::write`] follows, and nothing is due.
    pub const fn set_now(&mut self, now: SimTime) {
        self.now = now;
    }

    /// Puts a packet into the queue; [`Call::advance`] sends it. `false` if it cannot be sent.
    pub fn write(&mut self, packet: &Outgoing<'_>) -> bool {
        let line = self.lines.iter().find(|line| line.kind == packet.kind);
        let Some((line, pt)) = line.and_then(|line| line.pt.map(|pt| (line, pt))) else {
            return false;
        };
        let rid = packet.rid.map(Rid::from);
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(line.mid, rid) else {
            return false;
        };
        let at = instant(self.base, self.now);
        let write = RtpWrite::new(
            pt.into(),
            packet.sequence.into(),
            packet.timestamp,
            at,
            packet.payload,
        );
        stream.write_rtp(
            write
                .marker(packet.marker)
                .nackable(packet.kind == Kind::Video),
        );
        true
    }

    /// Asks for a key frame of what comes with a source.
    pub fn want_key(&mut self, ssrc: u32) {
        let mut api = self.rtc.direct_api();
        if let Some(stream) = api.stream_rx(&ssrc.into()) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
    }

    /// Sends a message; `false` if there is no open channel.
    pub fn say(&mut self, text: &[u8]) -> bool {
        let channel = self.channel.and_then(|id| self.rtc.channel(id));
        channel.is_some_and(|mut channel| channel.write(false, text).unwrap_or(false))
    }

    /// When [`Call::advance`] has something to do.
    pub const fn due(&self) -> SimTime {
        self.due
    }

    /// Whether ICE and DTLS are up.
    pub const fn is_up(&self) -> bool {
        self.is_up
    }

    /// Where its datagrams come from.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether an offer of its own waits for the answer.
    pub const fn is_offering(&self) -> bool {
        self.pending.is_some()
    }

    /// Says goodbye.
    pub fn close(&mut self, now: SimTime) -> Vec<CallEvent> {
        let _ = self.rtc.close();
        self.advance(now)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library has more events than are of use here"
    )]
    fn drain(&mut self) -> Vec<CallEvent> {
        let mut events = Vec::new();
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    let since = at.saturating_duration_since(self.base);
                    self.due = (SimTime::START + since).max(self.now);
                    return events;
                }
                Ok(Output::Transmit(transmit)) => {
                    let bytes = transmit.contents.into();
                    events.push(CallEvent::Transmit(transmit.destination, bytes));
                }
                Ok(Output::Event(event)) => match event {
                    Event::Connected => {
                        self.is_up = true;
                        events.push(CallEvent::Up);
                    }
                    Event::RtpPacket(packet) => events.push(CallEvent::Packet(Box::new(packet))),
                    Event::KeyframeRequest(request) => {
                        let of = |rid: Rid| RIDS.iter().position(|each| **each == *rid);
                        let encoding = request.rid.and_then(of).unwrap_or(0);
                        events.push(CallEvent::KeyframeWanted(encoding as u8));
                    }
                    Event::EgressBitrateEstimate(str0m::bwe::BweKind::Remb {
                        estimate, ..
                    }) => events.push(CallEvent::Remb(estimate.as_u64())),
                    Event::MediaEgressStats(stats) => {
                        if let Some(remote) = stats.remote {
                            events.push(CallEvent::Missed(remote.packets_lost));
                        }
                    }
                    Event::ChannelOpen(id, _) => {
                        self.channel = Some(id);
                        events.push(CallEvent::ChannelOpen);
                    }
                    Event::ChannelData(data) => events.push(CallEvent::Data(data.data)),
                    Event::Closed => events.push(CallEvent::Closed),
                    _ => {}
                },
                Err(_) => {
                    self.rtc.disconnect();
                    self.due = FAR;
                    return events;
                }
            }
        }
    }
}

/// What another offer is for.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// Other ICE credentials.
    IceRestart,
    /// Which way pictures go.
    Pictures(Direction),
}

/// A packet that is to be sent.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// On which line.
    pub kind: Kind,
    /// Which of its encodings, if it has several.
    pub rid: Option<&'static str>,
    /// The sequence number, extended.
    pub sequence: u64,
    /// The timestamp.
    pub timestamp: u32,
    /// The last packet of a picture.
    pub marker: bool,
    /// What is in it.
    pub payload: &'a [u8],
}

const FAR: SimTime = SimTime::from_secs(1_000_000);

fn instant(base: Instant, at: SimTime) -> Instant {
    base + at.saturating_since(SimTime::START)
}

/// The media sections of a description, each with its mid.
fn sections(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\r\nm=").skip(1).filter_map(|section| {
        let mid = section.lines().find_map(|line| line.strip_prefix("a=mid:"));
        mid.map(|mid| (mid, section))
    })
}

fn first_payload_type(section: &str) -> Option<u8> {
    section.lines().next()?.split(' ').nth(3)?.parse().ok()
}

fn first_ssrc(section: &str) -> Option<u32> {
    let line = section
        .lines()
        .find_map(|line| line.strip_prefix("a=ssrc:"));
    line?.split(' ').next()?.parse().ok()
}

/// The port of the first candidate in a description: it tells which shard has the call.
pub fn candidate_port(text: &str) -> Option<u16> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("a=candidate:"));
    line?.split(' ').nth(5)?.parse().ok()
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("address", &self.address)
            .field("is_up", &self.is_up)
            .finish_non_exhaustive()
    }
}
