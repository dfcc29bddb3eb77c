//! Rooms of the VideoRoom plugin, in lockstep and virtual time, with one shard and with three.

mod support;

use serde_json::{Value, json};
use support::room::{check_fault, everywhere};

#[test]
fn rooms_are_made_found_and_ended_from_any_shard() {
    everywhere(|gateway, users| {
        for room in 1..=12 {
            let maker = &users[room % 3];
            let made = maker.ask(gateway, &json!({"request": "create", "room": room}));
            let expected = json!({"videoroom": "created", "room": room, "permanent": false});
            assert_eq!(made, expected);
            for user in users {
                let found = user.ask(gateway, &json!({"request": "exists", "room": room}));
                assert_eq!(found["exists"], true);
            }
            let again =
                users[(room + 1) % 3].ask(gateway, &json!({"request": "create", "room": room}));
            check_fault(&again, 427, &format!("Room {room} already exists"));
        }
        let list = users[1].ask(gateway, &json!({"request": "LIST"}));
        let mut rooms: Vec<_> = list["list"].as_array().expect("a list").iter().collect();
        rooms.sort_by_key(|room| room["room"].as_u64());
        assert_eq!(rooms.len(), 12);
        assert_eq!(rooms[4]["description"], "Room 5");
        for room in 1..=12 {
            let ended =
                users[(room + 2) % 3].ask(gateway, &json!({"request": "destroy", "room": room}));
            assert_eq!(ended["videoroom"], "destroyed");
        }
        let list = users[2].ask(gateway, &json!({"request": "list"}));
        assert_eq!(list, json!({"videoroom": "success", "list": []}));
    });
}

#[test]
fn a_room_without_a_number_gets_one() {
    everywhere(|gateway, users| {
        let made = users[2].ask(gateway, &json!({"request": "create"}));
        let room = made["room"].as_u64().expect("a number");
        let found = users[0].ask(gateway, &json!({"request": "exists", "room": room}));
        assert_eq!(
            found,
            json!({"videoroom": "success", "room": room, "exists": true})
        );
    });
}

#[test]
fn what_is_wrong_with_a_request_is_named() {
    everywhere(|gateway, users| {
        let user = &users[0];
        user.ask(
            gateway,
            &json!({"request": "create", "room": 5, "secret": "s", "pin": "p"}),
        );
        let cases = [
            (json!({}), 429, "Missing mandatory element (request)"),
            (
                json!({"request": 5}),
                430,
                "Invalid element type (request should be a string)",
            ),
            (json!({"request": "zz"}), 423, "Unknown request 'zz'"),
            (
                json!({"request": "exists"}),
                429,
                "Missing mandatory element (room)",
            ),
            (
                json!({"request": "exists", "room": -3}),
                430,
                "Invalid element type (room should be a positive integer)",
            ),
            (
                json!({"request": "exists", "room": null}),
                430,
                "Invalid element type (room should be a positive integer)",
            ),
            (
                json!({"request": "destroy", "room": 9}),
                426,
                "No such room (9)",
            ),
            (
                json!({"request": "destroy", "room": 5}),
                429,
                "Missing mandatory element (secret)",
            ),
            (
                json!({"request": "destroy", "room": 5, "secret": 5}),
                430,
                "Invalid element type (secret should be a string)",
            ),
            (
                json!({"request": "destroy", "room": 5, "secret": "t"}),
                433,
                "Unauthorized (wrong secret)",
            ),
            (
                json!({"request": "kick", "room": 5, "secret": "s", "id": 7}),
                428,
                "No such user 7 in room 5",
            ),
            (
                json!({"request": "create", "audiocodec": "mp3"}),
                430,
                "Invalid element (audiocodec can only be or contain opus, isac32, isac16, \
                 pcmu, pcma or g722)",
            ),
            (
                json!({"request": "create", "permanent": true}),
                499,
                "No configuration file, can't create permanent room",
            ),
        ];
        for (body, code, text) in cases {
            check_fault(&user.ask(gateway, &body), code, text);
        }
        let cases = [
            (
                json!({"request": "join", "room": 9, "ptype": "publisher"}),
                426,
                "No such room (9)",
            ),
            (
                json!({"request": "join", "room": 5, "ptype": "publisher"}),
                429,
                "Missing mandatory element (pin)",
            ),
            (
                json!({"request": "join", "room": 5, "ptype": "publisher", "pin": "q"}),
                433,
                "Unauthorized (wrong pin)",
            ),
            (
                json!({"request": "configure"}),
                424,
                "Invalid request on unconfigured participant",
            ),
        ];
        for (body, code, text) in cases {
            check_fault(&user.tell(gateway, &body), code, text);
        }
    });
}

#[test]
fn those_in_a_room_hear_of_each_other() {
    everywhere(|gateway, users| {
        let [ada, bob, eve] = users else {
            unreachable!("there are three users");
        };
        let room = json!({"request": "create", "room": 5, "notify_joining": true});
        eve.ask(gateway, &room);
        let join = |id: u64, display: &str| {
            json!({
                "request": "join", "room": 5, "ptype": "publisher", "id": id, "display": display,
            })
        };
        let joined = ada.tell(gateway, &join(1, "Ada"));
        assert_eq!(joined["attendees"], json!([]));
        let joined = bob.tell(gateway, &join(2, "Bob"));
        assert_eq!(joined["videoroom"], "joined");
        assert_eq!(joined["attendees"], json!([{"id": 1, "display": "Ada"}]));
        let joining = json!({"id": 2, "display": "Bob"});
        let expected = json!({"videoroom": "event", "room": 5, "joining": joining});
        assert_eq!(ada.events(gateway), [expected]);
        check_fault(
            &eve.tell(gateway, &join(2, "Eve")),
            436,
            "User ID 2 already exists",
        );

        let configured = bob.tell(gateway, &json!({"request": "configure", "display": "Rob"}));
        assert_eq!(
            configured,
            json!({"videoroom": "event", "room": 5, "configured": "ok"})
        );
        let expected = json!({"videoroom": "event", "id": 2, "display": "Rob"});
        assert_eq!(ada.events(gateway), [expected]);

        let left = bob.tell(gateway, &json!({"request": "leave"}));
        assert_eq!(
            left,
            json!({"videoroom": "event", "room": 5, "leaving": "ok"})
        );
        let leaving = json!({"videoroom": "event", "room": 5, "display": "Rob", "leaving": 2});
        assert_eq!(ada.events(gateway), [leaving]);
        check_fault(
            &bob.tell(gateway, &json!({"request": "leave"})),
            426,
            "No such room",
        );
        let text = "Not in a room (create a new handle)";
        check_fault(&bob.tell(gateway, &join(3, "Bob")), 425, text);
    });
}

#[test]
fn kicks_and_destroyed_rooms_reach_every_shard() {
    everywhere(|gateway, users| {
        users[0].ask(gateway, &json!({"request": "create", "room": 5}));
        for (id, user) in users.iter().enumerate() {
            let join = json!({"request": "join", "room": 5, "ptype": "publisher", "id": id});
            user.tell(gateway, &join);
        }
        let kicked = users[0].ask(gateway, &json!({"request": "kick", "room": 5, "id": 1}));
        assert_eq!(kicked, json!({"videoroom": "success"}));
        let leaving = json!({
            "videoroom": "event", "room": 5, "leaving": "ok", "reason": "kicked",
        });
        assert_eq!(users[1].events(gateway), [leaving]);
        let event = json!({"videoroom": "event", "room": 5, "kicked": 1});
        for user in [&users[2], &users[0]] {
            assert_eq!(user.events(gateway), std::slice::from_ref(&event));
        }

        users[1].ask(gateway, &json!({"request": "destroy", "room": 5}));
        let destroyed = json!({"videoroom": "destroyed", "room": 5});
        assert_eq!(users[1].events(gateway), [] as [Value; 0]);
        for user in [&users[2], &users[0]] {
            assert_eq!(user.events(gateway), std::slice::from_ref(&destroyed));
        }
    });
}

#[test]
fn a_session_that_ends_takes_its_people_out_of_their_rooms() {
    everywhere(|gateway, users| {
        users[0].ask(gateway, &json!({"request": "create", "room": 5}));
        for (id, user) in users.iter().enumerate() {
            let join = json!({"request": "join", "room": 5, "ptype": "publisher", "id": id});
            user.tell(gateway, &join);
        }
        let destroy = json!({"janus": "destroy", "transaction": "d"});
        gateway.post(
            users[1].conn,
            &format!("/janus/{}", users[1].session),
            &destroy,
        );
        let leaving = json!({"videoroom": "event", "room": 5, "leaving": 1});
        assert_eq!(users[2].events(gateway), [leaving]);
        let list = json!({"request": "listparticipants", "room": 5});
        let people = users[2].ask(gateway, &list)["participants"].clone();
        assert_eq!(people.as_array().map(Vec::len), Some(2));
    });
}

#[test]
fn requests_of_a_handle_that_waits_are_served_in_order() {
    everywhere(|gateway, users| {
        users[1].ask(gateway, &json!({"request": "create", "room": 5}));
        let path = format!("/janus/{}/{}", users[0].session, users[0].handle);
        let bodies = [
            json!({"request": "join", "room": 5, "ptype": "publisher"}),
            json!({"request": "configure", "bitrate": 128_000}),
            json!({"request": "leave"}),
            json!({"request": "configure"}),
        ];
        // All in one segment: the later ones come before the room has answered the first.
        let requests: String = bodies
            .iter()
            .map(|body| {
                let message = json!({"janus": "message", "transaction": "t", "body": body});
                support::post(&path, &message.to_string())
            })
            .collect();
        gateway.send(users[0].conn, requests);
        for _ in 0..4 {
            let (_, reply) = gateway.response(users[0].conn).expect("an answer");
            assert!(reply.contains("\"ack\""), "{reply}");
        }
        let events = users[0].events(gateway);
        assert_eq!(events[0]["videoroom"], "joined");
        assert_eq!(events[1]["configured"], "ok");
        assert_eq!(events[2]["leaving"], "ok");
        check_fault(&events[3], 426, "No such room");
    });
}
