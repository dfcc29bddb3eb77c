//! Long polls, in lockstep and virtual time.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Kernel, Lockstep, Mesh, get, post};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_poll_is_held_until_there_is_an_event() {
    let mut gateway = Lockstep::new(1);
    let (client, poller) = (gateway.connect(0), gateway.connect(0));
    let echo = gateway.echo(client);

    gateway.poll(poller, echo.0, "");
    assert!(
        gateway.clients[&poller].received.is_empty(),
        "nothing is written before"
    );
    gateway.make_event(client, echo, "one");

    assert_eq!(gateway.polled(poller).unwrap(), ["one"]);
}

#[test]
fn a_silent_poll_ends_with_a_keepalive_after_thirty_seconds_whatever_the_wall_clock_does() {
    for step in [0, 86_400_000_000, -86_400_000_000] {
        let mut gateway = Lockstep::new(1);
        let client = gateway.connect(0);
        let (session, _) = gateway.echo(client);
        gateway.poll(client, session, "?maxev=5");
        gateway.advance(11 * SECOND);
        gateway.step_wall_clock(step);
        gateway.advance(18 * SECOND);
        assert_eq!(gateway.polled(client), None, "it is not due yet");
        gateway.advance(SECOND);
        assert_eq!(gateway.polled(client).unwrap(), ["keepalive"]);
    }
}

#[test]
fn maxev_decides_on_form_and_count() {
    let mut gateway = Lockstep::new(1);
    let client = gateway.connect(0);
    let echo = gateway.echo(client);
    for name in ["a", "b", "c", "d"] {
        gateway.make_event(client, echo, name);
    }
    gateway.poll(client, echo.0, "?maxev=2");
    assert_eq!(gateway.polled(client).unwrap(), ["a", "b"]);
    gateway.poll(client, echo.0, "?maxev=x");
    let (_, body) = gateway.response(client).unwrap();
    assert!(body.starts_with("{\"janus\":\"event\""), "{body}");
    gateway.poll(client, echo.0, "?maxev=10&rid=7");
    let (_, body) = gateway.response(client).unwrap();
    assert!(body.starts_with("[{\"janus\":\"event\""), "{body}");
}

#[test]
fn an_event_goes_to_the_oldest_poll_and_the_others_are_let_go() {
    let mut gateway = Lockstep::new(1);
    let client = gateway.connect(0);
    let echo = gateway.echo(client);
    let polls = [(); 3].map(|()| gateway.connect(0));
    for (poll, query) in polls.into_iter().zip(["?maxev=10", "", "?maxev=10"]) {
        gateway.poll(poll, echo.0, query);
    }
    gateway.make_event(client, echo, "one");
    assert_eq!(gateway.polled(polls[0]).unwrap(), ["one"]);
    assert_eq!(
        gateway.response(polls[1]).unwrap().1,
        "{\"janus\":\"keepalive\"}"
    );
    assert_eq!(
        gateway.response(polls[2]).unwrap().1,
        "[{\"janus\":\"keepalive\"}]"
    );
}

#[test]
fn a_fifth_poll_ends_the_oldest() {
    let mut gateway = Lockstep::new(1);
    let client = gateway.connect(0);
    let echo = gateway.echo(client);
    let polls = [(); 5].map(|()| gateway.connect(0));
    for poll in polls {
        gateway.poll(poll, echo.0, "");
    }
    assert_eq!(gateway.polled(polls[0]).unwrap(), ["keepalive"]);
    assert_eq!(gateway.polled(polls[1]), None);
}

#[test]
fn a_poll_ends_at_once_when_its_session_is_destroyed_or_claimed() {
    for (verb, after) in [("destroy", 404), ("claim", 0)] {
        let mut gateway = Lockstep::new(1);
        let (client, poller) = (gateway.connect(0), gateway.connect(0));
        let (session, _) = gateway.echo(client);
        gateway.poll(poller, session, "?maxev=3");
        let request = json!({"janus": verb, "transaction": "x"});
        gateway.post(client, &format!("/janus/{session}"), &request);
        assert_eq!(
            gateway.response(poller).unwrap().1,
            "[{\"janus\":\"keepalive\"}]"
        );
        gateway.poll(poller, session, "");
        assert_eq!(
            gateway.response(poller).map_or(0, |answer| answer.0),
            after,
            "{verb}"
        );
    }
}

#[test]
fn a_session_that_is_silent_times_out_and_tells_its_poll() {
    let mut gateway = Lockstep::new(1);
    let client = gateway.connect(0);
    let (session, _) = gateway.echo(client);
    gateway.advance(31 * SECOND);
    gateway.poll(client, session, "");
    gateway.advance(30 * SECOND);
    assert_eq!(gateway.polled(client).unwrap(), ["keepalive"]);
    gateway.advance(29 * SECOND);
    let keepalive = json!({"janus": "keepalive", "transaction": "k"});
    let path = format!("/janus/{session}");
    let client = gateway.connect(0);
    assert_eq!(gateway.post(client, &path, &keepalive)["janus"], "ack");
    gateway.advance(59 * SECOND);
    gateway.poll(client, session, "");
    gateway.advance(30 * SECOND);
    assert_eq!(gateway.polled(client).unwrap(), ["keepalive"]);
    gateway.advance(31 * SECOND);
    let client = gateway.connect(0);
    assert_eq!(
        gateway.post(client, &path, &keepalive)["error"]["code"],
        458
    );
    gateway.poll(client, session, "");
    assert_eq!(gateway.response(client).unwrap(), (404, String::new()));
}

#[test]
fn a_client_that_goes_away_while_it_is_told_loses_no_event() {
    for shards in [1, 2, 3] {
        let mut gateway = Lockstep::new(shards);
        let client = gateway.connect(0);
        let echo = gateway.echo(client);
        for shard in 0..usize::from(shards) {
            let poller = gateway.connect(shard);
            gateway.clients.get_mut(&poller).unwrap().kernel = Kernel::Stalls;
            gateway.poll(poller, echo.0, "?maxev=10");
            if shard == 0 {
                gateway.make_event(client, echo, "one");
                gateway.make_event(client, echo, "two");
            }
            gateway.take(poller, 100);
            gateway.reset(poller);
        }
        gateway.poll(client, echo.0, "?maxev=10");
        assert_eq!(gateway.polled(client).unwrap(), ["one", "two"]);
        let metrics = gateway.metrics();
        assert_eq!(metrics.gateway_events_delivered, 2);
        assert!(metrics.gateway_events_requeued >= 1);
        assert_eq!(metrics.http_polls_parked, 0);
    }
}

#[test]
fn a_client_that_goes_away_while_it_waits_takes_nothing_with_it() {
    let mut gateway = Lockstep::new(2);
    let client = gateway.connect(0);
    let echo = gateway.echo(client);
    for shard in [0, 1] {
        let poller = gateway.connect(shard);
        gateway.poll(poller, echo.0, "");
        gateway.reset(poller);
        let poller = gateway.connect(shard);
        gateway.poll(poller, echo.0, "");
        gateway.finish(poller);
    }
    gateway.make_event(client, echo, "one");
    gateway.poll(client, echo.0, "");
    assert_eq!(gateway.polled(client).unwrap(), ["one"]);
}

#[test]
fn polls_on_the_wrong_shard_lose_duplicate_and_reorder_nothing() {
    let mut gateway = Lockstep::new(2);
    let home = gateway.connect(0);
    let sessions: Vec<_> = (0..50).map(|_| gateway.echo(home)).collect();
    let mut told: Vec<Vec<String>> = vec![Vec::new(); sessions.len()];
    for round in 0..20 {
        for (index, &echo) in sessions.iter().enumerate() {
            // The session was made on shard 0, so shard 0 owns it: these are all strangers.
            let stranger = gateway.connect(1);
            if round % 3 == 0 {
                gateway.poll(stranger, echo.0, "?maxev=2");
                gateway.make_event(home, echo, &format!("{round}"));
            } else {
                gateway.make_event(stranger, echo, &format!("{round}"));
                gateway.poll(stranger, echo.0, "?maxev=2");
            }
            told[index].extend(gateway.polled(stranger).unwrap());
        }
    }
    let expected: Vec<_> = (0..20).map(|round| round.to_string()).collect();
    assert!(told.iter().all(|told| *told == expected), "{told:?}");
}

#[test]
fn a_session_nobody_polls_is_ended_before_it_eats_the_memory() {
    let mut gateway = Lockstep::new(1);
    let client = gateway.connect(0);
    let echo = gateway.echo(client);
    for _ in 0..1_024 {
        gateway.make_event(client, echo, "x");
    }
    gateway.poll(client, echo.0, "");
    assert!(gateway.polled(client).is_some(), "so many are kept");
    gateway.make_event(client, echo, "x");
    gateway.make_event(client, echo, "x");
    gateway.poll(client, echo.0, "");
    assert_eq!(gateway.response(client).unwrap().0, 404);
    assert_eq!(gateway.metrics().gateway_sessions_destroyed.overflow, 1);
}

#[test]
fn a_drain_answers_polls_whole_and_closes() {
    let mut gateway = Lockstep::new(2);
    let client = gateway.connect(0);
    let (session, _) = gateway.echo(client);
    let pollers = [gateway.connect(0), gateway.connect(1)];
    for poller in pollers {
        gateway.poll(poller, session, "");
    }
    gateway.control(bifrons::shard::Control::Drain);
    for poller in pollers {
        let head = String::from_utf8_lossy(&gateway.clients[&poller].received).into_owned();
        assert!(head.contains("Connection: close\r\n"), "{head}");
        assert_eq!(gateway.polled(poller).unwrap(), ["keepalive"]);
        assert!(gateway.clients[&poller].ended.is_some());
    }
    assert!(!gateway.is_drained(), "the session may still end by itself");
    gateway.advance(35 * SECOND);
    assert!(gateway.is_drained());
}

#[test]
fn a_handle_url_leads_to_its_session() {
    let mut gateway = Lockstep::new(1);
    let client = gateway.connect(0);
    gateway.send(client, get("/janus/7/8"));
    let head = String::from_utf8_lossy(&gateway.clients[&client].received).into_owned();
    assert!(head.starts_with("HTTP/1.1 302 Found\r\n"), "{head}");
    assert!(head.contains("Location: /janus/7\r\n"), "{head}");
}

#[test]
fn a_shard_that_falls_behind_is_refused_at_the_door_and_loses_nothing() {
    let mut config = bifrons::config::Config::default();
    config.limits.mesh_requests_count = 2;
    let mut gateway = Lockstep::with(2, config);
    let home = gateway.connect(0);
    let (session, _) = gateway.echo(home);
    let strangers = [(); 3].map(|()| gateway.connect(1));
    let keepalive = post(
        &format!("/janus/{session}"),
        r#"{"janus":"keepalive","transaction":"k"}"#,
    );
    gateway.mesh = Mesh::Holds;
    for stranger in strangers {
        gateway.send(stranger, &keepalive);
    }
    assert_eq!(gateway.response(strangers[0]), None);
    assert_eq!(gateway.response(strangers[1]), None);
    assert_eq!(gateway.response(strangers[2]).unwrap().0, 503);
    // What needs no other shard is served meanwhile.
    let local = gateway.connect(1);
    gateway.send(local, get("/janus/ping"));
    assert_eq!(gateway.response(local).unwrap().0, 200);
    gateway.release_mesh();
    for stranger in &strangers[..2] {
        assert!(gateway.response(*stranger).unwrap().1.contains("ack"));
    }
    gateway.send(strangers[2], &keepalive);
    assert!(
        gateway.response(strangers[2]).unwrap().1.contains("ack"),
        "the credit came back"
    );
}

#[test]
fn polls_give_their_credit_back_when_they_are_taken_in() {
    let mut config = bifrons::config::Config::default();
    config.limits.mesh_requests_count = 2;
    let mut gateway = Lockstep::with(2, config);
    let home = gateway.connect(0);
    let sessions = [(); 5].map(|()| gateway.echo(home).0);
    let pollers = sessions.map(|session| {
        let poller = gateway.connect(1);
        gateway.poll(poller, session, "");
        poller
    });
    gateway.advance(30 * SECOND);
    for poller in pollers {
        assert_eq!(gateway.polled(poller).unwrap(), ["keepalive"]);
    }
}
