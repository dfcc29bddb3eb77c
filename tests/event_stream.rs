//! Event streams: server-sent events on the session URL, in lockstep and virtual time.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Conn, Kernel, Lockstep};

fn listen(gateway: &mut Lockstep, conn: Conn, session: u64, last_seen: &str) {
    gateway.send(
        conn,
        format!(
            "GET /janus/{session} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\
             {last_seen}\r\n"
        ),
    );
}

/// The numbers and transactions of the events that a stream has brought so far.
fn events(gateway: &Lockstep, conn: Conn) -> Vec<String> {
    let received = &gateway.clients[&conn].received;
    let text = String::from_utf8_lossy(received).into_owned();
    text.lines()
        .filter_map(|line| {
            line.strip_prefix("id: ")
                .or_else(|| line.strip_prefix("data: "))
        })
        .map(
            |line| match serde_json::from_str::<serde_json::Value>(line) {
                Ok(value) if value.is_object() => {
                    value["transaction"].as_str().unwrap_or_default().to_owned()
                }
                _ => line.to_owned(),
            },
        )
        .collect()
}

#[test]
fn events_come_as_they_happen_with_numbers() {
    for shard in [0, 1] {
        let mut gateway = Lockstep::new(2);
        let (client, stream) = (gateway.connect(0), gateway.connect(shard));
        let echo = gateway.echo(client);
        gateway.make_event(client, echo, "before");
        listen(&mut gateway, stream, echo.0, "");
        gateway.make_event(client, echo, "after");
        assert_eq!(events(&gateway, stream), ["1", "before", "2", "after"]);
        let head = String::from_utf8_lossy(&gateway.clients[&stream].received).into_owned();
        assert!(
            head.contains("Content-Type: text/event-stream\r\n"),
            "{head}"
        );
        assert!(gateway.response(stream).is_none(), "the body goes on");
    }
}

#[test]
fn a_stream_that_broke_is_resumed_after_the_last_event_seen() {
    let mut gateway = Lockstep::new(2);
    let (client, stream) = (gateway.connect(0), gateway.connect(1));
    let echo = gateway.echo(client);
    listen(&mut gateway, stream, echo.0, "");
    for name in ["a", "b", "c"] {
        gateway.make_event(client, echo, name);
    }
    gateway.reset(stream);
    gateway.make_event(client, echo, "d");
    let again = gateway.connect(0);
    listen(&mut gateway, again, echo.0, "Last-Event-ID: 1\r\n");
    assert_eq!(events(&gateway, again), ["2", "b", "3", "c", "4", "d"]);
}

#[test]
fn what_the_kernel_did_not_take_is_sent_again() {
    let mut gateway = Lockstep::new(2);
    let (client, stream) = (gateway.connect(0), gateway.connect(1));
    let echo = gateway.echo(client);
    listen(&mut gateway, stream, echo.0, "");
    gateway.clients.get_mut(&stream).unwrap().kernel = Kernel::Stalls;
    gateway.make_event(client, echo, "a");
    gateway.reset(stream);
    gateway.poll(client, echo.0, "");
    assert_eq!(gateway.polled(client).unwrap(), ["a"]);
}

#[test]
fn a_stream_ends_whole_on_destroy_on_drain_and_of_age() {
    for how in ["destroy", "drain", "age"] {
        let mut gateway = Lockstep::new(2);
        let (client, stream) = (gateway.connect(0), gateway.connect(1));
        let (session, _) = gateway.echo(client);
        listen(&mut gateway, stream, session, "");
        match how {
            "destroy" => {
                let request = json!({"janus": "destroy", "transaction": "x"});
                gateway.post(client, &format!("/janus/{session}"), &request);
            }
            "drain" => gateway.control(bifrons::shard::Control::Drain),
            _ => gateway.advance(Duration::from_secs(3600)),
        }
        let (status, body) = gateway.response(stream).expect("the zero chunk is there");
        assert_eq!(status, 200);
        assert_eq!(
            body.matches(":\n\n").count(),
            if how == "age" { 240 } else { 1 },
            "{how}"
        );
        let metrics = gateway.metrics();
        assert_eq!(metrics.http_streams_open, 0);
        assert_eq!(metrics.http_chunked_begun, metrics.http_chunked_finished);
    }
}

#[test]
fn an_open_stream_keeps_its_session_alive() {
    let mut gateway = Lockstep::new(1);
    let (client, stream) = (gateway.connect(0), gateway.connect(0));
    let echo = gateway.echo(client);
    listen(&mut gateway, stream, echo.0, "");
    gateway.advance(Duration::from_secs(600));
    let client = gateway.connect(0);
    gateway.make_event(client, echo, "late");
    assert_eq!(events(&gateway, stream), ["1", "late"]);
}

#[test]
fn a_poll_takes_the_place_of_a_stream_and_the_other_way_round() {
    let mut gateway = Lockstep::new(1);
    let (client, stream, poller) = (gateway.connect(0), gateway.connect(0), gateway.connect(0));
    let echo = gateway.echo(client);
    listen(&mut gateway, stream, echo.0, "");
    gateway.poll(poller, echo.0, "");
    assert!(gateway.response(stream).is_some());
    listen(&mut gateway, stream, echo.0, "");
    assert_eq!(gateway.polled(poller).unwrap(), ["keepalive"]);
    gateway.make_event(client, echo, "one");
    assert_eq!(events(&gateway, stream), ["1", "one"]);
}

#[test]
fn there_is_no_stream_of_an_unknown_session_nor_over_http_1_0() {
    let mut gateway = Lockstep::new(2);
    for shard in [0, 1] {
        let client = gateway.connect(shard);
        listen(&mut gateway, client, 17, "");
        assert_eq!(gateway.response(client).unwrap(), (404, String::new()));
    }
    let client = gateway.connect(0);
    let (session, _) = gateway.echo(client);
    let old = gateway.connect(0);
    gateway.send(
        old,
        format!("GET /janus/{session} HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n"),
    );
    assert_eq!(gateway.response(old).unwrap().0, 406);
    assert_eq!(gateway.metrics().http_streams_open, 0);
}
