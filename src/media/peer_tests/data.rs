//! Data channels.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one kind of event"
)]

use super::*;

#[test]
fn data_channels_carry_text_and_bytes() {
    let mut call = Call::new();
    call.negotiate(|api| {
        api.add_channel("chat".to_owned());
    });
    call.connect();
    call.run_until("the channel is open", |call| call.client.channel.is_some());
    let id = call.client.channel.unwrap();
    for (binary, bytes) in [(false, &b"hello"[..]), (true, &[0, 255, 7])] {
        let mut channel = call.client.rtc.channel(id).unwrap();
        assert!(channel.write(binary, bytes).unwrap());
        call.run(50);
    }
    let got = |event: &PeerEvent| match event {
        PeerEvent::Data {
            channel,
            label,
            form,
            bytes,
            ..
        } => Some((*channel, label.clone(), *form, bytes.clone())),
        _ => None,
    };
    let data: Vec<_> = call.events.iter().filter_map(got).collect();
    let number = data[0].0;
    assert_eq!(
        data,
        [
            (number, "chat".to_owned(), DataForm::Text, b"hello".to_vec()),
            (number, "chat".to_owned(), DataForm::Binary, vec![0, 255, 7]),
        ]
    );
    let peer = call.peer();
    call.media
        .send_data(call.now, peer, number, DataForm::Text, b"back")
        .unwrap();
    call.media
        .send_data(call.now, peer, number, DataForm::Binary, &[9])
        .unwrap();
    call.run(100);
    assert_eq!(
        call.client.messages,
        [(false, b"back".to_vec()), (true, vec![9])]
    );
    let unknown = ChannelNumber(999);
    let refused = call
        .media
        .send_data(call.now, peer, unknown, DataForm::Text, b"");
    assert_eq!(refused, Err(MediaError::ChannelClosed));
}

#[test]
fn the_gateway_can_open_a_channel() {
    let mut call = Call::new();
    call.negotiate(|api| {
        api.add_channel("first".to_owned());
    });
    call.connect();
    call.run(200);
    let peer = call.peer();
    call.media
        .open_channel(call.now, peer, "second", "proto")
        .unwrap();
    call.run(200);
    let opened = |event: &PeerEvent| match event {
        PeerEvent::DataOpen {
            label, protocol, ..
        } => label == "second" && protocol == "proto",
        _ => false,
    };
    assert_eq!(call.count(opened), 1, "{:?}", call.events);
}

#[test]
fn a_message_that_does_not_fit_closes_the_channel() {
    let mut call = Call::with(
        |_, limits| limits.data_buffered_bytes = 10_000,
        |config| config,
    );
    call.negotiate(|api| {
        api.add_channel("chat".to_owned());
    });
    call.connect();
    call.run(200);
    let number = call
        .events
        .iter()
        .find_map(|event| match event {
            PeerEvent::DataOpen { channel, .. } => Some(*channel),
            _ => None,
        })
        .unwrap();
    let peer = call.peer();
    let sent = call
        .media
        .send_data(call.now, peer, number, DataForm::Binary, &[0; 10_001]);
    assert_eq!(sent, Err(MediaError::Limit("data channel bytes to send")));
    call.run(500);
    assert_eq!(call.media.counters().drops(DropReason::DataBufferFull), 1);
    assert_eq!(call.client.channels_closed, 1);
}
