//! HTTP and WebSocket over TLS, in lockstep with a client of the same library.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use bifrons::base::json::Form;
use bifrons::config::{Config, Pem, Secret};
use bifrons::shard::{Control, Listener, TcpAction};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use serde_json::{Value, json};
use support::{Conn, Kernel, Lockstep, get, post};

const CERT: &str = include_str!("fixtures/tls/cert.pem");
const KEY: &str = include_str!("fixtures/tls/key.pem");

fn config() -> Config {
    let mut config = Config::default();
    for tls in [&mut config.http.tls, &mut config.ws.tls] {
        tls.pem = Some(Pem {
            chain: CERT.to_owned(),
            key: Secret::new(KEY),
        });
    }
    config
}

/// A client with its connection.
struct Client {
    conn: Conn,
    tls: ClientConnection,
    plain: Vec<u8>,
}

impl Client {
    fn connect(gateway: &mut Lockstep, listener: Listener) -> Self {
        Self::with(gateway, listener, &rustls::version::TLS13)
    }

    fn with(
        gateway: &mut Lockstep,
        listener: Listener,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let cert = CertificateDer::from_pem_slice(CERT.as_bytes()).unwrap();
        roots.add(cert).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "gateway.example".try_into().unwrap();
        let mut client = Self {
            conn: gateway.connect_to(0, listener),
            tls: ClientConnection::new(Arc::new(config), name).unwrap(),
            plain: Vec::new(),
        };
        client.exchange(gateway);
        client
    }

    /// Carries records to and fro, a few bytes at a time, until nobody has more to say.
    fn exchange(&mut self, gateway: &mut Lockstep) {
        loop {
            let mut records = Vec::new();
            while self.tls.wants_write() {
                self.tls.write_tls(&mut records).unwrap();
            }
            for part in records.chunks(1_000) {
                gateway.send(self.conn, part);
            }
            let received = &mut gateway.clients.get_mut(&self.conn).unwrap().received;
            let came = std::mem::take(received);
            let mut rest = &came[..];
            while !rest.is_empty() {
                self.tls.read_tls(&mut rest).unwrap();
                let state = self.tls.process_new_packets().unwrap();
                let mut plain = vec![0; state.plaintext_bytes_to_read()];
                self.tls.reader().read_exact(&mut plain).unwrap();
                self.plain.extend(plain);
            }
            if came.is_empty() && records.is_empty() {
                return;
            }
        }
    }

    fn send(&mut self, gateway: &mut Lockstep, plain: impl AsRef<[u8]>) {
        self.tls.set_buffer_limit(None);
        self.tls.writer().write_all(plain.as_ref()).unwrap();
        self.exchange(gateway);
    }

    /// The body of the answer that has come, which must be the only one.
    fn body(&mut self) -> String {
        let text = String::from_utf8(std::mem::take(&mut self.plain)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        body.to_owned()
    }
}

#[test]
fn requests_are_served_over_both_versions() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut gateway = Lockstep::with(2, config());
        let mut client = Client::with(&mut gateway, Listener::RestTls, version);
        assert!(!client.tls.is_handshaking());
        let ping = json!({"janus": "ping", "transaction": "p"}).to_string();
        for _ in 0..3 {
            client.send(&mut gateway, post("/janus", &ping));
            assert!(client.body().contains("pong"));
        }
        client.send(&mut gateway, get("/janus/info"));
        assert!(client.body().contains("Janus WebRTC Server"));
        assert_eq!(gateway.metrics().tls_handshakes, 1);
    }
}

#[test]
fn the_admin_api_has_its_own_form_and_its_connections_count() {
    let mut config = config();
    config.admin.enabled = true;
    config.admin.json = Form::Indented;
    let mut gateway = Lockstep::with(1, config);
    let _clients = [Listener::Rest, Listener::RestTls].map(|it| gateway.connect_to(0, it));
    let mut admin = Client::connect(&mut gateway, Listener::AdminTls);
    let query = json!({
        "janus": "query_transport", "transaction": "q", "transport": "janus.transport.http",
        "request": {"request": "connections"},
    });
    admin.send(&mut gateway, post("/admin", &query.to_string()));
    let body = admin.body();
    assert!(body.contains("\n      \"connections\": {\n"), "{body}");
    assert!(
        body.contains("\"http\": 2") && body.contains("\"admin_http\": 1"),
        "{body}"
    );
    let mut client = Client::connect(&mut gateway, Listener::RestTls);
    client.send(&mut gateway, get("/janus/ping"));
    let body = client.body();
    assert!(body.contains("{\"janus\":\"pong\""), "{body}");
}

#[test]
fn large_messages_go_through_in_both_directions() {
    let mut gateway = Lockstep::with(1, config());
    let mut client = Client::connect(&mut gateway, Listener::RestTls);
    let long = "x".repeat(700_000);
    let body = json!({"janus": "ping", "transaction": "p", "filler": long}).to_string();
    client.send(&mut gateway, post("/janus", &body));
    assert!(client.body().contains("pong"));
    // Many answers at once are more than what is encrypted ahead.
    client.send(&mut gateway, get("/janus/info").repeat(200));
    let text = String::from_utf8(std::mem::take(&mut client.plain)).unwrap();
    assert!(text.len() > 4 * 64 * 1024, "{}", text.len());
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 200);
}

#[test]
fn an_event_counts_when_the_kernel_took_its_last_record() {
    let mut gateway = Lockstep::with(2, config());
    let plain = gateway.connect(0);
    let handle = gateway.echo(plain);
    let mut client = Client::connect(&mut gateway, Listener::RestTls);
    client.send(&mut gateway, get(&format!("/janus/{}?maxev=5", handle.0)));
    gateway.clients.get_mut(&client.conn).unwrap().kernel = Kernel::Stalls;
    gateway.make_event(plain, handle, "e");
    gateway.take(client.conn, 20);
    assert_eq!(gateway.metrics().gateway_events_delivered, 0);
    gateway.take(client.conn, usize::MAX);
    assert_eq!(gateway.metrics().gateway_events_delivered, 1);
    client.exchange(&mut gateway);
    assert!(client.body().contains("\"transaction\":\"e\""));

    // Half of an answer was taken when the connection breaks: its event goes to the next poll.
    client.send(&mut gateway, get(&format!("/janus/{}", handle.0)));
    gateway.make_event(plain, handle, "f");
    gateway.take(client.conn, 20);
    gateway.reset(client.conn);
    gateway.poll(plain, handle.0, "");
    assert_eq!(gateway.polled(plain), Some(vec!["f".to_owned()]));
}

#[test]
fn websockets_are_served_and_closed_in_order() {
    let mut gateway = Lockstep::with(1, config());
    let mut client = Client::connect(&mut gateway, Listener::WebSocketTls);
    client.send(
        &mut gateway,
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: janus-protocol\r\n\r\n",
    );
    assert!(client.plain.starts_with(b"HTTP/1.1 101 "));
    client.plain.clear();
    // Masked with zeros, which is as good as any mask here.
    let request = r#"{"janus":"create","transaction":"c"}"#;
    let mut frame = vec![0x81, 0x80 | request.len() as u8, 0, 0, 0, 0];
    frame.extend(request.as_bytes());
    client.send(&mut gateway, frame);
    let reply: Value = serde_json::from_slice(&client.plain[2..]).unwrap();
    assert!(reply["data"]["id"].is_u64());
    client.plain.clear();
    client.send(&mut gateway, [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]);
    assert_eq!(client.plain, [0x88, 2, 0x03, 0xe8]);
    // After the close frame comes the end of TLS, and then that of the stream.
    let mut byte = [0];
    assert_eq!(client.tls.reader().read(&mut byte).unwrap(), 0);
    let ended = gateway.clients[&client.conn].ended;
    assert_eq!(ended, Some(TcpAction::ShutdownWrite));
    assert_eq!(gateway.metrics().gateway_sessions, 0);
    gateway.finish(client.conn);
    assert_eq!(gateway.metrics().http_connections_open, 0);
}

#[test]
fn a_client_that_says_goodbye_is_gone() {
    let mut gateway = Lockstep::with(1, config());
    let mut client = Client::connect(&mut gateway, Listener::RestTls);
    client.tls.send_close_notify();
    client.exchange(&mut gateway);
    assert_eq!(gateway.clients[&client.conn].ended, Some(TcpAction::Close));
    assert_eq!(gateway.metrics().http_connections_open, 0);
}

#[test]
fn plain_http_on_a_tls_port_gets_an_alert() {
    let mut gateway = Lockstep::with(1, config());
    for bytes in [get("/janus/info").into_bytes(), vec![0; 64], vec![22; 64]] {
        let conn = gateway.connect_to(0, Listener::RestTls);
        gateway.send(conn, bytes);
        let client = &gateway.clients[&conn];
        // A record of type alert (21), at level fatal (2).
        assert_eq!(client.received.first(), Some(&21));
        assert_eq!(client.received.get(5), Some(&2));
        assert_eq!(client.ended, Some(TcpAction::ShutdownWrite));
    }
    assert_eq!(gateway.metrics().tls_faults, 3);
    gateway.advance(Duration::from_secs(3));
    assert_eq!(gateway.metrics().http_connections_open, 0);
}

#[test]
fn a_handshake_that_does_not_go_on_is_given_up() {
    let mut gateway = Lockstep::with(1, config());
    let silent = gateway.connect_to(0, Listener::RestTls);
    let begun = gateway.connect_to(0, Listener::WebSocketTls);
    gateway.send(begun, [22, 3, 1, 2, 0]);
    gateway.advance(Duration::from_secs(10));
    for conn in [silent, begun] {
        assert_eq!(gateway.clients[&conn].ended, Some(TcpAction::Close));
    }
}

#[test]
fn another_certificate_is_shown_from_the_next_connection_on() {
    let mut gateway = Lockstep::with(1, Config::default());
    let conn = gateway.connect_to(0, Listener::RestTls);
    assert_eq!(gateway.clients[&conn].ended, Some(TcpAction::Abort));
    gateway.control(Control::Configure(Arc::new(config())));
    let mut client = Client::connect(&mut gateway, Listener::RestTls);
    gateway.control(Control::Configure(Arc::new(Config::default())));
    // What was begun goes on with what it was begun with.
    client.send(&mut gateway, get("/janus/info"));
    assert!(client.body().contains("Janus WebRTC Server"));
}
