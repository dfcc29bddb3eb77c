//! Hosts that are held up, cut off from each other, crash and come back, on turmoil, with the
//! production driver: a chunked answer is complete, or its client can tell that it is not.
//!
//! The client here is no library: it decodes strictly, and sees where an answer ends.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bifrons::driver::Buggify;
use bifrons_sim::journal::Memory;
use bifrons_sim::kernel::clock::{ClockModel, ClockOrigins};
use bifrons_sim::kernel::key::Key;
use bifrons_sim::models::decode::{Asked, Decoder, FramingError, Piece};
use bifrons_sim::models::request::Request;
use bifrons_sim::models::sse::{StreamItem, StreamReader};
use bifrons_sim::turmoil::{Host, SkewedClock, gateway};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turmoil::net::TcpStream;

const PORT: u16 = 8088;
type Failure = Box<dyn std::error::Error>;

/// A client's end of one connection.
struct Peer {
    stream: TcpStream,
    decoder: Decoder,
    is_asking: bool,
    /// Of the answer that is being read.
    status: u16,
    body: Vec<u8>,
}

/// What a client gets to see.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// A complete answer.
    Answer(u16, Vec<u8>),
    /// The end of the connection, and what that says about the answer.
    Broken(FramingError),
    /// The end of the connection, with no answer due.
    Ended,
    /// A reset.
    Reset,
    /// Nothing, for as long as it waited.
    Silence,
}

impl Peer {
    async fn connect() -> Result<Self, Failure> {
        Ok(Self {
            stream: TcpStream::connect(("gateway", PORT)).await?,
            decoder: Decoder::default(),
            is_asking: false,
            status: 0,
            body: Vec::new(),
        })
    }

    async fn ask(&mut self, request: Request) -> Result<(), Failure> {
        self.is_asking = true;
        Ok(self.stream.write_all(&request.encode()).await?)
    }

    /// Reads on until the answer is there, something breaks, or the time is over.
    async fn see(&mut self, within: Duration) -> Seen {
        let seen = tokio::time::timeout(within, self.read()).await;
        seen.unwrap_or(Seen::Silence)
    }

    async fn read(&mut self) -> Seen {
        loop {
            match self.decoder.piece(Asked::Other) {
                Ok(Some(Piece::Head(head))) => self.status = head.status,
                Ok(Some(Piece::Body(bytes))) => self.body.extend(bytes),
                Ok(Some(Piece::End)) => {
                    self.is_asking = false;
                    return Seen::Answer(self.status, std::mem::take(&mut self.body));
                }
                Ok(None) => {
                    let mut bytes = [0; 4096];
                    match self.stream.read(&mut bytes).await {
                        Ok(0) => {
                            return match self.decoder.end(self.is_asking) {
                                Ok(_) => Seen::Ended,
                                Err(error) => Seen::Broken(error),
                            };
                        }
                        Ok(count) => self.decoder.push(&bytes[..count]),
                        Err(_) => return Seen::Reset,
                    }
                }
                Err(error) => return Seen::Broken(error),
            }
        }
    }

    /// What has come of the events of an answer that goes on.
    fn events(&mut self, reader: &mut StreamReader) -> Vec<(String, Value)> {
        reader.push(&std::mem::take(&mut self.body));
        let mut events = Vec::new();
        while let Some(item) = reader.item().expect("it is a strict event stream") {
            if let StreamItem::Event { id, data, .. } = item {
                let data = serde_json::from_str(&data).expect("it is JSON");
                events.push((id.unwrap_or_default(), data));
            }
        }
        events
    }

    /// Asks for something that is answered at once.
    async fn post(&mut self, path: &str, body: Value) -> Result<Value, Failure> {
        self.ask(Request::post(path, body.to_string())).await?;
        let seen = self.see(SHORT).await;
        if let Seen::Answer(200, body) = &seen {
            return Ok(serde_json::from_slice(body)?);
        }
        Err(format!("{seen:?}").into())
    }
}

/// A session with a handle.
#[derive(Clone, Debug)]
struct Session {
    path: String,
    handle: String,
}

impl Session {
    async fn create(control: &mut Peer) -> Result<Self, Failure> {
        let id = |reply: &Value| reply["data"]["id"].as_u64().ok_or("no success");
        let create = json!({"janus": "create", "transaction": "create"});
        let path = format!("/janus/{}", id(&control.post("/janus", create).await?)?);
        let attach =
            json!({"janus": "attach", "plugin": "janus.plugin.echotest", "transaction": "attach"});
        let handle = format!("{path}/{}", id(&control.post(&path, attach).await?)?);
        Ok(Self { path, handle })
    }

    /// Lets an event happen.
    async fn message(&self, control: &mut Peer, transaction: &str) -> Result<(), Failure> {
        let message =
            json!({"janus": "message", "body": {"audio": true}, "transaction": transaction});
        let reply = control.post(&self.handle, message).await?;
        assert_eq!(reply["janus"], "ack");
        Ok(())
    }

    fn poll(&self) -> Request {
        Request::new("GET", format!("{}?maxev=10", self.path))
    }

    fn stream(&self, last: Option<&str>) -> Request {
        let request = Request::new("GET", self.path.clone()).with("accept", "text/event-stream");
        match last {
            Some(last) => request.with("last-event-id", last),
            None => request,
        }
    }
}

/// The transactions of the events in the answer to a poll.
fn transactions(seen: &Seen) -> Vec<String> {
    let Seen::Answer(200, body) = seen else {
        panic!("no answer: {seen:?}");
    };
    let events: Vec<Value> = serde_json::from_slice(body).expect("it is a list");
    let of_plugins = events.iter().filter(|event| event["janus"] == "event");
    of_plugins.map(transaction).collect()
}

fn transaction(event: &Value) -> String {
    event["transaction"].as_str().unwrap_or_default().to_owned()
}

fn simulation(seed: u64, io_max: u64) -> turmoil::Sim<'static> {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(5))
        .simulation_duration(Duration::from_secs(300))
        // An answer leaves in many portions, and must not fill what the kernel holds.
        .tcp_capacity(4_096)
        .build();
    let host = Host {
        seed,
        shards: 2,
        clock: SkewedClock::new(ClockModel::new(ClockOrigins::draw(Key::of_seed(seed)))),
        io_max,
        mesh_max: Duration::from_millis(20),
        buggify: Buggify::seeded(seed),
        port: PORT,
        journal: Memory::default(),
        socket_port: 8188,
    };
    sim.host("gateway", move || {
        let host = host.clone();
        async move { Ok(gateway(host).await?) }
    });
    sim
}

const SHORT: Duration = Duration::from_secs(5);

/// Chunked answers that are held up, a whole one and one in the middle, come whole in the end.
#[test]
fn answers_that_were_held_up_complete_and_are_delivered_once() {
    for (seed, io_max) in [(61, 3), (62, 50), (63, 100_000)] {
        let mut sim = simulation(seed, io_max);
        let sessions = Rc::new(RefCell::new(None));
        let told = Rc::clone(&sessions);
        sim.client("listener", async move {
            let mut control = Peer::connect().await?;
            let polled = Session::create(&mut control).await?;
            let streamed = Session::create(&mut control).await?;
            let (mut poll, mut stream) = (Peer::connect().await?, Peer::connect().await?);
            poll.ask(polled.poll()).await?;
            stream.ask(streamed.stream(None)).await?;
            while stream.status == 0 {
                assert_eq!(stream.see(Duration::from_millis(50)).await, Seen::Silence);
            }
            turmoil::hold("gateway", "listener");
            *told.borrow_mut() = Some((polled.clone(), streamed));
            assert_eq!(poll.see(SHORT).await, Seen::Silence);
            assert_eq!(stream.see(SHORT).await, Seen::Silence);
            turmoil::release("gateway", "listener");
            assert_eq!(transactions(&poll.see(SHORT).await), ["p0"]);
            // Its session was destroyed meanwhile: it ends, and says so.
            let Seen::Answer(200, body) = stream.see(SHORT).await else {
                panic!("seed {seed}: the stream has no end");
            };
            stream.body = body;
            let events = stream.events(&mut StreamReader::default());
            let of_plugins = events.iter().filter(|(_, event)| event["janus"] == "event");
            let order: Vec<_> = of_plugins.map(|(_, event)| transaction(event)).collect();
            assert_eq!(order, ["s0", "s1", "s2"], "seed {seed}");
            polled.message(&mut control, "p1").await?;
            poll.ask(polled.poll()).await?;
            assert_eq!(transactions(&poll.see(SHORT).await), ["p1"], "seed {seed}");
            Ok(())
        });
        sim.client("speaker", async move {
            let mut control = Peer::connect().await?;
            let (polled, streamed) = loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if let Some(sessions) = sessions.borrow().clone() {
                    break sessions;
                }
            };
            polled.message(&mut control, "p0").await?;
            for transaction in ["s0", "s1", "s2"] {
                streamed.message(&mut control, transaction).await?;
            }
            let destroy = json!({"janus": "destroy", "transaction": "destroy"});
            control.post(&streamed.path, destroy).await?;
            Ok(())
        });
        sim.run().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// An event stream whose client is cut off is resumed on another connection, without a gap and
/// without anything twice; on the old one nothing looks like an end.
#[test]
fn a_stream_that_was_cut_off_is_resumed_without_gap_or_repetition() {
    for (seed, io_max) in [(71, 7), (72, 100), (73, 100_000)] {
        let mut sim = simulation(seed, io_max);
        let session = Rc::new(RefCell::new(None));
        let told = Rc::clone(&session);
        sim.client("listener", async move {
            let session = Session::create(&mut Peer::connect().await?).await?;
            let mut old = Peer::connect().await?;
            old.ask(session.stream(None)).await?;
            *told.borrow_mut() = Some(session.clone());
            let (mut reader, mut got) = (StreamReader::default(), Vec::new());
            while got.len() < 3 {
                assert_eq!(old.see(Duration::from_millis(50)).await, Seen::Silence);
                got.extend(old.events(&mut reader));
            }
            turmoil::partition("gateway", "listener");
            assert_eq!(old.see(Duration::from_secs(8)).await, Seen::Silence);
            turmoil::repair("gateway", "listener");
            got.extend(old.events(&mut reader));
            let mut new = Peer::connect().await?;
            let last = got.last().map(|(id, _)| id.clone());
            new.ask(session.stream(last.as_deref())).await?;
            let mut reader = StreamReader::default();
            while got.len() < 12 {
                assert_eq!(new.see(Duration::from_millis(50)).await, Seen::Silence);
                got.extend(new.events(&mut reader));
            }
            let order: Vec<_> = got.iter().map(|(_, event)| transaction(event)).collect();
            let wanted: Vec<_> = (0..12).map(|number| format!("m{number}")).collect();
            assert_eq!(order, wanted, "seed {seed}");
            // What is lost of a connection stays lost: the zero chunk has no way past it.
            let seen = old.see(SHORT).await;
            assert!(
                matches!(seen, Seen::Silence | Seen::Broken(_) | Seen::Reset),
                "{seen:?}"
            );
            Ok(())
        });
        sim.client("speaker", async move {
            let mut control = Peer::connect().await?;
            let session = loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if let Some(session) = session.borrow().clone() {
                    break session;
                }
            };
            for number in 0..12 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                session.message(&mut control, &format!("m{number}")).await?;
            }
            Ok(())
        });
        sim.run().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// How far the client of a gateway that crashes has come, and the gateway with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Preparing,
    Open,
    Down,
    Back,
}

/// Runs a simulation whose gateway crashes when the client is ready for it, and comes back after
/// a while.
fn crash_when_open(mut sim: turmoil::Sim<'static>, stage: &RefCell<Stage>) {
    let mut down_since = Duration::ZERO;
    loop {
        let is_over = sim.step().unwrap_or_else(|why| panic!("{why}"));
        if is_over {
            return;
        }
        let now = *stage.borrow();
        match now {
            Stage::Open => {
                sim.crash("gateway");
                down_since = sim.elapsed();
                *stage.borrow_mut() = Stage::Down;
            }
            Stage::Down if sim.elapsed() > down_since + Duration::from_secs(2) => {
                sim.bounce("gateway");
                *stage.borrow_mut() = Stage::Back;
            }
            Stage::Preparing | Stage::Down | Stage::Back => {}
        }
    }
}

async fn until(stage: &RefCell<Stage>, wanted: Stage) {
    while *stage.borrow() != wanted {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The next gateway knows nothing of the last one, and serves whoever comes.
async fn assert_serves_afresh(old: &Session) -> Result<(), Failure> {
    let mut control = Peer::connect().await?;
    control.ask(old.poll()).await?;
    assert!(matches!(control.see(SHORT).await, Seen::Answer(404, _)));
    let mut control = Peer::connect().await?;
    let session = Session::create(&mut control).await?;
    session.message(&mut control, "afresh").await?;
    control.ask(session.poll()).await?;
    assert_eq!(transactions(&control.see(SHORT).await), ["afresh"]);
    Ok(())
}

/// A crash breaks what was begun where everybody can see it, and answers nothing.
#[test]
fn a_crash_breaks_what_was_begun_and_nothing_looks_complete() {
    for (seed, io_max) in [(81, 5), (82, 100_000)] {
        let mut sim = simulation(seed, io_max);
        let stage = Rc::new(RefCell::new(Stage::Preparing));
        let shown = Rc::clone(&stage);
        sim.client("client", async move {
            let mut control = Peer::connect().await?;
            let polled = Session::create(&mut control).await?;
            let streamed = Session::create(&mut control).await?;
            let (mut poll, mut stream) = (Peer::connect().await?, Peer::connect().await?);
            poll.ask(polled.poll()).await?;
            stream.ask(streamed.stream(None)).await?;
            streamed.message(&mut control, "m0").await?;
            let (mut reader, mut got) = (StreamReader::default(), Vec::new());
            while got.is_empty() {
                assert_eq!(stream.see(Duration::from_millis(50)).await, Seen::Silence);
                got.extend(stream.events(&mut reader));
            }
            *shown.borrow_mut() = Stage::Open;
            until(&shown, Stage::Back).await;
            let cut = stream.see(SHORT).await;
            assert_eq!(
                cut,
                Seen::Broken(FramingError::IncompleteChunked),
                "seed {seed}"
            );
            assert_eq!(
                poll.see(SHORT).await,
                Seen::Broken(FramingError::Empty),
                "seed {seed}"
            );
            assert_eq!(control.see(SHORT).await, Seen::Ended);
            assert_serves_afresh(&polled).await
        });
        crash_when_open(sim, &stage);
    }
}

/// A client that was cut off while the gateway crashed finds out when it speaks again.
#[test]
fn a_crash_behind_a_partition_is_noticed_when_the_network_is_whole_again() {
    for seed in [91, 92] {
        let mut sim = simulation(seed, 100);
        let stage = Rc::new(RefCell::new(Stage::Preparing));
        let shown = Rc::clone(&stage);
        sim.client("client", async move {
            let mut control = Peer::connect().await?;
            let session = Session::create(&mut control).await?;
            let mut poll = Peer::connect().await?;
            poll.ask(session.poll()).await?;
            assert_eq!(poll.see(Duration::from_secs(1)).await, Seen::Silence);
            turmoil::partition("gateway", "client");
            *shown.borrow_mut() = Stage::Open;
            until(&shown, Stage::Back).await;
            // Nothing has reached it: a poll that waits and one that is lost look alike.
            assert_eq!(poll.see(Duration::from_secs(40)).await, Seen::Silence);
            turmoil::repair("gateway", "client");
            let keepalive = json!({"janus": "keepalive", "transaction": "k"});
            let _ = control
                .ask(Request::post(&session.path, keepalive.to_string()))
                .await;
            let seen = control.see(Duration::from_secs(10)).await;
            let is_broken = matches!(seen, Seen::Reset | Seen::Broken(_) | Seen::Ended);
            assert!(is_broken, "seed {seed}: {seen:?}");
            assert_serves_afresh(&session).await
        });
        crash_when_open(sim, &stage);
    }
}
