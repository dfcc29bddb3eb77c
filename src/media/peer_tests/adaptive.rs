//! Receivers whose layers follow what they can receive, and those whose do not.

use super::offering::{Pair, line};
use super::*;
use crate::media::packet::PayloadForm;
use crate::media::peer_ext::HeaderValues;
use crate::media::rewriter::SourceKey;
use crate::wire::rtp::{LayerFacts, VideoCodec};
use crate::wire::sdp::OfferLine;

/// A subscriber of three encodings that come from another shard: some 0.14, 0.5 and 2 Mbit/s.
struct Watcher {
    call: Call,
    from: LineRef,
    route: RouteId,
    frames_count: u64,
    /// What the way to the client carries, in bit/s.
    link: Option<u64>,
}

/// Bytes of a frame of each encoding, 30 a second.
const FRAMES: [usize; 3] = [600, 2_000, 8_000];

impl Watcher {
    fn new(adaptive: Enabled) -> Self {
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
            frames_count: 0,
            link: None,
        }
    }

    /// Lets so much of the film pass. Every frame is a key frame, so that nobody waits for one.
    fn watch(&mut self, millis: u64) {
        for _ in 0..millis / 33 {
            self.frames_count += 1;
            for (encoding, size) in FRAMES.into_iter().enumerate() {
                let packets = size.div_ceil(1_000);
                for packet in 0..packets {
                    self.push(encoding as u8, packet, packets, size / packets);
                }
            }
            let room =
                std::cell::Cell::new(self.link.map_or(u64::MAX, |link| link / 8 * 33 / 1_000));
            for _ in 0..33 {
                self.call.now = moment_after(self.call.now, 1);
                self.call.exchange_filtered(|bytes| {
                    let size = bytes.len() as u64;
                    let fits = size <= room.get() || size < 200;
                    room.set(room.get() - if fits { size.min(room.get()) } else { 0 });
                    fits
                });
            }
        }
    }

    fn push(&mut self, encoding: u8, packet: usize, packets: usize, size: usize) {
        let mut payload = if packet == 0 {
            vp8_key(self.frames_count as u8 & 0x7f)
        } else {
            vec![0x80, 0xe0, 0x80, 0, 0, 0]
        };
        payload.resize(size, 7);
        let first = self.frames_count * 100;
        self.call.media.batch.push((
            self.from.peer,
            MediaPacket {
                line: self.from.line,
                encoding,
                is_simulcast: true,
                source: SourceKey(u64::from(encoding)),
                sequence: first + packet as u64,
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
    let mut watcher = Watcher::new(Enabled::Yes);
    watcher.watch(600);
    assert_eq!(watcher.substream(), Some(0));
    watcher.watch(6_000);
    assert_eq!(watcher.substream(), Some(2));
}

#[test]
fn others_get_what_they_ask_for_at_once_whatever_the_way_carries() {
    let mut watcher = Watcher::new(Enabled::No);
    watcher.link = Some(400_000);
    watcher.watch(600);
    assert_eq!(watcher.substream(), Some(2));
    watcher.watch(2_000);
    assert_eq!(watcher.substream(), Some(2));
}

#[test]
fn a_receiver_may_change_its_mind_about_it() {
    let mut watcher = Watcher::new(Enabled::Yes);
    watcher.link = Some(400_000);
    watcher.watch(3_000);
    assert_eq!(watcher.substream(), Some(0));
    watcher.adapt(Enabled::No);
    watcher.watch(600);
    assert_eq!(watcher.substream(), Some(2));
    watcher.adapt(Enabled::Yes);
    watcher.watch(3_000);
    assert_eq!(watcher.substream(), Some(0));
}
