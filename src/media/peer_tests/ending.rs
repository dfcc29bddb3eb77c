//! How peers end, and who is not heard.

use crate::media::PeerEnd;

use super::*;

#[test]
fn a_close_notify_hangs_up() {
    let mut call = Call::new();
    call.negotiate(|api| {
        add(api, RtcKind::Audio);
    });
    call.echo(0);
    call.connect();
    call.client.rtc.close().unwrap();
    call.run(50);
    assert_eq!(hangup_reason(&call), Some("DTLS alert"));
    assert_eq!(call.media.peers_count(), 0);
    assert_eq!(call.media.deadline(), None, "nothing is left to wait for");
}

#[test]
fn a_client_that_never_comes_is_hung_up() {
    let mut call = Call::new();
    call.negotiate(|api| {
        add(api, RtcKind::Audio);
    });
    call.is_cut = true;
    call.run(44_900);
    assert_eq!(hangup_reason(&call), None);
    call.run(200);
    assert_eq!(hangup_reason(&call), Some("ICE failed"));
}

#[test]
fn a_client_that_vanishes_is_hung_up() {
    for is_lite in [false, true] {
        let mut call = Call::with(|config, _| config.ice_lite = is_lite, |config| config);
        call.negotiate(|api| {
            add(api, RtcKind::Audio);
        });
        call.connect();
        call.is_cut = true;
        call.run(60_000);
        assert_eq!(
            call.count(|event| *event == PeerEvent::IceFailed),
            1,
            "lite: {is_lite}"
        );
        assert_eq!(hangup_reason(&call), Some("ICE failed"), "lite: {is_lite}");
    }
}

#[test]
fn a_handshake_that_stalls_is_hung_up() {
    let mut call = Call::new();
    call.negotiate(|api| {
        add(api, RtcKind::Audio);
    });
    // Only STUN passes.
    for _ in 0..6_000 {
        call.now = moment_after(call.now, 5);
        call.exchange_filtered(stun::is_stun);
        if hangup_reason(&call).is_some() {
            break;
        }
    }
    assert_eq!(hangup_reason(&call), Some("DTLS timeout"));
}

#[test]
fn closing_says_goodbye_and_no_more() {
    let mut call = Call::new();
    call.negotiate(|api| {
        add(api, RtcKind::Audio);
    });
    let route = call.echo(0);
    call.connect();
    call.events.clear();
    let peer = call.peer();
    call.media.close(call.now, peer);
    let mut out = Datagrams::default();
    call.media.flush(call.now, &mut out);
    assert!(
        out.iter().any(|datagram| datagram.bytes[0] == 21),
        "a DTLS alert"
    );
    assert!(call.media.next_event().is_none());
    assert_eq!(call.media.peers_count(), 0);
    assert!(call.media.route_state(route).is_none());
    assert_eq!(call.media.deadline(), None);
}

#[test]
fn strangers_are_not_heard() {
    let mut call = Call::new();
    call.negotiate(|api| {
        add(api, RtcKind::Audio);
    });
    call.connect();
    let stranger = "203.0.113.9:9".parse().unwrap();
    let mut stun_for_nobody = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    stun_for_nobody.extend([0; 12]);
    let mut send = |bytes: &[u8]| call.media.datagram(call.now, SockId(0), stranger, bytes);
    send(&[0x80; 100]);
    send(&[22; 100]);
    send(b"");
    send(&stun_for_nobody);
    let mut out = Datagrams::default();
    call.media.flush(call.now, &mut out);
    assert!(out.iter().all(|datagram| datagram.to != stranger));
    let counters = call.media.counters();
    assert_eq!(counters.drops(DropReason::Unvalidated), 3);
    assert_eq!(counters.drops(DropReason::StunUnknown), 1);
}

#[test]
fn a_check_with_a_wrong_password_opens_nothing() {
    let mut call = Call::new();
    let answer = call.negotiate(|api| {
        add(api, RtcKind::Audio);
    });
    let ufrag = &answer.media[0].ice.as_ref().unwrap().ufrag;
    let name = format!("{ufrag}:whoever");
    let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    message.extend([7; 12]);
    let mut attribute = |kind: u16, value: &[u8]| {
        message.extend(kind.to_be_bytes());
        message.extend((value.len() as u16).to_be_bytes());
        message.extend(value);
        message.resize(message.len().next_multiple_of(4), 0);
    };
    attribute(0x0006, name.as_bytes());
    attribute(0x0024, &[0; 4]);
    attribute(0x0008, &[0; 20]);
    let length = (message.len() - 20) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    let stranger = "203.0.113.9:9".parse().unwrap();
    call.media.datagram(call.now, SockId(0), stranger, &message);
    call.media
        .datagram(call.now, SockId(0), stranger, &[22; 50]);
    assert_eq!(call.media.counters().drops(DropReason::StunUnknown), 1);
    assert_eq!(call.media.counters().drops(DropReason::Unvalidated), 1);
}

#[test]
fn a_panic_ends_one_peer_only() {
    let mut call = Call::new();
    call.negotiate(|api| {
        add(api, RtcKind::Audio);
    });
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let peer = call.peer();
    let result: Option<()> = call
        .media
        .run(call.now.monotonic, peer, |_, _| panic!("planted"));
    std::panic::set_hook(hook);
    assert_eq!(result, None);
    let (id, owner, event) = call.media.next_event().unwrap();
    assert_eq!((id, owner), (peer, OWNER));
    assert_eq!(event, PeerEvent::Hangup { reason: "internal" });
    assert_eq!(call.media.counters().ends(PeerEnd::Internal), 1);
    assert_eq!(call.media.peers_count(), 0);
}

#[test]
fn a_connection_that_was_lost_and_comes_back_is_kept() {
    for is_lite in [false, true] {
        let mut call = Call::with(|config, _| config.ice_lite = is_lite, |config| config);
        let mut mid = None;
        let answer = call.negotiate(|api| mid = Some(add(api, RtcKind::Audio)));
        call.echo(0);
        call.connect();
        call.is_cut = true;
        while !call.events.contains(&PeerEvent::IceFailed) {
            assert_eq!(hangup_reason(&call), None, "the loss is told before");
            call.run(100);
        }
        call.is_cut = false;
        call.run(20_000);
        assert_eq!(hangup_reason(&call), None, "lite: {is_lite}");
        call.send(mid.unwrap(), None, pt_of(&answer, 0), 1, 1, &[1; 20]);
        call.run(20);
        assert_eq!(call.client.packets.len(), 1, "lite: {is_lite}");
        assert_eq!(call.media.counters().ice_failures, 1);
    }
}

#[test]
fn consent_that_is_not_given_ends_the_call_in_time() {
    for is_lite in [false, true] {
        let mut call = Call::with(|config, _| config.ice_lite = is_lite, |config| config);
        call.negotiate(|api| {
            add(api, RtcKind::Audio);
        });
        call.connect();
        call.is_cut = true;
        let mut millis = 0;
        while hangup_reason(&call).is_none() {
            call.run(100);
            millis += 100;
        }
        // RFC 7675 section 5.1 gives thirty seconds.
        assert!(
            (5_000..=30_000).contains(&millis),
            "lite: {is_lite}, {millis} ms"
        );
        assert_eq!(call.media.counters().ends(PeerEnd::IceFailed), 1);
    }
}

#[test]
fn what_fits_no_ethernet_is_dropped() {
    let mut call = Call::new();
    call.negotiate(|api| {
        add(api, RtcKind::Audio);
    });
    call.connect();
    let from = call.client.address;
    for (size, dropped) in [(1_500, 0), (1_501, 1), (9_000, 2), (65_507, 3)] {
        let mut bytes = vec![0; size];
        (bytes[0], bytes[1]) = (0x80, 111);
        call.media.datagram(call.now, SockId(0), from, &bytes);
        assert_eq!(call.media.counters().drops(DropReason::Oversized), dropped);
    }
    call.run(1_000);
    assert_eq!(hangup_reason(&call), None);
}

#[test]
fn a_flood_of_checks_is_answered_by_nothing_and_leaves_nothing() {
    let mut call = Call::new();
    call.negotiate(|api| {
        add(api, RtcKind::Audio);
    });
    call.connect();
    let ufrag = call
        .media
        .peers
        .get(call.peer())
        .unwrap()
        .local_ice
        .ufrag
        .clone();
    let mut out = Datagrams::default();
    for number in 0..20_000_u32 {
        let from = SocketAddr::from(([198, 51, (number >> 8) as u8, number as u8], 5_000));
        // Half of them know whom to ask for, and none knows the password.
        let name = if number % 2 == 0 { &ufrag } else { "AAAAbcde" };
        let bytes = check_of(name);
        call.media.datagram(call.now, SockId(0), from, &bytes);
        call.media.flush(call.now, &mut out);
    }
    let to_strangers = out
        .iter()
        .filter(|datagram| datagram.to != call.client.address);
    assert_eq!(to_strangers.count(), 0);
    assert_eq!(call.media.counters().drops(DropReason::StunUnknown), 20_000);
    assert_eq!(call.media.peers_count(), 1);
    call.run(1_000);
    assert_eq!(hangup_reason(&call), None);
}

/// A binding request with a user name, and an integrity that nobody computed.
fn check_of(ufrag: &str) -> Vec<u8> {
    let name = format!("{ufrag}:abcd");
    let mut attributes = vec![0, 6, 0, name.len() as u8];
    attributes.extend(name.as_bytes());
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    attributes.extend([0, 8, 0, 20]);
    attributes.extend([7; 20]);
    let mut bytes = vec![0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
    bytes.extend([3; 12]);
    bytes.extend(attributes);
    bytes
}
