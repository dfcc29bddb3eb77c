//! What event handlers are told, in lockstep and virtual time.

mod support;

use bifrons::config::{AdminConfig, Backend, Config, EventsConfig, PostConfig, ReportMask};
use bifrons::shard::{Control, Listener};
use serde_json::{Value, json};
use support::Lockstep;
use support::room::{User, answer};

fn gateway(shards: u8, mask: &str) -> Lockstep {
    let config = Config {
        admin: AdminConfig {
            enabled: true,
            ..AdminConfig::default()
        },
        events: EventsConfig {
            enabled: true,
            post: PostConfig {
                enabled: true,
                backend: Backend::parse("http://127.0.0.1:9/"),
                mask: ReportMask::parse(mask).expect("a mask"),
                ..PostConfig::default()
            },
            ..EventsConfig::default()
        },
        ..Config::default()
    };
    Lockstep::with(shards, config)
}

/// Type and subtype of each report, and what it says in a word.
fn told(gateway: &mut Lockstep) -> Vec<String> {
    let reports = std::mem::take(&mut gateway.reports);
    let word = |report: &Value| {
        let event = &report["event"];
        let names = [
            "name",
            "owner",
            "ice",
            "status",
            "schema",
            "plugin",
            "connection",
        ];
        let request = event["data"]["event"].as_str();
        let word = names.iter().find_map(|name| event[name].as_str());
        let word = word.or(request);
        let word = word.or_else(|| {
            let members = event.as_object().expect("an event is an object");
            members.keys().next().map(String::as_str)
        });
        let kind = match report["subtype"].as_u64() {
            None => report["type"].to_string(),
            Some(subtype) => format!("{}/{subtype}", report["type"]),
        };
        format!("{kind} {}", word.unwrap_or_default())
    };
    let mut words: Vec<_> = reports.iter().map(word).collect();
    words.dedup();
    words
}

#[test]
fn a_call_is_told_from_birth_to_death_in_order() {
    let mut gateway = gateway(2, "all");
    let client = gateway.connect(1);
    let create = json!({"janus": "create", "transaction": "c"});
    let session = gateway.post(client, "/janus", &create)["data"]["id"].clone();
    let attach = json!({
        "janus": "attach", "transaction": "a", "plugin": "janus.plugin.echotest", "opaque_id": "op",
    });
    let handle = gateway.post(client, &format!("/janus/{session}"), &attach)["data"]["id"].clone();
    let offer = std::fs::read_to_string("tests/fixtures/sdp/offers/chrome.sdp").expect("a fixture");
    let message = json!({
        "janus": "message", "transaction": "o", "body": {"audio": true},
        "jsep": {"type": "offer", "sdp": offer},
    });
    let path = format!("/janus/{session}/{handle}");
    gateway.post(client, &path, &message);
    let attached = gateway.reports.iter().find(|report| report["type"] == 2);
    let mut attached = attached.cloned().expect("it was told");
    assert_eq!(attached["timestamp"], 1_790_000_000_000_000_u64);
    attached["timestamp"].take();
    assert_eq!(
        attached,
        json!({
            "emitter": "MyJanusInstance", "type": 2, "timestamp": null, "session_id": session,
            "handle_id": handle, "opaque_id": "op",
            "event": {"name": "attached", "plugin": "janus.plugin.echotest", "opaque_id": "op"},
        })
    );
    let remote = gateway.reports.iter().find(|report| report["type"] == 8);
    let remote = &remote.expect("it was told")["event"];
    assert_eq!(
        remote,
        &json!({"owner": "remote", "jsep": {"type": "offer", "sdp": offer}})
    );

    let words = told(&mut gateway);
    let without_candidates: Vec<_> = words
        .iter()
        .filter(|word| !word.contains("candidate"))
        .collect();
    assert_eq!(
        without_candidates,
        [
            "128 request",
            "1 created",
            "128 request",
            "2 attached",
            "128 request",
            "8 remote",
            "16/1 gathering",
            "8 local",
            "16/1 connecting",
            "64 janus.plugin.echotest",
        ]
    );
    let destroy = json!({"janus": "destroy", "transaction": "d"});
    gateway.post(client, &format!("/janus/{session}"), &destroy);
    assert_eq!(
        told(&mut gateway),
        ["128 request", "16/6 hangup", "2 detached", "1 destroyed"]
    );
}

#[test]
fn a_session_names_the_request_that_made_it() {
    let mut gateway = gateway(2, "sessions,transports");
    let client = gateway.connect(1);
    let create = json!({"janus": "create", "transaction": "c"});
    gateway.post(client, "/janus", &create);
    gateway.post(client, "/janus", &create);
    let reports = &gateway.reports;
    assert_eq!(
        reports[0]["event"]["data"],
        json!({"event": "request", "admin_api": false, "ip": "127.0.0.1", "port": 40_000})
    );
    let ids: Vec<_> = reports
        .iter()
        .map(|report| {
            let event = &report["event"];
            let id = event.get("id").unwrap_or(&event["transport"]["id"]);
            id.as_str().expect("ids are text").to_owned()
        })
        .collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[2], ids[3]);
    assert_ne!(ids[0], ids[2]);
}

#[test]
fn a_socket_is_told_of_when_it_comes_and_when_it_goes() {
    let mut gateway = gateway(2, "transports");
    let client = gateway.connect_to(1, Listener::WebSocket);
    gateway.send(
        client,
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: janus-protocol\r\n\r\n",
    );
    gateway.reset(client);
    let [came, went] = &gateway.reports[..] else {
        panic!("not two reports: {:?}", gateway.reports);
    };
    let (came, went) = (&came["event"], &went["event"]);
    assert_eq!(came["transport"], "janus.transport.websockets");
    assert_eq!(came["id"], went["id"]);
    assert_eq!(
        came["data"],
        json!({"event": "connected", "admin_api": false, "ip": "127.0.0.1"})
    );
    assert_eq!(went["data"], json!({"event": "disconnected"}));
}

#[test]
fn every_15_seconds_the_shards_are_counted_together() {
    let mut gateway = gateway(3, "core");
    let clients = [0, 1, 2].map(|shard| gateway.connect(shard));
    gateway.echo(clients[1]);
    gateway.echo(clients[2]);
    gateway.reports.clear();
    gateway.advance(std::time::Duration::from_secs(31));
    let infos: Vec<_> = gateway
        .reports
        .iter()
        .map(|report| (report["subtype"].clone(), report["event"].clone()))
        .collect();
    let update = json!({"status": "update", "info": {
        "sessions": 2, "handles": 2, "peerconnections": 0, "stats-period": 1,
    }});
    assert_eq!(infos, [(json!(1), update.clone()), (json!(1), update)]);
}

#[test]
fn a_call_that_finds_no_way_is_told_of_as_failed() {
    let mut gateway = gateway(1, "webrtc");
    let client = gateway.connect(0);
    let (session, handle) = gateway.echo(client);
    let offer = std::fs::read_to_string("tests/fixtures/sdp/offers/chrome.sdp").expect("a fixture");
    let message = json!({
        "janus": "message", "transaction": "o", "body": {"audio": true},
        "jsep": {"type": "offer", "sdp": offer},
    });
    gateway.post(client, &format!("/janus/{session}/{handle}"), &message);
    gateway.reports.clear();
    gateway.advance(std::time::Duration::from_secs(46));
    assert_eq!(told(&mut gateway), ["16/1 failed", "16/6 hangup"]);
}

#[test]
fn what_happens_in_a_room_is_told_with_who_did_it() {
    let mut gateway = gateway(3, "plugins");
    let client = gateway.connect(0);
    let create = json!({"janus": "create", "transaction": "c"});
    let session = gateway.post(client, "/janus", &create)["data"]["id"].clone();
    let attach = json!({
        "janus": "attach", "transaction": "a", "plugin": "janus.plugin.videoroom", "opaque_id": "op",
    });
    let handle = gateway.post(client, &format!("/janus/{session}"), &attach)["data"]["id"].clone();
    for body in [
        json!({"request": "create", "room": 7}),
        json!({
            "request": "join", "room": 7, "ptype": "publisher", "id": 5, "display": "Ada",
            "audio_level_average": 40,
        }),
        json!({"request": "configure", "bitrate": 100_000}),
        json!({"request": "leave"}),
        json!({"request": "destroy", "room": 7}),
        json!({"request": "destroy", "room": 7}),
    ] {
        let message = json!({"janus": "message", "transaction": "m", "body": body});
        gateway.post(client, &format!("/janus/{session}/{handle}"), &message);
    }
    let mut told = Vec::new();
    for report in &gateway.reports {
        assert_eq!(report["event"]["plugin"], "janus.plugin.videoroom");
        let mut data = report["event"]["data"].clone();
        if let Some(private_id) = data.get_mut("private_id") {
            private_id.take();
        }
        let is_ours = report["handle_id"] == handle && report["opaque_id"] == "op";
        told.push((is_ours, data));
    }
    let wanted = [
        (true, json!({"event": "created", "room": 7})),
        (
            true,
            json!({
                "event": "joined", "room": 7, "id": 5, "private_id": null, "display": "Ada",
                "audio_level_average": 40,
            }),
        ),
        (
            true,
            json!({"event": "configured", "room": 7, "id": 5, "bitrate": 100_000}),
        ),
        (
            false,
            json!({"event": "leaving", "room": 7, "id": 5, "display": "Ada"}),
        ),
        (true, json!({"event": "destroyed", "room": 7})),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn who_subscribes_and_ceases_to_is_told() {
    for shards in [1, 3] {
        let mut gateway = gateway(shards, "plugins");
        let [owner, watcher, other] = [0; 3].map(|shard| User::new(&mut gateway, shard));
        owner.ask(&mut gateway, &json!({"request": "create", "room": 7}));
        for id in [1, 2] {
            let add = json!({
                "request": "add_remote_publisher", "room": 7, "id": id, "streams": [
                    {"type": "audio", "mindex": 0, "mid": "0", "codec": "opus"},
                    {"type": "video", "mindex": 1, "mid": "1", "codec": "vp8"},
                    {"type": "data", "mindex": 2, "mid": "2"},
                ],
            });
            assert_eq!(owner.ask(&mut gateway, &add)["videoroom"], "success");
        }
        let watch = json!({
            "request": "join", "room": 7, "ptype": "subscriber",
            "streams": [{"feed": 1}, {"feed": 2}],
        });
        for user in [&watcher, &other] {
            let (_, offer) = user.negotiate(&mut gateway, &watch, None);
            user.send(
                &mut gateway,
                &json!({"request": "start"}),
                Some(answer(&offer)),
            );
        }
        gateway.reports.clear();
        let ended = |gateway: &mut Lockstep, user: &User, body: Value| {
            user.send(gateway, &body, None);
            let reports = std::mem::take(&mut gateway.reports).into_iter();
            let of_user = reports.filter(|report| report["session_id"] == user.session);
            let data = of_user.map(|report| report["event"]["data"].clone());
            let ends = data.filter(|data| data["event"] == "unsubscribed");
            ends.collect::<Vec<Value>>()
        };
        let end = |feed: u64, mid: &str| json!({"event": "unsubscribed", "room": 7, "feed": feed, "mid": mid});
        let unsubscribe = |streams: Value| json!({"request": "unsubscribe", "streams": streams});
        let first = unsubscribe(json!([{"feed": 1, "mid": "1"}, {"sub_mid": "9"}]));
        assert_eq!(ended(&mut gateway, &watcher, first), [end(1, "1")]);
        let messages = unsubscribe(json!([{"feed": 1, "mid": "2"}]));
        assert_eq!(ended(&mut gateway, &watcher, messages), [end(1, "2")]);
        // What is gone is not told again.
        let again = unsubscribe(json!([{"sub_mid": "1"}]));
        let told = ended(&mut gateway, &watcher, again);
        assert_eq!(told, [] as [Value; 0]);
        assert_eq!(
            ended(&mut gateway, &watcher, json!({"request": "leave"})),
            [end(1, "0"), end(2, "2"), end(2, "0"), end(2, "1")]
        );
        owner.ask(
            &mut gateway,
            &json!({"request": "kick", "room": 7, "id": 2}),
        );
        let told = gateway
            .reports
            .iter()
            .map(|report| &report["event"]["data"]);
        let told: Vec<&Value> = told
            .filter(|data| data["event"] == "unsubscribed")
            .collect();
        assert_eq!(told, [&end(2, "2"), &end(2, "0"), &end(2, "1")]);
    }
}

#[test]
fn only_what_is_wanted_is_made() {
    let mut gateway = gateway(1, "handles");
    let client = gateway.connect(0);
    gateway.echo(client);
    assert_eq!(told(&mut gateway), ["2 attached"]);
    let mut silent = Lockstep::new(1);
    let client = silent.connect(0);
    silent.echo(client);
    assert_eq!(told(&mut silent), Vec::<String>::new());
}

#[test]
fn silence_is_told_once_as_a_timeout() {
    let mut gateway = gateway(1, "sessions");
    let client = gateway.connect(0);
    gateway.echo(client);
    gateway.advance(std::time::Duration::from_secs(61));
    assert_eq!(told(&mut gateway), ["1 created", "1 timeout"]);
}

#[test]
fn one_shard_tells_of_start_and_stop() {
    let mut gateway = gateway(3, "core");
    for shard in 0..3 {
        gateway.connect(shard);
    }
    let started = &gateway.reports[0]["event"];
    assert_eq!(started["info"]["janus"], "server_info");
    assert_eq!(started["info"].get("transaction"), None);
    assert_eq!(started["info"]["event_handlers"], true);
    gateway.control(Control::Signal(15));
    gateway.control(Control::Stop);
    gateway.advance(std::time::Duration::from_secs(3));
    let last = gateway.reports.last().expect("it was told");
    assert_eq!(last["event"], json!({"status": "shutdown", "signum": 15}));
    assert_eq!(told(&mut gateway), ["256/1 started", "256/2 shutdown"]);
}

#[test]
fn the_admin_api_can_tell_handlers_something() {
    let mut gateway = gateway(2, "external");
    let admin = gateway.connect_to(1, Listener::Admin);
    let request = json!({
        "janus": "custom_event", "transaction": "t", "schema": "my.s", "data": {"a": 1},
    });
    let reply = gateway.post(admin, "/admin", &request);
    assert_eq!(reply, json!({"janus": "success", "transaction": "t"}));
    assert_eq!(
        gateway.reports[0]["event"],
        json!({"schema": "my.s", "data": {"a": 1}})
    );
}

#[test]
fn what_is_too_much_for_one_turn_is_dropped_and_counted() {
    let mut gateway = gateway(1, "sessions");
    let client = gateway.connect(0);
    for _ in 0..5_000 {
        let create = json!({"janus": "create", "transaction": "c"});
        gateway.post(client, "/janus", &create);
    }
    let told_before = gateway.reports.len();
    gateway.control(Control::Stop);
    let dropped = gateway.metrics().events_dropped_reports.turn_full;
    let told = gateway.reports.len() - told_before;
    assert_eq!((told, dropped), (4_096, 904));
}
