//! The hot paths as closures, for the clock and for the counting of instructions alike.
//!
//! A shard is driven as the driver drives it, without sockets: what is measured is our own work,
//! and it is the same on every machine.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::media;
use bifrons::base::clock::{Anchor, Boottime, Monotonic, Now, Realtime};
use bifrons::base::id::{ConnId, HandleId, ShardId, SockId};
use bifrons::base::limits::Limits;
use bifrons::base::outbuf::OutBuf;
use bifrons::base::slab::SlabKey as _;
use bifrons::base::timers::Timers;
use bifrons::config::Config;
use bifrons::driver::journal::{Coder, Kind, Mask, Recorder, Recording, ShardStart, Sink, Taken};
use bifrons::driver::{Core, Counters};
use bifrons::gateway::reply::Message;
use bifrons::gateway::request::{Envelope, Path};
use bifrons::media::{Certificate, LocalSocket};
use bifrons::shard::{Input, Listener, Outbox, Setup, Shard, TcpAction};
use bifrons::transport::rest::{self, Asked};
use bifrons::wire::http::{ChunkedBody, parse_head};

/// One hot path.
pub(crate) struct Case {
    /// What it is called in baselines.
    pub(crate) name: &'static str,
    /// Operations of one call.
    pub(crate) operations: u64,
    /// Prepares it; what it returns does the work.
    pub(crate) make: fn() -> Box<dyn FnMut()>,
}

/// All of them.
pub(crate) const CASES: [Case; 18] = [
    Case {
        name: "chunk",
        operations: 1,
        make: chunk,
    },
    Case {
        name: "datagram_unknown",
        operations: BATCH as u64,
        make: datagram_unknown,
    },
    Case {
        name: "envelope",
        operations: 1,
        make: envelope,
    },
    Case {
        name: "event_and_poll",
        operations: 1,
        make: event_and_poll,
    },
    Case {
        name: "event_and_poll_recorded",
        operations: 1,
        make: event_and_poll_recorded,
    },
    Case {
        name: "fan_out",
        operations: media::RECEIVERS * media::PACKETS,
        make: media::fan_out,
    },
    Case {
        name: "head_browser",
        operations: 1,
        make: head_browser,
    },
    Case {
        name: "head_short",
        operations: 1,
        make: head_short,
    },
    Case {
        name: "json_out",
        operations: 1,
        make: json_out,
    },
    Case {
        name: "mesh_media",
        operations: media::PACKETS,
        make: media::mesh,
    },
    Case {
        name: "mesh_request",
        operations: 1,
        make: mesh_request,
    },
    Case {
        name: "packet_in",
        operations: 1,
        make: media::packet_in,
    },
    Case {
        name: "ping",
        operations: BATCH as u64,
        make: ping,
    },
    Case {
        name: "ping_new_head",
        operations: BATCH as u64,
        make: ping_new_head,
    },
    Case {
        name: "ping_recorded",
        operations: BATCH as u64,
        make: ping_recorded,
    },
    Case {
        name: "rewriter",
        operations: 1,
        make: media::rewriter,
    },
    Case {
        name: "route",
        operations: 1,
        make: route,
    },
    Case {
        name: "timers",
        operations: 1,
        make: timers,
    },
];

/// What one turn takes in at a moderate load.
const BATCH: usize = 8;

const PING: &str = r#"{"janus":"ping","transaction":"bench"}"#;

const MESSAGE: &str = r#"{"janus":"message","transaction":"d7Xkq2p","body":{"audio":true,"video":true,"bitrate":512000},"jsep":{"type":"offer","sdp":"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"}}"#;

const BROWSER: &str = "POST /janus/4242424242424242/1717171717171717 HTTP/1.1\r\n\
    Host: gateway.example:8088\r\n\
    Connection: keep-alive\r\n\
    Content-Length: 183\r\n\
    sec-ch-ua: \"Chromium\";v=\"131\", \"Not_A Brand\";v=\"24\"\r\n\
    Content-Type: application/json\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/131.0.0.0 Safari/537.36\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Accept: application/json, text/plain, */*\r\n\
    Origin: https://app.example\r\n\
    Sec-Fetch-Site: cross-site\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Referer: https://app.example/\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-US,en;q=0.9\r\n\r\n";

fn chunk() -> Box<dyn FnMut()> {
    let mut out = OutBuf::new(1 << 20);
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = [b'x'; 300];
    Box::new(move || {
        let done = ChunkedBody::whole(&mut out, black_box(head), black_box(&body));
        black_box(done.expect("there is room").end());
        out.consume(out.pending().len());
    })
}

fn datagram_unknown() -> Box<dyn FnMut()> {
    let mut scene = Scene::new();
    let mut bytes = [7_u8; 1_100];
    bytes[0] = 0x80; // RTP from somebody whom nobody knows
    Box::new(move || {
        for port in 0..BATCH as u16 {
            let input = Input::Datagram {
                sock: SockId(0),
                from: ([192, 0, 2, 1], 10_000 + port).into(),
                bytes: black_box(&bytes),
            };
            scene.shard.handle(scene.now, input, &mut scene.out);
        }
        scene.end_turn();
    })
}

fn envelope() -> Box<dyn FnMut()> {
    let limits = Limits::default();
    Box::new(move || {
        let path = Path {
            session: 4_242,
            handle: 17,
        };
        let parsed = Envelope::parse(black_box(MESSAGE.as_bytes()), path, &limits);
        black_box(parsed.expect("it is in order"));
    })
}

/// A message that makes an event, and the poll that takes it.
fn event_and_poll() -> Box<dyn FnMut()> {
    events_and_polls(Scene::new())
}

fn event_and_poll_recorded() -> Box<dyn FnMut()> {
    events_and_polls(Scene::recorded())
}

fn events_and_polls<C: Core>(mut scene: Scene<C>) -> Box<dyn FnMut()> {
    let conn = scene.connect();
    let create = post("/janus", r#"{"janus":"create","transaction":"c"}"#);
    let session = id_in(&scene.ask(conn, &create));
    let attach = r#"{"janus":"attach","transaction":"a","plugin":"janus.plugin.echotest"}"#;
    let handle = id_in(&scene.ask(conn, &post(&format!("/janus/{session}"), attach)));
    let message = r#"{"janus":"message","transaction":"m","body":{"audio":true}}"#;
    let message = post(&format!("/janus/{session}/{handle}"), message);
    let poll = format!("GET /janus/{session}?maxev=10 HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
    assert!(scene.ask(conn, &message).contains("\"ack\""));
    assert!(scene.ask(conn, &poll).contains("\"event\""));
    Box::new(move || {
        scene.receive(conn, &message);
        scene.end_turn();
        scene.receive(conn, &poll);
        scene.end_turn();
    })
}

/// The id in the answer to a request that makes something.
fn id_in(answer: &str) -> String {
    let at = answer.find("\"id\":").expect("an id") + 5;
    let digits = answer[at..].bytes().take_while(u8::is_ascii_digit).count();
    answer[at..at + digits].to_owned()
}

fn head_browser() -> Box<dyn FnMut()> {
    head(BROWSER.as_bytes().to_vec())
}

fn head_short() -> Box<dyn FnMut()> {
    head(post("/janus", ""))
}

fn head(bytes: Vec<u8>) -> Box<dyn FnMut()> {
    let limits = Limits::default();
    Box::new(move || {
        let parsed = parse_head(black_box(&bytes), &limits);
        black_box(parsed.expect("it is in order").expect("it is complete"));
    })
}

/// An event as it is told to a client.
fn json_out() -> Box<dyn FnMut()> {
    let data = serde_json::json!({
        "plugin": "janus.plugin.videoroom",
        "data": {"videoroom": "event", "room": 1_234, "configured": "ok", "audio_codec": "opus"},
    });
    Box::new(move || {
        let message = Message::new("event")
            .session(Some(black_box(4_242_424_242_424_242)))
            .transaction(Some("d7Xkq2p"))
            .sender(HandleId(1_717_171_717_171_717))
            .value("plugindata", black_box(&data));
        black_box(message.finish());
    })
}

/// A request that reaches the wrong shard, its way to the right one, and its answer's way back.
fn mesh_request() -> Box<dyn FnMut()> {
    let mut shards = [Scene::of(0, 2), Scene::of(1, 2)];
    // A session belongs to the shard that it was made on.
    let other = shards[1].connect();
    let create = post("/janus", r#"{"janus":"create","transaction":"c"}"#);
    let path = format!("/janus/{}", id_in(&shards[1].ask(other, &create)));
    let conn = shards[0].connect();
    let request = post(&path, r#"{"janus":"keepalive","transaction":"k"}"#);
    assert!(exchange(&mut shards, conn, &request).contains("\"ack\""));
    Box::new(move || {
        black_box(exchange(&mut shards, conn, &request));
    })
}

/// One request at the first of two shards, with all that they tell each other for it.
fn exchange(shards: &mut [Scene; 2], conn: ConnId, request: &[u8]) -> String {
    shards[0].keep = true;
    shards[0].receive(conn, request);
    shards[0].end_turn();
    for (from, to) in [(0, 1), (1, 0)] {
        for (_, message) in std::mem::take(&mut shards[from].out.mesh) {
            let from = ShardId(from as u8);
            let input = Input::Mesh { from, message };
            let Scene {
                shard, now, out, ..
            } = &mut shards[to];
            shard.handle(*now, input, out);
        }
        shards[to].end_turn();
    }
    // Credit goes back, and asks for nothing.
    shards[0].out.mesh.clear();
    String::from_utf8(std::mem::take(&mut shards[0].taken)).expect("answers are text")
}

/// From a head and a body to what is asked for.
fn route() -> Box<dyn FnMut()> {
    let limits = Limits::default();
    let config = Config::default();
    let parsed = parse_head(&post("/janus/4242424242424242", PING), &limits);
    let (head, _) = parsed.expect("it is in order").expect("it is complete");
    Box::new(move || {
        let asked = rest::read(black_box(&head), PING.as_bytes(), &config.http, &limits);
        assert!(matches!(asked, Asked::Api(_)));
    })
}

/// A ping whose head is that of the ping before.
fn ping() -> Box<dyn FnMut()> {
    pings(Scene::new(), ["/janus", "/janus"])
}

fn ping_new_head() -> Box<dyn FnMut()> {
    pings(Scene::new(), ["/janus", "/janus?"])
}

fn ping_recorded() -> Box<dyn FnMut()> {
    pings(Scene::recorded(), ["/janus", "/janus"])
}

/// Pings on targets that take turns.
fn pings<C: Core>(mut scene: Scene<C>, targets: [&str; 2]) -> Box<dyn FnMut()> {
    let conns: Vec<_> = (0..BATCH).map(|_| scene.connect()).collect();
    let mut requests = targets.map(|target| post(target, PING));
    for request in &requests {
        assert!(scene.ask(conns[0], request).contains("\"pong\""));
    }
    Box::new(move || {
        for &conn in &conns {
            scene.receive(conn, black_box(&requests[0]));
        }
        scene.end_turn();
        requests.swap(0, 1);
    })
}

/// Ten thousand deadlines are armed; one is armed anew, one is due.
fn timers() -> Box<dyn FnMut()> {
    const COUNT: u64 = 10_000;
    let mut timers = Timers::default();
    let mut now = Monotonic::from_nanos(1);
    let span = |key: u64| Duration::from_micros(key * 7_919 % COUNT + 1);
    for key in 0..COUNT {
        timers.arm(key, now + span(key));
    }
    let mut turn = 0;
    Box::new(move || {
        turn += 1;
        now = now + Duration::from_micros(1);
        timers.arm(turn % COUNT, now + Duration::from_micros(COUNT));
        if let Some(key) = timers.expire(now) {
            timers.arm(key, now + Duration::from_micros(COUNT));
        }
        black_box(timers.next());
    })
}

/// A shard, and the turn that it is in.
struct Scene<C = Shard> {
    shard: C,
    now: Now,
    out: Outbox,
    actions: Vec<(ConnId, TcpAction)>,
    opened: u32,
    taken: Vec<u8>,
    keep: bool,
    counters: Counters,
}

/// Takes a journal, and loses it.
struct Nowhere;

impl Sink for Nowhere {
    fn put(&mut self, _: Kind, _: &Coder, content: Vec<u8>) -> Taken {
        black_box(content);
        Taken::Yes
    }

    fn is_urgent(&self) -> bool {
        false
    }

    fn is_panicking(&self) -> bool {
        false
    }

    fn lost_bytes(&self) -> u64 {
        0
    }
}

impl Scene {
    fn new() -> Self {
        Self::of(0, 1)
    }

    /// One of several shards.
    fn of(id: u8, shards: u8) -> Self {
        let (setup, now) = setup(id, shards);
        Self::with(Shard::new(setup, now), now)
    }
}

impl Scene<Recorder<Shard, Nowhere>> {
    /// One whose life is written down.
    fn recorded() -> Self {
        let (setup, now) = setup(0, 1);
        let recording = Recording {
            sink: Nowhere,
            start: ShardStart::new(&setup, now),
            media: false,
            mask: Mask::new([1; 16]),
        };
        Self::with(Recorder::new(Shard::new(setup, now), recording), now)
    }
}

impl<C: Core> Scene<C> {
    fn with(shard: C, now: Now) -> Self {
        Self {
            shard,
            now,
            out: Outbox::default(),
            actions: Vec::new(),
            opened: 0,
            taken: Vec::new(),
            keep: false,
            counters: Counters::default(),
        }
    }

    fn connect(&mut self) -> ConnId {
        let conn = ConnId::from_parts(self.opened, 0);
        self.opened += 1;
        let opened = Input::TcpOpened {
            conn,
            listener: Listener::Rest,
            peer: ([127, 0, 0, 1], 40_000).into(),
        };
        self.shard.handle(self.now, opened, &mut self.out);
        conn
    }

    fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        let input = Input::TcpBytes { conn, bytes };
        self.shard.handle(self.now, input, &mut self.out);
    }

    /// Ends a turn as the driver does, with a kernel that takes everything.
    fn end_turn(&mut self) {
        self.shard.flush(self.now, &mut self.out);
        while !self.out.tcp.is_empty() {
            std::mem::swap(&mut self.actions, &mut self.out.tcp);
            let mut actions = std::mem::take(&mut self.actions);
            for (conn, action) in actions.drain(..) {
                assert_eq!(action, TcpAction::Write, "the connection stays");
                let pending = self.shard.pending(conn);
                let count = black_box(pending).len();
                if self.keep {
                    self.taken.extend_from_slice(pending);
                }
                if count > 0 {
                    let wrote = Input::Wrote { conn, count };
                    self.shard.handle(self.now, wrote, &mut self.out);
                }
            }
            self.actions = actions;
            self.shard.flush(self.now, &mut self.out);
        }
        self.out.datagrams.clear();
        self.now.monotonic = self.now.monotonic + Duration::from_micros(50);
        self.now.boottime = self.now.boottime + Duration::from_micros(50);
        self.now.realtime = self.now.realtime + Duration::from_micros(50);
        self.counters.turns += 1;
        self.shard.report(&self.counters);
        black_box(self.shard.deadline());
    }

    /// One request and its answer, head and all.
    fn ask(&mut self, conn: ConnId, request: &[u8]) -> String {
        self.keep = true;
        self.receive(conn, request);
        self.end_turn();
        self.keep = false;
        String::from_utf8(std::mem::take(&mut self.taken)).expect("answers are text")
    }
}

fn setup(id: u8, shards: u8) -> (Setup, Now) {
    let now = Now {
        monotonic: Monotonic::from_nanos(7_000_000_000_000),
        boottime: Boottime::from_nanos(900_000_000_000_000),
        realtime: Realtime::from_unix_micros(1_790_000_000_000_000),
    };
    let setup = Setup {
        id: ShardId(id),
        shards,
        config: Arc::new(Config::default()),
        seed: [1; 32],
        anchor: Anchor::new(Instant::now(), now.monotonic),
        sockets: vec![LocalSocket {
            bound: ([127, 0, 0, 1], 20_000).into(),
            advertised: Vec::new(),
        }],
        certificate: Certificate::generate(),
        crypto: None,
    };
    (setup, now)
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let size = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:8088\r\nContent-Type: application/json\r\n\
         Content-Length: {size}\r\n\r\n{body}"
    )
    .into_bytes()
}
