//! What publishers say and are told: codecs, layers, encryption, descriptions, who talks.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bifrons::config::{Config, Secret};
use bifrons::shard::Listener;
use bifrons::wire::rtp::packet::{RtpHeader, empty_report, keyframe_requests, write_header};
use serde_json::{Value, json};
use support::Lockstep;
use support::room::{User, check_fault, everywhere, everywhere_with, lines, offer};

const CHROME: &str = include_str!("fixtures/sdp/offers/chrome.sdp");
const DATA: &str = include_str!("fixtures/sdp/offers/chrome-data.sdp");
const SIMULCAST: &str = include_str!("fixtures/sdp/offers/chrome-simulcast-rid.sdp");

fn join(id: u64) -> Value {
    json!({"request": "join", "room": 5, "ptype": "publisher", "id": id})
}

/// Joins and publishes; returns what the client is told and the answer.
fn publish(gateway: &mut Lockstep, user: &User, more: &Value, jsep: Value) -> (Value, Value) {
    let mut body = json!({"request": "joinandconfigure", "room": 5, "ptype": "publisher"});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    user.negotiate(gateway, &body, Some(jsep))
}

#[test]
fn zero_asks_for_any_id() {
    everywhere(|gateway, users| {
        users[0].ask(gateway, &json!({"request": "create", "room": 5}));
        let add = json!({
            "request": "add_remote_publisher", "room": 5, "id": 0,
            "streams": [{"type": "data", "mindex": 0, "mid": "0"}],
        });
        let mut ids = vec![users[0].ask(gateway, &add)["id"].clone()];
        for user in users {
            ids.push(user.tell(gateway, &join(0))["id"].clone());
        }
        let drawn: Vec<u64> = ids.iter().filter_map(Value::as_u64).collect();
        assert_eq!(drawn.len(), 4, "{ids:?}");
        assert!(!drawn.contains(&0), "{drawn:?}");
    });
}

/// What a room with these options answers to Chrome: the payload types, and `a=fmtp` of each.
fn answered(options: &Value) -> (Vec<String>, Vec<String>) {
    let mut gateway = Lockstep::new(1);
    let user = User::new(&mut gateway, 0);
    let mut create = json!({"request": "create", "room": 5});
    for (name, value) in options.as_object().expect("an object") {
        create[name] = value.clone();
    }
    let made = user.ask(&mut gateway, &create);
    assert_eq!(made["videoroom"], "created", "{made}");
    let (_, answer) = publish(&mut gateway, &user, &json!({}), offer(CHROME));
    let pts = lines(&answer, "m=").into_iter();
    let pts = pts.map(|line| line.split("SAVPF ").nth(1).unwrap_or_default().to_owned());
    let fmtp = lines(&answer, "a=fmtp:").into_iter().map(str::to_owned);
    (pts.collect(), fmtp.collect())
}

#[test]
fn a_room_picks_codecs_in_its_own_order() {
    for (audio, video, pts) in [
        ("opus", "vp8", ["111", "96 97"]),
        ("pcmu,opus", "vp9,vp8", ["0", "98 99"]),
        ("g722", "h264", ["9", "102 103"]),
        ("pcma", "av1", ["8", "45 46"]),
        ("isac16,opus", "h265,av1", ["111", "45 46"]),
        // Neither is offered: sound is there and idle, and pictures are refused.
        ("isac16", "h265", ["111", "0"]),
        // Redundant audio is preferred to what it is made of.
        ("red,opus", "vp8", ["63 111", "96 97"]),
        ("opus,red", "vp8", ["111", "96 97"]),
        ("l16,multiopus,pcma", "vp8", ["8", "96 97"]),
    ] {
        let (found, _) = answered(&json!({"audiocodec": audio, "videocodec": video}));
        assert_eq!(found, pts, "{audio} {video}");
    }
}

#[test]
fn opus_is_asked_for_what_the_room_wants_of_it() {
    for (options, expected) in [
        (json!({}), &["a=fmtp:111 useinbandfec=1"][..]),
        (json!({"opus_fec": false}), &[]),
        (json!({"audiocodec": "pcmu"}), &[]),
    ] {
        let (_, fmtp) = answered(&options);
        let fmtp: Vec<&str> = fmtp.iter().map(String::as_str).collect();
        let audio: Vec<&str> = fmtp
            .iter()
            .copied()
            .filter(|line| !line.contains("apt="))
            .collect();
        assert_eq!(audio, expected, "{options}");
    }
}

#[test]
fn profiles_are_preferred_where_they_are_offered() {
    let h264 = |profile: &str| {
        let two = CHROME
            .replace("SAVPF 96 97 102", "SAVPF 96 97 127 102")
            .replace(
                "a=rtpmap:102 H264/90000",
                "a=rtpmap:127 H264/90000\r\na=fmtp:127 profile-level-id=42e01f\r\na=rtpmap:102 H264/90000",
            );
        assert!(two.contains(":127"));
        let mut gateway = Lockstep::new(1);
        let user = User::new(&mut gateway, 0);
        let create = json!({
            "request": "create", "room": 5, "videocodec": "h264", "h264_profile": profile,
        });
        user.ask(&mut gateway, &create);
        let (data, answer) = publish(&mut gateway, &user, &json!({}), offer(&two));
        let profile = data["streams"][1]["h264_profile"]
            .as_str()
            .unwrap_or("")
            .to_owned();
        (lines(&answer, "m=video")[0].to_owned(), profile)
    };
    let (line, profile) = h264("42e01f");
    assert!(line.ends_with(" 127"), "{line}");
    assert_eq!(profile, "42e01f");
    let (line, _) = h264("640c1f");
    assert!(
        line.contains(" 127"),
        "the first one, where none fits: {line}"
    );
}

#[test]
fn a_publisher_may_pick_among_the_codecs_of_the_room() {
    everywhere(|gateway, users| {
        let create = json!({
            "request": "create", "room": 5, "audiocodec": "opus,pcmu", "videocodec": "vp8,h264",
        });
        users[0].ask(gateway, &create);
        let wish = json!({"audiocodec": "pcmu", "videocodec": "h264"});
        let (data, answer) = publish(gateway, &users[0], &wish, offer(CHROME));
        assert_eq!(data["videoroom"], "joined");
        assert_eq!(
            (&data["audio_codec"], &data["video_codec"]),
            (&"pcmu".into(), &"h264".into())
        );
        assert_eq!(lines(&answer, "a=rtpmap:0 "), ["a=rtpmap:0 PCMU/8000"]);
        for (wish, text) in [
            (
                json!({"audiocodec": "g722"}),
                "Audio codec unavailable in this room",
            ),
            (
                json!({"videocodec": "vp9"}),
                "Video codec unavailable in this room",
            ),
        ] {
            let mut body = json!({"request": "configure"});
            body.as_object_mut()
                .expect("an object")
                .extend(wish.as_object().expect("one").clone());
            let (fault, _) = users[0].negotiate(gateway, &body, Some(offer(CHROME)));
            check_fault(&fault, 430, text);
            // Without a description nothing is picked.
            assert_eq!(users[0].tell(gateway, &body)["configured"], "ok");
        }
    });
}

#[test]
fn a_line_in_no_codec_of_the_room_is_said_to_be_disabled() {
    everywhere(|gateway, users| {
        for (room, codecs, index, kind, line, bundle) in [
            (
                5,
                ["opus", "h265"],
                1,
                "video",
                "m=video 0 UDP/TLS/RTP/SAVPF 0",
                "0",
            ),
            (
                6,
                ["isac16", "vp8"],
                0,
                "audio",
                "m=audio 9 UDP/TLS/RTP/SAVPF 111",
                "0 1",
            ),
        ] {
            let create = json!({
                "request": "create", "room": room, "audiocodec": codecs[0], "videocodec": codecs[1],
            });
            users[0].ask(gateway, &create);
            let user = User::new(gateway, 0);
            let wish = json!({
                "request": "joinandconfigure", "room": room, "ptype": "publisher",
            });
            let (data, answer) = user.negotiate(gateway, &wish, Some(offer(CHROME)));
            assert_eq!(data[format!("{kind}_codec")], "none");
            assert_eq!(
                data["streams"][index],
                json!({"type": kind, "mindex": index, "mid": index.to_string(), "disabled": true})
            );
            assert_eq!(lines(&answer, &format!("m={kind}")), [line]);
            assert_eq!(lines(&answer, "a=inactive").len(), 1);
            assert_eq!(
                lines(&answer, "a=group:"),
                [format!("a=group:BUNDLE {bundle}")]
            );
            let other = 1 - index;
            assert_eq!(
                lines(&answer, "a=msid:"),
                [format!("a=msid:janus janus{other}")]
            );
        }
    });
}

#[test]
fn layers_are_said_to_be_there() {
    everywhere(|gateway, users| {
        let create = json!({"request": "create", "room": 5, "videocodec": "vp9,vp8"});
        users[0].ask(gateway, &create);
        let mut jsep = offer(CHROME);
        jsep["svc"] = json!([{"mindex": 1, "svc": "L3T3"}, {"mindex": "x"}, 7]);
        let (data, _) = publish(gateway, &users[0], &json!({"id": 1}), jsep.clone());
        assert_eq!(data["streams"][1]["svc"], true);
        assert_eq!(data["streams"][1]["vp9_profile"], "0");

        let configure = json!({"request": "configure"});
        let (data, _) = users[0].negotiate(gateway, &configure, Some(offer(CHROME)));
        assert_eq!(data["streams"][1].get("svc"), None, "it was not said again");

        // Encodings of their own come before layers in one, and VP8 has none.
        let mut jsep = offer(SIMULCAST);
        jsep["svc"] = json!([{"mindex": 0, "svc": "L3T3"}, {"mindex": 1, "svc": "L3T3"}]);
        let (data, _) = publish(gateway, &users[1], &json!({"id": 2}), jsep.clone());
        let streams = data["streams"].as_array().expect("an array");
        let video = streams.iter().find(|stream| stream["type"] == "video");
        let video = video.expect("there is video");
        assert_eq!(
            (&video["simulcast"], video.get("svc")),
            (&true.into(), None)
        );
        let mut jsep = offer(CHROME);
        jsep["svc"] = json!([{"mindex": 1, "svc": "L3T3"}]);
        let wish = json!({"id": 3, "videocodec": "vp8"});
        let (data, _) = publish(gateway, &users[2], &wish, jsep);
        assert_eq!(data["streams"][1].get("svc"), None);
    });
}

#[test]
fn rooms_may_want_media_that_is_encrypted_end_to_end() {
    everywhere(|gateway, users| {
        users[0].ask(
            gateway,
            &json!({"request": "create", "room": 5, "require_e2ee": true}),
        );
        users[0].tell(gateway, &join(1));
        let configure = json!({"request": "configure"});
        let (fault, _) = users[0].negotiate(gateway, &configure, Some(offer(CHROME)));
        check_fault(&fault, 433, "Room requires end-to-end encrypted media");
        let mut jsep = offer(CHROME);
        jsep["e2ee"] = true.into();
        let (data, answer) = users[0].negotiate(gateway, &configure, Some(jsep));
        assert_eq!(data["configured"], "ok");
        assert_eq!(answer["e2ee"], true);
    });
}

#[test]
fn a_room_takes_so_many_publishers_at_a_time() {
    everywhere(|gateway, users| {
        users[0].ask(
            gateway,
            &json!({"request": "create", "room": 5, "publishers": 1}),
        );
        for (user, id) in users.iter().zip(1..) {
            user.tell(gateway, &join(id));
        }
        let publish = json!({"request": "publish"});
        let (data, _) = users[0].negotiate(gateway, &publish, Some(offer(CHROME)));
        assert_eq!(data["configured"], "ok");
        let (fault, _) = users[1].negotiate(gateway, &publish, Some(offer(CHROME)));
        check_fault(
            &fault,
            432,
            "Maximum number of publishers (1) already reached",
        );
        let unpublish = json!({"request": "unpublish"});
        check_fault(
            &users[1].tell(gateway, &unpublish),
            435,
            "Can't unpublish, not published",
        );
        users[0].send(gateway, &unpublish, None);
        let (data, _) = users[1].negotiate(gateway, &publish, Some(offer(CHROME)));
        assert_eq!(data["configured"], "ok");
    });
}

#[test]
fn what_is_wrong_with_an_offer_or_a_setting_is_named() {
    everywhere(|gateway, users| {
        users[0].ask(gateway, &json!({"request": "create", "room": 5}));
        users[0].tell(gateway, &join(1));
        let integer = "an integer";
        for (name, value, kind) in [
            ("bitrate", json!("x"), "a positive integer"),
            ("display", json!(5), "a string"),
            ("metadata", json!("x"), "an object"),
            ("audio_active_packets", json!("x"), "a positive integer"),
            ("descriptions", json!({}), "an array"),
            ("min_delay", json!("x"), integer),
            ("max_delay", json!(true), integer),
            ("keyframe", json!(1), "a boolean"),
            ("record", json!(1), "a boolean"),
            ("restart", json!(1), "a boolean"),
        ] {
            let mut body = json!({"request": "configure"});
            body[name] = value;
            let text = format!("Invalid element type ({name} should be {kind})");
            check_fault(&users[0].tell(gateway, &body), 430, &text);
        }
        let body = json!({"request": "configure", "metadata": {"x": "y".repeat(20_000)}});
        let text = "Invalid element value (metadata is too big)";
        check_fault(&users[0].tell(gateway, &body), 430, text);
        let body = json!({"request": "configure", "streams": [{"send": true}, {"send": true}]});
        let text = "Invalid value (mid can't be null in a streams array)";
        check_fault(&users[0].tell(gateway, &body), 430, text);
        let body = json!({"request": "configure", "streams": [{"mid": "9", "send": false}]});
        check_fault(
            &users[0].tell(gateway, &body),
            428,
            "No such mid '9' published",
        );
        let body = json!({"request": "configure", "descriptions": [5]});
        let text = "Missing mandatory element (mid)";
        check_fault(&users[0].tell(gateway, &body), 429, text);
        let body = json!({"request": "configure", "descriptions": [{"mid": "0"}]});
        let text = "Missing mandatory element (description)";
        check_fault(&users[0].tell(gateway, &body), 429, text);
        let empty = CHROME
            .replace("m=audio 9", "m=audio 0")
            .replace("m=video 9", "m=video 0");
        let body = json!({"request": "configure"});
        let (fault, _) = users[0].negotiate(gateway, &body, Some(offer(&empty)));
        check_fault(&fault, 437, "Can't offer an SDP with no stream");
        for request in ["start", "pause", "subscribe", "switch"] {
            let text = format!("Unknown request '{request}'");
            check_fault(
                &users[0].tell(gateway, &json!({"request": request})),
                423,
                &text,
            );
        }
    });
}

#[test]
fn descriptions_are_kept_for_streams_that_come_later() {
    everywhere(|gateway, users| {
        users[0].ask(gateway, &json!({"request": "create", "room": 5}));
        let wish = json!({"descriptions": [
            {"mid": "1", "description": "camera"}, {"mid": "9", "description": "none"},
        ]});
        let (data, _) = publish(gateway, &users[0], &wish, offer(CHROME));
        assert_eq!(data["streams"][1]["description"], "camera");
        assert_eq!(data["streams"][0].get("description"), None);
        // A new offer does not say it again.
        let (data, _) = users[0].negotiate(
            gateway,
            &json!({"request": "configure"}),
            Some(offer(CHROME)),
        );
        assert_eq!(data["streams"][1]["description"], "camera");
    });
}

/// `plugin_specific` of a handle.
fn query(gateway: &mut Lockstep, user: &User) -> Value {
    let conn = gateway.connect_to(0, Listener::Admin);
    let path = format!("/admin/{}/{}", user.session, user.handle);
    let ask = json!({
        "janus": "handle_info", "transaction": "t", "admin_secret": "a secret of an admin",
    });
    let reply = gateway.post(conn, &path, &ask);
    assert_eq!(reply["janus"], "success", "{reply}");
    reply["info"]["plugin_specific"].clone()
}

fn with_admin() -> Config {
    let mut config = Config::default();
    config.admin.enabled = true;
    config.admin.secret = Some(Secret::new("a secret of an admin"));
    config
}

#[test]
fn a_publisher_is_told_what_another_gateway_must_know_of_its_layers() {
    let uri =
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
    let described = CHROME.replace(
        "a=extmap:13 urn:3gpp:video-orientation",
        &format!("a=extmap:13 urn:3gpp:video-orientation\r\na=extmap:8 {uri}"),
    );
    for (codec, id) in [("av1", json!(8)), ("vp9", json!(8)), ("vp8", Value::Null)] {
        let mut gateway = Lockstep::new(1);
        let user = User::new(&mut gateway, 0);
        let create = json!({"request": "create", "room": 5, "videocodec": codec});
        user.ask(&mut gateway, &create);
        let (data, _) = publish(&mut gateway, &user, &json!({}), offer(&described));
        assert_eq!(data["streams"][1]["codec"], codec);
        assert_eq!(data["streams"][1]["dependencydesc_ext_id"], id, "{codec}");
    }
}

#[test]
fn operators_see_who_a_publisher_is_and_what_it_sends() {
    everywhere_with(&with_admin(), |gateway, users| {
        let create = json!({"request": "create", "room": 5, "videocodec": "vp9"});
        users[0].ask(gateway, &create);
        let wish = json!({"id": 3, "display": "Ada", "metadata": {"a": 1}});
        publish(gateway, &users[0], &wish, offer(CHROME));
        let mut shown = query(gateway, &users[0]);
        assert!(shown["private_id"].take().is_number());
        let audio = json!({
            "type": "audio", "mindex": 0, "mid": "0", "codec": "opus", "fec": true,
            "audiolevel_ext_id": 1, "talking": false, "subscribers": 0,
        });
        let video = json!({
            "type": "video", "mindex": 1, "mid": "1", "codec": "vp9", "vp9-profile": "0",
            "videoorient_ext_id": 13, "playoutdelay_ext_id": 5, "subscribers": 0,
        });
        let expected = json!({
            "type": "publisher", "room": 5, "id": 3, "private_id": null, "display": "Ada",
            "metadata": {"a": 1}, "bitrate": 0, "e2ee": false, "streams": [audio, video],
            "hangingup": 0, "destroyed": 0,
        });
        assert_eq!(shown, expected);
        users[0].tell(gateway, &json!({"request": "configure", "display": "Eve"}));
        assert_eq!(query(gateway, &users[0])["display"], "Eve");
    });
}

#[test]
fn a_plain_join_sets_nothing_but_who_joins() {
    everywhere_with(&with_admin(), |gateway, users| {
        users[0].ask(gateway, &json!({"request": "create", "room": 5}));
        let mut joined = |request: &str, (name, value): (&str, Value)| {
            let user = User::new(gateway, 0);
            let mut body = json!({"request": request, "room": 5, "ptype": "publisher"});
            body[name] = value;
            let data = user.tell(gateway, &body);
            (data, query(gateway, &user))
        };
        for (name, value, kind) in [
            ("bitrate", json!("x"), "a positive integer"),
            ("record", json!("x"), "a boolean"),
            ("video", json!("x"), "a boolean"),
            ("display", json!(5), "a string"),
        ] {
            let text = format!("Invalid element type ({name} should be {kind})");
            check_fault(&joined("join", (name, value)).0, 430, &text);
        }
        for (name, value) in [
            ("audiocodec", json!(5)),
            ("streams", json!(5)),
            ("min_delay", json!("x")),
            ("audio_active_packets", json!("x")),
            ("audio_level_average", json!([])),
        ] {
            let (data, _) = joined("join", (name, value));
            assert_eq!(data["videoroom"], "joined", "{name}: {data}");
            assert_eq!(data.get(name), None);
        }
        for (request, bitrate) in [("JOIN", 0), ("joinandconfigure", 99_000)] {
            let (_, shown) = joined(request, ("bitrate", json!(99_000)));
            assert_eq!(shown["bitrate"], bitrate, "{request}");
        }
        let (data, _) = joined("join", ("audio_active_packets", json!(9)));
        assert_eq!(data["audio_active_packets"], 9);
    });
}

#[test]
fn bitrates_are_raised_to_the_least_and_clamped_to_the_cap_of_the_room() {
    everywhere_with(&with_admin(), |gateway, users| {
        for (room, cap, wishes) in [
            (5, false, [(1_000, 64_000), (900_000, 900_000), (0, 0)]),
            (6, true, [(1_000, 64_000), (900_000, 500_000), (0, 500_000)]),
        ] {
            let create = json!({
                "request": "create", "room": room, "bitrate": 500_000, "bitrate_cap": cap,
            });
            users[0].ask(gateway, &create);
            let user = User::new(gateway, 0);
            let join = json!({"request": "join", "room": room, "ptype": "publisher"});
            user.tell(gateway, &join);
            assert_eq!(query(gateway, &user)["bitrate"], 500_000);
            for (wish, expected) in wishes {
                user.tell(gateway, &json!({"request": "configure", "bitrate": wish}));
                assert_eq!(query(gateway, &user)["bitrate"], expected);
            }
        }
    });
}

#[test]
fn playout_delays_are_kept_by_stream() {
    everywhere_with(&with_admin(), |gateway, users| {
        users[0].ask(gateway, &json!({"request": "create", "room": 5}));
        publish(gateway, &users[0], &json!({}), offer(CHROME));
        let mut delays = |more: Value| {
            let mut body = json!({"request": "configure"});
            body.as_object_mut()
                .expect("one")
                .extend(more.as_object().expect("one").clone());
            assert_eq!(users[0].tell(gateway, &body)["configured"], "ok");
            let streams = query(gateway, &users[0])["streams"].clone();
            (
                streams[0]["playout-delay"].clone(),
                streams[1]["playout-delay"].clone(),
            )
        };
        assert_eq!(delays(json!({"min_delay": 10})), (Value::Null, Value::Null));
        let video = json!({"min-delay": 10, "max-delay": 30});
        assert_eq!(
            delays(json!({"max_delay": 30})),
            (Value::Null, video.clone())
        );
        let audio = json!({"min-delay": 1, "max-delay": 2});
        let wish = json!({"streams": [{"mid": "0", "min_delay": 1, "max_delay": 2}]});
        assert_eq!(delays(wish), (audio.clone(), video));
        let wish = json!({"streams": [{"mid": "1", "min_delay": -1}]});
        assert_eq!(delays(wish), (audio, Value::Null));
    });
}

#[test]
fn who_joins_may_say_when_it_counts_as_talking() {
    everywhere(|gateway, users| {
        users[0].ask(gateway, &json!({"request": "create", "room": 5}));
        let mut wish = join(1);
        wish["audio_active_packets"] = 7.into();
        let joined = users[0].tell(gateway, &wish);
        assert_eq!(joined["audio_active_packets"], 7);
        assert_eq!(joined.get("audio_level_average"), None);
    });
}

/// A publisher of another gateway whose packets the test sends.
struct Far {
    rtp: u16,
    rtcp: u16,
    sequence: u16,
}

impl Far {
    fn new(gateway: &mut Lockstep, user: &User) -> Self {
        let add = json!({
            "request": "add_remote_publisher", "room": 5, "id": 77, "streams": [
                {"type": "audio", "mindex": 0, "mid": "0", "codec": "opus", "audiolevel_ext_id": 3},
                {"type": "video", "mindex": 1, "mid": "1", "codec": "vp8"},
            ],
        });
        let added = user.ask(gateway, &add);
        let port = |name: &str| added[name].as_u64().expect("a port") as u16;
        Self {
            rtp: port("port"),
            rtcp: port("rtcp_port"),
            sequence: 0,
        }
    }

    /// Packets of sound, `level` loud.
    fn sound(&mut self, gateway: &mut Lockstep, level: u8, count: usize) {
        for _ in 0..count {
            self.sequence += 1;
            let header = RtpHeader {
                marker: false,
                pt: 111,
                sequence: self.sequence,
                timestamp: 960 * u32::from(self.sequence),
                ssrc: 1_000,
            };
            let mut bytes = Vec::new();
            write_header(&header, &[(3, &[level])], &mut bytes);
            bytes.extend(b"sound");
            gateway.datagram(self.rtp, ([192, 0, 2, 1], 7_000).into(), &bytes);
        }
    }

    /// A key frame.
    fn picture(&mut self, gateway: &mut Lockstep) {
        self.sequence += 1;
        let header = RtpHeader {
            marker: true,
            pt: 96,
            sequence: self.sequence,
            timestamp: 3_000 * u32::from(self.sequence),
            ssrc: 1_010,
        };
        let mut bytes = Vec::new();
        write_header(&header, &[], &mut bytes);
        bytes.extend([0x10, 0, 1, 2, 3]);
        gateway.datagram(self.rtp, ([192, 0, 2, 1], 7_000).into(), &bytes);
    }
}

#[test]
fn everybody_is_told_who_talks_and_who_ceases_to() {
    everywhere(|gateway, users| {
        let create = json!({
            "request": "create", "room": 5, "audiolevel_event": true, "audio_active_packets": 10,
            "audio_level_average": 50,
        });
        users[0].ask(gateway, &create);
        users[0].tell(gateway, &join(1));
        let mut far = Far::new(gateway, &users[1]);
        users[0].events(gateway);
        far.sound(gateway, 127, 30);
        far.sound(gateway, 20, 20);
        let event = |what: &str, average: f64| {
            json!({
                "videoroom": what, "room": 5, "id": 77, "mindex": 0, "mid": "0",
                "audio-level-dBov-avg": average,
            })
        };
        assert_eq!(users[0].events(gateway), [event("talking", 20.0)]);
        let list = json!({"request": "listparticipants", "room": 5});
        let people = users[2].ask(gateway, &list)["participants"].clone();
        assert_eq!(people[1]["talking"], true);
        let joined = users[2].tell(gateway, &join(3));
        assert_eq!(joined["publishers"][0]["talking"], true);
        assert_eq!(joined["publishers"][0]["streams"][0]["talking"], true);

        // What a moderator mutes is not listened to.
        let moderate = |mute: bool| json!({"request": "moderate", "room": 5, "id": 77, "mid": "0", "mute": mute});
        users[2].ask(gateway, &moderate(true));
        far.sound(gateway, 127, 20);
        users[2].ask(gateway, &moderate(false));
        assert_eq!(
            users[2].events(gateway).len(),
            2,
            "only the two of the moderator"
        );
        far.sound(gateway, 100, 5);
        far.sound(gateway, 101, 5);
        assert_eq!(users[2].events(gateway), [event("stopped-talking", 100.5)]);
        let people = users[2].ask(gateway, &list)["participants"].clone();
        assert_eq!(people[2]["talking"], false);
    });
}

#[test]
fn a_room_that_does_not_want_events_has_none() {
    everywhere(|gateway, users| {
        users[0].ask(gateway, &json!({"request": "create", "room": 5}));
        users[0].tell(gateway, &join(1));
        let mut far = Far::new(gateway, &users[1]);
        users[0].events(gateway);
        far.sound(gateway, 1, 300);
        assert_eq!(users[0].events(gateway), [] as [Value; 0]);
    });
}

/// Key frames that were asked for within a time.
fn asked(gateway: &mut Lockstep, to: SocketAddr, seconds: u64) -> usize {
    gateway.sent();
    gateway.advance(Duration::from_secs(seconds));
    let sent = gateway.sent();
    let sent = sent.iter().filter(|(address, _)| *address == to);
    let mut count = 0;
    for (_, bytes) in sent {
        keyframe_requests(bytes, |_| count += 1);
    }
    count
}

#[test]
fn rooms_may_want_key_frames_every_so_often_and_change_their_mind() {
    everywhere(|gateway, users| {
        users[0].ask(
            gateway,
            &json!({"request": "create", "room": 5, "fir_freq": 60}),
        );
        let mut far = Far::new(gateway, &users[1]);
        let from: SocketAddr = ([192, 0, 2, 1], 7_001).into();
        gateway.datagram(far.rtcp, from, &empty_report(1));
        // Where feedback goes is known since, so it is asked at once, and until a key frame comes.
        assert!(asked(gateway, from, 15) > 20);
        far.picture(gateway);
        assert_eq!(asked(gateway, from, 40), 0);
        assert!(asked(gateway, from, 25) > 0, "a minute has passed");
        let edit = json!({"request": "edit", "room": 5, "new_fir_freq": 0});
        // The others' sessions are over by now.
        User::new(gateway, 0).ask(gateway, &edit);
        assert!(asked(gateway, from, 11) > 0, "until it comes");
        far.picture(gateway);
        assert_eq!(asked(gateway, from, 200), 0);
    });
}

#[test]
fn messages_are_published_beside_media() {
    everywhere(|gateway, users| {
        users[0].ask(gateway, &json!({"request": "create", "room": 5}));
        let (data, answer) = publish(gateway, &users[0], &json!({}), offer(DATA));
        let streams = data["streams"].as_array().expect("an array");
        let stream = streams.iter().find(|stream| stream["type"] == "data");
        assert!(stream.is_some(), "{data}");
        assert_eq!(lines(&answer, "a=sctp-port:"), ["a=sctp-port:5000"]);
    });
}
