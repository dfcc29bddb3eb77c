//! What clients may pipeline, in lockstep and virtual time.

mod support;

use std::time::Duration;

use bifrons::config::Config;
use bifrons::shard::TcpAction;
use serde_json::json;
use support::{Kernel, Lockstep, get, post};

/// As many polls as fit into what is read at once.
const POLLS_COUNT: usize = 1_500;

#[test]
fn polls_that_end_at_once_take_no_more_stack_for_being_many() {
    let mut gateway = Lockstep::new(1);
    let client = gateway.connect(0);
    gateway.send(client, get("/janus/1").repeat(POLLS_COUNT));
    let mut count = 0;
    while let Some((status, _)) = gateway.response(client) {
        assert_eq!(status, 404);
        count += 1;
    }
    assert_eq!(count, POLLS_COUNT);
}

#[test]
fn requests_beyond_those_of_a_turn_follow_when_the_kernel_took_the_answers() {
    let mut gateway = Lockstep::new(1);
    let client = gateway.connect(0);
    gateway.send(client, get("/janus/ping").repeat(200));
    let answers = std::iter::from_fn(|| gateway.response(client));
    assert_eq!(answers.filter(|(status, _)| *status == 200).count(), 200);
}

#[test]
fn a_poll_that_was_never_begun_costs_no_credit() {
    let mut config = Config::default();
    config.limits.mesh_requests_count = 2;
    let mut gateway = Lockstep::with(2, config);
    let client = gateway.connect(1);
    let (session, _) = gateway.echo(client);

    // A turn's budget of requests leaves the poll in the input, where the client's end finds it.
    for _ in 0..3 {
        let leaver = gateway.connect(0);
        gateway.clients.get_mut(&leaver).expect("open").kernel = Kernel::Stalls;
        let poll = get(&format!("/janus/{session}"));
        gateway.send(leaver, get("/janus/ping").repeat(64) + &poll);
        gateway.finish(leaver);
        gateway.reset(leaver);
    }
    let poller = gateway.connect(0);
    gateway.poll(poller, session, "");
    assert_eq!(gateway.response(poller), None, "it waits");
}

#[test]
fn an_event_made_by_a_request_behind_a_poll_is_told_at_once() {
    let mut gateway = Lockstep::new(1);
    let client = gateway.connect(0);
    let (first, _) = gateway.echo(client);
    let (second, handle) = gateway.echo(client);
    let listener = gateway.connect(0);
    gateway.clients.get_mut(&client).expect("open").kernel = Kernel::Stalls;
    gateway.poll(client, first, "");
    gateway.advance(Duration::from_secs(5));
    gateway.poll(listener, second, "");
    let message = json!({"janus": "message", "transaction": "m", "body": {"audio": true}});
    let path = format!("/janus/{second}/{handle}");
    gateway.send(client, post(&path, &message.to_string()));
    assert_eq!(gateway.polled(listener), None);

    // The first poll ends with time, and the kernel takes nothing of its answer.
    gateway.advance(Duration::from_secs(25));
    assert_eq!(gateway.polled(listener).expect("an event"), ["m"]);
}

#[test]
fn a_client_that_ends_its_output_gets_what_it_asked_for_before() {
    let mut gateway = Lockstep::new(2);
    let client = gateway.connect(0);
    let (session, handle) = gateway.echo(client);
    let message = json!({"janus": "message", "transaction": "m", "body": {"audio": true}});
    let path = format!("/janus/{session}/{handle}");
    let other = gateway.connect(1);
    gateway.clients.get_mut(&other).expect("open").kernel = Kernel::Stalls;
    gateway.send(other, post(&path, &message.to_string()));
    gateway.poll(other, session, "");
    gateway.finish(other);

    // The poll was answered already: the client may read all of it, and then the event is gone.
    gateway.take(other, usize::MAX);
    assert_eq!(gateway.response(other).expect("an ack").0, 200);
    assert_eq!(gateway.polled(other).expect("an event"), ["m"]);
    assert_eq!(gateway.clients[&other].ended, Some(TcpAction::Close));
    let metrics = gateway.metrics();
    assert_eq!(
        (
            metrics.gateway_events_delivered,
            metrics.gateway_events_requeued
        ),
        (1, 0)
    );
}
