//! What goes out beside the WebRTC library, and what the library says of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::*;
use crate::media::peer_head::send_time;
use crate::media::peer_tap::TapSpec;
use crate::wire::capture::CaptureForm;
use crate::wire::rtp::packet::{RtpLayout, is_rtcp, is_sender_report};

/// What has gone out, by source and number.
type Sent = BTreeMap<(u32, u16), Vec<u8>>;

/// A call with video that comes back, what went out of it, and how often that was sent again. One
/// packet of nine is lost on the first try.
fn with_losses(rtx: Option<u8>) -> (Call, Sent, u32) {
    let mut call = Call::with(|_, _| {}, super::media::vp8_client(rtx));
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
    let ours = answer.media[0].ssrcs[0].id;
    let send_time_id = answer.media[0].extensions.iter();
    let send_time_id = send_time_id
        .filter(|each| each.uri.ends_with("abs-send-time"))
        .map(|each| each.id)
        .next();
    call.echo(0);
    call.connect();
    let sent = RefCell::new(Sent::new());
    let again = RefCell::new(0);
    let timed = Cell::new(0);
    for seq in 1..200_u64 {
        let payload = vp8_key((seq % 100) as u8);
        let at = call.anchor.instant(call.now.monotonic);
        let mut api = call.client.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mids[0], None).unwrap();
        stream.write_rtp(RtpWrite::new(
            96.into(),
            seq.into(),
            seq as u32 * 900,
            at,
            payload,
        ));
        call.client.rtc.handle_input(Input::Timeout(at)).unwrap();
        for _ in 0..2 {
            let now = call.now.monotonic;
            call.exchange_filtered(|bytes| {
                let Some(layout) = RtpLayout::read(bytes).filter(|_| !is_rtcp(bytes)) else {
                    return true;
                };
                let is_ours = layout.header.ssrc == ours;
                // The client's own packets have another source.
                if !is_ours
                    && !answer.media[0]
                        .ssrcs
                        .iter()
                        .any(|each| each.id == layout.header.ssrc)
                {
                    return true;
                }
                let name = (layout.header.ssrc, layout.header.sequence);
                let former = sent.borrow_mut().insert(name, bytes.to_vec());
                if let Some(former) = &former {
                    assert_eq!(*former, bytes, "one index, two packets");
                }
                let place = send_time_id.and_then(|id| layout.find_extension(bytes, id));
                let shown = place.map(|place| &bytes[place]);
                let is_again = former.is_some() || !is_ours;
                *again.borrow_mut() += u32::from(is_again);
                if former.is_none() && shown.is_some() {
                    timed.set(timed.get() + 1);
                    assert_eq!(shown, Some(&send_time(now)[..]), "of ours: {is_ours}");
                }
                is_again || layout.header.sequence % 9 != 0
            });
            call.now = moment_after(call.now, 5);
        }
        let mut api = call.client.rtc.direct_api();
        if let Some(stream) = api.stream_rx(&ours.into()) {
            stream.suppress_nack(false);
        }
    }
    // Those that show the way do not say when they were sent.
    assert!(timed.get() > 100, "{timed:?}");
    (call, sent.into_inner(), again.into_inner())
}

#[test]
fn no_two_packets_that_differ_have_one_source_and_number() {
    for rtx in [Some(97), None] {
        let (call, sent, again) = with_losses(rtx);
        assert!((20..60).contains(&again), "{again}, {rtx:?}");
        assert_eq!(sent.len() as u32, 199 + rtx.map_or(0, |_| again));
        assert!(call.client.packets.len() >= 195, "{rtx:?}");
    }
}

#[test]
fn media_follows_a_receiver_to_its_new_address() {
    let mut call = Call::with(|config, _| config.ice_lite = true, |config| config);
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
    call.echo(0);
    call.connect();
    let pt = pt_of(&answer, 0);
    let mut number = 0;
    // How long ago the last check was when the first packet came.
    let mut first_after_check = |call: &mut Call, count: u32| {
        let checked_at = Cell::new(call.now.monotonic);
        let before = call.client.packets.len();
        for _ in 0..count {
            number += 1;
            let at = call.anchor.instant(call.now.monotonic);
            let mut api = call.client.rtc.direct_api();
            let stream = api.stream_tx_by_mid(mids[0], None).unwrap();
            let payload = vp8_key((number % 100) as u8);
            let seq = u64::from(number).into();
            stream.write_rtp(RtpWrite::new(pt.into(), seq, number * 900, at, payload));
            call.client.rtc.handle_input(Input::Timeout(at)).unwrap();
            let now = call.now.monotonic;
            call.exchange_filtered(|bytes| {
                if stun::is_stun(bytes) {
                    checked_at.set(now);
                }
                true
            });
            if call.client.packets.len() > before {
                return now.saturating_since(checked_at.get());
            }
            call.now = moment_after(call.now, 10);
        }
        panic!("no packet came of {count}");
    };
    first_after_check(&mut call, 10);
    call.run(1_500);
    // Its router gives it another address. The library finds it there within some 15 s, by a check.
    call.seen_at = "198.51.100.7:40000".parse().unwrap();
    let late = first_after_check(&mut call, 2_500);
    assert!(late.as_millis() <= 20, "{late:?}");
    call.strays.clear();
    first_after_check(&mut call, 2);
    assert!(call.strays.is_empty());
}

#[test]
fn reports_count_what_went_out_beside_the_library() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| {
        mids.push(add(api, RtcKind::Audio));
        mids.push(add(api, RtcKind::Video));
    });
    call.echo(0);
    call.echo(1);
    call.connect();
    call.media.tap(
        call.now,
        OWNER,
        TapSpec {
            form: CaptureForm::Pcapng,
            kept: usize::MAX,
            waiting_bytes: 1_000_000,
        },
    );
    for number in 0..100_u32 {
        let seq = u64::from(number) + 7;
        call.send(
            mids[0],
            None,
            pt_of(&answer, 0),
            seq,
            480 * number,
            &[1; 20],
        );
        let payload = vp8_key(number as u8);
        call.send(
            mids[1],
            None,
            pt_of(&answer, 1),
            seq,
            900 * number,
            &payload,
        );
        call.run(10);
    }
    // Until the next reports; time goes on in them.
    call.media.take_tapped(OWNER);
    call.run(1_000);
    let out = super::capture::packets(&call.media.take_tapped(OWNER));
    let mut found = Vec::new();
    for (_, bytes) in out
        .iter()
        .filter(|(way, bytes)| *way == 2 && is_sender_report(bytes))
    {
        let mut rest = &bytes[..];
        while let [_, kind, high, low, ..] = *rest {
            let (packet, others) =
                rest.split_at(4 * usize::from(u16::from_be_bytes([high, low])) + 4);
            rest = others;
            if kind == 200 {
                let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
                found.push((word(4), word(16), word(20), word(24)));
            }
        }
    }
    for (line, clock, bytes) in [(0, 48, 20), (1, 90, 10)] {
        let ssrc = answer.media[line].ssrcs[0].id;
        let mut of_line = found.iter().filter(|each| each.0 == ssrc);
        let &(_, time, packets, octets) = of_line.next().unwrap();
        assert_eq!((packets, octets), (100, 100 * bytes), "line {line}");
        // The last packet was sent 10 ms before, and up to a second has passed.
        let last = 99 * 10 * clock;
        let range = last..last + 1_010 * clock;
        assert!(range.contains(&time), "{time} of {range:?}");
        assert!(time > last + clock, "time goes on");
    }
}
