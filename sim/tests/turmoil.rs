//! The production driver on turmoil, talked to by hyper and by tokio-tungstenite.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bifrons::driver::Buggify;
use bifrons_sim::faults::scenario::{ClientPlan, Scenario};
use bifrons_sim::journal::{Journal, Memory, Verdict, replay};
use bifrons_sim::kernel::clock::{ClockChange, ClockModel, ClockOrigins};
use bifrons_sim::kernel::key::Key;
use bifrons_sim::kernel::trace::Trace;
use bifrons_sim::turmoil::{Host, SkewedClock, gateway};
use bifrons_sim::world::World;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const PORT: u16 = 8088;
const SOCKET_PORT: u16 = 8188;

type Failure = Box<dyn std::error::Error>;

/// A connection of hyper's to the gateway.
struct Http(SendRequest<Full<Bytes>>);

impl Http {
    async fn connect() -> Result<Self, Failure> {
        let stream = turmoil::net::TcpStream::connect(("gateway", PORT)).await?;
        let (send, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        Ok(Self(send))
    }

    async fn ask(&mut self, method: Method, path: &str, body: String) -> Result<Value, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "gateway")
            .body(Full::new(Bytes::from(body)))?;
        self.0.ready().await?;
        let response = self.0.send_request(request).await?;
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }

    async fn post(&mut self, path: &str, body: Value) -> Result<Value, Failure> {
        self.ask(Method::POST, path, body.to_string()).await
    }
}

fn host(seed: u64, io_max: u64) -> Host {
    let model = ClockModel::new(ClockOrigins::draw(Key::of_seed(seed)));
    Host {
        seed,
        shards: 2,
        clock: SkewedClock::new(model),
        io_max,
        mesh_max: Duration::from_millis(20),
        // Short reads and writes, late flushes and idle wakes beside those of the pipe.
        buggify: Buggify::seeded(seed),
        port: PORT,
        socket_port: SOCKET_PORT,
        journal: Memory::default(),
    }
}

fn simulation(seed: u64) -> turmoil::Sim<'static> {
    turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(5))
        .simulation_duration(Duration::from_secs(200))
        .build()
}

/// Creates a session, sends three messages, and polls until their events are there.
async fn converse(events: Rc<RefCell<Vec<Value>>>) -> Result<(), Failure> {
    let mut control = Http::connect().await?;
    let id = |reply: &Value| reply["data"]["id"].as_u64().expect("it is a success");
    let created = control
        .post("/janus", json!({"janus": "create", "transaction": "a"}))
        .await?;
    let session = id(&created);
    let path = format!("/janus/{session}");
    let attach = json!({"janus": "attach", "plugin": "janus.plugin.echotest", "transaction": "b"});
    let handle = id(&control.post(&path, attach).await?);
    let mut poll = Http::connect().await?;
    for number in 0..3 {
        let message = json!({"janus": "message", "body": {"audio": true}, "transaction": format!("m{number}")});
        let reply = control.post(&format!("{path}/{handle}"), message).await?;
        assert_eq!(reply["janus"], "ack");
    }
    let mut count = 0;
    while count < 3 {
        let answer = poll
            .ask(Method::GET, &format!("{path}?maxev=10"), String::new())
            .await?;
        for event in answer.as_array().expect("it is a list") {
            count += usize::from(event["janus"] == "event");
            events.borrow_mut().push(event.clone());
        }
    }
    Ok(())
}

/// An event without what differs from run to run.
fn plain(event: &Value) -> Value {
    let mut event = event.clone();
    for name in ["session_id", "sender", "transaction"] {
        if event.get(name).is_some() {
            event[name] = json!("…");
        }
    }
    event
}

#[test]
fn hyper_talks_to_the_production_driver_through_short_reads_and_writes() {
    for (seed, io_max) in [(1, 1), (2, 7), (3, 100), (4, 100_000)] {
        let mut sim = simulation(seed);
        let host = host(seed, io_max);
        sim.host("gateway", move || {
            let host = host.clone();
            async move { Ok(gateway(host).await?) }
        });
        let events = Rc::new(RefCell::new(Vec::new()));
        sim.client("hyper", converse(Rc::clone(&events)));
        sim.run().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let order: Vec<_> = events
            .borrow()
            .iter()
            .map(|event| event["transaction"].clone())
            .collect();
        assert_eq!(order, ["m0", "m1", "m2"], "seed {seed}");
    }
}

#[test]
fn a_poll_lasts_thirty_seconds_of_the_hosts_clock_whatever_the_others_do() {
    for (seed, change, least, most) in [
        (
            11,
            ClockChange::WallStep {
                by: 86_400_000_000_000,
            },
            30.0,
            30.3,
        ),
        (
            12,
            ClockChange::WallStep {
                by: -86_400_000_000_000,
            },
            30.0,
            30.3,
        ),
        (13, ClockChange::Drift { ppm: 200_000 }, 25.0, 25.9),
        (14, ClockChange::Drift { ppm: -200_000 }, 36.5, 37.4),
    ] {
        let mut sim = simulation(seed);
        let host = host(seed, 50);
        let clock = host.clock.clone();
        sim.host("gateway", move || {
            let host = host.clone();
            async move { Ok(gateway(host).await?) }
        });
        sim.client("hyper", async move {
            let mut http = Http::connect().await?;
            let create = json!({"janus": "create", "transaction": "a"});
            let created = http.post("/janus", create).await?;
            let session = created["data"]["id"].as_u64().expect("it is a success");
            let began = turmoil::sim_elapsed().unwrap_or_default();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                clock.change(change);
            });
            let path = format!("/janus/{session}");
            let answer = http.ask(Method::GET, &path, String::new()).await?;
            assert_eq!(answer, json!({"janus": "keepalive"}));
            let took = (turmoil::sim_elapsed().unwrap_or_default() - began).as_secs_f64();
            assert!((least..most).contains(&took), "{change:?}: {took} s");
            Ok(())
        });
        sim.run().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// The same conversation gives the same events on the event queue and on turmoil.
#[test]
fn a_scripted_conversation_has_the_same_transcript_on_both_levels() {
    let mut scenario = Scenario::plain();
    scenario.gateway.shards = 2;
    scenario.clients = vec![ClientPlan {
        messages: 3,
        ..ClientPlan::PLAIN
    }];
    let outcome = World::new(&scenario, Trace::keeping()).run();
    assert_eq!(outcome.violation, None);
    let queue: Vec<Value> = outcome
        .trace
        .lines()
        .iter()
        .filter(|line| line.lane == bifrons_sim::kernel::trace::Lane::Client(0))
        .filter_map(|line| line.text.strip_prefix("gets "))
        .map(|text| serde_json::from_str(text).expect("it is JSON"))
        .filter(|event: &Value| event["janus"] == "event")
        .map(|event| plain(&event))
        .collect();

    let mut sim = simulation(21);
    let host = host(21, 100);
    sim.host("gateway", move || {
        let host = host.clone();
        async move { Ok(gateway(host).await?) }
    });
    let events = Rc::new(RefCell::new(Vec::new()));
    sim.client("hyper", converse(Rc::clone(&events)));
    sim.run().unwrap_or_else(|why| panic!("{why}"));
    let turmoil: Vec<Value> = events.borrow().iter().map(plain).collect();
    assert_eq!((queue.len(), &queue), (3, &turmoil));
}

/// A WebSocket of tokio-tungstenite's to the gateway.
struct Wire(WebSocketStream<turmoil::net::TcpStream>);

impl Wire {
    async fn connect() -> Result<Self, Failure> {
        let stream = turmoil::net::TcpStream::connect(("gateway", SOCKET_PORT)).await?;
        let mut request = "ws://gateway/".into_client_request()?;
        let protocol = "janus-protocol".parse()?;
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", protocol);
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self(socket))
    }

    async fn say(&mut self, request: Value) -> Result<(), Failure> {
        self.0.send(Message::text(request.to_string())).await?;
        Ok(())
    }

    async fn next(&mut self) -> Result<Value, Failure> {
        loop {
            match self.0.next().await.ok_or("the socket has ended")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(frame) => return Err(format!("closed: {frame:?}").into()),
                Message::Binary(_) | Message::Frame(_) | Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    }

    async fn ask(&mut self, request: Value) -> Result<Value, Failure> {
        self.say(request).await?;
        self.next().await
    }
}

/// The conversation of [`converse`], over a WebSocket.
async fn converse_on_a_socket(events: Rc<RefCell<Vec<Value>>>) -> Result<(), Failure> {
    let mut wire = Wire::connect().await?;
    let id = |reply: &Value| reply["data"]["id"].as_u64().expect("it is a success");
    let create = json!({"janus": "create", "transaction": "a"});
    let session = id(&wire.ask(create).await?);
    let attach = json!({
        "janus": "attach", "plugin": "janus.plugin.echotest", "transaction": "b",
        "session_id": session,
    });
    let handle = id(&wire.ask(attach).await?);
    for number in 0..3 {
        wire.say(json!({
            "janus": "message", "body": {"audio": true}, "transaction": format!("m{number}"),
            "session_id": session, "handle_id": handle,
        }))
        .await?;
    }
    while events.borrow().len() < 3 {
        let value = wire.next().await?;
        if value["janus"] == "event" {
            events.borrow_mut().push(value);
        }
    }
    wire.0.close(None).await?;
    Ok(())
}

/// And the shards do the same once more when they are told what they were told.
#[test]
fn tungstenite_hears_what_hyper_hears() {
    // The library takes a handshake that comes byte by byte for an attack.
    for (seed, io_max) in [(31, 40), (32, 500), (33, 100_000)] {
        let mut sim = simulation(seed);
        let host = host(seed, io_max);
        let journal = host.journal.clone();
        sim.host("gateway", move || {
            let host = host.clone();
            async move { Ok(gateway(host).await?) }
        });
        let (polled, told) = (Rc::default(), Rc::default());
        sim.client("hyper", converse(Rc::clone(&polled)));
        sim.client("tungstenite", converse_on_a_socket(Rc::clone(&told)));
        sim.run().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let order: Vec<_> = told
            .borrow()
            .iter()
            .map(|it| it["transaction"].clone())
            .collect();
        assert_eq!(order, ["m0", "m1", "m2"], "seed {seed}");
        let plain = |events: &Rc<RefCell<Vec<Value>>>| -> Vec<Value> {
            events.borrow().iter().map(plain).collect()
        };
        assert_eq!(plain(&polled), plain(&told), "seed {seed}");
        drop(sim);
        let journal = Journal::read(&journal.bytes()).expect("it is whole");
        let outcome = replay(&journal, |_, _, _| {}).expect("it can be replayed");
        assert_eq!(
            outcome.verdicts,
            [const { Verdict::Same }; 2],
            "seed {seed}"
        );
        // Each request and answer is one at least; the smaller the portions, the more there are.
        assert!(outcome.inputs > 20, "{outcome:?}");
    }
}

/// What a client sends while it is cut off, or held up, arrives when the network is whole again.
#[test]
fn held_messages_arrive_after_the_release() {
    let mut sim = simulation(41);
    let host = host(41, 50);
    sim.host("gateway", move || {
        let host = host.clone();
        async move { Ok(gateway(host).await?) }
    });
    sim.client("tungstenite", async move {
        let mut wire = Wire::connect().await?;
        let ping = |name: &str| json!({"janus": "ping", "transaction": name});
        assert_eq!(wire.ask(ping("before")).await?["transaction"], "before");
        turmoil::hold("tungstenite", "gateway");
        tokio::task::spawn_local(async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            turmoil::release("tungstenite", "gateway");
        });
        let began = turmoil::sim_elapsed().unwrap_or_default();
        assert_eq!(wire.ask(ping("held")).await?["transaction"], "held");
        let took = turmoil::sim_elapsed().unwrap_or_default() - began;
        assert!(took >= Duration::from_secs(5), "{took:?}");
        Ok(())
    });
    sim.run().unwrap_or_else(|why| panic!("{why}"));
}

/// A gateway that crashes and comes back serves as a fresh one: it knows no session of before.
#[test]
fn a_gateway_that_crashed_starts_afresh() {
    let mut sim = simulation(51);
    let host = host(51, 50);
    sim.host("gateway", move || {
        let host = host.clone();
        async move { Ok(gateway(host).await?) }
    });
    let stage = Rc::new(RefCell::new("before"));
    let seen = Rc::clone(&stage);
    sim.client("hyper", async move {
        let create = json!({"janus": "create", "transaction": "a"});
        let created = Http::connect()
            .await?
            .post("/janus", create.clone())
            .await?;
        let session = created["data"]["id"].as_u64().expect("it is a success");
        *seen.borrow_mut() = "created";
        while *seen.borrow() != "back" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let keepalive = json!({"janus": "keepalive", "transaction": "k"});
        let mut http = Http::connect().await?;
        let reply = http.post(&format!("/janus/{session}"), keepalive).await?;
        assert_eq!(reply["error"]["code"], 458);
        assert_eq!(http.post("/janus", create).await?["janus"], "success");
        Ok(())
    });
    let mut is_over = false;
    while !is_over {
        is_over = sim.step().unwrap_or_else(|why| panic!("{why}"));
        if *stage.borrow() == "created" {
            sim.crash("gateway");
            sim.bounce("gateway");
            *stage.borrow_mut() = "back";
        }
    }
}
