//! The rules of RFC 6455 as a table, each for every way of splitting the bytes.

use proptest::prelude::*;

use super::*;
use crate::wire::ws::frame::{ServerHeader, write_client_frame};

const BOUNDS: Bounds = Bounds {
    message_bytes: 70_000,
    fragments_count: 4,
};

const FIN: u8 = 0x80;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame with the shortest length.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let size = payload.len();
    let length = match size {
        0..126 => vec![size as u8],
        126..=0xffff => [&[126][..], &(size as u16).to_be_bytes()].concat(),
        _ => [&[127][..], &(size as u64).to_be_bytes()].concat(),
    };
    with_length(first, &length, payload)
}

fn with_length(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, length[0] | 0x80];
    bytes.extend(&length[1..]);
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

fn text(payload: &str) -> Incoming {
    Incoming::Text(payload.as_bytes().to_vec())
}

/// Reads portions one after the other, to the end or to the first fault.
fn read_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Incoming>, Option<Fault>) {
    let mut reader = Reader::default();
    let mut came = Vec::new();
    for part in parts {
        let mut used = 0;
        loop {
            match reader.read(&part[used..], &BOUNDS) {
                Ok((size, Some(incoming))) => {
                    used += size;
                    came.push(incoming);
                }
                Ok((size, None)) => {
                    assert_eq!(used + size, part.len(), "without a message all is used");
                    break;
                }
                Err(fault) => {
                    assert!(matches!(reader.read(b"more", &BOUNDS), Ok((4, None))));
                    return (came, Some(fault));
                }
            }
        }
    }
    (came, None)
}

/// Checks what comes of some bytes as a whole, byte by byte, and in two parts.
#[track_caller]
fn check(bytes: &[u8], messages: &[Incoming], fault: Option<Fault>) {
    let expected = (messages.to_vec(), fault);
    assert_eq!(read_parts([bytes]), expected, "whole");
    assert_eq!(read_parts(bytes.chunks(1)), expected, "byte by byte");
    for at in 0..bytes.len().min(300) {
        let (left, right) = bytes.split_at(at);
        assert_eq!(read_parts([left, right]), expected, "split at {at}");
    }
}

#[test]
fn messages_of_every_length_form_are_read() {
    for size in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 70_000] {
        let payload = "x".repeat(size);
        check(&frame(FIN | 1, payload.as_bytes()), &[text(&payload)], None);
    }
    check(
        &frame(FIN | 2, &[0xff, 0]),
        &[Incoming::Binary(vec![0xff, 0])],
        None,
    );
}

#[test]
fn fragments_are_put_together_around_control_frames() {
    let bytes = [
        frame(1, b"a"),
        frame(FIN | 9, b"p"),
        frame(0, b""),
        frame(FIN | 10, b"q"),
        frame(FIN, "b\u{e9}".as_bytes()),
        frame(FIN | 1, b"next"),
    ]
    .concat();
    let expected = [
        Incoming::Ping(b"p".to_vec()),
        Incoming::Pong(b"q".to_vec()),
        text("ab\u{e9}"),
        text("next"),
    ];
    check(&bytes, &expected, None);
}

#[test]
fn pings_of_up_to_125_bytes_are_read() {
    for size in [0, 1, 125] {
        let payload = vec![0xfe; size];
        check(&frame(FIN | 9, &payload), &[Incoming::Ping(payload)], None);
    }
    for opcode in [8, 9, 10] {
        check(
            &frame(FIN | opcode, &[b'x'; 126]),
            &[],
            Some(Fault::ControlFrame),
        );
        check(&frame(opcode, b""), &[], Some(Fault::ControlFrame));
    }
}

#[test]
fn reserved_bits_and_opcodes_are_refused_at_the_first_byte() {
    for bit in [0x40, 0x20, 0x10] {
        check(&[FIN | bit | 1], &[], Some(Fault::ReservedBit));
        check(&[FIN | bit | 9], &[], Some(Fault::ReservedBit));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        check(&[FIN | opcode], &[], Some(Fault::Opcode));
    }
    check(&[FIN | 1, 5], &[], Some(Fault::Unmasked));
}

#[test]
fn lengths_are_minimal_and_of_63_bits() {
    check(
        &with_length(FIN | 1, &[126, 0, 125], b""),
        &[],
        Some(Fault::Length),
    );
    check(
        &with_length(FIN | 1, &[127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], b""),
        &[],
        Some(Fault::Length),
    );
    check(
        &with_length(FIN | 1, &[127, 0x80, 0, 0, 0, 0, 0, 0, 0], b""),
        &[],
        Some(Fault::Length),
    );
}

#[test]
fn fragments_out_of_order_are_refused() {
    check(&frame(FIN, b"x"), &[], Some(Fault::Continuation));
    check(&frame(0, b"x"), &[], Some(Fault::Continuation));
    let after = [frame(FIN | 1, b"x"), frame(FIN, b"y")].concat();
    check(&after, &[text("x")], Some(Fault::Continuation));
    for opcode in [1, 2] {
        let within = [frame(1, b"x"), frame(FIN | opcode, b"y")].concat();
        check(&within, &[], Some(Fault::Interleaved));
    }
}

#[test]
fn what_is_too_big_is_refused_from_its_header() {
    // The header alone: nothing of the payload has come.
    check(
        &with_length(FIN | 1, &[127, 0, 0, 0, 0, 0, 1, 0x11, 0x71], b""),
        &[],
        Some(Fault::TooBig),
    );
    let sum = [
        frame(1, &[b'x'; 60_000]),
        with_length(FIN, &[126, 0x27, 0x11], b""),
    ]
    .concat();
    assert_eq!(read_parts([&sum[..]]), (Vec::new(), Some(Fault::TooBig)));
    let four = [frame(1, b""), frame(0, b""), frame(0, b"")].concat();
    check(&[&four[..], &frame(FIN, b"")].concat(), &[text("")], None);
    let five = [&four[..], &frame(0, b""), &frame(FIN, b"")].concat();
    check(&five, &[], Some(Fault::TooManyFragments));
}

#[test]
fn memory_is_not_set_aside_for_what_was_announced() {
    let mut reader = Reader::default();
    let bytes = with_length(FIN | 2, &[127, 0, 0, 0, 0, 0, 1, 0x11, 0x70], b"xy");
    assert_eq!(reader.read(&bytes, &BOUNDS), Ok((bytes.len(), None)));
    assert!(reader.message.unwrap().bytes.capacity() < 64);
}

#[test]
fn text_is_refused_at_the_first_byte_that_cannot_be_utf_8() {
    // The characters may be cut by fragments, but not by the end of the message.
    let cut = [
        frame(1, b"\xce"),
        frame(0, b"\xba\xe1\xbd"),
        frame(FIN, b"\xb9"),
    ]
    .concat();
    check(&cut, &[text("\u{3ba}\u{1f79}")], None);
    check(&frame(FIN | 1, b"a\xe1\xbd"), &[], Some(Fault::Utf8));
    // A surrogate, an overlong form, beyond Unicode, bare continuation, and never a byte of it.
    for bad in [
        &b"\xed\xa0\x80"[..],
        b"\xc0\xaf",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xff",
    ] {
        check(&frame(FIN | 1, bad), &[], Some(Fault::Utf8));
        // The rest of the message has not come.
        check(&frame(1, bad), &[], Some(Fault::Utf8));
    }
    let cut_off = &frame(FIN | 1, b"ok\xffmore")[..9];
    check(cut_off, &[], Some(Fault::Utf8));
}

#[test]
fn close_frames_are_read_and_end_everything() {
    let code = |number| CloseCode::new(number).unwrap();
    let close =
        |payload: &[u8]| [frame(FIN | 8, payload), frame(FIN | 1, b"late"), vec![0xff]].concat();
    check(&close(b""), &[Incoming::Close(None)], None);
    check(
        &close(b"\x03\xe8"),
        &[Incoming::Close(Some((code(1000), "".into())))],
        None,
    );
    check(
        &close(b"\x0d\xb0Gateway timeout"),
        &[Incoming::Close(Some((
            code(3504),
            "Gateway timeout".into(),
        )))],
        None,
    );
    check(&frame(FIN | 8, b"\x03"), &[], Some(Fault::CloseFrame));
    check(&frame(FIN | 8, b"\x03\xed"), &[], Some(Fault::CloseFrame));
    check(&frame(FIN | 8, b"\x03\xe8\xff"), &[], Some(Fault::Utf8));
}

#[test]
fn a_server_header_has_the_shortest_length() {
    for (size, header) in [
        (0, vec![0x81, 0]),
        (125, vec![0x81, 125]),
        (126, vec![0x81, 126, 0, 126]),
        (65_535, vec![0x81, 126, 0xff, 0xff]),
        (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        assert_eq!(ServerHeader::new(Opcode::Text, size).bytes(), header);
    }
}

#[test]
fn a_server_masks_nothing_and_is_read_as_one() {
    let bytes = [
        ServerHeader::new(Opcode::Text, 200).bytes(),
        &[b'x'; 200],
        ServerHeader::new(Opcode::Pong, 1).bytes(),
        b"p",
        ServerHeader::new(Opcode::Close, 0).bytes(),
    ]
    .concat();
    let expected = [
        text(&"x".repeat(200)),
        Incoming::Pong(b"p".to_vec()),
        Incoming::Close(None),
    ];
    for size in [1, 3, bytes.len()] {
        let mut reader = Reader::of(Side::Server);
        let mut came = Vec::new();
        for part in bytes.chunks(size) {
            let mut rest = part;
            while let (used, Some(incoming)) = reader.read(rest, &BOUNDS).unwrap() {
                came.push(incoming);
                rest = &rest[used..];
            }
        }
        assert_eq!(came, expected, "in parts of {size}");
    }
    let masked = Reader::of(Side::Server).read(&frame(FIN | 1, b"x"), &BOUNDS);
    assert_eq!(masked, Err(Fault::Masked));
}

#[test]
fn what_a_client_writes_is_masked_and_reads_as_it_was() {
    for size in [0, 1, 125, 126, 65_535, 65_536] {
        let payload = "x".repeat(size);
        let mut bytes = Vec::new();
        write_client_frame(Opcode::Text, payload.as_bytes(), MASK, &mut bytes);
        assert_eq!(bytes, frame(FIN | 1, payload.as_bytes()));
        assert_eq!(read_parts([&bytes[..]]), (vec![text(&payload)], None));
    }
}

prop_compose! {
    /// A message in fragments, with pings between them.
    fn message()(
        parts in prop::collection::vec("[a-z\u{e9}\u{20ac}]{0,200}", 1..4),
        pings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..126), 0..3),
    ) -> (Vec<u8>, Vec<Incoming>) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let opcode = u8::from(at == 0);
            let fin = if at + 1 == parts.len() { FIN } else { 0 };
            if let Some(ping) = pings.get(at) {
                bytes.extend(frame(FIN | 9, ping));
                expected.push(Incoming::Ping(ping.clone()));
            }
            bytes.extend(frame(fin | opcode, part.as_bytes()));
        }
        expected.push(text(&parts.concat()));
        (bytes, expected)
    }
}

proptest! {
    #[test]
    fn any_split_reads_the_same(
        messages in prop::collection::vec(message(), 1..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let expected: Vec<Incoming> = messages.iter().flat_map(|(_, came)| came.clone()).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
        prop_assert_eq!(read_parts(parts), (expected, None));
    }

    #[test]
    fn any_bytes_read_the_same_whole_and_split(
        bytes in prop::collection::vec(prop_oneof![Just(0x81_u8), Just(0x80), Just(1), Just(0x83), any::<u8>()], 0..60),
        at in any::<prop::sample::Index>(),
    ) {
        let (left, right) = bytes.split_at(at.index(bytes.len() + 1));
        prop_assert_eq!(read_parts([&bytes[..]]), read_parts([left, right]));
    }

    #[test]
    fn unmasking_in_parts_is_unmasking_at_once(
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(),
    ) {
        let mut whole = bytes.clone();
        mask_part(&mut whole, MASK, 0);
        let at = at.index(bytes.len() + 1);
        let mut parts = bytes;
        let (left, right) = parts.split_at_mut(at);
        mask_part(left, MASK, 0);
        mask_part(right, MASK, at as u64);
        prop_assert_eq!(&parts, &whole);
        let plain = whole.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key);
        let again: Vec<u8> = plain.collect();
        mask_part(&mut whole, MASK, 0);
        prop_assert_eq!(whole, again);
    }
}
