//! Clients of all kinds at once: REST sessions with long polls, WebSockets, operators.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::SECRETS;
use super::server::Server;

/// What a browser offers. Nobody answers its checks, so that no connection comes up.
const OFFER: &str = include_str!("../../../tests/fixtures/sdp/offers/chrome.sdp");

const ROUNDS: usize = 24;

/// Puts load on a gateway, until all of its clients are content.
pub(crate) fn apply(server: &Server) {
    let (rest, socket, admin) = (server.rest, server.socket, server.admin);
    let mut clients = Vec::new();
    for number in 0..4 {
        clients.push(thread::spawn(move || browser(rest, number)));
        clients.push(thread::spawn(move || socket_user(socket, "/", number)));
    }
    clients.push(thread::spawn(move || socket_user(rest, "/ws", 9)));
    clients.push(thread::spawn(move || operator(admin)));
    clients.push(thread::spawn(move || nuisance(rest)));
    thread::sleep(Duration::from_millis(50));
    server.signal("HUP");
    for client in clients {
        client.join().expect("the client is content");
    }
}

/// What an operator sees of a metric.
pub(crate) fn metric(server: &Server, name: &str) -> u64 {
    let text = Http::connect(server.admin).get("/metrics");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("{name}: {text}"));
    value.parse().unwrap()
}

struct Http {
    stream: BufReader<TcpStream>,
}

impl Http {
    fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    fn write(&mut self, text: &str) {
        // In two portions, so that secrets and heads are cut.
        let (first, second) = text.split_at(text.len() / 2);
        self.stream.get_mut().write_all(first.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(1));
        self.stream.get_mut().write_all(second.as_bytes()).unwrap();
    }

    fn post(&mut self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        self.write(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let text = self.answer();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path} {body}: {text}"))
    }

    fn get(&mut self, path: &str) -> String {
        self.write(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.answer()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn bytes(&mut self, count: usize) -> String {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn answer(&mut self) -> String {
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let line = self.line().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.parse().unwrap();
            }
            is_chunked |= line == "transfer-encoding: chunked";
        }
        if !is_chunked {
            return self.bytes(length);
        }
        let mut body = String::new();
        loop {
            let size = usize::from_str_radix(&self.line(), 16).unwrap();
            body += &self.bytes(size);
            assert_eq!(self.line(), "");
            if size == 0 {
                return body;
            }
        }
    }
}

/// Joins a request with what every request shows.
fn request(mut body: Value, number: usize) -> Value {
    body["apisecret"] = SECRETS[0].into();
    body["transaction"] = format!("changeable-{number}").into();
    body
}

fn id_of(answer: &Value) -> u64 {
    answer["data"]["id"]
        .as_u64()
        .unwrap_or_else(|| panic!("{answer}"))
}

fn browser(to: SocketAddr, number: usize) {
    let mut http = Http::connect(to);
    let created = http.post("/janus", &request(json!({"janus": "create"}), number));
    let session = id_of(&created);
    let path = format!("/janus/{session}");
    let poll = format!("{path}?maxev=3&apisecret={}", SECRETS[0]);
    let poller = thread::spawn(move || {
        let mut http = Http::connect(to);
        let (mut events, mut answers) = (0, 0);
        while events < ROUNDS {
            let text = http.get(&poll);
            let got: Value = serde_json::from_str(&text).unwrap();
            let got = got.as_array().unwrap_or_else(|| panic!("{text}"));
            let is_answer = |event: &&Value| event["jsep"]["type"] == "answer";
            answers += got.iter().filter(is_answer).count();
            events += got.len();
        }
        assert_eq!(answers, 1);
    });
    let attach = json!({"janus": "attach", "plugin": "janus.plugin.echotest"});
    let handle = id_of(&http.post(&path, &request(attach, number)));
    let of_handle = format!("{path}/{handle}");
    for round in 0..ROUNDS {
        let mut body = json!({"janus": "message", "body": {"audio": round % 2 == 0}});
        if round == 1 {
            body["jsep"] = json!({"type": "offer", "sdp": OFFER});
        }
        if round % 3 == 0 {
            // Another connection is likely to be another shard's.
            http = Http::connect(to);
            body["token"] = SECRETS[4].into();
        }
        let answer = http.post(&of_handle, &request(body, number));
        assert_eq!(answer["janus"], "ack", "{answer}");
    }
    poller.join().expect("all events came");
    rooms(&mut http, &path, number);
    let answer = http.post(&path, &request(json!({"janus": "destroy"}), number));
    assert_eq!(answer["janus"], "success", "{answer}");
}

fn rooms(http: &mut Http, path: &str, number: usize) {
    let attach = json!({"janus": "attach", "plugin": "janus.plugin.videoroom"});
    let handle = id_of(&http.post(path, &request(attach, number)));
    let path = format!("{path}/{handle}");
    for body in [
        json!({"request": "list"}),
        json!({"request": "create", "room": 5_000 + number, "pin": SECRETS[2], "secret": SECRETS[3]}),
        json!({"request": "edit", "room": 1234, "secret": "wrong", "new_pin": "x"}),
        json!({"request": "listparticipants", "room": 1234}),
        json!({"request": "join", "ptype": "publisher", "room": 1234, "pin": SECRETS[2]}),
        json!({"request": "allowed", "room": 1234, "action": "add", "allowed": [SECRETS[4]],
            "secret": SECRETS[3]}),
    ] {
        let body = json!({"janus": "message", "body": body});
        let answer = http.post(&path, &request(body, number));
        assert!(answer["janus"] != "error", "{answer}");
    }
}

fn socket_user(to: SocketAddr, path: &str, number: usize) {
    let mut http = Http::connect(to);
    http.write(&format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: janus-protocol\r\n\r\n"
    ));
    assert!(http.line().starts_with("HTTP/1.1 101"));
    while !http.line().is_empty() {}
    say(&mut http, &request(json!({"janus": "create"}), number));
    let session = id_of(&hear(&mut http));
    let attach = json!({"janus": "attach", "plugin": "janus.plugin.echotest"});
    say(&mut http, &request(with(attach, session, 0), number));
    let handle = id_of(&hear(&mut http));
    for round in 0..ROUNDS {
        let body = json!({"janus": "message", "body": {"video": round % 2 == 0}});
        say(&mut http, &request(with(body, session, handle), number));
        let heard = [hear(&mut http), hear(&mut http)].map(|it| it["janus"].clone());
        assert!(
            heard.contains(&"ack".into()) && heard.contains(&"event".into()),
            "{heard:?}"
        );
    }
    say(
        &mut http,
        &json!({"janus": "create", "transaction": "x", "apisecret": "wrong"}),
    );
    assert_eq!(hear(&mut http)["error"]["code"], 403);
    if number < 2 {
        say(
            &mut http,
            &request(with(json!({"janus": "destroy"}), session, 0), number),
        );
        hear(&mut http);
    }
    // Otherwise the session ends with its socket.
}

fn with(mut body: Value, session: u64, handle: u64) -> Value {
    body["session_id"] = session.into();
    if handle != 0 {
        body["handle_id"] = handle.into();
    }
    body
}

fn say(http: &mut Http, body: &Value) {
    let mut text = body.to_string();
    while text.len() < 126 {
        text.push(' ');
    }
    let mask = [0x11, 0x9d, 0x3c, 0xf0];
    let size = u16::try_from(text.len()).unwrap().to_be_bytes();
    let mut frame = vec![0x81, 0xfe, size[0], size[1]];
    frame.extend(mask);
    frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    http.stream.get_mut().write_all(&frame).unwrap();
}

fn hear(http: &mut Http) -> Value {
    let mut head = [0; 2];
    http.stream.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 0x81);
    let size = match head[1] {
        126 => {
            let mut size = [0; 2];
            http.stream.read_exact(&mut size).unwrap();
            usize::from(u16::from_be_bytes(size))
        }
        size => usize::from(size),
    };
    serde_json::from_str(&http.bytes(size)).unwrap()
}

fn operator(to: SocketAddr) {
    let mut http = Http::connect(to);
    for round in 0..ROUNDS {
        assert!(http.get("/metrics").contains("bifrons_driver_turns"));
        let mut ask = |mut body: Value| {
            body["admin_secret"] = SECRETS[1].into();
            body["transaction"] = format!("op-{round}").into();
            http.post("/admin", &body)
        };
        if round == 0 {
            let added = ask(json!({"janus": "add_token", "token": SECRETS[4]}));
            assert_eq!(added["janus"], "success", "{added}");
        }
        let listed = ask(json!({"janus": "list_tokens"}));
        assert_eq!(listed["janus"], "success", "{listed}");
        let sessions = ask(json!({"janus": "list_sessions"}));
        assert_eq!(sessions["janus"], "success", "{sessions}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Requests that make no sense, and connections that end within them.
fn nuisance(to: SocketAddr) {
    for text in [
        "GET / HTTP/9\r\n\r\n",
        "POST /janus HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{\"a",
        "GET /janus/info HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\n\r\n",
        "\r\n\r\n\r\n",
        "OPTIONS /janus HTTP/1.1\r\nHost: a\r\n\r\nGET /janus/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let _ = stream.read(&mut [0; 1_000]);
    }
}
