//! Shards driven directly, in virtual time: no sockets, no threads, no clocks.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file includes this and uses a part of it"
)]

pub mod room;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bifrons::base::clock::{Anchor, Boottime, Monotonic, Now, Realtime};
use bifrons::base::id::{ConnId, ShardId, SockId};
use bifrons::base::slab::SlabKey;
use bifrons::config::Config;
use bifrons::gateway::outside::{Content, FileWrite, Written};
use bifrons::gateway::tweaks::HandlerSettings;
use bifrons::media::{Certificate, LocalSocket, SocketAct};
use bifrons::shard::mesh::MeshMsg;
use bifrons::shard::{Control, Input, Listener, Outbox, Setup, Shard, TcpAction};
use serde_json::Value;

/// What the kernel does with output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// It takes everything at once.
    Takes,
    /// It takes nothing.
    Stalls,
}

/// A connection as its client sees it.
#[derive(Debug)]
pub struct Client {
    shard: usize,
    pub kernel: Kernel,
    /// Everything that was received and not read yet.
    pub received: Vec<u8>,
    /// The server closed, reset or half-closed the connection.
    pub ended: Option<TcpAction>,
}

/// Some shards, with what is between them.
pub struct Lockstep {
    shards: Vec<Shard>,
    pub clients: BTreeMap<ConnId, Client>,
    now: Now,
    opened: u32,
    outbox: Outbox,
    /// Whether messages between shards stay on their way.
    pub mesh: Mesh,
    held: Vec<(usize, ShardId, MeshMsg)>,
    /// What event handlers were told.
    pub reports: Vec<Value>,
    /// What event handlers were set to.
    pub handlers: Vec<HandlerSettings>,
    /// Shards that take nothing in from other shards.
    pub deaf: Vec<usize>,
    /// What was sent.
    /// What was sent, and where to.
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// Sockets for plain RTP that are open.
    pub sockets: BTreeMap<(usize, SockId), SocketAddr>,
    /// Files that were written.
    pub files: BTreeMap<PathBuf, String>,
    /// Recordings that were written, as they are on the disk.
    pub recordings: BTreeMap<PathBuf, Vec<u8>>,
    /// Nothing is heard any more of what is to be written, until [`Lockstep::free_disk`].
    pub is_disk_stuck: bool,
    /// What waits for the disk, and of which shards.
    stuck: Vec<(usize, FileWrite)>,
    /// Whether files can be written.
    pub disk: Written,
}

/// What becomes of messages between shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mesh {
    /// They arrive at once.
    Delivers,
    /// They stay on their way until [`Lockstep::release_mesh`].
    Holds,
}

/// The name of a client's connection.
pub type Conn = ConnId;

impl Lockstep {
    pub fn new(shards: u8) -> Self {
        Self::with(shards, Config::default())
    }

    pub fn with(shards: u8, config: Config) -> Self {
        let config = Arc::new(config);
        // Each clock has an origin of its own, far from the others'.
        let now = Now {
            monotonic: Monotonic::from_nanos(7_000_000_000_000),
            boottime: Boottime::from_nanos(900_000_000_000_000),
            realtime: Realtime::from_unix_micros(1_790_000_000_000_000),
        };
        #[allow(clippy::disallowed_methods, reason = "only an anchor for virtual time")]
        let anchor = Anchor::new(Instant::now(), now.monotonic);
        let certificate = Certificate::generate();
        let make = |id| {
            let socket = LocalSocket {
                bound: ([127, 0, 0, 1], 20_000 + u16::from(id)).into(),
                advertised: Vec::new(),
            };
            let setup = Setup {
                id: ShardId(id),
                shards,
                config: Arc::clone(&config),
                seed: [id + 1; 32],
                anchor,
                sockets: vec![socket],
                certificate: certificate.clone(),
                crypto: None,
            };
            Shard::new(setup, now)
        };
        Self {
            shards: (0..shards).map(make).collect(),
            clients: BTreeMap::new(),
            now,
            opened: 0,
            outbox: Outbox::default(),
            mesh: Mesh::Delivers,
            reports: Vec::new(),
            handlers: Vec::new(),
            deaf: Vec::new(),
            held: Vec::new(),
            datagrams: Vec::new(),
            sockets: BTreeMap::new(),
            files: BTreeMap::new(),
            recordings: BTreeMap::new(),
            is_disk_stuck: false,
            stuck: Vec::new(),
            disk: Written::Yes,
        }
    }

    /// Lets everything arrive that is held between shards, in order.
    pub fn release_mesh(&mut self) {
        self.mesh = Mesh::Delivers;
        for (to, from, message) in std::mem::take(&mut self.held) {
            self.input(to, Input::Mesh { from, message });
        }
    }

    /// Writes what waits for the disk, in order.
    pub fn free_disk(&mut self) {
        self.is_disk_stuck = false;
        for (shard, write) in std::mem::take(&mut self.stuck) {
            let id = write.id;
            let written = self.write(write);
            self.input(shard, Input::Written { id, written });
        }
    }

    /// Opens a connection to a shard.
    pub fn connect(&mut self, shard: usize) -> Conn {
        self.connect_to(shard, Listener::Rest)
    }

    pub fn connect_to(&mut self, shard: usize, listener: Listener) -> Conn {
        self.connect_from([127, 0, 0, 1].into(), shard, listener)
    }

    pub fn connect_from(&mut self, from: IpAddr, shard: usize, listener: Listener) -> Conn {
        let conn = ConnId::from_parts(self.opened, 0);
        self.opened += 1;
        let client = Client {
            shard,
            kernel: Kernel::Takes,
            received: Vec::new(),
            ended: None,
        };
        self.clients.insert(conn, client);
        let peer = (from, 40_000).into();
        self.input(
            shard,
            Input::TcpOpened {
                conn,
                listener,
                peer,
            },
        );
        conn
    }

    pub fn send(&mut self, conn: Conn, bytes: impl AsRef<[u8]>) {
        let shard = self.clients[&conn].shard;
        self.input(
            shard,
            Input::TcpBytes {
                conn,
                bytes: bytes.as_ref(),
            },
        );
    }

    pub fn reset(&mut self, conn: Conn) {
        let shard = self
            .clients
            .remove(&conn)
            .expect("the connection is open")
            .shard;
        self.input(shard, Input::TcpClosed { conn });
    }

    pub fn finish(&mut self, conn: Conn) {
        let shard = self.clients[&conn].shard;
        self.input(shard, Input::TcpEof { conn });
    }

    pub fn control(&mut self, control: Control) {
        for shard in 0..self.shards.len() {
            self.input(shard, Input::Control(control.clone()));
        }
    }

    /// Lets time pass, deadline by deadline.
    pub fn advance(&mut self, span: Duration) {
        let end = self.now.monotonic + span;
        loop {
            let next = self.shards.iter().filter_map(Shard::deadline).min();
            let Some(at) = next.filter(|&at| at <= end) else {
                break;
            };
            self.pass(at.saturating_since(self.now.monotonic));
            for shard in 0..self.shards.len() {
                self.input(shard, Input::Tick);
            }
        }
        self.pass(end.saturating_since(self.now.monotonic));
    }

    /// Lets a datagram arrive at an open socket for plain RTP, by its port.
    pub fn datagram(&mut self, port: u16, from: SocketAddr, bytes: &[u8]) {
        let mut sockets = self.sockets.iter();
        let (&(shard, sock), _) = sockets
            .find(|(_, bound)| bound.port() == port)
            .expect("the socket is open");
        self.input(shard, Input::Datagram { sock, from, bytes });
    }

    /// What was sent since the last time, and where to.
    pub fn sent(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.datagrams)
    }

    fn pass(&mut self, span: Duration) {
        self.now.monotonic = self.now.monotonic + span;
        self.now.boottime = self.now.boottime + span;
        self.now.realtime = self.now.realtime + span;
    }

    pub fn realtime(&self) -> Realtime {
        self.now.realtime
    }

    /// Moves the wall clock alone.
    pub fn step_wall_clock(&mut self, micros: i64) {
        let at = self.now.realtime.unix_micros() + micros;
        self.now.realtime = Realtime::from_unix_micros(at);
    }

    /// Lets the kernel take what a connection's stalled output holds.
    pub fn take(&mut self, conn: Conn, count: usize) {
        let shard = self.clients[&conn].shard;
        let pending = self.shards[shard].pending(conn);
        let count = count.min(pending.len());
        let taken = pending[..count].to_vec();
        self.clients
            .get_mut(&conn)
            .expect("it is open")
            .received
            .extend(taken);
        self.input(shard, Input::Wrote { conn, count });
    }

    fn input(&mut self, shard: usize, input: Input<'_>) {
        let mut out = std::mem::take(&mut self.outbox);
        self.shards[shard].handle(self.now, input, &mut out);
        self.shards[shard].flush(self.now, &mut out);
        self.carry_out(shard, &mut out);
        self.outbox = out;
    }

    fn carry_out(&mut self, shard: usize, out: &mut Outbox) {
        // The messages of each pair of shards arrive in the order in which they were sent.
        let mut under_way = VecDeque::new();
        self.carry_out_here(shard, out, &mut under_way);
        while let Some((from, to, message)) = under_way.pop_front() {
            let mut answers = Outbox::default();
            self.shards[to].handle(self.now, Input::Mesh { from, message }, &mut answers);
            self.shards[to].flush(self.now, &mut answers);
            self.carry_out_here(to, &mut answers, &mut under_way);
        }
    }

    fn carry_out_here(
        &mut self,
        shard: usize,
        out: &mut Outbox,
        under_way: &mut VecDeque<(ShardId, usize, MeshMsg)>,
    ) {
        while !out.sockets.is_empty() || !out.lookups.is_empty() || !out.writes.is_empty() {
            for act in std::mem::take(&mut out.sockets) {
                match act {
                    SocketAct::Close(sock) => {
                        self.sockets.remove(&(shard, sock));
                    }
                    SocketAct::Open { sock, bind } => {
                        let port = match bind.port() {
                            0 => 50_000 + sock.0,
                            port => port,
                        };
                        let is_taken = self.sockets.values().any(|other| other.port() == port);
                        let bound = SocketAddr::new(bind.ip(), port);
                        let bound = (!is_taken).then_some(bound);
                        if let Some(bound) = bound {
                            self.sockets.insert((shard, sock), bound);
                        }
                        let input = Input::SocketOpened { sock, bound };
                        self.shards[shard].handle(self.now, input, out);
                    }
                }
            }
            for lookup in std::mem::take(&mut out.lookups) {
                let (id, address) = (lookup.id, lookup.literal());
                self.shards[shard].handle(self.now, Input::LookedUp { id, address }, out);
            }
            for write in std::mem::take(&mut out.writes) {
                if self.is_disk_stuck {
                    self.stuck.push((shard, write));
                    continue;
                }
                let id = write.id;
                let written = self.write(write);
                self.shards[shard].handle(self.now, Input::Written { id, written }, out);
            }
            self.shards[shard].flush(self.now, out);
        }
        let datagrams = out.datagrams.iter();
        self.datagrams
            .extend(datagrams.map(|datagram| (datagram.to, datagram.bytes.to_vec())));
        out.datagrams.clear();
        self.handlers.append(&mut out.handlers);
        for report in out.reports.drain(..) {
            let report = serde_json::from_str(&report.text).expect("reports are JSON");
            self.reports.push(report);
        }
        while !out.tcp.is_empty() || !out.mesh.is_empty() {
            for (to, message) in std::mem::take(&mut out.mesh) {
                let (from, to) = (ShardId(shard as u8), usize::from(to.0));
                if self.deaf.contains(&to) {
                    continue;
                }
                match self.mesh {
                    Mesh::Delivers => under_way.push_back((from, to, message)),
                    Mesh::Holds => self.held.push((to, from, message)),
                }
            }
            for (conn, action) in std::mem::take(&mut out.tcp) {
                self.act(shard, conn, action, out);
            }
        }
    }

    fn write(&mut self, write: FileWrite) -> Written {
        if self.disk == Written::No {
            return Written::No;
        }
        if write.id.is_recording() {
            return self.write_recording(write.path, write.content);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match write.content {
            Content::More(bytes) => {
                let file = self.files.entry(write.path).or_default();
                file.push_str(&text(&bytes));
            }
            Content::Named(_) => unreachable!("only recordings are renamed"),
            Content::New(bytes) => {
                self.files.insert(write.path, text(&bytes));
            }
            Content::Whole(text) => {
                self.files.insert(write.path, text);
            }
        }
        Written::Yes
    }

    /// What is there stays.
    fn write_recording(&mut self, path: PathBuf, content: Content) -> Written {
        let files = &mut self.recordings;
        match content {
            Content::More(bytes) => files.get_mut(&path).expect("it was made").extend(bytes),
            Content::Named(name) if files.contains_key(&name) => return Written::No,
            Content::Named(name) => {
                let file = files.remove(&path).expect("it was made");
                files.insert(name, file);
            }
            Content::New(_) if files.contains_key(&path) => return Written::No,
            Content::New(bytes) => {
                files.insert(path, bytes);
            }
            Content::Whole(_) => unreachable!("recordings grow"),
        }
        Written::Yes
    }

    fn act(&mut self, shard: usize, conn: ConnId, action: TcpAction, out: &mut Outbox) {
        let Some(client) = self.clients.get_mut(&conn) else {
            return;
        };
        match action {
            TcpAction::Abort | TcpAction::Close | TcpAction::ShutdownWrite => {
                client.ended = Some(action);
            }
            TcpAction::PauseRead | TcpAction::ResumeRead => {}
            TcpAction::Write if client.kernel == Kernel::Stalls => {}
            TcpAction::Write => {
                let pending = self.shards[shard].pending(conn);
                let count = pending.len();
                if count > 0 {
                    client.received.extend_from_slice(pending);
                    self.shards[shard].handle(self.now, Input::Wrote { conn, count }, out);
                    self.shards[shard].flush(self.now, out);
                }
            }
        }
    }

    /// Takes the next response off a connection: status and body, or `None` if none is complete.
    pub fn response(&mut self, conn: Conn) -> Option<(u16, String)> {
        let client = self.clients.get_mut(&conn)?;
        let (status, body, used) = decode(&client.received)?;
        client.received.drain(..used);
        Some((status, body))
    }

    /// Posts a message of the API and returns the answer.
    pub fn post(&mut self, conn: Conn, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        self.send(conn, post(path, &body));
        let (status, body) = self.response(conn).expect("an answer is there at once");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("answers are JSON")
    }

    /// Makes a session with an EchoTest handle; returns their ids.
    pub fn echo(&mut self, conn: Conn) -> (u64, u64) {
        let create = serde_json::json!({"janus": "create", "transaction": "c"});
        let session = self.post(conn, "/janus", &create)["data"]["id"]
            .as_u64()
            .expect("an id");
        let attach = serde_json::json!({
            "janus": "attach", "transaction": "a", "plugin": "janus.plugin.echotest",
        });
        let path = format!("/janus/{session}");
        let handle = self.post(conn, &path, &attach)["data"]["id"]
            .as_u64()
            .expect("an id");
        (session, handle)
    }

    /// Sends a message that makes one event, named by its transaction.
    pub fn make_event(&mut self, conn: Conn, (session, handle): (u64, u64), name: &str) {
        let message =
            serde_json::json!({"janus": "message", "transaction": name, "body": {"audio": true}});
        let reply = self.post(conn, &format!("/janus/{session}/{handle}"), &message);
        assert_eq!(reply["janus"], "ack", "{reply}");
    }

    /// Begins a long poll.
    pub fn poll(&mut self, conn: Conn, session: u64, query: &str) {
        self.send(conn, get(&format!("/janus/{session}{query}")));
    }

    /// The transactions of the events that a poll was answered with.
    pub fn polled(&mut self, conn: Conn) -> Option<Vec<String>> {
        let (status, body) = self.response(conn)?;
        assert_eq!(status, 200, "{body}");
        let value: Value = serde_json::from_str(&body).expect("answers are JSON");
        let list = value.as_array().cloned().unwrap_or_else(|| vec![value]);
        let name = |event: &Value| {
            let named = event["transaction"]
                .as_str()
                .or_else(|| event["janus"].as_str());
            named.unwrap_or_default().to_owned()
        };
        Some(list.iter().map(name).collect())
    }

    /// The counters of all shards together.
    pub fn metrics(&self) -> bifrons::metrics::Metrics {
        let mut sum = bifrons::metrics::Metrics::default();
        for shard in &self.shards {
            sum.merge(&shard.metrics());
        }
        sum
    }

    pub fn is_drained(&self) -> bool {
        self.shards.iter().all(Shard::is_drained)
    }
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

pub fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// A strict reader of responses: status, body, and the bytes they take up.
fn decode(bytes: &[u8]) -> Option<(u16, String, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("heads are ASCII");
    let status = head
        .split(' ')
        .nth(1)?
        .parse()
        .expect("a status is a number");
    let field = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim()))
    };
    let (body, used) = match (field("content-length"), field("transfer-encoding")) {
        (Some(length), None) => {
            let length: usize = length.parse().expect("a length is a number");
            (bytes.get(end..end + length)?.to_vec(), end + length)
        }
        (None, Some("chunked")) => chunks(bytes, end)?,
        framing => panic!("exactly one framing, and not {framing:?}"),
    };
    Some((
        status,
        String::from_utf8(body).expect("bodies are UTF-8"),
        used,
    ))
}

fn chunks(bytes: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    loop {
        let line = bytes[at..]
            .windows(2)
            .position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + line]).expect("sizes are ASCII");
        let size = usize::from_str_radix(size, 16).expect("sizes are hexadecimal");
        at += line + 2;
        body.extend_from_slice(bytes.get(at..at + size)?);
        assert_eq!(bytes.get(at + size..at + size + 2)?, b"\r\n");
        at += size + 2;
        if size == 0 {
            return Some((body, at));
        }
    }
}
