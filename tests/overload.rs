//! More connections than there may be, in lockstep and virtual time.

mod support;

use std::time::Duration;

use bifrons::base::id::ShardId;
use bifrons::config::Config;
use bifrons::shard::{Control, Listener, TURNED_AWAY_MAX, TcpAction};
use support::{Conn, Kernel, Lockstep, get};

fn limited(set: impl FnOnce(&mut Config)) -> Lockstep {
    let mut config = Config::default();
    set(&mut config);
    Lockstep::with(1, config)
}

/// Tells how a connection was turned away, and lets its client go.
fn turned_away(gateway: &mut Lockstep, conn: Conn) -> u16 {
    let text = String::from_utf8_lossy(&gateway.clients[&conn].received).into_owned();
    assert!(text.contains("\r\nRetry-After: 1\r\n"), "{text}");
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    let (status, _) = gateway.response(conn).expect("a complete answer");
    assert_eq!(gateway.clients[&conn].ended, Some(TcpAction::ShutdownWrite));
    gateway.finish(conn);
    assert_eq!(gateway.clients[&conn].ended, Some(TcpAction::Close));
    status
}

#[test]
fn a_full_shard_says_so_and_serves_those_that_are_there() {
    let mut gateway = limited(|config| config.limits.connections_count = 2);
    let clients = [(); 2].map(|()| gateway.connect(0));
    for _ in 0..100 {
        let late = gateway.connect(0);
        assert_eq!(turned_away(&mut gateway, late), 503);
    }
    gateway.send(clients[1], get("/janus/ping"));
    assert_eq!(gateway.response(clients[1]).expect("a pong").0, 200);

    gateway.finish(clients[0]);
    let next = gateway.connect(0);
    gateway.send(next, get("/janus/ping"));
    assert_eq!(gateway.response(next).expect("there is room again").0, 200);
    let metrics = gateway.metrics();
    assert_eq!(metrics.http_connections_refused.connections, 100);
    assert_eq!(
        (
            metrics.http_connections_opened,
            metrics.http_connections_open
        ),
        (3, 2)
    );
}

#[test]
fn one_source_gets_no_more_than_its_share_and_others_get_theirs() {
    let mut gateway = limited(|config| config.limits.connections_source_count = 1);
    for (address, wanted) in [
        ("192.0.2.1", None),
        ("192.0.2.1", Some(429)),
        ("::ffff:192.0.2.1", Some(429)),
        ("192.0.2.2", None),
        ("2001:db8:0:1::1", None),
        ("2001:db8:0:1:ffff::2", Some(429)),
        ("2001:db8:0:2::1", None),
    ] {
        let address = address.parse().expect("an address");
        let conn = gateway.connect_from(address, 0, Listener::Rest);
        match wanted {
            Some(status) => assert_eq!(turned_away(&mut gateway, conn), status, "{address}"),
            None => assert_eq!(gateway.clients[&conn].ended, None, "{address}"),
        }
    }
    assert_eq!(gateway.metrics().http_connections_refused.source_quota, 3);
}

#[test]
fn who_does_not_listen_to_the_refusal_is_reset_and_soon_forgotten() {
    let mut gateway = limited(|config| config.limits.connections_count = 1);
    let client = gateway.connect(0);
    let deaf: Vec<Conn> = (0..TURNED_AWAY_MAX).map(|_| gateway.connect(0)).collect();
    let one_more = gateway.connect(0);
    assert_eq!(gateway.clients[&one_more].ended, Some(TcpAction::Abort));

    gateway.advance(Duration::from_secs(3));
    assert!(
        deaf.iter()
            .all(|conn| gateway.clients[conn].ended == Some(TcpAction::Close))
    );
    assert_eq!(gateway.clients[&client].ended, None);
    let late = gateway.connect(0);
    assert_eq!(turned_away(&mut gateway, late), 503);
}

#[test]
fn the_admin_listener_has_a_quota_of_its_own() {
    let mut gateway = limited(|config| {
        config.limits.admin_connections_count = 1;
        config.limits.connections_count = 1;
    });
    let client = gateway.connect(0);
    let admin = gateway.connect_to(0, Listener::Admin);
    let second = gateway.connect_to(0, Listener::Admin);
    assert_eq!(turned_away(&mut gateway, second), 503);
    gateway.send(client, get("/janus/ping"));
    assert_eq!(gateway.response(client).expect("a pong").0, 200);
    gateway.send(admin, get("/healthz"));
    assert_eq!(gateway.response(admin).expect("an answer").0, 200);
}

#[test]
fn a_shard_that_is_silent_makes_the_process_unhealthy() {
    let mut gateway = Lockstep::new(2);
    let admin = gateway.connect_to(0, Listener::Admin);
    for (silent, wanted) in [(vec![ShardId(1)], 503), (vec![], 200)] {
        gateway.control(Control::Silent(silent));
        gateway.send(admin, get("/healthz"));
        assert_eq!(gateway.response(admin).expect("an answer").0, wanted);
    }
}

#[test]
fn a_shard_that_stops_turns_away_without_being_held_up() {
    let mut gateway = Lockstep::new(1);
    let client = gateway.connect(0);
    gateway.echo(client);
    gateway.control(Control::Drain);
    let late = gateway.connect(0);
    gateway.clients.get_mut(&late).expect("open").kernel = Kernel::Stalls;
    assert_eq!(gateway.metrics().http_connections_refused.draining, 1);
    gateway.advance(Duration::from_secs(33));
    assert!(gateway.is_drained());
}
