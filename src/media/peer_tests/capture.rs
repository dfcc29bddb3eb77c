//! Captures of a call, with the keys of its handshake.

use super::*;
use crate::media::peer_tap::TapSpec;
use crate::wire::capture::CaptureForm;

const SPEC: TapSpec = TapSpec {
    form: CaptureForm::Pcapng,
    kept: usize::MAX,
    waiting_bytes: 100_000,
};

/// Directions and UDP payloads of the packets in a piece of a file.
pub(super) fn packets(mut file: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    let mut found = Vec::new();
    while !file.is_empty() {
        let size = number(&file[4..]);
        assert_eq!(number(file), 6, "a packet");
        let kept = number(&file[20..]);
        let direction = file[size - 12];
        found.push((direction, file[28 + 28..28 + kept].to_vec()));
        file = &file[size..];
    }
    found
}

#[test]
fn what_comes_and_goes_is_captured_in_the_clear() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
    call.echo(0);
    call.connect();
    let pt = pt_of(&answer, 0);
    // Another round of sequence numbers has begun before the capture does.
    for seq in 65_530..65_540 {
        call.send(mids[0], None, pt, seq, 1, &vp8_key(1));
    }
    call.media.tap(call.now, OWNER, SPEC);
    for seq in 65_540..65_543 {
        call.send(mids[0], None, pt, seq, 2, &vp8_key(2));
        call.run(20);
    }
    call.run(2_000);
    let packets = packets(&call.media.take_tapped(OWNER));
    let is_rtcp = |bytes: &[u8]| (192..224).contains(&bytes[1]);
    for direction in [1, 2] {
        let of = packets.iter().filter(|packet| packet.0 == direction);
        let (rtcp, rtp): (Vec<_>, Vec<_>) = of.partition(|packet| is_rtcp(&packet.1));
        assert_eq!(rtp.len(), 3, "direction {direction}");
        assert!(rtp.iter().all(|packet| packet.1.ends_with(&vp8_key(2))));
        assert!(!rtcp.is_empty(), "reports, direction {direction}");
        // Each says how long it is, and together they fill the datagram.
        for (_, bytes) in rtcp {
            let mut rest = &bytes[..];
            while let [_, kind, high, low, ..] = *rest {
                assert!((200..=207).contains(&kind), "{bytes:?}");
                rest = &rest[4 * usize::from(u16::from_be_bytes([high, low])) + 4..];
            }
            assert!(rest.is_empty());
        }
    }
    let counters = call.media.counters();
    assert_eq!(counters.packets_captured, packets.len() as u64);
    assert_eq!(counters.drops(DropReason::CaptureSealed), 0);
    call.media.untap(OWNER);
    call.send(mids[0], None, pt, 65_543, 3, &vp8_key(3));
    assert!(call.media.take_tapped(OWNER).is_empty());
}

#[test]
fn what_is_not_fetched_is_dropped_and_counted() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let answer = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
    call.connect();
    let spec = TapSpec {
        waiting_bytes: 500,
        ..SPEC
    };
    call.media.tap(call.now, OWNER, spec);
    for seq in 0..20 {
        call.send(mids[0], None, pt_of(&answer, 0), seq, 1, &vp8_key(1));
    }
    assert!(call.media.take_tapped(OWNER).len() < 700);
    assert!(call.media.counters().drops(DropReason::CaptureFull) > 5);
}

#[test]
fn the_handshake_says_how_media_is_encrypted() {
    let mut call = Call::new();
    call.negotiate(|api| {
        add(api, RtcKind::Audio);
    });
    let peer = call.peer();
    assert_eq!(call.media.info(peer).unwrap().srtp_profile, None);
    call.connect();
    let info = call.media.info(peer).unwrap();
    assert_eq!(info.srtp_profile, Some("SRTP_AEAD_AES_256_GCM"));
    assert_eq!(info.dtls_retransmissions, 0);
}
