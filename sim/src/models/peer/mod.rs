//! A WebRTC client: it calls, sends and receives media, and does what its scenario says.
//!
//! It speaks the Janus API like any other client, over the simulated TCP, and has the WebRTC
//! library on its end of the call. What it sees it tells the oracles of media.

pub mod api;
pub mod call;
pub mod dtls;
pub mod frames;
mod script;
pub mod source;

pub(crate) use script::ROOM_BITRATE;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::faults::media::{Exit, PeerPlan, PeerRole, Video};
use crate::faults::scenario;
use crate::kernel::datagrams::client_address;
use crate::kernel::tcp::{HostId, Notice, Socket};
use crate::kernel::time::SimTime;
use crate::kernel::trace::Lane;
use crate::models::peer::api::Api;
use crate::models::peer::call::{Call, CallEvent};
use crate::models::peer::frames::{Kind, Tag};
use crate::models::peer::source::{Packet, Source};
use crate::models::{Model, Progress};
use crate::oracle::media::fact::{MediaFact, Step};
use crate::world::physics::Physics;

/// A WebRTC client.
#[derive(Debug)]
pub struct Peer {
    plan: PeerPlan,
    index: u32,
    me: HostId,
    base: Instant,
    api: Api,
    call: Option<Call>,
    /// Counts its calls: timers of an earlier one mean nothing.
    calls: u16,
    wake_at: Option<SimTime>,
    source: Source,
    is_sending: bool,
    /// Whether its pictures are on, at its own end.
    has_pictures: bool,
    is_muted: bool,
    is_paused: bool,
    /// Its datagrams go nowhere, and none reach it.
    is_silenced: bool,
    has_waited: bool,
    /// Which shard has its call.
    shard: Option<u8>,
    /// Whose streams the last description of a subscriber held.
    fed_by: u32,
    /// Whose streams it should be getting.
    watching: u32,
    is_retry_due: bool,
    /// An offer was answered, and the gateway has yet to say so.
    is_starting: bool,
    said: u32,
    /// Sources of pictures, and since when each has no key frame.
    decoding: BTreeMap<(u32, u32, u16, u8), Option<SimTime>>,
    /// The highest sequence number of each source.
    newest: BTreeMap<u32, u64>,
    stage: Stage,
    progress: Progress,
}

/// How far a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Not started.
    Waiting,
    /// It makes its session and joins.
    Joining,
    /// It calls or is called.
    In,
    /// Its room is gone for it, or it is about to go.
    Out,
    /// It is not heard of any more.
    Gone,
}

/// What a timer is for; the rest of its token says of which call.
const CALL: u64 = 0;
const SOUND: u64 = 1;
const PICTURE: u64 = 2;
const RETRY: u64 = 3;
const EXIT: u64 = 4;

const SOUND_EVERY: Duration = Duration::from_millis(20);
/// How much longer a silent peer stays.
const SILENCE_WAIT: Duration = Duration::from_secs(75);
/// How long a decoder waits for a key frame that was asked for by others.
const KEY_WAIT: Duration = Duration::from_millis(1_500);
/// So many packets in a row are not sent again.
const TORN_MIN: u64 = 100;
/// A subscriber that finds nothing tries again after this.
const RETRY_AFTER: Duration = Duration::from_millis(700);

impl Peer {
    /// Peer `index` on host `me`; its library counts time from `base`.
    pub fn new(index: u32, plan: PeerPlan, me: HostId, base: Instant) -> Self {
        Self {
            plan,
            index,
            me,
            base,
            api: Api::new(LANES + index, me),
            call: None,
            calls: 0,
            wake_at: None,
            source: Source::new(index, &plan),
            is_sending: false,
            has_pictures: plan.video != Video::None,
            is_muted: false,
            is_paused: false,
            is_silenced: false,
            has_waited: false,
            shard: None,
            fed_by: 0,
            watching: 0,
            is_retry_due: false,
            is_starting: false,
            said: 0,
            decoding: BTreeMap::new(),
            newest: BTreeMap::new(),
            stage: Stage::Waiting,
            progress: Progress::default(),
        }
    }

    /// Begins a call.
    fn begin_call(&mut self, world: &mut Physics) -> &mut Call {
        self.end_call(world);
        let address = client_address(self.index, self.calls);
        let call = Call::new(&self.plan, self.base, world.now(), address);
        self.call.insert(call)
    }

    /// Ends its call, if there is one.
    fn end_call(&mut self, world: &mut Physics) {
        self.stop_sending(world);
        self.fed_by = 0;
        self.watching = 0;
        self.is_starting = false;
        self.is_retry_due = false;
        self.decoding.clear();
        self.newest.clear();
        self.wake_at = None;
        if let Some(mut call) = self.call.take() {
            self.calls += 1;
            for event in call.close(world.now()) {
                if let CallEvent::Transmit(to, bytes) = event {
                    self.transmit(world, call.address(), to, &bytes);
                }
            }
            let peer = self.index;
            world.media(&MediaFact::Ended { peer });
        }
    }

    fn transmit(&self, world: &mut Physics, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if self.stage < Stage::Gone && !self.is_silenced {
            world.send_datagram(self.index, from, to, bytes);
        }
    }

    /// Takes out what a call has to say, and sees that it is woken in time.
    fn on_call(&mut self, world: &mut Physics, events: Vec<CallEvent>) {
        let Some(call) = &self.call else { return };
        let from = call.address();
        let peer = self.index;
        let mut is_over = false;
        for event in events {
            match event {
                CallEvent::Closed => is_over = true,
                CallEvent::ChannelOpen => {}
                CallEvent::Data(bytes) => {
                    let at = world.now();
                    let place = u64::from(self.index);
                    world.trace.bytes(at, "message", place, &bytes);
                }
                CallEvent::KeyframeWanted(encoding) => {
                    self.source.want_key(encoding);
                    world.media(&MediaFact::KeyframeWanted { peer, encoding });
                }
                CallEvent::Missed(count) => world.media(&MediaFact::Missed { peer, count }),
                CallEvent::Packet(packet) => self.on_packet(world, &packet),
                CallEvent::Remb(bitrate) => world.media(&MediaFact::Remb { peer, bitrate }),
                CallEvent::Transmit(to, bytes) => self.transmit(world, from, to, &bytes),
                CallEvent::Up => self.on_up(world),
            }
        }
        if is_over {
            self.end_call(world);
        }
        self.arm(world);
    }

    /// A decoder that has pictures and no key frame asks for one, if those before were lost; so
    /// does one that misses more than retransmissions bring back.
    fn want_key(&mut self, now: SimTime, ssrc: u32, sequence: u64, tag: &Tag) {
        let newest = self.newest.entry(ssrc).or_insert(sequence);
        let is_torn = sequence > *newest + TORN_MIN;
        *newest = sequence.max(*newest);
        let source = (ssrc, tag.peer, tag.life, tag.encoding);
        if tag.kind == Kind::Audio {
            return;
        }
        if tag.is_key {
            self.decoding.insert(source, None);
            return;
        }
        let since = self.decoding.entry(source).or_insert(Some(now));
        if is_torn {
            since.get_or_insert(now);
        }
        if since.is_some_and(|since| since + KEY_WAIT < now) {
            *since = Some(now);
            if let Some(call) = &mut self.call {
                call.want_key(ssrc);
            }
        }
    }

    fn on_packet(&mut self, world: &mut Physics, packet: &str0m::rtp::RtpPacket) {
        let Some(tag) = Tag::read(&packet.payload) else {
            return;
        };
        let peer = self.index;
        let ssrc = *packet.header.ssrc;
        self.want_key(world.now(), ssrc, *packet.seq_no, &tag);
        world.line(Lane::Client(LANES + peer), || {
            let Tag {
                kind,
                peer,
                encoding,
                number,
                is_key,
                ..
            } = tag;
            let key = if is_key { ", key" } else { "" };
            format!(
                "gets {} {number} of {peer}, encoding {encoding}{key}",
                kind.name()
            )
        });
        world.media(&MediaFact::Got {
            peer,
            ssrc,
            sequence: *packet.seq_no,
            timestamp: packet.header.timestamp,
            tag,
        });
        if let Some(info) = &packet.last_sender_info {
            let ntp = info
                .ntp_time
                .duration_since(std::time::SystemTime::UNIX_EPOCH);
            let ntp = ntp.map_or(0, |since| since.as_nanos() as u64);
            world.media(&MediaFact::Report {
                peer,
                ssrc: *info.ssrc,
                ntp,
                timestamp: info.rtp_time.numer() as u32,
            });
        }
    }

    fn on_up(&mut self, world: &mut Physics) {
        let (peer, shard) = (self.index, self.shard.unwrap_or_default());
        world.media(&MediaFact::Up { peer, shard });
        if self.plan.role != PeerRole::Subscriber {
            self.start_sending(world);
        }
    }

    fn start_sending(&mut self, world: &mut Physics) {
        if self.is_sending {
            return;
        }
        self.is_sending = true;
        self.source.restart();
        self.tell(world, Step::Sends(true));
        self.tell(world, Step::Pictures(self.has_pictures && !self.is_muted));
        if self.plan.audio {
            self.wake(world, SOUND_EVERY, SOUND);
        }
        if self.plan.video != Video::None {
            self.wake(world, self.plan.frame, PICTURE);
        }
    }

    fn stop_sending(&mut self, world: &mut Physics) {
        if std::mem::take(&mut self.is_sending) {
            self.tell(world, Step::Sends(false));
        }
    }

    fn send_sound(&mut self, world: &mut Physics) {
        let packet = self.source.sound(world.now());
        self.send_all(world, vec![packet]);
        self.wake(world, SOUND_EVERY, SOUND);
    }

    fn send_picture(&mut self, world: &mut Physics) {
        if self.has_pictures {
            let packets = self.source.picture(world.now());
            self.send_all(world, packets);
        }
        self.wake(world, self.plan.frame, PICTURE);
    }

    fn send_all(&mut self, world: &mut Physics, packets: Vec<Packet>) {
        let Some(call) = &mut self.call else { return };
        call.set_now(world.now());
        let mut events = Vec::new();
        // The library takes one packet of a stream at a time.
        for packet in packets {
            if call.write(&packet.outgoing()) && !self.is_silenced {
                world.media(&MediaFact::Sent(packet.tag));
            }
            events.extend(call.advance(world.now()));
        }
        self.on_call(world, events);
    }

    fn arm(&mut self, world: &mut Physics) {
        let Some(call) = &self.call else { return };
        let due = call.due();
        if self.wake_at.is_none_or(|at| due < at) {
            self.wake_at = Some(due);
            let after = due.saturating_since(world.now());
            self.wake(world, after, CALL);
        }
    }

    fn wake(&self, world: &mut Physics, after: Duration, what: u64) {
        world.wake(self.me, after, u64::from(self.calls) << 3 | what);
    }

    fn tell(&self, world: &mut Physics, step: Step) {
        let peer = self.index;
        world.line(Lane::Client(LANES + peer), || format!("{step:?}"));
        world.media(&MediaFact::Step { peer, step });
    }

    /// Goes away, as its plan says.
    fn exit(&mut self, world: &mut Physics) {
        if self.stage >= Stage::Out && !self.api.is_open() {
            return;
        }
        // One that is silent stays until it is told that it was given up.
        let must_wait = self.is_silenced && self.call.is_some() && self.plan.exit != Exit::Vanish;
        if must_wait && !std::mem::replace(&mut self.has_waited, true) {
            world.wake(self.me, SILENCE_WAIT, EXIT);
            return;
        }
        match self.plan.exit {
            Exit::Vanish => self.vanish(world),
            Exit::Destroy => {
                self.end_call(world);
                self.go(world, api::Ask::Destroy, "destroy");
            }
            Exit::Detach => {
                self.go(world, api::Ask::Detach, "detach");
                self.end_call(world);
            }
        }
    }

    fn go(&mut self, world: &mut Physics, ask: api::Ask, verb: &str) {
        self.stage = Stage::Out;
        self.watching = 0;
        self.tell(world, Step::Watches(0));
        self.tell(world, Step::Leaves);
        let body = serde_json::json!({"janus": verb});
        self.api.ask(world, ask, body);
    }

    fn vanish(&mut self, world: &mut Physics) {
        self.stop_sending(world);
        self.tell(world, Step::Silent);
        self.tell(world, Step::Watches(0));
        self.stage = Stage::Gone;
        self.call = None;
        self.calls += 1;
        self.api.close(world);
    }
}

/// The numbers of peers among the clients of a record begin here.
pub const LANES: u32 = 500;

impl Model for Peer {
    fn start(&mut self, world: &mut Physics) {
        self.stage = Stage::Joining;
        self.tell(world, Step::Joins);
        let body = serde_json::json!({"janus": "create"});
        self.api.ask(world, api::Ask::Create, body);
        let lasts = self.plan.until.saturating_since(world.now());
        world.wake(self.me, lasts, EXIT);
    }

    fn notice(&mut self, world: &mut Physics, socket: Socket, notice: Notice) {
        for news in self.api.notice(world, socket, notice) {
            self.on_news(world, news);
        }
    }

    fn timer(&mut self, world: &mut Physics, token: u64) {
        let (what, call) = (token & 7, token >> 3);
        if what == EXIT {
            self.exit(world);
            return;
        }
        if call != u64::from(self.calls) || self.stage == Stage::Gone {
            return;
        }
        match what {
            CALL if self.wake_at.is_some_and(|at| at <= world.now()) => {
                self.wake_at = None;
                if let Some(call) = &mut self.call {
                    let events = call.advance(world.now());
                    self.on_call(world, events);
                }
            }
            SOUND if self.is_sending => self.send_sound(world),
            PICTURE if self.is_sending => self.send_picture(world),
            RETRY => self.retry(world),
            _ => {}
        }
    }

    fn datagram(&mut self, world: &mut Physics, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if self.stage == Stage::Gone || self.is_silenced {
            return;
        }
        let Some(call) = self.call.as_mut().filter(|call| call.address() == to) else {
            return;
        };
        let events = call.receive(world.now(), from, bytes);
        self.on_call(world, events);
    }

    fn act(&mut self, world: &mut Physics, what: crate::faults::media::ActKind) {
        self.carry_out(world, what);
    }

    fn leave(&mut self, world: &mut Physics) {
        self.exit(world);
        if self.stage < Stage::Gone {
            self.stage = Stage::Out;
        }
    }

    fn link(&self, _link: scenario::Link) -> Option<Socket> {
        None
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}
