//! What subscribers ask for and are offered, with publishers of another gateway and dummies.

mod support;

use bifrons::config::Config;
use serde_json::{Value, json};
use support::Lockstep;
use support::room::{User, answer, check_fault, everywhere, everywhere_with, lines};

/// A room with three publishers of other gateways: 1 and 2 have sound and pictures, 3 messages too.
fn room(gateway: &mut Lockstep, user: &User, more: &Value) {
    let mut create = json!({"request": "create", "room": 5, "videocodec": "vp8,vp9"});
    create
        .as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    user.ask(gateway, &create);
    let audio = json!({
        "type": "audio", "mindex": 0, "mid": "0", "codec": "opus", "audiolevel_ext_id": 3,
    });
    let video = |codec: &str, more: &str| {
        json!({
            "type": "video", "mindex": 1, "mid": "1", "codec": codec, "videoorient_ext_id": 4,
            "playoutdelay_ext_id": 5, "simulcast": more == "simulcast", "svc": more == "svc",
        })
    };
    let data = json!({"type": "data", "mindex": 2, "mid": "2"});
    for (id, streams) in [
        (1, json!([audio, video("vp8", "simulcast")])),
        (2, json!([audio, video("vp8", "")])),
        (3, json!([audio, video("vp9", "svc"), data])),
    ] {
        let add = json!({
            "request": "add_remote_publisher", "room": 5, "id": id, "display": format!("user {id}"),
            "streams": streams,
        });
        assert_eq!(user.ask(gateway, &add)["videoroom"], "success");
    }
}

fn watch(streams: Value) -> Value {
    json!({"request": "join", "room": 5, "ptype": "subscriber", "streams": streams})
}

/// Answers an offer; returns all events that come then.
fn start(gateway: &mut Lockstep, user: &User, offer: &Value) -> Vec<Value> {
    user.send(gateway, &json!({"request": "start"}), Some(answer(offer)));
    user.events(gateway)
}

fn shown(data: &Value, names: &[&str]) -> Vec<Value> {
    let streams = data["streams"]
        .as_array()
        .unwrap_or_else(|| panic!("no streams: {data}"));
    let pick = |stream: &Value| names.iter().map(|name| stream[*name].clone()).collect();
    streams.iter().map(pick).collect()
}

#[test]
fn lines_come_in_the_order_in_which_they_are_asked_for() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({}));
        let wish = watch(json!([
            {"feed": 2, "mid": "1", "crossrefid": "camera"}, {"feed": 3}, {"feed": 1, "mid": "0"},
        ]));
        let (data, offer) = users[1].negotiate(gateway, &wish, None);
        assert_eq!(data["videoroom"], "attached");
        let expected = [
            json!(["0", "video", 2, "1", "vp8", "camera"]),
            json!(["1", "audio", 3, "0", "opus", null]),
            json!(["2", "video", 3, "1", "vp9", null]),
            json!(["3", "data", null, null, null, null]),
            json!(["4", "audio", 1, "0", "opus", null]),
        ];
        let names = ["mid", "type", "feed_id", "feed_mid", "codec", "crossrefid"];
        assert_eq!(shown(&data, &names), expected);
        assert_eq!(data["streams"][3]["source_ids"], json!([3]));
        assert_eq!(lines(&offer, "m=").len(), 5);
        assert_eq!(lines(&offer, "a=msid:")[0], "a=msid:janus janus0");
        let started = start(gateway, &users[1], &offer);
        let expected = json!({"videoroom": "event", "room": 5, "started": "ok"});
        assert_eq!(started, [expected]);
    });
}

#[test]
fn payload_types_and_extensions_are_ours_whatever_the_publisher_has() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({}));
        let (_, offer) = users[1].negotiate(gateway, &watch(json!([{"feed": 3}])), None);
        let rtpmap = lines(&offer, "a=rtpmap:");
        let expected = [
            "a=rtpmap:111 opus/48000/2",
            "a=rtpmap:101 VP9/90000",
            "a=rtpmap:102 rtx/90000",
        ];
        assert_eq!(rtpmap, expected);
        let mut ids: Vec<&str> = lines(&offer, "a=extmap:")
            .iter()
            .map(|line| line.split([':', ' ']).nth(1).expect("a number"))
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, ["1", "12", "13", "2", "3", "3", "4", "4"]);
    });
}

#[test]
fn layers_are_shown_as_they_are_asked_for() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({}));
        let wish = watch(json!([
            {"feed": 1, "mid": "1", "substream": 1, "temporal": 0, "fallback": 5_000},
            {"feed": 3, "mid": "1", "spatial_layer": 0, "temporal_layer": 1},
            {"feed": 2, "mid": "1", "min_delay": 5, "max_delay": 9},
        ]));
        let (data, _) = users[1].negotiate(gateway, &wish, None);
        let simulcast = json!({
            "substream": -1, "substream-target": 1, "temporal-layer": -1,
            "temporal-layer-target": 0, "fallback": 5_000,
        });
        let svc = json!({
            "spatial-layer": -1, "target-spatial-layer": 0, "temporal-layer": -1,
            "target-temporal-layer": 1,
        });
        let delay = json!({"min-delay": 5, "max-delay": 9});
        let expected = [
            json!([simulcast, null, null]),
            json!([null, svc, null]),
            json!([null, null, delay]),
        ];
        assert_eq!(
            shown(&data, &["simulcast", "svc", "playout-delay"]),
            expected
        );
        let text = "Invalid value (substream/spatial_layer should be 0, 1 or 2)";
        let wish = watch(json!([{"feed": 1, "mid": "1", "substream": 3}]));
        check_fault(&users[2].tell(gateway, &wish), 430, text);
    });
}

#[test]
fn who_cannot_subscribe_is_told_why() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({}));
        for (streams, code, text) in [
            (json!([{"feed": 9}]), 428, "No such feed (9)"),
            (
                json!([{"feed": 1, "mid": "7"}]),
                428,
                "No such mid '7' in feed (1)",
            ),
            // Whether there are such layers is looked at last.
            (
                json!([{"feed": 9, "substream": 3}]),
                428,
                "No such feed (9)",
            ),
            (
                json!([{"feed": 1, "mid": "7", "temporal": 3}]),
                428,
                "No such mid '7' in feed (1)",
            ),
            (
                json!([{"feed": 1, "temporal_layer": 300}]),
                430,
                "Invalid value (temporal/temporal_layer should be 0, 1 or 2)",
            ),
            (
                json!([{"feed": 1, "substream": 0, "spatial_layer": "x"}]),
                430,
                "Invalid element type (spatial_layer should be a positive integer)",
            ),
            (
                json!([{"mid": "7"}]),
                429,
                "Missing mandatory element (feed)",
            ),
            (json!([]), 429, "Missing mandatory element (feed)"),
            (
                json!([{"feed": 1, "min_delay": "x"}]),
                430,
                "Invalid element type (min_delay should be an integer)",
            ),
        ] {
            check_fault(&users[1].tell(gateway, &watch(streams)), code, text);
        }
        // The room is looked for first, and its PIN counts before what else is wrong.
        let mut odd = watch(json!([{"feed": "x"}]));
        odd["room"] = 6.into();
        check_fault(&users[1].tell(gateway, &odd), 426, "No such room (6)");
        users[0].ask(
            gateway,
            &json!({"request": "create", "room": 6, "pin": "p"}),
        );
        let text = "Missing mandatory element (pin)";
        check_fault(&users[1].tell(gateway, &odd), 429, text);
        odd["pin"] = "p".into();
        let text = "Invalid element type (feed should be a positive integer)";
        check_fault(&users[1].tell(gateway, &odd), 430, text);

        let text = "Can't send an offer to create subscribers";
        let sdp = include_str!("fixtures/sdp/offers/chrome.sdp");
        let jsep = json!({"type": "offer", "sdp": sdp});
        let (fault, _) = users[1].negotiate(gateway, &watch(json!([{"feed": 1}])), Some(jsep));
        check_fault(&fault, 423, text);
        // After all of that, it works.
        let (data, offer) = users[1].negotiate(gateway, &watch(json!([{"feed": 1}])), None);
        assert_eq!(data["videoroom"], "attached");
        start(gateway, &users[1], &offer);
        for (body, code, text) in [
            (
                json!({"request": "subscribe"}),
                429,
                "Missing mandatory element (streams)",
            ),
            (
                json!({"request": "subscribe", "streams": []}),
                430,
                "Empty subscription list",
            ),
            (
                json!({"request": "unsubscribe", "streams": []}),
                430,
                "Empty unsubscription list",
            ),
            (
                json!({"request": "update"}),
                429,
                "At least one of either 'subscribe' or 'unsubscribe' must be present",
            ),
            (
                json!({"request": "switch"}),
                429,
                "At least one between 'streams' and 'feed' must be specified",
            ),
            (
                json!({"request": "switch", "feed": 2}),
                430,
                "Empty switch list",
            ),
            (
                json!({"request": "switch", "streams": []}),
                430,
                "Empty switch list",
            ),
            (
                json!({"request": "switch", "feed": "x"}),
                430,
                "Invalid element type (feed should be a positive integer)",
            ),
            (
                json!({"request": "update", "subscribe": []}),
                430,
                "Empty subscription list",
            ),
            (
                json!({"request": "update", "unsubscribe": []}),
                430,
                "Empty unsubscription list",
            ),
            (
                json!({"request": "subscribe", "streams": [5]}),
                429,
                "Missing mandatory element (feed)",
            ),
            (
                json!({"request": "subscribe", "streams": [{"mid": 5}]}),
                430,
                "Invalid element type (mid should be a string)",
            ),
            (
                json!({"request": "switch", "streams": [{"mid": "0"}]}),
                429,
                "Missing mandatory element (sub_mid)",
            ),
            (
                json!({"request": "configure", "streams": [{"mid": "9", "send": false}]}),
                428,
                "No such mid '9' in subscription",
            ),
            (
                json!({"request": "joinandconfigure"}),
                423,
                "Unknown request 'joinandconfigure'",
            ),
            (
                json!({"request": "publish"}),
                423,
                "Unknown request 'publish'",
            ),
            (
                json!({"request": "join", "room": 5, "ptype": "publisher"}),
                425,
                "Already in as a subscriber on this handle",
            ),
        ] {
            check_fault(&users[1].tell(gateway, &body), code, text);
        }
    });
}

#[test]
fn changes_wait_for_an_answer_and_come_in_one_offer() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({}));
        let (_, offer) = users[1].negotiate(gateway, &watch(json!([{"feed": 1}])), None);
        let subscribe = |feed: u64| json!({"request": "subscribe", "streams": [{"feed": feed}]});
        for feed in [2, 3] {
            let updating = json!({"videoroom": "updating", "room": 5});
            assert_eq!(users[1].tell(gateway, &subscribe(feed)), updating);
        }
        users[1].send(gateway, &json!({"request": "start"}), Some(answer(&offer)));
        let events = users[1].all_events(gateway);
        assert_eq!(events[0]["plugindata"]["data"]["started"], "ok");
        let update = &events[1];
        assert_eq!(update.get("transaction"), None);
        assert_eq!(update["plugindata"]["data"]["videoroom"], "updated");
        let expected = [1, 1, 2, 2, 3, 3].map(|id| json!([id]));
        let names = ["feed_id"];
        assert_eq!(shown(&update["plugindata"]["data"], &names)[..6], expected);
        start(gateway, &users[1], &update["jsep"]);

        // Nothing new: no offer.
        let same = users[1].negotiate(gateway, &subscribe(2), None);
        assert_eq!(
            same,
            (json!({"videoroom": "updated", "room": 5}), Value::Null)
        );
    });
}

#[test]
fn lines_without_a_source_are_taken_over_by_their_like() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({}));
        let (_, offer) = users[1].negotiate(gateway, &watch(json!([{"feed": 1}])), None);
        start(gateway, &users[1], &offer);
        let unsubscribe = json!({"request": "unsubscribe", "streams": [{"feed": 1}]});
        let (data, offer) = users[1].negotiate(gateway, &unsubscribe, None);
        let names = ["mid", "active", "ready", "feed_id"];
        let expected = [
            json!(["0", false, false, null]),
            json!(["1", false, false, null]),
        ];
        assert_eq!(shown(&data, &names), expected);
        assert_eq!(lines(&offer, "a=inactive").len(), 2);
        start(gateway, &users[1], &offer);

        // Sound finds its line; pictures in another codec need one of their own.
        let subscribe = json!({
            "request": "update", "subscribe": [{"feed": 3, "mid": "0"}, {"feed": 3, "mid": "1"}],
            "unsubscribe": [{"sub_mid": "9"}, {"feed": 2}],
        });
        let (data, offer) = users[1].negotiate(gateway, &subscribe, None);
        let expected = [
            json!(["0", true, false, 3]),
            json!(["1", false, false, null]),
            json!(["2", true, false, 3]),
        ];
        assert_eq!(shown(&data, &names), expected);
        start(gateway, &users[1], &offer);

        users[1].send(gateway, &json!({"request": "leave"}), None);
        let left = json!({"videoroom": "event", "room": 5, "left": "ok"});
        assert_eq!(users[1].events(gateway)[0], left);
    });
}

#[test]
fn what_is_taken_out_is_offered_although_what_is_to_come_is_not_there() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({}));
        let (_, offer) = users[1].negotiate(gateway, &watch(json!([{"feed": 1}])), None);
        start(gateway, &users[1], &offer);
        for (sub_mid, wish, text) in [
            (
                "0",
                json!({"feed": 2, "mid": "9"}),
                "No such mid '9' in feed (2)",
            ),
            ("1", json!({"feed": 9}), "No such feed (9)"),
        ] {
            let update = json!({
                "request": "update", "subscribe": [wish], "unsubscribe": [{"sub_mid": sub_mid}],
            });
            users[1].send(gateway, &update, None);
            let events = users[1].all_events(gateway);
            assert_eq!(events.len(), 2, "{events:?}");
            assert_eq!(events[0]["plugindata"]["data"]["videoroom"], "updated");
            check_fault(&events[1]["plugindata"]["data"], 428, text);
            assert_eq!(events[1]["transaction"], "t");
            start(gateway, &users[1], &events[0]["jsep"]);
        }
    });
}

#[test]
fn lines_are_bounded_and_nothing_is_half_done() {
    let mut config = Config::default();
    config.limits.sdp_media_count = 3;
    everywhere_with(&config, |gateway, users| {
        room(gateway, &users[0], &json!({}));
        let (_, offer) = users[1].negotiate(gateway, &watch(json!([{"feed": 1}])), None);
        start(gateway, &users[1], &offer);
        let subscribe = json!({"request": "subscribe", "streams": [{"feed": 2}]});
        check_fault(&users[1].tell(gateway, &subscribe), 499, "Too many streams");
        // A line that is free counts as room, if it is of the kind.
        let update = json!({
            "request": "update", "subscribe": [{"feed": 2}], "unsubscribe": [{"sub_mid": "0"}],
        });
        let (data, _) = users[1].negotiate(gateway, &update, None);
        assert_eq!(data["videoroom"], "updated", "{data}");
        assert_eq!(data["streams"].as_array().map(Vec::len), Some(3));
    });
}

#[test]
fn a_line_is_switched_to_another_feed_without_an_offer() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({"dummy_publisher": true}));
        let people = users[0].ask(gateway, &json!({"request": "listparticipants", "room": 5}));
        let people = people["participants"].as_array().expect("an array");
        let dummy = people.iter().find(|person| person["dummy"] == true);
        let dummy = dummy.expect("there is one")["id"].clone();
        let (data, offer) = users[1].negotiate(gateway, &watch(json!([{"feed": dummy}])), None);
        let codecs: Vec<Value> = shown(&data, &["codec"]);
        assert_eq!(codecs, [json!(["opus"]), json!(["vp8"]), json!(["vp9"])]);
        start(gateway, &users[1], &offer);
        let switch = json!({"request": "switch", "streams": [
            {"feed": 1, "mid": "0", "sub_mid": "0"},
            {"feed": 1, "mid": "1", "sub_mid": "1", "substream": 0},
            // Another codec, another kind, a line that is not there.
            {"feed": 3, "mid": "1", "sub_mid": "1"},
            {"feed": 3, "mid": "1", "sub_mid": "0"},
            {"feed": 3, "mid": "1", "sub_mid": "7"},
        ]});
        let (data, jsep) = users[1].negotiate(gateway, &switch, None);
        assert_eq!(
            (&data["switched"], &data["changes"]),
            (&"ok".into(), &2.into())
        );
        assert_eq!(jsep, Value::Null);
        let expected = [json!([1]), json!([1]), json!([dummy])];
        assert_eq!(shown(&data, &["feed_id"]), expected);
        assert_eq!(data["streams"][1]["simulcast"]["substream-target"], 0);
    });
}

#[test]
fn the_end_of_a_feed_is_offered_at_once_or_when_asked() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({}));
        let mut patient = watch(json!([{"feed": 1}]));
        patient["autoupdate"] = false.into();
        for (user, wish) in [
            (&users[1], watch(json!([{"feed": 1}]))),
            (&users[2], patient),
        ] {
            let (_, offer) = user.negotiate(gateway, &wish, None);
            start(gateway, user, &offer);
        }
        users[0].ask(gateway, &json!({"request": "kick", "room": 5, "id": 1}));
        let events = users[1].all_events(gateway);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["plugindata"]["data"]["videoroom"], "updated");
        assert_eq!(lines(&events[0]["jsep"], "a=inactive").len(), 2);
        assert_eq!(users[2].events(gateway), [] as [Value; 0]);
        let update = json!({"request": "update", "unsubscribe": [{"feed": 9}]});
        let (data, offer) = users[2].negotiate(gateway, &update, None);
        assert_eq!(data["videoroom"], "updated");
        assert_eq!(lines(&offer, "a=inactive").len(), 2);
    });
}

#[test]
fn a_stream_that_is_back_is_offered_where_it_was_offered_as_inactive() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({}));
        let turn = |gateway: &mut Lockstep, is_off: bool| {
            let streams = json!([{
                "type": "video", "mindex": 1, "mid": "1", "codec": "vp8", "disabled": is_off,
            }]);
            let update = json!({
                "request": "update_remote_publisher", "room": 5, "id": 2, "streams": streams,
            });
            assert_eq!(users[0].ask(gateway, &update)["videoroom"], "success");
        };
        // One has an offer with the stream and needs no other; two have one without it.
        let (_, offer) = users[0].negotiate(gateway, &watch(json!([{"feed": 2}])), None);
        start(gateway, &users[0], &offer);
        turn(gateway, true);
        let mut patient = watch(json!([{"feed": 2}]));
        patient["autoupdate"] = false.into();
        for (user, wish) in [
            (&users[1], watch(json!([{"feed": 2}]))),
            (&users[2], patient),
        ] {
            let (data, offer) = user.negotiate(gateway, &wish, None);
            assert_eq!(shown(&data, &["active"]), [json!([true]), json!([false])]);
            start(gateway, user, &offer);
        }
        turn(gateway, false);
        assert_eq!(users[0].events(gateway), [] as [Value; 0]);
        let events = users[1].all_events(gateway);
        assert_eq!(events.len(), 1);
        let data = &events[0]["plugindata"]["data"];
        assert_eq!(data["videoroom"], "updated");
        assert_eq!(shown(data, &["active"]), [json!([true]), json!([true])]);
        assert_eq!(lines(&events[0]["jsep"], "a=sendonly").len(), 2);
        assert_eq!(users[2].events(gateway), [] as [Value; 0]);
        let update = json!({"request": "update", "unsubscribe": [{"feed": 9}]});
        let (data, _) = users[2].negotiate(gateway, &update, None);
        assert_eq!(shown(&data, &["active"]), [json!([true]), json!([true])]);
    });
}

#[test]
fn who_is_kicked_loses_the_subscriptions_made_with_its_private_id() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({"require_pvtid": true}));
        let join = json!({"request": "join", "room": 5, "ptype": "publisher", "id": 7});
        let private_id = users[0].tell(gateway, &join)["private_id"].clone();
        let mut wish = watch(json!([{"feed": 1}]));
        let text = "Unauthorized (this room requires a valid private_id)";
        check_fault(&users[1].tell(gateway, &wish), 433, text);
        wish["private_id"] = private_id;
        let (_, offer) = users[1].negotiate(gateway, &wish, None);
        start(gateway, &users[1], &offer);
        let configure = json!({"request": "configure", "send": true});
        assert_eq!(users[1].tell(gateway, &configure)["configured"], "ok");
        users[2].ask(gateway, &json!({"request": "kick", "room": 5, "id": 7}));
        let text = "Unauthorized, you have been kicked";
        check_fault(&users[1].tell(gateway, &configure), 433, text);
        users[1].send(gateway, &json!({"request": "leave"}), None);
        assert_eq!(users[1].events(gateway)[0]["left"], "ok");
    });
}

#[test]
fn a_private_id_counts_after_the_streams_that_are_asked_for() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({"require_pvtid": true}));
        for (stream, code, text) in [
            (json!({"feed": 9}), 428, "No such feed (9)"),
            (
                json!({"feed": 1, "mid": "7"}),
                428,
                "No such mid '7' in feed (1)",
            ),
            (
                json!({"feed": 1, "substream": 3}),
                430,
                "Invalid value (substream/spatial_layer should be 0, 1 or 2)",
            ),
            (
                json!({"feed": 1}),
                433,
                "Unauthorized (this room requires a valid private_id)",
            ),
        ] {
            check_fault(&users[1].tell(gateway, &watch(json!([stream]))), code, text);
        }
    });
}

#[test]
fn who_left_can_subscribe_anew() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({}));
        let (_, offer) = users[1].negotiate(gateway, &watch(json!([{"feed": 3}])), None);
        start(gateway, &users[1], &offer);
        // One change is owed when it leaves, and none is later.
        let subscribe = json!({"request": "subscribe", "streams": [{"feed": 1}]});
        users[1].negotiate(gateway, &subscribe, None);
        let more = json!({"request": "subscribe", "streams": [{"feed": 2}]});
        assert_eq!(users[1].tell(gateway, &more)["videoroom"], "updating");
        users[1].send(gateway, &json!({"request": "leave"}), None);
        assert_eq!(users[1].events(gateway)[0]["left"], "ok");
        let nothing = json!({"request": "unsubscribe", "streams": [{"feed": 1}]});
        let data = users[1].tell(gateway, &nothing);
        assert_eq!(data, json!({"videoroom": "updated", "room": 5}));

        let again = json!({"request": "subscribe", "streams": [{"feed": 2, "mid": "1"}]});
        let (data, offer) = users[1].negotiate(gateway, &again, None);
        assert_eq!(
            shown(&data, &["mid", "type", "feed_id"]),
            [json!(["0", "video", 2])]
        );
        assert_eq!(lines(&offer, "m=").len(), 1);
        assert_eq!(start(gateway, &users[1], &offer)[0]["started"], "ok");
    });
}

#[test]
fn encrypted_and_other_feeds_are_not_mixed() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({}));
        // The dummy of another room is not in this one, so a room with an encrypted dummy serves.
        let create = json!({
            "request": "create", "room": 6, "dummy_publisher": true, "dummy_e2ee": true,
        });
        users[0].ask(gateway, &create);
        let add = json!({
            "request": "add_remote_publisher", "room": 6, "id": 1, "streams": [
                {"type": "audio", "mindex": 0, "mid": "0", "codec": "opus"},
            ],
        });
        users[0].ask(gateway, &add);
        let people = users[0].ask(gateway, &json!({"request": "listparticipants", "room": 6}));
        let people = people["participants"].as_array().expect("an array");
        let dummy = people.iter().find(|person| person["dummy"] == true);
        let dummy = dummy.expect("there is one")["id"].clone();
        let watch = |streams: Value| json!({"request": "join", "room": 6, "ptype": "subscriber", "streams": streams});
        let text = "Can't mix normal and end-to-end encrypted subscriptions";
        let both = watch(json!([{"feed": 1}, {"feed": dummy}]));
        check_fault(&users[1].tell(gateway, &both), 438, text);

        let (_, offer) = users[1].negotiate(gateway, &watch(json!([{"feed": dummy}])), None);
        assert_eq!(offer["e2ee"], true);
        start(gateway, &users[1], &offer);
        let subscribe = |feed: &Value| json!({"request": "subscribe", "streams": [{"feed": feed}]});
        let text = "Can't have not end-to-end encrypted feed in this subscription (1)";
        check_fault(&users[1].tell(gateway, &subscribe(&json!(1))), 438, text);

        let (_, offer) = users[2].negotiate(gateway, &watch(json!([{"feed": 1}])), None);
        assert_eq!(offer.get("e2ee"), None);
        start(gateway, &users[2], &offer);
        let text = format!("Can't have end-to-end encrypted feed in this subscription ({dummy})");
        check_fault(&users[2].tell(gateway, &subscribe(&dummy)), 438, &text);
    });
}

#[test]
fn the_ways_of_janus_0_are_still_known() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({}));
        let join = json!({
            "request": "join", "room": 5, "ptype": "subscriber", "feed": 2, "offer_video": false,
        });
        let (data, offer) = users[1].negotiate(gateway, &join, None);
        assert_eq!(
            (&data["id"], &data["display"]),
            (&2.into(), &"user 2".into())
        );
        assert_eq!(data["warning"], "deprecated_api");
        assert_eq!(shown(&data, &["type"]), [json!(["audio"])]);
        start(gateway, &users[1], &offer);
        let configure = json!({"request": "configure", "audio": false, "restart": true});
        let (data, offer) = users[1].negotiate(gateway, &configure, None);
        assert_eq!(data["configured"], "ok");
        assert_eq!(lines(&offer, "m=").len(), 1);
        start(gateway, &users[1], &offer);
        let unsubscribe = json!({"request": "unsubscribe", "streams": [{"sub_mid": "9"}]});
        assert_eq!(users[1].tell(gateway, &unsubscribe)["videoroom"], "updated");
        let subscribe = json!({
            "request": "subscribe", "streams": [{"feed": 2, "mid": "1", "send": false}],
        });
        let (data, _) = users[1].negotiate(gateway, &subscribe, None);
        assert_eq!(shown(&data, &["send"]), [json!([false]), json!([false])]);
    });
}

#[test]
fn streams_are_named_after_their_publishers_on_demand() {
    everywhere(|gateway, users| {
        room(gateway, &users[0], &json!({}));
        let mut wish = watch(json!([{"feed": 2}]));
        wish["use_msid"] = true.into();
        let (_, offer) = users[1].negotiate(gateway, &wish, None);
        assert_eq!(lines(&offer, "a=msid:"), ["a=msid:2 0", "a=msid:2 1"]);
    });
}

#[test]
fn a_publisher_with_much_to_say_can_be_subscribed_to() {
    everywhere(|gateway, users| {
        users[0].ask(gateway, &json!({"request": "create", "room": 5}));
        let stream =
            |n: usize| json!({"type": "audio", "mindex": n, "mid": n.to_string(), "codec": "opus"});
        for (id, count, is_named) in [(1, 100, false), (2, 10, true)] {
            let add = json!({
                "request": "add_remote_publisher", "room": 5, "id": id,
                "display": "x".repeat(16_000), "streams": (0..count).map(stream).collect::<Vec<_>>(),
            });
            assert_eq!(users[0].ask(gateway, &add)["videoroom"], "success");
            let wish = watch(json!([{"feed": id}]));
            let (data, _) = users[id].negotiate(gateway, &wish, None);
            assert_eq!(data["streams"].as_array().map(Vec::len), Some(count));
            assert_eq!(data["streams"][0].get("feed_display").is_some(), is_named);
        }
    });
}
