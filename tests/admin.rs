//! The Admin API, in lockstep and virtual time.

mod support;

use std::time::Duration;

use bifrons::config::{AdminConfig, Config, Secret};
use bifrons::shard::Listener;
use serde_json::{Value, json};
use support::{Conn, Lockstep, get};

const SECRET: &str = "an admin secret";

fn gateway(shards: u8) -> Lockstep {
    let config = Config {
        admin: AdminConfig {
            enabled: true,
            secret: Some(Secret::new(SECRET)),
            ..AdminConfig::default()
        },
        ..Config::default()
    };
    Lockstep::with(shards, config)
}

/// Asks with the secret, and takes the members in from `more`.
fn ask(gateway: &mut Lockstep, admin: Conn, path: &str, verb: &str, more: Value) -> Value {
    let mut request = json!({"janus": verb, "transaction": "t", "admin_secret": SECRET});
    for (name, value) in more.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    gateway.post(admin, &format!("/admin{path}"), &request)
}

#[track_caller]
fn check_error(reply: &Value, code: u16, reason: &str) {
    assert_eq!(
        (&reply["error"]["code"], &reply["error"]["reason"]),
        (&code.into(), &reason.into()),
        "{reply}"
    );
}

/// Makes sessions until every shard has one; returns them by shard, in order.
fn sessions(gateway: &mut Lockstep, shards: usize) -> Vec<(u64, u64)> {
    (0..shards)
        .map(|shard| {
            let client = gateway.connect(shard);
            gateway.echo(client)
        })
        .collect()
}

#[test]
fn every_request_but_info_and_ping_needs_the_secret() {
    let mut gateway = gateway(2);
    let admin = gateway.connect_to(0, Listener::Admin);
    let (session, handle) = sessions(&mut gateway, 2)[1];
    let refused = "Unauthorized request (wrong or missing secret/token)";
    for (path, verb) in [
        (String::new(), "list_sessions"),
        (String::new(), "get_status"),
        (String::new(), "accept_new_sessions"),
        (String::new(), "add_token"),
        (String::new(), "message_plugin"),
        (String::new(), "made_up"),
        (format!("/{session}"), "destroy_session"),
        ("/4711".to_owned(), "list_handles"),
        (format!("/{session}/{handle}"), "handle_info"),
        (format!("/{session}/{handle}"), "detach_handle"),
    ] {
        for secret in [Value::Null, "wrong".into(), 7.into()] {
            let more = json!({ "admin_secret": secret });
            let reply = ask(&mut gateway, admin, &path, verb, more);
            check_error(&reply, 403, refused);
        }
    }
    let reply = ask(
        &mut gateway,
        admin,
        "",
        "ping",
        json!({"admin_secret": null}),
    );
    assert_eq!(reply["janus"], "pong");
    gateway.send(
        admin,
        get("/admin/info").replace("Host: localhost", "Host: localhost:7088"),
    );
    let (status, body) = gateway.response(admin).expect("an answer");
    assert!(status == 200 && body.contains("server_info"), "{body}");
}

#[test]
fn lists_are_of_all_shards_in_their_order() {
    for shards in [1, 3] {
        let mut gateway = gateway(shards);
        let echoes = sessions(&mut gateway, shards.into());
        let mut ids: Vec<u64> = echoes.iter().map(|(session, _)| *session).collect();
        for shard in 0..shards.into() {
            let admin = gateway.connect_to(shard, Listener::Admin);
            let reply = ask(&mut gateway, admin, "", "list_sessions", json!({}));
            assert_eq!(
                reply,
                json!({"janus": "success", "transaction": "t", "sessions": ids})
            );
            let (session, handle) = echoes[0];
            let path = format!("/{session}");
            let reply = ask(&mut gateway, admin, &path, "list_handles", json!({}));
            assert_eq!(
                reply,
                json!({"janus": "success", "session_id": session, "transaction": "t", "handles": [handle]})
            );
            let reply = ask(&mut gateway, admin, "", "loops_info", json!({}));
            assert_eq!(reply["loops"][usize::from(shards) - 1]["handles"], 1);
        }
        ids.clear();
    }
}

#[test]
fn a_shard_that_is_silent_for_two_seconds_is_named() {
    let mut gateway = gateway(3);
    let echoes = sessions(&mut gateway, 3);
    let admin = gateway.connect_to(0, Listener::Admin);
    gateway.deaf = vec![1];
    let request = json!({"janus": "list_sessions", "transaction": "t", "admin_secret": SECRET});
    gateway.send(admin, support::post("/admin", &request.to_string()));
    gateway.advance(Duration::from_millis(1_999));
    assert_eq!(gateway.response(admin), None, "it is not due yet");
    gateway.advance(Duration::from_millis(1));
    let (_, body) = gateway.response(admin).expect("an answer");
    let reply: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        reply,
        json!({
            "janus": "success", "transaction": "t", "sessions": [echoes[0].0, echoes[2].0],
            "partial": true, "missing_shards": [1],
        })
    );
}

#[test]
fn levels_and_ids_are_told_apart() {
    let mut gateway = gateway(2);
    let admin = gateway.connect_to(1, Listener::Admin);
    let (session, handle) = sessions(&mut gateway, 2)[0];
    let mut check = |path: &str, verb: &str, more: Value, code: u16, reason: &str| {
        check_error(&ask(&mut gateway, admin, path, verb, more), code, reason);
    };
    let of_session = format!("/{session}");
    let of_handle = format!("/{session}/{handle}");
    let misplaced = |verb: &str| format!("Unhandled request '{verb}' at this path");
    check("", "handle_info", json!({}), 457, &misplaced("handle_info"));
    check("", "made_up", json!({}), 457, &misplaced("made_up"));
    check(
        &of_session,
        "list_sessions",
        json!({}),
        457,
        &misplaced("list_sessions"),
    );
    check(
        &of_handle,
        "list_handles",
        json!({}),
        457,
        &misplaced("list_handles"),
    );
    check(
        "/4711",
        "list_handles",
        json!({}),
        458,
        "No such session 4711",
    );
    let missing = format!("No such handle 4711 in session {session}");
    check(
        &format!("/{session}/4711"),
        "handle_info",
        json!({}),
        459,
        &missing,
    );
    check(
        "",
        "handle_info",
        json!({"handle_id": 7}),
        458,
        "Session not found",
    );
    check(
        &of_session,
        "handle_info",
        json!({"handle_id": 0}),
        458,
        "Session not found",
    );
    check(
        &of_session,
        "set_session_timeout",
        json!({"timeout": -2}),
        467,
        "Invalid element type (timeout should be a non-negative integer or -1)",
    );
    check(
        "",
        "message_plugin",
        json!({"plugin": "x", "request": {}}),
        460,
        "Invalid plugin",
    );
    check(
        "",
        "query_logger",
        json!({"logger": "x", "request": {}}),
        460,
        "Invalid logger",
    );
    check(
        "",
        "query_transport",
        json!({"transport": "x", "request": {}}),
        460,
        "Invalid transport",
    );
    check(
        "",
        "accept_new_sessions",
        json!({}),
        456,
        "Missing mandatory element (accept)",
    );
}

#[test]
fn a_page_of_another_site_cannot_ask() {
    let mut gateway = gateway(1);
    let admin = gateway.connect_to(0, Listener::Admin);
    let request = json!({"janus": "list_sessions", "transaction": "t", "admin_secret": SECRET});
    let post = support::post("/admin", &request.to_string());
    for (fields, status) in [
        ("Host: 127.0.0.1:7088", 200),
        ("Host: [::1]:7088", 200),
        ("Host: localhost", 200),
        ("Host: rebound.example", 403),
        ("Host: localhost\r\nOrigin: https://a.example", 403),
        (
            "Host: localhost\r\nOrigin: https://a.example\r\nContent-Type: text/plain",
            403,
        ),
        (
            "Host: localhost\r\nOrigin: null\r\nContent-Type: application/json;charset=utf-8",
            200,
        ),
    ] {
        gateway.send(admin, post.replace("Host: localhost", fields));
        let head = String::from_utf8_lossy(&gateway.clients[&admin].received).into_owned();
        assert!(
            !head.to_ascii_lowercase().contains("access-control"),
            "{head}"
        );
        assert_eq!(
            gateway.response(admin).map(|it| it.0),
            Some(status),
            "{fields}"
        );
    }
}

#[test]
fn a_setting_reaches_every_shard_before_it_is_confirmed() {
    let mut gateway = gateway(3);
    let admins = [0, 1, 2].map(|shard| gateway.connect_to(shard, Listener::Admin));
    let reply = ask(
        &mut gateway,
        admins[1],
        "",
        "set_session_timeout",
        json!({"timeout": 5}),
    );
    assert_eq!(
        reply,
        json!({"janus": "success", "transaction": "t", "timeout": 5})
    );
    let reply = ask(
        &mut gateway,
        admins[2],
        "",
        "set_nack_optimizations",
        json!({"nack_optimizations": true}),
    );
    assert_eq!(reply["nack-optimizations"], true);
    for admin in admins {
        let status = ask(&mut gateway, admin, "", "get_status", json!({}))["status"].clone();
        assert_eq!(
            (&status["session_timeout"], &status["nack-optimizations"]),
            (&5.into(), &true.into())
        );
    }
    let reply = ask(
        &mut gateway,
        admins[0],
        "",
        "set_log_level",
        json!({"level": 8}),
    );
    check_error(
        &reply,
        467,
        "Invalid element type (level should be between 0 and 7)",
    );
}

#[test]
fn timeouts_can_be_changed_for_all_and_for_one() {
    let mut gateway = gateway(2);
    let echoes = sessions(&mut gateway, 2);
    let admin = gateway.connect_to(0, Listener::Admin);
    let path = format!("/{}", echoes[1].0);
    let reply = ask(
        &mut gateway,
        admin,
        &path,
        "set_session_timeout",
        json!({"timeout": 20}),
    );
    assert_eq!(
        (&reply["timeout"], &reply["session_id"]),
        (&20.into(), &echoes[1].0.into())
    );
    ask(
        &mut gateway,
        admin,
        "",
        "set_session_timeout",
        json!({"timeout": 10}),
    );
    let listed = |gateway: &mut Lockstep| {
        let admin = gateway.connect_to(0, Listener::Admin);
        ask(gateway, admin, "", "list_sessions", json!({}))["sessions"].clone()
    };
    gateway.advance(Duration::from_secs(9));
    assert_eq!(listed(&mut gateway), json!([echoes[0].0, echoes[1].0]));
    gateway.advance(Duration::from_secs(1));
    assert_eq!(listed(&mut gateway), json!([echoes[1].0]));
    gateway.advance(Duration::from_secs(10));
    assert_eq!(listed(&mut gateway), json!([]));
}

#[test]
fn new_sessions_can_be_refused_while_the_old_ones_live_on() {
    let mut gateway = gateway(2);
    let (client, other) = (gateway.connect(0), gateway.connect(1));
    let echo = gateway.echo(client);
    gateway.poll(other, echo.0, "");
    let admin = gateway.connect_to(1, Listener::Admin);
    let reply = ask(
        &mut gateway,
        admin,
        "",
        "accept_new_sessions",
        json!({"accept": false}),
    );
    assert_eq!(reply["accept"], false);
    let create = json!({"janus": "create", "transaction": "t"});
    let reply = gateway.post(client, "/janus", &create);
    check_error(&reply, 472, "Currently not accepting new sessions");
    gateway.make_event(client, echo, "one");
    assert_eq!(gateway.polled(other).unwrap(), ["one"]);
    ask(
        &mut gateway,
        admin,
        "",
        "accept_new_sessions",
        json!({"accept": true}),
    );
    assert_eq!(gateway.post(client, "/janus", &create)["janus"], "success");
}

#[test]
fn handles_and_sessions_can_be_ended() {
    let mut gateway = gateway(2);
    let client = gateway.connect(0);
    let (session, handle) = gateway.echo(client);
    let admin = gateway.connect_to(1, Listener::Admin);
    let path = format!("/{session}/{handle}");
    let reply = ask(&mut gateway, admin, &path, "detach_handle", json!({}));
    assert_eq!(
        reply,
        json!({"janus": "success", "session_id": session, "transaction": "t"})
    );
    gateway.poll(client, session, "");
    assert_eq!(gateway.polled(client).unwrap(), ["detached"]);
    let poller = gateway.connect(0);
    gateway.poll(poller, session, "");
    let reply = ask(
        &mut gateway,
        admin,
        &format!("/{session}"),
        "destroy_session",
        json!({}),
    );
    assert_eq!(reply["janus"], "success");
    assert!(
        gateway.response(poller).is_some(),
        "a poll does not wait for a session that is gone"
    );
    let keepalive = json!({"janus": "keepalive", "transaction": "t"});
    let reply = gateway.post(client, &format!("/janus/{session}"), &keepalive);
    check_error(&reply, 458, &format!("No such session {session}"));
}

#[test]
fn a_handle_shows_what_is_known_of_it() {
    let mut gateway = gateway(2);
    let client = gateway.connect(1);
    let (session, handle) = gateway.echo(client);
    let admin = gateway.connect_to(0, Listener::Admin);
    let path = format!("/{session}/{handle}");
    let reply = ask(&mut gateway, admin, &path, "handle_info", json!({}));
    let names: Vec<&String> = reply["info"]
        .as_object()
        .expect("an object")
        .keys()
        .collect();
    assert_eq!(
        names,
        [
            "session_id",
            "session_last_activity",
            "session_timeout",
            "session_transport",
            "handle_id",
            "loop-running",
            "created",
            "current_time",
            "plugin",
            "plugin_specific",
            "flags",
            "sdps",
            "queued-packets",
        ]
    );
    assert_eq!(reply["info"]["flags"]["alert"], true);
    assert_eq!(reply["info"]["sdps"], json!({}));

    let offer = std::fs::read_to_string("tests/fixtures/sdp/offers/chrome.sdp").expect("a fixture");
    let message = json!({
        "janus": "message", "transaction": "o", "body": {"audio": true},
        "jsep": {"type": "offer", "sdp": offer},
    });
    gateway.post(client, &format!("/janus{path}"), &message);
    let reply = ask(&mut gateway, admin, &path, "handle_info", json!({}));
    let info = &reply["info"];
    assert_eq!(info["flags"]["negotiated"], true);
    assert_eq!(info["sdps"]["remote"], offer.as_str());
    assert_eq!(info["ice-role"], "controlled");
    let webrtc = &info["webrtc"];
    assert_eq!(
        (&webrtc["ice"]["state"], &webrtc["dtls"]["dtls-state"]),
        (&"connecting".into(), &"created".into())
    );
    let remote = offer
        .split("a=fingerprint:sha-256 ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    assert_eq!(
        webrtc["dtls"]["remote-fingerprint"],
        remote.expect("it has one")
    );
    assert_eq!(webrtc["media"]["0"]["codecs"]["codec"], "opus");
    let brief = ask(
        &mut gateway,
        admin,
        &path,
        "handle_info",
        json!({"plugin_only": true}),
    );
    assert_eq!(
        brief["info"]
            .as_object()
            .and_then(|info| info.keys().next_back())
            .unwrap(),
        "plugin_specific"
    );

    let reply = ask(&mut gateway, admin, &path, "hangup_webrtc", json!({}));
    assert_eq!(reply["janus"], "success");
    let reply = ask(&mut gateway, admin, &path, "handle_info", json!({}));
    assert_eq!(
        (&reply["info"]["webrtc"], &reply["info"]["flags"]["alert"]),
        (&Value::Null, &true.into())
    );
}

#[test]
fn a_plugin_can_be_asked() {
    let mut gateway = gateway(2);
    let admin = gateway.connect_to(0, Listener::Admin);
    let echo = json!({"plugin": "janus.plugin.echotest", "request": {"a": 1}});
    let reply = ask(&mut gateway, admin, "", "message_plugin", echo);
    assert_eq!(reply["response"], json!({"a": 1}));
}
