//! Offers after the first, and offers that are refused.

use super::*;

#[test]
fn a_renegotiation_adds_video() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let first = call.negotiate(|api| mids.push(add(api, RtcKind::Audio)));
    call.echo(0);
    call.connect();
    let second = call.negotiate(|api| mids.push(add(api, RtcKind::Video)));
    call.echo(1);
    assert_eq!(
        second.media[0].ssrcs, first.media[0].ssrcs,
        "the first line goes on"
    );
    call.run(50);
    call.send(mids[0], None, pt_of(&second, 0), 1, 1, &[1; 20]);
    call.send(mids[1], None, pt_of(&second, 1), 1, 1, &vp8_key(1));
    call.run(50);
    let ssrcs: Vec<u32> = call
        .client
        .packets
        .iter()
        .map(|each| *each.header.ssrc)
        .collect();
    assert_eq!(
        ssrcs,
        [second.media[0].ssrcs[0].id, second.media[1].ssrcs[0].id]
    );
    assert_eq!(
        call.count(|event| *event == PeerEvent::Up),
        1,
        "DTLS was kept"
    );
    let state = call.media.state(call.peer()).unwrap();
    let sent = |line: usize| state.lines[line].as_ref().unwrap().packets_sent;
    assert_eq!((sent(0), sent(1)), (1, 1));
}

#[test]
fn an_ice_restart_keeps_the_call() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let first = call.negotiate(|api| mids.push(add(api, RtcKind::Audio)));
    call.echo(0);
    call.connect();
    let second = call.negotiate(|api| {
        api.ice_restart(true);
    });
    let (before, after) = (first.media[0].ice.as_ref(), second.media[0].ice.as_ref());
    assert_ne!(before.unwrap().ufrag, after.unwrap().ufrag);
    call.run(40_000);
    call.send(mids[0], None, pt_of(&second, 0), 1, 1, &[1; 20]);
    call.run(50);
    assert_eq!(call.client.packets.len(), 1);
    assert_eq!(
        call.count(|event| *event == PeerEvent::Up),
        1,
        "DTLS was kept"
    );
    assert_eq!(call.count(|event| *event == PeerEvent::IceFailed), 0);
}

#[test]
fn an_unchanged_offer_changes_nothing() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let mut api = call.client.rtc.sdp_api();
    mids.push(add(&mut api, RtcKind::Audio));
    let (offer, pending) = api.apply().unwrap();
    let text = offer.to_sdp_string();
    let first = call.answer(&text, pending);
    call.connect();
    let offer = SessionDescription::parse(&text).unwrap();
    let peer = call.peer;
    let plan = plan(&offer);
    let again = call
        .media
        .accept_offer(
            call.now,
            peer,
            OWNER,
            &offer,
            &plan,
            OfferOptions::default(),
        )
        .unwrap();
    assert_eq!(again.answer, first);
    assert_eq!(call.media.peers_count(), 1);
}

#[test]
fn an_offer_that_cannot_be_used_is_refused_and_leaves_nothing() {
    let mut call = Call::new();
    let mut api = call.client.rtc.sdp_api();
    add(&mut api, RtcKind::Audio);
    let (offer, _) = api.apply().unwrap();
    let text = offer.to_sdp_string();
    let without = |what: &str| {
        let lines = text.lines().filter(|line| !line.starts_with(what));
        lines.fold(String::new(), |text, line| text + line + "\r\n")
    };
    for what in ["a=ice-ufrag", "a=fingerprint"] {
        let offer = SessionDescription::parse(&without(what)).unwrap();
        let plan = plan(&offer);
        let refused = call.media.accept_offer(
            call.now,
            None,
            OWNER,
            &offer,
            &plan,
            OfferOptions::default(),
        );
        assert!(matches!(refused, Err(MediaError::Offer(_))), "{what}");
    }
    assert_eq!(call.media.peers_count(), 0);
}

#[test]
fn peers_are_limited() {
    let mut call = Call::with(|_, limits| limits.peers_count = 1, |config| config);
    call.negotiate(|api| {
        add(api, RtcKind::Audio);
    });
    let mut api = call.client.rtc.sdp_api();
    add(&mut api, RtcKind::Audio);
    let (offer, _) = api.apply().unwrap();
    let offer = SessionDescription::parse(&offer.to_sdp_string()).unwrap();
    let plan = plan(&offer);
    let refused = call.media.accept_offer(
        call.now,
        None,
        OWNER,
        &offer,
        &plan,
        OfferOptions::default(),
    );
    assert_eq!(refused.unwrap_err(), MediaError::Limit("PeerConnections"));
}

#[test]
fn candidates_are_limited_and_names_are_swallowed() {
    let mut call = Call::with(
        |config, limits| {
            config.ice_lite = false;
            limits.candidates_count = 3;
        },
        |config| config,
    );
    call.negotiate(|api| {
        add(api, RtcKind::Audio);
    });
    let peer = call.peer();
    for text in [
        "candidate:1 1 udp 1 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 5 typ host",
        "candidate:1 1 tcp 1 192.0.2.7 9 typ host tcptype active",
        "candidate:1 1 udp 1 127.0.0.1 5 typ host",
        "candidate:1 1 udp 1 192.0.2.7 5 typ host",
        "candidate:1 1 udp 1 192.0.2.8 5 typ srflx raddr 10.0.0.1 rport 5",
        "candidate:1 1 udp 1 192.0.2.9 5 typ host",
        "candidate:1 1 udp 1 192.0.2.10 5 typ host",
    ] {
        let candidate = text.parse().unwrap();
        call.media.add_remote_candidate(call.now, peer, &candidate);
    }
    let counters = call.media.counters();
    assert_eq!(counters.drops(DropReason::CandidateUnusable), 3);
    // The offer had one of its own.
    assert_eq!(counters.drops(DropReason::CandidateLimit), 2);
}

#[test]
fn a_source_that_nobody_named_is_found_by_its_payload_type() {
    let mut call = Call::new();
    let mut mids = Vec::new();
    let mut api = call.client.rtc.sdp_api();
    mids.push(add(&mut api, RtcKind::Audio));
    let (offer, pending) = api.apply().unwrap();
    let named = |line: &&str| !line.starts_with("a=ssrc") && !line.ends_with("sdes:mid");
    let text = offer.to_sdp_string();
    let text = text.lines().filter(named);
    let text = text.fold(String::new(), |text, line| text + line + "\r\n");
    let answer = call.answer(&text, pending);
    call.echo(0);
    call.connect();
    call.send(mids[0], None, pt_of(&answer, 0), 1, 1, &[1; 20]);
    call.run(20);
    assert_eq!(call.media.counters().packets_forwarded, 1);
}

#[test]
fn the_gateway_takes_either_part_of_the_handshake() {
    for setup in ["actpass", "active", "passive"] {
        let mut call = Call::new();
        let mut api = call.client.rtc.sdp_api();
        add(&mut api, RtcKind::Audio);
        let (offer, pending) = api.apply().unwrap();
        let text = offer.to_sdp_string();
        let text = text.replace("a=setup:actpass", &format!("a=setup:{setup}"));
        let answer = call.answer(&text, pending);
        let expected = if setup == "active" {
            "passive"
        } else {
            "active"
        };
        assert_eq!(answer.media[0].setup.unwrap().as_str(), expected);
        call.connect();
    }
}
