//! The Admin API over WebSocket, in lockstep and virtual time.

mod support;

use bifrons::config::{Config, Secret};
use bifrons::shard::Listener;
use serde_json::{Value, json};
use support::{Conn, Lockstep};

const SECRET: &str = "a secret of some length";

fn gateway(shards: u8) -> Lockstep {
    let mut config = Config::default();
    config.admin.secret = Some(Secret::new(SECRET));
    Lockstep::with(shards, config)
}

fn open(gateway: &mut Lockstep, shard: usize) -> Conn {
    let conn = gateway.connect_to(shard, Listener::AdminWebSocket);
    let fields = [
        "Host: gateway.example",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: janus-admin-protocol",
    ];
    gateway.send(
        conn,
        format!("GET / HTTP/1.1\r\n{}\r\n\r\n", fields.join("\r\n")),
    );
    let received = &mut gateway.clients.get_mut(&conn).expect("it is open").received;
    let end = received.windows(4).position(|four| four == b"\r\n\r\n");
    let head: Vec<u8> = received.drain(..end.expect("a head") + 4).collect();
    let head = String::from_utf8(head).expect("a head is text");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("\r\nSec-WebSocket-Protocol: janus-admin-protocol\r\n"));
    conn
}

/// Says all requests in one message, and takes what is said to them.
fn ask(gateway: &mut Lockstep, conn: Conn, requests: &[Value]) -> Vec<Value> {
    let texts: Vec<String> = requests.iter().map(Value::to_string).collect();
    // Padded to what needs two bytes of length.
    let text = format!("{:126}", texts.join("\n"));
    let length = u16::try_from(text.len())
        .expect("requests are short")
        .to_be_bytes();
    let mut frame = vec![0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    gateway.send(conn, frame);
    let received =
        std::mem::take(&mut gateway.clients.get_mut(&conn).expect("it is open").received);
    let mut rest = &received[..];
    let mut told = Vec::new();
    while let [0x81, length, more @ ..] = rest {
        let (size, skip) = match length {
            126 => (usize::from(u16::from_be_bytes([more[0], more[1]])), 2),
            size => (usize::from(*size), 0),
        };
        told.push(serde_json::from_slice(&more[skip..skip + size]).expect("JSON"));
        rest = &more[skip + size..];
    }
    assert_eq!(rest, b"", "messages are whole frames of text");
    told
}

fn with_secret(mut request: Value) -> Value {
    request["admin_secret"] = json!(SECRET);
    request
}

#[test]
fn a_question_to_all_shards_is_answered_in_its_place() {
    let mut gateway = gateway(3);
    let sessions: Vec<u64> = (0..3)
        .map(|shard| {
            let conn = gateway.connect(shard);
            gateway.echo(conn).0
        })
        .collect();
    let conn = open(&mut gateway, 1);
    let told = ask(
        &mut gateway,
        conn,
        &[
            with_secret(json!({"janus": "list_sessions", "transaction": "a"})),
            json!({"janus": "ping", "transaction": "b"}),
            with_secret(json!({"janus": "get_status", "transaction": "c"})),
        ],
    );
    let transactions: Vec<&str> = told
        .iter()
        .map(|it| it["transaction"].as_str().unwrap())
        .collect();
    assert_eq!(transactions, ["a", "b", "c"]);
    let mut listed: Vec<u64> = told[0]["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap())
        .collect();
    listed.sort_unstable();
    let mut sessions = sessions;
    sessions.sort_unstable();
    assert_eq!(listed, sessions);
    assert_eq!(told[1]["janus"], "pong");
    assert!(told[2]["status"].is_object(), "{}", told[2]);
}

#[test]
fn a_plugin_on_another_shard_is_asked() {
    let mut gateway = gateway(2);
    let conn = open(&mut gateway, 0);
    for room in 1_000..1_004 {
        for (request, wanted) in [("create", "created"), ("exists", "success")] {
            let body = json!({"request": request, "room": room});
            let told = ask(
                &mut gateway,
                conn,
                &[with_secret(json!({
                    "janus": "message_plugin", "transaction": "m",
                    "plugin": "janus.plugin.videoroom", "request": body,
                }))],
            );
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!(told[0]["response"]["videoroom"], wanted, "{}", told[0]);
        }
    }
}

#[test]
fn without_the_secret_nothing_is_told_and_the_socket_stays() {
    let mut gateway = gateway(2);
    let conn = open(&mut gateway, 0);
    let list = json!({"janus": "list_sessions", "transaction": "a"});
    let told = ask(&mut gateway, conn, std::slice::from_ref(&list));
    assert_eq!(told[0]["error"]["code"], 403);
    let told = ask(&mut gateway, conn, &[with_secret(list)]);
    assert_eq!(told[0]["janus"], "success");
}

#[test]
fn the_janus_api_is_not_served_to_operators() {
    let mut gateway = gateway(1);
    let conn = open(&mut gateway, 0);
    let told = ask(
        &mut gateway,
        conn,
        &[with_secret(json!({"janus": "create", "transaction": "a"}))],
    );
    assert_eq!(told[0]["janus"], "error", "{}", told[0]);
}
