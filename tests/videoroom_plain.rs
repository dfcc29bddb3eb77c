//! RTP forwarders and publishers of other gateways, in lockstep and virtual time.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bifrons::config::{Backend, Config, Secret};
use bifrons::wire::rtp::packet::{
    RtpHeader, RtpLayout, empty_report, keyframe_requests, picture_loss, write_header,
};
use serde_json::{Value, json};
use support::{Conn, Lockstep};

/// A client with a session of its own on some shard, and one handle.
struct User {
    conn: Conn,
    session: u64,
    handle: u64,
}

impl User {
    fn new(gateway: &mut Lockstep, shard: usize) -> Self {
        let conn = gateway.connect(shard);
        let create = json!({"janus": "create", "transaction": "c"});
        let session = id_of(&gateway.post(conn, "/janus", &create));
        let attach = json!({
            "janus": "attach", "transaction": "a", "plugin": "janus.plugin.videoroom",
        });
        let handle = id_of(&gateway.post(conn, &format!("/janus/{session}"), &attach));
        Self {
            conn,
            session,
            handle,
        }
    }

    fn ask(&self, gateway: &mut Lockstep, body: &Value) -> Value {
        let message = json!({"janus": "message", "transaction": "t", "body": body});
        let path = format!("/janus/{}/{}", self.session, self.handle);
        let reply = gateway.post(self.conn, &path, &message);
        let is_async = reply["janus"] == "ack";
        assert!(is_async || reply["janus"] == "success", "{reply}");
        reply["plugindata"]["data"].clone()
    }

    /// The data of the events that have come.
    fn events(&self, gateway: &mut Lockstep) -> Vec<Value> {
        gateway.poll(self.conn, self.session, "?maxev=50");
        let (_, body) = gateway.response(self.conn).expect("there are events");
        let events: Vec<Value> = serde_json::from_str(&body).expect("events are JSON");
        let data = events
            .iter()
            .map(|event| event["plugindata"]["data"].clone());
        data.collect()
    }
}

fn id_of(reply: &Value) -> u64 {
    reply["data"]["id"].as_u64().expect("a reply with an id")
}

const ROOM: u64 = 1234;

fn streams() -> Value {
    json!([
        {"type": "audio", "mindex": 0, "mid": "0", "codec": "opus", "audiolevel_ext_id": 3},
        {"type": "video", "mindex": 1, "mid": "1", "codec": "vp8", "simulcast": true},
        {"type": "data", "mindex": 2, "mid": "2"},
    ])
}

/// A gateway with a room, somebody who has a handle, and a remote publisher 77 with its ports.
struct Scene {
    gateway: Lockstep,
    user: User,
    rtp: u16,
    rtcp: u16,
}

impl Scene {
    fn new(shards: u8) -> Self {
        Self::with(shards, &json!({}))
    }

    fn with(shards: u8, more: &Value) -> Self {
        let mut gateway = Lockstep::new(shards);
        let user = User::new(&mut gateway, 0);
        let create = json!({"request": "create", "room": ROOM, "secret": "hush"});
        user.ask(&mut gateway, &create);
        let mut scene = Self {
            gateway,
            user,
            rtp: 0,
            rtcp: 0,
        };
        let mut add = json!({
            "request": "add_remote_publisher", "id": 77, "display": "Far", "streams": streams(),
        });
        for (name, value) in more.as_object().expect("an object") {
            add[name] = value.clone();
        }
        let added = scene.ask(add);
        assert_eq!(added["videoroom"], "success", "{added}");
        assert_eq!(added["ip"], "127.0.0.1");
        let port = |name: &str| added[name].as_u64().expect("a port") as u16;
        (scene.rtp, scene.rtcp) = (port("port"), port("rtcp_port"));
        scene
    }

    /// A request about the room, with its secret.
    fn ask(&mut self, mut body: Value) -> Value {
        body["room"] = ROOM.into();
        body["secret"] = "hush".into();
        self.user.ask(&mut self.gateway, &body)
    }

    fn forward(&mut self, streams: Value) -> Vec<Value> {
        let answer = self.ask(json!({
            "request": "rtp_forward", "publisher_id": 77, "host": "192.0.2.9", "streams": streams,
        }));
        let forwarders = answer["forwarders"].as_array();
        forwarders.unwrap_or_else(|| panic!("{answer}")).clone()
    }

    /// A packet of the far publisher arrives.
    fn arrive(&mut self, header: RtpHeader, extensions: &[(u8, &[u8])], payload: &[u8]) {
        let mut bytes = Vec::new();
        write_header(&header, extensions, &mut bytes);
        bytes.extend(payload);
        self.gateway.datagram(self.rtp, far(7_000), &bytes);
    }
}

fn far(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

fn receiver(port: u16) -> SocketAddr {
    ([192, 0, 2, 9], port).into()
}

const AUDIO: RtpHeader = RtpHeader {
    marker: true,
    pt: 111,
    sequence: 65_535,
    timestamp: 960,
    ssrc: 1_000,
};

/// A VP8 packet that begins a frame: its sequence number, and the encoding it is of.
fn video(sequence: u16, encoding: u32) -> RtpHeader {
    RtpHeader {
        marker: true,
        pt: 96,
        sequence,
        timestamp: 3_000 * u32::from(sequence),
        ssrc: 1_010 + encoding,
    }
}

/// VP8 payloads with the picture id `n`.
fn keyframe(n: u8) -> [u8; 5] {
    [0x90, 0x80, n, 0, 1]
}

fn delta(n: u8) -> [u8; 5] {
    [0x90, 0x80, n, 1, 1]
}

#[test]
fn the_descriptors_of_layers_are_known_by_the_number_that_was_announced() {
    for (codec, id, expected) in [
        ("av1", Some(8), vec![8]),
        ("vp9", Some(8), vec![8]),
        ("av1", Some(7), vec![]),
        ("av1", None, vec![]),
        // No layers of these are told apart by it.
        ("h264", Some(8), vec![]),
    ] {
        let mut stream = json!({"type": "video", "mindex": 0, "mid": "0", "codec": codec});
        if let Some(id) = id {
            stream["dependencydesc_ext_id"] = id.into();
        }
        let mut scene = Scene::with(1, &json!({"streams": [stream]}));
        scene.forward(json!([{"mid": "0", "port": 5_000}]));
        scene.gateway.sent();
        let header = RtpHeader {
            ssrc: 1_000,
            ..video(1, 0)
        };
        scene.arrive(header, &[(8, &[0x80, 0, 1])], b"a picture");
        let sent = scene.gateway.sent();
        let sent: Vec<_> = sent
            .iter()
            .filter(|(to, _)| *to == receiver(5_000))
            .collect();
        let mut ids: Vec<u8> = Vec::new();
        let layout = RtpLayout::read(&sent[0].1).expect("it is RTP");
        layout.for_each_extension(&sent[0].1, |id, _| ids.push(id));
        assert_eq!(ids, expected, "{codec} {id:?}");
    }
}

#[test]
fn a_publisher_of_another_gateway_looks_like_any_other() {
    for shards in [1, 3] {
        let mut scene = Scene::new(shards);
        let user = User::new(&mut scene.gateway, 0);
        let join = json!({"request": "join", "ptype": "publisher", "room": ROOM, "id": 5});
        user.ask(&mut scene.gateway, &join);
        let joined = user.events(&mut scene.gateway).remove(0);
        let publisher = &joined["publishers"][0];
        assert_eq!(
            (&publisher["id"], &publisher["display"]),
            (&77.into(), &"Far".into())
        );
        assert_eq!(publisher["streams"][1]["simulcast"], true);
        assert_eq!(publisher["streams"][2]["type"], "data");

        let again = scene.ask(json!({
            "request": "add_remote_publisher", "id": 77, "streams": streams(),
        }));
        assert_eq!(again["error_code"], 436);
        let participants = scene.ask(json!({"request": "listparticipants"}));
        assert_eq!(participants["participants"][1]["remote"], true);
        assert!(participants["participants"][0].get("remote").is_none());

        let mut others = streams();
        others[0]["description"] = "a voice".into();
        others
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "video", "mindex": 3, "mid": "3", "codec": "vp9"}));
        let update = json!({"request": "update_remote_publisher", "id": 77, "streams": others});
        assert_eq!(scene.ask(update.clone())["videoroom"], "success");
        // Nothing is told that is known already.
        scene.ask(update);
        let told = user.events(&mut scene.gateway);
        assert_eq!(told.len(), 1);
        let streams = &told[0]["publishers"][0]["streams"];
        assert_eq!(streams[0]["description"], "a voice");
        assert_eq!(streams[3]["disabled"], true, "the room has no vp9");

        let remove = json!({"request": "remove_remote_publisher", "id": 77});
        assert_eq!(scene.ask(remove.clone()), json!({"videoroom": "success"}));
        assert_eq!(user.events(&mut scene.gateway)[0]["leaving"], 77);
        assert_eq!(scene.ask(remove)["error_code"], 428);
        assert_eq!(scene.gateway.sockets.len(), 0, "its sockets are closed");
    }
}

#[test]
fn subscribers_can_be_offered_what_comes_from_another_gateway() {
    let mut scene = Scene::new(2);
    let user = User::new(&mut scene.gateway, 1);
    let join = json!({
        "request": "join", "ptype": "subscriber", "room": ROOM, "streams": [{"feed": 77}],
    });
    user.ask(&mut scene.gateway, &join);
    let attached = user.events(&mut scene.gateway).remove(0);
    let kinds: Vec<&Value> = attached["streams"]
        .as_array()
        .unwrap_or_else(|| panic!("{attached}"))
        .iter()
        .map(|stream| &stream["type"])
        .collect();
    assert_eq!(kinds, ["audio", "video", "data"]);
}

#[test]
fn rooms_take_their_remote_publishers_with_them() {
    for request in ["destroy", "kick"] {
        let mut scene = Scene::new(2);
        assert_eq!(scene.gateway.sockets.len(), 2);
        scene.forward(json!([{"mid": "0", "port": 5_000}]));
        assert_eq!(scene.gateway.sockets.len(), 3);
        scene.ask(json!({"request": request, "id": 77}));
        assert_eq!(scene.gateway.sockets.len(), 0, "{request}");
    }
}

#[test]
fn packets_are_forwarded_as_they_are_but_for_what_was_asked() {
    let mut scene = Scene::new(1);
    let forwarders = scene.forward(json!([
        {"mid": "0", "port": 5_000},
        {"mid": "0", "port": 5_002, "pt": 97, "ssrc": 42},
        {"mid": "9", "port": 5_004},
    ]));
    assert_eq!(
        forwarders.len(),
        2,
        "streams that are not there are passed over"
    );
    assert_eq!(forwarders[1]["pt"], 97);
    scene.gateway.sent();
    scene.arrive(AUDIO, &[(3, &[0x85]), (9, &[1, 2])], b"sound");
    let sent = scene.gateway.sent();
    let targets: Vec<SocketAddr> = sent.iter().map(|(to, _)| *to).collect();
    assert_eq!(targets, [receiver(5_000), receiver(5_002)]);
    let as_it_is = RtpLayout::read(&sent[0].1).unwrap();
    assert_eq!(as_it_is.header, AUDIO);
    let mut extensions = Vec::new();
    as_it_is.for_each_extension(&sent[0].1, |id, value| {
        extensions.push((id, value.to_vec()))
    });
    assert_eq!(extensions, [(3, vec![0x85])], "what was announced");
    let changed = RtpLayout::read(&sent[1].1).unwrap();
    assert_eq!((changed.header.pt, changed.header.ssrc), (97, 42));
    assert_eq!(&sent[1].1[changed.payload], b"sound");

    let list = scene.ask(json!({"request": "listforwarders"}));
    assert_eq!(
        list["publishers"][0]["forwarders"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let stop = json!({
        "request": "stop_rtp_forward", "publisher_id": 77,
        "stream_id": forwarders[0]["stream_id"],
    });
    assert_eq!(scene.ask(stop.clone())["videoroom"], "stop_rtp_forward");
    assert_eq!(scene.ask(stop)["error_code"], 428);
    scene.arrive(AUDIO, &[], b"more");
    assert_eq!(scene.gateway.sent().len(), 1);
}

#[test]
fn what_a_moderator_mutes_is_not_forwarded() {
    let mut scene = Scene::new(1);
    scene.forward(json!([{"mid": "0", "port": 5_000}, {"mid": "2", "port": 5_002}]));
    for (mute, count) in [(true, 0), (false, 2)] {
        for mid in ["0", "2"] {
            scene.ask(json!({"request": "moderate", "id": 77, "mid": mid, "mute": mute}));
        }
        scene.gateway.sent();
        scene.arrive(AUDIO, &[], b"sound");
        scene.arrive(
            RtpHeader {
                pt: 0,
                ssrc: 1_020,
                ..AUDIO
            },
            &[],
            b"words",
        );
        assert_eq!(scene.gateway.sent().len(), count);
    }
}

#[test]
fn encodings_go_to_ports_of_their_own_or_the_best_to_one() {
    let mut scene = Scene::new(1);
    let forwarders = scene.forward(json!([
        {"mid": "1", "port": 5_000, "port_2": 5_002, "port_3": 5_004},
        {"mid": "1", "port": 6_000, "simulcast": true, "port_2": 6_002},
    ]));
    let substreams: Vec<&Value> = forwarders.iter().map(|shown| &shown["substream"]).collect();
    assert_eq!(
        substreams,
        [&Value::Null, &1.into(), &2.into(), &Value::Null]
    );
    scene.gateway.sent();
    // Low first, then high: the one stream goes up with a key frame.
    for (sequence, encoding, payload) in [
        (100, 0, keyframe(10)),
        (200, 2, delta(40)),
        (101, 0, delta(11)),
        (201, 2, keyframe(41)),
        (102, 0, delta(12)),
        (202, 2, delta(42)),
    ] {
        scene.arrive(video(sequence, encoding), &[], &payload);
        scene.gateway.advance(Duration::from_millis(30));
    }
    let sent = scene.gateway.sent();
    let to = |port: u16| sent.iter().filter(move |(to, _)| *to == receiver(port));
    assert_eq!(
        (to(5_000).count(), to(5_002).count(), to(5_004).count()),
        (3, 0, 3)
    );
    let best: Vec<(u16, u32, u8)> = to(6_000)
        .map(|(_, bytes)| {
            let layout = RtpLayout::read(bytes).unwrap();
            let picture = bytes[layout.payload.start + 2];
            (layout.header.sequence, layout.header.ssrc, picture)
        })
        .collect();
    let first = best[0].0;
    let follow = |n: u16| first.wrapping_add(n);
    let wanted = [
        (first, 10),
        (follow(1), 11),
        (follow(2), 12),
        (follow(3), 13),
    ];
    assert_eq!(
        best.iter().map(|one| (one.0, one.2)).collect::<Vec<_>>(),
        wanted
    );
    assert!(
        best.iter().all(|one| one.1 == 1_010),
        "one source: {best:?}"
    );
}

#[test]
fn receivers_ask_for_key_frames_of_the_other_gateway() {
    let mut scene = Scene::new(1);
    scene.forward(json!([
        {"mid": "1", "port": 5_000, "rtcp_port": 5_001, "ssrc": 42, "port_2": 5_002},
    ]));
    let latches = scene.gateway.sent();
    assert_eq!(latches, [(receiver(5_001), empty_report(42).to_vec())]);
    scene.arrive(video(1, 0), &[], &keyframe(1));
    scene.gateway.sent();
    // The other gateway tells where feedback goes.
    scene.gateway.datagram(scene.rtcp, far(7_001), &[0x80; 12]);
    scene.arrive(video(2, 0), &[], &keyframe(2));
    scene.gateway.advance(Duration::from_secs(1));
    scene.gateway.sent();

    let asked = |scene: &mut Scene| {
        let sent = scene.gateway.sent();
        let mut asked = Vec::new();
        for (_, bytes) in sent.iter().filter(|(to, _)| *to == far(7_001)) {
            keyframe_requests(bytes, |ssrc| asked.push(ssrc));
        }
        asked
    };
    let local = scene.ask(json!({"request": "listforwarders"}));
    let shown = &local["publishers"][0]["forwarders"];
    let with_rtcp = |shown: &&Value| shown.get("local_rtcp_port").is_some();
    let local = shown.as_array().unwrap().iter().find(with_rtcp).unwrap();
    let local = local["local_rtcp_port"].as_u64().unwrap() as u16;
    scene.gateway.datagram(
        local,
        ([203, 0, 113, 1], 5_001).into(),
        &picture_loss(9, 42),
    );
    assert_eq!(asked(&mut scene), [0; 0], "strangers are not heard");
    // From another port than the one that was named, as some receivers do.
    scene
        .gateway
        .datagram(local, receiver(60_000), &picture_loss(9, 42));
    assert_eq!(asked(&mut scene), [1_010]);
    scene.gateway.advance(Duration::from_millis(600));
    assert_eq!(asked(&mut scene), [1_010], "it is asked for until it comes");
    scene.arrive(video(3, 0), &[], &keyframe(3));
    scene.gateway.advance(Duration::from_secs(2));
    assert_eq!(asked(&mut scene), [0; 0]);
}

#[test]
fn messages_are_forwarded_as_datagrams() {
    let mut scene = Scene::new(1);
    scene.forward(json!([{"mid": "2", "port": 5_000}]));
    scene.gateway.sent();
    scene.arrive(
        RtpHeader {
            pt: 0,
            ssrc: 1_020,
            ..AUDIO
        },
        &[],
        b"hello",
    );
    assert_eq!(scene.gateway.sent(), [(receiver(5_000), b"hello".to_vec())]);
}

#[test]
fn forwarders_of_the_old_form_are_answered_in_it() {
    let mut scene = Scene::new(3);
    let answer = scene.ask(json!({
        "request": "rtp_forward", "publisher_id": 77, "host": "192.0.2.9", "audio_port": 5_000,
        "video_port": 5_002, "video_rtcp_port": 5_003, "video_port_3": 5_006, "data_port": 0,
    }));
    let stream = &answer["rtp_stream"];
    assert_eq!(stream["warning"], "deprecated_api");
    assert_eq!(
        (&stream["audio"], &stream["video_3"]),
        (&5_000.into(), &5_006.into())
    );
    assert_eq!(stream["video_rtcp"], 5_003);
    assert!(stream["video_stream_id_3"].is_u64() && stream.get("data").is_none());
}

#[test]
fn what_is_encrypted_comes_back_only_to_those_with_the_key() {
    let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk";
    for suite in [32, 80] {
        let keys = json!({"srtp_suite": suite, "srtp_crypto": key});
        let mut scene = Scene::with(1, &keys);
        scene.arrive(AUDIO, &[], b"in the clear");
        scene.forward(json!([{"mid": "0", "port": 5_000}]));
        scene.gateway.sent();
        scene.arrive(AUDIO, &[], b"in the clear");
        assert_eq!(scene.gateway.sent(), [], "it has no tag");

        // What another gateway encrypts, this one takes in.
        let mut source = Scene::new(1);
        source.ask(json!({
            "request": "rtp_forward", "publisher_id": 77, "host": "192.0.2.9",
            "srtp_suite": suite, "srtp_crypto": key, "streams": [{"mid": "0", "port": 9}],
        }));
        source.arrive(AUDIO, &[], b"a secret");
        let (_, sealed) = source.gateway.sent().remove(0);
        assert!(!sealed.windows(8).any(|window| window == b"a secret"));
        for _ in 0..2 {
            scene.gateway.datagram(scene.rtp, far(7_000), &sealed);
        }
        let sent = scene.gateway.sent();
        assert_eq!(sent.len(), 1, "and only once");
        assert!(sent[0].1.ends_with(b"a secret"));
    }
}

#[test]
fn who_shows_no_secret_reaches_no_inner_address() {
    let mut gateway = Lockstep::new(2);
    let user = User::new(&mut gateway, 0);
    user.ask(&mut gateway, &json!({"request": "create", "room": 5}));
    let added = user.ask(
        &mut gateway,
        &json!({
            "request": "add_remote_publisher", "room": 5, "id": 77, "streams": streams(),
        }),
    );
    assert_eq!(added["videoroom"], "success");
    for (host, wanted) in [("169.254.169.254", None), ("192.0.2.9", Some(1))] {
        let answer = user.ask(
            &mut gateway,
            &json!({
                "request": "rtp_forward", "room": 5, "publisher_id": 77, "host": host,
                "streams": [{"mid": "0", "port": 80}],
            }),
        );
        assert_eq!(
            answer["forwarders"].as_array().map(Vec::len),
            wanted,
            "{answer}"
        );
    }
}

#[test]
fn the_operator_can_lock_forwarding() {
    let mut config = Config::default();
    config.videoroom.admin_key = Some(Secret::new("key"));
    config.videoroom.lock_rtp_forward = true;
    let mut gateway = Lockstep::with(1, config);
    let user = User::new(&mut gateway, 0);
    let create = json!({"request": "create", "room": 5, "admin_key": "key"});
    user.ask(&mut gateway, &create);
    user.ask(
        &mut gateway,
        &json!({
            "request": "add_remote_publisher", "room": 5, "id": 77, "streams": streams(),
        }),
    );
    let mut forward = json!({
        "request": "rtp_forward", "room": 5, "publisher_id": 77, "host": "192.0.2.9",
        "streams": [{"mid": "0", "port": 80}],
    });
    for (key, wanted) in [(None, 429), (Some("other"), 433)] {
        if let Some(key) = key {
            forward["admin_key"] = key.into();
        }
        assert_eq!(user.ask(&mut gateway, &forward)["error_code"], wanted);
    }
    forward["admin_key"] = "key".into();
    assert_eq!(user.ask(&mut gateway, &forward)["videoroom"], "rtp_forward");
}

#[test]
fn names_are_looked_up_and_those_that_are_not_found_are_named() {
    let mut scene = Scene::new(2);
    let mut forward = json!({
        "request": "rtp_forward", "publisher_id": 77, "host": "nope.example",
        "streams": [{"mid": "0", "port": 80}],
    });
    let fault = scene.ask(forward.clone());
    assert_eq!(
        fault["error"],
        "Could not resolve address (nope.example)..."
    );
    // The resolver of these tests takes addresses only, which this is not for the parser.
    forward["streams"][0]["host"] = "other.example".into();
    forward["host"] = "192.0.2.9".into();
    let fault = scene.ask(forward);
    assert_eq!(
        fault["error"],
        "Could not resolve address (other.example)..."
    );
    let fault = scene.ask(json!({
        "request": "add_remote_publisher", "iface": "nope", "streams": streams(),
    }));
    assert_eq!(fault["error_code"], 499);
}

#[test]
fn a_port_that_is_taken_is_refused_and_otherwise_another_is_found() {
    let mut scene = Scene::new(1);
    let add = json!({"request": "add_remote_publisher", "streams": streams(), "port": scene.rtp});
    assert_eq!(scene.ask(add)["error_code"], 499);
    assert_eq!(scene.gateway.sockets.len(), 2);

    let mut config = Config::default();
    config.videoroom.remote_ports = (20_010, 20_015);
    let mut gateway = Lockstep::with(1, config);
    let user = User::new(&mut gateway, 0);
    user.ask(&mut gateway, &json!({"request": "create", "room": 5}));
    let add = json!({"request": "add_remote_publisher", "room": 5, "streams": streams()});
    let mut ports = Vec::new();
    for _ in 0..3 {
        let added = user.ask(&mut gateway, &add);
        ports.push(added["port"].as_u64().unwrap());
        assert_eq!(added["rtcp_port"], ports[ports.len() - 1] + 1);
    }
    ports.sort_unstable();
    assert_eq!(ports, [20_010, 20_012, 20_014]);
    assert_eq!(
        user.ask(&mut gateway, &add)["error_code"],
        499,
        "the range is full"
    );
    assert_eq!(gateway.sockets.len(), 6);
}

#[test]
fn event_handlers_hear_of_forwarders() {
    let mut config = Config::default();
    config.events.enabled = true;
    config.events.post.enabled = true;
    config.events.post.backend = Backend::parse("http://127.0.0.1:9/");
    let mut gateway = Lockstep::with(2, config);
    let user = User::new(&mut gateway, 0);
    user.ask(&mut gateway, &json!({"request": "create", "room": 5}));
    user.ask(
        &mut gateway,
        &json!({
            "request": "add_remote_publisher", "room": 5, "id": 77, "streams": streams(),
        }),
    );
    let answer = user.ask(
        &mut gateway,
        &json!({
            "request": "rtp_forward", "room": 5, "publisher_id": 77, "host": "192.0.2.9",
            "streams": [{"mid": "1", "port": 80, "port_2": 82}],
        }),
    );
    let id = &answer["forwarders"][1]["stream_id"];
    user.ask(
        &mut gateway,
        &json!({
            "request": "stop_rtp_forward", "room": 5, "publisher_id": 77, "stream_id": id,
        }),
    );
    let told = |event: &str| {
        let data = gateway
            .reports
            .iter()
            .map(|report| &report["event"]["data"]);
        let named = data.filter(|data| data["event"] == event);
        named.cloned().collect::<Vec<Value>>()
    };
    let forwards = told("rtp_forward");
    assert_eq!(forwards.len(), 2);
    assert_eq!(
        (&forwards[1]["video_substream"], &forwards[1]["codec"]),
        (&1.into(), &"vp8".into())
    );
    assert_eq!(&told("stop_rtp_forward")[0]["stream_id"], id);
}
