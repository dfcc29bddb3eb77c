//! Media that is echoed, and what is told about it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one kind of event"
)]

use super::*;

#[test]
fn audio_and_video_are_echoed() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| {
        mids.push(add(api, RtcKind::Audio));
        mids.push(add(api, RtcKind::Video));
    });
    call.echo(0);
    call.echo(1);
    call.connect();
    for seq in 0..10_u64 {
        let number = seq as u8;
        call.send(
            mids[0],
            None,
            pt_of(&answer, 0),
            100 + seq,
            number.into(),
            &[number; 20],
        );
        call.send(
            mids[1],
            None,
            pt_of(&answer, 1),
            500 + seq,
            number.into(),
            &vp8_key(number),
        );
        call.run(20);
    }
    let of = |mid: &Mid| {
        let line = mids.iter().position(|each| each == mid).unwrap();
        let ssrc = answer.media[line].ssrcs[0].id;
        let packets = call.client.packets.iter();
        packets
            .filter(move |packet| *packet.header.ssrc == ssrc)
            .collect::<Vec<_>>()
    };
    for (index, mid) in mids.iter().enumerate() {
        let packets = of(mid);
        assert_eq!(packets.len(), 10, "line {index}");
        for (number, packet) in packets.iter().enumerate() {
            let expected = *packets[0].seq_no + number as u64;
            assert_eq!(*packet.seq_no, expected);
            assert!(packet.header.marker);
        }
    }
    assert_eq!(of(&mids[0])[3].payload[..], [3; 20]);
    assert_eq!(of(&mids[1])[3].payload[..], vp8_key(3));
    let receiving = |event: &PeerEvent| {
        matches!(
            event,
            PeerEvent::Media {
                receiving: true,
                ..
            }
        )
    };
    assert_eq!(call.count(receiving), 2);
    assert_eq!(call.media.counters().packets_forwarded, 20);
}

#[test]
fn silence_is_told_and_so_is_its_end() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Audio)));
    call.connect();
    call.send(mids[0], None, pt_of(&answer, 0), 1, 1, &[1; 20]);
    call.run(2_500);
    call.send(mids[0], None, pt_of(&answer, 0), 2, 2, &[1; 20]);
    let told = |event: &PeerEvent| match event {
        PeerEvent::Media {
            receiving,
            seconds,
            substream: None,
            ..
        } => Some((*receiving, *seconds)),
        _ => None,
    };
    let told: Vec<_> = call.events.iter().filter_map(told).collect();
    assert_eq!(told, [(true, None), (false, Some(1)), (true, None)]);
}

#[test]
fn losses_of_both_directions_make_a_slow_link() {
    let mut call = Call::with(|config, _| config.slowlink_threshold = 4, |config| config);
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Audio)));
    call.connect();
    call.send(mids[0], None, pt_of(&answer, 0), 1, 1, &[1; 20]);
    call.send(mids[0], None, pt_of(&answer, 0), 9, 9, &[1; 20]);
    call.run(1_500);
    let downlink = |event: &PeerEvent| match event {
        PeerEvent::SlowLink {
            uplink: false,
            lost,
            ..
        } => *lost == 7,
        _ => false,
    };
    assert_eq!(call.count(downlink), 1, "{:?}", call.events);
    // Gaps in what we forward are losses that the client reports.
    call.echo(0);
    for seq in [20, 40, 60] {
        call.send(mids[0], None, pt_of(&answer, 0), seq, seq as u32, &[1; 20]);
        call.run(1_000);
    }
    call.run(3_000);
    let uplink = |event: &PeerEvent| matches!(event, PeerEvent::SlowLink { uplink: true, .. });
    assert!(call.count(uplink) > 0, "{:?}", call.events);
    let statistics = call.media.statistics(call.peer.unwrap()).unwrap();
    let line = &statistics.lines[0];
    assert_eq!(
        (line.kind, line.clock_rate, line.index),
        (TrackKind::Audio, 48_000, 0)
    );
    let received = line.received[0];
    // 7 before 9, 10 before 20, and 19 before each of the others.
    assert_eq!(
        (received.traffic.packets, received.lost),
        (5, 7 + 10 + 19 + 19)
    );
    assert_eq!(
        (line.sent.traffic.packets, line.sent.traffic.bytes),
        (3, 60)
    );
    assert!(line.sent.lost > 0, "the client reports losses");
    // Nothing came in the last second.
    assert_eq!((received.bytes_lately, received.media_quality), (0, 100));
}

#[test]
fn the_last_statistics_come_before_the_end() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Audio)));
    call.connect();
    call.send(mids[0], None, pt_of(&answer, 0), 1, 1, &[1; 20]);
    call.run(100);
    call.client.rtc.close().unwrap();
    call.run(100);
    let [.., PeerEvent::Statistics(last), PeerEvent::Hangup { .. }] = &call.events[..] else {
        panic!("no statistics before the end: {:?}", call.events);
    };
    assert_eq!(last.lines[0].received[0].traffic.packets, 1);
}

#[test]
fn a_muted_route_leaves_no_gap_and_asks_for_a_key_frame() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
    let route = call.echo(0);
    call.connect();
    let pt = pt_of(&answer, 0);
    call.send(mids[0], None, pt, 1, 3_000, &vp8_key(1));
    call.media.set_route_enabled(call.now, route, Enabled::No);
    call.run(600);
    for seq in 2..6 {
        call.send(
            mids[0],
            None,
            pt,
            seq,
            3_000 * seq as u32,
            &vp8_delta(seq as u8),
        );
    }
    let asked = call.client.keyframe_requests;
    call.media.set_route_enabled(call.now, route, Enabled::Yes);
    call.run(20);
    assert_eq!(call.client.keyframe_requests, asked + 1);
    call.send(mids[0], None, pt, 6, 18_000, &vp8_key(6));
    call.run(20);
    let numbers: Vec<_> = call
        .client
        .packets
        .iter()
        .map(|packet| (*packet.seq_no, packet.header.timestamp))
        .collect();
    assert_eq!(numbers.len(), 2);
    assert_eq!(numbers[1].0, numbers[0].0 + 1);
    assert_eq!(numbers[1].1 - numbers[0].1, 15_000);
}

#[test]
fn a_picture_loss_is_passed_on_to_the_sender() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
    call.echo(0);
    call.connect();
    call.send(mids[0], None, pt_of(&answer, 0), 1, 1, &vp8_key(1));
    call.run(1_000);
    let asked = call.client.keyframe_requests;
    let ssrc = answer.media[0].ssrcs[0].id;
    let mut api = call.client.rtc.direct_api();
    let stream = api.stream_rx(&ssrc.into()).unwrap();
    stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
    call.run(200);
    assert_eq!(call.client.keyframe_requests, asked + 1);
    call.run(1_000);
    assert!(
        call.client.keyframe_requests > asked + 1,
        "repeated until it is seen"
    );
    call.send(mids[0], None, pt_of(&answer, 0), 2, 2, &vp8_key(2));
    let asked = call.client.keyframe_requests;
    call.run(2_000);
    assert_eq!(call.client.keyframe_requests, asked);
}

#[test]
fn the_allowed_bitrate_is_told_and_repeated() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
    call.connect();
    call.send(mids[0], None, pt_of(&answer, 0), 1, 1, &vp8_key(1));
    let peer = call.peer();
    call.media.set_bitrate(call.now, peer, 128_000);
    call.run(100);
    assert_eq!(call.client.rembs, [128_000]);
    call.run(6_000);
    assert_eq!(call.client.rembs, [128_000, 128_000]);
}

#[test]
fn the_first_packets_of_video_are_answered_by_steps_up_to_the_allowed_bitrate() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
    let (now, peer) = (call.now, call.peer());
    call.media.set_bitrate(now, peer, 1_200_000);
    call.connect();
    call.run(6_000);
    assert!(
        call.client.rembs.is_empty(),
        "there is nobody to be told yet"
    );
    for seq in 1..10 {
        let payload = vp8_key(seq);
        call.send(
            mids[0],
            None,
            pt_of(&answer, 0),
            seq.into(),
            seq.into(),
            &payload,
        );
        call.run(20);
    }
    assert_eq!(call.client.rembs, [300_000, 400_000, 600_000, 1_200_000]);
    call.run(5_000);
    assert_eq!(call.client.rembs[4..], [1_200_000]);
    let now = call.now;
    call.media.set_bitrate(now, peer, 500_000);
    call.run(100);
    assert_eq!(call.client.rembs[5..], [500_000], "later ones at once");
}

/// A client that takes VP8, with or without retransmissions in a format of their own.
pub(super) fn vp8_client(rtx: Option<u8>) -> impl FnOnce(RtcConfig) -> RtcConfig {
    move |config| {
        let mut config = config.clear_codecs();
        config.codec_config().add_config(
            96.into(),
            rtx.map(Into::into),
            str0m::format::Codec::Vp8,
            str0m::media::Frequency::NINETY_KHZ,
            None,
            str0m::format::FormatParams::default(),
        );
        config
    }
}

/// The sequence number of RTP of this source, in a datagram that is encrypted.
fn sequence_of(bytes: &[u8], ssrc: u32) -> Option<u16> {
    let layout = crate::wire::rtp::packet::RtpLayout::read(bytes)?;
    (layout.header.ssrc == ssrc).then_some(layout.header.sequence)
}

#[test]
fn what_a_receiver_misses_is_sent_again_with_a_format_for_that_and_without() {
    for rtx in [Some(97), None] {
        let mut call = Call::with(|_, _| {}, vp8_client(rtx));
        let mut mids = Vec::new();
        let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
        let ours = answer.media[0].ssrcs[0].id;
        call.echo(0);
        call.connect();
        let lost = std::cell::RefCell::new(Vec::new());
        for seq in 1..40_u8 {
            // Every eighth packet on its way to the client is lost, once.
            let at = call.anchor.instant(call.now.monotonic);
            let mut api = call.client.rtc.direct_api();
            let stream = api.stream_tx_by_mid(mids[0], None).unwrap();
            let write = RtpWrite::new(
                96.into(),
                u64::from(seq).into(),
                seq.into(),
                at,
                vp8_key(seq),
            );
            stream.write_rtp(write.marker(true));
            call.client.rtc.handle_input(Input::Timeout(at)).unwrap();
            call.exchange_filtered(|bytes| match sequence_of(bytes, ours) {
                Some(sequence) if seq % 8 == 0 && !lost.borrow().contains(&sequence) => {
                    lost.borrow_mut().push(sequence);
                    false
                }
                _ => true,
            });
            call.run(20);
            // This client asks for nothing again otherwise, if it has no format for that.
            let mut api = call.client.rtc.direct_api();
            if let Some(stream) = api.stream_rx(&ours.into()) {
                stream.suppress_nack(false);
            }
        }
        call.run(500);
        assert!(lost.borrow().len() >= 4, "{lost:?}");
        let mut numbers: Vec<u64> = call
            .client
            .packets
            .iter()
            .map(|each| *each.seq_no)
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers.len(), 39, "all came, and none twice: {rtx:?}");
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
        let resent = call.media.counters().packets_resent;
        assert!(resent >= 4, "{resent}");
    }
}

#[test]
fn senders_are_told_what_arrived_and_how_fast() {
    let second = std::time::Duration::from_secs(1);
    let mut call = Call::with(
        |_, _| {},
        |config| {
            let bwe = str0m::bwe::Bitrate::kbps(300);
            config
                .enable_bwe(Some(bwe))
                .set_stats_interval(Some(second))
        },
    );
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| {
        mids.push(add(api, RtcKind::Audio));
        mids.push(add(api, RtcKind::Video));
    });
    call.connect();
    let before = call.client.estimates.len();
    for number in 0..200_u64 {
        // Every tenth number of the sound is missing.
        let seq = 100 + number + number / 9;
        let time = 960 * number as u32;
        call.send(mids[0], None, pt_of(&answer, 0), seq, time, &[7; 20]);
        let payload = [vp8_key(number as u8 & 0x7f), vec![7; 900]].concat();
        let time = 1_800 * number as u32;
        call.send(mids[1], None, pt_of(&answer, 1), number, time, &payload);
        call.run(20);
    }
    call.run(2_500);
    let estimates = &call.client.estimates[before..];
    assert!(
        estimates.len() > 3,
        "feedback on every packet: {estimates:?}"
    );
    let reported = &call.client.reported;
    assert_eq!(reported.iter().max(), Some(&22), "{reported:?}");
}
