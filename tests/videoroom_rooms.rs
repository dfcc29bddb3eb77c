//! What rooms are made of: options, dummy publishers, limits, secrets, permanence.

mod support;

use std::path::Path;
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use bifrons::config::{Config, Secret, TokenAuth};
use bifrons::gateway::outside::Written;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use support::Lockstep;
use support::room::{User, check_fault, everywhere, everywhere_with};

#[test]
fn a_dummy_publisher_holds_a_place_and_nothing_more() {
    everywhere(|gateway, users| {
        let [ada, bob, eve] = users else {
            unreachable!("there are three users");
        };
        let create = json!({
            "request": "create", "room": 5, "publishers": 1, "dummy_publisher": true,
            "audiocodec": "opus,pcmu", "videocodec": "vp9,vp8,vp8",
            "dummy_streams": [
                {"codec": "vp8", "fmtp": "x=1"}, {"codec": "opus"}, {"codec": "vp8"}, {"codec": "h264"},
            ],
        });
        ada.ask(gateway, &create);
        let list = ada.ask(gateway, &json!({"request": "list"}));
        assert_eq!(list["list"][0]["num_participants"], 1);
        assert_eq!(list["list"][0]["dummy_publisher"], true);
        let join = json!({"request": "join", "room": 5, "ptype": "publisher", "id": 1});
        let publisher = bob.tell(gateway, &join)["publishers"][0].clone();
        let dummy = publisher["id"].as_u64().expect("a number");
        let expected = json!({
            "id": dummy, "display": "Dummy publisher", "dummy": true,
            "audio_codec": "opus", "video_codec": "vp8",
            "streams": [
                {"type": "audio", "mindex": 0, "mid": "0", "codec": "opus"},
                {"type": "video", "mindex": 1, "mid": "1", "codec": "vp8"},
            ],
        });
        assert_eq!(publisher, expected);
        let people = bob.ask(gateway, &json!({"request": "listparticipants", "room": 5}));
        let shown = &people["participants"];
        let shown = shown.as_array().expect("an array").iter();
        let shown: Vec<&Value> = shown.filter(|person| person["id"] == dummy).collect();
        let expected = json!({
            "id": dummy, "display": "Dummy publisher", "dummy": true, "publisher": true,
        });
        assert_eq!(shown, [&expected]);

        let kick = json!({"request": "kick", "room": 5, "id": dummy});
        check_fault(&bob.ask(gateway, &kick), 428, "Can't kick dummy users");
        let forward = json!({
            "request": "rtp_forward", "room": 5, "publisher_id": dummy, "host": "192.0.2.1",
            "streams": [{"mid": "0", "port": 5_000}],
        });
        let text = format!("No such feed ({dummy})");
        check_fault(&bob.ask(gateway, &forward), 428, &text);

        let watch = json!({
            "request": "join", "room": 5, "ptype": "subscriber", "streams": [{"feed": dummy}],
        });
        let (attached, jsep) = eve.negotiate(gateway, &watch, None);
        assert_eq!(attached["streams"][1]["feed_id"], dummy);
        let fmtp = support::room::lines(&jsep, "a=fmtp:96 ");
        assert_eq!(fmtp, ["a=fmtp:96 x=1"]);
    });
}

#[test]
fn a_dummy_publisher_stays_the_same_and_configured_rooms_have_them_too() {
    let text = "room-9: { dummy_publisher = \"true\" }";
    let files = [("janus.plugin.videoroom.jcfg", text)];
    let config = Config::from_jcfg(&files, &|_| unreachable!("nothing is included"));
    let config = config.expect("it is valid").0;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut gateway = Lockstep::with(2, config.clone());
        let user = User::new(&mut gateway, 0);
        let people = user.ask(
            &mut gateway,
            &json!({"request": "listparticipants", "room": 9}),
        );
        ids.push(people["participants"][0]["id"].as_u64().expect("a number"));
    }
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn rooms_of_files_say_what_their_dummy_has_and_are_called_like_their_sections() {
    let janus = "room-9: {\n dummy_publisher = true\n audiocodec = \"opus,pcmu\"\n\
                 dummy_streams = ( { codec = \"vp8\", fmtp = \"x=1\" }, { codec = \"pcmu\" } )\n}\n";
    let toml = "[videoroom.rooms.9]\ndescription = \"room-9\"\ndummy_publisher = true\n\
                audiocodec = \"opus,pcmu\"\n\
                dummy_streams = [{ codec = \"vp8\", fmtp = \"x=1\" }, { codec = \"pcmu\" }]";
    let toml = Config::from_toml("bifrons.toml", toml).expect("it is valid");
    for config in [with_file(janus), toml.0] {
        everywhere_with(&config, |gateway, users| {
            let join = json!({"request": "join", "room": 9, "ptype": "publisher"});
            let joined = users[0].tell(gateway, &join);
            assert_eq!(joined["description"], "room-9");
            let expected = json!([
                {"type": "audio", "mindex": 0, "mid": "0", "codec": "pcmu"},
                {"type": "video", "mindex": 1, "mid": "1", "codec": "vp8"},
            ]);
            assert_eq!(joined["publishers"][0]["streams"], expected);
        });
    }
    for wrong in ["( 5 )", "( { fmtp = \"x=1\" } )"] {
        let text = format!("room-9: {{ dummy_streams = {wrong} }}");
        let read = Config::from_jcfg(&[(FILE, &text)], &|_| unreachable!("nothing is included"));
        let error = read.expect_err("it is wrong").to_string();
        assert!(error.contains("codec"), "{error}");
    }
}

#[test]
fn rooms_and_the_people_in_them_are_bounded() {
    let mut config = Config::default();
    config.limits.rooms_count = 3;
    config.limits.room_people_count = 2;
    let mut gateway = Lockstep::with(1, config);
    let gateway = &mut gateway;
    let users: Vec<User> = (0..4).map(|_| User::new(gateway, 0)).collect();
    for room in 1..=3 {
        let made = users[0].ask(gateway, &json!({"request": "create", "room": room}));
        assert_eq!(made["videoroom"], "created");
    }
    let create = json!({"request": "create", "room": 4});
    check_fault(&users[0].ask(gateway, &create), 499, "Too many rooms");
    users[0].ask(gateway, &json!({"request": "destroy", "room": 3}));
    assert_eq!(users[0].ask(gateway, &create)["videoroom"], "created");

    let join = json!({"request": "join", "room": 1, "ptype": "publisher"});
    for user in &users[..2] {
        assert_eq!(user.tell(gateway, &join)["videoroom"], "joined");
    }
    let text = "Maximum number of participants (2) already reached";
    check_fault(&users[2].tell(gateway, &join), 432, text);
    users[0].tell(gateway, &json!({"request": "leave"}));
    assert_eq!(users[2].tell(gateway, &join)["videoroom"], "joined");
}

#[test]
fn those_who_guess_wait_for_their_answers() {
    everywhere(|gateway, users| {
        let create = json!({"request": "create", "room": 5, "secret": "s", "pin": "p"});
        users[0].ask(gateway, &create);
        let guess = json!({"request": "destroy", "room": 5, "secret": "t"});
        for _ in 0..5 {
            check_fault(
                &users[1].ask(gateway, &guess),
                433,
                "Unauthorized (wrong secret)",
            );
        }
        let body = json!({"janus": "message", "transaction": "t", "body": guess});
        let path = format!("/janus/{}/{}", users[1].session, users[1].handle);
        gateway.send(users[1].conn, support::post(&path, &body.to_string()));
        assert_eq!(gateway.response(users[1].conn), None);
        gateway.advance(Duration::from_millis(999));
        assert_eq!(gateway.response(users[1].conn), None);
        gateway.advance(Duration::from_millis(1));
        let (_, reply) = gateway.response(users[1].conn).expect("an answer, late");
        assert!(reply.contains("433"), "{reply}");

        // Others, and those who know it, are served at once, and so is a new window.
        check_fault(
            &users[2].ask(gateway, &guess),
            433,
            "Unauthorized (wrong secret)",
        );
        let edit = json!({"request": "edit", "room": 5, "secret": "s"});
        assert_eq!(users[1].ask(gateway, &edit)["videoroom"], "edited");
        gateway.advance(Duration::from_secs(10));
        check_fault(
            &users[1].ask(gateway, &guess),
            433,
            "Unauthorized (wrong secret)",
        );
    });
}

#[test]
fn who_guesses_a_pin_waits_too() {
    everywhere(|gateway, users| {
        users[0].ask(
            gateway,
            &json!({"request": "create", "room": 5, "pin": "p"}),
        );
        let join = json!({"request": "join", "room": 5, "ptype": "publisher", "pin": "q"});
        for _ in 0..5 {
            check_fault(
                &users[1].tell(gateway, &join),
                433,
                "Unauthorized (wrong pin)",
            );
        }
        assert_eq!(users[1].send(gateway, &join, None)["janus"], "ack");
        gateway.poll(users[1].conn, users[1].session, "?maxev=50");
        assert_eq!(gateway.response(users[1].conn), None);
        gateway.advance(Duration::from_secs(1));
        let (_, event) = gateway.response(users[1].conn).expect("an event, late");
        assert!(event.contains("wrong pin"), "{event}");
    });
}

#[test]
fn tokens_of_a_room_are_listed_added_and_taken_out() {
    everywhere(|gateway, users| {
        let [ada, bob, _] = users else {
            unreachable!("there are three users");
        };
        ada.ask(
            gateway,
            &json!({"request": "create", "room": 5, "allowed": ["a"]}),
        );
        let join = |token: &str| json!({"request": "join", "room": 5, "ptype": "publisher", "token": token});
        let text = "Unauthorized (not in the allowed list)";
        check_fault(&bob.tell(gateway, &join("b")), 433, text);
        let mut allow = |action: &str, tokens: Value| {
            let request = json!({
                "request": "allowed", "room": 5, "action": action, "allowed": tokens,
            });
            ada.ask(gateway, &request)["allowed"].clone()
        };
        assert_eq!(allow("add", json!(["b"])), json!(["a", "b"]));
        assert_eq!(allow("remove", json!(["a"])), json!(["b"]));
        assert_eq!(allow("disable", json!([])), Value::Null);
        // Tokens are still there when they count again.
        assert_eq!(allow("add", json!(["c"])), json!(["b", "c"]));
        assert_eq!(allow("remove", json!(["b"])), json!(["c"]));
        assert_eq!(allow("enable", json!([])), json!(["c"]));
        let many: Vec<String> = (0..10_001).map(|n| n.to_string()).collect();
        let request = json!({"request": "allowed", "room": 5, "action": "add", "allowed": many});
        check_fault(&ada.ask(gateway, &request), 499, "Too many tokens");
        let create = json!({"request": "create", "room": 6, "allowed": request["allowed"]});
        check_fault(&ada.ask(gateway, &create), 499, "Too many tokens");
        check_fault(&bob.tell(gateway, &join("b")), 433, text);
        let add = json!({"request": "allowed", "room": 5, "action": "add", "allowed": ["b"]});
        ada.ask(gateway, &add);
        assert_eq!(bob.tell(gateway, &join("b"))["videoroom"], "joined");
    });
}

#[test]
fn tokens_do_not_count_before_a_room_is_told_to_look_at_them() {
    everywhere(|gateway, users| {
        users[0].ask(gateway, &json!({"request": "create", "room": 5}));
        let allow = |action: &str| json!({"request": "allowed", "room": 5, "action": action, "allowed": ["a"]});
        let listed = users[0].ask(gateway, &allow("add"));
        assert_eq!(listed["allowed"], json!(["a"]));
        let join = json!({"request": "join", "room": 5, "ptype": "publisher"});
        assert_eq!(users[1].tell(gateway, &join)["videoroom"], "joined");
        users[0].ask(gateway, &allow("enable"));
        let text = "Unauthorized (not in the allowed list)";
        check_fault(&users[2].tell(gateway, &join), 433, text);
        let mut named = join;
        named["token"] = "a".into();
        assert_eq!(users[2].tell(gateway, &named)["videoroom"], "joined");
    });
}

/// A token as whoever lets people in makes it.
fn signed(text: &str) -> String {
    let hmac = Hmac::<Sha256>::new_from_slice(b"key").expect("a key has any length");
    let mac = hmac.chain_update(text).finalize().into_bytes();
    format!("{text}:{}", Base64::encode_string(&mac))
}

#[test]
fn a_room_may_want_tokens_that_are_signed_for_it() {
    let mut config = Config::default();
    config.general.token_auth = TokenAuth::Signed(Secret::new("key"));
    config.general.api_secret = Some(Secret::new("api"));
    let mut gateway = Lockstep::with(2, config);
    let expiry = gateway.realtime().unix_seconds() + 600;
    let api = |mut message: Value| {
        message["apisecret"] = "api".into();
        message["transaction"] = "t".into();
        message
    };
    let conn = gateway.connect(0);
    let id = |reply: Value| reply["data"]["id"].as_u64().expect("an id");
    let session = id(gateway.post(conn, "/janus", &api(json!({"janus": "create"}))));
    let path = format!("/janus/{session}");
    let attach = api(json!({"janus": "attach", "plugin": "janus.plugin.videoroom"}));
    let handle = id(gateway.post(conn, &path, &attach));
    let path = format!("{path}/{handle}");
    let create = json!({"request": "create", "room": 5, "pin": "p", "signed_tokens": true});
    gateway.post(
        conn,
        &path,
        &api(json!({"janus": "message", "body": create})),
    );
    let plugin = "janus.plugin.videoroom";
    let wrong = "Unauthorized (wrong token)";
    let cases = [
        (
            json!(null),
            430,
            "Invalid element type (token should be a string)",
        ),
        (json!("x"), 433, wrong),
        (
            json!(signed(&format!("{expiry},janus,{plugin},room=5"))),
            433,
            wrong,
        ),
        (
            json!(signed(&format!("{expiry},{plugin},room=6"))),
            433,
            wrong,
        ),
        (json!(signed(&format!("1,{plugin},room=5"))), 433, wrong),
        // The token is looked at before the PIN.
        (
            json!(signed(&format!("{expiry},{plugin},room=5"))),
            429,
            "Missing mandatory element (pin)",
        ),
    ];
    for (token, code, text) in cases {
        for ptype in ["publisher", "subscriber"] {
            let join = json!({
                "request": "join", "room": 5, "ptype": ptype, "token": token, "feed": 1,
            });
            gateway.advance(Duration::from_secs(10));
            gateway.post(conn, &path, &api(json!({"janus": "message", "body": join})));
            gateway.poll(conn, session, "?maxev=5&apisecret=api");
            let (_, events) = gateway.response(conn).expect("an event");
            let events: Value = serde_json::from_str(&events).expect("JSON");
            check_fault(&events[0]["plugindata"]["data"], code, text);
        }
    }
}

#[test]
fn without_signed_tokens_a_room_cannot_want_them() {
    everywhere(|gateway, users| {
        users[0].ask(
            gateway,
            &json!({"request": "create", "room": 5, "signed_tokens": true}),
        );
        let join = json!({"request": "join", "room": 5, "ptype": "publisher"});
        assert_eq!(users[1].tell(gateway, &join)["videoroom"], "joined");
    });
}

const FILE: &str = "/etc/janus/janus.plugin.videoroom.jcfg";

fn with_file(text: &str) -> Config {
    let config = Config::from_jcfg(&[(FILE, text)], &|_| unreachable!("nothing is included"));
    config.expect("it is valid").0
}

fn rooms_of(gateway: &mut Lockstep) -> Vec<(u64, Value)> {
    let user = User::new(gateway, 0);
    let list = user.ask(gateway, &json!({"request": "list"}));
    let rooms = list["list"].as_array().expect("a list").iter();
    let mut rooms: Vec<(u64, Value)> = rooms
        .map(|room| (room["room"].as_u64().expect("a number"), room.clone()))
        .collect();
    rooms.sort_by_key(|room| room.0);
    rooms
}

#[test]
fn permanent_rooms_are_there_after_a_restart() {
    let first = with_file("general: { events = \"false\" }\nroom-1: { publishers = \"6\" }");
    everywhere_with(&first, |gateway, users| {
        let create = json!({
            "request": "create", "room": 2, "permanent": true, "description": "A \"room\"",
            "publishers": 9, "bitrate": 100_000, "bitrate_cap": true, "fir_freq": 10,
            "audiocodec": "opus,pcmu", "videocodec": "vp9,h264", "vp9_profile": "2",
            "h264_profile": "42e01f", "opus_fec": false, "opus_dtx": true, "pin": "p",
            "audiolevel_event": true, "audio_active_packets": 50, "audio_level_average": 40,
            "videoorient_ext": false, "playoutdelay_ext": false, "transport_wide_cc_ext": false,
            "notify_joining": true, "record": true, "rec_dir": "/tmp/x", "lock_record": true,
            "require_pvtid": true, "require_e2ee": true, "dummy_publisher": true,
            "dummy_streams": [{"codec": "vp9", "fmtp": "x=1"}, {"codec": "pcmu"}],
        });
        let made = users[0].ask(gateway, &create);
        let expected = json!({"videoroom": "created", "room": 2, "permanent": true});
        assert_eq!(made, expected);
        users[1].ask(gateway, &json!({"request": "create", "room": 3}));
        users[2].ask(
            gateway,
            &json!({"request": "create", "room": 4, "permanent": true, "secret": "s"}),
        );
        let edit = json!({
            "request": "edit", "room": 4, "secret": "s", "new_description": "Four", "permanent": true,
        });
        assert_eq!(users[0].ask(gateway, &edit)["permanent"], true);
        let destroy = json!({"request": "destroy", "room": 1, "permanent": true});
        let gone = users[1].ask(gateway, &destroy);
        let expected = json!({"videoroom": "destroyed", "room": 1, "permanent": true});
        assert_eq!(gone, expected);

        let before = rooms_of(gateway);
        let text = &gateway.files[Path::new(FILE)];
        let second = with_file(text);
        assert!(!second.videoroom.events);
        let mut gateway = Lockstep::with(2, second);
        let after = rooms_of(&mut gateway);
        let ids: Vec<u64> = after.iter().map(|room| room.0).collect();
        assert_eq!(ids, [2, 4], "room 3 was not to last");
        for (id, room) in after {
            let known = before.iter().find(|known| known.0 == id);
            assert_eq!(Some(&room), known.map(|known| &known.1));
        }
        let user = User::new(&mut gateway, 1);
        let join = json!({"request": "join", "room": 2, "ptype": "publisher", "pin": "p"});
        let joined = user.tell(&mut gateway, &join);
        let streams = joined["publishers"][0]["streams"]
            .as_array()
            .expect("an array");
        let codecs: Vec<&Value> = streams.iter().map(|stream| &stream["codec"]).collect();
        assert_eq!(codecs, ["pcmu", "vp9"]);
        let user = User::new(&mut gateway, 1);
        let destroy = json!({"request": "destroy", "room": 4, "secret": "s"});
        assert_eq!(user.ask(&mut gateway, &destroy)["permanent"], false);
    });
}

#[test]
fn what_cannot_be_written_is_not_permanent() {
    everywhere_with(&with_file(""), |gateway, users| {
        gateway.disk = Written::No;
        let create = json!({"request": "create", "room": 2, "permanent": true});
        let expected = json!({"videoroom": "created", "room": 2, "permanent": false});
        assert_eq!(users[1].ask(gateway, &create), expected);
        assert!(gateway.files.is_empty());
        let again = users[2].ask(gateway, &create);
        check_fault(&again, 427, "Room 2 already exists");
    });
    let texts = with_file("general: { string_ids = \"true\" }");
    everywhere_with(&texts, |gateway, users| {
        let create = json!({"request": "create", "room": "a b", "permanent": true});
        let expected = json!({"videoroom": "created", "room": "a b", "permanent": false});
        assert_eq!(users[1].ask(gateway, &create), expected);
        assert!(gateway.files.is_empty(), "no section can have that name");
    });
}

#[test]
fn options_of_the_wrong_type_are_named() {
    everywhere(|gateway, users| {
        for (name, value, kind) in [
            ("dummy_streams", json!("x"), "an array"),
            ("dummy_e2ee", json!("x"), "a boolean"),
            ("threads", json!("x"), "a positive integer"),
            ("fir_freq", json!(-1), "a positive integer"),
            ("opus_dtx", json!(1), "a boolean"),
            ("rec_dir", json!(1), "a string"),
        ] {
            let mut create = json!({"request": "create"});
            create[name] = value;
            let text = format!("Invalid element type ({name} should be {kind})");
            check_fault(&users[0].ask(gateway, &create), 430, &text);
        }
        let request = json!({"request": "enable_recording", "record": true});
        check_fault(&users[0].ask(gateway, &request), 426, "No such room (0)");
        let request = json!({"request": "enable_recording", "room": 5});
        let text = "Missing mandatory element (record)";
        check_fault(&users[0].ask(gateway, &request), 429, text);
    });
}

#[test]
fn text_ids_are_uuids_where_they_are_drawn_and_never_numbers() {
    let texts = with_file("general: { string_ids = \"true\" }");
    everywhere_with(&texts, |gateway, users| {
        let made = users[0].ask(
            gateway,
            &json!({"request": "create", "dummy_publisher": true}),
        );
        let room = made["room"].as_str().expect("a text");
        assert_eq!(room.len(), 36, "{room}");
        let people = users[1].ask(
            gateway,
            &json!({"request": "listparticipants", "room": room}),
        );
        let dummy = people["participants"][0]["id"].as_str().expect("a text");
        assert_eq!(dummy.len(), 36, "{dummy}");
        let text = "Invalid element type (room should be a string)";
        let exists = json!({"request": "exists", "room": 5});
        check_fault(&users[2].ask(gateway, &exists), 430, text);
    });
}

#[test]
fn a_list_that_is_too_long_is_refused_and_longer_ones_can_be_allowed() {
    for (out_bytes, is_had) in [(400_000, false), (1_000_000, true)] {
        let mut config = Config::default();
        config.limits.out_bytes = out_bytes;
        let mut gateway = Lockstep::with(2, config);
        let user = User::new(&mut gateway, 0);
        for room in 1..=600 {
            user.ask(&mut gateway, &json!({"request": "create", "room": room}));
        }
        let list = user.ask(&mut gateway, &json!({"request": "list"}));
        if is_had {
            assert_eq!(list["list"].as_array().map(Vec::len), Some(600));
        } else {
            check_fault(&list, 499, "Too many rooms to list");
        }
    }
}

#[test]
fn what_is_said_of_people_is_bounded_so_that_others_can_hear_it() {
    everywhere(|gateway, users| {
        let long = "x".repeat(16_384);
        users[0].ask(gateway, &json!({"request": "create", "room": 5}));
        let join = |name: &str| json!({"request": "join", "room": 5, "ptype": "publisher", "display": name});
        let text = "Invalid element value (display is too long)";
        let longer = format!("{long}y");
        check_fault(&users[0].tell(gateway, &join(&longer)), 430, text);
        let talkers: Vec<User> = (0..31).map(|_| User::new(gateway, 0)).collect();
        for talker in &talkers {
            assert_eq!(talker.tell(gateway, &join(&long))["videoroom"], "joined");
        }
        assert_eq!(
            users[1].tell(gateway, &join("short"))["videoroom"],
            "joined"
        );
        let other = User::new(gateway, 0);
        assert_eq!(other.tell(gateway, &join("other"))["videoroom"], "joined");
        // Whoever says more is passed over, and stays in.
        let configure = json!({"request": "configure", "display": long});
        assert_eq!(users[1].tell(gateway, &configure)["configured"], "ok");
        let full = "Too much is said of the participants of this room";
        check_fault(&users[2].tell(gateway, &join(&long)), 432, full);
        let add = json!({
            "request": "add_remote_publisher", "room": 5, "display": long,
            "streams": [{"type": "data", "mindex": 0, "mid": "0"}],
        });
        check_fault(&users[2].ask(gateway, &add), 432, full);
        let joined = users[2].tell(gateway, &join("last"));
        assert_eq!(joined["videoroom"], "joined");
        let people = users[2].ask(gateway, &json!({"request": "listparticipants", "room": 5}));
        let people = people["participants"].as_array().expect("an array").iter();
        let short: Vec<&Value> = people
            .map(|person| &person["display"])
            .filter(|name| name.as_str().is_some_and(|name| name.len() < 100))
            .collect();
        assert_eq!(short.len(), 3, "{short:?}");
    });
}
