//! Two clients of one server, and what passes between them.

use str0m::rtp::VideoOrientation;

use super::*;

/// Two clients that are up with audio and video, and the payload types of the first.
fn pair() -> ([Call; 2], [Mid; 2], [u8; 2]) {
    let mut one = Call::new();
    let mut mids = Vec::new();
    let mut offer = |api: &mut str0m::change::SdpApi<'_>| {
        mids = vec![add(api, RtcKind::Audio), add(api, RtcKind::Video)];
    };
    let answer = one.negotiate(&mut offer);
    let mids = [mids[0], mids[1]];
    one.connect();
    let mut two = Call::at("192.0.2.21:30000", |_, _| {}, |config| config);
    two.now = one.now;
    std::mem::swap(&mut one.media, &mut two.media);
    two.negotiate(|api| {
        add(api, RtcKind::Audio);
        add(api, RtcKind::Video);
    });
    two.connect();
    std::mem::swap(&mut one.media, &mut two.media);
    one.now = two.now;
    let pts = [pt_of(&answer, 0), pt_of(&answer, 1)];
    ([one, two], mids, pts)
}

/// Delivers to `two` what the server sent it while `one` had its turn.
fn deliver(one: &mut Call, two: &mut Call) {
    two.now = one.now;
    let at = two.anchor.instant(two.now.monotonic);
    for datagram in std::mem::take(&mut one.strays) {
        if datagram.to == two.client.address {
            two.client
                .receive(at, SERVER.parse().unwrap(), &datagram.bytes);
        }
    }
}

#[test]
fn what_one_sends_the_other_gets_with_its_level_and_orientation() {
    let ([mut one, mut two], mids, pts) = pair();
    for line in 0..2 {
        one.media
            .route(one.now, one.line(line), two.line(line))
            .unwrap();
    }
    for number in 0..10_u8 {
        let seq = 100 + u64::from(number);
        let audio = ExtensionValues {
            audio_level: Some(-i8::try_from(number).unwrap() - 30),
            voice_activity: Some(number % 2 == 0),
            ..ExtensionValues::default()
        };
        one.send_with(
            mids[0],
            None,
            pts[0],
            (seq, 960 * u32::from(number)),
            &[number; 20],
            audio,
        );
        let video = ExtensionValues {
            video_orientation: Some(VideoOrientation::Deg90),
            ..ExtensionValues::default()
        };
        let time = 3_000 * u32::from(number);
        one.send_with(mids[1], None, pts[1], (seq, time), &vp8_key(number), video);
        one.run(20);
        deliver(&mut one, &mut two);
    }
    assert!(one.client.packets.is_empty(), "nothing comes back");
    let is_audio = |packet: &&RtpPacket| packet.payload.len() == 20;
    let audio: Vec<_> = two.client.packets.iter().filter(is_audio).collect();
    assert_eq!(audio.len(), 10);
    for (number, packet) in audio.iter().enumerate() {
        let values = &packet.header.ext_vals;
        assert_eq!(packet.payload[..], [number as u8; 20]);
        assert_eq!(values.audio_level, Some(-30 - number as i8));
        assert_eq!(values.voice_activity, Some(number % 2 == 0));
    }
    let video = two.client.packets.iter().filter(|packet| !is_audio(packet));
    let video: Vec<_> = video.collect();
    assert_eq!(video.len(), 10);
    for (number, packet) in video.iter().enumerate() {
        let orientation = packet.header.ext_vals.video_orientation;
        assert_eq!(packet.payload[..], vp8_key(number as u8));
        assert_eq!(orientation, Some(VideoOrientation::Deg90));
    }
}

#[test]
fn the_end_of_one_leaves_the_other_its_call() {
    let ([mut one, mut two], mids, pts) = pair();
    let route = one.media.route(one.now, one.line(0), two.line(0)).unwrap();
    let peer = two.peer();
    one.media.close(one.now, peer);
    one.run(20);
    assert_eq!(one.media.route_state(route), None);
    one.echo(0);
    one.send(mids[0], None, pts[0], 7, 7, &[7; 20]);
    one.run(20);
    assert_eq!(one.client.packets.len(), 1);
    deliver(&mut one, &mut two);
    assert!(two.client.packets.is_empty());
    assert!(!two.client.rtc.is_alive(), "it was told goodbye");
}
