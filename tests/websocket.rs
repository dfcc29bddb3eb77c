//! The Janus API over WebSocket, in lockstep: order, ownership, loss and claims, limits.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use bifrons::config::Config;
use bifrons::shard::{Control, Listener, TcpAction};
use serde_json::{Value, json};
use support::{Conn, Kernel, Lockstep, get};

const S: Duration = Duration::from_secs(1);
const PING: u8 = 0x89;
const MASK: [u8; 4] = [9, 200, 33, 71];

/// A client's frame, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        size @ 0..126 => bytes.push(0x80 | size as u8),
        size @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((size as u16).to_be_bytes());
        }
        size => {
            bytes.push(0x80 | 127);
            bytes.extend((size as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    bytes.extend(masked.map(|(byte, key)| byte ^ key));
    bytes
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

/// Takes the next frame of the server off its bytes: first byte and payload.
fn next_frame(received: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (first, second) = (*received.first()?, *received.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (start, size) = match second {
        126 => (
            4,
            usize::from(u16::from_be_bytes([received[2], received[3]])),
        ),
        127 => (
            10,
            u64::from_be_bytes(received[2..10].try_into().unwrap()) as usize,
        ),
        short => (2, usize::from(short)),
    };
    let payload = received.get(start..start + size)?.to_vec();
    received.drain(..start + size);
    Some((first, payload))
}

fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: janus-protocol\r\n\r\n"
    )
}

/// What the tests do on sockets.
trait Sockets {
    fn open(&mut self, shard: usize) -> Conn;
    fn accepted(&mut self, conn: Conn);
    fn frames(&mut self, conn: Conn) -> Vec<(u8, Vec<u8>)>;
    fn told(&mut self, conn: Conn) -> Vec<Value>;
    fn ask(&mut self, conn: Conn, request: &Value) -> Value;
    fn session(&mut self, conn: Conn) -> u64;
    fn echo_on(&mut self, conn: Conn) -> (u64, u64);
    fn event(&mut self, conn: Conn, handle: (u64, u64), name: &str);
    fn close_code(&mut self, conn: Conn) -> u16;
    fn claim(&mut self, conn: Conn, session: u64) -> Value;
}

fn message((session, handle): (u64, u64), name: &str) -> Value {
    json!({
        "janus": "message", "transaction": name, "session_id": session, "handle_id": handle,
        "body": {"audio": true},
    })
}

fn kinds(told: &[Value]) -> Vec<(&str, &str)> {
    told.iter()
        .map(|value| {
            let transaction = value["transaction"].as_str().unwrap_or("");
            (value["janus"].as_str().unwrap(), transaction)
        })
        .collect()
}

impl Sockets for Lockstep {
    fn open(&mut self, shard: usize) -> Conn {
        let conn = self.connect_to(shard, Listener::WebSocket);
        self.send(conn, handshake("/any/path?x"));
        self.accepted(conn);
        conn
    }

    fn accepted(&mut self, conn: Conn) {
        let received = &mut self.clients.get_mut(&conn).unwrap().received;
        let end = received.windows(4).position(|four| four == b"\r\n\r\n");
        let head: Vec<u8> = received.drain(..end.expect("a head") + 4).collect();
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        for field in [
            "\r\nUpgrade: websocket\r\n",
            "\r\nConnection: Upgrade\r\n",
            "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
            "\r\nSec-WebSocket-Protocol: janus-protocol\r\n",
        ] {
            assert!(head.contains(field), "{head}");
        }
    }

    fn frames(&mut self, conn: Conn) -> Vec<(u8, Vec<u8>)> {
        let received = &mut self.clients.get_mut(&conn).unwrap().received;
        std::iter::from_fn(|| next_frame(received)).collect()
    }

    fn told(&mut self, conn: Conn) -> Vec<Value> {
        let frames = self
            .frames(conn)
            .into_iter()
            .filter(|(first, _)| *first != PING);
        let read = |(first, payload): (u8, Vec<u8>)| {
            assert_eq!(first, 0x81, "messages are whole frames of text");
            serde_json::from_slice(&payload).unwrap()
        };
        frames.map(read).collect()
    }

    fn ask(&mut self, conn: Conn, request: &Value) -> Value {
        self.send(conn, text(&request.to_string()));
        let mut told = self.told(conn);
        assert_eq!(told.len(), 1, "{told:?}");
        told.remove(0)
    }

    fn session(&mut self, conn: Conn) -> u64 {
        let reply = self.ask(conn, &json!({"janus": "create", "transaction": "c"}));
        assert!(reply.get("session_id").is_none());
        reply["data"]["id"].as_u64().expect("an id")
    }

    fn echo_on(&mut self, conn: Conn) -> (u64, u64) {
        let session = self.session(conn);
        let attach = json!({
            "janus": "attach", "transaction": "a", "session_id": session,
            "plugin": "janus.plugin.echotest",
        });
        let handle = self.ask(conn, &attach)["data"]["id"].as_u64();
        (session, handle.expect("an id"))
    }

    fn event(&mut self, conn: Conn, handle: (u64, u64), name: &str) {
        self.send(conn, text(&message(handle, name).to_string()));
    }

    fn close_code(&mut self, conn: Conn) -> u16 {
        let frames = self.frames(conn);
        let (first, payload) = frames.last().expect("a close frame");
        assert_eq!(*first, 0x88, "{frames:?}");
        u16::from_be_bytes([payload[0], payload[1]])
    }

    fn claim(&mut self, conn: Conn, session: u64) -> Value {
        self.ask(
            conn,
            &json!({"janus": "claim", "transaction": "cl", "session_id": session}),
        )
    }
}

fn reclaiming(seconds: u32) -> Config {
    let mut config = Config::default();
    config.general.reclaim_session_timeout = seconds * S;
    config
}

#[test]
fn a_session_lives_on_one_socket_whatever_shard_owns_it() {
    for shards in 1..=3 {
        let mut gateway = Lockstep::new(shards);
        for shard in 0..usize::from(shards) {
            let conn = gateway.open(shard);
            for _ in 0..8 {
                let handle = gateway.echo_on(conn);
                gateway.event(conn, handle, "m");
                let told = gateway.told(conn);
                assert_eq!(kinds(&told), [("ack", "m"), ("event", "m")]);
                assert_eq!(told[1]["session_id"], handle.0);
                assert_eq!(told[1]["sender"], handle.1);
                let destroy =
                    json!({"janus": "destroy", "transaction": "d", "session_id": handle.0});
                let reply = gateway.ask(conn, &destroy);
                assert_eq!(reply["session_id"], handle.0);
                assert_eq!(reply["janus"], "success");
            }
        }
        assert_eq!(gateway.metrics().gateway_sessions, 0);
        assert_eq!(
            gateway.metrics().gateway_events_pushed,
            gateway.metrics().gateway_events_delivered
        );
    }
}

/// An id that a client chose, so that any shard may own it.
fn chosen(gateway: &mut Lockstep, conn: Conn, id: u64) {
    let reply = gateway.ask(
        conn,
        &json!({"janus": "create", "transaction": "c", "id": id}),
    );
    assert_eq!(reply["data"]["id"], id);
}

#[test]
fn replies_come_in_the_order_of_requests_and_events_after_their_ack() {
    for shards in 1..=3 {
        let mut gateway = Lockstep::new(shards);
        let conn = gateway.open(0);
        let mut handles = Vec::new();
        for id in 1..=12 {
            chosen(&mut gateway, conn, id);
            let attach = json!({
                "janus": "attach", "transaction": "a", "session_id": id,
                "plugin": "janus.plugin.echotest",
            });
            handles.push((
                id,
                gateway.ask(conn, &attach)["data"]["id"].as_u64().unwrap(),
            ));
        }
        // All in one segment: most wait for replies of other shards.
        let bytes: Vec<u8> = (0..300)
            .flat_map(|n| text(&message(handles[n * 7 % 12], &n.to_string()).to_string()))
            .collect();
        gateway.send(conn, bytes);
        let told = gateway.told(conn);
        assert_eq!(told.len(), 600);
        let acks: Vec<&str> = kinds(&told)
            .into_iter()
            .filter_map(|(kind, name)| (kind == "ack").then_some(name))
            .collect();
        let expected: Vec<String> = (0..300).map(|n: u32| n.to_string()).collect();
        assert_eq!(acks, expected);
        let place = |wanted: (&str, &str)| kinds(&told).iter().position(|&got| got == wanted);
        for name in &expected {
            assert!(place(("ack", name)) < place(("event", name)), "{name}");
        }
        for handle in handles {
            let names: Vec<u32> = told
                .iter()
                .filter(|event| event["janus"] == "event" && event["session_id"] == handle.0)
                .map(|event| event["transaction"].as_str().unwrap().parse().unwrap())
                .collect();
            assert!(names.is_sorted() && names.len() == 25, "{names:?}");
        }
    }
}

#[test]
fn one_message_may_hold_several_requests() {
    let mut gateway = Lockstep::new(2);
    let conn = gateway.open(1);
    let both =
        "{\"janus\":\"ping\",\"transaction\":\"a\"}\n {\"janus\":\"info\",\"transaction\":\"b\"} ";
    gateway.send(conn, text(both));
    let told = gateway.told(conn);
    assert_eq!(kinds(&told), [("pong", "a"), ("server_info", "b")]);

    for (broken, code) in [
        ("{\"janus\":\"ping\",\"transaction\":\"a\"} {nope", 454),
        ("{\"janus\":\"ping\",\"transaction\":\"a\"} 7", 454),
        ("", 454),
        ("[1, 2]", 456),
    ] {
        gateway.send(conn, text(broken));
        let told = gateway.told(conn);
        assert_eq!(told.len(), 1, "{broken}: {told:?}");
        assert_eq!(told[0]["error"]["code"], code, "{broken}");
        assert!(told[0].get("transaction").is_none());
    }
    gateway.send(conn, text("{\"janus\":"));
    assert_eq!(
        gateway.told(conn)[0]["error"]["reason"],
        "Invalid Janus API request - <string>(1,9): EOF while parsing a value"
    );
    let many = "{}".repeat(257);
    gateway.send(conn, text(&many));
    assert_eq!(gateway.told(conn).len(), 1);
    gateway.send(conn, text(&many[2..]));
    assert_eq!(gateway.told(conn).len(), 256);
}

#[test]
fn frames_of_every_kind_are_served() {
    let mut gateway = Lockstep::new(1);
    let conn = gateway.open(0);
    let ping = br#"{"janus":"ping","transaction":"p"}"#;
    gateway.send(conn, frame(0x82, ping));
    assert_eq!(kinds(&gateway.told(conn)), [("pong", "p")]);
    let parts = [
        frame(0x01, &ping[..9]),
        frame(0x89, b"are you there"),
        frame(0x00, &ping[9..12]),
        frame(0x8a, b"unasked"),
        frame(0x80, &ping[12..]),
    ];
    gateway.send(conn, parts.concat());
    let frames = gateway.frames(conn);
    assert_eq!(frames[0], (0x8a, b"are you there".to_vec()));
    assert_eq!(frames[1].0, 0x81);
    assert_eq!(frames.len(), 2);
    let large = json!({"janus": "ping", "transaction": "l", "filler": "x".repeat(700_000)});
    assert_eq!(gateway.ask(conn, &large)["transaction"], "l");
}

#[test]
fn bytes_may_come_in_any_portions() {
    let parts = [
        handshake("/").into_bytes(),
        text(r#"{"janus":"ping","transaction":"1"}"#),
        frame(PING, b"p"),
        frame(0x01, br#"{"janus":"pi"#),
        frame(
            0x80,
            br#"ng","transaction":"2"}{"janus":"ping","transaction":"3"}"#,
        ),
        frame(0x88, b"\x03\xe8"),
    ];
    let bytes = parts.concat();
    let mut expected = None;
    for size in [bytes.len(), 1, 2, 3, 7, 64] {
        let mut gateway = Lockstep::new(1);
        let conn = gateway.connect_to(0, Listener::WebSocket);
        for part in bytes.chunks(size) {
            gateway.send(conn, part);
        }
        gateway.accepted(conn);
        let frames = gateway.frames(conn);
        let opcodes: Vec<u8> = frames.iter().map(|(first, _)| *first).collect();
        assert_eq!(opcodes, [0x81, 0x8a, 0x81, 0x81, 0x88]);
        assert_eq!(*expected.get_or_insert_with(|| frames.clone()), frames);
    }
}

#[test]
fn a_close_is_echoed_and_faults_have_their_codes() {
    let mut gateway = Lockstep::new(1);
    for (bytes, code) in [
        (frame(0x88, b"\x0d\xb0Gateway timeout"), 3504),
        (frame(0x81, b"\xff"), 1007),
        (vec![0x81, 2, b'{', b'}'], 1002),
        (frame(0xc1, b"{}"), 1002),
        (frame(0x83, b""), 1002),
        (frame(0x88, b"\x03\xed"), 1002),
        (frame(0x81, &vec![b' '; (1 << 20) + 1]), 1009),
    ] {
        let conn = gateway.open(0);
        let session = gateway.session(conn);
        gateway.send(conn, &bytes);
        gateway.send(conn, text("{}"));
        assert_eq!(gateway.close_code(conn), code);
        assert_eq!(
            gateway.clients[&conn].ended,
            Some(TcpAction::ShutdownWrite),
            "{code}"
        );
        gateway.finish(conn);
        assert_eq!(gateway.clients[&conn].ended, Some(TcpAction::Close));
        let other = gateway.open(0);
        assert_eq!(gateway.claim(other, session)["error"]["code"], 458);
    }
    let conn = gateway.open(0);
    gateway.send(conn, frame(0x88, b""));
    assert_eq!(gateway.frames(conn), [(0x88, Vec::new())]);
    let metrics = gateway.metrics();
    assert_eq!(metrics.ws_sockets_closed.client, 2);
    assert_eq!(metrics.ws_sockets_closed.fault, 6);
}

#[test]
fn a_bad_handshake_gets_an_answer_and_plain_http_too() {
    let mut gateway = Lockstep::new(1);
    for (request, status) in [
        (get("/"), 426),
        (handshake("/").replace("janus-protocol", "chat"), 400),
        (handshake("/").replace("Version: 13", "Version: 8"), 426),
    ] {
        let conn = gateway.connect_to(0, Listener::WebSocket);
        gateway.send(conn, request);
        let (answered, body) = gateway.response(conn).expect("an answer");
        assert_eq!(answered, status);
        assert!(!body.is_empty());
        assert_eq!(gateway.clients[&conn].ended, Some(TcpAction::ShutdownWrite));
    }
    assert_eq!(gateway.metrics().ws_handshakes_refused, 3);
    assert_eq!(gateway.metrics().ws_sockets_open, 0);
}

#[test]
fn the_rest_port_upgrades_at_its_path_only() {
    let mut config = Config::default();
    config.http.ws_path = Some("/socket".to_owned());
    let mut gateway = Lockstep::with(2, config);
    let conn = gateway.connect(1);
    gateway.send(conn, get("/janus/ping"));
    assert_eq!(gateway.response(conn).unwrap().0, 200);
    // What the client sends at once with its handshake is not lost.
    let mut bytes = handshake("/socket").into_bytes();
    bytes.extend(text(r#"{"janus":"ping","transaction":"p"}"#));
    gateway.send(conn, bytes);
    gateway.accepted(conn);
    assert_eq!(kinds(&gateway.told(conn)), [("pong", "p")]);
    gateway.echo_on(conn);

    let plain = gateway.connect(0);
    gateway.send(plain, handshake("/janus/info"));
    assert_eq!(gateway.response(plain).unwrap().0, 200);
}

#[test]
fn sessions_end_with_their_socket() {
    for shards in 1..=3 {
        let mut gateway = Lockstep::new(shards);
        let (conn, other) = (gateway.open(0), gateway.open(0));
        let kept = gateway.session(other);
        for id in 1..=12 {
            chosen(&mut gateway, conn, id);
        }
        gateway.reset(conn);
        assert_eq!(gateway.metrics().gateway_sessions, 1);
        assert_eq!(gateway.claim(other, kept)["janus"], "success");
        assert_eq!(gateway.claim(other, 5)["error"]["code"], 458);
        let metrics = gateway.metrics();
        assert_eq!(metrics.gateway_sessions_destroyed.transport_gone, 12);
        assert_eq!(
            (metrics.ws_sockets_open, metrics.ws_sockets_closed.lost),
            (1, 1)
        );
    }
}

#[test]
fn a_lost_socket_leaves_its_sessions_to_be_claimed() {
    for shards in 1..=3 {
        let mut gateway = Lockstep::with(shards, reclaiming(10));
        for shard in 0..usize::from(shards) {
            let first = gateway.open(0);
            let handle = gateway.echo_on(first);
            // One event is on its way when the socket breaks; others come while nobody listens.
            gateway.clients.get_mut(&first).unwrap().kernel = Kernel::Stalls;
            gateway.event(first, handle, "e1");
            gateway.reset(first);
            let metrics = gateway.metrics();
            assert_eq!(metrics.gateway_sessions_orphaned, 1);
            assert_eq!(metrics.gateway_events_requeued, shard as u64 + 1);
            let other = gateway.open(shard);
            for name in ["e2", "e3"] {
                gateway.event(other, handle, name);
                assert_eq!(kinds(&gateway.told(other)), [("ack", name)]);
            }
            gateway.advance(9 * S);
            assert_eq!(gateway.told(other), [] as [Value; 0]);
            let claim = json!({"janus": "claim", "transaction": "cl", "session_id": handle.0});
            gateway.send(other, text(&claim.to_string()));
            let told = gateway.told(other);
            assert_eq!(
                kinds(&told),
                [
                    ("success", "cl"),
                    ("event", "e1"),
                    ("event", "e2"),
                    ("event", "e3")
                ]
            );
            assert_eq!(told[0]["session_id"], handle.0);
            assert_eq!(gateway.metrics().gateway_sessions_orphaned, 0);
            gateway.reset(other);
            gateway.advance(11 * S);
        }
        let metrics = gateway.metrics();
        assert_eq!(metrics.gateway_sessions, 0);
        assert_eq!(
            metrics.gateway_events_pushed,
            metrics.gateway_events_delivered
        );
        assert_eq!(metrics.ws_sockets_open, 0);
    }
}

#[test]
fn the_time_to_claim_counts_from_the_loss() {
    let mut gateway = Lockstep::with(2, reclaiming(10));
    let (first, other) = (gateway.open(0), gateway.open(1));
    let session = gateway.session(first);
    // Longer than the time to claim: silence before the loss does not count.
    gateway.advance(25 * S);
    gateway.reset(first);
    gateway.advance(10 * S - Duration::from_nanos(1));
    assert_eq!(gateway.metrics().gateway_sessions, 1);
    gateway.advance(Duration::from_nanos(1));
    assert_eq!(gateway.metrics().gateway_sessions, 0);
    assert_eq!(gateway.claim(other, session)["error"]["code"], 458);
    let destroyed = gateway.metrics().gateway_sessions_destroyed;
    assert_eq!((destroyed.transport_gone, destroyed.timeout), (1, 0));

    // The session's own timeout goes on all the same, and requests without a claim keep it alive.
    let first = gateway.open(0);
    let session = gateway.session(first);
    gateway.advance(55 * S);
    gateway.reset(first);
    gateway.advance(5 * S);
    assert_eq!(gateway.metrics().gateway_sessions_destroyed.timeout, 1);
    assert_eq!(gateway.claim(other, session)["error"]["code"], 458);
}

/// A listener of a session: a socket, or a connection that polls.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Http,
    Ws,
}

#[test]
fn sessions_are_claimed_in_all_four_directions() {
    for shards in 1..=3 {
        for (from, to) in [
            (Side::Http, Side::Http),
            (Side::Http, Side::Ws),
            (Side::Ws, Side::Http),
            (Side::Ws, Side::Ws),
        ] {
            for last in 0..usize::from(shards) {
                claim_over(shards, from, to, last);
            }
        }
    }
}

fn claim_over(shards: u8, from: Side, to: Side, last: usize) {
    let mut gateway = Lockstep::new(shards);
    let (http, polling) = (gateway.connect(0), gateway.connect(0));
    let old = gateway.open(0);
    let new = gateway.open(last);
    let handle = match from {
        Side::Http => {
            let handle = gateway.echo(http);
            gateway.poll(polling, handle.0, "?maxev=10");
            handle
        }
        Side::Ws => gateway.echo_on(old),
    };
    match to {
        Side::Http => {
            let claim = json!({"janus": "claim", "transaction": "cl"});
            let reply = gateway.post(http, &format!("/janus/{}", handle.0), &claim);
            assert_eq!(reply["session_id"], handle.0);
        }
        Side::Ws => assert_eq!(gateway.claim(new, handle.0)["janus"], "success"),
    }
    // The old poll ends at once and whole; an old socket is told nothing.
    if from == Side::Http {
        assert_eq!(gateway.polled(polling), Some(vec!["keepalive".to_owned()]));
    }
    gateway.make_event(http, handle, "after");
    match to {
        Side::Http => {
            gateway.poll(polling, handle.0, "");
            assert_eq!(gateway.polled(polling), Some(vec!["after".to_owned()]));
            assert_eq!(gateway.told(new), [] as [Value; 0]);
        }
        Side::Ws => {
            assert_eq!(kinds(&gateway.told(new)), [("event", "after")]);
            gateway.poll(polling, handle.0, "");
            assert_eq!(gateway.response(polling).unwrap().0, 404);
        }
    }
    assert_eq!(gateway.told(old), [] as [Value; 0], "{from:?} {to:?}");
    // What becomes of the old socket does not matter any more.
    gateway.reset(old);
    assert_eq!(gateway.metrics().gateway_sessions, 1);
    gateway.reset(new);
    let left = u64::from(to == Side::Http);
    assert_eq!(gateway.metrics().gateway_sessions, left);
}

#[test]
fn events_that_wait_go_over_with_the_claim() {
    let mut gateway = Lockstep::new(2);
    let http = gateway.connect(0);
    let handle = gateway.echo(http);
    for name in ["1", "2", "3"] {
        gateway.make_event(http, handle, name);
    }
    let socket = gateway.open(1);
    let claim = json!({"janus": "claim", "transaction": "cl", "session_id": handle.0});
    gateway.send(socket, text(&claim.to_string()));
    let told = gateway.told(socket);
    assert_eq!(
        kinds(&told),
        [
            ("success", "cl"),
            ("event", "1"),
            ("event", "2"),
            ("event", "3")
        ]
    );
    // And back, with one that the socket's kernel did not take.
    gateway.clients.get_mut(&socket).unwrap().kernel = Kernel::Stalls;
    gateway.make_event(http, handle, "4");
    let reply = gateway.post(http, &format!("/janus/{}", handle.0), &claim);
    assert_eq!(reply["janus"], "success");
    gateway.poll(http, handle.0, "?maxev=5");
    assert_eq!(gateway.polled(http), Some(vec!["4".to_owned()]));
}

#[test]
fn claiming_ones_own_session_changes_nothing() {
    let mut gateway = Lockstep::new(2);
    let conn = gateway.open(0);
    let handle = gateway.echo_on(conn);
    assert_eq!(gateway.claim(conn, handle.0)["janus"], "success");
    gateway.event(conn, handle, "m");
    assert_eq!(kinds(&gateway.told(conn)), [("ack", "m"), ("event", "m")]);
    gateway.reset(conn);
    assert_eq!(gateway.metrics().gateway_sessions, 0);
}

#[test]
fn a_silent_session_times_out_and_its_socket_stays() {
    for shards in 1..=2 {
        let mut gateway = Lockstep::new(shards);
        let conn = gateway.open(0);
        let (one, two) = (gateway.session(conn), gateway.session(conn));
        for _ in 0..5 {
            gateway.advance(15 * S);
            let keepalive = json!({"janus": "keepalive", "transaction": "k", "session_id": two});
            gateway.send(conn, text(&keepalive.to_string()));
        }
        let told: Vec<Value> = gateway
            .frames(conn)
            .into_iter()
            .filter(|(first, _)| *first == 0x81)
            .map(|(_, payload)| serde_json::from_slice(&payload).unwrap())
            .filter(|value: &Value| value["janus"] != "ack")
            .collect();
        assert_eq!(told, [json!({"janus": "timeout", "session_id": one})]);
        assert!(gateway.clients[&conn].ended.is_none());
    }
}

#[test]
fn a_client_that_answers_no_ping_is_given_up() {
    let mut gateway = Lockstep::with(1, reclaiming(100));
    let (dead, live) = (gateway.open(0), gateway.open(0));
    let session = gateway.session(dead);
    for _ in 0..2 {
        gateway.advance(30 * S);
        assert_eq!(gateway.frames(dead), [(0x89, Vec::new())]);
        assert_eq!(gateway.frames(live), [(0x89, Vec::new())]);
        gateway.send(live, frame(0x8a, b""));
        gateway.send(
            live,
            text(
                &json!({"janus": "keepalive", "transaction": "k", "session_id": session})
                    .to_string(),
            ),
        );
        gateway.told(live);
    }
    gateway.advance(30 * S - Duration::from_nanos(1));
    assert!(gateway.clients[&dead].ended.is_none());
    gateway.advance(Duration::from_nanos(1));
    assert_eq!(gateway.clients[&dead].ended, Some(TcpAction::Abort));
    assert!(gateway.clients[&live].ended.is_none());
    assert_eq!(gateway.metrics().ws_sockets_closed.silent, 1);
    assert_eq!(gateway.metrics().gateway_sessions_orphaned, 1);
}

#[test]
fn floods_are_closed_with_1008() {
    let ping = text(r#"{"janus":"ping","transaction":"p"}"#);
    for (bytes, allowed) in [(ping, 1_000), (frame(0x89, b""), 250)] {
        let mut gateway = Lockstep::new(1);
        let conn = gateway.open(0);
        gateway.send(conn, bytes.repeat(allowed));
        assert_eq!(gateway.frames(conn).len(), allowed);
        gateway.send(conn, bytes.repeat(2));
        assert_eq!(gateway.close_code(conn), 1008);
        assert_eq!(gateway.metrics().ws_sockets_closed.flood, 1);

        // At the allowed rate it may go on for good.
        let conn = gateway.open(0);
        for _ in 0..40 {
            gateway.send(conn, bytes.repeat(allowed / 5));
            gateway.advance(S);
        }
        assert!(gateway.clients[&conn].ended.is_none());
    }
}

#[test]
fn a_reader_that_is_too_slow_is_closed_and_its_session_kept() {
    for shards in 1..=2 {
        let mut gateway = Lockstep::with(shards, reclaiming(10));
        let (slow, other) = (gateway.open(0), gateway.open(0));
        let handle = gateway.echo_on(slow);
        gateway.clients.get_mut(&slow).unwrap().kernel = Kernel::Stalls;
        let mut made = 0;
        while gateway.metrics().ws_sockets_closed.slow == 0 {
            made += 1;
            assert!(made < 1_000, "the socket is never closed");
            gateway.event(other, handle, &made.to_string());
            gateway.told(other);
            if made % 100 == 0 {
                gateway.advance(S);
            }
        }
        assert_eq!(gateway.metrics().gateway_sessions_orphaned, 1);
        let claim = json!({"janus": "claim", "transaction": "cl", "session_id": handle.0});
        gateway.send(other, text(&claim.to_string()));
        let told = gateway.told(other);
        let names: Vec<u32> = kinds(&told)
            .into_iter()
            .filter(|(kind, _)| *kind == "event")
            .map(|(_, name)| name.parse().unwrap())
            .collect();
        assert_eq!(names, (1..=made).collect::<Vec<u32>>());
        // The slow reader finds the reason behind what it had not read.
        gateway.take(slow, usize::MAX);
        assert_eq!(gateway.close_code(slow), 1013);
    }
}

#[test]
fn a_socket_with_too_many_messages_is_closed() {
    let mut config = Config::default();
    config.limits.ws_out_messages_count = 8;
    let mut gateway = Lockstep::with(1, config);
    let conn = gateway.open(0);
    gateway.clients.get_mut(&conn).unwrap().kernel = Kernel::Stalls;
    let ping = text(r#"{"janus":"ping","transaction":"p"}"#);
    gateway.send(conn, ping.repeat(8));
    assert_eq!(gateway.metrics().ws_sockets_closed.slow, 0);
    gateway.send(conn, &ping);
    assert_eq!(gateway.metrics().ws_sockets_closed.slow, 1);
    gateway.take(conn, usize::MAX);
    assert_eq!(gateway.close_code(conn), 1013);
}

#[test]
fn requests_wait_while_much_output_is_pending() {
    let mut config = Config::default();
    config.limits.out_bytes = 64 << 10;
    let mut gateway = Lockstep::with(1, config);
    let conn = gateway.open(0);
    gateway.clients.get_mut(&conn).unwrap().kernel = Kernel::Stalls;
    let info = text(r#"{"janus":"info","transaction":"i"}"#);
    gateway.send(conn, info.repeat(200));
    // Neither closed nor served to the end: the rest waits in the input.
    assert_eq!(gateway.metrics().ws_sockets_closed.slow, 0);
    assert!(gateway.metrics().ws_sent_messages < 200);
    gateway.clients.get_mut(&conn).unwrap().kernel = Kernel::Takes;
    gateway.take(conn, usize::MAX);
    assert_eq!(gateway.told(conn).len(), 200);
}

#[test]
fn draining_closes_sockets_when_the_last_session_has_ended() {
    for shards in 1..=3 {
        let mut gateway = Lockstep::new(shards);
        let conns: Vec<Conn> = (0..usize::from(shards))
            .map(|at| gateway.open(at))
            .collect();
        let session = gateway.session(conns[0]);
        gateway.control(Control::Drain);
        gateway.advance(S);
        for &conn in &conns {
            assert!(gateway.frames(conn).is_empty());
        }
        let create = json!({"janus": "create", "transaction": "c"});
        assert_eq!(gateway.ask(conns[0], &create)["error"]["code"], 472);
        let chosen = json!({"janus": "create", "transaction": "c", "id": 77});
        assert_eq!(gateway.ask(conns[0], &chosen)["error"]["code"], 472);
        let destroy = json!({"janus": "destroy", "transaction": "d", "session_id": session});
        gateway.send(conns[0], text(&destroy.to_string()));
        for &conn in &conns {
            assert_eq!(gateway.close_code(conn), 1001);
            gateway.finish(conn);
        }
        gateway.advance(Duration::ZERO);
        assert!(gateway.is_drained());
    }
}

#[test]
fn stopping_ends_sessions_and_closes_sockets_at_once() {
    let mut gateway = Lockstep::new(2);
    let conn = gateway.open(1);
    gateway.session(conn);
    gateway.control(Control::Stop);
    gateway.advance(Duration::ZERO);
    assert_eq!(gateway.close_code(conn), 1001);
    gateway.advance(3 * S);
    assert!(gateway.is_drained());
    assert_eq!(gateway.metrics().ws_sockets_closed.shutdown, 1);
}

#[test]
fn who_is_not_on_the_access_list_is_turned_away() {
    let mut config = Config::default();
    config.ws.acl = vec!["10.0.0.0/8".parse().unwrap()];
    let mut gateway = Lockstep::with(1, config.clone());
    let conn = gateway.connect_to(0, Listener::WebSocket);
    assert_eq!(gateway.clients[&conn].ended, Some(TcpAction::Abort));

    config.ws.acl = vec!["127.0.0.0/8".parse().unwrap()];
    config.ws.acl_forwarded = true;
    let mut gateway = Lockstep::with(1, config);
    for (forwarded, is_served) in [("127.0.0.9", true), ("127.0.0.9, 8.8.8.8", false)] {
        let conn = gateway.connect_to(0, Listener::WebSocket);
        let line = format!("Host: x\r\nX-Forwarded-For: {forwarded}");
        gateway.send(conn, handshake("/").replace("Host: x", &line));
        if is_served {
            gateway.accepted(conn);
        } else {
            assert_eq!(gateway.response(conn).unwrap().0, 403);
        }
    }
}

#[test]
fn operators_have_an_access_list_of_their_own() {
    let mut config = Config::default();
    config.ws.acl = vec!["127.0.0.0/8".parse().unwrap()];
    config.ws.admin_acl = vec!["10.0.0.0/8".parse().unwrap()];
    config.ws.admin_acl_forwarded = true;
    let mut gateway = Lockstep::with(1, config);
    let outside = gateway.connect_to(0, Listener::AdminWebSocket);
    assert_eq!(gateway.clients[&outside].ended, Some(TcpAction::Abort));
    assert_eq!(gateway.metrics().http_connections_refused.acl, 1);
    for (forwarded, status) in [("10.1.1.1", 101), ("10.1.1.1, 192.0.2.1", 403)] {
        let conn = gateway.connect_from([10, 0, 0, 7].into(), 0, Listener::AdminWebSocket);
        let handshake = handshake("/").replace("janus-protocol", "janus-admin-protocol");
        let line = format!("Host: x\r\nX-Forwarded-For: {forwarded}");
        gateway.send(conn, handshake.replace("Host: x", &line));
        let head = String::from_utf8_lossy(&gateway.clients[&conn].received).into_owned();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    gateway.open(0);
}

#[test]
fn two_thousand_sessions_come_go_and_are_claimed_without_a_leak() {
    let mut config = reclaiming(10);
    config.limits.ws_messages_rate_count = 100_000;
    let mut gateway = Lockstep::with(2, config);
    let sockets: Vec<Conn> = (0..20).map(|at| gateway.open(at % 2)).collect();
    for (at, &conn) in sockets.iter().enumerate() {
        for n in 0..100 {
            chosen(&mut gateway, conn, (at * 100 + n + 1) as u64);
        }
    }
    assert_eq!(gateway.metrics().gateway_sessions, 2_000);
    let claim = |id: usize| json!({"janus": "claim", "transaction": "c", "session_id": id});
    for id in 1..=2_000 {
        let to = sockets[(id * 7 + id / 100) % 20];
        assert_eq!(gateway.ask(to, &claim(id))["janus"], "success");
    }
    // Half of the sockets break; the other half takes everything over.
    for &conn in &sockets[..10] {
        gateway.reset(conn);
    }
    for id in 1..=2_000 {
        let to = sockets[10 + id % 10];
        assert_eq!(gateway.ask(to, &claim(id))["janus"], "success");
    }
    for id in 1..=1_000 {
        let destroy = json!({"janus": "destroy", "transaction": "d", "session_id": id});
        assert_eq!(gateway.ask(sockets[10], &destroy)["janus"], "success");
    }
    for &conn in &sockets[10..] {
        gateway.send(conn, frame(0x88, b"\x03\xe8"));
        assert_eq!(gateway.close_code(conn), 1000);
        gateway.finish(conn);
    }
    assert_eq!(gateway.metrics().gateway_sessions_orphaned, 1_000);
    gateway.advance(11 * S);
    let metrics = gateway.metrics();
    assert_eq!(metrics.gateway_sessions, 0);
    assert_eq!(metrics.gateway_sessions_orphaned, 0);
    assert_eq!(metrics.gateway_sessions_created, 2_000);
    assert_eq!(metrics.gateway_sessions_destroyed.destroyed, 1_000);
    assert_eq!(metrics.gateway_sessions_destroyed.transport_gone, 1_000);
    assert_eq!(
        (metrics.ws_sockets_open, metrics.ws_sockets_opened),
        (0, 20)
    );
    assert_eq!(metrics.http_connections_open, 0);
    assert_eq!(
        metrics.gateway_events_pushed,
        metrics.gateway_events_delivered
    );
}
