//! Every output of the encoder is read by a strict decoder that shares no code with it.

use proptest::prelude::*;

use super::*;
use crate::wire::http::strict;

fn decoded(bytes: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut at, mut body) = (0, Vec::new());
    let sizes = strict::chunks(bytes, &mut at, &mut body).unwrap();
    assert_eq!(at, bytes.len(), "something follows the body");
    (body, sizes)
}

#[test]
fn sizes_are_upper_case_hexadecimal_without_leading_zeros() {
    for (size, text) in [
        (1, "1\r\n"),
        (10, "A\r\n"),
        (16, "10\r\n"),
        (0xabc, "ABC\r\n"),
        (32_470, "7ED6\r\n"),
        (usize::MAX, "FFFFFFFFFFFFFFFF\r\n"),
    ] {
        assert_eq!(ChunkSize::new(size).line(), text.as_bytes());
    }
}

#[test]
fn an_empty_chunk_does_not_end_a_body() {
    let mut out = OutBuf::new(64);
    let mut body = ChunkedBody::begin(&mut out, b"").unwrap();
    body.chunk(b"").unwrap();
    body.chunk(b"x").unwrap();
    body.finish();
    assert_eq!(out.pending(), b"1\r\nx\r\n0\r\n\r\n");
}

#[test]
fn a_whole_response_is_the_same_as_one_in_steps() {
    for data in [&b""[..], b"x", &[7; 300]] {
        let (mut whole, mut steps) = (OutBuf::new(1_000), OutBuf::new(1_000));
        let finished = ChunkedBody::whole(&mut whole, b"head", data).unwrap();
        let mut body = ChunkedBody::begin(&mut steps, b"head").unwrap();
        body.chunk(data).unwrap();
        assert_eq!(body.finish(), finished);
        assert_eq!(whole.pending(), steps.pending());
    }
}

#[test]
fn a_response_that_does_not_fit_is_not_begun() {
    let fits = b"head1\r\nx\r\n0\r\n\r\n".len();
    let mut out = OutBuf::new(fits - 1);
    assert_eq!(ChunkedBody::whole(&mut out, b"head", b"x"), Err(Full));
    assert!(out.is_empty());
    let mut out = OutBuf::new(fits);
    assert!(ChunkedBody::whole(&mut out, b"head", b"x").is_ok());
    let mut out = OutBuf::new(8);
    assert!(ChunkedBody::begin(&mut out, b"head").is_err());
    assert_eq!((out.pending(), out.free()), (&b""[..], 8));
}

#[test]
fn a_full_buffer_refuses_a_chunk_but_never_the_end() {
    let mut out = OutBuf::new(4 + 6 + 5);
    let mut body = ChunkedBody::begin(&mut out, b"head").unwrap();
    assert_eq!(body.chunk(b"xy"), Err(Full));
    body.chunk(b"x").unwrap();
    assert_eq!(body.chunk(b"y"), Err(Full));
    body.finish();
    assert_eq!(out.pending(), b"head1\r\nx\r\n0\r\n\r\n");
}

#[test]
fn a_body_that_goes_out_of_scope_is_ended() {
    let mut out = OutBuf::new(64);
    drop(ChunkedBody::begin(&mut out, b"head").unwrap());
    assert_eq!(out.pending(), b"head0\r\n\r\n");
}

#[test]
fn an_open_body_lives_across_calls_and_ends_in_a_full_buffer() {
    let mut out = OutBuf::new(20);
    let mut stream = ChunkedBody::begin(&mut out, b"head").unwrap().leave_open();
    assert_eq!(out.pending(), b"head");
    stream.chunk(&mut out, b"123456").unwrap();
    assert_eq!(stream.chunk(&mut out, b"7"), Err(Full));
    let finished = stream.finish(&mut out);
    assert_eq!(out.pending(), b"head6\r\n123456\r\n0\r\n\r\n");
    assert_eq!(finished.end(), 20);
}

proptest! {
    /// Chunks of any sizes, a buffer of any size that the kernel empties in any portions: what
    /// was accepted comes out, in order and complete.
    #[test]
    fn a_begun_body_always_ends_and_holds_what_was_accepted(
        room in 5_usize..300,
        chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..80), 0_usize..100), 0..30),
    ) {
        let mut out = OutBuf::new(room);
        let mut stream = ChunkedBody::begin(&mut out, b"").unwrap().leave_open();
        let (mut accepted, mut sizes, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for (data, portion) in chunks {
            if stream.chunk(&mut out, &data).is_ok() && !data.is_empty() {
                accepted.extend_from_slice(&data);
                sizes.push(data.len());
            }
            let portion = portion.min(out.pending().len());
            taken.extend_from_slice(&out.pending()[..portion]);
            out.consume(portion);
        }
        let finished = stream.finish(&mut out);
        taken.extend_from_slice(out.pending());
        prop_assert_eq!(finished.end(), taken.len() as u64);
        prop_assert_eq!(decoded(&taken), (accepted, sizes));
        prop_assert_eq!(out.free() + out.pending().len(), room, "no hold is left behind");
    }
}
