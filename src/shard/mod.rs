//! One core's share of the gateway: owns everything it touches.
//!
//! [`Shard::handle`] takes in what happened, [`Shard::flush`] ends a batch of inputs, and both
//! fill an [`Outbox`]. [`Shard::deadline`] says when to come back at the latest.

mod admin;
mod answers;
mod client;
mod drain;
pub mod input;
pub mod mesh;
pub mod outbox;
mod secure;
mod serve;
mod sockets;
mod telling;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tracing::debug;

use crate::base::clock::{Anchor, Monotonic, Now};
use crate::base::id::{ConnId, ShardId};
use crate::base::rng::Rng;
use crate::base::slab::SlabMap;
use crate::base::timers::Timers;
use crate::config::Config;
use crate::gateway::gather::Gather;
use crate::gateway::reports::Census;
use crate::gateway::session::Origin;
use crate::gateway::{Gateway, Parts};
use crate::media::{Certificate, Crypto, LocalSocket, Media, MediaSetup};
use crate::metrics::Metrics;
use crate::metrics::names::HttpTimeouts;
use crate::mutant;
use crate::plugins;
use crate::transport::conn::{Conn, ConnAction, Expired, Shared};
use crate::wire::http::{Cors, Response, Status};

use client::{Admission, Client, Waiting};
use drain::Phase;
use mesh::MeshMsg;
use secure::Identities;

pub use input::{Control, Input, Listener};
pub use outbox::{Outbox, TcpAction};

/// What a shard is made of.
#[derive(Debug)]
pub struct Setup {
    /// Which one it is.
    pub id: ShardId,
    /// How many there are, at least one.
    pub shards: u8,
    /// The configuration.
    pub config: Arc<Config>,
    /// Its randomness; different for every shard.
    pub seed: [u8; 32],
    /// For libraries that take `std` instants.
    pub anchor: Anchor,
    /// Its UDP sockets, in the order of their [`SockId`](crate::base::id::SockId)s.
    pub sockets: Vec<LocalSocket>,
    /// The DTLS certificate of the process.
    pub certificate: Certificate,
    /// Another crypto library for media than the built-in one.
    pub crypto: Option<Crypto>,
}

/// Whose deadline it is, beside those of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// A connection's.
    Conn(ConnId),
    /// A question to all shards that was asked on a connection.
    Counters(ConnId),
    /// A question to all shards by the Admin API.
    Gather(Origin),
    /// The next time that everything is counted for event handlers.
    Census,
    /// The end of a phase of draining.
    Drain,
}

/// One core's share of the gateway.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    shards: u8,
    config: Arc<Config>,
    gateway: Gateway,
    clients: SlabMap<ConnId, Client>,
    /// Connections of each source address, to share them out.
    sources: BTreeMap<IpAddr, usize>,
    admin_clients: usize,
    /// Connections that are only told that there is no room.
    turned_away: usize,
    rest: Shared,
    admin: Shared,
    ws: Shared,
    identities: Identities,
    timers: Timers<Key>,
    /// Messages of this shard to itself, which need no mesh.
    local: VecDeque<MeshMsg>,
    /// Connections that may go on with their next request, because one was answered.
    revisits: VecDeque<ConnId>,
    /// Requests that each shard has yet to take in.
    asked: Vec<usize>,
    /// Questions to all shards by the Admin API.
    gathers: BTreeMap<Origin, Gather>,
    /// What each shard last counted for event handlers.
    censuses: Vec<Census>,
    /// WebSockets that ended in this turn.
    ended_sockets: Vec<Origin>,
    serial: u64,
    phase: Phase,
    /// Connections of a shard that drains, to be looked at when the turn ends.
    resting: Vec<ConnId>,
    /// Shards, this one included, that drain and have no sessions left.
    emptied: u8,
    /// The shards that do not take their turns, as the operator says.
    silent: Vec<ShardId>,
    metrics: Metrics,
}

impl Shard {
    /// Makes a shard that owns nothing yet.
    pub fn new(setup: Setup, now: Now) -> Self {
        #[cfg(feature = "mutants")]
        {
            crate::base::mutant::note_start(now);
            crate::base::mutant::note_media_start(setup.id.0, now);
        }
        let Setup {
            id,
            shards,
            config,
            seed,
            anchor,
            sockets,
            certificate,
            crypto,
        } = setup;
        let mut ws = Shared::new(
            config.limits.clone(),
            cors(config.ws.allow_origin.as_deref()),
        );
        ws.ping_every(config.ws.ping_interval);
        let mut rest = Shared::new(
            config.limits.clone(),
            cors(config.http.allow_origin.as_deref()),
        );
        rest.ping_every(config.ws.ping_interval);
        let rng = Rng::from_seed(seed);
        let media = Media::new(MediaSetup {
            config: Arc::new(config.media.clone()),
            limits: config.limits.clone(),
            sockets,
            rng: rng.fork("media"),
            anchor,
            certificate,
            crypto,
        });
        let gateway = Gateway::new(Parts {
            id,
            shards,
            started: now.monotonic,
            config: Arc::clone(&config),
            rng: rng.fork("ids"),
            media,
            plugins: plugins::all(&config, id, shards),
        });
        let mut shard = Self {
            id,
            shards,
            gateway,
            clients: SlabMap::default(),
            sources: BTreeMap::new(),
            admin_clients: 0,
            turned_away: 0,
            rest,
            admin: Shared::new(config.limits.clone(), Cors::none()),
            ws,
            identities: Identities::new(&config),
            timers: Timers::default(),
            local: VecDeque::new(),
            revisits: VecDeque::new(),
            asked: vec![0; usize::from(shards)],
            gathers: BTreeMap::new(),
            censuses: vec![Census::default(); usize::from(shards)],
            ended_sockets: Vec::new(),
            serial: 0,
            phase: Phase::Running,
            resting: Vec::new(),
            emptied: 0,
            silent: Vec::new(),
            metrics: Metrics::default(),
            config,
        };
        shard.begin_census(now);
        shard
    }

    /// Takes in one thing that happened. Answers appear at once; media is only queued here.
    pub fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) {
        self.metrics.driver_inputs += 1;
        match input {
            Input::Control(control) => self.control(now, control, out),
            Input::Datagram { sock, from, bytes } => {
                #[cfg(feature = "mutants")]
                let now = crate::base::mutant::media_now(self.id.0, now);
                self.gateway.media_mut().datagram(now, sock, from, bytes);
            }
            Input::LookedUp { id, address } => {
                self.gateway.looked_up(now, id, address, &mut self.metrics);
            }
            Input::Written { id, written } => {
                self.gateway.written(now, id, written, &mut self.metrics);
            }
            Input::Mesh { from, message } => {
                self.metrics.mesh_received_messages += 1;
                self.take_message(now, from, message, out);
            }
            Input::SocketOpened { sock, bound } => {
                self.gateway.media_mut().socket_opened(sock, bound);
            }
            Input::TcpBytes { conn, bytes } => {
                self.metrics.http_read_bytes += bytes.len() as u64;
                self.receive(now, conn, bytes);
                self.serve(now, conn, out);
            }
            Input::TcpClosed { .. } if mutant!(ConnectionKept) => {}
            Input::TcpClosed { conn } => {
                self.with_client(conn, |client, shared| client.conn.reset(shared));
                self.forget(conn, out);
            }
            Input::TcpEof { conn } => {
                self.with_client(conn, |client, shared| client.conn.eof(shared, now));
                self.serve(now, conn, out);
            }
            Input::TcpOpened {
                conn,
                listener,
                peer,
            } => {
                self.open(now, conn, listener, peer, out);
            }
            Input::Tick => {}
            Input::Wrote { conn, count } => {
                self.metrics.http_written_bytes += count as u64;
                self.wrote(now, conn, count, out);
                if mutant!(UptimeTeardown) {
                    self.with_client(conn, |client, shared| {
                        let is_bodiless = matches!(client.waiting, client::Waiting::Nothing)
                            && !client.conn.is_waiting()
                            && !client.conn.is_idle();
                        if is_bodiless && client.conn.pending().is_empty() {
                            client.conn.reset(shared);
                        }
                    });
                }
                self.settle_deliveries(conn, out);
                if self.is_served(conn) {
                    self.act(conn, out);
                } else {
                    self.serve(now, conn, out);
                }
            }
        }
        self.take_local(now, out);
    }

    /// Ends a batch of inputs: sends queued media subscriber by subscriber, expires timers.
    pub fn flush(&mut self, now: Now, out: &mut Outbox) {
        #[cfg(feature = "mutants")]
        let (wall, now) = (now, crate::base::mutant::media_now(self.id.0, now));
        self.gateway.media_mut().flush(now, &mut out.datagrams);
        #[cfg(feature = "mutants")]
        let now = wall;
        for _ in 0..EXPIRIES_PER_TURN {
            let Some(key) = self.timers.expire(now.monotonic) else {
                break;
            };
            self.metrics.driver_timers_fired += 1;
            match key {
                Key::Conn(conn) => {
                    let expired =
                        self.with_client(conn, |client, shared| client.conn.timeout(shared, now));
                    if let Some(Some(expired)) = expired {
                        *count_of(expired, &mut self.metrics.http_timeouts) += 1;
                    }
                    self.serve(now, conn, out);
                }
                Key::Counters(conn) => self.end_counting(now, conn, out),
                Key::Gather(origin) => self.end_gathering(now, origin, out),
                Key::Census => self.expire_census(now, out),
                Key::Drain => self.drain_further(now, out),
            }
        }
        self.gateway.flush(now, &mut self.metrics);
        self.tell_listeners(out);
        self.take_local(now, out);
        // Answers make room for the next requests of their connections, which have answers.
        while self.gateway.has_news() {
            self.gateway.deliver(now, &mut self.metrics);
            self.tell_listeners(out);
            self.take_local(now, out);
        }
        if mutant!(BlockedHoldsAll) {
            self.revisits.extend(self.clients.keys());
            self.take_local(now, out);
        }
        // What plugins did on the way may have given media something to send.
        self.gateway.media_mut().flush(now, &mut out.datagrams);
        self.relay(out);
        out.sockets
            .extend(self.gateway.media_mut().take_socket_acts());
        out.lookups.extend(self.gateway.take_lookups());
        self.drain_on(now, out);
        out.writes.extend(self.gateway.take_writes());
        self.tell_disconnected(now);
        let dropped = self.gateway.take_reports(&mut out.reports);
        self.metrics.events_dropped_reports.turn_full += dropped;
    }

    /// Output of a connection that the kernel has yet to take.
    pub fn pending(&self, conn: ConnId) -> &[u8] {
        self.clients
            .get(conn)
            .map_or(&[], |client| match &client.tls {
                Some(tls) => tls.pending(),
                None => client.conn.pending(),
            })
    }

    /// When to call [`Shard::flush`] again at the latest, on the monotonic clock.
    pub fn deadline(&self) -> Option<Monotonic> {
        match (self.timers.next(), self.gateway.deadline()) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        }
    }

    /// Whether everything has ended after [`Control::Drain`] or [`Control::Stop`].
    pub fn is_drained(&self) -> bool {
        self.phase == Phase::Stopped
    }

    /// Which shard it is.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The counters of this shard, for the driver to put its own there.
    pub fn metrics_mut(&mut self) -> &mut Metrics {
        &mut self.metrics
    }

    /// The counters of this shard, those of its connections and of media included.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = self.metrics.clone();
        for shared in [&self.rest, &self.admin, &self.ws] {
            let chunked = shared.chunked();
            metrics.http_chunked_begun += chunked.begun_count;
            metrics.http_chunked_finished += chunked.finished_count;
        }
        let media = self.gateway.media();
        metrics.media_peers = media.peers_count() as u64;
        metrics.media_routes = media.routes_count() as u64;
        metrics.media_interests = media.interests_count() as u64;
        media.counters().add_to(&mut metrics);
        self.gateway.add_plugins_to(&mut metrics);
        metrics
    }

    fn with_client<T>(
        &mut self,
        conn: ConnId,
        act: impl FnOnce(&mut Client, &mut Shared) -> T,
    ) -> Option<T> {
        let client = self.clients.get_mut(conn)?;
        let shared = match client.listener {
            Listener::Admin | Listener::AdminTls => &mut self.admin,
            Listener::Rest | Listener::RestTls => &mut self.rest,
            Listener::AdminWebSocket
            | Listener::AdminWebSocketTls
            | Listener::WebSocket
            | Listener::WebSocketTls => &mut self.ws,
        };
        Some(act(client, shared))
    }

    /// Whether a connection has nothing to be served with until something comes in.
    fn is_served(&self, conn: ConnId) -> bool {
        let client = self.clients.get(conn);
        client.is_some_and(|client| client.conn.is_served())
    }

    fn open(
        &mut self,
        now: Now,
        conn: ConnId,
        listener: Listener,
        peer: SocketAddr,
        out: &mut Outbox,
    ) {
        let acl = match listener {
            Listener::Admin | Listener::AdminTls => &self.config.admin.acl,
            Listener::Rest | Listener::RestTls => &self.config.http.acl,
            Listener::AdminWebSocket | Listener::AdminWebSocketTls => &self.config.ws.admin_acl,
            Listener::WebSocket | Listener::WebSocketTls => &self.config.ws.acl,
        };
        let is_admitted = acl.is_empty() || acl.iter().any(|prefix| prefix.admits(peer.ip()));
        let refused = &mut self.metrics.http_connections_refused;
        let limits = &self.config.limits;
        let source = source_of(peer.ip());
        let from_source = self.sources.get(&source).copied().unwrap_or(0);
        let in_use = self.clients.len() - self.turned_away - self.admin_clients;
        let (counter, status) = if !is_admitted {
            refused.acl += 1;
            out.tcp.push((conn, TcpAction::Abort));
            return;
        } else if self.phase != Phase::Running {
            (&mut refused.draining, Status::ServiceUnavailable)
        } else if listener.is_admin() && self.admin_clients >= limits.admin_connections_count {
            (&mut refused.admin_quota, Status::ServiceUnavailable)
        } else if !listener.is_admin() && in_use >= limits.connections_count {
            (&mut refused.connections, Status::ServiceUnavailable)
        } else if from_source >= limits.connections_source_count {
            (&mut refused.source_quota, Status::TooManyRequests)
        } else {
            let tls = self.identities.secure(listener);
            if listener.is_secure() && tls.is_none() {
                // A configuration that was read again has no certificate any more.
                out.tcp.push((conn, TcpAction::Abort));
                return;
            }
            self.metrics.http_connections_opened += 1;
            self.metrics.http_connections_open += 1;
            *self.sources.entry(source).or_default() += 1;
            self.admin_clients += usize::from(listener.is_admin());
            self.hold(now, conn, listener, peer, Admission::Admitted);
            if let Some(client) = self.clients.get_mut(conn) {
                client.tls = tls;
            }
            self.arm(conn);
            return;
        };
        *counter += 1;
        // While it stops, nothing may hold it up that is not a client's due. A TLS handshake is more
        // work than what is saved by turning its client away.
        if self.turned_away >= TURNED_AWAY_MAX
            || self.phase > Phase::Draining
            || listener.is_secure()
        {
            out.tcp.push((conn, TcpAction::Abort));
            return;
        }
        self.turned_away += 1;
        self.hold(now, conn, listener, peer, Admission::TurnedAway);
        *self.metrics.http_answers.status(status.code()) += 1;
        let answer = Response {
            retry_after_s: Some(1),
            ..Response::text(status, "too many connections, try again\n")
        };
        self.with_client(conn, |client, shared| {
            client.conn.turn_away(shared, now, &answer);
        });
        self.act(conn, out);
    }

    fn hold(
        &mut self,
        now: Now,
        conn: ConnId,
        listener: Listener,
        peer: SocketAddr,
        admission: Admission,
    ) {
        let shared = match listener {
            Listener::Admin | Listener::AdminTls => &self.admin,
            Listener::Rest | Listener::RestTls => &self.rest,
            Listener::AdminWebSocket
            | Listener::AdminWebSocketTls
            | Listener::WebSocket
            | Listener::WebSocketTls => &self.ws,
        };
        if mutant!(EarlierUnchecked) {
            let idle = self.config.limits.idle_timeout.as_nanos();
            assert!(
                u128::from(now.monotonic.as_nanos()) >= idle,
                "now minus a limit underflows"
            );
        }
        let state = Conn::new(shared, now, peer);
        self.clients
            .insert(conn, Client::new(state, listener, admission));
    }

    /// Carries out what a connection wants of its socket, and forgets it when it is over.
    fn act(&mut self, conn: ConnId, out: &mut Outbox) {
        let Some(client) = self.clients.get_mut(conn) else {
            return;
        };
        if let Some(refusal) = client.conn.take_refusal() {
            *self
                .metrics
                .http_malformed_requests
                .status(refusal.status().code()) += 1;
        }
        let mut is_over = false;
        while let Some(action) = client.conn.next_action() {
            let action = match action {
                ConnAction::Abort => TcpAction::Abort,
                ConnAction::Close => TcpAction::Close,
                ConnAction::PauseRead => TcpAction::PauseRead,
                ConnAction::ResumeRead => TcpAction::ResumeRead,
                ConnAction::ShutdownWrite => TcpAction::ShutdownWrite,
                ConnAction::Write => TcpAction::Write,
            };
            let action = match &mut client.tls {
                Some(tls) => tls.action(&client.conn, action),
                None => Some(action),
            };
            is_over |= matches!(action, Some(TcpAction::Abort | TcpAction::Close));
            out.tcp.extend(action.map(|action| (conn, action)));
        }
        if is_over {
            self.forget(conn, out);
        } else {
            self.arm(conn);
            if self.phase != Phase::Running {
                self.resting.push(conn);
            }
        }
    }

    fn arm(&mut self, conn: ConnId) {
        let timer = self.with_client(conn, |client, shared| client.conn.timer(shared));
        if let Some(Some(at)) = timer {
            self.timers.arm(Key::Conn(conn), at);
        }
    }

    /// Forgets a connection, and tells whoever counts on it.
    fn forget(&mut self, conn: ConnId, out: &mut Outbox) {
        // What was taken counts as delivered; then whatever is left of a socket ends.
        self.settle_deliveries(conn, out);
        self.with_client(conn, |client, shared| client.conn.reset(shared));
        self.end_socket(conn, out);
        let Some(client) = self.clients.remove(conn) else {
            return;
        };
        match client.admission {
            Admission::Admitted => self.release(&client),
            Admission::TurnedAway => self.turned_away -= 1,
        }
        self.timers.cancel(Key::Conn(conn));
        self.timers.cancel(Key::Counters(conn));
        self.report_loss(&client, out);
        debug!(shard = %self.id, %conn, "connection closed");
    }

    /// Gives back what a connection had a share of.
    fn release(&mut self, client: &Client) {
        let source = source_of(client.conn.peer().ip());
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
        self.admin_clients -= usize::from(client.listener.is_admin());
        self.metrics.http_connections_open -= 1;
        self.metrics.http_connections_closed += 1;
    }

    /// Sends a message to a shard, be it this one.
    fn post(&mut self, to: ShardId, message: MeshMsg, out: &mut Outbox) {
        if to == self.id {
            self.local.push_back(message);
        } else {
            self.metrics.mesh_sent_messages += 1;
            out.mesh.push((to, message));
        }
    }

    /// Takes in this shard's messages to itself, and serves the connections that they answered.
    /// One after the other: a client that pipelines polls must not decide on the stack's depth.
    fn take_local(&mut self, now: Now, out: &mut Outbox) {
        loop {
            if let Some(message) = self.local.pop_front() {
                self.take_message(now, self.id, message, out);
            } else if let Some(conn) = self.revisits.pop_front() {
                self.serve(now, conn, out);
            } else {
                return;
            }
        }
    }

    fn next_origin(&mut self, conn: ConnId) -> Origin {
        self.serial += 1;
        Origin {
            shard: self.id,
            conn,
            serial: self.serial,
        }
    }
}

/// Connections beyond the limit that may be told so at a time; more are reset. They live until
/// their clients have read that, so whoever opens sockets for a shard has that many to spare.
pub const TURNED_AWAY_MAX: usize = 32;

/// What counts as one source: an IPv4 address, or the network that a site has of IPv6, which is
/// no less than a /64. A socket for both families writes IPv4 in IPv6 form.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

/// Deadlines that expire in one turn; more wait for the next one, which follows at once.
const EXPIRIES_PER_TURN: usize = 128;

fn count_of(expired: Expired, timeouts: &mut HttpTimeouts) -> &mut u64 {
    match expired {
        Expired::Body => &mut timeouts.body,
        Expired::FirstByte => &mut timeouts.first_byte,
        Expired::Head => &mut timeouts.head,
        Expired::Idle => &mut timeouts.idle,
        Expired::Linger => &mut timeouts.linger,
        Expired::Silence => &mut timeouts.silence,
        Expired::Write => &mut timeouts.write,
    }
}

fn cors(allow_origin: Option<&str>) -> Cors {
    match allow_origin {
        None | Some("*") => Cors::any(),
        Some(origin) => Cors::only(origin).unwrap_or_else(Cors::none),
    }
}

impl Waiting {
    /// The request's name, if it waits for somebody.
    fn origin(&self) -> Option<Origin> {
        match self {
            Self::Nothing => None,
            Self::Counters { origin, .. } | Self::Reply { origin, .. } => Some(*origin),
            Self::Poll(subscription) | Self::Stream(subscription) => Some(subscription.origin),
        }
    }
}
