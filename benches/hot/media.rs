//! The hot paths of media: clients of the WebRTC library around one shard's media, in virtual time.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bifrons::base::clock::{Anchor, Boottime, Monotonic, Now, Realtime};
use bifrons::base::id::{HandleId, PeerId, SessionId, ShardId, SockId};
use bifrons::base::limits::Limits;
use bifrons::base::rng::Rng;
use bifrons::config::MediaConfig;
use bifrons::media::{
    Certificate, Datagrams, ExtensionIds, LineRef, LocalSocket, Media, MediaSetup, OfferOptions,
    PeerOwner, PlainOwner, Rewriter, SourceKey, SourceLine, SourceSpec, TrackKind, remote_ssrc,
};
use bifrons::wire::sdp::{AnswerPlan, LinePlan, MediaPlan, SessionDescription, SimulcastPlan};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// Receivers of the fan-out, and the packets that each gets of one batch.
pub(crate) const RECEIVERS: u64 = 16;
pub(crate) const PACKETS: u64 = 10;

const SERVER: ([u8; 4], u16) = ([192, 0, 2, 10], 20_000);
const GATEWAY: ([u8; 4], u16) = ([192, 0, 2, 11], 30_000);
const OWNER: PeerOwner = PeerOwner {
    session: SessionId(1),
    handle: HandleId(2),
};

/// Ten packets of a publisher of another gateway, which need no decryption, to sixteen receivers.
pub(crate) fn fan_out() -> Box<dyn FnMut()> {
    let mut scene = Scene::new(1);
    let (rtp, source) = scene.source();
    for number in 0..RECEIVERS as u16 {
        let viewer = scene.join(number, Direction::RecvOnly);
        let to = LineRef {
            peer: viewer.peer,
            line: 0,
        };
        scene
            .media
            .route(scene.now, source, to)
            .expect("both are there");
    }
    let mut sequence = 0_u16;
    let mut packet = plain_packet();
    let mut turn = move || {
        for _ in 0..PACKETS {
            sequence = sequence.wrapping_add(1);
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            packet[4..8].copy_from_slice(&(u32::from(sequence) * 90).to_be_bytes());
            scene
                .media
                .datagram(scene.now, rtp, GATEWAY.into(), black_box(&packet));
        }
        scene.flush()
    };
    let sent = (0..3).map(|_| turn()).max();
    assert!(
        sent >= Some((RECEIVERS * PACKETS) as usize),
        "{sent:?} sent"
    );
    Box::new(move || {
        black_box(turn());
    })
}

/// A packet that a client encrypts, and that the shard decrypts and has nobody to give to.
pub(crate) fn packet_in() -> Box<dyn FnMut()> {
    let mut scene = Scene::new(2);
    let mut client = scene.join(0, Direction::SendOnly);
    let payload: Arc<[u8]> = plain_packet()[12..].into();
    let mut sequence = 0_u64;
    let mut turn = move || {
        let at = scene.instant();
        sequence += 1;
        let mut api = client.rtc.direct_api();
        let stream = api.stream_tx_by_mid(client.mid, None).expect("it sends");
        let time = sequence as u32 * 90;
        let write = RtpWrite::new(client.pt.into(), sequence.into(), time, at, payload.clone());
        stream.write_rtp(write);
        client.advance(at);
        scene.take_in(&mut client);
        scene.flush();
        scene.media.counters().packets_received
    };
    let received = (0..3).map(|_| turn()).max();
    assert_eq!(received, Some(3));
    Box::new(move || {
        black_box(turn());
    })
}

/// The numbers of a packet, every eighth of which is not to be sent.
pub(crate) fn rewriter() -> Box<dyn FnMut()> {
    let mut rewriter = Rewriter::new(90_000, 7);
    let (mut sequence, key) = (70_000, SourceKey(1));
    let mut now = Monotonic::from_nanos(1);
    Box::new(move || {
        sequence += 1;
        now = now + Duration::from_millis(1);
        if sequence % 8 == 0 {
            rewriter.skip(key, sequence);
        } else {
            let time = black_box(sequence as u32).wrapping_mul(90);
            black_box(rewriter.map(now, key, sequence, time));
        }
    })
}

/// One batch of packets for another shard, and what that one does with it: it has one receiver.
pub(crate) fn mesh() -> Box<dyn FnMut()> {
    let (mut here, mut there) = (Scene::new(3), Scene::new(4));
    let (rtp, source) = here.source();
    let viewer = there.join(0, Direction::RecvOnly);
    let from = there.media.remote_line(ShardId(0), source);
    let to = LineRef {
        peer: viewer.peer,
        line: 0,
    };
    there
        .media
        .route(there.now, from, to)
        .expect("both are there");
    let mut sequence = 0_u16;
    let mut packet = plain_packet();
    let mut turn = move || {
        for (_, relay) in there.media.take_relays() {
            here.media.relayed(here.now, ShardId(1), relay);
        }
        for _ in 0..PACKETS {
            sequence = sequence.wrapping_add(1);
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            here.media
                .datagram(here.now, rtp, GATEWAY.into(), black_box(&packet));
        }
        here.flush();
        for (_, relay) in here.media.take_relays() {
            there.media.relayed(there.now, ShardId(0), relay);
        }
        there.flush()
    };
    let sent = (0..3).map(|_| turn()).max();
    assert!(sent >= Some(PACKETS as usize), "{sent:?} sent");
    Box::new(move || {
        black_box(turn());
    })
}

/// RTP with a payload of 1,088 bytes, as another gateway sends it.
fn plain_packet() -> Vec<u8> {
    let mut packet = vec![0x55; 1_100];
    packet[..12].fill(0);
    packet[0] = 0x80;
    packet[1] = 96;
    packet[8..12].copy_from_slice(&remote_ssrc(0, 0).to_be_bytes());
    // A VP8 frame without extensions, and no key frame.
    packet[12..14].copy_from_slice(&[0x10, 0x01]);
    packet
}

struct Scene {
    media: Media,
    now: Now,
    anchor: Anchor,
    out: Datagrams,
}

struct Client {
    rtc: Rtc,
    address: SocketAddr,
    mid: Mid,
    pt: u8,
    peer: PeerId,
    is_connected: bool,
    out: Vec<Vec<u8>>,
}

impl Scene {
    fn new(seed: u8) -> Self {
        let now = Now {
            monotonic: Monotonic::from_nanos(7_000_000_000_000),
            boottime: Boottime::from_nanos(900_000_000_000_000),
            realtime: Realtime::from_unix_micros(1_790_000_000_000_000),
        };
        let anchor = Anchor::new(Instant::now(), now.monotonic);
        let media = Media::new(MediaSetup {
            config: Arc::new(MediaConfig::default()),
            limits: Limits::default(),
            sockets: vec![LocalSocket {
                bound: SERVER.into(),
                advertised: Vec::new(),
            }],
            rng: Rng::from_seed([seed; 32]),
            anchor,
            certificate: Certificate::generate(),
            crypto: None,
        });
        Self {
            media,
            now,
            anchor,
            out: Datagrams::default(),
        }
    }

    fn instant(&self) -> Instant {
        self.anchor.instant(self.now.monotonic)
    }

    /// A publisher of another gateway, and where its packets come in.
    fn source(&mut self) -> (SockId, LineRef) {
        let mut open = || {
            let owner = PlainOwner(0);
            let sock = self.media.open_socket(owner, SERVER.into());
            let sock = sock.expect("there is room");
            self.media.socket_opened(sock, Some(SERVER.into()));
            sock
        };
        let (rtp, rtcp) = (open(), open());
        let spec = SourceSpec {
            rtp,
            rtcp,
            lines: vec![SourceLine {
                kind: Some(TrackKind::Video),
                codec: "vp8".to_owned(),
                is_simulcast: false,
                ids: ExtensionIds::default(),
            }],
            srtp: None,
        };
        let peer = self.media.add_source(spec).expect("there is room");
        (rtp, LineRef { peer, line: 0 })
    }

    /// A client with one video, up to where media may flow.
    fn join(&mut self, number: u16, direction: Direction) -> Client {
        let address = SocketAddr::from(([192, 0, 2, 20], 40_000 + number));
        let mut config = RtcConfig::new()
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_vp8(true);
        let pt = *config.codec_config().params()[0].pt();
        let mut rtc = config.build(self.instant());
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("an address"));
        let mut api = rtc.sdp_api();
        let mid = api.add_media(MediaKind::Video, direction, None, None, None);
        let (offer, pending) = api.apply().expect("a line was added");
        let offer = SessionDescription::parse(&offer.to_sdp_string()).expect("an offer");
        let options = OfferOptions::default();
        let accepted = self
            .media
            .accept_offer(self.now, None, OWNER, &offer, &plan(&offer), options)
            .expect("the offer is in order");
        let answer = accepted.answer.to_string();
        let answer = SdpAnswer::from_sdp_string(&answer).expect("an answer");
        let taken = rtc.sdp_api().accept_answer(pending, answer);
        taken.expect("the answer is in order");
        let mut client = Client {
            rtc,
            address,
            mid,
            pt,
            peer: accepted.peer,
            is_connected: false,
            out: Vec::new(),
        };
        self.connect(&mut client);
        client
    }

    fn connect(&mut self, client: &mut Client) {
        for _ in 0..2_000 {
            client.advance(self.instant());
            self.take_in(client);
            self.media.flush(self.now, &mut self.out);
            for datagram in self.out.iter() {
                if datagram.to == client.address {
                    client.receive(self.instant(), datagram.bytes);
                }
            }
            self.out.clear();
            self.now.monotonic = self.now.monotonic + Duration::from_millis(5);
            let is_up = self.media.state(client.peer).is_some_and(|state| state.up);
            if client.is_connected && is_up {
                return;
            }
        }
        panic!("a client did not connect");
    }

    fn take_in(&mut self, client: &mut Client) {
        for bytes in client.out.drain(..) {
            self.media
                .datagram(self.now, SockId(0), client.address, &bytes);
        }
    }

    /// Flushes until nothing is due, a millisecond later. Says how many datagrams there were.
    fn flush(&mut self) -> usize {
        self.now.monotonic = self.now.monotonic + Duration::from_millis(1);
        let mut count = 0;
        loop {
            self.media.flush(self.now, &mut self.out);
            count += black_box(&self.out).len();
            self.out.clear();
            while self.media.next_event().is_some() {}
            if self
                .media
                .deadline()
                .is_none_or(|due| due > self.now.monotonic)
            {
                return count;
            }
        }
    }
}

impl Client {
    fn advance(&mut self, at: Instant) {
        self.rtc
            .handle_input(Input::Timeout(at))
            .expect("time passes");
        self.drain();
    }

    fn receive(&mut self, at: Instant, bytes: &[u8]) {
        let from = SERVER.into();
        if let Ok(receive) = Receive::new(Protocol::Udp, from, self.address, bytes) {
            let taken = self.rtc.handle_input(Input::Receive(at, receive));
            taken.expect("the server sends what can be read");
        }
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().expect("it goes on") {
                Output::Timeout(_) => return,
                Output::Transmit(transmit) => self.out.push(transmit.contents.into()),
                Output::Event(Event::Connected) => self.is_connected = true,
                Output::Event(_) => {}
            }
        }
    }
}

/// Accepts the first codec of each section.
fn plan(offer: &SessionDescription) -> AnswerPlan {
    let lines = offer.media.iter().map(|media| {
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
