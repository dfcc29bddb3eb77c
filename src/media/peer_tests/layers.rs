//! Simulcast.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one kind of event"
)]

use super::*;
use crate::media::packet::PayloadForm;
use crate::media::peer_ext::HeaderValues;
use crate::media::rewriter::SourceKey;
use crate::wire::rtp::{LayerFacts, VideoCodec};

#[test]
fn simulcast_encodings_are_told_apart_and_switched() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add_simulcast(api)));
    assert_eq!(answer.media[0].rids.len(), 3);
    // This client takes rids in an answer for those of what it receives; a browser does not.
    let ours = answer.media[0].ssrcs[0].id;
    let mut api = call.client.rtc.direct_api();
    api.expect_stream_rx(ours.into(), None, mids[0], None);
    let route = call.echo(0);
    call.connect();
    let pt = pt_of(&answer, 0);
    let mut seq = 0_u64;
    let mut frame = |call: &mut Call, keys: [bool; 3]| {
        seq += 1;
        for (index, rid) in ["l", "m", "h"].into_iter().enumerate() {
            // Each encoding counts its packets, its time and its pictures on its own.
            let start = [100, 5_000, 20_000][index] + seq;
            let picture = [10, 40, 90][index] + seq as u8;
            let payload = if keys[index] {
                vp8_key(picture)
            } else {
                vp8_delta(picture)
            };
            let time = 1_000_000 * index as u32 + 3_000 * seq as u32;
            call.send(mids[0], Some(Rid::from(rid)), pt, start, time, &payload);
        }
        call.run(33);
    };
    frame(&mut call, [true, true, true]);
    for _ in 0..3 {
        frame(&mut call, [false; 3]);
    }
    frame(&mut call, [true; 3]);
    frame(&mut call, [false; 3]);
    assert_eq!(call.media.route_state(route).unwrap().substream, Some(2));
    let lower = LayerTarget {
        substream: 0,
        ..LayerTarget::default()
    };
    let asked = call.client.keyframe_requests;
    call.media.set_layers(call.now, route, lower);
    call.run(600);
    assert!(
        call.client.keyframe_requests > asked,
        "a key frame is needed"
    );
    frame(&mut call, [false; 3]);
    assert_eq!(
        call.media.route_state(route).unwrap().substream,
        Some(2),
        "not yet"
    );
    frame(&mut call, [true, false, false]);
    frame(&mut call, [false; 3]);
    assert_eq!(call.media.route_state(route).unwrap().substream, Some(0));
    let layers: Vec<_> = call
        .events
        .iter()
        .filter_map(|event| match event {
            PeerEvent::Layers { substream, .. } => *substream,
            _ => None,
        })
        .collect();
    assert_eq!(layers.last(), Some(&0));
    // What the client sees is one stream without a break.
    let packets = &call.client.packets;
    assert!(packets.len() >= 8, "{}", packets.len());
    for pair in packets.windows(2) {
        assert_eq!(*pair[1].seq_no, *pair[0].seq_no + 1);
        assert!(
            pair[1]
                .header
                .timestamp
                .wrapping_sub(pair[0].header.timestamp)
                < 90_000 * 2
        );
        let picture = |packet: &RtpPacket| packet.payload[3];
        assert_eq!(
            picture(&pair[1]),
            picture(&pair[0]).wrapping_add(1),
            "picture id"
        );
    }
    let receiving = |event: &PeerEvent| match event {
        PeerEvent::Media {
            receiving: true,
            substream,
            ..
        } => substream.is_some(),
        _ => false,
    };
    assert_eq!(call.count(receiving), 3);
}

#[test]
fn encodings_may_be_named_by_a_group_of_sources() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let mut api = call.client.rtc.sdp_api();
    mids.push(add(&mut api, RtcKind::Video));
    let (offer, pending) = api.apply().unwrap();
    let mut text = offer.to_sdp_string();
    text = text
        .lines()
        .filter(|line| !line.starts_with("a=ssrc"))
        .fold(String::new(), |text, line| text + line + "\r\n");
    let sources = [71_001_u32, 71_002, 71_003];
    text += "a=ssrc-group:SIM 71001 71002 71003\r\n";
    for ssrc in sources {
        text += &format!("a=ssrc:{ssrc} cname:x\r\n");
    }
    let answer = call.answer(&text, pending);
    let route = call.echo(0);
    let rids = ["a", "b", "c"].map(Rid::from);
    for (ssrc, rid) in sources.into_iter().zip(rids) {
        let mut api = call.client.rtc.direct_api();
        api.declare_stream_tx(ssrc.into(), None, mids[0], Some(rid));
    }
    call.connect();
    let pt = pt_of(&answer, 0);
    for (index, rid) in rids.into_iter().enumerate() {
        call.send(mids[0], Some(rid), pt, 10, 1, &vp8_key(1));
        let substream = Some(index as u8);
        let told = |event: &PeerEvent| match event {
            PeerEvent::Media {
                substream: told, ..
            } => *told == substream,
            _ => false,
        };
        assert_eq!(call.count(told), 1, "{:?}", call.events);
    }
    assert_eq!(call.media.route_state(route).unwrap().substream, Some(2));
    assert_eq!(
        call.media.state(call.peer()).unwrap().lines[0]
            .as_ref()
            .unwrap()
            .encodings,
        3
    );
}

#[test]
fn what_overtakes_the_first_packet_of_a_key_frame_is_delivered_after_it() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add_simulcast(api)));
    let ours = answer.media[0].ssrcs[0].id;
    let mut api = call.client.rtc.direct_api();
    api.expect_stream_rx(ours.into(), None, mids[0], None);
    call.echo(0);
    call.connect();
    let from = call.line(0);
    let mut come = |encoding: u8, numbers: &[(u64, bool)]| {
        for (sequence, is_first) in numbers {
            let payload = match (is_first, sequence % 10) {
                (true, 0) => vp8_key(1),
                (true, _) => vp8_delta(2),
                (false, _) => vec![0x80, 0xe0, 0x80, 1, 1, 0, *sequence as u8],
            };
            let packet = MediaPacket {
                line: from.line,
                encoding,
                is_simulcast: true,
                source: SourceKey(u64::from(encoding)),
                sequence: *sequence,
                timestamp: 3_000 * (*sequence / 3) as u32,
                marker: false,
                form: PayloadForm::Plain,
                facts: LayerFacts::read(VideoCodec::Vp8, &payload),
                payload: payload.into(),
                vp8: None,
                values: HeaderValues::new(ExtensionValues::default()),
            };
            call.media.batch.push((from.peer, packet));
            call.run(5);
        }
        let packets = std::mem::take(&mut call.client.packets);
        let numbers = packets.iter().map(|packet| *packet.seq_no);
        numbers.collect::<Vec<_>>()
    };
    let first = come(0, &[(10, true), (11, false)]);
    let next = first[0] + 2;
    assert_eq!(first, [next - 2, next - 1]);
    // The first packet of a better encoding comes last, and what follows its key frame before it.
    let overtaken = come(
        2,
        &[
            (39, false),
            (42, false),
            (43, true),
            (41, false),
            (40, true),
        ],
    );
    assert_eq!(overtaken, [next, next + 1, next + 2, next + 3]);
    assert_eq!(come(2, &[(44, false)]), [next + 4]);
}
