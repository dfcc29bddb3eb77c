//! Transports, event handlers and plugins asked and set by the Admin API, in lockstep and virtual
//! time.

mod support;

use std::time::Duration;

use bifrons::config::{
    AdminConfig, Backend, Config, EventsConfig, Pem, PostConfig, ReportMask, Secret, SocketConfig,
};
use bifrons::gateway::tweaks::HandlerSettings;
use bifrons::shard::Listener;
use serde_json::{Value, json};
use support::{Conn, Lockstep, get, post};

fn config() -> Config {
    let mut config = Config {
        admin: AdminConfig {
            enabled: true,
            ..AdminConfig::default()
        },
        ..Config::default()
    };
    config.ws.admin_bind = vec![([127, 0, 0, 1], 7_188).into()];
    for tls in [&mut config.http.tls, &mut config.ws.tls] {
        tls.pem = Some(Pem {
            chain: include_str!("fixtures/tls/cert.pem").to_owned(),
            key: Secret::new(include_str!("fixtures/tls/key.pem")),
        });
    }
    config
}

/// With both event handlers, which want what their masks say.
fn with_handlers(post: &str, ws: &str) -> Config {
    let mask = |words: &str| ReportMask::parse(words).expect("a mask");
    Config {
        events: EventsConfig {
            enabled: true,
            post: PostConfig {
                enabled: true,
                backend: Backend::parse("http://127.0.0.1:9/"),
                mask: mask(post),
                ..PostConfig::default()
            },
            ws: SocketConfig {
                enabled: true,
                backend: Backend::parse("ws://127.0.0.1:9/"),
                mask: mask(ws),
                ..SocketConfig::default()
            },
            ..EventsConfig::default()
        },
        ..config()
    }
}

fn ask(gateway: &mut Lockstep, admin: Conn, verb: &str, more: &Value) -> Value {
    let mut request = json!({"janus": verb, "transaction": "t"});
    for (name, value) in more.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    gateway.post(admin, "/admin", &request)
}

/// What a transport answers.
fn transport(gateway: &mut Lockstep, admin: Conn, name: &str, request: &Value) -> Value {
    let query = json!({"transport": format!("janus.transport.{name}"), "request": request});
    ask(gateway, admin, "query_transport", &query)["response"].clone()
}

/// What an event handler answers.
fn handler(gateway: &mut Lockstep, admin: Conn, name: &str, request: &Value) -> Value {
    let query = json!({"handler": format!("janus.eventhandler.{name}"), "request": request});
    ask(gateway, admin, "query_eventhandler", &query)["response"].clone()
}

fn open(gateway: &mut Lockstep, shard: usize, listener: Listener, protocol: &str) -> Conn {
    let conn = gateway.connect_to(shard, listener);
    let path = if listener == Listener::Rest {
        "/ws"
    } else {
        "/"
    };
    gateway.send(
        conn,
        format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
        ),
    );
    let received = &mut gateway.clients.get_mut(&conn).expect("it is open").received;
    assert!(received.starts_with(b"HTTP/1.1 101 "));
    received.clear();
    conn
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let mut gateway = Lockstep::with(2, with_handlers("all", "all"));
    let admin = gateway.connect_to(1, Listener::Admin);
    for (verb, query, code) in [
        ("query_transport", json!({"transport": "x"}), 460),
        ("query_transport", json!({}), 456),
        (
            "query_eventhandler",
            json!({"handler": "x", "request": {}}),
            460,
        ),
        ("query_eventhandler", json!({"request": {}}), 456),
        ("query_logger", json!({"logger": "x", "request": {}}), 460),
        ("query_logger", json!({"logger": 7}), 467),
    ] {
        let reply = ask(&mut gateway, admin, verb, &query);
        assert_eq!(reply["error"]["code"], code, "{verb} {query}");
    }
    for (query, code) in [
        (json!({}), 412),
        (json!({"request": 7}), 413),
        (json!({"request": "zzz"}), 411),
        (json!({"request": "configure", "json": 7}), 413),
        (json!({"request": "configure", "events": "x"}), 413),
    ] {
        for name in ["http", "websockets"] {
            let response = transport(&mut gateway, admin, name, &query);
            assert_eq!(response["error_code"], code, "{name} {query}");
        }
    }
    for (query, code) in [
        (json!({}), 412),
        (json!({"request": "zzz"}), 411),
        (json!({"request": "tweak", "events": 7}), 413),
        (json!({"request": "tweak", "backend": "ftp://x"}), 413),
    ] {
        for name in ["sampleevh", "wsevh"] {
            let response = handler(&mut gateway, admin, name, &query);
            assert_eq!(response["error_code"], code, "{name} {query}");
        }
    }
    assert_eq!(gateway.handlers, [], "nothing was changed");
    // Without its body a query asks for nothing.
    let query = json!({"transport": "janus.transport.http"});
    let reply = ask(&mut gateway, admin, "query_transport", &query);
    assert_eq!(reply["response"]["error_code"], 412);
}

#[test]
fn what_does_not_run_cannot_be_asked() {
    let mut config = config();
    config.ws.enabled = false;
    config.ws.admin_bind.clear();
    config.events.enabled = true;
    let mut gateway = Lockstep::with(1, config);
    let admin = gateway.connect_to(0, Listener::Admin);
    for (verb, query) in [
        (
            "query_transport",
            json!({"transport": "janus.transport.websockets"}),
        ),
        (
            "query_eventhandler",
            json!({"handler": "janus.eventhandler.wsevh"}),
        ),
    ] {
        let reply = ask(&mut gateway, admin, verb, &query);
        assert_eq!(reply["error"]["code"], 460, "{reply}");
    }
}

#[test]
fn connections_of_all_listeners_and_shards_are_counted() {
    let mut config = config();
    config.http.ws_path = Some("/ws".to_owned());
    let mut gateway = Lockstep::with(3, config);
    for (shard, listener) in [
        (0, Listener::Rest),
        (1, Listener::RestTls),
        (2, Listener::RestTls),
        (2, Listener::AdminTls),
        // They did not open a WebSocket yet.
        (0, Listener::WebSocket),
        (1, Listener::WebSocketTls),
    ] {
        gateway.connect_to(shard, listener);
    }
    let sockets = [
        open(&mut gateway, 0, Listener::WebSocket, "janus-protocol"),
        open(&mut gateway, 1, Listener::Rest, "janus-protocol"),
        open(
            &mut gateway,
            2,
            Listener::AdminWebSocket,
            "janus-admin-protocol",
        ),
    ];
    let admin = gateway.connect_to(1, Listener::Admin);
    let connections = json!({"request": "connections"});
    assert_eq!(
        transport(&mut gateway, admin, "http", &connections),
        json!({"result": 200, "connections": {"http": 3, "admin_http": 2}, "messages": 1})
    );
    let counted = transport(&mut gateway, admin, "websockets", &connections);
    assert_eq!(counted, json!({"result": 200, "connections": 3}));
    gateway.reset(sockets[1]);
    let counted = transport(&mut gateway, admin, "websockets", &connections);
    assert_eq!(counted, json!({"result": 200, "connections": 2}));
}

#[test]
fn the_form_of_answers_changes_on_every_shard() {
    let mut gateway = Lockstep::with(2, config());
    let admins = [0, 1].map(|shard| gateway.connect_to(shard, Listener::Admin));
    let clients = [0, 1].map(|shard| gateway.connect(shard));
    let sockets = [0, 1].map(|at| open(&mut gateway, at, Listener::WebSocket, "janus-protocol"));
    let ping = json!({"janus": "ping", "transaction": "p"}).to_string();
    let is_laid_out = |gateway: &mut Lockstep, conn: Conn, path: &str| {
        gateway.send(conn, post(path, &ping));
        gateway
            .response(conn)
            .expect("an answer")
            .1
            .contains("\n   ")
    };
    let on_socket = |gateway: &mut Lockstep, conn: Conn| {
        let mut frame = vec![
            0x81,
            0x80 | u8::try_from(ping.len()).expect("it is short"),
            0,
            0,
            0,
            0,
        ];
        frame.extend_from_slice(ping.as_bytes());
        gateway.send(conn, frame);
        let received = &mut gateway.clients.get_mut(&conn).expect("it is open").received;
        String::from_utf8_lossy(&std::mem::take(received)).contains("\n   ")
    };
    let all = |gateway: &mut Lockstep| {
        let mut found = Vec::new();
        for shard in 0..2 {
            found.push([
                is_laid_out(gateway, clients[shard], "/janus"),
                is_laid_out(gateway, admins[shard], "/admin"),
                on_socket(gateway, sockets[shard]),
            ]);
        }
        found
    };
    assert_eq!(all(&mut gateway), [[false; 3]; 2]);
    let indented = json!({"request": "configure", "json": "indented"});
    let response = transport(&mut gateway, admins[0], "http", &indented);
    assert_eq!(response, json!({"result": 200}));
    assert_eq!(all(&mut gateway), [[true, true, false]; 2]);
    transport(&mut gateway, admins[1], "websockets", &indented);
    assert_eq!(all(&mut gateway), [[true; 3]; 2]);
    let bogus = json!({"request": "configure", "json": "bogus", "events": true});
    let notes = [
        "Ignored unsupported indentation format",
        "Event handlers disabled at the core level",
    ];
    for name in ["http", "websockets"] {
        let response = transport(&mut gateway, admins[0], name, &bogus);
        assert_eq!(response, json!({"result": 200, "notes": notes}));
    }
    assert_eq!(all(&mut gateway), [[true; 3]; 2], "it stays as it is");
}

#[test]
fn what_transports_tell_can_be_switched_off_and_on() {
    let mut gateway = Lockstep::with(2, with_handlers("transports", "none"));
    let admin = gateway.connect_to(0, Listener::Admin);
    let client = gateway.connect(1);
    let tell = |gateway: &mut Lockstep| {
        gateway.reports.clear();
        gateway.send(client, get("/janus/ping"));
        gateway.response(client).expect("an answer");
        let socket = open(gateway, 1, Listener::WebSocket, "janus-protocol");
        gateway.reset(socket);
        let reports = std::mem::take(&mut gateway.reports);
        let word = |report: Value| report["event"]["data"]["event"].as_str().map(str::to_owned);
        reports.into_iter().filter_map(word).collect::<Vec<_>>()
    };
    assert_eq!(tell(&mut gateway), ["request", "connected", "disconnected"]);
    let off = json!({"request": "configure", "events": false});
    transport(&mut gateway, admin, "http", &off);
    assert_eq!(tell(&mut gateway), ["connected", "disconnected"]);
    transport(&mut gateway, admin, "websockets", &off);
    assert_eq!(tell(&mut gateway), Vec::<String>::new());
    // What is left out stays as it is.
    let other = json!({"request": "configure", "json": "plain"});
    transport(&mut gateway, admin, "http", &other);
    assert_eq!(tell(&mut gateway), Vec::<String>::new());
    let on = json!({"request": "configure", "events": true});
    for name in ["http", "websockets"] {
        let response = transport(&mut gateway, admin, name, &on);
        assert_eq!(response, json!({"result": 200}));
    }
    assert_eq!(tell(&mut gateway), ["request", "connected", "disconnected"]);
}

#[test]
fn a_handler_is_set_anew_by_one_shard_and_hears_of_all() {
    let mut gateway = Lockstep::with(3, with_handlers("none", "none"));
    let admin = gateway.connect_to(2, Listener::Admin);
    let echoes = |gateway: &mut Lockstep| {
        gateway.reports.clear();
        for shard in 0..3 {
            let client = gateway.connect(shard);
            gateway.echo(client);
        }
        let reports = std::mem::take(&mut gateway.reports);
        reports
            .iter()
            .map(|report| report["type"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(echoes(&mut gateway), Vec::<u64>::new());
    let tweak = json!({"request": "tweak", "events": "sessions,bogus", "grouping": false});
    let note = "Ignored unsupported event type 'bogus'";
    assert_eq!(
        handler(&mut gateway, admin, "sampleevh", &tweak),
        json!({"result": 200, "notes": [note]})
    );
    let [HandlerSettings::Post(set)] = &gateway.handlers[..] else {
        panic!("not once: {:?}", gateway.handlers);
    };
    assert_eq!(Some(set.mask), ReportMask::parse("sessions"));
    assert!(!set.grouping);
    assert_eq!(set.backend, Backend::parse("http://127.0.0.1:9/"));
    assert_eq!(echoes(&mut gateway), [1, 1, 1]);

    // The other one does not lose what this one does not want any more.
    let tweak = json!({"request": "tweak", "events": "handles", "backend": "ws://[::1]:7/x"});
    assert_eq!(
        handler(&mut gateway, admin, "wsevh", &tweak),
        json!({"result": 200})
    );
    let tweak = json!({"request": "tweak", "events": "none"});
    handler(&mut gateway, admin, "sampleevh", &tweak);
    assert_eq!(echoes(&mut gateway), [2, 2, 2]);
    let [_, HandlerSettings::Ws(ws), HandlerSettings::Post(post)] = &gateway.handlers[..] else {
        panic!("not each once: {:?}", gateway.handlers);
    };
    assert_eq!(ws.backend, Backend::parse("ws://[::1]:7/x"));
    assert!(!post.grouping, "what was set before stays");
}

#[test]
fn what_is_wanted_later_is_counted_from_then_on() {
    let mut gateway = Lockstep::with(2, with_handlers("none", "none"));
    gateway.advance(Duration::from_secs(16));
    assert_eq!(gateway.reports, Vec::<Value>::new());
    let admin = gateway.connect_to(0, Listener::Admin);
    let tweak = json!({"request": "tweak", "events": "core"});
    handler(&mut gateway, admin, "sampleevh", &tweak);
    gateway.advance(Duration::from_secs(15));
    assert_eq!(gateway.reports.len(), 1, "{:?}", gateway.reports);
    assert_eq!(gateway.reports[0]["event"]["status"], "update");
}

#[test]
fn an_answer_that_a_plugin_owes_is_waited_for_five_seconds() {
    let mut gateway = Lockstep::with(2, config());
    let admin = gateway.connect_to(0, Listener::Admin);
    let request = |request: &str, room: u64| {
        json!({
            "plugin": "janus.plugin.videoroom", "request": {"request": request, "room": room},
        })
    };
    // Some of these rooms are at home on the shard that will be deaf.
    for room in 1_000..1_008 {
        let reply = ask(
            &mut gateway,
            admin,
            "message_plugin",
            &request("create", room),
        );
        assert_eq!(reply["response"]["videoroom"], "created", "{reply}");
    }
    gateway.deaf = vec![1];
    let mut late = Vec::new();
    for room in 1_000..1_008 {
        let conn = gateway.connect_to(0, Listener::Admin);
        let mut message = request("exists", room);
        message["janus"] = "message_plugin".into();
        message["transaction"] = "t".into();
        gateway.send(conn, post("/admin", &message.to_string()));
        if gateway.response(conn).is_none() {
            late.push(conn);
        }
    }
    assert!(!late.is_empty() && late.len() < 8, "{}", late.len());
    gateway.advance(Duration::from_millis(4_999));
    for &conn in &late {
        assert_eq!(gateway.response(conn), None, "it is not due yet");
    }
    gateway.advance(Duration::from_millis(1));
    for conn in late {
        let (_, body) = gateway.response(conn).expect("an answer");
        let reply: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            reply,
            json!({
                "janus": "error", "transaction": "t",
                "error": {"code": 462, "reason": "The plugin took too long"},
            })
        );
        // The connection is good for the next request.
        let reply = ask(&mut gateway, conn, "ping", &json!({}));
        assert_eq!(reply["janus"], "pong");
    }
}
