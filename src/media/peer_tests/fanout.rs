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
    for datagram in std::mem::take(&mut one.strays).iter() {
        if datagram.to == two.client.address {
            two.client
                .receive(at, SERVER.parse().unwrap(), datagram.bytes);
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

/// Gives the server more packets of the first client's video than one flush sends, for both
/// clients, and flushes once. Says how many went to each.
fn begin_long_batch(one: &mut Call, two: &Call, mid: Mid, pt: u8) -> [usize; 2] {
    let source = one.line(1);
    one.echo(1);
    one.media.route(one.now, source, two.line(1)).unwrap();
    let at = one.anchor.instant(one.now.monotonic);
    let mut api = one.client.rtc.direct_api();
    let stream = api.stream_tx_by_mid(mid, None).unwrap();
    for number in 0..LONG_BATCH as u64 {
        let time = 3_000 * number as u32;
        let payload = [number as u8; 20];
        stream.write_rtp(RtpWrite::new(
            pt.into(),
            (100 + number).into(),
            time,
            at,
            payload,
        ));
    }
    one.client.rtc.handle_input(Input::Timeout(at)).unwrap();
    one.client.drain();
    for bytes in std::mem::take(&mut one.client.out) {
        one.media
            .datagram(one.now, SockId(0), one.client.address, &bytes);
    }
    flush_once(one, two)
}

const LONG_BATCH: usize = FLUSH_DATAGRAMS + 20;

fn flush_once(one: &mut Call, two: &Call) -> [usize; 2] {
    let mut out = Datagrams::default();
    one.media.flush(one.now, &mut out);
    let counts = [one.client.address, two.client.address]
        .map(|to| out.iter().filter(|each| each.to == to).count());
    for Datagram { sock, to, bytes } in out.iter() {
        one.strays.push(sock, to, bytes);
    }
    counts
}

#[test]
fn what_does_not_fit_into_one_flush_is_due_at_once() {
    let ([mut one, mut two], mids, pts) = pair();
    let first = begin_long_batch(&mut one, &two, mids[1], pts[1]);
    assert!(first[0] >= LONG_BATCH && first[1] == 0, "{first:?}");
    assert!(one.media.deadline() <= Some(one.now.monotonic), "due");
    let second = flush_once(&mut one, &two);
    assert!(second[1] >= LONG_BATCH, "{second:?}");
    assert!(one.media.deadline() > Some(one.now.monotonic), "all done");
    deliver(&mut one, &mut two);
    let packets = &two.client.packets;
    assert_eq!(packets.len(), LONG_BATCH);
    assert!(packets.is_sorted_by_key(|packet| *packet.seq_no));
}

#[test]
fn what_is_muted_amid_a_batch_is_not_sent_any_more() {
    let ([mut one, two], mids, pts) = pair();
    let first = begin_long_batch(&mut one, &two, mids[1], pts[1]);
    assert!(first[0] >= LONG_BATCH && first[1] == 0, "{first:?}");
    let (now, line) = (one.now, one.line(1));
    one.media.set_line_enabled(now, line, Enabled::No);
    assert_eq!(flush_once(&mut one, &two)[1], 0);
    assert!(one.media.deadline() > Some(now.monotonic), "all done");
}
