//! Recordings of VideoRoom and EchoTest: what clients ask for and are told, and what is in the files,
//! in lockstep and virtual time.

mod support;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bifrons::config::{AdminConfig, Config, RecordingsConfig, Secret};
use bifrons::gateway::outside::Written;
use bifrons::shard::{Control, Listener};
use bifrons::wire::mjr;
use bifrons::wire::rtp::packet::{RtpHeader, RtpLayout, write_header};
use serde_json::{Value, json};
use support::Lockstep;
use support::room::User;

const ROOM: u64 = 5;
const ADMIN_SECRET: &str = "an admin secret";
const FAR: ([u8; 4], u16) = ([192, 0, 2, 1], 7_000);

fn config(folders: &[&str]) -> Config {
    Config {
        admin: AdminConfig {
            enabled: true,
            secret: Some(Secret::new(ADMIN_SECRET)),
            ..AdminConfig::default()
        },
        recordings: RecordingsConfig {
            folders: folders.iter().map(PathBuf::from).collect(),
            tmp_ext: Some("tmp".to_owned()),
        },
        ..Config::default()
    }
}

/// A room with a publisher of another gateway, whose media comes as plain RTP: no handshakes.
struct Scene {
    gateway: Lockstep,
    user: User,
    port: u16,
    sequence: u16,
    time: u32,
}

impl Scene {
    fn new(shards: u8, room: Value) -> Self {
        Self::with(shards, &["/rec"], room)
    }

    fn with(shards: u8, folders: &[&str], room: Value) -> Self {
        let mut gateway = Lockstep::with(shards, config(folders));
        let user = User::new(&mut gateway, 0);
        let mut create = json!({"request": "create", "room": ROOM});
        for (name, value) in room.as_object().expect("an object") {
            create[name] = value.clone();
        }
        assert_eq!(user.ask(&mut gateway, &create)["videoroom"], "created");
        let mut scene = Self {
            gateway,
            user,
            port: 0,
            sequence: 65_530,
            time: u32::MAX - 2_000,
        };
        let added = scene.ask(json!({
            "request": "add_remote_publisher", "id": 77, "streams": [
                {"type": "audio", "mindex": 0, "mid": "0", "codec": "opus",
                 "description": "a voice", "audiolevel_ext_id": 3},
                {"type": "data", "mindex": 1, "mid": "1"},
            ],
        }));
        assert_eq!(added["videoroom"], "success", "{added}");
        scene.port = added["port"].as_u64().expect("a port") as u16;
        scene
    }

    fn ask(&mut self, mut body: Value) -> Value {
        body["room"] = ROOM.into();
        self.user.ask(&mut self.gateway, &body)
    }

    fn record(&mut self, record: bool) {
        let answer = self.ask(json!({"request": "enable_recording", "record": record}));
        assert_eq!(answer, json!({"videoroom": "success", "record": record}));
    }

    fn arrive(&mut self, line: u32, pt: u8, payload: &[u8]) {
        let header = RtpHeader {
            pt,
            sequence: self.sequence,
            timestamp: self.time,
            ssrc: 1_000 + 10 * line,
            ..RtpHeader::default()
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.time = self.time.wrapping_add(960);
        let mut bytes = Vec::new();
        write_header(&header, &[(3, &[40])], &mut bytes);
        bytes.extend(payload);
        self.gateway
            .datagram(self.port, SocketAddr::from(FAR), &bytes);
    }

    /// So many packets of sound, 20 ms apart.
    fn speak(&mut self, packets: u8) {
        for packet in 0..packets {
            self.arrive(0, 111, &[packet; 30]);
            self.gateway.advance(Duration::from_millis(20));
        }
    }

    /// The files by their names, with the time in them blanked out.
    fn files(&self) -> Vec<String> {
        let files = self.gateway.recordings.keys();
        let names = files.map(|path| path.to_str().expect("it is text"));
        let blank = |part: &str| part.len() == 16 && part.bytes().all(|b| b.is_ascii_digit());
        names
            .map(|name| {
                let parts = name
                    .split('-')
                    .map(|part| if blank(part) { "TIME" } else { part });
                parts.collect::<Vec<_>>().join("-")
            })
            .collect()
    }

    fn file(&self, end: &str) -> mjr::MjrFile {
        let mut files = self.gateway.recordings.iter();
        let found = files.find(|(path, _)| path.to_str().is_some_and(|name| name.ends_with(end)));
        let (_, bytes) = found.unwrap_or_else(|| panic!("no {end} in {:?}", self.files()));
        let file = mjr::read(bytes).expect("it is a recording");
        assert!(file.is_whole);
        file
    }
}

#[test]
fn a_room_that_is_recorded_has_a_file_for_each_stream() {
    for shards in [1, 3] {
        let mut scene = Scene::new(shards, json!({"record": true, "rec_dir": "/rec/room"}));
        let base = format!("/rec/room/videoroom-{ROOM}-user-77-TIME");
        let open = [
            format!("{base}-audio-0.mjr.tmp"),
            format!("{base}-data-1.mjr.tmp"),
        ];
        assert_eq!(scene.files(), open);
        scene.speak(10);
        scene.arrive(1, 0, b"hello");
        scene.gateway.advance(Duration::from_secs(1));
        // What came so far is there for those who follow.
        assert_eq!(scene.file("-audio-0.mjr.tmp").frames.len(), 10);
        let removed = scene.ask(json!({"request": "remove_remote_publisher", "id": 77}));
        assert_eq!(removed["videoroom"], "success", "{removed}");
        let closed = [format!("{base}-audio-0.mjr"), format!("{base}-data-1.mjr")];
        assert_eq!(scene.files(), closed);

        let audio = scene.file("-audio-0.mjr");
        let header = audio.header.expect("something came");
        assert_eq!((&header["t"], &header["c"]), (&"a".into(), &"opus".into()));
        assert_eq!(header["d"], "a voice");
        assert_eq!(
            header["x"]["3"],
            "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
        );
        for (index, (millis, bytes)) in audio.frames.iter().enumerate() {
            let layout = RtpLayout::read(bytes).expect("it is RTP");
            assert_eq!(usize::from(layout.header.sequence), 1 + index);
            assert_eq!(layout.header.timestamp, 960 * index as u32);
            assert_eq!(*millis, 20 * index as u32);
            assert_eq!(bytes[layout.payload], [index as u8; 30]);
        }
        let data = scene.file("-data-1.mjr");
        assert_eq!(data.header.expect("something came")["c"], "text");
        assert_eq!(data.frames[0].1[8..], *b"hello");
    }
}

#[test]
fn recording_begins_and_ends_when_asked() {
    let mut scene = Scene::new(2, json!({}));
    assert!(scene.files().is_empty());
    let shown = |scene: &mut Scene| {
        let list = scene
            .user
            .ask(&mut scene.gateway, &json!({"request": "list"}));
        list["list"][0]["record"].clone()
    };
    assert_eq!(shown(&mut scene), false);
    scene.record(true);
    assert_eq!(shown(&mut scene), true);
    scene.speak(3);
    // What is so already changes nothing.
    scene.record(true);
    scene.speak(3);
    scene.record(false);
    scene.speak(3);
    assert_eq!(scene.files().len(), 2);
    assert_eq!(scene.file("-audio-0.mjr").frames.len(), 6);
    // A recording that nothing came for is a file with nothing in it.
    assert_eq!(scene.file("-data-1.mjr").header, None);
    scene.record(true);
    assert_eq!(scene.files().len(), 4);
}

#[test]
fn what_is_muted_is_not_recorded() {
    let mut scene = Scene::new(1, json!({"record": true}));
    scene.speak(2);
    for mute in [true, false] {
        let moderated = json!({"request": "moderate", "id": 77, "mid": "0", "mute": mute});
        scene.ask(moderated);
        scene.speak(5);
    }
    scene.record(false);
    let frames = scene.file("-audio-0.mjr").frames;
    assert_eq!(frames.len(), 2 + 5);
    assert_eq!(frames[2].0, 2 * 20 + 5 * 20, "time goes on");
}

#[test]
fn all_is_written_before_the_gateway_stops() {
    for control in [Control::Stop, Control::Drain] {
        let mut scene = Scene::new(3, json!({"record": true}));
        scene.speak(7);
        scene.gateway.control(control);
        scene.gateway.advance(Duration::from_secs(40));
        assert_eq!(scene.file("-audio-0.mjr").frames.len(), 7);
        assert!(scene.gateway.is_drained());
    }
}

#[test]
fn a_gateway_stops_although_a_disk_answers_nothing() {
    let mut scene = Scene::new(1, json!({"record": true}));
    scene.speak(7);
    // Nothing else is waited for.
    scene.gateway.reset(scene.user.conn);
    scene.gateway.is_disk_stuck = true;
    scene.gateway.control(Control::Stop);
    assert!(!scene.gateway.is_drained());
    scene.gateway.advance(Duration::from_secs(3));
    assert!(scene.gateway.is_drained());
}

#[test]
fn rooms_end_their_recordings() {
    let mut scene = Scene::new(2, json!({"record": true}));
    scene.speak(4);
    assert_eq!(
        scene.ask(json!({"request": "destroy"}))["videoroom"],
        "destroyed"
    );
    assert_eq!(scene.file("-audio-0.mjr").frames.len(), 4);
}

#[test]
fn nothing_is_written_elsewhere_than_the_operator_said() {
    for (folders, rec_dir) in [
        (&[][..], "/rec"),
        (&[], ""),
        (&["/rec"], "/tmp"),
        (&["/rec"], "/rec/../tmp"),
        (&["/rec"], "../rec"),
        (&["/rec"], "/recordings"),
    ] {
        let room = json!({"record": true, "rec_dir": rec_dir});
        let mut scene = Scene::with(1, folders, room);
        scene.speak(3);
        assert!(scene.gateway.recordings.is_empty(), "{rec_dir}");
        let counted = scene.gateway.metrics().media_recordings_failed;
        assert_eq!(counted, 2, "{rec_dir}");
    }
    let room = json!({"record": true, "rec_dir": "below/it"});
    let scene = Scene::with(1, &["/rec", "/other"], room);
    assert!(scene.files()[0].starts_with("/rec/below/it/videoroom-5-"));
}

const ROOMS: &str = "/etc/janus/janus.plugin.videoroom.jcfg";

/// What a configuration of Janus makes, with no folder named for recordings.
fn configured(rooms: &str) -> Config {
    let config = Config::from_jcfg(&[(ROOMS, rooms)], &|_| unreachable!("nothing is included"));
    let (config, warnings) = config.expect("it is valid");
    assert_eq!(warnings, []);
    config
}

/// Has a publisher of another gateway come to a room that records; returns the folders written to.
fn folders_of(gateway: &mut Lockstep, user: &User, room: u64) -> Vec<String> {
    let added = user.ask(
        gateway,
        &json!({
            "request": "add_remote_publisher", "room": room,
            "streams": [{"type": "data", "mindex": 0, "mid": "0"}],
        }),
    );
    assert_eq!(added["videoroom"], "success", "{added}");
    let files = std::mem::take(&mut gateway.recordings).into_keys();
    let folders = files.filter_map(|path| path.parent()?.to_str().map(str::to_owned));
    folders.collect()
}

#[test]
fn the_folder_of_a_configured_room_needs_no_other() {
    for shards in [1, 3] {
        let mut gateway = Lockstep::with(
            shards,
            configured(
                "room-1: { record = \"true\", rec_dir = \"/calls/one\" }\n\
                 room-2: { record = \"true\", rec_dir = \"calls/two\" }\n\
                 room-3: { record = \"true\", rec_dir = \"/\" }\n\
                 room-4: { record = \"true\" }\n",
            ),
        );
        let user = User::new(&mut gateway, 0);
        for (room, rec_dir) in [(5, "/elsewhere"), (6, "/calls/one/six"), (7, "/calls")] {
            let create = json!({
                "request": "create", "room": room, "record": true, "rec_dir": rec_dir,
            });
            user.ask(&mut gateway, &create);
        }
        for (room, folder) in [
            (1, Some("/calls/one")),
            (2, None),
            (3, None),
            (4, None),
            (5, None),
            (6, Some("/calls/one/six")),
            (7, None),
        ] {
            let written = folders_of(&mut gateway, &user, room);
            assert_eq!(written.first().map(String::as_str), folder, "room {room}");
        }
        // What a client changes is the client's.
        let edit = json!({"request": "edit", "room": 1, "new_rec_dir": "/elsewhere"});
        user.ask(&mut gateway, &edit);
        assert!(folders_of(&mut gateway, &user, 1).is_empty());
    }
}

#[test]
fn the_folder_that_a_client_asks_for_is_not_the_operators_after_a_restart() {
    let before = "room-1: { record = \"true\", rec_dir = \"/calls/one\" }\n\
                  room-2: { record = \"true\", rec_dir = \"/calls/two\" }\n";
    let mut gateway = Lockstep::with(1, configured(before));
    let user = User::new(&mut gateway, 0);
    let rec_dir = "/elsewhere";
    for request in [
        json!({"request": "create", "room": 5, "record": true, "rec_dir": rec_dir}),
        json!({"request": "edit", "room": 1, "new_rec_dir": rec_dir}),
        json!({"request": "edit", "room": 2, "new_description": "Two", "new_rec_dir": "/calls/two"}),
    ] {
        let mut request = request;
        request["permanent"] = true.into();
        assert_eq!(user.ask(&mut gateway, &request)["permanent"], true);
    }
    let after = gateway.files[std::path::Path::new(ROOMS)].clone();
    let mut gateway = Lockstep::with(1, configured(&after));
    let user = User::new(&mut gateway, 0);
    for (room, folder) in [(1, None), (2, Some("/calls/two")), (5, None)] {
        let written = folders_of(&mut gateway, &user, room);
        assert_eq!(written.first().map(String::as_str), folder, "room {room}");
    }
}

#[test]
fn a_disk_that_fails_ends_recordings_and_is_counted() {
    let mut scene = Scene::new(1, json!({"record": true}));
    scene.speak(3);
    scene.gateway.disk = Written::No;
    scene.speak(60);
    assert_eq!(scene.gateway.metrics().media_recordings_failed, 1);
    scene.gateway.disk = Written::Yes;
    scene.speak(60);
    // The file keeps the name that says that it was not finished.
    assert_eq!(scene.file("-audio-0.mjr.tmp").header, None);
    scene.record(false);
    scene.record(true);
    scene.speak(3);
    scene.record(false);
    assert_eq!(scene.file("-audio-0.mjr").frames.len(), 3);
}

/// What the Admin API says of the handle of an EchoTest client.
fn echo_info(gateway: &mut Lockstep, (session, handle): (u64, u64)) -> Value {
    let admin = gateway.connect_to(0, Listener::Admin);
    let request = json!({
        "janus": "handle_info", "transaction": "t", "admin_secret": ADMIN_SECRET,
    });
    let path = format!("/admin/{session}/{handle}");
    let reply = gateway.post(admin, &path, &request);
    reply["info"]["plugin_specific"]["recording"].clone()
}

#[test]
fn an_echo_is_recorded_by_medium() {
    let mut gateway = Lockstep::with(1, config(&["/rec"]));
    let client = gateway.connect(0);
    let (session, handle) = gateway.echo(client);
    let say = |gateway: &mut Lockstep, body: Value, jsep: Option<Value>| {
        let mut message = json!({"janus": "message", "transaction": "t", "body": body});
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        let path = format!("/janus/{session}/{handle}");
        assert_eq!(gateway.post(client, &path, &message)["janus"], "ack");
    };
    let chrome = include_str!("fixtures/sdp/offers/chrome-data.sdp");
    let jsep = json!({"type": "offer", "sdp": chrome});
    say(
        &mut gateway,
        json!({"record": true, "filename": "calls/one"}),
        None,
    );
    assert!(
        gateway.recordings.is_empty(),
        "there is nothing to record yet"
    );
    say(&mut gateway, json!({}), Some(jsep));
    let names: Vec<&str> = gateway
        .recordings
        .keys()
        .filter_map(|path| path.to_str())
        .collect();
    assert_eq!(
        names,
        [
            "/rec/calls/one-audio.mjr.tmp",
            "/rec/calls/one-data.mjr.tmp",
            "/rec/calls/one-video.mjr.tmp"
        ]
    );
    assert_eq!(
        echo_info(&mut gateway, (session, handle)),
        json!({"audio": "calls/one-audio.mjr", "data": "calls/one-data.mjr", "video": "calls/one-video.mjr"})
    );
    say(&mut gateway, json!({"record": false}), None);
    assert!(
        gateway
            .recordings
            .keys()
            .all(|path| path.extension().is_some_and(|end| end == "mjr"))
    );
    assert_eq!(echo_info(&mut gateway, (session, handle)), Value::Null);
    // The name is taken by now.
    say(&mut gateway, json!({"record": true}), None);
    assert_eq!(gateway.recordings.len(), 6);
}

#[test]
fn an_echo_says_what_cannot_be_recorded() {
    for (folders, body, expected) in [
        (
            &[][..],
            json!({"record": true}),
            json!({"error_code": 413, "error": "Recording is not available"}),
        ),
        (
            &["/rec"],
            json!({"record": true, "filename": "../x"}),
            json!({"event": "recording_failed", "media": "audio"}),
        ),
    ] {
        let mut gateway = Lockstep::with(1, config(folders));
        let client = gateway.connect(0);
        let (session, handle) = gateway.echo(client);
        let chrome = include_str!("fixtures/sdp/offers/chrome.sdp");
        let message = json!({
            "janus": "message", "transaction": "t", "body": body,
            "jsep": {"type": "offer", "sdp": chrome},
        });
        gateway.post(client, &format!("/janus/{session}/{handle}"), &message);
        gateway.poll(client, session, "?maxev=50");
        let (_, events) = gateway.response(client).expect("there are events");
        let events: Vec<Value> = serde_json::from_str(&events).expect("they are JSON");
        let mut wanted = json!({"echotest": "event"});
        wanted
            .as_object_mut()
            .expect("one")
            .extend(expected.as_object().expect("one").clone());
        assert!(
            events
                .iter()
                .any(|event| event["plugindata"]["data"] == wanted),
            "{events:?}"
        );
        assert!(gateway.recordings.is_empty());
    }
}
