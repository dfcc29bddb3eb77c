//! Receivers whose layers follow what they can receive, and those whose do not.

use std::collections::VecDeque;
use std::time::Duration;

use super::offering::{Pair, line};
use super::*;
use crate::media::packet::PayloadForm;
use crate::media::peer_ext::HeaderValues;
use crate::media::rewriter::SourceKey;
use crate::wire::rtp::packet::is_rtcp;
use crate::wire::rtp::{LayerFacts, VideoCodec};
use crate::wire::sdp::OfferLine;

/// A subscriber of three encodings that come from another shard, behind a way of limited rate.
struct Watcher {
    call: Call,
    from: LineRef,
    route: RouteId,
    film: Film,
    frames_count: u64,
    /// Packets of each encoding.
    sent: [u64; 3],
    /// The pictures are in three temporal layers.
    is_timed: bool,
    /// What the client reports is lost.
    is_mute: bool,
    /// Each temporal layer that the client was told of.
    told: Vec<u8>,
    way: Way,
}

/// Bytes of a frame of each encoding, 30 a second.
type Film = [usize; 3];

/// 0.15, 0.5 and 1.9 Mbit/s.
const FILM: Film = [600, 2_000, 8_000];

/// 0.5, 1 and 1.9 Mbit/s: much to see even in the lowest.
const BUSY_FILM: Film = [2_000, 4_000, 8_000];

/// 0.1, 0.3 and 0.7 Mbit/s: little to see.
const PLAIN_FILM: Film = [400, 1_200, 2_900];

const FRAME_MILLIS: u64 = 33;

/// The way to the client, a token bucket. What has to wait for longer than 200 ms is lost.
struct Way {
    /// In bit/s.
    rate: u64,
    /// In bytes.
    burst: u64,
    free_at: Monotonic,
    /// With the moment of arrival.
    queue: VecDeque<(Monotonic, Box<[u8]>)>,
    lost: u64,
    bytes: u64,
}

const QUEUE: Duration = Duration::from_millis(200);

/// IPv4 and UDP.
const HEADERS: u64 = 28;

const WIDE: u64 = 10_000_000;

impl Way {
    fn of(rate: u64, burst: u64) -> Self {
        Self {
            rate,
            burst,
            free_at: Monotonic::from_nanos(0),
            queue: VecDeque::new(),
            lost: 0,
            bytes: 0,
        }
    }

    fn push(&mut self, now: Monotonic, bytes: Box<[u8]>) {
        let saved = self.burst * 8_000_000_000 / self.rate;
        let earliest = Monotonic::from_nanos(now.as_nanos().saturating_sub(saved));
        let begins = self.free_at.max(earliest);
        if begins.saturating_since(now) > QUEUE {
            self.lost += 1;
            return;
        }
        let size = bytes.len() as u64 + HEADERS;
        self.bytes += size;
        self.free_at = begins + Duration::from_nanos(size * 8_000_000_000 / self.rate);
        self.queue.push_back((self.free_at.max(now), bytes));
    }

    fn pop(&mut self, now: Monotonic) -> Option<Box<[u8]>> {
        self.queue
            .pop_front_if(|(at, _)| *at <= now)
            .map(|(_, bytes)| bytes)
    }
}

impl Watcher {
    fn new(adaptive: Enabled, film: Film, (rate, burst): (u64, u64)) -> Self {
        let OfferLine::Media(mut media) = line("0", "vp8", true) else {
            unreachable!("it is media");
        };
        media.codec.feedback.push("transport-cc".to_owned());
        let pair = Pair::offered(vec![OfferLine::Media(media)], |config| config);
        let from = pair.publisher.line(0);
        let mut call = pair.subscriber;
        let from = call.media.remote_line(super::offering::THERE, from);
        let (now, to) = (call.now, call.line(0));
        let route = call.media.route(now, from, to).unwrap();
        call.media.set_adaptive(to.peer, adaptive);
        Self {
            call,
            from,
            route,
            film,
            frames_count: 0,
            sent: [0; 3],
            is_timed: false,
            is_mute: false,
            told: Vec::new(),
            way: Way::of(rate, burst),
        }
    }

    /// Lets so much of the film pass, and says when it was shown in which encoding, in milliseconds
    /// from here. Every frame of the base layer is a key frame, so that nobody waits for one.
    fn watch(&mut self, millis: u64) -> Vec<(u64, u8)> {
        let mut shown = Vec::new();
        for frame in 0..millis / FRAME_MILLIS {
            self.frames_count += 1;
            for (encoding, size) in self.film.into_iter().enumerate() {
                let packets = size.div_ceil(1_000);
                for packet in 0..packets {
                    self.push(encoding as u8, packet, packets, size / packets);
                }
            }
            let end = moment_after(self.call.now, FRAME_MILLIS);
            while self.call.now.monotonic < end.monotonic {
                self.deliver();
                self.step(end);
            }
            if let Some(substream) = self.substream()
                && shown.last().is_none_or(|(_, last)| *last != substream)
            {
                shown.push((frame * FRAME_MILLIS, substream));
            }
        }
        shown
    }

    /// Goes on to the next moment at which anything is due.
    fn step(&mut self, end: Now) {
        let soon = self.call.now.monotonic + Duration::from_micros(20);
        let arrival = self.way.queue.front().map(|(at, _)| *at);
        let due = [self.call.media.deadline(), arrival];
        let due = due.into_iter().flatten().min();
        let client = moment_after(self.call.now, 1).monotonic;
        let next = due.map_or(client, |due| due.clamp(soon, client.max(soon)));
        if next < end.monotonic {
            self.call.now.monotonic = next;
        } else {
            self.call.now = end;
        }
    }

    fn deliver(&mut self) {
        let call = &mut self.call;
        let now = call.now.monotonic;
        let at = call.anchor.instant(now);
        while let Some(bytes) = self.way.pop(now) {
            call.client.receive(at, SERVER.parse().unwrap(), &bytes);
        }
        if call.client.due <= at {
            call.client.rtc.handle_input(Input::Timeout(at)).unwrap();
        }
        call.client.drain();
        for bytes in std::mem::take(&mut call.client.out) {
            if self.is_mute && is_rtcp(&bytes) {
                continue;
            }
            let from = call.client.address;
            call.media.datagram(call.now, SockId(0), from, &bytes);
        }
        let mut out = Datagrams::default();
        call.media.flush(call.now, &mut out);
        while let Some((.., event)) = call.media.next_event() {
            if let PeerEvent::Layers {
                temporal: Some(temporal),
                ..
            } = event
            {
                self.told.push(temporal);
            }
        }
        for datagram in out.iter() {
            self.way.push(now, datagram.bytes.into());
        }
    }

    fn push(&mut self, encoding: u8, packet: usize, packets: usize, size: usize) {
        let picture = self.frames_count as u8 & 0x7f;
        let temporal = self.temporal();
        let mut payload = match (packet, temporal) {
            (0, 0) => vp8_key(picture),
            (0, _) => vp8_delta(picture),
            (_, _) => vec![0x80, 0xe0, 0x80, 0, 0, 0],
        };
        // Each needs the base layer alone.
        payload[5] = temporal << 6 | 1 << 5;
        payload.resize(size, 7);
        let sequence = self.sent[usize::from(encoding)];
        self.sent[usize::from(encoding)] += 1;
        self.call.media.batch.push((
            self.from.peer,
            MediaPacket {
                line: self.from.line,
                encoding,
                is_simulcast: true,
                source: SourceKey(u64::from(encoding)),
                sequence,
                timestamp: 3_000 * self.frames_count as u32,
                marker: packet + 1 == packets,
                form: PayloadForm::Plain,
                facts: LayerFacts::read(VideoCodec::Vp8, &payload),
                payload: payload.into(),
                vp8: None,
                values: HeaderValues::new(ExtensionValues::default()),
            },
        ));
    }

    /// That of the next picture.
    fn temporal(&self) -> u8 {
        if self.is_timed {
            [0, 2, 1, 2][self.frames_count as usize % 4]
        } else {
            0
        }
    }

    /// The encoding that is delivered, and the temporal layer.
    fn layers(&self) -> (Option<u8>, Option<u8>) {
        let state = self.call.media.route_state(self.route).unwrap();
        (state.substream, state.temporal)
    }

    fn substream(&self) -> Option<u8> {
        self.call.media.route_state(self.route).unwrap().substream
    }

    fn adapt(&mut self, adaptive: Enabled) {
        let peer = self.call.peer();
        self.call.media.set_adaptive(peer, adaptive);
    }
}

#[test]
fn adaptive_receivers_begin_low_and_climb_where_the_way_carries_it() {
    let mut watcher = Watcher::new(Enabled::Yes, FILM, (WIDE, 0));
    let shown = watcher.watch(6_000);
    assert_eq!(shown.first(), Some(&(0, 0)), "{shown:?}");
    assert_eq!(shown.last().unwrap().1, 2, "{shown:?}");
}

#[test]
fn a_narrow_way_is_left_room_and_used_again_when_it_is_wide() {
    for (rate, burst, film) in [
        (300_000, 0, FILM),
        (300_000, 0, PLAIN_FILM),
        (400_000, 0, FILM),
        (400_000, 6_000, FILM),
        (1_000_000, 0, FILM),
        (1_000_000, 15_000, FILM),
    ] {
        let mut watcher = Watcher::new(Enabled::Yes, film, (rate, burst));
        // The first probes ask whether there is six times as much.
        watcher.watch(3_000);
        (watcher.way.lost, watcher.way.bytes) = (0, 0);
        let shown = watcher.watch(12_000);
        let what = format!("{film:?} over {rate} bit/s in bursts of {burst}: {shown:?}");
        let fits = if rate == 1_000_000 { 1 } else { 0 };
        assert_eq!(watcher.substream(), Some(fits), "{what}");
        assert!(shown.len() <= 3, "{what}");
        let lost = watcher.way.lost;
        assert!(lost <= if burst > 0 { 20 } else { 0 }, "{what}: {lost}");
        let used = watcher.way.bytes * 8 / 12;
        let most = rate * 85 / 100;
        assert!(used < most, "{what}: {used} bit/s, not {most}");
        watcher.way.rate = WIDE;
        let shown = watcher.watch(9_000);
        assert_eq!(shown.last().unwrap().1, 2, "{what}, then {shown:?}");
    }
}

#[test]
fn no_step_is_made_that_the_way_carries_for_a_moment_only() {
    for (rate, burst) in [
        (1_050_000, 15_000),
        (1_100_000, 15_000),
        (1_150_000, 32_000),
    ] {
        let mut watcher = Watcher::new(Enabled::Yes, FILM, (rate, burst));
        watcher.watch(5_000);
        let shown = watcher.watch(20_000);
        let most = shown.iter().map(|(_, substream)| *substream).max();
        assert_eq!(most, Some(1), "{rate} bit/s: {shown:?}");
    }
}

#[test]
fn pictures_are_left_out_where_the_lowest_encoding_does_not_fit() {
    for (film, rate, burst, expected) in [
        (BUSY_FILM, 250_000, 0, (0, 0)),
        (BUSY_FILM, 400_000, 0, (0, 1)),
        (BUSY_FILM, 700_000, 6_000, (0, 2)),
        (FILM, 500_000, 6_000, (1, 1)),
        (FILM, 1_000_000, 6_000, (1, 2)),
    ] {
        let mut watcher = Watcher::new(Enabled::Yes, film, (rate, burst));
        watcher.is_timed = true;
        watcher.watch(4_000);
        watcher.told.clear();
        watcher.way.lost = 0;
        watcher.watch(12_000);
        let what = format!("{film:?} over {rate} bit/s: {:?}", watcher.told);
        let (substream, temporal) = expected;
        let layers = (Some(substream), Some(temporal));
        assert_eq!(watcher.layers(), layers, "{what}");
        assert!(watcher.told.len() <= 2, "{what}");
        assert_eq!(watcher.way.lost, 0, "{what}");
        watcher.way.rate = WIDE;
        watcher.watch(12_000);
        assert_eq!(watcher.layers(), (Some(2), Some(2)), "{what}");
        assert_eq!(watcher.told.last().unwrap_or(&2), &2, "{what}");
    }
}

#[test]
fn who_does_not_want_it_any_more_is_sent_no_more_padding() {
    let mut watcher = Watcher::new(Enabled::Yes, FILM, (WIDE, 0));
    let padding = |watcher: &Watcher| watcher.call.media.counters().packets_padding;
    // The trial of the highest encoding fills up to a fifth more than that takes.
    watcher.watch(3_200);
    let before = padding(&watcher);
    watcher.watch(500);
    assert!(padding(&watcher) > before + 50, "a trial is on");
    watcher.adapt(Enabled::No);
    let before = padding(&watcher);
    watcher.watch(2_000);
    assert_eq!(padding(&watcher), before);
}

#[test]
fn who_reports_nothing_is_served_without() {
    let mut watcher = Watcher::new(Enabled::Yes, PLAIN_FILM, (WIDE, 0));
    watcher.is_mute = true;
    watcher.watch(5_000);
    assert_eq!(watcher.substream(), Some(2));
}

#[test]
fn only_lines_on_which_the_remote_reports_have_numbers() {
    let reported = |mid: &str, codec: &str| {
        let OfferLine::Media(mut media) = line(mid, codec, true) else {
            unreachable!("it is media");
        };
        media.codec.feedback.push("transport-cc".to_owned());
        OfferLine::Media(media)
    };
    let lines = vec![line("0", "opus", true), reported("1", "vp8")];
    let pair = Pair::offered(lines, |config| config);
    let peer = pair.subscriber.peer();
    let peer = pair.subscriber.media.peers.get(peer).unwrap();
    let lines = peer.lines.iter().flatten();
    let reported: Vec<bool> = lines.map(|line| line.is_reported).collect();
    assert_eq!(reported, [false, true]);
    assert!(peer.adaption.number().is_some());
}

#[test]
fn others_get_all_pictures() {
    let mut watcher = Watcher::new(Enabled::No, BUSY_FILM, (250_000, 0));
    watcher.is_timed = true;
    watcher.watch(2_000);
    assert_eq!(watcher.layers(), (Some(2), Some(2)));
    assert_eq!(watcher.told, [2]);
}

#[test]
fn others_get_what_they_ask_for_at_once_whatever_the_way_carries() {
    let mut watcher = Watcher::new(Enabled::No, FILM, (400_000, 0));
    assert_eq!(watcher.watch(2_600), [(0, 2)]);
    assert!(watcher.way.lost > 0);
}

#[test]
fn a_receiver_may_change_its_mind_about_it() {
    let mut watcher = Watcher::new(Enabled::Yes, FILM, (400_000, 0));
    watcher.watch(3_000);
    assert_eq!(watcher.substream(), Some(0));
    watcher.adapt(Enabled::No);
    watcher.watch(600);
    assert_eq!(watcher.substream(), Some(2));
    watcher.adapt(Enabled::Yes);
    watcher.watch(3_000);
    assert_eq!(watcher.substream(), Some(0));
}
