//! What is counted, scraped as an operator would, in lockstep and virtual time.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use bifrons::shard::{Control, Listener};
use serde_json::json;
use support::{Kernel, Lockstep, get, post};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_was_opened_and_is_not_closed_is_there() {
    let mut gateway = Lockstep::new(2);
    let admin = gateway.connect_to(0, Listener::Admin);
    let (client, other) = (gateway.connect(0), gateway.connect(1));
    assert_balanced(&scrape(&mut gateway, admin));

    // Sessions on both shards, with handles and peers; one ends by its client, one by silence.
    let echoes: Vec<_> = (0..4).map(|_| gateway.echo(client)).collect();
    let offer = fs::read_to_string("tests/fixtures/sdp/offers/chrome-data.sdp").expect("a fixture");
    for &(session, handle) in &echoes[..3] {
        let message = json!({
            "janus": "message", "transaction": "o", "body": {"audio": true, "video": true},
            "jsep": {"type": "offer", "sdp": offer},
        });
        let reply = gateway.post(other, &format!("/janus/{session}/{handle}"), &message);
        assert_eq!(reply["janus"], "ack", "{reply}");
    }
    let seen = scrape(&mut gateway, admin);
    assert_balanced(&seen);
    assert_eq!(seen.get("media_peers"), Some(&3));
    let (session, handle) = echoes[0];
    let hangup = json!({"janus": "hangup", "transaction": "h"});
    gateway.post(client, &format!("/janus/{session}/{handle}"), &hangup);
    let detach = json!({"janus": "detach", "transaction": "d"});
    gateway.post(client, &format!("/janus/{session}/{handle}"), &detach);
    let destroy = json!({"janus": "destroy", "transaction": "x"});
    gateway.post(other, &format!("/janus/{}", echoes[1].0), &destroy);

    // Polls on the wrong shard: answered, silent, lost by reset and by the end of the input.
    let polls = [(); 4].map(|()| gateway.connect(1));
    for poll in polls {
        gateway.poll(poll, echoes[2].0, "?maxev=1");
    }
    gateway.reset(polls[3]);
    gateway.finish(polls[2]);
    assert_balanced(&scrape(&mut gateway, admin));
    gateway.make_event(client, echoes[2], "one");
    gateway.poll(polls[0], echoes[0].0, "");
    gateway.poll(polls[1], 4_711, "");

    // Streams: one that its client leaves, one that a poll takes the place of.
    let streams = [(); 2].map(|()| gateway.connect(0));
    for stream in streams {
        gateway.send(
            stream,
            format!(
                "GET /janus/{} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
                echoes[3].0
            ),
        );
    }
    let seen = scrape(&mut gateway, admin);
    assert_balanced(&seen);
    assert_eq!(seen.get("http_streams_open"), Some(&1));
    gateway.reset(streams[1]);
    assert_balanced(&scrape(&mut gateway, admin));

    // Silence ends connections, polls, peers and sessions.
    let stalled = gateway.connect(0);
    gateway.clients.get_mut(&stalled).expect("open").kernel = Kernel::Stalls;
    gateway.send(stalled, get("/janus/info"));
    let slow = gateway.connect(1);
    gateway.send(slow, post("/janus", "{}").split_at(30).0);
    let _silent = gateway.connect(1);
    for _ in 0..20 {
        gateway.advance(4 * SECOND);
        assert_balanced(&scrape(&mut gateway, admin));
    }
    let seen = scrape(&mut gateway, admin);
    assert_eq!(seen.get("media_peers"), Some(&0));
    assert_eq!(seen.get("gateway_sessions"), Some(&0));
    assert_eq!(
        seen.get("gateway_sessions_destroyed_total{reason=\"timeout\"}"),
        Some(&3)
    );
    for kind in ["first_byte", "head", "idle", "write"] {
        let name = format!("http_timeouts_total{{kind=\"{kind}\"}}");
        assert!(seen.get(&name).is_some_and(|count| *count > 0), "{name}");
    }

    // The end of everything.
    let client = gateway.connect(0);
    let (session, _) = gateway.echo(client);
    gateway.poll(client, session, "");
    gateway.control(Control::Stop);
    gateway.advance(5 * SECOND);
    assert!(gateway.is_drained());
    let metrics = gateway.metrics();
    assert_eq!(metrics.http_connections_open, 0);
    assert_eq!(metrics.http_polls_parked, 0);
    let mut text = String::new();
    bifrons::metrics::expose(&metrics, &mut text);
    assert_balanced(&numbers(&text));
}

#[test]
fn everything_in_the_table_is_counted_somewhere() {
    let mut source = String::new();
    read_all(Path::new("src"), &mut source);
    let counted: BTreeSet<&str> = source
        .split('.')
        .filter_map(|after| after.split(|c: char| !is_name(c)).next())
        .collect();
    let table = fs::read_to_string("src/metrics/names.rs").expect("the table is there");
    let table = table
        .split("\nimpl ")
        .next()
        .expect("the table comes first");
    let mut missing = Vec::new();
    let mut family = "";
    for line in table.lines().map(str::trim) {
        if let Some(named) = line.strip_prefix("family!(") {
            family = named.split([' ', '{']).nth(1).unwrap_or_default();
        }
        let words: Vec<_> = line.split([' ', ':', ',']).collect();
        let name = match words[..] {
            ["counter" | "gauge", name, ..] => name,
            // These are counted by the number of a status or of an error.
            [_, "=", ..] if BY_NUMBER.contains(&family) => continue,
            [name, "=", ..] => name,
            _ => continue,
        };
        if !counted.contains(name) {
            missing.push(name);
        }
    }
    assert_eq!(missing, Vec::<&str>::new(), "nobody counts these");
}

const BY_NUMBER: [&str; 3] = ["ApiErrors", "HttpFaults", "HttpStatuses"];

/// What lives, what was begun, and what ended. All reasons of an end count.
const LIVES: [(&str, &str, &str); 6] = [
    (
        "http_connections_open",
        "http_connections_opened",
        "http_connections_closed",
    ),
    ("http_polls_parked", "http_polls_opened", "http_polls"),
    (
        "http_streams_open",
        "http_streams_opened",
        "http_streams_closed",
    ),
    (
        "gateway_sessions",
        "gateway_sessions_created",
        "gateway_sessions_destroyed",
    ),
    (
        "gateway_handles",
        "gateway_handles_attached",
        "gateway_handles_detached",
    ),
    ("media_peers", "media_peers_created", "media_peers_closed"),
];

fn assert_balanced(numbers: &BTreeMap<String, u64>) {
    let sum = |name: &str| -> u64 {
        let mine = |key: &str| {
            let key = key.split('{').next().unwrap_or(key);
            key == name || key.strip_suffix("_total") == Some(name)
        };
        let named = numbers
            .iter()
            .filter(|(key, _)| key.as_str() == name || mine(key));
        named.map(|(_, count)| count).sum()
    };
    for (live, opened, closed) in LIVES {
        let (live_count, opened, closed) = (sum(live), sum(opened), sum(closed));
        assert_eq!(opened - closed, live_count, "{live}: {opened} - {closed}");
    }
}

fn scrape(gateway: &mut Lockstep, admin: support::Conn) -> BTreeMap<String, u64> {
    gateway.send(admin, get("/metrics"));
    let (status, text) = gateway.response(admin).expect("both shards answer at once");
    assert_eq!(status, 200);
    numbers(&text)
}

fn numbers(text: &str) -> BTreeMap<String, u64> {
    let samples = text
        .lines()
        .filter_map(|line| line.strip_prefix("bifrons_"));
    let pairs = samples.filter_map(|line| line.rsplit_once(' '));
    pairs
        .map(|(name, count)| (name.to_owned(), count.parse().expect("a number")))
        .collect()
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("metrics") {
            read_all(&path, into);
        } else if path.is_file() {
            into.push_str(&fs::read_to_string(&path).expect("source is text"));
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
