//! What rooms want of lines: who talks, refreshed pictures, delays, and audio with copies.

use std::time::Duration;

use super::offering::{Pair, answer, line, offer};
use super::*;
use crate::media::packet::{MediaPacket, PayloadForm};
use crate::media::peer_ext::HeaderValues;
use crate::media::rewriter::SourceKey;
use crate::wire::rtp::LayerFacts;
use crate::wire::sdp::{OfferLine, extension};

#[test]
fn somebody_who_talks_is_noticed_by_the_levels_of_its_packets() {
    let mut pair = Pair::connected();
    let line = pair.publisher.line(0);
    let rule = TalkRule {
        packets_count: 5,
        threshold: 50,
    };
    pair.publisher.media.listen(line, Some(rule));
    let mut say = |level: i8, from: u64| {
        for seq in from..from + 5 {
            let values = ExtensionValues {
                audio_level: Some(level),
                voice_activity: Some(true),
                ..ExtensionValues::default()
            };
            let pt = pt_of(&pair.answer, 0);
            let (mid, time) = (pair.mids[0], seq as u32);
            pair.publisher
                .send_with(mid, None, pt, (seq, time), &[7; 20], values);
        }
        pair.publisher
            .events
            .iter()
            .rev()
            .find_map(|event| match event {
                PeerEvent::Talking { line: 0, talking } => Some(*talking),
                _ => None,
            })
    };
    let talking = |talks, level_hundredths| Talking {
        talks,
        level_hundredths,
    };
    assert_eq!(say(-127, 100), None);
    assert_eq!(say(-10, 105), Some(talking(true, 1_000)));
    assert_eq!(say(-90, 110), Some(talking(false, 9_000)));
    assert!(!pair.publisher.media.talks(line));
}

#[test]
fn a_line_that_is_refreshed_is_asked_for_key_frames_again_and_again() {
    let mut pair = Pair::connected();
    pair.publish(1, 1);
    let (now, line) = (pair.publisher.now, pair.publisher.line(1));
    let interval = Some(Duration::from_secs(5));
    pair.publisher.media.refresh(now, line, interval);
    let asked = |pair: &mut Pair| std::mem::take(&mut pair.publisher.client.keyframe_requests);
    asked(&mut pair);
    pair.publisher.run(4_900);
    assert_eq!(asked(&mut pair), 0);
    pair.publisher.run(200);
    assert_eq!(asked(&mut pair), 1);
    pair.publish(1, 2);
    pair.publisher.run(4_900);
    assert_eq!(asked(&mut pair), 0, "the key frame was seen");
    pair.publisher.run(200);
    assert_eq!(asked(&mut pair), 1);
    let now = pair.publisher.now;
    pair.publish(1, 3);
    pair.publisher.media.refresh(now, line, None);
    pair.publisher.run(20_000);
    assert_eq!(asked(&mut pair), 0);
}

/// The delay that the last packet which the subscriber got came with, in steps of 10 ms.
fn delay_of(call: &Call) -> Option<(u64, u64)> {
    let values = &call.client.packets.last()?.header.ext_vals;
    let (min, max) = values.play_delay_min.zip(values.play_delay_max)?;
    let steps =
        |time: str0m::media::MediaTime| time.rebase(str0m::media::Frequency::HUNDREDTHS).numer();
    Some((steps(min), steps(max)))
}

#[test]
fn receivers_wait_as_the_publisher_or_they_themselves_want_it() {
    let delayed = |codec| {
        let OfferLine::Media(mut media) = line("1", codec, true) else {
            unreachable!("it is media");
        };
        media.extensions.push(extension::PLAYOUT_DELAY);
        OfferLine::Media(media)
    };
    let lines = vec![line("0", "opus", true), delayed("vp8")];
    let mut pair = Pair::offered(lines, |config| {
        let delay = str0m::rtp::Extension::PlayoutDelay;
        config.set_extension(12, delay)
    });
    pair.route(1);
    pair.publish(1, 1);
    assert_eq!(delay_of(&pair.subscriber), None);
    let published = pair.publisher.line(1);
    let delay = |min, max| Some(PlayoutDelay { min, max });
    pair.publisher
        .media
        .set_playout_delay(published, delay(10, 40));
    pair.publish(1, 2);
    assert_eq!(delay_of(&pair.subscriber), Some((10, 40)));
    let subscribed = pair.subscriber.line(1);
    pair.subscriber
        .media
        .set_playout_delay(subscribed, delay(0, 5));
    pair.publish(1, 3);
    assert_eq!(delay_of(&pair.subscriber), Some((0, 5)));
    pair.subscriber.media.set_playout_delay(subscribed, None);
    pair.publish(1, 4);
    assert_eq!(delay_of(&pair.subscriber), Some((10, 40)));
}

#[test]
fn who_does_not_take_copies_gets_the_packet_itself() {
    let mut pair = Pair::connected();
    pair.route(0);
    let from = pair.publisher.line(0);
    let from = pair
        .subscriber
        .media
        .remote_line(super::offering::THERE, from);
    // A copy of two bytes stands before the packet.
    let payload = [0x80 | 111, 0, 0, 2, 111, 1, 2, 9, 9, 9];
    let packet = |payload: &[u8], sequence| MediaPacket {
        line: from.line,
        encoding: 0,
        is_simulcast: false,
        source: SourceKey(7),
        sequence,
        timestamp: 960,
        marker: false,
        form: PayloadForm::Red,
        payload: payload.into(),
        facts: LayerFacts::default(),
        vp8: None,
        values: HeaderValues::new(ExtensionValues::default()),
    };
    let media = &mut pair.subscriber.media;
    media.batch.push((from.peer, packet(&payload, 100)));
    media.batch.push((from.peer, packet(&[0x80], 101)));
    pair.subscriber.run(5);
    let packets = &pair.subscriber.client.packets;
    assert_eq!(packets.len(), 1, "what cannot be read is not sent");
    assert_eq!(*packets[0].header.payload_type, 111);
    assert_eq!(packets[0].payload[..], [9, 9, 9]);
}

#[test]
fn copies_are_sent_to_those_who_answer_that_they_take_them() {
    let mut call = Call::new();
    let OfferLine::Media(mut media) = line("0", "opus", true) else {
        unreachable!("it is media");
    };
    media.has_red = true;
    let lines = || vec![OfferLine::Media(media.clone())];
    let offered = offer(&mut call, lines(), IceRestart::No);
    let codecs: Vec<(u8, Option<&str>)> = offered.media[0]
        .codecs
        .iter()
        .map(|codec| (codec.pt, codec.fmtp.as_deref()))
        .collect();
    assert_eq!(codecs, [(120, Some("111/111")), (111, None)]);
    let red_pt = |call: &Call| {
        let info = call.media.info(call.peer()).expect("there is a peer");
        info.lines[0].as_ref().expect("there is a line").red_pt
    };
    answer(&mut call, &offered);
    let is_taken_by_client = red_pt(&call);

    let offered = offer(&mut call, lines(), IceRestart::No);
    assert_eq!(red_pt(&call), None, "not before the answer");
    let red = offered.media[0].codecs[0].clone();
    let (now, peer) = (call.now, call.peer());
    let mut taken = offered.clone();
    taken.media[0].direction = crate::wire::sdp::Direction::RecvOnly;
    taken.media[0].setup = Some(crate::wire::sdp::Setup::Active);
    call.media.accept_answer(now, peer, &taken).unwrap();
    assert_eq!(red_pt(&call), Some(red.pt));
    let offered = offer(&mut call, lines(), IceRestart::No);
    taken = offered.clone();
    taken.media[0].direction = crate::wire::sdp::Direction::RecvOnly;
    taken.media[0].setup = Some(crate::wire::sdp::Setup::Active);
    taken.media[0].codecs.remove(0);
    call.media.accept_answer(now, peer, &taken).unwrap();
    assert_eq!(red_pt(&call), None);
    assert_eq!(is_taken_by_client, None, "the client does not know it");
}
