//! Requests and answers.

use super::*;

#[test]
fn a_request_is_answered_in_one_chunk_and_the_connection_stays() {
    let mut rig = Rig::new();
    rig.receive(post("/janus", "{}"));
    let request = rig.next().unwrap();
    assert_eq!(
        (request.head.path(), &request.body[..]),
        ("/janus", &b"{}"[..])
    );
    assert!(rig.conn.is_waiting());
    let receipt = rig
        .respond(&Response::json(b"{\"janus\":\"pong\"}"))
        .unwrap();
    assert_eq!(rig.take_actions(), [ConnAction::Write]);
    assert_eq!(
        rig.conn.pending(),
        b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
          Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n\
          Cache-Control: no-store\r\nAccess-Control-Allow-Origin: *\r\n\
          Access-Control-Max-Age: 86400\r\nTransfer-Encoding: chunked\r\n\r\n\
          10\r\n{\"janus\":\"pong\"}\r\n0\r\n\r\n"
    );
    assert_eq!(receipt.0, rig.conn.pending().len() as u64);
    rig.write(10);
    assert!(rig.conn.taken() < receipt.0);
    assert_eq!(rig.take_actions(), [ConnAction::Write]);
    rig.write_all();
    assert_eq!(rig.conn.taken(), receipt.0);
    assert_eq!(rig.take_actions(), []);
    assert!(rig.conn.is_idle() && rig.conn.served_count() == 1);
    rig.receive(get("/janus/info"));
    assert!(rig.next().is_some());
}

#[test]
fn framing_depends_on_what_the_client_can_read() {
    let framing = |request: &str, response: &Response<'_>, asked| {
        let mut rig = Rig::new();
        rig.receive(request);
        rig.next().unwrap();
        rig.respond(response).unwrap();
        rig.write_all();
        let (answer, size) = decode(&rig.taken, asked).unwrap();
        assert_eq!(size, rig.taken.len());
        answer
    };
    let json = Response::json(b"{}");
    let length = Response {
        framing: Framing::Length,
        ..json
    };
    let chunked = framing(&get("/"), &json, Asked::Other);
    assert_eq!(chunked.chunks, Some(vec![2]));
    let fixed = framing(&get("/"), &length, Asked::Other);
    assert_eq!(
        (fixed.field("Content-Length"), fixed.text()),
        (Some("2"), "{}")
    );
    let old = framing("GET / HTTP/1.0\r\n\r\n", &json, Asked::Other);
    assert_eq!((old.field("Content-Length"), old.text()), (Some("2"), "{}"));
    assert_eq!(old.field("Connection"), Some("close"));
    let kept = framing(
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        &json,
        Asked::Other,
    );
    assert_eq!(kept.field("Connection"), Some("keep-alive"));
    for response in [&json, &length] {
        let head = framing("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", response, Asked::Head);
        assert_eq!((head.field("Content-Length"), head.text()), (Some("2"), ""));
    }
    for status in [Status::NoContent, Status::NotModified] {
        let none = framing(&get("/"), &Response { status, ..json }, Asked::Other);
        assert_eq!((&none.chunks, none.field("Content-Length")), (&None, None));
    }
    let empty = framing(&get("/"), &Response::json(b""), Asked::Other);
    assert_eq!((empty.chunks, empty.body), (Some(vec![]), vec![]));
}

#[test]
fn pipelined_requests_are_handed_out_one_at_a_time_and_in_order() {
    let mut rig = Rig::new();
    rig.receive([post("/1", "a"), get("/2"), post("/3", "c")].concat());
    assert_eq!(rig.next().unwrap().head.path(), "/1");
    assert_eq!(rig.next(), None);
    rig.respond(&Response::json(b"1")).unwrap();
    assert_eq!(rig.next().unwrap().head.path(), "/2");
    rig.respond(&Response::json(b"2")).unwrap();
    assert_eq!(rig.next().unwrap().body, b"c");
    rig.respond(&Response::json(b"3")).unwrap();
    assert_eq!(rig.next(), None);
    rig.write_all();
    let texts: Vec<_> = rig
        .answers()
        .iter()
        .map(|answer| answer.text().to_owned())
        .collect();
    assert_eq!(texts, ["1", "2", "3"]);
}

#[test]
fn what_is_malformed_is_answered_and_ends_the_connection() {
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (input, status, refusal) in [
        ("GET\r\n\r\n".into(), 400, Refusal::RequestLine),
        ("GET / HTTP/1.1\n".into(), 400, Refusal::LineEnd),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400, Refusal::Host),
        ("GET / HTTP/2.0\r\n\r\n".into(), 505, Refusal::Version),
        (
            "BREW / HTTP/1.1\r\nHost: x\r\n\r\n".into(),
            501,
            Refusal::Method,
        ),
        (
            "GET a HTTP/1.1\r\nHost: x\r\n\r\n".into(),
            400,
            Refusal::Target,
        ),
        (
            get("/").replace("x\r\n", "x\r\n a: b\r\n"),
            400,
            Refusal::Field,
        ),
        (
            post("/", "").replace(": 0", ": 9000000"),
            413,
            Refusal::BodyTooLarge,
        ),
        (
            post("/", "").replace(": 0", ": x"),
            400,
            Refusal::ContentLength,
        ),
        (
            get("/").replace("x\r\n", "x\r\nExpect: 1\r\n"),
            417,
            Refusal::Expectation,
        ),
        (
            format!("GET /{}", "a".repeat(20_000)),
            414,
            Refusal::RequestLineTooLong,
        ),
        (
            get("/").replace("x\r\n", &format!("x\r\nA: {}\r\n", "a".repeat(20_000))),
            431,
            Refusal::FieldsTooLarge,
        ),
        (format!("{chunked}zz\r\n"), 400, Refusal::Chunk),
        (format!("{chunked}900000\r\n"), 413, Refusal::BodyTooLarge),
        (format!("{chunked}0\r\n:"), 400, Refusal::Trailer),
        (
            format!("{chunked}0\r\na:{}", "b".repeat(5_000)),
            431,
            Refusal::TrailersTooLarge,
        ),
        (
            chunked.replace("chunked", "gzip"),
            501,
            Refusal::TransferCoding,
        ),
        (
            chunked.replace("chunked", "gzip, chunked"),
            400,
            Refusal::TransferEncoding,
        ),
    ] {
        let mut rig = Rig::new();
        rig.receive(&input);
        assert_eq!(rig.next(), None, "{refusal:?}");
        assert_eq!(rig.refused(), (status, Some(refusal)), "{refusal:?}");
        assert_eq!(
            rig.take_actions(),
            [ConnAction::Write, ConnAction::ShutdownWrite]
        );
        assert_eq!(rig.shared.bodies_bytes(), 0);
    }
}

#[test]
fn nothing_is_executed_after_an_answer_that_closes() {
    for first in [
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let mut rig = Rig::new();
        rig.receive(first + &get("/smuggled"));
        assert!(rig.next().is_some());
        rig.respond(&Response::json(b"{}")).unwrap();
        assert_eq!(rig.next(), None);
        assert_eq!(rig.conn.input.capacity(), 0);
        rig.receive(get("/late"));
        rig.write_all();
        rig.receive(get("/later"));
        assert_eq!(rig.next(), None);
        assert_eq!(rig.answers().len(), 1);
        assert_eq!(rig.answers()[0].field("Connection"), Some("close"));
    }
    let mut rig = Rig::new();
    rig.receive("BAD\r\n\r\n".to_owned() + &get("/smuggled"));
    assert_eq!(rig.next(), None);
}

#[test]
fn a_handler_may_close_the_connection() {
    let mut rig = Rig::new();
    rig.receive(get("/"));
    rig.next().unwrap();
    let close = Connection::Close;
    rig.respond(&Response {
        connection: close,
        ..Response::json(b"{}")
    });
    rig.write_all();
    assert_eq!(rig.answers()[0].field("Connection"), Some("close"));
    assert_eq!(
        rig.take_actions(),
        [ConnAction::Write, ConnAction::ShutdownWrite]
    );
}

#[test]
fn a_client_that_expects_100_gets_it_before_its_body_is_read() {
    let expecting = post("/", "").replace(
        "Content-Length: 0",
        "Expect: 100-continue\r\nContent-Length: 2",
    );
    let mut rig = Rig::new();
    rig.receive(&expecting);
    assert_eq!(rig.conn.pending(), b"HTTP/1.1 100 Continue\r\n\r\n");
    rig.write_all();
    rig.receive("{}");
    rig.echo();
    let statuses: Vec<_> = rig.answers().iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [100, 200]);

    let mut rig = Rig::new();
    rig.receive(expecting.replace(": 2", ": 9000000"));
    assert_eq!(rig.refused().0, 413);
    assert_eq!(rig.answers().len(), 1, "no 100 for what is refused");

    let mut rig = Rig::new();
    rig.receive(expecting.replace(": 2", ": 0"));
    rig.echo();
    assert_eq!(rig.answers().len(), 1, "no 100 without a body");
}

#[test]
fn all_bodies_together_are_bounded() {
    let mut rig = Rig::with(Limits {
        bodies_bytes: 10,
        ..Limits::default()
    });
    let peer = rig.conn.peer();
    let mut other = Conn::new(&rig.shared, rig.now, peer);
    let half = post("/", "123456789").replace(": 9", ": 20");
    other.receive(&mut rig.shared, rig.now, half.as_bytes());
    assert_eq!(rig.shared.bodies_bytes(), 9);
    rig.receive(post("/", "ab").replace(": 2", ": 20"));
    assert_eq!(rig.shared.bodies_bytes(), 9);
    assert_eq!(rig.refused(), (503, Some(Refusal::BodiesTooLarge)));
    assert_eq!(rig.answers()[0].field("Retry-After"), Some("1"));
    other.reset(&mut rig.shared);
    assert_eq!(rig.shared.bodies_bytes(), 0);
}

#[test]
fn a_complete_body_leaves_the_budget() {
    let mut rig = Rig::new();
    let whole = post("/", "abcdef");
    rig.receive(&whole[..whole.len() - 1]);
    assert_eq!(rig.shared.bodies_bytes(), 5);
    rig.receive("f");
    assert_eq!(rig.shared.bodies_bytes(), 0);
    assert_eq!(rig.next().unwrap().body, b"abcdef");
}

#[test]
fn reading_pauses_while_too_much_waits_behind_a_request() {
    let mut rig = Rig::with(Limits {
        pipelined_bytes: 100,
        ..Limits::default()
    });
    rig.receive(get("/1"));
    rig.next().unwrap();
    let second = get("/2");
    rig.receive(&second);
    rig.receive(&second);
    assert_eq!(rig.take_actions(), []);
    rig.receive(&second);
    rig.receive(&second);
    assert_eq!(rig.take_actions(), [ConnAction::PauseRead]);
    rig.respond(&Response::json(b"{}")).unwrap();
    rig.next().unwrap();
    assert_eq!(
        rig.take_actions(),
        [ConnAction::Write, ConnAction::ResumeRead]
    );
    rig.respond(&Response::json(b"{}")).unwrap();
    rig.echo();
    assert_eq!(rig.answers().len(), 5);
}

#[test]
fn a_pause_that_is_over_before_it_was_asked_about_is_none() {
    let mut actions = Actions::default();
    for action in [
        ConnAction::Write,
        ConnAction::PauseRead,
        ConnAction::ResumeRead,
    ] {
        actions.push(action);
    }
    assert_eq!(actions.pop(), Some(ConnAction::Write));
    assert_eq!(actions.pop(), Some(ConnAction::ResumeRead));
    assert_eq!(actions.pop(), None);
    actions.push(ConnAction::ResumeRead);
    actions.push(ConnAction::PauseRead);
    assert_eq!(actions.pop(), Some(ConnAction::PauseRead));
    assert_eq!(actions.pop(), None);
}

#[test]
fn no_request_is_taken_on_while_much_output_is_pending() {
    let mut rig = Rig::with(Limits {
        out_bytes: 4_000,
        ..Limits::default()
    });
    rig.receive([get("/1"), get("/2")].concat());
    rig.next().unwrap();
    rig.respond(&Response::json(&[b' '; 1_000])).unwrap();
    assert_eq!(rig.next(), None);
    rig.write(500);
    assert!(rig.next().is_some());
}

#[test]
fn an_answer_that_does_not_fit_aborts_the_connection() {
    let mut rig = Rig::with(Limits {
        out_bytes: 1_000,
        ..Limits::default()
    });
    rig.receive(get("/"));
    rig.next().unwrap();
    assert_eq!(rig.respond(&Response::json(&[b' '; 1_000])), None);
    assert_eq!(rig.take_actions(), [ConnAction::Abort]);
    assert!(rig.conn.is_closed() && rig.conn.is_gone() && rig.conn.pending().is_empty());
    assert_eq!(rig.respond(&Response::json(b"{}")), None);
}

#[test]
fn a_head_that_comes_again_is_taken_as_the_first_was() {
    let mut rig = Rig::new();
    rig.receive(post("/janus", "one"));
    rig.echo();
    assert!(rig.conn.kept.is_some());
    let again = post("/janus", "two");
    rig.receive(&again[..30]);
    assert_eq!(rig.next(), None);
    rig.receive(&again[30..]);
    rig.echo();
    rig.receive(post("/janus", "six") + &get("/janus"));
    rig.echo();
    let answers = rig.answers();
    let bodies: Vec<_> = answers.iter().map(Decoded::text).collect();
    assert_eq!(
        bodies,
        [
            "POST /janus one",
            "POST /janus two",
            "POST /janus six",
            "GET /janus "
        ]
    );
}

#[test]
fn changed_bounds_hold_for_a_head_that_comes_again() {
    let mut rig = Rig::new();
    rig.receive(get("/a/long/path"));
    rig.echo();
    let limits = Limits {
        request_line_bytes: 16,
        ..Limits::default()
    };
    rig.shared.reload(limits, Cors::any());
    rig.receive(get("/a/long/path"));
    assert_eq!(rig.next(), None);
    assert_eq!(rig.refused(), (414, Some(Refusal::RequestLineTooLong)));
}

#[test]
fn large_requests_and_those_before_an_event_are_not_kept() {
    let mut rig = Rig::new();
    for request in [
        get(&format!("/{}", "x".repeat(1_024))),
        post("/", &"x".repeat(1_025)),
    ] {
        rig.receive(request);
        rig.echo();
        assert!(rig.conn.kept.is_none());
    }
    rig.receive(get("/"));
    rig.echo();
    assert!(rig.conn.kept.is_some());
    rig.receive(post("/b", "hello"));
    rig.receive(get("/events"));
    rig.echo();
    rig.receive(get("/events"));
    let request = rig.next().unwrap();
    assert_eq!(rig.conn.park(&mut rig.shared, rig.now), Parked::Waiting);
    rig.conn.take_back(&rig.shared, Box::new(request));
    assert!(rig.conn.kept.is_none());
    rig.respond(&Response::json(b"{}")).unwrap();
    rig.receive("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    rig.echo();
    assert!(rig.conn.kept.is_none());
}

#[test]
fn an_idle_connection_holds_little_memory() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        rig.receive([post("/", &"x".repeat(60_000)), get("/"), get("/")].concat());
        rig.echo();
    }
    rig.write_all();
    assert!(rig.conn.is_idle());
    assert_eq!(rig.conn.input.capacity(), 0);
    assert!(size_of::<Conn>() < 1_024, "{}", size_of::<Conn>());
}
