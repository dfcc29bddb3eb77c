//! Answers that go on for a long time.

use super::*;

fn streaming(limits: Limits) -> Rig {
    let mut rig = Rig::with(limits);
    rig.receive(get("/1"));
    rig.next().unwrap();
    rig.conn.park(&mut rig.shared, rig.now);
    let head = Response {
        content_type: Some("text/event-stream"),
        ..Response::json(b": hello\n\n")
    };
    rig.conn
        .begin_stream(&mut rig.shared, rig.now, &head)
        .unwrap();
    rig.collect();
    rig
}

fn end(rig: &mut Rig) -> Option<Receipt> {
    let receipt = rig.conn.end_stream(&mut rig.shared, rig.now);
    rig.collect();
    receipt
}

#[test]
fn a_stream_is_one_chunked_body_and_the_connection_goes_on_after_it() {
    let mut rig = streaming(Limits::default());
    rig.write_all();
    let receipt = rig.conn.stream_chunk(rig.now, b"data: 1\n\n").unwrap();
    assert!(rig.conn.taken() < receipt.0);
    rig.write_all();
    assert_eq!(rig.conn.taken(), receipt.0);
    rig.conn.stream_chunk(rig.now, b"").unwrap();
    assert!(rig.conn.pending().is_empty());
    assert_eq!(rig.next(), None);
    assert!(!rig.conn.is_waiting());
    rig.receive(get("/2"));
    end(&mut rig).unwrap();
    rig.write_all();
    assert_eq!(rig.answers()[0].chunks, Some(vec![9, 9]));
    assert_eq!(rig.answers()[0].text(), ": hello\n\ndata: 1\n\n");
    assert_eq!(rig.answers()[0].field("Connection"), None);
    assert_eq!(rig.next().unwrap().head.path(), "/2");
    assert_eq!(end(&mut rig), None);
    assert_eq!(rig.conn.stream_chunk(rig.now, b"x"), Err(StreamError::Gone));
}

#[test]
fn a_full_stream_can_go_on_and_can_always_be_ended() {
    let mut rig = streaming(Limits {
        out_bytes: 400,
        ..Limits::default()
    });
    let chunk = [b'x'; 30];
    let mut written = 0;
    while rig.conn.stream_chunk(rig.now, &chunk).is_ok() {
        written += 1;
    }
    assert_eq!(
        rig.conn.stream_chunk(rig.now, &chunk),
        Err(StreamError::Full)
    );
    rig.write(100);
    rig.conn.stream_chunk(rig.now, &chunk).unwrap();
    while rig.conn.stream_chunk(rig.now, b"y").is_ok() {}
    end(&mut rig).unwrap();
    rig.write_all();
    let answer = &rig.answers()[0];
    assert!(answer.body.starts_with(b": hello\n\nxxx"));
    let count = answer.body.iter().filter(|&&byte| byte == b'x').count();
    assert_eq!(count, (written + 1) * 30);
}

#[test]
fn a_client_that_closes_ends_its_stream_with_the_zero_chunk() {
    let mut rig = streaming(Limits::default());
    rig.eof();
    assert!(rig.conn.is_gone());
    assert_eq!(rig.conn.stream_chunk(rig.now, b"x"), Err(StreamError::Gone));
    rig.write_all();
    assert_eq!(rig.answers()[0].text(), ": hello\n\n");
    assert_eq!(
        rig.take_actions(),
        [ConnAction::Write, ConnAction::Write, ConnAction::Close]
    );
}

#[test]
fn draining_ends_the_connection_after_the_stream() {
    let mut rig = streaming(Limits::default());
    rig.conn.close_when_done();
    rig.write_all();
    assert!(!rig.conn.is_closed());
    end(&mut rig).unwrap();
    rig.take_actions();
    rig.write_all();
    assert_eq!(rig.take_actions(), [ConnAction::ShutdownWrite]);
    assert_eq!(rig.answers().len(), 1);
}

#[test]
fn a_stream_whose_client_does_not_read_is_reset() {
    let mut rig = streaming(Limits::default());
    rig.pass(29 * S);
    rig.conn.stream_chunk(rig.now, b"x").unwrap();
    rig.pass(S);
    assert_eq!(rig.take_actions(), [ConnAction::Write, ConnAction::Abort]);
    assert_eq!(rig.conn.stream_chunk(rig.now, b"x"), Err(StreamError::Gone));
    assert_eq!(end(&mut rig), None);
}

#[test]
fn a_stream_that_is_taken_has_no_deadline() {
    let mut rig = streaming(Limits::default());
    rig.write_all();
    assert_eq!(rig.conn.deadline(&rig.shared), None);
}

#[test]
fn a_client_without_chunks_gets_no_stream_but_another_answer() {
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut rig = Rig::new();
        rig.receive(request);
        rig.next().unwrap();
        let begun = rig
            .conn
            .begin_stream(&mut rig.shared, rig.now, &Response::json(b""));
        assert_eq!(begun, Err(StreamError::Unsupported));
        assert!(
            rig.respond(&Response::empty(Status::NotAcceptable))
                .is_some()
        );
    }
}

#[test]
fn a_stream_that_does_not_fit_is_not_begun() {
    let mut rig = Rig::with(Limits {
        out_bytes: 400,
        ..Limits::default()
    });
    rig.receive(get("/"));
    rig.next().unwrap();
    let large = Response::json(&[b'x'; 400]);
    let begun = rig.conn.begin_stream(&mut rig.shared, rig.now, &large);
    assert_eq!(begun, Err(StreamError::Full));
    assert!(rig.conn.pending().is_empty() && rig.conn.is_waiting());
    assert!(
        rig.respond(&Response::empty(Status::ServiceUnavailable))
            .is_some()
    );
}

#[test]
fn chunked_answers_are_counted_when_they_begin_and_when_they_end() {
    let mut rig = streaming(Limits::default());
    let counts = |begun_count, finished_count| ChunkedCounts {
        begun_count,
        finished_count,
    };
    assert_eq!(rig.shared.chunked(), counts(1, 0));
    end(&mut rig).unwrap();
    assert_eq!(rig.shared.chunked(), counts(1, 1));
    rig.receive(get("/"));
    rig.echo();
    assert_eq!(rig.shared.chunked(), counts(2, 2));
    rig.receive("BAD\r\n\r\n");
    assert_eq!(rig.shared.chunked(), counts(2, 2));
}
