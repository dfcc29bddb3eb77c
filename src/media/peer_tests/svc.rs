//! Layers of one stream (SVC).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one kind of event"
)]

use super::*;
use crate::media::peer_ext::{DEPENDENCIES, Dependencies, extension};
use crate::wire::rtp::descriptors;

/// A call that is up with one line of video that comes back, and how far the client has come.
struct Echo {
    call: Call,
    mid: Mid,
    pt: u8,
    route: RouteId,
    seq: u64,
    picture: u8,
}

impl Echo {
    fn new(client: impl FnOnce(RtcConfig) -> RtcConfig) -> Self {
        let mut call = Call::with(|_, _| {}, |config| client(config.clear_codecs()));
        let mut mids = Vec::new();
        let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
        let route = call.echo(0);
        call.connect();
        Self {
            call,
            mid: mids[0],
            pt: pt_of(&answer, 0),
            route,
            seq: 100,
            picture: 0,
        }
    }

    fn vp9() -> Self {
        Self::new(|config| config.enable_vp9(true))
    }

    fn packet(&mut self, payload: &[u8], marker: bool, values: ExtensionValues) {
        let call = &mut self.call;
        self.seq += 1;
        let at = call.anchor.instant(call.now.monotonic);
        let time = 3_000 * u32::from(self.picture);
        let mut api = call.client.rtc.direct_api();
        let stream = api.stream_tx_by_mid(self.mid, None).unwrap();
        let write = RtpWrite::new(self.pt.into(), self.seq.into(), time, at, payload);
        stream.write_rtp(write.nackable(true).marker(marker).ext_vals(values));
        call.client.rtc.handle_input(Input::Timeout(at)).unwrap();
        call.exchange();
    }

    /// Sends a picture of three layers, 33 ms after the last one. Says which layers came back.
    fn picture(&mut self, is_key: bool) -> Vec<u8> {
        let before = self.call.client.packets.len();
        self.picture += 1;
        for spatial in 0..3 {
            let inter = u8::from(!is_key) << 6;
            let layers = 1 << 4 | spatial << 1 | u8::from(spatial > 0);
            let payload = [0b1010_1100 | inter, self.picture & 0x7f, layers, 0, 9];
            self.packet(&payload, spatial == 2, ExtensionValues::default());
        }
        self.call.run(33);
        let packets = &self.call.client.packets[before..];
        packets
            .iter()
            .map(|packet| packet.payload[2] >> 1 & 7)
            .collect()
    }

    fn want(&mut self, spatial: u8) {
        let target = LayerTarget {
            substream: spatial,
            ..LayerTarget::default()
        };
        let now = self.call.now;
        self.call.media.set_layers(now, self.route, target);
    }

    fn asked(&mut self) -> usize {
        std::mem::take(&mut self.call.client.keyframe_requests)
    }

    /// The spatial layers that were told of.
    fn told(&self) -> Vec<u8> {
        let layers = self.call.events.iter().filter_map(|event| match event {
            PeerEvent::Layers {
                form: LayerForm::Spatial,
                substream,
                ..
            } => *substream,
            _ => None,
        });
        layers.collect()
    }

    /// What came back is one stream without a break, and the last packet of each picture is marked.
    fn check(&self) {
        let packets = &self.call.client.packets;
        for pair in packets.windows(2) {
            let [one, other] = [&pair[0], &pair[1]];
            assert_eq!(*other.seq_no, *one.seq_no + 1);
            let is_other = one.header.timestamp != other.header.timestamp;
            assert_eq!(one.header.marker, is_other, "{}", *one.seq_no);
        }
        assert!(packets.last().unwrap().header.marker);
    }
}

#[test]
fn spatial_layers_are_taken_out_and_come_back_at_a_key_frame() {
    let mut echo = Echo::vp9();
    assert_eq!(echo.picture(true), [0, 1, 2]);
    assert_eq!(echo.picture(false), [0, 1, 2]);
    echo.want(0);
    assert_eq!(echo.picture(false), [0]);
    echo.call.run(1_000);
    echo.asked();
    echo.picture(false);
    echo.want(2);
    echo.call.run(600);
    assert!(echo.asked() > 0, "a key frame is needed");
    assert_eq!(echo.picture(false), [0]);
    assert_eq!(echo.picture(true), [0, 1, 2]);
    assert_eq!(echo.told(), [0, 1, 2, 0, 1, 2]);
    echo.call.run(600);
    echo.asked();
    for _ in 0..60 {
        assert_eq!(echo.picture(false), [0, 1, 2]);
    }
    assert_eq!(echo.asked(), 0, "all is as it should be");
    echo.check();
}

#[test]
fn two_switches_shortly_after_another_both_take_effect() {
    let mut echo = Echo::vp9();
    echo.picture(true);
    echo.want(0);
    assert_eq!(echo.picture(false), [0]);
    echo.call.run(200);
    echo.want(1);
    assert_eq!(echo.picture(false), [0]);
    echo.call.run(500);
    assert!(echo.asked() > 0);
    assert_eq!(echo.picture(true), [0, 1]);
    echo.check();
}

#[test]
fn a_receiver_that_lost_a_picture_gets_its_key_frame_whatever_layer_it_has() {
    let mut echo = Echo::vp9();
    echo.picture(true);
    echo.call.run(600);
    echo.asked();
    let ssrc = echo.call.client.packets[0].header.ssrc;
    let mut api = echo.call.client.rtc.direct_api();
    let stream = api.stream_rx(&ssrc).unwrap();
    stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
    echo.call.run(100);
    assert_eq!(echo.asked(), 1);
}

#[test]
fn after_a_pause_a_key_frame_is_asked_for_until_it_comes() {
    let mut echo = Echo::vp9();
    echo.picture(true);
    let now = echo.call.now;
    echo.call
        .media
        .set_route_enabled(now, echo.route, Enabled::No);
    assert!(echo.picture(false).is_empty());
    echo.call.run(1_000);
    echo.asked();
    let now = echo.call.now;
    echo.call
        .media
        .set_route_enabled(now, echo.route, Enabled::Yes);
    for _ in 0..60 {
        assert!(echo.picture(false).is_empty(), "it cannot be decoded");
    }
    assert!(echo.asked() >= 4);
    assert_eq!(echo.picture(true), [0, 1, 2]);
    echo.call.run(1_000);
    echo.asked();
    echo.picture(false);
    echo.call.run(2_000);
    assert_eq!(echo.asked(), 0);
    echo.check();
}

#[test]
fn av1_is_told_apart_by_its_descriptors() {
    let dependencies = || extension(DEPENDENCIES).unwrap();
    let mut echo = Echo::new(|config| config.enable_av1(true).set_extension(9, dependencies()));
    let mut frame = 0;
    let mut picture = |echo: &mut Echo, templates: [u8; 2]| {
        let before = echo.call.client.packets.len();
        echo.picture += 1;
        for template in templates {
            let descriptor = if template == 0 {
                descriptors::key(frame)
            } else {
                descriptors::delta(template, frame)
            };
            frame += 1;
            let mut values = ExtensionValues::default();
            values.user_values.set(Dependencies(descriptor.into()));
            echo.packet(&[0x10, template], template > 2, values);
        }
        echo.call.run(33);
        let packets = &echo.call.client.packets[before..];
        packets
            .iter()
            .map(|packet| packet.payload[1])
            .collect::<Vec<u8>>()
    };
    assert_eq!(picture(&mut echo, [0, 3]), [0, 3]);
    assert_eq!(picture(&mut echo, [2, 5]), [2, 5]);
    echo.want(0);
    assert_eq!(picture(&mut echo, [1, 4]), [1]);
    assert_eq!(picture(&mut echo, [2, 5]), [2]);
    echo.want(2);
    echo.call.run(600);
    assert!(echo.asked() > 0);
    assert_eq!(picture(&mut echo, [1, 4]), [1]);
    assert_eq!(picture(&mut echo, [2, 5]), [2]);
    assert_eq!(picture(&mut echo, [0, 3]), [0, 3]);
    assert_eq!(echo.told(), [1, 0, 1]);
    let last = &echo.call.client.packets[0];
    let passed_on = last.header.ext_vals.user_values.get::<Dependencies>();
    assert_eq!(passed_on.unwrap().0[..], descriptors::key(0)[..]);
    echo.check();
}

#[test]
fn a_sender_that_was_silent_for_long_is_asked_as_soon_as_it_comes_back() {
    let mut echo = Echo::vp9();
    echo.picture(true);
    let now = echo.call.now;
    echo.call
        .media
        .set_route_enabled(now, echo.route, Enabled::No);
    assert!(echo.picture(false).is_empty());
    echo.call.run(1_000);
    let now = echo.call.now;
    echo.call
        .media
        .set_route_enabled(now, echo.route, Enabled::Yes);
    echo.call.run(29_000);
    echo.asked();
    assert!(echo.picture(false).is_empty());
    assert_eq!(echo.asked(), 1);
    assert_eq!(echo.picture(true), [0, 1, 2]);
}
