//! One conversation, driven on every level: the event queue, the production driver on turmoil,
//! and the production driver on real sockets, on both of its runtimes. Applications must not be
//! able to tell which one they talk to.
//!
//! A host that forbids io_uring skips the real sockets, and says so.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bifrons::base::id::ShardId;
use bifrons::config::{Config, Runtime};
use bifrons::driver::{Arrival, Buggify, News};
use bifrons::media::{Certificate, LocalSocket};
use bifrons::platform::{Clocks, Executor, Links, Mesh, Plain, Sender, inbox, seed};
use bifrons::shard::{Control, Listener, Setup, Shard};
use bifrons_sim::conformance::{Act, Conversation, Line};
use bifrons_sim::faults::scenario::{ClientPlan, Role, Scenario};
use bifrons_sim::journal::Memory;
use bifrons_sim::kernel::clock::{ClockModel, ClockOrigins};
use bifrons_sim::kernel::key::Key;
use bifrons_sim::kernel::trace::Trace;
use bifrons_sim::models::script::Script;
use bifrons_sim::turmoil::{Host, SkewedClock, gateway};
use bifrons_sim::world::World;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

type Failure = Box<dyn std::error::Error>;

/// What both conversations came to.
type Transcript = Vec<String>;

const PORT: u16 = 8088;
const SOCKET_PORT: u16 = 8188;
const SHARDS: u8 = 2;

/// On the event queue, with models of clients that share nothing with the others.
fn on_the_queue(network: impl FnOnce(&mut Scenario)) -> Transcript {
    let mut scenario = Scenario::plain();
    scenario.gateway.shards = SHARDS;
    let role = |role| ClientPlan {
        role,
        ..ClientPlan::PLAIN
    };
    scenario.clients = vec![role(Role::Browser), role(Role::Socket)];
    network(&mut scenario);
    let talks = [Conversation::rest(), Conversation::socket()].map(|it| Rc::new(RefCell::new(it)));
    let mut world = World::new(&scenario, Trace::hashing());
    for (index, talk) in (0..).zip(&talks) {
        let talk = Rc::clone(talk);
        world = world.with_client(index, |host| Box::new(Script::new(host, talk)));
    }
    let outcome = world.run();
    assert_eq!(outcome.violation, None);
    talks
        .iter()
        .flat_map(|talk| talk.borrow().transcript().to_vec())
        .collect()
}

/// How a client comes to a connection.
trait Dial {
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;
    async fn dial(&self, line: Line) -> io::Result<Self::Stream>;
}

/// Has a conversation with hyper and tungstenite.
async fn converse(dial: &impl Dial, mut talk: Conversation) -> Result<Transcript, Failure> {
    let mut links = BTreeMap::new();
    let mut asked: Vec<(Line, Answer)> = Vec::new();
    let mut wire = None;
    while let Some(act) = talk.next_act() {
        match act {
            Act::Await(Line::Socket) => {
                let wire = wire.as_mut().ok_or("nothing was said")?;
                talk.heard(&next(wire).await?);
            }
            Act::Await(line) => {
                let due = asked.iter().position(|asked| asked.0 == line);
                let (_, answer) = asked.remove(due.ok_or("nothing was asked")?);
                let response = answer.await?;
                let status = response.status().as_u16();
                let fields: Vec<_> = response
                    .headers()
                    .iter()
                    .map(|(name, value)| {
                        (
                            name.to_string(),
                            value.to_str().unwrap_or_default().to_owned(),
                        )
                    })
                    .collect();
                let body = response.into_body().collect().await?.to_bytes();
                talk.answered(line, status, &fields, &body);
            }
            Act::Rest(span) => tokio::time::sleep(span).await,
            Act::Say(text) => {
                if wire.is_none() {
                    wire = Some(open(dial.dial(Line::Socket).await?).await?);
                }
                let wire = wire.as_mut().expect("it was just opened");
                wire.send(Message::text(text)).await?;
            }
            Act::Send(line, request) => {
                let link: &mut SendRequest<Full<Bytes>> = match links.entry(line) {
                    std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::btree_map::Entry::Vacant(entry) => {
                        let stream = TokioIo::new(dial.dial(line).await?);
                        let (link, connection) = handshake(stream).await?;
                        tokio::task::spawn_local(connection);
                        entry.insert(link)
                    }
                };
                link.ready().await?;
                let mut built = Request::builder()
                    .method(&*request.method)
                    .uri(request.target);
                for (name, value) in request.fields {
                    built = built.header(name, value);
                }
                let built = built.body(Full::new(Bytes::from(request.body)))?;
                asked.push((line, Box::pin(link.send_request(built))));
            }
        }
    }
    Ok(talk.transcript().to_vec())
}

type Answer = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>>>>;

async fn open<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<WebSocketStream<S>, Failure> {
    let mut request = "ws://gateway/".into_client_request()?;
    let protocol = "janus-protocol".parse()?;
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", protocol);
    let (wire, _) = tokio_tungstenite::client_async(request, stream).await?;
    Ok(wire)
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut WebSocketStream<S>,
) -> Result<String, Failure> {
    loop {
        match wire.next().await.ok_or("the socket has ended")?? {
            Message::Text(text) => return Ok(text.to_string()),
            Message::Close(frame) => return Err(format!("closed: {frame:?}").into()),
            Message::Binary(_) | Message::Frame(_) | Message::Ping(_) | Message::Pong(_) => {}
        }
    }
}

async fn converse_all(dial: impl Dial) -> Result<Transcript, Failure> {
    let mut transcript = converse(&dial, Conversation::rest()).await?;
    transcript.extend(converse(&dial, Conversation::socket()).await?);
    Ok(transcript)
}

struct Turmoil;

impl Dial for Turmoil {
    type Stream = turmoil::net::TcpStream;

    async fn dial(&self, line: Line) -> io::Result<Self::Stream> {
        let port = match line {
            Line::Control | Line::Poll => PORT,
            Line::Socket => SOCKET_PORT,
        };
        turmoil::net::TcpStream::connect(("gateway", port)).await
    }
}

/// The production driver on turmoil, with short reads and writes.
fn on_turmoil(seed: u64, io_max: u64) -> Transcript {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(5))
        .simulation_duration(Duration::from_secs(200))
        .build();
    let host = Host {
        seed,
        shards: SHARDS,
        clock: SkewedClock::new(ClockModel::new(ClockOrigins::draw(Key::of_seed(seed)))),
        io_max,
        mesh_max: Duration::from_millis(20),
        buggify: Buggify::seeded(seed),
        port: PORT,
        journal: Memory::default(),
        socket_port: SOCKET_PORT,
    };
    sim.host("gateway", move || {
        let host = host.clone();
        async move { Ok(gateway(host).await?) }
    });
    let transcript = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&transcript);
    sim.client("client", async move {
        *kept.borrow_mut() = converse_all(Turmoil).await?;
        Ok(())
    });
    sim.run().unwrap_or_else(|why| panic!("{why}"));
    transcript.take()
}

/// The gateway's shards on real sockets.
struct Real {
    rest: SocketAddr,
    sockets: SocketAddr,
    senders: Vec<Sender<Arrival>>,
    threads: Vec<JoinHandle<()>>,
}

impl Real {
    fn start(runtime: Runtime) -> io::Result<Self> {
        let config = Arc::new(Config {
            shards: Some(SHARDS),
            ..Config::default()
        });
        let certificate = Certificate::generate();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (mut rest, mut sockets) = (any, any);
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..SHARDS).map(|_| inbox()).unzip();
        let anchor = Clocks::default().anchor();
        let mut threads = Vec::new();
        for (id, inbox) in (0..SHARDS).zip(inboxes) {
            let media = std::net::UdpSocket::bind(any)?;
            media.set_nonblocking(true)?;
            let setup = Setup {
                id: ShardId(id),
                shards: SHARDS,
                config: Arc::clone(&config),
                seed: seed()?,
                anchor,
                sockets: vec![LocalSocket {
                    bound: media.local_addr()?,
                    advertised: Vec::new(),
                }],
                certificate: certificate.clone(),
                crypto: None,
            };
            let listeners = vec![
                (Listener::Rest, listen(&mut rest)?),
                (Listener::WebSocket, listen(&mut sockets)?),
            ];
            let senders = senders.clone();
            let thread = thread::Builder::new().name(format!("shard-{id}"));
            threads.push(thread.spawn(move || {
                let over = senders[usize::from(id)].clone();
                let tell = move |news| match news {
                    News::Alive => {}
                    News::Drained => over.send(Arrival::Over),
                };
                let plain = Plain {
                    listeners,
                    udp: vec![media.into()],
                    udp_more_max: 4,
                    mesh: Mesh::new(ShardId(id), inbox, senders, tell),
                    connections_max: 1_000,
                    links: Links::default(),
                };
                let executor = Executor::new(runtime, None).expect("the host was asked");
                let ran = executor.run(plain, |now| Shard::new(setup, now));
                ran.expect("the sockets are good");
            })?);
        }
        Ok(Self {
            rest,
            sockets,
            senders,
            threads,
        })
    }

    fn stop(self) {
        for sender in &self.senders {
            sender.send(Arrival::Control(Control::Stop));
        }
        for thread in self.threads {
            thread.join().expect("no shard panics");
        }
    }
}

/// One of several sockets that share a port; the first chooses it.
fn listen(at: &mut SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&(*at).into())?;
    socket.listen(128)?;
    *at = socket
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::Other)?;
    Ok(socket)
}

struct Loopback {
    rest: SocketAddr,
    sockets: SocketAddr,
}

impl Dial for Loopback {
    type Stream = tokio::net::TcpStream;

    async fn dial(&self, line: Line) -> io::Result<Self::Stream> {
        tokio::net::TcpStream::connect(match line {
            Line::Control | Line::Poll => self.rest,
            Line::Socket => self.sockets,
        })
        .await
    }
}

/// The production driver on the kernel.
fn on_the_kernel(runtime: Runtime) -> Transcript {
    let gateway = Real::start(runtime).expect("loopback has ports");
    let (rest, sockets) = (gateway.rest, gateway.sockets);
    let clients = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime for the clients");
    let tasks = tokio::task::LocalSet::new();
    let talk = tasks.run_until(converse_all(Loopback { rest, sockets }));
    let talk = async { tokio::time::timeout(Duration::from_secs(60), talk).await };
    let transcript = clients.block_on(talk);
    drop((tasks, clients));
    gateway.stop();
    transcript
        .expect("it ends in time")
        .unwrap_or_else(|why| panic!("{runtime:?}: {why}"))
}

/// Shows the first line in which two transcripts differ.
fn assert_same(name: &str, transcript: &[String], wanted: &[String]) {
    for (at, (line, wanted)) in transcript.iter().zip(wanted).enumerate() {
        assert_eq!(line, wanted, "{name}: line {at}");
    }
    assert_eq!(transcript.len(), wanted.len(), "{name}");
}

#[test]
fn a_conversation_has_the_same_transcript_on_every_level() {
    let wanted = on_the_queue(|_| {});
    assert!(wanted.len() > 60, "{wanted:#?}");
    let narrow = on_the_queue(|scenario| {
        scenario.network.segment_max = 7;
        scenario.gateway.write_max = 16;
        scenario.gateway.turn_max = Duration::from_millis(2);
    });
    assert_same("a narrow network", &narrow, &wanted);
    for (seed, io_max) in [(1, 40), (2, 100_000)] {
        assert_same("turmoil", &on_turmoil(seed, io_max), &wanted);
    }
    for runtime in [Runtime::Glommio, Runtime::Uring] {
        if let Err(why) = Executor::new(runtime, None) {
            eprintln!("skipped: {runtime:?}: {why}");
            continue;
        }
        assert_same(&format!("{runtime:?}"), &on_the_kernel(runtime), &wanted);
    }
}
