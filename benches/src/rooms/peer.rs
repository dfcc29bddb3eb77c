//! One PeerConnection of the generator. It takes part in ICE and DTLS in full; media that it only
//! counts is not decrypted, so that the generator is not what is measured.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Instant;

use quinn_udp::{UdpSockRef, UdpSocketState};
use socket2::SockRef;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::feedback::Feedback;
use super::keys;
use super::payload::{self, Payload};

/// The encodings of a simulcast publisher, best first, as browsers name them.
pub(super) const RIDS: [&str; 3] = ["h", "m", "l"];

const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// What a peer is there for.
#[derive(Debug)]
pub(super) enum Role {
    /// Sends the streams.
    Publisher(Vec<Stream>),
    /// Receives, and looks into what it gets.
    Sampler,
    /// Receives, and counts.
    Counter,
}

/// One encoding that is sent.
#[derive(Debug)]
pub(super) struct Stream {
    mid: Mid,
    rid: Option<Rid>,
    sequence: u64,
    timestamp: u32,
    picture: u16,
    wants_key: bool,
}

/// What came in.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Media packets.
    pub(super) packets: u64,
    /// Sequence numbers that were passed over.
    pub(super) gaps: u64,
    /// Transport-wide reports that were sent.
    pub(super) reports: u64,
    /// When packets that came were made, in nanoseconds of the generator's clock.
    pub(super) stamps: Vec<u64>,
}

/// One PeerConnection.
pub(super) struct Peer {
    rtc: Rtc,
    pub(super) socket: UdpSocket,
    pub(super) state: UdpSocketState,
    address: SocketAddr,
    pub(super) role: Role,
    pub(super) room: usize,
    pub(super) due: Instant,
    pub(super) is_connected: bool,
    /// Somebody was told that it is connected.
    pub(super) is_told: bool,
    pub(super) is_over: bool,
    pt: u8,
    rtx: Option<u8>,
    /// The highest sequence number of each source.
    highest: Vec<(u32, u16)>,
    network: Network,
    /// Of one that does not decrypt; for others the library does it.
    feedback: Option<Feedback>,
    server: Option<SocketAddr>,
}

impl Peer {
    /// `loss` is the share of media datagrams that is lost, on each way.
    pub(super) fn new(ip: IpAddr, room: usize, role: Role, loss: f64) -> io::Result<Self> {
        let socket = UdpSocket::bind((ip, 0))?;
        socket.set_nonblocking(true)?;
        // As much as the host allows.
        SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let address = socket.local_addr()?;
        let mut config = RtcConfig::new()
            .set_crypto_provider(keys::provider())
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_vp8(true);
        let params = config.codec_config().params().first().copied();
        let params = params.ok_or_else(|| io::Error::other("no codec"))?;
        let mut rtc = config.build(Instant::now());
        let candidate = Candidate::host(address, "udp").map_err(io::Error::other)?;
        rtc.add_local_candidate(candidate);
        Ok(Self {
            rtc,
            socket,
            state,
            address,
            role,
            room,
            due: Instant::now(),
            is_connected: false,
            is_told: false,
            is_over: false,
            pt: *params.pt(),
            rtx: params.resend().map(|pt| *pt),
            highest: Vec::new(),
            network: Network {
                loss,
                dice: 0x9e37_79b9_7f4a_7c15 ^ u64::from(address.port()),
            },
            feedback: None,
            server: None,
        })
    }

    /// Offers one video to the server.
    pub(super) fn offer(&mut self, is_simulcast: bool) -> (String, SdpPendingOffer) {
        let mut simulcast = Simulcast::new();
        for rid in RIDS {
            simulcast.add_send_layer(SimulcastLayer::new(rid));
        }
        let simulcast = is_simulcast.then_some(simulcast);
        let mut api = self.rtc.sdp_api();
        let mid = api.add_media(MediaKind::Video, Direction::SendOnly, None, None, simulcast);
        let (offer, pending) = api.apply().expect("a line was added");
        let rids: Vec<Option<Rid>> = if is_simulcast {
            RIDS.iter().map(|rid| Some(Rid::from(*rid))).collect()
        } else {
            vec![None]
        };
        let streams = rids.into_iter().map(|rid| Stream {
            mid,
            rid,
            sequence: 1,
            timestamp: 1,
            picture: 0,
            wants_key: true,
        });
        self.role = Role::Publisher(streams.collect());
        (offer.to_sdp_string(), pending)
    }

    /// Takes the server's answer.
    pub(super) fn accept_answer(
        &mut self,
        sdp: &str,
        pending: SdpPendingOffer,
    ) -> Result<(), String> {
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|error| error.to_string())?;
        let accepted = self.rtc.sdp_api().accept_answer(pending, answer);
        accepted.map_err(|error| error.to_string())
    }

    /// Answers the server's offer.
    pub(super) fn answer(&mut self, sdp: &str) -> Result<String, String> {
        let offer = SdpOffer::from_sdp_string(sdp).map_err(|error| error.to_string())?;
        let answer = self.rtc.sdp_api().accept_offer(offer);
        let answer = answer.map_err(|error| error.to_string())?;
        // What the answer takes of the offer's payload types is what comes.
        for params in self.rtc.codec_config().params() {
            self.pt = *params.pt();
            self.rtx = params.resend().map(|pt| *pt);
        }
        Ok(answer.to_sdp_string())
    }

    /// Reports what comes, if an offer asks for it, though nothing is decrypted.
    pub(super) fn report_on(&mut self, offer: &str, now: Instant) {
        self.feedback = Feedback::asked_for(offer, now);
    }

    /// Sends the reports that are due.
    pub(super) fn send_reports(&mut self, now: Instant, into: &mut Arrivals) {
        let (Some(feedback), Some(server)) = (&mut self.feedback, self.server) else {
            return;
        };
        while let Some(report) = feedback.report(now) {
            if !self.network.loses() && self.socket.send_to(&report, server).is_ok() {
                into.reports += 1;
            }
        }
    }

    /// Takes in a datagram.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        into: &mut Arrivals,
    ) {
        if let Some(header) = MediaHeader::read(bytes) {
            if self.network.loses() {
                return;
            }
            if let Some(feedback) = &mut self.feedback {
                feedback.note(now, bytes);
                self.server = Some(from);
            }
            if Some(header.pt) != self.rtx {
                into.packets += 1;
                into.gaps += self.gaps(header);
            }
            if matches!(self.role, Role::Counter) {
                return;
            }
        }
        let Ok(receive) = Receive::new(Protocol::Udp, from, self.address, bytes) else {
            return;
        };
        if self.rtc.handle_input(Input::Receive(now, receive)).is_err() {
            self.is_over = true;
        }
        self.drain(into);
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Instant, into: &mut Arrivals) {
        if self.rtc.handle_input(Input::Timeout(now)).is_err() {
            self.is_over = true;
        }
        self.drain(into);
    }

    /// Sends a frame of each encoding.
    pub(super) fn publish(&mut self, now: Instant, frame: &Frame, into: &mut Arrivals) {
        let Role::Publisher(streams) = &mut self.role else {
            return;
        };
        let mut api = self.rtc.direct_api();
        for (stream, packets) in streams.iter_mut().zip(frame.packets) {
            let is_key = std::mem::take(&mut stream.wants_key);
            stream.picture = (stream.picture + 1) & payload::PICTURE_MASK;
            stream.timestamp = stream.timestamp.wrapping_add(frame.ticks);
            let Some(sender) = api.stream_tx_by_mid(stream.mid, stream.rid) else {
                continue;
            };
            for index in 0..packets {
                let bytes = Payload {
                    picture: stream.picture,
                    is_key,
                    is_first: index == 0,
                    stamp: frame.stamp,
                }
                .write(frame.payload_bytes);
                let sequence = stream.sequence.into();
                let write = RtpWrite::new(self.pt.into(), sequence, stream.timestamp, now, bytes);
                let is_last = index + 1 == packets;
                sender.write_rtp(write.marker(is_last).nackable(true));
                stream.sequence += 1;
            }
        }
        self.tick(now, into);
    }

    fn drain(&mut self, into: &mut Arrivals) {
        self.drain_library(into);
        if let (Some(sealer), Some(feedback)) = (keys::take(), &mut self.feedback) {
            feedback.set_sealer(sealer);
        }
    }

    fn drain_library(&mut self, into: &mut Arrivals) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.due = at;
                    return;
                }
                Ok(Output::Transmit(transmit)) => {
                    if MediaHeader::read(&transmit.contents).is_some() && self.network.loses() {
                        continue;
                    }
                    // What the kernel does not take is lost, as it would be on a network.
                    let _ = self
                        .socket
                        .send_to(&transmit.contents, transmit.destination);
                }
                Ok(Output::Event(event)) => self.on_event(event, into),
                Err(_) => {
                    self.is_over = true;
                    return;
                }
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library has more events than are of use here"
    )]
    fn on_event(&mut self, event: Event, into: &mut Arrivals) {
        match event {
            Event::Connected => self.is_connected = true,
            Event::KeyframeRequest(request) => {
                if let Role::Publisher(streams) = &mut self.role {
                    for stream in streams {
                        stream.wants_key |= request.rid.is_none() || request.rid == stream.rid;
                    }
                }
            }
            Event::RtpPacket(packet) => into.stamps.extend(payload::stamp(&packet.payload)),
            _ => {}
        }
    }

    fn gaps(&mut self, header: MediaHeader) -> u64 {
        let known = self.highest.iter_mut().find(|each| each.0 == header.ssrc);
        let Some((_, highest)) = known else {
            self.highest.push((header.ssrc, header.sequence));
            return 0;
        };
        let ahead = header.sequence.wrapping_sub(*highest).cast_signed();
        if ahead <= 0 {
            return 0;
        }
        *highest = header.sequence;
        u64::from(ahead.unsigned_abs()) - 1
    }
}

/// What is sent at once of each encoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Of each encoding, best first.
    pub(super) packets: [u32; RIDS.len()],
    pub(super) payload_bytes: usize,
    /// Of the media clock since the frame before.
    pub(super) ticks: u32,
    /// When it is made, in nanoseconds of the generator's clock.
    pub(super) stamp: u64,
}

/// What can be read of a media packet without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MediaHeader {
    pt: u8,
    sequence: u16,
    ssrc: u32,
}

impl MediaHeader {
    /// `None` for what is no RTP, RTCP among it (RFC 5761 section 4).
    fn read(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; 12] = bytes.first_chunk()?;
        let pt = head[1] & 0x7f;
        let is_media = head[0] >> 6 == 2 && !(64..96).contains(&pt);
        is_media.then(|| Self {
            pt,
            sequence: u16::from_be_bytes([head[2], head[3]]),
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        })
    }
}

/// What happens to media on its way.
#[derive(Debug)]
struct Network {
    loss: f64,
    /// Even and cheap, and the same in every run.
    dice: u64,
}

impl Network {
    fn loses(&mut self) -> bool {
        if self.loss <= 0.0 {
            return false;
        }
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let share = (self.dice >> 11) as f64 / (1_u64 << 53) as f64;
        share < self.loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_is_told_from_all_else() {
        let mut bytes = [0_u8; 20];
        bytes[..12].copy_from_slice(&[0x80, 0xe0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 4]);
        let expected = MediaHeader {
            pt: 96,
            sequence: 258,
            ssrc: 772,
        };
        assert_eq!(MediaHeader::read(&bytes), Some(expected));
        bytes[1] = 200; // A sender report.
        assert_eq!(MediaHeader::read(&bytes), None);
        bytes[0] = 0; // STUN.
        assert_eq!(MediaHeader::read(&bytes), None);
        assert_eq!(MediaHeader::read(&[0x80; 11]), None);
    }

    #[test]
    fn a_network_loses_its_share() {
        let mut network = Network { loss: 0.1, dice: 7 };
        let lost = (0..10_000).filter(|_| network.loses()).count();
        assert!((900..1_100).contains(&lost), "{lost}");
        network.loss = 0.0;
        assert!(!network.loses());
    }
}
