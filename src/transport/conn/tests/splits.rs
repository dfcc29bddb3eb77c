//! Any split of the input, and any portions of the output, give the same transcript.

use proptest::prelude::*;

use super::*;

/// What becomes of requests that were answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    Dropped,
    TakenBack,
}

/// Everything that happens on a connection that is sent `input` in such portions.
fn transcript(input: &[u8], portions: &[usize], out_portion: usize) -> (Vec<u8>, Vec<String>, u16) {
    let dropped = transcript_with(Answered::Dropped, input, portions, out_portion);
    let taken_back = transcript_with(Answered::TakenBack, input, portions, out_portion);
    assert_eq!(dropped, taken_back);
    taken_back
}

fn transcript_with(
    answered: Answered,
    input: &[u8],
    portions: &[usize],
    out_portion: usize,
) -> (Vec<u8>, Vec<String>, u16) {
    let mut rig = Rig::with(Limits {
        body_bytes: 40,
        ..Limits::default()
    });
    let mut requests = Vec::new();
    let mut rest = input;
    for portion in portions.iter().chain([&usize::MAX]) {
        let (part, tail) = rest.split_at((*portion).min(rest.len()));
        rest = tail;
        if !part.is_empty() {
            rig.receive(part);
        }
        while let Some(request) = rig.next() {
            let body = echoed(&request);
            rig.respond(&Response::json(body.as_bytes())).unwrap();
            requests.push(body);
            if answered == Answered::TakenBack {
                rig.conn.take_back(&rig.shared, Box::new(request));
            }
        }
        rig.write(out_portion);
    }
    rig.eof();
    assert_eq!(rig.next(), None, "it was complete before the end");
    while !rig.conn.pending().is_empty() {
        rig.write(out_portion);
    }
    assert_eq!(rig.shared.bodies_bytes(), 0);
    assert!(rig.conn.is_closed());
    let refusal = rig.conn.take_refusal();
    let status = refusal.map_or(0, |refusal| refusal.status().code());
    (rig.taken, requests, status)
}

/// Sequences of requests, some of them malformed.
fn traffic() -> impl Strategy<Value = Vec<u8>> {
    let chunked = "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let expect =
        "POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc";
    let piece = prop_oneof![
        6 => Just(get("/a")),
        6 => Just(post("/b", "hello, world")),
        2 => Just(post("/b", "hello, there")),
        6 => Just(format!("{chunked}5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nt: x\r\n\r\n")),
        3 => Just(expect.to_owned()),
        2 => Just("\r\n".to_owned()),
        1 => Just(format!("{chunked}5\r\nhello\r\n30\r\n")),
        1 => Just(format!("{chunked}5\r\nhelloX")),
        1 => Just(post("/b", &"x".repeat(41))),
        1 => Just("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned()),
        1 => Just("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned()),
        1 => Just("GET / HTTP/2.0\r\n\r\n".to_owned()),
        1 => Just(get("/cut")[..12].to_owned()),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_transcript(
        input in traffic(),
        portions in prop::collection::vec(1_usize..60, 0..60),
        out_portion in 1_usize..400,
    ) {
        let whole = transcript(&input, &[], usize::MAX);
        // Each answer is complete, one for each request, and a last one for what was refused.
        let answers = decode_all(&whole.0);
        let finals: Vec<_> = answers.iter().filter(|answer| answer.status != 100).collect();
        prop_assert_eq!(finals.len(), whole.1.len() + usize::from(whole.2 != 0));
        for (answer, request) in finals.iter().zip(&whole.1) {
            prop_assert_eq!((answer.status, answer.text()), (200, &request[..]));
        }
        prop_assert_eq!(&transcript(&input, &portions, out_portion), &whole);
    }

    #[test]
    fn no_bytes_make_it_panic_or_leave_it_without_an_end(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..10),
        prefix in prop::sample::select(vec!["", "GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"]),
    ) {
        let mut rig = Rig::new();
        rig.receive(prefix);
        for part in parts {
            rig.receive(part);
            rig.echo();
        }
        rig.write_all();
        decode_all(&rig.taken);
        for _ in 0..5 {
            rig.pass(100 * S);
            rig.write_all();
        }
        prop_assert!(rig.conn.is_closed());
        prop_assert_eq!(rig.shared.bodies_bytes(), 0);
    }
}

#[test]
fn every_single_split_of_a_long_exchange_gives_the_same_transcript() {
    let input = [
        post("/b", "hello"),
        post("/b", "olleh"),
        "\r\nPOST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nt: x\r\n\r\n".to_owned(),
        get("/a"),
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(),
    ]
    .concat()
    .into_bytes();
    let whole = transcript(&input, &[], usize::MAX);
    assert_eq!((whole.1.len(), whole.2), (4, 400));
    for split in 1..input.len() {
        assert_eq!(
            transcript(&input, &[split], 1_000),
            whole,
            "split at {split}"
        );
    }
    assert_eq!(transcript(&input, &vec![1; input.len()], 1), whole);
}
